/* SPDX-License-Identifier: Apache-2.0 */
/* `wasmocifs cache verify`, `prune` and `rm`: what goes from a cache directory, beside the mounts
 * that use it. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/units.h"
#include "cache/pins.h"
#include "cache/refs.h"
#include "fs/cli/cache_impl.h"
#include "fs/cli/command.h"
#include "fs/reach.h"

/* What became of it all. */
struct outcome {
	json_t *removed; /* digests */
	uint64_t freed, partials, pinned, in_use, shared, missing, failed;
};

static const char *many(uint64_t n)
{
	return n == 1 ? "" : "s";
}

static int print_outcome(const struct cache_command *c, struct outcome *o, const char *done,
			 const char *would)
{
	char freed[UNITS_SIZE_MAX];
	uint64_t n = json_array_size(o->removed);
	units_format_size(o->freed, freed);
	if (c->args->json) {
		json_t *v =
		    json_pack("{s:b, s:O, s:I, s:I, s:I, s:I, s:I, s:I}", "dry_run",
			      (int)c->args->dry_run, "removed", o->removed, "freed",
			      (json_int_t)o->freed, "partials", (json_int_t)o->partials, "pinned",
			      (json_int_t)o->pinned, "open", (json_int_t)o->in_use, "shared",
			      (json_int_t)o->shared, "missing", (json_int_t)o->missing);
		if (print_json(v) != CLI_DONE)
			return CLI_FAILED;
	} else {
		printf("%s %" PRIu64 " blob%s", c->args->dry_run ? would : done, n, many(n));
		if (o->partials > 0)
			printf(" and %" PRIu64 " that %s not whole", o->partials,
			       o->partials == 1 ? "was" : "were");
		if (!c->args->unpin)
			printf(", %s", freed);
		if (o->pinned > 0)
			printf("; %" PRIu64 " pinned stay%s", o->pinned, o->pinned == 1 ? "s" : "");
		if (o->in_use > 0)
			printf("; %" PRIu64 " in use stay%s", o->in_use, o->in_use == 1 ? "s" : "");
		if (o->shared > 0)
			printf("; %" PRIu64 " shared with others stay%s", o->shared,
			       o->shared == 1 ? "s" : "");
		if (o->missing > 0)
			printf("; %" PRIu64 " %s not there", o->missing,
			       o->missing == 1 ? "was" : "were");
		putchar('\n');
	}
	return o->failed > 0 ? CLI_FAILED : CLI_DONE;
}

static void say_removed(const struct cache_command *c, struct outcome *o, const struct digest *d,
			uint64_t freed)
{
	char digest[DIGEST_STRING_MAX], size[UNITS_SIZE_MAX];
	digest_string(d, digest);
	units_format_size(freed, size);
	(void)json_array_append_new(o->removed, json_string(digest));
	o->freed += freed;
	if (!c->args->json)
		printf("%s  %s\n", digest, size);
}

/* One blob; pinned_too: its pin goes with it. */
static void remove_one(const struct cache_command *c, const struct inventory_blob *b,
		       bool pinned_too, struct outcome *o)
{
	struct err err;
	uint64_t freed = b->disk;
	int rc = 0;
	if (!c->args->dry_run)
		rc = inventory_remove(c->store, &b->digest, pinned_too, &freed, &err);
	else if (b->pinned && !pinned_too)
		rc = -EPERM;
	else if (b->held)
		rc = -EBUSY;
	if (rc == 0) {
		say_removed(c, o, &b->digest, freed);
	} else if (rc == -EBUSY) {
		o->in_use++;
	} else if (rc == -EPERM) {
		o->pinned++;
	} else if (rc == -ENOENT) {
		o->missing++;
	} else {
		o->failed++;
		complain(CLI_FAILED, "%s", err.text);
	}
}

/* ---- verify ---- */

struct verifying {
	uint64_t checked, bytes, stay;
	json_t *wrong;
};

static int verify_one(const struct cache_command *c, const struct inventory_blob *b,
		      struct verifying *v)
{
	struct call call;
	struct err err;
	char digest[DIGEST_STRING_MAX];
	uint64_t size = 0;
	bool dry = c->args->dry_run, removed = false;
	call_init(&call, INT64_MAX);
	int rc = inventory_check(c->store, &b->digest, !dry, &call, &size, &removed, &err);
	call_release(&call);
	if (rc == -ENOENT)
		return CLI_DONE; /* gone meanwhile */
	v->checked++;
	v->bytes += size;
	if (rc == 0)
		return CLI_DONE;
	if (rc != -EBADMSG && rc != -EIO)
		return complain(CLI_FAILED, "%s", err.text);
	digest_string(&b->digest, digest);
	(void)json_array_append_new(v->wrong,
				    json_pack("{s:s, s:s, s:b}", "digest", digest, "reason",
					      err.text, "removed", (int)removed));
	v->stay += !removed && !dry;
	if (!c->args->json)
		printf("%s%s\n", err.text, removed ? ": removed" : dry ? "" : ": not removed");
	return CLI_DONE;
}

