/*
 * decoder.c
 *		The output plugin, and the way into it for a snapshot: from a change
 *		to events.
 *
 * The server calls us with the changes of one committed transaction after
 * the other, in commit order.  Each becomes no event (not selected), one, or
 * three: a changed key is a delete of the old one, its tombstone, and a create
 * of the new one.  Events go to the process's sink or, where there is none,
 * to the output of the decoding context.
 *
 * Events that cannot be sent.  Where the settings have something to be done
 * with them, sizes are looked at before an event is handed on; that needs no
 * error.  An error of an encoder leaves behind what only the end of a
 * transaction clears away.  So the first one ends the process, as any error,
 * and leaves a mark in the slot's folder; with that the next process runs
 * guarded: each change is encoded in a subtransaction of its own, which costs
 * something, and which is never open while the sink has the word, since what
 * that raises is not about the event.  Rows of snapshots are always guarded.
 *
 * Memory.  What lasts is in the context of the decoding context; what an event
 * needs, in a context that is reset when the event has been handed on.  Rows
 * are not copied.
 */
#include "postgres.h"

#include "access/attmap.h"
#include "access/tupconvert.h"
#include "access/xact.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "executor/tuptable.h"
#include "kill_point.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "nodes/value.h"
#include "replication/logical.h"
#include "replication/origin.h"
#include "replication/output_plugin.h"
#include "replication/reorderbuffer.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "context_headers.h"
#include "dead_letter.h"
#include "decoder.h"
#include "envelope.h"
#include "event_serialize.h"
#include "flat.h"
#include "json_encode.h"
#include "outbox.h"
#include "oversize.h"
#include "partition_routing.h"
#include "preload/regex_list.h"
#include "slot_state.h"
#include "toast_reselect.h"
#include "topic_name.h"
#include "transaction_metadata.h"
#include "unchanged.h"

/* The plugin's own option, beside those that are settings. */
#define OPTION_FORMAT	"format"

/* Its values, in the order of output_formats[]. */
typedef enum OutputFormat
{
	OUTPUT_JSON,				/* lines for people */
	OUTPUT_AVRO,				/* frames */
	OUTPUT_CONNECT,				/* lines with the bytes of JsonConverter */
} OutputFormat;

static const char *const output_formats[] = {"json", "avro", "connect"};

/* After so many changes that are not sent the receiver hears of progress. */
#define PROGRESS_CHANGES	100

#define HEADER_NEW_KEY	"__debezium.newkey"
#define HEADER_OLD_KEY	"__debezium.oldkey"
#define HEADER_RESELECTED	"__wal2kafka.toast_reselected"
#define HEADER_TRUNCATED	"__wal2kafka.truncated"

/* Headers, and what Kafka adds to a record, mostly have no more bytes. */
#define HEADERS_SIZE	1024

/* So often an event is made smaller before it is given up. */
#define MAX_REDUCTIONS	40

void		(*decoder_gate) (Oid relid);
void		(*decoder_watch) (Relation relation, HeapTuple row,
							  XLogRecPtr commit_lsn);

struct Decoder
{
	MemoryContext event_context;	/* reset after each event */
	Settings   *settings;
	int			skipped;		/* SKIP_* bits */
	RelationMap *map;
	Envelope   *envelope;
	RowComparer *comparer;		/* NULL: updates without a change are sent */
	TransactionMetadata *transactions;	/* NULL: nobody asked for it */
	JsonConverter *json;		/* NULL: everything stays Avro */
	ContextHeaders *context_headers;	/* NULL: none */
	RegexList  *messages_included;	/* by prefix; NULL: all ... */
	RegexList  *messages_excluded;	/* ... but these; NULL: none */

	LogicalDecodingContext *output; /* where events are written; NULL: the
									 * process's sink takes them */
	OutputFormat output_format;
	int			silent_changes;
	int			guc_nest_level; /* of the pinned settings; 0: none */

	/* the transaction; valid is what begin() set */
	EventTransaction txn;
	RepOriginId origin_id;
	XLogRecPtr	origin_lsn;
	bool		rendered;		/* the envelope knows of it */
	bool		begun;			/* an event was emitted */
	bool		published;		/* a change was, or would have been but for
								 * skipped_operations and the like */
	bool		transactional;	/* now within one */
	uint64		index;			/* of the next event */
	XLogRecPtr	last_commit_lsn;	/* end of the last one with events */
	TimestampTz time;			/* of events: commit, or begin of snapshot */

	/* snapshots */
	XLogRecPtr	consistent_point;

	/* columns of the row that were read again, for a header; NULL: none */
	char	   *reselected;

	/* for error messages */
	const RelationEntry *current;
	EventKind	current_kind;

	/* events that cannot be sent; see above */
	bool		handles_failures;
	bool		guarded;
	bool		guard_open;		/* now within a subtransaction */
	ResourceOwner guard_owner;	/* outside of it */
	bool		no_catch;		/* what is raised now is not about an event */
	const char *slot_name;		/* NULL: of a snapshot */
	EventFailure failure;		/* of the event that was not handed on */
	TupleTableSlot *before;		/* of the change, ... */
	TupleTableSlot *after;		/* ... once it has passed the filter */
};

/* What became of an event. */
typedef enum Outcome
{
	OUTCOME_SENT,
	OUTCOME_NOT_SENT,			/* Decoder.failure says why */
} Outcome;

/* What an event has of its row. */
typedef enum RowParts
{
	PARTS_NOTHING,				/* there is no event */
	PARTS_KEY,
	PARTS_ROW,
} RowParts;

static void decoder_startup(LogicalDecodingContext *ctx,
							OutputPluginOptions *options, bool is_init);
static void decoder_begin(LogicalDecodingContext *ctx, ReorderBufferTXN *txn);
static void decoder_change(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
						   Relation relation, ReorderBufferChange *change);
static void decoder_truncate(LogicalDecodingContext *ctx,
							 ReorderBufferTXN *txn, int nrelations,
							 Relation relations[],
							 ReorderBufferChange *change);
static void decoder_commit(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
						   XLogRecPtr commit_lsn);
static void decoder_message(LogicalDecodingContext *ctx,
							ReorderBufferTXN *txn, XLogRecPtr message_lsn,
							bool transactional, const char *prefix,
							Size size, const char *message);
static void decoder_shutdown(LogicalDecodingContext *ctx);
static void pass_over(Decoder *decoder);

void
decoder_output_plugin_init(OutputPluginCallbacks *cb)
{
	cb->startup_cb = decoder_startup;
	cb->begin_cb = decoder_begin;
	cb->change_cb = decoder_change;
	cb->truncate_cb = decoder_truncate;
	cb->commit_cb = decoder_commit;
	cb->message_cb = decoder_message;
	cb->shutdown_cb = decoder_shutdown;
}

/* ---------------------------------------------------------------------
 * Start and end
 * --------------------------------------------------------------------- */

/*
 * What the text forms of types depend on.  They must not differ with the
 * session that happens to decode.
 *
 * Within a transaction the session gets its own values back: at shutdown, or
 * after an error when the (sub)transaction ends.  Returns the nest level for
 * that.  Without a transaction the process is a walsender or a worker, and
 * does nothing else; returns 0.
 */
int
decoder_pin_settings(void)
{
	static const char *const pinned[][2] = {
		{"DateStyle", "ISO, YMD"},
		{"IntervalStyle", "postgres"},
		{"TimeZone", "UTC"},
		{"extra_float_digits", "1"},
		{"bytea_output", "hex"},
		{"lc_monetary", "C"},
		{"xmlbinary", "base64"},
		{"search_path", "pg_catalog, pg_temp"},
	};

	int			nest_level = IsTransactionState() ? NewGUCNestLevel() : 0;

	for (int i = 0; i < lengthof(pinned); i++)
		(void) set_config_option(pinned[i][0], pinned[i][1], PGC_SUSET,
								 PGC_S_SESSION,
								 nest_level > 0 ?
								 GUC_ACTION_SAVE : GUC_ACTION_SET,
								 true, 0, false);
	return nest_level;
}

static OutputFormat
parse_format(const char *value)
{
	for (int i = 0; i < lengthof(output_formats); i++)
		if (pg_strcasecmp(value, output_formats[i]) == 0)
			return (OutputFormat) i;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for option \"%s\": \"%s\"",
					OPTION_FORMAT, value),
			 errhint("Available values: json, avro, connect.")));
}

