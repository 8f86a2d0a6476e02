/*
 * settings.h
 *		Every setting of wal2kafka.
 *
 * settings.c has one table with one row a setting: name, type, where it
 * lives, default, who may set it, and whether it is a plugin option too.
 */
#ifndef WAL2KAFKA_SETTINGS_H
#define WAL2KAFKA_SETTINGS_H

#include "datatype/timestamp.h"
#include "utils/guc.h"

/* wal2kafka.snapshot_mode; meaning as in Debezium */
typedef enum SnapshotMode
{
	SNAPSHOT_INITIAL,			/* rows first, then changes */
	SNAPSHOT_NO_DATA,			/* changes only */
	SNAPSHOT_ALWAYS,			/* rows at each start, beside changes */
	SNAPSHOT_INITIAL_ONLY,		/* rows, and nothing after them */
	SNAPSHOT_WHEN_NEEDED,		/* as initial, also when the slot was lost */
} SnapshotMode;

/* wal2kafka.replica_identity_missing */
typedef enum IdentityMissing
{
	IDENTITY_MISSING_FAIL,
	IDENTITY_MISSING_WARN,
	IDENTITY_MISSING_SKIP,
} IdentityMissing;

/* wal2kafka.key_subject_name_strategy, value_subject_name_strategy */
typedef enum SubjectStrategy
{
	SUBJECT_TOPIC_NAME,			/* TopicNameStrategy: <topic>-key, -value */
	SUBJECT_RECORD_NAME,		/* RecordNameStrategy */
	SUBJECT_TOPIC_RECORD_NAME,	/* TopicRecordNameStrategy */
} SubjectStrategy;

/*
 * wal2kafka.schema_name_adjustment_mode, field_name_adjustment_mode.  The
 * default is what the format needs: avro for Avro, none for JSON.
 */
typedef enum NameAdjustment
{
	NAME_ADJUST_DEFAULT,
	NAME_ADJUST_NONE,			/* as it is; an error where Avro forbids it */
	NAME_ADJUST_AVRO,			/* what Avro forbids becomes _ */
	NAME_ADJUST_AVRO_UNICODE,	/* ... _uXXXX */
} NameAdjustment;

/* wal2kafka.format, key_format */
typedef enum RecordFormat
{
	RECORD_FORMAT_AVRO,
	RECORD_FORMAT_JSON,
	RECORD_FORMAT_STRING,		/* keys only */
	RECORD_FORMAT_SAME,			/* key_format's default: as the value */
	RECORD_FORMAT_CONNECT,		/* no setting's: JSON, although no sink takes
								 * events (the plugin's format=connect) */
} RecordFormat;

/* wal2kafka.decimal_format: decimals in JSON, as Connect's converter has it */
typedef enum DecimalFormat
{
	DECIMAL_FORMAT_BASE64,
	DECIMAL_FORMAT_NUMERIC,
} DecimalFormat;

/* wal2kafka.envelope */
typedef enum EnvelopeKind
{
	ENVELOPE_DEBEZIUM,
	ENVELOPE_FLAT,				/* as after ExtractNewRecordState */
} EnvelopeKind;

/*
 * wal2kafka.debezium_version: whose schema texts.  In their order: a profile
 * has what those before it have.
 */
typedef enum DebeziumVersion
{
	DEBEZIUM_2_7,
	DEBEZIUM_3_1,				/* source.snapshot's seven values, versions */
	DEBEZIUM_3_5,				/* source.origin, origin_lsn */
	DEBEZIUM_3_7,				/* geometry v2, lines, boxes, paths, circles */
} DebeziumVersion;

/* wal2kafka.decimal_handling_mode */
typedef enum DecimalHandling
{
	DECIMAL_PRECISE,
	DECIMAL_STRING,
	DECIMAL_DOUBLE,
} DecimalHandling;

/* wal2kafka.time_precision_mode */
typedef enum TimePrecision
{
	TIME_ADAPTIVE,
	TIME_ADAPTIVE_TIME_MICROSECONDS,
	TIME_CONNECT,
	TIME_ISOSTRING,
	TIME_MICROSECONDS,
	TIME_NANOSECONDS,
	TIME_STRUCTURED,
	TIME_AVRO,					/* standard Avro logical types; ours alone */
} TimePrecision;

