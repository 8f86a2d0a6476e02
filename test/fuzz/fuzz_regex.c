/*
 * fuzz_regex.c
 *		Lists of regular expressions, rules and their replacements.
 *
 * Input: a letter, an expression or a list, NUL, a subject, NUL, a
 * replacement.
 */
#include "fuzz.h"
#include "preload/regex_list.h"

static void
try_list(const char *list, const char *subject)
{
	char		reason[256];
	bool		accepted = regex_list_check(list, reason, sizeof(reason));
	RegexList  *compiled;
	bool		raised;
	int			cursor = 0;
	int			unmatched = 0;

	RAISES(raised, compiled = regex_list_compile(CurrentMemoryContext, list));
	CHECK(raised == !accepted);
	if (raised)
		return;
	regex_list_note(compiled, subject);
	while (regex_list_unmatched(compiled, &cursor) != NULL)
		unmatched++;
	CHECK((unmatched < regex_list_size(compiled)) ==
		  regex_list_matches(compiled, subject));
}

static void
try_rule(const char *expression, const char *subject, const char *replacement)
{
	RegexRule  *rule = regex_rule_compile(CurrentMemoryContext, expression,
										  replacement);
	char	   *replaced = regex_rule_apply(rule, subject);

	/* only what was valid before is known to be so afterwards */
	if (replaced != NULL && fuzz_is_utf8(replacement))
		CHECK(strlen(replaced) < 1024 * 1024);
}

void
fuzz_input(const uint8 *data, size_t size)
{
	bool		is_list;
	char	   *expression;
	char	   *subject;
	char	   *replacement;

	if (size < 2)
		return;
	is_list = data[0] == 'l';
	data++;
	size--;
	expression = fuzz_part(&data, &size);
	subject = fuzz_part(&data, &size);
	replacement = fuzz_part(&data, &size);
	/* streams compile and match UTF-8 only */
	if (!fuzz_is_utf8(expression) || !fuzz_is_utf8(subject))
		return;
	if (is_list)
		try_list(expression, subject);
	else
		try_rule(expression, subject, replacement);
}
