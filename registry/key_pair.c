/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/key_pair.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <string.h>

/* Else OpenSSL asks at the terminal. */
static int no_passphrase(char *buf, int size, int writing, void *asked)
{
	(void)buf;
	(void)size;
	(void)writing;
	*(bool *)asked = true;
	return -1;
}

static X509 *read_certificate(const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, (int)strlen(pem));
	X509 *cert = bio ? PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL) : NULL;

	BIO_free(bio);
	return cert;
}

static EVP_PKEY *read_key(const char *pem, bool *asked)
{
	BIO *bio = BIO_new_mem_buf(pem, (int)strlen(pem));
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, asked) : NULL;

	BIO_free(bio);
	return key;
}

int key_pair_check(const char *cert, const char *key, struct err *err)
{
	bool asked = false;
	X509 *x509 = read_certificate(cert);
	EVP_PKEY *pkey = read_key(key, &asked);
	int r = 0;

	if (!x509)
		r = err_set(err, -EINVAL, "no certificate that can be read");
	else if (asked)
		r = err_set(err, -EINVAL, "a private key with a passphrase, which nobody can type");
	else if (!pkey)
		r = err_set(err, -EINVAL, "no private key that can be read");
	else if (X509_check_private_key(x509, pkey) != 1)
		r = err_set(err, -EINVAL, "not the private key of the certificate");
	ERR_clear_error();
	X509_free(x509);
	EVP_PKEY_free(pkey);
	return r;
}
