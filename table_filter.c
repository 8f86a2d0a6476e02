/*
 * table_filter.c
 *		Which tables and columns are sent, and what keys them, as far as lists
 *		of regular expressions say it.
 */
#include "postgres.h"

#include "preload/regex_list.h"
#include "table_filter.h"

/* The lists; lists[] below has one row for each, in this order. */
typedef enum FilterList
{
	SCHEMA_INCLUDE,
	SCHEMA_EXCLUDE,
	TABLE_INCLUDE,
	TABLE_EXCLUDE,
	COLUMN_INCLUDE,
	COLUMN_EXCLUDE,
} FilterList;

#define LIST_COUNT	(COLUMN_EXCLUDE + 1)

static const struct
{
	const char *setting;
	size_t		offset;			/* in Settings */
	bool		of_columns;
}			lists[LIST_COUNT] = {
	[SCHEMA_INCLUDE] = {"wal2kafka.schema_include_list",
	offsetof(Settings, schema_include_list), false},
	[SCHEMA_EXCLUDE] = {"wal2kafka.schema_exclude_list",
	offsetof(Settings, schema_exclude_list), false},
	[TABLE_INCLUDE] = {"wal2kafka.table_include_list",
	offsetof(Settings, table_include_list), false},
	[TABLE_EXCLUDE] = {"wal2kafka.table_exclude_list",
	offsetof(Settings, table_exclude_list), false},
	[COLUMN_INCLUDE] = {"wal2kafka.column_include_list",
	offsetof(Settings, column_include_list), true},
	[COLUMN_EXCLUDE] = {"wal2kafka.column_exclude_list",
	offsetof(Settings, column_exclude_list), true},
};

#define KEY_SETTING	"wal2kafka.message_key_columns"

struct TableFilter
{
	RegexList  *lists[LIST_COUNT];	/* NULL: empty */
	int			nkeys;
	RegexList **keys;			/* of schema.table.column, in key order */
};

static const char *
list_text(const Settings *settings, FilterList list)
{
	return *(char *const *) ((const char *) settings + lists[list].offset);
}

static void
refuse_both(const TableFilter *filter, FilterList include, FilterList exclude)
{
	if (filter->lists[include] == NULL || filter->lists[exclude] == NULL)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"%s\" and \"%s\" are both set",
					lists[include].setting, lists[exclude].setting),
			 errhint("List what is sent, or what is not sent.")));
}

/*
 * Split "table:column,column; table:column" into an expression for each
 * column.  The grammar was checked when the setting was set.
 */
static void
compile_keys(TableFilter *filter, MemoryContext cxt, const char *text)
{
	char	   *copy = pstrdup(text);
	char	   *rules;
	int			count = 1;

	for (const char *p = text; *p != '\0'; p++)
		count += *p == ';' || *p == ',';
	filter->keys = MemoryContextAllocZero(cxt, count * sizeof(RegexList *));

	for (char *rule = strtok_r(copy, ";", &rules); rule != NULL;
		 rule = strtok_r(NULL, ";", &rules))
	{
		char	   *colon = strchr(rule, ':');
		char	   *columns;

		if (colon == NULL)
			continue;
		*colon = '\0';
		for (char *column = strtok_r(colon + 1, ",", &columns); column != NULL;
			 column = strtok_r(NULL, ",", &columns))
		{
			RegexList  *key;

			column += strspn(column, " \t\r\n");
			key = regex_list_compile(cxt, psprintf("%s.%s", rule, column));
			if (key != NULL)
				filter->keys[filter->nkeys++] = key;
		}
	}
	pfree(copy);
}

TableFilter *
table_filter_create(MemoryContext cxt, const Settings *settings)
{
	TableFilter *filter = MemoryContextAllocZero(cxt, sizeof(TableFilter));
	bool		any = false;

	for (int i = 0; i < LIST_COUNT; i++)
	{
		filter->lists[i] = regex_list_compile(cxt, list_text(settings, i));
		any |= filter->lists[i] != NULL;
	}
	refuse_both(filter, SCHEMA_INCLUDE, SCHEMA_EXCLUDE);
	refuse_both(filter, TABLE_INCLUDE, TABLE_EXCLUDE);
	refuse_both(filter, COLUMN_INCLUDE, COLUMN_EXCLUDE);
	compile_keys(filter, cxt, settings->message_key_columns);
	if (any || filter->nkeys > 0)
		return filter;
	pfree(filter->keys);
	pfree(filter);
	return NULL;
}

