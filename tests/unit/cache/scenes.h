/* SPDX-License-Identifier: Apache-2.0 */
/* scenes — small plays on a cache directory, to be disturbed at each of their calls, and what
 * must be true of the directory whatever happened (scene_heals).
 *
 * A failed expectation is printed and ends the process: each play runs in one of its own.
 */
#pragma once

#include "base/names.h"
#include "cache/archives.h"
#include "cache/refs.h"
#include "tests/unit/cache/support.h"

enum { OLD, YOUNG, HALF, NEW, SMALL, BLOBS };

struct scene {
	struct fixture f;
	struct refs *refs;
	char *bytes[BLOBS];
	struct digest digest[BLOBS];
	struct names names[2]; /* listings: the old one, and the one that replaces it */
};

#define SCENE_ORIGIN "https+registry.example+443"
#define SCENE_REPO   "demo/app"

struct play {
	const char *name;
	/* Before, undisturbed. The store is open at its end. NULL: a directory with OLD, YOUNG,
	 * half of HALF, and records. */
	void (*prepare)(struct scene *s);
	void (*run)(struct scene *s);
	bool spoilt; /* what is there may be wrong, and must be found to be */
};

extern const struct play plays[];
extern const size_t plays_n;

#define EXPECT(cond) ((cond) ? (void)0 : scene_failed(#cond, __FILE__, __LINE__))
_Noreturn void scene_failed(const char *what, const char *file, int line);
/* What is printed in front of that. */
void scene_about(const char *text);

size_t scene_size(int blob);
/* An empty directory, nothing open. */
void scene_make(struct scene *s);
/* A cache directory as play->prepare leaves it. */
void scene_prepare(struct scene *s, const struct play *play);
void scene_open(struct scene *s);
void scene_close(struct scene *s);
void scene_free(struct scene *s); /* the directory goes too */
void scene_remove(const char *dir);

/* Undisturbed from here on: what is open goes on, then a fresh process does, and nothing wrong is
 * ever read. torn: a power failure may have spoilt what was in blobs/. Nothing is left open. */
void scene_heals(struct scene *s, bool torn);
