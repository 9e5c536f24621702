/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/names.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "fs/files_tree.h"
#include "fs/layer_class.h"

#define MARK_LEN     12 /* hexadecimal digits of a digest that tell two names apart */
#define WASM_MIN_LEN 8  /* bytes: magic, version, layer */

static int name_layers(const struct manifest *m, const struct layer_class *classes,
		       struct manifest_names *n)
{
	n->layer_names = calloc(m->layer_count + 1, sizeof(char *));
	if (n->layer_names == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < m->layer_count; i++) {
		if (asprintf(&n->layer_names[i], "%zu.%s", i, classes[i].ext) < 0) {
			n->layer_names[i] = NULL;
			return -ENOMEM;
		}
	}
	return 0;
}

/* ---- files/ ---- */

#define ENTRY_SUFFIX "#" /* "hello.wasm#_start", as runwasi has it */
#define SPIN_BUNDLE  "application/vnd.wasm.content.bundle.v1.tar+gzip"
/* Of the Warg proposal: what programs are compiled against. */
#define WARG_INTERFACE "application/vnd.wasm.component.interface.v1"
#define EMPTY_LAYER    "application/vnd.oci.empty.v1+json"

/* What the names depend on, and what is being made of it. */
struct naming {
	const struct manifest *m;
	const struct image_config *config; /* NULL: there is none, or it says nothing */
	const struct spin_lock *lock;      /* likewise */
	const struct layer_class *classes;
	size_t wasm_layers;
};

struct role {
	const char *type, *title;
};

/* Of layers that producers do not give a title, because who reads them knows. */
static const struct role roles[] = {
    {"application/vnd.module.wasm.config.v1+json", "runtime-config.json"},
    {"application/vnd.module.wasm.content.layer.v1+wasm", "plugin.wasm"},
    {"application/vnd.fermyon.spin.application.v1+config", "spin.lock.json"},
};

static const char *annotation(const struct manifest *m, const char *key)
{
	const char *v = annotation_get(m->annotations, m->annotation_count, key);
	return v && v[0] ? v : NULL;
}

/* What stands behind the last separator. "": nothing. */
static const char *base_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

/* A chart as `helm pull` names it. New; NULL with 0 where nothing says how. */
static int chart_title(const struct manifest *m, const char *type, char **ret)
{
	const char *name = annotation(m, "org.opencontainers.image.title");
	const char *version = annotation(m, "org.opencontainers.image.version");
	bool provenance = media_type_is(type, "application/vnd.cncf.helm.chart.provenance.v1.prov");
	*ret = NULL;
	if (!provenance &&
	    !media_type_is(type, "application/vnd.cncf.helm.chart.content.v1.tar+gzip"))
		return 0;
	if (!name || !version)
		return 0;
	return asprintf(ret, "%s-%s.tgz%s", name, version, provenance ? ".prov" : "") < 0 ? -ENOMEM
											  : 0;
}

static bool names_wasm(const char *path)
{
	size_t len = strcspn(path, ENTRY_SUFFIX);
	return (len > 5 && strncasecmp(path + len - 5, ".wasm", 5) == 0) ||
	       (len > 4 && strncasecmp(path + len - 4, ".wat", 4) == 0);
}

/* Of the only Wasm layer, without a title: the entry point's name, or the artifact's if that
 * is the one that names Wasm. New; NULL with 0: there is neither. */
static int wasm_title(const struct naming *n, char **ret)
{
	const char *name = annotation(n->m, "org.opencontainers.image.title");
	const char *entry = n->config && n->config->arg_count > 0 ? n->config->args[0] : NULL;
	if (entry && (!name || names_wasm(entry) || !names_wasm(name)))
		name = entry;
	name = name ? base_of(name) : "";
	size_t len = strcspn(name, ENTRY_SUFFIX);
	*ret = len > 0 ? strndup(name, len) : NULL;
	return len > 0 && *ret == NULL ? -ENOMEM : 0;
}

