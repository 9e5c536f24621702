/* SPDX-License-Identifier: Apache-2.0 */
/* What a credential helper printed. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "registry/credential_helper.h"
#include "registry/json_util.h"

#define QUOTE_MAX  160
#define WORD_MAX   24 /* a longer word may be a token */
#define NONE_TEXT  "credentials not found in native keychain"
#define TOKEN_USER "<token>"
#define UNREADABLE "what it printed cannot be understood"

bool helper_name_is_good(const char *name)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789._-";
	size_t n = strspn(name, allowed);

	return n > 0 && n < HELPER_NAME_MAX && name[n] == '\0';
}

/* Its message, if that is a plain sentence: letters, blanks, and the marks of
 * prose and paths in short words. "" otherwise. */
static void quote(const char *text, size_t len, char out[QUOTE_MAX])
{
	size_t word = 0, blanks = 0, n = 0;

	while (len > 0 && strchr(" \t\r\n", text[len - 1]))
		len--;
	for (; n < len && n + 1 < QUOTE_MAX && text[n] != '\n'; n++) {
		unsigned char c = (unsigned char)text[n];

		blanks += c == ' ';
		word = c == ' ' ? 0 : word + 1;
		if (c < 0x20 || c > 0x7e || strchr("{}[]\"=+<>%&$", c) || word > WORD_MAX) {
			out[0] = '\0';
			return;
		}
		out[n] = text[n];
	}
	out[blanks > 0 ? n : 0] = '\0';
}

static int judge_failure(const char *text, size_t len, int exit_code, struct err *err)
{
	char said[QUOTE_MAX];

	if (exit_code < 0)
		return err_set(err, -EACCES, "was killed by a signal");
	if (memmem(text, len, NONE_TEXT, strlen(NONE_TEXT)))
		return 0;
	quote(text, len, said);
	return err_set(err, -EACCES, "failed (exit %d)%s%s", exit_code, said[0] ? ": " : "", said);
}

int helper_parse(const char *text, size_t len, int exit_code, struct credential *ret,
		 struct err *err)
{
	AUTO_JSON json_t *root = NULL;
	const char *user, *secret;
	bool is_token;
	int r;

	if (exit_code != 0)
		return judge_failure(text, len, exit_code, err);
	/* Not in jansson's words: they quote what they do not like. */
	r = json_util_parse(text, len, "", &root, NULL);
	if (r < 0)
		return err_set(err, r == -ENOMEM ? r : -EACCES, UNREADABLE);
	if (json_util_string(root, "Username", &user, NULL) < 0 ||
	    json_util_string(root, "Secret", &secret, NULL) < 0)
		return err_set(err, -EACCES, UNREADABLE);
	if ((!user || !*user) && (!secret || !*secret))
		return 0;
	if (!secret || !*secret)
		return err_set(err, -EACCES, "has a user name, but no secret");
	is_token = user && strcmp(user, TOKEN_USER) == 0;
	r = credential_make(is_token ? CREDENTIAL_IDENTITY : CREDENTIAL_PASSWORD, user ? user : "",
			    secret, ret);
	if (r < 0)
		return err_set(err, r == -ENOMEM ? r : -EACCES, UNREADABLE);
	return 1;
}
