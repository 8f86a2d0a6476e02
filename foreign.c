/*
 * foreign.c
 *		What comes from other programs: texts for messages, JSON values.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "foreign.h"

static void
owned_json_release(void *arg)
{
	json_decref(((OwnedJson *) arg)->value);
}

OwnedJson *
owned_json(void)
{
	OwnedJson  *owner = palloc0(sizeof(OwnedJson));

	owner->release.func = owned_json_release;
	owner->release.arg = owner;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &owner->release);
	return owner;
}

char *
foreign_text(const char *text, int max_len)
{
	int			len = strlen(text);
	bool		clipped = len > max_len;
	bool		is_utf8;
	char	   *result;

	if (clipped)
		len = pg_encoding_mbcliplen(PG_UTF8, text, len, max_len);
	is_utf8 = GetDatabaseEncoding() == PG_UTF8 &&
		pg_verify_mbstr(PG_UTF8, text, len, true);
	result = palloc(len + 4);
	memcpy(result, text, len);
	strcpy(result + len, clipped ? "..." : "");
	for (int i = 0; i < len; i++)
	{
		if ((unsigned char) result[i] < ' ' || result[i] == 0x7f)
			result[i] = ' ';
		else if (IS_HIGHBIT_SET(result[i]) && !is_utf8)
			result[i] = '?';
	}
	return result;
}
