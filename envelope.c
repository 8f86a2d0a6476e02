/*
 * envelope.c
 *		Debezium's envelope around a row, in Avro's binary encoding.
 *
 * The hot path.  A value is
 *
 *	 before, after			rows
 *	 source head			version, connector, name, ts_ms, snapshot, db
 *	 source.sequence		["<last commit>","<lsn>"]
 *	 source middle			ts_us, ts_ns
 *	 source.schema, table	rendered in the relation's entry
 *	 source.txId, lsn
 *	 tail					xmin, origin, origin_lsn; transaction
 *	 op
 *	 times					ts_ms, ts_us, ts_ns of now
 *
 * Of these head, middle, txId, tail and times are bytes that are rendered
 * once a transaction and copied.  The clock is read once a transaction, too.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/transam.h"
#include "datatype/timestamp.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "avro_encode.h"
#include "envelope.h"
#include "event_serialize.h"
#include "preload/shared_state.h"
#include "type_map.h"

/* Encoded, with what Kafka and framing add, an event must fit a palloc. */
#define MAX_EVENT_SIZE		(MaxAllocSize - 64 * 1024)

/* A buffer that one row made larger than this is given back. */
#define KEEP_BUFFER_SIZE	((size_t) 4 * 1024 * 1024)

/* Room for what an event has besides rows and copied bytes. */
#define FIXED_PART			128

#define CONNECTOR			"postgresql"
#define SNAPSHOT_STREAMING	"false"

/* Branches of ["null", T] and of [T, "null"], as they are written. */
#define PUT_NULL_FIRST(buf)		avro_put_long(buf, 0)
#define PUT_VALUE_SECOND(buf)	avro_put_long(buf, 1)
#define PUT_VALUE_FIRST(buf)	avro_put_long(buf, 0)

struct Envelope
{
	MemoryContext context;
	const char *name;			/* source.name, UTF-8 */
	const char *database;		/* source.db, UTF-8 */

	AvroBuffer	value;
	AvroBuffer	keys[2];		/* by EnvelopeKey */

	/* rendered by envelope_begin() */
	AvroBuffer	head;
	AvroBuffer	middle;
	AvroBuffer	txid;
	AvroBuffer	tail;
	AvroBuffer	times;
	char		sequence[32];	/* up to the LSN's digits */
	int			sequence_len;
	int64		time_us;		/* Unix epoch */
	const char *snapshot;		/* what head says */
	bool		begun;

	const RelationColumn *column;	/* being encoded */
};

Envelope *
envelope_create(MemoryContext cxt, const char *topic_prefix,
				const char *database_name)
{
	MemoryContext old = MemoryContextSwitchTo(cxt);
	Envelope   *envelope = palloc0(sizeof(Envelope));

	envelope->context = cxt;
	envelope->database = pstrdup(relation_map_utf8(database_name));
	envelope->name = topic_prefix[0] == '\0' ? envelope->database :
		pstrdup(relation_map_utf8(topic_prefix));
	avro_buffer_init(&envelope->value, cxt);
	avro_buffer_init(&envelope->keys[ENVELOPE_KEY_NEW], cxt);
	avro_buffer_init(&envelope->keys[ENVELOPE_KEY_OLD], cxt);
	avro_buffer_init(&envelope->head, cxt);
	avro_buffer_init(&envelope->middle, cxt);
	avro_buffer_init(&envelope->txid, cxt);
	avro_buffer_init(&envelope->tail, cxt);
	avro_buffer_init(&envelope->times, cxt);
	MemoryContextSwitchTo(old);
	return envelope;
}

static void
put_string(AvroBuffer *buf, const char *string)
{
	avro_put_bytes(buf, string, strlen(string));
}

/* A long of a ["null","long"]. */
static void
put_optional_long(AvroBuffer *buf, int64 value)
{
	PUT_VALUE_SECOND(buf);
	avro_put_long(buf, value);
}

