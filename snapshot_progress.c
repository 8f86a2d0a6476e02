/*
 * snapshot_progress.c
 *		What is known of a stream's snapshots: asked for, under way, over.
 *
 * The files are JSON, one object each, in plain ASCII: a byte of a text that
 * is not ASCII is written as the character of that number, whatever encoding
 * it is of, and the file says which.  So any text of any server encoding
 * comes back as it was, also one that is not valid, and writing needs no
 * conversion, which a process may not be able to look up at that moment.
 *
 * The last member is a checksum of everything before it.
 *
 * Writing is by hand rather than by jansson, because the file is written
 * often, and because nothing of it must be freed.
 */
#include "postgres.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "access/xact.h"
#include "catalog/namespace.h"
#include "common/pg_prng.h"
#include "common/string.h"
#include "foreign.h"
#include "kill_point.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "port/pg_bitutils.h"
#include "port/pg_crc32c.h"
#include "slot_file.h"
#include "snapshot_progress.h"
#include "storage/fd.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define FILE_VERSION		1
#define REQUEST_PREFIX		"wal2kafka.request."
#define REQUEST_ID_LEN		16	/* hexadecimal digits */
#define ENDED_JOBS_KEPT		20

/* What a writer that died has left is removed after this time. */
#define TMP_FILE_SECS		86400

/* The end of a file: ,"crc":"01234567"} and a newline. */
#define CRC_KEY				",\"crc\":\""
#define CRC_LEN				(sizeof(CRC_KEY) - 1 + 8 + 3)

/* A value that is read; the first problem is kept. */
typedef struct FileReader
{
	int			encoding;		/* of texts in the file */
	const char *problem;		/* NULL: none yet */
} FileReader;

static const char *const table_state_names[] = {
	[SNAPSHOT_TABLE_WAITING] = "waiting",
	[SNAPSHOT_TABLE_READING] = "reading",
	[SNAPSHOT_TABLE_DONE] = "done",
	[SNAPSHOT_TABLE_FAILED] = "failed",
	[SNAPSHOT_TABLE_GONE] = "gone",
	[SNAPSHOT_TABLE_CANCELLED] = "cancelled",
};

static const char *const kind_names[] = {
	[SNAPSHOT_KIND_INITIAL] = "initial",
	[SNAPSHOT_KIND_RESTART] = "restart",
	[SNAPSHOT_KIND_AD_HOC] = "ad_hoc",
	[SNAPSHOT_KIND_SIGNAL] = "signal",
	[SNAPSHOT_KIND_NEW_TABLE] = "new_table",
};

static const char *const command_names[] = {
	[SNAPSHOT_REQUEST] = "snapshot",
	[SNAPSHOT_PAUSE] = "pause",
	[SNAPSHOT_RESUME] = "resume",
	[SNAPSHOT_CANCEL] = "cancel",
};

const char *
snapshot_table_state_name(SnapshotTableState state)
{
	return table_state_names[state];
}

const char *
snapshot_kind_name(SnapshotKind kind)
{
	return kind_names[kind];
}

static pg_crc32c
text_crc(const char *text, size_t len)
{
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, text, len);
	FIN_CRC32C(crc);
	return crc;
}

/* ------------------------------------------------------------------------
 * Writing
 *
 * A member whose value is its type's zero is left out.
 * ------------------------------------------------------------------------
 */

static void
put_string(StringInfo buf, const char *text)
{
	appendStringInfoChar(buf, '"');
	for (const unsigned char *p = (const unsigned char *) text; *p; p++)
	{
		if (*p < ' ' || *p >= 0x7f)
			appendStringInfo(buf, "\\u%04x", *p);
		else
		{
			if (*p == '"' || *p == '\\')
				appendStringInfoChar(buf, '\\');
			appendStringInfoChar(buf, *p);
		}
	}
	appendStringInfoChar(buf, '"');
}

/* Begin another element of an object or array. */
static void
put_comma(StringInfo buf)
{
	char		last = buf->data[buf->len - 1];

	if (last != '{' && last != '[')
		appendStringInfoChar(buf, ',');
}

static void
put_key(StringInfo buf, const char *key)
{
	put_comma(buf);
	appendStringInfo(buf, "\"%s\":", key);
}

/* Unsigned numbers, too: JSON's have 64 bits with a sign here. */
static void
put_int(StringInfo buf, const char *key, int64 value)
{
	if (value == 0)
		return;
	put_key(buf, key);
	appendStringInfo(buf, INT64_FORMAT, value);
}

static void
put_flag(StringInfo buf, const char *key, bool value)
{
	if (!value)
		return;
	put_key(buf, key);
	appendStringInfoString(buf, "true");
}

static void
put_text(StringInfo buf, const char *key, const char *value)
{
	if (value == NULL)
		return;
	put_key(buf, key);
	put_string(buf, value);
}

