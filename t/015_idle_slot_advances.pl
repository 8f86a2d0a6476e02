# Does the slot follow the WAL of an idle, a filtered and another database?

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../test/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wal2Kafka;

my $t = Wal2Kafka->new(
	tables => q{
	CREATE TABLE item (id int PRIMARY KEY);
	CREATE TABLE hidden (id int PRIMARY KEY, t text);
	CREATE PUBLICATION one FOR TABLE item;
},
	conf => "wal2kafka.publication_name = 'one'\n");

$t->start_stream;
$t->sql('INSERT INTO item VALUES (1)');
$t->wait_caught_up;

$t->sql(q{INSERT INTO hidden SELECT i, repeat('x', 100) FROM generate_series(1, 20000) i});
$t->wait_caught_up;
pass('changes that no publication selects move the slot');

$t->admin(q{CREATE TABLE elsewhere AS SELECT i FROM generate_series(1, 50000) i});
$t->wait_caught_up;
pass('changes of another database move the slot');

$t->admin('SELECT pg_switch_wal()');
$t->admin('CHECKPOINT');
$t->wait_caught_up;
pass('so does what is no change at all');

# And WAL can be removed.
my $before = $t->admin(q{SELECT pg_walfile_name(restart_lsn) FROM pg_replication_slots});
$t->admin('SELECT pg_switch_wal(); CHECKPOINT; CHECKPOINT');
$t->sql('INSERT INTO hidden VALUES (-1)');
wait_until('restart_lsn follows', sub {
	$t->admin('SELECT pg_log_standby_snapshot()') if $t->{node}->pg_version >= 16;
	$t->admin(q{SELECT pg_walfile_name(restart_lsn) FROM pg_replication_slots}) ne $before;
});
pass('restart_lsn follows');
is($t->story('public.item'), 'c:1', 'nothing else was sent');
is($t->stat('waiting_for'), 'nothing', 'it waits for nothing');

# The position survives a crash, but for about a second.
$t->sql('INSERT INTO hidden SELECT i FROM generate_series(30000, 31000) i');
$t->wait_caught_up;
my $slot = $t->slot;
my $confirmed = $t->admin("SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = '$slot'");
wait_until('the slot was saved', sub {
	my $file = $t->{node}->data_dir . "/pg_replslot/$slot/state";
	# position of confirmed_flush in the file is the server's business: wait
	# for a write that is younger than the confirmation
	return time() - (stat $file)[9] < 60;
});
Time::HiRes::sleep(1.5);
$t->{node}->stop('immediate');
$t->{node}->start;
my $after = $t->admin("SELECT confirmed_flush_lsn >= '$confirmed' FROM pg_replication_slots WHERE slot_name = '$slot'");
is($after, 't', 'the position was saved within a second or so');

done_testing();
