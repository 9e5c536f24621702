/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/archive_confine.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "fs/capabilities.h"

static int limit_resources(void)
{
	const struct {
		__rlimit_resource_t what;
		rlim_t most;
	} limits[] = {
	    {RLIMIT_CPU, ARCHIVE_CPU_S},
	    {RLIMIT_FSIZE, 0},
	    {RLIMIT_NPROC, 0},
	    {RLIMIT_CORE, 0},
	    {RLIMIT_NOFILE, STDERR_FILENO + 1},
	    /* The sanitizers' shadow memory is counted too. The tar is mapped to be read,
	     * which is not. */
	    {RLIMIT_DATA, SANITIZED ? RLIM_INFINITY : ARCHIVE_MEMORY},
	};
	for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
		struct rlimit now, new = {limits[i].most, limits[i].most};
		if (getrlimit(limits[i].what, &now) < 0)
			return -errno;
		if (now.rlim_max < new.rlim_max)
			new = (struct rlimit){now.rlim_max, now.rlim_max};
		if (setrlimit(limits[i].what, &new) < 0)
			return -errno;
	}
	return 0;
}

static int allow_memory(scmp_filter_ctx f)
{
	int r = 0;
	int calls[] = {SCMP_SYS(mmap), SCMP_SYS(mprotect)};
	for (size_t i = 0; i < ARRAY_LEN(calls) && r == 0; i++)
		r = seccomp_rule_add(f, SCMP_ACT_ALLOW, calls[i], 1,
				     SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	return r;
}

/* All else fails with EPERM, which is a clearer end than a signal. */
static int filter_calls(void)
{
	const int calls[] = {
	    SCMP_SYS(read),         SCMP_SYS(readv),        SCMP_SYS(write),
	    SCMP_SYS(writev),       SCMP_SYS(lseek),        SCMP_SYS(fstat),
	    SCMP_SYS(newfstatat),   SCMP_SYS(close),        SCMP_SYS(brk),
	    SCMP_SYS(munmap),       SCMP_SYS(mremap),       SCMP_SYS(madvise),
	    SCMP_SYS(futex),        SCMP_SYS(sched_yield),  SCMP_SYS(clock_gettime),
	    SCMP_SYS(getrandom),    SCMP_SYS(getpid),       SCMP_SYS(gettid),
	    SCMP_SYS(tgkill),       SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask),
	    SCMP_SYS(rt_sigreturn), SCMP_SYS(sigaltstack),  SCMP_SYS(restart_syscall),
	    SCMP_SYS(exit),         SCMP_SYS(exit_group),
	};
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int r = f != NULL ? allow_memory(f) : -ENOMEM;
	for (size_t i = 0; i < ARRAY_LEN(calls) && r == 0; i++)
		r = seccomp_rule_add(f, SCMP_ACT_ALLOW, calls[i], 0);
	if (r == 0)
		r = seccomp_load(f);
	seccomp_release(f);
	return r;
}

int archive_confine(struct err *err)
{
	/* Who is not root has no network for want of socket(2) only. */
	(void)unshare(CLONE_NEWNET);
	int r = capabilities_keep(NULL, 0);
	if (r < 0)
		return err_errno(err, -EIO, "cannot give up capabilities");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ||
	    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || limit_resources() < 0)
		return err_errno(err, -EIO, "cannot limit what the archive helper may do");
	r = filter_calls();
	if (r < 0)
		return err_set(err, -EIO,
			       "cannot limit the system calls of the archive helper (%s)",
			       strerrorname_np(-r));
	return 0;
}
