/*
 * publication.c
 *		What publications say of a relation: operations, columns, rows, root.
 *
 * The rules are those of the server's own plugin, so that a publication means
 * the same to both:
 *
 * - Operations add up over all publications that have the relation, or an
 *	 ancestor of it.
 * - With publish_via_partition_root a partition is published as the topmost
 *	 ancestor that any of the publications has.  Only the publications that
 *	 publish it as that ancestor decide about columns and rows.
 * - Column lists of those must be equal.  A publication without one (all
 *	 tables, a schema, a table without a list) means all columns.
 * - Row filters are joined with OR, operation by operation.  A publication
 *	 without a filter means no filter for its operations.
 */
#include "postgres.h"

#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_publication.h"
#include "catalog/pg_publication_rel.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "nodes/pg_list.h"
#include "rewrite/rewriteHandler.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "compat.h"
#include "publication.h"

/* Indexes of PublicationRules.filter. */
enum
{
	FILTER_INSERT,
	FILTER_UPDATE,
	FILTER_DELETE,
	FILTER_COUNT
};

static Publication *load_publication(const char *name, List **missing,
									 MemoryContext missing_cxt);
static bool publication_has(Publication *pub, Oid relid);
static bool publication_covers(Publication *pub, Oid relid, List *ancestors,
							   Oid *publish_as, int *level);
static void set_columns(PublicationRules *rules, Relation relation,
						List *publications);
static void set_filters(PublicationRules *rules, Relation relation,
						List *publications);

void
publication_rules(PublicationRules *rules, Relation relation,
				  List *publication_names, List **missing,
				  MemoryContext missing_cxt)
{
	Oid			relid = RelationGetRelid(relation);
	bool		partitioned;
	List	   *ancestors = NIL;
	List	   *deciding = NIL;
	int			level = 0;
	ListCell   *cell;

	partitioned = relation->rd_rel->relkind == RELKIND_PARTITIONED_TABLE;
	memset(rules, 0, sizeof(PublicationRules));
	rules->publish_as = relid;
	if (publication_names == NIL)
	{
		rules->insert = rules->update = rules->delete = rules->truncate =
			!partitioned;
		rules->generated_stored = true;
		return;
	}

	if (relation->rd_rel->relispartition)
		ancestors = get_partition_ancestors(relid);
	foreach(cell, publication_names)
	{
		Publication *pub = load_publication(lfirst(cell), missing,
											missing_cxt);
		Oid			publish_as;
		int			pub_level;

		if (pub == NULL ||
			!publication_covers(pub, relid, ancestors, &publish_as,
								&pub_level))
			continue;
		/* the partitions' changes are published, not their root's */
		if (partitioned && !pub->pubviaroot)
			continue;

		rules->insert |= pub->pubactions.pubinsert;
		rules->update |= pub->pubactions.pubupdate;
		rules->delete |= pub->pubactions.pubdelete;
		rules->truncate |= pub->pubactions.pubtruncate;

		if (pub_level < level)
			continue;
		if (pub_level > level)
		{
			rules->publish_as = publish_as;
			level = pub_level;
			deciding = NIL;
		}
		deciding = lappend(deciding, pub);
	}

	if (deciding != NIL)
	{
		Relation	root = relation;

		if (rules->publish_as != relid)
			root = RelationIdGetRelation(rules->publish_as);
		if (!RelationIsValid(root))
			elog(ERROR, "could not open relation with OID %u",
				 rules->publish_as);
		set_columns(rules, root, deciding);
		set_filters(rules, root, deciding);
		if (root != relation)
			RelationClose(root);
	}
}

/*
 * The publication, or NULL after a warning, which comes once until the
 * publication is there (again).
 */
static Publication *
load_publication(const char *name, List **missing, MemoryContext missing_cxt)
{
	Publication *pub = GetPublicationByName(name, true);
	ListCell   *cell;

	foreach(cell, *missing)
	{
		if (strcmp(lfirst(cell), name) != 0)
			continue;
		if (pub != NULL)
		{
			pfree(lfirst(cell));
			*missing = foreach_delete_current(*missing, cell);
		}
		return pub;
	}

	if (pub == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(missing_cxt);

		*missing = lappend(*missing, pstrdup(name));
		MemoryContextSwitchTo(old);
		ereport(WARNING,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("publication \"%s\" does not exist at this point in the WAL",
						name),
				 errdetail("It selects nothing until its creation has been decoded.")));
	}
	return pub;
}

/*
 * Does the publication name the relation, or its schema?
 */
