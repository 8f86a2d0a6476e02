/*
 * flat.c
 *		Rows without an envelope, as Debezium's ExtractNewRecordState leaves
 *		them.
 */
#include "postgres.h"

#include "access/transam.h"
#include "lib/stringinfo.h"
#include "utils/memutils.h"

#include "avro_schema.h"
#include "event_serialize.h"
#include "flat.h"
#include "foreign_text.h"
#include "options.h"
#include "preload/shared_state.h"
#include "route.h"
#include "topic_name.h"
#include "transaction_metadata.h"

#define CONNECTOR			"postgresql"
#define DELETED_FIELD		"__deleted"

/* What a field of the envelope is. */
typedef enum FactId
{
	FACT_OP,
	FACT_TS_MS,
	FACT_TS_US,
	FACT_TS_NS,
	FACT_SOURCE_VERSION,
	FACT_SOURCE_CONNECTOR,
	FACT_SOURCE_NAME,
	FACT_SOURCE_TS_MS,
	FACT_SOURCE_TS_US,
	FACT_SOURCE_TS_NS,
	FACT_SOURCE_SNAPSHOT,
	FACT_SOURCE_DB,
	FACT_SOURCE_SEQUENCE,
	FACT_SOURCE_SCHEMA,
	FACT_SOURCE_TABLE,
	FACT_SOURCE_TXID,
	FACT_SOURCE_LSN,
	FACT_SOURCE_XMIN,
	FACT_SOURCE_ORIGIN,
	FACT_SOURCE_ORIGIN_LSN,
	FACT_TRANSACTION_ID,
	FACT_TRANSACTION_TOTAL_ORDER,
	FACT_TRANSACTION_COLLECTION_ORDER,
} FactId;

#define STRING_TYPE		"\"string\""
#define LONG_TYPE		"\"long\""
#define SNAPSHOT_TYPE(allowed) \
	"{\"type\":\"string\",\"connect.version\":1," \
	"\"connect.parameters\":{\"allowed\":\"" allowed "\"}," \
	"\"connect.name\":\"io.debezium.data.Enum\"}"

#define ROOT			""
#define SOURCE			"source"
#define TRANSACTION		"transaction"

/*
 * A field of the envelope.  A field that changed has a row for each of its
 * forms, the newest first.
 */
typedef struct Fact
{
	FactId		id;
	const char *record;
	const char *field;
	const char *type;			/* Avro's, without the union */
	DebeziumVersion since;
} Fact;

static const Fact facts[] = {
	{FACT_OP, ROOT, "op", STRING_TYPE},
	{FACT_TS_MS, ROOT, "ts_ms", LONG_TYPE},
	{FACT_TS_US, ROOT, "ts_us", LONG_TYPE},
	{FACT_TS_NS, ROOT, "ts_ns", LONG_TYPE},
	{FACT_SOURCE_VERSION, SOURCE, "version", STRING_TYPE},
	{FACT_SOURCE_CONNECTOR, SOURCE, "connector", STRING_TYPE},
	{FACT_SOURCE_NAME, SOURCE, "name", STRING_TYPE},
	{FACT_SOURCE_TS_MS, SOURCE, "ts_ms", LONG_TYPE},
	{FACT_SOURCE_TS_US, SOURCE, "ts_us", LONG_TYPE},
	{FACT_SOURCE_TS_NS, SOURCE, "ts_ns", LONG_TYPE},
	{FACT_SOURCE_SNAPSHOT, SOURCE, "snapshot",
		SNAPSHOT_TYPE("true,first,first_in_data_collection,"
					  "last_in_data_collection,last,false,incremental"),
	DEBEZIUM_3_1},
	{FACT_SOURCE_SNAPSHOT, SOURCE, "snapshot",
	SNAPSHOT_TYPE("true,last,false,incremental")},
	{FACT_SOURCE_DB, SOURCE, "db", STRING_TYPE},
	{FACT_SOURCE_SEQUENCE, SOURCE, "sequence", STRING_TYPE},
	{FACT_SOURCE_SCHEMA, SOURCE, "schema", STRING_TYPE},
	{FACT_SOURCE_TABLE, SOURCE, "table", STRING_TYPE},
	{FACT_SOURCE_TXID, SOURCE, "txId", LONG_TYPE},
	{FACT_SOURCE_LSN, SOURCE, "lsn", LONG_TYPE},
	{FACT_SOURCE_XMIN, SOURCE, "xmin", LONG_TYPE},
	{FACT_SOURCE_ORIGIN, SOURCE, "origin", STRING_TYPE, DEBEZIUM_3_5},
	{FACT_SOURCE_ORIGIN_LSN, SOURCE, "origin_lsn", LONG_TYPE, DEBEZIUM_3_5},
	{FACT_TRANSACTION_ID, TRANSACTION, "id", STRING_TYPE},
	{FACT_TRANSACTION_TOTAL_ORDER, TRANSACTION, "total_order", LONG_TYPE},
	{FACT_TRANSACTION_COLLECTION_ORDER, TRANSACTION, "data_collection_order",
	LONG_TYPE},
};

