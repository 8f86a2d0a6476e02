/*
 * relay.c
 *		Events from the process that reads a table to the one that sends.
 *
 * A message of the queue is a block: records one after the other, each at an
 * aligned place and with its length in front.  The reader fills blocks of 64
 * kB, and sends one when the next record does not fit or a report is in it;
 * a record that is larger than that is a block of its own.
 *
 * The receiver copies nothing.  The queue hands out blocks where they lie,
 * in the ring itself if they do not wrap around, and takes the room back with
 * the next call.  The headroom in front of keys and values is part of the
 * block, and nobody but the receiver looks at it: framing may be written there.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "relay.h"
#include "storage/latch.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define BLOCK_SIZE		(64 * 1024)

/* Behind a block's size: for the report that is put at its end. */
#define CHECKPOINT_ROOM	1024

/* Length of a text that is NULL. */
#define NO_TEXT			PG_UINT32_MAX

typedef enum RecordType
{
	RECORD_TARGET,				/* RelayTarget, texts */
	RECORD_ANNOUNCE,			/* RelayId */
	RECORD_RELEASE,				/* RelayId */
	RECORD_EVENT,				/* RelayEvent, headers, key, value */
	RECORD_REPORT,				/* RelayReport, bytes */
} RecordType;

/* In front of each record. */
typedef struct RelayRecord
{
	uint32		len;			/* with this header, aligned */
	uint32		type;			/* RecordType */
} RelayRecord;

/* An EventTarget; its texts follow in the order of put_target(). */
typedef struct RelayTarget
{
	RelayRecord record;
	uint64		key_fingerprint;
	uint64		value_fingerprint;
	uint32		id;
	Oid			relid;
	uint8		key_format;
	uint8		value_format;
	bool		routed;
} RelayTarget;

/* Of a target that was defined before */
typedef struct RelayId
{
	RelayRecord record;
	uint32		id;
} RelayId;

typedef struct RelayEvent
{
	RelayRecord record;
	XLogRecPtr	lsn;
	TimestampTz time;
	uint64		index;
	int64		timestamp_ms;
	uint32		target;
	uint32		key_len;		/* NO_TEXT: null; else headroom is in front */
	uint32		value_len;		/* likewise */
	int32		partition;
	uint32		nheaders;
	uint8		kind;
	bool		has_context;
	bool		has_timestamp;
	bool		no_identity;
	bool		reduced;
} RelayEvent;

typedef struct RelayReport
{
	RelayRecord record;
	uint64		len;
} RelayReport;

/* A block that found no room in time; the list and it in TopMemoryContext. */
typedef struct LateBlock
{
	char	   *block;
	Size		used;
} LateBlock;

struct RelaySink
{
	EventSink	sink;			/* must be first: callbacks cast back */
	shm_mq_handle *queue;
	char	   *block;
	Size		size;			/* BLOCK_SIZE, or more for one large record */
	Size		used;
	uint32		last_id;		/* of targets; 0: none yet */
	bool		sending;		/* an error left a message half sent */
	int			patience_ms;	/* 0: none is needed */
	bool		keep;			/* what is late */
	List	   *late;			/* LateBlock, the first perhaps half sent */

	/* see relay_sink_checkpoints(); NULL: none */
	void		(*checkpoint) (void *arg, StringInfo buf);
	void	   *checkpoint_arg;
	StringInfoData report;		/* used again and again */
	bool		events;			/* the block has some, and no report behind */
};

/* A target that the reader has defined; in the hash RelaySource.targets. */
typedef struct SourceTarget
{
	uint32		id;				/* hash key */
	MemoryContext context;		/* of what the target points to */
	EventTarget target;
} SourceTarget;

struct RelaySource
{
	shm_mq_handle *queue;
	MemoryContext context;
	HTAB	   *targets;		/* SourceTarget */
	SourceTarget *last;			/* of the last event; NULL: none */
	EventHeader headers[EVENT_MAX_HEADERS];

	/* the block at hand, and what is left of it */
	char	   *next;
	Size		left;
};

/* ---- the reader's side ---- */

/*
 * An empty block of that size instead of the one there is.
 */
static void
set_block(RelaySink *sink, Size size)
{
	char	   *block = MemoryContextAllocHuge(TopMemoryContext,
											   size + CHECKPOINT_ROOM);

	if (sink->block != NULL)
		pfree(sink->block);
	sink->block = block;
	sink->size = size;
}

/*
 * Put a block into the queue.  False: there was no room in time, and no other
 * block may be tried before this one.
 */
