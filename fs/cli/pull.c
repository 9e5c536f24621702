/* SPDX-License-Identifier: Apache-2.0 */
/* `wasmocifs pull`: by the mounts that serve it, and what they do not, here. */
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/macros.h"
#include "fs/cli/cache_dir.h"
#include "fs/cli/command.h"
#include "fs/cli/process.h"
#include "fs/cli/pull_impl.h"
#include "fs/fs.h"
#include "fs/log.h"
#include "registry/image_reference.h"

#define LOOK_MS        100
#define LINE_MAX_BYTES (2 * IMAGE_REFERENCE_MAX)

struct job {
	const struct cli_args *args;
	const char *cache;
	struct names references; /* sorted, each once */
	bool *over;              /* of each */
	struct pull_show show;
};

/* ---- what was asked for ---- */

static int add(struct names *to, const char *reference, size_t len, const char *where,
	       unsigned line, struct err *err)
{
	struct image_reference ref;
	struct err why;
	AUTO_FREE char *copy = dup_text(reference, len);
	if (copy == NULL || names_add(to, reference, len) < 0)
		return err_set(err, -ENOMEM, "out of memory");
	if (strlen(copy) != len)
		return err_set(err, -EINVAL, "%s:%u: this is no text", where, line);
	if (image_reference_parse(copy, &ref, &why) == 0)
		return to->n <= PULL_REFERENCES_MAX
			   ? 0
			   : err_set(err, -EINVAL,
				     "more than %u references at once; pull them in parts",
				     PULL_REFERENCES_MAX);
	return where != NULL ? err_set(err, -EINVAL, "%s:%u: %s", where, line, why.text)
			     : err_set(err, -EINVAL, "%s", why.text);
}

/* One on each line; '#' begins a comment. */
static int add_line(struct names *to, char *text, size_t len, const char *where, unsigned line,
		    struct err *err)
{
	static const char space[] = " \t\r\n\f\v";
	size_t start = strspn(text, space);
	size_t end = start + strcspn(text + start, " \t\r\n\f\v#");
	size_t rest = end + strspn(text + end, space);
	if (text[start] == '#' || (start == end && start == len))
		return 0;
	if (rest < len && text[rest] != '#')
		return err_set(err, -EINVAL, "%s:%u: one reference on each line, and nothing else",
			       where, line);
	return add(to, text + start, end - start, where, line, err);
}

/* One more line, without its end. 1; 0: there is none; -EFBIG. */
static int next_line(FILE *f, char text[LINE_MAX_BYTES + 1], size_t *ret_len)
{
	size_t len = 0;
	int c;
	while ((c = getc_unlocked(f)) != EOF && c != '\n') {
		if (len == LINE_MAX_BYTES)
			return -EFBIG;
		text[len++] = (char)c;
	}
	text[len] = '\0';
	*ret_len = len;
	return c != EOF || len > 0;
}

static int read_lines(struct names *to, FILE *f, const char *where, struct err *err)
{
	char text[LINE_MAX_BYTES + 1];
	size_t len;
	int rc = 0, more = 1;
	for (unsigned line = 1; rc == 0 && (more = next_line(f, text, &len)) != 0; line++) {
		size_t mark = line == 1 && more > 0 ? byte_order_mark(text, len) : 0;
		rc = more < 0 ? err_set(err, -EINVAL, "%s:%u: the line is too long", where, line)
			      : add_line(to, text + mark, len - mark, where, line, err);
	}
	if (rc == 0 && ferror(f))
		rc = err_set(err, -EINVAL, "--from: cannot read %s", where);
	return rc;
}

static int read_file(struct names *to, const char *name, struct err *err)
{
	struct stat st;
	if (strcmp(name, "-") == 0)
		return read_lines(to, stdin, "standard input", err);
	FILE *f = fopen(name, "re");
	if (f == NULL)
		return err_set(err, -EINVAL, "--from: cannot read %s: %s", name, strerror(errno));
	int rc = fstat(fileno(f), &st) == 0 && S_ISDIR(st.st_mode)
		     ? err_set(err, -EINVAL, "--from: %s is a directory; give a file", name)
		     : read_lines(to, f, name, err);
	(void)fclose(f);
	return rc;
}

static int read_references(const struct cli_args *args, struct names *ret, struct err *err)
{
	int rc = 0;
	if (args->n_operands == 0 && args->from == NULL)
		return err_set(err, -EINVAL,
			       "what? wasmocifs pull REFERENCE…, for example: wasmocifs pull "
			       "ghcr.io/org/app:v1");
	if (args->platform != NULL && !pull_is_platform(args->platform))
		return err_set(
		    err, -EINVAL,
		    "--platform: '%s' is none; write it as linux/arm64, wasi/wasm or all",
		    args->platform);
	for (int i = 0; rc == 0 && i < args->n_operands; i++)
		rc = add(ret, args->operands[i], strlen(args->operands[i]), NULL, 0, err);
	if (rc == 0 && args->from != NULL)
		rc = read_file(ret, args->from, err);
	if (rc == 0 && ret->n == 0)
		rc = err_set(err, -EINVAL, "--from: there is no reference in %s",
			     strcmp(args->from, "-") == 0 ? "standard input" : args->from);
	if (rc == 0)
		names_sort(ret);
	return rc;
}

/* ---- which are over ---- */

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool *find(void *ctx, const char *reference)
{
	struct job *j = ctx;
	char **at = bsearch(&reference, j->references.v, j->references.n, sizeof(*j->references.v),
			    compare);
	return at != NULL ? &j->over[at - j->references.v] : NULL;
}

static void on_over(void *ctx, const char *reference)
{
	bool *over = find(ctx, reference);
	if (over != NULL)
		*over = true;
}

