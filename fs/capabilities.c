/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/capabilities.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CAPABILITIES_MAX 64

static uint64_t mask_of(const int *caps, size_t n)
{
	uint64_t mask = 0;
	for (size_t i = 0; i < n; i++)
		mask |= UINT64_C(1) << caps[i];
	return mask;
}

int capabilities_keep(const int *caps, size_t n)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct now[_LINUX_CAPABILITY_U32S_3] = {{0}};
	uint64_t keep = mask_of(caps, n);
	if (syscall(SYS_capget, &head, now) < 0)
		return -errno;
	/* Those that there are not, and all of one who has none, fail. */
	for (unsigned long c = 0; c < CAPABILITIES_MAX; c++) {
		if ((keep >> c & 1) == 0)
			(void)prctl(PR_CAPBSET_DROP, c, 0, 0, 0);
	}
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	for (size_t i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
		uint32_t part = (uint32_t)(keep >> (32 * i));
		now[i].permitted &= part;
		now[i].effective = now[i].permitted;
		now[i].inheritable = 0;
	}
	return syscall(SYS_capset, &head, now) < 0 ? -errno : 0;
}

int capabilities_access(const char *path, int mode)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct now[_LINUX_CAPABILITY_U32S_3] = {{0}};
	if (syscall(SYS_capget, &head, now) < 0)
		return -errno;
	uint32_t before = now[0].effective;
	now[0].effective &= ~(UINT32_C(1) << CAP_DAC_OVERRIDE);
	if (syscall(SYS_capset, &head, now) < 0)
		return -errno;
	int rc = faccessat(AT_FDCWD, path, mode, AT_EACCESS) < 0 ? -errno : 0;
	now[0].effective = before;
	return syscall(SYS_capset, &head, now) < 0 && rc == 0 ? -errno : rc;
}
