/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/place.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void place_format(const struct place *p, char ret[PLACE_MAX])
{
	char digest[DIGEST_STRING_MAX];
	if (!p->member) {
		snprintf(ret, PLACE_MAX, "%s", p->repo);
		return;
	}
	digest_string(&p->manifest, digest);
	snprintf(ret, PLACE_MAX, "%s %s %zu", p->repo, digest, p->layer);
}

int place_parse(const char *text, struct place *ret)
{
	size_t len = strcspn(text, " ");
	*ret = (struct place){0};
	if (len >= sizeof(ret->repo))
		return -EPROTO;
	memcpy(ret->repo, text, len);
	if (text[len] == '\0')
		return 0;
	const char *digest = text + len + 1;
	size_t digest_len = strcspn(digest, " ");
	if (digest_parse(digest, digest_len, &ret->manifest) || digest[digest_len] == '\0')
		return -EPROTO;
	const char *number = digest + digest_len + 1;
	size_t digits = strspn(number, "0123456789");
	if (digits == 0 || digits > 9 || number[digits] != '\0')
		return -EPROTO;
	ret->layer = strtoul(number, NULL, 10);
	ret->member = true;
	return 0;
}
