# Certificates for tests, made by openssl when a test asks for them.
#
#	my $c = Certificates->new;
#	$c->authority('ca');
#	$c->certificate('broker', ca => 'ca', names => 'DNS:localhost');
#	$c->certificate('late', ca => 'ca', days => -1);		# has expired
#	$c->file('broker.pem')		the certificate; broker.key its key, and
#								broker.both the two in one file
#
# A certificate that is made again replaces the one with its name: it is
# renewed in place.

package Certificates;

use strict;
use warnings;

use Cwd;
use IPC::Run;
use PostgreSQL::Test::Utils;

sub new
{
	my ($class) = @_;
	return bless {
		dir => Cwd::abs_path(PostgreSQL::Test::Utils::tempdir('certificates')) }, $class;
}

sub file { my ($self, $name) = @_; return "$self->{dir}/$name"; }

sub openssl
{
	my ($self, @arguments) = @_;
	my ($out, $err);
	local %ENV = (%ENV, LD_LIBRARY_PATH => '');

	IPC::Run::run([ 'openssl', @arguments ], '<', \undef, '>', \$out, '2>', \$err)
	  or die "openssl @arguments: $err";
	return $out;
}

my @key = ('-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1');

sub authority
{
	my ($self, $name) = @_;

	$self->openssl('req', '-x509', @key, '-nodes', '-days', 2, '-subj', "/CN=$name",
		'-keyout', $self->file("$name.key"), '-out', $self->file("$name.pem"));
	return;
}

# certificate(name, ca => ..., names => ..., days => ..., password => ...)
sub certificate
{
	my ($self, $name, %option) = @_;
	my $new = $self->file("$name.new");
	my $ca = $self->file($option{ca});

	$self->openssl('req', '-new', @key, '-subj', '/CN=' . ($option{subject} || $name),
		'-keyout', "$new.key", '-out', "$new.csr",
		$option{password} ? ('-passout', "pass:$option{password}") : '-nodes');
	append_to_file("$new.ext", $option{names} ? "subjectAltName=$option{names}\n" : "\n");
	$self->openssl('x509', '-req', '-in', "$new.csr", '-CA', "$ca.pem", '-CAkey', "$ca.key",
		'-CAcreateserial', '-days', $option{days} || 2, '-extfile', "$new.ext",
		'-out', "$new.pem");
	append_to_file("$new.both", slurp_file("$new.key") . slurp_file("$new.pem"));
	foreach my $kind ('key', 'pem', 'both')
	{
		chmod 0600, "$new.$kind";
		rename "$new.$kind", $self->file("$name.$kind") or die "rename: $!";
	}
	unlink "$new.csr", "$new.ext";
	return;
}

1;