static void
put_lsn(StringInfo buf, const char *key, XLogRecPtr lsn)
{
	if (XLogRecPtrIsInvalid(lsn))
		return;
	put_key(buf, key);
	appendStringInfo(buf, "\"%X/%X\"", LSN_FORMAT_ARGS(lsn));
}

static void
put_blocks(StringInfo buf, const SnapshotBlocks *blocks, int nblocks)
{
	if (nblocks == 0)
		return;
	put_key(buf, "blocks");
	appendStringInfoChar(buf, '[');
	for (int i = 0; i < nblocks; i++)
		appendStringInfo(buf, "%s%u,%u", i > 0 ? "," : "",
						 blocks[i].first, blocks[i].end);
	appendStringInfoChar(buf, ']');
}

static void
put_table(StringInfo buf, const SnapshotTable *table)
{
	ListCell   *cell;

	put_comma(buf);
	appendStringInfoChar(buf, '{');
	put_int(buf, "relid", table->relid);
	put_text(buf, "schema", table->schema_name);
	put_text(buf, "table", table->table_name);
	put_text(buf, "state", table_state_names[table->state]);
	put_text(buf, "predicate", table->predicate);
	if (table->cursor != NIL)
	{
		put_key(buf, "cursor");
		appendStringInfoChar(buf, '[');
		foreach(cell, table->cursor)
		{
			put_comma(buf);
			put_string(buf, lfirst(cell));
		}
		appendStringInfoChar(buf, ']');
	}
	put_int(buf, "estimate", table->estimate);
	put_int(buf, "rows", table->rows);
	put_int(buf, "ranges", table->ranges);
	put_int(buf, "attempts", table->attempts);
	put_int(buf, "started_at", table->started_at);
	put_int(buf, "ended_at", table->ended_at);
	put_int(buf, "active_ms", table->active_ms);
	put_text(buf, "error", table->error);
	put_text(buf, "hint", table->hint);
	put_int(buf, "storage", table->storage);
	put_blocks(buf, table->blocks, table->nblocks);
	appendStringInfoChar(buf, '}');
}

static void
put_tables(StringInfo buf, const List *tables)
{
	ListCell   *cell;

	put_key(buf, "tables");
	appendStringInfoChar(buf, '[');
	foreach(cell, tables)
		put_table(buf, lfirst(cell));
	appendStringInfoChar(buf, ']');
}

static void
put_job(StringInfo buf, const SnapshotJob *job)
{
	put_comma(buf);
	appendStringInfoChar(buf, '{');
	put_int(buf, "id", job->id);
	put_text(buf, "kind", kind_names[job->kind]);
	put_text(buf, "request", job->request);
	put_text(buf, "signal_id", job->signal_id);
	put_flag(buf, "paused", job->paused);
	put_int(buf, "requested_at", job->requested_at);
	put_int(buf, "ended_at", job->ended_at);
	put_lsn(buf, "consistent_point", job->consistent_point);
	put_int(buf, "xmin", job->xmin);
	put_text(buf, "seen", job->seen);
	put_int(buf, "readers", job->readers);
	put_tables(buf, job->tables);
	appendStringInfoChar(buf, '}');
}

static void
begin_file(StringInfo buf)
{
	initStringInfo(buf);
	appendStringInfo(buf, "{\"version\":%d", FILE_VERSION);
	put_text(buf, "encoding", GetDatabaseEncodingName());
}

/*
 * End the object, and write it, durably, to a file that is not yet the one
 * that is meant.
 */
static void
write_tmp_file(StringInfo buf, const char *slot_name, const char *file)
{
	appendStringInfo(buf, CRC_KEY "%08x\"}\n", text_crc(buf->data, buf->len));
	slot_file_prepare(slot_name, file, buf->data, buf->len);
}

static void
rename_file(const char *slot_name, const char *file, int elevel)
{
	KILL_POINT("progress_file_written");
	slot_file_publish(slot_name, file, elevel);
	KILL_POINT("progress_file_renamed");
}

/* ------------------------------------------------------------------------
 * Reading
 * ------------------------------------------------------------------------
 */

static void
note_problem(FileReader *reader, const char *format, const char *key)
{
	if (reader->problem == NULL)
		reader->problem = psprintf(format, key);
}

/*
 * Convert a text of a database with another encoding, in place where that is
 * possible.  What cannot be converted is for a view to show, not for a worker
 * to use, so question marks do.
 */
static char *
convert_text(char *text, int encoding)
{
	int			len = strlen(text);
	Oid			proc = InvalidOid;

	if (encoding == GetDatabaseEncoding() || pg_is_ascii(text))
		return text;
	if (IsTransactionState())
		proc = FindDefaultConversionProc(encoding, GetDatabaseEncoding());
	if (OidIsValid(proc))
	{
		int			size = len * MAX_CONVERSION_GROWTH + 1;
		char	   *converted = palloc(size);

		if (pg_do_encoding_conversion_buf(proc, encoding,
										  GetDatabaseEncoding(),
										  (unsigned char *) text, len,
										  (unsigned char *) converted, size,
										  true) == len)
			return converted;
	}
	for (char *p = text; *p != '\0'; p++)
		if (IS_HIGHBIT_SET(*p))
			*p = '?';
	return text;
}

