# Is each kind of bad input reported once, with cause and remedy, and got over?

use strict;
use warnings;

use Cwd;
use FindBin;
use lib "$FindBin::Bin/../test/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wal2Kafka;

my $t = Wal2Kafka->new(
	tables => 'CREATE TABLE item (id int PRIMARY KEY)',
	conf => "max_replication_slots = 4\n");
my $node = $t->{node};
my $stream = $t->{stream};
my $next = 0;

# One line of the log that names the stream and the cause; the same in
# last_error, with a remedy; few restarts meanwhile; then the cure.
sub bad
{
	my ($what, $pattern, $spoil, $cure, %option) = @_;
	my $from = -s $node->logfile;

	$spoil->();
	my $seen = eval { $t->wait_error($pattern, 30); 1 };
	ok($seen, "$what: last_error") or return $cure->();
	my $hint = $t->stat('last_error_hint');
	ok((defined $hint && $hint ne ''), "$what: a remedy") or diag($t->stat('last_error'));
	note("$what: " . $t->stat('last_error') . ' / ' . ($hint || ''));
	my $log = slurp_file($node->logfile, $from);
	like($log, qr/stream "?\Q$stream\E/, "$what: the log names the stream");
	my @lines = grep { /(?:ERROR|FATAL|LOG|WARNING):/ && $_ =~ $pattern } split /\n/, $log;
	cmp_ok(scalar(@lines), '>=', 1, "$what: the log has it");
	cmp_ok(scalar(@lines), '<=', 4, "$what: no storm");
	$cure->();
	$t->sql('INSERT INTO item VALUES (' . ++$next . ')');
	my $well = eval { $t->wait_state('streaming', 60); $t->wait_caught_up(60); 1 };
	ok($well, "$what: recovers by itself");
	return;
}

$t->start_stream;
$t->wait_caught_up;

# ---- the role and the database ----
bad('role without REPLICATION', qr/replication|permission/i,
	sub {
		$t->admin('ALTER ROLE cdc NOREPLICATION');
		$t->admin('SELECT pg_terminate_backend(pid) FROM wal2kafka.stat_streams');
	},
	sub { $t->admin('ALTER ROLE cdc REPLICATION') });

bad('role that may not log in', qr/LOGIN|log in/,
	sub {
		$t->admin('ALTER ROLE cdc NOLOGIN');
		$t->admin('SELECT pg_terminate_backend(pid) FROM wal2kafka.stat_streams');
	},
	sub { $t->admin('ALTER ROLE cdc LOGIN') });

# ---- settings whose value only Kafka's library can judge ----
bad('wrong property name', qr/no\.such\.property/,
	sub { $t->set('wal2kafka.kafka_options', 'no.such.property=1') },
	sub { $t->set('wal2kafka.kafka_options', undef) });
bad('wrong property value', qr/linger\.ms/,
	sub { $t->set('wal2kafka.kafka_options', 'linger.ms=soon') },
	sub { $t->set('wal2kafka.kafka_options', undef) });

my $file = Cwd::abs_path($node->data_dir) . '/kafka.options';
bad('options file that does not exist', qr/kafka\.options/,
	sub { $t->set('wal2kafka.kafka_options_file', $file) },
	sub { $t->set('wal2kafka.kafka_options_file', undef) });
append_to_file($file, "linger.ms=1\n");
chmod 0644, $file;
bad('options file that others may read', qr/kafka\.options/,
	sub { $t->set('wal2kafka.kafka_options_file', $file) },
	sub { chmod 0600, $file });
$t->set('wal2kafka.kafka_options_file', undef);

# ---- publications ----
bad('publication that does not exist yet', qr/publication "?later"?/,
	sub { $t->set('wal2kafka.publication_name', 'later') },
	sub { $t->sql('CREATE PUBLICATION later FOR ALL TABLES') });
$t->set('wal2kafka.publication_name', undef);
$t->wait_state('streaming');

# ---- the slot ----
my $slot = $t->slot;
my $listed = $t->admin(q{SELECT count(*) FROM pg_settings WHERE name = 'output_plugin_libraries'});
my $trusting = $listed ? q{ options='-c output_plugin_libraries=wal2kafka'} : '';
bad('slot held by someone else', qr/in use|active/,
	sub {
		my $stop = $t->worker_pid;
		$t->set('wal2kafka.streams', '');
		wait_until('the worker ended', sub { !kill 0, $stop });
		$t->{holder} = IPC::Run::start(
			[ $node->installed_command('pg_recvlogical'), '-d', $node->connstr('shop') . $trusting,
				'-S', $slot, '--start', '-n', '-f', '/dev/null' ],
			'2>', '/dev/null');
		wait_until('it holds the slot', sub {
			$t->admin("SELECT active FROM pg_replication_slots WHERE slot_name = '$slot'") eq 't';
		});
		$t->set('wal2kafka.streams', $stream);
	},
	sub { $t->{holder}->kill_kill });

bad('slot of another plugin', qr/foreign_slot/,
	sub {
		$t->sql(q{SELECT pg_create_logical_replication_slot('foreign_slot', 'test_decoding')});
		$t->admin(q{ALTER DATABASE shop SET wal2kafka.slot_name = 'foreign_slot'});
	},
	sub {
		$t->admin(q{ALTER DATABASE shop RESET wal2kafka.slot_name});
		$t->admin(q{SELECT pg_drop_replication_slot('foreign_slot')});
	});

# ---- broker and registry that are something else ----
bad('broker address where nobody listens', qr/refused|Connect to|broker/i,
	sub { $t->set('wal2kafka.bootstrap_servers', '127.0.0.1:1') },
	sub { $t->set('wal2kafka.bootstrap_servers', $t->{kafka}->address) });
my ($web) = $t->{registry}->address =~ m{^http://([^/]*)/};
bad('broker address that is no broker', qr/\Q$web\E/,
	sub { $t->set('wal2kafka.bootstrap_servers', $web) },
	sub { $t->set('wal2kafka.bootstrap_servers', $t->{kafka}->address) });
bad('registry address that is none', qr/registry|http|schema/i,
	sub {
		$t->set('wal2kafka.schema_registry_url', 'http://' . $t->{kafka}->address);
		$t->sql('INSERT INTO item VALUES (' . ++$next . ')');
	},
	sub { $t->set('wal2kafka.schema_registry_url', $t->{registry}->address) });

bad('slot lost', qr/\Q$slot\E/,
	sub {
		$t->set('wal2kafka.streams', '');
		wait_until('idle', sub {
			$t->admin('SELECT count(*) FROM pg_replication_slots WHERE active') == 0 });
		$t->set('max_slot_wal_keep_size', '1MB');
		wait_until('the slot is lost', sub {
			$t->admin('CREATE TABLE filler AS SELECT i FROM generate_series(1, 100000) i');
			$t->admin('DROP TABLE filler; SELECT pg_switch_wal(); CHECKPOINT');
			$t->admin("SELECT wal_status FROM pg_replication_slots WHERE slot_name = '$slot'") eq 'lost';
		});
		$t->set('wal2kafka.streams', $stream);
	},
	sub {
		# what was between is gone, and only an operator can decide to go on
		$t->set('max_slot_wal_keep_size', undef);
		$t->set('wal2kafka.adopt_topics', 'on');
		wait_until('the slot is dropped', sub {
			($node->psql('postgres', "SELECT pg_drop_replication_slot('$slot')"))[0] == 0 });
		$t->admin("SELECT wal2kafka.restart('$stream')");
	});

# ---- what needs a restart of the server ----
bad('wal_level too low', qr/wal_level/,
	sub {
		$t->admin('SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots')
		  if eval { $t->set('wal2kafka.streams', ''); wait_until('idle', sub {
				$t->admin('SELECT count(*) FROM pg_replication_slots WHERE active') == 0 }); 1 };
		$node->append_conf('postgresql.conf', 'wal_level = replica');
		$node->restart;
		$t->set('wal2kafka.streams', $stream);
	},
	sub {
		$node->append_conf('postgresql.conf', "wal_level = logical\nwal2kafka.adopt_topics = on");
		$node->restart;
	});

bad('no free slot', qr/replication slots are in use/,
	sub {
		$t->set('wal2kafka.streams', '');
		wait_until('idle', sub {
			$t->admin('SELECT count(*) FROM pg_replication_slots WHERE active') == 0 });
		$t->admin('SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots');
		$t->admin("SELECT pg_create_physical_replication_slot('taken' || i) FROM generate_series(1, 4) i");
		$t->set('wal2kafka.streams', $stream);
	},
	sub { $t->admin("SELECT pg_drop_replication_slot('taken1')") });
$t->admin("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name LIKE 'taken%'");

# A database that does not exist yet.
$t->set('wal2kafka.streams', "$stream, later/cdc");
$t->wait_stat('last_error', qr/database "later" does not exist/, 30, 'later/cdc');
pass('unknown database: last_error');
$t->admin('CREATE DATABASE later');
$t->wait_state('streaming', 60, 'later/cdc');
pass('unknown database: recovers by itself');
is($t->stat('state'), 'streaming', 'another stream was never affected');
$t->set('wal2kafka.streams', $stream);

# A stream without a role runs as superuser, which has to be allowed.
$t->set('wal2kafka.streams', "$stream, later");
$t->wait_stat('last_error', qr/allow_superuser|superuser/, 30, 'later');
pass('stream without a role is refused');
$t->set('wal2kafka.streams', $stream);

# Where the server lists its output plugins, SQL functions need the line.
if ($listed)
{
	my ($code, $out, $err) = $node->psql('shop',
		q{SELECT pg_create_logical_replication_slot('by_hand', 'wal2kafka')});
	isnt($code, 0, 'plugin that is not in output_plugin_libraries');
}

done_testing();
