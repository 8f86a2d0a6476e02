/*
 * type_text.c
 *		Text forms that are written straight into the buffer.
 *
 * What the server's output functions would give, character by character
 * (sql/text_forms.sql compares them), at a fifth of the cost: they go through
 * sprintf() and a copy or two.  Only common forms are here; what is rare
 * (IPv6) takes the output function too.
 */
#include "postgres.h"

#include <sys/socket.h>

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/inet.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/rangetypes.h"

#include "type_encode.h"
#include "type_text.h"

/* "255.255.255.255/32" */
#define IPV4_TEXT_LEN	18

/* "[-9223372036854775808,9223372036854775807)" */
#define INT_RANGE_LEN	(2 * MAXINT8LEN + 3)

/* What writing the length of a text may touch that is not known before. */
#define LENGTH_ROOM		AVRO_LONG_ROOM

static const char hex_digits[] = "0123456789abcdef";

/* ---------------------------------------------------------------------
 * Network addresses
 * --------------------------------------------------------------------- */

static char *
put_octet(char *p, unsigned n)
{
	if (n >= 100)
		*p++ = '0' + n / 100;
	if (n >= 10)
		*p++ = '0' + n / 10 % 10;
	*p++ = '0' + n % 10;
	return p;
}

/*
 * inet and cidr: the latter always shows its length (network.c).
 */
void
encode_inet(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	struct varlena *address = type_detoast(value);
	char		text[IPV4_TEXT_LEN];
	char	   *p = text;

	if (ip_family(address) != PGSQL_AF_INET)
	{
		encode_output(encoder, PointerGetDatum(address), buf);
		return;
	}
	for (int i = 0; i < 4; i++)
	{
		if (i > 0)
			*p++ = '.';
		p = put_octet(p, ip_addr(address)[i]);
	}
	if (ip_bits(address) != 32 || encoder->typid == CIDROID)
	{
		*p++ = '/';
		p = put_octet(p, ip_bits(address));
	}
	avro_put_bytes(buf, text, p - text);
}

/* 08:00:2b:01:02:03 */
static inline void
put_hex_octets(const unsigned char *octets, int n, AvroBuffer *buf)
{
	uint8	   *p;

	avro_put_long(buf, 3 * n - 1);
	avro_buffer_reserve(buf, 3 * n);
	p = buf->data + buf->len;
	for (int i = 0; i < n; i++)
	{
		*p++ = hex_digits[octets[i] >> 4];
		*p++ = hex_digits[octets[i] & 0xF];
		*p++ = ':';
	}
	buf->len += 3 * n - 1;
}

void
encode_macaddr(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	put_hex_octets((unsigned char *) DatumGetMacaddrP(value), 6, buf);
}

void
encode_macaddr8(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	put_hex_octets((unsigned char *) DatumGetMacaddr8P(value), 8, buf);
}

/* ---------------------------------------------------------------------
 * Ranges of integers
 * --------------------------------------------------------------------- */

/*
 * A bound out of a range's storage (rangetypes.c, range_serialize()): after
 * the type's OID each bound that there is, aligned, and the flags at the end.
 * With a short header nothing is where it should be aligned, so it is copied.
 */
static inline char *
put_bound(char *p, const char **data, int size)
{
	int32		narrow;
	int64		wide;

	if (size == sizeof(int32))
	{
		memcpy(&narrow, *data, sizeof(narrow));
		wide = narrow;
	}
	else
		memcpy(&wide, *data, sizeof(wide));
	*data += size;
	return p + pg_lltoa(wide, p);
}

static inline void
put_int_range(Datum value, int size, AvroBuffer *buf)
{
	struct varlena *range = type_detoast(value);
	const char *data = VARDATA_ANY(range);
	char		flags = data[VARSIZE_ANY_EXHDR(range) - 1];
	char		text[INT_RANGE_LEN + 1];
	char	   *p = text;

	if (flags & RANGE_EMPTY)
	{
		avro_put_bytes(buf, RANGE_EMPTY_LITERAL,
					   sizeof(RANGE_EMPTY_LITERAL) - 1);
		return;
	}
	data += sizeof(Oid);
	*p++ = (flags & RANGE_LB_INC) ? '[' : '(';
	if (RANGE_HAS_LBOUND(flags))
		p = put_bound(p, &data, size);
	*p++ = ',';
	if (RANGE_HAS_UBOUND(flags))
		p = put_bound(p, &data, size);
	*p++ = (flags & RANGE_UB_INC) ? ']' : ')';
	avro_put_bytes(buf, text, p - text);
}

void
encode_int4range(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	put_int_range(value, sizeof(int32), buf);
}

void
encode_int8range(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	put_int_range(value, sizeof(int64), buf);
}

/* ---------------------------------------------------------------------
 * jsonb
 * --------------------------------------------------------------------- */

