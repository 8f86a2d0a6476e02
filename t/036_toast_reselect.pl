# Does an unchanged large value that is read from the table belong to the
# event, whatever happens to the row meanwhile?

use strict;
use warnings;

use Digest::MD5 qw(md5_hex);
use FindBin;
use lib "$FindBin::Bin/../test/lib";

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wal2Kafka;

my $placeholder = '__debezium_unavailable_value';
my $header = '__wal2kafka.toast_reselected';

my $t = Wal2Kafka->new(
	conf => "wal2kafka.toast_reselect = on\n"
	  . "wal2kafka.kafka_options = 'message.max.bytes=8000000'\n"
	  . "wal2kafka.topic_config = 'max.message.bytes=8000000'\n",
	properties => { 'message.max.bytes' => 8_000_000 },
	tables => q{
	CREATE FUNCTION noise(n int, seed text) RETURNS text LANGUAGE sql AS
		$$SELECT string_agg(md5(seed || i), '') FROM generate_series(1, n / 32) i$$;
	CREATE TABLE doc (id int PRIMARY KEY, n int DEFAULT 0, big text, more text);
	ALTER TABLE doc ALTER big SET STORAGE EXTERNAL;
	CREATE TABLE kinds (a text, b int, n int, raw bytea, list text[], tree jsonb, masked text,
		PRIMARY KEY (b, a));
	CREATE TABLE other (a int NOT NULL, n int, big text);
	CREATE UNIQUE INDEX ON other (a);
	CREATE UNIQUE INDEX ON other (a) WHERE n > 0;
	CREATE UNIQUE INDEX ON other (abs(a));
	CREATE TABLE keyless (a int, big text);
	CREATE TABLE whole (id int PRIMARY KEY, n int, big text);
	ALTER TABLE whole REPLICA IDENTITY FULL;
	CREATE TABLE secret (id int PRIMARY KEY, n int, big text);
	REVOKE ALL ON secret FROM cdc;
	CREATE TABLE column_grant (id int PRIMARY KEY, n int, big text);
	REVOKE ALL ON column_grant FROM cdc;
	GRANT SELECT (id, big) ON column_grant TO cdc;
	CREATE TABLE guarded (id int PRIMARY KEY, n int, big text);
	ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
	CREATE POLICY everything ON guarded USING (true);
	CREATE TABLE gone (id int PRIMARY KEY, n int, big text);
	CREATE TABLE rewritten (id int PRIMARY KEY, n int, big text);
	CREATE TABLE compacted (id int PRIMARY KEY, n int, big text);
	CREATE TABLE retyped (id int PRIMARY KEY, n int, big text);
	CREATE TABLE extended (id int PRIMARY KEY, n int, big text);
	CREATE TABLE locked (id int PRIMARY KEY, n int, big text);
});
my $node = $t->{node};
$t->admin(q{ALTER DATABASE shop SET wal2kafka.column_transforms = 'mask.with.4.chars=public\.kinds\.masked'});

# What is compared of large values
sub short
{
	my ($value) = @_;
	return !defined $value || $value eq $placeholder ? $value : substr(md5_hex($value), 0, 8);
}

# [value, is it marked] of a column in each update since the last call, of all
# rows or one
my %seen;
sub values_of
{
	my ($table, $column, $id) = @_;
	my $new = $t->records("public.$table", from => $seen{$table} || 0);
	$seen{$table} += @$new;
	return [
		map { [ short($_->{value}{after}{$column}), $_->{headers}{$header} ] }
		grep { $_->{value} && $_->{value}{op} eq 'u' && (!defined $id || $_->{value}{after}{id} == $id) } @$new
	];
}

# What the sub does is decoded after all of it.
sub while_paused
{
	my ($what) = @_;
	$t->set('wal2kafka.paused', 'on');
	$t->wait_state('paused');
	$what->();
	$t->set('wal2kafka.paused');
	$t->wait_state('streaming');
	$t->wait_caught_up;
	return;
}

$t->start_stream;

# ----------
# While nobody interferes
# ----------
$t->sql(q{
	INSERT INTO doc VALUES (1, 0, noise(6000, 'a'), noise(100000, 'b')), (2, 0, 'small', NULL),
		(3, 0, noise(5 * 1024 * 1024, 'c'), NULL);
	INSERT INTO kinds VALUES ('x', 1, 0, convert_to(noise(9000, 'd'), 'UTF8'), ARRAY[noise(9000, 'e'), 'f'],
		jsonb_build_object('k', noise(9000, 'g')), noise(9000, 'h'));
});
$t->wait_caught_up;
is($t->sql(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'wal2kafka reselect'}), 0,
	'no process before it is needed');
