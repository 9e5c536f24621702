/* SPDX-License-Identifier: Apache-2.0 */
/* siphash — SipHash-2-4 (Aumasson, Bernstein 2012): a hash whose collisions
 * nobody can aim at who does not know the key. Layer: fs/; a leaf. */
#pragma once

#include <stddef.h>
#include <stdint.h>

uint64_t siphash(const uint64_t key[2], const void *data, size_t len);
