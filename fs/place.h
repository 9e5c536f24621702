/* SPDX-License-Identifier: Apache-2.0 */
/* place — where content was found, as its node remembers it. Layer: fs/; a leaf without
 * I/O.
 *
 *	"repo"                     a blob of that repository
 *	"repo <manifest> <layer>"  a member of an archive: which layer of which manifest
 *
 * That is enough to get its bytes again from nothing but the node, which knows beside it
 * below which host that was (node_host), where a mount has several registries. A space is in the
 * grammar of neither repositories nor digests.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/digest.h"
#include "registry/source.h"

struct place {
	char repo[REPOSITORY_MAX];
	bool member; /* of an archive; then also: */
	struct digest manifest;
	size_t layer; /* index into the manifest's layers */
};

#define PLACE_MAX (REPOSITORY_MAX + DIGEST_STRING_MAX + 24)

void place_format(const struct place *p, char ret[PLACE_MAX]);
/* -EPROTO: no such text. */
NODISCARD int place_parse(const char *text, struct place *ret);
