# Exactly once, of snapshots: is each row there once for a consumer that reads
# what is committed, whoever is killed in the middle of the initial snapshot,
# of the rest of it, and of an ad hoc one?

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../test/lib";

use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wal2Kafka;

my %rows = (big => 60000, pair => 30000, keyless => 30000);

my $t = Wal2Kafka->new(
	snapshot => 'initial',
	tables => <<EOS,
CREATE EXTENSION wal2kafka;
CREATE TABLE big (id int PRIMARY KEY, body text);
INSERT INTO big SELECT i, repeat(md5(i::text), 10) FROM generate_series(1, $rows{big}) i;
CREATE TABLE pair (b int, a text, body text, PRIMARY KEY (a, b));
INSERT INTO pair SELECT i, 'name ' || i % 100, repeat(md5(i::text), 10) FROM generate_series(1, $rows{pair}) i;
CREATE TABLE keyless (n int, body text);
INSERT INTO keyless SELECT i, repeat(md5(i::text), 10) FROM generate_series(1, $rows{keyless}) i;
CREATE TABLE tick (id int PRIMARY KEY);
EOS
	conf => <<EOC);
restart_after_crash = on
wal2kafka.delivery = exactly_once
wal2kafka.snapshot_workers = 2
wal2kafka.kafka_options = 'linger.ms=100'
wal2kafka.max_queue_size_in_bytes = '1MB'
EOC
my $node = $t->{node};

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

sub table_is { my ($what, $sql) = @_; return until_true($what, "coalesce(bool_or($sql), false) FROM wal2kafka.stat_snapshots WHERE stream = '$t->{stream}'"); }

sub streams_again
{
	wait_until('the stream is back', sub {
		my $state = $t->stat('state') || '';
		ask("SELECT wal2kafka.restart('$t->{stream}')") if $state eq 'held';
		return $state eq 'streaming';
	});
	return;
}

sub snapshots_end
{
	until_true('snapshots are over', "NOT EXISTS (SELECT FROM wal2kafka.stat_snapshots WHERE state NOT IN ('done', 'failed', 'cancelled', 'gone'))");
	return;
}

# A process of the kind; the stream's worker where it was the last of them, and
# is gone.
sub pid_of
{
	my ($kind) = @_;
	my $pid;
	wait_until("there is a wal2kafka $kind", sub {
		my $out = ask("SELECT backend_type || ':' || pid FROM pg_stat_activity WHERE backend_type IN ('wal2kafka $kind', 'wal2kafka stream')") || '';
		my $over = (ask(q{SELECT NOT EXISTS (SELECT FROM wal2kafka.stat_snapshots WHERE state IN ('waiting', 'reading'))}) || '') eq 't';
		($pid) = $out =~ /^wal2kafka $kind:(\d+)$/m;
		($pid) = $out =~ /:(\d+)$/m if !$pid && $over;
		return $pid;
	});
	return $pid;
}

# ----------
# Faults
# ----------

# takes the whole server down and up again
sub kill9
{
	my ($kind) = @_;
	my $pid = pid_of($kind);
	kill 'KILL', $pid;
	wait_until('the process is gone', sub { !kill 0, $pid });
	wait_until('the server is back', sub { defined ask('SELECT 1') });
	return;
}

sub kill9_server
{
	my @pids = split /\n/, ask(q{SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'wal2kafka %'});
	kill 'KILL', $t->postmaster_pid;
	wait_until('all are gone', sub { !grep { kill 0, $_ } @pids });
	$t->stopped;
	wait_until('the server starts', sub { $node->start(fail_ok => 1) });
	return;
}

sub immediate { $node->stop('immediate'); $node->start; return; }
sub terminate { my ($kind) = @_; ask("SELECT pg_terminate_backend(" . pid_of($kind) . ")"); return; }
sub broker { $t->{kafka}->kill9; $t->{kafka}->start; return; }

# ----------
# Counting
# ----------

