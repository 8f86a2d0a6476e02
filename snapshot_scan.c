/*
 * snapshot_scan.c
 *		The initial snapshot's tables, read by several processes at once.
 *
 * Each process goes through its ranges row by row.  A row is sent when the
 * next one is there, or known not to be: the markers of source.snapshot tell
 * the last row of a table and of all.  So that no row has to be copied for
 * that, rows are fetched into two slots by turns.
 *
 * The rows of one range are one unit of the Delivery, whose acknowledgement
 * is the range's.  The unit ends with the row that was held back, when the
 * next range has its first one.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "exactly_once.h"
#include "kill_point.h"
#include "miscadmin.h"
#include "snapshot_notes.h"
#include "snapshot_scan.h"
#include "table_access.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* Rows that may be passed over before the delivery is served. */
#define TICK_ROWS		256

/* What a range has sent becomes a range of its own after so long. */
#define SPLIT_MS		1000

/* Longest time that a row is held back where delivery is exactly once. */
#define HELD_MS			3000

/* A range whose relation is open: the one that is read, or the one before. */
typedef struct OpenRange
{
	bool		open;
	SnapshotRange range;
	Relation	relation;
	TupleTableSlot *slots[2];
	HeapTupleData headers[2];	/* of the rows in the slots */
	int			held;			/* the slot whose row waits; -1: none */
	bool		first_in_table;
	TimestampTz began;			/* its unit */
} OpenRange;

/* A range that was sent. */
typedef struct SentRange
{
	SnapshotRange range;
	uint64		mark;			/* see delivery_mark() */
	bool		noted;			/* in the Kafka transaction of its rows */
} SentRange;

struct SnapshotScanner
{
	SnapshotScan *scan;
	Delivery   *delivery;
	Decoder    *decoder;
	MemoryContext context;
	MemoryContext range_context;	/* reset after each range */
	uint64		rows;
	OpenRange	ranges[2];
	int			current;		/* the range that is read */
	List	   *sent;			/* SentRange, oldest first */

	/* exactly once */
	int			number;			/* of the process */
	uint64		notes;			/* written */
	StringInfoData note;		/* used again and again */
};

/*
 * A Kafka transaction is about to be committed, between two ranges: note those
 * that it has the rows of.
 */
static void
note_ranges(Delivery *delivery, bool in_unit, void *arg)
{
	SnapshotScanner *scanner = arg;
	StringInfo	note = &scanner->note;
	bool		any = false;
	ListCell   *cell;

	Assert(!in_unit);
	resetStringInfo(note);
	snapshot_note_begin_blocks(note, scanner->scan->request);
	foreach(cell, scanner->sent)
	{
		SentRange  *sent = lfirst(cell);
		const SnapshotRange *range = &sent->range;

		if (sent->noted)
			continue;
		sent->noted = true;
		if (range->result != SNAPSHOT_RANGE_SENT || range->rows == 0)
			continue;
		any = true;
		snapshot_note_add_blocks(note,
								 scan_tables(scanner->scan)[range->table].relid,
								 range->first, range->end, range->rows);
	}
	if (any)
	{
		char	   *key = snapshot_note_blocks_key(scanner->number,
												   ++scanner->notes);

		delivery_note(delivery, key, note->data, note->len);
		pfree(key);
	}
}

SnapshotScanner *
scanner_create(SnapshotScan *scan, int number, Delivery *delivery,
			   Decoder *decoder)
{
	SnapshotScanner *scanner = palloc0(sizeof(SnapshotScanner));

	scanner->scan = scan;
	scanner->delivery = delivery;
	scanner->decoder = decoder;
	scanner->context = CurrentMemoryContext;
	scanner->range_context =
		AllocSetContextCreate(CurrentMemoryContext, "wal2kafka range",
							  ALLOCSET_DEFAULT_SIZES);
	scanner->number = number;
	if (delivery_exactly_once(delivery))
	{
		initStringInfo(&scanner->note);
		delivery_keep_units_whole(delivery);
		delivery_set_notes(delivery, note_ranges, scanner);
	}
	SpinLockAcquire(&scan->mutex);
	scan->readers[number].pid = MyProcPid;
	scan->readers[number].latch = MyLatch;
	scan->readers[number].state = SCAN_READING;
	SpinLockRelease(&scan->mutex);
	return scanner;
}

