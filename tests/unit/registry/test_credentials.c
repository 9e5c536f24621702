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
#include <sys/stat.h>
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
			     "},\"credsStore\":\"desktop\","
			     "\"credHelpers\":{\"eu.example\":\"gcloud\",\"plain.example\":\"\","
			     "\"docker.io\":\"pass\",\"bad.example\":\"../evil\","
			     "\"odd.example\":7,\"part.example/ns\":\"nobody\"}}";

static int find_as(enum credentials_form form, const char *host, const char *repo,
		   struct credential *c, char helper[HELPER_NAME_MAX])
{
	*c = (struct credential){0};
	return credentials_parse(config, strlen(config), form, host, repo, c, helper, NULL);
}

/* As the variable is read: helpers apart. */
static int find(const char *host, const char *repo, struct credential *c)
{
	char helper[HELPER_NAME_MAX];
	int r = find_as(CREDENTIALS_AUTHS, host, repo, c, helper);

	assert_string_equal(helper, "");
	return r;
}

static int parse(const char *text, enum credentials_form form, struct credential *c,
		 struct err *err)
{
	char helper[HELPER_NAME_MAX];

	*c = (struct credential){0};
	return credentials_parse(text, strlen(text), form, "h", "", c, helper, err);
}

static void helper_is(enum credentials_form form, const char *host, const char *want)
{
	struct credential c;
	char helper[HELPER_NAME_MAX];
	int r = find_as(form, host, "r", &c, helper);

	assert_true(r >= 0);
	assert_string_equal(helper, want);
	credential_release(&c);
}

static void helpers_of_the_host_come_first(void **state)
{
	struct credential c;
	char helper[HELPER_NAME_MAX];

	(void)state;
	helper_is(CREDENTIALS_DOCKER, "eu.example", "gcloud");
	helper_is(CREDENTIALS_CONTAINERS, "eu.example", "gcloud");
	helper_is(CREDENTIALS_DOCKER, "ghcr.io", "desktop");
	helper_is(CREDENTIALS_CONTAINERS, "ghcr.io", "");
	helper_is(CREDENTIALS_DOCKER, "plain.example", "");
	helper_is(CREDENTIALS_DOCKER, "registry-1.docker.io", "pass");
	helper_is(CREDENTIALS_CONTAINERS, "part.example", "");
	assert_int_equal(find_as(CREDENTIALS_DOCKER, "bad.example", "", &c, helper), -EACCES);
	assert_int_equal(find_as(CREDENTIALS_DOCKER, "odd.example", "", &c, helper), -EACCES);
	assert_string_equal(helper, "");
}

static void helpers_know_hub_by_its_old_name(void **state)
{
	char key[CREDENTIALS_KEY_MAX];

	(void)state;
	credentials_server_key("docker.io", key);
	assert_string_equal(key, "https://index.docker.io/v1/");
	credentials_server_key("registry-1.docker.io", key);
	assert_string_equal(key, "https://index.docker.io/v1/");
	credentials_server_key("127.0.0.1:5000", key);
	assert_string_equal(key, "127.0.0.1:5000");
}

static void the_form_before_config_json(void **state)
{
	struct credential c;

	(void)state;
	assert_int_equal(parse("{\"h\":{\"auth\":\"dTpw\"}}", CREDENTIALS_LEGACY, &c, NULL), 1);
	assert_string_equal(c.user, "u");
	credential_release(&c);
	assert_int_equal(parse("{\"h\":{\"auth\":\"dTpw\"}}", CREDENTIALS_DOCKER, &c, NULL), 0);
}

static void what_is_not_json_is_not_quoted(void **state)
{
	struct err err = {""};
	struct credential c;

	(void)state;
	assert_int_equal(
	    parse("{\"auths\":{\"h\":{\"auth\":topsecret}}}", CREDENTIALS_DOCKER, &c, &err),
	    -EACCES);
	assert_null(strstr(err.text, "topsecret"));
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
	assert_int_equal(parse("[]", CREDENTIALS_DOCKER, &c, NULL), -EACCES);
	assert_int_equal(parse("{}", CREDENTIALS_DOCKER, &c, NULL), 0);
	assert_int_equal(parse("{\"auths\":7}", CREDENTIALS_DOCKER, &c, NULL), 0);
}

