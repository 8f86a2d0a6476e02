/*
 * selection.c
 *		What a stream selects now: its tables, and the topics they go to.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "avro_schema.h"
#include "publication.h"
#include "relation_map.h"
#include "selection.h"
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

	return avro_schema_topic_name(relation_map_utf8(name));
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

List *
selection_topics(const Settings *settings, const char *database_name,
				 int *ntables)
{
	MemoryContext result_cxt = CurrentMemoryContext;
	MemoryContext map_cxt;
	RelationMap *map;
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
	foreach(cell, relation_map_selected(map))
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
			topics = lappend(topics, pstrdup(entry->target.topic));
		}
		relation_close(relation, AccessShareLock);
	}
	MemoryContextDelete(map_cxt);
	result = unique_topics(topics, result_cxt);
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(result_cxt);
	return result;
}
