/* SPDX-License-Identifier: Apache-2.0 */
/* pem — certificates and keys for tests, made when they are wanted. */
#pragma once

struct pem {
	char *cert, *key; /* of each other */
	char *sealed;     /* the same key, with a passphrase */
};

void pem_make(struct pem *ret);
void pem_release(struct pem *p);