/* wal2kafka.interval_handling_mode */
typedef enum IntervalHandling
{
	INTERVAL_NUMERIC,
	INTERVAL_STRING,
} IntervalHandling;

/* wal2kafka.hstore_handling_mode */
typedef enum HstoreHandling
{
	HSTORE_JSON,
	HSTORE_MAP,
} HstoreHandling;

/* wal2kafka.binary_handling_mode */
typedef enum BinaryHandling
{
	BINARY_BYTES,
	BINARY_BASE64,
	BINARY_BASE64_URL_SAFE,
	BINARY_HEX,
} BinaryHandling;

/* wal2kafka.delete_tombstone_handling_mode; for envelope = flat */
typedef enum DeleteTombstoneHandling
{
	DELETE_DROP,				/* neither the delete nor the tombstone */
	DELETE_TOMBSTONE,			/* the tombstone alone */
	DELETE_REWRITE,				/* the old row, __deleted = true */
	DELETE_REWRITE_WITH_TOMBSTONE,
	DELETE_TO_TOMBSTONE,		/* each delete becomes a tombstone */
} DeleteTombstoneHandling;

/* wal2kafka.outbox_table_op_invalid_behavior */
typedef enum OutboxInvalid
{
	OUTBOX_INVALID_WARN,
	OUTBOX_INVALID_ERROR,
	OUTBOX_INVALID_FATAL,
} OutboxInvalid;

/* wal2kafka.outbox_table_json_payload_null_behavior */
typedef enum JsonPayloadNull
{
	JSON_NULL_IGNORE,			/* no field */
	JSON_NULL_OPTIONAL_BYTES,
} JsonPayloadNull;

/* wal2kafka.outbox_table_json_payload_empty_array_behavior */
typedef enum JsonPayloadEmptyArray
{
	JSON_EMPTY_ARRAY_IGNORE,	/* no field */
	JSON_EMPTY_ARRAY_OPTIONAL_STRING,
} JsonPayloadEmptyArray;

/* wal2kafka.partition_hash_function */
typedef enum PartitionHash
{
	PARTITION_HASH_JAVA,
	PARTITION_HASH_MURMUR,
} PartitionHash;

/* wal2kafka.topic_naming_strategy */
typedef enum TopicNaming
{
	TOPIC_NAMING_SCHEMA,		/* what Kafka forbids becomes _ */
	TOPIC_NAMING_SCHEMA_UNICODE,	/* ... _uXXXX */
} TopicNaming;

/* wal2kafka.record_timestamp */
typedef enum RecordTimestamp
{
	RECORD_TIMESTAMP_COMMIT,
	RECORD_TIMESTAMP_SEND,
} RecordTimestamp;

/* wal2kafka.delivery */
typedef enum DeliveryGuarantee
{
	DELIVERY_AT_LEAST_ONCE,
	DELIVERY_EXACTLY_ONCE,
} DeliveryGuarantee;

/* wal2kafka.transaction_mapping; for delivery = exactly_once */
typedef enum TransactionMapping
{
	TRANSACTION_BATCH,			/* many database transactions in one of Kafka */
	TRANSACTION_PER_COMMIT,		/* one in one */
} TransactionMapping;

/* wal2kafka.on_promotion: a stream that another server has had */
typedef enum OnPromotion
{
	PROMOTION_HOLD,
	PROMOTION_ADOPT,
} OnPromotion;

/*
 * wal2kafka.event_processing_failure_handling_mode: an event that can never be
 * encoded or sent
 */
typedef enum FailureHandling
{
	FAILURE_FAIL,				/* the stream stops there */
	FAILURE_WARN,				/* left out, with a warning */
	FAILURE_SKIP,				/* left out, logged and counted */
	FAILURE_DEAD_LETTER,		/* what is known of it goes to a topic */
} FailureHandling;

/* wal2kafka.oversized_event_handling_mode: one that is too large for Kafka */
typedef enum OversizedHandling
{
	OVERSIZED_DEFAULT,			/* as any other that cannot be sent */
	OVERSIZED_FAIL,				/* as FailureHandling ... */
	OVERSIZED_WARN,
	OVERSIZED_SKIP,
	OVERSIZED_DEAD_LETTER,
	OVERSIZED_TRUNCATE_VALUE,	/* large columns are cut */
	OVERSIZED_KEY_ONLY,			/* columns of no fixed length are left out */
} OversizedHandling;

