# What becomes of an event that can never be encoded or sent, in each mode;
# what is only an outage is none.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../test/lib";

use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wal2Kafka;

my $dead_letters = 'shop.dead_letter';
my $number = 0;

# Kafka takes 300 kB, and large values of tests stay uncompressed.
my $t = Wal2Kafka->new(
	properties => {
		'authorizer.class.name' => 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
		'allow.everyone.if.no.acl.found' => 'true' },
	conf => q{
wal2kafka.kafka_options = 'message.max.bytes=300000'
});
$t->sql('CREATE EXTENSION wal2kafka');
$t->start_stream;

# A table of its own, so that nothing of one part is in another's topic.
sub table
{
	my ($columns) = @_;
	my $name = 't' . ++$number;

	$t->sql("CREATE TABLE $name (id int PRIMARY KEY, $columns)");
	return $name;
}

# Settings, and the worker that has them: the one before may still decode what
# comes right behind.  undef: the default.
my %set;

sub settings
{
	my (%new) = @_;
	my @changed = grep { ($set{$_} // '') ne ($new{$_} // '') } sort keys %new;
	my $pid = $t->stat('pid') || '';

	return unless @changed;
	foreach my $name (@changed)
	{
		my $value = $set{$name} = $new{$name};
		$t->admin(defined $value ? "ALTER SYSTEM SET wal2kafka.$name = '$value'"
			: "ALTER SYSTEM RESET wal2kafka.$name");
	}
	$t->{node}->reload;
	wait_until('another worker streams', sub {
		my $now = $t->stat('pid');
		return $now && $now ne $pid;
	});
	$t->wait_state('streaming');
	return;
}

sub mode
{
	my ($handling, $oversized) = @_;

	settings(
		event_processing_failure_handling_mode => $handling,
		oversized_event_handling_mode => $oversized || 'default');
	return;
}

sub dead_letters
{
	my ($table) = @_;
	my @letters;

	foreach my $record (@{ $t->records(undef, topic => $dead_letters) })
	{
		my $value = ref $record->{value} ? $record->{value} : JSON::PP->new->decode($record->{value});
		$record->{value} = $value;
		push @letters, $record if ($value->{table} || '') eq $table;
	}
	return @letters;
}

sub counters
{
	my ($table) = @_;
	return $t->sql("SELECT skipped, dead_letters, truncated FROM wal2kafka.stat_tables WHERE table_name = '$table'");
}

# What happened to which key.  Where delivery is at least once, a transaction
# that an error cut short is sent again: then its last time.
sub story
{
	my ($table, $once) = @_;
	my $story = $t->story("public.$table");

	$story =~ s/^c:1 .* c:2 /c:1 c:2 /s unless $once;
	return $story;
}

# The next bad event is the first one.
sub forget
{
	my $slot = $t->slot;

	$t->stop_stream;
	unlink glob($t->{node}->data_dir . "/pg_replslot/$slot/wal2kafka.{bad_events,suspects}");
	$t->start_stream;
	return;
}

sub logged
{
	my ($pattern) = @_;
	return slurp_file($t->{node}->logfile) =~ $pattern;
}

# ----------
# A value that has no encoding, in the midst of a transaction
# ----------

my $survivors = join ' ', map { "c:$_" } grep { $_ != 500 } 1 .. 1001;

sub write_nan
{
	my ($handling) = @_;
	my $table = table('n numeric(9,2)');

	mode($handling);
	$t->sql(qq{
		INSERT INTO $table VALUES (1, 1);
		INSERT INTO $table SELECT i, CASE WHEN i = 500 THEN 'NaN'::numeric ELSE i END
			FROM generate_series(2, 1001) AS i;
		UPDATE $table SET n = 'NaN' WHERE id = 3;
		DELETE FROM $table WHERE id = 4});
	return $table;
}

sub check_nan
{
	my ($what, $once) = @_;
	my $table = write_nan('skip');

	$t->wait_caught_up;
	is(story($table, $once), "$survivors d:4 -:4", "$what skip: all others arrive, in order");
	is(counters($table), '2|0|0', "$what skip: counted");
	ok(logged(qr/LOG: .*insert of table "public\.$table" at LSN [0-9A-F\/]+ is not sent/), "$what skip: logged");

	$table = write_nan('warn');
	$t->wait_caught_up;
	is($t->story("public.$table"), "$survivors d:4 -:4", "$what warn: all others arrive, in order, once");
	is(counters($table), '2|0|0', "$what warn: counted");
	like($t->stat('last_error'), qr/update of table "public\.$table" at LSN/, "$what warn: in the view");

	$table = write_nan('dead_letter');
	$t->wait_caught_up;
	is($t->story("public.$table"), "$survivors d:4 -:4", "$what dead_letter: all others arrive, in order, once");
	is(counters($table), '0|2|0', "$what dead_letter: counted");
	my @letters = dead_letters($table);
	is_deeply([ map { $_->{value}{op} . ':' . $_->{value}{after}{id} . ':' . $_->{value}{after}{n} } @letters ],
		[ 'c:500:NaN', 'u:3:NaN' ], "$what dead_letter: both, in order");
	is($letters[0]{key}, '{"id":"500"}', "$what dead_letter: key");
	my $headers = $letters[0]{headers};
	is($headers->{'__connect.errors.topic'}, "shop.public.$table", 'where it should have gone');
	is($headers->{'__connect.errors.stage'}, 'VALUE_CONVERTER', 'stage');
	like($headers->{'__connect.errors.exception.message'}, qr/NaN/, 'message');
	is($headers->{'__wal2kafka.errors.sqlstate'}, '22003', 'SQLSTATE');
	is($headers->{'__wal2kafka.errors.table'}, $table, 'table');
	is($headers->{'__wal2kafka.errors.column'}, 'n', 'column');
	is($headers->{'__wal2kafka.errors.operation'}, 'insert', 'operation');
	like($headers->{'__wal2kafka.errors.xid'}, qr/^\d+$/, 'xid');
	like($headers->{"__wal2kafka.errors.$_"}, qr/^[0-9A-F]+\/[0-9A-F]+$/, $_) foreach 'lsn', 'commit_end_lsn';
	return;
}
check_nan('at least once,');

# ----------
# Rows that are too large for the producer, found here
# ----------

sub write_large
{
	my ($handling, $oversized) = @_;
	my $table = table('small text, t text, j json NOT NULL, n int');

	mode($handling, $oversized);
	$t->sql(qq{
		INSERT INTO $table VALUES (1, 'a', 'b', '{}', 1);
		INSERT INTO $table VALUES (2, 'two', repeat(md5('x') || 'ä', 12000), to_json(repeat('y', 400000)), 2);
		INSERT INTO $table VALUES (3, 'c', 'd', '{}', 3)});
	$t->wait_caught_up;
	return $table;
}

sub check_large
{
	my ($what) = @_;
	my $starts = $t->stat('restarts');
	my $table = write_large('skip');
	my $before = $t->stat('errors');

	is($t->story("public.$table"), 'c:1 c:3', "$what oversized, skip");
	is(counters($table), '1|0|0', 'counted');

	$table = write_large('warn', 'dead_letter');
	is($t->story("public.$table"), 'c:1 c:3', "$what oversized, dead_letter");
	my ($letter) = dead_letters($table);
	is($letter->{value}{after}{small}, 'two', 'what is small is in the dead letter');
	is($letter->{value}{after}{t}{bytes}, 12000 * 34, 'what is large is begun');
	ok($letter->{bytes} < 100000, 'and the letter is not large');
	is($letter->{headers}{'__connect.errors.exception.class.name'},
		'org.apache.kafka.common.errors.RecordTooLargeException', 'exception');

	$table = write_large('fail', 'truncate_value');
	is($t->story("public.$table"), 'c:1 c:2 c:3', "$what oversized, truncate_value");
	my $record = $t->records("public.$table")->[1];
	my $after = $record->{value}{after};
	is($record->{headers}{'__wal2kafka.truncated'}, 't,j', 'header');
	is(counters($table), '0|0|1', 'counted');
	is($after->{small} . $after->{n}, 'two2', 'small columns are whole');
	my $whole = ('9dd4e461268c8034f5c8564e155c67a6' . "\x{e4}") x 12000;
	is(substr($whole, 0, length $after->{t}), $after->{t}, 'large ones begin as they did');
	ok($record->{bytes} > 250000 && $record->{bytes} <= 300000, "no more is cut than has to be ($record->{bytes})");
	is($after->{j}, '', 'what cannot be cut is withheld');

	$table = write_large('fail', 'key_only');
	$record = $t->records("public.$table")->[1];
	is_deeply($record->{value}{after}, { id => 2, small => undef, t => undef, j => '', n => 2 }, "$what oversized, key_only");
	is($record->{headers}{'__wal2kafka.truncated'}, 'small,t,j', 'header');
	ok(!logged(qr/ERROR:.*$table/), 'no error was needed');
	return;
}
check_large('at least once,');

# No fixed rule helps when the key is what is too large.
{
	my $table = 'keyed';
	$t->sql("CREATE TABLE $table (k text, t text)");
	$t->sql("ALTER TABLE $table REPLICA IDENTITY FULL");
	mode('skip', 'truncate_value');
	settings(message_key_columns => 'public.keyed:k');
	$t->sql("INSERT INTO $table VALUES (repeat('k', 400000), 't')");
	$t->sql("INSERT INTO $table VALUES ('k', 't')");
	$t->wait_caught_up;
	is($t->story("public.$table"), 'c:k', 'a key is not cut');
	is(counters($table), '1|0|0', 'the row is left out');
	settings(message_key_columns => undef);
}

# An update of which both rows are large, and a delete.
{
	my $table = table('t text, b bytea');
	mode('fail', 'truncate_value');
	$t->sql(qq{
		ALTER TABLE $table REPLICA IDENTITY FULL;
		INSERT INTO $table VALUES (1, repeat('a', 200000), '');
		UPDATE $table SET t = repeat('b', 200000);
		UPDATE $table SET b = decode(repeat('00ff', 200000), 'hex');
		DELETE FROM $table});
	$t->wait_caught_up;
	is($t->story("public.$table"), 'c:1 u:1 u:1 d:1 -:1', 'rows before and after');
	is(counters($table), '0|0|3', 'three are cut');
}

# ----------
# A column that is made no second time
# ----------
{
	my $table = table('t text');
	my $started = time;
	mode('dead_letter');
	$t->sql("ALTER TABLE $table ALTER t SET COMPRESSION lz4");
	$t->sql("INSERT INTO $table VALUES (1, 'a')");
	$t->wait_caught_up;
	my $memory = $t->worker_memory;
	my $most = $memory;
	my $done = 0;
	$t->sql("INSERT INTO $table VALUES (2, repeat('x', 500000000))");
	note('built in ' . (time - $started) . ' s');
	$t->sql("INSERT INTO $table VALUES (3, 'c')");
	wait_until('it is past', sub {
		my $now = $t->worker_memory;
		$most = $now if $now > $most;
		return counters($table) eq '0|1|0';
	});
	$t->wait_caught_up;
	is($t->story("public.$table"), 'c:1 c:3', 'a column of 500 MB follows the mode');
	my ($letter) = dead_letters($table);
	is($letter->{value}{after}{t}{bytes}, 500000000, 'and is told of');

	# the server's own decoding has it in memory once
	ok($most - $memory < 700_000, 'without copies of it: ' . ($most - $memory) . ' kB');
	note('past in ' . (time - $started) . ' s');
}

# ----------
# What else there is in a change
# ----------
{
	my $table = table('n numeric(9,2), secret text, f int');

	mode('dead_letter', 'truncate_value');
	settings(
		column_transforms => "mask.with.3.chars=public.$table.secret",
		provide_transaction_metadata => 'on');
	$t->sql(qq{
		BEGIN;
		INSERT INTO $table VALUES (1, 1, 'hidden', 1);
		UPDATE $table SET id = 2, n = 'NaN';
		SELECT pg_logical_emit_message(true, 'large', repeat('m', 400000));
		SELECT pg_logical_emit_message(false, 'large', repeat('m', 400000));
		SELECT pg_logical_emit_message(true, 'small', 'm');
		COMMIT});
	$t->wait_caught_up;
	is($t->story("public.$table"), 'c:1 d:1 -:1', 'of a change of the key what can be sent');
	my ($letter) = dead_letters($table);
	is_deeply($letter->{value}{after}, { id => '2', n => 'NaN', secret => { masked => JSON::PP::true }, f => '1' },
		'what is masked is so in a dead letter');
	my @messages = grep { ref $_->{value} } map { { value => JSON::PP->new->decode($_->{value}) } }
	  @{ $t->records(undef, topic => $dead_letters) };
	is(scalar(grep { ($_->{value}{prefix} || '') eq 'large' && $_->{value}{bytes} == 400000 } @messages), 2,
		'messages that are too large');
	is(scalar @{ $t->records(undef, topic => 'shop.message') }, 1, 'others are sent');
	my ($end) = grep { $_->{value} && $_->{value}{status} eq 'END' && $_->{value}{event_count} == 3 }
	  @{ $t->records(undef, topic => 'shop.transaction') };
	ok($end, 'what was not sent is not counted in the transaction');
	settings(column_transforms => undef, provide_transaction_metadata => undef);

	# a row filter that fails says nothing of whether the row may be seen
	$t->sql("ALTER TABLE $table REPLICA IDENTITY FULL");
	$t->sql("CREATE PUBLICATION filtered FOR TABLE $table WHERE (1 / f > 0)");
	settings(publication_name => 'filtered');
	$t->sql("INSERT INTO $table VALUES (5, 5, 'hidden', 1), (6, 6, 'hidden', 0), (7, 7, 'hidden', 1)");
	$t->wait_caught_up;
	like($t->story("public.$table"), qr/ c:5 c:7$/, 'a row filter that fails');
	my @letters = dead_letters($table);
	is($letters[-1]{headers}{'__wal2kafka.errors.sqlstate'}, '22012', 'is told of');
	ok(!exists $letters[-1]{value}{after}, 'without the row');
	settings(publication_name => undef);
}

# Rows in other forms
{
	my $table = table('t text');

	mode('fail', 'truncate_value');
	settings(envelope => 'flat', format => 'json');
	$t->sql(qq{INSERT INTO $table VALUES (1, 'a'), (2, repeat('"', 299000)), (3, repeat('c', 400000)), (4, 'd')});
	$t->wait_caught_up;
	my @values = map { JSON::PP->new->decode($_->{value})->{payload} } @{ $t->records("public.$table") };
	is(join(' ', map { $_->{id} } @values), '1 2 3 4', 'flat rows in JSON');
	ok($values[1]{t} =~ /^"+$/ && length $values[1]{t} > 100000, 'one that escapes make too large');
	ok($values[2]{t} =~ /^c+$/ && length $values[2]{t} > 290000, 'one that is');
	is(counters($table), '0|0|2', 'both are cut');
	settings(envelope => undef, format => undef);
}

# Which keys have a row or a tombstone, where rows are flat and in JSON.
sub flat_story
{
	my ($table) = @_;
	return join ' ', map {
		(defined $_->{value} ? '+' : '-') . ':' . JSON::PP->new->decode($_->{key})->{payload}{id}
	} @{ $t->records("public.$table") };
}

# A delete that sends no row is not too large, however large that was.
foreach my $case (
	[ 'skip', 'default', 'tombstone', '+:1 -:1', '1|0|0' ],
	[ 'fail', 'truncate_value', 'delete-to-tombstone', '+:1 +:1 -:1', '0|0|1' ],
	[ 'dead_letter', 'default', 'drop', '+:1', '0|1|0' ],
	[ 'skip', 'default', 'rewrite', '+:1', '2|0|0' ])
{
	my ($handling, $oversized, $deletes, $story, $counters) = @$case;
	my $table = table('t text');

	mode($handling, $oversized);
	settings(envelope => 'flat', format => 'json', delete_tombstone_handling_mode => $deletes);
	$t->sql("ALTER TABLE $table REPLICA IDENTITY FULL");
	$t->sql(qq{
		INSERT INTO $table VALUES (1, 'a');
		UPDATE $table SET t = repeat('b', 400000);
		DELETE FROM $table});
	$t->wait_caught_up;
	is(flat_story($table), $story, "delete of a large row, $deletes");
	is(counters($table), $counters, 'only what is not sent is counted');
	is((grep { $_->{headers}{'__wal2kafka.truncated'} } @{ $t->records("public.$table") }) + 0,
		$oversized eq 'truncate_value' ? 1 : 0, 'only a row is cut');
}
settings(envelope => undef, format => undef, delete_tombstone_handling_mode => undef);

# ----------
# Letters about what has long texts
# ----------
{
	my $table = table('route text');

	mode('dead_letter');
	settings(envelope => 'flat', format => 'json', route_by_field => 'route');
	$t->sql("INSERT INTO $table VALUES (1, repeat('x ', 149700)), (2, NULL), (3, NULL)");
	$t->wait_caught_up;
	is(flat_story($table), '+:2 +:3', 'a long value that names no topic');
	my ($letter) = dead_letters($table);
	my $message = $letter->{headers}{'__connect.errors.exception.message'};
	like($message, qr/^value "(x )+\.\.\." of column "route" is no name of a topic/, 'is told of');
	ok(length $message < 1000, 'by how it begins');
	settings(envelope => undef, format => undef, route_by_field => undef);

	$t->sql("SELECT pg_logical_emit_message(true, repeat('p', 400000), 'm')");
	$t->wait_caught_up;
	my @prefixes = grep { ref $_ } map { JSON::PP->new->decode($_->{value})->{prefix} }
	  grep { !ref $_->{value} } @{ $t->records(undef, topic => $dead_letters) };
	is_deeply([ map { $_->{bytes} } @prefixes ], [400000], 'a message with a long prefix');
}

# A row that is left out is one that the topic lacks.
{
	my $table = table('n numeric(9,2)');

	mode('dead_letter');
	$t->sql("INSERT INTO $table VALUES (1, 1), (2, 'NaN'), (3, 3)");
	foreach my $handling ('dead_letter', 'skip')
	{
		mode($handling);
		$t->wait_caught_up;
		is($t->sql("SELECT verdict, reason, rows, keys FROM wal2kafka.verify('$table')"),
			'different|1 row cannot be sent, and is left out.|3|2', "verify() of such a table, $handling");
	}
}

# ----------
# What the settings are to blame for is nothing to be left out
# ----------
{
	my $placement = join ',', map { "h$_:header" } 1 .. 70;

	mode('skip');
	settings(outbox_tables => 'public.box', outbox_table_fields_additional_placement => $placement);
	$t->sql('CREATE TABLE box (id int PRIMARY KEY, aggregatetype text NOT NULL, aggregateid text, type text, payload text, '
		  . join(', ', map { "h$_ int DEFAULT $_" } 1 .. 70) . ')');
	$t->sql("INSERT INTO box (id, aggregatetype, aggregateid, payload) VALUES (1, 'Box', 'b', 'p')");
	$t->wait_error(qr/too many headers/);
	is(counters('box'), '', 'too many headers: nothing is left out');
	settings(outbox_table_fields_additional_placement => undef);
	$t->wait_caught_up;
	is(scalar @{ $t->records(undef, topic => 'outbox.event.Box') }, 1, 'and all is sent with fewer');
	settings(outbox_tables => undef);

	my $table = table('t text');
	mode('skip', 'fail');
	$t->sql("INSERT INTO $table VALUES (1, repeat('x', 400000))");
	$t->wait_error(qr/insert of table "public\.$table" at LSN .* cannot be sent/);
	ok(logged(qr/$table" at LSN [^\n]* cannot be sent[^\n]*\n[^\n]*DETAIL: [^\n]*\n[^\n]*HINT:  Raise message\.max\.bytes[^\n]* of topic "shop\.public\.$table"/),
		'what is too large: both limits are named');
	mode('skip');
	$t->wait_caught_up;
	is(counters($table), '1|0|0', 'and it can still be left out');
}

# ----------
# A broker that refuses what the producer takes
# ----------

sub write_refused
{
	my ($handling, $oversized) = @_;
	my $table = table('t text');

	mode($handling, $oversized);
	$t->sql("INSERT INTO $table VALUES (1, 'a')");
	$t->wait_caught_up;
	$t->{kafka}->topic_config($t->topic("public.$table"), 'max.message.bytes', 50000);
	$t->sql(qq{
		INSERT INTO $table SELECT i, CASE WHEN i = 50 THEN repeat(md5('x'), 3000) ELSE repeat('s', 100) END
			FROM generate_series(2, 1001) AS i;
		UPDATE $table SET t = 'u' WHERE id IN (2, 50)});
	$t->wait_caught_up;
	return $table;
}

sub check_refused
{
	my ($what, $once) = @_;
	my $others = join ' ', (map { "c:$_" } grep { $_ != 50 } 1 .. 1001), 'u:2', 'u:50';
	my $table = write_refused('dead_letter');

	is(story($table, $once), $others, "$what refused by the broker: all others arrive, in order");
	is(counters($table), '0|1|0', 'one is bad');
	my ($letter) = dead_letters($table);
	is($letter->{value}{after}{id}, 50, 'this one');
	is($letter->{headers}{'__connect.errors.stage'}, 'KAFKA_PRODUCE', 'stage');

	$table = write_refused('fail', 'truncate_value');
	my $whole = join ' ', (map { "c:$_" } 1 .. 1001), 'u:2', 'u:50';
	is(story($table, $once), $whole, "$what and can be truncated");
	is(counters($table), '0|0|1', 'one is');
	ok(!logged(qr/of table "public\.$table" at LSN .* is not sent/), 'none is left out');
	return;
}
check_refused('at least once,');

# ----------
# Refusals that are about something else are no reason to leave anything out
# ----------
{
	my $table = table('n int');
	my $topic = $t->topic("public.$table");

	mode('skip');
	$t->sql("INSERT INTO $table VALUES (1, 1)");
	$t->wait_caught_up;
	$t->{kafka}->admin('allow', 'somebody', 'topic', $topic, 'write');
	$t->sql("INSERT INTO $table VALUES (2, 2)");
	$t->wait_error(qr/authorization failed/i);
	my $starts = $t->stat('restarts');
	wait_until('it has tried again', sub { $t->stat('restarts') >= $starts + 2 });
	is(counters($table), '0|0|0', 'without permission nothing is left out');
	$t->{kafka}->admin('allow', 'ANONYMOUS', 'topic', $topic, 'all');
	$t->wait_caught_up;
	is($t->story("public.$table"), 'c:1 c:2', 'and it is sent with permission');

	$t->{kafka}->admin('delete', $topic);
	wait_until('the topic is gone', sub { !exists $t->{kafka}->topics->{$topic} });
	$t->sql("INSERT INTO $table VALUES (3, 3)");
	$t->wait_caught_up;
	like($t->story("public.$table"), qr/c:3$/, 'a topic that was deleted: sent when it is there again');
	is(counters($table), '0|0|0', 'nothing was left out');
}

# ----------
# Text that is no text
# ----------
{
	my $node = $t->{node};

	mode('dead_letter');
	$node->safe_psql('postgres', "CREATE DATABASE ascii ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
	$node->safe_psql('ascii', q{
		ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO cdc;
		CREATE TABLE t (id int PRIMARY KEY, t text)});
	$t->set('wal2kafka.streams', 'shop/cdc, ascii/cdc');
	$t->wait_state('streaming', undef, 'ascii/cdc');
	$node->safe_psql('ascii', q{INSERT INTO t VALUES (1, 'a'), (2, E'caf\\xe9'), (3, 'c')});
	wait_until('the last one is sent', sub {
		my @records = @{ $t->records(undef, topic => 'ascii.public.t') };
		return @records && $records[-1]{key}{id} == 3;
	});
	my %seen = map { $_->{key}{id} => 1 } @{ $t->records(undef, topic => 'ascii.public.t') };
	is(join(' ', sort keys %seen), '1 3', 'bytes that are no text are not sent');
	my ($letter) = @{ $t->records(undef, topic => 'ascii.dead_letter') };
	is_deeply(JSON::PP->new->decode($letter->{value})->{after}, { id => '2', t => { hex => '636166e9' } }, 'but told of');
	$t->set('wal2kafka.streams', 'shop/cdc');
}

# A text may have fewer bytes in UTF-8.
{
	my $node = $t->{node};

	mode('skip');
	$node->safe_psql('postgres', "CREATE DATABASE jp ENCODING 'EUC_JP' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
	$node->safe_psql('jp', q{
		ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO cdc;
		CREATE TABLE t (id int PRIMARY KEY, t text)});
	$t->set('wal2kafka.streams', 'shop/cdc, jp/cdc');
	$t->wait_state('streaming', undef, 'jp/cdc');
	$node->safe_psql('jp', q{INSERT INTO t VALUES (1, 'a'), (2, repeat(convert_from('\xc3a9', 'UTF8'), 140000)), (3, 'c')});
	wait_until('the last one is sent', sub {
		my @records = @{ $t->records(undef, topic => 'jp.public.t') };
		return @records && $records[-1]{key}{id} == 3;
	});
	my %length = map { $_->{key}{id} => length $_->{value}{after}{t} } @{ $t->records(undef, topic => 'jp.public.t') };
	is_deeply(\%length, { 1 => 1, 2 => 140000, 3 => 1 }, 'a row that only the database has many bytes for');
	$t->set('wal2kafka.streams', 'shop/cdc');
}

# ----------
# Rows of a snapshot
# ----------
{
	my $table = table('n numeric(9,2), t text');

	mode('dead_letter', 'truncate_value');
	$t->sql("CREATE PUBLICATION p");
	settings(publication_name => 'p');
	$t->sql("INSERT INTO $table SELECT i, CASE WHEN i = 3 THEN 'NaN'::numeric ELSE i END, repeat('x', CASE WHEN i = 4 THEN 400000 ELSE 1 END) FROM generate_series(1, 6) AS i");
	$t->sql("ALTER PUBLICATION p ADD TABLE $table");
	$t->sql("SELECT wal2kafka.snapshot('public.$table')");
	wait_until('the snapshot is complete', sub {
		$t->sql("SELECT state FROM wal2kafka.stat_snapshots WHERE \"table\" = 'public.$table'") =~ /^(done|failed)/;
	});
	$t->wait_caught_up;
	is($t->story("public.$table"), 'r:1 r:2 r:4 r:5 r:6', 'rows of a snapshot');
	is(counters($table), '0|1|1', 'counted');
	my ($letter) = dead_letters($table);
	is($letter->{value}{op} . $letter->{value}{after}{id}, 'r3', 'dead letter of a row');
	settings(publication_name => undef);
}

# A row filter that fails
{
	my $table = table('f int');
	my $node = $t->{node};

	mode('dead_letter');
	settings(publication_name => 'p');
	$t->sql("INSERT INTO $table SELECT i, i % 2 FROM generate_series(0, 6) AS i");
	$t->sql("ALTER TABLE $table REPLICA IDENTITY FULL");
	$t->sql("ALTER PUBLICATION p ADD TABLE $table WHERE (1 / f > 0)");
	$t->sql("SELECT wal2kafka.snapshot('public.$table')");
	wait_until('the snapshot is complete', sub {
		$t->sql("SELECT state FROM wal2kafka.stat_snapshots WHERE \"table\" = 'public.$table'") =~ /^(done|failed)/;
	});
	$t->wait_caught_up;
	is($t->story("public.$table"), 'r:1 r:3 r:5', 'a row filter that fails, ad hoc snapshot');
	is(counters($table), '0|4|0', 'counted');
	my ($letter) = dead_letters($table);
	is($letter->{headers}{'__wal2kafka.errors.sqlstate'}, '22012', 'told of');
	ok(!exists $letter->{value}{after}, 'without the row');
	settings(publication_name => undef);

	foreach my $delivery ('at_least_once', 'exactly_once')
	{
		my $name = "first_$delivery";

		$node->safe_psql('postgres', "CREATE DATABASE $name");
		$node->safe_psql($name, qq{
			ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO cdc;
			CREATE TABLE t (id int PRIMARY KEY, f int);
			CREATE TABLE none (id int PRIMARY KEY, f int);
			INSERT INTO t SELECT i, i % 2 FROM generate_series(0, 6) AS i;
			INSERT INTO none VALUES (1, 0);
			CREATE PUBLICATION p FOR TABLE t WHERE (1 / f > 0), none WHERE (1 / f > 0);
			ALTER DATABASE $name SET wal2kafka.snapshot_mode = initial;
			ALTER DATABASE $name SET wal2kafka.delivery = $delivery;
			ALTER DATABASE $name SET wal2kafka.publication_name = p});
		$t->set('wal2kafka.streams', "shop/cdc, $name/cdc");
		$t->wait_state('streaming', undef, "$name/cdc");
		my $records = $t->records(undef, topic => "$name.public.t");
		is(join(' ', map { "$_->{value}{op}:$_->{key}{id}" } @$records), 'r:1 r:3 r:5', "initial snapshot, $delivery");
		is($records->[-1]{value}{source}{snapshot}, 'last', 'the last row is marked');
		is(scalar @{ $t->records(undef, topic => "$name.dead_letter") }, 5, 'letters');
		$t->set('wal2kafka.streams', 'shop/cdc');
	}
}

# ----------
# The same, exactly once
# ----------
settings(delivery => 'exactly_once');
forget();
check_nan('exactly once,', 1);
check_large('exactly once,');
forget();
check_refused('exactly once,', 1);

done_testing();
