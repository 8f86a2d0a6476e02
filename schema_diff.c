/*
 * schema_diff.c
 *		How two Avro schemas differ, for people.
 *
 * Works on the schemas' JSON, since libavro forgets most properties when it
 * parses.  Types are compared after references by name are resolved, each
 * side by its own definitions; a record is compared where it is met first,
 * so that an envelope's before and after are one story.
 */
#include "postgres.h"

#include <jansson.h>

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"

#include "foreign.h"
#include "schema_diff.h"

#define MAX_DIFFERENCES			12
#define MAX_DIFFERENCE_BYTES	4000

/*
 * Properties of types that are compared.  binding: bytes that were written
 * with one value are misread with the other.
 */
typedef struct SchemaProperty
{
	const char *name;
	bool		binding;
} SchemaProperty;

static const SchemaProperty schema_properties[] = {
	{"logicalType", true},
	{"precision", true},
	{"scale", true},
	{"size", true},
	{"connect.type", true},
	{"connect.name", true},
	{"connect.version", false},
	{"connect.parameters", false},
	{"connect.default", false},
};

/* A schema, and its named types by full name. */
typedef struct SchemaSide
{
	json_t	   *root;
	json_t	   *names;
} SchemaSide;

/* A type with references by name resolved. */
typedef struct SchemaType
{
	json_t	   *json;
	const char *kind;			/* "long", "record", "union", ... */
	const char *name;			/* full name; NULL for those without */
	const char *namespace;		/* that holds for names inside */
} SchemaType;

typedef struct SchemaComparison
{
	SchemaSide	ours;
	SchemaSide	theirs;			/* the registered one */
	List	   *seen;			/* our records, each compared once */
	StringInfoData text;
	int			ndifferences;
	bool		binding;		/* bytes of ours cannot have theirs' id */
} SchemaComparison;

/* Note a difference, if there are not too many yet. */
static void difference(SchemaComparison *cmp, bool binding,
					   const char *format,...) pg_attribute_printf(3, 4);

static void
difference(SchemaComparison *cmp, bool binding, const char *format,...)
{
	cmp->binding |= binding;
	if (cmp->ndifferences++ >= MAX_DIFFERENCES)
		return;
	if (cmp->text.len > 0)
		appendStringInfoString(&cmp->text, "; ");
	for (;;)
	{
		va_list		args;
		int			needed;

		va_start(args, format);
		needed = appendStringInfoVA(&cmp->text, format, args);
		va_end(args);
		if (needed == 0)
			return;
		enlargeStringInfo(&cmp->text, needed);
	}
}

static const char *
string_property(const json_t *json, const char *name)
{
	return json_string_value(json_object_get(json, name));
}

static bool
is_named_kind(const char *kind)
{
	return strcmp(kind, "record") == 0 || strcmp(kind, "enum") == 0 ||
		strcmp(kind, "fixed") == 0;
}

/* Does a word stand for a kind of type, not for the name of one? */
static bool
is_kind(const char *word)
{
	static const char *const other_kinds[] = {
		"null", "boolean", "int", "long", "float", "double", "bytes",
		"string", "array", "map",
	};

	for (int i = 0; i < lengthof(other_kinds); i++)
		if (strcmp(word, other_kinds[i]) == 0)
			return true;
	return is_named_kind(word);
}

/* The full name of a definition or reference, by Avro's rules. */
static char *
full_name(const char *name, const char *own_namespace, const char *namespace)
{
	if (strchr(name, '.'))
		return pstrdup(name);
	if (own_namespace)
		namespace = own_namespace;
	return namespace && *namespace ? psprintf("%s.%s", namespace, name) :
		pstrdup(name);
}

/* All before the last dot; "" if there is none. */
static char *
namespace_of(const char *name)
{
	const char *dot = strrchr(name, '.');

	return pnstrdup(name, dot ? dot - name : 0);
}

static const char *
short_name(const char *name)
{
	const char *dot = name ? strrchr(name, '.') : NULL;

	return dot ? dot + 1 : name ? name : "";
}

