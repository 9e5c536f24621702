/* SPDX-License-Identifier: Apache-2.0 */
/* package_config — which registry a Wasm package is asked of: wkg's configuration file
 * (wasm-pkg-tools, configuration.md), and what wkg has built in. Layer: registry/; no I/O.
 *
 *	default_registry = "acme.registry.com"
 *	[namespace_registries]
 *	wasi = "wasi.dev"
 *	corp = { registry = "corp", metadata = { oci = { registry = "harbor.corp:8443" } } }
 *	[package_registry_overrides]
 *	"wasi:http" = "mirror.corp"
 *	[registry."dev".local]
 *
 * The first of these counts: the override of the package, the registry of its namespace, the
 * default registry; and where the file names none of them, wasi.dev for "wasi" and
 * bytecodealliance.org for "ba". Metadata that stands in the file is not asked for. As with wkg
 * that of the namespace counts too where an override names another registry, and none.
 *
 * Not looked at: the logins below [registry.…] (`auth`), and how it is spoken to (`protocol`,
 * certificates): what holds for registries everywhere else holds here (registry/credentials.h,
 * registry/endpoint_files.h). Keys that are not known are passed over.
 *
 * Read only once it was made; threads: any.
 */
#pragma once

#include <stddef.h>

#include "registry/package_metadata.h"

#define PACKAGE_CONFIG_MAX (256u << 10) /* bytes */

struct package_config;

/* *ret is new; "" is a file too. -EINVAL, -EFBIG: "line N: …". -ENOMEM. */
NODISCARD int package_config_parse(const char *text, size_t len, struct package_config **ret,
				   struct err *err);
void package_config_free(struct package_config *c); /* NULL is fine */

/* Borrowed from the configuration. */
struct package_registry {
	const char *registry;                    /* HOST[:PORT], as host_name_write has it */
	const struct package_metadata *metadata; /* NULL: the registry is to be asked for it */
	const char *protocol; /* that is configured, whatever the metadata says; or NULL */
};
/* By labels (registry/package_name.h). -ENOENT: nothing says which. */
NODISCARD int package_config_find(const struct package_config *c, const char *namespace,
				  const char *name, struct package_registry *ret);

/* Adds the namespaces that the file names; and the packages of one that it does. -ENOMEM. */
NODISCARD int package_config_namespaces(const struct package_config *c, struct names *ret);
NODISCARD int package_config_packages(const struct package_config *c, const char *namespace,
				      struct names *ret);
