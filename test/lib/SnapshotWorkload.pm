# The sixteen writers of snapshot_workload.py beside a stream, and the check
# that the topics tell the truth of the tables.
#
#	my $t = Wal2Kafka->new(SnapshotWorkload->server(snapshot => 'initial'), ...);
#	my $w = SnapshotWorkload->new($t, rows => { keyed => 5000 });
#	$w->start; ...; $w->stop;
#	$w->check('initial', exact => 1);

package SnapshotWorkload;

use strict;
use warnings;

use File::Basename;
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wal2Kafka;

my $lib = dirname(__FILE__);
my @tables = qw(keyed composite parted keyless);
my $runs = 0;

# Options for Wal2Kafka->new; conf is added to.
sub server
{
	my ($class, %option) = @_;
	my $publication = $option{root} ? 'snap_root' : 'snap';
	my $conf = delete $option{conf} || '';

	return (
		%option,
		tables => slurp_file("$lib/snapshot_workload.sql") . ($option{tables} || ''),
		conf => <<EOC . $conf);
max_connections = 60
max_prepared_transactions = 20
deadlock_timeout = 100ms
shared_buffers = 32MB
wal2kafka.publication_name = '$publication'
EOC
}

# rows: how many each table has before (default 2000 of each), one in "large"
# (100) with a value of 20 kB
sub new
{
	my ($class, $t, %option) = @_;
	my $self = bless {
		t => $t,
		root => 0,
		dir => PostgreSQL::Test::Utils::tempdir('writers'),
		%option }, $class;

	$self->{rows} = { (map { $_ => 2000 } @tables), %{ $option{rows} || {} } };
	$self->{seed} = $ENV{WAL2KAFKA_TEST_SEED} || int(rand(100_000));
	note("writers' seed: $self->{seed}");
	$self->{large} ||= 100;
	$t->sql("SELECT fill('$_', $self->{rows}{$_}, $self->{large})") foreach @tables;
	$t->sql('ANALYZE');
	$t->sql('CREATE EXTENSION wal2kafka');
	return $self;
}

# Another stream of the same tables, with topics and a slot of its own: of
# the given mode, workers, root, publication.  Its worker starts at start_stream().
sub another_stream
{
	my ($self, $name, %option) = @_;
	my $t = $self->{t};

	$t->stop_stream;
	$t->admin("SELECT pg_drop_replication_slot('$t->{slot}')") if $t->{slot} && !$option{keep};
	$t->{slot} = undef;
	$t->{prefix} = $name;
	$self->{root} = $option{root} || 0;
	$t->set('wal2kafka.topic_prefix', $name);
	$t->set('wal2kafka.slot_name', "${name}_slot");
	$t->set('wal2kafka.snapshot_mode', $option{mode} || 'initial');
	$t->set('wal2kafka.publication_name', $option{publication} || ($self->{root} ? 'snap_root' : 'snap'));
	$t->set('wal2kafka.snapshot_workers', $option{workers}) if $option{workers};
	return;
}

# Start the writers; back once each has had the time for a transaction.
sub start
{
	my ($self, %option) = @_;
	my $node = $self->{t}{node};
	my $run = ++$runs;
	my ($least) = sort { $a <=> $b } values %{ $self->{rows} };
	local %ENV = (%ENV, PGAPPNAME => 'writer');

	$self->{stop_file} = "$self->{dir}/stop$run";
	$self->{done_file} = "$self->{dir}/done$run";
	$self->{writers} = IPC::Run::start(
		[ '/usr/bin/python3', "$lib/snapshot_workload.py",
			'--psql', $node->installed_command('psql'),
			'--conninfo', $node->connstr($self->{t}{database})
			  . " options='-c log_min_messages=panic'",
			'--rows', $option{keys} || $least,
			'--stop-file', $self->{stop_file}, '--done-file', $self->{done_file},
			'--seed', $self->{seed} + $run,
			map { ("--$_", $option{$_}) } grep { defined $option{$_} } qw(rate) ],
		'<', \undef);
	$self->wait_changes(20);
	return $self;
}

# Writers have made so many more changes, in or out of transactions that are
# committed.
sub wait_changes
{
	my ($self, $more) = @_;
	my $node = $self->{t}{node};
	my $count = sub {
		my ($code, $out) = $node->psql($self->{t}{database},
			'SELECT coalesce(sum(v), 0) FROM tally');
		return $code == 0 ? $out : undef;
	};
	my $start;
	wait_until('the writers are heard of', sub { defined($start = $count->()) });
	wait_until("the writers made $more changes", sub {
		my $now = $count->();
		return defined $now && $now >= $start + $more;
	});
	return;
}

