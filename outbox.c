/*
 * outbox.c
 *		Rows of outbox tables as the events that they hold, as Debezium's
 *		EventRouter makes them.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "avro_schema.h"
#include "event_serialize.h"
#include "foreign_text.h"
#include "json_payload.h"
#include "options.h"
#include "outbox.h"
#include "preload/regex_list.h"
#include "route.h"
#include "topic_name.h"

#define HEADER_ID		"id"
#define FIELD_PAYLOAD	"payload"

#define UNIX_EPOCH_US \
	((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

/* Where an additional column goes. */
typedef enum Placement
{
	PLACE_HEADER,
	PLACE_ENVELOPE,				/* a field beside the payload */
	PLACE_PARTITION,
} Placement;

static const char *const placement_names[] = {
	[PLACE_HEADER] = "header",
	[PLACE_ENVELOPE] = "envelope",
	[PLACE_PARTITION] = "partition",
};

/* One entry of outbox_table_fields_additional_placement. */
typedef struct Additional
{
	const char *column_name;
	Placement	placement;
	const char *alias;
} Additional;

struct OutboxRules
{
	const Settings *settings;
	RegexList  *tables;
	RegexRule  *route;
	int			nadditional;
	Additional *additional;
	bool		enveloped;		/* values are records around the payload */
};

/* A column, and its schema alone, for headers. */
typedef struct OutboxColumn
{
	const RelationColumn *column;	/* NULL: not asked for */
	EventSchema schema;
} OutboxColumn;

struct OutboxShape
{
	const OutboxRules *rules;
	char	   *namespace;		/* of the table's own schemas */
	const char *problem;		/* why its rows are no events; NULL: they are */

	OutboxColumn id;
	OutboxColumn key;
	OutboxColumn payload;
	const RelationColumn *route;
	const RelationColumn *timestamp;	/* NULL: not asked for */
	const RelationColumn *version;
	OutboxColumn *additional;	/* as in the rules; column NULL: left out */
	bool		payload_is_text;
	bool		payload_is_bytes;
	bool		warned_expand;
	bool		warned_update;

	/* the envelope's fields: the payload, then columns */
	int			nfields;
	SchemaField *fields;
	const RelationColumn **field_columns;

	AvroBuffer	scratch;
};

/* ---------------------------------------------------------------------
 * Settings
 * --------------------------------------------------------------------- */

static void
raise_placement(const char *item)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid entry \"%s\" in wal2kafka.outbox_table_fields_additional_placement",
					item),
			 errhint("Allowed is \"column:placement\" or \"column:placement:alias\", where the placement is header, envelope or partition.")));
}

/*
 * "column:placement", "column:placement:alias"
 */
static void
parse_additional(OutboxRules *rules, char *item)
{
	char	   *whole = pstrdup(item);
	Additional *additional = &rules->additional[rules->nadditional++];
	char	   *column = strsep(&item, ":");
	char	   *placement = strsep(&item, ":");
	char	   *alias = strsep(&item, ":");
	int			i = 0;

	if (placement == NULL || item != NULL)
		raise_placement(whole);
	additional->column_name = options_trim(column);
	additional->alias = alias != NULL ? options_trim(alias) : additional->column_name;
	placement = options_trim(placement);
	while (i < lengthof(placement_names) &&
		   pg_strcasecmp(placement, placement_names[i]) != 0)
		i++;
	if (i == lengthof(placement_names) ||
		additional->column_name[0] == '\0' || additional->alias[0] == '\0')
		raise_placement(whole);
	additional->placement = (Placement) i;
	if (additional->placement == PLACE_ENVELOPE)
	{
		if (!avro_schema_is_name(additional->alias))
			raise_placement(whole);
		rules->enveloped = true;
	}
}

