# Does a stream mind the limit on the WAL that its slot retains, whoever has
# to look after the slot, and what becomes of a slot that was lost to a limit?

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../test/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wal2Kafka;

my $t = Wal2Kafka->new(
	tables => 'CREATE TABLE item (id int PRIMARY KEY, note text)',
	conf => <<EOC);
max_prepared_transactions = 4
max_wal_size = 1GB
wal2kafka.max_queue_size_in_bytes = '1MB'
EOC
my $node = $t->{node};
my $passed = 'retains more WAL than wal2kafka\.max_retained_wal';
my $below = 'retains no more WAL than wal2kafka\.max_retained_wal';
my $dropped = 'WARNING.*was dropped: it retained more WAL';
my $ids = 0;

sub logged
{
	my ($pattern) = @_;
	my @found = slurp_file($node->logfile) =~ /$pattern/g;
	return scalar @found;
}

sub insert { $t->sql('INSERT INTO item VALUES (' . ++$ids . ", 'row')"); return; }

# A transaction that is open keeps the slot's restart_lsn from moving.
sub hold_back
{
	$t->sql('BEGIN; INSERT INTO item VALUES (' . ++$ids . ", 'row'); PREPARE TRANSACTION 'old'");
	return;
}

# So many segments of 16 MB come to their end.
sub write_wal
{
	my ($segments) = @_;
	$t->sql(q{SELECT pg_logical_emit_message(false, 'filler', '-'); SELECT pg_switch_wal()})
	  foreach 1 .. $segments;
	# flushed, and there to be decoded
	insert();
	return;
}

sub let_go
{
	$t->sql(q{COMMIT PREPARED 'old'});
	return;
}

# The slot's restart_lsn moves at records that only checkpoints are sure to
# write, and when what is behind one of them was confirmed.
sub wait_below
{
	wait_until('the slot retains less', sub {
		$t->admin('CHECKPOINT');
		insert();
		$t->wait_caught_up;
		return $t->stat('retained_bytes') < 1024 * 1024
		  && $t->stat('max_retained_exceeded') ne 't';
	});
	return;
}

sub slots { return $t->admin('SELECT count(*) FROM pg_replication_slots'); }

sub set_role
{
	my ($name, $value) = @_;
	$t->sql(defined $value
		? "ALTER ROLE cdc IN DATABASE shop SET wal2kafka.$name = '$value'"
		: "ALTER ROLE cdc IN DATABASE shop RESET wal2kafka.$name");
	$t->admin('SELECT wal2kafka._wake()');
	return;
}

# Streaming, by a worker with these settings.
sub wait_limit
{
	my ($megabytes) = @_;
	my $bytes = $megabytes * 1024 * 1024;
	$t->wait_stat('max_retained_bytes', qr/^$bytes$/);
	return;
}

# Keys of a table that its topic has
sub keys_sent
{
	my ($table) = @_;
	my %sent = map { $_->{key}{id} => 1 } @{ $t->records($table) };
	return join ' ', sort { $a <=> $b } keys %sent;
}

sub health { return $t->admin('SELECT ok || coalesce(reason, $$$$) FROM wal2kafka.health()'); }

# ----------
# warn
# ----------

$t->set('wal2kafka.max_retained_wal', '40MB');
$t->start_stream;
$t->sql('CREATE EXTENSION wal2kafka');
insert();
$t->wait_caught_up;
is($t->stat('max_retained_bytes'), 40 * 1024 * 1024, 'the view has the limit');
is($t->stat('max_retained_exceeded'), 'f', 'it is not exceeded');
hold_back();
write_wal(4);
$t->wait_stat('max_retained_exceeded', qr/^t$/);
pass('the view says that it is exceeded');
is($t->stat('state') . ' ' . $t->stat('waiting_for'), 'streaming nothing', 'the stream goes on');
like(health(), qr/^false.*retains \d+ MB of WAL, more than wal2kafka\.max_retained_wal \(40 MB\)/,
	'health() says so');
like($t->sql(q{SELECT string_agg(problem, '; ') FROM wal2kafka.check('shop/cdc')}),
	qr/retains more than 40 MB/, 'check() says so');
write_wal(1);
$t->wait_caught_up;
is(logged("WARNING.*$passed"), 1, 'one warning');
let_go();
wait_below();
is(logged("LOG.*$below"), 1, 'one line when it is less again');
like(health(), qr/^true/, 'health() is content');

# ----------
# pause_snapshot
# ----------

