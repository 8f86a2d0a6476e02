/*
 * envelope.c
 *		Debezium's envelope around a row, in Avro's binary encoding.
 *
 * The hot path.  A value is
 *
 *	 before, after			rows
 *	 source head			version, connector, name, ts_ms, snapshot, db,
 *							sequence up to the LSN: ["<last commit>","
 *	 source.sequence		the LSN's digits
 *	 source middle			the end of sequence; ts_us, ts_ns
 *	 source.schema, table	rendered in the relation's entry
 *	 source.txId, lsn
 *	 tail					xmin, origin, origin_lsn
 *	 transaction			null, or the event's place in it
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
#include "dead_letter.h"
#include "envelope.h"
#include "foreign_text.h"
#include "java_text.h"
#include "json_encode.h"
#include "oversize.h"
#include "preload/shared_state.h"
#include "transaction_metadata.h"
#include "type_map.h"

/* Encoded, with what Kafka and framing add, an event must fit a palloc. */
#define MAX_EVENT_SIZE		(MaxAllocSize - 64 * 1024)

/* A buffer that one row made larger than this is given back. */
#define KEEP_BUFFER_SIZE	((size_t) 4 * 1024 * 1024)

/* Room for what an event has besides rows and copied bytes. */
#define FIXED_PART			128

#define CONNECTOR			"postgresql"
#define SNAPSHOT_STREAMING	"false"
#define SEQUENCE_END		"\"]"

/* Branches of ["null", T] and of [T, "null"], as they are written. */
#define PUT_NULL_FIRST(buf)		avro_put_long(buf, 0)
#define PUT_VALUE_SECOND(buf)	avro_put_long(buf, 1)
#define PUT_VALUE_FIRST(buf)	avro_put_long(buf, 0)

struct Envelope
{
	MemoryContext context;
	const Settings *settings;
	TransactionMetadata *transactions;	/* NULL: not asked for */
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
	const char *snapshot;		/* what head says; NULL: it is not valid */
	int			ndigits;		/* that head has room for */
	bool		begun;
	EnvelopeFacts facts;
	MemoryContext facts_context;

	const RelationColumn *column;	/* being encoded */
	const Bitmapset *withheld;	/* columns that are not known; NULL: none */
};

Envelope *
envelope_create(MemoryContext cxt, const Settings *settings,
				const char *database_name,
				struct TransactionMetadata *transactions)
{
	MemoryContext old = MemoryContextSwitchTo(cxt);
	Envelope   *envelope = palloc0(sizeof(Envelope));

	envelope->context = cxt;
	envelope->settings = settings;
	envelope->transactions = transactions;
	envelope->database = pstrdup(relation_map_utf8(database_name));
	envelope->name = settings->topic_prefix[0] == '\0' ?
		envelope->database :
		pstrdup(relation_map_utf8(settings->topic_prefix));
	envelope->facts.name = envelope->name;
	envelope->facts.database = envelope->database;
	envelope->facts_context = AllocSetContextCreate(cxt, "wal2kafka origin",
													ALLOCSET_SMALL_SIZES);
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
 * The source block up to sequence's digits of the LSN, whose number decides
 * its length.  snapshot is an address of a constant, so that it can be
 * compared as such.
 */
static void
render_head(Envelope *envelope, const char *snapshot, int ndigits)
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
	PUT_VALUE_SECOND(head);		/* sequence */
	avro_put_long(head, envelope->sequence_len + ndigits +
				  strlen(SEQUENCE_END));
	avro_put_raw(head, envelope->sequence, envelope->sequence_len);
	envelope->snapshot = snapshot;
	envelope->ndigits = ndigits;
}