/* Fill side->names with the definitions in a type. */
static void
collect_names(SchemaSide *side, json_t *type, const char *namespace)
{
	json_t	   *element;
	size_t		i;

	check_stack_depth();
	if (json_is_array(type))
	{
		json_array_foreach(type, i, element)
			collect_names(side, element, namespace);
	}
	else if (json_is_object(type))
	{
		const char *kind = string_property(type, "type");
		const char *name = string_property(type, "name");

		if (kind && name && is_named_kind(kind))
		{
			char	   *full = full_name(name,
										 string_property(type, "namespace"),
										 namespace);

			if (json_object_get(side->names, full) == NULL)
				json_object_set(side->names, full, type);
			namespace = namespace_of(full);
		}
		collect_names(side, json_object_get(type, "type"), namespace);
		collect_names(side, json_object_get(type, "items"), namespace);
		collect_names(side, json_object_get(type, "values"), namespace);
		json_array_foreach(json_object_get(type, "fields"), i, element)
			collect_names(side, json_object_get(element, "type"), namespace);
	}
}

/* Follow nesting and references by name to the type itself. */
static SchemaType
resolve_type(const SchemaSide *side, json_t *json, const char *namespace)
{
	SchemaType	type = {0};
	const char *word;

	while (json_is_object(json) &&
		   !json_is_string(json_object_get(json, "type")) &&
		   json_object_get(json, "type"))
		json = json_object_get(json, "type");

	type.json = json;
	type.namespace = namespace;
	if (json_is_array(json))
	{
		type.kind = "union";
		return type;
	}

	word = json_is_string(json) ? json_string_value(json) :
		string_property(json, "type");
	if (word == NULL)
		type.kind = "nothing";
	else if (!is_kind(word))
	{
		type.name = full_name(word, NULL, namespace);
		type.json = json_object_get(side->names, type.name);
		type.kind = string_property(type.json, "type");
		if (type.kind == NULL)
			type.kind = type.name;	/* defined in another subject */
	}
	else
	{
		type.kind = word;
		if (is_named_kind(word) && string_property(json, "name"))
			type.name = full_name(string_property(json, "name"),
								  string_property(json, "namespace"),
								  namespace);
	}
	if (type.name)
		type.namespace = namespace_of(type.name);
	return type;
}

/* A JSON value as short text. */
static char *
json_text(const json_t *json)
{
	char		buffer[80];
	size_t		len;

	if (json == NULL)
		return "nothing";
	len = json_dumpb(json, buffer, sizeof(buffer) - 1,
					 JSON_ENCODE_ANY | JSON_COMPACT);
	if (len >= sizeof(buffer))
		return "a long value";
	buffer[len] = '\0';
	return pstrdup(buffer);
}

/* A type for people: "long (io.debezium.time.Date)", "null or int". */
static char *
type_text(const SchemaSide *side, const SchemaType *type)
{
	const char *meaning;
	StringInfoData text;
	json_t	   *branch;
	size_t		i;

	initStringInfo(&text);
	if (!json_is_array(type->json))
	{
		meaning = string_property(type->json, "connect.name");
		if (meaning == NULL)
			meaning = string_property(type->json, "logicalType");
		if (type->name)
			meaning = type->name;
		appendStringInfoString(&text, type->kind);
		if (meaning && strcmp(meaning, type->kind) != 0)
			appendStringInfo(&text, " (%s)", meaning);
		return text.data;
	}

	check_stack_depth();
	json_array_foreach(type->json, i, branch)
	{
		SchemaType	branch_type = resolve_type(side, branch, type->namespace);

		appendStringInfo(&text, "%s%s", i ? " or " : "",
						 type_text(side, &branch_type));
	}
	return text.data;
}

static void compare_types(SchemaComparison *cmp, const char *where,
						  SchemaType ours, SchemaType theirs);

static void
compare_properties(SchemaComparison *cmp, const char *where,
				   const SchemaType *ours, const SchemaType *theirs)
{
	for (int i = 0; i < lengthof(schema_properties); i++)
	{
		const char *name = schema_properties[i].name;
		json_t	   *our_value = json_object_get(ours->json, name);
		json_t	   *their_value = json_object_get(theirs->json, name);

		if (our_value == their_value || json_equal(our_value, their_value))
			continue;
		difference(cmp, schema_properties[i].binding,
				   "%s: %s changed from %s to %s", where, name,
				   json_text(their_value), json_text(our_value));
	}
}