static inline void
put_char(AvroBuffer *buf, char c)
{
	avro_buffer_reserve(buf, 1);
	buf->data[buf->len++] = c;
}

/*
 * A text whose length is known at its end only: room for the longest length,
 * and what of it is not needed is closed again.
 */
static inline size_t
begin_text(AvroBuffer *buf)
{
	avro_buffer_reserve(buf, LENGTH_ROOM);
	buf->len += LENGTH_ROOM;
	return buf->len;
}

static inline void
end_text(AvroBuffer *buf, size_t start)
{
	size_t		len = buf->len - start;
	size_t		prefix = start - LENGTH_ROOM;

	/* avro_put_long() may write on behind what counts: into the text */
	for (uint64 n = (uint64) len << 1; true; n >>= 7)
	{
		buf->data[prefix++] = (uint8) (n < 0x80 ? n : n | 0x80);
		if (n < 0x80)
			break;
	}
	if (prefix != start)
		memmove(buf->data + prefix, buf->data + start, len);
	buf->len = prefix + len;
}

/* As json.c's escape_json(). */
static void
put_json_string(AvroBuffer *buf, const char *text, int len)
{
	const char *end = text + len;

	put_char(buf, '"');
	while (text < end)
	{
		const char *plain = text;
		static const char special[] = "\b\f\n\r\t\"\\";
		static const char letters[] = "bfnrt\"\\";
		const char *found;
		unsigned char c = 0;

		while (text < end &&
			   (c = *text) >= ' ' && c != '"' && c != '\\')
			text++;
		avro_put_raw(buf, plain, text - plain);
		if (text == end)
			break;
		text++;
		put_char(buf, '\\');
		found = c != '\0' ? strchr(special, c) : NULL;
		if (found != NULL)
			put_char(buf, letters[found - special]);
		else
		{
			avro_put_raw(buf, "u00", 3);
			put_char(buf, hex_digits[c >> 4]);
			put_char(buf, hex_digits[c & 0xF]);
		}
	}
	put_char(buf, '"');
}

static void
put_json_scalar(AvroBuffer *buf, const JsonbValue *scalar)
{
	const char *text;

	switch (scalar->type)
	{
		case jbvNull:
			avro_put_raw(buf, "null", 4);
			break;
		case jbvString:
			put_json_string(buf, scalar->val.string.val,
							scalar->val.string.len);
			break;
		case jbvNumeric:
			text = DatumGetCString(DirectFunctionCall1(numeric_out,
													   NumericGetDatum(scalar->val.numeric)));
			avro_put_raw(buf, text, strlen(text));
			break;
		case jbvBool:
			if (scalar->val.boolean)
				avro_put_raw(buf, "true", 4);
			else
				avro_put_raw(buf, "false", 5);
			break;
		default:
			elog(ERROR, "unknown type of jsonb scalar: %d", scalar->type);
	}
}

/*
 * The text that jsonb's output function writes: ", " and ": " between parts.
 */
static void
put_json(AvroBuffer *buf, JsonbContainer *container)
{
	JsonbIterator *it = JsonbIteratorInit(container);
	bool		first = true;	/* nothing stands before, in this level */
	bool		raw = false;	/* the array is the wrapper of a scalar */
	JsonbIteratorToken token;
	JsonbValue	value;

	while ((token = JsonbIteratorNext(&it, &value, false)) != WJB_DONE)
	{
		bool		opens = token == WJB_BEGIN_ARRAY ||
			token == WJB_BEGIN_OBJECT;

		if (!first && (opens || token == WJB_KEY || token == WJB_ELEM))
			avro_put_raw(buf, ", ", 2);
		first = opens || token == WJB_KEY;
		if (token == WJB_BEGIN_ARRAY && value.val.array.rawScalar)
			raw = true;
		else if (opens)
			put_char(buf, token == WJB_BEGIN_ARRAY ? '[' : '{');
		else if (token == WJB_KEY)
		{
			put_json_string(buf, value.val.string.val, value.val.string.len);
			avro_put_raw(buf, ": ", 2);
		}
		else if (token == WJB_END_OBJECT)
			put_char(buf, '}');
		else if (token != WJB_END_ARRAY)
			put_json_scalar(buf, &value);
		else if (!raw)
			put_char(buf, ']');
	}
}

void
encode_jsonb(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	Jsonb	   *jsonb = DatumGetJsonbP(PointerGetDatum(type_detoast(value)));
	StringInfoData text;
	size_t		start;

	if (!encoder->convert_encoding)
	{
		start = begin_text(buf);
		put_json(buf, &jsonb->root);
		end_text(buf, start);
		return;
	}
	initStringInfo(&text);
	JsonbToCString(&text, &jsonb->root, VARSIZE(jsonb));
	type_put_text(encoder, text.data, text.len, buf);
}
