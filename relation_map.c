/*
 * relation_map.c
 *		Relation to cached entry: columns, key, topic, schemas, encoders, and
 *		what publications say of it.
 *
 * Invalidation.  Everything in an entry comes from the catalogs as they are
 * at one place in the WAL.  The server tells of changes by callbacks, which
 * arrive inside of our own callbacks too, at any catalog look-up: they only
 * mark entries.  The next relation_map_get() builds the entry again.  An
 * entry that is marked while it is being built stays marked.
 *
 * Callbacks cannot be unregistered.  They are registered once in a process
 * and do nothing while there is no map.
 *
 * Much marks a relation that changes nothing of its topic: VACUUM, an index,
 * a TRUNCATE.  An entry's target, to which the sink has tied a topic and
 * schema ids, therefore outlives the rebuild if the new one says the same.
 */
#include "postgres.h"

#include "access/attmap.h"
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tupdesc.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_publication.h"
#include "common/string.h"
#include "executor/tuptable.h"
#include "mb/pg_wchar.h"
#include "nodes/pg_list.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#include "compat.h"
#include "relation_map.h"

/* Entries of dropped relations are looked for when the map has doubled. */
#define SWEEP_MINIMUM	256

struct RelationMap
{
	MemoryContext context;
	MemoryContext scratch;		/* for the time of one build */
	const Settings *settings;
	const char *prefix;			/* of topics, not yet sanitised */
	List	   *publications;	/* names; NIL: everything is selected */
	List	   *missing;		/* those that were warned of */
	HTAB	   *entries;
	bool		any_routed;		/* an entry is published as another relation */
	long		sweep_at;		/* number of entries */
	EventTarget *message_target;

	/* the entry that was asked for last: most changes come in a row */
	RelationEntry *last;
};

/* The map of this process, for the invalidation callbacks. */
static RelationMap *current_map = NULL;

static void forget_map(void *arg);
static void register_callbacks(void);
static void relcache_callback(Datum arg, Oid relid);
static void syscache_callback(Datum arg, int cacheid, uint32 hashvalue);
static void build_entry(RelationMap *map, RelationEntry *entry,
						Relation relation);
static void install_entry(RelationEntry *entry, RelationEntry *next);
static void sweep(RelationMap *map, Oid keep);
static void fill_entry(RelationMap *map, RelationEntry *entry,
					   Relation relation);

RelationMap *
relation_map_create(MemoryContext cxt, const Settings *settings,
					const char *database_name)
{
	MemoryContext old = MemoryContextSwitchTo(cxt);
	RelationMap *map = palloc0(sizeof(RelationMap));
	MemoryContextCallback *callback = palloc0(sizeof(MemoryContextCallback));
	HASHCTL		ctl = {0};

	map->context = cxt;
	map->scratch = AllocSetContextCreate(cxt, "wal2kafka relation build",
										 ALLOCSET_DEFAULT_SIZES);
	map->settings = settings;
	map->prefix = settings->topic_prefix[0] != '\0' ?
		settings->topic_prefix : pstrdup(database_name);
	if (!SplitIdentifierString(pstrdup(settings->publication_name), ',',
							   &map->publications))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid list of publications: \"%s\"",
						settings->publication_name),
				 errhint("Names are separated by commas and quoted like identifiers.")));

	ctl.keysize = sizeof(Oid);
	ctl.entrysize = sizeof(RelationEntry);
	ctl.hcxt = cxt;
	map->entries = hash_create("wal2kafka relations", 128, &ctl,
							   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	map->sweep_at = SWEEP_MINIMUM;

	callback->func = forget_map;
	callback->arg = map;
	MemoryContextRegisterResetCallback(cxt, callback);
	register_callbacks();
	current_map = map;
	MemoryContextSwitchTo(old);
	return map;
}

/*
 * The map's context goes, also when an error ends decoding under the SQL
 * functions.
 */
static void
forget_map(void *arg)
{
	if (current_map == arg)
		current_map = NULL;
}

