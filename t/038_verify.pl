# Does verify() tell whether a topic is its table, beside writers, and only say
# what it knows?

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../test/lib";

use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wal2Kafka;

my $tables = q{
	CREATE EXTENSION wal2kafka;
	CREATE TABLE item (id int PRIMARY KEY, name text, price numeric(10,2), big text, raw bytea,
		list int[], at timestamptz DEFAULT '2024-02-29 12:00+00', flag boolean);
	ALTER TABLE item ALTER big SET STORAGE EXTERNAL, ALTER raw SET STORAGE EXTERNAL,
		ALTER list SET STORAGE EXTERNAL;
	INSERT INTO item SELECT g, 'n' || g, g * 1.5, repeat(md5(g::text), 100),
		decode(repeat(md5(g::text), 150), 'hex'), array_fill(g, ARRAY[1000]) FROM generate_series(1, 50) AS g;
};
my $t = Wal2Kafka->new(
	snapshot => 'initial',
	conf => "wal2kafka.topic_partitions = 3\nmax_connections = 60\n",
	tables => Wal2Kafka->workload_tables . $tables . q{
	CREATE TABLE keyless (a int);
	CREATE TABLE left_out (id int PRIMARY KEY);
	CREATE TABLE twin (id int PRIMARY KEY, kind int NOT NULL);
	INSERT INTO twin SELECT g, g % 3 FROM generate_series(1, 9) AS g;
	CREATE TABLE shelf (id int, part int, PRIMARY KEY (id, part)) PARTITION BY LIST (part);
	CREATE TABLE shelf_1 PARTITION OF shelf FOR VALUES IN (1);
	CREATE TABLE shelf_2 PARTITION OF shelf FOR VALUES IN (2);
	INSERT INTO shelf SELECT g, 1 + g % 2 FROM generate_series(1, 20) AS g;
	CREATE TABLE event (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), aggregatetype text,
		aggregateid text, type text, payload text);
	CREATE PUBLICATION chosen FOR ALL TABLES WITH (publish_via_partition_root = true);
	ALTER DATABASE shop SET wal2kafka.publication_name = 'chosen';
	ALTER DATABASE shop SET wal2kafka.table_exclude_list = 'public\.left_out';
	ALTER DATABASE shop SET wal2kafka.message_key_columns = 'public\.twin:kind';
	ALTER DATABASE shop SET wal2kafka.skipped_operations = 'none';
	ALTER DATABASE shop SET wal2kafka.outbox_tables = 'public\.event';
});
my $node = $t->{node};

sub verify
{
	my ($table, $database) = @_;
	return decode_json($node->safe_psql($database || 'shop',
		"SELECT to_json(v) FROM wal2kafka.verify('$table') AS v"));
}

# verdict, and what the reason is like
sub is_verdict
{
	my ($table, $verdict, $reason, $what, $database) = @_;
	my $answer = verify($table, $database);
	my $said = $answer->{reason} || '';

	is($answer->{verdict}, $verdict, $what) or diag(JSON::PP->new->encode($answer));
	like($said, $reason, "... $said") if $reason;
	is($answer->{reason}, undef, '... with nothing to add') if !$reason;
	return $answer;
}

sub forge { $t->{kafka}->admin('forge', @_); return; }

# PARTITION:OFFSET of the last record of a key
sub place_of
{
	my ($topic, $id) = @_;
	my ($last) = reverse grep { ref $_->{key} && $_->{key}{id} == $id && $_->{value} }
	  @{ $t->records(undef, topic => $topic) };
	return "$last->{partition}:$last->{offset}";
}

$t->start_stream;

# ----------
# Beside writers
# ----------

$t->start_workload(writers => 8, keys => 64, rate => 40);
$t->wait_events(200);
foreach my $round (1 .. 5)
{
	my $answer = is_verdict('ledger', 'equal', '', "round $round");
	is($answer->{rows}, $answer->{keys}, "... $answer->{rows} rows, as many keys");
	$t->wait_events(100);
}
$t->stop_workload;
$t->wait_caught_up;
my $answer = is_verdict('public.ledger', 'equal', '', 'when they are done');
is($answer->{rows}, $t->sql('SELECT count(*) FROM ledger'), 'all rows');
is($answer->{passes}, 1, 'in one pass');
is_deeply($answer->{differences}, [], 'no difference');

# ----------
# Large values that updates do not change
# ----------

$t->sql(q{
	UPDATE item SET price = price + 1 WHERE id <= 20;
	UPDATE item SET name = 'x', big = repeat(md5('new'), 100) WHERE id BETWEEN 10 AND 30;
	UPDATE item SET flag = true WHERE id BETWEEN 15 AND 40;
	DELETE FROM item WHERE id = 20;
	INSERT INTO item VALUES (20, 'again');
});
is_verdict('item', 'equal', '', 'values of earlier records still hold');
$t->sql('UPDATE item SET id = 1000 WHERE id = 1');
is_verdict('item', 'equal', qr/^3 values are not in the topic, since they are TOASTed/,
	'a new key has no earlier record');
