/* SPDX-License-Identifier: Apache-2.0 */
/* json_util — JSON from strangers, with jansson. Layer: registry/; no I/O.
 *
 * A document is refused when a key stands twice in one object (two parsers
 * would not agree on it), when anything follows it, and when it holds more
 * values than JSON_VALUES_MAX: jansson needs some 200 bytes for a value that
 * takes three in the text. Strings are UTF-8; json_util_string refuses a NUL in one.
 *
 * Threads: any. Values are borrowed from the document.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "base/err.h"

#define JSON_VALUES_MAX 400000u
#define JSON_SIZE_MAX   (INT64_C(1) << 53) /* integers that every JSON reader agrees on */

#define AUTO_JSON       __attribute__((cleanup(auto_json_)))
void auto_json_(json_t **p);

/* An object, new. -EPROTO: not JSON, or no object. -EFBIG, -ENOMEM. `what`
 * opens the error text ("the manifest"). */
NODISCARD int json_util_parse(const char *bytes, size_t len, const char *what, json_t **ret,
			      struct err *err);
/* *ret is NULL where the key is missing or null. -EPROTO: of another type. */
NODISCARD int json_util_string(const json_t *object, const char *key, const char **ret,
			       struct err *err);
NODISCARD int json_util_object(const json_t *object, const char *key, json_t **ret,
			       struct err *err);
NODISCARD int json_util_array(const json_t *object, const char *key, json_t **ret, struct err *err);
/* A size: an integer from 0 to JSON_SIZE_MAX, which must be there. -EPROTO. */
NODISCARD int json_util_size(const json_t *object, const char *key, uint64_t *ret, struct err *err);
