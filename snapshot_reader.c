/*
 * snapshot_reader.c
 *		The process that reads one table while its changes are streamed.
 *
 * A range is a transaction.  What may wait for others, or fail, comes first:
 * the table's lock, privileges, the entry of the relation, the predicate, the
 * key.  Only then is a place asked for, since from there on changes of the
 * table may have to wait for the range.
 *
 * A table with a primary key is read in the order of its index, behind the
 * key of the last row, until the range has taken long enough.  So the
 * comparison is the index's own, and a row that was read before is not read
 * again.  The key goes from range to range as text, also within one process:
 * there is one way, and it is the one that an interruption takes.
 *
 * What becomes of an error depends on what it says.  One of the table ends
 * the table: it is reported, and asking again would not help.  One of the
 * moment (no memory, a cancelled query) ends the process, and the table is
 * gone on with by another one.  Where the streaming worker is gone nobody is
 * left to hear.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/nbtree.h"
#include "access/relation.h"
#include "access/relscan.h"
#include "access/skey.h"
#include "access/stratnum.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "optimizer/plancat.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "decoder.h"
#include "row_predicate.h"
#include "seen_rows.h"
#include "snapshot_reader.h"
#include "table_access.h"

/* The clock is read once in so many rows that are not large. */
#define ROWS_PER_CLOCK		16

#define RETRY_MS			100
#define TURN_MS				5000

/*
 * How long a range waits for the stream to take its rows, say while Kafka is
 * away: lock and snapshot are held meanwhile.  Where there is a key the range
 * ends with the rows it has; else the process does, and the table begins anew.
 */
#define PATIENCE_MS			10000
#define PATIENCE_KEYLESS_MS 60000

/* Value of source.snapshot */
#define MARKER				"incremental"

typedef enum RangeOutcome
{
	RANGE_MORE,					/* rows may follow it */
	RANGE_LAST,
	RANGE_TABLE_GONE,			/* there is no table */
	RANGE_NOT_YET,				/* the key's index is too new */
} RangeOutcome;

/* Who caused an error. */
typedef enum ErrorBlame
{
	BLAME_TABLE,				/* it will come again */
	BLAME_MOMENT,				/* it may not */
	BLAME_PLACE,				/* the place can be asked for again */
	BLAME_WORKER,				/* nobody is there any more */
} ErrorBlame;

/* The process. */
typedef struct Reader
{
	ReaderTask *task;
	const char *predicate;		/* NULL: none */
	const SnapshotBlocks *blocks;
	const SeenRows *seen;		/* what was sent of the rows in blocks */
	StreamState *stream;
	PlaceExchange *exchange;
	PlaceSession *session;		/* NULL: not begun */
	shm_mq_handle *queue;
	RelaySink  *sink;
	Decoder    *decoder;		/* NULL: not made yet */
	bool		placing;		/* errors are those of place.c */
	ErrorData  *failure;		/* of the table, to be reported; NULL: none */
	bool		announced;		/* the worker has heard of the topic */

	/* where to go on; see describe_key() and SentPiece */
	MemoryContext cursor_context;
	int			ncursor;
	char	  **cursor;
	struct Range *range;		/* that is read now; NULL: none */
} Reader;

/* The primary key of a table; index is NULL where it has none. */
typedef struct TableKey
{
	Relation	index;
	int			ncolumns;
	AttrNumber	attnums[INDEX_MAX_KEYS];	/* in the table */
	char	   *description;
} TableKey;

/*
 * Of a table without a key: what a snapshot saw up to this place in the heap
 * was sent.  A reading that was interrupted is followed by one with another
 * snapshot, from the start, so there may be several of these, each with its
 * place behind that of the one after it.  The cursor is CTID_CURSOR, the
 * table's storage, and the two texts of each.
 */
typedef struct SentPiece
{
	char	   *seen_text;
	char	   *tid_text;
	SeenRows   *seen;
	ItemPointerData tid;
} SentPiece;

#define CTID_CURSOR		"ctid"

/* One range, in its transaction. */
typedef struct Range
{
	Relation	relation;
	TableKey	key;
	RowPredicate *predicate;	/* NULL: all rows */
	bool		may_skip;		/* rows may be known to be sent, by blocks */
	int			npieces;
	SentPiece  *pieces;			/* or by these */
	char	   *seen_text;		/* of the snapshot, without a key */
	int			nscankeys;
	ScanKeyData scankey;
	ScanKeyData members[INDEX_MAX_KEYS];	/* of a scankey of several */
	IndexScanDesc index_scan;	/* or */
	TableScanDesc table_scan;

	/* the last row stays in one while the other is filled */
	TupleTableSlot *slots[2];
	int			turn;
	TupleTableSlot *last;		/* NULL: no row yet */
	TupleTableSlot *sent;		/* row whose events were emitted; NULL: none */

	TimestampTz began;			/* the place was given */
	ReaderReport report;
} Range;

