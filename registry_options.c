/*
 * registry_options.c
 *		URLs and options of the schema registry.
 *
 * Options have the names that Confluent's clients (Java's, and librdkafka's
 * family for TLS in PEM files) give them.
 */
#include "postgres.h"

#include <unistd.h>

#include "lib/stringinfo.h"

#include "registry.h"
#include "registry_options.h"

#define MAX_TIMEOUT_MS		3600000

typedef enum OptionKind
{
	OPTION_TEXT,
	OPTION_FILE,				/* an absolute path */
	OPTION_MILLISECONDS,
	OPTION_HOST,				/* a host's name, nothing around it */
	OPTION_PORT,
	OPTION_HEADER,				/* sent as the HTTP header in allowed */
	OPTION_WORD,				/* one of the words in allowed */
} OptionKind;

/* registry_options[] has one row for each, in this order. */
typedef enum OptionId
{
	BASIC_SOURCE,
	BASIC_USER_INFO,
	BEARER_SOURCE,
	BEARER_TOKEN,
	BEARER_CLUSTER,
	BEARER_POOL,
	SSL_CA,
	SSL_CERTIFICATE,
	SSL_KEY,
	SSL_KEY_PASSWORD,
	SSL_IDENTIFICATION,
	CONNECT_TIMEOUT,
	READ_TIMEOUT,
	PROXY_HOST,
	PROXY_PORT,
} OptionId;

#define OPTION_COUNT	(PROXY_PORT + 1)

typedef struct RegistryOption
{
	OptionId	id;
	const char *name;
	OptionKind	kind;
	bool		secret;			/* only in the file */
	CURLoption	curl;			/* where the value goes; 0: see the code */
	const char *allowed;		/* words, or the header's name */
	OptionId	needs;			/* another option that must be there, or id */
	const char *description;
} RegistryOption;

static const RegistryOption registry_options[OPTION_COUNT] = {
	{BASIC_SOURCE, "basic.auth.credentials.source", OPTION_WORD,
		false, 0, "USER_INFO", BASIC_USER_INFO,
	"where name and password come from"},
	{BASIC_USER_INFO, "basic.auth.user.info", OPTION_TEXT,
		true, CURLOPT_USERPWD, NULL, BASIC_USER_INFO,
	"name:password for basic authentication"},
	{BEARER_SOURCE, "bearer.auth.credentials.source", OPTION_WORD,
		false, 0, "STATIC_TOKEN", BEARER_TOKEN,
	"where the token comes from"},
	{BEARER_TOKEN, "bearer.auth.token", OPTION_TEXT,
		true, CURLOPT_XOAUTH2_BEARER, NULL, BEARER_TOKEN,
	"the token for bearer authentication"},
	{BEARER_CLUSTER, "bearer.auth.logical.cluster", OPTION_HEADER,
		false, 0, "target-sr-cluster", BEARER_TOKEN,
	"the logical cluster in Confluent Cloud"},
	{BEARER_POOL, "bearer.auth.identity.pool.id", OPTION_HEADER,
		false, 0, "Confluent-Identity-Pool-Id", BEARER_TOKEN,
	"the identity pool in Confluent Cloud"},
	{SSL_CA, "ssl.ca.location", OPTION_FILE,
		false, CURLOPT_CAINFO, NULL, SSL_CA,
	"a PEM file of authorities that may sign the registry's certificate"},
	{SSL_CERTIFICATE, "ssl.certificate.location", OPTION_FILE,
		false, CURLOPT_SSLCERT, NULL, SSL_CERTIFICATE,
	"a PEM file with the client's certificate"},
	{SSL_KEY, "ssl.key.location", OPTION_FILE,
		false, CURLOPT_SSLKEY, NULL, SSL_CERTIFICATE,
	"a PEM file with the client's key"},
	{SSL_KEY_PASSWORD, "ssl.key.password", OPTION_TEXT,
		true, CURLOPT_KEYPASSWD, NULL, SSL_CERTIFICATE,
	"the password of the client's key"},
	{SSL_IDENTIFICATION, "ssl.endpoint.identification.algorithm", OPTION_WORD,
		false, 0, "https, none", SSL_IDENTIFICATION,
	"whether the certificate must be for the URL's host"},
	{CONNECT_TIMEOUT, "http.connect.timeout.ms", OPTION_MILLISECONDS,
		false, CURLOPT_CONNECTTIMEOUT_MS, NULL, CONNECT_TIMEOUT,
	"the limit for connecting"},
	{READ_TIMEOUT, "http.read.timeout.ms", OPTION_MILLISECONDS,
		false, CURLOPT_TIMEOUT_MS, NULL, READ_TIMEOUT,
	"the limit for a request with its answer"},
	{PROXY_HOST, "proxy.host", OPTION_HOST,
		false, CURLOPT_PROXY, NULL, PROXY_HOST,
	"the host of an HTTP proxy"},
	{PROXY_PORT, "proxy.port", OPTION_PORT,
		false, CURLOPT_PROXYPORT, NULL, PROXY_HOST,
	"the port of the HTTP proxy"},
};