static bool
try_block(RelaySink *sink, const char *block, Size used, bool wake)
{
	bool		nowait = sink->patience_ms > 0;
	TimestampTz began = nowait ? GetCurrentTimestamp() : 0;
	shm_mq_result result;

	if (sink->sending)
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("a block of events was sent in part only")));
	sink->sending = true;
	for (;;)
	{
		result = shm_mq_send(sink->queue, used, block, nowait, wake);
		if (result != SHM_MQ_WOULD_BLOCK ||
			TimestampDifferenceExceeds(began, GetCurrentTimestamp(),
									   sink->patience_ms))
			break;
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 sink->patience_ms, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	if (result == SHM_MQ_WOULD_BLOCK && !sink->keep)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("rows that were read could not be sent for %d s",
						sink->patience_ms / 1000)));
	sink->sending = false;
	if (result == SHM_MQ_DETACHED)
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("the streaming worker has ended")));
	return result == SHM_MQ_SUCCESS;
}

/*
 * The block at hand is one of those that are late.
 */
static void
keep_block(RelaySink *sink)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	LateBlock  *late = palloc(sizeof(LateBlock));

	late->block = sink->block;
	late->used = sink->used;
	sink->late = lappend(sink->late, late);
	sink->block = NULL;
	set_block(sink, BLOCK_SIZE);
	MemoryContextSwitchTo(old);
}

/*
 * Put a report at the end of the block, which may have to grow for it.
 */
static void
add_checkpoint(RelaySink *sink)
{
	RelayReport *record;
	Size		len;

	sink->events = false;
	resetStringInfo(&sink->report);
	sink->checkpoint(sink->checkpoint_arg, &sink->report);
	if (sink->report.len == 0)
		return;
	len = MAXALIGN(sizeof(RelayReport) + sink->report.len);
	if (sink->used + len > sink->size + CHECKPOINT_ROOM)
	{
		sink->block = repalloc_huge(sink->block, sink->used + len);
		sink->size = sink->used + len;
	}
	record = (RelayReport *) (sink->block + sink->used);
	sink->used += len;
	record->record.len = (uint32) len;
	record->record.type = RECORD_REPORT;
	record->len = sink->report.len;
	memcpy(record + 1, sink->report.data, sink->report.len);
}

static void
send_block(RelaySink *sink, bool wake)
{
	if (sink->used == 0)
		return;
	if (sink->checkpoint != NULL && sink->events)
		add_checkpoint(sink);
	if (sink->late != NIL ||
		!try_block(sink, sink->block, sink->used, wake))
		keep_block(sink);
	else if (sink->size > BLOCK_SIZE)
		set_block(sink, BLOCK_SIZE);
	sink->used = 0;
}

void
relay_sink_patience(RelaySink *sink, int ms, bool keep)
{
	sink->patience_ms = ms;
	sink->keep = keep;
	while (ms == 0 && sink->late != NIL)
	{
		LateBlock  *late = linitial(sink->late);

		(void) try_block(sink, late->block, late->used, true);
		sink->late = list_delete_first(sink->late);
		pfree(late->block);
		pfree(late);
	}
}

/*
 * Room for a record of that length, and its header filled in.
 */
static void *
put_record(RelaySink *sink, RecordType type, Size len)
{
	RelayRecord *record;

	len = MAXALIGN(len);
	if (sink->used + len > sink->size)
		send_block(sink, false);
	if (len > sink->size)
		set_block(sink, len);
	record = (RelayRecord *) (sink->block + sink->used);
	sink->used += len;
	record->len = (uint32) len;
	record->type = type;
	return record;
}

static inline Size
text_size(const char *text, Size len)
{
	return sizeof(uint32) + (text != NULL ? len + 1 : 0);
}

/*
 * A text with its length in front and NUL behind.
 */
static inline char *
put_text(char *to, const char *text, Size len)
{
	uint32		prefix = (text != NULL) ? (uint32) len : NO_TEXT;

	memcpy(to, &prefix, sizeof(prefix));
	to += sizeof(prefix);
	if (text != NULL)
	{
		memcpy(to, text, len);
		to += len;
		*to++ = '\0';
	}
	return to;
}

/*
 * Tell the other side of a target; its id from then on is in sink_data.
 */
