/*
 * verify.c
 *		Is what is in Kafka what is in the table?
 *
 * The two sides are brought together at one place of the stream: the rows
 * are those that a snapshot at that place sees, encoded as the stream's
 * decoder encodes them, and the topic is read from its beginning to the
 * offsets that its partitions have there.  So it does not matter who writes
 * meanwhile.
 *
 * That both are equal is a proof, whatever is known of the topic.  That they
 * differ is one only where nothing else explains it: a topic that was cut, a
 * snapshot that is under way, operations that are not sent.  Then the answer
 * is "unknown".
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "decoder.h"
#include "kafka_sink.h"
#include "kafka_source.h"
#include "key_fold.h"
#include "place.h"
#include "record_digest.h"
#include "registry.h"
#include "selection.h"
#include "side_worker.h"
#include "snapshot_progress.h"
#include "table_access.h"
#include "verify.h"

PG_FUNCTION_INFO_V1(wal2kafka_stream_verify);

/* Memory for keys. */
#define FOLD_BYTES			(40 * 1024 * 1024)

/* Room for the ends of topics' partitions. */
#define OFFSETS_BYTES		(1024 * 1024)

/* Without an answer of Kafka or the registry. */
#define TIMEOUT_MS			30000

/* Where a place could not be had, or the table's definition changed. */
#define MAX_ATTEMPTS		5

#define MAX_DIFFERENCES		10
#define PROGRESS_INTERVAL	INT64CONST(1000000)

typedef enum Verdict
{
	VERDICT_UNKNOWN,
	VERDICT_EQUAL,
	VERDICT_DIFFERENT,
	VERDICT_TRY_AGAIN,			/* not for people */
} Verdict;

static const char *const verdict_names[] = {"unknown", "equal", "different"};

typedef enum DifferenceKind
{
	DIFFERENCE_MISSING,
	DIFFERENCE_EXTRA,
	DIFFERENCE_VALUE,
} DifferenceKind;

static const char *const difference_names[] = {
	"missing in topic", "not in table", "different",
};

typedef struct Difference
{
	DifferenceKind kind;
	int32		partition;
	int64		offset;			/* of the key's last record; -1: none */
	char		key[512];		/* empty: not known yet */
	char		columns[512];	/* that differ; empty: not known */
} Difference;

/* The payload of the segment: what is asked, and the answer. */
typedef struct VerifyTask
{
	Oid			relid;
	Verdict		verdict;
	char		reason[4096];
	XLogRecPtr	lsn;			/* invalid: it did not get that far */
	uint64		rows;
	uint64		keys;
	int			passes;
	int			ndifferences;
	Difference	differences[MAX_DIFFERENCES];
} VerifyTask;

/* Columns of the result. */
enum
{
	VERIFY_VERDICT,
	VERIFY_REASON,
	VERIFY_LSN,
	VERIFY_ROWS,
	VERIFY_KEYS,
	VERIFY_PASSES,
	VERIFY_DIFFERENCES,
	VERIFY_COLUMNS
};

/* The process. */
typedef struct Verifier
{
	EventSink	sink;			/* of the rows' events */
	VerifyTask *task;
	StreamState *stream;
	const Settings *settings;
	dsm_segment *segment;
	MemoryContext cxt;			/* of all that lasts */
	MemoryContext scratch;		/* of some records */
	Registry   *registry;		/* NULL: none, or not needed yet */
	TimestampTz registry_away;	/* since; 0: it is not */
	KafkaSource *source;

	/* the table */
	char	   *name;			/* for people */
	List	   *relids;			/* whose rows are in the topic */
	Decoder    *decoder;
	char	   *topic;
	char	   *schema_text;	/* of values, as the digester knows it */
	RecordDigester *digester;
	Snapshot	snapshot;

	/* columns' hashes of the rows that differ, by difference; NULL: none */
	uint64	   *rows[MAX_DIFFERENCES];

	/* the topic */
	KafkaPartition *partitions;
	int			npartitions;
	bool		cut;

	KeyFold    *fold;
	bool		first_pass;
	TimestampTz reported;

	/* what was found */
	uint64		counts[DIFFERENCE_VALUE + 1];
	uint64		repeated;		/* rows whose key another row has */
	uint64		partial;		/* rows not compared in all columns */
	uint64		unknown;		/* values that the topic does not give */
	uint64		unsent;			/* rows that cannot be sent, and are left out */
	uint64		keyless;		/* records */
	StringInfoData excuses;		/* why they may differ; sentences */
} Verifier;

