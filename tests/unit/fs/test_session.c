/* SPDX-License-Identifier: Apache-2.0 */
/* fs/session.h and fs/mount.h on the real kernel: a file system of four nodes,
 * driven by plain system calls. Skipped where mounting is not possible. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/lock.h"
#include "cache/store.h"
#include "fs/backing.h"
#include "fs/fuse_uapi.h"
#include "fs/handover.h"
#include "fs/init.h"
#include "fs/mount.h"
#include "fs/nodes.h"
#include "fs/session.h"

#define PARKED_MAX 64
#define FILE_LEN   ((size_t)3 << 20)
#define WAIT_MS    20000

enum { ROOT = 1, FILE_ORDINARY, FILE_PASSTHROUGH, LATE_DIR };

/* In the place of cache/'s: a file without a store. */
struct blob {
	int fd;
	atomic_int refs;
};

int blob_fd(const struct blob *b)
{
	return b->fd;
}

const struct digest *blob_digest(const struct blob *b)
{
	static const struct digest d = {.alg = DIGEST_SHA256, .len = 32, .bytes = {5}};

	(void)b;
	return &d;
}

struct blob *blob_ref(struct blob *b)
{
	atomic_fetch_add(&b->refs, 1);
	return b;
}

void blob_unref(struct blob *b)
{
	if (b)
		atomic_fetch_sub(&b->refs, 1);
}

struct world {
	char dir[64];
	struct session *session;
	struct handover *handover;
	pthread_t thread;
	bool running;
	int run_result;
	int ready_fd;
	int content_fd;
	atomic_uint reads;
	struct nodes *nodes;
	struct blob blob;
	uint64_t backed_node; /* in `nodes`: the passthrough file's */
	atomic_uint forgets;

	struct lock mu;
	struct backing_table *backing; /* guarded by mu; set after the fields above */
	struct cond cond;
	unsigned released;             /* guarded by mu: RELEASEs */
	fuse_req_t parked[PARKED_MAX]; /* guarded by mu */
	size_t parked_count;           /* guarded by mu */
};

static struct world *world_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static struct backing_table *backing_of(struct world *w)
{
	struct backing_table *t;

	lock_take(&w->mu);
	t = w->backing;
	lock_drop(&w->mu);
	return t;
}

static bool attr_of(fuse_ino_t ino, struct stat *st)
{
	memset(st, 0, sizeof(*st));
	st->st_ino = ino;
	st->st_nlink = 1;
	st->st_mode = ino == ROOT || ino == LATE_DIR ? S_IFDIR | 0555 : S_IFREG | 0444;
	if (S_ISREG(st->st_mode))
		st->st_size = (off_t)FILE_LEN;
	return ino >= ROOT && ino <= LATE_DIR;
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	static const char *const names[] = {
	    [FILE_ORDINARY] = "ordinary", [FILE_PASSTHROUGH] = "passthrough", [LATE_DIR] = "late"};
	struct fuse_entry_param e = {.entry_timeout = 3600, .attr_timeout = 3600};
	struct world *w = world_of(req);

	if (parent == LATE_DIR && strncmp(name, "wait", 4) == 0) {
		lock_take(&w->mu);
		w->parked[w->parked_count++] = req;
		cond_broadcast(&w->cond);
		lock_drop(&w->mu);
		return;
	}
	for (fuse_ino_t i = FILE_ORDINARY; parent == ROOT && i <= LATE_DIR; i++)
		if (strcmp(names[i], name) == 0)
			e.ino = i;
	if (e.ino != 0 && attr_of(e.ino, &e.attr))
		fuse_reply_entry(req, &e);
	else
		fuse_reply_err(req, ENOENT);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;

	(void)fi;
	if (attr_of(ino, &st))
		fuse_reply_attr(req, &st, 3600);
	else
		fuse_reply_err(req, ESTALE);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		       struct fuse_file_info *fi)
{
	char buf[128];
	struct stat st = {.st_ino = 9, .st_mode = S_IFREG};

	(void)ino;
	(void)fi;
	size_t len = fuse_add_direntry(req, buf, sizeof(buf), "ordinary", &st, 1);
	fuse_reply_buf(req, buf, off == 0 && len <= size ? len : 0);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct world *w = world_of(req);
	struct backing_table *backing = backing_of(w);

	if (ino == FILE_PASSTHROUGH && backing) {
		struct backing_open open;

		backing_get(backing, w->backed_node, session_unique(), FILE_LEN, &w->blob, 0,
			    &open);
		blob_unref(open.blob);
		struct uapi_open_out out = {.fh = open.fh,
					    .open_flags = UAPI_FOPEN_PASSTHROUGH,
					    .backing_id = open.backing_id};
		if (open.backing_id > 0) {
			fuse_reply_buf(req, (const char *)&out, sizeof(out));
			return;
		}
	}
	fi->keep_cache = 1;
	fuse_reply_open(req, fi);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	struct fuse_bufvec buf = FUSE_BUFVEC_INIT(size);

	(void)ino;
	(void)fi;
	atomic_fetch_add(&world_of(req)->reads, 1);
	buf.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
	buf.buf[0].fd = world_of(req)->content_fd;
	buf.buf[0].pos = off;
	fuse_reply_data(req, &buf, 0);
}

