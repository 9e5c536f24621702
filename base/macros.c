/* SPDX-License-Identifier: Apache-2.0 */
#include "base/macros.h"

#include <errno.h>
#include <stdio.h>

void assert_failed(const char *cond, const char *file, int line)
{
	fprintf(stderr, "wasmocifs: bug: %s:%d: %s does not hold\n", file, line, cond);
	abort();
}

void auto_close_(int *fd)
{
	if (*fd < 0)
		return;
	int saved = errno;
	close(*fd);
	*fd = -1;
	errno = saved;
}
