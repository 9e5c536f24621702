/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/process.h"

#include <fcntl.h>
#include <unistd.h>

void process_open_standard(void)
{
	/* A result that nobody can read is a failure, as it would be without this. */
	static const int modes[] = {
	    [STDIN_FILENO] = O_RDONLY, [STDOUT_FILENO] = O_RDONLY, [STDERR_FILENO] = O_WRONLY};
	for (int fd = 0; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			continue;
		/* The lowest free number is this one. Without a /dev, anything
		 * will do that holds the place. */
		if (open("/dev/null", modes[fd]) < 0)
			(void)open("/", O_PATH);
	}
}
