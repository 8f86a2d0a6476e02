/*
 * heartbeat.c
 *		Records at an interval, also while nothing changes.
 *
 * A heartbeat is an event like others, with a unit of its own or, in the
 * middle of a transaction, as one of its messages; so it needs no rule of its
 * own for positions.
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "avro_schema.h"
#include "event.h"
#include "heartbeat.h"
#include "json_encode.h"
#include "relation_map.h"
#include "topic_name.h"
#include "type_map.h"

#define COMMON_NAMESPACE	"io.debezium.connector.common"

/* Debezium's consumers look for it there. */
#define HEARTBEAT_PARTITION	0

static const char key_text[] =
"{\"type\":\"record\",\"name\":\"ServerNameKey\",\"namespace\":\"" COMMON_NAMESPACE "\",\"fields\":["
"{\"name\":\"serverName\",\"type\":\"string\"}],"
"\"connect.version\":1,\"connect.name\":\"" COMMON_NAMESPACE ".ServerNameKey\"}";

static const char value_text[] =
"{\"type\":\"record\",\"name\":\"Heartbeat\",\"namespace\":\"" COMMON_NAMESPACE "\",\"fields\":["
"{\"name\":\"ts_ms\",\"type\":\"long\"}],"
"\"connect.version\":1,\"connect.name\":\"" COMMON_NAMESPACE ".Heartbeat\"}";

struct Heartbeat
{
	int64		interval_us;
	TimestampTz due;
	const char *server_name;	/* UTF-8 */
	EventTarget target;
	JsonConverter *json;		/* NULL: Avro */
	AvroBuffer	key;
	AvroBuffer	value;
};

Heartbeat *
heartbeat_create(const Settings *settings, const char *database_name)
{
	const char *prefix = settings->topic_prefix[0] != '\0' ?
		settings->topic_prefix : database_name;
	const char *topic = settings->topic_heartbeat_name;
	MemoryContext old;
	Heartbeat  *heartbeat;

	if (settings->heartbeat_interval_ms <= 0)
		return NULL;
	old = MemoryContextSwitchTo(TopMemoryContext);
	heartbeat = palloc0(sizeof(Heartbeat));
	heartbeat->interval_us = settings->heartbeat_interval_ms *
		INT64CONST(1000);
	heartbeat->server_name = pstrdup(relation_map_utf8(prefix));
	heartbeat->json = json_encode_create(TopMemoryContext, settings);
	avro_buffer_init(&heartbeat->key, TopMemoryContext);
	avro_buffer_init(&heartbeat->value, TopMemoryContext);

	if (topic[0] == '\0')
		topic = psprintf("%s%s%s", settings->topic_heartbeat_prefix,
						 settings->topic_delimiter, prefix);
	topic = topic_name_sanitise(relation_map_utf8(topic), TOPIC_NAMING_SCHEMA);
	heartbeat->target.topic =
		topic_names_route(topic_names_create(TopMemoryContext, settings,
											 prefix), topic);
	heartbeat->target.schema_name = "";
	heartbeat->target.table_name = "heartbeat";
	heartbeat->target.key.format = json_encode_format(settings, true);
	heartbeat->target.value.format = json_encode_format(settings, false);
	avro_schema_finish(&heartbeat->target.key, key_text,
					   COMMON_NAMESPACE ".ServerNameKey");
	avro_schema_finish(&heartbeat->target.value, value_text,
					   COMMON_NAMESPACE ".Heartbeat");
	MemoryContextSwitchTo(old);
	return heartbeat;
}

long
heartbeat_due_in(const Heartbeat *heartbeat, TimestampTz now)
{
	if (heartbeat->due <= now)
		return 0;
	return (long) Min((heartbeat->due - now + 999) / 1000, INT_MAX);
}

void
heartbeat_send(Heartbeat *heartbeat, TimestampTz now)
{
	Event		event = EVENT_INIT(EVENT_HEARTBEAT);
	int64		us = now +
		(int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;

	if (heartbeat->due > now)
		return;
	heartbeat->due = now + heartbeat->interval_us;

	event_start_bytes(&heartbeat->key);
	avro_put_bytes(&heartbeat->key, heartbeat->server_name,
				   strlen(heartbeat->server_name));
	event.key = event_finish_bytes(&heartbeat->key);
	event_start_bytes(&heartbeat->value);
	avro_put_long(&heartbeat->value, us / 1000);
	event.value = event_finish_bytes(&heartbeat->value);

	event.target = &heartbeat->target;
	event.time = now;
	event.partition = HEARTBEAT_PARTITION;
	if (heartbeat->json != NULL)
		json_encode_event(heartbeat->json, &event);
	event_sink->emit(event_sink, &event);
}