/* Which row a column of add_fields is of. */
typedef enum FieldRow
{
	ROW_NONE,					/* of the envelope */
	ROW_BEFORE,
	ROW_AFTER,
} FieldRow;

/* One entry of add_fields or add_headers. */
typedef struct FlatField
{
	const char *name;			/* with the prefix */
	FieldRow	row;
	const Fact *fact;			/* of ROW_NONE */
	const char *column_name;	/* of the others */
} FlatField;

typedef struct FlatFields
{
	int			count;
	FlatField  *fields;
} FlatFields;

struct FlatRules
{
	const Settings *settings;
	bool		rewrite;		/* there is a field __deleted */
	FlatFields	added;
	FlatFields	headers;
	const char *route_column;	/* NULL: topics are the tables' */
};

/* A field of this relation. */
typedef struct ShapeField
{
	const FlatField *field;
	RelationColumn column;		/* of a row; always a union, without default */
	EventSchema column_schema;	/* of headers */
} ShapeField;

typedef struct ShapeFields
{
	int			count;
	ShapeField *fields;
} ShapeFields;

struct FlatShape
{
	const FlatRules *rules;
	ShapeFields added;
	ShapeFields headers;
	const RelationColumn *route_column; /* NULL: missing, or not asked for */
	bool		route_is_text;
	bool		warned_route;
	AvroBuffer	scratch;
};

/* A fact's value. */
typedef struct FactValue
{
	enum
	{
		VALUE_NULL,
		VALUE_LONG,
		VALUE_TEXT,
	}			kind;
	int64		number;
	const char *text;
	char		buffer[ENVELOPE_SEQUENCE_LEN];	/* where text may be */
} FactValue;

/* ---------------------------------------------------------------------
 * Settings
 * --------------------------------------------------------------------- */

static const Fact *
find_fact(const char *record, const char *field, DebeziumVersion version)
{
	for (int i = 0; i < lengthof(facts); i++)
		if (strcmp(facts[i].record, record) == 0 &&
			strcmp(facts[i].field, field) == 0 && version >= facts[i].since)
			return &facts[i];
	return NULL;
}

/* Where a field is that is named alone. */
static const char *
record_of(const char *field)
{
	if (find_fact(ROOT, field, DEBEZIUM_3_7) != NULL)
		return ROOT;
	if (find_fact(TRANSACTION, field, DEBEZIUM_3_7) != NULL)
		return TRANSACTION;
	return SOURCE;
}

static FieldRow
row_of(const char *record)
{
	if (strcmp(record, "before") == 0)
		return ROW_BEFORE;
	if (strcmp(record, "after") == 0)
		return ROW_AFTER;
	return ROW_NONE;
}

/*
 * "field", "record.field", either with ":NEW_NAME".  False for a field that
 * the envelope does not have: such are left out.
 */
