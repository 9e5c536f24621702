/* SPDX-License-Identifier: Apache-2.0 */
#include "base/call.h"

#include <errno.h>

#include "base/clock.h"

void call_init(struct call *c, int64_t deadline_ms)
{
	lock_init(&c->lock);
	c->cancelled = false;
	c->waker = NULL;
	c->waker_ctx = NULL;
	c->said_code = 0;
	c->said.text[0] = '\0';
	c->deadline_ms = deadline_ms;
}

void call_release(struct call *c)
{
	lock_release(&c->lock);
}

void call_cancel(struct call *c)
{
	lock_take(&c->lock);
	c->cancelled = true;
	if (c->waker != NULL)
		c->waker(c->waker_ctx);
	lock_drop(&c->lock);
}

int call_check(struct call *c, struct err *err)
{
	lock_take(&c->lock);
	bool cancelled = c->cancelled;
	lock_drop(&c->lock);
	if (cancelled)
		return err_set(err, -ECANCELED, "given up by the caller");
	if (c->deadline_ms != INT64_MAX && clock_ms() >= c->deadline_ms)
		return err_set(err, -ETIMEDOUT, "the time for the operation is over");
	return 0;
}

void call_say(struct call *c, int code, const char *text)
{
	lock_take(&c->lock);
	c->said_code = err_set(&c->said, code, "%s", text);
	lock_drop(&c->lock);
}

int call_said(struct call *c, struct err *err)
{
	lock_take(&c->lock);
	int code = c->said_code ? err_set(err, c->said_code, "%s", c->said.text) : 0;
	lock_drop(&c->lock);
	return code;
}

void call_set_waker(struct call *c, call_waker_fn waker, void *ctx)
{
	lock_take(&c->lock);
	c->waker = waker;
	c->waker_ctx = ctx;
	if (waker != NULL && c->cancelled)
		waker(ctx);
	lock_drop(&c->lock);
}
