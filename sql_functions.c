/*
 * sql_functions.c
 *		What makes the stream library a module, and the SQL functions that
 *		need the encoder but no stream.
 *
 * SQL knows the thin library only.  A function that lives here is reached
 * through a function of the thin library, which loads this one first, so that
 * an ordinary session does without it until it asks for a schema or decodes
 * an event.
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "preload/settings.h"
#include "preload/shared_state.h"
#include "registry.h"
#include "relation_map.h"
#include "sql_functions.h"

PG_MODULE_MAGIC;

#define SETTING_PREFIX	"wal2kafka."

/* Columns of schema_for()'s result. */
enum
{
	SCHEMA_FOR_TOPIC,
	SCHEMA_FOR_KEY_SUBJECT,
	SCHEMA_FOR_KEY_SCHEMA,
	SCHEMA_FOR_VALUE_SUBJECT,
	SCHEMA_FOR_VALUE_SCHEMA,
	SCHEMA_FOR_COLUMNS
};

PGDLLEXPORT void _PG_init(void);
PGDLLEXPORT const char *wal2kafka_stream_version(void);

/* Columns of examine()'s result. */
enum
{
	EXAMINE_RELATION,
	EXAMINE_HAS_KEY,
	EXAMINE_HAS_IDENTITY,
	EXAMINE_SETTING,
	EXAMINE_EXPRESSION,
	EXAMINE_OF_COLUMNS,
	EXAMINE_COLUMNS
};

PG_FUNCTION_INFO_V1(wal2kafka_stream_examine);
PG_FUNCTION_INFO_V1(wal2kafka_stream_schema_for);

static RelationEntry *find_entry(MemoryContext cxt, Settings *settings,
								 Relation relation);
static void refuse_relation(Relation relation);
static void put_schema(Datum *values, bool *nulls, int subject_column,
					   SubjectStrategy strategy, const char *topic,
					   const EventSchema *schema, bool is_key);

/*
 * The two libraries share structs and are built together.  The thin one of a
 * running server stays what it was at server start, while this one is read
 * anew by each process: an update that changed the interface needs a restart.
 */
void
_PG_init(void)
{
	if (strcmp(wal2kafka_preload_version, WAL2KAFKA_VERSION) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("wal2kafka_stream is version %s, but the server has loaded version %s of wal2kafka",
						WAL2KAFKA_VERSION, wal2kafka_preload_version),
				 errhint("Restart the server to load the installed version.")));
}

/*
 * Version of this library; static storage.
 */
const char *
wal2kafka_stream_version(void)
{
	return WAL2KAFKA_VERSION;
}

/*
 * schema_for(relation regclass, names text[], values text[]): topic,
 * subjects and schemas of a table under the session's settings, with the
 * given ones (a stream's) on top for the length of the call.
 */
Datum
wal2kafka_stream_schema_for(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	int			nest_level = NewGUCNestLevel();
	MemoryContext cxt;
	Settings   *settings;
	Relation	relation;
	RelationEntry *entry;
	TupleDesc	desc;
	Datum		values[SCHEMA_FOR_COLUMNS];
	bool		nulls[SCHEMA_FOR_COLUMNS];

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE ||
		desc->natts != SCHEMA_FOR_COLUMNS)
		elog(ERROR, "unexpected result type of schema_for");
	desc = BlessTupleDesc(desc);

	apply_settings(PG_GETARG_ARRAYTYPE_P(1), PG_GETARG_ARRAYTYPE_P(2));

	cxt = AllocSetContextCreate(CurrentMemoryContext, "wal2kafka schema_for",
								ALLOCSET_DEFAULT_SIZES);
	settings = settings_copy(CurrentMemoryContext);
	relation = relation_open(relid, AccessShareLock);
	entry = find_entry(cxt, settings, relation);

	nulls[SCHEMA_FOR_TOPIC] = false;
	values[SCHEMA_FOR_TOPIC] = CStringGetTextDatum(entry->target.topic);
	put_schema(values, nulls, SCHEMA_FOR_KEY_SUBJECT,
			   settings->key_subject_name_strategy, entry->target.topic,
			   &entry->target.key, true);
	put_schema(values, nulls, SCHEMA_FOR_VALUE_SUBJECT,
			   settings->value_subject_name_strategy, entry->target.topic,
			   &entry->target.value, false);

	relation_close(relation, NoLock);
	MemoryContextDelete(cxt);
	AtEOXact_GUC(true, nest_level);

	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}

/*
 * The tables that a stream would select now, one a row.
 */
static void
put_selected(ReturnSetInfo *result, RelationMap *map)
{
	ListCell   *cell;

	foreach(cell, relation_map_selected(map))
	{
		Relation	relation = try_relation_open(lfirst_oid(cell),
												 AccessShareLock);
		Datum		values[EXAMINE_COLUMNS] = {0};
		bool		nulls[EXAMINE_COLUMNS];
		RelationEntry *entry;

		if (relation == NULL)
			continue;
		entry = relation_map_get(map, relation);
		memset(nulls, true, sizeof(nulls));
		memset(nulls, false, sizeof(bool) * (EXAMINE_HAS_IDENTITY + 1));
		values[EXAMINE_RELATION] = ObjectIdGetDatum(entry->relid);
		values[EXAMINE_HAS_KEY] = BoolGetDatum(entry->nkeys > 0);
		values[EXAMINE_HAS_IDENTITY] = BoolGetDatum(entry->has_identity);
		tuplestore_putvalues(result->setResult, result->setDesc, values,
							 nulls);
		relation_close(relation, AccessShareLock);
	}
}

