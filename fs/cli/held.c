/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/held.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>

#include "base/file.h"
#include "fs/handover.h"
#include "fs/init.h"
#include "fs/log.h"
#include "fs/mount.h"
#include "fs/nodes.h"
#include "fs/page_drop.h"

void held_release(struct held *h)
{
	auto_close_(&h->fuse_fd);
	nodes_free(h->nodes);
	handover_free(h->handover);
	h->nodes = NULL;
	h->handover = NULL;
	h->fuse_fd = -1;
}

int held_open(struct held *h, const struct held_options *o, struct err *err)
{
	char way[32];
	AUTO_FD int place = steal_fd(o->place);
	snprintf(way, sizeof(way), "/proc/self/fd/%d", place);
	struct mount_options mount = {.mountpoint = o->mountpoint,
				      .way = place >= 0 ? way : NULL,
				      .source = h->title,
				      .allow_other = o->allow_other,
				      .noexec = o->noexec};
	struct init_features features;
	int rc = nodes_new(&h->nodes, err);
	if (rc == 0)
		rc = handover_new(&h->handover, err);
	if (rc == 0)
		rc = mount_open(&mount, &h->fuse_fd, err);
	if (rc == 0 && mount_state(o->mountpoint, &h->minor) != MOUNT_OURS)
		rc = err_set(err, -ENODEV, "%s: the mount was taken away at once", o->mountpoint);
	if (rc == 0)
		rc = init_serve(h->fuse_fd, o->no_passthrough, handover_init(h->handover), err);
	if (rc < 0) {
		held_release(h);
		return rc;
	}
	snprintf(handover_identity(h->handover), HANDOVER_IDENTITY, "%s", o->identity);
	init_features(handover_init(h->handover), &features);
	h->resend = features.resend && !o->no_resend;
	h->served = false;
	return 0;
}

bool held_is_gone(const struct held *h)
{
	struct pollfd p = {.fd = h->fuse_fd, .events = POLLIN};
	return poll(&p, 1, 0) > 0 && (p.revents & POLLERR) != 0;
}

bool held_unmount(const struct held *h, const char *mountpoint)
{
	bool gone = h->fuse_fd < 0;
	for (int lazy = 0; lazy < 2 && !gone; lazy++) {
		unsigned there;
		struct err err;
		int rc = 0;
		if (mount_state(mountpoint, &there) == MOUNT_OURS && there == h->minor)
			rc = mount_close(mountpoint, lazy, &err);
		gone = rc == 0;
		if (rc < 0 && (lazy || rc != -EBUSY))
			log_warning("mount", "%s", err.text);
	}
	return gone;
}

void held_abort(const struct held *h, const char *mountpoint)
{
	unsigned there;
	if (h->fuse_fd < 0 || held_is_gone(h) || mount_abort(h->minor) == 0)
		return;
	/* It aborts where it is busy, too. */
	if (mount_state(mountpoint, &there) == MOUNT_OURS && there == h->minor &&
	    (umount2(mountpoint, MNT_FORCE | UMOUNT_NOFOLLOW) == 0 || errno == EBUSY))
		return;
	page_drop_refuse(h->fuse_fd, HELD_REFUSE_MS);
}
