/* SPDX-License-Identifier: Apache-2.0 */
/* stream — a large blob that is read before it was verified (--verify=stream). Layer: fs/.
 *
 * It is opened as soon as it has its room in the cache. Its chunks (cache/chunks.h) are fetched
 * by closed ranges as they are read, ahead of who reads on (fs/readahead.h), and in the end in
 * the background, as long as it is open. Then its digest decides:
 *
 *	NEW      the partial is not open yet, or could not be opened: who opens it waits, or fails
 *	         with why; so do reads of what a process before us opened
 *	LIVE     chunks that are here are read without waiting; what fails to come is the error
 *	         of the reads that wait for it, and the next read tries again
 *	DONE     it matched: a blob like any other, published; the reads go on from it
 *	SPOILED  it did not: every later read is -EBADMSG, the kernel's pages of it were dropped,
 *	         nothing is in the cache, and as long as this process lives, or the file is
 *	         open, the digest is not read before it was verified again
 *
 * What a reader got is what is hashed: a chunk that is here is never fetched again. The kernel's
 * pages of a node that is read so are not kept over an OPEN, and are dropped when another process
 * served them before us.
 *
 * A stream lives as long as it has users: open files (fs/backing.c) and who opens them. With the
 * last one its transfers end, and the partial stays to be continued. Requests hold it in memory.
 *
 * How a READ waits: it is parked in its site's flights on the last chunk that it misses
 * (WANT_CHUNK, which has no job), then tells the stream, which tells that flight. An OPEN waits for
 * the chunk behind the last one, which is here once the partial is open.
 *
 * Threads: a stream has one thread, of a low priority, which opens the partial, hashes, fetches in
 * the background, and decides: it may wait for the disk, the network, and the kernel. Ranges are
 * jobs in the site's pool for them. None of the functions here waits for any of that, but
 * streams_end and streams_await. Locks: the table's, then the stream's, which guards what is
 * wanted and what is under way; a call's is taken below it (its wakers only signal). None is held
 * over I/O, a reply, or a call into another module but that.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/call.h"
#include "base/digest.h"
#include "base/err.h"

struct blob;
struct flights;
struct fs;
struct site;
struct stream;
struct streams;
struct want;

#define STREAM_MIN  (8ull << 20) /* bytes: smaller blobs are verified first */
#define STREAMS_MAX 64           /* further ones too */

/* fs is borrowed; its parts are used from the first stream on. -ENOMEM. */
NODISCARD int streams_new(struct fs *fs, struct streams **ret);
/* Before anything is served, where a process before us served the mount: what it may have left
 * undone, and which digests it found wrong of what is open. */
void streams_take_over(struct streams *t);
/* Ends all transfers; none begins any more. Then the sites are stopped, which answers who is
 * parked, and then streams_end waits for the streams' threads. */
void streams_stop(struct streams *t);
void streams_end(struct streams *t);
void streams_free(struct streams *t); /* after all streams are gone; NULL is fine */

/* One user more of the stream of this digest, which is made if there is none; site and repo are
 * then who is asked. -EBADMSG: it is spoiled; -EAGAIN:
 * it must be verified first: too many are open, or it did not match once. */
NODISCARD int streams_open(struct streams *t, struct site *site, const char *repo,
			   const struct digest *d, uint64_t size, struct stream **ret,
			   struct err *err);
void stream_use(struct stream *s); /* by who is a user: one more */
void stream_leave(struct stream *s);
struct stream *stream_ref(struct stream *s); /* in memory only */
void stream_unref(struct stream *s);         /* NULL is fine */

struct site *stream_site(const struct stream *s);
const char *stream_repo(const struct stream *s); /* who was asked first; borrowed */
const struct digest *stream_digest(const struct stream *s);

/* Reads what is here of it: new buffer, whose *ret_len is less than size at the end only.
 * -EINPROGRESS: chunks are missing; want is what to park on, *ret_first the first of
 * them. -EBADMSG: it is spoiled. -EIO. */
NODISCARD int stream_read(struct stream *s, uint64_t off, size_t size, char **ret, size_t *ret_len,
			  struct want *want, uint64_t *ret_first);
/* Whether its partial was opened; else *want is what to park on, *ret_first its chunk. */
bool stream_is_open(const struct stream *s, struct want *want, uint64_t *ret_first);
/* Who is parked on the want waits for the chunks from `first` on; he may be gone at once. */
void stream_await(struct stream *s, const struct want *want, uint64_t first);
/* Whether every read of it is -EBADMSG. Who has just counted an open of it asks: what was spoiled
 * before that was counted does not know of it. */
bool stream_is_spoiled(const struct stream *s);
/* Why it is. */
void stream_why_spoiled(struct stream *s, struct err *ret);

/* Whether there is one of this digest that has not failed, is not spoiled, and waits for its digest
 * still: how many bytes are here. */
bool streams_find(struct streams *t, const struct digest *d, uint64_t *ret_here);
/* Waits, within the call, while there is a stream of the digest whose partial another one wants.
 * *progress: its bytes. 0: there is none, or it is done. -errno: it does not get on. NULL is
 * fine. */
NODISCARD int streams_await(struct streams *t, const struct digest *d, struct call *call,
			    _Atomic uint64_t *progress, struct err *err);
