/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/privileges.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/file.h"
#include "fs/capabilities.h"

#define MOUNTINFO_MAX (1u << 20)

/* Unknown is as good as hidden. */
static bool proc_hides(void)
{
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	if (file_read_small(AT_FDCWD, "/proc/self/mountinfo", MOUNTINFO_MAX, &text, &len) < 0)
		return true;
	return strstr(text, "hidepid=") != NULL;
}

static int keep_capabilities(bool passthrough)
{
	int keep[3];
	size_t n = 0;
	keep[n++] = CAP_DAC_READ_SEARCH;
	if (passthrough)
		keep[n++] = CAP_SYS_ADMIN;
	if (proc_hides())
		keep[n++] = CAP_SYS_PTRACE;
	return capabilities_keep(keep, n);
}

/* A helper that reads archives has a network of its own, with nothing in it. */
static int refuse_namespaces(scmp_filter_ctx f)
{
	const struct scmp_arg_cmp other = {.arg = 0, .op = SCMP_CMP_NE, .datum_a = CLONE_NEWNET};
	return seccomp_rule_add_array(f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(unshare), 1, &other);
}

static int filter_calls(void)
{
	const int refused[] = {
	    SCMP_SYS(mount),
	    SCMP_SYS(umount2),
	    SCMP_SYS(pivot_root),
	    SCMP_SYS(move_mount),
	    SCMP_SYS(open_tree),
	    SCMP_SYS(fsopen),
	    SCMP_SYS(fsconfig),
	    SCMP_SYS(fsmount),
	    SCMP_SYS(fspick),
	    SCMP_SYS(mount_setattr),
	    SCMP_SYS(chroot),
	    SCMP_SYS(setns),
	    SCMP_SYS(process_vm_readv),
	    SCMP_SYS(process_vm_writev),
	    SCMP_SYS(pidfd_getfd),
	    SCMP_SYS(kexec_load),
	    SCMP_SYS(kexec_file_load),
	    SCMP_SYS(init_module),
	    SCMP_SYS(finit_module),
	    SCMP_SYS(delete_module),
	    SCMP_SYS(bpf),
	    SCMP_SYS(perf_event_open),
	    SCMP_SYS(reboot),
	    SCMP_SYS(swapon),
	    SCMP_SYS(swapoff),
	    SCMP_SYS(sethostname),
	    SCMP_SYS(setdomainname),
	    SCMP_SYS(settimeofday),
	    SCMP_SYS(clock_settime),
	    SCMP_SYS(clock_adjtime),
	    SCMP_SYS(adjtimex),
	    SCMP_SYS(acct),
	    SCMP_SYS(quotactl),
	    SCMP_SYS(syslog),
	    SCMP_SYS(iopl),
	    SCMP_SYS(ioperm),
	    SCMP_SYS(open_by_handle_at),
	    SCMP_SYS(fanotify_init),
	    SCMP_SYS(userfaultfd),
	    SCMP_SYS(io_uring_setup),
	    SCMP_SYS(vhangup),
	};
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_ALLOW);
	int r = f != NULL ? refuse_namespaces(f) : -ENOMEM;
	for (size_t i = 0; i < ARRAY_LEN(refused) && r == 0; i++)
		r = seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), refused[i], 0);
	/* With it the sanitizers look for leaks. */
	if (r == 0 && !SANITIZED)
		r = seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ptrace), 0);
	if (r == 0)
		r = seccomp_load(f);
	seccomp_release(f);
	return r;
}

int privileges_drop(bool passthrough, struct err *err)
{
	int r = keep_capabilities(passthrough);
	if (r < 0)
		return err_errno(err, r, "cannot give up capabilities");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_errno(err, -errno, "cannot give up getting privileges");
	r = filter_calls();
	return r < 0 ? err_errno(err, r, "cannot limit system calls") : 0;
}
