/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "registry/proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Two lines: HTTP_PROXY and NO_PROXY. Whatever they are, this machine is asked
 * directly, and a proxy has a name without a password. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const urls[] = {"http://localhost/", "http://127.0.0.1/",
					   "http://a.example:5000/", "http://10.0.0.1/",
					   "http://[fd00::1]/"};
	char *text = malloc(size + 1), *none;
	struct proxy_env env = {.http = text};
	struct proxy *p = NULL;

	ASSERT(text != NULL);
	memcpy(text, data, size);
	text[size] = '\0';
	none = strchr(text, '\n');
	if (none) {
		*none = '\0';
		env.none = none + 1;
	}
	if (proxy_new(&env, &p, NULL) == 0) {
		for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
			const struct proxy_server *server;
			struct url u = {0};

			ASSERT(url_parse(urls[i], &u) == 0);
			server = proxy_for(p, &u);
			ASSERT(!server || i > 1);
			ASSERT(!server || !strchr(server->name, '@'));
			url_release(&u);
		}
		proxy_free(p);
	}
	free(text);
	return 0;
}