static void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct world *w = world_of(req);
	struct backing_table *backing = backing_of(w);

	if (ino == FILE_PASSTHROUGH && backing)
		backing_put(backing, fi->fh);
	lock_take(&w->mu);
	w->released++;
	cond_broadcast(&w->cond);
	lock_drop(&w->mu);
	fuse_reply_err(req, 0);
}

static const struct fuse_lowlevel_ops ops = {
    .lookup = op_lookup,
    .getattr = op_getattr,
    .readdir = op_readdir,
    .open = op_open,
    .read = op_read,
    .release = op_release,
};

static void on_ready(void *userdata)
{
	struct world *w = userdata;
	uint64_t one = 1;

	assert_int_equal(write(w->ready_fd, &one, sizeof(one)), sizeof(one));
}

static void on_forget(void *userdata, uint64_t ino, uint64_t count)
{
	struct world *w = userdata;
	(void)ino;
	atomic_fetch_add(&w->forgets, (unsigned)count);
}

static void *run(void *arg)
{
	struct world *w = arg;
	uint64_t one = 1;
	struct err err;

	w->run_result = session_run(w->session, &err);
	/* Whoever waits for `ready` learns that it will not come. */
	assert_int_equal(write(w->ready_fd, &one, sizeof(one)), sizeof(one));
	return NULL;
}

static unsigned char content_byte(size_t i)
{
	return (unsigned char)(i * 31 + (i >> 12));
}

static int content_open(void)
{
	char path[] = "/tmp/wasmocifs-test-content-XXXXXX";
	int fd = mkstemp(path);
	unsigned char *bytes = malloc(FILE_LEN);

	assert_true(fd >= 0);
	assert_non_null(bytes);
	(void)unlink(path);
	for (size_t i = 0; i < FILE_LEN; i++)
		bytes[i] = content_byte(i);
	assert_int_equal(write(fd, bytes, FILE_LEN), FILE_LEN);
	free(bytes);
	return fd;
}

static void wait_for(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	assert_int_equal(poll(&p, 1, WAIT_MS), 1);
}

static void answer_parked(struct world *w)
{
	lock_take(&w->mu);
	size_t n = w->parked_count;
	w->parked_count = 0;
	lock_drop(&w->mu);
	for (size_t i = 0; i < n; i++)
		fuse_reply_err(w->parked[i], ENOENT);
}

static int start(struct world *w, bool no_passthrough)
{
	struct mount_options mo = {
	    .mountpoint = w->dir, .source = "a,b c\\d", .allow_other = false};
	struct session_options so = {
	    .ops = &ops, .userdata = w, .ready = on_ready, .forget = on_forget};
	struct err err;
	int r = mount_open(&mo, &so.fd, &err);

	if (r < 0) {
		printf("# skipped: %s\n", err.text);
		return r;
	}
	if (!w->handover)
		assert_int_equal(handover_new(&w->handover, &err), 0);
	so.handover = w->handover;
	assert_int_equal(init_serve(so.fd, no_passthrough, handover_init(w->handover), &err), 0);
	assert_int_equal(session_new(&so, &w->session, &err), 0);
	assert_int_equal(pthread_create(&w->thread, NULL, run, w), 0);
	w->running = true;
	wait_for(w->ready_fd);
	return 0;
}

