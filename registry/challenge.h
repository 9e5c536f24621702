/* SPDX-License-Identifier: Apache-2.0 */
/* challenge — the WWW-Authenticate field (RFC 9110 §11.6.1), as registries
 * send it. Layer: registry/, internal; no I/O.
 *
 * Several challenges may stand in one field, and several fields are joined
 * with ", " before they come here. Schemes other than Bearer and Basic are
 * passed over, whatever follows them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"

#define CHALLENGE_VALUE_MAX 1024 /* of one parameter; a longer one is dropped */

struct challenge {
	bool basic;
	bool bearer; /* one with a realm */
	/* of the first such Bearer; "" where it has none */
	char realm[CHALLENGE_VALUE_MAX];
	char service[CHALLENGE_VALUE_MAX];
	char scope[CHALLENGE_VALUE_MAX];
	char error[64];
};

/* Never fails: what cannot be read is left out. */
void challenge_parse(const char *s, size_t len, struct challenge *ret);
