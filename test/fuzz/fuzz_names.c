/*
 * fuzz_names.c
 *		Names of topics and schemas out of names of tables.
 */
#include "avro_schema.h"
#include "fuzz.h"
#include "topic_name.h"

/* Is every part between dots a name that Avro allows? */
static bool
is_full_name(const char *name)
{
	char	   *copy = pstrdup(name);

	for (char *part = copy, *dot; part != NULL; part = dot ? dot + 1 : NULL)
	{
		dot = strchr(part, '.');
		if (dot != NULL)
			*dot = '\0';
		if (!avro_schema_is_name(part))
			return false;
	}
	return true;
}

void
fuzz_input(const uint8 *data, size_t size)
{
	static const TopicNaming namings[] = {
		TOPIC_NAMING_SCHEMA, TOPIC_NAMING_SCHEMA_UNICODE
	};
	static const NameAdjustment modes[] = {
		NAME_ADJUST_AVRO, NAME_ADJUST_AVRO_UNICODE
	};
	char	   *name = fuzz_part(&data, &size);

	if (name[0] == '\0' || !fuzz_is_utf8(name))
		return;
	for (int i = 0; i < lengthof(namings); i++)
		CHECK(topic_name_is_valid(topic_name_sanitise(name, namings[i])));
	for (int i = 0; i < lengthof(modes); i++)
	{
		CHECK(avro_schema_is_name(topic_name_adjust(name, modes[i], false)));
		CHECK(is_full_name(topic_name_adjust(name, modes[i], true)));
	}
	CHECK(strcmp(topic_name_adjust(name, NAME_ADJUST_NONE, false), name) == 0);
}
