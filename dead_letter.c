/*
 * dead_letter.c
 *		Events that can never be encoded or sent: what is done with them, and
 *		the record that tells of one.
 *
 * The record is for people and for programs that repair: headers have the
 * names of Kafka Connect's dead letter queues, and ours where those have
 * none; key and value are JSON, whatever the stream's format is, since what
 * could not be encoded has no other form.  A column is the text that its type
 * makes of it.  Each is rendered in a subtransaction, since the one that is
 * to blame may fail once more.  The record is bounded, whatever the row's size
 * is: it must not be what cannot be sent.  Key and value have their share of
 * what Kafka takes, and of headers those that are no names are short.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#include "dead_letter.h"
#include "java_text.h"
#include "relation_map.h"
#include "type_map.h"

#define CONNECT_HEADER	"__connect.errors."
#define OWN_HEADER		"__wal2kafka.errors."

/* Kafka Connect's names of steps, and exceptions that fit. */
#define STAGE_ENCODE	"VALUE_CONVERTER"
#define STAGE_SEND		"KAFKA_PRODUCE"
#define DATA_EXCEPTION	"org.apache.kafka.connect.errors.DataException"
#define SIZE_EXCEPTION	"org.apache.kafka.common.errors.RecordTooLargeException"
#define RECORD_EXCEPTION "org.apache.kafka.common.InvalidRecordException"

/*
 * Bytes.  A text is shown up to the first, that of an error up to the second,
 * a record has at most the third.
 */
#define SHOWN_TEXT		4096
#define SHOWN_ERROR		2048
#define LARGEST_LETTER	((size_t) 256 * 1024)
#define LARGEST_KEY		((size_t) 16 * 1024)

/* A value beyond this is not made a text of to see how it begins. */
#define RENDERED_SIZE	((size_t) 1024 * 1024)

/* Lines of the log: so many at first, then one in so many ms. */
#define LOGGED_FIRST	20
#define LOG_INTERVAL_MS	10000

/* ---------------------------------------------------------------------
 * What is done
 * --------------------------------------------------------------------- */

FailureHandling
failure_handling(const Settings *settings, bool oversized)
{
	FailureHandling handling = settings->event_processing_failure_handling_mode;

	if (!oversized)
		return handling;
	switch ((OversizedHandling) settings->oversized_event_handling_mode)
	{
		case OVERSIZED_DEFAULT:
		case OVERSIZED_TRUNCATE_VALUE:
		case OVERSIZED_KEY_ONLY:
			break;
		case OVERSIZED_FAIL:
			return FAILURE_FAIL;
		case OVERSIZED_WARN:
			return FAILURE_WARN;
		case OVERSIZED_SKIP:
			return FAILURE_SKIP;
		case OVERSIZED_DEAD_LETTER:
			return FAILURE_DEAD_LETTER;
	}
	return handling;
}

bool
failure_is_handled(const Settings *settings)
{
	return settings->event_processing_failure_handling_mode != FAILURE_FAIL ||
		(settings->oversized_event_handling_mode != OVERSIZED_DEFAULT &&
		 settings->oversized_event_handling_mode != OVERSIZED_FAIL);
}

/*
 * palloc() has no code of its own for what it never gives.
 */
static bool
is_invalid_request(const ErrorData *error)
{
	static const char text[] = "invalid memory alloc request size";

	return error->sqlerrcode == ERRCODE_INTERNAL_ERROR &&
		error->message != NULL &&
		strncmp(error->message, text, sizeof(text) - 1) == 0;
}

/*
 * What a server was built without is missing for any number of rows, until it
 * is another server's turn: so ERRCODE_FEATURE_NOT_SUPPORTED is none of them.
 */
bool
failure_is_of_event(const ErrorData *error)
{
	if (error->elevel != ERROR)
		return false;
	switch (ERRCODE_TO_CATEGORY(error->sqlerrcode))
	{
		case ERRCODE_DATA_EXCEPTION:
		case ERRCODE_PROGRAM_LIMIT_EXCEEDED:
			return true;
	}
	return error->sqlerrcode == ERRCODE_NOT_NULL_VIOLATION ||
		error->sqlerrcode == ERRCODE_INVALID_NAME ||
		is_invalid_request(error);
}

