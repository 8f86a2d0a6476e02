/*
 * slot_file.c
 *		Small files of ours in the folder of a replication slot.
 */
#include "postgres.h"

#include <fcntl.h>
#include <unistd.h>

#include "slot_file.h"
#include "storage/fd.h"

void
slot_file_path(char *path, const char *slot_name, const char *file)
{
	snprintf(path, MAXPGPATH, "pg_replslot/%s/%s", slot_name, file);
}

void
slot_file_tmp_path(char *path, const char *slot_name, const char *file)
{
	snprintf(path, MAXPGPATH, "pg_replslot/%s/%s.tmp", slot_name, file);
}

/*
 * Write all of it; false with errno set.
 */
static bool
write_all(int fd, const char *data, size_t len)
{
	while (len > 0)
	{
		ssize_t		n;

		errno = 0;
		n = write(fd, data, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
		{
			/* nothing written without an error is a full disk */
			if (errno == 0)
				errno = ENOSPC;
			return false;
		}
		data += n;
		len -= n;
	}
	return true;
}

void
slot_file_prepare(const char *slot_name, const char *file,
				  const void *data, size_t len)
{
	char		path[MAXPGPATH];
	int			fd;

	slot_file_tmp_path(path, slot_name, file);
	fd = OpenTransientFile(path, O_CREAT | O_TRUNC | O_WRONLY | PG_BINARY);
	if (fd < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not create file \"%s\": %m", path)));
	if (!write_all(fd, data, len))
	{
		int			save_errno = errno;

		CloseTransientFile(fd);
		unlink(path);
		errno = save_errno;
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not write to file \"%s\": %m", path)));
	}
	if (pg_fsync(fd) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not fsync file \"%s\": %m", path)));
	if (CloseTransientFile(fd) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not close file \"%s\": %m", path)));
}

void
slot_file_publish(const char *slot_name, const char *file, int elevel)
{
	char		from[MAXPGPATH];
	char		to[MAXPGPATH];

	slot_file_tmp_path(from, slot_name, file);
	slot_file_path(to, slot_name, file);
	(void) durable_rename(from, to, elevel);
}