static void join(struct world *w)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += WAIT_MS / 1000;
	assert_int_equal(pthread_timedjoin_np(w->thread, NULL, &until), 0);
	w->running = false;
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	lock_init(&w->mu);
	cond_init(&w->cond);
	(void)snprintf(w->dir, sizeof(w->dir), "/tmp/wasmocifs test XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	w->ready_fd = eventfd(0, EFD_CLOEXEC);
	w->content_fd = content_open();
	*state = w;
	return 0;
}

/* Also after a failure: whatever was mounted goes. */
static int teardown(void **state)
{
	struct world *w = *state;

	answer_parked(w);
	if (w->session)
		session_stop(w->session);
	if (w->running)
		pthread_join(w->thread, NULL);
	backing_free(w->backing);
	nodes_free(w->nodes);
	session_free(w->session);
	handover_free(w->handover);
	(void)umount2(w->dir, MNT_DETACH);
	assert_int_equal(rmdir(w->dir), 0);
	close(w->ready_fd);
	close(w->content_fd);
	cond_release(&w->cond);
	lock_release(&w->mu);
	free(w);
	return 0;
}

#define START_OR_SKIP(w, no_passthrough)                                                           \
	do {                                                                                       \
		if (start(w, no_passthrough) < 0)                                                  \
			skip();                                                                    \
	} while (0)

static void path_of(const struct world *w, const char *name, char ret[160])
{
	(void)snprintf(ret, 160, "%s/%s", w->dir, name);
}

static void check_content(const char *path, bool mapped)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	unsigned char *bytes = malloc(FILE_LEN);

	assert_true(fd >= 0);
	assert_non_null(bytes);
	size_t have = 0;
	for (ssize_t n; (n = read(fd, bytes + have, FILE_LEN - have)) > 0;)
		have += (size_t)n;
	assert_int_equal(have, FILE_LEN);
	for (size_t i = 0; i < FILE_LEN; i++)
		if (bytes[i] != content_byte(i))
			fail_msg("byte %zu of %s is wrong", i, path);
	free(bytes);
	if (mapped) {
		const unsigned char *map = mmap(NULL, FILE_LEN, PROT_READ, MAP_SHARED, fd, 0);
		assert_ptr_not_equal(map, MAP_FAILED);
		for (size_t i = 0; i < FILE_LEN; i += 4096)
			assert_int_equal(map[i], content_byte(i));
		munmap((void *)(uintptr_t)map, FILE_LEN);
	}
	close(fd);
}

static void test_features(void **state)
{
	struct world *w = *state;
	struct init_features f;
	struct handover_init init;
	struct fuse_init_in in;
	struct uapi_init_out out;

	START_OR_SKIP(w, false);
	init = *handover_init(w->handover);
	init_features(&init, &f);
	assert_int_equal(f.proto_major, FUSE_KERNEL_VERSION);
	assert_true(f.proto_minor >= 31);
	assert_int_equal(f.max_background, 4096);
	assert_true(f.max_readahead > 0 && f.max_readahead <= 1u << 20);

	assert_true(init.request_len >= sizeof(struct fuse_in_header) + sizeof(in));
	assert_int_equal(init.reply_len, sizeof(struct fuse_out_header) + sizeof(out));
	memcpy(&in, init.request + sizeof(struct fuse_in_header), sizeof(in));
	memcpy(&out, init.reply + sizeof(struct fuse_out_header), sizeof(out));
	assert_int_equal(f.parallel_dirops, (in.flags & FUSE_PARALLEL_DIROPS) != 0);
	assert_int_equal(f.init_ext, (in.flags & FUSE_INIT_EXT) != 0);
	assert_int_equal(out.flags & ~in.flags, 0);
	assert_int_equal(out.flags2 & ~in.flags2, 0);
	assert_int_equal(out.flags & (FUSE_AUTO_INVAL_DATA | FUSE_CACHE_SYMLINKS |
				      FUSE_DO_READDIRPLUS | FUSE_WRITEBACK_CACHE),
			 0);
	assert_true((out.flags & FUSE_ASYNC_READ) != 0);
	assert_int_equal(out.congestion_threshold, 3072);
	assert_true(out.max_pages >= 32);
	assert_int_equal(out.max_stack_depth, f.passthrough ? 1 : 0);
}

