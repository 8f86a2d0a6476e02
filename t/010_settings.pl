# Do changes of settings and of the list of streams take effect without a restart of the server?

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../test/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wal2Kafka;

my $t = Wal2Kafka->new(tables => 'CREATE TABLE item (id int PRIMARY KEY)');
my $node = $t->{node};

$t->start_stream;
$t->sql('INSERT INTO item VALUES (1)');
$t->wait_caught_up;

sub restarts_by
{
	my ($what, $action) = @_;
	my $pid = $t->worker_pid;

	$action->();
	wait_until("$what restarts the worker", sub {
		my $now = $t->stat('pid');
		return $now && $now =~ /^[1-9]/ && $now != $pid;
	});
	$t->wait_state('streaming');
	pass("$what restarts the worker");
	return;
}

# pg_db_role_setting, in its three kinds
restarts_by('ALTER DATABASE SET', sub {
	$t->admin(q{ALTER DATABASE shop SET wal2kafka.topic_prefix = 'second'});
});
$t->sql('INSERT INTO item VALUES (2)');
$t->wait_caught_up;
is($t->story('public.item'), 'c:1', 'before the change: old topic');
$t->{prefix} = 'second';
is($t->story('public.item'), 'c:2', 'after it: new topic');

restarts_by('ALTER ROLE IN DATABASE SET', sub {
	$t->admin(q{ALTER ROLE cdc IN DATABASE shop SET wal2kafka.skipped_operations = 'u,t'});
});
$t->sql('UPDATE item SET id = id WHERE id = 2; INSERT INTO item VALUES (3)');
$t->wait_caught_up;
is($t->story('public.item'), 'c:2 c:3', 'updates are skipped');

restarts_by('ALTER ROLE RESET', sub {
	$t->admin(q{ALTER ROLE cdc IN DATABASE shop RESET wal2kafka.skipped_operations});
});
$t->sql('UPDATE item SET id = id WHERE id = 2');
$t->wait_caught_up;
is($t->story('public.item'), 'c:2 c:3 u:2', 'updates are back');

# Settings of others are not this stream's business.
my $pid = $t->worker_pid;
$t->admin(q{CREATE DATABASE other});
$t->admin(q{ALTER DATABASE other SET wal2kafka.topic_prefix = 'elsewhere'});
$t->admin(q{ALTER DATABASE shop SET statement_timeout = '1h'; ALTER DATABASE shop RESET statement_timeout});
$t->sql('INSERT INTO item VALUES (4)');
$t->wait_caught_up;
is($t->worker_pid, $pid, 'settings of another database restart nothing');

# A rolled-back change is none.
$t->admin(q{BEGIN; ALTER DATABASE shop SET wal2kafka.topic_prefix = 'never'; ROLLBACK});
$t->sql('INSERT INTO item VALUES (5)');
$t->wait_caught_up;
is($t->worker_pid, $pid, 'a change that was rolled back restarts nothing');

# Refused where it is said; the stream goes on.
my ($code, $out, $err) = $node->psql('postgres', q{ALTER DATABASE shop SET wal2kafka.snapshot_mode = 'nonsense'});
like($err, qr/invalid value for parameter "wal2kafka.snapshot_mode"/, 'a wrong value is refused at ALTER');
like($err, qr/Available values|initial/, '... with what is allowed');

# What only Kafka's library can judge is refused by the worker.
$t->set('wal2kafka.kafka_options', 'enable.idempotence=false');
$t->wait_error(qr/enable\.idempotence/);
pass('a Kafka property that delivery rests on is refused');
$t->set('wal2kafka.kafka_options', undef);
$t->wait_state('streaming');
$pid = $t->worker_pid;
($code, $out, $err) = $node->psql('postgres', q{ALTER SYSTEM SET wal2kafka.kafka_options = 'sasl.password=hunter2'});
isnt($code, 0, 'a password inline is refused');
unlike($err, qr/hunter2/, 'and not repeated') or diag($err);
unlike(slurp_file($node->logfile) =~ s/STATEMENT:.*//rg, qr/(?:ERROR|DETAIL|HINT).*hunter2/, '... nor in the log');

# A reload with a wrong value: warned of, and the stream keeps what it has.
$node->append_conf('postgresql.conf', "wal2kafka.max_queue_size_in_bytes = 'lots'");
$node->reload;
wait_until('the server warned', sub { slurp_file($node->logfile) =~ /invalid value for parameter "wal2kafka.max_queue_size_in_bytes"/ });
$t->sql('INSERT INTO item VALUES (6)');
$t->wait_caught_up;
is($t->worker_pid, $pid, 'a wrong value at reload changes nothing');
is($t->stat('state'), 'streaming', 'the stream goes on');

# At server start the same value holds the stream, until it is corrected.
$node->restart;
$t->wait_state('held');
like($t->stat('last_error'), qr/max_queue_size_in_bytes/, 'held, naming the setting');
$t->sql('INSERT INTO item VALUES (7)');
$node->append_conf('postgresql.conf', "wal2kafka.max_queue_size_in_bytes = '16MB'");
$node->adjust_conf('postgresql.conf', 'wal2kafka.max_queue_size_in_bytes', "'16MB'");
$node->reload;
$t->wait_state('streaming');
$t->wait_caught_up;
like($t->story('public.item'), qr/c:7$/, 'corrected: it goes on by itself');

# A misspelt name likewise.
$node->append_conf('postgresql.conf', "wal2kafka.colum_transforms = 'x'");
$node->restart;
$t->wait_state('held');
like($t->stat('last_error'), qr/colum_transforms/, 'a misspelt name at start holds the stream');
my $conf = slurp_file($node->data_dir . '/postgresql.conf');
$conf =~ s/^wal2kafka\.colum_transforms.*$//m;
unlink $node->data_dir . '/postgresql.conf';
append_to_file($node->data_dir . '/postgresql.conf', $conf);
$node->reload;
$t->wait_state('streaming');

# Streams come and go with a reload.
$node->safe_psql('other', 'CREATE TABLE thing (id int PRIMARY KEY)');
$t->set('wal2kafka.streams', 'shop/cdc, other/cdc');
$t->wait_state('streaming', undef, 'other/cdc');
$node->safe_psql('other', 'INSERT INTO thing VALUES (1)');
wait_until('the second stream delivers', sub {
	@{ $t->records(undef, topic => 'elsewhere.public.thing') } == 1;
});
pass('a stream is added by a reload');
$t->set('wal2kafka.streams', 'shop/cdc');
wait_until('the second stream ended', sub {
	my $state = $t->stat('state', 'other/cdc');
	return !defined $state || $state eq '' || $state =~ /orphaned|stopped/;
});
is($t->admin(q{SELECT count(*) FROM pg_replication_slots WHERE database = 'other'}), 1,
	'a stream that leaves keeps its slot');
$t->set('wal2kafka.streams', '');
wait_until('the kill switch stops all', sub {
	$t->admin('SELECT count(*) FROM pg_replication_slots WHERE active') == 0;
});
pass("streams = '' is the kill switch");

done_testing();
