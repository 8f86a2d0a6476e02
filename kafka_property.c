/*
 * kafka_property.c
 *		Which properties of librdkafka an operator may set.
 *
 * Errors name a property and never quote its value.
 */
#include "postgres.h"

#include "kafka_private.h"
#include "preload/option_secret.h"

/*
 * Properties that are not taken from the user; for those that are not taken
 * in clear sight see preload/option_secret.c.  In a pattern, * at the
 * beginning or end stands for anything.  The first row that matches decides.
 */
typedef struct PropertyRule
{
	const char *pattern;
	enum
	{
		REFUSED,				/* in both forms */
		CHECKED,				/* in both forms, unless acceptable() */
	}			rule;
	const char *reason;			/* a sentence */
	bool		(*acceptable) (const char *value);
} PropertyRule;

static bool harmless_debug(const char *value);

#define BY_DELIVERY "Delivery without loss and in order depends on it."
#define BY_CONSUMERS "Consumers rely on rows being spread over partitions as Kafka's own clients do it."
#define BY_SETTING "Use the setting wal2kafka.bootstrap_servers."
#define BY_QUEUE "Use the setting wal2kafka.max_queue_size_in_bytes."
#define BY_TOPICS "wal2kafka creates topics itself, as its topic settings say."
#define BY_PROGRAM "It belongs to the program that uses librdkafka."
#define IS_CODE "It would make the server run commands or load code."
#define IS_UNSIGNED "Its tokens are not signed: it is for tests of Kafka itself, and librdkafka 2.0 crashes with it."

static const PropertyRule property_rules[] = {
	{"enable.idempotence", REFUSED, BY_DELIVERY},
	{"enable.gapless.guarantee", REFUSED, BY_DELIVERY},
	{"acks", REFUSED, BY_DELIVERY},
	{"request.required.acks", REFUSED, BY_DELIVERY},
	{"transactional.id", REFUSED, BY_DELIVERY},
	{"transaction.timeout.ms", REFUSED, BY_DELIVERY},
	{"message.timeout.ms", REFUSED, BY_DELIVERY},
	{"delivery.timeout.ms", REFUSED, BY_DELIVERY},
	{"max.in.flight*", REFUSED, BY_DELIVERY},
	{"retries", REFUSED, BY_DELIVERY},
	{"message.send.max.retries", REFUSED, BY_DELIVERY},
	{"queuing.strategy", REFUSED, BY_DELIVERY},
	{"delivery.report.only.error", REFUSED, BY_DELIVERY},
	{"topic.blacklist", REFUSED, BY_DELIVERY},
	{"partitioner", REFUSED, BY_CONSUMERS},
	{"msg_order_cmp", REFUSED, BY_PROGRAM},
	{"bootstrap.servers", REFUSED, BY_SETTING},
	{"metadata.broker.list", REFUSED, BY_SETTING},
	{"queue.buffering.max.messages", REFUSED, BY_QUEUE},
	{"queue.buffering.max.kbytes", REFUSED, BY_QUEUE},
	{"allow.auto.create.topics", REFUSED, BY_TOPICS},
	{"plugin.library.paths", REFUSED, IS_CODE},
	{"ssl.engine.*", REFUSED, IS_CODE},
	{"ssl_engine_callback_data", REFUSED, IS_CODE},
	{"ssl.providers", REFUSED, IS_CODE},
	{"sasl.kerberos.kinit.cmd", REFUSED, IS_CODE},
	{"sasl.kerberos.min.time.before.relogin", REFUSED, IS_CODE},
	{"enable.sasl.oauthbearer.unsecure.jwt", REFUSED, IS_UNSIGNED},
	{"log.queue", REFUSED, BY_PROGRAM},
	{"enabled_events", REFUSED, BY_PROGRAM},
	{"internal.termination.signal", REFUSED, BY_PROGRAM},
	{"*_cb", REFUSED, BY_PROGRAM},
	{"opaque", REFUSED, BY_PROGRAM},
	{"interceptors", REFUSED, BY_PROGRAM},
	{"default_topic_conf", REFUSED, BY_PROGRAM},
	{"ut_*", REFUSED, BY_PROGRAM},
	{"debug", CHECKED,
		"Of librdkafka's debug contexts only those are allowed that show no secrets: generic, broker, topic, metadata, feature, queue, msg, protocol, eos, admin.",
	harmless_debug},
};

static bool
name_matches(const char *pattern, const char *name)
{
	size_t		len = strlen(pattern);

	if (pattern[0] == '*')
	{
		size_t		name_len = strlen(name);

		return name_len >= len - 1 &&
			strcmp(name + name_len - (len - 1), pattern + 1) == 0;
	}
	if (pattern[len - 1] == '*')
		return strncmp(name, pattern, len - 1) == 0;
	return strcmp(name, pattern) == 0;
}

