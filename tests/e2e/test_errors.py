# SPDX-License-Identifier: Apache-2.0
"""The errno table (DESIGN, "Errors"), row by row: the errno, what the log says, and that nothing wrong was kept."""

import json
import os
import re
from errno import (EACCES, EBADMSG, EBUSY, EFBIG, EHOSTUNREACH, ENOENT, ENOEXEC, EOPNOTSUPP, EPROTO, ETIMEDOUT)

import pytest

import artifacts
import samples
from artifacts import Blob
from harness import Clock, SLOW, opens, partials, raises, read, until
from registry import behaviours as b

SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+json"
GARBAGE = b"<html>this is no manifest</html>"

TAG_FAULTS = {
    "404": (lambda: b.error(404, "MANIFEST_UNKNOWN", "manifest unknown"), ENOENT, None),
    "401": (lambda: b.error(401, "UNAUTHORIZED", "who are you"), EACCES, "401"),
    "403": (lambda: b.error(403, "DENIED", "not for you"), EACCES, "403"),
    "500": (lambda: b.error(500, "UNKNOWN", "made to fail"), EHOSTUNREACH, "500"),
    "502": (lambda: b.answer(502, "<html>bad gateway</html>", content_type="text/html"), EHOSTUNREACH, "502"),
    "503": (lambda: b.error(503, "UNAVAILABLE", "made to fail"), EHOSTUNREACH, "503"),
    "429": (lambda: b.too_many(6), EBUSY, "429"),
    "hang-up": (lambda: b.hang_up(), EHOSTUNREACH, ""),
    "reset": (lambda: b.hang_up(reset=True), EHOSTUNREACH, ""),
    "silence": (lambda: b.silent(), ETIMEDOUT, ""),
    "teapot": (lambda: b.answer(418, "short and stout"), EPROTO, "418"),
    "redirect-to-nowhere": (lambda: b.answer(307), EPROTO, ""),
}


@pytest.fixture
def image(registry):
    return samples.push_wasm(registry.store, "demo/app", "v1", size=100_000)


@pytest.mark.parametrize("name", TAG_FAULTS)
def test_a_tag(mount, registry, image, name):
    fault, code, said = TAG_FAULTS[name]
    rule = registry.on(None, "/manifests/", fault())
    m = mount(None, "--timeout", "2s")
    with Clock() as took, raises(code):
        os.readlink(m / "demo/app:v1")
    assert took.seconds < 5 * SLOW
    if said is not None:
        m.log.wait(f"^(warning|error) .*{re.escape(registry.address)}.*{said}")
    rule.remove()
    until(lambda: link(m), 15, "the tag resolving once the registry is well")
    assert link(m).endswith(image.hex)


def link(m):
    try:
        return os.readlink(m / "demo/app:v1")
    except OSError:
        return None


BLOB_FAULTS = {name: TAG_FAULTS[name] for name in TAG_FAULTS if name != "404"}
BLOB_FAULTS["404"] = (lambda: b.error(404, "BLOB_UNKNOWN", "blob unknown to registry"), ENOENT, "404")
BLOB_FAULTS["bit"] = (lambda: b.flip(1000), EBADMSG, "sha256")
BLOB_FAULTS["hang-in-body"] = (lambda: b.silent(after=5000), ETIMEDOUT, "")
BLOB_FAULTS["redirects-in-circles"] = (lambda: b.redirect(""), EPROTO, "redirect")
BLOB_FAULTS["redirect-to-a-file"] = (lambda: b.redirect("file:///etc/passwd?"), EPROTO, "")


@pytest.mark.parametrize("name", BLOB_FAULTS)
def test_a_blob(mount, registry, image, name):
    fault, code, said = BLOB_FAULTS[name]
    rule = registry.on(None, "/blobs/", fault())
    m = mount(None, "--timeout", "2s")
    path = m / "demo/app:v1/main.wasm"
    os.stat(path)
    with Clock() as took, raises(code):
        os.open(path, os.O_RDONLY)
    assert took.seconds < 5 * SLOW
    m.log.wait(f"^(warning|error) .*{re.escape(registry.address)}.*{said}")
    assert not (m.cache / "blobs/sha256" / image.layer.hex).exists()
    rule.remove()
    until(lambda: opens(path), 15, "the blob opening once the registry is well")
    assert read(path) == image.layer.data
    until(lambda: not partials(m.cache), what="no partial")


def test_the_registry_s_own_words_are_in_the_log_cleaned(mount, registry, image):
    registry.on(None, "/manifests/", b.answer(403, '{"errors":[{"code":"DENIED","message":"pay\\u001b[31m first\\nplease"}]}'))
    m = mount()
    with raises(EACCES):
        os.readlink(m / "demo/app:v1")
    lines = m.log.wait("pay")
    assert "first" in lines[0] and "\x1b" not in m.log.text()


def test_a_failure_is_one_line_then_a_count(mount, registry, image):
    registry.on(None, "/manifests/", b.error(403, "DENIED", "made to fail"))
    m = mount()
    for i in range(30):
        with raises(EACCES):
            os.readlink(m / f"demo/app:v{i}")
    m.log.wait("made to fail|403")
    assert len(m.log.find("made to fail|403")) <= 3


