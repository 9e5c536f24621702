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

#include "registry/manifest.h"
#include "registry/source.h"

#define OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define OCI_INDEX    "application/vnd.oci.image.index.v1+json"
#define DOCKER_LIST  "application/vnd.docker.distribution.manifest.list.v2+json"
#define HEX1         "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define HEX2         "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
#define DESC(fields)                                                                               \
	"{\"mediaType\":\"application/wasm\",\"digest\":\"sha256:" HEX1 "\"," fields "}"
#define CONFIG                                                                                     \
	"\"config\":{\"mediaType\":\"application/vnd.wasm.config.v0+json\","                       \
	"\"digest\":\"sha256:" HEX2 "\",\"size\":2}"
#define IMAGE(fields) "{\"schemaVersion\":2," CONFIG "," fields "}"

static int parse_as(const char *s, const char *type, struct manifest **ret, struct err *err)
{
	struct digest d;
	assert_int_equal(digest_of(DIGEST_SHA256, s, strlen(s), &d), 0);
	return manifest_parse(s, strlen(s), &d, type, ret, err);
}

/* The document must be refused with this code and these words. */
static void refused(const char *s, const char *type, int code, const char *words)
{
	struct manifest *m = NULL;
	struct err err = {""};
	assert_int_equal(parse_as(s, type, &m, &err), code);
	assert_null(m);
	if (strstr(err.text, words) == NULL)
		fail_msg("'%s' is not in '%s'", words, err.text);
}

static struct manifest *accepted(const char *s, const char *type)
{
	struct manifest *m = NULL;
	struct err err = {""};
	if (parse_as(s, type, &m, &err) != 0)
		fail_msg("%s: %s", s, err.text);
	assert_string_equal(err.text, "");
	return m;
}

static void wasm_artifact_is_read(void **state)
{
	(void)state;
	static const char text[] =
	    IMAGE("\"mediaType\":\"" OCI_MANIFEST "\",\"artifactType\":\"application/x\","
		  "\"layers\":[" DESC("\"size\":146992,\"annotations\":{"
				      "\"org.opencontainers.image.title\":\"hello.wasm\",\"k\":"
				      "\"v\"}") "],"
						"\"annotations\":{\"org.opencontainers.image."
						"created\":\"2026-01-02T03:04:05Z\"}");
	struct manifest *m = accepted(text, OCI_MANIFEST "; charset=utf-8");
	assert_false(m->is_index);
	assert_string_equal(m->desc.media_type, OCI_MANIFEST);
	assert_int_equal(m->desc.size, strlen(text));
	assert_true(digest_is_set(&m->desc.digest));
	assert_string_equal(m->artifact_type, "application/x");
	assert_string_equal(m->config.desc.media_type, "application/vnd.wasm.config.v0+json");
	assert_int_equal(m->config.desc.size, 2);
	assert_int_equal(m->layer_count, 1);
	const struct manifest_entry *l = &m->layers[0];
	assert_string_equal(l->desc.media_type, "application/wasm");
	assert_int_equal(l->desc.size, 146992);
	assert_string_equal(l->digest_text, "sha256:" HEX1);
	assert_string_equal(l->title, "hello.wasm");
	assert_string_equal(annotation_get(l->annotations, l->annotation_count, "k"), "v");
	assert_null(annotation_get(l->annotations, l->annotation_count, "K"));
	assert_int_equal(m->created_ms, INT64_C(1767323045000));
	assert_false(m->has_subject);
	manifest_unref(manifest_ref(m));
	manifest_unref(m);
	manifest_unref(NULL);
}

