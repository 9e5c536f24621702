/* SPDX-License-Identifier: Apache-2.0 */
/* files_tree — the names below files/, built from titles that are anything.
 * Layer: fs/; a leaf without I/O, internal to fs/names.h, whose promises it
 * keeps.
 *
 * Both '/' and '\' separate components; "." and empty ones are dropped, ".."
 * takes back the one before it and stops at the top. Control characters, and
 * the marks that turn around what follows them on a terminal, become '_'.
 * Directories are made first, so that what a title needs as a directory is one;
 * two of them whose names differ in case only are one. Beyond FILES_DIRS_MAX
 * no more are made: a file then lies in the deepest that there is.
 *
 * Calling sequence: init, add_dirs for all files, add_file for all files in the
 * same order, finish; release in any case.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"
#include "fs/names.h"

#define FILES_DIRS_MAX 40000

struct files_node {
	char *name; /* owned */
	enum file_kind kind;
	size_t parent; /* index in `v` */
	size_t layer;
	size_t place; /* index in the finished array */
};

struct files_tree {
	struct files_node *v; /* v[0] is files/ */
	size_t n, room, dirs;
	void *taken; /* tsearch(3) of the names in use, with case folded */
};

/* All: -ENOMEM. */
NODISCARD int files_tree_init(struct files_tree *t);
NODISCARD int files_tree_add_dirs(struct files_tree *t, const char *title);
/* `ext` is appended to a name that has neither it nor `other_ext`; NULL: none.
 * `mark` (at most 12 bytes of the digest) tells two of a name apart. */
struct files_add {
	const char *title;
	const char *ext, *other_ext;
	char mark[13];
	size_t layer;
	bool loose; /* FILE_KIND_LOOSE */
};
NODISCARD int files_tree_add_file(struct files_tree *t, const struct files_add *a);
/* New: sorted, as fs/names.h describes it. */
NODISCARD int files_tree_finish(struct files_tree *t, struct file_entry **ret, size_t *ret_count);
void files_tree_release(struct files_tree *t);
