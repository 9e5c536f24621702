/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <string.h>

#include "registry/image_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct image_config *c;

	if (image_config_parse((const char *)data, size, &c, NULL))
		return 0;
	ASSERT(c->arg_count <= IMAGE_CONFIG_ARGS_MAX);
	for (size_t i = 0; i < c->arg_count; i++)
		ASSERT(c->args[i][0] != '\0');
	for (size_t i = 0; i < c->file_count; i++)
		ASSERT(c->files[i].guest[0] && digest_is_set(&c->files[i].digest));
	image_config_free(c);
	return 0;
}
