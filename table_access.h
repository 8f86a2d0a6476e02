/*
 * table_access.h
 *		May a table be read as a whole, and what may it do to us?
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

/*
 * Until it is lifted nothing that a table brings with it, such as functions of
 * its types, may write, or change who we are.  Needs a transaction, which it
 * must not outlive; an abort lifts it by itself.
 */
extern void table_access_restrict(void);
extern void table_access_lift(void);

#endif							/* WAL2KAFKA_TABLE_ACCESS_H */
