# Are the settings that wal2kafka-from-debezium prints those that were meant,
# does the server take all of them, and is no secret among them?

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../test/lib";

use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wal2Kafka;

my $t = Wal2Kafka->new(
	kafka => 0,
	registry => 0,
	tables => q{
	CREATE SCHEMA sales;
	CREATE TABLE sales.orders (id int PRIMARY KEY, note text);
	CREATE TABLE sales."Order Lines" (id int PRIMARY KEY);
	CREATE TABLE sales.old_orders (id int PRIMARY KEY);
	CREATE TABLE part (id int PRIMARY KEY) PARTITION BY RANGE (id);
	CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (9);
	CREATE TABLE outbox (id uuid PRIMARY KEY, aggregatetype text, aggregateid text, type text, payload jsonb);
});
my $node = $t->{node};
my $dir = PostgreSQL::Test::Utils::tempdir;

sub translate
{
	my ($text, @arguments) = @_;
	my ($out, $err);
	local %ENV = (%ENV, LD_LIBRARY_PATH => '');
	IPC::Run::run([ "$FindBin::Bin/../bin/wal2kafka-from-debezium", @arguments, '-' ],
		'<', \$text, '>', \$out, '2>', \$err);
	return ($? >> 8, $out, $err);
}

# A connector's configuration and a few more properties
sub connector
{
	my (%more) = @_;
	my %config = (
		'connector.class' => 'io.debezium.connector.postgresql.PostgresConnector',
		'database.dbname' => 'shop', 'database.user' => 'cdc',
		'plugin.name' => 'pgoutput', 'topic.prefix' => 'srv', %more);
	return encode_json({ name => 'shop-connector', config => \%config });
}

my %nasty = (
	'database.password' => 'SECRET0',
	'table.exclude.list' => 'public\.x,sales\.it\'s"odd",a\,b',
	'message.key.columns' => 'sales\.(.*):id,note;public\.part:id',
	'column.mask.with.5.chars' => 'sales\.orders\.note',
	'column.mask.hash.v2.SHA-256.with.salt.SECRET1' => 'sales\.orders\.(a|b;c)',
	'column.truncate.to.20.chars' => 'sales\.orders\.t;x,public\..*\.it\'s',
	'skipped.operations' => 'u,d',
	'heartbeat.interval.ms' => '10000',
	'unavailable.value.placeholder' => 'it\'s \gone',
	'max.queue.size.in.bytes' => '67108864',
	'key.converter' => 'org.apache.kafka.connect.storage.StringConverter',
	'value.converter' => 'io.confluent.connect.avro.AvroConverter',
	'value.converter.schema.registry.url' => 'https://user:SECRET2@registry:8081/api,https://other:8081',
	'value.converter.basic.auth.user.info' => 'user:SECRET3',
	'value.converter.normalize.schemas' => 'true',
	'value.converter.value.subject.name.strategy' => 'io.confluent.kafka.serializers.subject.TopicRecordNameStrategy',
	'producer.override.linger.ms' => '20',
	'producer.override.compression.type' => 'lz4',
	'producer.override.max.request.size' => '2000000',
	'producer.override.bootstrap.servers' => 'k1:9092,k2:9092',
	'producer.override.sasl.jaas.config' => 'org.apache.kafka.common.security.plain.PlainLoginModule required username="u" password="SECRET4";',
	'producer.override.ssl.keystore.password' => 'SECRET5',
	'producer.override.acks' => '1',
	'topic.creation.default.partitions' => '6',
	'topic.creation.default.replication.factor' => '3',
	'topic.creation.default.cleanup.policy' => 'compact',
	'topic.creation.default.retention.ms' => '86400000',
	'transforms' => 'unwrap,outbox,rename',
	'transforms.unwrap.type' => 'io.debezium.transforms.ExtractNewRecordState',
	'transforms.unwrap.delete.handling.mode' => 'rewrite',
	'transforms.unwrap.drop.tombstones' => 'false',
	'transforms.unwrap.add.fields' => 'op,lsn,source.ts_ms',
	'transforms.outbox.type' => 'io.debezium.transforms.outbox.EventRouter',
	'transforms.outbox.predicate' => 'isOutbox',
	'transforms.outbox.route.topic.replacement' => 'out.${routedByValue}',
	'predicates' => 'isOutbox',
	'predicates.isOutbox.type' => 'org.apache.kafka.connect.transforms.predicates.TopicNameMatches',
	'predicates.isOutbox.pattern' => 'srv\.public\.outbox',
	'transforms.rename.type' => 'org.apache.kafka.connect.transforms.RegexRouter',
	'transforms.rename.regex' => 'srv\.([^.]+)\.(.*)',
	'transforms.rename.replacement' => '$2-$1',
	'replica.identity.autoset.values' => 'sales.orders:FULL',
	'no.such.property' => 'SECRET6',
	"evil\n; DROP TABLE sales.orders; --" => "x",
	'signal.data.collection' => 'public.signals',
	'signal.enabled.channels' => 'source,kafka',
	'notification.enabled.channels' => 'log,sink',
	'notification.sink.topic.name' => 'notes',
	'exactly.once.support' => 'required',
);
my ($code, $out, $err) = translate(connector(%nasty));
is($code, 0, 'translated') or diag($err);
note($out);
unlike($out . $err, qr/SECRET\d/, 'no secret is printed');
like($out, qr/^-- warning: no\.such\.property: unknown/m, 'an unknown property is named');
like($out, qr/^-- warning: evil ; DROP TABLE sales.orders; --: unknown/m, '... on one line, whatever its name');
like($out, qr/^-- warning: signal\.enabled\.channels: not there: kafka;/m, 'what is not there');
like($out, qr/^-- warning: exactly\.once\.support: not there: at least once/m, '... exactly once too');
like($out, qr/^-- not needed: producer\.override\.acks: fixed/m, 'what is not needed');
like($out, qr/^-- warning: producer\.override\.ssl\.keystore\.password: not there: Java/m, 'Java\'s key stores');
like($out, qr/^wal2kafka\.streams = 'shop\/cdc'$/m, 'the stream');
like($out, qr/^wal2kafka\.bootstrap_servers = 'k1:9092,k2:9092'$/m, 'brokers');
like($out, qr/^wal2kafka\.schema_registry_url = 'https:\/\/registry:8081\/api, https:\/\/other:8081'$/m,
	'registry, without user and password');
