# Is anything lost or out of order when the broker is killed, or freezes, under load?

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../test/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wal2Kafka;

my $t = Wal2Kafka->new(
	tables => Wal2Kafka->workload_tables,
	conf => "wal2kafka.topic_partitions = 3\n");

$t->start_stream;
$t->start_workload(writers => 4, keys => 16);
for my $round (1 .. 3)
{
	$t->wait_events(400);
	$t->{kafka}->kill9;
	$t->{kafka}->start;
}
$t->wait_events(400);
$t->{kafka}->freeze;
$t->wait_waiting_for('broker') if $ENV{WAL2KAFKA_TEST_LONG};
wait_until('the frozen broker holds something back', sub { ($t->stat('queue_messages') || 0) > 0 });
$t->{kafka}->thaw;
$t->wait_events(400);
$t->stop_workload;
my $result = $t->check_workload('broker killed');
cmp_ok($result->{keys}, '>', 16, 'keys were changed too');

done_testing();
