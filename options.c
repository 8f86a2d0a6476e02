/*
 * options.c
 *		Lists of "name=value" for Kafka and the schema registry.
 *
 * Values may be secrets.  So nothing here is put into a message but names of
 * settings, files and lines, and every buffer that held a value is
 * overwritten before it is given back.  For that the parsers report a problem
 * to their caller, which cleans up and then raises the error.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "options.h"
#include "storage/fd.h"

#define MAX_FILE_SIZE	(1024 * 1024)

/* What the parsers found wrong, and where: entry or line, from 1. */
typedef struct Problem
{
	const char *what;			/* NULL: nothing */
	int			place;
} Problem;

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f' ||
		c == '\v';
}

/* In column_transforms, what follows in a name is a salt. */
#define SALT_PART		".with.salt."

/*
 * Property names are the same few characters everywhere, a salt is of any but
 * blanks.
 */
static bool
is_name(const char *start, const char *end)
{
	bool		is_salt = false;

	if (start == end)
		return false;
	for (const char *p = start; p < end; p++)
	{
		if (*p == '.' && end - p > strlen(SALT_PART) &&
			strncmp(p, SALT_PART, strlen(SALT_PART)) == 0)
			is_salt = true;
		if (is_blank(*p))
			return false;
		if (!is_salt &&
			!(*p >= 'a' && *p <= 'z') && !(*p >= 'A' && *p <= 'Z') &&
			!(*p >= '0' && *p <= '9') &&
			*p != '.' && *p != '_' && *p != '-')
			return false;
	}
	return true;
}

/* Narrow [*start, *end) to what is between the blanks around it. */
static void
trim(const char **start, const char **end)
{
	while (*start < *end && is_blank(**start))
		(*start)++;
	while (*start < *end && is_blank((*end)[-1]))
		(*end)--;
}

static void
wipe_string(char *string)
{
	explicit_bzero(string, strlen(string));
	pfree(string);
}

/* The list doubles; it is moved, not the strings in it. */
static void
append_option(OptionList *list, const char *name, size_t name_len, char *value)
{
	if (list->options == NULL)
		list->options = palloc(8 * sizeof(Option));
	else if (list->count >= 8 && (list->count & (list->count - 1)) == 0)
		list->options = repalloc(list->options,
								 2 * list->count * sizeof(Option));
	list->options[list->count].name = pnstrdup(name, name_len);
	list->options[list->count].value = value;
	list->count++;
}

/*
 * Read a quoted value that starts at *pos.  '' stands for one quote.  Returns
 * NULL if the closing quote is missing.
 */
static char *
read_quoted(const char **pos)
{
	const char *p = *pos + 1;
	char	   *value = palloc(strlen(p) + 1);
	char	   *out = value;

	for (; *p != '\0'; p++)
	{
		if (*p == '\'' && p[1] != '\'')
		{
			*out = '\0';
			*pos = p + 1;
			return value;
		}
		if (*p == '\'')
			p++;
		*out++ = *p;
	}
	*out = '\0';
	wipe_string(value);
	return NULL;
}

/*
 * Read one entry of the inline form that starts at *pos, up to and with its
 * semicolon.  Returns what is wrong with it, or NULL.
 */
static const char *
parse_entry(OptionList *list, const char **pos)
{
	const char *p = *pos;
	const char *name = p;
	const char *name_end;
	const char *value;
	const char *value_end;
	char	   *copy;

	while (*p != '\0' && *p != '=' && *p != ';')
		p++;
	name_end = p;
	trim(&name, &name_end);
	if (*p != '=')
	{
		*pos = (*p == ';') ? p + 1 : p;
		return name == name_end ? NULL : "has no \"=\"";
	}
	if (!is_name(name, name_end))
		return "has no valid name before \"=\"";

	p++;
	while (is_blank(*p))
		p++;
	if (*p == '\'')
	{
		copy = read_quoted(&p);
		if (copy == NULL)
			return "has a quote that is not closed";
		while (is_blank(*p))
			p++;
		if (*p != '\0' && *p != ';')
		{
			wipe_string(copy);
			return "has text after the closing quote";
		}
	}
	else
	{
		value = p;
		while (*p != '\0' && *p != ';')
			p++;
		value_end = p;
		trim(&value, &value_end);
		copy = pnstrdup(value, value_end - value);
	}
	append_option(list, name, name_end - name, copy);
	*pos = (*p == ';') ? p + 1 : p;
	return NULL;
}

OptionList
options_parse(const char *setting, const char *text)
{
	OptionList	list = {0};
	const char *p = text;
	int			entry = 0;

	while (p != NULL && *p != '\0')
	{
		const char *problem;

		entry++;
		problem = parse_entry(&list, &p);
		if (problem != NULL)
		{
			options_wipe(&list);
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid value for setting \"%s\"", setting),
					 errdetail("Entry %d %s.", entry, problem),
					 errhint("The form is name=value; name=value.  A value that holds a semicolon is put in single quotes.")));
		}
	}
	return list;
}