char *
scan_transactional_id(const char *slot_name, int number)
{
	return exactly_once_id(slot_name, psprintf("snapshot-%d", number));
}

/* ---- ranges ---- */

static bool
has_range(const ScanTable *table)
{
	return table->whole ? !table->whole_taken : table->next < table->nblocks;
}

/*
 * Take the next range.  Tables are taken in their order, so that few are
 * locked at a time.
 */
static bool
take_range(SnapshotScan *scan, SnapshotRange *range)
{
	bool		found = false;
	TimestampTz now = GetCurrentTimestamp();

	memset(range, 0, sizeof(*range));
	SpinLockAcquire(&scan->mutex);
	while (!found && scan->next_table < scan->ntables)
	{
		ScanTable  *table = &scan_tables(scan)[scan->next_table];

		if (!has_range(table))
		{
			scan->next_table++;
			continue;
		}
		found = true;
		range->table = scan->next_table;
		if (table->whole)
		{
			range->result = SNAPSHOT_RANGE_WHOLE;
			table->whole_taken = true;
		}
		else
		{
			range->result = SNAPSHOT_RANGE_SENT;
			range->first = table->next;
			range->end = Min(table->nblocks - table->next,
							 table->range_blocks) + table->next;
			table->next = range->end;
		}
		table->reading++;
		table->taken++;
		if (table->began == 0)
			table->began = now;
	}
	SpinLockRelease(&scan->mutex);
	return found;
}

static void
end_reading(SnapshotScan *scan, const SnapshotRange *range)
{
	SpinLockAcquire(&scan->mutex);
	scan_tables(scan)[range->table].reading--;
	SpinLockRelease(&scan->mutex);
}

/*
 * Before the unit of the range ends: with it a Kafka transaction may.
 */
static void
note_sent(SnapshotScanner *scanner, const SnapshotRange *range, uint64 mark)
{
	MemoryContext old = MemoryContextSwitchTo(scanner->context);
	SentRange  *sent = palloc0(sizeof(SentRange));

	sent->range = *range;
	sent->mark = mark;
	scanner->sent = lappend(scanner->sent, sent);
	MemoryContextSwitchTo(old);
}

bool
scanner_next_over(SnapshotScanner *scanner, SnapshotRange *range)
{
	SentRange  *sent;

	if (scanner->sent == NIL)
		return false;
	sent = linitial(scanner->sent);
	if (!delivery_passed(scanner->delivery, sent->mark))
		return false;
	*range = sent->range;
	scanner->sent = list_delete_first(scanner->sent);
	pfree(sent);
	return true;
}

bool
scanner_idle(const SnapshotScanner *scanner)
{
	return scanner->sent == NIL && delivery_idle(scanner->delivery);
}

uint64
scanner_rows(SnapshotScanner *scanner)
{
	uint64		rows = scanner->rows;

	scanner->rows = 0;
	return rows;
}

/* ---- rows ---- */

static void
release_range(OpenRange *open)
{
	ExecDropSingleTupleTableSlot(open->slots[0]);
	ExecDropSingleTupleTableSlot(open->slots[1]);
	relation_close(open->relation, AccessShareLock);
	open->open = false;
}

/*
 * The value of source.snapshot for a row: whether it is the first or last of
 * all or of its table is settled among the processes.  With several of them
 * the last row of a table is that of the range that ended last.
 */
static const char *
choose_marker(SnapshotScan *scan, const OpenRange *open, bool last)
{
	ScanTable  *table = &scan_tables(scan)[open->range.table];
	bool		first;
	bool		last_in_table = false;

	SpinLockAcquire(&scan->mutex);
	first = !scan->first_sent;
	scan->first_sent = true;
	if (table->reading == 0 && !has_range(table) && !table->last_marked)
		last_in_table = table->last_marked = true;
	SpinLockRelease(&scan->mutex);

	if (last)
		return "last";
	if (first)
		return "first";
	if (last_in_table)
		return "last_in_data_collection";
	return open->first_in_table ? "first_in_data_collection" : "true";
}

