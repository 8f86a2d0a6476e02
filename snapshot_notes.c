/*
 * snapshot_notes.c
 *		What of a snapshot is in Kafka, as Kafka itself has it.
 *
 * A note is lines: what it is, of which job, and then
 *
 *	blocks 1
 *	<length>:<request>
 *	<relid> <first block> <end> <rows>		for each range of blocks
 *
 *	table 1
 *	<length>:<request>
 *	<rows> <ranges> <done: 0 or 1> <texts of the cursor>
 *	<length>:<text>							for each of them, in any encoding
 */
#include "postgres.h"

#include "snapshot_notes.h"
#include "utils/timestamp.h"

#define BLOCKS_PREFIX	"snapshot/"
#define TABLE_PREFIX	"incremental/"
#define BLOCKS_KIND		"blocks"
#define TABLE_KIND		"table"
#define NOTE_VERSION	1

/* What is left of a note that is read. */
typedef struct NoteReader
{
	const char *next;			/* the whole ends with NUL */
	const char *end;
	bool		damaged;
} NoteReader;

/* ---- writing ---- */

char *
snapshot_note_blocks_key(int process, uint64 number)
{
	return psprintf(BLOCKS_PREFIX "%d/" UINT64_FORMAT, process, number);
}

char *
snapshot_note_table_key(uint64 job, Oid relid)
{
	return psprintf(TABLE_PREFIX UINT64_FORMAT "/%u", job, relid);
}

static void
put_text(StringInfo buf, const char *text)
{
	appendStringInfo(buf, "%zu:%s\n", strlen(text), text);
}

static void
put_head(StringInfo buf, const char *kind, const char *request)
{
	appendStringInfo(buf, "%s %d\n", kind, NOTE_VERSION);
	put_text(buf, request);
}

void
snapshot_note_begin_blocks(StringInfo buf, const char *request)
{
	put_head(buf, BLOCKS_KIND, request);
}

void
snapshot_note_add_blocks(StringInfo buf, Oid relid, uint32 first, uint32 end,
						 uint64 rows)
{
	appendStringInfo(buf, "%u %u %u " UINT64_FORMAT "\n", relid, first, end,
					 rows);
}

void
snapshot_note_table(StringInfo buf, const char *request, const List *cursor,
					uint64 rows, uint64 ranges, bool done)
{
	ListCell   *cell;

	put_head(buf, TABLE_KIND, request);
	appendStringInfo(buf, UINT64_FORMAT " " UINT64_FORMAT " %d %d\n", rows,
					 ranges, done, list_length(cursor));
	foreach(cell, cursor)
		put_text(buf, lfirst(cell));
}

/* ---- reading ---- */

/* The character that has to come next. */
static void
take_char(NoteReader *reader, char expected)
{
	if (!reader->damaged && *reader->next == expected)
		reader->next++;
	else
		reader->damaged = true;
}

static uint64
take_number(NoteReader *reader)
{
	char	   *end;
	uint64		number;

	if (reader->damaged || *reader->next < '0' || *reader->next > '9')
	{
		reader->damaged = true;
		return 0;
	}
	errno = 0;
	number = strtou64(reader->next, &end, 10);
	reader->damaged |= errno != 0;
	reader->next = end;
	return number;
}

/* A text with its length in front, palloc'd; NULL where there is none. */
static char *
take_text(NoteReader *reader)
{
	uint64		len = take_number(reader);
	char	   *text;

	take_char(reader, ':');
	if (reader->damaged || len > (uint64) (reader->end - reader->next) ||
		strnlen(reader->next, len) != len)
	{
		reader->damaged = true;
		return NULL;
	}
	text = pnstrdup(reader->next, len);
	reader->next += len;
	take_char(reader, '\n');
	return text;
}

static bool
at_end(const NoteReader *reader)
{
	return reader->damaged || reader->next >= reader->end;
}

static SnapshotTable *
find_table(const SnapshotJob *job, Oid relid)
{
	ListCell   *cell;

	foreach(cell, job->tables)
		if (((SnapshotTable *) lfirst(cell))->relid == relid)
			return lfirst(cell);
	return NULL;
}

static bool
is_unfinished(const SnapshotTable *table)
{
	return table->state == SNAPSHOT_TABLE_WAITING ||
		table->state == SNAPSHOT_TABLE_READING;
}

