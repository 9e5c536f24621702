/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/mountinfo.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_octal(char c)
{
	return c >= '0' && c <= '7';
}

/* "\040" is a byte; a backslash without three octal digits stands for itself. */
static int unescape(const char *s, size_t len, char *out, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		if (n + 1 >= size)
			return -EINVAL;
		if (s[i] == '\\' && len - i > 3 && is_octal(s[i + 1]) && is_octal(s[i + 2]) &&
		    is_octal(s[i + 3])) {
			out[n++] =
			    (char)(unsigned char)(((s[i + 1] - '0') << 6 | (s[i + 2] - '0') << 3 |
						   (s[i + 3] - '0')) &
						  0xff);
			i += 3;
		} else {
			out[n++] = s[i];
		}
	}
	out[n] = '\0';
	return 0;
}

/* The next field, and *s behind it. Its length is 0 at the end of the line. */
static const char *next_field(const char **s, size_t *ret_len)
{
	const char *field = *s + strspn(*s, " ");

	*ret_len = strcspn(field, " \n");
	*s = field + *ret_len;
	return field;
}

/* "98:0" */
static int parse_device(const char *field, struct mountinfo_entry *ret)
{
	char *end;
	unsigned long major = strtoul(field, &end, 10), minor;

	if (end == field || *end != ':' || major > UINT_MAX)
		return -EINVAL;
	field = end + 1;
	minor = strtoul(field, &end, 10);
	if (end == field || (*end != ' ' && *end != '\0') || minor > UINT_MAX)
		return -EINVAL;
	ret->major = (unsigned)major;
	ret->minor = (unsigned)minor;
	return 0;
}

int mountinfo_parse(const char *line, struct mountinfo_entry *ret)
{
	const char *field;
	size_t len;

	for (int i = 0; i < 2; i++)
		(void)next_field(&line, &len);
	field = next_field(&line, &len);
	if (parse_device(field, ret) < 0)
		return -EINVAL;
	(void)next_field(&line, &len); /* root */
	field = next_field(&line, &len);
	if (len == 0 || unescape(field, len, ret->mountpoint, sizeof(ret->mountpoint)) < 0)
		return -EINVAL;
	/* Options, then any number of optional fields, ended by "-". */
	do {
		field = next_field(&line, &len);
		if (len == 0)
			return -EINVAL;
	} while (len != 1 || *field != '-');
	field = next_field(&line, &len);
	if (len == 0 || unescape(field, len, ret->fstype, sizeof(ret->fstype)) < 0)
		return -EINVAL;
	field = next_field(&line, &len);
	return unescape(field, len, ret->source, sizeof(ret->source));
}

int mountinfo_find(const char *file, const char *mountpoint, struct mountinfo_entry *ret)
{
	FILE *f = fopen(file, "re");
	AUTO_FREE char *line = NULL;
	AUTO_FREE struct mountinfo_entry *e = malloc(sizeof(*e));
	size_t room = 0;
	int r = -ENOENT;

	if (!f)
		return -errno;
	while (e && getline(&line, &room, f) > 0) {
		if (mountinfo_parse(line, e) < 0 || strcmp(e->mountpoint, mountpoint) != 0)
			continue;
		*ret = *e;
		r = 0; /* the later one lies on top */
	}
	(void)fclose(f);
	return e ? r : -ENOMEM;
}
