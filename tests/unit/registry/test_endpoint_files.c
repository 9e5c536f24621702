/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "registry/endpoint_files.h"
#include "tests/unit/registry/pem.h"

#define CERT "-----BEGIN CERTIFICATE-----\nx\n"

static struct pem us;

static char top[64];

static int make_top(void **state)
{
	(void)state;
	pem_make(&us);
	snprintf(top, sizeof(top), "/tmp/endpoint-files-XXXXXX");
	return mkdtemp(top) ? 0 : -1;
}

static int unlink_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static int drop_top(void **state)
{
	(void)state;
	pem_release(&us);
	return nftw(top, unlink_one, 8, FTW_DEPTH | FTW_PHYS);
}

static const char *below(const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", top, name);
	return path;
}

/* With the directories above it. */
static void put(const char *name, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", top, name);
	for (char *s = path + strlen(top) + 1; (s = strchr(s, '/')); *s++ = '/') {
		*s = '\0';
		assert_true(mkdir(path, 0755) == 0 || errno == EEXIST);
	}
	f = fopen(path, "we");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static int load_groups(const char *host, struct endpoint_groups *ret, struct err *err)
{
	char hosts[128], containers[128], docker[128];
	char user[128], conf[128], more[128];
	struct endpoint_roots roots = {.hosts_dir = hosts,
				       .certs = {containers, NULL, docker},
				       .confs = {user, conf},
				       .conf_dirs = {NULL, more}};

	snprintf(user, sizeof(user), "%s/user.conf", top);
	snprintf(conf, sizeof(conf), "%s/registries.conf", top);
	snprintf(more, sizeof(more), "%s/registries.conf.d", top);
	snprintf(hosts, sizeof(hosts), "%s/hosts", top);
	snprintf(containers, sizeof(containers), "%s/containers", top);
	snprintf(docker, sizeof(docker), "%s/docker", top);
	return endpoint_files_load(&roots, host, ret, err);
}

/* Of the whole registry. */
static int load(const char *host, struct endpoint_list *ret, struct err *err)
{
	struct endpoint_groups groups = {0};
	int r = load_groups(host, &groups, err);

	if (r < 0)
		return r;
	*ret = groups.v[0].list;
	groups.v[0].list = (struct endpoint_list){0};
	endpoint_groups_release(&groups);
	return 0;
}

static void refuse(const char *host, const char *part)
{
	struct endpoint_list l = {0};
	struct err err = {""};

	assert_int_equal(load(host, &l, &err), -EACCES);
	if (!strstr(err.text, part))
		fail_msg("%s: %s", host, err.text);
}

/* The first mirror's host, or "" if there is only the registry. */
static const char *first(const char *host)
{
	static char name[URL_HOST_MAX];
	struct endpoint_list l = {0};
	struct err err = {""};

	if (load(host, &l, &err) < 0)
		fail_msg("%s: %s", host, err.text);
	snprintf(name, sizeof(name), "%s", l.n > 1 ? l.v[0].url.host : "");
	endpoint_list_release(&l);
	return name;
}

static void which_directory_counts(void **state)
{
	(void)state;
	assert_string_equal(first("h:5000"), "");
	put("hosts/_default/hosts.toml", "[host.'default']");
	assert_string_equal(first("h:5000"), "default");
	assert_string_equal(first("[::1]"), "default");
	put("hosts/h:5000/hosts.toml", "[host.'colon']");
	assert_string_equal(first("h:5000"), "colon");
	put("hosts/h_5000_/hosts.toml", "[host.'spelled']");
	assert_string_equal(first("h:5000"), "spelled");
	assert_string_equal(first("h"), "default");
	put("hosts/h/hosts.toml", "[host.'plain']");
	assert_string_equal(first("h"), "plain");
	assert_string_equal(first("h:5001"), "default");
	put("hosts/[::1]_5000_/hosts.toml", "[host.'v6']");
	assert_string_equal(first("[::1]:5000"), "v6");
}

static void what_cannot_be_read_is_said(void **state)
{
	char *both;

	(void)state;
	put("hosts/h/hosts.toml", "\n[host.'x']\nca = 1\n");
	refuse("h", "/hosts/h/hosts.toml: line 3: 'ca': neither");
	put("hosts/h/hosts.toml", "ca = 'no.crt'\n");
	refuse("h", "/hosts/h/no.crt: No such file");
	put("hosts/h/no.crt", "not PEM");
	refuse("h", "/hosts/h/no.crt: no certificate in it");
	put("hosts/h/hosts.toml", "client = 'both.pem'\n");
	put("hosts/h/both.pem", CERT);
	refuse("h", "/hosts/h/both.pem: no certificate that can be read");
	put("hosts/h/both.pem", us.cert);
	refuse("h", "/hosts/h/both.pem: no private key that can be read");
	assert_true(asprintf(&both, "%s%s", us.cert, us.key) > 0);
	put("hosts/h/both.pem", both);
	free(both);
	assert_string_equal(first("h"), "");
	/* Of several each must be of use. */
	put("hosts/h/hosts.toml", "client = ['both.pem', ['us.cert', 'us.key']]\n");
	refuse("h", "/hosts/h/us.cert: No such file");
	put("hosts/h/us.cert", us.cert);
	refuse("h", "/hosts/h/us.key: No such file");
	put("hosts/h/us.key", us.sealed);
	refuse("h", "/hosts/h/us.key: a private key with a passphrase");
	put("hosts/h/us.key", us.key);
	assert_string_equal(first("h"), "");
	assert_int_equal(mkdir(below("hosts/d"), 0755), 0);
	assert_int_equal(mkdir(below("hosts/d/hosts.toml"), 0755), 0);
	refuse("d", "/hosts/d/hosts.toml: no file of at most");
}

static void certificates_beside_no_hosts_toml(void **state)
{
	struct endpoint_list l = {0};
	struct err err = {""};
	char *pem = NULL;

	(void)state;
	put("hosts/h/hosts.toml", "");
	put("hosts/h/b.crt", CERT "b");
	put("hosts/h/a.crt", CERT "a");
	put("hosts/h/c.cert", us.cert);
	refuse("h", "/hosts/h/c.cert: no private key that can be read");
	put("hosts/h/c.key", us.key);
	put("hosts/h/readme", "x");
	assert_int_equal(load("h", &l, &err), 0);
	assert_int_equal(l.n, 1);
	assert_int_equal(l.v[0].ca.n, 2);
	assert_int_equal(l.v[0].pair_count, 1);
	put("hosts/mine", CERT "m");
	assert_int_equal(endpoint_pem(&l.v[0], below("hosts/mine"), &pem, &err), 0);
	assert_string_equal(pem, CERT "m\n" CERT "a\n" CERT "b\n");
	free(pem);
	endpoint_list_release(&l);
	put("hosts/h/lonely.key", us.key);
	refuse("h", "/hosts/h/lonely.cert is missing, lonely.key is there");
}

static void certificates_that_other_tools_have(void **state)
{
	struct endpoint_list l = {0};
	struct err err = {""};

	(void)state;
	put("docker/h:5000/d.crt", CERT);
	assert_int_equal(load("h:5000", &l, &err), 0);
	assert_non_null(strstr(l.v[0].ca.v[0], "/docker/h:5000/d.crt"));
	endpoint_list_release(&l);
	/* The first directory is all. */
	put("containers/h:5000/c.crt", CERT);
	assert_int_equal(load("h:5000", &l, &err), 0);
	assert_int_equal(l.v[0].ca.n, 1);
	assert_non_null(strstr(l.v[0].ca.v[0], "/containers/h:5000/c.crt"));
	endpoint_list_release(&l);
	/* Of the registry itself, not of its mirrors or of who stands for it. */
	put("hosts/_default/hosts.toml", "[host.'m']\n");
	assert_int_equal(load("h:5000", &l, &err), 0);
	assert_int_equal(l.v[0].ca.n, 0);
	assert_int_equal(l.v[1].ca.n, 1);
	endpoint_list_release(&l);
	put("hosts/_default/hosts.toml", "server = 'm'\n");
	assert_int_equal(load("h:5000", &l, &err), 0);
	assert_int_equal(l.v[0].ca.n, 0);
	endpoint_list_release(&l);
}

/* "path=first mirror or location or ! or .", by its group's number. */
static const char *group(const char *host, size_t i)
{
	static char text[400];
	struct endpoint_groups groups = {0};
	struct err err = {""};
	const struct endpoint_group *g;

	if (load_groups(host, &groups, &err) < 0)
		fail_msg("%s: %s", host, err.text);
	text[0] = '\0';
	if (i < groups.n) {
		g = &groups.v[i];
		snprintf(text, sizeof(text), "%s=%s", g->path,
			 g->blocked            ? "!"
			 : g->list.v->url.text ? g->list.v->url.host
					       : ".");
	}
	endpoint_groups_release(&groups);
	return text;
}

static void registries_conf_and_its_parts(void **state)
{
	(void)state;
	put("registries.conf",
	    "[[registry]]\nlocation = 'h'\n[[registry.mirror]]\nlocation = 'm1'\n"
	    "[[registry]]\nprefix = 'h/ns'\nlocation = 'i.example/x'\n");
	assert_string_equal(group("h", 0), "=m1");
	assert_string_equal(group("h", 1), "ns=i.example");
	assert_string_equal(group("h", 2), "");
	assert_string_equal(group("other", 0), "=.");
	/* A later file replaces a prefix. */
	put("registries.conf.d/10.conf", "[[registry]]\nlocation = 'h'\nblocked = true\n");
	put("registries.conf.d/20.other", "what is this");
	assert_string_equal(group("h", 0), "=!");
	assert_string_equal(group("h", 1), "ns=i.example");
	put("registries.conf.d/30.conf",
	    "[[registry]]\nlocation = 'h/ns'\n[[registry.mirror]]\nlocation = 'm2'\n");
	assert_string_equal(group("h", 1), "ns=m2");
	/* hosts.toml says how the registry is reached, but allows nothing. */
	put("hosts/h/hosts.toml", "[host.'t']\n");
	assert_string_equal(group("h", 0), "=!");
	put("registries.conf.d/10.conf", "");
	assert_string_equal(group("h", 0), "=t");
	assert_string_equal(group("h", 1), "ns=m2");
	/* The user's is instead of the system's. */
	put("user.conf", "");
	assert_string_equal(group("h", 1), "ns=m2");
	put("registries.conf.d/30.conf", "");
	assert_string_equal(group("h", 1), "");
	put("registries.conf.d/40.conf", "[[registry]]\nprefix = 1\n");
	refuse("h", "/registries.conf.d/40.conf: line 2: 'prefix': not a string");
}

static void the_closest_wildcard_counts(void **state)
{
	(void)state;
	put("user.conf", "[[registry]]\nprefix = '*.b.example'\nlocation = 'near'\n"
			 "[[registry]]\nprefix = '*.example'\nlocation = 'far'\n"
			 "[[registry]]\nprefix = 'x.b.example'\nlocation = 'exact'\n");
	assert_string_equal(group("a.b.example", 0), "=near");
	assert_string_equal(group("b.example", 0), "=far");
	assert_string_equal(group("x.b.example", 0), "=exact");
	assert_string_equal(group("example", 0), "=.");
}

static void where_they_are_looked_for(void **state)
{
	struct endpoint_roots roots;

	(void)state;
	setenv("HOME", "/h", 1);
	unsetenv("XDG_CONFIG_HOME");
	assert_int_equal(endpoint_roots_get(NULL, &roots), 0);
	assert_string_equal(roots.hosts_dir, "/etc/containerd/certs.d");
	assert_string_equal(roots.certs[0], "/h/.config/containers/certs.d");
	assert_string_equal(roots.certs[1], "/etc/containers/certs.d");
	assert_string_equal(roots.certs[2], "/h/.config/docker/certs.d");
	assert_string_equal(roots.certs[3], "/etc/docker/certs.d");
	assert_string_equal(roots.confs[0], "/h/.config/containers/registries.conf");
	assert_string_equal(roots.confs[1], "/etc/containers/registries.conf");
	assert_string_equal(roots.conf_dirs[0], "/etc/containers/registries.conf.d");
	assert_string_equal(roots.conf_dirs[1], "/h/.config/containers/registries.conf.d");
	endpoint_roots_release(&roots);
	setenv("XDG_CONFIG_HOME", "/x", 1);
	assert_int_equal(endpoint_roots_get("/y", &roots), 0);
	assert_string_equal(roots.hosts_dir, "/y");
	assert_string_equal(roots.certs[0], "/x/containers/certs.d");
	endpoint_roots_release(&roots);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(which_directory_counts, make_top, drop_top),
	    cmocka_unit_test_setup_teardown(what_cannot_be_read_is_said, make_top, drop_top),
	    cmocka_unit_test_setup_teardown(certificates_beside_no_hosts_toml, make_top, drop_top),
	    cmocka_unit_test_setup_teardown(certificates_that_other_tools_have, make_top, drop_top),
	    cmocka_unit_test_setup_teardown(registries_conf_and_its_parts, make_top, drop_top),
	    cmocka_unit_test_setup_teardown(the_closest_wildcard_counts, make_top, drop_top),
	    cmocka_unit_test(where_they_are_looked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