static SnapshotNoteUse
take_blocks(NoteReader *reader, SnapshotProgress *progress, SnapshotJob *job)
{
	while (!at_end(reader))
	{
		uint64		relid = take_number(reader);
		uint64		first;
		uint64		end;
		uint64		rows;
		SnapshotTable *table;

		take_char(reader, ' ');
		first = take_number(reader);
		take_char(reader, ' ');
		end = take_number(reader);
		take_char(reader, ' ');
		rows = take_number(reader);
		take_char(reader, '\n');
		if (reader->damaged)
			break;
		table = find_table(job, (Oid) relid);
		if (table == NULL || !is_unfinished(table) ||
			snapshot_blocks_have(table->blocks, table->nblocks,
								 (uint32) first))
			continue;
		snapshot_table_add_blocks(progress, table, (uint32) first,
								  (uint32) end);
		table->rows += rows;
		table->ranges++;
	}
	return SNAPSHOT_NOTE_USED;
}

/*
 * Rows only grow.  A file that knows of more was written when delivery was at
 * least once, and the note before that.
 */
static SnapshotNoteUse
take_table(NoteReader *reader, SnapshotProgress *progress,
		   SnapshotTable *table)
{
	uint64		rows = take_number(reader);
	uint64		ranges;
	uint64		done;
	uint64		ncursor;
	List	   *cursor = NIL;

	take_char(reader, ' ');
	ranges = take_number(reader);
	take_char(reader, ' ');
	done = take_number(reader);
	take_char(reader, ' ');
	ncursor = take_number(reader);
	take_char(reader, '\n');
	if (reader->damaged || table == NULL || !is_unfinished(table) ||
		table->rows > rows)
		return SNAPSHOT_NOTE_STALE;

	/* the lists of a table belong to the progress */
	for (uint64 i = 0; i < ncursor && !reader->damaged; i++)
	{
		char	   *text = take_text(reader);
		MemoryContext old = MemoryContextSwitchTo(progress->context);

		if (text != NULL)
			cursor = lappend(cursor, pstrdup(text));
		MemoryContextSwitchTo(old);
	}
	if (reader->damaged)
	{
		list_free_deep(cursor);
		return SNAPSHOT_NOTE_STALE;
	}
	if (cursor != NIL)
	{
		list_free_deep(table->cursor);
		table->cursor = cursor;
	}
	table->rows = rows;
	table->ranges = ranges;
	if (done)
	{
		table->state = SNAPSHOT_TABLE_DONE;
		table->ended_at = GetCurrentTimestamp();
	}
	return SNAPSHOT_NOTE_USED;
}

/* The job that the note is of, if it is not over. */
static SnapshotJob *
find_job(NoteReader *reader, SnapshotProgress *progress, const char *kind)
{
	SnapshotJob *job;
	char	   *request;

	while (*kind != '\0')
		take_char(reader, *kind++);
	take_char(reader, ' ');
	if (take_number(reader) != NOTE_VERSION)
		reader->damaged = true;
	take_char(reader, '\n');
	request = take_text(reader);
	if (request == NULL)
		return NULL;
	job = snapshot_progress_find(progress, 0, request);
	return job != NULL && job->ended_at == 0 ? job : NULL;
}

static bool
has_prefix(const char *key, size_t key_len, const char *prefix)
{
	return key_len > strlen(prefix) &&
		memcmp(key, prefix, strlen(prefix)) == 0;
}

SnapshotNoteUse
snapshot_note_apply(SnapshotProgress *progress, const char *key,
					size_t key_len, const char *value, size_t value_len,
					SnapshotJob **job, SnapshotTable **table)
{
	bool		blocks = has_prefix(key, key_len, BLOCKS_PREFIX);
	NoteReader	reader = {0};
	SnapshotNoteUse use = SNAPSHOT_NOTE_STALE;

	*table = NULL;
	if (value == NULL || (!blocks && !has_prefix(key, key_len, TABLE_PREFIX)))
		return SNAPSHOT_NOTE_NONE;
	reader.next = pnstrdup(value, value_len);
	reader.end = reader.next + strlen(reader.next);
	*job = find_job(&reader, progress, blocks ? BLOCKS_KIND : TABLE_KIND);
	if (*job != NULL && blocks)
		use = take_blocks(&reader, progress, *job);
	else if (*job != NULL)
	{
		char	   *name = pnstrdup(key, key_len);

		*table = find_table(*job, (Oid) strtoul(strrchr(name, '/') + 1, NULL,
												10));
		use = take_table(&reader, progress, *table);
	}
	if (reader.damaged)
		ereport(WARNING,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("a note of a snapshot in Kafka is damaged"),
				 errdetail("Its key is \"%.*s\". Rows that it was about may be sent again.",
						   (int) key_len, key)));
	return use;
}
