/*
 * exactly_once.c
 *		The start of a stream whose position is in Kafka.
 *
 * A producer that takes a transactional id over fences whoever had it, and
 * what that one left open is aborted.  That makes a restart safe, and is a
 * weapon: a copy of a server has the same id, and would stop the original.
 * So the order is:
 *
 * 1. Read the position, also what is not committed yet, and see whose it is.
 *	  If it is another server's, wait for the operator's word.
 * 2. Fence.  Nobody else can write behind this.
 * 3. Read the position that is committed, up to where the topic ended when
 *	  everybody was fenced.  It is the last one; it is judged once more, since
 *	  somebody may have come between.
 * 4. Write it anew with our name in it.
 *
 * A server that is the same in everything but has another life (a copy of the
 * whole machine) shows in the incarnation: each start of a worker has one of
 * its own, which it notes in the slot's folder before it writes it to Kafka.
 * A position with an incarnation that is not ours was written by somebody
 * else.  That step 1 looks at what is not committed is why three of them are
 * ours: the one that is committed, the one that was written last, which may
 * never be committed and stays the last that this step sees until the next
 * start's is written, and the new one.  The copy that starts later fences the first without knowing; the
 * first then finds out, says so, and does not fence back.
 *
 * Timelines tell whether Kafka has changes that this server has lost.  The
 * position is on the timeline on which it was written; where that one is not
 * ours, it must not lie behind the point at which ours branched off.  What
 * was found out is kept in the slot's folder: as the server writes on, its WAL
 * would soon be longer than what Kafka has, and nothing would seem amiss.
 */
#include "postgres.h"

#include <fcntl.h>
#include <unistd.h>

#include "access/timeline.h"
#include "access/xlog.h"
#include "access/xlogrecovery.h"
#include "compat.h"
#include "exactly_once.h"
#include "kill_point.h"
#include "miscadmin.h"
#include "selection.h"
#include "slot_file.h"
#include "snapshot.h"
#include "storage/fd.h"
#include "utils/timestamp.h"

/* in the slot's folder */
#define INSTANCE_FILE	"wal2kafka.instance"
#define ADOPT_FILE		"wal2kafka.adopt"
#define DIVERGED_FILE	"wal2kafka.diverged"
#define MAX_FILE_LEN	1023

/* How often a standby looks whether it has the WAL that it waits for. */
#define REPLAY_POLL_MS	100

/* The last record of the position that was read. */
typedef struct FoundRecord
{
	bool		exists;
	char	   *damage;			/* why it cannot be used; NULL: it can */
	ProgressRecord record;
} FoundRecord;

/*
 * What this server knows of its own starts: the incarnations that it may find
 * in Kafka; empty: none.  See write_instances().
 */
typedef struct Instances
{
	bool		known;
	char		before[INCARNATION_LEN + 1];
	char		own[INCARNATION_LEN + 1];
	char		last[INCARNATION_LEN + 1];
} Instances;

char *
exactly_once_topic(const Settings *settings, const char *database_name)
{
	if (settings->progress_topic_name[0] != '\0')
		return pstrdup(settings->progress_topic_name);
	return psprintf("%s.progress",
					selection_topic_prefix(settings, database_name));
}

char *
exactly_once_id(const char *slot_name, const char *part)
{
	return psprintf("wal2kafka-" UINT64_FORMAT "-%u-%s%s%s",
					GetSystemIdentifier(), MyDatabaseId, slot_name,
					part != NULL ? "-" : "", part != NULL ? part : "");
}

/* ---- files in the slot's folder ---- */

static void
write_file(const char *slot_name, const char *file, const char *text)
{
	slot_file_prepare(slot_name, file, text, strlen(text));
	KILL_POINT("slot_file_written");
	slot_file_publish(slot_name, file, ERROR);
	KILL_POINT("slot_file_renamed");
}

/*
 * Read a file as text, of at most MAX_FILE_LEN bytes; NULL: there is none.
 */
static char *
read_file(const char *slot_name, const char *file)
{
	char		path[MAXPGPATH];
	char	   *text;
	int			fd;
	ssize_t		len;

	slot_file_path(path, slot_name, file);
	fd = OpenTransientFile(path, O_RDONLY | PG_BINARY);
	if (fd < 0)
	{
		if (errno == ENOENT)
			return NULL;
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open file \"%s\": %m", path)));
	}
	text = palloc(MAX_FILE_LEN + 1);
	len = read(fd, text, MAX_FILE_LEN);
	if (len < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read file \"%s\": %m", path)));
	CloseTransientFile(fd);
	text[len] = '\0';
	return text;
}