OutboxRules *
outbox_rules_create(MemoryContext cxt, const Settings *settings)
{
	RegexList  *tables = regex_list_compile(cxt, settings->outbox_tables);
	MemoryContext old;
	OutboxRules *rules;
	char	   *rest;
	char	   *item;

	if (tables == NULL)
		return NULL;
	old = MemoryContextSwitchTo(cxt);
	rules = palloc0(sizeof(OutboxRules));
	rules->settings = settings;
	rules->tables = tables;
	rules->route = regex_rule_compile(cxt, settings->outbox_route_topic_regex,
									  settings->outbox_route_topic_replacement);

	rest = pstrdup(relation_map_utf8(settings->outbox_table_fields_additional_placement));
	rules->additional = palloc0((strlen(rest) / 2 + 1) * sizeof(Additional));
	while ((item = strsep(&rest, ",")) != NULL)
	{
		item = options_trim(item);
		if (item[0] != '\0')
			parse_additional(rules, item);
	}
	if (rules->enveloped && settings->outbox_payload_raw)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("wal2kafka.outbox_payload_raw leaves no place for columns beside the payload"),
				 errhint("Place them as \"header\" in wal2kafka.outbox_table_fields_additional_placement.")));
	MemoryContextSwitchTo(old);
	return rules;
}

bool
outbox_rules_match(const OutboxRules *rules, const char *schema_name,
				   const char *table_name)
{
	char	   *name;

	if (rules == NULL)
		return false;
	name = psprintf("%s.%s", schema_name, table_name);
	return regex_list_matches(rules->tables, relation_map_utf8(name));
}

/* ---------------------------------------------------------------------
 * Relations
 * --------------------------------------------------------------------- */

/*
 * Remember the first reason.
 */
static void
set_problem(OutboxShape *shape, const char *problem)
{
	if (shape->problem == NULL)
		shape->problem = problem;
}

/*
 * The column of a role in an event; NULL where the setting is empty.
 */
static const RelationColumn *
role_column(OutboxShape *shape, const RelationEntry *entry,
			const char *setting, const char *name)
{
	const RelationColumn *column;

	if (name[0] == '\0')
		return NULL;
	column = relation_map_column(entry, relation_map_utf8(name));
	if (column == NULL)
		set_problem(shape,
					psprintf("there is no column \"%s\", which wal2kafka.%s names",
							 name, setting));
	return column;
}

/*
 * A schema of a key or value that is one column.
 */
static void
column_schema(EventSchema *schema, const RelationColumn *column)
{
	StringInfoData text;
	List	   *named = NIL;
	AvroNode   *node;
	const char *name;

	initStringInfo(&text);
	avro_schema_append_type(&text, "", &column->field, &named);
	node = avro_schema_parse(text.data, text.len);
	if (node->kind == AVRO_KIND_UNION)
		name = "union";
	else if (node->kind == AVRO_KIND_RECORD)
		name = node->full_name;
	else
	{
		char	   *canonical = avro_schema_canonical_form(text.data);

		/* "string" with its quotes */
		name = pnstrdup(canonical + 1, strlen(canonical) - 2);
	}
	avro_schema_finish(schema, text.data, name);
}

static void
set_column(OutboxColumn *result, const RelationColumn *column)
{
	result->column = column;
	if (column != NULL)
		column_schema(&result->schema, column);
}

/* What the column's values are, without null. */
static const AvroNode *
column_node(const RelationColumn *column)
{
	StringInfoData text;
	List	   *named = NIL;

	initStringInfo(&text);
	type_map_append_schema(&text, column->encoder, NULL, "", &named);
	return avro_schema_parse(text.data, text.len);
}

