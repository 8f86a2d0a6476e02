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
#include "utils/rel.h"

typedef struct RelationMap RelationMap;

typedef struct RelationColumn
{
	AttrNumber	attnum;			/* in the relation whose topic it is (root) */
	SchemaField field;
	TypeEncoder *encoder;
	bool		in_key;
	bool		in_identity;	/* replica identity's columns */
} RelationColumn;

/*
 * One version of a relation.  Allocated in a context of its own, rebuilt at
 * the next look-up after an invalidation marked it; its target is announced
 * to the sink by release() then.
 */
typedef struct RelationEntry
{
	Oid			relid;			/* hash key; must be first */
	bool		valid;			/* cleared by invalidation callbacks */
	MemoryContext context;		/* everything below */

	PublicationRules rules;		/* operations, row filters */
	bool		selected;		/* any operation at all; when false nothing
								 * below is valid */
	Oid			publish_as;		/* itself, or the root of its partition tree */
	AttrMap    *to_root;		/* tuple conversion; NULL: same layout */
	char		replica_identity;
	bool		identity_is_full;
	bool		has_identity;	/* UPDATE and DELETE can be keyed */
	bool		warned_no_identity;

	int			ncolumns;		/* of the value, in attribute order */
	RelationColumn *columns;
	int			nkeys;			/* 0: no key */
	int		   *keys;			/* indexes into columns, in key order */
	EventTarget target;
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
 * Never NULL; look at ->selected.
 */
extern RelationEntry *relation_map_get(RelationMap *map, Relation relation);

/* All relations that the stream selects now; OIDs. Needs a transaction. */
extern List *relation_map_selected(RelationMap *map);

/* The target for logical decoding messages. */
extern EventTarget *relation_map_message_target(RelationMap *map);

#endif							/* WAL2KAFKA_RELATION_MAP_H */