static bool
parse_field(FlatField *result, char *item, const char *prefix,
			const char *setting, const Settings *settings)
{
	char	   *rename = strchr(item, ':');
	char	   *dot;
	const char *record;
	const char *field;

	if (rename != NULL)
		*rename++ = '\0';
	dot = strchr(item, '.');
	if (dot != NULL)
		*dot++ = '\0';
	record = dot != NULL ? item : record_of(item);
	field = dot != NULL ? dot : item;

	if (rename != NULL)
		result->name = psprintf("%s%s", prefix, rename);
	else if (dot != NULL)
		result->name = psprintf("%s%s_%s", prefix, record, field);
	else
		result->name = psprintf("%s%s", prefix, field);

	result->row = row_of(record);
	if (result->row != ROW_NONE)
	{
		result->column_name = field;
		return true;
	}
	if (strcmp(record, ROOT) != 0 && strcmp(record, SOURCE) != 0 &&
		strcmp(record, TRANSACTION) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for \"wal2kafka.%s\": the envelope has no record \"%s\"",
						setting, record),
				 errhint("Its records are source, transaction, before and after.")));
	result->fact = find_fact(record, field, settings->debezium_version);
	if (result->fact == NULL)
		result->fact = find_fact(ROOT, field, settings->debezium_version);
	return result->fact != NULL;
}

static void
parse_fields(FlatFields *result, const char *list, const char *prefix,
			 const char *setting, const Settings *settings)
{
	char	   *rest = pstrdup(relation_map_utf8(list));
	char	   *item;

	result->fields = palloc0((strlen(rest) / 2 + 1) * sizeof(FlatField));
	while ((item = strsep(&rest, ",")) != NULL)
	{
		item = options_trim(item);
		if (item[0] != '\0' &&
			parse_field(&result->fields[result->count], item,
						relation_map_utf8(prefix), setting, settings))
			result->count++;
	}
}

static void
check_names(const FlatFields *fields)
{
	for (int i = 0; i < fields->count; i++)
	{
		if (!avro_schema_is_name(fields->fields[i].name))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("\"%s\" of wal2kafka.add_fields is no name of a field",
							fields->fields[i].name),
					 errhint("Allowed are letters, digits and underscores. See also wal2kafka.add_fields_prefix.")));
		for (int j = 0; j < i; j++)
			if (strcmp(fields->fields[i].name, fields->fields[j].name) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("wal2kafka.add_fields makes two fields \"%s\"",
								fields->fields[i].name)));
	}
}

FlatRules *
flat_rules_create(MemoryContext cxt, const Settings *settings)
{
	MemoryContext old = MemoryContextSwitchTo(cxt);
	FlatRules  *rules = palloc0(sizeof(FlatRules));

	rules->settings = settings;
	rules->rewrite =
		settings->delete_tombstone_handling_mode == DELETE_REWRITE ||
		settings->delete_tombstone_handling_mode == DELETE_REWRITE_WITH_TOMBSTONE;
	parse_fields(&rules->added, settings->add_fields,
				 settings->add_fields_prefix, "add_fields", settings);
	check_names(&rules->added);
	parse_fields(&rules->headers, settings->add_headers,
				 settings->add_headers_prefix, "add_headers", settings);
	if (settings->route_by_field[0] != '\0')
		rules->route_column =
			pstrdup(relation_map_utf8(settings->route_by_field));
	MemoryContextSwitchTo(old);
	return rules;
}

/* ---------------------------------------------------------------------
 * Relations
 * --------------------------------------------------------------------- */

/*
 * A column as it is added: ["null", T], whatever it is in the row.
 */
static void
set_column(ShapeField *result, const RelationColumn *column)
{
	StringInfoData text;
	List	   *named = NIL;

	result->column = *column;
	result->column.field.name = result->field->name;
	result->column.field.optional = true;
	result->column.field.annotations.default_json = NULL;
	result->column.null_branch = 0;
	result->column.value_branch = 1;

	initStringInfo(&text);
	avro_schema_append_type(&text, "", &result->column.field, &named);
	avro_schema_finish(&result->column_schema, text.data, "");
}

