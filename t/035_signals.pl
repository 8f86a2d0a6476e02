# Does the signal table command snapshots, as Debezium's does, once for each
# row and only where it is allowed to; and are notifications Debezium's?

use strict;
use warnings;

use Encode;
use FindBin;
use lib "$FindBin::Bin/../test/lib";

use HTTP::Tiny;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wal2Kafka;

my $t = Wal2Kafka->new(
	tables => q{
	CREATE SCHEMA ops;
	CREATE TABLE ops.signal (id text PRIMARY KEY, type text, data text);
	CREATE TABLE ops.other_signal (id text PRIMARY KEY, type text, data text);
	CREATE SCHEMA copy;
	CREATE TABLE copy.signal (id text PRIMARY KEY, type text, data text);
	CREATE TABLE item (id int PRIMARY KEY, name text);
	INSERT INTO item SELECT g, 'item ' || g FROM generate_series(1, 20) g;
	CREATE TABLE item_2 (id int PRIMARY KEY, name text);
	INSERT INTO item_2 SELECT g, 'item ' || g FROM generate_series(1, 5) g;
	CREATE TABLE nothing (id int PRIMARY KEY);
	CREATE TABLE keyless (a int);
	INSERT INTO keyless VALUES (1), (1), (2);
	CREATE TABLE part (id int PRIMARY KEY) PARTITION BY RANGE (id);
	CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (10);
	CREATE TABLE part_2 PARTITION OF part FOR VALUES FROM (10) TO (20);
	INSERT INTO part VALUES (1), (2), (11);
	CREATE TABLE hidden (id int PRIMARY KEY);
	INSERT INTO hidden VALUES (1);
	CREATE PUBLICATION pub FOR TABLE item, item_2, nothing, keyless, part;
},
	conf => <<'EOC');
wal2kafka.publication_name = 'pub'
wal2kafka.signal_data_collection = 'ops.signal'
wal2kafka.notification_topic_name = 'my notes'
EOC
my $notes = 'my_notes';
my $n = 0;

# A signal; its id.  undef: NULL.
sub signal
{
	my ($type, $data, %option) = @_;
	my $id = $option{id} || 's' . ++$n;
	my $table = $option{table} || 'ops.signal';
	$t->sql(sprintf q{INSERT INTO %s VALUES ('%s', %s, %s)}, $table, $id,
		map { defined $_ ? "\$q\$$_\$q\$" : 'NULL' } $type, $data);
	return $id;
}

sub execute
{
	my ($tables, %more) = @_;
	return signal('execute-snapshot',
		encode_json({ 'data-collections' => $tables, %more }));
}

# Keys of rows of snapshots that came since the last call, for each table
my %seen;
sub rows_read
{
	my (%found, %at);
	my ($ok, $out, $err) = $t->reader('dump', '--missing-ok', map { "shop.public.$_" }
		  qw(item item_2 nothing keyless part_1 part_2 hidden));
	die "consume.py: $err" unless $ok;
	foreach my $record (map { decode_json($_) } split /\n/, $out)
	{
		my ($table) = $record->{topic} =~ /(\w+)$/;
		my $value = $record->{value};
		next if $at{$table}++ < ($seen{$table} || 0) || !$value || $value->{op} ne 'r';
		push @{ $found{$table} }, (values %{ $record->{key} || $value->{after} })[0];
	}
	%seen = (%seen, %at);
	return { map { $_ => join ' ', sort { $a <=> $b } @{ $found{$_} } } keys %found };
}

# Notifications of an id: [type, additional_data without the name, ...]
sub notifications
{
	my ($id) = @_;
	return map { $_->{value} } grep { $_->{key}{id} eq $id }
	  @{ $t->records(undef, topic => $notes) };
}

sub types { return join ' ', map { $_->{type} } notifications(@_); }

# Tables of a signal's snapshot, "name state"
sub tables_of
{
	my ($id) = @_;
	return $t->admin(qq{SELECT string_agg("table" || ' ' || state, ', ' ORDER BY "table")
		FROM wal2kafka.stat_snapshots WHERE snapshot LIKE 'signal-%:$id'});
}

