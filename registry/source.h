/* SPDX-License-Identifier: Apache-2.0 */
/* source — where content comes from. Layer: registry/; includes only base/.
 *
 * Two implementations: a registry over HTTP (OCI distribution spec), and a
 * local OCI image layout (image spec, image-layout.md). A source answers
 * questions about repositories and delivers bytes; it knows nothing of the
 * cache and keeps no content. What it says of a digest is not yet verified:
 * the caller hashes what arrives (documents are checked here, because they
 * are whole in memory).
 *
 * Threads: every function from any thread at once, except source_free, for
 * which all others must have returned. All but source_down, source_health,
 * source_origin and source_repo_names BLOCK on the network until done, or
 * until their call ends: never on a FUSE thread.
 *
 * Names, tags and digests given here must be grammatical
 * (registry/reference.h). Names received are checked before they are
 * returned; what is not grammatical is left out.
 *
 * Errors, for all of them (DESIGN §2.4):
 *	-ENOENT      the origin itself says that it does not exist
 *	-EACCES      401/403 at the end of the protocol; a token server that we
 *	             must not ask; credentials that cannot be read
 *	-EHOSTUNREACH  no route, refused, DNS, 5xx to the end of the retries
 *	-ETIMEDOUT   the call's deadline; below SOURCE_SLOW_BYTES_S for
 *	             SOURCE_SLOW_S seconds
 *	-EBUSY       429 beyond the wait we accept
 *	-EPROTO      the registry broke the protocol; TLS failed
 *	-EBADMSG     bytes against their digest or size
 *	-EFBIG       larger than a limit here
 *	-EOPNOTSUPP  schema 1 manifest, unverifiable digest
 *	-ECANCELED   the call was given up
 *	-EIO, -ENOMEM  local faults
 * Where several apply, the host's last answer wins.
 * The text says host, request, status and the registry's own message.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/call.h"
#include "base/descriptor.h"
#include "base/err.h"
#include "base/histogram.h"
#include "base/names.h"

#define SOURCE_DOCUMENT_MAX (4u << 20) /* manifest, index: bytes */
#define SOURCE_TAGS_MAX     1000000u   /* names in one listing */
#define SOURCE_QUICK_BYTES                                                                         \
	(1u << 20) /* blobs of up to this size do not wait behind larger ones                      \
		    */
#define SOURCE_SLOW_BYTES_S (16u << 10)
#define SOURCE_SLOW_S       30
#define SOURCE_HOST_MAX     512 /* HOST:PORT of a mirror, as text */

struct package_metadata; /* registry/package_metadata.h */
struct referrers;        /* registry/referrers.h */
struct source;

/* A manifest or an index, byte for byte as served, digest checked.
 * document_release frees bytes. */
struct document {
	struct descriptor desc; /* digest and size of the bytes, media type */
	char *bytes;
};
void document_release(struct document *d);

/* Receives a blob. Both are called on the thread that called source_blob. A
 * negative return ends the transfer, and is what source_blob returns. */
struct sink {
	/* Bytes follow from `offset`: the one that was asked for, or 0 where
	 * the origin sends the whole although a part was asked for. Called again
	 * when a transfer had to start again. */
	int (*begin)(void *ctx, uint64_t offset, struct err *err);
	int (*write)(void *ctx, const void *data, size_t len, struct err *err);
	void *ctx;
};

struct source_options {
	const char *spec;      /* the SOURCE argument, whole */
	const char *auth_file; /* NULL: the usual places */
	const char *ca_file;   /* NULL: the system's */
	const char *hosts_dir; /* of hosts.toml; NULL: the usual place */
	int64_t timeout_ms;    /* for one question; transfers that advance may take longer */
	/* Nobody who may decide has named this host: it is asked at public addresses only
	 * (-EACCES, which says so), unless hosts.toml or a file of credentials names it. */
	bool public_only;
};

/* By the form of the spec (DESIGN §2.1): HOST[:PORT][/NAMESPACE],
 * http(s)://HOST…, oci:DIRECTORY. Checks only what can be checked without the
 * network. -EINVAL: impossible spec; -ENOENT, -ENOTDIR, -EPROTO: no layout there;
 * -EACCES: configuration that cannot be understood. */
NODISCARD int source_open(const struct source_options *o, struct source **ret, struct err *err);
void source_free(struct source *s); /* NULL is fine */

