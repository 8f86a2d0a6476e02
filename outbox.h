/*
 * outbox.h
 *		Rows of outbox tables as the events that they hold, as Debezium's
 *		EventRouter makes them.
 *
 * A row that is inserted (or read by a snapshot) becomes one record: one of
 * its columns selects the topic, one is the key, one the value, one the header
 * "id"; more columns go into headers, beside the payload, or select the
 * partition.
 */
#ifndef WAL2KAFKA_OUTBOX_H
#define WAL2KAFKA_OUTBOX_H

#include "postgres.h"

#include "envelope.h"
#include "event.h"
#include "preload/settings.h"
#include "relation_map.h"

/* What the settings say; one for a map. */
typedef struct OutboxRules OutboxRules;

/* What that means for one relation; lives as long as its entry. */
typedef struct OutboxShape OutboxShape;

/*
 * Lives in cxt.  NULL: there are no outbox tables.  Raises
 * ERRCODE_INVALID_PARAMETER_VALUE or ERRCODE_INVALID_REGULAR_EXPRESSION.
 */
extern OutboxRules *outbox_rules_create(MemoryContext cxt,
										const Settings *settings);

/* Is this an outbox table?  Names are the catalog's. */
extern bool outbox_rules_match(const OutboxRules *rules,
							   const char *schema_name,
							   const char *table_name);

/*
 * From the columns of the entry.  namespace is that of the table's own
 * schemas.  Allocated in CurrentMemoryContext.  A column that is missing is
 * an error of the first event only.
 */
extern OutboxShape *outbox_shape_create(const OutboxRules *rules,
										const RelationEntry *entry,
										const char *namespace);

/* The schemas of keys and values.  In CurrentMemoryContext. */
extern void outbox_schemas(const OutboxShape *shape, EventSchema *key,
						   EventSchema *value);

/*
 * Turn a row into its event: sets target, key, value, headers, partition and
 * time.  Keys and values are valid until the envelope's next ones.  Raises
 * errors where the row lacks what makes it an event.
 */
extern void outbox_fill_event(OutboxShape *shape, Envelope *envelope,
							  Event *event, RelationEntry *entry,
							  const RowChange *change);

/*
 * A row was updated, which is no event.  Says so as
 * outbox_table_op_invalid_behavior has it: raises
 * ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, or logs the first and returns.
 */
extern void outbox_refuse_update(OutboxShape *shape,
								 const RelationEntry *entry);

#endif							/* WAL2KAFKA_OUTBOX_H */
