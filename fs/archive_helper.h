/* SPDX-License-Identifier: Apache-2.0 */
/* archive_helper — the process in which archives are opened. Layer: fs/.
 *
 * Decompressors and readers of old formats are where a hostile layer has its best
 * chance, so they run in a program of their own: this same binary, started anew as
 *
 *	wasmocifs --archive-helper expand gzip|zstd|bzip2|xz
 *	wasmocifs --archive-helper index
 *
 * with the file to read as descriptor 0 (and nothing else of ours), what it makes of it
 * going to 1, and a line of words to 2 if that fails. `expand` writes the uncompressed
 * bytes, `index` the text of fs/tar_index.h. It gives up everything else
 * (fs/archive_confine.h) before it reads. Whatever it says is untrusted.
 *
 * fs/archive_run.h is who starts it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

#define ARCHIVE_HELPER_WORD "--archive-helper"

/* Of its exit status, besides 0. */
enum archive_exit {
	ARCHIVE_EXIT_MALFORMED = 81, /* -EPROTO */
	ARCHIVE_EXIT_TOO_LARGE = 82, /* -EFBIG */
	ARCHIVE_EXIT_LOCAL = 83,     /* -EIO */
};

/* Whether main() was called as the helper. */
bool archive_helper_called(int argc, char **argv);
/* Never returns. */
_Noreturn void archive_helper_main(int argc, char **argv);

/* What bytes that begin so are compressed with, as `expand` is told; NULL: nothing. */
#define ARCHIVE_MAGIC_MAX 6
const char *layer_compression(const void *head, size_t len);
