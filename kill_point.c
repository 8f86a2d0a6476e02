/*
 * kill_point.c
 *		Named places at which tests end a process.
 *
 * Test builds only.  A test arms a point by a file in the data directory,
 * which it gives its name by renaming:
 *
 *		NAME NTH ACTION DELAY DATABASE
 *
 * NAME is the point, NTH says which time that a process reaches it counts,
 * from 1 and from when the file is there, DELAY is how many ms pass before
 * the action, with nothing of ours running, DATABASE is the OID of the
 * process's database.  The actions are
 *
 *		worker	the process gets a SIGKILL, which the server takes for a crash
 *		server	the postmaster and all of its children get one
 *		error	an error is raised
 *		stop	the process stops, until the test lets it go on
 *
 * The process that gets there first renames the file, so that a point is
 * reached once, whatever starts again, and the test can tell that it was.
 *
 * Nothing here allocates, raises (but for "error") or waits on a latch: points
 * are where none of these may be.
 */
#include "postgres.h"

#ifdef WAL2KAFKA_KILL_POINTS

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "compat.h"
#include "kill_point.h"
#include "miscadmin.h"

#define ARMED_FILE		"wal2kafka.kill_point"
#define REACHED_FILE	"wal2kafka.kill_point.reached"

#define NAME_LEN		64

typedef struct ArmedPoint
{
	bool		armed;
	char		name[NAME_LEN];
	char		action[NAME_LEN];
	int			left;			/* times until it counts */
	int			delay_ms;
	Oid			database;
	ino_t		file;			/* which the test wrote */
} ArmedPoint;

static ArmedPoint point;

/*
 * Read the file, if there is another one than the last time.  The current
 * directory is the data directory.
 */
static void
look(void)
{
	char		text[4 * NAME_LEN];
	struct stat st;
	ssize_t		len;
	int			fd = open(ARMED_FILE, O_RDONLY);

	if (fd < 0)
	{
		point.armed = false;
		return;
	}
	if (fstat(fd, &st) == 0 && (!point.armed || st.st_ino != point.file))
	{
		len = read(fd, text, sizeof(text) - 1);
		text[Max(len, 0)] = '\0';
		point.file = st.st_ino;
		point.armed = sscanf(text, "%63s %d %63s %d %u", point.name,
							 &point.left, point.action, &point.delay_ms,
							 &point.database) == 5 &&
			point.database == MyDatabaseId;
	}
	close(fd);
}

/* The parent of a process; 0 if it is gone. */
static int
parent_of(const char *pid)
{
	char		path[NAME_LEN];
	char		text[512];
	char	   *end;
	int			parent = 0;
	ssize_t		len;
	int			fd;

	snprintf(path, sizeof(path), "/proc/%.20s/stat", pid);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return 0;
	len = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[Max(len, 0)] = '\0';
	end = strrchr(text, ')');	/* the command's name may have anything */
	if (end == NULL || sscanf(end + 1, " %*c %d", &parent) != 1)
		return 0;
	return parent;
}

/*
 * All at once, as far as that can be done: the postmaster is stopped before
 * it hears of its first child's death, and none outlives us.
 */
static void
kill_server(void)
{
	DIR		   *processes;
	struct dirent *entry;

	kill(PostmasterPid, SIGSTOP);
	processes = opendir("/proc");
	while (processes != NULL && (entry = readdir(processes)) != NULL)
	{
		int			pid = atoi(entry->d_name);

		if (pid > 0 && pid != getpid() &&
			parent_of(entry->d_name) == PostmasterPid)
			kill(pid, SIGKILL);
	}
	kill(PostmasterPid, SIGKILL);
	kill(getpid(), SIGKILL);
}

void
kill_point_reached(const char *name)
{
	int			save_errno = errno;

	compat_injection_point(name);
	look();
	if (!point.armed || strcmp(point.name, name) != 0 || --point.left > 0 ||
		rename(ARMED_FILE, REACHED_FILE) != 0)
	{
		errno = save_errno;
		return;
	}
	point.armed = false;
	if (point.delay_ms > 0)
		pg_usleep(point.delay_ms * 1000L);
	if (strcmp(point.action, "worker") == 0)
		kill(getpid(), SIGKILL);
	else if (strcmp(point.action, "server") == 0)
		kill_server();
	else if (strcmp(point.action, "stop") == 0)
		kill(getpid(), SIGSTOP);
	errno = save_errno;
	if (strcmp(point.action, "error") == 0)
		elog(ERROR, "kill point \"%s\" was reached", name);
}

#endif							/* WAL2KAFKA_KILL_POINTS */
