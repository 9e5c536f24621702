/* SPDX-License-Identifier: Apache-2.0 */
/* Options back into words. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "fs/cli/options.h"

/* One word, or more where an option may be repeated. */
static int add_words(struct names *words, const struct option_spec *o, const void *value)
{
	char word[PATH_MAX + 64];
	const char *path;
	const struct names *hosts = value;
	int len = 0, rc = 0;
	switch (o->kind) {
	case OPTION_FLAG:
		if (*(const bool *)value)
			len = snprintf(word, sizeof(word), "--%s", o->name);
		break;
	case OPTION_DIRECTORY:
	case OPTION_TREE:
	case OPTION_FILE:
	case OPTION_CERTIFICATES:
	case OPTION_OUTPUT:
		path = *(char *const *)value;
		if (path != NULL)
			len = snprintf(word, sizeof(word), "--%s=%s", o->name, path);
		break;
	case OPTION_SIZE:
		if (*(const uint64_t *)value != 0)
			len = snprintf(word, sizeof(word), "--%s=%" PRIu64, o->name,
				       *(const uint64_t *)value);
		break;
	case OPTION_DURATION:
		if (*(const int64_t *)value != 0)
			len = snprintf(word, sizeof(word), "--%s=%" PRId64 "ms", o->name,
				       *(const int64_t *)value);
		break;
	case OPTION_CHOICE:
		len = snprintf(word, sizeof(word), "--%s=%s", o->name,
			       o->choices[*(const unsigned *)value]);
		break;
	case OPTION_USER:
	case OPTION_GROUP:
	case OPTION_UMASK:
		if (*(const int64_t *)value >= 0)
			len = snprintf(word, sizeof(word),
				       o->kind == OPTION_UMASK ? "--%s=%" PRIo64 : "--%s=%" PRId64,
				       o->name, *(const int64_t *)value);
		break;
	case OPTION_HOSTS:
		for (size_t i = 0; rc == 0 && i < hosts->n; i++) {
			(void)snprintf(word, sizeof(word), "--%s=%s", o->name, hosts->v[i]);
			rc = names_add(words, word, strlen(word));
		}
		return rc;
	case OPTION_CONFIG:
	case OPTION_FD:
	case OPTION_TEXT: /* no worker takes one */
	case OPTION_WORDS:
	case OPTION_IGNORED:
		return 0;
	}
	if (len >= (int)sizeof(word))
		return -ENAMETOOLONG;
	return len > 0 ? names_add(words, word, (size_t)len) : 0;
}

int options_words(unsigned command, const struct cli_args *args, struct names *ret)
{
	size_t n;
	const struct option_spec *table = options_table(&n);
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < n; i++) {
		if ((table[i].commands & command) != 0 && table[i].name != NULL)
			rc = add_words(ret, &table[i], (const char *)args + table[i].offset);
	}
	return rc;
}
