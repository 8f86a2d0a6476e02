/*
 * progress_record.c
 *		How far a stream is, as it stands in Kafka beside the data.
 *
 * The value is one JSON object, so that people can read it with any consumer.
 * Its last member is the CRC-32C of the text before it: whoever may write to
 * the topic could otherwise move a stream by a typing error.  Names in it are
 * ASCII; other bytes of a path are written as %XX.
 */
#include "postgres.h"

#include <ctype.h>
#include <fcntl.h>
#include <unistd.h>

#include "access/xlog.h"
#include "access/xlogrecovery.h"
#include "common/hmac.h"
#include "common/sha2.h"
#include "compat.h"
#include "foreign.h"
#include "miscadmin.h"
#include "port/pg_crc32c.h"
#include "progress_record.h"
#include "storage/fd.h"
#include "utils/json.h"
#include "utils/memutils.h"

#define RECORD_VERSION	1

/* The end of a value: ,"crc":"01234567"} */
#define CRC_KEY			",\"crc\":\""
#define CRC_LEN			(sizeof(CRC_KEY) - 1 + 8 + 2)

/* Where Linux systems keep what tells one machine from another. */
#define MACHINE_ID_FILE "/etc/machine-id"
#define MAX_MACHINE_LEN 128
#define SHOWN_MACHINE_BYTES 16

static pg_crc32c
text_crc(const char *text, size_t len)
{
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, text, len);
	FIN_CRC32C(crc);
	return crc;
}

/* ---- writing ---- */

static void
put_text(StringInfo buf, const char *name, const char *value)
{
	appendStringInfo(buf, ",\"%s\":", name);
	escape_json(buf, value);
}

static void
put_lsn(StringInfo buf, const char *name, XLogRecPtr lsn)
{
	appendStringInfo(buf, ",\"%s\":\"%X/%X\"", name, LSN_FORMAT_ARGS(lsn));
}

void
progress_record_write(StringInfo buf, const ProgressRecord *record)
{
	const ProgressIdentity *identity = &record->identity;
	int			start = buf->len;

	appendStringInfo(buf, "{\"version\":%d,\"system_identifier\":\"" UINT64_FORMAT "\",\"database\":%u",
					 RECORD_VERSION, identity->system_identifier,
					 identity->database_oid);
	put_text(buf, "slot", identity->slot_name);
	appendStringInfo(buf, ",\"timeline\":%u", identity->timeline);
	put_text(buf, "machine", identity->machine);
	put_text(buf, "data_directory", identity->data_directory);
	put_text(buf, "incarnation", record->incarnation);
	put_lsn(buf, "lsn", record->lsn);
	if (!XLogRecPtrIsInvalid(record->split_end))
	{
		put_lsn(buf, "split_end", record->split_end);
		put_lsn(buf, "split_lsn", record->split_lsn);
		appendStringInfo(buf, ",\"split_events\":" UINT64_FORMAT ",\"split_xid\":%u",
						 record->split_events, record->split_xid);
	}
	appendStringInfo(buf, ",\"commit_time\":" INT64_FORMAT ",\"written_at\":" INT64_FORMAT,
					 record->commit_time, record->written_at);
	appendStringInfo(buf, CRC_KEY "%08x\"}",
					 text_crc(buf->data + start, buf->len - start));
}

/* ---- reading ---- */

/* What a record lacks: set by the first member that is not as it should be. */
typedef struct RecordReader
{
	json_t	   *object;
	const char *wrong;			/* name of that member; NULL: none */
} RecordReader;

static const char *
get_text(RecordReader *reader, const char *name)
{
	const char *value = json_string_value(json_object_get(reader->object,
														  name));

	if (value == NULL && reader->wrong == NULL)
		reader->wrong = name;
	return value != NULL ? value : "";
}