/* How a host and a repository find "u:p" under one key. */
static int found_by(const char *key, enum credentials_form form, const char *host, const char *repo)
{
	char text[256], helper[HELPER_NAME_MAX];
	struct credential c = {0};
	bool legacy = form == CREDENTIALS_LEGACY;
	int r;

	snprintf(text, sizeof(text), "%s{\"%s\":{\"auth\":\"dTpw\"}}%s",
		 legacy ? "" : "{\"auths\":", key, legacy ? "" : "}");
	r = credentials_parse(text, strlen(text), form, host, repo, &c, helper, NULL);
	credential_release(&c);
	return r;
}

/* As docker (ConvertToHostname) and containers (normalizeAuthFileKey) read them. */
static void keys_in_all_their_forms(void **state)
{
	static const char *const forms[] = {"r.example:5000",
					    "R.Example:5000",
					    "r.example:5000/",
					    "https://r.example:5000",
					    "http://r.example:5000/",
					    "https://r.example:5000/v1/",
					    "https://r.example:5000/v2",
					    "https://r.example:5000/v2/some/path",
					    "r.example:5000/v1/",
					    "r.example:5000/v2"};
	static const char *const hub[] = {"docker.io",
					  "https://index.docker.io/v1/",
					  "index.docker.io",
					  "index.docker.io/v1/",
					  "registry-1.docker.io",
					  "https://registry-1.docker.io/v2/",
					  "https://docker.io"};

	(void)state;
	for (enum credentials_form form = CREDENTIALS_DOCKER; form <= CREDENTIALS_LEGACY; form++) {
		for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
			assert_int_equal(found_by(forms[i], form, "r.example:5000", "ns/x"), 1);
			assert_int_equal(found_by(forms[i], form, "r.example", "ns/x"), 0);
			assert_int_equal(found_by(forms[i], form, "r.example:500", "ns/x"), 0);
		}
		for (size_t i = 0; i < ARRAY_LEN(hub); i++) {
			assert_int_equal(found_by(hub[i], form, "docker.io", "library/x"), 1);
			assert_int_equal(found_by(hub[i], form, "index.docker.io", "x"), 1);
			assert_int_equal(found_by(hub[i], form, "example.io", "x"), 0);
		}
		assert_int_equal(found_by("ftp", form, "r.example", ""), 0);
		assert_int_equal(found_by("https://", form, "r.example", ""), 0);
		assert_int_equal(found_by("", form, "r.example", ""), 0);
	}
	assert_int_equal(found_by("r.example/ns", CREDENTIALS_DOCKER, "r.example", "ns/x"), 1);
	assert_int_equal(found_by("r.example/ns", CREDENTIALS_DOCKER, "r.example", "other"), 0);
	/* Before there were namespaces, what followed was an address. */
	assert_int_equal(found_by("r.example/api", CREDENTIALS_LEGACY, "r.example", "ns/x"), 1);
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

/* A directory, and what is found with it as everybody's home. */
struct place {
	char dir[64];
	struct credentials *credentials;
	struct call call;
};

static void place_open(struct place *p)
{
	*p = (struct place){.dir = "/tmp/test-credentials-XXXXXX"};
	assert_non_null(mkdtemp(p->dir));
	unsetenv("REGISTRY_AUTH_FILE");
	unsetenv("DOCKER_AUTH_CONFIG");
	unsetenv("XDG_CONFIG_HOME");
	setenv("DOCKER_CONFIG", p->dir, 1);
	setenv("HOME", p->dir, 1);
	setenv("XDG_RUNTIME_DIR", p->dir, 1);
	call_init(&p->call, INT64_MAX);
}

static void place_close(struct place *p)
{
	char command[128];

	credentials_free(p->credentials);
	call_release(&p->call);
	snprintf(command, sizeof(command), "rm -r %s", p->dir);
	assert_int_equal(system(command), 0);
}

