/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/platform.h"

#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PART_MAX 64 /* of each of the three, bytes; the rest is cut off */
#define NAME_LEN (3 * PART_MAX + 48)
#define MARK_LEN 12

static bool is_attestation(const struct manifest_entry *e)
{
	const char *type =
	    annotation_get(e->annotations, e->annotation_count, "vnd.docker.reference.type");
	return type && strcmp(type, "attestation-manifest") == 0;
}

static bool is_known(const char *s)
{
	return s && s[0] && strcmp(s, "unknown") != 0;
}

static bool is_platform(const struct manifest_entry *e)
{
	return !is_attestation(e) && is_known(e->os) && is_known(e->architecture) &&
	       digest_is_set(&e->desc.digest);
}

bool platform_is_wasm(const struct manifest_entry *e)
{
	if (is_attestation(e))
		return false;
	if (e->architecture && strncmp(e->architecture, "wasm", 4) == 0)
		return true;
	if (e->os && strncmp(e->os, "wasi", 4) == 0)
		return true;
	return e->artifact_type && strstr(e->artifact_type, "wasm") != NULL;
}

/* ---- names ---- */

/* What a registry says may be anything. */
static void add_part(char *out, const char *part)
{
	size_t n = strlen(out);
	if (n > 0)
		out[n++] = '-';
	for (size_t i = 0; i < PART_MAX && part[i]; i++) {
		char c = part[i];
		bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			     (c >= '0' && c <= '9') || c == '_' || (c == '.' && n > 0);
		out[n++] = plain ? c : '_';
	}
	out[n] = '\0';
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(a, b);
}

static bool is_taken(void *const *taken, const char *name)
{
	return tfind(name, taken, compare_names) != NULL;
}

/* New, and one of those that are taken. */
static char *make_name(const struct manifest *index, size_t i, void **taken)
{
	const struct manifest_entry *e = &index->layers[i];
	char name[NAME_LEN] = "", hex[DIGEST_HEX_MAX];
	add_part(name, e->os);
	add_part(name, e->architecture);
	if (e->variant && e->variant[0])
		add_part(name, e->variant);
	size_t len = strlen(name);
	digest_hex(&e->desc.digest, hex);
	if (is_taken(taken, name))
		snprintf(name + len, sizeof(name) - len, "~%.*s", MARK_LEN, hex);
	if (is_taken(taken, name))
		snprintf(name + len, sizeof(name) - len, "~%zu", i);
	char *copy = strdup(name);
	if (copy && !tsearch(copy, taken, compare_names)) {
		free(copy);
		copy = NULL;
	}
	return copy;
}

/* They are the caller's, not the tree's. */
static void keep(void *name)
{
	(void)name;
}

int platform_names(const struct manifest *index, char ***ret)
{
	char **names = calloc(index->layer_count + 1, sizeof(*names));
	void *taken = NULL;
	int r = names ? 0 : -ENOMEM;
	for (size_t i = 0; r == 0 && i < index->layer_count; i++) {
		if (!is_platform(&index->layers[i]))
			continue;
		names[i] = make_name(index, i, &taken);
		r = names[i] ? 0 : -ENOMEM;
	}
	tdestroy(taken, keep);
	if (r)
		platform_names_free(names, index->layer_count);
	else
		*ret = names;
	return r;
}

void platform_names_free(char **names, size_t n)
{
	for (size_t i = 0; names && i < n; i++)
		free(names[i]);
	free(names);
}

/* ---- choosing ---- */

/* As Go names it. */
static const char *go_arch(const char *machine)
{
	static const char *const same[][2] = {{"x86_64", "amd64"},    {"aarch64", "arm64"},
					      {"armv7l", "arm"},      {"armv6l", "arm"},
					      {"i686", "386"},        {"i386", "386"},
					      {"ppc64le", "ppc64le"}, {"s390x", "s390x"},
					      {"riscv64", "riscv64"}, {"loongarch64", "loong64"}};
	for (size_t i = 0; i < ARRAY_LEN(same); i++) {
		if (strcmp(machine, same[i][0]) == 0)
			return same[i][1];
	}
	return machine;
}

static unsigned rank(const struct manifest_entry *e, const char *arch)
{
	if (!digest_is_set(&e->desc.digest) || is_attestation(e))
		return 0;
	if (platform_is_wasm(e))
		return 5;
	if (!is_platform(e))
		return (e->os || e->architecture) ? 0 : 1;
	if (strcmp(e->os, "linux") != 0)
		return 2;
	return strcmp(e->architecture, arch) == 0 ? 4 : 3;
}

int platform_best(const struct manifest *index, const char *machine, size_t *ret)
{
	const char *arch = go_arch(machine);
	unsigned best = 0;
	for (size_t i = 0; i < index->layer_count; i++) {
		unsigned r = rank(&index->layers[i], arch);
		if (r > best) {
			best = r;
			*ret = i;
		}
	}
	return best > 0 ? 0 : -ENOENT;
}

/* Up to the next '/', or the end, which *s is moved behind. */
static bool is_part(const char **s, const char *part)
{
	size_t len = strcspn(*s, "/");
	bool same = part != NULL && strlen(part) == len && memcmp(*s, part, len) == 0;
	*s += len;
	*s += **s == '/';
	return same;
}

bool platform_is(const struct manifest_entry *e, const char *platform)
{
	if (is_attestation(e) || !is_part(&platform, e->os) || !is_part(&platform, e->architecture))
		return false;
	return platform[0] == '\0' || is_part(&platform, e->variant);
}

bool platform_is_any(const struct manifest_entry *e)
{
	return !is_attestation(e) && digest_is_set(&e->desc.digest);
}
