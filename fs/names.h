/* SPDX-License-Identifier: Apache-2.0 */
/* names — what the entries of a manifest directory are called. Layer: fs/; a
 * leaf without I/O.
 *
 * Names are a pure function of the parsed manifest and config (and lock), so that they are the
 * same on every mount and need no download. They are safe: no '/', NUL or control
 * character, never "", "." or "..", at most 255 bytes cut on a UTF-8 boundary
 * with the extension kept, unique in their directory also when case is folded
 * (the later one gets "~<first 12 hex of its digest>" before the extension,
 * then "~<index>").
 *
 *	layers/<i>.<ext>   every layer; <ext> from its declared kind
 *	files/…            artifact layers under their titles, or what their packaging
 *	                   calls them where they have none, or else "layer<i>.<ext>" (<i>
 *	                   as wide as the last layer's); titles may hold
 *	                   sub-directories ("assets/a.png"): each component is sanitised
 *	                   by itself, at most NAMES_DEPTH_MAX deep; a file where a
 *	                   directory must be is renamed like a duplicate
 *	                   Archives that are to be unpacked are not among them: the tar
 *	                   layers of a container image, ORAS's directories, wasmCloud's
 *	                   providers. They make one tree (fs/rootfs.h), which is known
 *	                   once they are here
 *	                   A Spin application's layers are called what its lock says
 *	main.wasm          what there is to run, if manifest and config say so
 *	config             "config.json", or "config" if its type is not JSON's
 *
 * Built once per manifest, read only afterwards.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "registry/image_config.h"
#include "registry/manifest.h"
#include "registry/spin_lock.h"

#define NAMES_DEPTH_MAX 64

enum file_kind {
	FILE_KIND_DIR,
	FILE_KIND_LAYER,
	FILE_KIND_LOOSE, /* no layer, and named by a Spin lock all the same: inside the lock
			  * itself, or a member of a bundle */
};

/* A node of files/: children of a directory are v[first] … v[first+count-1],
 * sorted by name. v[0] is files/ itself. */
struct file_entry {
	char *name;
	enum file_kind kind;
	size_t parent;
	size_t first, count; /* directory */
	size_t layer;        /* FILE_KIND_LAYER: index into manifest->layers; _LOOSE: into loose */
};

struct loose_file {
	struct digest digest;
	bool inlined;
	size_t size; /* of one that is inlined */
};

enum main_wasm {
	MAIN_WASM_NONE,   /* certain: there is nothing to run */
	MAIN_WASM_LAYER,  /* declared: main_layer; listed */
	MAIN_WASM_MAYBE,  /* not declared, but main_layer may be one: resolved by looking at its
			   * bytes when the name is looked up; not listed */
	MAIN_WASM_ROOTFS, /* the first of main_paths that is a file in the merged root; where there
			   * are none the only Wasm in it, if there is one: not listed */
	MAIN_WASM_PLUGIN, /* the first "plugin.wasm" in the archive main_layer */
};

struct manifest_names {
	const char *config_name; /* NULL: no config (an index) */
	char **layer_names;      /* layer_count of the manifest */
	struct file_entry *files;
	size_t file_count; /* at least 1; an index has 1 */
	struct loose_file *loose;
	size_t *bundles; /* layers that are archives of loose files */
	size_t bundle_count;
	long lock_layer;     /* which layer is a Spin lock; -1: none */
	size_t *root_layers; /* which layers are stacked below files/, the lowest first */
	size_t root_count;
	bool root_is_image; /* they are a container image's */
	enum main_wasm main_kind;
	size_t main_layer;
	bool main_listed;
	char **main_paths; /* MAIN_WASM_ROOTFS: where the entry point may be, up to a NULL: as
			    * the config has it, or a bare name in PATH and then in the working
			    * directory, as container runtimes look for it; NULL: there is none */
};

/* new; -ENOMEM. config, lock: NULL where there is none, or it says nothing. Freeing NULL is
 * fine. */
NODISCARD int manifest_names_new(const struct manifest *m, const struct image_config *config,
				 const struct spin_lock *lock, struct manifest_names **ret);
void manifest_names_free(struct manifest_names *n);

/* Index into layer_names / files (below the directory `dir`), or -ENOENT. */
long manifest_names_find_layer(const struct manifest *m, const struct manifest_names *n,
			       const char *name);
long manifest_names_find_file(const struct manifest_names *n, size_t dir, const char *name);

/* What the first bytes (WASM_SNIFF_LEN suffice) say: "component", "module",
 * "spliced", "wat" (text), "aot" (ELF), "gzip", "zstd", "tar", "json", or NULL. Only the
 * first, second and fourth may be called main.wasm. */
#define WASM_SNIFF_LEN 512
const char *content_kind(const void *bytes, size_t len);
bool content_is_wasm(const char *kind);
/* The kind of a file that the name, e.g. of an entry, shows: mode 0555 for
 * names that end in ".wasm", else 0444. */
bool name_is_wasm(const char *name);