static void
remove_file(const char *slot_name, const char *file)
{
	char		path[MAXPGPATH];

	slot_file_path(path, slot_name, file);
	if (unlink(path) == 0)
		fsync_fname(psprintf("pg_replslot/%s", slot_name), true);
	else if (errno != ENOENT)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not remove file \"%s\": %m", path)));
}

static void
read_instances(const char *slot_name, Instances *instances)
{
	char	   *text = read_file(slot_name, INSTANCE_FILE);

	memset(instances, 0, sizeof(*instances));

	/* one that is not as we write it tells nothing */
	instances->known = text != NULL &&
		sscanf(text, "%32[0-9a-f] %32[0-9a-f] %32[0-9a-f]", instances->before,
			   instances->own, instances->last) >= 2;
}

/*
 * Our new incarnation, beside the one that Kafka has, and the last that was
 * written, committed or not: whichever Kafka shows after a crash, it is known
 * to be ours.
 */
static void
write_instances(const char *slot_name, const char *before, const char *own,
				const char *last)
{
	write_file(slot_name, INSTANCE_FILE,
			   psprintf("%s %s %s\n", before, own, last));
}

void
exactly_once_adopt(const char *slot_name)
{
	write_file(slot_name, ADOPT_FILE, "adopted\n");
}

/* ---- what Kafka has ---- */

static void
take_record(void *arg, const char *key, size_t key_len, const char *value,
			size_t value_len)
{
	FoundRecord *found = arg;

	if (key_len != strlen(PROGRESS_KEY) ||
		memcmp(key, PROGRESS_KEY, key_len) != 0)
		return;
	found->exists = value != NULL;
	found->damage = NULL;
	if (value != NULL)
		found->damage = progress_record_read(value, value_len,
											 &found->record);
}

static void
read_record(Delivery *delivery, bool committed_only, FoundRecord *found)
{
	memset(found, 0, sizeof(*found));
	delivery_read_progress(delivery, committed_only, take_record, found);
}

/* ---- judgement ---- */

/*
 * What is judged, and by what.
 */
typedef struct Case
{
	const Settings *settings;
	const char *slot_name;
	const char *topic;
	Delivery   *delivery;
	StreamState *stream;
	XLogRecPtr	confirmed;
	bool		new_stream;
	bool		adopted;		/* by the operator, for this once */
	ProgressIdentity own;
	Instances	instances;
	char	   *divergence;		/* that is to be gone on from; NULL: none */
	ExactlyOnceStart *start;
} Case;

static bool
hold(Case *c, char *reason, char *detail, char *hint)
{
	c->start->verdict = EXACTLY_ONCE_HOLD;
	c->start->reason = reason;
	c->start->detail = detail;
	c->start->hint = hint;
	return false;
}

/* Are the two one stream, be it on two servers? */
static bool
is_same_stream(const ProgressIdentity *a, const ProgressIdentity *b)
{
	return a->system_identifier == b->system_identifier &&
		a->database_oid == b->database_oid &&
		strcmp(a->slot_name, b->slot_name) == 0;
}

static bool
hold_for_owner(Case *c, const ProgressIdentity *theirs, char *difference)
{
	bool		neighbour = theirs->system_identifier ==
		c->own.system_identifier && !is_same_stream(theirs, &c->own);
	char	   *reason = psprintf(neighbour ?
								  "the position in Kafka topic \"%s\" was written by another stream" :
								  "the position in Kafka topic \"%s\" was written by another server",
								  c->topic);
	char	   *detail = psprintf("Since then %s.", difference);

	if (c->new_stream)
		return hold(c, reason, detail,
					"If that stream has ended for good, and this one is to write to its topics, set wal2kafka.adopt_topics to \"on\". Else set another wal2kafka.topic_prefix.");
	if (neighbour)
		return hold(c, reason, detail,
					"Give each stream a wal2kafka.progress_topic_name or a wal2kafka.topic_prefix of its own. If that stream has ended for good, and this one is to have its topics, call wal2kafka.adopt().");
	return hold(c, reason, detail,
				"If that server does not stream any more, and this one is to go on in its place, call wal2kafka.adopt(). It stops the other one for good. A copy of a server must have another wal2kafka.topic_prefix.");
}

/* Was the record written by one of this server's workers? */
static bool
is_our_incarnation(const Instances *ours, const char *incarnation)
{
	return strcmp(incarnation, ours->before) == 0 ||
		strcmp(incarnation, ours->own) == 0 ||
		strcmp(incarnation, ours->last) == 0;
}

/*
 * Whose position is it?
 */
