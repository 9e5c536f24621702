/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/cache_dir.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int cache_dir_default(char **ret, struct err *err)
{
	const char *cache = getenv("XDG_CACHE_HOME");
	const char *home = getenv("HOME");
	int n;
	if (home == NULL || *home != '/') {
		const struct passwd *pw = getpwuid(geteuid());
		home = pw != NULL ? pw->pw_dir : NULL;
	}
	if (geteuid() == 0)
		n = asprintf(ret, "/var/cache/wasmocifs");
	else if (cache != NULL && *cache == '/')
		n = asprintf(ret, "%s/wasmocifs", cache);
	else if (home != NULL)
		n = asprintf(ret, "%s/.cache/wasmocifs", home);
	else
		return err_set(err, -ENOENT,
			       "no home directory to keep a cache in; give --cache DIR");
	return n < 0 ? err_set(err, -ENOMEM, "out of memory") : 0;
}
