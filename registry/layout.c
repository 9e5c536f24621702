/* SPDX-License-Identifier: Apache-2.0 */
/* A local OCI image layout as a source of one repository. Its files are
 * registry/layout_dir.h's; here they become answers.
 *
 * Lock: `lock` guards the health, and is a leaf. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/lock.h"
#include "registry/json_util.h"
#include "registry/layout_dir.h"
#include "registry/layout_index.h"
#include "registry/layout_referrers.h"
#include "registry/manifest.h"
#include "registry/source_impl.h"

#define PIECE (256u << 10) /* of a blob, between two looks at the call */

struct layout {
	struct source source;
	struct layout_dir dir;
	char *origin, *title;
	char repo[REPOSITORY_MAX];
	struct lock lock;
	struct source_health health; /* guarded by lock */
};

static struct layout *layout_of(struct source *s)
{
	return (struct layout *)s; /* its first member */
}

static const struct layout *layout_of_const(const struct source *s)
{
	return (const struct layout *)s;
}

/* A call that ended is no sign of the layout's health. */
static void note(struct layout *l, int rc, const struct err *err)
{
	if (rc == -ECANCELED || rc == -ETIMEDOUT)
		return;
	bool good = rc == 0 || rc == -ENOENT;
	lock_take(&l->lock);
	l->health.last_errno = good ? 0 : -rc;
	l->health.text[0] = '\0';
	if (!good)
		memcpy(l->health.text, err->text, sizeof(l->health.text));
	l->health.since_ms = clock_wall_ms();
	lock_drop(&l->lock);
}

/* The end of every question: who was asked goes before the words. */
static int answer(struct layout *l, int rc, struct err *own, struct err *err)
{
	if (rc < 0)
		rc = err_wrap(own, rc, "%s", l->title);
	note(l, rc, own);
	if (rc < 0 && err != NULL)
		memcpy(err->text, own->text, sizeof(err->text));
	return rc;
}

/* The type of a document that index.json says nothing of (it is listed in
 * another index). What never was meant to be a manifest is not there as one. */
static int document_type(const struct document *doc, char ret[MEDIA_TYPE_MAX], struct err *err)
{
	struct manifest *m = NULL;
	int rc = manifest_parse(doc->bytes, doc->desc.size, &doc->desc.digest, "", &m, err);

	if (rc == 0)
		memcpy(ret, m->desc.media_type, MEDIA_TYPE_MAX);
	manifest_unref(m);
	if (rc != -EPROTO)
		return rc;
	AUTO_JSON json_t *o = NULL;
	if (json_util_parse(doc->bytes, doc->desc.size, "it", &o, NULL) == 0 &&
	    json_object_get(o, "schemaVersion") != NULL)
		return rc;
	return err_set(err, -ENOENT, "there is a blob of this digest, but no manifest");
}

/* `entry` may be NULL: not listed in index.json. */
static int read_document(const struct layout *l, const struct digest *d,
			 const struct manifest_entry *entry, struct document *ret, struct err *err)
{
	struct document doc = {.desc.digest = *d};
	size_t len = 0;
	int rc = layout_dir_read_blob(&l->dir, d, &doc.bytes, &len, err);
	if (rc < 0)
		return rc;
	doc.desc.size = len;
	if (entry != NULL && entry->desc.size != len)
		rc = err_set(err, -EBADMSG, "a manifest of %zu bytes, listed with %llu", len,
			     (unsigned long long)entry->desc.size);
	else if (entry != NULL && entry->desc.media_type[0] != '\0')
		memcpy(doc.desc.media_type, entry->desc.media_type, MEDIA_TYPE_MAX);
	else
		rc = document_type(&doc, doc.desc.media_type, err);
	if (rc < 0)
		document_release(&doc);
	else
		*ret = doc;
	return rc;
}

static int entry_of_tag(const struct manifest *index, const char *tag,
			const struct manifest_entry **ret, struct err *err)
{
	const struct manifest_entry *e = layout_index_by_tag(index, tag);

	if (e == NULL)
		return err_set(err, -ENOENT, "index.json has no tag %s", tag);
	if (e->fault != NULL)
		return err_set(err, -EPROTO, "tag %s: its entry in index.json: %s", tag, e->fault);
	if (!digest_is_set(&e->desc.digest))
		return err_set(err, -EOPNOTSUPP, "tag %s: %s cannot be verified", tag,
			       e->digest_text);
	*ret = e;
	return 0;
}

