# SPDX-License-Identifier: Apache-2.0
"""What tests of several registries in one mount share."""

import json

from harness import run


def spelt(registry):
    """Its directory, as it is listed."""
    return registry.address.replace(":", "_") + "_"


def why(m, path):
    return json.loads(run([m.binary, "why", "--json", m / path], env=m.env).ok().out)


def hosts(m):
    return {host["host"]: host for host in m.status()["hosts"]}
