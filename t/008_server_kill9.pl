# Is anything lost when the server is killed with -9?

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../test/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wal2Kafka;

my $t = Wal2Kafka->new(tables => Wal2Kafka->workload_tables);
my $node = $t->{node};

$t->start_stream;
$t->start_workload(writers => 4);
for my $round (1 .. 2)
{
	$t->wait_events(300);
	my $worker = $t->worker_pid;
	kill 'KILL', $t->postmaster_pid;
	wait_until('the worker notices that the server died', sub { !kill 0, $worker });
	pass('a worker does not outlive its server');
	$t->stopped;
	wait_until('the server starts', sub { $node->start(fail_ok => 1) });
	$t->wait_state('streaming');
}
$t->wait_events(100);
$t->stop_workload;
$t->check_workload('server killed');

done_testing();