static Verifier verifier;

/* ---------------------------------------------------------------------
 * The answer
 * --------------------------------------------------------------------- */

static void
set_answer(Verdict verdict, const char *reason)
{
	verifier.task->verdict = verdict;
	strlcpy(verifier.task->reason, reason, sizeof(verifier.task->reason));
}

static void
add_sentence(StringInfo text, const char *sentence)
{
	if (text->len > 0)
		appendStringInfoChar(text, ' ');
	appendStringInfoString(text, sentence);
}

static Difference *
add_difference(DifferenceKind kind, int32 partition, int64 offset)
{
	VerifyTask *task = verifier.task;
	Difference *difference;

	verifier.counts[kind]++;
	if (task->ndifferences == MAX_DIFFERENCES)
		return NULL;
	difference = &task->differences[task->ndifferences++];
	difference->kind = kind;
	difference->partition = partition;
	difference->offset = offset;
	return difference;
}

static void
report_progress(const char *what, double share)
{
	TimestampTz now = GetCurrentTimestamp();

	if (now - verifier.reported < PROGRESS_INTERVAL)
		return;
	verifier.reported = now;
	pgstat_report_activity(STATE_RUNNING,
						   psprintf("verifying %s: pass %d, %s, %d %%",
									verifier.name, verifier.task->passes,
									what, (int) (share * 100)));
}

/* ---------------------------------------------------------------------
 * Schemas of records
 * --------------------------------------------------------------------- */

static void
on_registry_wait(void *arg, RegistryProblem problem, const char *reason)
{
	TimestampTz now = GetCurrentTimestamp();

	if (problem == REGISTRY_OK)
		verifier.registry_away = 0;
	else if (verifier.registry_away == 0)
		verifier.registry_away = now;
	else if (TimestampDifferenceExceeds(verifier.registry_away, now,
										TIMEOUT_MS))
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("the schema registry has not answered for %d seconds",
						TIMEOUT_MS / 1000),
				 reason ? errdetail("%s.", reason) : 0));
}

/*
 * The topic of schemas, where there is no registry: its records' keys are
 * fingerprints in hexadecimal.  Read with a source of its own: the other one
 * may be reading.
 */
static char *
find_published_schema(uint64 fingerprint)
{
	const char *topic = selection_schemas_topic(verifier.settings,
												NameStr(verifier.stream->database));
	OptionList	options = options_read("wal2kafka.kafka_options",
									   verifier.settings->kafka_options,
									   "wal2kafka.kafka_options_file",
									   verifier.settings->kafka_options_file,
									   kafka_sink_check_options);
	KafkaSource *source =
		kafka_source_create(verifier.settings->bootstrap_servers,
							"wal2kafka-verify", &options, TIMEOUT_MS, true);
	KafkaPartition *partitions;
	KafkaRecord record;
	char	   *result = NULL;
	char		key[17];
	int			n;

	options_wipe(&options);
	snprintf(key, sizeof(key), "%016llx", (unsigned long long) fingerprint);
	n = kafka_source_look(source, &topic, 1, &partitions);
	for (int i = 0; i < n; i++)
	{
		kafka_source_begin(source, &partitions[i]);
		while (kafka_source_next(source, &record))
		{
			if (record.key_len == 16 && record.value != NULL &&
				memcmp(record.key, key, 16) == 0)
				result = pnstrdup((const char *) record.value,
								  record.value_len);
		}
	}
	kafka_source_destroy(source);
	return result;
}

static char *
schema_text(void *arg, bool is_fingerprint, uint64 id)
{
	MemoryContext old;

	if (is_fingerprint)
		return find_published_schema(id);
	if (verifier.settings->schema_registry_url[0] == '\0' ||
		id > PG_INT32_MAX)
		return NULL;
	if (verifier.registry == NULL)
	{
		old = MemoryContextSwitchTo(verifier.cxt);
		verifier.registry = registry_open(verifier.settings,
										  on_registry_wait, NULL);
		MemoryContextSwitchTo(old);
	}
	return registry_schema_text(verifier.registry, (int32) id);
}

