/*
 * key_fold.c
 *		Records folded by key, and rows compared with what is left.
 *
 * A table with open addressing: an entry has the hash of a key, where its
 * last record is, the sum of its columns' hashes, and the hash of each column
 * that can be TOASTed by itself.  Such a column of an update may be unchanged
 * and not in the record; then what the record before it said still holds.
 *
 * Within a partition the last record wins.  A key that is on several
 * partitions (their number was changed, or its schema's id) takes the one of
 * the latest change.  So where there is more than one, keys that were
 * removed are remembered, too.
 */
#include "postgres.h"

#include "key_fold.h"
#include "utils/memutils.h"

/* A table is at most this full, in percent. */
#define FULL_PERCENT	80

#define MIN_ENTRIES		1024

typedef struct KeyEntry
{
	uint64		key;
	uint64		order;
	uint64		sum;			/* of the columns that cannot be TOASTed */
	int64		offset;
	int32		partition;
	int32		version;
	bool		used;
	bool		live;			/* there is a row by the last record */
	bool		seen;			/* the table has it */
	bool		partial;
	bool		unreadable;
	uint64		toast[FLEXIBLE_ARRAY_MEMBER];	/* 0: not known */
} KeyEntry;

struct KeyFold
{
	RecordDigester *digester;
	int			npartitions;
	int			ntoast;
	int		   *toast;			/* columns */
	Size		entry_size;
	char	   *entries;
	uint64		nentries;
	uint64		limit;
	uint64		used;
	uint64		live;

	/* the slice: keys k with first <= k <= last */
	bool		begun;
	uint64		first;
	uint64		last;
	uint64		width;			/* of slices, less one */
	uint64		truncated_at;	/* order of the last truncate; several
								 * partitions only */
};

KeyFold *
key_fold_create(MemoryContext cxt, RecordDigester *digester,
				int npartitions, uint64 max_keys, Size max_bytes)
{
	MemoryContext old = MemoryContextSwitchTo(cxt);
	KeyFold    *fold = palloc0(sizeof(KeyFold));
	int			ncolumns = record_digester_ncolumns(digester);

	fold->digester = digester;
	fold->npartitions = npartitions;
	fold->toast = palloc(sizeof(int) * Max(ncolumns, 1));
	for (int i = 0; i < ncolumns; i++)
		if (record_digester_placeholder(digester, i) != 0)
			fold->toast[fold->ntoast++] = i;
	fold->entry_size = MAXALIGN(offsetof(KeyEntry, toast) +
								sizeof(uint64) * fold->ntoast);
	fold->nentries = Max(MIN_ENTRIES, Min(max_keys * 100 / FULL_PERCENT + 16,
										  max_bytes / fold->entry_size));
	fold->limit = fold->nentries * FULL_PERCENT / 100;
	fold->entries = MemoryContextAllocHuge(cxt, fold->nentries *
										   fold->entry_size);
	fold->width = PG_UINT64_MAX;
	MemoryContextSwitchTo(old);
	return fold;
}

static inline KeyEntry *
entry_at(const KeyFold *fold, uint64 i)
{
	return (KeyEntry *) (fold->entries + i * fold->entry_size);
}

bool
key_fold_next_slice(KeyFold *fold)
{
	if (fold->begun && fold->last == PG_UINT64_MAX)
		return false;
	fold->first = fold->begun ? fold->last + 1 : 0;
	fold->last = fold->first > PG_UINT64_MAX - fold->width ?
		PG_UINT64_MAX : fold->first + fold->width;
	fold->begun = true;
	fold->used = fold->live = 0;
	fold->truncated_at = 0;
	for (uint64 i = 0; i < fold->nentries; i++)
		entry_at(fold, i)->used = false;
	return true;
}

double
key_fold_passed(const KeyFold *fold)
{
	return ((double) fold->last + 1) / ((double) PG_UINT64_MAX + 1);
}

bool
key_fold_wants(const KeyFold *fold, uint64 key)
{
	return key >= fold->first && key <= fold->last;
}

