/* SPDX-License-Identifier: Apache-2.0 */
/* faults — makes one call of the code under test fail, or kills the process there.
 *
 * The linker sends what base/ and cache/ ask of the C library, of the kernel and of OpenSSL
 * through here (--wrap, see meson.build), sanitizers or not. Calls are counted for the thread that
 * armed the plan, or for all others together, so that one number always names the same call.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* What a call is, and with that, how it can fail. */
enum fault_kind {
	FAULT_OPEN,
	FAULT_CREATE, /* an open that may make the file */
	FAULT_READ,
	FAULT_WRITE,
	FAULT_ALLOCATE,
	FAULT_TRUNCATE,
	FAULT_SYNC,
	FAULT_RENAME,
	FAULT_UNLINK,
	FAULT_MKDIR,
	FAULT_STAT,
	FAULT_STATFS,
	FAULT_LOCK,
	FAULT_DESCRIPTOR, /* dup, memfd_create */
	FAULT_MODE,       /* fchmod, futimens */
	FAULT_READDIR,
	FAULT_RANDOM,
	FAULT_THREAD,
	FAULT_MEMORY,
	FAULT_HASH,
	FAULT_KINDS,
};

enum fault_how {
	FAULT_ONCE,
	FAULT_KIND_FROM, /* this one and all later ones of its kind */
	FAULT_DISK_FROM, /* this one and all later ones that touch the disk */
	FAULT_DIE,       /* the process ends before it; only calls that change the disk count */
	FAULT_TEAR,      /* the same, but half of a write is done first */
};

struct fault_plan {
	enum fault_how how;
	bool others;    /* calls of other threads than the one that arms */
	unsigned nth;   /* from 1 */
	unsigned which; /* of the errors that are plausible for that call, modulo their number */
};

/* What became of the plan; in memory that a forked process shares with its parent. */
struct fault_report {
	unsigned calls; /* that counted */
	bool hit;
	enum fault_kind kind;
	unsigned variants; /* errors that are plausible for it */
	char what[64];     /* "pwrite ENOSPC" */
};

/* The exit code of a process that FAULT_DIE ended. */
#define FAULT_DIED 77

void faults_arm(const struct fault_plan *plan, struct fault_report *report);
void faults_disarm(void);
/* This thread's own calls in between do not count. */
void faults_exempt(bool exempt);
const char *fault_kind_name(enum fault_kind kind);
/* Allocations of the code under test that were not freed. */
long faults_live(void);
