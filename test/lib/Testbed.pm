# A broker or a registry as a process of its own, by test/testbed/testbed.sh.
#
#	my $kafka = Testbed->new('kafka');		# or 'registry'
#	$kafka->start; $kafka->kill9; $kafka->freeze; $kafka->thaw; $kafka->stop;
#	$kafka->address		127.0.0.1:PORT, or the registry's URL
#
# start() after stop() or kill9() is the same broker with its data (a registry
# comes back empty).  All are stopped when the test ends.
#
# Where WAL2KAFKA_TEST_KAFKA or WAL2KAFKA_TEST_REGISTRY names one that runs
# already (a test in a chroot without Java), that one is used, and faults
# cannot be injected.

package Testbed;

use strict;
use warnings;

use File::Basename;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $script = dirname(__FILE__) . '/../testbed/testbed.sh';
my @running;

sub new
{
	my ($class, $kind, %properties) = @_;
	my $self = bless { kind => $kind, properties => \%properties }, $class;

	$self->{outside} = $ENV{ 'WAL2KAFKA_TEST_' . uc $kind };
	if (!$self->{outside})
	{
		$self->{dir} = PostgreSQL::Test::Utils::tempdir($kind);
		$self->{port} = PostgreSQL::Test::Cluster::get_free_port();
		$self->{second_port} = PostgreSQL::Test::Cluster::get_free_port()
		  if $kind eq 'kafka';
		push @running, $self;
	}
	return $self;
}

sub address
{
	my ($self) = @_;
	return $self->{outside} if $self->{outside};
	return "127.0.0.1:$self->{port}" if $self->{kind} eq 'kafka';
	return "http://127.0.0.1:$self->{port}/apis/ccompat/v7";
}

sub port { my ($self) = @_; return $self->{port}; }

sub command
{
	my ($self, $verb, @arguments) = @_;
	local $ENV{KAFKA_PROPERTIES} = join("\n",
		map { "$_=$self->{properties}{$_}" } sort keys %{ $self->{properties} });

	die "cannot $verb $self->{kind}: it is not ours" if $self->{outside};
	my $code = system($script, "$self->{kind}_$verb", $self->{dir}, @arguments);
	die "$script $self->{kind}_$verb failed" if $code != 0;
	return;
}

sub start
{
	my ($self) = @_;
	return $self if $self->{outside};
	$self->command('start', grep { defined } $self->{port}, $self->{second_port});
	return $self;
}

sub pid
{
	my ($self) = @_;
	my $file = "$self->{dir}/$self->{kind}.pid";
	return unless -s $file;
	my $pid = slurp_file($file);
	chomp $pid;
	return $pid;
}

sub stop { $_[0]->command('stop'); return; }
sub kill9 { $_[0]->command('kill'); return; }
sub freeze { kill 'STOP', $_[0]->pid; return; }
sub thaw { kill 'CONT', $_[0]->pid; return; }

# kafka_admin.py VERB ARGUMENT...; its output
sub admin
{
	my ($self, @arguments) = @_;
	my ($out, $err);
	local %ENV = (%ENV, LD_LIBRARY_PATH => '');

	IPC::Run::run(
		[ '/usr/bin/python3', dirname(__FILE__) . '/kafka_admin.py', $self->address, @arguments ],
		'>', \$out, '2>', \$err) or die "kafka_admin.py @arguments: $err";
	return $out;
}

sub topic_config { my ($self, @what) = @_; $self->admin('config', @what); return; }

# Topics and their numbers of partitions.
sub topics
{
	my ($self) = @_;
	return { map { split / / } split /\n/, $self->admin('topics') };
}

END
{
	my $code = $?;
	foreach my $process (@running)
	{
		my $pid = $process->pid;
		kill 'KILL', $pid if $pid;
	}
	$? = $code;
}

1;
