/* SPDX-License-Identifier: Apache-2.0 */
/* One loop: what has happened (a message, a death, a signal, a time that has come) changes a
 * few words of state, and what they ask for is done then. */
#include "fs/cli/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "fs/cli/command.h"
#include "fs/cli/fdstore.h"
#include "fs/cli/heartbeat.h"
#include "fs/cli/held.h"
#include "fs/cli/keeper_file.h"
#include "fs/cli/link.h"
#include "fs/cli/notify.h"
#include "fs/cli/spawn.h"
#include "fs/cli/stop.h"
#include "fs/handover.h"
#include "fs/log.h"
#include "fs/mount.h"
#include "fs/nodes.h"

#define NEVER          INT64_MAX
#define PAUSE_FIRST_MS 100
#define PAUSE_KILLED   200 /* of one that was killed from outside: the most */
/* Workers that crash one after the other as soon as they serve do so of what they were sent
 * again: the next answers it with EIO. */
#define CRASHES_MAX 3

struct keeper {
	const struct keeper_options *o;
	int signal_fd;
	int program;            /* of the workers */
	int old_program;        /* -1, or the one before an upgrade that is not through yet */
	struct spawned current; /* serves */
	struct spawned next;    /* gets prepared */
	struct held held;
	uint32_t generation; /* of the worker that serves, or did */
	bool stored;         /* a service manager holds the connection */
	bool leaving;        /* the mount is to stay */
	unsigned young;      /* workers that have died young, one after the other */
	unsigned crashes;    /* the same, by what they did themselves */
	bool stopping, was_ready, is_ready;
	int64_t start_at;                 /* a worker is to be started then */
	int64_t give_up_at;               /* none is ready */
	int64_t kill_at;                  /* the worker is to be gone */
	struct children known;            /* not of a worker */
	bool orphans;                     /* a worker has died: what it had started is ours now */
	char upgrade_path[LINK_TEXT_MAX]; /* of the last upgrade */
	int file;                         /* of fs/cli/keeper_file.h; -1 */
	struct heartbeat heart;
	bool over;
	int status;
	struct err *err;
};

static void end(struct keeper *k, int status, const char *why)
{
	k->over = true;
	k->status = status;
	(void)err_set(k->err, -EIO, "%s", why);
}

/* It was detached while it was in use: what is left of it ends with its worker. */
static bool is_detached(const struct keeper *k)
{
	unsigned there;
	return mount_state(k->o->mount.mountpoint, &there) != MOUNT_OURS || there != k->held.minor;
}

/* What a dead worker has read cannot be had again: whoever waits for it gets ENOTCONN, and
 * whatever is looked up from now on is served. */
static int renew(struct keeper *k)
{
	log_warning(
	    "keeper",
	    "%s: mounting anew: this kernel cannot send again what the worker before had not "
	    "answered (Linux 6.9 can), so files that are open now fail",
	    k->o->mount.mountpoint);
	(void)held_unmount(&k->held, k->o->mount.mountpoint);
	if (k->stored)
		fdstore_forget();
	k->stored = false;
	keeper_file_remove(k->held.minor, steal_fd(&k->file));
	held_release(&k->held);
	return held_open(&k->held, &k->o->mount, k->err);
}

/* ---- workers ---- */

static void start_next(struct keeper *k)
{
	struct err err;
	k->start_at = NEVER;
	if (spawn_start(k->program, k->o->argv, &k->next, &err) == 0)
		return;
	log_error("keeper", "%s: %s", k->o->mount.mountpoint, err.text);
	if (!k->was_ready)
		end(k, CLI_FAILED, err.text);
	k->start_at = clock_ms() + KEEPER_PAUSE_MAX_MS;
}

static int64_t pause_ms(unsigned young, bool killed)
{
	int64_t most = killed ? PAUSE_KILLED : KEEPER_PAUSE_MAX_MS;
	int64_t ms = young < 2 ? 0 : PAUSE_FIRST_MS;
	for (unsigned i = 2; i < young && ms < most; i++)
		ms *= 2;
	return ms < most ? ms : most;
}

static void take_program_back(struct keeper *k)
{
	if (k->old_program < 0)
		return;
	close(k->program);
	k->program = k->old_program;
	k->old_program = -1;
}