/*
 * librdkafka takes a topic's property also as "topic." and its name.
 */
static const PropertyRule *
property_rule(const char *name)
{
	if (strncmp(name, "topic.", strlen("topic.")) == 0)
		name += strlen("topic.");
	for (int i = 0; i < lengthof(property_rules); i++)
	{
		if (name_matches(property_rules[i].pattern, name))
			return &property_rules[i];
	}
	return NULL;
}

/*
 * Debug contexts whose lines have neither configuration ("conf", "all") nor
 * what is exchanged to authenticate ("security").  Contexts of consumers are
 * of no use here.
 */
static bool
harmless_debug(const char *value)
{
	static const char *const contexts[] = {
		"generic", "broker", "topic", "metadata", "feature", "queue", "msg",
		"protocol", "eos", "admin",
	};

	while (*value != '\0')
	{
		size_t		len = strcspn(value, ", ");
		bool		found = len == 0;

		for (int i = 0; i < lengthof(contexts) && !found; i++)
			found = strlen(contexts[i]) == len &&
				strncmp(contexts[i], value, len) == 0;
		if (!found)
			return false;
		value += len;
		value += strspn(value, ", ");
	}
	return true;
}

/*
 * Why this option is refused, by the rules above; NULL if it is not.
 */
static const char *
refusal(const Option *option, bool from_file)
{
	const PropertyRule *rule = property_rule(option->name);

	if (rule != NULL)
	{
		switch (rule->rule)
		{
			case REFUSED:
				return rule->reason;
			case CHECKED:
				if (!rule->acceptable(option->value))
					return rule->reason;
				break;
		}
	}
	return from_file ? NULL : option_secret(option->name, option->value);
}

/*
 * Copy what librdkafka's own table of properties says of the values that one
 * may have: the column of ranges, or else the type.  Empty if unknown.
 */
static void
allowed_values(const char *name, char *dest, size_t size)
{
	char	   *table = NULL;
	size_t		table_len = 0;
	size_t		name_len = strlen(name);
	FILE	   *file = open_memstream(&table, &table_len);

	dest[0] = '\0';
	if (file == NULL)
		return;
	rd_kafka_conf_properties_show(file);
	if (fclose(file) == 0)
	{
		for (char *line = strtok(table, "\n"); line != NULL;
			 line = strtok(NULL, "\n"))
		{
			char	   *column = strchr(line, '|');
			char	   *type = strstr(line, "*Type: ");

			if (strncmp(line, name, name_len) != 0 || line[name_len] != ' ' ||
				column == NULL || (column = strchr(column + 1, '|')) == NULL)
				continue;
			column++;
			column += strspn(column, " ");
			column[strcspn(column, "|")] = '\0';
			if (column[0] == '\0' && type != NULL)
			{
				column = type + strlen("*Type: ");
				column[strcspn(column, "*")] = '\0';
			}
			kafka_copy_text(dest, size, column);
			break;
		}
	}
	free(table);
}

/*
 * Let librdkafka look at the options.  Returns the index of the first that
 * it does not take, with what it says of it, or -1.
 */
static int
first_unacceptable(const OptionList *options, rd_kafka_conf_res_t *result)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char		errstr[256];	/* may quote the value: not used */
	int			bad = -1;

	*result = RD_KAFKA_CONF_OK;
	for (int i = 0; i < options->count && bad < 0; i++)
	{
		*result = rd_kafka_conf_set(conf, options->options[i].name,
									options->options[i].value,
									errstr, sizeof(errstr));
		if (*result != RD_KAFKA_CONF_OK)
			bad = i;
	}
	rd_kafka_conf_destroy(conf);
	return bad;
}

void
kafka_sink_check_options(const char *setting, const OptionList *options,
						 bool from_file)
{
	rd_kafka_conf_res_t result;
	int			bad;

	for (int i = 0; i < options->count; i++)
	{
		const Option *option = &options->options[i];
		const char *reason = refusal(option, from_file);

		if (reason != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("setting \"%s\" may not set the Kafka property \"%s\"",
							setting, option->name),
					 errdetail("%s", reason),
					 refusal(option, true) == NULL ?
					 errhint("Put it into the file that wal2kafka.kafka_options_file names.") : 0));
	}

	bad = first_unacceptable(options, &result);
	if (bad < 0)
		return;
	if (result == RD_KAFKA_CONF_UNKNOWN)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_PARAMETER),
				 errmsg("setting \"%s\" has an unknown Kafka property \"%s\"",
						setting, options->options[bad].name),
				 errhint("See the list of properties of %s.",
						 kafka_sink_version())));
	else
	{
		char		allowed[512];

		allowed_values(options->options[bad].name, allowed, sizeof(allowed));
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("setting \"%s\" has an invalid value for the Kafka property \"%s\"",
						setting, options->options[bad].name),
				 allowed[0] != '\0' ?
				 errhint("Allowed: %s (%s).", allowed, kafka_sink_version()) :
				 errhint("This build of %s may not support the property.",
						 kafka_sink_version())));
	}
}