/* ---------------------------------------------------------------------
 * The table
 * --------------------------------------------------------------------- */

/*
 * The relations whose rows go where this one's do: itself, or the partitions
 * that are published as it.  They are locked.
 */
static List *
relations_of(Oid relid)
{
	RelationMap *map = decoder_relation_map(verifier.decoder);
	List	   *result = NIL;
	ListCell   *cell;

	foreach(cell, find_all_inheritors(relid, AccessShareLock, NULL))
	{
		Relation	relation = try_relation_open(lfirst_oid(cell), NoLock);
		RelationEntry *entry;

		if (relation == NULL)
			continue;
		if (relation->rd_rel->relkind == RELKIND_RELATION)
		{
			entry = relation_map_get(map, relation);
			if (entry->selected && entry->publish_as == relid)
			{
				table_check_readable(relation);
				result = lappend_oid(result, lfirst_oid(cell));
			}
		}
		relation_close(relation, NoLock);
	}
	return result;
}

/*
 * Why rows and records cannot be compared at all; NULL if they can.
 */
static const char *
incomparable(const RelationEntry *entry)
{
	const Settings *settings = verifier.settings;

	if (entry->publish_as != verifier.task->relid)
		return psprintf("The rows of the table are sent as those of \"%s\"; that can be verified.",
						get_rel_name(entry->publish_as));
	if (entry->shape == SHAPE_OUTBOX)
		return "It is an outbox table, whose records are events and no rows.";
	if (entry->nkeys == 0)
		return "The table has no key, so that nothing tells which of its rows a record is of.";
	if (entry->shape == SHAPE_FLAT && settings->route_by_field[0] != '\0')
		return "Values of rows choose the topic (wal2kafka.route_by_field).";
	if (entry->shape == SHAPE_FLAT && entry->shares_topic)
		return "Several tables share the topic, and flat records do not say whose they are.";
	if (entry->shape == SHAPE_FLAT &&
		settings->delete_tombstone_handling_mode == DELETE_DROP)
		return "Deletes are not sent (wal2kafka.delete_tombstone_handling_mode).";
	if (entry->partitions != NULL && settings->partition_topic_num > 1)
		return "Values of rows choose the partition (wal2kafka.partition_payload_fields), so that the order of a key's records is not known.";
	return NULL;
}

/* Operations that never get to the topic. */
static void
excuse_operations(const RelationEntry *entry)
{
	int			skipped =
		settings_skipped_operations(verifier.settings->skipped_operations);

	if (!entry->rules.insert || !entry->rules.update || !entry->rules.delete)
		add_sentence(&verifier.excuses,
					 "The publication does not have all of insert, update and delete.");
	if (skipped & (SKIP_CREATE | SKIP_UPDATE | SKIP_DELETE))
		add_sentence(&verifier.excuses,
					 "wal2kafka.skipped_operations leaves some out.");
}

/*
 * One entry that stands for the table: its own, or a partition's.
 */
static Relation
open_representative(void)
{
	Oid			relid = verifier.relids != NIL ?
		linitial_oid(verifier.relids) : verifier.task->relid;

	return relation_open(relid, AccessShareLock);
}

/*
 * Lock and examine the table.  Returns why not, NULL if all is well.
 */
static const char *
prepare_table(void)
{
	Relation	relation;
	RelationEntry *entry;
	const char *reason = NULL;

	LockRelationOid(verifier.task->relid, AccessShareLock);
	if (get_rel_name(verifier.task->relid) == NULL)
		return "The table does not exist any more.";
	verifier.name =
		quote_qualified_identifier(get_namespace_name(get_rel_namespace(verifier.task->relid)),
								   get_rel_name(verifier.task->relid));
	verifier.decoder = decoder_create_for_snapshot(verifier.cxt,
												   verifier.settings,
												   InvalidTransactionId,
												   InvalidXLogRecPtr,
												   GetCurrentTimestamp());
	verifier.relids = relations_of(verifier.task->relid);
	relation = open_representative();
	entry = relation_map_get(decoder_relation_map(verifier.decoder), relation);
	if (!entry->selected)
		reason = "The stream does not select the table.";
	else
		reason = incomparable(entry);
	if (reason == NULL)
	{
		excuse_operations(entry);
		verifier.topic = pstrdup(entry->target.topic);
		verifier.schema_text = pstrdup(entry->target.value.text);
		verifier.digester = record_digester_create(verifier.cxt,
												   verifier.settings, entry,
												   schema_text, NULL);
	}
	relation_close(relation, NoLock);
	return reason;
}

