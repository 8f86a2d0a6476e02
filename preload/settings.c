/*
 * settings.c
 *		The table of all settings, their checks and their values.
 *
 * A check looks at the text of a value only.  It runs in the postmaster too,
 * so it looks up nothing, allocates nothing and raises nothing.  Its reason
 * says what is allowed and never quotes the value.
 */
#include "postgres.h"

#include <ctype.h>

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "../compat.h"
#include "option_secret.h"
#include "regex_list.h"
#include "settings.h"
#include "transform_list.h"

#define PREFIX			SETTINGS_PREFIX

#define REASON_LEN		512
#define TOPIC_LEN		249		/* Kafka's limit on a topic's name */

Settings	wal2kafka_settings;

typedef enum SettingType
{
	SETTING_BOOL,
	SETTING_INT,
	SETTING_ENUM,
	SETTING_STRING,
} SettingType;

/* False: refused, and reason (REASON_LEN bytes) says what is allowed. */
typedef bool (*CheckText) (const char *value, char *reason);
typedef bool (*CheckNumber) (int value, char *reason);

typedef struct Setting
{
	const char *name;			/* with prefix */
	SettingType type;
	size_t		offset;			/* in Settings */
	const char *boot_text;		/* of a string */
	int			boot;			/* of the other types */
	int			min;
	int			max;
	const struct config_enum_entry *options;
	GucContext	context;		/* PGC_INTERNAL (0): means PGC_SUSET here */
	int			flags;
	bool		plugin_option;
	CheckText	check_text;
	CheckNumber check_number;
	GucStringCheckHook text_hook;
	GucIntCheckHook number_hook;
	GucBoolCheckHook truth_hook;
	const char *summary;
	const char *details;
} Setting;

/* A value of any type. */
typedef union SettingValue
{
	bool		truth;
	int			number;
	const char *text;
} SettingValue;

static const struct config_enum_entry snapshot_modes[] = {
	{"initial", SNAPSHOT_INITIAL, false},
	{"no_data", SNAPSHOT_NO_DATA, false},
	{"never", SNAPSHOT_NO_DATA, true},
	{"always", SNAPSHOT_ALWAYS, false},
	{"initial_only", SNAPSHOT_INITIAL_ONLY, false},
	{"when_needed", SNAPSHOT_WHEN_NEEDED, false},
	{NULL, 0, false}
};

static const struct config_enum_entry delivery_guarantees[] = {
	{"at_least_once", DELIVERY_AT_LEAST_ONCE, false},
	{"exactly_once", DELIVERY_EXACTLY_ONCE, false},
	{NULL, 0, false}
};

static const struct config_enum_entry transaction_mappings[] = {
	{"batch", TRANSACTION_BATCH, false},
	{"per_commit", TRANSACTION_PER_COMMIT, false},
	{NULL, 0, false}
};

static const struct config_enum_entry promotion_policies[] = {
	{"hold", PROMOTION_HOLD, false},
	{"adopt", PROMOTION_ADOPT, false},
	{NULL, 0, false}
};

static const struct config_enum_entry divergence_policies[] = {
	{"hold", DIVERGENCE_HOLD, false},
	{"continue", DIVERGENCE_CONTINUE, false},
	{NULL, 0, false}
};

static const struct config_enum_entry retained_wal_actions[] = {
	{"warn", RETAINED_WAL_WARN, false},
	{"pause_snapshot", RETAINED_WAL_PAUSE_SNAPSHOT, false},
	{"drop_slot", RETAINED_WAL_DROP_SLOT, false},
	{NULL, 0, false}
};

static const struct config_enum_entry failure_handling_modes[] = {
	{"fail", FAILURE_FAIL, false},
	{"warn", FAILURE_WARN, false},
	{"skip", FAILURE_SKIP, false},
	{"ignore", FAILURE_SKIP, true},
	{"dead_letter", FAILURE_DEAD_LETTER, false},
	{NULL, 0, false}
};

static const struct config_enum_entry oversized_handling_modes[] = {
	{"default", OVERSIZED_DEFAULT, false},
	{"fail", OVERSIZED_FAIL, false},
	{"warn", OVERSIZED_WARN, false},
	{"skip", OVERSIZED_SKIP, false},
	{"dead_letter", OVERSIZED_DEAD_LETTER, false},
	{"truncate_value", OVERSIZED_TRUNCATE_VALUE, false},
	{"key_only", OVERSIZED_KEY_ONLY, false},
	{NULL, 0, false}
};

static const struct config_enum_entry identity_missing_options[] = {
	{"fail", IDENTITY_MISSING_FAIL, false},
	{"warn", IDENTITY_MISSING_WARN, false},
	{"skip", IDENTITY_MISSING_SKIP, false},
	{NULL, 0, false}
};

#define STRATEGY_PACKAGE	"io.confluent.kafka.serializers.subject."

static const struct config_enum_entry subject_strategies[] = {
	{"TopicNameStrategy", SUBJECT_TOPIC_NAME, false},
	{"RecordNameStrategy", SUBJECT_RECORD_NAME, false},
	{"TopicRecordNameStrategy", SUBJECT_TOPIC_RECORD_NAME, false},
	{STRATEGY_PACKAGE "TopicNameStrategy", SUBJECT_TOPIC_NAME, true},
	{STRATEGY_PACKAGE "RecordNameStrategy", SUBJECT_RECORD_NAME, true},
	{STRATEGY_PACKAGE "TopicRecordNameStrategy",
	SUBJECT_TOPIC_RECORD_NAME, true},
	{NULL, 0, false}
};

static const struct config_enum_entry name_adjustments[] = {
	{"default", NAME_ADJUST_DEFAULT, false},
	{"none", NAME_ADJUST_NONE, false},
	{"avro", NAME_ADJUST_AVRO, false},
	{"avro_unicode", NAME_ADJUST_AVRO_UNICODE, false},
	{NULL, 0, false}
};

static const struct config_enum_entry record_timestamps[] = {
	{"commit", RECORD_TIMESTAMP_COMMIT, false},
	{"send", RECORD_TIMESTAMP_SEND, false},
	{NULL, 0, false}
};

static const struct config_enum_entry value_formats[] = {
	{"avro", RECORD_FORMAT_AVRO, false},
	{"json", RECORD_FORMAT_JSON, false},
	{NULL, 0, false}
};

static const struct config_enum_entry key_formats[] = {
	{"same", RECORD_FORMAT_SAME, false},
	{"avro", RECORD_FORMAT_AVRO, false},
	{"json", RECORD_FORMAT_JSON, false},
	{"string", RECORD_FORMAT_STRING, false},
	{NULL, 0, false}
};

static const struct config_enum_entry decimal_formats[] = {
	{"base64", DECIMAL_FORMAT_BASE64, false},
	{"numeric", DECIMAL_FORMAT_NUMERIC, false},
	{NULL, 0, false}
};

static const struct config_enum_entry envelopes[] = {
	{"debezium", ENVELOPE_DEBEZIUM, false},
	{"flat", ENVELOPE_FLAT, false},
	{NULL, 0, false}
};

static const struct config_enum_entry debezium_versions[] = {
	{"2.7", DEBEZIUM_2_7, false},
	{"3.1", DEBEZIUM_3_1, false},
	{"3.5", DEBEZIUM_3_5, false},
	{"3.7", DEBEZIUM_3_7, false},
	{NULL, 0, false}
};

static const struct config_enum_entry decimal_handling_modes[] = {
	{"precise", DECIMAL_PRECISE, false},
	{"string", DECIMAL_STRING, false},
	{"double", DECIMAL_DOUBLE, false},
	{NULL, 0, false}
};

static const struct config_enum_entry time_precision_modes[] = {
	{"adaptive", TIME_ADAPTIVE, false},
	{"adaptive_time_microseconds", TIME_ADAPTIVE_TIME_MICROSECONDS, false},
	{"connect", TIME_CONNECT, false},
	{"isostring", TIME_ISOSTRING, false},
	{"microseconds", TIME_MICROSECONDS, false},
	{"nanoseconds", TIME_NANOSECONDS, false},
	{"structured", TIME_STRUCTURED, false},
	{"avro", TIME_AVRO, false},
	{NULL, 0, false}
};

static const struct config_enum_entry interval_handling_modes[] = {
	{"numeric", INTERVAL_NUMERIC, false},
	{"string", INTERVAL_STRING, false},
	{NULL, 0, false}
};

static const struct config_enum_entry hstore_handling_modes[] = {
	{"json", HSTORE_JSON, false},
	{"map", HSTORE_MAP, false},
	{NULL, 0, false}
};

static const struct config_enum_entry binary_handling_modes[] = {
	{"bytes", BINARY_BYTES, false},
	{"base64", BINARY_BASE64, false},
	{"base64-url-safe", BINARY_BASE64_URL_SAFE, false},
	{"hex", BINARY_HEX, false},
	{NULL, 0, false}
};

static const struct config_enum_entry delete_tombstone_handling_modes[] = {
	{"drop", DELETE_DROP, false},
	{"tombstone", DELETE_TOMBSTONE, false},
	{"rewrite", DELETE_REWRITE, false},
	{"rewrite-with-tombstone", DELETE_REWRITE_WITH_TOMBSTONE, false},
	{"delete-to-tombstone", DELETE_TO_TOMBSTONE, false},
	{NULL, 0, false}
};

