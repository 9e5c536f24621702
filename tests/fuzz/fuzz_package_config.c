/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <string.h>

#include "registry/package_config.h"
#include "registry/package_name.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_registry(const struct package_config *c, const char *namespace, const char *name)
{
	struct package_registry r;
	char source[HOST_NAME_SIZE];
	struct source_spec spec;

	if (package_config_find(c, namespace, name, &r) < 0)
		return;
	ASSERT(host_name_parse(r.registry, source, &spec) == 0);
	ASSERT(!r.protocol || (*r.protocol && strlen(r.protocol) < PACKAGE_PROTOCOL_MAX));
	ASSERT(!r.metadata || !r.metadata->registry[0] ||
	       host_name_parse(r.metadata->registry, source, &spec) == 0);
}

/* What is named has a registry, and that is a host. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct package_config *c = NULL;
	struct names all = {0}, some = {0};
	struct err err = {""};
	int r = package_config_parse((const char *)data, size, &c, &err);

	ASSERT(r <= 0 && (r == 0 || err.text[0]));
	if (r < 0)
		return 0;
	check_registry(c, "wasi", "http");
	r = package_config_namespaces(c, &all);
	for (size_t i = 0; i < all.n && r == 0; i++) {
		ASSERT(package_is_label(all.v[i], strlen(all.v[i])));
		check_registry(c, all.v[i], "x");
		r = package_config_packages(c, all.v[i], &some);
		for (size_t j = 0; j < some.n; j++) {
			ASSERT(package_is_label(some.v[j], strlen(some.v[j])));
			check_registry(c, all.v[i], some.v[j]);
		}
		names_release(&some);
	}
	names_release(&all);
	package_config_free(c);
	return 0;
}
