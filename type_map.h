/*
 * type_map.h
 *		How a column's type becomes Avro: one row a type, its schema part and
 *		its encoder together.
 */
#ifndef WAL2KAFKA_TYPE_MAP_H
#define WAL2KAFKA_TYPE_MAP_H

#include "postgres.h"

#include "avro_encode.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "preload/settings.h"

/* What decides a column's mapping, besides its type. */
typedef struct TypeOptions
{
	const Settings *settings;	/* the modes, the version, the placeholder */
	int			array_dimensions;	/* attndims */
	bool		keep_unknown;	/* whatever include_unknown_datatypes says */
} TypeOptions;

/*
 * What a column's schema says beside what its type does.  Allocated by who
 * fills it.
 */
typedef struct TypeAnnotations
{
	const char *default_json;	/* connect.default; NULL: none */
	const char *doc;			/* connect.doc, UTF-8; NULL: none */
	int			nparameters;	/* connect.parameters, behind the type's own */
	const char **parameters;	/* name, value, name, value ...; UTF-8 */
} TypeAnnotations;

typedef struct TypeMapping TypeMapping; /* a row of the table; private */
typedef struct TypeEncoder TypeEncoder;

/*
 * unavailable_value_placeholder: its bytes, and the text that Java makes of
 * them, in which what is no UTF-8 is U+FFFD.
 */
typedef struct TypePlaceholder
{
	const uint8 *bytes;
	int			nbytes;
	const char *text;
	int			text_len;
} TypePlaceholder;

/*
 * Writes one non-null datum.  Detoasts for itself, into CurrentMemoryContext,
 * which the caller resets after each event.  Raises an error that says what
 * is wrong with the value; the caller adds relation and column.
 */
typedef void (*TypeEncodeFunc) (TypeEncoder *encoder, Datum value,
								AvroBuffer *buf);

/* Makes the value that is sent of the plain one's Avro bytes. */
typedef void (*TypeTransformFunc) (TypeEncoder *encoder,
								   const AvroBuffer *plain, AvroBuffer *buf);

/*
 * A column's type, resolved: the mapping and what its schema and encoder
 * need.  Built by type_map_resolve() in the relation entry's context and
 * freed with it.  domain types are resolved to their base type and typmod.
 */
struct TypeEncoder
{
	TypeEncodeFunc encode;
	const TypeMapping *mapping;
	Oid			typid;			/* base type */
	int32		typmod;
	int16		typlen;
	bool		typbyval;
	char		typalign;
	bool		convert_encoding;	/* server encoding is not UTF-8 */
	int			scale;			/* decimals */
	int			precision;		/* decimals; fraction digits of times */
	FmgrInfo	output;			/* text form; fn_oid InvalidOid: not needed */
	TypeEncoder *element;		/* arrays; NULL otherwise */
	bool		elements_nullable;	/* arrays */
	int			dimensions;		/* arrays: as the column declares them */
	void	   *cache;			/* the encoder's own, e.g. labels of an enum */
	const TypePlaceholder *placeholder; /* for unchanged TOAST values */

	/*
	 * Of a column that is masked, hashed or truncated (column_transform.h):
	 * what writes the plain value, and what makes the sent one of it.  NULL
	 * otherwise.
	 */
	TypeEncoder *plain;
	TypeTransformFunc transform;
	bool		constant;		/* the same for all values, for null too:
								 * encode() does not look at the datum */
};

/*
 * An empty buffer, which grows in the context beyond the limit of palloc().
 */
extern void avro_buffer_init(AvroBuffer *buf, MemoryContext cxt);

/*
 * Empty it for the next value.  What one value made very large is given back.
 */
extern void avro_buffer_restart(AvroBuffer *buf);

/*
 * Resolve a column's type.  Needs catalog access (a transaction, or the
 * historic snapshot of a decoding callback).  Never fails for want of a
 * mapping: any type has at least its text form.  NULL if Debezium has no
 * mapping, and include_unknown_datatypes leaves such columns out.
 */
extern TypeEncoder *type_map_resolve(Oid typid, int32 typmod,
									 const TypeOptions *options);

/*
 * Append the schema of the type: "\"int\"", or an object, in UTF-8.
 * annotations may be NULL.  named is the list of full names of records that
 * were already written out in this schema (a record that is used twice is
 * written by name at its second use); the function adds to it.
 */
extern void type_map_append_schema(StringInfo out, const TypeEncoder *encoder,
								   const TypeAnnotations *annotations,
								   const char *enclosing_namespace,
								   List **named);

/*
 * Append what is to be said of it behind the field's default, or nothing:
 * connect.parameters of a column whose record an earlier field wrote out.
 */
extern void type_map_append_field_parameters(StringInfo out,
											 const TypeEncoder *encoder,
											 const TypeAnnotations *annotations,
											 List **named);

/*
 * The default of a column as the schema shows it, by Debezium's rules
 * (debezium-format.md, 15): JSON text, or NULL for none.  expr is the stored
 * default's node tree, NULL where the column has none; a generated column has
 * no default.  Palloc'd.
 */
extern char *type_map_default_json(const TypeEncoder *encoder, Node *expr);

/*
 * Write what stands for a value that a DELETE's key-only old row does not
 * have in a NOT NULL column: the default where default_json has one, else
 * the type's fallback (0, false, "", empty bytes, epoch ...).
 */
extern void type_map_put_fallback(const TypeEncoder *encoder,
								  const char *default_json, AvroBuffer *buf);

/* Write the placeholder of an unchanged TOAST value. */
extern void type_map_put_unavailable(const TypeEncoder *encoder,
									 AvroBuffer *buf);

/*
 * Can this value be an unchanged TOAST pointer at all, i.e. is typlen -1?
 */
#define type_map_can_toast(encoder)	((encoder)->typlen == -1)

/*
 * Do Debezium's schemas make the field a union with null even where the
 * column is NOT NULL?
 */
extern bool type_map_always_optional(const TypeEncoder *encoder);

/* Is the value an Avro string, plain bytes? */
extern bool type_map_is_string(const TypeEncoder *encoder);
extern bool type_map_is_bytes(const TypeEncoder *encoder);

/* Checks the table: sorted, unique, complete.  For assert builds. */
extern void type_map_check(void);

#endif							/* WAL2KAFKA_TYPE_MAP_H */
