/*
 * fuzz_settings.c
 *		Checks of all settings with a grammar, and of names of streams.
 *
 * Input: the setting's name (or any byte, which chooses one), NUL, "s" for a
 * list of streams, the text.
 */
#include "../../preload/settings.c"

#include "fuzz.h"

/* What a stream's name is written as is read as the same. */
static void
check_stream_names(const char *text)
{
	const char *cursor = text;
	const char *problem;
	StreamName	name;

	while (settings_next_stream(&cursor, &name, &problem))
	{
		const char *again = name.text;
		StreamName	same;

		CHECK(strlen(name.text) < sizeof(name.text));
		CHECK(settings_next_stream(&again, &same, &problem));
		CHECK(*again == '\0' && strcmp(same.text, name.text) == 0 &&
			  strcmp(same.database, name.database) == 0 &&
			  strcmp(same.role, name.role) == 0);
	}
	CHECK(problem != NULL || *skip_space(cursor) == '\0');
}

static const Setting *
choose_setting(const char *name)
{
	for (int i = 0; i < lengthof(settings); i++)
		if (strcmp(settings[i].name, name) == 0)
			return &settings[i];
	return &settings[(unsigned char) name[0] % lengthof(settings)];
}

void
fuzz_input(const uint8 *data, size_t size)
{
	const Setting *setting = choose_setting(fuzz_part(&data, &size));
	char		reason[REASON_LEN];
	char	   *text;

	if (size < 1)
		return;
	text = fuzz_string(data + 1, size - 1);
	if (data[0] == 's')
		check_stream_names(text);
	else if (setting->check_text != NULL &&
			 setting->check_text != check_paused_until)
	{
		memset(reason, 0x55, sizeof(reason));
		if (!setting->check_text(text, reason))
			CHECK(reason[0] != '\0' && strnlen(reason, REASON_LEN) < REASON_LEN);
		else if (setting->check_text == check_skipped_operations)
			(void) settings_skipped_operations(text);
	}
}
