/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/names.h"

#define HEX1         "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define HEX2         "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
#define CNCF         "application/vnd.wasm.config.v0+json"
#define EMPTY        "application/vnd.oci.empty.v1+json"
#define IMAGE_CONFIG "application/vnd.oci.image.config.v1+json"
#define DOCKER       "application/vnd.docker.container.image.v1+json"
#define WASM         "application/wasm"
#define OCTETS       "application/octet-stream"
#define TAR          "application/vnd.oci.image.layer.v1.tar"
#define RAW          "application/vnd.wasm.content.layer.v1+wasm"
#define RUNWASI      "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm"

struct layer {
	const char *type, *title; /* title as JSON text, NULL: none */
	const char *hex;          /* NULL: HEX1 */
	unsigned size;            /* 0: 100 */
};

struct named {
	struct manifest *m;
	struct manifest_names *n;
};

static struct named name_text(const char *text)
{
	const struct digest d = {.alg = DIGEST_SHA256, .len = 32};
	struct named r;
	struct err err = {""};
	if (manifest_parse(text, strlen(text), &d, "", &r.m, &err) != 0)
		fail_msg("%s", err.text);
	assert_int_equal(manifest_names_new(r.m, NULL, NULL, &r.n), 0);
	return r;
}

static struct named name(const char *config, const struct layer *v, size_t count)
{
	size_t room = 1000 + count * 1500;
	char *text = malloc(room);
	assert_non_null(text);
	size_t at = (size_t)snprintf(text, room,
				     "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"%s\","
				     "\"digest\":\"sha256:" HEX2 "\",\"size\":2},\"layers\":[",
				     config);
	for (size_t i = 0; i < count; i++) {
		at += (size_t)snprintf(text + at, room - at,
				       "%s{\"mediaType\":\"%s\",\"digest\":\"sha256:%s\","
				       "\"size\":%u",
				       i > 0 ? "," : "", v[i].type,
				       v[i].hex != NULL ? v[i].hex : HEX1,
				       v[i].size > 0 ? v[i].size : 100);
		if (v[i].title != NULL)
			at += (size_t)snprintf(text + at, room - at,
					       ",\"annotations\":{\"org.opencontainers.image.title"
					       "\":\"%s\"}",
					       v[i].title);
		at += (size_t)snprintf(text + at, room - at, "}");
	}
	(void)snprintf(text + at, room - at, "]}");
	struct named r = name_text(text);
	free(text);
	return r;
}

static void release(struct named *r)
{
	manifest_names_free(r->n);
	manifest_unref(r->m);
}

/* The layer at a path below files/, or -1 - its index if it is a directory, or
 * -ENOENT. */
static long at_path(const struct manifest_names *n, const char *path)
{
	char copy[1024];
	size_t dir = 0;
	(void)snprintf(copy, sizeof(copy), "%s", path);
	for (char *rest = copy, *part; (part = strsep(&rest, "/")) != NULL;) {
		if (n->files[dir].kind != FILE_KIND_DIR)
			return -ENOENT;
		long i = manifest_names_find_file(n, dir, part);
		if (i < 0)
			return i;
		assert_int_equal(n->files[i].parent, dir);
		dir = (size_t)i;
	}
	return n->files[dir].kind == FILE_KIND_LAYER ? (long)n->files[dir].layer : -1000;
}

/* One layer of this title, alone: where it lies. */
static void titled(const char *type, const char *title, const char *path)
{
	struct layer l = {.type = type, .title = title};
	struct named r = name(EMPTY, &l, 1);
	if (at_path(r.n, path) != 0)
		fail_msg("%s is not at %s, but %s", title, path, r.n->files[1].name);
	release(&r);
}