/*
 * Settings of ours, over which the options go.
 */
static void
apply_options(Decoder *decoder, List *options)
{
	ListCell   *cell;

	foreach(cell, options)
	{
		DefElem    *option = lfirst(cell);
		ListCell   *other;
		const char *value;

		if (option->arg == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"%s\" needs a value", option->defname)));
		for (other = list_head(options); other != cell;
			 other = lnext(options, other))
			if (strcmp(((DefElem *) lfirst(other))->defname,
					   option->defname) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_SYNTAX_ERROR),
						 errmsg("option \"%s\" is given twice",
								option->defname)));

		value = strVal(option->arg);
		if (strcmp(option->defname, OPTION_FORMAT) == 0)
			decoder->output_format = parse_format(value);
		else
			settings_apply_option(decoder->settings, option->defname, value);
	}
}

/*
 * What decoding and a snapshot have in common.  Allocated in
 * CurrentMemoryContext, which is cxt.
 */
static void
set_up(Decoder *decoder, MemoryContext cxt, const char *database_name)
{
	bool		converted = event_sink != NULL ||
		decoder->output_format == OUTPUT_CONNECT;

	decoder->handles_failures = event_sink != NULL &&
		failure_is_handled(decoder->settings);

	topic_name_resolve_modes(decoder->settings, event_sink != NULL);
	decoder->skipped =
		settings_skipped_operations(decoder->settings->skipped_operations);
	decoder->event_context = AllocSetContextCreate(cxt, "wal2kafka event",
												   ALLOCSET_DEFAULT_SIZES);
	decoder->map = relation_map_create(cxt, decoder->settings, database_name);
	decoder->envelope = envelope_create(cxt, decoder->settings,
										database_name, decoder->transactions);
	if (decoder->settings->skip_messages_without_change)
		decoder->comparer = row_comparer_create(cxt);
	if (converted)
		decoder->json = json_encode_create(cxt, decoder->settings);
	decoder->context_headers =
		context_headers_create(cxt, decoder->settings, database_name);
	decoder->messages_included =
		regex_list_compile(cxt, decoder->settings->message_prefix_include_list);
	decoder->messages_excluded =
		regex_list_compile(cxt, decoder->settings->message_prefix_exclude_list);
}

/*
 * The database's name.  Reading it needs a transaction, which a walsender and
 * a worker do not have here.
 */
static char *
current_database_name(MemoryContext cxt)
{
	bool		own = !IsTransactionState();
	char	   *result;

	if (own)
		StartTransactionCommand();
	result = MemoryContextStrdup(cxt, get_database_name(MyDatabaseId));
	if (own)
		CommitTransactionCommand();
	MemoryContextSwitchTo(cxt);
	return result;
}

static void
decoder_startup(LogicalDecodingContext *ctx, OutputPluginOptions *options,
				bool is_init)
{
	MemoryContext old = MemoryContextSwitchTo(ctx->context);
	Decoder    *decoder = palloc0(sizeof(Decoder));

	ctx->output_plugin_private = decoder;
	decoder->settings = settings_copy(ctx->context);
	apply_options(decoder, ctx->output_plugin_options);
	decoder->output = event_sink == NULL ? ctx : NULL;
	options->output_type =
		event_sink != NULL || decoder->output_format == OUTPUT_AVRO ?
		OUTPUT_PLUGIN_BINARY_OUTPUT : OUTPUT_PLUGIN_TEXTUAL_OUTPUT;
	if (decoder->output_format == OUTPUT_CONNECT)
		decoder->settings->format = RECORD_FORMAT_CONNECT;

	/* a slot that is being created decodes nothing yet */
	if (!is_init)
	{
		char	   *database_name = current_database_name(ctx->context);

		decoder->guc_nest_level = decoder_pin_settings();
		decoder->transactions =
			transaction_metadata_create(ctx->context, decoder->settings,
										database_name);
		set_up(decoder, ctx->context, database_name);
		if (decoder->handles_failures)
		{
			decoder->slot_name = NameStr(ctx->slot->data.name);
			decoder->guarded =
				slot_state_expects_bad_events(decoder->slot_name);
			if (decoder->guarded)
				slot_state_take_care();
		}
	}
	MemoryContextSwitchTo(old);
}

static void
decoder_shutdown(LogicalDecodingContext *ctx)
{
	Decoder    *decoder = ctx->output_plugin_private;

	/* everything else is in ctx->context */
	if (decoder != NULL && decoder->guc_nest_level > 0)
		AtEOXact_GUC(true, decoder->guc_nest_level);
}

/* ---------------------------------------------------------------------
 * Emitting
 * --------------------------------------------------------------------- */

/*
 * Say what was being encoded.  The server adds slot, callback and LSN.
 */
static void
error_callback(void *arg)
{
	Decoder    *decoder = arg;
	const RelationColumn *column = envelope_column(decoder->envelope);
	const char *kind = event_kinds[decoder->current_kind].name;

	if (decoder->current == NULL)
		return;
	if (column != NULL)
		errcontext("column \"%s\" of table \"%s.%s\", %s",
				   column->field.name, decoder->current->target.schema_name,
				   decoder->current->target.table_name, kind);
	else
		errcontext("table \"%s.%s\", %s",
				   decoder->current->target.schema_name,
				   decoder->current->target.table_name, kind);
}

static void
push_error_context(Decoder *decoder, ErrorContextCallback *callback,
				   const RelationEntry *entry, EventKind kind)
{
	decoder->current = entry;
	decoder->current_kind = kind;
	callback->callback = error_callback;
	callback->arg = decoder;
	callback->previous = error_context_stack;
	error_context_stack = callback;
}

static void
pop_error_context(Decoder *decoder, const ErrorContextCallback *callback)
{
	error_context_stack = callback->previous;
	decoder->current = NULL;
}

/*
 * A change of the transaction is about to be encoded.
 */
static void
render_transaction(Decoder *decoder)
{
	EnvelopeTransaction transaction = {
		.xid = decoder->txn.xid,
		.time = decoder->txn.commit_time,
		.last_commit_lsn = decoder->last_commit_lsn,
		.origin_lsn = decoder->origin_lsn,
	};
	char	   *origin;

	if (decoder->rendered)
		return;
	if (decoder->origin_id != InvalidRepOriginId &&
		replorigin_by_oid(decoder->origin_id, true, &origin))
		transaction.origin = origin;
	envelope_begin(decoder->envelope, &transaction);
	decoder->rendered = true;
}

/*
 * Write an event to the output.  Text is in the server's encoding, and a
 * conversion needs a transaction, which messages that are not transactional
 * do not come with.
 */
static void
write_event(LogicalDecodingContext *ctx, const Event *event,
			OutputFormat format)
{
	bool		own = format != OUTPUT_AVRO &&
		GetDatabaseEncoding() != PG_UTF8 && !IsTransactionState();
	MemoryContext old = CurrentMemoryContext;

	if (own)
		StartTransactionCommand();
	OutputPluginPrepareWrite(ctx, true);
	if (format == OUTPUT_AVRO)
		event_serialize_frame(ctx->out, event);
	else
		event_serialize_json(ctx->out, event, format == OUTPUT_CONNECT);
	OutputPluginWrite(ctx, true);
	if (own)
		CommitTransactionCommand();
	MemoryContextSwitchTo(old);
}

/* ---- the guard ---- */

static void
open_guard(Decoder *decoder)
{
	MemoryContext old = CurrentMemoryContext;

	if (likely(!decoder->guarded))
		return;
	decoder->guard_owner = CurrentResourceOwner;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(old);
	decoder->guard_open = true;
}

static void
close_guard(Decoder *decoder)
{
	MemoryContext old = CurrentMemoryContext;

	if (likely(!decoder->guard_open))
		return;
	ReleaseCurrentSubTransaction();
	decoder->guard_open = false;
	MemoryContextSwitchTo(old);
	CurrentResourceOwner = decoder->guard_owner;
}

/*
 * Do the settings have anything to be done with such an event?
 */
