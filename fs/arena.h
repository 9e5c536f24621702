/* SPDX-License-Identifier: Apache-2.0 */
/* arena — small blocks in a shared memory file, named by number. Layer: fs/;
 * includes only base/. What fs/nodes.c keeps its records, names and index in.
 *
 * The file (memfd) has one fixed size, most of it never touched:
 *
 *	head     one page: what describes the rest, and ARENA_USER_LEN bytes of
 *	         the user's own
 *	meta     for each page of blocks, which of its blocks are in use
 *	table    an array of 32 bit words for the user (arena_table)
 *	pages    ARENA_PAGES pages, each cut into blocks of one class
 *
 * Memory is taken page by page, with fallocate, so that having none is an
 * error here and not a SIGBUS at the first touch; a page whose last block is
 * freed goes back (but for one of each class, so that a lone block that comes
 * and goes costs no system call).
 *
 * A block is named by its offset in granules of ARENA_GRANULE bytes; 0 is
 * "none": the first block that is ever got is named so, and cannot be used.
 * Nothing that stands in the file is trusted: arena_at gives
 * NULL for a name that is no block in use of that class, and a broken list of
 * free pages is forgotten, not followed.
 *
 * Crashes: whether a block is in use is one store (a bit of its page's mask);
 * counts and lists are made again from the masks and classes (arena_repair).
 *
 * Threads: none of its own; the user's lock is held around every call.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define ARENA_GRANULE  32u
#define ARENA_PAGE     4096u
#define ARENA_PAGES    (1u << 18) /* 1 GiB of blocks */
#define ARENA_WORDS    (1u << 22) /* of the table */
#define ARENA_USER_LEN 2048u

enum arena_class {
	ARENA_NONE = 0,
	ARENA_TEXT_32, /* 32, 64, … 4096 bytes */
	ARENA_TEXT_64,
	ARENA_TEXT_128,
	ARENA_TEXT_256,
	ARENA_TEXT_512,
	ARENA_TEXT_1K,
	ARENA_TEXT_2K,
	ARENA_TEXT_4K,
	ARENA_RECORD, /* ARENA_RECORD_LEN bytes, as the next */
	ARENA_HANDLE,
	ARENA_CLASSES
};
#define ARENA_RECORD_LEN 128u

struct arena;

NODISCARD int arena_new(struct arena **ret, struct err *err);
/* The arena in an existing file, which stays the caller's. -EPROTO: it is none. */
NODISCARD int arena_attach(int memfd, struct arena **ret, struct err *err);
void arena_free(struct arena *a); /* NULL is fine */
/* After arena_attach, where the process before may have ended at any instruction. */
void arena_repair(struct arena *a);
int arena_fd(const struct arena *a);
uint64_t arena_bytes(const struct arena *a); /* of memory taken */
void *arena_user(const struct arena *a);     /* ARENA_USER_LEN bytes, zero at first */

/* A block, its bytes undefined. -ENFILE: all pages are taken; -ENOMEM. */
NODISCARD int arena_get(struct arena *a, enum arena_class class, uint32_t *ret);
/* Frees a block of that class; anything else is ignored. */
void arena_put(struct arena *a, enum arena_class class, uint32_t block);
/* NULL: no block in use of this class. */
void *arena_at(const struct arena *a, enum arena_class class, uint32_t block);
/* The next block of the class that is in use, behind `block`, in the order of their
 * numbers; from 0 on. 0: there is none. */
uint32_t arena_next(const struct arena *a, enum arena_class class, uint32_t block);
/* The smallest class for a text; ARENA_NONE for 0 and for more than 4096 bytes. */
enum arena_class arena_text_class(size_t len);

/* The first `n` words of the table can be used, zero at first. -ENOMEM. */
NODISCARD int arena_table_grow(struct arena *a, uint32_t n);
/* Gives the memory of whole pages behind the first `n` words back. */
void arena_table_shrink(struct arena *a, uint32_t n);
uint32_t *arena_table(const struct arena *a);
