/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/path.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINKS_MAX 40 /* as the kernel's MAXSYMLINKS */

int path_absolute(const char *path, char **ret)
{
	if (*path == '/') {
		*ret = strdup(path);
		return *ret != NULL ? 0 : -ENOMEM;
	}
	char cwd[PATH_MAX];
	if (getcwd(cwd, sizeof(cwd)) == NULL)
		return -errno;
	return asprintf(ret, "%s/%s", strcmp(cwd, "/") == 0 ? "" : cwd, path) < 0 ? -ENOMEM : 0;
}

/* Takes the first component off *rest. Its length, 0 at the end. */
static size_t next_component(const char **rest, const char **ret)
{
	*ret = *rest + strspn(*rest, "/");
	size_t len = strcspn(*ret, "/");
	*rest = *ret + len;
	return len;
}

static void drop_last(char path[PATH_MAX])
{
	char *slash = strrchr(path, '/');
	if (slash != NULL)
		*slash = '\0';
}

/* Puts a link's target in front of what is left to walk. */
static int follow(const char *target, char done[PATH_MAX], char todo[PATH_MAX], const char *rest)
{
	char joined[PATH_MAX];
	int n = snprintf(joined, sizeof(joined), "%s/%s", target, rest);
	if (n < 0 || (size_t)n >= sizeof(joined))
		return -ENAMETOOLONG;
	memcpy(todo, joined, (size_t)n + 1);
	if (*target == '/')
		done[0] = '\0';
	else
		drop_last(done);
	return 0;
}

/* done is "" for the root, else "/a/b". */
static int append(char done[PATH_MAX], const char *name, size_t len)
{
	size_t have = strlen(done);
	if (have + 1 + len >= PATH_MAX)
		return -ENAMETOOLONG;
	done[have] = '/';
	memcpy(done + have + 1, name, len);
	done[have + 1 + len] = '\0';
	return 0;
}

int path_resolve(const char *path, const struct mounts *mounts, char ret[PATH_MAX],
		 const struct mounts_entry **ret_mount)
{
	AUTO_FREE char *absolute = NULL;
	char done[PATH_MAX] = "", todo[PATH_MAX], target[PATH_MAX];
	int rc = path_absolute(path, &absolute);
	if (rc < 0)
		return rc;
	if (strlen(absolute) >= sizeof(todo))
		return -ENAMETOOLONG;
	memcpy(todo, absolute, strlen(absolute) + 1);

	const char *rest = todo, *name;
	const struct mounts_entry *mount = NULL;
	size_t len, links = 0;
	while ((len = next_component(&rest, &name)) > 0) {
		if (len == 1 && name[0] == '.')
			continue;
		if (len == 2 && name[0] == '.' && name[1] == '.') {
			drop_last(done);
			mount = mounts_above(mounts, done);
			continue;
		}
		rc = append(done, name, len);
		if (rc < 0)
			return rc;
		if (mount == NULL)
			mount = mounts_find(mounts, done);
		if (mount != NULL)
			continue;
		ssize_t n = readlink(done, target, sizeof(target) - 1);
		if (n < 0)
			continue;
		target[n] = '\0';
		if (++links > LINKS_MAX)
			return -ELOOP;
		rc = follow(target, done, todo, rest);
		if (rc < 0)
			return rc;
		rest = todo;
		mount = mounts_above(mounts, done);
	}
	snprintf(ret, PATH_MAX, "%s", done[0] != '\0' ? done : "/");
	*ret_mount = mount;
	return 0;
}

bool path_is_within(const char *path, const char *top)
{
	size_t len = strcmp(top, "/") == 0 ? 0 : strlen(top);
	return strncmp(path, top, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

json_t *path_json(const char *path)
{
	json_t *ret = json_string(path);
	AUTO_FREE char *copy = ret == NULL ? strdup(path) : NULL;
	if (copy == NULL)
		return ret;
	for (char *p = copy; *p != '\0'; p++) {
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	}
	return json_string(copy);
}
