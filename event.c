/*
 * event.c
 *		The kinds of events, and this process's receiver of them.
 */
#include "postgres.h"

#include "event.h"

EventSink  *event_sink = NULL;

const EventKindInfo event_kinds[EVENT_KIND_COUNT] = {
	{EVENT_CREATE, "insert", "c"},
	{EVENT_UPDATE, "update", "u"},
	{EVENT_DELETE, "delete", "d"},
	{EVENT_READ, "read", "r"},
	{EVENT_TRUNCATE, "truncate", "t"},
	{EVENT_MESSAGE, "message", "m"},
	{EVENT_TOMBSTONE, "tombstone", NULL},
	{EVENT_TRANSACTION, "transaction", NULL},
	{EVENT_HEARTBEAT, "heartbeat", NULL},
	{EVENT_NOTIFICATION, "notification", NULL},
	{EVENT_DEAD_LETTER, "dead letter", NULL},
};

void
event_add_header(Event *event, const char *name, const char *value,
				 size_t value_len)
{
	if (event->nheaders == EVENT_MAX_HEADERS)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("too many headers for a record"),
				 errdetail("The limit is %d.", EVENT_MAX_HEADERS)));
	if (event->headers == NULL)
		event->headers = palloc(EVENT_MAX_HEADERS * sizeof(EventHeader));
	event->headers[event->nheaders].name = name;
	event->headers[event->nheaders].value = value;
	event->headers[event->nheaders].value_len = value_len;
	event->nheaders++;
}

void
event_start_bytes(AvroBuffer *buf)
{
	buf->len = 0;
	avro_buffer_reserve(buf, EVENT_HEADROOM);
	buf->len = EVENT_HEADROOM;
}

EventBytes
event_finish_bytes(const AvroBuffer *buf)
{
	EventBytes	bytes = {
		.data = buf->data + EVENT_HEADROOM,
		.len = buf->len - EVENT_HEADROOM,
	};

	return bytes;
}