static void
note_facts(Envelope *envelope, const EnvelopeTransaction *transaction,
		   int64 now_us)
{
	EnvelopeFacts *facts = &envelope->facts;

	facts->time_us = envelope->time_us;
	facts->now_us = now_us;
	facts->xid = transaction->xid;
	facts->origin_lsn = transaction->origin_lsn;
	if (facts->origin != NULL)
		MemoryContextReset(envelope->facts_context);
	facts->origin = NULL;
	if (transaction->origin != NULL)
		facts->origin =
			MemoryContextStrdup(envelope->facts_context,
								relation_map_utf8(transaction->origin));
}

void
envelope_begin(Envelope *envelope, const EnvelopeTransaction *transaction)
{
	int64		now = unix_us(GetCurrentTimestamp());
	AvroBuffer *buf;

	envelope->time_us = unix_us(transaction->time);
	note_facts(envelope, transaction, now);
	envelope->snapshot = NULL;	/* the head is rendered when it is needed */

	if (XLogRecPtrIsInvalid(transaction->last_commit_lsn))
		strcpy(envelope->sequence, "[null,\"");
	else
		snprintf(envelope->sequence, sizeof(envelope->sequence),
				 "[\"" UINT64_FORMAT "\",\"",
				 (uint64) transaction->last_commit_lsn);
	envelope->sequence_len = strlen(envelope->sequence);

	buf = &envelope->middle;
	buf->len = 0;
	avro_put_raw(buf, SEQUENCE_END, strlen(SEQUENCE_END));
	put_optional_long(buf, envelope->time_us);
	put_optional_long(buf, envelope->time_us * 1000);

	buf = &envelope->txid;
	buf->len = 0;
	if (TransactionIdIsValid(transaction->xid))
		put_optional_long(buf, transaction->xid);
	else
		PUT_NULL_FIRST(buf);
	PUT_VALUE_SECOND(buf);		/* lsn follows */

	buf = &envelope->tail;
	buf->len = 0;
	PUT_NULL_FIRST(buf);		/* xmin */
	if (!avro_schema_source_has_origin(envelope->settings->debezium_version))
		 /* the version ends here */ ;
	else if (transaction->origin != NULL)
	{
		PUT_VALUE_SECOND(buf);
		put_string(buf, envelope->facts.origin);
		put_optional_long(buf, (int64) transaction->origin_lsn);
	}
	else
	{
		PUT_NULL_FIRST(buf);
		PUT_NULL_FIRST(buf);
	}

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
	event_start_bytes(buf);
}

/*
 * size is what is known of it so far: at least that much.
 */
static void
raise_too_large(const Envelope *envelope, const Event *event,
				const RelationEntry *entry, size_t size, size_t limit)
{
	char	   *key = "not known";
	size_t		key_len = strlen(key);

	if (event != NULL && event->key.data != NULL)
		json_encode_header(&event->target->key, envelope->settings,
						   event->key, &key, &key_len);
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("row of table \"%s.%s\" is too large for an event",
					entry->target.schema_name, entry->target.table_name),
			 errdetail("Its key is %s, its LSN %X/%X. It needs at least %zu bytes, the limit is %zu.",
					   foreign_text(pnstrdup(key, key_len), QUOTED_LENGTH),
					   LSN_FORMAT_ARGS(event ? event->lsn :
									   InvalidXLogRecPtr),
					   size, limit),
			 limit < MAX_EVENT_SIZE ?
			 failure_limit_hint(entry->target.topic) : 0));
}

/*
 * Does a value that detoasting would blow up make the event larger than the
 * sink takes?  Not asked where the decoder has asked before.
 */
static bool
exceeds_sink(const Envelope *envelope, const RelationEntry *entry,
			 const TypeEncoder *encoder, size_t so_far, size_t raw_size)
{
	return event_sink != NULL && event_sink->message_limit > 0 &&
		entry->shape != SHAPE_OUTBOX &&
		!failure_is_handled(envelope->settings) &&
		so_far + oversize_least(encoder, raw_size) >
		event_sink->message_limit;
}

