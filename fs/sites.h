/* SPDX-License-Identifier: Apache-2.0 */
/* sites — the registries of one mount. Layer: fs/, internal.
 *
 * With one SOURCE there is one, and its tree is the mount's. With several, or
 * --all, each has a directory at the first level, named after its host
 * (registry/host_name.h) or, of a layout, after its repository.
 *
 * With --all a registry is made when somebody enters the directory of its host,
 * not when the name is looked up: programs probe for names with a dot (go.mod), and
 * such a name costs nothing. Making one reads its configuration, and asks nobody.
 *
 * A registry may also be asked where its packages are (fs/packages.h), which is no reason to
 * show it: such a site has no directory, and a state of its own, since a web server that is out
 * of order says nothing of the registry behind it.
 *
 * What was made stays to the end: so a site that was found needs no lock and no
 * reference, and its number means it for good. SITES_MAX bounds what a user who makes
 * up names can take; those that are in use are served on.
 *
 * Calling sequence: sites_open → sites_equip → sites_start → sites_stop →
 * sites_close. Threads: any; the lock is a leaf.
 */
#pragma once

#include "base/lock.h"
#include "fs/site.h"

#define SITES_MAX 64

struct sites {
	bool several; /* the first level is hosts */
	bool all;
	const struct fs_options *o; /* borrowed */
	struct store *store;
	struct refs *refs;
	struct streams *streams; /* or NULL */

	struct lock lock;
	struct site *v[SITES_MAX]; /* guarded by lock: from 0 on, without a gap */
	unsigned n;                /* guarded by lock */
	bool serving;              /* guarded by lock */
};

/* Those of the command line. -EINVAL: two of one name; errors of source_open. */
NODISCARD int sites_open(struct sites *s, const struct fs_options *o, struct err *err);
NODISCARD int sites_equip(struct sites *s, struct store *store, struct refs *refs,
			  struct streams *streams, struct err *err);
NODISCARD int sites_start(struct sites *s, struct err *err);
void sites_stop(struct sites *s);  /* none is made any more */
void sites_close(struct sites *s); /* what was zeroed is fine */

/* By number, from 0 on; NULL: beyond the last. */
struct site *sites_at(struct sites *s, unsigned number);
/* By any spelling of its directory's name; NULL: there is none yet. Those are not among them
 * that are asked for packages only. */
struct site *sites_find(struct sites *s, const char *name);
/* Whether there may be such a directory. Reads nothing. */
bool sites_admit(struct sites *s, const char *name);
/* Makes it if it must be. -ENOENT: not admitted; -EUSERS: SITES_MAX (the kernel is told ENFILE);
 * -ECANCELED: the mount ends; -EACCES: its configuration cannot be understood; other errors of
 * source_open. */
NODISCARD int sites_get(struct sites *s, const char *name, struct site **ret, struct err *err);
/* What sites_get would say, and makes none: reads its configuration, if there is none yet. */
NODISCARD int sites_try(struct sites *s, const char *name, struct err *err);
/* The one that is asked where the packages of HOST[:PORT] are, and for nothing else. Errors of
 * sites_get but for the first. */
NODISCARD int sites_packages(struct sites *s, const char *registry, struct site **ret,
			     struct err *err);
/* The one that serves this registry, whatever its directory is called; with --all it is made if it
 * must be. -ENOENT: none does, nor may; else errors of sites_get. */
NODISCARD int sites_serving(struct sites *s, const struct source_spec *registry, struct site **ret,
			    struct err *err);