$t->sql(q{UPDATE doc SET n = n + 1});
$t->wait_caught_up;
my $updates = $t->records('public.doc', from => 3);
my @events = map { $_->{value}{after} } @$updates;
my @headers = map { $_->{headers}{$header} } @$updates;
$seen{doc} = 6;
for my $i (0 .. 2)
{
	my $id = $events[$i]{id};
	is(md5_hex($events[$i]{big}), $t->sql("SELECT md5(big) FROM doc WHERE id = $id"), "value of row $id");
}
is(md5_hex($events[0]{more}), $t->sql('SELECT md5(more) FROM doc WHERE id = 1'), 'compressed in the table');
is($events[1]{more}, undef, 'null stays null');
is_deeply(\@headers, [ 'big,more', undef, 'big' ], 'a header names the columns');
is($t->sql(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'wal2kafka reselect'}), 1,
	'a process beside the worker');

$t->sql(q{UPDATE kinds SET n = 1});
$t->wait_caught_up;
my ($event) = @{ $t->records('public.kinds', from => 1) };
is($event->{headers}{$header}, 'raw,list,tree', 'composite key; what is masked is not read');
is(length $event->{value}{after}{tree}, length $t->sql('SELECT tree FROM kinds'), 'jsonb');
is($event->{value}{after}{masked}, '****', 'a mask is a mask');

$t->sql(q{INSERT INTO other VALUES (1, 0, noise(9000, 'i'))});
$t->sql(q{INSERT INTO keyless VALUES (1, noise(9000, 'j'))});
$t->sql(q{INSERT INTO whole VALUES (1, 0, noise(9000, 'k'))});
$t->sql(q{UPDATE other SET n = 1; UPDATE keyless SET a = 2; UPDATE whole SET n = 1});
$t->wait_caught_up;
is_deeply(values_of('other', 'big'), [ [ short($t->sql('SELECT big FROM other')), 'big' ] ],
	'a key that is no primary key');
is_deeply(values_of('keyless', 'big'), [ [ $placeholder, undef ] ], 'no key, no value');
is_deeply(values_of('whole', 'big'), [ [ short($t->sql('SELECT big FROM whole')), undef ] ],
	'an old row has it without reading');

# One transaction that does it all is one event after the other.
$t->sql(q{
	BEGIN;
	INSERT INTO doc VALUES (9, 0, noise(6000, 'v1'));
	UPDATE doc SET n = 1 WHERE id = 9;
	UPDATE doc SET big = noise(6000, 'v2') WHERE id = 9;
	UPDATE doc SET n = 2 WHERE id = 9;
	COMMIT;
});
$t->wait_caught_up;
my ($v2) = map { short($t->sql("SELECT noise(6000, '$_')")) } 'v2';
is_deeply(values_of('doc', 'big', 9),
	[ [ $placeholder, undef ], [ $v2, undef ], [ $v2, 'big' ] ],
	'versions within a transaction');

