# Is JSON what Connect's JsonConverter writes, byte for byte?
#
# The recordings in test/golden/json hold what Debezium and the
# converter wrote for the same statements.

use strict;
use warnings;

use Encode;
use FindBin;
use lib "$FindBin::Bin/../test/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wal2Kafka;

my $recordings = "$FindBin::Bin/../test/golden/json";

# What differs from run to run, and what we say differently on purpose
sub plain
{
	my ($text) = @_;
	return 'null' unless defined $text;
	$text =~ s/"version":"(?:3\.7\.0\.Final|1\.0)"/"version":"V"/;
	$text =~ s/("(?:ts_ms|ts_us|ts_ns|lsn)":)\d+/${1}N/g;
	$text =~ s/"txId":(?:\d+|null)/"txId":N/;
	$text =~ s/"sequence":"\[(?:null|\\"\d+\\"),\\"\d+\\"\]"/"sequence":S/;
	$text =~ s/"id":"\d+:\d+"/"id":"X"/;
	$text =~ s/"db":"\w+"/"db":"D"/;
	$text =~ s/"snapshot":null/"snapshot":"false"/;
	$text =~ s/"io\.debezium\.[^"]*LogicalDecodingMessageId\@[0-9a-f]+"/"LOGICAL_DECODING_MESSAGE"/;
	return $text;
}

