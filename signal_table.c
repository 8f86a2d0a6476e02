/*
 * signal_table.c
 *		Debezium's signal table: rows that ask for snapshots.
 *
 * A signal takes effect at its place in the stream, and once: what has been
 * seen is remembered as the transaction's commit and the signal's number in
 * it, together with what was asked for.  (Positions of rows would not do: a
 * row that is written first may be committed last.)
 *
 * Whoever may write into the table may write nonsense, and the row is decoded
 * again after every restart.  So nothing that a row says may end the process.
 * What has to do with its text alone is done in steps that are guarded: an
 * error there becomes a warning.  What looks at the catalogs is not guarded,
 * and depends on no text.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "decoder.h"
#include "foreign.h"
#include "incremental.h"
#include "preload/regex_list.h"
#include "relation_map.h"
#include "signal_table.h"

/* id, type, data; what follows is nobody's */
#define SIGNAL_COLUMNS		3

/* Longer ones are not Debezium's, nor anybody's. */
#define MAX_SIGNAL_BYTES	(1024 * 1024)

#define MAX_LOGGED			1000	/* bytes of a row's text in a message */

/* One of additional-conditions. */
typedef struct SignalFilter
{
	RegexRule  *tables;			/* NULL: all */
	char	   *filter;
} SignalFilter;

/* One of data-collections. */
typedef struct SignalCollection
{
	char	   *text;
	RegexRule  *rule;
	bool		matched;
} SignalCollection;

/* A table that a collection names. */
typedef struct SignalTarget
{
	const NamedRelation *named;
	char	   *predicate;		/* NULL: all rows */
	bool		by_name;		/* it is named as it is */
} SignalTarget;

/* A row, as far as it is understood. */
typedef struct Signal
{
	Relation	relation;		/* the signal table */
	HeapTuple	row;
	XLogRecPtr	commit_lsn;
	int			index;			/* in its transaction, from 1 */

	char	   *texts[SIGNAL_COLUMNS];	/* NULL: null */
	const struct SignalAction *action;
	const char *refusal;		/* why it is passed over; NULL: it is not */
	char	   *message;		/* of "log" */
	List	   *collections;	/* SignalCollection; NIL: all that there are */
	List	   *filters;		/* SignalFilter */

	List	   *named;			/* NamedRelation, all tables */
	List	   *targets;		/* SignalTarget */
} Signal;

typedef struct SignalAction
{
	const char *type;
	void		(*read) (Signal *signal, const json_t *data);	/* guarded */
	void		(*act) (Signal *signal);
} SignalAction;

static void read_log(Signal *signal, const json_t *data);
static void read_execute(Signal *signal, const json_t *data);
static void read_stop(Signal *signal, const json_t *data);
static void act_log(Signal *signal);
static void act_execute(Signal *signal);
static void act_stop(Signal *signal);
static void act_pause(Signal *signal);
static void act_resume(Signal *signal);

static const SignalAction actions[] = {
	{"execute-snapshot", read_execute, act_execute},
	{"stop-snapshot", read_stop, act_stop},
	{"pause-snapshot", NULL, act_pause},
	{"resume-snapshot", NULL, act_resume},
	{"log", read_log, act_log},

	/* Debezium's own marks, when it reads the same database */
	{"snapshot-window-open", NULL, NULL},
	{"snapshot-window-close", NULL, NULL},
};

/* The table that is watched, as in the catalog. */
static char signal_schema[NAMEDATALEN];
static char signal_table[NAMEDATALEN];

/* Of the transaction that is decoded; and how many signals it had so far. */
static XLogRecPtr current_commit;
static int	current_index;

static MemoryContext signal_cxt;

static const char *
signal_id(const Signal *signal)
{
	return signal->texts[0] != NULL ?
		foreign_text(signal->texts[0], NAMEDATALEN) : "";
}

static void
warn_refused(const Signal *signal, const char *reason)
{
	ereport(WARNING,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("signal \"%s\" is passed over", signal_id(signal)),
			 errdetail("%s", reason)));
}

/*
 * Do a step that depends on what the row says, and on nothing that an error
 * could leave half done.  False if it failed, which has been said then.
 */