/* Of a layer that nothing names: its number, as wide as the last one's, so that they sort. */
static int number_title(const struct naming *n, size_t i, char **ret)
{
	int width = 1;
	for (size_t last = n->m->layer_count - 1; last >= 10; last /= 10)
		width++;
	return asprintf(ret, "layer%0*zu.%s", width, i, n->classes[i].ext) < 0 ? -ENOMEM : 0;
}

static bool is_image(const struct naming *n)
{
	return media_type_is_image_config(n->m->config.desc.media_type);
}

/* Whether the layer is an archive whose members are below files/, and not itself: one of
 * a container image, a directory as ORAS packs it, or a provider of wasmCloud's. */
static bool is_unpacked(const struct naming *n, size_t i)
{
	const struct manifest_entry *layer = &n->m->layers[i];
	if (media_type_is(layer->desc.media_type, SPIN_BUNDLE))
		return false; /* its members are named by a lock */
	const char *unpack = annotation_get(layer->annotations, layer->annotation_count,
					    "io.deis.oras.content.unpack");
	/* An image's layers of types that we do not know are archives all the same: left out,
	 * they would leave a wrong tree. */
	if (is_image(n) && layer->title == NULL && n->wasm_layers == 0 &&
	    (n->classes[i].open || strstr(layer->desc.media_type, ".tar")))
		return true;
	if (is_image(n) || (unpack && strcmp(unpack, "true") == 0))
		return n->classes[i].tar;
	return media_type_is(layer->desc.media_type,
			     "application/vnd.wasmcloud.provider.archive.layer.v1+par");
}

/* What is no file of the artifact: the mark of one without layers, and what holds the files
 * that a lock names. */
static bool stands_for_nothing(const struct naming *n, size_t i)
{
	const char *type = n->m->layers[i].desc.media_type;
	return media_type_is(type, EMPTY_LAYER) || (n->lock && media_type_is(type, SPIN_BUNDLE));
}

/* The title that a layer has in files/: its own, or its part in this packaging. New;
 * NULL with 0: it is not there. */
static int title_of(const struct naming *n, size_t i, char **ret)
{
	const struct manifest_entry *layer = &n->m->layers[i];
	const char *title = layer->title;
	*ret = NULL;
	if (is_unpacked(n, i))
		return 0;
	for (size_t k = 0; title == NULL && k < ARRAY_LEN(roles); k++) {
		if (media_type_is(layer->desc.media_type, roles[k].type))
			title = roles[k].title;
	}
	if (title != NULL) {
		*ret = strdup(title);
		return *ret ? 0 : -ENOMEM;
	}
	int r = chart_title(n->m, layer->desc.media_type, ret);
	if (r == 0 && *ret == NULL && n->classes[i].wasm && n->wasm_layers == 1)
		r = wasm_title(n, ret);
	return r || *ret || stands_for_nothing(n, i) ? r : number_title(n, i, ret);
}

static void describe_file(const struct manifest_entry *layer, const struct layer_class *class,
			  size_t i, const char *title, struct files_add *ret)
{
	const char *colon = strchr(layer->digest_text, ':');

	/* Runtimes go by the extension (Spin), and early titles have none. */
	*ret = (struct files_add){
	    .title = title, .ext = class->wasm ? "wasm" : NULL, .other_ext = "wat", .layer = i};
	if (colon != NULL)
		(void)snprintf(ret->mark, sizeof(ret->mark), "%.*s", MARK_LEN, colon + 1);
}

typedef int (*file_fn)(const struct naming *n, size_t layer, const char *title,
		       struct files_tree *t);

static int add_dirs(const struct naming *n, size_t layer, const char *title, struct files_tree *t)
{
	(void)n;
	(void)layer;
	return files_tree_add_dirs(t, title);
}

