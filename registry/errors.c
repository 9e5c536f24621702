/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/errors.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "base/macros.h"
#include "registry/json_util.h"

#define SECRET_LEAST 6 /* bytes: what is shorter stands in any text */

static bool is_control(unsigned char c)
{
	return c < 0x20 || c == 0x7f;
}

void errors_hide(char *body, size_t len, const char *secret)
{
	size_t n = strlen(secret);
	char *end = body + len;
	char *at;

	/* From behind what was hidden: a secret may be all asterisks. */
	while (n >= SECRET_LEAST && (at = memmem(body, (size_t)(end - body), secret, n)) != NULL) {
		memset(at, '*', n);
		body = at + n;
	}
}

/* A word ends where a URL, or a token, must. */
static size_t word_len(const char *s)
{
	return strcspn(s, " \"'<>,;()");
}

static bool word_is(const char *s, size_t len, const char *word)
{
	return len == strlen(word) && strncasecmp(s, word, len) == 0;
}

/* "Basic authentication is required" quotes nothing. */
static bool is_prose(const char *word, size_t len)
{
	return strspn(word, "abcdefghijklmnopqrstuvwxyz") >= len;
}

static bool is_scheme(const char *word, size_t len)
{
	while (len > 0 && (word[len - 1] == ':' || word[len - 1] == '='))
		len--;
	return word_is(word, len, "Bearer") || word_is(word, len, "Basic");
}

/* What of a word may be shown. */
static size_t shown_of(const char *word, size_t len, bool behind_scheme)
{
	const char *query = memchr(word, '?', len);

	if (behind_scheme && !is_prose(word, len))
		return 0;
	return query && memchr(word, '/', (size_t)(query - word)) ? (size_t)(query - word) + 1
								  : len;
}

/* In place: no longer than it was. */
static void leave_out_secrets(char *s)
{
	bool behind_scheme = false;
	char *out = s;

	while (*s) {
		size_t len = word_len(s);
		size_t shown = shown_of(s, len, behind_scheme && len >= SECRET_LEAST);

		if (len > 0)
			behind_scheme = is_scheme(s, len);
		memmove(out, s, shown);
		out += shown;
		if (shown < len) {
			size_t dots = len - shown < 3 ? len - shown : 3;

			memset(out, '.', dots);
			out += dots;
		}
		s += len;
		if (*s)
			*out++ = *s++;
	}
	*out = '\0';
}

void errors_clean(const char *s, size_t len, char *out, size_t room)
{
	size_t n = 0;

	for (size_t i = 0; i < len && n + 1 < room; i++) {
		bool gap = is_control((unsigned char)s[i]) || s[i] == ' ';

		if (gap && (n == 0 || out[n - 1] == ' '))
			continue;
		out[n++] = gap ? ' ' : s[i];
	}
	/* Not cut inside a UTF-8 sequence. */
	if (n + 1 == room)
		while (n > 0 && (unsigned char)out[n - 1] >= 0x80)
			n--;
	while (n > 0 && out[n - 1] == ' ')
		n--;
	out[n] = '\0';
	leave_out_secrets(out);
}

static void take_string(const json_t *value, char *out, size_t room)
{
	if (json_is_string(value))
		errors_clean(json_string_value(value), json_string_length(value), out, room);
}

static void from_json(const json_t *root, struct registry_error *ret)
{
	static const char *const keys[] = {"message", "details", "detail", "error_description",
					   "error"};
	const json_t *first = json_array_get(json_object_get(root, "errors"), 0);

	if (first) {
		take_string(json_object_get(first, "code"), ret->code, sizeof(ret->code));
		take_string(json_object_get(first, "message"), ret->message, sizeof(ret->message));
		if (!ret->message[0])
			take_string(json_object_get(first, "detail"), ret->message,
				    sizeof(ret->message));
		return;
	}
	take_string(json_object_get(root, "code"), ret->code, sizeof(ret->code));
	for (size_t i = 0; i < ARRAY_LEN(keys) && !ret->message[0]; i++)
		take_string(json_object_get(root, keys[i]), ret->message, sizeof(ret->message));
}

void errors_parse(const char *body, size_t len, struct registry_error *ret)
{
	AUTO_JSON json_t *root = NULL;
	size_t i = 0;

	*ret = (struct registry_error){0};
	while (i < len && strchr(" \t\r\n", body[i]))
		i++;
	if (i == len || body[i] == '<')
		return;
	if (body[i] != '{') {
		errors_clean(body, len, ret->message, sizeof(ret->message));
		return;
	}
	if (json_util_parse(body, len, "the answer", &root, NULL) == 0)
		from_json(root, ret);
}

static bool code_is_never_valid(const char *code)
{
	return strcmp(code, "NAME_INVALID") == 0 || strcmp(code, "TAG_INVALID") == 0 ||
	       strcmp(code, "DIGEST_INVALID") == 0;
}

bool errors_is_absence(const char *code)
{
	return strcmp(code, "MANIFEST_UNKNOWN") == 0 || strcmp(code, "NAME_UNKNOWN") == 0 ||
	       strcmp(code, "BLOB_UNKNOWN") == 0 || strcmp(code, "UNSUPPORTED") == 0;
}

int errors_errno(int status, const char *code, bool foreign)
{
	if (status >= 500 && status != 501 && status != 505)
		return -EHOSTUNREACH;
	switch (status) {
	case 401:
	case 402:
	case 403:
	case 412: /* Harbor: its project's policy */
	case 451:
		return -EACCES;
	case 404:
	case 410:
		return foreign && !errors_is_absence(code) ? -EPROTO : -ENOENT;
	case 400:
		return code_is_never_valid(code) && !foreign ? -ENOENT : -EPROTO;
	case 408:
	case 425:
	case 499:
		return -EHOSTUNREACH;
	case 429:
		return -EBUSY;
	default:
		return -EPROTO;
	}
}
