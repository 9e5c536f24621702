/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/units.h"

void process_open_standard(void)
{
	/* A result that nobody can read is a failure, as it would be without this. */
	static const int modes[] = {
	    [STDIN_FILENO] = O_RDONLY, [STDOUT_FILENO] = O_RDONLY, [STDERR_FILENO] = O_WRONLY};
	for (int fd = 0; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			continue;
		/* The lowest free number is this one. Without a /dev, anything
		 * will do that holds the place. */
		if (open("/dev/null", modes[fd]) < 0)
			(void)open("/", O_PATH);
	}
}

/* As far as the hard limit and `most` allow. The limit that is left. */
static rlim_t raise_limit(__rlimit_resource_t which, rlim_t most)
{
	struct rlimit limit;
	if (getrlimit(which, &limit) < 0)
		return RLIM_INFINITY;
	rlim_t want = limit.rlim_max < most ? limit.rlim_max : most;
	struct rlimit raised = {.rlim_cur = want, .rlim_max = limit.rlim_max};
	if (limit.rlim_cur < want && setrlimit(which, &raised) == 0)
		return want;
	return limit.rlim_cur;
}

/* Each open file of the mount may be one of ours. */
static int raise_files(struct err *err)
{
	rlim_t files = raise_limit(RLIMIT_NOFILE, PROCESS_FILES_WANT);
	if (files >= PROCESS_FILES_MIN)
		return 0;
	return err_set(err, -EMFILE,
		       "a mount needs %d open files, and the limit is %llu; raise the hard limit "
		       "(ulimit -Hn, or LimitNOFILE= in a systemd unit)",
		       PROCESS_FILES_MIN, (unsigned long long)files);
}

/* The limit counts for files in memory too, so they are no way around it. */
static int raise_file_size(struct err *err)
{
	char least[UNITS_SIZE_MAX], have[UNITS_SIZE_MAX];
	rlim_t size = raise_limit(RLIMIT_FSIZE, RLIM_INFINITY);
	if (size >= PROCESS_FILE_SIZE_MIN)
		return 0;
	units_format_size(PROCESS_FILE_SIZE_MIN, least);
	units_format_size(size, have);
	return err_set(err, -EFBIG,
		       "a mount needs files of %s, and the limit is %s; raise the hard limit "
		       "(ulimit -Hf, or LimitFSIZE= in a systemd unit)",
		       least, have);
}

int process_prepare_limits(struct err *err)
{
	(void)sigaction(SIGXFSZ, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
	int rc = raise_files(err);
	return rc < 0 ? rc : raise_file_size(err);
}