static bool
is_handled(const Decoder *decoder, const EventFailure *failure)
{
	int			oversized = decoder->settings->oversized_event_handling_mode;

	return failure_handling(decoder->settings, failure->oversized) !=
		FAILURE_FAIL ||
		(failure->oversized && (oversized == OVERSIZED_TRUNCATE_VALUE ||
								oversized == OVERSIZED_KEY_ONLY));
}

/*
 * To be called in the handler of an error: is it one of an event, and the
 * process can go on?  Then everything is as before open_guard(), and failure
 * is set, with texts in the event's context.  Else raises it once more.
 */
static void
catch_failure(Decoder *decoder)
{
	const RelationColumn *column = envelope_column(decoder->envelope);
	ErrorData  *error;

	if (decoder->no_catch)
		PG_RE_THROW();
	MemoryContextSwitchTo(decoder->event_context);
	error = CopyErrorData();
	if (!failure_is_of_event(error))
		PG_RE_THROW();
	failure_of_error(&decoder->failure, error,
					 column != NULL ? pstrdup(column->field.name) : NULL);
	if (!is_handled(decoder, &decoder->failure))
		PG_RE_THROW();
	if (decoder->slot_name != NULL)
	{
		slot_state_expect_bad_events(decoder->slot_name, !decoder->guarded);
		slot_state_take_care();
	}
	if (!decoder->guard_open)
		PG_RE_THROW();

	FlushErrorState();
	RollbackAndReleaseCurrentSubTransaction();
	decoder->guard_open = false;
	MemoryContextSwitchTo(decoder->event_context);
	CurrentResourceOwner = decoder->guard_owner;
	envelope_forget_column(decoder->envelope);
}

/*
 * Around each call of the sink.
 */
static inline bool
enter_sink(Decoder *decoder)
{
	bool		guarded = decoder->guard_open;

	if (unlikely(guarded))
		close_guard(decoder);
	decoder->no_catch = true;
	return guarded;
}

/*
 * Once a row of a snapshot was handed on, nothing of it is left to be encoded:
 * it has one subtransaction, of which a transaction cannot have more than
 * 2^32.
 */
static inline void
leave_sink(Decoder *decoder, bool guarded)
{
	decoder->no_catch = false;
	if (unlikely(guarded) && decoder->slot_name != NULL)
		open_guard(decoder);
}

/* ---- sizes ---- */

static void
set_too_large(Decoder *decoder, size_t size, size_t limit)
{
	EventFailure *failure = &decoder->failure;

	memset(failure, 0, sizeof(EventFailure));
	failure->sqlerrcode = ERRCODE_PROGRAM_LIMIT_EXCEEDED;
	failure->oversized = true;
	failure->message = "it exceeds the message limit of Kafka";
	failure->detail = psprintf("It has %zu bytes or more, the limit is %zu.",
							   size, limit);
	failure->size = size;
	failure->limit = limit;
}

static size_t
framed_size(const EventBytes *bytes, const EventSchema *schema)
{
	if (bytes->data == NULL)
		return 0;
	return bytes->len + (schema->text != NULL &&
						 schema->format == EVENT_FORMAT_AVRO ?
						 event_sink->frame_len : 0);
}

/*
 * Can it be left out?  That is a row's event, or a message.
 */
static bool
is_of_row(const Event *event)
{
	return event->kind != EVENT_TRANSACTION &&
		event->kind != EVENT_DEAD_LETTER && event->kind != EVENT_TOMBSTONE;
}

/*
 * Is there any use in handing it on?  Sets failure, if not.
 */
static bool
can_be_sent(Decoder *decoder, const Event *event)
{
	size_t		limit = event_sink->message_limit;
	size_t		size;
	bool		refused;
	bool		guarded;

	if (!is_of_row(event))
		return true;
	size = framed_size(&event->key, &event->target->key) +
		framed_size(&event->value, &event->target->value);
	if (limit > 0 && size > limit)
	{
		set_too_large(decoder, size, limit);
		return false;
	}
	if (likely(event_sink->refused == NULL))
		return true;
	guarded = enter_sink(decoder);
	refused = event_sink->refused(event_sink, event, &decoder->failure);
	leave_sink(decoder, guarded);
	return !refused;
}

/*
 * The sink found it too large after all, by a little.
 */
static Outcome
refuse_late(Decoder *decoder)
{
	size_t		limit = event_sink->message_limit;

	event_sink->too_large = false;
	decoder->index--;
	set_too_large(decoder, limit + 1, limit - Min(limit / 8, HEADERS_SIZE));
	return OUTCOME_NOT_SENT;
}

/* ---- handing on ---- */

/*
 * Hand a record to the sink or the output.
 */
static Outcome
deliver(Decoder *decoder, Event *event)
{
	Event		converted;

	event->txn = decoder->transactional ? &decoder->txn : NULL;
	event->index = decoder->index;
	event->time = decoder->time;
	decoder->silent_changes = 0;

	if (unlikely(decoder->json != NULL) && event->kind != EVENT_DEAD_LETTER)
	{
		converted = *event;
		json_encode_event(decoder->json, &converted);
		event = &converted;
	}
	if (unlikely(decoder->handles_failures) && !can_be_sent(decoder, event))
		return OUTCOME_NOT_SENT;
	decoder->index++;
	if (decoder->output != NULL)
		write_event(decoder->output, event, decoder->output_format);
	else
	{
		bool		guarded = enter_sink(decoder);

		KILL_POINT("encoded");
		event_sink->reports_size = decoder->handles_failures &&
			is_of_row(event);
		event_sink->emit(event_sink, event);
		event_sink->reports_size = false;
		leave_sink(decoder, guarded);
		if (unlikely(event_sink->too_large))
			return refuse_late(decoder);
	}
	return OUTCOME_SENT;
}

/*
 * The transaction's first event comes from this LSN.
 */
static void
begin_transaction(Decoder *decoder, XLogRecPtr lsn)
{
	Event		event = EVENT_INIT(EVENT_TRANSACTION);

	decoder->begun = true;
	decoder->published = true;
	if (decoder->output == NULL)
	{
		bool		guarded = enter_sink(decoder);

		event_sink->begin(event_sink, &decoder->txn);
		leave_sink(decoder, guarded);
	}
	if (decoder->transactions != NULL)
	{
		transaction_metadata_begin(decoder->transactions, lsn, &event);
		(void) deliver(decoder, &event);
	}
}

/*
 * A change was published, but is not sent.  Its transaction is one all the
 * same, for those who hear of transactions.
 */
static void
note_published(Decoder *decoder, XLogRecPtr lsn)
{
	decoder->published = true;
	if (decoder->transactions != NULL && decoder->transactional &&
		!decoder->begun)
		begin_transaction(decoder, lsn);
}

/*
 * Hand on an event.  The caller sets kind, target, lsn, key, value, headers.
 */
static Outcome
emit(Decoder *decoder, Event *event)
{
	if (decoder->transactional && !decoder->begun)
		begin_transaction(decoder, event->lsn);
	return deliver(decoder, event);
}

/*
 * The event took its place in the transaction: it was sent, or is one that
 * nobody wants to be.
 */
static void
count_event(Decoder *decoder, EventTarget *target)
{
	if (decoder->transactions != NULL)
		transaction_metadata_count(decoder->transactions, target);
}

/*
 * A header whose value is a key: of columns, without what tells the table to
 * the topic's keys.
 */
static void
add_key_header(Decoder *decoder, const RelationEntry *entry, Event *event,
			   const char *name, EventBytes key)
{
	const EventSchema *schema = &event->target->key;
	char	   *text;
	size_t		len;

	if (entry->plain_key.text != NULL)
	{
		schema = &entry->plain_key;
		key.len -= entry->key_tail_len;
	}
	json_encode_header(schema, decoder->settings, key, &text, &len);
	event_add_header(event, name, text, len);
}

/*
 * A delete's tombstone, with the same key and headers.
 */
static void
emit_tombstone(Decoder *decoder, const Event *deletion)
{
	Event		event = *deletion;

	if (!decoder->settings->tombstones_on_delete || event.key.data == NULL)
		return;
	event.kind = EVENT_TOMBSTONE;
	event.value.data = NULL;
	event.value.len = 0;
	event.reduced = false;
	(void) emit(decoder, &event);
}

