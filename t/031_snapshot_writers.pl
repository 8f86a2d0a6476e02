# Does each mode of a snapshot tell the truth beside sixteen writers?

use strict;
use warnings;

use FindBin;
use JSON::PP;
use lib "$FindBin::Bin/../test/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SnapshotWorkload;
use Test::More;
use Wal2Kafka;

my $none_twice = { keyed => 0, composite => 0, parted => 0, keyless => 0 };
my $t = Wal2Kafka->new(SnapshotWorkload->server(snapshot => 'initial'));
my $w = SnapshotWorkload->new($t);
my $verdict;

# What broken streams would have sent is noticed by the check.
sub check_notices
{
	my %but = map { $_ => 1 } @_;
	# few changes may offer nothing to spoil
	cmp_ok(scalar(keys %{ $verdict->{spoilt} }), '>=', 3, 'the check is checked');
	foreach my $spoiler (grep { !$but{$_} } sort keys %{ $verdict->{spoilt} })
	{
		my @found = sort keys %{ $verdict->{spoilt}{$spoiler} };
		isnt("@found", '', "the check notices: $spoiler (" . join(', ', @found) . ')');
	}
	return;
}

# ----------
# initial, and what the check is worth
# ----------

# The start has to wait for a transaction that is open, and says for which.
my $old = $t->{node}->background_psql('shop', on_error_stop => 0);
$w->start;
$old->query_safe("BEGIN; SELECT op('keyed', 1001, 1, 'all'), op('parted', 1101, 3, 'all'),"
	  . " op('keyed', 7777, 5, 'all')");
my $old_pid = $old->query_safe('SELECT pg_backend_pid()');
$t->start_stream(no_wait => 1);
$t->wait_waiting_for('lock');
$w->wait_changes(50);
$old->query_safe('COMMIT');
$old->quit;
$t->wait_state('streaming');
$w->wait_changes(800);
$w->stop;
$verdict = $w->check('initial', exact => 1, spoil => 1);
cmp_ok($verdict->{checkpoints}, '>', 0, 'the table at checkpoints');
is_deeply($verdict->{read_twice}, $none_twice, 'no row is read twice');

check_notices();

# ----------
# initial with several workers, partitions as their root
# ----------

$w->another_stream('parallel', workers => 3, root => 1);
$w->start;
$t->start_stream;
$w->wait_changes(600);
$w->stop;
$verdict = $w->check('initial, three workers, root', exact => 1);
is_deeply($verdict->{read_twice}, $none_twice, 'no row is read twice');
is($verdict->{markers}{first}, 1, 'one first row');
is($verdict->{markers}{last}, 1, 'one last row');

# ----------
# initial_only: the table as it was at one moment
# ----------

# tally says which version each key has, so each row's is known.
$t->sql('CREATE PUBLICATION snap_tally FOR TABLE keyed, composite, tally');
$w->another_stream('only', mode => 'initial_only', workers => 2, publication => 'snap_tally');
$w->start;
$t->start_stream(state => 'held');
$w->wait_changes(100);
$w->stop;
my %version;
my ($ok, $out) = $t->reader('fold', $t->topic('public.tally'));
foreach my $row (map { decode_json($_) } split /\n/, $out)
{
	$version{"$row->{tab} $row->{key}"} = $row->{v};
}
cmp_ok(scalar(keys %version), '>', 6000, 'initial_only: the tally was read');
foreach my $table (qw(keyed composite))
{
	my @events = grep { $_->{value} } @{ $t->records("public.$table") };
	my @wrong = grep {
		my $row = $_->{value}{after};
		my $key = $table eq 'keyed' ? $row->{id} : $row->{a} < 0 ? -1 : substr($row->{b}, 1);
		$_->{value}{op} ne 'r' || $row->{v} != ($version{"$table $key"} || 0);
	} @events;
	cmp_ok(scalar(@events), '>', 1500, "$table was read");
	is_deeply(\@wrong, [], "... all of one moment, and nothing came after it");
}

# ----------
# no_data
# ----------

$w->another_stream('nodata', mode => 'no_data');
$w->start;
$t->start_stream;
$w->wait_changes(200);
$w->stop;
$verdict = $w->check('no_data', changes => 1);
is($verdict->{reads}, 0, 'no row is read');

# ----------
# always: at each start, beside the changes
# ----------

$w->another_stream('always', mode => 'always');
$t->start_stream;
$t->wait_caught_up;
my $before = $t->count('public.composite')->{events};
cmp_ok($before, '>', 1000, 'always: rows at the first start');
$t->{node}->restart;
$w->start;
$t->wait_state('streaming');
$w->wait_snapshots;
$w->wait_changes(200);
$w->stop;
$verdict = $w->check('always', restarts => 1, spoil => 1);
# after a restart a change may be sent twice; and each row was read twice
check_notices(qw(twice missing_row));
cmp_ok($verdict->{read_twice}{keyed}, '>', 1000, 'rows at the second start');

# ----------
# when_needed: when the slot was lost
# ----------

$w->another_stream('needed', mode => 'when_needed');
$t->start_stream;
$t->wait_caught_up;
$t->{node}->restart;
$t->wait_state('streaming');
$t->wait_caught_up;
$verdict = $w->check('when_needed');
is_deeply($verdict->{read_twice}, $none_twice, 'when_needed: nothing is read again when nothing is lost');
$t->stop_stream;
$t->admin("SELECT pg_drop_replication_slot('needed_slot')");
$t->sql("SELECT op('keyed', k, k, 'some') FROM generate_series(200, 300) k");
# what is deleted while there is no slot, no snapshot can tell of
$t->start_stream(state => '(snapshot|streaming)');
$w->start;
$t->wait_state('streaming');
$w->wait_changes(200);
$w->stop;
$verdict = $w->check('when_needed, the slot was lost', gap => 1);
cmp_ok($verdict->{read_twice}{keyed}, '>', 1000, 'everything is read again');

done_testing();