static Reader reader;

/* ---- transactions ---- */

static void
begin_transaction(void)
{
	StartTransactionCommand();
	XactIsoLevel = XACT_READ_COMMITTED;
	XactReadOnly = true;
	table_access_restrict();
}

static void
end_transaction(void)
{
	table_access_lift();
	CommitTransactionCommand();
	MemoryContextSwitchTo(TopMemoryContext);
}

static void
nap(void)
{
	if (shm_mq_wait_for_attach(reader.queue) == SHM_MQ_DETACHED)
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("the streaming worker has ended")));
	(void) WaitLatch(MyLatch,
					 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 RETRY_MS, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/*
 * The decoder lasts for the process: what it keeps is its own memory, and
 * entries that invalidations reach in any transaction.  To begin it needs
 * one.
 */
static void
make_decoder(const Settings *settings)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext,
												  "wal2kafka reader",
												  ALLOCSET_DEFAULT_SIZES);

	begin_transaction();
	reader.decoder = decoder_create_for_snapshot(context, settings,
												 InvalidTransactionId,
												 InvalidXLogRecPtr,
												 GetCurrentTimestamp());
	end_transaction();
}

/* ---- reports ---- */

/*
 * The row as it is in the table's block; NULL where the access method has it
 * in another way.
 */
static HeapTuple
heap_tuple(TupleTableSlot *slot)
{
	if (!TTS_IS_BUFFERTUPLE(slot))
		return NULL;
	return ((BufferHeapTupleTableSlot *) slot)->base.tuple;
}

static void
add_text(StringInfo buf, const char *text)
{
	appendBinaryStringInfo(buf, text, strlen(text) + 1);
}

static void
send_report(const StringInfoData *buf)
{
	relay_sink_report(reader.sink, buf->data, buf->len);
}

static void
begin_report(StringInfo buf, const ReaderReport *report)
{
	initStringInfo(buf);
	appendBinaryStringInfo(buf, (const char *) report, sizeof(ReaderReport));
}

static void
report_kind(ReaderReportKind kind)
{
	ReaderReport report = {.kind = kind,.relid = reader.task->relid};
	StringInfoData buf;

	begin_report(&buf, &report);
	send_report(&buf);
	pfree(buf.data);
}

/*
 * Detail and context on one line: the context names column and predicate.
 */
static char *
join_detail(const ErrorData *error)
{
	StringInfoData text;

	initStringInfo(&text);
	if (error->detail != NULL)
		appendStringInfoString(&text, error->detail);
	for (const char *line = error->context; line != NULL && *line != '\0';)
	{
		size_t		len = strcspn(line, "\n");

		appendStringInfo(&text, "%s%.*s", text.len > 0 ? " " : "",
						 (int) len, line);
		line += len;
		line += (*line == '\n');
	}
	return text.data;
}

static void
report_failure(void)
{
	const ErrorData *error = reader.failure;
	ReaderReport report = {
		.kind = READER_TABLE_FAILED,
		.relid = reader.task->relid,
	};
	StringInfoData buf;

	begin_report(&buf, &report);
	add_text(&buf, error->message ? error->message : "");
	add_text(&buf, join_detail(error));
	add_text(&buf, error->hint ? error->hint : "");
	send_report(&buf);
}

static uint64
estimate_rows(Relation relation)
{
	BlockNumber pages;
	double		rows;
	double		all_visible;

	estimate_rel_size(relation, NULL, &pages, &rows, &all_visible);
	return rows > 0 ? (uint64) rows : 0;
}

/* ---- the key ---- */

/*
 * The primary key's index, open and locked.  A deferrable constraint serves as
 * well: when a transaction commits its keys are unique, and what a snapshot
 * sees is committed.  One WITHOUT OVERLAPS is not ordered.
 */