static void
resolve_additional(OutboxShape *shape, const RelationEntry *entry)
{
	const OutboxRules *rules = shape->rules;

	shape->additional = palloc0((rules->nadditional + 1) *
								sizeof(OutboxColumn));
	for (int i = 0; i < rules->nadditional; i++)
	{
		const Additional *additional = &rules->additional[i];
		const RelationColumn *column =
			relation_map_column(entry, additional->column_name);

		if (column == NULL)
		{
			if (rules->settings->outbox_table_fields_additional_error_on_missing)
				set_problem(shape,
							psprintf("there is no column \"%s\", which wal2kafka.outbox_table_fields_additional_placement names",
									 additional->column_name));
			continue;
		}
		if (additional->placement == PLACE_PARTITION &&
			column->encoder->typid != INT4OID &&
			column->encoder->typid != INT2OID)
			set_problem(shape,
						psprintf("column \"%s\" is to select the partition, but is no integer",
								 additional->column_name));
		set_column(&shape->additional[i], column);
	}
}

/*
 * The fields of the record around the payload.
 */
static void
resolve_fields(OutboxShape *shape)
{
	const OutboxRules *rules = shape->rules;

	shape->fields = palloc0((rules->nadditional + 1) * sizeof(SchemaField));
	shape->field_columns = palloc0((rules->nadditional + 1) *
								   sizeof(RelationColumn *));
	shape->field_columns[0] = shape->payload.column;
	shape->fields[0] = shape->payload.column->field;
	shape->fields[0].name = FIELD_PAYLOAD;
	shape->nfields = 1;
	for (int i = 0; i < rules->nadditional; i++)
	{
		const RelationColumn *column = shape->additional[i].column;

		if (column == NULL ||
			rules->additional[i].placement != PLACE_ENVELOPE)
			continue;
		shape->field_columns[shape->nfields] = column;
		shape->fields[shape->nfields] = column->field;
		shape->fields[shape->nfields++].name = rules->additional[i].alias;
	}
}

OutboxShape *
outbox_shape_create(const OutboxRules *rules, const RelationEntry *entry,
					const char *namespace)
{
	const Settings *settings = rules->settings;
	OutboxShape *shape = palloc0(sizeof(OutboxShape));

#define ROLE(setting) role_column(shape, entry, #setting, settings->setting)
	shape->rules = rules;
	shape->namespace = pstrdup(namespace);
	set_column(&shape->payload, ROLE(outbox_table_field_event_payload));
	set_column(&shape->id, ROLE(outbox_table_field_event_id));
	set_column(&shape->key, ROLE(outbox_table_field_event_key));
	shape->route = ROLE(outbox_route_by_field);
	shape->timestamp = ROLE(outbox_table_field_event_timestamp);
	shape->version = ROLE(outbox_table_field_event_schema_version);
#undef ROLE
	if (shape->payload.column == NULL || shape->id.column == NULL ||
		shape->route == NULL)
		set_problem(shape, "its id, payload and route need a column each");
	resolve_additional(shape, entry);

	if (shape->route != NULL && column_node(shape->route)->kind != AVRO_KIND_STRING)
		set_problem(shape, "the column that selects the topic is no text");
	if (shape->timestamp != NULL &&
		shape->timestamp->encoder->typid != TIMESTAMPOID &&
		shape->timestamp->encoder->typid != TIMESTAMPTZOID)
		set_problem(shape, "the column with an event's time is no timestamp");
	if (shape->version != NULL &&
		shape->version->encoder->typid != INT4OID &&
		shape->version->encoder->typid != INT2OID)
		set_problem(shape, "the column with the schema's version is no integer");
	if (shape->payload.column != NULL)
	{
		const AvroNode *node = column_node(shape->payload.column);

		shape->payload_is_text = node->kind == AVRO_KIND_STRING;
		shape->payload_is_bytes = node->kind == AVRO_KIND_BYTES &&
			!node->decimal;
		resolve_fields(shape);
	}
	avro_buffer_init(&shape->scratch, CurrentMemoryContext);
	return shape;
}

/*
 * The record around the payload.  Its name has the value that selected the
 * topic in it.  version 0: none; payload NULL: the column's schema.
 */