/* wal2kafka.on_divergence: Kafka has what the server's WAL has lost */
typedef enum OnDivergence
{
	DIVERGENCE_HOLD,
	DIVERGENCE_CONTINUE,		/* from where the histories part */
} OnDivergence;

/* wal2kafka.max_retained_wal_action */
typedef enum RetainedWalAction
{
	RETAINED_WAL_WARN,
	RETAINED_WAL_PAUSE_SNAPSHOT,
	RETAINED_WAL_DROP_SLOT,
} RetainedWalAction;

/* wal2kafka.skipped_operations, a set of letters */
#define SKIP_CREATE		0x01
#define SKIP_UPDATE		0x02
#define SKIP_DELETE		0x04
#define SKIP_TRUNCATE	0x08

/*
 * Values of all settings.  The GUC machinery writes into the one global
 * instance; strings belong to it and change only while a process reads its
 * configuration.  The plugin works on a copy (see settings_copy()), to which
 * plugin options are applied.
 */
typedef struct Settings
{
	/* which streams there are; launcher only */
	char	   *streams;
	int			max_streams;
	bool		allow_superuser;
	bool		stream_on_standby;

	/* Kafka; never plugin options */
	char	   *bootstrap_servers;
	char	   *kafka_options;
	char	   *kafka_options_file;
	int			max_queue_size_in_bytes;	/* kB: GUC_UNIT_KB */
	int			record_timestamp;	/* RecordTimestamp */
	int			topic_partitions;
	int			topic_replication_factor;	/* -1: the broker's default */
	char	   *topic_config;
	int			guardrail_collections_max;

	/* schema registry; never plugin options */
	char	   *schema_registry_url;
	char	   *schema_registry_options;
	char	   *schema_registry_options_file;
	bool		auto_register_schemas;
	bool		use_latest_version;
	bool		normalize_schemas;
	int			key_subject_name_strategy;	/* SubjectStrategy */
	int			value_subject_name_strategy;

	/* exactly once; never plugin options */
	int			delivery;		/* DeliveryGuarantee */
	int			transaction_mapping;	/* TransactionMapping */
	int			transaction_batch_age;	/* ms */
	int			transaction_batch_rows;
	int			transaction_batch_bytes;	/* kB: GUC_UNIT_KB */
	int			transaction_split_age;	/* ms */
	int			transaction_split_bytes;	/* kB */
	int			transaction_timeout_ms;
	char	   *progress_topic_name;	/* empty: prefix and ".progress" */
	int			on_promotion;	/* OnPromotion */
	int			on_divergence;	/* OnDivergence */

	/* events that cannot be sent; never plugin options */
	int			event_processing_failure_handling_mode; /* FailureHandling */
	int			oversized_event_handling_mode;	/* OversizedHandling */
	char	   *errors_deadletterqueue_topic_name;	/* empty: prefix and
													 * ".dead_letter" */

	/* life of a stream */
	char	   *slot_name;		/* empty: derived from the stream's name */
	bool		slot_failover;	/* 17 and later: standbys get copies of it */
	int			snapshot_mode;	/* SnapshotMode */
	int			snapshot_workers;
	char	   *snapshot_include_collection_list;	/* regular expressions;
													 * empty: all */
	bool		snapshot_new_tables;
	bool		toast_reselect;
	char	   *signal_enabled_channels;	/* "source" or empty */
	char	   *signal_data_collection; /* schema.table; empty: none */
	char	   *notification_topic_name;	/* empty: no notifications */
	bool		adopt_topics;
	bool		paused;
	char	   *paused_until;	/* empty, or a timestamp with time zone */
	int			async_flush_delay;	/* ms; -1: leave it to the WAL writer */
	int			max_retained_wal;	/* MB: GUC_UNIT_MB; 0: no limit */
	int			max_retained_wal_action;	/* RetainedWalAction */

	/* what events look like; plugin options too */
	char	   *topic_prefix;	/* empty: the database's name */
	char	   *publication_name;	/* list of identifiers; empty: all tables */
	int			replica_identity_missing;	/* IdentityMissing */
	bool		tombstones_on_delete;
	char	   *skipped_operations; /* "t", "c,u", "none" */
	int			schema_name_adjustment_mode;	/* NameAdjustment */
	int			field_name_adjustment_mode;
	int			debezium_version;	/* DebeziumVersion */

	/* formats; JSON's details are Connect's JsonConverter's */
	int			format;			/* RecordFormat; no plugin option: there
								 * "format" is the kind of output */
	int			key_format;
	bool		key_converter_schemas_enable;
	bool		value_converter_schemas_enable;
	int			decimal_format; /* DecimalFormat */
	bool		replace_null_with_default;

	/* types */
	int			decimal_handling_mode;	/* DecimalHandling */
	int			time_precision_mode;	/* TimePrecision */
	int			interval_handling_mode; /* IntervalHandling */
	int			hstore_handling_mode;	/* HstoreHandling */
	int			binary_handling_mode;	/* BinaryHandling */
	int			money_fraction_digits;
	char	   *unavailable_value_placeholder;	/* "hex:..." are bytes */
	bool		include_unknown_datatypes;

	/* which tables and columns, by regular expression (regex_list.h) */
	char	   *schema_include_list;
	char	   *schema_exclude_list;
	char	   *table_include_list; /* of schema.table */
	char	   *table_exclude_list;
	char	   *column_include_list;	/* of schema.table.column */
	char	   *column_exclude_list;
	char	   *message_key_columns;	/* table:column,column;... */
	char	   *message_prefix_include_list;
	char	   *message_prefix_exclude_list;
	bool		skip_messages_without_change;

	/* what is done to columns, and said of them */
	char	   *column_transforms;	/* mask.with.5.chars=columns; ... */
	char	   *column_transforms_file; /* the same, with secret salts */
	char	   *column_propagate_source_type;
	char	   *datatype_propagate_source_type;
	bool		include_schema_comments;

	/* records beside rows, and headers */
	bool		provide_transaction_metadata;
	char	   *topic_transaction;
	int			heartbeat_interval_ms;	/* 0: none */
	char	   *topic_heartbeat_prefix;
	char	   *topic_heartbeat_name;	/* empty: prefix and topic_prefix */
	bool		extended_headers_enabled;

	/* names of topics */
	char	   *topic_delimiter;
	int			topic_naming_strategy;	/* TopicNaming */
	char	   *topic_regex;	/* ByLogicalTableRouter; empty: off */
	char	   *topic_replacement;
	bool		key_enforce_uniqueness;
	char	   *key_field_name;
	char	   *key_field_regex;
	char	   *key_field_replacement;
	char	   *topic_router_regex; /* Kafka's RegexRouter; empty: off */
	char	   *topic_router_replacement;
	bool		timescaledb;	/* chunks as their hypertable */
	char	   *timescaledb_target_topic_prefix;
	char	   *partition_payload_fields;
	int			partition_topic_num;
	int			partition_hash_function;	/* PartitionHash */

	/* flat rows: ExtractNewRecordState */
	int			envelope;		/* EnvelopeKind */
	int			delete_tombstone_handling_mode; /* DeleteTombstoneHandling */
	char	   *add_fields;
	char	   *add_fields_prefix;
	char	   *add_headers;
	char	   *add_headers_prefix;
	char	   *route_by_field;

	/* outbox tables: EventRouter */
	char	   *outbox_tables;	/* regular expressions; empty: none */
	bool		outbox_payload_raw; /* bytes of the payload as they are */
	char	   *outbox_table_field_event_id;
	char	   *outbox_table_field_event_key;
	char	   *outbox_table_field_event_timestamp;
	char	   *outbox_table_field_event_payload;
	char	   *outbox_table_field_event_schema_version;
	char	   *outbox_table_fields_additional_placement;
	bool		outbox_table_fields_additional_error_on_missing;
	bool		outbox_table_expand_json_payload;
	int			outbox_table_json_payload_null_behavior;	/* JsonPayloadNull */
	int			outbox_table_json_payload_empty_array_behavior; /* JsonPayloadEmptyArray */
	int			outbox_table_op_invalid_behavior;	/* OutboxInvalid */
	char	   *outbox_route_by_field;
	char	   *outbox_route_topic_regex;
	char	   *outbox_route_topic_replacement;
	bool		outbox_route_tombstone_on_empty_payload;
} Settings;

