/*
 * partition_routing.h
 *		Partitions chosen by values of the row, as Debezium's PartitionRouting
 *		does.
 */
#ifndef WAL2KAFKA_PARTITION_ROUTING_H
#define WAL2KAFKA_PARTITION_ROUTING_H

#include "postgres.h"

#include "envelope.h"
#include "event.h"
#include "preload/settings.h"
#include "relation_map.h"

/* What the settings say; one for a map. */
typedef struct PartitionRouting PartitionRouting;

/* What that means for one relation; lives as long as its entry. */
typedef struct PartitionPlan PartitionPlan;

/*
 * Lives in cxt.  NULL where partition_payload_fields is empty.  name is the
 * connector's logical name, in UTF-8 as the database's.  Raises
 * ERRCODE_INVALID_PARAMETER_VALUE where partition_topic_num is missing.
 */
extern PartitionRouting *partition_routing_create(MemoryContext cxt,
												  const Settings *settings,
												  const char *name,
												  const char *database);

/*
 * From the columns of the entry; its target has its names already.  Allocated
 * in CurrentMemoryContext.
 */
extern PartitionPlan *partition_plan_create(PartitionRouting *routing,
											const RelationEntry *entry);

/*
 * The partition of a change, or EVENT_PARTITION_BY_KEY where none of the
 * fields has a value.  Of the event kind, lsn and txn are looked at.
 */
extern int32 partition_plan_choose(const PartitionPlan *plan,
								   const Event *event,
								   const RowChange *change);

#endif							/* WAL2KAFKA_PARTITION_ROUTING_H */
