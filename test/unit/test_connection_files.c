/*
 * test_connection_files.c
 *		Do files that changed show in the digest, and is nothing left of the
 *		secrets in them when they turn out not to fit?
 *
 * Kafka's side and the registry's are stubs, which refuse what they are told
 * to.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "connection_files.h"
#include "kafka_sink.h"
#include "registry.h"
#include "server_shim.h"

#define SECRET	"hunter2"

static int	passed;
static int	failed;
static char options_path[64];
static char key_path[64];
static bool kafka_refuses;
static int	tried;

static void
check(bool ok, const char *what)
{
	if (ok)
		passed++;
	else
	{
		failed++;
		printf("not ok - %s (%s)\n", what, shim_error.message);
	}
}

/* ---- stubs ---- */

KafkaSink *
kafka_sink_create(const KafkaSinkConfig *config)
{
	tried++;
	if (kafka_refuses)
		ereport(ERROR, (errmsg("the key does not fit")));
	return NULL;
}

void
kafka_sink_destroy(KafkaSink *sink, int timeout_ms)
{
}

void
kafka_sink_check_options(const char *setting, const OptionList *options,
						 bool from_file)
{
}

Registry *
registry_open(const Settings *settings,
			  void (*on_wait) (void *arg, RegistryProblem problem,
							   const char *reason),
			  void *arg)
{
	return NULL;
}

void
registry_destroy(Registry *registry)
{
}

ErrorData *
CopyErrorData(void)
{
	static ErrorData error;

	error.message = shim_error.message;
	return &error;
}

void
FlushErrorState(void)
{
}

/* ---- tests ---- */

static void
write_file(const char *path, const char *text, mode_t mode)
{
	int			fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t) strlen(text) ||
		fchmod(fd, mode) != 0)
		abort();
	close(fd);
}

static void
digest(Settings *settings)
{
	char		inline_options[128];
	uint64		before;

	/* what a file names, when the other file of options cannot be read */
	write_file(key_path, "old", 0600);
	write_file(options_path, "a=1\n", 0644);
	snprintf(inline_options, sizeof(inline_options), "ssl.key.location=%s",
			 key_path);
	settings->kafka_options = inline_options;
	before = connection_files_digest(settings);
	check(connection_files_digest(settings) == before, "nothing changed");
	write_file(key_path, "new", 0600);
	check(connection_files_digest(settings) != before, "a key changed");
	before = connection_files_digest(settings);
	write_file(options_path, "a=2\n", 0644);
	check(connection_files_digest(settings) != before, "options changed");
	before = connection_files_digest(settings);
	write_file(options_path, "a=2\n", 0600);
	check(connection_files_digest(settings) != before,
		  "they can be read now");
	settings->kafka_options = "";
}

static void
secrets(Settings *settings)
{
	shim_secret = SECRET;
	write_file(options_path, "sasl.password=" SECRET "\n", 0600);
	connection_files_digest(settings);
	check(!shim_keeps_secret() && shim_exposed == 0, "the digest has none");
	check(connection_files_usable(settings) && tried == 1, "usable");
	check(!shim_keeps_secret() && shim_exposed == 0, "wiped after a trial");
	kafka_refuses = true;
	check(!connection_files_usable(settings) && tried == 2, "not usable");
	check(!shim_keeps_secret() && shim_exposed == 0,
		  "wiped when the files do not fit");
	shim_secret = NULL;
}

int
main(void)
{
	Settings	settings;

	snprintf(options_path, sizeof(options_path), "/tmp/test_connection.%d",
			 (int) getpid());
	snprintf(key_path, sizeof(key_path), "%s.key", options_path);
	memset(&settings, 0, sizeof(settings));
	settings.bootstrap_servers = "localhost:9092";
	settings.kafka_options = "";
	settings.kafka_options_file = options_path;
	settings.schema_registry_url = "";
	digest(&settings);
	secrets(&settings);
	unlink(options_path);
	unlink(key_path);
	printf("test_connection_files: %d passed, %d failed\n", passed, failed);
	return failed == 0 ? 0 : 1;
}