static int64
unix_us(TimestampTz time)
{
	return time +
		(int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
}

static int64
us_to_ms(int64 us)
{
	int64		ms = us / 1000;

	return us % 1000 < 0 ? ms - 1 : ms;
}

/*
 * The source block up to sequence.  snapshot is an address of a constant, so
 * that it can be compared as such.
 */
static void
render_head(Envelope *envelope, const char *snapshot)
{
	AvroBuffer *head = &envelope->head;

	head->len = 0;
	put_string(head, WAL2KAFKA_VERSION);
	put_string(head, CONNECTOR);
	put_string(head, envelope->name);
	avro_put_long(head, us_to_ms(envelope->time_us));
	PUT_VALUE_FIRST(head);
	put_string(head, snapshot);
	put_string(head, envelope->database);
	PUT_VALUE_SECOND(head);		/* sequence follows */
	envelope->snapshot = snapshot;
}

void
envelope_begin(Envelope *envelope, const EnvelopeTransaction *transaction)
{
	int64		now = unix_us(GetCurrentTimestamp());
	AvroBuffer *buf;

	envelope->time_us = unix_us(transaction->time);
	render_head(envelope, SNAPSHOT_STREAMING);

	if (XLogRecPtrIsInvalid(transaction->last_commit_lsn))
		strcpy(envelope->sequence, "[null,\"");
	else
		snprintf(envelope->sequence, sizeof(envelope->sequence),
				 "[\"" UINT64_FORMAT "\",\"",
				 (uint64) transaction->last_commit_lsn);
	envelope->sequence_len = strlen(envelope->sequence);

	buf = &envelope->middle;
	buf->len = 0;
	put_optional_long(buf, envelope->time_us);
	put_optional_long(buf, envelope->time_us * 1000);

	buf = &envelope->txid;
	buf->len = 0;
	if (TransactionIdIsValid(transaction->xid))
		put_optional_long(buf, transaction->xid);
	else
		PUT_NULL_FIRST(buf);

	buf = &envelope->tail;
	buf->len = 0;
	PUT_NULL_FIRST(buf);		/* xmin */
	if (transaction->origin != NULL)
	{
		PUT_VALUE_SECOND(buf);
		put_string(buf, relation_map_utf8(transaction->origin));
		put_optional_long(buf, (int64) transaction->origin_lsn);
	}
	else
	{
		PUT_NULL_FIRST(buf);
		PUT_NULL_FIRST(buf);
	}
	PUT_NULL_FIRST(buf);		/* transaction */

	buf = &envelope->times;
	buf->len = 0;
	put_optional_long(buf, us_to_ms(now));
	put_optional_long(buf, now);
	put_optional_long(buf, now * 1000);
}

static void
start_buffer(Envelope *envelope, AvroBuffer *buf)
{
	if (unlikely(buf->size > KEEP_BUFFER_SIZE))
	{
		pfree(buf->data);
		avro_buffer_init(buf, envelope->context);
	}
	buf->len = 0;
	avro_buffer_reserve(buf, EVENT_HEADROOM);
	buf->len = EVENT_HEADROOM;
}

static EventBytes
finished(AvroBuffer *buf)
{
	EventBytes	bytes = {
		.data = buf->data + EVENT_HEADROOM,
		.len = buf->len - EVENT_HEADROOM,
	};

	return bytes;
}

/*
 * size is what is known of it so far: at least that much.
 */
static void
raise_too_large(const Event *event, const RelationEntry *entry, size_t size)
{
	StringInfoData key;

	initStringInfo(&key);
	if (event != NULL && event->key.data != NULL)
		event_serialize_datum(&key, &entry->target.key, event->key.data,
							  event->key.len);
	else
		appendStringInfoString(&key, "not known");
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("row of table \"%s.%s\" is too large for an event",
					entry->target.schema_name, entry->target.table_name),
			 errdetail("Its key is %s, its LSN %X/%X. It needs at least %zu bytes, the limit is %zu.",
					   pg_any_to_server(key.data, key.len, PG_UTF8),
					   LSN_FORMAT_ARGS(event ? event->lsn :
									   InvalidXLogRecPtr),
					   size, (size_t) MAX_EVENT_SIZE)));
}