static const RegistryOption *
find_option(const char *name)
{
	for (int i = 0; i < OPTION_COUNT; i++)
	{
		Assert(registry_options[i].id == i);
		if (strcmp(registry_options[i].name, name) == 0)
			return &registry_options[i];
	}
	return NULL;
}

/* Is word one of words, "one, two"? */
static bool
is_one_of(const char *word, const char *words)
{
	size_t		len = strlen(word);

	for (const char *next = words; next; next = strchr(next, ','))
	{
		next += strspn(next, ", ");
		if (strncmp(next, word, len) == 0 && strchr(", ", next[len]))
			return true;
	}
	return false;
}

/* Is value a number from 1 to max? */
static bool
is_number_to(const char *value, long max)
{
	char	   *end;
	long		number;

	errno = 0;
	number = strtol(value, &end, 10);
	return errno == 0 && end != value && *end == '\0' &&
		number >= 1 && number <= max;
}

/* What the value of an option must be; NULL if it is. */
static char *
option_complaint(const RegistryOption *option, const char *value)
{
	if (*value == '\0')
		return "It must not be empty.";

	/* A line break would add lines to the request. */
	for (const char *c = value; *c; c++)
		if ((unsigned char) *c < ' ' || *c == 0x7f)
			return "It must not have control characters.";

	switch (option->kind)
	{
		case OPTION_TEXT:
			if (option->id == BASIC_USER_INFO && strchr(value, ':') == NULL)
				return "It must be a name, a colon and a password.";
			break;
		case OPTION_HEADER:
			break;
		case OPTION_FILE:
			if (!is_absolute_path(value))
				return "It must be an absolute path.";
			break;
		case OPTION_HOST:
			if (strpbrk(value, "/@ "))
				return "It must be the name of a host alone.";
			break;
		case OPTION_MILLISECONDS:
			if (!is_number_to(value, MAX_TIMEOUT_MS))
				return psprintf("It must be from 1 to %d milliseconds.",
								MAX_TIMEOUT_MS);
			break;
		case OPTION_PORT:
			if (!is_number_to(value, 65535))
				return "It must be from 1 to 65535.";
			break;
		case OPTION_WORD:
			if (!is_one_of(value, option->allowed))
				return psprintf("It must be one of: %s.", option->allowed);
			break;
	}
	return NULL;
}

void
registry_check_options(const char *setting, const OptionList *options,
					   bool from_file)
{
	for (int i = 0; i < options->count; i++)
	{
		const char *name = options->options[i].name;
		const RegistryOption *option = find_option(name);
		char	   *complaint;

		if (option == NULL)
		{
			StringInfoData names;

			initStringInfo(&names);
			for (int j = 0; j < OPTION_COUNT; j++)
				appendStringInfo(&names, "%s%s", j ? ", " : "",
								 registry_options[j].name);
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("unrecognized option \"%s\" in \"%s\"",
							name, setting),
					 errhint("Options of the schema registry are: %s.",
							 names.data)));
		}

		if (option->secret && !from_file)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"%s\" must not be in \"%s\"",
							name, setting),
					 errdetail("Everybody can read the setting, and the option is a secret."),
					 errhint("Use the file that \"wal2kafka.schema_registry_options_file\" names.")));

		complaint = option_complaint(option, options->options[i].value);
		if (complaint)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid value of option \"%s\" in \"%s\"",
							name, setting),
					 errdetail("The option gives %s.", option->description),
					 errhint("%s", complaint)));
	}
}

/* What is wrong with a URL; NULL if nothing is. */
static const char *
url_complaint(const char *url)
{
	static const struct
	{
		CURLUPart	part;
		const char *complaint;
	}			unwanted[] =
	{
		{CURLUPART_USER, "It has user information."},
		{CURLUPART_PASSWORD, "It has user information."},
		{CURLUPART_QUERY, "It has a query."},
		{CURLUPART_FRAGMENT, "It has a fragment."},
	};
	const char *complaint = NULL;
	CURLU	   *parsed = curl_url();
	char	   *part;

	if (parsed == NULL)
		return "There is no memory to parse it.";

	if (curl_url_set(parsed, CURLUPART_URL, url, 0) != CURLUE_OK)
		complaint = "It is not of the form http://host:port/path.";
	for (int i = 0; complaint == NULL && i < lengthof(unwanted); i++)
	{
		if (curl_url_get(parsed, unwanted[i].part, &part, 0) == CURLUE_OK)
		{
			complaint = unwanted[i].complaint;
			curl_free(part);
		}
	}
	if (complaint == NULL &&
		curl_url_get(parsed, CURLUPART_SCHEME, &part, 0) == CURLUE_OK)
	{
		if (strcmp(part, "http") != 0 && strcmp(part, "https") != 0)
			complaint = "It is neither http nor https.";
		curl_free(part);
	}
	curl_url_cleanup(parsed);
	return complaint;
}

