/*
 * fuzz_progress_record.c
 *		The position record of a stream, which whoever may write to its topic
 *		can make.
 *
 * Input is a record without its end, which the driver adds with the right
 * checksum.  What was read is written, and read again as the same.
 */
#include "../../progress_record.c"

#include "fuzz.h"

static bool
records_equal(const ProgressRecord *a, const ProgressRecord *b)
{
	return progress_identity_difference(&a->identity, &b->identity) == NULL &&
		strcmp(a->incarnation, b->incarnation) == 0 && a->lsn == b->lsn &&
		a->split_end == b->split_end && a->split_lsn == b->split_lsn &&
		a->split_events == b->split_events && a->split_xid == b->split_xid &&
		a->commit_time == b->commit_time && a->written_at == b->written_at;
}

void
fuzz_input(const uint8 *data, size_t size)
{
	ProgressRecord record;
	ProgressRecord again;
	StringInfoData value;
	char	   *reason;

	initStringInfo(&value);
	appendBinaryStringInfo(&value, (const char *) data, size);
	CHECK(progress_record_read(value.data, value.len, &record) != NULL);

	appendStringInfo(&value, CRC_KEY "%08x\"}",
					 text_crc(value.data, value.len));
	reason = progress_record_read(value.data, value.len, &record);
	if (reason != NULL)
	{
		CHECK(reason[0] != '\0' && strlen(reason) < 256);
		return;
	}
	resetStringInfo(&value);
	progress_record_write(&value, &record);
	CHECK(progress_record_read(value.data, value.len, &again) == NULL);

	/* without its end a split's other members are nothing */
	if (record.split_end != InvalidXLogRecPtr)
		CHECK(records_equal(&record, &again));
}
