/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/cache_dir.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/home.h"

int cache_dir_default(char **ret, struct err *err)
{
	AUTO_FREE char *cache = NULL;
	if (geteuid() == 0)
		cache = strdup("/var/cache");
	else if (home_cache(&cache) == 0 && cache == NULL)
		return err_set(err, -ENOENT,
			       "no home directory to keep a cache in; give --cache DIR");
	if (cache == NULL || asprintf(ret, "%s/wasmocifs", cache) < 0)
		return err_set(err, -ENOMEM, "out of memory");
	return 0;
}
