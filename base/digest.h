/* SPDX-License-Identifier: Apache-2.0 */
/* digest — content identifiers of the OCI image spec (descriptor.md,
 * "Digests"). Layer: base/; libc and OpenSSL.
 *
 * A struct digest is always one that can be verified: sha256 or sha512, in
 * the lower-case hexadecimal form that the spec registers for them. A digest
 * of another algorithm stays text (see registry/manifest.h) and is refused
 * where it would have to be served.
 *
 * Plain values: copied by assignment, compared with digest_equal. All bytes
 * behind `len` are zero, so the struct may be a hash key as a whole.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

enum digest_alg { DIGEST_SHA256 = 1, DIGEST_SHA512 = 2 };

#define DIGEST_BYTES_MAX  64
#define DIGEST_HEX_MAX    (2 * DIGEST_BYTES_MAX + 1) /* with the NUL */
#define DIGEST_STRING_MAX (DIGEST_HEX_MAX + 7)       /* "sha512:" */

struct digest {
	uint8_t alg; /* enum digest_alg; 0 in a zeroed struct: none */
	uint8_t len; /* bytes: 32 or 64 */
	uint8_t bytes[DIGEST_BYTES_MAX];
};

/* "sha256:<64 hex>". -EINVAL: not in the grammar of the spec, or wrong for
 * its algorithm (length, upper case). -EOPNOTSUPP: grammatical, of an
 * algorithm that cannot be verified here. */
NODISCARD int digest_parse(const char *s, size_t len, struct digest *ret);
/* The same from its two halves, as they stand in a path. */
NODISCARD int digest_parse_parts(const char *alg, size_t alg_len, const char *hex, size_t hex_len,
				 struct digest *ret);

/* An order of digests, as memcmp(3) gives it. */
int digest_compare(const struct digest *a, const struct digest *b);
bool digest_equal(const struct digest *a, const struct digest *b);
bool digest_is_set(const struct digest *d);
const char *digest_alg_name(const struct digest *d);               /* "sha256" */
void digest_hex(const struct digest *d, char out[DIGEST_HEX_MAX]); /* without algorithm */
void digest_string(const struct digest *d, char out[DIGEST_STRING_MAX]);
/* Of bytes in memory. */
NODISCARD int digest_of(enum digest_alg alg, const void *data, size_t len, struct digest *ret);

/* A running hash. new → update* → final (or free). Not for use by two
 * threads at once. -ENOMEM from new; -EIO if OpenSSL fails. */
struct hasher;
NODISCARD int hasher_new(enum digest_alg alg, struct hasher **ret);
NODISCARD int hasher_update(struct hasher *h, const void *data, size_t len);
NODISCARD int hasher_final(struct hasher *h, struct digest *ret); /* h may be freed only */
void hasher_free(struct hasher *h);                               /* NULL is fine */