static void
emit_held(SnapshotScanner *scanner, OpenRange *open, const char *marker)
{
	decoder_emit_passed_row(scanner->decoder, open->relation,
							open->slots[open->held], marker);
	KILL_POINT("snapshot_row_sent");
	open->held = -1;
	open->first_in_table = false;
	open->range.rows++;
	scanner->rows++;
}

/*
 * Between two units a Kafka transaction that has become old can end.
 */
static void
end_unit(SnapshotScanner *scanner)
{
	delivery_end_unit(scanner->delivery, scanner->scan->consistent_point);
	if (delivery_exactly_once(scanner->delivery))
		delivery_service(scanner->delivery);
}

void
scanner_flush(SnapshotScanner *scanner, bool last)
{
	OpenRange  *open = &scanner->ranges[1 - scanner->current];

	if (!open->open)
		return;
	emit_held(scanner, open, choose_marker(scanner->scan, open, last));
	note_sent(scanner, &open->range, delivery_mark(scanner->delivery));
	end_unit(scanner);
	KILL_POINT("snapshot_range_sent");

	/*
	 * The last row of a range lets go of the table and its lock: a lock until
	 * the end would make DDL, and all that queues behind it, wait for the
	 * tables still to come.
	 */
	release_range(open);
}

void
scanner_relieve(SnapshotScanner *scanner)
{
	const OpenRange *open = &scanner->ranges[1 - scanner->current];

	if (open->open && delivery_exactly_once(scanner->delivery) &&
		delivery_can_emit(scanner->delivery) &&
		TimestampDifferenceExceeds(open->began, GetCurrentTimestamp(),
								   HELD_MS))
		scanner_flush(scanner, false);
}

bool
scanner_holds_row(const SnapshotScanner *scanner)
{
	return scanner->ranges[1 - scanner->current].open;
}

/*
 * The range has a row.  If it is its first, the row that was held back so far
 * is not the last, and its unit is over.
 */
static void
begin_rows(SnapshotScanner *scanner, OpenRange *open)
{
	ScanTable  *table = &scan_tables(scanner->scan)[open->range.table];

	scanner_flush(scanner, false);

	/* no time: how long a snapshot takes is not the delay of a commit */
	delivery_begin_unit(scanner->delivery, 0);
	open->began = GetCurrentTimestamp();
	SpinLockAcquire(&scanner->scan->mutex);
	open->first_in_table = !table->any_row;
	table->any_row = true;
	SpinLockRelease(&scanner->scan->mutex);
}

/*
 * Make the row in a slot independent of the scan, which uses one header for
 * all of its rows.
 */
static void
detach_row(TupleTableSlot *slot, HeapTupleData *header)
{
	if (TTS_IS_BUFFERTUPLE(slot))
	{
		BufferHeapTupleTableSlot *buffer_slot =
			(BufferHeapTupleTableSlot *) slot;

		*header = *buffer_slot->base.tuple;
		buffer_slot->base.tuple = header;
	}
	else
		ExecMaterializeSlot(slot);
}

/*
 * Is it time to make what was sent of a range a range of its own, now that a
 * row of the next block is there?  So not much is sent again, however slow
 * rows are.
 */
static bool
split_is_due(OpenRange *open, const TupleTableSlot *next, bool *look)
{
	if (likely(!*look) || open->range.result != SNAPSHOT_RANGE_SENT ||
		ItemPointerGetBlockNumber(&next->tts_tid) ==
		ItemPointerGetBlockNumber(&open->slots[open->held]->tts_tid))
		return false;
	*look = false;
	return TimestampDifferenceExceeds(open->began, GetCurrentTimestamp(),
									  SPLIT_MS);
}

static void
split_range(SnapshotScanner *scanner, OpenRange *open, BlockNumber block)
{
	SnapshotScan *scan = scanner->scan;
	SnapshotRange sent = open->range;

	sent.end = block;
	note_sent(scanner, &sent, delivery_mark(scanner->delivery));
	end_unit(scanner);

	open->range.first = block;
	open->range.rows = 0;
	SpinLockAcquire(&scan->mutex);
	scan_tables(scan)[sent.table].taken++;
	SpinLockRelease(&scan->mutex);
	delivery_begin_unit(scanner->delivery, 0);
	open->began = GetCurrentTimestamp();
}