sub wait_done
{
	my ($id) = @_;
	wait_until("snapshot $id is over", sub { types($id) =~ /(COMPLETED|ABORTED)$/ && types($id) !~ /TABLE_SCAN_COMPLETED$/ });
	return;
}

my $log_at = 0;
sub log_has
{
	my ($pattern, $name) = @_;
	my $log;
	wait_until($name, sub { $log = slurp_file($t->{node}->logfile, $log_at); $log =~ $pattern });
	pass($name);
	return;
}
sub log_from_here { $log_at = -s $t->{node}->logfile; return; }

sub nothing_read
{
	my ($name) = @_;
	$t->wait_caught_up;
	is_deeply(rows_read(), {}, $name);
	return;
}

my $everything = join ' ', 1 .. 20;

# ---- nobody asked for signals ----
$t->start_stream;
my $early = execute(['public.item']);
$t->wait_caught_up;
nothing_read('off by default');
$t->set('wal2kafka.signal_enabled_channels', 'source');
$t->sql('INSERT INTO nothing VALUES (1)');
wait_until('it streams with the new setting', sub {
	$t->wait_caught_up;
	signal('log', '{"message": "awake"}');
	$t->wait_caught_up;
	slurp_file($t->{node}->logfile) =~ /LOG: .*signal "s\d+": awake/;
});
is_deeply(rows_read(), {}, 'what was asked for before is not done later');

# ---- execute-snapshot ----
my $id = execute(['public.item']);
wait_done($id);
is_deeply(rows_read(), { item => $everything }, 'a table');
is(scalar(grep { $_->{value} && $_->{value}{source}{snapshot} ne 'incremental' } @{ $t->records('public.item') }), 0, 'marked as incremental');
is(types($id), 'STARTED DATA_COLLECTIONS_RESOLVED IN_PROGRESS TABLE_SCAN_COMPLETED COMPLETED', 'its notifications');
is($t->records(undef, topic => $notes)->[0]{value}{type}, 'SKIPPED', '... of which the first told that the stream began without a snapshot');
is_deeply($t->events('ops.signal'), [], 'a signal table that is not published is not sent');

$id = execute([' public\.item.* ', 'public.keyless', 'public.part', 'public.nothing'], type => 'BLOCKING',
	'surrogate-key' => 'name',
	'additional-conditions' => [
		{ 'data-collection' => 'PUBLIC.ITEM', filter => 'id > 17' },
		{ 'data-collection' => 'public.part', filter => 'id < 12 AND id <> 2' } ]);
wait_done($id);
is_deeply(rows_read(), { item => '18 19 20', item_2 => '1 2 3 4 5', keyless => '1 1 2', part_1 => '1', part_2 => '11', nothing => '1' },
	'expressions, conditions, a table without a key, partitions');
my @ends = grep { $_->{type} eq 'TABLE_SCAN_COMPLETED' } notifications($id);
is(join(' ', sort map { "$_->{additional_data}{scanned_collection}:$_->{additional_data}{total_rows_scanned}:$_->{additional_data}{status}" } @ends),
	'public.item:3:SUCCEEDED public.item_2:5:SUCCEEDED public.keyless:3:SUCCEEDED public.nothing:1:SUCCEEDED public.part_1:1:SUCCEEDED public.part_2:1:SUCCEEDED',
	'... counted');
$id = execute(['public.item_2'], 'additional-condition' => 'id = 2');
wait_done($id);
is_deeply(rows_read(), { item_2 => '2' }, 'the older form of a condition');
$id = execute(['public\..*'], 'additional-conditions' => [ { 'data-collection' => '.*', filter => 'false' } ]);
wait_done($id);
is(tables_of($id), 'public.item done, public.item_2 done, public.keyless done, public.nothing done, public.part_1 done, public.part_2 done',
	'an expression matches what the stream sends');
nothing_read('... and a filter may let nothing pass');

