/*
 * incremental.c
 *		Snapshots while streaming: the streaming worker's side.
 *
 * A table that is to be read has a run.  A run gets a reader, a process of
 * its own, which reads range after range.  A range begins with a place: the
 * worker, between two records of the WAL, tells the reader where it is, and
 * what the reader then sees is the table at that very place.  From there on
 * the range is open.  Its rows may go out at any time before a later change of
 * the same table does; so they go out between records, a few ms at a time,
 * and when a change of the table comes by, the rest goes before it (the gate).
 *
 * Progress.  When a range is out, the key of its last row waits with a mark
 * of the delivery; when Kafka has acknowledged all up to that mark, it is the
 * table's cursor.  A reader that ends within a range, whatever the reason,
 * leaves rows that were true at the range's place, and another reader begins
 * again at the cursor, at a later place.  So there is no state to repair.
 *
 * Exactly once.  A Kafka transaction may end at any block of rows that was
 * sent, not only with a range.  So with each block comes how far it is, no
 * transaction ends within one, and each that ends has notes of how far each
 * table is with what it holds (snapshot_notes.h).  A start takes the notes
 * first; the file follows them.
 *
 * Crashes.  A reader that crashes takes the server with it.  So the number of
 * readers that a table had is durable before another starts, and forgotten
 * when a range of one is acknowledged.
 *
 * The decoding process never looks at the catalogs of now.  Which tables are
 * selected now tells a scout, a reader without a table.
 */
#include "postgres.h"

#include <signal.h>

#include "decoder.h"
#include "incremental.h"
#include "kill_point.h"
#include "miscadmin.h"
#include "notification.h"
#include "pgstat.h"
#include "place.h"
#include "postmaster/bgworker.h"
#include "relay.h"
#include "slot_state.h"
#include "snapshot_notes.h"
#include "snapshot_reader.h"
#include "storage/dsm.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* A range is read for so long; changes of its table may wait for its end. */
#define RANGE_MS			10

/*
 * Ranges of one reader that may be open: while what is left of one goes out
 * the next one is read.
 */
#define MAX_OPEN			2

/* Rows go out for so long, while there is WAL to decode, then it is decoded. */
#define SLICE_US			5000

/* The service looks around once in so many records. */
#define RECORDS_PER_LOOK	16

/* Requests are looked for at most this often. */
#define REQUEST_INTERVAL_MS 100

/* Progress is saved at most this often. */
#define SAVE_INTERVAL_MS	1000

/* Readers that end without a word in a row, before their table is given up. */
#define MAX_ATTEMPTS		3

/* What failed is tried again after 10 s, 20 s, ... */
#define RETRY_MS			1000
#define FIRST_DELAY_S		10
#define LAST_DELAY_S		300

/* A reader that is there is looked after this often, whatever it does. */
#define READER_INTERVAL_MS	100

/* Transactions that changed publications are looked after this often. */
#define LEAVING_INTERVAL_MS 10

/* When the gate has waited for so long, the view says so. */
#define LONG_WAIT_MS		1000

/* How it is with a reader. */
typedef enum ReaderState
{
	READER_RUNNING,
	READER_STOPPING,			/* gets no place any more */
	READER_OVER,				/* has said how it ended: "last" */
	READER_DEAD,				/* is gone, and had not said so */
} ReaderState;

struct Run;

/*
 * A process that reads, and what connects us with it.  In the worker's
 * memory; the segment is shared with the process.
 */
typedef struct Reader
{
	struct Run *run;			/* NULL: a scout, or its table was cancelled */
	Oid			relid;
	ReaderState state;
	ReaderReportKind last;		/* of READER_OVER */
	dsm_segment *segment;
	const ReaderTask *task;		/* in the segment */
	PlaceExchange *exchange;
	shm_mq_handle *queue;
	RelaySource *source;
	BackgroundWorkerHandle *handle;

	/* ranges that are open: their place was given, their end did not come */
	int			open;
	XLogRecPtr	place;			/* of the last one */
	uint64		counted;		/* rows of the range that comes in that were
								 * reported */

	/* what it said */
	char	   *message;		/* of READER_TABLE_FAILED */
	char	   *hint;
	List	   *selected;		/* of a scout: SnapshotTable */
} Reader;

/* A table that is being read, or will be tried again. */
typedef struct Run
{
	SnapshotJob *job;
	SnapshotTable *table;
	Reader	   *reader;			/* NULL: none now */
	bool		finished;		/* read, not acknowledged whole */
	uint64		skipped;
	TimestampTz active_since;	/* of the reader */
	TimestampTz noted_at;		/* last notification of progress */
	TimestampTz retry_at;		/* 0: at once */
	int			delay_s;		/* of the next failure; 0: there was none */

	/* how far it is with what was sent, for notes */
	bool		note_due;
	bool		sent_all;
	List	   *sent_cursor;	/* as in SnapshotTable */
	uint64		sent_rows;
	uint64		sent_ranges;
} Run;

/* A note that is in Kafka. */
typedef struct Note
{
	char	   *key;
	const SnapshotJob *job;
	const SnapshotTable *table; /* NULL: of an initial snapshot's blocks */
} Note;

/* A report that holds when everything up to the mark is acknowledged. */
typedef struct Due
{
	uint64		mark;
	Run		   *run;
	bool		range_end;
	bool		table_end;
	uint64		rows;
	List	   *cursor;			/* as in SnapshotTable */
} Due;

/* The last note of a key, as read at the start; in a hash table. */
#define NOTE_KEY_SIZE	256

/* So many are withdrawn before the stream goes on. */
#define NOTES_AT_ONCE	1000

typedef struct LatestNote
{
	char		key[NOTE_KEY_SIZE]; /* hash key */
	char	   *value;			/* NULL: withdrawn */
	size_t		value_len;
} LatestNote;

/* A job that is not over, as it was when it was last looked at. */
typedef struct LiveJob
{
	SnapshotJob *job;
	bool		paused;
	List	   *told;			/* tables whose cancelling was told of */
} LiveJob;

/*
 * The state of this process.  Everything that the pointers lead to is in
 * "context", the progress in a context of its own.
 */
typedef struct Incremental
{
	Delivery   *delivery;		/* NULL: not started */
	StreamState *stream;
	const Settings *settings;
	size_t		message_limit;	/* of Kafka; 0: not known */
	Notifier   *notifier;
	char		slot_name[NAMEDATALEN];
	MemoryContext context;
	MemoryContext scratch;		/* reset by each service */

	SnapshotProgress *progress;
	bool		unsaved;
	bool		urgent;			/* to be saved before anything is confirmed */
	TimestampTz saved_at;
	TimestampTz requests_at;	/* looked for */
	bool		requests_due;	/* it was too early to look */

	List	   *jobs;			/* LiveJob */
	List	   *runs;			/* Run */
	List	   *readers;		/* Reader */
	List	   *dues;			/* Due, by mark */
	List	   *notes;			/* Note */
	List	   *withdrawn;		/* char *: keys of notes that are of no use */
	bool		held;			/* incremental_hold() */
	bool		hold_logged;
	bool		let_go;			/* it just ended */
	TimestampTz start_at;		/* no process before that: there was none */
	bool		start_logged;
	TimestampTz drain_at;		/* WAL has its turn until then */
	bool		more;			/* there are rows that could go out */
	bool		draining;		/* just now */

	/* which tables are selected */
	Reader	   *scout;
	bool		scout_wanted;
	TimestampTz scout_at;		/* not before */
	bool		restart_wanted; /* a job of all tables */
	List	   *leaving;		/* transactions that changed publications */

	Run		   *failed;			/* sending its rows raised an error, ... */
	const char *failure;		/* ... this one */
} Incremental;

static Incremental inc;

bool		incremental_busy;

/* Readers with open ranges, for the gate. */
static Reader *opened[64];
static int	nopened;

static void finish_job(LiveJob *live);
static void take_requests(TimestampTz now);
static void forget_notes(void);

/* ---------------------------------------------------------------------
 * Jobs
 * --------------------------------------------------------------------- */

static void
save(void)
{
	forget_notes();
	snapshot_progress_save(inc.progress, inc.slot_name);
	inc.saved_at = GetCurrentTimestamp();
	inc.unsaved = false;
	inc.urgent = false;
}

