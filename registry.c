/*
 * registry.c
 *		Schema texts to ids, by a Confluent-compatible schema registry.
 *
 * An answer is one of three.  A good one has an id.  AWAY is everything that
 * may be over in a while, or that no schema registry says: no connection,
 * 5xx, a page of some other server; it is asked again for ever, of the next
 * URL at once, and with backoff when all URLs failed.  REFUSED is a registry's
 * own no; it is raised.  Which is which is judged by the HTTP status, not by
 * the body's error_code, since registries differ there (Confluent's 409 has
 * 40901, Apicurio's 409).
 *
 * libcurl's handles and jansson's values know nothing of memory contexts.
 * The handles belong to the Registry and go with its context; a parsed JSON
 * value belongs to an OwnedJson, and goes with the context that this is in.
 * So errors may be raised anywhere, except in what libcurl calls (receive(),
 * watch_socket()): an error must not jump across its frames.
 *
 * libcurl may start a thread to resolve a name.  All signals are blocked
 * while that can happen: the thread inherits the mask, and PostgreSQL's
 * signal handlers must not run there.
 */
#include "postgres.h"

#include <curl/curl.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "common/hashfn.h"
#include "common/pg_prng.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "portability/instr_time.h"
#include "storage/fd.h"
#include "storage/latch.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

#include "registry.h"

/* An answer that is longer is not a registry's. */
#define MAX_ANSWER_BYTES	(4 * 1024 * 1024)

/* Longest wait between two looks at interrupts and at the caller's work. */
#define WAIT_SLICE_MS		100

/* Several sockets (IPv6 and IPv4 tried together): only one is waited for. */
#define WAIT_SLICE_MANY_MS	10

#define BACKOFF_MIN_MS		100
#define BACKOFF_MAX_MS		10000

/* The cache starts afresh when its texts are longer than this in all. */
#define MAX_CACHE_BYTES		(8 * 1024 * 1024)

/* What foreign texts and differences may add to a message. */
#define MAX_FOREIGN_TEXT	400
#define MAX_DIFFERENCES		12

#define MAX_SOCKETS			8

/* ------------------------------------------------------------------------
 * Options
 * ------------------------------------------------------------------------
 */

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

#define DEFAULT_CONNECT_TIMEOUT_MS	5000
#define DEFAULT_READ_TIMEOUT_MS		15000
#define MAX_TIMEOUT_MS				3600000

/* ------------------------------------------------------------------------
 * The registry and its requests
 * ------------------------------------------------------------------------
 */

/* One id that is known; key first. */
typedef struct CachedKey
{
	const char *subject;
	const char *text;
} CachedKey;

typedef struct CachedId
{
	CachedKey	key;
	int32		id;
	char		status;			/* simplehash's */
} CachedId;

static inline uint32
cached_key_hash(CachedKey key)
{
	return hash_combine(hash_bytes((const unsigned char *) key.subject,
								   strlen(key.subject)),
						hash_bytes((const unsigned char *) key.text,
								   strlen(key.text)));
}

#define SH_PREFIX				idcache
#define SH_ELEMENT_TYPE			CachedId
#define SH_KEY_TYPE				CachedKey
#define SH_KEY					key
#define SH_HASH_KEY(tb, key)	cached_key_hash(key)
#define SH_EQUAL(tb, a, b) \
	(strcmp((a).subject, (b).subject) == 0 && strcmp((a).text, (b).text) == 0)
#define SH_SCOPE				static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* A socket that libcurl wants watched. */
typedef struct WatchedSocket
{
	curl_socket_t socket;
	int			events;			/* WL_SOCKET_* */
} WatchedSocket;

struct Registry
{
	MemoryContext cxt;			/* this struct and all below; its reset
								 * callback frees what libcurl has */
	MemoryContextCallback release;
	MemoryContext call_cxt;		/* of one registry_schema_id() */
	MemoryContext round_cxt;	/* of one round through the URLs */
	MemoryContext caller_cxt;	/* what on_wait() finds as current */

	/* from the configuration */
	List	   *endpoints;		/* of char *: URLs without last slash */
	bool		auto_register_schemas;
	bool		use_latest_version;
	bool		normalize_schemas;
	void		(*on_wait) (void *arg, RegistryProblem problem,
							const char *reason);
	void	   *arg;

	/* how it goes */
	int			current;		/* endpoint that worked last */
	RegistryProblem problem;
	char	   *reason;			/* NULL if all is well */
	bool		latch_was_reset;

	/* cache; texts in a context of their own, so that it can be emptied */
	MemoryContext cache_cxt;
	idcache_hash *cache;
	size_t		cache_bytes;

	/* libcurl's */
	CURLM	   *multi;
	CURL	   *easy;
	struct curl_slist *headers;
	char		error[CURL_ERROR_SIZE];
	WatchedSocket sockets[MAX_SOCKETS];
	int			nsockets;

	/* the answer as it arrives, malloc'd */
	char	   *body;
	size_t		body_len;
	size_t		body_size;
	bool		body_too_long;
};

/* What is asked; asks[] has one row for each, in this order. */
typedef enum AskKind
{
	ASK_REGISTER,
	ASK_LOOK_UP,
	ASK_LATEST,
} AskKind;

typedef struct Ask
{
	AskKind		kind;
	const char *path;			/* after /subjects/SUBJECT */
	bool		post;			/* with the schema; else GET */
} Ask;

static const Ask asks[] = {
	{ASK_REGISTER, "/versions", true},
	{ASK_LOOK_UP, "", true},
	{ASK_LATEST, "/versions/latest", false},
};

/* An answer of one URL. */
typedef struct Answer
{
	long		status;			/* HTTP; 0 if there was no answer */
	json_t	   *body;			/* NULL if it was not JSON; round_cxt owns it */
	const char *away;			/* why this is AWAY; NULL for good, REFUSED */
} Answer;

/* A registry's no; refusals[] is searched for the status, last row is any. */
typedef struct Refusal
{
	long		status;
	int			sqlstate;
	const char *message;		/* has %s for the subject, %ld for status */
	const char *hint;
	bool		compare;		/* show the difference to the latest version */
} Refusal;

#define HINT_ACCESS \
	"Check the credentials in the file that \"wal2kafka.schema_registry_options_file\" names, and what the registry allows them."

