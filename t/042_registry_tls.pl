# Does a stream get its ids from a registry behind TLS, names and passwords,
# say what is wrong with any of these, and go on by itself?

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../test/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wal2Kafka;

use Certificates;
use Secure;
use Testbed;
use TlsProxy;

plan skip_all => 'this test needs a registry of its own' if $ENV{WAL2KAFKA_TEST_REGISTRY};

my $c = Certificates->new;
my $trust = $c->file('trust.pem');
$c->authority('ca');
$c->authority('stranger');
$c->certificate('registry', ca => 'ca', names => 'DNS:localhost');
$c->certificate('client', ca => 'ca');
append_to_file($trust, slurp_file($c->file('ca.pem')));

my $registry = Testbed->new('registry')->start;
my $proxy = TlsProxy->new($registry, $c, 'registry')->start;
my $mutual = TlsProxy->new($registry, $c, 'registry', '--client-ca', $c->file('ca.pem'))->start;

my $t = Wal2Kafka->new(
	registry => $registry,
	tables => 'CREATE TABLE item (id int PRIMARY KEY);',
	conf => sprintf(q{
log_min_messages = debug2
wal2kafka.schema_registry_url = '%s'
wal2kafka.schema_registry_options = 'ssl.ca.location=%s'
}, $proxy->address, $trust));
my $s = Secure->new($t, 'registry');

# Each worker asks for the ids of its schemas once: a new one asks anew.
sub ask_again
{
	my ($now) = @_;
	my $pid = $t->stat('pid') || 0;

	$t->admin(q{SELECT wal2kafka.restart('shop/cdc')});
	wait_until('another worker runs', sub {
		my $now = $t->stat('pid');
		return $now && $now =~ /^[1-9]/ && $now != $pid;
	});
	return;
}

$proxy->require_auth('basic cdc:r3gistry');
$mutual->require_auth('bearer t0ken-of-cdc');
$s->secrets('basic.auth.user.info' => 'cdc:r3gistry');
$s->hide('r3gistry');
$t->start_stream;
$s->flows('TLS and basic authentication');

# ---- passwords ----

$proxy->require_auth('basic cdc:r3newed');
ask_again();
$s->stops('a password that was changed', error => qr/other credentials.*401/,
	hint => qr/schema_registry_options_file/);
$s->secrets('basic.auth.user.info' => 'cdc:r3newed');
$s->hide('r3newed');
$s->flows('... goes on by itself when the file has it');

# ---- the registry's certificate ----

$c->certificate('registry', ca => 'stranger', names => 'DNS:localhost');
ask_again();
$s->waits('an authority that is not known', error => qr/certificate/,
	hint => qr/ssl\.ca\.location/);
append_to_file($trust, slurp_file($c->file('stranger.pem')));
$s->flows('... goes on by itself when the file has it');

$c->certificate('registry', ca => 'ca', names => 'DNS:localhost', days => -1);
ask_again();
$s->waits('an expired certificate of the registry', error => qr/expired/,
	hint => qr/Renew the registry's certificate/);
$c->certificate('registry', ca => 'ca', names => 'DNS:localhost');
$s->flows('... goes on by itself when it was renewed');

$c->certificate('registry', ca => 'ca', names => 'DNS:elsewhere.example');
ask_again();
$s->waits('a certificate for another host', error => qr/host name/,
	hint => qr/schema_registry_url/);
$t->set('wal2kafka.schema_registry_options',
	"ssl.ca.location=$trust; ssl.endpoint.identification.algorithm=none");
$s->flows('... goes on where hosts are not compared');
$c->certificate('registry', ca => 'ca', names => 'DNS:localhost');

# ---- the client's certificate, and a token ----

my $client = sprintf('ssl.ca.location=%s; ssl.certificate.location=%s; ssl.key.location=%s',
	$trust, $c->file('client.pem'), $c->file('client.key'));

$s->secrets('bearer.auth.token' => 't0ken-of-cdc');
$t->admin("ALTER SYSTEM SET wal2kafka.schema_registry_options = '$client'");
$t->set('wal2kafka.schema_registry_url', $mutual->address);
$s->flows('mutual TLS and a token');

$c->certificate('client', ca => 'ca', days => -1);
ask_again();
$s->waits('an expired certificate of the client', error => qr/certificate|expired/,
	hint => qr/ssl\.certificate\.location/);
$c->certificate('client', ca => 'ca');
$s->flows('... goes on by itself when it was renewed in its place');

$s->secrets('bearer.auth.token' => 'an0ther-t0ken');
ask_again();
$s->stops('a wrong token', error => qr/other credentials.*401/,
	hint => qr/schema_registry_options_file/);
$s->secrets('bearer.auth.token' => 't0ken-of-cdc');
$s->flows('... goes on by itself when the file has the right one');

$s->check_story;
$s->check_leaks;

done_testing();
