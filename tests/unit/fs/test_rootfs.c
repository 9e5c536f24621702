/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/rootfs.h"

#define LAYERS_MAX 4

/* A layer as text: "d path", "f path", "l path>target", "h path>target", "o path",
 * separated by newlines; a file's contents are its path and its layer. */
static struct tar_index *layer(const char *text, unsigned number)
{
	struct tar_index_builder b = {0};
	AUTO_FREE char *copy = strdup(text);
	char *rest = copy, *out;
	size_t len;
	struct tar_index *ix;

	for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
		char *link = strchr(line, '>');
		if (link != NULL)
			*link++ = '\0';
		struct tar_item item = {.kind = (enum tar_kind)line[0],
					.mode = line[1] == '!' ? 04777 : 0640,
					.path = line + 2,
					.link = link};
		if (line[0] != '\0')
			assert_int_equal(tar_index_add(&b, &item, NULL), 0);
	}
	assert_int_equal(tar_index_finish(&b, 0, &out, &len, NULL), 0);
	assert_int_equal(tar_index_parse(out, len, 0, UINT64_MAX, &ix, NULL), 0);
	for (size_t i = 0; i < ix->n; i++) {
		struct digest d;
		char contents[256];
		if (ix->v[i].kind != TAR_FILE)
			continue;
		int n = snprintf(contents, sizeof(contents), "%s %u", ix->v[i].path, number);
		assert_int_equal(digest_of(DIGEST_SHA256, contents, (size_t)n, &d), 0);
		tar_index_set_digest(ix, i, &d);
	}
	assert_int_equal(tar_index_complete(ix), 0);
	return ix;
}

/* Whether they are archives of no image. */
static bool plain;

static int merge(const char *const *texts, struct rootfs **ret, struct err *err)
{
	const struct tar_index *v[LAYERS_MAX];
	struct tar_index *own[LAYERS_MAX];
	size_t n = 0;

	for (; n < LAYERS_MAX && texts[n] != NULL; n++)
		v[n] = own[n] = layer(texts[n], (unsigned)n);
	int rc = rootfs_merge(v, n, !plain, NULL, ret, err);
	for (size_t i = 0; i < n; i++)
		tar_index_free(own[i]);
	return rc;
}

/* All paths, one a line, with the targets of links. */
static void print(const struct rootfs *r, size_t dir, const char *above, char *out, size_t room)
{
	for (size_t i = r->v[dir].first; i < r->v[dir].first + r->v[dir].count; i++) {
		char path[512];
		size_t len = strlen(out);
		snprintf(path, sizeof(path), "%s%s", above, rootfs_name(r, i));
		if (r->v[i].kind == ROOTFS_LINK)
			snprintf(out + len, room - len, "%s>%s\n", path, rootfs_target(r, i));
		else
			snprintf(out + len, room - len, "%s\n", path);
		strncat(path, "/", sizeof(path) - strlen(path) - 1);
		if (r->v[i].kind == ROOTFS_DIR)
			print(r, i, path, out, room);
	}
}

static void gives(const char *want, const char *const *texts)
{
	char out[4096] = "";
	struct err err = {""};
	struct rootfs *r = NULL;

	if (merge(texts, &r, &err) != 0)
		fail_msg("%s", err.text);
	print(r, 0, "", out, sizeof(out));
	assert_string_equal(out, want);
	rootfs_unref(r);
}

#define GIVES(want, ...) gives(want, (const char *const[]){__VA_ARGS__, NULL})

static void fails(int code, const char *text)
{
	const char *const texts[] = {text, NULL};
	struct err err = {""};
	struct rootfs *r = NULL;

	assert_int_equal(merge(texts, &r, &err), code);
	assert_non_null(strstr(err.text, "layer 0"));
}

