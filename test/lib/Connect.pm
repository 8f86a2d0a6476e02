# Kafka Connect with the real Debezium connector, as a process of its own.
#
#	my $connect = Connect->new($kafka, $registry);	# Testbed objects
#	$connect->start;
#	$connect->create('shop', { 'database.port' => ..., ... });
#	$connect->call('PUT', '/connectors/shop/stop');
#	$connect->kill9;
#
# Jars come from "testbed.sh fetch_debezium".  Records are in Avro with the
# registry's ids, as Debezium's users have them.

package Connect;

use strict;
use warnings;

use File::Basename;
use HTTP::Tiny;
use JSON::PP;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wal2Kafka;

my $testbed = dirname(__FILE__) . '/../testbed';
my @running;

# The folder with the jars; undef where they were not fetched.
sub jars
{
	my $dir = `$testbed/testbed.sh debezium_folder`;
	chomp $dir;
	return -d "$dir/runtime" && -d "$dir/debezium" && -d "$dir/converter" ? $dir : undef;
}

sub new
{
	my ($class, $kafka, $registry) = @_;
	my $self = bless {
		dir => PostgreSQL::Test::Utils::tempdir('connect'),
		port => PostgreSQL::Test::Cluster::get_free_port(),
		jars => jars() }, $class;
	my ($root) = $registry->address =~ m{^(http://[^/]+)};
	my $converter = join '', map {
		<<EOC } 'key', 'value';
$_.converter=io.apicurio.registry.utils.converter.AvroConverter
$_.converter.apicurio.registry.url=$root/apis/registry/v2
$_.converter.apicurio.registry.auto-register=true
$_.converter.apicurio.registry.as-confluent=true
$_.converter.apicurio.registry.use-id=contentId
$_.converter.apicurio.registry.headers.enabled=false
EOC

	# A plugin path names the folder above the plugins' own.
	mkdir "$self->{dir}/plugins";
	symlink "$self->{jars}/$_", "$self->{dir}/plugins/$_" foreach ('debezium', 'converter');
	append_to_file("$self->{dir}/worker.properties",
		"bootstrap.servers=" . $kafka->address . "\n"
		  . "group.id=connect\n"
		  . "listeners=http://127.0.0.1:$self->{port}\n"
		  . "plugin.path=$self->{dir}/plugins\n"
		  . "plugin.discovery=hybrid_warn\n"
		  . join('', map { "$_.storage.topic=connect-$_\n$_.storage.replication.factor=1\n" }
			  qw(config offset status))
		  . "offset.storage.partitions=1\nstatus.storage.partitions=1\n"
		  . $converter);
	return $self;
}

sub start
{
	my ($self) = @_;
	my @java = ('java', '-Xmx512m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1',
		"-Dlog4j2.configurationFile=$testbed/kafka/log4j2.properties",
		'-cp', "$self->{jars}/runtime/*",
		'org.apache.kafka.connect.cli.ConnectDistributed',
		"$self->{dir}/worker.properties");

	my $pid = fork();
	die "fork: $!" unless defined $pid;
	if ($pid == 0)
	{
		POSIX::setsid();
		open(STDIN, '<', '/dev/null');
		open(STDOUT, '>>', "$self->{dir}/connect.log");
		open(STDERR, '>&', \*STDOUT);
		exec(@java) or POSIX::_exit(1);
	}
	$self->{pid} = $pid;
	push @running, $self;
	wait_until('Kafka Connect answers', sub {
		return eval { $self->call('GET', '/connectors'); 1 };
	});
	return $self;
}

sub kill9
{
	my ($self) = @_;
	kill 'KILL', $self->{pid};
	waitpid($self->{pid}, 0);
	delete $self->{pid};
	return;
}

# The answer as Perl data; dies unless the status is 2xx.
sub call
{
	my ($self, $method, $path, $body) = @_;
	my $answer = HTTP::Tiny->new(timeout => 60)->request($method,
		"http://127.0.0.1:$self->{port}$path",
		{ headers => { 'Content-Type' => 'application/json' },
			defined $body ? (content => encode_json($body)) : () });

	die "$method $path: $answer->{status} $answer->{content}\n" unless $answer->{success};
	return length $answer->{content} ? decode_json($answer->{content}) : {};
}

# A connector of that name for a server; $more overrides.
sub create
{
	my ($self, $name, $node, $database, $more) = @_;
	my %config = (
		'connector.class' => 'io.debezium.connector.postgresql.PostgresConnector',
		'tasks.max' => '1',
		'database.hostname' => '127.0.0.1',
		'database.port' => $node->port . '',
		'database.user' => scalar getpwuid($<),
		'database.password' => 'none',
		'database.dbname' => $database,
		'topic.prefix' => $database,
		'plugin.name' => 'pgoutput',
		'slot.name' => 'debezium',
		'schema.name.adjustment.mode' => 'avro',
		'topic.creation.default.replication.factor' => '1',
		'topic.creation.default.partitions' => '1',
		%{ $more || {} });

	$self->call('PUT', "/connectors/$name/config", \%config);
	return;
}

# States of the connector and its tasks, and what went wrong
sub state
{
	my ($self, $name) = @_;
	my $status = eval { $self->call('GET', "/connectors/$name/status") } or return '';
	return join ' ', $status->{connector}{state}, map { $_->{state} } @{ $status->{tasks} };
}

sub complain
{
	my ($self, $name) = @_;
	my $status = eval { $self->call('GET', "/connectors/$name/status") } || {};
	diag($_->{trace}) foreach grep { $_->{trace} } @{ $status->{tasks} || [] };
	my @lines = split /\n/, slurp_file("$self->{dir}/connect.log");
	splice(@lines, 0, -20) if @lines > 20;
	diag(join "\n", @lines);
	return;
}

END
{
	my $code = $?;
	foreach my $process (@running)
	{
		kill 'KILL', $process->{pid} if $process->{pid};
	}
	$? = $code;
}

1;
