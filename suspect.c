/*
 * suspect.c
 *		Messages that a broker has refused, and how often.
 *
 * A message is known again by topic, key, and the beginning of its value: what
 * follows the rows (times, positions) is not the same when it is made again,
 * so the last bytes do not count, and the length only about.  Once it was
 * sent alone it is known by the change that it is of, too.
 */
#include "postgres.h"

#include <fcntl.h>
#include <unistd.h>

#include "common/file_perm.h"
#include "port/pg_crc32c.h"
#include "storage/fd.h"
#include "suspect.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define SUSPECTS_MAGIC	0x57325355	/* "W2SU" */
#define SUSPECTS_MAX	32

/* Lengths of one message differ by less than this. */
#define LENGTH_SLACK	128

struct Suspect
{
	KafkaRefusal refusal;		/* the last one */
	XLogRecPtr	lsn;			/* invalid: it was not sent alone yet */
	int			kind;
	int			tries;			/* alone, and refused */
};

/* What the file holds, in native byte order. */
typedef struct SuspectFile
{
	uint32		magic;
	int			n;				/* the oldest first */
	TimestampTz refused_at;		/* last */
	Suspect		suspects[SUSPECTS_MAX];
	pg_crc32c	crc;			/* of everything before */
} SuspectFile;

struct SuspectList
{
	char		path[MAXPGPATH];	/* empty: there is no slot's folder */
	SuspectFile file;
};

static pg_crc32c
file_crc(const SuspectFile *file)
{
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, file, offsetof(SuspectFile, crc));
	FIN_CRC32C(crc);
	return crc;
}

static void
clear(SuspectFile *file)
{
	memset(file, 0, sizeof(SuspectFile));
	file->magic = SUSPECTS_MAGIC;
}

static void
complain(const char *what, const char *path)
{
	ereport(LOG,
			(errcode_for_file_access(),
			 errmsg("could not %s file \"%s\": %m", what, path)));
}

SuspectList *
suspects_load(const char *slot_name)
{
	SuspectList *list = MemoryContextAllocZero(TopMemoryContext,
											   sizeof(SuspectList));
	SuspectFile *file = &list->file;
	int			fd;
	ssize_t		count;

	clear(file);
	if (slot_name[0] == '\0')
		return list;
	snprintf(list->path, MAXPGPATH, "pg_replslot/%s/wal2kafka.suspects",
			 slot_name);
	fd = open(list->path, O_RDONLY | PG_BINARY, 0);
	if (fd < 0)
	{
		if (errno != ENOENT)
			complain("open", list->path);
		return list;
	}
	count = read(fd, file, sizeof(SuspectFile));
	close(fd);
	if (count != sizeof(SuspectFile) || file->magic != SUSPECTS_MAGIC ||
		!EQ_CRC32C(file->crc, file_crc(file)) ||
		file->n < 0 || file->n > SUSPECTS_MAX)
	{
		ereport(LOG,
				(errmsg("file \"%s\" is damaged, and ignored", list->path)));
		clear(file);
	}
	if (TimestampDifferenceExceeds(file->refused_at, GetCurrentTimestamp(),
								   SUSPECTS_SECS * 1000))
		clear(file);
	return list;
}

/*
 * Durable: a try that is forgotten is made again, but a process that starts
 * at once must not do so for ever.
 */
static bool
save(SuspectList *list)
{
	char		tmp_path[MAXPGPATH + 4];
	int			fd;
	bool		written;

	if (list->path[0] == '\0')
		return false;
	list->file.refused_at = GetCurrentTimestamp();
	list->file.crc = file_crc(&list->file);
	snprintf(tmp_path, sizeof(tmp_path), "%s.tmp", list->path);
	fd = open(tmp_path, O_CREAT | O_TRUNC | O_WRONLY | PG_BINARY,
			  pg_file_create_mode);
	if (fd < 0)
	{
		complain("create", tmp_path);
		return false;
	}
	errno = 0;
	written = write(fd, &list->file, sizeof(SuspectFile)) ==
		sizeof(SuspectFile);
	if (!written && errno == 0)
		errno = ENOSPC;			/* a short write without an error */
	if (!written || pg_fsync(fd) != 0)
	{
		complain("write", tmp_path);
		close(fd);
		return false;
	}
	close(fd);
	if (rename(tmp_path, list->path) != 0)
	{
		complain("rename", tmp_path);
		return false;
	}
	return true;
}

bool
suspects_any(const SuspectList *list)
{
	return list->file.refused_at != 0;
}

static bool
is_alike(const Suspect *suspect, const KafkaRefusal *message,
		 const void *value)
{
	const KafkaRefusal *known = &suspect->refusal;

	return known->key_hash == message->key_hash &&
		known->key_len == message->key_len &&
		known->value_len < message->value_len + LENGTH_SLACK &&
		message->value_len < known->value_len + LENGTH_SLACK &&
		known->head_len <= message->value_len &&
		known->head_hash == kafka_refusal_hash(value, known->head_len) &&
		strcmp(known->topic, message->topic) == 0;
}

Suspect *
suspects_find(SuspectList *list, const char *topic,
			  const void *key, size_t key_len,
			  const void *value, size_t value_len,
			  XLogRecPtr lsn, int kind)
{
	KafkaRefusal message = {.key_len = key_len,.value_len = value_len};

	if (list->file.n == 0)
		return NULL;
	message.key_hash = kafka_refusal_hash(key, key_len);
	strlcpy(message.topic, topic, sizeof(message.topic));
	for (int i = 0; i < list->file.n; i++)
	{
		Suspect    *suspect = &list->file.suspects[i];

		if (!XLogRecPtrIsInvalid(suspect->lsn) &&
			(suspect->lsn != lsn || suspect->kind != kind))
			continue;
		if (is_alike(suspect, &message, value))
			return suspect;
	}
	return NULL;
}

bool
suspect_is_bad(const Suspect *suspect)
{
	return suspect->tries >= SUSPECT_TRIES;
}

const KafkaRefusal *
suspect_refusal(const Suspect *suspect)
{
	return &suspect->refusal;
}

void
suspect_try(Suspect *suspect, XLogRecPtr lsn, int kind)
{
	suspect->lsn = lsn;
	suspect->kind = kind;
}

void
suspect_acquit(SuspectList *list, Suspect *suspect)
{
	int			i = suspect - list->file.suspects;

	memmove(suspect, suspect + 1,
			(list->file.n - 1 - i) * sizeof(Suspect));
	list->file.n--;
	(void) save(list);
}

bool
suspect_refused(SuspectList *list, Suspect *suspect,
				const KafkaRefusal *refusal)
{
	suspect->refusal = *refusal;
	suspect->tries++;
	return save(list);
}

/*
 * Where there is no room the oldest goes: it is behind us, or will be refused
 * anew.
 */
bool
suspects_add(SuspectList *list, const KafkaRefusal *refusal)
{
	Suspect    *suspect;

	if (list->file.n == SUSPECTS_MAX)
	{
		memmove(list->file.suspects, list->file.suspects + 1,
				(SUSPECTS_MAX - 1) * sizeof(Suspect));
		list->file.n--;
	}
	suspect = &list->file.suspects[list->file.n++];
	memset(suspect, 0, sizeof(Suspect));
	suspect->refusal = *refusal;
	return save(list);
}
