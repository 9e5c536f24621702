/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/rfc3339.h"

#include <stddef.h>

/* `n` digits at *s, from low to high; *s moves behind them. */
static bool number(const char **s, int n, int low, int high, int *ret)
{
	int v = 0;

	for (int i = 0; i < n; i++, (*s)++) {
		if (**s < '0' || **s > '9')
			return false;
		v = v * 10 + (**s - '0');
	}
	*ret = v;
	return v >= low && v <= high;
}

static bool literal(const char **s, char upper)
{
	if (**s != upper && !(upper >= 'A' && **s == upper + ('a' - 'A')))
		return false;
	(*s)++;
	return true;
}

static int days_in_month(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return days[month - 1] + (leap && month == 2 ? 1 : 0);
}

/* Since 1970-01-01; the year is counted from March, so that the leap day comes
 * last (year + 400 keeps all terms positive). */
static int64_t days_since_epoch(int year, int month, int day)
{
	int y = year + 400 - (month <= 2 ? 1 : 0);
	int m = (month + 9) % 12;

	return (int64_t)y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day - 1 -
	       (719468 + 146097);
}

static bool fraction(const char **s, int *ret_ms)
{
	int scale = 100;

	*ret_ms = 0;
	if (!literal(s, '.'))
		return true;
	if (**s < '0' || **s > '9')
		return false;
	for (; **s >= '0' && **s <= '9'; (*s)++, scale /= 10)
		*ret_ms += (**s - '0') * scale;
	return true;
}

static bool offset(const char **s, int *ret_minutes)
{
	int hours, minutes, sign;

	*ret_minutes = 0;
	if (literal(s, 'Z'))
		return true;
	if (**s != '+' && **s != '-')
		return false;
	sign = **s == '-' ? -1 : 1;
	(*s)++;
	if (!number(s, 2, 0, 23, &hours) || !literal(s, ':') || !number(s, 2, 0, 59, &minutes))
		return false;
	*ret_minutes = sign * (hours * 60 + minutes);
	return true;
}

bool rfc3339_parse_ms(const char *s, int64_t *ret)
{
	int year, month, day, hour, minute, second, ms, east;

	if (!number(&s, 4, 0, 9999, &year) || !literal(&s, '-') || !number(&s, 2, 1, 12, &month) ||
	    !literal(&s, '-') || !number(&s, 2, 1, days_in_month(year, month), &day))
		return false;
	if (!literal(&s, 'T') || !number(&s, 2, 0, 23, &hour) || !literal(&s, ':') ||
	    !number(&s, 2, 0, 59, &minute) || !literal(&s, ':') || !number(&s, 2, 0, 60, &second))
		return false;
	if (!fraction(&s, &ms) || !offset(&s, &east) || *s != '\0')
		return false;
	int64_t minutes = days_since_epoch(year, month, day) * 1440 + hour * 60 + minute - east;
	*ret = (minutes * 60 + second) * 1000 + ms;
	return true;
}
