/*
 * test_options.c
 *		Both forms of option lists: what is read, what is refused, and that no
 *		message ever has a value.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "options.h"
#include "server_shim.h"

#define SECRET	"hunter2"

static int	passed;
static int	failed;
static char path[64];

static void
check(bool ok, const char *what)
{
	if (ok)
		passed++;
	else
	{
		failed++;
		printf("not ok - %s (%s / %s)\n", what, shim_error.message,
			   shim_error.detail);
	}
}

/* Is the list name1, value1, name2, value2, ... NULL? */
static bool
list_is(const OptionList *list, const char *const *expected)
{
	int			i;

	for (i = 0; expected[2 * i] != NULL; i++)
	{
		if (i >= list->count ||
			strcmp(list->options[i].name, expected[2 * i]) != 0 ||
			strcmp(list->options[i].value, expected[2 * i + 1]) != 0)
			return false;
	}
	return i == list->count;
}

static void
inline_is(const char *text, const char *const *expected)
{
	OptionList	list = {0};
	bool		raised;

	RAISES(raised, list = options_parse("the.setting", text));
	check(!raised && list_is(&list, expected), text);
	options_wipe(&list);
	check(list.count == 0 && list.options == NULL, "wiped");
}

/* The error names the setting and the place, and shows no value. */
static void
error_is(bool raised, const char *place, const char *what)
{
	check(raised && strstr(shim_error.message, "the.setting") != NULL &&
		  strstr(shim_error.message, SECRET) == NULL &&
		  strstr(shim_error.detail, SECRET) == NULL &&
		  strstr(shim_error.hint, SECRET) == NULL &&
		  strstr(shim_error.detail, place) != NULL, what);
}

static void
inline_fails(const char *text, const char *place)
{
	bool		raised;

	RAISES(raised, options_parse("the.setting", text));
	error_is(raised, place, text);
}

static void
write_file(const char *text, size_t len, mode_t mode)
{
	int			fd;

	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (fd < 0 || write(fd, text, len) != (ssize_t) len ||
		fchmod(fd, mode) != 0)
		abort();
	close(fd);
}

static void
file_is(const char *text, const char *const *expected)
{
	OptionList	list = {0};
	bool		raised;

	write_file(text, strlen(text), 0600);
	RAISES(raised, list = options_read_file("the.setting", path));
	check(!raised && list_is(&list, expected), text);
	options_wipe(&list);
}

static void
file_fails(const char *text, size_t len, mode_t mode, const char *place)
{
	bool		raised;

	write_file(text, len, mode);
	RAISES(raised, options_read_file("the.setting", path));
	error_is(raised, place, text);
	check(strstr(shim_error.message, path) != NULL, "file is named");
}

#define LIST(...) ((const char *const[]){__VA_ARGS__ __VA_OPT__(,) NULL})

static void
inline_form(void)
{
	inline_is("", LIST());
	inline_is("  ; ;;\n", LIST());
	inline_is("a=1", LIST("a", "1"));
	inline_is(" a = 1 ;\tb.c-d_E=x y ; ", LIST("a", "1", "b.c-d_E", "x y"));
	inline_is("a=;b=''", LIST("a", "", "b", ""));
	inline_is("a='1;2' ; b='it''s'", LIST("a", "1;2", "b", "it's"));
	inline_is("a=b=c", LIST("a", "b=c"));
	inline_is("a=x'y", LIST("a", "x'y"));
	inline_fails("a=1; " SECRET, "Entry 2");
	inline_fails("a='" SECRET, "Entry 1");
	inline_fails("a='" SECRET "' x", "Entry 1");
	inline_fails("=" SECRET, "Entry 1");
	inline_fails("a b=" SECRET, "Entry 1");
	inline_fails("a='x';b='" SECRET "''", "Entry 2");
}

static void
many(void)
{
	char	   *text = calloc(1, 1000 * 32);
	OptionList	list;
	bool		ok = true;

	for (int i = 0; i < 1000; i++)
		snprintf(text + strlen(text), 32, "name.%d=value%d;", i, i);
	list = options_parse("the.setting", text);
	for (int i = 0; i < list.count; i++)
		ok = ok && atoi(list.options[i].name + 5) == i &&
			atoi(list.options[i].value + 5) == i;
	check(ok && list.count == 1000, "a thousand options");
	options_wipe(&list);
	free(text);
}

