/*
 * settings_sources.c
 *		What configuration files and pg_db_role_setting say about settings of
 *		ours.
 *
 * PostgreSQL refuses a wrong value at SET, ALTER and reload.  At server start,
 * and in rows of pg_db_role_setting that were made while the library was not
 * loaded, it only warns and goes on with the default, and drops names that it
 * does not know.  A stream must not run on defaults that nobody chose, so we
 * look at the sources themselves, with the same table and the same checks.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_db_role_setting.h"
#include "catalog/pg_tablespace_d.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "storage/bufmgr.h"
#include "storage/fd.h"
#include "storage/lmgr.h"
#include "storage/smgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#include "../compat.h"
#include "settings.h"

/* The server writes its command line into this file of the data directory. */
#define SERVER_OPTIONS_FILE	"postmaster.opts"

static bool
is_ours(const char *name)
{
	return pg_strncasecmp(name, SETTINGS_PREFIX,
						  strlen(SETTINGS_PREFIX)) == 0;
}

/*
 * Append what the server's command line sets, which is stronger than the
 * files.  The server keeps it as one line: path "argument" "argument" ...
 */
static void
append_command_line(ConfigVariable **head, ConfigVariable **tail)
{
	FILE	   *file = AllocateFile(SERVER_OPTIONS_FILE, "r");
	StringInfoData line;
	int			c;
	char	   *next;

	if (file == NULL)
		return;
	initStringInfo(&line);
	while ((c = fgetc(file)) != EOF && line.len < MaxAllocSize / 4)
		appendStringInfoChar(&line, c);
	FreeFile(file);

	next = strstr(line.data, " \"");
	while (next != NULL)
	{
		char	   *argument = next + 2;
		char	   *end = strstr(argument, "\" \"");
		char	   *equals;

		next = end ? end + 1 : NULL;
		if (end == NULL)
			end = strrchr(argument, '"');
		if (end != NULL)
			*end = '\0';
		if (strncmp(argument, "--", 2) == 0 || strncmp(argument, "-c", 2) == 0)
			argument += 2;
		equals = strchr(argument, '=');
		if (is_ours(argument) && equals != NULL)
		{
			ConfigVariable *item = palloc0(sizeof(ConfigVariable));

			*equals = '\0';
			for (char *p = argument; *p != '\0'; p++)
				if (*p == '-')
					*p = '_';
			item->name = argument;
			item->value = equals + 1;
			if (*head == NULL)
				*head = item;
			else
				(*tail)->next = item;
			*tail = item;
		}
	}
}

/* Does a later entry of the list set the same, so that this one is void? */
static bool
is_overridden(const ConfigVariable *item)
{
	for (const ConfigVariable *later = item->next; later; later = later->next)
		if (pg_strcasecmp(item->name, later->name) == 0)
			return true;
	return false;
}

/*
 * A file that cannot be read or parsed has no effect either: the server goes
 * on with the values that it has, and so do we.
 */
char *
settings_refused_in_files(void)
{
	ConfigVariable *head = NULL;
	ConfigVariable *tail = NULL;

	if (ConfigFileName == NULL ||
		!ParseConfigFile(ConfigFileName, true, NULL, 0, 0, DEBUG2,
						 &head, &tail) ||
		!ParseConfigFile(PG_AUTOCONF_FILENAME, false, NULL, 0, 0, DEBUG2,
						 &head, &tail))
		return NULL;
	append_command_line(&head, &tail);

	for (ConfigVariable *item = head; item != NULL; item = item->next)
	{
		char	   *problem;

		if (!is_ours(item->name) || is_overridden(item))
			continue;
		problem = settings_refusal(item->name, item->value,
								   item->filename ?
								   psprintf("\"%s\" line %d", item->filename,
											item->sourceline) :
								   "the server's command line",
								   false);
		if (problem != NULL)
			return problem;
	}
	return NULL;
}

/* ---- rows of pg_db_role_setting ---- */

/* One "name=value" of a row of pg_db_role_setting. */
typedef void (*EntryFunction) (char *entry, int row, void *arg);

/*
 * Call a function for each entry of ours in the up to four rows that apply to
 * a role in a database, in the order of their strength.
 */