/* A string's bytes.  jansson has made characters of them, which are UTF-8. */
static char *
decode_string(FileReader *reader, json_t *value, const char *key)
{
	const unsigned char *p;
	char	   *result;
	char	   *end;

	if (!json_is_string(value))
	{
		note_problem(reader, "Member \"%s\" is not a text.", key);
		return pstrdup("");
	}
	p = (const unsigned char *) json_string_value(value);
	result = end = palloc(strlen((const char *) p) + 1);
	while (*p != '\0')
	{
		if (!IS_HIGHBIT_SET(*p))
			*end++ = *p++;
		else if (*p <= 0xC3)
		{
			*end++ = (p[0] << 6) | (p[1] & 0x3F);
			p += 2;
		}
		else
		{
			note_problem(reader, "Member \"%s\" has a wrong character.", key);
			break;
		}
	}
	*end = '\0';
	return convert_text(result, reader->encoding);
}

/* NULL if there is none. */
static char *
get_text(FileReader *reader, json_t *object, const char *key)
{
	json_t	   *value = json_object_get(object, key);

	return value ? decode_string(reader, value, key) : NULL;
}

static char *
get_needed_text(FileReader *reader, json_t *object, const char *key)
{
	char	   *text = get_text(reader, object, key);

	if (text == NULL)
	{
		note_problem(reader, "Member \"%s\" is missing.", key);
		text = pstrdup("");
	}
	return text;
}

static int64
get_int(FileReader *reader, json_t *object, const char *key)
{
	json_t	   *value = json_object_get(object, key);

	if (value != NULL && !json_is_integer(value))
		note_problem(reader, "Member \"%s\" is not a number.", key);
	return json_integer_value(value);
}

