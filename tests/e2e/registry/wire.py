# SPDX-License-Identifier: Apache-2.0
"""An HTTP/1.1 server with every byte in our hands.

One thread per connection, keep-alive, plain or TLS. Nothing here knows of registries: `handle()` turns a Request into
a Response, and what a Response says is what goes over the wire, lies included.

Threads: `log`, `connections` and the counters are guarded by `changed`, on which `wait_for()` waits, so that a test
never sleeps. Waiting on purpose (latency, silence) happens in `hold()`, which ends when the gate opens, when the client
goes away, or when the server stops.
"""

import os
import re
import select
import socket
import ssl
import struct
import threading
import time
import urllib.parse

HEADER_LIMIT = 1 << 20
REASONS = {200: "OK", 202: "Accepted", 206: "Partial Content", 301: "Moved Permanently", 302: "Found", 303: "See Other",
           304: "Not Modified", 307: "Temporary Redirect", 308: "Permanent Redirect", 400: "Bad Request",
           401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
           416: "Range Not Satisfiable", 429: "Too Many Requests", 500: "Internal Server Error", 502: "Bad Gateway",
           503: "Service Unavailable", 504: "Gateway Timeout"}


class ClientGone(Exception):
    """The other side closed the connection, or the server was stopped."""


class CloseConnection(Exception):
    """A behaviour ends the connection here; `reset` sends RST instead of FIN."""

    def __init__(self, reset=False):
        super().__init__()
        self.reset = reset


class Gate:
    """Something that many connections wait for at once. Opened once, it stays open."""

    def __init__(self):
        self._lock = threading.Lock()
        self._read, self._write = os.pipe()

    def open(self):
        with self._lock:
            if self._write >= 0:
                os.close(self._write)  # every poller of the read end sees HUP
                self._write = -1

    @property
    def is_open(self):
        return self._write < 0

    def fileno(self):
        return self._read

    def __del__(self):
        self.open()
        os.close(self._read)


class Headers:
    """Case-insensitive, ordered, repeated names allowed."""

    def __init__(self, items=()):
        self.items = list(items)

    def get(self, name, default=None):
        for key, value in self.items:
            if key.lower() == name.lower():
                return value
        return default

    def set(self, name, value):
        self.drop(name)
        self.items.append((name, str(value)))
        return self

    def add(self, name, value):
        self.items.append((name, str(value)))
        return self

    def drop(self, name):
        self.items = [(k, v) for k, v in self.items if k.lower() != name.lower()]
        return self

    def __contains__(self, name):
        return self.get(name) is not None

    def __repr__(self):
        return repr(self.items)


class Request:
    """One request, and what became of it: an entry of the log."""

    def __init__(self, server, connection, method, target, headers, body):
        self.server = server
        self.connection = connection
        self.method = method
        self.target = target
        split = urllib.parse.urlsplit(target)
        self.path = urllib.parse.unquote(split.path)
        self.query = dict(urllib.parse.parse_qsl(split.query, keep_blank_values=True))
        self.headers = headers
        self.body = body
        self.port = connection.peer[1]  # the client's
        self.time = time.monotonic()
        self.status = None  # what was answered; None: nothing yet
        self.sent = 0  # bytes of body
        self.state = "open"  # "done": answered whole; "gone": the client left or was cut off

    def form(self):
        return dict(urllib.parse.parse_qsl(self.body.decode("latin-1")))

    def __repr__(self):
        status = self.status if self.status is not None else "-"
        rng = self.headers.get("range")
        return f"{self.method} {self.target}{' [' + rng + ']' if rng else ''} -> {status} {self.sent}B {self.state}"