static void
put_target(RelaySink *sink, EventTarget *target)
{
	struct
	{
		const char *text;
		Size		len;
	}			texts[] =
	{
		{target->topic, strlen(target->topic)},
		{target->schema_name, strlen(target->schema_name)},
		{target->table_name, strlen(target->table_name)},
		{target->key.text, target->key.text_len},
		{target->key.full_name,
			target->key.full_name ? strlen(target->key.full_name) : 0},
		{target->value.text, target->value.text_len},
		{target->value.full_name,
			target->value.full_name ? strlen(target->value.full_name) : 0},
	};
	Size		size = sizeof(RelayTarget);
	RelayTarget *record;
	char	   *to;

	for (int i = 0; i < lengthof(texts); i++)
		size += text_size(texts[i].text, texts[i].len);
	record = put_record(sink, RECORD_TARGET, size);
	record->id = ++sink->last_id;
	record->relid = target->relid;
	record->key_fingerprint = target->key.fingerprint;
	record->value_fingerprint = target->value.fingerprint;
	record->key_format = target->key.format;
	record->value_format = target->value.format;
	record->routed = target->routed;
	to = (char *) (record + 1);
	for (int i = 0; i < lengthof(texts); i++)
		to = put_text(to, texts[i].text, texts[i].len);
	target->sink_data = (void *) (uintptr_t) record->id;
}

static inline char *
put_bytes(char *to, const EventBytes *bytes)
{
	if (bytes->data == NULL)
		return to;
	to += EVENT_HEADROOM;
	memcpy(to, bytes->data, bytes->len);
	return to + bytes->len;
}

static void
sink_emit(EventSink *base, const Event *event)
{
	RelaySink  *sink = (RelaySink *) base;
	Size		size = sizeof(RelayEvent);
	RelayEvent *record;
	char	   *to;

	if (unlikely(event->target->sink_data == NULL))
		put_target(sink, event->target);

	if (event->key.data != NULL)
		size += EVENT_HEADROOM + event->key.len;
	if (event->value.data != NULL)
		size += EVENT_HEADROOM + event->value.len;
	for (int i = 0; i < event->nheaders; i++)
		size += text_size(event->headers[i].name,
						  strlen(event->headers[i].name)) +
			text_size(event->headers[i].value, event->headers[i].value_len);

	record = put_record(sink, RECORD_EVENT, size);
	sink->events = true;
	record->lsn = event->lsn;
	record->time = event->time;
	record->index = event->index;
	record->timestamp_ms = event->timestamp_ms;
	record->target = (uint32) (uintptr_t) event->target->sink_data;
	record->key_len = event->key.data ? event->key.len : NO_TEXT;
	record->value_len = event->value.data ? event->value.len : NO_TEXT;
	record->partition = event->partition;
	record->nheaders = event->nheaders;
	record->kind = event->kind;
	record->has_context = event->has_context;
	record->has_timestamp = event->has_timestamp;
	record->no_identity = event->no_identity;
	record->reduced = event->reduced;
	to = (char *) (record + 1);
	for (int i = 0; i < event->nheaders; i++)
	{
		to = put_text(to, event->headers[i].name,
					  strlen(event->headers[i].name));
		to = put_text(to, event->headers[i].value,
					  event->headers[i].value_len);
	}
	to = put_bytes(to, &event->key);
	(void) put_bytes(to, &event->value);
}

/*
 * Rows of a table belong to no transaction: there is nothing to tell.
 */
static void
sink_transaction(EventSink *base, const EventTransaction *txn)
{
}

static void
put_id(RelaySink *sink, RecordType type, const EventTarget *target)
{
	RelayId    *record = put_record(sink, type, sizeof(RelayId));

	record->id = (uint32) (uintptr_t) target->sink_data;
}

static void
sink_announce(EventSink *base, EventTarget *target)
{
	RelaySink  *sink = (RelaySink *) base;

	if (target->sink_data == NULL)
		put_target(sink, target);
	put_id(sink, RECORD_ANNOUNCE, target);
}

static void
sink_release(EventSink *base, EventTarget *target)
{
	if (target->sink_data == NULL)
		return;
	put_id((RelaySink *) base, RECORD_RELEASE, target);
	target->sink_data = NULL;
}

RelaySink *
relay_sink_create(shm_mq_handle *queue)
{
	RelaySink  *sink = MemoryContextAllocZero(TopMemoryContext,
											  sizeof(RelaySink));

	sink->sink.begin = sink_transaction;
	sink->sink.emit = sink_emit;
	sink->sink.commit = sink_transaction;
	sink->sink.announce = sink_announce;
	sink->sink.release = sink_release;
	sink->queue = queue;
	set_block(sink, BLOCK_SIZE);
	return sink;
}

EventSink *
relay_sink_events(RelaySink *sink)
{
	return &sink->sink;
}

void
relay_sink_report(RelaySink *sink, const void *data, Size len)
{
	RelayReport *record = put_record(sink, RECORD_REPORT,
									 sizeof(RelayReport) + len);

	record->len = len;
	memcpy(record + 1, data, len);
	sink->events = false;
	send_block(sink, true);
}