/* A union's branch: one byte, or none where the column is no union. */
static inline void
put_branch(AvroBuffer *buf, int branch)
{
	if (branch != NO_BRANCH)
	{
		avro_buffer_reserve(buf, 1);
		buf->data[buf->len++] = (uint8) (branch << 1);
	}
}

/*
 * A value that detoasting would blow up beyond the limit is refused before
 * that.
 */
static inline void
put_variable_length(const Envelope *envelope, AvroBuffer *buf,
					const Event *event, const RelationEntry *entry,
					TypeEncoder *encoder, Datum value, bool streamed)
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
			raise_too_large(envelope, event, entry, size, MAX_EVENT_SIZE);
		if (exceeds_sink(envelope, entry, encoder, buf->len, size - buf->len))
			raise_too_large(envelope, event, entry, size,
							event_sink->message_limit);
	}
	encoder->encode(encoder, value, buf);
	if (unlikely(buf->len > MAX_EVENT_SIZE))
		raise_too_large(envelope, event, entry, buf->len, MAX_EVENT_SIZE);
}

/*
 * Write one value that is not null.  Those of fixed length are so short that
 * no number of columns makes them too long for an event.
 */
static inline void
put_value(const Envelope *envelope, AvroBuffer *buf, const Event *event,
		  const RelationEntry *entry, const RelationColumn *column,
		  TypeEncoder *encoder, Datum value, bool streamed)
{
	put_branch(buf, column->value_branch);
	if (!type_map_can_toast(encoder))
	{
		encoder->encode(encoder, value, buf);
		return;
	}
	put_variable_length(envelope, buf, event, entry, encoder, value,
						streamed);
}

/*
 * A mask stands for nulls too, but not in keys, which have an encoder of their
 * own.  A null is sent as the default where somebody wants what Debezium does,
 * then as the schema has it.
 */
static void
put_null(const Envelope *envelope, AvroBuffer *buf,
		 const RelationColumn *column, TypeEncoder *encoder)
{
	const char *default_json = column->field.annotations.default_json;

	if (encoder->constant)
	{
		put_branch(buf, column->value_branch);
		encoder->encode(encoder, (Datum) 0, buf);
		return;
	}
	if (envelope->settings->replace_null_with_default &&
		default_json != NULL && column->value_branch != NO_BRANCH)
	{
		put_branch(buf, column->value_branch);
		type_map_put_fallback(column->key_encoder, default_json, buf);
		return;
	}
	if (column->value_branch == NO_BRANCH)
		ereport(ERROR,
				(errcode(ERRCODE_NOT_NULL_VIOLATION),
				 errmsg("null value in column that is not null in the schema")));
	put_branch(buf, column->null_branch);
}

/*
 * What stands for a column that is not in the old row's key, or is withheld.
 */
static void
put_unknown(const Envelope *envelope, AvroBuffer *buf,
			const RelationColumn *column)
{
	if (!column->not_null)
	{
		put_null(envelope, buf, column, column->encoder);
		return;
	}
	put_branch(buf, column->value_branch);
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
		if ((key_only && !column->in_identity) ||
			unlikely(bms_is_member(column->attnum, envelope->withheld)))
			put_unknown(envelope, buf, column);
		else if (nulls[index])
			put_null(envelope, buf, column, column->encoder);
		else
			put_value(envelope, buf, event, entry, column, column->encoder,
					  values[index], streamed);
	}
	envelope->column = NULL;
}

AvroBuffer *
envelope_start_value(Envelope *envelope)
{
	start_buffer(envelope, &envelope->value);
	return &envelope->value;
}

AvroBuffer *
envelope_start_key(Envelope *envelope, EnvelopeKey which)
{
	start_buffer(envelope, &envelope->keys[which]);
	return &envelope->keys[which];
}

EventBytes
envelope_finish(AvroBuffer *buf)
{
	return event_finish_bytes(buf);
}

void
envelope_put_row(Envelope *envelope, const Event *event,
				 const RelationEntry *entry, TupleTableSlot *slot,
				 bool key_only, bool streamed)
{
	put_row(envelope, event, entry, slot, key_only, streamed);
}

