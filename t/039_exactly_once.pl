# Exactly once: does a consumer that reads what is committed see each change
# once, whatever is killed, and is a position that is not ours respected?

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../test/lib";

use File::Copy;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wal2Kafka;

my $topic = 'shop.progress';

my $t = Wal2Kafka->new(
	tables => Wal2Kafka->workload_tables . <<EOS,
CREATE TABLE big (id int PRIMARY KEY, v text);
CREATE TABLE one (id int PRIMARY KEY);
EOS
	properties => { 'transaction.max.timeout.ms' => 120000 },
	conf => <<EOC);
restart_after_crash = on
wal2kafka.delivery = exactly_once
wal2kafka.heartbeat_interval_ms = 50
EOC
my $node = $t->{node};

sub another_worker
{
	my ($pid) = @_;
	wait_until('another worker streams', sub {
		my $now = $t->stat('pid');
		return $now && $now =~ /^[1-9]/ && $now != $pid
		  && ($t->stat('state') || '') eq 'streaming';
	});
	return;
}

# The position as it is committed.
sub positions
{
	my @found;

	foreach my $record (@{ $t->records('', topic => $topic) })
	{
		next unless ($record->{key} || '') eq 'position';
		my $position = eval { decode_json($record->{value}) } || {};
		push @found, { %$position, place => "$record->{partition}:$record->{offset}" };
	}
	return @found;
}

sub story_once
{
	my ($table, $expected, $name) = @_;
	$t->wait_caught_up;
	is($t->story($table), $expected, $name);
	return;
}

# ----------
# Everything is killed
# ----------

$t->start_stream;
$t->start_workload(writers => 4);
$t->wait_events(200);
my $pid = $t->worker_pid;
$t->admin("SELECT pg_terminate_backend($pid)");
another_worker($pid);
$t->wait_events(200);
$t->admin("SELECT wal2kafka.restart('shop/cdc')");
$t->wait_events(200);
$t->{kafka}->kill9;
$t->wait_waiting_for('broker');
$t->{kafka}->start;
$t->wait_waiting_for('nothing');
$t->wait_events(200);
$t->{kafka}->freeze;
$t->wait_waiting_for('broker');
$t->{kafka}->thaw;
$t->wait_events(200);
$pid = $t->worker_pid;
kill 'KILL', $pid;
another_worker($pid);
$t->wait_events(200);
$pid = $t->worker_pid;
kill 'KILL', $t->postmaster_pid;
wait_until('the worker is gone', sub { !kill 0, $pid });
$t->stopped;
wait_until('the server starts', sub { $node->start(fail_ok => 1) });
$t->admin("SELECT wal2kafka.restart('shop/cdc')");
$t->wait_state('streaming');
$t->wait_events(100);
$t->stop_workload;
my $result = $t->check_workload('exactly once');
is($result->{repeats}, 0, 'nothing is there twice');

my @positions = positions();
cmp_ok(scalar(@positions), '>', 10, 'positions were written');
is(scalar(grep { ($_->{slot} || '') ne $t->slot } @positions), 0, 'all of them of this slot');

# ----------
# The slot may be behind: the position in Kafka counts
# ----------

$t->sql('INSERT INTO one VALUES (1)');
$t->wait_caught_up;
$t->stop_stream;
my $slot = $t->slot;
my $state = $node->data_dir . "/pg_replslot/$slot/state";
$node->stop;
copy($state, "$state.kept") or die;
$node->start;
$t->start_stream;
$t->sql('INSERT INTO one VALUES (2)');
$t->wait_caught_up;
$t->stop_stream;
$node->stop('immediate');
move("$state.kept", $state) or die;
$node->start;
$t->start_stream;
$t->sql('INSERT INTO one VALUES (3)');
story_once('public.one', 'c:1 c:2 c:3', 'a slot that went back in time repeats nothing');

# ----------
# A large transaction is split, and its worker killed in the middle
# ----------

$t->set('wal2kafka.transaction_split_bytes', '1MB');
$t->set('wal2kafka.max_queue_size_in_bytes', '1MB');
$t->wait_state('streaming');
my $before = @positions = positions();
$node->psql('shop', q{INSERT INTO big SELECT i, repeat('x', 1000) FROM generate_series(1, 30000) i});
for my $round (1 .. 3)
{
	my $seen = @positions;
	wait_until('the transaction was split once more', sub {
		@positions = positions();
		return @positions > $seen && $positions[-1]{split_end} || ($t->stat('events') || 0) >= 30000;
	});
	last unless $positions[-1]{split_end};
	$pid = $t->worker_pid;
	$t->admin("SELECT pg_terminate_backend($pid)");
	another_worker($pid);
}
$t->wait_caught_up;
my @split = grep { $_->{split_end} } positions();
cmp_ok(scalar(@split), '>', 3, 'the transaction was split');
is_deeply(
	[ map { $_->{key}{id} } @{ $t->records('public.big') } ],
	[ 1 .. 30000 ], 'each of its rows is there once, in order');
