-- Settings that everybody can read take no secrets, and repeat none.
\set VERBOSITY default
SET wal2kafka.kafka_options = 'sasl.password=hunter2';
SET wal2kafka.kafka_options = 'linger.ms=5; SSL.Key.Password = ''hunter2''';
SET wal2kafka.kafka_options = E'client.id=x\nsasl.password=hunter2';
SET wal2kafka.kafka_options = 'client.id=-----BEGIN PRIVATE KEY-----';
SET wal2kafka.kafka_options = 'sasl.password hunter2';
SET wal2kafka.schema_registry_options = 'basic.auth.user.info=joe:hunter2';
SET wal2kafka.schema_registry_options = 'proxy.host=joe:hunter2@proxy';
SET wal2kafka.schema_registry_options = 'proxy.host=http://joe:hunter2@proxy';
SET wal2kafka.schema_registry_url = 'https://a/,http://joe:hunter2@b/';
-- lines may separate entries, and a principal has a realm
SET wal2kafka.kafka_options = E'client.id=x;\n linger.ms=5;\n';
SET wal2kafka.kafka_options = 'sasl.kerberos.principal=kafka/host@REALM';
-- where a token comes from, and whose secret it is, are none
SET wal2kafka.kafka_options = 'sasl.oauthbearer.token.endpoint.url=https://idp/token; sasl.oauthbearer.client.id=wal';
SET wal2kafka.schema_registry_options = 'basic.auth.credentials.source=USER_INFO';
SET wal2kafka.kafka_options = 'sasl.oauthbearer.token.endpoint.url=https://joe:hunter2@idp/token';
SET wal2kafka.kafka_options = 'sasl.oauthbearer.client.secret=hunter2';
SET wal2kafka.kafka_options = 'sasl.oauthbearer.extensions=key=hunter2';
RESET wal2kafka.kafka_options;
RESET wal2kafka.schema_registry_options;