/*
 * How an error's text begins.  It may not be the text that it should be.
 */
static char *
clip_error(const char *text, size_t limit)
{
	int			len = strlen(text);

	if ((size_t) len <= limit)
		return pstrdup(text);
	len = pg_mbcliplen(text, len, (int) limit);
	return psprintf("%.*s...", len, text);
}

void
failure_of_error(EventFailure *failure, const ErrorData *error,
				 const char *column)
{
	memset(failure, 0, sizeof(EventFailure));
	failure->sqlerrcode = error->sqlerrcode;
	failure->oversized = is_invalid_request(error) ||
		ERRCODE_TO_CATEGORY(error->sqlerrcode) ==
		ERRCODE_PROGRAM_LIMIT_EXCEEDED;
	failure->message = error->message != NULL ?
		clip_error(error->message, SHOWN_ERROR) : "unknown error";
	failure->detail = error->detail != NULL ?
		clip_error(error->detail, SHOWN_ERROR) : NULL;
	failure->column = column;
}

bool
failure_exceeds_limit(const EventFailure *failure)
{
	return failure->oversized && (failure->refused || failure->limit > 0);
}

int
failure_limit_hint(const char *topic)
{
	return errhint("Raise message.max.bytes in wal2kafka.kafka_options, and max.message.bytes of topic \"%s\". See also wal2kafka.oversized_event_handling_mode.",
				   topic);
}

/* ---------------------------------------------------------------------
 * JSON
 * --------------------------------------------------------------------- */

static void
put_raw(AvroBuffer *buf, const char *text)
{
	avro_put_raw(buf, text, strlen(text));
}

static void
put_name(AvroBuffer *buf, bool *first, const char *name)
{
	if (!*first)
		put_raw(buf, ",");
	*first = false;
	java_put_json_string(buf, name, strlen(name));
	put_raw(buf, ":");
}

static void
put_hex(AvroBuffer *buf, const char *bytes, size_t len)
{
	put_raw(buf, "{\"hex\":\"");
	avro_buffer_reserve(buf, len * 2);
	hex_encode(bytes, len, (char *) buf->data + buf->len);
	buf->len += len * 2;
	put_raw(buf, "\"}");
}

/*
 * A text of the server's encoding, which may not be what it says.
 */
static void
put_text(AvroBuffer *buf, const char *text, size_t len, bool cut,
		 size_t full_len)
{
	const char *converted = text;
	size_t		converted_len = len;
	int			encoding = GetDatabaseEncoding();

	if (encoding != PG_UTF8 && encoding != PG_SQL_ASCII)
	{
		converted = pg_server_to_any(text, (int) len, PG_UTF8);
		if (converted != text)
			converted_len = strlen(converted);
	}
	if (cut)
		put_raw(buf, "{\"begin\":");
	if (pg_encoding_verifymbstr(PG_UTF8, converted,
								(int) converted_len) == (int) converted_len)
		java_put_json_string(buf, converted, converted_len);
	else
		put_hex(buf, text, len);
	if (cut)
	{
		char		number[32];

		snprintf(number, sizeof(number), ",\"bytes\":%zu}", full_len);
		put_raw(buf, number);
	}
}

/*
 * A text, or how it begins.
 */
static void
put_begin(AvroBuffer *buf, const char *text, size_t len, size_t limit)
{
	if (len > limit)
		put_text(buf, text, pg_mbcliplen(text, (int) len, (int) limit), true,
				 len);
	else
		put_text(buf, text, len, false, len);
}

static void
put_size(AvroBuffer *buf, size_t size)
{
	char		object[48];

	snprintf(object, sizeof(object), "{\"bytes\":%zu}", size);
	put_raw(buf, object);
}

static bool
is_text(Oid typid)
{
	return typid == TEXTOID || typid == VARCHAROID || typid == BPCHAROID;
}