/*
 * Write one value that is not null.  A value that detoasting would blow up
 * beyond the limit is refused before that.
 */
static inline void
put_value(AvroBuffer *buf, const Event *event, const RelationEntry *entry,
		  const RelationColumn *column, Datum value, bool streamed)
{
	TypeEncoder *encoder = column->encoder;

	if (column->value_branch != NO_BRANCH)
		avro_put_long(buf, column->value_branch);
	if (type_map_can_toast(encoder))
	{
		struct varlena *pointer = (struct varlena *) DatumGetPointer(value);

		if (VARATT_IS_EXTERNAL(pointer) || VARATT_IS_COMPRESSED(pointer))
		{
			size_t		size;

			/* the old value did not change, and is not in the WAL */
			if (streamed && VARATT_IS_EXTERNAL_ONDISK(pointer))
			{
				type_map_put_unavailable(encoder, buf);
				return;
			}
			size = buf->len + toast_raw_datum_size(value);
			if (size > MAX_EVENT_SIZE)
				raise_too_large(event, entry, size);
		}
	}
	encoder->encode(encoder, value, buf);
	if (unlikely(buf->len > MAX_EVENT_SIZE))
		raise_too_large(event, entry, buf->len);
}

static void
put_null(AvroBuffer *buf, const RelationColumn *column)
{
	if (column->value_branch == NO_BRANCH)
		ereport(ERROR,
				(errcode(ERRCODE_NOT_NULL_VIOLATION),
				 errmsg("null value in column that is not null in the schema")));
	avro_put_long(buf, column->null_branch);
}

/*
 * What stands for a column that is not in the old row's key.
 */
static void
put_unknown(AvroBuffer *buf, const RelationColumn *column)
{
	if (column->value_branch != NO_BRANCH)
		avro_put_long(buf, column->null_branch);
	else
		type_map_put_fallback(column->encoder, column->field.annotations.default_json,
							  buf);
}

static void
put_row(Envelope *envelope, const Event *event, const RelationEntry *entry,
		TupleTableSlot *slot, bool key_only, bool streamed)
{
	AvroBuffer *buf = &envelope->value;
	const Datum *values = slot->tts_values;
	const bool *nulls = slot->tts_isnull;

	for (int i = 0; i < entry->ncolumns; i++)
	{
		const RelationColumn *column = &entry->columns[i];
		int			index = column->attnum - 1;

		envelope->column = column;
		if (key_only && !column->in_identity)
			put_unknown(buf, column);
		else if (nulls[index])
			put_null(buf, column);
		else
			put_value(buf, event, entry, column, values[index], streamed);
	}
	envelope->column = NULL;
}

/*
 * The source block, transaction included.
 */
static void
put_source(Envelope *envelope, AvroBuffer *buf, XLogRecPtr lsn,
		   const uint8 *names, size_t names_len, const char *snapshot)
{
	char		digits[MAXINT8LEN + 1];
	int			ndigits;

	if (envelope->snapshot != snapshot)
		render_head(envelope, snapshot);
	avro_buffer_reserve(buf, envelope->head.len + envelope->middle.len +
						names_len + envelope->txid.len + envelope->tail.len +
						FIXED_PART);
	avro_put_raw(buf, envelope->head.data, envelope->head.len);

	ndigits = pg_ulltoa_n((uint64) lsn, digits);
	avro_put_long(buf, envelope->sequence_len + ndigits + 2);
	avro_put_raw(buf, envelope->sequence, envelope->sequence_len);
	avro_put_raw(buf, digits, ndigits);
	avro_put_raw(buf, "\"]", 2);

	avro_put_raw(buf, envelope->middle.data, envelope->middle.len);
	avro_put_raw(buf, names, names_len);
	avro_put_raw(buf, envelope->txid.data, envelope->txid.len);
	put_optional_long(buf, (int64) lsn);
	avro_put_raw(buf, envelope->tail.data, envelope->tail.len);
}

