/*
 * json_payload.c
 *		A JSON text as a structure of its own.
 *
 * The text's shape is inferred as a tree of nodes first, since the elements
 * of an array of objects have their fields together.  The tree gives the
 * schema, and with the text once more the value.
 *
 * jansson's objects live outside of memory contexts: everything between
 * their making and release is in one PG_TRY block.  Whatever is wrong with a
 * text is no error: such a payload is sent as it is.
 */
#include "postgres.h"

#include <jansson.h>

#include "miscadmin.h"
#include "nodes/pg_list.h"

#include "avro_schema.h"
#include "json_payload.h"
#include "topic_name.h"

#define MAX_DEPTH	100

/*
 * Who may insert rows writes the texts.  Elements of an array get each other's
 * fields, so that a text that is not large can have a value that is.
 */
#define MAX_FIELDS		1000	/* of a record */
#define MAX_NODES		100000
#define MAX_NAME_LEN	1000	/* with the names of what is around it */
#define MAX_GROWTH		16		/* from text to value ... */
#define FREE_GROWTH		((size_t) 1024 * 1024)	/* ... beyond this size */

typedef enum InferredKind
{
	NODE_STRING,
	NODE_BOOLEAN,
	NODE_INT,
	NODE_LONG,
	NODE_DOUBLE,
	NODE_BYTES,					/* only null was seen */
	NODE_ARRAY,
	NODE_RECORD,
} InferredKind;

static const char *const primitive_names[] = {
	[NODE_STRING] = "string",
	[NODE_BOOLEAN] = "boolean",
	[NODE_INT] = "int",
	[NODE_LONG] = "long",
	[NODE_DOUBLE] = "double",
	[NODE_BYTES] = "bytes",
};

typedef struct Inferred Inferred;

typedef struct InferredField
{
	const char *key;			/* in the text */
	const char *name;			/* in the schema */
	Inferred   *node;
} InferredField;

struct Inferred
{
	InferredKind kind;
	bool		nullable;
	const char *name;			/* records: full */
	List	   *fields;			/* records: InferredField * */
	Inferred   *element;		/* arrays */
};

typedef struct Inference
{
	const JsonPayloadOptions *options;
	const char *problem;		/* the first; NULL: none */
	int			depth;
	int			nodes;
	size_t		max_len;		/* of the buffer with the value */
} Inference;

static Inferred *infer(Inference *inference, const char *name, const json_t *json);

static Inferred *
fail(Inference *inference, const char *problem)
{
	if (inference->problem == NULL)
		inference->problem = problem;
	return NULL;
}

static Inferred *
make_node(InferredKind kind)
{
	Inferred   *node = palloc0(sizeof(Inferred));

	node->kind = kind;
	node->nullable = true;
	return node;
}

static InferredField *
find_field(const Inferred *record, const char *name)
{
	ListCell   *cell;

	foreach(cell, record->fields)
	{
		InferredField *field = lfirst(cell);

		if (strcmp(field->name, name) == 0)
			return field;
	}
	return NULL;
}

static Inferred *
infer_object(Inference *inference, const char *name, const json_t *json)
{
	Inferred   *node = make_node(NODE_RECORD);
	const char *key;
	json_t	   *value;

	CHECK_FOR_INTERRUPTS();
	node->name = name;
	if (strlen(name) > MAX_NAME_LEN)
		return fail(inference, "a name is too long");
	if (json_object_size(json) > MAX_FIELDS)
		return fail(inference, "an object has too many keys");
	json_object_foreach((json_t *) json, key, value)
	{
		InferredField *field = palloc(sizeof(InferredField));

		field->key = pstrdup(key);
		field->name =
			topic_name_adjust(key, inference->options->field_names,
							  false);
		if (!avro_schema_is_name(field->name))
			return fail(inference, "a key is no name of a field");
		field->node = infer(inference, psprintf("%s.%s", name, field->name),
							value);
		if (inference->problem != NULL)
			return NULL;
		if (field->node == NULL)
			continue;
		if (find_field(node, field->name) != NULL)
			return fail(inference, "two keys become the same name");
		node->fields = lappend(node->fields, field);
	}
	return node;
}

/*
 * The fields of both.  A field that was only null in one is what it is in
 * the other.
 */
static void
merge_records(Inference *inference, Inferred *left, const Inferred *right)
{
	ListCell   *cell;

	foreach(cell, right->fields)
	{
		InferredField *field = lfirst(cell);
		InferredField *known = find_field(left, field->name);

		if (known == NULL && list_length(left->fields) >= MAX_FIELDS)
			(void) fail(inference, "an array's objects have too many keys");
		else if (known == NULL)
			left->fields = lappend(left->fields, field);
		else if (known->node->kind == NODE_BYTES &&
				 field->node->kind != NODE_BYTES)
		{
			known->node = field->node;
			left->nullable = false;
		}
	}
}

