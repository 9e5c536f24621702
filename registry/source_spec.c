/* SPDX-License-Identifier: Apache-2.0 */
/* The SOURCE argument of the command line, taken apart. A host that could be
 * read in two ways (127.1, 0x7f000001) is refused: whether plain HTTP may be
 * spoken is decided here, by what is written, and libcurl reads more forms of
 * an address than we do. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "registry/reference.h"

#define LABEL_MAX     63  /* RFC 1035 §2.3.4 */
#define HOST_TEXT_MAX 253 /* RFC 1035 §2.3.4, as text */
#define FORMS         "write HOST[:PORT][/NAMESPACE], http://HOST..., https://HOST... or oci:DIRECTORY"

/* A password that was written into the URL must not reach a log. */
static int refuse(struct err *err, const char *spec, const char *why)
{
	if (strpbrk(spec, "@?#") != NULL)
		return err_set(err, -EINVAL, "the source: %s; %s", why, FORMS);
	return err_set(err, -EINVAL, "source '%s': %s; %s", spec, why, FORMS);
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool is_label(const char *s, size_t len)
{
	if (len == 0 || len > LABEL_MAX || s[0] == '-' || s[len - 1] == '-')
		return false;
	for (size_t i = 0; i < len; i++) {
		bool alnum = is_digit(s[i]) || (s[i] >= 'a' && s[i] <= 'z');
		/* '_' is no host name's, yet compose files are full of it. */
		if (!alnum && s[i] != '-' && s[i] != '_')
			return false;
	}
	return true;
}

/* Whether a URL parser would take a name with this last label for an address. */
static bool looks_numeric(const char *label)
{
	size_t digits = strspn(label, "0123456789");
	if (label[digits] == '\0')
		return true;
	return label[0] == '0' && label[1] == 'x' &&
	       label[2 + strspn(label + 2, "0123456789abcdef")] == '\0';
}

/* Of lower-case text. NULL, or what is wrong. */
static const char *check_host_name(const char *host)
{
	const char *label = host;

	if (strlen(host) > HOST_TEXT_MAX)
		return "the host name is too long";
	for (;;) {
		size_t n = strcspn(label, ".");
		if (!is_label(label, n))
			return "not a host name";
		if (label[n] == '\0')
			break;
		label += n + 1;
	}
	struct in_addr v4;
	if (looks_numeric(label) && inet_pton(AF_INET, host, &v4) != 1)
		return "not an IPv4 address of four decimal numbers";
	return NULL;
}

bool reference_is_loopback(const char *host)
{
	static const char suffix[] = ".localhost";
	size_t len = strlen(host);
	struct in_addr v4;

	if (inet_pton(AF_INET, host, &v4) == 1)
		return ntohl(v4.s_addr) >> 24 == 127;
	return strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0 ||
	       (len >= sizeof(suffix) && strcmp(host + len - strlen(suffix), suffix) == 0);
}

/* "[…]" at s; *ret_len is its length with the brackets. */
static const char *parse_ipv6(const char *s, struct source_spec *spec, size_t *ret_len)
{
	const char *end = strchr(s, ']');
	char text[INET6_ADDRSTRLEN];
	struct in6_addr v6;

	if (end == NULL)
		return "the bracket of the IPv6 address is not closed";
	size_t len = (size_t)(end - s) - 1;
	if (len >= sizeof(text))
		return "not an IPv6 address";
	memcpy(text, s + 1, len);
	text[len] = '\0';
	if (inet_pton(AF_INET6, text, &v6) != 1 ||
	    inet_ntop(AF_INET6, &v6, spec->host, sizeof(spec->host)) == NULL)
		return "not an IPv6 address";
	*ret_len = len + 2;
	return NULL;
}

static const char *parse_name(const char *s, struct source_spec *spec, size_t *ret_len)
{
	size_t len = strcspn(s, ":/");

	if (len == 0)
		return "no host";
	if (len >= sizeof(spec->host))
		return "the host name is too long";
	for (size_t i = 0; i < len; i++)
		spec->host[i] = lower(s[i]);
	spec->host[len] = '\0';
	*ret_len = len;
	return check_host_name(spec->host);
}

/* ":PORT" at s, up to '/' or the end. */
static const char *parse_port(const char *s, struct source_spec *spec, size_t *ret_len)
{
	unsigned port = 0;
	size_t n = 1;

	while (is_digit(s[n]) && port <= UINT16_MAX)
		port = port * 10 + (unsigned)(s[n++] - '0');
	if ((s[n] != '\0' && s[n] != '/') || n == 1 || port == 0 || port > UINT16_MAX)
		return strchr(s + 1, ':') != NULL ? "an IPv6 address needs brackets: [::1]:5000"
						  : "the port is not a number from 1 to 65535";
	spec->port = port;
	*ret_len = n;
	return NULL;
}

static const char *parse_namespace(const char *s, struct source_spec *spec)
{
	size_t len = strlen(s);

	while (len > 0 && s[len - 1] == '/')
		len--;
	while (len > 0 && s[0] == '/') {
		s++;
		len--;
	}
	if (len == 0)
		return NULL;
	if (len >= sizeof(spec->namespace))
		return "the namespace is too long";
	if (!reference_is_repository(s, len))
		return memchr(s, ':', len) != NULL
			   ? "a source is a registry or a namespace, not one image"
			   : "the namespace is not one: lower-case letters, digits, '.', '_', '-'";
	memcpy(spec->namespace, s, len);
	spec->namespace[len] = '\0';
	return NULL;
}

/* HOST[:PORT][/NAMESPACE]. NULL, or what is wrong. */
static const char *parse_authority(const char *s, struct source_spec *spec)
{
	size_t n = 0;
	const char *why;

	if (strpbrk(s, "@?#") != NULL)
		return "no user, password, query or digest belongs here (credentials: --auth-file)";
	why = s[0] == '[' ? parse_ipv6(s, spec, &n) : parse_name(s, spec, &n);
	if (why != NULL)
		return why;
	s += n;
	if (s[0] == ':') {
		why = parse_port(s, spec, &n);
		if (why != NULL)
			return why;
		s += n;
	}
	if (s[0] != '\0' && s[0] != '/')
		return "not a host";
	return parse_namespace(s, spec);
}

/* The daemon leaves its working directory, so the path is made absolute here. */
static int parse_directory(const char *spec, const char *dir, struct source_spec *ret,
			   struct err *err)
{
	char cwd[sizeof(ret->directory)] = "";

	if (dir[0] == '\0')
		return refuse(err, spec, "no directory");
	if (strncmp(dir, "//", 2) == 0 && dir[2] != '/')
		return refuse(err, spec,
			      "oci: is a local directory; a registry goes without oci://");
	if (dir[0] != '/' && getcwd(cwd, sizeof(cwd)) == NULL)
		return err_errno(err, -errno, "the working directory");
	int n = snprintf(ret->directory, sizeof(ret->directory), "%s%s%s", cwd,
			 cwd[0] != '\0' ? "/" : "", dir);
	if (n < 0 || (size_t)n >= sizeof(ret->directory))
		return refuse(err, spec, "the path of the directory is too long");
	ret->kind = SOURCE_LAYOUT;
	return 0;
}

int reference_parse_source(const char *spec, struct source_spec *ret, struct err *err)
{
	static const char https[] = "https://", http[] = "http://", oci[] = "oci:";
	struct source_spec r = {.kind = SOURCE_REGISTRY};
	const char *why;

	if (strncmp(spec, oci, strlen(oci)) == 0) {
		int rc = parse_directory(spec, spec + strlen(oci), &r, err);
		if (rc == 0)
			*ret = r;
		return rc;
	}
	if (spec[0] == '/' || spec[0] == '.')
		return refuse(err, spec, "a local image layout is written oci:DIRECTORY");
	if (strncasecmp(spec, https, strlen(https)) == 0) {
		r.https = true;
		why = parse_authority(spec + strlen(https), &r);
	} else if (strncasecmp(spec, http, strlen(http)) == 0) {
		r.http = true;
		why = parse_authority(spec + strlen(http), &r);
	} else if (strstr(spec, "://") != NULL) {
		why = "an unknown scheme";
	} else {
		why = parse_authority(spec, &r);
		r.https = true;
		r.http = why == NULL && reference_is_loopback(r.host);
	}
	if (why != NULL)
		return refuse(err, spec, why);
	*ret = r;
	return 0;
}