static bool
get_flag(FileReader *reader, json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

static XLogRecPtr
get_lsn(FileReader *reader, json_t *object, const char *key)
{
	char	   *text = get_text(reader, object, key);
	uint32		high;
	uint32		low;

	if (text == NULL)
		return InvalidXLogRecPtr;
	if (sscanf(text, "%X/%X", &high, &low) != 2)
	{
		note_problem(reader, "Member \"%s\" is not a position.", key);
		return InvalidXLogRecPtr;
	}
	return ((XLogRecPtr) high) << 32 | low;
}

/* A name from a table of such; its index. */
static int
get_name(FileReader *reader, json_t *object, const char *key,
		 const char *const *names, int nnames)
{
	const char *value = json_string_value(json_object_get(object, key));

	for (int i = 0; value != NULL && i < nnames; i++)
		if (strcmp(value, names[i]) == 0)
			return i;
	note_problem(reader, "Member \"%s\" is missing or not known.", key);
	return 0;
}

static json_t *
get_array(FileReader *reader, json_t *object, const char *key)
{
	json_t	   *value = json_object_get(object, key);

	if (value != NULL && !json_is_array(value))
		note_problem(reader, "Member \"%s\" is not an array.", key);
	return value;
}

/* Room for so many; grows by doubling, see snapshot_table_add_blocks(). */
static Size
blocks_size(int nblocks)
{
	return pg_nextpower2_32(nblocks) * sizeof(SnapshotBlocks);
}

static void
get_blocks(FileReader *reader, json_t *object, SnapshotTable *table)
{
	json_t	   *array = get_array(reader, object, "blocks");
	uint32		last = 0;

	table->nblocks = json_array_size(array) / 2;
	if (table->nblocks == 0)
		return;
	table->blocks = palloc(blocks_size(table->nblocks));
	for (int i = 0; i < table->nblocks; i++)
	{
		SnapshotBlocks *blocks = &table->blocks[i];

		blocks->first = json_integer_value(json_array_get(array, 2 * i));
		blocks->end = json_integer_value(json_array_get(array, 2 * i + 1));
		if (blocks->first < last || blocks->end <= blocks->first)
			note_problem(reader, "Member \"%s\" is not in order.", "blocks");
		last = blocks->end;
	}
}

static SnapshotTable *
get_table(FileReader *reader, json_t *object)
{
	SnapshotTable *table = palloc0(sizeof(SnapshotTable));
	json_t	   *cursor = get_array(reader, object, "cursor");
	json_t	   *value;
	size_t		i;

	table->relid = get_int(reader, object, "relid");
	table->schema_name = get_needed_text(reader, object, "schema");
	table->table_name = get_needed_text(reader, object, "table");
	table->state = get_name(reader, object, "state", table_state_names,
							lengthof(table_state_names));
	table->predicate = get_text(reader, object, "predicate");
	json_array_foreach(cursor, i, value)
		table->cursor = lappend(table->cursor,
								decode_string(reader, value, "cursor"));
	table->estimate = get_int(reader, object, "estimate");
	table->rows = get_int(reader, object, "rows");
	table->ranges = get_int(reader, object, "ranges");
	table->attempts = get_int(reader, object, "attempts");
	table->started_at = get_int(reader, object, "started_at");
	table->ended_at = get_int(reader, object, "ended_at");
	table->active_ms = get_int(reader, object, "active_ms");
	table->error = get_text(reader, object, "error");
	table->hint = get_text(reader, object, "hint");
	table->storage = get_int(reader, object, "storage");
	get_blocks(reader, object, table);
	return table;
}

static List *
get_tables(FileReader *reader, json_t *object)
{
	json_t	   *array = get_array(reader, object, "tables");
	List	   *tables = NIL;
	json_t	   *value;
	size_t		i;

	json_array_foreach(array, i, value)
		tables = lappend(tables, get_table(reader, value));
	return tables;
}

static SnapshotJob *
get_job(FileReader *reader, json_t *object)
{
	SnapshotJob *job = palloc0(sizeof(SnapshotJob));

	job->id = get_int(reader, object, "id");
	job->kind = get_name(reader, object, "kind", kind_names,
						 lengthof(kind_names));
	job->request = get_needed_text(reader, object, "request");
	job->signal_id = get_text(reader, object, "signal_id");
	job->paused = get_flag(reader, object, "paused");
	job->requested_at = get_int(reader, object, "requested_at");
	job->ended_at = get_int(reader, object, "ended_at");
	job->consistent_point = get_lsn(reader, object, "consistent_point");
	job->xmin = get_int(reader, object, "xmin");
	job->seen = get_text(reader, object, "seen");
	job->readers = get_int(reader, object, "readers");
	job->tables = get_tables(reader, object);
	return job;
}

static void
get_progress(FileReader *reader, json_t *object, SnapshotProgress *progress)
{
	json_t	   *known = get_array(reader, object, "known_tables");
	json_t	   *jobs = get_array(reader, object, "jobs");
	json_t	   *value;
	size_t		i;

	progress->next_id = get_int(reader, object, "next_id");
	progress->last_signal = get_lsn(reader, object, "last_signal");
	progress->last_signal_index = get_int(reader, object,
										  "last_signal_index");
	progress->tables_known = get_flag(reader, object, "tables_known");
	json_array_foreach(known, i, value)
		progress->known_tables = lappend_oid(progress->known_tables,
											 json_integer_value(value));
	json_array_foreach(jobs, i, value)
		progress->jobs = lappend(progress->jobs, get_job(reader, value));
}

/*
 * The file's bytes, in CurrentMemoryContext, with a NUL behind; NULL if there
 * is no such file.
 */
static char *
read_file(const char *path, size_t *len)
{
	int			fd = OpenTransientFile(path, O_RDONLY | PG_BINARY);
	StringInfoData buf;
	ssize_t		n;

	if (fd < 0)
	{
		if (errno == ENOENT)
			return NULL;
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open file \"%s\": %m", path)));
	}
	initStringInfo(&buf);
	do
	{
		enlargeStringInfo(&buf, 65536);
		n = read(fd, buf.data + buf.len, 65536);
		if (n > 0)
			buf.len += n;
	} while (n > 0 || (n < 0 && errno == EINTR));
	if (n < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read file \"%s\": %m", path)));
	CloseTransientFile(fd);
	buf.data[buf.len] = '\0';
	*len = buf.len;
	return buf.data;
}

/*
 * The object in a file's bytes, for the caller to own; NULL, with a problem,
 * where they are not what write_tmp_file() wrote.
 */
static json_t *
parse_file(FileReader *reader, const char *text, size_t len)
{
	json_t	   *object;
	json_error_t error;
	const char *encoding;

	if (len < CRC_LEN ||
		strncmp(text + len - CRC_LEN, CRC_KEY, sizeof(CRC_KEY) - 1) != 0 ||
		strtoul(text + len - CRC_LEN + sizeof(CRC_KEY) - 1, NULL, 16) !=
		text_crc(text, len - CRC_LEN))
	{
		note_problem(reader, "Its %s is missing or wrong.", "checksum");
		return NULL;
	}
	object = json_loadb(text, len, 0, &error);
	if (object == NULL)
	{
		note_problem(reader, "It is not JSON: %s.", error.text);
		return NULL;
	}
	encoding = json_string_value(json_object_get(object, "encoding"));
	reader->encoding = encoding ? pg_char_to_encoding(encoding) : -1;
	if (get_int(reader, object, "version") != FILE_VERSION)
		note_problem(reader, "Its %s is another one.", "version");
	else if (!PG_VALID_BE_ENCODING(reader->encoding))
		note_problem(reader, "Its %s is not known.", "encoding");
	return object;
}