# ---- log ----
log_from_here();
signal('log', "{\"message\": \"here {} \\nLOG: and there {}\"}");
log_has(qr/signal "s\d+": here [0-9A-F]+\/[0-9A-F]+  ?LOG: and there \{\}/, 'a line in the log, and only one');

# ---- what makes no sense ----
foreach my $case (
	[ 'execute-snapshot', '{"data-collections": ["public.item"]', 'is no JSON' ],
	[ 'execute-snapshot', '["public.item"]', 'not a JSON object' ],
	[ 'execute-snapshot', undef, 'missing or empty' ],
	[ 'execute-snapshot', '{"data-collections": []}', 'missing or empty' ],
	[ 'execute-snapshot', '{"data-collections": "public.item"}', 'not an array' ],
	[ 'execute-snapshot', '{"data-collections": ["public.item", 1]}', 'not a string' ],
	[ 'execute-snapshot', '{"data-collections": ["public.item"], "type": "foo"}', 'neither "incremental" nor "blocking"' ],
	[ 'execute-snapshot', '{"data-collections": ["public.item"], "additional-conditions": [{"filter": "true"}]}', 'no "data-collection"' ],
	[ 'execute-snapshot', '{"data-collections": ["public.(item"]}', 'missing closing parenthesis|regular expression' ],
	[ 'execute-snapshot', '{"data-collections": ["(x+x+)+y|(.*)*.*(.*)*\\\\d{9}"]}', 'too complex|limit|matches no table' ],
	[ 'execute-snapshot', '{"data-collections": ["public.\\u0000item"]}', 'no JSON' ],
	[ 'execute-snapshot', '{"data-collections": ["public.hidde", "PUBLIC.ITEM"]}', '"PUBLIC.ITEM" of signal "s\d+" matches no table' ],
	[ 'execute-snapshot', '{"data-collections": ["public.h.*"]}', 'no table that the stream sends' ],
	[ 'stop-snapshot', '{"data-collections": [null]}', 'not a string' ],
	[ 'schema-changes', '{}', '"schema-changes" is not known' ],
	[ undef, '{}', 'It has no type' ],
	[ 'log', '{"massage": "x"}', '"message" is missing' ],
	[ 'log', '{"message": "' . ('x' x (1024 * 1024)) . '"}', 'too long' ])
{
	my ($type, $data, $expected) = @$case;
	log_from_here();
	my $id = signal($type, $data);
	log_has(qr/WARNING: .*(?s:.*)$expected/, 'refused: ' . substr($data || 'null', 0, 60));
}
nothing_read('nothing was read for any of them');
$t->wait_state('streaming');

# what the reader refuses
foreach my $case (
	[ 'public.item', 'random() < 0.5', qr/immutable|not allowed|built-in/ ],
	[ 'public.item', 'no_such_column = 1', qr/no_such_column/ ],
	[ 'public.item', 'id = (SELECT 1)', qr/subquer/i ],
	[ 'public.item', 'true; DROP TABLE item', qr/syntax error/ ],
	[ 'public.hidden', 'true', qr/./ ])
{
	my ($table, $filter, $error) = @$case;
	my $id = execute([$table], 'additional-conditions' => [ { 'data-collection' => $table, filter => $filter } ]);
	wait_done($id);
	is(tables_of($id), "$table failed", "fails: $table, $filter");
	like($t->admin("SELECT error FROM wal2kafka.stat_snapshots WHERE snapshot LIKE 'signal-%:$id'"), $error, '... and says why');
	is((grep { $_->{type} eq 'TABLE_SCAN_COMPLETED' } notifications($id))[0]{additional_data}{status}, 'SQL_EXCEPTION', '... in a notification, too');
}
nothing_read('... without a row');

