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
 * 40901, Apicurio's 409).  Only of a 404 the error_code tells whether it is a
 * registry's or that of a wrong path.
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

#include "common/hashfn.h"
#include "common/pg_prng.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "portability/instr_time.h"
#include "storage/fd.h"
#include "storage/latch.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

#include "foreign.h"
#include "registry.h"
#include "registry_options.h"
#include "schema_diff.h"

/* An answer that is longer is not a registry's. */
#define MAX_ANSWER_BYTES	(4 * 1024 * 1024)

/* Longest wait between two looks at interrupts and at the caller's work. */
#define WAIT_SLICE_MS		100

/* Several sockets (IPv6 and IPv4 tried together): only one is waited for. */
#define WAIT_SLICE_MANY_MS	10

#define BACKOFF_MIN_MS		100
#define BACKOFF_MAX_MS		10000

/* The cache starts afresh when it has more memory than this. */
#define MAX_CACHE_BYTES		(8 * 1024 * 1024)

/* What a text from elsewhere may add to a message. */
#define MAX_FOREIGN_TEXT	400

#define MAX_SOCKETS			8

#define DEFAULT_CONNECT_TIMEOUT_MS	5000
#define DEFAULT_READ_TIMEOUT_MS		15000

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
	ASK_TEXT,
} AskKind;

typedef struct Ask
{
	AskKind		kind;
	const char *collection;		/* of what is asked for: /COLLECTION/NAME */
	const char *path;			/* after that */
	bool		post;			/* with the schema; else GET */
} Ask;

static const Ask asks[] = {
	{ASK_REGISTER, "subjects", "/versions", true},
	{ASK_LOOK_UP, "subjects", "", true},
	{ASK_LATEST, "subjects", "/versions/latest", false},
	{ASK_TEXT, "schemas/ids", "", false},
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

static void registry_release(void *arg);
static void make_handles(Registry *registry);
static int32 ask_for_id(Registry *registry, const char *subject,
						const char *schema_text);
static char *ask_for_text(Registry *registry, int32 id);

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
	registry->endpoints = registry_parse_urls(config->urls);

	/* The connection is a descriptor that fd.c must leave room for. */
	registry->release.func = registry_release;
	registry->release.arg = registry;
	ReserveExternalFD();
	MemoryContextRegisterResetCallback(cxt, &registry->release);

	make_handles(registry);
	registry_apply_options(registry->easy, &registry->headers,
						   &config->options);

	MemoryContextSwitchTo(old);
	return registry;
}

void
registry_destroy(Registry *registry)
{
	MemoryContextDelete(registry->cxt);
}

Registry *
registry_open(const Settings *settings,
			  void (*on_wait) (void *arg, RegistryProblem problem,
							   const char *reason),
			  void *arg)
{
	RegistryConfig config = {0};
	Registry   *volatile registry;

	config.urls = settings->schema_registry_url;
	config.options = options_read("wal2kafka.schema_registry_options",
								  settings->schema_registry_options,
								  "wal2kafka.schema_registry_options_file",
								  settings->schema_registry_options_file,
								  registry_check_options);
	config.auto_register_schemas = settings->auto_register_schemas;
	config.use_latest_version = settings->use_latest_version;
	config.normalize_schemas = settings->normalize_schemas;
	config.on_wait = on_wait;
	config.arg = arg;
	PG_TRY();
	{
		registry = registry_create(&config);
	}
	PG_FINALLY();
	{
		options_wipe(&config.options);	/* the caller may go on */
	}
	PG_END_TRY();
	return registry;
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

void
registry_forget_ids(Registry *registry)
{
	MemoryContextReset(registry->cache_cxt);
	registry->cache = NULL;
}

/* Keep an id. */
static void
remember(Registry *registry, const char *subject, const char *schema_text,
		 int32 id)
{
	MemoryContext old;
	CachedKey	key;
	bool		found;

	if (MemoryContextMemAllocated(registry->cache_cxt, true) > MAX_CACHE_BYTES)
		registry_forget_ids(registry);

	old = MemoryContextSwitchTo(registry->cache_cxt);
	if (registry->cache == NULL)
		registry->cache = idcache_create(registry->cache_cxt, 64, NULL);
	key.subject = pstrdup(subject);
	key.text = pstrdup(schema_text);
	idcache_insert(registry->cache, key, &found)->id = id;
	MemoryContextSwitchTo(old);
}

/* What a call works with, from begin to end. */
static void
begin_call(Registry *registry)
{
	MemoryContextReset(registry->call_cxt);
	MemoryContextReset(registry->round_cxt);
	registry->caller_cxt = MemoryContextSwitchTo(registry->call_cxt);
	registry->latch_was_reset = false;
}

static void
end_call(Registry *registry)
{
	MemoryContextSwitchTo(registry->caller_cxt);
	MemoryContextReset(registry->call_cxt);
	MemoryContextReset(registry->round_cxt);
}

/* Whoever set the latch meant the caller's loop too. */
static void
restore_latch(Registry *registry)
{
	if (registry->latch_was_reset)
		SetLatch(MyLatch);
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

	begin_call(registry);
	PG_TRY();
	{
		id = ask_for_id(registry, subject, schema_text);
	}
	PG_FINALLY();
	{
		restore_latch(registry);
	}
	PG_END_TRY();
	end_call(registry);

	remember(registry, subject, schema_text, id);
	return id;
}

char *
registry_schema_text(Registry *registry, int32 id)
{
	char	   *text;

	begin_call(registry);
	PG_TRY();
	{
		text = ask_for_text(registry, id);
	}
	PG_FINALLY();
	{
		restore_latch(registry);
	}
	PG_END_TRY();
	if (text != NULL)
		text = MemoryContextStrdup(registry->caller_cxt, text);
	end_call(registry);
	return text;
}

/* ------------------------------------------------------------------------
 * libcurl
 * ------------------------------------------------------------------------
 */

#define set_curl(registry, option, value) \
	registry_set_curl((registry)->easy, option, value)

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
		registry_check_curl(curl_global_init(CURL_GLOBAL_DEFAULT),
							"curl_global_init");
		initialized = true;
	}

	registry->multi = curl_multi_init();
	registry->easy = curl_easy_init();
	if (registry->multi == NULL || registry->easy == NULL)
		registry_check_curl(CURLE_OUT_OF_MEMORY, "curl_easy_init");

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

	registry_add_header(&registry->headers, "Content-Type: application/vnd.schemaregistry.v1+json");
	registry_add_header(&registry->headers,
						"Accept: application/vnd.schemaregistry.v1+json, application/json");

	/* Asking before sending a long schema would only cost a round trip. */
	registry_add_header(&registry->headers, "Expect:");
}

