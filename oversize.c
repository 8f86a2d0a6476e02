/*
 * oversize.c
 *		Rows that are too large for Kafka: known before they are detoasted, and
 *		made smaller.
 *
 * To make a row smaller, its longest values are cut to one common length, so
 * that most of what is small stays whole.  Text is cut between characters,
 * bytea anywhere; of any other type a part is no value, so that such columns
 * are withheld, as all that have no fixed length are for key_only: they are
 * sent as columns that are not known are, null or the type's zero.  Columns of
 * the key stay as they are.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"

#include "oversize.h"
#include "type_map.h"

/* A value that is cut keeps no less than this, or nothing. */
#define SHORTEST		16

/* So much more than has to go is taken away. */
#define SLACK			64

/* A value that may be made smaller. */
typedef struct Candidate
{
	const RelationColumn *column;
	TupleTableSlot *slot;
	Datum		original;
	size_t		size;			/* without its header, as it is now */
	bool		can_cut;
	bool		withheld;
	bool		changed;
} Candidate;

struct Oversize
{
	OversizedHandling handling;
	int			ncandidates;
	Candidate  *candidates;
	Bitmapset  *withheld;
};

/* ---------------------------------------------------------------------
 * What is known beforehand
 * --------------------------------------------------------------------- */

static bool
is_text(Oid typid)
{
	return typid == TEXTOID || typid == VARCHAROID || typid == BPCHAROID;
}

/*
 * The least that a text of the server's encoding has in UTF-8.  Three bytes
 * for one character may be two there, and four be three, but two or one are
 * never fewer.
 */
static size_t
least_in_utf8(size_t size)
{
	int			encoding = GetDatabaseEncoding();

	if (encoding == PG_UTF8 || pg_encoding_max_length(encoding) < 3)
		return size;
	return size / 3 * 2;
}

/*
 * An entry of a jsonb has 12 bytes for an integer that is written with three
 * characters.
 */
size_t
oversize_least(const TypeEncoder *encoder, size_t raw_size)
{
	size_t		size = raw_size - VARHDRSZ;

	if (encoder->transform != NULL || encoder->constant)
		return 0;
	if (encoder->typid == BYTEAOID)
		return size;
	if (is_text(encoder->typid) || encoder->typid == JSONOID ||
		encoder->typid == XMLOID)
		return least_in_utf8(size);
	if (encoder->typid == JSONBOID)
		return size / 4;
	return 0;
}

static bool
is_unavailable(const TypeEncoder *encoder, Datum value, bool streamed)
{
	return streamed && VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(value));
}

static size_t
least_of_row(const RelationEntry *entry, const TupleTableSlot *slot,
			 bool key_only, bool streamed)
{
	size_t		size = 0;

	if (slot == NULL)
		return 0;
	for (int i = 0; i < entry->ncolumns; i++)
	{
		const RelationColumn *column = &entry->columns[i];
		int			index = column->attnum - 1;
		Datum		value = slot->tts_values[index];

		if (!type_map_can_toast(column->encoder) || slot->tts_isnull[index] ||
			(key_only && !column->in_identity) ||
			is_unavailable(column->encoder, value, streamed))
			continue;
		size += oversize_least(column->encoder, toast_raw_datum_size(value));
	}
	return size;
}

size_t
oversize_least_of_change(const RelationEntry *entry, const RowChange *change)
{
	bool		streamed = change->snapshot == NULL;

	/* an expanded payload has fewer bytes than its text */
	if (entry->shape == SHAPE_OUTBOX)
		return 0;
	if (entry->shape == SHAPE_FLAT)
		return least_of_row(entry, change->after != NULL ? change->after :
							change->before,
							change->after == NULL &&
							change->before_is_key_only, streamed);
	return least_of_row(entry, change->before, change->before_is_key_only,
						streamed) +
		least_of_row(entry, change->after, false, streamed);
}

/* ---------------------------------------------------------------------
 * Making rows smaller
 * --------------------------------------------------------------------- */

