/* SPDX-License-Identifier: Apache-2.0 */
/* hot_open ROUNDS FILE… — what opening a small file costs that was read before.
 *
 * One round is, for each FILE in turn, open + fstat + read of the whole file +
 * close: the files take turns, so that whatever disturbs the machine disturbs
 * them alike. Prints for each file the median, the least and the 90th
 * percentile of its rounds in nanoseconds, tab-separated. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS_MAX 10000000ul
#define FILES_MAX  8
#define BUFFER_LEN (4u << 20)

static int64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

/* Nanoseconds, or -errno; -EIO for a file that is shorter than it said. */
static int64_t one_round(const char *path, char *buffer)
{
	int64_t start = now_ns();
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) != 0 || st.st_size > BUFFER_LEN) {
		close(fd);
		return -EFBIG;
	}
	ssize_t n = read(fd, buffer, (size_t)st.st_size);
	close(fd);
	return n == st.st_size ? now_ns() - start : -EIO;
}

static int measure(char **paths, size_t count, size_t rounds, int64_t *times, char *buffer)
{
	for (size_t r = 0; r < rounds; r++) {
		for (size_t f = 0; f < count; f++) {
			int64_t took = one_round(paths[f], buffer);
			if (took < 0) {
				fprintf(stderr, "hot_open: %s: %s\n", paths[f],
					strerror((int)-took));
				return 1;
			}
			times[f * rounds + r] = took;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	unsigned long rounds = argc > 2 ? strtoul(argv[1], NULL, 10) : 0;

	if (rounds == 0 || rounds > ROUNDS_MAX || argc - 2 > FILES_MAX) {
		fprintf(stderr, "usage: hot_open ROUNDS FILE...\n");
		return 2;
	}
	size_t count = (size_t)argc - 2;
	int64_t *times = calloc(count * rounds, sizeof(*times));
	char *buffer = malloc(BUFFER_LEN);
	if (times == NULL || buffer == NULL) {
		fprintf(stderr, "hot_open: no memory\n");
		return 1;
	}

	int failed = measure(argv + 2, count, rounds, times, buffer);
	for (size_t f = 0; f < count && !failed; f++) {
		int64_t *of = times + f * rounds;
		qsort(of, rounds, sizeof(*of), by_value);
		printf("%lld\t%lld\t%lld\t%s\n", (long long)of[rounds / 2], (long long)of[0],
		       (long long)of[rounds * 9 / 10], argv[2 + f]);
	}
	free(times);
	free(buffer);
	return failed;
}
