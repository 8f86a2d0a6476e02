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
 * The schemas of a table's topic.  namespace is the adjusted topic name.
 * Filled in CurrentMemoryContext.  A schema whose format is Avro (which the
 * caller may have set to another) is parsed by libavro before it is returned;
 * one that libavro refuses is an internal error.
 * Raise ERRCODE_DUPLICATE_COLUMN when two field names became equal.
 */
extern void avro_schema_key(EventSchema *schema, const char *namespace,
							const SchemaField *fields, int nfields);
extern void avro_schema_envelope(EventSchema *schema, DebeziumVersion version,
								 const char *namespace,
								 const SchemaField *fields, int nfields);

/*
 * The schemas of logical decoding messages, whose content is bytes or text.
 */
extern void avro_schema_message(EventSchema *key, EventSchema *value,
								DebeziumVersion version,
								bool content_is_text);

/* What is in the blocks of which version; for who encodes them. */
#define avro_schema_source_has_origin(version)	((version) >= DEBEZIUM_3_5)
#define avro_schema_message_has_transaction(version) \
	((version) >= DEBEZIUM_3_1)

/*
 * In parts, for other shapes of values.  Append the fields of a record, or
 * the type of one field, unions included; named as in
 * type_map_append_schema().  Then check a finished text and fill the schema
 * in CurrentMemoryContext.
 */
extern void avro_schema_append_fields(StringInfo out, const char *namespace,
									  const SchemaField *fields, int nfields,
									  List **named);
extern void avro_schema_append_type(StringInfo out, const char *namespace,
									const SchemaField *field, List **named);
extern void avro_schema_finish(EventSchema *schema, const char *text,
							   const char *full_name);

/* Is it a name that Avro allows, without dots? */
extern bool avro_schema_is_name(const char *name);

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