static const Refusal refusals[] = {
	{409, ERRCODE_INVALID_OBJECT_DEFINITION,
		"schema registry refused the schema of subject \"%s\" as incompatible (HTTP %ld)",
		"Change the subject's compatibility in the registry, revert the change of the table, or leave the table out of the stream's publication.",
	true},
	{422, ERRCODE_INVALID_OBJECT_DEFINITION,
		"schema registry refused the schema of subject \"%s\" as invalid (HTTP %ld)",
		"Change the table, leave it out of the stream's publication, or look in the registry whether it is read-only.",
	true},
	{401, ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
		"schema registry demands other credentials for subject \"%s\" (HTTP %ld)",
	HINT_ACCESS, false},
	{403, ERRCODE_INSUFFICIENT_PRIVILEGE,
		"schema registry denied access to subject \"%s\" (HTTP %ld)",
	HINT_ACCESS, false},
	{404, ERRCODE_UNDEFINED_OBJECT,
		"schema registry does not have the schema of subject \"%s\" (HTTP %ld)",
		"Register the schema under this subject, or set \"wal2kafka.auto_register_schemas\" to on.",
	true},
	{0, ERRCODE_EXTERNAL_ROUTINE_EXCEPTION,
		"schema registry refused the schema of subject \"%s\" (HTTP %ld)",
		"See the registry's own log.",
	true},
};

/* A parsed value that goes with the context it was allocated in. */
typedef struct OwnedJson
{
	MemoryContextCallback release;
	json_t	   *value;
} OwnedJson;

/* ------------------------------------------------------------------------
 * Comparison of schemas
 * ------------------------------------------------------------------------
 */

/*
 * Properties of types that are compared.  binding: bytes that were written
 * with one value are misread with the other.
 */
typedef struct SchemaProperty
{
	const char *name;
	bool		binding;
} SchemaProperty;

static const SchemaProperty schema_properties[] = {
	{"logicalType", true},
	{"precision", true},
	{"scale", true},
	{"size", true},
	{"connect.type", true},
	{"connect.name", true},
	{"connect.version", false},
	{"connect.parameters", false},
	{"connect.default", false},
};

/* A schema, and its named types by full name. */
typedef struct SchemaSide
{
	json_t	   *root;
	json_t	   *names;
} SchemaSide;

/* A type with references by name resolved. */
typedef struct SchemaType
{
	json_t	   *json;
	const char *kind;			/* "long", "record", "union", ... */
	const char *name;			/* full name; NULL for those without */
	const char *namespace;		/* that holds for names inside */
} SchemaType;

typedef struct SchemaComparison
{
	SchemaSide	ours;
	SchemaSide	theirs;			/* the registered one */
	List	   *seen;			/* our records, each compared once */
	StringInfoData text;
	int			ndifferences;
	bool		binding;		/* bytes of ours cannot have theirs' id */
} SchemaComparison;

static void registry_release(void *arg);
static List *parse_urls(const char *urls);
static void make_handles(Registry *registry);
static void apply_options(Registry *registry, const OptionList *options);
static int32 ask_for_id(Registry *registry, const char *subject,
						const char *schema_text);
static char *schema_difference(const char *schema_text, const json_t *latest,
							   bool *binding);

/* ------------------------------------------------------------------------
 * What registry.h declares
 * ------------------------------------------------------------------------
 */

