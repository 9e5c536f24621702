/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/flight.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "cache/store.h"
#include "fs/flight_impl.h"
#include "fs/pool.h"
#include "fs/signals.h"

/* Who was taken out of its flight, and what it is to be told. */
struct release {
	struct waiter *waiter;
	int code;
	struct err err;
};

int flights_new(const struct flights_options *o, struct flights **ret)
{
	struct flights *f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->o = *o;
	lock_init(&f->lock);
	cond_init(&f->wake);
	TAILQ_INIT(&f->watched);
	TAILQ_INIT(&f->hit);
	f->next_serial = 1;
	*ret = f;
	return 0;
}

static struct flight *flight_new(struct flights *f, const struct want *want, const char *repo)
{
	struct flight *fl = calloc(1, sizeof(*fl));
	if (!fl)
		return NULL;
	fl->want = *want;
	fl->flights = f;
	strncat(fl->repo, repo, sizeof(fl->repo) - 1);
	memcpy(fl->repo_again, fl->repo, sizeof(fl->repo));
	fl->started_ms = clock_ms();
	call_init(&fl->call, fl->started_ms + f->o.timeout_ms);
	TAILQ_INIT(&fl->waiters);
	return fl;
}

static void flight_free(struct flight *fl)
{
	call_release(&fl->call);
	free(fl);
}

static void cancel(struct flight *fl)
{
	fl->cancelled = true;
	call_cancel(&fl->call);
}

/* True: it was the last one, and the flight has a job to be cancelled. */
static bool leave(struct flights *f, struct waiter *w) REQUIRES(f->lock)
{
	struct flight *fl = w->flight;
	TAILQ_REMOVE(&fl->waiters, w, in_flight);
	w->flight = NULL;
	f->parked--;
	f->unheard -= w->unheard;
	if (!TAILQ_EMPTY(&fl->waiters) || !fl->told)
		return TAILQ_EMPTY(&fl->waiters);
	HASH_DEL(f->table, fl);
	flight_free(fl);
	return false;
}

/* Everybody was given up, and then somebody came: once more from the start. */
static bool wanted_again(struct flights *f, struct flight *fl, int code) REQUIRES(f->lock)
{
	if (code != -ECANCELED || f->stopping || fl->refused || TAILQ_EMPTY(&fl->waiters))
		return false;
	call_release(&fl->call);
	fl->started_ms = clock_ms();
	call_init(&fl->call, fl->started_ms + f->o.timeout_ms);
	fl->begun_ms = fl->started_ms;
	atomic_store(&fl->progress, 0);
	atomic_store(&fl->busy, false);
	fl->cancelled = false;
	memcpy(fl->repo, fl->repo_again, sizeof(fl->repo));
	return true;
}

/* Jobs take turns: as long as those under way bring something, or are at work on the
 * disk, the others are not kept waiting by silence. */
static void note_movement(struct flights *f, int64_t now) REQUIRES(f->lock)
{
	uint64_t movement = f->ended;
	for (const struct flight *fl = f->table; fl; fl = fl->hh.next) {
		uint64_t progress = fl->told ? 0 : atomic_load(&fl->progress);
		movement += progress;
		if (fl->want.local && progress > 0)
			f->moved_ms = now;
	}
	if (movement != f->movement)
		f->moved_ms = now;
	f->movement = movement;
}

/* Jobs that carry bytes, and not just answers, take their time. */
static bool carries(enum want_kind kind)
{
	return kind == WANT_BLOB || kind == WANT_ROOTFS || kind == WANT_LAYER ||
	       kind == WANT_MEMBER;
}

/* How long who wants it has patience, if it waited for its turn while others moved:
 * not for ever, since others may move as slowly as they like. */
static int64_t patience(const struct flights *f, const struct flight *fl) REQUIRES(f->lock)
{
	if (!carries(fl->want.kind))
		return 0;
	if (fl->begun)
		return fl->patience_ms;
	int64_t most = fl->started_ms + FLIGHT_TURNS * f->o.timeout_ms;
	int64_t moving = f->moved_ms + f->o.timeout_ms;
	return moving < most ? moving : most;
}

static void begin(struct flights *f, struct flight *fl)
{
	lock_take(&f->lock);
	note_movement(f, clock_ms());
	fl->patience_ms = patience(f, fl);
	fl->begun = true;
	fl->begun_ms = clock_ms();
	if (fl->call.deadline_ms < fl->patience_ms && !TAILQ_EMPTY(&fl->waiters))
		fl->call.deadline_ms = fl->patience_ms;
	lock_drop(&f->lock);
}

