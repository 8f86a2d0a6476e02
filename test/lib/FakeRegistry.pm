# A schema registry that can be told to misbehave: fake_registry.py.
#
#	my $registry = FakeRegistry->new(arguments...)->start;
#	$registry->control(fail => -1, status => 503);
#	$registry->requests			what it was asked so far

package FakeRegistry;

use strict;
use warnings;

use File::Basename;
use HTTP::Tiny;
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Cluster;

my $script = dirname(__FILE__) . '/fake_registry.py';
my @running;

sub new
{
	my ($class, @arguments) = @_;
	return bless {
		port => PostgreSQL::Test::Cluster::get_free_port(),
		arguments => \@arguments }, $class;
}

sub start
{
	my ($self) = @_;
	my $out = '';
	local %ENV = (%ENV, LD_LIBRARY_PATH => '');

	$self->{harness} = IPC::Run::start(
		[ '/usr/bin/python3', $script, '--port', $self->{port}, @{ $self->{arguments} } ],
		'>', \$out, '2>', '/dev/null');
	$self->{harness}->pump until $out =~ /ready/;
	push @running, $self;
	return $self;
}

sub address { my ($self) = @_; return "http://127.0.0.1:$self->{port}"; }

sub request
{
	my ($self, $method, $path, $body) = @_;
	my $reply = HTTP::Tiny->new(timeout => 20)->request($method,
		$self->address . $path,
		{ defined $body ? (content => encode_json($body)) : () });

	die "fake registry: $reply->{status} $reply->{content}" unless $reply->{success};
	return $reply->{content} =~ /^[\[{]/ ? decode_json($reply->{content}) : undef;
}

sub control { my ($self, %how) = @_; return $self->request('POST', '/__control', \%how); }
sub requests { my ($self) = @_; return $self->request('GET', '/__dump'); }
sub clear { my ($self) = @_; return $self->request('POST', '/__clear', {}); }

END
{
	my $code = $?;
	$_->{harness}->kill_kill foreach @running;
	$? = $code;
}

1;
