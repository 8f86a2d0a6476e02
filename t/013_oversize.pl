# Does an event that Kafka cannot take stop the stream, and is it named?

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../test/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wal2Kafka;

my $t = Wal2Kafka->new(
	tables => 'CREATE TABLE item (id int PRIMARY KEY, t text)',
	properties => { 'message.max.bytes' => 2_000_000 });

$t->start_stream;
$t->sql(q{INSERT INTO item VALUES (1, 'small')});
$t->wait_caught_up;
$t->sql(q{ALTER TABLE item ALTER t SET STORAGE EXTERNAL});
$t->sql(q{INSERT INTO item VALUES (2, repeat('x', 3000000))});
$t->sql(q{INSERT INTO item VALUES (3, 'after')});
my $error = $t->wait_error(qr/limit|large|exceed/i);
like($error, qr/item/, 'table');
like($error, qr{[0-9A-F]+/[0-9A-F]+}, 'LSN');
like($error, qr/\b300\d{4}\b/, 'size');
unlike($t->stat('state'), qr/^streaming$/, 'the stream stopped');
is($t->story('public.item'), 'c:1', 'nothing is skipped');

# The operator raises the limits.
my $topic = $t->topic('public.item');
$t->{kafka}->topic_config($topic, 'max.message.bytes', 8000000);
$t->set('wal2kafka.kafka_options', 'message.max.bytes=8000000');
$t->wait_state('streaming');
$t->wait_caught_up;
is($t->story('public.item'), 'c:1 c:2 c:3', 'and the stream goes on with that event');

# The broker's limit can be the smaller one.
$t->{kafka}->topic_config($topic, 'max.message.bytes', 100000);
$t->sql(q{INSERT INTO item VALUES (4, repeat('y', 200000))});
$error = $t->wait_error(qr/large|size/i);
like($error . $t->stat('last_error_hint'), qr/item/, "the broker's refusal names the topic");
like($error, qr{table "public\.item", transaction that ends at LSN [1-9A-F][0-9A-F]*/|table "public\.item", transaction that ends at LSN 0/[1-9A-F]}, 'and table and position');
$t->{kafka}->topic_config($topic, 'max.message.bytes', 8000000);
$t->wait_caught_up;
like($t->story('public.item'), qr/c:4$/, 'and goes on once the broker takes it');

done_testing();
