/*
 * fuzz_shim.c
 *		More of the server than test/unit/server_shim.c has, and libFuzzer's
 *		entry.
 *
 * Of the server's functions here is what our files need on the paths that
 * drivers take.  A function that no driver should reach aborts.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "fmgr.h"
#include "fuzz.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/memutils.h"

/* A frame of an instrumented program is large. */
#define STACK_LIMIT		(4 * 1024 * 1024)

volatile sig_atomic_t InterruptPending = false;
bool		process_shared_preload_libraries_in_progress = false;
char	   *GUC_check_errmsg_string;
char	   *GUC_check_errdetail_string;
char	   *GUC_check_errhint_string;
struct Latch *MyLatch;

static const char *stack_base;

/* ---- libFuzzer ---- */

extern int	LLVMFuzzerTestOneInput(const uint8 *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	MemoryContext cxt = AllocSetContextCreate(TopMemoryContext, "input",
											  ALLOCSET_DEFAULT_SIZES);
	bool		raised;

	stack_base = (const char *) &raised;
	CurrentMemoryContext = cxt;
	RAISES(raised, fuzz_input(data, size));
	(void) raised;
	CurrentMemoryContext = TopMemoryContext;
	MemoryContextDelete(cxt);
	return 0;
}

char *
fuzz_string(const uint8 *data, size_t size)
{
	char	   *text = palloc(size + 1);

	memcpy(text, data, size);
	text[size] = '\0';
	return text;
}

char *
fuzz_part(const uint8 **data, size_t *size)
{
	const uint8 *end = memchr(*data, '\0', *size);
	size_t		len = end ? end - *data : *size;
	char	   *part = fuzz_string(*data, len);

	*size -= len + (end != NULL);
	*data += len + (end != NULL);
	return part;
}

bool
fuzz_is_utf8(const char *text)
{
	int			len = strlen(text);

	return pg_encoding_verifymbstr(PG_UTF8, text, len) == len;
}

/* ---- stack, interrupts, transactions ---- */

void
check_stack_depth(void)
{
	char		here;

	if (stack_base - &here > STACK_LIMIT)
		ereport(ERROR,
				(errcode(ERRCODE_STATEMENT_TOO_COMPLEX),
				 errmsg("stack depth limit exceeded")));
}

void
ProcessInterrupts(void)
{
}

bool
IsTransactionState(void)
{
	return true;
}

void
StartTransactionCommand(void)
{
}

void
CommitTransactionCommand(void)
{
}

/* ---- encodings; every database is UTF-8 ---- */

int
GetDatabaseEncoding(void)
{
	return PG_UTF8;
}

const char *
GetDatabaseEncodingName(void)
{
	return "UTF8";
}

bool
pg_verify_mbstr(int encoding, const char *mbstr, int len, bool noError)
{
	if (pg_encoding_verifymbstr(encoding, mbstr, len) == len)
		return true;
	if (!noError)
		ereport(ERROR,
				(errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
				 errmsg("invalid byte sequence")));
	return false;
}

int
pg_encoding_mbcliplen(int encoding, const char *mbstr, int len, int limit)
{
	int			clipped = 0;

	while (len > 0 && *mbstr)
	{
		int			l = pg_encoding_mblen_bounded(encoding, mbstr);

		if (clipped + l > limit || l > len)
			break;
		clipped += l;
		len -= l;
		mbstr += l;
	}
	return clipped;
}

char *
pg_any_to_server(const char *s, int len, int encoding)
{
	pg_verify_mbstr(encoding, s, len, false);
	return unconstify(char *, s);
}

char *
pg_server_to_any(const char *s, int len, int encoding)
{
	return unconstify(char *, s);
}

/* There is no conversion. */
Oid
FindDefaultConversionProc(int32 for_encoding, int32 to_encoding)
{
	return InvalidOid;
}

/* ---- texts ---- */

text *
cstring_to_text(const char *s)
{
	size_t		len = strlen(s);
	text	   *result = palloc(len + VARHDRSZ);

	SET_VARSIZE(result, len + VARHDRSZ);
	memcpy(VARDATA(result), s, len);
	return result;
}

struct varlena *
pg_detoast_datum_packed(struct varlena *datum)
{
	return datum;
}

uint64
hex_encode(const char *src, size_t len, char *dst)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++)
	{
		*dst++ = digits[(unsigned char) src[i] >> 4];
		*dst++ = digits[src[i] & 0xF];
	}
	return len * 2;
}

void
escape_json(StringInfo buf, const char *str)
{
	appendStringInfoChar(buf, '"');
	for (const char *p = str; *p; p++)
	{
		if ((unsigned char) *p < ' ' || *p == '"' || *p == '\\')
			appendStringInfo(buf, "\\u%04x", *p);
		else
			appendStringInfoChar(buf, *p);
	}
	appendStringInfoChar(buf, '"');
}

/* ---- files; the port library's function of this name is another ---- */

int
durable_rename(const char *oldfile, const char *newfile, int elevel)
{
	abort();
}

/* ---- settings ---- */

void
pre_format_elog_string(int errnumber, const char *domain)
{
}

char *
format_elog_string(const char *fmt,...)
{
	char		text[4096];
	va_list		args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	return pstrdup(text);
}

/* ---- lists: cells are their own chunk, as lists of the server's end up ---- */

static List *
grow(List *list, NodeTag type)
{
	if (list == NIL)
	{
		list = palloc0(sizeof(List));
		list->type = type;
	}
	if (list->length == list->max_length)
	{
		int			size = Max(8, 2 * list->max_length);
		ListCell   *cells = palloc0(size * sizeof(ListCell));

		if (list->elements != NULL)
		{
			memcpy(cells, list->elements, list->length * sizeof(ListCell));
			pfree(list->elements);
		}
		list->elements = cells;
		list->max_length = size;
	}
	list->length++;
	return list;
}

List *
lappend(List *list, void *datum)
{
	list = grow(list, T_List);
	llast(list) = datum;
	return list;
}

List *
lappend_oid(List *list, Oid datum)
{
	list = grow(list, T_OidList);
	llast_oid(list) = datum;
	return list;
}

List *
list_make1_impl(NodeTag t, ListCell datum1)
{
	List	   *list = grow(NIL, t);

	list->elements[0] = datum1;
	return list;
}

bool
list_member_ptr(const List *list, const void *datum)
{
	for (int i = 0; i < list_length(list); i++)
		if (list->elements[i].ptr_value == datum)
			return true;
	return false;
}

bool
list_member_oid(const List *list, Oid datum)
{
	for (int i = 0; i < list_length(list); i++)
		if (list->elements[i].oid_value == datum)
			return true;
	return false;
}

List *
list_delete_cell(List *list, ListCell *cell)
{
	int			n = cell - list->elements;

	list->length--;
	memmove(cell, cell + 1, (list->length - n) * sizeof(ListCell));
	if (list->length > 0)
		return list;
	list_free(list);
	return NIL;
}

void
list_free(List *list)
{
	if (list == NIL)
		return;
	pfree(list->elements);
	pfree(list);
}

void
list_free_deep(List *list)
{
	for (int i = 0; i < list_length(list); i++)
		pfree(list->elements[i].ptr_value);
	list_free(list);
}