static void
file_form(void)
{
	OptionList	list;
	char		link_path[80];
	char	   *large = calloc(1, 1024 * 1024 + 2);
	bool		raised;

	list = options_read_file("the.setting", "");
	check(list.count == 0, "no file");
	file_is("", LIST());
	file_is("a=1", LIST("a", "1"));
	file_is("# comment\r\n\r\n a = 1 \r\nb=x;y#z '\n#c=d\n",
			LIST("a", "1", "b", "x;y#z '"));
	file_fails("a=1\n\n" SECRET "\n", 11 + 2, 0600, "Line 3");
	file_fails("a=1\n=" SECRET, 12, 0600, "Line 2");
	file_fails("a=x\0y\n", 6, 0600, "Line 1");
	file_fails("a=" SECRET, 9, 0640, "");
	file_fails("a=" SECRET, 9, 0604, "");

	snprintf(link_path, sizeof(link_path), "%s.link", path);
	write_file("a=1\n", 4, 0600);
	unlink(link_path);
	if (symlink(path, link_path) != 0)
		abort();
	list = options_read_file("the.setting", link_path);
	check(list_is(&list, LIST("a", "1")), "a symbolic link is followed");
	options_wipe(&list);
	unlink(link_path);

	memset(large, '#', 1024 * 1024 + 1);
	write_file(large, 1024 * 1024 + 1, 0600);
	RAISES(raised, options_read_file("the.setting", path));
	error_is(raised, "1048576", "a file that is too large");
	free(large);

	unlink(path);
	RAISES(raised, options_read_file("the.setting", path));
	error_is(raised, "", "no such file");
	RAISES(raised, options_read_file("the.setting", "/tmp"));
	error_is(raised, "", "a directory");
	if (mkfifo(path, 0600) != 0)
		abort();
	RAISES(raised, options_read_file("the.setting", path));
	error_is(raised, "", "a named pipe");
	unlink(path);
	if (geteuid() == 0)
	{
		write_file("a=1", 3, 0600);
		if (chown(path, 12345, 12345) != 0)
			abort();
		RAISES(raised, options_read_file("the.setting", path));
		error_is(raised, "", "somebody else's file");
		unlink(path);
	}
}

static void
refuse_nothing(const char *setting, const OptionList *options, bool from_file)
{
}

static void
refuse_file(const char *setting, const OptionList *options, bool from_file)
{
	if (from_file)
		ereport(ERROR,
				(errmsg("%s has %d options", setting, options->count)));
}

/*
 * Nothing of a secret is left, whatever comes in between.
 */
static void
wiped(void)
{
	OptionList	list;
	bool		raised;

	shim_secret = SECRET;
	write_file("b=2\nc=" SECRET "\n", 6 + strlen(SECRET) + 1, 0600);
	list = options_read("the.setting", "a=1; s=" SECRET, "the.file", path,
						refuse_nothing);
	check(list_is(&list, LIST("a", "1", "s", SECRET, "b", "2", "c", SECRET)),
		  "both forms together");
	check(shim_keeps_secret(), "a secret is found in memory");
	options_wipe(&list);
	check(!shim_keeps_secret() && shim_exposed == 0, "wiped in the end");

	RAISES(raised, options_read("the.setting", "a=1; s=" SECRET, "the.file",
								path, refuse_file));
	check(raised && strcmp(shim_error.message, "the.file has 2 options") == 0,
		  "a check's error");
	check(!shim_keeps_secret() && shim_exposed == 0,
		  "wiped when an option is refused");
	unlink(path);
	RAISES(raised, options_read("the.setting", "s=" SECRET, "the.file", path,
								refuse_nothing));
	check(raised && !shim_keeps_secret() && shim_exposed == 0,
		  "wiped when there is no file");
	shim_secret = NULL;
}

int
main(void)
{
	snprintf(path, sizeof(path), "/tmp/test_options.%d", (int) getpid());
	inline_form();
	many();
	file_form();
	wiped();
	printf("test_options: %d passed, %d failed\n", passed, failed);
	return failed == 0 ? 0 : 1;
}