static void take_all(struct flights *f, struct flight *fl, struct waiter_list *ret)
    REQUIRES(f->lock)
{
	while (!TAILQ_EMPTY(&fl->waiters)) {
		struct waiter *w = TAILQ_FIRST(&fl->waiters);
		(void)leave(f, w);
		TAILQ_INSERT_TAIL(ret, w, in_flight);
	}
}

static void resume_all(struct waiter_list *waiters, int code, const struct err *err,
		       struct blob *blob, uint64_t brought)
{
	while (!TAILQ_EMPTY(waiters)) {
		struct waiter *w = TAILQ_FIRST(waiters);
		TAILQ_REMOVE(waiters, w, in_flight);
		w->brought = brought;
		w->resume(w, code, err, blob);
	}
}

static void flight_run(void *arg)
{
	struct flight *fl = arg;
	struct flights *f = fl->flights;
	struct flight_job job = {&fl->want,     fl->repo,  &fl->call,
				 &fl->progress, &fl->busy, &fl->have};
	struct waiter_list waiters = TAILQ_HEAD_INITIALIZER(waiters);
	struct err err;
	struct blob *blob;
	int code;
	bool again;
	begin(f, fl);
	do {
		err.text[0] = '\0';
		blob = NULL;
		code = fl->refused ? err_set(&err, fl->refused, "no thread for it")
				   : call_check(&fl->call, &err);
		if (!code)
			code = f->o.run(f->o.ctx, &job, &blob, &err);
		lock_take(&f->lock);
		again = wanted_again(f, fl, code);
		if (!again) {
			HASH_DEL(f->table, fl);
			f->ended++;
			take_all(f, fl, &waiters);
		}
		lock_drop(&f->lock);
	} while (again);
	resume_all(&waiters, code, &err, blob, atomic_load(&fl->progress));
	blob_unref(blob);
	flight_free(fl);
}

/* Finds or makes the flight. A new one is in *ret_new and must be submitted
 * after the lock is dropped. */
static struct flight *find_or_make(struct flights *f, const struct want *want, const char *repo,
				   struct flight **ret_new) REQUIRES(f->lock)
{
	struct flight *fl;
	HASH_FIND(hh, f->table, want, sizeof(*want), fl);
	if (fl)
		return fl;
	fl = flight_new(f, want, repo);
	if (!fl)
		return NULL;
	HASH_ADD(hh, f->table, want, sizeof(fl->want), fl);
	if (!fl->hh.tbl) {
		flight_free(fl);
		return NULL;
	}
	*ret_new = fl;
	return fl;
}

/* A pool that cannot take the job: the flight fails, and nothing of it is done
 * here, where nobody may wait. */
static void submit(struct flight *fl, struct pool *pool)
{
	if (!fl)
		return;
	int r = pool_submit(pool, flight_run, fl);
	if (!r)
		return;
	fl->refused = r == -ENOMEM ? r : -EIO;
	flight_run(fl);
}

int flight_park(struct flights *f, const struct want *want, const char *repo, struct pool *pool,
		struct waiter *w)
{
	struct flight *fresh = NULL;
	int r = 0;
	lock_take(&f->lock);
	struct flight *fl = f->stopping ? NULL : find_or_make(f, want, repo, &fresh);
	if (!fl) {
		r = f->stopping ? -ECANCELED : -ENOMEM;
	} else if (w->soft_ms > 0 && clock_ms() >= fl->started_ms + w->soft_ms) {
		r = FLIGHT_SLOW;
	} else {
		if (!pool && fresh) {
			fl->told = true;
			atomic_store(&fl->progress, 1);
		}
		TAILQ_INSERT_TAIL(&fl->waiters, w, in_flight);
		w->flight = fl;
		w->seen = atomic_load(&fl->progress);
		w->look_ms = clock_ms() + w->pace_ms;
		f->parked++;
		f->unheard += w->unheard;
		/* Interrupted before it was parked: the kernel does not say it twice. */
		f->interrupts |= w->interrupted;
		cond_signal(&f->wake);
	}
	lock_drop(&f->lock);
	if (pool)
		submit(fresh, pool);
	return r;
}

