/* SPDX-License-Identifier: Apache-2.0 */
/* fuse_uapi — the few words of the kernel's FUSE protocol that came after
 * Debian 12's <linux/fuse.h> (7.38, Linux 6.2). Layer: fs/; leaf.
 *
 * Under names of our own, so that a newer <linux/fuse.h> does not clash. The
 * wire never changes, so neither do these.
 */
#pragma once

#include <stdint.h>

#include <linux/fuse.h>
#include <sys/ioctl.h>

/* 7.40, Linux 6.9: passthrough. */
#define UAPI_PASSTHROUGH       (UINT64_C(1) << 37) /* INIT flag; 32..63 go into flags2 */
#define UAPI_FOPEN_PASSTHROUGH (1u << 7)           /* of struct uapi_open_out */
#define UAPI_IOC_BACKING_OPEN  _IOW(229, 1, struct uapi_backing_map) /* the id, > 0 */
#define UAPI_IOC_BACKING_CLOSE _IOW(229, 2, uint32_t)

/* 7.40 too: unanswered requests are sent again on demand, with bit 63 of their number set. */
#define UAPI_HAS_RESEND    (UINT64_C(1) << 39)
#define UAPI_NOTIFY_RESEND 7
#define UAPI_UNIQUE_RESEND (UINT64_C(1) << 63)

struct uapi_backing_map {
	int32_t fd;
	uint32_t flags; /* must be 0 */
	uint64_t padding;
};

/* struct fuse_open_out, whose last word was padding up to 7.39. */
struct uapi_open_out {
	uint64_t fh;
	uint32_t open_flags; /* FOPEN_…; KEEP_CACHE beside PASSTHROUGH is EIO */
	int32_t backing_id;
};

/* struct fuse_init_out with what 7.40 put into its reserve. */
struct uapi_init_out {
	uint32_t major;
	uint32_t minor;
	uint32_t max_readahead;
	uint32_t flags;
	uint16_t max_background;
	uint16_t congestion_threshold;
	uint32_t max_write;
	uint32_t time_gran;
	uint16_t max_pages;
	uint16_t map_alignment;
	uint32_t flags2;
	uint32_t max_stack_depth; /* how far above a backing file's file system we stand */
	uint32_t unused[6];
};

_Static_assert(sizeof(struct uapi_open_out) == sizeof(struct fuse_open_out), "OPEN reply");
_Static_assert(sizeof(struct uapi_init_out) == sizeof(struct fuse_init_out), "INIT reply");
