/*
 * fuzz_snapshot_progress.c
 *		The file that knows of a stream's snapshots, and requests for them.
 *
 * Input is a file without its end, which the driver adds with the right
 * checksum.  What was read is written, and read again as the same.
 */
#include "../../snapshot_progress.c"

#include "fuzz.h"

static void
end_file(StringInfo buf)
{
	appendStringInfo(buf, CRC_KEY "%08x\"}\n", text_crc(buf->data, buf->len));
}

/* NULL with a problem in reader */
static SnapshotProgress *
read_progress(FileReader *reader, StringInfo file)
{
	SnapshotProgress *progress = palloc0(sizeof(SnapshotProgress));
	OwnedJson  *root = owned_json();

	progress->context = CurrentMemoryContext;
	root->value = parse_file(reader, file->data, file->len);
	if (root->value != NULL && reader->problem == NULL)
		get_progress(reader, root->value, progress);
	return reader->problem ? NULL : progress;
}

static void
write_jobs(StringInfo buf, const SnapshotProgress *progress)
{
	ListCell   *cell;

	begin_file(buf);
	put_key(buf, "jobs");
	appendStringInfoChar(buf, '[');
	foreach(cell, progress->jobs)
		put_job(buf, lfirst(cell));
	appendStringInfoChar(buf, ']');
	end_file(buf);
}

void
fuzz_input(const uint8 *data, size_t size)
{
	FileReader	reader = {0};
	FileReader	again = {0};
	SnapshotProgress *progress;
	StringInfoData file;
	StringInfoData written;
	StringInfoData twice;
	ListCell   *cell;

	initStringInfo(&file);
	appendBinaryStringInfo(&file, (const char *) data, size);
	(void) parse_file(&reader, file.data, file.len);
	CHECK(reader.problem != NULL);
	reader.problem = NULL;

	end_file(&file);
	progress = read_progress(&reader, &file);
	if (progress == NULL)
		return;
	write_jobs(&written, progress);
	progress = read_progress(&again, &written);
	CHECK(progress != NULL);
	write_jobs(&twice, progress);
	CHECK(strcmp(written.data, twice.data) == 0);

	/* blocks are what is looked up most */
	foreach(cell, progress->jobs)
	{
		SnapshotJob *job = lfirst(cell);
		ListCell   *cell2;

		foreach(cell2, job->tables)
		{
			SnapshotTable *table = lfirst(cell2);

			snapshot_table_add_blocks(progress, table, size, size + 7);
			CHECK(snapshot_blocks_have(table->blocks, table->nblocks, size));
		}
		(void) snapshot_job_unfinished(job);
	}
}
