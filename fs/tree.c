/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/tree.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "cache/store.h"
#include "fs/catalog.h"
#include "fs/fetch.h"
#include "fs/log.h"
#include "registry/reference.h"

/* How long names stand that a catalog listing might still bring. */
#define PROBE_S 10.0

bool tree_is_fixed_entry(const char *name)
{
	static const char *const entries[] = {"tags", "manifests", "blobs", "index.json",
					      "oci-layout"};
	for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
		if (strcmp(name, entries[i]) == 0)
			return true;
	}
	return false;
}

/* Grammatical component names that programs look for in every directory. */
bool tree_is_probe(const char *name)
{
	static const char *const probes[] = {"package.json", "node_modules", "wasmer.toml",
					     "spin.toml"};
	size_t len = strlen(name);
	for (size_t i = 0; i < ARRAY_LEN(probes); i++) {
		if (strcmp(name, probes[i]) == 0)
			return true;
	}
	return len > 4 && strcmp(name + len - 4, ".dwp") == 0;
}

struct want tree_want(enum want_kind kind, const char *repo)
{
	struct want w;
	memset(&w, 0, sizeof(w)); /* hashed as a whole, padding too */
	w.kind = kind;
	strncat(w.repo, repo, sizeof(w.repo) - 1);
	return w;
}

int tree_absent(struct op *op, const struct want *w, const char *fmt, ...)
{
	char text[ERR_TEXT_MAX];
	va_list args;
	op->want = *w;
	va_start(args, fmt);
	if (vsnprintf(text, sizeof(text), fmt, args) < 0)
		text[0] = '\0';
	va_end(args);
	return err_set(&op->err, -ENOENT, "%s", text);
}

int tree_repo(struct op *op, uint64_t node, char ret[REPOSITORY_MAX])
{
	char path[NODE_REPO_MAX];
	int r = node_repo(op->fs->nodes, node, path);
	if (r == 0 && path[0] == '\0')
		r = -ENOENT;
	if (r == 0)
		r = source_repository(op->site->source, path, ret);
	return r == -ENAMETOOLONG ? -ENOENT : r;
}

static double left_s(int64_t left_ms)
{
	return left_ms > 0 ? (double)left_ms / 1000.0 : 0.0;
}

int tree_tag(struct op *op, const char *repo, const char *tag, struct descriptor *ret,
	     double *ret_left_s)
{
	int64_t left = 0;
	enum known known = catalog_tag(op->site->catalog, repo, tag, ret, &left);
	if (ret_left_s)
		*ret_left_s = left_s(left);
	if (known == KNOWN_FRESH)
		return 0;
	struct want w = tree_want(WANT_TAG, repo);
	strncat(w.tag, tag, sizeof(w.tag) - 1);
	if (known == KNOWN_ABSENT)
		return tree_absent(op, &w, "%s: no tag %s", repo, tag);
	if (known == KNOWN_NOT)
		return op_want(op, &w, 0);
	if (!op->accept_stale)
		return op_want(op, &w, OP_STALE_TAG_MS);
	if (op_failed(op, &w)) {
		op->site->stale_ms = clock_wall_ms();
		log_failure("fs", op->failure_err.text, "%s:%s: serving what it named before: %s",
			    repo, tag, op->failure_err.text);
	}
	/* The late answer counts for the next walk, so this one must not be kept. */
	if (ret_left_s)
		*ret_left_s = 0;
	return 0;
}

int tree_repo_exists(struct op *op, const char *repo)
{
	if (catalog_repo_known(op->site->catalog, repo))
		return 0;
	struct want w = tree_want(WANT_REPO, repo);
	if (catalog_listing(op->site->catalog, repo, NULL, NULL) == KNOWN_ABSENT)
		return tree_absent(op, &w, "%s: no such repository", repo);
	return op_want(op, &w, 0);
}

static void found_named(struct found *ret, const struct node *parent, enum node_kind kind,
			const char *name, double entry_s)
{
	snprintf(ret->name, sizeof(ret->name), "%s", name);
	ret->key = (struct node_key){
	    .parent = parent->id, .kind = kind, .name = ret->name, .name_len = strlen(ret->name)};
	ret->entry_s = entry_s;
}

static int not_found(struct found *ret, double entry_s)
{
	ret->entry_s = entry_s;
	return -ENOENT;
}