/* The value that holds of a property, by either of its names; or NULL. */
static const char *
last_value(const OptionList *options, const char *name, const char *alias)
{
	for (int i = options->count - 1; i >= 0; i--)
	{
		if (strcmp(options->options[i].name, name) == 0 ||
			(alias != NULL && strcmp(options->options[i].name, alias) == 0))
			return options->options[i].value;
	}
	return NULL;
}

/*
 * Tokens that the program has to get would be waited for in vain.
 */
void
kafka_check_mechanism(const OptionList *options)
{
	const char *mechanism = last_value(options, "sasl.mechanism",
									   "sasl.mechanisms");
	const char *method = last_value(options, "sasl.oauthbearer.method", NULL);

	if (mechanism == NULL || strcmp(mechanism, "OAUTHBEARER") != 0 ||
		(method != NULL && pg_strcasecmp(method, "oidc") == 0))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("the Kafka property \"sasl.mechanism\" is \"OAUTHBEARER\", and \"sasl.oauthbearer.method\" is not \"oidc\""),
			 errdetail("wal2kafka gets no tokens itself, and librdkafka does by that method alone."),
			 errhint("Where librdkafka is built without it, as %s may be, use SCRAM, PLAIN or a client's certificate.",
					 kafka_sink_version())));
}

/*
 * One server of bootstrap_servers: [protocol://]host[:port], where a host
 * that is an IPv6 address is in brackets.
 */
static bool
valid_server(const char *server, size_t len)
{
	const char *end = server + len;
	const char *colon;
	long		port = 0;

	for (const char *p = server; p + 3 <= end; p++)
	{
		if (strncmp(p, "://", 3) == 0)
		{
			server = p + 3;
			break;
		}
	}
	if (server < end && *server == '[')
	{
		colon = memchr(server, ']', end - server);
		if (colon == NULL)
			return false;
		colon++;
		if (colon == end)
			return true;
	}
	else
		colon = memchr(server, ':', end - server);
	if (colon == server || server == end || memchr(server, ' ', end - server))
		return false;
	if (colon == NULL)
		return true;
	if (*colon != ':' || colon + 1 == end || end - colon > 6)
		return false;
	for (const char *p = colon + 1; p < end; p++)
	{
		if (*p < '0' || *p > '9')
			return false;
		port = port * 10 + (*p - '0');
	}
	return port >= 1 && port <= 65535;
}

void
kafka_check_servers(const char *servers)
{
	const char *p = servers;
	bool		any = false;

	while (p != NULL && *p != '\0')
	{
		size_t		len = strcspn(p, ",");
		const char *start = p + strspn(p, " \t");
		const char *end = p + len;

		while (end > start && (end[-1] == ' ' || end[-1] == '\t'))
			end--;
		if (end > start)
		{
			if (!valid_server(start, end - start))
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("invalid server in setting \"%s\": \"%.*s\"",
								"wal2kafka.bootstrap_servers",
								(int) (end - start), start),
						 errhint("The form is host:port, host:port.")));
			any = true;
		}
		p += len;
		if (*p == ',')
			p++;
	}
	if (!any)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("setting \"%s\" is empty",
						"wal2kafka.bootstrap_servers"),
				 errhint("Set it to the brokers to begin with: host:port, host:port.")));
}

/*
 * Overwrite in a text of librdkafka what is the value of a secret property.
 * It is looked for in a copy, where no other one that it shares characters
 * with was overwritten yet.
 */
void
kafka_hide_secrets(char *text, const OptionList *options)
{
	char	   *copy = pstrdup(text);

	for (int i = 0; i < options->count; i++)
	{
		const char *value = options->options[i].value;
		const char *found = copy;

		if (value[0] == '\0' ||
			!option_name_is_secret(options->options[i].name))
			continue;
		for (; (found = strstr(found, value)) != NULL; found++)
			memset(text + (found - copy), '*', strlen(value));
	}
	explicit_bzero(copy, strlen(copy));
	pfree(copy);
}