static Relation
open_key_index(Relation relation)
{
	List	   *indexes = RelationGetIndexList(relation);
	Relation	index = NULL;
	ListCell   *cell;

	foreach(cell, indexes)
	{
		HeapTuple	tuple = SearchSysCache1(INDEXRELID,
											ObjectIdGetDatum(lfirst_oid(cell)));
		Form_pg_index form;
		bool		primary;

		if (!HeapTupleIsValid(tuple))
			continue;
		form = (Form_pg_index) GETSTRUCT(tuple);
		primary = form->indisprimary && form->indisvalid;
		ReleaseSysCache(tuple);
		if (!primary)
			continue;
		index = index_open(lfirst_oid(cell), AccessShareLock);
		if (index->rd_rel->relam == BTREE_AM_OID)
			break;
		index_close(index, AccessShareLock);
		index = NULL;
	}
	list_free(indexes);
	return index;
}

/*
 * What a cursor is a cursor of.  It is the first of its texts, so that one of
 * another key, or of a column that has another type now, is not taken for one
 * of this.
 */
static char *
describe_key(const TableKey *key, Relation relation)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < key->ncolumns; i++)
		appendStringInfo(&buf, "%s%d:%u:%u", i > 0 ? "," : "",
						 key->attnums[i],
						 TupleDescAttr(RelationGetDescr(relation),
									   key->attnums[i] - 1)->atttypid,
						 key->index->rd_indcollation[i]);
	return buf.data;
}

static void
find_key(TableKey *key, Relation relation)
{
	key->index = open_key_index(relation);
	if (key->index == NULL)
		return;
	key->ncolumns = IndexRelationGetNumberOfKeyAttributes(key->index);
	for (int i = 0; i < key->ncolumns; i++)
		key->attnums[i] = key->index->rd_index->indkey.values[i];
	key->description = describe_key(key, relation);
}

/*
 * An index that was made when rows had versions it does not lead to serves
 * only snapshots that need none of those, as the planner has it too.
 */
static bool
key_usable(const TableKey *key)
{
	return key->index == NULL || !key->index->rd_index->indcheckxmin ||
		TransactionIdPrecedes(HeapTupleHeaderGetXmin(key->index->rd_indextuple->t_data),
							  TransactionXmin);
}

/*
 * A value of the key from its text.  The base type reads it, without a length:
 * the value was in the table, and need not be checked.
 */
static Datum
key_value(Relation relation, AttrNumber attnum, char *text)
{
	Oid			type = TupleDescAttr(RelationGetDescr(relation),
									 attnum - 1)->atttypid;
	Oid			input;
	Oid			ioparam;

	getTypeInputInfo(getBaseType(type), &input, &ioparam);
	return OidInputFunctionCall(input, text, ioparam, -1);
}

static char *
key_text(Relation relation, AttrNumber attnum, Datum value)
{
	Oid			type = TupleDescAttr(RelationGetDescr(relation),
									 attnum - 1)->atttypid;
	Oid			output;
	bool		is_varlena;

	getTypeOutputInfo(getBaseType(type), &output, &is_varlena);
	return OidOutputFunctionCall(output, value);
}

/*
 * The scan begins behind the cursor: index's columns > its values, as a row.
 */
static void
set_scan_key(Range *range, char **texts)
{
	const TableKey *key = &range->key;
	bool		several = key->ncolumns > 1;

	for (int i = 0; i < key->ncolumns; i++)
	{
		Oid			family = key->index->rd_opfamily[i];
		Oid			type = key->index->rd_opcintype[i];
		Oid			function;

		if (several)
			function = get_opfamily_proc(family, type, type, BTORDER_PROC);
		else
			function = get_opcode(get_opfamily_member(family, type, type,
													  BTGreaterStrategyNumber));
		if (!OidIsValid(function))
			elog(ERROR, "index \"%s\" cannot compare its column %d",
				 RelationGetRelationName(key->index), i + 1);
		ScanKeyEntryInitialize(several ? &range->members[i] : &range->scankey,
							   several ? SK_ROW_MEMBER : 0, i + 1,
							   BTGreaterStrategyNumber, type,
							   key->index->rd_indcollation[i], function,
							   key_value(range->relation, key->attnums[i],
										 texts[i]));
	}
	range->nscankeys = 1;
	if (!several)
		return;
	range->members[key->ncolumns - 1].sk_flags |= SK_ROW_END;
	memset(&range->scankey, 0, sizeof(ScanKeyData));
	range->scankey.sk_flags = SK_ROW_HEADER;
	range->scankey.sk_attno = 1;
	range->scankey.sk_strategy = BTGreaterStrategyNumber;
	range->scankey.sk_argument = PointerGetDatum(range->members);
}