static bool
guarded(void (*step) (Signal *signal), Signal *signal)
{
	MemoryContext cxt = CurrentMemoryContext;
	ErrorData  *volatile error = NULL;

	PG_TRY();
	{
		step(signal);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(cxt);
		error = CopyErrorData();
		if (error->sqlerrcode == ERRCODE_OUT_OF_MEMORY ||
			ERRCODE_TO_CATEGORY(error->sqlerrcode) ==
			ERRCODE_OPERATOR_INTERVENTION)
			PG_RE_THROW();
		FlushErrorState();
	}
	PG_END_TRY();

	if (error != NULL)
		warn_refused(signal, psprintf("%s%s%s", error->message,
									  error->detail ? ": " : "",
									  error->detail ? error->detail : ""));
	else if (signal->refusal != NULL)
		warn_refused(signal, signal->refusal);
	return error == NULL && signal->refusal == NULL;
}

/* ---- the row ---- */

/* Without white space around it. */
static char *
trimmed(char *text)
{
	char	   *end = text + strlen(text);

	while (end > text && isspace((unsigned char) end[-1]))
		*--end = '\0';
	while (isspace((unsigned char) *text))
		text++;
	return text;
}

/* A type whose output looks at nothing but the value. */
typedef struct TextType
{
	Oid			type;
	Oid			output;
} TextType;

static const TextType text_types[] = {
	{TEXTOID, F_TEXTOUT},
	{VARCHAROID, F_VARCHAROUT},
	{BPCHAROID, F_BPCHAROUT},
	{JSONOID, F_JSON_OUT},
	{JSONBOID, F_JSONB_OUT},
	{UUIDOID, F_UUID_OUT},
	{NAMEOID, F_NAMEOUT},
};

/*
 * A value's text; NULL and why, if there is none.
 */
static char *
text_of(Datum value, Form_pg_attribute att, const char **refusal)
{
	/*
	 * A pointer is never followed: what the transaction wrote is in memory.
	 */
	if (att->attlen == -1 &&
		(VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(value)) ||
		 toast_raw_datum_size(value) > MAX_SIGNAL_BYTES))
	{
		*refusal = "It is too long.";
		return NULL;
	}
	for (int i = 0; i < lengthof(text_types); i++)
	{
		char	   *text;

		if (text_types[i].type != att->atttypid)
			continue;
		text = OidOutputFunctionCall(text_types[i].output, value);
		return att->atttypid == BPCHAROID ? trimmed(text) : text;
	}
	*refusal = "The columns of a signal table are of the types text, varchar, char, json, jsonb, uuid, or name.";
	return NULL;
}

/*
 * The first three columns there are, by position as Debezium takes them.
 */
static void
read_row(Signal *signal)
{
	TupleDesc	desc = RelationGetDescr(signal->relation);
	Datum	   *values = palloc(sizeof(Datum) * desc->natts);
	bool	   *nulls = palloc(sizeof(bool) * desc->natts);
	int			n = 0;

	heap_deform_tuple(signal->row, desc, values, nulls);
	for (int i = 0; i < desc->natts && n < SIGNAL_COLUMNS; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped)
			continue;
		signal->texts[n] = NULL;
		if (!nulls[i])
			signal->texts[n] = text_of(values[i], att, &signal->refusal);
		n++;
	}
	if (n < SIGNAL_COLUMNS)
		signal->refusal = "A signal table has the columns id, type, and data.";
	else if (signal->texts[1] == NULL && signal->refusal == NULL)
		signal->refusal = "It has no type.";
}

/* ---- its data ---- */

/* A JSON string's text, in the server's encoding; NULL where it is none. */
static char *
string_of(const json_t *value)
{
	const char *text = json_string_value(value);

	if (text == NULL || strlen(text) != json_string_length(value))
		return NULL;
	return pg_any_to_server(pstrdup(text), strlen(text), PG_UTF8);
}

static RegexRule *
compile(const char *expression)
{
	return regex_rule_compile(CurrentMemoryContext, expression, "");
}

/*
 * data-collections: Java matches each to whole names, and case counts.
 */
static void
read_collections(Signal *signal, const json_t *data)
{
	const json_t *array = json_object_get(data, "data-collections");

	if (array != NULL && !json_is_null(array) && !json_is_array(array))
		signal->refusal = "Its \"data-collections\" is not an array.";
	for (size_t i = 0; i < json_array_size(array); i++)
	{
		SignalCollection *collection = palloc0(sizeof(SignalCollection));
		char	   *text = string_of(json_array_get(array, i));

		if (text == NULL)
		{
			signal->refusal = "An element of its \"data-collections\" is not a string.";
			return;
		}
		collection->text = trimmed(text);
		collection->rule = compile(collection->text);
		signal->collections = lappend(signal->collections, collection);
	}
}