static char *
keep(const char *text)
{
	return MemoryContextStrdup(inc.progress->context, text);
}

/* Lists last, whatever the current context is. */
static List *
append(List *list, void *item)
{
	MemoryContext old = MemoryContextSwitchTo(inc.context);

	list = lappend(list, item);
	MemoryContextSwitchTo(old);
	return list;
}

static void
replace_text(char **field, const char *text)
{
	if (*field != NULL)
		pfree(*field);
	*field = text != NULL && text[0] != '\0' ? keep(text) : NULL;
}

/* ---- notifications ---- */

/* Is it what Debezium calls an initial snapshot, too? */
static bool
is_initial(const SnapshotJob *job)
{
	return job->kind == SNAPSHOT_KIND_INITIAL ||
		job->kind == SNAPSHOT_KIND_RESTART;
}

static char *
table_name(const SnapshotTable *table)
{
	return psprintf("%s.%s", table->schema_name, table->table_name);
}

static void
append_table(StringInfo list, const SnapshotTable *table)
{
	appendStringInfo(list, "%s%s.%s", list->len > 0 ? "," : "",
					 table->schema_name, table->table_name);
}

/*
 * The tables of a job, as Debezium lists them: all of an initial snapshot,
 * else those that are not over, and the one that a notification is about.
 */
static char *
table_list(const SnapshotJob *job, const SnapshotTable *about)
{
	StringInfoData buf;
	ListCell   *cell;

	initStringInfo(&buf);
	foreach(cell, job->tables)
	{
		const SnapshotTable *table = lfirst(cell);

		if (is_initial(job) || table == about ||
			table->state == SNAPSHOT_TABLE_WAITING ||
			table->state == SNAPSHOT_TABLE_READING)
			append_table(&buf, table);
	}
	return buf.data;
}

static void
send_notification(const SnapshotJob *job, const char *type,
				  const NotificationData *data, int ndata)
{
	if (is_initial(job))
		notifier_send(inc.notifier, NULL, NOTIFICATION_INITIAL, type, data,
					  ndata);
	else
		notifier_send(inc.notifier,
					  job->signal_id ? job->signal_id : job->request,
					  NOTIFICATION_INCREMENTAL, type, data, ndata);
}

/* Tell of a job, with the list of its tables if it has one. */
static void
notify_job(const SnapshotJob *job, const char *type, char *list)
{
	NotificationData data = {"data_collections", list};

	send_notification(job, type, &data, list != NULL ? 1 : 0);
}

static void
notify_begun(const SnapshotJob *job)
{
	char	   *list;

	if (inc.notifier == NULL)
		return;
	list = table_list(job, NULL);
	notify_job(job, "STARTED", is_initial(job) ? NULL : list);
	notify_job(job, "DATA_COLLECTIONS_RESOLVED", list);
}

static void
notify_table_end(const SnapshotJob *job, const SnapshotTable *table,
				 const char *status)
{
	bool		failed = table->state != SNAPSHOT_TABLE_DONE;
	NotificationData data[5];
	int			n = 0;

	if (inc.notifier == NULL)
		return;
	data[n++] = (NotificationData) {"scanned_collection", table_name(table)};
	if (!is_initial(job) || !failed)
		data[n++] = (NotificationData) {"total_rows_scanned",
			psprintf(UINT64_FORMAT, table->rows)};
	if (!is_initial(job) && !failed && table->rows > 0)
		data[n++] = (NotificationData) {"total_rows",
			psprintf(UINT64_FORMAT, table->estimate)};
	if (!is_initial(job) || !failed)
		data[n++] = (NotificationData) {"data_collections",
			table_list(job, table)};
	data[n++] = (NotificationData) {"status", status};
	send_notification(job, "TABLE_SCAN_COMPLETED", data, n);
}

/*
 * Debezium tells of each chunk; we of ranges, but not more often than once a
 * second, and of an initial snapshot's tables when they begin.
 */
static void
notify_progress(Run *run)
{
	const SnapshotTable *table = run->table;
	TimestampTz now = GetCurrentTimestamp();
	NotificationData data[6];
	int			n = 0;
	StringInfoData key;
	ListCell   *cell;

	if (inc.notifier == NULL || now - run->noted_at < USECS_PER_SEC ||
		(is_initial(run->job) && run->noted_at != 0))
		return;
	run->noted_at = now;
	initStringInfo(&key);

	/* the first text says what key it is */
	foreach(cell, table->cursor)
		if (foreach_current_index(cell) > 0)
			appendStringInfo(&key, "%s%s",
							 foreach_current_index(cell) > 1 ? "," : "",
							 (char *) lfirst(cell));
	data[n++] = (NotificationData) {"current_collection_in_progress",
		table_name(table)};
	data[n++] = (NotificationData) {"data_collections",
		table_list(run->job, table)};
	if (!is_initial(run->job))
	{
		data[n++] = (NotificationData) {"maximum_key", "\"<null>\""};
		data[n++] = (NotificationData) {"last_processed_key", key.data};
		data[n++] = (NotificationData) {"total_rows",
			psprintf(UINT64_FORMAT, table->estimate)};
		data[n++] = (NotificationData) {"chunk_index",
			psprintf(UINT64_FORMAT, table->ranges)};
	}
	send_notification(run->job, "IN_PROGRESS", data, n);
}

/*
 * Tell of tables that were cancelled since the last call; false if there are
 * none.
 */
static bool
notify_cancelled(LiveJob *live)
{
	StringInfoData list;
	ListCell   *cell;

	initStringInfo(&list);
	foreach(cell, live->job->tables)
	{
		SnapshotTable *table = lfirst(cell);

		if (table->state != SNAPSHOT_TABLE_CANCELLED ||
			list_member_ptr(live->told, table))
			continue;
		live->told = append(live->told, table);
		append_table(&list, table);
	}
	if (list.len > 0)
		notify_job(live->job, "ABORTED",
				   is_initial(live->job) ? NULL : list.data);
	return list.len > 0;
}

/* ---- runs ---- */

static Run *
find_run(const SnapshotTable *table)
{
	ListCell   *cell;

	foreach(cell, inc.runs)
		if (((Run *) lfirst(cell))->table == table)
			return lfirst(cell);
	return NULL;
}

static bool
has_due(const Run *run)
{
	ListCell   *cell;

	foreach(cell, inc.dues)
		if (((Due *) lfirst(cell))->run == run)
			return true;
	return false;
}

static void
free_due(Due *due)
{
	list_free_deep(due->cursor);
	pfree(due);
}

/*
 * The table needs no reading any more.
 */
static void
drop_run(Run *run)
{
	ListCell   *cell;

	foreach(cell, inc.dues)
	{
		Due		   *due = lfirst(cell);

		if (due->run != run)
			continue;
		inc.dues = foreach_delete_current(inc.dues, cell);
		free_due(due);
	}
	if (run->reader != NULL)
	{
		run->reader->run = NULL;
		if (run->reader->state == READER_RUNNING)
			run->reader->state = READER_STOPPING;
	}
	inc.runs = list_delete_ptr(inc.runs, run);
	list_free_deep(run->sent_cursor);
	pfree(run);
}

static void
end_table(Run *run, SnapshotTableState state)
{
	run->table->state = state;
	run->table->ended_at = GetCurrentTimestamp();
	inc.urgent = true;
}

static void
complete_table(Run *run)
{
	SnapshotTable *table = run->table;
	double		seconds = table->active_ms / 1000.0;

	KILL_POINT("table_read");
	end_table(run, SNAPSHOT_TABLE_DONE);
	replace_text(&table->error, NULL);
	replace_text(&table->hint, NULL);
	ereport(LOG,
			(errhidecontext(true),
			 errmsg("stream \"%s\" has read table \"%s.%s\"",
					inc.stream->name, table->schema_name, table->table_name),
			 run->skipped > 0 ?
			 errdetail("It sent " UINT64_FORMAT " rows in %.3f s, %.0f in a second. " UINT64_FORMAT " rows had been sent before.",
					   table->rows, seconds,
					   seconds > 0 ? table->rows / seconds : 0.0,
					   run->skipped) :
			 errdetail("It sent " UINT64_FORMAT " rows in %.3f s, %.0f in a second.",
					   table->rows, seconds,
					   seconds > 0 ? table->rows / seconds : 0.0)));
	notify_table_end(run->job, table,
					 table->rows > 0 || is_initial(run->job) ? "SUCCEEDED" :
					 "EMPTY");
	drop_run(run);
}

