/*
 * kafka_source.h
 *		Topics read back: a consumer of librdkafka behind a handful of
 *		functions.
 *
 * As kafka_sink.h: everything is called from the process's main thread,
 * librdkafka's threads never run our code, and what they have to say is
 * polled.  It joins no consumer group and commits nothing.
 *
 * A source is for a process that reads and ends.  It does not wait for a
 * broker for ever: after the timeout, ERRCODE_CONNECTION_FAILURE is raised.
 * Waits answer interrupts.
 */
#ifndef WAL2KAFKA_KAFKA_SOURCE_H
#define WAL2KAFKA_KAFKA_SOURCE_H

#include "options.h"

typedef struct KafkaSource KafkaSource;

/* A partition and what it holds: offsets from low to, not including, high. */
typedef struct KafkaPartition
{
	const char *topic;
	int32		id;
	int64		low;
	int64		high;
} KafkaPartition;

/* A record; valid until the next call. */
typedef struct KafkaRecord
{
	int32		partition;
	int64		offset;
	int64		timestamp_ms;
	const uint8 *key;			/* NULL: null */
	size_t		key_len;
	const uint8 *value;			/* NULL: null */
	size_t		value_len;
} KafkaRecord;

/*
 * Make a consumer, for the rest of the process.  options are those of the
 * stream's producer (kafka_sink.h), of which a consumer heeds what it knows.
 * Raises on wrong options.  Does not wait.
 */
extern KafkaSource *kafka_source_create(const char *bootstrap_servers,
										const char *client_id,
										const OptionList *options,
										int timeout_ms);

/* Never raises; NULL is allowed. */
extern void kafka_source_destroy(KafkaSource *source);

/*
 * The partitions of these topics as they are now, in order of topics and
 * partitions; topics that do not exist have none.  Palloc'd; names are the
 * caller's.
 */
extern int	kafka_source_look(KafkaSource *source, const char *const *topics,
							  int ntopics, KafkaPartition **partitions);

/*
 * Read a partition from low to high.  kafka_source_next() has the next
 * record, false at the end, and ends what kafka_source_begin() began.
 */
extern void kafka_source_begin(KafkaSource *source,
							   const KafkaPartition *partition);
extern bool kafka_source_next(KafkaSource *source, KafkaRecord *record);

/* End it before its end, which is allowed when it has ended, too. */
extern void kafka_source_end(KafkaSource *source);

#endif							/* WAL2KAFKA_KAFKA_SOURCE_H */
