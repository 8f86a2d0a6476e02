/*
 * table_access.c
 *		May a table be read as a whole, and what may it do to us?
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"

#include "table_access.h"

void
table_check_readable(Relation relation)
{
	Oid			relid = RelationGetRelid(relation);
	const char *schema = get_namespace_name(RelationGetNamespace(relation));
	const char *table = RelationGetRelationName(relation);
	const char *role = GetUserNameFromId(GetUserId(), false);

	if (pg_class_aclcheck(relid, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for table \"%s.%s\"", schema, table),
				 errdetail("Snapshots read tables as role \"%s\".", role),
				 errhint("Grant SELECT to the role, or leave the table out; see wal2kafka.snapshot_include_collection_list.")));
	if (check_enable_rls(relid, InvalidOid, true) == RLS_ENABLED)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("row-level security of table \"%s.%s\" would hide rows from the snapshot",
						schema, table),
				 errhint("Give role \"%s\" the attribute BYPASSRLS.", role)));
}

void
table_access_restrict(void)
{
	Oid			user;
	int			context;

	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(user, context | SECURITY_RESTRICTED_OPERATION);
}

void
table_access_lift(void)
{
	Oid			user;
	int			context;

	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(user, context & ~SECURITY_RESTRICTED_OPERATION);
}
