/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC   UINT64_C(0x7265766f646e6168)
#define VERSION 2u
#define SEALS   (F_SEAL_SHRINK | F_SEAL_GROW)

struct head {
	uint64_t magic;
	uint32_t version;
	uint32_t generation;
	uint32_t progress[HANDOVER_BUFFERS];
	struct handover_init init;
	char identity[HANDOVER_IDENTITY];
};

#define HEAD_LEN 4096u
#define FILE_LEN (HEAD_LEN + HANDOVER_BUFFERS * HANDOVER_BUFFER + HANDOVER_MEMORY)
_Static_assert(sizeof(struct head) <= HEAD_LEN, "head");

struct handover {
	int fd;
	unsigned char *base;
};

static struct head *head_of(const struct handover *h)
{
	return (struct head *)(void *)h->base;
}

/* Takes fd over. */
static int map(int fd, struct handover **ret)
{
	AUTO_FD int owned = fd;
	struct handover *h = calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	void *base = mmap(NULL, FILE_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (base == MAP_FAILED) {
		free(h);
		return -ENOMEM;
	}
	h->fd = steal_fd(&owned);
	h->base = base;
	*ret = h;
	return 0;
}

int handover_new(struct handover **ret, struct err *err)
{
	AUTO_FD int fd = memfd_create("wasmocifs-handover", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int r = 0;
	/* All of its memory now: running out of it later would be a SIGBUS. */
	if (fd < 0 || fallocate(fd, 0, 0, FILE_LEN) < 0 || fcntl(fd, F_ADD_SEALS, SEALS) < 0)
		r = -errno;
	if (r == 0)
		r = map(steal_fd(&fd), ret);
	if (r < 0)
		return err_errno(err, r, "no memory for what a worker leaves behind");
	head_of(*ret)->version = VERSION;
	head_of(*ret)->magic = MAGIC;
	return 0;
}

int handover_attach(int memfd, struct handover **ret, struct err *err)
{
	AUTO_FD int fd = fcntl(memfd, F_DUPFD_CLOEXEC, 0);
	struct handover *h = NULL;
	struct stat st;
	int seals = fcntl(memfd, F_GET_SEALS);
	int r = fd < 0 ? -errno : 0;
	if (r == 0 && (seals < 0 || (seals & F_SEAL_SHRINK) == 0 || fstat(fd, &st) < 0 ||
		       st.st_size != (off_t)FILE_LEN))
		r = -EPROTO;
	if (r == 0)
		r = map(steal_fd(&fd), &h);
	if (r < 0)
		return err_errno(err, r, "nothing that a worker left behind");
	if (head_of(h)->magic != MAGIC || head_of(h)->version != VERSION ||
	    head_of(h)->init.request_len > HANDOVER_INIT_MAX ||
	    head_of(h)->init.reply_len > HANDOVER_INIT_MAX) {
		handover_free(h);
		return err_set(err, -EPROTO,
			       "what the worker before left is another version's, or broken");
	}
	*ret = h;
	return 0;
}

int handover_fd(const struct handover *h)
{
	return h->fd;
}

void handover_free(struct handover *h)
{
	if (!h)
		return;
	(void)munmap(h->base, FILE_LEN);
	close(h->fd);
	free(h);
}

struct handover_init *handover_init(struct handover *h)
{
	return &head_of(h)->init;
}

void *handover_buffer(struct handover *h, unsigned i)
{
	ASSERT(i < HANDOVER_BUFFERS);
	return h->base + HEAD_LEN + (size_t)i * HANDOVER_BUFFER;
}

uint32_t *handover_progress(struct handover *h, unsigned i)
{
	ASSERT(i < HANDOVER_BUFFERS);
	return &head_of(h)->progress[i];
}

/* In this order: a request that counts as there must not have another one's progress. */
void handover_done(struct handover *h, unsigned i)
{
	__atomic_store_n((uint32_t *)handover_buffer(h, i), 0, __ATOMIC_RELEASE);
	__atomic_store_n(handover_progress(h, i), 0, __ATOMIC_RELEASE);
}

void *handover_memory(struct handover *h, size_t len)
{
	ASSERT(len <= HANDOVER_MEMORY);
	return h->base + FILE_LEN - HANDOVER_MEMORY;
}

uint32_t *handover_generation(struct handover *h)
{
	return &head_of(h)->generation;
}

char *handover_identity(struct handover *h)
{
	return head_of(h)->identity;
}