static int add_file(const struct naming *n, size_t layer, const char *title, struct files_tree *t)
{
	struct files_add a;
	describe_file(&n->m->layers[layer], &n->classes[layer], layer, title, &a);
	return files_tree_add_file(t, &a);
}

/* Warg's bundles say in their config where layers belong. */
static int each_guest(const struct naming *n, size_t layer, file_fn fn, struct files_tree *t,
		      bool *any)
{
	const struct image_config *c = n->config;
	size_t first = 0;
	size_t count = c ? image_config_files_of(c, &n->m->layers[layer].desc.digest, &first) : 0;
	int r = 0;
	for (size_t i = first; r == 0 && i < first + count; i++)
		r = fn(n, layer, c->files[i].guest, t);
	*any = count > 0;
	return r;
}

/* A Spin lock does the same. `placed`: which of its files this has named. */
static int each_locked(const struct naming *n, size_t layer, file_fn fn, struct files_tree *t,
		       bool *placed, bool *any)
{
	size_t first = 0;
	size_t count = spin_lock_files_of(n->lock, &n->m->layers[layer].desc.digest, &first);
	int r = 0;
	for (size_t i = first; r == 0 && i < first + count; i++) {
		r = placed[i] ? 0 : fn(n, layer, n->lock->files[i].path, t);
		placed[i] = true;
	}
	*any |= count > 0;
	return r;
}

static int add_loose(const struct naming *n, size_t i, bool dirs, struct files_tree *t)
{
	const struct spin_file *f = &n->lock->files[i];
	struct files_add a = {.title = f->path, .layer = i, .loose = true};
	char hex[DIGEST_HEX_MAX];
	digest_hex(&f->digest, hex);
	(void)snprintf(a.mark, sizeof(a.mark), "%.*s", MARK_LEN, hex);
	return dirs ? files_tree_add_dirs(t, f->path) : files_tree_add_file(t, &a);
}

static int each_file(const struct naming *n, file_fn fn, struct files_tree *t)
{
	size_t locked = n->lock ? n->lock->n : 0;
	AUTO_FREE bool *placed = calloc(locked + 1, sizeof(*placed));
	int r = placed ? 0 : -ENOMEM;
	for (size_t i = 0; r == 0 && i < n->m->layer_count; i++) {
		AUTO_FREE char *title = NULL;
		bool any = false;
		r = each_guest(n, i, fn, t, &any);
		if (r == 0 && n->lock)
			r = each_locked(n, i, fn, t, placed, &any);
		if (r == 0 && !any)
			r = title_of(n, i, &title);
		if (r == 0 && title != NULL)
			r = fn(n, i, title, t);
	}
	for (size_t i = 0; r == 0 && i < locked; i++) {
		if (!placed[i])
			r = add_loose(n, i, fn == add_dirs, t);
	}
	return r;
}

/* Where files of a lock are that no layer is. */
static int find_loose(const struct naming *naming, struct manifest_names *n)
{
	const struct manifest *m = naming->m;
	n->lock_layer = -1;
	n->bundles = calloc(m->layer_count + 1, sizeof(*n->bundles));
	n->loose = calloc((naming->lock ? naming->lock->n : 0) + 1, sizeof(*n->loose));
	if (n->bundles == NULL || n->loose == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < m->layer_count; i++) {
		const char *type = m->layers[i].desc.media_type;
		if (spin_lock_is(type))
			n->lock_layer = (long)i;
		if (media_type_is(type, SPIN_BUNDLE))
			n->bundles[n->bundle_count++] = i;
	}
	for (size_t i = 0; naming->lock && i < naming->lock->n; i++) {
		const struct digest *d = &naming->lock->files[i].digest;
		const struct spin_file *f = spin_lock_inlined(naming->lock, d);
		n->loose[i] = (struct loose_file){*d, f != NULL, f ? f->len : 0};
	}
	return 0;
}

