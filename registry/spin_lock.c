/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/spin_lock.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "registry/json_util.h"
#include "registry/manifest.h"

/* While it is read. */
struct reading {
	struct spin_lock *lock;
	bool oom;
};

bool spin_lock_is(const char *media_type)
{
	return media_type_is(media_type, "application/vnd.fermyon.spin.application.v1+config");
}

/* A string that is one, without a NUL; NULL. */
static const char *text_of(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);
	const char *s = json_string_value(v);
	return s && *s && strlen(s) == json_string_length(v) ? s : NULL;
}

/* The bytes of standard base64; NULL: it is none, or too long. New. */
static unsigned char *decode(const json_t *v, size_t *ret_len)
{
	const char *s = json_string_value(v);
	size_t len = json_string_length(v);
	size_t padding = len - strcspn(s, "=");
	if (len == 0 || len % 4 != 0 || padding > 2 || len / 4 * 3 > SPIN_INLINE_MAX)
		return NULL;
	unsigned char *out = malloc(len);
	if (!out)
		return NULL;
	/* Its result counts what the padding stands for. */
	if (EVP_DecodeBlock(out, (const unsigned char *)s, (int)len) != (int)(len / 4 * 3)) {
		free(out);
		return NULL;
	}
	*ret_len = len / 4 * 3 - padding;
	return out;
}

/* What stands in "inline", or is named by "digest". False: neither. */
static bool take_content(const json_t *content, struct spin_file *f)
{
	const json_t *data = json_object_get(content, "inline");
	const char *digest = text_of(content, "digest");
	if (json_is_string(data)) {
		f->bytes = decode(data, &f->len);
		return f->bytes && digest_of(DIGEST_SHA256, f->bytes, f->len, &f->digest) == 0;
	}
	return digest && digest_parse(digest, strlen(digest), &f->digest) == 0;
}

/* Takes over path. */
static void add(struct reading *r, const json_t *content, char *path)
{
	struct spin_file f = {.path = path};
	r->oom |= path == NULL;
	if (path == NULL || r->lock->n == SPIN_FILES_MAX || !take_content(content, &f)) {
		free(f.bytes);
		free(path);
		return;
	}
	r->lock->files[r->lock->n++] = f;
}

static void take_component(struct reading *r, const json_t *component)
{
	const char *id = text_of(component, "id");
	const json_t *file;
	size_t i;
	char *path;
	if (id && asprintf(&path, "%s.wasm", id) >= 0)
		add(r, json_object_get(component, "source"), path);
	json_array_foreach (json_object_get(component, "files"), i, file) {
		const char *name = text_of(file, "path");
		if (name)
			add(r, json_object_get(file, "content"), strdup(name));
	}
}

static int compare_files(const void *a, const void *b)
{
	const struct spin_file *x = a, *y = b;
	int r = digest_compare(&x->digest, &y->digest);
	return r ? r : strcmp(x->path, y->path);
}

/* Components share files: the same bytes under the same path are one file. */
static void sort(struct spin_lock *l)
{
	size_t n = 0;
	if (l->n > 1)
		qsort(l->files, l->n, sizeof(*l->files), compare_files);
	for (size_t i = 0; i < l->n; i++) {
		if (n > 0 && compare_files(&l->files[n - 1], &l->files[i]) == 0) {
			free(l->files[i].path);
			free(l->files[i].bytes);
			continue;
		}
		l->files[n++] = l->files[i];
	}
	l->n = n;
}

int spin_lock_parse(const char *bytes, size_t len, struct spin_lock **ret, struct err *err)
{
	AUTO_JSON json_t *root = NULL;
	const json_t *component;
	size_t i;
	int rc = json_util_parse(bytes, len, "the locked application", &root, err);
	if (rc < 0)
		return rc == -EFBIG ? -EPROTO : rc;
	struct reading r = {.lock = calloc(1, sizeof(*r.lock))};
	if (r.lock)
		r.lock->files = calloc(SPIN_FILES_MAX, sizeof(*r.lock->files));
	r.oom = !r.lock || !r.lock->files;
	json_array_foreach (json_object_get(root, "components"), i, component) {
		if (!r.oom)
			take_component(&r, component);
	}
	if (r.oom) {
		spin_lock_free(r.lock);
		return err_set(err, -ENOMEM, "no memory for a locked application");
	}
	sort(r.lock);
	*ret = r.lock;
	return 0;
}

void spin_lock_free(struct spin_lock *l)
{
	for (size_t i = 0; l && i < l->n; i++) {
		free(l->files[i].path);
		free(l->files[i].bytes);
	}
	if (l)
		free(l->files);
	free(l);
}

size_t spin_lock_files_of(const struct spin_lock *l, const struct digest *d, size_t *ret_first)
{
	size_t low = 0, high = l->n, n = 0;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (digest_compare(&l->files[middle].digest, d) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*ret_first = low;
	while (low + n < l->n && digest_equal(&l->files[low + n].digest, d))
		n++;
	return n;
}

const struct spin_file *spin_lock_inlined(const struct spin_lock *l, const struct digest *d)
{
	size_t i = 0, n = spin_lock_files_of(l, d, &i);
	for (; n > 0; n--, i++) {
		if (l->files[i].bytes)
			return &l->files[i];
	}
	return NULL;
}