/* Key of everything remembered of this origin: scheme, host, port, and
 * whether TLS was verified. Stable for the source's life; borrowed. */
const char *source_origin(const struct source *s);
/* For people: "ghcr.io", "127.0.0.1:5000", "oci:/srv/layout". Borrowed. */
const char *source_title(const struct source *s);
/* Whether asking costs nothing but local disk (a layout). */
bool source_is_local(const struct source *s);
/* The name that the origin knows a repository path by: the path below the
 * SOURCE's namespace, docker.io's "library/". -ENAMETOOLONG. */
#define REPOSITORY_MAX 256
NODISCARD int source_repository(const struct source *s, const char *path, char ret[REPOSITORY_MAX]);

/* 0, or the errno with which this origin became known to be down less than
 * SOURCE_DOWN_MS ago. After that one question goes through as a trial while
 * others still get the errno. While a mirror may still answer it is 0. Never
 * blocks. */
#define SOURCE_DOWN_MS 5000
int source_down(struct source *s, struct err *err);

/* Of the origin; what was sent and received, of all its mirrors too. */
struct source_health {
	/* 0: the last answer was a good one, or none was asked for. EACCES: it refuses, and
	 * is there. */
	int last_errno;
	char text[ERR_TEXT_MAX]; /* of last_errno */
	int64_t since_ms;        /* wall clock of the last answer or failure; 0: none yet */
	int64_t good_ms;         /* wall clock of the last good answer; 0: none yet */
	int64_t held_ms;         /* for how long from now it has asked us to wait; 0: it has not */
	int64_t distrusted_ms;   /* a mirror that gave wrong bytes is not asked for so long */
	uint64_t requests;       /* HTTP requests sent so far */
	uint64_t bytes;          /* received in bodies */
};
void source_health(struct source *s, struct source_health *ret);

/* Those that are asked before the origin, in their order, at most `max`; returns how
 * many there are. One that is named for several namespaces is several. */
struct source_mirror {
	char host[SOURCE_HOST_MAX];
	struct source_health health;
};
size_t source_mirrors(struct source *s, struct source_mirror *ret, size_t max);

/* How the requests to one host ended, and how long each took: to the header of its answer, the
 * connection included, or to its failure. Those to where the host sends us, and to token
 * servers, are among them. By outcome: the class of the status, unless the answer was cut off;
 * or what there was instead of an answer. */
enum source_outcome {
	SOURCE_OUTCOME_2XX,
	SOURCE_OUTCOME_3XX,
	SOURCE_OUTCOME_4XX,
	SOURCE_OUTCOME_5XX,
	SOURCE_OUTCOME_OTHER, /* another status */
	SOURCE_OUTCOME_RESOLVE,
	SOURCE_OUTCOME_CONNECT,
	SOURCE_OUTCOME_TLS,
	SOURCE_OUTCOME_CERTIFICATE,
	SOURCE_OUTCOME_ADDRESS, /* one that must not be asked */
	SOURCE_OUTCOME_PROXY,
	SOURCE_OUTCOME_TIMEOUT, /* no connection in time, or no answer */
	SOURCE_OUTCOME_SLOW,    /* given up in the middle, for what came of it was too little */
	SOURCE_OUTCOME_CUT,     /* the connection ended too early */
	SOURCE_OUTCOME_PROTOCOL,
	SOURCE_OUTCOME_LOCAL,
	SOURCE_OUTCOME_GIVEN_UP, /* nobody waited any more */
	SOURCE_OUTCOMES
};
/* "2xx", "connect", … */
const char *source_outcome_name(enum source_outcome o);

struct source_requests {
	struct histogram_view by_outcome[SOURCE_OUTCOMES];
	uint64_t bytes; /* received in bodies */
};
/* Of the origin (0), or of a mirror, by its place in source_mirrors + 1. Zeros if there is none. */
void source_requests(struct source *s, size_t host, struct source_requests *ret);

/* What people should know of a host (its Warning headers, a login that others may
 * read), with its name: each text once. False: nothing new. Never blocks. */
#define SOURCE_WARNING_MAX 1024
bool source_warning(struct source *s, char ret[SOURCE_WARNING_MAX]);

/* What a tag names now: HEAD, or GET where HEAD does not tell. `known` (may be
 * NULL) is what it named before: the answer may then be "the same". */
NODISCARD int source_resolve(struct source *s, const char *repo, const char *tag,
			     const struct descriptor *known, struct call *call,
			     struct descriptor *ret, struct err *err);
