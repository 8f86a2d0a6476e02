/*
 * preload_point.c
 *		A snapshot and the topics' offsets that belong together, for those who
 *		load history by themselves.
 *
 * The snapshot is exported, and sees just the commits before a place in the
 * stream; the offsets are where the records of the commits behind it begin.
 * Both hold for as long as the caller's transaction, or its topics, last.
 *
 * The streaming worker says where those partitions end that it has written to
 * since it began.  What the others hold is asked of Kafka by a process of its
 * own, after that worker was met and before the place is named.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/procarray.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "kafka_sink.h"
#include "kafka_source.h"
#include "place.h"
#include "selection.h"
#include "side_worker.h"

PG_FUNCTION_INFO_V1(wal2kafka_stream_preload_point);
extern PGDLLEXPORT void preload_point_main(Datum main_arg);

/* Room for the ends of topics' partitions, in the two forms. */
#define OFFSETS_BYTES		(2 * 1024 * 1024)

#define TIMEOUT_MS			30000

/*
 * What is taken off the time, for clocks that are set back a little.
 */
#define CLOCK_MARGIN		INT64CONST(1000000)

/* Columns of the result. */
enum
{
	POINT_SNAPSHOT,
	POINT_LSN,
	POINT_AT,
	POINT_OFFSETS,
	POINT_COLUMNS
};

/* The payload of the segment: the answer of the process that asks Kafka. */
typedef struct EndsTask
{
	Size		len;
	char		text[OFFSETS_BYTES];	/* as delivery_offsets() has it */
} EndsTask;

/* ---------------------------------------------------------------------
 * The process that asks Kafka
 * --------------------------------------------------------------------- */

static void
ends_work(StreamState *stream, const Settings *settings, dsm_segment *segment)
{
	EndsTask   *task = side_worker_payload(segment);
	OptionList	options = options_read("wal2kafka.kafka_options",
									   settings->kafka_options,
									   "wal2kafka.kafka_options_file",
									   settings->kafka_options_file,
									   kafka_sink_check_options);
	KafkaSource *source = kafka_source_create(settings->bootstrap_servers,
											  "wal2kafka-preload-point",
											  &options, TIMEOUT_MS, true);
	KafkaPartition *partitions;
	int			ntables;
	List	   *selected;
	const char **topics;
	int			n = 0;
	int			npartitions;
	ListCell   *cell;

	options_wipe(&options);
	selected = selection_topics(settings, NameStr(stream->database), &ntables);
	topics = palloc(sizeof(char *) * Max(list_length(selected), 1));
	foreach(cell, selected)
		topics[n++] = lfirst(cell);
	npartitions = kafka_source_look(source, topics, n, &partitions);
	for (int i = 0; i < npartitions; i++)
	{
		int			len = snprintf(task->text + task->len,
								   OFFSETS_BYTES - task->len,
								   "%s\t%d\t" INT64_FORMAT "\n",
								   partitions[i].topic,
								   (int) partitions[i].id,
								   partitions[i].high);

		if ((Size) len >= OFFSETS_BYTES - task->len)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("the stream has too many topics to tell the ends of")));
		task->len += len;
	}
	kafka_source_destroy(source);
}

void
preload_point_main(Datum main_arg)
{
	side_worker_main(main_arg, ends_work);
}

/* ---------------------------------------------------------------------
 * Offsets
 * --------------------------------------------------------------------- */

typedef struct EndKey
{
	char		topic[256];		/* Kafka allows 249 */
	int32		partition;
} EndKey;

typedef struct End
{
	EndKey		key;			/* hash key */
	int64		offset;
} End;

/*
 * Take lines over.  A partition may end behind what the worker has sent, since
 * others write to it.
 */
static void
take_ends(HTAB *ends, const char *text, Size len)
{
	char	   *copy = pnstrdup(text, len);
	char	   *line;

	while ((line = strsep(&copy, "\n")) != NULL)
	{
		char	   *topic = strsep(&line, "\t");
		char	   *partition = line != NULL ? strsep(&line, "\t") : NULL;
		EndKey		key;
		End		   *end;
		bool		found;

		if (line == NULL)
			continue;
		memset(&key, 0, sizeof(key));
		strlcpy(key.topic, topic, sizeof(key.topic));
		key.partition = atoi(partition);
		end = hash_search(ends, &key, HASH_ENTER, &found);
		end->offset = Max(found ? end->offset : 0, strtoll(line, NULL, 10));
	}
}

static int
compare_ends(const void *a, const void *b)
{
	const End  *x = *(End *const *) a;
	const End  *y = *(End *const *) b;
	int			result = strcmp(x->key.topic, y->key.topic);

	if (result != 0)
		return result;
	return (x->key.partition > y->key.partition) -
		(x->key.partition < y->key.partition);
}

/*
 * {"topic": {"0": 123, ...}, ...}
 */
static Datum
ends_json(HTAB *ends)
{
	long		n = hash_get_num_entries(ends);
	End		  **sorted = palloc(sizeof(End *) * Max(n, 1));
	HASH_SEQ_STATUS scan;
	StringInfoData out;
	End		   *end;
	long		i = 0;

	hash_seq_init(&scan, ends);
	while ((end = hash_seq_search(&scan)) != NULL)
		sorted[i++] = end;
	qsort(sorted, n, sizeof(End *), compare_ends);

	initStringInfo(&out);
	appendStringInfoChar(&out, '{');
	for (i = 0; i < n; i++)
	{
		bool		same = i > 0 && strcmp(sorted[i]->key.topic,
										   sorted[i - 1]->key.topic) == 0;

		if (!same)
		{
			appendStringInfoString(&out, i > 0 ? "}," : "");
			escape_json(&out, sorted[i]->key.topic);
			appendStringInfoString(&out, ":{");
		}
		appendStringInfo(&out, "%s\"%d\":" INT64_FORMAT, same ? "," : "",
						 (int) sorted[i]->key.partition, sorted[i]->offset);
	}
	appendStringInfoString(&out, n > 0 ? "}}" : "}");
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(out.data));
}

