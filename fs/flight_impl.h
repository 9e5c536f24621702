/* SPDX-License-Identifier: Apache-2.0 */
/* flight_impl — the table of flights, for those who look at it. Layer: fs/, internal. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

/* uthash's usual one falls through its switch, which clang warns of. */
#define HASH_FUNCTION HASH_OAT
#include <uthash.h>

#include "base/lock.h"
#include "fs/flight.h"

TAILQ_HEAD(waiter_list, waiter);

struct flight {
	struct want want; /* the key */
	UT_hash_handle hh;
	struct flights *flights;
	char repo[REPOSITORY_MAX];
	char repo_again[REPOSITORY_MAX]; /* guarded by flights->lock: if it runs again */
	struct call call;
	struct waiter_list waiters; /* guarded by flights->lock */
	_Atomic uint64_t progress;
	_Atomic bool busy;
	_Atomic uint64_t have;
	int64_t started_ms;
	int64_t begun_ms;    /* guarded by flights->lock */
	bool begun;          /* guarded by flights->lock: a thread has the job */
	bool cancelled;      /* guarded by flights->lock */
	int64_t patience_ms; /* guarded by flights->lock: see patience() */
	int refused;         /* no thread takes the job: its result */
	bool told;           /* it has no job: flight_tell */
};

struct flights {
	struct flights_options o;
	struct lock lock;
	struct cond wake;           /* of the watch thread */
	struct flight *table;       /* guarded by lock */
	struct waiter_list watched; /* guarded by lock */
	struct waiter_list hit;     /* guarded by lock: those of them that were interrupted */
	uint64_t next_serial;       /* guarded by lock */
	uint64_t parked;            /* guarded by lock */
	uint64_t unheard;           /* guarded by lock: those of the parked that are */
	bool interrupts;            /* guarded by lock: one of `hit` is to be looked at */
	bool stopping;              /* guarded by lock */
	uint64_t ended;             /* guarded by lock: flights so far */
	uint64_t movement;          /* guarded by lock: what there was of it when last looked at */
	int64_t moved_ms;           /* guarded by lock: when that was more than before */
	bool started;
	pthread_t watch;
};
