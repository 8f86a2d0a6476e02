# Does a stream go on on another server: after the promotion of a standby that
# has its slot, exactly once or at least once; and does it see where that
# cannot be: a standby that was behind, the old primary that comes back, a
# copy of the server?

use strict;
use warnings;

use File::Copy;
use FindBin;
use lib "$FindBin::Bin/../test/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::RecursiveCopy;
use PostgreSQL::Test::Utils;
use Test::More;
use Testbed;
use Wal2Kafka;

my $kafka = Testbed->new('kafka')->start;
my $registry = Testbed->new('registry')->start;
my $runs = 0;

# A stream on a server of its own, whose topics nobody else has.
sub primary
{
	my (%option) = @_;
	my $prefix = 'failover' . $$ . '_' . ++$runs;
	my $t = Wal2Kafka->new(
		kafka => $kafka,
		registry => $registry,
		standbys => 1,
		prefix => $prefix,
		tables => Wal2Kafka->workload_tables
		  . 'CREATE TABLE item (id int PRIMARY KEY, v int);',
		%option,
		# what a primary that is killed leaves open ends soon
		conf => "wal2kafka.topic_prefix = '$prefix'\n"
		  . "wal2kafka.transaction_split_age = 4s\nwal2kafka.transaction_timeout_ms = 8000\n"
		  . ($option{conf} || ''));

	return $t;
}

sub is_17 { my ($node) = @_; return $node->safe_psql('postgres', 'SHOW server_version_num') >= 170000; }

# A standby of the stream's server, with a slot there of its name; it has what
# the server's files have, the stream included.
sub standby
{
	my ($t, $name, $conf) = @_;
	my $primary = $t->{node};
	my $standby = PostgreSQL::Test::Cluster->new($name);

	$primary->safe_psql('postgres',
		"SELECT pg_create_physical_replication_slot('$name', true)");
	$primary->backup($name);
	$standby->init_from_backup($primary, $name, has_streaming => 1);
	$standby->append_conf('postgresql.conf',
		"primary_conninfo = '" . $primary->connstr . " dbname=postgres application_name=$name'\n"
		  . "primary_slot_name = '$name'\nhot_standby_feedback = on\n" . ($conf || ''));
	$standby->start;
	return $standby;
}

sub psql_is
{
	my ($node, $sql) = @_;
	my ($code, $out) = $node->psql('postgres', "SELECT $sql");
	return $code == 0 && $out eq 't';
}