/*
 * What is sent of a change of a row.  Without an envelope there is nothing
 * else to be sent of a truncate, or of a delete of which the WAL says nothing.
 */
static RowParts
parts_of_row(const Decoder *decoder, const RelationEntry *entry,
			 const Event *event, const RowChange *change)
{
	if (likely(entry->shape != SHAPE_FLAT))
		return PARTS_ROW;
	if (change->before == NULL && change->after == NULL)
		return PARTS_NOTHING;
	if (event->kind != EVENT_DELETE)
		return PARTS_ROW;
	switch ((DeleteTombstoneHandling) decoder->settings->delete_tombstone_handling_mode)
	{
		case DELETE_DROP:
			return PARTS_NOTHING;
		case DELETE_TOMBSTONE:
		case DELETE_TO_TOMBSTONE:
			return PARTS_KEY;
		case DELETE_REWRITE:
		case DELETE_REWRITE_WITH_TOMBSTONE:
			break;
	}
	return PARTS_ROW;
}

/*
 * A row without its envelope, as delete_tombstone_handling_mode has it.
 */
static Outcome
emit_flat(Decoder *decoder, RelationEntry *entry, Event *event,
		  const RowChange *change)
{
	if (likely(!event->reduced))
		event->target = flat_target(entry->flat, decoder->envelope, event,
									entry, change);
	flat_add_headers(entry->flat, decoder->envelope, event, entry, change);
	if (parts_of_row(decoder, entry, event, change) == PARTS_KEY)
		return emit(decoder, event);
	event->value = flat_value(entry->flat, decoder->envelope, event, entry,
							  change);
	if (emit(decoder, event) != OUTCOME_SENT)
		return OUTCOME_NOT_SENT;
	if (event->kind == EVENT_DELETE &&
		decoder->settings->delete_tombstone_handling_mode ==
		DELETE_REWRITE_WITH_TOMBSTONE &&
		decoder->settings->tombstones_on_delete && event->key.data != NULL)
	{
		event->kind = EVENT_TOMBSTONE;
		event->value.data = NULL;
		event->value.len = 0;
		event->reduced = false;
		flat_add_headers(entry->flat, decoder->envelope, event, entry, NULL);
		(void) emit(decoder, event);
	}
	return OUTCOME_SENT;
}

/*
 * Only what is inserted into an outbox table is an event.
 */
static Outcome
emit_outbox(Decoder *decoder, RelationEntry *entry, Event *event,
			const RowChange *change)
{
	switch (event->kind)
	{
		case EVENT_CREATE:
		case EVENT_READ:
			outbox_fill_event(entry->outbox, decoder->envelope, event, entry,
							  change);
			return emit(decoder, event);
		case EVENT_UPDATE:
			outbox_refuse_update(entry->outbox, entry);
			break;
		case EVENT_DELETE:
		case EVENT_TRUNCATE:
		case EVENT_MESSAGE:
		case EVENT_TOMBSTONE:
		case EVENT_TRANSACTION:
		case EVENT_HEARTBEAT:
		case EVENT_NOTIFICATION:
		case EVENT_DEAD_LETTER:
			break;
	}
	return OUTCOME_SENT;
}

/*
 * The event goes where its row says, if that is how the table's go.
 */
static inline void
choose_partition(Decoder *decoder, const RelationEntry *entry, Event *event,
				 const RowChange *change)
{
	if (likely(entry->partitions == NULL) || event->kind == EVENT_TRUNCATE)
		return;
	event->txn = decoder->transactional ? &decoder->txn : NULL;
	event->partition = partition_plan_choose(entry->partitions, event, change);
}

/*
 * The events of one change of a row (or of all rows): which they are is
 * decided here alone.  The caller sets kind, lsn, key, headers.
 */
static Outcome
encode_row(Decoder *decoder, RelationEntry *entry, Event *event,
		   const RowChange *change)
{
	Outcome		outcome = OUTCOME_SENT;

	note_published(decoder, event->lsn);
	if (decoder->context_headers != NULL)
		context_headers_add(decoder->context_headers, event);
	for (int i = 0; i < entry->nheaders; i++)
		event_add_header(event, entry->headers[i].name,
						 entry->headers[i].value, entry->headers[i].value_len);
	if (unlikely(decoder->reselected != NULL) && change->after != NULL)
		event_add_header(event, HEADER_RESELECTED, decoder->reselected,
						 strlen(decoder->reselected));
	if (likely(!event->reduced))
		choose_partition(decoder, entry, event, change);
	switch (entry->shape)
	{
		case SHAPE_ENVELOPE:
			event->value = envelope_value(decoder->envelope, event, entry,
										  change->before,
										  change->before_is_key_only,
										  change->after, change->snapshot);
			outcome = emit(decoder, event);
			if (outcome == OUTCOME_SENT && event->kind == EVENT_DELETE)
				emit_tombstone(decoder, event);
			break;
		case SHAPE_FLAT:
			outcome = emit_flat(decoder, entry, event, change);
			break;
		case SHAPE_OUTBOX:
			outcome = emit_outbox(decoder, entry, event, change);
			break;
	}
	if (outcome == OUTCOME_SENT)
		count_event(decoder, &entry->target);
	return outcome;
}

/* ---- events that cannot be sent ---- */

/*
 * Leave an event out, as the settings say: failure has the reason.  The
 * letter has what is known of it but event, name and limit.
 */
static void
leave_out(Decoder *decoder, const Event *event, DeadLetter *letter)
{
	const EventFailure *failure = &decoder->failure;
	FailureHandling handling = failure_handling(decoder->settings,
												failure->oversized);
	const EnvelopeFacts *facts = envelope_facts(decoder->envelope);
	Event		original = *event;
	Event		result;
	bool		guarded = decoder->guard_open;

	original.txn = decoder->transactional ? &decoder->txn : NULL;
	original.time = decoder->time;
	if (handling == FAILURE_FAIL)
	{
		decoder->no_catch = true;
		ereport(ERROR,
				(errcode(failure->sqlerrcode),
				 letter->prefix != NULL ?
				 errmsg("a message at LSN %X/%X cannot be sent: %s",
						LSN_FORMAT_ARGS(event->lsn), failure->message) :
				 errmsg("%s of table \"%s.%s\" at LSN %X/%X cannot be sent: %s",
						event_kinds[event->kind].name,
						event->target->schema_name,
						event->target->table_name,
						LSN_FORMAT_ARGS(event->lsn), failure->message),
				 failure->detail != NULL ? errdetail("%s", failure->detail) : 0,
				 failure_exceeds_limit(failure) ?
				 failure_limit_hint(event->target->topic) : 0));
	}

	if (guarded)
		close_guard(decoder);
	letter->failure = failure;
	letter->event = &original;
	letter->name = facts->name;
	letter->xid = facts->xid;
	letter->max_bytes = event_sink->message_limit;
	dead_letter_fill(&result, letter, handling);
	dead_letter_log(letter, handling);
	(void) emit(decoder, &result);
	if (guarded)
		open_guard(decoder);
}

static void
leave_out_row(Decoder *decoder, RelationEntry *entry, const Event *event,
			  const RowChange *change)
{
	DeadLetter	letter = {
		.entry = entry,
		.before = change->before,
		.after = change->after,
		.before_is_key_only = change->before_is_key_only,
		.streamed = change->snapshot == NULL,
	};
	Event		original = *event;

	original.target = &entry->target;
	leave_out(decoder, &original, &letter);
}

/*
 * Encode and emit; a failure of the encoders is an outcome, if it is caught at
 * all.  The event is the caller's, to be used again.
 */
static Outcome
try_row(Decoder *decoder, RelationEntry *entry, const Event *event,
		const RowChange *change)
{
	Event		attempt = *event;
	volatile Outcome outcome = OUTCOME_NOT_SENT;

	if (!decoder->guard_open)
		return encode_row(decoder, entry, &attempt, change);
	PG_TRY();
	{
		outcome = encode_row(decoder, entry, &attempt, change);
	}
	PG_CATCH();
	{
		catch_failure(decoder);
		outcome = OUTCOME_NOT_SENT;
	}
	PG_END_TRY();

	/* for what may still be done with it */
	if (outcome != OUTCOME_SENT && !decoder->guard_open)
		open_guard(decoder);
	return outcome;
}

