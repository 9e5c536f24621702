/* SPDX-License-Identifier: Apache-2.0 */
/* spawn — starting and ending a worker process. Layer: fs/cli; for the keeper, which has
 * one thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct spawned {
	pid_t pid; /* 0: there is none */
	int pidfd, link;
	int program; /* O_PATH: what it runs; borrowed */
	int64_t started_ms;
	bool prepared, killed; /* killed: it was told to die, and may take its time */
};

#define SPAWNED_NONE ((struct spawned){.pid = 0, .pidfd = -1, .link = -1, .program = -1})

/* When memory is short this process goes late (as far as it may say so), its workers as soon as
 * they would have: one that is killed is followed by another. */
#define KEEPER_OOM_SCORE (-500)
void spawn_protect(void);
/* This very program, or the one at a path: O_PATH. */
NODISCARD int spawn_program(const char *path, struct err *err);
/* argv: as of struct keeper_options. */
NODISCARD int spawn_start(int program, char **argv, struct spawned *ret, struct err *err);
/* After its pidfd is readable. What ended it, in words; true: it ended well (status 0). */
#define SPAWN_END_MAX 128
bool spawn_reap(struct spawned *w, bool *ret_killed, char ret[SPAWN_END_MAX]);
/* Kills and reaps it; none is fine. False: it waits for a disk, and is left behind, to be reaped by
 * spawn_end_orphans or by nobody: SPAWN_KILL_MS is as long as we wait. */
#define SPAWN_KILL_MS 1000
bool spawn_kill(struct spawned *w);

/* What a dead worker had started becomes this process's (spawn_adopt_orphans), and nobody wants
 * it any more. Not so what was here before, or came while the worker lived: an agent that a
 * helper has left behind on purpose. */
#define SPAWN_CHILDREN_MAX 256
struct children {
	pid_t v[SPAWN_CHILDREN_MAX];
	size_t n;
};
void spawn_adopt_orphans(void);
/* Those that there are now, but for `ours` (pids; 0 is none), are nobody's business. Reaps those
 * that have ended. */
void spawn_note_children(struct children *known, const pid_t *ours, size_t n);
/* A worker has died: kills all that are neither ours nor known. */
void spawn_end_orphans(const struct children *known, const pid_t *ours, size_t n);