/* A manifest by tag, or by digest ("sha256:…"). */
NODISCARD int source_document(struct source *s, const char *repo, const char *reference,
			      struct call *call, struct document *ret, struct err *err);
/* Size and media type of a digest that nothing has declared: asked among the
 * blobs first, then among the manifests. *ret_is_manifest may be NULL. The size is
 * what somebody said, and proves true or not with the bytes; `doubted`: one that was
 * told before did not, so those who have the bytes are asked for them. */
NODISCARD int source_stat(struct source *s, const char *repo, const struct digest *d, bool doubted,
			  struct call *call, struct descriptor *ret, bool *ret_is_manifest,
			  struct err *err);
/* A blob from `offset` on (0 ≤ offset < size). Returns 0 when exactly the bytes
 * up to `size` have been delivered: retries, redirects, resumption after a cut
 * and stalls are seen to here. *progress (may be NULL) counts bytes, atomically.
 * A size of 0 is the caller's. */
NODISCARD int source_blob(struct source *s, const char *repo, const struct digest *d, uint64_t size,
			  uint64_t offset, const struct sink *sink, struct call *call,
			  _Atomic uint64_t *progress, struct err *err);
/* Some bytes of a blob, which may be used before the whole is here: so they come over TLS whose
 * certificate was checked, or from this machine. */
struct source_part {
	const char *repo;
	const struct digest *digest;
	uint64_t size;        /* of the blob */
	uint64_t first, last; /* inclusive */
	bool quick;           /* little, that somebody waits for */
};
/* What one and the same object is called by whoever gives it; "" if that is not known. */
#define SOURCE_ETAG_MAX 160
struct source_etag {
	char text[SOURCE_ETAG_MAX];
};
/* Whether source_part may be asked for a blob of this repository: not of a layout, nor where a
 * host, a mirror too, is asked over plain HTTP elsewhere, or unverified. */
bool source_in_parts(const struct source *s, const char *repo);
/* The sink begins at `first`, or at 0 where the host ignores ranges and sends all. Retries,
 * redirects and cuts are seen to. *etag: what earlier parts were of, and what this one is of.
 * -EPROTO also: another part than was asked for, or of another object. Whatever the sink returns
 * below 0 ends it. */
NODISCARD int source_part(struct source *s, const struct source_part *part, const struct sink *sink,
			  struct call *call, struct source_etag *etag, struct err *err);
/* All tags, sorted. With first_page those of one page, which is enough to know
 * that the repository exists; *ret_whole (may be NULL): they are all, as opposed to
 * those up to where the registry stops, or brings nothing new, or too much. */
NODISCARD int source_tags(struct source *s, const char *repo, bool first_page, struct call *call,
			  struct names *ret, bool *ret_whole, struct err *err);
/* The manifests that the origin lists by their digest alone: a layout's that have no tag, and are
 * whole. New array, free() it; none of a registry. */
NODISCARD int source_untagged(struct source *s, const char *repo, struct call *call,
			      struct descriptor **ret, size_t *ret_n, struct err *err);
/* The manifests that refer to this one (registry/referrers.h): by the registry's
 * API, which is not looked for again for SOURCE_REFERRERS_ABSENT_MS in a repository
 * where it is missing, else by the tag that stands in for it; and those that cosign
 * keeps under tags of its own. None: an empty list. -ENOENT: there is no such repository. */
#define SOURCE_REFERRERS_ABSENT_MS (60 * 60 * 1000)
NODISCARD int source_referrers(struct source *s, const char *repo, const struct digest *d,
			       struct call *call, struct referrers *ret, struct err *err);
/* All repositories below the SOURCE's namespace, as paths below it, sorted. A
 * registry that refuses to list (registry-client.md §1.9) is -EACCES or
 * -ENOENT, and is not asked again for SOURCE_CATALOG_REFUSED_MS. *ret_whole (may be
 * NULL) as of source_tags. */
#define SOURCE_CATALOG_REFUSED_MS (10 * 60 * 1000)
NODISCARD int source_catalog(struct source *s, struct call *call, struct names *ret,
			     bool *ret_whole, struct err *err);
/* What the host says of where it keeps Wasm packages; no login is shown for it. -ENOENT: it
 * says nothing, and keeps them itself. A layout has no packages: -ENOENT. */
NODISCARD int source_packages(struct source *s, struct call *call, struct package_metadata *ret,
			      struct err *err);