like($out, qr/adopt_slot\('debezium', 'shop\/cdc'\)/, 'how to take over');

# The server takes it: lines of files first.
my (undef, $conf) = translate(connector(%nasty), '--part', 'conf');
$node->append_conf('postgresql.conf', $conf);
append_to_file("$dir/files", $conf);
like($conf, qr/^# \/etc\/wal2kafka\/shop-connector\.kafka: .*\n#     sasl\.username=…\n#     sasl\.password=…/m,
	'where secrets go');
like($conf, qr/^#     mask\.hash\.v2\.SHA-256\.with\.salt\.<SALT>=sales\\\.orders\\\.\(a\|b;c\)/m, '... salts too');
$node->restart;
is($t->admin('SHOW wal2kafka.bootstrap_servers'), 'k1:9092,k2:9092', 'the file is read');
$t->admin('ALTER SYSTEM SET wal2kafka.streams = DEFAULT');
my (undef, $sql) = translate(connector(%nasty), '--part', 'sql');
append_to_file("$dir/sql", $sql);
my $psql = $node->psql('shop', $sql, on_error_stop => 1, stdout => \my $answer, stderr => \my $complaints);
is($psql, 0, 'SQL is accepted') or diag($complaints);
is($complaints, '', '... without a word');
my %set = map { /^wal2kafka\.(\w+)=(.*)$/s ? ($1 => $2) : () }
  split /\x01/, $t->sql(q{SELECT string_agg(c, chr(1)) FROM pg_db_role_setting, unnest(setconfig) c});
my %want = (
	topic_prefix => 'srv',
	table_exclude_list => $nasty{'table.exclude.list'},
	message_key_columns => $nasty{'message.key.columns'},
	column_transforms => q{mask.with.5.chars=sales\.orders\.note; truncate.to.20.chars='sales\.orders\.t;x,public\..*\.it''s'},
	column_transforms_file => '/etc/wal2kafka/shop-connector.columns',
	skipped_operations => 'u,d',
	heartbeat_interval_ms => '10000',
	signal_data_collection => 'public.signals',
	signal_enabled_channels => 'source',
	notification_topic_name => 'notes',
	unavailable_value_placeholder => 'it\'s \gone',
	max_queue_size_in_bytes => '65536kB',
	format => 'avro',
	key_format => 'string',
	normalize_schemas => 'true',
	value_subject_name_strategy => 'TopicRecordNameStrategy',
	kafka_options => 'linger.ms=20; compression.type=lz4; message.max.bytes=2000000',
	kafka_options_file => '/etc/wal2kafka/shop-connector.kafka',
	schema_registry_options_file => '/etc/wal2kafka/shop-connector.registry',
	topic_partitions => '6',
	topic_replication_factor => '3',
	topic_config => 'cleanup.policy=compact; retention.ms=86400000',
	envelope => 'flat',
	delete_tombstone_handling_mode => 'rewrite-with-tombstone',
	add_fields => 'op,lsn,source.ts_ms',
	outbox_tables => 'public\.outbox',
	outbox_route_topic_replacement => 'out.${routedByValue}',
	topic_router_regex => 'srv\.([^.]+)\.(.*)',
	topic_router_replacement => '$2-$1',
	publication_name => 'dbz_publication',
	include_unknown_datatypes => 'off');
# lists of options have no order that matters
foreach my $list ('kafka_options', 'topic_config', 'column_transforms')
{
	$_ = join '; ', sort split /; /, $_ || '' foreach ($set{$list}, $want{$list});
}
is_deeply(\%set, \%want, 'each setting has the value that was meant');
is($t->sql(q{SELECT puballtables FROM pg_publication WHERE pubname = 'dbz_publication'}), 't',
	'the publication is made');
is($t->sql(q{SELECT relreplident FROM pg_class WHERE oid = 'sales.orders'::regclass}), 'f', 'and the replica identity');
is($node->psql('shop', $sql, on_error_stop => 1), 0, 'a second time too');

# A properties file says the same.
my %plain = ('table.include.list' => 'sales\.orders,sales\.Order Lines', 'decimal.handling.mode' => 'string');
(undef, my $from_json) = translate(connector(%plain));
my $config = decode_json(connector(%plain))->{config};
my $properties = "# comment\nname = shop-connector\n" . join '', map {
	my $value = $config->{$_};
	$value =~ s/\\/\\\\/g;
	$value =~ s/,/,\\\n    /;
	"$_=$value\n";
} keys %$config;
(undef, my $from_properties) = translate($properties);
is(join("\n", sort split /\n/, $from_properties), join("\n", sort split /\n/, $from_json), 'properties and JSON are the same');

# Publications of what the lists select.
my %filtered = ('publication.autocreate.mode' => 'filtered', 'publication.name' => 'odd"name');
(undef, $out) = translate(connector(%filtered, 'table.include.list' => 'sales\.orders,sales.old_orders'), '--part', 'sql');
like($out, qr/'CREATE PUBLICATION "odd""name" FOR TABLE "sales"\."orders", "sales"\."old_orders"'/, 'tables by name');
unlike($out, qr/table_include_list/, '... need no list beside');
like($out, qr/publication_name = '"odd""name"'/, '... the name is quoted');
(undef, $out) = translate(connector(%filtered, 'schema.include.list' => 'sales'), '--part', 'sql');
like($out, qr/FOR TABLES IN SCHEMA "sales"'/, 'a schema');
my @regex = (%filtered, 'table.include.list' => 'SALES\.o.*,public\.part.*', 'table.exclude.list' => '.*old.*',
	'publish.via.partition.root' => 'true');
(undef, $out) = translate(connector(@regex), '--part', 'sql');
like($out, qr/^-- warning: publication\.autocreate\.mode: the lists have regular expressions/m, 'regular expressions');
like($out, qr/table_include_list = E'SALES\\\\\.o\.\*,/, '... stay settings');
my $dsn = $node->connstr('shop');
(undef, $out, $err) = translate(connector(@regex), '--part', 'sql', '--dsn', $dsn);
like($out, qr/FOR TABLE "public"\."part", "sales"\."Order Lines", "sales"\."orders" WITH \(publish_via_partition_root = true\)'/,
	'... or are resolved') or diag($err);
$node->safe_psql('shop', $out);
is($t->sql(q{SELECT count(*) FROM pg_publication_tables WHERE pubname = 'odd"name'}), 3, '... to tables of a publication');
(undef, $out) = translate(connector(%plain), '--part', 'sql', '--publication', 'mine', '--per-role');
like($out, qr/^ALTER ROLE "cdc" IN DATABASE "shop" SET wal2kafka\.publication_name = 'mine';/m, 'for one stream');
like($out, qr/^-- warning: publication\.name: publication mine is new/m, 'a new publication');

# Passwords and certificates.
my %secured = (
	'producer.override.security.protocol' => 'SASL_SSL',
	'producer.override.sasl.mechanism' => 'SCRAM-SHA-512',
	'producer.override.sasl.jaas.config' => 'org.apache.kafka.common.security.scram.ScramLoginModule required username="u" password="a\"SECRET7";',
	'producer.override.ssl.truststore.type' => 'PEM',
	'producer.override.ssl.truststore.location' => '/etc/ca.pem',
	'producer.override.ssl.keystore.type' => 'PEM',
	'producer.override.ssl.keystore.location' => '/etc/client.pem',
	'value.converter' => 'io.confluent.connect.avro.AvroConverter',
	'value.converter.schema.registry.url' => 'https://registry',
	'value.converter.basic.auth.user.info' => '${file:/etc/connect/secrets:registry}');
mkdir "$dir/secrets";
($code, $out, $err) = translate(connector(%secured), '--write-secrets', '--secrets-dir', "$dir/secrets");
is($code, 0, 'files with secrets') or diag($err);
unlike($out . $err, qr/SECRET7/, '... which are not printed');
is(slurp_file("$dir/secrets/shop-connector.kafka"), qq{sasl.username=u\nsasl.password=a"SECRET7\n}, '... are written');
is((stat "$dir/secrets/shop-connector.kafka")[2] & 07777, 0600, '... for one user');
like($err, qr/registry: complete the line of basic\.auth\.user\.info/, '... and what somebody else knows is named');
foreach my $option ('ssl.ca.location=/etc/ca.pem', 'ssl.certificate.location=/etc/client.pem',
	'ssl.key.location=/etc/client.pem')
{
	like($out, qr/\Q$option\E[;']/, "stores that are PEM files: $option");
}
($code) = translate(connector(%secured), '--write-secrets', '--secrets-dir', "$dir/secrets");
is($code, 2, 'files that are there are not overwritten');

# The Connect worker's properties.
append_to_file("$dir/worker", <<'EOC');
bootstrap.servers=worker:9092
value.converter=org.apache.kafka.connect.json.JsonConverter
value.converter.schemas.enable=false
key.converter=org.apache.kafka.connect.json.JsonConverter
producer.compression.type=zstd
EOC
(undef, $out) = translate(connector(), '--worker', "$dir/worker");
like($out, qr/bootstrap_servers = 'worker:9092'/, 'the worker\'s brokers');
like($out, qr/SET wal2kafka\.format = 'json'/, '... its converters');
like($out, qr/SET wal2kafka\.value_converter_schemas_enable = 'false'/, '... their options');
like($out, qr/SET wal2kafka\.kafka_options = 'compression\.type=zstd'/, '... and its producer');

# Old names, and what cannot be read.
(undef, $out) = translate(connector('table.whitelist' => 'a.b', 'toasted.value.placeholder' => 'p', 'snapshot.mode' => 'never'));
like($out, qr/table_include_list = 'a\.b'/, 'old names');
like($out, qr/snapshot_mode = 'no_data'/, '... and old modes');
(undef, $out) = translate(connector('snapshot.mode' => 'when_needed', 'snapshot.max.threads' => '4', 'snapshot.include.collection.list' => 'public\\.a,public\\.b'));
like($out, qr/snapshot_mode = 'when_needed'/, 'modes of snapshots');
like($out, qr/snapshot_workers = '4'/, '... their threads');
like($out, qr/snapshot_include_collection_list = E?'public\\+\.a,public\\+\.b'/, '... and their tables');
($code, $out, $err) = translate('{"a": ');
is($code, 2, 'no JSON');
($code, $out, $err) = translate('{"connector.class": "io.debezium.connector.mysql.MySqlConnector"}');
like($err, qr/not a configuration of Debezium's connector for PostgreSQL/, 'another connector');

done_testing();
