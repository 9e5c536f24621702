/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/why.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/units.h"
#include "fs/dirlist.h"
#include "fs/failures.h"
#include "fs/fetch.h"
#include "fs/fs_impl.h"
#include "fs/op.h"
#include "fs/ops.h"
#include "fs/stream.h"
#include "fs/tree.h"

#define PACKAGE_HINT                                                                               \
	"see what wkg's configuration says of it (--package-config FILE); the mount reads that "   \
	"file once, when it is made"
#define NEVER_HINT                                                                                 \
	"check the spelling, or see with ls what there is: a manifest never changes, so the name " \
	"will not appear in it"
#define DEPTH_MAX 256 /* components, those of links included */

struct walk {
	struct op *op;
	struct why *why;
	struct node node; /* where it has come to */
	char todo[2 * PATH_MAX];
	uint64_t held[DEPTH_MAX]; /* looked up, to be let go */
	size_t depth;
};

/* What to do about an errno of DESIGN §2.4. */
static const char *hint_of_errno(int code)
{
	switch (code < 0 ? -code : code) {
	case ENOENT:
		return "check the spelling; a name that is new at the registry is seen after 10 s";
	case EACCES:
		return "log in (docker login, podman login) or name a file with --auth-file: it "
		       "counts at the next try, without a remount; registries also say this of "
		       "what does not exist";
	case EHOSTUNREACH:
		return "see whether the host answers (curl -I https://HOST/v2/); it is tried again "
		       "after 5 s, and what is cached is served meanwhile";
	case ETIMEDOUT:
		return "see whether the host is well; --timeout allows more time";
	case EBUSY:
		return "the registry limits requests: log in, wait, or use a mirror";
	case EBADMSG:
		return "nothing of it was kept; try again, and if it stays so tell who runs the "
		       "registry: what it serves is not what was published";
	case EPROTO:
		return "the registry, or a proxy on the way, does not speak as it should; see what "
		       "it says to curl";
	case EFBIG:
		return "mount with a larger --cache-size; what comes has to fit into it as a "
		       "whole, and what is unpacked of it too";
	case ENOSPC:
		return "make room on the disk of the cache, or mount with another --cache";
	case EOPNOTSUPP:
		return "it cannot be verified, so it is not served; publish it anew with sha256";
	case ENOEXEC:
		return "main.wasm is opened only if it is WebAssembly; its bytes are in layers/";
	case EKEYREJECTED:
		return "it carries no signature that the policy accepts";
	case ENOTDIR:
		return "it is a file, and nothing lies below it: take away what follows its name";
	case ENFILE:
		return "this mount holds as many registries, or names, as it can: mount that one "
		       "by "
		       "itself, or unmount and mount again";
	default:
		return "a fault of this machine: see the log (journalctl -t wasmocifs)";
	}
}

/* Where a text says more of the cause than the errno does. */
static const struct {
	int code; /* only of this one; 0: of any */
	const char *text, *hint;
} hints[] = {
    {ENOENT, "is a blob, no manifest",
     "give the digest of an image's manifest, or its tag: wasmocifs cache ls tells which images "
     "have it here; by itself it is the file blobs/ALGORITHM/HEX of its repository in a mount"},
    {EFBIG, "an answer of ",
     "no manifest and no listing is taken that is so large; it has to be published smaller"},
    {EOPNOTSUPP, "schema 1",
     "it is of the time before digests; publish it anew: pull it, and push it with a tool of "
     "today"},
    {EPROTO, "certificate",
     "trust its certificate with --ca-file, or in the certs.d of that host; or see whether it has "
     "expired (curl -v https://HOST/v2/)"},
    {EHOSTUNREACH, "resolve",
     "check the spelling of the host, and whether this machine's DNS answers (getent hosts HOST)"},
    {0, "--offline", "mount without --offline to have it fetched"},
    {0, "--allow-host",
     "whoever mounts can name that host with --allow-host, or log in there (docker "
     "login, podman login): that counts at the next try, without a remount"},
    {0, "mount that registry by its own name",
     "its login is used below a mount of that registry only, not where another one sends us there"},
    {ENOSPC, "Read-only file system",
     "let the cache be written to (mount -o remount,rw), or choose another one with --cache"},
    {0, "leaves no room",
     "give the cache a larger --cache-size, or unpin what is not needed: wasmocifs cache ls"},
    {0, "limit of open files", "close files that are open in the mount; for good, raise the limit"},
    {0, "in this mount, which has",
     "check the spelling; or mount with --all, which has any host by its name"},
};