/* What a registry may say of a listing without a word about the repository: it
 * refuses to list, or cannot. What is named may be there all the same. */
static bool says_nothing(int code)
{
	return code == -EACCES || code == -EPROTO || code == -EFBIG || code == -EOPNOTSUPP;
}

/* tags, manifests, blobs and what makes it an image layout. That it does not exist is for the
 * catalog to remember, not for the kernel: a reference may find it yet. */
static int lookup_fixed(struct op *op, const struct node *parent, const char *name,
			struct found *ret)
{
	enum node_kind kind = strcmp(name, "tags") == 0         ? NODE_TAGS
			      : strcmp(name, "manifests") == 0  ? NODE_MANIFESTS
			      : strcmp(name, "blobs") == 0      ? NODE_BLOBS
			      : strcmp(name, "index.json") == 0 ? NODE_INDEX_JSON
			      : strcmp(name, "oci-layout") == 0 ? NODE_OCI_LAYOUT
								: NODE_FREE;
	char repo[REPOSITORY_MAX];
	double entry_s = TREE_FOREVER_S;
	if (kind == NODE_FREE)
		return not_found(ret, TREE_FOREVER_S);
	int r = tree_repo(op, parent->id, repo);
	if (r == 0)
		r = tree_repo_exists(op, repo);
	if (r == -EINPROGRESS && says_nothing(op_failed(op, &op->want))) {
		entry_s = CATALOG_NEGATIVE_MS / 1000.0;
		r = 0;
	}
	if (r == -ENOENT)
		return not_found(ret, 0);
	if (r == 0)
		found_named(ret, parent, kind, name, entry_s);
	return r;
}

static int lookup_reference(struct op *op, const struct node *parent, const char *name,
			    struct found *ret)
{
	struct entry_reference ref;
	size_t len = strlen(name);
	if (parent->kind == NODE_NAMESPACE && len > 1 && name[len - 1] == ':') {
		char entry[256];
		snprintf(entry, sizeof(entry), "%.*s", (int)(len - 1), name);
		if (!tree_is_fixed_entry(entry))
			return not_found(ret, TREE_FOREVER_S);
		found_named(ret, parent, NODE_NAMESPACE, entry, TREE_FOREVER_S);
		return 0;
	}
	int r = reference_parse_entry(name, len, &ref);
	if (r == -EOPNOTSUPP)
		return err_set(&op->err, r, "%s: a digest that cannot be verified here", name);
	if (r)
		return not_found(ret, TREE_FOREVER_S);
	double ttl =
	    digest_is_set(&ref.digest) ? TREE_FOREVER_S : (double)op->fs->o.tag_ttl_ms / 1000.0;
	found_named(ret, parent, NODE_REFERENCE, name, ttl);
	return 0;
}

/* Whether the catalog's listing names the directory `name` of `parent`. */
static bool is_listed(struct op *op, const struct node *parent, const char *name)
{
	char path[NODE_REPO_MAX], want[NODE_REPO_MAX + 257];
	struct listing *l = NULL;
	if (node_repo(op->fs->nodes, parent->id, path))
		return false;
	enum known known = catalog_listing(op->site->catalog, op->site->prefix, &l, NULL);
	if (known != KNOWN_FRESH && known != KNOWN_STALE)
		return false;
	int len = snprintf(want, sizeof(want), "%s%s%s", path, path[0] ? "/" : "", name);
	bool listed = false;
	for (size_t i = 0; i < l->names.n && !listed; i++) {
		const char *v = l->names.v[i];
		listed = strncmp(v, want, (size_t)len) == 0 && (v[len] == '\0' || v[len] == '/');
	}
	listing_unref(l);
	return listed;
}

int tree_lookup_namespace(struct op *op, const struct node *parent, const char *name,
			  struct found *ret)
{
	char path[NODE_REPO_MAX];
	if (strpbrk(name, ":@"))
		return lookup_reference(op, parent, name, ret);
	if (parent->kind == NODE_NAMESPACE && tree_is_fixed_entry(name))
		return lookup_fixed(op, parent, name, ret);
	if (!reference_is_component(name, strlen(name)))
		return not_found(ret, TREE_FOREVER_S);
	if (tree_is_probe(name) && !is_listed(op, parent, name))
		return not_found(ret, PROBE_S);
	int r = node_repo(op->fs->nodes, parent->id, path);
	if (r)
		return r;
	if (strlen(path) + 1 + strlen(name) >= REPOSITORY_MAX)
		return not_found(ret, TREE_FOREVER_S);
	found_named(ret, parent, NODE_NAMESPACE, name, TREE_FOREVER_S);
	return 0;
}

