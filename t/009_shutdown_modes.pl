# Does the server stop quickly in every mode, with the broker there or dead?

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../test/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wal2Kafka;

my $t = Wal2Kafka->new(tables => Wal2Kafka->workload_tables);
my $node = $t->{node};
my %signal = (smart => 'TERM', fast => 'INT', immediate => 'QUIT');

sub stop_takes
{
	my ($mode) = @_;
	my $began = Time::HiRes::time();
	$node->stop($mode);
	return Time::HiRes::time() - $began;
}

$t->start_stream;
$t->start_workload(writers => 2);
foreach my $mode ('fast', 'immediate')
{
	$t->wait_events(200);
	my $took = stop_takes($mode);
	note("$mode: $took s");
	$node->start;
	$t->wait_state('streaming');
}
$t->wait_events(200);
$t->stop_workload;
$t->check_workload('stopped under load');

my $took = stop_takes('smart');
note("smart, idle: $took s");
cmp_ok($took, '<', 5, 'smart');
$node->start;
$t->wait_state('streaming');

# A dead broker, and work that it should take: the worker gets a moment, and
# its end is not the last checkpoint, so measure the worker's own end.
foreach my $mode ('smart', 'fast', 'immediate')
{
	$t->{kafka}->kill9;
	$t->sql("INSERT INTO ledger VALUES (-1, 1, 0, '$mode'); DELETE FROM ledger WHERE id = -1;");
	$t->wait_waiting_for('broker');
	my $pid = $t->worker_pid;
	my $began = Time::HiRes::time();
	kill $signal{$mode}, $t->postmaster_pid;
	wait_until('the worker ended', sub { !kill 0, $pid });
	my $ended = Time::HiRes::time() - $began;
	note("worker's end, $mode, dead broker: $ended s");
	cmp_ok($ended, '<', 1, "$mode with a dead broker: the worker ends within a second");
	wait_until('the server stopped', sub { !-e $node->data_dir . '/postmaster.pid' });
	$t->stopped;
	$t->{kafka}->start;
	$node->start;
	$t->wait_state('streaming');
}
$t->wait_caught_up;
is(scalar(grep { $_->{key}{id} == -1 && $_->{value} && $_->{value}{op} eq 'c' } @{ $t->records('public.ledger') }) >= 3,
	1, 'what was written before each stop arrived');

done_testing();
