# SPDX-License-Identifier: Apache-2.0
"""An HTTP proxy: CONNECT, and plain requests in absolute form. `hosts` says where the names lead that it knows."""

import base64
import http.client
import select
import socket
import urllib.parse

from .wire import ClientGone, CloseConnection, Headers, Response, Server


class Proxy(Server):
    name = "proxy"

    def __init__(self, hosts, users=None, **more):
        self.hosts = hosts  # {"registry.test": server}
        self.users = users  # {"me": "secret"}: who may use it
        super().__init__(**more)

    def _is_welcome(self, request):
        if self.users is None:
            return True
        value = request.headers.get("proxy-authorization") or ""
        user, _, password = base64.b64decode(value.removeprefix("Basic ")).decode().partition(":")
        return self.users.get(user) == password

    def handle(self, request):
        if not self._is_welcome(request):
            return Response(407, [("Proxy-Authenticate", 'Basic realm="proxy"')], b"who are you?")
        if request.method == "CONNECT":
            return self._tunnel(request)
        return self._forward(request)

    def _forward(self, request):
        url = urllib.parse.urlsplit(request.target)
        server = self.hosts.get(url.hostname)
        if server is None:
            return Response(502, [], b"no such host")
        upstream = http.client.HTTPConnection(server.host, server.port, timeout=20)
        target = url.path + ("?" + url.query if url.query else "")
        upstream.putrequest(request.method, target, skip_accept_encoding=True, skip_host=True)
        for name, value in request.headers.items:
            if not name.lower().startswith("proxy-"):
                upstream.putheader(name, value)
        upstream.endheaders()
        answer = upstream.getresponse()
        body = answer.read()
        headers = Headers((k, v) for k, v in answer.getheaders() if k.lower() != "transfer-encoding")
        upstream.close()
        return Response(answer.status, headers, body)

    def _tunnel(self, request):
        server = self.hosts.get(request.target.rpartition(":")[0])
        if server is None:
            return Response(502, [], b"no such host")
        near = request.connection.sock
        with socket.create_connection((server.host, server.port), timeout=20) as far:
            request.status = 200
            self.note()
            near.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            ends = {near: far, far: near}
            while True:
                ready = select.select([*ends, self.stopping], [], [])[0]
                if self.stopping in ready:
                    raise ClientGone
                for end in ready:
                    data = end.recv(1 << 16)
                    if not data:
                        raise CloseConnection
                    ends[end].sendall(data)