/* Whether a listing that may be used now has the tag. */
static bool is_listed_tag(struct op *op, const char *repo, const char *tag)
{
	struct listing *l = NULL;
	enum known known = catalog_listing(op->site->catalog, repo, &l, NULL);
	if (known != KNOWN_FRESH && known != KNOWN_STALE)
		return false;
	bool listed = (known == KNOWN_FRESH || op->accept_stale) && names_has(&l->names, tag);
	listing_unref(l);
	return listed;
}

/* The name in tags/ leads to the directory that shows what the tag names now: a
 * directory bound to something else has had its time. */
static int lookup_tag(struct op *op, const struct node *parent, const char *repo, const char *tag,
		      struct found *ret)
{
	struct node node;
	struct descriptor desc;
	double left = 0;
	if (!reference_is_tag(tag, strlen(tag)))
		return not_found(ret, TREE_FOREVER_S);
	found_named(ret, parent, NODE_TAG, tag, 0);
	bool bound = node_find(op->fs->nodes, &ret->key, &node) == 0 && digest_is_set(&node.digest);
	if (!bound && catalog_tag(op->site->catalog, repo, tag, NULL, NULL) != KNOWN_ABSENT &&
	    is_listed_tag(op, repo, tag)) {
		ret->entry_s = op->accept_stale ? 0 : (double)op->fs->o.tag_ttl_ms / 1000.0;
		return 0;
	}
	int r = tree_tag(op, repo, tag, &desc, &left);
	if (r == -ENOENT)
		return not_found(ret, left);
	if (r)
		return r;
	if (bound && !digest_equal(&node.digest, &desc.digest))
		node_detach(op->fs->nodes, node.id);
	ret->entry_s = left;
	return 0;
}

static int lookup_alg(const struct node *parent, const char *name, enum node_kind kind,
		      struct found *ret)
{
	if (strcmp(name, "sha256") != 0 && strcmp(name, "sha512") != 0)
		return not_found(ret, TREE_FOREVER_S);
	found_named(ret, parent, kind, name, TREE_FOREVER_S);
	return 0;
}

/* Whether the repository has the manifest. 0, -ENOENT, -EINPROGRESS. */
static int has_manifest(struct op *op, const char *repo, const struct digest *d)
{
	struct descriptor desc;
	struct want w = tree_want(WANT_MANIFEST, repo);
	w.digest = *d;
	enum known known = catalog_named(op->site->catalog, repo, d, &desc);
	if (known == KNOWN_ABSENT)
		return tree_absent(op, &w, "%s: no such manifest", repo);
	struct image *image = known == KNOWN_FRESH ? catalog_image(op->site->catalog, d) : NULL;
	if (!image)
		return op_want(op, &w, 0);
	image_unref(image);
	return 0;
}

static int lookup_manifest(struct op *op, const struct node *parent, const char *repo,
			   const char *hex, struct found *ret)
{
	if (digest_parse_parts(parent->name, strlen(parent->name), hex, strlen(hex), &ret->digest))
		return not_found(ret, TREE_FOREVER_S);
	int r = has_manifest(op, repo, &ret->digest);
	if (r == -ENOENT)
		return not_found(ret, CATALOG_NEGATIVE_MS / 1000.0);
	if (r)
		return r;
	found_named(ret, parent, NODE_MANIFEST, hex, TREE_FOREVER_S);
	ret->key.digest = &ret->digest;
	return 0;
}

/* The size that a blob is shown with: of the bytes where the cache has them, else what
 * was said of it. That may prove wrong as soon as somebody reads it, here or under
 * another name, so it holds for one look. -EINPROGRESS. */
static int blob_bytes(struct op *op, const char *repo, const struct digest *d,
		      const struct descriptor *named, uint64_t *ret, double *ret_s)
{
	*ret_s = TREE_FOREVER_S;
	if (store_has(op->fs->store, d, ret))
		return 0;
	*ret_s = 0;
	*ret = named->size;
	if (catalog_size(op->site->catalog, repo, d, ret) != KNOWN_STALE)
		return 0;
	struct want w = tree_want(WANT_NAMED, repo);
	w.digest = *d;
	return op_failed(op, &w) ? 0 : op_want(op, &w, 0);
}