void
envelope_put_column(Envelope *envelope, const Event *event,
					const RelationEntry *entry, const RelationColumn *column,
					TupleTableSlot *slot, bool streamed, AvroBuffer *buf)
{
	int			index = column->attnum - 1;

	envelope->column = column;
	if (unlikely(bms_is_member(column->attnum, envelope->withheld)))
		put_unknown(envelope, buf, column);
	else if (slot->tts_isnull[index])
		put_null(envelope, buf, column, column->encoder);
	else
		put_value(envelope, buf, event, entry, column, column->encoder,
				  slot->tts_values[index], streamed);
	envelope->column = NULL;
}

void
envelope_withhold(Envelope *envelope, const Bitmapset *attnums)
{
	envelope->withheld = attnums;
}

void
envelope_require_column(const RelationColumn *column, TupleTableSlot *slot,
						bool streamed)
{
	int			index = column->attnum - 1;

	if (streamed && !slot->tts_isnull[index] &&
		type_map_can_toast(column->key_encoder) &&
		VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(slot->tts_values[index])))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("value of column \"%s\", which selects the topic, is not in the WAL",
						column->field.name),
				 errhint("Use ALTER TABLE ... REPLICA IDENTITY FULL.")));
}

const EnvelopeFacts *
envelope_facts(const Envelope *envelope)
{
	return &envelope->facts;
}

TransactionMetadata *
envelope_transactions(const Envelope *envelope)
{
	return envelope->transactions;
}

void
envelope_sequence(const Envelope *envelope, XLogRecPtr lsn, char *out)
{
	snprintf(out, ENVELOPE_SEQUENCE_LEN, "%s" UINT64_FORMAT "\"]",
			 envelope->sequence, (uint64) lsn);
}

static inline uint8 *
copy(uint8 *to, const void *from, size_t len)
{
	memcpy(to, from, len);
	return to + len;
}

/*
 * The source block.
 */
static void
put_source(Envelope *envelope, AvroBuffer *buf, XLogRecPtr lsn,
		   const uint8 *names, size_t names_len, const char *snapshot)
{
	int			ndigits;
	uint8	   *p;

	if (unlikely(envelope->snapshot != snapshot))
		render_head(envelope, snapshot, envelope->ndigits);
	avro_buffer_reserve(buf, envelope->head.len + envelope->middle.len +
						names_len + envelope->txid.len + envelope->tail.len +
						FIXED_PART);
	p = copy(buf->data + buf->len, envelope->head.data, envelope->head.len);
	ndigits = pg_ulltoa_n((uint64) lsn, (char *) p);
	if (unlikely(ndigits != envelope->ndigits))
	{
		/* once more; the head's own length may be another, too */
		render_head(envelope, snapshot, ndigits);
		p = copy(buf->data + buf->len, envelope->head.data,
				 envelope->head.len);
		pg_ulltoa_n((uint64) lsn, (char *) p);
	}
	p += ndigits;
	p = copy(p, envelope->middle.data, envelope->middle.len);
	p = copy(p, names, names_len);
	p = copy(p, envelope->txid.data, envelope->txid.len);
	buf->len = p - buf->data;
	avro_put_long(buf, (int64) lsn);
	avro_put_raw(buf, envelope->tail.data, envelope->tail.len);
}

/*
 * The event's place in its transaction; the schema's event.block.
 */