static void
register_callbacks(void)
{
	static const int caches[] = {
		PUBLICATIONOID,
		PUBLICATIONRELMAP,
		PUBLICATIONNAMESPACEMAP,
		NAMESPACEOID,
		TYPEOID,
		ENUMOID,
	};
	static bool registered = false;

	if (registered)
		return;
	for (int i = 0; i < lengthof(caches); i++)
		CacheRegisterSyscacheCallback(caches[i], syscache_callback, (Datum) 0);
	CacheRegisterRelcacheCallback(relcache_callback, (Datum) 0);
	registered = true;
}

/*
 * A relation changed, or any may have (InvalidOid).
 */
static void
relcache_callback(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS status;
	RelationEntry *entry;

	if (current_map == NULL)
		return;

	if (OidIsValid(relid) && !current_map->any_routed)
	{
		entry = hash_search(current_map->entries, &relid, HASH_FIND, NULL);
		if (entry != NULL)
			entry->valid = false;
		return;
	}

	/* partitions that are published as this relation have its columns */
	hash_seq_init(&status, current_map->entries);
	while ((entry = hash_seq_search(&status)) != NULL)
		if (!OidIsValid(relid) || entry->building ||
			entry->relid == relid || entry->publish_as == relid)
			entry->valid = false;
}

/*
 * Does a change of the catalog row with this hash matter to the entry?
 */
static bool
depends_on(const RelationEntry *entry, int cacheid, uint32 hashvalue)
{
	if (hashvalue == 0 || entry->building)
		return true;

	switch (cacheid)
	{
		case NAMESPACEOID:
			return entry->selected && entry->namespace_hash == hashvalue;
		case ENUMOID:

			/*
			 * The hash is that of a label's OID, which an entry does not
			 * know.
			 */
			return entry->selected && entry->ntypes > 0;
		case TYPEOID:

			/*
			 * Each table that is made, temporary ones too, brings a row type:
			 * that must not cost all entries.
			 */
			if (!entry->selected)
				return false;
			for (int i = 0; i < entry->ntypes; i++)
				if (entry->type_hashes[i] == hashvalue)
					return true;
			return false;
		default:
			return true;		/* publications */
	}
}

static void
syscache_callback(Datum arg, int cacheid, uint32 hashvalue)
{
	HASH_SEQ_STATUS status;
	RelationEntry *entry;

	if (current_map == NULL)
		return;

	hash_seq_init(&status, current_map->entries);
	while ((entry = hash_seq_search(&status)) != NULL)
		if (depends_on(entry, cacheid, hashvalue))
			entry->valid = false;
}

RelationEntry *
relation_map_get(RelationMap *map, Relation relation)
{
	Oid			relid = RelationGetRelid(relation);
	RelationEntry *entry = map->last;
	bool		found;

	if (entry != NULL && entry->relid == relid && entry->valid)
		return entry;

	entry = hash_search(map->entries, &relid, HASH_ENTER, &found);
	if (!found)
	{
		memset((char *) entry + sizeof(Oid), 0,
			   sizeof(RelationEntry) - sizeof(Oid));
		if (hash_get_num_entries(map->entries) > map->sweep_at)
			sweep(map, relid);
	}
	if (!entry->valid)
		build_entry(map, entry, relation);
	map->last = entry;
	return entry;
}

/*
 * Drop what the entry has, telling the sink that the target ends.
 */
static void
release_target(RelationEntry *entry)
{
	if (entry->target_context == NULL)
		return;
	if (event_sink != NULL)
		event_sink->release(event_sink, &entry->target);
	MemoryContextDelete(entry->target_context);
	entry->target_context = NULL;
}

/*
 * Remove entries whose relation is gone: a database that makes and drops
 * tables all day must not fill the map.
 */
static void
sweep(RelationMap *map, Oid keep)
{
	HASH_SEQ_STATUS status;
	RelationEntry *entry;

	map->last = NULL;
	hash_seq_init(&status, map->entries);
	while ((entry = hash_seq_search(&status)) != NULL)
	{
		if (entry->valid || entry->relid == keep ||
			SearchSysCacheExists1(RELOID, ObjectIdGetDatum(entry->relid)))
			continue;
		release_target(entry);
		if (entry->context != NULL)
			MemoryContextDelete(entry->context);
		hash_search(map->entries, &entry->relid, HASH_REMOVE, NULL);
	}
	map->sweep_at = Max(SWEEP_MINIMUM,
						2 * hash_get_num_entries(map->entries));
}

