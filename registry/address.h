/* SPDX-License-Identifier: Apache-2.0 */
/* address — how far away an IP address is, and who may send us there. Layer:
 * registry/, internal; no I/O.
 *
 * A registry may redirect to its storage and name its token server. One on the
 * public network that names an address of this machine or of its network
 * would use us to reach what it cannot reach itself.
 */
#pragma once

#include <sys/socket.h>

enum address_class {
	ADDRESS_PUBLIC = 1,
	ADDRESS_PRIVATE = 2,  /* RFC 1918, 4193, and what else is not globally reachable */
	ADDRESS_LOOPBACK = 4, /* and the unspecified address, which connects here */
	ADDRESS_LINK = 8,     /* link-local (metadata services), multicast, broadcast */
};

#define ADDRESS_ANY (ADDRESS_PUBLIC | ADDRESS_PRIVATE | ADDRESS_LOOPBACK | ADDRESS_LINK)

/* IPv6 forms that carry an IPv4 address (mapped, translated, NAT64, 6to4) are judged
 * by it. What IANA's special-purpose registries do not call globally reachable is not public.
 * Not IP: ADDRESS_LINK, that is nobody's. */
enum address_class address_class(const struct sockaddr *sa);
/* The classes that a host of class `from` may send us to, as a mask: never
 * nearer than it is itself, and nobody to the link. */
unsigned address_reachable_from(enum address_class from);
