/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/layout_index.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "registry/reference.h"

#define REF_NAME "org.opencontainers.image.ref.name"

/* The tag of an entry, borrowed and not NUL-terminated. NULL: it has none. */
static const char *entry_tag(const struct manifest_entry *e, size_t *ret_len)
{
	const char *name = annotation_get(e->annotations, e->annotation_count, REF_NAME);
	if (name == NULL)
		return NULL;
	size_t len = strcspn(name, "@");
	const char *colon = len > 0 ? memrchr(name, ':', len) : NULL;
	if (colon != NULL) {
		len -= (size_t)(colon + 1 - name);
		name = colon + 1;
	}
	*ret_len = len;
	return reference_is_tag(name, len) ? name : NULL;
}

const struct manifest_entry *layout_index_by_tag(const struct manifest *index, const char *tag)
{
	size_t tag_len = strlen(tag);

	for (size_t i = 0; i < index->layer_count; i++) {
		size_t len;
		const char *s = entry_tag(&index->layers[i], &len);
		if (s != NULL && len == tag_len && memcmp(s, tag, len) == 0)
			return &index->layers[i];
	}
	return NULL;
}

const struct manifest_entry *layout_index_by_digest(const struct manifest *index,
						    const struct digest *d)
{
	for (size_t i = 0; i < index->layer_count; i++) {
		if (digest_equal(&index->layers[i].desc.digest, d))
			return &index->layers[i];
	}
	return NULL;
}

bool layout_index_is_untagged(const struct manifest_entry *e)
{
	size_t len;
	return entry_tag(e, &len) == NULL;
}

int layout_index_tags(const struct manifest *index, struct names *ret)
{
	struct names found = {0};

	for (size_t i = 0; i < index->layer_count; i++) {
		size_t len;
		const char *s = entry_tag(&index->layers[i], &len);
		int rc = s != NULL ? names_add(&found, s, len) : 0;
		if (rc < 0) {
			names_release(&found);
			return rc;
		}
	}
	names_sort(&found);
	*ret = found;
	return 0;
}

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static char fold(char c)
{
	if (c >= 'A' && c <= 'Z')
		return (char)(c - 'A' + 'a');
	return is_alnum(c) || c == '.' || c == '_' ? c : '-';
}

/* Length of a run of separators as it may stand: a run of mixed ones becomes
 * a single '-'. */
static size_t tidy_separators(char *s, size_t len)
{
	bool same = true;
	for (size_t i = 1; i < len; i++)
		same = same && s[i] == s[0];
	if (same && (s[0] == '-' || len == 1 || (s[0] == '_' && len == 2)))
		return len;
	s[0] = '-';
	return 1;
}

void layout_repository_name(const char *basename, size_t len, char ret[REPOSITORY_MAX])
{
	size_t n = 0, run = 0; /* run: separators at the end of ret */

	for (size_t i = 0; i < len && n < NAME_COMPONENT_MAX; i++) {
		char c = fold(basename[i]);
		if (is_alnum(c)) {
			if (run > 0)
				n = n - run + tidy_separators(ret + n - run, run);
			run = 0;
		} else if (n == 0) {
			continue;
		} else {
			run++;
		}
		ret[n++] = c;
	}
	ret[n - run] = '\0';
	if (ret[0] == '\0')
		memcpy(ret, "layout", sizeof("layout"));
}