/*
 * The same with the rights of the table's owner: to read a value from its text
 * may run functions of others, those in constraints of domains.
 */
static void
set_scan_key_as_owner(Range *range, char **texts)
{
	int			nest_level = NewGUCNestLevel();
	Oid			user;
	int			context;

	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(range->relation->rd_rel->relowner,
						   context | SECURITY_RESTRICTED_OPERATION);
	set_scan_key(range, texts);
	SetUserIdAndSecContext(user, context);
	AtEOXact_GUC(false, nest_level);
}

/*
 * The cursor of a table without a key; false if it is none.
 */
static bool
apply_pieces(Range *range)
{
	int			n = (reader.ncursor - 2) / 2;
	char	  **text = reader.cursor + 2;

	if (reader.ncursor < 4 || reader.ncursor % 2 != 0 ||
		strcmp(reader.cursor[0], CTID_CURSOR) != 0 ||
		strtoul(reader.cursor[1], NULL, 10) !=
		range->relation->rd_rel->relfilenode)
		return false;
	range->pieces = palloc0(n * sizeof(SentPiece));
	for (int i = 0; i < n; i++)
	{
		SentPiece  *piece = &range->pieces[i];
		unsigned int block;
		unsigned int offset;

		piece->seen_text = pstrdup(*text++);
		piece->tid_text = pstrdup(*text++);
		piece->seen = seen_rows_parse(piece->seen_text);
		if (piece->seen == NULL ||
			sscanf(piece->tid_text, "%u,%u", &block, &offset) != 2)
			return false;
		ItemPointerSet(&piece->tid, block, (OffsetNumber) offset);
	}
	range->npieces = n;
	return true;
}

/*
 * Go on behind the cursor, if there is one and it is of this key.
 */
static void
apply_cursor(Range *range)
{
	const TableKey *key = &range->key;

	if (reader.ncursor == 0 || (key->index == NULL && apply_pieces(range)))
		return;
	if (key->index != NULL && reader.ncursor == key->ncolumns + 1 &&
		strcmp(reader.cursor[0], key->description) == 0)
	{
		set_scan_key_as_owner(range, reader.cursor + 1);
		return;
	}
	ereport(LOG,
			(errmsg("stream \"%s\" reads table \"%s.%s\" from its start again",
					reader.stream->name,
					get_namespace_name(RelationGetNamespace(range->relation)),
					RelationGetRelationName(range->relation)),
			 errdetail("Its primary key or storage is not the one that it was read by before.")));
	reader.ncursor = 0;
}

/*
 * Remember how far a table without a key is.
 */
static void
move_pieces(Range *range, TupleTableSlot *slot)
{
	int			n = 0;

	reader.cursor = palloc((range->npieces + 2) * 2 * sizeof(char *));
	reader.cursor[n++] = pstrdup(CTID_CURSOR);
	reader.cursor[n++] = psprintf("%u", range->relation->rd_rel->relfilenode);
	for (int i = 0; i < range->npieces; i++)
	{
		SentPiece  *piece = &range->pieces[i];

		/* what is behind us is known to be sent by our own snapshot */
		if (ItemPointerCompare(&piece->tid, &slot->tts_tid) <= 0)
			continue;
		reader.cursor[n++] = pstrdup(piece->seen_text);
		reader.cursor[n++] = pstrdup(piece->tid_text);
	}
	reader.cursor[n++] = pstrdup(range->seen_text);
	reader.cursor[n++] =
		psprintf("%u,%u", ItemPointerGetBlockNumberNoCheck(&slot->tts_tid),
				 ItemPointerGetOffsetNumberNoCheck(&slot->tts_tid));
	reader.ncursor = n;
}

/*
 * Remember a row's key.  Without one a place in the heap serves only where
 * what is sent is reported as it goes.
 */
static void
move_cursor(Range *range, TupleTableSlot *slot)
{
	const TableKey *key = &range->key;
	MemoryContext old;

	if (slot == NULL ||
		(key->index == NULL && (!reader.task->checkpoints ||
								heap_tuple(slot) == NULL)))
		return;
	MemoryContextReset(reader.cursor_context);
	old = MemoryContextSwitchTo(reader.cursor_context);
	if (key->index == NULL)
	{
		move_pieces(range, slot);
		MemoryContextSwitchTo(old);
		return;
	}
	reader.ncursor = key->ncolumns + 1;
	reader.cursor = palloc(reader.ncursor * sizeof(char *));
	reader.cursor[0] = pstrdup(key->description);
	for (int i = 0; i < key->ncolumns; i++)
	{
		bool		isnull;
		Datum		value = slot_getattr(slot, key->attnums[i], &isnull);

		if (isnull)
			elog(ERROR, "primary key of table \"%s\" is null",
				 RelationGetRelationName(range->relation));
		reader.cursor[i + 1] = key_text(range->relation, key->attnums[i],
										value);
	}
	MemoryContextSwitchTo(old);
}

