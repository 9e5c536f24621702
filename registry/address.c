/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>

#include "base/macros.h"

struct range4 {
	uint32_t net;
	unsigned bits;
	enum address_class class;
};

/* IANA's special-purpose registry: what is not globally reachable. */
static const struct range4 ranges4[] = {
    {0x00000000, 8, ADDRESS_LOOPBACK}, /* 0.0.0.0/8 */
    {0x7f000000, 8, ADDRESS_LOOPBACK}, /* 127.0.0.0/8 */
    {0x0a000000, 8, ADDRESS_PRIVATE},  /* 10.0.0.0/8 */
    {0xac100000, 12, ADDRESS_PRIVATE}, /* 172.16.0.0/12 */
    {0xc0a80000, 16, ADDRESS_PRIVATE}, /* 192.168.0.0/16 */
    {0x64400000, 10, ADDRESS_PRIVATE}, /* 100.64.0.0/10 */
    {0xc6120000, 15, ADDRESS_PRIVATE}, /* 198.18.0.0/15 */
    {0xc0000000, 24, ADDRESS_PRIVATE}, /* 192.0.0.0/24 */
    {0xc0000200, 24, ADDRESS_PRIVATE}, /* 192.0.2.0/24, documentation, as the next two */
    {0xc6336400, 24, ADDRESS_PRIVATE}, /* 198.51.100.0/24 */
    {0xcb007100, 24, ADDRESS_PRIVATE}, /* 203.0.113.0/24 */
    {0xc0586300, 24, ADDRESS_PRIVATE}, /* 192.88.99.0/24, 6to4 relays */
    {0xa9fe0000, 16, ADDRESS_LINK},    /* 169.254.0.0/16 */
    {0xe0000000, 3, ADDRESS_LINK},     /* 224.0.0.0/4, 240.0.0.0/4 */
};

static enum address_class class4(uint32_t ip)
{
	for (size_t i = 0; i < ARRAY_LEN(ranges4); i++)
		if ((ip ^ ranges4[i].net) >> (32 - ranges4[i].bits) == 0)
			return ranges4[i].class;
	return ADDRESS_PUBLIC;
}

static uint32_t read4(const uint8_t *b)
{
	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static enum address_class class6(const uint8_t b[16])
{
	static const uint8_t zeros[15];
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};
	static const uint8_t siit[12] = {[8] = 0xff, [9] = 0xff};
	static const uint8_t documentation[4] = {0x20, 0x01, 0x0d, 0xb8};

	if (memcmp(b, zeros, 15) == 0 && b[15] <= 1)
		return ADDRESS_LOOPBACK;
	if (memcmp(b, mapped, 12) == 0 || memcmp(b, nat64, 12) == 0 || memcmp(b, siit, 12) == 0 ||
	    memcmp(b, zeros, 12) == 0)
		return class4(read4(b + 12));
	if (b[0] == 0x20 && b[1] == 0x02)
		return class4(read4(b + 2));
	if ((b[0] == 0xfe && (b[1] & 0xc0) == 0x80) || b[0] == 0xff)
		return ADDRESS_LINK;
	/* Nothing else is handed out for the whole Internet than 2000::/3. */
	if ((b[0] & 0xe0) != 0x20)
		return ADDRESS_PRIVATE;
	/* 2001::/23, of protocols: Teredo, benchmarks, … */
	if (b[0] == 0x20 && b[1] == 0x01 && (b[2] & 0xfe) == 0)
		return ADDRESS_PRIVATE;
	if (memcmp(b, documentation, 4) == 0)
		return ADDRESS_PRIVATE;
	if (b[0] == 0x3f && b[1] == 0xff && (b[2] & 0xf0) == 0)
		return ADDRESS_PRIVATE; /* 3fff::/20, documentation too */
	return ADDRESS_PUBLIC;
}

enum address_class address_class(const struct sockaddr *sa)
{
	if (sa->sa_family == AF_INET) {
		struct sockaddr_in in;

		memcpy(&in, sa, sizeof(in));
		return class4(ntohl(in.sin_addr.s_addr));
	}
	if (sa->sa_family == AF_INET6) {
		struct sockaddr_in6 in6;

		memcpy(&in6, sa, sizeof(in6));
		return class6(in6.sin6_addr.s6_addr);
	}
	return ADDRESS_LINK;
}

unsigned address_reachable_from(enum address_class from)
{
	switch (from) {
	case ADDRESS_LOOPBACK:
		return ADDRESS_PUBLIC | ADDRESS_PRIVATE | ADDRESS_LOOPBACK;
	case ADDRESS_PRIVATE:
	case ADDRESS_LINK:
		return ADDRESS_PUBLIC | ADDRESS_PRIVATE;
	case ADDRESS_PUBLIC:
		break;
	}
	return ADDRESS_PUBLIC;
}