static bool is_over(void *ctx, const char *reference)
{
	const bool *over = find(ctx, reference);
	return over == NULL || *over;
}

/* ---- here ---- */

/* The registries of what is left, each once. */
static int list_sources(struct job *j, struct names *ret, struct err *err)
{
	struct image_reference ref;
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < j->references.n; i++) {
		if (j->over[i])
			continue;
		rc = image_reference_parse(j->references.v[i], &ref, err);
		if (rc == 0 && names_add(ret, ref.source, strlen(ref.source)) < 0)
			rc = err_set(err, -ENOMEM, "out of memory");
	}
	names_sort(ret);
	return rc;
}

static int make_fs(const struct job *j, const struct names *sources, struct fs **ret,
		   struct err *err)
{
	const struct cli_args *a = j->args;
	struct fs_options o = {
	    .specs = (const char *const *)sources->v,
	    .spec_count = sources->n,
	    .source = {.auth_file = a->auth_file,
		       .ca_file = a->ca_file,
		       .hosts_dir = a->hosts_dir,
		       .timeout_ms = a->timeout_ms},
	    .store = {.dir = j->cache, .limit = a->cache_size},
	    .timeout_ms = a->timeout_ms,
	};
	int rc = fs_new(&o, ret, err);
	if (rc == 0)
		rc = fs_start_fetching(*ret, err);
	return rc;
}

static void add_rest(struct job *j, struct pull *pull)
{
	for (size_t i = 0; i < j->references.n; i++) {
		struct err err;
		if (!j->over[i] && pull_add(pull, j->references.v[i], &err) < 0)
			pull_show_failure(&j->show, j->references.v[i], err.text, "");
	}
	pull_seal(pull);
}

static int follow(struct job *j, struct pull *pull, struct err *err)
{
	uint64_t since = 0;
	for (bool done = false; !done;) {
		json_t *report = pull_report(pull, since);
		if (report == NULL)
			return err_set(err, -ENOMEM, "out of memory");
		since = (uint64_t)json_integer_value(json_object_get(report, "next"));
		const char *state = json_string_value(json_object_get(report, "state"));
		done = state != NULL && strcmp(state, "done") == 0;
		pull_show(&j->show, report);
		json_decref(report);
		if (!done)
			(void)poll(NULL, 0, LOOK_MS);
	}
	return 0;
}

static int pull_here(struct job *j, struct err *err)
{
	struct names sources = {0};
	struct fs *fs = NULL;
	struct pull *pull = NULL;
	struct pull_options o = {.platform = j->args->platform, .pin = j->args->pin};
	int rc = process_prepare_limits(err);
	if (rc == 0)
		rc = list_sources(j, &sources, err);
	if (rc == 0)
		rc = make_fs(j, &sources, &fs, err);
	if (rc == 0)
		rc = pull_new(fs, &o, &pull, err);
	if (rc == 0) {
		add_rest(j, pull);
		rc = follow(j, pull, err);
	}
	pull_free(pull);
	if (fs != NULL)
		fs_stop_fetching(fs);
	pulls_wait();
	fs_free(fs);
	pull_show_settle(&j->show);
	names_release(&sources);
	return rc;
}

/* ---- */

/* A mount has its own, and does as these say only by chance. */
static bool has_options_of_its_own(const struct cli_args *a)
{
	static const size_t own[] = {
	    offsetof(struct cli_args, auth_file), offsetof(struct cli_args, ca_file),
	    offsetof(struct cli_args, hosts_dir), offsetof(struct cli_args, timeout_ms),
	    offsetof(struct cli_args, cache_size)};
	for (size_t i = 0; i < ARRAY_LEN(own); i++) {
		if (options_given(a, own[i]))
			return true;
	}
	return false;
}

/* Those that have this cache come first; where it was not asked for by name, what another mount
 * serves is for that one's readers. */
static void pull_elsewhere(struct job *j)
{
	pull_by_mounts(j->args, j->cache, &j->references, is_over, j, &j->show);
	if (!options_given(j->args, offsetof(struct cli_args, cache)))
		pull_by_mounts(j->args, NULL, &j->references, is_over, j, &j->show);
}

static int run(struct job *j)
{
	struct err err = {""};
	int rc = 0;
	size_t left = 0;
	if (!has_options_of_its_own(j->args))
		pull_elsewhere(j);
	for (size_t i = 0; i < j->references.n; i++)
		left += !j->over[i];
	if (left > 0)
		rc = pull_here(j, &err);
	if (rc < 0)
		return complain(rc == -EINVAL ? CLI_USAGE : CLI_FAILED, "pull: %s", err.text);
	pull_show_summary(&j->show, j->references.n);
	return j->show.failed ? CLI_FAILED : CLI_DONE;
}

int pull_main(const struct cli_args *args)
{
	AUTO_FREE char *dir = NULL;
	struct job j = {.args = args};
	struct err err;
	log_open(LOG_LEVEL_ERROR, args->log_format, false);
	int status = CLI_DONE;
	if (read_references(args, &j.references, &err) < 0)
		status = complain(CLI_USAGE, "pull: %s", err.text);
	else if (args->cache == NULL && cache_dir_default(&dir, &err) < 0)
		status = complain(CLI_FAILED, "pull: %s", err.text);
	if (status == CLI_DONE) {
		j.cache = args->cache != NULL ? args->cache : dir;
		j.over = calloc(j.references.n + 1, sizeof(*j.over));
		pull_show_init(&j.show);
		j.show.over = on_over;
		j.show.ctx = &j;
		status = j.over != NULL ? run(&j) : complain(CLI_FAILED, "pull: out of memory");
	}
	free(j.over);
	names_release(&j.references);
	return status;
}
