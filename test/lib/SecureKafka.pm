# A broker that lets nobody in without a name, and nobody do what no rule
# allows.
#
#	my $kafka = SecureKafka->new($certificates)->start;
#	$kafka->user('cdc', 's3cret');						# SCRAM, and again: renewed
#	$kafka->allow('cdc', 'topic', 'shop.*', qw(describe write create));
#	$kafka->deny('cdc', ...);							# takes that back
#	$kafka->listener('sasl')							# localhost:PORT
#
# $certificates is made by certificates().  Listeners:
#
#	sasl		SASL_SSL: SCRAM-SHA-512, SCRAM-SHA-256, PLAIN (user "plain")
#	scram		SASL_SSL: SCRAM-SHA-512 alone
#	mutual		SSL, clients have a certificate: principal User:CN=...
#	expired, stranger, elsewhere
#				SASL_SSL, with a certificate of the broker that has expired, is
#				of an authority that nobody knows, is for another host
#
# new($certificates, version => ...) is a broker of another version; others are
# the broker's properties.
#
# The address of a Testbed, PLAINTEXT, is the test's own: whoever comes there
# is a super user.

package SecureKafka;

use strict;
use warnings;

use Certificates;
use PostgreSQL::Test::Cluster;
use Testbed;

our @ISA = ('Testbed');

my %certificate_of = (
	sasl => 'broker',
	scram => 'broker',
	mutual => 'broker',
	expired => 'broker_expired',
	stranger => 'broker_stranger',
	elsewhere => 'broker_elsewhere');

sub certificates
{
	my $certificates = Certificates->new;

	$certificates->authority('ca');
	$certificates->authority('stranger');
	$certificates->certificate('broker', ca => 'ca', names => 'DNS:localhost,IP:127.0.0.1');
	$certificates->certificate('broker_expired', ca => 'ca', names => 'DNS:localhost', days => -1);
	$certificates->certificate('broker_stranger', ca => 'stranger', names => 'DNS:localhost');
	$certificates->certificate('broker_elsewhere', ca => 'ca', names => 'DNS:elsewhere.example');
	return $certificates;
}

sub new
{
	my ($class, $certificates, %more) = @_;
	my $self = Testbed::new($class, 'kafka');

	$self->{version} = delete $more{version};
	my %port = map { ($_ => PostgreSQL::Test::Cluster::get_free_port()) } keys %certificate_of;
	my $plain = 'org.apache.kafka.common.security.plain.PlainLoginModule required user_plain="pl4in";';
	my $scram = 'org.apache.kafka.common.security.scram.ScramLoginModule required;';
	my %p = (
		'listeners' => join(',', "PLAINTEXT://127.0.0.1:$self->{port}",
			"CONTROLLER://127.0.0.1:$self->{second_port}",
			map { uc($_) . "://127.0.0.1:$port{$_}" } sort keys %port),
		'advertised.listeners' => join(',', "PLAINTEXT://127.0.0.1:$self->{port}",
			map { uc($_) . "://localhost:$port{$_}" } sort keys %port),
		'listener.security.protocol.map' => join(',', 'PLAINTEXT:PLAINTEXT', 'CONTROLLER:PLAINTEXT',
			map { uc($_) . ($_ eq 'mutual' ? ':SSL' : ':SASL_SSL') } sort keys %port),
		'authorizer.class.name' => 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
		'allow.everyone.if.no.acl.found' => 'false',
		'super.users' => 'User:ANONYMOUS',
		'ssl.truststore.type' => 'PEM',
		'ssl.truststore.location' => $certificates->file('ca.pem'),
		'listener.name.mutual.ssl.client.auth' => 'required',
		'listener.name.scram.sasl.enabled.mechanisms' => 'SCRAM-SHA-512',
		'sasl.enabled.mechanisms' => 'SCRAM-SHA-512,SCRAM-SHA-256,PLAIN');

	foreach my $name (keys %certificate_of)
	{
		my $prefix = "listener.name.$name";

		$p{"$prefix.ssl.keystore.type"} = 'PEM';
		$p{"$prefix.ssl.keystore.location"} = $certificates->file("$certificate_of{$name}.both");
		next if $name eq 'mutual';
		$p{"$prefix.plain.sasl.jaas.config"} = $plain;
		$p{"$prefix.scram-sha-256.sasl.jaas.config"} = $scram;
		$p{"$prefix.scram-sha-512.sasl.jaas.config"} = $scram;
	}
	$self->{properties} = { %p, %more };
	$self->{listeners} = \%port;
	return $self;
}

sub command
{
	my ($self, @what) = @_;
	local %ENV = (%ENV, $self->{version} ? (KAFKA_VERSION => $self->{version}) : ());

	$self->SUPER::command(@what);
	return;
}

sub listener { my ($self, $name) = @_; return "localhost:$self->{listeners}{$name}"; }

sub user { my ($self, $name, $password) = @_; $self->admin('user', $name, $password); return; }

# Principals that are distinguished names come as they are, others are users.
sub allow { my ($self, @rule) = @_; $self->admin('allow', @rule); return; }
sub deny { my ($self, @rule) = @_; $self->admin('deny', @rule); return; }

1;
