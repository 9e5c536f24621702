/* SPDX-License-Identifier: Apache-2.0 */
/* packages — where Wasm packages lie: from "wasi:http" to a repository of a registry that this
 * mount serves, as wkg resolves it. Layer: fs/.
 *
 *	configuration   says which registry the package is asked of (registry/package_config.h).
 *	                Read once, when the mount is made
 *	metadata        of that registry: what the configuration says, or what the registry says
 *	                itself (registry/package_metadata.h), which is known for --list-ttl and
 *	                kept like a listing: what it was is used where the registry does not
 *	                answer, in later mounts too, and with --offline
 *	admission       the OCI registry which that names is data of the network: it must be one
 *	                that this mount serves, or, with --all, that a user may enter by its name
 *
 * So whoever makes up names makes the daemon ask nobody but whom the configuration, or what is
 * built in, names. A failure of the registry is the caller's failure, and never a guess: wkg
 * would go on as if there were no metadata.
 *
 * Logins in wkg's configuration are not used: those of the mount are.
 *
 * Threads: any; packages_open and packages_close as fs_new and fs_free. The lock is a leaf.
 */
#pragma once

#include "base/lock.h"
#include "base/names.h"
#include "registry/host_name.h"
#include "registry/package_config.h"

#define PACKAGES_FOUND_MAX 4096 /* that are listed although no configuration names them */

struct op;
struct site;

struct packages {
	struct package_config *config; /* NULL: it cannot be understood, and `broken` says why */
	struct err broken;
	struct lock lock;
	struct names found; /* guarded by lock: "namespace:name"; sorted */
};

/* `file` NULL: the user's own, if there is one; should that be of no use, the mount is of use
 * all the same, and each package tells why it is not. -EACCES: a file that was named. */
NODISCARD int packages_open(struct packages *p, const char *file, struct err *err);
void packages_close(struct packages *p); /* what was zeroed and packages_open gave is fine */

struct package_place {
	struct site *site;
	char repo[REPOSITORY_MAX]; /* as its registry calls it */
	/* Of the repository's directory, from the mount's root; each component may be spelt
	 * with a colon more. */
	char path[HOST_NAME_SIZE + 2 * REPOSITORY_MAX];
};
/* For a handler, whose op is about that site from then on: -EINPROGRESS. -EACCES: nothing says
 * where it is, or somewhere that this mount does not serve. -EOPNOTSUPP: it is kept by other means
 * than OCI. -EPROTO: the metadata makes no sense. Else what the registry failed with. Labels as of
 * registry/package_name.h. */
NODISCARD int packages_locate(struct op *op, const char *namespace, const char *name,
			      struct package_place *ret);
/* Something of it was found. */
void packages_note(struct packages *p, const char *namespace, const char *name);
/* Adds those that the configuration names, and those found so far: namespaces, or the names in
 * one. Not sorted. -ENOMEM. */
NODISCARD int packages_list(struct packages *p, const char *namespace, struct names *ret);