extern PGDLLEXPORT Settings wal2kafka_settings;

/*
 * One name of wal2kafka.streams.  Text holds both parts as identifiers, in
 * the one form that names the stream everywhere: quoted only where a part has
 * other characters than [a-z0-9_] or begins with a digit.  (Not where it is a
 * keyword: keywords come with new server versions.)
 */
#define STREAM_NAME_LEN		(NAMEDATALEN * 4 + 8)

typedef struct StreamName
{
	char		database[NAMEDATALEN];
	char		role[NAMEDATALEN];	/* empty: none given */
	char		text[STREAM_NAME_LEN];
} StreamName;

/*
 * Parse the next name of a list and advance *cursor past it and the comma.
 * False at the end of the list, then *problem is NULL, or at a mistake, then
 * *problem is a sentence (static).  Allocates nothing.
 */
extern PGDLLEXPORT bool settings_next_stream(const char **cursor,
											 StreamName *name,
											 const char **problem);

/* Define all GUCs and reserve the prefix; called from _PG_init(). */
extern void settings_define(void);

/*
 * A copy of the current values in the given context, strings included.
 */
extern PGDLLEXPORT Settings *settings_copy(MemoryContext cxt);

/*
 * Are all settings that a stream works with the same?  (Not streams,
 * max_streams and allow_superuser.)
 */
