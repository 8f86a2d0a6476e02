# Does a new stream carry the rows as they are, and then every change?

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../test/lib";

use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wal2Kafka;

my $t = Wal2Kafka->new(
	snapshot => 'initial',
	conf => "restart_after_crash = on\n",
	tables => q{
	CREATE TABLE item (id int PRIMARY KEY, v int NOT NULL);
	CREATE TABLE empty (id int PRIMARY KEY);
	CREATE TABLE other (id int PRIMARY KEY, note text);
	INSERT INTO item SELECT i, 0 FROM generate_series(1, 5000) i;
	INSERT INTO other VALUES (1, 'x'), (2, NULL);
} . Wal2Kafka->workload_tables);

# Writers go on while the slot is made and the tables are read.
$t->start_workload(writers => 2);
$t->start_stream;
$t->sql('UPDATE item SET v = 1 WHERE id <= 10');
$t->sql('INSERT INTO empty VALUES (1)');
$t->wait_caught_up;

my $item = $t->records('public.item');
my @read = grep { $_->{value}{op} eq 'r' } @$item;
my @later = grep { $_->{value}{op} ne 'r' } @$item;
my %keys = map { $_->{key}{id} => 1 } @read;

is(scalar(keys %keys), 5000, 'each row was read');
is(scalar(@read), 5000, '... once');
is(scalar(@later), 10, 'and then each change');
ok((!grep { $_->{value}{op} ne 'r' } @$item[0 .. 4999]), 'rows come before changes');
is($later[0]{value}{op}, 'u', 'a change after the snapshot is an update');
is($t->story('public.other'), 'r:1 r:2', 'small table');
is($t->story('public.empty'), 'c:1', 'empty table');
is($read[0]{value}{source}{snapshot} =~ /^(true|first|first_in_data_collection)$/ ? 1 : 0,
	1, 'source.snapshot of a row');
my %ids = map { $_->{value}{source}{txId} => 1 } @read;
is(scalar(grep { $_ >= 3 && $_ <= $later[0]{value}{source}{txId} } keys %ids), 1,
	'one transaction id for all rows, not after those of the changes');

# Rows of the ledger start at whatever version they had, so only the final
# state can be compared.
wait_until('the workload made changes', sub { $t->sql('SELECT count(*) FROM ledger') > 50 });
$t->stop_workload;
$t->wait_caught_up;
my ($ok, $out) = $t->reader('fold', $t->topic('public.ledger'));
my @got = sort map { my $r = JSON::PP::decode_json($_); "$r->{id}|$r->{version}|$r->{uid}" } split /\n/, $out;
my @want = sort split /\n/, $t->sql('SELECT id, version, uid FROM ledger');
is_deeply(\@got, \@want, 'snapshot and changes together give the table');

# The snapshot is not made again.
my $before = scalar(@{ $t->records('public.item') });
$t->{node}->restart;
$t->wait_state('streaming');
$t->sql('UPDATE item SET v = 2 WHERE id = 1');
$t->wait_caught_up;
is(scalar(@{ $t->records('public.item') }), $before + 1, 'a restart reads nothing again');


# ----------
# Tables of several ranges, in databases of their own.
# ----------

my @streams = ('shop/cdc');

# A database with a stream of its own; settings as name => value
sub add_database
{
	my ($name, $sql, %setting) = @_;

	$t->admin("CREATE DATABASE $name");
	$t->{node}->safe_psql($name, 'ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO cdc');
	$t->{node}->safe_psql($name, $sql);
	$t->admin("ALTER DATABASE $name SET wal2kafka.$_ = '$setting{$_}'") foreach sort keys %setting;
	return;
}

sub add_stream
{
	my ($name) = @_;

	push @streams, "$name/cdc";
	$t->set('wal2kafka.streams', join(', ', @streams));
	return;
}

# The stream is not needed any more.
sub remove_stream
{
	my ($name) = @_;

	@streams = grep { $_ ne "$name/cdc" } @streams;
	$t->set('wal2kafka.streams', join(', ', @streams));
	wait_until("$name/cdc has stopped", sub { ($t->stat('pid', "$name/cdc") || '') eq '' });
	return;
}

# What was committed until now is acknowledged.
sub caught_up
{
	my ($name) = @_;
	my $end = $t->admin('SELECT pg_current_wal_insert_lsn()');
	my $slot = $t->stat('slot_name', "$name/cdc");

	wait_until("$name/cdc has caught up", sub {
		$t->admin("SELECT confirmed_flush_lsn >= '$end' FROM pg_replication_slots WHERE slot_name = '$slot'") eq 't';
	});
	return;
}