const char *why_hint(int code, const char *text)
{
	for (size_t i = 0; i < ARRAY_LEN(hints); i++) {
		bool meant = hints[i].code == 0 || hints[i].code == -code;
		if (meant && strstr(text, hints[i].text))
			return hints[i].hint;
	}
	return hint_of_errno(code);
}

static void say(struct why *w, enum why_state state, int code, int64_t wall_ms, const char *text)
{
	w->state = state;
	w->code = code ? -op_errno(code, text[0] != '\0') : 0;
	w->wall_ms = wall_ms;
	snprintf(w->text, sizeof(w->text), "%s", text);
	w->hint = state == WHY_FAILED ? why_hint(w->code, text) : NULL;
}

/* Of whichever registry was asked for it last. */
static bool blob_has_failed(const struct walk *k, struct failure *ret, struct site **ret_site)
{
	struct site *site;
	struct failure f;
	struct want blob;
	bool found = false;
	memset(&blob, 0, sizeof(blob)); /* hashed as a whole, padding too */
	blob.kind = WANT_BLOB;
	blob.digest = k->op->want.digest;
	blob.size = k->op->want.size;
	for (unsigned i = 0; (site = sites_at(&k->op->fs->sites, i)); i++) {
		if (!failures_find(fetcher_failures(site->fetcher), &blob, &f) ||
		    (found && f.wall_ms <= ret->wall_ms))
			continue;
		*ret = f;
		*ret_site = site;
		found = true;
	}
	return found;
}

/* What is missing is known by its want. The size of a blob that did not arrive is asked
 * for anew, and then it is that blob's failure which tells why. */
static bool has_failed(const struct walk *k, struct failure *ret, struct site **ret_site)
{
	const struct want *w = &k->op->want;
	*ret_site = k->op->site;
	bool own =
	    w->kind != WANT_BLOB && failures_find(fetcher_failures(k->op->site->fetcher), w, ret);
	bool of_blob = w->kind == WANT_BLOB || w->kind == WANT_NAMED;
	return own || (of_blob && blob_has_failed(k, ret, ret_site));
}

/* What is a word of whoever was asked, and no fault or limit of ours. */
static bool is_answer(const struct want *w, int code)
{
	switch (-code) {
	case EFBIG: /* a blob's size is known before */
		return w->kind != WANT_BLOB && w->kind != WANT_LAYER && w->kind != WANT_ROOTFS &&
		       w->kind != WANT_MEMBER;
	case ENOSPC:
	case ENOMEM:
	case EIO:
	case ENOEXEC:
		return false;
	default:
		return true;
	}
}

static void say_failure(struct walk *k, const struct failure *f, const struct site *site)
{
	say(k->why, WHY_FAILED, f->code, f->wall_ms, f->err.text);
	if (is_answer(&k->op->want, f->code))
		snprintf(k->why->asked, sizeof(k->why->asked), "%s", source_title(site->source));
}

/* By whichever registry: the same blob may be asked of another one. */
static bool is_under_way(const struct walk *k, struct flight_state *ret, struct site **ret_site)
{
	struct sites *sites = &k->op->fs->sites;
	*ret_site = k->op->site;
	if (flight_find(fetcher_flights(k->op->site->fetcher), &k->op->want, ret))
		return true;
	for (unsigned i = 0; k->op->want.kind == WANT_BLOB && (*ret_site = sites_at(sites, i)); i++)
		if (flight_find(fetcher_flights((*ret_site)->fetcher), &k->op->want, ret))
			return true;
	return false;
}

static void say_under_way(struct walk *k, const struct flight_state *f, const struct site *site)
{
	struct err text;
	char what[ERR_TEXT_MAX], have[UNITS_SIZE_MAX], size[UNITS_SIZE_MAX];
	long long s = (long long)(clock_ms() - f->since_ms) / 1000;
	want_describe(&k->op->want, source_title(site->source), k->op->repo, what, sizeof(what));
	units_format_size(f->have, have);
	units_format_size(k->op->want.size, size);
	if (!f->begun)
		(void)err_set(&text, 0, "%s: it waits for its turn since %lld s", what, s);
	else if (f->have > 0)
		(void)err_set(&text, 0, "%s: it is being fetched since %lld s: %s of %s are here",
			      what, s, have, size);
	else
		(void)err_set(&text, 0,
			      "%s: it is being asked since %lld s, without an answer so far", what,
			      s);
	say(k->why, WHY_COMING, 0, 0, text.text);
}

