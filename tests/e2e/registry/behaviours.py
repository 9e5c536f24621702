# SPDX-License-Identifier: Apache-2.0
"""How a registry misbehaves.

A behaviour is a callable (request, proceed) → Response: `proceed()` gives the answer that would have been right. It may
answer otherwise, change the answer, or wait first. A Rule says which requests it is for; where several rules match,
they wrap one another in the order in which they were made.

    registry.on("GET", "/blobs/", flip(100), times=1)
"""

import re
import threading

from .wire import CloseConnection, Gate, Headers, Response


class Rule:
    """Matches a method (or None for all, or a tuple) and a regular expression in path and query; skips the first `skip`
    matches and then holds for `times` (None: always)."""

    def __init__(self, method, path, behaviour, skip=0, times=None, where=None):
        self.methods = (method,) if isinstance(method, str) else method
        self.path = re.compile(path)
        self.behaviour = behaviour
        self.skip = skip
        self.times = times
        self.where = where
        self.hits = 0
        self.active = True
        self._lock = threading.Lock()

    def takes(self, request):
        """Whether this request is one of its own; counts it if so."""
        if not self.active or (self.methods and request.method not in self.methods):
            return False
        if not self.path.search(request.target) or (self.where and not self.where(request)):
            return False
        with self._lock:
            if self.skip > 0:
                self.skip -= 1
                return False
            if self.times is not None and self.hits >= self.times:
                return False
            self.hits += 1
            return True

    def remove(self):
        """No further request; those that it holds are let go."""
        self.active = False
        release = getattr(self.behaviour, "release", None)
        if release:
            release()


class Silent:
    """Says nothing until released; with `after`, once that many bytes of the body were sent."""

    def __init__(self, after=None):
        self.after = after
        self.gate = Gate()

    def release(self):
        self.gate.open()

    def __call__(self, request, proceed):
        if self.after is None:
            request.connection.hold(self.gate)
            return proceed()
        response = proceed()
        return _with_body(response, self._body(request, _bytes(response)))

    def _body(self, request, data):
        yield data[:self.after]
        request.connection.hold(self.gate)
        yield data[self.after:]


def silent(after=None):
    return Silent(after)


def latency(seconds):
    def behaviour(request, proceed):
        request.connection.hold(seconds=seconds)
        return proceed()
    return behaviour


def trickle(size, interval):
    """A body of `size` bytes every `interval` seconds."""
    def behaviour(request, proceed):
        response = proceed()
        data = _bytes(response)

        def body():
            for at in range(0, len(data), size):
                if at:
                    request.connection.hold(seconds=interval)
                yield data[at:at + size]
        return _with_body(response, body())
    return behaviour


def cut(after, reset=False):
    """The connection ends after `after` bytes of the body, whatever Content-Length said."""
    def behaviour(request, proceed):
        response = proceed()
        data = _bytes(response)

        def body():
            yield data[:after]
            raise CloseConnection(reset)
        return _with_body(response, body())
    return behaviour


def hang_up(reset=False):
    """The connection ends before the headers."""
    def behaviour(request, proceed):
        raise CloseConnection(reset)
    return behaviour


def raw(data):
    """These bytes instead of an answer, and the end of the connection."""
    def behaviour(request, proceed):
        request.connection.sock.sendall(data)
        raise CloseConnection
    return behaviour


def part(start=0, end=0, total=0, content_range=True, content_type=None):
    """Of an answer to a range: another part than was asked for, by these differences; `content_range` says so, or is
    what stands there."""
    def behaviour(request, proceed):
        response = proceed()
        if response.status != 206:
            return response
        first, last, size = map(int, re.match(r"bytes (\d+)-(\d+)/(\d+)", response.headers.get("content-range")).groups())
        first, last, size = first + start, last + end, size + total
        data = _bytes(response)
        response.body = data[:len(data) + end - start] if start >= 0 else b"\0" * -start + data
        response.length = len(response.body)
        response.headers.set("Content-Range", f"bytes {first}-{last}/{size}" if content_range is True else content_range)
        if not content_range:
            response.headers.drop("content-range")
        if content_type:
            response.headers.set("Content-Type", content_type)
        return response
    return behaviour


