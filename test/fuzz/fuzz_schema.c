/*
 * fuzz_schema.c
 *		Schema texts that come from elsewhere: a registry's, or a frame's.
 *
 * Input: a schema, NUL, another one.
 */
#include "avro_schema.h"
#include "fuzz.h"
#include "schema_diff.h"

void
fuzz_input(const uint8 *data, size_t size)
{
	char	   *ours = fuzz_part(&data, &size);
	char	   *theirs = fuzz_part(&data, &size);
	char	   *canonical;
	char	   *difference;
	bool		binding;

	canonical = avro_schema_canonical_form(ours);
	CHECK(strcmp(avro_schema_canonical_form(canonical), canonical) == 0);

	/* ours is a schema: else an error was raised */
	CHECK(schema_difference(ours, ours, &binding) == NULL && !binding);
	difference = schema_difference(ours, theirs, &binding);
	CHECK(!binding || difference != NULL);
}