static void titles_become_paths(void **state)
{
	(void)state;
	static const char *const v[][2] = {
	    {"hello.txt", "hello.txt"},
	    {"assets/a.png", "assets/a.png"},
	    {"../../etc/passwd", "etc/passwd"},
	    {"/abs", "abs"},
	    {"a/../b", "b"},
	    {"a/./b//c/", "a/b/c"},
	    {"..", "_"},
	    {"/", "_"},
	    {".", "_"},
	    {"../..", "_"},
	    {"C:\\\\dir\\\\x.txt", "C:/dir/x.txt"},
	    {"..\\\\..\\\\x", "x"},
	    {"CON", "CON"},
	    {"manifest.json", "manifest.json"},
	    {".env", ".env"},
	    {"...", "..."},
	    {"with space", "with space"},
	    {"a\\nb\\tc\\u001b[0m", "a_b_c_[0m"},
	    {"\\u007f\\u0085\\u202e\\u2028\\u2066x", "_____x"},
	    {"\xc3\xa4\xe2\x82\xac", "\xc3\xa4\xe2\x82\xac"},
	    {"-rf", "-rf"},
	};
	for (size_t i = 0; i < ARRAY_LEN(v); i++)
		titled(OCTETS, v[i][0], v[i][1]);
}

static void wasm_ends_in_wasm(void **state)
{
	(void)state;
	titled(WASM, "my-component", "my-component.wasm");
	titled(WASM, "a/b", "a/b.wasm");
	titled(WASM, "x.wasm", "x.wasm");
	titled(WASM, "x.WASM", "x.WASM");
	titled(RAW, "x.wat", "x.wat");
	titled(WASM, "x.v1", "x.v1.wasm");
	titled(WASM, "..", "_.wasm");
	titled(TAR, "x.wasm", "x.wasm");
	titled(OCTETS, "component", "component");
}

static void long_names_are_cut_between_characters(void **state)
{
	(void)state;
	char title[700], expected[300];
	memset(title, 'a', 400);
	memcpy(title + 400, ".json", 6);
	memset(expected, 'a', 250);
	memcpy(expected + 250, ".json", 6);
	titled(OCTETS, title, expected);

	for (size_t i = 0; i < 300; i += 3)
		memcpy(title + i, "\xe2\x82\xac", 3);
	memcpy(title + 300, ".x", 3);
	for (size_t i = 0; i < 252; i += 3)
		memcpy(expected + i, "\xe2\x82\xac", 3);
	memcpy(expected + 252, ".x", 3);
	titled(OCTETS, title, expected);

	memset(title, 'b', 300);
	title[300] = '\0';
	memset(expected, 'b', 250);
	memcpy(expected + 250, ".wasm", 6);
	titled(WASM, title, expected);

	title[1] = '.'; /* what follows is too long for an extension */
	memset(expected, 'b', 255);
	expected[1] = '.';
	expected[255] = '\0';
	titled(OCTETS, title, expected);
}

static void depth_is_bounded(void **state)
{
	(void)state;
	char title[600] = "";
	for (size_t i = 0; i < 200; i++)
		memcpy(title + 2 * i, "d/", 3);
	memcpy(title + 400, "leaf", 5);
	struct layer l = {.type = OCTETS, .title = title};
	struct named r = name(EMPTY, &l, 1);
	assert_int_equal(r.n->file_count, 1 + NAMES_DEPTH_MAX);
	assert_int_equal(at_path(r.n, title + 2 * (200 - NAMES_DEPTH_MAX + 1)), 0);
	release(&r);
}

static void duplicates_are_told_apart(void **state)
{
	(void)state;
	const struct layer v[] = {
	    {OCTETS, "x.txt", HEX1, 0}, {OCTETS, "x.txt", HEX2, 0},   {OCTETS, "X.TXT", HEX1, 0},
	    {OCTETS, "x.txt", HEX2, 0}, {OCTETS, "x~3.txt", HEX1, 0}, {OCTETS, "y", HEX1, 0},
	    {OCTETS, "Y", HEX2, 0},
	};
	struct named r = name(EMPTY, v, ARRAY_LEN(v));
	assert_int_equal(at_path(r.n, "x.txt"), 0);
	assert_int_equal(at_path(r.n, "x~44136fa355b3.txt"), 1);
	assert_int_equal(at_path(r.n, "X~e3b0c44298fc.TXT"), 2);
	assert_int_equal(at_path(r.n, "x~3.txt"), 3);
	assert_int_equal(at_path(r.n, "x~3~e3b0c44298fc.txt"), 4);
	assert_int_equal(at_path(r.n, "y"), 5);
	assert_int_equal(at_path(r.n, "Y~44136fa355b3"), 6);
	assert_int_equal(r.n->file_count, 8);
	release(&r);
}

