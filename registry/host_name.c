/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/host_name.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "registry/address.h"

static void replace(char *s, size_t len, char from, char to)
{
	for (size_t i = 0; i < len; i++)
		if (s[i] == from)
			s[i] = to;
}

/* Where "_DIGITS_" begins at the end of a name; 0: nowhere. */
static size_t port_at(const char *name, size_t len)
{
	size_t i = len;

	if (len < 4 || name[len - 1] != '_')
		return 0;
	for (i = len - 1; i > 0 && name[i - 1] >= '0' && name[i - 1] <= '9'; i--)
		;
	return i > 1 && i < len - 1 && name[i - 1] == '_' ? i - 1 : 0;
}

int host_name_parse(const char *name, char ret_source[HOST_NAME_SIZE], struct source_spec *ret)
{
	size_t len = strlen(name), port;
	const char *end;
	struct source_spec spec;
	struct err ignored;

	if (len == 0 || len >= HOST_NAME_SIZE || strchr(name, '/'))
		return -EINVAL;
	memcpy(ret_source, name, len + 1);
	end = name[0] == '[' ? strchr(name, ']') : NULL;
	if (end)
		replace(ret_source, (size_t)(end - name), '_', ':');
	port = port_at(name, len);
	if (port) {
		ret_source[port] = ':';
		ret_source[len - 1] = '\0';
	}
	if (reference_parse_source(ret_source, &spec, &ignored) < 0 || spec.kind != SOURCE_REGISTRY)
		return -EINVAL;
	/* Written again, in lower case, it would be a layout. */
	if (spec.port && strcmp(spec.host, "oci") == 0)
		return -EINVAL;
	*ret = spec;
	return 0;
}

static int format(const struct source_spec *spec, char ret[HOST_NAME_SIZE])
{
	bool v6 = strchr(spec->host, ':') != NULL;

	return snprintf(ret, HOST_NAME_SIZE, "%s%s%s", v6 ? "[" : "", spec->host, v6 ? "]" : "");
}

void host_name_write(const struct source_spec *spec, char ret[HOST_NAME_SIZE])
{
	int n = format(spec, ret);

	if (spec->port)
		snprintf(ret + n, HOST_NAME_SIZE - (size_t)n, ":%u", spec->port);
}

void host_name_settle(struct source_spec *spec, char ret_source[HOST_NAME_SIZE])
{
	if (spec->port == (spec->https ? 443 : 80))
		spec->port = 0;
	if (strcmp(spec->host, "index.docker.io") == 0 ||
	    strcmp(spec->host, "registry-1.docker.io") == 0)
		memcpy(spec->host, "docker.io", sizeof("docker.io"));
	if (ret_source)
		host_name_write(spec, ret_source);
}

int host_name_spell(const struct source_spec *spec, char ret[HOST_NAME_SIZE])
{
	int n = format(spec, ret);

	replace(ret, (size_t)n, ':', '_');
	if (spec->port)
		snprintf(ret + n, HOST_NAME_SIZE - (size_t)n, "_%u_", spec->port);
	return !spec->port && port_at(ret, (size_t)n) ? -EINVAL : 0;
}

/* As endpoints.c makes it: "https:ghcr.io:443". */
int host_name_of_origin(const char *origin, char ret[HOST_NAME_SIZE])
{
	static const char *const kinds[] = {"https:", "loopback:", "unverified:"};
	char source[HOST_NAME_SIZE];
	struct source_spec spec;

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (strncmp(origin, kinds[i], strlen(kinds[i])) != 0)
			continue;
		if (host_name_parse(origin + strlen(kinds[i]), source, &spec) < 0)
			return -EINVAL;
		host_name_settle(&spec, NULL);
		return host_name_spell(&spec, ret);
	}
	return -EINVAL;
}

bool host_name_is_qualified(const struct source_spec *spec)
{
	return spec->port != 0 || strpbrk(spec->host, ".:") != NULL;
}

/* RFC 6761, 6762 (appendix G), 7686, 9476; ICANN's .internal, and what it keeps for its
 * collisions; .arpa, which is infrastructure; and what clusters and routers add. */
static const char *const local_domains[] = {
    "alt",      "arpa",     "consul",  "corp", "docker", "domain",      "fritz.box", "home",
    "internal", "intranet", "invalid", "lan",  "local",  "localdomain", "localhost", "mail",
    "onion",    "pod",      "private", "svc",  "test",   "workgroup"};

static bool is_in(const char *host, size_t len, const char *domain)
{
	size_t n = strlen(domain);

	return len >= n && memcmp(host + len - n, domain, n) == 0 &&
	       (len == n || host[len - n - 1] == '.');
}

/* "10.0.0.1.", "0x7f.1": what takes it for an address at all takes it for one of its own. */
static bool ends_in_number(const char *host, size_t len)
{
	const char *last = memrchr(host, '.', len);

	last = last ? last + 1 : host;
	return last < host + len && *last >= '0' && *last <= '9';
}

bool host_name_is_global(const char *host)
{
	size_t len = strlen(host);

	while (len > 0 && host[len - 1] == '.')
		len--;
	if (ends_in_number(host, len))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(local_domains); i++) {
		if (is_in(host, len, local_domains[i]))
			return false;
	}
	return memchr(host, '.', len) != NULL;
}

bool host_name_is_public(const char *host)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};

	if (inet_pton(AF_INET, host, &in.sin_addr) == 1)
		return address_class((const struct sockaddr *)&in) == ADDRESS_PUBLIC;
	if (inet_pton(AF_INET6, host, &in6.sin6_addr) == 1)
		return address_class((const struct sockaddr *)&in6) == ADDRESS_PUBLIC;
	return host_name_is_global(host);
}