/* Split a file's text into options; stop at the first line that is wrong. */
static Problem
parse_lines(OptionList *list, const char *text, size_t len)
{
	const char *end = text + len;
	const char *line = text;
	Problem		problem = {NULL, 0};

	while (line < end)
	{
		const char *next = memchr(line, '\n', end - line);
		const char *line_end = next ? next : end;
		const char *equals;
		const char *value;
		const char *value_end;

		problem.place++;
		value_end = line_end;
		trim(&line, &value_end);
		equals = memchr(line, '=', value_end - line);
		if (line < value_end && *line != '#')
		{
			const char *name = line;
			const char *name_end = equals;

			if (memchr(line, '\0', value_end - line) != NULL)
			{
				problem.what = "holds a zero byte";
				return problem;
			}
			if (equals == NULL)
			{
				problem.what = "has no \"=\"";
				return problem;
			}
			trim(&name, &name_end);
			if (!is_name(name, name_end))
			{
				problem.what = "has no valid name before \"=\"";
				return problem;
			}
			value = equals + 1;
			trim(&value, &value_end);
			append_option(list, name, name_end - name,
						  pnstrdup(value, value_end - value));
		}
		line = next ? next + 1 : end;
	}
	return problem;
}

/*
 * May secrets be read from this file?  Links are followed, since tools that
 * manage configuration use them; what counts is the file that was opened.
 */
static void
check_file(const char *setting, const char *path, int fd, struct stat *st)
{
	if (fstat(fd, st) < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not stat file \"%s\" of setting \"%s\": %m",
						path, setting)));
	if (!S_ISREG(st->st_mode))
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("file \"%s\" of setting \"%s\" is not a regular file",
						path, setting),
				 errhint("Correct the setting.")));
	if (st->st_uid != geteuid() && st->st_uid != 0)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("file \"%s\" of setting \"%s\" must be owned by the server's user or root",
						path, setting),
				 errhint("Change its owner to the server's user.")));
	if (st->st_mode & (S_IRWXG | S_IRWXO))
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("file \"%s\" of setting \"%s\" has group or world access",
						path, setting),
				 errdetail("It may hold secrets, so only its owner may have access."),
				 errhint("Set its permissions to 0600.")));
	if (st->st_size > MAX_FILE_SIZE)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("file \"%s\" of setting \"%s\" is too large",
						path, setting),
				 errdetail("At most %d bytes are read.", MAX_FILE_SIZE)));
}

/*
 * Read at most size bytes.  Returns how many there were, or -1 with errno.
 */
static ssize_t
read_all(int fd, char *buffer, size_t size)
{
	size_t		len = 0;

	while (len < size)
	{
		ssize_t		n = read(fd, buffer + len, size - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		len += n;
	}
	return len;
}

OptionList
options_read_file(const char *setting, const char *path)
{
	OptionList	list = {0};
	Problem		problem = {NULL, 0};
	struct stat st;
	char	   *buffer;
	ssize_t		len;
	int			read_errno;
	int			fd;

	if (path == NULL || *path == '\0')
		return list;

	/* O_NONBLOCK: a pipe in the file's place must not block the server. */
	fd = OpenTransientFile(path, O_RDONLY | O_NONBLOCK | PG_BINARY);
	if (fd < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open file \"%s\" of setting \"%s\": %m",
						path, setting),
				 errhint("Make the file readable for the server's user, or correct the setting.")));
	PG_TRY();
	{
		check_file(setting, path, fd, &st);
	}
	PG_CATCH();
	{
		CloseTransientFile(fd); /* callers may go on after an error */
		PG_RE_THROW();
	}
	PG_END_TRY();

	buffer = palloc(st.st_size + 1);
	len = read_all(fd, buffer, st.st_size);
	read_errno = errno;
	CloseTransientFile(fd);
	if (len >= 0)
		problem = parse_lines(&list, buffer, len);
	explicit_bzero(buffer, st.st_size);
	pfree(buffer);

	if (len < 0)
	{
		errno = read_errno;
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read file \"%s\" of setting \"%s\": %m",
						path, setting)));
	}
	if (problem.what != NULL)
	{
		options_wipe(&list);
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("invalid line in file \"%s\" of setting \"%s\"",
						path, setting),
				 errdetail("Line %d %s.", problem.place, problem.what),
				 errhint("Each line is name=value, empty, or a comment that starts with #.")));
	}
	return list;
}

OptionList
options_read(const char *setting, const char *text,
			 const char *file_setting, const char *path,
			 void (*check) (const char *, const OptionList *, bool))
{
	volatile OptionList parts[2] = {{0}, {0}};	/* inline, from the file */
	OptionList	result = {0};

	PG_TRY();
	{
		OptionList	list = options_parse(setting, text);
		OptionList	from_file;

		parts[0] = list;
		from_file = options_read_file(file_setting, path);
		parts[1] = from_file;
		check(setting, &list, false);
		check(file_setting, &from_file, true);
		result.options = palloc0(sizeof(Option) *
								 Max(list.count + from_file.count, 1));
	}
	PG_CATCH();
	{
		for (int i = 0; i < lengthof(parts); i++)
		{
			OptionList	list = parts[i];

			options_wipe(&list);
		}
		PG_RE_THROW();
	}
	PG_END_TRY();

	for (int i = 0; i < lengthof(parts); i++)
	{
		if (parts[i].count > 0)
			memcpy(result.options + result.count, parts[i].options,
				   sizeof(Option) * parts[i].count);
		result.count += parts[i].count;
	}
	return result;
}

void
options_wipe(OptionList *list)
{
	for (int i = 0; i < list->count; i++)
	{
		pfree(list->options[i].name);
		wipe_string(list->options[i].value);
	}
	if (list->options != NULL)
		pfree(list->options);
	list->options = NULL;
	list->count = 0;
}

char *
options_trim(char *item)
{
	char	   *end = item + strlen(item);

	while (isspace((unsigned char) *item))
		item++;
	while (end > item && isspace((unsigned char) end[-1]))
		end--;
	*end = '\0';
	return item;
}
