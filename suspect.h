/*
 * suspect.h
 *		Messages that a broker has refused, and how often: what must be known
 *		before one is called bad, and survives the processes that it ends.
 *
 * A message that comes back refused may have been in one request with the one
 * that is to blame, or the refusal was a passing one.  So it is a suspect: the
 * next process sends each message in a request of its own, and a suspect with
 * nothing else under way.  When that was refused SUSPECT_TRIES times, the
 * message is bad.
 *
 * The list is a file in the slot's folder.  Functions raise nothing: some are
 * called while the process ends.  What cannot be read or written is logged,
 * and costs more tries.
 */
#ifndef WAL2KAFKA_SUSPECT_H
#define WAL2KAFKA_SUSPECT_H

#include "postgres.h"

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "kafka_sink.h"

#define SUSPECT_TRIES		3

/* Nothing was refused for so long: the file is of no more use. */
#define SUSPECTS_SECS		600

typedef struct SuspectList SuspectList;
typedef struct Suspect Suspect;

/* The slot's list, allocated in TopMemoryContext; empty where there is none. */
extern SuspectList *suspects_load(const char *slot_name);

/* Has something been refused lately? */
extern bool suspects_any(const SuspectList *list);

/*
 * The suspect that this message is, or seems to be; NULL: none.  Key and
 * value as they are sent.  lsn and kind tell messages apart that are alike.
 */
extern Suspect *suspects_find(SuspectList *list, const char *topic,
							  const void *key, size_t key_len,
							  const void *value, size_t value_len,
							  XLogRecPtr lsn, int kind);

/* Is it bad, and what did the broker say?  The text is static. */
extern bool suspect_is_bad(const Suspect *suspect);
extern const KafkaRefusal *suspect_refusal(const Suspect *suspect);

/*
 * It is about to be sent alone, as this change; it was acknowledged; it was
 * refused.  The latter two are written to the file.  False: that failed, and
 * the next process would know no more than this one.
 */
extern void suspect_try(Suspect *suspect, XLogRecPtr lsn, int kind);
extern void suspect_acquit(SuspectList *list, Suspect *suspect);
extern bool suspect_refused(SuspectList *list, Suspect *suspect,
							const KafkaRefusal *refusal);

/* A message was refused among others: from now on it is a suspect. */
extern bool suspects_add(SuspectList *list, const KafkaRefusal *refusal);

#endif							/* WAL2KAFKA_SUSPECT_H */
