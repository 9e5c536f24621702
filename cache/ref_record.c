/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/ref_record.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cache/ref_name.h"

#define CHECK_LEN 16
#define HEAD_MAX  128 /* of a listing */

/* What is left to be read of a line. */
struct reader {
	const char *p;
	size_t len;
};

static uint64_t fnv1a(const char *s, size_t len)
{
	uint64_t h = 0xcbf29ce484222325u;
	for (size_t i = 0; i < len; i++)
		h = (h ^ (unsigned char)s[i]) * 0x100000001b3u;
	return h;
}

/* Up to the next space, or the end. */
static struct reader next_field(struct reader *r)
{
	const char *space = r->len > 0 ? memchr(r->p, ' ', r->len) : NULL;
	size_t n = space != NULL ? (size_t)(space - r->p) : r->len;
	struct reader field = {r->p, n};
	size_t used = space != NULL ? n + 1 : n;
	r->p += used;
	r->len -= used;
	return field;
}

static int read_word(struct reader *r, const char *word)
{
	struct reader f = next_field(r);
	return f.len == strlen(word) && memcmp(f.p, word, f.len) == 0 ? 0 : -EINVAL;
}

static int read_number(struct reader *r, uint64_t max, uint64_t *ret)
{
	struct reader f = next_field(r);
	uint64_t v = 0;
	if (f.len == 0 || (f.len > 1 && f.p[0] == '0'))
		return -EINVAL;
	for (size_t i = 0; i < f.len; i++) {
		if (f.p[i] < '0' || f.p[i] > '9')
			return -EINVAL;
		if (__builtin_mul_overflow(v, 10u, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(f.p[i] - '0'), &v))
			return -EINVAL;
	}
	if (v > max)
		return -EINVAL;
	*ret = v;
	return 0;
}

static int read_digest(struct reader *r, struct digest *ret)
{
	struct reader f = next_field(r);
	return digest_parse(f.p, f.len, ret) < 0 ? -EINVAL : 0;
}

static int read_text(struct reader *r, char *ret, size_t room)
{
	struct reader f = next_field(r);
	return ref_name_unescape(f.p, f.len, ret, room) < 0 ? -EINVAL : 0;
}

static void format_check(uint64_t check, char out[CHECK_LEN + 1])
{
	snprintf(out, CHECK_LEN + 1, "%016" PRIx64, check);
}

/* The last field is right for all before it; what is left is without it. */
static int take_check(struct reader *r)
{
	if (r->len < CHECK_LEN + 1)
		return -EINVAL;
	size_t before = r->len - CHECK_LEN;
	char check[CHECK_LEN + 1];
	format_check(fnv1a(r->p, before), check);
	if (r->p[before - 1] != ' ' || memcmp(r->p + before, check, CHECK_LEN) != 0)
		return -EINVAL;
	r->len = before - 1;
	return 0;
}

/* A line of which the fields stand already, followed by a space. */
static int add_check(char out[REF_LINE_MAX], int len)
{
	char check[CHECK_LEN + 1];
	if (len < 0 || (size_t)len + CHECK_LEN + 2 > REF_LINE_MAX)
		return -ENAMETOOLONG;
	format_check(fnv1a(out, (size_t)len), check);
	memcpy(out + len, check, CHECK_LEN);
	out[len + CHECK_LEN] = '\n';
	out[len + CHECK_LEN + 1] = '\0';
	return len + CHECK_LEN + 1;
}

static int read_descriptor(struct reader *r, struct descriptor *ret)
{
	if (read_digest(r, &ret->digest) < 0 || read_number(r, INT64_MAX, &ret->size) < 0)
		return -EINVAL;
	return read_text(r, ret->media_type, sizeof(ret->media_type));
}

static int format_descriptor(const struct descriptor *d, char *out, size_t room)
{
	char digest[DIGEST_STRING_MAX];
	char type[3 * MEDIA_TYPE_MAX];
	digest_string(&d->digest, digest);
	if (d->size > INT64_MAX ||
	    ref_name_escape(d->media_type, strlen(d->media_type), type, sizeof(type)) < 0)
		return -ENAMETOOLONG;
	return snprintf(out, room, "%s %" PRIu64 " %s ", digest, d->size, type);
}

int ref_record_format_tag(const struct tag_record *r, const char *tag, char out[REF_LINE_MAX])
{
	char name[3 * REF_TAG_MAX];
	char desc[REF_LINE_MAX / 2];
	size_t len = strlen(tag);
	if (len >= REF_TAG_MAX || r->seen_ms < 0 ||
	    ref_name_escape(tag, len, name, sizeof(name)) < 0)
		return -ENAMETOOLONG;
	if (format_descriptor(&r->desc, desc, sizeof(desc)) < 0)
		return -ENAMETOOLONG;
	int n = snprintf(out, REF_LINE_MAX, "tag1 %" PRId64 " %s%s ", r->seen_ms, desc, name);
	return add_check(out, n);
}

int ref_record_parse_tag(const char *data, size_t len, const char *tag, struct tag_record *ret)
{
	if (len == 0 || len >= REF_LINE_MAX || data[len - 1] != '\n')
		return -EINVAL;
	struct reader r = {data, len - 1};
	struct tag_record rec = {0};
	char name[REF_TAG_MAX];
	uint64_t seen;
	if (take_check(&r) < 0 || read_word(&r, "tag1") < 0 ||
	    read_number(&r, INT64_MAX, &seen) < 0 || read_descriptor(&r, &rec.desc) < 0 ||
	    read_text(&r, name, sizeof(name)) < 0 || r.len > 0 || strcmp(name, tag) != 0)
		return -EINVAL;
	rec.seen_ms = (int64_t)seen;
	*ret = rec;
	return 0;
}

