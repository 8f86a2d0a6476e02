/*
 * connection_files.c
 *		The files that connections are made with, and whether they changed.
 *
 * What counts is what a file holds, not its time: tools that renew
 * certificates write files anew, put others in their places, or turn a link
 * to another folder.  A file may be looked at while it is being written, or
 * when the certificate is new and the key is not yet.  So what has changed is
 * tried before anything is given up for it, and tried again when it has
 * changed once more.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/hashfn.h"
#include "connection_files.h"
#include "kafka_sink.h"
#include "miscadmin.h"
#include "options.h"
#include "registry.h"
#include "utils/memutils.h"

/* No more is read of a file: a list of all authorities has a tenth of it. */
#define MAX_READ_BYTES		(4 * 1024 * 1024)

static uint64
add_to_digest(uint64 digest, const void *data, size_t len)
{
	return hash_bytes_extended(data, (int) len, digest);
}

/*
 * Add a file: what it holds, and whether it may be used.
 */
static uint64
add_file(uint64 digest, const char *path)
{
	uint8		buffer[8192];
	struct stat st;
	int64		facts[4] = {0};
	size_t		total = 0;
	ssize_t		len = 0;
	int			fd;

	/* O_NONBLOCK: a pipe in the file's place must not block the server */
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
	{
		facts[0] = errno;
		return add_to_digest(digest, facts, sizeof(facts));
	}
	if (fstat(fd, &st) == 0)
	{
		facts[1] = st.st_mode;
		facts[2] = st.st_uid;
		/* a folder of authorities: when one came or went */
		facts[3] = S_ISREG(st.st_mode) ? 0 : (int64) st.st_mtime;
		while (S_ISREG(st.st_mode) && total < MAX_READ_BYTES &&
			   ((len = read(fd, buffer, sizeof(buffer))) > 0 ||
				(len < 0 && errno == EINTR)))
		{
			if (len < 0)
				continue;
			digest = add_to_digest(digest, buffer, len);
			total += len;
		}
		if (len < 0)
			facts[0] = errno;
	}
	close(fd);
	explicit_bzero(buffer, sizeof(buffer));
	return add_to_digest(digest, facts, sizeof(facts));
}

/*
 * Does the option name a file, as certificates' and keys' do?
 */
static bool
names_file(const Option *option)
{
	static const char suffix[] = ".location";
	size_t		len = strlen(option->name);

	return len > strlen(suffix) && option->value[0] == '/' &&
		strcmp(option->name + len - strlen(suffix), suffix) == 0;
}

static uint64
add_named_files(uint64 digest, const OptionList *options)
{
	for (int i = 0; i < options->count; i++)
	{
		if (names_file(&options->options[i]))
			digest = add_file(digest, options->options[i].value);
	}
	return digest;
}

/*
 * Add the files of one pair of settings.  A file of options that cannot be
 * read names none, which is no error here.
 */
static uint64
add_settings(uint64 digest, const char *setting, const char *text,
			 const char *file_setting, const char *path)
{
	MemoryContext cxt = CurrentMemoryContext;
	volatile uint64 result = digest;	/* as far as it got */
	OptionList	options;

	if (path[0] != '\0')
		result = add_file(result, path);
	PG_TRY();
	{
		options = options_parse(setting, text);
		result = add_named_files(result, &options);
		options_wipe(&options);
		options = options_read_file(file_setting, path);
		result = add_named_files(result, &options);
		options_wipe(&options);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(cxt);
		FlushErrorState();
	}
	PG_END_TRY();
	return result;
}

uint64
connection_files_digest(const Settings *settings)
{
	uint64		digest = 0;

	digest = add_settings(digest, "wal2kafka.kafka_options",
						  settings->kafka_options,
						  "wal2kafka.kafka_options_file",
						  settings->kafka_options_file);
	if (settings->schema_registry_url[0] != '\0')
		digest = add_settings(digest, "wal2kafka.schema_registry_options",
							  settings->schema_registry_options,
							  "wal2kafka.schema_registry_options_file",
							  settings->schema_registry_options_file);
	return digest;
}

static void
no_ack(void *arg, uint64 ticket)
{
}

static void
no_wait(void *arg, RegistryProblem problem, const char *reason)
{
}

/*
 * Make a producer and a client, and give them up.  The process lives on, also
 * when that fails: so nothing may be left of the secrets.
 */
static void
try_files(const Settings *settings)
{
	KafkaSinkConfig config = {
		.bootstrap_servers = settings->bootstrap_servers,
		.client_id = "wal2kafka",
		.max_queue_bytes = 1,
		.on_ack = no_ack,
	};

	config.options = options_read("wal2kafka.kafka_options",
								  settings->kafka_options,
								  "wal2kafka.kafka_options_file",
								  settings->kafka_options_file,
								  kafka_sink_check_options);
	PG_TRY();
	{
		kafka_sink_destroy(kafka_sink_create(&config), 0);
	}
	PG_FINALLY();
	{
		options_wipe(&config.options);
	}
	PG_END_TRY();
	if (settings->schema_registry_url[0] != '\0')
		registry_destroy(registry_open(settings, no_wait, NULL));
}

bool
connection_files_usable(const Settings *settings)
{
	MemoryContext cxt = CurrentMemoryContext;
	MemoryContext scratch = AllocSetContextCreate(cxt, "wal2kafka files",
												  ALLOCSET_SMALL_SIZES);
	ErrorData  *error = NULL;

	MemoryContextSwitchTo(scratch);
	PG_TRY();
	{
		try_files(settings);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(scratch);
		error = CopyErrorData();
		FlushErrorState();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(cxt);

	if (error != NULL)
		ereport(WARNING,
				(errcode(error->sqlerrcode),
				 errmsg("files of passwords or certificates have changed, and are not used yet: %s",
						error->message),
				 error->detail ? errdetail("%s", error->detail) : 0,
				 errhint("%s%sThe stream goes on with what it has.",
						 error->hint ? error->hint : "",
						 error->hint ? " " : "")));
	MemoryContextDelete(scratch);
	return error == NULL;
}
