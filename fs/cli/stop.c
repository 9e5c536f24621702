/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/stop.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/macros.h"
#include "fs/log.h"

#define TICK_MS 60000

struct stop {
	struct lock lock; /* a leaf: fs_stop is called without it */
	struct cond idle; /* stopping has become false */
	struct fs *fs;    /* guarded by lock; NULL once fs_serve has returned */
	bool stopping;    /* guarded by lock; fs_stop is being called */
	const char *mountpoint;
	int signal_fd;
	int wake_fd; /* eventfd: ending or freed */
	_Atomic bool ending, freed, signalled;
	pthread_t thread;
};

/* What nohup or a shell's "&" has had ignored stays so. */
static bool is_ignored(int sig)
{
	struct sigaction now;
	return sigaction(sig, NULL, &now) == 0 && now.sa_handler == SIG_IGN;
}

void stop_signals(sigset_t *set)
{
	static const int of_terminals[] = {SIGINT, SIGHUP, SIGQUIT};
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	for (size_t i = 0; i < ARRAY_LEN(of_terminals); i++) {
		if (!is_ignored(of_terminals[i]))
			sigaddset(set, of_terminals[i]);
	}
}

static const char *signal_name(uint32_t sig)
{
	return sig == SIGINT    ? "SIGINT"
	       : sig == SIGHUP  ? "SIGHUP"
	       : sig == SIGQUIT ? "SIGQUIT"
				: "SIGTERM";
}

void stop_block_signals(void)
{
	sigset_t set;
	stop_signals(&set);
	sigaddset(&set, SIGALRM);
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL);
	(void)sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
}

/* Only what a signal handler may do. */
static void end_hard(int sig)
{
	(void)sig;
	_exit(1);
}

/* The alarm is for this thread, and for nobody else: they all block it. */
static void arm(void)
{
	sigset_t set;
	(void)sigaction(SIGALRM, &(struct sigaction){.sa_handler = end_hard}, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	(void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	struct itimerval at = {
	    .it_value = {.tv_sec = STOP_HARD_MS / 1000, .tv_usec = STOP_HARD_MS % 1000 * 1000}};
	(void)setitimer(ITIMER_REAL, &at, NULL);
}

static void end_forced(const struct stop *s)
{
	log_error("mount", "%s: work that does not end is left behind", s->mountpoint);
	_exit(1);
}

static void stop_serving(struct stop *s)
{
	lock_take(&s->lock);
	struct fs *fs = s->fs;
	s->stopping = fs != NULL;
	lock_drop(&s->lock);
	if (fs == NULL)
		return;
	fs_stop(fs);
	lock_take(&s->lock);
	s->stopping = false;
	cond_signal(&s->idle);
	lock_drop(&s->lock);
}

static void take_signal(struct stop *s)
{
	struct signalfd_siginfo info;
	if (read(s->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	s->signalled = true;
	log_info("mount", "%s: %s, ending", s->mountpoint, signal_name(info.ssi_signo));
	stop_serving(s);
}

static void *watch(void *arg)
{
	struct stop *s = arg;
	int64_t until_ms = INT64_MAX;
	while (!s->freed) {
		struct pollfd fds[2] = {{.fd = s->signal_fd, .events = POLLIN},
					{.fd = s->wake_fd, .events = POLLIN}};
		int64_t left = until_ms == INT64_MAX ? TICK_MS : until_ms - clock_ms();
		int n = poll(fds, 2, left > 0 ? (int)left : 0);
		eventfd_t ignored;
		if (n > 0 && fds[1].revents != 0)
			(void)eventfd_read(s->wake_fd, &ignored);
		bool signalled = n > 0 && fds[0].revents != 0;
		if ((signalled || s->ending) && until_ms == INT64_MAX) {
			arm();
			until_ms = clock_ms() + STOP_GRACE_MS;
		}
		if (signalled)
			take_signal(s);
		if (n == 0 && until_ms == INT64_MAX)
			log_tick();
		else if (!s->freed && clock_ms() >= until_ms)
			end_forced(s);
	}
	return NULL;
}

int stop_new(struct fs *fs, const char *mountpoint, struct stop **ret, struct err *err)
{
	struct stop *s = calloc(1, sizeof(*s));
	if (s == NULL)
		return err_set(err, -ENOMEM, "out of memory");
	sigset_t set;
	stop_signals(&set);
	lock_init(&s->lock);
	cond_init(&s->idle);
	s->fs = fs;
	s->mountpoint = mountpoint;
	s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int rc = s->signal_fd < 0 || s->wake_fd < 0 ? -errno : 0;
	if (rc == 0)
		rc = -pthread_create(&s->thread, NULL, watch, s);
	if (rc == 0) {
		(void)pthread_setname_np(s->thread, "stop");
		*ret = s;
		return 0;
	}
	auto_close_(&s->signal_fd);
	auto_close_(&s->wake_fd);
	cond_release(&s->idle);
	lock_release(&s->lock);
	free(s);
	return err_errno(err, rc, "cannot watch for signals");
}

void stop_ending(struct stop *s)
{
	lock_take(&s->lock);
	s->fs = NULL;
	while (s->stopping)
		cond_wait(&s->idle, &s->lock);
	lock_drop(&s->lock);
	s->ending = true;
	(void)eventfd_write(s->wake_fd, 1);
}

void stop_free(struct stop *s)
{
	if (s == NULL)
		return;
	s->freed = true;
	(void)eventfd_write(s->wake_fd, 1);
	(void)pthread_join(s->thread, NULL);
	(void)setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
	close(s->signal_fd);
	close(s->wake_fd);
	cond_release(&s->idle);
	lock_release(&s->lock);
	free(s);
}

bool stop_was_signalled(const struct stop *s)
{
	return s->signalled;
}