static void
enveloped_schema(const OutboxShape *shape, EventSchema *schema,
				 const char *route, int version, const char *payload)
{
	NameAdjustment mode =
		shape->rules->settings->schema_name_adjustment_mode;
	StringInfoData out;
	List	   *named = NIL;
	char	   *namespace = shape->namespace;

	/* there is no telling what a row's value has in it: quotes, say */
	if (mode == NAME_ADJUST_NONE)
		mode = NAME_ADJUST_AVRO;
	if (route[0] != '\0')
		namespace = psprintf("%s.%s", namespace,
							 topic_name_adjust(route, mode, true));
	initStringInfo(&out);
	appendStringInfo(&out, "{\"type\":\"record\",\"name\":\"Value\",\"namespace\":\"%s\",\"fields\":[",
					 namespace);
	if (payload != NULL)
		appendStringInfo(&out, "{\"name\":\"%s\",\"type\":%s,\"default\":null}%s",
						 FIELD_PAYLOAD, payload, shape->nfields > 1 ? "," : "");
	avro_schema_append_fields(&out, namespace,
							  shape->fields + (payload != NULL ? 1 : 0),
							  shape->nfields - (payload != NULL ? 1 : 0),
							  &named);
	appendStringInfoString(&out, "],");
	if (version != 0)
		appendStringInfo(&out, "\"connect.version\":%d,", version);
	appendStringInfo(&out, "\"connect.name\":\"%s.Value\"}", namespace);
	avro_schema_finish(schema, out.data, psprintf("%s.Value", namespace));
}

void
outbox_schemas(const OutboxShape *shape, EventSchema *key, EventSchema *value)
{
	if (shape->key.column != NULL)
		column_schema(key, shape->key.column);
	if (shape->rules->settings->outbox_payload_raw)
		value->format = EVENT_FORMAT_BARE;
	else if (shape->payload.column == NULL)
		return;
	else if (shape->rules->enveloped)
		enveloped_schema(shape, value, "", 0, NULL);
	else
		column_schema(value, shape->payload.column);
}

/* ---------------------------------------------------------------------
 * Events
 * --------------------------------------------------------------------- */

static bool
is_null(const RelationColumn *column, const RowChange *change)
{
	return change->after->tts_isnull[column->attnum - 1];
}

/*
 * Write a column's value that is not null, without its union.
 */
static void
encode_alone(Envelope *envelope, const Event *event,
			 const RelationEntry *entry, const RelationColumn *column,
			 const RowChange *change, AvroBuffer *buf)
{
	RelationColumn alone = *column;

	alone.value_branch = NO_BRANCH;
	envelope_put_column(envelope, event, entry, &alone, change->after,
						change->snapshot == NULL, buf);
}

/* Where the text or bytes of an encoded string begin. */
static uint8 *
skip_length(uint8 *p)
{
	while (*p & 0x80)
		p++;
	return p + 1;
}

static AvroBuffer *
start_scratch(OutboxShape *shape)
{
	AvroBuffer *buf = &shape->scratch;

	avro_buffer_restart(buf);
	return buf;
}

/*
 * The value that selects the topic, palloc'd.
 */
static const char *
route_text(OutboxShape *shape, Envelope *envelope, const Event *event,
		   const RelationEntry *entry, const RowChange *change)
{
	AvroBuffer *buf = start_scratch(shape);
	const uint8 *text;

	if (is_null(shape->route, change))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("column \"%s\" of an outbox row, which selects the topic, is null",
						shape->route->field.name)));
	envelope_require_column(shape->route, change->after,
							change->snapshot == NULL);
	encode_alone(envelope, event, entry, shape->route, change, buf);
	text = skip_length(buf->data);
	return pnstrdup((const char *) text, buf->data + buf->len - text);
}

/*
 * The version of an event's schema; 0: none.
 */
