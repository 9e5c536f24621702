/* SPDX-License-Identifier: Apache-2.0 */
#include "base/home.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PASSWD_MAX 4096 /* of one line of the user database */

/* One that is not there is for its user to make, or not. */
static const char *directory(const char *variable)
{
	const char *path = getenv(variable);
	if (path == NULL || *path != '/')
		return NULL;
	return access(path, X_OK) < 0 && errno == EACCES ? NULL : path;
}

int home_dir(char **ret)
{
	const char *home = directory("HOME");
	char line[PASSWD_MAX];
	struct passwd pw, *me = NULL;
	if (home == NULL && getpwuid_r(geteuid(), &pw, line, sizeof(line), &me) == 0 && me != NULL)
		home = me->pw_dir;
	*ret = home != NULL && *home == '/' ? strdup(home) : NULL;
	return home != NULL && *home == '/' && *ret == NULL ? -ENOMEM : 0;
}

static int below(const char *variable, const char *name, char **ret)
{
	const char *path = directory(variable);
	AUTO_FREE char *home = NULL;
	*ret = NULL;
	if (path != NULL)
		return (*ret = strdup(path)) == NULL ? -ENOMEM : 0;
	int rc = home_dir(&home);
	if (rc < 0 || home == NULL)
		return rc;
	if (asprintf(ret, "%s/%s", home, name) < 0) {
		*ret = NULL;
		return -ENOMEM;
	}
	return 0;
}

int home_config(char **ret)
{
	return below("XDG_CONFIG_HOME", ".config", ret);
}

int home_cache(char **ret)
{
	return below("XDG_CACHE_HOME", ".cache", ret);
}