extern PGDLLEXPORT bool settings_equal(const Settings *a, const Settings *b);

/*
 * Apply a plugin option to a copy.  Name is the setting's name without
 * prefix.  Raises ERRCODE_INVALID_PARAMETER_VALUE for an unknown name, one
 * that is no plugin option, or a wrong value (with the allowed ones in the
 * hint).  The new string is allocated in CurrentMemoryContext.
 */
extern PGDLLEXPORT void settings_apply_option(Settings *copy, const char *name,
											  const char *value);

/*
 * Why an option of kafka_options or schema_registry_options is refused by its
 * name or value alone; NULL if it is not.  In a file only commands and code
 * are refused, inline also whatever may be a secret.  The reason (static)
 * quotes neither.
 */
extern PGDLLEXPORT const char *settings_option_refusal(const char *name,
													   const char *value,
													   bool in_file);

/* paused_until as a time; 0 for the empty string */
extern PGDLLEXPORT TimestampTz settings_paused_until(const char *value);

/* What begins unavailable_value_placeholder where bytes follow. */
#define HEX_PREFIX		"hex:"

/* skipped_operations as SKIP_* bits */
extern PGDLLEXPORT int settings_skipped_operations(const char *list);

/*
 * The first setting of ours in the configuration files and the server's
 * command line, or in the rows of pg_db_role_setting for this database and
 * role, that is unknown or has a value that is refused; NULL if there is none.  PostgreSQL itself would
 * only warn and go on with the default.  The message names setting, place
 * and reason, and never quotes the value of a setting that may hold secrets.
 * Palloc'd.  The second form needs a transaction.
 */
extern PGDLLEXPORT char *settings_refused_in_files(void);
extern PGDLLEXPORT char *settings_refused_in_catalog(Oid database, Oid role);

/*
 * A digest of the rows of pg_db_role_setting that apply to this database and
 * role.  Needs a transaction; uses a fresh catalog snapshot.
 */
extern PGDLLEXPORT uint64 settings_catalog_digest(Oid database, Oid role);

/*
 * The same purpose for a process without a database: other settings count
 * too, and the value is another one.  Needs a transaction.
 */
extern PGDLLEXPORT uint64 settings_rows_digest(Oid database, Oid role);

/*
 * What is wrong with a setting of ours that stands in "place", in the catalog
 * or in a file; NULL: nothing.  Never quotes the value.  Palloc'd.
 */
#define SETTINGS_PREFIX		"wal2kafka."
extern char *settings_refusal(const char *name, const char *text,
							  const char *place, bool in_catalog);

#endif							/* WAL2KAFKA_SETTINGS_H */