static char *
table_text(const TableFilterName *name)
{
	return psprintf("%s.%s", name->schema, name->table);
}

static char *
column_text(const TableFilterName *name, const char *column)
{
	return psprintf("%s.%s.%s", name->schema, name->table, column);
}

/*
 * What one pair of lists says of a name and its alias (or NULL).
 */
static bool
passes(const TableFilter *filter, FilterList include, FilterList exclude,
	   const char *name, const char *alias)
{
	const RegexList *list = filter->lists[include];

	if (list != NULL)
		return regex_list_matches(list, name) ||
			(alias != NULL && regex_list_matches(list, alias));
	list = filter->lists[exclude];
	return !regex_list_matches(list, name) &&
		(alias == NULL || !regex_list_matches(list, alias));
}

bool
table_filter_has_table(const TableFilter *filter, const TableFilterName *name,
					   const TableFilterName *alias)
{
	if (filter == NULL)
		return true;
	return passes(filter, SCHEMA_INCLUDE, SCHEMA_EXCLUDE, name->schema,
				  alias ? alias->schema : NULL) &&
		passes(filter, TABLE_INCLUDE, TABLE_EXCLUDE, table_text(name),
			   alias ? table_text(alias) : NULL);
}

bool
table_filter_has_column(const TableFilter *filter, const TableFilterName *name,
						const char *column)
{
	if (filter == NULL || (filter->lists[COLUMN_INCLUDE] == NULL &&
						   filter->lists[COLUMN_EXCLUDE] == NULL))
		return true;
	return passes(filter, COLUMN_INCLUDE, COLUMN_EXCLUDE,
				  column_text(name, column), NULL);
}

int
table_filter_key(const TableFilter *filter, const TableFilterName *name,
				 const char *const *columns, int ncolumns, int *key)
{
	int			count = 0;

	if (filter == NULL)
		return 0;
	for (int i = 0; i < filter->nkeys; i++)
	{
		for (int j = 0; j < ncolumns; j++)
		{
			bool		there = false;

			if (!regex_list_matches(filter->keys[i],
									column_text(name, columns[j])))
				continue;
			for (int k = 0; k < count; k++)
				there |= key[k] == j;
			if (!there)
				key[count++] = j;
		}
	}
	return count;
}

void
table_filter_note_table(TableFilter *filter, const TableFilterName *name,
						const TableFilterName *alias)
{
	for (int i = 0; i < 2; i++)
	{
		const TableFilterName *subject = i == 0 ? name : alias;

		if (subject == NULL)
			continue;
		regex_list_note(filter->lists[SCHEMA_INCLUDE], subject->schema);
		regex_list_note(filter->lists[SCHEMA_EXCLUDE], subject->schema);
		regex_list_note(filter->lists[TABLE_INCLUDE], table_text(subject));
		regex_list_note(filter->lists[TABLE_EXCLUDE], table_text(subject));
	}
}

void
table_filter_note_column(TableFilter *filter, const TableFilterName *name,
						 const char *column)
{
	const char *text = column_text(name, column);

	regex_list_note(filter->lists[COLUMN_INCLUDE], text);
	regex_list_note(filter->lists[COLUMN_EXCLUDE], text);
	for (int i = 0; i < filter->nkeys; i++)
		regex_list_note(filter->keys[i], text);
}

bool
table_filter_unmatched(const TableFilter *filter, TableFilterCursor *cursor)
{
	for (; cursor->list < LIST_COUNT + filter->nkeys; cursor->list++)
	{
		bool		is_key = cursor->list >= LIST_COUNT;

		cursor->text =
			regex_list_unmatched(is_key ?
								 filter->keys[cursor->list - LIST_COUNT] :
								 filter->lists[cursor->list],
								 &cursor->expression);
		if (cursor->text != NULL)
		{
			cursor->setting = is_key ? KEY_SETTING :
				lists[cursor->list].setting;
			cursor->of_columns = is_key || lists[cursor->list].of_columns;
			return true;
		}
		cursor->expression = 0;
	}
	return false;
}