int cache_verify(struct cache_command *c)
{
	struct verifying v = {.wrong = json_array()};
	char size[UNITS_SIZE_MAX];
	int status = CLI_DONE;
	for (size_t i = 0; status == CLI_DONE && i < c->have.n; i++)
		status = verify_one(c, &c->have.v[i], &v);
	uint64_t n = json_array_size(v.wrong);
	units_format_size(v.bytes, size);
	if (status == CLI_DONE && c->args->json) {
		status = print_json(json_pack("{s:I, s:I, s:O}", "checked", (json_int_t)v.checked,
					      "bytes", (json_int_t)v.bytes, "wrong", v.wrong));
	} else if (status == CLI_DONE) {
		printf("%" PRIu64 " blob%s, %s: %s", v.checked, many(v.checked), size,
		       n == 0 ? "all as they should be\n" : "");
		if (n > 0)
			printf("%" PRIu64 " wrong%s\n", n,
			       c->args->dry_run || v.stay > 0
				   ? ""
				   : "; they are fetched anew when they are needed");
	}
	if (v.stay > 0)
		status = complain(CLI_FAILED,
				  "cache verify: %" PRIu64 " of them cannot be removed from the "
				  "cache %s: let uid %u write there",
				  v.stay, c->dir, (unsigned)geteuid());
	json_decref(v.wrong);
	return status == CLI_DONE && n > 0 ? CLI_FAILED : status;
}

/* ---- prune ---- */

static int by_use(const void *a, const void *b)
{
	int64_t x = ((const struct inventory_blob *)a)->used_ms;
	int64_t y = ((const struct inventory_blob *)b)->used_ms;
	return (x > y) - (x < y);
}

static uint64_t bytes_of(const struct inventory *v)
{
	uint64_t sum = v->partial_bytes;
	for (size_t i = 0; i < v->n; i++)
		sum += v->v[i].disk;
	return sum;
}

int cache_prune(struct cache_command *c)
{
	struct outcome o = {.removed = json_array()};
	struct err err;
	uint64_t have = bytes_of(&c->have), partial = 0;
	int64_t before_ms =
	    c->args->older_than_ms != 0 ? clock_wall_ms() - c->args->older_than_ms : INT64_MAX;
	if (c->have.n > 0)
		qsort(c->have.v, c->have.n, sizeof(*c->have.v), by_use);
	if (c->args->keep == 0 &&
	    inventory_remove_partials(c->store, before_ms == INT64_MAX ? 0 : before_ms,
				      c->args->dry_run, &o.partials, &partial, &err) < 0) {
		o.failed++;
		complain(CLI_FAILED, "%s", err.text);
	}
	for (size_t i = 0; i < c->have.n && have - o.freed > c->args->keep; i++) {
		if (c->have.v[i].used_ms < before_ms)
			remove_one(c, &c->have.v[i], false, &o);
	}
	o.freed += partial;
	int status = print_outcome(c, &o, "removed", "would remove");
	json_decref(o.removed);
	return status;
}

/* ---- rm ---- */

static bool is_named_on_the_line(const struct cache_command *c, const struct known_tag *t)
{
	struct cache_word w;
	struct err ignored;
	for (int i = 0; i < c->n_operands; i++) {
		if (cache_word_parse(c->operands[i], &w, &ignored) == 0 && w.is_reference &&
		    cache_tag_matches(t, &w.reference))
			return true;
	}
	return false;
}

static int add_set(struct digest_set *to, const struct digest_set *from)
{
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < from->n; i++)
		rc = digest_set_add(to, &from->v[i]);
	return rc;
}

/* What stays although a reference that is to go leads to it: what other tags lead to (not where it
 * is only about pins), and what other manifests do that are pinned. */
static int find_kept(const struct cache_command *c, struct digest_set *chosen,
		     struct digest_set *ret, struct err *err)
{
	int rc = 0;
	for (size_t i = 0; rc == 0 && !c->args->unpin && i < c->known.n_tags; i++) {
		if (!is_named_on_the_line(c, &c->known.tags[i]))
			rc = add_set(ret, &c->known.tags[i].reach);
	}
	for (size_t i = 0; rc == 0 && i < c->known.pinned.n; i++) {
		const struct digest *d = &c->known.pinned.v[i];
		struct digest_set reach = {0};
		rc = digest_set_has(chosen, d) ? 0 : reach_add(c->store, d, &reach, err);
		if (rc == 0)
			rc = add_set(ret, &reach);
		digest_set_release(&reach);
	}
	return rc == -ENOMEM ? err_set(err, rc, "out of memory") : rc;
}

/* Of the operands: what references lead to, and what stands there by its digest. */
static int choose(const struct cache_command *c, struct digest_set *reached,
		  struct digest_set *exact, struct err *err)
{
	struct cache_word w;
	int rc = 0;
	for (int i = 0; rc == 0 && i < c->n_operands; i++) {
		rc = cache_word_parse(c->operands[i], &w, err);
		if (rc == 0)
			rc = cache_word_find(c, c->operands[i], w.is_reference ? reached : exact,
					     err);
	}
	digest_set_settle(reached);
	digest_set_settle(exact);
	return rc;
}

