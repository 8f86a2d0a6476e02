/*
 * schema_diff.h
 *		How two Avro schemas differ, for people.
 */
#ifndef WAL2KAFKA_SCHEMA_DIFF_H
#define WAL2KAFKA_SCHEMA_DIFF_H

/*
 * What has to be done to theirs (registered; any text) to get ours (valid):
 * "field "x" of "Value": added without a default; ...", or NULL if they are
 * the same.  Ignored are documentation, aliases, the order of properties and
 * properties that only other programs know.  *binding is set when bytes that
 * were written with ours would be misread with theirs; defaults, versions
 * and parameters do not count there.  Palloc'd, in the database's encoding,
 * of bounded length.
 */
extern char *schema_difference(const char *ours, const char *theirs,
							   bool *binding);

#endif							/* WAL2KAFKA_SCHEMA_DIFF_H */