static void names_that_are_taken_are_tried_on(void **state)
{
	(void)state;
	const struct layer v[] = {
	    {OCTETS, "x~e3b0c44298fc", HEX1, 0},
	    {OCTETS, "x~4", HEX1, 0},
	    {OCTETS, "x~4~2", HEX1, 0},
	    {OCTETS, "x", HEX1, 0},
	    {OCTETS, "x", HEX1, 0},
	};
	struct named r = name(EMPTY, v, ARRAY_LEN(v));
	assert_int_equal(at_path(r.n, "x"), 3);
	assert_int_equal(at_path(r.n, "x~4~3"), 4);
	release(&r);
}

static void directories_come_before_files(void **state)
{
	(void)state;
	const struct layer v[] = {
	    {OCTETS, "a", HEX1, 0},
	    {OCTETS, "a/b", HEX1, 0},
	    {OCTETS, "A/c", HEX1, 0},
	    {OCTETS, "a/b/d", HEX2, 0},
	};
	struct named r = name(EMPTY, v, ARRAY_LEN(v));
	assert_int_equal(at_path(r.n, "a~e3b0c44298fc"), 0);
	assert_int_equal(at_path(r.n, "a"), -1000);
	assert_int_equal(at_path(r.n, "a/b~e3b0c44298fc"), 1);
	assert_int_equal(at_path(r.n, "a/c"), 2);
	assert_int_equal(at_path(r.n, "a/b/d"), 3);
	release(&r);
}

static void listings_are_sorted(void **state)
{
	(void)state;
	const struct layer v[] = {{OCTETS, "z", NULL, 0},   {OCTETS, "b/2", NULL, 0},
				  {OCTETS, "b/1", NULL, 0}, {OCTETS, "a", NULL, 0},
				  {OCTETS, "c/x", NULL, 0}, {OCTETS, "B", NULL, 0}};
	struct named r = name(EMPTY, v, ARRAY_LEN(v));
	assert_int_equal(r.n->files[0].first, 1);
	assert_int_equal(r.n->files[0].count, 5);
	for (size_t dir = 0; dir < r.n->file_count; dir++) {
		const struct file_entry *e = &r.n->files[dir];
		for (size_t i = 1; i < e->count; i++)
			assert_true(strcmp(r.n->files[e->first + i - 1].name,
					   r.n->files[e->first + i].name) < 0);
		if (e->kind == FILE_KIND_LAYER)
			assert_int_equal(e->count, 0);
	}
	release(&r);
}

static void files_hold_titled_artifact_layers(void **state)
{
	(void)state;
	const struct layer v[] = {
	    {WASM, NULL, NULL, 0},
	    {TAR "+gzip", "dir", NULL, 0},
	    {TAR, "plain.json", NULL, 0},
	    {RUNWASI, "b.wasm", NULL, 0},
	};
	struct named r = name(EMPTY, v, ARRAY_LEN(v));
	assert_int_equal(r.n->file_count, 5);
	assert_int_equal(at_path(r.n, "dir"), 1);
	assert_int_equal(at_path(r.n, "layer0.wasm"), 0);
	release(&r);
	r = name(IMAGE_CONFIG, v, ARRAY_LEN(v));
	assert_int_equal(r.n->file_count, 4);
	assert_int_equal(at_path(r.n, "dir"), -ENOENT);
	assert_int_equal(at_path(r.n, "plain.json"), 2);
	assert_int_equal(at_path(r.n, "b.wasm"), 3);
	release(&r);
	r = name(EMPTY, NULL, 0);
	assert_int_equal(r.n->file_count, 1);
	assert_int_equal(r.n->files[0].count, 0);
	assert_int_equal(manifest_names_find_file(r.n, 0, ""), -ENOENT);
	release(&r);
}

