/*
 * transform_list.c
 *		What an entry of column_transforms says by its name.
 */
#include "postgres.h"

#include "common/md5.h"
#include "common/sha1.h"
#include "common/sha2.h"

#include "transform_list.h"

/* Java's names, without regard to case; only what the server can compute. */
static const struct
{
	const char *name;
	pg_cryptohash_type type;
	int			digest_len;
}			algorithms[] = {
	{"MD5", PG_MD5, MD5_DIGEST_LENGTH},
	{"SHA", PG_SHA1, SHA1_DIGEST_LENGTH},
	{"SHA-1", PG_SHA1, SHA1_DIGEST_LENGTH},
	{"SHA-224", PG_SHA224, PG_SHA224_DIGEST_LENGTH},
	{"SHA-256", PG_SHA256, PG_SHA256_DIGEST_LENGTH},
	{"SHA-384", PG_SHA384, PG_SHA384_DIGEST_LENGTH},
	{"SHA-512", PG_SHA512, PG_SHA512_DIGEST_LENGTH},
};

static bool
skip_prefix(const char **p, const char *prefix)
{
	size_t		len = strlen(prefix);

	if (strncmp(*p, prefix, len) != 0)
		return false;
	*p += len;
	return true;
}

/* "LENGTH.chars" to the end */
static bool
parse_length(const char *p, int maximum, int *length)
{
	const char *start = p;

	*length = 0;
	for (; *p >= '0' && *p <= '9'; p++)
	{
		if (*length > (maximum - (*p - '0')) / 10)
			return false;
		*length = *length * 10 + (*p - '0');
	}
	return p > start && strcmp(p, ".chars") == 0;
}

/* "ALGORITHM.with.salt.SALT" to the end */
static bool
parse_hash(const char *p, TransformSpec *spec)
{
	const char *dot = strchr(p, '.');

	if (dot == NULL)
		return false;
	for (int i = 0; i < lengthof(algorithms); i++)
	{
		const char *name = algorithms[i].name;

		if (strlen(name) != dot - p || pg_strncasecmp(p, name, dot - p) != 0)
			continue;
		p = dot;
		if (!skip_prefix(&p, ".with.salt.") || *p == '\0' ||
			p[strcspn(p, " \t\n\r\f\v")] != '\0')
			return false;
		spec->algorithm = algorithms[i].type;
		spec->digest_len = algorithms[i].digest_len;
		spec->salt = p;
		spec->salt_len = strlen(p);
		return true;
	}
	return false;
}

bool
transform_spec_parse(const char *name, TransformSpec *spec, char *reason,
					 size_t size)
{
	const char *p = name;
	bool		ok = false;

	memset(spec, 0, sizeof(*spec));
	skip_prefix(&p, "column.");
	if (skip_prefix(&p, "mask.with."))
	{
		spec->kind = TRANSFORM_MASK;
		ok = parse_length(p, TRANSFORM_MAX_MASK, &spec->length);
	}
	else if (skip_prefix(&p, "truncate.to."))
	{
		spec->kind = TRANSFORM_TRUNCATE;
		ok = parse_length(p, PG_INT32_MAX, &spec->length);
	}
	else if (skip_prefix(&p, "mask.hash.v2."))
	{
		spec->kind = TRANSFORM_HASH_V2;
		ok = parse_hash(p, spec);
	}
	else if (skip_prefix(&p, "mask.hash."))
	{
		spec->kind = TRANSFORM_HASH_V1;
		ok = parse_hash(p, spec);
	}
	if (!ok)
		snprintf(reason, size,
				 "Allowed names are mask.with.LENGTH.chars (up to %d), truncate.to.LENGTH.chars, mask.hash.v2.ALGORITHM.with.salt.SALT and mask.hash.ALGORITHM.with.salt.SALT, with MD5, SHA-1, SHA-224, SHA-256, SHA-384 or SHA-512.",
				 TRANSFORM_MAX_MASK);
	return ok;
}