static void
compare_symbols(SchemaComparison *cmp, const char *where,
				const SchemaType *ours, const SchemaType *theirs)
{
	json_t	   *our_symbols = json_object_get(ours->json, "symbols");
	json_t	   *their_symbols = json_object_get(theirs->json, "symbols");

	if (!json_equal(our_symbols, their_symbols))
		difference(cmp, true, "%s: symbols changed from %s to %s", where,
				   json_text(their_symbols), json_text(our_symbols));
}

/* The branches of a union that are not null, and where null is (-1: not). */
static List *
union_branches(const SchemaSide *side, const SchemaType *type, int *null_at)
{
	List	   *branches = NIL;
	json_t	   *json;
	size_t		i;

	*null_at = -1;
	if (!json_is_array(type->json))
		return list_make1(unconstify(SchemaType *, type));

	json_array_foreach(type->json, i, json)
	{
		SchemaType *branch = palloc(sizeof(SchemaType));

		*branch = resolve_type(side, json, type->namespace);
		if (strcmp(branch->kind, "null") == 0)
			*null_at = i;
		else
			branches = lappend(branches, branch);
	}
	return branches;
}

static void
compare_unions(SchemaComparison *cmp, const char *where,
			   const SchemaType *ours, const SchemaType *theirs)
{
	int			our_null;
	int			their_null;
	List	   *our_branches = union_branches(&cmp->ours, ours, &our_null);
	List	   *their_branches = union_branches(&cmp->theirs, theirs,
												&their_null);
	ListCell   *our_cell;
	ListCell   *their_cell;

	if (list_length(our_branches) != list_length(their_branches))
	{
		difference(cmp, true, "%s: type changed from %s to %s", where,
				   type_text(&cmp->theirs, theirs),
				   type_text(&cmp->ours, ours));
		return;
	}

	if (our_null >= 0 && their_null < 0)
		difference(cmp, true, "%s: became nullable", where);
	else if (our_null < 0 && their_null >= 0)
		difference(cmp, true, "%s: became not nullable", where);
	else if (our_null != their_null)
		difference(cmp, true, "%s: null moved from place %d to %d of the union",
				   where, their_null + 1, our_null + 1);
	forboth(our_cell, our_branches, their_cell, their_branches)
		compare_types(cmp, where, *(SchemaType *) lfirst(our_cell),
					  *(SchemaType *) lfirst(their_cell));
}

/* The field of a name; *place is its index. */
static json_t *
find_field(const json_t *fields, const char *name, int *place)
{
	json_t	   *field;
	size_t		i;

	json_array_foreach(fields, i, field)
	{
		const char *other = string_property(field, "name");

		if (other && strcmp(other, name) == 0)
		{
			*place = i;
			return field;
		}
	}
	return NULL;
}

/* A field that both records have. */
static void
compare_field(SchemaComparison *cmp, const char *where,
			  const SchemaType *ours, json_t *our_field,
			  const SchemaType *theirs, json_t *their_field)
{
	json_t	   *our_default = json_object_get(our_field, "default");
	json_t	   *their_default = json_object_get(their_field, "default");

	compare_types(cmp, where,
				  resolve_type(&cmp->ours, json_object_get(our_field, "type"),
							   ours->namespace),
				  resolve_type(&cmp->theirs,
							   json_object_get(their_field, "type"),
							   theirs->namespace));
	if (our_default != their_default &&
		!json_equal(our_default, their_default))
		difference(cmp, false, "%s: default changed from %s to %s", where,
				   json_text(their_default), json_text(our_default));
}

