/* SPDX-License-Identifier: Apache-2.0 */
/* The directory as it stands when the process is killed before each call that changes it, or in
 * the middle of a write; and with files that a power failure cut or filled with zeros. The next
 * process accepts it, and never reads a wrong byte. */
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/unit/cache/faults.h"
#include "tests/unit/cache/scenes.h"

#define HANGS_S   60
#define FILES_MAX 32

static struct fault_report *report;
static bool thorough;

static int status_of(pid_t child)
{
	int status;
	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* ---- kills ---- */

static _Noreturn void be_killed(struct scene *s, const struct play *play,
				const struct fault_plan *plan)
{
	(void)alarm(HANGS_S);
	scene_prepare(s, play);
	faults_arm(plan, report);
	play->run(s);
	_exit(0);
}

static _Noreturn void come_after(struct scene *s, const char *about, bool spoilt)
{
	(void)alarm(HANGS_S);
	scene_about(about);
	scene_heals(s, spoilt);
	exit(0);
}

/* True if it was killed, and not just at its end. */
static bool kill_at(const struct play *play, const struct fault_plan *plan)
{
	struct scene s;
	char text[160];
	*report = (struct fault_report){0};
	scene_make(&s);
	pid_t child = fork();
	if (child == 0)
		be_killed(&s, play, plan);
	int status = status_of(child);
	assert_int_equal(status, report->hit ? FAULT_DIED : 0);
	snprintf(text, sizeof(text), "%s, killed %s change %u%s (%s)", play->name,
		 plan->how == FAULT_TEAR ? "in" : "before", plan->nth,
		 plan->others ? " in the background" : "", report->what);
	child = fork();
	if (child == 0)
		come_after(&s, text, play->spoilt);
	assert_int_equal(status_of(child), 0);
	scene_free(&s);
	return report->hit;
}

static void killed_at_each_change(void **state)
{
	const struct play *play = *state;
	unsigned n = 0;
	for (int i = 0; i < 4; i++) {
		struct fault_plan plan = {.how = i < 2 ? FAULT_DIE : FAULT_TEAR, .others = i % 2};
		for (plan.nth = 1; kill_at(play, &plan); plan.nth++)
			n++;
	}
	print_message("# %s: killed at %u places\n", play->name, n);
}

/* ---- power failures ---- */

static char found[FILES_MAX][256];
static size_t found_n;

static int note_file(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)ftw;
	if (type == FTW_F && found_n < FILES_MAX)
		snprintf(found[found_n++], sizeof(found[0]), "%s", path);
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* From `from` on, gone or zero. */
static void spoil(const char *path, uint64_t from, bool zeros)
{
	struct stat st;
	assert_int_equal(chmod(path, 0600), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(truncate(path, (off_t)from), 0);
	if (zeros)
		assert_int_equal(truncate(path, st.st_size), 0);
}

static uint64_t size_of(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

/* One file that the play left, cut at a place. False: there is no such file or place. */
static bool spoil_one(const struct play *play, size_t file, unsigned place, bool zeros)
{
	struct scene s;
	char text[400];
	struct fault_plan none = {.how = FAULT_ONCE, .nth = 0};
	scene_make(&s);
	pid_t child = fork();
	if (child == 0)
		be_killed(&s, play, &none);
	assert_int_equal(status_of(child), 0);
	found_n = 0;
	assert_int_equal(nftw(s.f.dir, note_file, 16, FTW_PHYS), 0);
	qsort(found, found_n, sizeof(found[0]), by_name);
	uint64_t size = file < found_n ? size_of(found[file]) : 0;
	/* Every byte of what is small. */
	uint64_t step = thorough && size < 4096 ? 1 : size / 4 > 0 ? size / 4 : 1;
	uint64_t from = place * step;
	bool there = from < size;
	if (there) {
		spoil(found[file], from, zeros);
		snprintf(text, sizeof(text), "%s, %s %s at %llu", play->name, found[file],
			 zeros ? "zero" : "cut", (unsigned long long)from);
		child = fork();
		if (child == 0)
			come_after(&s, text, true);
		assert_int_equal(status_of(child), 0);
	}
	scene_free(&s);
	return there;
}

static void spoilt_by_a_power_failure(void **state)
{
	const struct play *play = *state;
	unsigned n = 0;
	size_t files = 1;
	for (size_t file = 0; file < files; file++) {
		for (int zeros = 0; zeros < 2; zeros++) {
			for (unsigned place = 0; spoil_one(play, file, place, zeros != 0); place++)
				n++;
		}
		files = found_n;
	}
	print_message("# %s: %zu files, spoilt in %u ways\n", play->name, files, n);
}

int main(void)
{
	struct CMUnitTest tests[64] = {{0}};
	const char *asked = getenv("WASMOCIFS_TEST_FAULTS");
	size_t n = 0;
	thorough = asked != NULL && strcmp(asked, "all") == 0;
	report =
	    mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (report == MAP_FAILED)
		return 1;
	for (size_t i = 0; i < plays_n; i++) {
		void *play = (void *)(uintptr_t)&plays[i];
		tests[n++] = (struct CMUnitTest){.name = plays[i].name,
						 .test_func = killed_at_each_change,
						 .initial_state = play};
		if (thorough || strcmp(plays[i].name, "give up") == 0 ||
		    strcmp(plays[i].name, "records") == 0)
			tests[n++] = (struct CMUnitTest){.name = plays[i].name,
							 .test_func = spoilt_by_a_power_failure,
							 .initial_state = play};
	}
	return _cmocka_run_group_tests("crash", tests, n, NULL, NULL);
}