# topic => [[key, value], ...] of a recording, with or without schemas.
# Without keys there are no tombstones here.
sub recorded
{
	my ($name, $with_schemas) = @_;
	my (%topics, %schemas, $record);

	foreach my $line (split /\n/, decode('UTF-8', slurp_file("$recordings/$name.out")))
	{
		if ($line =~ /^### topic=(\S+)/)
		{
			$record = {};
			push @{ $topics{$1} }, $record;
		}
		elsif ($line =~ /^  NEW (J\d+) subject=\S+ (.*)/)
		{
			$schemas{$1} = $2;
		}
		elsif ($line =~ /^  json-(key|value) \{"schema":(J\d+),/)
		{
			$record->{"$1 schema"} = $2;
		}
		elsif ($line =~ /^  json-(key|value)-noschema (.*)/)
		{
			my ($part, $text, $schema) = ($1, $2, $record->{"$1 schema"});
			next if $text eq '<null>';
			$record->{$part} = $with_schemas && $schema
			  ? qq({"schema":$schemas{$schema},"payload":$text}) : $text;
		}
	}
	foreach my $topic (keys %topics)
	{
		@{ $topics{$topic} } =
		  grep { defined $_->{key} || defined $_->{value} } @{ $topics{$topic} };
	}
	return \%topics;
}

sub compare
{
	my ($t, $name, $with_schemas) = @_;
	my $topics = recorded($name, $with_schemas);

	foreach my $topic (sort keys %$topics)
	{
		my @expected = @{ $topics->{$topic} };
		my @got = @{ $t->records(undef, topic => $topic) };

		is(@got, @expected, "$name: number of records in $topic");
		for (my $i = 0; $i < @expected && $i < @got; $i++)
		{
			foreach my $part ('key', 'value')
			{
				my ($is, $should) =
				  (plain($got[$i]{$part}), plain($expected[$i]{$part}));
				next if $is eq $should;

				# they are long: what follows the last equal character
				($is ^ $should) =~ /^\0*/;
				my $from = $+[0] > 40 ? $+[0] - 40 : 0;
				is(substr($is, $from, 200), substr($should, $from, 200),
					"$name: $part $i of $topic");
			}
		}
	}
	return;
}

sub stream
{
	my ($conf) = @_;
	return Wal2Kafka->new(
		registry => 0,
		snapshot => 'initial',
		tables => slurp_file("$recordings/json.setup.sql")
		  . 'GRANT USAGE ON SCHEMA inv TO cdc;'
		  . 'GRANT SELECT ON ALL TABLES IN SCHEMA inv TO cdc;',
		conf => "wal2kafka.format = 'json'\n$conf");
}

sub change
{
	my ($t, $file) = @_;
	foreach my $statements (split /\n/, slurp_file($file))
	{
		$t->sql($statements) unless $statements =~ /^--/;
	}
	$t->wait_caught_up;
	return;
}

my $t = stream(<<'EOC');
wal2kafka.topic_prefix = 'srv'
wal2kafka.provide_transaction_metadata = on
wal2kafka.replace_null_with_default = on
EOC
$t->start_stream;
change($t, "$recordings/json.change.sql");
compare($t, 'json-schemas', 1);
$t->{node}->stop;

my $schemas_off = <<'EOC';
wal2kafka.key_converter_schemas_enable = off
wal2kafka.value_converter_schemas_enable = off
EOC
$t = stream(<<"EOC");
wal2kafka.topic_prefix = 'srv'
wal2kafka.decimal_format = 'numeric'
wal2kafka.time_precision_mode = 'connect'
wal2kafka.binary_handling_mode = 'hex'
wal2kafka.hstore_handling_mode = 'map'
wal2kafka.skipped_operations = 'none'
$schemas_off
EOC
$t->start_stream;
change($t, "$recordings/json.change.sql");
compare($t, 'json-bare', 0);
my %topics = %{ $t->{kafka}->topics };
ok(!$topics{'srv.schemas'}, 'no topic of schemas where nothing is Avro');
my $kafka = $t->{kafka};
$t->{node}->stop;

# names that Avro forbids stay as they are; keys as text
$t = Wal2Kafka->new(
	registry => 0,
	kafka => $kafka,
	tables => <<'EOC',
CREATE TABLE "Weird-Name $1" ("odd col" int PRIMARY KEY,
	"quo""te\x" text DEFAULT '😀', "2nd" int);
CREATE TABLE pair (a int, b text, c numeric(10,2), d float8, e bytea, f date,
	PRIMARY KEY (a, b, c, d, e, f));
EOC
	conf => <<"EOC");
wal2kafka.format = 'json'
wal2kafka.key_format = 'string'
wal2kafka.topic_prefix = 'names'
$schemas_off
EOC
$t->start_stream;
$t->sql(q{INSERT INTO "Weird-Name $1" VALUES (1, 'a')});
$t->sql(q{INSERT INTO pair VALUES (1, 'x, "y"', 1.50, 2, '\x00ff', '2024-02-29')});
$t->sql(q{UPDATE pair SET a = 2});
$t->wait_caught_up;
my $records = $t->records(undef, topic => 'names.public.Weird-Name__1');
is($records->[0]{key}, 'Struct{odd col=1}', 'a key as Java writes it');
like($records->[0]{value}, qr/"after":\{"odd col":1,"quo\\"te\\\\x":"a","2nd":null\}/,
	'names as they are');
$records = $t->records(undef, topic => 'names.public.pair');
is($records->[0]{key}, 'Struct{a=1,b=x, "y",c=1.50,d=2.0,e=AP8=,f=19782}', 'a key of several columns');
is_deeply([ map { $_->{key} } @$records[ 1, 2 ] ], [ ($records->[0]{key}) x 2 ],
	'the delete of a changed key, and its tombstone');
is($records->[2]{value}, undef, 'a tombstone is null');
is($records->[1]{headers}{'__debezium.newkey'},
	'{"a":2,"b":"x, \"y\"","c":1.50,"d":2.0,"e":"AP8=","f":19782}', 'the new key');

# the same with schemas: a change of settings starts the stream anew
$t->set('wal2kafka.value_converter_schemas_enable', 'on');
wait_until('the stream has its new settings', sub {
	$t->sql(q{INSERT INTO "Weird-Name $1" SELECT max("odd col") + 1 FROM "Weird-Name $1"});
	$t->wait_caught_up;
	my $last = $t->records(undef, topic => 'names.public.Weird-Name__1')->[-1];
	return $last->{value} =~ /^\{"schema":/ && ($records = $last);
});
like($records->{value}, qr/\{"type":"string","optional":true,"default":"\\uD83D\\uDE00","field":"quo\\"te\\\\x"\}/,
	'in schemas, too');
like($records->{value}, qr/"name":"names\.public\.Weird-Name__1\.Envelope","version":2\},"payload":\{/,
	'name of the schema');
is_deeply([ grep { /schemas/ } keys %{ $kafka->topics } ], [], 'no topic of schemas');

done_testing();