$t->set('wal2kafka.max_retained_wal_action', 'pause_snapshot');
$t->set('wal2kafka.max_retained_wal', '50MB');
wait_limit(50);
$t->wait_state('streaming');
hold_back();
write_wal(5);
$t->wait_stat('max_retained_exceeded', qr/^t$/);
$t->sql(q{SELECT wal2kafka.snapshot('public.item')});
insert();
$t->wait_caught_up;
wait_until('the log says that it waits', sub { return logged('lets its snapshots wait') });
like($t->admin(q{SELECT state, rows_done FROM wal2kafka.stat_snapshots}), qr/^(requested|waiting)\|0$/,
	'the snapshot waits');
let_go();
wait_below();
wait_until('the snapshot is done', sub {
	return $t->admin(q{SELECT state FROM wal2kafka.stat_snapshots}) eq 'done';
});
pass('the snapshot went on');
is(logged('lets its snapshots wait'), 1, 'the log says that it waited');
is(logged('goes on with its snapshots'), 1, '... and went on');

# ----------
# drop_slot: a stream without a worker
# ----------

set_role('max_retained_wal_action', 'drop_slot');
set_role('max_retained_wal', '60MB');
wait_limit(60);
$t->wait_state('streaming');
$t->admin(q{SELECT wal2kafka.pause('shop/cdc')});
$t->wait_state('paused');
write_wal(2);
is(slots(), 1, 'below the limit the slot stays');
write_wal(6);
wait_until('the slot is dropped', sub { return slots() == 0 });
pass('the slot of a paused stream is dropped');
$t->wait_error(qr/was dropped: it retained more WAL/);
is($t->stat('state'), 'paused', 'the stream stays paused');
like($t->stat('last_error'), qr{from [0-9A-F]+/[0-9A-F]+ on}, 'positions are told');
is(logged($dropped), 1, 'the log has a warning');
$t->admin(q{SELECT wal2kafka.resume('shop/cdc')});
$t->wait_state('held');
like($t->stat('last_error'), qr/new, but topic/, 'it does not begin anew by itself');

# ----------
# drop_slot: a worker that runs
# ----------

set_role('snapshot_mode', 'when_needed');
$t->wait_state('streaming');
set_role('snapshot_mode', 'initial');
wait_until('the mode is read', sub { return logged('starts anew: settings changed') > 0 });
$t->wait_state('streaming');
insert();
$t->wait_caught_up;
$t->{kafka}->freeze;
write_wal(5);
$t->wait_state('held');
$t->{kafka}->thaw;
is(slots(), 0, 'the slot of a stream that waits for its broker is dropped');
is($t->stat('waiting_for'), 'guard', 'waiting_for says guard');
like($t->stat('last_error_hint'), qr/when_needed/, 'the remedy is told');

set_role('snapshot_mode', 'when_needed');
$t->wait_state('streaming');
insert();
$t->wait_caught_up;
my $pid = $t->worker_pid;
hold_back();
write_wal(6);
wait_until('the slot is dropped', sub { return logged($dropped) == 3 });
let_go();
$t->wait_state('streaming');
isnt($t->worker_pid, $pid, 'with when_needed the stream begins anew');
insert();
$t->wait_caught_up;
is(keys_sent('public.item'), join(' ', 1 .. $ids), 'and all rows are there');

# ----------
# pause_snapshot, and the snapshot that a stream begins with
# ----------

$t->stop_stream;
$t->admin("SELECT pg_drop_replication_slot('" . $t->slot . "')");
set_role($_, undef) foreach qw(max_retained_wal_action max_retained_wal snapshot_mode);
$t->set('wal2kafka.topic_prefix', 'again');
$t->set('wal2kafka.snapshot_mode', 'initial');
$t->set('wal2kafka.max_retained_wal', '40MB');
$t->{prefix} = 'again';
$t->sql('CREATE TABLE large AS SELECT i AS id, repeat(md5(i::text), 30) FROM generate_series(1, 20000) i');
$t->sql('ALTER TABLE large ADD PRIMARY KEY (id)');
$t->start_stream(state => 'snapshot');
$t->{kafka}->freeze;
write_wal(4);
wait_until('the snapshot ends', sub { return logged('is read while streaming') });
$t->{kafka}->thaw;
$t->wait_state('streaming');
wait_below();
wait_until('the rest of the snapshot is read', sub {
	return $t->admin(q{SELECT bool_and(state = 'done') FROM wal2kafka.stat_snapshots WHERE kind = 'initial'}) eq 't';
});
is(keys_sent('public.large'), join(' ', 1 .. 20000), 'all its rows are there');
$t->sql('DROP TABLE large');

