/* SPDX-License-Identifier: Apache-2.0 */
/* macros — the few compiler features that every file uses. Layer: base/. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define NODISCARD         __attribute__((warn_unused_result))

#define ARRAY_LEN(a)      (sizeof(a) / sizeof((a)[0]))

/* Always on, for our own mistakes only: never for input, disk or network. */
#define ASSERT(cond) ((cond) ? (void)0 : assert_failed(#cond, __FILE__, __LINE__))
_Noreturn void assert_failed(const char *cond, const char *file, int line);

/* Checked by clang -Wthread-safety on functions. */
#ifdef __clang__
#define REQUIRES(...) __attribute__((requires_capability(__VA_ARGS__)))
#define ACQUIRES(...) __attribute__((acquire_capability(__VA_ARGS__)))
#define RELEASES(...) __attribute__((release_capability(__VA_ARGS__)))
#define CAPABILITY(x) __attribute__((capability(x)))
#define NO_ANALYSIS   __attribute__((no_thread_safety_analysis))
#else
#define REQUIRES(...)
#define ACQUIRES(...)
#define RELEASES(...)
#define CAPABILITY(x)
#define NO_ANALYSIS
#endif

/* AUTO_FREE char *p = NULL;  — freed when it goes out of scope.
 * AUTO_FD int fd = -1;       — closed when it goes out of scope, errno kept.
 * `return steal_ptr(&p)` hands it on instead. */
#define AUTO_FREE __attribute__((cleanup(auto_free_)))
#define AUTO_FD   __attribute__((cleanup(auto_close_)))

static inline void auto_free_(void *p)
{
	void *q = *(void **)p;
	free(q);
}

void auto_close_(int *fd);

/* The length of what some editors put before UTF-8, where nobody sees it. */
static inline size_t byte_order_mark(const char *s, size_t len)
{
	return len >= 3 && memcmp(s, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
}

/* A copy of len bytes that need not end in a NUL, with one; NULL: no memory. (strndup
 * is allowed that too, but the sanitizers' strict one reads on to a NUL.) */
static inline char *dup_text(const char *s, size_t len)
{
	char *copy = len < SIZE_MAX ? malloc(len + 1) : NULL;
	if (copy == NULL)
		return NULL;
	memcpy(copy, s, len);
	copy[len] = '\0';
	return copy;
}

#define steal_ptr(pp)                                                                              \
	__extension__({                                                                            \
		__typeof__(*(pp)) stolen_ = *(pp);                                                 \
		*(pp) = NULL;                                                                      \
		stolen_;                                                                           \
	})

static inline int steal_fd(int *fd)
{
	int stolen = *fd;
	*fd = -1;
	return stolen;
}

/* Whether a sanitizer is compiled in: its runtime needs more than we do. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif
