/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/package_name.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

bool package_is_label(const char *s, size_t len)
{
	bool first = true; /* of a word */

	for (size_t i = 0; i < len; i++) {
		if (first ? !is_lower(s[i]) : !is_lower(s[i]) && !is_digit(s[i]) && s[i] != '-')
			return false;
		first = s[i] == '-';
	}
	return len > 0 && !first;
}

/* Decimal, without zeros in front; returns its length, or 0. */
static size_t number(const char *s, size_t len)
{
	uint64_t value = 0;
	size_t n = 0;

	for (; n < len && is_digit(s[n]); n++)
		if (__builtin_mul_overflow(value, UINT64_C(10), &value) ||
		    __builtin_add_overflow(value, (uint64_t)(s[n] - '0'), &value))
			return 0;
	return n > 1 && s[0] == '0' ? 0 : n;
}

/* One identifier of a pre-release or, with `zeros`, a build. */
static bool is_identifier(const char *s, size_t len, bool zeros)
{
	bool digits = true;

	for (size_t i = 0; i < len; i++) {
		bool letter = is_lower(s[i]) || (s[i] >= 'A' && s[i] <= 'Z') || s[i] == '-';

		if (!letter && !is_digit(s[i]))
			return false;
		digits &= !letter;
	}
	return len > 0 && (zeros || !digits || len == 1 || s[0] != '0');
}

/* Identifiers joined by '.'. */
static bool is_list(const char *s, size_t len, bool zeros)
{
	for (;;) {
		const char *dot = len > 0 ? memchr(s, '.', len) : NULL;
		size_t n = dot ? (size_t)(dot - s) : len;

		if (!is_identifier(s, n, zeros))
			return false;
		if (!dot)
			return true;
		s += n + 1;
		len -= n + 1;
	}
}

bool package_is_version(const char *s, size_t len)
{
	for (int i = 0; i < 3; i++) {
		size_t n = number(s, len);

		if (n == 0 || (i < 2 && (n == len || s[n] != '.')))
			return false;
		n += i < 2;
		s += n;
		len -= n;
	}
	const char *plus = len > 0 ? memchr(s, '+', len) : NULL;
	size_t before = plus ? (size_t)(plus - s) : len;

	if (before > 0 && (s[0] != '-' || !is_list(s + 1, before - 1, false)))
		return false;
	return !plus || is_list(plus + 1, len - before - 1, true);
}

/* The first of `from` becomes `to`. */
static void replace_first(char *s, char from, char to)
{
	char *at = strchr(s, from);

	if (at)
		*at = to;
}

int package_file_tag(const char *file, char ret[TAG_MAX + 1])
{
	size_t len = strlen(file), suffix = strlen(PACKAGE_SUFFIX);

	if (len <= suffix || strcmp(file + len - suffix, PACKAGE_SUFFIX) != 0)
		return -EINVAL;
	len -= suffix;
	if (len > TAG_MAX || !package_is_version(file, len))
		return -EINVAL;
	memcpy(ret, file, len);
	ret[len] = '\0';
	replace_first(ret, '+', '_');
	return 0;
}

int package_tag_file(const char *tag, char ret[PACKAGE_FILE_MAX])
{
	size_t len = strlen(tag);

	if (len > TAG_MAX)
		return -EINVAL;
	memcpy(ret, tag, len + 1);
	replace_first(ret, '_', '+');
	if (!package_is_version(ret, len))
		return -EINVAL;
	memcpy(ret + len, PACKAGE_SUFFIX, sizeof(PACKAGE_SUFFIX));
	return 0;
}
