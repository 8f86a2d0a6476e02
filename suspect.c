/*
 * suspect.c
 *		What brokers have refused.
 */
#include "postgres.h"

#include <fcntl.h>
#include <unistd.h>

#include "common/file_perm.h"
#include "miscadmin.h"
#include "port/pg_crc32c.h"
#include "slot_file.h"
#include "storage/fd.h"
#include "suspect.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define SUSPECTS_FILE	"wal2kafka.suspects"
#define SUSPECTS_MAGIC	0x57325356	/* "W2SV" */

/* With more topics than this, the messages of all are suspects. */
#define SUSPECTS_TOPICS	64

/* The file is made younger at most so often. */
#define KEEP_INTERVAL_MS	60000

/* Which messages of a topic are suspects. */
typedef struct SuspectTopic
{
	char		name[KAFKA_TOPIC_LEN + 1];
	bool		all;
	bool		keyless;		/* those without a key */
	size_t		min_size;		/* those of at least so many bytes; SIZE_MAX:
								 * none for their size */
} SuspectTopic;

/* What the file holds, in native byte order. */
typedef struct SuspectFile
{
	uint32		magic;
	int			n;
	bool		everywhere;		/* all messages of all topics */
	TimestampTz refused_at;		/* last; 0: nothing was */
	SuspectTopic topics[SUSPECTS_TOPICS];
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

/* ---- the file ---- */

/*
 * Where nothing can be read, or what there is is too old, the file's contents
 * are none.
 */
static void
read_file(const char *path, SuspectFile *file)
{
	int			fd;
	ssize_t		count;

	clear(file);
	if (path[0] == '\0')
		return;
	fd = open(path, O_RDONLY | PG_BINARY, 0);
	if (fd < 0)
	{
		if (errno != ENOENT)
			complain("open", path);
		return;
	}
	count = read(fd, file, sizeof(SuspectFile));
	close(fd);
	if (count != sizeof(SuspectFile) || file->magic != SUSPECTS_MAGIC ||
		!EQ_CRC32C(file->crc, file_crc(file)) ||
		file->n < 0 || file->n > SUSPECTS_TOPICS)
	{
		ereport(LOG,
				(errmsg("file \"%s\" is damaged, and ignored", path)));
		clear(file);
	}
	if (TimestampDifferenceExceeds(file->refused_at, GetCurrentTimestamp(),
								   SUSPECTS_SECS * 1000))
		clear(file);
}

/*
 * Write the new version under a name of this process alone.
 */
static bool
write_new(const char *path, const SuspectFile *file)
{
	int			fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | PG_BINARY,
						  pg_file_create_mode);
	bool		written;

	if (fd < 0)
	{
		complain("create", path);
		return false;
	}
	errno = 0;
	written = write(fd, file, sizeof(SuspectFile)) == sizeof(SuspectFile);
	if (!written && errno == 0)
		errno = ENOSPC;			/* a short write without an error */
	if (!written)
		complain("write", path);
	close(fd);
	return written;
}

/*
 * Durable: what is forgotten is refused again, but a process that starts at
 * once must not do so for ever.
 */
static bool
save(SuspectList *list)
{
	char		tmp_path[MAXPGPATH + 16];

	if (list->path[0] == '\0')
		return false;
	list->file.refused_at = GetCurrentTimestamp();
	list->file.crc = file_crc(&list->file);
	snprintf(tmp_path, sizeof(tmp_path), "%s.%d.tmp", list->path, MyProcPid);
	if (!write_new(tmp_path, &list->file) ||
		durable_rename(tmp_path, list->path, LOG) != 0)
	{
		unlink(tmp_path);
		return false;
	}
	return true;
}

SuspectList *
suspects_load(const char *slot_name)
{
	SuspectList *list = MemoryContextAllocZero(TopMemoryContext,
											   sizeof(SuspectList));

	if (slot_name[0] != '\0')
		slot_file_path(list->path, slot_name, SUSPECTS_FILE);
	read_file(list->path, &list->file);
	return list;
}

