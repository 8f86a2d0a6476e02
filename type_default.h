/*
 * type_default.h
 *		Defaults of columns as schemas show them.  Private to the type map.
 */
#ifndef WAL2KAFKA_TYPE_DEFAULT_H
#define WAL2KAFKA_TYPE_DEFAULT_H

#include "type_map.h"

/*
 * How values of an Avro type are written as JSON in schemas, and read from
 * there.  render gets the Avro bytes of one value and returns false where
 * JSON cannot say it (infinities); put writes the Avro bytes again.
 */
typedef struct DefaultFormat
{
	bool		(*render) (StringInfo out, const AvroBuffer *buf);
	void		(*put) (const char *json, AvroBuffer *buf);
} DefaultFormat;

extern const DefaultFormat default_format_boolean;
extern const DefaultFormat default_format_long;
extern const DefaultFormat default_format_float;
extern const DefaultFormat default_format_double;
extern const DefaultFormat default_format_string;
extern const DefaultFormat default_format_bytes;

/* Palloc'd; NULL where JSON cannot say it. */
extern char *default_render(const DefaultFormat *format, const AvroBuffer *buf);

/* Is this, below casts, a call of a function, now() or CURRENT_DATE? */
extern bool default_is_function_call(Node *expr);

/*
 * The keyword, where this is CURRENT_USER or another one that is a name;
 * otherwise NULL.
 */
extern const char *default_keyword(Node *expr);

/* ... of this function? */
extern bool default_calls(Node *expr, Oid function);

/*
 * Is this a constant?  Then write it.  Nothing but casts among built-in types
 * is ever evaluated: the expression is the user's, and we are decoding.
 */
extern bool default_encode_constant(const TypeEncoder *encoder, Node *expr,
									AvroBuffer *buf);

#endif							/* WAL2KAFKA_TYPE_DEFAULT_H */