/* A number that is at least minimum and at most maximum. */
static int64
get_number(RecordReader *reader, const char *name, int64 minimum,
		   int64 maximum)
{
	json_t	   *value = json_object_get(reader->object, name);
	int64		number = json_integer_value(value);

	if ((!json_is_integer(value) || number < minimum || number > maximum) &&
		reader->wrong == NULL)
		reader->wrong = name;
	return number;
}

static XLogRecPtr
get_lsn(RecordReader *reader, const char *name)
{
	unsigned int high;
	unsigned int low;
	char		after;

	if (sscanf(get_text(reader, name), "%X/%X%c", &high, &low, &after) != 2)
	{
		if (reader->wrong == NULL)
			reader->wrong = name;
		return InvalidXLogRecPtr;
	}
	return ((uint64) high << 32) | low;
}

static void
get_record(RecordReader *reader, ProgressRecord *record)
{
	ProgressIdentity *identity = &record->identity;
	const char *incarnation = get_text(reader, "incarnation");

	identity->system_identifier =
		strtoull(get_text(reader, "system_identifier"), NULL, 10);
	identity->database_oid = (Oid) get_number(reader, "database", 1,
												 PG_UINT32_MAX);
	identity->slot_name = pstrdup(get_text(reader, "slot"));
	identity->timeline = (TimeLineID) get_number(reader, "timeline", 1,
													  PG_UINT32_MAX);
	identity->machine = pstrdup(get_text(reader, "machine"));
	identity->data_directory = pstrdup(get_text(reader, "data_directory"));
	if (strlen(incarnation) != INCARNATION_LEN && reader->wrong == NULL)
		reader->wrong = "incarnation";
	strlcpy(record->incarnation, incarnation, sizeof(record->incarnation));
	record->lsn = get_lsn(reader, "lsn");
	if (json_object_get(reader->object, "split_end") != NULL)
	{
		record->split_end = get_lsn(reader, "split_end");
		record->split_lsn = get_lsn(reader, "split_lsn");
		record->split_events = (uint64) get_number(reader, "split_events",
													1, PG_INT64_MAX);
		record->split_xid = (TransactionId) get_number(reader, "split_xid", 0,
														PG_UINT32_MAX);
	}
	record->commit_time = get_number(reader, "commit_time", PG_INT64_MIN,
										PG_INT64_MAX);
	record->written_at = get_number(reader, "written_at", PG_INT64_MIN,
									   PG_INT64_MAX);
}

char *
progress_record_read(const char *value, size_t len, ProgressRecord *record)
{
	RecordReader reader = {0};
	OwnedJson  *root;
	json_error_t error;
	char		crc[9];
	char	   *wrong;
	int64		version;

	memset(record, 0, sizeof(*record));
	if (len <= CRC_LEN ||
		memcmp(value + len - CRC_LEN, CRC_KEY, strlen(CRC_KEY)) != 0)
		return pstrdup("It does not end with a checksum.");
	snprintf(crc, sizeof(crc), "%08x", text_crc(value, len - CRC_LEN));
	if (memcmp(value + len - 10, crc, 8) != 0)
		return pstrdup("Its checksum does not fit its contents.");

	root = owned_json();
	root->value = json_loadb(value, len, JSON_REJECT_DUPLICATES, &error);
	if (!json_is_object(root->value))
		return pstrdup("It is not a JSON object.");
	reader.object = root->value;
	version = get_number(&reader, "version", PG_INT64_MIN, PG_INT64_MAX);
	if (version != RECORD_VERSION && reader.wrong == NULL)
		return psprintf("Its version is " INT64_FORMAT ", which this version of wal2kafka does not know.",
						version);
	get_record(&reader, record);
	wrong = reader.wrong ? psprintf("Its member \"%s\" is missing or invalid.",
									reader.wrong) : NULL;
	json_decref(root->value);
	root->value = NULL;
	return wrong;
}

/* ---- identity ---- */

