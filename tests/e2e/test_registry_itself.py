# SPDX-License-Identifier: Apache-2.0
"""The misbehaving registry is tested first: a test server that lies in ways nobody asked for proves nothing."""

import base64
import http.client
import json
import socket
import ssl
import threading

import pytest

import samples
from faulty_registry import Pages
from registry import behaviours as b
from registry.auth import Basic, Bearer, Refuse
from samples import push_wasm


def ask(server, target, method="GET", headers=None, connection=None, context=None):
    """(status, headers, body) by Python's own client."""
    if connection is None:
        kind = (lambda *a, **k: http.client.HTTPSConnection(*a, context=context, **k)) if context else \
            http.client.HTTPConnection
        connection = kind(server.host, server.port, timeout=20)
    connection.request(method, target, headers=headers or {})
    response = connection.getresponse()
    return response.status, response.headers, response.read()


@pytest.fixture
def image(registry):
    return push_wasm(registry.store, "demo/app", "v1")


def test_serves_what_it_holds(registry, image):
    connection = http.client.HTTPConnection(registry.host, registry.port, timeout=20)
    status, headers, body = ask(registry, "/v2/demo/app/manifests/v1", connection=connection)
    assert (status, body) == (200, image.data)
    assert headers["Docker-Content-Digest"] == image.digest
    status, headers, body = ask(registry, f"/v2/demo/app/blobs/{image.layer.digest}", "HEAD", connection=connection)
    assert (status, body, headers["Content-Length"]) == (200, b"", str(len(image.layer.data)))
    status, headers, body = ask(registry, f"/v2/demo/app/blobs/{image.layer.digest}", connection=connection,
                                headers={"Range": "bytes=10-19"})
    assert (status, body) == (206, image.layer.data[10:20])
    assert headers["Content-Range"] == f"bytes 10-19/{len(image.layer.data)}"
    assert ask(registry, "/v2/_catalog", connection=connection)[2] == b'{"repositories": ["demo/app"]}'
    assert ask(registry, "/v2/none/manifests/v1", connection=connection)[0] == 404
    assert ask(registry, f"/v2/demo/app/referrers/{image.digest}", connection=connection)[0] == 404
    status, _, body = ask(registry, "/v2/demo/app/manifests/v1", connection=connection,
                          headers={"If-None-Match": f'"{image.digest}"'})
    assert (status, body) == (304, b"")
    assert registry.accepted == 1, "keep-alive"
    registry.wait_for(lambda: [r.state for r in registry.log] == ["done"] * 7)
    assert registry.log[0].port == connection.sock.getsockname()[1]


def test_pages(registry, image):
    for i in range(25):
        registry.store.tag("demo/app", f"t{i:02}", image.digest)
    registry.pages = Pages(10)
    status, headers, body = ask(registry, "/v2/demo/app/tags/list?n=1000")
    assert len(json.loads(body)["tags"]) == 10 and 'rel="next"' in headers["Link"]
    following = headers["Link"].split("<")[1].split(">")[0]
    assert json.loads(ask(registry, following)[2])["tags"][0] == "t10"
    registry.pages = Pages(None)
    status, headers, body = ask(registry, "/v2/demo/app/tags/list?n=5")
    assert len(json.loads(body)["tags"]) == 26 and "Link" not in headers


@pytest.mark.parametrize("behaviour, length, body", [
    (b.flip(8), 4096, lambda d: d[:8] + bytes([d[8] ^ 1]) + d[9:]),
    (b.shorter(), 4095, lambda d: d[:-1]),
    (b.longer(), 4097, lambda d: d + b"\0"),
    (b.shorter(honest=False), 4096, None),
    (b.cut(100), 4096, None),
    (b.longer(honest=False), 4096, lambda d: d),
    (b.trickle(1000, 0.001), 4096, lambda d: d),
    (b.chunked(), None, lambda d: d),
    (b.latency(0.01), 4096, lambda d: d),
    (b.hang_up(), None, None),
    (b.hang_up(reset=True), None, None)])
def test_faults(registry, behaviour, length, body):
    data = samples.noise(4096)
    digest = registry.store.add_blob("demo/app", data)
    rule = registry.on("GET", "/blobs/", behaviour, times=1)
    try:
        status, headers, got = ask(registry, f"/v2/demo/app/blobs/{digest}")
    except (http.client.HTTPException, OSError):
        assert body is None
    else:
        assert status == 200 and got == body(data)
        assert headers["Content-Length"] == (None if length is None else str(length))
    assert rule.hits == 1
    assert ask(registry, f"/v2/demo/app/blobs/{digest}")[2] == data, "only once"


def test_rules_skip_count_and_wrap(registry, image):
    registry.on("GET", "/manifests/", b.error(503), skip=1, times=1)
    registry.on("GET", "/manifests/", b.set_header("X-Seen", "yes"))
    answers = [ask(registry, "/v2/demo/app/manifests/v1") for _ in range(3)]
    assert [a[0] for a in answers] == [200, 503, 200]
    assert all(a[1]["X-Seen"] == "yes" for a in answers)
    status, headers, _ = (registry.heal(), registry.on(None, "", b.too_many(7)), ask(registry, "/v2/"))[2]
    assert (status, headers["Retry-After"]) == (429, "7")


