/* SPDX-License-Identifier: Apache-2.0 */
#include "base/home.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PASSWD_MAX 4096 /* of one line of the user database */

static bool is_closed(const char *path)
{
	return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0 && errno == EACCES;
}

/* One that is not there is for its user to make, or not. */
static const char *directory(const char *variable)
{
	const char *path = getenv(variable);
	if (path == NULL || *path != '/')
		return NULL;
	return is_closed(path) ? NULL : path;
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
	AUTO_FREE char *home = NULL;
	struct stat st;
	int rc = below("XDG_CONFIG_HOME", ".config", ret);
	if (rc == 0)
		rc = home_dir(&home);
	/* Of a home of one's own that is an accident, which whoever reads there tells. */
	if (rc == 0 && *ret != NULL && is_closed(*ret) && home != NULL && stat(home, &st) == 0 &&
	    st.st_uid != geteuid()) {
		free(*ret);
		*ret = NULL;
	}
	return rc;
}

int home_cache(char **ret)
{
	return below("XDG_CACHE_HOME", ".cache", ret);
}
