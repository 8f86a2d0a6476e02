-- What column_transforms takes and refuses; it repeats no salt.
\set VERBOSITY default
SET wal2kafka.column_transforms = 'mask.with.5.chars=inv\.t\.a';
SET wal2kafka.column_transforms = 'column.mask.with.5.chars=a; column.truncate.to.20.chars=b,c;
	column.mask.hash.v2.SHA-256.with.salt.hunter2=d; mask.hash.md5.with.salt.hunter2=''e,f''';
SET wal2kafka.column_transforms = 'mask.hash.v2.SHA-256.with.salt.hunter2=(';
SET wal2kafka.column_transforms = 'mask.hash.v2.SHA-257.with.salt.hunter2=a';
SET wal2kafka.column_transforms = 'mask.hash.v2.SHA-256.with.salt.=a';
SET wal2kafka.column_transforms = 'mask.hash.v2.SHA-256.with.salt.hunter 2=a';
SET wal2kafka.column_transforms = 'mask.hash.v2.SHA-256=hunter2';
SET wal2kafka.column_transforms = 'mask.hash.v2.SHA-256.with.salt.hunter2';
SET wal2kafka.column_transforms = 'mask.with.5.chars=';
SET wal2kafka.column_transforms = 'mask.with.5.char=a';
SET wal2kafka.column_transforms = 'mask.with.-5.chars=a';
SET wal2kafka.column_transforms = 'mask.with.99999999999999999999.chars=a';
SET wal2kafka.column_transforms = 'mask.with.5.chars=a,b(; truncate.to.x.chars=a';
SET wal2kafka.column_transforms = 'truncate.to.2.chars=''a';
SET wal2kafka.column_transforms_file = 'relative';
RESET wal2kafka.column_transforms;
-- an option of the plugin is the same, a file is none
\set VERBOSITY terse
SELECT create_slot();
SELECT * FROM changes('column_transforms', 'mask.with.5.char=a');
SELECT * FROM changes('column_transforms_file', '/etc/passwd');
SELECT drop_slot();
