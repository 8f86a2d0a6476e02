/*
 * shared_state.c
 *		The shared memory of wal2kafka.
 *
 * See shared_state.h for who writes what.  The array is sized by
 * wal2kafka.max_streams at server start; the counters of tables live in one
 * DSM segment a stream, because nobody knows beforehand how many there are.
 */
#include "postgres.h"

#include <signal.h>

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/pg_crc32c.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "settings.h"
#include "shared_state.h"

/* What a derived slot name begins with, and how much of a name it keeps. */
#define SLOT_PREFIX		"wal2kafka_"
#define SLOT_NAME_KEEP	40

typedef struct SharedState
{
	slock_t		mutex;			/* protects the launcher's latch only */
	Latch	   *launcher;		/* NULL: it does not run */
	pg_atomic_uint32 used;		/* entries before this one may be in use */
	StreamState streams[FLEXIBLE_ARRAY_MEMBER];
} SharedState;

const char *const wal2kafka_preload_version = WAL2KAFKA_VERSION;

static SharedState *shared;
static shmem_request_hook_type previous_shmem_request_hook;
static shmem_startup_hook_type previous_shmem_startup_hook;

/* ---- the segment ---- */

int
shared_state_size(void)
{
	return wal2kafka_settings.max_streams + SPARE_STREAMS;
}

static Size
segment_size(void)
{
	return add_size(offsetof(SharedState, streams),
					mul_size(shared_state_size(), sizeof(StreamState)));
}

static void
request_shmem(void)
{
	if (previous_shmem_request_hook)
		previous_shmem_request_hook();
	RequestAddinShmemSpace(segment_size());
}

static void
startup_shmem(void)
{
	bool		found;

	if (previous_shmem_startup_hook)
		previous_shmem_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("wal2kafka", segment_size(), &found);
	if (!found)
	{
		memset(shared, 0, segment_size());
		SpinLockInit(&shared->mutex);
		pg_atomic_init_u32(&shared->used, 0);
		for (int i = 0; i < shared_state_size(); i++)
		{
			StreamState *stream = &shared->streams[i];

			SpinLockInit(&stream->mutex);
			stream->tables = DSM_HANDLE_INVALID;
			for (int j = 0; j < STREAM_PLACES; j++)
				stream->places[j] = DSM_HANDLE_INVALID;
			pg_atomic_init_u32(&stream->asleep, 0);
			pg_atomic_init_u64(&stream->async_commit_lsn, 0);
			for (int j = 0; j < LATENCY_BUCKETS; j++)
				pg_atomic_init_u64(&stream->latency[j], 0);
		}
	}
	LWLockRelease(AddinShmemInitLock);
}

void
shared_state_init(void)
{
	previous_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = request_shmem;
	previous_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = startup_shmem;
}

bool
shared_state_available(void)
{
	return shared != NULL;
}

StreamState *
shared_state_stream(int i)
{
	Assert(i >= 0 && i < shared_state_size());
	return &shared->streams[i];
}

StreamState *
shared_state_find(const char *name)
{
	const char *cursor = name;
	const char *problem;
	StreamName	wanted;

	if (!settings_next_stream(&cursor, &wanted, &problem) || *cursor != '\0')
		return NULL;
	for (int i = 0; i < shared_state_size(); i++)
	{
		StreamState *stream = &shared->streams[i];
		bool		same;

		SpinLockAcquire(&stream->mutex);
		same = (stream->status != STREAM_UNUSED &&
				strcmp(stream->name, wanted.text) == 0);
		SpinLockRelease(&stream->mutex);
		if (same)
			return stream;
	}
	return NULL;
}

int
shared_state_used(void)
{
	return shared == NULL ? 0 : pg_atomic_read_u32(&shared->used);
}

void
shared_state_set_used(int n)
{
	pg_atomic_write_u32(&shared->used, n);
}

void
shared_state_set_launcher(Latch *latch)
{
	SpinLockAcquire(&shared->mutex);
	shared->launcher = latch;
	SpinLockRelease(&shared->mutex);
}

void
shared_state_wake_launcher(void)
{
	Latch	   *latch;

	SpinLockAcquire(&shared->mutex);
	latch = shared->launcher;
	SpinLockRelease(&shared->mutex);
	/* memory of a latch stays, so one that went meanwhile does no harm */
	if (latch != NULL)
		SetLatch(latch);
}

/* ---- the worker's side ---- */

