# SPDX-License-Identifier: Apache-2.0
"""The parts of the misbehaving registry: see ../faulty_registry.py for the whole.

wire.py        HTTP/1.1 on sockets: connections, the log of requests, stop, start, pause
store.py       what a registry holds: repositories, tags, manifests, blobs
behaviours.py  rules: which requests are answered otherwise, and how
auth.py        who may ask: Basic, Bearer with a token endpoint, nobody
"""