static void
scan_catalog(Oid database, Oid role, EntryFunction function, void *arg)
{
	const Oid	rows[][2] = {
		{InvalidOid, InvalidOid}, {database, InvalidOid},
		{InvalidOid, role}, {database, role}
	};
	Relation	catalog = table_open(DbRoleSettingRelationId, AccessShareLock);
	Snapshot	snapshot =
		RegisterSnapshot(GetCatalogSnapshot(DbRoleSettingRelationId));

	for (int row = 0; row < lengthof(rows); row++)
	{
		ScanKeyData keys[2];
		SysScanDesc scan;
		HeapTuple	tuple;

		ScanKeyInit(&keys[0], Anum_pg_db_role_setting_setdatabase,
					BTEqualStrategyNumber, F_OIDEQ,
					ObjectIdGetDatum(rows[row][0]));
		ScanKeyInit(&keys[1], Anum_pg_db_role_setting_setrole,
					BTEqualStrategyNumber, F_OIDEQ,
					ObjectIdGetDatum(rows[row][1]));
		scan = systable_beginscan(catalog, DbRoleSettingDatidRolidIndexId,
								  true, snapshot, 2, keys);
		while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		{
			bool		isnull;
			Datum		config = heap_getattr(tuple,
											  Anum_pg_db_role_setting_setconfig,
											  RelationGetDescr(catalog),
											  &isnull);
			Datum	   *entries;
			int			nentries;

			if (isnull)
				continue;
			deconstruct_array(DatumGetArrayTypeP(config), TEXTOID, -1, false,
							  TYPALIGN_INT, &entries, NULL, &nentries);
			for (int i = 0; i < nentries; i++)
			{
				char	   *entry = TextDatumGetCString(entries[i]);

				if (is_ours(entry))
					function(entry, row, arg);
			}
		}
		systable_endscan(scan);
	}
	UnregisterSnapshot(snapshot);
	table_close(catalog, AccessShareLock);
}

static void
find_refusal(char *entry, int row, void *arg)
{
	static const char *const places[] = {
		"ALTER ROLE ALL SET", "ALTER DATABASE SET", "ALTER ROLE SET",
		"ALTER ROLE IN DATABASE SET"
	};
	char	  **problem = arg;
	char	   *equals = strchr(entry, '=');

	if (*problem != NULL || equals == NULL)
		return;
	*equals = '\0';
	*problem = settings_refusal(entry, equals + 1, places[row], true);
}

char *
settings_refused_in_catalog(Oid database, Oid role)
{
	char	   *problem = NULL;

	scan_catalog(database, role, find_refusal, &problem);
	return problem;
}

static void
add_to_digest(char *entry, int row, void *arg)
{
	uint64	   *digest = arg;

	*digest = hash_combine64(*digest,
							 hash_bytes_extended((unsigned char *) entry,
												 strlen(entry), row));
}

uint64
settings_catalog_digest(Oid database, Oid role)
{
	uint64		digest = 0;

	scan_catalog(database, role, add_to_digest, &digest);
	return digest;
}

/*
 * Add the visible rows of a page that apply to a role in a database.
 */
static void
digest_page(Buffer buffer, Snapshot snapshot, Oid database, Oid role,
			uint64 *digest)
{
	Page		page = BufferGetPage(buffer);
	OffsetNumber last = PageGetMaxOffsetNumber(page);

	for (OffsetNumber i = FirstOffsetNumber; i <= last; i++)
	{
		ItemId		item = PageGetItemId(page, i);
		HeapTupleData tuple;
		Form_pg_db_role_setting form;

		if (!ItemIdIsNormal(item))
			continue;
		tuple.t_data = (HeapTupleHeader) PageGetItem(page, item);
		tuple.t_len = ItemIdGetLength(item);
		tuple.t_tableOid = DbRoleSettingRelationId;
		ItemPointerSet(&tuple.t_self, BufferGetBlockNumber(buffer), i);
		form = (Form_pg_db_role_setting) GETSTRUCT(&tuple);
		if ((form->setdatabase == InvalidOid ||
			 form->setdatabase == database) &&
			(form->setrole == InvalidOid || form->setrole == role) &&
			HeapTupleSatisfiesVisibility(&tuple, snapshot, buffer))
			*digest += hash_bytes_extended((unsigned char *) form,
										   tuple.t_len - tuple.t_data->t_hoff,
										   0);
	}
}

/*
 * Whoever has no database can open none of the catalogs but the few that the
 * server pins, and this is not one of them.  Its place is known without
 * pg_class though, as that of every mapped catalog, so read its few pages.
 */
uint64
settings_rows_digest(Oid database, Oid role)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	CompatRelFile file = {GLOBALTABLESPACE_OID, InvalidOid};
	SMgrRelation storage;
	BlockNumber blocks;
	uint64		digest = 0;

	LockRelationOid(DbRoleSettingRelationId, AccessShareLock);
	compat_relfile_number(file) =
		compat_mapped_relfile(DbRoleSettingRelationId);
	storage = compat_smgropen(file);
	blocks = smgrnblocks(storage, MAIN_FORKNUM);
	for (BlockNumber block = 0; block < blocks; block++)
	{
		Buffer		buffer = ReadBufferWithoutRelcache(file, MAIN_FORKNUM,
													   block, RBM_NORMAL,
													   NULL, true);

		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		digest_page(buffer, snapshot, database, role, &digest);
		UnlockReleaseBuffer(buffer);
	}
	smgrclose(storage);
	UnlockRelationOid(DbRoleSettingRelationId, AccessShareLock);
	UnregisterSnapshot(snapshot);
	return digest;
}