class Response:
    """`body` is bytes or an iterator of bytes. Content-Length is `length`, or that of a bytes body; None with an iterator
    means chunked."""

    def __init__(self, status=200, headers=(), body=b"", length=None):
        self.status = status
        self.headers = headers if isinstance(headers, Headers) else Headers(headers)
        self.body = body
        self.length = len(body) if length is None and isinstance(body, (bytes, bytearray, memoryview)) else length
        self.close = False  # end the connection after it
        self.reset = False  # … by RST

    def chunks(self, size=1 << 16):
        if isinstance(self.body, (bytes, bytearray, memoryview)):
            view = memoryview(self.body)
            for at in range(0, len(view), size):
                yield view[at:at + size]
        else:
            yield from self.body


class Connection:
    def __init__(self, server, sock, peer):
        self.server = server
        self.sock = sock
        self.peer = peer
        self.buffer = b""

    def hold(self, gate=None, seconds=None):
        """Waits for the gate or the time. Raises ClientGone when nobody waits for the answer any more."""
        poll = select.poll()
        poll.register(self.sock, select.POLLRDHUP)
        poll.register(self.server.stopping, select.POLLIN)
        if gate is not None:
            poll.register(gate, select.POLLIN)
        ready = dict(poll.poll(None if seconds is None else seconds * 1000))
        if self.sock.fileno() in ready or self.server.stopping.fileno() in ready:
            raise ClientGone

    def _fill(self):
        data = self.sock.recv(1 << 16)
        if not data:
            raise ClientGone
        if not self.buffer and data[0] == 0x16:  # TLS to a plain server: real ones say no at once
            raise ClientGone
        self.buffer += data

    def read_request(self):
        while b"\r\n\r\n" not in self.buffer:
            if len(self.buffer) > HEADER_LIMIT:
                raise ClientGone
            self._fill()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        match = re.fullmatch(r"([A-Z]+) (\S+) HTTP/1\.1", lines[0])
        if not match:
            raise ClientGone
        headers = Headers(tuple(part.strip() for part in line.split(":", 1)) for line in lines[1:])
        length = int(headers.get("content-length", "0"))
        while len(self.buffer) < length:
            self._fill()
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        return Request(self.server, self, match[1], match[2], headers, body)

    def write_response(self, request, response):
        chunked = response.length is None
        headers = response.headers
        if "content-length" not in headers and not response.close:
            headers.set("Transfer-Encoding", "chunked") if chunked else headers.set("Content-Length", response.length)
        elif response.length is not None and "content-length" not in headers:
            headers.set("Content-Length", response.length)
        if response.close:
            headers.set("Connection", "close")
        lines = [f"HTTP/1.1 {response.status} {REASONS.get(response.status, 'Status')}"]
        lines += [f"{name}: {value}" for name, value in headers.items]
        request.status = response.status
        self.server.note()
        self.sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        if request.method == "HEAD" or response.status in (204, 304):
            return
        in_chunks = chunked and "transfer-encoding" in headers
        for chunk in response.chunks():
            self.sock.sendall(b"%x\r\n" % len(chunk) + bytes(chunk) + b"\r\n" if in_chunks else chunk)
            request.sent += len(chunk)
            self.server.note()
        if in_chunks:
            self.sock.sendall(b"0\r\n\r\n")

    def serve(self):
        if self.server.tls is not None:
            self.sock = self.server.tls.wrap_socket(self.sock, server_side=True)
        while True:
            request = self.read_request()
            self.server.begin(request)
            try:
                self.server.wait_while_paused(self)
                response = self.server.handle(request)
                self.write_response(request, response)
                self.server.end(request, "done")
            except BaseException:
                self.server.end(request, "gone")
                raise
            if response.close:
                raise CloseConnection(response.reset)
            if (request.headers.get("connection") or "").lower() == "close":
                raise CloseConnection

    def close(self, reset=False):
        if reset:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


def _bound(host, port):
    """A socket that keeps its port across shutdown(): the kernel does that only for one that was bound by number."""
    def bind(number):
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, number))
        return sock
    with bind(port) as first:
        port = first.getsockname()[1]
        return bind(port), port