/*
 * Is a snapshot of the table under way, which may yet fill the topic?
 */
static void
excuse_snapshots(void)
{
	char		slot_name[NAMEDATALEN];
	SnapshotProgress *progress;
	ListCell   *job_cell;
	ListCell   *cell;

	SpinLockAcquire(&verifier.stream->mutex);
	strlcpy(slot_name, verifier.stream->slot_name, sizeof(slot_name));
	SpinLockRelease(&verifier.stream->mutex);
	progress = snapshot_progress_load(verifier.cxt, slot_name);
	foreach(job_cell, progress->jobs)
	{
		const SnapshotJob *job = lfirst(job_cell);

		if (!snapshot_job_unfinished(job))
			continue;
		foreach(cell, job->tables)
		{
			const SnapshotTable *table = lfirst(cell);

			if ((table->state == SNAPSHOT_TABLE_WAITING ||
				 table->state == SNAPSHOT_TABLE_READING) &&
				(table->relid == verifier.task->relid ||
				 list_member_oid(verifier.relids, table->relid)))
			{
				add_sentence(&verifier.excuses,
							 "A snapshot of the table is under way.");
				return;
			}
		}
	}
}

/* ---------------------------------------------------------------------
 * The topic
 * --------------------------------------------------------------------- */

static void
open_source(void)
{
	const Settings *settings = verifier.settings;
	OptionList	options = options_read("wal2kafka.kafka_options",
									   settings->kafka_options,
									   "wal2kafka.kafka_options_file",
									   settings->kafka_options_file,
									   kafka_sink_check_options);

	verifier.source = kafka_source_create(settings->bootstrap_servers,
										  "wal2kafka-verify", &options,
										  TIMEOUT_MS, true);
	options_wipe(&options);
}

/*
 * The worker's word on where partitions end.  What was there before the place
 * was asked for and is behind that is somebody else's, and counts, too.
 */
static void
take_offsets(const char *text, size_t len)
{
	char	   *copy = pnstrdup(text, len);
	char	   *line;

	while ((line = strsep(&copy, "\n")) != NULL)
	{
		char	   *topic = strsep(&line, "\t");
		char	   *partition = line != NULL ? strsep(&line, "\t") : NULL;

		if (line == NULL || strcmp(topic, verifier.topic) != 0)
			continue;
		for (int i = 0; i < verifier.npartitions; i++)
			if (verifier.partitions[i].id == atoi(partition))
				verifier.partitions[i].high = Max(verifier.partitions[i].high,
												  strtoll(line, NULL, 10));
	}
}

static void
excuse_cuts(void)
{
	for (int i = 0; i < verifier.npartitions; i++)
	{
		const KafkaPartition *partition = &verifier.partitions[i];

		if (partition->low == 0)
			continue;
		verifier.cut = true;
		add_sentence(&verifier.excuses,
					 psprintf("The topic was cut: partition %d begins with offset %lld.",
							  (int) partition->id,
							  (long long) partition->low));
		return;
	}
}

/*
 * Meet the stream at a place.  Where the worker has not written since it
 * began, partitions end where they end now, before the place is asked for.
 */
