/*
 * type_default.c
 *		Defaults of columns as schemas show them (debezium-format.md, 15).
 *
 * Debezium reads the catalog's text of a default: a literal becomes the
 * schema's default, a function call a placeholder, any other expression
 * nothing.  We have the expression's node tree at the change's place in the
 * WAL and come to the same JSON, by way of the column's own encoder: the
 * constant is encoded, and the Avro bytes are rendered.
 *
 * The only functions that are evaluated here are casts among built-in types,
 * for "real DEFAULT 3" or "numeric(6,2) DEFAULT 1.5".  One that fails (out of
 * range) makes a default that no row can have; it shows as none.
 */
#include "postgres.h"

#include <math.h>

#include "access/transam.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "common/shortest_dec.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "avro_schema.h"
#include "type_default.h"

/* A cast's arguments: value, type modifier, is it explicit. */
#define MAX_CAST_ARGS	3

/* ---------------------------------------------------------------------
 * JSON
 * --------------------------------------------------------------------- */

/*
 * Read the next character of a JSON string that avro_schema_append_string()
 * wrote; false at its end.
 */
static bool
next_json_char(const char **json, unsigned char *c)
{
	const char *p = *json;
	static const char escapes[] = "btnfr";
	static const char meanings[] = "\b\t\n\f\r";

	if (*p == '"' || *p == '\0')
		return false;
	if (*p != '\\')
		*c = *p++;
	else if (p[1] == 'u')
	{
		char		hex[5] = {p[2], p[3], p[4], p[5], '\0'};

		*c = (unsigned char) strtol(hex, NULL, 16);
		p += 6;
	}
	else
	{
		const char *escape = strchr(escapes, p[1]);

		*c = escape ? meanings[escape - escapes] : p[1];
		p += 2;
	}
	*json = p;
	return true;
}

/* Length or number at the start of an Avro value; *p moves behind it. */
static int64
read_long(const uint8 **p)
{
	uint64		n = 0;
	int			shift = 0;

	do
	{
		n |= (uint64) (**p & 0x7F) << shift;
		shift += 7;
	} while (*(*p)++ & 0x80);

	return (int64) (n >> 1) ^ -(int64) (n & 1);
}

static bool
render_boolean(StringInfo out, const AvroBuffer *buf)
{
	appendStringInfoString(out, buf->data[0] ? "true" : "false");
	return true;
}

static void
put_boolean(const char *json, AvroBuffer *buf)
{
	avro_put_boolean(buf, *json == 't');
}

static bool
render_long(StringInfo out, const AvroBuffer *buf)
{
	const uint8 *p = buf->data;

	appendStringInfo(out, INT64_FORMAT, read_long(&p));
	return true;
}

static void
put_long(const char *json, AvroBuffer *buf)
{
	avro_put_long(buf, strtoll(json, NULL, 10));
}

/*
 * The shortest decimal text of a number, in Java's form: with a point always,
 * with an exponent below a thousandth and from ten million.
 */
static void
append_java_number(StringInfo out, const char *shortest)
{
	char		digits[32];
	int			ndigits = 0;
	int			point = 0;		/* place of the point among the digits */
	bool		seen_point = false;
	const char *p = shortest;

	if (*p == '-')
		appendStringInfoChar(out, *p++);
	for (; *p && *p != 'e'; p++)
	{
		if (*p == '.')
			seen_point = true;
		else
		{
			if (ndigits > 0 || *p != '0')
				digits[ndigits++] = *p;
			else if (seen_point)
				point--;
			if (!seen_point && ndigits > 0)
				point++;
		}
	}
	if (*p == 'e')
		point += atoi(p + 1);
	while (ndigits > 1 && digits[ndigits - 1] == '0')
		ndigits--;
	digits[ndigits] = '\0';

	if (ndigits == 0)
		appendStringInfoString(out, "0.0");
	else if (point > 7 || point < -2)
		appendStringInfo(out, "%c.%sE%d", digits[0],
						 ndigits > 1 ? digits + 1 : "0", point - 1);
	else if (point <= 0)
		appendStringInfo(out, "0.%.*s%s", -point, "00", digits);
	else if (point < ndigits)
		appendStringInfo(out, "%.*s.%s", point, digits, digits + point);
	else
		appendStringInfo(out, "%s%.*s.0", digits, point - ndigits, "000000");
}

static bool
render_float(StringInfo out, const AvroBuffer *buf)
{
	char		shortest[FLOAT_SHORTEST_DECIMAL_LEN];
	uint32		bits = 0;
	float		value;

	for (int i = 0; i < 4; i++)
		bits |= (uint32) buf->data[i] << (8 * i);
	memcpy(&value, &bits, sizeof(value));
	if (isnan(value) || isinf(value))
		return false;
	float_to_shortest_decimal_buf(value, shortest);
	append_java_number(out, shortest);
	return true;
}

