# SPDX-License-Identifier: Apache-2.0
"""A registry's bad days on the way of a blob, one by one: the errno, what is said of it, the requests that were made
with their ranges and answers, and that nothing wrong stayed in the cache.

What is shown elsewhere, likewise: pages and names in test_listing.py; logging in in test_auth.py and test_real_logins.py;
manifests in test_manifests.py, test_errors.py and test_what_is_said.py; wrong bytes and lengths in test_verify.py;
mirrors, proxies, certificates in test_endpoints.py; the fewest requests in test_round_trips.py; what is down, and tags
that are old, in test_offline.py; the end of a mount under load in test_lifecycle.py. A body of a byte a second needs
half a minute to be called slow: tests/unit/registry/test_http_pace.c has another clock. The client speaks HTTP/1.1 only,
so there is no GOAWAY.
"""

import os
import re
from errno import EACCES, EBADMSG, EHOSTUNREACH, EPROTO

import pytest

import samples
from harness import Clock, SLOW, files_holding, opens, partials, raises, read, run, until
from registry import behaviours as b

SIZE = 2 << 20
HALF = 1 << 20


@pytest.fixture
def image(registry):
    return samples.push_wasm(registry.store, "demo/app", "v1", size=SIZE)


def asked(server):
    """"GET 206 [n-]": what was asked for of blobs; of a range only whether it begins at 0, in the middle (n), and that it
    has an end."""
    lines = []
    for request in server.requests(None, "/blobs/|/elsewhere"):
        wanted = request.headers.get("range")
        if wanted:
            start, end = re.fullmatch(r"bytes=(\d+)-(\d+)", wanted).groups()
            assert int(end) == SIZE - 1
            wanted = f" [{'0' if start == '0' else 'n'}-]"
        lines.append(f"{request.method} {request.status}{wanted or ''}")
    return lines


def nothing_wrong(m, image):
    """What is in the cache under its digest has it, and no bytes of the layer lie about elsewhere but in a partial."""
    blobs = [path for path in (m.cache / "blobs/sha256").glob("*") if path.is_file()]
    for path in blobs:
        assert run(["sha256sum", path], check=True).out.split()[0] == path.name
    assert image.layer.hex not in [path.name for path in blobs]


CUT = ("GET", "/blobs/", lambda: b.cut(HALF), {"times": 1})


def then(behaviour, **more):
    """Of what follows the cut."""
    return ("GET", "/blobs/", behaviour, {"skip": 1, **more})


# name: rules, what was asked. All end well.
WELL = {
    "a-part-of-the-part": ([CUT, then(lambda: b.part(end=-1000), times=1)],
                           ["GET 200", "GET 206 [n-]", "GET 206 [n-]"]),
    # Whose parts are not what was asked for is asked for the whole.
    "another-start": ([CUT, then(lambda: b.part(start=-10))], ["GET 200", "GET 206 [n-]", "GET 200"]),
    "no-content-range": ([CUT, then(lambda: b.part(content_range=""))], ["GET 200", "GET 206 [n-]", "GET 200"]),
    "nonsense-for-a-range": ([CUT, then(lambda: b.part(content_range="bytes x-y/z"))],
                             ["GET 200", "GET 206 [n-]", "GET 200"]),
    "beyond-the-end": ([CUT, then(lambda: b.part(end=1))], ["GET 200", "GET 206 [n-]", "GET 200"]),
    "several-parts": ([CUT, then(lambda: b.part(content_range="", content_type="multipart/byteranges; boundary=x"))],
                      ["GET 200", "GET 206 [n-]", "GET 200"]),
    "the-whole-instead": ([CUT, then(lambda: b.ignore_range())], ["GET 200", "GET 200"]),
    "416-without-a-reason": ([CUT, then(lambda: b.answer(416, headers=[("Content-Range", f"bytes */{SIZE}")]), times=1)],
                             ["GET 200", "GET 416 [n-]", "GET 200"]),
    "503-twice": ([("GET", "/blobs/", lambda: b.error(503, "UNAVAILABLE"), {"times": 2})],
                  ["GET 503", "GET 503", "GET 200"]),
    "nothing-once": ([("GET", "/blobs/", lambda: b.cut(0), {"times": 1})], ["GET 200", "GET 200"]),
    "empty-reply-once": ([("GET", "/blobs/", lambda: b.hang_up(), {"times": 1})], ["GET None", "GET 200"]),
    "reset-midway": ([("GET", "/blobs/", lambda: b.cut(HALF, reset=True), {"times": 1})], None),
    "relative-redirect": ([("GET", "/blobs/", lambda: b.redirect("/elsewhere?sig=s3cr3t"), {})], None),
}


