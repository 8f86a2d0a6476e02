# Does what should be masked stay out of Kafka, in snapshot and stream, also
# when the mask is misspelt?

use strict;
use warnings;

use File::Spec;
use FindBin;
use lib "$FindBin::Bin/../test/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wal2Kafka;

my $t = Wal2Kafka->new(
	snapshot => 'initial',
	tables => q{
	CREATE TABLE person (id int PRIMARY KEY, email text, iban text);
	INSERT INTO person VALUES (1, 'clear@one', 'clear one');
});
my $salts = File::Spec->rel2abs($t->{node}->basedir . '/salts');

# The file has the salt; a mask for a column that is not there.
open my $file, '>', $salts or die $!;
print $file "# person\nmask.hash.v2.SHA-256.with.salt.pepper=public\\.person\\.email\n";
close $file;
chmod 0600, $salts;
$t->admin("ALTER DATABASE shop SET wal2kafka.column_transforms_file = '$salts'");
$t->admin(q{ALTER DATABASE shop SET wal2kafka.column_transforms = 'mask.with.4.chars=public\.person\.ibam'});
$t->start_stream(no_wait => 1);
$t->wait_error(qr/"public\\\.person\\\.ibam" of "wal2kafka\.column_transforms" matches no column/);
pass('a mask that matches nothing keeps the stream from starting');

$t->admin(q{ALTER DATABASE shop SET wal2kafka.column_transforms = 'mask.with.4.chars=public\.person\.iban'});
$t->wait_state('streaming');
$t->sql(q{
	INSERT INTO person VALUES (2, 'clear@two', 'clear two');
	INSERT INTO person VALUES (3, NULL, NULL);
	UPDATE person SET iban = 'clear three' WHERE id = 3;
	DELETE FROM person WHERE id = 2;
});
$t->wait_caught_up;

my @values = grep { defined } map { $_->[3] } @{ $t->events('public.person') };
is_deeply(
	[ map { $_->{iban} } @values ],
	[ ('****') x 4 ],
	'masks, for null too');
my %hash = map { $_ => $t->sql("SELECT encode(sha256('pepper$_'), 'hex')") } 'clear@one', 'clear@two';
is_deeply(
	[ map { $_->{email} } @values ],
	[ $hash{'clear@one'}, $hash{'clear@two'}, undef, undef ],
	'hashes, in snapshot and stream');

my $log = slurp_file($t->{node}->logfile);
unlike($log, qr/pepper/, 'the salt is not in the log');

# A file that others may read is not read.
chmod 0644, $salts;
$t->admin(q{ALTER DATABASE shop SET wal2kafka.tombstones_on_delete = off});
$t->wait_error(qr/group or world access/);
pass('salts that others can read hold the stream');
chmod 0600, $salts;
$t->wait_state('streaming');
pass('it goes on by itself');

done_testing();
