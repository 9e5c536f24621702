/* SPDX-License-Identifier: Apache-2.0 */
/* `wasmocifs cache`: what a cache directory holds. It is looked at where it lies, whatever mounts
 * use it; no mount is asked. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "base/units.h"
#include "fs/cli/cache_dir.h"
#include "fs/cli/cache_impl.h"
#include "fs/cli/command.h"
#include "fs/cli/path.h"
#include "fs/cli/table.h"
#include "fs/reach.h"

#define SHORT_HEX CACHE_PREFIX_MIN

/* ---- operands ---- */

static bool is_hex(const char *s, size_t len)
{
	return strspn(s, "0123456789abcdef") == len && s[len] == '\0';
}

int cache_word_parse(const char *s, struct cache_word *ret, struct err *err)
{
	const char *colon = strchr(s, ':');
	const char *hex = colon != NULL ? colon + 1 : s;
	size_t alg_len = colon != NULL ? (size_t)(colon - s) : 0, len = strlen(hex);
	*ret = (struct cache_word){0};
	bool algorithm =
	    alg_len == 0 ||
	    (alg_len == 6 && (strncmp(s, "sha256", 6) == 0 || strncmp(s, "sha512", 6) == 0));
	if (strchr(s, '/') == NULL && algorithm && is_hex(hex, len)) {
		if (len < CACHE_PREFIX_MIN || len >= DIGEST_HEX_MAX)
			return err_set(
			    err, -EINVAL,
			    "'%s': give a digest, or at least the first %d digits of one", s,
			    CACHE_PREFIX_MIN);
		memcpy(ret->alg, s, alg_len);
		memcpy(ret->hex, hex, len);
		return 0;
	}
	if (strchr(s, '/') == NULL)
		return err_set(err, -EINVAL,
			       "'%s': neither a digest (sha256: and digits, a to f in lower case) "
			       "nor a reference (HOST[:PORT]/NAME:TAG)",
			       s);
	ret->is_reference = true;
	return image_reference_parse(s, &ret->reference, err);
}

bool cache_tag_matches(const struct known_tag *t, const struct image_reference *r)
{
	return r->tag[0] != '\0' && strcmp(t->tag, r->tag) == 0 &&
	       known_is_of(t->origin, t->repo, r);
}

static int add_all(struct digest_set *to, const struct digest_set *from, struct err *err)
{
	for (size_t i = 0; i < from->n; i++) {
		if (digest_set_add(to, &from->v[i]) < 0)
			return err_set(err, -ENOMEM, "out of memory");
	}
	return 0;
}

static bool ends_with(const char *s, const char *end)
{
	size_t len = strlen(s), n = strlen(end);
	return len >= n && strcmp(s + len - n, end) == 0;
}

static int find_reference(const struct cache_command *c, const char *s,
			  const struct image_reference *r, struct digest_set *ret, struct err *err)
{
	size_t found = 0;
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < c->known.n_tags; i++) {
		if (!cache_tag_matches(&c->known.tags[i], r))
			continue;
		rc = add_all(ret, &c->known.tags[i].reach, err);
		found++;
	}
	for (size_t i = 0; rc == 0 && digest_is_set(&r->digest) && i < c->known.n_repos; i++) {
		struct known_repo *repo = &c->known.repos[i];
		if (!known_is_of(repo->origin, repo->repo, r) ||
		    !digest_set_has(&repo->named, &r->digest))
			continue;
		rc = reach_add(c->store, &r->digest, ret, err);
		found++;
	}
	if (rc == 0 && found == 0)
		rc = err_set(
		    err, -ENOENT,
		    "the cache %s knows no %s%s; see what it does: wasmocifs cache ls", c->dir, s,
		    strcmp(r->tag, "latest") == 0 && !ends_with(s, ":latest") ? ":latest" : "");
	return rc;
}

