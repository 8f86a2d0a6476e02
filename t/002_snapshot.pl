# Does a new stream carry the rows as they are, and then every change?

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../test/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wal2Kafka;

my $t = Wal2Kafka->new(
	snapshot => 'initial',
	tables => q{
	CREATE TABLE item (id int PRIMARY KEY, v int NOT NULL);
	CREATE TABLE empty (id int PRIMARY KEY);
	CREATE TABLE other (id int PRIMARY KEY, note text);
	INSERT INTO item SELECT i, 0 FROM generate_series(1, 5000) i;
	INSERT INTO other VALUES (1, 'x'), (2, NULL);
} . Wal2Kafka->workload_tables);

# Writers go on while the slot is made and the tables are read.
$t->start_workload(writers => 2);
$t->start_stream;
$t->sql('UPDATE item SET v = 1 WHERE id <= 10');
$t->sql('INSERT INTO empty VALUES (1)');
$t->wait_caught_up;

my $item = $t->records('public.item');
my @read = grep { $_->{value}{op} eq 'r' } @$item;
my @later = grep { $_->{value}{op} ne 'r' } @$item;
my %keys = map { $_->{key}{id} => 1 } @read;

is(scalar(keys %keys), 5000, 'each row was read');
is(scalar(@read), 5000, '... once');
is(scalar(@later), 10, 'and then each change');
ok((!grep { $_->{value}{op} ne 'r' } @$item[0 .. 4999]), 'rows come before changes');
is($later[0]{value}{op}, 'u', 'a change after the snapshot is an update');
is($t->story('public.other'), 'r:1 r:2', 'small table');
is($t->story('public.empty'), 'c:1', 'empty table');
is($read[0]{value}{source}{snapshot} =~ /^(true|first|first_in_data_collection)$/ ? 1 : 0,
	1, 'source.snapshot of a row');
my %ids = map { $_->{value}{source}{txId} => 1 } @read;
is(scalar(grep { $_ >= 3 && $_ <= $later[0]{value}{source}{txId} } keys %ids), 1,
	'one transaction id for all rows, not after those of the changes');

# Rows of the ledger start at whatever version they had, so only the final
# state can be compared.
wait_until('the workload made changes', sub { $t->sql('SELECT count(*) FROM ledger') > 50 });
$t->stop_workload;
$t->wait_caught_up;
my ($ok, $out) = $t->reader('fold', $t->topic('public.ledger'));
my @got = sort map { my $r = JSON::PP::decode_json($_); "$r->{id}|$r->{version}|$r->{uid}" } split /\n/, $out;
my @want = sort split /\n/, $t->sql('SELECT id, version, uid FROM ledger');
is_deeply(\@got, \@want, 'snapshot and changes together give the table');

# The snapshot is not made again.
my $before = scalar(@{ $t->records('public.item') });
$t->{node}->restart;
$t->wait_state('streaming');
$t->sql('UPDATE item SET v = 2 WHERE id = 1');
$t->wait_caught_up;
is(scalar(@{ $t->records('public.item') }), $before + 1, 'a restart reads nothing again');

done_testing();
