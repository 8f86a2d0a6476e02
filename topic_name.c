/*
 * topic_name.c
 *		Names of topics and schemas: what Kafka and Avro allow, and where
 *		regular expressions send a table.
 *
 * A table's topic goes through up to three steps, in the order in which
 * transforms are usually put: chunks take their hypertable's name, then
 * topic_regex renames topic and schemas, then topic_router_regex the topic
 * alone.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"

#include "preload/regex_list.h"
#include "topic_name.h"

#define MAX_TOPIC_LEN	249

struct TopicNames
{
	const Settings *settings;
	const char *prefix;
	RegexRule  *logical;		/* topic_regex; NULL: off */
	RegexRule  *key_field;		/* key_field_regex; NULL: off */
	RegexRule  *router;			/* topic_router_regex; NULL: off */
};

static bool
is_letter(unsigned c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool
is_digit(unsigned c)
{
	return c >= '0' && c <= '9';
}

/*
 * The next UTF-16 code unit of a UTF-8 text, which is what Java replaces one
 * by one; 0 at the end.  *pending holds the second half of a surrogate pair.
 */
static unsigned
next_utf16(const unsigned char **p, unsigned *pending)
{
	unsigned	c = *pending;

	if (c != 0)
	{
		*pending = 0;
		return c;
	}
	if (**p == '\0')
		return 0;

	c = utf8_to_unicode(*p);
	*p += pg_utf_mblen(*p);
	if (c >= 0x10000)
	{
		*pending = 0xDC00 + ((c - 0x10000) & 0x3FF);
		c = 0xD800 + ((c - 0x10000) >> 10);
	}
	return c;
}

static void
append_escape(StringInfo out, unsigned c)
{
	appendStringInfo(out, c <= 0xFF ? "_u00%x" : "_u%x", c);
}

char *
topic_name_sanitise(const char *raw, TopicNaming naming)
{
	const unsigned char *p = (const unsigned char *) raw;
	bool		escapes = naming == TOPIC_NAMING_SCHEMA_UNICODE;
	unsigned	pending = 0;
	StringInfoData topic;
	unsigned	c;

	if (strcmp(raw, ".") == 0)
		return pstrdup(escapes ? "_u002e" : "_");
	if (strcmp(raw, "..") == 0)
		return pstrdup(escapes ? "_u002e_u002e" : "__");

	initStringInfo(&topic);
	while ((c = next_utf16(&p, &pending)) != 0 && topic.len < MAX_TOPIC_LEN)
	{
		if (is_letter(c) || is_digit(c) || c == '.' || c == '-' ||
			(c == '_' && !escapes))
			appendStringInfoChar(&topic, c);
		else if (escapes)
			append_escape(&topic, c);
		else
			appendStringInfoChar(&topic, '_');
	}
	if (topic.len > MAX_TOPIC_LEN)
		topic.data[MAX_TOPIC_LEN] = '\0';
	return topic.data;
}

bool
topic_name_is_valid(const char *topic)
{
	size_t		len = strspn(topic, "abcdefghijklmnopqrstuvwxyz"
							 "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

	return topic[len] == '\0' && len > 0 && len <= MAX_TOPIC_LEN &&
		strcmp(topic, ".") != 0 && strcmp(topic, "..") != 0;
}

/*
 * Debezium leaves a digit after a dot alone, which Avro does not allow; it is
 * treated as one at the start.
 */
char *
topic_name_adjust(const char *name, NameAdjustment mode, bool keep_dots)
{
	const unsigned char *p = (const unsigned char *) name;
	unsigned	pending = 0;
	bool		first = true;
	StringInfoData adjusted;
	unsigned	c;

	if (mode == NAME_ADJUST_NONE)
		return pstrdup(name);
	initStringInfo(&adjusted);
	while ((c = next_utf16(&p, &pending)) != 0)
	{
		bool		digit = is_digit(c);

		if (is_letter(c) || (digit && !first) ||
			(c == '_' && mode != NAME_ADJUST_AVRO_UNICODE) ||
			(c == '.' && keep_dots && !first))
			appendStringInfoChar(&adjusted, c);
		else if (mode == NAME_ADJUST_AVRO_UNICODE)
			append_escape(&adjusted, c);
		else
		{
			appendStringInfoChar(&adjusted, '_');
			if (digit)
				appendStringInfoChar(&adjusted, c);
		}
		first = c == '.' && keep_dots && !first;
	}
	/* nothing may follow, so a dot at the end would leave an empty part */
	if (first && adjusted.len > 0)
	{
		adjusted.data[--adjusted.len] = '\0';
		appendStringInfoString(&adjusted, mode == NAME_ADJUST_AVRO_UNICODE ?
							   "_u002e" : "_");
	}
	return adjusted.data;
}

bool
topic_name_needs_avro(const Settings *settings, bool to_kafka)
{
	if (settings->format == RECORD_FORMAT_CONNECT)
		return false;
	return !to_kafka || settings->format == RECORD_FORMAT_AVRO ||
		settings->key_format == RECORD_FORMAT_AVRO;
}

void
topic_name_resolve_modes(Settings *settings, bool to_kafka)
{
	NameAdjustment mode = topic_name_needs_avro(settings, to_kafka) ?
		NAME_ADJUST_AVRO : NAME_ADJUST_NONE;

	if (settings->schema_name_adjustment_mode == NAME_ADJUST_DEFAULT)
		settings->schema_name_adjustment_mode = mode;
	if (settings->field_name_adjustment_mode == NAME_ADJUST_DEFAULT)
		settings->field_name_adjustment_mode = mode;
}

/*
 * The rule of two settings; NULL where the expression is empty.
 */
static RegexRule *
compile_rule(MemoryContext cxt, const char *regex_setting, const char *regex,
			 const char *replacement_setting, const char *replacement)
{
	if (regex[0] == '\0')
		return NULL;
	if (replacement[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is set without \"%s\"",
						regex_setting, replacement_setting),
				 errhint("Set both, or neither.")));
	return regex_rule_compile(cxt, regex, replacement);
}

TopicNames *
topic_names_create(MemoryContext cxt, const Settings *settings,
				   const char *prefix)
{
	TopicNames *names = MemoryContextAllocZero(cxt, sizeof(TopicNames));

	names->settings = settings;
	names->prefix = MemoryContextStrdup(cxt, prefix);
	names->logical = compile_rule(cxt, "wal2kafka.topic_regex",
								  settings->topic_regex,
								  "wal2kafka.topic_replacement",
								  settings->topic_replacement);
	names->key_field = compile_rule(cxt, "wal2kafka.key_field_regex",
									settings->key_field_regex,
									"wal2kafka.key_field_replacement",
									settings->key_field_replacement);
	names->router = compile_rule(cxt, "wal2kafka.topic_router_regex",
								 settings->topic_router_regex,
								 "wal2kafka.topic_router_replacement",
								 settings->topic_router_replacement);
	return names;
}

static void
check_routed(const char *setting, const char *from, const char *to)
{
	if (!topic_name_is_valid(to))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("\"%s\" sends topic \"%s\" to \"%s\", which is no valid topic name",
						setting, from, to),
				 errdetail("Kafka allows up to %d letters, digits, dots, underscores and hyphens.",
						   MAX_TOPIC_LEN)));
}