/* Also of a pin whose blob is gone. */
static int find_digest(const struct cache_command *c, const char *s, const struct cache_word *w,
		       struct digest_set *ret, struct err *err)
{
	struct digest_set all = {0};
	size_t found = 0;
	int rc = add_all(&all, &c->known.pinned, err);
	for (size_t i = 0; rc == 0 && i < c->have.n; i++)
		rc = digest_set_add(&all, &c->have.v[i].digest);
	digest_set_settle(&all);
	for (size_t i = 0; rc == 0 && i < all.n; i++) {
		char hex[DIGEST_HEX_MAX];
		digest_hex(&all.v[i], hex);
		if ((w->alg[0] != '\0' && strcmp(w->alg, digest_alg_name(&all.v[i])) != 0) ||
		    strncmp(hex, w->hex, strlen(w->hex)) != 0)
			continue;
		rc = digest_set_add(ret, &all.v[i]);
		found++;
	}
	digest_set_release(&all);
	if (rc < 0)
		return err_set(err, rc, "out of memory");
	if (found == 0)
		return err_set(err, -ENOENT, "%s is not in the cache %s", s, c->dir);
	return found > 1
		   ? err_set(err, -E2BIG, "'%s' is the beginning of several; give more of it", s)
		   : 0;
}

int cache_word_find(const struct cache_command *c, const char *s, struct digest_set *ret,
		    struct err *err)
{
	struct cache_word w;
	int rc = cache_word_parse(s, &w, err);
	if (rc < 0)
		return rc;
	return w.is_reference ? find_reference(c, s, &w.reference, ret, err)
			      : find_digest(c, s, &w, ret, err);
}

/* ---- ls ---- */

static void format_age(int64_t used_ms, char out[24])
{
	static const struct {
		int64_t ms;
		char unit;
	} units[] = {{86400000, 'd'}, {3600000, 'h'}, {60000, 'm'}, {1000, 's'}};
	int64_t age = clock_wall_ms() - used_ms;
	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		if (age >= units[i].ms || i + 1 == ARRAY_LEN(units)) {
			snprintf(out, 24, "%" PRId64 "%c", age > 0 ? age / units[i].ms : 0,
				 units[i].unit);
			return;
		}
	}
}