static void index_is_read(void **state)
{
	(void)state;
	static const char first[] = DESC("\"size\":1,\"artifactType\":\"t\",\"platform\":"
					 "{\"os\":\"wasip1\",\"architecture\":\"wasm\","
					 "\"variant\":\"v1\"}");
	static const char second[] = DESC("\"size\":2");
	static const char subject[] = DESC("\"size\":3");
	char text[2048];
	int len = snprintf(text, sizeof(text),
			   "{\"schemaVersion\":2,\"manifests\":[%s,%s],\"subject\":%s}", first,
			   second, subject);
	assert_in_range(len, 1, sizeof(text) - 1);
	struct manifest *m = accepted(text, DOCKER_LIST);
	assert_true(m->is_index);
	assert_string_equal(m->desc.media_type, DOCKER_LIST);
	assert_int_equal(m->layer_count, 2);
	assert_string_equal(m->layers[0].os, "wasip1");
	assert_string_equal(m->layers[0].architecture, "wasm");
	assert_string_equal(m->layers[0].variant, "v1");
	assert_string_equal(m->layers[0].artifact_type, "t");
	assert_null(m->layers[1].os);
	assert_true(m->has_subject);
	assert_int_equal(m->subject.size, 3);
	assert_int_equal(m->created_ms, 0);
	manifest_unref(m);
}

static void types_come_from_the_shape_if_nothing_says(void **state)
{
	(void)state;
	static const char *const generic[] = {"", "application/json", "text/plain; charset=utf-8",
					      "application/octet-stream"};
	for (size_t i = 0; i < ARRAY_LEN(generic); i++) {
		struct manifest *m = accepted(IMAGE("\"layers\":[]"), generic[i]);
		assert_string_equal(m->desc.media_type, OCI_MANIFEST);
		manifest_unref(m);
		m = accepted("{\"manifests\":null}", generic[i]);
		assert_string_equal(m->desc.media_type, OCI_INDEX);
		assert_int_equal(m->layer_count, 0);
		manifest_unref(m);
	}
	struct manifest *m =
	    accepted(IMAGE("\"layers\":null,\"subject\":null,\"annotations\":null"), OCI_MANIFEST);
	assert_int_equal(m->layer_count, 0);
	manifest_unref(m);
}

static void confusion_is_refused(void **state)
{
	(void)state;
	refused(IMAGE("\"layers\":[],\"manifests\":[]"), "", -EPROTO, "both an index and an image");
	refused("{\"manifests\":[],\"config\":null}", "", -EPROTO, "both an index and an image");
	refused(IMAGE("\"layers\":[]"), OCI_INDEX, -EPROTO, "with the fields of an image manifest");
	refused("{\"manifests\":[]}", OCI_MANIFEST, -EPROTO, "with the fields of an index");
	refused("{\"manifests\":[],\"mediaType\":\"" OCI_MANIFEST "\"}", "", -EPROTO,
		"with the fields of an index");
	refused(IMAGE("\"layers\":[],\"mediaType\":\"" OCI_MANIFEST "\""), OCI_INDEX, -EPROTO,
		"but calls itself");
	refused(IMAGE("\"layers\":[],\"mediaType\":\"" OCI_MANIFEST "\""), "text/html", -EPROTO,
		"but calls itself");
	refused(IMAGE("\"layers\":[],\"layers\":[]"), "", -EPROTO, "not JSON: duplicate");
	refused("{\"schemaVersion\":2}", OCI_MANIFEST, -EPROTO, "neither an index nor");
}

static void schema_1_is_not_supported(void **state)
{
	(void)state;
	refused("{\"schemaVersion\":1,\"fsLayers\":[]}", "", -EOPNOTSUPP, "schema 1");
	refused("not even JSON", "application/vnd.docker.distribution.manifest.v1+prettyjws",
		-EOPNOTSUPP, "schema 1");
	refused("{\"schemaVersion\":1,\"fsLayers\":[]}", "text/plain; charset=utf-8", -EOPNOTSUPP,
		"schema 1");
	refused("{\"schemaVersion\":2,\"manifests\":[]}",
		"APPLICATION/vnd.docker.distribution.manifest.v1+json; x=y", -EOPNOTSUPP,
		"schema 1");
	refused("{\"schemaVersion\":3,\"manifests\":[]}", "", -EPROTO, "schemaVersion");
	refused("{\"schemaVersion\":\"2\",\"manifests\":[]}", "", -EPROTO, "schemaVersion");
}

