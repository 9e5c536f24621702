/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a manifest's titles: a layer for each line, whose first byte
 * chooses its type and digest. The first byte of all chooses the config. */
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "fs/names.h"

#define LAYERS_MAX 300

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const configs[] = {"application/vnd.wasm.config.v0+json",
				      "application/vnd.oci.image.config.v1+json", ""};
static const char *const types[] = {"application/wasm", "application/octet-stream",
				    "application/vnd.oci.image.layer.v1.tar",
				    "application/vnd.oci.image.layer.v1.tar+gzip", ""};
static char digests[2][24] = {"sha256:00112233445566", "blake3:a"};

static void set_type(struct manifest_entry *e, const char *type)
{
	memcpy(e->desc.media_type, type, strlen(type) + 1);
	e->desc.size = 100;
	e->digest_text = digests[0];
}

/* Titles are copies in one block of memory, which is returned. */
static char *make_layers(const uint8_t *data, size_t size, struct manifest *m)
{
	char *text = malloc(size + 1);
	ASSERT(text != NULL);
	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	char *rest = text;
	for (char *line; m->layer_count < LAYERS_MAX && (line = strsep(&rest, "\n")) != NULL;) {
		struct manifest_entry *e = &m->layers[m->layer_count++];
		unsigned char choice = (unsigned char)line[0];
		set_type(e, types[choice % ARRAY_LEN(types)]);
		e->digest_text = digests[choice / 8 % 2];
		if (line[0] != '\0' && line[1] != '\0')
			e->title = line + 1;
	}
	return text;
}

static void check_name(const char *name)
{
	size_t len = strlen(name);
	ASSERT(len > 0 && len <= NAME_MAX);
	ASSERT(strcmp(name, ".") != 0 && strcmp(name, "..") != 0);
	for (size_t i = 0; i < len; i++)
		ASSERT((unsigned char)name[i] >= 0x20 && name[i] != 0x7f && name[i] != '/');
}

static void check_directory(const struct manifest_names *n, size_t dir)
{
	const struct file_entry *d = &n->files[dir];

	ASSERT(d->first + d->count <= n->file_count);
	for (size_t i = d->first; i < d->first + d->count; i++) {
		const struct file_entry *e = &n->files[i];
		check_name(e->name);
		ASSERT(i > dir && e->parent == dir);
		ASSERT(manifest_names_find_file(n, dir, e->name) == (long)i);
		if (i > d->first)
			ASSERT(strcmp(n->files[i - 1].name, e->name) < 0);
		for (size_t k = d->first; k < i; k++)
			ASSERT(strcasecmp(n->files[k].name, e->name) != 0);
	}
}

static void check_files(const struct manifest *m, const struct manifest_names *n)
{
	unsigned char seen[LAYERS_MAX] = {0};
	size_t children = 1;

	ASSERT(n->file_count >= 1 && n->files[0].kind == FILE_KIND_DIR);
	for (size_t i = 0; i < n->file_count; i++) {
		const struct file_entry *e = &n->files[i];
		children += e->count;
		check_directory(n, i);
		if (e->kind == FILE_KIND_DIR)
			continue;
		ASSERT(e->count == 0 && e->layer < m->layer_count);
		ASSERT(seen[e->layer]++ == 0);
	}
	ASSERT(children == n->file_count);
	for (size_t i = 0; i < m->layer_count; i++) {
		if (m->layers[i].title != NULL &&
		    strcmp(m->config.desc.media_type, configs[1]) != 0)
			ASSERT(seen[i] == 1);
	}
}

static void check_all(const struct manifest *m, const struct manifest_names *n)
{
	check_files(m, n);
	for (size_t i = 0; i < m->layer_count; i++) {
		check_name(n->layer_names[i]);
		ASSERT(manifest_names_find_layer(m, n, n->layer_names[i]) == (long)i);
	}
	if (n->main_kind != MAIN_WASM_NONE)
		ASSERT(n->main_layer < m->layer_count);
}

/* Twice the same manifest is twice the same names. */
static void check_same(const struct manifest_names *a, const struct manifest_names *b)
{
	ASSERT(a->file_count == b->file_count);
	for (size_t i = 0; i < a->file_count; i++)
		ASSERT(strcmp(a->files[i].name, b->files[i].name) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct manifest_entry layers[LAYERS_MAX];
	struct manifest m = {.layers = layers};
	struct manifest_names *n, *again;

	(void)content_kind(data, size);
	if (size == 0)
		return 0;
	memset(layers, 0, sizeof(layers));
	set_type(&m.config, configs[data[0] % ARRAY_LEN(configs)]);
	char *text = make_layers(data + 1, size - 1, &m);
	ASSERT(manifest_names_new(&m, NULL, NULL, &n) == 0);
	check_all(&m, n);
	ASSERT(manifest_names_new(&m, NULL, NULL, &again) == 0);
	check_same(n, again);
	manifest_names_free(n);
	manifest_names_free(again);
	free(text);
	return 0;
}