static int lookup_blob(struct op *op, const struct node *parent, const char *repo, const char *hex,
		       struct found *ret)
{
	struct descriptor desc;
	uint64_t size;
	if (digest_parse_parts(parent->name, strlen(parent->name), hex, strlen(hex), &ret->digest))
		return not_found(ret, TREE_FOREVER_S);
	enum known known = catalog_named(op->site->catalog, repo, &ret->digest, &desc);
	struct want w = tree_want(WANT_NAMED, repo);
	w.digest = ret->digest;
	if (known == KNOWN_ABSENT) {
		(void)tree_absent(op, &w, "%s: no such blob", repo);
		return not_found(ret, CATALOG_NEGATIVE_MS / 1000.0);
	}
	if (known != KNOWN_FRESH)
		return op_want(op, &w, 0);
	int r = blob_bytes(op, repo, &ret->digest, &desc, &size, &ret->entry_s);
	if (r)
		return r;
	snprintf(ret->place, sizeof(ret->place), "%s", repo);
	ret->key = (struct node_key){
	    .kind = NODE_CONTENT, .digest = &ret->digest, .size = size, .place = ret->place};
	return 0;
}

int tree_lookup_repo_entry(struct op *op, const struct node *parent, const char *name,
			   struct found *ret)
{
	char repo[REPOSITORY_MAX];
	int r = tree_repo(op, parent->id, repo);
	if (r)
		return r;
	if (parent->kind == NODE_TAGS)
		return lookup_tag(op, parent, repo, name, ret);
	if (parent->kind == NODE_MANIFESTS)
		return lookup_alg(parent, name, NODE_MANIFEST_ALG, ret);
	if (parent->kind == NODE_BLOBS)
		return lookup_alg(parent, name, NODE_BLOB_ALG, ret);
	if (parent->kind == NODE_MANIFEST_ALG)
		return lookup_manifest(op, parent, repo, name, ret);
	ASSERT(parent->kind == NODE_BLOB_ALG);
	return lookup_blob(op, parent, repo, name, ret);
}

static int lookup_in(struct op *op, const struct node *parent, const char *name, struct found *ret)
{
	switch (parent->kind) {
	case NODE_ROOT:
		if (strcmp(name, TREE_PACKAGES) == 0)
			return tree_found_dir(parent, NODE_PACKAGES, name, ret);
		if (op->fs->sites.several)
			return tree_lookup_host(op, parent, name, ret);
		return tree_lookup_namespace(op, parent, name, ret);
	case NODE_HOST:
	case NODE_NAMESPACE:
		return tree_lookup_namespace(op, parent, name, ret);
	case NODE_TAGS:
	case NODE_MANIFESTS:
	case NODE_MANIFEST_ALG:
	case NODE_BLOBS:
	case NODE_BLOB_ALG:
		return tree_lookup_repo_entry(op, parent, name, ret);
	case NODE_TAG:
	case NODE_MANIFEST:
	case NODE_LAYERS:
	case NODE_FILES:
	case NODE_PLATFORMS:
		return tree_lookup_image(op, parent, name, ret);
	case NODE_REFERRERS:
	case NODE_REFERRER_TYPE:
		return tree_lookup_referrers(op, parent, name, ret);
	case NODE_PACKAGES:
	case NODE_PACKAGE_SPACE:
	case NODE_PACKAGE:
		return tree_lookup_packages(op, parent, name, ret);
	case NODE_REFERENCE:
	case NODE_PACKAGE_VERSION:
	case NODE_LINK:
	case NODE_INDEX_JSON:
	case NODE_OCI_LAYOUT:
	case NODE_CONTENT:
	case NODE_CONTENT_WASM:
	case NODE_CONTENT_MODE:
	case NODE_MAIN_WASM:
	case NODE_FREE:
	case NODE_KIND_COUNT:
		break;
	}
	return -ENOTDIR;
}

int tree_lookup(struct op *op, const struct node *parent, const char *name, struct found *ret)
{
	int r = op->site ? 0 : op_find_site(op, parent->id, true);
	if (r == 0)
		r = lookup_in(op, parent, name, ret);
	if (r == 0 && op->site)
		ret->key.host = op->site->name;
	return r;
}