static void
read_rows(SnapshotScanner *scanner, OpenRange *open, TableScanDesc scan,
		  bool filtered)
{
	bool		any = false;
	bool		look = false;
	bool		split;
	int			next = 0;
	int			until_tick = TICK_ROWS;

	while (table_scan_getnextslot(scan, ForwardScanDirection,
								  open->slots[next]))
	{
		CHECK_FOR_INTERRUPTS();
		if (--until_tick <= 0)
		{
			until_tick = TICK_ROWS;
			look = true;
			delivery_service(scanner->delivery);
			if (!any)
				scanner_relieve(scanner);
		}
		detach_row(open->slots[next], &open->headers[next]);
		if (filtered && !decoder_row_passes(scanner->decoder, open->relation,
											open->slots[next]))
			continue;
		split = any && split_is_due(open, open->slots[next], &look);
		if (!any)
			begin_rows(scanner, open);
		else if (open->first_in_table)
			emit_held(scanner, open,
					  choose_marker(scanner->scan, open, false));
		else
			emit_held(scanner, open, "true");
		if (unlikely(split))
			split_range(scanner, open,
						ItemPointerGetBlockNumber(&open->slots[next]->tts_tid));
		any = true;
		open->held = next;
		next = 1 - next;
	}
}

/* ---- tables ---- */

