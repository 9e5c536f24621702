/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "registry/credentials.h"

/* "user:pass:word", "u:p" unpadded, "nocolon" */
static const char config[] = "{\"auths\":{"
			     "\"ghcr.io\":{\"auth\":\"dXNlcjpwYXNzOndvcmQ=\"},"
			     "\"ghcr.io/ns\":{\"auth\":\"dTpw\"},"
			     "\"ghcr.io/ns/repo\":{\"username\":\"deep\",\"password\":\"secret\"},"
			     "\"broken.example\":{\"auth\":\"bm9jb2xvbg==\"},"
			     "\"worse.example\":{\"auth\":\"%%%\"},"
			     "\"empty.example\":{},"
			     "\"https://index.docker.io/v1/\":{\"auth\":\"dTpw\"},"
			     "\"https://url.example/some/path\":{\"auth\":\"dTpw\"},"
			     "\"id.example:5000\":{\"identitytoken\":\"idtok\",\"auth\":\"dTpw\"},"
			     "\"bearer.example\":{\"registrytoken\":\"abc\",\"auth\":\"dTpw\"},"
			     "\"evil.example\":{\"registrytoken\":\"a\\r\\nX: y\"}"
			     "},\"credsStore\":\"desktop\"}";

static int find(const char *host, const char *repo, struct credential *c)
{
	*c = (struct credential){0};
	return credentials_parse(config, strlen(config), host, repo, c, NULL);
}

static void password_is(const char *host, const char *repo, const char *user, const char *secret)
{
	struct credential c;

	assert_int_equal(find(host, repo, &c), 1);
	assert_int_equal(c.kind, CREDENTIAL_PASSWORD);
	assert_string_equal(c.user, user);
	assert_string_equal(c.secret, secret);
	assert_true(digest_is_set(&c.id));
	credential_release(&c);
}

static void the_most_specific_key_counts(void **state)
{
	(void)state;
	password_is("ghcr.io", "", "user", "pass:word");
	password_is("ghcr.io", "other/x", "user", "pass:word");
	password_is("ghcr.io", "nsx/y", "user", "pass:word");
	password_is("ghcr.io", "ns/other", "u", "p");
	password_is("ghcr.io", "ns/repo", "deep", "secret");
	password_is("ghcr.io", "ns/repo/below", "deep", "secret");
}

static void keys_written_as_urls_mean_their_host(void **state)
{
	(void)state;
	password_is("docker.io", "library/alpine", "u", "p");
	password_is("registry-1.docker.io", "library/alpine", "u", "p");
	password_is("url.example", "any", "u", "p");
}

static void tokens(void **state)
{
	struct credential c;

	(void)state;
	assert_int_equal(find("id.example:5000", "r", &c), 1);
	assert_int_equal(c.kind, CREDENTIAL_IDENTITY);
	assert_string_equal(c.secret, "idtok");
	assert_string_equal(c.user, "u");
	credential_release(&c);
	assert_int_equal(find("bearer.example", "r", &c), 1);
	assert_int_equal(c.kind, CREDENTIAL_BEARER);
	credential_release(&c);
}

static void one_bad_entry_spoils_itself_only(void **state)
{
	struct credential c;

	(void)state;
	assert_int_equal(find("broken.example", "r", &c), -EACCES);
	assert_int_equal(find("worse.example", "r", &c), -EACCES);
	assert_int_equal(find("evil.example", "r", &c), -EACCES);
	assert_int_equal(find("empty.example", "r", &c), 0);
	assert_int_equal(find("id.example", "r", &c), 0);
	assert_int_equal(find("ghcr.io:443", "r", &c), 0);
	assert_int_equal(find("unknown.example", "r", &c), 0);
	assert_int_equal(credentials_parse("[]", 2, "h", "", &c, NULL), -EACCES);
	assert_int_equal(credentials_parse("{}", 2, "h", "", &c, NULL), 0);
	assert_int_equal(credentials_parse("{\"auths\":7}", 11, "h", "", &c, NULL), 0);
}

static void basic_is_base64(void **state)
{
	struct credential c = {.kind = CREDENTIAL_PASSWORD};
	char *line = NULL;
	char user[] = "Aladdin", secret[] = "open sesame";

	(void)state;
	c.user = user;
	c.secret = secret;
	assert_int_equal(credential_basic(&c, &line), 0);
	assert_string_equal(line, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
	free(line);
}

static void write_file(const char *path, const char *text)
{
	char other[300];
	FILE *f;

	snprintf(other, sizeof(other), "%s.new", path);
	f = fopen(other, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	assert_int_equal(rename(other, path), 0);
}

static void a_file_is_read_again_when_it_is_replaced(void **state)
{
	char dir[] = "/tmp/test-credentials-XXXXXX", path[64];
	struct credentials *cs = NULL;
	struct credential c = {0};
	struct err err = {""};

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/config.json", dir);
	assert_int_equal(credentials_open(path, &cs), 0);
	assert_int_equal(credentials_find(cs, "h", "", &c, &err), -EACCES); /* named, and missing */
	assert_non_null(strstr(err.text, path));
	write_file(path, "{\"auths\":{\"h\":{\"auth\":\"dTpw\"}}}");
	assert_int_equal(credentials_find(cs, "h", "", &c, &err), 1);
	assert_string_equal(c.secret, "p");
	credential_release(&c);
	write_file(path, "{\"auths\":{\"h\":{\"username\":\"u\",\"password\":\"new\"}}}");
	assert_int_equal(credentials_find(cs, "h", "", &c, &err), 1);
	assert_string_equal(c.secret, "new");
	credential_release(&c);
	credentials_free(cs);
	unlink(path);
	rmdir(dir);
}

static void the_usual_places(void **state)
{
	char dir[] = "/tmp/test-credentials-XXXXXX", path[64];
	struct credentials *cs = NULL;
	struct credential c = {0};

	(void)state;
	assert_non_null(mkdtemp(dir));
	unsetenv("REGISTRY_AUTH_FILE");
	setenv("DOCKER_CONFIG", dir, 1);
	setenv("HOME", dir, 1);
	setenv("XDG_RUNTIME_DIR", dir, 1);
	unsetenv("XDG_CONFIG_HOME");
	assert_int_equal(credentials_open(NULL, &cs), 0);
	assert_int_equal(credentials_find(cs, "h", "", &c, NULL), 0);
	snprintf(path, sizeof(path), "%s/config.json", dir);
	write_file(path, "{\"auths\":{\"h\":{\"auth\":\"dTpw\"}}}");
	assert_int_equal(credentials_find(cs, "h", "", &c, NULL), 1);
	credential_release(&c);
	credentials_free(cs);
	unlink(path);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_most_specific_key_counts),
	    cmocka_unit_test(keys_written_as_urls_mean_their_host),
	    cmocka_unit_test(tokens),
	    cmocka_unit_test(one_bad_entry_spoils_itself_only),
	    cmocka_unit_test(basic_is_base64),
	    cmocka_unit_test(a_file_is_read_again_when_it_is_replaced),
	    cmocka_unit_test(the_usual_places),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
