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
#include "catalog/pg_type.h"
#include "commands/comment.h"
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

#include "column_transform.h"
#include "compat.h"
#include "flat.h"
#include "json_encode.h"
#include "outbox.h"
#include "partition_routing.h"
#include "relation_map.h"
#include "route.h"
#include "table_filter.h"
#include "timescale.h"
#include "topic_name.h"

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
	bool		any_others;		/* an entry depends on another relation */
	long		sweep_at;		/* number of entries */
	EventTarget *message_target;
	bool		needs_avro;		/* names must be what Avro allows */
	TopicNames *names;
	TableFilter *filter;		/* NULL: publications alone decide */
	ColumnTransforms *transforms;	/* NULL: all columns are sent plain */
	bool		watching;		/* note what the filter's lists match */
	PartitionRouting *routing;	/* NULL: keys decide */
	HTAB	   *topics;			/* KnownTopic */
	FlatRules  *flat;			/* NULL: values have an envelope */
	OutboxRules *outbox;		/* NULL: no outbox tables */

	/* the entry that was asked for last: most changes come in a row */
	RelationEntry *last;
};

/* The relation that a topic was seen with last; in RelationMap.topics. */
typedef struct KnownTopic
{
	char		name[256];		/* hash key; Kafka allows 249 */
	Oid			relid;			/* of an entry */
} KnownTopic;

/*
 * What a relation is published as: names in the server's encoding, which are
 * the relation's own or those of the root that it belongs to.
 */
typedef struct PublishedAs
{
	const char *schema;
	const char *table;
	bool		is_chunk;		/* TimescaleDB's */
	const char *chunk_schema;
	const char *chunk_table;
	Oid			hypertable;
	Oid			named_by;		/* whose names these are */
	bool		is_aggregate;	/* it is a continuous aggregate */
} PublishedAs;

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
static bool find_published(RelationMap *map, RelationEntry *entry,
						   Relation relation, PublishedAs *published);
static void fill_entry(RelationMap *map, RelationEntry *entry,
					   Relation relation, const PublishedAs *published);

