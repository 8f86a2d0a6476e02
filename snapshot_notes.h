/*
 * snapshot_notes.h
 *		What of a snapshot is in Kafka, as Kafka itself has it.
 *
 * Where delivery is exactly once, rows of snapshots go out in Kafka
 * transactions, and with them notes of what they were (delivery_note()): in
 * the topic of the stream's position, and shown to a consumer together with
 * the rows or not at all.  The progress file (snapshot_progress.h) follows,
 * and may be behind; so a start takes the notes first.
 *
 * A note names the request of its job, which is unique: one of another
 * snapshot is never taken for one of this.
 */
#ifndef WAL2KAFKA_SNAPSHOT_NOTES_H
#define WAL2KAFKA_SNAPSHOT_NOTES_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "snapshot_progress.h"

/*
 * Keys, palloc'd.  Of an initial snapshot there is a note for each Kafka
 * transaction (number, from 1) of each process that reads; of other jobs, and
 * of what streaming completes of an initial one, one for each table.
 */
extern char *snapshot_note_blocks_key(int process, uint64 number);
extern char *snapshot_note_table_key(uint64 job, Oid relid);

/* Blocks of tables that were sent: begin a note, and add to it. */
extern void snapshot_note_begin_blocks(StringInfo buf, const char *request);
extern void snapshot_note_add_blocks(StringInfo buf, Oid relid, uint32 first,
									 uint32 end, uint64 rows);

/*
 * A table of a job: the cursor of the last row that was sent (as in
 * SnapshotTable), what was sent up to there, and whether that is all.
 */
extern void snapshot_note_table(StringInfo buf, const char *request,
								const List *cursor, uint64 rows,
								uint64 ranges, bool done);

/*
 * Take a record of the topic that was read back.  Where it is a note of a job
 * that is not over, and further than the progress, the progress becomes as far.
 * One that is damaged is a WARNING.  Of one that is used *job is the job, and
 * *table its table, if it is of one alone.
 */
typedef enum SnapshotNoteUse
{
	SNAPSHOT_NOTE_NONE,			/* the record is no note, or withdrawn */
	SNAPSHOT_NOTE_USED,			/* of use until its job is over */
	SNAPSHOT_NOTE_STALE,		/* of no use any more */
} SnapshotNoteUse;

extern SnapshotNoteUse snapshot_note_apply(SnapshotProgress *progress,
										   const char *key, size_t key_len,
										   const char *value,
										   size_t value_len,
										   SnapshotJob **job,
										   SnapshotTable **table);

#endif							/* WAL2KAFKA_SNAPSHOT_NOTES_H */
