# Can a reader decode a stream that has no registry?

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../test/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wal2Kafka;

my $t = Wal2Kafka->new(
	registry => 0,
	tables => Wal2Kafka->workload_tables . 'CREATE TABLE item (id int PRIMARY KEY, name text);');

$t->start_stream;
$t->sql(q{INSERT INTO item VALUES (1, 'a')});
$t->sql('ALTER TABLE item ADD COLUMN price int');
$t->sql(q{INSERT INTO item VALUES (2, 'b', 3)});
$t->wait_caught_up;
is($t->story('public.item'), 'c:1 c:2', 'decoded by the schemas of the topic shop.schemas');
my $records = $t->records('public.item');
is($records->[1]{value}{after}{price}, 3, 'by the schema of its time');
isnt($records->[0]{value_schema}, $records->[1]{value_schema}, 'two fingerprints');
my %topics = %{ $t->{kafka}->topics };
ok($topics{'shop.schemas'}, 'the topic of schemas');

$t->start_workload(writers => 2, transactions => 200);
$t->stop_workload(wait => 1);
$t->check_workload('without a registry');

done_testing();