RelationMap *
relation_map_create(MemoryContext cxt, const Settings *settings,
					const char *database_name)
{
	MemoryContext old = MemoryContextSwitchTo(cxt);
	RelationMap *map = palloc0(sizeof(RelationMap));
	MemoryContextCallback *callback = palloc0(sizeof(MemoryContextCallback));
	Settings   *own = palloc(sizeof(Settings));
	HASHCTL		ctl = {0};

	*own = *settings;
	topic_name_resolve_modes(own, event_sink != NULL);
	settings = own;
	map->needs_avro = topic_name_needs_avro(own, event_sink != NULL);
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

	map->names = topic_names_create(cxt, settings,
									relation_map_utf8(map->prefix));
	map->filter = table_filter_create(cxt, settings);
	map->transforms = column_transforms_create(cxt, settings);
	map->routing = partition_routing_create(cxt, settings,
											relation_map_utf8(map->prefix),
											relation_map_utf8(database_name));
	if (settings->envelope == ENVELOPE_FLAT)
		map->flat = flat_rules_create(cxt, settings);
	map->outbox = outbox_rules_create(cxt, settings);

	ctl.keysize = sizeof(Oid);
	ctl.entrysize = sizeof(RelationEntry);
	ctl.hcxt = cxt;
	map->entries = hash_create("wal2kafka relations", 128, &ctl,
							   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	map->sweep_at = SWEEP_MINIMUM;
	ctl.keysize = sizeof(((KnownTopic *) NULL)->name);
	ctl.entrysize = sizeof(KnownTopic);
	map->topics = hash_create("wal2kafka topics", 128, &ctl,
							  HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);

	callback->func = forget_map;
	callback->arg = map;
	MemoryContextRegisterResetCallback(cxt, callback);
	register_callbacks();
	current_map = map;
	MemoryContextSwitchTo(old);
	return map;
}

RelationMap *
relation_map_current(void)
{
	return current_map;
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

	if (OidIsValid(relid) && !current_map->any_others)
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
			entry->relid == relid || entry->publish_as == relid ||
			list_member_oid(entry->others, relid))
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
			return entry->namespace_hash == hashvalue;
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
	if (entry->routes != NULL)
		route_cache_release(entry->routes);
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
	KnownTopic *topic;

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
	hash_seq_init(&status, map->topics);
	while ((topic = hash_seq_search(&status)) != NULL)
		if (hash_search(map->entries, &topic->relid, HASH_FIND, NULL) == NULL)
			hash_search(map->topics, topic->name, HASH_REMOVE, NULL);
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
	PublishedAs published = {0};
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
		MemoryContextSwitchTo(map->scratch);
		if (next.selected)
			next.selected = find_published(map, &next, relation, &published);
		if (next.selected)
		{
			next.target_context = AllocSetContextCreate(map->context,
														"wal2kafka target",
														ALLOCSET_SMALL_SIZES);
			fill_entry(map, &next, relation, &published);
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

	if (next.others != NIL ||
		(OidIsValid(next.publish_as) && next.publish_as != next.relid))
		map->any_others = true;
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
		next->routes = entry->routes;
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

static void
depend_on(RelationEntry *entry, Oid relid)
{
	MemoryContext old = MemoryContextSwitchTo(entry->context);

	entry->others = lappend_oid(entry->others, relid);
	MemoryContextSwitchTo(old);
}

/*
 * The columns that key the relation's records: those of the primary key, or
 * of a unique index, of which the replica identity goes first, then the name
 * decides.  NIL: none.
 */
static List *
key_attnums(RelationEntry *entry, Relation relation)
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

			/* that it gets another name tells nobody of the table */
			depend_on(entry, indexid);
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

/*
 * Is it a domain that is NOT NULL itself?  JDBC's metadata, and so Debezium,
 * do not look at what the domain is made of.
 */
static bool
is_not_null_domain(Oid typid)
{
	HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(typid));
	Form_pg_type type;
	bool		result;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", typid);
	type = (Form_pg_type) GETSTRUCT(tuple);
	result = type->typtype == TYPTYPE_DOMAIN && type->typnotnull;
	ReleaseSysCache(tuple);
	return result;
}

/*
 * What a column's schema says beside its type.  The default is kept, since
 * rows need it too.
 */
static void
fill_annotations(RelationMap *map, RelationColumn *column, Relation root,
				 Node *default_expr)
{
	TypeAnnotations *annotations = &column->field.annotations;

	annotations->default_json = type_map_default_json(column->key_encoder,
													  default_expr);
	if (map->settings->include_schema_comments)
	{
		char	   *comment = GetComment(RelationGetRelid(root),
										 RelationRelationId, column->attnum);

		if (comment != NULL)
			annotations->doc = relation_map_utf8(comment);
	}
}

/*
 * Fill a column.  False: its type has no mapping, and the column is left out.
 */
static bool
fill_column(RelationMap *map, RelationEntry *entry, RelationColumn *column,
			Relation root, AttrNumber attnum, Bitmapset *identity,
			const TableFilterName *name, bool is_key)
{
	TupleDesc	desc = RelationGetDescr(root);
	Form_pg_attribute att = TupleDescAttr(desc, attnum - 1);
	TypeOptions options = {
		.settings = map->settings,
		.array_dimensions = att->attndims,
		.keep_unknown = is_key,
	};
	AttrNumber	leaf_attnum = entry->to_root ?
		entry->to_root->attnums[attnum - 1] : attnum;
	Node	   *default_expr = column_default(desc, attnum);
	TransformColumn transform = {
		.schema = name->schema,
		.table = name->table,
		.column = relation_map_utf8(NameStr(att->attname)),
		.is_key = is_key,
	};
	MemoryContext old = MemoryContextSwitchTo(entry->context);

	note_type(entry, att->atttypid);
	column->attnum = attnum;
	column->key_encoder = type_map_resolve(att->atttypid, att->atttypmod,
										   &options);
	if (column->key_encoder == NULL)
	{
		MemoryContextSwitchTo(old);
		return false;
	}
	column->not_null = compat_attribute_not_null(desc, attnum - 1) ||
		is_not_null_domain(att->atttypid);
	column->field.name =
		topic_name_adjust(transform.column,
						  map->settings->field_name_adjustment_mode, false);
	column->field.type = column->key_encoder;
	column->field.optional = !column->not_null ||
		type_map_always_optional(column->key_encoder);
	fill_annotations(map, column, root, default_expr);
	column->key_field = column->field;

	transform.comment = column->field.annotations.doc;
	transform.source = source_type(att, default_expr);
	column_transforms_note(map->transforms, &transform);
	column->encoder = column_transform(map->transforms, &transform,
									   column->key_encoder,
									   &column->field.annotations);
	MemoryContextSwitchTo(old);

	column->null_branch = avro_schema_null_branch(&column->field);
	column->value_branch = column->field.optional ?
		1 - column->null_branch : NO_BRANCH;
	column->in_identity = bms_is_member(leaf_attnum, identity);
	return true;
}

/*
 * The columns that key the records, by attribute number: those that a rule
 * of message_key_columns names, else the table's own.
 */
static List *
find_key(RelationMap *map, RelationEntry *entry, Relation root,
		 const TableFilterName *name)
{
	TupleDesc	desc = RelationGetDescr(root);
	const char **columns = palloc(desc->natts * sizeof(char *));
	int		   *attnums = palloc(desc->natts * sizeof(int));
	int		   *chosen = palloc(desc->natts * sizeof(int));
	int			ncolumns = 0;
	int			nchosen;
	List	   *result = NIL;

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		/* one that is not published leaves the table without a key */
		if (att->attisdropped || (att->attgenerated != '\0' &&
								  att->attgenerated != ATTRIBUTE_GENERATED_STORED))
			continue;
		columns[ncolumns] = relation_map_utf8(NameStr(att->attname));
		attnums[ncolumns++] = att->attnum;
	}
	nchosen = table_filter_key(map->filter, name, columns, ncolumns, chosen);
	if (nchosen == 0)
		return key_attnums(entry, root);
	for (int i = 0; i < nchosen; i++)
		result = lappend_int(result, attnums[chosen[i]]);
	return result;
}

