/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/account.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define DIGITS 20

/* wasmocifs-account 1 clean 00000000000000000000 00000000000000000000 */
static const char heads[2][27] = {"wasmocifs-account 1 clean ", "wasmocifs-account 1 stale "};
#define HEAD_LEN (sizeof(heads[0]) - 1)

static int parse_number(const char *s, char end, uint64_t *ret)
{
	uint64_t v = 0;
	for (size_t i = 0; i < DIGITS; i++) {
		if (s[i] < '0' || s[i] > '9')
			return -EINVAL;
		if (__builtin_mul_overflow(v, 10u, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(s[i] - '0'), &v))
			return -EINVAL;
	}
	if (s[DIGITS] != end)
		return -EINVAL;
	*ret = v;
	return 0;
}

int account_parse(const char *data, size_t len, struct account *ret)
{
	if (len != ACCOUNT_LEN)
		return -EINVAL;
	struct account a = {.stale = memcmp(data, heads[1], HEAD_LEN) == 0};
	if (memcmp(data, heads[a.stale], HEAD_LEN) != 0)
		return -EINVAL;
	int rc = parse_number(data + HEAD_LEN, ' ', &a.bytes);
	if (rc == 0)
		rc = parse_number(data + HEAD_LEN + DIGITS + 1, '\n', &a.blobs);
	if (rc == 0)
		*ret = a;
	return rc;
}

void account_format(const struct account *a, char out[ACCOUNT_LEN + 1])
{
	int n = snprintf(out, ACCOUNT_LEN + 1, "%s%020" PRIu64 " %020" PRIu64 "\n", heads[a->stale],
			 a->bytes, a->blobs);
	ASSERT(n == ACCOUNT_LEN);
}
