/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/home.h"

#define NOBODY 65534

static int make(void **state)
{
	char *dir = strdup("/tmp/test-home-XXXXXX");
	*state = mkdtemp(dir);
	unsetenv("XDG_CONFIG_HOME");
	unsetenv("XDG_CACHE_HOME");
	return *state == NULL;
}

static int drop(void **state)
{
	int rc = rmdir(*state);
	free(*state);
	return rc;
}

static const char *of_database(void)
{
	const struct passwd *pw = getpwuid(geteuid());
	return pw != NULL ? pw->pw_dir : NULL;
}

static void expect(int (*where)(char **ret), const char *wanted)
{
	AUTO_FREE char *got = NULL;
	assert_int_equal(where(&got), 0);
	if (wanted == NULL)
		assert_null(got);
	else
		assert_string_equal(got, wanted);
}

static void the_environment_says(void **state)
{
	char below[64];
	setenv("HOME", *state, 1);
	expect(home_dir, *state);
	snprintf(below, sizeof(below), "%s/.config", (char *)*state);
	expect(home_config, below);
	snprintf(below, sizeof(below), "%s/.cache", (char *)*state);
	expect(home_cache, below);
	setenv("XDG_CONFIG_HOME", "/x", 1);
	setenv("XDG_CACHE_HOME", "/y", 1);
	expect(home_config, "/x");
	expect(home_cache, "/y");
	/* Not absolute: none. */
	setenv("XDG_CONFIG_HOME", "x", 1);
	snprintf(below, sizeof(below), "%s/.config", (char *)*state);
	expect(home_config, below);
}

static void without_one_the_database_knows(void **state)
{
	(void)state;
	unsetenv("HOME");
	expect(home_dir, of_database());
	setenv("HOME", "", 1);
	expect(home_dir, of_database());
	setenv("HOME", "relative", 1);
	expect(home_dir, of_database());
}

/* It may be made later, and is no reason to look elsewhere. */
static void one_that_is_not_there_is_one(void **state)
{
	(void)state;
	setenv("HOME", "/nonexistent/home", 1);
	expect(home_dir, "/nonexistent/home");
	expect(home_config, "/nonexistent/home/.config");
}

/* As after su or setpriv, which keep it. */
static void somebody_else_s_is_none(void **state)
{
	setenv("HOME", *state, 1);
	setenv("XDG_CACHE_HOME", *state, 1);
	if (geteuid() != 0)
		assert_int_equal(chmod(*state, 0), 0);
	pid_t pid = fork();
	if (pid == 0) {
		char *home = NULL, *cache = NULL;
		if (geteuid() == 0 && setuid(NOBODY) < 0)
			_exit(1);
		const char *own = of_database();
		bool right = home_dir(&home) == 0 && home_cache(&cache) == 0;
		right =
		    right && (own != NULL ? home != NULL && strcmp(home, own) == 0 : home == NULL);
		right = right && (cache == NULL || strcmp(cache, *state) != 0);
		free(home);
		free(cache);
		_exit(right ? 0 : 2);
	}
	int status = -1;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	(void)chmod(*state, 0700);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(the_environment_says, make, drop),
	    cmocka_unit_test_setup_teardown(without_one_the_database_knows, make, drop),
	    cmocka_unit_test_setup_teardown(one_that_is_not_there_is_one, make, drop),
	    cmocka_unit_test_setup_teardown(somebody_else_s_is_none, make, drop),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
