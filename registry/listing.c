/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/listing.h"

#include <errno.h>
#include <string.h>

#include "registry/json_util.h"

static int add_entry(const json_t *entry, listing_fn accept, size_t max, struct names *names,
		     struct listing_page *page)
{
	const char *s = json_string_value(entry);
	size_t len = json_string_length(entry);

	if (!s || !accept(s, len) || len >= sizeof(page->last))
		return 0;
	if (names->n >= max)
		return -EFBIG;
	memcpy(page->last, s, len + 1);
	return names_add(names, s, len);
}

int listing_parse(const char *body, size_t len, const char *key, listing_fn accept, size_t max,
		  struct names *names, struct listing_page *ret, struct err *err)
{
	AUTO_JSON json_t *root = NULL;
	json_t *list = NULL;
	int r = json_util_parse(body, len, "the listing", &root, err);

	*ret = (struct listing_page){0};
	if (r == 0)
		r = json_util_array(root, key, &list, err);
	if (r < 0)
		return r;
	ret->entries = json_array_size(list);
	for (size_t i = 0; i < ret->entries; i++) {
		r = add_entry(json_array_get(list, i), accept, max, names, ret);
		if (r == -EFBIG)
			return err_set(err, r, "more than %zu names", max);
		if (r < 0)
			return err_set(err, r, "out of memory");
	}
	return 0;
}
