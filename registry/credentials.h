/* SPDX-License-Identifier: Apache-2.0 */
/* credentials — what to log in with: the `auths` of docker's config.json and
 * of containers' auth.json. Layer: registry/, internal.
 *
 * Where they are looked for: the file that was named (--auth-file, else
 * $REGISTRY_AUTH_FILE) and no other; else $DOCKER_CONFIG/config.json or
 * ~/.docker/config.json, then containers/auth.json below $XDG_RUNTIME_DIR and
 * below $XDG_CONFIG_HOME or ~/.config. The first file with an entry for the
 * repository counts. The environment is read once, by credentials_open; a file
 * is read again when another one stands in its place.
 *
 * A key is HOST[:PORT][/PATH]; the longest one that the repository lies below
 * counts. Written as a URL ("https://index.docker.io/v1/") it means the host.
 *
 * Threads: credentials_find from any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/digest.h"
#include "base/err.h"

#define CREDENTIALS_FILE_MAX (1u << 20) /* bytes */

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

void credential_release(struct credential *c); /* wipes it */
/* "Basic …" of user and secret, new. -ENOMEM. */
NODISCARD int credential_basic(const struct credential *c, char **ret);

/* Of a file's text: no I/O. host is "HOST" or "HOST:PORT", lower case; repo may
 * be "". Docker Hub's names all mean each other. 1: *ret is set. 0: no entry.
 * -EACCES: the entry or the file cannot be understood. -ENOMEM. */
NODISCARD int credentials_parse(const char *text, size_t len, const char *host, const char *repo,
				struct credential *ret, struct err *err);

struct credentials;
/* auth_file: NULL, or the file. No file is read yet. -ENOMEM. */
NODISCARD int credentials_open(const char *auth_file, struct credentials **ret);
void credentials_free(struct credentials *c); /* NULL is fine */
/* As credentials_parse, over the files. A file that does not exist has no
 * entries, except the one that was named: -EACCES. Reads files. */
NODISCARD int credentials_find(struct credentials *c, const char *host, const char *repo,
			       struct credential *ret, struct err *err);
