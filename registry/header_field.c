/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/header_field.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* These say what our own request is. */
static bool is_ours(const char *name)
{
	static const char *const ours[] = {"host",           "connection",
					   "content-length", "transfer-encoding",
					   "range",          "accept-encoding"};

	for (size_t i = 0; i < ARRAY_LEN(ours); i++)
		if (strcasecmp(name, ours[i]) == 0)
			return true;
	return false;
}

bool header_field_may_set(const char *name)
{
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				"!#$%&'*+-.^_`|~");

	return n > 0 && name[n] == '\0' && !is_ours(name);
}

bool header_field_is_value(const char *value)
{
	for (; *value; value++)
		if (((unsigned char)*value < 0x20 && *value != '\t') || *value == 0x7f)
			return false;
	return true;
}

int header_field_add(struct names *lines, const char *name, const char *value)
{
	char *line;
	int n, r;

	if (lines->n >= HEADER_FIELDS_MAX)
		return -EFBIG;
	n = asprintf(&line, "%s%s%s", name, *value ? ": " : ";", value);
	if (n < 0)
		return -ENOMEM;
	r = n > HEADER_FIELD_LINE_MAX ? -EFBIG : names_add(lines, line, (size_t)n);
	explicit_bzero(line, (size_t)n);
	free(line);
	return r;
}

bool header_field_same(const char *a, const char *b)
{
	size_t n = strcspn(a, ":;");

	return n == strcspn(b, ":;") && strncasecmp(a, b, n) == 0;
}