/*
 * Build the entry anew, beside the old one, which stays as it is (and marked)
 * if there is an error.
 */
static void
build_entry(RelationMap *map, RelationEntry *entry, Relation relation)
{
	RelationEntry next = {0};
	MemoryContext old;

	/* callbacks that come from now on clear it again */
	entry->building = true;
	entry->valid = true;

	PG_TRY();
	{
		next.relid = RelationGetRelid(relation);
		next.context = AllocSetContextCreate(map->context,
											 "wal2kafka relation",
											 ALLOCSET_SMALL_SIZES);
		old = MemoryContextSwitchTo(next.context);
		if (is_publishable_relation(relation))
			publication_rules(&next.rules, relation, map->publications,
							  &map->missing, map->context);
		next.selected = next.rules.insert || next.rules.update ||
			next.rules.delete || next.rules.truncate;
		if (next.selected)
		{
			next.target_context = AllocSetContextCreate(map->context,
														"wal2kafka target",
														ALLOCSET_SMALL_SIZES);
			MemoryContextSwitchTo(map->scratch);
			fill_entry(map, &next, relation);
		}
		MemoryContextSwitchTo(old);
		MemoryContextReset(map->scratch);
	}
	PG_CATCH();
	{
		entry->valid = false;
		PG_RE_THROW();
	}
	PG_END_TRY();

	if (next.selected && next.publish_as != next.relid)
		map->any_routed = true;
	install_entry(entry, &next);
	entry->building = false;
}

static bool
same_schema(const EventSchema *a, const EventSchema *b)
{
	if (a->text == NULL || b->text == NULL)
		return a->text == b->text;
	return strcmp(a->text, b->text) == 0;
}

static bool
same_target(const EventTarget *a, const EventTarget *b)
{
	return a->relid == b->relid &&
		strcmp(a->topic, b->topic) == 0 &&
		strcmp(a->schema_name, b->schema_name) == 0 &&
		strcmp(a->table_name, b->table_name) == 0 &&
		same_schema(&a->key, &b->key) &&
		same_schema(&a->value, &b->value);
}

/*
 * Put the new version in the old one's place.
 */
static void
install_entry(RelationEntry *entry, RelationEntry *next)
{
	if (entry->target_context != NULL && next->target_context != NULL &&
		same_target(&entry->target, &next->target))
	{
		MemoryContextDelete(next->target_context);
		next->target_context = entry->target_context;
		next->target = entry->target;
		next->warned_no_identity = entry->warned_no_identity;
		next->warned_truncate = entry->warned_truncate;
	}
	else
		release_target(entry);
	if (entry->context != NULL)
		MemoryContextDelete(entry->context);

	next->valid = entry->valid;
	next->building = true;
	*entry = *next;
}

/*
 * The attribute numbers of an index's key columns in order; NIL where one is
 * an expression.
 */
static List *
index_attnums(Form_pg_index index)
{
	List	   *attnums = NIL;

	for (int i = 0; i < index->indnkeyatts; i++)
	{
		if (index->indkey.values[i] <= 0)
			return NIL;
		attnums = lappend_int(attnums, index->indkey.values[i]);
	}
	return attnums;
}

/*
 * Does a unique index, no primary key, tell rows apart at every moment?  Rows
 * with nulls are usually not equal to each other, and a deferred constraint
 * lets two rows have one key for a while, in which the second's events would
 * overwrite the first's.
 */
static bool
usable_as_key(TupleDesc desc, HeapTuple tuple)
{
	Form_pg_index index = (Form_pg_index) GETSTRUCT(tuple);

	if (!index->indisunique || !index->indimmediate || !index->indisvalid ||
		!heap_attisnull(tuple, Anum_pg_index_indpred, NULL) ||
		!heap_attisnull(tuple, Anum_pg_index_indexprs, NULL))
		return false;
	for (int i = 0; i < index->indnkeyatts; i++)
	{
		AttrNumber	attnum = index->indkey.values[i];

		if (attnum <= 0 ||
			(!compat_attribute_not_null(desc, attnum - 1) &&
			 !index->indnullsnotdistinct))
			return false;
	}
	return true;
}

