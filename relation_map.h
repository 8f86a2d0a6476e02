/*
 * relation_map.h
 *		Relation to cached entry: columns, key, topic, schemas, encoders, and
 *		what publications say of it.
 */
#ifndef WAL2KAFKA_RELATION_MAP_H
#define WAL2KAFKA_RELATION_MAP_H

#include "postgres.h"

#include "access/tupconvert.h"
#include "avro_schema.h"
#include "event.h"
#include "executor/tuptable.h"
#include "preload/settings.h"
#include "publication.h"
#include "table_filter.h"
#include "utils/rel.h"

typedef struct RelationMap RelationMap;

/* RelationColumn.value_branch of a column that is no union */
#define NO_BRANCH	(-1)

typedef struct RelationColumn
{
	AttrNumber	attnum;			/* in the relation whose topic it is (root) */
	SchemaField field;
	TypeEncoder *encoder;		/* of values; may be a transform */
	SchemaField key_field;		/* in keys: no transform, no parameters */
	TypeEncoder *key_encoder;
	int8		value_branch;	/* of the field's union; or NO_BRANCH */
	int8		null_branch;
	bool		in_identity;	/* replica identity's columns */
	bool		not_null;		/* though the field may be a union with null */
} RelationColumn;

/* What the relation's changes become. */
typedef enum RelationShape
{
	SHAPE_ENVELOPE,				/* Debezium's envelope */
	SHAPE_FLAT,					/* rows (flat.h) */
	SHAPE_OUTBOX,				/* outbox events (outbox.h) */
} RelationShape;

/*
 * One version of a relation.  Rebuilt at the next look-up after an
 * invalidation marked it.  Its target is announced to the sink by release()
 * then, unless it turned out to be the same.
 */
typedef struct RelationEntry
{
	Oid			relid;			/* hash key; must be first */
	bool		valid;			/* cleared by invalidation callbacks */
	bool		building;		/* being rebuilt now, or that failed */
	MemoryContext context;		/* everything below but the target */

	PublicationRules rules;		/* operations, row filters */
	bool		selected;		/* any operation at all; when false nothing
								 * below is valid */
	Oid			publish_as;		/* itself, or the root of its partition tree */
	AttrMap    *to_root;		/* tuple conversion; NULL: same layout */
	char		replica_identity;
	bool		identity_is_full;
	bool		has_old;		/* old rows are in the WAL at all */
	bool		has_identity;	/* ... and hold what keys them */
	int			nown_keys;		/* attributes of the relation itself that tell
								 * its rows apart; 0: none do */
	AttrNumber *own_keys;
	bool		warned_no_identity;
	bool		warned_truncate;

	int			ncolumns;		/* of the value, in attribute order */
	RelationColumn *columns;	/* behind those, columns of the key alone */
	int			nkeys;			/* 0: no key */
	int		   *keys;			/* indexes into columns, in key order */
	uint8	   *key_tail;		/* encoded field behind them; NULL: none */
	size_t		key_tail_len;
	EventSchema plain_key;		/* of the table's own key, where the records'
								 * is another; else unset */
	uint8	   *source_names;	/* source.schema and source.table, encoded */
	size_t		source_names_len;

	/*
	 * For the caller's use from one get to the next: rows of the relation
	 * itself, and of the root (the same slots where to_root is NULL).
	 */
	TupleTableSlot *old_slot;
	TupleTableSlot *new_slot;
	TupleTableSlot *old_root_slot;
	TupleTableSlot *new_root_slot;

	struct PartitionPlan *partitions;	/* NULL: the key decides */
	int			nheaders;		/* that all records of rows have */
	EventHeader headers[4];

	/* what the catalogs' invalidations are compared with */
	List	   *others;			/* OIDs of relations whose names it shows */
	uint32		namespace_hash;
	int			ntypes;			/* types that are not built in */
	uint32	   *type_hashes;

	RelationShape shape;
	struct FlatShape *flat;		/* of SHAPE_FLAT */
	struct OutboxShape *outbox; /* of SHAPE_OUTBOX */

	bool		shares_topic;	/* a rule sends several tables there */
	MemoryContext target_context;
	EventTarget target;			/* an outbox table's own gets no events */
	struct RouteCache *routes;	/* made by values; NULL: none are */
} RelationEntry;

/*
 * Make a map.  It lives in cxt and forgets itself when cxt is reset or
 * deleted, also after an error.  At most one in a process at a time.
 */
extern RelationMap *relation_map_create(MemoryContext cxt,
										const Settings *settings,
										const char *database_name);

/*
 * The entry of a relation, built now if need be.  Needs catalog access.
 * Never NULL; look at ->selected.  Valid until the next call.
 */
extern RelationEntry *relation_map_get(RelationMap *map, Relation relation);

/* The column of values with this name of a field; NULL: there is none. */
extern const RelationColumn *relation_map_column(const RelationEntry *entry,
												 const char *field_name);

/*
 * Has each expression of the transforms matched a column of the entries that
 * were built so far?  Call after relation_map_selected(); see
 * column_transforms_check().
 */
extern void relation_map_check_transforms(const RelationMap *map);

/* The map of this process, or NULL. */
extern RelationMap *relation_map_current(void);

/*
 * Tables and partitioned tables of the database, by schema and name: permanent
 * ones, not the catalogs.  Needs catalog access.  Palloc'd.
 */
typedef struct NamedRelation
{
	Oid			relid;
	NameData	schema_name;
	NameData	table_name;
} NamedRelation;

extern List *relation_map_tables(void);

/* All relations that the stream selects now; OIDs. Needs a transaction. */
extern List *relation_map_selected(RelationMap *map);

/*
 * For lists of regular expressions that match nothing: watch what they match
 * from now on, and after relation_map_selected() get the next expression that
 * matched nothing (table_filter.h), false at the end.
 */
extern void relation_map_watch_filters(RelationMap *map);
extern bool relation_map_unmatched(const RelationMap *map,
								   TableFilterCursor *cursor);

/* The target for logical decoding messages. */
extern EventTarget *relation_map_message_target(RelationMap *map);

/*
 * A string of the server's encoding in UTF-8: itself, where nothing is to be
 * done, else palloc'd.  Starts and ends a transaction if it needs one.
 */
extern const char *relation_map_utf8(const char *string);

#endif							/* WAL2KAFKA_RELATION_MAP_H */
