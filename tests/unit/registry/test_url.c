/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "registry/address.h"
#include "registry/url.h"

static enum address_class class_of(const char *ip)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};

	if (inet_pton(AF_INET, ip, &in.sin_addr) == 1)
		return address_class((const struct sockaddr *)&in);
	assert_int_equal(inet_pton(AF_INET6, ip, &in6.sin6_addr), 1);
	return address_class((const struct sockaddr *)&in6);
}

static void addresses_have_their_class(void **state)
{
	(void)state;
	assert_int_equal(class_of("8.8.8.8"), ADDRESS_PUBLIC);
	assert_int_equal(class_of("172.32.0.1"), ADDRESS_PUBLIC);
	assert_int_equal(class_of("2001:4860::1"), ADDRESS_PUBLIC);
	assert_int_equal(class_of("2001:200::1"), ADDRESS_PUBLIC);
	assert_int_equal(class_of("2001:db9::1"), ADDRESS_PUBLIC);
	assert_int_equal(class_of("3fff:1000::1"), ADDRESS_PUBLIC);
	assert_int_equal(class_of("192.0.3.1"), ADDRESS_PUBLIC);
	/* of protocols */
	assert_int_equal(class_of("2001:1::1"), ADDRESS_PRIVATE);
	assert_int_equal(class_of("2001:2::1"), ADDRESS_PRIVATE);
	assert_int_equal(class_of("2001:1ff:ffff::1"), ADDRESS_PRIVATE);
	assert_int_equal(class_of("192.88.99.1"), ADDRESS_PRIVATE);
	assert_int_equal(class_of("5f00::1"), ADDRESS_PRIVATE);
	/* discarded; documentation */
	assert_int_equal(class_of("100::1"), ADDRESS_PRIVATE);
	assert_int_equal(class_of("100:0:0:1::1"), ADDRESS_PRIVATE);
	assert_int_equal(class_of("192.0.2.1"), ADDRESS_PRIVATE);
	assert_int_equal(class_of("198.51.100.1"), ADDRESS_PRIVATE);
	assert_int_equal(class_of("203.0.113.1"), ADDRESS_PRIVATE);
	assert_int_equal(class_of("2001:db8::1"), ADDRESS_PRIVATE);
	assert_int_equal(class_of("3fff:fff::1"), ADDRESS_PRIVATE);
	assert_int_equal(class_of("2001:0:4136:e378:8000:63bf:3fff:fdd2"), ADDRESS_PRIVATE);
	assert_int_equal(class_of("64:ff9b:1::8.8.8.8"), ADDRESS_PRIVATE);
	assert_int_equal(class_of("64:ff9b:1:ffff::1"), ADDRESS_PRIVATE);
	assert_int_equal(class_of("64:ff9b:2::1"), ADDRESS_PRIVATE);
	assert_int_equal(class_of("::ffff:0:127.0.0.1"), ADDRESS_LOOPBACK);
	assert_int_equal(class_of("::ffff:0:10.0.0.1"), ADDRESS_PRIVATE);
	assert_int_equal(class_of("::ffff:0:169.254.169.254"), ADDRESS_LINK);
	assert_int_equal(class_of("::ffff:0:8.8.8.8"), ADDRESS_PUBLIC);
	assert_int_equal(class_of("10.1.2.3"), ADDRESS_PRIVATE);
	assert_int_equal(class_of("172.31.255.255"), ADDRESS_PRIVATE);
	assert_int_equal(class_of("192.168.0.1"), ADDRESS_PRIVATE);
	assert_int_equal(class_of("100.64.0.1"), ADDRESS_PRIVATE);
	assert_int_equal(class_of("fd00::1"), ADDRESS_PRIVATE);
	assert_int_equal(class_of("127.255.0.1"), ADDRESS_LOOPBACK);
	assert_int_equal(class_of("0.0.0.0"), ADDRESS_LOOPBACK);
	assert_int_equal(class_of("::1"), ADDRESS_LOOPBACK);
	assert_int_equal(class_of("::"), ADDRESS_LOOPBACK);
	assert_int_equal(class_of("169.254.169.254"), ADDRESS_LINK);
	assert_int_equal(class_of("224.0.0.1"), ADDRESS_LINK);
	assert_int_equal(class_of("255.255.255.255"), ADDRESS_LINK);
	assert_int_equal(class_of("fe80::1"), ADDRESS_LINK);
	assert_int_equal(class_of("ff02::1"), ADDRESS_LINK);
}

