/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/ref_name.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/digest.h"

#define HASHED "%%"
/* A name without a character: no escape stands alone. */
#define EMPTY "%"

static const char hex_digits[] = "0123456789ABCDEF";

static bool is_plain(unsigned char c, size_t at)
{
	if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
		return true;
	return c == '_' || c == '-' || (c == '.' && at > 0);
}

int ref_name_escape(const char *s, size_t len, char *out, size_t room)
{
	size_t n = 0;
	if (len == 0 && room >= sizeof(EMPTY)) {
		memcpy(out, EMPTY, sizeof(EMPTY));
		return sizeof(EMPTY) - 1;
	}
	if (room == 0 || len == 0)
		return -ENAMETOOLONG;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];
		if (n + 4 > room)
			return -ENAMETOOLONG;
		if (is_plain(c, i)) {
			out[n++] = (char)c;
			continue;
		}
		out[n++] = '%';
		out[n++] = hex_digits[c >> 4];
		out[n++] = hex_digits[c & 15];
	}
	out[n] = '\0';
	return (int)n;
}

static int hex_value(char c)
{
	const char *p = c != '\0' ? strchr(hex_digits, c) : NULL;
	return p != NULL ? (int)(p - hex_digits) : -1;
}

int ref_name_unescape(const char *s, size_t len, char *out, size_t room)
{
	size_t n = 0;
	if (room == 0)
		return -ENAMETOOLONG;
	out[0] = '\0';
	if (len == 1 && s[0] == EMPTY[0])
		return 0;
	for (size_t i = 0; i < len; n++) {
		if (n + 1 >= room)
			return -ENAMETOOLONG;
		unsigned char c = (unsigned char)s[i];
		if (c != '%') {
			if (!is_plain(c, n))
				return -EINVAL;
			out[n] = (char)c;
			i++;
			continue;
		}
		int high = len - i >= 3 ? hex_value(s[i + 1]) : -1;
		int low = len - i >= 3 ? hex_value(s[i + 2]) : -1;
		if (high < 0 || low < 0)
			return -EINVAL;
		c = (unsigned char)(high << 4 | low);
		/* One spelling only; and a NUL would end the name too early. */
		if (c == 0 || is_plain(c, n))
			return -EINVAL;
		out[n] = (char)c;
		i += 3;
	}
	out[n] = '\0';
	return n > 0 ? (int)n : -EINVAL;
}

int ref_name_encode(const char *name, char out[REF_NAME_MAX])
{
	size_t len = strlen(name);
	if (ref_name_escape(name, len, out, REF_NAME_MAX) >= 0)
		return 0;
	struct digest d;
	int rc = digest_of(DIGEST_SHA256, name, len, &d);
	if (rc < 0)
		return rc;
	char hex[DIGEST_HEX_MAX];
	digest_hex(&d, hex);
	snprintf(out, REF_NAME_MAX, "%s%s", HASHED, hex);
	return 0;
}

bool ref_name_is_hashed(const char *component)
{
	return strncmp(component, HASHED, sizeof(HASHED) - 1) == 0;
}