/*
 * A block of events is full: how far is the range with it?
 */
static void
make_checkpoint(void *arg, StringInfo buf)
{
	Range	   *range = reader.range;
	ReaderReport report = {.kind = READER_CHECKPOINT};

	if (range == NULL || range->sent == NULL)
		return;
	move_cursor(range, range->sent);
	report.relid = reader.task->relid;
	report.rows = range->report.rows;
	report.ncursor = reader.ncursor;
	appendBinaryStringInfo(buf, (const char *) &report, sizeof(report));
	for (int i = 0; i < reader.ncursor; i++)
		add_text(buf, reader.cursor[i]);
}

/* ---- a range ---- */

static void
check_selected(Relation relation)
{
	RelationMap *map = decoder_relation_map(reader.decoder);

	if (!relation_map_get(map, relation)->selected)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s.%s\" is not selected by stream \"%s\"",
						get_namespace_name(RelationGetNamespace(relation)),
						RelationGetRelationName(relation),
						reader.stream->name),
				 errhint("Add it to a publication that wal2kafka.publication_name names, and see the lists of schemas and tables.")));
}

/*
 * Only what has rows of its own, whose changes are in the WAL, can be read.
 */
static void
check_relation(Relation relation)
{
	if (relation->rd_rel->relkind != RELKIND_RELATION)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s.%s\" cannot be read for a snapshot",
						get_namespace_name(RelationGetNamespace(relation)),
						RelationGetRelationName(relation)),
				 errdetail_relkind_not_supported(relation->rd_rel->relkind),
				 relation->rd_rel->relkind == RELKIND_PARTITIONED_TABLE ?
				 errhint("Its partitions can be read.") : 0));
	check_selected(relation);
	table_check_readable(relation);
}

/*
 * Everything that needs the catalogs.  It has a snapshot of its own, for
 * functions that want one.
 */
static RangeOutcome
prepare_range(Range *range)
{
	bool		usable;

	PushActiveSnapshot(GetTransactionSnapshot());
	check_relation(range->relation);
	find_key(&range->key, range->relation);
	usable = key_usable(&range->key);
	if (usable)
	{
		if (!reader.announced)
			decoder_announce(reader.decoder, range->relation);
		reader.announced = true;
		apply_cursor(range);
		if (reader.predicate != NULL)
			range->predicate = row_predicate_create(range->relation,
													reader.predicate);
		range->may_skip = reader.task->nblocks > 0 &&
			reader.task->storage == range->relation->rd_rel->relfilenode;
		range->report.kind = READER_RANGE_END;
		range->report.relid = reader.task->relid;
		range->report.estimate = estimate_rows(range->relation);
		for (int i = 0; i < lengthof(range->slots); i++)
			range->slots[i] = table_slot_create(range->relation, NULL);
	}
	PopActiveSnapshot();
	return usable ? RANGE_MORE : RANGE_NOT_YET;
}

/*
 * Did an interrupted snapshot send this version of the row?  It did if the
 * version was there for that snapshot, in a block that was read.
 */
static bool
was_sent(const Range *range, TupleTableSlot *slot)
{
	HeapTuple	tuple = heap_tuple(slot);

	if (tuple == NULL)
		return false;
	for (int i = 0; i < range->npieces; i++)
		if (ItemPointerCompare(&slot->tts_tid, &range->pieces[i].tid) <= 0 &&
			seen_rows_have(range->pieces[i].seen, tuple))
			return true;
	return range->may_skip && seen_rows_have(reader.seen, tuple) &&
		snapshot_blocks_have(reader.blocks, reader.task->nblocks,
							 ItemPointerGetBlockNumber(&slot->tts_tid));
}

static void
send_row(Range *range, TupleTableSlot *slot)
{
	if ((range->may_skip || range->npieces > 0) && was_sent(range, slot))
	{
		range->report.skipped++;
		return;
	}
	if (range->predicate != NULL &&
		!row_predicate_passes(range->predicate, slot))
		return;
	if (decoder_emit_row(reader.decoder, range->relation, slot, MARKER))
		range->report.rows++;
}

