/*
 * fuzz_options.c
 *		Lists of options: the inline form and the file.
 *
 * The setting's check and the parser are two readers of one grammar.  What
 * the check lets pass must be no secret and no command as the parser reads
 * it.
 */
#include "../../preload/settings.c"

/* both files have functions of these names */
#define is_name		options_is_name
#include "../../options.c"

#include "fuzz.h"

static void
check_inline(const char *text)
{
	char		reason[REASON_LEN];
	bool		accepted = check_inline_options(text, reason);
	OptionList	list = options_parse("fuzz", text);

	for (int i = 0; accepted && i < list.count; i++)
		CHECK(settings_option_refusal(list.options[i].name,
									  list.options[i].value, false) == NULL);
	options_wipe(&list);
}

void
fuzz_input(const uint8 *data, size_t size)
{
	if (size == 0)
		return;
	if (data[0] == 'f')
	{
		OptionList	list = {0};
		Problem		problem = parse_lines(&list, (const char *) data + 1,
										  size - 1);

		for (int i = 0; problem.what == NULL && i < list.count; i++)
			CHECK(list.options[i].name[0] != '\0' &&
				  strchr(list.options[i].value, '\n') == NULL);
		options_wipe(&list);
	}
	else
		check_inline(fuzz_string(data + 1, size - 1));
}