static bool
is_in_key(const RelationEntry *entry, int column)
{
	for (int i = 0; i < entry->nkeys; i++)
		if (entry->keys[i] == column)
			return true;
	return false;
}

static void
add_candidates(Oversize *oversize, const RelationEntry *entry,
			   TupleTableSlot *slot, bool key_only, bool streamed)
{
	if (slot == NULL)
		return;
	for (int i = 0; i < entry->ncolumns; i++)
	{
		const RelationColumn *column = &entry->columns[i];
		const TypeEncoder *encoder = column->encoder;
		int			index = column->attnum - 1;
		Datum		value = slot->tts_values[index];
		Candidate  *candidate;

		if (!type_map_can_toast(encoder) || slot->tts_isnull[index] ||
			is_in_key(entry, i) || encoder->transform != NULL ||
			encoder->constant || (key_only && !column->in_identity) ||
			is_unavailable(encoder, value, streamed))
			continue;
		candidate = &oversize->candidates[oversize->ncandidates++];
		memset(candidate, 0, sizeof(Candidate));
		candidate->column = column;
		candidate->slot = slot;
		candidate->original = value;
		candidate->size = toast_raw_datum_size(value) - VARHDRSZ;
		candidate->can_cut = is_text(encoder->typid) ||
			encoder->typid == BYTEAOID;
	}
}

Oversize *
oversize_begin(const RelationEntry *entry, const RowChange *change,
			   OversizedHandling handling)
{
	Oversize   *oversize = palloc0(sizeof(Oversize));
	bool		streamed = change->snapshot == NULL;

	oversize->handling = handling;
	oversize->candidates = palloc(sizeof(Candidate) *
								  Max(entry->ncolumns * 2, 1));
	add_candidates(oversize, entry, change->before,
				   change->before_is_key_only, streamed);
	add_candidates(oversize, entry, change->after, false, streamed);
	return oversize;
}

/*
 * Both rows of a change show a withheld column alike.
 */
static void
withhold(Oversize *oversize, const RelationColumn *column)
{
	oversize->withheld = bms_add_member(oversize->withheld, column->attnum);
	for (int i = 0; i < oversize->ncandidates; i++)
	{
		Candidate  *candidate = &oversize->candidates[i];

		if (candidate->column == column)
		{
			candidate->size = 0;
			candidate->withheld = candidate->changed = true;
		}
	}
}

/*
 * The value's first bytes, without what is behind them in memory.
 */
static void
cut(Candidate *candidate, size_t length)
{
	struct varlena *slice;
	size_t		len;

	slice = PG_DETOAST_DATUM_SLICE(candidate->original, 0, (int32) length);
	len = Min(VARSIZE_ANY_EXHDR(slice), length);
	if (candidate->column->encoder->typid != BYTEAOID)
		len = pg_mbcliplen(VARDATA_ANY(slice), VARSIZE_ANY_EXHDR(slice), len);
	if (VARATT_IS_SHORT(slice))
		SET_VARSIZE_SHORT(slice, len + VARHDRSZ_SHORT);
	else
		SET_VARSIZE(slice, len + VARHDRSZ);
	candidate->slot->tts_values[candidate->column->attnum - 1] =
		PointerGetDatum(slice);
	candidate->size = len;
	candidate->changed = true;
}

/*
 * The largest value of more than this size that cannot be cut; NULL: none.
 */
static Candidate *
largest_uncut(const Oversize *oversize, size_t limit)
{
	Candidate  *largest = NULL;

	for (int i = 0; i < oversize->ncandidates; i++)
	{
		Candidate  *candidate = &oversize->candidates[i];

		if (!candidate->can_cut && candidate->size > limit &&
			(largest == NULL || candidate->size > largest->size))
			largest = candidate;
	}
	return largest;
}

static void
cut_all(Oversize *oversize, size_t limit)
{
	for (int i = 0; i < oversize->ncandidates; i++)
	{
		Candidate  *candidate = &oversize->candidates[i];

		if (candidate->size > limit)
			cut(candidate, limit);
	}
}

