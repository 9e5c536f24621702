/* SPDX-License-Identifier: Apache-2.0 */
/* credential_helper — the programs that keep logins for docker and podman
 * (docker-credential-helpers, README "Credential Helper Protocol"). Layer:
 * registry/, internal.
 *
 * `docker-credential-NAME get` is told a server on stdin and prints a login. It
 * is looked for on the PATH of the time of helpers_new, and run without a shell
 * by helper_run. However many ask at once, it runs once; what it said is kept:
 * a login for HELPER_KEEP_MS, anything else for HELPER_AGAIN_MS. A login that
 * was refused is asked for anew at once; if it is still the same, it is kept
 * for HELPER_AGAIN_MS as well, since logging in again may change it.
 *
 * Threads: any. helpers_get BLOCKS as long as the program runs.
 */
#pragma once

#include "base/call.h"
#include "registry/credentials.h"

#define HELPER_PREFIX   "docker-credential-"
#define HELPER_LIMIT_MS 30000
#define HELPER_KEEP_MS  (5 * 60 * 1000)
#define HELPER_AGAIN_MS 10000

/* Of what it printed: no I/O. exit_code: -1 if a signal ended it. 1: *ret is
 * set. 0: it has none. -EACCES: it failed, or cannot be understood; what it
 * printed is quoted only where it cannot be a secret. -ENOMEM. */
NODISCARD int helper_parse(const char *text, size_t len, int exit_code, struct credential *ret,
			   struct err *err);
/* Whether NAME can be part of a program's name, and of nothing else. */
bool helper_name_is_good(const char *name);

struct helpers;
/* limit_ms: for one run. -ENOMEM. */
NODISCARD int helpers_new(int64_t limit_ms, struct helpers **ret);
void helpers_free(struct helpers *h); /* NULL is fine */
/* 1: *ret is what helper `name` has for `key`. 0: it has none. `era`: what was
 * said in an earlier one is not believed. -EACCES; -ETIMEDOUT, -ECANCELED: the
 * call's; -ENOMEM. */
NODISCARD int helpers_get(struct helpers *h, const char *name, const char *key, uint64_t era,
			  struct call *call, struct credential *ret, struct err *err);
/* This login was refused. */
void helpers_refused(struct helpers *h, const struct digest *id);