static TupleTableSlot *
next_row(Range *range)
{
	TupleTableSlot *slot = range->slots[range->turn];
	bool		found;

	CHECK_FOR_INTERRUPTS();
	found = range->index_scan != NULL ?
		index_getnext_slot(range->index_scan, ForwardScanDirection, slot) :
		table_scan_getnextslot(range->table_scan, ForwardScanDirection, slot);
	if (!found)
		return NULL;
	range->last = slot;
	range->turn = 1 - range->turn;
	return slot;
}

/*
 * Has the range taken its time, now that so many rows were read?
 */
static bool
range_is_long(const Range *range, int rows)
{
	const ReaderTask *task = reader.task;
	HeapTuple	tuple = heap_tuple(range->last);
	bool		large = tuple == NULL || HeapTupleHasExternal(tuple);

	if (task->range_rows > 0 && rows >= task->range_rows)
		return true;
	return (large || rows % ROWS_PER_CLOCK == 0) &&
		TimestampDifferenceExceeds(range->began, GetCurrentTimestamp(),
								   task->range_ms);
}

static RangeOutcome
read_rows(Range *range)
{
	int			rows = 0;
	TupleTableSlot *slot;

	reader.range = range;
	while ((slot = next_row(range)) != NULL)
	{
		send_row(range, slot);
		range->sent = slot;
		rows++;
		/* without a key there would be nothing to go on from */
		if (range->index_scan != NULL && range_is_long(range, rows))
			return RANGE_MORE;
	}
	return RANGE_LAST;
}

static RangeOutcome
scan_range(Range *range, Snapshot snapshot)
{
	RangeOutcome outcome;

	if (range->key.index != NULL)
	{
		range->index_scan = compat_index_beginscan(range->relation,
												   range->key.index, snapshot,
												   range->nscankeys);
		index_rescan(range->index_scan,
					 range->nscankeys > 0 ? &range->scankey : NULL,
					 range->nscankeys, NULL, 0);
		outcome = read_rows(range);
		index_endscan(range->index_scan);
	}
	else
	{
		/* from the first block on: a cursor is a place in this order */
		range->table_scan = table_beginscan_strat(range->relation, snapshot,
												  0, NULL, true, false);
		outcome = read_rows(range);
		table_endscan(range->table_scan);
	}
	return outcome;
}

/*
 * Ask for a place, and get its snapshot.
 */
static Snapshot
take_place(Range *range, XLogRecPtr *place)
{
	TimestampTz asked = GetCurrentTimestamp();
	Snapshot	snapshot;

	reader.placing = true;
	place_taking(reader.session);
	PushActiveSnapshot(GetTransactionSnapshot());
	snapshot = place_take(reader.session, GetActiveSnapshot(),
						  reader.task->relid, false, place);
	reader.placing = false;
	range->began = GetCurrentTimestamp();
	relay_sink_patience(reader.sink, range->key.index != NULL ?
						PATIENCE_MS : PATIENCE_KEYLESS_MS,
						range->key.index != NULL);
	range->report.wait_ms = (range->began - asked) / 1000;
	return snapshot;
}

static void
report_range(Range *range)
{
	StringInfoData buf;

	range->report.read_ms = (GetCurrentTimestamp() - range->began) / 1000;
	range->report.ncursor = range->last != NULL ? reader.ncursor : 0;
	begin_report(&buf, &range->report);
	for (int i = 0; i < range->report.ncursor; i++)
		add_text(&buf, reader.cursor[i]);
	send_report(&buf);
}

static RangeOutcome
place_and_read(Range *range)
{
	XLogRecPtr	place;
	Snapshot	snapshot = take_place(range, &place);
	RangeOutcome outcome;

	decoder_set_place(reader.decoder, snapshot->xmax, place, range->began);
	range->seen_text = range->key.index == NULL ? seen_rows_text(snapshot) :
		NULL;
	outcome = scan_range(range, snapshot);
	/* an entry that was made anew on the way would have passed over rows */
	check_selected(range->relation);
	move_cursor(range, range->last);
	report_range(range);
	reader.range = NULL;

	for (int i = 0; i < lengthof(range->slots); i++)
		ExecDropSingleTupleTableSlot(range->slots[i]);
	UnregisterSnapshot(snapshot);
	PopActiveSnapshot();
	reader.placing = true;
	place_done(reader.session);
	reader.placing = false;
	return outcome;
}