sub query { my ($db, $sql) = @_; return $t->{node}->safe_psql($db, $sql); }

# Rows of 2 kB, and a row filter that takes its time, so that a snapshot can
# be caught in the middle, however fast the machine is.
my $rows = 24_000;
my $big = qq{
	CREATE TABLE big (id int PRIMARY KEY, filler text NOT NULL, v int NOT NULL);
	ALTER TABLE big REPLICA IDENTITY FULL;
	ALTER TABLE big ALTER filler SET STORAGE plain;
	INSERT INTO big SELECT i, repeat('x', 1900), 0 FROM generate_series(1, $rows) i;
	CREATE TABLE tiny (id int PRIMARY KEY);
	INSERT INTO tiny VALUES (1), (2), (3);
	CREATE TABLE zero (id int PRIMARY KEY);
	CREATE PUBLICATION slow FOR TABLE big WHERE (length(repeat(filler, 40)) > 0), tiny, zero;
};
my %slow = (
	publication_name => 'slow',
	column_exclude_list => 'public\\.big\\.filler');

# What a reader of the topics has: key => last value of v; and how often each
# key was read
sub fold_big
{
	my ($name) = @_;
	my (%value, %reads);

	foreach my $record (@{ $t->records('', topic => "$name.public.big") })
	{
		my $id = $record->{key}{id};

		if (!$record->{value} || $record->{value}{op} eq 'd')
		{
			delete $value{$id};
			next;
		}
		$value{$id} = $record->{value}{after}{v};
		$reads{$id}++ if $record->{value}{op} eq 'r';
	}
	return (\%value, \%reads);
}

sub table_big
{
	my ($name) = @_;
	return { map { split /\|/ } split /\n/, query($name, 'SELECT id, v FROM big') };
}

# The progress file, which can be read while the server is down
my %slot;

sub progress
{
	my ($name) = @_;

	$slot{$name} ||= $t->stat('slot_name', "$name/cdc");
	return unless $slot{$name};
	my $file = $t->{node}->data_dir . "/pg_replslot/$slot{$name}/wal2kafka.snapshot";
	return -f $file ? decode_json(slurp_file($file)) : undef;
}

# Blocks of the table that were known to be sent: [first, end) pairs
sub sent_blocks
{
	my ($name) = @_;
	my $progress = progress($name);

	return () unless $progress && @{ $progress->{jobs} };
	my ($table) = grep { $_->{table} eq 'big' } @{ $progress->{jobs}[0]{tables} };
	my @list = @{ $table->{blocks} || [] };
	my @blocks;

	push @blocks, [ splice(@list, 0, 2) ] while @list;
	return @blocks;
}

sub wait_some_blocks
{
	my ($name) = @_;

	wait_until("some blocks of $name were sent", sub { sent_blocks($name) });
	return;
}

sub is_complete
{
	my ($name) = @_;

	wait_until("the snapshot of $name is complete", sub {
		my $progress = progress($name);
		return $progress && $progress->{jobs}[0]{ended_at};
	});
	return;
}

# The topics give the table, and what was known to be sent was not sent again.
sub check_resumed
{
	my ($name, $what, @blocks) = @_;

	is_complete($name);
	$t->wait_state('streaming', undef, "$name/cdc");
	query($name, 'UPDATE big SET v = 3 WHERE id = 1');
	caught_up($name);
	my ($value, $reads) = fold_big($name);

	is_deeply($value, table_big($name), "$what: the topics give the table");
	my $sent = join ' OR ', map { "(ctid::text::point)[0] >= $_->[0] AND (ctid::text::point)[0] < $_->[1]" } @blocks;
	my @known = split /\n/, query($name, "SELECT id FROM big WHERE v = 0 AND ($sent)");
	my @again = grep { $reads->{$_} != 1 } @known;
	my $twice = grep { $_ > 1 } values %$reads;

	cmp_ok(scalar(@known), '>', 0, "$what: blocks with " . @known . ' rows were known to be sent');
	is(scalar(@again), 0, "$what: none of them was sent again");
	cmp_ok($twice, '<', $rows / 2, "$what: $twice of $rows rows were sent again");
	return;
}