$t->sql(q{UPDATE item SET big = 'b', raw = 'r', list = '{1}' WHERE id = 1000});
is_verdict('item', 'equal', '', 'until they are written');

# ----------
# The table's definition changes
# ----------

$t->sql(q{
	ALTER TABLE item ADD extra int DEFAULT 7, DROP flag;
	UPDATE item SET name = 'after' WHERE id = 5;
});
is_verdict('item', 'equal', qr/^49 rows were compared in the columns that/, 'a column was added, another dropped');
$t->sql(q{
	ALTER TABLE item ALTER price TYPE text;
	UPDATE item SET name = name;
});
is_verdict('item', 'equal', '', 'values have another type, and all rows were sent again');

# ----------
# Truncate
# ----------

$t->sql(q{
	INSERT INTO shelf VALUES (100, 1);
	TRUNCATE shelf;
	INSERT INTO shelf SELECT g, 1 + g % 2 FROM generate_series(1, 7) AS g;
});
$answer = is_verdict('shelf', 'equal', '', 'partitions as their root, after a truncate');
is($answer->{keys}, 7, 'what was there before is gone');

# ----------
# Wrong records
# ----------

my $topic = 'shop.public.item';
$t->sql("UPDATE item SET big = 'b' || id, raw = 'r', list = '{1}'");
$t->wait_caught_up;
my ($three, $four, $five) = map { place_of($topic, $_) } 3 .. 5;
forge($topic, $three, $three);
is_verdict('item', 'equal', '', 'a record that was sent twice');
forge($topic, $three, 'null');
$answer = is_verdict('item', 'different', qr/^1 row is not in the topic\.$/, 'a tombstone');
is_deeply($answer->{differences}, [ { key => '{"id":3}', what => 'missing in topic' } ], '... of which key');
forge($topic, $four, $five);
$answer = is_verdict('item', 'different', qr/1 row differs from its key's last record/, 'a wrong value');
my ($different) = grep { $_->{what} eq 'different' } @{ $answer->{differences} };
is($different->{key}, '{"id":4}', '... of which key');
like($different->{columns}, qr/^id, name, price, big$/, '... and in which columns');
like($different->{offset}, qr/^\d+$/, '... and where');
forge($topic, $four, $four);
forge($topic, $three, 'no Avro');
$answer = is_verdict('item', 'different', qr/1 row differs/, 'what is no Avro at all');
is($answer->{differences}[0]{columns}, '(unreadable)', '... which it says');
forge($topic, $three, $three);
is_verdict('item', 'equal', '', 'all is well again');

# what is missing may be on its way
forge($topic, $three, 'null');
$t->sql(q{BEGIN; SELECT wal2kafka.snapshot('item'); SELECT wal2kafka.pause_snapshot(); COMMIT});
wait_until('the snapshot is known', sub {
	$t->sql('SELECT count(*) FROM wal2kafka.stat_snapshots WHERE ended_at IS NULL') eq '1';
});
is_verdict('item', 'unknown', qr/^1 row is not in the topic\. A snapshot of the table is under way\.$/, 'a snapshot is to come');
$t->sql('SELECT wal2kafka.resume_snapshot()');
wait_until('the snapshot is over', sub {
	$t->sql('SELECT count(*) FROM wal2kafka.stat_snapshots WHERE ended_at IS NULL') eq '0';
});
is_verdict('item', 'equal', '', 'it has mended the topic');

$t->sql('DELETE FROM item WHERE id = 4');
$t->wait_caught_up;
forge($topic, $four, $four);
$answer = is_verdict('item', 'different', qr/^1 key of the topic is not in the table\.$/, 'a row that is no more');
is($answer->{differences}[0]{key}, '{"id":4}', '... of which key');
is($answer->{differences}[0]{what}, 'not in table', '... and what');

# ----------
# What cannot be known
# ----------

is_verdict('keyless', 'unknown', qr/has no key/, 'without a key');
is_verdict('left_out', 'unknown', qr/does not select/, 'not selected');
is_verdict('shelf_1', 'unknown', qr/sent as those of "shelf"/, 'a partition');
is_verdict('event', 'unknown', qr/outbox table/, 'an outbox table');
is_verdict('twin', 'unknown', qr/the key is not unique/, 'a key that is none');

# retention cut what the rows had
$t->sql('CREATE TABLE short (id int PRIMARY KEY, v int)');
$t->sql('INSERT INTO short SELECT g, 0 FROM generate_series(1, 30) AS g');
$t->sql('UPDATE short SET v = 1 WHERE id > 20');
$t->wait_caught_up;
my %first = map { $_ => 0 } 0 .. 2;
foreach my $record (@{ $t->records('public.short') })
{
	$first{ $record->{partition} } = $record->{offset}
	  if $record->{value}{op} eq 'u' && !$first{ $record->{partition} };
}
is_verdict('short', 'equal', '', 'a topic that is whole');
$t->{kafka}->admin('cut', 'shop.public.short', $_, $first{$_}) foreach keys %first;
is_verdict('short', 'unknown', qr/^20 rows are not in the topic\. The topic was cut: partition \d begins/, 'a topic that was cut');
$t->sql('UPDATE short SET v = 2');
is_verdict('short', 'equal', '', 'what is left may be all of the table');

# a publication that does not have everything
$t->sql(q{ALTER PUBLICATION chosen SET (publish = 'insert, update, truncate')});
$t->sql('DELETE FROM short WHERE id = 1');
$answer = is_verdict('short', 'unknown', qr/does not have all of insert, update and delete/, 'deletes are not published');
$t->sql(q{ALTER PUBLICATION chosen SET (publish = 'insert, update, delete, truncate')});

# ----------
# Who may, and what ends it
# ----------

my (undef, undef, $err) = $node->psql('shop', q{SET ROLE cdc; SELECT wal2kafka.verify('item')});
like($err, qr/permission denied for function verify/, 'not for everybody');
(undef, undef, $err) = $node->psql('shop', q{SELECT wal2kafka.verify('nothing')});
like($err, qr/relation "nothing" does not exist/, 'no such table');
(undef, undef, $err) = $node->psql('shop', q{BEGIN; LOCK item; SELECT wal2kafka.verify('item')});
like($err, qr/canceling statement due to lock timeout/, 'a lock of the caller does not keep it for ever');
$t->sql('REVOKE SELECT ON short FROM cdc');
(undef, undef, $err) = $node->psql('shop', q{SELECT wal2kafka.verify('short')});
like($err, qr/permission denied for table "public.short"/, 'the stream\'s role may not read it');

$t->{kafka}->freeze;
(undef, undef, $err) = $node->psql('shop', q{SET statement_timeout = '2s'; SELECT wal2kafka.verify('item')});
like($err, qr/canceling statement due to statement timeout/, 'cancelled while Kafka is silent');
wait_until('its process ends', sub {
	$t->sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'wal2kafka verification'") eq '0';
});
is_verdict('item', 'unknown', qr/^no Kafka broker has answered for 30 seconds/, 'Kafka does not answer');
$t->{kafka}->thaw;

$t->sql("SELECT wal2kafka.pause('shop/cdc')");
$t->wait_state('paused');
is_verdict('item', 'unknown', qr/has no worker that streams/, 'the stream is paused');
$t->sql("SELECT wal2kafka.resume('shop/cdc')");
$t->wait_state('streaming');

# ----------
# Other formats, other partitions
# ----------

my %formats = (
	json => [ 'format = json', 'key_converter_schemas_enable = off', 'value_converter_schemas_enable = off' ],
	schemas => [ 'format = json', 'key_converter_schemas_enable = on', 'value_converter_schemas_enable = on' ],
	strings => [ 'key_format = string' ],
	flat => [ 'envelope = flat', "delete_tombstone_handling_mode = 'rewrite'", "add_fields = 'op,lsn'" ],
	flat_json => [ 'envelope = flat', 'format = json' ],
	fingerprints => [ "schema_registry_url = ''" ],
);
foreach my $name (sort keys %formats)
{
	$t->admin("CREATE DATABASE f_$name");
	$t->admin("ALTER DATABASE f_$name SET wal2kafka.$_") foreach @{ $formats{$name} };
	$node->safe_psql("f_$name", 'ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO cdc');
	$node->safe_psql("f_$name", $tables);
}
$t->set('wal2kafka.streams', join(', ', 'shop/cdc', map { "f_$_/cdc" } sort keys %formats));
foreach my $name (sort keys %formats)
{
	my $database = "f_$name";

	$t->wait_state('streaming', undef, "$database/cdc");
	$node->safe_psql($database, q{
		UPDATE item SET price = price + 1 WHERE id <= 20;
		UPDATE item SET big = 'small', raw = NULL WHERE id BETWEEN 10 AND 30;
		UPDATE item SET flag = true WHERE id BETWEEN 15 AND 40;
		DELETE FROM item WHERE id % 7 = 0;
		ALTER TABLE item ADD extra int;
		UPDATE item SET extra = 1, id = id + 100 WHERE id % 5 = 0 AND raw IS NULL;
		INSERT INTO item (id, name) VALUES (7, 'back'), (500, 'new');
	});
	is_verdict('item', 'equal', qr/^\d+ rows were compared.*in the columns/, "$name: equal", $database);

	$t->{kafka}->admin('forge', "$database.public.item", '0:1', 'null');
	$answer = verify('item', $database);
	is($answer->{verdict}, 'different', "$name: forged");
	is($answer->{differences}[0]{what}, 'missing in topic', "$name: ... what");
	like($answer->{differences}[0]{key}, qr/^(\{"id":\d+\}|Struct\{id=\d+\})$/, "$name: ... which: $answer->{differences}[0]{key}");
}

done_testing();