void flight_tell(struct flights *f, const struct want *want, int code, const struct err *err)
{
	struct waiter_list waiters = TAILQ_HEAD_INITIALIZER(waiters);
	lock_take(&f->lock);
	struct flight *fl;
	HASH_FIND(hh, f->table, want, sizeof(*want), fl);
	struct waiter *w = fl && fl->told ? TAILQ_FIRST(&fl->waiters) : NULL;
	while (w) {
		struct waiter *next = TAILQ_NEXT(w, in_flight);
		(void)leave(f, w); /* with the last one the flight goes */
		TAILQ_INSERT_TAIL(&waiters, w, in_flight);
		w = next;
	}
	lock_drop(&f->lock);
	resume_all(&waiters, code, err, NULL, 0);
}

void flight_start(struct flights *f, const struct want *want, const char *repo, struct pool *pool)
{
	struct flight *fresh = NULL;
	lock_take(&f->lock);
	if (!f->stopping)
		(void)find_or_make(f, want, repo, &fresh);
	lock_drop(&f->lock);
	submit(fresh, pool);
}

/* What the cache has is no flight of these. */
static struct flight *find(struct flights *f, const struct want *want) REQUIRES(f->lock)
{
	struct flight *fl;
	HASH_FIND(hh, f->table, want, sizeof(*want), fl);
	return fl;
}

void flight_leave(struct flights *f, const struct want *want, bool others, const char *repo)
{
	struct waiter_list waiters = TAILQ_HEAD_INITIALIZER(waiters);
	struct err none = {""};
	lock_take(&f->lock);
	struct flight *fl = find(f, want);
	if (fl && others)
		take_all(f, fl, &waiters);
	if (fl && TAILQ_EMPTY(&fl->waiters)) {
		cancel(fl);
		if (repo)
			snprintf(fl->repo_again, sizeof(fl->repo_again), "%s", repo);
	}
	lock_drop(&f->lock);
	resume_all(&waiters, FLIGHT_MOVED, &none, NULL, 0);
}

bool flight_is_under_way(struct flights *f, const struct want *want, char repo[REPOSITORY_MAX])
{
	lock_take(&f->lock);
	const struct flight *fl = find(f, want);
	bool under_way = fl && !fl->cancelled;
	if (under_way && repo)
		memcpy(repo, fl->repo, sizeof(fl->repo));
	lock_drop(&f->lock);
	return under_way;
}

uint64_t flight_progress(struct flights *f, const struct want *want)
{
	lock_take(&f->lock);
	struct flight *fl = find(f, want);
	uint64_t progress = fl ? atomic_load(&fl->progress) : 0;
	lock_drop(&f->lock);
	return progress;
}

void waiter_watch(struct flights *f, struct waiter *w)
{
	lock_take(&f->lock);
	w->serial = f->next_serial++;
	w->interrupted = false;
	w->flight = NULL;
	TAILQ_INSERT_TAIL(&f->watched, w, watched);
	lock_drop(&f->lock);
}

void waiter_unwatch(struct flights *f, struct waiter *w)
{
	lock_take(&f->lock);
	TAILQ_REMOVE(&f->watched, w, watched);
	if (w->interrupted)
		TAILQ_REMOVE(&f->hit, w, hit);
	lock_drop(&f->lock);
}

bool waiter_leave(struct flights *f, struct waiter *w)
{
	lock_take(&f->lock);
	struct flight *fl = w->flight;
	if (fl && leave(f, w))
		cancel(fl);
	lock_drop(&f->lock);
	return fl != NULL;
}

/* In the order of serials, by which they are looked at in turn. */
static void add_hit(struct flights *f, struct waiter *w) REQUIRES(f->lock)
{
	struct waiter *at = TAILQ_LAST(&f->hit, waiter_list);
	while (at && at->serial > w->serial)
		at = TAILQ_PREV(at, waiter_list, hit);
	if (at)
		TAILQ_INSERT_AFTER(&f->hit, at, w, hit);
	else
		TAILQ_INSERT_HEAD(&f->hit, w, hit);
}

void waiter_interrupt(struct flights *f, uint64_t serial)
{
	struct waiter *w;
	lock_take(&f->lock);
	TAILQ_FOREACH (w, &f->watched, watched) {
		if (w->serial != serial)
			continue;
		if (!w->interrupted)
			add_hit(f, w);
		w->interrupted = true;
		f->interrupts = true;
		cond_signal(&f->wake);
		break;
	}
	lock_drop(&f->lock);
}

