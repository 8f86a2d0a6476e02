# One PostgreSQL server with wal2kafka, one stream, a real broker and
# registry, and the questions that tests ask of them.
#
#	my $t = Wal2Kafka->new(tables => 'CREATE TABLE ...', conf => '...');
#	$t->start_stream;
#	$t->sql('INSERT ...');
#	$t->wait_caught_up;
#	is_deeply($t->rows('public.item'), ...);
#
# The stream is shop/cdc as in the contract: database "shop", role "cdc",
# topics shop.<schema>.<table>.  Waiting is always for a condition.

package Wal2Kafka;

use strict;
use warnings;

use File::Basename;
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Testbed;
use Time::HiRes qw(time usleep);

use Exporter 'import';
our @EXPORT = qw(wait_until);

my $lib = dirname(__FILE__);
my $python = '/usr/bin/python3';
my $number = 0;

our $timeout = $ENV{PG_TEST_TIMEOUT_DEFAULT} || 120;

# wait_until('what', sub {...}, seconds): what the sub returned, once true
sub wait_until
{
	my ($what, $condition, $seconds) = @_;
	my $deadline = time() + ($seconds || $timeout);

	while (1)
	{
		my $result = $condition->();
		return $result if $result;
		die "timed out waiting until $what" if time() > $deadline;
		usleep(50_000);
	}
}

# new(%options):
#	kafka, registry		0: none; a Testbed: that one; default: one of its own
#	tables				SQL that is run in the database before the stream
#	conf				more lines for postgresql.conf
#	properties			broker's properties
#	standbys			it may get some
#	snapshot			wal2kafka.snapshot_mode (default here: no_data)
sub new
{
	my ($class, %option) = @_;
	my $self = bless {
		name => 'node' . ++$number,
		stream => 'shop/cdc',
		database => 'shop',
		slot => undef,
		%option }, $class;

	foreach my $kind ('kafka', 'registry')
	{
		next if defined $self->{$kind};
		$self->{$kind} = Testbed->new($kind,
			$kind eq 'kafka' ? %{ $option{properties} || {} } : ());
		$self->{$kind}->start;
	}
	$self->create_server;
	$self->{node}->start;
	$self->prepare_database;
	return $self;
}

# A server that the test made itself; parts as for new().
sub adopt
{
	my ($class, %option) = @_;
	return bless {
		stream => 'shop/cdc',
		database => 'shop',
		slot => undef,
		%option }, $class;
}

sub create_server
{
	my ($self) = @_;
	my $node = PostgreSQL::Test::Cluster->new($self->{name});
	my $kafka = $self->{kafka} ? $self->{kafka}->address : '';
	my $registry = $self->{registry} ? $self->{registry}->address : '';
	my $snapshot = $self->{snapshot} || 'no_data';

	$node->init(allows_streaming => $self->{standbys} ? 'logical' : 0);
	$node->append_conf('postgresql.conf', <<EOC);
wal_level = logical
max_wal_senders = 4
max_replication_slots = 8
max_worker_processes = 16
shared_preload_libraries = 'wal2kafka'
log_min_messages = info
log_statement = none
log_line_prefix = '%m [%p] %b %q%a '
fsync = off
autovacuum = off
wal2kafka.bootstrap_servers = '$kafka'
wal2kafka.schema_registry_url = '$registry'
wal2kafka.snapshot_mode = '$snapshot'
EOC
	# fsync off would make an immediate stop of the machine unsafe, not of
	# the server: these tests kill processes only.
	$node->append_conf('postgresql.conf', $self->{conf}) if $self->{conf};
	$self->{node} = $node;
	return;
}

sub prepare_database
{
	my ($self) = @_;
	my $node = $self->{node};

	$node->safe_psql('postgres', 'CREATE ROLE cdc LOGIN REPLICATION');
	$node->safe_psql('postgres', "CREATE DATABASE $self->{database}");
	$node->safe_psql('postgres', 'CREATE EXTENSION wal2kafka');
	$node->safe_psql($self->{database},
		'ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO cdc');
	$node->safe_psql($self->{database}, $self->{tables}) if $self->{tables};
	return;
}

# Add the stream to wal2kafka.streams and wait until it streams.
sub start_stream
{
	my ($self, %option) = @_;

	$self->set('wal2kafka.streams', $option{streams} || $self->{stream});
	$self->wait_state($option{state} || 'streaming') unless $option{no_wait};
	return;
}

# Take the stream out of wal2kafka.streams; its slot and topics stay.
sub stop_stream
{
	my ($self) = @_;
	my $pid = $self->stat('pid');

	$self->set('wal2kafka.streams', '');
	wait_until('the worker ends', sub { !$pid || !kill 0, $pid });
	return;
}

