/*
 * sql_functions.h
 *		What SQL functions of the stream library have in common.
 */
#ifndef WAL2KAFKA_SQL_FUNCTIONS_H
#define WAL2KAFKA_SQL_FUNCTIONS_H

#include "postgres.h"

#include "preload/settings.h"
#include "utils/array.h"

/*
 * Set settings of ours (arrays of text) until the caller's GUC nest level
 * ends.  Who may execute the function may try any value here: nothing but the
 * result of the call must depend on it.
 */
extern void apply_settings(ArrayType *names, ArrayType *values);

/*
 * The stream of this database that is named, or with NULL its only one.
 * Raises where there is none, or it is of another database.  One that is
 * named need not be configured.
 */
extern void find_stream(const char *given, StreamName *result);

#endif							/* WAL2KAFKA_SQL_FUNCTIONS_H */