/*
 * A value by its type's output function, or what can be said of it without.
 */
static void
put_datum(AvroBuffer *buf, const TypeEncoder *encoder, Datum value)
{
	size_t		size = 0;
	Oid			output;
	bool		is_varlena;
	char	   *text;
	size_t		len;

	if (encoder->typlen == -1)
	{
		size = toast_raw_datum_size(value) - VARHDRSZ;
		if (is_text(encoder->typid) && size > SHOWN_TEXT)
		{
			struct varlena *slice = PG_DETOAST_DATUM_SLICE(value, 0,
														   SHOWN_TEXT);

			text = VARDATA_ANY(slice);
			len = pg_mbcliplen(text, VARSIZE_ANY_EXHDR(slice), SHOWN_TEXT);
			put_text(buf, text, len, true, size);
			return;
		}
		if (size > RENDERED_SIZE)
		{
			put_size(buf, size);
			return;
		}
	}
	getTypeOutputInfo(encoder->typid, &output, &is_varlena);
	text = OidOutputFunctionCall(output, value);
	put_begin(buf, text, strlen(text), SHOWN_TEXT);
}

/*
 * The same; an error is what is shown instead, and not ours to raise, unless
 * it is of another kind.
 */
static void
put_datum_safely(AvroBuffer *buf, const TypeEncoder *encoder, Datum value)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	size_t		start = buf->len;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		put_datum(buf, encoder, value);
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (!failure_is_of_event(error))
			PG_RE_THROW();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		buf->len = start;
		put_raw(buf, "{\"error\":\"");
		put_raw(buf, unpack_sql_state(error->sqlerrcode));
		put_raw(buf, "\"}");
		FreeErrorData(error);
	}
	PG_END_TRY();
}

static void
put_column(AvroBuffer *buf, const DeadLetter *letter,
		   const RelationColumn *column, const TypeEncoder *encoder,
		   const TupleTableSlot *slot, size_t limit)
{
	int			index = column->attnum - 1;
	Datum		value = slot->tts_values[index];

	/* what is hidden from the topic is hidden here */
	if (encoder->transform != NULL || encoder->constant)
		put_raw(buf, "{\"masked\":true}");
	else if (slot->tts_isnull[index])
		put_raw(buf, "null");
	else if (letter->streamed && encoder->typlen == -1 &&
			 VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(value)))
		put_raw(buf, "{\"unavailable\":true}");
	else
	{
		size_t		start = buf->len;

		put_datum_safely(buf, encoder, value);
		if (buf->len > limit)
		{
			size_t		size = buf->len - start;

			buf->len = start;
			put_size(buf, encoder->typlen == -1 ?
					 toast_raw_datum_size(value) - VARHDRSZ : size);
		}
	}
}

static void
put_row(AvroBuffer *buf, const DeadLetter *letter, const TupleTableSlot *slot,
		bool key_only, size_t limit)
{
	const RelationEntry *entry = letter->entry;
	bool		first = true;

	put_raw(buf, "{");
	for (int i = 0; i < entry->ncolumns; i++)
	{
		const RelationColumn *column = &entry->columns[i];

		if (key_only && !column->in_identity)
			continue;
		put_name(buf, &first, column->field.name);
		put_column(buf, letter, column, column->encoder, slot, limit);
	}
	put_raw(buf, "}");
}

static void
start_bytes(AvroBuffer *buf)
{
	avro_buffer_init(buf, CurrentMemoryContext);
	event_start_bytes(buf);
}

/*
 * The key's columns as text; none where that would be very long.
 */
static void
make_key(Event *result, const DeadLetter *letter)
{
	const RelationEntry *entry = letter->entry;
	const TupleTableSlot *slot = letter->after != NULL ? letter->after :
		letter->before;
	AvroBuffer	buf;
	bool		first = true;

	if (entry == NULL || slot == NULL || entry->nkeys == 0)
		return;
	start_bytes(&buf);
	put_raw(&buf, "{");
	for (int i = 0; i < entry->nkeys; i++)
	{
		const RelationColumn *column = &entry->columns[entry->keys[i]];

		put_name(&buf, &first, column->key_field.name);
		put_column(&buf, letter, column, column->key_encoder, slot,
				   LARGEST_KEY);
	}
	put_raw(&buf, "}");
	if (buf.len <= LARGEST_KEY &&
		(letter->max_bytes == 0 || buf.len <= letter->max_bytes / 4))
		result->key = event_finish_bytes(&buf);
}