bool
scan_storage_is_new(Relation relation)
{
	Relation	pg_class = table_open(RelationRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		result = false;

	ScanKeyInit(&key, Anum_pg_class_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(RelationGetRelid(relation)));
	scan = systable_beginscan(pg_class, ClassOidIndexId, true,
							  GetActiveSnapshot(), 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		result = ((Form_pg_class) GETSTRUCT(tuple))->relfilenode !=
			relation->rd_rel->relfilenode;
	systable_endscan(scan);
	table_close(pg_class, AccessShareLock);
	return result;
}

static void
leave_table(SnapshotScanner *scanner, Relation relation, SnapshotRange *range)
{
	SnapshotScan *scan = scanner->scan;
	ScanTable  *table = &scan_tables(scan)[range->table];

	range->result = SNAPSHOT_RANGE_LEFT;
	SpinLockAcquire(&scan->mutex);
	table->next = table->nblocks;
	SpinLockRelease(&scan->mutex);
	ereport(LOG,
			(errhidecontext(true),
			 errmsg("the snapshot leaves table \"%s.%s\" to be read while streaming",
					get_namespace_name(RelationGetNamespace(relation)),
					RelationGetRelationName(relation)),
			 errdetail("The table was rewritten or truncated after the snapshot began.")));
}

/*
 * What is to be read of a table whose range was taken, now that it is locked?
 * Tables are not locked before their turn, so one may have been rewritten
 * since the consistent point.  Then all of it is read as it is now: what the
 * stream then repeats of its changes ends in the same rows.  Whoever finds
 * out first does that, and the other ranges are void.  Where delivery is
 * exactly once, the table is left to the streaming worker, which reads it at a
 * place in the stream, and in pieces that can be noted.
 */
static void
adjust_range(SnapshotScanner *scanner, Relation relation,
			 SnapshotRange *range)
{
	SnapshotScan *scan = scanner->scan;
	ScanTable  *table = &scan_tables(scan)[range->table];

	if (range->result != SNAPSHOT_RANGE_WHOLE &&
		table->storage == relation->rd_rel->relfilenode &&
		!scan_storage_is_new(relation))
		return;
	if (delivery_exactly_once(scanner->delivery))
	{
		leave_table(scanner, relation, range);
		return;
	}

	SpinLockAcquire(&scan->mutex);
	if (range->result != SNAPSHOT_RANGE_WHOLE)
	{
		range->result = table->whole_taken ? SNAPSHOT_RANGE_VOID :
			SNAPSHOT_RANGE_WHOLE;
		table->whole = table->whole_taken = true;
	}
	SpinLockRelease(&scan->mutex);
	if (range->result == SNAPSHOT_RANGE_WHOLE)
		ereport(LOG,
				(errhidecontext(true),
				 errmsg("the snapshot reads table \"%s.%s\" as it is now",
						get_namespace_name(RelationGetNamespace(relation)),
						RelationGetRelationName(relation)),
				 errdetail("The table was rewritten or truncated after the snapshot began.")));
}

static bool
is_selected(SnapshotScanner *scanner, Relation relation)
{
	return relation_map_get(decoder_relation_map(scanner->decoder),
							relation)->selected;
}

/*
 * Read a range whose table is open.  Its last row stays held back, and the
 * relation open with it.
 */
static void
read_table(SnapshotScanner *scanner, OpenRange *open)
{
	RelationEntry *entry =
		relation_map_get(decoder_relation_map(scanner->decoder),
						 open->relation);
	bool		whole = open->range.result == SNAPSHOT_RANGE_WHOLE;
	Snapshot	snapshot;
	TableScanDesc scan;

	if (!entry->selected)
	{
		open->range.result = SNAPSHOT_RANGE_UNSELECTED;
		return;
	}
	snapshot = RegisterSnapshot(whole ? GetLatestSnapshot() :
								GetActiveSnapshot());
	scan = table_beginscan_strat(open->relation, snapshot, 0, NULL, true,
								 false);

	/* the planner made only heaps' ranges smaller than the table */
	if (!whole && open->relation->rd_tableam == GetHeapamTableAmRoutine())
	{
		BlockNumber nblocks = ((HeapScanDesc) scan)->rs_nblocks;
		BlockNumber end = Min(open->range.end, nblocks);

		/* vacuum may have cut off what is empty */
		if (open->range.first < end)
			heap_setscanlimits(scan, open->range.first,
							   end - open->range.first);
		else
			heap_setscanlimits(scan, 0, 0);
	}
	read_rows(scanner, open, scan, entry->rules.estate != NULL);
	table_endscan(scan);
	UnregisterSnapshot(snapshot);

	/* an entry that was made anew on the way would have passed over rows */
	if (!is_selected(scanner, open->relation))
		open->range.result = SNAPSHOT_RANGE_UNSELECTED;
}

/*
 * Lock the table of a range that was taken, and read it.
 */
static void
open_range(SnapshotScanner *scanner, OpenRange *open)
{
	SnapshotRange *range = &open->range;
	MemoryContext old;

	open->relation =
		try_relation_open(scan_tables(scanner->scan)[range->table].relid,
						  AccessShareLock);
	if (open->relation == NULL)
	{
		range->result = SNAPSHOT_RANGE_GONE;
		return;
	}
	old = MemoryContextSwitchTo(scanner->context);
	open->open = true;
	open->slots[0] = table_slot_create(open->relation, NULL);
	open->slots[1] = table_slot_create(open->relation, NULL);
	MemoryContextSwitchTo(old);
	table_check_readable(open->relation);
	adjust_range(scanner, open->relation, range);
	if (range->result != SNAPSHOT_RANGE_VOID &&
		range->result != SNAPSHOT_RANGE_LEFT)
		read_table(scanner, open);
}

bool
scanner_read_range(SnapshotScanner *scanner)
{
	OpenRange  *open = &scanner->ranges[scanner->current];
	MemoryContext old;

	Assert(!open->open);
	scanner_relieve(scanner);
	if (!take_range(scanner->scan, &open->range))
		return false;
	open->held = -1;
	open->first_in_table = false;
	old = MemoryContextSwitchTo(scanner->range_context);
	open_range(scanner, open);
	MemoryContextSwitchTo(old);
	MemoryContextReset(scanner->range_context);
	end_reading(scanner->scan, &open->range);

	if (open->held >= 0)
		scanner->current = 1 - scanner->current;
	else
	{
		/* no row, so nothing to wait for */
		if (open->open)
			release_range(open);
		note_sent(scanner, &open->range, 0);
	}
	delivery_service(scanner->delivery);
	return true;
}
