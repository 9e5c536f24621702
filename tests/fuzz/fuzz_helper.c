/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "registry/credential_helper.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first byte is the exit code; 255: a signal. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct credential c = {0};
	struct err err = {""};
	int exit_code, r;

	if (size == 0)
		return 0;
	exit_code = data[0] == 255 ? -1 : data[0] - '0';
	r = helper_parse((const char *)data + 1, size - 1, exit_code, &c, &err);
	if (r == 1) {
		ASSERT(c.kind == CREDENTIAL_PASSWORD || c.kind == CREDENTIAL_IDENTITY);
		ASSERT(c.user && c.secret[0] && digest_is_set(&c.id) && !strchr(c.user, ':'));
		if (c.kind == CREDENTIAL_IDENTITY)
			ASSERT(strpbrk(c.secret, "\r\n ") == NULL);
	} else {
		ASSERT(c.kind == CREDENTIAL_NONE && (r == 0 || r == -EACCES || r == -ENOMEM));
	}
	ASSERT((r < 0) == (err.text[0] != '\0'));
	ASSERT(strlen(err.text) < 250 && strchr(err.text, '{') == NULL);
	credential_release(&c);
	return 0;
}