# ----------
# The server's own limit
# ----------

$t->set('wal2kafka.max_retained_wal', '0');
$t->set('max_slot_wal_keep_size', '48MB');
$t->wait_stat('max_retained_bytes', qr/^$/);
$t->wait_state('streaming');
like($t->sql(q{SELECT problem FROM wal2kafka.check('shop/cdc') WHERE object = 'max_slot_wal_keep_size'}),
	qr/^$/, 'check() has nothing to say about the server\'s limit');
hold_back();
write_wal(5);
$t->admin('CHECKPOINT');
$t->wait_state('held');
like($t->stat('last_error'), qr/invalidated by the server.*exceeded max_slot_wal_keep_size/s,
	'a slot that the server invalidates while the stream runs, and why');
like($t->stat('invalidation_reason'), qr/^wal_removed$/, 'the view has the reason');
let_go();
set_role('snapshot_mode', 'when_needed');
$t->wait_state('streaming');
insert();
$t->wait_caught_up;
hold_back();
write_wal(5);
$t->admin('CHECKPOINT');
wait_until('the stream begins anew', sub {
	return logged('was invalidated by the server: stream .* begins anew') == 2;
});
let_go();
$t->wait_state('streaming');
insert();
$t->wait_caught_up;
is(keys_sent('public.item'), join(' ', 1 .. $ids), 'with when_needed it begins anew, and all rows are there');

$t->set('wal2kafka.max_retained_wal', '64MB');
like($t->sql(q{SELECT problem FROM wal2kafka.check('shop/cdc') WHERE object = 'wal2kafka.max_retained_wal'}),
	qr/max_slot_wal_keep_size, 48MB, is not larger/, 'check() compares the two limits');

# ----------
# Two streams that name one slot
# ----------

$t->set('max_slot_wal_keep_size', undef);
set_role('snapshot_mode', undef);
set_role('max_retained_wal_action', 'drop_slot');
set_role('max_retained_wal', '40MB');
wait_limit(40);
$t->wait_state('streaming');
insert();
$t->wait_caught_up;
my $slot = $t->slot;
$t->admin('CREATE ROLE twin LOGIN REPLICATION IN ROLE pg_read_all_data');
$t->admin(qq{ALTER ROLE twin IN DATABASE shop SET wal2kafka.slot_name = '$slot'});
$t->admin(q{ALTER ROLE twin IN DATABASE shop SET wal2kafka.topic_prefix = 'twin'});
$t->set('wal2kafka.streams', 'shop/cdc, shop/twin');
$t->wait_state('held', undef, 'shop/twin');
like($t->stat('last_error', 'shop/twin'), qr/have the same slot/, 'the second one is refused');
$t->{kafka}->freeze;
write_wal(5);
wait_until('the slot is dropped', sub { return slots() == 0 });
$t->{kafka}->thaw;
$t->wait_state('held');
pass('the slot of the first one is dropped all the same');

# ----------
# A slot that cannot be dropped
# ----------

set_role('snapshot_mode', 'when_needed');
$t->admin(q{ALTER ROLE twin IN DATABASE shop RESET wal2kafka.slot_name});
$t->wait_state('streaming');
$t->wait_state('streaming', undef, 'shop/twin');
$t->admin("SELECT wal2kafka.pause('$_')") foreach qw(shop/cdc shop/twin);
$t->wait_state('paused');
$t->wait_state('paused', undef, 'shop/twin');

# the folder's new name, while the slot is dropped, is taken
my $obstacle = $node->data_dir . "/pg_replslot/$slot.tmp";
mkdir $obstacle or die $!;
append_to_file("$obstacle/file", 'x');
write_wal(5);
wait_until('the slot cannot be dropped', sub { return logged('ERROR.*could not rename file .*pg_replslot') });
$t->admin(q{SELECT wal2kafka.resume('shop/twin')});
$t->wait_state('streaming', undef, 'shop/twin');
pass('another stream starts all the same');
like($t->stat('last_error'), qr/could not rename file/, 'the view tells of the error');
is($t->stat('state'), 'paused', 'the stream itself stays paused');
is($t->admin("SELECT count(*) FROM pg_replication_slots WHERE slot_name = '$slot'"), 1, '... with its slot');
unlink "$obstacle/file";
rmdir $obstacle;
$node->reload;
wait_until('the slot is dropped', sub {
	return $t->admin("SELECT count(*) FROM pg_replication_slots WHERE slot_name = '$slot'") == 0;
});
pass('it is dropped as soon as it can be');

done_testing();