@pytest.mark.parametrize("name", WELL)
def test_that_ends_well(mount, registry, image, name):
    rules, expected = WELL[name]
    for method, path, behaviour, more in rules:
        registry.on(method, path, behaviour(), **more)
    if name == "relative-redirect":
        registry.on("GET", "/elsewhere", b.answer(200, image.layer.data, content_type="application/octet-stream"))
        expected = ["GET 307", "GET 200"]
    m = mount()
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    found = asked(registry)
    if name == "reset-midway":  # what the kernel had not given us is lost with a reset
        assert found in (["GET 200", "GET 206 [n-]"], ["GET 200", "GET 200"])
    else:
        assert found == expected
    until(lambda: not partials(m.cache), what="no partial")
    assert "s3cr3t" not in m.log.text()


HEADERS_100K = b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"x" * 150_000 + b"\r\nContent-Length: 0\r\n\r\n"
HEADERS_MANY = b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: %s\r\n" % (i, b"y" * 1000) for i in range(400)) + b"\r\n"
TWO_LENGTHS = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nContent-Length: %d\r\n\r\n" % SIZE

# name: behaviour of each GET, errno, what is said, how often it may be asked.
BADLY = {
    "nothing-ever": (lambda: b.cut(0), EHOSTUNREACH, "bytes remaining", range(2, 8)),
    "empty-reply": (lambda: b.hang_up(), EHOSTUNREACH, "", range(2, 8)),
    "500": (lambda: b.error(500), EHOSTUNREACH, "500", range(2, 8)),
    "501": (lambda: b.error(501), EPROTO, "501", [1]),
    "http-0.9": (lambda: b.raw(b"\x00asm" + b"x" * 4096), EPROTO, "", range(1, 6)),
    "a-long-header": (lambda: b.raw(HEADERS_100K), EPROTO, "header", range(1, 6)),
    "many-headers": (lambda: b.raw(HEADERS_MANY), EPROTO, "header", range(1, 6)),
    "two-lengths": (lambda: b.raw(TWO_LENGTHS + b"x" * 10), None, "", range(1, 8)),
    "shorter-by-its-own-word": (lambda: b.shorter(4000), EBADMSG, "", range(1, 3)),
    "longer-by-its-own-word": (lambda: b.longer(4000), EBADMSG, "", range(1, 3)),
    "redirect-without-a-target": (lambda: b.answer(307), EPROTO, "redirect", [1]),
    "redirect-to-ftp": (lambda: b.answer(307, headers=[("Location", "ftp://127.0.0.1/x")]), EPROTO, "redirect", [1]),
    "redirect-to-a-file": (lambda: b.answer(307, headers=[("Location", "file:///etc/passwd")]), EPROTO, "redirect", [1]),
    "redirect-to-itself": (lambda: b.redirect(""), EPROTO, "redirects", range(11, 13)),
    "403": (lambda: b.error(403, "DENIED", "pay first"), EACCES, "pay first", range(1, 3)),
    "a-long-error": (lambda: b.answer(403, b"\x1b[31m" + b"no " * 200_000, content_type="text/plain"), EACCES, "no no",
                     range(1, 3)),
    "a-page-of-html": (lambda: b.answer(403, "<html><body>denied by gateway</body></html>", content_type="text/html"),
                       EACCES, "403", range(1, 3)),
}


@pytest.mark.parametrize("name", BADLY)
def test_that_ends_badly(mount, registry, image, name):
    behaviour, code, said, times = BADLY[name]
    rule = registry.on("GET", "/blobs/|/elsewhere", behaviour())
    m = mount(None, "--timeout", "8s")
    os.stat(m / "demo/app:v1/main.wasm")
    before = registry.count()
    with Clock() as took, raises(*([code] if code else [EPROTO, EBADMSG, EHOSTUNREACH])):
        os.open(m / "demo/app:v1/main.wasm", os.O_RDONLY)
    assert took.seconds < 12 * SLOW
    assert registry.count() - before in times, asked(registry)
    assert all(line.startswith("GET") for line in asked(registry)), "and nothing but blobs was asked for"
    line = m.log.wait(f"^(warning|error) .*{re.escape(registry.address)}.*(?:{said})")[0]
    assert len(line) < 4096 and "\x1b" not in line
    nothing_wrong(m, image)
    rule.remove()
    until(lambda: opens(m / "demo/app:v1/main.wasm"), 15, "the blob opening once the registry is well")
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data


