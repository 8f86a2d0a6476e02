# Do heartbeats come while nothing happens, in the middle of a transaction,
# and without disturbing positions?

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../test/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wal2Kafka;

my $t = Wal2Kafka->new(
	tables => 'CREATE TABLE item (id int PRIMARY KEY, name text)',
	conf => <<'EOC');
wal2kafka.heartbeat_interval_ms = 200
wal2kafka.topic_partitions = 3
wal2kafka.topic_prefix = 'shop'
EOC
my $topic = '__debezium-heartbeat.shop';

sub beats { return @{ $t->records(undef, topic => $topic) }; }

$t->start_stream;
$t->sql(q{INSERT INTO item VALUES (1, 'a')});
$t->wait_caught_up;
my @first = wait_until('there are five', sub { my @b = beats(); @b >= 5 && \@b })->@*;
is_deeply([ map { $_->{key} } @first ], [ ({ serverName => 'shop' }) x @first ], 'their key');
is_deeply([ map { join ',', keys %{ $_->{value} } } @first ], [ ('ts_ms') x @first ], 'their value');
is_deeply([ map { $_->{partition} } @first ], [ (0) x @first ], 'the first partition of three');
is_deeply([ map { scalar keys %{ $_->{headers} } } @first ], [ (0) x @first ], 'no headers');
my @gaps = map { $first[ $_ + 1 ]{value}{ts_ms} - $first[$_]{value}{ts_ms} } 0 .. $#first - 1;
cmp_ok((sort { $a <=> $b } @gaps)[0], '>=', 195, "not more often than asked for (@gaps)");
cmp_ok((sort { $a <=> $b } @gaps)[ @gaps / 2 ], '<', 1000, 'about as often as asked for');

# the worker sleeps between two
my $pid = $t->admin('SELECT pid FROM wal2kafka.stat_streams');
my $ticks = sub {
	my @stat = split / /, slurp_file("/proc/$pid/stat") =~ s/^.*\) //r;
	return $stat[11] + $stat[12];
};
my $before = $ticks->();
my $since = beats();
wait_until('there are ten more', sub { beats() >= $since + 10 });
cmp_ok($ticks->() - $before, '<', 50, 'an idle stream takes next to no time');

# they are no progress, and no change
is($t->admin('SELECT events FROM wal2kafka.stat_streams'), 1, 'not counted as events');

# the slot moves while only heartbeats are sent
my $slot = $t->admin('SELECT slot_name FROM pg_replication_slots');
$t->admin('CREATE TABLE elsewhere AS SELECT generate_series(1, 1000) AS a');
my $lsn = $t->admin('SELECT pg_current_wal_lsn()');
wait_until('the idle slot moved', sub {
	$t->admin("SELECT confirmed_flush_lsn >= '$lsn' FROM pg_replication_slots") eq 't';
});
pass('an idle slot moves');

# in the middle of a transaction that takes a while to send
my $last = (beats())[-1]{value}{ts_ms};
$t->sql(q{INSERT INTO item SELECT g, repeat('x', 500) FROM generate_series(10, 150000) g});
$t->wait_caught_up;
my $items = $t->count('public.item');
is($items->{live_keys}, 149992, 'all rows came');
my @times = grep { $_ >= $last } map { $_->{value}{ts_ms} } beats();
my ($longest) = sort { $b <=> $a } map { $times[ $_ + 1 ] - $times[$_] } 0 .. $#times - 1;
cmp_ok($longest, '<', 2000, 'heartbeats did not wait for its end');

# after a crash of the worker nothing is lost, and they go on
$t->admin("SELECT pg_terminate_backend($pid)");
$t->sql(q{INSERT INTO item VALUES (2, 'b')});
$t->wait_caught_up;
is($t->count('public.item')->{live_keys}, 149993, 'nothing lost');
$since = beats();
wait_until('they go on', sub { beats() > $since });

# another topic; none
$t->set('wal2kafka.topic_heartbeat_name', 'pulse');
wait_until('the other topic', sub { @{ $t->records(undef, topic => 'pulse') } > 0 });
pass('a topic of another name');
$t->set('wal2kafka.heartbeat_interval_ms', '0');
$t->wait_caught_up;
wait_until('they stop', sub {
	my $n = @{ $t->records(undef, topic => 'pulse') };
	select(undef, undef, undef, 0.6);
	return $n == @{ $t->records(undef, topic => 'pulse') };
});
pass('none when there is no interval');

done_testing();