static void one_layer_name(const char *type, const char *title, const char *expected)
{
	struct layer l = {.type = type, .title = title};
	struct named r = name(EMPTY, &l, 1);
	assert_string_equal(r.n->layer_names[0], expected);
	assert_int_equal(manifest_names_find_layer(r.m, r.n, expected), 0);
	release(&r);
}

static void layers_have_the_extension_of_their_kind(void **state)
{
	(void)state;
	static const char *const v[][3] = {
	    {WASM, NULL, "0.wasm"},
	    {"Application/WASM; a=b", NULL, "0.wasm"},
	    {RAW, "x", "0.wasm"},
	    {"application/vnd.module.wasm.content.layer.v1+wasm", NULL, "0.wasm"},
	    {RUNWASI, NULL, "0.wasm"},
	    {"application/vnd.module.wasm.config.v1+json", NULL, "0.json"},
	    {TAR, NULL, "0.tar"},
	    {TAR, "x.wasm", "0.wasm"},
	    {TAR, "x.WAT", "0.wat"},
	    {TAR, "x.cwasm", "0.cwasm"},
	    {TAR, "x.json", "0.json"},
	    {TAR, "x.tar", "0.tar"},
	    {TAR, "x", "0.tar"},
	    {TAR "+gzip", "x.wasm", "0.tar.gz"},
	    {TAR "+zstd", NULL, "0.tar.zst"},
	    {"application/tar", NULL, "0.tar"},
	    {"application/x-ustar", NULL, "0.tar"},
	    {"application/tar+gzip", NULL, "0.tar.gz"},
	    {"application/tar+zstd", NULL, "0.tar.zst"},
	    {"application/vnd.docker.image.rootfs.diff.tar.gzip", NULL, "0.tar.gz"},
	    {"application/vnd.wasm.content.bundle.v1.tar+gzip", NULL, "0.tar.gz"},
	    {"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", NULL, "0.tar.gz"},
	    {"application/vnd.wasmcloud.provider.archive.layer.v1+par", NULL, "0.par.gz"},
	    {"application/vnd.fermyon.spin.application.v1+config", NULL, "0.json"},
	    {"application/vnd.module.wasm.spec.v1+yaml", "spec.yaml", "0.yaml"},
	    {"application/vnd.module.wasm.doc.v1.zh+markdown", NULL, "0.md"},
	    {"application/toml", NULL, "0.toml"},
	    {"image/png", NULL, "0.png"},
	    {OCTETS, NULL, "0.bin"},
	    {OCTETS, "a/plugin.wasm", "0.wasm"},
	    {OCTETS, "x.unheard", "0.bin"},
	    {"application/vnd.guitar", NULL, "0.bin"},
	    {"", NULL, "0.bin"},
	};
	for (size_t i = 0; i < ARRAY_LEN(v); i++)
		one_layer_name(v[i][0], v[i][1], v[i][2]);
}

static void layers_are_numbered(void **state)
{
	(void)state;
	struct layer v[500];
	for (size_t i = 0; i < ARRAY_LEN(v); i++)
		v[i] = (struct layer){.type = WASM};
	struct named r = name(EMPTY, v, ARRAY_LEN(v));
	assert_string_equal(r.n->layer_names[0], "0.wasm");
	assert_string_equal(r.n->layer_names[499], "499.wasm");
	assert_int_equal(manifest_names_find_layer(r.m, r.n, "42.wasm"), 42);
	static const char *const none[] = {
	    "042.wasm", "00.wasm", "500.wasm", "42.tar",  "42",
	    "",         "x",       ".wasm",    "-1.wasm", "99999999999999999999"};
	for (size_t i = 0; i < ARRAY_LEN(none); i++)
		assert_int_equal(manifest_names_find_layer(r.m, r.n, none[i]), -ENOENT);
	release(&r);
}

