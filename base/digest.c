/* SPDX-License-Identifier: Apache-2.0 */
#include "base/digest.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

struct algorithm {
	const char *name;
	enum digest_alg alg;
	uint8_t len; /* bytes of a digest */
	const EVP_MD *(*md)(void);
};

static const struct algorithm algorithms[] = {
    {"sha256", DIGEST_SHA256, 32, EVP_sha256},
    {"sha512", DIGEST_SHA512, 64, EVP_sha512},
};

static const struct algorithm *by_alg(unsigned alg)
{
	for (size_t i = 0; i < ARRAY_LEN(algorithms); i++) {
		if (algorithms[i].alg == alg)
			return &algorithms[i];
	}
	return NULL;
}

static bool is_lower_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* component (separator component)*, image spec descriptor.md "Digests". */
static bool is_algorithm(const char *s, size_t len)
{
	bool in_component = false;
	for (size_t i = 0; i < len; i++) {
		if (is_lower_alnum(s[i])) {
			in_component = true;
		} else {
			if (!in_component || memchr("+._-", s[i], 4) == NULL)
				return false;
			in_component = false;
		}
	}
	return in_component;
}

static bool is_encoded(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		bool upper = s[i] >= 'A' && s[i] <= 'Z';
		if (!upper && !is_lower_alnum(s[i]) && memchr("=_-", s[i], 3) == NULL)
			return false;
	}
	return len > 0;
}

/* 0 to 15, or -1. Upper case is not the registered form. */
static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

int digest_parse_parts(const char *alg, size_t alg_len, const char *hex, size_t hex_len,
		       struct digest *ret)
{
	if (!is_algorithm(alg, alg_len) || !is_encoded(hex, hex_len))
		return -EINVAL;
	const struct algorithm *known = NULL;
	for (size_t i = 0; i < ARRAY_LEN(algorithms); i++) {
		if (strlen(algorithms[i].name) == alg_len &&
		    memcmp(algorithms[i].name, alg, alg_len) == 0)
			known = &algorithms[i];
	}
	if (known == NULL)
		return -EOPNOTSUPP;
	if (hex_len != 2u * known->len)
		return -EINVAL;
	struct digest d = {.alg = (uint8_t)known->alg, .len = known->len};
	for (size_t i = 0; i < known->len; i++) {
		int high = nibble(hex[2 * i]);
		int low = nibble(hex[2 * i + 1]);
		if (high < 0 || low < 0)
			return -EINVAL;
		d.bytes[i] = (uint8_t)(high << 4 | low);
	}
	*ret = d;
	return 0;
}

int digest_parse(const char *s, size_t len, struct digest *ret)
{
	const char *colon = len > 0 ? memchr(s, ':', len) : NULL;
	if (colon == NULL)
		return -EINVAL;
	size_t alg_len = (size_t)(colon - s);
	return digest_parse_parts(s, alg_len, colon + 1, len - alg_len - 1, ret);
}

int digest_compare(const struct digest *a, const struct digest *b)
{
	int r = (int)a->alg - (int)b->alg;
	return r != 0 ? r : memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

bool digest_equal(const struct digest *a, const struct digest *b)
{
	return a->alg == b->alg && a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}

bool digest_is_set(const struct digest *d)
{
	return d->alg != 0;
}

const char *digest_alg_name(const struct digest *d)
{
	const struct algorithm *a = by_alg(d->alg);
	ASSERT(a != NULL);
	return a->name;
}

void digest_hex(const struct digest *d, char out[DIGEST_HEX_MAX])
{
	static const char digits[] = "0123456789abcdef";
	ASSERT(d->len <= DIGEST_BYTES_MAX);
	for (size_t i = 0; i < d->len; i++) {
		out[2 * i] = digits[d->bytes[i] >> 4];
		out[2 * i + 1] = digits[d->bytes[i] & 15];
	}
	out[2u * d->len] = '\0';
}

void digest_string(const struct digest *d, char out[DIGEST_STRING_MAX])
{
	const char *name = digest_alg_name(d);
	size_t n = strlen(name);
	memcpy(out, name, n);
	out[n] = ':';
	digest_hex(d, out + n + 1);
}

int digest_of(enum digest_alg alg, const void *data, size_t len, struct digest *ret)
{
	const struct algorithm *a = by_alg(alg);
	ASSERT(a != NULL);
	struct digest d = {.alg = (uint8_t)alg, .len = a->len};
	unsigned n = 0;
	if (EVP_Digest(data, len, d.bytes, &n, a->md(), NULL) != 1 || n != a->len)
		return -EIO;
	*ret = d;
	return 0;
}

struct hasher {
	EVP_MD_CTX *ctx;
	const struct algorithm *algorithm;
};

int hasher_new(enum digest_alg alg, struct hasher **ret)
{
	const struct algorithm *a = by_alg(alg);
	ASSERT(a != NULL);
	struct hasher *h = calloc(1, sizeof(*h));
	if (h == NULL)
		return -ENOMEM;
	h->algorithm = a;
	h->ctx = EVP_MD_CTX_new();
	if (h->ctx == NULL || EVP_DigestInit_ex(h->ctx, a->md(), NULL) != 1) {
		int code = h->ctx == NULL ? -ENOMEM : -EIO;
		hasher_free(h);
		return code;
	}
	*ret = h;
	return 0;
}

int hasher_update(struct hasher *h, const void *data, size_t len)
{
	return EVP_DigestUpdate(h->ctx, data, len) == 1 ? 0 : -EIO;
}

int hasher_final(struct hasher *h, struct digest *ret)
{
	struct digest d = {.alg = (uint8_t)h->algorithm->alg, .len = h->algorithm->len};
	unsigned n = 0;
	if (EVP_DigestFinal_ex(h->ctx, d.bytes, &n) != 1 || n != d.len)
		return -EIO;
	*ret = d;
	return 0;
}

void hasher_free(struct hasher *h)
{
	if (h == NULL)
		return;
	EVP_MD_CTX_free(h->ctx);
	free(h);
}
