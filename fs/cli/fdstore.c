/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/fdstore.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "fs/cli/notify.h"
#include "fs/handover.h"
#include "fs/init.h"
#include "fs/log.h"
#include "fs/nodes.h"

#define FIRST_FD 3 /* SD_LISTEN_FDS_START */
#define FDS_MAX  64

enum { FUSE, NODES, HANDOVER, COUNT };
static const char *const names[COUNT] = {"wasmocifs-fuse", "wasmocifs-nodes", "wasmocifs-handover"};

bool fdstore_keep(const struct held *h)
{
	const int fds[COUNT] = {h->fuse_fd, nodes_fd(h->nodes), handover_fd(h->handover)};
	const char *room = getenv("FDSTORE");
	bool all = room != NULL && strtol(room, NULL, 10) >= COUNT;
	for (size_t i = 0; all && i < COUNT; i++) {
		char state[128];
		/* The end of the connection is looked at by the keeper: FDPOLL is for others. */
		snprintf(state, sizeof(state), "FDSTORE=1\nFDNAME=%s\nFDPOLL=0", names[i]);
		all = notify_send_fd(state, fds[i]);
	}
	return all;
}

void fdstore_forget(void)
{
	for (size_t i = 0; i < COUNT; i++) {
		char state[128];
		snprintf(state, sizeof(state), "FDSTOREREMOVE=1\nFDNAME=%s", names[i]);
		notify_send(state);
	}
}

/* Descriptors of the variables, by our names; the rest is closed. */
static void listen_fds(int got[COUNT])
{
	const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
	const char *at = getenv("LISTEN_FDNAMES");
	for (size_t i = 0; i < COUNT; i++)
		got[i] = -1;
	if (pid == NULL || count == NULL || at == NULL || strtol(pid, NULL, 10) != getpid())
		return;
	long n = strtol(count, NULL, 10);
	for (long k = 0; k < n && k < FDS_MAX; k++) {
		int fd = FIRST_FD + (int)k;
		size_t len = strcspn(at, ":");
		(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
		bool taken = false;
		for (size_t i = 0; i < COUNT && !taken; i++) {
			taken = strlen(names[i]) == len && strncmp(names[i], at, len) == 0 &&
				got[i] < 0;
			if (taken)
				got[i] = fd;
		}
		if (!taken)
			close(fd);
		at += len + (at[len] == ':');
	}
}

#define MINOR_IS "fuse_connection:"

/* "fuse_connection:	57", which Linux has since 6.9 or so, as it can send again. */
static bool read_minor(int fuse_fd, unsigned *ret)
{
	char path[64];
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fuse_fd);
	if (file_read_small(AT_FDCWD, path, 4096, &text, &len) < 0)
		return false;
	const char *at = strstr(text, MINOR_IS), *number = at != NULL ? at + strlen(MINOR_IS) : "";
	char *after;
	errno = 0;
	unsigned long minor = strtoul(number, &after, 10);
	*ret = (unsigned)minor;
	return after != number && errno == 0 && minor <= UINT32_MAX;
}

/* Why it cannot be gone on with; NULL: it can. */
static const char *why_not(struct held *h, const int fds[COUNT], const char *identity,
			   struct err *err)
{
	if (fds[FUSE] < 0 || held_is_gone(h))
		return "it has ended";
	if (!read_minor(fds[FUSE], &h->minor))
		return "the kernel does not say which it is";
	if (nodes_attach(fds[NODES], &h->nodes, err) < 0 ||
	    handover_attach(fds[HANDOVER], &h->handover, err) < 0)
		return err->text;
	char *kept = handover_identity(h->handover);
	kept[HANDOVER_IDENTITY - 1] = '\0';
	return strcmp(kept, identity) == 0 ? NULL : "its sources or options were others";
}

void fdstore_take(const char *identity, struct held *ret)
{
	struct init_features features;
	struct err err = {""};
	int fds[COUNT];
	*ret = HELD_NONE;
	listen_fds(fds);
	(void)unsetenv("LISTEN_PID");
	(void)unsetenv("LISTEN_FDS");
	(void)unsetenv("LISTEN_FDNAMES");
	if (fds[FUSE] < 0 && fds[NODES] < 0 && fds[HANDOVER] < 0)
		return;
	ret->fuse_fd = fds[FUSE];
	const char *why = why_not(ret, fds, identity, &err);
	auto_close_(&fds[NODES]);
	auto_close_(&fds[HANDOVER]);
	if (why == NULL) {
		init_features(handover_init(ret->handover), &features);
		ret->resend = features.resend;
		ret->served = true;
		return;
	}
	log_warning("keeper", "what was kept of the mount is not gone on with: %s", why);
	held_release(ret);
	fdstore_forget();
}