static void what_is_no_manifest_is_refused(void **state)
{
	(void)state;
	static const char *const v[][2] = {
	    {"", "not JSON"},
	    {"null", "not JSON"},
	    {"[]", "not a JSON object"},
	    {"{} {}", "not JSON"},
	    {"{\"manifests\":{}}", "manifests is not an array"},
	    {"{\"manifests\":[1]}", "manifests[0]: not an object"},
	    {"{\"layers\":[]}", "a manifest without config"},
	    {"{\"config\":[]}", "config is not an object"},
	    {"{\"config\":{\"size\":2}}", "config: no digest"},
	    {IMAGE("\"layers\":[" DESC("\"size\":-1") "]"), "layers[0]: size is not"},
	    {IMAGE("\"layers\":[" DESC("\"size\":9007199254740993") "]"), "size is not"},
	    {IMAGE("\"layers\":[" DESC("\"size\":99999999999999999999") "]"), "not JSON"},
	    {IMAGE("\"layers\":[" DESC("\"size\":1.0") "]"), "size is not"},
	    {IMAGE("\"layers\":[" DESC("\"size\":\"1\"") "]"), "size is not"},
	    {IMAGE("\"layers\":[" DESC("\"x\":1") "]"), "size is not"},
	    {IMAGE("\"layers\":[" DESC("\"size\":1,\"annotations\":{\"a\":1}") "]"),
	     "annotation a is not a string"},
	    {IMAGE("\"layers\":[" DESC("\"size\":1,\"annotations\":{\"a\\u0000\":\"\"}") "]"),
	     "not JSON"},
	    {IMAGE("\"layers\":[],\"artifactType\":\"a\\u0000b\""), "artifactType holds a NUL"},
	    {IMAGE("\"layers\":[" DESC("\"size\":1,\"annotations\":{\"a\":\"\xff\"}") "]"),
	     "not JSON"},
	    {IMAGE("\"layers\":[{\"digest\":\"sha256:../../etc/passwd\",\"size\":1}]"),
	     "is not a digest"},
	    {IMAGE("\"layers\":[{\"digest\":\"sha256:" HEX1 "\",\"size\":1,\"mediaType\":1}]"),
	     "mediaType is not a string"},
	    {IMAGE("\"layers\":[{\"digest\":\"sha256:" HEX1 "\",\"size\":1,"
		   "\"mediaType\":\"a\\r\\nX: y\"}]"),
	     "not ASCII text"},
	    {IMAGE("\"layers\":[],\"subject\":{\"digest\":\"x\",\"size\":1}"), "subject: "},
	    {IMAGE("\"layers\":[],\"artifactType\":{}"), "artifactType is not a string"},
	};
	for (size_t i = 0; i < ARRAY_LEN(v); i++)
		refused(v[i][0], "", -EPROTO, v[i][1]);
}

static void unknown_algorithms_stay_text(void **state)
{
	(void)state;
	struct manifest *m = accepted(
	    IMAGE("\"layers\":[{\"digest\":\"blake3:" HEX1 "\",\"size\":9007199254740992}]"), "");
	assert_false(digest_is_set(&m->layers[0].desc.digest));
	assert_string_equal(m->layers[0].digest_text, "blake3:" HEX1);
	assert_string_equal(m->layers[0].desc.media_type, "");
	assert_int_equal(m->layers[0].desc.size, INT64_C(1) << 53);
	manifest_unref(m);
}