static const struct config_enum_entry outbox_invalid_behaviors[] = {
	{"warn", OUTBOX_INVALID_WARN, false},
	{"error", OUTBOX_INVALID_ERROR, false},
	{"fatal", OUTBOX_INVALID_FATAL, false},
	{NULL, 0, false}
};

static const struct config_enum_entry json_payload_nulls[] = {
	{"ignore", JSON_NULL_IGNORE, false},
	{"optional_bytes", JSON_NULL_OPTIONAL_BYTES, false},
	{NULL, 0, false}
};

static const struct config_enum_entry json_payload_empty_arrays[] = {
	{"ignore", JSON_EMPTY_ARRAY_IGNORE, false},
	{"optional_string", JSON_EMPTY_ARRAY_OPTIONAL_STRING, false},
	{NULL, 0, false}
};

static const struct config_enum_entry partition_hash_functions[] = {
	{"java", PARTITION_HASH_JAVA, false},
	{"murmur", PARTITION_HASH_MURMUR, false},
	{NULL, 0, false}
};

#define NAMING_PACKAGE	"io.debezium.schema."

static const struct config_enum_entry topic_naming_strategies[] = {
	{"SchemaTopicNamingStrategy", TOPIC_NAMING_SCHEMA, false},
	{"SchemaUnicodeTopicNamingStrategy", TOPIC_NAMING_SCHEMA_UNICODE, false},
	{NAMING_PACKAGE "SchemaTopicNamingStrategy", TOPIC_NAMING_SCHEMA, true},
	{NAMING_PACKAGE "SchemaUnicodeTopicNamingStrategy",
	TOPIC_NAMING_SCHEMA_UNICODE, true},
	{NULL, 0, false}
};

static bool refuse(char *reason, const char *format,...) pg_attribute_printf(2, 3);

/* ---- scanning ---- */

static bool
refuse(char *reason, const char *format,...)
{
	va_list		args;

	va_start(args, format);
	vsnprintf(reason, REASON_LEN, format, args);
	va_end(args);
	return false;
}

static const char *
skip_space(const char *p)
{
	while (isspace((unsigned char) *p))
		p++;
	return p;
}

/*
 * One identifier, as SQL reads it, but of any characters that are no space,
 * quote or separator: such names need no quotes here.  Moves *cursor behind it
 * and following space.  NULL if it is well formed, else what is wrong.
 */
static const char *
scan_identifier(const char **cursor, const char *separators, char *result)
{
	const char *p = skip_space(*cursor);
	bool		quoted = (*p == '"');
	int			len = 0;

	if (quoted)
		p++;
	for (;; p++)
	{
		char		c = *p;

		if (quoted && c == '\0')
			return "A quoted name has no closing quote.";
		if (quoted && c == '"')
		{
			if (p[1] != '"')
				break;
			p++;
		}
		else if (!quoted)
		{
			if (c == '\0' || isspace((unsigned char) c) ||
				strchr(separators, c) != NULL)
				break;
			if (c == '"')
				return "A quote stands inside a name that is not quoted.";
			c = pg_ascii_tolower(c);
		}
		if (len == NAMEDATALEN - 1)
			return "A name is longer than 63 bytes.";
		result[len++] = c;
	}
	if (quoted)
		p++;
	result[len] = '\0';
	if (len == 0)
		return "A name is empty.";
	*cursor = skip_space(p);
	return NULL;
}

