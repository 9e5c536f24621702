/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/metrics.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/clock.h"
#include "base/macros.h"

static const char *const operations[OPERATIONS] = {
    [OPERATION_LOOKUP] = "lookup",
    [OPERATION_GETATTR] = "getattr",
    [OPERATION_READLINK] = "readlink",
    [OPERATION_OPEN] = "open",
    [OPERATION_READ] = "read",
    [OPERATION_RELEASE] = "release",
    [OPERATION_OPENDIR] = "opendir",
    [OPERATION_READDIR] = "readdir",
    [OPERATION_RELEASEDIR] = "releasedir",
    [OPERATION_STATFS] = "statfs",
    [OPERATION_GETXATTR] = "getxattr",
    [OPERATION_LISTXATTR] = "listxattr",
};

/* The most frequent first. */
static const int outcomes[] = {
    0,      ENOENT, ENODATA, EACCES,     EHOSTUNREACH, ETIMEDOUT,    EBUSY, EBADMSG,
    EPROTO, EFBIG,  ENOSPC,  EOPNOTSUPP, ENOEXEC,      EKEYREJECTED, EIO,   EINTR,
    EROFS,  ERANGE, EINVAL,  ESTALE,     ENFILE,       ENOTDIR,
};
#define OTHER ARRAY_LEN(outcomes)
_Static_assert(OTHER < METRICS_OUTCOMES, "room for all outcomes");

const char *operation_name(enum operation o)
{
	return operations[o];
}

const char *metrics_outcome_name(unsigned outcome)
{
	if (outcome > OTHER)
		return NULL;
	if (outcome == OTHER)
		return "other";
	return outcome == 0 ? "ok" : strerrorname_np(outcomes[outcome]);
}

void metrics_count(struct metrics *m, enum operation o, int errnum, int64_t start_us)
{
	unsigned i = 0;
	while (i < OTHER && outcomes[i] != errnum)
		i++;
	histogram_add(&m->operations[o][i], clock_us() - start_us);
}
