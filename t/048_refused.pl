# Messages that a broker refuses: many in one transaction, of snapshots, and
# those that tell of others.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../test/lib";

use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wal2Kafka;

# What the topics take; the producer takes three times as much.
my $limit = 100000;
my $conf = q{
wal2kafka.kafka_options = 'message.max.bytes=300000'
wal2kafka.event_processing_failure_handling_mode = 'dead_letter'
};
my $number = 0;
my $t = Wal2Kafka->new(conf => $conf . "wal2kafka.publication_name = 'p'\n");
$t->sql('CREATE EXTENSION wal2kafka; CREATE PUBLICATION p');
$t->start_stream;

# ALTER SYSTEM of what the stream's worker has to have; undef: the default.
sub settings
{
	my (%new) = @_;
	my $pid = $t->worker_pid;

	foreach my $name (sort keys %new)
	{
		$t->admin(defined $new{$name} ? "ALTER SYSTEM SET wal2kafka.$name = '$new{$name}'"
			: "ALTER SYSTEM RESET wal2kafka.$name");
	}
	$t->{node}->reload;
	wait_until('another worker streams', sub {
		my $now = $t->worker_pid;
		return $now && $now ne $pid;
	});
	$t->wait_state('streaming');
	return;
}

# A table whose topic takes no more than $limit.
sub table
{
	my ($columns) = @_;
	my $name = 't' . ++$number;

	$t->sql("CREATE TABLE $name ($columns); ALTER PUBLICATION p ADD TABLE $name");
	return $name;
}

sub limit_topic
{
	my ($stream, $table, $bytes) = @_;
	my $topic = $stream->topic("public.$table");

	$stream->{kafka}->admin('create', $topic, 1) unless exists $stream->{kafka}->topics->{$topic};
	$stream->{kafka}->topic_config($topic, 'max.message.bytes', $bytes || $limit);
	return;
}

sub letters
{
	my ($stream, $table) = @_;
	my $topic = ($stream->{prefix} || 'shop') . '.dead_letter';
	my @letters;

	foreach my $record (@{ $stream->records(undef, topic => $topic) })
	{
		my $value = $record->{value};
		$record->{value} = ref $value ? $value : JSON::PP->new->decode($value);
		push @letters, $record if ($record->{value}{table} || '') eq $table;
	}
	return @letters;
}

# Keys of rows that arrived, and those that dead letters tell of, each once:
# what an error cut short was sent again, so the last time counts.
sub arrived
{
	my ($stream, $table) = @_;
	my (%seen, @order);

	foreach my $record (reverse @{ $stream->records("public.$table") })
	{
		my $id = $record->{value}{after}{id};
		unshift @order, $id unless $seen{$id}++;
	}
	return join ' ', @order;
}

sub told_of
{
	my ($stream, $table) = @_;
	my %seen;

	foreach my $letter (letters($stream, $table))
	{
		my $row = $letter->{value}{after} || JSON::PP->new->decode($letter->{key});
		$seen{ $row->{id} } = 1;
	}
	return join ' ', sort { $a <=> $b } keys %seen;
}

sub forget
{
	my $slot = $t->slot;

	$t->stop_stream;
	unlink glob($t->{node}->data_dir . "/pg_replslot/$slot/wal2kafka.suspects");
	$t->start_stream;
	return;
}

# ----------
# Many in one transaction, each smaller than the one before
# ----------

# Of 200 rows each fifth, say, is refused; others are as large as a topic takes.
sub bulk
{
	my ($table, $nth) = @_;
	$t->sql(qq{
		INSERT INTO $table SELECT i, repeat('x', CASE WHEN i % $nth = 0 THEN 260000 - 700 * i
			WHEN i % 7 = 0 THEN 98000 ELSE 100 END) FROM generate_series(1, 200) AS i});
	return;
}

sub check_bulk
{
	my ($what, $nth) = @_;
	my $table = table('id int PRIMARY KEY, t text');
	my $starts = $t->stat('restarts');
	my @good = grep { $_ % $nth } 1 .. 200;
	my @bad = grep { $_ % $nth == 0 } 1 .. 200;

	limit_topic($t, $table);
	bulk($table, $nth);
	$t->wait_caught_up;
	is(arrived($t, $table), "@good", "$what: what can be sent is sent, in order");
	is(told_of($t, $table), "@bad", "$what: what is refused is told of");
	$starts = $t->stat('restarts') - $starts;
	ok($starts <= 8, "$what: after few new starts ($starts)");

	# with what is known now
	$table = table('id int PRIMARY KEY, t text');
	limit_topic($t, $table);
	bulk($table, $nth);
	$t->wait_caught_up;
	is(told_of($t, $table), "@bad", "$what: another table");
	is(scalar(@{ $t->records("public.$table") }), @good, "$what: without a repetition")
	  if $what eq 'exactly once';
	return;
}
check_bulk('at least once', 5);