static void
take_place(void)
{
	PlaceExchange *exchange = side_worker_exchange(verifier.segment);
	dsm_handle	handle = dsm_segment_handle(verifier.segment);
	const char *topic = verifier.topic;
	PlaceSession *session;
	Snapshot	base;

	place_register(verifier.stream, handle);
	session = place_session_begin(verifier.stream, exchange);
	verifier.npartitions = kafka_source_look(verifier.source, &topic, 1,
											 &verifier.partitions);

	place_taking(session);
	base = RegisterSnapshot(GetLatestSnapshot());
	verifier.snapshot = place_take(session, base, InvalidOid, true,
								   &verifier.task->lsn);
	take_offsets(place_offsets(exchange), exchange->offsets_len);
	place_done(session);
	place_withdraw(verifier.stream, handle);
	UnregisterSnapshot(base);
	PushActiveSnapshot(verifier.snapshot);
	decoder_set_place(verifier.decoder, verifier.snapshot->xmax,
					  verifier.task->lsn, GetCurrentTimestamp());
	excuse_cuts();
}

static uint64
count_records(void)
{
	uint64		result = 0;

	for (int i = 0; i < verifier.npartitions; i++)
		result += Max(verifier.partitions[i].high -
					  verifier.partitions[i].low, 0);
	return result;
}

static void
read_topic(uint64 total)
{
	MemoryContext old = MemoryContextSwitchTo(verifier.scratch);
	uint64		n = 0;

	for (int i = 0; i < verifier.npartitions; i++)
	{
		KafkaRecord record;

		kafka_source_begin(verifier.source, &verifier.partitions[i]);
		while (kafka_source_next(verifier.source, &record))
		{
			RecordDigest digest;

			if (++n % 4096 == 0)
			{
				MemoryContextReset(verifier.scratch);
				report_progress("reading the topic", (double) n / total);
			}
			record_digest_key(verifier.digester, &record, &digest);
			if (digest.has_key && !key_fold_wants(verifier.fold, digest.key))
				continue;
			record_digest_value(verifier.digester, &record, &digest);
			if (verifier.first_pass && !digest.has_key &&
				digest.effect != RECORD_IS_OTHERS &&
				digest.effect != RECORD_REMOVES_ALL)
				verifier.keyless++;
			key_fold_record(verifier.fold, &record, &digest);
		}
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(verifier.scratch);
	key_fold_end_records(verifier.fold);
	verifier.task->keys += key_fold_keys(verifier.fold);
}

/* ---------------------------------------------------------------------
 * Rows
 * --------------------------------------------------------------------- */

static void
note_match(const KeyMatch *match, const RecordDigest *row, const Event *event)
{
	int			next = verifier.task->ndifferences;
	Difference *difference = NULL;

	switch (match->verdict)
	{
		case KEY_EQUAL:
			break;
		case KEY_MISSING:
			difference = add_difference(DIFFERENCE_MISSING, -1, -1);
			break;
		case KEY_DIFFERENT:
			difference = add_difference(DIFFERENCE_VALUE, match->partition,
										match->offset);
			break;
		case KEY_REPEATED:
			verifier.repeated++;
			return;
	}
	if (difference != NULL)
	{
		strlcpy(difference->key,
				record_digester_event_key_text(verifier.digester, event),
				sizeof(difference->key));
		if (match->verdict == KEY_DIFFERENT)
		{
			Size		size = sizeof(uint64) *
				record_digester_ncolumns(verifier.digester);

			verifier.rows[next] = MemoryContextAlloc(verifier.cxt, size);
			memcpy(verifier.rows[next], row->columns, size);
		}
	}
	verifier.partial += match->partial;
	verifier.unknown += match->unknown;
}

/*
 * The event of a row.  Its target is a new one when the table's entry was made
 * anew; then it may have another schema.
 */
static void
sink_emit(EventSink *sink, const Event *event)
{
	RecordDigest digest;
	KeyMatch	match;

	if (unlikely(event->kind == EVENT_DEAD_LETTER))
	{
		verifier.unsent += verifier.first_pass;
		verifier.task->rows += verifier.first_pass;
		return;
	}
	if (unlikely(event->target->sink_data != sink))
	{
		if (strcmp(event->target->value.text, verifier.schema_text) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("the schema of %s changed while it was verified",
							verifier.name)));
		event->target->sink_data = sink;
	}
	verifier.task->rows += verifier.first_pass;
	record_digest_event_key(verifier.digester, event, &digest);
	if (!key_fold_wants(verifier.fold, digest.key))
		return;
	record_digest_event_value(verifier.digester, event, &digest);
	key_fold_compare(verifier.fold, &digest, &match);
	note_match(&match, &digest, event);
}

