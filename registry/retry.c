/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/retry.h"

#include <curl/curl.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define UNIX_TIME_MIN 1000000000 /* a number of seconds from here on is a date */

bool retry_status(int status)
{
	switch (status) {
	case 408:
	case 425:
	case 429:
	case 499:
	case 500:
	case 502:
	case 503:
	case 504:
	case 522:
		return true;
	default:
		return false;
	}
}

int64_t retry_backoff_ms(unsigned attempt, int64_t base_ms)
{
	uint32_t dice = 0;
	int64_t limit_ms = base_ms;

	for (unsigned i = 1; i < attempt && limit_ms < RETRY_CAP_MS; i++)
		limit_ms *= 2;
	if (limit_ms > RETRY_CAP_MS)
		limit_ms = RETRY_CAP_MS;
	if (getrandom(&dice, sizeof(dice), GRND_NONBLOCK) != (ssize_t)sizeof(dice))
		dice = UINT32_MAX / 2;
	return limit_ms * (int64_t)dice / UINT32_MAX;
}

/* Digits with at most one dot, as milliseconds; saturates. */
static bool parse_seconds(const char *s, int64_t *ret_ms)
{
	int64_t ms = 0;
	int64_t unit = 100;
	const char *p = s;

	for (; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(ms, (int64_t)10, &ms) ||
		    __builtin_add_overflow(ms, (int64_t)(*p - '0') * 1000, &ms))
			ms = INT64_MAX / 20;
	if (p == s)
		return false;
	if (*p == '.')
		for (p++; *p >= '0' && *p <= '9'; p++, unit /= 10)
			ms += (*p - '0') * unit;
	*ret_ms = ms;
	return *p == '\0';
}

int64_t retry_after_ms(const char *value, const char *date, int64_t wall_ms)
{
	time_t theirs = date ? curl_getdate(date, NULL) : -1;
	int64_t now_ms = theirs >= 0 ? (int64_t)theirs * 1000 : wall_ms;
	int64_t ms;
	bool negative;

	value += strspn(value, " \t");
	negative = *value == '-';
	if (parse_seconds(value + negative, &ms)) {
		if (negative)
			return 0;
		if (ms < (int64_t)UNIX_TIME_MIN * 1000)
			return ms;
	} else {
		time_t then = curl_getdate(value, NULL);
		if (then < 0)
			return -1;
		ms = (int64_t)then * 1000;
	}
	return ms > now_ms ? ms - now_ms : 0;
}
