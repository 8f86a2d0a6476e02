# Does a stream wait for its registry, and cope with one that comes back empty?

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
$t->start_workload(writers => 2);
$t->wait_events(200);
$t->{registry}->kill9;

# Known schemas need no registry.
$t->wait_events(200);
pass('tables whose schemas are known go on');

# A new table does.
$t->sql('CREATE TABLE fresh (id int PRIMARY KEY, name text)');
$t->sql(q{INSERT INTO fresh VALUES (1, 'a')});
$t->wait_waiting_for('registry');
pass('waiting_for says registry');

# It comes back, and knows nothing.
$t->{registry}->start;
wait_until('the table arrives', sub { @{ $t->records('public.fresh', missing_ok => 1) } > 0 });
is($t->story('public.fresh'), 'c:1', 'the new table arrives');

# The schemas from before have to be registered again by whoever has them;
# readers need them.  A worker that starts anew does that.
$t->admin(qq{SELECT wal2kafka.restart('$t->{stream}')});
$t->wait_events(200);
$t->stop_workload;
$t->check_workload('registry came back empty');

done_testing();
