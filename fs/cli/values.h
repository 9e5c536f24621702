/* SPDX-License-Identifier: Apache-2.0 */
/* values — the values of options, checked. Layer: fs/cli.
 *
 * `name` is the option as it was written ("--cache", "-o cache"). -EINVAL comes
 * with one line that says what is wrong and what to write instead.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/names.h"

/* *to is freed and replaced by the absolute path. A directory need not exist; a
 * tree is one that can be looked into; a file must be a regular one that can be read. */
NODISCARD int value_directory(const char *name, const char *value, char **to, struct err *err);
NODISCARD int value_tree(const char *name, const char *value, char **to, struct err *err);
NODISCARD int value_file(const char *name, const char *value, char **to, struct err *err);
/* A file that holds a certificate in PEM, or looks like it. */
NODISCARD int value_certificates(const char *name, const char *value, char **to, struct err *err);
/* The path of a file that is looked at elsewhere. */
NODISCARD int value_path(const char *name, const char *value, char **to, struct err *err);
/* true or false; NULL is true. */
NODISCARD int value_flag(const char *name, const char *value, bool *to, struct err *err);
/* A file that will be written anew again and again, by the process that serves: it need not exist,
 * and its directory must, and be one that this user may write in, root too by its mode. */
NODISCARD int value_output(const char *name, const char *value, char **to, struct err *err);
NODISCARD int value_size(const char *name, const char *value, uint64_t least, uint64_t *to,
			 struct err *err);
NODISCARD int value_duration(const char *name, const char *value, int64_t least_ms, int64_t *to,
			     struct err *err);
NODISCARD int value_choice(const char *name, const char *value, const char *const *choices,
			   unsigned *to, struct err *err);
/* By name or number. */
NODISCARD int value_user(const char *name, const char *value, int64_t *to, struct err *err);
NODISCARD int value_group(const char *name, const char *value, int64_t *to, struct err *err);
/* Octal, up to 777. */
NODISCARD int value_umask(const char *name, const char *value, int64_t *to, struct err *err);
/* *to is freed and replaced. what: as the help calls it. */
NODISCARD int value_text(const char *name, const char *what, const char *value, char **to,
			 struct err *err);
/* Adds HOST or HOST:PORT, as it was written. */
NODISCARD int value_host(const char *name, const char *value, struct names *to, struct err *err);
/* A file descriptor that is open for writing. */
NODISCARD int value_fd(const char *name, const char *value, int *to, struct err *err);