static void
detach_worker(int code, Datum arg)
{
	StreamState *stream = (StreamState *) DatumGetPointer(arg);

	pg_atomic_write_u32(&stream->asleep, 0);
	SpinLockAcquire(&stream->mutex);
	if (stream->pid == MyProcPid)
	{
		stream->pid = 0;
		stream->latch = NULL;
		stream->claimed = false;
		stream->queue_messages = 0;
		stream->queue_bytes = 0;
	}
	SpinLockRelease(&stream->mutex);
	shared_state_wake_launcher();
}

StreamState *
shared_state_attach_worker(int i)
{
	StreamState *stream;
	pid_t		other;
	bool		mine;

	if (shared == NULL || i < 0 || i >= wal2kafka_settings.max_streams)
		elog(FATAL, "there is no stream %d", i);
	stream = &shared->streams[i];

	/*
	 * A launcher that was restarted may have started a second worker, while
	 * the first was on its way.
	 */
	SpinLockAcquire(&stream->mutex);
	other = stream->pid;
	mine = (other == 0 && stream->status == STREAM_STARTING);
	if (mine)
	{
		stream->pid = MyProcPid;
		stream->latch = MyLatch;
		stream->exit = STREAM_EXIT_NONE;
	}
	SpinLockRelease(&stream->mutex);
	if (!mine)
		ereport(FATAL,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 other != 0 ?
				 errmsg("stream has a worker already, with PID %d",
						(int) other) :
				 errmsg("stream was not meant to start")));

	before_shmem_exit(detach_worker, PointerGetDatum(stream));
	return stream;
}

void
stream_wake(StreamState *stream)
{
	Latch	   *latch;

	SpinLockAcquire(&stream->mutex);
	latch = stream->latch;
	SpinLockRelease(&stream->mutex);
	if (latch != NULL)
		SetLatch(latch);
}

void
stream_set_status(StreamState *stream, StreamStatus status)
{
	SpinLockAcquire(&stream->mutex);
	stream->status = status;
	stream->waiting_for = STREAM_WAIT_NOTHING;
	SpinLockRelease(&stream->mutex);
}

void
stream_set_waiting(StreamState *stream, StreamWait wait)
{
	bool		began;

	SpinLockAcquire(&stream->mutex);
	began = (stream->waiting_for == STREAM_WAIT_NOTHING &&
			 wait != STREAM_WAIT_NOTHING);
	stream->waiting_for = wait;
	SpinLockRelease(&stream->mutex);

	/* which then looks for settings that may help */
	if (began)
		shared_state_wake_launcher();
}

/*
 * Copy, cut at a character's boundary.
 */
static void
copy_text(char *buffer, const char *text)
{
	int			len = strlen(text);

	if (len >= STREAM_ERROR_LEN)
		len = pg_mbcliplen(text, len, STREAM_ERROR_LEN - 1);
	memcpy(buffer, text, len);
	buffer[len] = '\0';
}

void
stream_set_error(StreamState *stream, const char *message,
				 const char *detail, const char *hint)
{
	char		joined[STREAM_ERROR_LEN * 2];
	char		error[STREAM_ERROR_LEN];
	char		remedy[STREAM_ERROR_LEN];
	TimestampTz now = GetCurrentTimestamp();

	if (message == NULL)
		message = "unknown error";
	snprintf(joined, sizeof(joined), "%s%s%s", message, detail ? ": " : "",
			 detail ? detail : "");
	copy_text(error, joined);
	copy_text(remedy, hint ? hint : "");

	SpinLockAcquire(&stream->mutex);
	memcpy(stream->last_error, error, sizeof(error));
	memcpy(stream->last_error_hint, remedy, sizeof(remedy));
	stream->last_error_at = now;
	stream->errors++;
	SpinLockRelease(&stream->mutex);
}

/* ---- latency ---- */

static int64 latency_bounds[LATENCY_BUCKETS];	/* microseconds */

static void
compute_latency_bounds(void)
{
	double		bound = 16;

	if (latency_bounds[0] != 0)
		return;
	for (int i = 0; i < LATENCY_BUCKETS; i++, bound *= 1.25)
		latency_bounds[i] = (int64) bound;
}

void
stream_count_latency(StreamState *stream, int64 us)
{
	int			low = 0;
	int			high = LATENCY_BUCKETS - 1;

	compute_latency_bounds();
	while (low < high)
	{
		int			middle = (low + high) / 2;

		if (us <= latency_bounds[middle])
			high = middle;
		else
			low = middle + 1;
	}
	pg_atomic_fetch_add_u64(&stream->latency[low], 1);
}

