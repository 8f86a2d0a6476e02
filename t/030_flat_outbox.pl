# Do flat rows and outbox events arrive, each on the topic that its row names,
# with its schemas under that topic's subjects?

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../test/lib";

use HTTP::Tiny;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wal2Kafka;

my $t = Wal2Kafka->new(
	snapshot => 'initial',
	tables => q{
	CREATE TABLE item (id int PRIMARY KEY, name text, route text);
	ALTER TABLE item REPLICA IDENTITY FULL;
	CREATE TABLE outbox (id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
		aggregatetype text NOT NULL, aggregateid text, type text, payload jsonb,
		at timestamp, part int);
	INSERT INTO item VALUES (1, 'one', 'items.a'), (2, 'two', NULL);
	INSERT INTO outbox (aggregatetype, aggregateid, payload) VALUES ('Order', 'o0', '{"n": 0}');
	ALTER DATABASE shop SET wal2kafka.envelope = flat;
	ALTER DATABASE shop SET wal2kafka.delete_tombstone_handling_mode = 'rewrite-with-tombstone';
	ALTER DATABASE shop SET wal2kafka.add_fields = 'op,source.snapshot:SNAPSHOT';
	ALTER DATABASE shop SET wal2kafka.add_headers = 'table';
	ALTER DATABASE shop SET wal2kafka.route_by_field = 'route';
	ALTER DATABASE shop SET wal2kafka.outbox_tables = 'public.outbox';
	ALTER DATABASE shop SET wal2kafka.outbox_table_fields_additional_placement = 'type:header:eventType,part:partition';
	ALTER DATABASE shop SET wal2kafka.outbox_table_field_event_timestamp = 'at';
	ALTER DATABASE shop SET wal2kafka.outbox_route_tombstone_on_empty_payload = on;
	ALTER DATABASE shop SET wal2kafka.topic_partitions = 3;
});

# "op:id ..." of flat rows, "-:id" of tombstones, in any order
sub rows
{
	my ($topic) = @_;
	return join ' ', sort map {
		($_->{value} ? "$_->{value}{__op}$_->{value}{__deleted}" : '-') . ":$_->{key}{id}"
	} @{ $t->records(undef, topic => $topic) };
}

sub subjects
{
	my $reply = HTTP::Tiny->new->get($t->{registry}->address . '/subjects');
	return @{ decode_json($reply->{content}) };
}

$t->start_stream;
$t->sql(q{
	INSERT INTO item VALUES (3, 'three', 'items.b');
	UPDATE item SET route = 'items.b' WHERE id = 1;
	DELETE FROM item WHERE id = 3;
	UPDATE item SET id = 4 WHERE id = 2;
	INSERT INTO outbox (aggregatetype, aggregateid, type, payload, at, part) VALUES
		('Order', 'o1', 'Created', '{"n": 1}', '2024-02-29 12:34:56.789', 2),
		('Customer', 'c1', NULL, NULL, NULL, NULL);
	DELETE FROM outbox;
});
$t->wait_caught_up;

is(rows('items.a'), 'rfalse:1', 'rows go where their value says');
is(rows('items.b'), '-:3 cfalse:3 dtrue:3 ufalse:1', '... deletes and tombstones too');
is(rows('shop.public.item'), '-:2 cfalse:4 dtrue:2 rfalse:2', '... or to the table\'s topic');
my ($first) = @{ $t->records(undef, topic => 'items.a') };
is($first->{value}{name}, 'one', 'the row itself');
like($first->{value}{__SNAPSHOT}, qr/^first/, 'with a field of the envelope');
is_deeply($first->{headers}, { __table => 'item' }, 'and a header');

my $orders = $t->records(undef, topic => 'outbox.event.Order');
is_deeply([ sort map { $_->{key} } @$orders ], [ 'o0', 'o1' ], 'outbox rows of snapshot and stream');
my ($created) = grep { $_->{key} eq 'o1' } @$orders;
is_deeply(decode_json($created->{value}), { n => 1 }, 'payload');
is($created->{headers}{eventType}, 'Created', 'header');
like($created->{headers}{id}, qr/^[0-9a-f-]{36}$/, 'id');
is($created->{partition}, 2, 'partition');
is($created->{timestamp}, 1709210096789, 'time');
my ($customer) = @{ $t->records(undef, topic => 'outbox.event.Customer') };
is($customer->{key}, 'c1', 'another type has another topic');
ok(!defined $customer->{value}, 'an empty payload is a tombstone');
ok(!$t->{kafka}->topics->{'shop.public.outbox'}, 'an outbox table has no topic of its own');

my %subjects = map { $_ => 1 } subjects();
ok($subjects{"$_-key"} && $subjects{"$_-value"}, "subjects of $_")
	foreach 'items.a', 'items.b', 'shop.public.item', 'outbox.event.Order';
ok(!$subjects{'shop.public.outbox-value'}, 'and none of the outbox table');

# A value that names no topic stops the stream there; what to do about it is
# a setting.
$t->sql(q{INSERT INTO outbox (aggregatetype, aggregateid, payload) VALUES ('no topic', 'x', '{}'), ('Order', 'o2', '{}')});
$t->wait_error(qr/is no name of a topic/);
$t->sql(q{ALTER DATABASE shop SET wal2kafka.outbox_route_topic_regex = '(\w+)( .*)?';
	ALTER DATABASE shop SET wal2kafka.outbox_route_topic_replacement = 'outbox.event.$1'});
$t->wait_caught_up;
is(scalar @{ $t->records(undef, topic => 'outbox.event.no') }, 1, 'and goes on by itself');
is(scalar @{ $t->records(undef, topic => 'outbox.event.Order') }, 3, '... with what follows');

# Values cannot make any number of topics at once.
$t->sql(q{ALTER DATABASE shop SET wal2kafka.guardrail_collections_max = 5});
$t->sql(q{INSERT INTO outbox (aggregatetype, aggregateid, payload)
	SELECT 'many' || i, i, '{}' FROM generate_series(1, 8) i});
$t->wait_error(qr/have named more than 5 topics/);
$t->sql(q{ALTER DATABASE shop SET wal2kafka.guardrail_collections_max = 50});
$t->wait_caught_up;
is(scalar(grep { /^outbox\.event\.many/ } keys %{ $t->{kafka}->topics }), 8, 'a raised guardrail lets them pass');

# The payload alone.
$t->sql(q{ALTER DATABASE shop SET wal2kafka.outbox_payload_raw = on});
$t->sql(q{INSERT INTO outbox (aggregatetype, aggregateid, payload) VALUES ('Raw', 'r1', '{"a": 1}')});
$t->wait_caught_up;
my ($ok, $out) = $t->reader('count', 'outbox.event.Raw');
ok($ok && decode_json($out)->{events} == 1, 'a payload as it is');
ok(!grep({ $_ eq 'outbox.event.Raw-value' } subjects()), '... needs no schema');

done_testing();
