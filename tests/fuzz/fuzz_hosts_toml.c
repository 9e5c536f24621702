/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <string.h>

#include "registry/hosts_toml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What comes out can be put into a request. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct endpoint_list l = {0};
	struct err err = {""};
	int r = hosts_toml_parse((const char *)data, size, "/dir", &l, &err);

	ASSERT(r <= 0 && (r == 0 || err.text[0]));
	if (r < 0)
		return 0;
	ASSERT(l.n >= 1 && l.n <= ENDPOINTS_MAX);
	for (size_t i = 0; i < l.n; i++) {
		const struct endpoint *e = &l.v[i];

		ASSERT((e->url.text != NULL) == (e->api != NULL));
		ASSERT(i == l.n - 1 || e->url.text);
		ASSERT(!e->api || !*e->api ||
		       (*e->api == '/' && e->api[strlen(e->api) - 1] != '/'));
		ASSERT(!e->api || !strpbrk(e->api, " ?#\r\n"));
		ASSERT(!e->url.text || !strchr(e->url.host, '@'));
		ASSERT(e->dial_ms >= 0);
		for (size_t j = 0; j < e->headers.n; j++)
			ASSERT(!strpbrk(e->headers.v[j], "\r\n"));
		for (size_t j = 0; j < e->ca.n; j++)
			ASSERT(e->ca.v[j][0] == '/');
		for (size_t j = 0; j < e->pair_count; j++)
			ASSERT(e->pairs[j].cert[0] == '/');
	}
	endpoint_list_release(&l);
	return 0;
}
