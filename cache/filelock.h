/* SPDX-License-Identifier: Apache-2.0 */
/* filelock — locks between processes, on single bytes of a file. Layer:
 * cache/; internal.
 *
 * Open-file-description locks: they belong to the open file, so they keep two
 * threads that opened it twice apart as they do two processes, and they go
 * with the last descriptor of that open file. A killed holder leaves none.
 *
 * The bytes need not exist. No function here waits.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"

/* Of a blob or partial: */
#define FILELOCK_WRITER  0 /* exclusive: who fetches and publishes it */
#define FILELOCK_READER  1 /* shared: who has it open as a blob */
#define FILELOCK_CHARGED 2 /* shared: its whole size is in the account */
/* Of <dir>/lock: */
#define FILELOCK_ACCOUNT 0 /* exclusive: who reads and changes the account */
#define FILELOCK_USERS   1 /* shared: every open store of the directory */

/* -EAGAIN: another open file has it; -errno where locks do not work. Both
 * replace what this open file has of the byte. */
NODISCARD int filelock_exclusive(int fd, int64_t byte);
int filelock_shared(int fd, int64_t byte);
/* -errno: it is held still, and goes with the open file only. */
int filelock_drop(int fd, int64_t byte);
/* Whether another open file is its writer or a reader: 1, 0, or -errno. */
int filelock_ask(int fd);
/* The same; not where it is not known, as where locks do not work. */
bool filelock_taken(int fd);
bool filelock_charged(int fd);