static bool
key_selected(const PublicationRules *rules, TupleDesc desc, List *key)
{
	ListCell   *cell;

	foreach(cell, key)
		if (!column_selected(rules, TupleDescAttr(desc, lfirst_int(cell) - 1)))
			return false;
	return true;
}

/*
 * Columns of the value, and which of them make the key.  A key of which a
 * column is not selected is none: the publication's list of columns says what
 * may leave the database.  The lists of regular expressions only say what
 * values have, and leave the key as it is.
 */
static void
fill_columns(RelationMap *map, RelationEntry *entry, Relation root,
			 Bitmapset *identity, const TableFilterName *name)
{
	TupleDesc	desc = RelationGetDescr(root);
	List	   *key = find_key(map, entry, root, name);
	bool		has_key = key_selected(&entry->rules, desc, key);
	int		   *index_of = palloc0((desc->natts + 1) * sizeof(int));
	int			count;
	ListCell   *cell;

	entry->columns =
		MemoryContextAllocZero(entry->context, Max(desc->natts, 1) *
							   sizeof(RelationColumn));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		const char *column = relation_map_utf8(NameStr(att->attname));

		index_of[att->attnum] = -1;
		if (!column_selected(&entry->rules, att))
			continue;
		if (map->watching)
			table_filter_note_column(map->filter, name, column);
		if (!table_filter_has_column(map->filter, name, column))
			continue;
		if (fill_column(map, entry, &entry->columns[entry->ncolumns], root,
						att->attnum, identity, name,
						has_key && list_member_int(key, att->attnum)))
			index_of[att->attnum] = entry->ncolumns++;
	}

	count = entry->ncolumns;
	entry->keys = MemoryContextAllocZero(entry->context,
										 (list_length(key) + 1) * sizeof(int));
	foreach(cell, key)
	{
		AttrNumber	attnum = lfirst_int(cell);

		if (!has_key)
			break;
		if (index_of[attnum] < 0)
		{
			index_of[attnum] = count;
			fill_column(map, entry, &entry->columns[count++], root, attnum,
						identity, name, true);
		}
		entry->keys[entry->nkeys++] = index_of[attnum];
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

static RelationShape
shape_of(const RelationMap *map, Relation root)
{
	if (map->outbox != NULL &&
		outbox_rules_match(map->outbox,
						   get_namespace_name(RelationGetNamespace(root)),
						   RelationGetRelationName(root)))
		return SHAPE_OUTBOX;
	return map->flat != NULL ? SHAPE_FLAT : SHAPE_ENVELOPE;
}

/*
 * A name that stays as it is must be one that Avro allows.
 */
static void
check_avro_name(const RelationEntry *entry, const char *name,
				const char *setting)
{
	if (avro_schema_is_name(name))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_NAME),
			 errmsg("field name \"%s\" of table \"%s.%s\" is not allowed in Avro",
					name, entry->target.schema_name,
					entry->target.table_name),
			 strcmp(setting, "wal2kafka.key_field_name") == 0 ?
			 errhint("Set \"%s\" to a name of letters, digits and underscores.",
					 setting) :
			 errhint("Set \"%s\" to \"avro\" or \"avro_unicode\", rename the column, or leave it out.",
					 setting)));
}

