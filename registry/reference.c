/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/reference.h"

#include <errno.h>
#include <string.h>

#include "registry/source.h"

static bool is_lower_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_alnum(char c)
{
	return is_lower_alnum(c) || (c >= 'A' && c <= 'Z');
}

/* (\.|_|__|-+) at s: its length, 0 if there is none. */
static size_t separator_len(const char *s, size_t len)
{
	size_t n = 0;

	while (n < len && s[n] == '-')
		n++;
	if (n > 0 || len == 0)
		return n;
	if (s[0] == '_')
		return len > 1 && s[1] == '_' ? 2 : 1;
	return s[0] == '.' ? 1 : 0;
}

bool reference_is_component(const char *s, size_t len)
{
	if (len == 0 || len > NAME_COMPONENT_MAX)
		return false;
	for (size_t i = 0; i < len;) {
		size_t start = i;
		while (i < len && is_lower_alnum(s[i]))
			i++;
		if (i == start)
			return false;
		if (i == len)
			return true;
		size_t n = separator_len(s + i, len - i);
		if (n == 0)
			return false;
		i += n;
	}
	return false;
}

bool reference_is_repository(const char *s, size_t len)
{
	if (len == 0 || len >= REPOSITORY_MAX)
		return false;
	for (;;) {
		const char *slash = memchr(s, '/', len);
		size_t n = slash != NULL ? (size_t)(slash - s) : len;
		if (!reference_is_component(s, n))
			return false;
		if (slash == NULL)
			return true;
		s += n + 1;
		len -= n + 1;
		if (len == 0)
			return false;
	}
}

bool reference_is_tag(const char *s, size_t len)
{
	if (len == 0 || len > TAG_MAX)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (is_alnum(s[i]) || s[i] == '_')
			continue;
		if (i == 0 || (s[i] != '.' && s[i] != '-'))
			return false;
	}
	return true;
}

bool reference_is_referrer_tag(const char *s, size_t len)
{
	static const char *const suffixes[] = {"", ".sig", ".att", ".sbom"};
	const size_t prefix = strlen("sha256-"), hex = 64;

	if (len < prefix + hex ||
	    (memcmp(s, "sha256-", prefix) != 0 && memcmp(s, "sha512-", prefix) != 0))
		return false;
	for (size_t i = prefix; i < prefix + hex; i++) {
		if (!(s[i] >= '0' && s[i] <= '9') && !(s[i] >= 'a' && s[i] <= 'f'))
			return false;
	}
	const char *rest = s + prefix + hex;
	size_t rest_len = len - prefix - hex;
	for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
		if (strlen(suffixes[i]) == rest_len && memcmp(rest, suffixes[i], rest_len) == 0)
			return true;
	}
	return false;
}

int reference_parse_entry(const char *s, size_t len, struct entry_reference *ret)
{
	struct entry_reference r = {0};

	while (r.name_len < len && s[r.name_len] != ':' && s[r.name_len] != '@')
		r.name_len++;
	if (r.name_len == len || !reference_is_component(s, r.name_len))
		return -EINVAL;
	const char *rest = s + r.name_len;
	size_t rest_len = len - r.name_len;
	const char *at = memchr(rest, '@', rest_len);
	if (rest[0] == ':') {
		size_t tag_len = (at != NULL ? (size_t)(at - rest) : rest_len) - 1;
		if (!reference_is_tag(rest + 1, tag_len))
			return -EINVAL;
		memcpy(r.tag, rest + 1, tag_len);
	}
	if (at != NULL) {
		size_t digest_len = rest_len - (size_t)(at - rest) - 1;
		int rc = digest_parse(at + 1, digest_len, &r.digest);
		if (rc < 0)
			return rc;
	}
	*ret = r;
	return 0;
}

bool reference_is_listed_tag(const char *s)
{
	size_t len = strlen(s);

	return reference_is_tag(s, len) && !reference_is_referrer_tag(s, len);
}
