/*
 * option_secret.c
 *		Which options of Kafka and the schema registry hold secrets.
 */
#include "postgres.h"

#include "option_secret.h"

/* What names of secrets have in them. */
static const char *const secret_parts[] = {
	"password", "passphrase", "secret", "token", "credential", "pem",
	"jaas", "sasl.oauthbearer.config", "sasl.oauthbearer.extensions",
	"user.info", "userinfo", "private.key", "api.key", "apikey", "ssl_key",
	"authorization",
};

/*
 * How names end that say where a secret is, whose it is or how to get one:
 * sasl.oauthbearer.token.endpoint.url, basic.auth.credentials.source, ...
 */
static const char *const public_ends[] = {
	".url", ".location", ".file", ".source", ".client.id",
};

bool
option_text_contains(const char *text, const char *part)
{
	int			len = strlen(part);

	for (; *text != '\0'; text++)
		if (pg_strncasecmp(text, part, len) == 0)
			return true;
	return false;
}

static bool
ends_with(const char *text, const char *end)
{
	size_t		len = strlen(text);
	size_t		end_len = strlen(end);

	return len >= end_len && pg_strcasecmp(text + len - end_len, end) == 0;
}

bool
option_name_is_secret(const char *name)
{
	for (int i = 0; i < lengthof(public_ends); i++)
		if (ends_with(name, public_ends[i]))
			return false;
	for (int i = 0; i < lengthof(secret_parts); i++)
		if (option_text_contains(name, secret_parts[i]))
			return true;
	return false;
}

/*
 * Looks at every address in the text.  Without a scheme there must be a
 * password too: name@REALM is no address.
 */
bool
option_has_user_information(const char *value)
{
	const char *p = value;
	size_t		user_len = strcspn(p, ":@/?#, \t");

	if (p[user_len] == ':' &&
		p[user_len + 1 + strcspn(p + user_len + 1, "@/?#, \t")] == '@')
		return true;
	while ((p = strstr(p, "://")) != NULL)
	{
		p += 3;
		if (p[strcspn(p, "@/?#, \t")] == '@')
			return true;
	}
	return false;
}

const char *
option_secret(const char *name, const char *value)
{
	if (option_name_is_secret(name))
		return "Secrets belong in the options file, because everybody can read settings.";
	if (option_text_contains(value, "-----BEGIN"))
		return "Keys and certificates belong in files, because everybody can read settings.";
	if (option_has_user_information(value))
		return "An address with user or password in it belongs in the options file, because everybody can read settings.";
	return NULL;
}
