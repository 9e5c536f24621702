/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/values.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/units.h"
#include "fs/capabilities.h"
#include "fs/cli/path.h"
#include "fs/cli/suggest.h"
#include "registry/host_name.h"

#define CERTIFICATES_LOOK (4u << 20) /* bytes; the whole world's are some 250 KiB */

static int absolute(const char *name, const char *value, const char *what, char **ret,
		    struct err *err)
{
	if (*value == '\0')
		return err_set(err, -EINVAL, "%s: give the path of a %s", name, what);
	int rc = path_absolute(value, ret);
	return rc < 0 ? err_errno(err, rc, "%s %s", name, value) : 0;
}

static int set_path(const char *name, const char *value, const char *what, char **to,
		    struct err *err)
{
	AUTO_FREE char *path = NULL;
	int rc = absolute(name, value, what, &path, err);
	if (rc < 0)
		return rc;
	free(*to);
	*to = steal_ptr(&path);
	return 0;
}

int value_directory(const char *name, const char *value, char **to, struct err *err)
{
	return set_path(name, value, "directory", to, err);
}

int value_tree(const char *name, const char *value, char **to, struct err *err)
{
	AUTO_FREE char *path = NULL;
	int rc = absolute(name, value, "directory", &path, err);
	if (rc < 0)
		return rc;
	AUTO_FD int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_set(err, -EINVAL, "%s: cannot look into %s: %s; give a directory", name,
			       value, strerror(errno));
	free(*to);
	*to = steal_ptr(&path);
	return 0;
}

int value_path(const char *name, const char *value, char **to, struct err *err)
{
	return set_path(name, value, "file", to, err);
}

int value_flag(const char *name, const char *value, bool *to, struct err *err)
{
	bool is_true = value == NULL || strcmp(value, "true") == 0;
	if (!is_true && strcmp(value, "false") != 0)
		return err_set(err, -EINVAL, "%s: '%s' is neither true nor false", name, value);
	*to = is_true;
	return 0;
}

/* It is read again and again later, which a pipe cannot be. */
static int open_file(const char *name, const char *value, const char *path, int *ret,
		     struct err *err)
{
	struct stat st;
	/* A device may do something when it is opened, so it is not. */
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
		return err_set(err, -EINVAL, "%s: %s is %s; give a file", name, value,
			       S_ISDIR(st.st_mode) ? "a directory" : "no regular file");
	*ret = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (*ret < 0)
		return err_set(err, -EINVAL, "%s: cannot read %s: %s", name, value,
			       strerror(errno));
	return 0;
}

int value_file(const char *name, const char *value, char **to, struct err *err)
{
	AUTO_FREE char *path = NULL;
	AUTO_FD int fd = -1;
	int rc = absolute(name, value, "file", &path, err);
	if (rc == 0)
		rc = open_file(name, value, path, &fd, err);
	if (rc < 0)
		return rc;
	free(*to);
	*to = steal_ptr(&path);
	return 0;
}

static int check_output(const char *name, const char *value, const char *path, struct err *err)
{
	struct stat st;
	AUTO_FREE char *dir = strdup(path);
	if (dir == NULL)
		return err_set(err, -ENOMEM, "out of memory");
	char *slash = strrchr(dir, '/');
	slash[slash == dir] = '\0';
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
		return err_set(err, -EINVAL, "%s: %s is %s; give a file", name, value,
			       S_ISDIR(st.st_mode) ? "a directory" : "no regular file");
	if (stat(dir, &st) < 0 || !S_ISDIR(st.st_mode))
		return err_set(err, -EINVAL, "%s: %s is no directory; make it first: mkdir -p %s",
			       name, dir, dir);
	int rc = capabilities_access(dir, W_OK | X_OK);
	if (rc == -EACCES && geteuid() == 0 && st.st_uid != 0)
		return err_set(err, -EINVAL,
			       "%s: %s is another user's (%u), and the process that serves gives "
			       "up root's right to write there; allow it: setfacl -m u:0:rwx %s",
			       name, dir, (unsigned)st.st_uid, dir);
	return rc < 0
		   ? err_set(err, -EINVAL, "%s: cannot write in %s: %s", name, dir, strerror(-rc))
		   : 0;
}

int value_output(const char *name, const char *value, char **to, struct err *err)
{
	AUTO_FREE char *path = NULL;
	int rc = absolute(name, value, "file", &path, err);
	if (rc == 0)
		rc = check_output(name, value, path, err);
	if (rc < 0)
		return rc;
	free(*to);
	*to = steal_ptr(&path);
	return 0;
}

/* What OpenSSL takes as the start of one. */
static bool has_certificate(const char *text, size_t len)
{
	static const char *const heads[] = {"-----BEGIN CERTIFICATE-----",
					    "-----BEGIN TRUSTED CERTIFICATE-----",
					    "-----BEGIN X509 CERTIFICATE-----"};
	for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
		if (memmem(text, len, heads[i], strlen(heads[i])) != NULL)
			return true;
	}
	return false;
}

