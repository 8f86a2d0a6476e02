/*
 * event.h
 *		The one call between decoding and delivery.
 *
 * The plugin turns each change into an Event and hands it to the EventSink
 * that is registered in this process.  The streaming worker and the snapshot
 * register sinks of their own before they create a decoding context; where
 * none is registered (pg_logical_slot_get_changes(), pg_recvlogical),
 * event_serialize.c writes the event to the decoding context's output.
 *
 * Nothing here knows about Kafka, and nothing behind it knows about relations
 * or types.
 */
#ifndef WAL2KAFKA_EVENT_H
#define WAL2KAFKA_EVENT_H

#include "access/xlogdefs.h"
#include "avro_encode.h"
#include "datatype/timestamp.h"

/*
 * What a sink may write in front of a key or value without moving it: five
 * bytes of Confluent framing (magic byte, schema id), or ten of Avro's
 * single-object encoding (two marker bytes, fingerprint).
 */
#define EVENT_HEADROOM	10

/*
 * Kinds of events.  event_kinds[] in event.c has one row for each, in this
 * order.
 */
typedef enum EventKind
{
	EVENT_CREATE,
	EVENT_UPDATE,
	EVENT_DELETE,
	EVENT_READ,					/* a row of a snapshot */
	EVENT_TRUNCATE,
	EVENT_MESSAGE,				/* pg_logical_emit_message() */
	EVENT_TOMBSTONE,			/* null value that follows a delete */
	EVENT_TRANSACTION,			/* begin or end of one */
	EVENT_HEARTBEAT,
	EVENT_NOTIFICATION,			/* of a snapshot */
	EVENT_DEAD_LETTER,			/* of an event that cannot be sent
								 * (dead_letter.h) */
} EventKind;

#define EVENT_KIND_COUNT	(EVENT_DEAD_LETTER + 1)

typedef struct EventKindInfo
{
	EventKind	kind;
	const char *name;			/* for people: "insert", "update", ... */
	const char *op;				/* the envelope's op; NULL: no envelope */
} EventKindInfo;

extern const EventKindInfo event_kinds[EVENT_KIND_COUNT];

/*
 * What the bytes of keys and values are when they reach the sink.  Everything
 * is encoded as Avro first; the decoder converts the bytes before emit().
 */
typedef enum EventFormat
{
	EVENT_FORMAT_AVRO,			/* the sink frames them with a schema's id */
	EVENT_FORMAT_BARE,			/* JSON, text, raw bytes: sent as they are */
} EventFormat;

/*
 * A schema of a key or value, immutable once built.  Lives as long as the
 * EventTarget that has it.
 */
typedef struct EventSchema
{
	char	   *text;			/* Avro schema, NUL terminated; NULL: no
								 * schema, the key (or value) is always null */
	size_t		text_len;
	char	   *full_name;		/* the record's full name, for the registry's
								 * RecordNameStrategy */
	uint64		fingerprint;	/* CRC-64-AVRO of the parsing canonical form */
	EventFormat format;			/* of the bytes that a sink gets */
	struct JsonPlan *plan;		/* json_encode.c's, where the text's memory
								 * is; NULL until it is needed */
} EventSchema;

/*
 * Where events of one relation (or of one kind of message) go.
 *
 * Made by relation_map.c, one for each version of a relation's entry, and
 * passed to the sink with every event.  A relation whose definition changed
 * gets a new target; the sink hears of the old one's end by release().
 */
typedef struct EventTarget
{
	char	   *topic;			/* already sanitised */
	char	   *schema_name;	/* of the table, as in the catalog; "" for
								 * messages */
	char	   *table_name;
	Oid			relid;			/* InvalidOid for messages */
	EventSchema key;
	EventSchema value;
	bool		routed;			/* a value of the row made the topic's name */
	struct TransactionCollection *collection;	/* transaction_metadata.c's
												 * counter, ... */
	uint64		collection_epoch;	/* ... in that transaction */
	void	   *sink_data;		/* belongs to the sink; NULL until it sets it */
} EventTarget;

/*
 * The transaction that an event belongs to; valid from the sink's begin() to
 * its commit().
 */
typedef struct EventTransaction
{
	TransactionId xid;
	XLogRecPtr	first_lsn;		/* first change */
	XLogRecPtr	commit_lsn;		/* start of the commit record */
	XLogRecPtr	end_lsn;		/* end of the commit record */
	TimestampTz commit_time;
} EventTransaction;

/*
 * Encoded bytes.  data NULL: Kafka's null.  Otherwise EVENT_HEADROOM writable
 * bytes precede data.
 */
typedef struct EventBytes
{
	uint8	   *data;
	size_t		len;
} EventBytes;