/*
 * The columns that key the relation's records: those of the primary key, or
 * of a unique index, of which the replica identity goes first, then the name
 * decides.  NIL: none.
 */
static List *
key_attnums(Relation relation)
{
	TupleDesc	desc = RelationGetDescr(relation);
	List	   *indexes = RelationGetIndexList(relation);
	List	   *result = NIL;
	char	   *best_name = NULL;
	bool		best_identity = false;
	ListCell   *cell;

	foreach(cell, indexes)
	{
		Oid			indexid = lfirst_oid(cell);
		HeapTuple	tuple = SearchSysCache1(INDEXRELID,
											ObjectIdGetDatum(indexid));
		Form_pg_index index;

		if (!HeapTupleIsValid(tuple))
			elog(ERROR, "cache lookup failed for index %u", indexid);
		index = (Form_pg_index) GETSTRUCT(tuple);
		if (index->indisprimary)
		{
			result = index_attnums(index);
			ReleaseSysCache(tuple);
			break;
		}
		if (usable_as_key(desc, tuple))
		{
			char	   *name = get_rel_name(indexid);

			if (best_name == NULL || index->indisreplident ||
				(!best_identity && strcmp(name, best_name) < 0))
			{
				best_name = name;
				best_identity = index->indisreplident;
				result = index_attnums(index);
			}
		}
		ReleaseSysCache(tuple);
	}
	list_free(indexes);
	return result;
}

/*
 * The columns of the relation's replica identity, FULL aside.  NULL: none.
 */
static Bitmapset *
identity_attnums(Relation relation)
{
	Oid			indexid = RelationGetReplicaIndex(relation);
	HeapTuple	tuple;
	Bitmapset  *result = NULL;
	Form_pg_index index;

	if (!OidIsValid(indexid))
		return NULL;
	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(indexid));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for index %u", indexid);
	index = (Form_pg_index) GETSTRUCT(tuple);
	for (int i = 0; i < index->indnkeyatts; i++)
		if (index->indkey.values[i] > 0)
			result = bms_add_member(result, index->indkey.values[i]);
	ReleaseSysCache(tuple);
	return result;
}

/*
 * Is the column in the records?
 */
static bool
column_selected(const PublicationRules *rules, Form_pg_attribute att)
{
	if (att->attisdropped)
		return false;
	/* a virtual column has no value that could be sent */
	if (att->attgenerated != '\0' &&
		att->attgenerated != ATTRIBUTE_GENERATED_STORED)
		return false;
	if (rules->columns != NULL)
		return bms_is_member(att->attnum, rules->columns);
	return att->attgenerated == '\0' || rules->generated_stored;
}

/*
 * Remember the types whose change concerns the entry.
 */
static void
note_type(RelationEntry *entry, Oid typid)
{
	Oid			inner;

	if (!OidIsValid(typid) || typid < FirstNormalObjectId)
		return;
	entry->type_hashes = entry->type_hashes == NULL ?
		MemoryContextAlloc(entry->context, sizeof(uint32)) :
		repalloc(entry->type_hashes, (entry->ntypes + 1) * sizeof(uint32));
	entry->type_hashes[entry->ntypes++] =
		GetSysCacheHashValue1(TYPEOID, ObjectIdGetDatum(typid));

	inner = getBaseType(typid);
	note_type(entry, inner != typid ? inner : get_element_type(typid));
}

/*
 * The stored default of a column, NULL for none.
 */
static Node *
column_default(TupleDesc desc, AttrNumber attnum)
{
	if (desc->constr == NULL ||
		TupleDescAttr(desc, attnum - 1)->attgenerated != '\0')
		return NULL;
	for (int i = 0; i < desc->constr->num_defval; i++)
		if (desc->constr->defval[i].adnum == attnum)
			return stringToNode(desc->constr->defval[i].adbin);
	return NULL;
}