static void unpin(const struct cache_command *c, const struct digest *d, struct outcome *o)
{
	char digest[DIGEST_STRING_MAX];
	struct err err;
	if (!pins_has(c->store, d))
		return;
	if (!c->args->dry_run && pins_drop(c->store, d, &err) < 0) {
		o->failed++;
		complain(CLI_FAILED, "%s", err.text);
		return;
	}
	digest_string(d, digest);
	(void)json_array_append_new(o->removed, json_string(digest));
	if (!c->args->json)
		printf("%s\n", digest);
}

static void take(const struct cache_command *c, const struct digest *d, struct outcome *o)
{
	const struct inventory_blob *b = inventory_find(&c->have, d);
	if (c->args->unpin || b == NULL)
		unpin(c, d, o);
	else
		remove_one(c, b, true, o);
	o->missing += b == NULL && !c->args->unpin;
}

static bool is_tagged(const struct cache_command *c, const struct digest *d)
{
	for (size_t i = 0; i < c->known.n_tags; i++) {
		if (digest_set_has(&c->known.tags[i].reach, d))
			return true;
	}
	return false;
}

/* Without its manifest nobody knows what a tag led to. It may be what its repository named and no
 * tag leads to. */
static bool may_have_left(const struct cache_command *c, const struct known_tag *t)
{
	for (size_t i = 0; i < c->known.n_repos; i++) {
		struct known_repo *r = &c->known.repos[i];
		bool its = strcmp(r->origin, t->origin) == 0 && strcmp(r->repo, t->repo) == 0;
		for (size_t k = 0; its && k < c->have.n; k++) {
			const struct inventory_blob *b = &c->have.v[k];
			if ((b->pinned || !c->args->unpin) &&
			    digest_set_has(&r->named, &b->digest) && !is_tagged(c, &b->digest))
				return true;
		}
	}
	return false;
}

/* Of what was asked for, something may be left that cannot be found. */
static int say_what_is_left(const struct cache_command *c)
{
	int status = CLI_DONE;
	for (size_t i = 0; i < c->known.n_tags; i++) {
		const struct known_tag *t = &c->known.tags[i];
		if (!is_named_on_the_line(c, t) || inventory_find(&c->have, &t->manifest) != NULL ||
		    !may_have_left(c, t))
			continue;
		status = complain(CLI_FAILED,
				  "cache rm: the manifest of %s was not there, so what belonged to "
				  "it cannot be told and stays; if wasmocifs cache ls names it by "
				  "its repository alone, remove it by its digest",
				  t->name);
	}
	return status;
}

static void forget_tags(struct cache_command *c)
{
	struct refs *refs = NULL;
	struct err ignored;
	if (c->args->dry_run || c->args->unpin || refs_open(c->store, &refs, &ignored) < 0)
		return;
	for (size_t i = 0; i < c->known.n_tags; i++) {
		const struct known_tag *t = &c->known.tags[i];
		if (is_named_on_the_line(c, t))
			refs_tag_forget(refs, t->origin, t->repo, t->tag);
	}
	refs_close(refs);
}

int cache_rm(struct cache_command *c)
{
	struct digest_set reached = {0}, exact = {0}, kept = {0};
	struct outcome o = {.removed = NULL};
	struct err err;
	if (c->n_operands == 0)
		return complain(CLI_USAGE, "cache rm: what? give digests, or references as "
					   "ghcr.io/org/app:v1");
	o.removed = json_array();
	int rc = choose(c, &reached, &exact, &err);
	if (rc == 0)
		rc = find_kept(c, &reached, &kept, &err);
	int status = CLI_DONE;
	if (rc < 0)
		status = complain(CLI_FAILED, "cache rm: %s", err.text);
	for (size_t i = 0; rc == 0 && i < exact.n; i++)
		take(c, &exact.v[i], &o);
	for (size_t i = 0; rc == 0 && i < reached.n; i++) {
		if (digest_set_has(&exact, &reached.v[i]))
			continue;
		if (digest_set_has(&kept, &reached.v[i]))
			o.shared += inventory_find(&c->have, &reached.v[i]) != NULL;
		else
			take(c, &reached.v[i], &o);
	}
	if (rc == 0) {
		/* What stays can be named once more. */
		if (o.in_use == 0 && o.failed == 0)
			forget_tags(c);
		status = c->args->unpin ? print_outcome(c, &o, "unpinned", "would unpin")
					: print_outcome(c, &o, "removed", "would remove");
	}
	if (rc == 0 && status == CLI_DONE)
		status = say_what_is_left(c);
	if (rc == 0 && o.in_use > 0 && status == CLI_DONE)
		status = complain(CLI_FAILED,
				  "cache rm: what is in use stays: somebody reads it, or did a "
				  "moment ago; try again in 15 s, or after an unmount "
				  "(wasmocifs status shows the mounts)");
	digest_set_release(&reached);
	digest_set_release(&exact);
	digest_set_release(&kept);
	json_decref(o.removed);
	return status;
}
