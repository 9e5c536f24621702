/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/health.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"

void health_init(struct health *h, int64_t down_ms)
{
	*h = (struct health){.down_ms = down_ms};
	lock_init(&h->lock);
}

void health_release(struct health *h)
{
	lock_release(&h->lock);
}

static bool is_down(const struct health *h) REQUIRES(h->lock)
{
	return h->down < 0 && (h->trying || clock_ms() < h->until_ms);
}

/* For people: what a host that has asked us to wait is waited for. */
static void say_until(int64_t left_ms, char out[64])
{
	time_t at = (time_t)((clock_wall_ms() + left_ms) / 1000);
	struct tm tm;

	if (left_ms <= 0 || !gmtime_r(&at, &tm) ||
	    strftime(out, 64, "it has asked us to wait until %H:%M:%SZ", &tm) == 0)
		snprintf(out, 64, "not asked again yet");
}

static int answer(struct health *h, bool *trial, struct err *err)
{
	char text[ERR_TEXT_MAX], until[64];
	int64_t left_ms = 0;
	int code = 0;

	lock_take(&h->lock);
	if (is_down(h)) {
		code = h->down;
		left_ms = h->hold_until_ms - clock_ms();
		snprintf(text, sizeof(text), "%s", h->last.text);
	} else if (h->down < 0 && trial) {
		h->trying = true;
		*trial = true;
	}
	lock_drop(&h->lock);
	if (code == 0)
		return 0;
	say_until(left_ms, until);
	return err_set(err, code, "%s (%s)", text, until);
}

int health_enter(struct health *h, bool *ret_trial, struct err *err)
{
	*ret_trial = false;
	return answer(h, ret_trial, err);
}

int health_down(struct health *h, struct err *err)
{
	return answer(h, NULL, err);
}

static void answered(struct health *h, int last_errno, const char *text)
{
	lock_take(&h->lock);
	h->down = 0;
	h->trying = false;
	h->last.last_errno = last_errno;
	snprintf(h->last.text, sizeof(h->last.text), "%s", text);
	h->last.since_ms = clock_wall_ms();
	if (!last_errno)
		h->last.good_ms = h->last.since_ms;
	lock_drop(&h->lock);
}

void health_good(struct health *h)
{
	answered(h, 0, "");
}

void health_refused(struct health *h, const char *text)
{
	answered(h, EACCES, text);
}

static void failed(struct health *h, int code, const char *text, int64_t until_ms) REQUIRES(h->lock)
{
	h->down = code;
	h->until_ms = until_ms;
	h->trying = false;
	h->last.last_errno = -code;
	snprintf(h->last.text, sizeof(h->last.text), "%s", text);
	h->last.since_ms = clock_wall_ms();
}

void health_no_token(struct health *h, int code, const char *text)
{
	answered(h, -code, text);
}

void health_failed(struct health *h, int code, const char *text)
{
	lock_take(&h->lock);
	failed(h, code, text, clock_ms() + h->down_ms);
	lock_drop(&h->lock);
}

void health_gate(struct health *h, int code, const char *text, int64_t until_ms)
{
	lock_take(&h->lock);
	failed(h, code, text, until_ms);
	h->hold_until_ms = until_ms;
	lock_drop(&h->lock);
}

void health_leave(struct health *h, bool trial)
{
	if (!trial)
		return;
	lock_take(&h->lock);
	h->trying = false;
	lock_drop(&h->lock);
}

void health_hold(struct health *h, int64_t until_ms)
{
	lock_take(&h->lock);
	if (until_ms > h->hold_until_ms)
		h->hold_until_ms = until_ms;
	lock_drop(&h->lock);
}

int64_t health_held_until(struct health *h)
{
	int64_t until_ms;

	lock_take(&h->lock);
	until_ms = h->hold_until_ms;
	lock_drop(&h->lock);
	return until_ms;
}

void health_get(struct health *h, struct source_health *ret)
{
	int64_t now_ms = clock_ms();

	lock_take(&h->lock);
	*ret = h->last;
	ret->held_ms = h->hold_until_ms > now_ms ? h->hold_until_ms - now_ms : 0;
	lock_drop(&h->lock);
}