# The standby's copy of the slot is one that can be gone on from.
sub wait_synced
{
	my ($t, $standby) = @_;
	my $slot = $t->slot;

	wait_until('the standby has the slot', sub {
		# which lets the slot move
		$t->{node}->safe_psql('postgres', 'SELECT pg_log_standby_snapshot()');
		return psql_is($standby, "count(*) = 1 FROM pg_replication_slots
			WHERE slot_name = '$slot' AND synced AND NOT temporary");
	});
	return;
}

# The stream as another server has it.
sub moved
{
	my ($t, $node) = @_;
	return Wal2Kafka->adopt(%$t, node => $node, slot => undef);
}

sub promote
{
	my ($t, $standby) = @_;
	$standby->promote;
	return moved($t, $standby);
}

sub copy_of
{
	my ($t, $name) = @_;
	my $copy = PostgreSQL::Test::Cluster->new($name);

	rmdir $copy->data_dir;
	PostgreSQL::Test::RecursiveCopy::copypath($t->{node}->data_dir, $copy->data_dir);
	chmod 0700, $copy->data_dir;
	$copy->append_conf('postgresql.conf',
		'port = ' . $copy->port . "\nunix_socket_directories = '" . $copy->host . "'\n");
	return $copy;
}

# Rows of a table's topic by key, each as often as it is there
sub item_keys
{
	my ($t) = @_;
	return join ' ', map { $_->{key}{id} } grep { $_->{value} } @{ $t->records('public.item') };
}

sub wait_item
{
	my ($t, $keys) = @_;
	my $found = '';
	eval {
		wait_until("the topic has $keys", sub {
			# a broker that was restarted may need its time
			eval { $found = item_keys($t); 1 } or note($@);
			return $found =~ /^$keys$/;
		}, 60);
	};
	like($found, qr/^$keys$/, 'what the topic has');
	return;
}

# ----------

# Both guarantees: writers go on over the promotion of a standby that has all
# that was sent, since the stream waits for it.
sub test_promotion
{
	my ($delivery) = @_;
	my $t = primary(conf => "wal2kafka.delivery = '$delivery'\nwal2kafka.slot_failover = on\n");
	my $primary = $t->{node};
	my $name = "standby_$delivery";
	my ($standby, $moved, $result);

	$t->start_stream;
	ok(psql_is($primary, "failover FROM pg_replication_slots WHERE slot_name = '" . $t->slot . "'"),
		'the slot is a failover slot');
	$standby = standby($t, $name, "sync_replication_slots = on\n");
	$t->set('synchronous_standby_names', $name =~ s/.*/*/r);
	$t->set('synchronized_standby_slots', $name);
	wait_synced($t, $standby);
	is($standby->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity
		WHERE backend_type LIKE 'wal2kafka%'"), 0, 'a standby streams nothing');

	# nothing is sent that the standby does not have
	$standby->stop;
	$t->sql('SET synchronous_commit = local; INSERT INTO item VALUES (1, 1)');
	$t->wait_waiting_for('standby');
	$t->wait_error(qr/slot "$name" specified in parameter "synchronized_standby_slots"/);
	is(item_keys($t), '', 'what the standby does not have is not sent');
	ok($t->stat('seconds_behind') > 0, 'the view says that the stream is behind');
	$primary->stop;
	$primary->start;
	ok(1, 'the server stops while the stream waits');
	$standby->start;
	wait_item($t, '1');
	$t->wait_waiting_for('nothing');

	$t->start_workload(writers => 3, rate => 100,
		conninfo => sprintf('host=%s,%s port=%d,%d dbname=shop target_session_attrs=read-write',
			$primary->host, $standby->host, $primary->port, $standby->port));
	$t->wait_events(300);
	$primary->stop('immediate');
	$moved = promote($t, $standby);
	if ($delivery eq 'exactly_once')
	{
		$moved->wait_state('held');
		$moved->wait_error(qr/was written by another server/);
		$moved->admin("SELECT wal2kafka.adopt('shop/cdc')");
	}
	$moved->wait_state('streaming');
	$moved->wait_events(300);
	$moved->stop_workload;
	$result = $moved->check_workload("$delivery, over a promotion");
	is($result->{repeats}, 0, 'and nothing twice') if $delivery eq 'exactly_once';
	test_old_primary($t, $moved) if $delivery eq 'exactly_once';
	$standby->stop;
	return;
}

# Standbys know nothing of a stream whose rows are not all sent.
sub test_snapshot
{
	my $t = primary(snapshot => 'initial', conf => "wal2kafka.slot_failover = on\n");
	my $session = $t->{node}->background_psql('shop');
	my $slot;

	# which the slot's start waits for
	$session->query_safe('BEGIN; INSERT INTO item VALUES (1, 1)');
	$t->start_stream(no_wait => 1);
	$slot = $t->slot;
	wait_until('there is a slot', sub {
		return psql_is($t->{node}, "count(*) = 1 FROM pg_replication_slots WHERE slot_name = '$slot'");
	});
	ok(psql_is($t->{node}, "NOT failover FROM pg_replication_slots WHERE slot_name = '$slot'"),
		'no failover slot before the snapshot is complete');
	$session->quit;
	$t->wait_state('streaming');
	ok(psql_is($t->{node}, "failover FROM pg_replication_slots WHERE slot_name = '$slot'"),
		'and then it is one');
	$t->set('wal2kafka.slot_failover', 'off');
	wait_until('the slot follows the setting', sub {
		return psql_is($t->{node}, "NOT failover FROM pg_replication_slots WHERE slot_name = '$slot'");
	});
	$t->{node}->stop;
	return;
}

# After a crash a standby has replayed less than it had, and than Kafka has.
sub standby_crashes
{
	my ($t, $standby, $own) = @_;

	$t->sql('INSERT INTO item VALUES (4, 1)');
	wait_item($own, '1 2 3 4');
	$standby->append_conf('postgresql.conf', "recovery_min_apply_delay = '1h'\n");
	$standby->stop('immediate');
	$standby->start;
	$own->wait_waiting_for('replay');
	pass('a standby that crashed waits for what it had');
	$standby->append_conf('postgresql.conf', "recovery_min_apply_delay = 0\n");
	$standby->reload;
	$t->sql('INSERT INTO item VALUES (5, 1)');
	wait_item($own, '1 2 3 4 5');
	return;
}

# A standby decodes by itself, beside the primary's stream, and goes on when it
# is promoted.
sub test_on_standby
{
	my ($delivery) = @_;
	my $t = primary(snapshot => 'initial',
		conf => "wal2kafka.delivery = '$delivery'\nwal2kafka.slot_failover = on\n");
	my $prefix = "$t->{prefix}s";
	my ($standby, $own, $err);

	$t->sql('INSERT INTO item VALUES (1, 1); CREATE EXTENSION wal2kafka');
	$t->start_stream;
	$standby = standby($t, "decodes_$delivery", "sync_replication_slots = on\n");
	wait_synced($t, $standby);

	# the primary's stream is not the standby's
	$standby->append_conf('postgresql.conf', "wal2kafka.stream_on_standby = on\n");
	$standby->restart;
	$own = moved($t, $standby);
	$own->wait_error(qr/is a copy of the primary's/);

	$standby->append_conf('postgresql.conf',
		"wal2kafka.slot_name = 'own'\nwal2kafka.topic_prefix = '$prefix'\n"
		  . "wal2kafka.slot_failover = off\n");
	$standby->reload;
	$own->{prefix} = $prefix;
	wait_until('the standby streams', sub {
		$t->{node}->safe_psql('postgres', 'SELECT pg_log_standby_snapshot()');
		return ($own->stat('state') || '') eq 'streaming';
	});
	$t->sql('INSERT INTO item VALUES (2, 1)');
	wait_item($t, '1 2');
	wait_item($own, '1 2');

	(undef, undef, $err) = $standby->psql('shop', "SELECT * FROM wal2kafka.verify('item')");
	like($err, qr/tables cannot be read beside the changes on a standby/,
		'what needs a place in the stream is refused');

	# settings are the primary's to change
	$t->sql('ALTER ROLE cdc IN DATABASE shop SET wal2kafka.async_flush_delay = 11');
	$own->wait_stat('restarts', qr/^[1-9]/);
	$standby->restart;
	$t->sql('INSERT INTO item VALUES (3, 1)');
	wait_item($own, '1 2 3');
	standby_crashes($t, $standby, $own) if $delivery eq 'exactly_once';

	$t->{node}->wait_for_catchup($standby, 'replay', $t->{node}->lsn('insert'));
	$t->{node}->stop('immediate');
	$standby->promote;
	if ($delivery eq 'exactly_once')
	{
		$own->wait_state('held');
		$own->admin("SELECT wal2kafka.adopt('shop/cdc')");
	}
	$own->sql('INSERT INTO item VALUES (6, 1)');
	wait_item($own, $delivery eq 'exactly_once' ? '1 2 3 4 5 6' : '1 2 3 6');
	$standby->stop;
	return;
}

# The old primary comes back, and believes that the stream is its own.
sub test_old_primary
{
	my ($old, $new) = @_;
	my $restarts = $new->stat('restarts');

	$old->{node}->start;
	# what it has in its files is of no use any more
	$old->set('synchronous_standby_names', '');
	$old->set('synchronized_standby_slots', '');
	$old->wait_state('held');
	$old->wait_error(qr/was written by another server/);
	$old->sql('INSERT INTO item VALUES (-1, 1)');
	$new->sql('INSERT INTO item VALUES (2, 1)');
	wait_item($new, '1 2');
	# each reload lets it try once more
	$old->wait_state('held');
	pass('the old primary is still held');
	is($new->stat('restarts'), $restarts, 'and the new one was not disturbed');
	$old->{node}->stop;
	return;
}

# A primary that runs on while its standby was promoted.
sub test_zombie
{
	my $t = primary(conf => "wal2kafka.delivery = 'exactly_once'\nwal2kafka.slot_failover = on\n"
		  . "wal2kafka.on_promotion = 'adopt'\n");
	my ($standby, $moved, $restarts);

	$t->start_stream;
	$standby = standby($t, 'standby_zombie', "sync_replication_slots = on\n");
	wait_synced($t, $standby);
	$t->sql('INSERT INTO item VALUES (1, 1)');
	$t->wait_caught_up;
	$t->{node}->wait_for_catchup($standby, 'replay', $t->{node}->lsn('insert'));

	# without asking
	$moved = promote($t, $standby);
	$moved->wait_state('streaming');
	$restarts = $moved->stat('restarts');
	$t->set('wal2kafka.on_promotion', 'hold');
	$t->sql('INSERT INTO item VALUES (-1, 1)');
	$t->wait_state('held');
	$t->wait_error(qr/was written by another server|fenced/);
	$moved->sql('INSERT INTO item VALUES (2, 1)');
	wait_item($moved, '1 2');
	is($moved->stat('restarts'), $restarts, 'the new primary was not disturbed');
	$t->{node}->stop('immediate');
	$standby->stop;
	return;
}

# What was sent is not on the standby that becomes the primary.
sub test_divergence
{
	my $t = primary(conf => "wal2kafka.delivery = 'exactly_once'\nwal2kafka.slot_failover = on\n"
		  . "wal2kafka.on_promotion = 'adopt'\n");
	my ($standby, $moved);

	$t->start_stream;
	$standby = standby($t, 'standby_behind', "sync_replication_slots = on\n");
	wait_synced($t, $standby);
	$t->sql('INSERT INTO item VALUES (1, 1)');
	$t->wait_caught_up;
	$t->{node}->wait_for_catchup($standby, 'replay', $t->{node}->lsn('insert'));

	# it is cut off
	$standby->append_conf('postgresql.conf', "primary_conninfo = ''\n");
	$standby->reload;
	wait_until('the standby is cut off', sub {
		return psql_is($t->{node}, 'count(*) = 0 FROM pg_stat_replication');
	});
	$t->sql('INSERT INTO item VALUES (-1, 1)');
	$t->wait_caught_up;
	$t->{node}->stop('immediate');

	$moved = promote($t, $standby);
	$moved->wait_state('held');
	$moved->wait_error(qr/^Kafka has changes that this server does not have/);
	is($moved->stat('events') || 0, 0, 'nothing was sent');
	$moved->sql('INSERT INTO item VALUES (2, 1)');
	$moved->set('wal2kafka.on_divergence', 'continue');
	$moved->wait_state('streaming');
	wait_item($moved, '1 -1 2');
	like(slurp_file($standby->logfile), qr/WARNING:  Kafka has changes that this server does not have/,
		'it was said');
	$standby->stop;
	return;
}

# A copy of the whole server, and one of its base backup, are started beside it.
sub test_copies
{
	my $t = primary(conf => "wal2kafka.delivery = 'exactly_once'\n");
	my ($copy, $restored, $restarts, $moved);

	$t->start_stream;
	$t->sql('INSERT INTO item VALUES (1, 1)');
	$t->wait_caught_up;
	$t->{node}->backup('copies');
	$t->{node}->stop;
	$copy = copy_of($t, 'copy' . $runs);
	$t->{node}->start;
	$t->wait_state('streaming');
	$restarts = $t->stat('restarts');

	$copy->start;
	$moved = moved($t, $copy);
	$moved->wait_state('held');
	$moved->wait_error(qr/was written by another server/);
	like($moved->stat('last_error'), qr/directory/, 'it says what differs');
	$copy->stop;

	$restored = PostgreSQL::Test::Cluster->new('restored' . $runs);
	$restored->init_from_backup($t->{node}, 'copies');
	$restored->start;
	$moved = moved($t, $restored);
	$moved->wait_state('held');
	$moved->wait_error(qr/the stream is new, but topic "\S+" has records/);
	$restored->stop;

	$t->sql('INSERT INTO item VALUES (2, 1)');
	wait_item($t, '1 2');
	is($t->stat('restarts'), $restarts, 'the original was not disturbed');
	$t->{node}->stop;
	return;
}

# A standby without the slot: all that there is before 17, where nobody copied
# it.
sub test_without_slot
{
	my ($delivery) = @_;
	my $t = primary(conf => "wal2kafka.delivery = '$delivery'\n");
	my ($standby, $moved);

	$t->start_stream;
	$standby = standby($t, "bare_$delivery");
	$t->sql('INSERT INTO item VALUES (1, 1), (2, 1)');
	$t->wait_caught_up;
	$t->{node}->wait_for_catchup($standby, 'replay', $t->{node}->lsn('insert'));
	$t->{node}->stop('immediate');
	$moved = promote($t, $standby);
	$moved->wait_state('held');
	$moved->wait_error(qr/the stream is new, but topic "\S+" has records/);

	# all rows once more, and then the changes
	$moved->sql('DELETE FROM item WHERE id = 1; INSERT INTO item VALUES (3, 1)');
	$moved->set('wal2kafka.snapshot_mode', 'initial');
	$moved->set('wal2kafka.adopt_topics', 'on');
	$moved->wait_state('streaming');
	$moved->sql('INSERT INTO item VALUES (4, 1)');
	wait_item($moved, '1 2 (2 3|3 2) 4');
	$standby->stop;
	return;
}

# A slot that was copied to the standby in its file, as tools do before 17.
sub test_copied_slot
{
	my ($delivery) = @_;
	my $t = primary(conf => "wal2kafka.delivery = '$delivery'\n");
	my ($standby, $moved, $slot, $since);

	$t->start_stream;
	$slot = $t->slot;
	$standby = standby($t, "tool_$delivery");
	$t->sql('INSERT INTO item VALUES (1, 1)');
	# it must need no WAL from before the backup
	$since = $standby->safe_psql('postgres', 'SELECT pg_last_wal_replay_lsn()');
	wait_until('the slot moves', sub {
		$t->{node}->safe_psql('postgres', 'CHECKPOINT');
		$t->wait_caught_up;
		return psql_is($t->{node}, "restart_lsn > '$since' FROM pg_replication_slots
			WHERE slot_name = '$slot'");
	});
	$t->{node}->safe_psql('postgres', 'CHECKPOINT');
	$t->{node}->wait_for_catchup($standby, 'replay', $t->{node}->lsn('insert'));
	$standby->stop;
	mkdir $standby->data_dir . "/pg_replslot/$slot";
	copy($t->{node}->data_dir . "/pg_replslot/$slot/state",
		$standby->data_dir . "/pg_replslot/$slot/state") or die $!;
	$standby->start;

	$t->sql('INSERT INTO item VALUES (2, 1)');
	$t->wait_caught_up;
	$t->{node}->wait_for_catchup($standby, 'replay', $t->{node}->lsn('insert'));
	$t->{node}->stop('immediate');
	$moved = promote($t, $standby);
	if ($delivery eq 'exactly_once')
	{
		$moved->wait_state('held');
		$moved->admin("SELECT wal2kafka.adopt('shop/cdc')");
	}
	$moved->wait_state('streaming');
	$moved->sql('INSERT INTO item VALUES (3, 1)');
	# its position is that of the copy
	wait_item($moved, $delivery eq 'exactly_once' ? '1 2 3' : '1 2 (2 )?3');
	$standby->stop;
	return;
}

# ----------

my $probe = primary();
my $has_failover = is_17($probe->{node});
my ($code, $out, $err) = $probe->{node}->psql('postgres', "ALTER SYSTEM SET wal2kafka.slot_failover = on");
if ($has_failover)
{
	is($code, 0, 'the server has failover slots');
}
else
{
	like($err, qr/DETAIL:  Slots that standbys have, too, need PostgreSQL 17/,
		'the setting is refused before 17');
}
$probe->{node}->stop;

foreach my $delivery ('at_least_once', 'exactly_once')
{
	subtest "$delivery, a promoted standby" => sub { test_promotion($delivery) }
	  if $has_failover;
	subtest "$delivery, a standby without the slot" => sub { test_without_slot($delivery) };
	subtest "$delivery, a slot that a tool copied" => sub { test_copied_slot($delivery) };
}
if ($has_failover)
{
	subtest 'a snapshot that is not complete' => \&test_snapshot;
	subtest 'a stream on a standby' => sub { test_on_standby('at_least_once') };
	subtest 'an exactly-once stream on a standby' => sub { test_on_standby('exactly_once') };
	subtest 'a primary that runs on' => \&test_zombie;
	subtest 'a standby that was behind' => \&test_divergence;
}
subtest 'copies of a server' => \&test_copies;

done_testing();