/*
 * additional-conditions, each for the tables that its expression matches,
 * where case does not count; and the older additional-condition, for all.
 */
static void
read_filters(Signal *signal, const json_t *data)
{
	const json_t *array = json_object_get(data, "additional-conditions");
	const json_t *old = json_object_get(data, "additional-condition");

	if ((array != NULL && !json_is_null(array) && !json_is_array(array)) ||
		(old != NULL && !json_is_null(old) && !json_is_string(old)))
		signal->refusal = "Its \"additional-conditions\" are not an array.";
	for (size_t i = 0; i < json_array_size(array); i++)
	{
		const json_t *element = json_array_get(array, i);
		char	   *tables = string_of(json_object_get(element,
													   "data-collection"));
		char	   *text = string_of(json_object_get(element, "filter"));
		SignalFilter *filter;

		if (tables == NULL || text == NULL)
		{
			signal->refusal = "An element of its \"additional-conditions\" has no \"data-collection\" or no \"filter\".";
			return;
		}
		filter = palloc0(sizeof(SignalFilter));
		filter->tables = compile(psprintf("(?i)%s", trimmed(tables)));
		filter->filter = trimmed(text);
		signal->filters = lappend(signal->filters, filter);
	}
	if (json_is_string(old))
	{
		SignalFilter *filter = palloc0(sizeof(SignalFilter));

		filter->filter = trimmed(string_of(old));
		signal->filters = lappend(signal->filters, filter);
	}
}

static void
read_type(Signal *signal, const json_t *data)
{
	const json_t *type = json_object_get(data, "type");
	const char *name = json_string_value(type);

	if (type == NULL || json_is_null(type))
		return;
	if (name == NULL || (pg_strcasecmp(name, "incremental") != 0 &&
						 pg_strcasecmp(name, "blocking") != 0))
		signal->refusal = "Its \"type\" is neither \"incremental\" nor \"blocking\".";
}

static void
read_execute(Signal *signal, const json_t *data)
{
	read_type(signal, data);
	read_filters(signal, data);
	read_collections(signal, data);
	if (signal->refusal == NULL && signal->collections == NIL)
		signal->refusal = "Its \"data-collections\" is missing or empty.";
}

static void
read_stop(Signal *signal, const json_t *data)
{
	read_type(signal, data);
	read_collections(signal, data);
}

static void
read_log(Signal *signal, const json_t *data)
{
	signal->message = string_of(json_object_get(data, "message"));
	if (signal->message == NULL || signal->message[0] == '\0')
		signal->refusal = "Its \"message\" is missing or empty.";
}

static void
read_data(Signal *signal)
{
	OwnedJson  *owner = owned_json();
	const char *text = signal->texts[2];
	json_error_t error;

	if (text == NULL || text[0] == '\0')
		text = "{}";
	owner->value = json_loads(relation_map_utf8(text), 0, &error);
	if (owner->value == NULL)
		signal->refusal = psprintf("Its data is no JSON, at character %d: %s.",
								   error.position,
								   foreign_text(error.text, MAX_LOGGED));
	else if (!json_is_object(owner->value))
		signal->refusal = "Its data is not a JSON object.";
	else
		signal->action->read(signal, owner->value);
}

/* ---- its tables ---- */

static bool
rule_matches(const RegexRule *rule, const NamedRelation *named)
{
	char	   *name = psprintf("%s.%s", NameStr(named->schema_name),
								NameStr(named->table_name));

	return regex_rule_apply(rule, relation_map_utf8(name)) != NULL;
}

/* The first filter that is meant for the table; NULL: none. */
static char *
filter_of(const Signal *signal, const NamedRelation *named)
{
	ListCell   *cell;

	foreach(cell, signal->filters)
	{
		const SignalFilter *filter = lfirst(cell);

		if (filter->tables == NULL || rule_matches(filter->tables, named))
			return filter->filter[0] != '\0' ? filter->filter : NULL;
	}
	return NULL;
}

/*
 * The tables that the collections name, in their order.
 */
