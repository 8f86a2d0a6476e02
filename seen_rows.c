/*
 * seen_rows.c
 *		Which versions of rows a snapshot saw, long after it is gone.
 */
#include "postgres.h"

#include "access/transam.h"
#include "lib/stringinfo.h"
#include "seen_rows.h"

/* More running transactions than that are not written down. */
#define MAX_RUNNING		1000

char *
seen_rows_text(Snapshot snapshot)
{
	bool		all = !snapshot->suboverflowed &&
		snapshot->xcnt + Max(snapshot->subxcnt, 0) <= MAX_RUNNING;
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, "%u:%u:", snapshot->xmin,
					 all ? snapshot->xmax : snapshot->xmin);
	if (!all)
		return buf.data;
	for (uint32 i = 0; i < snapshot->xcnt; i++)
		appendStringInfo(&buf, "%s%u", i > 0 ? "," : "", snapshot->xip[i]);
	for (int32 i = 0; i < snapshot->subxcnt; i++)
		appendStringInfo(&buf, "%s%u", snapshot->xcnt + i > 0 ? "," : "",
						 snapshot->subxip[i]);
	return buf.data;
}

static int
compare_xids(const void *a, const void *b)
{
	TransactionId x = *(const TransactionId *) a;
	TransactionId y = *(const TransactionId *) b;

	return x < y ? -1 : x > y;
}

SeenRows *
seen_rows_parse(const char *text)
{
	unsigned int xmin;
	unsigned int xmax;
	int			used = 0;
	int			n = 0;
	SeenRows   *seen;

	if (sscanf(text, "%u:%u:%n", &xmin, &xmax, &used) != 2 || used == 0 ||
		!TransactionIdIsNormal(xmin) || !TransactionIdIsNormal(xmax))
		return NULL;
	text += used;
	for (const char *p = text; *p != '\0'; p++)
		n += *p == ',';
	seen = palloc(offsetof(SeenRows, running) +
				  sizeof(TransactionId) * (n + 1));
	seen->xmin = xmin;
	seen->xmax = xmax;
	seen->nrunning = 0;
	while (*text != '\0')
	{
		char	   *end;

		seen->running[seen->nrunning++] = strtoul(text, &end, 10);
		if (end == text || (*end != ',' && *end != '\0'))
			return NULL;
		text = *end == ',' ? end + 1 : end;
	}
	qsort(seen->running, seen->nrunning, sizeof(TransactionId), compare_xids);
	return seen;
}

bool
seen_rows_have(const SeenRows *seen, HeapTuple tuple)
{
	TransactionId xmin = HeapTupleHeaderGetRawXmin(tuple->t_data);

	/* of initdb, or frozen before 9.4 */
	if (!TransactionIdIsNormal(xmin))
		return TransactionIdIsValid(xmin);
	if (TransactionIdPrecedes(xmin, seen->xmin))
		return true;

	/* a frozen row's may be so old that it seems to be of the future */
	if (HeapTupleHeaderXminFrozen(tuple->t_data) &&
		TransactionIdFollowsOrEquals(xmin, ReadNextTransactionId()))
		return true;
	return TransactionIdPrecedes(xmin, seen->xmax) &&
		bsearch(&xmin, seen->running, seen->nrunning, sizeof(TransactionId),
				compare_xids) == NULL;
}
