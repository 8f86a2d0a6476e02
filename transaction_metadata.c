/*
 * transaction_metadata.c
 *		Order within transactions, and the records that say where they begin
 *		and end.
 *
 * Each table has a counter, found by its name, since partitions that are
 * published as one table count as one.  A target remembers its counter for
 * the time of a transaction, so that a row costs no look-up.
 *
 * The end's list of tables is in the order in which Java's HashMap gives them
 * back, as Debezium writes it: by the hash of the name, modulo a number of
 * buckets that grows and never shrinks.
 */
#include "postgres.h"

#include "access/transam.h"
#include "nodes/pg_list.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "avro_schema.h"
#include "java_hash.h"
#include "json_encode.h"
#include "relation_map.h"
#include "topic_name.h"
#include "transaction_metadata.h"
#include "type_map.h"

/* Counters of dropped tables are forgotten with all others. */
#define MAX_COUNTERS		10000

/* A HashMap's first number of buckets; it doubles at three quarters. */
#define JAVA_FIRST_BUCKETS	16

#define MESSAGES			"LOGICAL_DECODING_MESSAGE"

#define COMMON_NAMESPACE	"io.debezium.connector.common"

static const char key_text[] =
"{\"type\":\"record\",\"name\":\"TransactionMetadataKey\",\"namespace\":\"" COMMON_NAMESPACE "\",\"fields\":["
"{\"name\":\"id\",\"type\":\"string\"}],"
"\"connect.version\":1,\"connect.name\":\"" COMMON_NAMESPACE ".TransactionMetadataKey\"}";

static const char value_text[] =
"{\"type\":\"record\",\"name\":\"TransactionMetadataValue\",\"namespace\":\"" COMMON_NAMESPACE "\",\"fields\":["
"{\"name\":\"status\",\"type\":\"string\"},"
"{\"name\":\"id\",\"type\":\"string\"},"
"{\"name\":\"event_count\",\"type\":[\"null\",\"long\"],\"default\":null},"
"{\"name\":\"data_collections\",\"type\":[\"null\",{\"type\":\"array\",\"items\":[\"null\","
"{\"type\":\"record\",\"name\":\"collection\",\"namespace\":\"event\",\"fields\":["
"{\"name\":\"data_collection\",\"type\":\"string\"},"
"{\"name\":\"event_count\",\"type\":\"long\"}],"
"\"connect.version\":1,\"connect.name\":\"event.collection\"}]}],\"default\":null},"
"{\"name\":\"ts_ms\",\"type\":\"long\"}],"
"\"connect.version\":1,\"connect.name\":\"" COMMON_NAMESPACE ".TransactionMetadataValue\"}";

typedef struct TransactionCollection
{
	char		name[2 * NAMEDATALEN + 2];	/* hash key: schema.table */
	uint64		epoch;			/* the transaction that it counts in */
	uint64		count;
} TransactionCollection;

struct TransactionMetadata
{
	MemoryContext context;
	HTAB	   *counters;		/* TransactionCollection */
	EventTarget target;
	AvroBuffer	key;
	AvroBuffer	value;

	/* the transaction */
	uint64		epoch;			/* its number in this process; never 0 */
	bool		open;
	TransactionId xid;
	XLogRecPtr	end_lsn;
	TimestampTz commit_time;
	uint64		total;
	List	   *collections;	/* TransactionCollection *, by first use */

	uint32		java_buckets;
};

static void
make_counters(TransactionMetadata *metadata)
{
	HASHCTL		ctl = {
		.keysize = sizeof(((TransactionCollection *) NULL)->name),
		.entrysize = sizeof(TransactionCollection),
		.hcxt = metadata->context,
	};

	metadata->counters = hash_create("wal2kafka transaction counters", 64,
									 &ctl, HASH_ELEM | HASH_STRINGS |
									 HASH_CONTEXT);
}