double
stream_latency_percentile(StreamState *stream, double fraction)
{
	uint64		counts[LATENCY_BUCKETS];
	double		total = 0;
	double		rank;

	for (int i = 0; i < LATENCY_BUCKETS; i++)
	{
		counts[i] = pg_atomic_read_u64(&stream->latency[i]);
		total += counts[i];
	}
	if (total == 0)
		return -1;

	/* within a bucket as if its counts were spread evenly */
	compute_latency_bounds();
	rank = total * fraction;
	for (int i = 0; i < LATENCY_BUCKETS; i++)
	{
		double		lower = i == 0 ? 0 : latency_bounds[i - 1];

		if (counts[i] > 0 && rank <= counts[i])
			return lower + (latency_bounds[i] - lower) * rank / counts[i];
		rank -= counts[i];
	}
	return latency_bounds[LATENCY_BUCKETS - 1];
}

/* ---- counters of tables ---- */

static dsm_segment *
create_tables(int size)
{
	Size		bytes = add_size(offsetof(TableStatsArray, entries),
								 mul_size(size, sizeof(TableStats)));
	dsm_segment *segment = dsm_create(bytes, 0);
	TableStatsArray *tables = dsm_segment_address(segment);

	memset(tables, 0, bytes);
	tables->size = size;
	pg_atomic_init_u32(&tables->used, 0);
	dsm_pin_segment(segment);
	return segment;
}

TableStatsArray *
stream_attach_tables(StreamState *stream, int size)
{
	dsm_handle	old_handle = stream->tables;
	dsm_segment *old = NULL;
	dsm_segment *segment;
	TableStatsArray *old_tables = NULL;
	TableStatsArray *tables;

	if (old_handle != DSM_HANDLE_INVALID)
	{
		old = dsm_find_mapping(old_handle);
		if (old == NULL)
			old = dsm_attach(old_handle);
	}
	if (old != NULL)
	{
		dsm_pin_mapping(old);
		old_tables = dsm_segment_address(old);
		if (old_tables->size >= size)
			return old_tables;
	}

	/* new, or too small: the counts go on in a larger one */
	segment = create_tables(size);
	dsm_pin_mapping(segment);
	tables = dsm_segment_address(segment);
	if (old_tables != NULL)
	{
		uint32		used = pg_atomic_read_u32(&old_tables->used);

		memcpy(tables->entries, old_tables->entries,
			   used * sizeof(TableStats));
		pg_atomic_write_u32(&tables->used, used);
	}

	SpinLockAcquire(&stream->mutex);
	stream->tables = dsm_segment_handle(segment);
	SpinLockRelease(&stream->mutex);
	if (old != NULL)
		dsm_unpin_segment(old_handle);
	return tables;
}

TableStats *
stream_table(TableStatsArray *tables, Oid relid, const char *schema_name,
			 const char *table_name)
{
	uint32		used = pg_atomic_read_u32(&tables->used);
	TableStats *table = NULL;

	for (uint32 i = 0; i < used && table == NULL; i++)
		if (tables->entries[i].relid == relid &&
			(OidIsValid(relid) ||
			 strcmp(tables->entries[i].table_name, table_name) == 0))
			table = &tables->entries[i];

	if (table != NULL)
	{
		/* it may have been renamed */
		strlcpy(table->schema_name, schema_name, NAMEDATALEN);
		strlcpy(table->table_name, table_name, NAMEDATALEN);
		return table;
	}
	if (used == tables->size)
		return NULL;

	table = &tables->entries[used];
	memset(table, 0, sizeof(*table));
	table->relid = relid;
	strlcpy(table->schema_name, schema_name, NAMEDATALEN);
	strlcpy(table->table_name, table_name, NAMEDATALEN);
	pg_write_barrier();
	pg_atomic_write_u32(&tables->used, used + 1);
	return table;
}

/* ---- slots ---- */

/*
 * The hash is one that no platform and no version of the server changes:
 * another name of the slot would be a fresh start of the stream.
 */
void
stream_default_slot_name(const char *stream_name, const char *database,
						 const char *role, char *buf)
{
	char		kept[SLOT_NAME_KEEP + 1];
	bool		exact = (role[0] == '\0' &&
						 strlen(database) <= SLOT_NAME_KEEP);
	pg_crc32c	crc;

	strlcpy(kept, database, sizeof(kept));
	for (char *p = kept; *p != '\0'; p++)
		if (!((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') ||
			  *p == '_'))
		{
			*p = (*p >= 'A' && *p <= 'Z') ? pg_ascii_tolower(*p) : '_';
			exact = false;
		}

	if (exact)
	{
		snprintf(buf, NAMEDATALEN, SLOT_PREFIX "%s", kept);
		return;
	}
	INIT_CRC32C(crc);
	COMP_CRC32C(crc, stream_name, strlen(stream_name));
	FIN_CRC32C(crc);
	snprintf(buf, NAMEDATALEN, SLOT_PREFIX "%s_%08x", kept, crc);
}
