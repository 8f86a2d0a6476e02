/*
 * regex_list.c
 *		Lists of regular expressions, as Debezium's options have them.
 *
 * PCRE2, not the server's own engine: its syntax is Java's (named groups,
 * look-behind, \Q...\E), and it can be called from a check hook in the
 * postmaster.  An expression that explodes on a name meets PCRE2's limit of
 * steps and is an error, not an endless loop.
 */
#define PCRE2_CODE_UNIT_WIDTH 8

#include "postgres.h"

#include <pcre2.h>

#include "access/xact.h"
#include "common/string.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/memutils.h"

#include "regex_list.h"

#define MATCH_LIMIT		1000000
#define LIST_FLAGS		(PCRE2_CASELESS | PCRE2_UTF)
#define RULE_FLAGS		PCRE2_UTF

typedef struct Expression
{
	char	   *text;
	pcre2_code *code;
	pcre2_match_data *match;
	bool		matched;
} Expression;

struct RegexList
{
	int			count;
	Expression *expressions;
	pcre2_match_context *limits;
};

struct RegexRule
{
	Expression	expression;
	pcre2_match_context *limits;
	char	   *replacement;
};

/*
 * The next expression of a list into out, which has room for all of the list.
 * False at the end.  Only commas are unescaped; an empty expression is passed
 * over.
 */
