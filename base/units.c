/* SPDX-License-Identifier: Apache-2.0 */
#include "base/units.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit size_units[] = {
    {"", 1}, {"K", 1ull << 10}, {"M", 1ull << 20}, {"G", 1ull << 30}, {"T", 1ull << 40},
};

static const struct unit duration_units[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60 * 1000}, {"h", 60 * 60 * 1000}, {"d", 24 * 60 * 60 * 1000},
};

/* Digits, then one of the units and nothing else; at most max. A number that
 * is too large is still read to its end: a bad unit is the worse mistake. */
static int parse(const char *s, const struct unit *units, size_t n_units, uint64_t max,
		 uint64_t *ret)
{
	uint64_t value = 0;
	bool overflow = false;
	const char *p = s;
	for (; *p >= '0' && *p <= '9'; p++) {
		overflow |= __builtin_mul_overflow(value, 10u, &value);
		overflow |= __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value);
	}
	if (p == s)
		return -EINVAL;
	for (size_t i = 0; i < n_units; i++) {
		if (strcmp(p, units[i].name) != 0)
			continue;
		overflow |= __builtin_mul_overflow(value, units[i].factor, &value);
		if (overflow || value > max)
			return -ERANGE;
		*ret = value;
		return 0;
	}
	return -EINVAL;
}

int units_parse_size(const char *s, uint64_t *ret)
{
	return parse(s, size_units, ARRAY_LEN(size_units), UINT64_MAX, ret);
}

int units_parse_duration_ms(const char *s, int64_t *ret)
{
	uint64_t value;
	int rc = parse(s, duration_units, ARRAY_LEN(duration_units), INT64_MAX, &value);
	if (rc == 0)
		*ret = (int64_t)value;
	return rc;
}

void units_format_size(uint64_t bytes, char out[UNITS_SIZE_MAX])
{
	static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	if (bytes < 1024) {
		snprintf(out, UNITS_SIZE_MAX, "%u B", (unsigned)bytes);
		return;
	}
	/* Tenths of the unit, rounded; a value that rounds up to 1024 moves on
	 * to the next unit. */
	for (unsigned i = 1; i < ARRAY_LEN(names); i++) {
		unsigned shift = 10 * i;
		uint64_t whole = bytes >> shift;
		uint64_t rest = bytes >> (shift - 10) & 1023;
		uint64_t tenths = whole * 10 + (rest * 10 + 512) / 1024;
		if (tenths >= 10240 - 5 && i + 1 < ARRAY_LEN(names))
			continue;
		if (tenths < 100)
			snprintf(out, UNITS_SIZE_MAX, "%u.%u %s", (unsigned)(tenths / 10),
				 (unsigned)(tenths % 10), names[i]);
		else
			snprintf(out, UNITS_SIZE_MAX, "%u %s", (unsigned)((tenths + 5) / 10),
				 names[i]);
		return;
	}
}
