/* SPDX-License-Identifier: Apache-2.0 */
/* The memory that stands in for a full disk. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "base/units.h"
#include "cache/store_impl.h"

/* The digest of the memory blob that nobody has had for longest. */
static bool oldest_unused(struct store *s, uint64_t size, struct digest *ret)
{
	lock_take(&s->lock);
	const struct blob *b = TAILQ_FIRST(&s->idle_memory);
	bool full =
	    size > s->memory_budget - s->memory_bytes || s->n_idle_memory >= s->idle_memory_max;
	if (full && b != NULL)
		*ret = b->digest;
	lock_drop(&s->lock);
	return full && b != NULL;
}

int memory_take(struct store *s, uint64_t size, struct err *err)
{
	struct digest unused;
	while (size <= s->memory_budget && oldest_unused(s, size, &unused))
		(void)blobs_forget(s, &unused, 0);
	lock_take(&s->lock);
	uint64_t used = s->memory_bytes;
	bool fits = size <= s->memory_budget - used;
	if (fits)
		s->memory_bytes += size;
	lock_drop(&s->lock);
	if (fits)
		return 0;
	char want[UNITS_SIZE_MAX], have[UNITS_SIZE_MAX], budget[UNITS_SIZE_MAX];
	units_format_size(size, want);
	units_format_size(used, have);
	units_format_size(s->memory_budget, budget);
	return err_wrap(err, -ENOSPC, "%s do not fit into memory either (%s of %s in use)", want,
			have, budget);
}

void memory_return(struct store *s, uint64_t size)
{
	lock_take(&s->lock);
	ASSERT(s->memory_bytes >= size);
	s->memory_bytes -= size;
	lock_drop(&s->lock);
}

void memory_note(struct store *s, const struct err *why)
{
	if (why == NULL)
		return;
	lock_take(&s->lock);
	memcpy(s->memory_cause, why->text, sizeof(s->memory_cause));
	lock_drop(&s->lock);
}

int memory_file(void)
{
	int fd = memfd_create("wasmocifs-blob", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	return fd < 0 ? -errno : fd;
}

int memory_blob(struct store *s, const struct digest *d, int fd, uint64_t size, struct blob **ret)
{
	AUTO_FD int owned = fd;
	(void)fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
	/* Sealed, it may serve by the descriptor that wrote it where there is
	 * no /proc. */
	int reader = open_again(fd);
	if (reader < 0)
		reader = steal_fd(&owned);
	struct stat st;
	if (fstat(reader, &st) < 0) {
		int rc = -errno;
		close(reader);
		memory_return(s, size);
		return rc;
	}
	struct file_id id;
	file_id_of(&st, &id);
	int rc = blobs_add(s, d, reader, &id, BLOB_MEMORY, ret);
	/* Another thread's blob is as good, and has its own share. */
	if (rc < 0 || !file_id_equal(&(*ret)->id, &id))
		memory_return(s, size);
	return rc;
}
