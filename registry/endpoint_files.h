/* SPDX-License-Identifier: Apache-2.0 */
/* endpoint_files — finds and reads what says how a registry is reached:
 * hosts.toml, and directories of certificates. Layer: registry/, internal.
 *
 * In the directory of hosts (containerd's certs.d) the first that exists of
 * HOST_PORT_, HOST:PORT (or HOST), _default counts. There hosts.toml is read,
 * or, if it is missing or empty, the certificates beside it.
 *
 * registries.conf of the user, or else of the system, is read with the *.conf of
 * the system's and the user's registries.conf.d. It can give namespaces hosts of
 * their own, and forbid them. For what is left of the registry hosts.toml counts,
 * if there is one, and only what registries.conf forbids is forbidden all the same.
 *
 * What the origin is not given by that it gets from the first directory HOST[:PORT]
 * that exists below the certs.d of containers and of Docker: *.crt to trust,
 * *.cert with *.key of the same name to show. So does each host of registries.conf.
 *
 * Of several certificates for one host, the first is shown: to choose is to know
 * which the server accepts, and libcurl shows one. But all must be of use, as with
 * containerd: the files are there, the key is the certificate's and needs no passphrase.
 *
 * What another tool has and we must not read is as if it were not there: certificates
 * of Docker, and a directory of hosts that nobody named.
 *
 * Files are read once, when the source is opened.
 */
#pragma once

#include "base/err.h"
#include "registry/endpoint.h"

#define ENDPOINT_HOSTS_DIR "/etc/containerd/certs.d"
#define ENDPOINT_PEM_MAX   (1u << 20) /* of one file of certificates: bytes */
#define ENDPOINT_CERTS_MAX 4          /* directories of certificates */
#define ENDPOINT_CONFS_MAX 2          /* registries.conf, and directories of more */

struct endpoint_roots {
	const char *hosts_dir;
	bool named; /* by the user: what is in it can be read */
	/* All owned; NULL: none. */
	char *certs[ENDPOINT_CERTS_MAX];
	char *confs[ENDPOINT_CONFS_MAX]; /* of which the first that exists counts */
	char *conf_dirs[ENDPOINT_CONFS_MAX];
};

/* hosts_dir: NULL for the usual one; borrowed. The rest by the environment. -ENOMEM. */
NODISCARD int endpoint_roots_get(const char *hosts_dir, struct endpoint_roots *ret);
void endpoint_roots_release(struct endpoint_roots *roots);

/* host is "HOST" or "HOST:PORT", an IPv6 address in brackets. The first group is that
 * of all repositories; each has at least one endpoint. -EACCES: what is there cannot be understood
 * or read, with file and line. -ENOMEM. */
NODISCARD int endpoint_files_load(const struct endpoint_roots *roots, const char *host,
				  struct endpoint_groups *ret, struct err *err);

/* The certificates to trust beside the system's, new, as one text: those of the
 * endpoint and of ca_file (may be NULL). *ret is NULL if there are none. -EACCES,
 * -ENOMEM. */
NODISCARD int endpoint_pem(const struct endpoint *e, const char *ca_file, char **ret,
			   struct err *err);