static void
sink_transaction(EventSink *sink, const EventTransaction *txn)
{
}

static void
sink_target(EventSink *sink, EventTarget *target)
{
	target->sink_data = NULL;
}

static void
read_relation(Oid relid)
{
	Relation	relation = relation_open(relid, NoLock);
	TupleTableSlot *slot = table_slot_create(relation, NULL);
	TableScanDesc scan = table_beginscan(relation, verifier.snapshot, 0, NULL);
	uint64		n = 0;

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		(void) decoder_emit_row(verifier.decoder, relation, slot,
								"incremental");
		if (++n % 4096 == 0)
			report_progress("reading the table",
							key_fold_passed(verifier.fold));
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	relation_close(relation, NoLock);
}

/* ---------------------------------------------------------------------
 * Passes
 * --------------------------------------------------------------------- */

static void
find_left_over(void)
{
	uint64		cursor = 0;
	int32		partition;
	int64		offset;

	while (key_fold_left_over(verifier.fold, &cursor, &partition, &offset))
		(void) add_difference(DIFFERENCE_EXTRA, partition, offset);
}

/*
 * The records that differ are read once more: for the keys of those that no
 * row has, and the columns of the others.
 */
static void
describe_differences(void)
{
	VerifyTask *task = verifier.task;

	for (int i = 0; i < task->ndifferences; i++)
	{
		Difference *difference = &task->differences[i];
		KafkaPartition partition = {verifier.topic};
		KafkaRecord record;

		if (difference->offset < 0)
			continue;
		partition.id = difference->partition;
		partition.low = difference->offset;
		partition.high = difference->offset + 1;
		kafka_source_begin(verifier.source, &partition);
		if (kafka_source_next(verifier.source, &record))
		{
			if (difference->key[0] == '\0')
				strlcpy(difference->key,
						record_digester_key_text(verifier.digester, &record),
						sizeof(difference->key));
			if (verifier.rows[i] != NULL)
				strlcpy(difference->columns,
						record_digester_differing(verifier.digester, &record,
												  verifier.rows[i]),
						sizeof(difference->columns));
		}
		kafka_source_end(verifier.source);
	}
}

static void
run_passes(void)
{
	uint64		total = count_records();
	ListCell   *cell;

	verifier.fold = key_fold_create(verifier.cxt, verifier.digester,
									verifier.npartitions, total, FOLD_BYTES);
	verifier.first_pass = true;
	while (key_fold_next_slice(verifier.fold))
	{
		verifier.task->passes++;
		read_topic(total);
		foreach(cell, verifier.relids)
			read_relation(lfirst_oid(cell));
		find_left_over();
		verifier.first_pass = false;
	}
	describe_differences();
}

/* ---------------------------------------------------------------------
 * The verdict
 * --------------------------------------------------------------------- */

/*
 * "a and b", of counts that are not zero.
 */
static void
append_count(StringInfo text, uint64 count, const char *one, const char *many)
{
	if (count == 0)
		return;
	add_sentence(text, psprintf(UINT64_FORMAT " %s", count,
								count == 1 ? one : many));
}

static void
judge(void)
{
	StringInfoData reason;
	uint64		differences = verifier.unsent;
	Verdict		verdict = VERDICT_EQUAL;

	initStringInfo(&reason);
	for (int i = 0; i <= DIFFERENCE_VALUE; i++)
		differences += verifier.counts[i];

	if (verifier.repeated > 0)
		verdict = VERDICT_UNKNOWN;
	else if (differences > 0)
		verdict = verifier.excuses.len > 0 ?
			VERDICT_UNKNOWN : VERDICT_DIFFERENT;

	append_count(&reason, verifier.unsent,
				 "row cannot be sent, and is left out.",
				 "rows cannot be sent, and are left out.");
	append_count(&reason, verifier.counts[DIFFERENCE_MISSING],
				 "row is not in the topic.", "rows are not in the topic.");
	append_count(&reason, verifier.counts[DIFFERENCE_EXTRA],
				 "key of the topic is not in the table.",
				 "keys of the topic are not in the table.");
	append_count(&reason, verifier.counts[DIFFERENCE_VALUE],
				 "row differs from its key's last record.",
				 "rows differ from their keys' last records.");
	append_count(&reason, verifier.repeated,
				 "row has the key of another row: the key is not unique.",
				 "rows have the keys of other rows: the key is not unique.");
	if (differences > 0)
	{
		if (verifier.excuses.len > 0)
			add_sentence(&reason, verifier.excuses.data);
		append_count(&reason, verifier.keyless,
					 "record of the topic has no key.",
					 "records of the topic have no key.");
	}
	append_count(&reason, verifier.partial,
				 "row was compared in the columns that its last record has with the same type.",
				 "rows were compared in the columns that their last records have with the same types.");
	append_count(&reason, verifier.unknown,
				 "value is not in the topic, since it is TOASTed and was not changed.",
				 "values are not in the topic, since they are TOASTed and were not changed.");
	set_answer(verdict, reason.data);
}

