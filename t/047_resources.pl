# Does a stream keep to its memory, descriptors, threads and shared memory,
# whatever it meets and however often?
#
# What a process holds is measured when it has nothing to do, after a warm-up
# and again at the end.  Bounds leave room for what allocators keep; a leak of
# a few bytes an event, or of anything an occasion, is above them.  Of memory
# contexts the server itself gives exact figures.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../test/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use Wal2Kafka;

# WAL2KAFKA_TEST_LONG is for what takes an hour: the numbers of the second
# column.
my $long = $ENV{WAL2KAFKA_TEST_LONG} ? 1 : 0;
my %n = map { $_->[0] => $_->[ 1 + $long ] } (
	[ events => 1_000_000, 10_000_000 ],
	[ versions => 200, 3_000 ],
	[ restarts => 10, 100 ],
	[ outages => 3, 20 ],
	[ giant => 200_000, 2_000_000 ],
	[ wide_mb => 20, 200 ],
	[ tables => 1_000, 10_000 ],
	[ partitions => 100, 2_000 ]);

my $t = Wal2Kafka->new(
	tables => q{
		CREATE TABLE hot (id int PRIMARY KEY, n int, t text);
		INSERT INTO hot SELECT i, 0, md5(i::text) FROM generate_series(1, 1000) i;
		CREATE TABLE versions (id int PRIMARY KEY, c0 int);
		CREATE TABLE giant (id int PRIMARY KEY, t text);
		CREATE TABLE wide (id int PRIMARY KEY, t text);
		ALTER TABLE wide ALTER t SET STORAGE EXTERNAL},
	conf => q{
		wal2kafka.max_queue_size_in_bytes = '4MB'
		wal2kafka.topic_config = 'retention.bytes=50000000; segment.bytes=20000000'
		logical_decoding_work_mem = '4MB'
		dynamic_shared_memory_type = mmap
		max_locks_per_transaction = 64
		max_wal_size = '4GB'
		wal2kafka.max_streams = 4});
my $node = $t->{node};

# ----------
# Measuring
# ----------

# What a process has: kB of memory of its own now and at most, files, threads.
sub usage
{
	my ($pid) = @_;
	my $status = slurp_file("/proc/$pid/status");
	my ($anonymous) = $status =~ /^RssAnon:\s+(\d+) kB/m;
	my ($highest) = $status =~ /^VmHWM:\s+(\d+) kB/m;
	my ($resident) = $status =~ /^VmRSS:\s+(\d+) kB/m;
	my ($threads) = $status =~ /^Threads:\s+(\d+)/m;
	opendir(my $dir, "/proc/$pid/fd") or die "cannot look at files of $pid";
	# those of relations are the server's affair, which keeps them few
	my $files = grep { /^\d+$/ && (readlink("/proc/$pid/fd/$_") || '') !~ m{/pgdata/} } readdir $dir;
	closedir $dir;
	return { memory => $anonymous, highest => $highest, resident => $resident,
		threads => $threads, files => $files, pid => $pid };
}

# From now on "highest" is of what follows.
sub reset_highest
{
	my ($pid) = @_;
	my $file;
	open($file, '>', "/proc/$pid/clear_refs") and print $file "5\n" and close $file
	  or note("cannot reset the highest memory of $pid");
	return;
}

# Bytes in the memory contexts of a process, as it writes into the log itself.
sub contexts
{
	my ($pid) = @_;
	my $offset = -s $node->logfile;
	my $used;

	$t->admin("SELECT pg_log_backend_memory_contexts($pid)");
	wait_until("process $pid answers", sub {
		my $log = slurp_file($node->logfile, $offset);
		($used) = $log =~ /\[$pid\].*Grand total: .*; (\d+) used/;
		return defined $used;
	});
	return $used;
}

# The worker is idle: what does it have?
sub idle
{
	my ($stream) = @_;
	$t->wait_caught_up(600);
	my $pid = $t->wait_stat('pid', qr/^[1-9]/, undef, $stream || $t->{stream});
	my $usage = usage($pid);
	$usage->{contexts} = contexts($pid);
	return $usage;
}