/* What no title and no packaging names: by its number, as wide as the last one's. */
static void layers_that_nothing_names(void **state)
{
	(void)state;
	struct layer v[11];
	for (size_t i = 0; i < ARRAY_LEN(v); i++)
		v[i] = (struct layer){.type = i == 1 ? "application/vnd.x+json" : OCTETS};
	v[2].title = "two.txt";
	v[3].type = "application/vnd.oci.empty.v1+json";
	v[4].type = TAR "+gzip";
	v[5].type = WASM;
	v[6].type = RUNWASI;
	struct named r = name(EMPTY, v, ARRAY_LEN(v));
	assert_int_equal(r.n->file_count, 11);
	assert_int_equal(at_path(r.n, "layer00.bin"), 0);
	assert_int_equal(at_path(r.n, "layer01.json"), 1);
	assert_int_equal(at_path(r.n, "two.txt"), 2);
	assert_int_equal(at_path(r.n, "layer04.tar.gz"), 4);
	assert_int_equal(at_path(r.n, "layer05.wasm"), 5);
	assert_int_equal(at_path(r.n, "layer06.wasm"), 6);
	assert_int_equal(at_path(r.n, "layer10.bin"), 10);
	release(&r);
	r = name(EMPTY, v, 10);
	assert_int_equal(at_path(r.n, "layer9.bin"), 9);
	release(&r);
	/* Of an image, those that are no archives. */
	r = name(IMAGE_CONFIG, v, 6);
	assert_int_equal(at_path(r.n, "layer1.json"), 1);
	assert_int_equal(at_path(r.n, "layer4.tar.gz"), -ENOENT);
	release(&r);
}

static void configs_are_json_or_not(void **state)
{
	(void)state;
	static const char *const v[][2] = {
	    {CNCF, "config.json"},
	    {DOCKER, "config.json"},
	    {"application/json", "config.json"},
	    {"application/vnd.wasmcloud.provider.archive.config", "config"},
	    {"", "config"},
	};
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		struct named r = name(v[i][0], NULL, 0);
		assert_string_equal(r.n->config_name, v[i][1]);
		release(&r);
	}
}

static void main_is(const char *config, const struct layer *v, size_t count, enum main_wasm kind,
		    size_t layer)
{
	struct named r = name(config, v, count);
	assert_int_equal(r.n->main_kind, kind);
	if (kind != MAIN_WASM_NONE)
		assert_int_equal(r.n->main_layer, layer);
	release(&r);
}

#define MAIN(config, kind, index, ...)                                                             \
	do {                                                                                       \
		const struct layer v_[] = {__VA_ARGS__};                                           \
		main_is(config, v_, ARRAY_LEN(v_), kind, index);                                   \
	} while (0)

static void packagings_have_their_main(void **state)
{
	(void)state;
	MAIN(CNCF, MAIN_WASM_LAYER, 0, {.type = WASM});
	MAIN(IMAGE_CONFIG, MAIN_WASM_LAYER, 0, {.type = RUNWASI}, {.type = RUNWASI});
	MAIN(IMAGE_CONFIG, MAIN_WASM_LAYER, 1, {.type = "application/toml"}, {.type = RUNWASI});
	MAIN("application/vnd.wasm.config.v1+json", MAIN_WASM_LAYER, 0, {.type = RAW});
	MAIN("application/vnd.module.wasm.config.v1+json", MAIN_WASM_LAYER, 1,
	     {.type = "application/vnd.module.wasm.config.v1+json", .title = "runtime-config.json"},
	     {.type = "application/vnd.module.wasm.content.layer.v1+wasm", .title = "filter.wasm"});
	MAIN(EMPTY, MAIN_WASM_LAYER, 1, {.type = TAR, .title = "README.md"},
	     {.type = TAR, .title = "x.wasm"});
	MAIN(EMPTY, MAIN_WASM_LAYER, 0, {.type = OCTETS, .title = "x.wat"});
}