sub sql { my ($self, $sql) = @_; return $self->{node}->safe_psql($self->{database}, $sql); }
sub admin { my ($self, $sql) = @_; return $self->{node}->safe_psql('postgres', $sql); }

# ALTER SYSTEM and reload
sub set
{
	my ($self, $name, $value) = @_;
	$self->admin(defined $value ? "ALTER SYSTEM SET $name = '$value'"
		: "ALTER SYSTEM RESET $name");
	$self->{node}->reload;
	return;
}

# A column of stat_streams; undef where the stream has no row
sub stat
{
	my ($self, $column, $stream) = @_;
	my ($code, $out) = $self->{node}->psql('postgres', sprintf(
			q{SELECT %s FROM wal2kafka.stat_streams WHERE stream = '%s'},
			$column, $stream || $self->{stream}));
	return $code == 0 ? $out : undef;
}

sub show_state
{
	my ($self) = @_;
	my ($code, $out) = $self->{node}->psql('postgres',
		"\\x\nSELECT * FROM wal2kafka.stat_streams");
	diag(defined $out ? $out : 'no answer from the server');
	my $log = slurp_file($self->{node}->logfile);
	my @lines = grep { !/ checkpointer / } split /\n/, $log;
	splice(@lines, 0, -30) if @lines > 30;
	diag(join("\n", @lines));
	return;
}

sub wait_stat
{
	my ($self, $column, $pattern, $seconds, $stream) = @_;
	my $value;

	eval {
		wait_until("$column is like $pattern", sub {
			$value = $self->stat($column, $stream);
			return defined $value && $value =~ $pattern;
		}, $seconds);
		1;
	} or do {
		my $error = $@;
		$self->show_state;
		die $error . ' (it is ' . (defined $value ? "'$value'" : 'undefined') . ')';
	};
	return $value;
}

sub wait_state
{
	my ($self, $state, $seconds, $stream) = @_;
	return $self->wait_stat('state', qr/^$state$/, $seconds, $stream);
}

sub wait_waiting_for
{
	my ($self, $what, $seconds) = @_;
	return $self->wait_stat('waiting_for', qr/^$what$/, $seconds);
}

sub wait_error
{
	my ($self, $pattern, $seconds) = @_;
	return $self->wait_stat('last_error', $pattern, $seconds);
}

sub worker_pid
{
	my ($self) = @_;
	return $self->wait_stat('pid', qr/^[1-9]/);
}

sub slot
{
	my ($self) = @_;
	$self->{slot} = $self->wait_stat('slot_name', qr/./) unless $self->{slot};
	return $self->{slot};
}

# What was committed until now is acknowledged.
sub wait_caught_up
{
	my ($self, $seconds) = @_;
	my $node = $self->{node};
	my $slot = $self->slot;
	my $end = $node->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn()');

	eval {
		wait_until("slot $slot is confirmed up to $end", sub {
			my ($code, $out) = $node->psql('postgres',
				"SELECT confirmed_flush_lsn >= '$end' FROM pg_replication_slots WHERE slot_name = '$slot'");
			return $code == 0 && $out eq 't';
		}, $seconds);
		1;
	} or do {
		my $error = $@;
		$self->show_state;
		die $error;
	};
	return;
}

sub postmaster_pid
{
	my ($self) = @_;
	my ($pid) = slurp_file($self->{node}->data_dir . '/postmaster.pid') =~ /^(\d+)/;
	return $pid;
}

# The server was stopped behind its object's back.
sub stopped
{
	my ($self) = @_;
	$self->{node}->{_pid} = undef;
	return;
}

# Kilobytes of memory that are the worker's own.
sub worker_memory
{
	my ($self) = @_;
	my $pid = $self->worker_pid;
	my $status = slurp_file("/proc/$pid/status");
	my ($anonymous) = $status =~ /^RssAnon:\s+(\d+) kB/m;
	return $anonymous;
}

# ----------
# The independent reader
# ----------

sub reader
{
	my ($self, $mode, @arguments) = @_;
	my ($out, $err);
	my @command = ($python, "$lib/consume.py", $mode,
		'--brokers', $self->{kafka}->address,
		'--registry', $self->{registry} ? $self->{registry}->address : '',
		'--schemas-topic', ($self->{prefix} || $self->{database}) . '.schemas',
		@arguments);
	# PostgreSQL's own libraries must not come before the system's.
	local %ENV = (%ENV, LD_LIBRARY_PATH => '');
	my $ok = IPC::Run::run(\@command, '>', \$out, '2>', \$err);
	return ($ok, $out, $err);
}

