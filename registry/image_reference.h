/* SPDX-License-Identifier: Apache-2.0 */
/* image_reference — an image as people name it to a client, with its registry:
 * "ghcr.io/org/app:v1", "localhost:5000/app@sha256:…", "docker.io/alpine" (as docker writes it: the
 * tag is "latest" where there is neither tag nor digest). Layer: registry/; no I/O.
 *
 * The registry must be there: what has no dot and no port before its first '/' could be anybody's
 * (docker means docker.io, others ask). "http://" and "https://" may stand before it and mean what
 * they do before a SOURCE (registry/reference.h).
 */
#pragma once

#include "registry/host_name.h"
#include "registry/reference.h"
#include "registry/source.h"

#define IMAGE_REFERENCE_MAX 1024 /* bytes of one */
#define IMAGE_SOURCE_SIZE   (HOST_NAME_SIZE + sizeof("https://"))

struct image_reference {
	struct source_spec spec;        /* of the registry, settled */
	char source[IMAGE_SOURCE_SIZE]; /* the same as a SOURCE */
	char path[REPOSITORY_MAX];      /* as it was written; see source_repository */
	char tag[TAG_MAX + 1];          /* "" where the digest counts */
	struct digest digest;           /* not set if there is none */
};

/* -EINVAL with one line that says what is wrong and what to write; -EOPNOTSUPP: a digest that
 * cannot be verified. */
NODISCARD int image_reference_parse(const char *s, struct image_reference *ret, struct err *err);