/* When this waiter must be resumed for time's sake, and with what. */
static int64_t due(const struct flights *f, const struct waiter *w, int *ret_code) REQUIRES(f->lock)
{
	const struct flight *fl = w->flight;
	int64_t slow = w->soft_ms > 0 ? fl->started_ms + w->soft_ms : INT64_MAX;
	int64_t late = w->deadline_ms;
	int64_t look = w->pace_ms > 0 && !fl->want.local ? w->look_ms : INT64_MAX;
	if (!w->strict && (atomic_load(&fl->progress) > 0 || atomic_load(&fl->busy)))
		late = INT64_MAX;
	else if (!w->strict && !w->impatient && late < patience(f, fl))
		late = patience(f, fl);
	if (look < slow && look < late) {
		bool silent = atomic_load(&fl->progress) == w->seen;
		*ret_code = !fl->begun ? FLIGHT_QUEUED : silent ? FLIGHT_SILENT : FLIGHT_CRAWLS;
		return look;
	}
	*ret_code = slow <= late ? FLIGHT_SLOW : -ETIMEDOUT;
	return slow <= late ? slow : late;
}

/* Its time to be looked at has come, and all is well: not before the next one. */
static void look_at_pace(struct waiter *w, int64_t now)
{
	const struct flight *fl = w->flight;
	if (w->pace_ms <= 0 || now < w->look_ms)
		return;
	uint64_t progress = atomic_load(&fl->progress);
	uint64_t due = FLIGHT_PACE_BYTES_S * (uint64_t)w->pace_ms / 1000;
	if (!atomic_load(&fl->busy) && progress - w->seen < due)
		return;
	w->seen = progress;
	w->look_ms = now + w->pace_ms;
}

/* What a waiter is told whose time has come. */
static void late(struct flight *fl, struct release *ret)
{
	char what[ERR_TEXT_MAX];
	if (ret->code > 0)
		return;
	int said = call_said(&fl->call, &ret->err);
	if (said) {
		ret->code = said;
		return;
	}
	want_describe(&fl->want, fl->flights->o.title, fl->repo, what, sizeof(what));
	if (fl->want.local) {
		(void)err_set(
		    &ret->err, ret->code,
		    "%s: this machine is at work on it for %.1f s, and goes on; try again "
		    "(--timeout allows more)",
		    what, (double)(clock_ms() - fl->started_ms) / 1000.0);
		return;
	}
	(void)err_set(&ret->err, ret->code, "%s: no answer in %.1f s (--timeout allows more)", what,
		      (double)(clock_ms() - fl->started_ms) / 1000.0);
}

/* Takes one waiter whose time has come out of its flight; *ret_next is when to
 * look again. */
static struct release next_due(struct flights *f, int64_t now, int64_t *ret_next) REQUIRES(f->lock)
{
	struct waiter *w;
	*ret_next = INT64_MAX;
	note_movement(f, now);
	TAILQ_FOREACH (w, &f->watched, watched) {
		if (!w->flight)
			continue;
		int code;
		look_at_pace(w, now);
		int64_t at = due(f, w, &code);
		if (at <= now) {
			struct release rel = {.waiter = w, .code = code};
			late(w->flight, &rel);
			(void)leave(f, w);
			return rel;
		}
		if (at < *ret_next)
			*ret_next = at;
	}
	return (struct release){0};
}

struct interrupted {
	uint64_t serial;
	pid_t tid;
};

/* Serials and threads of the parked waiters that were interrupted, from
 * `after` on; at most n. */
static size_t interrupted_after(struct flights *f, uint64_t after, struct interrupted *v, size_t n)
    REQUIRES(f->lock)
{
	struct waiter *w;
	size_t found = 0;
	TAILQ_FOREACH (w, &f->hit, hit) {
		if (w->flight && w->serial > after && found < n)
			v[found++] = (struct interrupted){w->serial, w->tid};
	}
	return found;
}

/* The same of those that are unheard. */
static size_t unheard_after(struct flights *f, uint64_t after, struct interrupted *v, size_t n)
    REQUIRES(f->lock)
{
	struct waiter *w;
	size_t found = 0;
	TAILQ_FOREACH (w, &f->watched, watched) {
		if (w->unheard && w->flight && w->serial > after && found < n)
			v[found++] = (struct interrupted){w->serial, w->tid};
	}
	return found;
}