static void
match_tables(Signal *signal)
{
	ListCell   *cell;
	ListCell   *cell2;

	foreach(cell, signal->collections)
	{
		SignalCollection *collection = lfirst(cell);

		foreach(cell2, signal->named)
		{
			const NamedRelation *named = lfirst(cell2);
			SignalTarget *target;

			if (!rule_matches(collection->rule, named))
				continue;
			collection->matched = true;
			target = palloc0(sizeof(SignalTarget));
			target->named = named;
			target->predicate = filter_of(signal, named);
			target->by_name =
				strcmp(collection->text,
					   psprintf("%s.%s", NameStr(named->schema_name),
								NameStr(named->table_name))) == 0;
			signal->targets = lappend(signal->targets, target);
		}
	}
}

/* Does the stream send the table, as of here? */
static bool
is_selected(Oid relid)
{
	RelationMap *map = relation_map_current();
	Relation	relation = RelationIdGetRelation(relid);
	bool		selected;

	if (relation == NULL)
		return false;
	selected = map != NULL && relation_map_get(map, relation)->selected;
	RelationClose(relation);
	return selected;
}

static List *
add_table(List *tables, Oid relid, const SignalTarget *target)
{
	SnapshotTable *table;
	ListCell   *cell;

	foreach(cell, tables)
	{
		table = lfirst(cell);
		if (table->relid == relid)
			return tables;
	}
	table = palloc0(sizeof(SnapshotTable));
	table->relid = relid;
	table->schema_name = get_namespace_name(get_rel_namespace(relid));
	table->table_name = get_rel_name(relid);
	table->predicate = target->predicate;
	if (table->schema_name == NULL || table->table_name == NULL)
		return tables;
	return lappend(tables, table);
}

/*
 * SnapshotTable for the targets, each table once, partitions in the place of
 * their root.  What an expression matches by the way is left out where the
 * stream does not send it; a table that was named gets an error of its own
 * when it is read.
 */
static List *
resolve_targets(const Signal *signal, bool selected_only)
{
	List	   *tables = NIL;
	ListCell   *cell;
	ListCell   *cell2;

	foreach(cell, signal->targets)
	{
		const SignalTarget *target = lfirst(cell);
		List	   *relids = list_make1_oid(target->named->relid);

		if (get_rel_relkind(target->named->relid) ==
			RELKIND_PARTITIONED_TABLE)
			relids = find_all_inheritors(target->named->relid, NoLock, NULL);
		foreach(cell2, relids)
		{
			Oid			relid = lfirst_oid(cell2);

			if (get_rel_relkind(relid) == RELKIND_RELATION &&
				(!selected_only || target->by_name || is_selected(relid)))
				tables = add_table(tables, relid, target);
		}
	}
	return tables;
}

/*
 * Find the tables of the collections; false if the signal is to be passed
 * over.
 */
static bool
find_tables(Signal *signal, bool selected_only, List **tables)
{
	ListCell   *cell;

	signal->named = relation_map_tables();
	if (!guarded(match_tables, signal))
		return false;
	foreach(cell, signal->collections)
	{
		const SignalCollection *collection = lfirst(cell);

		if (!collection->matched)
			ereport(WARNING,
					(errcode(ERRCODE_UNDEFINED_TABLE),
					 errmsg("\"%s\" of signal \"%s\" matches no table",
							foreign_text(collection->text, MAX_LOGGED),
							signal_id(signal)),
					 errhint("Expressions match whole names, \"schema.table\".")));
	}
	*tables = resolve_targets(signal, selected_only);
	if (*tables != NIL)
		return true;
	warn_refused(signal, selected_only ?
				 "It names no table that the stream sends." :
				 "It names no table.");
	return false;
}

/* ---- what it asks for ---- */

static void
request(Signal *signal, SnapshotCommand command, List *tables)
{
	SnapshotRequest result = {
		.command = command,
		.kind = SNAPSHOT_KIND_SIGNAL,
		.tables = tables,
	};

	if (command == SNAPSHOT_REQUEST)
	{
		/* unique, and for people */
		result.request = psprintf("signal-%X-%X-%d:%s",
								  LSN_FORMAT_ARGS(signal->commit_lsn),
								  signal->index, signal_id(signal));
		result.signal_id = signal->texts[0];
	}
	incremental_request(&result);
}

static void
act_execute(Signal *signal)
{
	List	   *tables;

	if (find_tables(signal, true, &tables))
		request(signal, SNAPSHOT_REQUEST, tables);
}

