/* SPDX-License-Identifier: Apache-2.0 */
/* referrers — the manifests that refer to another one: signatures, SBOMs,
 * attestations (OCI distribution spec, "Listing Referrers"). Layer: registry/;
 * no I/O.
 *
 * A list is filled from any number of documents, sorted once, and read only
 * from then on. Bounded: REFERRERS_MAX entries before duplicates go,
 * REFERRERS_BYTES_MAX of documents, and manifest_parse's bounds of each.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "registry/manifest.h"
#include "registry/reference.h"

#define REFERRERS_MAX       20000u
#define REFERRERS_BYTES_MAX (16u << 20)

struct referrer {
	struct descriptor desc; /* always of a digest that can be verified */
	char *artifact_type;    /* as declared; NULL if none was */
	/* It is the manifest's own (the API's word for it, or read in it). Otherwise
	 * whoever pushed it wrote it into an index, and may have been wrong: cosign
	 * is. */
	bool type_is_own;
	const char *cosign; /* "sig", "att", "sbom": found by that tag of cosign's; or NULL */
	struct annotation *annotations;
	size_t annotation_count;
};

struct referrers {
	struct referrer *v; /* sorted by digest; each digest once */
	size_t n;
	/* referrers.c's own */
	size_t room, bytes;
};

/* Copies what the index lists: it is a page of the API, or not. Entries that cannot be
 * verified are left out. -EFBIG, -ENOMEM; the list then still needs its release. */
NODISCARD int referrers_add_index(struct referrers *l, const struct manifest *index, bool from_api,
				  struct err *err);
/* The manifest itself, with its own type and annotations, as the API tells it. */
NODISCARD int referrers_add_manifest(struct referrers *l, const struct manifest *m,
				     struct err *err);
/* What a tag of cosign's names. `kind` is static. */
NODISCARD int referrers_add_cosign(struct referrers *l, const struct descriptor *desc,
				   const char *kind, struct err *err);
/* Where two say something of one digest, its own type goes first, then any. */
void referrers_sort(struct referrers *l);
void referrers_release(struct referrers *l); /* empties it */

/* The tag under which an index of them is where there is no API ("Referrers Tag
 * Schema"): "sha256-<hex>", cut to 64 of the hexadecimal. */
void referrers_tag(const struct digest *d, char ret[TAG_MAX + 1]);
/* Number i of cosign's own tags, "sha256-<hex>.sig" and so on, which hold one
 * manifest each, and its kind. False: there are no more. A digest that is too long for a
 * tag has none. */
bool referrers_cosign_tag(const struct digest *d, size_t i, char ret[TAG_MAX + 1],
			  const char **ret_kind);