/* The program, a newline, and why. */
static void say_refused(struct keeper *k, const char *program, const char *why)
{
	struct link_message m = {.version = LINK_VERSION, .kind = LINK_REFUSED};
	snprintf(m.text, sizeof(m.text), "%.3500s\n%s", program, why);
	(void)!link_send(k->current.link, &m, NULL);
}

static void refuse_upgrade(struct keeper *k, const char *why)
{
	log_error("keeper", "%s: the upgrade has failed: %s", k->o->mount.mountpoint, why);
	take_program_back(k);
	if (k->current.pid != 0)
		say_refused(k, k->upgrade_path, why);
}

/* One that was getting prepared, and will not be. */
static void next_failed(struct keeper *k, int status, bool killed, const char *why)
{
	(void)spawn_kill(&k->next);
	k->orphans = true;
	if (k->stopping)
		return;
	if (k->current.pid != 0) {
		refuse_upgrade(k, why);
		return;
	}
	if (!k->was_ready) {
		end(k, status, why);
		return;
	}
	log_error("keeper", "%s: no worker: %s", k->o->mount.mountpoint, why);
	take_program_back(k);
	k->young++;
	k->start_at = clock_ms() + pause_ms(k->young, killed);
}

static void promote(struct keeper *k);

static void current_died(struct keeper *k)
{
	char how[SPAWN_END_MAX];
	bool killed, was_ready = k->is_ready;
	int64_t age = clock_ms() - k->current.started_ms;
	bool well = spawn_reap(&k->current, &killed, how);
	k->is_ready = false;
	k->orphans = true;
	if (k->next.prepared && !k->stopping && !held_is_gone(&k->held)) {
		promote(k);
		return;
	}
	bool lost = k->held.served && !k->held.resend && is_detached(k);
	if (well || k->stopping || lost || held_is_gone(&k->held)) {
		k->over = true;
		return;
	}
	if (!k->was_ready) {
		char why[SPAWN_END_MAX + 64];
		snprintf(why, sizeof(why), "the worker ended before the mount answered (%s)", how);
		end(k, CLI_FAILED, why);
		return;
	}
	/* Whoever waits now waits for no newcomer. */
	if (k->old_program >= 0) {
		(void)spawn_kill(&k->next);
		refuse_upgrade(k, was_ready ? "the worker before it died meanwhile" : how);
	}
	k->young = age < KEEPER_YOUNG_MS ? k->young + 1 : 0;
	k->crashes = age < KEEPER_YOUNG_MS && !killed ? k->crashes + 1 : 0;
	int64_t pause = pause_ms(k->young, killed);
	log_warning("keeper", "%s: the worker died (%s); starting another%s",
		    k->o->mount.mountpoint, how, pause > 1000 ? " in a while" : "");
	int64_t now = clock_ms();
	k->start_at = now + pause;
	k->give_up_at = k->give_up_at == NEVER ? now + KEEPER_DOWN_MS : k->give_up_at;
}

static int hand_over(struct keeper *k)
{
	struct held *h = &k->held;
	int fds[LINK_FDS] = {h->fuse_fd, nodes_fd(h->nodes), handover_fd(h->handover)};
	struct link_message m = {.version = LINK_VERSION,
				 .kind = LINK_SERVE,
				 .number = k->generation + 1,
				 .minor = h->minor,
				 .pid = (int32_t)getpid()};
	m.flags = (h->served ? LINK_SERVED_BEFORE : 0) |
		  (k->crashes >= CRASHES_MAX ? LINK_REFUSE_RESENT : 0);
	if (m.flags & LINK_REFUSE_RESENT)
		log_error("keeper",
			  "%s: %u workers crashed as soon as they served; what they were "
			  "asked is answered with EIO now",
			  k->o->mount.mountpoint, k->crashes);
	int rc = link_send(k->next.link, &m, fds);
	if (rc < 0)
		return err_errno(k->err, rc, "cannot hand the mount to a worker");
	*handover_generation(h->handover) = ++k->generation;
	h->served = true;
	return 0;
}

