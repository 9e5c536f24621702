/* SPDX-License-Identifier: Apache-2.0 */
/* In the place of fs/stream.h: a stream that counts its users. */
#pragma once

#include <stdatomic.h>

#include "fs/stream.h"

struct stream {
	atomic_int users, refs;
};