static void
compare_table(void)
{
	const char *reason = prepare_table();

	if (reason != NULL)
	{
		set_answer(VERDICT_UNKNOWN, reason);
		return;
	}
	excuse_snapshots();
	open_source();
	take_place();
	if (verifier.npartitions == 0)
	{
		set_answer(VERDICT_UNKNOWN,
				   psprintf("There is no topic \"%s\".", verifier.topic));
		return;
	}
	run_passes();
	PopActiveSnapshot();
	UnregisterSnapshot(verifier.snapshot);
	if (verifier.excuses.len == 0)
		excuse_snapshots();
	judge();
}

/* ---------------------------------------------------------------------
 * The process
 * --------------------------------------------------------------------- */

/*
 * Errors that are an answer: nobody is there to be asked.
 */
static void
answer_error(const ErrorData *error)
{
	switch (error->sqlerrcode)
	{
		case ERRCODE_T_R_SERIALIZATION_FAILURE:
			set_answer(VERDICT_TRY_AGAIN, error->message);
			break;
		case ERRCODE_CONNECTION_FAILURE:
		case ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE:
			set_answer(VERDICT_UNKNOWN, error->detail != NULL ?
					   psprintf("%s: %s", error->message, error->detail) :
					   error->message);
			break;
		default:
			ThrowErrorData(unconstify(ErrorData *, error));
	}
}

static void
begin_transaction(void)
{
	StartTransactionCommand();
	XactIsoLevel = XACT_READ_COMMITTED;
	XactReadOnly = true;
	table_access_restrict();
}

static void
verify_work(StreamState *stream, const Settings *settings,
			dsm_segment *segment)
{
	verifier.sink.begin = sink_transaction;
	verifier.sink.emit = sink_emit;
	verifier.sink.commit = sink_transaction;
	verifier.sink.announce = sink_target;
	verifier.sink.release = sink_target;
	verifier.task = side_worker_payload(segment);
	verifier.stream = stream;
	verifier.settings = settings;
	verifier.segment = segment;
	verifier.cxt = AllocSetContextCreate(TopMemoryContext, "wal2kafka verify",
										 ALLOCSET_DEFAULT_SIZES);
	verifier.scratch = AllocSetContextCreate(verifier.cxt,
											 "wal2kafka verify record",
											 ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(verifier.cxt);
	initStringInfo(&verifier.excuses);
	event_sink = &verifier.sink;
	pgstat_report_activity(STATE_RUNNING, "verifying a table");

	begin_transaction();
	MemoryContextSwitchTo(verifier.cxt);
	PG_TRY();
	{
		compare_table();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(verifier.cxt);
		error = CopyErrorData();
		FlushErrorState();
		answer_error(error);
	}
	PG_END_TRY();
	AbortCurrentTransaction();
	kafka_source_destroy(verifier.source);
}

void
verify_main(Datum main_arg)
{
	side_worker_main(main_arg, verify_work);
}

/* ---------------------------------------------------------------------
 * The call
 * --------------------------------------------------------------------- */

/*
 * The differences as JSON.
 */
static Datum
differences_json(const VerifyTask *task)
{
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfoChar(&out, '[');
	for (int i = 0; i < task->ndifferences; i++)
	{
		const Difference *difference = &task->differences[i];

		appendStringInfo(&out, "%s{\"key\":", i > 0 ? "," : "");
		escape_json(&out, difference->key);
		appendStringInfoString(&out, ",\"what\":");
		escape_json(&out, difference_names[difference->kind]);
		if (difference->columns[0] != '\0')
		{
			appendStringInfoString(&out, ",\"columns\":");
			escape_json(&out, difference->columns);
		}
		if (difference->offset >= 0)
			appendStringInfo(&out, ",\"partition\":%d,\"offset\":" INT64_FORMAT,
							 (int) difference->partition, difference->offset);
		appendStringInfoChar(&out, '}');
	}
	appendStringInfoChar(&out, ']');
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(out.data));
}

