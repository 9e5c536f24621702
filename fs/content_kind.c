/* SPDX-License-Identifier: Apache-2.0 */
/* What the first bytes of a file say of it. */
#include <string.h>

#include "fs/names.h"

#define LAYER_COMPONENT 1 /* the u16 behind the version, of a component */
#define USTAR_AT        257
#define LAYER_SPLICED   2 /* bit: sections were cut out of it (wasm-splice) */

static bool starts(const unsigned char *p, size_t len, const void *magic, size_t n)
{
	return len >= n && memcmp(p, magic, n) == 0;
}

static const char *wasm_kind(const unsigned char *p, size_t len)
{
	if (len < 8)
		return NULL;
	unsigned version = p[4] | (unsigned)p[5] << 8;
	unsigned layer = p[6] | (unsigned)p[7] << 8;
	if ((layer & LAYER_SPLICED) != 0)
		return "spliced";
	if (layer == LAYER_COMPONENT)
		return "component";
	return layer == 0 && version == 1 ? "module" : NULL;
}

static bool is_space(unsigned char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Length of the line comment at p; with its line end. */
static size_t line_comment(const unsigned char *p, size_t len)
{
	const unsigned char *end = memchr(p, '\n', len);
	return end != NULL ? (size_t)(end - p) + 1 : len;
}

/* Of the block comment at p, which may hold others. */
static size_t block_comment(const unsigned char *p, size_t len)
{
	size_t depth = 0, i = 0;

	while (i + 1 < len) {
		if (p[i] == '(' && p[i + 1] == ';') {
			depth++;
			i += 2;
		} else if (p[i] == ';' && p[i + 1] == ')') {
			depth--;
			i += 2;
			if (depth == 0)
				return i;
		} else {
			i++;
		}
	}
	return len;
}

static bool is_keyword(const unsigned char *p, size_t len, const char *word)
{
	size_t n = strlen(word);
	return starts(p, len, word, n) && (len == n || is_space(p[n]) || strchr("()$;", p[n]));
}

/* The text format: spaces and comments, then "(module" or "(component". A
 * licence that fills the whole of what is looked at counts as one. */
static bool is_wat(const unsigned char *p, size_t len)
{
	bool commented = false;
	size_t i = 0;

	if (memchr(p, '\0', len) != NULL)
		return false;
	while (i < len) {
		if (is_space(p[i])) {
			i++;
		} else if (starts(p + i, len - i, ";;", 2)) {
			i += line_comment(p + i, len - i);
			commented = true;
		} else if (starts(p + i, len - i, "(;", 2)) {
			i += block_comment(p + i, len - i);
			commented = true;
		} else {
			break;
		}
	}
	if (i >= len)
		return commented && len >= WASM_SNIFF_LEN;
	if (p[i++] != '(')
		return false;
	while (i < len && is_space(p[i]))
		i++;
	return is_keyword(p + i, len - i, "module") || is_keyword(p + i, len - i, "component");
}

static bool is_json(const unsigned char *p, size_t len)
{
	size_t i = 0;
	while (i < len && is_space(p[i]))
		i++;
	return i < len && p[i] == '{';
}

/* All tars but the oldest, which nothing marks. */
static bool is_tar(const unsigned char *p, size_t len)
{
	return len > USTAR_AT && starts(p + USTAR_AT, len - USTAR_AT, "ustar", 5);
}

const char *content_kind(const void *bytes, size_t len)
{
	const unsigned char *p = bytes;

	if (len == 0)
		return NULL;
	if (starts(p, len, "\0asm", 4))
		return wasm_kind(p, len);
	if (starts(p, len, "\177ELF", 4))
		return "aot";
	if (starts(p, len, "\x1f\x8b", 2))
		return "gzip";
	if (starts(p, len, "\x28\xb5\x2f\xfd", 4))
		return "zstd";
	if (is_tar(p, len))
		return "tar";
	if (is_wat(p, len))
		return "wat";
	return is_json(p, len) ? "json" : NULL;
}

bool content_is_wasm(const char *kind)
{
	return kind != NULL && (strcmp(kind, "component") == 0 || strcmp(kind, "module") == 0 ||
				strcmp(kind, "wat") == 0);
}