BAD_MANIFESTS = {
    "garbage": (GARBAGE, artifacts.MANIFEST, EPROTO),
    "empty": (b"", artifacts.MANIFEST, EPROTO),
    "no-object": (b"[1,2,3]", artifacts.MANIFEST, EPROTO),
    "other-type-inside": (b'{"schemaVersion":2,"mediaType":"%s","manifests":[]}' % artifacts.INDEX.encode(),
                          artifacts.MANIFEST, EPROTO),
    "both-kinds": (b'{"schemaVersion":2,"manifests":[],"layers":[],"config":{}}', artifacts.MANIFEST, EPROTO),
    "negative-size": (b'{"schemaVersion":2,"config":{"mediaType":"x/y","digest":"sha256:%s","size":-1},"layers":[]}' %
                      (b"0" * 64), artifacts.MANIFEST, EPROTO),
    "no-digest": (b'{"schemaVersion":2,"config":{"mediaType":"x/y","size":1},"layers":[]}', artifacts.MANIFEST, EPROTO),
    "not-utf8": (b'{"schemaVersion":2,"config":"\xff\xfe"}', artifacts.MANIFEST, EPROTO),
    "deep": (b'{"schemaVersion":2,"layers":' + b"[" * 5000 + b"]" * 5000 + b"}", artifacts.MANIFEST, EPROTO),
    "schema-1": (b'{"schemaVersion":1,"name":"demo/app","tag":"v1","fsLayers":[],"history":[]}', SCHEMA_1, EOPNOTSUPP),
    "too-large": (b'{"schemaVersion":2,"annotations":{"x":"' + b"x" * (5 << 20) + b'"}}', artifacts.MANIFEST, EFBIG),
}


@pytest.mark.parametrize("name", BAD_MANIFESTS)
def test_a_manifest_that_is_none(mount, registry, name):
    data, media_type, code = BAD_MANIFESTS[name]
    digest = registry.store.add_manifest("demo/bad", data, media_type, "v1")
    m = mount()
    with raises(code):
        os.listdir(m / "demo/bad:v1/")
    assert m.log.wait(r"demo/bad")
    with raises(code):
        os.stat(m / "demo/bad/manifests/sha256" / digest.split(":")[1] / "manifest.json")


def test_an_endless_manifest(mount, registry, image):
    registry.on("GET", "/manifests/", b.endless())
    m = mount()
    with raises(EFBIG):
        os.listdir(m / f"demo/app@{image.digest}/")
    registry.wait_count(1, "GET", "/manifests/", state="gone")


def test_a_manifest_served_as_something_else(mount, registry, image):
    registry.on(None, "/manifests/", b.content_type("text/html"))
    m = mount()
    with raises(EPROTO):
        os.listdir(m / f"demo/app@{image.digest}/")


def test_content_types_with_parameters_and_digests_left_out(mount, registry, image):
    registry.on(None, "/manifests/", b.content_type(artifacts.MANIFEST.upper() + "; charset=utf-8"))
    registry.on(None, "", b.without_digest())
    m = mount()
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data


def test_head_that_is_not_allowed(mount, registry, image):
    registry.on("HEAD", "", b.error(405, "UNSUPPORTED"))
    m = mount()
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data


@pytest.mark.parametrize("name", ["main.wasm of text", "gzip under a Wasm type"])
def test_main_wasm_that_is_no_wasm(mount, registry, name):
    data = b"#!/bin/sh\necho hello\n" if "text" in name else b"\x1f\x8b\x08" + samples.noise(500)
    samples.push_wasm(registry.store, "demo/fake", "v1", data)
    m = mount()
    with raises(ENOEXEC):
        os.open(m / "demo/fake:v1/main.wasm", os.O_RDONLY)
    assert m.log.wait("main.wasm")
    assert read(m / "demo/fake:v1/layers/0.wasm") == data, "the bytes are there under their own name"


def test_elf_is_not_run_as_wasm(mount, registry):
    samples.push_wasm(registry.store, "demo/fake", "v1", b"\x7fELF" + samples.noise(500))
    m = mount()
    with raises(ENOEXEC):
        os.open(m / "demo/fake:v1/main.wasm", os.O_RDONLY)


def test_text_that_is_wat(mount, registry):
    samples.push_wasm(registry.store, "demo/text", "v1", b"(module)\n")
    m = mount()
    assert read(m / "demo/text:v1/main.wasm") == b"(module)\n"


def test_a_digest_that_cannot_be_verified(mount, registry):
    config = Blob(b"{}", artifacts.EMPTY)
    manifest = {"schemaVersion": 2, "mediaType": artifacts.MANIFEST, "config": config.descriptor(),
                "layers": [{"mediaType": "x/y", "digest": "blake9:" + "ab" * 20, "size": 10,
                            "annotations": {artifacts.TITLE: "odd.bin"}}]}
    registry.store.add_blob("demo/odd", b"{}")
    registry.store.add_manifest("demo/odd", json.dumps(manifest).encode(), artifacts.MANIFEST, "v1")
    m = mount()
    name = os.listdir(m / "demo/odd:v1/layers")[0]
    with raises(EOPNOTSUPP):
        read(m / "demo/odd:v1/layers" / name)
    with raises(EOPNOTSUPP):
        os.readlink(m / ("demo/odd@blake9:" + "ab" * 20))
    assert read(m / "demo/odd:v1/config.json") == b"{}"