/* The secret of host h, in a static buffer; "" if there is none. */
static const char *secret_of(struct place *p)
{
	static char secret[64];
	struct credential c = {0};
	struct err err = {""};
	int r = credentials_find(p->credentials, NULL, "h", "", &p->call, &c, &err);

	if (r < 0)
		fprintf(stderr, "%s\n", err.text);
	assert_true(r >= 0);
	snprintf(secret, sizeof(secret), "%s", r ? c.secret : "");
	credential_release(&c);
	return secret;
}

static void write_login(const struct place *p, const char *name, const char *secret)
{
	char path[128], text[200];

	snprintf(path, sizeof(path), "%s/%s", p->dir, name);
	snprintf(text, sizeof(text), "{\"auths\":{\"h\":{\"username\":\"u\",\"password\":\"%s\"}}}",
		 secret);
	write_file(path, text);
}

static void make_dir(const struct place *p, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", p->dir, name);
	assert_int_equal(mkdir(path, 0700), 0);
}

static void a_file_is_read_again_when_it_is_another_one(void **state)
{
	struct place p;
	struct credential c = {0};
	struct err err = {""};
	char path[128];

	(void)state;
	place_open(&p);
	snprintf(path, sizeof(path), "%s/named.json", p.dir);
	assert_int_equal(credentials_open(path, &p.credentials), 0);
	/* named, and missing */
	assert_int_equal(credentials_find(p.credentials, NULL, "h", "", &p.call, &c, &err),
			 -EACCES);
	assert_non_null(strstr(err.text, path));
	write_login(&p, "named.json", "p");
	assert_string_equal(secret_of(&p), "p");
	write_login(&p, "named.json", "q");
	assert_string_equal(secret_of(&p), "q");
	place_close(&p);
}

/* Of the same length, in place, and too soon for the times to tell. */
static void a_file_that_is_overwritten_is_read_again(void **state)
{
	struct place p;
	char path[128];

	(void)state;
	place_open(&p);
	snprintf(path, sizeof(path), "%s/config.json", p.dir);
	assert_int_equal(credentials_open(NULL, &p.credentials), 0);
	for (int i = 0; i < 50; i++) {
		char text[100];
		FILE *f = fopen(path, "w");

		assert_non_null(f);
		snprintf(text, sizeof(text), "%d", 100 + i);
		fprintf(f, "{\"auths\":{\"h\":{\"username\":\"u\",\"password\":\"%s\"}}}", text);
		fclose(f);
		assert_string_equal(secret_of(&p), text);
	}
	place_close(&p);
}

/* From the last place to the first: each that appears hides those behind it. */
static void the_usual_places(void **state)
{
	static const char *const names[] = {".dockercfg", ".config/containers/auth.json",
					    "containers/auth.json", "config.json"};
	char text[16], path[128];
	struct place p;

	(void)state;
	place_open(&p);
	make_dir(&p, ".config");
	make_dir(&p, ".config/containers");
	make_dir(&p, "containers");
	assert_int_equal(credentials_open(NULL, &p.credentials), 0);
	assert_string_equal(secret_of(&p), "");
	snprintf(path, sizeof(path), "%s/%s", p.dir, names[0]);
	write_file(path, "{\"h\":{\"auth\":\"dTpw\"}}");
	assert_string_equal(secret_of(&p), "p");
	for (size_t i = 1; i < ARRAY_LEN(names); i++) {
		snprintf(text, sizeof(text), "%zu", i);
		write_login(&p, names[i], text);
		assert_string_equal(secret_of(&p), text);
	}
	/* And away again. */
	for (size_t i = ARRAY_LEN(names) - 1; i > 0; i--) {
		snprintf(path, sizeof(path), "%s/%s", p.dir, names[i]);
		unlink(path);
		snprintf(text, sizeof(text), "%zu", i - 1);
		assert_string_equal(secret_of(&p), i == 1 ? "p" : text);
	}
	place_close(&p);
}