static void test_ordinary_open(void **state)
{
	struct world *w = *state;
	char path[160];
	struct stat st;

	START_OR_SKIP(w, false);
	path_of(w, "ordinary", path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0444);
	check_content(path, true);
	path_of(w, "nothing", path);
	assert_int_equal(open(path, O_RDONLY | O_CLOEXEC), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(mkdir(path, 0755), -1);
	assert_int_equal(errno, EROFS);
}

static void start_backing(struct world *w)
{
	struct digest d = {.alg = DIGEST_SHA256, .len = 32, .bytes = {1}};
	struct node_key key = {.kind = NODE_CONTENT, .digest = &d, .size = FILE_LEN};
	struct init_features f;
	struct node node;

	init_features(handover_init(w->handover), &f);
	assert_int_equal(nodes_new(&w->nodes, NULL), 0);
	assert_int_equal(node_get(w->nodes, &key, 0, &node), 0);
	w->backed_node = node.id;
	w->blob.fd = w->content_fd;
	struct backing_table *t;
	assert_int_equal(backing_new(session_fd(w->session), f.passthrough, w->nodes, &t), 0);
	lock_take(&w->mu);
	w->backing = t;
	lock_drop(&w->mu);
}

static void wait_for_releases(struct world *w, unsigned n)
{
	int64_t deadline = clock_ms() + WAIT_MS;

	lock_take(&w->mu);
	while (w->released < n && cond_wait_until(&w->cond, &w->mu, deadline))
		;
	bool enough = w->released >= n;
	lock_drop(&w->mu);
	assert_true(enough);
}

/* As root on a kernel that has it, in passthrough; else in the ordinary way. */
static void test_backed_open(void **state)
{
	struct world *w = *state;
	char path[160];

	START_OR_SKIP(w, false);
	start_backing(w);
	path_of(w, "passthrough", path);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(atomic_load(&w->blob.refs), 1);
	check_content(path, true); /* a second open beside it */
	printf("# passthrough is %s\n", backing_enabled(backing_of(w)) ? "used" : "not to be had");
	if (backing_enabled(backing_of(w)))
		assert_int_equal(w->reads, 0);
	else
		assert_true(w->reads > 0);
	close(fd);
	wait_for_releases(w, 2);
	assert_int_equal(atomic_load(&w->blob.refs), 0);
	check_content(path, false);
}

/* In passthrough a mapping is the cache file's, and RELEASE comes with the
 * close; in the ordinary way it comes with munmap. Opens beside it work. */
static void test_mapping_outlives_its_fd(void **state)
{
	struct world *w = *state;
	char path[160];

	START_OR_SKIP(w, false);
	start_backing(w);
	path_of(w, "passthrough", path);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	unsigned char *map = mmap(NULL, FILE_LEN, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
	assert_ptr_not_equal(map, MAP_FAILED);
	close(fd);
	check_content(path, true);
	for (size_t i = 0; i < FILE_LEN; i += 4096)
		assert_int_equal(map[i], content_byte(i));
	munmap(map, FILE_LEN);
	wait_for_releases(w, 2);
	assert_int_equal(atomic_load(&w->blob.refs), 0);
}

static void *stat_main(void *arg)
{
	struct stat st;

	return stat(arg, &st) < 0 && errno == ENOENT ? NULL : arg;
}

#define WAITERS 50

static void test_parked_lookups_hold_up_nobody(void **state)
{
	struct world *w = *state;
	static char paths[WAITERS][160];
	pthread_t threads[WAITERS];
	char path[160], name[32];
	struct stat st;
	void *failed;

	START_OR_SKIP(w, false);
	path_of(w, "late", path);
	assert_int_equal(stat(path, &st), 0);
	for (size_t i = 0; i < WAITERS; i++) {
		(void)snprintf(name, sizeof(name), "late/wait%zu", i);
		path_of(w, name, paths[i]);
		assert_int_equal(pthread_create(&threads[i], NULL, stat_main, paths[i]), 0);
	}
	int64_t deadline = clock_ms() + WAIT_MS;
	lock_take(&w->mu);
	while (w->parked_count < WAITERS && cond_wait_until(&w->cond, &w->mu, deadline))
		;
	size_t parked = w->parked_count;
	lock_drop(&w->mu);
	assert_int_equal(parked, WAITERS);

	/* Each of these would hang if it waited behind one of them. */
	path_of(w, "late/other", path);
	assert_int_equal(stat(path, &st), -1);
	assert_int_equal(errno, ENOENT);
	path_of(w, "late", path);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	close(fd);
	path_of(w, "ordinary", path);
	check_content(path, false);
	lock_take(&w->mu);
	parked = w->parked_count;
	lock_drop(&w->mu);
	assert_int_equal(parked, WAITERS);

	answer_parked(w);
	for (size_t i = 0; i < WAITERS; i++) {
		pthread_join(threads[i], &failed);
		assert_null(failed);
	}
}

static void test_stop_ends_run(void **state)
{
	struct world *w = *state;

	START_OR_SKIP(w, false);
	session_stop(w->session);
	join(w);
	assert_int_equal(w->run_result, 0);
}

static void test_stop_before_run(void **state)
{
	struct world *w = *state;
	struct mount_options mo = {.mountpoint = w->dir, .source = "x"};
	struct session_options so = {.ops = &ops, .userdata = w, .forget = on_forget};
	struct err err;

	if (mount_open(&mo, &so.fd, &err) < 0)
		skip();
	assert_int_equal(handover_new(&w->handover, &err), 0);
	so.handover = w->handover;
	assert_int_equal(init_serve(so.fd, false, handover_init(w->handover), &err), 0);
	assert_int_equal(session_new(&so, &w->session, &err), 0);
	session_stop(w->session);
	assert_int_equal(session_run(w->session, &err), 0);
}

static void test_umount_ends_run(void **state)
{
	struct world *w = *state;
	struct err err;

	START_OR_SKIP(w, false);
	assert_int_equal(mount_close(w->dir, false, &err), 0);
	join(w);
	assert_int_equal(w->run_result, 0);
	assert_int_equal(mount_close(w->dir, false, &err), -EINVAL);
}

static void test_mount_states(void **state)
{
	struct world *w = *state;
	struct mount_options mo = {.mountpoint = w->dir, .source = "x"};
	unsigned minor = 0;
	struct err err;
	struct stat st;
	int fd;

	assert_int_equal(mount_state(w->dir, &minor), MOUNT_NONE);
	START_OR_SKIP(w, false);
	assert_int_equal(mount_state(w->dir, &minor), MOUNT_OURS);
	assert_int_equal(stat(w->dir, &st), 0);
	assert_int_equal(st.st_dev & 0xff, minor & 0xff);
	assert_false(mount_is_stale(w->dir));
	assert_int_equal(mount_open(&mo, &fd, &err), -EBUSY);
	assert_non_null(strstr(err.text, "already mounted"));
	assert_int_equal(mount_state("/proc", NULL), MOUNT_OTHER);
}

static void test_stale_mount_is_replaced(void **state)
{
	struct world *w = *state;
	char path[160];

	START_OR_SKIP(w, false);
	session_stop(w->session);
	join(w);
	session_free(w->session); /* the fd goes: the mount is dead */
	w->session = NULL;
	assert_true(mount_is_stale(w->dir));
	assert_int_equal(start(w, false), 0);
	path_of(w, "ordinary", path);
	check_content(path, false);
}

static void test_silent_mount_is_not_stale(void **state)
{
	struct world *w = *state;
	struct mount_options mo = {.mountpoint = w->dir, .source = "x"};
	struct err err;
	int fd = -1;

	if (mount_open(&mo, &fd, &err) < 0)
		skip();
	int64_t before = clock_ms();
	assert_false(mount_is_stale(w->dir));
	assert_true(clock_ms() - before < WAIT_MS);
	close(fd); /* frees the child that asked */
	while (waitpid(-1, NULL, 0) > 0)
		;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_features),
	    TEST(test_ordinary_open),
	    TEST(test_backed_open),
	    TEST(test_mapping_outlives_its_fd),
	    TEST(test_parked_lookups_hold_up_nobody),
	    TEST(test_stop_ends_run),
	    TEST(test_stop_before_run),
	    TEST(test_umount_ends_run),
	    TEST(test_mount_states),
	    TEST(test_stale_mount_is_replaced),
	    TEST(test_silent_mount_is_not_stale),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