/* Errors say which URL it is by number, since one may hold a password. */
List *
registry_parse_urls(const char *urls)
{
	static const char *const separators = ", \t\r\n";
	List	   *result = NIL;

	urls += strspn(urls, separators);
	while (*urls)
	{
		size_t		len = strcspn(urls, separators);
		char	   *url = pnstrdup(urls, len);
		const char *complaint = url_complaint(url);

		if (complaint)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid URL number %d in \"%s\"",
							list_length(result) + 1,
							"wal2kafka.schema_registry_url"),
					 errdetail("%s", complaint),
					 errhint("The list is of http and https URLs; credentials belong into the file that \"wal2kafka.schema_registry_options_file\" names.")));

		urls += len;
		urls += strspn(urls, separators);
		while (len > 0 && url[len - 1] == '/')
			url[--len] = '\0';
		result = lappend(result, url);
	}

	if (result == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there is no URL in \"%s\"",
						"wal2kafka.schema_registry_url")));
	return result;
}

void
registry_check_curl(CURLcode code, const char *what)
{
	if (code != CURLE_OK)
		ereport(ERROR,
				(errcode(code == CURLE_OUT_OF_MEMORY ?
						 ERRCODE_OUT_OF_MEMORY : ERRCODE_INTERNAL_ERROR),
				 errmsg_internal("libcurl failed in %s: %s", what,
								 curl_easy_strerror(code))));
}

void
registry_add_header(struct curl_slist **headers, const char *line)
{
	struct curl_slist *longer = curl_slist_append(*headers, line);

	if (longer == NULL)
		registry_check_curl(CURLE_OUT_OF_MEMORY, "curl_slist_append");
	*headers = longer;
}

void
registry_apply_options(CURL *easy, struct curl_slist **headers,
					   const OptionList *options)
{
	const char *values[OPTION_COUNT] = {0}; /* of each, the last one */

	for (int i = 0; i < options->count; i++)
	{
		const RegistryOption *option = find_option(options->options[i].name);

		if (option == NULL)
			elog(ERROR, "schema registry options were not checked");
		values[option->id] = options->options[i].value;
	}

	for (int i = 0; i < OPTION_COUNT; i++)
	{
		const RegistryOption *option = &registry_options[i];

		if (values[i] == NULL)
			continue;
		if (values[option->needs] == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("schema registry option \"%s\" needs \"%s\"",
							option->name,
							registry_options[option->needs].name)));
		switch (option->kind)
		{
			case OPTION_FILE:
				if (access(values[i], R_OK) != 0)
					ereport(ERROR,
							(errcode_for_file_access(),
							 errmsg("could not read the file of schema registry option \"%s\": %m",
									option->name)));
				/* FALLTHROUGH */
			case OPTION_TEXT:
			case OPTION_HOST:
				registry_set_curl(easy, option->curl, values[i]);
				break;
			case OPTION_MILLISECONDS:
			case OPTION_PORT:
				registry_set_curl(easy, option->curl,
								  strtol(values[i], NULL, 10));
				break;
			case OPTION_HEADER:
				registry_add_header(headers,
									psprintf("%s: %s", option->allowed,
											 values[i]));
				break;
			case OPTION_WORD:
				break;
		}
	}

	if (values[BASIC_USER_INFO] && values[BEARER_TOKEN])
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("schema registry options \"%s\" and \"%s\" exclude each other",
						registry_options[BASIC_USER_INFO].name,
						registry_options[BEARER_TOKEN].name)));
	if (values[BASIC_USER_INFO])
		registry_set_curl(easy, CURLOPT_HTTPAUTH, (long) CURLAUTH_BASIC);
	if (values[BEARER_TOKEN])
		registry_set_curl(easy, CURLOPT_HTTPAUTH, (long) CURLAUTH_BEARER);
	if (values[SSL_IDENTIFICATION] &&
		strcmp(values[SSL_IDENTIFICATION], "none") == 0)
		registry_set_curl(easy, CURLOPT_SSL_VERIFYHOST, 0L);
	registry_set_curl(easy, CURLOPT_HTTPHEADER, *headers);
}