SnapshotProgress *
snapshot_progress_try_load(MemoryContext cxt, const char *slot_name,
						   const char **problem)
{
	MemoryContext result_cxt =
		AllocSetContextCreate(cxt, "wal2kafka snapshot progress",
							  ALLOCSET_DEFAULT_SIZES);
	MemoryContext temp_cxt =
		AllocSetContextCreate(result_cxt, "wal2kafka progress file",
							  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old_cxt = MemoryContextSwitchTo(temp_cxt);
	SnapshotProgress *progress;
	FileReader	reader = {0};
	OwnedJson  *root = owned_json();
	char		path[MAXPGPATH];
	char	   *text;
	size_t		len;

	progress = MemoryContextAllocZero(result_cxt, sizeof(SnapshotProgress));
	progress->context = result_cxt;
	progress->next_id = 1;
	slot_file_path(path, slot_name, SNAPSHOT_PROGRESS_FILE);
	text = read_file(path, &len);
	if (text != NULL)
		root->value = parse_file(&reader, text, len);

	MemoryContextSwitchTo(result_cxt);
	if (root->value != NULL && reader.problem == NULL)
		get_progress(&reader, root->value, progress);
	MemoryContextSwitchTo(old_cxt);

	if (reader.problem != NULL)
	{
		*problem = pstrdup(reader.problem);
		MemoryContextDelete(result_cxt);
		return NULL;
	}
	MemoryContextDelete(temp_cxt);
	return progress;
}

SnapshotProgress *
snapshot_progress_load(MemoryContext cxt, const char *slot_name)
{
	const char *problem;
	SnapshotProgress *progress = snapshot_progress_try_load(cxt, slot_name,
															&problem);

	if (progress == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("file \"pg_replslot/%s/%s\" is damaged", slot_name,
						SNAPSHOT_PROGRESS_FILE),
				 errdetail("%s", problem),
				 errhint(SNAPSHOT_DAMAGE_HINT)));
	return progress;
}

/* ------------------------------------------------------------------------
 * Saving
 * ------------------------------------------------------------------------
 */

static void
free_text(char *text)
{
	if (text != NULL)
		pfree(text);
}

static void
free_job(SnapshotJob *job)
{
	ListCell   *cell;

	foreach(cell, job->tables)
	{
		SnapshotTable *table = lfirst(cell);

		free_text(table->schema_name);
		free_text(table->table_name);
		free_text(table->predicate);
		free_text(table->error);
		free_text(table->hint);
		list_free_deep(table->cursor);
		if (table->blocks != NULL)
			pfree(table->blocks);
		pfree(table);
	}
	list_free(job->tables);
	free_text(job->request);
	free_text(job->signal_id);
	free_text(job->seen);
	pfree(job);
}

/*
 * Jobs that are over, except the last ones, leave the list; the memory of
 * those that left it at the last call goes now.
 */
static void
forget_jobs(SnapshotProgress *progress)
{
	MemoryContext old_cxt = MemoryContextSwitchTo(progress->context);
	int			excess = -ENDED_JOBS_KEPT;
	ListCell   *cell;

	foreach(cell, progress->forgotten)
		free_job(lfirst(cell));
	list_free(progress->forgotten);
	progress->forgotten = NIL;

	foreach(cell, progress->jobs)
		if (((SnapshotJob *) lfirst(cell))->ended_at != 0)
			excess++;
	foreach(cell, progress->jobs)
	{
		SnapshotJob *job = lfirst(cell);

		if (excess <= 0)
			break;
		if (job->ended_at == 0)
			continue;
		progress->forgotten = lappend(progress->forgotten, job);
		progress->jobs = foreach_delete_current(progress->jobs, cell);
		excess--;
	}
	MemoryContextSwitchTo(old_cxt);
}

void
snapshot_progress_save(SnapshotProgress *progress, const char *slot_name)
{
	forget_jobs(progress);
	snapshot_progress_write(progress, slot_name);
}

