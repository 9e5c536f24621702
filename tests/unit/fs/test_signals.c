/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/signals.h"

#define BIT(sig) (1ull << ((sig)-1))

static bool let_go(uint64_t thread, uint64_t process, uint64_t blocked, uint64_t ignored,
		   uint64_t caught)
{
	char text[512];
	int n = snprintf(text, sizeof(text),
			 "Name:\tcat\nSigQ:\t0/95\nSigPnd:\t%016llx\nShdPnd:\t%016llx\n"
			 "SigBlk:\t%016llx\nSigIgn:\t%016llx\nSigCgt:\t%016llx\nCapInh:\t0\n",
			 (unsigned long long)thread, (unsigned long long)process,
			 (unsigned long long)blocked, (unsigned long long)ignored,
			 (unsigned long long)caught);
	return signals_let_go(text, (size_t)n);
}

static void test_kill(void **state)
{
	(void)state;
	assert_true(let_go(BIT(SIGKILL), 0, 0, 0, 0));
	assert_true(let_go(BIT(SIGKILL), 0, ~0ull, ~0ull, ~0ull));
	assert_false(let_go(0, 0, 0, 0, 0));
}

/* What the kernel was seen to show: fuse-kernel facts of the design. */
static void test_measured(void **state)
{
	(void)state;
	assert_true(let_go(0x100, 0x2, 0, 0, 0));          /* default SIGINT */
	assert_true(let_go(0, 0x4, 0, 0, 0));              /* SIGQUIT */
	assert_true(let_go(0, 0x2, 0, 0, 0x2));            /* SIGINT, caught by Python */
	assert_false(let_go(0x400000, 0, 0, 0, 0x400000)); /* Go's SIGURG */
	assert_false(let_go(0x400000, 0, 0, 0, 0));        /* SIGURG, not caught */
	assert_false(let_go(0, 0x40000, 0, 0, 0));         /* SIGSTOP */
}

static void test_caught_blocked_ignored(void **state)
{
	(void)state;
	static const int asks[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGALRM};
	for (size_t i = 0; i < sizeof(asks) / sizeof(asks[0]); i++)
		assert_true(let_go(0, BIT(asks[i]), 0, 0, BIT(asks[i])));
	assert_false(let_go(0, BIT(SIGUSR1), 0, 0, BIT(SIGUSR1)));
	assert_true(let_go(0, BIT(SIGUSR1), 0, 0, 0));
	assert_false(let_go(0, BIT(SIGINT), BIT(SIGINT), 0, 0));
	assert_false(let_go(0, BIT(SIGINT), 0, BIT(SIGINT), 0));
	assert_false(
	    let_go(0, BIT(SIGCHLD) | BIT(SIGWINCH) | BIT(SIGCONT) | BIT(SIGTSTP), 0, 0, 0));
}

static void test_not_a_status(void **state)
{
	(void)state;
	assert_false(signals_let_go("", 0));
	assert_false(signals_let_go("SigPnd:\t100", 11));
	static const char cut[] = "Name:\tx\nSigPnd:\t0000000000000100\nShdPnd:\t";
	assert_false(signals_let_go(cut, sizeof(cut) - 1));
}

static void test_threads(void **state)
{
	(void)state;
	assert_true(signals_thread_let_go(0));
	assert_false(signals_thread_let_go(getpid()));
	pid_t child = fork();
	if (child == 0)
		_exit(0);
	assert_true(child > 0);
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_true(signals_thread_let_go(child));
}

static void test_those_who_are_gone(void **state)
{
	(void)state;
	siginfo_t info;
	assert_false(signals_thread_is_gone(0));
	assert_false(signals_thread_is_gone(getpid()));
	/* One that it interrupts is not gone for that. */
	sigset_t usr1;
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	assert_int_equal(sigprocmask(SIG_BLOCK, &usr1, NULL), 0);
	assert_int_equal(raise(SIGUSR1), 0);
	assert_false(signals_thread_is_gone(getpid()));
	pid_t child = fork();
	if (child == 0)
		_exit(0);
	assert_true(child > 0);
	/* Nobody has asked how it ended. */
	assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
	assert_true(signals_thread_is_gone(child));
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_true(signals_thread_is_gone(child));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_kill),
	    cmocka_unit_test(test_measured),
	    cmocka_unit_test(test_caught_blocked_ignored),
	    cmocka_unit_test(test_not_a_status),
	    cmocka_unit_test(test_threads),
	    cmocka_unit_test(test_those_who_are_gone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