static RangeOutcome
read_range(void)
{
	Range		range = {0};
	RangeOutcome outcome = RANGE_TABLE_GONE;

	begin_transaction();
	range.relation = try_relation_open(reader.task->relid, AccessShareLock);
	if (range.relation != NULL)
	{
		outcome = prepare_range(&range);
		if (outcome == RANGE_MORE)
			outcome = place_and_read(&range);
		if (range.predicate != NULL)
			row_predicate_free(range.predicate);
		if (range.key.index != NULL)
			index_close(range.key.index, AccessShareLock);
		relation_close(range.relation, AccessShareLock);
	}
	end_transaction();
	relay_sink_patience(reader.sink, 0, false);
	return outcome;
}

/* ---- the table ---- */

/*
 * Tell what is selected.
 */
static void
report_selected(void)
{
	List	   *relids;
	ListCell   *cell;

	begin_transaction();
	PushActiveSnapshot(GetTransactionSnapshot());
	relids = relation_map_selected(decoder_relation_map(reader.decoder));
	foreach(cell, relids)
	{
		Relation	relation = try_relation_open(lfirst_oid(cell),
												 AccessShareLock);
		ReaderReport report = {.kind = READER_TABLE_SELECTED};
		StringInfoData buf;

		CHECK_FOR_INTERRUPTS();
		if (relation == NULL)
			continue;
		if (relation->rd_rel->relkind == RELKIND_RELATION)
		{
			report.relid = RelationGetRelid(relation);
			report.estimate = estimate_rows(relation);
			begin_report(&buf, &report);
			add_text(&buf,
					 get_namespace_name(RelationGetNamespace(relation)));
			add_text(&buf, RelationGetRelationName(relation));
			send_report(&buf);
			pfree(buf.data);
		}
		relation_close(relation, AccessShareLock);
	}
	PopActiveSnapshot();
	end_transaction();
	report_kind(READER_TABLE_END);
}

static void
read_table(void)
{
	for (;;)
	{
		switch (read_range())
		{
			case RANGE_MORE:
				break;
			case RANGE_LAST:
				report_kind(READER_TABLE_END);
				return;
			case RANGE_TABLE_GONE:
				report_kind(READER_TABLE_GONE);
				return;
			case RANGE_NOT_YET:
				nap();
				break;
		}
	}
}

static void
work(void)
{
	if (reader.failure != NULL)
	{
		report_failure();
		return;
	}
	if (!OidIsValid(reader.task->relid))
	{
		report_selected();
		return;
	}
	if (reader.session == NULL)
	{
		reader.placing = true;
		reader.session = place_session_begin(reader.stream, reader.exchange);
		reader.placing = false;
	}
	read_table();
}

static ErrorBlame
blame(const ErrorData *error)
{
	if (reader.placing &&
		error->sqlerrcode == ERRCODE_T_R_SERIALIZATION_FAILURE)
		return BLAME_PLACE;
	if (error->sqlerrcode == ERRCODE_CONNECTION_FAILURE ||
		(reader.placing &&
		 error->sqlerrcode == ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE))
		return BLAME_WORKER;

	/* a report that cannot be made is none */
	if (reader.placing || reader.failure != NULL)
		return BLAME_MOMENT;
	switch (ERRCODE_TO_CATEGORY(error->sqlerrcode))
	{
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_OPERATOR_INTERVENTION:
		case ERRCODE_SYSTEM_ERROR:
		case ERRCODE_TRANSACTION_ROLLBACK:
			return BLAME_MOMENT;
		default:
			return error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ?
				BLAME_MOMENT : BLAME_TABLE;
	}
}

/*
 * A place could not be given, or not be used.  In the latter case the worker
 * waits for a range that follows it: there is none.
 */
static void
give_up_place(void)
{
	PlaceExchange *exchange = reader.exchange;
	bool		given;

	reader.placing = false;
	SpinLockAcquire(&exchange->mutex);
	given = exchange->state == PLACE_GIVEN;
	SpinLockRelease(&exchange->mutex);
	place_done(reader.session);
	if (given)
		report_kind(READER_RANGE_END);

	/* one that was given kept changes waiting: they have their turn now */
	for (int i = 0; i < (given ? TURN_MS : RETRY_MS); i += RETRY_MS)
		nap();
}

/*
 * Do the work, or as much as can be done; true when there is more.  Errors of
 * the moment are raised, and end the process.
 */