static void an_address_inside_another_counts(void **state)
{
	(void)state;
	assert_int_equal(class_of("::ffff:127.0.0.1"), ADDRESS_LOOPBACK);
	assert_int_equal(class_of("::ffff:8.8.8.8"), ADDRESS_PUBLIC);
	assert_int_equal(class_of("64:ff9b::169.254.169.254"), ADDRESS_LINK);
	assert_int_equal(class_of("2002:0a00:0001::1"), ADDRESS_PRIVATE);
}

static void nobody_sends_us_nearer_than_himself(void **state)
{
	(void)state;
	assert_int_equal(address_reachable_from(ADDRESS_PUBLIC), ADDRESS_PUBLIC);
	assert_int_equal(address_reachable_from(ADDRESS_PRIVATE), ADDRESS_PUBLIC | ADDRESS_PRIVATE);
	assert_int_equal(address_reachable_from(ADDRESS_LOOPBACK) & ADDRESS_LINK, 0);
	assert_int_equal(address_reachable_from(ADDRESS_LINK) & (ADDRESS_LINK | ADDRESS_LOOPBACK),
			 0);
}

static void urls_are_taken_apart(void **state)
{
	struct url u = {0};
	char origin[URL_ORIGIN_MAX];

	(void)state;
	assert_int_equal(url_parse("HTTPS://Ghcr.IO/v2/%2e/../x?a=b&c#frag", &u), 0);
	assert_string_equal(u.text, "https://ghcr.io/v2/%2e/../x?a=b&c");
	assert_string_equal(u.host, "ghcr.io");
	assert_true(u.https && u.port == 443);
	assert_string_equal(u.target, "/v2/%2e/../x?a=b&c");
	assert_int_equal(url_path_len(&u), strlen("/v2/%2e/../x"));
	url_origin(&u, origin);
	assert_string_equal(origin, "https://ghcr.io:443");
	url_release(&u);
	assert_int_equal(url_parse("http://[::1]:5000", &u), 0);
	assert_string_equal(u.text, "http://[::1]:5000/");
	assert_string_equal(u.host, "::1");
	url_authority(&u, origin);
	assert_string_equal(origin, "[::1]:5000");
	url_release(&u);
}

static void urls_that_are_refused(void **state)
{
	static const char *const odd[] = {"",
					  "/x",
					  "x",
					  "ftp://h/",
					  "file:///etc/passwd",
					  "http://u@h/",
					  "http://u:p@h/",
					  "http://h:0/",
					  "http://h:70000/",
					  "http://[fe80::1%25eth0]/",

					  "http://h\r\nx/",
					  "gopher://h/"};
	struct url u = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
		assert_int_equal(url_parse(odd[i], &u), -EINVAL);
	assert_null(u.text);
}

static void same_origin_is_scheme_host_and_port(void **state)
{
	static const char *const others[] = {"http://h/", "https://h:444/", "https://h2/"};
	struct url a = {0}, b = {0};

	(void)state;
	assert_int_equal(url_parse("https://h/x", &a), 0);
	assert_int_equal(url_parse("https://H:443/y", &b), 0);
	assert_true(url_same_origin(&a, &b));
	for (size_t i = 0; i < 3; i++) {
		url_release(&b);
		assert_int_equal(url_parse(others[i], &b), 0);
		assert_false(url_same_origin(&a, &b));
	}
	url_release(&a);
	url_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(addresses_have_their_class),
	    cmocka_unit_test(an_address_inside_another_counts),
	    cmocka_unit_test(nobody_sends_us_nearer_than_himself),
	    cmocka_unit_test(urls_are_taken_apart),
	    cmocka_unit_test(urls_that_are_refused),
	    cmocka_unit_test(same_origin_is_scheme_host_and_port),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