static void
make_value(Event *result, const DeadLetter *letter)
{
	const Event *event = letter->event;
	const EventTarget *target = event->target;
	size_t		limit = LARGEST_LETTER;
	AvroBuffer	buf;
	size_t		known;
	char		number[64];
	bool		first = true;

	if (letter->max_bytes > 0)
		limit = Min(limit, letter->max_bytes / 2);
	limit -= Min(limit, result->key.len);
	start_bytes(&buf);
	put_raw(&buf, "{");
	if (letter->prefix != NULL)
	{
		size_t		shown = Min(letter->content_len, SHOWN_TEXT);

		put_name(&buf, &first, "prefix");
		put_begin(&buf, letter->prefix, strlen(letter->prefix),
				  Min(SHOWN_TEXT, limit / 16));
		put_name(&buf, &first, "bytes");
		snprintf(number, sizeof(number), "%zu", letter->content_len);
		put_raw(&buf, number);
		put_name(&buf, &first, "content");
		put_hex(&buf, letter->content, Min(shown, limit / 4));
	}
	else
	{
		put_name(&buf, &first, "schema");
		put_text(&buf, target->schema_name, strlen(target->schema_name),
				 false, 0);
		put_name(&buf, &first, "table");
		put_text(&buf, target->table_name, strlen(target->table_name),
				 false, 0);
	}
	put_name(&buf, &first, "op");
	put_raw(&buf, "\"");
	put_raw(&buf, event_kinds[event->kind].op != NULL ?
			event_kinds[event->kind].op : event_kinds[event->kind].name);
	put_raw(&buf, "\"");
	put_name(&buf, &first, "lsn");
	snprintf(number, sizeof(number), "\"%X/%X\"",
			 LSN_FORMAT_ARGS(event->lsn));
	put_raw(&buf, number);
	known = buf.len;
	if (letter->before != NULL)
	{
		put_name(&buf, &first, "before");
		put_row(&buf, letter, letter->before, letter->before_is_key_only,
				letter->after != NULL ? limit / 2 : limit);
	}
	if (letter->after != NULL)
	{
		put_name(&buf, &first, "after");
		put_row(&buf, letter, letter->after, false, limit);
	}

	/* so many columns that their names alone are too long */
	if (letter->max_bytes > 0 &&
		result->key.len + buf.len > letter->max_bytes / 4 * 3)
		buf.len = known;
	put_raw(&buf, "}");
	result->value = event_finish_bytes(&buf);
}

/* ---------------------------------------------------------------------
 * Headers
 * --------------------------------------------------------------------- */

/*
 * What is no UTF-8 becomes question marks.
 */
static void
add_header(Event *result, const char *name, const char *value)
{
	char	   *text = pstrdup(value);

	if (pg_encoding_verifymbstr(PG_UTF8, text, strlen(text)) !=
		(int) strlen(text))
		for (char *p = text; *p != '\0'; p++)
			if (IS_HIGHBIT_SET(*p))
				*p = '?';
	event_add_header(result, name, text, strlen(text));
}

static const char *
exception_name(const EventFailure *failure)
{
	if (failure->oversized)
		return SIZE_EXCEPTION;
	return failure->refused ? RECORD_EXCEPTION : DATA_EXCEPTION;
}