static bool
publication_has(Publication *pub, Oid relid)
{
	return SearchSysCacheExists2(PUBLICATIONRELMAP,
								 ObjectIdGetDatum(relid),
								 ObjectIdGetDatum(pub->oid)) ||
		SearchSysCacheExists2(PUBLICATIONNAMESPACEMAP,
							  ObjectIdGetDatum(get_rel_namespace(relid)),
							  ObjectIdGetDatum(pub->oid));
}

/*
 * Does the publication publish the relation, as what, and how many levels
 * up is that?  ancestors has the parent first.
 */
static bool
publication_covers(Publication *pub, Oid relid, List *ancestors,
				   Oid *publish_as, int *level)
{
	*publish_as = relid;
	*level = 0;
	for (int i = list_length(ancestors); i > 0; i--)
	{
		Oid			ancestor = list_nth_oid(ancestors, i - 1);

		if (!pub->alltables && !publication_has(pub, ancestor))
			continue;
		if (pub->pubviaroot)
		{
			*publish_as = ancestor;
			*level = i;
		}
		return true;
	}
	return pub->alltables || publication_has(pub, relid);
}

/*
 * An attribute of the row that says what one publication does with the
 * relation.  False if it is null, or the publication has the relation not by
 * its name.
 */
static bool
membership_attribute(Publication *pub, Oid relid, AttrNumber attnum,
					 HeapTuple *tuple, Datum *value)
{
	bool		isnull;

	if (pub->alltables)
		return false;
	*tuple = SearchSysCache2(PUBLICATIONRELMAP, ObjectIdGetDatum(relid),
							 ObjectIdGetDatum(pub->oid));
	if (!HeapTupleIsValid(*tuple))
		return false;
	*value = SysCacheGetAttr(PUBLICATIONRELMAP, *tuple, attnum, &isnull);
	if (!isnull)
		return true;
	ReleaseSysCache(*tuple);
	return false;
}

/*
 * All columns, as a publication without a list sends them.
 */
static Bitmapset *
all_columns(TupleDesc desc, bool generated)
{
	Bitmapset  *columns = NULL;

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped)
			continue;
		if (att->attgenerated == '\0' ||
			(generated && att->attgenerated == ATTRIBUTE_GENERATED_STORED))
			columns = bms_add_member(columns, att->attnum);
	}
	return columns;
}

static void
report_conflict(Relation relation, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot use different %s for table \"%s.%s\" in different publications",
					what,
					get_namespace_name(RelationGetNamespace(relation)),
					RelationGetRelationName(relation))));
}

static void
set_columns(PublicationRules *rules, Relation relation, List *publications)
{
	TupleDesc	desc = RelationGetDescr(relation);
	bool		has_generated = desc->constr &&
		desc->constr->has_generated_stored;
	bool		any_list = false;
	bool		any_without = false;
	ListCell   *cell;

	foreach(cell, publications)
	{
		Publication *pub = lfirst(cell);
		Bitmapset  *columns;
		HeapTuple	tuple;
		Datum		value;

		if (membership_attribute(pub, RelationGetRelid(relation),
								 Anum_pg_publication_rel_prattrs,
								 &tuple, &value))
		{
			columns = pub_collist_to_bitmapset(NULL, value,
											   CurrentMemoryContext);
			ReleaseSysCache(tuple);
			any_list = true;
		}
		else
		{
			bool		generated = compat_publication_generated(pub);

			if (any_without && has_generated &&
				generated != rules->generated_stored)
				report_conflict(relation,
								"values of publish_generated_columns");
			rules->generated_stored = generated;
			any_without = true;
			columns = all_columns(desc, generated);
		}

		if (cell == list_head(publications))
			rules->columns = columns;
		else if (!bms_equal(rules->columns, columns))
			report_conflict(relation, "column lists");
	}

	if (!any_list)
		rules->columns = NULL;
}

/*
 * Collect the filters of each operation, and whether a publication sends all
 * rows of it.
 */