/*
 * Make a row smaller until it can be sent.
 */
static Outcome
try_smaller(Decoder *decoder, RelationEntry *entry, const Event *basis,
			const RowChange *change, Oversize *oversize)
{
	for (int i = 0; i < MAX_REDUCTIONS; i++)
	{
		const EventFailure *failure = &decoder->failure;
		Event		attempt = *basis;
		Outcome		outcome;
		char	   *names;

		if (!failure->oversized ||
			!oversize_reduce(oversize, failure->size, failure->limit))
			break;
		names = oversize_names(oversize);
		event_add_header(&attempt, HEADER_TRUNCATED, names, strlen(names));
		envelope_withhold(decoder->envelope, oversize_withheld(oversize));
		outcome = try_row(decoder, entry, &attempt, change);
		envelope_withhold(decoder->envelope, NULL);
		if (outcome == OUTCOME_SENT)
			return outcome;
	}
	return OUTCOME_NOT_SENT;
}

/*
 * The same, if that is what the settings say.  Whatever becomes of it, the row
 * is whole again.
 */
static Outcome
reduce_row(Decoder *decoder, RelationEntry *entry, const Event *event,
		   const RowChange *change)
{
	OversizedHandling handling = decoder->settings->oversized_event_handling_mode;
	EventFailure first = decoder->failure;
	Outcome		outcome;
	Oversize   *oversize;
	Event		basis = *event;

	if ((handling != OVERSIZED_TRUNCATE_VALUE &&
		 handling != OVERSIZED_KEY_ONLY) || !first.oversized ||
		entry->shape == SHAPE_OUTBOX ||
		parts_of_row(decoder, entry, event, change) != PARTS_ROW)
		return OUTCOME_NOT_SENT;

	/* where it goes its true values say */
	basis.reduced = true;
	choose_partition(decoder, entry, &basis, change);
	if (entry->shape == SHAPE_FLAT)
		basis.target = flat_target(entry->flat, decoder->envelope, &basis,
								   entry, change);
	oversize = oversize_begin(entry, change, handling);
	PG_TRY();
	{
		outcome = try_smaller(decoder, entry, &basis, change, oversize);
	}
	PG_FINALLY();
	{
		envelope_withhold(decoder->envelope, NULL);
		oversize_restore(oversize);
	}
	PG_END_TRY();
	if (outcome != OUTCOME_SENT)
		decoder->failure = first;
	return outcome;
}

/*
 * The same as encode_row(), for a row that may be one that cannot be sent.
 */
static void
emit_row_carefully(Decoder *decoder, RelationEntry *entry, Event *event,
				   const RowChange *change)
{
	size_t		limit = event_sink->message_limit;
	size_t		least = 0;
	Outcome		outcome = OUTCOME_NOT_SENT;

	if (parts_of_row(decoder, entry, event, change) == PARTS_ROW)
		least = oversize_least_of_change(entry, change);

	/* what is too large for certain need not be made in memory */
	if (limit > 0 && least > limit)
		set_too_large(decoder, least, limit);
	else
		outcome = try_row(decoder, entry, event, change);
	if (outcome != OUTCOME_SENT)
		outcome = reduce_row(decoder, entry, event, change);
	if (outcome != OUTCOME_SENT)
		leave_out_row(decoder, entry, event, change);
}

static void
emit_row(Decoder *decoder, RelationEntry *entry, Event *event,
		 const RowChange *change)
{
	if (unlikely(parts_of_row(decoder, entry, event, change) ==
				 PARTS_NOTHING))
	{
		note_published(decoder, event->lsn);
		count_event(decoder, &entry->target);
		pass_over(decoder);
	}
	else if (unlikely(decoder->handles_failures))
		emit_row_carefully(decoder, entry, event, change);
	else
		(void) encode_row(decoder, entry, event, change);
}

/*
 * A change came whose replica identity does not give what keys it.  False:
 * it is to be left out.
 */
static bool
identity_is_missing(Decoder *decoder, RelationEntry *entry)
{
	const char *schema = entry->target.schema_name;
	const char *table = entry->target.table_name;
	const char *kind = event_kinds[decoder->current_kind].name;
	bool		nothing_left = entry->shape == SHAPE_FLAT &&
		decoder->current_kind == EVENT_DELETE && !entry->has_old;

	switch ((IdentityMissing) decoder->settings->replica_identity_missing)
	{
		case IDENTITY_MISSING_SKIP:
			return false;
		case IDENTITY_MISSING_WARN:
			if (entry->warned_no_identity)
				return true;
			entry->warned_no_identity = true;
			ereport(WARNING,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 nothing_left ?
					 errmsg("%s on table \"%s.%s\" is not sent, since its replica identity gives nothing of the row",
							kind, schema, table) :
					 errmsg("%s on table \"%s.%s\" is sent with a null key, since its replica identity does not give one",
							kind, schema, table),
					 errhint("Give the table a primary key, or use ALTER TABLE ... REPLICA IDENTITY.")));
			return true;
		case IDENTITY_MISSING_FAIL:
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("%s on table \"%s.%s\" has no key, since its replica identity does not give one",
							kind, schema, table),
					 errhint("Give the table a primary key, use ALTER TABLE ... REPLICA IDENTITY, or set wal2kafka.replica_identity_missing to \"warn\" or \"skip\".")));
	}
	return true;
}

/*
 * Encode the key, if the table has one.  False: it has, but not this row.
 */
static bool
encode_key(Decoder *decoder, const RelationEntry *entry, EnvelopeKey which,
		   TupleTableSlot *slot, EventBytes *key)
{
	if (entry->nkeys == 0)
		return true;
	return envelope_key(decoder->envelope, which, entry, slot, false, key);
}

static void
emit_create(Decoder *decoder, RelationEntry *entry, Event *event,
			TupleTableSlot *new_slot)
{
	RowChange	change = {.after = new_slot};

	event->kind = EVENT_CREATE;
	if (!encode_key(decoder, entry, ENVELOPE_KEY_NEW, new_slot, &event->key))
	{
		/* an update that moved the row into the filter, and left the key */
		event->no_identity = true;
		if (!identity_is_missing(decoder, entry))
			return;
	}
	emit_row(decoder, entry, event, &change);
}

static void
emit_delete(Decoder *decoder, RelationEntry *entry, Event *event,
			TupleTableSlot *old_slot)
{
	RowChange	change = {
		.before = old_slot,
		.before_is_key_only = !entry->identity_is_full,
	};

	event->kind = EVENT_DELETE;
	if (old_slot == NULL || !entry->has_identity ||
		!encode_key(decoder, entry, ENVELOPE_KEY_OLD, old_slot, &event->key))
	{
		event->no_identity = true;
		if (!identity_is_missing(decoder, entry))
			return;
	}
	emit_row(decoder, entry, event, &change);
}

/*
 * An update that changed the key: consumers that keep rows by key must drop
 * the old one.
 */
static void
emit_key_change(Decoder *decoder, RelationEntry *entry, const Event *update,
				EventBytes old_key, TupleTableSlot *old_slot,
				TupleTableSlot *new_slot)
{
	Event		deletion = *update;
	Event		creation = *update;
	RowChange	deleted = {
		.before = old_slot,
		.before_is_key_only = !entry->identity_is_full,
	};
	RowChange	created = {.after = new_slot};

	deletion.kind = EVENT_DELETE;
	deletion.key = old_key;
	add_key_header(decoder, entry, &deletion, HEADER_NEW_KEY, update->key);
	creation.kind = EVENT_CREATE;
	add_key_header(decoder, entry, &creation, HEADER_OLD_KEY, old_key);

	emit_row(decoder, entry, &deletion, &deleted);
	emit_row(decoder, entry, &creation, &created);
}