@pytest.mark.parametrize("after", [None, 100])
def test_silence_ends_when_released(registry, image, after):
    rule = registry.on("GET", "/blobs/", b.silent(after))
    answers = []
    thread = threading.Thread(target=lambda: answers.append(ask(registry, f"/v2/demo/app/blobs/{image.layer.digest}")))
    thread.start()
    registry.wait_count(1, "GET", "/blobs/")
    if after:
        registry.wait_for(lambda: registry.log[0].sent == after)
    assert not answers
    rule.remove()
    thread.join(20)
    assert answers[0][2] == image.layer.data


def test_a_client_that_leaves_is_seen(registry, image):
    registry.on("GET", "", b.silent())
    with socket.create_connection((registry.host, registry.port)) as sock:
        sock.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
        registry.wait_count(1)
    registry.wait_count(1, state="gone")


def test_down_and_up_on_one_port(registry, image):
    port = registry.port
    connection = http.client.HTTPConnection(registry.host, port, timeout=20)
    ask(registry, "/v2/", connection=connection)
    registry.stop()
    with pytest.raises(ConnectionRefusedError):
        ask(registry, "/v2/")
    registry.start()
    assert registry.port == port and ask(registry, "/v2/")[0] == 200


def test_pause_answers_later(registry, image):
    registry.pause()
    answers = []
    thread = threading.Thread(target=lambda: answers.append(ask(registry, "/v2/")))
    thread.start()
    registry.wait_count(1)
    assert not answers
    registry.resume()
    thread.join(20)
    assert answers[0][0] == 200


def test_redirect_to_another_server(registry, registries, image):
    other = registries(host="127.0.0.2", store=registry.store)
    registry.on("GET", "/blobs/", b.redirect(other))
    status, headers, _ = ask(registry, f"/v2/demo/app/blobs/{image.layer.digest}")
    assert (status, headers["Location"]) == (307, f"{other.url}/v2/demo/app/blobs/{image.layer.digest}")
    assert ask(other, f"/v2/demo/app/blobs/{image.layer.digest}")[2] == image.layer.data


def test_basic_and_refuse(registry, image):
    registry.auth = Basic("me", "secret")
    status, headers, _ = ask(registry, "/v2/demo/app/manifests/v1")
    assert status == 401 and headers["WWW-Authenticate"].startswith("Basic ")
    good = {"Authorization": "Basic " + base64.b64encode(b"me:secret").decode()}
    assert ask(registry, "/v2/demo/app/manifests/v1", headers=good)[0] == 200
    registry.auth = Refuse()
    assert ask(registry, "/v2/demo/app/manifests/v1", headers=good)[0] == 401


def test_bearer(registry, tokens, image):
    server = tokens(users={"me": "secret"})
    registry.auth = Bearer(server, private=lambda path: "demo/app" in path)
    status, headers, _ = ask(registry, "/v2/demo/app/manifests/v1")
    assert status == 401 and 'scope="repository:demo/app:pull"' in headers["WWW-Authenticate"]

    def token(**headers):
        return json.loads(ask(server, "/token?service=test&scope=repository:demo/app:pull", headers=headers)[2])["token"]

    def get(value):
        return ask(registry, "/v2/demo/app/manifests/v1", headers={"Authorization": f"Bearer {value}"})[0]
    assert get(token()) == 401, "anonymous in a private repository"
    mine = token(Authorization="Basic " + base64.b64encode(b"me:secret").decode())
    assert get(mine) == 200
    server.revoke()
    assert get(mine) == 401


def test_tls(registries, authority, work):
    server = registries(tls=authority.context("127.0.0.1"))
    push_wasm(server.store, "demo/app")
    context = ssl.create_default_context(cafile=str(authority.ca_file(work)))
    assert ask(server, "/v2/_catalog", context=context)[0] == 200
    with pytest.raises(ssl.SSLError):
        ask(server, "/v2/", context=ssl.create_default_context())


def test_a_thousand_wait_at_once(registry):
    registry.on("GET", "", b.silent())
    socks = [socket.create_connection((registry.host, registry.port)) for _ in range(1000)]
    for sock in socks:
        sock.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
    registry.wait_count(1000)
    registry.heal()
    for sock in socks:
        assert sock.recv(12) == b"HTTP/1.1 200"
        sock.close()


def test_endless(registry, image):
    registry.on("GET", "/manifests/", b.endless())
    connection = http.client.HTTPConnection(registry.host, registry.port, timeout=20)
    connection.request("GET", "/v2/demo/app/manifests/v1")
    assert len(connection.getresponse().read(5 << 20)) == 5 << 20
    connection.close()
    registry.wait_count(1, state="gone")


def test_kinds_of_images_parse(registry):
    for make in (samples.push_wasm, samples.push_runwasi, samples.push_wasm_to_oci, samples.push_solo,
                 samples.push_files, samples.push_tar):
        repo = "demo/" + make.__name__.replace("_", "-")
        image = make(registry.store, repo)
        assert json.loads(ask(registry, f"/v2/{repo}/manifests/v1")[2])["layers"]
        for blob in image.layers:
            assert ask(registry, f"/v2/{repo}/blobs/{blob.digest}")[2] == blob.data