EventBytes
envelope_value(Envelope *envelope, const Event *event,
			   const RelationEntry *entry, TupleTableSlot *before,
			   bool before_is_key_only, TupleTableSlot *after,
			   const char *snapshot)
{
	AvroBuffer *buf = &envelope->value;
	bool		streamed = snapshot == NULL;

	start_buffer(envelope, buf);
	if (before != NULL)
	{
		PUT_VALUE_SECOND(buf);
		put_row(envelope, event, entry, before, before_is_key_only, streamed);
	}
	else
		PUT_NULL_FIRST(buf);
	if (after != NULL)
	{
		PUT_VALUE_SECOND(buf);
		put_row(envelope, event, entry, after, false, streamed);
	}
	else
		PUT_NULL_FIRST(buf);

	put_source(envelope, buf, event->lsn, entry->source_names,
			   entry->source_names_len,
			   streamed ? SNAPSHOT_STREAMING : snapshot);
	avro_put_bytes(buf, event_kinds[event->kind].op, 1);
	avro_put_raw(buf, envelope->times.data, envelope->times.len);
	return finished(buf);
}

bool
envelope_key(Envelope *envelope, EnvelopeKey which,
			 const RelationEntry *entry, TupleTableSlot *slot,
			 bool is_snapshot, EventBytes *key)
{
	AvroBuffer *buf = &envelope->keys[which];

	start_buffer(envelope, buf);
	for (int i = 0; i < entry->nkeys; i++)
	{
		const RelationColumn *column = &entry->columns[entry->keys[i]];
		int			index = column->attnum - 1;
		Datum		value = slot->tts_values[index];

		envelope->column = column;
		if (slot->tts_isnull[index])
			put_null(buf, column);
		else if (!is_snapshot && type_map_can_toast(column->encoder) &&
				 VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(value)))
		{
			envelope->column = NULL;
			return false;
		}
		else
			put_value(buf, NULL, entry, column, value, !is_snapshot);
	}
	envelope->column = NULL;
	*key = finished(buf);
	return true;
}

void
envelope_message(Envelope *envelope, Event *event, const char *prefix,
				 const char *content, size_t len)
{
	AvroBuffer *buf = &envelope->keys[ENVELOPE_KEY_NEW];
	static const uint8 no_names[2] = {0, 0};
	const char *utf8_prefix = relation_map_utf8(prefix);

	if (len > MAX_EVENT_SIZE)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("logical decoding message with prefix \"%s\" is too large for an event",
						prefix),
				 errdetail("Its LSN is %X/%X. It needs at least %zu bytes, the limit is %zu.",
						   LSN_FORMAT_ARGS(event->lsn), len,
						   (size_t) MAX_EVENT_SIZE)));

	start_buffer(envelope, buf);
	PUT_VALUE_SECOND(buf);
	put_string(buf, utf8_prefix);
	event->key = finished(buf);

	buf = &envelope->value;
	start_buffer(envelope, buf);
	avro_put_bytes(buf, event_kinds[event->kind].op, 1);
	put_optional_long(buf, us_to_ms(unix_us(GetCurrentTimestamp())));
	put_source(envelope, buf, event->lsn, no_names, sizeof(no_names),
			   SNAPSHOT_STREAMING);
	PUT_VALUE_SECOND(buf);
	put_string(buf, utf8_prefix);
	PUT_VALUE_SECOND(buf);
	avro_put_bytes(buf, content, len);
	event->value = finished(buf);
}

const RelationColumn *
envelope_column(const Envelope *envelope)
{
	return envelope->column;
}