static void
fill_column(RelationMap *map, RelationEntry *entry, RelationColumn *column,
			TupleDesc desc, AttrNumber attnum, Bitmapset *identity)
{
	Form_pg_attribute att = TupleDescAttr(desc, attnum - 1);
	TypeOptions options = {
		.settings = map->settings,
		.array_dimensions = att->attndims,
	};
	AttrNumber	leaf_attnum = entry->to_root ?
		entry->to_root->attnums[attnum - 1] : attnum;
	char	   *name;
	char	   *default_json;
	MemoryContext old = MemoryContextSwitchTo(entry->context);

	column->attnum = attnum;
	column->encoder = type_map_resolve(att->atttypid, att->atttypmod,
									   &options);
	MemoryContextSwitchTo(old);

	name = avro_schema_adjust_name(relation_map_utf8(NameStr(att->attname)),
								   map->settings->field_name_adjustment_mode,
								   false);
	default_json = type_map_default_json(column->encoder,
										 column_default(desc, attnum));
	column->field.name = MemoryContextStrdup(entry->context, name);
	column->field.type = column->encoder;
	column->field.optional = !compat_attribute_not_null(desc, attnum - 1);
	if (default_json != NULL)
		column->field.annotations.default_json =
			MemoryContextStrdup(entry->context, default_json);
	column->null_branch = avro_schema_null_branch(&column->field);
	column->value_branch = column->field.optional ?
		1 - column->null_branch : NO_BRANCH;
	column->in_identity = bms_is_member(leaf_attnum, identity);
	note_type(entry, att->atttypid);
}

/*
 * Columns of the value, and which of them make the key.  A key of which a
 * column is not selected is none: the list of columns says what may leave
 * the database.
 */
static void
fill_columns(RelationMap *map, RelationEntry *entry, Relation root,
			 Bitmapset *identity)
{
	TupleDesc	desc = RelationGetDescr(root);
	List	   *key = key_attnums(root);
	int		   *index_of = palloc0((desc->natts + 1) * sizeof(int));
	ListCell   *cell;

	entry->columns =
		MemoryContextAllocZero(entry->context, Max(desc->natts, 1) *
							   sizeof(RelationColumn));
	for (int i = 0; i < desc->natts; i++)
	{
		AttrNumber	attnum = i + 1;

		index_of[attnum] = -1;
		if (!column_selected(&entry->rules, TupleDescAttr(desc, i)))
			continue;
		index_of[attnum] = entry->ncolumns;
		fill_column(map, entry, &entry->columns[entry->ncolumns++], desc,
					attnum, identity);
	}

	entry->keys = MemoryContextAllocZero(entry->context,
										 (list_length(key) + 1) * sizeof(int));
	foreach(cell, key)
	{
		if (index_of[lfirst_int(cell)] < 0)
		{
			entry->nkeys = 0;
			break;
		}
		entry->keys[entry->nkeys++] = index_of[lfirst_int(cell)];
	}
}

/*
 * What updates and deletes can tell of the old row.
 */
static void
fill_identity(RelationEntry *entry, bool any_identity)
{
	entry->identity_is_full =
		entry->replica_identity == REPLICA_IDENTITY_FULL;
	entry->has_old = entry->identity_is_full || any_identity;
	entry->has_identity = entry->has_old;
	if (entry->identity_is_full)
		return;
	for (int i = 0; i < entry->nkeys; i++)
		if (!entry->columns[entry->keys[i]].in_identity)
			entry->has_identity = false;
}

/*
 * Move a schema to the given context.
 */
static void
keep_schema(EventSchema *schema, MemoryContext cxt)
{
	if (schema->text == NULL)
		return;
	schema->text = MemoryContextStrdup(cxt, schema->text);
	schema->full_name = MemoryContextStrdup(cxt, schema->full_name);
}

/*
 * Topic and schemas.  Allocated in the target's context.
 */