static void
give_up_table(Run *run, SnapshotTableState state, const char *message,
			  const char *hint)
{
	SnapshotTable *table = run->table;

	end_table(run, state);
	replace_text(&table->error, message);
	replace_text(&table->hint, hint);
	ereport(state == SNAPSHOT_TABLE_GONE ? LOG : WARNING,
			(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
			 errhidecontext(true),
			 errmsg("stream \"%s\" has given up its snapshot of table \"%s.%s\": %s",
					inc.stream->name, table->schema_name, table->table_name,
					message),
			 hint != NULL && hint[0] != '\0' ? errhint("%s", hint) : 0));
	notify_table_end(run->job, table,
					 state == SNAPSHOT_TABLE_GONE && !is_initial(run->job) ?
					 "UNKNOWN_SCHEMA" : "SQL_EXCEPTION");
	drop_run(run);
}

/*
 * The start of the stream is not complete without the table: try again,
 * after a while.
 */
static void
postpone_table(Run *run, const char *message, const char *hint)
{
	SnapshotTable *table = run->table;

	run->delay_s = run->delay_s == 0 ? FIRST_DELAY_S :
		Min(run->delay_s * 2, LAST_DELAY_S);
	run->retry_at = GetCurrentTimestamp() + run->delay_s * USECS_PER_SEC;
	table->state = SNAPSHOT_TABLE_WAITING;
	table->attempts = 0;		/* it did not end without a word */
	replace_text(&table->error, message);
	replace_text(&table->hint, hint);
	inc.unsaved = true;
	ereport(WARNING,
			(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
			 errhidecontext(true),
			 errmsg("stream \"%s\" could not read table \"%s.%s\": %s",
					inc.stream->name, table->schema_name, table->table_name,
					message),
			 errdetail("It tries again in %d s.", run->delay_s),
			 hint != NULL && hint[0] != '\0' ? errhint("%s", hint) : 0));
}

/* ---- jobs ---- */

/*
 * Take up a job that is not over.
 */
static void
add_live_job(SnapshotJob *job)
{
	LiveJob    *live;
	bool		begun = job->kind == SNAPSHOT_KIND_INITIAL;
	ListCell   *cell;

	foreach(cell, job->tables)
		begun |= ((SnapshotTable *) lfirst(cell))->started_at != 0;
	live = MemoryContextAllocZero(inc.context, sizeof(LiveJob));
	live->job = job;
	live->paused = begun && job->paused;
	inc.jobs = append(inc.jobs, live);
	foreach(cell, job->tables)
		if (((SnapshotTable *) lfirst(cell))->state ==
			SNAPSHOT_TABLE_CANCELLED)
			live->told = append(live->told, lfirst(cell));
	if (!begun)
		notify_begun(job);
}

/*
 * Requests have changed something: jobs may be new, paused, or cancelled in
 * part or whole.  Called before the progress is saved once more, which
 * forgets jobs that are over.
 */
static void
look_at_jobs(void)
{
	ListCell   *cell;

	foreach(cell, inc.runs)
	{
		Run		   *run = lfirst(cell);

		if (run->table->state != SNAPSHOT_TABLE_CANCELLED)
			continue;

		/* drop_run() takes it off the list as well: that does no harm */
		inc.runs = foreach_delete_current(inc.runs, cell);
		drop_run(run);
	}
	foreach(cell, inc.progress->jobs)
	{
		SnapshotJob *job = lfirst(cell);
		ListCell   *other;
		bool		known = job->ended_at != 0;

		foreach(other, inc.jobs)
			known |= ((LiveJob *) lfirst(other))->job == job;
		if (!known)
			add_live_job(job);
	}
	foreach(cell, inc.jobs)
	{
		LiveJob    *live = lfirst(cell);

		if (live->job->paused != live->paused)
		{
			live->paused = live->job->paused;
			if (inc.notifier != NULL)
				notify_job(live->job, live->paused ? "PAUSED" : "RESUMED",
						   table_list(live->job, NULL));
		}
		if (live->job->ended_at != 0 || !snapshot_job_unfinished(live->job))
		{
			inc.jobs = foreach_delete_current(inc.jobs, cell);
			finish_job(live);
		}
		else
			(void) notify_cancelled(live);
	}
}

/*
 * No table of the job is unfinished.
 */
static void
finish_job(LiveJob *live)
{
	SnapshotJob *job = live->job;
	uint64		rows = 0;
	int			counts[SNAPSHOT_TABLE_CANCELLED + 1] = {0};
	ListCell   *cell;

	foreach(cell, job->tables)
	{
		const SnapshotTable *table = lfirst(cell);

		rows += table->rows;
		counts[table->state]++;
	}
	if (job->ended_at == 0)
		job->ended_at = GetCurrentTimestamp();
	inc.urgent = true;
	ereport(LOG,
			(errhidecontext(true),
			 errmsg("stream \"%s\" is done with snapshot " UINT64_FORMAT,
					inc.stream->name, job->id),
			 errdetail("It sent " UINT64_FORMAT " rows; tables: %d done, %d failed, %d gone, %d cancelled.",
					   rows, counts[SNAPSHOT_TABLE_DONE],
					   counts[SNAPSHOT_TABLE_FAILED],
					   counts[SNAPSHOT_TABLE_GONE],
					   counts[SNAPSHOT_TABLE_CANCELLED])));
	if (!notify_cancelled(live))
		notify_job(job, "COMPLETED", NULL);
	KILL_POINT("job_finished");
	if (job->kind == SNAPSHOT_KIND_INITIAL)
		slot_state_set_snapshot_pending(inc.slot_name, false);
	list_free(live->told);
	pfree(live);
}

static void
finish_jobs(void)
{
	ListCell   *cell;

	foreach(cell, inc.jobs)
	{
		LiveJob    *live = lfirst(cell);

		if (snapshot_job_unfinished(live->job))
			continue;
		inc.jobs = foreach_delete_current(inc.jobs, cell);
		finish_job(live);
	}
}

/* ---- notes ---- */

static bool
has_note(const SnapshotTable *table)
{
	ListCell   *cell;

	foreach(cell, inc.notes)
		if (((Note *) lfirst(cell))->table == table)
			return true;
	return false;
}

static void
add_note(char *key, const SnapshotJob *job, const SnapshotTable *table)
{
	MemoryContext old = MemoryContextSwitchTo(inc.context);
	Note	   *note = palloc(sizeof(Note));

	note->key = pstrdup(key);
	note->job = job;
	note->table = table;
	inc.notes = lappend(inc.notes, note);
	MemoryContextSwitchTo(old);
}

/*
 * The progress is about to be saved, in which some of them are of no use from
 * then on.
 */
static void
forget_notes(void)
{
	int			kept = 0;
	ListCell   *cell;

	foreach(cell, inc.notes)
	{
		Note	   *note = lfirst(cell);

		if (note->job->ended_at == 0 &&
			(note->table == NULL ||
			 note->table->state == SNAPSHOT_TABLE_WAITING ||
			 note->table->state == SNAPSHOT_TABLE_READING))
		{
			lfirst(list_nth_cell(inc.notes, kept++)) = note;
			continue;
		}
		inc.withdrawn = append(inc.withdrawn, note->key);
		pfree(note);
	}
	inc.notes = list_truncate(inc.notes, kept);
}

static bool
can_withdraw_notes(void)
{
	return inc.withdrawn != NIL && !inc.unsaved && !inc.urgent &&
		delivery_can_emit(inc.delivery);
}

/*
 * Take back what is of no use any more, in a Kafka transaction that is open or
 * begins with it; some, since the initial snapshot of a large database leaves
 * one for each of its ranges.
 */
static void
withdraw_notes(void)
{
	if (!can_withdraw_notes())
		return;
	for (int i = 0; i < NOTES_AT_ONCE && inc.withdrawn != NIL; i++)
	{
		char	   *key = llast(inc.withdrawn);

		inc.withdrawn = list_delete_last(inc.withdrawn);
		delivery_note(inc.delivery, key, NULL, 0);
		pfree(key);
	}
}