static void
emit_update(Decoder *decoder, RelationEntry *entry, Event *event,
			TupleTableSlot *old_slot, TupleTableSlot *new_slot)
{
	RowChange	change = {
		.before = old_slot,
		.after = new_slot,
		.before_is_key_only = !entry->identity_is_full,
	};

	event->kind = EVENT_UPDATE;
	if (decoder->comparer != NULL && entry->identity_is_full &&
		old_slot != NULL &&
		row_is_unchanged(decoder->comparer, entry, old_slot, new_slot))
	{
		note_published(decoder, event->lsn);
		pass_over(decoder);
		return;
	}
	if (!entry->has_old ||
		!encode_key(decoder, entry, ENVELOPE_KEY_NEW, new_slot, &event->key))
	{
		event->no_identity = true;
		if (!identity_is_missing(decoder, entry))
			return;
	}
	else if (old_slot != NULL && entry->nkeys > 0 && entry->has_identity)
	{
		EventBytes	old_key = {0};

		/* what counts is whether the records' keys differ */
		if (encode_key(decoder, entry, ENVELOPE_KEY_OLD, old_slot, &old_key) &&
			(old_key.len != event->key.len ||
			 memcmp(old_key.data, event->key.data, old_key.len) != 0))
		{
			emit_key_change(decoder, entry, event, old_key, old_slot,
							new_slot);
			return;
		}
	}
	emit_row(decoder, entry, event, &change);
}

/* ---------------------------------------------------------------------
 * Changes
 * --------------------------------------------------------------------- */

static void
decoder_begin(LogicalDecodingContext *ctx, ReorderBufferTXN *txn)
{
	Decoder    *decoder = ctx->output_plugin_private;

	decoder->txn.xid = txn->xid;
	decoder->txn.first_lsn = txn->first_lsn;
	decoder->txn.commit_lsn = txn->final_lsn;
	decoder->txn.end_lsn = txn->end_lsn;
	decoder->txn.commit_time = txn->xact_time.commit_time;
	decoder->origin_id = txn->origin_id;
	decoder->origin_lsn = txn->origin_lsn;
	decoder->time = txn->xact_time.commit_time;
	decoder->index = 0;
	decoder->rendered = false;
	decoder->begun = false;
	decoder->published = false;
	decoder->transactional = true;
	if (decoder->transactions != NULL)
		transaction_metadata_start(decoder->transactions, &decoder->txn);
}

/*
 * The transaction's last record, if there are records of transactions.
 */
static void
emit_end(Decoder *decoder)
{
	Event		event = EVENT_INIT(EVENT_TRANSACTION);
	MemoryContext old = MemoryContextSwitchTo(decoder->event_context);

	transaction_metadata_end(decoder->transactions, &event);
	(void) deliver(decoder, &event);
	MemoryContextSwitchTo(old);
	MemoryContextReset(decoder->event_context);
}

static void
decoder_commit(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
			   XLogRecPtr commit_lsn)
{
	Decoder    *decoder = ctx->output_plugin_private;

	if (decoder->published)
		decoder->last_commit_lsn = txn->end_lsn;
	if (decoder->transactions != NULL)
	{
		if (decoder->begun)
			emit_end(decoder);
		transaction_metadata_start(decoder->transactions, NULL);
	}
	if (decoder->begun && decoder->output == NULL)
		event_sink->commit(event_sink, &decoder->txn);
	if (decoder->output != NULL)
		OutputPluginUpdateProgress(ctx, !decoder->begun);
	decoder->transactional = false;
}

/*
 * A change is not sent.  During a long transaction of such changes a receiver
 * would think us dead.
 */
static void
pass_over(Decoder *decoder)
{
	bool		guarded;

	if (++decoder->silent_changes < PROGRESS_CHANGES)
		return;
	decoder->silent_changes = 0;
	guarded = enter_sink(decoder);
	if (decoder->output != NULL)
		OutputPluginUpdateProgress(decoder->output, false);
	else if (event_sink->pass != NULL)
		event_sink->pass(event_sink);
	leave_sink(decoder, guarded);
}

/*
 * Do publications have the operation?
 */
static bool
operation_published(const RelationEntry *entry, EventKind kind)
{
	if (!entry->selected)
		return false;
	switch (kind)
	{
		case EVENT_CREATE:
			return entry->rules.insert;
		case EVENT_UPDATE:
			return entry->rules.update;
		case EVENT_DELETE:
			return entry->rules.delete;
		case EVENT_TRUNCATE:
			return entry->rules.truncate;
		case EVENT_READ:
		case EVENT_MESSAGE:
		case EVENT_TOMBSTONE:
		case EVENT_TRANSACTION:
		case EVENT_HEARTBEAT:
		case EVENT_NOTIFICATION:
		case EVENT_DEAD_LETTER:
			break;
	}
	return true;
}

static bool
kind_skipped(const Decoder *decoder, EventKind kind)
{
	switch (kind)
	{
		case EVENT_CREATE:
			return decoder->skipped & SKIP_CREATE;
		case EVENT_UPDATE:
			return decoder->skipped & SKIP_UPDATE;
		case EVENT_DELETE:
			return decoder->skipped & SKIP_DELETE;
		case EVENT_TRUNCATE:
			return decoder->skipped & SKIP_TRUNCATE;
		case EVENT_READ:
		case EVENT_MESSAGE:
		case EVENT_TOMBSTONE:
		case EVENT_TRANSACTION:
		case EVENT_HEARTBEAT:
		case EVENT_NOTIFICATION:
		case EVENT_DEAD_LETTER:
			break;
	}
	return false;
}

/*
 * Is an operation that is published left out?  kind is what the log says; a
 * row filter may yet make an update something else.
 */
static bool
operation_skipped(const Decoder *decoder, const RelationEntry *entry,
				  EventKind kind)
{
	/* who empties an outbox table keeps house */
	if (entry->shape == SHAPE_OUTBOX &&
		(kind == EVENT_DELETE || kind == EVENT_TRUNCATE))
		return true;
	if (kind == EVENT_UPDATE && entry->rules.filter[1] != NULL)
		return false;
	return kind_skipped(decoder, kind);
}

/*
 * Is an operation on the relation sent?
 */
static bool
operation_selected(Decoder *decoder, const RelationEntry *entry,
				   EventKind kind, XLogRecPtr lsn)
{
	if (!operation_published(entry, kind))
		return false;
	if (!operation_skipped(decoder, entry, kind))
		return true;
	note_published(decoder, lsn);
	return false;
}

static EventKind
kind_of_change(const ReorderBufferChange *change)
{
	switch (change->action)
	{
		case REORDER_BUFFER_CHANGE_INSERT:
			return EVENT_CREATE;
		case REORDER_BUFFER_CHANGE_UPDATE:
			return EVENT_UPDATE;
		case REORDER_BUFFER_CHANGE_DELETE:
			return EVENT_DELETE;
		default:
			elog(ERROR, "unexpected kind of change: %d", (int) change->action);
	}
}

/*
 * The row as one of the topic's relation, all attributes deformed.
 */
static TupleTableSlot *
store_row(const RelationEntry *entry, HeapTuple tuple, TupleTableSlot *slot,
		  TupleTableSlot *root_slot)
{
	ExecStoreHeapTuple(tuple, slot, false);
	if (entry->to_root != NULL)
		slot = execute_attr_map_slot(entry->to_root, slot, root_slot);
	slot_getallattrs(slot);
	return slot;
}

/*
 * A TOAST pointer into the table: what it points to is not in the WAL.
 */
static bool
is_unavailable(Datum value)
{
	return VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(value));
}

/*
 * Values that an update did not change are not in the new row if they are
 * TOASTed, but the old row may have them.
 */
static void
take_unchanged(TupleTableSlot *new_slot, const TupleTableSlot *old_slot)
{
	TupleDesc	desc = new_slot->tts_tupleDescriptor;

	for (int i = 0; i < desc->natts; i++)
	{
		if (TupleDescAttr(desc, i)->attlen != -1 ||
			new_slot->tts_isnull[i] || old_slot->tts_isnull[i])
			continue;
		if (is_unavailable(new_slot->tts_values[i]) &&
			!is_unavailable(old_slot->tts_values[i]))
			new_slot->tts_values[i] = old_slot->tts_values[i];
	}
}

/*
 * What is still not known may be read from the table.
 */
static void
reselect(Decoder *decoder, const RelationEntry *entry,
		 TupleTableSlot *new_slot)
{
	bool		guarded = enter_sink(decoder);
	Bitmapset  *attnums = toast_reselect(entry, new_slot);
	StringInfoData names;

	leave_sink(decoder, guarded);

	if (attnums == NULL)
		return;
	initStringInfo(&names);
	for (int i = 0; i < entry->ncolumns; i++)
		if (bms_is_member(entry->columns[i].attnum, attnums))
			appendStringInfo(&names, "%s%s", names.len > 0 ? "," : "",
							 entry->columns[i].field.name);
	decoder->reselected = names.data;
}

