/*
 * context_headers.c
 *		The headers __debezium.context.*, which say who sends.
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "context_headers.h"
#include "relation_map.h"

#define HEADER_PREFIX	"__debezium.context."

/* A stream is what Debezium calls a connector's only task. */
#define TASK_ID			"0"
#define CONNECTOR		"postgresql"

#define UUID_TEXT_LEN	36

struct ContextHeaders
{
	EventHeader headers[4];
};

/*
 * A UUID of version 7: Unix time in ms, then randomness.
 */
static char *
make_run_id(void)
{
	int64		us = GetCurrentTimestamp() +
		(int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
	uint64		ms = (uint64) us / 1000;
	uint8		bytes[16];
	char	   *text = palloc(UUID_TEXT_LEN + 1);
	char	   *p = text;

	if (!pg_strong_random(bytes, sizeof(bytes)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));
	for (int i = 0; i < 6; i++)
		bytes[i] = (uint8) (ms >> (8 * (5 - i)));
	bytes[6] = (bytes[6] & 0x0F) | 0x70;
	bytes[8] = (bytes[8] & 0x3F) | 0x80;
	for (int i = 0; i < 16; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		p += sprintf(p, "%02x", bytes[i]);
	}
	return text;
}

ContextHeaders *
context_headers_create(MemoryContext cxt, const Settings *settings,
					   const char *database_name)
{
	static const char *const names[] = {
		HEADER_PREFIX "connectorLogicalName",
		HEADER_PREFIX "taskId",
		HEADER_PREFIX "connectorName",
		HEADER_PREFIX "runId",
	};
	const char *values[lengthof(names)];
	ContextHeaders *result;
	MemoryContext old;

	if (!settings->extended_headers_enabled)
		return NULL;
	old = MemoryContextSwitchTo(cxt);
	result = palloc0(sizeof(ContextHeaders));
	values[0] =
		pstrdup(relation_map_utf8(settings->topic_prefix[0] != '\0' ?
								  settings->topic_prefix : database_name));
	values[1] = TASK_ID;
	values[2] = CONNECTOR;
	values[3] = make_run_id();
	for (int i = 0; i < lengthof(names); i++)
	{
		result->headers[i].name = names[i];
		result->headers[i].value = values[i];
		result->headers[i].value_len = strlen(values[i]);
	}
	MemoryContextSwitchTo(old);
	return result;
}

void
context_headers_add(const ContextHeaders *headers, Event *event)
{
	if (event->has_context)
		return;
	for (int i = 0; i < lengthof(headers->headers); i++)
		event_add_header(event, headers->headers[i].name,
						 headers->headers[i].value,
						 headers->headers[i].value_len);
	event->has_context = true;
}