static void
add_headers(Event *result, const DeadLetter *letter)
{
	const EventFailure *failure = letter->failure;
	const Event *event = letter->event;
	size_t		limit = SHOWN_ERROR;

	if (letter->max_bytes > 0)
		limit = Min(limit, letter->max_bytes / 8);
	add_header(result, CONNECT_HEADER "topic", event->target->topic);
	add_header(result, CONNECT_HEADER "connector.name", letter->name);
	add_header(result, CONNECT_HEADER "task.id", "0");
	add_header(result, CONNECT_HEADER "stage",
			   failure->refused ? STAGE_SEND : STAGE_ENCODE);
	add_header(result, CONNECT_HEADER "exception.class.name",
			   exception_name(failure));
	add_header(result, CONNECT_HEADER "exception.message",
			   clip_error(failure->detail == NULL ? failure->message :
						  psprintf("%s: %s", failure->message,
								   failure->detail), limit));
	add_header(result, OWN_HEADER "sqlstate",
			   unpack_sql_state(failure->sqlerrcode));
	add_header(result, OWN_HEADER "lsn",
			   psprintf("%X/%X", LSN_FORMAT_ARGS(event->lsn)));
	if (event->txn != NULL)
		add_header(result, OWN_HEADER "commit_end_lsn",
				   psprintf("%X/%X", LSN_FORMAT_ARGS(event->txn->end_lsn)));
	if (TransactionIdIsValid(letter->xid))
		add_header(result, OWN_HEADER "xid", psprintf("%u", letter->xid));
	if (letter->prefix == NULL)
	{
		add_header(result, OWN_HEADER "schema", event->target->schema_name);
		add_header(result, OWN_HEADER "table", event->target->table_name);
	}
	add_header(result, OWN_HEADER "operation", event_kinds[event->kind].name);
	if (failure->column != NULL)
		add_header(result, OWN_HEADER "column", failure->column);
}

void
dead_letter_fill(Event *result, const DeadLetter *letter,
				 FailureHandling handling)
{
	const Event *event = letter->event;
	Event		letter_event = EVENT_INIT(EVENT_DEAD_LETTER);

	letter_event.target = event->target;
	letter_event.lsn = event->lsn;
	letter_event.txn = event->txn;
	letter_event.time = event->time;
	if (handling == FAILURE_DEAD_LETTER)
	{
		make_key(&letter_event, letter);
		make_value(&letter_event, letter);
		add_headers(&letter_event, letter);
	}
	*result = letter_event;
}

/* ---------------------------------------------------------------------
 * The log
 * --------------------------------------------------------------------- */

/*
 * May a line be logged?  If so, *silent is how many events were not.
 */
static bool
log_allowed(uint64 *silent)
{
	static uint64 logged = 0;
	static uint64 suppressed = 0;
	static TimestampTz last = 0;
	TimestampTz now = GetCurrentTimestamp();

	if (logged >= LOGGED_FIRST &&
		!TimestampDifferenceExceeds(last, now, LOG_INTERVAL_MS))
	{
		suppressed++;
		return false;
	}
	logged++;
	last = now;
	*silent = suppressed;
	suppressed = 0;
	return true;
}

void
dead_letter_log(const DeadLetter *letter, FailureHandling handling)
{
	const EventFailure *failure = letter->failure;
	const Event *event = letter->event;
	uint64		silent;

	if (!log_allowed(&silent))
		return;
	ereport(handling == FAILURE_WARN ? WARNING : LOG,
			(errcode(failure->sqlerrcode),
			 errhidecontext(true),
			 letter->prefix != NULL ?
			 errmsg("a message at LSN %X/%X is not sent: %s",
					LSN_FORMAT_ARGS(event->lsn), failure->message) :
			 errmsg("%s of table \"%s.%s\" at LSN %X/%X is not sent: %s",
					event_kinds[event->kind].name,
					event->target->schema_name, event->target->table_name,
					LSN_FORMAT_ARGS(event->lsn), failure->message),
			 silent > 0 ?
			 errdetail("%s%sBefore it " UINT64_FORMAT " more were not sent, and not logged.",
					   failure->detail != NULL ? failure->detail : "",
					   failure->detail != NULL ? " " : "", silent) :
			 failure->detail != NULL ? errdetail("%s", failure->detail) : 0,
			 handling == FAILURE_DEAD_LETTER ?
			 errhint("What is known of it is in the dead letter topic.") : 0));
}
