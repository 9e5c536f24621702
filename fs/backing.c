/* SPDX-License-Identifier: Apache-2.0 */
/* Whether and how a node is open stands in its record (node_open_*), where
 * another process finds it. What only this process can hold stands here: an
 * entry for each open node, with the blob that serves it.
 *
 * Lock order: mu, then the one of the nodes. */
#include "fs/backing.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/lock.h"
#include "cache/store.h"
#include "fs/fuse_uapi.h"
#include "fs/log.h"
#include "fs/nodes.h"
#include "fs/number_hash.h"
#include "fs/stream.h"

struct entry {
	uint64_t node;
	struct blob *blob;     /* a reference, or NULL: */
	struct stream *stream; /* which it is a user of */
	uint64_t at, size;     /* which of its bytes */
	int32_t backing_id;
	bool deciding; /* the first opener asks the kernel; the others wait */
	bool left_out; /* not in the table, for want of memory */
	UT_hash_handle hh;
};

/* What an opener came with. */
struct part {
	struct blob *blob; /* borrowed */
	uint64_t at, size;
	struct stream *stream; /* instead of the blob */
};

struct backing_table {
	int fuse_fd;
	struct nodes *nodes;
	atomic_bool enabled;
	struct lock mu;
	struct cond decided;
	struct entry *entries; /* guarded by mu */
};

static struct entry *entry_find(struct backing_table *t, uint64_t node) REQUIRES(t->mu)
{
	struct entry *e = NULL;

	HASH_FIND(hh, t->entries, &node, sizeof(node), e);
	return e;
}

/* NULL: no memory. */
static struct entry *entry_add(struct backing_table *t, uint64_t node, const struct part *part)
    REQUIRES(t->mu)
{
	struct entry *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->node = node;
	HASH_ADD(hh, t->entries, node, sizeof(e->node), e);
	if (e->left_out) {
		free(e);
		return NULL;
	}
	e->blob = part->blob ? blob_ref(part->blob) : NULL;
	e->stream = part->stream;
	if (e->stream)
		stream_use(e->stream);
	e->at = part->at;
	e->size = part->size;
	return e;
}

static void entry_free(struct entry *e)
{
	if (!e)
		return;
	blob_unref(e->blob);
	if (e->stream)
		stream_leave(e->stream);
	free(e);
}

/* The id, or 0: not in passthrough. */
static int32_t id_open(struct backing_table *t, const struct blob *blob)
{
	struct uapi_backing_map map = {.fd = blob_fd(blob)};
	int id = ioctl(t->fuse_fd, UAPI_IOC_BACKING_OPEN, &map);
	int r = id < 0 ? errno : EINVAL;

	if (id > 0)
		return id;
	switch (r) {
	case EPERM:
	case ENOSYS:
	case EOPNOTSUPP:
	case ENOTTY:
		if (atomic_exchange(&t->enabled, false))
			log_info("backing", "no passthrough: the kernel refuses it: %s",
				 strerror(r));
		break;
	default: /* this file only, as ELOOP: it lies on a stacked file system */
		log_debug("backing", "no passthrough for one file: %s", strerror(r));
	}
	return 0;
}

static void id_close(struct backing_table *t, int32_t id)
{
	uint32_t arg = (uint32_t)id;

	/* ENOENT would say that it is closed already. */
	if (id > 0)
		(void)ioctl(t->fuse_fd, UAPI_IOC_BACKING_CLOSE, &arg);
}

static struct node_served served_by(const struct blob *blob, const struct stream *stream,
				    uint64_t at)
{
	return (struct node_served){stream ? *stream_digest(stream) : *blob_digest(blob), at};
}

/* One open more of a node that is open, by us or by a process before us. */
static int join(struct backing_table *t, uint64_t node, uint64_t unique, const struct part *part,
		struct backing_open *ret) REQUIRES(t->mu)
{
	struct entry *e = entry_find(t, node);
	struct node_served served = e ? served_by(e->blob, e->stream, e->at)
				      : served_by(part->blob, part->stream, part->at);
	struct node_open open;
	int r = node_open_get(t->nodes, node, unique, &served, &open);