static void
collect_filters(Relation relation, List *publications, List **filters,
				bool *all_rows)
{
	Oid			relid = RelationGetRelid(relation);
	Oid			schemaid = RelationGetNamespace(relation);
	ListCell   *cell;

	foreach(cell, publications)
	{
		Publication *pub = lfirst(cell);
		bool		actions[FILTER_COUNT] = {
			pub->pubactions.pubinsert,
			pub->pubactions.pubupdate,
			pub->pubactions.pubdelete,
		};
		Node	   *filter = NULL;
		HeapTuple	tuple;
		Datum		value;

		/* a table that is there with its schema too is there with all rows */
		if (!SearchSysCacheExists2(PUBLICATIONNAMESPACEMAP,
								   ObjectIdGetDatum(schemaid),
								   ObjectIdGetDatum(pub->oid)) &&
			membership_attribute(pub, relid, Anum_pg_publication_rel_prqual,
								 &tuple, &value))
		{
			filter = stringToNode(TextDatumGetCString(value));
			ReleaseSysCache(tuple);
		}

		for (int i = 0; i < FILTER_COUNT; i++)
		{
			if (!actions[i])
				continue;
			if (filter == NULL)
				all_rows[i] = true;
			else
				filters[i] = lappend(filters[i],
									 compat_filter_expr(copyObject(filter),
														relation));
		}
	}
}

static void
set_filters(PublicationRules *rules, Relation relation, List *publications)
{
	List	   *filters[FILTER_COUNT] = {NIL};
	bool		all_rows[FILTER_COUNT] = {false};

	collect_filters(relation, publications, filters, all_rows);
	for (int i = 0; i < FILTER_COUNT; i++)
	{
		if (all_rows[i] || filters[i] == NIL)
			continue;
		if (rules->estate == NULL)
			rules->estate = CreateExecutorState();
		rules->filter[i] = ExecPrepareExpr(make_orclause(filters[i]),
										   rules->estate);
	}
}

/*
 * A filter that is null for a row does not let it pass.
 */
static bool
row_matches(PublicationRules *rules, ExprState *filter, TupleTableSlot *slot)
{
	ExprContext *econtext = GetPerTupleExprContext(rules->estate);
	Datum		result;
	bool		isnull;

	ResetExprContext(econtext);
	econtext->ecxt_scantuple = slot;
	result = ExecEvalExprSwitchContext(filter, econtext, &isnull);
	return !isnull && DatumGetBool(result);
}

/*
 * The filter for an operation.  Rows of a snapshot are looked at as if they
 * were inserted, where the table is published without inserts by the first
 * operation that it is published with.
 */
static ExprState *
filter_of(PublicationRules *rules, EventKind kind)
{
	switch (kind)
	{
		case EVENT_CREATE:
			return rules->filter[FILTER_INSERT];
		case EVENT_UPDATE:
			return rules->filter[FILTER_UPDATE];
		case EVENT_DELETE:
			return rules->filter[FILTER_DELETE];
		case EVENT_READ:
			if (rules->insert)
				return rules->filter[FILTER_INSERT];
			if (rules->update)
				return rules->filter[FILTER_UPDATE];
			return rules->filter[FILTER_DELETE];
		case EVENT_TRUNCATE:
		case EVENT_MESSAGE:
		case EVENT_TOMBSTONE:
		case EVENT_TRANSACTION:
		case EVENT_HEARTBEAT:
		case EVENT_NOTIFICATION:
		case EVENT_DEAD_LETTER:
			break;
	}
	return NULL;
}

FilterResult
publication_filter(PublicationRules *rules, EventKind kind,
				   TupleTableSlot *old_slot, TupleTableSlot *new_slot)
{
	ExprState  *filter = filter_of(rules, kind);
	bool		old_matches;
	bool		new_matches;

	if (filter == NULL)
		return FILTER_AS_IS;

	/*
	 * A delete without its old row: nothing tells that the filter would hold
	 * it back.  (The server refuses such deletes once the filter exists.)
	 */
	if (old_slot == NULL && new_slot == NULL)
		return FILTER_AS_IS;

	/*
	 * An update comes without its old row when no column of the replica
	 * identity changed.  The filter has only such columns, so the new row
	 * tells for both.
	 */
	if (old_slot == NULL || new_slot == NULL)
		return row_matches(rules, filter,
						   new_slot ? new_slot : old_slot) ?
			FILTER_AS_IS : FILTER_SKIP;

	old_matches = row_matches(rules, filter, old_slot);
	new_matches = row_matches(rules, filter, new_slot);
	if (old_matches)
		return new_matches ? FILTER_AS_IS : FILTER_AS_DELETE;
	return new_matches ? FILTER_AS_INSERT : FILTER_SKIP;
}

void
publication_check_exist(List *publication_names)
{
	ListCell   *cell;

	foreach(cell, publication_names)
	{
		const char *name = lfirst(cell);

		if (GetPublicationByName(name, true) == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("publication \"%s\" does not exist", name),
					 errhint("Create it with CREATE PUBLICATION, or change wal2kafka.publication_name.")));
	}
}