static void
act_stop(Signal *signal)
{
	List	   *tables = NIL;

	if (signal->collections == NIL || find_tables(signal, false, &tables))
		request(signal, SNAPSHOT_CANCEL, tables);
}

static void
act_pause(Signal *signal)
{
	request(signal, SNAPSHOT_PAUSE, NIL);
}

static void
act_resume(Signal *signal)
{
	request(signal, SNAPSHOT_RESUME, NIL);
}

/* The first {} stands for the position, as in Debezium. */
static void
act_log(Signal *signal)
{
	char	   *place = strstr(signal->message, "{}");
	StringInfoData text;

	initStringInfo(&text);
	if (place == NULL)
		appendStringInfoString(&text, signal->message);
	else
	{
		appendBinaryStringInfo(&text, signal->message,
							   place - signal->message);
		appendStringInfo(&text, "%X/%X%s",
						 LSN_FORMAT_ARGS(signal->commit_lsn), place + 2);
	}
	ereport(LOG,
			(errmsg("signal \"%s\": %s", signal_id(signal),
					foreign_text(text.data, MAX_LOGGED))));
}

/* ---- the watch ---- */

static const SignalAction *
find_action(const char *type)
{
	for (int i = 0; i < lengthof(actions); i++)
		if (strcmp(actions[i].type, type) == 0)
			return &actions[i];
	return NULL;
}

static void
handle(Signal *signal)
{
	if (!guarded(read_row, signal))
		return;
	signal->action = find_action(signal->texts[1]);
	if (signal->action == NULL)
	{
		warn_refused(signal, psprintf("Its type \"%s\" is not known.",
									  foreign_text(signal->texts[1],
												   NAMEDATALEN)));
		return;
	}
	if (signal->action->act == NULL)
		return;
	if (signal->action->read != NULL && !guarded(read_data, signal))
		return;
	if (signal->action->act != act_log)
		ereport(LOG,
				(errmsg("signal \"%s\": %s", signal_id(signal),
						signal->action->type)));
	signal->action->act(signal);
}

/*
 * Is the relation the signal table?  Called for each INSERT.
 */
static bool
is_signal_table(Relation relation)
{
	char	   *schema_name;
	bool		result;

	if (strcmp(RelationGetRelationName(relation), signal_table) != 0)
		return false;
	schema_name = get_namespace_name(RelationGetNamespace(relation));
	if (schema_name == NULL)
		return false;
	result = strcmp(schema_name, signal_schema) == 0;
	pfree(schema_name);
	return result;
}

static void
watch(Relation relation, HeapTuple row, XLogRecPtr commit_lsn)
{
	Signal		signal = {0};
	XLogRecPtr	seen;
	int			seen_index;
	MemoryContext old;

	if (row == NULL || !is_signal_table(relation))
		return;
	if (commit_lsn != current_commit)
	{
		current_commit = commit_lsn;
		current_index = 0;
	}
	current_index++;
	seen = incremental_last_signal(&seen_index);
	if (commit_lsn < seen ||
		(commit_lsn == seen && current_index <= seen_index))
		return;

	old = MemoryContextSwitchTo(signal_cxt);
	signal.relation = relation;
	signal.row = row;
	signal.commit_lsn = commit_lsn;
	signal.index = current_index;
	handle(&signal);

	/*
	 * Remembered together with what it asks for, and not before that: the
	 * end of the process saves what is there.
	 */
	incremental_set_last_signal(commit_lsn, current_index);
	MemoryContextSwitchTo(old);
	MemoryContextReset(signal_cxt);
}

void
signal_table_start(const Settings *settings)
{
	const char *table = strchr(settings->signal_data_collection, '.');

	if (settings->signal_enabled_channels[0] == '\0')
		return;
	if (table == NULL)
	{
		ereport(WARNING,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"wal2kafka.signal_enabled_channels\" has no effect"),
				 errdetail("No table is named in \"wal2kafka.signal_data_collection\".")));
		return;
	}
	snprintf(signal_schema, sizeof(signal_schema), "%.*s",
			 (int) (table - settings->signal_data_collection),
			 settings->signal_data_collection);
	strlcpy(signal_table, table + 1, sizeof(signal_table));
	signal_cxt = AllocSetContextCreate(TopMemoryContext, "wal2kafka signals",
									   ALLOCSET_DEFAULT_SIZES);
	decoder_watch = watch;
}
