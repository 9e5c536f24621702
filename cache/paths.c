/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "cache/store_impl.h"

/* partial/<alg>-<hex>-<size>[.<random>] */

void path_blob_dir(const struct digest *d, char out[BLOB_DIR_MAX])
{
	snprintf(out, BLOB_DIR_MAX, "blobs/%s", digest_alg_name(d));
}

void path_blob(const struct digest *d, char out[BLOB_PATH_MAX])
{
	char hex[DIGEST_HEX_MAX];
	digest_hex(d, hex);
	snprintf(out, BLOB_PATH_MAX, "blobs/%s/%s", digest_alg_name(d), hex);
}

void path_partial(const struct digest *d, uint64_t size, char out[PARTIAL_NAME_MAX])
{
	char hex[DIGEST_HEX_MAX];
	digest_hex(d, hex);
	snprintf(out, PARTIAL_NAME_MAX, "%s-%s-%" PRIu64, digest_alg_name(d), hex, size);
}

void path_private(char name[PARTIAL_NAME_MAX])
{
	uint64_t random = 0;
	/* Only against clashes; O_EXCL decides. */
	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != (ssize_t)sizeof(random))
		random = (uint64_t)clock_wall_ms() << 20 ^ (uint64_t)getpid();
	size_t len = strcspn(name, ".");
	snprintf(name + len, PARTIAL_NAME_MAX - len, ".%016" PRIx64, random);
}

bool path_is_private(const char *name)
{
	return strchr(name, '.') != NULL;
}

uint64_t path_partial_size(const char *name)
{
	size_t end = strcspn(name, ".");
	size_t start = end;
	while (start > 0 && name[start - 1] >= '0' && name[start - 1] <= '9')
		start--;
	if (start == end || start == 0 || name[start - 1] != '-')
		return 0;
	uint64_t v = 0;
	for (size_t i = start; i < end; i++) {
		if (__builtin_mul_overflow(v, 10u, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(name[i] - '0'), &v))
			return 0;
	}
	return v;
}
