# Does a stream take over from a running Debezium connector, and give back,
# and take over again, with no change of a key lost and no row read twice?

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../test/lib";

use Connect;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wal2Kafka;

plan skip_all => 'takes the real Debezium; run with WAL2KAFKA_TEST_MOVE=1'
  unless $ENV{WAL2KAFKA_TEST_MOVE};
plan skip_all => 'Debezium is not there; run test/testbed/testbed.sh fetch_debezium'
  unless Connect::jars();

my $t = Wal2Kafka->new(
	snapshot => 'initial',
	tables => q{
	CREATE TABLE item (id int PRIMARY KEY, v int NOT NULL);
	INSERT INTO item SELECT i, 0 FROM generate_series(1, 200) i;
} . Wal2Kafka->workload_tables,
	conf => "listen_addresses = '127.0.0.1'\n"
	  . "wal2kafka.publication_name = 'dbz_publication'\n");
my $node = $t->{node};
$t->sql('CREATE EXTENSION wal2kafka');
my $connect = Connect->new($t->{kafka}, $t->{registry})->start;

# Whose the record is
sub writer { my ($record) = @_; return $record->{value}{source}{version} =~ /Final/ ? 'D' : 'W'; }

sub wait_active
{
	my ($active) = @_;
	eval {
		wait_until("the connector's slot is " . ($active ? 'in use' : 'free'), sub {
			return $t->sql(q{SELECT active FROM pg_replication_slots WHERE slot_name = 'debezium'})
			  eq ($active ? 't' : 'f');
		}, 60);
		1;
	} or do {
		my $error = $@;
		$connect->complain('shop');
		die $error;
	};
	return;
}

# Changes of the workload that the topic has, by whom
sub events
{
	my ($by) = @_;
	my %n = (D => 0, W => 0);
	$n{ writer($_) }++ foreach grep { $_->{value} } @{ $t->records('public.ledger') };
	return $n{$by};
}

sub wait_more_events
{
	my ($by, $more) = @_;
	my $start = events($by);
	wait_until("$more more records by $by", sub { return events($by) >= $start + $more });
	return;
}

sub adopt { return $node->psql('shop', "SELECT slot_name FROM wal2kafka.adopt_slot($_[0])"); }

# Debezium first.
$connect->create('shop', $node, 'shop');
wait_active(1);
$t->start_workload(writers => 3, rate => 40, keys => 200);
wait_more_events('D', 200);

# What is refused.
my ($code, $out, $err) = adopt(q{'debezium', 'shop/cdc'});
like($err, qr/slot "debezium" is in use by process \d+\nHINT:.*connector/, 'the connector runs');
($code, $out, $err) = adopt(q{'debezium'});
like($err, qr/the stream must be named/, 'no stream yet');
($code, $out, $err) = adopt(q{'nix', 'shop/cdc'});
like($err, qr/there is no slot "nix"/, 'no such slot');
($code, $out, $err) = adopt(q{'debezium', 'postgres/cdc'});
like($err, qr/stream "postgres\/cdc" is of another database/, 'stream of another database');
$t->sql(q{SELECT pg_create_physical_replication_slot('physical', true);
	SELECT pg_create_logical_replication_slot('test', 'test_decoding')});
$t->admin(q{SELECT pg_create_logical_replication_slot('elsewhere', 'pgoutput')});
($code, $out, $err) = adopt(q{'physical', 'shop/cdc'});
like($err, qr/slot "physical" is a physical slot/, 'physical slot');
($code, $out, $err) = adopt(q{'test', 'shop/cdc'});
like($err, qr/slot "test" uses output plugin test_decoding/, 'other plugin');
($code, $out, $err) = adopt(q{'elsewhere', 'shop/cdc'});
like($err, qr/slot "elsewhere" is of database "postgres"/, 'other database');
$t->sql(q{SELECT pg_drop_replication_slot(s) FROM unnest('{physical,test}'::name[]) s});
$t->admin(q{SELECT pg_drop_replication_slot('elsewhere')});
($code, $out, $err) = $node->psql('shop',
	q{SET ROLE cdc; SELECT wal2kafka.adopt_slot('debezium', 'shop/cdc')});
like($err, qr/permission denied for function adopt_slot/, 'not for everyone');

