/* SPDX-License-Identifier: Apache-2.0 */
/* The first byte chooses what the origin says that the document is. */
#include <stdint.h>
#include <string.h>

#include "registry/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_entry(const struct manifest_entry *e)
{
	ASSERT(e->digest_text != NULL);
	ASSERT(e->desc.size <= UINT64_C(1) << 53);
	ASSERT(e->title == NULL || e->title[0] != '\0');
	for (size_t i = 0; i < e->annotation_count; i++)
		ASSERT(e->annotations[i].key != NULL && e->annotations[i].value != NULL);
}

/* What is an index at all, whatever its entries are. */
static void parse_listing(const char *data, size_t size)
{
	struct manifest *m = NULL;
	if (manifest_parse_listing(data, size, &m, NULL) < 0)
		return;
	for (size_t i = 0; i < m->layer_count; i++) {
		check_entry(&m->layers[i]);
		ASSERT(m->layers[i].fault == NULL || !digest_is_set(&m->layers[i].desc.digest));
	}
	manifest_unref(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const types[] = {"", "application/vnd.oci.image.manifest.v1+json",
					    "application/vnd.oci.image.index.v1+json;x=y",
					    "text/html"};
	const struct digest d = {.alg = DIGEST_SHA256, .len = 32};
	struct manifest *m = NULL;
	struct err err = {""};

	if (size == 0)
		return 0;
	parse_listing((const char *)data + 1, size - 1);
	const char *type = types[data[0] % ARRAY_LEN(types)];
	if (manifest_parse((const char *)data + 1, size - 1, &d, type, &m, &err) < 0) {
		ASSERT(m == NULL && err.text[0] != '\0');
		return 0;
	}
	ASSERT(m->desc.size == size - 1 && m->desc.media_type[0] != '\0');
	ASSERT(m->layer_count <= MANIFEST_LAYERS_MAX);
	if (!m->is_index)
		check_entry(&m->config);
	for (size_t i = 0; i < m->layer_count; i++)
		check_entry(&m->layers[i]);
	manifest_unref(m);
	return 0;
}