/* Where an entry would like to be, and what is behind one. */
static inline uint64
home_of(const KeyFold *fold, uint64 key)
{
	return key % fold->nentries;
}

static inline uint64
behind(const KeyFold *fold, uint64 i)
{
	return i + 1 < fold->nentries ? i + 1 : 0;
}

/*
 * The entry of a key, or the free one where it would be.
 */
static KeyEntry *
find(const KeyFold *fold, uint64 key)
{
	uint64		i = home_of(fold, key);

	for (;;)
	{
		KeyEntry   *entry = entry_at(fold, i);

		if (!entry->used || entry->key == key)
			return entry;
		i = behind(fold, i);
	}
}

/*
 * Free an entry: those behind it that would not be found any more move up.
 */
static void
remove_entry(KeyFold *fold, KeyEntry *entry)
{
	uint64		n = fold->nentries;
	uint64		hole = ((char *) entry - fold->entries) / fold->entry_size;
	uint64		i = hole;

	fold->live -= entry->live;
	fold->used--;
	for (;;)
	{
		KeyEntry   *next;

		i = behind(fold, i);
		next = entry_at(fold, i);
		if (!next->used)
			break;
		/* may it stand in the hole, which is at or behind its place? */
		if ((i + n - home_of(fold, next->key)) % n >= (i + n - hole) % n)
		{
			memcpy(entry_at(fold, hole), next, fold->entry_size);
			hole = i;
		}
	}
	entry_at(fold, hole)->used = false;
}

/*
 * Remove what a condition holds for.
 */
static void
remove_all(KeyFold *fold, bool (*condition) (const KeyFold *fold,
											 const KeyEntry *entry))
{
	for (uint64 i = 0; i < fold->nentries;)
	{
		KeyEntry   *entry = entry_at(fold, i);

		/* what moves up is looked at, too */
		if (entry->used && condition(fold, entry))
			remove_entry(fold, entry);
		else
			i++;
	}
}

static bool
is_outside(const KeyFold *fold, const KeyEntry *entry)
{
	return !key_fold_wants(fold, entry->key);
}

static bool
is_truncated(const KeyFold *fold, const KeyEntry *entry)
{
	return entry->order < fold->truncated_at;
}

static bool
is_any(const KeyFold *fold, const KeyEntry *entry)
{
	return true;
}

/*
 * Make room: the slice gets half as large until there is some.
 */
static void
cut_slice(KeyFold *fold)
{
	while (fold->used >= fold->limit && fold->first < fold->last)
	{
		fold->width /= 2;
		fold->last = fold->first + fold->width;
		remove_all(fold, is_outside);
	}
}

/*
 * Is the record older than what is known of its key from another partition?
 */
static bool
is_overtaken(const KeyEntry *entry, const KafkaRecord *record,
			 const RecordDigest *digest)
{
	if (entry->partition == record->partition)
		return false;
	/* it follows a delete, on the partition of that */
	if (digest->is_tombstone)
		return true;
	return digest->order < entry->order;
}

static void
fold_row(KeyFold *fold, KeyEntry *entry, const KafkaRecord *record,
		 const RecordDigest *digest)
{
	int			ncolumns = record_digester_ncolumns(fold->digester);
	bool		was_live = entry->live && !entry->unreadable;

	fold->live += !entry->live;
	entry->live = true;
	entry->unreadable = digest->effect == RECORD_UNREADABLE;
	entry->version = digest->version;
	entry->partial = digest->partial;
	entry->sum = 0;
	if (entry->unreadable)
		return;
	for (int i = 0; i < ncolumns; i++)
		entry->sum += digest->columns[i];
	for (int i = 0; i < fold->ntoast; i++)
	{
		uint64		hash = digest->columns[fold->toast[i]];

		entry->sum -= hash;
		if (hash != record_digester_placeholder(fold->digester,
												fold->toast[i]))
			entry->toast[i] = hash;
		else if (!was_live)
			entry->toast[i] = 0;
	}
}

