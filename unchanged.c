/*
 * unchanged.c
 *		Updates that change nothing that is sent.
 */
#include "postgres.h"

#include "utils/datum.h"
#include "utils/memutils.h"

#include "type_map.h"
#include "unchanged.h"

struct RowComparer
{
	AvroBuffer	old;
	AvroBuffer	new;
};

RowComparer *
row_comparer_create(MemoryContext cxt)
{
	RowComparer *comparer = MemoryContextAlloc(cxt, sizeof(RowComparer));

	avro_buffer_init(&comparer->old, cxt);
	avro_buffer_init(&comparer->new, cxt);
	return comparer;
}

static void
encode(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	avro_buffer_restart(buf);
	encoder->encode(encoder, value, buf);
}

/*
 * Values that differ in the table may still be sent as the same, masked or
 * rounded: what counts is what is sent.
 */
static bool
same_value(RowComparer *comparer, TypeEncoder *encoder, Datum old_value,
		   Datum new_value)
{
	if (type_map_can_toast(encoder) &&
		VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(new_value)))
		return true;
	if (datum_image_eq(old_value, new_value, encoder->typbyval,
					   encoder->typlen))
		return true;
	encode(encoder, old_value, &comparer->old);
	encode(encoder, new_value, &comparer->new);
	return comparer->old.len == comparer->new.len &&
		memcmp(comparer->old.data, comparer->new.data,
			   comparer->old.len) == 0;
}

static bool
same_column(RowComparer *comparer, const RelationColumn *column,
			TypeEncoder *encoder, TupleTableSlot *old_slot,
			TupleTableSlot *new_slot)
{
	int			index = column->attnum - 1;

	if (encoder->constant)
		return true;
	if (old_slot->tts_isnull[index] || new_slot->tts_isnull[index])
		return old_slot->tts_isnull[index] == new_slot->tts_isnull[index];
	return same_value(comparer, encoder, old_slot->tts_values[index],
					  new_slot->tts_values[index]);
}

bool
row_is_unchanged(RowComparer *comparer, const RelationEntry *entry,
				 TupleTableSlot *old_slot, TupleTableSlot *new_slot)
{
	for (int i = 0; i < entry->ncolumns; i++)
	{
		const RelationColumn *column = &entry->columns[i];

		if (!same_column(comparer, column, column->encoder, old_slot,
						 new_slot))
			return false;
	}

	/* keys may have columns that values lack, and nothing in them is masked */
	for (int i = 0; i < entry->nkeys; i++)
	{
		const RelationColumn *column = &entry->columns[entry->keys[i]];

		if ((entry->keys[i] >= entry->ncolumns ||
			 column->encoder != column->key_encoder) &&
			!same_column(comparer, column, column->key_encoder, old_slot,
						 new_slot))
			return false;
	}
	return true;
}
