/* SPDX-License-Identifier: Apache-2.0 */
/* manifest — image manifests and indexes, OCI and Docker types, parsed (OCI
 * image spec, manifest.md and image-index.md). Layer: registry/; no I/O.
 *
 * Parsed once, then read only: shared between threads by reference count.
 * Bounded: MANIFEST_LAYERS_MAX descriptors, MANIFEST_ANNOTATIONS_MAX
 * annotations in all; text is UTF-8 (jansson refuses the rest).
 *
 * A layer whose digest is grammatical but of an unknown algorithm is listed
 * (digest_text) and cannot be served (digest not set).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/descriptor.h"
#include "base/err.h"

#define MEDIA_TYPE_MANIFEST      "application/vnd.oci.image.manifest.v1+json"
#define MEDIA_TYPE_INDEX         "application/vnd.oci.image.index.v1+json"

#define MANIFEST_LAYERS_MAX      20000
#define MANIFEST_ANNOTATIONS_MAX 20000

struct annotation {
	char *key, *value;
};

struct manifest_entry {         /* a layer, the config, or an entry of an index */
	struct descriptor desc; /* desc.digest is not set where it cannot be verified */
	char *digest_text;
	char *title; /* org.opencontainers.image.title, or org.cnai.model.filepath; NULL if none */
	char *artifact_type; /* NULL if none */
	struct annotation *annotations;
	size_t annotation_count;
	char *fault; /* manifest_parse_listing: why it is none; NULL */
	/* entries of an index */
	char *os, *architecture, *variant; /* NULL if none */
};

struct manifest {
	struct descriptor desc; /* of the document itself */
	bool is_index;
	char *artifact_type;           /* NULL if none */
	struct manifest_entry config;  /* !is_index */
	struct manifest_entry *layers; /* of an index: its manifests */
	size_t layer_count;
	bool has_subject;
	struct descriptor subject;
	struct annotation *annotations;
	size_t annotation_count;
	int64_t
	    created_ms; /* annotation org.opencontainers.image.created; 0 if none or not RFC 3339 */
	int refs;       /* atomic */
};

/* content_type: as the origin said, parameters allowed, "" if unknown.
 * -EPROTO: not a manifest; its mediaType contradicts content_type; it has both
 * `manifests` and `layers`/`config` (CVE-2021-41190). -EOPNOTSUPP: schema 1.
 * -EFBIG: beyond the limits. *ret has one reference. */
NODISCARD int manifest_parse(const char *bytes, size_t len, const struct digest *digest,
			     const char *content_type, struct manifest **ret, struct err *err);
/* The same of an index that people and tools write into: what is no descriptor is an entry
 * without a digest, with a `fault`, and with its annotations as far as it has any. */
NODISCARD int manifest_parse_listing(const char *bytes, size_t len, struct manifest **ret,
				     struct err *err);
struct manifest *manifest_ref(struct manifest *m);
void manifest_unref(struct manifest *m); /* NULL is fine */

/* NULL if there is none. */
const char *annotation_get(const struct annotation *v, size_t n, const char *key);

/* "application/vnd.oci.image.manifest.v1+json; charset=utf-8" is of that type:
 * compared without case and parameters. */
bool media_type_is(const char *content_type, const char *media_type);
/* Of a manifest or an index, OCI's or Docker's. */
bool media_type_is_manifest(const char *media_type);