/*
 * A Kafka transaction is about to be committed.  What a signal asked for that
 * is behind the position then must be durable before.
 */
static void
write_notes(Delivery *delivery, bool in_unit, void *arg)
{
	MemoryContext old = MemoryContextSwitchTo(inc.scratch);
	ListCell   *cell;

	if (inc.urgent)
		snapshot_progress_write(inc.progress, inc.slot_name);
	foreach(cell, inc.runs)
	{
		Run		   *run = lfirst(cell);
		StringInfoData buf;
		char	   *key;

		if (!run->note_due)
			continue;
		run->note_due = false;
		key = snapshot_note_table_key(run->job->id, run->table->relid);
		initStringInfo(&buf);
		snapshot_note_table(&buf, run->job->request, run->sent_cursor,
							run->sent_rows, run->sent_ranges, run->sent_all);
		delivery_note(delivery, key, buf.data, buf.len);
		if (!has_note(run->table))
			add_note(key, run->job, run->table);
		pfree(buf.data);
		pfree(key);
	}
	MemoryContextSwitchTo(old);
}

/* At the start: a record of the topic. */
static void
take_note(void *arg, const char *key, size_t key_len, const char *value,
		  size_t value_len)
{
	HTAB	   *latest = arg;
	LatestNote *note;
	char	   *name;
	bool		found;

	if (key == NULL || key_len >= NOTE_KEY_SIZE)
		return;
	name = pnstrdup(key, key_len);
	note = hash_search(latest, name, HASH_ENTER, &found);
	if (found && note->value != NULL)
		pfree(note->value);
	note->value_len = value_len;
	note->value = NULL;
	if (value != NULL)
	{
		note->value = palloc(value_len + 1);
		memcpy(note->value, value, value_len);
	}
	pfree(name);
}

static void
apply_note(LatestNote *note)
{
	const char *name = note->key;
	SnapshotJob *job;
	SnapshotTable *table;
	MemoryContext old;

	switch (snapshot_note_apply(inc.progress, name, strlen(name), note->value,
								note->value_len, &job, &table))
	{
		case SNAPSHOT_NOTE_NONE:
			break;
		case SNAPSHOT_NOTE_USED:
			add_note(note->key, job, table);
			inc.unsaved = true;
			break;
		case SNAPSHOT_NOTE_STALE:
			old = MemoryContextSwitchTo(inc.context);
			inc.withdrawn = lappend(inc.withdrawn, pstrdup(name));
			MemoryContextSwitchTo(old);
			break;
	}
}

/*
 * What Kafka has may be more than the file knows of.
 */
