/* SPDX-License-Identifier: Apache-2.0 */
/* reference — the grammar of names (OCI distribution spec, "Pulling
 * manifests"). Layer: registry/. Pure functions without I/O; input need not
 * be NUL-terminated, embedded NULs are refused. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/digest.h"
#include "base/err.h"

#define NAME_COMPONENT_MAX 255 /* bytes of a directory entry */
#define TAG_MAX            128

/* One component: [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)* */
bool reference_is_component(const char *s, size_t len);
/* Components joined with '/', at most REPOSITORY_MAX - 1 bytes. */
bool reference_is_repository(const char *s, size_t len);
/* [a-zA-Z0-9_][a-zA-Z0-9._-]{0,127} */
bool reference_is_tag(const char *s, size_t len);
/* Tags that carry signatures and referrers: "sha256-<64 hex>" alone or with
 * ".sig", ".att", ".sbom"; the same for sha512 (which the fallback scheme cuts
 * to 64 hex). They resolve, and are not listed. */
bool reference_is_referrer_tag(const char *s, size_t len);
/* A tag, and none of those: what a repository's listing shows. */
bool reference_is_listed_tag(const char *s);

/* A directory entry that is a reference: "name:tag", "name@alg:hex",
 * "name:tag@alg:hex" (the digest counts). */
struct entry_reference {
	size_t name_len;       /* the component before ':' or '@' */
	char tag[TAG_MAX + 1]; /* "" if there is none */
	struct digest digest;  /* not set if there is none */
};
/* 0; -EINVAL: not a reference; -EOPNOTSUPP: of a digest that cannot be verified. */
NODISCARD int reference_parse_entry(const char *s, size_t len, struct entry_reference *ret);

/* The SOURCE argument, taken apart. */
enum source_kind { SOURCE_REGISTRY, SOURCE_LAYOUT };
struct source_spec {
	enum source_kind kind;
	char host[256];       /* lower case; an IPv6 address without brackets */
	unsigned port;        /* 0: the scheme's */
	bool https;           /* may be spoken */
	bool http;            /* may be spoken: loopback, or asked for */
	char namespace[256];  /* "" or repository grammar */
	char directory[4096]; /* SOURCE_LAYOUT: absolute */
};
/* By the name alone: localhost, a name below it, 127/8, ::1. */
bool reference_is_loopback(const char *host);
/* -EINVAL with a text that says what is wrong and what one looks like. */
NODISCARD int reference_parse_source(const char *spec, struct source_spec *ret, struct err *err);
