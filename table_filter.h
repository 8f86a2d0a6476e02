/*
 * table_filter.h
 *		Which tables and columns are sent, and what keys them, as far as lists
 *		of regular expressions say it.
 *
 * Publications select first; what passes both is sent.  Names are UTF-8 and
 * those of the relation that a table is published as.
 */
#ifndef WAL2KAFKA_TABLE_FILTER_H
#define WAL2KAFKA_TABLE_FILTER_H

#include "postgres.h"

#include "preload/settings.h"

typedef struct TableFilter TableFilter;

/*
 * Compile the lists; NULL where all of them are empty.  Freed with cxt.
 * Raises ERRCODE_INVALID_PARAMETER_VALUE when what is included and what is
 * excluded are both listed, which has no meaning of its own.
 */
extern TableFilter *table_filter_create(MemoryContext cxt,
										const Settings *settings);

/*
 * Does the table pass?  True for a NULL filter.  The alias, if any, is
 * another name of it: an include list may have either, an exclude list must
 * have neither.
 */
typedef struct TableFilterName
{
	const char *schema;
	const char *table;
} TableFilterName;

extern bool table_filter_has_table(const TableFilter *filter,
								   const TableFilterName *name,
								   const TableFilterName *alias);

/* Is the column in values?  True for a NULL filter. */
extern bool table_filter_has_column(const TableFilter *filter,
									const TableFilterName *name,
									const char *column);

/*
 * The columns that message_key_columns names, as indexes into columns, in the
 * order of the rules and each once.  0: no rule applies.
 */
extern int	table_filter_key(const TableFilter *filter,
							 const TableFilterName *name,
							 const char *const *columns, int ncolumns,
							 int *key);

/*
 * To find expressions that match nothing: note all tables and columns there
 * are, then ask.  Each call gives one expression and the setting it is in;
 * false at the end.  Start with a zeroed cursor.
 */
typedef struct TableFilterCursor
{
	int			list;
	int			expression;
	const char *setting;
	const char *text;
	bool		of_columns;		/* it should match columns, not tables */
} TableFilterCursor;

extern void table_filter_note_table(TableFilter *filter,
									const TableFilterName *name,
									const TableFilterName *alias);
extern void table_filter_note_column(TableFilter *filter,
									 const TableFilterName *name,
									 const char *column);
extern bool table_filter_unmatched(const TableFilter *filter,
								   TableFilterCursor *cursor);

#endif							/* WAL2KAFKA_TABLE_FILTER_H */