/*
 * The name that topic_regex gives; NULL where it does not match, or gives
 * none.
 */
static char *
apply_logical(const TopicNames *names, const char *topic)
{
	char	   *routed;

	if (names->logical == NULL)
		return NULL;
	routed = regex_rule_apply(names->logical, topic);
	if (routed == NULL || routed[0] == '\0')
		return NULL;
	check_routed("wal2kafka.topic_regex", topic, routed);
	return routed;
}

static char *
apply_router(const TopicNames *names, const char *topic)
{
	char	   *routed;

	if (names->router == NULL)
		return NULL;
	routed = regex_rule_apply(names->router, topic);
	if (routed != NULL)
		check_routed("wal2kafka.topic_router_regex", topic, routed);
	return routed;
}

/*
 * A name of parts, as the strategy has it.
 */
static char *
join(const TopicNames *names, const char *prefix, const char *schema,
	 const char *table)
{
	const char *delimiter = names->settings->topic_delimiter;
	char	   *raw = psprintf("%s%s%s%s%s", prefix, delimiter, schema,
							   delimiter, table);

	return topic_name_sanitise(raw, names->settings->topic_naming_strategy);
}

void
topic_names_table(const TopicNames *names, const char *schema,
				  const char *table, bool hypertable, TopicName *result)
{
	const Settings *settings = names->settings;
	const char *schemas = join(names, names->prefix, schema, table);
	char	   *routed;

	memset(result, 0, sizeof(*result));
	result->topic = pstrdup(schemas);
	if (hypertable)
		result->topic =
			topic_name_sanitise(psprintf("%s.%s.%s",
										 settings->timescaledb_target_topic_prefix,
										 schema, table), TOPIC_NAMING_SCHEMA);

	routed = apply_logical(names, result->topic);
	if (routed != NULL)
	{
		if (settings->key_enforce_uniqueness)
		{
			if (names->key_field != NULL)
				result->key_field = regex_rule_apply(names->key_field,
													 result->topic);
			if (result->key_field == NULL)
				result->key_field = result->topic;
		}
		result->topic = routed;
		schemas = routed;
		result->routed = true;
	}

	routed = apply_router(names, result->topic);
	if (routed != NULL)
	{
		result->topic = routed;
		result->routed = true;
	}
	result->schema_prefix =
		topic_name_adjust(schemas, settings->schema_name_adjustment_mode,
						  true);
}

char *
topic_names_route(const TopicNames *names, const char *topic)
{
	char	   *routed = apply_logical(names, topic);

	if (routed != NULL)
		topic = routed;
	routed = apply_router(names, topic);
	return routed != NULL ? routed : pstrdup(topic);
}