/*
 * The same for all names of the relation, where nothing adjusts them.
 */
static void
check_avro_names(RelationMap *map, const RelationEntry *entry,
				 const char *namespace)
{
	const char *part = namespace;

	if (!map->needs_avro)
		return;
	for (int i = 0; i < entry->ncolumns; i++)
		check_avro_name(entry, entry->columns[i].field.name,
						"wal2kafka.field_name_adjustment_mode");
	for (int i = 0; i < entry->nkeys; i++)
		check_avro_name(entry, entry->columns[entry->keys[i]].field.name,
						"wal2kafka.field_name_adjustment_mode");
	for (const char *end; part != NULL; part = *end != '\0' ? end + 1 : NULL)
	{
		end = part + strcspn(part, ".");
		if (!avro_schema_is_name(pnstrdup(part, end - part)))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_NAME),
					 errmsg("schema name \"%s\" of table \"%s.%s\" is not allowed in Avro",
							namespace, entry->target.schema_name,
							entry->target.table_name),
					 errhint("Set \"%s\" to \"avro\" or \"avro_unicode\", rename the table, or leave it out.",
							 "wal2kafka.schema_name_adjustment_mode")));
	}
}

static void *
grow_names(void *data, size_t size)
{
	return repalloc(data, size);
}

/*
 * The key's schema.  key_field, if any, is the value of a field behind the
 * columns, the same for all rows.
 */
static void
fill_key_schema(RelationMap *map, RelationEntry *entry, const char *namespace,
				const char *key_field)
{
	SchemaField *fields = palloc0((entry->nkeys + 1) * sizeof(SchemaField));
	TypeOptions options = {.settings = map->settings};
	AvroBuffer	buf = {.size = 64,.grow = grow_names};
	MemoryContext old;

	for (int i = 0; i < entry->nkeys; i++)
		fields[i] = entry->columns[entry->keys[i]].key_field;
	if (key_field == NULL)
	{
		avro_schema_key(&entry->target.key, namespace, fields, entry->nkeys);
		return;
	}

	fields[entry->nkeys].name =
		relation_map_utf8(map->settings->key_field_name);
	fields[entry->nkeys].type = type_map_resolve(TEXTOID, -1, &options);
	if (map->needs_avro)
		check_avro_name(entry, fields[entry->nkeys].name,
						"wal2kafka.key_field_name");
	avro_schema_key(&entry->target.key, namespace, fields, entry->nkeys + 1);

	old = MemoryContextSwitchTo(entry->context);
	entry->plain_key.format = entry->target.key.format;
	avro_schema_key(&entry->plain_key, namespace, fields, entry->nkeys);
	buf.data = palloc(buf.size);
	avro_put_bytes(&buf, key_field, strlen(key_field));
	entry->key_tail = buf.data;
	entry->key_tail_len = buf.len;
	MemoryContextSwitchTo(old);
}

/*
 * The key of an outbox table is not that of its records, but in their headers
 * where an update changed it.
 */
