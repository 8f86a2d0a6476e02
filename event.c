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
};