static void
read_notes(void)
{
	MemoryContext context = AllocSetContextCreate(inc.context,
												  "wal2kafka notes",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	HASHCTL		ctl = {
		.keysize = NOTE_KEY_SIZE,
		.entrysize = sizeof(LatestNote),
		.hcxt = context,
	};
	HTAB	   *latest = hash_create("wal2kafka notes", 256, &ctl,
									 HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	HASH_SEQ_STATUS scan;
	LatestNote *note;

	delivery_read_progress(inc.delivery, true, take_note, latest);
	hash_seq_init(&scan, latest);
	while ((note = hash_seq_search(&scan)) != NULL)
		apply_note(note);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

/* ---------------------------------------------------------------------
 * Readers
 * --------------------------------------------------------------------- */

static void
begin_range(Reader *reader, XLogRecPtr place)
{
	reader->place = place;
	if (reader->open++ == 0)
		opened[nopened++] = reader;
}

/*
 * An open range has ended, or all have: nothing comes of them any more.
 */
static void
end_range(Reader *reader, bool all)
{
	int			i;

	if (reader->open == 0)
		return;
	reader->open = all ? 0 : reader->open - 1;
	if (reader->open > 0)
		return;
	for (i = 0; opened[i] != reader; i++)
		;
	opened[i] = opened[--nopened];
}

/*
 * Let go of a reader, which need not have ended yet.
 */
static void
destroy_reader(Reader *reader)
{
	end_range(reader, true);
	if (reader->run != NULL)
		reader->run->reader = NULL;
	if (inc.scout == reader)
		inc.scout = NULL;
	inc.readers = list_delete_ptr(inc.readers, reader);
	if (reader->handle != NULL)
	{
		if (reader->state != READER_OVER)
			TerminateBackgroundWorker(reader->handle);
		pfree(reader->handle);
	}
	if (reader->source != NULL)
		relay_source_destroy(reader->source);
	if (reader->exchange != NULL)
		place_forget(reader->exchange);
	if (reader->queue != NULL)
		shm_mq_detach(reader->queue);
	if (reader->segment != NULL)
		dsm_detach(reader->segment);
	if (reader->message != NULL)
		pfree(reader->message);
	if (reader->hint != NULL)
		pfree(reader->hint);
	pfree(reader);
}

/*
 * Put something into the segment.
 */
static void *
place_chunk(shm_toc *toc, uint64 key, const void *data, Size size)
{
	void	   *chunk = shm_toc_allocate(toc, size);

	if (data != NULL)
		memcpy(chunk, data, size);
	shm_toc_insert(toc, key, chunk);
	return chunk;
}

/*
 * The segment of a reader, with everything in it.  May raise.
 */
static bool
make_segment(Reader *reader, ReaderTask *task)
{
	const SnapshotTable *table = reader->run ? reader->run->table : NULL;
	shm_toc_estimator estimator;
	StringInfoData cursor;
	Size		predicate_size = 0;
	Size		blocks_size = 0;
	const char *seen = NULL;
	Size		seen_size = 0;
	Size		size;
	shm_toc    *toc;
	shm_mq	   *queue;
	ListCell   *cell;

	initStringInfo(&cursor);
	if (table != NULL)
	{
		foreach(cell, table->cursor)
			appendBinaryStringInfo(&cursor, lfirst(cell),
								   strlen(lfirst(cell)) + 1);
		if (table->predicate != NULL)
			predicate_size = strlen(table->predicate) + 1;
		blocks_size = table->nblocks * sizeof(SnapshotBlocks);
		seen = reader->run->job->seen;
		if (seen == NULL)
			seen = psprintf("%u:%u:", reader->run->job->xmin,
							reader->run->job->xmin);
		seen_size = strlen(seen) + 1;
	}
	shm_toc_initialize_estimator(&estimator);
	shm_toc_estimate_chunk(&estimator, sizeof(ReaderTask));
	shm_toc_estimate_chunk(&estimator, place_exchange_size(0));
	shm_toc_estimate_chunk(&estimator, RELAY_QUEUE_SIZE);
	shm_toc_estimate_chunk(&estimator, predicate_size);
	shm_toc_estimate_chunk(&estimator, cursor.len);
	shm_toc_estimate_chunk(&estimator, blocks_size);
	shm_toc_estimate_chunk(&estimator, seen_size);
	shm_toc_estimate_keys(&estimator, 7);
	size = shm_toc_estimate(&estimator);

	reader->segment = dsm_create(size, DSM_CREATE_NULL_IF_MAXSEGMENTS);
	if (reader->segment == NULL)
		return false;
	dsm_pin_mapping(reader->segment);
	toc = shm_toc_create(READER_MAGIC, dsm_segment_address(reader->segment),
						 size);
	reader->task = place_chunk(toc, READER_KEY_TASK, task,
							   sizeof(ReaderTask));
	if (predicate_size > 0)
		place_chunk(toc, READER_KEY_PREDICATE, table->predicate,
					predicate_size);
	if (cursor.len > 0)
		place_chunk(toc, READER_KEY_CURSOR, cursor.data, cursor.len);
	if (blocks_size > 0)
	{
		place_chunk(toc, READER_KEY_BLOCKS, table->blocks, blocks_size);
		place_chunk(toc, READER_KEY_SEEN, seen, seen_size);
	}

	reader->exchange = place_chunk(toc, READER_KEY_EXCHANGE, NULL,
								   place_exchange_size(0));
	place_exchange_init(reader->exchange, 0);
	queue = place_chunk(toc, READER_KEY_QUEUE, NULL, RELAY_QUEUE_SIZE);
	shm_mq_create(queue, RELAY_QUEUE_SIZE);
	shm_mq_set_receiver(queue, MyProc);
	reader->queue = shm_mq_attach(queue, reader->segment, NULL);
	place_adopt(reader->exchange);
	reader->source = relay_source_create(reader->queue);
	return true;
}

static bool
start_process(Reader *reader)
{
	BackgroundWorker process;

	memset(&process, 0, sizeof(process));
	process.bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION;
	process.bgw_start_time = BgWorkerStart_ConsistentState;
	process.bgw_restart_time = BGW_NEVER_RESTART;
	process.bgw_main_arg =
		UInt32GetDatum(dsm_segment_handle(reader->segment));
	process.bgw_notify_pid = MyProcPid;
	strlcpy(process.bgw_library_name, "wal2kafka_stream",
			sizeof(process.bgw_library_name));
	strlcpy(process.bgw_function_name, "snapshot_reader_main",
			sizeof(process.bgw_function_name));
	snprintf(process.bgw_name, sizeof(process.bgw_name),
			 "wal2kafka snapshot reader for stream %s", inc.stream->name);
	strlcpy(process.bgw_type, "wal2kafka snapshot reader",
			sizeof(process.bgw_type));
	if (!RegisterDynamicBackgroundWorker(&process, &reader->handle))
		return false;
	shm_mq_set_handle(reader->queue, reader->handle);
	return true;
}

/*
 * What keeps a reader from starting must not keep the stream from going on.
 */
static bool
try_start(Reader *reader, ReaderTask *task, char **problem)
{
	MemoryContext cxt = CurrentMemoryContext;
	bool		started = false;

	PG_TRY();
	{
		if (!make_segment(reader, task))
			*problem = "there is no free segment of dynamic shared memory";
		else if (!start_process(reader))
			*problem = "there is no free background worker";
		else
			started = true;
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(cxt);
		edata = CopyErrorData();
		FlushErrorState();
		*problem = edata->message;
	}
	PG_END_TRY();
	return started;
}

/*
 * Start a reader of a run's table, or a scout.  NULL: not now.
 */
static Reader *
start_reader(Run *run)
{
	MemoryContext old = MemoryContextSwitchTo(inc.context);
	Reader	   *reader = palloc0(sizeof(Reader));
	ReaderTask	task = {
		.worker = MyProcPid,
		.range_ms = RANGE_MS,
		/* headers count, too, and how much the worker would only find late */
		.message_limit = event_sink->message_limit -
		Min(event_sink->message_limit / 8, 1024),
		.frame_len = event_sink->frame_len,
	};
	char	   *problem = NULL;

	while (shared_state_stream(task.stream) != inc.stream)
		task.stream++;
	reader->run = run;
	if (run != NULL)
	{
		reader->relid = task.relid = run->table->relid;
		task.ncursor = list_length(run->table->cursor);
		task.storage = run->table->storage;
		task.nblocks = run->table->nblocks;
		task.checkpoints = delivery_exactly_once(inc.delivery);
	}
	inc.readers = lappend(inc.readers, reader);
	if (!try_start(reader, &task, &problem))
	{
		reader->run = NULL;
		destroy_reader(reader);
		inc.start_at = GetCurrentTimestamp() + RETRY_MS * INT64CONST(1000);
		if (!inc.start_logged)
			ereport(LOG,
					(errhidecontext(true),
					 errmsg("stream \"%s\" could not start a process to read tables: %s",
							inc.stream->name, problem),
					 errdetail("It tries again every second."),
					 errhint("You may need to raise max_worker_processes.")));
		inc.start_logged = true;
		reader = NULL;
	}
	else
		inc.start_logged = false;
	MemoryContextSwitchTo(old);
	return reader;
}

/*
 * Is somebody reading the table, for this job or another one?
 */
static bool
is_being_read(Oid relid)
{
	ListCell   *cell;

	foreach(cell, inc.readers)
		if (((Reader *) lfirst(cell))->relid == relid)
			return true;
	return false;
}

/*
 * Start a reader of a table, if it is time.  Returns whether it did.
 */
static bool
start_table(SnapshotJob *job, SnapshotTable *table, TimestampTz now)
{
	Run		   *run = find_run(table);

	if (run != NULL && (run->reader != NULL || run->finished ||
						run->retry_at > now || has_due(run)))
		return false;
	if (is_being_read(table->relid))
		return false;
	if (run == NULL)
	{
		run = MemoryContextAllocZero(inc.context, sizeof(Run));
		run->job = job;
		run->table = table;
		run->sent_rows = table->rows;
		run->sent_ranges = table->ranges;
		inc.runs = append(inc.runs, run);
	}
	if (table->attempts >= MAX_ATTEMPTS)
	{
		give_up_table(run, SNAPSHOT_TABLE_FAILED,
					  table->error != NULL ?
					  psprintf("three times in a row, %s", table->error) :
					  "its reader ended abnormally three times",
					  "Look at the server's log for the reason, then call wal2kafka.snapshot() for the table.");
		return false;
	}
	table->attempts++;
	table->state = SNAPSHOT_TABLE_READING;
	if (table->started_at == 0)
		table->started_at = now;
	save();
	run->reader = start_reader(run);
	if (run->reader == NULL)
	{
		table->attempts--;
		table->state = SNAPSHOT_TABLE_WAITING;
		inc.unsaved = true;
		return false;
	}
	run->active_since = now;
	run->retry_at = 0;
	return true;
}

/* ---------------------------------------------------------------------
 * What readers say
 * --------------------------------------------------------------------- */

/*
 * The next of the texts of a report; "" behind the last one.
 */
static const char *
next_text(const char **from, const char *end)
{
	const char *text = *from;
	Size		len = strnlen(text, end - text);

	if (text + len >= end)
		return "";
	*from += len + 1;
	return text;
}

static List *
copy_texts(const List *texts)
{
	List	   *copy = NIL;
	ListCell   *cell;

	foreach(cell, texts)
		copy = lappend(copy, pstrdup(lfirst(cell)));
	return copy;
}

/*
 * How far the table is with what was sent.
 */
static void
note_sent(Run *run, const Due *due)
{
	run->note_due = true;
	run->sent_all = due->table_end;
	run->sent_rows += due->rows;
	run->sent_ranges += due->range_end;
	if (due->cursor == NIL)
		return;
	list_free_deep(run->sent_cursor);
	run->sent_cursor = copy_texts(due->cursor);
}

static void
add_due(Reader *reader, const ReaderReport *report, const char *from,
		const char *end)
{
	MemoryContext old = MemoryContextSwitchTo(inc.context);
	Due		   *due = palloc0(sizeof(Due));

	due->mark = delivery_mark(inc.delivery);
	due->run = reader->run;
	due->range_end = report->kind == READER_RANGE_END;
	due->table_end = report->kind == READER_TABLE_END;
	if (!due->table_end)
	{
		/* a range's rows come with its checkpoints, if there are some */
		due->rows = report->rows - reader->counted;
		reader->counted = due->range_end ? 0 : report->rows;
	}
	for (int i = 0; i < report->ncursor; i++)
		due->cursor = lappend(due->cursor, pstrdup(next_text(&from, end)));
	inc.dues = lappend(inc.dues, due);
	if (delivery_exactly_once(inc.delivery))
		note_sent(reader->run, due);
	MemoryContextSwitchTo(old);
}

static void
note_selected(Reader *reader, const ReaderReport *report, const char *from,
			  const char *end)
{
	MemoryContext old = MemoryContextSwitchTo(inc.context);
	SnapshotTable *table = palloc0(sizeof(SnapshotTable));

	table->relid = report->relid;
	table->schema_name = pstrdup(next_text(&from, end));
	table->table_name = pstrdup(next_text(&from, end));
	reader->selected = lappend(reader->selected, table);
	MemoryContextSwitchTo(old);
}

/*
 * May be within the gate: nothing is sent or saved here.
 */
static void
take_report(Reader *reader, const char *data, Size len)
{
	const ReaderReport *report = (const ReaderReport *) data;
	const char *texts = data + sizeof(ReaderReport);
	const char *end = data + len;
	Run		   *run = reader->run;
	const char *message;
	const char *detail;

	if (len < sizeof(ReaderReport))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("a report of a snapshot reader is damaged")));
	if (run != NULL && report->estimate != 0)
		run->table->estimate = report->estimate;

	switch (report->kind)
	{
		case READER_RANGE_END:
			end_range(reader, false);
			KILL_POINT("range_closed");
			if (run == NULL)
				break;
			run->skipped += report->skipped;
			add_due(reader, report, texts, end);
			break;
		case READER_CHECKPOINT:
			if (run != NULL)
				add_due(reader, report, texts, end);
			return;
		case READER_TABLE_END:
			if (run == NULL)
				break;
			run->finished = true;
			add_due(reader, report, texts, end);
			break;
		case READER_TABLE_GONE:
			end_range(reader, true);
			break;
		case READER_TABLE_FAILED:
			end_range(reader, true);
			message = next_text(&texts, end);
			detail = next_text(&texts, end);
			reader->message = MemoryContextStrdup(inc.context, detail[0] == '\0' ?
												  message :
												  psprintf("%s (%s)", message,
														   detail));
			reader->hint = MemoryContextStrdup(inc.context,
											   next_text(&texts, end));
			break;
		case READER_TABLE_SELECTED:
			note_selected(reader, report, texts, end);
			return;
	}
	if (report->kind != READER_RANGE_END)
	{
		reader->state = READER_OVER;
		reader->last = report->kind;
	}
}

/* A unit for rows, if there is none.  Returns whether it is ours to end. */
static bool
begin_unit(void)
{
	if (delivery_in_unit(inc.delivery))
		return false;
	delivery_begin_unit(inc.delivery, 0);
	return true;
}

/*
 * A row that Kafka would not take ends the snapshot of its table, not the
 * stream.  What is known of it beforehand is the limit of the producer.
 */
static bool
refuse_large(Reader *reader, const Event *event)
{
	Size		size = event->key.len + event->value.len + 2 * EVENT_HEADROOM;

	if (likely(size <= inc.message_limit || inc.message_limit == 0))
		return false;
	end_range(reader, true);
	reader->state = READER_OVER;
	reader->last = READER_TABLE_FAILED;
	reader->message = MemoryContextStrdup(inc.context,
										  psprintf("a row of %zu bytes exceeds the message limit of Kafka",
												   size));
	reader->hint = MemoryContextStrdup(inc.context,
									   "Raise message.max.bytes in wal2kafka.kafka_options, and max.message.bytes of the topic.");
	return true;
}

/*
 * Send what the reader has handed over: of an open range, as it is there and
 * up to its end.  Ends early at "until"; 0: not.  Returns whether it did.
 * Where delivery is exactly once it ends, and a Kafka transaction may, between
 * two blocks only: the end of each says how far the table is.
 */
static bool
drain_queue(Reader *reader, TimestampTz until)
{
	bool		blocks = delivery_exactly_once(inc.delivery);
	bool		held = false;
	bool		own_unit = false;
	bool		early = false;
	int			n = 0;
	Event		event;
	const char *report;
	Size		len;

	while (!early && reader->state != READER_DEAD &&
		   reader->state != READER_OVER)
	{
		RelayItem	item = relay_source_next(reader->source, &event, &report,
											 &len);
		bool		pause = !blocks || !relay_source_in_block(reader->source);

		if (item == RELAY_NOTHING)
			break;
		if (item == RELAY_ENDED)
		{
			end_range(reader, true);
			if (reader->state != READER_OVER)
				reader->state = READER_DEAD;
			break;
		}
		if (item == RELAY_REPORT)
		{
			take_report(reader, report, len);
			if (held && pause)
				delivery_hold_commits(inc.delivery, held = false);
			if (reader->open == 0)
				break;
			if (blocks && pause && until != 0)
				early = GetCurrentTimestamp() >= until;
			continue;
		}

		if (item == RELAY_EVENT && refuse_large(reader, &event))
			break;
		own_unit |= begin_unit();
		if (blocks && !held && item == RELAY_EVENT)
			delivery_hold_commits(inc.delivery, held = true);
		if (item == RELAY_ANNOUNCE)
			event_sink->announce(event_sink, event.target);
		else
			event_sink->emit(event_sink, &event);
		KILL_POINT("range_row_sent");
		if (until != 0 && !blocks && ++n % 64 == 0)
			early = GetCurrentTimestamp() >= until;
	}
	if (held)
		delivery_hold_commits(inc.delivery, false);
	if (own_unit)
		delivery_end_unit(inc.delivery, reader->place);
	return early;
}

/*
 * The same; a row that cannot be sent ends the worker, and it is remembered
 * whose it was.
 */
static bool
drain(Reader *reader, TimestampTz until)
{
	bool		early = false;

	inc.draining = true;
	PG_TRY();
	{
		early = drain_queue(reader, until);
	}
	PG_CATCH();
	{
		(void) MemoryContextSwitchTo(inc.context);
		inc.failed = reader->run;
		inc.failure = CopyErrorData()->message;
		PG_RE_THROW();
	}
	PG_END_TRY();
	inc.draining = false;
	return early;
}

/*
 * A change waits for long: was the snapshot of its table cancelled?  Then
 * nothing more comes of the range.
 */
static bool
is_cancelled(Reader *reader)
{
	MemoryContext old = MemoryContextSwitchTo(inc.scratch);

	take_requests(GetCurrentTimestamp());
	MemoryContextSwitchTo(old);
	if (reader->run != NULL)
		return false;
	end_range(reader, true);
	reader->state = READER_DEAD;
	return true;
}

/*
 * A change of the reader's table comes next: send the rest of its range.
 * Without a transaction that is open, the unit must be from the beginning:
 * while we wait, nothing may seem to be idle, and confirmed.
 */
static void
drain_range(Reader *reader)
{
	TimestampTz began = GetCurrentTimestamp();
	MemoryContext old = MemoryContextSwitchTo(inc.context);
	XLogRecPtr	place = reader->place;
	bool		own_unit = begin_unit();
	bool		told = false;
	int64		delay_ms;

	for (;;)
	{
		(void) drain(reader, 0);
		if (reader->open == 0)
			break;
		if (!told && TimestampDifferenceExceeds(began, GetCurrentTimestamp(),
												LONG_WAIT_MS))
		{
			told = true;
			stream_set_waiting(inc.stream, STREAM_WAIT_LOCK);
		}
		if (told && is_cancelled(reader))
			break;
		delivery_wait(inc.delivery, READER_INTERVAL_MS);
	}
	if (own_unit)
		delivery_end_unit(inc.delivery, place);
	if (told)
		stream_set_waiting(inc.stream, STREAM_WAIT_NOTHING);
	delay_ms = (GetCurrentTimestamp() - began) / 1000;
	if (delay_ms > inc.stream->incremental_delay_ms)
	{
		SpinLockAcquire(&inc.stream->mutex);
		inc.stream->incremental_delay_ms = delay_ms;
		SpinLockRelease(&inc.stream->mutex);
	}
	MemoryContextSwitchTo(old);
}

/*
 * The decoder's gate, set while a range is open.
 */
static void
gate(Oid relid)
{
	for (int i = 0; i < nopened; i++)
		if (opened[i]->relid == relid)
		{
			drain_range(opened[i]);
			break;
		}
	if (nopened == 0)
		decoder_gate = NULL;
}

/* ---------------------------------------------------------------------
 * What follows from it
 * --------------------------------------------------------------------- */

/*
 * Kafka has acknowledged a range, or a table's end.
 */
static void
settle_due(Due *due)
{
	Run		   *run = due->run;
	SnapshotTable *table = run->table;
	TimestampTz now = GetCurrentTimestamp();

	inc.unsaved = true;
	table->active_ms += (now - run->active_since) / 1000;
	run->active_since = now;
	if (due->table_end)
	{
		complete_table(run);
		return;
	}

	table->rows += due->rows;
	table->ranges += due->range_end;
	if (table->attempts != 0)
	{
		table->attempts = 0;
		inc.urgent = true;
	}
	if (due->cursor != NIL)
	{
		MemoryContext old = MemoryContextSwitchTo(inc.progress->context);

		list_free_deep(table->cursor);
		table->cursor = copy_texts(due->cursor);
		MemoryContextSwitchTo(old);
	}
	KILL_POINT("range_settled");
	SpinLockAcquire(&inc.stream->mutex);
	inc.stream->incremental_rows += due->rows;
	inc.stream->incremental_ranges += due->range_end;
	SpinLockRelease(&inc.stream->mutex);
	if (due->rows > 0)
		notify_progress(run);
}

static void
settle_dues(void)
{
	while (inc.dues != NIL)
	{
		Due		   *due = linitial(inc.dues);

		if (!delivery_passed(inc.delivery, due->mark))
			return;
		inc.dues = list_delete_first(inc.dues);
		settle_due(due);
		free_due(due);
	}
}

/*
 * Which tables were selected when the scout looked.  Those that were not
 * known before have joined.
 */
static void
settle_scout(Reader *scout)
{
	SnapshotRequest request = {0};
	SnapshotProgress *progress = inc.progress;
	List	   *selected = NIL;
	MemoryContext old;
	ListCell   *cell;

	if (scout->last != READER_TABLE_END)
	{
		ereport(LOG,
				(errhidecontext(true),
				 errmsg("stream \"%s\" could not find out which tables are selected: %s",
						inc.stream->name,
						scout->message ? scout->message : "no reason given")));
		inc.scout_wanted = true;
		inc.scout_at = GetCurrentTimestamp() +
			FIRST_DELAY_S * USECS_PER_SEC;
		return;
	}

	old = MemoryContextSwitchTo(progress->context);
	foreach(cell, scout->selected)
		selected = lappend_oid(selected,
							   ((SnapshotTable *) lfirst(cell))->relid);
	MemoryContextSwitchTo(inc.scratch);
	request.command = SNAPSHOT_REQUEST;
	if (inc.restart_wanted)
	{
		request.kind = SNAPSHOT_KIND_RESTART;
		request.tables = scout->selected;
	}
	else if (progress->tables_known && inc.settings->snapshot_new_tables)
	{
		request.kind = SNAPSHOT_KIND_NEW_TABLE;
		foreach(cell, scout->selected)
			if (!list_member_oid(progress->known_tables,
								 ((SnapshotTable *) lfirst(cell))->relid))
				request.tables = lappend(request.tables, lfirst(cell));
	}
	if (request.tables != NIL)
		(void) snapshot_progress_apply(progress, &request);
	MemoryContextSwitchTo(old);

	list_free(progress->known_tables);
	progress->known_tables = selected;
	progress->tables_known = true;
	save();
	look_at_jobs();
	if (inc.restart_wanted)
	{
		inc.restart_wanted = false;
		SpinLockAcquire(&inc.stream->mutex);
		inc.stream->fresh_start = false;
		SpinLockRelease(&inc.stream->mutex);
	}
}

/*
 * A reader has ended without a word on how.
 */
static void
settle_death(Reader *reader)
{
	Run		   *run = reader->run;

	if (run == NULL)
		return;
	run->retry_at = GetCurrentTimestamp() + RETRY_MS * INT64CONST(1000);
	run->table->state = SNAPSHOT_TABLE_WAITING;

	/* that nobody took its rows is no fault of the table */
	if (reader->task->stalled && run->table->attempts > 0)
		run->table->attempts--;
	ereport(LOG,
			(errhidecontext(true),
			 errmsg("stream \"%s\" has lost its reader of table \"%s.%s\"",
					inc.stream->name, run->table->schema_name,
					run->table->table_name),
			 errdetail("It goes on with another one.")));
}

/*
 * Readers that are over, and those that are not wanted any more.
 */
static void
settle_reader(Reader *reader)
{
	Run		   *run = reader->run;

	if (reader->state == READER_RUNNING ||
		(reader->state == READER_STOPPING && reader->open > 0 && run != NULL))
		return;
	if (reader->state == READER_STOPPING && run != NULL)
	{
		/* paused */
		run->table->state = SNAPSHOT_TABLE_WAITING;
		run->table->attempts = Max(run->table->attempts - 1, 0);
		inc.unsaved = true;
	}
	else if (reader->state == READER_DEAD)
		settle_death(reader);
	else if (reader->state == READER_OVER && reader == inc.scout)
		settle_scout(reader);
	else if (reader->state == READER_OVER && run != NULL)
	{
		if (reader->last == READER_TABLE_GONE)
			give_up_table(run, SNAPSHOT_TABLE_GONE,
						  "the table does not exist any more", NULL);
		else if (reader->last == READER_TABLE_FAILED &&
				 run->job->kind == SNAPSHOT_KIND_INITIAL)
			postpone_table(run, reader->message, reader->hint);
		else if (reader->last == READER_TABLE_FAILED)
			give_up_table(run, SNAPSHOT_TABLE_FAILED, reader->message,
						  reader->hint);
	}
	destroy_reader(reader);
}

static void
settle_readers(void)
{
	List	   *readers = list_copy(inc.readers);
	ListCell   *cell;

	foreach(cell, readers)
	{
		Reader	   *reader = lfirst(cell);

		if (reader->state == READER_RUNNING && reader->run != NULL &&
			(reader->run->job->paused || inc.held))
			reader->state = READER_STOPPING;
		settle_reader(reader);
	}
	list_free(readers);
}

/* ---------------------------------------------------------------------
 * The service
 * --------------------------------------------------------------------- */

static void
take_requests(TimestampTz now)
{
	inc.requests_due =
		now - inc.requests_at < REQUEST_INTERVAL_MS * INT64CONST(1000);
	if (inc.requests_due)
		return;
	inc.requests_at = now;
	/* it saves the progress, and jobs that ended long ago leave it */
	forget_notes();
	if (snapshot_requests_take(inc.progress, inc.slot_name))
	{
		inc.saved_at = now;
		KILL_POINT("request_taken");
		look_at_jobs();
	}
}

static void
give_places(XLogRecPtr position)
{
	ListCell   *cell;

	foreach(cell, inc.readers)
	{
		Reader	   *reader = lfirst(cell);

		if (reader->state != READER_RUNNING ||
			reader->open >= MAX_OPEN || !place_give(reader->exchange, position))
			continue;
		KILL_POINT("place_given");
		begin_range(reader, position);
		if (OidIsValid(reader->relid))
			decoder_gate = gate;
	}
}

/*
 * Send what readers have handed over, for a while; then it is the WAL's
 * turn, if there is some.
 */
static void
drain_readers(TimestampTz now, bool idle)
{
	TimestampTz until = now + SLICE_US;
	ListCell   *cell;

	inc.more = false;
	if (!idle && now < inc.drain_at)
		return;
	foreach(cell, inc.readers)
		inc.more |= drain(lfirst(cell), until);
	inc.drain_at = GetCurrentTimestamp() + SLICE_US;
	if (nopened == 0)
		decoder_gate = NULL;
}

/*
 * Tell when tables begin to wait for the guard, and when they go on.
 */
static void
log_hold(void)
{
	if (inc.held == inc.hold_logged || (inc.held && inc.jobs == NIL))
		return;
	inc.hold_logged = inc.held;
	ereport(LOG,
			(errhidecontext(true),
			 inc.held ?
			 errmsg("stream \"%s\" lets its snapshots wait until its slot retains less WAL",
					inc.stream->name) :
			 errmsg("stream \"%s\" goes on with its snapshots",
					inc.stream->name)));
}

/*
 * As many as are allowed, and have something to read.
 */
static void
start_tables(TimestampTz now)
{
	int			running = 0;
	ListCell   *cell;
	ListCell   *inner;

	inc.let_go = false;
	log_hold();
	if (now < inc.start_at || inc.held)
		return;
	foreach(cell, inc.readers)
		running += lfirst(cell) != inc.scout;
	foreach(cell, inc.jobs)
	{
		SnapshotJob *job = ((LiveJob *) lfirst(cell))->job;

		if (job->paused)
			continue;
		foreach(inner, job->tables)
		{
			SnapshotTable *table = lfirst(inner);

			if (running >= inc.settings->snapshot_workers ||
				now < inc.start_at)
				return;
			if (table->state == SNAPSHOT_TABLE_WAITING &&
				start_table(job, table, now))
				running++;
		}
	}
}

static void
start_scout(TimestampTz now)
{
	ListCell   *cell;

	foreach(cell, inc.leaving)
	{
		if (TransactionIdIsInProgress(lfirst_oid(cell)))
			continue;
		inc.leaving = foreach_delete_current(inc.leaving, cell);
		inc.scout_wanted = true;
	}
	if (!inc.scout_wanted || inc.scout != NULL || now < inc.scout_at ||
		now < inc.start_at)
		return;
	inc.scout = start_reader(NULL);
	inc.scout_wanted = (inc.scout == NULL);
}

void
incremental_service(XLogRecPtr position, bool idle)
{
	static int	records;
	TimestampTz now;
	MemoryContext old;

	if (!idle && incremental_busy && !inc.urgent &&
		++records < RECORDS_PER_LOOK)
		return;
	records = 0;
	old = MemoryContextSwitchTo(inc.scratch);
	now = GetCurrentTimestamp();

	/* a signal is saved first: to notify may confirm its record */
	if (inc.urgent)
	{
		save();
		look_at_jobs();
	}
	take_requests(now);
	give_places(position);
	drain_readers(now, idle);
	settle_dues();
	settle_readers();
	if (inc.urgent)
		finish_jobs();
	start_scout(now);
	start_tables(now);
	if (inc.urgent ||
		(inc.unsaved && now - inc.saved_at >=
		 SAVE_INTERVAL_MS * INT64CONST(1000)))
		save();

	withdraw_notes();

	incremental_busy = inc.readers != NIL || inc.dues != NIL;
	MemoryContextSwitchTo(old);
	MemoryContextReset(inc.scratch);
}

void
incremental_relieve(void)
{
	TimestampTz now;
	MemoryContext old;

	if (nopened == 0 || inc.draining || !delivery_in_unit(inc.delivery) ||
		!delivery_can_emit(inc.delivery))
		return;
	now = GetCurrentTimestamp();
	old = MemoryContextSwitchTo(inc.context);
	drain_readers(now, false);
	MemoryContextSwitchTo(old);
}

void
incremental_hold(bool hold)
{
	inc.let_go |= inc.held && !hold;
	inc.held = hold;
}

static long
ms_until(TimestampTz when, TimestampTz now)
{
	return when <= now ? 1 : (when - now) / 1000 + 1;
}

long
incremental_timeout(void)
{
	TimestampTz now = GetCurrentTimestamp();
	long		timeout = LONG_MAX;
	ListCell   *cell;

	if (inc.more || inc.urgent || inc.let_go || can_withdraw_notes())
		return 0;
	if (inc.readers != NIL)
		timeout = Min(timeout, READER_INTERVAL_MS);
	if (inc.leaving != NIL)
		timeout = Min(timeout, LEAVING_INTERVAL_MS);
	if (inc.requests_due)
		timeout = Min(timeout, ms_until(inc.requests_at + REQUEST_INTERVAL_MS *
									 INT64CONST(1000), now));
	if (inc.unsaved)
		timeout = Min(timeout, ms_until(inc.saved_at + SAVE_INTERVAL_MS *
									 INT64CONST(1000), now));
	if (inc.scout_wanted)
		timeout = Min(timeout, ms_until(Max(inc.scout_at, inc.start_at), now));

	/* what could be started is; the rest waits for its time, or for others */
	if (inc.jobs != NIL && inc.start_at > now)
		timeout = Min(timeout, ms_until(inc.start_at, now));
	foreach(cell, inc.runs)
	{
		const Run  *run = lfirst(cell);

		if (run->retry_at > now)
			timeout = Min(timeout, ms_until(run->retry_at, now));
	}
	return timeout == LONG_MAX ? -1 : timeout;
}

void
incremental_request(const SnapshotRequest *request)
{
	MemoryContext old = MemoryContextSwitchTo(inc.context);

	(void) snapshot_progress_apply(inc.progress, request);
	MemoryContextSwitchTo(old);
	inc.urgent = true;
	incremental_busy = true;
}

XLogRecPtr
incremental_last_signal(int *index)
{
	*index = inc.progress->last_signal_index;
	return inc.progress->last_signal;
}

void
incremental_set_last_signal(XLogRecPtr commit, int index)
{
	inc.progress->last_signal = commit;
	inc.progress->last_signal_index = index;
	inc.urgent = true;
	incremental_busy = true;
}

void
incremental_tables_changed(TransactionId xid)
{
	MemoryContext old = MemoryContextSwitchTo(inc.context);

	inc.leaving = list_append_unique_oid(inc.leaving, xid);
	MemoryContextSwitchTo(old);
}

/* ---------------------------------------------------------------------
 * Start and end
 * --------------------------------------------------------------------- */

/*
 * Readers of the process before this one are gone.
 */
static bool
adopt_progress(void)
{
	bool		initial = false;
	ListCell   *cell;
	ListCell   *inner;

	foreach(cell, inc.progress->jobs)
	{
		SnapshotJob *job = lfirst(cell);

		if (job->ended_at != 0)
			continue;
		initial |= job->kind == SNAPSHOT_KIND_INITIAL;
		foreach(inner, job->tables)
		{
			SnapshotTable *table = lfirst(inner);

			if (table->state == SNAPSHOT_TABLE_READING)
				table->state = SNAPSHOT_TABLE_WAITING;
		}
	}
	return initial;
}

void
incremental_start(Delivery *delivery, StreamState *stream,
				  const Settings *settings, const char *slot_name,
				  bool restart_snapshot)
{
	bool		fresh;

	inc.delivery = delivery;
	inc.stream = stream;
	inc.settings = settings;
	strlcpy(inc.slot_name, slot_name, NAMEDATALEN);
	inc.context = AllocSetContextCreate(TopMemoryContext,
										"wal2kafka incremental",
										ALLOCSET_DEFAULT_SIZES);
	inc.scratch = AllocSetContextCreate(inc.context,
										"wal2kafka incremental service",
										ALLOCSET_DEFAULT_SIZES);
	inc.message_limit = delivery_message_limit(delivery);
	inc.notifier = notifier_create(settings, NameStr(stream->database));
	inc.progress = snapshot_progress_load(inc.context, slot_name);
	if (delivery_exactly_once(delivery))
	{
		read_notes();
		delivery_set_notes(delivery, write_notes, NULL);
	}

	/* what the start of the stream still reads is everything, too */
	inc.restart_wanted = !adopt_progress() && restart_snapshot;
	inc.scout_wanted = true;
	SpinLockAcquire(&stream->mutex);
	stream->incremental_rows = 0;
	stream->incremental_ranges = 0;
	stream->incremental_delay_ms = 0;
	fresh = stream->fresh_start;
	if (!inc.restart_wanted)
		stream->fresh_start = false;
	SpinLockRelease(&stream->mutex);
	look_at_jobs();
	if (fresh && !inc.restart_wanted && inc.jobs == NIL)
		notifier_send(inc.notifier, NULL, NOTIFICATION_INITIAL, "SKIPPED",
					  NULL, 0);
}

/*
 * A clean end says nothing about a reader that had no time to speak.  But one
 * whose row could not be sent ended the worker, and counts, unless the next
 * worker knows what to do with the row.
 */
static void
correct_attempts(void)
{
	TimestampTz now = GetCurrentTimestamp();
	ListCell   *cell;

	foreach(cell, inc.runs)
	{
		Run		   *run = lfirst(cell);
		SnapshotTable *table = run->table;

		if (run == inc.failed && !slot_state_starts_again())
		{
			table->attempts = Max(table->attempts, 1);
			replace_text(&table->error, inc.failure);
		}
		else if (table->attempts > 0 &&
				 (run == inc.failed || run->reader != NULL ||
				  run->retry_at > now))
			table->attempts--;
		else
			continue;
		inc.unsaved = true;
	}
}

void
incremental_finish(void)
{
	ListCell   *cell;

	if (inc.delivery == NULL || inc.progress == NULL)
		return;
	foreach(cell, inc.readers)
	{
		Reader	   *reader = lfirst(cell);

		if (reader->handle != NULL)
			TerminateBackgroundWorker(reader->handle);
	}
	decoder_gate = NULL;
	inc.notifier = NULL;		/* nothing can be sent any more */
	settle_dues();
	finish_jobs();
	correct_attempts();
	if (inc.unsaved || inc.urgent)
		save();
	inc.delivery = NULL;
}