void
snapshot_progress_write(SnapshotProgress *progress, const char *slot_name)
{
	MemoryContext temp_cxt =
		AllocSetContextCreate(CurrentMemoryContext, "wal2kafka progress file",
							  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old_cxt = MemoryContextSwitchTo(temp_cxt);
	StringInfoData buf;
	ListCell   *cell;

	begin_file(&buf);
	put_int(&buf, "next_id", progress->next_id);
	put_lsn(&buf, "last_signal", progress->last_signal);
	put_int(&buf, "last_signal_index", progress->last_signal_index);
	put_flag(&buf, "tables_known", progress->tables_known);
	put_key(&buf, "known_tables");
	appendStringInfoChar(&buf, '[');
	foreach(cell, progress->known_tables)
	{
		put_comma(&buf);
		appendStringInfo(&buf, "%u", lfirst_oid(cell));
	}
	appendStringInfoChar(&buf, ']');
	put_key(&buf, "jobs");
	appendStringInfoChar(&buf, '[');
	foreach(cell, progress->jobs)
		put_job(&buf, lfirst(cell));
	appendStringInfoChar(&buf, ']');
	write_tmp_file(&buf, slot_name, SNAPSHOT_PROGRESS_FILE);
	rename_file(slot_name, SNAPSHOT_PROGRESS_FILE, ERROR);

	MemoryContextSwitchTo(old_cxt);
	MemoryContextDelete(temp_cxt);
}

/* ------------------------------------------------------------------------
 * Requests
 * ------------------------------------------------------------------------
 */

/*
 * Ids are in the order of time, so that requests are taken over in that
 * order.
 */
char *
snapshot_request_id(void)
{
	uint64		bits = ((uint64) GetCurrentTimestamp()) << 12 |
		(pg_prng_uint32(&pg_global_prng_state) & 0xFFF);

	return psprintf("%08X%08X", (uint32) (bits >> 32), (uint32) bits);
}

static bool
is_request_id(const char *id)
{
	return strlen(id) == REQUEST_ID_LEN &&
		strspn(id, "0123456789ABCDEF") == REQUEST_ID_LEN;
}

/*
 * The request's id need not be fit for a name of a file, and may be older
 * than this call: the file has an id of its own.
 */
char *
snapshot_request_prepare(const char *slot_name,
						 const SnapshotRequest *request)
{
	char	   *file = psprintf(REQUEST_PREFIX "%s", snapshot_request_id());
	StringInfoData buf;

	begin_file(&buf);
	put_text(&buf, "command", command_names[request->command]);
	put_text(&buf, "request", request->request);
	put_text(&buf, "kind", kind_names[request->kind]);
	put_text(&buf, "signal_id", request->signal_id);
	put_flag(&buf, "paused", request->paused);
	put_int(&buf, "id", request->id);
	put_text(&buf, "target", request->target);
	put_int(&buf, "requested_at", request->requested_at ?
			request->requested_at : GetCurrentTimestamp());
	put_tables(&buf, request->tables);
	write_tmp_file(&buf, slot_name, file);
	pfree(buf.data);
	return file;
}

void
snapshot_request_publish(const char *slot_name, const char *file, int elevel)
{
	rename_file(slot_name, file, elevel);
}

void
snapshot_request_discard(const char *slot_name, const char *file)
{
	char		path[MAXPGPATH];

	slot_file_tmp_path(path, slot_name, file);
	unlink(path);
}

char *
snapshot_request_write(const char *slot_name, const SnapshotRequest *request)
{
	SnapshotRequest copy = *request;

	if (copy.request == NULL)
		copy.request = snapshot_request_id();
	snapshot_request_publish(slot_name,
							 snapshot_request_prepare(slot_name, &copy),
							 ERROR);
	return pstrdup(copy.request);
}

/* In CurrentMemoryContext; NULL with a problem, or if it is not there. */
static SnapshotRequest *
read_request(FileReader *reader, const char *path)
{
	MemoryContext temp_cxt =
		AllocSetContextCreate(CurrentMemoryContext, "wal2kafka request file",
							  ALLOCSET_SMALL_SIZES);
	MemoryContext old_cxt = MemoryContextSwitchTo(temp_cxt);
	SnapshotRequest *request = NULL;
	OwnedJson  *root = owned_json();
	size_t		len;
	char	   *text = read_file(path, &len);

	if (text != NULL)
		root->value = parse_file(reader, text, len);
	MemoryContextSwitchTo(old_cxt);
	if (root->value != NULL && reader->problem == NULL)
	{
		json_t	   *object = root->value;

		request = palloc0(sizeof(SnapshotRequest));
		request->command = get_name(reader, object, "command", command_names,
									lengthof(command_names));
		request->request = get_needed_text(reader, object, "request");
		request->kind = get_name(reader, object, "kind", kind_names,
								 lengthof(kind_names));
		request->signal_id = get_text(reader, object, "signal_id");
		request->paused = get_flag(reader, object, "paused");
		request->id = get_int(reader, object, "id");
		request->target = get_text(reader, object, "target");
		request->requested_at = get_int(reader, object, "requested_at");
		request->tables = get_tables(reader, object);
	}
	if (reader->problem != NULL)
	{
		reader->problem = pstrdup(reader->problem);
		request = NULL;
	}
	MemoryContextDelete(temp_cxt);
	return request;
}

static int
compare_names(const ListCell *a, const ListCell *b)
{
	return strcmp(lfirst(a), lfirst(b));
}

/*
 * Names of the files of requests, the oldest first.  A folder that is not
 * there (any more) has none.  remove_old: also clean up behind writers that
 * died.
 */
static List *
request_files(const char *slot_name, bool remove_old)
{
	char		path[MAXPGPATH];
	List	   *files = NIL;
	DIR		   *dir;
	struct dirent *entry;

	slot_file_path(path, slot_name, "");
	dir = AllocateDir(path);
	if (dir == NULL && errno == ENOENT)
		return NIL;
	while ((entry = ReadDir(dir, path)) != NULL)
	{
		const char *id = entry->d_name + strlen(REQUEST_PREFIX);
		struct stat st;

		if (strncmp(entry->d_name, REQUEST_PREFIX,
					strlen(REQUEST_PREFIX)) != 0)
			continue;
		if (is_request_id(id))
			files = lappend(files, pstrdup(entry->d_name));
		else if (remove_old)
		{
			slot_file_path(path, slot_name, entry->d_name);
			if (stat(path, &st) == 0 &&
				st.st_mtime < time(NULL) - TMP_FILE_SECS)
				unlink(path);
			slot_file_path(path, slot_name, "");
		}
	}
	FreeDir(dir);
	list_sort(files, compare_names);
	return files;
}

List *
snapshot_requests_list(const char *slot_name)
{
	List	   *requests = NIL;
	ListCell   *cell;

	foreach(cell, request_files(slot_name, false))
	{
		FileReader	reader = {0};
		char		path[MAXPGPATH];
		SnapshotRequest *request;

		slot_file_path(path, slot_name, lfirst(cell));
		request = read_request(&reader, path);
		if (request != NULL)
			requests = lappend(requests, request);
	}
	return requests;
}

bool
snapshot_requests_take(SnapshotProgress *progress, const char *slot_name)
{
	MemoryContext temp_cxt =
		AllocSetContextCreate(CurrentMemoryContext, "wal2kafka requests",
							  ALLOCSET_SMALL_SIZES);
	MemoryContext old_cxt = MemoryContextSwitchTo(temp_cxt);
	List	   *files = request_files(slot_name, true);
	bool		found = files != NIL;
	char		path[MAXPGPATH];
	ListCell   *cell;

	foreach(cell, files)
	{
		FileReader	reader = {0};
		SnapshotRequest *request;

		slot_file_path(path, slot_name, lfirst(cell));
		request = read_request(&reader, path);
		if (request != NULL)
			(void) snapshot_progress_apply(progress, request);
		else if (reader.problem != NULL)
			ereport(WARNING,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("request of a snapshot in file \"%s\" is damaged, and dropped",
							path),
					 errdetail("%s", reader.problem)));
	}
	if (found)
		snapshot_progress_save(progress, slot_name);

	/* Those that a crash leaves are applied again, to no effect. */
	foreach(cell, files)
	{
		slot_file_path(path, slot_name, lfirst(cell));
		if (unlink(path) != 0 && errno != ENOENT)
			ereport(ERROR,
					(errcode_for_file_access(),
					 errmsg("could not remove file \"%s\": %m", path)));
	}
	MemoryContextSwitchTo(old_cxt);
	MemoryContextDelete(temp_cxt);
	return found;
}

