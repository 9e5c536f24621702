/* SPDX-License-Identifier: Apache-2.0 */
/* credentials — what to log in with: what docker and podman have written, and
 * the programs that they keep logins in. Layer: registry/, internal.
 *
 * Where it is looked for: in the file that was named (--auth-file) and nowhere else. Or
 * else, the first that has an entry:
 *	$REGISTRY_AUTH_FILE: if it is not there, that is said, and no more
 *	$DOCKER_AUTH_CONFIG: itself such a file, of which only `auths` count
 *	$DOCKER_CONFIG/config.json, or ~/.docker/config.json
 *	containers/auth.json below $XDG_RUNTIME_DIR (or /run/containers/UID/auth.json)
 *	containers/auth.json below $XDG_CONFIG_HOME, or ~/.config
 *	~/.dockercfg
 * In one file, credHelpers for the host count before credsStore (which is docker's
 * alone), and that before `auths`; who has none there is looked for in the next.
 * A list of helpers of registries.conf (`credential-helpers`) says instead who is
 * asked, in its order: "containers-auth.json" stands for all of the above, any other
 * name for that helper. One that fails does not keep the next from being asked. A
 * file that was named knows no such list.
 *
 * The environment is read once, by credentials_open; a file is looked at
 * each time, and read again when it has changed.
 *
 * A key of `auths` is HOST[:PORT][/PATH]; the longest one that the repository
 * lies below counts. Written as a URL ("https://index.docker.io/v1/") it means
 * the host. Helpers know hosts only.
 *
 * Threads: credentials_find from any thread. It may run a program: it BLOCKS.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/call.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/names.h"
#include "registry/warnings.h"

#define CREDENTIALS_FILE_MAX   (1u << 20) /* bytes */
#define HELPER_NAME_MAX        64         /* of a credential helper, with the NUL */
#define CREDENTIAL_HELPERS_MAX 16         /* of registries.conf */
#define CREDENTIALS_KEY_MAX    320        /* of a server, as helpers know it, with the NUL */

enum credential_kind {
	CREDENTIAL_NONE,
	CREDENTIAL_PASSWORD,
	CREDENTIAL_IDENTITY, /* a refresh token, for the token server */
	CREDENTIAL_BEARER,   /* used as it is */
};

struct credential {
	enum credential_kind kind;
	char *user; /* PASSWORD, IDENTITY */
	char *secret;
	struct digest id; /* of all of it; tells credentials apart */
};

/* *ret is overwritten. -EINVAL: it could not be sent. -ENOMEM. */
NODISCARD int credential_make(enum credential_kind kind, const char *user, const char *secret,
			      struct credential *ret);
NODISCARD int credential_copy(const struct credential *c, struct credential *ret); /* -ENOMEM */
void credential_release(struct credential *c);                                     /* wipes it */
/* "Basic …" of user and secret, new. -ENOMEM. */
NODISCARD int credential_basic(const struct credential *c, char **ret);

enum credentials_form {
	CREDENTIALS_DOCKER,     /* config.json, or a file that was named: all of it */
	CREDENTIALS_CONTAINERS, /* auth.json: no credsStore */
	CREDENTIALS_AUTHS,      /* of a variable: no helpers at all */
	CREDENTIALS_LEGACY,     /* .dockercfg: what elsewhere stands in `auths` */
};

/* Of a file's text: no I/O. host is "HOST" or "HOST:PORT", lower case; repo may
 * be "". Docker Hub's names all mean each other. 1: *ret is set, or ret_helper
 * names the helper that has it. 0: no entry. -EACCES: the entry or the file
 * cannot be understood. -ENOMEM. */
NODISCARD int credentials_parse(const char *text, size_t len, enum credentials_form form,
				const char *host, const char *repo, struct credential *ret,
				char ret_helper[HELPER_NAME_MAX], struct err *err);
/* The name of a host that helpers keep its login under. */
void credentials_server_key(const char *host, char ret[CREDENTIALS_KEY_MAX]);

/* Docker's HttpHeaders, of config.json or a file that was named: lines for each
 * request to the registry, and to nobody else (registry/header_field.h). What may
 * not be set, and what says who we are or what we want, is left out. Adds to ret.
 * -ENOMEM. */
NODISCARD int credentials_parse_headers(const char *text, size_t len, struct names *ret);

/* Whether it has an entry of this host at all, of any path. */
bool credentials_parse_mention(const char *text, size_t len, enum credentials_form form,
			       const char *host);

struct credentials;
/* auth_file: NULL, or the file. No file is read yet. -ENOMEM. */
NODISCARD int credentials_open(const char *auth_file, struct credentials **ret);
void credentials_free(struct credentials *c); /* NULL is fine */
/* As credentials_parse, over the files and what helpers have. A file that does
 * not exist has no entries, except the one that was named: -EACCES. helpers: the
 * list of registries.conf; NULL or empty: there is none. -ETIMEDOUT, -ECANCELED: the
 * call's. */
#define CREDENTIALS_FILES "containers-auth.json"
NODISCARD int credentials_find(struct credentials *c, const struct names *helpers, const char *host,
			       const char *repo, struct call *call, struct credential *ret,
			       struct err *err);
/* As credentials_parse_headers, over the files; what cannot be read has none. Adds to
 * ret. -ENOMEM. */
NODISCARD int credentials_headers(struct credentials *c, struct names *ret);
/* The next thing that is odd, though nothing fails for it: a login that others may
 * read. Each is said once. */
bool credentials_warning(struct credentials *c, char ret[WARNING_TEXT_MAX]);
/* Whether a file has an entry of this host, be it empty: who has logged in there means
 * it. Runs no helper. What cannot be read names nobody. */
bool credentials_mention(struct credentials *c, const char *host);
/* The login of this id was refused: a helper is asked for it anew. */
void credentials_refused(struct credentials *c, const struct digest *id);