void
relay_sink_drop_events(RelaySink *sink)
{
	char	   *from = sink->block;
	char	   *to = sink->block;
	char	   *end = sink->block + sink->used;

	sink->events = false;
	while (from < end)
	{
		Size		len = ((RelayRecord *) from)->len;

		if (((RelayRecord *) from)->type != RECORD_EVENT)
		{
			memmove(to, from, len);
			to += len;
		}
		from += len;
	}
	sink->used = to - sink->block;
}

void
relay_sink_checkpoints(RelaySink *sink,
					   void (*checkpoint) (void *arg, StringInfo buf),
					   void *arg)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	sink->checkpoint = checkpoint;
	sink->checkpoint_arg = arg;
	initStringInfo(&sink->report);
	MemoryContextSwitchTo(old);
}

void
relay_sink_flush(RelaySink *sink)
{
	send_block(sink, true);
}

/* ---- the worker's side ---- */

static void
raise_damaged(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("a block of events from a snapshot reader is damaged")));
}

/*
 * Take a number of bytes from what is left of a record.
 */
static inline char *
take(char **from, Size *left, Size len)
{
	char	   *result = *from;

	if (unlikely(len > *left))
		raise_damaged();
	*from += len;
	*left -= len;
	return result;
}

static inline char *
take_text(char **from, Size *left, Size *len)
{
	uint32		prefix;
	char	   *text;

	memcpy(&prefix, take(from, left, sizeof(prefix)), sizeof(prefix));
	if (prefix == NO_TEXT)
	{
		*len = 0;
		return NULL;
	}
	text = take(from, left, (Size) prefix + 1);
	if (unlikely(text[prefix] != '\0'))
		raise_damaged();
	*len = prefix;
	return text;
}

static inline EventBytes
take_bytes(char **from, Size *left, uint32 len)
{
	EventBytes	bytes = {0};

	if (len != NO_TEXT)
	{
		(void) take(from, left, EVENT_HEADROOM);
		bytes.data = (uint8 *) take(from, left, len);
		bytes.len = len;
	}
	return bytes;
}

/*
 * A text of a target, which lasts as long as the target.
 */
static char *
keep_text(char **from, Size *left, Size *len)
{
	char	   *text = take_text(from, left, len);
	char	   *result;

	if (text == NULL)
		return NULL;
	result = palloc(*len + 1);
	memcpy(result, text, *len + 1);
	return result;
}