# ----------
# The row has gone on
# ----------
$t->sql(q{INSERT INTO doc SELECT i, 0, noise(6000, 'w' || i) FROM generate_series(10, 15) i});
my %old = map { $_ => $t->sql("SELECT big FROM doc WHERE id = $_") } 10 .. 15;
while_paused(sub {
	$t->sql(q{UPDATE doc SET n = 1 WHERE id = 10});
	$t->sql(q{UPDATE doc SET big = noise(6000, 'new') WHERE id = 10});
	$t->sql(q{UPDATE doc SET n = 1 WHERE id = 11});
	$t->sql(q{DELETE FROM doc WHERE id = 11});
	$t->sql(q{UPDATE doc SET n = 1 WHERE id = 12});
	$t->sql(q{DELETE FROM doc WHERE id = 12; INSERT INTO doc VALUES (12, 7, noise(6000, 'again'))});
	$t->sql(q{UPDATE doc SET n = 1 WHERE id = 13});
	$t->sql(q{UPDATE doc SET id = 113 WHERE id = 13});
	$t->sql(q{UPDATE doc SET n = 1 WHERE id = 14});
	$t->sql(q{UPDATE doc SET n = 2 WHERE id = 14});
	$t->sql(q{UPDATE doc SET n = 1 WHERE id = 15});
	$t->sql(q{BEGIN; UPDATE doc SET big = 'rolled back' WHERE id = 15; ROLLBACK});
	$t->sql(q{VACUUM doc});
});
my %story;
my $records = $t->records('public.doc', from => $seen{doc} + 6);
$seen{doc} += 6 + @$records;
foreach my $record (@$records)
{
	my $value = $record->{value} or next;
	my $row = $value->{after} || $value->{before};
	push @{ $story{ $row->{id} } }, [ $value->{op},
		!$value->{after} ? '-' : $row->{big} eq $placeholder ? '?' : short($row->{big}),
		$record->{headers}{$header} ];
}
my %short = map { $_ => short($old{$_}) } keys %old;
my $new = short($t->sql('SELECT big FROM doc WHERE id = 10'));
my $again = short($t->sql('SELECT big FROM doc WHERE id = 12'));
is_deeply($story{10}, [ [ 'u', '?', undef ], [ 'u', $new, undef ] ], 'never the newer value');
is_deeply($story{11}, [ [ 'u', '?', undef ], [ 'd', '-', undef ] ], 'deleted meanwhile');
is_deeply($story{12}, [ [ 'u', '?', undef ], [ 'd', '-', undef ], [ 'c', $again, undef ] ],
	'deleted and inserted again');
is_deeply($story{13}, [ [ 'u', '?', undef ], [ 'd', '-', undef ] ], 'another key meanwhile');
is_deeply($story{113}, [ [ 'c', $short{13}, 'big' ] ], '... whose create has it');
is_deeply($story{14}, [ [ 'u', $short{14}, 'big' ], [ 'u', $short{14}, 'big' ] ], 'unchanged to this day');
is_deeply($story{15}, [ [ 'u', $short{15}, 'big' ] ], 'what was rolled back does not count');

# ----------
# The table has gone on
# ----------
my @changed = ('gone', 'rewritten', 'compacted', 'retyped', 'extended');
$t->sql("INSERT INTO $_ VALUES (1, 0, noise(9000, '$_'))") for @changed;
my %text = map { $_ => $t->sql("SELECT big FROM $_") } @changed;
while_paused(sub {
	$t->sql("UPDATE $_ SET n = 1") for @changed;
	$t->sql('DROP TABLE gone');
	$t->sql('ALTER TABLE rewritten ALTER n TYPE bigint');
	$t->sql('VACUUM FULL compacted');
	$t->sql('ALTER TABLE retyped ALTER big TYPE varchar');
	$t->sql('ALTER TABLE extended DROP COLUMN n, ADD COLUMN n int DEFAULT 5, ADD x text');
});
is_deeply(values_of('gone', 'big'), [ [ $placeholder, undef ] ], 'the table is gone');
is_deeply(values_of('rewritten', 'big'), [ [ $placeholder, undef ] ], '... rewritten');
is_deeply(values_of('compacted', 'big'), [ [ short($text{compacted}), 'big' ] ], '... compacted');
is_deeply(values_of('retyped', 'big'), [ [ $placeholder, undef ] ], '... of another type');
is_deeply(values_of('extended', 'big'), [ [ short($text{extended}), 'big' ] ], '... wider');

# Who waits to alter the table does not keep the stream waiting for what he
# waits for.
$t->sql(q{INSERT INTO locked VALUES (1, 0, noise(9000, 'l'))});
my ($writer, $reader, $alterer) = map { $node->background_psql('shop') } 1 .. 3;
$reader->query_safe('BEGIN; SELECT FROM locked;');
$writer->query_safe('BEGIN; UPDATE locked SET n = 1;');
$alterer->query_until(qr/asked/, "\\echo asked\nBEGIN; LOCK locked;\n");
wait_until('a lock is waited for', sub {
	return $t->sql(q{SELECT count(*) FROM pg_locks WHERE NOT granted}) eq '1';
});
$writer->query_safe('COMMIT;');
$t->wait_caught_up;
is_deeply(values_of('locked', 'big'), [ [ $placeholder, undef ] ], 'a lock that is not to be had');
$reader->query_safe('COMMIT;');
$_->quit for $writer, $reader, $alterer;

