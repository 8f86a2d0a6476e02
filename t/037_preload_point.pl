# Does a table that is loaded from preload_point()'s snapshot, and the topic
# read from its offsets on, give the table, with nothing missing and nothing
# twice, beside writers?

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../test/lib";

use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wal2Kafka;

my $t = Wal2Kafka->new(
	snapshot => 'initial',
	conf => "wal2kafka.topic_partitions = 3\nmax_connections = 60\n",
	tables => Wal2Kafka->workload_tables . q{
	CREATE EXTENSION wal2kafka;
	CREATE TABLE quiet (id int PRIMARY KEY);
	INSERT INTO quiet SELECT generate_series(1, 100);
	INSERT INTO version_of SELECT g, 1 FROM generate_series(1, 40) AS g;
	INSERT INTO ledger SELECT g, 1, -g, 'old' FROM generate_series(1, 40) AS g;
	ALTER DATABASE shop SET wal2kafka.table_include_list = 'public.ledger,public.quiet';
});
my $node = $t->{node};
$t->start_stream;

# A line of JSON a row
sub rows_of
{
	my ($session, $table) = @_;
	return [ map { decode_json($_) } split /\n/,
		$session->query_safe("SELECT row_to_json(t) FROM $table AS t") ];
}

# What a loader gets: the point, and the tables as its snapshot has them, from
# sessions of their own.
sub load
{
	my $owner = $node->background_psql('shop');
	my @loaders = map { $node->background_psql('shop') } 1 .. 2;
	my %load;

	$owner->query_safe('BEGIN');
	$load{before} = time() - 1;
	$load{point} = decode_json($owner->query_safe(
		'SELECT to_json(p) FROM wal2kafka.preload_point() AS p'));
	foreach my $loader (@loaders)
	{
		$loader->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ');
		$loader->query_safe("SET TRANSACTION SNAPSHOT '$load{point}{snapshot_name}'");
	}
	$owner->query_safe('COMMIT');
	$owner->quit;

	# the second one is in no hurry
	$load{ledger} = rows_of($loaders[0], 'ledger');
	$load{versions} = rows_of($loaders[1], 'version_of');
	foreach my $loader (@loaders)
	{
		$loader->query_safe('COMMIT');
		$loader->quit;
	}
	return \%load;
}

# Go on from a load: the rows by key, and what is wrong with the first record
# of a key, or with the order.
sub go_on
{
	my ($load, $records) = @_;
	my $offsets = $load->{point}{offsets}{'shop.public.ledger'};
	my %rows = map { $_->{id} => $_ } @{ $load->{ledger} };
	my %version = map { $_->{id} => $_->{version} } @{ $load->{versions} };
	my @problems;
	my ($read, $early) = (0, 0);

	foreach my $record (@$records)
	{
		my $start = $offsets->{ $record->{partition} };
		next if $record->{offset} < $start;

		my $id = $record->{key}{id};
		my $value = $record->{value};
		$read++;
		$early++ if $record->{timestamp} / 1000 < $load->{at};
		if (!$value || $value->{op} eq 'd')
		{
			delete $rows{$id};
			next;
		}
		push @problems, "key $id: version $value->{after}{version} after " . ($version{$id} || 0)
		  if $value->{after}{version} != ($version{$id} || 0) + 1;
		$version{$id} = $value->{after}{version};
		$rows{$id} = $value->{after};
	}
	return (\%rows, \@problems, $read, $early);
}

$t->start_workload(writers => 12, keys => 48, rate => 40);
$t->wait_events(200);
my @loads;
foreach my $round (1 .. 6)
{
	push @loads, load();
	$t->wait_events(150);
}
# transactions that are open across a point
my $long = $node->background_psql('shop');
$long->query_safe("BEGIN; SELECT ledger_op(1001, 5000001, 'write', 0, 2)");
push @loads, load();
$long->query_safe('COMMIT');
$long->quit;
$t->wait_events(100);
$t->stop_workload;
$t->wait_caught_up;

