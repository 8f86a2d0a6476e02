# Do publications select tables, operations, columns and rows?

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../test/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wal2Kafka;

my $t = Wal2Kafka->new(
	snapshot => 'initial',
	tables => q{
	CREATE TABLE item (id int PRIMARY KEY, name text, secret text, price int);
	CREATE TABLE append_only (id int PRIMARY KEY);
	CREATE TABLE hidden (id int PRIMARY KEY);
	CREATE TABLE part (id int PRIMARY KEY) PARTITION BY RANGE (id);
	CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (100);
	ALTER TABLE item REPLICA IDENTITY FULL;
	INSERT INTO item VALUES (1, 'cheap', 's', 1), (2, 'dear', 's', 1000);
	CREATE PUBLICATION items FOR TABLE item WHERE (price < 100);
	CREATE PUBLICATION inserts FOR TABLE append_only WITH (publish = 'insert');
	CREATE PUBLICATION roots FOR TABLE part WITH (publish_via_partition_root = true);
},
	conf => "wal2kafka.publication_name = 'items, inserts, roots'\n");

$t->start_stream;
$t->sql(q{
	INSERT INTO item VALUES (3, 'cheap', 's', 2), (4, 'dear', 's', 500);
	UPDATE item SET price = 50 WHERE id = 4;
	UPDATE item SET price = 200 WHERE id = 3;
	DELETE FROM item WHERE id = 2;
	INSERT INTO append_only VALUES (1);
	DELETE FROM append_only;
	INSERT INTO hidden VALUES (1);
	INSERT INTO part VALUES (5);
});
$t->wait_caught_up;
is($t->story('public.item'), 'r:1 c:3 c:4 d:3 -:3',
	'rows: also those that move into the filter, or out of it');
is($t->story('public.append_only'), 'c:1', 'operations');
is($t->story('public.hidden'), '', 'tables');
is($t->story('public.part'), 'c:5', 'partitions under the name of their root');
my %topics = %{ $t->{kafka}->topics };
ok(!$topics{'shop.public.hidden'}, 'no topic for a table that is not selected');
ok(!$topics{'shop.public.part_1'}, 'nor for a partition under its root');

# Changes of publications hold from their place in the WAL.
$t->sql(q{
	INSERT INTO hidden VALUES (2);
	ALTER PUBLICATION inserts ADD TABLE hidden;
	INSERT INTO hidden VALUES (3);
	ALTER PUBLICATION inserts DROP TABLE hidden;
	INSERT INTO hidden VALUES (4);
});
$t->wait_caught_up;
is($t->story('public.hidden'), 'c:3', 'a publication changes at its place');

# Column lists.
$t->sql(q{ALTER TABLE item REPLICA IDENTITY DEFAULT});
$t->sql(q{ALTER PUBLICATION items SET TABLE item (id, name)});
$t->sql(q{INSERT INTO item VALUES (9, 'listed', 'secret', 1)});
$t->wait_caught_up;
my $last = $t->records('public.item')->[-1];
is_deeply($last->{value}{after}, { id => 9, name => 'listed' }, 'columns');

done_testing();