/* ---------------------------------------------------------------------
 * The snapshot
 * --------------------------------------------------------------------- */

/*
 * Does the snapshot's list of what it does not see need this transaction?
 * What was rolled back is invisible by itself; and where the list has no
 * subtransactions it is only asked about those they are part of.
 */
static bool
is_needed(TransactionId xid)
{
	return TransactionIdIsInProgress(xid) || TransactionIdDidCommit(xid);
}

/*
 * The snapshot as other sessions can take it over: their lists have room for
 * as many transactions as there can be sessions.  What is beyond goes into
 * the list of subtransactions, which is longer, and which is looked at for
 * any transaction.
 */
static Snapshot
fit_snapshot(Snapshot snapshot)
{
	int			max_xids = GetMaxSnapshotXidCount() - 1;	/* and our own */
	int			max_subxids = GetMaxSnapshotSubxidCount();
	TransactionId *children;
	int			nchildren = xactGetCommittedChildren(&children);
	Snapshot	result = palloc(sizeof(SnapshotData));
	int			nxids = 0;
	int			nsub = snapshot->suboverflowed ? 0 : snapshot->subxcnt;

	*result = *snapshot;
	result->xip = palloc(sizeof(TransactionId) * (snapshot->xcnt + 1));
	result->subxip = palloc(sizeof(TransactionId) *
							(nsub + snapshot->xcnt + 1));
	if (nsub > 0)
		memcpy(result->subxip, snapshot->subxip, sizeof(TransactionId) * nsub);
	for (uint32 i = 0; i < snapshot->xcnt; i++)
	{
		TransactionId xid = snapshot->xip[i];

		if (!is_needed(xid))
			continue;
		if (nxids < max_xids || snapshot->suboverflowed)
			result->xip[nxids++] = xid;
		else
			result->subxip[nsub++] = xid;
	}
	result->xcnt = nxids;
	result->subxcnt = nsub;
	if (nxids > max_xids || (!snapshot->suboverflowed &&
							 nsub + nchildren > max_subxids))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("too many transactions are under way for a snapshot that others can use"),
				 errhint("Try again.")));
	return result;
}

static void
check_transaction(void)
{
	if (!IsTransactionBlock())
		ereport(ERROR,
				(errcode(ERRCODE_NO_ACTIVE_SQL_TRANSACTION),
				 errmsg("wal2kafka.preload_point() can only be used in a transaction block"),
				 errdetail("The snapshot can be used until the transaction ends."),
				 errhint("Begin with BEGIN, and keep the transaction open until all others have taken the snapshot over.")));
	if (IsSubTransaction())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("wal2kafka.preload_point() cannot be used in a subtransaction")));
}

/*
 * preload_point(stream text)
 */
Datum
wal2kafka_stream_preload_point(PG_FUNCTION_ARGS)
{
	char	   *name = PG_ARGISNULL(0) ? NULL :
		text_to_cstring(PG_GETARG_TEXT_PP(0));
	StreamState *stream;
	int			index;
	TupleDesc	desc;
	Datum		values[POINT_COLUMNS];
	bool		nulls[POINT_COLUMNS] = {0};
	HASHCTL		ctl = {.keysize = sizeof(EndKey),.entrysize = sizeof(End)};
	HTAB	   *ends;
	dsm_segment *segment;
	PlaceExchange *exchange;
	PlaceSession *session;
	EndsTask   *task;
	TimestampTz at;
	Snapshot	base;
	Snapshot	exact;
	XLogRecPtr	place;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE ||
		desc->natts != POINT_COLUMNS)
		elog(ERROR, "unexpected result type of preload_point");
	check_transaction();
	stream = side_worker_stream(name, &index);
	segment = side_worker_segment(index, OFFSETS_BYTES, sizeof(EndsTask));
	exchange = side_worker_exchange(segment);
	task = side_worker_payload(segment);
	ctl.hcxt = CurrentMemoryContext;
	ends = hash_create("wal2kafka ends of partitions", 1024, &ctl,
					   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);

	/*
	 * To begin a session waits for those who take the time of their commit
	 * before its record is written.  So what commits behind the place does so
	 * at this time or later.
	 */
	at = GetCurrentTimestamp() - CLOCK_MARGIN;
	place_register(stream, dsm_segment_handle(segment));
	session = place_session_begin(stream, exchange);
	side_worker_run(segment, "preload_point_main", "preload point");
	take_ends(ends, task->text, task->len);

	place_taking(session);
	base = RegisterSnapshot(GetLatestSnapshot());
	exact = place_take(session, base, InvalidOid, true, &place);
	take_ends(ends, place_offsets(exchange), exchange->offsets_len);
	place_done(session);

	/* the server keeps a copy until the transaction ends */
	values[POINT_SNAPSHOT] =
		CStringGetTextDatum(ExportSnapshot(fit_snapshot(exact)));
	UnregisterSnapshot(exact);
	UnregisterSnapshot(base);
	dsm_detach(segment);

	values[POINT_LSN] = LSNGetDatum(place);
	values[POINT_AT] = TimestampTzGetDatum(at - at % 1000);
	values[POINT_OFFSETS] = ends_json(ends);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc),
													  values, nulls)));
}