static void layers_are_stacked(void **state)
{
	(void)state;
	GIVES("a\nb\nb/c\n", "f a\nf b/c");
	GIVES("a\nb\nb/c\nb/d\n", "f a\nf b/c", "d b\nf b/d");
	GIVES("a\nb\n", "f a\nf b/c", "f b");
}

static void whiteouts(void **state)
{
	(void)state;
	GIVES("b\n", "f a\nf b", "f .wh.a");
	GIVES("d\nd/new\n", "f d/old\nf d/sub/x", "f d/new\nf d/.wh..wh..opq");
	GIVES("d\nd/a\n", "f d/a", "f d/.wh..wh.plnk\nf none/.wh.x");
	GIVES("d\n", "f d", "f d/.wh.x");
	GIVES("a\n", "f x", "f a\nf .wh.a\nf .wh.x");
}

static void whiteouts_of_no_image(void **state)
{
	(void)state;
	plain = true;
	GIVES(".wh.a\na\nd\nd/.wh..wh..opq\nd/x\n", "f a\nf d/x", "f .wh.a\nf d/.wh..wh..opq");
	plain = false;
}

static void links(void **state)
{
	(void)state;
	GIVES("d\nd/l>../x\n", "l d/l>/x");
	GIVES("l>x\n", "l l>../../x");
	GIVES("a\na/b\na/b/l>../../etc/passwd\n", "l a/b/l>../../../../etc/passwd");
	GIVES("d\nd/l>../d/y\nd/y\n", "f d/y\nl d/l>../d/y");
	GIVES("a..b\na..b/l>../x/../a..b/c\n", "l a..b/l>/x/../a..b/c");
	/* Through another link that goes up. */
	GIVES("d\nd/e\nd/e/l>../../x\nd/e/up>../..\n", "l d/e/up>../..\nl d/e/l>up/../../x");
	GIVES("lib>usr/lib\nusr\nusr/lib\nusr/lib/x\n", "d usr/lib\nl lib>usr/lib", "f lib/x");
}

static void hard_links(void **state)
{
	(void)state;
	struct rootfs *r = NULL;
	const char *const texts[] = {"f a", "h b>a\nl s>a\nh t>s", NULL};
	assert_int_equal(merge(texts, &r, NULL), 0);
	long a = rootfs_find(r, 0, "a"), b = rootfs_find(r, 0, "b"), t = rootfs_find(r, 0, "t");
	struct digest x = rootfs_digest(r, (size_t)a), y = rootfs_digest(r, (size_t)b);
	assert_true(digest_equal(&x, &y));
	assert_int_equal(r->v[b].layer, 0);
	assert_int_equal(r->v[t].kind, ROOTFS_LINK);
	assert_int_equal(rootfs_resolve(r, 0, "t"), a);
	rootfs_unref(r);
	fails(-EPROTO, "h b>a");
	fails(-EPROTO, "d a\nh b>a");
}

static void modes_and_what_is_left_out(void **state)
{
	(void)state;
	struct rootfs *r = NULL;
	const char *const texts[] = {"f!suid\nf plain\no null", NULL};
	assert_int_equal(merge(texts, &r, NULL), 0);
	assert_int_equal(r->n, 3);
	assert_int_equal(r->v[rootfs_find(r, 0, "suid")].mode, 0555);
	assert_int_equal(r->v[rootfs_find(r, 0, "plain")].mode, 0444);
	assert_int_equal(rootfs_find(r, 0, "null"), -ENOENT);
	rootfs_unref(r);
}

static void what_cannot_be(void **state)
{
	(void)state;
	fails(-EPROTO, "f a\nf a/b");
	fails(-EPROTO, "l a>b\nl b>a\nf a/x");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(layers_are_stacked),
	    cmocka_unit_test(whiteouts),
	    cmocka_unit_test(whiteouts_of_no_image),
	    cmocka_unit_test(links),
	    cmocka_unit_test(hard_links),
	    cmocka_unit_test(what_cannot_be),
	    cmocka_unit_test(modes_and_what_is_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