int ref_record_format_named(const struct descriptor *d, char out[REF_LINE_MAX])
{
	return add_check(out, format_descriptor(d, out, REF_LINE_MAX));
}

int ref_record_parse_named(const char *line, size_t len, struct descriptor *ret)
{
	struct reader r = {line, len};
	struct descriptor d = {0};
	if (len >= REF_LINE_MAX || take_check(&r) < 0 || read_descriptor(&r, &d) < 0 || r.len > 0)
		return -EINVAL;
	*ret = d;
	return 0;
}

int ref_record_format_archive(const struct digest *layer, const struct archive_record *r,
			      char out[REF_LINE_MAX])
{
	char name[DIGEST_STRING_MAX], tar[DIGEST_STRING_MAX], index[DIGEST_STRING_MAX];
	digest_string(layer, name);
	digest_string(&r->tar, tar);
	digest_string(&r->index, index);
	return add_check(out,
			 snprintf(out, REF_LINE_MAX, "archive1 %s %s %" PRIu64 " %s %" PRIu64 " ",
				  name, tar, r->tar_size, index, r->index_size));
}

int ref_record_parse_archive(const char *data, size_t len, const struct digest *layer,
			     struct archive_record *ret)
{
	if (len == 0 || len >= REF_LINE_MAX || data[len - 1] != '\n')
		return -EINVAL;
	struct reader r = {data, len - 1};
	struct archive_record rec = {0};
	struct digest of;
	if (take_check(&r) < 0 || read_word(&r, "archive1") < 0 || read_digest(&r, &of) < 0 ||
	    read_digest(&r, &rec.tar) < 0 || read_number(&r, INT64_MAX, &rec.tar_size) < 0 ||
	    read_digest(&r, &rec.index) < 0 || read_number(&r, INT64_MAX, &rec.index_size) < 0 ||
	    r.len > 0 || !digest_equal(&of, layer))
		return -EINVAL;
	*ret = rec;
	return 0;
}

static bool can_be_listed(const char *name, size_t len)
{
	return len > 0 && len <= REF_LISTED_MAX && memchr(name, '\n', len) == NULL &&
	       memchr(name, '\0', len) == NULL;
}

int ref_record_format_listing(const struct names *names, int64_t seen_ms, char **ret,
			      size_t *ret_len)
{
	size_t body = 0;
	if (names->n > REF_LISTING_MAX || seen_ms < 0)
		return names->n > REF_LISTING_MAX ? -EFBIG : -EINVAL;
	for (size_t i = 0; i < names->n; i++) {
		size_t len = strlen(names->v[i]);
		if (!can_be_listed(names->v[i], len))
			return -EINVAL;
		body += len + 1;
	}
	if (body > REF_LISTING_BYTES - HEAD_MAX)
		return -EFBIG;
	AUTO_FREE char *rest = malloc(body + 1);
	AUTO_FREE char *text = malloc(HEAD_MAX + body);
	if (rest == NULL || text == NULL)
		return -ENOMEM;
	char *p = rest;
	for (size_t i = 0; i < names->n; i++) {
		p = stpcpy(p, names->v[i]);
		*p++ = '\n';
	}
	char check[CHECK_LEN + 1];
	format_check(fnv1a(rest, body), check);
	int head =
	    snprintf(text, HEAD_MAX, "listing1 %" PRId64 " %zu %s\n", seen_ms, names->n, check);
	memcpy(text + head, rest, body);
	*ret = steal_ptr(&text);
	*ret_len = (size_t)head + body;
	return 0;
}

static int read_names(struct reader body, uint64_t count, struct names *ret)
{
	while (body.len > 0) {
		const char *end = memchr(body.p, '\n', body.len);
		size_t n = end != NULL ? (size_t)(end - body.p) : body.len;
		if (end == NULL || count == 0 || !can_be_listed(body.p, n))
			return -EINVAL;
		int rc = names_add(ret, body.p, n);
		if (rc < 0)
			return rc;
		count--;
		body.p += n + 1;
		body.len -= n + 1;
	}
	return count == 0 ? 0 : -EINVAL;
}

int ref_record_parse_listing(const char *data, size_t len, struct names *ret, int64_t *ret_seen_ms)
{
	const char *end = len > 0 ? memchr(data, '\n', len) : NULL;
	if (end == NULL || len > REF_LISTING_BYTES)
		return -EINVAL;
	struct reader head = {data, (size_t)(end - data)};
	struct reader body = {end + 1, len - head.len - 1};
	uint64_t seen, count;
	char check[CHECK_LEN + 1];
	format_check(fnv1a(body.p, body.len), check);
	if (read_word(&head, "listing1") < 0 || read_number(&head, INT64_MAX, &seen) < 0 ||
	    read_number(&head, REF_LISTING_MAX, &count) < 0 || read_word(&head, check) < 0 ||
	    head.len > 0)
		return -EINVAL;
	struct names names = {0};
	int rc = read_names(body, count, &names);
	if (rc < 0) {
		names_release(&names);
		return rc;
	}
	names_sort(&names);
	*ret = names;
	*ret_seen_ms = (int64_t)seen;
	return 0;
}