# ---- who is no signal ----
signal('execute-snapshot', '{"data-collections": ["public.item"]}', table => $_) foreach qw(ops.other_signal copy.signal);
$t->sql(q{SELECT pg_logical_emit_message(false, 'ops.signal', '{"id": "m", "type": "execute-snapshot", "data": "{\"data-collections\": [\"public.item\"]}"}')});
$t->sql(q{SELECT pg_logical_emit_message(true, 'execute-snapshot', '{"data-collections": ["public.item"]}')});
$t->sql(q{UPDATE ops.signal SET type = 'execute-snapshot', data = '{"data-collections": ["public.item"]}' WHERE id = (SELECT min(id) FROM ops.signal)});
$t->sql(q{BEGIN; INSERT INTO ops.signal VALUES ('back', 'execute-snapshot', '{"data-collections": ["public.item"]}'); ROLLBACK});
nothing_read('other tables, messages, updates, and what was rolled back are no signals');

# ---- pause, resume, stop ----
sub transaction { $t->sql('BEGIN; ' . join('; ', map { sprintf q{INSERT INTO ops.signal VALUES ('%s', '%s', '%s')}, @$_ } @_) . '; COMMIT'); return; }
transaction([ 'p1', 'execute-snapshot', '{"data-collections": ["public.item", "public.item_2"]}' ],
	[ 'p2', 'pause-snapshot', '{}' ], [ 'p3', 'pause-snapshot', '' ]);
wait_until('it is paused', sub { types('p1') =~ /PAUSED/ });
nothing_read('a paused snapshot reads nothing');
signal('stop-snapshot', '{"data-collections": ["public.item", "public.keyless"]}');
wait_until('a table is cancelled', sub { types('p1') =~ /ABORTED/ });
is((grep { $_->{type} eq 'ABORTED' } notifications('p1'))[0]{additional_data}{data_collections}, 'public.item', 'which');
signal('resume-snapshot', undef);
wait_until('it is over', sub { types('p1') =~ / COMPLETED$/ });
is(types('p1'), 'STARTED DATA_COLLECTIONS_RESOLVED PAUSED ABORTED RESUMED IN_PROGRESS TABLE_SCAN_COMPLETED COMPLETED', 'paused, stopped in part, resumed');
is_deeply(rows_read(), { item_2 => '1 2 3 4 5' }, 'the rest was read');
transaction([ 'p4', 'execute-snapshot', '{"data-collections": ["public.item", "public.item_2"]}' ], [ 'p5', 'pause-snapshot', '{}' ]);
wait_until('it is paused', sub { types('p4') =~ /PAUSED/ });
signal('stop-snapshot', '{}');
wait_until('all of it is cancelled', sub { types('p4') =~ /ABORTED$/ });
is(tables_of('p4'), 'public.item cancelled, public.item_2 cancelled', 'stopped as a whole');
signal('resume-snapshot', '{}');
nothing_read('nothing is left to resume');

# ---- once ----
# commits count, not writes; one record with several rows; one transaction
my $late = $t->{node}->background_psql('shop');
$late->query_safe('BEGIN');
$late->query_safe(q{INSERT INTO ops.signal VALUES ('late', 'execute-snapshot', '{"data-collections": ["public.item"]}')});
$id = execute(['public.item_2']);
wait_done($id);
$late->query_safe('COMMIT');
$late->quit;
wait_done('late');
is_deeply(rows_read(), { item => $everything, item_2 => '1 2 3 4 5' }, 'what was written first and committed last');
$t->sql(<<'EOC');
COPY ops.signal FROM stdin;
c1	execute-snapshot	{"data-collections": ["public.item_2"]}
c2	execute-snapshot	{"data-collections": ["public.keyless"]}
c3	execute-snapshot	{"data-collections": ["public.item_2"]}
\.
EOC
wait_done($_) foreach qw(c1 c2 c3);
is_deeply(rows_read(), { item_2 => '1 1 2 2 3 3 4 4 5 5', keyless => '1 1 2' }, 'several signals in one record');

# The slot stays before the signal while a transaction is open, or Kafka is
# away; so the signal is decoded again.
$t->wait_caught_up;
$t->{kafka}->freeze;
$t->sql(q{INSERT INTO item VALUES (100, 'holds the slot back')});
my $slot = $t->slot;
my $before = $t->admin("SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = '$slot'");
transaction([ 'once', 'execute-snapshot', '{"data-collections": ["public.item_2"]}' ],
	[ 'twice', 'execute-snapshot', '{"data-collections": ["public.keyless"]}' ]);