/* From here on it is the one that serves; nobody else is there. */
static void promote(struct keeper *k)
{
	struct held *h = &k->held;
	int rc = 0;
	if (h->fuse_fd < 0)
		rc = held_open(h, &k->o->mount, k->err);
	else if (h->served && !h->resend)
		rc = renew(k);
	if (rc == 0 && k->file < 0)
		k->file = rc = keeper_file_make(h->minor, k->err);
	if (rc >= 0)
		rc = hand_over(k);
	if (rc < 0 && !k->was_ready) {
		end(k, CLI_FAILED, k->err->text);
		return;
	}
	if (rc < 0) {
		next_failed(k, CLI_FAILED, false, k->err->text);
		return;
	}
	k->current = k->next;
	k->current.started_ms = clock_ms();
	k->next = SPAWNED_NONE;
	if (k->give_up_at == NEVER)
		k->give_up_at = clock_ms() + KEEPER_DOWN_MS;
}

static void on_ready(struct keeper *k)
{
	k->is_ready = true;
	k->give_up_at = NEVER;
	if (k->old_program >= 0)
		close(k->old_program);
	k->old_program = -1;
	if (k->generation > 1)
		log_info("keeper", "%s: worker %u serves", k->o->mount.mountpoint, k->generation);
	if (!k->was_ready && k->o->ready(k->o->ctx) != 0)
		(void)kill(getpid(), SIGTERM);
	k->was_ready = true;
	if (!k->stored)
		k->stored = fdstore_keep(&k->held);
}

static void start_upgrade(struct keeper *k, const char *path)
{
	struct err err;
	int program = -1;
	/* Somebody has asked for the same already. */
	if (k->old_program >= 0 && strcmp(path, k->upgrade_path) == 0)
		return;
	if (k->next.pid != 0 || k->old_program >= 0)
		(void)err_set(&err, -EBUSY, "another upgrade is under way");
	else
		program = spawn_program(path, &err);
	if (program < 0) {
		say_refused(k, path, err.text);
		return;
	}
	snprintf(k->upgrade_path, sizeof(k->upgrade_path), "%s", path);
	log_info("keeper", "%s: upgrading to %s", k->o->mount.mountpoint, path);
	k->old_program = k->program;
	k->program = program;
	start_next(k);
	if (k->next.pid == 0)
		refuse_upgrade(k, "no worker can be started");
}

/* It may take its time, and if it takes too long the mount is given up. */
static void kill_current(struct keeper *k)
{
	k->current.killed = true;
	k->is_ready = false;
	if (k->give_up_at == NEVER)
		k->give_up_at = clock_ms() + KEEPER_DOWN_MS;
	(void)kill(k->current.pid, SIGKILL);
}

/* ---- what happens ---- */

static void take_message(struct keeper *k, struct spawned *w, const struct link_message *m)
{
	bool is_next = w == &k->next;
	switch (m->kind) {
	case LINK_PREPARED:
		if (!is_next || w->prepared)
			return;
		w->prepared = true;
		if (k->held.title[0] == '\0')
			snprintf(k->held.title, sizeof(k->held.title), "%s", m->text);
		if (k->current.pid != 0)
			kill_current(k);
		else
			promote(k);
		return;
	case LINK_READY:
		if (!is_next)
			on_ready(k);
		return;
	case LINK_FAILED:
		if (is_next)
			next_failed(k, (int)m->number, false, m->text);
		else if (k->stopping)
			return;
		else if (k->was_ready)
			log_error("keeper", "%s: the worker: %s", k->o->mount.mountpoint, m->text);
		else
			end(k, (int)m->number, m->text);
		return;
	case LINK_UPGRADE:
		if (!is_next)
			start_upgrade(k, m->text);
		return;
	default:
		return;
	}
}

static void take_messages(struct keeper *k, struct spawned *w)
{
	struct link_message m;
	pid_t pid = w->pid;
	int rc = 0;
	while (!k->over && w->pid == pid && (rc = link_receive(w->link, false, &m, NULL)) == 0)
		take_message(k, w, &m);
	/* Its death, which follows, says more. */
	if (w->pid == pid && rc < 0 && rc != -EAGAIN && w->link >= 0)
		close(steal_fd(&w->link));
}