static size_t
total_size(const Oversize *oversize)
{
	size_t		total = 0;

	for (int i = 0; i < oversize->ncandidates; i++)
		total += oversize->candidates[i].size;
	return total;
}

static int
compare_sizes(const void *a, const void *b)
{
	size_t		left = *(const size_t *) a;
	size_t		right = *(const size_t *) b;

	return left < right ? 1 : left > right ? -1 : 0;
}

/*
 * The largest size that, with nothing larger, there are so many bytes less; 0
 * if there is none.
 */
static size_t
common_limit(const Oversize *oversize, size_t excess)
{
	int			n = oversize->ncandidates;
	size_t	   *sizes = palloc(sizeof(size_t) * (n + 1));
	size_t		saved = 0;

	for (int i = 0; i < n; i++)
		sizes[i] = oversize->candidates[i].size;
	sizes[n] = 0;
	qsort(sizes, n, sizeof(size_t), compare_sizes);
	for (int i = 0; i < n; i++)
	{
		/* with the first i + 1 cut down to the next one's size */
		size_t		step = (sizes[i] - sizes[i + 1]) * (i + 1);

		if (saved + step >= excess)
		{
			size_t		rest = (excess - saved + i) / (i + 1);

			return sizes[i] - Min(rest, sizes[i]);
		}
		saved += step;
	}
	return 0;
}

/*
 * How many bytes of values have to go.  Encoded, a byte may be several.
 */
static size_t
excess_of_values(const Oversize *oversize, size_t size, size_t limit)
{
	size_t		total = total_size(oversize);
	size_t		excess = size > limit ? size - limit : 0;

	if (excess == 0)
		return total / 2 + 1;
	if (size > total)
		excess = (size_t) ((double) excess * total / size);
	return excess + SLACK;
}

bool
oversize_reduce(Oversize *oversize, size_t size, size_t limit)
{
	size_t		largest = 0;
	size_t		excess = excess_of_values(oversize, size, limit);

	for (int i = 0; i < oversize->ncandidates; i++)
		largest = Max(largest, oversize->candidates[i].size);
	if (largest == 0)
		return false;
	if (oversize->handling == OVERSIZED_KEY_ONLY)
	{
		for (int i = 0; i < oversize->ncandidates; i++)
			withhold(oversize, oversize->candidates[i].column);
		return true;
	}

	for (;;)
	{
		size_t		longest = common_limit(oversize, excess);
		Candidate  *uncut;
		size_t		before = total_size(oversize);

		if (longest < SHORTEST)
			longest = 0;
		uncut = largest_uncut(oversize, longest);
		if (uncut == NULL)
		{
			cut_all(oversize, longest);
			return true;
		}

		/* what it leaves may be room for others */
		withhold(oversize, uncut->column);
		if (before - total_size(oversize) >= excess)
			return true;
		excess -= before - total_size(oversize);
	}
}

const Bitmapset *
oversize_withheld(const Oversize *oversize)
{
	return oversize->withheld;
}

char *
oversize_names(const Oversize *oversize)
{
	StringInfoData names;
	Bitmapset  *named = NULL;

	initStringInfo(&names);
	for (int i = 0; i < oversize->ncandidates; i++)
	{
		const Candidate *candidate = &oversize->candidates[i];

		if (!candidate->changed ||
			bms_is_member(candidate->column->attnum, named))
			continue;
		named = bms_add_member(named, candidate->column->attnum);
		appendStringInfo(&names, "%s%s", names.len > 0 ? "," : "",
						 candidate->column->field.name);
	}
	return names.data;
}

void
oversize_restore(Oversize *oversize)
{
	for (int i = 0; i < oversize->ncandidates; i++)
	{
		const Candidate *candidate = &oversize->candidates[i];

		candidate->slot->tts_values[candidate->column->attnum - 1] =
			candidate->original;
	}
}
