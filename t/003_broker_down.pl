# Does a stream wait for its broker, in bounded memory, and go on by itself?

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../test/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wal2Kafka;

# WAL2KAFKA_TEST_LONG makes the outage ten minutes instead of half a one.
my $outage = $ENV{WAL2KAFKA_TEST_LONG} ? 600 : 30;
my $t = Wal2Kafka->new(
	tables => Wal2Kafka->workload_tables . 'CREATE TABLE bulk (id int PRIMARY KEY, t text);',
	conf => "wal2kafka.max_queue_size_in_bytes = '8MB'\n");

$t->start_stream;
$t->start_workload(writers => 3);
$t->wait_events(300);
my $memory = $t->worker_memory;

$t->{kafka}->kill9;
my $down = time();
$t->wait_waiting_for('broker');
pass('waiting_for says broker');

# Far more than the queue holds, while nobody takes it.
$t->sql(q{INSERT INTO bulk SELECT i, repeat(md5(i::text), 8) FROM generate_series(1, 100000) i});
my $highest = 0;
while (time() - $down < $outage)
{
	my $now = $t->worker_memory;
	$highest = $now if $now > $highest;
	select undef, undef, undef, 0.5;
}
note("memory of the worker: $memory kB before, at most $highest kB during the outage");
cmp_ok($highest - $memory, '<', (8 + 64 + 32) * 1024, 'memory stays bounded');
is($t->stat('state'), 'streaming', 'it is still the same worker');
like($t->sql('SELECT 1'), qr/1/, 'the server works');
my $waited = $t->stat('waiting_for');
is($waited, 'broker', 'and waits for the broker');

$t->{kafka}->start;
$t->stop_workload;
$t->check_workload('broker down');
is($t->count('public.bulk')->{events}, 100000, 'the large transaction arrived');
$t->wait_waiting_for('nothing');
pass('waiting for nothing again');

done_testing();