static void
put_transaction(const Envelope *envelope, AvroBuffer *buf,
				const Event *event)
{
	char		id[TRANSACTION_ID_LEN];
	uint64		total;
	uint64		in_collection;

	if (envelope->transactions == NULL ||
		!transaction_metadata_order(envelope->transactions, event->target,
									&total, &in_collection))
	{
		PUT_NULL_FIRST(buf);
		return;
	}
	PUT_VALUE_SECOND(buf);
	avro_put_bytes(buf, id,
				   transaction_metadata_id(envelope->transactions, event->lsn,
										   id));
	avro_put_long(buf, (int64) total);
	avro_put_long(buf, (int64) in_collection);
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
	put_transaction(envelope, buf, event);
	avro_put_bytes(buf, event_kinds[event->kind].op, 1);
	avro_put_raw(buf, envelope->times.data, envelope->times.len);
	return event_finish_bytes(buf);
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
			put_null(envelope, buf, column, column->key_encoder);
		else if (!is_snapshot && type_map_can_toast(column->key_encoder) &&
				 VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(value)))
		{
			envelope->column = NULL;
			return false;
		}
		else
			put_value(envelope, buf, NULL, entry, column, column->key_encoder,
					  value, !is_snapshot);
	}
	envelope->column = NULL;
	if (entry->key_tail_len > 0)
		avro_put_raw(buf, entry->key_tail, entry->key_tail_len);
	*key = event_finish_bytes(buf);
	return true;
}

/*
 * A message's content: bytes, or a text of them.
 */
static void
put_content(AvroBuffer *buf, const char *content, size_t len,
			BinaryHandling mode)
{
	size_t		base64_len = (len + 2) / 3 * 4;

	switch (mode)
	{
		case BINARY_BYTES:
			avro_put_bytes(buf, content, len);
			break;
		case BINARY_BASE64:
		case BINARY_BASE64_URL_SAFE:
			avro_put_long(buf, (int64) base64_len);
			java_put_base64(buf, (const uint8 *) content, len);
			if (mode == BINARY_BASE64)
				break;
			for (size_t i = buf->len - base64_len; i < buf->len; i++)
				buf->data[i] = buf->data[i] == '+' ? '-' :
					buf->data[i] == '/' ? '_' : buf->data[i];
			break;
		case BINARY_HEX:
			avro_put_long(buf, (int64) (len * 2));
			avro_buffer_reserve(buf, len * 2);
			hex_encode(content, len, (char *) buf->data + buf->len);
			buf->len += len * 2;
			break;
	}
}

void
envelope_message(Envelope *envelope, Event *event, const char *prefix,
				 const char *content, size_t len)
{
	const Settings *settings = envelope->settings;
	AvroBuffer *buf = &envelope->keys[ENVELOPE_KEY_NEW];
	static const uint8 no_names[2] = {0, 0};
	const char *utf8_prefix = relation_map_utf8(prefix);

	if (len > MAX_EVENT_SIZE)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("logical decoding message with prefix \"%s\" is too large for an event",
						foreign_text(utf8_prefix, QUOTED_LENGTH)),
				 errdetail("Its LSN is %X/%X. It needs at least %zu bytes, the limit is %zu.",
						   LSN_FORMAT_ARGS(event->lsn), len,
						   (size_t) MAX_EVENT_SIZE)));

	start_buffer(envelope, buf);
	PUT_VALUE_SECOND(buf);
	put_string(buf, utf8_prefix);
	event->key = event_finish_bytes(buf);

	buf = &envelope->value;
	start_buffer(envelope, buf);
	avro_put_bytes(buf, event_kinds[event->kind].op, 1);
	put_optional_long(buf, us_to_ms(unix_us(GetCurrentTimestamp())));
	put_source(envelope, buf, event->lsn, no_names, sizeof(no_names),
			   SNAPSHOT_STREAMING);
	if (avro_schema_message_has_transaction(settings->debezium_version))
		put_transaction(envelope, buf, event);
	PUT_VALUE_SECOND(buf);
	put_string(buf, utf8_prefix);
	PUT_VALUE_SECOND(buf);
	put_content(buf, content, len,
				(BinaryHandling) settings->binary_handling_mode);
	event->value = event_finish_bytes(buf);
}

const RelationColumn *
envelope_column(const Envelope *envelope)
{
	return envelope->column;
}

void
envelope_forget_column(Envelope *envelope)
{
	envelope->column = NULL;
}