/* Those that have no title here. */
static int find_root_layers(const struct naming *naming, struct manifest_names *n)
{
	n->root_is_image = is_image(naming);
	n->root_layers = calloc(naming->m->layer_count + 1, sizeof(*n->root_layers));
	if (n->root_layers == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < naming->m->layer_count; i++) {
		if (is_unpacked(naming, i))
			n->root_layers[n->root_count++] = i;
	}
	return 0;
}

/* An index has files/ of its own only once its best manifest is chosen. */
static int name_files(const struct naming *naming, struct manifest_names *n)
{
	struct files_tree t;
	int rc = files_tree_init(&t);

	if (rc == 0 && !naming->m->is_index)
		rc = each_file(naming, add_dirs, &t);
	if (rc == 0 && !naming->m->is_index)
		rc = each_file(naming, add_file, &t);
	if (rc == 0)
		rc = files_tree_finish(&t, &n->files, &n->file_count);
	files_tree_release(&t);
	return rc;
}

/* ---- main.wasm ---- */

/* Of an image that sets none, in all container runtimes. */
#define PATH_DEFAULT  "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define PATH_DIRS_MAX 64

static bool is_compat(const struct manifest *m)
{
	const char *variant = annotation(m, "module.wasm.image/variant");
	return variant && strncmp(variant, "compat", 6) == 0;
}

/* Whether manifest and config say that what runs in the image is Wasm. */
static bool is_wasm_image(const struct naming *n)
{
	const struct image_config *c = n->config;
	if (is_compat(n->m))
		return true;
	if (!c)
		return false;
	if (c->architecture && strncmp(c->architecture, "wasm", 4) == 0)
		return true;
	if (c->os && strncmp(c->os, "wasi", 4) == 0)
		return true;
	return c->arg_count > 0 && names_wasm(c->args[0]);
}

/* Whose title is what the entry point names, or the first: the entry point by the
 * CNCF's rule. */
static void choose_layer(const struct naming *n, struct manifest_names *names)
{
	const char *entry =
	    n->config && n->config->arg_count > 0 ? base_of(n->config->args[0]) : "";
	bool found = false;
	for (size_t i = 0; i < n->m->layer_count; i++) {
		const char *title = n->m->layers[i].title;
		bool named = title && entry[0] && strcmp(base_of(title), entry) == 0;
		if (!n->classes[i].wasm || (found && !named))
			continue;
		names->main_layer = i;
		if (named)
			break;
		found = true;
	}
	names->main_kind = MAIN_WASM_LAYER;
}

/* As proxies want it (Istio, Higress): an archive of any other type, a chart for one, is
 * not worth to be fetched for the name. */
static bool is_image_layer(const char *media_type)
{
	static const char *const types[] = {"application/vnd.oci.image.layer.",
					    "application/vnd.docker.image.rootfs."};
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		if (strncasecmp(media_type, types[i], strlen(types[i])) == 0)
			return true;
	}
	return false;
}

/* In the last archive, where proxies look for "plugin.wasm". */
static bool choose_plugin(const struct naming *n, struct manifest_names *names)
{
	size_t last = n->m->layer_count - 1;
	if (n->m->layer_count == 0 || !n->classes[last].tar ||
	    !is_image_layer(n->m->layers[last].desc.media_type))
		return false;
	names->main_kind = MAIN_WASM_PLUGIN;
	names->main_layer = last;
	for (size_t i = 0; i < n->m->layer_count; i++)
		names->main_listed |=
		    strstr(n->m->layers[i].desc.media_type, "vnd.module.wasm.") != NULL;
	return true;
}

/* A file in a directory; what is relative starts at the working directory. New; NULL: no
 * memory. */
static char *path_in(const struct image_config *c, const char *dir, size_t dir_len,
		     const char *name, size_t name_len)
{
	const char *first = dir_len > 0 ? dir : name;
	const char *above = first[0] != '/' && c->working_dir ? c->working_dir : "";
	char *path;
	if (asprintf(&path, "%s%s%.*s%s%.*s", above, *above ? "/" : "", (int)dir_len, dir,
		     dir_len > 0 ? "/" : "", (int)name_len, name) < 0)
		return NULL;
	return path;
}