/*
 * examine(names text[], values text[]): what a stream with these settings
 * would select in this database, and the regular expressions in them that
 * match nothing.  Raises what would stop the stream at its start.
 */
Datum
wal2kafka_stream_examine(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	int			nest_level = NewGUCNestLevel();
	TableFilterCursor cursor = {0};
	MemoryContext cxt;
	Settings   *settings;
	RelationMap *map;

	InitMaterializedSRF(fcinfo, 0);
	apply_settings(PG_GETARG_ARRAYTYPE_P(0), PG_GETARG_ARRAYTYPE_P(1));
	cxt = AllocSetContextCreate(CurrentMemoryContext, "wal2kafka examine",
								ALLOCSET_DEFAULT_SIZES);
	settings = settings_copy(cxt);
	if (settings->format == RECORD_FORMAT_JSON &&
		settings->key_format != RECORD_FORMAT_AVRO)
	{
		/* where nothing is Avro, no name is wrong, and none collide */
		settings->schema_name_adjustment_mode = NAME_ADJUST_AVRO_UNICODE;
		settings->field_name_adjustment_mode = NAME_ADJUST_AVRO_UNICODE;
	}
	map = relation_map_create(cxt, settings,
							  get_database_name(MyDatabaseId));
	relation_map_watch_filters(map);
	put_selected(result, map);
	while (relation_map_unmatched(map, &cursor))
	{
		Datum		values[EXAMINE_COLUMNS] = {0};
		bool		nulls[EXAMINE_COLUMNS] = {true, true, true};

		values[EXAMINE_SETTING] = CStringGetTextDatum(cursor.setting);
		values[EXAMINE_EXPRESSION] =
			CStringGetTextDatum(pg_any_to_server(cursor.text,
												 strlen(cursor.text),
												 PG_UTF8));
		values[EXAMINE_OF_COLUMNS] = BoolGetDatum(cursor.of_columns);
		tuplestore_putvalues(result->setResult, result->setDesc, values,
							 nulls);
	}
	MemoryContextDelete(cxt);
	AtEOXact_GUC(true, nest_level);
	return (Datum) 0;
}

void
apply_settings(ArrayType *names, ArrayType *values)
{
	Datum	   *name;
	Datum	   *value;
	int			nnames;
	int			nvalues;

	deconstruct_array(names, TEXTOID, -1, false, TYPALIGN_INT,
					  &name, NULL, &nnames);
	deconstruct_array(values, TEXTOID, -1, false, TYPALIGN_INT,
					  &value, NULL, &nvalues);
	if (nnames != nvalues)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("names and values must have the same length")));

	for (int i = 0; i < nnames; i++)
	{
		char	   *setting = TextDatumGetCString(name[i]);

		if (strncmp(setting, SETTING_PREFIX, strlen(SETTING_PREFIX)) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("\"%s\" is not a setting of wal2kafka", setting)));
		(void) set_config_option(setting, TextDatumGetCString(value[i]),
								 PGC_SUSET, PGC_S_SESSION, GUC_ACTION_SAVE,
								 true, 0, false);
	}
}

/*
 * The relation's entry, allocated in cxt.  A table that the publications do
 * not select (yet) gets the schemas that it would have with all columns.
 */
static RelationEntry *
find_entry(MemoryContext cxt, Settings *settings, Relation relation)
{
	const char *database = get_database_name(MyDatabaseId);
	RelationEntry *entry;

	if (relation->rd_rel->relkind != RELKIND_RELATION &&
		relation->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		refuse_relation(relation);

	entry = relation_map_get(relation_map_create(cxt, settings, database),
							 relation);
	if (entry->selected)
		return entry;

	if (settings->publication_name[0] != '\0')
	{
		char	   *publications = settings->publication_name;

		/* There is one map at a time: this ends the first one. */
		MemoryContextReset(cxt);
		settings->publication_name = pstrdup("");
		entry = relation_map_get(relation_map_create(cxt, settings, database),
								 relation);
		if (entry->selected)
		{
			ereport(NOTICE,
					(errmsg("table \"%s\" is not selected by wal2kafka.publication_name = '%s'",
							RelationGetRelationName(relation), publications),
					 errdetail("These are its schemas with all columns.")));
			return entry;
		}
	}

	refuse_relation(relation);
	return NULL;				/* not reached */
}

/*
 * Raise an error that says why a relation has no topic.
 */
static void
refuse_relation(Relation relation)
{
	ereport(ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 errmsg("\"%s\" is not streamed",
					RelationGetRelationName(relation)),
			 relation->rd_rel->relkind == RELKIND_PARTITIONED_TABLE ?
			 errhint("Its partitions are streamed, each to its own topic, unless a publication with publish_via_partition_root is named.") :
			 errhint("Ordinary tables are streamed, other than temporary and unlogged ones and those of system schemas.")));
}

/*
 * Fill two columns: the subject and, after it, the schema.  A table without
 * a key has neither for its key.
 */
static void
put_schema(Datum *values, bool *nulls, int subject_column,
		   SubjectStrategy strategy, const char *topic,
		   const EventSchema *schema, bool is_key)
{
	char	   *subject;

	nulls[subject_column] = nulls[subject_column + 1] = schema->text == NULL;
	if (schema->text == NULL)
		return;

	subject = registry_subject(strategy, topic, schema->full_name, is_key);
	values[subject_column] = CStringGetTextDatum(subject);
	/* ours is UTF-8, the database's encoding may be another */
	values[subject_column + 1] =
		CStringGetTextDatum(pg_any_to_server(schema->text, schema->text_len,
											 PG_UTF8));
}