static bool
next_expression(const char **cursor, char *out)
{
	const char *p = *cursor;
	int			len = 0;

	while (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r' || *p == ',')
		p++;
	if (*p == '\0')
		return false;
	for (; *p != '\0' && *p != ','; p++)
	{
		if (*p == '\\' && p[1] == ',')
			p++;
		else if (*p == '\\' && p[1] != '\0')
			out[len++] = *p++;
		out[len++] = *p;
	}
	while (len > 0 && (out[len - 1] == ' ' || out[len - 1] == '\t' ||
					   out[len - 1] == '\n' || out[len - 1] == '\r'))
		len--;
	out[len] = '\0';
	*cursor = p;
	return true;
}

/*
 * Compile one; NULL, and what is wrong in reason.
 */
static pcre2_code *
compile(const char *text, uint32_t flags, char *reason, size_t size)
{
	int			error;
	PCRE2_SIZE	offset;
	pcre2_code *code = pcre2_compile((PCRE2_SPTR) text, PCRE2_ZERO_TERMINATED,
									 flags | PCRE2_NEVER_BACKSLASH_C,
									 &error, &offset, NULL);
	char		message[128];

	if (code != NULL)
		return code;
	pcre2_get_error_message(error, (PCRE2_UCHAR *) message, sizeof(message));
	snprintf(reason, size, "The regular expression has a mistake at character %d: %s.",
			 (int) offset + 1, message);
	return NULL;
}

/*
 * A setting is in the encoding of the database that it is for, which a check
 * does not know.  What is no UTF-8 is checked byte by byte.
 */
static uint32_t
flags_for_check(const char *text, uint32_t flags)
{
	int			len = (int) strlen(text);

	if (pg_encoding_verifymbstr(PG_UTF8, text, len) == len)
		return flags;
	return flags & ~PCRE2_UTF;
}

bool
regex_list_check(const char *list, char *reason, size_t size)
{
	const char *cursor = list;
	char	   *text = malloc(strlen(list) + 1);
	bool		ok = true;
	int			n = 0;

	if (text == NULL)
	{
		snprintf(reason, size, "There is no memory to check it.");
		return false;
	}
	while (ok && next_expression(&cursor, text))
	{
		char		why[192];
		uint32_t	flags = flags_for_check(text, LIST_FLAGS);
		pcre2_code *code = compile(text, flags, why, sizeof(why));

		n++;
		if (code == NULL)
			snprintf(reason, size, "Entry %d is refused. %s", n, why);
		ok = code != NULL;
		pcre2_code_free(code);
	}
	free(text);
	return ok;
}

bool
regex_rule_check(const char *expression, char *reason, size_t size)
{
	pcre2_code *code = compile(expression,
							   flags_for_check(expression, RULE_FLAGS),
							   reason, size);

	pcre2_code_free(code);
	return code != NULL;
}

static void
free_expression(Expression *expression)
{
	pcre2_match_data_free(expression->match);
	pcre2_code_free(expression->code);
}

static void
free_list(void *arg)
{
	RegexList  *list = arg;

	for (int i = 0; i < list->count; i++)
		free_expression(&list->expressions[i]);
	pcre2_match_context_free(list->limits);
}

static void
free_rule(void *arg)
{
	RegexRule  *rule = arg;

	free_expression(&rule->expression);
	pcre2_match_context_free(rule->limits);
}

static void
free_with_context(MemoryContext cxt, MemoryContextCallbackFunction func,
				  void *arg)
{
	MemoryContextCallback *callback =
		MemoryContextAllocZero(cxt, sizeof(MemoryContextCallback));

	callback->func = func;
	callback->arg = arg;
	MemoryContextRegisterResetCallback(cxt, callback);
}

static pcre2_match_context *
make_limits(void)
{
	pcre2_match_context *limits = pcre2_match_context_create(NULL);

	if (limits == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	pcre2_set_match_limit(limits, MATCH_LIMIT);
	return limits;
}

/*
 * The text in UTF-8; itself, or palloc'd.  A conversion looks for its
 * function in the catalogs, and streams compile their lists outside of
 * transactions.
 */
static const char *
in_utf8(const char *text)
{
	MemoryContext caller = CurrentMemoryContext;
	bool		own = !IsTransactionState();
	const char *result;

	if (GetDatabaseEncoding() == PG_UTF8 || pg_is_ascii(text))
		return text;
	if (own)
		StartTransactionCommand();
	result = MemoryContextStrdup(caller, pg_server_to_any(text, strlen(text),
														  PG_UTF8));
	if (own)
		CommitTransactionCommand();
	MemoryContextSwitchTo(caller);
	return result;
}

/*
 * Whatever of the expression exists is freed by the caller's callback.
 */
static void
compile_expression(Expression *expression, MemoryContext cxt,
				   const char *text, uint32_t flags)
{
	char		reason[192];
	const char *utf8 = in_utf8(text);

	expression->text = MemoryContextStrdup(cxt, utf8);
	expression->code = compile(utf8, flags, reason, sizeof(reason));
	if (expression->code == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_REGULAR_EXPRESSION),
				 errmsg("invalid regular expression \"%s\"", text),
				 errdetail("%s", reason)));
	expression->match =
		pcre2_match_data_create_from_pattern(expression->code, NULL);
	if (expression->match == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
}

RegexList *
regex_list_compile(MemoryContext cxt, const char *list)
{
	const char *cursor = list;
	char	   *text = palloc(strlen(list) + 1);
	RegexList  *result;
	int			count = 0;

	while (next_expression(&cursor, text))
		count++;
	if (count == 0)
		return NULL;

	result = MemoryContextAllocZero(cxt, sizeof(RegexList));
	result->expressions = MemoryContextAllocZero(cxt,
												 count * sizeof(Expression));
	free_with_context(cxt, free_list, result);
	result->limits = make_limits();
	cursor = list;
	while (next_expression(&cursor, text))
		compile_expression(&result->expressions[result->count++], cxt, text,
						   LIST_FLAGS);
	pfree(text);
	return result;
}

static bool
matches(const Expression *expression, pcre2_match_context *limits,
		const char *subject)
{
	int			result = pcre2_match(expression->code, (PCRE2_SPTR) subject,
									 strlen(subject), 0,
									 PCRE2_ANCHORED | PCRE2_ENDANCHORED,
									 expression->match, limits);

	if (result < 0 && result != PCRE2_ERROR_NOMATCH)
	{
		char		message[128];

		pcre2_get_error_message(result, (PCRE2_UCHAR *) message,
								sizeof(message));
		ereport(ERROR,
				(errcode(ERRCODE_STATEMENT_TOO_COMPLEX),
				 errmsg("regular expression \"%s\" cannot be matched with \"%s\": %s",
						expression->text, subject, message)));
	}
	return result >= 0;
}

bool
regex_list_matches(const RegexList *list, const char *subject)
{
	if (list == NULL)
		return false;
	for (int i = 0; i < list->count; i++)
		if (matches(&list->expressions[i], list->limits, subject))
			return true;
	return false;
}

int
regex_list_size(const RegexList *list)
{
	return list != NULL ? list->count : 0;
}

void
regex_list_note(const RegexList *list, const char *subject)
{
	for (int i = 0; i < regex_list_size(list); i++)
		if (!list->expressions[i].matched)
			list->expressions[i].matched =
				matches(&list->expressions[i], list->limits, subject);
}

const char *
regex_list_unmatched(const RegexList *list, int *cursor)
{
	while (*cursor < regex_list_size(list))
	{
		const Expression *expression = &list->expressions[(*cursor)++];

		if (!expression->matched)
			return expression->text;
	}
	return NULL;
}

static void
raise_replacement(const RegexRule *rule, const char *reason)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid replacement \"%s\" for regular expression \"%s\"",
					rule->replacement, rule->expression.text),
			 errdetail("%s", reason)));
}