def test_sha512(mount, registry):
    layer = Blob(samples.wasm(9000, 5), "application/wasm", "x.wasm", algorithm="sha512")
    artifact = samples.push(registry.store, "demo/long", "v1", Blob(b"{}", artifacts.EMPTY, algorithm="sha512"), [layer])
    m = mount()
    assert read(m / "demo/long:v1/files/x.wasm") == layer.data
    assert read(m / "demo/long:v1/config.json") == b"{}"
    assert read(m / f"demo/long/blobs/sha512/{layer.hex}") == layer.data
    assert registry.count("GET", "/blobs/sha512:") >= 1 and artifact.digest.startswith("sha256:")


def test_larger_than_the_cache(mount, registry):
    image = samples.push_wasm(registry.store, "demo/big", "v1", size=6 << 20)
    small = samples.push_wasm(registry.store, "demo/small", "v1", size=10_000)
    m = mount(None, "--cache-size", "4M")
    assert os.stat(m / "demo/big:v1/main.wasm").st_size == len(image.layer.data)
    with raises(EFBIG):
        os.open(m / "demo/big:v1/main.wasm", os.O_RDONLY)
    assert m.log.wait(image.layer.hex)
    assert registry.count("GET", image.layer.digest) == 0, "not even asked for"
    assert read(m / "demo/small:v1/main.wasm") == small.layer.data


def test_absence_is_remembered_for_a_while(mount, registry, image):
    m = mount()
    for _ in range(20):
        with raises(ENOENT):
            os.readlink(m / "demo/app:nope")
    assert registry.count(None, "/manifests/nope") <= 2


def test_failure_is_never_absence(mount, registry, image):
    registry.on(None, "", b.error(503, "UNAVAILABLE"))
    m = mount(None, "--timeout", "2s")
    for path in ("demo/app:v1", "demo/app:nope"):
        with raises(EHOSTUNREACH):
            os.readlink(m / path)
    for path in ("demo/app/tags", "demo/app/manifests/sha256/" + image.hex):
        with raises(EHOSTUNREACH):
            os.listdir(m / path)


def test_a_host_that_failed_is_left_alone(mount, registry, image):
    registry.on(None, "", b.error(503, "UNAVAILABLE"))
    m = mount(None, "--timeout", "2s")
    with raises(EHOSTUNREACH):
        os.readlink(m / "demo/app:v1")
    before = registry.count()
    with Clock() as took:
        for i in range(50):
            with raises(EHOSTUNREACH):
                os.readlink(m / f"demo/app:x{i}")
    assert took.seconds < 4
    assert registry.count() <= before + 5


def test_one_503_does_not_matter(mount, registry, image):
    registry.on("GET", "", b.error(503, "UNAVAILABLE"), times=1)
    registry.on("HEAD", "", b.error(503, "UNAVAILABLE"), times=1)
    m = mount()
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data


def test_retry_after_a_second(mount, registry, image):
    registry.on("GET", "/blobs/", b.too_many(1), times=1)
    m = mount()
    with Clock() as took:
        assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert took.seconds >= 0.9
    assert registry.count("GET", f"/blobs/{image.layer.digest}") == 2


def test_redirects_are_followed(mount, registry, registries, image):
    middle, last = registries(host="127.0.0.2"), registries(host="127.0.0.3", store=registry.store)
    registry.on("GET", "/blobs/", b.redirect(middle))
    middle.on(None, "", b.redirect(last, 302))
    m = mount()
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert middle.count() == last.count() == 1


def test_a_registry_behind_a_redirect(mount, registry, registries, image):
    """All of it is elsewhere, as of registry.k8s.io, and so is the word on what is not there."""
    front = registries()
    front.on(None, "", b.redirect(registry))
    m = mount(front.address)
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert os.listdir(m / "demo/app:v1/referrers") == []
    for path in ("demo/app:nothing", "demo/app/tags/nothing", "demo/nothing:v1", f"demo/app/blobs/sha256/{'0' * 64}"):
        with raises(ENOENT):
            os.stat(m / path)


def test_storage_has_no_word_on_what_is_there(mount, registry, registries, image):
    storage = registries()
    storage.on(None, "", b.answer(404, "<Error><Code>NoSuchKey</Code></Error>", content_type="application/xml"))
    registry.on("GET", "/blobs/", b.redirect(storage))
    m = mount()
    with raises(EPROTO):
        read(m / "demo/app:v1/main.wasm")


def test_the_wrong_bytes_behind_a_redirect(mount, registry, registries, image):
    last = registries(host="127.0.0.2", store=registry.store)
    last.on("GET", "", b.flip(50))
    registry.on("GET", "/blobs/", b.redirect(last))
    m = mount()
    with raises(EBADMSG):
        os.open(m / "demo/app:v1/main.wasm", os.O_RDONLY)