$t->set('wal2kafka.transaction_split_bytes', undef);
$t->set('wal2kafka.max_queue_size_in_bytes', undef);
$t->wait_state('streaming');

# ----------
# One to one
# ----------

$t->set('wal2kafka.transaction_mapping', 'per_commit');
$t->sql('SELECT 1');
wait_until('the worker has the setting', sub {
	$node->safe_psql('postgres', 'SHOW wal2kafka.transaction_mapping') eq 'per_commit' });
$t->wait_state('streaming');
$t->set('wal2kafka.heartbeat_interval_ms', '0');
$t->admin("SELECT wal2kafka.restart('shop/cdc')");
$t->wait_state('streaming');
$t->wait_caught_up;
$before = positions();
$node->safe_psql('shop', join "\n", map { "INSERT INTO one VALUES ($_);" } 11 .. 40);
$t->wait_caught_up;
@positions = positions();
my %ends = map { $_->{lsn} => 1 } @positions[ $before .. $#positions ];
cmp_ok(scalar(keys %ends), '>=', 30, 'each database transaction has a position, and Kafka transaction, of its own');
$t->set('wal2kafka.transaction_mapping', undef);

# ----------
# Somebody else takes the id
# ----------

$pid = $t->worker_pid;
my $id = sprintf('wal2kafka-%s-%s-%s', @{ $positions[-1] }{ 'system_identifier', 'database', 'slot' });
$t->{kafka}->admin('fence', $id);
$t->sql('INSERT INTO one VALUES (50)');
another_worker($pid);
$t->wait_caught_up;
like($t->stat('last_error'), qr/Kafka/, 'a worker whose id was taken says so, and starts again');
like($t->story('public.one'), qr/c:40 c:50$/, 'nothing is lost or there twice');

# ----------
# Positions that are not as they should be
# ----------

sub forge
{
	my ($change, $pattern, $name) = @_;
	my $last = (positions())[-1];
	my $value;

	$t->stop_stream;
	$last = (positions())[-1];
	if (ref $change)
	{
		my $place = delete $last->{place};
		my $crc = delete $last->{crc};
		$change->($last);
		my $text = JSON::PP->new->canonical->encode($last);
		chop $text;
		$text .= sprintf ',"crc":"%08x"}', crc32c($text);
		$value = $text;
		$last->{place} = $place;
	}
	else { $value = $change; }
	$t->{kafka}->admin('forge', $topic, $last->{place}, $value);
	$t->start_stream(no_wait => 1);
	$t->wait_state('held');
	like($t->stat('last_error'), $pattern, "$name: held, and it is said why");
	return;
}

# CRC-32C as PostgreSQL has it
sub crc32c
{
	my ($text) = @_;
	my $crc = 0xffffffff;
	foreach my $byte (unpack 'C*', $text)
	{
		$crc ^= $byte;
		$crc = $crc & 1 ? ($crc >> 1) ^ 0x82f63b78 : $crc >> 1 for 1 .. 8;
	}
	return $crc ^ 0xffffffff;
}

sub adopt
{
	my ($key, $name) = @_;
	$t->sql("INSERT INTO one VALUES ($key)");
	$t->admin("SELECT wal2kafka.adopt('shop/cdc')");
	$t->wait_state('streaming');
	$t->wait_caught_up;
	like($t->story('public.one'), qr/ c:$key$/, "$name: after adopt() the stream goes on");
	return;
}

forge('nonsense', qr/cannot be read/, 'a damaged position');
adopt(60, 'a damaged position');
forge(sub { $_[0]{version} = 99 }, qr/version is 99/, 'a version of the future');
adopt(61, 'a version of the future');
forge(sub { $_[0]{system_identifier} = '1234567890' }, qr/another server.*system identifier/s, 'another cluster');
adopt(62, 'another cluster');
forge(sub { $_[0]{machine} = 'elsewhere' }, qr/machine "elsewhere" became/, 'another machine');
$t->set('wal2kafka.on_promotion', 'adopt');
$t->wait_state('streaming');
$t->set('wal2kafka.on_promotion', undef);
$t->wait_state('streaming');
forge(
	sub {
		$t->sql('INSERT INTO one VALUES (65)');
		$_[0]{lsn} = $node->lsn('flush');
		$_[0]{slot} = 'another';
	}, qr/another stream.*slot "another" became/s, 'another stream');
adopt(66, 'another stream');
like($t->story('public.one'), qr/ c:65 c:66$/, 'its position is not gone on from');
forge(sub { $_[0]{incarnation} = '0' x 32 }, qr/another instance/, 'a copy of this server');
adopt(63, 'a copy of this server');
forge(sub { $_[0]{lsn} = 'FF/0' }, qr/changes that this server does not have/, 'a position of the future');
adopt(64, 'a position of the future');
forge(sub { $_[0]{lsn} = 'FF/0' }, qr/changes that this server does not have/, 'a position of the future');
$t->set('wal2kafka.on_divergence', 'continue');
$t->wait_state('streaming');
$t->set('wal2kafka.on_divergence', undef);
$t->wait_state('streaming');
$t->sql('INSERT INTO one VALUES (70)');
$t->wait_caught_up;
like($t->story('public.one'), qr/ c:70$/, 'on_divergence = continue goes on from the slot');

forge(
	sub {
		$_[0]{split_end} = 'FF/0';
		$_[0]{split_lsn} = $_[0]{lsn};
		$_[0]{split_events} = 1;
		$_[0]{split_xid} = 1000;
	}, qr/changes that this server does not have/, 'half a transaction of the future');
adopt(71, 'half a transaction of the future');

# What was found out is not forgotten when the server has written more.
my $ahead = $node->safe_psql('postgres', 'SELECT pg_current_wal_flush_lsn() + 1000000');
forge(sub { $_[0]{lsn} = $ahead }, qr/changes that this server does not have/, 'a position that is soon behind');
foreach my $segment (1, 2)
{
	$t->sql('INSERT INTO one VALUES (72) ON CONFLICT DO NOTHING; CHECKPOINT');
	$t->sql('SELECT pg_switch_wal()');
}
is($t->sql("SELECT pg_current_wal_flush_lsn() > '$ahead'"), 't', 'the WAL is longer than what Kafka has');
$t->stop_stream;
$t->start_stream(no_wait => 1);
$t->wait_state('held');
like($t->stat('last_error'), qr/changes that this server does not have/, '... and the stream still held');
adopt(73, 'a position that is behind by now');
like($t->story('public.one'), qr/ c:72 c:73$/, '... and nothing is lost');

# ----------
# A copy of the server
# ----------

$t->stop_stream;
$node->stop;
my $copy = PostgreSQL::Test::Cluster->new('copy');
$copy->init;
my $dir = $copy->data_dir;
system('rm', '-rf', $dir) == 0 && system('cp', '-a', $node->data_dir, $dir) == 0 or die;
$node->start;
$t->start_stream;
$copy->append_conf('postgresql.conf', 'port = ' . $copy->port);
$copy->append_conf('postgresql.auto.conf', "wal2kafka.streams = 'shop/cdc'");
$copy->start;
my $c = Wal2Kafka->adopt(node => $copy);
$c->wait_state('held');
like($c->stat('last_error'), qr/another server.*data directory/s, 'a copy in another directory does not fence the original');
$t->sql('INSERT INTO one VALUES (80)');
$t->wait_caught_up;
like($t->story('public.one'), qr/ c:80$/, 'which goes on');

# ... until somebody says so.
$pid = $t->worker_pid;
$c->admin("SELECT wal2kafka.adopt('shop/cdc')");
$c->wait_state('streaming');
$t->sql('INSERT INTO one VALUES (81)');
$t->wait_state('held');
like($t->stat('last_error'), qr/another server/, 'the original finds that it was replaced, and does not fight');
$c->sql('INSERT INTO one VALUES (82)');
$c->wait_caught_up;
like($t->story('public.one'), qr/ c:80 c:82$/, 'the copy streams');
$copy->stop;

# ----------
# A broker that allows less
# ----------

$t->admin("SELECT wal2kafka.adopt('shop/cdc')");
$t->wait_state('streaming');
$t->sql('INSERT INTO one VALUES (90)');
$t->wait_caught_up;
like($t->story('public.one'), qr/ c:82 c:81 c:90$/, 'the original takes over again, and sends what it could not');

$t->set('wal2kafka.transaction_timeout_ms', '900000');
$t->wait_stat('last_error_hint', qr/transaction\.max\.timeout\.ms/);
pass('a broker with a lower limit: the hint names it');
$t->sql('INSERT INTO one VALUES (91)');
$t->set('wal2kafka.transaction_timeout_ms', undef);
$t->wait_state('streaming');
$t->wait_caught_up;
like($t->story('public.one'), qr/ c:90 c:91$/, 'and nothing is lost');

done_testing();
