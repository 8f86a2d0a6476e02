/*
 * slot_state.c
 *		What must survive a crash and is not in the slot itself.
 *
 * A background worker that crashes restarts the whole server, and starts
 * again with it: a row that crashes the worker would restart the server for
 * ever.  So a file exists while a worker runs.  It is removed however the
 * process ends, an error, a shutdown, and even SIGQUIT, which means that the
 * server is going down for someone else's reason.  What finds the file at its
 * start knows that its predecessor died on its own.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utime.h>

#include "common/file_perm.h"
#include "compat.h"
#include "kill_point.h"
#include "port/pg_crc32c.h"
#include "slot_file.h"
#include "slot_state.h"
#include "storage/fd.h"
#include "utils/timestamp.h"

/* in the slot's folder */
#define STATE_FILE			"wal2kafka.state"
#define RUNNING_FILE		"wal2kafka.running"
#define BAD_EVENTS_FILE		"wal2kafka.bad_events"

#define SLOT_STATE_MAGIC	0x57324B53	/* "W2KS" */
#define SLOT_STATE_VERSION	1

/*
 * Contents of the state file.  Native byte order: the file never leaves its
 * data directory.
 */
typedef struct SlotState
{
	uint32		magic;
	uint32		version;
	bool		snapshot_pending;
	bool		held;			/* crashed too often; until somebody acts */
	int			ncrashes;		/* entries of crashes in use, oldest first */
	TimestampTz crashes[CRASH_LIMIT];
	pg_crc32c	crc;			/* of everything before */
} SlotState;

/* Of the worker in this process; empty: not marked as running. */
static char running_path[MAXPGPATH];

/* Of the file that tells of bad events; it is written no more often. */
#define BAD_EVENTS_WRITE_MS	60000

static bool starts_again;
static TimestampTz care_since;	/* 0: no care is taken */

/* See slot_state_carry_over(). */
static SlotState carried;
static bool has_carried;

static pg_crc32c
state_crc(const SlotState *state)
{
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, state, offsetof(SlotState, crc));
	FIN_CRC32C(crc);
	return crc;
}

/*
 * A missing file is a slot that was never interrupted: one that a snapshot
 * was begun for has a file, written before the slot became persistent.
 */
static void
load_state(const char *slot_name, SlotState *state)
{
	char		path[MAXPGPATH];
	int			fd;
	ssize_t		nread;

	if (has_carried)
		*state = carried;
	else
		memset(state, 0, sizeof(SlotState));
	state->magic = SLOT_STATE_MAGIC;
	state->version = SLOT_STATE_VERSION;

	slot_file_path(path, slot_name, STATE_FILE);
	fd = OpenTransientFile(path, O_RDONLY | PG_BINARY);
	if (fd < 0)
	{
		if (errno == ENOENT)
			return;
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open file \"%s\": %m", path)));
	}
	nread = read(fd, state, sizeof(SlotState));
	CloseTransientFile(fd);
	if (nread != sizeof(SlotState) ||
		state->magic != SLOT_STATE_MAGIC ||
		state->version != SLOT_STATE_VERSION ||
		!EQ_CRC32C(state->crc, state_crc(state)))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("file \"%s\" is damaged", path),
				 errhint("Remove the file if the stream's snapshot was complete; otherwise drop the slot.")));
}

static void
save_state(const char *slot_name, SlotState *state)
{
	state->crc = state_crc(state);
	slot_file_prepare(slot_name, STATE_FILE, state, sizeof(SlotState));
	KILL_POINT("state_file_written");
	slot_file_publish(slot_name, STATE_FILE, ERROR);
	KILL_POINT("state_file_renamed");
}

bool
slot_state_exists(const char *slot_name)
{
	char		path[MAXPGPATH];
	struct stat st;

	slot_file_path(path, slot_name, STATE_FILE);
	return stat(path, &st) == 0;
}

bool
slot_state_snapshot_pending(const char *slot_name)
{
	SlotState	state;

	load_state(slot_name, &state);
	return state.snapshot_pending;
}

void
slot_state_set_snapshot_pending(const char *slot_name, bool pending)
{
	SlotState	state;

	load_state(slot_name, &state);
	state.snapshot_pending = pending;
	save_state(slot_name, &state);
}

