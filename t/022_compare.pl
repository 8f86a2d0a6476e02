# Does wal2kafka-compare find what differs between two feeds, and nothing else?

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../test/lib";

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wal2Kafka;

my $t = Wal2Kafka->new(
	tables => q{
	CREATE TABLE item (id int PRIMARY KEY, note text, big text);
	CREATE TABLE keyless (a int, b text);
	ALTER TABLE keyless REPLICA IDENTITY FULL;
	CREATE PUBLICATION one FOR ALL TABLES;
	CREATE PUBLICATION two FOR ALL TABLES;
});
my $node = $t->{node};
$t->admin(q{CREATE ROLE shadow LOGIN REPLICATION});
$t->admin(q{ALTER ROLE cdc IN DATABASE shop SET wal2kafka.publication_name = 'one'});
$t->admin(q{ALTER ROLE shadow IN DATABASE shop SET wal2kafka.publication_name = 'two'});
$t->admin(q{ALTER ROLE shadow IN DATABASE shop SET wal2kafka.topic_prefix = 'sha-dow.x'});

sub compare
{
	my (@arguments) = @_;
	my ($out, $err);
	local %ENV = (%ENV, LD_LIBRARY_PATH => '');
	IPC::Run::run([ "$FindBin::Bin/../bin/wal2kafka-compare", '-b', $t->{kafka}->address,
			'-r', $t->{registry}->address, @arguments ], '>', \$out, '2>', \$err);
	note("$out$err");
	return ($? >> 8, $out, $err);
}

# Both slots have everything up to now.
sub wait_both
{
	my $end = $t->sql('SELECT pg_current_wal_insert_lsn()');
	wait_until("both streams are past $end", sub {
		return $t->sql("SELECT count(*) FROM pg_replication_slots WHERE confirmed_flush_lsn >= '$end'") == 2;
	});
	return;
}

# The shadow starts later.
$t->start_stream;
$t->sql(q{INSERT INTO item SELECT i, 'early' FROM generate_series(1, 20) i});
$t->wait_caught_up;
$t->set('wal2kafka.streams', 'shop/cdc, shop/shadow');
$t->wait_state('streaming', undef, 'shop/shadow');
my $big = join '', map { chr(97 + rand 26) } 1 .. 6000;
$t->sql(q{INSERT INTO item SELECT i, 'n' FROM generate_series(21, 300) i});
$t->sql("INSERT INTO item VALUES (1000, 'big', '$big')");
$t->sql(q{UPDATE item SET note = note || '!' WHERE id BETWEEN 1 AND 100});
$t->sql(q{BEGIN; UPDATE item SET note = 'x' WHERE id = 5; UPDATE item SET note = 'y' WHERE id = 5;
	DELETE FROM item WHERE id = 6; UPDATE item SET id = -7 WHERE id = 7; COMMIT});
$t->sql(q{INSERT INTO keyless SELECT i, 'r' FROM generate_series(1, 50) i; DELETE FROM keyless WHERE a < 10});
wait_both();
my ($code, $out, $err) = compare('shop.public.item', 'sha-dow.x.public.item');
is($code, 0, 'two feeds of one table are the same');
like($out, qr/^shop\.public\.item: .* 20 before and 0 after/m, 'but for the beginning');
like($out, qr/^388 in both/m, 'updates, deletes, tombstones and changes of keys');
($code, $out, $err) = compare('shop.public.keyless', 'sha-dow.x.public.keyless');
is($code, 0, 'without a key');
like($out, qr/^59 in both/m, '... the row tells');
($code, $out, $err) = compare('--all', 'shop.public.item', 'sha-dow.x.public.item');
is($code, 1, 'everything counts if told so');
like($out, qr/^20 changes of shop\.public\.item are not in sha-dow\.x\.public\.item:/m, '... the beginning too');