static void
resolve_fields(ShapeFields *result, const FlatFields *fields,
			   const RelationEntry *entry)
{
	result->fields = palloc0((fields->count + 1) * sizeof(ShapeField));
	for (int i = 0; i < fields->count; i++)
	{
		const FlatField *field = &fields->fields[i];
		ShapeField *shape = &result->fields[result->count];

		shape->field = field;
		if (field->row != ROW_NONE)
		{
			const RelationColumn *column =
				relation_map_column(entry, field->column_name);

			/* as a field that the envelope does not have */
			if (column == NULL)
				continue;
			set_column(shape, column);
		}
		result->count++;
	}
}

static void
check_added(const ShapeFields *added, const RelationEntry *entry,
			bool rewrite)
{
	if (rewrite && relation_map_column(entry, DELETED_FIELD) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_COLUMN),
				 errmsg("table \"%s.%s\" has a column \"%s\", which is the name of the field that tells of deletes",
						entry->target.schema_name, entry->target.table_name,
						DELETED_FIELD),
				 errhint("Rename the column, or set wal2kafka.delete_tombstone_handling_mode to \"tombstone\".")));
	for (int i = 0; i < added->count; i++)
	{
		const char *name = added->fields[i].field->name;

		if (relation_map_column(entry, name) != NULL ||
			(rewrite && strcmp(name, DELETED_FIELD) == 0))
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_COLUMN),
					 errmsg("field \"%s\" of wal2kafka.add_fields is in the rows of table \"%s.%s\" already",
							name, entry->target.schema_name,
							entry->target.table_name),
					 errhint("Rename it, as \"op:NEW_NAME\", or set wal2kafka.add_fields_prefix.")));
	}
}

/*
 * Does the column's value come as text?
 */
static bool
is_text(const RelationColumn *column)
{
	StringInfoData text;
	List	   *named = NIL;

	initStringInfo(&text);
	type_map_append_schema(&text, column->encoder, NULL, "", &named);
	return avro_schema_parse(text.data, text.len)->kind == AVRO_KIND_STRING;
}

FlatShape *
flat_shape_create(const FlatRules *rules, const RelationEntry *entry)
{
	FlatShape  *shape = palloc0(sizeof(FlatShape));

	shape->rules = rules;
	resolve_fields(&shape->added, &rules->added, entry);
	resolve_fields(&shape->headers, &rules->headers, entry);
	check_added(&shape->added, entry, rules->rewrite);
	if (rules->route_column != NULL)
		shape->route_column =
			relation_map_column(entry, rules->route_column);
	if (shape->route_column != NULL)
		shape->route_is_text = is_text(shape->route_column);
	avro_buffer_init(&shape->scratch, CurrentMemoryContext);
	return shape;
}

void
flat_schema(const FlatShape *shape, EventSchema *schema,
			const char *namespace, const SchemaField *fields, int nfields)
{
	StringInfoData out;
	List	   *named = NIL;

	initStringInfo(&out);
	appendStringInfo(&out, "{\"type\":\"record\",\"name\":\"Value\",\"namespace\":\"%s\",\"fields\":[",
					 namespace);
	avro_schema_append_fields(&out, namespace, fields, nfields, &named);
	if (shape->rules->rewrite)
		appendStringInfo(&out, "%s{\"name\":\"" DELETED_FIELD "\",\"type\":[\"null\",\"string\"],\"default\":null}",
						 nfields > 0 ? "," : "");
	for (int i = 0; i < shape->added.count; i++)
	{
		const ShapeField *added = &shape->added.fields[i];

		if (nfields > 0 || shape->rules->rewrite || i > 0)
			appendStringInfoChar(&out, ',');
		if (added->field->row != ROW_NONE)
			avro_schema_append_fields(&out, namespace, &added->column.field,
									  1, &named);
		else
			appendStringInfo(&out, "{\"name\":\"%s\",\"type\":[\"null\",%s],\"default\":null}",
							 added->field->name, added->field->fact->type);
	}
	appendStringInfo(&out, "],\"connect.name\":\"%s.Value\"}", namespace);
	avro_schema_finish(schema, out.data, psprintf("%s.Value", namespace));
	pfree(out.data);
}

