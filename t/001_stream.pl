# Does the smallest configuration of the documentation stream?

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../test/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wal2Kafka;

# Everything is configured before the server starts, as an operator would,
# and nothing but that: no extension, no setting beyond the five lines.
my $kafka = Testbed->new('kafka')->start;
my $registry = Testbed->new('registry')->start;
my $node = PostgreSQL::Test::Cluster->new('main');

$node->init;
$node->append_conf('postgresql.conf', 'wal_level = logical');
$node->start;
$node->safe_psql('postgres', 'CREATE ROLE cdc LOGIN REPLICATION');
$node->safe_psql('postgres', 'CREATE DATABASE shop');
$node->safe_psql(
	'shop', q{
	CREATE TABLE item (id int PRIMARY KEY, name text NOT NULL, price numeric(10,2));
	GRANT SELECT ON item TO cdc;
});
$node->append_conf(
	'postgresql.conf', sprintf q{
shared_preload_libraries = 'wal2kafka'
wal2kafka.streams = 'shop/cdc'
wal2kafka.bootstrap_servers = '%s'
wal2kafka.schema_registry_url = '%s'
}, $kafka->address, $registry->address);
$node->restart;

my $t = Wal2Kafka->adopt(node => $node, kafka => $kafka, registry => $registry);

wait_until('the slot is there', sub {
	$node->safe_psql('postgres',
		q{SELECT count(*) FROM pg_replication_slots WHERE slot_name ~ '^wal2kafka_shop' AND active}) == 1;
});
$node->safe_psql(
	'shop', q{
	INSERT INTO item VALUES (1, 'pen', 1.50), (2, 'ink', NULL);
	UPDATE item SET price = 2.25 WHERE id = 1;
	DELETE FROM item WHERE id = 2;
	UPDATE item SET id = 3 WHERE id = 1;
	BEGIN; INSERT INTO item VALUES (4, 'never', 0); ROLLBACK;
	BEGIN; SAVEPOINT s; INSERT INTO item VALUES (5, 'lost', 0); ROLLBACK TO s;
	INSERT INTO item VALUES (6, 'kept', 0); COMMIT;
});
$t->{slot} = $node->safe_psql('postgres', 'SELECT slot_name FROM pg_replication_slots');
like($t->{slot}, qr/^wal2kafka_shop_[0-9a-f]{8}$/, 'name of the slot');
$t->wait_caught_up;
is($t->story('public.item'),
	'c:1 c:2 u:1 d:2 -:2 d:1 -:1 c:3 c:6', 'each change, in order');

my $records = $t->records('public.item');
is_deeply($records->[0]{value}{after},
	{ id => 1, name => 'pen', price => '1.50' }, 'row of an insert');
is($records->[0]{value}{before}, undef, 'an insert has no row before');
is_deeply($records->[2]{value}{after},
	{ id => 1, name => 'pen', price => '2.25' }, 'row of an update');
is($records->[0]{value}{source}{connector}, 'postgresql', 'source.connector');
is($records->[0]{value}{source}{table}, 'item', 'source.table');
is_deeply($records->[3]{key}, { id => 2 }, 'key of a delete');
ok($records->[5]{headers}{'__debezium.newkey'}, 'header of a changed key, on the delete');
ok($records->[7]{headers}{'__debezium.oldkey'}, 'header of a changed key, on the create');
is($records->[0]{timestamp}, $records->[0]{value}{source}{ts_ms},
	"a record's timestamp is its commit's");
is($node->safe_psql('shop', q{SELECT count(*) FROM pg_extension WHERE extname = 'wal2kafka'}),
	0, 'streaming needs no extension');

# Where the extension is created later, it shows the stream.
$node->safe_psql('postgres', 'CREATE EXTENSION wal2kafka');
is($t->stat('state'), 'streaming', 'state');
is($t->stat('events'), 9, 'events');
is($t->stat('coalesce(last_error, \'\')'), '', 'no error');

done_testing();
