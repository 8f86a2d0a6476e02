# What happens when the registry refuses a schema, or answers nonsense?

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../test/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wal2Kafka;

use FakeRegistry;

my $registry = FakeRegistry->new->start;
my $t = Wal2Kafka->new(
	registry => $registry,
	tables => 'CREATE TABLE item (id int PRIMARY KEY, name text)');

$t->start_stream;
$t->sql(q{INSERT INTO item VALUES (1, 'a')});
$t->wait_caught_up;
is($t->story('public.item'), 'c:1', 'framed with the ids of the registry');

# Refused as incompatible: the stream stops, and says how the schemas differ.
$registry->control(
	fail => -1, status => 409, only => 'POST /subjects',
	body => '{"error_code":409,"message":"Schema being registered is incompatible with an earlier schema"}');
$t->sql('ALTER TABLE item ADD COLUMN price int NOT NULL DEFAULT 0');
$t->sql(q{INSERT INTO item VALUES (2, 'b', 5)});
my $error = $t->wait_error(qr/schema/i);
like($error, qr/shop\.public\.item/, 'the error names the subject');
like($error, qr/price/, '... and how the schemas differ');
isnt($t->stat('last_error_hint'), '', '... and what can be done');
$t->wait_waiting_for('schema');
is($t->story('public.item'), 'c:1', 'nothing is skipped');
$registry->control(reset => \1, fail => 0);
$t->wait_caught_up;
is($t->story('public.item'), 'c:1 c:2', 'taken at last: goes on by itself');

# Outages of several kinds: waited for, never an end.
my $round = 2;
foreach my $fault (
	[ 'status 503', fail => -1, status => 503 ],
	[ 'status 429', fail => -1, status => 429 ],
	[ 'not JSON', garbage => \1 ],
	[ 'JSON without an id', no_id => \1 ],
	[ 'connection closed', close => \1 ])
{
	my ($name, @control) = @$fault;
	$registry->control(@control);
	$t->sql("ALTER TABLE item ADD COLUMN c$round int");
	$t->sql('INSERT INTO item (id) VALUES (' . ++$round . ')');
	my $waits = eval { $t->wait_waiting_for('registry', 30); 1 };
	ok($waits, "$name: waits for the registry");
	$registry->control(reset => \1, fail => 0, garbage => \0, no_id => \0, close => \0);
	$t->wait_caught_up(60);
	like($t->story('public.item'), qr/c:$round$/, "$name: goes on");
}

done_testing();