static void open_layers_may_be_main(void **state)
{
	(void)state;
	MAIN(EMPTY, MAIN_WASM_MAYBE, 0, {.type = OCTETS});
	MAIN(EMPTY, MAIN_WASM_MAYBE, 0, {.type = TAR});
	MAIN(EMPTY, MAIN_WASM_MAYBE, 0, {.type = ""});
	MAIN(EMPTY, MAIN_WASM_MAYBE, 0, {.type = "application/vnd.oci.unknown.layer.v1"});
	MAIN(EMPTY, MAIN_WASM_MAYBE, 0, {.type = OCTETS, .title = "component"});
	MAIN(EMPTY, MAIN_WASM_NONE, 0, {.type = OCTETS, .size = 7});
	MAIN(EMPTY, MAIN_WASM_NONE, 0, {.type = OCTETS, .title = "x.txt"});
	MAIN(EMPTY, MAIN_WASM_NONE, 0, {.type = OCTETS, .title = "x.cwasm"});
	MAIN(EMPTY, MAIN_WASM_NONE, 0, {.type = OCTETS}, {.type = OCTETS});
	MAIN(EMPTY, MAIN_WASM_PLUGIN, 0, {.type = TAR "+gzip"});
	MAIN(EMPTY, MAIN_WASM_NONE, 0, {.type = "application/vnd.dsse.envelope.v1+json"});
	MAIN(IMAGE_CONFIG, MAIN_WASM_PLUGIN, 0, {.type = TAR});
	MAIN(DOCKER, MAIN_WASM_PLUGIN, 0, {.type = TAR "+gzip"});
	main_is(EMPTY, NULL, 0, MAIN_WASM_NONE, 0);
}

static void an_index_has_no_names_of_its_own(void **state)
{
	(void)state;
	struct named r = name_text("{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"" WASM
				   "\",\"digest\":\"sha256:" HEX1 "\",\"size\":100,\"annotations\":"
				   "{\"org.opencontainers.image.title\":\"x\"}}]}");
	assert_null(r.n->config_name);
	assert_null(r.n->layer_names);
	assert_int_equal(r.n->file_count, 1);
	assert_int_equal(r.n->main_kind, MAIN_WASM_NONE);
	assert_int_equal(manifest_names_find_layer(r.m, r.n, "0.wasm"), -ENOENT);
	release(&r);
	manifest_names_free(NULL);
}

static void unknown_algorithms_have_names_too(void **state)
{
	(void)state;
	struct named r =
	    name_text("{\"config\":{\"digest\":\"blake3:00\",\"size\":2},\"layers\":["
		      "{\"digest\":\"blake3:abc\",\"size\":100,\"annotations\":"
		      "{\"org.opencontainers.image.title\":\"x\"}},"
		      "{\"digest\":\"blake3:abc=_-DEFGHIJKLMNOP\",\"size\":100,\"annotations\":"
		      "{\"org.opencontainers.image.title\":\"x\"}}]}");
	assert_int_equal(at_path(r.n, "x"), 0);
	assert_int_equal(at_path(r.n, "x~abc=_-DEFGHI"), 1);
	release(&r);
}

static struct named name_with(const char *text, const char *config)
{
	const struct digest d = {.alg = DIGEST_SHA256, .len = 32};
	struct image_config *c = NULL;
	struct named r;
	assert_int_equal(manifest_parse(text, strlen(text), &d, "", &r.m, NULL), 0);
	if (config)
		assert_int_equal(image_config_parse(config, strlen(config), &c, NULL), 0);
	assert_int_equal(manifest_names_new(r.m, c, NULL, &r.n), 0);
	image_config_free(c);
	return r;
}

#define LAYER_OF(type, hex)                                                                        \
	"{\"mediaType\":\"" type "\",\"digest\":\"sha256:" hex "\",\"size\":100}"
#define TEXT(config, layers, annotations)                                                          \
	"{\"schemaVersion\":2,\"config\":{\"mediaType\":\"" config "\",\"digest\":\"sha256:" HEX2  \
	"\",\"size\":2},\"layers\":[" layers "],\"annotations\":{" annotations "}}"
#define ANNOTATE(name, version)                                                                    \
	"\"org.opencontainers.image.title\":\"" name                                               \
	"\",\"org.opencontainers.image.version\":\"" version "\""

