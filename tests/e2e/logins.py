# SPDX-License-Identifier: Apache-2.0
"""What logs in: files as `docker login` writes them, helpers, and what must be seen of them nowhere."""

import base64
import json
import os

SECRET = "s3cr3t-Pa55word"


def basic(user, password):
    return base64.b64encode(f"{user}:{password}".encode()).decode()


class Home:
    """Where docker keeps things: a config.json, and the programs that have the logins."""

    def __init__(self, directory):
        self.bin = directory / "bin"
        self.docker = directory / "docker"
        self.asked_file = directory / "asked"
        for path in (directory, self.bin, self.docker):
            path.mkdir()
        self.env = {"DOCKER_CONFIG": str(self.docker), "PATH": f"{self.bin}:{os.environ['PATH']}"}

    def config(self, **content):
        """As `docker login` writes it: beside, then renamed."""
        new = self.docker / "config.json.new"
        new.write_text(json.dumps(content))
        new.chmod(0o600)
        new.rename(self.docker / "config.json")

    def login(self, address, user, password):
        self.config(auths={address: {"auth": basic(user, password)}})

    def helper(self, name, script):
        """docker-credential-NAME: notes what it is asked for, then does this."""
        path = self.bin / f"docker-credential-{name}"
        path.write_text(f"#!/bin/sh\nkey=$(cat)\necho \"$1 $key\" >> {self.asked_file}\n{script}\n")
        path.chmod(0o755)

    def asked(self):
        return self.asked_file.read_text().splitlines() if self.asked_file.exists() else []


def printed(user, secret):
    return f"""printf '%s' '{json.dumps({"ServerURL": "x", "Username": user, "Secret": secret})}'"""


def authorizations(server):
    return [r.headers.get("authorization") for r in server.requests() if "authorization" in r.headers]


def no_secret_in(m):
    text = m.log.text()
    for word in (SECRET, basic("me", SECRET), "Bearer ey"):
        assert word not in text
