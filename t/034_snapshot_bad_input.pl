# Does a snapshot that cannot be end with a clear error of its own, and does
# the stream go on?

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../test/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wal2Kafka;

my @tables = qw(dropped truncated renamed widened narrowed retyped rewritten emptied);
# those whose name a topic still has at the end
my @told = grep { !/^(dropped|renamed)$/ } @tables;
my %ddl = (
	dropped => 'DROP TABLE dropped',
	truncated => 'TRUNCATE truncated',
	renamed => 'ALTER TABLE renamed RENAME TO renamed_now',
	widened => 'ALTER TABLE widened ADD COLUMN more int DEFAULT 7',
	narrowed => 'ALTER TABLE narrowed DROP COLUMN v',
	retyped => 'ALTER TABLE retyped ALTER COLUMN v TYPE bigint',
	rewritten => 'VACUUM FULL rewritten',
	emptied => 'DELETE FROM emptied');
# more than the queue holds
my $make = join('', map {
	"CREATE TABLE $_ (id int PRIMARY KEY, v int, body text);
	INSERT INTO $_ SELECT i, 0, repeat('x', 1500) FROM generate_series(1, 3000) i;\n" } @tables);

my $t = Wal2Kafka->new(tables => q{
	CREATE TABLE good (id int PRIMARY KEY, v int);
	INSERT INTO good SELECT i, 0 FROM generate_series(1, 100) i;
	CREATE TABLE secret (id int PRIMARY KEY);
	INSERT INTO secret VALUES (1);
	REVOKE ALL ON secret FROM PUBLIC, cdc;
	CREATE TABLE other (id int PRIMARY KEY);
	CREATE VIEW view AS SELECT * FROM good;
	CREATE MATERIALIZED VIEW matview AS SELECT * FROM good;
	CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY);
	CREATE FOREIGN DATA WRAPPER nowhere;
	CREATE SERVER nowhere FOREIGN DATA WRAPPER nowhere;
	CREATE FOREIGN TABLE far (id int) SERVER nowhere;
	CREATE SEQUENCE sequence;
	CREATE TABLE hidden (id int PRIMARY KEY);
	INSERT INTO hidden VALUES (1), (2);
	ALTER TABLE hidden ENABLE ROW LEVEL SECURITY;
	CREATE POLICY odd ON hidden USING (id % 2 = 1);
	CREATE FUNCTION evil(int) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS
		$$BEGIN RAISE LOG 'evil was called by %', current_user; RETURN true; END$$;
} . $make . 'CREATE PUBLICATION chosen FOR TABLE good, secret, hidden, ' . join(', ', @tables),
	conf => <<EOC);
wal2kafka.publication_name = 'chosen'
wal2kafka.skipped_operations = 'none'
wal2kafka.max_queue_size_in_bytes = '1MB'
EOC
my $node = $t->{node};

$t->sql('CREATE EXTENSION wal2kafka');
$t->start_stream;

sub states
{
	my ($table) = @_;
	return $t->admin(qq{SELECT state, error, remedy FROM wal2kafka.stat_snapshots
		WHERE "table" = 'public.$table' ORDER BY requested_at, snapshot});
}

sub goes_on
{
	my ($name) = @_;
	$t->sql('UPDATE good SET v = v + 1 WHERE id = 1');
	$t->wait_caught_up;
	is($t->stat('state'), 'streaming', "$name: the stream goes on");
	return;
}

# Refused at once, or recorded as an error of the table: what the operator
# gets to see.
sub complaint
{
	my ($table, $predicate) = @_;
	my ($code, $out, $err) = $node->psql('shop', "SELECT wal2kafka.snapshot('$table'"
		  . (defined $predicate ? ", predicate => \$q\$$predicate\$q\$" : '') . ')');
	return $err if $code != 0;
	my $id = $out;
	my $row;
	wait_until("snapshot $id of $table is over", sub {
		$row = $t->admin("SELECT state, error, remedy FROM wal2kafka.stat_snapshots WHERE snapshot = '$id'");
		return $row !~ /^(requested|waiting|reading)?(\||$)/;
	});
	return $row;
}

# ----------
# What cannot be asked for
# ----------

like(complaint('public.nothing'), qr/nothing.*(does not exist|gone)/s, 'no such table');
like(complaint('nowhere.good'), qr/nowhere/, 'no such schema');
like(complaint('public.other'), qr/other.*(publication|not (selected|streamed|published))/s, 'a table that is not published');
like(complaint('public.secret'), qr/permission denied|privilege/, 'a table that the role may not read');
like(complaint('public.hidden'), qr/row-level security/, 'row-level security is no filter');
like(complaint('public.view'), qr/view/, 'a view');
like(complaint('public.matview'), qr/view/, 'a materialized view');
like(complaint('public.far'), qr/foreign/, 'a foreign table');
like(complaint('public.unlogged'), qr/unlogged/, 'an unlogged table');
like(complaint('public.sequence'), qr/sequence/, 'a sequence');
like(complaint('public.good_pkey'), qr/index|not a table/, 'an index');
like(complaint('pg_catalog.pg_class'), qr/pg_class/, 'a catalog');
my ($code, $out, $err) = $node->psql('shop',
	"CREATE TEMP TABLE passing (id int PRIMARY KEY); SELECT wal2kafka.snapshot('pg_temp.passing')");
like($err, qr/passing|temporary|pg_temp/, 'a temporary table');
goes_on('tables that cannot be read');

my $good = $t->count('public.good')->{events};
foreach my $case (
	[ 'id >', qr/syntax error/, 'does not parse' ],
	[ 'id = 1; DROP TABLE good', qr/syntax error/, 'is two statements' ],
	[ 'id = 1) OR (true', qr/syntax error/, 'leaves its parentheses' ],
	[ 'id = 1 -- ', qr/syntax error|^done/, 'ends in a comment' ],
	[ '', qr/syntax error|empty|one expression/, 'is empty' ],
	[ 'nothing = 1', qr/column "nothing" does not exist/, 'has an unknown column' ],
	[ 'id', qr/boolean|type/, 'is no condition' ],
	[ 'random() < 2', qr/random|immutable|volatile|not allowed/i, 'calls a volatile function' ],
	[ 'now() > to_timestamp(0)', qr/immutable|mutable|not allowed|expression/i, 'calls a stable function' ],
	[ 'evil(id)', qr/function|user-defined|not allowed|expression/i, 'calls a function that is not built in' ],
	[ 'id IN (SELECT id FROM other)', qr/subquer|not allowed|expression/i, 'has a subquery' ],
	[ 'count(*) > 1', qr/aggregate/, 'has an aggregate' ],
	[ 'row_number() OVER () = 1', qr/window/, 'has a window function' ],
	[ q{ctid = '(0,1)'}, qr/system column|not allowed|expression/i, 'looks at a system column' ],
	[ 'id = $1', qr/parameter/, 'has a parameter' ])
{
	my ($predicate, $pattern, $name) = @$case;
	like(complaint('public.good', $predicate), $pattern, "a predicate that $name");
}
goes_on('predicates');
my $read = $t->admin(q{SELECT coalesce(sum(rows_done), 0) FROM wal2kafka.stat_snapshots});
cmp_ok($read, '<=', 1, 'nothing was read for them, but for the one with a comment');
is($t->count('public.good')->{events}, $good + 1 + $read, '... as the topic has it');
unlike(slurp_file($node->logfile), qr/evil was called/, 'no function of a user was called');

# an error that only a row brings about
like(complaint('public.good', '10 / (id - 50) > 0'), qr/division by zero/, 'a predicate that fails on a row');
goes_on('division by zero');

# ----------
# What becomes of a table while it is read
# ----------

# All DDL at once, each in a session of its own; back when it is through.
sub change_tables
{
	my ($meanwhile) = @_;
	my @sessions = map {
		my ($in, $out_text, $err_text) = ($ddl{$_} . ";\n", '', '');
		IPC::Run::start([ $node->installed_command('psql'), '-XAtq', '-d', $node->connstr('shop') ],
			'<', \$in, '>', \$out_text, '2>', \$err_text);
	} @tables;
	$meanwhile->();
	$_->finish foreach @sessions;
	return;
}

# What topics tell in the end.
sub check_topics
{
	my ($name) = @_;
	foreach my $table (@told)
	{
		$t->sql("UPDATE $table SET body = 'y' WHERE id = 1");
		$t->wait_caught_up;
		my ($ok, $folded) = $t->reader('fold', $t->topic("public.$table"));
		my %got = map { my $r = JSON::PP::decode_json($_); ($r->{id} => join '|', $r->{id}, $r->{body}) } split /\n/, $folded;
		my %want = map { /^(\d+)/; ($1 => $_) } split /\n/, $t->sql("SELECT id, body FROM $table");
		is_deeply(\%got, \%want, "$name, $table: the topic gives the table");
	}
	return;
}

# The broker is frozen, so that reading cannot end before the DDL is there.
# What a lock of the reader makes wait goes on when the broker does.
$t->wait_caught_up;
$t->{kafka}->freeze;
$t->sql("SELECT wal2kafka.snapshot('public.$_')") foreach @tables;
wait_until('a table is being read', sub {
	$t->admin(q{SELECT count(*) FROM wal2kafka.stat_snapshots WHERE state = 'reading'}) > 0
});
change_tables(sub { $t->{kafka}->thaw });
my $states;
wait_until('all snapshots are over', sub {
	$states = $t->admin(q{SELECT "table", state, rows_done, error FROM wal2kafka.stat_snapshots
		ORDER BY snapshot, "table"});
	return $states !~ /\|(requested|waiting|reading)\|/;
});
note($states);
goes_on('DDL during snapshots');
like(states('dropped'), qr/^(gone|failed|done)/, 'a table that is dropped');
like(states($_), qr/^done\|/, "$_: is read to its end") foreach @told;
like($t->admin(q{SELECT state FROM wal2kafka.stat_snapshots WHERE "table" LIKE 'public.renamed%'}),
	qr/^(done|failed|gone)$/, 'renamed: has an end');
check_topics('ad hoc');

# The same during an initial snapshot, which a queue that is sent seldom makes
# long.
$t->stop_stream;
$t->sql('DROP TABLE renamed_now, ' . join(', ', @told));
$t->sql("$make ALTER PUBLICATION chosen DROP TABLE secret, hidden");
$t->sql('ALTER PUBLICATION chosen ADD TABLE ' . join(', ', @tables));
$t->admin("SELECT pg_drop_replication_slot('$t->{slot}')");
$t->{slot} = undef;
$t->{prefix} = 'again';
my %settings = (
	topic_prefix => 'again', slot_name => 'again', snapshot_mode => 'initial',
	kafka_options => 'linger.ms=300');
$t->set("wal2kafka.$_", $settings{$_}) foreach sort keys %settings;
$t->start_stream(state => '(snapshot|streaming)');
change_tables(sub { });
$t->wait_state('streaming');
wait_until('all tables are over', sub {
	$states = $t->admin(q{SELECT "table", state, rows_done, error FROM wal2kafka.stat_snapshots
		WHERE slot_name = 'again' ORDER BY "table"});
	return $states !~ /\|(requested|waiting|reading)\|/;
});
note($states);
goes_on('DDL during the initial snapshot');
check_topics('initial');

done_testing();