static void layers_without_a_title_have_a_part(void **state)
{
	struct named r;
	(void)state;
	r = name_with(TEXT(CNCF, LAYER_OF(WASM, HEX1), ANNOTATE("ns/my-app", "1")), NULL);
	assert_int_equal(at_path(r.n, "my-app.wasm"), 0);
	release(&r);
	r = name_with(TEXT(IMAGE_CONFIG, LAYER_OF(RUNWASI, HEX1), ""),
		      "{\"config\":{\"Entrypoint\":[\"/bin/hello.wasm#run\"]}}");
	assert_int_equal(at_path(r.n, "hello.wasm"), 0);
	release(&r);
	/* An entry point that is no Wasm, and a title that is. */
	r = name_with(TEXT(IMAGE_CONFIG, LAYER_OF(RUNWASI, HEX1), ANNOTATE("x/app.wasm", "1")),
		      "{\"config\":{\"Entrypoint\":[\"/bin/sh\"]}}");
	assert_int_equal(at_path(r.n, "app.wasm"), 0);
	release(&r);
	r = name_with(TEXT(IMAGE_CONFIG, LAYER_OF(RUNWASI, HEX1), ANNOTATE("app", "1")),
		      "{\"config\":{\"Entrypoint\":[\"/bin/run\"]}}");
	assert_int_equal(at_path(r.n, "run.wasm"), 0);
	release(&r);
	r = name_with(
	    TEXT("application/vnd.module.wasm.config.v1+json",
		 LAYER_OF("application/vnd.module.wasm.config.v1+json", HEX2) "," LAYER_OF(
		     "application/vnd.module.wasm.content.layer.v1+wasm", HEX1),
		 ""),
	    NULL);
	assert_int_equal(at_path(r.n, "runtime-config.json"), 0);
	assert_int_equal(at_path(r.n, "plugin.wasm"), 1);
	release(&r);
	r = name_with(
	    TEXT("application/vnd.cncf.helm.config.v1+json",
		 LAYER_OF("application/vnd.cncf.helm.chart.content.v1.tar+gzip", HEX1) "," LAYER_OF(
		     "application/vnd.cncf.helm.chart.provenance.v1.prov", HEX2),
		 ANNOTATE("chart", "1.2.3")),
	    NULL);
	assert_int_equal(at_path(r.n, "chart-1.2.3.tgz"), 0);
	assert_int_equal(at_path(r.n, "chart-1.2.3.tgz.prov"), 1);
	release(&r);
	r = name_with(TEXT("application/vnd.wasm.component.config.v1+json",
			   LAYER_OF(RAW, HEX2) "," LAYER_OF(
			       "application/vnd.wasm.content.layer.v1+data", HEX1),
			   ""),
		      "{\"wasi\":{\"files\":[{\"guest\":\"../a/cat.png\",\"digest\":\"sha256:" HEX1
		      "\"},{\"guest\":\"b.png\",\"digest\":\"sha256:" HEX1 "\"}]}}");
	assert_int_equal(at_path(r.n, "a/cat.png"), 1);
	assert_int_equal(at_path(r.n, "b.png"), 1);
	assert_int_equal(at_path(r.n, "layer0.wasm"), 0);
	release(&r);
}

static void entry_is(const char *text, const char *config, enum main_wasm kind, bool listed,
		     const char *path)
{
	struct named r = name_with(text, config);
	assert_int_equal(r.n->main_kind, kind);
	assert_int_equal(r.n->main_listed, listed);
	char all[1000] = "";
	size_t len = 0;
	for (size_t i = 0; r.n->main_paths && r.n->main_paths[i]; i++)
		len += (size_t)snprintf(all + len, sizeof(all) - len, "%s%s", i > 0 ? " " : "",
					r.n->main_paths[i]);
	assert_string_equal(all, path);
	release(&r);
}