/* Whether they are any good is the TLS library's to say. */
int value_certificates(const char *name, const char *value, char **to, struct err *err)
{
	AUTO_FREE char *path = NULL;
	AUTO_FREE char *text = malloc(CERTIFICATES_LOOK);
	AUTO_FD int fd = -1;
	int rc = text == NULL ? err_set(err, -ENOMEM, "out of memory") : 0;
	if (rc == 0)
		rc = absolute(name, value, "file", &path, err);
	if (rc == 0)
		rc = open_file(name, value, path, &fd, err);
	if (rc < 0)
		return rc;
	int64_t len = file_pread_full(fd, text, CERTIFICATES_LOOK, 0);
	if (len < 0)
		return err_set(err, -EINVAL, "%s: cannot read %s: %s", name, value,
			       strerror((int)-len));
	if (!has_certificate(text, (size_t)len))
		return err_set(err, -EINVAL,
			       "%s: there is no PEM certificate (-----BEGIN CERTIFICATE-----) in "
			       "%s; a DER one can be converted: openssl x509 -inform der",
			       name, value);
	free(*to);
	*to = steal_ptr(&path);
	return 0;
}

int value_size(const char *name, const char *value, uint64_t least, uint64_t *to, struct err *err)
{
	uint64_t size;
	int rc = units_parse_size(value, &size);
	/* It is shown as a number of JSON, which ends there. */
	if (rc == -ERANGE || (rc == 0 && size > INT64_MAX))
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

/* The number above all others means "none" to the kernel. */
static bool parse_id(const char *value, int64_t *ret)
{
	uint64_t id = 0;
	const char *p = value;
	for (; *p >= '0' && *p <= '9' && id < UINT32_MAX; p++)
		id = id * 10 + (uint64_t)(*p - '0');
	*ret = (int64_t)id;
	return p != value && *p == '\0' && id < UINT32_MAX;
}

int value_user(const char *name, const char *value, int64_t *to, struct err *err)
{
	const struct passwd *user = getpwnam(value);
	if (user != NULL)
		*to = user->pw_uid;
	else if (!parse_id(value, to))
		return err_set(err, -EINVAL, "%s: there is no user '%s'; give a name or a number",
			       name, value);
	return 0;
}

int value_group(const char *name, const char *value, int64_t *to, struct err *err)
{
	const struct group *group = getgrnam(value);
	if (group != NULL)
		*to = group->gr_gid;
	else if (!parse_id(value, to))
		return err_set(err, -EINVAL, "%s: there is no group '%s'; give a name or a number",
			       name, value);
	return 0;
}

int value_umask(const char *name, const char *value, int64_t *to, struct err *err)
{
	size_t digits = strspn(value, "01234567");
	if (digits == 0 || value[digits] != '\0' || strtoul(value, NULL, 8) > 0777)
		return err_set(err, -EINVAL,
			       "%s: '%s' is no mask; write it in octal, as 022 or 077", name,
			       value);
	*to = (int64_t)strtoul(value, NULL, 8);
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

int value_text(const char *name, const char *what, const char *value, char **to, struct err *err)
{
	if (*value == '\0')
		return err_set(err, -EINVAL, "%s: give a %s", name, what);
	char *copy = strdup(value);
	if (copy == NULL)
		return err_set(err, -ENOMEM, "out of memory");
	free(*to);
	*to = copy;
	return 0;
}

int value_fd(const char *name, const char *value, int *to, struct err *err)
{
	char *end;
	errno = 0;
	long n = strtol(value, &end, 10);
	if (*value < '0' || *value > '9' || *end != '\0' || errno != 0 || n > INT32_MAX)
		return err_set(err, -EINVAL,
			       "%s: '%s' is not the number of a file descriptor; write it as 3",
			       name, value);
	int flags = fcntl((int)n, F_GETFL);
	if (flags < 0)
		return err_set(err, -EINVAL,
			       "%s: file descriptor %ld is not open; open it for "
			       "writing (%ld>FILE in a shell)",
			       name, n, n);
	if ((flags & O_ACCMODE) == O_RDONLY)
		return err_set(err, -EINVAL,
			       "%s: file descriptor %ld is not open for writing; "
			       "open it for that (%ld>FILE in a shell)",
			       name, n, n);
	*to = (int)n;
	return 0;
}

int value_host(const char *name, const char *value, struct names *to, struct err *err)
{
	char source[HOST_NAME_SIZE];
	struct source_spec spec;
	if (host_name_parse(value, source, &spec) < 0)
		return err_set(err, -EINVAL, "%s %s: not a host; write HOST or HOST:PORT", name,
			       value);
	int rc = names_add(to, value, strlen(value));
	return rc < 0 ? err_set(err, rc, "out of memory") : 0;
}