static int
schema_version(const OutboxShape *shape, const RowChange *change)
{
	Datum		value;

	if (shape->version == NULL || is_null(shape->version, change))
		return 0;
	value = change->after->tts_values[shape->version->attnum - 1];
	return shape->version->encoder->typid == INT2OID ?
		DatumGetInt16(value) : DatumGetInt32(value);
}

/*
 * The target for a topic.  payload is the schema of a payload that was
 * expanded, else NULL.
 */
static EventTarget *
find_target(const OutboxShape *shape, RelationEntry *entry,
			const char *route, int version, const char *payload)
{
	char	   *topic = regex_rule_apply(shape->rules->route, route);
	const char *variant = payload != NULL ? payload : "";
	EventTarget *target;
	EventSchema value = {.format = entry->target.value.format};

	/* as Kafka's RegexRouter leaves a topic alone that does not match */
	if (topic == NULL)
		topic = pstrdup(route);
	if (shape->rules->enveloped)
		variant = psprintf("%d %s %s", version, route, variant);
	target = route_find(entry->routes, topic, variant);
	if (target != NULL)
		return target;
	if (!topic_name_is_valid(topic))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("outbox row with \"%s\" in column \"%s\" is for topic \"%s\", which is no name of a topic",
						foreign_text(route, QUOTED_LENGTH),
						shape->route->field.name,
						foreign_text(topic, QUOTED_LENGTH)),
				 errdetail("Topics have 1 to 249 letters, digits, dots, underscores and hyphens."),
				 errhint("See wal2kafka.outbox_route_topic_regex and wal2kafka.outbox_route_topic_replacement.")));
	if (shape->rules->enveloped)
		enveloped_schema(shape, &value, route, version, payload);
	else if (payload != NULL)
		avro_schema_finish(&value, payload, "union");
	else
		return route_add(entry->routes, &entry->target, topic, variant, NULL);
	return route_add(entry->routes, &entry->target, topic, variant, &value);
}

/*
 * A column as a header.
 */
static void
add_header(OutboxShape *shape, Envelope *envelope, Event *event,
		   const RelationEntry *entry, const char *name,
		   const OutboxColumn *column, const RowChange *change)
{
	AvroBuffer *buf = start_scratch(shape);

	envelope_put_column(envelope, event, entry, column->column, change->after,
						change->snapshot == NULL, buf);
	event_serialize_header(event, name, &column->schema, buf->data, buf->len);
}

static void
place_additional(OutboxShape *shape, Envelope *envelope, Event *event,
				 const RelationEntry *entry, const RowChange *change)
{
	const OutboxRules *rules = shape->rules;

	for (int i = 0; i < rules->nadditional; i++)
	{
		const OutboxColumn *column = &shape->additional[i];
		Datum		value;

		if (column->column == NULL)
			continue;
		switch (rules->additional[i].placement)
		{
			case PLACE_HEADER:
				add_header(shape, envelope, event, entry,
						   rules->additional[i].alias, column, change);
				break;
			case PLACE_ENVELOPE:
				break;			/* is in the value */
			case PLACE_PARTITION:
				event->partition = EVENT_PARTITION_BY_KEY;
				if (is_null(column->column, change))
					break;
				value = change->after->tts_values[column->column->attnum - 1];
				event->partition =
					column->column->encoder->typid == INT2OID ?
					DatumGetInt16(value) : DatumGetInt32(value);
				if (event->partition < 0)
					ereport(ERROR,
							(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
							 errmsg("column \"%s\" of an outbox row selects partition %d",
									column->column->field.name,
									event->partition)));
				break;
		}
	}
}

/*
 * The event's own time, where it has one that Kafka can hold.
 */
static void
set_timestamp(const OutboxShape *shape, Event *event, const RowChange *change)
{
	Timestamp	time;
	int64		ms;

	if (shape->timestamp == NULL || is_null(shape->timestamp, change))
		return;
	time = DatumGetTimestamp(change->after->tts_values[shape->timestamp->attnum - 1]);
	if (TIMESTAMP_NOT_FINITE(time))
		return;
	ms = (time + UNIX_EPOCH_US) / 1000;
	if (ms <= 0)
		return;
	event->has_timestamp = true;
	event->timestamp_ms = ms;
}

