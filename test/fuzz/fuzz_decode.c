/*
 * fuzz_decode.c
 *		wal2kafka.decode(), with libavro behind it.
 *
 * Input that begins with an "f" is a frame behind that; of other input one is
 * made: a letter, a schema, NUL, Avro bytes.
 */
#include "postgres.h"

#include "fmgr.h"
#include "port/pg_bswap.h"

#include "event_serialize.h"
#include "fuzz.h"

extern Datum wal2kafka_stream_decode(PG_FUNCTION_ARGS);

static void
put_part(StringInfo out, const void *data, size_t len)
{
	uint32		length = pg_hton32(data ? (uint32) len : PG_UINT32_MAX);

	appendBinaryStringInfo(out, (const void *) &length, sizeof(length));
	if (data)
		appendBinaryStringInfo(out, data, (int) len);
}

static void
decode(const void *frame, size_t len)
{
	LOCAL_FCINFO(fcinfo, 1);
	bytea	   *argument = palloc(len + VARHDRSZ);

	SET_VARSIZE(argument, len + VARHDRSZ);
	memcpy(VARDATA(argument), frame, len);
	InitFunctionCallInfoData(*fcinfo, NULL, 1, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = PointerGetDatum(argument);
	fcinfo->args[0].isnull = false;
	(void) wal2kafka_stream_decode(fcinfo);
}

void
fuzz_input(const uint8 *data, size_t size)
{
	StringInfoData frame;
	char	   *schema;

	if (size < 1)
		return;
	if (data[0] == 'f')
	{
		decode(data + 1, size - 1);
		return;
	}
	data++;
	size--;
	schema = fuzz_part(&data, &size);
	initStringInfo(&frame);
	appendBinaryStringInfo(&frame, EVENT_FRAME_MAGIC, EVENT_FRAME_MAGIC_LEN);
	put_part(&frame, "topic", 5);
	put_part(&frame, NULL, 0);
	put_part(&frame, NULL, 0);
	put_part(&frame, schema, strlen(schema));
	put_part(&frame, data, size);
	appendStringInfoChar(&frame, '\0');
	decode(frame.data, frame.len);
}
