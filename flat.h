/*
 * flat.h
 *		Rows without an envelope, as Debezium's ExtractNewRecordState leaves
 *		them.
 *
 * A flat value is the row, then __deleted in the modes that rewrite deletes,
 * then fields of the envelope that were asked for.
 */
#ifndef WAL2KAFKA_FLAT_H
#define WAL2KAFKA_FLAT_H

#include "postgres.h"

#include "envelope.h"
#include "event.h"
#include "preload/settings.h"
#include "relation_map.h"

/* What the settings say; one for a map. */
typedef struct FlatRules FlatRules;

/* What that means for one relation; lives as long as its entry. */
typedef struct FlatShape FlatShape;

/*
 * Lives in cxt.  Raises ERRCODE_INVALID_PARAMETER_VALUE for fields that no
 * envelope has a place for.
 */
extern FlatRules *flat_rules_create(MemoryContext cxt,
									const Settings *settings);

/*
 * From the columns of the entry.  Allocated in CurrentMemoryContext.
 * Raises ERRCODE_DUPLICATE_COLUMN where an added field has a column's name.
 */
extern FlatShape *flat_shape_create(const FlatRules *rules,
									const RelationEntry *entry);

/* The schema of values.  In CurrentMemoryContext. */
extern void flat_schema(const FlatShape *shape, EventSchema *schema,
						const char *namespace, const SchemaField *fields,
						int nfields);

/*
 * The value of a change: its new row, or the old one of a delete.  The event
 * needs kind and lsn.  Valid until the envelope's next value.
 */
extern EventBytes flat_value(const FlatShape *shape, Envelope *envelope,
							 const Event *event, const RelationEntry *entry,
							 const RowChange *change);

/*
 * Add what add_headers asks for.  A tombstone that follows a delete (change
 * NULL) has the delete's headers, and gets the operation, "d", once more.
 */
extern void flat_add_headers(FlatShape *shape, Envelope *envelope,
							 Event *event, const RelationEntry *entry,
							 const RowChange *change);

/*
 * The target that route_by_field gives, or the entry's own.  Raises
 * ERRCODE_UNDEFINED_COLUMN, ERRCODE_DATATYPE_MISMATCH or ERRCODE_INVALID_NAME
 * where the column is missing, is no text, or names no topic.
 */
extern EventTarget *flat_target(FlatShape *shape, Envelope *envelope,
								const Event *event, RelationEntry *entry,
								const RowChange *change);

#endif							/* WAL2KAFKA_FLAT_H */