/*
 * Nothing but blanks?
 */
static bool
is_blank(const uint8 *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (text[i] > ' ')
			return false;
	return true;
}

/*
 * The payload alone, without schema.  What is neither text nor bytes is sent
 * as its text.
 */
static EventBytes
raw_value(const OutboxShape *shape, AvroBuffer *buf)
{
	EventBytes	encoded = envelope_finish(buf);
	EventBytes	result;

	if (shape->payload_is_text || shape->payload_is_bytes)
	{
		result.data = skip_length(encoded.data);
		result.len = encoded.len - (result.data - encoded.data);
	}
	else
	{
		StringInfoData text;
		EventSchema schema = {0};
		RelationColumn column = *shape->payload.column;

		column.field.optional = false;
		column_schema(&schema, &column);
		initStringInfo(&text);
		enlargeStringInfo(&text, EVENT_HEADROOM);
		text.len = EVENT_HEADROOM;
		event_serialize_datum(&text, &schema, encoded.data, encoded.len);
		result.data = (uint8 *) text.data + EVENT_HEADROOM;
		result.len = text.len - EVENT_HEADROOM;
	}
	return result;
}

/*
 * Is the payload null, or text of which nothing is left?
 */
static bool
payload_is_empty(const OutboxShape *shape, Envelope *envelope,
				 const Event *event, const RelationEntry *entry,
				 const RowChange *change)
{
	AvroBuffer *buf;
	EventBytes	encoded;
	const uint8 *text;

	if (is_null(shape->payload.column, change))
		return true;
	if (!shape->payload_is_text)
		return false;
	buf = envelope_start_value(envelope);
	encode_alone(envelope, event, entry, shape->payload.column, change, buf);
	encoded = envelope_finish(buf);
	text = skip_length(encoded.data);
	return is_blank(text, encoded.data + encoded.len - text);
}

static void
warn_of_payload(OutboxShape *shape, const RelationEntry *entry,
				const char *problem)
{
	if (shape->warned_expand)
		return;
	shape->warned_expand = true;
	ereport(WARNING,
			(errcode(ERRCODE_INVALID_JSON_TEXT),
			 errmsg("a payload of outbox table \"%s.%s\" is sent as it is, not expanded",
					entry->target.schema_name, entry->target.table_name),
			 errdetail("The reason is: %s. This is said only once.", problem)));
}

/*
 * Write the payload.  Returns its schema if that is inferred, palloc'd, else
 * NULL: it is the column's.
 */
static const char *
put_payload(OutboxShape *shape, Envelope *envelope, const Event *event,
			const RelationEntry *entry, const RowChange *change,
			AvroBuffer *buf)
{
	const Settings *settings = shape->rules->settings;
	const RelationColumn *column = shape->payload.column;

	if (settings->outbox_table_expand_json_payload &&
		shape->payload_is_text && !is_null(column, change))
	{
		JsonPayloadOptions options = {
			.name = column->field.name,
			.enclosed = shape->rules->enveloped,
			.field_names = settings->field_name_adjustment_mode,
			.keep_nulls = settings->outbox_table_json_payload_null_behavior ==
			JSON_NULL_OPTIONAL_BYTES,
			.keep_empty_arrays =
			settings->outbox_table_json_payload_empty_array_behavior ==
			JSON_EMPTY_ARRAY_OPTIONAL_STRING,
		};
		AvroBuffer *scratch = start_scratch(shape);
		StringInfoData schema;
		const uint8 *text;
		const char *problem = "only objects are expanded";

		encode_alone(envelope, event, entry, column, change, scratch);
		text = skip_length(scratch->data);
		initStringInfo(&schema);
		if (text < scratch->data + scratch->len && *text == '{')
			problem = json_payload_expand(&options, (const char *) text,
										  scratch->data + scratch->len - text,
										  &schema, buf);
		if (problem == NULL)
			return schema.data;
		warn_of_payload(shape, entry, problem);
	}
	envelope_put_column(envelope, event, entry, column, change->after,
						change->snapshot == NULL, buf);
	return NULL;
}