sub show
{
	my ($usage) = @_;
	return join ', ', map { "$_ $usage->{$_}" } qw(memory contexts files threads);
}

# Has it no more than before?  What is freed late may be: so it is looked at
# again for a while.
sub no_more
{
	my ($name, $before, $measure, %more) = @_;
	my $now;
	my $fits = eval {
		wait_until('it is back at what it had', sub {
			$now = $measure->();
			return !grep { $now->{$_} > $before->{$_} + ($more{$_} || 0) } keys %more;
		}, 20);
	};
	ok($fits, "$name: " . join(', ', sort keys %more));
	note("$name: before " . show($before));
	note("$name: after " . show($now));
	note(join ' ', map { readlink($_) || () } glob "/proc/$now->{pid}/fd/*") if !$fits && $now->{pid};
	return $now;
}

# ----------
# Events, versions, restarts, outages
# ----------

# Updates of 1000 rows a transaction.
sub change_hot
{
	my ($events) = @_;
	my $rounds = $events / 1000;

	while ($rounds > 0)
	{
		my $some = $rounds < 500 ? $rounds : 500;
		$t->sql("DO \$\$ BEGIN FOR i IN 1 .. $some LOOP
			UPDATE hot SET n = n + 1; COMMIT; END LOOP; END \$\$");
		$t->sql('VACUUM hot');
		$rounds -= $some;
	}
	return;
}

sub many_events
{
	change_hot(300_000);
	my $before = idle();
	my $start = time();
	change_hot($n{events});
	$t->wait_caught_up(3600);
	note(sprintf('%d events in %.0f s', $n{events}, time() - $start));
	no_more("$n{events} events", $before, \&idle,
		memory => 4 * 1024, contexts => 128 * 1024, files => 0, threads => 0);
	return;
}

# The cache of schema ids may have 8 MB.
sub many_versions
{
	my $row = 0;
	my $make = sub {
		my ($count) = @_;
		my @sql;
		for (1 .. $count)
		{
			push @sql, sprintf('ALTER TABLE versions RENAME c%d TO c%d', $row, $row + 1),
			  sprintf('INSERT INTO versions VALUES (%d, 0)', ++$row);
		}
		$t->sql(join ';', @sql[ $_ * 100 .. $_ * 100 + 99 ]) for 0 .. @sql / 100 - 1;
		return;
	};

	$make->(50);
	my $before = idle();
	$make->($n{versions});
	no_more("$n{versions} versions of a schema", $before, \&idle,
		memory => 16 * 1024, contexts => ($long ? 10 : 3) * 1024 * 1024, files => 0, threads => 0);
	is($t->count('public.versions')->{events}, $row, '... all arrived');
	return;
}

sub shared
{
	my $postmaster = usage($t->postmaster_pid);
	my $launcher = $node->safe_psql('postgres',
		q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'wal2kafka launcher'});
	my $of_launcher = usage($launcher);
	opendir(my $dir, $node->data_dir . '/pg_dynshmem') or die 'no pg_dynshmem';
	my $segments = grep { /^mmap/ } readdir $dir;
	closedir $dir;
	return { memory => $postmaster->{memory} + $of_launcher->{memory},
		files => $postmaster->{files} + $of_launcher->{files},
		contexts => contexts($launcher),
		threads => $postmaster->{threads} + $of_launcher->{threads},
		segments => $segments };
}

sub restart_worker
{
	my $pid = $t->worker_pid;
	$t->admin("SELECT wal2kafka.restart('$t->{stream}')");
	wait_until('another worker streams', sub {
		my $now = $t->stat(q{CASE WHEN state = 'streaming' THEN pid END});
		return $now && $now ne $pid;
	});
	return;
}

sub many_restarts
{
	restart_worker() for 1 .. 3;
	my $worker = idle();
	my $before = shared();
	for (1 .. $n{restarts})
	{
		$t->sql('UPDATE hot SET n = n + 1 WHERE id = 1');
		restart_worker();
	}
	no_more("$n{restarts} restarts of the worker", $before, \&shared,
		memory => 1024, contexts => 16 * 1024, files => 0, threads => 0, segments => 0);
	no_more('... and the last worker is as the first', $worker, \&idle,
		memory => 8 * 1024, contexts => 512 * 1024, files => 1, threads => 1);
	return;
}

