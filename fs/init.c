/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/init.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "fs/child.h"
#include "fs/fuse_uapi.h"

#define MAX_BACKGROUND  4096u
#define MAX_READAHEAD   (1u << 20)
#define MAX_WRITE       4096u /* the kernel's least; it wants room for one in each read */
#define MAX_PAGES       256u  /* of one READ: 1 MiB */
#define MAX_STACK_DEPTH 1u    /* so that an overlay over the mount still works */
/* Before 7.23 the answer ended here: no kernel that has FUSE_INIT_EXT is as old, and ours do. */
#define COMPAT_LEN 24u

/* AUTO_INVAL_DATA drops pages of a file with two mtimes; CACHE_SYMLINKS keeps a tag's old
 * target past its TTL; READDIRPLUS needs sizes we do not ask for: they are not taken. */
#define WANTED                                                                                     \
	(FUSE_ASYNC_READ | FUSE_ATOMIC_O_TRUNC | FUSE_BIG_WRITES | FUSE_ASYNC_DIO |                \
	 FUSE_MAX_PAGES | FUSE_PARALLEL_DIROPS | FUSE_INIT_EXT)

static uint64_t join_flags(uint32_t flags, uint32_t flags2)
{
	return (flags & FUSE_INIT_EXT) != 0 ? flags | (uint64_t)flags2 << 32 : flags;
}

/* What is shorter than ours is an older kernel's: what it does not say is 0. */
static bool parse(const void *request, size_t len, struct fuse_in_header *head,
		  struct fuse_init_in *in)
{
	memset(in, 0, sizeof(*in));
	if (len < sizeof(*head) + 2 * sizeof(uint32_t))
		return false;
	memcpy(head, request, sizeof(*head));
	len -= sizeof(*head);
	memcpy(in, (const unsigned char *)request + sizeof(*head),
	       len < sizeof(*in) ? len : sizeof(*in));
	return head->opcode == FUSE_INIT && in->major == FUSE_KERNEL_VERSION;
}

static void choose(const struct fuse_init_in *in, bool no_passthrough, struct uapi_init_out *out)
{
	uint64_t offer = join_flags(in->flags, in->flags2);

	*out = (struct uapi_init_out){
	    .major = FUSE_KERNEL_VERSION,
	    .minor = FUSE_KERNEL_MINOR_VERSION,
	    .max_readahead = in->max_readahead < MAX_READAHEAD ? in->max_readahead : MAX_READAHEAD,
	    .flags = (uint32_t)(offer & WANTED),
	    .max_background = MAX_BACKGROUND,
	    .congestion_threshold = MAX_BACKGROUND / 4 * 3,
	    .max_write = MAX_WRITE,
	    .time_gran = 1,
	    .max_pages = (offer & FUSE_MAX_PAGES) != 0 ? MAX_PAGES : 0,
	};
	if ((offer & UAPI_PASSTHROUGH) != 0 && !no_passthrough) {
		out->flags2 |= (uint32_t)(UAPI_PASSTHROUGH >> 32);
		out->max_stack_depth = MAX_STACK_DEPTH;
	}
}

size_t init_answer(const void *request, size_t len, bool no_passthrough,
		   unsigned char ret[HANDOVER_INIT_MAX])
{
	struct fuse_in_header head;
	struct fuse_init_in in;
	struct uapi_init_out out;

	if (!parse(request, len, &head, &in))
		return 0;
	choose(&in, no_passthrough, &out);
	size_t body = in.minor < 23 ? COMPAT_LEN : sizeof(out);
	struct fuse_out_header reply = {.len = (uint32_t)(sizeof(reply) + body),
					.unique = head.unique};
	memcpy(ret, &reply, sizeof(reply));
	memcpy(ret + sizeof(reply), &out, body);
	return sizeof(reply) + body;
}

/* The first request of a connection. */
static int receive(int fd, unsigned char *buf, size_t size, size_t *ret_len)
{
	int64_t until = clock_ms() + INIT_WAIT_MS;

	while (child_poll(fd, until)) {
		ssize_t n = read(fd, buf, size);

		if (n >= 0) {
			*ret_len = (size_t)n;
			return 0;
		}
		if (errno != EINTR && errno != EAGAIN && errno != ENOENT)
			return -errno;
	}
	return -ETIMEDOUT;
}

int init_serve(int fuse_fd, bool no_passthrough, struct handover_init *ret, struct err *err)
{
	unsigned char buf[FUSE_MIN_READ_BUFFER];
	size_t len = 0;
	int r = receive(fuse_fd, buf, sizeof(buf), &len);

	if (r < 0)
		return err_errno(err, r, "the kernel does not begin to speak with us");
	if (len > HANDOVER_INIT_MAX)
		return err_set(err, -EPROTO, "the kernel's first words are too many");
	ret->request_len = (uint32_t)len;
	memcpy(ret->request, buf, len);
	ret->reply_len = (uint32_t)init_answer(buf, len, no_passthrough, ret->reply);
	if (ret->reply_len == 0)
		return err_set(err, -EPROTO,
			       "the kernel speaks another FUSE protocol than version %d",
			       FUSE_KERNEL_VERSION);
	if (write(fuse_fd, ret->reply, ret->reply_len) < 0)
		return err_errno(err, -errno, "the kernel does not take our answer");
	return 0;
}

void init_features(const struct handover_init *init, struct init_features *ret)
{
	struct fuse_in_header head;
	struct fuse_init_in in;
	struct uapi_init_out out = {0};
	size_t body = sizeof(struct fuse_out_header);

	memset(ret, 0, sizeof(*ret));
	if (init->reply_len < body + COMPAT_LEN || init->reply_len > body + sizeof(out) ||
	    !parse(init->request, init->request_len, &head, &in))
		return;
	memcpy(&out, init->reply + body, init->reply_len - body);
	uint64_t flags = join_flags(out.flags, out.flags2);
	*ret = (struct init_features){
	    .proto_major = out.major,
	    .proto_minor = out.minor,
	    .parallel_dirops = (flags & FUSE_PARALLEL_DIROPS) != 0,
	    .passthrough = (flags & UAPI_PASSTHROUGH) != 0,
	    .init_ext = (flags & FUSE_INIT_EXT) != 0,
	    .resend = (join_flags(in.flags, in.flags2) & UAPI_HAS_RESEND) != 0,
	    .max_background = out.max_background,
	    .max_readahead = out.max_readahead,
	};
}

static int64_t read_seconds(const char *dir, const char *name)
{
	char path[256];
	AUTO_FREE char *text = NULL;
	size_t len = 0;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	/* Not there: a kernel without it. */
	if (file_read_small(AT_FDCWD, path, 32, &text, &len) < 0)
		return 0;
	unsigned long v = strtoul(text, NULL, 10);
	return v < UINT16_MAX ? (int64_t)v : UINT16_MAX;
}

int64_t init_request_limit_ms(const char *dir)
{
	int64_t usual = read_seconds(dir, "default_request_timeout");
	int64_t most = read_seconds(dir, "max_request_timeout");

	if (usual == 0 || (most > 0 && most < usual))
		usual = most;
	return usual * 1000;
}