static void a_variable_goes_before_the_files(void **state)
{
	struct place p;

	(void)state;
	place_open(&p);
	write_login(&p, "config.json", "file");
	setenv("DOCKER_AUTH_CONFIG",
	       "{\"auths\":{\"h\":{\"auth\":\"dTp2YXJpYWJsZQ==\"}},\"credsStore\":\"none\"}", 1);
	assert_int_equal(credentials_open(NULL, &p.credentials), 0);
	/* It is read once. */
	setenv("DOCKER_AUTH_CONFIG", "{}", 1);
	assert_string_equal(secret_of(&p), "variable");
	credentials_free(p.credentials);
	assert_int_equal(credentials_open(NULL, &p.credentials), 0);
	assert_string_equal(secret_of(&p), "file");
	place_close(&p);
}

static void a_relative_name_means_what_it_meant_at_first(void **state)
{
	struct place p;

	(void)state;
	place_open(&p);
	write_login(&p, "named.json", "p");
	assert_int_equal(chdir(p.dir), 0);
	setenv("REGISTRY_AUTH_FILE", "named.json", 1);
	assert_int_equal(credentials_open(NULL, &p.credentials), 0);
	assert_int_equal(chdir("/"), 0);
	assert_string_equal(secret_of(&p), "p");
	place_close(&p);
}

static void headers_that_docker_is_to_send(void **state)
{
	static const char text[] =
	    "{\"HttpHeaders\":{\"X-Meta-Source\":\"acr\",\"X-Empty\":\"\",\"Host\":\"evil\","
	    "\"authorization\":\"Basic x\",\"User-Agent\":\"me\",\"Range\":\"bytes=0-1\","
	    "\"X-Split\":\"a\\r\\nX: y\",\"X Space\":\"v\",\"\":\"v\",\"X-No\":7,"
	    "\"X-Nul\":\"a\\u0000b\"}}";
	struct names lines = {0};

	(void)state;
	assert_int_equal(credentials_parse_headers(text, strlen(text), &lines), 0);
	assert_int_equal(lines.n, 2);
	names_sort(&lines);
	assert_string_equal(lines.v[0], "X-Empty;");
	assert_string_equal(lines.v[1], "X-Meta-Source: acr");
	assert_int_equal(credentials_parse_headers("{", 1, &lines), 0);
	assert_int_equal(lines.n, 2);
	names_release(&lines);
}

static void add_helper(const struct place *p, const char *name, const char *script)
{
	char path[160];
	FILE *f;

	snprintf(path, sizeof(path), "%s/docker-credential-%s", p->dir, name);
	f = fopen(path, "we");
	assert_non_null(f);
	fprintf(f, "#!/bin/sh\n%s\n", script);
	fclose(f);
	assert_int_equal(chmod(path, 0700), 0);
}

/* The list, the secret that it leads to ("": none), and the words of a failure. */
static void helpers_lead_to(struct place *p, const char *const *list, const char *secret,
			    const char *words)
{
	struct names helpers = {0};
	struct credential c = {0};
	struct err err = {""};
	int r;

	for (; *list; list++)
		assert_int_equal(names_add(&helpers, *list, strlen(*list)), 0);
	r = credentials_find(p->credentials, &helpers, "h", "", &p->call, &c, &err);
	if (words) {
		assert_int_equal(r, -EACCES);
		assert_non_null(strstr(err.text, words));
	} else {
		assert_int_equal(r, *secret ? 1 : 0);
		assert_string_equal(*secret ? c.secret : "", secret);
	}
	credential_release(&c);
	names_release(&helpers);
}

