/*
 * avro_schema.h
 *		Avro schema texts, as Debezium's records get them from Confluent's
 *		AvroData (debezium-format.md, 3, 4, 10, 12, 13).
 *
 * The cold path: runs once for each version of a relation.
 */
#ifndef WAL2KAFKA_AVRO_SCHEMA_H
#define WAL2KAFKA_AVRO_SCHEMA_H

#include "postgres.h"

#include "event.h"
#include "type_map.h"

/* One field of a key or row. */
typedef struct SchemaField
{
	const char *name;			/* already adjusted */
	const TypeEncoder *type;
	bool		optional;		/* union with null */
	TypeAnnotations annotations;	/* default, comment, parameters */
} SchemaField;

/*
 * "Weird-Name $1", in UTF-8, to what Kafka and Avro allow.  Palloc'd.
 * avro_schema_topic_name: [A-Za-z0-9._-], 249 characters, no "." or "..".
 * avro_schema_adjust_name: each part between dots a valid Avro name.
 */
extern char *avro_schema_topic_name(const char *raw);
extern char *avro_schema_adjust_name(const char *name, NameAdjustment mode,
									 bool keep_dots);

/*
 * The schemas of a table's topic.  namespace is the adjusted topic name.
 * Filled in CurrentMemoryContext.  Each schema is parsed by libavro before
 * it is returned; one that libavro refuses is an internal error.
 * Raise ERRCODE_DUPLICATE_COLUMN when two field names became equal.
 */
extern void avro_schema_key(EventSchema *schema, const char *namespace,
							const SchemaField *fields, int nfields);
extern void avro_schema_envelope(EventSchema *schema, const char *namespace,
								 const SchemaField *fields, int nfields);

/* The schemas of logical decoding messages. */
extern void avro_schema_message(EventSchema *key, EventSchema *value);

/*
 * The branch of the union that a value (or null) takes: an optional field
 * with a default has [T, "null"], without one ["null", T].
 */
#define avro_schema_null_branch(field) \
	((field)->annotations.default_json ? 1 : 0)

/* A JSON string as Java's Jackson, and so AvroData, writes it. */
extern void avro_schema_append_string(StringInfo out, const char *text,
									  size_t len);

/*
 * Parsing Canonical Form of a schema text (Avro specification); palloc'd.
 */
extern char *avro_schema_canonical_form(const char *text);

/*
 * A parsed schema, for those who walk Avro bytes.  Types that our schemas
 * do not have (enum, fixed) are refused.
 */
typedef enum AvroKind
{
	AVRO_KIND_NULL,
	AVRO_KIND_BOOLEAN,
	AVRO_KIND_INT,
	AVRO_KIND_LONG,
	AVRO_KIND_FLOAT,
	AVRO_KIND_DOUBLE,
	AVRO_KIND_BYTES,
	AVRO_KIND_STRING,
	AVRO_KIND_RECORD,
	AVRO_KIND_ARRAY,
	AVRO_KIND_MAP,
	AVRO_KIND_UNION,
} AvroKind;

typedef struct AvroNode AvroNode;
struct AvroNode
{
	AvroKind	kind;
	bool		decimal;		/* bytes with that logical type */
	int			scale;			/* decimals */
	char	   *full_name;		/* records */
	int			nchildren;		/* fields, branches; 1 for array and map */
	AvroNode  **children;
	char	  **names;			/* fields only */
};

/*
 * Palloc'd in CurrentMemoryContext.  A record that the text refers to by name
 * is one node with several parents.  Raises ERRCODE_INVALID_TEXT_REPRESENTATION
 * for a text that is no schema.
 */
extern AvroNode *avro_schema_parse(const char *text, size_t len);

#endif							/* WAL2KAFKA_AVRO_SCHEMA_H */
