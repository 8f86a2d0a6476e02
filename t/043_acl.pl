# With rules for who may do what in Kafka: is the list of them in
# docs/security.md enough, and is each that is missing named, with nothing
# lost until it is there?

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../test/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wal2Kafka;

use Secure;
use SecureKafka;

plan skip_all => 'this test needs a broker of its own' if $ENV{WAL2KAFKA_TEST_KAFKA};

my $c = SecureKafka::certificates();
my $kafka = SecureKafka->new($c)->start;
my $t = Wal2Kafka->new(
	kafka => $kafka,
	registry => 0,
	tables => 'CREATE TABLE item (id int PRIMARY KEY);',
	conf => sprintf(q{
wal2kafka.bootstrap_servers = '%s'
wal2kafka.kafka_options = 'security.protocol=SASL_SSL; sasl.mechanism=PLAIN; ssl.ca.location=%s; broker.address.family=v4'
}, $kafka->listener('sasl'), $c->file('ca.pem')));
my $s = Secure->new($t, 'kafka');

$s->secrets('sasl.username' => 'plain', 'sasl.password' => 'pl4in');

# ---- at least once ----

# Nothing is allowed, then nothing of the stream's.
$t->start_stream(no_wait => 1);
$s->stops('no topic may be written', no_row => 1,
	error => qr/Cluster authorization failed/, hint => qr/WRITE.*IDEMPOTENT_WRITE/);
$kafka->allow('plain', 'topic', 'elsewhere', qw(write));
$s->stops('a topic may not be created', no_row => 1,
	error => qr/shop\.public\.item.*may not create/, hint => qr/CREATE and WRITE/);

# Somebody else makes it; who sees it may still not write.
$kafka->admin('create', $_, 1) foreach 'shop.public.item', 'shop.schemas';
$kafka->allow('plain', 'topic', 'shop.*', qw(describe));
$t->wait_state('streaming', 120);
$s->stops('the topic may not be written',
	error => qr/topic "shop\..*authorization/i, hint => qr/WRITE/);

$kafka->allow('plain', 'topic', 'shop.*', qw(write));
$kafka->deny('plain', 'topic', 'shop.*', qw(describe));
$s->flows('WRITE is enough where the topics are there');

# The right is taken back while rows flow.
$kafka->deny('plain', 'topic', 'shop.*', qw(write));
$s->stops('the topic may not be written any more',
	error => qr/shop\.public\.item.*authorization/i, hint => qr/WRITE/);
$kafka->allow('plain', 'topic', 'shop.*', qw(write));
$s->flows('... goes on by itself');

# A table more: its topic is to be made.
$t->sql('CREATE TABLE more (id int PRIMARY KEY); INSERT INTO more VALUES (1)');
$s->stops('a topic more may not be created',
	error => qr/shop\.public\.more.*may not create/, hint => qr/CREATE/);
$kafka->allow('plain', 'topic', 'shop.*', qw(create));
$s->flows('... goes on by itself');
is($t->story('public.more'), 'c:1', 'and the topic has its row');
$s->check_story;

# ---- exactly once ----

$t->set('wal2kafka.delivery', 'exactly_once');
$s->stops('the transactional id may not be used',
	error => qr/transactional.*authorization/i, hint => qr/WRITE.*wal2kafka-/);
$kafka->allow('plain', 'transactional_id', 'wal2kafka-*', qw(write));
$s->stops('the position may not be read',
	error => qr/not let the stream read topic "shop\.progress"/, hint => qr/READ/);
$kafka->allow('plain', 'topic', 'shop.progress', qw(read));
$s->flows('... goes on by itself');
$kafka->deny('plain', 'transactional_id', 'wal2kafka-*', qw(write));
$s->stops('the transactional id may not be used any more',
	error => qr/transactional.*authorization/i, hint => qr/wal2kafka-/);
$kafka->allow('plain', 'transactional_id', 'wal2kafka-*', qw(write));
$s->flows('... goes on by itself');
$s->check_story;
$s->check_leaks;

done_testing();