# A size alone says nothing: what is larger may be smaller when it is sent.
{
	my $table = table('id int PRIMARY KEY, t text');

	settings(kafka_options => 'message.max.bytes=300000; compression.type=gzip');
	limit_topic($t, $table);
	$t->sql(qq{
		INSERT INTO $table SELECT i, CASE WHEN i % 10 = 0
			THEN (SELECT string_agg(md5((i * 1000000 + j)::text), '') FROM generate_series(1, 6500 + i) AS j)
			ELSE repeat('x', 1000 * i) END FROM generate_series(1, 250) AS i});
	$t->wait_caught_up;
	is(arrived($t, $table), join(' ', grep { $_ % 10 } 1 .. 250), 'compressed: those that fit are sent');
	is(told_of($t, $table), join(' ', map { 10 * $_ } 1 .. 25), 'compressed: those that do not are told of');
	settings(kafka_options => undef);
}

# Suspects that the producer does not take, on account of their headers.
sub check_headers
{
	my ($what) = @_;
	my $table = table('id int PRIMARY KEY, t text');

	settings(extended_headers_enabled => 'on');
	limit_topic($t, $table);
	$t->sql(qq{
		INSERT INTO $table SELECT i, repeat('x', CASE WHEN i % 2 = 0 THEN 299000 + 20 * i ELSE 100 END)
			FROM generate_series(1, 50) AS i});
	$t->wait_caught_up;
	is(arrived($t, $table), join(' ', grep { $_ % 2 } 1 .. 50), "$what, headers: others are sent");
	is(told_of($t, $table), join(' ', map { 2 * $_ } 1 .. 25), "$what, headers: each is told of");
	my %stages = map { $_->{headers}{'__connect.errors.stage'} => 1 } letters($t, $table);
	is(join(' ', sort keys %stages), 'KAFKA_PRODUCE VALUE_CONVERTER', "$what, headers: by who refuses it");
	settings(extended_headers_enabled => undef);
	return;
}
check_headers('at least once');

# A broker that is away refuses nothing, and whoever waits for it can end.
sub check_outage
{
	my ($what) = @_;
	my $table = table('id int PRIMARY KEY, t text');
	my $rows = 'SELECT i, repeat(\'x\', CASE WHEN i % 3 = 2 THEN 200000 WHEN i % 3 = 1 THEN 99000 ELSE 10 END)';

	limit_topic($t, $table);
	$t->sql("INSERT INTO $table $rows FROM generate_series(1, 3) AS i");
	$t->wait_caught_up;
	$t->{kafka}->kill9;
	$t->sql("INSERT INTO $table $rows FROM generate_series(4, 6) AS i");
	$t->wait_waiting_for('broker');
	$t->{node}->restart;
	$t->wait_waiting_for('broker');
	$t->{kafka}->start;
	$t->wait_caught_up;
	is(arrived($t, $table), '1 3 4 6', "$what, outage: others are sent");
	is(told_of($t, $table), '2 5', "$what, outage: those that are refused are told of");
	return;
}
check_outage('at least once');

# ----------
# Rows of a snapshot while the stream goes on
# ----------

sub check_incremental
{
	my ($what) = @_;
	my $table = 't' . ++$number;

	forget();
	$t->sql(qq{
		CREATE TABLE $table (id int PRIMARY KEY, t text);
		INSERT INTO $table SELECT i, repeat('x', CASE WHEN i % 20 = 0 THEN 260000 - 500 * i ELSE 100 END)
			FROM generate_series(1, 200) AS i});
	limit_topic($t, $table);
	$t->sql("ALTER PUBLICATION p ADD TABLE $table");
	$t->sql("SELECT wal2kafka.snapshot('public.$table')");
	my $state;
	wait_until("the snapshot of $table is over", sub {
		$state = $t->sql("SELECT state FROM wal2kafka.stat_snapshots WHERE \"table\" = 'public.$table'");
		return $state =~ /^(done|failed)/;
	});
	is($state, 'done', "$what: a snapshot is complete");
	is(arrived($t, $table), join(' ', grep { $_ % 20 } 1 .. 200), "$what: rows that can be sent");
	is(told_of($t, $table), join(' ', map { 20 * $_ } 1 .. 10), "$what: rows that are refused");
	return;
}
check_incremental('at least once, incremental');

# ----------
# A compacted topic takes no record without a key, and what tells of that has
# to be sent
# ----------
{
	my $table = 't' . ++$number;

	forget();
	settings(topic_config => 'cleanup.policy=compact', errors_deadletterqueue_topic_name => 'shop.letters');
	$t->sql("CREATE TABLE $table (id int, t text); ALTER PUBLICATION p ADD TABLE $table");
	$t->sql("INSERT INTO $table SELECT i, 'x' FROM generate_series(1, 40) AS i");
	$t->wait_caught_up;
	my @letters = @{ $t->records(undef, topic => 'shop.letters') };
	my %ids = map { JSON::PP->new->decode($_->{value})->{after}{id} => 1 } @letters;
	is(join(' ', sort { $a <=> $b } keys %ids), join(' ', 1 .. 40), 'rows without a key are told of');
	is(scalar(grep { !defined $_->{key} } @letters), 0, 'by letters that have one');
	is(scalar @{ $t->records("public.$table") }, 0, 'and are not sent');
	settings(topic_config => undef, errors_deadletterqueue_topic_name => undef);
}