static void
fill_target(EventTarget *target, const Settings *settings,
			const char *database_name)
{
	const char *prefix = settings->topic_prefix[0] != '\0' ?
		settings->topic_prefix : database_name;
	char	   *topic = psprintf("%s%s%s", prefix, settings->topic_delimiter,
								 settings->topic_transaction);

	topic = topic_name_sanitise(relation_map_utf8(topic), TOPIC_NAMING_SCHEMA);
	target->topic =
		topic_names_route(topic_names_create(CurrentMemoryContext, settings,
											 prefix), topic);
	target->schema_name = pstrdup("");
	target->table_name = pstrdup("transaction");
	target->key.format = json_encode_format(settings, true);
	target->value.format = json_encode_format(settings, false);
	avro_schema_finish(&target->key, key_text,
					   COMMON_NAMESPACE ".TransactionMetadataKey");
	avro_schema_finish(&target->value, value_text,
					   COMMON_NAMESPACE ".TransactionMetadataValue");
}

TransactionMetadata *
transaction_metadata_create(MemoryContext cxt, const Settings *settings,
							const char *database_name)
{
	MemoryContext old;
	TransactionMetadata *metadata;

	if (!settings->provide_transaction_metadata)
		return NULL;
	old = MemoryContextSwitchTo(cxt);
	metadata = palloc0(sizeof(TransactionMetadata));
	metadata->context = cxt;
	metadata->java_buckets = JAVA_FIRST_BUCKETS;
	make_counters(metadata);
	fill_target(&metadata->target, settings, database_name);
	avro_buffer_init(&metadata->key, cxt);
	avro_buffer_init(&metadata->value, cxt);
	MemoryContextSwitchTo(old);
	return metadata;
}

void
transaction_metadata_start(TransactionMetadata *metadata,
						   const EventTransaction *txn)
{
	metadata->open = txn != NULL;
	if (txn == NULL)
		return;
	metadata->epoch++;
	metadata->xid = txn->xid;
	metadata->end_lsn = txn->end_lsn;
	metadata->commit_time = txn->commit_time;
	metadata->total = 0;
	list_free(metadata->collections);
	metadata->collections = NIL;
	if (hash_get_num_entries(metadata->counters) > MAX_COUNTERS)
	{
		hash_destroy(metadata->counters);
		make_counters(metadata);
	}
}

static TransactionCollection *
find_collection(TransactionMetadata *metadata, EventTarget *target)
{
	TransactionCollection *collection = target->collection;
	char		name[sizeof(collection->name)];
	bool		found;

	if (likely(collection != NULL &&
			   target->collection_epoch == metadata->epoch))
		return collection;

	if (OidIsValid(target->relid))
		snprintf(name, sizeof(name), "%s.%s", target->schema_name,
				 target->table_name);
	else
		strlcpy(name, MESSAGES, sizeof(name));
	collection = hash_search(metadata->counters, name, HASH_ENTER, &found);
	if (!found || collection->epoch != metadata->epoch)
	{
		MemoryContext old = MemoryContextSwitchTo(metadata->context);

		collection->epoch = metadata->epoch;
		collection->count = 0;
		metadata->collections = lappend(metadata->collections, collection);
		MemoryContextSwitchTo(old);
	}
	target->collection = collection;
	target->collection_epoch = metadata->epoch;
	return collection;
}

bool
transaction_metadata_order(TransactionMetadata *metadata, EventTarget *target,
						   uint64 *total, uint64 *in_collection)
{
	if (!metadata->open)
		return false;
	*total = metadata->total + 1;
	*in_collection = find_collection(metadata, target)->count + 1;
	return true;
}

void
transaction_metadata_count(TransactionMetadata *metadata, EventTarget *target)
{
	if (!metadata->open)
		return;
	metadata->total++;
	find_collection(metadata, target)->count++;
}

int
transaction_metadata_id(const TransactionMetadata *metadata, XLogRecPtr lsn,
						char *id)
{
	int			len = pg_ultoa_n(metadata->xid, id);

	id[len++] = ':';
	return len + pg_ulltoa_n((uint64) lsn, id + len);
}

