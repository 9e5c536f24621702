/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of a node and the nodes above it. */
#include <errno.h>
#include <string.h>

#include "fs/nodes_impl.h"

#define DEPTH_MAX 4096u

/* Puts "name/" before *pos of a buffer that is filled from its end. */
static int prepend(const struct nodes *n, const struct record *rec, char *buf, size_t *pos)
{
	const char *text = record_text(n, rec);
	size_t slash = *pos < NODE_REPO_MAX - 1 ? 1 : 0;

	if (!text)
		return -ESTALE;
	if (*pos < rec->text_len + slash)
		return -ENAMETOOLONG;
	*pos -= rec->text_len + slash;
	memcpy(buf + *pos, text, rec->text_len);
	if (slash)
		buf[*pos + rec->text_len] = '/';
	return 0;
}

static int repo_of_tree(const struct nodes *n, const struct record *rec, char ret[NODE_REPO_MAX])
{
	size_t pos = NODE_REPO_MAX - 1;

	ret[pos] = '\0';
	for (uint32_t depth = 0; depth < DEPTH_MAX; depth++) {
		if (rec->kind == NODE_NAMESPACE) {
			int r = prepend(n, rec, ret, &pos);
			if (r < 0)
				return r;
		}
		if (rec->kind == NODE_ROOT || rec->kind == NODE_HOST) {
			memmove(ret, ret + pos, NODE_REPO_MAX - pos);
			return 0;
		}
		rec = record_at(n, rec->parent);
		if (!rec)
			break;
	}
	return -ESTALE;
}

/* Content's text is PLACE, or HOST TEXT_HOST_END PLACE. */
static int text_of_content(const struct nodes *n, const struct record *rec, const char **ret,
			   size_t *ret_len, size_t *ret_host_len)
{
	const char *text = record_text(n, rec);

	if (!text || rec->text_len >= NODE_REPO_MAX)
		return -ESTALE;
	const char *end = memchr(text, TEXT_HOST_END, rec->text_len);
	*ret = text;
	*ret_len = rec->text_len;
	*ret_host_len = end ? (size_t)(end - text) : 0;
	return 0;
}

static int place_of_content(const struct nodes *n, const struct record *rec,
			    char ret[NODE_REPO_MAX])
{
	const char *text;
	size_t len, host;
	int r = text_of_content(n, rec, &text, &len, &host);

	if (r < 0)
		return r;
	if (host > 0) {
		text += host + 1;
		len -= host + 1;
	}
	memcpy(ret, text, len);
	ret[len] = '\0';
	return 0;
}

static int repo_of_content(const struct nodes *n, const struct record *rec, char ret[NODE_REPO_MAX])
{
	int r = place_of_content(n, rec, ret);

	if (r == 0)
		ret[strcspn(ret, " ")] = '\0';
	return r;
}

static int put_host(const char *text, size_t len, char ret[NODE_HOST_SIZE])
{
	if (!text || len >= NODE_HOST_SIZE)
		return -ESTALE;
	memcpy(ret, text, len);
	ret[len] = '\0';
	return 0;
}

static int host_of(const struct nodes *n, const struct record *rec, char ret[NODE_HOST_SIZE])
{
	const char *text;
	size_t len, host;

	if (node_kind_is_content(rec->kind)) {
		int r = text_of_content(n, rec, &text, &len, &host);
		return r < 0 ? r : put_host(text, host, ret);
	}
	for (uint32_t depth = 0; rec && depth < DEPTH_MAX; depth++) {
		if (rec->kind == NODE_HOST)
			return put_host(record_text(n, rec), rec->text_len, ret);
		if (rec->kind == NODE_ROOT)
			return put_host("", 0, ret);
		rec = record_at(n, rec->parent);
	}
	return -ESTALE;
}

int node_host(struct nodes *n, uint64_t id, char ret[NODE_HOST_SIZE], bool *ret_itself)
{
	const struct record *rec;
	int r = -ESTALE;

	lock_take(&n->mu);
	rec = record_of(n, id);
	if (rec) {
		*ret_itself = rec->kind == NODE_HOST;
		r = host_of(n, rec, ret);
	}
	lock_drop(&n->mu);
	return r;
}

int node_repo(struct nodes *n, uint64_t id, char ret[NODE_REPO_MAX])
{
	const struct record *rec;
	int r = -ESTALE;

	lock_take(&n->mu);
	rec = record_of(n, id);
	if (rec)
		r = node_kind_is_content(rec->kind) ? repo_of_content(n, rec, ret)
						    : repo_of_tree(n, rec, ret);
	lock_drop(&n->mu);
	return r;
}

int node_content_place(struct nodes *n, uint64_t id, char ret[NODE_REPO_MAX])
{
	const struct record *rec;
	int r = -ESTALE;

	lock_take(&n->mu);
	rec = record_of(n, id);
	if (rec && node_kind_is_content(rec->kind))
		r = place_of_content(n, rec, ret);
	lock_drop(&n->mu);
	return r;
}

int node_content_repo(struct nodes *n, uint64_t id, char ret[NODE_REPO_MAX])
{
	int r = node_content_place(n, id, ret);

	if (r == 0)
		ret[strcspn(ret, " ")] = '\0';
	return r;
}

/* The nearest NODE_TAG or NODE_MANIFEST at or above a slot; 0: none. */
static uint32_t image_above(const struct nodes *n, uint32_t slot)
{
	const struct record *rec;

	for (uint32_t depth = 0; depth < DEPTH_MAX && (rec = record_at(n, slot)); depth++) {
		if (rec->kind == NODE_TAG || rec->kind == NODE_MANIFEST)
			return slot;
		slot = rec->parent;
	}
	return 0;
}

int node_image(struct nodes *n, uint64_t id, struct node *ret)
{
	uint32_t slot;
	int r = -ESTALE;

	lock_take(&n->mu);
	if (record_of(n, id)) {
		slot = image_above(n, (uint32_t)id);
		r = slot == 0 ? -ENOENT : record_copy(n, slot, record_at(n, slot), ret);
	}
	lock_drop(&n->mu);
	return r;
}

int node_manifest(struct nodes *n, uint64_t id, struct digest *ret)
{
	struct node image;
	int r = node_image(n, id, &image);

	if (r == 0 && !digest_is_set(&image.digest))
		r = -ENOENT;
	if (r == 0)
		*ret = image.digest;
	return r;
}
