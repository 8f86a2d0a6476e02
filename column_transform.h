/*
 * column_transform.h
 *		Masks, hashes and truncation of columns, and what their schemas say of
 *		their source (debezium-format.md, 14.7).
 *
 * Masks and hashes are for values that are strings.  Others, and keys, are
 * sent as they are, as Debezium does, with a warning.  An expression of a mask
 * or hash that matches no column at all holds the stream: a mistake in it must
 * not send clear text.
 */
#ifndef WAL2KAFKA_COLUMN_TRANSFORM_H
#define WAL2KAFKA_COLUMN_TRANSFORM_H

#include "postgres.h"

#include "access/tupdesc.h"
#include "preload/settings.h"
#include "source_type.h"
#include "type_map.h"

typedef struct ColumnTransforms ColumnTransforms;

/* A column, by the names of the table that it is published as. */
typedef struct TransformColumn
{
	const char *schema;			/* UTF-8 */
	const char *table;
	const char *column;
	const char *comment;		/* UTF-8; NULL: none */
	SourceType	source;
	bool		is_key;
} TransformColumn;

/*
 * Read column_transforms, column_transforms_file and the lists of columns
 * whose type is propagated.  NULL if all of them are empty.  Freed with cxt.
 * Raises what options_read_file() and regex_list_compile() do, and
 * ERRCODE_CONFIG_FILE_ERROR for an entry of the file that is none.
 */
extern ColumnTransforms *column_transforms_create(MemoryContext cxt,
												  const Settings *settings);

/*
 * The encoder that sends the column: the plain one, or one around it, in
 * CurrentMemoryContext.  Adds to annotations->parameters what there is to be
 * said, also in CurrentMemoryContext.  transforms may be NULL.  Warns, once,
 * of a mask that does not hide the column.
 */
extern TypeEncoder *column_transform(ColumnTransforms *transforms,
									 const TransformColumn *column,
									 TypeEncoder *plain,
									 TypeAnnotations *annotations);

/*
 * Call for each column that there is, and then look for expressions that
 * matched none: an error for masks and hashes, a warning for the rest.
 */
extern void column_transforms_note(const ColumnTransforms *transforms,
								   const TransformColumn *column);
extern void column_transforms_check(const ColumnTransforms *transforms);

#endif							/* WAL2KAFKA_COLUMN_TRANSFORM_H */
