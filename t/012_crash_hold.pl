# Does a row that crashes the worker cost at most two restarts of the server?

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../test/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wal2Kafka;

# Needs a library that was compiled with -DWAL2KAFKA_TEST_CRASH: it aborts on
# an event whose value has the marker.
plan skip_all => 'needs a test build, see test/run'
  unless $ENV{WAL2KAFKA_TEST_CRASH};

my $t = Wal2Kafka->new(
	tables => 'CREATE TABLE item (id int PRIMARY KEY, note text)',
	conf => "restart_after_crash = on\n");
my $node = $t->{node};

sub crashes
{
	my @found = slurp_file($node->logfile) =~ /all server processes terminated; reinitializing/g;
	return scalar @found;
}

$t->start_stream;
$t->sql(q{INSERT INTO item VALUES (1, 'good')});
$t->wait_caught_up;
$t->{node}->psql('shop', q{INSERT INTO item VALUES (2, 'wal2kafka-crash-here')});
$t->wait_state('held');
cmp_ok(crashes(), '<=', 2, 'at most two restarts');
like($t->stat('last_error'), qr/abnormal/, 'last_error says so');
like($t->stat('last_error'), qr{[0-9A-F]+/[0-9A-F]+}, '... with the position');
my $so_far = crashes();

# Held it stays, also over a restart of the server.
$node->restart;
$t->wait_state('held');
is($t->sql('SELECT count(*) FROM item'), 2, 'the server works');
is(crashes(), $so_far, 'nothing crashes any more');

# The kill switch works at server start.
$t->set('wal2kafka.streams', '');
$node->restart;
is($t->admin('SELECT count(*) FROM pg_replication_slots WHERE active'), 0, 'kill switch');

done_testing();