def flip(offset, bit=0):
    def change(data):
        data = bytearray(data)
        data[offset] ^= 1 << bit
        return bytes(data)
    return rewrite(change)


def rewrite(change):
    """Another body, with a Content-Length that is true of it."""
    def behaviour(request, proceed):
        response = proceed()
        if request.method == "HEAD" or response.status not in (200, 206):
            return response
        data = change(_bytes(response))
        response.headers.drop("content-length")
        response.body, response.length = data, len(data)
        return response
    return behaviour


def shorter(n=1, honest=True):
    """n bytes less; not honest: Content-Length tells of all of them, and the connection ends."""
    return resize(lambda data: data[:-n], honest)


def longer(n=1, honest=True):
    return resize(lambda data: data + b"\0" * n, honest)


def resize(change, honest):
    def behaviour(request, proceed):
        response = proceed()
        if request.method == "HEAD" or response.status not in (200, 206):
            return response
        right = _bytes(response)
        response.body = change(right)
        if honest:
            response.headers.drop("content-length")
            response.length = len(response.body)
        else:
            response.headers.set("Content-Length", len(right))
            response.close = True
        return response
    return behaviour


def chunked():
    """Without a Content-Length."""
    def behaviour(request, proceed):
        response = proceed()
        if request.method != "HEAD":
            response.body, response.length = iter([_bytes(response)]), None
            response.headers.drop("content-length")
        return response
    return behaviour


def endless(chunk=b" " * 65536, length=None):
    """A body that never ends."""
    def behaviour(request, proceed):
        response = proceed()
        if request.method == "HEAD":
            return response

        def body():
            while True:
                yield chunk
        response.headers.drop("content-length")
        response.body, response.length = body(), length
        return response
    return behaviour


def answer(status, body=b"", headers=(), content_type="application/json"):
    if isinstance(body, str):
        body = body.encode()

    def behaviour(request, proceed):
        return Response(status, Headers(headers).set("Content-Type", content_type), body)
    return behaviour


def error(status, code="UNKNOWN", message="made to fail", headers=()):
    return answer(status, '{"errors":[{"code":"%s","message":"%s"}]}' % (code, message), headers)


def too_many(retry_after=None):
    headers = [] if retry_after is None else [("Retry-After", str(retry_after))]
    return error(429, "TOOMANYREQUESTS", "slow down", headers)


def redirect(target, status=307, headers=()):
    """To another server (same path), or to a URL; "{path}" in a URL is the path asked for."""
    def behaviour(request, proceed):
        url = target + request.target if not hasattr(target, "url") else target.url + request.target
        if isinstance(target, str) and "{path}" in target:
            url = target.replace("{path}", request.target)
        return Response(status, Headers(headers).set("Location", url))
    return behaviour


def ignore_range():
    def behaviour(request, proceed):
        request.headers.drop("range")
        return proceed()
    return behaviour


def set_header(name, value):
    def behaviour(request, proceed):
        response = proceed()
        response.headers.set(name, value)
        return response
    return behaviour


def drop_header(name):
    def behaviour(request, proceed):
        response = proceed()
        response.headers.drop(name)
        return response
    return behaviour


def content_type(value):
    return set_header("Content-Type", value)


def without_digest():
    return drop_header("Docker-Content-Digest")


def _bytes(response):
    if not isinstance(response.body, (bytes, bytearray, memoryview)):
        response.body = b"".join(bytes(chunk) for chunk in response.body)
    return bytes(response.body)


def _with_body(response, body):
    if response.length is None:
        response.length = len(_bytes(response))
    response.body = body
    return response
