/*
 * topic_name.h
 *		Names of topics and schemas: what Kafka and Avro allow, and where
 *		regular expressions send a table.
 *
 * Strings are UTF-8.
 */
#ifndef WAL2KAFKA_TOPIC_NAME_H
#define WAL2KAFKA_TOPIC_NAME_H

#include "postgres.h"

#include "preload/settings.h"

/*
 * A topic's name of [A-Za-z0-9._-], 249 characters, not "." or "..".
 * Palloc'd.
 */
extern char *topic_name_sanitise(const char *raw, TopicNaming naming);

/* Would Kafka take it as it is? */
extern bool topic_name_is_valid(const char *topic);

/*
 * What the mode makes of a name; a copy for "none".  keep_dots: each part
 * between dots is a name.  Palloc'd.
 */
extern char *topic_name_adjust(const char *name, NameAdjustment mode,
							   bool keep_dots);

/*
 * Set the modes of name adjustment that nobody chose: what Avro forbids is
 * adjusted, and where nothing is Avro names stay as they are.  to_kafka:
 * events go to a sink, not to a text of the server.
 */
extern void topic_name_resolve_modes(Settings *settings, bool to_kafka);

/* Do the settings (with modes resolved) send anything as Avro? */
extern bool topic_name_needs_avro(const Settings *settings, bool to_kafka);

/* The rules that the settings contain, compiled. */
typedef struct TopicNames TopicNames;

/*
 * Lives in cxt.  prefix is the topics', not yet sanitised.  Raises
 * ERRCODE_INVALID_PARAMETER_VALUE where one setting lacks another.
 */
extern TopicNames *topic_names_create(MemoryContext cxt,
									  const Settings *settings,
									  const char *prefix);

typedef struct TopicName
{
	char	   *topic;
	char	   *schema_prefix;	/* of Key, Value, Envelope; adjusted */
	char	   *key_field;		/* what tells the table to its topic's keys;
								 * NULL: nothing does */
	bool		routed;			/* several tables may have the topic */
} TopicName;

/*
 * The names of a table.  hypertable: rows of its chunks are meant.  Palloc'd.
 * Raises ERRCODE_INVALID_NAME for a topic that Kafka would refuse.
 */
extern void topic_names_table(const TopicNames *names, const char *schema,
							  const char *table, bool hypertable,
							  TopicName *result);

/*
 * Where the rules send another topic.  Palloc'd.  Raises so too.
 */
extern char *topic_names_route(const TopicNames *names, const char *topic);

#endif							/* WAL2KAFKA_TOPIC_NAME_H */