/*
 * Append what a group matched, nothing if it took no part.
 */
static void
append_group(StringInfo out, const RegexRule *rule, const char *subject,
			 int group)
{
	const PCRE2_SIZE *bounds =
		pcre2_get_ovector_pointer(rule->expression.match);
	PCRE2_SIZE	start = bounds[2 * group];
	PCRE2_SIZE	end = bounds[2 * group + 1];

	if (start != PCRE2_UNSET && end > start)
		appendBinaryStringInfo(out, subject + start, (int) (end - start));
}

/*
 * The group that "$1" or "${name}" names; *cursor is behind the dollar, and
 * moves behind the name.  Of digits as many count as make the number of a
 * group that there is, but at least one.
 */
static int
referred_group(const RegexRule *rule, const char **cursor)
{
	const char *p = *cursor;
	uint32_t	ngroups;
	int			group;

	if (*p == '{')
	{
		const char *end = strchr(++p, '}');

		if (end == NULL || end == p)
			raise_replacement(rule, "A name in it has no closing brace, or is empty.");
		*cursor = end + 1;
		group = pcre2_substring_number_from_name(rule->expression.code,
												 (PCRE2_SPTR) pnstrdup(p, end - p));
		if (group < 0)
			raise_replacement(rule, "It names a group that the expression does not have.");
		return group;
	}

	pcre2_pattern_info(rule->expression.code, PCRE2_INFO_CAPTURECOUNT,
					   &ngroups);
	if (*p < '0' || *p > '9')
		raise_replacement(rule, "After a dollar there is a group's number or its name in braces. A dollar itself is written \"\\$\".");
	group = *p++ - '0';
	if (group > (int) ngroups)
		raise_replacement(rule, "It names a group that the expression does not have.");
	for (; *p >= '0' && *p <= '9'; p++)
	{
		int			longer = group * 10 + (*p - '0');

		if (longer > (int) ngroups)
			break;
		group = longer;
	}
	*cursor = p;
	return group;
}

/*
 * Append the replacement of the match that was found last.  Without a subject
 * there was none: it is only checked.
 */
static void
append_replacement(StringInfo out, const RegexRule *rule, const char *subject)
{
	const char *p = rule->replacement;

	while (*p != '\0')
	{
		if (*p == '\\')
		{
			if (*++p == '\0')
				raise_replacement(rule, "It ends with a backslash.");
			appendStringInfoChar(out, *p++);
		}
		else if (*p == '$')
		{
			int			group;

			p++;
			group = referred_group(rule, &p);
			if (subject != NULL)
				append_group(out, rule, subject, group);
		}
		else
			appendStringInfoChar(out, *p++);
	}
}

RegexRule *
regex_rule_compile(MemoryContext cxt, const char *expression,
				   const char *replacement)
{
	RegexRule  *rule = MemoryContextAllocZero(cxt, sizeof(RegexRule));
	StringInfoData nothing;

	free_with_context(cxt, free_rule, rule);
	rule->limits = make_limits();
	compile_expression(&rule->expression, cxt, expression, RULE_FLAGS);
	rule->replacement = MemoryContextStrdup(cxt, in_utf8(replacement));

	/* a mistake in it is one now, not when a table comes that it is for */
	initStringInfo(&nothing);
	append_replacement(&nothing, rule, NULL);
	pfree(nothing.data);
	return rule;
}

char *
regex_rule_apply(const RegexRule *rule, const char *subject)
{
	const PCRE2_SIZE *bounds;
	StringInfoData out;
	size_t		len = strlen(subject);

	if (!matches(&rule->expression, rule->limits, subject))
		return NULL;

	/*
	 * What is replaced is the first match, as Java's replaceFirst() finds it,
	 * which may be shorter: "a|ab" matches all of "ab", and finds "a".
	 */
	if (pcre2_match(rule->expression.code, (PCRE2_SPTR) subject, len, 0, 0,
					rule->expression.match, rule->limits) < 0)
		return NULL;
	bounds = pcre2_get_ovector_pointer(rule->expression.match);
	initStringInfo(&out);
	appendBinaryStringInfo(&out, subject, (int) bounds[0]);
	append_replacement(&out, rule, subject);
	appendBinaryStringInfo(&out, subject + bounds[1], (int) (len - bounds[1]));
	return out.data;
}
