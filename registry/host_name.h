/* SPDX-License-Identifier: Apache-2.0 */
/* host_name — how a registry's host is spelt as the name of a directory. Layer:
 * registry/; no I/O.
 *
 * Every host has one name without a colon, because tools that take an image layout's
 * path cut it at its first one: a port stands between underscores, as containerd
 * writes it ("localhost_5000_"), and so do the colons of an IPv6 address
 * ("[__1]_5000_"). With colons ("localhost:5000") it is understood too.
 *
 * What ends in _DIGITS_ has a port; a host of such a name without one cannot be
 * spelt so, and is none here.
 */
#pragma once

#include <stdbool.h>

#include "base/macros.h"
#include "registry/reference.h"

#define HOST_NAME_SIZE 272 /* of a spelling, or of HOST:PORT, with the NUL */

/* As a SOURCE has it: "HOST" or "HOST:PORT". */
void host_name_write(const struct source_spec *spec, char ret[HOST_NAME_SIZE]);
/* One registry has one name: without the port that its scheme has anyway, and Docker Hub is
 * docker.io. ret_source: NULL, or HOST or HOST:PORT of it. */
void host_name_settle(struct source_spec *spec, char ret_source[HOST_NAME_SIZE]);
/* Without a colon. -EINVAL: it cannot be told from another host. */
NODISCARD int host_name_spell(const struct source_spec *spec, char ret[HOST_NAME_SIZE]);
/* Any spelling: *ret as of the SOURCE ret_source, "HOST" or "HOST:PORT". -EINVAL. */
NODISCARD int host_name_parse(const char *name, char ret_source[HOST_NAME_SIZE],
			      struct source_spec *ret);
/* Of what source_origin says: the registry that this is the key of, where its SOURCE needs no
 * scheme. -EINVAL: there is none. */
NODISCARD int host_name_of_origin(const char *origin, char ret[HOST_NAME_SIZE]);
/* Whether it has a dot or a port, as what is no mere word has. */
bool host_name_is_qualified(const struct source_spec *spec);
/* Whether a name, in lower case, means the same wherever it is asked for, as far as it says
 * itself: no single word, no number at the end, and nothing below a domain that is kept, or known,
 * for local use. */
bool host_name_is_global(const char *host);
/* Whether it is a global name, or an address that is public: what somebody else may be asked to
 * look up for a user whom we do not trust. */
bool host_name_is_public(const char *host);
