/*
 * selection.c
 *		What a stream selects now: its tables, and the topics they go to.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "publication.h"
#include "relation_map.h"
#include "selection.h"
#include "topic_name.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/varlena.h"

const char *
selection_topic_prefix(const Settings *settings, const char *database_name)
{
	return settings->topic_prefix[0] != '\0' ?
		settings->topic_prefix : database_name;
}

char *
selection_schemas_topic(const Settings *settings, const char *database_name)
{
	char	   *name = psprintf("%s.schemas",
								selection_topic_prefix(settings, database_name));

	return topic_name_sanitise(relation_map_utf8(name), TOPIC_NAMING_SCHEMA);
}

char *
selection_dead_letter_topic(const Settings *settings,
							const char *database_name)
{
	const char *name = settings->errors_deadletterqueue_topic_name;

	if (name[0] != '\0')
		return pstrdup(name);
	name = psprintf("%s.dead_letter",
					selection_topic_prefix(settings, database_name));
	return topic_name_sanitise(relation_map_utf8(name), TOPIC_NAMING_SCHEMA);
}

static List *
publication_names(const Settings *settings)
{
	List	   *names;

	if (!SplitIdentifierString(pstrdup(settings->publication_name), ',',
							   &names))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid list of publications in wal2kafka.publication_name")));
	return names;
}

static int
compare_topics(const ListCell *a, const ListCell *b)
{
	return strcmp(lfirst(a), lfirst(b));
}

/*
 * Copies of the topics into the given context, each once: partitions of one
 * root share its topic.
 */
static List *
unique_topics(List *topics, MemoryContext cxt)
{
	MemoryContext old = MemoryContextSwitchTo(cxt);
	List	   *result = NIL;
	const char *last = NULL;
	ListCell   *cell;

	list_sort(topics, compare_topics);
	foreach(cell, topics)
	{
		char	   *topic = lfirst(cell);

		if (last == NULL || strcmp(topic, last) != 0)
			result = lappend(result, pstrdup(topic));
		last = topic;
	}
	MemoryContextSwitchTo(old);
	return result;
}

/*
 * Warn of expressions that match nothing, which are often misspelt, and of
 * lists that leave nothing.  It is no error: what they mean may come later.
 */
static void
warn_unmatched(const RelationMap *map, int ntables)
{
	TableFilterCursor cursor = {0};
	bool		any = false;

	while (relation_map_unmatched(map, &cursor))
	{
		any = true;
		ereport(WARNING,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 cursor.of_columns ?
				 errmsg("\"%s\" of \"%s\" matches no column of the tables that are selected",
						cursor.text, cursor.setting) :
				 errmsg("\"%s\" of \"%s\" matches no table that is selected",
						cursor.text, cursor.setting),
				 errhint("Expressions match whole names, such as \"%s\". It does not matter if the table is yet to be made.",
						 cursor.of_columns ? "schema.table.column" :
						 "schema.table")));
	}
	if (any && ntables == 0)
		ereport(WARNING,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("no table passes the lists of tables and schemas: nothing is sent until there is one")));
}

List *
selection_topics(const Settings *settings, const char *database_name,
				 int *ntables)
{
	MemoryContext result_cxt = CurrentMemoryContext;
	MemoryContext map_cxt;
	RelationMap *map;
	List	   *selected;
	List	   *topics = NIL;
	List	   *result;
	ListCell   *cell;

	*ntables = 0;
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	map_cxt = AllocSetContextCreate(CurrentMemoryContext,
									"wal2kafka selection",
									ALLOCSET_DEFAULT_SIZES);
	publication_check_exist(publication_names(settings));
	map = relation_map_create(map_cxt, settings, database_name);
	relation_map_watch_filters(map);
	selected = relation_map_selected(map);
	relation_map_check_transforms(map);
	foreach(cell, selected)
	{
		Relation	relation = try_relation_open(lfirst_oid(cell),
												 AccessShareLock);
		RelationEntry *entry;

		/* dropped meanwhile */
		if (relation == NULL)
			continue;
		entry = relation_map_get(map, relation);
		if (entry->selected)
		{
			(*ntables)++;
			/* an outbox table's topics are made as its rows name them */
			if (entry->shape != SHAPE_OUTBOX)
				topics = lappend(topics, pstrdup(entry->target.topic));
		}
		relation_close(relation, AccessShareLock);
	}
	warn_unmatched(map, *ntables);
	MemoryContextDelete(map_cxt);
	result = unique_topics(topics, result_cxt);
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(result_cxt);
	return result;
}