# There: the stream is configured and waits, held because the topics are not
# empty, until it has the slot.
$connect->call('PUT', '/connectors/shop/stop');
wait_active(0);
$t->start_stream(state => 'held');
like($t->stat('last_error'), qr/topic .* has records/, 'a stream without a slot is held');
($code, $out, $err) = adopt(q{'debezium'});
is($out, $t->slot, 'the slot is copied to the stream\'s') or diag($err);
like($err, qr/HINT:.*retains WAL/, '... and the other one is still there');
$t->wait_state('streaming');
wait_more_events('W', 200);
($code, $out, $err) = adopt(q{'debezium'});
like($err, qr/stream "shop\/cdc" is streaming/, 'not under a stream that runs');
$t->sql(q{SELECT wal2kafka.pause('shop/cdc')});
$t->wait_state('paused');
($code, $out, $err) = adopt(q{'debezium'});
like($err, qr/has a slot already/, 'nor over its slot');

# Back: the connector's slot is made anew from the stream's, its offsets go.
$t->sql(sprintf(q{SELECT pg_drop_replication_slot('debezium');
	SELECT pg_copy_logical_replication_slot('%s', 'debezium', false, 'pgoutput')}, $t->slot));
is(scalar @{ $connect->call('GET', '/connectors/shop/offsets')->{offsets} }, 1,
	'Connect has offsets of the connector');
$connect->call('DELETE', '/connectors/shop/offsets');
$connect->create('shop', $node, 'shop', { 'snapshot.mode' => 'no_data' });
$connect->call('PUT', '/connectors/shop/resume');
wait_active(1);
wait_more_events('D', 200);

# There again, this time after a crash of Connect: nothing of it was confirmed
# in the last minute, and all of that is sent again.
$connect->kill9;
wait_active(0);
my $stale = $t->slot;
$t->sql(qq{SELECT pg_drop_replication_slot('$stale')});
($code, $out, $err) = adopt(q{'debezium', 'shop/cdc'});
is($code, 0, 'paused: taken over') or diag($err);
is($t->stat('state'), 'paused', '... and still paused');
$t->sql(q{SELECT wal2kafka.resume('shop/cdc')});
$t->wait_state('streaming');
wait_more_events('W', 200);
$t->sql(q{SELECT pg_drop_replication_slot('debezium')});
$t->stop_workload;
my $result = $t->check_workload('there, back and there again');

# What was sent twice: the same change, that is LSN, operation and key, by
# turns of the two writers.
my (%seen, %ids, %key_ids, @turns);
my $records = $t->records('public.ledger');
foreach my $record (@$records)
{
	$key_ids{ $record->{key_schema} } = 1;
	next unless $record->{value};
	$ids{ $record->{value_schema} } = 1;
	push @turns, { by => writer($record), records => 0, again => 0 }
	  if !@turns || $turns[-1]{by} ne writer($record);
	$turns[-1]{records}++;
	$turns[-1]{again}++
	  if $seen{ join ' ', $record->{value}{source}{lsn}, $record->{value}{op}, $record->{key}{id} }++;
}
note("$_->{by}: $_->{records} records, $_->{again} of them again") foreach @turns;
is(join('', map { $_->{by} } @turns), 'DWDW', 'one writer at a time');
cmp_ok($turns[1]{again}, '<', 20, 'after a connector that was stopped, its last transaction comes again');
is($turns[2]{again}, 0, 'after a stream that was paused, nothing');
cmp_ok($turns[3]{again}, '<=', $turns[2]{records}, 'after a crash, what was not confirmed');
is_deeply([ scalar(keys %ids), scalar(keys %key_ids) ], [ 1, 1 ],
	'one schema id for values and one for keys: the registry knows ours as Debezium\'s');

# The rows were read once, by Debezium.
my @read = grep { $_->{value} && $_->{value}{op} eq 'r' } @{ $t->records('public.item') };
is(scalar(@read), 200, 'no second snapshot');

# A slot that is lost.
$t->sql(q{SELECT pg_create_logical_replication_slot('lost', 'pgoutput')});
$t->sql(q{SELECT wal2kafka.pause('shop/cdc')});
$t->wait_state('paused');
$t->sql(sprintf q{SELECT pg_drop_replication_slot('%s')}, $t->slot);
$t->set('max_slot_wal_keep_size', '1MB');
wait_until('the slot is lost', sub {
	$t->sql(q{SELECT pg_switch_wal(); CHECKPOINT});
	return $t->sql(q{SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'lost'}) eq 'lost';
});
($code, $out, $err) = adopt(q{'lost', 'shop/cdc'});
like($err, qr/slot "lost" was invalidated/, 'a slot without its WAL');

done_testing();