static void
put_float(const char *json, AvroBuffer *buf)
{
	avro_put_float(buf, strtof(json, NULL));
}

static bool
render_double(StringInfo out, const AvroBuffer *buf)
{
	char		shortest[DOUBLE_SHORTEST_DECIMAL_LEN];
	uint64		bits = 0;
	double		value;

	for (int i = 0; i < 8; i++)
		bits |= (uint64) buf->data[i] << (8 * i);
	memcpy(&value, &bits, sizeof(value));
	if (isnan(value) || isinf(value))
		return false;
	double_to_shortest_decimal_buf(value, shortest);
	append_java_number(out, shortest);
	return true;
}

static void
put_double(const char *json, AvroBuffer *buf)
{
	avro_put_double(buf, strtod(json, NULL));
}

static bool
render_string(StringInfo out, const AvroBuffer *buf)
{
	const uint8 *p = buf->data;
	int64		len = read_long(&p);

	avro_schema_append_string(out, (const char *) p, len);
	return true;
}

static void
put_string_default(const char *json, AvroBuffer *buf)
{
	size_t		len = strlen(json);
	char	   *text = palloc(len);
	size_t		n = 0;
	unsigned char c;

	json++;
	while (next_json_char(&json, &c))
		text[n++] = c;
	avro_put_bytes(buf, text, n);
	pfree(text);
}

/* Each byte is the character of that number. */
static bool
render_bytes(StringInfo out, const AvroBuffer *buf)
{
	const uint8 *p = buf->data;
	int64		len = read_long(&p);
	StringInfoData text;

	initStringInfo(&text);
	for (; len > 0; len--, p++)
	{
		if (*p < 0x80)
			appendStringInfoChar(&text, *p);
		else
		{
			appendStringInfoChar(&text, 0xC0 | (*p >> 6));
			appendStringInfoChar(&text, 0x80 | (*p & 0x3F));
		}
	}
	avro_schema_append_string(out, text.data, text.len);
	return true;
}

static void
put_bytes_default(const char *json, AvroBuffer *buf)
{
	size_t		len = strlen(json);
	uint8	   *bytes = palloc(len);
	size_t		n = 0;
	unsigned char c;

	json++;
	while (next_json_char(&json, &c))
	{
		if (c >= 0x80)
			c = (uint8) (c << 6) | (*json++ & 0x3F);
		bytes[n++] = c;
	}
	avro_put_bytes(buf, bytes, n);
	pfree(bytes);
}

const DefaultFormat default_format_boolean = {render_boolean, put_boolean};
const DefaultFormat default_format_long = {render_long, put_long};
const DefaultFormat default_format_float = {render_float, put_float};
const DefaultFormat default_format_double = {render_double, put_double};
const DefaultFormat default_format_string = {render_string, put_string_default};
const DefaultFormat default_format_bytes = {render_bytes, put_bytes_default};

char *
default_render(const DefaultFormat *format, const AvroBuffer *buf)
{
	StringInfoData json;

	initStringInfo(&json);
	if (!format->render(&json, buf))
		return NULL;
	return json.data;
}

/* ---------------------------------------------------------------------
 * Expressions
 * --------------------------------------------------------------------- */

static bool
is_cast(FuncExpr *call)
{
	return (call->funcformat == COERCE_EXPLICIT_CAST ||
			call->funcformat == COERCE_IMPLICIT_CAST) && call->args != NIL;
}

/* What is below all casts. */
static Node *
strip_casts(Node *expr)
{
	for (;;)
	{
		if (IsA(expr, RelabelType))
			expr = (Node *) castNode(RelabelType, expr)->arg;
		else if (IsA(expr, CoerceViaIO))
			expr = (Node *) castNode(CoerceViaIO, expr)->arg;
		else if (IsA(expr, CollateExpr))
			expr = (Node *) castNode(CollateExpr, expr)->arg;
		else if (IsA(expr, FuncExpr) && is_cast(castNode(FuncExpr, expr)))
			expr = linitial(castNode(FuncExpr, expr)->args);
		else
			return expr;
	}
}

bool
default_is_function_call(Node *expr)
{
	expr = strip_casts(expr);
	return IsA(expr, FuncExpr) || IsA(expr, SQLValueFunction);
}

const char *
default_keyword(Node *expr)
{
	static const struct
	{
		SQLValueFunctionOp op;
		const char *name;
	}			keywords[] = {
		{SVFOP_CURRENT_ROLE, "CURRENT_ROLE"},
		{SVFOP_CURRENT_USER, "CURRENT_USER"},
		{SVFOP_USER, "USER"},
		{SVFOP_SESSION_USER, "SESSION_USER"},
		{SVFOP_CURRENT_CATALOG, "CURRENT_CATALOG"},
		{SVFOP_CURRENT_SCHEMA, "CURRENT_SCHEMA"},
	};

	expr = strip_casts(expr);
	if (IsA(expr, SQLValueFunction))
		for (int i = 0; i < lengthof(keywords); i++)
			if (castNode(SQLValueFunction, expr)->op == keywords[i].op)
				return keywords[i].name;
	return NULL;
}