/* ------------------------------------------------------------------------
 * Applying requests
 * ------------------------------------------------------------------------
 */

static bool
table_unfinished(const SnapshotTable *table)
{
	switch (table->state)
	{
		case SNAPSHOT_TABLE_WAITING:
		case SNAPSHOT_TABLE_READING:
			return true;
		case SNAPSHOT_TABLE_DONE:
		case SNAPSHOT_TABLE_FAILED:
		case SNAPSHOT_TABLE_GONE:
		case SNAPSHOT_TABLE_CANCELLED:
			return false;
	}
	return false;				/* not reached */
}

bool
snapshot_job_unfinished(const SnapshotJob *job)
{
	ListCell   *cell;

	foreach(cell, job->tables)
		if (table_unfinished(lfirst(cell)))
			return true;
	return false;
}

SnapshotJob *
snapshot_progress_find(SnapshotProgress *progress, uint64 id,
					   const char *request)
{
	ListCell   *cell;

	foreach(cell, progress->jobs)
	{
		SnapshotJob *job = lfirst(cell);

		if (request != NULL ? strcmp(job->request, request) == 0 :
			job->id == id)
			return job;
	}
	return NULL;
}

SnapshotTable *
snapshot_progress_add_table(SnapshotProgress *progress, SnapshotJob *job,
							Oid relid, const char *schema_name,
							const char *table_name, const char *predicate)
{
	MemoryContext old_cxt = MemoryContextSwitchTo(progress->context);
	SnapshotTable *table = palloc0(sizeof(SnapshotTable));

	table->relid = relid;
	table->schema_name = pstrdup(schema_name);
	table->table_name = pstrdup(table_name);
	table->state = SNAPSHOT_TABLE_WAITING;
	table->predicate = predicate ? pstrdup(predicate) : NULL;
	job->tables = lappend(job->tables, table);
	job->ended_at = 0;
	MemoryContextSwitchTo(old_cxt);
	return table;
}

/*
 * What was asked for once is not asked for again: a request that was applied
 * may come a second time after a crash.
 */
