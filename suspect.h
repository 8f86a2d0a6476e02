/*
 * suspect.h
 *		What brokers have refused: which messages have to be tried alone.
 *
 * A message that comes back refused may have been in one request with the one
 * that is to blame, so a refusal says nothing of a message for good.  It makes
 * suspects: the next process sends each message in a request of its own, and
 * once a refusal is known to be of one message, those like it are sent alone
 * and judged (delivery_failure.c).  Like it are messages of the topic of half
 * its size or more, where the refusal was for the size; else those that have
 * no key, as it had none, or all of the topic.
 *
 * So each refusal that was not foreseen halves a size, or adds to what is a
 * suspect in another way: there are few of them, however many messages are
 * bad, and in whatever order they come.
 *
 * The list is a file in the slot's folder, of the stream's worker and the
 * processes beside it.  What one of them writes over the other's word costs
 * another refusal.  Functions raise nothing: some are called while the process
 * ends.  What cannot be read or written is logged.
 */
#ifndef WAL2KAFKA_SUSPECT_H
#define WAL2KAFKA_SUSPECT_H

#include "postgres.h"

#include "kafka_sink.h"

/* So often a message is refused alone before it is bad. */
#define SUSPECT_TRIES		3

/* Nothing was refused for so long: the file is of no more use. */
#define SUSPECTS_SECS		600

typedef struct SuspectList SuspectList;

/* The slot's list, allocated in TopMemoryContext; empty where there is none. */
extern SuspectList *suspects_load(const char *slot_name);

/* Has something been refused lately? */
extern bool suspects_any(const SuspectList *list);

/*
 * Is this message, with so many bytes of key and value, to be tried alone?
 */
extern bool suspects_has(const SuspectList *list, const char *topic,
						 bool has_key, size_t size);

/*
 * A message was refused.  single: it was in a request of its own.  has_key is
 * the refusal's.  True: there are more suspects in the file than this process
 * knew of, so that the next one will do better.
 */
extern bool suspects_add(SuspectList *list, const KafkaRefusal *refusal,
						 bool single);

/* Are there, as another process has found? */
extern bool suspects_news(const SuspectList *list);

/* One was refused that was foreseen: the list is of use for longer. */
extern void suspects_keep(SuspectList *list);

#endif							/* WAL2KAFKA_SUSPECT_H */