static void
compare_fields(SchemaComparison *cmp, const SchemaType *ours,
			   const SchemaType *theirs)
{
	json_t	   *our_fields = json_object_get(ours->json, "fields");
	json_t	   *their_fields = json_object_get(theirs->json, "fields");
	const char *record = short_name(ours->name);
	json_t	   *field;
	json_t	   *other;
	size_t		i;
	int			place;
	int			last_place = -1;
	bool		moved = false;

	json_array_foreach(our_fields, i, field)
	{
		const char *name = string_property(field, "name");
		char	   *where;

		if (name == NULL)
			continue;
		where = psprintf("field \"%s\" of \"%s\"", name, record);
		other = find_field(their_fields, name, &place);
		if (other == NULL)
		{
			difference(cmp, true, "%s: added%s", where,
					   json_object_get(field, "default") ? "" :
					   " without a default");
			continue;
		}
		moved |= place < last_place;
		last_place = place;
		compare_field(cmp, where, ours, field, theirs, other);
	}

	json_array_foreach(their_fields, i, other)
	{
		const char *name = string_property(other, "name");

		if (name && find_field(our_fields, name, &place) == NULL)
			difference(cmp, true, "field \"%s\" of \"%s\": removed%s",
					   name, record, json_object_get(other, "default") ? "" :
					   ", it has no default");
	}
	if (moved)
		difference(cmp, true, "fields of \"%s\": in another order", record);
}

static void
compare_types(SchemaComparison *cmp, const char *where, SchemaType ours,
			  SchemaType theirs)
{
	static const char *const element_properties[] = {"items", "values"};

	check_stack_depth();
	if (json_is_array(ours.json) || json_is_array(theirs.json))
	{
		compare_unions(cmp, where, &ours, &theirs);
		return;
	}
	if (strcmp(ours.kind, theirs.kind) != 0)
	{
		difference(cmp, true, "%s: type changed from %s to %s", where,
				   type_text(&cmp->theirs, &theirs),
				   type_text(&cmp->ours, &ours));
		return;
	}
	if (ours.name && theirs.name && strcmp(ours.name, theirs.name) != 0)
		difference(cmp, true, "%s: %s is now named %s instead of %s", where,
				   ours.kind, ours.name, theirs.name);

	if (strcmp(ours.kind, "record") == 0)
	{
		/* Named again, as the envelope's after; or contains itself. */
		if (list_member_ptr(cmp->seen, ours.json))
			return;
		cmp->seen = lappend(cmp->seen, ours.json);
		compare_fields(cmp, &ours, &theirs);
		return;
	}

	compare_properties(cmp, where, &ours, &theirs);
	if (strcmp(ours.kind, "enum") == 0)
		compare_symbols(cmp, where, &ours, &theirs);
	for (int i = 0; i < lengthof(element_properties); i++)
	{
		const char *name = element_properties[i];

		if (json_object_get(ours.json, name))
			compare_types(cmp, psprintf("%s of %s", name, where),
						  resolve_type(&cmp->ours,
									   json_object_get(ours.json, name),
									   ours.namespace),
						  resolve_type(&cmp->theirs,
									   json_object_get(theirs.json, name),
									   theirs.namespace));
	}
}

/* Parse one side; its root is NULL if the text is not JSON. */
static SchemaSide
schema_side(const char *text)
{
	SchemaSide	side;
	OwnedJson  *root = owned_json();
	OwnedJson  *names = owned_json();

	root->value = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
	names->value = json_pack("{}");
	side.root = root->value;
	side.names = names->value;
	collect_names(&side, side.root, "");
	return side;
}

char *
schema_difference(const char *ours, const char *theirs, bool *binding)
{
	SchemaComparison cmp = {0};

	initStringInfo(&cmp.text);
	cmp.ours = schema_side(ours);
	cmp.theirs = schema_side(theirs);
	if (cmp.ours.root == NULL)
		elog(ERROR, "schema text is not JSON");
	if (cmp.theirs.root == NULL)
		difference(&cmp, true, "the registered schema is not JSON");
	else
		compare_types(&cmp, "the schema",
					  resolve_type(&cmp.ours, cmp.ours.root, ""),
					  resolve_type(&cmp.theirs, cmp.theirs.root, ""));

	*binding = cmp.binding;
	if (cmp.ndifferences == 0)
		return NULL;
	if (cmp.ndifferences > MAX_DIFFERENCES)
		appendStringInfo(&cmp.text, "; and %d more",
						 cmp.ndifferences - MAX_DIFFERENCES);
	return foreign_text(cmp.text.data, MAX_DIFFERENCE_BYTES);
}
