# Is the truth told when the worker or the server is killed, at any step that
# makes something durable, at least once and exactly once?

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../test/lib";

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Testbed;
use Wal2Kafka;

# Needs a library that was compiled with -DWAL2KAFKA_KILL_POINTS.
plan skip_all => 'needs a test build, see test/run'
  unless $ENV{WAL2KAFKA_KILL_POINTS};

# Whoever adds a point adds a case.
my %named = map { $_ => 1 } map { slurp_file($_) =~ /\bKILL_POINT\("(\w+)"\)/g } glob("$FindBin::Bin/../*.c");
my @cases = split /\n/, `/usr/bin/python3 $FindBin::Bin/../test/lib/kill_points.py --list`;
is(join(' ', sort keys %named), join(' ', sort @cases), 'each point has a case');

my $kafka = Testbed->new('kafka')->start;
my $registry = Testbed->new('registry')->start;
my $table = '(id int PRIMARY KEY, seq int, note text)';

# A server with two streams, ready for kill_points.py
sub server
{
	my ($delivery) = @_;
	my $t = Wal2Kafka->new(
		kafka => $kafka,
		registry => $registry,
		tables => join('', map { "CREATE TABLE $_ $table; ALTER TABLE $_ REPLICA IDENTITY FULL;" } qw(kv other)),
		conf => <<EOC);
restart_after_crash = on
shared_buffers = 16MB
max_wal_size = 4GB
logical_decoding_work_mem = 64kB
wal2kafka.delivery = '$delivery'
wal2kafka.provide_transaction_metadata = on
wal2kafka.transaction_split_bytes = '1MB'
EOC
	return $t;
}

# Topics begin with the delivery's name: the servers share Kafka.
sub prepare
{
	my ($t, $delivery) = @_;
	my $node = $t->{node};

	$t->sql("ALTER ROLE cdc IN DATABASE shop SET wal2kafka.topic_prefix = '$delivery'");
	$t->sql('CREATE EXTENSION wal2kafka');
	$t->admin('CREATE DATABASE snap');
	$node->safe_psql('snap', $_) foreach (
		'ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO cdc',
		(map { "CREATE TABLE $_ $table; ALTER TABLE $_ REPLICA IDENTITY FULL; "
			  . "INSERT INTO $_ SELECT i, i, 'note' FROM generate_series(1, 100) i" } qw(t1 t2 t3)),
		q{ALTER ROLE cdc IN DATABASE snap SET wal2kafka.snapshot_mode = 'initial'},
		"ALTER ROLE cdc IN DATABASE snap SET wal2kafka.topic_prefix = '${delivery}_snap'",
		'CREATE EXTENSION wal2kafka');
	$t->start_stream(streams => 'shop/cdc, snap/cdc');
	$t->wait_state('streaming', undef, 'snap/cdc');
	return;
}

sub start_run
{
	my ($t, $delivery) = @_;
	my $node = $t->{node};
	my $out = PostgreSQL::Test::Utils::tempdir($delivery) . '/out';

	my $harness = IPC::Run::start(
		[ '/usr/bin/python3', "$FindBin::Bin/../test/lib/kill_points.py",
			'--psql', $node->installed_command('psql'),
			'--pg-ctl', $node->installed_command('pg_ctl'),
			'--postgres', $node->installed_command('postgres'),
			'--conninfo', 'host=' . $node->host . ' port=' . $node->port,
			'--data', $node->data_dir, '--log', $node->logfile,
			'--delivery', $delivery,
			'--brokers', $kafka->address, '--registry', $registry->address,
			'--times', $ENV{KILL_POINT} ? ('--only', $ENV{KILL_POINT}) : () ],
		'<', \undef, '>', $out, '2>&1');
	return { harness => $harness, out => $out, delivery => $delivery, t => $t };
}

my @runs;
foreach my $delivery ($ENV{KILL_DELIVERY} || qw(at_least_once exactly_once))
{
	my $t = server($delivery);
	prepare($t, $delivery);
	push @runs, start_run($t, $delivery);
}
foreach my $run (@runs)
{
	$run->{harness}->finish;
	foreach my $line (split /\n/, slurp_file($run->{out}))
	{
		if ($line =~ /^ok (.*)/)
		{
			pass("$run->{delivery}, $1");
		}
		elsif ($line =~ /^not ok (.*)/)
		{
			fail("$run->{delivery}, $1");
		}
		else
		{
			note($line);
		}
	}
	is($run->{harness}->result(0), 0, "$run->{delivery}: all cases were gone through");

	# it was started behind its object's back
	$run->{t}{node}->_update_pid(-1);
}

done_testing();
