/*
 * wal2kafka.c
 *		The module that the server preloads, and the way from it into the
 *		stream library.
 *
 * This library is mapped into every process of the server, so it is small and
 * needs no other library.  What decodes, encodes and talks to Kafka is in
 * wal2kafka_stream, which only those processes load that do so.  It refers to
 * variables and functions of this one.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "replication/output_plugin.h"

#include "launcher.h"
#include "settings.h"
#include "shared_state.h"

PG_MODULE_MAGIC;

#define STREAM_LIBRARY	"$libdir/wal2kafka_stream"

typedef const char *(*VersionFunction) (void);

PGDLLEXPORT void _PG_init(void);
PGDLLEXPORT void _PG_output_plugin_init(OutputPluginCallbacks *callbacks);

void
_PG_init(void)
{
	settings_define();
	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;
	shared_state_init();
	wakeup_init();
	launcher_register();
}

/*
 * A function of the stream library, which is loaded if need be.  The two are
 * built together; an update may replace the other one under a server that
 * runs, which is fine as long as the interface between them is the same.
 */
static void *
stream_function(const char *name)
{
	void	   *library;
	VersionFunction version =
		(VersionFunction) load_external_function(STREAM_LIBRARY,
												 "wal2kafka_stream_version",
												 true, &library);

	if (strcmp(version(), WAL2KAFKA_VERSION) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("wal2kafka is version %s, but wal2kafka_stream is version %s",
						WAL2KAFKA_VERSION, version()),
				 errhint("Restart the server to load the installed version.")));
	return (void *) load_external_function(STREAM_LIBRARY, name, true, NULL);
}

void
_PG_output_plugin_init(OutputPluginCallbacks *callbacks)
{
	LogicalOutputPluginInit init =
		(LogicalOutputPluginInit) stream_function("decoder_output_plugin_init");

	init(callbacks);
}

/*
 * SQL functions that need the stream library: SQL names wal2kafka_X here,
 * which calls wal2kafka_stream_X there.
 */
#define FORWARD(function) \
PG_FUNCTION_INFO_V1(wal2kafka_##function); \
Datum \
wal2kafka_##function(PG_FUNCTION_ARGS) \
{ \
	static PGFunction target; \
\
	if (target == NULL) \
		target = (PGFunction) stream_function("wal2kafka_stream_" #function); \
	return target(fcinfo); \
} \
extern int	no_such_variable

FORWARD(adopt);
FORWARD(cancel_snapshot);
FORWARD(decode);
FORWARD(examine);
FORWARD(own_slot);
FORWARD(pause_snapshot);
FORWARD(preload_point);
FORWARD(resume_snapshot);
FORWARD(schema_for);
FORWARD(snapshot);
FORWARD(snapshot_of_tables);
FORWARD(snapshots);
FORWARD(verify);