/*
 * The events of one change.
 */
static void
emit_change(Decoder *decoder, RelationEntry *entry, EventKind kind,
			ReorderBufferChange *change)
{
	HeapTuple	old_tuple = compat_change_tuple(change->data.tp.oldtuple);
	HeapTuple	new_tuple = compat_change_tuple(change->data.tp.newtuple);
	TupleTableSlot *old_slot = NULL;
	TupleTableSlot *new_slot = NULL;
	Event		event = EVENT_INIT(kind);

	if (old_tuple != NULL)
		old_slot = store_row(entry, old_tuple, entry->old_slot,
							 entry->old_root_slot);
	if (new_tuple != NULL)
		new_slot = store_row(entry, new_tuple, entry->new_slot,
							 entry->new_root_slot);
	if (old_slot != NULL && new_slot != NULL &&
		HeapTupleHasExternal(new_tuple))
		take_unchanged(new_slot, old_slot);

	switch (publication_filter(&entry->rules, kind, old_slot, new_slot))
	{
		case FILTER_SKIP:
			pass_over(decoder);
			return;
		case FILTER_AS_IS:
			break;
		case FILTER_AS_INSERT:
			kind = EVENT_CREATE;
			break;
		case FILTER_AS_DELETE:
			kind = EVENT_DELETE;
			break;
	}
	if (kind_skipped(decoder, kind))
	{
		note_published(decoder, change->lsn);
		pass_over(decoder);
		return;
	}

	if (toast_reselect_on && kind != EVENT_DELETE &&
		HeapTupleHasExternal(new_tuple))
		reselect(decoder, entry, new_slot);
	decoder->before = old_slot;
	decoder->after = new_slot;

	render_transaction(decoder);
	event.target = &entry->target;
	event.lsn = change->lsn;
	decoder->current_kind = kind;
	if (kind == EVENT_CREATE)
		emit_create(decoder, entry, &event, new_slot);
	else if (kind == EVENT_UPDATE)
		emit_update(decoder, entry, &event, old_slot, new_slot);
	else
		emit_delete(decoder, entry, &event, old_slot);
	decoder->reselected = NULL;
}

/*
 * The same, where one may fail.  What fails in the row itself is seen to
 * there; here is what comes before it: the row filter and the keys.
 */
static void
emit_change_carefully(Decoder *decoder, RelationEntry *entry, EventKind kind,
					  ReorderBufferChange *change)
{
	volatile bool failed = false;

	decoder->before = decoder->after = NULL;
	PG_TRY();
	{
		open_guard(decoder);
		emit_change(decoder, entry, kind, change);
		close_guard(decoder);
	}
	PG_CATCH();
	{
		catch_failure(decoder);
		failed = true;
	}
	PG_END_TRY();
	if (failed)
	{
		Event		event = EVENT_INIT(decoder->current_kind);
		RowChange	rows = {
			.before = decoder->current_kind != EVENT_CREATE ?
			decoder->before : NULL,
			.after = decoder->current_kind != EVENT_DELETE ?
			decoder->after : NULL,
			.before_is_key_only = !entry->identity_is_full,
		};

		decoder->reselected = NULL;
		render_transaction(decoder);
		event.lsn = change->lsn;
		leave_out_row(decoder, entry, &event, &rows);
	}
}

static void
decoder_change(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
			   Relation relation, ReorderBufferChange *change)
{
	Decoder    *decoder = ctx->output_plugin_private;
	RelationEntry *entry;
	EventKind	kind = kind_of_change(change);
	ErrorContextCallback callback;
	MemoryContext old;

	if (unlikely(decoder_gate != NULL))
		decoder_gate(RelationGetRelid(relation));
	if (unlikely(decoder_watch != NULL) && kind == EVENT_CREATE)
		decoder_watch(relation, compat_change_tuple(change->data.tp.newtuple),
					  txn->final_lsn);
	entry = relation_map_get(decoder->map, relation);
	if (!operation_selected(decoder, entry, kind, change->lsn))
	{
		pass_over(decoder);
		return;
	}
	KILL_POINT("decoded");

	push_error_context(decoder, &callback, entry, kind);
	old = MemoryContextSwitchTo(decoder->event_context);

	if (unlikely(decoder->handles_failures))
		emit_change_carefully(decoder, entry, kind, change);
	else
		emit_change(decoder, entry, kind, change);

	MemoryContextSwitchTo(old);
	MemoryContextReset(decoder->event_context);
	pop_error_context(decoder, &callback);
}

/*
 * A partition was emptied whose rows were sent as its root's, which has no
 * event for that.
 */
static void
warn_of_partition(RelationEntry *entry, Relation relation)
{
	if (entry->warned_truncate)
		return;
	entry->warned_truncate = true;
	ereport(WARNING,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("truncation of partition \"%s\" is not sent, since it is published as \"%s.%s\"",
					RelationGetRelationName(relation),
					entry->target.schema_name, entry->target.table_name)));
}

/*
 * Is the relation that this one is published as truncated with it?
 */
static bool
root_truncated(const RelationEntry *entry, int nrelations,
			   Relation relations[])
{
	for (int i = 0; i < nrelations; i++)
		if (RelationGetRelid(relations[i]) == entry->publish_as)
			return true;
	return false;
}

