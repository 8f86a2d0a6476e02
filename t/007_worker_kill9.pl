# Is anything lost when the worker, and with it the whole server, is killed with -9?

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../test/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wal2Kafka;

# The server restarts after that, as it does for any backend that is killed.
my $t = Wal2Kafka->new(
	tables => Wal2Kafka->workload_tables,
	conf => "restart_after_crash = on\n");

$t->start_stream;
$t->start_workload(writers => 4);
$t->wait_events(300);
my $pid = $t->worker_pid;
kill 'KILL', $pid;
wait_until('the server is back and another worker streams', sub {
	my $now = $t->stat('pid');
	return $now && $now =~ /^[1-9]/ && $now != $pid;
});
$t->wait_state('streaming');
$t->wait_events(300);
$t->stop_workload;
$t->check_workload('worker killed');

done_testing();
