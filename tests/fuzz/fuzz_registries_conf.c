/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <string.h>

#include "registry/credential_helper.h"
#include "registry/reference.h"
#include "registry/registries_conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What comes out can be put into a request. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct endpoint_groups groups = {0};
	struct err err = {""};
	int r = registries_conf_parse((const char *)data, size, "/f", "a.example", &groups, &err);

	ASSERT(r <= 0 && (r == 0 || err.text[0]));
	for (size_t i = 0; r == 0 && i < groups.helpers.n; i++)
		ASSERT(helper_name_is_good(groups.helpers.v[i]));
	for (size_t i = 0; r == 0 && i < groups.n; i++) {
		const struct endpoint_group *g = &groups.v[i];

		ASSERT(!*g->path || reference_is_repository(g->path, strlen(g->path)));
		ASSERT(g->blocked || g->list.n > 0);
		for (size_t j = 0; j < g->list.n; j++) {
			const struct endpoint *e = &g->list.v[j];
			const char *base = e->repo_base;

			ASSERT(e->url.text || j == g->list.n - 1);
			ASSERT(!base || !*base || reference_is_repository(base, strlen(base)));
		}
	}
	endpoint_groups_release(&groups);
	return 0;
}