/*
 * What keeps a connection from being made, by texts of libcurl's, OpenSSL's
 * and ours.  The first row that fits counts.
 */
static const struct
{
	const char *text;
	const char *hint;
}			remedies[] = {
	{"certificate has expired",
	"Renew the registry's certificate."},
	{"certificate is not yet valid",
	"Compare the clocks of this server and the registry."},
	{"host name",
	"The registry's certificate has to have the name by which wal2kafka.schema_registry_url reaches it."},
	{"alert", "The registry refuses the client's certificate: it has expired, is of an authority that the registry does not know, or is missing. See ssl.certificate.location and ssl.key.location in wal2kafka.schema_registry_options. A renewed file is noticed, and the stream goes on by itself."},
	{"local SSL certificate",
	"See ssl.certificate.location and ssl.key.location in wal2kafka.schema_registry_options, and ssl.key.password in the file that wal2kafka.schema_registry_options_file names."},
	{"wrong version number",
	"The registry speaks no TLS there: wal2kafka.schema_registry_url has to begin with http."},
	{"certificate", "Set ssl.ca.location in wal2kafka.schema_registry_options to a PEM file of the authority that signed the registry's certificate. A changed file is noticed, and the stream goes on by itself."},
};

const char *
registry_remedy(const char *reason)
{
	for (int i = 0; reason != NULL && i < lengthof(remedies); i++)
	{
		if (strstr(reason, remedies[i].text) != NULL)
			return remedies[i].hint;
	}
	return NULL;
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
answer_problem(const Ask *ask, const Answer *answer)
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
	if (status < 300 && ask->kind == ASK_TEXT)
		return json_is_string(json_object_get(answer->body, "schema")) ? NULL :
			"the answer has no schema; this may be no schema registry";
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
			 psprintf("%s/%s/%s%s%s", endpoint, ask->collection,
					  escaped_subject, ask->path,
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
		answer.away = answer_problem(ask, &answer);
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
	const char *theirs;
	char	   *difference;
	int			version;

	theirs = json_string_value(json_object_get(latest->body, "schema"));
	difference = schema_difference(schema_text, theirs, binding);
	version = (int) json_integer_value(json_object_get(latest->body,
													   "version"));
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
	if (refusal->compare && ask->post)
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

static char *
ask_for_text(Registry *registry, int32 id)
{
	char	   *name = psprintf("%d", (int) id);
	Answer		answer;

	answer = ask_until_answered(registry, &asks[ASK_TEXT], name, NULL);
	if (answer.status == 404)
		return NULL;
	if (answer.status / 100 != 2)
		refuse(registry, &asks[ASK_TEXT], &answer, name, NULL);
	return (char *) json_string_value(json_object_get(answer.body, "schema"));
}
