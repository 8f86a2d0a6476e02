# Are tables that are read while they are streamed read at a place of the
# stream, whatever writers do: on request, with a condition, several at once,
# paused, cancelled, and when they join a publication?

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../test/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SnapshotWorkload;
use Test::More;
use Wal2Kafka;

my $t = Wal2Kafka->new(
	SnapshotWorkload->server(
		snapshot => 'initial',
		tables => q{
	CREATE TABLE joined (id int PRIMARY KEY, v int);
	INSERT INTO joined SELECT i, 0 FROM generate_series(1, 3000) i;
	CREATE TABLE big (id int PRIMARY KEY, body text);
	INSERT INTO big SELECT i, repeat('x', 500) FROM generate_series(1, 60000) i;
	CREATE TABLE behind (id int PRIMARY KEY, body text, large text);
	ALTER TABLE behind ALTER large SET STORAGE EXTERNAL;
	INSERT INTO behind SELECT i, repeat('x', 1500),
		CASE WHEN i = 5000 THEN repeat('large', 2000) END FROM generate_series(1, 5000) i;
	ALTER PUBLICATION snap ADD TABLE big, behind;
	GRANT SELECT ON joined, big, behind TO PUBLIC;
},
		conf => <<EOC));
wal2kafka.snapshot_new_tables = on
wal2kafka.toast_reselect = on
wal2kafka.max_queue_size_in_bytes = '4MB'
EOC
my $w = SnapshotWorkload->new($t);

$t->start_stream;
$w->start;
$w->wait_changes(100);

# snapshot(TABLE, PREDICATE): its id
sub snapshot
{
	my ($table, $predicate) = @_;
	return $t->sql("SELECT wal2kafka.snapshot('$table'"
		  . (defined $predicate ? ", predicate => \$\$$predicate\$\$" : '') . ')');
}

# ----------
# Beside writers
# ----------

# One after the other, then all at once.
my $first = snapshot('public.keyed');
like($first, qr/\S/, 'snapshot() returns an id');
$w->wait_snapshots("kind <> 'initial'");
foreach my $table (qw(composite parted_1 parted keyless keyed))
{
	snapshot("public.$table");
	snapshot("public.$table");
}
$w->wait_changes(100);
$w->wait_snapshots("kind <> 'initial'");
$w->wait_changes(100);
$w->stop;
my $verdict = $w->check('ad hoc', exact => 1);
cmp_ok($verdict->{checkpoints}, '>', 0, 'the table at checkpoints');
cmp_ok($verdict->{markers}{incremental}, '>', 15000, 'rows say that they are of an incremental snapshot');
my @rows = $w->snapshots('state, rows_done, error', "kind = 'ad_hoc'");
cmp_ok(scalar(@rows), '>=', 5, 'the last requests have their rows');
is_deeply([ grep { $_->[0] ne 'done' || $_->[1] < 500 || $_->[2] ne '' } @rows ], [],
	'... and what they read is counted');

# ----------
# With a condition
# ----------

my $before = @{ $t->records('public.composite') };
my $expected = $t->sql("SELECT count(*) FROM composite WHERE a = 3 AND v > 1");
snapshot('public.composite', 'a = 3 AND v > 1');
$w->wait_snapshots;
$t->wait_caught_up;
my @read = grep { $_->{value} } @{ $t->records('public.composite', from => $before) };
is(scalar(@read), $expected, 'a condition picks rows');
is(scalar(grep { $_->{value}{op} eq 'r' && $_->{value}{after}{a} == 3 && $_->{value}{after}{v} > 1 } @read),
	$expected, '... the right ones');

# ----------
# Pause, resume, cancel
# ----------

# The broker's disk is full, so to speak: the table cannot be read to its end.
$before = $t->count('public.big')->{events};
$t->{kafka}->freeze;
my $id = snapshot('public.big');
wait_until('the table is being read', sub {
	grep { $_->[0] eq 'reading' } $w->snapshots('state', "snapshot = '$id'");
});
$t->sql("SELECT wal2kafka.pause_snapshot('$id')");
$t->{kafka}->thaw;
wait_until('it is paused', sub {
	grep { $_->[0] eq 'paused' } $w->snapshots('state', "snapshot = '$id'");
});
$t->wait_caught_up;
my ($paused) = $w->snapshots('rows_done, ranges', "snapshot = '$id'");
note("paused at: @$paused");
cmp_ok($paused->[0], '<', 60000, 'a paused snapshot is not over');
$t->sql("UPDATE big SET body = 'changed' WHERE id IN (1, 30000, 60000)");
$t->wait_caught_up;
is($w->{t}->admin("SELECT state FROM wal2kafka.stat_snapshots WHERE snapshot = '$id'"), 'paused',
	'changes pass while it is paused');
$t->sql("SELECT wal2kafka.resume_snapshot('$id')");
$w->wait_snapshots;
$t->wait_caught_up;
my $count = $t->count('public.big');
is($count->{live_keys}, 60000, 'a resumed snapshot ends');
cmp_ok($count->{events} - $before, '<=', 60003 + 60000 - ($paused->[0] ? 1 : 0), '... and does not begin anew');

$before = $count->{events};
$t->{kafka}->freeze;
$id = snapshot('public.big');
wait_until('the table is being read', sub {
	grep { $_->[0] eq 'reading' } $w->snapshots('state', "snapshot = '$id'");
});
$t->sql("SELECT wal2kafka.cancel_snapshot('$id')");
$t->{kafka}->thaw;
wait_until('it is cancelled', sub {
	grep { $_->[0] eq 'cancelled' } $w->snapshots('state', "snapshot = '$id'");
});
$t->sql("UPDATE big SET body = 'changed again' WHERE id = 60000");
$t->wait_caught_up;
cmp_ok($t->count('public.big')->{events} - $before, '<', 60001, 'a cancelled snapshot ends early, and changes go on');

# ----------
# A row that gets behind the reader
# ----------

# Its key is changed from behind the place that is read to before it, and its
# large value is in no record of the WAL.
$t->{kafka}->freeze;
$id = snapshot('public.behind');
wait_until('the table is being read', sub { ($t->stat('queue_bytes') || 0) > 3_000_000 });
$t->sql('UPDATE behind SET id = -1 WHERE id = 5000');
$t->{kafka}->thaw;
$w->wait_snapshots;
$t->wait_caught_up;
my ($behind) = grep { $_->{value} && $_->{key}{id} == -1 } @{ $t->records('public.behind', from => 5000) };
is($behind->{value}{after}{large}, 'large' x 2000, 'the large value of a row that gets behind the reader');

# ----------
# Tables that join
# ----------

$t->sql('ALTER PUBLICATION snap ADD TABLE joined');
$t->sql('UPDATE joined SET v = 1 WHERE id <= 10');
wait_until('the table is known', sub { $w->snapshots('state', q{"table" = 'public.joined'}) });
$w->wait_snapshots;
$t->sql('UPDATE joined SET v = 2 WHERE id = 1');
$t->wait_caught_up;
my ($ok, $out) = $t->reader('fold', $t->topic('public.joined'));
my @got = sort map { my $r = JSON::PP::decode_json($_); "$r->{id}|$r->{v}" } split /\n/, $out;
is_deeply(\@got, [ sort split /\n/, $t->sql('SELECT id, v FROM joined') ],
	'a table that joins the publication is read');

done_testing();
