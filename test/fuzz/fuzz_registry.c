/*
 * fuzz_registry.c
 *		What a registry, or whatever answers in its place, says.
 *
 * Input: a byte that chooses the HTTP status, one that chooses the question,
 * the body; or an "u" and a list of URLs.
 */
#include "../../registry.c"

#include "fuzz.h"

static const long statuses[] = {200, 404, 409, 422, 401, 500, 302, 100, 207};

static const char our_schema[] =
"{\"type\":\"record\",\"name\":\"Value\",\"namespace\":\"a.b\",\"fields\":["
"{\"name\":\"id\",\"type\":\"int\"},"
"{\"name\":\"at\",\"type\":[\"null\",{\"type\":\"long\",\"connect.name\":\"x\"}],\"default\":null},"
"{\"name\":\"self\",\"type\":[\"null\",\"Value\"],\"default\":null},"
"{\"name\":\"list\",\"type\":{\"type\":\"array\",\"items\":\"string\"}}]}";

static void
quiet(void *arg, RegistryProblem problem, const char *reason)
{
}

void
fuzz_input(const uint8 *data, size_t size)
{
	static char url[] = "http://127.0.0.1/a";
	Registry	registry = {.cxt = CurrentMemoryContext,.on_wait = quiet};
	Answer		answer = {0};
	const Ask  *ask;
	OwnedJson  *owner = owned_json();
	char	   *problem;

	if (size < 2)
		return;
	if (data[0] == 'u')
	{
		(void) registry_parse_urls(fuzz_string(data + 1, size - 1));
		return;
	}
	registry.endpoints = list_make1(url);
	registry.caller_cxt = CurrentMemoryContext;
	answer.status = statuses[data[0] % lengthof(statuses)];
	ask = &asks[data[1] % lengthof(asks)];
	owner->value = json_loadb((const char *) data + 2, size - 2, 0, NULL);
	answer.body = owner->value;

	problem = answer_problem(ask, &answer);
	if (problem != NULL)
	{
		CHECK(strlen(problem) < 2 * MAX_FOREIGN_TEXT);
		return;
	}
	if (answer.status / 100 != 2)
	{
		/* the question itself would go out again */
		const Ask	quiet_ask = {ask->kind, ask->collection, ask->path, false};

		refuse(&registry, &quiet_ask, &answer, "a-value", our_schema);
	}
	if (ask->kind == ASK_TEXT)
		return;
	CHECK(answer_id(&answer) >= 0);
	check_latest(&answer, "a-value", our_schema);
}