static void
fill_plain_key(RelationEntry *entry, const char *namespace)
{
	SchemaField *fields = palloc0((entry->nkeys + 1) * sizeof(SchemaField));
	MemoryContext old;

	if (entry->nkeys == 0)
		return;
	for (int i = 0; i < entry->nkeys; i++)
		fields[i] = entry->columns[entry->keys[i]].key_field;
	old = MemoryContextSwitchTo(entry->context);
	entry->plain_key.format = entry->target.key.format;
	avro_schema_key(&entry->plain_key, namespace, fields, entry->nkeys);
	MemoryContextSwitchTo(old);
}

/*
 * The schemas, by what the relation's changes become.
 */
static void
fill_schemas(RelationMap *map, RelationEntry *entry, const char *namespace,
			 const char *key_field)
{
	int			nfields = entry->ncolumns;
	SchemaField *fields = palloc0(Max(nfields, 1) * sizeof(SchemaField));
	EventTarget *target = &entry->target;
	MemoryContext old;

	for (int i = 0; i < nfields; i++)
		fields[i] = entry->columns[i].field;
	switch (entry->shape)
	{
		case SHAPE_ENVELOPE:
			avro_schema_envelope(&target->value,
								 map->settings->debezium_version, namespace,
								 fields, nfields);
			break;
		case SHAPE_FLAT:
			old = MemoryContextSwitchTo(entry->context);
			entry->flat = flat_shape_create(map->flat, entry);
			MemoryContextSwitchTo(old);
			flat_schema(entry->flat, &target->value, namespace, fields,
						nfields);
			break;
		case SHAPE_OUTBOX:
			old = MemoryContextSwitchTo(entry->context);
			entry->outbox = outbox_shape_create(map->outbox, entry,
												namespace);
			MemoryContextSwitchTo(old);
			outbox_schemas(entry->outbox, &target->key, &target->value);
			fill_plain_key(entry, namespace);
			return;
	}
	if (entry->nkeys > 0)
		fill_key_schema(map, entry, namespace, key_field);
}

/*
 * Topic and schemas.  Allocated in the target's context.
 */
static void
fill_target(RelationMap *map, RelationEntry *entry, Relation root,
			const PublishedAs *published, bool *routed)
{
	EventTarget *target = &entry->target;
	MemoryContext cxt = entry->target_context;
	TopicName	name;

	target->relid = RelationGetRelid(root);
	target->schema_name = MemoryContextStrdup(cxt, published->schema);
	target->table_name = MemoryContextStrdup(cxt, published->table);
	topic_names_table(map->names, relation_map_utf8(published->schema),
					  relation_map_utf8(published->table),
					  published->is_chunk, &name);
	target->topic = MemoryContextStrdup(cxt, name.topic);
	*routed = name.routed;
	check_avro_names(map, entry, name.schema_prefix);

	entry->shape = shape_of(map, root);
	if (entry->shape != SHAPE_ENVELOPE)
		entry->routes = route_cache_create(cxt);
	target->key.format = json_encode_format(map->settings, true);
	target->value.format = json_encode_format(map->settings, false);
	fill_schemas(map, entry, name.schema_prefix, name.key_field);
	keep_schema(&target->value, cxt);
	keep_schema(&target->key, cxt);
}

static bool
has_topic_of(const RelationEntry *other, const RelationEntry *entry)
{
	return other->valid && other->selected && !other->building &&
		!other->shares_topic && other->shape != SHAPE_OUTBOX &&
		other->target.relid != entry->target.relid &&
		strcmp(other->target.topic, entry->target.topic) == 0;
}

/*
 * Another relation with the entry's topic, NULL if there is none.  What is
 * known of the topic is who was seen with it last.  Where that has gone, or
 * has another topic now, it needs a look at all.
 */
static const RelationEntry *
find_rival(RelationMap *map, const RelationEntry *entry)
{
	KnownTopic *topic;
	RelationEntry *other;
	HASH_SEQ_STATUS status;
	bool		found;

	topic = hash_search(map->topics, entry->target.topic, HASH_ENTER, &found);
	if (!found)
	{
		topic->relid = entry->relid;
		return NULL;
	}
	other = hash_search(map->entries, &topic->relid, HASH_FIND, NULL);
	topic->relid = entry->relid;
	if (other != NULL && has_topic_of(other, entry))
		return other;
	if (other != NULL && other->valid && other->selected &&
		other->target.relid == entry->target.relid &&
		strcmp(other->target.topic, entry->target.topic) == 0)
		return NULL;
	hash_seq_init(&status, map->entries);
	while ((other = hash_seq_search(&status)) != NULL)
	{
		if (has_topic_of(other, entry))
		{
			hash_seq_term(&status);
			return other;
		}
	}
	return NULL;
}