static int check_repo(const struct layout *l, const char *repo, struct call *call, struct err *err)
{
	if (strcmp(repo, l->repo) != 0)
		return err_set(err, -ENOENT, "there is one repository, %s, and no %s", l->repo,
			       repo);
	return call_check(call, err);
}

/* Questions. Each is a function that finds the answer, and an operation that
 * puts it in words. */

/* What index.json lists, as it is. */
static int describe_entry(const struct layout *l, const struct manifest_entry *e,
			  struct descriptor *ret, struct err *err)
{
	struct document doc;
	uint64_t size = 0;
	AUTO_FD int fd = layout_dir_open_blob(&l->dir, &e->desc.digest, &size, err);

	if (fd < 0)
		return fd;
	if (e->desc.media_type[0] == '\0') {
		int rc = read_document(l, &e->desc.digest, e, &doc, err);
		if (rc < 0)
			return rc;
		*ret = doc.desc;
		document_release(&doc);
		return 0;
	}
	*ret = e->desc;
	if (size != e->desc.size)
		return err_set(err, -EBADMSG, "listed with the size %llu, has %llu",
			       (unsigned long long)e->desc.size, (unsigned long long)size);
	return 0;
}

static int find_tag(struct layout *l, const char *tag, struct descriptor *ret, struct err *err)
{
	struct manifest *index;
	const struct manifest_entry *e;
	int rc = layout_dir_index(&l->dir, &index, err);
	if (rc < 0)
		return rc;
	rc = entry_of_tag(index, tag, &e, err);
	if (rc == 0) {
		rc = describe_entry(l, e, ret, err);
		if (rc == -EBADMSG)
			rc = err_wrap(err, rc, "tag %s", tag);
	}
	manifest_unref(index);
	return rc;
}

static int layout_resolve(struct source *s, const char *repo, const char *tag,
			  const struct descriptor *known, struct call *call, struct descriptor *ret,
			  struct err *err)
{
	struct layout *l = layout_of(s);
	struct err own = {""};
	int rc = check_repo(l, repo, call, &own);

	(void)known;
	if (rc == 0)
		rc = find_tag(l, tag, ret, &own);
	return answer(l, rc, &own, err);
}

static int find_document(struct layout *l, const char *reference, struct document *ret,
			 struct err *err)
{
	struct manifest *index;
	const struct manifest_entry *e;
	struct digest d;
	int rc = layout_dir_index(&l->dir, &index, err);
	if (rc < 0)
		return rc;
	if (strchr(reference, ':') != NULL) {
		rc = digest_parse(reference, strlen(reference), &d);
		if (rc < 0)
			rc = err_set(err, rc == -EINVAL ? -ENOENT : rc, "%s cannot be verified",
				     reference);
		e = rc == 0 ? layout_index_by_digest(index, &d) : NULL;
	} else {
		rc = entry_of_tag(index, reference, &e, err);
		if (rc == 0)
			d = e->desc.digest;
	}
	if (rc == 0)
		rc = read_document(l, &d, e, ret, err);
	manifest_unref(index);
	return rc;
}

static int layout_document(struct source *s, const char *repo, const char *reference,
			   struct call *call, struct document *ret, struct err *err)
{
	struct layout *l = layout_of(s);
	struct err own = {""};
	int rc = check_repo(l, repo, call, &own);

	if (rc == 0)
		rc = find_document(l, reference, ret, &own);
	return answer(l, rc, &own, err);
}

static int find_size(struct layout *l, const struct digest *d, struct descriptor *ret,
		     bool *ret_is_manifest, struct err *err)
{
	struct descriptor found = {.digest = *d};
	struct manifest *index;
	AUTO_FD int fd = layout_dir_open_blob(&l->dir, d, &found.size, err);
	if (fd < 0)
		return fd;
	int rc = layout_dir_index(&l->dir, &index, err);
	if (rc < 0)
		return rc;
	const struct manifest_entry *e = layout_index_by_digest(index, d);
	if (e != NULL)
		memcpy(found.media_type, e->desc.media_type, MEDIA_TYPE_MAX);
	if (ret_is_manifest != NULL)
		*ret_is_manifest = e != NULL;
	manifest_unref(index);
	*ret = found;
	return 0;
}

static int layout_stat(struct source *s, const char *repo, const struct digest *d, bool doubted,
		       struct call *call, struct descriptor *ret, bool *ret_is_manifest,
		       struct err *err)
{
	(void)doubted;
	struct layout *l = layout_of(s);
	struct err own = {""};
	int rc = check_repo(l, repo, call, &own);

	if (rc == 0)
		rc = find_size(l, d, ret, ret_is_manifest, &own);
	return answer(l, rc, &own, err);
}