# What tells of an event is refused itself: an error like others, without haste.
{
	my $table = table('id int PRIMARY KEY, t text');

	forget();
	limit_topic($t, $table);
	$t->{kafka}->topic_config('shop.dead_letter', 'max.message.bytes', 200);
	$t->sql("INSERT INTO $table VALUES (1, 'a'), (2, repeat('x', 200000)), (3, 'c')");
	$t->wait_error(qr/deliver a message to Kafka topic "shop\.dead_letter"/);
	wait_until('it takes its time', sub {
		return ($t->stat('extract(epoch FROM retry_at - now())') || 0) > 1.5;
	});
	my $starts = $t->stat('restarts');
	ok($starts < 60, "a refused letter is tried again with pauses ($starts)");
	$t->{kafka}->topic_config('shop.dead_letter', 'max.message.bytes', 1000000);
	$t->wait_caught_up;
	is(arrived($t, $table), '1 3', 'then all others are sent');
	is(told_of($t, $table), '2', 'and the row is told of');
}

# ----------
# The initial snapshot, by several processes
# ----------

# The refused ones are not where the first process begins.
sub check_initial
{
	my ($prefix, $more) = @_;
	my @bad = map { 250 * $_ } 9 .. 20;
	my %bad = map { $_ => 1 } @bad;
	my $s = Wal2Kafka->new(
		kafka => $t->{kafka},
		registry => $t->{registry},
		prefix => $prefix,
		snapshot => 'initial',
		conf => $conf . "wal2kafka.topic_prefix = '$prefix'\nwal2kafka.snapshot_workers = 3\n$more",
		tables => q{
			CREATE EXTENSION wal2kafka;
			CREATE TABLE large (id int PRIMARY KEY, t text);
			ALTER TABLE large ALTER t SET STORAGE EXTERNAL;
			INSERT INTO large SELECT i, repeat('x', CASE WHEN i % 250 = 0 AND i > 2000 THEN 260000 - 30 * i ELSE 4000 END)
				FROM generate_series(1, 5000) AS i});

	limit_topic($s, 'large');
	$s->start_stream(no_wait => 1);
	$s->wait_state('streaming', 120);
	my $state;
	wait_until('the initial snapshot is over', sub {
		$state = $s->sql("SELECT state FROM wal2kafka.stat_snapshots WHERE \"table\" = 'public.large'");
		return $state =~ /^(done|failed)/;
	});
	is($state, 'done', "$prefix: the initial snapshot is complete");
	$s->wait_caught_up;
	my %arrived = map { $_ => 1 } split / /, arrived($s, 'large');
	is(join(' ', sort { $a <=> $b } keys %arrived), join(' ', grep { !$bad{$_} } 1 .. 5000), "$prefix: rows that can be sent");
	is(told_of($s, 'large'), "@bad", "$prefix: rows that are refused");
	note("$prefix: " . $s->stat('restarts') . ' new starts');
	$s->{node}->stop;
	return;
}
check_initial('first', '');

# ----------
# The same, exactly once
# ----------
forget();
settings(delivery => 'exactly_once');
check_bulk('exactly once', 20);
check_headers('exactly once');
check_outage('exactly once');
check_incremental('exactly once, incremental');

# Many small ones at once: a reader's block is one Kafka transaction, which must
# not take longer than such a one may.
{
	my $table = 't' . ++$number;
	my $state;

	forget();
	settings(topic_config => 'cleanup.policy=compact', errors_deadletterqueue_topic_name => 'shop.letters2');
	$t->sql("CREATE TABLE $table (id int, t text)");
	$t->sql("INSERT INTO $table SELECT i, 'x' FROM generate_series(1, 200) AS i");
	$t->sql("ALTER PUBLICATION p ADD TABLE $table");
	$t->sql("SELECT wal2kafka.snapshot('public.$table')");
	wait_until('the snapshot is over', sub {
		$state = $t->sql("SELECT state FROM wal2kafka.stat_snapshots WHERE \"table\" = 'public.$table'");
		return $state =~ /^(done|failed)/;
	});
	is($state, 'done', 'small ones: the snapshot is complete');
	is(scalar @{ $t->records(undef, topic => 'shop.letters2') }, 200, 'small ones: each is told of');
	settings(topic_config => undef, errors_deadletterqueue_topic_name => undef);
}
check_initial('second', "wal2kafka.delivery = 'exactly_once'\n");

done_testing();
