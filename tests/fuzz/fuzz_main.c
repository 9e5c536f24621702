/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_main — runs a fuzz target without libFuzzer: once over each file named
 * on the command line, and each file in the directories named there. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"

#define SEED_MAX (16u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int run_file(int dirfd, const char *path)
{
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	int rc = file_read_small(dirfd, path, SEED_MAX, &text, &len);
	if (rc < 0) {
		fprintf(stderr, "%s: %s\n", path, strerror(-rc));
		return rc;
	}
	/* A copy of the exact size: a read past the end is then an error that
	 * AddressSanitizer sees. */
	AUTO_FREE uint8_t *exact = malloc(len > 0 ? len : 1);
	if (exact == NULL)
		return -ENOMEM;
	memcpy(exact, text, len);
	(void)LLVMFuzzerTestOneInput(exact, len);
	return 1;
}

static int run_dir(const char *path)
{
	DIR *dir = opendir(path);
	if (dir == NULL) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	int ran = 0;
	const struct dirent *e;
	while (ran >= 0 && (e = readdir(dir)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		int rc = run_file(dirfd(dir), e->d_name);
		ran = rc < 0 ? rc : ran + rc;
	}
	closedir(dir);
	return ran;
}

int main(int argc, char **argv)
{
	int total = 0;
	for (int i = 1; i < argc; i++) {
		struct stat st;
		bool is_dir = stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode);
		int ran = is_dir ? run_dir(argv[i]) : run_file(AT_FDCWD, argv[i]);
		if (ran < 0)
			return 1;
		total += ran;
	}
	if (total == 0) {
		fprintf(stderr, "usage: %s FILE-OR-DIRECTORY…\n", argv[0]);
		return 2;
	}
	return 0;
}