Registry *
registry_create(const RegistryConfig *config)
{
	MemoryContext cxt;
	MemoryContext old;
	Registry   *registry;

	cxt = AllocSetContextCreate(CurrentMemoryContext, "wal2kafka registry",
								ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(cxt);

	registry = palloc0(sizeof(Registry));
	registry->cxt = cxt;
	registry->call_cxt = AllocSetContextCreate(cxt, "wal2kafka registry call",
											   ALLOCSET_DEFAULT_SIZES);
	registry->round_cxt = AllocSetContextCreate(cxt,
												"wal2kafka registry round",
												ALLOCSET_DEFAULT_SIZES);
	registry->cache_cxt = AllocSetContextCreate(cxt,
												"wal2kafka registry cache",
												ALLOCSET_DEFAULT_SIZES);
	registry->auto_register_schemas = config->auto_register_schemas;
	registry->use_latest_version = config->use_latest_version;
	registry->normalize_schemas = config->normalize_schemas;
	registry->on_wait = config->on_wait;
	registry->arg = config->arg;
	registry->problem = REGISTRY_OK;
	registry->endpoints = parse_urls(config->urls);

	/* The connection is a descriptor that fd.c must leave room for. */
	registry->release.func = registry_release;
	registry->release.arg = registry;
	ReserveExternalFD();
	MemoryContextRegisterResetCallback(cxt, &registry->release);

	make_handles(registry);
	apply_options(registry, &config->options);

	MemoryContextSwitchTo(old);
	return registry;
}

void
registry_destroy(Registry *registry)
{
	MemoryContextDelete(registry->cxt);
}

char *
registry_subject(SubjectStrategy strategy, const char *topic,
				 const char *record_name, bool is_key)
{
	switch (strategy)
	{
		case SUBJECT_TOPIC_NAME:
			return psprintf("%s-%s", topic, is_key ? "key" : "value");
		case SUBJECT_RECORD_NAME:
			return pstrdup(record_name);
		case SUBJECT_TOPIC_RECORD_NAME:
			return psprintf("%s-%s", topic, record_name);
	}
	elog(ERROR, "unrecognized subject strategy: %d", (int) strategy);
	return NULL;				/* keep compiler quiet */
}

/* Keep an id. */
static void
remember(Registry *registry, const char *subject, const char *schema_text,
		 int32 id)
{
	MemoryContext old;
	CachedKey	key;
	bool		found;

	if (registry->cache_bytes > MAX_CACHE_BYTES)
	{
		MemoryContextReset(registry->cache_cxt);
		registry->cache = NULL;
		registry->cache_bytes = 0;
	}

	old = MemoryContextSwitchTo(registry->cache_cxt);
	if (registry->cache == NULL)
		registry->cache = idcache_create(registry->cache_cxt, 64, NULL);
	key.subject = pstrdup(subject);
	key.text = pstrdup(schema_text);
	idcache_insert(registry->cache, key, &found)->id = id;
	registry->cache_bytes += strlen(subject) + strlen(schema_text);
	MemoryContextSwitchTo(old);
}

int32
registry_schema_id(Registry *registry, const char *subject,
				   const char *schema_text)
{
	CachedKey	key = {subject, schema_text};
	CachedId   *cached;
	int32		id;

	cached = registry->cache ? idcache_lookup(registry->cache, key) : NULL;
	if (cached)
		return cached->id;

	MemoryContextReset(registry->call_cxt);
	MemoryContextReset(registry->round_cxt);
	registry->caller_cxt = MemoryContextSwitchTo(registry->call_cxt);
	registry->latch_was_reset = false;
	PG_TRY();
	{
		id = ask_for_id(registry, subject, schema_text);
	}
	PG_FINALLY();
	{
		/* Whoever set the latch meant the caller's loop too. */
		if (registry->latch_was_reset)
			SetLatch(MyLatch);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(registry->caller_cxt);
	MemoryContextReset(registry->call_cxt);
	MemoryContextReset(registry->round_cxt);

	remember(registry, subject, schema_text, id);
	return id;
}

/* ------------------------------------------------------------------------
 * Options and URLs
 * ------------------------------------------------------------------------
 */

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

/*
 * The URLs of a comma-separated list, without slashes at their ends.  Errors
 * say which one it is by number, since a URL may hold a password.
 */
static List *
parse_urls(const char *urls)
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

/* ------------------------------------------------------------------------
 * libcurl
 * ------------------------------------------------------------------------
 */

/* libcurl says no to one of our own calls. */
static void
check_curl(CURLcode code, const char *what)
{
	if (code != CURLE_OK)
		ereport(ERROR,
				(errcode(code == CURLE_OUT_OF_MEMORY ?
						 ERRCODE_OUT_OF_MEMORY : ERRCODE_INTERNAL_ERROR),
				 errmsg_internal("libcurl failed in %s: %s", what,
								 curl_easy_strerror(code))));
}

#define set_curl(registry, option, value) \
	check_curl(curl_easy_setopt((registry)->easy, option, value), #option)

/* Take bytes of an answer.  Called by libcurl: must not raise. */
static size_t
receive(char *data, size_t size, size_t nmemb, void *arg)
{
	Registry   *registry = arg;
	size_t		len = size * nmemb;
	size_t		needed = registry->body_len + len;

	if (needed > MAX_ANSWER_BYTES)
	{
		registry->body_too_long = true;
		return 0;
	}
	if (needed > registry->body_size)
	{
		size_t		new_size = Max(needed, 2 * registry->body_size);
		char	   *new_body = realloc(registry->body, new_size);

		if (new_body == NULL)
			return 0;
		registry->body = new_body;
		registry->body_size = new_size;
	}
	memcpy(registry->body + registry->body_len, data, len);
	registry->body_len = needed;
	return len;
}

/*
 * Note which sockets libcurl waits for.  Called by libcurl: must not raise.
 * A socket beyond MAX_SOCKETS is just not waited for; drive() finds what
 * happened to it a little later.
 */
static int
watch_socket(CURL *easy, curl_socket_t socket, int what, void *arg,
			 void *socket_arg)
{
	Registry   *registry = arg;
	int			i;

	for (i = 0; i < registry->nsockets; i++)
		if (registry->sockets[i].socket == socket)
			break;

	if (what == CURL_POLL_REMOVE)
	{
		if (i < registry->nsockets)
			registry->sockets[i] = registry->sockets[--registry->nsockets];
		return 0;
	}

	if (i == registry->nsockets)
	{
		if (i == MAX_SOCKETS)
			return 0;
		registry->sockets[registry->nsockets++].socket = socket;
	}
	registry->sockets[i].events =
		((what & CURL_POLL_IN) ? WL_SOCKET_READABLE : 0) |
		((what & CURL_POLL_OUT) ? WL_SOCKET_WRITEABLE : 0);
	return 0;
}

/* Free what is not in memory contexts. */
static void
registry_release(void *arg)
{
	Registry   *registry = arg;

	if (registry->easy)
	{
		if (registry->multi)
			curl_multi_remove_handle(registry->multi, registry->easy);
		curl_easy_cleanup(registry->easy);
	}
	if (registry->multi)
		curl_multi_cleanup(registry->multi);
	curl_slist_free_all(registry->headers);
	free(registry->body);
	ReleaseExternalFD();
}

static void
add_header(Registry *registry, const char *line)
{
	struct curl_slist *headers = curl_slist_append(registry->headers, line);

	if (headers == NULL)
		check_curl(CURLE_OUT_OF_MEMORY, "curl_slist_append");
	registry->headers = headers;
}

/*
 * The handles, with everything that is the same for all configurations:
 * nothing is taken from the environment or from files of the user's, and
 * nothing that the server says sends us elsewhere.
 */
static void
make_handles(Registry *registry)
{
	static bool initialized = false;

	if (!initialized)
	{
		check_curl(curl_global_init(CURL_GLOBAL_DEFAULT), "curl_global_init");
		initialized = true;
	}

	registry->multi = curl_multi_init();
	registry->easy = curl_easy_init();
	if (registry->multi == NULL || registry->easy == NULL)
		check_curl(CURLE_OUT_OF_MEMORY, "curl_easy_init");

	curl_multi_setopt(registry->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
	curl_multi_setopt(registry->multi, CURLMOPT_SOCKETDATA, registry);

	set_curl(registry, CURLOPT_ERRORBUFFER, registry->error);
	set_curl(registry, CURLOPT_WRITEFUNCTION, receive);
	set_curl(registry, CURLOPT_WRITEDATA, registry);
	set_curl(registry, CURLOPT_NOSIGNAL, 1L);
	set_curl(registry, CURLOPT_VERBOSE, 0L);
	set_curl(registry, CURLOPT_PROTOCOLS_STR, "http,https");
	set_curl(registry, CURLOPT_FOLLOWLOCATION, 0L);
	set_curl(registry, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
	set_curl(registry, CURLOPT_PATH_AS_IS, 1L);
	set_curl(registry, CURLOPT_NETRC, (long) CURL_NETRC_IGNORED);
	set_curl(registry, CURLOPT_PROXY, "");
	set_curl(registry, CURLOPT_NOPROXY, "");
	set_curl(registry, CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
	set_curl(registry, CURLOPT_USERAGENT, "wal2kafka");
	set_curl(registry, CURLOPT_CONNECTTIMEOUT_MS,
			 (long) DEFAULT_CONNECT_TIMEOUT_MS);
	set_curl(registry, CURLOPT_TIMEOUT_MS, (long) DEFAULT_READ_TIMEOUT_MS);

	/* Without a password OpenSSL would ask for one on the terminal. */
	set_curl(registry, CURLOPT_KEYPASSWD, "");

	/* Do not wait for a thread that still resolves a name nobody needs. */
	set_curl(registry, CURLOPT_QUICK_EXIT, 1L);

	add_header(registry, "Content-Type: application/vnd.schemaregistry.v1+json");
	add_header(registry,
			   "Accept: application/vnd.schemaregistry.v1+json, application/json");
	/* Asking before sending a long schema would only cost a round trip. */
	add_header(registry, "Expect:");
}

/* Options of both lists; of two with one name the later one, the file's. */
static void
apply_options(Registry *registry, const OptionList *options)
{
	const char *values[OPTION_COUNT] = {0};

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
				set_curl(registry, option->curl, values[i]);
				break;
			case OPTION_MILLISECONDS:
			case OPTION_PORT:
				set_curl(registry, option->curl, strtol(values[i], NULL, 10));
				break;
			case OPTION_HEADER:
				add_header(registry,
						   psprintf("%s: %s", option->allowed, values[i]));
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
		set_curl(registry, CURLOPT_HTTPAUTH, (long) CURLAUTH_BASIC);
	if (values[BEARER_TOKEN])
		set_curl(registry, CURLOPT_HTTPAUTH, (long) CURLAUTH_BEARER);
	if (values[SSL_IDENTIFICATION] &&
		strcmp(values[SSL_IDENTIFICATION], "none") == 0)
		set_curl(registry, CURLOPT_SSL_VERIFYHOST, 0L);
	set_curl(registry, CURLOPT_HTTPHEADER, registry->headers);
}

/* Tell the caller how it goes. */
static void
report_state(Registry *registry)
{
	MemoryContext old = MemoryContextSwitchTo(registry->caller_cxt);

	registry->on_wait(registry->arg, registry->problem, registry->reason);
	MemoryContextSwitchTo(old);
}

static void
set_state(Registry *registry, RegistryProblem problem, const char *reason)
{
	char	   *old = registry->reason;

	if (problem == registry->problem &&
		strcmp(old ? old : "", reason ? reason : "") == 0)
		return;

	registry->reason = reason ?
		MemoryContextStrdup(registry->cxt, reason) : NULL;
	registry->problem = problem;
	if (old)
		pfree(old);
	report_state(registry);
}

/*
 * Wait for the latch, the connection (if any) or timeout_ms, at most a slice.
 */
static void
wait_turn(Registry *registry, long timeout_ms)
{
	int			events = WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH;
	pgsocket	socket = PGINVALID_SOCKET;
	int			happened;

	timeout_ms = Min(timeout_ms, WAIT_SLICE_MS);
	if (registry->nsockets > 0)
	{
		socket = registry->sockets[0].socket;
		events |= registry->sockets[0].events;
	}
	if (registry->nsockets > 1)
		timeout_ms = Min(timeout_ms, WAIT_SLICE_MANY_MS);

	happened = WaitLatchOrSocket(MyLatch, events, socket, timeout_ms,
								 PG_WAIT_EXTENSION);
	if (happened & WL_LATCH_SET)
	{
		ResetLatch(MyLatch);
		registry->latch_was_reset = true;
	}
	CHECK_FOR_INTERRUPTS();
	report_state(registry);
}

/* Let libcurl do what can be done without waiting.  Is it still busy? */
static bool
drive(Registry *registry)
{
	WatchedSocket sockets[MAX_SOCKETS];
	int			nsockets = registry->nsockets;
	int			running;
	sigset_t	all;
	sigset_t	old;

	/* libcurl calls watch_socket() while we walk through the sockets */
	memcpy(sockets, registry->sockets, sizeof(sockets));

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (int i = 0; i < nsockets; i++)
		curl_multi_socket_action(registry->multi, sockets[i].socket, 0,
								 &running);
	curl_multi_socket_action(registry->multi, CURL_SOCKET_TIMEOUT, 0,
							 &running);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return running > 0;
}

/* Perform the request that is set up in the easy handle. */
static CURLcode
transfer(Registry *registry)
{
	CURLcode	code = CURLE_FAILED_INIT;

	registry->error[0] = '\0';
	registry->body_len = 0;
	registry->body_too_long = false;
	if (curl_multi_add_handle(registry->multi, registry->easy) != CURLM_OK)
		return CURLE_FAILED_INIT;

	PG_TRY();
	{
		CURLMsg    *message;
		int			left;

		while (drive(registry))
		{
			long		timeout_ms;

			curl_multi_timeout(registry->multi, &timeout_ms);
			wait_turn(registry, timeout_ms < 0 ? WAIT_SLICE_MS : timeout_ms);
		}
		message = curl_multi_info_read(registry->multi, &left);
		if (message && message->msg == CURLMSG_DONE)
			code = message->data.result;
	}
	PG_FINALLY();
	{
		curl_multi_remove_handle(registry->multi, registry->easy);
	}
	PG_END_TRY();
	return code;
}

/* ------------------------------------------------------------------------
 * Requests and answers
 * ------------------------------------------------------------------------
 */

static void
owned_json_release(void *arg)
{
	json_decref(((OwnedJson *) arg)->value);
}

/* An owner in CurrentMemoryContext; to be had before there is a value. */
static OwnedJson *
owned_json(void)
{
	OwnedJson  *owner = palloc0(sizeof(OwnedJson));

	owner->release.func = owned_json_release;
	owner->release.arg = owner;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &owner->release);
	return owner;
}

/*
 * A text from elsewhere as it may stand in a message: not too long, without
 * control characters, valid in the server's encoding.  Palloc'd.
 */
static char *
foreign_text(const char *text, int max_len)
{
	int			len = strlen(text);
	bool		clipped = len > max_len;
	bool		is_utf8;
	char	   *result;

	if (clipped)
		len = pg_encoding_mbcliplen(PG_UTF8, text, len, max_len);
	is_utf8 = GetDatabaseEncoding() == PG_UTF8 &&
		pg_verify_mbstr(PG_UTF8, text, len, true);
	result = palloc(len + 4);
	memcpy(result, text, len);
	strcpy(result + len, clipped ? "..." : "");
	for (int i = 0; i < len; i++)
	{
		if ((unsigned char) result[i] < ' ' || result[i] == 0x7f)
			result[i] = ' ';
		else if (IS_HIGHBIT_SET(result[i]) && !is_utf8)
			result[i] = '?';
	}
	return result;
}

/* What the registry says in its body, clipped; NULL for nothing. */
static char *
answer_message(const Answer *answer)
{
	StringInfoData text;
	const char *message;
	const char *old_schema;
	json_t	   *messages;
	json_t	   *element;
	size_t		i;

	initStringInfo(&text);
	message = json_string_value(json_object_get(answer->body, "message"));
	if (message)
	{
		/* Confluent appends the whole registered schema. */
		old_schema = strstr(message, ", {oldSchema:");
		appendBinaryStringInfo(&text, message,
							   old_schema ? old_schema - message :
							   strlen(message));
	}
	messages = json_object_get(answer->body, "messages");
	json_array_foreach(messages, i, element)
	{
		if (json_is_string(element))
			appendStringInfo(&text, "%s%s", text.len ? "; " : "",
							 json_string_value(element));
	}
	return text.len > 0 ? foreign_text(text.data, MAX_FOREIGN_TEXT) : NULL;
}

/* The id in an answer, -1 if it has none. */
static int32
answer_id(const Answer *answer)
{
	json_t	   *id = json_object_get(answer->body, "id");

	if (!json_is_integer(id) || json_integer_value(id) < 0 ||
		json_integer_value(id) > PG_INT32_MAX)
		return -1;
	return (int32) json_integer_value(id);
}

/*
 * Why there was no answer.  The wording does not vary from one try to the
 * next, so that an outage has one reason.
 */
static char *
transfer_problem(Registry *registry, CURLcode code)
{
	long		os_error = 0;
	curl_off_t	connected = 0;

	switch (code)
	{
		case CURLE_COULDNT_CONNECT:
			curl_easy_getinfo(registry->easy, CURLINFO_OS_ERRNO, &os_error);
			if (os_error != 0)
				return psprintf("could not connect: %s",
								strerror((int) os_error));
			return "could not connect";
		case CURLE_OPERATION_TIMEDOUT:
			curl_easy_getinfo(registry->easy, CURLINFO_PRETRANSFER_TIME_T,
							  &connected);
			return connected ? "timed out waiting for the answer" :
				"timed out while connecting";
		case CURLE_WRITE_ERROR:
			if (registry->body_too_long)
				return "the answer is too long for a schema registry's";
			break;
		case CURLE_COULDNT_RESOLVE_HOST:
		case CURLE_COULDNT_RESOLVE_PROXY:
		case CURLE_PEER_FAILED_VERIFICATION:
		case CURLE_SSL_CONNECT_ERROR:
		case CURLE_RECV_ERROR:
			if (registry->error[0])
				return foreign_text(registry->error, MAX_FOREIGN_TEXT);
			break;
		default:

			/*
			 * libcurl's own words for the others may have values of options.
			 */
			break;
	}
	return pstrdup(curl_easy_strerror(code));
}

/*
 * Does a 404 mean that the subject, version or schema does not exist (40401 to
 * 40403), or that the server has no such page?
 */
static bool
is_registry_404(const Answer *answer)
{
	json_int_t	code;

	code = json_integer_value(json_object_get(answer->body, "error_code"));
	return code / 100 == 404;
}

/* Why an answer counts as AWAY; NULL if it does not. */
static char *
answer_problem(const Answer *answer)
{
	long		status = answer->status;
	char	   *message = answer_message(answer);

	if (status >= 500 || status == 408 || status == 425 || status == 429)
		return psprintf("HTTP %ld%s%s", status, message ? ": " : "",
						message ? message : "");
	if (status < 200 || (status >= 300 && status < 400))
		return psprintf("HTTP %ld; redirections are not followed", status);
	if (status == 404 && !is_registry_404(answer))
		return "HTTP 404, but not as a schema registry says it; the URL's path may be wrong";
	if (status < 300 && answer->body == NULL)
		return "the answer is not JSON; this may be no schema registry";
	if (status < 300 && answer_id(answer) < 0)
		return "the answer has no schema id; this may be no schema registry";
	return NULL;
}

/* Ask one URL once.  The answer is in CurrentMemoryContext. */
static Answer
ask_endpoint(Registry *registry, const Ask *ask, const char *endpoint,
			 const char *escaped_subject, const char *payload)
{
	Answer		answer = {0};
	CURLcode	code;
	OwnedJson  *owner = owned_json();

	set_curl(registry, CURLOPT_URL,
			 psprintf("%s/subjects/%s%s%s", endpoint, escaped_subject,
					  ask->path,
					  ask->post && registry->normalize_schemas ?
					  "?normalize=true" : ""));
	if (ask->post)
	{
		set_curl(registry, CURLOPT_POST, 1L);
		set_curl(registry, CURLOPT_POSTFIELDSIZE_LARGE,
				 (curl_off_t) strlen(payload));
		set_curl(registry, CURLOPT_POSTFIELDS, payload);
	}
	else
		set_curl(registry, CURLOPT_HTTPGET, 1L);

	code = transfer(registry);
	if (code != CURLE_OK)
		answer.away = transfer_problem(registry, code);
	else
	{
		curl_easy_getinfo(registry->easy, CURLINFO_RESPONSE_CODE,
						  &answer.status);
		if (registry->body_len > 0)
			owner->value = json_loadb(registry->body, registry->body_len, 0,
									  NULL);
		answer.body = owner->value;
		answer.away = answer_problem(&answer);
	}
	if (answer.away)
		answer.away = psprintf("%s: %s", endpoint, answer.away);

	free(registry->body);
	registry->body = NULL;
	registry->body_size = 0;
	return answer;
}

/* Sleep, with jitter: many streams may wait for one registry. */
static void
back_off(Registry *registry, int backoff_ms)
{
	double		wait_ms;
	instr_time	start;
	instr_time	now;

	wait_ms = backoff_ms * (0.5 + 0.5 * pg_prng_double(&pg_global_prng_state));
	INSTR_TIME_SET_CURRENT(start);
	for (;;)
	{
		double		left_ms;

		INSTR_TIME_SET_CURRENT(now);
		INSTR_TIME_SUBTRACT(now, start);
		left_ms = wait_ms - INSTR_TIME_GET_MILLISEC(now);
		if (left_ms <= 0)
			return;
		wait_turn(registry, (long) left_ms + 1);
	}
}

/*
 * Ask until there is an answer that is not AWAY.  The answer is in
 * round_cxt, valid until the next call.
 */
static Answer
ask_until_answered(Registry *registry, const Ask *ask,
				   const char *escaped_subject, const char *payload)
{
	int			backoff_ms = BACKOFF_MIN_MS;

	for (;;)
	{
		MemoryContext old;
		StringInfoData reasons;
		Answer		answer;

		MemoryContextReset(registry->round_cxt);
		old = MemoryContextSwitchTo(registry->round_cxt);
		initStringInfo(&reasons);
		for (int i = 0; i < list_length(registry->endpoints); i++)
		{
			answer = ask_endpoint(registry, ask,
								  list_nth(registry->endpoints,
										   registry->current),
								  escaped_subject, payload);
			if (answer.away == NULL)
			{
				set_state(registry, REGISTRY_OK, NULL);
				MemoryContextSwitchTo(old);
				return answer;
			}
			appendStringInfo(&reasons, "%s%s", i ? "; " : "", answer.away);
			registry->current =
				(registry->current + 1) % list_length(registry->endpoints);
		}
		set_state(registry, REGISTRY_AWAY, reasons.data);
		MemoryContextSwitchTo(old);

		back_off(registry, backoff_ms);
		backoff_ms = Min(2 * backoff_ms, BACKOFF_MAX_MS);
	}
}

/* A subject as a part of a path. */
static char *
escape_subject(const char *subject)
{
	StringInfoData escaped;

	initStringInfo(&escaped);
	for (const char *c = subject; *c; c++)
	{
		if (isalnum((unsigned char) *c) && !IS_HIGHBIT_SET(*c))
			appendStringInfoChar(&escaped, *c);
		else if (strchr("-._~", *c))
			appendStringInfoChar(&escaped, *c);
		else
			appendStringInfo(&escaped, "%%%02X", (unsigned char) *c);
	}
	return escaped.data;
}

/* How our schema differs from the version in an answer, as sentences. */
static char *
difference_sentence(const char *schema_text, const Answer *latest,
					bool *binding)
{
	char	   *difference = schema_difference(schema_text, latest->body,
											   binding);
	int			version = (int)
		json_integer_value(json_object_get(latest->body, "version"));

	if (difference == NULL)
		return psprintf("It has the fields and types of version %d (id %d), the latest one.",
						version, answer_id(latest));
	return psprintf("Compared with version %d (id %d), the latest one: %s.",
					version, answer_id(latest), difference);
}

/* Raise a registry's no. */
static void
refuse(Registry *registry, const Ask *ask, const Answer *answer,
	   const char *subject, const char *schema_text)
{
	const Refusal *refusal = refusals;
	StringInfoData detail;
	char	   *message = answer_message(answer);

	while (refusal->status != 0 && refusal->status != answer->status)
		refusal++;

	initStringInfo(&detail);
	if (message)
		appendStringInfo(&detail, "The registry says: \"%s\".", message);
	if (refusal->compare && ask->kind != ASK_LATEST)
	{
		Answer		latest;
		bool		binding;

		latest = ask_endpoint(registry, &asks[ASK_LATEST],
							  list_nth(registry->endpoints, registry->current),
							  escape_subject(subject), NULL);
		if (latest.away == NULL && latest.status / 100 == 2)
			appendStringInfo(&detail, "%s%s", detail.len ? " " : "",
							 difference_sentence(schema_text, &latest,
												 &binding));
	}

	ereport(ERROR,
			(errcode(refusal->sqlstate),
			 errmsg(refusal->message, subject, answer->status),
			 detail.len ? errdetail_internal("%s", detail.data) : 0,
			 errhint("%s", refusal->hint)));
}

/*
 * The latest version may stand for our schema only if a reader of our bytes
 * who takes them for the latest version's is right.
 */
static void
check_latest(const Answer *answer, const char *subject,
			 const char *schema_text)
{
	bool		binding;
	char	   *sentence = difference_sentence(schema_text, answer, &binding);

	if (binding)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("schema of subject \"%s\" is not what its latest version says",
						subject),
				 errdetail_internal("%s", sentence),
				 errhint("Register the new schema, revert the change of the table, or set \"wal2kafka.use_latest_version\" to off.")));
}

static int32
ask_for_id(Registry *registry, const char *subject, const char *schema_text)
{
	const Ask  *ask;
	Answer		answer;
	StringInfoData payload;

	if (registry->auto_register_schemas)
		ask = &asks[ASK_REGISTER];
	else if (registry->use_latest_version)
		ask = &asks[ASK_LATEST];
	else
		ask = &asks[ASK_LOOK_UP];

	initStringInfo(&payload);
	appendStringInfoString(&payload, "{\"schema\":");
	escape_json(&payload, schema_text);
	appendStringInfoChar(&payload, '}');

	answer = ask_until_answered(registry, ask, escape_subject(subject),
								payload.data);
	if (answer.status / 100 != 2)
		refuse(registry, ask, &answer, subject, schema_text);
	if (ask->kind == ASK_LATEST)
		check_latest(&answer, subject, schema_text);
	return answer_id(&answer);
}

/* ------------------------------------------------------------------------
 * Differences of schemas
 * ------------------------------------------------------------------------
 */

/* Note a difference, if there are not too many yet. */
static void difference(SchemaComparison *cmp, bool binding,
					   const char *format,...) pg_attribute_printf(3, 4);

static void
difference(SchemaComparison *cmp, bool binding, const char *format,...)
{
	cmp->binding |= binding;
	if (cmp->ndifferences++ >= MAX_DIFFERENCES)
		return;
	if (cmp->text.len > 0)
		appendStringInfoString(&cmp->text, "; ");
	for (;;)
	{
		va_list		args;
		int			needed;

		va_start(args, format);
		needed = appendStringInfoVA(&cmp->text, format, args);
		va_end(args);
		if (needed == 0)
			return;
		enlargeStringInfo(&cmp->text, needed);
	}
}

static const char *
string_property(const json_t *json, const char *name)
{
	return json_string_value(json_object_get(json, name));
}

static bool
is_plain_kind(const char *kind)
{
	return is_one_of(kind, "null, boolean, int, long, float, double, bytes, string, record, enum, array, map, fixed");
}

static bool
is_named_kind(const char *kind)
{
	return is_one_of(kind, "record, enum, fixed");
}

/* The full name of a definition or reference, by Avro's rules. */
static char *
full_name(const char *name, const char *own_namespace, const char *namespace)
{
	if (strchr(name, '.'))
		return pstrdup(name);
	if (own_namespace)
		namespace = own_namespace;
	return namespace && *namespace ? psprintf("%s.%s", namespace, name) :
		pstrdup(name);
}

/* All before the last dot; "" if there is none. */
static char *
namespace_of(const char *name)
{
	const char *dot = strrchr(name, '.');

	return pnstrdup(name, dot ? dot - name : 0);
}

static const char *
short_name(const char *name)
{
	const char *dot = name ? strrchr(name, '.') : NULL;

	return dot ? dot + 1 : name ? name : "";
}

/* Fill side->names with the definitions in a type. */
static void
collect_names(SchemaSide *side, json_t *type, const char *namespace)
{
	json_t	   *element;
	size_t		i;

	check_stack_depth();
	if (json_is_array(type))
	{
		json_array_foreach(type, i, element)
			collect_names(side, element, namespace);
	}
	else if (json_is_object(type))
	{
		const char *kind = string_property(type, "type");
		const char *name = string_property(type, "name");

		if (kind && name && is_named_kind(kind))
		{
			char	   *full = full_name(name,
										 string_property(type, "namespace"),
										 namespace);

			if (json_object_get(side->names, full) == NULL)
				json_object_set(side->names, full, type);
			namespace = namespace_of(full);
		}
		collect_names(side, json_object_get(type, "type"), namespace);
		collect_names(side, json_object_get(type, "items"), namespace);
		collect_names(side, json_object_get(type, "values"), namespace);
		json_array_foreach(json_object_get(type, "fields"), i, element)
			collect_names(side, json_object_get(element, "type"), namespace);
	}
}

/* Follow nesting and references by name to the type itself. */
static SchemaType
resolve_type(const SchemaSide *side, json_t *json, const char *namespace)
{
	SchemaType	type = {0};
	const char *word;

	while (json_is_object(json) &&
		   !json_is_string(json_object_get(json, "type")) &&
		   json_object_get(json, "type"))
		json = json_object_get(json, "type");

	type.json = json;
	type.namespace = namespace;
	if (json_is_array(json))
	{
		type.kind = "union";
		return type;
	}

	word = json_is_string(json) ? json_string_value(json) :
		string_property(json, "type");
	if (word == NULL)
		type.kind = "nothing";
	else if (!is_plain_kind(word))
	{
		type.name = full_name(word, NULL, namespace);
		type.json = json_object_get(side->names, type.name);
		type.kind = string_property(type.json, "type");
		if (type.kind == NULL)
			type.kind = type.name;	/* defined in another subject */
	}
	else
	{
		type.kind = word;
		if (is_named_kind(word) && string_property(json, "name"))
			type.name = full_name(string_property(json, "name"),
								  string_property(json, "namespace"),
								  namespace);
	}
	if (type.name)
		type.namespace = namespace_of(type.name);
	return type;
}

/* A JSON value as short text. */
static char *
json_text(const json_t *json)
{
	char		buffer[80];
	size_t		len;

	if (json == NULL)
		return "nothing";
	len = json_dumpb(json, buffer, sizeof(buffer) - 1,
					 JSON_ENCODE_ANY | JSON_COMPACT);
	if (len >= sizeof(buffer))
		return "a long value";
	buffer[len] = '\0';
	return pstrdup(buffer);
}

/* A type for people: "long (io.debezium.time.Date)", "null or int". */
static char *
type_text(const SchemaSide *side, const SchemaType *type)
{
	const char *meaning;
	StringInfoData text;
	json_t	   *branch;
	size_t		i;

	initStringInfo(&text);
	if (!json_is_array(type->json))
	{
		meaning = string_property(type->json, "connect.name");
		if (meaning == NULL)
			meaning = string_property(type->json, "logicalType");
		if (type->name)
			meaning = type->name;
		appendStringInfoString(&text, type->kind);
		if (meaning && strcmp(meaning, type->kind) != 0)
			appendStringInfo(&text, " (%s)", meaning);
		return text.data;
	}

	check_stack_depth();
	json_array_foreach(type->json, i, branch)
	{
		SchemaType	branch_type = resolve_type(side, branch, type->namespace);

		appendStringInfo(&text, "%s%s", i ? " or " : "",
						 type_text(side, &branch_type));
	}
	return text.data;
}

static void compare_types(SchemaComparison *cmp, const char *where,
						  SchemaType ours, SchemaType theirs);

static void
compare_properties(SchemaComparison *cmp, const char *where,
				   const SchemaType *ours, const SchemaType *theirs)
{
	for (int i = 0; i < lengthof(schema_properties); i++)
	{
		const char *name = schema_properties[i].name;
		json_t	   *our_value = json_object_get(ours->json, name);
		json_t	   *their_value = json_object_get(theirs->json, name);

		if (our_value == their_value || json_equal(our_value, their_value))
			continue;
		difference(cmp, schema_properties[i].binding,
				   "%s: %s changed from %s to %s", where, name,
				   json_text(their_value), json_text(our_value));
	}
}

static void
compare_symbols(SchemaComparison *cmp, const char *where,
				const SchemaType *ours, const SchemaType *theirs)
{
	json_t	   *our_symbols = json_object_get(ours->json, "symbols");
	json_t	   *their_symbols = json_object_get(theirs->json, "symbols");

	if (!json_equal(our_symbols, their_symbols))
		difference(cmp, true, "%s: symbols changed from %s to %s", where,
				   json_text(their_symbols), json_text(our_symbols));
}

/* The branches of a union that are not null, and where null is (-1: not). */
static List *
union_branches(const SchemaSide *side, const SchemaType *type, int *null_at)
{
	List	   *branches = NIL;
	json_t	   *json;
	size_t		i;

	*null_at = -1;
	if (!json_is_array(type->json))
		return list_make1(unconstify(SchemaType *, type));

	json_array_foreach(type->json, i, json)
	{
		SchemaType *branch = palloc(sizeof(SchemaType));

		*branch = resolve_type(side, json, type->namespace);
		if (strcmp(branch->kind, "null") == 0)
			*null_at = i;
		else
			branches = lappend(branches, branch);
	}
	return branches;
}

static void
compare_unions(SchemaComparison *cmp, const char *where,
			   const SchemaType *ours, const SchemaType *theirs)
{
	int			our_null;
	int			their_null;
	List	   *our_branches = union_branches(&cmp->ours, ours, &our_null);
	List	   *their_branches = union_branches(&cmp->theirs, theirs,
												&their_null);
	ListCell   *our_cell;
	ListCell   *their_cell;

	if (list_length(our_branches) != list_length(their_branches))
	{
		difference(cmp, true, "%s: type changed from %s to %s", where,
				   type_text(&cmp->theirs, theirs),
				   type_text(&cmp->ours, ours));
		return;
	}

	if (our_null >= 0 && their_null < 0)
		difference(cmp, true, "%s: became nullable", where);
	else if (our_null < 0 && their_null >= 0)
		difference(cmp, true, "%s: became not nullable", where);
	else if (our_null != their_null)
		difference(cmp, true, "%s: null moved from place %d to %d of the union",
				   where, their_null + 1, our_null + 1);
	forboth(our_cell, our_branches, their_cell, their_branches)
		compare_types(cmp, where, *(SchemaType *) lfirst(our_cell),
					  *(SchemaType *) lfirst(their_cell));
}

/* The field of a name; *place is its index. */
static json_t *
find_field(const json_t *fields, const char *name, int *place)
{
	json_t	   *field;
	size_t		i;

	json_array_foreach(fields, i, field)
	{
		const char *other = string_property(field, "name");

		if (other && strcmp(other, name) == 0)
		{
			*place = i;
			return field;
		}
	}
	return NULL;
}

/* A field that both records have. */
static void
compare_field(SchemaComparison *cmp, const char *where,
			  const SchemaType *ours, json_t *our_field,
			  const SchemaType *theirs, json_t *their_field)
{
	json_t	   *our_default = json_object_get(our_field, "default");
	json_t	   *their_default = json_object_get(their_field, "default");

	compare_types(cmp, where,
				  resolve_type(&cmp->ours, json_object_get(our_field, "type"),
							   ours->namespace),
				  resolve_type(&cmp->theirs,
							   json_object_get(their_field, "type"),
							   theirs->namespace));
	if (our_default != their_default &&
		!json_equal(our_default, their_default))
		difference(cmp, false, "%s: default changed from %s to %s", where,
				   json_text(their_default), json_text(our_default));
}

static void
compare_fields(SchemaComparison *cmp, const SchemaType *ours,
			   const SchemaType *theirs)
{
	json_t	   *our_fields = json_object_get(ours->json, "fields");
	json_t	   *their_fields = json_object_get(theirs->json, "fields");
	const char *record = short_name(ours->name);
	json_t	   *field;
	json_t	   *other;
	size_t		i;
	int			place;
	int			last_place = -1;
	bool		moved = false;

	json_array_foreach(our_fields, i, field)
	{
		const char *name = string_property(field, "name");
		char	   *where;

		if (name == NULL)
			continue;
		where = psprintf("field \"%s\" of \"%s\"", name, record);
		other = find_field(their_fields, name, &place);
		if (other == NULL)
		{
			difference(cmp, true, "%s: added%s", where,
					   json_object_get(field, "default") ? "" :
					   " without a default");
			continue;
		}
		moved |= place < last_place;
		last_place = place;
		compare_field(cmp, where, ours, field, theirs, other);
	}

	json_array_foreach(their_fields, i, other)
	{
		const char *name = string_property(other, "name");

		if (name && find_field(our_fields, name, &place) == NULL)
			difference(cmp, true, "field \"%s\" of \"%s\": removed%s",
					   name, record, json_object_get(other, "default") ? "" :
					   ", it has no default");
	}
	if (moved)
		difference(cmp, true, "fields of \"%s\": in another order", record);
}

static void
compare_types(SchemaComparison *cmp, const char *where, SchemaType ours,
			  SchemaType theirs)
{
	static const char *const element_properties[] = {"items", "values"};

	check_stack_depth();
	if (json_is_array(ours.json) || json_is_array(theirs.json))
	{
		compare_unions(cmp, where, &ours, &theirs);
		return;
	}
	if (strcmp(ours.kind, theirs.kind) != 0)
	{
		difference(cmp, true, "%s: type changed from %s to %s", where,
				   type_text(&cmp->theirs, &theirs),
				   type_text(&cmp->ours, &ours));
		return;
	}
	if (ours.name && theirs.name && strcmp(ours.name, theirs.name) != 0)
		difference(cmp, true, "%s: %s is now named %s instead of %s", where,
				   ours.kind, ours.name, theirs.name);

	if (strcmp(ours.kind, "record") == 0)
	{
		/* Named again, as the envelope's after; or contains itself. */
		if (list_member_ptr(cmp->seen, ours.json))
			return;
		cmp->seen = lappend(cmp->seen, ours.json);
		compare_fields(cmp, &ours, &theirs);
		return;
	}

	compare_properties(cmp, where, &ours, &theirs);
	if (strcmp(ours.kind, "enum") == 0)
		compare_symbols(cmp, where, &ours, &theirs);
	for (int i = 0; i < lengthof(element_properties); i++)
	{
		const char *name = element_properties[i];

		if (json_object_get(ours.json, name))
			compare_types(cmp, psprintf("%s of %s", name, where),
						  resolve_type(&cmp->ours,
									   json_object_get(ours.json, name),
									   ours.namespace),
						  resolve_type(&cmp->theirs,
									   json_object_get(theirs.json, name),
									   theirs.namespace));
	}
}

/* Parse one side; its root is NULL if the text is not JSON. */
static SchemaSide
schema_side(const char *text)
{
	SchemaSide	side;
	OwnedJson  *root = owned_json();
	OwnedJson  *names = owned_json();

	root->value = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;

	/*
	 * Not json_object(): the server has a function of that name, which would
	 * be called instead of the library's.
	 */
	names->value = json_pack("{}");
	side.root = root->value;
	side.names = names->value;
	collect_names(&side, side.root, "");
	return side;
}

/*
 * How our schema differs from a version that the registry answered with;
 * NULL if it does not.  Ignored are documentation, aliases, the order of
 * properties and whatever only other programs know.  *binding: bytes of ours
 * would be misread as that version's.  Palloc'd.
 */
static char *
schema_difference(const char *schema_text, const json_t *latest,
				  bool *binding)
{
	SchemaComparison cmp = {0};

	initStringInfo(&cmp.text);
	cmp.ours = schema_side(schema_text);
	cmp.theirs = schema_side(string_property(latest, "schema"));
	if (cmp.ours.root == NULL)
		elog(ERROR, "schema text is not JSON");
	if (cmp.theirs.root == NULL)
		difference(&cmp, true, "the version is not an Avro schema");
	else
		compare_types(&cmp, "the schema",
					  resolve_type(&cmp.ours, cmp.ours.root, ""),
					  resolve_type(&cmp.theirs, cmp.theirs.root, ""));

	*binding = cmp.binding;
	if (cmp.ndifferences == 0)
		return NULL;
	if (cmp.ndifferences > MAX_DIFFERENCES)
		appendStringInfo(&cmp.text, "; and %d more",
						 cmp.ndifferences - MAX_DIFFERENCES);
	return foreign_text(cmp.text.data, MAX_DIFFERENCES * MAX_FOREIGN_TEXT);
}
