# SPDX-License-Identifier: Apache-2.0
"""Tokens as docker-registry verifies them: a JSON Web Token, signed by a key whose certificate it trusts."""

import base64
import datetime
import json
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from .auth import TokenServer


def _encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Signer:
    """A key and its certificate; .write(path) is the registry's rootcertbundle."""

    def __init__(self, issuer="test issuer", service="test service"):
        self.issuer, self.service = issuer, service
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)])
        now = datetime.datetime.utcnow()
        self.certificate = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(self.key.public_key())
                            .serial_number(1).not_valid_before(now - datetime.timedelta(days=1))
                            .not_valid_after(now + datetime.timedelta(days=1))
                            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
                            .sign(self.key, hashes.SHA256()))

    def write(self, path):
        path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        return path

    def token(self, access, seconds=300, subject=""):
        now = int(time.time())
        der = self.certificate.public_bytes(serialization.Encoding.DER)
        header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}
        claims = {"iss": self.issuer, "sub": subject, "aud": self.service, "exp": now + seconds, "nbf": now - 10,
                  "iat": now, "jti": str(time.monotonic_ns()), "access": access}
        text = ".".join(_encode(json.dumps(part).encode()) for part in (header, claims))
        signature = self.key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{text}.{_encode(signature)}"


class SigningServer(TokenServer):
    """A token server whose tokens docker-registry takes. `private` repositories are for who logs in."""

    def __init__(self, signer, private=(), **more):
        self.signer = signer
        self.private = private
        super().__init__(**more)

    def make_token(self, user, scopes):
        access = []
        for scope in scopes.split():
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            if user or name not in self.private:
                access.append({"type": kind, "name": name, "actions": actions.split(",")})
        return self.signer.token(access, self.expires_in, user or "")