# ----------
# Who may read
# ----------
my @refused = ('secret', 'guarded', 'column_grant');
$t->sql("INSERT INTO $_ VALUES (1, 0, noise(9000, '$_'))") for @refused;
$t->sql("UPDATE $_ SET n = 1; UPDATE $_ SET n = 2") for @refused;
$t->wait_caught_up;
is_deeply(values_of($_, 'big'), [ ([ $placeholder, undef ]) x 2 ], "no value of table $_")
	for 'secret', 'guarded';
is_deeply(values_of('column_grant', 'big'), [ ([ short($t->sql('SELECT big FROM column_grant')), 'big' ]) x 2 ],
	'the right to read its columns is enough');
my $log = slurp_file($node->logfile);
is(scalar(() = $log =~ /WARNING:.*unchanged large values of table "public\.$_" are not read/g), 1,
	"one warning for $_") for 'secret', 'guarded';
like($log, qr/HINT:.*Grant SELECT to role "cdc"/, '... says what to do');

# ----------
# The process
# ----------
my $helper = q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'wal2kafka reselect'};
my $before = $t->sql($helper);
my $worker = $t->worker_pid;
$t->sql("SELECT pg_terminate_backend($before)");
wait_until('the process has ended', sub { return $t->sql($helper) ne $before; });
$t->sql(q{UPDATE doc SET n = 3 WHERE id = 14});
$t->wait_caught_up;
is_deeply(values_of('doc', 'big', 14), [ [ short($old{14}), 'big' ] ], 'ended: another one is asked at once');
isnt($t->sql($helper), '', '... and there is one');
is($t->worker_pid, $worker, '... the worker is the same');
$t->set('wal2kafka.toast_reselect', 'off');
wait_until('the process ended with its worker', sub { return $t->sql($helper) eq ''; });
$t->wait_state('streaming');
$t->sql(q{UPDATE doc SET n = 4 WHERE id = 14});
$t->wait_caught_up;
is_deeply(values_of('doc', 'big', 14), [ [ $placeholder, undef ] ], 'off: the placeholder');

# The worker that is there may still decode what comes right behind a change of
# its settings.
sub set_anew
{
	my ($name, $value) = @_;
	my $pid = $t->worker_pid;

	$t->set($name, $value);
	wait_until('another worker streams', sub {
		my $now = $t->worker_pid;
		return $now && $now ne $pid;
	});
	$t->wait_state('streaming');
	return;
}
set_anew('wal2kafka.toast_reselect', 'on');

# What Kafka would not take is not read.
set_anew('wal2kafka.kafka_options', 'message.max.bytes=1000000');
$t->sql(q{UPDATE doc SET n = 5 WHERE id IN (3, 14)});
$t->wait_caught_up;
is_deeply([ map { $_->[1] } @{ values_of('doc', 'big') } ], [ undef, 'big' ], 'too large for a message');

# ----------
# Partitions that are published as their root, in another order of columns
# ----------
$t->sql(q{
	CREATE TABLE tree (id int PRIMARY KEY, n int, big text) PARTITION BY RANGE (id);
	CREATE TABLE leaf (big text, waste int, n int, id int NOT NULL);
	ALTER TABLE leaf DROP COLUMN waste;
	ALTER TABLE tree ATTACH PARTITION leaf FOR VALUES FROM (0) TO (100);
	CREATE PUBLICATION via_root FOR TABLE tree, kinds, doc (id, n, more) WITH (publish_via_partition_root = true);
	GRANT SELECT ON leaf TO cdc;
	INSERT INTO tree VALUES (1, 0, noise(9000, 'leaf'));
});
my $restarts = $t->stat('restarts');
$t->admin(q{ALTER DATABASE shop SET wal2kafka.publication_name = 'via_root'});
wait_until('the publication is chosen', sub { return $t->stat('restarts') > $restarts; });
$t->wait_state('streaming');
$t->sql(q{UPDATE tree SET n = 1; UPDATE doc SET n = 5 WHERE id = 1});
$t->wait_caught_up;
is_deeply(values_of('tree', 'big'), [ [ short($t->sql('SELECT big FROM tree')), 'big' ] ], 'a partition as its root');
my $last = $t->records('public.doc', from => $seen{doc})->[-1];
is($last->{headers}{$header}, 'more', 'only what is published is read');
$t->admin(q{ALTER DATABASE shop RESET wal2kafka.publication_name});

