/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <string.h>

#include "registry/package_metadata.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is understood can be kept, and what was kept is the same again. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct package_metadata m, again;
	struct names words = {0};
	struct err err = {""};
	char repo[REPOSITORY_MAX], source[HOST_NAME_SIZE];
	struct source_spec spec;
	int r = package_metadata_parse((const char *)data, size, &m, &err);

	ASSERT(r <= 0 && (r == 0 || err.text[0]));
	if (r < 0)
		return 0;
	ASSERT(!m.registry[0] || host_name_parse(m.registry, source, &spec) == 0);
	if (package_metadata_words(&m, &words) == 0) {
		for (size_t i = 0; i < words.n; i++)
			ASSERT(!strpbrk(words.v[i], " \n\r\t"));
		ASSERT(package_metadata_of_words(&words, &again) == 0);
		ASSERT(memcmp(&m, &again, sizeof(m)) == 0);
	}
	names_release(&words);
	if (package_metadata_repository(&m, "ns", "name", repo, NULL) == 0)
		ASSERT(reference_is_repository(repo, strlen(repo)));
	return 0;
}
