/*
 * key_fold.h
 *		Records folded by key, and rows compared with what is left.
 *
 * For one slice of the space of keys' hashes at a time, in memory that does
 * not depend on the number of keys: where they do not fit, the slice is cut in
 * half, and the other half is left to another pass.  First the records of the
 * topic, partition by partition, then the rows.
 */
#ifndef WAL2KAFKA_KEY_FOLD_H
#define WAL2KAFKA_KEY_FOLD_H

#include "postgres.h"

#include "record_digest.h"

typedef struct KeyFold KeyFold;

/* What a row is, compared with its key's last record. */
typedef enum KeyVerdict
{
	KEY_EQUAL,
	KEY_MISSING,				/* no record, or the last one removes it */
	KEY_DIFFERENT,
	KEY_REPEATED,				/* a row with this key was compared before */
} KeyVerdict;

typedef struct KeyMatch
{
	KeyVerdict	verdict;
	int32		partition;		/* of the last record; of KEY_DIFFERENT */
	int64		offset;
	int			unknown;		/* columns whose value the topic does not give */
	bool		partial;		/* not all columns are in both */
} KeyMatch;

/*
 * npartitions: of the topic, which has at most max_keys.  Allocates once, in
 * cxt, at most max_bytes.
 */
extern KeyFold *key_fold_create(MemoryContext cxt, RecordDigester *digester,
								int npartitions, uint64 max_keys,
								Size max_bytes);

/* Begin the next slice; false when all of the space was passed. */
extern bool key_fold_next_slice(KeyFold *fold);

/* How much of the space was passed, this slice included: 0 to 1. */
extern double key_fold_passed(const KeyFold *fold);

/* Is the key in this slice?  What is not need not be folded or compared. */
extern bool key_fold_wants(const KeyFold *fold, uint64 key);

/* A record of the topic, in order of offsets within its partition. */
extern void key_fold_record(KeyFold *fold, const KafkaRecord *record,
							const RecordDigest *digest);

/* All records were folded. */
extern void key_fold_end_records(KeyFold *fold);

/* Keys that the records of this slice leave. */
extern uint64 key_fold_keys(const KeyFold *fold);

/* Compare a row whose key is in this slice. */
extern void key_fold_compare(KeyFold *fold, const RecordDigest *row,
							 KeyMatch *match);

/*
 * After all rows: the next key that no row has, false at the end.  *cursor is
 * 0 at first.
 */
extern bool key_fold_left_over(KeyFold *fold, uint64 *cursor,
							   int32 *partition, int64 *offset);

#endif							/* WAL2KAFKA_KEY_FOLD_H */
