# Are asynchronous commits delivered, soon and in order?

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../test/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wal2Kafka;

# The WAL writer is made slow, so that only the worker's own flush can help.
my $t = Wal2Kafka->new(
	tables => Wal2Kafka->workload_tables . 'CREATE TABLE item (id int PRIMARY KEY);',
	conf => "wal_writer_delay = 10s\nwal_writer_flush_after = 1GB\nfsync = on\n");

$t->start_stream;
$t->sql('INSERT INTO item VALUES (0)');
$t->wait_caught_up;
my @took;
foreach my $id (1 .. 10)
{
	my $acknowledged = $t->stat('events');
	my $began = Time::HiRes::time();
	$t->sql("SET synchronous_commit = off; INSERT INTO item VALUES ($id)");
	wait_until("commit $id arrives", sub { $t->stat('events') > $acknowledged }, 30);
	push @took, Time::HiRes::time() - $began;
}
@took = sort { $a <=> $b } @took;
note("asynchronous commit to event, with two psql calls: median $took[5] s, worst $took[9] s");
cmp_ok($took[5], '<', 2, 'an asynchronous commit does not wait for the WAL writer');

$t->start_workload(writers => 4, transactions => 200, options => '-c synchronous_commit=off');
$t->stop_workload(wait => 1);
$t->check_workload('asynchronous commits');

done_testing();
