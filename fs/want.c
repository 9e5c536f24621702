/* SPDX-License-Identifier: Apache-2.0 */
/* What a request is missing: compared, and said. */
#include <stdio.h>
#include <string.h>

#include "fs/flight.h"

bool want_equal(const struct want *a, const struct want *b)
{
	return a->kind == b->kind && a->size == b->size && a->layer == b->layer &&
	       strcmp(a->repo, b->repo) == 0 && strcmp(a->tag, b->tag) == 0 &&
	       digest_equal(&a->digest, &b->digest) && digest_equal(&a->member, &b->member);
}

void want_describe(const struct want *w, const char *title, const char *repo, char *out,
		   size_t room)
{
	char digest[DIGEST_STRING_MAX] = "";
	if (digest_is_set(&w->digest))
		digest_string(&w->digest, digest);
	switch (w->kind) {
	case WANT_TAG:
	case WANT_DIGEST:
		snprintf(out, room, "%s: %s:%s", title, w->repo, w->tag);
		break;
	case WANT_MANIFEST:
	case WANT_NAMED:
		snprintf(out, room, "%s: %s@%s", title, w->repo, digest);
		break;
	case WANT_BLOB:
	case WANT_CHUNK:
		snprintf(out, room, "%s: %s@%s", title, repo, digest);
		break;
	case WANT_REPO:
		snprintf(out, room, "%s: %s", title, w->repo);
		break;
	case WANT_TAGS:
		snprintf(out, room, "%s: the tags of %s", title, w->repo);
		break;
	case WANT_REFERRERS:
		snprintf(out, room, "%s: the referrers of %s@%s", title, w->repo, digest);
		break;
	case WANT_INDEX:
		snprintf(out, room, "%s: index.json of %s", title, w->repo);
		break;
	case WANT_CATALOG:
		snprintf(out, room, "%s: its repositories", title);
		break;
	case WANT_PACKAGES:
		snprintf(out, room, "%s: where its packages are", title);
		break;
	case WANT_ROOTFS:
		snprintf(out, room, "%s: the layers of %s@%s", title, w->repo, digest);
		break;
	case WANT_LAYER:
	case WANT_MEMBER:
		snprintf(out, room, "%s: layer %llu of %s@%s", title, (unsigned long long)w->layer,
			 w->repo, digest);
		break;
	}
}