static void titles_have_two_sources(void **state)
{
	(void)state;
	struct manifest *m = accepted(
	    IMAGE("\"layers\":[" DESC(
		"\"size\":1,\"annotations\":{\"org.cnai.model.filepath\":"
		"\"b\"}") "," DESC("\"size\":1,\"annotations\":{\"org.opencontainers.image.title\":"
				   "\"\","
				   "\"org.cnai.model.filepath\":\"c\"}") "," DESC("\"size\":1,"
										  "\"annotations\":"
										  "{"
										  "\"org."
										  "opencontainers."
										  "image."
										  "title\":\"a\","
										  "\"org.cnai."
										  "model."
										  "filepath\":"
										  "\"c\"}") "," DESC("\"size\":1,"
												     "\"annotation"
												     "s\":{}") "]"),
	    "");
	assert_string_equal(m->layers[0].title, "b");
	assert_string_equal(m->layers[1].title, "c");
	assert_string_equal(m->layers[2].title, "a");
	assert_null(m->layers[3].title);
	manifest_unref(m);
}

/* An index of n entries, each followed by `more`. */
static char *big_index(size_t n, const char *each, size_t *ret_len)
{
	size_t room = 64 + n * (strlen(each) + 1);
	char *s = malloc(room);
	assert_non_null(s);
	size_t at = (size_t)snprintf(s, room, "{\"manifests\":[");
	for (size_t i = 0; i < n; i++)
		at += (size_t)snprintf(s + at, room - at, "%s%s", i > 0 ? "," : "", each);
	at += (size_t)snprintf(s + at, room - at, "]}");
	*ret_len = at;
	return s;
}

static int parse_big(size_t n, const char *each, struct err *err)
{
	struct digest d = {0};
	struct manifest *m = NULL;
	size_t len;
	char *s = big_index(n, each, &len);
	int rc = manifest_parse(s, len, &d, "", &m, err);
	if (rc == 0)
		assert_int_equal(m->layer_count, n);
	manifest_unref(m);
	free(s);
	return rc;
}

static void sizes_are_bounded(void **state)
{
	(void)state;
	struct err err = {""};
	static const char entry[] = "{\"digest\":\"sha256:" HEX1 "\",\"size\":1}";
	assert_int_equal(parse_big(10000, DESC("\"size\":1,\"annotations\":{\"a\":\"b\"}"), &err),
			 0);
	assert_int_equal(parse_big(MANIFEST_LAYERS_MAX, entry, &err), 0);
	assert_int_equal(parse_big(MANIFEST_LAYERS_MAX + 1, entry, &err), -EFBIG);
	assert_non_null(strstr(err.text, "20001 manifests, more than 20000"));
	static const char annotated[] =
	    "{\"digest\":\"sha256:" HEX1 "\",\"size\":1,\"annotations\":{\"a\":\"\",\"b\":\"\"}}";
	assert_int_equal(parse_big(MANIFEST_ANNOTATIONS_MAX / 2, annotated, &err), 0);
	assert_int_equal(parse_big(MANIFEST_ANNOTATIONS_MAX / 2 + 1, annotated, &err), -EFBIG);
	assert_non_null(strstr(err.text, "annotations"));
	assert_int_equal(parse_big(1000000, "{}", &err), -EFBIG);
	assert_non_null(strstr(err.text, "values"));
	assert_int_equal(parse_big(SOURCE_DOCUMENT_MAX / 8, "        ", &err), -EFBIG);
}

static void media_types_compare_without_parameters(void **state)
{
	(void)state;
	assert_true(media_type_is("application/wasm", "application/wasm"));
	assert_true(media_type_is("Application/WASM ; q=1", "application/wasm"));
	assert_false(media_type_is("application/wasmx", "application/wasm"));
	assert_false(media_type_is("application/was", "application/wasm"));
	assert_false(media_type_is("", "application/wasm"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(wasm_artifact_is_read),
	    cmocka_unit_test(index_is_read),
	    cmocka_unit_test(types_come_from_the_shape_if_nothing_says),
	    cmocka_unit_test(confusion_is_refused),
	    cmocka_unit_test(schema_1_is_not_supported),
	    cmocka_unit_test(what_is_no_manifest_is_refused),
	    cmocka_unit_test(unknown_algorithms_stay_text),
	    cmocka_unit_test(titles_have_two_sources),
	    cmocka_unit_test(sizes_are_bounded),
	    cmocka_unit_test(media_types_compare_without_parameters),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
