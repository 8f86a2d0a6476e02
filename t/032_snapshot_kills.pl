# Is the truth told when whoever takes part in a snapshot is killed, at any
# step of it, beside sixteen writers?  And is nothing read again that was
# finished before?

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../test/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SnapshotWorkload;
use Test::More;
use Time::HiRes qw(usleep);
use Wal2Kafka;

my $t = Wal2Kafka->new(SnapshotWorkload->server(
	snapshot => 'initial',
	tables => q{
	CREATE TABLE big (id int PRIMARY KEY, body text);
	INSERT INTO big SELECT i, repeat('x', 300) FROM generate_series(1, 100000) i;
	CREATE PUBLICATION big FOR TABLE big;
	GRANT SELECT ON big TO PUBLIC;
},
	conf => <<EOC));
restart_after_crash = on
EOC
my $node = $t->{node};
# Values of 20 kB and a short queue that is sent a few times a second: it takes
# seconds to read the tables, whatever the machine.
my $w = SnapshotWorkload->new($t, rows => { keyed => 6000, parted => 3000 }, large => 20);

# ----------
# Moments
# ----------

# One answer, undef where the server gives none
sub ask
{
	my ($sql) = @_;
	my ($code, $out) = $node->psql('postgres', $sql);
	return $code == 0 ? $out : undef;
}

sub until_true
{
	my ($what, $sql) = @_;
	eval {
		wait_until($what, sub { (ask("SELECT $sql") || '') eq 't' });
		1;
	} or do {
		my $error = $@;
		diag(ask('SELECT snapshot, kind, "table", state, rows_done, ranges, error FROM wal2kafka.stat_snapshots') || 'no answer');
		$t->show_state;
		die $error;
	};
	return;
}

sub stream_is { my ($what, $sql) = @_; return until_true($what, "coalesce(bool_or($sql), false) FROM wal2kafka.stat_streams WHERE stream = 'shop/cdc'"); }
sub table_is { my ($what, $sql) = @_; return until_true($what, "coalesce(bool_or($sql), false) FROM wal2kafka.stat_snapshots WHERE stream = 'shop/cdc'"); }

# It streams again.  A worker that ends abnormally twice in ten minutes is not
# started again until somebody says so; here that is us.
sub streams_again
{
	wait_until('the stream is back', sub {
		my $state = $t->stat('state') || '';
		ask("SELECT wal2kafka.restart('shop/cdc')") if $state eq 'held';
		return $state eq 'streaming';
	});
	return;
}

# Processes of a kind; the server is asked for no more than their names.
sub pids
{
	my ($kind) = @_;
	return split /\n/, ask("SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'wal2kafka $kind'") || '';
}

# One of them; the stream's worker where there is none any more
sub some_pid
{
	my ($kind) = @_;
	my $pid;
	my $deadline = time() + 5;
	wait_until("there is a wal2kafka $kind", sub {
		($pid) = pids($kind);
		($pid) = pids('stream') if !$pid && time() > $deadline;
		return $pid;
	});
	return $pid;
}

# ----------
# Faults
# ----------

