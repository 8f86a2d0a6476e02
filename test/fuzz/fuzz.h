/*
 * fuzz.h
 *		What the drivers share.
 *
 * A driver is one file: fuzz_X.c, whose fuzz_input() libFuzzer calls with
 * whatever bytes it finds to take a new path.  An error that our code raises
 * is a good answer.  A driver fails where memory is misused or lost, where
 * behaviour is undefined, and where CHECK() finds that two of our parts
 * disagree.
 *
 * A driver that wants static functions includes our .c file.  The server's
 * functions come from its port library, test/unit/server_shim.c and
 * fuzz_shim.c.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include "postgres.h"

#include "server_shim.h"

/*
 * The driver's; called in a memory context that goes afterwards.  May raise
 * errors.
 */
extern void fuzz_input(const uint8 *data, size_t size);

/* The input, or a part of it, as a string; palloc'd. */
extern char *fuzz_string(const uint8 *data, size_t size);

/*
 * Cut the part of the input before the next NUL off; palloc'd.  The last part
 * is all the rest.
 */
extern char *fuzz_part(const uint8 **data, size_t *size);

extern bool fuzz_is_utf8(const char *text);

/* What must hold. */
#define CHECK(condition) \
	do { \
		if (!(condition)) \
		{ \
			fprintf(stderr, "%s:%d: does not hold: %s\n", \
					__FILE__, __LINE__, #condition); \
			abort(); \
		} \
	} while (0)

#endif							/* FUZZ_H */