static void format_time(int64_t wall_ms, char out[32])
{
	time_t t = (time_t)(wall_ms / 1000);
	struct tm tm;
	out[0] = '\0';
	if (gmtime_r(&t, &tm) != NULL)
		strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

/* By their tags; else the repositories that named it. */
static json_t *references_of(const struct cache_command *c, const struct digest *d)
{
	json_t *v = json_array();
	for (size_t i = 0; i < c->known.n_tags; i++) {
		if (digest_set_has(&c->known.tags[i].reach, d))
			(void)json_array_append_new(v, json_string(c->known.tags[i].name));
	}
	for (size_t i = 0; json_array_size(v) == 0 && i < c->known.n_repos; i++) {
		if (digest_set_has(&c->known.repos[i].named, d))
			(void)json_array_append_new(v, json_string(c->known.repos[i].name));
	}
	return v;
}

static json_t *row_of(const struct cache_command *c, const struct inventory_blob *b)
{
	char digest[DIGEST_STRING_MAX], used[32];
	digest_string(&b->digest, digest);
	format_time(b->used_ms, used);
	return json_pack("{s:s, s:I, s:I, s:s, s:b, s:b, s:o}", "digest", digest, "size",
			 (json_int_t)b->size, "disk", (json_int_t)b->disk, "used", used, "pinned",
			 (int)b->pinned, "open", (int)b->held, "references",
			 references_of(c, &b->digest));
}

static void show_row(const struct cache_command *c, const struct inventory_blob *b)
{
	char hex[DIGEST_HEX_MAX], size[UNITS_SIZE_MAX], age[24], more[24] = "";
	json_t *names = references_of(c, &b->digest);
	const char *first = json_string_value(json_array_get(names, 0));
	size_t n = json_array_size(names);
	struct err text;
	digest_hex(&b->digest, hex);
	units_format_size(b->size, size);
	format_age(b->used_ms, age);
	(void)err_set(&text, 0, "%s", first != NULL ? first : "-");
	int used = printf("%s:%.*s  %9s  %5s  %-6s %-4s  ", digest_alg_name(&b->digest), SHORT_HEX,
			  hex, size, age, b->pinned ? "pinned" : "", b->held ? "open" : "");
	if (n > 1)
		snprintf(more, sizeof(more), " +%zu", n - 1);
	table_put_last(stdout, text.text, more, used > 0 ? (size_t)used : 0,
		       table_terminal_width());
	json_decref(names);
}

static int cache_ls(struct cache_command *c)
{
	struct digest_set chosen = {0};
	struct err err;
	json_t *rows = c->args->json ? json_array() : NULL;
	int rc = 0;
	for (int i = 0; rc == 0 && i < c->n_operands; i++)
		rc = cache_word_find(c, c->operands[i], &chosen, &err);
	if (rc == 0 && !c->args->json && c->have.n > 0)
		puts("DIGEST                    SIZE   USED  STATE        NAMED BY");
	for (size_t i = 0; rc == 0 && i < c->have.n; i++) {
		const struct inventory_blob *b = &c->have.v[i];
		if (c->n_operands > 0 && !digest_set_has(&chosen, &b->digest))
			continue;
		if (c->args->json)
			(void)json_array_append_new(rows, row_of(c, b));
		else
			show_row(c, b);
	}
	digest_set_release(&chosen);
	if (rc < 0) {
		json_decref(rows);
		return complain(CLI_FAILED, "cache ls: %s", err.text);
	}
	return c->args->json ? print_json(rows) : CLI_DONE;
}

/* ---- du ---- */

struct sum {
	uint64_t blobs, bytes;
};

static void count(struct sum *sum, const struct inventory_blob *b)
{
	sum->blobs++;
	sum->bytes += b->disk;
}

struct totals {
	struct sum all, pinned, open, unnamed;
};

static bool is_named(const struct cache_command *c, const struct digest *d)
{
	for (size_t i = 0; i < c->known.n_repos; i++) {
		if (digest_set_has(&c->known.repos[i].named, d))
			return true;
	}
	return false;
}

static void add_up(const struct cache_command *c, struct totals *ret)
{
	*ret = (struct totals){0};
	for (size_t i = 0; i < c->have.n; i++) {
		const struct inventory_blob *b = &c->have.v[i];
		count(&ret->all, b);
		if (b->pinned)
			count(&ret->pinned, b);
		if (b->held)
			count(&ret->open, b);
		if (!is_named(c, &b->digest))
			count(&ret->unnamed, b);
	}
}

static struct sum sum_of(const struct cache_command *c, struct known_repo *repo)
{
	struct sum sum = {0};
	for (size_t i = 0; i < c->have.n; i++) {
		if (digest_set_has(&repo->named, &c->have.v[i].digest))
			count(&sum, &c->have.v[i]);
	}
	return sum;
}

static int du_json(struct cache_command *c, const struct totals *t)
{
	json_t *repos = json_array();
	for (size_t i = 0; i < c->known.n_repos; i++) {
		struct sum sum = sum_of(c, &c->known.repos[i]);
		(void)json_array_append_new(repos, json_pack("{s:s, s:I, s:I}", "repository",
							     c->known.repos[i].name, "bytes",
							     (json_int_t)sum.bytes, "blobs",
							     (json_int_t)sum.blobs));
	}
	return print_json(json_pack(
	    "{s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "directory", path_json(c->dir),
	    "bytes", (json_int_t)t->all.bytes, "blobs", (json_int_t)t->all.blobs, "pinned_bytes",
	    (json_int_t)t->pinned.bytes, "open_bytes", (json_int_t)t->open.bytes, "unnamed_bytes",
	    (json_int_t)t->unnamed.bytes, "partials", (json_int_t)c->have.partials, "partial_bytes",
	    (json_int_t)c->have.partial_bytes, "repositories", repos));
}

static void du_line(const struct sum *sum, const char *name)
{
	char size[UNITS_SIZE_MAX];
	units_format_size(sum->bytes, size);
	int used = printf("%9s  %6" PRIu64 "  ", size, sum->blobs);
	table_put_last(stdout, name, "", used > 0 ? (size_t)used : 0, table_terminal_width());
}

static int cache_du(struct cache_command *c)
{
	struct totals t;
	char pinned[UNITS_SIZE_MAX], open[UNITS_SIZE_MAX], partial[UNITS_SIZE_MAX];
	struct err dir;
	if (c->n_operands > 0)
		return complain(CLI_USAGE, "cache du: takes no operand; one cache is --cache DIR");
	add_up(c, &t);
	if (c->args->json)
		return du_json(c, &t);
	puts("     SIZE   BLOBS  REPOSITORY");
	for (size_t i = 0; i < c->known.n_repos; i++) {
		struct sum sum = sum_of(c, &c->known.repos[i]);
		struct err name;
		(void)err_set(&name, 0, "%s", c->known.repos[i].name);
		if (sum.blobs > 0)
			du_line(&sum, name.text);
	}
	if (t.unnamed.blobs > 0)
		du_line(&t.unnamed, "(named by none: unpacked layers, mostly)");
	(void)err_set(&dir, 0, "%s, what is shared counted once", c->dir);
	du_line(&t.all, dir.text);
	units_format_size(t.pinned.bytes, pinned);
	units_format_size(t.open.bytes, open);
	units_format_size(c->have.partial_bytes, partial);
	printf("pinned: %s; open: %s; not whole yet: %s\n", pinned, open, partial);
	return CLI_DONE;
}

/* ---- which of them ---- */

static const struct subcommand {
	const char *name;
	int (*run)(struct cache_command *c);
	bool choosing, dry_run, unpin; /* takes --keep and --older-than; --dry-run; --unpin */
	bool operands;                 /* takes some */
} subcommands[] = {
    {"ls", cache_ls, false, false, false, true},
    {"du", cache_du, false, false, false, false},
    {"verify", cache_verify, false, true, false, false},
    {"prune", cache_prune, true, true, false, false},
    {"rm", cache_rm, false, true, true, true},
};

static int check_options(const struct subcommand *sub, const struct cli_args *a)
{
	if ((a->keep != 0 || a->older_than_ms != 0) && !sub->choosing)
		return complain(CLI_USAGE, "cache %s: --keep and --older-than go with prune",
				sub->name);
	if (a->dry_run && !sub->dry_run)
		return complain(CLI_USAGE, "cache %s: --dry-run goes with prune, rm and verify",
				sub->name);
	if (a->unpin && !sub->unpin)
		return complain(CLI_USAGE, "cache %s: --unpin goes with rm", sub->name);
	if (a->n_operands > 1 && !sub->operands)
		return complain(CLI_USAGE,
				"cache %s: takes no operand; another cache is --cache DIR",
				sub->name);
	return CLI_DONE;
}

static int check_words(const struct subcommand *sub, const struct cli_args *a)
{
	struct cache_word w;
	struct err err;
	for (int i = 1; i < a->n_operands; i++) {
		if (cache_word_parse(a->operands[i], &w, &err) < 0)
			return complain(CLI_USAGE, "cache %s: %s", sub->name, err.text);
	}
	return CLI_DONE;
}

/* None is made by looking at it. */
static int open_store(struct cache_command *c)
{
	struct stat st;
	struct err err;
	struct store_options o = {.dir = c->dir};
	if (stat(c->dir, &st) < 0 && (errno == ENOENT || errno == ENOTDIR))
		return complain(CLI_FAILED,
				"there is no cache %s (%s); name another with --cache DIR", c->dir,
				strerror(errno));
	int rc = store_open(&o, &c->store, &err);
	if (rc == 0)
		rc = inventory_read(c->store, &c->have, &err);
	if (rc == 0)
		rc = known_read(c->store, &c->known, &err);
	return rc < 0 ? complain(CLI_FAILED, "%s", err.text) : CLI_DONE;
}

int cache_main(const struct cli_args *args)
{
	const struct subcommand *sub = NULL;
	AUTO_FREE char *dir = NULL;
	struct err err;
	for (size_t i = 0; args->n_operands > 0 && i < ARRAY_LEN(subcommands); i++) {
		if (strcmp(args->operands[0], subcommands[i].name) == 0)
			sub = &subcommands[i];
	}
	if (sub == NULL && args->n_operands > 0)
		return complain(
		    CLI_USAGE,
		    "cache: there is no '%s'; say what to do: ls, du, verify, prune or rm",
		    args->operands[0]);
	if (sub == NULL)
		return complain(CLI_USAGE, "cache: say what to do: ls, du, verify, prune or rm");
	int status = check_options(sub, args);
	if (status == CLI_DONE)
		status = check_words(sub, args);
	if (status != CLI_DONE)
		return status;
	if (args->cache == NULL && cache_dir_default(&dir, &err) < 0)
		return complain(CLI_FAILED, "%s", err.text);
	struct cache_command c = {.args = args,
				  .operands = args->operands + 1,
				  .n_operands = args->n_operands - 1,
				  .dir = args->cache != NULL ? args->cache : dir};
	status = open_store(&c);
	if (status == CLI_DONE)
		status = sub->run(&c);
	known_release(&c.known);
	inventory_release(&c.have);
	store_close(c.store);
	return status;
}
