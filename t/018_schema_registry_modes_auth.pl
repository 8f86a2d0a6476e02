# Do look-up only, latest, subject strategies, authentication and several addresses work?

use strict;
use warnings;

use Cwd;
use FindBin;
use lib "$FindBin::Bin/../test/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wal2Kafka;

use FakeRegistry;

my $registry = FakeRegistry->new->start;
my $t = Wal2Kafka->new(
	registry => $registry,
	tables => q{
	CREATE TABLE item (id int PRIMARY KEY, name text);
	CREATE TABLE other (id int PRIMARY KEY);
});

sub posts
{
	my $all = $registry->requests;
	$all = $all->{requests} if ref $all eq 'HASH';
	return grep { $_->{method} eq 'POST' } @$all;
}

sub next_setting
{
	my (%set) = @_;
	my $pid = $t->stat('pid') || 0;

	$registry->clear;
	foreach my $name (sort keys %set)
	{
		$t->admin(defined $set{$name} ? "ALTER DATABASE shop SET wal2kafka.$name = '$set{$name}'"
			: "ALTER DATABASE shop RESET wal2kafka.$name");
	}
	wait_until('another worker runs', sub {
		my $now = $t->stat('pid');
		return $now && $now =~ /^[1-9]/ && $now != $pid;
	});
	return;
}

$t->start_stream;
$t->sql(q{INSERT INTO item VALUES (1, 'a')});
$t->wait_caught_up;
my @paths = map { $_->{path} } posts();
ok((grep { m{^/subjects/shop\.public\.item-key/versions} } @paths), 'registers the key');
ok((grep { m{^/subjects/shop\.public\.item-value/versions} } @paths), '... and the value');

# Look-up only.
next_setting(auto_register_schemas => 'off');
$t->sql(q{INSERT INTO item VALUES (2, 'b')});
$t->wait_caught_up;
@paths = map { $_->{path} } posts();
ok((!grep { m{/versions} } @paths), 'auto_register_schemas = off registers nothing');
$t->sql('INSERT INTO other VALUES (1)');
my $error = $t->wait_error(qr/other/);
like($error, qr/shop\.public\.other/, 'a schema that nobody registered is named');
next_setting(auto_register_schemas => undef);
$t->wait_caught_up(60);
is($t->story('public.other'), 'c:1', 'registering again: goes on by itself');

# Subjects by the record's name.
next_setting(value_subject_name_strategy => 'RecordNameStrategy');
$t->sql(q{INSERT INTO item VALUES (3, 'c')});
$t->wait_caught_up;
@paths = map { $_->{path} } posts();
ok((grep { m{^/subjects/shop\.public\.item\.Envelope/versions} } @paths), 'RecordNameStrategy')
  or diag("@paths");
next_setting(value_subject_name_strategy => undef);

# Basic authentication, by a file that only the server's user can read.
$registry->control(require_auth => 'basic reader:s3cret');
my $file = Cwd::abs_path($t->{node}->data_dir) . '/registry.options';
append_to_file($file, "basic.auth.user.info=reader:s3cret\n");
chmod 0600, $file;
$t->sql('ALTER TABLE item ADD COLUMN price int');
$t->sql(q{INSERT INTO item VALUES (4, 'd', 1)});
$t->wait_error(qr/401|authori[sz]/i);
pass('refused without authentication');
$t->set('wal2kafka.schema_registry_options_file', $file);
$t->wait_caught_up(60);
$registry->control(require_auth => '');
like($t->story('public.item'), qr/c:4$/, 'basic authentication');
unlike(slurp_file($t->{node}->logfile), qr/s3cret/, 'the password is in no log');

# A list of addresses: the first is dead.
$t->set('wal2kafka.schema_registry_url', 'http://127.0.0.1:1,' . $registry->address);
$t->sql(q{INSERT INTO item VALUES (5, 'e', 1)});
$t->wait_caught_up(60);
like($t->story('public.item'), qr/c:5$/, 'the second address is used when the first is dead');

done_testing();
