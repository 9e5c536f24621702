/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/values.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/units.h"
#include "fs/cli/path.h"
#include "fs/cli/suggest.h"

int value_path(const char *name, const char *value, bool file, char **to, struct err *err)
{
	if (*value == '\0')
		return err_set(err, -EINVAL, "%s: give the path of a %s", name,
			       file ? "file" : "directory");
	AUTO_FREE char *path = NULL;
	int rc = path_absolute(value, &path);
	if (rc < 0)
		return err_errno(err, rc, "%s %s", name, value);
	if (file && access(path, R_OK) < 0)
		return err_set(err, -EINVAL, "%s: cannot read %s: %s", name, value,
			       strerror(errno));
	free(*to);
	*to = steal_ptr(&path);
	return 0;
}

int value_size(const char *name, const char *value, uint64_t least, uint64_t *to, struct err *err)
{
	uint64_t size;
	int rc = units_parse_size(value, &size);
	if (rc == -ERANGE)
		return err_set(err, -EINVAL, "%s: '%s' is too large", name, value);
	if (rc < 0)
		return err_set(err, -EINVAL, "%s: '%s' is not a size; write it as 500M or 8G", name,
			       value);
	if (size < least) {
		char text[UNITS_SIZE_MAX];
		units_format_size(least, text);
		return err_set(err, -EINVAL, "%s: '%s' is too small; give at least %s", name, value,
			       text);
	}
	*to = size;
	return 0;
}

static void format_duration(int64_t ms, char out[32])
{
	if (ms % 1000 != 0)
		snprintf(out, 32, "%" PRId64 "ms", ms);
	else
		snprintf(out, 32, "%" PRId64 "s", ms / 1000);
}

int value_duration(const char *name, const char *value, int64_t least_ms, int64_t *to,
		   struct err *err)
{
	int64_t ms;
	int rc = units_parse_duration_ms(value, &ms);
	/* Sums of two durations and the clock must not overflow anywhere. */
	if (rc == -ERANGE || (rc == 0 && ms > INT64_MAX / 4))
		return err_set(err, -EINVAL, "%s: '%s' is too long", name, value);
	if (rc < 0)
		return err_set(err, -EINVAL,
			       "%s: '%s' is not a duration; write it as 500ms, 8s or 5m", name,
			       value);
	if (ms < least_ms) {
		char text[32];
		format_duration(least_ms, text);
		return err_set(err, -EINVAL, "%s: '%s' is too short; give at least %s", name, value,
			       text);
	}
	*to = ms;
	return 0;
}

int value_choice(const char *name, const char *value, const char *const *choices, unsigned *to,
		 struct err *err)
{
	char list[128] = "";
	size_t len = 0;
	for (unsigned i = 0; choices[i] != NULL; i++) {
		if (strcmp(choices[i], value) == 0) {
			*to = i;
			return 0;
		}
		const char *between = i == 0 ? "" : choices[i + 1] == NULL ? " or " : ", ";
		int n = snprintf(list + len, sizeof(list) - len, "%s%s", between, choices[i]);
		ASSERT(n > 0 && (size_t)n < sizeof(list) - len);
		len += (size_t)n;
	}
	return err_set(err, -EINVAL, "%s: '%s' is not one of %s", name, value, list);
}

int value_fd(const char *name, const char *value, int *to, struct err *err)
{
	char *end;
	errno = 0;
	long n = strtol(value, &end, 10);
	if (*value < '0' || *value > '9' || *end != '\0' || errno != 0 || n > INT32_MAX)
		return err_set(err, -EINVAL, "%s: '%s' is not the number of a file descriptor",
			       name, value);
	int flags = fcntl((int)n, F_GETFL);
	if (flags < 0)
		return err_set(err, -EINVAL, "%s: file descriptor %ld is not open", name, n);
	if ((flags & O_ACCMODE) == O_RDONLY)
		return err_set(err, -EINVAL, "%s: file descriptor %ld is not open for writing",
			       name, n);
	*to = (int)n;
	return 0;
}
