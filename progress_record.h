/*
 * progress_record.h
 *		How far a stream is, as it stands in Kafka beside the data.
 *
 * With wal2kafka.delivery = exactly_once the position is a record of a
 * compacted topic with one partition that belongs to one stream, written in
 * the same Kafka transaction as the rows before the position.  What Kafka
 * shows of one it shows of the other, so the stream goes on behind exactly
 * what consumers see.  The slot follows.
 *
 * The record's key is PROGRESS_KEY; keys of other records in the topic are
 * notes of snapshots (delivery.h).  The value is a JSON object with a
 * checksum.
 */
#ifndef WAL2KAFKA_PROGRESS_RECORD_H
#define WAL2KAFKA_PROGRESS_RECORD_H

#include "postgres.h"

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "lib/stringinfo.h"

#define PROGRESS_KEY		"position"

/* 16 random bytes in hexadecimal */
#define INCARNATION_LEN		32

/*
 * Whose stream it is.  A server that takes over a stream's name has another
 * timeline, machine or directory; one that is the same in all of them cannot
 * be told apart.  Strings have no owner of their own: palloc'd beside it.
 */
typedef struct ProgressIdentity
{
	uint64		system_identifier;
	Oid			database_oid;
	char	   *slot_name;
	TimeLineID	timeline;
	char	   *machine;		/* hash of the machine-id, or else the
								 * host's name */
	char	   *data_directory;
} ProgressIdentity;

/*
 * A record.  Everything up to lsn is in Kafka.  Of the transaction whose
 * commit ends at split_end (invalid: of none) the changes up to the
 * split_events-th event with the change's position split_lsn are, too.
 */
typedef struct ProgressRecord
{
	ProgressIdentity identity;
	char		incarnation[INCARNATION_LEN + 1];	/* of the worker */
	XLogRecPtr	lsn;
	XLogRecPtr	split_end;
	XLogRecPtr	split_lsn;
	uint64		split_events;	/* from 1 */
	TransactionId split_xid;
	TimestampTz commit_time;	/* of the last transaction; 0: none */
	TimestampTz written_at;
} ProgressRecord;

/* Append the value of a record. */
extern void progress_record_write(StringInfo buf, const ProgressRecord *record);

/*
 * Read a value; palloc'd.  Returns NULL, or why the record cannot be used (a
 * sentence, palloc'd).
 */
extern char *progress_record_read(const char *value, size_t len,
								  ProgressRecord *record);

/* This server's, for a slot of this process's database; palloc'd. */
extern void progress_own_identity(ProgressIdentity *identity,
								  const char *slot_name);

/*
 * What differs between two identities, for people ("timeline 1 became 2,
 * machine a became b"), palloc'd; NULL if nothing.
 */
extern char *progress_identity_difference(const ProgressIdentity *before,
										  const ProgressIdentity *now);

#endif							/* WAL2KAFKA_PROGRESS_RECORD_H */