static void
fill_target(RelationMap *map, RelationEntry *entry, Relation root)
{
	SchemaField *fields = palloc0(Max(entry->ncolumns, 1) *
								  sizeof(SchemaField));
	EventTarget *target = &entry->target;
	MemoryContext cxt = entry->target_context;
	char	   *name;
	char	   *namespace;

	name = get_namespace_name(RelationGetNamespace(root));
	target->relid = RelationGetRelid(root);
	target->schema_name = MemoryContextStrdup(cxt, name);
	target->table_name = MemoryContextStrdup(cxt,
											 RelationGetRelationName(root));
	name = psprintf("%s.%s.%s", map->prefix, target->schema_name,
					target->table_name);
	name = avro_schema_topic_name(relation_map_utf8(name));
	target->topic = MemoryContextStrdup(cxt, name);
	namespace =
		avro_schema_adjust_name(target->topic,
								map->settings->schema_name_adjustment_mode,
								true);

	for (int i = 0; i < entry->ncolumns; i++)
		fields[i] = entry->columns[i].field;
	avro_schema_envelope(&target->value, namespace, fields, entry->ncolumns);
	if (entry->nkeys > 0)
	{
		for (int i = 0; i < entry->nkeys; i++)
			fields[i] = entry->columns[entry->keys[i]].field;
		avro_schema_key(&target->key, namespace, fields, entry->nkeys);
	}
	keep_schema(&target->value, cxt);
	keep_schema(&target->key, cxt);
}

/*
 * Two tables whose names differ only in what Kafka does not allow would share
 * a topic, and rows with equal keys overwrite each other.
 */
static void
check_topic(RelationMap *map, const RelationEntry *entry)
{
	HASH_SEQ_STATUS status;
	RelationEntry *other;

	hash_seq_init(&status, map->entries);
	while ((other = hash_seq_search(&status)) != NULL)
	{
		if (!other->valid || !other->selected || other->building ||
			other->target.relid == entry->target.relid ||
			strcmp(other->target.topic, entry->target.topic) != 0)
			continue;
		hash_seq_term(&status);
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_TABLE),
				 errmsg("tables \"%s.%s\" and \"%s.%s\" have the same topic \"%s\"",
						other->target.schema_name, other->target.table_name,
						entry->target.schema_name, entry->target.table_name,
						entry->target.topic),
				 errhint("Rename one of them, or leave it out of the publication.")));
	}
}

static void *
grow_names(void *data, size_t size)
{
	return repalloc(data, size);
}

/*
 * source.schema and source.table as they stand in every record.
 */
static void
fill_source_names(RelationEntry *entry)
{
	AvroBuffer	buf = {.size = 64,.grow = grow_names};
	const char *schema = relation_map_utf8(entry->target.schema_name);
	const char *table = relation_map_utf8(entry->target.table_name);

	buf.data = palloc(buf.size);
	avro_put_bytes(&buf, schema, strlen(schema));
	avro_put_bytes(&buf, table, strlen(table));
	entry->source_names = MemoryContextAlloc(entry->context, buf.len);
	memcpy(entry->source_names, buf.data, buf.len);
	entry->source_names_len = buf.len;
}

static void
fill_slots(RelationEntry *entry, Relation relation, Relation root)
{
	MemoryContext old = MemoryContextSwitchTo(entry->context);
	TupleDesc	desc = CreateTupleDescCopyConstr(RelationGetDescr(relation));

	entry->old_slot = MakeSingleTupleTableSlot(desc, &TTSOpsHeapTuple);
	entry->new_slot = MakeSingleTupleTableSlot(desc, &TTSOpsHeapTuple);
	entry->old_root_slot = entry->old_slot;
	entry->new_root_slot = entry->new_slot;
	if (entry->to_root != NULL)
	{
		desc = CreateTupleDescCopyConstr(RelationGetDescr(root));
		entry->old_root_slot = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
		entry->new_root_slot = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	}
	MemoryContextSwitchTo(old);
}

/*
 * Fill a zeroed entry of a selected relation.  What lasts is allocated in the
 * entry's own contexts, the rest in CurrentMemoryContext.
 */
static void
fill_entry(RelationMap *map, RelationEntry *entry, Relation relation)
{
	Relation	root = relation;
	Bitmapset  *identity;
	MemoryContext old;

	entry->publish_as = entry->rules.publish_as;
	if (entry->publish_as != entry->relid)
	{
		root = RelationIdGetRelation(entry->publish_as);
		if (!RelationIsValid(root))
			elog(ERROR, "could not open relation with OID %u",
				 entry->publish_as);
		old = MemoryContextSwitchTo(entry->context);
		entry->to_root = compat_build_attrmap(RelationGetDescr(relation),
											  RelationGetDescr(root));
		MemoryContextSwitchTo(old);
	}

	/* changes are logged by the identity of the partition they happen in */
	entry->replica_identity = relation->rd_rel->relreplident;
	identity = identity_attnums(relation);
	fill_columns(map, entry, root, identity);
	fill_identity(entry, identity != NULL);
	entry->namespace_hash =
		GetSysCacheHashValue1(NAMESPACEOID,
							  ObjectIdGetDatum(RelationGetNamespace(root)));
	fill_target(map, entry, root);
	check_topic(map, entry);
	fill_source_names(entry);
	fill_slots(entry, relation, root);
	if (root != relation)
		RelationClose(root);
}