sub many_outages
{
	my $outage = sub {
		$t->{kafka}->kill9;
		$t->sql('UPDATE hot SET n = n + 1');
		$t->wait_waiting_for('broker');
		contexts($t->worker_pid);
		$t->{kafka}->start;
		$t->wait_caught_up;
	};
	$outage->() for 1 .. 2;
	my $before = idle();
	$outage->() for 1 .. $n{outages};
	my $after = no_more("$n{outages} outages of the broker", $before, \&idle,
		memory => 8 * 1024, contexts => 64 * 1024, files => 1, threads => 0);
	is($after->{pid}, $before->{pid}, '... of one worker');
	return;
}

# ----------
# Sizes
# ----------

sub giant_transaction
{
	# one that is large enough to be spilled, too
	$t->sql("INSERT INTO giant SELECT -i, repeat(md5(i::text), 3) FROM generate_series(1, 50000) i");
	my $before = idle();
	reset_highest($before->{pid});
	my $start = time();
	$t->sql("INSERT INTO giant SELECT i, repeat(md5(i::text), 3) FROM generate_series(1, $n{giant}) i");
	$t->wait_caught_up(1200);
	my $usage = usage($before->{pid});
	note(sprintf('%d rows in one transaction: %.0f s, at most %d kB above %d kB', $n{giant},
			time() - $start, $usage->{highest} - $before->{resident}, $before->{resident}));
	cmp_ok($usage->{highest} - $before->{resident}, '<', 64 * 1024,
		"a transaction of $n{giant} rows: memory stays bounded");
	no_more('... and is given back', $before, \&idle,
		memory => 16 * 1024, contexts => 128 * 1024, files => 0, threads => 0);
	return;
}

# What no topic takes is found before it is copied more often than needed.
sub wide_row
{
	my $before = idle();
	my $bytes = $n{wide_mb} * 1024 * 1024;
	reset_highest($before->{pid});
	$t->sql("INSERT INTO wide VALUES (1, repeat('x', $bytes))");
	my $highest = 0;
	wait_until('the row is found', sub {
		my $now = eval { usage($before->{pid}) };
		$highest = $now->{highest} if $now && $now->{highest} > $highest;
		return ($t->stat('last_error') || '') =~ /wide/;
	}, 300);
	note(sprintf('a row of %d MB: at most %d kB above %d kB', $n{wide_mb},
			$highest - $before->{resident}, $before->{resident}));
	cmp_ok($highest - $before->{resident}, '<', 5 * $bytes / 1024 + 64 * 1024,
		"a row of $n{wide_mb} MB: memory is a few times its size");
	return;
}

# ----------
# Numbers of tables and partitions
# ----------

# A stream of its own, whose events all go to one topic.
sub add_stream
{
	my ($database, $sql, %setting) = @_;
	$t->admin("CREATE DATABASE $database");
	$node->safe_psql($database, "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO cdc; $sql");
	my %all = ('schema_registry_url' => '', 'topic_router_regex' => '.*',
		'topic_router_replacement' => "$database.all", 'guardrail_collections_max' => 0,
		'snapshot_mode' => 'initial', %setting);
	$t->admin(join ';', map { "ALTER ROLE cdc IN DATABASE $database SET wal2kafka.$_ = '$all{$_}'" } sort keys %all);
	my $start = time();
	$t->set('wal2kafka.streams', "$t->{stream}, $database/cdc");
	$t->wait_state('streaming', 1200, "$database/cdc");
	return Wal2Kafka->adopt(%$t, stream => "$database/cdc", database => $database,
		slot => undef, started => time() - $start);
}

# Fold of a topic by op.
sub op_counts
{
	my ($other, $topic) = @_;
	my %count;
	$count{ $_->{value}{op} }++ foreach @{ $other->records('', topic => $topic) };
	return \%count;
}

