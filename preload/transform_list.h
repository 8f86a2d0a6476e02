/*
 * transform_list.h
 *		What an entry of column_transforms says by its name:
 *
 *			mask.with.LENGTH.chars
 *			mask.hash.v2.ALGORITHM.with.salt.SALT
 *			mask.hash.ALGORITHM.with.salt.SALT
 *			truncate.to.LENGTH.chars
 *
 *		with or without "column." in front, as Debezium's options.
 */
#ifndef WAL2KAFKA_TRANSFORM_LIST_H
#define WAL2KAFKA_TRANSFORM_LIST_H

#include "postgres.h"

#include "common/cryptohash.h"

/*
 * In the order of their strength: of several entries that match a column, the
 * first kind applies.
 */
typedef enum TransformKind
{
	TRANSFORM_MASK,
	TRANSFORM_HASH_V2,			/* of the value in UTF-8 */
	TRANSFORM_HASH_V1,			/* of the value as Java serialises it */
	TRANSFORM_TRUNCATE,
} TransformKind;

typedef struct TransformSpec
{
	TransformKind kind;
	int			length;			/* masks, truncation: characters */
	pg_cryptohash_type algorithm;	/* hashes */
	int			digest_len;
	const char *salt;			/* points into the name */
	int			salt_len;
} TransformSpec;

/* Nobody needs a longer mask, and it is part of each record. */
#define TRANSFORM_MAX_MASK	10000

/*
 * Read the name of an entry.  False if it is none, and reason (of size bytes)
 * says what is allowed; it quotes nothing.  Allocates and raises nothing.
 */
extern PGDLLEXPORT bool transform_spec_parse(const char *name,
											 TransformSpec *spec,
											 char *reason, size_t size);

#endif							/* WAL2KAFKA_TRANSFORM_LIST_H */
