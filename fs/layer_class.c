/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/layer_class.h"

#include <string.h>
#include <strings.h>

struct by_type {
	const char *suffix; /* of a media type, from one of "/+.-" on */
	const char *ext;
	bool tar;
};

/* The longer ones first. */
static const struct by_type types[] = {
    {"/vnd.fermyon.spin.application.v1+config", "json", false},
    {".tar+gzip", "tar.gz", true},
    {"/tar+gzip", "tar.gz", true},
    {".tar.gzip", "tar.gz", true},
    {".tar+zstd", "tar.zst", true},
    {"/tar+zstd", "tar.zst", true},
    {"+par", "par.gz", true},
    {"/gzip", "gz", true},
    {"/x-gzip", "gz", true},
    {"+json", "json", false},
    {"/json", "json", false},
    {"+yaml", "yaml", false},
    {"/yaml", "yaml", false},
    {"/x-yaml", "yaml", false},
    {"+toml", "toml", false},
    {"/toml", "toml", false},
    {"+markdown", "md", false},
    {"/markdown", "md", false},
    {"+png", "png", false},
    {"/png", "png", false},
    {"+javascript", "js", false},
    {"/javascript", "js", false},
    {"+xml", "xml", false},
    {"/xml", "xml", false},
    {"/html", "html", false},
    {"text/plain", "txt", false},
};

/* Extensions that a title is believed to have on purpose. */
static const char *const plain[] = {"wasm", "wat", "cwasm", "so",  "json", "yaml", "yml",
				    "toml", "md",  "txt",   "png", "svg",  "js",   "html",
				    "css",  "xml", "wit",   "pem", "sig",  "cfg",  "conf",
				    "ini",  "csv", "bin",   "jwt", "lock"};

static size_t type_len(const char *type)
{
	size_t n = strcspn(type, ";");
	while (n > 0 && (type[n - 1] == ' ' || type[n - 1] == '\t'))
		n--;
	return n;
}

static bool ends_with(const char *s, size_t len, const char *suffix)
{
	size_t n = strlen(suffix);
	return len >= n && strncasecmp(s + len - n, suffix, n) == 0;
}

bool name_has_extension(const char *name, const char *ext)
{
	size_t len = strlen(name), n = strlen(ext);
	return len > n && name[len - n - 1] == '.' && strcasecmp(name + len - n, ext) == 0;
}

bool media_type_is_image_config(const char *media_type)
{
	return media_type_is(media_type, "application/vnd.oci.image.config.v1+json") ||
	       media_type_is(media_type, "application/vnd.docker.container.image.v1+json");
}

bool media_type_is_json(const char *media_type)
{
	size_t len = type_len(media_type);
	return ends_with(media_type, len, "+json") || ends_with(media_type, len, "/json");
}

static bool is_wasm_type(const char *type, size_t len)
{
	return ends_with(type, len, "+wasm") || media_type_is(type, "application/wasm");
}

/* Uncompressed, so the bytes may be a file just as well. */
static bool is_plain_tar(const char *type, size_t len)
{
	return ends_with(type, len, ".tar") || ends_with(type, len, "/x-tar") ||
	       ends_with(type, len, "/tar") || ends_with(type, len, "/x-ustar");
}

static const char *title_extension(const char *title)
{
	if (title == NULL)
		return NULL;
	for (size_t i = 0; i < ARRAY_LEN(plain); i++) {
		if (name_has_extension(title, plain[i]))
			return plain[i];
	}
	return NULL;
}

void layer_classify(const struct manifest_entry *layer, struct layer_class *ret)
{
	const char *type = layer->desc.media_type;
	size_t len = type_len(type);

	if (is_wasm_type(type, len)) {
		*ret = (struct layer_class){.ext = "wasm", .wasm = true};
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		if (ends_with(type, len, types[i].suffix)) {
			*ret = (struct layer_class){.ext = types[i].ext, .tar = types[i].tar};
			return;
		}
	}
	bool tar = is_plain_tar(type, len);
	const char *ext = title_extension(layer->title);
	bool wasm = ext != NULL && (strcmp(ext, "wasm") == 0 || strcmp(ext, "wat") == 0);
	if (ext == NULL)
		*ret = (struct layer_class){.ext = tar ? "tar" : "bin", .tar = tar, .open = true};
	else
		*ret = (struct layer_class){.ext = ext, .wasm = wasm};
	if (tar && layer->title != NULL && name_has_extension(layer->title, "tar"))
		*ret = (struct layer_class){.ext = "tar", .tar = true};
}
