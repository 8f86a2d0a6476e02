/*
 * option_secret.h
 *		Which options of Kafka and the schema registry hold secrets.
 *
 * One answer for all who ask: the check of a setting that everybody can read,
 * the worker that hands options to librdkafka, and whoever shows a text that
 * may quote one.
 */
#ifndef WAL2KAFKA_OPTION_SECRET_H
#define WAL2KAFKA_OPTION_SECRET_H

/* Upper and lower case of ASCII are the same. */
extern bool option_text_contains(const char *text, const char *part);

/*
 * By its name alone, in upper or lower case.  Names that no library knows are
 * judged, too: a setting with one is stored before anybody looks at it.
 */
extern PGDLLEXPORT bool option_name_is_secret(const char *name);

/*
 * Has an address "scheme://user:password@host/path" in the value a user?
 */
extern PGDLLEXPORT bool option_has_user_information(const char *value);

/*
 * Why this option must not be where everybody can read it: a static sentence
 * that quotes neither name nor value; NULL if it may be there.
 */
extern PGDLLEXPORT const char *option_secret(const char *name,
											 const char *value);

#endif							/* WAL2KAFKA_OPTION_SECRET_H */
