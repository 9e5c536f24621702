/* SPDX-License-Identifier: Apache-2.0 */
/* dirlist — a directory's entries as they were when it was opened. Layer: fs/.
 *
 * Each has a cookie, the offset behind it for READDIR. It is a hash of the name, and the
 * entries stand in its order: so a walk goes on where it was in a list that was made
 * anew, by another process and with other names beside, and what is in both is seen
 * exactly once. Names only: no listing asks the origin about an entry. Built by one
 * thread, then read only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/macros.h"

struct dirlist;
struct node;
struct op;

#define DIRLIST_MAX         4000000u /* entries */
#define DIRLIST_INO_UNKNOWN UINT64_MAX

NODISCARD int dirlist_new(struct dirlist **ret); /* one reference */
struct dirlist *dirlist_ref(struct dirlist *l);
void dirlist_unref(struct dirlist *l);         /* NULL is fine */
size_t dirlist_bytes(const struct dirlist *l); /* of memory */
/* type: S_IFDIR, S_IFREG, S_IFLNK. -ENOMEM. Names need not be unique: dirlist_done sees to it. */
NODISCARD int dirlist_add(struct dirlist *l, const char *name, size_t len, uint64_t ino,
			  mode_t type);
/* Sorts, drops duplicates, and puts "." and ".." first. */
NODISCARD int dirlist_done(struct dirlist *l, uint64_t ino, uint64_t parent_ino);

struct dirlist_entry {
	const char *name; /* borrowed from the list */
	uint64_t ino;
	uint64_t cookie; /* below 2^63; never 0 */
	mode_t type;
};
/* Whether the same directory may have to be listed with another inode, once that is known. */
bool dirlist_has_unknown(const struct dirlist *l);
size_t dirlist_count(const struct dirlist *l);
/* The first entry whose cookie is larger; the count: there is none. */
size_t dirlist_after(const struct dirlist *l, uint64_t cookie);
struct dirlist_entry dirlist_at(const struct dirlist *l, size_t i);

/* What lies in a directory of the tree. -EINPROGRESS and the errors of tree.h. */
NODISCARD int tree_list(struct op *op, const struct node *dir, struct dirlist **ret);
