/*
 * record_digest.h
 *		What a record says of a row, in hashes.
 *
 * The same for records that were read back from a topic and for events that
 * are about to be sent, whatever their format, so that the two can be
 * compared: a hash of the key, and one of each column's value.  Two values
 * have the same hash if their bytes and types are the same.
 *
 * A record of the topic may have an older schema.  What it has in common with
 * the table of now are the columns whose name and type are the same; which
 * these are is its version.
 */
#ifndef WAL2KAFKA_RECORD_DIGEST_H
#define WAL2KAFKA_RECORD_DIGEST_H

#include "postgres.h"

#include "event.h"
#include "kafka_source.h"
#include "preload/settings.h"
#include "relation_map.h"

typedef struct RecordDigester RecordDigester;

/* What a record does to the row of its key. */
typedef enum RecordEffect
{
	RECORD_SETS_ROW,
	RECORD_REMOVES_ROW,			/* a delete, or a tombstone */
	RECORD_REMOVES_ALL,			/* a truncate */
	RECORD_IS_OTHERS,			/* another table's, or none of a row */
	RECORD_UNREADABLE,
} RecordEffect;

typedef struct RecordDigest
{
	RecordEffect effect;
	bool		has_key;
	bool		is_tombstone;
	uint64		key;			/* hash */
	uint64		order;			/* source.lsn, else Kafka's timestamp */
	int			version;		/* RECORD_SETS_ROW: of the columns; 0: all */
	bool		partial;		/* some of either side were left out */
	const uint64 *columns;		/* their hashes, 0: not in common; valid until
								 * the next record */
} RecordDigest;

/*
 * The text of a schema by what frames a value: the registry's id, or a
 * fingerprint.  NULL: it is not known.  Palloc'd.
 */
typedef char *(*SchemaTextFunc) (void *arg, bool is_fingerprint, uint64 id);

/*
 * For the records of a relation's topic.  The entry's names and types are
 * taken over.  Allocates in cxt; settings must stay valid.
 */
extern RecordDigester *record_digester_create(MemoryContext cxt,
											  const Settings *settings,
											  const RelationEntry *entry,
											  SchemaTextFunc schema_text,
											  void *arg);

/*
 * First the key, then, if that is of interest, the rest.  May raise what
 * schema_text raises.
 */
extern void record_digest_key(RecordDigester *digester,
							  const KafkaRecord *record,
							  RecordDigest *digest);
extern void record_digest_value(RecordDigester *digester,
								const KafkaRecord *record,
								RecordDigest *digest);
extern void record_digest_event_key(RecordDigester *digester,
									const Event *event,
									RecordDigest *digest);
extern void record_digest_event_value(RecordDigester *digester,
									  const Event *event,
									  RecordDigest *digest);

/* The columns, and whether a version has one. */
extern int	record_digester_ncolumns(const RecordDigester *digester);
extern bool record_digester_has(const RecordDigester *digester, int version,
								int column);

/*
 * The hash of the placeholder for an unchanged TOAST value; 0 for a column
 * that cannot have one.
 */
extern uint64 record_digester_placeholder(const RecordDigester *digester,
										  int column);

/* A record's key for people, palloc'd, in the database's encoding. */
extern char *record_digester_key_text(RecordDigester *digester,
									  const KafkaRecord *record);
extern char *record_digester_event_key_text(RecordDigester *digester,
											const Event *event);

/*
 * The names of the columns in which a record differs from a row, of which
 * these are the hashes, for people; palloc'd.
 */
extern char *record_digester_differing(RecordDigester *digester,
									   const KafkaRecord *record,
									   const uint64 *row);

#endif							/* WAL2KAFKA_RECORD_DIGEST_H */