/* The same names in the same order? */
static bool
same_names(const Inferred *left, const Inferred *right)
{
	ListCell   *a;
	ListCell   *b;

	if (list_length(left->fields) != list_length(right->fields))
		return false;
	forboth(a, left->fields, b, right->fields)
	{
		if (strcmp(((InferredField *) lfirst(a))->name,
				   ((InferredField *) lfirst(b))->name) != 0)
			return false;
	}
	return true;
}

/*
 * The elements of an array of objects.  If they differ, the record is not
 * nullable: so Debezium's merging leaves it.
 */
static Inferred *
infer_objects(Inference *inference, const char *name, const json_t *array)
{
	Inferred   *merged = NULL;
	size_t		index;
	json_t	   *element;

	json_array_foreach((json_t *) array, index, element)
	{
		Inferred   *node;

		if (json_is_null(element))
			continue;
		node = infer(inference, name, element);
		if (node == NULL)
			return NULL;
		if (merged == NULL)
		{
			merged = node;
			continue;
		}
		if (!same_names(merged, node))
			merged->nullable = false;
		merge_records(inference, merged, node);
		if (inference->problem != NULL)
			return NULL;
	}
	return merged;
}

static bool
same_type(const json_t *a, const json_t *b)
{
	if (json_is_boolean(a) && json_is_boolean(b))
		return true;
	if (json_typeof(a) != json_typeof(b))
		return false;
	if (!json_is_integer(a))
		return true;
	return (json_integer_value(a) == (int32) json_integer_value(a)) ==
		(json_integer_value(b) == (int32) json_integer_value(b));
}

static Inferred *
infer_array(Inference *inference, const char *name, const json_t *json)
{
	Inferred   *node = make_node(NODE_ARRAY);
	const json_t *sample = NULL;
	size_t		index;
	json_t	   *element;

	if (json_array_size(json) == 0)
	{
		if (!inference->options->keep_empty_arrays)
			return NULL;
		node->element = make_node(NODE_STRING);
		return node;
	}
	json_array_foreach((json_t *) json, index, element)
	{
		if (json_is_null(element))
			continue;
		if (sample == NULL)
			sample = element;
		if (!same_type(sample, element))
			return fail(inference, "an array has elements of several types");
	}
	if (json_is_object(sample))
	{
		if (name == NULL)
			return fail(inference, "an array of arrays has objects");
		node->element = infer_objects(inference, name, json);
	}
	else if (sample != NULL)
		node->element = infer(inference, NULL, sample);
	else if (inference->options->keep_nulls)
		node->element = make_node(NODE_BYTES);
	if (node->element == NULL)
		return fail(inference, "an array's elements have no type");
	return node;
}

/*
 * The shape of a value; NULL for one that is left out, or for a problem.
 * name is that of the record, if it is one, or NULL where there is none.
 */
static Inferred *
infer(Inference *inference, const char *name, const json_t *json)
{
	Inferred   *node = NULL;

	if (++inference->depth > MAX_DEPTH)
		return fail(inference, "it is nested too deeply");
	if (++inference->nodes > MAX_NODES)
		return fail(inference, "it has too many keys");
	switch (json_typeof(json))
	{
		case JSON_STRING:
			node = make_node(NODE_STRING);
			break;
		case JSON_TRUE:
		case JSON_FALSE:
			node = make_node(NODE_BOOLEAN);
			break;
		case JSON_INTEGER:
			node = make_node(json_integer_value(json) ==
							 (int32) json_integer_value(json) ?
							 NODE_INT : NODE_LONG);
			break;
		case JSON_REAL:
			node = make_node(NODE_DOUBLE);
			break;
		case JSON_NULL:
			if (inference->options->keep_nulls)
				node = make_node(NODE_BYTES);
			break;
		case JSON_ARRAY:
			node = infer_array(inference, name, json);
			break;
		case JSON_OBJECT:
			node = infer_object(inference, name, json);
			break;
	}
	inference->depth--;
	return inference->problem == NULL ? node : NULL;
}

/* ---------------------------------------------------------------------
 * Schema and value
 * --------------------------------------------------------------------- */

