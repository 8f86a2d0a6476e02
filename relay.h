/*
 * relay.h
 *		Events from the process that reads a table to the one that sends.
 *
 * The reader registers a RelaySink as event_sink: events, with what they are
 * made of (topic, schemas), go into a queue of the server (shm_mq) in blocks.
 * The streaming worker takes them out and emits them into its own sink as if
 * it had encoded them.  Between events there are reports, of which this file
 * knows only their length.
 *
 * The queue is bounded: the reader waits while it is full.
 */
#ifndef WAL2KAFKA_RELAY_H
#define WAL2KAFKA_RELAY_H

#include "postgres.h"

#include "event.h"
#include "lib/stringinfo.h"
#include "storage/shm_mq.h"

/* Bytes of a queue.  A larger event goes through it in pieces. */
#define RELAY_QUEUE_SIZE	(1024 * 1024)

typedef struct RelaySink RelaySink;
typedef struct RelaySource RelaySource;

typedef enum RelayItem
{
	RELAY_NOTHING,				/* the queue is empty now */
	RELAY_EVENT,
	RELAY_ANNOUNCE,				/* of event->target: see EventSink */
	RELAY_REPORT,
	RELAY_ENDED,				/* the other side is gone; nothing follows */
} RelayItem;

/*
 * The reader's side.  Allocates in TopMemoryContext.  queue stays the
 * caller's.  The other side's end is an error (ERRCODE_CONNECTION_FAILURE).
 * Waits for room, answering interrupts; see relay_sink_patience().
 */
extern RelaySink *relay_sink_create(shm_mq_handle *queue);
extern EventSink *relay_sink_events(RelaySink *sink);

/*
 * How long to wait for room, in ms; 0, as at first: as long as it takes.
 * What finds none in that time is kept in memory, and so is all that follows,
 * until there is no limit any more: that call sends it.  Or, if not keep, it
 * is an error (ERRCODE_CONFIGURATION_LIMIT_EXCEEDED), after which nothing can
 * be sent.
 */
extern void relay_sink_patience(RelaySink *sink, int ms, bool keep);

/*
 * Before a block with events is handed over, make a report to be put at its
 * end: the receiver has the two together or not at all.  checkpoint() may
 * append nothing, which is none; it must not send anything.  Of a block that
 * ends with another report it is not asked.
 */
extern void relay_sink_checkpoints(RelaySink *sink,
								   void (*checkpoint) (void *arg,
													   StringInfo buf),
								   void *arg);

/*
 * Take back the events that have no report behind them and were not handed
 * over yet, after an error.
 */
extern void relay_sink_drop_events(RelaySink *sink);

/* A report behind all events so far, handed over at once. */
extern void relay_sink_report(RelaySink *sink, const void *data, Size len);

/* Hand over what was collected. */
extern void relay_sink_flush(RelaySink *sink);

/*
 * The worker's side.  Allocates in TopMemoryContext.  Never waits.
 * relay_source_next() takes the next item.  What *event or *report (of *len
 * bytes) points to is valid until the next call; an event's target, until the
 * reader released it, or the source is destroyed: the sink of this process
 * hears of that (event_sink->release()).  Raises ERRCODE_DATA_CORRUPTED for
 * what it cannot read.
 */
extern RelaySource *relay_source_create(shm_mq_handle *queue);
extern void relay_source_destroy(RelaySource *source);
extern bool relay_source_in_block(const RelaySource *source);	/* more is at
																 * hand */
extern RelayItem relay_source_next(RelaySource *source, Event *event,
								   const char **report, Size *len);

#endif							/* WAL2KAFKA_RELAY_H */
