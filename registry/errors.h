/* SPDX-License-Identifier: Apache-2.0 */
/* errors — what a registry's refusal means (DESIGN §2.4). Layer: registry/,
 * internal; no I/O. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define ERRORS_BODY_MAX    (64u << 10) /* read of an error's body: bytes */
#define ERRORS_MESSAGE_MAX 1024        /* kept of it, with the NUL */

struct registry_error {
	char code[64];                    /* "MANIFEST_UNKNOWN"; "" if none */
	char message[ERRORS_MESSAGE_MAX]; /* one line of printable characters; "" if none */
};

/* {"errors":[{"code","message"}]} (OCI distribution spec, "Error Codes"), the
 * forms of token servers, or plain text. Never fails: HTML and what cannot be
 * read say nothing. */
void errors_parse(const char *body, size_t len, struct registry_error *ret);

/* Overwrites each place where a secret stands as it is. */
void errors_hide(char *body, size_t len, const char *secret);

/* One line of a text of anybody's: runs of blanks and control characters become one
 * space. A sequence that ESC begins loses its first byte, and so its effect. What
 * does not fit is cut off, not inside a UTF-8 sequence. What looks like a secret is left
 * out: the query of a URL, which may be signed, and what stands behind Bearer or Basic. */
void errors_clean(const char *s, size_t len, char *out, size_t room);

/* Whether it is a registry's code for what is not there, which no storage says. */
bool errors_is_absence(const char *code);
/* The -errno of a final status that is not a success. Absence only where the
 * registry says so: itself, or by the code of one that it redirected to (foreign). */
int errors_errno(int status, const char *code, bool foreign);