# Stop the writers, and end what they left behind in a crash.
sub stop
{
	my ($self) = @_;
	my $t = $self->{t};

	append_to_file($self->{stop_file}, "stop\n");
	# a transaction that was prepared before a crash holds its locks
	wait_until('the writers stop', sub {
		$t->sql("ROLLBACK PREPARED '$_'") foreach split /\n/, $t->sql(
			q{SELECT gid FROM pg_prepared_xacts WHERE prepared < clock_timestamp() - interval '2 s'});
		return -e $self->{done_file};
	});
	$self->{writers}->finish;
	my $done = decode_json(slurp_file($self->{done_file}));
	note("writers' transactions: $done->{committed} committed, $done->{given_up} given up: "
		  . join(', ', map { "$_ $done->{habits}{$_}" } sort keys %{ $done->{habits} }));
	$t->sql("ROLLBACK PREPARED '$_'")
	  foreach split /\n/, $t->sql('SELECT gid FROM pg_prepared_xacts');
	return $done;
}

# Rows of stat_snapshots that the condition picks: [column, ...] each.
sub snapshots
{
	my ($self, $columns, $condition) = @_;
	my ($code, $out) = $self->{t}{node}->psql('postgres',
		"SELECT $columns FROM wal2kafka.stat_snapshots WHERE stream = '$self->{t}{stream}' AND "
		  . ($condition || 'true') . ' ORDER BY snapshot, "table"');
	return $code == 0 ? map { [ split /\|/, $_, -1 ] } split /\n/, $out : ();
}

# Every snapshot (that the condition picks) is over.
sub wait_snapshots
{
	my ($self, $condition) = @_;
	my $t = $self->{t};

	eval {
		wait_until('snapshots are over', sub {
			my @states = map { $_->[0] } $self->snapshots('state', $condition);
			return @states && !grep { /^(requested|waiting|reading|paused)$/ } @states;
		});
		1;
	} or do {
		my $error = $@;
		diag(join("\n", map { join ' ', @$_ } $self->snapshots('snapshot, kind, "table", state, rows_done, error')));
		$t->show_state;
		die $error;
	};
	return;
}

# NAME=FILE:TOPIC,... of each table
sub specs
{
	my ($self) = @_;
	my $t = $self->{t};
	my @specs;

	foreach my $table (@{ $self->{tables} || \@tables })
	{
		my $file = "$self->{dir}/$table.rows";
		my @topics = $table eq 'parted' && !$self->{root}
		  ? map { "public.parted_$_" } 1 .. 3 : ("public.$table");

		unlink $file;
		# what is generated is published from 18 on, and if asked for
		append_to_file($file, $t->sql("SELECT to_jsonb(x) - 'twice' FROM $table x") . "\n");
		push @specs, "$table=$file:" . join(',', map { $t->topic($_) } @topics);
	}
	return @specs;
}

# The verdict of snapshot_check.py, decoded.
sub verdict
{
	my ($self, @arguments) = @_;
	my $t = $self->{t};
	my ($out, $err);
	local %ENV = (%ENV, LD_LIBRARY_PATH => '');

	IPC::Run::run(
		[ '/usr/bin/python3', "$lib/snapshot_check.py",
			'--brokers', $t->{kafka}->address, '--registry', $t->{registry}->address,
			@arguments, $self->specs ],
		'>', \$out, '2>', \$err);
	return eval { decode_json($out) } || die "snapshot_check.py: $err";
}

# The writers have stopped: does each topic tell the truth?  exact, restarts,
# gap, changes, spoil: see snapshot_check.py.
sub check
{
	my ($self, $name, %option) = @_;

	$self->{t}->wait_caught_up($option{timeout});
	my $verdict = $self->verdict(map { "--$_" } grep { $option{$_} } qw(exact restarts spoil gap changes));
	is_deeply($verdict->{problems}, [],
		"$name: $verdict->{reads} rows and $verdict->{events} changes tell the truth")
	  or diag(explain($verdict->{kinds}));
	note("$name: " . JSON::PP->new->canonical->encode(
		{ map { $_ => $verdict->{$_} } qw(checkpoints markers read_twice repeats) }));
	return $verdict;
}

1;
