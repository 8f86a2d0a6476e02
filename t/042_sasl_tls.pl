# Do streams get through SASL and TLS, is each thing that can be wrong with
# passwords and certificates named with its remedy, does the stream go on by
# itself once it is right, and are secrets told to nobody?

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../test/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wal2Kafka;

use Secure;
use SecureKafka;

plan skip_all => 'this test needs a broker of its own' if $ENV{WAL2KAFKA_TEST_KAFKA};

my $c = SecureKafka::certificates();
my $trust = $c->file('trust.pem');
append_to_file($trust, slurp_file($c->file('ca.pem')));
$c->certificate('client', ca => 'ca');

my $kafka = SecureKafka->new($c)->start;
my $t = Wal2Kafka->new(
	kafka => $kafka,
	registry => 0,
	tables => Wal2Kafka->workload_tables . 'CREATE TABLE item (id int PRIMARY KEY);',
	conf => "log_min_messages = debug2\n");
my $s = Secure->new($t, 'kafka');

foreach my $principal ('plain', 'cdc', 'CN=client', 'CN=renewed')
{
	$kafka->allow($principal, 'topic', 'shop.*', qw(describe write create));
}

# Where to and how; a setting, so that the stream starts anew.
sub connect_by
{
	my ($listener, %option) = @_;
	my %all = (
		'ssl.ca.location' => $trust,
		'broker.address.family' => 'v4',
		'security.protocol' => $listener eq 'mutual' ? 'SSL' : 'SASL_SSL',
		$listener eq 'mutual' ? () : ('sasl.mechanism' => 'PLAIN'),
		%option);

	$t->admin(sprintf("ALTER SYSTEM SET wal2kafka.kafka_options = '%s'",
			join('; ', map { "$_=$all{$_}" } grep { defined $all{$_} } sort keys %all)));
	$t->set('wal2kafka.bootstrap_servers', $t->{kafka}->listener($listener));
	return;
}

my @plain = ('sasl.username' => 'plain', 'sasl.password' => 'pl4in');

# ---- SASL ----

connect_by('sasl');
$s->secrets(@plain);
$t->start_stream;
$s->flows('SASL_SSL, PLAIN');

$s->secrets('sasl.username' => 'plain', 'sasl.password' => 'wr0ng-passw0rd');
$t->{node}->reload;
$s->waits('wrong password', error => qr/authentication/i, hint => qr/sasl\.password/);
$s->secrets(@plain);
$s->flows('... goes on by itself when the file has the right one');

$s->secrets('sasl.username' => 'nobody', 'sasl.password' => 'n0bodys');
$t->{node}->reload;
$s->waits('unknown user', error => qr/authentication/i, hint => qr/user in Kafka/);
$s->secrets(@plain);
$s->flows('... goes on by itself, too');

connect_by('scram');
$s->waits('a mechanism that the listener does not have',
	error => qr/PLAIN/, hint => qr/sasl\.mechanism/);

connect_by('sasl', 'sasl.mechanism' => 'OAUTHBEARER');
$s->stops('tokens that nobody gets',
	error => qr/OAUTHBEARER.*oidc/, hint => qr/SCRAM/, no_row => 1);

connect_by('sasl', 'security.protocol' => 'SASL_PLAINTEXT');
$s->waits('no TLS where it is wanted', error => qr/broker/i, hint => qr/security\.protocol/);

# SCRAM: librdkafka before 2.6.1 cannot with Kafka 4
my ($major, $minor, $patch) = `/usr/bin/python3 -c 'import confluent_kafka; print(confluent_kafka.libversion()[0])'` =~ /(\d+)\.(\d+)\.(\d+)/;
my $scram_works = sprintf('%d%03d%03d', $major, $minor, $patch) >= 2006001;
my $before = '';

$kafka->user('cdc', 'scr4m');
$s->secrets('sasl.username' => 'cdc', 'sasl.password' => 'scr4m');
connect_by('sasl', 'sasl.mechanism' => 'SCRAM-SHA-512');
if (!$scram_works)
{
	$s->waits('SCRAM by this librdkafka to this Kafka',
		error => qr/authentication.*SCRAM/i, hint => qr/2\.6\.1/);
	connect_by('sasl');
	$s->secrets(@plain);
	$s->flows('... goes on with PLAIN');

	# the rows so far, and then another broker
	$before = $t->story('public.item');
	$t->stop_stream;
	my $older = SecureKafka->new($c, version => '3.9.1')->start;
	$older->user('cdc', 'scr4m');
	$older->allow('cdc', 'topic', 'shop.*', qw(describe write create));
	$s->secrets('sasl.username' => 'cdc', 'sasl.password' => 'scr4m');
	$t->{kafka} = $older;
	connect_by('sasl', 'sasl.mechanism' => 'SCRAM-SHA-512');
	$t->start_stream(no_wait => 1);
}
$s->flows('SASL_SSL, SCRAM-SHA-512');
connect_by('sasl', 'sasl.mechanism' => 'SCRAM-SHA-256');
$s->flows('SASL_SSL, SCRAM-SHA-256');

