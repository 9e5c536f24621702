/* SPDX-License-Identifier: Apache-2.0 */
/* readahead — how far ahead of its readers a file that arrives is fetched. Layer: fs/; no I/O.
 *
 * A reader is recognised by where he goes on; several are told apart, and who reads here and there
 * is none, so nothing is fetched for him but what he reads. Once he has gone on READAHEAD_STREAK
 * times in a row he has a window, which doubles each time that he has used up half of it.
 *
 * Threads: none of its own; the caller has a lock. Units: bytes.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define READAHEAD_READERS 8
#define READAHEAD_STREAK  2
#define READAHEAD_LEAST   (1ull << 20)
#define READAHEAD_MOST    (32ull << 20)
/* The kernel's own read-ahead arrives in no order, and by several threads. */
#define READAHEAD_SLACK (1ull << 20)

struct readahead {
	struct {
		uint64_t next;   /* where he would go on */
		uint64_t ahead;  /* up to where it was asked for */
		uint64_t window; /* 0: none yet */
		unsigned streak;
		uint64_t used; /* the clock when he was seen last; 0: free */
	} readers[READAHEAD_READERS];
	uint64_t clock;
};

/* len bytes at off are read now. True: *ret_from to *ret_to are to be fetched too. */
bool readahead_note(struct readahead *ra, uint64_t off, uint64_t len, uint64_t *ret_from,
		    uint64_t *ret_to);
