/*
 * kafka_source.h
 *		Topics read back: a consumer of librdkafka behind a handful of
 *		functions.
 *
 * As kafka_sink.h: everything is called from the process's main thread,
 * librdkafka's threads never run our code, and what they have to say is
 * polled.  It joins no consumer group and commits nothing.
 *
 * A source does not wait for a broker for ever: after the timeout,
 * ERRCODE_CONNECTION_FAILURE is raised.  Waits answer interrupts.
 */
#ifndef WAL2KAFKA_KAFKA_SOURCE_H
#define WAL2KAFKA_KAFKA_SOURCE_H

#include "options.h"

typedef struct KafkaSource KafkaSource;

/*
 * A partition and what it holds: offsets from low to, not including, high.
 * Records of transactions that are not committed count.
 */
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
 * Make a consumer.  options are those of the stream's producer (kafka_sink.h),
 * of which a consumer heeds what it knows.  With committed_only it reads
 * nothing of transactions that were aborted, and what is hidden by one that is
 * open it waits for, and raises ERRCODE_OBJECT_IN_USE after the timeout.
 * Raises on wrong options.  Does not wait.
 */
extern KafkaSource *kafka_source_create(const char *bootstrap_servers,
										const char *client_id,
										const OptionList *options,
										int timeout_ms,
										bool committed_only);

/*
 * Never raises; NULL is allowed.  Takes milliseconds, or half a second if
 * librdkafka's threads hang in a name look-up.
 */
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
