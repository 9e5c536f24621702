/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/arena.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC          UINT64_C(0x6e6f646573776f63)
#define VERSION        4u
#define SEALS          (F_SEAL_SHRINK | F_SEAL_GROW)

#define META_OFF       ((uint64_t)ARENA_PAGE)
#define META_PER_PAGE  (ARENA_PAGE / sizeof(struct meta))
#define TABLE_OFF      (META_OFF + (uint64_t)ARENA_PAGES * sizeof(struct meta))
#define PAGES_OFF      (TABLE_OFF + (uint64_t)ARENA_WORDS * sizeof(uint32_t))
#define FILE_LEN       (PAGES_OFF + (uint64_t)ARENA_PAGES * ARENA_PAGE)
#define WORDS_PER_PAGE (ARENA_PAGE / (uint32_t)sizeof(uint32_t))
#define GRANULES       (ARENA_PAGE / ARENA_GRANULE)

/* A list of pages: a link is a page's number + 1, so that 0 is its end. */
struct head {
	uint64_t magic;
	uint32_t version;
	uint32_t page_count;             /* pages that were ever taken */
	uint32_t empty;                  /* list of those given back */
	uint32_t partial[ARENA_CLASSES]; /* lists of those with a free block */
};

struct meta {
	uint32_t class; /* enum arena_class */
	uint32_t used;
	uint32_t next, prev;
	uint64_t mask[2]; /* a bit for each block in use */
};

struct arena {
	int fd;
	unsigned char *base;
};

_Static_assert(sizeof(struct meta) == 32 && ARENA_PAGE % sizeof(struct meta) == 0, "meta");
_Static_assert(sizeof(struct head) + ARENA_USER_LEN <= ARENA_PAGE, "head");

static struct head *head_of(const struct arena *a)
{
	return (struct head *)(void *)a->base;
}

static struct meta *meta_of(const struct arena *a, uint32_t page)
{
	return (struct meta *)(void *)(a->base + META_OFF) + page;
}

static uint32_t page_count(const struct arena *a)
{
	uint32_t n = head_of(a)->page_count;

	return n < ARENA_PAGES ? n : ARENA_PAGES;
}

static uint32_t class_len(enum arena_class class)
{
	return class >= ARENA_RECORD ? ARENA_RECORD_LEN : ARENA_GRANULE << (class - ARENA_TEXT_32);
}

/* The bits of a word of the mask that stand for blocks. */
static uint64_t mask_bits(enum arena_class class, uint32_t word)
{
	uint32_t blocks = ARENA_PAGE / class_len(class);
	uint32_t first = word * 64;

	if (blocks >= first + 64)
		return ~UINT64_C(0);
	return blocks > first ? (UINT64_C(1) << (blocks - first)) - 1 : 0;
}

static int commit(const struct arena *a, uint64_t off)
{
	int r;

	do
		r = fallocate(a->fd, 0, (off_t)off, ARENA_PAGE) < 0 ? -errno : 0;
	while (r == -EINTR);
	/* Whatever the reason, there is no memory: ENOSPC from a memory file too. */
	return r < 0 ? -ENOMEM : 0;
}

static void give_back(const struct arena *a, uint64_t off, uint64_t len)
{
	(void)fallocate(a->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)len);
}

static void list_push(struct arena *a, uint32_t *list, uint32_t page)
{
	struct meta *m = meta_of(a, page);
	uint32_t first = *list;

	m->prev = 0;
	m->next = first;
	if (first != 0 && first <= page_count(a))
		meta_of(a, first - 1)->prev = page + 1;
	*list = page + 1;
}

static void list_remove(struct arena *a, uint32_t *list, uint32_t page)
{
	struct meta *m = meta_of(a, page);
	uint32_t next = m->next, prev = m->prev;

	if (next != 0 && next <= page_count(a))
		meta_of(a, next - 1)->prev = prev;
	if (prev != 0 && prev <= page_count(a))
		meta_of(a, prev - 1)->next = next;
	else
		*list = next;
	m->next = m->prev = 0;
}

/* -1: none. */
static int64_t empty_page(struct arena *a)
{
	struct head *h = head_of(a);
	uint32_t link = h->empty;

	if (link != 0 && link <= page_count(a) && meta_of(a, link - 1)->class == ARENA_NONE) {
		list_remove(a, &h->empty, link - 1);
		return link - 1;
	}
	h->empty = 0;
	return h->page_count < ARENA_PAGES ? (int64_t)h->page_count : -1;
}

static int take_page(struct arena *a, enum arena_class class, uint32_t *ret)
{
	struct head *h = head_of(a);
	int64_t page = empty_page(a);
	int r;

	if (page < 0)
		return -ENFILE;
	r = commit(a, META_OFF + (uint64_t)page / META_PER_PAGE * ARENA_PAGE);
	if (r == 0)
		r = commit(a, PAGES_OFF + (uint64_t)page * ARENA_PAGE);
	struct meta *m = meta_of(a, (uint32_t)page);
	if (r < 0) {
		if (page < h->page_count)
			list_push(a, &h->empty, (uint32_t)page);
		return r;
	}
	memset(m, 0, sizeof(*m));
	m->class = class;
	if (page == h->page_count)
		h->page_count++;
	list_push(a, &h->partial[class], (uint32_t)page);
	*ret = (uint32_t)page;
	return 0;
}