static void the_helpers_of_registries_conf(void **state)
{
	static const char none[] = "echo credentials not found in native keychain; exit 1";
	struct place p;

	(void)state;
	place_open(&p);
	setenv("PATH", p.dir, 1);
	add_helper(&p, "one", "echo '{\"Username\":\"me\",\"Secret\":\"of one\"}'");
	add_helper(&p, "none", none);
	add_helper(&p, "locked", "echo it is locked; exit 1");
	write_login(&p, "config.json", "of the file");
	assert_int_equal(credentials_open(NULL, &p.credentials), 0);
	helpers_lead_to(&p, (const char *const[]){NULL}, "of the file", NULL);
	helpers_lead_to(&p, (const char *const[]){CREDENTIALS_FILES, "one", NULL}, "of the file",
			NULL);
	helpers_lead_to(&p, (const char *const[]){"one", CREDENTIALS_FILES, NULL}, "of one", NULL);
	helpers_lead_to(&p, (const char *const[]){"none", "one", NULL}, "of one", NULL);
	helpers_lead_to(&p, (const char *const[]){"locked", "one", NULL}, "of one", NULL);
	helpers_lead_to(&p, (const char *const[]){"none", NULL}, "", NULL);
	helpers_lead_to(&p, (const char *const[]){"locked", "gone", NULL}, NULL, "it is locked");
	helpers_lead_to(&p, (const char *const[]){"gone", "none", NULL}, NULL,
			"docker-credential-gone, which has the login, is not on the PATH");
	setenv("PATH", "/usr/bin:/bin", 1);
	place_close(&p);
}

static void a_named_file_knows_no_helpers(void **state)
{
	char path[128];
	struct place p;

	(void)state;
	place_open(&p);
	write_login(&p, "named.json", "of the named");
	snprintf(path, sizeof(path), "%s/named.json", p.dir);
	assert_int_equal(credentials_open(path, &p.credentials), 0);
	helpers_lead_to(&p, (const char *const[]){"gone", NULL}, "of the named", NULL);
	place_close(&p);
}

static bool mentions(const char *text, enum credentials_form form, const char *host)
{
	return credentials_parse_mention(text, strlen(text), form, host);
}

static void who_is_mentioned(void **state)
{
	(void)state;
	static const char docker[] =
	    "{\"auths\": {\"a.example\": {}, \"https://B.example/v2/\": {},"
	    " \"c.example/team\": null, \"d.example:5000\": {}},"
	    " \"credHelpers\": {\"e.example\": \"x\"}, \"credsStore\": \"y\"}";
	static const char *const named[] = {"a.example", "b.example", "c.example",
					    "d.example:5000"};
	static const char *const others[] = {"d.example", "example", "a.example:443", "credsStore"};

	for (size_t i = 0; i < ARRAY_LEN(named); i++) {
		assert_true(mentions(docker, CREDENTIALS_DOCKER, named[i]));
		assert_true(mentions(docker, CREDENTIALS_AUTHS, named[i]));
	}
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		assert_false(mentions(docker, CREDENTIALS_DOCKER, others[i]));
	assert_true(mentions(docker, CREDENTIALS_DOCKER, "e.example"));
	assert_false(mentions(docker, CREDENTIALS_AUTHS, "e.example"));
	assert_true(mentions("{\"a.example\": {}}", CREDENTIALS_LEGACY, "a.example"));
	assert_false(mentions("{\"auths\": {\"a.example\": {}}", CREDENTIALS_DOCKER, "a.example"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_most_specific_key_counts),
	    cmocka_unit_test(keys_written_as_urls_mean_their_host),
	    cmocka_unit_test(tokens),
	    cmocka_unit_test(one_bad_entry_spoils_itself_only),
	    cmocka_unit_test(helpers_of_the_host_come_first),
	    cmocka_unit_test(helpers_know_hub_by_its_old_name),
	    cmocka_unit_test(the_form_before_config_json),
	    cmocka_unit_test(what_is_not_json_is_not_quoted),
	    cmocka_unit_test(keys_in_all_their_forms),
	    cmocka_unit_test(basic_is_base64),
	    cmocka_unit_test(a_file_is_read_again_when_it_is_another_one),
	    cmocka_unit_test(a_file_that_is_overwritten_is_read_again),
	    cmocka_unit_test(the_usual_places),
	    cmocka_unit_test(headers_that_docker_is_to_send),
	    cmocka_unit_test(a_variable_goes_before_the_files),
	    cmocka_unit_test(a_relative_name_means_what_it_meant_at_first),
	    cmocka_unit_test(the_helpers_of_registries_conf),
	    cmocka_unit_test(a_named_file_knows_no_helpers),
	    cmocka_unit_test(who_is_mentioned),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
