# Is anything lost when the worker is terminated again and again?

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../test/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wal2Kafka;

my $t = Wal2Kafka->new(tables => Wal2Kafka->workload_tables);

$t->start_stream;
$t->start_workload(writers => 4);
for my $round (1 .. 4)
{
	my $pid = $t->worker_pid;

	$t->wait_events(300);
	$t->admin("SELECT pg_terminate_backend($pid)");
	wait_until('another worker runs', sub {
		my $now = $t->stat('pid');
		return $now && $now =~ /^[1-9]/ && $now != $pid;
	});
	$t->wait_state('streaming');
}
$t->wait_events(100);
$t->stop_workload;
$t->check_workload('worker terminated');
cmp_ok($t->stat('restarts'), '>=', 4, 'restarts are counted');
unlike($t->stat('state'), qr/held/, 'an administrator who terminates a worker does not get it held');

done_testing();