static bool
judge_owner(Case *c, const FoundRecord *found)
{
	const ProgressIdentity *theirs = &found->record.identity;
	char	   *difference;

	if (found->damage != NULL)
		return hold(c, psprintf("the stream's position in Kafka topic \"%s\" cannot be read",
								c->topic),
					found->damage,
					c->new_stream ?
					"To begin anew with these topics set wal2kafka.adopt_topics to \"on\"; else set another wal2kafka.topic_prefix." :
					psprintf("To go on from slot \"%s\" at %X/%X, which can repeat changes, call wal2kafka.adopt().",
							 c->slot_name, LSN_FORMAT_ARGS(c->confirmed)));

	difference = progress_identity_difference(theirs, &c->own);
	if (difference != NULL)
	{
		if (c->settings->on_promotion == PROMOTION_ADOPT &&
			is_same_stream(theirs, &c->own))
			return true;
		return hold_for_owner(c, theirs, difference);
	}
	if (c->instances.known &&
		!is_our_incarnation(&c->instances, found->record.incarnation))
		return hold(c, "another instance of this server writes to the stream's topics",
					psprintf("The position in Kafka topic \"%s\" was written by none of this server's workers, although machine, directory and timeline are the same.",
							 c->topic),
					"Find the copy of this server, and stop it or give it another wal2kafka.topic_prefix; then call wal2kafka.adopt().");
	return true;
}

/*
 * The end of what this server has.  A standby has more than it has replayed
 * yet, above all after a crash: it waits for what is wanted.
 */
static XLogRecPtr
own_end(Case *c, XLogRecPtr wanted)
{
	TimeLineID	timeline;
	XLogRecPtr	end;
	bool		waiting = false;

	if (!RecoveryInProgress())
		return GetFlushRecPtr(&timeline);
	while ((end = GetXLogReplayRecPtr(&timeline)) < wanted)
	{
		if (!waiting)
		{
			waiting = true;
			ereport(LOG,
					(errhidecontext(true),
					 errmsg("stream \"%s\" waits until WAL is replayed up to %X/%X, where it was before",
							c->stream->name, LSN_FORMAT_ARGS(wanted))));
			stream_set_waiting(c->stream, STREAM_WAIT_REPLAY);
		}
		if (!RecoveryInProgress() || timeline != c->own.timeline)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("the timeline changed while the stream started")));
		delivery_wait(c->delivery, REPLAY_POLL_MS);
	}
	if (waiting)
		stream_set_waiting(c->stream, STREAM_WAIT_NOTHING);
	return end;
}

/*
 * Until where is our history the one in which the record was written?
 * Invalid: it is another one from the beginning.
 */
static XLogRecPtr
common_end(Case *c, TimeLineID timeline, XLogRecPtr wanted)
{
	List	   *history;

	if (timeline == c->own.timeline)
		return own_end(c, wanted);
	history = readTimeLineHistory(c->own.timeline);
	if (!tliInHistory(timeline, history))
		return InvalidXLogRecPtr;
	return tliSwitchPoint(timeline, history, NULL);
}

/*
 * What a former start has found of this record; NULL: nothing.  The file is
 * of no more use when another record was written.
 */
static char *
known_divergence(const char *slot_name, const ProgressRecord *record)
{
	char	   *text = read_file(slot_name, DIVERGED_FILE);

	if (text == NULL ||
		strncmp(text, record->incarnation, INCARNATION_LEN) != 0 ||
		text[INCARNATION_LEN] != ' ')
		return NULL;
	return text + INCARNATION_LEN + 1;
}

/*
 * Does Kafka have what this server has lost?  Also a transaction of which a
 * part is in Kafka, and whose end is in the lost WAL, is such.
 */
