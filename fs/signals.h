/* SPDX-License-Identifier: Apache-2.0 */
/* signals — whether a caller that was interrupted is to be let go. Layer: fs/.
 *
 * The kernel says only that a waiting request was interrupted, once. Go
 * programs interrupt themselves all the time (SIGURG), so the signals that
 * pend on the calling thread decide. Implements DESIGN §4.5:
 *
 *	SIGKILL pends on the thread; or a signal pends, on the thread or its
 *	process, that is not blocked or ignored, and that either is not caught
 *	and kills by default, or is a caught INT, TERM, HUP, QUIT or ALRM.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* From the text of /proc/<tid>/status, NUL-terminated behind len. A text without
 * the masks: false. */
bool signals_let_go(const char *status, size_t len);

/* Of a thread. tid 0 (another pid namespace) and a thread that is gone: true.
 * Reads /proc: blocks on nothing but that. */
bool signals_thread_let_go(pid_t tid);

/* Of one that nobody interrupted: whether it has ended, or is ending, which may wait for what it
 * waited for, or is being killed. tid 0, and one of which nothing is known: false. */
bool signals_thread_is_gone(pid_t tid);
