/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as an index: what its platforms and its entries' types are called. */
#include <limits.h>
#include <stdint.h>
#include <string.h>

#include "fs/platform.h"
#include "fs/referrer_name.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_name(const char *name)
{
	size_t len = strlen(name);

	ASSERT(len > 0 && len <= NAME_MAX && name[0] != '.');
	for (size_t i = 0; i < len; i++)
		ASSERT(name[i] > 0x20 && name[i] < 0x7f && name[i] != '/');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct digest none = {0};
	char type[REFERRER_TYPE_MAX];
	struct manifest *m;
	char **names;
	size_t best = SIZE_MAX;

	if (manifest_parse((const char *)data, size, &none, "", &m, NULL))
		return 0;
	if (m->is_index) {
		ASSERT(platform_names(m, &names) == 0);
		for (size_t i = 0; i < m->layer_count; i++) {
			if (names[i])
				check_name(names[i]);
			for (size_t k = 0; names[i] && k < i; k++)
				ASSERT(!names[k] || strcmp(names[k], names[i]) != 0);
			ASSERT(referrer_type_name(m->layers[i].artifact_type, type) == 0);
			check_name(type);
		}
		if (platform_best(m, "x86_64", &best) == 0)
			ASSERT(best < m->layer_count &&
			       digest_is_set(&m->layers[best].desc.digest));
		platform_names_free(names, m->layer_count);
	}
	manifest_unref(m);
	return 0;
}