static EventBytes
event_value(OutboxShape *shape, Envelope *envelope, const Event *event,
			const RelationEntry *entry, const RowChange *change,
			const char **payload_schema)
{
	const Settings *settings = shape->rules->settings;
	EventBytes	none = {NULL, 0};
	AvroBuffer *buf;

	if (settings->outbox_route_tombstone_on_empty_payload &&
		payload_is_empty(shape, envelope, event, entry, change))
		return none;
	/* null as JSON is no null record: that is what the setting above is for */
	if (!shape->rules->enveloped && is_null(shape->payload.column, change) &&
		(settings->outbox_payload_raw ||
		 entry->target.value.format == EVENT_FORMAT_AVRO))
		return none;

	buf = envelope_start_value(envelope);
	if (settings->outbox_payload_raw)
	{
		encode_alone(envelope, event, entry, shape->payload.column, change,
					 buf);
		return raw_value(shape, buf);
	}
	*payload_schema = put_payload(shape, envelope, event, entry, change, buf);
	if (shape->rules->enveloped)
	{
		for (int i = 1; i < shape->nfields; i++)
			envelope_put_column(envelope, event, entry,
								shape->field_columns[i], change->after,
								change->snapshot == NULL, buf);
	}
	return envelope_finish(buf);
}

static EventBytes
event_key(OutboxShape *shape, Envelope *envelope, const RelationEntry *entry,
		  const RowChange *change)
{
	EventBytes	none = {NULL, 0};
	AvroBuffer *buf;

	if (shape->key.column == NULL || is_null(shape->key.column, change))
		return none;
	buf = envelope_start_key(envelope, ENVELOPE_KEY_NEW);
	envelope_put_column(envelope, NULL, entry, shape->key.column,
						change->after, change->snapshot == NULL, buf);
	return envelope_finish(buf);
}

void
outbox_fill_event(OutboxShape *shape, Envelope *envelope, Event *event,
				  RelationEntry *entry, const RowChange *change)
{
	const char *payload_schema = NULL;
	const char *route;

	if (shape->problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("outbox table \"%s.%s\" cannot be sent: %s",
						entry->target.schema_name, entry->target.table_name,
						shape->problem)));
	event->key.data = NULL;		/* the table's own */
	event->key.len = 0;
	route = route_text(shape, envelope, event, entry, change);
	event->key = event_key(shape, envelope, entry, change);
	add_header(shape, envelope, event, entry, HEADER_ID, &shape->id, change);
	place_additional(shape, envelope, event, entry, change);
	set_timestamp(shape, event, change);
	event->value = event_value(shape, envelope, event, entry, change,
							   &payload_schema);
	event->target = find_target(shape, entry, route,
								schema_version(shape, change),
								payload_schema);
}

void
outbox_refuse_update(OutboxShape *shape, const RelationEntry *entry)
{
	int			level = WARNING;	/* LOG is the next that does not raise */

	switch ((OutboxInvalid) shape->rules->settings->outbox_table_op_invalid_behavior)
	{
		case OUTBOX_INVALID_WARN:
			break;
		case OUTBOX_INVALID_ERROR:
			level = LOG;
			break;
		case OUTBOX_INVALID_FATAL:
			level = ERROR;
			break;
	}
	/* one update may be of a million rows */
	if (level != ERROR && shape->warned_update)
		return;
	shape->warned_update = true;
	ereport(level,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("a row of outbox table \"%s.%s\" was updated, which is no event",
					entry->target.schema_name, entry->target.table_name),
			 errhint("Insert a row for each event.")));
}