static struct waiter *find_waiter(struct flights *f, uint64_t serial, bool unheard)
    REQUIRES(f->lock)
{
	struct waiter *w = unheard ? TAILQ_FIRST(&f->watched) : TAILQ_FIRST(&f->hit);
	while (w && w->serial != serial)
		w = unheard ? TAILQ_NEXT(w, watched) : TAILQ_NEXT(w, hit);
	return w;
}

/* Out of its flight if it is still parked; the last one given up cancels it. */
static struct waiter *give_up(struct flights *f, uint64_t serial, bool unheard) REQUIRES(f->lock)
{
	struct waiter *w = find_waiter(f, serial, unheard);
	struct flight *fl = w ? w->flight : NULL;
	if (!fl)
		return NULL;
	if (leave(f, w))
		cancel(fl);
	return w;
}

static void resume(struct waiter *w, int code, const char *text)
{
	struct err err;
	err_set(&err, code, "%s", text);
	w->resume(w, code, &err, NULL);
}

/* Looks at the callers of waiters: of interrupted ones, or of those that are unheard. True if some
 * stay parked. */
static bool look_at_callers(struct flights *f, bool unheard)
{
	struct interrupted batch[64];
	uint64_t after = 0;
	bool some_stay = false;
	for (;;) {
		lock_take(&f->lock);
		size_t n = unheard ? unheard_after(f, after, batch, ARRAY_LEN(batch))
				   : interrupted_after(f, after, batch, ARRAY_LEN(batch));
		lock_drop(&f->lock);
		for (size_t i = 0; i < n; i++) {
			after = batch[i].serial;
			if (!(unheard ? signals_thread_is_gone
				      : signals_thread_let_go)(batch[i].tid)) {
				some_stay = true;
				continue;
			}
			lock_take(&f->lock);
			struct waiter *w = give_up(f, batch[i].serial, unheard);
			lock_drop(&f->lock);
			if (w)
				resume(w, -EINTR, "given up by its caller");
		}
		if (n < ARRAY_LEN(batch))
			return some_stay;
	}
}

static void *watch_thread(void *arg)
{
	struct flights *f = arg;
	bool some_stay = false;
	int64_t look_at = 0, unheard_at = 0;
	lock_take(&f->lock);
	while (!f->stopping) {
		int64_t now = clock_ms(), next;
		if (f->interrupts || (some_stay && now >= look_at)) {
			f->interrupts = false;
			lock_drop(&f->lock);
			some_stay = look_at_callers(f, false);
			look_at = clock_ms() + WATCH_MS;
			lock_take(&f->lock);
			continue;
		}
		if (f->unheard > 0 && now >= unheard_at) {
			lock_drop(&f->lock);
			(void)look_at_callers(f, true);
			unheard_at = clock_ms() + UNHEARD_MS;
			lock_take(&f->lock);
			continue;
		}
		struct release rel = next_due(f, now, &next);
		if (rel.waiter) {
			lock_drop(&f->lock);
			rel.waiter->resume(rel.waiter, rel.code, &rel.err, NULL);
			lock_take(&f->lock);
			continue;
		}
		if (some_stay && look_at < next)
			next = look_at;
		if (f->unheard > 0 && unheard_at < next)
			next = unheard_at;
		if (next == INT64_MAX)
			cond_wait(&f->wake, &f->lock);
		else
			(void)cond_wait_until(&f->wake, &f->lock, next);
	}
	lock_drop(&f->lock);
	return NULL;
}

int flights_start(struct flights *f)
{
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int r = pthread_create(&f->watch, NULL, watch_thread, f);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r)
		return -r;
	pthread_setname_np(f->watch, "watch");
	f->started = true;
	return 0;
}

void flights_stop(struct flights *f)
{
	lock_take(&f->lock);
	f->stopping = true;
	cond_signal(&f->wake);
	struct flight *fl, *tmp;
	HASH_ITER(hh, f->table, fl, tmp)
	cancel(fl);
	for (;;) {
		struct waiter *w;
		TAILQ_FOREACH (w, &f->watched, watched) {
			if (w->flight)
				break;
		}
		if (!w)
			break;
		(void)leave(f, w);
		lock_drop(&f->lock);
		resume(w, -ECANCELED, "the file system is being unmounted");
		lock_take(&f->lock);
	}
	lock_drop(&f->lock);
	if (f->started)
		pthread_join(f->watch, NULL);
	f->started = false;
}

void flights_free(struct flights *f)
{
	if (!f)
		return;
	ASSERT(f->table == NULL);
	cond_release(&f->wake);
	lock_release(&f->lock);
	free(f);
}