/* Remove crashes that are older than the window. */
static void
forget_old_crashes(SlotState *state, TimestampTz now)
{
	int			kept = 0;

	for (int i = 0; i < state->ncrashes; i++)
	{
		if (!TimestampDifferenceExceeds(state->crashes[i], now,
										CRASH_WINDOW_SECS * 1000))
			state->crashes[kept++] = state->crashes[i];
	}
	state->ncrashes = kept;
}

static void
mark_running(const char *path)
{
	int			fd;

	fd = OpenTransientFile(path, O_CREAT | O_WRONLY | PG_BINARY);
	if (fd < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not create file \"%s\": %m", path)));
	CloseTransientFile(fd);

	/*
	 * Only a crash of this process matters, not one of the machine, after
	 * which the file may be missing: no fsync.
	 */
	strlcpy(running_path, path, sizeof(running_path));
	KILL_POINT("marked_running");
}

int
slot_state_worker_started(const char *slot_name)
{
	SlotState	state;
	TimestampTz now = GetCurrentTimestamp();
	char		path[MAXPGPATH];
	struct stat st;

	load_state(slot_name, &state);
	slot_file_path(path, slot_name, RUNNING_FILE);
	if (stat(path, &st) == 0)
	{
		forget_old_crashes(&state, now);
		Assert(state.ncrashes < CRASH_LIMIT || state.held);
		if (state.ncrashes == CRASH_LIMIT)
			state.ncrashes--;
		state.crashes[state.ncrashes++] = now;
		if (state.ncrashes == CRASH_LIMIT)
			state.held = true;
		save_state(slot_name, &state);
		if (unlink(path) != 0)
			ereport(ERROR,
					(errcode_for_file_access(),
					 errmsg("could not remove file \"%s\": %m", path)));
	}
	else if (errno != ENOENT)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not stat file \"%s\": %m", path)));

	if (state.held)
		return CRASH_LIMIT;
	mark_running(path);
	return state.ncrashes;
}

void
slot_state_worker_ended(void)
{
	int			save_errno = errno;

	if (running_path[0] != '\0')
	{
		unlink(running_path);
		running_path[0] = '\0';
	}
	errno = save_errno;
}

void
slot_state_carry_over(const char *slot_name)
{
	load_state(slot_name, &carried);
	has_carried = true;
}

void
slot_state_forget_crashes(const char *slot_name)
{
	SlotState	state;
	char		path[MAXPGPATH];

	load_state(slot_name, &state);
	if (state.ncrashes > 0 || state.held)
	{
		state.ncrashes = 0;
		state.held = false;
		save_state(slot_name, &state);
	}
	slot_file_path(path, slot_name, RUNNING_FILE);
	if (unlink(path) != 0 && errno != ENOENT)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not remove file \"%s\": %m", path)));
}

/*
 * The file's time is what it says.  It is not worth an error: one is under
 * way, and without the file the next bad event makes it.
 */
void
slot_state_expect_bad_events(const char *slot_name, bool again)
{
	static TimestampTz written = 0;
	TimestampTz now = GetCurrentTimestamp();
	char		path[MAXPGPATH];
	int			fd;

	if (!again && !TimestampDifferenceExceeds(written, now,
											  BAD_EVENTS_WRITE_MS))
		return;
	slot_file_path(path, slot_name, BAD_EVENTS_FILE);
	fd = open(path, O_CREAT | O_WRONLY | PG_BINARY, pg_file_create_mode);
	if (fd < 0 || utime(path, NULL) != 0)
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not create file \"%s\": %m", path)));
	else
	{
		written = now;
		if (again)
			slot_state_start_again();
	}
	if (fd >= 0)
		close(fd);
}

bool
slot_state_expects_bad_events(const char *slot_name)
{
	char		path[MAXPGPATH];
	struct stat st;

	slot_file_path(path, slot_name, BAD_EVENTS_FILE);
	return stat(path, &st) == 0 &&
		time(NULL) - st.st_mtime <= BAD_EVENTS_SECS;
}

void
slot_state_start_again(void)
{
	starts_again = true;
}

bool
slot_state_starts_again(void)
{
	return starts_again;
}

void
slot_state_take_care(void)
{
	care_since = GetCurrentTimestamp();
}

bool
slot_state_care_is_over(void)
{
	return unlikely(care_since != 0) &&
		TimestampDifferenceExceeds(care_since, GetCurrentTimestamp(),
								   BAD_EVENTS_SECS * 1000);
}
