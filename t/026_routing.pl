# Do lists, keys, routes and partitions hold for the snapshot and the stream,
# in Kafka?

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
	CREATE TABLE part_1 (id int PRIMARY KEY, region text, secret text);
	CREATE TABLE part_2 (id int PRIMARY KEY, region text, secret text);
	CREATE TABLE hidden (id int PRIMARY KEY);
	CREATE TABLE keyed (id int PRIMARY KEY, tenant text NOT NULL);
	ALTER TABLE keyed REPLICA IDENTITY FULL;
	CREATE SCHEMA _timescaledb_internal;
	CREATE TABLE metrics (t int PRIMARY KEY, v int);
	CREATE TABLE _timescaledb_internal._hyper_1_1_chunk (PRIMARY KEY (t)) INHERITS (metrics);
	GRANT USAGE ON SCHEMA _timescaledb_internal TO cdc;
	GRANT SELECT ON ALL TABLES IN SCHEMA _timescaledb_internal TO cdc;
	INSERT INTO part_1 VALUES (1, 'north', 's');
	INSERT INTO part_2 VALUES (1, 'south', 's');
	INSERT INTO hidden VALUES (1);
	INSERT INTO keyed VALUES (1, 'a');
	INSERT INTO _timescaledb_internal._hyper_1_1_chunk VALUES (1, 11);
	ALTER DATABASE shop SET wal2kafka.table_exclude_list = 'public.hidden,public.hiddn';
	ALTER DATABASE shop SET wal2kafka.column_exclude_list = '.*\.secret';
	ALTER DATABASE shop SET wal2kafka.message_key_columns = 'public.keyed:tenant,id';
	ALTER DATABASE shop SET wal2kafka.skip_messages_without_change = on;
	ALTER DATABASE shop SET wal2kafka.topic_regex = '(.*)\.(part)_\d';
	ALTER DATABASE shop SET wal2kafka.topic_replacement = '$1.all-$2s';
	ALTER DATABASE shop SET wal2kafka.topic_router_regex = 'shop\.(.*keyed)';
	ALTER DATABASE shop SET wal2kafka.topic_router_replacement = 'routed.$1';
	ALTER DATABASE shop SET wal2kafka.timescaledb = on;
	ALTER DATABASE shop SET wal2kafka.partition_payload_fields = 'change.region';
	ALTER DATABASE shop SET wal2kafka.partition_topic_num = 7;
});

# What happened, in any order: records are spread over partitions.
sub story
{
	my ($topic) = @_;
	return join ' ', sort split / /, $t->story(undef, topic => $topic);
}

$t->start_stream;
$t->sql(q{
	INSERT INTO part_1 VALUES (2, 'east', 's');
	UPDATE part_2 SET region = 'west';
	DELETE FROM part_2;
	INSERT INTO hidden VALUES (2);
	UPDATE keyed SET tenant = tenant;
	UPDATE keyed SET tenant = 'b';
	INSERT INTO _timescaledb_internal._hyper_1_1_chunk VALUES (2, 22);
});
$t->wait_caught_up;

# The hash codes of these words modulo 7 are Java's.
my %partition = (north => 1, south => 6, east => 1, west => 5);
my $parts = $t->records('public.all-parts');
is_deeply(
	[ sort map { join ' ', $_->{value} ? $_->{value}{op} : '-',
		map { "$_->{key}{id} $_->{key}{__dbz__physicalTableIdentifier}" } $_ } @$parts ],
	[ '- 1 shop.public.part_2', 'c 2 shop.public.part_1', 'd 1 shop.public.part_2',
		'r 1 shop.public.part_1', 'r 1 shop.public.part_2', 'u 1 shop.public.part_2' ],
	'one topic for both tables, whose keys are told apart');
ok(!grep({ exists(($_->{value}{after} || {})->{secret}) } grep { $_->{value} } @$parts),
	'without the column');
foreach my $record (grep { $_->{value} && $_->{value}{after} } @$parts)
{
	my $region = $record->{value}{after}{region};
	is($record->{partition}, $partition{$region}, "partition of $region");
}
my ($delete) = grep { $_->{value} && $_->{value}{op} eq 'd' } @$parts;
my ($tombstone) = grep { !$_->{value} } @$parts;
is($tombstone->{partition}, $delete->{partition}, 'a tombstone follows its delete');

my %topics = %{ $t->{kafka}->topics };
ok(!$topics{'shop.public.hidden'}, 'no topic for a table that is left out');
ok(!$topics{'shop.public.part_1'}, 'nor for one that is routed elsewhere');
is(story('routed.public.keyed'), '-:1,a c:1,b d:1,a r:1,a',
	'other columns as the key; an update without a change is not sent');
is(story('timescaledb.public.metrics'), 'c:2 r:1',
	'chunks go to their hypertable\'s topic');
my $log = slurp_file($t->{node}->logfile);
like($log, qr/WARNING:.*"public\.hiddn" of "wal2kafka\.table_exclude_list" matches no table/,
	'a warning of an expression that matches nothing');
unlike($log, qr/WARNING:.*"public\.hidden" of/, 'and of no other');
$t->sql('CREATE EXTENSION wal2kafka');
like($t->sql(q{SELECT string_agg(problem, ' ') FROM wal2kafka.check('shop/cdc')}),
	qr/public\.hiddn/, 'check() says so too');

# A mistake that only shows with the tables stops the stream, and goes away.
$t->sql(q{CREATE TABLE "a b" (id int PRIMARY KEY); CREATE TABLE "a-b" (id int PRIMARY KEY); CREATE TABLE "a,b" (id int PRIMARY KEY)});
$t->sql(q{BEGIN; INSERT INTO "a b" VALUES (1); INSERT INTO "a,b" VALUES (2); COMMIT});
$t->wait_error(qr/tables "public\.a b" and "public\.a,b" have the same topic/);
$t->sql(q{ALTER DATABASE shop SET wal2kafka.topic_naming_strategy = 'SchemaUnicodeTopicNamingStrategy'});
$t->wait_caught_up;
is(story('shop.public.a_u0020b'), 'c:1', 'names kept apart');
is(story('shop.public.a_u002cb'), 'c:2', 'both of them');

done_testing();
