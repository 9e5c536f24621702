/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/registry/pem.h"

#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(int good)
{
	if (good)
		return;
	fprintf(stderr, "no certificate can be made\n");
	abort();
}

static char *text_of(BIO *bio)
{
	char *data, *text;
	long n = BIO_get_mem_data(bio, &data);

	text = calloc(1, (size_t)n + 1);
	check(text != NULL);
	memcpy(text, data, (size_t)n);
	BIO_free(bio);
	return text;
}

void pem_make(struct pem *ret)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();
	BIO *out[3] = {BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem())};

	check(key && cert && out[0] && out[1] && out[2]);
	check(X509_set_pubkey(cert, key) && X509_gmtime_adj(X509_getm_notBefore(cert), 0) &&
	      X509_gmtime_adj(X509_getm_notAfter(cert), 3600) &&
	      X509_sign(cert, key, EVP_sha256()) > 0);
	check(PEM_write_bio_X509(out[0], cert) &&
	      PEM_write_bio_PrivateKey(out[1], key, NULL, NULL, 0, NULL, NULL) &&
	      PEM_write_bio_PKCS8PrivateKey(out[2], key, EVP_aes_128_cbc(), "abc", 3, NULL, NULL));
	*ret = (struct pem){text_of(out[0]), text_of(out[1]), text_of(out[2])};
	X509_free(cert);
	EVP_PKEY_free(key);
}

void pem_release(struct pem *p)
{
	free(p->cert);
	free(p->key);
	free(p->sealed);
}