/* It can be read meanwhile. */
static bool is_streamed(struct walk *k)
{
	char text[ERR_TEXT_MAX], have[UNITS_SIZE_MAX], size[UNITS_SIZE_MAX];
	uint64_t here;
	if (k->op->want.kind != WANT_BLOB ||
	    !streams_find(k->op->fs->streams, &k->op->want.digest, &here))
		return false;
	units_format_size(here, have);
	units_format_size(k->op->want.size, size);
	snprintf(text, sizeof(text),
		 "it is read as it arrives (--verify=stream): %s of %s are here; its digest is not "
		 "verified yet",
		 have, size);
	say(k->why, WHY_COMING, 0, 0, text);
	return true;
}

/* Nobody asks it now: because nobody is to be asked, or because of what it did last. */
static void say_refusal(struct walk *k, int code, const char *text)
{
	struct source_health health;
	struct source *source = k->op->site->source;
	source_health(source, &health);
	bool offline = k->op->fs->o.offline;
	say(k->why, WHY_FAILED, code, offline ? 0 : health.since_ms, text);
	if (!offline)
		snprintf(k->why->asked, sizeof(k->why->asked), "%s", source_title(source));
}

static void explain_want(struct walk *k)
{
	ASSERT(k->op->site); /* or nothing could be wanted */
	struct fetcher *fetcher = k->op->site->fetcher;
	struct failure f;
	struct err err = {""};
	struct flight_state state;
	struct site *site;
	if (has_failed(k, &f, &site)) {
		say_failure(k, &f, site);
		return;
	}
	if (is_streamed(k))
		return;
	if (is_under_way(k, &state, &site)) {
		say_under_way(k, &state, site);
		return;
	}
	int refused = fetch_refused_for(fetcher, &k->op->want, k->op->repo, &err);
	if (refused)
		say_refusal(k, refused, err.text);
	else if (k->op->want.kind == WANT_INDEX)
		say(k->why, WHY_FINE, 0, 0,
		    "it is made when it is opened, and did not fail lately");
	else
		say(k->why, WHY_UNASKED, 0, 0,
		    "it has not been asked for yet, or that is forgotten");
}

/* By grammar, or by what never changes. */
static void say_never(struct walk *k)
{
	bool grows = k->node.kind == NODE_REFERRERS || k->node.kind == NODE_REFERRER_TYPE;
	say(k->why, WHY_FAILED, -ENOENT, 0,
	    "there can be no such name here, or the manifest names none");
	if (!grows)
		k->why->hint = NEVER_HINT;
}

static void explain(struct walk *k, int code)
{
	const char *text = k->op->err.text;
	struct failure f;
	bool said = code == -ENOENT && k->op->want.kind != 0 && k->op->site &&
		    failures_find(fetcher_failures(k->op->site->fetcher), &k->op->want, &f);
	if (code == -EINPROGRESS)
		explain_want(k);
	else if (code == -EAGAIN) /* its host has no site yet */
		say(k->why, WHY_UNASKED, 0, 0, "nobody has asked that registry for anything yet");
	else if (said)
		say_failure(k, &f, k->op->site);
	else if (code == -ENOENT && !text[0])
		say_never(k);
	else
		say(k->why, WHY_FAILED, code, 0, text[0] ? text : strerror(-code));
	if (code != -EINPROGRESS && k->node.kind == NODE_PACKAGE && k->op->want.kind == 0 &&
	    text[0])
		k->why->hint = PACKAGE_HINT;
}

/* What an earlier step said or wanted. */
static void forget(struct op *op)
{
	op->err.text[0] = '\0';
	memset(&op->want, 0, sizeof(op->want));
}

/* It has come to something. */
static void note(struct why *w, const char *name, size_t len)
{
	size_t have = strlen(w->at);
	snprintf(w->at + have, sizeof(w->at) - have, "/%.*s", (int)len, name);
}