static SnapshotJob *
add_job(SnapshotProgress *progress, const SnapshotRequest *request)
{
	TimestampTz now = GetCurrentTimestamp();
	MemoryContext old_cxt;
	SnapshotJob *job;
	ListCell   *cell;

	if (request->request != NULL)
	{
		job = snapshot_progress_find(progress, 0, request->request);
		if (job != NULL)
			return job;
	}
	old_cxt = MemoryContextSwitchTo(progress->context);
	job = palloc0(sizeof(SnapshotJob));
	job->id = progress->next_id++;
	job->kind = request->kind;
	job->request = request->request ? pstrdup(request->request) :
		snapshot_request_id();
	job->signal_id = request->signal_id ? pstrdup(request->signal_id) : NULL;
	job->requested_at = request->requested_at ? request->requested_at : now;
	job->paused = request->paused;
	progress->jobs = lappend(progress->jobs, job);
	MemoryContextSwitchTo(old_cxt);

	foreach(cell, request->tables)
	{
		const SnapshotTable *table = lfirst(cell);

		snapshot_progress_add_table(progress, job, table->relid,
									table->schema_name, table->table_name,
									table->predicate)->estimate =
			table->estimate;
	}
	if (job->tables == NIL)
		job->ended_at = now;
	return job;
}

/* Is the table one of those, or are those all? */
static bool
in_tables(const SnapshotTable *table, const List *tables)
{
	ListCell   *cell;

	foreach(cell, tables)
	{
		const SnapshotTable *other = lfirst(cell);

		if (OidIsValid(other->relid) ? other->relid == table->relid :
			strcmp(other->schema_name, table->schema_name) == 0 &&
			strcmp(other->table_name, table->table_name) == 0)
			return true;
	}
	return tables == NIL;
}

static void
cancel_job(SnapshotJob *job, const List *tables)
{
	TimestampTz now = GetCurrentTimestamp();
	ListCell   *cell;

	foreach(cell, job->tables)
	{
		SnapshotTable *table = lfirst(cell);

		if (table_unfinished(table) && in_tables(table, tables))
		{
			table->state = SNAPSHOT_TABLE_CANCELLED;
			table->ended_at = now;
		}
	}
	if (!snapshot_job_unfinished(job))
		job->ended_at = now;
}

/* Pause, resume or cancel one that is not over. */
static void
steer_job(SnapshotJob *job, const SnapshotRequest *request)
{
	if (job->ended_at != 0)
		return;
	switch (request->command)
	{
		case SNAPSHOT_PAUSE:
			job->paused = true;
			break;
		case SNAPSHOT_RESUME:
			job->paused = false;
			break;
		case SNAPSHOT_CANCEL:
			cancel_job(job, request->tables);
			break;
		case SNAPSHOT_REQUEST:
			break;
	}
}

SnapshotJob *
snapshot_progress_apply(SnapshotProgress *progress,
						const SnapshotRequest *request)
{
	SnapshotJob *job;
	ListCell   *cell;

	if (request->command == SNAPSHOT_REQUEST)
		return add_job(progress, request);
	if (request->id == 0 && request->target == NULL)
	{
		foreach(cell, progress->jobs)
			steer_job(lfirst(cell), request);
		return NULL;
	}
	job = snapshot_progress_find(progress, request->id, request->target);
	if (job != NULL)
		steer_job(job, request);
	else
		ereport(WARNING,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("there is no snapshot %s to %s",
						request->target ? request->target :
						psprintf(UINT64_FORMAT, request->id),
						command_names[request->command])));
	return job;
}

/* ------------------------------------------------------------------------
 * Blocks
 * ------------------------------------------------------------------------
 */

/* Index of the first entry that ends behind the block. */
static int
find_blocks(const SnapshotBlocks *blocks, int nblocks, uint32 block)
{
	int			low = 0;
	int			high = nblocks;

	while (low < high)
	{
		int			middle = (low + high) / 2;

		if (blocks[middle].end > block)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

bool
snapshot_blocks_have(const SnapshotBlocks *blocks, int nblocks, uint32 block)
{
	int			i = find_blocks(blocks, nblocks, block);

	return i < nblocks && blocks[i].first <= block;
}

void
snapshot_table_add_blocks(SnapshotProgress *progress, SnapshotTable *table,
						  uint32 first, uint32 end)
{
	SnapshotBlocks *blocks = table->blocks;
	int			n = table->nblocks;
	int			from;
	int			to;

	if (first >= end)
		return;

	/* entries [from, to) touch the new one and are joined with it */
	from = first > 0 ? find_blocks(blocks, n, first - 1) : 0;
	for (to = from; to < n && blocks[to].first <= end; to++)
	{
		first = Min(first, blocks[to].first);
		end = Max(end, blocks[to].end);
	}
	if (from == to)
	{
		if (n == 0)
			blocks = MemoryContextAlloc(progress->context, blocks_size(1));
		else if (blocks_size(n + 1) > blocks_size(n))
			blocks = repalloc(blocks, blocks_size(n + 1));
		table->blocks = blocks;
	}
	memmove(&blocks[from + 1], &blocks[to],
			(n - to) * sizeof(SnapshotBlocks));
	blocks[from].first = first;
	blocks[from].end = end;
	table->nblocks = n + 1 - (to - from);
}