/* Printable ASCII; anything else as %XX. */
static char *
plain_text(const char *text)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (const unsigned char *p = (const unsigned char *) text; *p; p++)
	{
		if (*p > ' ' && *p < 0x7f && *p != '%')
			appendStringInfoChar(&buf, *p);
		else
			appendStringInfo(&buf, "%%%02X", *p);
	}
	return buf.data;
}

/*
 * A machine-id is confidential, so what goes over the network is a keyed hash
 * of it, of this application alone (machine-id(5) asks for just that).
 */
static char *
hashed_machine_id(const char *id)
{
	static const char application[] = "wal2kafka";
	uint8		hash[PG_SHA256_DIGEST_LENGTH];
	char	   *text = palloc(2 * SHOWN_MACHINE_BYTES + 1);
	pg_hmac_ctx *ctx = pg_hmac_create(PG_SHA256);

	if (ctx == NULL ||
		pg_hmac_init(ctx, (const uint8 *) id, strlen(id)) < 0 ||
		pg_hmac_update(ctx, (const uint8 *) application,
					   strlen(application)) < 0 ||
		pg_hmac_final(ctx, hash, sizeof(hash)) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not hash the machine-id: %s",
						pg_hmac_error(ctx))));
	pg_hmac_free(ctx);
	for (int i = 0; i < SHOWN_MACHINE_BYTES; i++)
		snprintf(text + 2 * i, 3, "%02x", hash[i]);
	return text;
}

/*
 * The machine-id, hashed, or the name of the host: containers often lack the
 * former, and where they have it, the latter changes with each start.
 */
static char *
own_machine(void)
{
	char		text[MAX_MACHINE_LEN + 1] = "";
	int			fd = OpenTransientFile(MACHINE_ID_FILE, O_RDONLY | PG_BINARY);
	ssize_t		len = 0;

	if (fd >= 0)
	{
		len = read(fd, text, MAX_MACHINE_LEN);
		CloseTransientFile(fd);
	}
	text[Max(len, 0)] = '\0';
	text[strcspn(text, "\n")] = '\0';
	if (text[0] != '\0')
		return hashed_machine_id(text);
	if (gethostname(text, MAX_MACHINE_LEN) != 0)
		text[0] = '\0';
	return plain_text(text);
}

void
progress_own_identity(ProgressIdentity *identity, const char *slot_name)
{
	char	   *path = realpath(DataDir, NULL);

	identity->system_identifier = GetSystemIdentifier();
	identity->database_oid = MyDatabaseId;
	identity->slot_name = pstrdup(slot_name);
	if (RecoveryInProgress())
		(void) GetXLogReplayRecPtr(&identity->timeline);
	else
		identity->timeline = GetWALInsertionTimeLine();
	identity->machine = own_machine();
	identity->data_directory = plain_text(path != NULL ? path : DataDir);
	free(path);
}

static void
add_difference(StringInfo buf, const char *what, const char *before,
			   const char *now)
{
	if (strcmp(before, now) == 0)
		return;
	appendStringInfo(buf, "%s%s \"%s\" became \"%s\"",
					 buf->len > 0 ? ", " : "", what, before, now);
}

char *
progress_identity_difference(const ProgressIdentity *before,
							 const ProgressIdentity *now)
{
	StringInfoData buf;

	initStringInfo(&buf);
	add_difference(&buf, "system identifier",
				   psprintf(UINT64_FORMAT, before->system_identifier),
				   psprintf(UINT64_FORMAT, now->system_identifier));
	add_difference(&buf, "database", psprintf("%u", before->database_oid),
				   psprintf("%u", now->database_oid));
	add_difference(&buf, "slot", before->slot_name, now->slot_name);
	add_difference(&buf, "timeline", psprintf("%u", before->timeline),
				   psprintf("%u", now->timeline));
	add_difference(&buf, "machine", before->machine, now->machine);
	add_difference(&buf, "data directory", before->data_directory,
				   now->data_directory);
	return buf.len > 0 ? buf.data : NULL;
}