# How often is each row of a table in its topic? "1x60000"
sub how_often
{
	my ($table) = @_;
	my ($ok, $out, $err) = $t->reader('repeats', '--pattern', '[0-9a-f]{320}', $t->topic("public.$table"));
	my $times = decode_json($out);

	die "consume.py: $err" unless $ok;
	return join ' ', map { "${_}x$times->{$_}" } sort { $a <=> $b } keys %$times;
}

sub all_rows
{
	my ($name, $times) = @_;
	$t->sql("INSERT INTO tick SELECT coalesce(max(id), 0) + 1 FROM tick");
	$t->wait_caught_up;
	is(how_often($_), "$times->{$_}x$rows{$_}", "$name: every row of $_ is there as often as it was asked for")
	  foreach sort keys %$times;
	return;
}

# ----------
# The start
# ----------

my %asked = map { $_ => 1 } keys %rows;

sub fault
{
	my ($what, $sub, $kind, $condition, $over) = @_;

	# What is fast may be over before.
	table_is($what, "($condition) OR $over");
	if ((ask("SELECT bool_or($condition) FROM wal2kafka.stat_snapshots") || '') ne 't')
	{
		note("over before: $what");
		return;
	}
	$sub->($kind);
	streams_again();
	note("fault: $what");
	return;
}

$t->start_stream(no_wait => 1);
table_is('rows have arrived', "kind = 'initial' AND rows_done > 0");
kill9('snapshot');
streams_again();
fault('the rest is being read', \&kill9, 'snapshot reader', "state = 'reading' AND rows_done > 0", 'false');
fault('the rest is being read', \&terminate, 'snapshot reader', "state = 'reading' AND rows_done > 0", 'false');
fault('the rest is being read', \&kill9_server, undef, "state = 'reading' AND rows_done > 0", 'false');
fault('the rest is being read', \&terminate, 'stream', "state = 'reading' AND rows_done > 0", 'false');
snapshots_end();
all_rows('initial', \%asked);

# ----------
# Ad hoc
# ----------

foreach my $table ('big', 'pair', 'keyless')
{
	my $id = $t->sql("SELECT wal2kafka.snapshot('public.$table')");
	my $reading = "snapshot = '$id' AND state = 'reading' AND rows_done > ";
	my $over = "snapshot = '$id' AND state = 'done'";

	$asked{$table}++;
	fault('rows have arrived', \&kill9, 'stream', $reading . '0', $over);
	fault('more have', \&kill9, 'snapshot reader', $reading . '1000', $over);
	fault('more have', \&terminate, 'snapshot reader', $reading . '4000', $over);
	fault('more have', \&immediate, undef, $reading . '7000', $over);
	fault('more have', \&broker, undef, $reading . '10000', $over) if $table eq 'big';
	snapshots_end();
	is($t->sql("SELECT string_agg(state, ' ') FROM wal2kafka.stat_snapshots WHERE snapshot = '$id'"), 'done', "$table was read");
	all_rows("ad hoc of $table", { $table => $asked{$table} });
}

# ----------
# Notes do not stay
# ----------

wait_until('notes are withdrawn', sub {
	my %last;
	$last{ $_->{key} } = $_->{value} foreach grep { defined $_->{key} && $_->{key} ne 'position' } @{ $t->records('', topic => 'shop.progress') };
	return !grep { defined } values %last;
});
pass('no note of a snapshot that is over is left');

# ----------
# A table that is rewritten before its turn
# ----------

$t->stop_stream;
$t->sql("SELECT wal2kafka.drop_stream('shop/cdc')");
$t->{slot} = undef;
$t->{prefix} = 'again';
$t->set('wal2kafka.topic_prefix', 'again');
$t->set('wal2kafka.snapshot_workers', '1');
$t->start_stream(no_wait => 1);
table_is('the snapshot has begun', "kind = 'initial' AND rows_done > 0");
$t->{kafka}->freeze;
$t->sql('VACUUM FULL keyless');
$t->{kafka}->thaw;
streams_again();
snapshots_end();
like(slurp_file($node->logfile), qr/leaves table "public.keyless" to be read while streaming/, 'a table that was rewritten is left to the stream');
all_rows('rewritten', { map { $_ => 1 } keys %rows });
done_testing();