# Several processes
add_database('wide', $big, %slow);
add_stream('wide');
wait_until('another process reads', sub {
	query('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'wal2kafka snapshot'});
});
my $xmin = query('postgres', q{SELECT count(DISTINCT backend_xmin::text) FROM pg_stat_activity WHERE backend_type IN ('wal2kafka snapshot', 'wal2kafka stream') AND backend_xmin IS NOT NULL});
is($xmin, 1, 'they have one snapshot');
query('wide', 'UPDATE big SET v = 1 WHERE id % 1000 = 0; DELETE FROM big WHERE id = 7');
$t->wait_state('streaming', undef, 'wide/cdc');
caught_up('wide');
my ($value, $reads) = fold_big('wide');
is(scalar(keys %$reads), $rows, 'two processes read each row');
is((grep { $_ != 1 } values %$reads) + 0, 0, '... once');
is_deeply($value, table_big('wide'), '... and with the changes they give the table');
my %markers;
$markers{ $_->{value}{source}{snapshot} }++ foreach grep { $_->{value} } map { @{ $t->records('', topic => "wide.public.$_") } } ('big', 'tiny');
is($markers{first}, 1, 'one row is the first');
is($markers{last}, 1, 'one row is the last');
is($markers{first_in_data_collection}, 1, 'one table more has a first row');
cmp_ok($markers{last_in_data_collection}, '<=', 2, 'no more than one last row in a table');
is($t->stat('snapshot_rows', 'wide/cdc'), $rows + 3, 'snapshot_rows');
is(query('postgres', q{SELECT events FROM wal2kafka.stat_tables WHERE stream = 'wide/cdc' AND table_name = 'tiny'}), 3, 'events of a table');
cmp_ok(query('postgres', q{SELECT events FROM wal2kafka.stat_tables WHERE stream = 'wide/cdc' AND table_name = 'big'}), '>=', $rows, 'events of all processes are counted');
my $log = slurp_file($t->{node}->logfile);
like($log, qr/stream "wide\/cdc" has read table "public.big": $rows rows in [\d.]+ s, \d+ rows\/s/, 'a line in the log for a table');
like($log, qr/stream "wide\/cdc" has read table "public.zero": 0 rows/, '... also for an empty one');
remove_stream('wide');

# Killed in the middle: the server restarts, the stream goes on.
add_database('killed', $big, %slow);
add_stream('killed');
wait_some_blocks('killed');
query('killed', 'UPDATE big SET v = 1 WHERE id % 1000 = 0; DELETE FROM big WHERE id % 1000 = 1');
my $worker = $t->wait_stat('pid', qr/^[1-9]/, undef, 'killed/cdc');
kill 'KILL', $worker;
wait_until('the server restarts', sub { slurp_file($t->{node}->logfile) =~ /all server processes terminated; reinitializing/ });
my @blocks = sent_blocks('killed');
wait_until('the server is back', sub { eval { query('postgres', 'SELECT 1') } });
query('killed', 'UPDATE big SET v = 2 WHERE id % 1000 = 2; DELETE FROM big WHERE id % 1000 = 3');
check_resumed('killed', 'killed in the middle', @blocks);
remove_stream('killed');

# Another process fails: the stream says so, and goes on.
add_database('failed', $big, %slow);
add_stream('failed');
wait_some_blocks('failed');
query('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'wal2kafka snapshot'});
$t->wait_stat('last_error', qr/process \d+, which read tables for the snapshot, failed/, undef, 'failed/cdc');
@blocks = sent_blocks('failed');
check_resumed('failed', 'another process ended', @blocks);
remove_stream('failed');

# Paused and resumed: nothing is held meanwhile.
add_database('paused', $big, %slow);
add_stream('paused');
wait_some_blocks('paused');
query('postgres', q{SELECT wal2kafka.pause('paused/cdc')});
$t->wait_state('paused', undef, 'paused/cdc');
is(query('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'wal2kafka snapshot'}), 0, 'a pause ends all processes');
is(query('postgres', q{SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE 'wal2kafka_paused%' AND xmin IS NULL AND NOT active}), 1, '... and holds no xmin');
@blocks = sent_blocks('paused');
query('postgres', q{SELECT wal2kafka.resume('paused/cdc')});
check_resumed('paused', 'paused', @blocks);
remove_stream('paused');

# ----------
# Modes
# ----------

my $items = q{
	CREATE TABLE item (id int PRIMARY KEY, v int NOT NULL);
	CREATE TABLE other (id int PRIMARY KEY);
	INSERT INTO item VALUES (1, 1), (2, 2);
	INSERT INTO other VALUES (1);
};

sub story { my ($name, $table) = @_; return $t->story('', topic => "$name.public.$table"); }

sub wait_story
{
	my ($name, $table, $want, $what) = @_;
	my $got = '';

	eval { wait_until($what, sub { $got = story($name, $table); return $got eq $want; }, 60); };
	is($got, $want, $what) or $t->show_state;
	return;
}

# initial_only ends with a slot less, and does not begin again.
add_database('once', $items, snapshot_mode => 'initial_only', snapshot_include_collection_list => 'public\.item');
add_stream('once');
$t->wait_state('held', undef, 'once/cdc');
like($t->stat('last_error', 'once/cdc'), qr/the snapshot is complete/, 'initial_only ends with the snapshot');
wait_story('once', 'item', 'r:1 r:2', '... which has the rows');
is(story('once', 'other'), '', 'snapshot_include_collection_list leaves a table out');
is(query('postgres', q{SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE 'wal2kafka_once%'}), 0, '... and no slot is left');
query('postgres', q{SELECT wal2kafka.restart('once/cdc')});
$t->wait_stat('last_error', qr/has records, and wal2kafka.snapshot_mode is "initial_only"/, undef, 'once/cdc');
$t->wait_state('held', undef, 'once/cdc');
is(story('once', 'item'), 'r:1 r:2', 'it is not made again');
remove_stream('once');

# always: at each start of the stream, not of its worker
add_database('again', $items, snapshot_mode => 'always');
add_stream('again');
$t->wait_state('streaming', undef, 'again/cdc');
wait_story('again', 'item', 'r:1 r:2', 'always begins with a snapshot');
query('postgres', q{ALTER DATABASE again SET wal2kafka.async_flush_delay = '5ms'});
wait_until('the worker starts anew', sub { $t->stat('restarts', 'again/cdc') >= 2 });
$t->wait_state('streaming', undef, 'again/cdc');
query('again', 'INSERT INTO item VALUES (3, 3)');
wait_story('again', 'item', 'r:1 r:2 c:3', 'new settings make no snapshot');
query('postgres', q{SELECT wal2kafka.restart('again/cdc')});
wait_story('again', 'item', 'r:1 r:2 c:3 r:1 r:2 r:3', 'restart() does');
remove_stream('again');

# when_needed: a slot that is lost, or missing
add_database('needed', $items, snapshot_mode => 'when_needed');
add_stream('needed');
$t->wait_state('streaming', undef, 'needed/cdc');
wait_story('needed', 'item', 'r:1 r:2', 'when_needed begins with a snapshot');
query('postgres', q{SELECT wal2kafka.pause('needed/cdc')});
$t->wait_state('paused', undef, 'needed/cdc');
query('needed', 'DELETE FROM item WHERE id = 1');
query('postgres', q{SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name LIKE 'wal2kafka_needed%'});
query('postgres', q{SELECT wal2kafka.resume('needed/cdc')});
wait_story('needed', 'item', 'r:1 r:2 r:2', 'without its slot it begins anew');
like(slurp_file($t->{node}->logfile), qr/stream "needed\/cdc" has no slot, but topic "needed.public.item" has records: it begins anew/, '... and says so');
$t->wait_state('streaming', undef, 'needed/cdc');
query('postgres', q{SELECT wal2kafka.pause('needed/cdc')});
$t->wait_state('paused', undef, 'needed/cdc');
query('needed', 'DELETE FROM item WHERE id = 2; INSERT INTO item VALUES (3, 3)');
query('postgres', q{ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'});
$t->{node}->reload;
wait_until('the slot is lost', sub {
	query('needed', 'SELECT pg_switch_wal(); INSERT INTO other SELECT max(id) + 1 FROM other; CHECKPOINT');
	return query('postgres', q{SELECT wal_status FROM pg_replication_slots WHERE slot_name LIKE 'wal2kafka_needed%'}) eq 'lost';
});
query('postgres', q{ALTER SYSTEM RESET max_slot_wal_keep_size});
$t->{node}->reload;
query('postgres', q{SELECT wal2kafka.resume('needed/cdc')});
wait_story('needed', 'item', 'r:1 r:2 r:2 r:3', 'with a lost slot, too');
like(slurp_file($t->{node}->logfile), qr/was invalidated by the server: stream "needed\/cdc" begins anew/, '... and says so');
remove_stream('needed');

done_testing();
