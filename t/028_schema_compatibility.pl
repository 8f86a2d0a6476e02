# A real registry with a rule: what it refuses stops the stream at its place,
# and the stream goes on by itself once the registry accepts.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../test/lib";

use HTTP::Tiny;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wal2Kafka;

my $t = Wal2Kafka->new(
	tables => 'CREATE TABLE item (id int PRIMARY KEY, name text NOT NULL);'
	  . ' CREATE TABLE other (id int PRIMARY KEY)');
my $subject = 'shop.public.item-value';

sub set_rule
{
	my ($level) = @_;
	my $reply = HTTP::Tiny->new->request('PUT',
		$t->{registry}->address . "/config/$subject",
		{ headers => { 'content-type' => 'application/json' },
			content => qq({"compatibility":"$level"}) });
	die "$reply->{status} $reply->{content}" unless $reply->{success};
	return;
}

$t->start_stream;
$t->sql(q{INSERT INTO item VALUES (1, 'a')});
$t->wait_caught_up;
set_rule('BACKWARD');

# Compatible: a new version, and no stop.
$t->sql(q{ALTER TABLE item ADD COLUMN note text; INSERT INTO item VALUES (2, 'b', 'n')});
$t->wait_caught_up;
is($t->story('public.item'), 'c:1 c:2', 'a compatible change is registered');

# Incompatible, in mid-transaction.
$t->sql(q{
	BEGIN;
	INSERT INTO item VALUES (3, 'c', 'n');
	ALTER TABLE item ALTER COLUMN name TYPE int USING 7;
	INSERT INTO item VALUES (4, 8, 'n');
	COMMIT;
	INSERT INTO other VALUES (1);
});
my $error = $t->wait_error(qr/schema/i);
like($error, qr/\Q$subject\E/, 'the error names the subject');
like($error, qr/name/, '... and the column that differs');
my $hint = $t->stat('last_error_hint');
like($hint, qr/compatibility/, 'a way out: the rule');
like($hint, qr/publication/, '... or to leave the table out');
like($hint, qr/revert/i, '... or to revert the change of the table');
$t->wait_waiting_for('schema');
unlike($t->story('public.item'), qr/c:4/, 'nothing is sent past it');
is($t->story('public.other'), '', 'nor of the tables behind it');

set_rule('NONE');
$t->wait_caught_up(90);
like($t->story('public.item'), qr/c:4$/, 'goes on by itself');
is($t->story('public.other'), 'c:1', '... with what was behind');

done_testing();
