# Does each event have the columns and the values of its place in the WAL,
# while DDL of every kind goes on among concurrent writers?
#
# A trigger writes into each row what the row is at that moment: to_jsonb() of
# it, and the columns of the key.  The event must say the same.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../test/lib";

use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wal2Kafka;

my $seed = $ENV{WAL2KAFKA_TEST_SEED} || int(rand(1_000_000));
note("seed: $seed");
srand($seed);

my $t = Wal2Kafka->new(tables => q{
	CREATE TYPE mood AS ENUM ('sad', 'ok');
	CREATE TABLE item (id bigserial PRIMARY KEY, k2 int NOT NULL DEFAULT 0,
		witness jsonb, key_columns text, a int DEFAULT 1, m mood DEFAULT 'ok');
	CREATE TABLE parted (id bigserial, k2 int NOT NULL DEFAULT 0, witness jsonb,
		key_columns text, a int, PRIMARY KEY (id)) PARTITION BY RANGE (id);
	CREATE TABLE part_1 PARTITION OF parted DEFAULT;
	CREATE FUNCTION bear_witness() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		NEW.witness := NULL;
		NEW.key_columns := (SELECT string_agg(attname, ',' ORDER BY attname)
			FROM pg_index JOIN pg_attribute ON attrelid = indrelid
			WHERE indrelid = TG_RELID AND indisprimary AND attnum = ANY (indkey));
		NEW.witness := to_jsonb(NEW);
		RETURN NEW;
	END $$;
	CREATE TRIGGER witness BEFORE INSERT OR UPDATE ON item
		FOR EACH ROW EXECUTE FUNCTION bear_witness();
	CREATE TRIGGER witness BEFORE INSERT OR UPDATE ON parted
		FOR EACH ROW EXECUTE FUNCTION bear_witness();
});
my $node = $t->{node};
my $dir = PostgreSQL::Test::Utils::tempdir('evolution');

append_to_file("$dir/item.sql", q{\set n random(1, 400)
	INSERT INTO item DEFAULT VALUES;
	UPDATE item SET k2 = 0 WHERE id = :n;
	DELETE FROM item WHERE id = :n - 7;
});
append_to_file("$dir/two.sql", q{BEGIN;
	INSERT INTO item DEFAULT VALUES;
	INSERT INTO parted DEFAULT VALUES;
	SAVEPOINT s;
	INSERT INTO item DEFAULT VALUES;
	ROLLBACK TO s;
	INSERT INTO item DEFAULT VALUES;
	COMMIT;
});

# Statements about column %d; each works or not, as the table happens to be.
my @ddl = (
	'ALTER TABLE item ADD COLUMN c%d int DEFAULT %d',
	q{ALTER TABLE item ADD COLUMN c%d text NOT NULL DEFAULT 'text %d'},
	'ALTER TABLE item ADD COLUMN c%d boolean',
	'ALTER TABLE item ADD COLUMN c%d mood[]',
	'ALTER TABLE item DROP COLUMN c%d',
	'ALTER TABLE item RENAME COLUMN c%d TO d%d',
	'ALTER TABLE item RENAME COLUMN d%d TO c%d',
	'ALTER TABLE item ALTER COLUMN c%d TYPE bigint USING 5',
	q{ALTER TABLE item ALTER COLUMN c%d DROP DEFAULT, ALTER COLUMN c%d TYPE text USING 'x'},
	'ALTER TABLE item ALTER COLUMN c%d DROP NOT NULL',
	q{ALTER TYPE mood ADD VALUE 'label %d'},
	q{ALTER TABLE item ALTER COLUMN m SET DEFAULT 'label %d'},
	q{ALTER TYPE mood RENAME VALUE 'label %d' TO 'renamed %d'},
	'ALTER TABLE item REPLICA IDENTITY FULL',
	'ALTER TABLE item REPLICA IDENTITY DEFAULT',
	'ALTER TABLE item DROP CONSTRAINT item_pkey, ADD CONSTRAINT item_pkey PRIMARY KEY (id, k2)',
	'ALTER TABLE item DROP CONSTRAINT item_pkey, ADD CONSTRAINT item_pkey PRIMARY KEY (id)',
	'BEGIN; INSERT INTO item DEFAULT VALUES; ALTER TABLE item ADD COLUMN c%d int;'
	  . ' INSERT INTO item DEFAULT VALUES; COMMIT',
	'BEGIN; ALTER TABLE item ADD COLUMN e%d int DEFAULT 5; INSERT INTO item DEFAULT VALUES; ROLLBACK',
	'BEGIN; ALTER TABLE item RENAME TO away; INSERT INTO away DEFAULT VALUES;'
	  . ' ALTER TABLE away RENAME TO item; COMMIT',
	'BEGIN; ALTER TABLE parted DETACH PARTITION part_1; INSERT INTO part_1 (id) VALUES (-%d);'
	  . ' ALTER TABLE parted ATTACH PARTITION part_1 DEFAULT; COMMIT',
	'ALTER TABLE parted ADD COLUMN c%d int DEFAULT 3',
	'VACUUM item',
	'CREATE INDEX ON item (a)',
);

$t->start_stream;
my @writers = map {
	IPC::Run::start([ $node->installed_command('pgbench'), '-n', '-c', 2, '-t', 150,
			'--max-tries=1', '-f', "$dir/$_.sql", '-d', $node->connstr('shop') ],
		'<', \undef, '>', '/dev/null', '2>', '/dev/null')
} qw(item two);
my $done = 0;
for my $round (1 .. 120)
{
	# each once, then any
	my $statement = $round <= @ddl ? $ddl[$round - 1] : $ddl[int(rand(@ddl))];
	my $n = $round <= @ddl ? 1 : 1 + int(rand(6));
	$statement =~ s/%d/$n/g;
	my ($status) = $node->psql('shop', $statement, on_error_die => 0, on_error_stop => 1);
	$done++ if $status == 0;
	$node->psql('shop', 'INSERT INTO item DEFAULT VALUES');
}
$_->finish foreach @writers;
ok($done > 30, "$done of 120 statements of DDL took effect");
$t->wait_caught_up(90);

my ($rows, $wrong, $shapes) = (0, 0, {});
foreach my $table ('public.item', 'public.part_1', 'public.away')
{
	foreach my $record (@{ $t->records($table) })
	{
		my $value = $record->{value} or next;
		next if $value->{op} eq 'd';
		my $row = $value->{after};
		next if $row->{id} < 0;		# a detached partition has no trigger
		my $witness = decode_json($row->{witness});
		my $key = join ',', sort keys %{ $record->{key} };
		my $text = sub {
			my ($hash) = @_;
			my %copy = %$hash;
			$copy{witness} = undef;
			return JSON::PP->new->canonical->allow_bignum->encode(\%copy);
		};

		$rows++;
		$shapes->{join ',', sort keys %$row}++;
		next if $text->($row) eq $text->($witness) && $key eq $row->{key_columns};
		$wrong++ < 5 and diag("event " . $text->($row) . " key $key\nrow was " . $text->($witness));
	}
}
is($wrong, 0, 'each event is what the row was');
my $committed = $t->sql(q{SELECT (SELECT last_value FROM item_id_seq) + (SELECT last_value FROM parted_id_seq)});
ok($rows > 500, "$rows events were looked at, of $committed ids");
ok(keys %$shapes > 5, scalar(keys %$shapes) . ' shapes of rows');
is($t->stat('errors'), 0, 'no error');

done_testing();