/* ---------------------------------------------------------------------
 * Values
 * --------------------------------------------------------------------- */

static void
set_text(FactValue *value, const char *text)
{
	value->kind = text != NULL ? VALUE_TEXT : VALUE_NULL;
	value->text = text;
}

static void
set_long(FactValue *value, int64 number)
{
	value->kind = VALUE_LONG;
	value->number = number;
}

static int64
us_to_ms(int64 us)
{
	int64		ms = us / 1000;

	return us % 1000 < 0 ? ms - 1 : ms;
}

/*
 * The event's place in its transaction; null where nobody counts.
 */
static void
get_place(FactValue *value, FactId id, const Envelope *envelope,
		  const Event *event, const RelationEntry *entry)
{
	TransactionMetadata *metadata = envelope_transactions(envelope);
	uint64		total;
	uint64		in_collection;
	int			len;

	/* the counter belongs to the table, not to where its row is sent */
	if (metadata == NULL ||
		!transaction_metadata_order(metadata, (EventTarget *) &entry->target,
									&total, &in_collection))
		return;
	if (id == FACT_TRANSACTION_TOTAL_ORDER)
		set_long(value, (int64) total);
	else if (id == FACT_TRANSACTION_COLLECTION_ORDER)
		set_long(value, (int64) in_collection);
	else
	{
		len = transaction_metadata_id(metadata, event->lsn, value->buffer);
		value->buffer[len] = '\0';
		set_text(value, value->buffer);
	}
}

static void
get_fact(FactValue *value, FactId id, const Envelope *envelope,
		 const Event *event, const RelationEntry *entry,
		 const char *snapshot)
{
	const EnvelopeFacts *known = envelope_facts(envelope);

	value->kind = VALUE_NULL;
	switch (id)
	{
		case FACT_OP:
			set_text(value, event_kinds[event->kind].op);
			break;
		case FACT_TS_MS:
			set_long(value, us_to_ms(known->now_us));
			break;
		case FACT_TS_US:
			set_long(value, known->now_us);
			break;
		case FACT_TS_NS:
			set_long(value, known->now_us * 1000);
			break;
		case FACT_SOURCE_VERSION:
			set_text(value, WAL2KAFKA_VERSION);
			break;
		case FACT_SOURCE_CONNECTOR:
			set_text(value, CONNECTOR);
			break;
		case FACT_SOURCE_NAME:
			set_text(value, known->name);
			break;
		case FACT_SOURCE_TS_MS:
			set_long(value, us_to_ms(known->time_us));
			break;
		case FACT_SOURCE_TS_US:
			set_long(value, known->time_us);
			break;
		case FACT_SOURCE_TS_NS:
			set_long(value, known->time_us * 1000);
			break;
		case FACT_SOURCE_SNAPSHOT:
			/* streamed rows rely on the default, which is not copied */
			set_text(value, snapshot);
			break;
		case FACT_SOURCE_DB:
			set_text(value, known->database);
			break;
		case FACT_SOURCE_SEQUENCE:
			envelope_sequence(envelope, event->lsn, value->buffer);
			set_text(value, value->buffer);
			break;
		case FACT_SOURCE_SCHEMA:
			set_text(value, relation_map_utf8(entry->target.schema_name));
			break;
		case FACT_SOURCE_TABLE:
			set_text(value, relation_map_utf8(entry->target.table_name));
			break;
		case FACT_SOURCE_TXID:
			if (TransactionIdIsValid(known->xid))
				set_long(value, known->xid);
			break;
		case FACT_SOURCE_LSN:
			set_long(value, (int64) event->lsn);
			break;
		case FACT_SOURCE_XMIN:
			break;
		case FACT_SOURCE_ORIGIN:
			set_text(value, known->origin);
			break;
		case FACT_SOURCE_ORIGIN_LSN:
			if (known->origin != NULL)
				set_long(value, (int64) known->origin_lsn);
			break;
		case FACT_TRANSACTION_ID:
		case FACT_TRANSACTION_TOTAL_ORDER:
		case FACT_TRANSACTION_COLLECTION_ORDER:
			get_place(value, id, envelope, event, entry);
			break;
	}
}