static void
decoder_truncate(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
				 int nrelations, Relation relations[],
				 ReorderBufferChange *change)
{
	Decoder    *decoder = ctx->output_plugin_private;
	MemoryContext old = MemoryContextSwitchTo(decoder->event_context);

	for (int i = 0; i < nrelations; i++)
	{
		RelationEntry *entry = relation_map_get(decoder->map, relations[i]);
		Event		event = EVENT_INIT(EVENT_TRUNCATE);
		RowChange	all_rows = {0};

		if (unlikely(decoder_gate != NULL))
			decoder_gate(RelationGetRelid(relations[i]));
		if (!operation_selected(decoder, entry, EVENT_TRUNCATE,
								change->lsn))
		{
			pass_over(decoder);
			continue;
		}
		if (entry->publish_as != entry->relid)
		{
			if (!root_truncated(entry, nrelations, relations))
				warn_of_partition(entry, relations[i]);
			continue;
		}

		render_transaction(decoder);
		event.target = &entry->target;
		event.lsn = change->lsn;
		emit_row(decoder, entry, &event, &all_rows);
		MemoryContextReset(decoder->event_context);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(decoder->event_context);
}

/*
 * As in Debezium, a list of what is excluded counts only where there is none
 * of what is included.
 */
static bool
message_selected(const Decoder *decoder, const char *prefix)
{
	if (decoder->messages_included != NULL)
		return regex_list_matches(decoder->messages_included,
								  relation_map_utf8(prefix));
	return decoder->messages_excluded == NULL ||
		!regex_list_matches(decoder->messages_excluded,
							relation_map_utf8(prefix));
}

static Outcome
encode_message(Decoder *decoder, Event *event, const char *prefix,
			   const char *message, Size size)
{
	Outcome		outcome;

	envelope_message(decoder->envelope, event, prefix, message, size);
	outcome = emit(decoder, event);
	if (outcome == OUTCOME_SENT)
		count_event(decoder, event->target);
	return outcome;
}

/*
 * A message that is not transactional comes without a transaction, which a
 * subtransaction needs.
 */
static void
emit_message_carefully(Decoder *decoder, Event *event, const char *prefix,
					   const char *message, Size size)
{
	volatile Outcome outcome = OUTCOME_NOT_SENT;
	bool		own = decoder->guarded && !IsTransactionState();
	MemoryContext context = CurrentMemoryContext;
	DeadLetter	letter = {
		.prefix = prefix,
		.content = message,
		.content_len = size,
	};

	if (own)
	{
		StartTransactionCommand();
		MemoryContextSwitchTo(context);
	}
	PG_TRY();
	{
		open_guard(decoder);
		outcome = encode_message(decoder, event, prefix, message, size);
		close_guard(decoder);
	}
	PG_CATCH();
	{
		catch_failure(decoder);
		outcome = OUTCOME_NOT_SENT;
	}
	PG_END_TRY();
	if (outcome != OUTCOME_SENT)
		leave_out(decoder, event, &letter);
	if (own)
	{
		CommitTransactionCommand();
		MemoryContextSwitchTo(context);
	}
}

static void
decoder_message(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
				XLogRecPtr message_lsn, bool transactional,
				const char *prefix, Size size, const char *message)
{
	Decoder    *decoder = ctx->output_plugin_private;
	Event		event = EVENT_INIT(EVENT_MESSAGE);
	MemoryContext old = MemoryContextSwitchTo(decoder->event_context);

	decoder->transactional = transactional;
	if (!message_selected(decoder, prefix))
	{
		if (transactional)
			note_published(decoder, message_lsn);
		pass_over(decoder);
		MemoryContextSwitchTo(old);
		MemoryContextReset(decoder->event_context);
		return;
	}
	if (!transactional)
	{
		/* it belongs to nobody, and comes when it is read */
		EnvelopeTransaction nobody = {
			.time = GetCurrentTimestamp(),
			.last_commit_lsn = decoder->last_commit_lsn,
		};

		decoder->time = nobody.time;
		decoder->index = 0;
		envelope_begin(decoder->envelope, &nobody);
	}
	else
		render_transaction(decoder);

	event.target = relation_map_message_target(decoder->map);
	event.lsn = message_lsn;
	if (unlikely(decoder->handles_failures))
		emit_message_carefully(decoder, &event, prefix, message, size);
	else
		(void) encode_message(decoder, &event, prefix, message, size);

	MemoryContextSwitchTo(old);
	MemoryContextReset(decoder->event_context);
}

/* ---------------------------------------------------------------------
 * Snapshot
 * --------------------------------------------------------------------- */

Decoder *
decoder_create_for_snapshot(MemoryContext cxt, const Settings *settings,
							TransactionId xid, XLogRecPtr consistent_point,
							TimestampTz begin_time)
{
	MemoryContext old = MemoryContextSwitchTo(cxt);
	Decoder    *decoder = palloc0(sizeof(Decoder));
	EnvelopeTransaction transaction = {
		.xid = xid,
		.time = begin_time,
	};

	decoder->settings = palloc(sizeof(Settings));
	*decoder->settings = *settings;
	decoder->consistent_point = consistent_point;
	decoder->time = begin_time;
	decoder->guc_nest_level = decoder_pin_settings();
	set_up(decoder, cxt, get_database_name(MyDatabaseId));
	decoder->guarded = decoder->handles_failures;
	envelope_begin(decoder->envelope, &transaction);
	MemoryContextSwitchTo(old);
	return decoder;
}

void
decoder_announce(Decoder *decoder, Relation relation)
{
	RelationEntry *entry = relation_map_get(decoder->map, relation);

	/* an outbox table's topics are made as its rows name them */
	if (entry->selected && entry->shape != SHAPE_OUTBOX &&
		event_sink->announce != NULL)
		event_sink->announce(event_sink, &entry->target);
}

void
decoder_set_place(Decoder *decoder, TransactionId xid, XLogRecPtr place,
				  TimestampTz time)
{
	EnvelopeTransaction transaction = {
		.xid = xid,
		.time = time,
	};

	decoder->consistent_point = place;
	decoder->time = time;
	envelope_begin(decoder->envelope, &transaction);
}

RelationMap *
decoder_relation_map(Decoder *decoder)
{
	return decoder->map;
}

/*
 * The row as one of the topic's relation; NULL if that is not selected.
 */
static TupleTableSlot *
row_of_topic(RelationEntry *entry, TupleTableSlot *slot)
{
	if (!entry->selected)
		return NULL;
	if (entry->to_root != NULL)
		slot = execute_attr_map_slot(entry->to_root, slot,
									 entry->new_root_slot);
	slot_getallattrs(slot);
	return slot;
}

static bool
passes_filter(RelationEntry *entry, TupleTableSlot *slot)
{
	return publication_filter(&entry->rules, EVENT_READ, NULL, slot) !=
		FILTER_SKIP;
}

/*
 * The same, where the filter may fail: then nothing says that the row may be
 * seen, and it is left out.
 */
static bool
passes_filter_carefully(Decoder *decoder, RelationEntry *entry,
						TupleTableSlot *slot)
{
	MemoryContext old = MemoryContextSwitchTo(decoder->event_context);
	volatile bool passes = false;
	volatile bool failed = false;

	PG_TRY();
	{
		open_guard(decoder);
		passes = passes_filter(entry, slot);
		close_guard(decoder);
	}
	PG_CATCH();
	{
		catch_failure(decoder);
		failed = true;
	}
	PG_END_TRY();
	if (failed)
	{
		Event		event = EVENT_INIT(EVENT_READ);
		RowChange	unknown = {0};

		event.lsn = decoder->consistent_point;
		leave_out_row(decoder, entry, &event, &unknown);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(decoder->event_context);
	return passes;
}

/*
 * The row as one of the topic's relation, if the row filter lets it pass;
 * else NULL.
 */
static TupleTableSlot *
select_row(Decoder *decoder, RelationEntry *entry, TupleTableSlot *slot)
{
	ErrorContextCallback callback;
	bool		passes;

	slot = row_of_topic(entry, slot);
	if (slot == NULL || entry->rules.estate == NULL)
		return slot;
	push_error_context(decoder, &callback, entry, EVENT_READ);
	passes = decoder->handles_failures ?
		passes_filter_carefully(decoder, entry, slot) :
		passes_filter(entry, slot);
	pop_error_context(decoder, &callback);
	return passes ? slot : NULL;
}

bool
decoder_row_passes(Decoder *decoder, Relation relation, TupleTableSlot *slot)
{
	return select_row(decoder, relation_map_get(decoder->map, relation),
					  slot) != NULL;
}

static void
encode_read(Decoder *decoder, RelationEntry *entry, Event *event,
			const RowChange *change)
{
	if (entry->nkeys > 0)
		(void) envelope_key(decoder->envelope, ENVELOPE_KEY_NEW, entry,
							change->after, true, &event->key);
	emit_row(decoder, entry, event, change);
}

static void
encode_read_carefully(Decoder *decoder, RelationEntry *entry, Event *event,
					  const RowChange *change)
{
	Event		original = *event;
	volatile bool failed = false;

	PG_TRY();
	{
		open_guard(decoder);
		encode_read(decoder, entry, event, change);
		close_guard(decoder);
	}
	PG_CATCH();
	{
		catch_failure(decoder);
		failed = true;
	}
	PG_END_TRY();
	if (failed)
		leave_out_row(decoder, entry, &original, change);
}

/*
 * Emit a row of the topic's relation.
 */
static void
emit_read(Decoder *decoder, RelationEntry *entry, TupleTableSlot *slot,
		  const char *marker)
{
	Event		event = EVENT_INIT(EVENT_READ);
	RowChange	change = {.after = slot,.snapshot = marker};
	ErrorContextCallback callback;
	MemoryContext old;

	push_error_context(decoder, &callback, entry, EVENT_READ);
	old = MemoryContextSwitchTo(decoder->event_context);

	event.target = &entry->target;
	event.lsn = decoder->consistent_point;
	if (unlikely(decoder->handles_failures))
		encode_read_carefully(decoder, entry, &event, &change);
	else
		encode_read(decoder, entry, &event, &change);

	MemoryContextSwitchTo(old);
	MemoryContextReset(decoder->event_context);
	pop_error_context(decoder, &callback);
}

bool
decoder_emit_row(Decoder *decoder, Relation relation, TupleTableSlot *slot,
				 const char *marker)
{
	RelationEntry *entry = relation_map_get(decoder->map, relation);

	slot = select_row(decoder, entry, slot);
	if (slot != NULL)
		emit_read(decoder, entry, slot, marker);
	return slot != NULL;
}

void
decoder_emit_passed_row(Decoder *decoder, Relation relation,
						TupleTableSlot *slot, const char *marker)
{
	RelationEntry *entry = relation_map_get(decoder->map, relation);

	slot = row_of_topic(entry, slot);
	if (slot != NULL)
		emit_read(decoder, entry, slot, marker);
}
