/* SPDX-License-Identifier: Apache-2.0 */
/* package_metadata — where a registry of Wasm packages keeps them: what it says itself, at
 * https://REGISTRY/.well-known/wasm-pkg/registry.json (wasm-pkg-tools, registry-metadata.md),
 * or what a configuration says in its place (registry/package_config.h). Layer: registry/; a
 * leaf without I/O.
 *
 *	{"preferredProtocol": "oci", "oci": {"registry": "ghcr.io", "namespacePrefix":
 *"webassembly/"}}
 *	{"ociRegistry": "ghcr.io", "ociNamespacePrefix": "webassembly/"}      the form before
 *
 * The package "wasi:http" is then the repository webassembly/wasi/http of ghcr.io: prefix,
 * namespace, '/' and name, as they are. A registry that says nothing keeps them itself, by
 * OCI and without a prefix.
 *
 * Threads: any; plain values.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/names.h"
#include "registry/host_name.h"
#include "registry/source.h"

#define PACKAGE_METADATA_PATH "/.well-known/wasm-pkg/registry.json"
#define PACKAGE_METADATA_MAX  (64u << 10) /* bytes */
#define PACKAGE_PROTOCOL_MAX  32          /* with the NUL */
#define PACKAGE_OCI           "oci"

/* Each "" where nothing is said. */
struct package_metadata {
	char protocol[PACKAGE_PROTOCOL_MAX]; /* to ask by; "" means OCI */
	char registry[HOST_NAME_SIZE];       /* HOST[:PORT], as host_name_write has it */
	char prefix[REPOSITORY_MAX];
};

/* The fields of either form, wherever they were read. Strings are borrowed, NULL where
 * there is none. */
struct package_metadata_fields {
	const char *preferred;
	const char *registry, *prefix;         /* in the object of "oci" */
	const char *old_registry, *old_prefix; /* the form before; these win */
	const char *protocol;                  /* the key of an object */
	size_t protocols;                      /* how many of these there are */
};
/* -EINVAL: a field cannot be meant, which the text says. */
NODISCARD int package_metadata_make(const struct package_metadata_fields *f,
				    struct package_metadata *ret, struct err *err);

/* Keys that are not known, and what is of a type that no protocol has, are passed over:
 * wargUrl is still out there. -EPROTO, -EFBIG, -ENOMEM. */
NODISCARD int package_metadata_parse(const char *bytes, size_t len, struct package_metadata *ret,
				     struct err *err);

/* As words that can be kept, each without spaces and control characters; none where nothing is
 * said. Sorted. -ENOMEM. Back: -EPROTO. */
NODISCARD int package_metadata_words(const struct package_metadata *m, struct names *ret);
NODISCARD int package_metadata_of_words(const struct names *words, struct package_metadata *ret);

/* The repository of a package, by labels (registry/package_name.h). -EPROTO: the prefix makes
 * none of it. */
NODISCARD int package_metadata_repository(const struct package_metadata *m, const char *namespace,
					  const char *name, char ret[REPOSITORY_MAX],
					  struct err *err);