static void
fold_truncate(KeyFold *fold, const RecordDigest *digest)
{
	if (fold->npartitions == 1)
	{
		remove_all(fold, is_any);
		return;
	}
	fold->truncated_at = Max(fold->truncated_at, digest->order);
}

void
key_fold_record(KeyFold *fold, const KafkaRecord *record,
				const RecordDigest *digest)
{
	KeyEntry   *entry;
	bool		removes = digest->effect == RECORD_REMOVES_ROW;

	if (digest->effect == RECORD_REMOVES_ALL)
	{
		fold_truncate(fold, digest);
		return;
	}
	if (digest->effect == RECORD_IS_OTHERS || !digest->has_key ||
		!key_fold_wants(fold, digest->key))
		return;

	entry = find(fold, digest->key);
	if (entry->used && is_overtaken(entry, record, digest))
		return;
	if (removes && fold->npartitions == 1)
	{
		if (entry->used)
			remove_entry(fold, entry);
		return;
	}
	if (!entry->used)
	{
		if (digest->is_tombstone)
			return;
		if (fold->used >= fold->limit)
		{
			cut_slice(fold);
			if (!key_fold_wants(fold, digest->key))
				return;
			entry = find(fold, digest->key);
		}
		memset(entry, 0, fold->entry_size);
		entry->key = digest->key;
		entry->used = true;
		fold->used++;
	}
	entry->partition = record->partition;
	entry->offset = record->offset;
	if (!digest->is_tombstone)
		entry->order = digest->order;
	if (!removes)
		fold_row(fold, entry, record, digest);
	else if (entry->live)
	{
		entry->live = false;
		fold->live--;
	}
}

void
key_fold_end_records(KeyFold *fold)
{
	if (fold->truncated_at != 0)
		remove_all(fold, is_truncated);
}

uint64
key_fold_keys(const KeyFold *fold)
{
	return fold->live;
}

/*
 * Compare what the two have in common.
 */
static void
compare_columns(KeyFold *fold, const KeyEntry *entry,
				const RecordDigest *row, KeyMatch *match)
{
	RecordDigester *digester = fold->digester;
	int			ncolumns = record_digester_ncolumns(digester);
	uint64		sum = 0;

	for (int i = 0; i < ncolumns; i++)
		if (entry->version == 0 ||
			record_digester_has(digester, entry->version, i))
			sum += row->columns[i];
	for (int i = 0; i < fold->ntoast; i++)
	{
		int			column = fold->toast[i];

		if (entry->version != 0 &&
			!record_digester_has(digester, entry->version, column))
			continue;
		sum -= row->columns[column];
		if (entry->toast[i] == 0)
			match->unknown++;
		else if (entry->toast[i] != row->columns[column])
			match->verdict = KEY_DIFFERENT;
	}
	if (sum != entry->sum)
		match->verdict = KEY_DIFFERENT;
}

void
key_fold_compare(KeyFold *fold, const RecordDigest *row, KeyMatch *match)
{
	KeyEntry   *entry;

	memset(match, 0, sizeof(KeyMatch));
	entry = find(fold, row->key);
	if (!entry->used || !entry->live)
	{
		match->verdict = KEY_MISSING;
		return;
	}
	match->partition = entry->partition;
	match->offset = entry->offset;
	match->partial = entry->partial;
	if (entry->seen)
		match->verdict = KEY_REPEATED;
	else if (entry->unreadable)
		match->verdict = KEY_DIFFERENT;
	else
	{
		match->verdict = KEY_EQUAL;
		compare_columns(fold, entry, row, match);
	}
	entry->seen = true;
}

bool
key_fold_left_over(KeyFold *fold, uint64 *cursor, int32 *partition,
				   int64 *offset)
{
	while (*cursor < fold->nentries)
	{
		const KeyEntry *entry = entry_at(fold, (*cursor)++);

		if (entry->used && entry->live && !entry->seen)
		{
			*partition = entry->partition;
			*offset = entry->offset;
			return true;
		}
	}
	return false;
}
