/* SPDX-License-Identifier: Apache-2.0 */
/* Each call that the cache makes fails, once or from there on, in each plausible way: what is said
 * of it is in the contract, nothing is left behind, and what comes after works.
 *
 * WASMOCIFS_TEST_FAULTS=all: every error of every call, which takes minutes; else one of each, by
 * turns. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "cache/filelock.h"
#include "cache/partial_impl.h"
#include "tests/unit/cache/faults.h"
#include "tests/unit/cache/scenes.h"

/* Longer than any play, with sanitizers too. */
#define HANGS_S   20
#define SHOWN_MAX 10
/* Faults that last begin at every so many calls only, if not all are asked for. */
#define LASTING_STEP 6

static struct fault_report *report;
static bool thorough;
static unsigned runs[FAULT_KINDS];

static int open_descriptors(void)
{
	int n = 0;
	DIR *d = opendir("/proc/self/fd");
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n;
}

static _Noreturn void disturb(const struct play *play, const struct fault_plan *plan)
{
	static const char *const hows[] = {"once", "and all of its kind", "and all of the disk"};
	static char text[160];
	struct scene s;
	(void)alarm(HANGS_S);
	scene_make(&s);
	int descriptors = open_descriptors();
	long live = faults_live();
	scene_prepare(&s, play);
	faults_arm(plan, report);
	snprintf(text, sizeof(text), "%s, call %u%s, error %u, %s", play->name, plan->nth,
		 plan->others ? " in the background" : "", plan->which, hows[plan->how]);
	scene_about(text);
	play->run(&s);
	faults_disarm();
	scene_heals(&s, play->spoilt);
	EXPECT(open_descriptors() == descriptors);
	EXPECT(faults_live() == live);
	scene_free(&s);
	exit(0);
}

/* True if it went well. */
static bool run_one(const struct play *play, const struct fault_plan *plan)
{
	*report = (struct fault_report){0};
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0)
		disturb(play, plan);
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	if (report->hit)
		runs[report->kind]++;
	if (status == 0)
		return true;
	fprintf(stderr, "  %s: status %d of %s, nth %u, which %u, how %d, others %d\n",
		report->what, status, play->name, plan->nth, plan->which, plan->how, plan->others);
	return false;
}

/* All calls of one thread; how many. */
static unsigned disturb_each(const struct play *play, enum fault_how how, bool others,
			     unsigned *failed)
{
	for (unsigned nth = 1;; nth++) {
		unsigned variants = 1;
		if (!thorough && how != FAULT_ONCE && nth % LASTING_STEP != how)
			continue;
		for (unsigned i = 0; i < variants; i++) {
			/* By turns, and other ones for the calls behind. */
			unsigned which = thorough ? i : nth + how;
			struct fault_plan plan = {how, others, nth, which};
			*failed += !run_one(play, &plan);
			if (!report->hit)
				return nth - 1;
			if (thorough)
				variants = report->variants;
		}
		if (*failed >= SHOWN_MAX)
			return nth;
	}
}

static void every_call_may_fail(void **state)
{
	const struct play *play = *state;
	unsigned failed = 0, calls = 0;
	for (int how = FAULT_ONCE; how <= FAULT_DISK_FROM; how++) {
		unsigned front = disturb_each(play, (enum fault_how)how, false, &failed);
		unsigned back = disturb_each(play, (enum fault_how)how, true, &failed);
		if (how == FAULT_ONCE)
			calls = front + back;
	}
	print_message("# %s: %u calls\n", play->name, calls);
	if (failed > 0)
		fail();
}

/* Another process is about to publish NEW: complete, read-only, and locked. The descriptor. */
static int make_publisher(struct scene *s)
{
	char name[PARTIAL_NAME_MAX], path[2 * PARTIAL_NAME_MAX];
	path_partial(&s->digest[NEW], scene_size(NEW), name);
	snprintf(path, sizeof(path), PARTIAL_DIR "/%s", name);
	AUTO_FD int dirfd = dirs_make(&s->f.store->dirs, PARTIAL_DIR, NULL);
	int fd = open(path_in(&s->f, path), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	EXPECT(dirfd >= 0 && fd >= 0 && filelock_exclusive(fd, FILELOCK_WRITER) == 0);
	EXPECT(pwrite(fd, s->bytes[NEW], scene_size(NEW), 0) == (ssize_t)scene_size(NEW));
	EXPECT(fchmod(fd, 0444) == 0);
	return fd;
}

/* As an ordinary user, who may not write what is read-only. */
static _Noreturn void meet_publisher(const struct fault_plan *plan)
{
	struct scene s;
	struct partial *p = NULL;
	struct stat st;
	(void)alarm(HANGS_S);
	EXPECT(geteuid() != 0 || (setgid(65534) == 0 && setuid(65534) == 0));
	scene_make(&s);
	scene_open(&s);
	int fd = make_publisher(&s);
	s.f.call.deadline_ms = clock_ms() + 1;
	faults_arm(plan, report);
	int rc = store_partial(s.f.store, &s.digest[NEW], scene_size(NEW), &s.f.call, &p, &s.f.err);
	faults_disarm();
	if (rc == 0)
		partial_drop(p);
	scene_about(report->what);
	EXPECT(fstat(fd, &st) == 0 && st.st_nlink == 1);
	close(fd);
	scene_close(&s);
	scene_free(&s);
	_exit(0);
}

static void what_another_publishes_is_left_to_it(void **state)
{
	unsigned failed = 0, variants = 1;
	(void)state;
	*report = (struct fault_report){.hit = true};
	for (unsigned nth = 1; report->hit; nth++) {
		for (unsigned i = 0; i < variants; i++) {
			struct fault_plan plan = {FAULT_ONCE, false, nth, i};
			int status;
			*report = (struct fault_report){0};
			pid_t child = fork();
			assert_true(child >= 0);
			if (child == 0)
				meet_publisher(&plan);
			assert_int_equal(waitpid(child, &status, 0), child);
			failed += status != 0;
			variants = report->variants;
		}
		variants = 1;
	}
	assert_int_equal(failed, 0);
}

static int print_runs(void **state)
{
	(void)state;
	for (int i = 0; i < FAULT_KINDS; i++)
		print_message("# %s: failed %u times\n", fault_kind_name((enum fault_kind)i),
			      runs[i]);
	return 0;
}

int main(void)
{
	struct CMUnitTest tests[32] = {{0}};
	const char *asked = getenv("WASMOCIFS_TEST_FAULTS");
	const char *only = getenv("WASMOCIFS_TEST_PLAY");
	size_t n = 0;
	thorough = asked != NULL && strcmp(asked, "all") == 0;
	report =
	    mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (report == MAP_FAILED)
		return 1;
	for (size_t i = 0; i < plays_n; i++) {
		if (only == NULL || strcmp(only, plays[i].name) == 0)
			tests[n++] =
			    (struct CMUnitTest){.name = plays[i].name,
						.test_func = every_call_may_fail,
						.initial_state = (void *)(uintptr_t)&plays[i]};
	}
	if (only == NULL)
		tests[n++] =
		    (struct CMUnitTest)cmocka_unit_test(what_another_publishes_is_left_to_it);
	return _cmocka_run_group_tests("faults", tests, n, NULL, print_runs);
}
