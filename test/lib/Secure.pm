# What tests of secured connections have in common: the file of secrets, an
# outage that names its cause, and a search for secrets everywhere.
#
#	my $s = Secure->new($t, 'kafka');		# or 'registry'
#	$s->secrets('sasl.username' => 'cdc', 'sasl.password' => 's3cret');
#	$s->flows('what is meant to work');
#	$s->waits('what is not', error => qr/.../, hint => qr/.../);
#	$s->stops('what is refused', error => ..., hint => ...);
#	$s->check_story;						# nothing is lost
#	$s->check_leaks;						# nor are secrets told

package Secure;

use strict;
use warnings;

use Cwd;
use PostgreSQL::Test::Utils;
use Test::More;
use Wal2Kafka;

my %setting = (kafka => 'kafka_options_file', registry => 'schema_registry_options_file');

sub new
{
	my ($class, $t, $kind) = @_;
	my $self = bless {
		t => $t,
		kind => $kind,
		setting => "wal2kafka.$setting{$kind}",
		file => Cwd::abs_path($t->{node}->basedir) . "/$kind.secrets",
		row => 0,
		hidden => {} }, $class;

	append_to_file($self->{file}, '');
	chmod 0600, $self->{file};
	$t->set($self->{setting}, $self->{file});
	return $self;
}

# The file's new content, as an administrator's tool replaces it.
sub secrets
{
	my ($self, %option) = @_;
	my $new = "$self->{file}.new";

	unlink $new;
	append_to_file($new, join('', map { "$_=$option{$_}\n" } sort keys %option));
	chmod 0600, $new;
	rename $new, $self->{file} or die "rename: $!";
	$self->hide(map { $option{$_} } grep { /password|token|info/ } keys %option);
	return;
}

# More that must be found nowhere
sub hide { my ($self, @texts) = @_; $self->{hidden}{$_} = 1 foreach @texts; return; }

sub insert
{
	my ($self) = @_;
	my $row = ++$self->{row};

	$self->{t}->sql("INSERT INTO item VALUES ($row)");
	return $row;
}

# A row goes through, with those before it.
sub flows
{
	my ($self, $name) = @_;
	my $row = $self->insert;

	eval { $self->{t}->wait_caught_up(120); 1 } or do { fail($name); die $@ };
	like($self->{t}->story('public.item'), qr/c:$row$/, $name);
	return;
}

sub told
{
	my ($self, $name, %is) = @_;
	my $t = $self->{t};

	like($t->wait_error($is{error}, 120), $is{error}, "$name: the cause");
	like($t->stat('last_error_hint'), $is{hint}, "$name: the remedy");
	my $health = $t->admin('SELECT reason FROM wal2kafka.health()');
	like($health, $is{error}, "$name: health() has the cause");
	return;
}

# A row does not go through, the stream waits, and says why.
sub waits
{
	my ($self, $name, %is) = @_;

	$self->insert unless $is{no_row};
	$self->{t}->wait_waiting_for($self->{kind} eq 'kafka' ? 'broker' : 'registry', 60);
	$self->told($name, %is);
	return;
}

# A row does not go through: the stream ends, says why, and tries again.
sub stops
{
	my ($self, $name, %is) = @_;

	$self->insert unless $is{no_row};
	$self->told($name, %is);
	return;
}

# Every row is there, in order, whatever was sent again.
sub check_story
{
	my ($self, @more) = @_;
	my %seen;
	my @story = grep { !$seen{$_}++ } map { split / / } @more, $self->{t}->story('public.item');

	is(join(' ', @story), join(' ', map { "c:$_" } 1 .. $self->{row}), 'no row is lost');
	return;
}

sub check_leaks
{
	my ($self) = @_;
	my $t = $self->{t};
	my $node = $t->{node};
	my %place = (log => slurp_file($node->logfile));

	$node->safe_psql('postgres', q{
		DO $$ BEGIN CREATE ROLE ordinary LOGIN; CREATE ROLE watcher LOGIN IN ROLE pg_monitor;
		EXCEPTION WHEN duplicate_object THEN NULL; END $$});
	foreach my $role ('postgres', 'ordinary', 'watcher', 'cdc')
	{
		my $user = $role eq 'postgres' ? $node->safe_psql('postgres', 'SELECT current_user') : $role;
		foreach my $what ('pg_settings', 'pg_db_role_setting', 'pg_file_settings',
			'wal2kafka.stat_streams', 'wal2kafka.health()', 'pg_stat_activity')
		{
			my ($code, $out, $err) = $node->psql('postgres', "SELECT * FROM $what",
				extra_params => [ '-U', $user ]);
			$place{"$what as $role"} = ($out // '') . ($err // '');
		}
	}
	foreach my $pid ($t->stat('pid'), $t->postmaster_pid)
	{
		next unless $pid;
		foreach my $what ('environ', 'cmdline')
		{
			my $text = eval { slurp_file("/proc/$pid/$what") };
			$place{"/proc/$pid/$what"} = $text if defined $text;
		}
	}
	my ($out, $err);
	$node->run_log([ 'pg_dumpall', '-d', $node->connstr('postgres') ], '>', \$out, '2>', \$err);
	$place{pg_dumpall} = ($out // '') . ($err // '');
	cmp_ok(length($place{log}) + length($place{pg_dumpall}), '>', 10000, 'there is something to search');

	foreach my $secret (sort keys %{ $self->{hidden} })
	{
		my @found = grep { index($place{$_}, $secret) >= 0 } sort keys %place;
		is("@found", '', 'a secret of ' . length($secret) . ' characters is nowhere');
	}
	return;
}

1;
