/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/names.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/files_tree.h"
#include "fs/layer_class.h"

#define MARK_LEN     12 /* hexadecimal digits of a digest that tell two names apart */
#define WASM_MIN_LEN 8  /* bytes: magic, version, layer */

static int width_of(size_t count)
{
	int width = 1;
	for (size_t last = count - 1; last >= 10; last /= 10)
		width++;
	return width;
}

static int name_layers(const struct manifest *m, const struct layer_class *classes,
		       struct manifest_names *n)
{
	n->layer_names = calloc(m->layer_count + 1, sizeof(char *));
	if (n->layer_names == NULL)
		return -ENOMEM;
	int width = m->layer_count > 0 ? width_of(m->layer_count) : 0;
	for (size_t i = 0; i < m->layer_count; i++) {
		if (asprintf(&n->layer_names[i], "%0*zu.%s", width, i, classes[i].ext) < 0) {
			n->layer_names[i] = NULL;
			return -ENOMEM;
		}
	}
	return 0;
}

/* The layers of a container image that are archives make its root file system
 * instead. */
static bool is_in_files(const struct manifest *m, const struct layer_class *classes, size_t i)
{
	if (m->layers[i].title == NULL)
		return false;
	return !classes[i].tar || !media_type_is_image_config(m->config.desc.media_type);
}

static void describe_file(const struct manifest_entry *layer, const struct layer_class *class,
			  size_t i, struct files_add *ret)
{
	const char *colon = strchr(layer->digest_text, ':');

	/* Runtimes go by the extension (Spin), and early titles have none. */
	*ret = (struct files_add){.title = layer->title,
				  .ext = class->wasm ? "wasm" : NULL,
				  .other_ext = "wat",
				  .layer = i};
	if (colon != NULL)
		(void)snprintf(ret->mark, sizeof(ret->mark), "%.*s", MARK_LEN, colon + 1);
}

static int add_files(const struct manifest *m, const struct layer_class *classes,
		     struct files_tree *t)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < m->layer_count; i++) {
		if (is_in_files(m, classes, i))
			rc = files_tree_add_dirs(t, m->layers[i].title);
	}
	for (size_t i = 0; rc == 0 && i < m->layer_count; i++) {
		struct files_add a;
		if (!is_in_files(m, classes, i))
			continue;
		describe_file(&m->layers[i], &classes[i], i, &a);
		rc = files_tree_add_file(t, &a);
	}
	return rc;
}

/* An index has files/ of its own only once its best manifest is chosen. */
static int name_files(const struct manifest *m, const struct layer_class *classes,
		      struct manifest_names *n)
{
	struct files_tree t;
	int rc = files_tree_init(&t);

	if (rc == 0 && !m->is_index)
		rc = add_files(m, classes, &t);
	if (rc == 0)
		rc = files_tree_finish(&t, &n->files, &n->file_count);
	files_tree_release(&t);
	return rc;
}

/* The first of the layers that are declared to be Wasm: the entry point by the
 * CNCF's rule. One that is declared to be nothing may be it. */
static void choose_main(const struct manifest *m, const struct layer_class *classes,
			struct manifest_names *n)
{
	n->main_kind = MAIN_WASM_NONE;
	if (m->is_index)
		return;
	for (size_t i = 0; i < m->layer_count; i++) {
		if (classes[i].wasm) {
			n->main_kind = MAIN_WASM_LAYER;
			n->main_layer = i;
			return;
		}
	}
	if (m->layer_count == 1 && classes[0].open && m->layers[0].desc.size >= WASM_MIN_LEN &&
	    !media_type_is_image_config(m->config.desc.media_type))
		n->main_kind = MAIN_WASM_MAYBE;
}

static int fill_in(const struct manifest *m, struct manifest_names *n)
{
	AUTO_FREE struct layer_class *classes = calloc(m->layer_count + 1, sizeof(*classes));
	if (classes == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < m->layer_count; i++)
		layer_classify(&m->layers[i], &classes[i]);
	if (!m->is_index) {
		bool json = media_type_is_json(m->config.desc.media_type);
		n->config_name = json ? "config.json" : "config";
		int rc = name_layers(m, classes, n);
		if (rc < 0)
			return rc;
	}
	choose_main(m, classes, n);
	return name_files(m, classes, n);
}

int manifest_names_new(const struct manifest *m, struct manifest_names **ret)
{
	struct manifest_names *n = calloc(1, sizeof(*n));
	if (n == NULL)
		return -ENOMEM;
	int rc = fill_in(m, n);
	if (rc < 0)
		manifest_names_free(n);
	else
		*ret = n;
	return rc;
}

void manifest_names_free(struct manifest_names *n)
{
	if (n == NULL)
		return;
	for (size_t i = 0; n->layer_names != NULL && n->layer_names[i] != NULL; i++)
		free(n->layer_names[i]);
	free(n->layer_names);
	for (size_t i = 0; i < n->file_count; i++)
		free(n->files[i].name);
	free(n->files);
	free(n);
}

long manifest_names_find_layer(const struct manifest *m, const struct manifest_names *n,
			       const char *name)
{
	size_t i = 0;

	if (n->layer_names == NULL)
		return -ENOENT;
	for (const char *s = name; *s >= '0' && *s <= '9' && i < MANIFEST_LAYERS_MAX; s++)
		i = i * 10 + (size_t)(*s - '0');
	if (i >= m->layer_count || strcmp(n->layer_names[i], name) != 0)
		return -ENOENT;
	return (long)i;
}

long manifest_names_find_file(const struct manifest_names *n, size_t dir, const char *name)
{
	size_t low = n->files[dir].first;
	size_t high = low + n->files[dir].count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(name, n->files[middle].name);
		if (order == 0)
			return (long)middle;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return -ENOENT;
}

bool name_is_wasm(const char *name)
{
	static const char ext[] = ".wasm";
	size_t len = strlen(name);

	return len >= strlen(ext) && strcmp(name + len - strlen(ext), ext) == 0;
}