static void next_died(struct keeper *k)
{
	char how[SPAWN_END_MAX], why[SPAWN_END_MAX + 64];
	bool killed;
	(void)spawn_reap(&k->next, &killed, how);
	snprintf(why, sizeof(why), "the worker ended before it was prepared (%s)", how);
	next_failed(k, CLI_FAILED, killed, why);
}

static void take_signal(struct keeper *k)
{
	struct signalfd_siginfo info;
	if (read(k->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info) || k->stopping)
		return;
	k->leaving = info.ssi_signo == KEEPER_LEAVE_SIGNAL && k->stored;
	if (k->leaving) {
		log_info("keeper", "%s: the mount stays, for the next process of this unit",
			 k->o->mount.mountpoint);
		k->over = true;
		return;
	}
	k->stopping = true;
	notify_send("STOPPING=1");
	(void)spawn_kill(&k->next);
	k->start_at = NEVER;
	if (k->current.pid == 0) {
		k->over = true;
		return;
	}
	(void)kill(k->current.pid, SIGTERM);
	k->kill_at = clock_ms() + KEEPER_STOP_MS;
}

/* When the one that was told to serve must have begun; NEVER: it has, or is dying. */
static int64_t ready_due(const struct keeper *k)
{
	bool waiting = k->current.pid != 0 && !k->is_ready && !k->current.killed && !k->stopping;
	return waiting ? k->current.started_ms + KEEPER_PREPARE_MS : NEVER;
}

static void take_times(struct keeper *k)
{
	int64_t now = clock_ms();
	if (now >= k->start_at && k->next.pid == 0)
		start_next(k);
	if (k->next.pid != 0 && now >= k->next.started_ms + KEEPER_PREPARE_MS)
		next_failed(k, CLI_FAILED, false, "a worker does not get prepared");
	if (k->current.pid != 0 && now >= ready_due(k)) {
		log_error("keeper", "%s: the worker does not begin to serve; it is replaced",
			  k->o->mount.mountpoint);
		kill_current(k);
	}
	if (now >= k->kill_at)
		k->over = true;
	if (now >= k->give_up_at && !k->stopping)
		end(k, CLI_FAILED, "no worker can serve the mount; it is given up");
}

/* The mount does not answer, though its worker lives: it is stuck. */
static void take_heartbeat(struct keeper *k)
{
	if (!k->is_ready || k->stopping) {
		heartbeat_stop(&k->heart);
		return;
	}
	if (heartbeat_look(&k->heart, k->o->mount.mountpoint, k->held.minor))
		return;
	log_error("keeper", "%s: no answer in %d s; the worker is replaced", k->o->mount.mountpoint,
		  HEARTBEAT_WAIT_MS / 1000);
	heartbeat_stop(&k->heart);
	kill_current(k);
}

/* The connection has ended, so the worker ends too, if it can. */
static void take_end(struct keeper *k)
{
	k->stopping = true;
	(void)spawn_kill(&k->next);
	k->start_at = k->give_up_at = NEVER;
	k->kill_at = k->kill_at == NEVER ? clock_ms() + KEEPER_END_MS : k->kill_at;
	k->over = k->over || k->current.pid == 0;
}

static int timeout_ms(const struct keeper *k)
{
	int64_t at = k->start_at;
	at = k->heart.next_at < at ? k->heart.next_at : at;
	at = k->give_up_at < at ? k->give_up_at : at;
	at = ready_due(k) < at ? ready_due(k) : at;
	at = k->kill_at < at ? k->kill_at : at;
	if (k->next.pid != 0 && k->next.started_ms + KEEPER_PREPARE_MS < at)
		at = k->next.started_ms + KEEPER_PREPARE_MS;
	if (at == NEVER)
		return -1;
	int64_t left = at - clock_ms();
	return left > 0 ? (int)left : 0;
}

/* It closes its end of the link before its children become ours, and only then can be reaped. */
static bool is_dying(const struct spawned *w)
{
	struct pollfd p = {.fd = w->link, .events = 0};
	return w->pid != 0 && (w->link < 0 || (poll(&p, 1, 0) > 0 && (p.revents & POLLHUP) != 0));
}

/* Helpers that a dead worker was waiting for. Those of one that is just dying must not be taken
 * for somebody else's. */