sub terminate { my ($kind) = @_; ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type LIKE 'wal2kafka $kind'"); return; }

# takes the whole server down and up again
sub kill9
{
	my ($kind) = @_;
	my $pid = some_pid($kind);
	kill 'KILL', $pid;
	wait_until('the process is gone', sub { !kill 0, $pid });
	wait_until('the server is back', sub { defined ask('SELECT 1') });
	ask("SELECT wal2kafka.restart('shop/cdc')")
	  if wait_until('the stream is back', sub {
		my $state = $t->stat('state') || '';
		return $state =~ /^(held|streaming|snapshot)$/ && $state;
	}) eq 'held';
	return;
}

sub immediate
{
	$node->stop('immediate');
	$node->start;
	return;
}

sub broker
{
	$t->{kafka}->kill9;
	$t->{kafka}->start;
	return;
}

sub slowly
{
	my ($ms) = @_;
	$t->set('wal2kafka.kafka_options', "linger.ms=$ms");
	$t->set('wal2kafka.max_queue_size_in_bytes', '1MB');
	return;
}

# An open transaction, which the start has to wait for
sub old_transaction
{
	my $old = $node->background_psql('shop', on_error_stop => 0);
	$old->query_safe("BEGIN; SELECT op('keyed', 7777, 5, 'all')");
	return $old;
}

sub ad_hoc { my ($table) = @_; return $t->sql("SELECT wal2kafka.snapshot('public.$table')"); }

# ----------
# The start
# ----------

slowly(300);
my $old = old_transaction();
$w->start(rate => 5);
$t->start_stream(no_wait => 1);
stream_is('the start waits', "waiting_for = 'lock'");
terminate('stream');
$w->wait_changes(30);
$old->query_safe('COMMIT');
$old->quit;
stream_is('rows are read', "state = 'snapshot' AND snapshot_rows > 100");
table_is('some of them have arrived', "kind = 'initial' AND rows_done > 0");
kill9('stream');
streams_again();
pass('before the export, and in a range of the initial snapshot');
table_is('a table is being read', "state = 'reading' AND rows_done > 0");
terminate('snapshot reader');
table_is('a table is done', "state = 'done'");
terminate('stream');
streams_again();
kill9('snapshot reader');
$w->wait_snapshots;
immediate();
streams_again();
pass('in the rest of it, between tables, and at the end');

# ----------
# Ad hoc
# ----------

foreach my $fault ([ 'stream', \&kill9 ], [ 'snapshot reader', \&kill9 ], [ 'snapshot reader', \&terminate ],
	[ 'stream', \&terminate ])
{
	my ($kind, $sub) = @$fault;
	my $id = ad_hoc('keyed');
	table_is('a range is done', "snapshot = '$id' AND state = 'reading' AND rows_done > 0");
	$sub->($kind);
	streams_again();
	$w->wait_snapshots("snapshot = '$id'");
	is(ask("SELECT string_agg(state, ' ') FROM wal2kafka.stat_snapshots WHERE snapshot = '$id'"), 'done',
		'in an ad hoc range: ' . ($sub == \&kill9 ? 'kill -9' : 'terminate') . " $kind");
}
my $id = ad_hoc('parted');
ad_hoc('keyed');
some_pid('snapshot reader');
broker();
$t->sql("SELECT wal2kafka.pause_snapshot('$id')");
immediate();
streams_again();
table_is('it is paused still', "snapshot = '$id' AND state = 'paused'");
$t->sql("SELECT wal2kafka.resume_snapshot('$id')");
$w->wait_snapshots;
$w->wait_changes(100);
$w->stop;
my $verdict = $w->check('one worker', restarts => 1);
cmp_ok($verdict->{markers}{true} || 0, '>', 0, 'some rows are of the initial snapshot itself');
cmp_ok($verdict->{markers}{incremental} || 0, '>', 0, '... and some are not');

# ----------
# Several workers
# ----------

$w->another_stream('three', workers => 3);
$w->start(rate => 5);
$t->start_stream(no_wait => 1);
stream_is('rows are read', "state = 'snapshot' AND snapshot_rows > 100");
table_is('some of them have arrived', "kind = 'initial' AND rows_done > 0");
terminate('snapshot');
stream_is('more rows are read', 'snapshot_rows > 1000');
broker();
table_is('a table is done', "state = 'done'");
kill9('snapshot');
stream_is('it has come to an end', "state = 'streaming'");
terminate('stream');
streams_again();
$w->wait_snapshots;
$w->wait_changes(100);
$w->stop;
$w->check('three workers', restarts => 1);

# ----------
# What is finished stays finished
# ----------

$t->stop_stream;
slowly(100);
foreach my $workers (1, 2)
{
	my $name = "big$workers";
	my ($done, $count);

	$w->another_stream($name, workers => $workers, publication => 'big');
	$t->start_stream(no_wait => 1);
	wait_until('half of the table is read', sub {
		$done = ask(q{SELECT max(rows_done) FROM wal2kafka.stat_snapshots WHERE stream = 'shop/cdc'});
		return $done && $done >= 20000;
	});
	$node->stop('immediate');
	$node->start;
	streams_again();
	$w->wait_snapshots;
	$t->sql("UPDATE big SET body = 'x' WHERE id = 1");
	$t->wait_caught_up;
	$count = $t->count('public.big');
	is($count->{live_keys}, 100000, "$workers worker(s): all rows arrived");
	cmp_ok($count->{events}, '<=', 200001 - $done, '... and what was finished was not read again')
	  or diag("$done rows were finished");
	note("$done rows were finished, $count->{events} events");
}

done_testing();