wait_until('it is known', sub { tables_of('twice') =~ /keyless/ });
is($t->admin("SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = '$slot'"), $before, 'the slot is before the signal');
$t->{node}->stop('immediate');
$t->{kafka}->thaw;
$t->{node}->start;
$t->wait_state('streaming');
wait_done($_) foreach qw(once twice);
$t->wait_caught_up;
is($t->admin(q{SELECT count(DISTINCT "table") || ' ' || count(*) FROM wal2kafka.stat_snapshots WHERE snapshot LIKE 'signal-%:once' OR snapshot LIKE 'signal-%:twice'}), '2 2', 'decoded twice, done once');
is_deeply([ map { $_ =~ s/IN_PROGRESS //r =~ s/^(STARTED DATA_COLLECTIONS_RESOLVED )+/$1/r } types('once'), types('twice') ],
	[ ('STARTED DATA_COLLECTIONS_RESOLVED TABLE_SCAN_COMPLETED COMPLETED') x 2 ], '... as its notifications say');
# what was sent before the crash may have arrived, too
my $rows = rows_read();
s/\b(\d+)(?: \1\b)+/$1/g foreach values %$rows;
is_deeply($rows, { item_2 => '1 2 3 4 5', keyless => '1 2' }, '... and its rows');

# ---- other shapes of the table ----
$t->sql(q{
	DROP TABLE ops.signal;
	CREATE TABLE ops.signal (gone int, id uuid, at timestamptz, type char(20), data jsonb, more text DEFAULT 'x');
	ALTER TABLE ops.signal DROP COLUMN gone, DROP COLUMN at;
	ALTER PUBLICATION pub ADD TABLE ops.signal});
my $uuid = '11111111-2222-4333-8444-555555555555';
$t->sql(qq{INSERT INTO ops.signal VALUES ('$uuid', 'execute-snapshot', '{"data-collections": ["public.item_2"]}')});
wait_done($uuid);
is_deeply(rows_read(), { item_2 => '1 2 3 4 5' }, 'uuid, char, jsonb, dropped columns');
is($t->story('ops.signal'), 'c:?', 'a signal table that is published is sent');
$t->sql(qq{INSERT INTO ops.signal VALUES ('$uuid', 'execute-snapshot',
	jsonb_build_object('data-collections', jsonb_build_array('public.keyless'), 'comment', (SELECT string_agg(md5(g::text), '') FROM generate_series(1, 2000) g)))});
wait_until('there are two', sub { my $types = types($uuid); ($types =~ s/ COMPLETED//g) == 2 });
is_deeply(rows_read(), { keyless => '1 1 2' }, 'a value that is stored out of line');
log_from_here();
$t->sql(q{DROP TABLE ops.signal; CREATE TABLE ops.signal (id int, type text, data text); INSERT INTO ops.signal VALUES (1, 'log', '{"message": "x"}')});
log_has(qr/are of the types text/, 'a column of another type');
log_from_here();
$t->sql(q{DROP TABLE ops.signal; CREATE TABLE ops.signal (id text, type text); INSERT INTO ops.signal VALUES (1, 'log')});
log_has(qr/has the columns id, type, and data/, 'too few columns');
$t->wait_caught_up;

# ---- notifications, beside Debezium's ----
# test/golden/json has what Debezium and the converter wrote.
my $golden = "$FindBin::Bin/../test/golden/json/notifications";

# What differs from run to run, what is estimated, and what we do not know.
# Debezium's initial snapshot lists its tables in an order of its own, and
# now with the signal table, now without.
sub plain
{
	my ($text) = @_;
	$text =~ s/"timestamp":\d+/"timestamp":N/;
	$text =~ s/"id":"[0-9a-f]{8}-[^"]*"/"id":"UUID"/;
	$text =~ s/"total_rows":"\d+",?//;
	$text =~ s/"maximum_key":(?:"(?:[^"\\]|\\.)*"),//;
	$text =~ s/"total_chunks":"\d+",//;
	$text =~ s/("data_collections":")([^"]*)/$1 . join ',', sort grep { $_ ne 'public.sig' } split m{,}, $2/e
	  if $text =~ /Initial/;
	return $text;
}

my (@theirs, %schemas, $topic);
foreach my $line (split /\n/, decode('UTF-8', slurp_file("$golden.out")))
{
	if ($line =~ /^### topic=(\S+)/)
	{
		$topic = $1;
		push @theirs, {} if $topic eq $notes;
	}
	next unless $topic eq $notes;
	$schemas{$1} = $2 if $line =~ /^  NEW ([SJ]\d+) subject=\S+ (.*)/;
	$theirs[-1]{"$1 avro"} = $schemas{$2} if $line =~ /^  (key|value) (S\d+)/;
	$theirs[-1]{"$1 schema"} = $schemas{$2} if $line =~ /^  json-(key|value) \{"schema":(J\d+),/;
	$theirs[-1]{$1} = plain($2) if $line =~ /^  json-(key|value)-noschema (.*)/;
}
foreach my $part (qw(key value))
{
	my $url = $t->{registry}->address . "/subjects/$notes-$part/versions/latest";
	is(decode_json(HTTP::Tiny->new->get($url)->{content})->{schema}, $theirs[0]{"$part avro"}, "Debezium's Avro schema of the $part");
}

my $json = Wal2Kafka->new(
	kafka => $t->{kafka},
	registry => 0,
	tables => slurp_file("$golden.setup.sql"),
	snapshot => 'initial',
	conf => <<'EOC');
wal2kafka.signal_enabled_channels = 'source'
wal2kafka.signal_data_collection = 'public.sig'
wal2kafka.notification_topic_name = 'json_notes'
wal2kafka.topic_prefix = 'srv'
wal2kafka.format = 'json'
wal2kafka.snapshot_workers = 1
EOC
my @ours;
$json->start_stream;
foreach my $sql (grep { /^INSERT/ } split /\n/, slurp_file("$golden.change.sql"))
{
	my ($id) = $sql =~ /VALUES \('(\w+)'/;
	$json->sql($sql);
	wait_until("$id is answered", sub {
		@ours = @{ $json->records(undef, topic => 'json_notes') };
		grep { $_->{key} =~ /"$id"/ && $_->{value} =~ /"COMPLETED"/ } @ours;
	});
}

# Debezium reads one table after the other, and the signal table never.
my $of_tables = qr/"type":"(?:IN_PROGRESS|TABLE_SCAN_COMPLETED)","aggregate_type":"Initial/;
sub in_order
{
	my @in = map { [ plain($_->{key}), plain($_->{value}) ] } grep { $_->{value} !~ /collection(?:_in_progress)?":"public\.sig"/ } @_;
	my @tables = sort { $a->[1] cmp $b->[1] } grep { $_->[1] =~ $of_tables } @in;
	my ($first) = grep { $in[$_][1] =~ $of_tables } 0 .. $#in;
	my @others = grep { $_->[1] !~ $of_tables } @in;
	return (@others[ 0 .. $first - 1 ], @tables, @others[ $first .. $#others ]);
}
@theirs = in_order(map { my $r = $_; +{ map { $_ => qq({"schema":$r->{"$_ schema"},"payload":$r->{$_}}) } qw(key value) } } @theirs);
my @all = @ours;
@ours = in_order(@ours);
is(@ours, @theirs, 'as many notifications');
for (my $i = 0; $i < @ours && $i < @theirs; $i++)
{
	is($ours[$i][$_], $theirs[$i][$_], ('key', 'value')[$_] . " $i is the same, byte for byte") foreach 0, 1;
}
is(scalar(grep { keys %{ $_->{headers} } } @all), 0, 'no headers');
done_testing();
