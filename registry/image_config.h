/* SPDX-License-Identifier: Apache-2.0 */
/* image_config — what an image's config says of how it is unpacked and what runs in
 * it (OCI image spec, config.md; Docker's is the same in this), and what the Warg
 * proposal's says of files. Layer: registry/; a leaf without I/O.
 *
 * Parsed once, then read only. All fields are as declared and may be anything: a
 * path is no safer here than in the document. Bounded by IMAGE_CONFIG_MAX of text
 * and the limits below; what is beyond them is left out.
 */
#pragma once

#include <stddef.h>

#include "base/digest.h"
#include "base/err.h"

#define IMAGE_CONFIG_MAX       (1u << 20) /* bytes; a larger one says nothing */
#define IMAGE_CONFIG_ARGS_MAX  256u
#define IMAGE_CONFIG_DIFFS_MAX 20000u
#define IMAGE_CONFIG_FILES_MAX 20000u

struct image_config_file {
	char *guest; /* path */
	struct digest digest;
};

struct image_config {
	char *os, *architecture; /* NULL if none */
	char *working_dir;       /* NULL if none */
	char *path;              /* of its environment: PATH; NULL if none */
	char **args;             /* entry point, then its arguments */
	size_t arg_count;
	/* The digests of the unpacked layers, in their order; one that cannot be verified
	 * is not set. */
	struct digest *diff_ids;
	size_t diff_id_count;
	struct image_config_file *files; /* of Warg's bundles, sorted: where layers belong */
	size_t file_count;
};

/* Whether a config of this type says something that names depend on. */
bool image_config_matters(const char *media_type);
/* *ret is new. -EPROTO: it is no JSON object; -ENOMEM. What is of another type than it
 * should be is as if it were not there. */
NODISCARD int image_config_parse(const char *bytes, size_t len, struct image_config **ret,
				 struct err *err);
void image_config_free(struct image_config *c); /* NULL is fine */
/* Those of one digest stand together in `files`: their number, *ret_first the first. */
size_t image_config_files_of(const struct image_config *c, const struct digest *d,
			     size_t *ret_first);
