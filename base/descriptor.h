/* SPDX-License-Identifier: Apache-2.0 */
/* descriptor — what names content: OCI image spec, descriptor.md. Layer: base/.
 * A plain value, without the parts that only a parsed manifest has. */
#pragma once

#include <stdint.h>

#include "base/digest.h"

#define MEDIA_TYPE_MAX 256 /* RFC 6838 §4.2: 127 + "/" + 127, and the NUL */

struct descriptor {
	struct digest digest;
	uint64_t size;                   /* bytes */
	char media_type[MEDIA_TYPE_MAX]; /* "" if unknown */
};
