# A registry behind HTTPS and authentication: tls_proxy.py before a Testbed.
#
#	my $proxy = TlsProxy->new($registry, $certificates, 'registry')->start;
#	$proxy->require_auth('basic cdc:s3cret');	# lines; none: everybody
#	$proxy->address								https://localhost:PORT/...

package TlsProxy;

use strict;
use warnings;

use File::Basename;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

my $script = dirname(__FILE__) . '/tls_proxy.py';
my @running;

sub new
{
	my ($class, $registry, $certificates, $name, @arguments) = @_;
	my $self = bless {
		registry => $registry,
		port => PostgreSQL::Test::Cluster::get_free_port() }, $class;

	$self->{auth} = $certificates->file("$self->{port}.auth");
	$self->{arguments} = [ $certificates->file("$name.pem"), $certificates->file("$name.key"),
		'--auth', $self->{auth}, @arguments ];
	$self->require_auth;
	return $self;
}

sub start
{
	my ($self) = @_;
	my $out = '';
	local %ENV = (%ENV, LD_LIBRARY_PATH => '');

	$self->{harness} = IPC::Run::start([ '/usr/bin/python3', $script, $self->{port},
			$self->{registry}->port, @{ $self->{arguments} } ], '>', \$out);
	$self->{harness}->pump until $out =~ /ready/;
	push @running, $self;
	return $self;
}

sub require_auth
{
	my ($self, @lines) = @_;
	my $new = "$self->{auth}.new";

	unlink $new;
	append_to_file($new, join('', map { "$_\n" } @lines));
	rename $new, $self->{auth} or die "rename: $!";
	return;
}

sub address
{
	my ($self) = @_;
	my $address = $self->{registry}->address;

	$address =~ s{http://[^/]*}{https://localhost:$self->{port}};
	return $address;
}

END
{
	my $code = $?;
	$_->{harness}->kill_kill foreach grep { $_->{harness} } @running;
	$? = $code;
}

1;