/* One transfer, as it goes. */
struct stream {
	int fd;
	uint64_t at, end;
	const struct sink *sink;
	struct call *call;
	_Atomic uint64_t *progress; /* NULL: nobody counts */
	bool refused;               /* by the sink: no fault of the layout */
};

static int stream_run(struct stream *t, struct err *err)
{
	AUTO_FREE char *piece = malloc(PIECE);

	if (piece == NULL)
		return err_set(err, -ENOMEM, "no memory for a transfer");
	int rc = t->sink->begin(t->sink->ctx, t->at, err);
	t->refused = rc < 0;
	while (rc >= 0 && t->at < t->end) {
		uint64_t left = t->end - t->at;
		size_t n = left < PIECE ? (size_t)left : PIECE;
		rc = call_check(t->call, err);
		if (rc < 0)
			break;
		int64_t got = file_pread_full(t->fd, piece, n, t->at);
		if (got < 0)
			return err_errno(err, -EIO, "reading a blob");
		if ((size_t)got < n)
			return err_set(err, -EBADMSG, "a blob became shorter while it was read");
		rc = t->sink->write(t->sink->ctx, piece, n, err);
		t->refused = rc < 0;
		t->at += n;
		if (t->progress != NULL && rc >= 0)
			*t->progress += n;
	}
	return rc < 0 ? rc : 0;
}

static int layout_blob(struct source *s, const char *repo, const struct digest *d, uint64_t size,
		       uint64_t offset, const struct sink *sink, struct call *call,
		       _Atomic uint64_t *progress, struct err *err)
{
	struct layout *l = layout_of(s);
	struct err own = {""};
	uint64_t is = 0;
	AUTO_FD int fd = -1;
	int rc = check_repo(l, repo, call, &own);

	ASSERT(offset < size);
	if (rc == 0) {
		fd = layout_dir_open_blob(&l->dir, d, &is, &own);
		rc = fd < 0 ? fd : 0;
	}
	if (rc == 0 && is != size)
		rc = err_set(&own, -EBADMSG, "a blob of %llu bytes, declared with %llu",
			     (unsigned long long)is, (unsigned long long)size);
	if (rc == 0) {
		struct stream t = {fd, offset, size, sink, call, progress, false};
		rc = stream_run(&t, &own);
		if (t.refused) {
			if (err != NULL)
				*err = own;
			return rc;
		}
	}
	return answer(l, rc, &own, err);
}

static int layout_tags(struct source *s, const char *repo, bool first_page, struct call *call,
		       struct names *ret, bool *ret_whole, struct err *err)
{
	struct layout *l = layout_of(s);
	struct err own = {""};
	struct manifest *index = NULL;
	int rc = check_repo(l, repo, call, &own);

	if (rc == 0)
		rc = layout_dir_index(&l->dir, &index, &own);
	if (rc == 0) {
		rc = layout_index_tags(index, ret);
		if (rc < 0)
			(void)err_set(&own, rc, "no memory for the tags");
	}
	manifest_unref(index);
	(void)first_page; /* there is only one */
	*ret_whole = true;
	return answer(l, rc, &own, err);
}

/* One that is damaged is nobody's to ask for. */
static int find_untagged(const struct layout *l, const struct manifest *index,
			 struct descriptor **ret, size_t *ret_n, struct err *err)
{
	struct descriptor *v = calloc(index->layer_count + 1, sizeof(*v));
	size_t n = 0;

	if (v == NULL)
		return err_set(err, -ENOMEM, "no memory for the manifests");
	for (size_t i = 0; i < index->layer_count; i++) {
		const struct manifest_entry *e = &index->layers[i];
		if (layout_index_is_untagged(e) && digest_is_set(&e->desc.digest) &&
		    layout_index_by_digest(index, &e->desc.digest) == e &&
		    describe_entry(l, e, &v[n], NULL) == 0 &&
		    media_type_is_manifest(v[n].media_type))
			n++;
	}
	*ret = v;
	*ret_n = n;
	return 0;
}

static int layout_untagged(struct source *s, const char *repo, struct call *call,
			   struct descriptor **ret, size_t *ret_n, struct err *err)
{
	struct layout *l = layout_of(s);
	struct err own = {""};
	struct manifest *index = NULL;
	int rc = check_repo(l, repo, call, &own);

	if (rc == 0)
		rc = layout_dir_index(&l->dir, &index, &own);
	if (rc == 0)
		rc = find_untagged(l, index, ret, ret_n, &own);
	manifest_unref(index);
	return answer(l, rc, &own, err);
}