/* A free bit of a page; -1: none, or the page is not of this class. */
static int free_bit(const struct arena *a, enum arena_class class, uint32_t page)
{
	const struct meta *m = meta_of(a, page);

	if (m->class != class)
		return -1;
	for (uint32_t word = 0; word < 2; word++) {
		uint64_t bits = ~m->mask[word] & mask_bits(class, word);

		if (bits != 0)
			return (int)(word * 64) + __builtin_ctzll(bits);
	}
	return -1;
}

int arena_get(struct arena *a, enum arena_class class, uint32_t *ret)
{
	struct head *h = head_of(a);
	uint32_t link = h->partial[class];
	uint32_t page = link - 1;
	int bit = link != 0 && link <= page_count(a) ? free_bit(a, class, page) : -1;

	if (bit < 0) {
		h->partial[class] = 0;
		int r = take_page(a, class, &page);
		if (r < 0)
			return r;
		bit = 0;
	}
	struct meta *m = meta_of(a, page);
	m->mask[bit / 64] |= UINT64_C(1) << (bit % 64);
	m->used++;
	if (free_bit(a, class, page) < 0)
		list_remove(a, &h->partial[class], page);
	*ret = page * GRANULES + (uint32_t)bit * (class_len(class) / ARENA_GRANULE);
	return 0;
}

/* Page and bit of a block in use. */
static bool locate(const struct arena *a, enum arena_class class, uint32_t block,
		   uint32_t *ret_page, uint32_t *ret_bit)
{
	uint32_t page = block / GRANULES;
	uint32_t each = class_len(class) / ARENA_GRANULE;
	uint32_t bit = block % GRANULES / each;

	if (block == 0 || page >= page_count(a) || block % GRANULES % each != 0)
		return false;
	const struct meta *m = meta_of(a, page);
	*ret_page = page;
	*ret_bit = bit;
	return m->class == class && (m->mask[bit / 64] >> (bit % 64) & 1) != 0;
}

/* Forgets the empty pages at the end, so that their meta goes back too. */
static void trim(struct arena *a)
{
	struct head *h = head_of(a);
	uint32_t n = page_count(a);

	while (n > 0 && meta_of(a, n - 1)->class == ARENA_NONE) {
		list_remove(a, &h->empty, --n);
		h->page_count = n;
		if (n % META_PER_PAGE == 0)
			give_back(a, META_OFF + (uint64_t)n / META_PER_PAGE * ARENA_PAGE,
				  ARENA_PAGE);
	}
}

void arena_put(struct arena *a, enum arena_class class, uint32_t block)
{
	struct head *h = head_of(a);
	uint32_t page, bit;

	if (class == ARENA_NONE || !locate(a, class, block, &page, &bit))
		return;
	struct meta *m = meta_of(a, page);
	bool was_full = free_bit(a, class, page) < 0;
	m->mask[bit / 64] &= ~(UINT64_C(1) << (bit % 64));
	if (was_full)
		list_push(a, &h->partial[class], page);
	m->used--;
	if (m->mask[0] != 0 || m->mask[1] != 0 || (m->next == 0 && m->prev == 0))
		return;
	list_remove(a, &h->partial[class], page);
	m->class = ARENA_NONE;
	list_push(a, &h->empty, page);
	give_back(a, PAGES_OFF + (uint64_t)page * ARENA_PAGE, ARENA_PAGE);
	trim(a);
}

void *arena_at(const struct arena *a, enum arena_class class, uint32_t block)
{
	uint32_t page, bit;

	if (class == ARENA_NONE || !locate(a, class, block, &page, &bit))
		return NULL;
	return a->base + PAGES_OFF + (uint64_t)block * ARENA_GRANULE;
}

uint32_t arena_next(const struct arena *a, enum arena_class class, uint32_t block)
{
	uint32_t each = class_len(class) / ARENA_GRANULE;
	uint32_t page = block / GRANULES;
	uint32_t bit = block == 0 ? 0 : block % GRANULES / each + 1;

	for (; page < page_count(a); page++, bit = 0) {
		const struct meta *m = meta_of(a, page);

		for (; m->class == class && bit < GRANULES / each; bit++)
			if ((m->mask[bit / 64] >> (bit % 64) & 1) != 0 && page + bit > 0)
				return page * GRANULES + bit * each;
	}
	return 0;
}

