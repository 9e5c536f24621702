/* SPDX-License-Identifier: Apache-2.0 */
/* support — a cache directory for a test, and blobs to put there. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/call.h"
#include "cache/store.h"

struct fixture {
	char root[64];    /* temporary directory, removed at the end */
	char dir[80];     /* <root>/cache */
	struct call call; /* without a deadline */
	struct store *store;
	struct err err;
};

/* setup without, and with an open store; teardown closes it. */
int make_root(void **state);
int make_store(void **state);
int remove_root(void **state);

struct store *open_store(struct fixture *f, uint64_t limit, uint64_t memory_budget);
void close_store(struct fixture *f);

/* len bytes that differ by seed; freed by the caller. */
char *make_bytes(size_t len, unsigned seed, struct digest *ret);
/* Fetches what make_bytes gives into the store. The reference is dropped. */
void fetch(struct fixture *f, size_t len, unsigned seed, struct digest *ret);
/* Its partial, which must be to be had. */
struct partial *begin(struct fixture *f, const struct digest *d, uint64_t size);
/* The blob's bytes are those of make_bytes. */
void assert_bytes(const struct blob *b, size_t len, unsigned seed);
/* Path of a file below the cache directory. */
const char *path_in(const struct fixture *f, const char *name);
const char *blob_file(const struct fixture *f, const struct digest *d);
const char *partial_file(const struct fixture *f, const struct digest *d, uint64_t size);
/* Files in that directory below the cache directory. */
int count_files(const struct fixture *f, const char *name);
/* Returns once everything was done that the store has begun in the background. */
void settle(struct fixture *f);
/* Ends what the store does in the background, and opens it anew. */
void reopen_store(struct fixture *f);
uint64_t used_bytes(struct fixture *f);
/* The sum of what is on disk in blobs/ and partial/. */
uint64_t disk_use(const struct fixture *f);