static int find_main_paths(const struct image_config *c, struct manifest_names *names)
{
	const char *name = c->args[0], *dirs = c->path ? c->path : PATH_DEFAULT;
	size_t len = strcspn(name, ENTRY_SUFFIX), n = 0;
	names->main_paths = calloc(PATH_DIRS_MAX + 2, sizeof(char *));
	if (names->main_paths == NULL)
		return -ENOMEM;
	bool bare = memchr(name, '/', len) == NULL;
	for (const char *s = dirs; bare && *s != '\0' && n < PATH_DIRS_MAX; n++) {
		size_t dir_len = strcspn(s, ":");
		names->main_paths[n] = path_in(c, s, dir_len, name, len);
		if (names->main_paths[n] == NULL)
			return -ENOMEM;
		s += dir_len;
		s += *s == ':';
	}
	names->main_paths[n] = path_in(c, "", 0, name, len);
	return names->main_paths[n] != NULL ? 0 : -ENOMEM;
}

static int choose_in_rootfs(const struct naming *n, struct manifest_names *names)
{
	const struct image_config *c = n->config;
	names->main_listed = is_wasm_image(n);
	if (!c || c->arg_count == 0) {
		/* Without an entry point only its layers can tell. */
		bool declared = !names->main_listed || is_compat(n->m);
		if (declared)
			(void)choose_plugin(n, names);
		else
			names->main_kind = MAIN_WASM_ROOTFS;
		names->main_listed &= declared && names->main_kind != MAIN_WASM_NONE;
		return 0;
	}
	if (!names->main_listed)
		return 0; /* a native program */
	names->main_kind = MAIN_WASM_ROOTFS;
	return find_main_paths(c, names);
}

/* One that is declared to be nothing may be Wasm. */
static int choose_main(const struct naming *n, struct manifest_names *names)
{
	const struct manifest *m = n->m;
	names->main_kind = MAIN_WASM_NONE;
	if (m->is_index || (m->artifact_type && media_type_is(m->artifact_type, WARG_INTERFACE)))
		return 0;
	if (n->wasm_layers > 0) {
		names->main_listed = true;
		choose_layer(n, names);
	} else if (is_image(n)) {
		return choose_in_rootfs(n, names);
	} else if (m->layer_count == 1 && n->classes[0].open &&
		   m->layers[0].desc.size >= WASM_MIN_LEN) {
		names->main_kind = MAIN_WASM_MAYBE;
	} else {
		(void)choose_plugin(n, names);
	}
	return 0;
}

static int fill_in(const struct manifest *m, const struct image_config *config,
		   const struct spin_lock *lock, struct manifest_names *n)
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
	struct naming naming = {.m = m, .config = config, .lock = lock, .classes = classes};
	for (size_t i = 0; i < m->layer_count; i++)
		naming.wasm_layers += classes[i].wasm;
	int rc = choose_main(&naming, n);
	if (rc == 0)
		rc = m->is_index ? 0 : find_root_layers(&naming, n);
	if (rc == 0)
		rc = find_loose(&naming, n);
	return rc < 0 ? rc : name_files(&naming, n);
}

int manifest_names_new(const struct manifest *m, const struct image_config *config,
		       const struct spin_lock *lock, struct manifest_names **ret)
{
	struct manifest_names *n = calloc(1, sizeof(*n));
	if (n == NULL)
		return -ENOMEM;
	int rc = fill_in(m, config, lock, n);
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
	free(n->loose);
	free(n->bundles);
	free(n->root_layers);
	for (size_t i = 0; n->main_paths != NULL && n->main_paths[i] != NULL; i++)
		free(n->main_paths[i]);
	free(n->main_paths);
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
