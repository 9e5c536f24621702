/* SPDX-License-Identifier: Apache-2.0 */
/* notify — tells the service manager how it goes (sd_notify(3)). Layer: fs/cli. */
#pragma once

#include <stdbool.h>

/* A datagram to $NOTIFY_SOCKET: "READY=1", "STOPPING=1". Without that variable,
 * or if it cannot be sent, nothing happens. Never blocks. */
void notify_send(const char *state);
/* With a descriptor. False: it was not sent. */
bool notify_send_fd(const char *state, int fd);