static void take_orphans(struct keeper *k)
{
	const pid_t ours[] = {k->current.pid, k->next.pid, k->heart.pid, k->heart.left};
	struct children now;
	if (k->orphans)
		spawn_end_orphans(&k->known, ours, ARRAY_LEN(ours));
	k->orphans = false;
	spawn_note_children(&now, ours, ARRAY_LEN(ours));
	if (!is_dying(&k->current) && !is_dying(&k->next))
		k->known = now;
}

static void step(struct keeper *k)
{
	/* Of the connection only its end is looked at, once. */
	struct pollfd p[] = {{.fd = k->signal_fd, .events = POLLIN},
			     {.fd = k->current.link, .events = POLLIN},
			     {.fd = k->next.link, .events = POLLIN},
			     {.fd = k->current.pidfd, .events = POLLIN},
			     {.fd = k->next.pidfd, .events = POLLIN},
			     {.fd = k->stopping ? -1 : k->held.fuse_fd, .events = 0},
			     {.fd = k->heart.pidfd, .events = POLLIN}};
	if (poll(p, ARRAY_LEN(p), timeout_ms(k)) < 0 && errno != EINTR) {
		end(k, CLI_FAILED, "the keeper cannot wait");
		return;
	}
	pid_t current = k->current.pid, next = k->next.pid;
	if (p[0].revents != 0)
		take_signal(k);
	/* What they had to say before they died. */
	if (p[1].revents != 0 && !k->over && k->current.pid == current)
		take_messages(k, &k->current);
	if (p[2].revents != 0 && !k->over && k->next.pid == next)
		take_messages(k, &k->next);
	if (p[3].revents != 0 && !k->over && k->current.pid == current)
		current_died(k);
	if (p[4].revents != 0 && !k->over && k->next.pid == next)
		next_died(k);
	if (p[5].revents != 0 && !k->over)
		take_end(k);
	if (!k->over) {
		take_heartbeat(k);
		take_times(k);
	}
	take_orphans(k);
}

int keeper_run(const struct keeper_options *o, struct err *err)
{
	struct keeper k = {.o = o,
			   .program = spawn_program("/proc/self/exe", err),
			   .old_program = -1,
			   .current = SPAWNED_NONE,
			   .next = SPAWNED_NONE,
			   .held = *o->held,
			   /* What came out of its keeping is in it still. */
			   .stored = o->held->fuse_fd >= 0,
			   .start_at = 0,
			   .give_up_at = NEVER,
			   .kill_at = NEVER,
			   .file = -1,
			   .heart = HEARTBEAT_NONE,
			   .status = CLI_DONE,
			   .err = err};
	sigset_t set;
	stop_signals(&set);
	sigaddset(&set, KEEPER_LEAVE_SIGNAL);
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL);
	k.signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (k.program < 0)
		return CLI_FAILED;
	if (k.signal_fd < 0)
		end(&k, CLI_FAILED, "cannot watch for signals");
	spawn_note_children(&k.known, NULL, 0);
	spawn_adopt_orphans();
	spawn_protect();
	if (k.held.fuse_fd >= 0)
		k.generation = *handover_generation(k.held.handover);
	while (!k.over)
		step(&k);
	heartbeat_stop(&k.heart);
	bool dead = spawn_kill(&k.next);
	dead = spawn_kill(&k.current) && dead;
	k.orphans = true;
	take_orphans(&k);
	spawn_note_children(&k.known, NULL, 0);
	/* One that waits for a disk, or for pages (fs/page_drop.h), holds the connection, and would
	 * keep it open. */
	if ((!dead || k.known.n > 0) && !k.leaving)
		held_abort(&k.held, o->mount.mountpoint);
	keeper_file_remove(k.held.minor, steal_fd(&k.file));
	bool gone = !k.leaving && held_unmount(&k.held, o->mount.mountpoint);
	if (gone && k.stored)
		fdstore_forget();
	if (k.status == CLI_DONE && !gone && !k.leaving)
		k.status = CLI_FAILED;
	if (gone && k.was_ready)
		log_info("mount", "%s is unmounted", o->mount.mountpoint);
	held_release(&k.held);
	auto_close_(&k.signal_fd);
	auto_close_(&k.program);
	auto_close_(&k.old_program);
	return k.status;
}
