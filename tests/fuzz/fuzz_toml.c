/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <string.h>

#include "registry/toml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_at(const struct toml *table, unsigned line)
{
	for (const struct toml *t = table->first; t; t = t->next) {
		ASSERT((table->kind == TOML_TABLE) == (t->key != NULL));
		ASSERT((t->kind == TOML_STRING) == (t->string != NULL));
		ASSERT(!t->first || t->kind == TOML_TABLE || t->kind == TOML_ARRAY);
		ASSERT(!t->key || toml_get(table, t->key) == t);
		ASSERT(t->line >= 1 && t->line <= line);
		ASSERT(t->next || table->last == t);
		look_at(t, line);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct toml *root = NULL;
	struct err err = {""};
	unsigned lines = 1;
	int r = toml_parse((const char *)data, size, &root, &err);

	ASSERT(r <= 0 && (r == 0 || err.text[0]));
	if (r < 0)
		return 0;
	for (size_t i = 0; i < size; i++)
		lines += data[i] == '\n';
	look_at(root, lines);
	toml_free(root);
	return 0;
}
