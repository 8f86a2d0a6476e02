/*
 * regex_list.h
 *		Lists of regular expressions, as Debezium's options have them:
 *		separated by commas, matched as a whole and without regard to case.
 *
 * The syntax is Java's as far as PCRE2 has it, which is nearly all.  A comma
 * inside an expression is written "\,".  Nothing here needs the server's
 * catalogs; PCRE2 allocates with malloc() and raises nothing.
 */
#ifndef WAL2KAFKA_REGEX_LIST_H
#define WAL2KAFKA_REGEX_LIST_H

#include "postgres.h"

typedef struct RegexList RegexList;

/*
 * Does every expression compile?  If not, reason (of size bytes) gets a
 * sentence that says which does not, and why.  Allocates nothing that lasts
 * and raises nothing: for check hooks.
 */
extern PGDLLEXPORT bool regex_list_check(const char *list, char *reason,
										 size_t size);

/*
 * Compile a list; NULL for one without expressions.  Freed with cxt.  Raises
 * ERRCODE_INVALID_REGULAR_EXPRESSION.
 */
extern PGDLLEXPORT RegexList *regex_list_compile(MemoryContext cxt,
												 const char *list);

/*
 * Does one of the expressions match the whole subject?  False for a NULL
 * list.  The subject is UTF-8.  Raises ERRCODE_STATEMENT_TOO_COMPLEX when an
 * expression takes too many steps.
 */
extern PGDLLEXPORT bool regex_list_matches(const RegexList *list,
										   const char *subject);

/* How many expressions there are; 0 for a NULL list. */
extern PGDLLEXPORT int regex_list_size(const RegexList *list);

/*
 * To find expressions that match nothing: note every subject there is, then
 * ask for the next expression that matched none of them, NULL at the end.
 * *cursor starts at 0.
 */
extern PGDLLEXPORT void regex_list_note(const RegexList *list,
										const char *subject);
extern PGDLLEXPORT const char *regex_list_unmatched(const RegexList *list,
													int *cursor);

/*
 * One expression and what replaces its match: "$1" and "${name}" are groups,
 * a backslash takes the next character as it is, as in Java's
 * Matcher.replaceFirst().  Here case counts, unless the expression begins
 * with (?i).  Compiling raises as regex_list_compile() does, and
 * ERRCODE_INVALID_PARAMETER_VALUE for a replacement that is malformed or names
 * a group that the expression lacks.
 */
typedef struct RegexRule RegexRule;

extern PGDLLEXPORT bool regex_rule_check(const char *expression, char *reason,
										 size_t size);
extern PGDLLEXPORT RegexRule *regex_rule_compile(MemoryContext cxt,
												 const char *expression,
												 const char *replacement);

/*
 * The subject, replaced; NULL if the expression does not match all of it.
 * Palloc'd.  Raises as regex_list_matches() does.
 */
extern PGDLLEXPORT char *regex_rule_apply(const RegexRule *rule,
										  const char *subject);

#endif							/* WAL2KAFKA_REGEX_LIST_H */