/* Takes the first component off what is to do. False: there is none, or none of the tree can be
 * that long. */
static bool next_name(struct walk *k, char name[256], int *code)
{
	char *start = k->todo + strspn(k->todo, "/");
	size_t len = strcspn(start, "/");
	if (len >= 256) {
		forget(k->op);
		note(k->why, start, len);
		*code = -ENOENT;
	}
	if (len == 0 || *code)
		return false;
	memcpy(name, start, len);
	name[len] = '\0';
	memmove(k->todo, start + len, strlen(start + len) + 1);
	return true;
}

/* A link's target goes before the rest, and takes its place in the path. */
static int follow(struct walk *k, const struct node *link)
{
	char target[PATH_MAX], rest[2 * PATH_MAX];
	int r = tree_readlink(k->op, link, target);
	if (r)
		return r;
	char *last = strrchr(k->why->at, '/');
	if (last)
		*last = '\0';
	snprintf(rest, sizeof(rest), "%s", k->todo);
	int n = snprintf(k->todo, sizeof(k->todo), "%s/%s", target, rest);
	return n < (int)sizeof(k->todo) ? 0 : -ENAMETOOLONG;
}

/* Of a link's target, which may lead upwards: no name of the tree. */
static int step_up(struct walk *k)
{
	char *last = strrchr(k->why->at, '/');
	if (last)
		*last = '\0';
	return node_read(k->op->fs->nodes, k->node.parent ? k->node.parent : FUSE_ROOT_ID,
			 &k->node);
}

static int step(struct walk *k, const char *name)
{
	struct found found = {0};
	struct node child;
	struct nodes *nodes = k->op->fs->nodes;
	if (k->depth == DEPTH_MAX)
		return -ENAMETOOLONG;
	forget(k->op);
	k->op->site = NULL; /* the node's, which may be another one than the last step's */
	int r = tree_lookup(k->op, &k->node, name, &found);
	if (r == 0)
		r = node_get(nodes, &found.key, 0, &child);
	if (r)
		return r;
	k->held[k->depth++] = child.id;
	if (child.kind == NODE_REFERENCE || child.kind == NODE_PACKAGE_VERSION ||
	    child.kind == NODE_LINK)
		return follow(k, &child);
	k->node = child;
	return 0;
}

/* What open would do with it. */
static int try_open(struct walk *k)
{
	struct dirlist *list = NULL;
	struct stat st;
	double s;
	forget(k->op);
	k->op->site = NULL;
	int r = op_find_site(k->op, k->node.id, false);
	if (r == 0)
		r = tree_attr(k->op, &k->node, &st, &s);
	if (r)
		return r;
	if (!S_ISDIR(st.st_mode))
		return ops_check_open(k->op, &k->node);
	r = tree_list(k->op, &k->node, &list);
	dirlist_unref(list);
	return r;
}

static int walk(struct walk *k)
{
	char name[256];
	int r = 0;
	while (r == 0 && next_name(k, name, &r)) {
		if (strcmp(name, "..") == 0) {
			r = step_up(k);
			continue;
		}
		note(k->why, name, strlen(name));
		r = step(k, name);
	}
	return r ? r : try_open(k);
}

void fs_why(struct fs *fs, const char *path, struct why *ret)
{
	struct op *op = calloc(1, sizeof(*op));
	struct walk *k = calloc(1, sizeof(*k));
	*ret = (struct why){0};
	if (!op || !k || strlen(path) >= PATH_MAX) {
		say(ret, WHY_FAILED, op && k ? -ENAMETOOLONG : -ENOMEM, 0, "too much to explain");
	} else {
		op->fs = fs;
		op->start_ms = clock_ms();
		op->accept_stale = true;
		op->explains = true;
		k->op = op;
		k->why = ret;
		snprintf(k->todo, sizeof(k->todo), "%s", path);
		int r = node_read(fs->nodes, FUSE_ROOT_ID, &k->node);
		r = r ? r : walk(k);
		if (r)
			explain(k, r);
		else
			say(ret, WHY_FINE, 0, 0, "it is here, and needs nothing to be read");
		while (k->depth > 0)
			node_forget(fs->nodes, k->held[--k->depth], 1);
	}
	free(k);
	free(op);
}
