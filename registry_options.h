/*
 * registry_options.h
 *		URLs and options of the schema registry; private to registry*.c.
 */
#ifndef WAL2KAFKA_REGISTRY_OPTIONS_H
#define WAL2KAFKA_REGISTRY_OPTIONS_H

#include <curl/curl.h>

#include "nodes/pg_list.h"
#include "options.h"

/*
 * The URLs (char *, palloc'd) of a comma-separated list, without slashes at
 * their ends.  Raises for anything but plain http and https URLs.
 */
extern List *registry_parse_urls(const char *urls);

/*
 * Put checked options into a handle; of two with one name the later one
 * holds.  libcurl copies the values, except that headers, which may get
 * longer, must live as long as the handle.  Raises when options do not go
 * together or a file cannot be read.
 */
extern void registry_apply_options(CURL *easy, struct curl_slist **headers,
								   const OptionList *options);

extern void registry_add_header(struct curl_slist **headers,
								const char *line);

/* Raise when libcurl says no to a call of ours. */
extern void registry_check_curl(CURLcode code, const char *what);

#define registry_set_curl(easy, option, value) \
	registry_check_curl(curl_easy_setopt(easy, option, value), #option)

#endif							/* WAL2KAFKA_REGISTRY_OPTIONS_H */