	if (r < 0)
		return r;
	if (!e)
		e = entry_add(t, node, part);
	if (!e) {
		(void)!node_open_put(t->nodes, open.fh, &open);
		return -ENOMEM;
	}
	e->backing_id = open.mode == NODE_OPEN_PASSTHROUGH ? open.backing_id : 0;
	*ret = (struct backing_open){.backing_id = e->backing_id,
				     .blob = e->blob ? blob_ref(e->blob) : NULL,
				     .fh = open.fh,
				     .joined = true};
	return 0;
}

/* The first open: the kernel is asked with the lock released. The entry and the
 * id go to *ret_left_out if there is no such node. */
static int decide(struct backing_table *t, uint64_t node, uint64_t unique, const struct part *part,
		  struct backing_open *ret, struct entry **ret_left_out) REQUIRES(t->mu)
{
	struct entry *e = entry_add(t, node, part);
	struct node_served served = served_by(part->blob, part->stream, part->at);
	struct node_open open = {0};
	int32_t id = 0;
	int r;

	if (!e)
		return -ENOMEM;
	e->deciding = true;
	lock_drop(&t->mu);
	/* The kernel knows whole files only. */
	if (part->blob && part->size > BACKING_MIN && part->at == 0 && atomic_load(&t->enabled))
		id = id_open(t, part->blob);
	lock_take(&t->mu);
	e->deciding = false;
	cond_broadcast(&t->decided);
	e->backing_id = id;
	r = node_open_set(t->nodes, node, unique, &served,
			  id > 0 ? NODE_OPEN_PASSTHROUGH : NODE_OPEN_ORDINARY, id, &open);
	if (r < 0) {
		HASH_DELETE(hh, t->entries, e);
		*ret_left_out = e;
		return r;
	}
	*ret = (struct backing_open){
	    .backing_id = id, .blob = e->blob ? blob_ref(e->blob) : NULL, .fh = open.fh};
	return 0;
}

static void get(struct backing_table *t, uint64_t node, uint64_t unique, const struct part *part,
		struct backing_open *ret)
{
	struct entry *e, *left_out = NULL;

	*ret = (struct backing_open){0};
	lock_take(&t->mu);
	while ((e = entry_find(t, node)) && e->deciding)
		cond_wait(&t->decided, &t->mu);
	if (join(t, node, unique, part, ret) == -ENOENT)
		(void)decide(t, node, unique, part, ret, &left_out);
	lock_drop(&t->mu);
	if (left_out)
		id_close(t, left_out->backing_id);
	entry_free(left_out);
}

void backing_get(struct backing_table *t, uint64_t node, uint64_t unique, uint64_t size,
		 struct blob *blob, uint64_t at, struct backing_open *ret)
{
	struct part part = {.blob = blob, .at = at, .size = size};

	get(t, node, unique, &part, ret);
}

void backing_get_stream(struct backing_table *t, uint64_t node, uint64_t unique, uint64_t size,
			struct stream *stream, struct backing_open *ret)
{
	struct part part = {.size = size, .stream = stream};

	get(t, node, unique, &part, ret);
}

struct stream *backing_stream(struct backing_table *t, uint64_t node)
{
	lock_take(&t->mu);
	struct entry *e = entry_find(t, node);
	struct stream *stream = e && e->stream ? stream_ref(e->stream) : NULL;
	lock_drop(&t->mu);
	return stream;
}

struct blob *backing_blob(struct backing_table *t, uint64_t node, uint64_t *ret_at,
			  uint64_t *ret_size)
{
	lock_take(&t->mu);
	struct entry *e = entry_find(t, node);
	struct blob *blob = e && e->blob ? blob_ref(e->blob) : NULL;
	*ret_at = e ? e->at : 0;
	*ret_size = e ? e->size : 0;
	lock_drop(&t->mu);
	return blob;
}

static void adopt(struct backing_table *t, uint64_t node, const struct part *part)
{
	lock_take(&t->mu);
	/* No memory: the next READ brings it again. */
	if (!entry_find(t, node))
		(void)entry_add(t, node, part);
	lock_drop(&t->mu);
}

