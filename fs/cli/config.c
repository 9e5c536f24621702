/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/file.h"
#include "base/home.h"
#include "fs/cli/config_lines.h"

#define DEV_NULL_NUMBER makedev(1, 3)

/* NULL: no directory, no file. With su or setpriv it may still be that of somebody else, whose
 * configuration is none of ours. -ENOMEM */
static int user_path(char **ret, struct err *err)
{
	AUTO_FREE char *config = NULL;
	struct stat st;
	*ret = NULL;
	int rc = home_config(&config);
	if (rc == 0 && config != NULL && stat(config, &st) == 0 &&
	    (st.st_uid == geteuid() || st.st_uid == 0) &&
	    asprintf(ret, "%s/wasmocifs/wasmocifs.conf", config) < 0)
		rc = -ENOMEM;
	return rc < 0 ? err_set(err, -ENOMEM, "out of memory") : 0;
}

/* 1: an empty one. */
static int check_owner(int fd, const char *path, struct err *err)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_errno(err, -EINVAL, "%s", path);
	if (S_ISCHR(st.st_mode) && st.st_rdev == DEV_NULL_NUMBER)
		return 1;
	if (!S_ISREG(st.st_mode))
		return err_set(err, -EINVAL, "%s is %s; give a file, or /dev/null for none", path,
			       S_ISDIR(st.st_mode) ? "a directory" : "no regular file");
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return err_set(err, -EINVAL,
			       "%s belongs to user %u; a configuration must belong to root or to "
			       "you: chown it",
			       path, st.st_uid);
	if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		return err_set(err, -EINVAL,
			       "%s can be written to by others than its owner; close it first: "
			       "chmod go-w %s",
			       path, path);
	return 0;
}

/* 1: read; 0: there is no such file. */
static int read_file(const char *path, struct cli_args *args, struct err *err)
{
	AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return 0;
	if (fd < 0)
		return err_set(err, -EINVAL,
			       "cannot read %s: %s; do without it by --config /dev/null", path,
			       strerror(errno));
	int rc = check_owner(fd, path, err);
	if (rc != 0)
		return rc;
	AUTO_FREE char *text = malloc(CONFIG_MAX + 1);
	if (text == NULL)
		return err_set(err, -ENOMEM, "out of memory");
	int64_t len = file_pread_full(fd, text, CONFIG_MAX + 1, 0);
	if (len < 0)
		return err_set(err, -EINVAL, "cannot read %s: %s", path, strerror((int)-len));
	if (len > CONFIG_MAX)
		return err_set(err, -EINVAL, "%s is larger than %u KiB", path, CONFIG_MAX >> 10);
	text[len] = '\0';
	rc = config_apply_text(path, text, (size_t)len, args, err);
	return rc < 0 ? rc : 1;
}

int config_apply_text(const char *path, char *text, size_t len, struct cli_args *args,
		      struct err *err)
{
	struct config_lines l;
	uint64_t seen = 0;
	config_lines_init(&l, text, len);
	for (;;) {
		int rc = config_lines_next(&l, err);
		if (rc == 0)
			break;
		if (rc > 0)
			rc = options_set(l.key, l.value, &seen, args, err);
		if (rc < 0) {
			char where[32];
			snprintf(where, sizeof(where), ":%u", l.number);
			return err_wrap(err, rc, "%s%s", path, where);
		}
	}
	return 0;
}

static int read_files(struct cli_args *args, struct err *err)
{
	AUTO_FREE char *path = NULL;
	if (args->config != NULL) {
		int rc = read_file(args->config, args, err);
		return rc != 0
			   ? rc
			   : err_set(err, -EINVAL, "--config: there is no file %s", args->config);
	}
	int rc = geteuid() != 0 ? user_path(&path, err) : 0;
	if (rc == 0 && path != NULL)
		rc = read_file(path, args, err);
	return rc == 0 ? read_file(CONFIG_SYSTEM, args, err) : rc;
}

int config_apply(struct cli_args *args, struct err *err)
{
	int rc = read_files(args, err);
	if (rc < 0)
		return rc;
	/* The file's hosts are for those mounts that have all registries. */
	if (!args->all && !options_given(args, offsetof(struct cli_args, allow_hosts)))
		names_release(&args->allow_hosts);
	return 0;
}