# Now the shadow is another one: no deletes, other placeholder, one column less.
$t->admin(q{ALTER ROLE shadow IN DATABASE shop SET wal2kafka.unavailable_value_placeholder = '<toast>'});
$t->sql(q{ALTER PUBLICATION two SET (publish = 'insert, update')});
wait_until('the shadow has the setting', sub {
	return slurp_file($node->logfile) =~ /stream "shop\/shadow" starts anew: settings changed/;
});
$t->wait_state('streaming', undef, 'shop/shadow');
$t->sql(q{UPDATE item SET note = 'again' WHERE id = 1000});
$t->sql(q{DELETE FROM item WHERE id = 9});
$t->sql(q{INSERT INTO item VALUES (2000, 'after the delete')});
wait_both();
$t->sql(q{ALTER TABLE item ADD more int DEFAULT 1});
$t->sql(q{INSERT INTO item VALUES (2001, 'with more')});
wait_both();
($code, $out, $err) = compare('shop.public.item', 'sha-dow.x.public.item');
is($code, 1, 'differences');
like($out, qr/^2 changes of shop\.public\.item are not in sha-dow\.x\.public\.item:\n    d \{"id": 9\} lsn/m,
	'a delete that is missing, with its tombstone');
like($out, qr/^1 values differ: after\.big\n    "__debezium_unavailable_value" \| "<toast>"   u \{"id": 1000\}/m,
	'a value that differs, by its path');
unlike($out, qr/^schemas differ/m, 'schemas are the same but for the prefix');
($code, $out, $err) = compare('--ignore', 'after.big', '--limit', 10, 'shop.public.item', 'sha-dow.x.public.item');
like($out, qr/^\d+ in both, 0 with values that differ/m, 'what is ignored, and little memory');

# Order, repeats and schemas: records made here.
sub produce
{
	my ($topic, @records) = @_;
	my $script = q{
import json, sys
from confluent_kafka import Producer
p = Producer({'bootstrap.servers': sys.argv[1]})
for line in sys.stdin:
    p.produce(sys.argv[2], key='{"id":1}', value=line.strip())
p.flush(20)
};
	local %ENV = (%ENV, LD_LIBRARY_PATH => '');
	IPC::Run::run([ '/usr/bin/python3', '-c', $script, $t->{kafka}->address, $topic ],
		'<', \join('', map { "$_\n" } @records)) or die 'could not produce';
	return;
}
sub change
{
	my ($lsn, $v, $version) = @_;
	return qq({"after":{"id":1,"v":$v},"source":{"lsn":$lsn,"version":"$version","name":"x"},"op":"u","ts_ms":$lsn});
}
$t->{kafka}->admin('create', $_, 1) foreach qw(a.t b.t c.t d.t);
produce('a.t', map { change($_, $_, 'a') } 1 .. 9);
produce('b.t', map { change($_, $_, 'b') } 1, 2, 3, 4, 3, 4, 5, 7, 6, 8, 9);
produce('c.t', map { change($_, $_ == 3 ? '"3"' : $_, 'c') } 1, 2, 3, 5, 8, 9);
produce('d.t', map { change($_, $_, 'd') } 101, 102);
($code, $out, $err) = compare('a.t', 'b.t');
is($code, 1, 'order');
like($out, qr/^1 changes stand in another order/m, '... of one key');
like($out, qr/^b\.t: 11 records, .* 2 repeated/m, '... and repeats');
like($out, qr/^9 in both, 0 with values that differ, 0 only in the first, 0 only/m, '... nothing else');
($code, $out, $err) = compare('a.t', 'c.t');
like($out, qr/^3 changes of a\.t are not in c\.t:/m, 'gaps');
like($out, qr/^1 values differ: after\.v\n    3 \| "3"/m, 'type of a value');
($code, $out, $err) = compare('a.t', 'd.t');
is($code, 2, 'feeds that do not overlap');
like($err, qr/have no change in common/, '... say so');
($code, $out, $err) = compare('a.t', 'e.t');
is($code, 2, 'no such topic');
like($err, qr/topic "e\.t" does not exist/, '... by name');

done_testing();