/* What a page's mask says, in the count and the lists. */
static void repair_page(struct arena *a, uint32_t page)
{
	struct head *h = head_of(a);
	struct meta *m = meta_of(a, page);

	m->next = m->prev = 0;
	if (m->class <= ARENA_NONE || m->class >= ARENA_CLASSES) {
		m->class = ARENA_NONE;
		m->mask[0] = m->mask[1] = 0;
	} else {
		m->mask[0] &= mask_bits(m->class, 0);
		m->mask[1] &= mask_bits(m->class, 1);
	}
	/* Nobody's, so that no block is 0. */
	if (page == 0 && m->class != ARENA_NONE)
		m->mask[0] |= 1;
	m->used = (uint32_t)(__builtin_popcountll(m->mask[0]) + __builtin_popcountll(m->mask[1]));
	if (m->used > 0) {
		if (free_bit(a, m->class, page) >= 0)
			list_push(a, &h->partial[m->class], page);
		return;
	}
	m->class = ARENA_NONE;
	list_push(a, &h->empty, page);
	give_back(a, PAGES_OFF + (uint64_t)page * ARENA_PAGE, ARENA_PAGE);
}

void arena_repair(struct arena *a)
{
	struct head *h = head_of(a);

	h->page_count = page_count(a);
	h->empty = 0;
	memset(h->partial, 0, sizeof(h->partial));
	for (uint32_t page = 0; page < h->page_count; page++)
		repair_page(a, page);
	trim(a);
}

enum arena_class arena_text_class(size_t len)
{
	for (enum arena_class class = ARENA_TEXT_32; len > 0 && class <= ARENA_TEXT_4K; class ++)
		if (len <= class_len(class))
			return class;
	return ARENA_NONE;
}

int arena_table_grow(struct arena *a, uint32_t n)
{
	return commit(a, TABLE_OFF + (uint64_t)((n - 1) / WORDS_PER_PAGE) * ARENA_PAGE);
}

void arena_table_shrink(struct arena *a, uint32_t n)
{
	uint64_t from = ((uint64_t)n * sizeof(uint32_t) + ARENA_PAGE - 1) / ARENA_PAGE * ARENA_PAGE;

	give_back(a, TABLE_OFF + from, PAGES_OFF - TABLE_OFF - from);
}

uint32_t *arena_table(const struct arena *a)
{
	return (uint32_t *)(void *)(a->base + TABLE_OFF);
}

static int map(int fd, struct arena **ret)
{
	struct arena *a = calloc(1, sizeof(*a));
	void *base;

	if (!a)
		return -ENOMEM;
	base = mmap(NULL, FILE_LEN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (base == MAP_FAILED) {
		free(a);
		return -ENOMEM;
	}
	a->fd = fd;
	a->base = base;
	*ret = a;
	return 0;
}

int arena_new(struct arena **ret, struct err *err)
{
	AUTO_FD int fd = memfd_create("wasmocifs-nodes", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct arena *a = NULL;
	int r = 0;

	if (fd < 0 || ftruncate(fd, FILE_LEN) < 0 || fcntl(fd, F_ADD_SEALS, SEALS) < 0)
		r = -errno;
	if (r == 0)
		r = map(fd, &a);
	if (r < 0)
		return err_errno(err, r, "no memory for the table of nodes");
	(void)steal_fd(&fd);
	r = commit(a, 0);
	if (r < 0) {
		arena_free(a);
		return err_errno(err, r, "no memory for the table of nodes");
	}
	head_of(a)->version = VERSION;
	head_of(a)->magic = MAGIC;
	*ret = a;
	return 0;
}

/* The seal is what makes every later access safe: nobody can cut the file. */
static int check_file(int fd)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;

	if (seals < 0 || (seals & F_SEAL_SHRINK) == 0 || fstat(fd, &st) < 0 ||
	    st.st_size != (off_t)FILE_LEN)
		return -EPROTO;
	return 0;
}

int arena_attach(int memfd, struct arena **ret, struct err *err)
{
	AUTO_FD int fd = fcntl(memfd, F_DUPFD_CLOEXEC, 0);
	struct arena *a = NULL;
	int r = fd < 0 ? -errno : check_file(fd);

	if (r == 0)
		r = map(fd, &a);
	if (r < 0)
		return err_errno(err, r, "no table of nodes");
	(void)steal_fd(&fd);
	if (head_of(a)->magic != MAGIC || head_of(a)->version != VERSION ||
	    head_of(a)->page_count > ARENA_PAGES) {
		arena_free(a);
		return err_set(err, -EPROTO, "the table of nodes is another version's, or broken");
	}
	*ret = a;
	return 0;
}

void arena_free(struct arena *a)
{
	if (!a)
		return;
	(void)munmap(a->base, FILE_LEN);
	close(a->fd);
	free(a);
}

int arena_fd(const struct arena *a)
{
	return a->fd;
}

uint64_t arena_bytes(const struct arena *a)
{
	struct stat st;

	return fstat(a->fd, &st) < 0 ? 0 : (uint64_t)st.st_blocks * 512;
}

void *arena_user(const struct arena *a)
{
	return a->base + ARENA_PAGE - ARENA_USER_LEN;
}