static bool
work_until_error(void)
{
	ErrorData  *error = NULL;
	ErrorBlame	blamed = BLAME_MOMENT;

	PG_TRY();
	{
		relay_sink_patience(reader.sink, 0, false);
		if (reader.placing && reader.session != NULL)
			give_up_place();
		work();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(TopMemoryContext);
		error = CopyErrorData();
		blamed = blame(error);
		reader.range = NULL;
		reader.task->stalled =
			error->sqlerrcode == ERRCODE_CONFIGURATION_LIMIT_EXCEEDED;
		if (blamed == BLAME_MOMENT)
			PG_RE_THROW();
		if (reader.task->checkpoints)
			relay_sink_drop_events(reader.sink);
		FlushErrorState();
		AbortCurrentTransaction();
		MemoryContextSwitchTo(TopMemoryContext);
	}
	PG_END_TRY();
	if (error == NULL || blamed == BLAME_WORKER)
		return false;
	if (blamed == BLAME_TABLE)
		reader.failure = error;
	else
		FreeErrorData(error);
	return true;
}

/* ---- the process ---- */

const Settings *
snapshot_reader_connect(StreamState *stream)
{
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NameStr(stream->database),
										 NameStr(stream->role)[0] != '\0' ?
										 NameStr(stream->role) : NULL, 0);
	compat_lift_transaction_timeout();
	/* limits of sessions; waiting for a lock delays nobody */
	SetConfigOption("lock_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	(void) decoder_pin_settings();
	return settings_copy(TopMemoryContext);
}

/*
 * Take what the worker wrote.
 */
static void
open_segment(dsm_segment *segment)
{
	shm_toc    *toc = shm_toc_attach(READER_MAGIC,
									 dsm_segment_address(segment));
	shm_mq	   *queue;
	const char *text;

	if (toc == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("invalid magic number in dynamic shared memory segment")));
	reader.task = shm_toc_lookup(toc, READER_KEY_TASK, false);
	reader.exchange = shm_toc_lookup(toc, READER_KEY_EXCHANGE, true);
	reader.predicate = shm_toc_lookup(toc, READER_KEY_PREDICATE, true);
	reader.blocks = shm_toc_lookup(toc, READER_KEY_BLOCKS,
								   reader.task->nblocks == 0);
	reader.stream = shared_state_stream(reader.task->stream);
	text = shm_toc_lookup(toc, READER_KEY_SEEN, reader.task->nblocks == 0);
	if (text != NULL)
		reader.seen = seen_rows_parse(text);
	if (reader.seen == NULL && reader.task->nblocks > 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("the rows that a snapshot saw are not known")));

	queue = shm_toc_lookup(toc, READER_KEY_QUEUE, false);
	shm_mq_set_sender(queue, MyProc);
	reader.queue = shm_mq_attach(queue, segment, NULL);
	reader.sink = relay_sink_create(reader.queue);
	event_sink = relay_sink_events(reader.sink);
	if (reader.task->checkpoints)
		relay_sink_checkpoints(reader.sink, make_checkpoint, NULL);
	event_sink->message_limit = reader.task->message_limit;
	event_sink->frame_len = reader.task->frame_len;

	reader.cursor_context = AllocSetContextCreate(TopMemoryContext,
												  "wal2kafka cursor",
												  ALLOCSET_SMALL_SIZES);
	reader.ncursor = reader.task->ncursor;
	if (reader.ncursor == 0)
		return;
	text = shm_toc_lookup(toc, READER_KEY_CURSOR, false);
	reader.cursor = MemoryContextAlloc(reader.cursor_context,
									   reader.ncursor * sizeof(char *));
	for (int i = 0; i < reader.ncursor; i++)
	{
		reader.cursor[i] = MemoryContextStrdup(reader.cursor_context, text);
		text += strlen(text) + 1;
	}
}

void
snapshot_reader_main(Datum main_arg)
{
	const Settings *settings;
	dsm_segment *segment;

	CurrentResourceOwner = ResourceOwnerCreate(NULL, "wal2kafka reader");
	segment = dsm_attach(DatumGetUInt32(main_arg));
	/* the worker ended before we began */
	if (segment == NULL)
		proc_exit(0);
	dsm_pin_mapping(segment);
	open_segment(segment);

	settings = snapshot_reader_connect(reader.stream);
	pgstat_report_activity(STATE_RUNNING, "reading a table for a snapshot");
	make_decoder(settings);
	while (work_until_error())
		;
	proc_exit(0);
}
