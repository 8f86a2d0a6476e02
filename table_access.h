/*
 * table_access.h
 *		May a table be read as a whole?
 */
#ifndef WAL2KAFKA_TABLE_ACCESS_H
#define WAL2KAFKA_TABLE_ACCESS_H

#include "postgres.h"

#include "utils/rel.h"

/*
 * Raises ERRCODE_INSUFFICIENT_PRIVILEGE where the current role may not read
 * the table, or would not see all of its rows.  Needs a transaction and a lock
 * on the table.
 */
extern void table_check_readable(Relation relation);

#endif							/* WAL2KAFKA_TABLE_ACCESS_H */
