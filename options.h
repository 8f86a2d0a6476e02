/*
 * options.h
 *		Lists of "name=value" for Kafka and the schema registry.
 *
 * The inline form is a setting, "name=value; name=value"; a value may be
 * quoted with ' to hold a semicolon.  The file form has one name=value a
 * line, # starts a comment.  Files hold secrets, so they are refused unless
 * they are owned by the server's user (or root) and nobody else may read
 * them.  No error ever quotes a value.
 */
#ifndef WAL2KAFKA_OPTIONS_H
#define WAL2KAFKA_OPTIONS_H

typedef struct Option
{
	char	   *name;
	char	   *value;
} Option;

typedef struct OptionList
{
	int			count;
	Option	   *options;
} OptionList;

/*
 * Parse; palloc'd in CurrentMemoryContext.  Raise
 * ERRCODE_INVALID_PARAMETER_VALUE or a file-access errcode, naming setting,
 * file and line.  An empty text or path is an empty list.
 */
extern OptionList options_parse(const char *setting, const char *text);
extern OptionList options_read_file(const char *setting, const char *path);

/*
 * Both together, each checked: the setting's, then the file's, which is the
 * place for secrets.
 */
extern OptionList options_read(const char *setting, const char *text,
							   const char *file_setting, const char *path,
							   void (*check) (const char *setting,
											  const OptionList *options,
											  bool from_file));

/* Cut spaces off both ends, in place. */
extern char *options_trim(char *item);

/* Overwrite all values with zeroes and free the list. */
extern void options_wipe(OptionList *list);

#endif							/* WAL2KAFKA_OPTIONS_H */
