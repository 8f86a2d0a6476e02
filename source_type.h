/*
 * source_type.h
 *		A column's type as JDBC's metadata, and so Debezium, describes it: for
 *		the schema parameters __debezium.source.column.*, and for what goes by
 *		a column's length.
 */
#ifndef WAL2KAFKA_SOURCE_TYPE_H
#define WAL2KAFKA_SOURCE_TYPE_H

#include "postgres.h"

#include "access/tupdesc.h"
#include "nodes/nodes.h"

/* Of types without a length */
#define SOURCE_TYPE_NO_LIMIT	PG_INT32_MAX

/* SourceType.length: not said */
#define SOURCE_TYPE_UNSET		(-1)

typedef struct SourceType
{
	const char *name;			/* UTF-8, as in the catalog: int4, _int4 */
	int			length;
	int			scale;
} SourceType;

/*
 * Describe a column; default_expr as stored, or NULL.  The name is palloc'd.
 * Needs catalog access.
 */
extern SourceType source_type(Form_pg_attribute att, Node *default_expr);

#endif							/* WAL2KAFKA_SOURCE_TYPE_H */
