# Do several streams work side by side, and two that collide not?

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../test/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wal2Kafka;

my $t = Wal2Kafka->new(tables => Wal2Kafka->workload_tables);
my $node = $t->{node};

$node->safe_psql('postgres', 'CREATE DATABASE "Sales East"');
$node->safe_psql('postgres', 'CREATE ROLE "c d c" LOGIN REPLICATION');
$node->safe_psql('postgres', 'CREATE ROLE second LOGIN REPLICATION');
$node->safe_psql('postgres', 'ALTER ROLE second IN DATABASE shop SET wal2kafka.topic_prefix = \'shop2\'');
$node->safe_psql('Sales East', 'CREATE TABLE sale (id int PRIMARY KEY)');

$t->start_stream(streams => 'shop/cdc, shop/second, "Sales East"/"c d c"');
$t->wait_state('streaming', undef, 'shop/second');
$t->wait_state('streaming', undef, '"Sales East"/"c d c"');
is($t->admin(q{SELECT count(DISTINCT slot_name) FROM pg_replication_slots WHERE active AND slot_name ~ '^wal2kafka_[a-z0-9_]+$'}),
	3, 'a slot each, with names that fit');

$t->start_workload(writers => 3, transactions => 150);
$node->safe_psql('Sales East', 'INSERT INTO sale SELECT generate_series(1, 100)');
$t->stop_workload(wait => 1);
$t->check_workload('first stream');
{
	local $t->{prefix} = 'shop2';
	local $t->{slot} = $t->stat('slot_name', 'shop/second');
	local $t->{journal} = $t->{journal};
	system('cp', $t->{journal}, "$t->{journal}2");
	$t->{journal} .= '2';
	$t->check_workload('second stream of the same database');
}
wait_until('the third stream delivers', sub {
	@{ $t->records(undef, topic => 'Sales_East.public.sale') } == 100;
});
pass('names that need quoting');

# Two streams with one topic prefix: the later is refused, the other goes on.
$t->admin(q{ALTER ROLE second IN DATABASE shop RESET wal2kafka.topic_prefix});
my $error = $t->wait_stat('last_error', qr/topic prefix/, undef, 'shop/second');
like($error, qr{shop/cdc}, 'both are named');
like($error, qr{shop/second}, '... both');
is($t->stat('state'), 'streaming', 'the first goes on');
$t->admin(q{ALTER ROLE second IN DATABASE shop SET wal2kafka.topic_prefix = 'shop2'});
$t->wait_state('streaming', 60, 'shop/second');
pass('and so does the second, once they differ');

done_testing();