void backing_adopt(struct backing_table *t, uint64_t node, uint64_t size, struct blob *blob,
		   uint64_t at)
{
	struct part part = {.blob = blob, .at = at, .size = size};

	adopt(t, node, &part);
}

void backing_adopt_stream(struct backing_table *t, uint64_t node, uint64_t size,
			  struct stream *stream)
{
	struct part part = {.size = size, .stream = stream};

	adopt(t, node, &part);
}

/* One open less. An opener may come in between: it gets an id of its own. */
static void put_down(struct backing_table *t, int r, const struct node_open *open, struct entry *e)
{
	if (r == 0 && open->opens == 0 && open->mode == NODE_OPEN_PASSTHROUGH)
		id_close(t, open->backing_id);
	entry_free(e);
}

/* The entry that nobody needs any more. */
static struct entry *entry_take(struct backing_table *t, int r, const struct node_open *open)
    REQUIRES(t->mu)
{
	struct entry *e = r == 0 && open->opens == 0 ? entry_find(t, open->node) : NULL;

	if (!e || e->deciding)
		return NULL;
	HASH_DELETE(hh, t->entries, e);
	return e;
}

void backing_put(struct backing_table *t, uint64_t fh)
{
	struct node_open open = {0};

	lock_take(&t->mu);
	int r = node_open_put(t->nodes, fh, &open);
	struct entry *e = entry_take(t, r, &open);
	lock_drop(&t->mu);
	put_down(t, r, &open, e);
}

void backing_undo(struct backing_table *t, uint64_t unique)
{
	struct node_open open = {0};

	lock_take(&t->mu);
	int r = node_open_undo(t->nodes, unique, &open);
	struct entry *e = entry_take(t, r, &open);
	lock_drop(&t->mu);
	put_down(t, r, &open, e);
}

/* An opener that has had an id may not have put it down yet; there are never as many at once. */
#define STRAYS_BEYOND 256

struct known_ids {
	int32_t *v;
	size_t n, room;
	bool complete;
};

static void note_id(void *ctx, const struct node *node, const struct node_open *open,
		    const struct node_served *served)
{
	struct known_ids *k = ctx;

	(void)served;
	if (!node || open->mode != NODE_OPEN_PASSTHROUGH)
		return;
	if (k->n == k->room) {
		size_t room = 2 * k->room + 64;
		int32_t *v = reallocarray(k->v, room, sizeof(*v));

		k->complete = k->complete && v;
		if (!v)
			return;
		k->v = v;
		k->room = room;
	}
	k->v[k->n++] = open->backing_id;
}

static int by_id(const void *a, const void *b)
{
	const int32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Every id that was ever given: a close is about a microsecond. */
void backing_close_strays(struct backing_table *t)
{
	struct known_ids k = {.complete = true};
	int32_t high = nodes_backing_high(t->nodes);

	nodes_each_open(t->nodes, note_id, &k);
	if (k.n > 0)
		qsort(k.v, k.n, sizeof(*k.v), by_id);
	for (int32_t id = 1; k.complete && high > 0 && id <= high + STRAYS_BEYOND; id++)
		if (k.n == 0 || !bsearch(&id, k.v, k.n, sizeof(*k.v), by_id))
			id_close(t, id);
	free(k.v);
}

bool backing_enabled(const struct backing_table *t)
{
	return atomic_load(&t->enabled);
}

int backing_new(int fuse_fd, bool enabled, struct nodes *nodes, struct backing_table **ret)
{
	struct backing_table *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->fuse_fd = fuse_fd;
	t->nodes = nodes;
	atomic_init(&t->enabled, enabled);
	lock_init(&t->mu);
	cond_init(&t->decided);
	*ret = t;
	return 0;
}

void backing_free(struct backing_table *t)
{
	struct entry *e, *next;

	if (!t)
		return;
	HASH_ITER(hh, t->entries, e, next)
	{
		HASH_DELETE(hh, t->entries, e);
		id_close(t, e->backing_id);
		entry_free(e);
	}
	cond_release(&t->decided);
	lock_release(&t->mu);
	free(t);
}
