/*
 * timescale.c
 *		TimescaleDB's chunks, and what they are chunks of.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_rewrite.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "timescale.h"

/* What holds a continuous aggregate's rows is named so. */
#define MATERIALIZED_PREFIX	"_materialized_hypertable_"

static bool
in_timescale_schema(Oid relid)
{
	const char *schema = get_namespace_name(get_rel_namespace(relid));

	return schema != NULL && strcmp(schema, TIMESCALE_SCHEMA) == 0;
}

Oid
timescale_hypertable(Relation relation)
{
	Relation	inherits;
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;
	Oid			result = InvalidOid;

	if (relation->rd_rel->relkind != RELKIND_RELATION ||
		relation->rd_rel->relispartition ||
		!in_timescale_schema(RelationGetRelid(relation)))
		return InvalidOid;

	inherits = table_open(InheritsRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_inherits_inhrelid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(RelationGetRelid(relation)));
	scan = systable_beginscan(inherits, InheritsRelidSeqnoIndexId, true, NULL,
							  1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		result = ((Form_pg_inherits) GETSTRUCT(tuple))->inhparent;
	systable_endscan(scan);
	table_close(inherits, AccessShareLock);
	return result;
}

/*
 * The view that a rewrite rule belongs to; InvalidOid where it is no view's.
 */
static Oid
view_of_rule(Oid rule)
{
	Relation	rewrite = table_open(RewriteRelationId, AccessShareLock);
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;
	Oid			result = InvalidOid;

	ScanKeyInit(&key, Anum_pg_rewrite_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(rule));
	scan = systable_beginscan(rewrite, RewriteOidIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		result = ((Form_pg_rewrite) GETSTRUCT(tuple))->ev_class;
	systable_endscan(scan);
	table_close(rewrite, AccessShareLock);
	return OidIsValid(result) && get_rel_relkind(result) == RELKIND_VIEW ?
		result : InvalidOid;
}

/*
 * Of several views that read the hypertable the aggregate is the one that was
 * made first, together with it.
 */
Oid
timescale_aggregate(Oid hypertable)
{
	const char *name = get_rel_name(hypertable);
	Relation	depend;
	SysScanDesc scan;
	ScanKeyData keys[2];
	HeapTuple	tuple;
	Oid			result = InvalidOid;

	if (name == NULL || !in_timescale_schema(hypertable) ||
		strncmp(name, MATERIALIZED_PREFIX, strlen(MATERIALIZED_PREFIX)) != 0)
		return InvalidOid;

	depend = table_open(DependRelationId, AccessShareLock);
	ScanKeyInit(&keys[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(RelationRelationId));
	ScanKeyInit(&keys[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(hypertable));
	scan = systable_beginscan(depend, DependReferenceIndexId, true, NULL, 2,
							  keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend form = (Form_pg_depend) GETSTRUCT(tuple);
		Oid			view;

		if (form->classid != RewriteRelationId ||
			form->deptype != DEPENDENCY_NORMAL)
			continue;
		view = view_of_rule(form->objid);
		if (OidIsValid(view) && !in_timescale_schema(view) &&
			(!OidIsValid(result) || view < result))
			result = view;
	}
	systable_endscan(scan);
	table_close(depend, AccessShareLock);
	return result;
}
