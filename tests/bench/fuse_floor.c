/* SPDX-License-Identifier: Apache-2.0 */
/* fuse_floor FILE MOUNTPOINT — the least that opening a file costs on FUSE.
 *
 * A file system of one file, "file", with the bytes of FILE. It does for an OPEN
 * what no FUSE server can leave out: it reads the request and answers that the
 * kernel may keep its pages. Names and attributes are the kernel's for a day, and
 * nobody else is waited for. What wasmocifs takes beyond this is its own doing, the
 * rest is the kernel's. Serves until it is unmounted. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fuse_lowlevel.h>

#define FILE_INO 2
#define A_DAY    86400.0

static int file;

static void attributes(fuse_ino_t ino, struct stat *st)
{
	*st = (struct stat){.st_ino = ino, .st_mode = S_IFDIR | 0555, .st_nlink = 1};
	if (ino != FILE_INO)
		return;
	(void)fstat(file, st);
	st->st_ino = ino;
	st->st_mode = S_IFREG | 0444;
}

static void on_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	conn->want &= ~(unsigned)FUSE_CAP_AUTO_INVAL_DATA;
}

static void on_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e = {
	    .ino = FILE_INO, .attr_timeout = A_DAY, .entry_timeout = A_DAY};

	(void)parent;
	if (strcmp(name, "file") != 0) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	attributes(FILE_INO, &e.attr);
	fuse_reply_entry(req, &e);
}

static void on_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;

	(void)fi;
	attributes(ino, &st);
	fuse_reply_attr(req, &st, A_DAY);
}

static void on_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	fi->keep_cache = 1;
	fuse_reply_open(req, fi);
}

static void on_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	struct fuse_bufvec v = FUSE_BUFVEC_INIT(size);

	(void)ino;
	(void)fi;
	v.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
	v.buf[0].fd = file;
	v.buf[0].pos = off;
	fuse_reply_data(req, &v, 0);
}

static const struct fuse_lowlevel_ops ops = {
    .init = on_init, .lookup = on_lookup, .getattr = on_getattr, .open = on_open, .read = on_read};

int main(int argc, char **argv)
{
	char *arguments[] = {argv[0], NULL};
	struct fuse_args args = FUSE_ARGS_INIT(1, arguments);

	if (argc != 3) {
		fprintf(stderr, "usage: fuse_floor FILE MOUNTPOINT\n");
		return 2;
	}
	file = open(argv[1], O_RDONLY | O_CLOEXEC);
	struct fuse_session *s = fuse_session_new(&args, &ops, sizeof(ops), NULL);
	if (file < 0 || !s || fuse_session_mount(s, argv[2]) != 0) {
		fprintf(stderr, "fuse_floor: cannot serve %s\n", argv[1]);
		return 1;
	}
	printf("mounted\n");
	(void)fflush(stdout);
	int r = fuse_session_loop(s);
	fuse_session_unmount(s);
	fuse_session_destroy(s);
	return r != 0;
}