/* "<name>/manifests/<alg>/<hex>", from the directory the link lies in. A
 * component that is a fixed entry there is reached by its other spelling. */
static void target(const struct node *link, size_t name_len, bool in_repo, const struct digest *d,
		   char ret[PATH_MAX])
{
	char hex[DIGEST_HEX_MAX], component[256];
	digest_hex(d, hex);
	snprintf(component, sizeof(component), "%.*s", (int)name_len, link->name);
	const char *colon = in_repo && tree_is_fixed_entry(component) ? ":" : "";
	snprintf(ret, PATH_MAX, "%s%s/manifests/%s/%s", component, colon, digest_alg_name(d), hex);
}

/* The repository that a link's name leads to, as the origin names it. */
static int link_repo(struct op *op, const struct node *link, size_t name_len,
		     char ret[REPOSITORY_MAX])
{
	char path[NODE_REPO_MAX];
	int r = node_repo(op->fs->nodes, link->parent, path);
	size_t len = strlen(path);
	if (r || len + 1 + name_len >= REPOSITORY_MAX)
		return -ENOENT;
	snprintf(path + len, sizeof(path) - len, "%s%.*s", len ? "/" : "", (int)name_len,
		 link->name);
	return source_repository(op->site->source, path, ret) ? -ENOENT : 0;
}

static int readlink_reference(struct op *op, const struct node *node, char ret[PATH_MAX])
{
	struct entry_reference ref;
	struct node parent;
	char repo[REPOSITORY_MAX];
	int r = reference_parse_entry(node->name, strlen(node->name), &ref);
	if (r)
		return -EIO;
	r = node_read(op->fs->nodes, node->parent, &parent);
	if (r == 0)
		r = link_repo(op, node, ref.name_len, repo);
	/* Asked here, where nothing is locked, and not by the names on the way there, which
	 * would have to list the repository. */
	if (r == 0 && digest_is_set(&ref.digest)) {
		r = has_manifest(op, repo, &ref.digest);
	} else if (r == 0) {
		struct descriptor desc;
		r = tree_tag(op, repo, ref.tag, &desc, NULL);
		ref.digest = desc.digest;
	}
	if (r)
		return r;
	target(node, ref.name_len, parent.kind == NODE_NAMESPACE, &ref.digest, ret);
	return 0;
}

/* To manifests/<alg>/<hex> of the same repository, from `up` directories below the
 * image's own: that lies in manifests/<alg> itself, or in tags. */
static void link_target(enum node_kind image, int up, const struct digest *d, char ret[PATH_MAX])
{
	static const char above[] = "../../../../";
	char hex[DIGEST_HEX_MAX];
	digest_hex(d, hex);
	snprintf(ret, PATH_MAX, "%.*s%s%s/%s", 3 * (up + 2), above,
		 image == NODE_TAG ? "manifests/" : "", digest_alg_name(d), hex);
}

int tree_readlink(struct op *op, const struct node *node, char ret[PATH_MAX])
{
	struct node parent, image;
	struct digest d;
	struct image *index = NULL;
	if (node->kind == NODE_REFERENCE)
		return readlink_reference(op, node, ret);
	if (node->kind == NODE_PACKAGE_VERSION)
		return tree_package_target(op, node, ret);
	int r = node->kind == NODE_LINK ? node_read(op->fs->nodes, node->parent, &parent) : -EINVAL;
	if (r == 0)
		r = node_image(op->fs->nodes, node->id, &image);
	if (r == 0 && parent.kind == NODE_REFERRER_TYPE) {
		r = tree_referrer_digest(node->name, &d);
	} else if (r == 0) {
		r = tree_image(op, &parent, &index);
		if (r == 0 && parent.kind == NODE_FILES) {
			r = tree_shown(op, &parent, &index);
			r = r ? r : tree_files_target(op, &parent, index, node->name, ret);
			image_unref(index);
			return r;
		}
		r = r ? r : tree_platform_digest(index, node->name, &d);
	}
	image_unref(index);
	if (r == 0)
		link_target(image.kind, parent.kind == NODE_REFERRER_TYPE ? 2 : 1, &d, ret);
	return r;
}
