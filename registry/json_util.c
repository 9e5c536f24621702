/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/json_util.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

/* Left to itself, jansson seeds its hash tables in the first json_object(),
 * which two threads may reach at once. */
static void seed(void)
{
	json_object_seed(0);
}

void auto_json_(json_t **p)
{
	json_decref(*p);
}

/* An upper bound of the values, from the separators outside of strings. */
static size_t count_values(const char *bytes, size_t len)
{
	size_t n = 1;
	bool quoted = false;

	for (size_t i = 0; i < len; i++) {
		switch (bytes[i]) {
		case '\\':
			i += quoted ? 1 : 0;
			break;
		case '"':
			quoted = !quoted;
			break;
		case ',':
		case '{':
		case '[':
			n += quoted ? 0 : 1;
			break;
		default:
			break;
		}
	}
	return n;
}

int json_util_parse(const char *bytes, size_t len, const char *what, json_t **ret, struct err *err)
{
	static pthread_once_t seeded = PTHREAD_ONCE_INIT;
	json_error_t e;

	if (count_values(bytes, len) > JSON_VALUES_MAX)
		return err_set(err, -EFBIG, "%s holds more than %u values", what, JSON_VALUES_MAX);
	pthread_once(&seeded, seed);
	json_t *doc = json_loadb(bytes, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &e);
	if (doc == NULL && json_error_code(&e) == json_error_out_of_memory)
		return err_set(err, -ENOMEM, "%s: no memory", what);
	if (doc == NULL)
		return err_set(err, -EPROTO, "%s is not JSON: %s (line %d)", what, e.text, e.line);
	if (!json_is_object(doc)) {
		json_decref(doc);
		return err_set(err, -EPROTO, "%s is not a JSON object", what);
	}
	*ret = doc;
	return 0;
}

/* A null is what encoders write for what is not there. */
static json_t *get(const json_t *object, const char *key)
{
	json_t *v = json_object_get(object, key);
	return json_is_null(v) ? NULL : v;
}

int json_util_string(const json_t *object, const char *key, const char **ret, struct err *err)
{
	const json_t *v = get(object, key);

	if (v != NULL && !json_is_string(v))
		return err_set(err, -EPROTO, "%s is not a string", key);
	if (v != NULL && strlen(json_string_value(v)) != json_string_length(v))
		return err_set(err, -EPROTO, "%s holds a NUL", key);
	*ret = json_string_value(v);
	return 0;
}

int json_util_object(const json_t *object, const char *key, json_t **ret, struct err *err)
{
	json_t *v = get(object, key);

	if (v != NULL && !json_is_object(v))
		return err_set(err, -EPROTO, "%s is not an object", key);
	*ret = v;
	return 0;
}

int json_util_array(const json_t *object, const char *key, json_t **ret, struct err *err)
{
	json_t *v = get(object, key);

	if (v != NULL && !json_is_array(v))
		return err_set(err, -EPROTO, "%s is not an array", key);
	*ret = v;
	return 0;
}

int json_util_size(const json_t *object, const char *key, uint64_t *ret, struct err *err)
{
	const json_t *v = json_object_get(object, key);
	json_int_t n = json_integer_value(v);

	if (!json_is_integer(v) || n < 0 || n > JSON_SIZE_MAX)
		return err_set(err, -EPROTO, "%s is not an integer from 0 to 2^53", key);
	*ret = (uint64_t)n;
	return 0;
}