static void
put_fact(AvroBuffer *buf, const FactValue *value)
{
	avro_put_long(buf, value->kind == VALUE_NULL ? 0 : 1);
	switch (value->kind)
	{
		case VALUE_NULL:
			break;
		case VALUE_LONG:
			avro_put_long(buf, value->number);
			break;
		case VALUE_TEXT:
			avro_put_bytes(buf, value->text, strlen(value->text));
			break;
	}
}

/*
 * A column of the old or new row, or null where there is none.
 */
static void
put_column(const ShapeField *field, Envelope *envelope, const Event *event,
		   const RelationEntry *entry, const RowChange *change,
		   AvroBuffer *buf)
{
	bool		old = field->field->row == ROW_BEFORE;
	TupleTableSlot *slot = old ? change->before : change->after;

	if (slot == NULL || (old && change->before_is_key_only &&
						 !field->column.in_identity))
		avro_put_long(buf, field->column.null_branch);
	else
		envelope_put_column(envelope, event, entry, &field->column, slot,
							change->snapshot == NULL, buf);
}

EventBytes
flat_value(const FlatShape *shape, Envelope *envelope, const Event *event,
		   const RelationEntry *entry, const RowChange *change)
{
	AvroBuffer *buf = envelope_start_value(envelope);
	bool		deletion = change->after == NULL;

	envelope_put_row(envelope, event, entry,
					 deletion ? change->before : change->after,
					 deletion && change->before_is_key_only,
					 change->snapshot == NULL);
	if (shape->rules->rewrite)
	{
		const char *deleted = deletion ? "true" : "false";

		avro_put_long(buf, 1);
		avro_put_bytes(buf, deleted, strlen(deleted));
	}
	for (int i = 0; i < shape->added.count; i++)
	{
		const ShapeField *added = &shape->added.fields[i];
		FactValue	value;

		if (added->field->row != ROW_NONE)
		{
			put_column(added, envelope, event, entry, change, buf);
			continue;
		}
		get_fact(&value, added->field->fact->id, envelope, event, entry,
				 change->snapshot);
		put_fact(buf, &value);
	}
	return envelope_finish(buf);
}

/* ---------------------------------------------------------------------
 * Headers and topics
 * --------------------------------------------------------------------- */

static AvroBuffer *
start_scratch(FlatShape *shape)
{
	AvroBuffer *buf = &shape->scratch;

	avro_buffer_restart(buf);
	return buf;
}

static void
add_column_header(FlatShape *shape, const ShapeField *field,
				  Envelope *envelope, Event *event,
				  const RelationEntry *entry, const RowChange *change)
{
	AvroBuffer *buf = start_scratch(shape);

	put_column(field, envelope, event, entry, change, buf);
	event_serialize_header(event, field->field->name, &field->column_schema,
						   buf->data, buf->len);
}

