/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/fs/fake_stream.h"

const struct digest *stream_digest(const struct stream *s)
{
	static const struct digest d = {.alg = DIGEST_SHA256, .len = 32, .bytes = {6}};

	(void)s;
	return &d;
}

void stream_use(struct stream *s)
{
	atomic_fetch_add(&s->users, 1);
}

void stream_leave(struct stream *s)
{
	atomic_fetch_sub(&s->users, 1);
}

struct stream *stream_ref(struct stream *s)
{
	atomic_fetch_add(&s->refs, 1);
	return s;
}