static char *
append_identifier(char *out, const char *name)
{
	bool		plain = !(name[0] >= '0' && name[0] <= '9');

	for (const char *p = name; *p != '\0'; p++)
		if (!((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') ||
			  *p == '_'))
			plain = false;

	if (!plain)
		*out++ = '"';
	for (const char *p = name; *p != '\0'; p++)
	{
		if (*p == '"')
			*out++ = '"';
		*out++ = *p;
	}
	if (!plain)
		*out++ = '"';
	*out = '\0';
	return out;
}

bool
settings_next_stream(const char **cursor, StreamName *name,
					 const char **problem)
{
	const char *p = skip_space(*cursor);
	char	   *out;

	*problem = NULL;
	if (*p == '\0')
		return false;
	memset(name, 0, sizeof(*name));
	*problem = scan_identifier(&p, ",/", name->database);
	if (*problem != NULL)
		return false;
	out = append_identifier(name->text, name->database);
	if (*p == '/')
	{
		p++;
		*problem = scan_identifier(&p, ",/", name->role);
		if (*problem != NULL)
			return false;
		*out++ = '/';
		append_identifier(out, name->role);
	}

	if (*p == ',')
	{
		p = skip_space(p + 1);
		if (*p == '\0')
			*problem = "The list ends with a comma.";
	}
	else if (*p != '\0')
		*problem = "A comma is missing between two streams, or a name needs quotes.";
	*cursor = p;
	return *problem == NULL;
}

/*
 * The next item of a comma-separated list without quotes.  False at the end
 * of the list.  An empty item has *len = 0.
 */
static bool
next_item(const char **cursor, const char **item, int *len)
{
	const char *p = *cursor;
	const char *end;

	if (p == NULL)
		return false;
	p = skip_space(p);
	end = p + strcspn(p, ",");
	*item = p;
	*cursor = (*end == ',') ? end + 1 : NULL;
	while (end > p && isspace((unsigned char) end[-1]))
		end--;
	*len = end - p;
	return true;
}

/* A name and a value in the text of a list of options, quotes included. */
typedef struct OptionSpan
{
	const char *name;
	const char *value;
	int			name_len;
	int			value_len;
} OptionSpan;

/*
 * The next of "name=value; name='a;b'".  False at the end, then *problem is
 * NULL, or at a mistake.  Empty entries, as after a final semicolon, are
 * passed over.
 */
static bool
next_option(const char **cursor, OptionSpan *option, const char **problem)
{
	const char *p = *cursor;
	const char *end;

	*problem = NULL;
	while (isspace((unsigned char) *p) || *p == ';')
		p++;
	if (*p == '\0')
		return false;

	option->name = p;
	option->name_len = strcspn(p, "=;");
	p += option->name_len;
	if (*p != '=')
		*problem = "has no \"=\"";
	while (option->name_len > 0 &&
		   isspace((unsigned char) option->name[option->name_len - 1]))
		option->name_len--;
	if (*problem == NULL && option->name_len == 0)
		*problem = "has no name before \"=\"";
	if (*problem != NULL)
		return false;

	p = skip_space(p + 1);
	option->value = p;
	if (*p == '\'')
	{
		for (p++; *p != '\0' && (*p != '\'' || p[1] == '\''); p++)
			if (*p == '\'')
				p++;
		if (*p == '\0')
			*problem = "has no closing quote";
		else
			end = p = skip_space(p + 1);
		if (*problem == NULL && *p != ';' && *p != '\0')
			*problem = "has something behind the closing quote";
		if (*problem != NULL)
			return false;
	}
	else
		end = p = p + strcspn(p, ";");
	option->value_len = end - option->value;
	*cursor = p;
	return true;
}

/* ---- what options may not be ---- */

const char *
settings_option_refusal(const char *name, const char *value, bool in_file)
{
	static const char *const code[] = {
		"sasl.kerberos.kinit.cmd", "plugin.library.paths",
		"ssl.engine.location"
	};

	for (int i = 0; i < lengthof(code); i++)
		if (pg_strcasecmp(name, code[i]) == 0)
			return "Options that run a command or load code are not allowed.";
	return in_file ? NULL : option_secret(name, value);
}

/* ---- checks of strings ---- */

static bool
check_streams(const char *value, char *reason)
{
	const char *cursor = value;
	const char *problem;
	StreamName	name;

	while (settings_next_stream(&cursor, &name, &problem))
	{
		const char *rest = cursor;
		StreamName	other;

		while (settings_next_stream(&rest, &other, &problem))
			if (strcmp(name.text, other.text) == 0)
				return refuse(reason, "Stream %s is named twice.", name.text);
		if (problem != NULL)
			break;
	}
	if (problem != NULL)
		return refuse(reason, "%s Allowed is a list such as: shop/cdc, \"My DB\"/cdc.",
					  problem);
	return true;
}

static bool
check_bootstrap_servers(const char *value, char *reason)
{
	const char *cursor = value[0] == '\0' ? NULL : value;
	const char *item;
	int			len;
	int			n = 0;

	while (next_item(&cursor, &item, &len))
	{
		const char *colon = item + len;
		long		port = 0;
		int			host_len;

		n++;
		while (colon > item && *colon != ':')
			colon--;
		host_len = colon - item;
		for (const char *p = colon + 1; p < item + len && port <= 65535; p++)
			port = isdigit((unsigned char) *p) ? port * 10 + (*p - '0') : 65536;
		if (host_len == 0 || port < 1 || port > 65535 ||
			strcspn(item, " \t\n/@\"';") < len ||
			(item[0] != '[' && memchr(item, ':', host_len) != NULL))
			return refuse(reason, "Entry %d is not host:port. Allowed is a list of host:port with ports from 1 to 65535; an IPv6 address stands in brackets.",
						  n);
	}
	return true;
}

/*
 * A list of options whose names and values nobody needs to hide.
 */
static bool
check_option_list(const char *value, char *reason)
{
	const char *cursor = value;
	const char *problem;
	OptionSpan	option;
	int			n = 0;

	while (n++, next_option(&cursor, &option, &problem))
		;
	if (problem != NULL)
		return refuse(reason, "Entry %d %s. Allowed is \"name=value; name=value\"; a value with a semicolon stands in single quotes.",
					  n, problem);
	return true;
}

/*
 * Is there a line break within the value?  What was meant as the next entry,
 * a password say, must not become part of the one before it.
 */
static bool
has_line_break(const char *value)
{
	value += strcspn(value, "\r\n");
	return *skip_space(value) != '\0';
}

static bool
check_inline_options(const char *value, char *reason)
{
	const char *cursor = value;
	const char *problem;
	OptionSpan	option;
	int			n = 0;

	if (!check_option_list(value, reason))
		return false;
	while (n++, next_option(&cursor, &option, &problem))
	{
		char		name[128];
		char		text[4096];
		const char *why;

		if (option.name_len >= sizeof(name) ||
			option.value_len >= sizeof(text))
			return refuse(reason, "Entry %d is too long.", n);
		strlcpy(name, option.name, option.name_len + 1);
		strlcpy(text, option.value, option.value_len + 1);
		why = settings_option_refusal(name, text, false);
		if (why == NULL && has_line_break(text))
			why = "Entries are separated by semicolons, not by lines.";
		if (why != NULL)
			return refuse(reason, "Entry %d (%s) is refused. %s", n, name, why);
	}
	return true;
}

static bool
check_urls(const char *value, char *reason)
{
	const char *cursor = value[0] == '\0' ? NULL : value;
	const char *item;
	int			len;
	int			n = 0;

	if (option_has_user_information(value))
		return refuse(reason, "Addresses must not contain user or password, because everybody can read settings. Use wal2kafka.schema_registry_options_file.");
	while (next_item(&cursor, &item, &len))
	{
		int			scheme = 0;

		n++;
		if (pg_strncasecmp(item, "http://", 7) == 0)
			scheme = 7;
		else if (pg_strncasecmp(item, "https://", 8) == 0)
			scheme = 8;
		if (scheme == 0 || len == scheme || item[scheme] == '/' ||
			item[scheme] == ':' || strcspn(item, " \t\n\"'?#") < len)
			return refuse(reason, "Entry %d is no address. Allowed is a list of http://host:port/path or https://host:port/path.",
						  n);
	}
	return true;
}

/*
 * Kafka, files and JMX have no place here: what they do, functions of SQL do.
 */
static bool
check_signal_channels(const char *value, char *reason)
{
	if (value[0] == '\0' || pg_strcasecmp(value, "source") == 0)
		return true;
	return refuse(reason, "The only channel is \"source\", the signal table.");
}

static bool
check_signal_collection(const char *value, char *reason)
{
	const char *dot = strchr(value, '.');

	if (value[0] == '\0' ||
		(dot != NULL && dot != value && dot[1] != '\0' &&
		 strchr(dot + 1, '.') == NULL))
		return true;
	return refuse(reason, "A signal table is named as schema.table.");
}

static bool
check_identifiers(const char *value, char *reason)
{
	const char *p = skip_space(value);
	const char *problem = NULL;
	char		name[NAMEDATALEN];

	while (*p != '\0' && problem == NULL)
	{
		problem = scan_identifier(&p, ",", name);
		if (problem != NULL || *p == '\0')
			break;
		if (*p != ',')
			problem = "A comma is missing between two names, or a name needs quotes.";
		else if (*(p = skip_space(p + 1)) == '\0')
			problem = "The list ends with a comma.";
	}
	if (problem != NULL)
		return refuse(reason, "%s Allowed is a list of names, quoted where SQL needs it.",
					  problem);
	return true;
}

static bool
check_regex_list(const char *value, char *reason)
{
	return regex_list_check(value, reason, REASON_LEN);
}

static bool
check_regex(const char *value, char *reason)
{
	return regex_rule_check(value, reason, REASON_LEN);
}

/*
 * The value of an option without its quotes; out has room for all of it.
 */
static void
unquote_option(const OptionSpan *option, char *out)
{
	const char *p = option->value;
	const char *end = p + option->value_len;

	while (end > p && isspace((unsigned char) end[-1]))
		end--;
	if (p < end && *p == '\'')
	{
		end--;
		for (p++; p < end; p++)
		{
			if (*p == '\'' && p[1] == '\'')
				p++;
			*out++ = *p;
		}
	}
	else
	{
		memcpy(out, p, end - p);
		out += end - p;
	}
	*out = '\0';
}

static bool
check_transform(int n, const OptionSpan *option, char *name, char *columns,
				char *reason)
{
	char		why[REASON_LEN - 64];
	TransformSpec spec;

	memcpy(name, option->name, option->name_len);
	name[option->name_len] = '\0';
	unquote_option(option, columns);
	if (!transform_spec_parse(name, &spec, why, sizeof(why)))
		return refuse(reason, "Entry %d is refused. %s", n, why);
	if (columns[0] == '\0')
		return refuse(reason, "Entry %d names no column.", n);
	if (!regex_list_check(columns, why, sizeof(why)))
		return refuse(reason, "Columns of entry %d: %s", n, why);
	return true;
}

/*
 * Salts may be secret: nothing is quoted.
 */
static bool
check_column_transforms(const char *value, char *reason)
{
	const char *cursor = value;
	const char *problem;
	OptionSpan	option;
	size_t		size = strlen(value) + 1;
	char	   *name;
	char	   *columns;
	bool		ok = true;
	int			n = 0;

	if (!check_option_list(value, reason))
		return false;
	name = malloc(size);
	columns = malloc(size);
	if (name == NULL || columns == NULL)
		ok = refuse(reason, "There is no memory to check it.");
	while (ok && (n++, next_option(&cursor, &option, &problem)))
		ok = check_transform(n, &option, name, columns, reason);
	if (name != NULL)
		explicit_bzero(name, size);
	free(name);
	free(columns);
	return ok;
}

static bool
check_placeholder(const char *value, char *reason)
{
	size_t		ndigits;

	if (strncmp(value, HEX_PREFIX, strlen(HEX_PREFIX)) != 0)
		return true;
	value += strlen(HEX_PREFIX);
	ndigits = strspn(value, "0123456789abcdefABCDEF");
	if (value[ndigits] != '\0' || ndigits % 2 != 0)
		return refuse(reason, "Allowed behind \"" HEX_PREFIX "\" are pairs of hexadecimal digits.");
	return true;
}

/*
 * One rule of message_key_columns, at most len bytes: a regular expression of
 * tables, a colon, expressions of columns.  text has room for both together.
 */
static bool
check_key_rule(const char *rule, int len, char *text, char *reason)
{
	const char *colon = memchr(rule, ':', len);
	int			table_len = colon ? colon - rule : 0;
	const char *column;
	const char *end = rule + len;

	if (table_len == 0 || skip_space(rule) == colon ||
		memchr(colon + 1, ':', end - colon - 1) != NULL)
		return refuse(reason, "It is not \"schema.table:column,column\".");
	for (const char *p = rule; p < colon; p++)
		if (*p == ',' && (p == rule || p[-1] != '\\'))
			return refuse(reason, "A comma in an expression of tables is written \"\\,\".");
	for (column = colon + 1; column <= end; column++)
	{
		const char *comma = memchr(column, ',', end - column);
		const char *last = comma ? comma : end;

		column = skip_space(column);
		if (column >= last)
			return refuse(reason, "A column is empty.");
		memcpy(text, rule, table_len);
		text[table_len] = '.';
		memcpy(text + table_len + 1, column, last - column);
		text[table_len + 1 + (last - column)] = '\0';
		if (!regex_rule_check(text, reason, REASON_LEN))
			return false;
		column = last;
	}
	return true;
}

static bool
check_key_columns(const char *value, char *reason)
{
	char	   *text = malloc(strlen(value) + 2);
	const char *p = value;
	bool		ok = true;

	if (text == NULL)
		return refuse(reason, "There is no memory to check it.");
	for (int n = 1; ok && skip_space(p)[0] != '\0'; n++)
	{
		int			len = strcspn(p, ";");
		char		why[REASON_LEN];

		ok = check_key_rule(p, len, text, why);
		if (!ok)
			refuse(reason, "Rule %d is refused. %s", n, why);
		p += len + (p[len] == ';');
	}
	free(text);
	return ok;
}

/*
 * Fields of the envelope that partitions can be chosen by.
 */
static bool
check_partition_fields(const char *value, char *reason)
{
	static const char *const rows[] = {"after.", "before.", "change."};
	static const char *const others[] = {
		"op", "source.connector", "source.db", "source.lsn", "source.name",
		"source.schema", "source.table", "source.txId", "source.version"
	};
	const char *cursor = value[0] == '\0' ? NULL : value;
	const char *item;
	int			len;
	int			n = 0;

	while (next_item(&cursor, &item, &len))
	{
		bool		known = false;

		n++;
		for (int i = 0; i < lengthof(rows); i++)
			known |= len > strlen(rows[i]) && item[len - 1] != '.' &&
				strncmp(item, rows[i], strlen(rows[i])) == 0;
		for (int i = 0; i < lengthof(others); i++)
			known |= len == strlen(others[i]) &&
				strncmp(item, others[i], len) == 0;
		if (!known)
			return refuse(reason, "Entry %d is no field that selects a partition. Allowed are change.COLUMN, after.COLUMN, before.COLUMN, op, and source.connector, db, lsn, name, schema, table, txId, version.",
						  n);
	}
	return true;
}

/*
 * A part of a topic's name that cannot be empty.
 */
static bool
check_topic_part(const char *value, char *reason)
{
	size_t		len = strspn(value, "abcdefghijklmnopqrstuvwxyz"
							 "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

	if (value[len] != '\0' || len == 0 || len > TOPIC_LEN)
		return refuse(reason, "Allowed are up to %d letters, digits, dots, underscores and hyphens.",
					  TOPIC_LEN);
	return true;
}

static bool
check_not_empty(const char *value, char *reason)
{
	return value[0] != '\0' || refuse(reason, "It must not be empty.");
}

static bool
check_path(const char *value, char *reason)
{
	if (value[0] != '\0' && !is_absolute_path(value))
		return refuse(reason, "Allowed is an absolute path, or nothing.");
	return true;
}

static bool
check_slot_name(const char *value, char *reason)
{
	if (strlen(value) >= NAMEDATALEN ||
		strspn(value, "abcdefghijklmnopqrstuvwxyz0123456789_") != strlen(value))
		return refuse(reason, "Allowed are up to 63 lower-case letters, digits and underscores, or nothing for the default.");
	return true;
}

static bool
check_topic_prefix(const char *value, char *reason)
{
	size_t		len = strspn(value, "abcdefghijklmnopqrstuvwxyz"
							 "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

	if (value[len] != '\0' || len > TOPIC_LEN)
		return refuse(reason, "Allowed are up to %d letters, digits, dots, underscores and hyphens, or nothing for the database's name.",
					  TOPIC_LEN);
	return true;
}

/*
 * skipped_operations as bits, -1 if it is malformed.
 */
static int
parse_operations(const char *value)
{
	const char *cursor = value;
	const char *item;
	int			len;
	int			operations = 0;

	if (pg_strcasecmp(value, "none") == 0)
		return 0;
	while (next_item(&cursor, &item, &len))
	{
		static const char letters[] = "cudt";
		const char *letter = NULL;

		if (len == 1)
			letter = strchr(letters, pg_ascii_tolower(*item));
		if (letter == NULL)
			return -1;
		operations |= 1 << (letter - letters);
	}
	return operations;
}

int
settings_skipped_operations(const char *list)
{
	int			operations = parse_operations(list);

	if (operations < 0)
		elog(ERROR, "malformed skipped_operations");	/* was checked */
	return operations;
}

StaticAssertDecl(SKIP_CREATE == 1 << 0 && SKIP_UPDATE == 1 << 1 &&
				 SKIP_DELETE == 1 << 2 && SKIP_TRUNCATE == 1 << 3,
				 "parse_operations() counts on this order");

static bool
check_skipped_operations(const char *value, char *reason)
{
	if (parse_operations(value) < 0)
		return refuse(reason, "Allowed is a list of c (insert), u (update), d (delete) and t (truncate), or \"none\".");
	return true;
}

/*
 * How often a character is in an item.
 */
static int
count_of(const char *item, int len, char c)
{
	int			count = 0;

	for (int i = 0; i < len; i++)
		count += item[i] == c;
	return count;
}

/*
 * "field", "record.field", either with ":NEW_NAME"
 */
static bool
check_envelope_fields(const char *value, char *reason)
{
	const char *cursor = value[0] == '\0' ? NULL : value;
	const char *item;
	int			len;
	int			n = 0;

	while (next_item(&cursor, &item, &len))
	{
		const char *colon = memchr(item, ':', len);
		int			field_len = colon != NULL ? colon - item : len;

		n++;
		if (field_len == 0 || item[0] == '.' || item[field_len - 1] == '.' ||
			count_of(item, field_len, '.') > 1 ||
			count_of(item, len, ':') > 1 || item[len - 1] == ':')
			return refuse(reason, "Entry %d is no field of the envelope. Allowed is a list such as: op, source.ts_ms, op:OPERATION.",
						  n);
	}
	return true;
}

/*
 * "column:placement", "column:placement:alias"
 */
static bool
check_placements(const char *value, char *reason)
{
	static const char *const placements[] = {"header", "envelope", "partition"};
	const char *cursor = value[0] == '\0' ? NULL : value;
	const char *item;
	int			len;
	int			n = 0;

	while (next_item(&cursor, &item, &len))
	{
		const char *colon = memchr(item, ':', len);
		const char *place = colon != NULL ? skip_space(colon + 1) : NULL;
		bool		known = false;

		n++;
		for (int i = 0; place != NULL && i < lengthof(placements); i++)
		{
			int			place_len = strlen(placements[i]);
			const char *end = place + place_len;

			if (pg_strncasecmp(place, placements[i], place_len) != 0)
				continue;
			while (end < item + len && isspace((unsigned char) *end))
				end++;
			known = end == item + len || *end == ':';
		}
		if (!known || colon == item || item[len - 1] == ':' ||
			count_of(item, len, ':') > 2)
			return refuse(reason, "Entry %d is no placement. Allowed is a list of column:placement or column:placement:alias, with header, envelope or partition.",
						  n);
	}
	return true;
}

/*
 * A time in any of the server's notations, but no words such as "tomorrow":
 * they mean another time to each process that reads the setting.
 */
static bool
parse_time(const char *value, TimestampTz *result)
{
	static const char *const words[] = {
		"now", "today", "tomorrow", "yesterday"
	};
	char		buffer[MAXDATELEN + MAXDATEFIELDS];
	char	   *fields[MAXDATEFIELDS];
	int			types[MAXDATEFIELDS];
	struct pg_tm tm;
	fsec_t		fsec;
	int			nfields;
	int			type;
	int			tz;

	for (int i = 0; i < lengthof(words); i++)
		if (option_text_contains(value, words[i]))
			return false;
	return ParseDateTime(value, buffer, sizeof(buffer), fields, types,
						 MAXDATEFIELDS, &nfields) == 0 &&
		compat_decode_datetime(fields, types, nfields, &type, &tm, &fsec,
							   &tz) == 0 &&
		type == DTK_DATE &&
		tm2timestamp(&tm, fsec, &tz, result) == 0;
}

TimestampTz
settings_paused_until(const char *value)
{
	TimestampTz result;

	if (skip_space(value)[0] == '\0' || !parse_time(value, &result))
		return 0;
	return result;
}

static bool
check_paused_until(const char *value, char *reason)
{
	TimestampTz result;

	if (skip_space(value)[0] != '\0' && !parse_time(value, &result))
		return refuse(reason, "Allowed is a date and time with time zone, such as \"2030-01-31 13:30:00+01\", or nothing.");
	return true;
}

static bool
check_replication_factor(int value, char *reason)
{
	if (value == 0)
		return refuse(reason, "Allowed are 1 to 32767, or -1 for the broker's default.");
	return true;
}

/* What a server's version does not have is refused, not ignored. */
static bool
check_slot_failover(int value, char *reason)
{
	if (value && !COMPAT_HAS_FAILOVER_SLOTS)
		return refuse(reason, "Slots that standbys have, too, need PostgreSQL 17 or newer.");
	return true;
}

static bool
check_stream_on_standby(int value, char *reason)
{
	if (value && !COMPAT_DECODES_ON_STANDBY)
		return refuse(reason, "Decoding on a standby needs PostgreSQL 16 or newer.");
	return true;
}

/* ---- hooks of the server's ---- */

/*
 * Tell the server why.  Its own message quotes the value, which must not be
 * if that may hold a secret: then "secret" is the setting's name, else NULL.
 */
static bool
report_refusal(const char *secret, const char *reason)
{
	if (secret != NULL)
		GUC_check_errmsg("invalid value for parameter \"%s\"", secret);
	GUC_check_errdetail("%s", reason);
	return false;
}

#define TEXT_HOOK(hook, check, secret) \
static bool \
hook(char **newval, void **extra, GucSource source) \
{ \
	char		reason[REASON_LEN]; \
\
	return check(*newval, reason) || report_refusal(secret, reason); \
} \
extern int	no_such_variable

TEXT_HOOK(check_streams_hook, check_streams, NULL);
TEXT_HOOK(check_bootstrap_servers_hook, check_bootstrap_servers, NULL);
TEXT_HOOK(check_option_list_hook, check_option_list, NULL);
TEXT_HOOK(check_identifiers_hook, check_identifiers, NULL);
TEXT_HOOK(check_path_hook, check_path, NULL);
TEXT_HOOK(check_regex_list_hook, check_regex_list, NULL);
TEXT_HOOK(check_regex_hook, check_regex, NULL);
TEXT_HOOK(check_signal_channels_hook, check_signal_channels, NULL);
TEXT_HOOK(check_signal_collection_hook, check_signal_collection, NULL);
TEXT_HOOK(column_transforms_hook, check_column_transforms,
		  PREFIX "column_transforms");
TEXT_HOOK(check_placeholder_hook, check_placeholder, NULL);
TEXT_HOOK(check_key_columns_hook, check_key_columns, NULL);
TEXT_HOOK(check_partition_fields_hook, check_partition_fields, NULL);
TEXT_HOOK(check_topic_part_hook, check_topic_part, NULL);
TEXT_HOOK(check_not_empty_hook, check_not_empty, NULL);
TEXT_HOOK(check_slot_name_hook, check_slot_name, NULL);
TEXT_HOOK(check_topic_prefix_hook, check_topic_prefix, NULL);
TEXT_HOOK(check_skipped_operations_hook, check_skipped_operations, NULL);
TEXT_HOOK(check_envelope_fields_hook, check_envelope_fields, NULL);
TEXT_HOOK(check_placements_hook, check_placements, NULL);
TEXT_HOOK(check_paused_until_hook, check_paused_until, NULL);
TEXT_HOOK(kafka_options_hook, check_inline_options,
		  PREFIX "kafka_options");
TEXT_HOOK(schema_registry_options_hook, check_inline_options,
		  PREFIX "schema_registry_options");
TEXT_HOOK(schema_registry_url_hook, check_urls,
		  PREFIX "schema_registry_url");

static bool
check_replication_factor_hook(int *newval, void **extra, GucSource source)
{
	char		reason[REASON_LEN];

	return check_replication_factor(*newval, reason) ||
		report_refusal(NULL, reason);
}

#define TRUTH_HOOK(hook, check) \
static bool \
hook(bool *newval, void **extra, GucSource source) \
{ \
	char		reason[REASON_LEN]; \
\
	return check(*newval, reason) || report_refusal(NULL, reason); \
} \
extern int	no_such_variable

TRUTH_HOOK(check_slot_failover_hook, check_slot_failover);
TRUTH_HOOK(check_stream_on_standby_hook, check_stream_on_standby);

/* ---- the table ---- */

#define FIELD(field)	.name = PREFIX #field, .offset = offsetof(Settings, field)
#define BOOL(value)		.type = SETTING_BOOL, .boot = (value)
#define INT(value, lowest, highest) \
	.type = SETTING_INT, .boot = (value), .min = (lowest), .max = (highest)
#define ENUM(value, names) \
	.type = SETTING_ENUM, .boot = (value), .options = (names)
#define STRING(value)	.type = SETTING_STRING, .boot_text = (value)
#define TEXT_CHECK(check)	.check_text = check, .text_hook = check##_hook
#define SECRET_CHECK(check, hook)	.check_text = check, .text_hook = hook
#define NUMBER_CHECK(check)	.check_number = check, .number_hook = check##_hook
#define TRUTH_CHECK(check)	.check_number = check, .truth_hook = check##_hook

static const Setting settings[] = {
	/* which streams there are */
	{FIELD(streams), STRING(""), TEXT_CHECK(check_streams),
		.context = PGC_SIGHUP, .flags = GUC_LIST_INPUT,
		.summary = "Lists the streams as database/role.",
	.details = "Each is one worker, one replication slot and one Kafka producer. A database without role runs as the bootstrap superuser."},
	{FIELD(max_streams), INT(8, 1, 64),
		.context = PGC_POSTMASTER,
	.summary = "Sets how many streams can run at a time."},
	{FIELD(allow_superuser), BOOL(false),
		.context = PGC_SIGHUP,
	.summary = "Allows streams without role, which run as the bootstrap superuser."},
	{FIELD(stream_on_standby), BOOL(false), TRUTH_CHECK(check_stream_on_standby),
		.context = PGC_POSTMASTER,
		.summary = "Lets streams run while this server is a standby.",
	.details = "Off: they wait for its promotion."},

	/* Kafka */
	{FIELD(bootstrap_servers), STRING(""), TEXT_CHECK(check_bootstrap_servers),
		.flags = GUC_LIST_INPUT,
	.summary = "Lists Kafka brokers as host:port."},
	{FIELD(kafka_options), STRING(""),
		SECRET_CHECK(check_inline_options, kafka_options_hook),
		.flags = GUC_SUPERUSER_ONLY,
		.summary = "Sets properties of librdkafka, as \"name=value; name=value\".",
	.details = "Secrets belong in the file that wal2kafka.kafka_options_file names."},
	{FIELD(kafka_options_file), STRING(""), TEXT_CHECK(check_path),
		.flags = GUC_SUPERUSER_ONLY,
		.summary = "Names a file with properties of librdkafka, one name=value a line.",
	.details = "Only the server's user may be able to read it."},
	{FIELD(max_queue_size_in_bytes), INT(32 * 1024, 1024, MAX_KILOBYTES),
		.flags = GUC_UNIT_KB,
	.summary = "Limits what waits for Kafka in a stream's memory."},
	{FIELD(record_timestamp), ENUM(RECORD_TIMESTAMP_COMMIT, record_timestamps),
	.summary = "Selects the time that Kafka's records carry."},
	{FIELD(topic_partitions), INT(1, 1, 100000),
	.summary = "Sets the number of partitions of topics that a stream makes."},
	{FIELD(topic_replication_factor), INT(-1, -1, 32767),
		NUMBER_CHECK(check_replication_factor),
		.summary = "Sets the replication factor of topics that a stream makes.",
	.details = "-1 is the broker's default."},
	{FIELD(topic_config), STRING(""), TEXT_CHECK(check_option_list),
	.summary = "Sets properties of topics that a stream makes, as \"name=value; name=value\"."},
	{FIELD(guardrail_collections_max), INT(1000, 0, INT_MAX),
		.summary = "Holds a stream that selects more tables than this.",
	.details = "0 is no limit."},

	/* schema registry */
	{FIELD(schema_registry_url), STRING(""),
		SECRET_CHECK(check_urls, schema_registry_url_hook),
		.flags = GUC_LIST_INPUT,
		.summary = "Lists addresses of the schema registry.",
	.details = "They are tried in turn. If there is none, schemas go into a topic."},
	{FIELD(schema_registry_options), STRING(""),
		SECRET_CHECK(check_inline_options, schema_registry_options_hook),
		.flags = GUC_SUPERUSER_ONLY,
		.summary = "Sets options for the schema registry, as \"name=value; name=value\".",
	.details = "Secrets belong in the file that wal2kafka.schema_registry_options_file names."},
	{FIELD(schema_registry_options_file), STRING(""), TEXT_CHECK(check_path),
		.flags = GUC_SUPERUSER_ONLY,
		.summary = "Names a file with options for the schema registry, one name=value a line.",
	.details = "Only the server's user may be able to read it."},
	{FIELD(auto_register_schemas), BOOL(true),
	.summary = "Registers schemas that the registry does not have."},
	{FIELD(use_latest_version), BOOL(false),
	.summary = "Uses the latest schema of a subject, when schemas are not registered."},
	{FIELD(normalize_schemas), BOOL(false),
	.summary = "Asks the registry to normalize schemas."},
	{FIELD(key_subject_name_strategy), ENUM(SUBJECT_TOPIC_NAME, subject_strategies),
	.summary = "Selects how subjects of keys are named."},
	{FIELD(value_subject_name_strategy), ENUM(SUBJECT_TOPIC_NAME, subject_strategies),
	.summary = "Selects how subjects of values are named."},

	/* exactly once */
	{FIELD(delivery), ENUM(DELIVERY_AT_LEAST_ONCE, delivery_guarantees),
	.summary = "Selects what consumers see of a stream that was interrupted."},
	{FIELD(transaction_mapping), ENUM(TRANSACTION_BATCH, transaction_mappings),
		.summary = "Selects how database transactions become Kafka transactions.",
	.details = "For delivery = exactly_once."},
	{FIELD(transaction_batch_age), INT(50, 0, 10000),
		.flags = GUC_UNIT_MS,
		.summary = "Sets how often a Kafka transaction is committed at most.",
	.details = "0 commits whenever nothing more is to be sent."},
	{FIELD(transaction_batch_rows), INT(100000, 1, INT_MAX),
	.summary = "Sets how many events a Kafka transaction has before it is committed."},
	{FIELD(transaction_batch_bytes), INT(64 * 1024, 1, MAX_KILOBYTES),
		.flags = GUC_UNIT_KB,
	.summary = "Sets how many bytes a Kafka transaction has before it is committed."},
	{FIELD(transaction_split_age), INT(30000, 100, 600000),
		.flags = GUC_UNIT_MS,
		.summary = "Sets after which time a database transaction is split over several Kafka transactions.",
	.details = "It has to be less than transaction_timeout_ms."},
	{FIELD(transaction_split_bytes), INT(1024 * 1024, 1024, MAX_KILOBYTES),
		.flags = GUC_UNIT_KB,
	.summary = "Sets the size beyond which a database transaction is split over several Kafka transactions."},
	{FIELD(transaction_timeout_ms), INT(60000, 1000, 900000),
		.summary = "Sets how old a Kafka transaction can become before the broker aborts it, in milliseconds.",
	.details = "Brokers have a limit to this, transaction.max.timeout.ms."},
	{FIELD(progress_topic_name), STRING(""), TEXT_CHECK(check_topic_prefix),
		.summary = "Names the topic that holds the position of a stream whose delivery is exactly once.",
	.details = "Empty: the topic prefix and .progress. No other stream may have it."},
	{FIELD(on_promotion), ENUM(PROMOTION_HOLD, promotion_policies),
		.summary = "Selects what happens to an exactly-once stream that another server has had.",
	.details = "hold waits for wal2kafka.adopt()."},
	{FIELD(on_divergence), ENUM(DIVERGENCE_HOLD, divergence_policies),
		.summary = "Selects what happens when Kafka has changes that this server has lost.",
	.details = "After a failover to a standby that was behind."},

	/* events that cannot be sent */
	{FIELD(event_processing_failure_handling_mode),
		ENUM(FAILURE_FAIL, failure_handling_modes),
	.summary = "Selects what happens to an event that can never be encoded or sent."},
	{FIELD(oversized_event_handling_mode),
		ENUM(OVERSIZED_DEFAULT, oversized_handling_modes),
		.summary = "Selects what happens to an event that is too large for Kafka.",
	.details = "\"default\" is what happens to any other that cannot be sent."},
	{FIELD(errors_deadletterqueue_topic_name), STRING(""),
		TEXT_CHECK(check_topic_prefix),
		.summary = "Names the topic of events that could not be sent.",
	.details = "Empty: the topic prefix and .dead_letter."},

	/* life of a stream */
	{FIELD(slot_name), STRING(""), TEXT_CHECK(check_slot_name),
		.summary = "Names the stream's replication slot.",
	.details = "Empty: wal2kafka_ and the database's name."},
	{FIELD(slot_failover), BOOL(false), TRUTH_CHECK(check_slot_failover),
		.summary = "Lets standbys have copies of the stream's replication slot.",
	.details = "On PostgreSQL 17 and newer."},
	{FIELD(snapshot_mode), ENUM(SNAPSHOT_INITIAL, snapshot_modes),
	.summary = "Selects what a stream sends of the rows that exist, and when."},
	{FIELD(snapshot_workers), INT(2, 1, 64),
	.summary = "Sets how many processes read tables for a snapshot at once."},
	{FIELD(snapshot_include_collection_list), STRING(""),
		TEXT_CHECK(check_regex_list),
		.summary = "Lists regular expressions of tables whose rows a stream's start sends.",
	.details = "Empty: those of all tables that the stream selects."},
	{FIELD(snapshot_new_tables), BOOL(false),
	.summary = "Sends the rows of tables that the stream begins to select."},
	{FIELD(toast_reselect), BOOL(false),
	.summary = "Reads large values that an update did not change from the table."},
	{FIELD(signal_enabled_channels), STRING(""),
		TEXT_CHECK(check_signal_channels),
		.summary = "Lists where Debezium's signals are taken from: source, the signal table."},
	{FIELD(signal_data_collection), STRING(""),
		TEXT_CHECK(check_signal_collection),
		.summary = "Names the signal table, as schema.table."},
	{FIELD(notification_topic_name), STRING(""),
		.summary = "Names the topic of Debezium's notifications.",
	.details = "Empty: none are sent."},
	{FIELD(adopt_topics), BOOL(false),
	.summary = "Lets a new stream write to topics that are not empty."},
	{FIELD(paused), BOOL(false),
	.summary = "Pauses a stream."},
	{FIELD(paused_until), STRING(""), TEXT_CHECK(check_paused_until),
	.summary = "Pauses a stream until this time."},
	{FIELD(async_flush_delay), INT(10, -1, 60000),
		.flags = GUC_UNIT_MS,
		.summary = "Sets how long after an asynchronous commit a stream flushes its WAL.",
	.details = "-1 leaves it to the WAL writer."},
	{FIELD(max_retained_wal), INT(0, 0, INT_MAX),
		.flags = GUC_UNIT_MB,
		.summary = "Sets how much WAL a stream's slot may retain before something is done.",
	.details = "0 is no limit."},
	{FIELD(max_retained_wal_action), ENUM(RETAINED_WAL_WARN, retained_wal_actions),
		.summary = "Selects what is done when a slot retains more WAL than max_retained_wal.",
	.details = "warn tells the log, pause_snapshot also lets snapshots wait, drop_slot drops the slot."},

	/* what events look like */
	{FIELD(topic_prefix), STRING(""), TEXT_CHECK(check_topic_prefix),
		.plugin_option = true,
		.summary = "Sets the first part of topic names.",
	.details = "Empty: the database's name."},
	{FIELD(publication_name), STRING(""), TEXT_CHECK(check_identifiers),
		.flags = GUC_LIST_INPUT, .plugin_option = true,
		.summary = "Lists publications that select tables, columns and rows.",
	.details = "Empty: every table."},
	{FIELD(replica_identity_missing),
		ENUM(IDENTITY_MISSING_WARN, identity_missing_options),
		.plugin_option = true,
	.summary = "Selects what happens to changes of tables whose replica identity gives no key."},
	{FIELD(tombstones_on_delete), BOOL(true),
		.plugin_option = true,
	.summary = "Sends a tombstone after each delete."},
	{FIELD(skipped_operations), STRING("t"), TEXT_CHECK(check_skipped_operations),
		.flags = GUC_LIST_INPUT, .plugin_option = true,
	.summary = "Lists operations that are not sent: c, u, d, t, or none."},
	{FIELD(schema_name_adjustment_mode), ENUM(NAME_ADJUST_DEFAULT, name_adjustments),
		.plugin_option = true,
	.summary = "Selects how schema names become valid in Avro."},
	{FIELD(field_name_adjustment_mode), ENUM(NAME_ADJUST_DEFAULT, name_adjustments),
		.plugin_option = true,
	.summary = "Selects how field names become valid in Avro."},

	/* formats */
	{FIELD(debezium_version), ENUM(DEBEZIUM_3_7, debezium_versions),
		.plugin_option = true,
	.summary = "Selects the version of Debezium whose schemas are sent."},
	{FIELD(format), ENUM(RECORD_FORMAT_AVRO, value_formats),
	.summary = "Selects the format of values."},
	{FIELD(key_format), ENUM(RECORD_FORMAT_SAME, key_formats),
		.summary = "Selects the format of keys.",
	.details = "\"same\" is the format of values."},
	{FIELD(key_converter_schemas_enable), BOOL(true),
		.plugin_option = true,
	.summary = "Puts the schema into each key in JSON."},
	{FIELD(value_converter_schemas_enable), BOOL(true),
		.plugin_option = true,
	.summary = "Puts the schema into each value in JSON."},
	{FIELD(decimal_format), ENUM(DECIMAL_FORMAT_BASE64, decimal_formats),
		.plugin_option = true,
	.summary = "Selects how JSON shows decimals."},
	{FIELD(replace_null_with_default), BOOL(false),
		.plugin_option = true,
	.summary = "Sends a column's default for a null, as Debezium and its converters do."},

	/* types */
	{FIELD(decimal_handling_mode), ENUM(DECIMAL_PRECISE, decimal_handling_modes),
		.plugin_option = true,
	.summary = "Selects how numeric and money are sent."},
	{FIELD(time_precision_mode), ENUM(TIME_ADAPTIVE, time_precision_modes),
		.plugin_option = true,
	.summary = "Selects how dates, times and timestamps are sent."},
	{FIELD(interval_handling_mode), ENUM(INTERVAL_NUMERIC, interval_handling_modes),
		.plugin_option = true,
	.summary = "Selects how intervals are sent."},
	{FIELD(hstore_handling_mode), ENUM(HSTORE_JSON, hstore_handling_modes),
		.plugin_option = true,
	.summary = "Selects how hstore is sent."},
	{FIELD(binary_handling_mode), ENUM(BINARY_BYTES, binary_handling_modes),
		.plugin_option = true,
	.summary = "Selects how bytea is sent."},
	{FIELD(money_fraction_digits), INT(2, 0, 18),
		.plugin_option = true,
	.summary = "Sets the number of fraction digits of money."},
	{FIELD(unavailable_value_placeholder), STRING("__debezium_unavailable_value"),
		TEXT_CHECK(check_placeholder),
		.plugin_option = true,
		.summary = "Stands for a value that the WAL does not have.",
	.details = "What begins with \"hex:\" is bytes in hexadecimal."},
	{FIELD(include_unknown_datatypes), BOOL(true),
		.plugin_option = true,
	.summary = "Sends columns whose type has no mapping as text."},

	/* which tables and columns */
	{FIELD(schema_include_list), STRING(""), TEXT_CHECK(check_regex_list),
		.plugin_option = true,
	.summary = "Lists schemas whose tables are sent, as regular expressions."},
	{FIELD(schema_exclude_list), STRING(""), TEXT_CHECK(check_regex_list),
		.plugin_option = true,
	.summary = "Lists schemas whose tables are not sent, as regular expressions."},
	{FIELD(table_include_list), STRING(""), TEXT_CHECK(check_regex_list),
		.plugin_option = true,
	.summary = "Lists tables that are sent, as regular expressions of schema.table."},
	{FIELD(table_exclude_list), STRING(""), TEXT_CHECK(check_regex_list),
		.plugin_option = true,
	.summary = "Lists tables that are not sent, as regular expressions of schema.table."},
	{FIELD(column_include_list), STRING(""), TEXT_CHECK(check_regex_list),
		.plugin_option = true,
	.summary = "Lists columns that are sent, as regular expressions of schema.table.column."},
	{FIELD(column_exclude_list), STRING(""), TEXT_CHECK(check_regex_list),
		.plugin_option = true,
	.summary = "Lists columns that are not sent, as regular expressions of schema.table.column."},
	{FIELD(message_key_columns), STRING(""), TEXT_CHECK(check_key_columns),
		.plugin_option = true,
		.summary = "Sets columns that key the records of tables, as \"schema.table:column,column;...\".",
	.details = "Tables are regular expressions."},
	{FIELD(message_prefix_include_list), STRING(""), TEXT_CHECK(check_regex_list),
		.plugin_option = true,
	.summary = "Lists prefixes of logical messages that are sent, as regular expressions."},
	{FIELD(message_prefix_exclude_list), STRING(""), TEXT_CHECK(check_regex_list),
		.plugin_option = true,
	.summary = "Lists prefixes of logical messages that are not sent, as regular expressions."},
	{FIELD(skip_messages_without_change), BOOL(false),
		.plugin_option = true,
		.summary = "Leaves out updates that change no column that is sent.",
	.details = "Needs REPLICA IDENTITY FULL."},

	/* what is done to columns */
	{FIELD(column_transforms), STRING(""),
		SECRET_CHECK(check_column_transforms, column_transforms_hook),
		.flags = GUC_SUPERUSER_ONLY,
		.plugin_option = true,
		.summary = "Masks, hashes and truncates columns, as \"mask.with.5.chars=columns; mask.hash.v2.SHA-256.with.salt.SALT=columns; truncate.to.20.chars=columns\".",
	.details = "Columns are lists of regular expressions of schema.table.column."},
	{FIELD(column_transforms_file), STRING(""), TEXT_CHECK(check_path),
		.flags = GUC_SUPERUSER_ONLY,
		.summary = "Names a file with entries of wal2kafka.column_transforms, one a line.",
	.details = "Only the server's user may be able to read it."},
	{FIELD(column_propagate_source_type), STRING(""), TEXT_CHECK(check_regex_list),
		.plugin_option = true,
	.summary = "Lists columns whose schema tells their type, as regular expressions of schema.table.column."},
	{FIELD(datatype_propagate_source_type), STRING(""), TEXT_CHECK(check_regex_list),
		.plugin_option = true,
	.summary = "Lists types of columns whose schema tells their type, as regular expressions."},
	{FIELD(include_schema_comments), BOOL(false),
		.plugin_option = true,
	.summary = "Puts comments on columns into schemas."},

	/* records beside rows, and headers */
	{FIELD(provide_transaction_metadata), BOOL(false),
		.plugin_option = true,
	.summary = "Sends where transactions begin and end, and numbers their events."},
	{FIELD(topic_transaction), STRING("transaction"),
		.plugin_option = true,
	.summary = "Names the topic of transactions, after the prefix."},
	{FIELD(heartbeat_interval_ms), INT(0, 0, INT_MAX),
		.flags = GUC_UNIT_MS,
		.summary = "Sets how often a heartbeat is sent.",
	.details = "0 sends none."},
	{FIELD(topic_heartbeat_prefix), STRING("__debezium-heartbeat"),
	.summary = "Sets the first part of the name of the topic of heartbeats."},
	{FIELD(topic_heartbeat_name), STRING(""),
		.summary = "Names the topic of heartbeats.",
	.details = "Empty: its prefix and the topic prefix."},
	{FIELD(extended_headers_enabled), BOOL(false),
		.plugin_option = true,
	.summary = "Adds the headers __debezium.context.* to records."},

	/* names of topics */
	{FIELD(topic_delimiter), STRING("."), TEXT_CHECK(check_topic_part),
		.plugin_option = true,
	.summary = "Stands between the parts of topic names."},
	{FIELD(topic_naming_strategy), ENUM(TOPIC_NAMING_SCHEMA, topic_naming_strategies),
		.plugin_option = true,
	.summary = "Selects how topic names become valid in Kafka."},
	{FIELD(topic_regex), STRING(""), TEXT_CHECK(check_regex),
		.plugin_option = true,
		.summary = "Matches topics that are routed to one, with wal2kafka.topic_replacement.",
	.details = "As Debezium's ByLogicalTableRouter does."},
	{FIELD(topic_replacement), STRING(""),
		.plugin_option = true,
	.summary = "Names the topic to which wal2kafka.topic_regex routes."},
	{FIELD(key_enforce_uniqueness), BOOL(true),
		.plugin_option = true,
	.summary = "Adds a field that tells the table to keys of routed tables."},
	{FIELD(key_field_name), STRING("__dbz__physicalTableIdentifier"), TEXT_CHECK(check_not_empty),
		.plugin_option = true,
	.summary = "Names the field that wal2kafka.key_enforce_uniqueness adds."},
	{FIELD(key_field_regex), STRING(""), TEXT_CHECK(check_regex),
		.plugin_option = true,
	.summary = "Matches the topic name of which the key field is made."},
	{FIELD(key_field_replacement), STRING(""),
		.plugin_option = true,
	.summary = "Makes the key field's value, with wal2kafka.key_field_regex."},
	{FIELD(topic_router_regex), STRING(""), TEXT_CHECK(check_regex),
		.plugin_option = true,
		.summary = "Matches topics that are renamed, with wal2kafka.topic_router_replacement.",
	.details = "As Kafka's RegexRouter does: schema names stay."},
	{FIELD(topic_router_replacement), STRING(""),
		.plugin_option = true,
	.summary = "Names the topic to which wal2kafka.topic_router_regex routes."},
	{FIELD(timescaledb), BOOL(false),
		.plugin_option = true,
	.summary = "Sends rows of TimescaleDB chunks as those of their hypertable."},
	{FIELD(timescaledb_target_topic_prefix), STRING("timescaledb"), TEXT_CHECK(check_topic_part),
		.plugin_option = true,
	.summary = "Sets the first part of topic names of hypertables."},
	{FIELD(partition_payload_fields), STRING(""), TEXT_CHECK(check_partition_fields),
		.plugin_option = true,
		.summary = "Lists fields whose values select the partition.",
	.details = "As Debezium's PartitionRouting does."},
	{FIELD(partition_topic_num), INT(0, 0, 100000),
		.plugin_option = true,
		.summary = "Sets the number of partitions among which wal2kafka.partition_payload_fields selects.",
	.details = "Topics that the stream makes have at least as many."},
	{FIELD(partition_hash_function), ENUM(PARTITION_HASH_JAVA, partition_hash_functions),
		.plugin_option = true,
	.summary = "Selects the hash of wal2kafka.partition_payload_fields."},

	/* flat rows */
	{FIELD(envelope), ENUM(ENVELOPE_DEBEZIUM, envelopes),
		.plugin_option = true,
	.summary = "Selects what values are: Debezium's envelope, or the row alone."},
	{FIELD(delete_tombstone_handling_mode), ENUM(DELETE_TOMBSTONE, delete_tombstone_handling_modes),
		.plugin_option = true,
	.summary = "Selects what a delete becomes when rows are flat."},
	{FIELD(add_fields), STRING(""), TEXT_CHECK(check_envelope_fields),
		.plugin_option = true,
	.summary = "Lists fields of the envelope that are added to flat rows."},
	{FIELD(add_fields_prefix), STRING("__"),
		.plugin_option = true,
	.summary = "Stands before the names of added fields."},
	{FIELD(add_headers), STRING(""), TEXT_CHECK(check_envelope_fields),
		.plugin_option = true,
	.summary = "Lists fields of the envelope that become headers of flat rows."},
	{FIELD(add_headers_prefix), STRING("__"),
		.plugin_option = true,
	.summary = "Stands before the names of added headers."},
	{FIELD(route_by_field), STRING(""),
		.plugin_option = true,
	.summary = "Names the column whose value is the topic of a flat row."},

	/* outbox tables */
	{FIELD(outbox_tables), STRING(""), TEXT_CHECK(check_regex_list),
		.plugin_option = true,
	.summary = "Lists outbox tables, as regular expressions of schema.table."},
	{FIELD(outbox_payload_raw), BOOL(false),
		.plugin_option = true,
	.summary = "Sends the payload of outbox events as it is, without a converter."},
	{FIELD(outbox_table_field_event_id), STRING("id"),
		.plugin_option = true,
	.summary = "Names the column with an event's id."},
	{FIELD(outbox_table_field_event_key), STRING("aggregateid"),
		.plugin_option = true,
	.summary = "Names the column with an event's key."},
	{FIELD(outbox_table_field_event_timestamp), STRING(""),
		.plugin_option = true,
	.summary = "Names the column with an event's time."},
	{FIELD(outbox_table_field_event_payload), STRING("payload"),
		.plugin_option = true,
	.summary = "Names the column with an event's payload."},
	{FIELD(outbox_table_field_event_schema_version), STRING(""),
		.plugin_option = true,
	.summary = "Names the column with the version of an event's schema."},
	{FIELD(outbox_table_fields_additional_placement), STRING(""),
		TEXT_CHECK(check_placements),
		.plugin_option = true,
	.summary = "Places more columns, as \"column:header:alias, column:envelope, column:partition\"."},
	{FIELD(outbox_table_fields_additional_error_on_missing), BOOL(true),
		.plugin_option = true,
	.summary = "Makes a missing additional column an error."},
	{FIELD(outbox_table_expand_json_payload), BOOL(false),
		.plugin_option = true,
	.summary = "Sends JSON payloads as structures."},
	{FIELD(outbox_table_json_payload_null_behavior), ENUM(JSON_NULL_IGNORE, json_payload_nulls),
		.plugin_option = true,
	.summary = "Selects what a null in an expanded payload becomes."},
	{FIELD(outbox_table_json_payload_empty_array_behavior), ENUM(JSON_EMPTY_ARRAY_IGNORE, json_payload_empty_arrays),
		.plugin_option = true,
	.summary = "Selects what an empty array in an expanded payload becomes."},
	{FIELD(outbox_table_op_invalid_behavior), ENUM(OUTBOX_INVALID_WARN, outbox_invalid_behaviors),
		.plugin_option = true,
	.summary = "Selects what an update of an outbox table does."},
	{FIELD(outbox_route_by_field), STRING("aggregatetype"),
		.plugin_option = true,
	.summary = "Names the column that selects an event's topic."},
	{FIELD(outbox_route_topic_regex), STRING("(?<routedByValue>.*)"), TEXT_CHECK(check_regex),
		.plugin_option = true,
	.summary = "Matches the value that selects an event's topic."},
	{FIELD(outbox_route_topic_replacement), STRING("outbox.event.${routedByValue}"),
		.plugin_option = true,
	.summary = "Makes the topic's name of what wal2kafka.outbox_route_topic_regex matched."},
	{FIELD(outbox_route_tombstone_on_empty_payload), BOOL(false),
		.plugin_option = true,
	.summary = "Sends an empty payload as a tombstone."},
};

/* PGC_INTERNAL means that a row did not say. */
static GucContext
context_of(const Setting *setting)
{
	if (setting->context == PGC_INTERNAL)
		return PGC_SUSET;
	/* the server takes no new PGC_POSTMASTER settings once it runs */
	if (setting->context == PGC_POSTMASTER &&
		!process_shared_preload_libraries_in_progress)
		return PGC_SIGHUP;
	return setting->context;
}

static void
define(const Setting *setting)
{
	void	   *field = (char *) &wal2kafka_settings + setting->offset;
	GucContext	context = context_of(setting);

	switch (setting->type)
	{
		case SETTING_BOOL:
			DefineCustomBoolVariable(setting->name, setting->summary,
									 setting->details, field,
									 setting->boot != 0, context,
									 setting->flags, setting->truth_hook,
									 NULL, NULL);
			break;
		case SETTING_INT:
			DefineCustomIntVariable(setting->name, setting->summary,
									setting->details, field, setting->boot,
									setting->min, setting->max, context,
									setting->flags, setting->number_hook,
									NULL, NULL);
			break;
		case SETTING_ENUM:
			DefineCustomEnumVariable(setting->name, setting->summary,
									 setting->details, field, setting->boot,
									 setting->options, context,
									 setting->flags, NULL, NULL, NULL);
			break;
		case SETTING_STRING:
			DefineCustomStringVariable(setting->name, setting->summary,
									   setting->details, field,
									   setting->boot_text, context,
									   setting->flags, setting->text_hook,
									   NULL, NULL);
			break;
	}
}

void
settings_define(void)
{
	for (int i = 0; i < lengthof(settings); i++)
		define(&settings[i]);
	MarkGUCPrefixReserved("wal2kafka");
}

/* ---- values ---- */

static const Setting *
find_setting(const char *full_name)
{
	for (int i = 0; i < lengthof(settings); i++)
		if (pg_strcasecmp(settings[i].name, full_name) == 0)
			return &settings[i];
	return NULL;
}

static bool
parse_enum(const Setting *setting, const char *text, int *value,
		   char *reason)
{
	char		names[REASON_LEN] = "";

	for (const struct config_enum_entry *e = setting->options; e->name; e++)
	{
		if (pg_strcasecmp(text, e->name) == 0)
		{
			*value = e->val;
			return true;
		}
		if (!e->hidden)
			snprintf(names + strlen(names), sizeof(names) - strlen(names),
					 "%s\"%s\"", names[0] ? ", " : "", e->name);
	}
	return refuse(reason, "Allowed are %s.", names);
}

static bool
parse_number(const Setting *setting, const char *text, int *value,
			 char *reason)
{
	const char *hint = NULL;

	if (!parse_int(text, value, setting->flags, &hint))
		return refuse(reason, "%s",
					  hint ? hint : "Allowed is a whole number.");
	if (*value < setting->min || *value > setting->max)
		return refuse(reason, "Allowed are %d to %d%s.", setting->min,
					  setting->max,
					  (setting->flags & GUC_UNIT_KB) ? " kB" :
					  (setting->flags & GUC_UNIT_MS) ? " ms" : "");
	return setting->check_number == NULL ||
		setting->check_number(*value, reason);
}

/*
 * The value that a text means; false and a reason if it is refused.  A
 * string's value is the text itself.
 */
static bool
parse_value(const Setting *setting, const char *text, SettingValue *value,
			char *reason)
{
	switch (setting->type)
	{
		case SETTING_BOOL:
			if (!parse_bool(text, &value->truth))
				return refuse(reason, "Allowed are \"on\" and \"off\".");
			return setting->check_number == NULL ||
				setting->check_number(value->truth, reason);
		case SETTING_INT:
			return parse_number(setting, text, &value->number, reason);
		case SETTING_ENUM:
			return parse_enum(setting, text, &value->number, reason);
		case SETTING_STRING:
			value->text = text;
			return setting->check_text == NULL ||
				setting->check_text(text, reason);
	}
	return false;				/* not reached */
}

Settings *
settings_copy(MemoryContext cxt)
{
	Settings   *copy = MemoryContextAlloc(cxt, sizeof(Settings));

	*copy = wal2kafka_settings;
	for (int i = 0; i < lengthof(settings); i++)
	{
		char	  **field = (char **) ((char *) copy + settings[i].offset);

		if (settings[i].type == SETTING_STRING)
			*field = MemoryContextStrdup(cxt, *field);
	}
	return copy;
}

bool
settings_equal(const Settings *a, const Settings *b)
{
	for (int i = 0; i < lengthof(settings); i++)
	{
		const char *field_a = (const char *) a + settings[i].offset;
		const char *field_b = (const char *) b + settings[i].offset;
		bool		same = false;

		/* which streams there are is the launcher's business */
		if (settings[i].offset < offsetof(Settings, bootstrap_servers))
			continue;
		switch (settings[i].type)
		{
			case SETTING_BOOL:
				same = *(const bool *) field_a == *(const bool *) field_b;
				break;
			case SETTING_INT:
			case SETTING_ENUM:
				same = *(const int *) field_a == *(const int *) field_b;
				break;
			case SETTING_STRING:
				same = strcmp(*(char *const *) field_a,
							  *(char *const *) field_b) == 0;
				break;
		}
		if (!same)
			return false;
	}
	return true;
}

void
settings_apply_option(Settings *copy, const char *name, const char *value)
{
	char		full_name[NAMEDATALEN * 2];
	char		reason[REASON_LEN];
	const Setting *setting;
	SettingValue parsed;
	void	   *field;

	snprintf(full_name, sizeof(full_name), PREFIX "%s", name);
	setting = find_setting(full_name);
	if (setting == NULL || !setting->plugin_option)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 setting == NULL ?
				 errmsg("unrecognized option \"%s\"", name) :
				 errmsg("\"%s\" cannot be set as an option of the output plugin",
						name),
				 setting == NULL ? 0 :
				 errhint("Set \"%s\" instead.", setting->name)));
	if (!parse_value(setting, value, &parsed, reason))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 (setting->flags & GUC_SUPERUSER_ONLY) ?
				 errmsg("invalid value for option \"%s\"", name) :
				 errmsg("invalid value for option \"%s\": \"%s\"",
						name, value),
				 errhint("%s", reason)));

	field = (char *) copy + setting->offset;
	switch (setting->type)
	{
		case SETTING_BOOL:
			*(bool *) field = parsed.truth;
			break;
		case SETTING_INT:
		case SETTING_ENUM:
			*(int *) field = parsed.number;
			break;
		case SETTING_STRING:
			*(char **) field = pstrdup(parsed.text);
			break;
	}
}

char *
settings_refusal(const char *name, const char *text, const char *place,
				 bool in_catalog)
{
	const Setting *setting = find_setting(name);
	SettingValue parsed;
	char		reason[REASON_LEN];

	if (setting == NULL)
		return psprintf("unknown setting \"%s\" in %s", name, place);
	if (in_catalog && setting->context != PGC_INTERNAL)
		return psprintf("\"%s\" in %s is refused. It can only be set in configuration files; RESET ALL removes it here.",
						name, place);
	if (parse_value(setting, text, &parsed, reason))
		return NULL;
	return psprintf("value of \"%s\" in %s is refused. %s", name, place,
					reason);
}
