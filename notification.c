/*
 * notification.c
 *		Debezium's notifications: records that tell of snapshots.
 *
 * A notification is an event like others, with a unit of its own or within
 * the one that is open, so it needs no rule of its own for positions.  What
 * it says of rows holds for those that are before it.
 */
#include "postgres.h"

#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "avro_schema.h"
#include "event.h"
#include "java_hash.h"
#include "json_encode.h"
#include "notification.h"
#include "relation_map.h"
#include "topic_name.h"
#include "type_map.h"

#define COMMON_NAMESPACE	"io.debezium.connector.common"

/* Room for what Debezium says at most, and the connector's name. */
#define MAX_ENTRIES			16

static const char key_text[] =
"{\"type\":\"record\",\"name\":\"NotificationKey\",\"namespace\":\"" COMMON_NAMESPACE "\",\"fields\":["
"{\"name\":\"id\",\"type\":\"string\"}],"
"\"connect.version\":1,\"connect.name\":\"" COMMON_NAMESPACE ".NotificationKey\"}";

static const char value_text[] =
"{\"type\":\"record\",\"name\":\"Notification\",\"namespace\":\"" COMMON_NAMESPACE "\",\"fields\":["
"{\"name\":\"id\",\"type\":\"string\"},"
"{\"name\":\"type\",\"type\":\"string\"},"
"{\"name\":\"aggregate_type\",\"type\":\"string\"},"
"{\"name\":\"additional_data\",\"type\":[\"null\",{\"type\":\"map\",\"values\":\"string\"}],\"default\":null},"
"{\"name\":\"timestamp\",\"type\":\"long\"}],"
"\"connect.version\":1,\"connect.name\":\"" COMMON_NAMESPACE ".Notification\"}";

struct Notifier
{
	const char *connector_name; /* UTF-8 */
	EventTarget target;
	JsonConverter *json;		/* NULL: Avro */
	AvroBuffer	key;
	AvroBuffer	value;
	MemoryContext scratch;		/* one notification's */
};

Notifier *
notifier_create(const Settings *settings, const char *database_name)
{
	const char *prefix = settings->topic_prefix[0] != '\0' ?
		settings->topic_prefix : database_name;
	const char *topic = settings->notification_topic_name;
	MemoryContext old;
	Notifier   *notifier;

	if (topic[0] == '\0')
		return NULL;
	old = MemoryContextSwitchTo(TopMemoryContext);
	notifier = palloc0(sizeof(Notifier));
	notifier->connector_name = pstrdup(relation_map_utf8(prefix));
	notifier->json = json_encode_create(TopMemoryContext, settings);
	avro_buffer_init(&notifier->key, TopMemoryContext);
	avro_buffer_init(&notifier->value, TopMemoryContext);
	notifier->scratch = AllocSetContextCreate(TopMemoryContext,
											  "wal2kafka notification",
											  ALLOCSET_SMALL_SIZES);

	topic = topic_name_sanitise(relation_map_utf8(topic), TOPIC_NAMING_SCHEMA);
	notifier->target.topic =
		topic_names_route(topic_names_create(TopMemoryContext, settings,
											 prefix), topic);
	notifier->target.schema_name = "";
	notifier->target.table_name = "notification";
	notifier->target.key.format = json_encode_format(settings, true);
	notifier->target.value.format = json_encode_format(settings, false);
	avro_schema_finish(&notifier->target.key, key_text,
					   COMMON_NAMESPACE ".NotificationKey");
	avro_schema_finish(&notifier->target.value, value_text,
					   COMMON_NAMESPACE ".Notification");
	MemoryContextSwitchTo(old);
	return notifier;
}

const char *
notifier_topic(const Notifier *notifier)
{
	return notifier->target.topic;
}

/* A random UUID, palloc'd. */
static char *
random_uuid(void)
{
	Datum		uuid = DirectFunctionCall1(gen_random_uuid, (Datum) 0);

	return DatumGetCString(DirectFunctionCall1(uuid_out, uuid));
}

/* Where an entry of the map is in a HashMap of so many buckets. */
static uint32
bucket(const char *name, uint32 nbuckets)
{
	uint32		hash = (uint32) java_hash_string(name, strlen(name));

	return (hash ^ hash >> 16) & (nbuckets - 1);
}

/*
 * Put entries in the order in which Java's HashMap gives them out.  Those of
 * one bucket stay as they are.
 */
static void
sort_as_java(NotificationData *entries, int n)
{
	uint32		nbuckets = 1;

	/* it grows when more than 3/4 full */
	while (n * 4 > nbuckets * 3)
		nbuckets *= 2;
	for (int i = 1; i < n; i++)
	{
		NotificationData entry = entries[i];
		uint32		place = bucket(entry.name, nbuckets);
		int			j = i;

		for (; j > 0 && bucket(entries[j - 1].name, nbuckets) > place; j--)
			entries[j] = entries[j - 1];
		entries[j] = entry;
	}
}

/* A text, in UTF-8. */
static void
put_text(AvroBuffer *buf, const char *utf8)
{
	avro_put_bytes(buf, utf8, strlen(utf8));
}

/*
 * additional_data: what the caller has to say, and who says it.
 */
static void
put_data(AvroBuffer *buf, const Notifier *notifier,
		 const NotificationData *data, int ndata)
{
	NotificationData entries[MAX_ENTRIES];
	int			n = ndata + 1;

	Assert(n <= MAX_ENTRIES);
	for (int i = 0; i < ndata; i++)
	{
		entries[i].name = data[i].name;
		entries[i].value = relation_map_utf8(data[i].value);
	}
	entries[ndata].name = "connector_name";
	entries[ndata].value = notifier->connector_name;
	sort_as_java(entries, n);

	avro_put_long(buf, 1);		/* the union's branch that is not null */
	avro_put_long(buf, n);
	for (int i = 0; i < n; i++)
	{
		put_text(buf, entries[i].name);
		put_text(buf, entries[i].value);
	}
	avro_put_long(buf, 0);		/* no more blocks */
}

void
notifier_send(Notifier *notifier, const char *id, const char *aggregate_type,
			  const char *type, const NotificationData *data, int ndata)
{
	Event		event = EVENT_INIT(EVENT_NOTIFICATION);
	TimestampTz now = GetCurrentTimestamp();
	int64		us = now +
		(int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
	MemoryContext old;

	if (notifier == NULL)
		return;
	MemoryContextReset(notifier->scratch);
	old = MemoryContextSwitchTo(notifier->scratch);
	id = id != NULL ? relation_map_utf8(id) : random_uuid();

	event_start_bytes(&notifier->key);
	put_text(&notifier->key, id);
	event.key = event_finish_bytes(&notifier->key);

	event_start_bytes(&notifier->value);
	put_text(&notifier->value, id);
	put_text(&notifier->value, type);
	put_text(&notifier->value, aggregate_type);
	put_data(&notifier->value, notifier, data, ndata);
	avro_put_long(&notifier->value, us / 1000);
	event.value = event_finish_bytes(&notifier->value);

	event.target = &notifier->target;
	event.time = now;
	if (notifier->json != NULL)
		json_encode_event(notifier->json, &event);
	MemoryContextSwitchTo(old);
	event_sink->emit(event_sink, &event);
}