/*
 * By name of schema and table, as Debezium's snapshot goes.
 */
typedef struct NamedRelation
{
	Oid			relid;
	NameData	schema_name;
	NameData	table_name;
} NamedRelation;

static int
compare_named(const ListCell *a, const ListCell *b)
{
	const NamedRelation *left = lfirst(a);
	const NamedRelation *right = lfirst(b);
	int			result = strcmp(NameStr(left->schema_name),
								NameStr(right->schema_name));

	return result != 0 ? result : strcmp(NameStr(left->table_name),
										 NameStr(right->table_name));
}

/*
 * Tables and partitioned tables of the database.
 */
static List *
all_tables(void)
{
	Relation	pg_class = table_open(RelationRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(pg_class, InvalidOid, false, NULL,
										  0, NULL);
	List	   *result = NIL;
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_class form = (Form_pg_class) GETSTRUCT(tuple);
		NamedRelation *named;
		char	   *schema_name;

		if ((form->relkind != RELKIND_RELATION &&
			 form->relkind != RELKIND_PARTITIONED_TABLE) ||
			form->relpersistence != RELPERSISTENCE_PERMANENT ||
			form->oid < FirstNormalObjectId)
			continue;
		schema_name = get_namespace_name(form->relnamespace);
		if (schema_name == NULL)
			continue;
		named = palloc0(sizeof(NamedRelation));
		named->relid = form->oid;
		namestrcpy(&named->schema_name, schema_name);
		namestrcpy(&named->table_name, NameStr(form->relname));
		result = lappend(result, named);
	}
	systable_endscan(scan);
	table_close(pg_class, AccessShareLock);
	list_sort(result, compare_named);
	return result;
}

List *
relation_map_selected(RelationMap *map)
{
	List	   *tables = all_tables();
	List	   *result = NIL;
	ListCell   *cell;

	foreach(cell, tables)
	{
		NamedRelation *named = lfirst(cell);
		Relation	relation = try_relation_open(named->relid,
												 AccessShareLock);

		CHECK_FOR_INTERRUPTS();
		/* dropped meanwhile */
		if (relation == NULL)
			continue;
		if (relation_map_get(map, relation)->selected)
			result = lappend_oid(result, named->relid);
		relation_close(relation, AccessShareLock);
	}
	list_free_deep(tables);
	return result;
}

EventTarget *
relation_map_message_target(RelationMap *map)
{
	MemoryContext old;
	EventTarget *target;

	if (map->message_target != NULL)
		return map->message_target;

	old = MemoryContextSwitchTo(map->context);
	target = palloc0(sizeof(EventTarget));
	target->topic =
		avro_schema_topic_name(relation_map_utf8(psprintf("%s.message",
														  map->prefix)));
	target->schema_name = pstrdup("");
	target->table_name = pstrdup("");
	target->relid = InvalidOid;
	avro_schema_message(&target->key, &target->value);
	map->message_target = target;
	MemoryContextSwitchTo(old);
	return target;
}

const char *
relation_map_utf8(const char *string)
{
	MemoryContext caller = CurrentMemoryContext;
	char	   *converted;
	char	   *result;

	if (GetDatabaseEncoding() == PG_UTF8 || pg_is_ascii(string))
		return string;
	if (IsTransactionState())
		return pg_server_to_any(string, strlen(string), PG_UTF8);

	/* to find the conversion procedure */
	StartTransactionCommand();
	converted = pg_server_to_any(string, strlen(string), PG_UTF8);
	result = MemoryContextStrdup(caller, converted);
	CommitTransactionCommand();
	MemoryContextSwitchTo(caller);
	return result;
}