static void the_entry_point_is_main(void **state)
{
	static const char image[] = TEXT(IMAGE_CONFIG, LAYER_OF(TAR, HEX1), "");
	static const char compat[] = TEXT(DOCKER, LAYER_OF(TAR "+gzip", HEX1),
					  "\"module.wasm.image/variant\":\"compat-smart\"");
	(void)state;
	entry_is(image, "{\"architecture\":\"wasm\",\"config\":{\"Entrypoint\":[\"/a.wasm\"]}}",
		 MAIN_WASM_ROOTFS, true, "/a.wasm");
	entry_is(image, "{\"os\":\"wasip1\",\"config\":{\"Cmd\":[\"x\"],\"WorkingDir\":\"/w\"}}",
		 MAIN_WASM_ROOTFS, true,
		 "/usr/local/sbin/x /usr/local/bin/x /usr/sbin/x /usr/bin/x /sbin/x /bin/x /w/x");
	entry_is(
	    image,
	    "{\"os\":\"linux\",\"config\":{\"Entrypoint\":[\"app.WASM#f/g\"],\"Env\":[\"PATH=/a\","
	    "\"A=B\",\"PATH=/b:c::/d/\"],\"WorkingDir\":\"/w\"}}",
	    MAIN_WASM_ROOTFS, true,
	    "/b/app.WASM /w/c/app.WASM /w/app.WASM /d//app.WASM /w/app.WASM");
	entry_is(image,
		 "{\"os\":\"wasi\",\"config\":{\"Entrypoint\":[\"./x\"],\"WorkingDir\":\"/w\"}}",
		 MAIN_WASM_ROOTFS, true, "/w/./x");
	entry_is(image, "{\"os\":\"wasi\",\"config\":{\"Cmd\":[\"x\"],\"Env\":[\"PATH=\"]}}",
		 MAIN_WASM_ROOTFS, true, "x");
	entry_is(image, "{\"os\":\"linux\",\"config\":{\"Entrypoint\":[\"/bin/sh\"]}}",
		 MAIN_WASM_NONE, false, "");
	entry_is(image, "{\"os\":\"linux\"}", MAIN_WASM_PLUGIN, false, "");
	/* Archives in which nobody looks for a plugin. */
	entry_is(TEXT("application/vnd.cncf.helm.config.v1+json",
		      LAYER_OF("application/vnd.cncf.helm.chart.content.v1.tar+gzip", HEX1), ""),
		 NULL, MAIN_WASM_NONE, false, "");
	entry_is(TEXT(EMPTY, LAYER_OF("application/tar+gzip", HEX1), ""), NULL, MAIN_WASM_NONE,
		 false, "");
	entry_is(compat, "{\"os\":\"linux\",\"config\":{\"Entrypoint\":[\"/bin/x\"]}}",
		 MAIN_WASM_ROOTFS, true, "/bin/x");
	entry_is(compat, "{}", MAIN_WASM_PLUGIN, true, "");
	entry_is(TEXT("application/vnd.unknown.config.v1+json",
		      LAYER_OF("application/vnd.module.wasm.spec.v1+yaml",
			       HEX2) "," LAYER_OF(TAR "+gzip", HEX1),
		      ""),
		 NULL, MAIN_WASM_PLUGIN, true, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(titles_become_paths),
	    cmocka_unit_test(wasm_ends_in_wasm),
	    cmocka_unit_test(long_names_are_cut_between_characters),
	    cmocka_unit_test(depth_is_bounded),
	    cmocka_unit_test(duplicates_are_told_apart),
	    cmocka_unit_test(names_that_are_taken_are_tried_on),
	    cmocka_unit_test(directories_come_before_files),
	    cmocka_unit_test(listings_are_sorted),
	    cmocka_unit_test(files_hold_titled_artifact_layers),
	    cmocka_unit_test(layers_without_a_title_have_a_part),
	    cmocka_unit_test(the_entry_point_is_main),
	    cmocka_unit_test(layers_have_the_extension_of_their_kind),
	    cmocka_unit_test(layers_are_numbered),
	    cmocka_unit_test(layers_that_nothing_names),
	    cmocka_unit_test(configs_are_json_or_not),
	    cmocka_unit_test(packagings_have_their_main),
	    cmocka_unit_test(open_layers_may_be_main),
	    cmocka_unit_test(an_index_has_no_names_of_its_own),
	    cmocka_unit_test(unknown_algorithms_have_names_too),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