bool
default_calls(Node *expr, Oid function)
{
	expr = strip_casts(expr);
	return IsA(expr, FuncExpr) && castNode(FuncExpr, expr)->funcid == function;
}

/*
 * Evaluate constants and immutable built-in casts of them; false for anything
 * else, and for null.  The planner's evaluation would do, but it holds
 * references to caches while it calls a function, which an error would leak.
 */
static bool
evaluate_casts(Node *node, Datum *value)
{
	LOCAL_FCINFO(fcinfo, MAX_CAST_ARGS);
	FuncExpr   *call;
	FmgrInfo	flinfo;
	ListCell   *lc;
	int			nargs = 0;

	check_stack_depth();

	if (IsA(node, Const))
	{
		*value = castNode(Const, node)->constvalue;
		return !castNode(Const, node)->constisnull;
	}
	if (IsA(node, RelabelType))
		return evaluate_casts((Node *) castNode(RelabelType, node)->arg, value);
	if (IsA(node, CollateExpr))
		return evaluate_casts((Node *) castNode(CollateExpr, node)->arg, value);
	if (!IsA(node, FuncExpr))
		return false;

	call = castNode(FuncExpr, node);
	if (!is_cast(call) || list_length(call->args) > MAX_CAST_ARGS ||
		call->funcid >= FirstUnpinnedObjectId ||
		func_volatile(call->funcid) != PROVOLATILE_IMMUTABLE)
		return false;

	fmgr_info(call->funcid, &flinfo);
	fmgr_info_set_expr(node, &flinfo);
	InitFunctionCallInfoData(*fcinfo, &flinfo, list_length(call->args),
							 call->inputcollid, NULL, NULL);
	foreach(lc, call->args)
	{
		if (!evaluate_casts(lfirst(lc), &fcinfo->args[nargs].value))
			return false;
		fcinfo->args[nargs++].isnull = false;
	}
	*value = FunctionCallInvoke(fcinfo);
	return !fcinfo->isnull;
}

/*
 * Debezium shows no default for these, or a number that is none of theirs.
 */
static bool
is_infinite_date(Oid typid, Datum value)
{
	if (typid == DATEOID)
		return DATE_NOT_FINITE(DatumGetDateADT(value));
	if (typid == TIMESTAMPOID || typid == TIMESTAMPTZOID)
		return TIMESTAMP_NOT_FINITE(DatumGetTimestamp(value));
	return false;
}

/*
 * Does this numeric(p,s) have digits that its scale takes away?
 */
static bool
is_rounded(Node *expr, Datum value)
{
	Datum		whole;

	if (!IsA(expr, FuncExpr) ||
		castNode(FuncExpr, expr)->funcid != F_NUMERIC_NUMERIC_INT4)
		return false;
	return evaluate_casts(linitial(castNode(FuncExpr, expr)->args), &whole) &&
		!DatumGetBool(DirectFunctionCall2(numeric_eq, whole, value));
}

/* Evaluate and encode; the caller catches what the values may raise. */
static bool
evaluate_and_encode(const TypeEncoder *encoder, Node *expr, AvroBuffer *buf)
{
	TypeEncoder copy = *encoder;
	Datum		value;

	/* Schemas show a char(n)'s default as it was written, not padded. */
	if (encoder->typid == BPCHAROID && IsA(expr, FuncExpr) &&
		castNode(FuncExpr, expr)->funcid == F_BPCHAR_BPCHAR_INT4_BOOL)
		expr = linitial(castNode(FuncExpr, expr)->args);

	if (exprType(expr) != encoder->typid || !evaluate_casts(expr, &value))
		return false;
	if (is_infinite_date(encoder->typid, value) || is_rounded(expr, value))
		return false;
	encoder->encode(&copy, value, buf);
	return true;
}

bool
default_encode_constant(const TypeEncoder *encoder, Node *expr,
						AvroBuffer *buf)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext scratch;
	volatile bool done = false;

	scratch = AllocSetContextCreate(caller, "wal2kafka column default",
									ALLOCSET_SMALL_SIZES);
	MemoryContextSwitchTo(scratch);
	PG_TRY();
	{
		done = evaluate_and_encode(encoder, expr, buf);
	}
	PG_CATCH();
	{
		/* A wrong value; nothing that was held has to be cleaned up. */
		if (ERRCODE_TO_CATEGORY(geterrcode()) != ERRCODE_DATA_EXCEPTION)
			PG_RE_THROW();
		FlushErrorState();
		done = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(scratch);

	return done;
}