# After a cut: what answers the question for the rest.
RESUMED_BADLY = {
    "another-total": (lambda: b.part(total=1), "size"),
    "416-of-another-size": (lambda: b.answer(416, headers=[("Content-Range", "bytes */77")]), "size"),
    "the-rest-of-something-else": (lambda: b.flip(100), "sha256"),
}


@pytest.mark.parametrize("name", RESUMED_BADLY)
def test_that_resumes_badly(mount, registry, image, name):
    behaviour, said = RESUMED_BADLY[name]
    registry.on("GET", "/blobs/", b.cut(HALF), times=1)
    registry.on("GET", "/blobs/", behaviour(), skip=1, times=1)
    m = mount(None, "--timeout", "8s")
    os.stat(m / "demo/app:v1/main.wasm")
    with raises(EBADMSG):
        os.open(m / "demo/app:v1/main.wasm", os.O_RDONLY)
    found = asked(registry)
    assert len(found) == 2 and found[0] == "GET 200" and found[1].endswith("[n-]"), found
    assert re.search(said, m.log.wait(image.layer.hex)[0])
    nothing_wrong(m, image)
    assert not partials(m.cache) and not files_holding(m.cache, image.layer.data[40:90])
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data, "from the start"
    assert asked(registry)[2:] == ["GET 200"]


@pytest.fixture
def storage(registries, registry, image):
    """Where the registry sends everybody, with a signature that is a secret."""
    at = registries(host="127.0.0.2", store=registry.store)
    registry.on("GET", "/blobs/", b.redirect(at.url + "{path}?X-Sig=s3cr3t"))
    return at


@pytest.mark.parametrize("refusal", [(403, "<Error><Code>AccessDenied</Code></Error>"), (400, "ExpiredToken"),
                                     (410, ""), (404, "")], ids=["403", "400", "410", "404"])
def test_a_signed_url_that_expires_midway(mount, registry, storage, image, refusal):
    storage.on("GET", "", b.cut(HALF), times=1)
    storage.on("GET", "", b.answer(*refusal, content_type="application/xml"), skip=1, times=1)
    m = mount()
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert asked(storage) == ["GET 200", f"GET {refusal[0]} [n-]", "GET 206 [n-]"]
    assert asked(registry) == ["GET 307", "GET 307 [n-]", "GET 307 [n-]"], "each time by the registry"
    assert "s3cr3t" not in m.log.text()


def test_a_signed_url_that_is_never_good(mount, registry, storage, image):
    rule = storage.on("GET", "", b.answer(403, "<Error><Code>AccessDenied</Code><Message>sig s3cr3t</Message></Error>",
                                          content_type="application/xml"))
    m = mount()
    os.stat(m / "demo/app:v1/main.wasm")
    with raises(EACCES):
        os.open(m / "demo/app:v1/main.wasm", os.O_RDONLY)
    assert asked(storage) == ["GET 403", "GET 403"] and asked(registry) == ["GET 307", "GET 307"]
    assert storage.address in m.log.wait(r"403")[0] and "s3cr3t" not in m.log.text()
    assert "s3cr3t" not in run([m.binary, "why", m / "demo/app:v1/main.wasm"], env=m.env).out
    nothing_wrong(m, image)
    rule.remove()
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data


def test_storage_that_does_not_know_it_is_no_absence(mount, registry, storage, image):
    storage.on("GET", "", b.answer(404, "NoSuchKey"))
    m = mount()
    os.stat(m / "demo/app:v1/main.wasm")
    with raises(EPROTO):
        os.open(m / "demo/app:v1/main.wasm", os.O_RDONLY)
    assert asked(storage) == ["GET 404", "GET 404"]
    nothing_wrong(m, image)


def test_storage_is_told_nothing_of_who_asks(mount, registry, storage, image, work):
    import base64
    import json
    from registry.auth import Basic
    registry.auth = Basic("me", "Pa55word")
    (work / "auth.json").write_text(json.dumps({"auths": {registry.address: {
        "auth": base64.b64encode(b"me:Pa55word").decode()}}}))
    (work / "auth.json").chmod(0o600)
    m = mount(None, "--auth-file", work / "auth.json")
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert [r.headers.get("authorization") for r in storage.requests()] == [None]
    assert all("cookie" not in r.headers and "referer" not in r.headers for r in storage.requests())


def test_a_name_that_does_not_resolve(mount):
    m = mount("registry.invalid", "--timeout", "5s")
    with Clock() as took, raises(EHOSTUNREACH):
        os.readlink(m / "demo/app:v1")
    assert took.seconds < 8 * SLOW
    assert m.log.wait("registry.invalid")
    assert os.listdir(m) == [], "the root lists what is known, if only nothing"
    with Clock() as took:
        m.unmount()
    assert took.seconds < 5 * SLOW