static void
define_target(RelaySource *source, RelayTarget *record)
{
	char	   *from = (char *) (record + 1);
	Size		left = record->record.len - sizeof(RelayTarget);
	Size		len;
	bool		found;
	SourceTarget *entry = hash_search(source->targets, &record->id,
									  HASH_ENTER, &found);
	EventTarget *target = &entry->target;
	MemoryContext old;

	if (found)
		raise_damaged();
	memset(target, 0, sizeof(*target));
	entry->context = NULL;
	entry->context = AllocSetContextCreate(source->context,
										   "wal2kafka relayed target",
										   ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(entry->context);
	target->topic = keep_text(&from, &left, &len);
	target->schema_name = keep_text(&from, &left, &len);
	target->table_name = keep_text(&from, &left, &len);
	target->key.text = keep_text(&from, &left, &target->key.text_len);
	target->key.full_name = keep_text(&from, &left, &len);
	target->value.text = keep_text(&from, &left, &target->value.text_len);
	target->value.full_name = keep_text(&from, &left, &len);
	MemoryContextSwitchTo(old);
	target->relid = record->relid;
	target->key.fingerprint = record->key_fingerprint;
	target->value.fingerprint = record->value_fingerprint;
	target->key.format = (EventFormat) record->key_format;
	target->value.format = (EventFormat) record->value_format;
	target->routed = record->routed;
}

static void
free_target(RelaySource *source, SourceTarget *entry)
{
	if (event_sink != NULL)
		event_sink->release(event_sink, &entry->target);
	if (entry->context != NULL)
		MemoryContextDelete(entry->context);
	if (source->last == entry)
		source->last = NULL;
	hash_search(source->targets, &entry->id, HASH_REMOVE, NULL);
}

static inline SourceTarget *
find_target(RelaySource *source, uint32 id)
{
	if (unlikely(source->last == NULL || source->last->id != id))
		source->last = hash_search(source->targets, &id, HASH_FIND, NULL);
	if (unlikely(source->last == NULL))
		raise_damaged();
	return source->last;
}

static void
take_event(RelaySource *source, RelayEvent *record, Event *event)
{
	char	   *from = (char *) (record + 1);
	Size		left = record->record.len - sizeof(RelayEvent);

	if (unlikely(record->nheaders > EVENT_MAX_HEADERS ||
				 record->kind >= EVENT_KIND_COUNT))
		raise_damaged();

	memset(event, 0, sizeof(*event));
	event->kind = (EventKind) record->kind;
	event->target = &find_target(source, record->target)->target;
	event->index = record->index;
	event->lsn = record->lsn;
	event->time = record->time;
	event->partition = record->partition;
	event->has_context = record->has_context;
	event->has_timestamp = record->has_timestamp;
	event->timestamp_ms = record->timestamp_ms;
	event->no_identity = record->no_identity;
	event->reduced = record->reduced;
	event->nheaders = record->nheaders;
	event->headers = source->headers;
	for (int i = 0; i < event->nheaders; i++)
	{
		EventHeader *header = &source->headers[i];
		Size		len;

		header->name = take_text(&from, &left, &len);
		header->value = take_text(&from, &left, &header->value_len);
	}
	event->key = take_bytes(&from, &left, record->key_len);
	event->value = take_bytes(&from, &left, record->value_len);
}

/*
 * The next record, NULL where the queue has none; *item says why then.
 */
static RelayRecord *
next_record(RelaySource *source, RelayItem *item)
{
	RelayRecord *record;

	if (source->left == 0)
	{
		void	   *block;
		Size		len;

		switch (shm_mq_receive(source->queue, &len, &block, true))
		{
			case SHM_MQ_SUCCESS:
				break;
			case SHM_MQ_WOULD_BLOCK:
				*item = RELAY_NOTHING;
				return NULL;
			case SHM_MQ_DETACHED:
				*item = RELAY_ENDED;
				return NULL;
		}
		source->next = block;
		source->left = len;
	}

	record = (RelayRecord *) source->next;
	if (unlikely(source->left < sizeof(RelayRecord) ||
				 record->len < sizeof(RelayRecord) ||
				 record->len > source->left))
		raise_damaged();
	source->next += record->len;
	source->left -= record->len;
	return record;
}

bool
relay_source_in_block(const RelaySource *source)
{
	return source->left > 0;
}

RelayItem
relay_source_next(RelaySource *source, Event *event, const char **report,
				  Size *len)
{
	RelayRecord *record;
	RelayItem	item = RELAY_NOTHING;

	while ((record = next_record(source, &item)) != NULL)
	{
		static const Size least[] = {
			[RECORD_TARGET] = sizeof(RelayTarget),
			[RECORD_ANNOUNCE] = sizeof(RelayId),
			[RECORD_RELEASE] = sizeof(RelayId),
			[RECORD_EVENT] = sizeof(RelayEvent),
			[RECORD_REPORT] = sizeof(RelayReport),
		};

		if (unlikely(record->type >= lengthof(least) ||
					 record->len < least[record->type]))
			raise_damaged();
		switch ((RecordType) record->type)
		{
			case RECORD_TARGET:
				define_target(source, (RelayTarget *) record);
				break;
			case RECORD_ANNOUNCE:
				event->target =
					&find_target(source, ((RelayId *) record)->id)->target;
				return RELAY_ANNOUNCE;
			case RECORD_RELEASE:
				free_target(source,
							find_target(source, ((RelayId *) record)->id));
				break;
			case RECORD_EVENT:
				take_event(source, (RelayEvent *) record, event);
				return RELAY_EVENT;
			case RECORD_REPORT:
				*len = ((RelayReport *) record)->len;
				if (*len > record->len - sizeof(RelayReport))
					raise_damaged();
				*report = (char *) record + sizeof(RelayReport);
				return RELAY_REPORT;
		}
	}
	return item;
}

RelaySource *
relay_source_create(shm_mq_handle *queue)
{
	RelaySource *source = MemoryContextAllocZero(TopMemoryContext,
												 sizeof(RelaySource));
	HASHCTL		ctl = {
		.keysize = sizeof(uint32),
		.entrysize = sizeof(SourceTarget),
	};

	source->queue = queue;
	source->context = AllocSetContextCreate(TopMemoryContext,
											"wal2kafka relay",
											ALLOCSET_SMALL_SIZES);
	ctl.hcxt = source->context;
	source->targets = hash_create("wal2kafka relayed targets", 16, &ctl,
								  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	return source;
}

void
relay_source_destroy(RelaySource *source)
{
	HASH_SEQ_STATUS scan;
	SourceTarget *entry;

	hash_seq_init(&scan, source->targets);
	while ((entry = hash_seq_search(&scan)) != NULL)
		free_target(source, entry);
	MemoryContextDelete(source->context);
	pfree(source);
}
