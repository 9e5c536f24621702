/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/archive_gzip.h"

#include <errno.h>
#include <stdbool.h>
#include <unistd.h>
#include <zlib.h>

#include "base/file.h"

#define PIECE     (256u << 10)
#define GZIP_ONLY (16 + MAX_WBITS) /* of inflateInit2 */

struct gunzip {
	z_stream z;
	int in, out;
	bool ended; /* nothing more to read */
	bool begun; /* in the middle of a member */
	bool zeros; /* behind the last member */
	unsigned char from[PIECE], to[PIECE];
};

static int fill(struct gunzip *g, struct err *err)
{
	ssize_t n;
	do
		n = read(g->in, g->from, sizeof(g->from));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_errno(err, -EIO, "cannot read the layer");
	g->z.next_in = g->from;
	g->z.avail_in = (unsigned)n;
	g->ended = n == 0;
	return 0;
}

static int malformed(const struct gunzip *g, const char *what, struct err *err)
{
	return err_set(err, -EPROTO, "cannot be decompressed: gzip: %s",
		       g->z.msg ? g->z.msg : what);
}

/* One step of inflation. */
static int step(struct gunzip *g, struct err *err)
{
	g->z.next_out = g->to;
	g->z.avail_out = sizeof(g->to);
	int r = inflate(&g->z, Z_NO_FLUSH);
	if (r == Z_MEM_ERROR)
		return err_set(err, -EFBIG, "gzip: it needs too much memory");
	if (r != Z_OK && r != Z_STREAM_END && r != Z_BUF_ERROR)
		return malformed(g, "it is damaged", err);
	g->begun = r != Z_STREAM_END;
	size_t n = sizeof(g->to) - g->z.avail_out;
	if (n > 0 && file_write_all(g->out, (const char *)g->to, n) < 0)
		return err_errno(err, -EIO, "cannot hand on what was decompressed");
	return 0;
}

/* Between members: another one, zeros up to the end, or nothing. */
static int next_member(struct gunzip *g, struct err *err)
{
	while (g->z.avail_in > 0 && *g->z.next_in == 0) {
		g->zeros = true;
		g->z.next_in++;
		g->z.avail_in--;
	}
	if (g->z.avail_in == 0)
		return 0;
	if (g->zeros)
		return malformed(g, "something follows it", err);
	if (inflateReset(&g->z) != Z_OK)
		return malformed(g, "it cannot go on", err);
	g->begun = true;
	return 0;
}

static int run(struct gunzip *g, struct err *err)
{
	int rc = 0;
	g->begun = true;
	while (rc == 0 && !g->ended) {
		if (g->z.avail_in == 0)
			rc = fill(g, err);
		if (rc == 0 && !g->begun)
			rc = next_member(g, err);
		while (rc == 0 && g->begun && (g->z.avail_in > 0 || g->z.avail_out == 0)) {
			rc = step(g, err);
			if (rc == 0 && !g->begun)
				rc = next_member(g, err);
		}
	}
	return rc == 0 && g->begun ? malformed(g, "it is cut off", err) : rc;
}

int archive_gunzip(int in, int out, struct err *err)
{
	static struct gunzip g; /* too large for a stack, and there is one in a process */
	g = (struct gunzip){.in = in, .out = out};
	if (inflateInit2(&g.z, GZIP_ONLY) != Z_OK)
		return err_set(err, -EFBIG, "gzip: it needs too much memory");
	g.z.avail_out = 1;
	int rc = run(&g, err);
	(void)inflateEnd(&g.z);
	return rc;
}