sub many_tables
{
	my $last = $n{tables} / 100 - 1;
	my $sql = "DO \$\$ BEGIN FOR k IN 0 .. $last LOOP FOR i IN k * 100 + 1 .. k * 100 + 100 LOOP
			EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY, a text, b timestamptz, c numeric(10,2)); INSERT INTO t%s VALUES (1)', i, i);
		END LOOP; COMMIT; END LOOP; END \$\$";
	my $other = add_stream('many', $sql);
	my $pid = $other->wait_stat('pid', qr/^[1-9]/);
	my $start = time();
	$other->sql("DO \$\$ BEGIN FOR k IN 0 .. $last LOOP FOR i IN k * 100 + 1 .. k * 100 + 100 LOOP
			EXECUTE format('UPDATE t%s SET a = id', i);
		END LOOP; COMMIT; END LOOP; END \$\$");
	$other->wait_caught_up(1200);
	my $usage = usage($pid);
	$usage->{contexts} = contexts($pid);
	note(sprintf('%d tables: snapshot and start in %.0f s, a change of each in %.0f s; ', $n{tables},
			$other->{started}, time() - $start) . show($usage));
	is_deeply(op_counts($other, 'many.all'), { r => $n{tables}, u => $n{tables} },
		"$n{tables} tables: all of their rows and changes");
	cmp_ok($usage->{memory}, '<', 80 * 1024 + $n{tables} * 48, '... in bounded memory');
	cmp_ok($usage->{files}, '<', 200, '... and with few files');
	$t->set('wal2kafka.streams', $t->{stream});
	wait_until('the stream ends', sub { !kill 0, $pid });
	return;
}

sub many_partitions
{
	my $sql = "CREATE TABLE p (id int PRIMARY KEY, t text) PARTITION BY RANGE (id);
		DO \$\$ BEGIN FOR i IN 1 .. $n{partitions} LOOP
			EXECUTE format('CREATE TABLE p%s PARTITION OF p FOR VALUES FROM (%s) TO (%s)', i, i * 10, i * 10 + 10);
			IF i % 50 = 0 THEN COMMIT; END IF;
		END LOOP; END \$\$;
		CREATE PUBLICATION pub FOR TABLE p WITH (publish_via_partition_root)";
	my $other = add_stream('parted', $sql, publication_name => 'pub',
		topic_router_regex => '', topic_router_replacement => '');
	my $pid = $other->wait_stat('pid', qr/^[1-9]/);
	$other->sql("INSERT INTO p SELECT i * 10 FROM generate_series(1, $n{partitions}) i");
	$other->sql("UPDATE p SET t = 'x'");
	$other->wait_caught_up(600);
	my $usage = usage($pid);
	$usage->{contexts} = contexts($pid);
	note("$n{partitions} partitions: " . show($usage));
	is_deeply(op_counts($other, 'parted.public.p'), { c => $n{partitions}, u => $n{partitions} },
		"$n{partitions} partitions: all changes");
	cmp_ok($usage->{memory}, '<', 80 * 1024 + $n{partitions} * 48, '... in bounded memory');
	$t->set('wal2kafka.streams', $t->{stream});
	wait_until('the stream ends', sub { !kill 0, $pid });
	return;
}

# What can be asked for by name: WAL2KAFKA_TEST_PARTS="giant_transaction wide_row"
my %part = (
	many_events => \&many_events,
	many_versions => \&many_versions,
	many_restarts => \&many_restarts,
	many_outages => \&many_outages,
	giant_transaction => \&giant_transaction,
	many_tables => \&many_tables,
	many_partitions => \&many_partitions,
	wide_row => \&wide_row);
my @parts = split ' ', $ENV{WAL2KAFKA_TEST_PARTS}
  || 'many_events many_versions giant_transaction many_restarts many_outages many_tables many_partitions wide_row';

$t->start_stream;
foreach my $name (@parts)
{
	my $start = time();
	$part{$name}->();
	note(sprintf('%s took %.0f s', $name, time() - $start));
}

done_testing();