/*
 * Two tables whose names differ only in what Kafka does not allow would share
 * a topic, and rows with equal keys overwrite each other.  Tables that a rule
 * sends to one topic share it on purpose.
 */
static void
check_topic(RelationMap *map, const RelationEntry *entry)
{
	const RelationEntry *other;

	if (entry->shares_topic || entry->shape == SHAPE_OUTBOX)
		return;
	other = find_rival(map, entry);
	if (other != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_TABLE),
				 errmsg("tables \"%s.%s\" and \"%s.%s\" have the same topic \"%s\"",
						other->target.schema_name, other->target.table_name,
						entry->target.schema_name, entry->target.table_name,
						entry->target.topic),
				 errhint("Rename one of them, leave it out, or set \"%s\" to \"SchemaUnicodeTopicNamingStrategy\".",
						 "wal2kafka.topic_naming_strategy")));
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
 * A chunk is published as its hypertable, if it is one.
 */
static void
find_hypertable(RelationEntry *entry, Relation relation,
				PublishedAs *published)
{
	Oid			aggregate;

	published->hypertable = timescale_hypertable(relation);
	if (!OidIsValid(published->hypertable))
		return;
	published->chunk_schema =
		get_namespace_name(RelationGetNamespace(relation));
	published->chunk_table = get_rel_name(entry->relid);
	if (entry->rules.columns != NULL || entry->rules.estate != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("chunk \"%s.%s\" has a column list or row filter in a publication",
						published->chunk_schema, published->chunk_table),
				 errhint("Publish the chunks' schema instead, or turn wal2kafka.timescaledb off.")));
	published->is_chunk = true;
	entry->rules.publish_as = published->hypertable;
	aggregate = timescale_aggregate(published->hypertable);
	published->is_aggregate = OidIsValid(aggregate);
	if (!published->is_aggregate)
		aggregate = published->hypertable;
	else
		depend_on(entry, aggregate);
	published->named_by = aggregate;
}

/*
 * Find what the relation, which publications select, is published as, and
 * whether the lists of regular expressions let it pass.
 */
static bool
find_published(RelationMap *map, RelationEntry *entry, Relation relation,
			   PublishedAs *published)
{
	Oid			publish_as = entry->rules.publish_as;
	TableFilterName name;
	TableFilterName chunk;

	published->named_by = publish_as;
	if (map->settings->timescaledb && publish_as == entry->relid)
		find_hypertable(entry, relation, published);
	published->schema =
		get_namespace_name(get_rel_namespace(published->named_by));
	published->table = get_rel_name(published->named_by);
	if (published->schema == NULL || published->table == NULL)
		elog(ERROR, "cache lookup failed for relation %u", publish_as);

	/* also of an entry that does not pass: another name might */
	entry->publish_as = entry->rules.publish_as;
	entry->namespace_hash =
		GetSysCacheHashValue1(NAMESPACEOID,
							  ObjectIdGetDatum(get_rel_namespace(published->named_by)));

	if (strcmp(published->schema, "information_schema") == 0)
		return false;
	if (map->filter == NULL)
		return true;
	name.schema = relation_map_utf8(published->schema);
	name.table = relation_map_utf8(published->table);
	if (published->is_chunk)
	{
		chunk.schema = relation_map_utf8(published->chunk_schema);
		chunk.table = relation_map_utf8(published->chunk_table);
	}
	if (map->watching)
		table_filter_note_table(map->filter, &name,
								published->is_chunk ? &chunk : NULL);
	return table_filter_has_table(map->filter, &name,
								  published->is_chunk ? &chunk : NULL);
}

static void
add_header(RelationEntry *entry, const char *name, const char *value)
{
	EventHeader *header = &entry->headers[entry->nheaders++];

	Assert(entry->nheaders <= lengthof(entry->headers));
	value = relation_map_utf8(value);
	header->name = name;
	header->value = MemoryContextStrdup(entry->context, value);
	header->value_len = strlen(value);
}

