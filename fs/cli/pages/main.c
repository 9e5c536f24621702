/* SPDX-License-Identifier: Apache-2.0 */
/* wasmocifs-pages KIND [TEMPLATE]: writes one of them to standard output, when the program is
 * built. Not installed. */
#include <stdio.h>
#include <string.h>

#include "fs/cli/pages/pages.h"

static const struct {
	const char *kind;
	void (*write)(FILE *f);
} kinds[] = {
    {"bash", bash_write},
    {"zsh", zsh_write},
    {"fish", fish_write},
    {"example", example_write},
};

int main(int argc, char **argv)
{
	int rc = -1;
	if (argc == 3 && strcmp(argv[1], "man") == 0)
		rc = man_write(stdout, argv[2]);
	for (size_t i = 0; argc == 2 && i < ARRAY_LEN(kinds); i++) {
		if (strcmp(argv[1], kinds[i].kind) == 0) {
			kinds[i].write(stdout);
			rc = 0;
		}
	}
	if (rc < 0 && argc != 3)
		fputs("usage: wasmocifs-pages man TEMPLATE | bash | zsh | fish | example\n",
		      stderr);
	if (rc < 0)
		return CLI_USAGE;
	return fflush(stdout) == 0 && ferror(stdout) == 0 ? CLI_DONE : CLI_FAILED;
}
