#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""blobserver.py DIRECTORY: the fastest registry that Python can be, as the other side of a benchmark.

Serves DIRECTORY/blobs/<digest> and DIRECTORY/manifests/<digest>, and DIRECTORY/tags.json ({repository: {tag: digest}})
with sendfile, on a port of the kernel's choice, which it prints. It runs as a process of its own, so that it shares no
interpreter lock with what measures. Lines on its standard input command it, each answered by a line:

    pause    from now on no request is answered; prints "paused"
    held     prints how many requests are being held
    resume   those held are answered, and all others; prints "resumed"

Its end is the end of its input.
"""
import json
import os
import re
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
ROUTE = re.compile(r"/v2/(.+)/(manifests|blobs|tags)/([^/?]+)(?:\?.*)?$")


class Gate:
    """Open, or closed with requests waiting before it."""

    def __init__(self):
        self.changed = threading.Condition()
        self.open = True
        self.held = 0

    def pass_through(self):
        with self.changed:
            self.held += 1
            self.changed.wait_for(lambda: self.open)
            self.held -= 1

    def set(self, is_open):
        with self.changed:
            self.open = is_open
            self.changed.notify_all()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 0
    root: Path
    tags: dict
    gate: Gate

    def setup(self):
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        self.gate.pass_through()
        if self.path == "/v2/":
            return self.send_bytes(b"{}", "application/json")
        found = ROUTE.match(self.path)
        if not found:
            return self.send_error(404)
        repository, kind, name = found.groups()
        if kind == "tags":
            names = sorted(self.tags.get(repository, {}))
            return self.send_bytes(json.dumps({"name": repository, "tags": names}).encode(), "application/json")
        digest = self.tags.get(repository, {}).get(name, name)
        path = self.root / kind / digest
        if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest) or not path.exists():
            return self.send_error(404)
        return self.send_file(path, digest, MANIFEST_TYPE if kind == "manifests" else "application/octet-stream")

    do_HEAD = do_GET

    def send_bytes(self, body, media_type):
        self.send_response(200)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def send_file(self, path, digest, media_type):
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            first, last = self.wanted(size)
            self.send_response(206 if (first, last) != (0, size - 1) else 200)
            if (first, last) != (0, size - 1):
                self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(last - first + 1))
            self.send_header("Docker-Content-Digest", digest)
            self.send_header("Accept-Ranges", "bytes")
            self.end_headers()
            if self.command == "GET":
                self.connection.sendfile(file, first, last - first + 1)

    def wanted(self, size):
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not found or int(found[1]) >= size:
            return 0, size - 1
        return int(found[1]), min(int(found[2] or size), size - 1)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 2048

    def handle_error(self, request, client_address):
        """A client that hangs up is not news."""


def main():
    root = Path(sys.argv[1])
    gate = Gate()
    Handler.root, Handler.gate = root, gate
    Handler.tags = json.loads((root / "tags.json").read_text())
    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    for line in sys.stdin:
        match line.strip():
            case "pause":
                gate.set(False)
                print("paused", flush=True)
            case "resume":
                gate.set(True)
                print("resumed", flush=True)
            case "held":
                print(gate.held, flush=True)


if __name__ == "__main__":
    main()