bool
suspects_any(const SuspectList *list)
{
	return list->file.refused_at != 0;
}

/* ---- who is one ---- */

static const SuspectTopic *
find_topic(const SuspectFile *file, const char *name)
{
	for (int i = 0; i < file->n; i++)
	{
		if (strcmp(file->topics[i].name, name) == 0)
			return &file->topics[i];
	}
	return NULL;
}

bool
suspects_has(const SuspectList *list, const char *topic, bool has_key,
			 size_t size)
{
	const SuspectTopic *found;

	if (list->file.everywhere)
		return true;
	found = find_topic(&list->file, topic);
	return found != NULL &&
		(found->all || (found->keyless && !has_key) ||
		 size >= found->min_size);
}

/*
 * Does one have suspects, or topics, that the other does not have?
 */
static bool
has_more(const SuspectFile *file, const SuspectFile *known)
{
	if (file->everywhere && !known->everywhere)
		return true;
	for (int i = 0; i < file->n; i++)
	{
		const SuspectTopic *topic = &file->topics[i];
		const SuspectTopic *other = find_topic(known, topic->name);

		if (other == NULL || topic->all > other->all ||
			topic->keyless > other->keyless ||
			topic->min_size < other->min_size)
			return true;
	}
	return false;
}

/*
 * The topic's entry, made if need be; NULL: there is no room.
 */
static SuspectTopic *
get_topic(SuspectFile *file, const char *name)
{
	SuspectTopic *topic = unconstify(SuspectTopic *, find_topic(file, name));

	if (topic != NULL || file->n == SUSPECTS_TOPICS)
		return topic;
	topic = &file->topics[file->n++];
	strlcpy(topic->name, name, sizeof(topic->name));
	topic->min_size = SIZE_MAX;
	return topic;
}

/*
 * Others may have written the file since it was read.
 */
static void
merge(SuspectFile *file, const SuspectFile *from)
{
	file->everywhere |= from->everywhere;
	for (int i = 0; i < from->n; i++)
	{
		const SuspectTopic *other = &from->topics[i];
		SuspectTopic *topic = get_topic(file, other->name);

		if (topic == NULL)
		{
			file->everywhere = true;
			return;
		}
		topic->all |= other->all;
		topic->keyless |= other->keyless;
		topic->min_size = Min(topic->min_size, other->min_size);
	}
}

bool
suspects_add(SuspectList *list, const KafkaRefusal *refusal, bool single)
{
	SuspectFile before = list->file;
	SuspectFile now;
	const SuspectTopic *known = find_topic(&before, refusal->topic);
	SuspectTopic *topic;

	read_file(list->path, &now);
	merge(&list->file, &now);
	topic = get_topic(&list->file, refusal->topic);
	if (topic == NULL)
		list->file.everywhere = true;
	else if (single && refusal->oversized)
		topic->min_size = Min(topic->min_size,
							  (refusal->key_len + refusal->value_len) / 2);
	else if (single && !refusal->has_key &&
			 (known == NULL || !known->keyless))
		topic->keyless = true;
	else if (single)
		topic->all = true;

	/* without anything new the next process could do no better */
	return has_more(&list->file, &before) && save(list);
}

bool
suspects_news(const SuspectList *list)
{
	SuspectFile *file = palloc_extended(sizeof(SuspectFile),
										MCXT_ALLOC_NO_OOM);
	bool		news;

	if (file == NULL)
		return false;
	read_file(list->path, file);
	news = has_more(file, &list->file);
	pfree(file);
	return news;
}

void
suspects_keep(SuspectList *list)
{
	SuspectFile now;

	if (!TimestampDifferenceExceeds(list->file.refused_at,
									GetCurrentTimestamp(), KEEP_INTERVAL_MS))
		return;
	read_file(list->path, &now);
	merge(&list->file, &now);
	(void) save(list);
}