/* ---------------------------------------------------------------------
 * Records
 * --------------------------------------------------------------------- */

/* A collection, and where Java would have it. */
typedef struct Placed
{
	const TransactionCollection *collection;
	const char *name;			/* UTF-8 */
	uint32		bucket;
	int			index;
} Placed;

static int
compare_placed(const void *a, const void *b)
{
	const Placed *left = a;
	const Placed *right = b;

	if (left->bucket != right->bucket)
		return left->bucket < right->bucket ? -1 : 1;
	return left->index - right->index;
}

/*
 * Those that count something: one may have been looked up for an event that
 * was left out after all.
 */
static Placed *
place_collections(TransactionMetadata *metadata, int *count)
{
	Placed	   *placed = palloc(sizeof(Placed) *
								Max(list_length(metadata->collections), 1));
	int			n = 0;
	ListCell   *cell;

	foreach(cell, metadata->collections)
	{
		const TransactionCollection *collection = lfirst(cell);

		if (collection->count == 0)
			continue;
		placed[n].collection = collection;
		placed[n].name = relation_map_utf8(collection->name);
		placed[n].index = n;
		n++;
	}
	while (n > metadata->java_buckets / 4 * 3)
		metadata->java_buckets *= 2;
	for (int i = 0; i < n; i++)
	{
		uint32		hash = (uint32) java_hash_string(placed[i].name,
													 strlen(placed[i].name));

		placed[i].bucket = (hash ^ hash >> 16) & (metadata->java_buckets - 1);
	}
	qsort(placed, n, sizeof(Placed), compare_placed);
	*count = n;
	return placed;
}

static void
put_string(AvroBuffer *buf, const char *string)
{
	avro_put_bytes(buf, string, strlen(string));
}

/* A value of a ["null", T] follows. */
static void
put_present(AvroBuffer *buf)
{
	avro_put_long(buf, 1);
}

/*
 * Status and id of the value, and the whole key.
 */
static void
start_record(TransactionMetadata *metadata, const char *status,
			 XLogRecPtr lsn, Event *event)
{
	char		id[TRANSACTION_ID_LEN];
	int			len = transaction_metadata_id(metadata, lsn, id);

	event->kind = EVENT_TRANSACTION;
	event->target = &metadata->target;
	event->lsn = lsn;

	event_start_bytes(&metadata->key);
	avro_put_bytes(&metadata->key, id, len);
	event->key = event_finish_bytes(&metadata->key);

	event_start_bytes(&metadata->value);
	put_string(&metadata->value, status);
	avro_put_bytes(&metadata->value, id, len);
}

/*
 * The commit's time, in both records.
 */
static void
finish_record(TransactionMetadata *metadata, Event *event)
{
	int64		us = metadata->commit_time +
		(int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;

	avro_put_long(&metadata->value, us / 1000);
	event->value = event_finish_bytes(&metadata->value);
}

void
transaction_metadata_begin(TransactionMetadata *metadata, XLogRecPtr lsn,
						   Event *event)
{
	start_record(metadata, "BEGIN", lsn, event);
	avro_put_long(&metadata->value, 0); /* event_count: null */
	avro_put_long(&metadata->value, 0); /* data_collections: null */
	finish_record(metadata, event);
}

void
transaction_metadata_end(TransactionMetadata *metadata, Event *event)
{
	AvroBuffer *buf = &metadata->value;
	int			count;
	Placed	   *placed = place_collections(metadata, &count);

	start_record(metadata, "END", metadata->end_lsn, event);
	put_present(buf);
	avro_put_long(buf, (int64) metadata->total);
	put_present(buf);
	if (count > 0)
		avro_put_long(buf, count);
	for (int i = 0; i < count; i++)
	{
		put_present(buf);
		put_string(buf, placed[i].name);
		avro_put_long(buf, (int64) placed[i].collection->count);
	}
	avro_put_long(buf, 0);		/* no more blocks */
	finish_record(metadata, event);
}
