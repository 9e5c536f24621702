/* SPDX-License-Identifier: Apache-2.0 */
/* scenes_impl — what the plays do with a cache, in single steps. All of them judge the bytes that
 * they get; what is said is for the play to judge. */
#pragma once

#include <errno.h>

#include "tests/unit/cache/scenes.h"

#define CAP    (600u << 10) /* OLD and YOUNG, and half of HALF; not NEW as well */
#define MEMORY (4u << 20)

extern const size_t sizes[BLOBS];

/* A call of the store said rc: it is one of these, or no failure; with a text. */
#define MAY_SAY(s, rc, ...) may_say((s), (rc), (const int[]){__VA_ARGS__, 0}, __FILE__, __LINE__)
void may_say(struct scene *s, int rc, const int *allowed, const char *file, int line);
#define LOCAL -EIO, -ENOMEM
#define ROOM  -ENOSPC, LOCAL

void expect_bytes(const struct scene *s, const struct blob *b, int blob);
void descriptor_of(const struct scene *s, int blob, struct descriptor *ret);
int save_tag(struct scene *s, int blob);
int load_tag(struct scene *s);
int save_listing(struct scene *s, int which);
int load_listing(struct scene *s);
int save_named(struct scene *s, int first, int n);
int ask_named(struct scene *s, int blob);
/* How many there are; all must be right. */
int list_named(struct scene *s);
int save_archive(struct scene *s, int tar);
int load_archive(struct scene *s);
int list_repos(struct scene *s);
/* -EAGAIN of store_get, then the verification. */
int look_up(struct scene *s, int blob, struct blob **ret);
/* In pieces. */
int fetch_blob(struct scene *s, int blob, struct blob **ret);
/* OLD, YOUNG, half of HALF, and records. */
void prepare_usual(struct scene *s);
