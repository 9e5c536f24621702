/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/image_config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "registry/json_util.h"
#include "registry/manifest.h"

bool image_config_matters(const char *media_type)
{
	return media_type_is(media_type, "application/vnd.oci.image.config.v1+json") ||
	       media_type_is(media_type, "application/vnd.docker.container.image.v1+json") ||
	       media_type_is(media_type, "application/vnd.wasm.component.config.v1+json");
}

/* A string that is one, without a NUL. New, or NULL; sets *oom. */
static char *take_text(const json_t *v, bool *oom)
{
	const char *s = json_string_value(v);
	char *copy;

	if (!s || !*s || strlen(s) != json_string_length(v))
		return NULL;
	copy = strdup(s);
	*oom |= !copy;
	return copy;
}

static char *take_field(const json_t *o, const char *key, bool *oom)
{
	return take_text(json_object_get(o, key), oom);
}

/* Docker's form of a shell command is one string; it names no file. */
static void take_args(const json_t *list, struct image_config *c, bool *oom)
{
	const json_t *v;
	size_t i;

	json_array_foreach (list, i, v) {
		char *arg = c->arg_count < IMAGE_CONFIG_ARGS_MAX ? take_text(v, oom) : NULL;

		if (arg)
			c->args[c->arg_count++] = arg;
	}
}

/* The last one counts, as it does in an environment that is set one by one. */
static void take_path(const json_t *env, struct image_config *c, bool *oom)
{
	static const char key[] = "PATH=";
	const json_t *v;
	size_t i;

	json_array_foreach (env, i, v) {
		const char *s = json_string_value(v);

		if (!s || strncmp(s, key, strlen(key)) != 0)
			continue;
		free(c->path);
		c->path = take_text(v, oom);
		if (c->path)
			memmove(c->path, c->path + strlen(key), strlen(c->path) - strlen(key) + 1);
	}
}

static void take_command(const json_t *config, struct image_config *c, bool *oom)
{
	c->args = calloc(IMAGE_CONFIG_ARGS_MAX, sizeof(*c->args));
	if (!c->args) {
		*oom = true;
		return;
	}
	take_args(json_object_get(config, "Entrypoint"), c, oom);
	take_args(json_object_get(config, "Cmd"), c, oom);
	c->working_dir = take_field(config, "WorkingDir", oom);
	take_path(json_object_get(config, "Env"), c, oom);
}

static bool take_digest(const json_t *v, struct digest *ret)
{
	const char *s = json_string_value(v);

	*ret = (struct digest){0};
	return s && digest_parse(s, strlen(s), ret) == 0;
}

static void take_diff_ids(const json_t *list, struct image_config *c, bool *oom)
{
	size_t n = json_array_size(list);

	if (n == 0 || n > IMAGE_CONFIG_DIFFS_MAX)
		return;
	c->diff_ids = calloc(n, sizeof(*c->diff_ids));
	*oom |= !c->diff_ids;
	for (size_t i = 0; c->diff_ids && i < n; i++) {
		if (!take_digest(json_array_get(list, i), &c->diff_ids[i]))
			c->diff_ids[i] = (struct digest){0};
		c->diff_id_count++;
	}
}

static int compare_files(const void *a, const void *b)
{
	const struct image_config_file *x = a, *y = b;
	int r = digest_compare(&x->digest, &y->digest);

	return r ? r : strcmp(x->guest, y->guest);
}

size_t image_config_files_of(const struct image_config *c, const struct digest *d,
			     size_t *ret_first)
{
	size_t low = 0, high = c->file_count, n = 0;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (digest_compare(&c->files[middle].digest, d) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*ret_first = low;
	while (low + n < c->file_count && digest_equal(&c->files[low + n].digest, d))
		n++;
	return n;
}

static void take_files(const json_t *list, struct image_config *c, bool *oom)
{
	size_t n = json_array_size(list);

	if (n == 0 || n > IMAGE_CONFIG_FILES_MAX)
		return;
	c->files = calloc(n, sizeof(*c->files));
	*oom |= !c->files;
	for (size_t i = 0; c->files && i < n; i++) {
		const json_t *v = json_array_get(list, i);
		struct image_config_file *f = &c->files[c->file_count];

		if (!take_digest(json_object_get(v, "digest"), &f->digest))
			continue;
		f->guest = take_field(v, "guest", oom);
		c->file_count += f->guest != NULL;
	}
	if (c->file_count > 1)
		qsort(c->files, c->file_count, sizeof(*c->files), compare_files);
}

int image_config_parse(const char *bytes, size_t len, struct image_config **ret, struct err *err)
{
	AUTO_JSON json_t *root = NULL;
	struct image_config *c;
	bool oom = false;
	int r = json_util_parse(bytes, len, "the config", &root, err);

	if (r < 0)
		return r == -EFBIG ? -EPROTO : r;
	c = calloc(1, sizeof(*c));
	if (!c)
		return err_set(err, -ENOMEM, "out of memory");
	c->os = take_field(root, "os", &oom);
	c->architecture = take_field(root, "architecture", &oom);
	take_command(json_object_get(root, "config"), c, &oom);
	take_diff_ids(json_object_get(json_object_get(root, "rootfs"), "diff_ids"), c, &oom);
	take_files(json_object_get(json_object_get(root, "wasi"), "files"), c, &oom);
	if (oom) {
		image_config_free(c);
		return err_set(err, -ENOMEM, "out of memory");
	}
	*ret = c;
	return 0;
}

void image_config_free(struct image_config *c)
{
	if (!c)
		return;
	free(c->os);
	free(c->architecture);
	free(c->working_dir);
	free(c->path);
	for (size_t i = 0; i < c->arg_count; i++)
		free(c->args[i]);
	free(c->args);
	free(c->diff_ids);
	for (size_t i = 0; i < c->file_count; i++)
		free(c->files[i].guest);
	free(c->files);
	free(c);
}