static int layout_referrers(struct source *s, const char *repo, const struct digest *d,
			    struct call *call, struct referrers *ret, struct err *err)
{
	struct layout *l = layout_of(s);
	struct err own = {""};
	int rc = check_repo(l, repo, call, &own);

	if (rc == 0)
		rc = layout_referrers_find(&l->dir, d, call, ret, &own);
	return answer(l, rc, &own, err);
}

static int layout_catalog(struct source *s, struct call *call, struct names *ret, bool *ret_whole,
			  struct err *err)
{
	const struct layout *l = layout_of_const(s);
	struct names found = {0};
	int rc = call_check(call, err);
	if (rc < 0)
		return rc;
	rc = names_add(&found, l->repo, strlen(l->repo));
	if (rc < 0)
		return err_set(err, rc, "no memory for the catalog");
	*ret = found;
	*ret_whole = true;
	return 0;
}

/* What it is */

static const char *layout_origin(const struct source *s)
{
	return layout_of_const(s)->origin;
}

static const char *layout_title(const struct source *s)
{
	return layout_of_const(s)->title;
}

static bool layout_is_local(const struct source *s)
{
	(void)s;
	return true;
}

static int layout_repository(const struct source *s, const char *path, char ret[REPOSITORY_MAX])
{
	size_t len = strlen(path);

	(void)s;
	if (len >= REPOSITORY_MAX)
		return -ENAMETOOLONG;
	memcpy(ret, path, len + 1);
	return 0;
}

static int layout_down(struct source *s, struct err *err)
{
	(void)s;
	(void)err;
	return 0;
}

static void layout_health(struct source *s, struct source_health *ret)
{
	struct layout *l = layout_of(s);

	lock_take(&l->lock);
	*ret = l->health;
	lock_drop(&l->lock);
}

static void layout_free(struct source *s)
{
	struct layout *l = layout_of(s);

	if (l->dir.fd >= 0)
		layout_dir_release(&l->dir);
	lock_release(&l->lock);
	free(l->origin);
	free(l->title);
	free(l);
}

static const struct source_ops layout_ops = {
    .free = layout_free,
    .origin = layout_origin,
    .title = layout_title,
    .is_local = layout_is_local,
    .repository = layout_repository,
    .down = layout_down,
    .health = layout_health,
    .resolve = layout_resolve,
    .document = layout_document,
    .stat = layout_stat,
    .blob = layout_blob,
    .tags = layout_tags,
    .untagged = layout_untagged,
    .referrers = layout_referrers,
    .catalog = layout_catalog,
};

/* Opening */

/* After the name that was given, unless that was "." or "..". */
static void name_repository(struct layout *l, const char *given, const char *real)
{
	size_t len = strlen(given);
	while (len > 1 && given[len - 1] == '/')
		len--;
	const char *slash = memrchr(given, '/', len);
	const char *name = slash != NULL ? slash + 1 : given;
	len -= (size_t)(name - given);
	if ((len == 1 && name[0] == '.') || (len == 2 && memcmp(name, "..", 2) == 0)) {
		slash = strrchr(real, '/');
		name = slash != NULL ? slash + 1 : real;
		len = strlen(name);
	}
	layout_repository_name(name, len, l->repo);
}

static int fill_in(struct layout *l, const char *directory, struct err *err)
{
	AUTO_FREE char *real = realpath(directory, NULL);

	if (asprintf(&l->title, "oci:%s", directory) < 0) {
		l->title = NULL;
		return err_set(err, -ENOMEM, "no memory for a source");
	}
	if (real == NULL)
		return err_errno(err, -errno, "%s", l->title);
	if (asprintf(&l->origin, "layout:%s", real) < 0) {
		l->origin = NULL;
		return err_set(err, -ENOMEM, "no memory for a source");
	}
	int rc = layout_dir_open(real, &l->dir, err);
	if (rc < 0)
		return err_wrap(err, rc, "%s", l->title);
	name_repository(l, directory, real);
	return 0;
}

int layout_source_open(const struct source_options *o, const struct source_spec *spec,
		       struct source **ret, struct err *err)
{
	struct layout *l = calloc(1, sizeof(*l));

	(void)o;
	if (l == NULL)
		return err_set(err, -ENOMEM, "no memory for a source");
	l->source.ops = &layout_ops;
	l->dir.fd = -1;
	lock_init(&l->lock);
	int rc = fill_in(l, spec->directory, err);
	if (rc < 0) {
		layout_free(&l->source);
		return rc;
	}
	*ret = &l->source;
	return 0;
}