static HeapTuple
form_result(TupleDesc desc, const VerifyTask *task)
{
	Datum		values[VERIFY_COLUMNS] = {0};
	bool		nulls[VERIFY_COLUMNS] = {0};
	bool		read = task->passes > 0;

	values[VERIFY_VERDICT] = CStringGetTextDatum(verdict_names[task->verdict]);
	nulls[VERIFY_REASON] = task->reason[0] == '\0';
	values[VERIFY_REASON] = CStringGetTextDatum(task->reason);
	nulls[VERIFY_LSN] = XLogRecPtrIsInvalid(task->lsn);
	values[VERIFY_LSN] = LSNGetDatum(task->lsn);
	nulls[VERIFY_ROWS] = nulls[VERIFY_KEYS] = !read;
	nulls[VERIFY_PASSES] = nulls[VERIFY_DIFFERENCES] = !read;
	values[VERIFY_ROWS] = Int64GetDatum(task->rows);
	values[VERIFY_KEYS] = Int64GetDatum(task->keys);
	values[VERIFY_PASSES] = Int32GetDatum(task->passes);
	if (read)
		values[VERIFY_DIFFERENCES] = differences_json(task);
	return heap_form_tuple(desc, values, nulls);
}

/*
 * The table that is named.  Who may see what is in it is no matter of the
 * stream's role alone: keys of its rows are in the answer.
 */
static Oid
find_table(text *name)
{
	Oid			relid;

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the table must not be null")));
	relid = RangeVarGetRelid(makeRangeVarFromNameList(textToQualifiedNameList(name)),
							 NoLock, false);
	switch (get_rel_relkind(relid))
	{
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
			break;
		default:				/* the server's characters, not our enum */
			ereport(ERROR,
					(errcode(ERRCODE_WRONG_OBJECT_TYPE),
					 errmsg("\"%s\" is not a table", get_rel_name(relid))));
	}
	if (pg_class_aclcheck(relid, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, get_rel_name(relid));
	if (check_enable_rls(relid, InvalidOid, true) == RLS_ENABLED)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for table %s",
						get_rel_name(relid)),
				 errdetail("Its row-level security hides rows from role \"%s\".",
						   GetUserNameFromId(GetUserId(), false))));
	return relid;
}

/*
 * verify(table text, stream text)
 */
Datum
wal2kafka_stream_verify(PG_FUNCTION_ARGS)
{
	Oid			relid;
	char	   *stream = PG_ARGISNULL(1) ? NULL :
		text_to_cstring(PG_GETARG_TEXT_PP(1));
	TupleDesc	desc;
	int			index;
	HeapTuple	result = NULL;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE ||
		desc->natts != VERIFY_COLUMNS)
		elog(ERROR, "unexpected result type of verify");
	desc = BlessTupleDesc(desc);
	relid = find_table(PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0));
	(void) side_worker_stream(stream, &index);

	for (int attempt = 1; result == NULL; attempt++)
	{
		dsm_segment *segment = side_worker_segment(index, OFFSETS_BYTES,
												   sizeof(VerifyTask));
		VerifyTask *task = side_worker_payload(segment);

		task->relid = relid;
		side_worker_run(segment, "verify_main", "verification");
		if (task->verdict != VERDICT_TRY_AGAIN || attempt == MAX_ATTEMPTS)
		{
			if (task->verdict == VERDICT_TRY_AGAIN)
				task->verdict = VERDICT_UNKNOWN;
			result = form_result(desc, task);
		}
		dsm_detach(segment);
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(result));
}