# ----------
# Writers that change the value right after, and others who lock the table and
# end the process
# ----------
$t->sql(q{
	CREATE TABLE race (id int PRIMARY KEY, n int, v int, big text);
	ALTER TABLE race ALTER big SET STORAGE EXTERNAL;
	INSERT INTO race SELECT i, 0, 0, '0:' || repeat('x', 3000) FROM generate_series(1, 40) i;
});
my $script = $node->basedir . '/race.sql';
open my $file, '>', $script or die $!;
print $file <<'EOS';
\set id random(1, 40)
\set what random(1, 12)
\set fault random(1, 1000)
\if :fault = 1
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'wal2kafka reselect';
\elif :fault <= 5
BEGIN;
LOCK race;
COMMIT;
\elif :what <= 4
UPDATE race SET n = n + 1 WHERE id = :id;
\elif :what <= 6
UPDATE race SET v = v + 1, big = (v + 1) || ':' || repeat('x', 3000) WHERE id = :id;
\elif :what <= 8
UPDATE race SET n = n + 1 WHERE id = :id;
UPDATE race SET v = v + 1, big = (v + 1) || ':' || repeat('x', 3000) WHERE id = :id;
\elif :what = 9
BEGIN;
UPDATE race SET v = v + 1, big = (v + 1) || ':' || repeat('x', 3000) WHERE id = :id;
UPDATE race SET n = n + 1 WHERE id = :id;
SAVEPOINT s;
UPDATE race SET big = 'rolled back:' || repeat('x', 3000) WHERE id = :id;
ROLLBACK TO s;
UPDATE race SET n = n + 1 WHERE id = :id;
COMMIT;
\elif :what = 10
BEGIN;
WITH old AS (DELETE FROM race WHERE id = :id RETURNING id, n, v)
	INSERT INTO race SELECT 1000 + id, n, v + 1, (v + 1) || ':' || repeat('x', 3000) FROM old;
UPDATE race SET id = :id, n = n + 1 WHERE id = 1000 + :id;
COMMIT;
\elif :what = 11
UPDATE race SET n = n + 1 WHERE id = :id;
DELETE FROM race WHERE id = :id;
INSERT INTO race SELECT :id, 0, (extract(epoch FROM clock_timestamp()) * 1000)::bigint % 2000000000, NULL ON CONFLICT DO NOTHING;
UPDATE race SET big = v || ':' || repeat('x', 3000) WHERE id = :id;
\else
BEGIN;
UPDATE race SET n = n + 1 WHERE id = :id;
ROLLBACK;
VACUUM race;
\endif
EOS
close $file;
my ($out, $err);
my $seconds = $ENV{WAL2KAFKA_TEST_SECONDS} || 8;
IPC::Run::run([ $node->installed_command('pgbench'), '-n', '-c', 6, '-j', 2, '-T', $seconds, '-f', $script,
		'-d', $node->connstr('shop') ], '>', \$out, '2>', \$err);
like($out, qr/number of transactions actually processed: [1-9]/, 'writers') or diag("$out$err");
$t->wait_caught_up(300);
my %count = (right => 0, placeholder => 0, wrong => 0, unmarked => 0);
foreach my $record (@{ $t->records('public.race') })
{
	my $row = $record->{value} && $record->{value}{after} or next;
	next if !defined $row->{big};
	if ($row->{big} eq $placeholder) { $count{placeholder}++; }
	elsif ($row->{big} ne $row->{v} . ':' . ('x' x 3000))
	{
		$count{wrong}++;
		diag("row $row->{id}, version $row->{v}: " . substr($row->{big}, 0, 30));
	}
	elsif ($record->{headers}{$header}) { $count{right}++; }
	else { $count{unmarked}++; }
}
note(join ', ', map { "$_ $count{$_}" } sort keys %count);
is($count{wrong}, 0, 'each value is that of its event');
cmp_ok($count{right}, '>', 0, 'some were read');
cmp_ok($t->sql(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'wal2kafka reselect'}), '<=', 1,
	'... by one process');
unlike(slurp_file($node->logfile), qr/TRAP|PANIC|terminated by signal|wal2kafka stream.*ERROR/, 'no error of the worker');

done_testing();