void
flat_add_headers(FlatShape *shape, Envelope *envelope, Event *event,
				 const RelationEntry *entry, const RowChange *change)
{
	for (int i = 0; i < shape->headers.count; i++)
	{
		const ShapeField *header = &shape->headers.fields[i];
		const char *text = NULL;
		FactValue	value;

		if (header->field->row != ROW_NONE)
		{
			if (change != NULL)
				add_column_header(shape, header, envelope, event, entry,
								  change);
			continue;
		}
		if (change == NULL)
		{
			if (header->field->fact->id == FACT_OP)
				event_add_header(event, header->field->name,
								 event_kinds[EVENT_DELETE].op, 1);
			continue;
		}
		get_fact(&value, header->field->fact->id, envelope, event, entry,
				 change->snapshot);
		switch (value.kind)
		{
			case VALUE_NULL:
				break;
			case VALUE_LONG:
				text = psprintf(INT64_FORMAT, value.number);
				break;
			case VALUE_TEXT:
				text = pstrdup(value.text);
				break;
		}
		event_add_header(event, header->field->name, text,
						 text != NULL ? strlen(text) : 0);
	}
}

static void
raise_route_column(const FlatShape *shape, const RelationEntry *entry)
{
	if (shape->route_column == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("table \"%s.%s\" has no column \"%s\", which wal2kafka.route_by_field names",
						entry->target.schema_name, entry->target.table_name,
						shape->rules->route_column),
				 errhint("Leave the table out of the publication, or give it a stream of its own.")));
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("column \"%s\" of table \"%s.%s\", which wal2kafka.route_by_field names, is not sent as text",
					shape->rules->route_column, entry->target.schema_name,
					entry->target.table_name)));
}

/*
 * A delete goes where its row went only if the WAL has the value.
 */
static void
warn_of_unknown_route(FlatShape *shape, const RelationEntry *entry)
{
	if (shape->warned_route)
		return;
	shape->warned_route = true;
	ereport(WARNING,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("deletes of table \"%s.%s\" go to topic \"%s\", since column \"%s\" is not in its replica identity",
					entry->target.schema_name, entry->target.table_name,
					entry->target.topic, shape->rules->route_column),
			 errhint("Use ALTER TABLE ... REPLICA IDENTITY FULL.")));
}

/*
 * The column's text, in the scratch buffer; NULL for null.
 */
static const char *
route_text(FlatShape *shape, Envelope *envelope, const Event *event,
		   const RelationEntry *entry, TupleTableSlot *slot, bool streamed)
{
	RelationColumn column = *shape->route_column;
	AvroBuffer *buf = start_scratch(shape);
	const uint8 *p;

	if (slot->tts_isnull[column.attnum - 1])
		return NULL;
	envelope_require_column(&column, slot, streamed);
	column.value_branch = NO_BRANCH;
	envelope_put_column(envelope, event, entry, &column, slot, streamed, buf);
	avro_buffer_reserve(buf, 1);
	buf->data[buf->len] = '\0';
	for (p = buf->data; *p & 0x80; p++)
		;
	return (const char *) p + 1;
}

EventTarget *
flat_target(FlatShape *shape, Envelope *envelope, const Event *event,
			RelationEntry *entry, const RowChange *change)
{
	bool		old = change->after == NULL;
	const char *topic;
	EventTarget *target;

	if (shape->rules->route_column == NULL)
		return &entry->target;
	if (shape->route_column == NULL || !shape->route_is_text)
		raise_route_column(shape, entry);
	if (old && change->before_is_key_only && !shape->route_column->in_identity)
	{
		warn_of_unknown_route(shape, entry);
		return &entry->target;
	}
	topic = route_text(shape, envelope, event, entry,
					   old ? change->before : change->after,
					   change->snapshot == NULL);
	if (topic == NULL || topic[strspn(topic, " \t\r\n\f\v")] == '\0')
		return &entry->target;

	target = route_find(entry->routes, topic, "");
	if (target != NULL)
		return target;
	if (!topic_name_is_valid(topic))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("value \"%s\" of column \"%s\" is no name of a topic",
						foreign_text(topic, QUOTED_LENGTH),
						shape->rules->route_column),
				 errdetail("Topics have 1 to 249 letters, digits, dots, underscores and hyphens.")));
	return route_add(entry->routes, &entry->target, topic, "", NULL);
}
