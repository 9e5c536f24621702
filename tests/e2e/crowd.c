/* SPDX-License-Identifier: Apache-2.0 */
/* crowd N LINK: reads a symbolic link by N threads at once, and says how many were told what. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CODES 256

static const char *link_path;
static atomic_uint told[CODES];

static void *go(void *arg)
{
	char target[4096];
	ssize_t n = readlink(link_path, target, sizeof(target));
	int code = n < 0 ? errno : 0;
	atomic_fetch_add(&told[code < CODES ? code : CODES - 1], 1);
	return arg;
}

int main(int argc, char **argv)
{
	size_t n = argc == 3 ? strtoul(argv[1], NULL, 10) : 0;
	pthread_t *threads = calloc(n + 1, sizeof(*threads));
	pthread_attr_t attr;
	if (n == 0 || threads == NULL)
		return 2;
	link_path = argv[2];
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64u << 10);
	for (size_t i = 0; i < n; i++) {
		int code = pthread_create(&threads[i], &attr, go, NULL);
		if (code != 0) {
			fprintf(stderr, "thread %zu of %zu: %s\n", i, n, strerrorname_np(code));
			return 1;
		}
	}
	for (size_t i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	for (int code = 0; code < CODES; code++) {
		if (told[code] > 0)
			printf("%s %u\n", code == 0 ? "ok" : strerrorname_np(code), told[code]);
	}
	free(threads);
	return 0;
}