my $records = $t->records('public.ledger');
my $table = { map { my $row = decode_json($_); $row->{id} => $row }
	  split /\n/, $t->sql('SELECT row_to_json(l) FROM ledger l') };
foreach my $i (0 .. $#loads)
{
	my $load = $loads[$i];

	$load->{at} = $t->sql("SELECT extract(epoch FROM '$load->{point}{at}'::timestamptz)");
	my ($rows, $problems, $read, $early) = go_on($load, $records);
	cmp_ok($read, '>', 50, "load $i: $read records follow it");
	is_deeply($problems, [], "load $i: the first record of each key is the next version");
	is_deeply($rows, $table, "load $i and the records behind it are the table");
	is($early, 0, "load $i: no record has an earlier time");
	cmp_ok($load->{at}, '>', $load->{before} - 5, 'and the time is not far back');
	is_deeply([ sort keys %{ $load->{point}{offsets} } ],
		[ 'shop.public.ledger', 'shop.public.quiet' ], 'all topics are there');
	my $quiet = $load->{point}{offsets}{'shop.public.quiet'};
	is($quiet->{0} + $quiet->{1} + $quiet->{2}, 100, 'also those that nobody writes to');
}

# ----------
# With a worker that has written to nothing yet
# ----------

$t->sql("SELECT wal2kafka.restart('shop/cdc')");
wait_until('the stream starts anew', sub { $t->stat('restarts') >= 2 });
$t->wait_state('streaming');
my $load = load();
my ($rows) = go_on($load, $t->records('public.ledger'));
is_deeply($rows, $table, 'after a restart of the worker');
my ($after) = grep { $_->{offset} >= $load->{point}{offsets}{'shop.public.ledger'}{ $_->{partition} } }
  @{ $t->records('public.ledger') };
is($after, undef, 'nothing follows');

# ----------
# What is refused
# ----------

sub refused
{
	my ($sql, $pattern, $what) = @_;
	my (undef, undef, $err) = $node->psql('shop', $sql);
	like($err, $pattern, $what);
	return;
}

refused('SELECT wal2kafka.preload_point()', qr/can only be used in a transaction block/,
	'outside of a transaction block');
refused('BEGIN; SAVEPOINT s; SELECT wal2kafka.preload_point()', qr/cannot be used in a subtransaction/,
	'in a subtransaction');
refused("BEGIN; SELECT wal2kafka.preload_point('shop/nobody')", qr/there is no stream "shop\/nobody"/,
	'an unknown stream');
refused('SET ROLE cdc; BEGIN; SELECT wal2kafka.preload_point()', qr/permission denied/,
	'without privilege');
$t->sql("SELECT wal2kafka.pause('shop/cdc')");
$t->wait_state('paused');
refused('BEGIN; SELECT wal2kafka.preload_point()', qr/has no worker that streams/, 'a stream that is paused');
$t->sql("SELECT wal2kafka.resume('shop/cdc')");
$t->wait_state('streaming');

$t->{kafka}->freeze;
my $session = $node->background_psql('shop', on_error_stop => 0);
$session->query_safe('BEGIN');
$session->query("SET statement_timeout = '3s'");
$session->query('SELECT wal2kafka.preload_point()');
like($session->{stderr}, qr/canceling statement due to statement timeout/, 'a wait for Kafka can be cancelled');
$session->quit;
wait_until('its process ends', sub {
	$t->sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'wal2kafka preload point'") eq '0';
});
$t->{kafka}->thaw;
$t->sql('INSERT INTO quiet VALUES (1000)');
$t->wait_caught_up;
is($t->sql("BEGIN; SELECT snapshot_name ~ '^[0-9A-F-]+\$' FROM wal2kafka.preload_point()"), 't',
	'and later there is one again');

done_testing();
