# Does a stream wait for its registry, and cope with one that comes back empty?

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../test/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wal2Kafka;

my $t = Wal2Kafka->new(
	tables => Wal2Kafka->workload_tables . 'CREATE TABLE item (id int PRIMARY KEY);');

$t->start_stream;
$t->sql('INSERT INTO item VALUES (1)');
$t->start_workload(writers => 2);
$t->wait_events(200);
$t->stop_workload;
$t->check_workload('before the outage');
my $seen = @{ $t->records('public.item') };
is($seen, 1, 'a record of another table');

# Known schemas need no registry.
$t->{registry}->kill9;
$t->sql('INSERT INTO item VALUES (2)');
$t->wait_caught_up;
is($t->count('public.item')->{events}, 2, 'tables whose schemas are known go on');

# A new table does.
$t->sql('CREATE TABLE fresh (id int PRIMARY KEY, name text)');
$t->sql(q{INSERT INTO fresh VALUES (1, 'a')});
$t->sql('INSERT INTO item VALUES (3)');
$t->wait_waiting_for('registry');
pass('waiting_for says registry');

# It comes back, and knows nothing: its ids start again, so that records from
# before can no longer be read by them.  What is sent from now on can.
$t->{registry}->start;
$t->wait_caught_up;
is($t->story('public.fresh'), 'c:1', 'the new table arrives');
is($t->story('public.item', from => 2), 'c:3', 'so do known tables, with the ids of now');
$t->admin(qq{SELECT wal2kafka.restart('$t->{stream}')});
$t->sql('INSERT INTO item VALUES (4)');
$t->wait_caught_up;
is($t->story('public.item', from => 3), 'c:4', 'and after a restart of the worker');

done_testing();