sub topic
{
	my ($self, $table) = @_;
	return ($self->{prefix} || $self->{database}) . ".$table";
}

# All records of a table's topic (or of a topic with its full name); with
# from => n those from that offset on.
sub records
{
	my ($self, $table, %option) = @_;
	my $topic = $option{topic} || $self->topic($table);
	my ($ok, $out, $err) = $self->reader('dump', '--missing-ok',
		$option{from} ? ('--from', $option{from}) : (), $topic);

	die "consume.py: $err" unless $ok;
	return [ map { decode_json($_) } split /\n/, $out ];
}

# [op, key, before, after] of each event; [key] of each tombstone
sub events
{
	my ($self, $table) = @_;
	return [
		map {
			my $v = $_->{value};
			defined $v ? [ $v->{op}, $_->{key}, $v->{before}, $v->{after} ]
			  : [ $_->{key} ];
		} @{ $self->records($table) }
	];
}

# "c:1 u:1 d:1 -:1": what happened to which key, for short comparisons
sub story
{
	my ($self, $table, %option) = @_;
	return join ' ', map {
		my $fields = $_->{key};
		my $key = $fields ? join(',', map { $fields->{$_} } sort keys %$fields) : '?';
		($_->{value} ? $_->{value}{op} : '-') . ":$key";
	} @{ $self->records($table, %option) };
}

# Numbers of events, tombstones and live keys of a table's topic, undecoded.
sub count
{
	my ($self, $table) = @_;
	my ($ok, $out, $err) = $self->reader('count', $self->topic($table));

	die "consume.py: $err" unless $ok;
	return decode_json($out);
}

# ----------
# The workload whose outcome is known
# ----------

sub workload_tables
{
	my ($class) = @_;
	return slurp_file("$lib/workload.sql");
}

# start_workload(%options): transactions => n each, else until stop_workload;
# conninfo => another server than the stream's, or several
sub start_workload
{
	my ($self, %option) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir('workload');
	my $node = $self->{node};
	my $conninfo = $option{conninfo} || $node->connstr($self->{database});

	$conninfo .= " options='$option{options}'" if $option{options};
	$self->{journal} = "$dir/journal.json";
	$self->{stop_file} = "$dir/stop";
	$self->{seed} ||= $ENV{WAL2KAFKA_TEST_SEED} || int(rand(1_000_000));
	note("workload's seed: $self->{seed}");
	my @command = ($python, "$lib/workload.py",
		'--psql', $node->installed_command('psql'),
		'--conninfo', $conninfo,
		'--journal', $self->{journal}, '--stop-file', $self->{stop_file},
		'--seed', $self->{seed}++,
		map { ("--$_", $option{$_}) } grep { $option{$_} } qw(writers keys size transactions rate));
	$self->{workload} = IPC::Run::start(\@command, '<', \undef);
	return;
}

# Wait until the writers are done, or tell them to stop.
sub stop_workload
{
	my ($self, %option) = @_;

	append_to_file($self->{stop_file}, "stop\n") unless $option{wait};
	$self->{workload}->finish;
	return;
}

# How many committed changes the stream has to have passed: for tests that
# want a fault in the middle of the work.
sub wait_events
{
	my ($self, $more) = @_;
	my $start = $self->stat('events') || 0;
	return $self->wait_stat('events', qr/./) if !$more;
	wait_until("$more more events were sent", sub {
		my $now = $self->stat('events');
		return defined $now && $now ne '' && $now >= $start + $more;
	});
	return;
}

# The workload is over: every committed change is in Kafka, no rolled-back
# one is, each key's versions are in order, and the topic folds to the table.
sub check_workload
{
	my ($self, $name, %option) = @_;
	my $file = "$self->{journal}.table";

	$self->wait_caught_up($option{timeout});
	append_to_file($file, $self->sql('SELECT row_to_json(l) FROM ledger l') . "\n");
	my ($ok, $out, $err) = $self->reader('check', '--journal', $self->{journal},
		'--table', $file, $self->topic('public.ledger'));
	my $result = eval { decode_json($out) };

	if (!$result)
	{
		fail($name);
		diag($err);
		return;
	}
	ok($result->{committed} > ($option{at_least} || 100), "$name: $result->{committed} committed changes");
	is_deeply($result->{problems}, [], "$name: $result->{events} events, none missing, none invented, in order")
	  or $self->show_state;
	note("$name: $result->{repeats} sent again, $result->{rolled_back} rolled back, $result->{unknown} unknown");
	return $result;
}

1;