# The password is changed in Kafka: connections that are there go on.
$t->{kafka}->user('cdc', 'renewed-scr4m');
$s->flows('a password that was renewed in Kafka alone does not end a connection');
$t->{kafka}->stop;
$t->{kafka}->start;
$s->waits('... but the next one', error => qr/authentication/i, hint => qr/sasl\.password/);
$s->secrets('sasl.username' => 'cdc', 'sasl.password' => 'renewed-scr4m');
$s->flows('... until the file has it');
if (!$scram_works)
{
	$before .= ' ' . $t->story('public.item');
	$t->{kafka}->stop;
	$t->{kafka} = $kafka;
}
$s->secrets(@plain);

# ---- the broker's certificate ----

connect_by('stranger');
$s->waits('an authority that is not known',
	error => qr/CN=broker_stranger.*signed by an authority that is not known/,
	hint => qr/ssl\.ca\.location/);
append_to_file($trust, slurp_file($c->file('stranger.pem')));
$s->flows('... goes on by itself when the file has it');

connect_by('expired');
$s->waits('an expired certificate of the broker',
	error => qr/CN=broker_expired.*has expired/, hint => qr/Renew the certificate of the broker/);
$c->certificate('broker_expired', ca => 'ca', names => 'DNS:localhost');
$kafka->stop;
$kafka->start;
$s->flows('... goes on by itself when the broker has another');

connect_by('elsewhere');
$s->waits('a certificate for another host',
	error => qr/CN=broker_elsewhere.*for another host/, hint => qr/advertised\.listeners/);
connect_by('elsewhere', 'ssl.endpoint.identification.algorithm' => 'none');
$s->flows('... goes on where hosts are not compared');

# ---- the client's certificate ----

my @client = ('ssl.certificate.location' => $c->file('client.pem'), 'ssl.key.location' => $c->file('client.key'));

connect_by('mutual', @client);
$s->secrets;
$s->flows('mutual TLS');

connect_by('mutual');
$s->waits('no certificate of the client', error => qr/certificate/i, hint => qr/ssl\.certificate\.location/);

$c->certificate('client', ca => 'ca', days => -1);
connect_by('mutual', @client);
$s->waits('an expired certificate of the client', error => qr/certificate/i, hint => qr/has expired/);
$c->certificate('client', ca => 'ca');
$s->flows('... goes on by itself when it was renewed in its place');

$c->certificate('client', ca => 'stranger');
$t->{node}->reload;
$s->waits('a certificate of an authority that the broker does not know',
	error => qr/certificate|unknown ca/i, hint => qr/authority that the broker does not know/);
$c->certificate('client', ca => 'ca', password => 'k3y-passw0rd');
$s->secrets('ssl.key.password' => 'k3y-passw0rd');
$s->flows('a key with a password');

# ---- renewed while streaming ----

$t->start_workload(writers => 2);
$t->wait_events(100);
my $pid = $t->worker_pid;

# A certificate without its key is not used.
my $key = slurp_file($c->file('client.key'));
$c->certificate('client', ca => 'ca', subject => 'renewed');
my $new_key = slurp_file($c->file('client.key'));
unlink $c->file('client.key');
append_to_file($c->file('client.key'), $key);
$t->{node}->reload;
like($t->wait_error(qr/files of passwords or certificates/, 60), qr/not used yet/,
	'a certificate without its key is told of');
$t->wait_events(50);
is($t->stat('pid'), $pid, '... and the stream goes on with the former one');

unlink $c->file('client.key');
append_to_file($c->file('client.key'), $new_key);
chmod 0600, $c->file('client.key');
$s->secrets;
$t->{node}->reload;
wait_until('another worker runs', sub {
	my $now = $t->stat('pid');
	return $now && $now =~ /^[1-9]/ && $now != $pid;
});
$t->wait_state('streaming');
$kafka->deny('CN=client', 'topic', 'shop.*', qw(describe write create));
$t->wait_events(100);
pass('a certificate that was renewed while streaming is taken over at a reload');
$t->{node}->reload;
$t->wait_events(100);
my $renewed = $t->stat('pid');
$t->{node}->reload;
$t->wait_events(50);
is($t->stat('pid'), $renewed, 'a reload without a change changes nothing');
$t->stop_workload;
$t->check_workload('a renewed certificate');

# ---- secrets ----

# all that librdkafka may say, with a password that is wrong
connect_by('sasl', debug => 'generic,broker,topic,metadata,feature,queue,msg,protocol,eos,admin');
$s->secrets('sasl.username' => 'plain', 'sasl.password' => 'wr0ng-ag4in');
$s->waits('wrong password again', error => qr/authentication/i, hint => qr/sasl\.password/);
$s->secrets(@plain);
$s->flows('SASL_SSL with debug contexts');

# PEM text belongs into the file
my $pem = slurp_file($c->file('client.key'));
my $line = (split /\n/, $pem)[1];
$s->hide($line);
my ($code, $out, $err) = $t->{node}->psql('postgres',
	"SET log_min_error_statement = panic;\nALTER SYSTEM SET wal2kafka.kafka_options = 'ssl.key.pem=$pem'");
like($err, qr/ssl\.key\.pem/, 'PEM text is refused in a setting');
unlike($err, qr/\Q$line\E/, 'an error does not quote PEM');

$s->check_story($before);
$s->check_leaks;

done_testing();
