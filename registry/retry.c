/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/retry.h"

#include <stdio.h>
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

/* "Sun, 06 Nov 1994 08:49:37 GMT"; the obsolete forms of RFC 9110 §5.6.7 are
 * not understood. */
static bool parse_date(const char *s, int64_t *ret_ms)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	struct tm tm = {0};
	char day[4], month[4], zone[4];
	const char *at;
	int end = 0;

	if (sscanf(s, "%3[A-Za-z], %2d %3[A-Za-z] %4d %2d:%2d:%2d %3s%n", day, &tm.tm_mday, month,
		   &tm.tm_year, &tm.tm_hour, &tm.tm_min, &tm.tm_sec, zone, &end) != 8 ||
	    s[end] != '\0' || strcmp(zone, "GMT") != 0 || strlen(month) != 3)
		return false;
	at = strstr(months, month);
	if (!at || (at - months) % 3 != 0 || tm.tm_year < 1970 || tm.tm_mday < 1 ||
	    tm.tm_mday > 31 || tm.tm_hour < 0 || tm.tm_hour > 23 || tm.tm_min < 0 ||
	    tm.tm_min > 59 || tm.tm_sec < 0 || tm.tm_sec > 60)
		return false;
	tm.tm_mon = (int)(at - months) / 3;
	tm.tm_year -= 1900;
	*ret_ms = (int64_t)timegm(&tm) * 1000;
	return true;
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

int64_t retry_after_ms(const char *value, int64_t wall_ms)
{
	int64_t ms;
	bool negative;

	value += strspn(value, " \t");
	negative = *value == '-';
	if (parse_seconds(value + negative, &ms)) {
		if (negative)
			return 0;
		if (ms < (int64_t)UNIX_TIME_MIN * 1000)
			return ms;
	} else if (!parse_date(value, &ms)) {
		return -1;
	}
	return ms > wall_ms ? ms - wall_ms : 0;
}