/*
 * A record header.  The value is text, or a key struct rendered as JSON as
 * Connect's SimpleHeaderConverter does.
 */
typedef struct EventHeader
{
	const char *name;
	const char *value;			/* NULL: null */
	size_t		value_len;
} EventHeader;

#define EVENT_MAX_HEADERS	64

/* Event.partition: the key decides */
#define EVENT_PARTITION_BY_KEY	(-1)

/*
 * One event.  Everything it points to is valid during emit() only.
 */
typedef struct Event
{
	EventKind	kind;
	EventTarget *target;
	const EventTransaction *txn;	/* NULL: snapshot row, or a message that
									 * is not transactional */
	uint64		index;			/* position in the transaction, from 0; counts
								 * every emitted record, tombstones too */
	XLogRecPtr	lsn;			/* start of the change's WAL record; snapshot:
								 * the slot's consistent point */
	TimestampTz time;			/* commit time; snapshot: its begin;
								 * non-transactional message: now */
	EventBytes	key;
	EventBytes	value;
	int			nheaders;
	EventHeader *headers;		/* added by event_add_header() */
	bool		has_context;	/* context_headers.c's are among them */
	int32		partition;		/* or EVENT_PARTITION_BY_KEY */
	bool		has_timestamp;	/* the record's time is its own */
	int64		timestamp_ms;	/* since 1970 */
	bool		no_identity;	/* UPDATE or DELETE whose replica identity
								 * gave no key */
	bool		reduced;		/* columns were cut, since the row is too
								 * large */
} Event;

/*
 * Receiver of events.  All calls come from the decoding process's only
 * thread, in its current transaction (if any), and may raise errors: the
 * stream then stops and starts again from the slot.
 */
typedef struct EventSink EventSink;
struct EventFailure;
struct EventSink
{
	/* A transaction's first event follows.  Not called for empty ones. */
	void		(*begin) (EventSink *sink, const EventTransaction *txn);

	/*
	 * Take one event.  May write into the headroom.  Blocks while the sink
	 * has no room, answering interrupts.
	 */
	void		(*emit) (EventSink *sink, const Event *event);

	/* All events of the transaction were emitted; begin() came before. */
	void		(*commit) (EventSink *sink, const EventTransaction *txn);

	/*
	 * Events of this target may come: make what they need, so that a table
	 * without rows has it, too.  NULL: the sink has nothing to make.
	 */
	void		(*announce) (EventSink *sink, EventTarget *target);

	/*
	 * Many changes went by that are not sent: a chance to see to what has to
	 * be done in time.  NULL: there is nothing.
	 */
	void		(*pass) (EventSink *sink);

	/* The target is freed after this call. */
	void		(*release) (EventSink *sink, EventTarget *target);

	/*
	 * Has the receiver refused this event for good, so that to send it again
	 * would be of no use?  Says why.  To be asked before emit() where somebody
	 * else than the sink knows what to do then; NULL: nothing was refused.
	 */
	bool		(*refused) (EventSink *sink, const Event *event,
							struct EventFailure *failure);

	/*
	 * No event is taken whose key and value have more bytes together, with
	 * frame_len bytes in front of each that has Avro's format.  0: no limit.
	 * What headers and the like come to only the sink knows: where the caller
	 * sets reports_size for one call, emit() raises no error for an event that
	 * is too large after all, but does nothing and sets too_large.
	 */
	size_t		message_limit;
	size_t		frame_len;
	bool		reports_size;
	bool		too_large;
};

/*
 * A zeroed event that goes where its key says.
 */
#define EVENT_INIT(event_kind) \
	{.kind = (event_kind), .partition = EVENT_PARTITION_BY_KEY}

/*
 * Add a header.  Name and value stay the caller's; the array is allocated in
 * CurrentMemoryContext with the first one, so that a copy of the event that
 * gets other headers must set headers to NULL and nheaders to 0 and add all
 * of them.  Raises ERRCODE_CONFIGURATION_LIMIT_EXCEEDED beyond
 * EVENT_MAX_HEADERS: which ones there are the settings say, not the row.
 */
extern void event_add_header(Event *event, const char *name,
							 const char *value, size_t value_len);

/*
 * Begin a key or value in a buffer, with the headroom in front of it; and what
 * is in it then, valid until the buffer is used again.
 */
extern void event_start_bytes(AvroBuffer *buf);
extern EventBytes event_finish_bytes(const AvroBuffer *buf);

/*
 * The sink of this process, or NULL.  Set it before a decoding context is
 * created; never change it while one exists.
 */
extern PGDLLEXPORT EventSink *event_sink;

#endif							/* WAL2KAFKA_EVENT_H */