static bool
judge_history(Case *c, const ProgressRecord *record)
{
	TimeLineID	timeline = record->identity.timeline;
	XLogRecPtr	sent = Max(record->lsn, record->split_end);
	XLogRecPtr	end;
	char	   *known = known_divergence(c->slot_name, record);
	char	   *detail = known;

	if (!is_same_stream(&record->identity, &c->own))
	{
		/* adopted: positions of another stream mean nothing here */
		c->start->start_lsn = c->confirmed;
		return true;
	}
	end = common_end(c, timeline, sent);
	if (sent <= end && detail == NULL)
	{
		c->start->start_lsn = Max(c->confirmed, record->lsn);
		return true;
	}

	if (detail == NULL)
		detail = psprintf("Kafka has changes up to %X/%X of timeline %u, this server only up to %X/%X: they were lost when it took over or was restored.",
						  LSN_FORMAT_ARGS(sent), timeline,
						  LSN_FORMAT_ARGS(end));
	if (c->settings->on_divergence == DIVERGENCE_HOLD && !c->adopted)
	{
		if (known == NULL)
			write_file(c->slot_name, DIVERGED_FILE,
					   psprintf("%s %s", record->incarnation, detail));
		return hold(c, "Kafka has changes that this server does not have",
					detail,
					"Consumers have rows that are not in the database. To go on from where the histories part, set wal2kafka.on_divergence to \"continue\" or call wal2kafka.adopt(); then compare the tables with wal2kafka.verify() or send them again with wal2kafka.snapshot().");
	}

	/* with the timeline unchanged nobody knows where new WAL began */
	c->start->start_lsn = timeline == c->own.timeline ? c->confirmed :
		Max(c->confirmed, Min(record->lsn, end));
	c->divergence = detail;
	return true;
}

static bool
judge(Case *c, const FoundRecord *found)
{
	c->start->verdict = EXACTLY_ONCE_GO;
	c->start->start_lsn = c->confirmed;
	c->divergence = NULL;
	if (!found->exists)
		return true;
	if (!c->adopted && !judge_owner(c, found))
		return false;
	if (c->new_stream || found->damage != NULL)
		return true;			/* the slot alone says where to begin */
	return judge_history(c, &found->record);
}

/* ---- the start ---- */

/*
 * Our name, and the position that is gone on from.  last is the incarnation
 * of the record that was written last, committed or not; empty: none.
 */
static void
claim(Case *c, const FoundRecord *found, const char *last)
{
	ProgressRecord record = {0};
	uint8		random[INCARNATION_LEN / 2];
	bool		usable = found->exists && found->damage == NULL;

	if (c->divergence != NULL)
		ereport(WARNING,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("Kafka has changes that this server does not have"),
				 errdetail("%s", c->divergence),
				 errhint("The stream goes on from %X/%X. Compare the tables with wal2kafka.verify() or send them again with wal2kafka.snapshot().",
						 LSN_FORMAT_ARGS(c->start->start_lsn))));
	if (usable && !c->new_stream && c->divergence == NULL &&
		is_same_stream(&found->record.identity, &c->own))
		record = found->record;
	record.identity = c->own;
	record.lsn = c->start->start_lsn;
	if (record.split_end <= record.lsn)
		record.split_end = InvalidXLogRecPtr;
	if (!pg_strong_random(random, sizeof(random)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate a random number")));
	for (int i = 0; i < lengthof(random); i++)
		snprintf(record.incarnation + 2 * i, 3, "%02x", random[i]);

	/* a new stream has no folder yet, and nobody whom it could mistake */
	if (!c->new_stream)
		write_instances(c->slot_name,
						usable ? found->record.incarnation : record.incarnation,
						record.incarnation,
						last[0] != '\0' ? last : record.incarnation);
	KILL_POINT("instance_noted");
	delivery_set_progress(c->delivery, &record);
	if (!c->new_stream)
	{
		remove_file(c->slot_name, ADOPT_FILE);
		remove_file(c->slot_name, DIVERGED_FILE);
	}
}

void
exactly_once_start(Delivery *delivery, StreamState *stream,
				   const Settings *settings, const char *slot_name,
				   XLogRecPtr confirmed, bool new_stream,
				   ExactlyOnceStart *start)
{
	Case		c = {
		.settings = settings,
		.slot_name = slot_name,
		.topic = delivery_progress_topic(delivery),
		.delivery = delivery,
		.stream = stream,
		.confirmed = confirmed,
		.new_stream = new_stream,
		.start = start,
	};
	FoundRecord found;
	char		last[INCARNATION_LEN + 1] = "";

	memset(start, 0, sizeof(*start));
	progress_own_identity(&c.own, slot_name);
	if (new_stream)
		c.adopted = settings->adopt_topics;
	else
	{
		read_instances(slot_name, &c.instances);
		c.adopted = read_file(slot_name, ADOPT_FILE) != NULL;
	}

	/* the transaction of the record may be aborted: its owner alone counts */
	read_record(delivery, false, &found);
	if (found.exists && !c.adopted && !judge_owner(&c, &found))
		return;
	if (found.exists && found.damage == NULL)
		strlcpy(last, found.record.incarnation, sizeof(last));
	delivery_fence(delivery);
	if (!new_stream)
		snapshot_fence_readers(delivery, slot_name);
	read_record(delivery, true, &found);
	if (!judge(&c, &found))
		return;
	claim(&c, &found, last);
}