/*
 * What tells a chunk's records where they come from.
 */
static void
fill_headers(RelationEntry *entry, const PublishedAs *published)
{
	if (!published->is_chunk)
		return;
	add_header(entry, "__debezium_timescaledb_chunk_table",
			   published->chunk_table);
	add_header(entry, "__debezium_timescaledb_chunk_schema",
			   published->chunk_schema);
	if (!published->is_aggregate)
		return;
	add_header(entry, "__debezium_timescaledb_hypertable_table",
			   get_rel_name(published->hypertable));
	add_header(entry, "__debezium_timescaledb_hypertable_schema",
			   get_namespace_name(get_rel_namespace(published->hypertable)));
}

/*
 * By what a row of the relation is found again.
 */
static void
fill_own_keys(RelationEntry *entry, Relation relation)
{
	List	   *attnums = key_attnums(entry, relation);
	ListCell   *cell;

	entry->own_keys =
		MemoryContextAlloc(entry->context, (list_length(attnums) + 1) *
						   sizeof(AttrNumber));
	foreach(cell, attnums)
		entry->own_keys[entry->nown_keys++] = lfirst_int(cell);
}

/*
 * Fill a zeroed entry of a selected relation.  What lasts is allocated in the
 * entry's own contexts, the rest in CurrentMemoryContext.
 */
static void
fill_entry(RelationMap *map, RelationEntry *entry, Relation relation,
		   const PublishedAs *published)
{
	TableFilterName name = {
		.schema = relation_map_utf8(published->schema),
		.table = relation_map_utf8(published->table),
	};
	Relation	root = relation;
	Bitmapset  *identity;
	MemoryContext old;

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
	fill_columns(map, entry, root, identity, &name);
	fill_identity(entry, identity != NULL);
	fill_target(map, entry, root, published, &entry->shares_topic);
	check_topic(map, entry);
	fill_source_names(entry);
	fill_slots(entry, relation, root);
	fill_headers(entry, published);
	if (map->settings->toast_reselect)
		fill_own_keys(entry, relation);
	if (map->routing != NULL && entry->shape != SHAPE_OUTBOX)
	{
		old = MemoryContextSwitchTo(entry->context);
		entry->partitions = partition_plan_create(map->routing, entry);
		MemoryContextSwitchTo(old);
	}
	if (root != relation)
		RelationClose(root);
}

const RelationColumn *
relation_map_column(const RelationEntry *entry, const char *field_name)
{
	for (int i = 0; i < entry->ncolumns; i++)
		if (strcmp(entry->columns[i].field.name, field_name) == 0)
			return &entry->columns[i];
	return NULL;
}

/*
 * By name of schema and table, as Debezium's snapshot goes.
 */
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

List *
relation_map_tables(void)
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
	List	   *tables = relation_map_tables();
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

void
relation_map_watch_filters(RelationMap *map)
{
	map->watching = map->filter != NULL;
}

bool
relation_map_unmatched(const RelationMap *map, TableFilterCursor *cursor)
{
	return map->watching && table_filter_unmatched(map->filter, cursor);
}

void
relation_map_check_transforms(const RelationMap *map)
{
	column_transforms_check(map->transforms);
}

EventTarget *
relation_map_message_target(RelationMap *map)
{
	MemoryContext old;
	EventTarget *target;
	const char *topic;

	if (map->message_target != NULL)
		return map->message_target;

	old = MemoryContextSwitchTo(map->context);
	target = palloc0(sizeof(EventTarget));
	topic = topic_name_sanitise(relation_map_utf8(psprintf("%s.message",
														   map->prefix)),
								TOPIC_NAMING_SCHEMA);
	target->topic = topic_names_route(map->names, topic);
	target->schema_name = pstrdup("");
	target->table_name = pstrdup("");
	target->relid = InvalidOid;
	target->key.format = json_encode_format(map->settings, true);
	target->value.format = json_encode_format(map->settings, false);
	avro_schema_message(&target->key, &target->value,
						map->settings->debezium_version,
						map->settings->binary_handling_mode != BINARY_BYTES);
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