class Server:
    """Listens at once; `stop()` refuses connections and cuts those that are there, `start()` listens again on the same
    port, `pause()` accepts and says nothing, `resume()` answers what has come meanwhile."""

    name = "server"

    def __init__(self, host="127.0.0.1", port=0, tls=None, public_host=None):
        self.tls = tls
        self.host = host
        self.public_host = public_host or host
        self.changed = threading.Condition()
        self.log = []
        self.connections = set()
        self.accepted = 0
        self.failures = []  # exceptions of handlers: bugs of the server itself
        self.stopping = Gate()
        self._unpaused = Gate()
        self._unpaused.open()
        self._sock, self.port = _bound(host, port)
        self._thread = None
        self.start()

    # what a test says

    @property
    def address(self):
        return f"{self.public_host}:{self.port}"

    @property
    def url(self):
        return f"{'https' if self.tls else 'http'}://{self.address}"

    def start(self):
        if self._thread is not None:
            return self
        self.stopping = Gate()
        self._sock.listen(4096)
        self._thread = threading.Thread(target=self._accept, name=f"{self.name}-accept", daemon=True)
        self._thread.start()
        return self

    def stop(self):
        """Refused from now on; the port stays ours (a bound socket that does not listen)."""
        if self._thread is None:
            return
        self._sock.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._thread = None
        self.stopping.open()
        with self.changed:
            for connection in self.connections:
                try:
                    connection.sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
            if not self.changed.wait_for(lambda: not self.connections, 10):
                raise RuntimeError("connections of the test server do not end")

    def close(self):
        self.stop()
        self._sock.close()

    def pause(self):
        self._unpaused = Gate()

    def resume(self):
        self._unpaused.open()

    def requests(self, method=None, path=None, **more):
        """The log so far, filtered: path is a regular expression searched for in the path and query as sent."""
        with self.changed:
            log = list(self.log)
        return [r for r in log if (method is None or r.method == method) and
                (path is None or re.search(path, r.target)) and all(getattr(r, k) == v for k, v in more.items())]

    def count(self, method=None, path=None, **more):
        return len(self.requests(method, path, **more))

    def clear(self):
        with self.changed:
            self.log.clear()

    def wait_for(self, predicate, timeout=20):
        """Until predicate() holds; it is tried whenever the log changes. Fails with the log if it never does."""
        with self.changed:
            if self.changed.wait_for(predicate, timeout):
                return
            tail = "\n".join(map(repr, self.log[-40:]))
        raise AssertionError(f"waited {timeout} s in vain; the last requests:\n{tail}")

    def wait_count(self, n, method=None, path=None, timeout=20, **more):
        self.wait_for(lambda: self.count(method, path, **more) >= n, timeout)

    # what the connections say

    def handle(self, request):
        raise NotImplementedError

    def begin(self, request):
        with self.changed:
            self.log.append(request)
            self.changed.notify_all()

    def end(self, request, state):
        with self.changed:
            request.state = state
            self.changed.notify_all()

    def note(self):
        with self.changed:
            self.changed.notify_all()

    def wait_while_paused(self, connection):
        gate = self._unpaused
        if not gate.is_open:
            connection.hold(gate)

    def _accept(self):
        while True:
            try:
                sock, peer = self._sock.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(self, sock, peer)
            with self.changed:
                self.connections.add(connection)
                self.accepted += 1
                self.changed.notify_all()
            threading.Thread(target=self._serve, args=(connection,), name=f"{self.name}-{peer[1]}", daemon=True).start()

    def _serve(self, connection):
        reset = False
        try:
            connection.serve()
        except CloseConnection as close:
            reset = close.reset
        except (ClientGone, OSError, ssl.SSLError):
            pass
        except Exception as failure:  # shown by the fixture: a test must not pass beside it
            self.failures.append(failure)
        finally:
            try:
                connection.close(reset)
            except OSError:
                pass
            with self.changed:
                self.connections.discard(connection)
                self.changed.notify_all()
