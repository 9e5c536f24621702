/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/referrer_name.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fs/layer_class.h"

#define MARK_LEN 12 /* hexadecimal digits */

static bool is_plain(char c, size_t at)
{
	if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
		return true;
	return c == '_' || c == '-' || c == '+' || (c == '.' && at > 0);
}

/* Whether no other such type has the same name: at most one '/', no '_' up to it, and
 * nothing that must be replaced. */
static bool is_its_own_name(const char *type)
{
	const char *slash = strchr(type, '/');
	size_t head = slash ? (size_t)(slash - type) : strlen(type);
	if (strlen(type) >= REFERRER_TYPE_MAX || memchr(type, '_', head))
		return false;
	for (size_t i = 0; type[i]; i++) {
		if (i != head && !is_plain(type[i], i))
			return false;
	}
	return true;
}

int referrer_type_name(const char *media_type, char ret[REFERRER_TYPE_MAX])
{
	const char *type = media_type && *media_type ? media_type : "unknown";
	bool own = is_its_own_name(type);
	size_t n = 0, most = own ? REFERRER_TYPE_MAX : REFERRER_TYPE_MAX - strlen("~") - MARK_LEN;
	for (const char *s = type; *s && n + 1 < most; s++) {
		ret[n] = is_plain(*s, n) ? *s : '_';
		n++;
	}
	ret[n] = '\0';
	if (own)
		return 0;
	struct digest d;
	char hex[DIGEST_HEX_MAX];
	int r = digest_of(DIGEST_SHA256, type, strlen(type), &d);
	if (r)
		return r;
	digest_hex(&d, hex);
	snprintf(ret + n, REFERRER_TYPE_MAX - n, "~%.*s", MARK_LEN, hex);
	return 0;
}

size_t referrer_name(const char *type, const struct digest *d, char ret[REFERRER_NAME_MAX])
{
	char hex[DIGEST_HEX_MAX];
	digest_hex(d, hex);
	return (size_t)snprintf(ret, REFERRER_NAME_MAX, "%s/%s-%s", type, digest_alg_name(d), hex);
}

int referrer_digest(const char *name, struct digest *ret)
{
	const char *dash = strchr(name, '-');
	if (!dash)
		return -EINVAL;
	return digest_parse_parts(name, (size_t)(dash - name), dash + 1, strlen(dash + 1), ret)
		   ? -EINVAL
		   : 0;
}

bool referrer_config_says_nothing(const char *media_type)
{
	return media_type[0] == '\0' || media_type_is_image_config(media_type) ||
	       strcmp(media_type, "application/vnd.oci.empty.v1+json") == 0 ||
	       strcmp(media_type, "application/vnd.unknown.config.v1+json") == 0;
}

void referrers_key(const char *repo, const struct digest *d, char ret[REFERRERS_KEY_MAX])
{
	char digest[DIGEST_STRING_MAX];
	digest_string(d, digest);
	snprintf(ret, REFERRERS_KEY_MAX, "%s@%s", repo, digest);
}