static void
append_schema(StringInfo out, const Inferred *node, bool enclosed)
{
	if (node->nullable)
		appendStringInfoString(out, "[\"null\",");
	if (node->kind == NODE_ARRAY)
	{
		appendStringInfoString(out, "{\"type\":\"array\",\"items\":");
		append_schema(out, node->element, false);
		appendStringInfoChar(out, '}');
	}
	else if (node->kind == NODE_RECORD)
	{
		const char *dot = strrchr(node->name, '.');
		const char *separator = "";
		ListCell   *cell;

		appendStringInfo(out, "{\"type\":\"record\",\"name\":\"%s\",",
						 dot != NULL ? dot + 1 : node->name);
		if (dot != NULL)
			appendStringInfo(out, "\"namespace\":\"%.*s\",",
							 (int) (dot - node->name), node->name);
		else if (enclosed)
			appendStringInfoString(out, "\"namespace\":\"\",");
		appendStringInfoString(out, "\"fields\":[");
		foreach(cell, node->fields)
		{
			const InferredField *field = lfirst(cell);

			appendStringInfo(out, "%s{\"name\":\"%s\",\"type\":", separator,
							 field->name);
			append_schema(out, field->node, false);
			appendStringInfoString(out, ",\"default\":null}");
			separator = ",";
		}
		appendStringInfo(out, "],\"connect.name\":\"%s\"}", node->name);
	}
	else
		appendStringInfo(out, "\"%s\"", primitive_names[node->kind]);
	if (node->nullable)
		appendStringInfoChar(out, ']');
}

static bool put_value(Inference *inference, AvroBuffer *buf,
					  const Inferred *node, const json_t *json);

static bool
put_array(Inference *inference, AvroBuffer *buf, const Inferred *node,
		  const json_t *json)
{
	size_t		index;
	json_t	   *element;

	if (json_array_size(json) > 0)
		avro_put_long(buf, (int64_t) json_array_size(json));
	json_array_foreach((json_t *) json, index, element)
	{
		if (buf->len > inference->max_len)
		{
			(void) fail(inference, "its value would be many times as large");
			return false;
		}
		if (!put_value(inference, buf, node->element, element))
			return false;
	}
	avro_put_long(buf, 0);
	return true;
}

static bool
put_record(Inference *inference, AvroBuffer *buf, const Inferred *node,
		   const json_t *json)
{
	ListCell   *cell;

	foreach(cell, node->fields)
	{
		const InferredField *field = lfirst(cell);

		if (!put_value(inference, buf, field->node,
					   json_object_get(json, field->key)))
			return false;
	}
	return true;
}

/*
 * False for a value that is not of the type that was inferred from others.
 */
static bool
put_value(Inference *inference, AvroBuffer *buf, const Inferred *node,
		  const json_t *json)
{
	if (json == NULL || json_is_null(json))
	{
		avro_put_long(buf, 0);
		return node->nullable;
	}
	if (node->nullable)
		avro_put_long(buf, 1);
	switch (node->kind)
	{
		case NODE_STRING:
			if (!json_is_string(json))
				return false;
			avro_put_bytes(buf, json_string_value(json),
						   json_string_length(json));
			return true;
		case NODE_BOOLEAN:
			if (!json_is_boolean(json))
				return false;
			avro_put_boolean(buf, json_is_true(json));
			return true;
		case NODE_INT:
			if (!json_is_integer(json) || json_integer_value(json) !=
				(int32) json_integer_value(json))
				return false;
			avro_put_long(buf, json_integer_value(json));
			return true;
		case NODE_LONG:
			if (!json_is_integer(json))
				return false;
			avro_put_long(buf, json_integer_value(json));
			return true;
		case NODE_DOUBLE:
			if (!json_is_real(json))
				return false;
			avro_put_double(buf, json_real_value(json));
			return true;
		case NODE_BYTES:
			return false;
		case NODE_ARRAY:
			return json_is_array(json) &&
				put_array(inference, buf, node, json);
		case NODE_RECORD:
			return json_is_object(json) &&
				put_record(inference, buf, node, json);
	}
	return false;
}

static const char *
expand(Inference *inference, const json_t *json, StringInfo schema,
	   AvroBuffer *value)
{
	Inferred   *node;
	size_t		value_len = value->len;

	if (!json_is_object(json))
		return "only objects are expanded";
	node = infer(inference, inference->options->name, json);
	if (node == NULL)
		return inference->problem;
	if (!put_value(inference, value, node, json))
	{
		value->len = value_len;
		(void) fail(inference, "elements of an array differ in a field's type");
		return inference->problem;
	}
	append_schema(schema, node, inference->options->enclosed);
	return NULL;
}

const char *
json_payload_expand(const JsonPayloadOptions *options, const char *text,
					size_t len, StringInfo schema, AvroBuffer *value)
{
	Inference	inference = {
		.options = options,
		.max_len = value->len + FREE_GROWTH + MAX_GROWTH * len,
	};
	const char *volatile problem = NULL;
	json_error_t error;
	json_t	   *json;

	json = json_loadb(text, len, JSON_ALLOW_NUL, &error);
	if (json == NULL)
		return "it is no JSON, or has a number beyond 64 bits";
	PG_TRY();
	{
		problem = expand(&inference, json, schema, value);
	}
	PG_FINALLY();
	{
		json_decref(json);
	}
	PG_END_TRY();
	return problem;
}
