# SPDX-License-Identifier: Apache-2.0
"""Manifests as registries serve them, and what they spare a request: data in descriptors, objects that everybody knows."""

import base64
import gzip
import json
import os
from errno import EBADMSG, EFBIG, ENOENT, EOPNOTSUPP, EPROTO

import pytest

import artifacts
import samples
from artifacts import Blob
from harness import files_holding, raises, read
from registry import behaviours as b

HELLO = b"hello, this is a layer\n"


def manifest_of(config, *layers):
    """Over descriptors; the registry has none of the blobs."""
    return {"schemaVersion": 2, "mediaType": artifacts.MANIFEST, "config": config, "layers": list(layers)}


def with_data(blob, data=None, **changes):
    return {**blob.descriptor(), "data": base64.b64encode(blob.data).decode() if data is None else data, **changes}


def cached(m, blob):
    return (m.cache / "blobs" / blob.digest.replace(":", "/")).exists()


# data in descriptors

def test_what_a_manifest_carries_is_not_asked_for(mount, registry):
    config = Blob(b'{"architecture":"wasm"}', artifacts.IMAGE_CONFIG)
    layer, long = Blob(HELLO, "text/plain", "hello.txt"), Blob(samples.wasm(3000), "application/wasm", "a.wasm", algorithm="sha512")
    registry.store.add_manifest("demo/inline", manifest_of(with_data(config), with_data(layer), with_data(long)), tag="v1")
    m = mount()
    assert read(m / "demo/inline:v1/config.json") == config.data
    assert read(m / "demo/inline:v1/files/hello.txt") == HELLO
    assert read(m / f"demo/inline/blobs/sha512/{long.hex}") == long.data
    assert registry.count() == registry.count("GET", "/manifests/v1") == 1
    assert cached(m, config) and cached(m, layer)
    m.unmount()
    m.restart()
    assert read(m / f"demo/inline/blobs/sha256/{layer.hex}") == HELLO
    assert registry.count() == 1, "a later mount neither"


@pytest.mark.parametrize("change", [dict(data=base64.b64encode(HELLO[::-1]).decode()), dict(data="!" * 32), dict(data=""),
                                    dict(data=base64.b64encode(HELLO).decode().rstrip("=") + "A"), dict(data=17),
                                    dict(data=base64.b64encode(HELLO + b"more").decode())],
                         ids=["other-bytes", "no-base64", "nothing", "no-padding", "a-number", "more"])
def test_data_that_is_wrong_is_ignored(mount, registry, change):
    config, layer = Blob(b"{}", artifacts.EMPTY), Blob(HELLO, "text/plain", "hello.txt")
    registry.store.add_blob("demo/inline", HELLO)
    registry.store.add_manifest("demo/inline", manifest_of(config.descriptor(), with_data(layer, **change)), tag="v1")
    m = mount()
    os.listdir(m / "demo/inline:v1/files")
    assert not cached(m, layer)
    assert read(m / "demo/inline:v1/files/hello.txt") == HELLO
    assert registry.count("GET", f"/blobs/{layer.digest}") == 1


def test_data_of_another_size_is_no_blob_of_that_size(mount, registry):
    layer = Blob(HELLO, "text/plain", "hello.txt")
    registry.store.add_blob("demo/inline", HELLO)
    registry.store.add_manifest("demo/inline", manifest_of(Blob(b"{}", artifacts.EMPTY).descriptor(),
                                                           with_data(layer, size=len(HELLO) + 3)), tag="v1")
    m = mount()
    with raises(EBADMSG):
        read(m / "demo/inline:v1/files/hello.txt")
    assert not cached(m, layer)


# what everybody knows

def test_the_empty_object_and_nothing_are_not_asked_for(mount, registry):
    config, nothing = Blob(b"{}", artifacts.EMPTY), Blob(b"", "text/plain", "nothing.txt")
    long = Blob(b"", "text/plain", "long.txt", algorithm="sha512")
    registry.store.add_manifest("demo/empty", manifest_of(config.descriptor(), nothing.descriptor(), long.descriptor()), tag="v1")
    m = mount()
    assert read(m / "demo/empty:v1/config.json") == b"{}"
    assert read(m / "demo/empty:v1/files/nothing.txt") == read(m / "demo/empty:v1/files/long.txt") == b""
    assert registry.count(None, "/blobs/") == 0
    registry.stop()
    assert read(m / "demo/empty:v1/layers/1.txt") == b"", "nor is anybody waited for"


def test_the_empty_object_of_another_size(mount, registry):
    registry.store.add_manifest("demo/empty", manifest_of({**Blob(b"{}", artifacts.EMPTY).descriptor(), "size": 5}), tag="v1")
    m = mount()
    with raises(EBADMSG):
        read(m / "demo/empty:v1/config.json")
    assert m.log.wait("44136fa355b3.*declared with 5 bytes, and has 2")
    assert registry.count(None, "/blobs/") == 0


def test_nothing_under_the_digest_of_something(mount, registry):
    layer = Blob(HELLO, "text/plain", "hello.txt")
    registry.store.add_manifest("demo/empty", manifest_of(Blob(b"{}", artifacts.EMPTY).descriptor(),
                                                          {**layer.descriptor(), "size": 0}), tag="v1")
    m = mount()
    with raises(EBADMSG):
        read(m / "demo/empty:v1/files/hello.txt")
    assert registry.count(None, "/blobs/") == 0 and not cached(m, layer)


# how manifests are asked for and served

@pytest.fixture
def image(registry):
    return samples.push_wasm(registry.store, "demo/app", "v1")


def test_one_line_names_every_type(mount, registry, image):
    """A registry that finds the type of an index missing answers 404; a proxy keeps only the last of several lines."""
    def picky(request, proceed):
        accept = request.headers.get("accept") or ""
        found = [word.strip() for word in accept.split(",")]
        wanted = [artifacts.INDEX, artifacts.MANIFEST, "application/vnd.docker.distribution.manifest.list.v2+json",
                  "application/vnd.docker.distribution.manifest.v2+json"]
        return proceed() if found == wanted else b.error(404, "MANIFEST_UNKNOWN", "accept header")(request, proceed)
    registry.on(None, "/manifests/", picky)
    m = mount(None, "--tag-ttl", "1s")
    assert read(m / f"demo/app@{image.digest}/main.wasm") == image.layer.data
    assert os.readlink(m / "demo/app:v1").endswith(image.hex)


def without_length(request, proceed):
    response = proceed()
    response.body, response.length = iter(()), None
    return response


HEADS = {
    "no-digest": [b.without_digest()],
    "no-length": [without_length],
    "405": [b.error(405, "UNSUPPORTED")],
    "403": [b.error(403, "DENIED")],
    "other-type": [b.content_type("text/html")],
    "odd-digest": [b.set_header("Docker-Content-Digest", "blake9:" + "ab" * 20)],
}


@pytest.mark.parametrize("name", HEADS)
def test_a_head_that_does_not_tell(mount, registry, image, name):
    for behaviour in HEADS[name]:
        registry.on("HEAD", "/manifests/", behaviour)
    m = mount()
    os.listdir(m / f"demo/app@{image.digest}/")  # now the repository is known, and tags are asked for by HEAD
    before = registry.count()
    assert os.readlink(m / "demo/app:v1").endswith(image.hex)
    assert [r.method for r in registry.requests()][before:] == ["HEAD", "GET"]


@pytest.mark.parametrize("value", ["{0}; charset=utf-8", "{0} ;x=y", "{1}", "application/json", "text/plain; charset=utf-8"])
def test_content_types_that_mean_the_same(mount, registry, image, value):
    registry.on(None, "/manifests/", b.content_type(value.format(artifacts.MANIFEST, artifacts.MANIFEST.upper())))
    m = mount()
    assert read(m / f"demo/app@{image.digest}/main.wasm") == image.layer.data


@pytest.mark.parametrize("value", ["text/html", artifacts.INDEX, artifacts.IMAGE_CONFIG])
def test_content_types_that_contradict(mount, registry, image, value):
    registry.on(None, "/manifests/", b.content_type(value))
    m = mount()
    with raises(EPROTO):
        os.listdir(m / f"demo/app@{image.digest}/")
    assert m.log.wait(f"served as {value.split('/')[0]}.*but calls itself")
    assert not files_holding(m.cache, image.data)
    assert registry.count() == 1


def test_a_digest_of_another_algorithm_is_checked_and_kept(mount, registry, image):
    long = artifacts.digest_of(image.data, "sha512")
    registry.store.add_manifest("demo/app", image.data, artifacts.MANIFEST, digest=long)
    registry.on(None, "/manifests/v1", b.set_header("Docker-Content-Digest", long))
    m = mount(None, "--tag-ttl", "1s")
    link = os.readlink(m / "demo/app:v1")
    assert link.endswith("manifests/sha512/" + long.split(":")[1])
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    registry.heal()


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_digest_that_is_not_that_of_the_bytes(mount, registry, image, algorithm):
    registry.on("GET", "/manifests/", b.set_header("Docker-Content-Digest", artifacts.digest_of(b"x", algorithm)))
    m = mount()
    with raises(EBADMSG):
        os.readlink(m / "demo/app:v1")
    assert m.log.wait("do not match the digest that goes with them")
    assert not files_holding(m.cache, image.data)


def zipped(request, proceed):
    response = proceed()
    if request.method == "GET" and response.status == 200:
        data = gzip.compress(bytes(response.body))
        response.headers.drop("content-length")
        response.headers.set("Content-Encoding", "gzip")
        response.body, response.length = data, len(data)
    return response


def test_an_encoding_that_nobody_asked_for(mount, registry, image):
    registry.on(None, "/manifests/", zipped)
    m = mount()
    with raises(EBADMSG):
        os.listdir(m / f"demo/app@{image.digest}/")
    assert m.log.wait("Content-Encoding")
    assert registry.requests("GET", "/manifests/")[0].headers.get("accept-encoding") == "identity"


def test_an_encoding_and_no_digest_to_tell(mount, registry, image):
    registry.on(None, "/manifests/", zipped)
    registry.on(None, "/manifests/", b.without_digest())
    m = mount()
    with raises(EPROTO):
        os.readlink(m / "demo/app:v1")
    assert m.log.wait("Content-Encoding")
    assert not [path for path in (m.cache / "blobs").rglob("*") if path.is_file()], "nothing was kept"


SCHEMA_1 = {
    "v1": ("application/vnd.docker.distribution.manifest.v1+json", '{"schemaVersion":1,"fsLayers":[]}'),
    "signed": ("application/vnd.docker.distribution.manifest.v1+prettyjws", '{"schemaVersion":1,"signatures":[]}'),
    "as-text": ("text/plain", '{"schemaVersion":1,"fsLayers":[]}'),
    "as-json": ("application/json", '{"schemaVersion":1,"fsLayers":[]}'),
}


@pytest.mark.parametrize("name", SCHEMA_1)
def test_schema_1_is_refused_in_words(mount, registry, name):
    media_type, data = SCHEMA_1[name]
    registry.store.add_manifest("demo/old", data.encode(), media_type, "v1")
    m = mount()
    with raises(EOPNOTSUPP):
        os.listdir(m / "demo/old:v1/")
    assert m.log.wait("schema 1")


def test_ten_thousand_manifests_in_an_index(mount, registry):
    child = samples.push_wasm(registry.store, "demo/many", "child")
    entries = [{**child.descriptor(), "annotations": {"n": str(i)}} for i in range(10_000)]
    registry.store.add_manifest("demo/many", {"schemaVersion": 2, "mediaType": artifacts.INDEX, "manifests": entries},
                                artifacts.INDEX, "v1")
    m = mount()
    assert len(json.loads(read(m / "demo/many:v1/manifest.json"))["manifests"]) == 10_000


@pytest.mark.parametrize("data", ['{"schemaVersion":2,"config":{},"config":{},"layers":[]}',
                                  '{"schemaVersion":2,"config":{"digest":"sha256:%s","size":1e30},"layers":[]}' % ("0" * 64),
                                  '{"schemaVersion":2,"config":{"digest":"sha256:%s","size":1.5},"layers":[]}' % ("0" * 64),
                                  '{"schemaVersion":2,"x":' + "[" * 10_000 + "]" * 10_000 + "}"],
                         ids=["twice", "huge", "half", "deep"])
def test_documents_that_two_readers_would_read_differently(mount, registry, data):
    registry.store.add_manifest("demo/odd", data.encode(), artifacts.MANIFEST, "v1")
    m = mount()
    with raises(EPROTO):
        os.listdir(m / "demo/odd:v1/")
    assert m.log.wait("demo/odd")
    assert m.process.poll() is None


def test_a_manifest_beyond_the_limit(mount, registry):
    registry.store.add_manifest("demo/big", b'{"schemaVersion":2,"x":"' + b"x" * (4 << 20) + b'"}', artifacts.MANIFEST, "v1")
    m = mount()
    with raises(EFBIG):
        os.listdir(m / "demo/big:v1/")
    assert not files_holding(m.cache, b"xxxxxxxxxxxxxxxx")


def test_a_tag_that_moves_between_two_questions(mount, registry, image):
    other = samples.push_wasm(registry.store, "demo/app", "v2", seed=9)

    def moves(request, proceed):
        response = proceed()
        registry.store.tag("demo/app", "v1", other.digest)
        return response
    m = mount(None, "--tag-ttl", "1s")
    os.listdir(m / f"demo/app@{other.digest}/")
    registry.on("HEAD", "/manifests/v1", moves, times=1)
    directory = os.open(m / "demo/app:v1", os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert registry.store.find("demo/app").tags["v1"] == other.digest
        for name, want in (("manifest.json", image.data), ("main.wasm", image.layer.data)):
            fd = os.open(name, os.O_RDONLY, dir_fd=directory)
            with os.fdopen(fd, "rb") as file:
                assert file.read() == want, "each open is of one digest"
    finally:
        os.close(directory)


def test_layers_that_lie_elsewhere_are_not_fetched_from_there(mount, registry, registries):
    """`urls` of a foreign layer: nobody asked us to trust whatever host a manifest names."""
    elsewhere = registries(store=registry.store)
    layer = Blob(b"windows" * 100, "application/vnd.oci.image.layer.nondistributable.v1.tar", "base.tar")
    config = Blob(b"{}", artifacts.EMPTY)
    manifest = {"schemaVersion": 2, "mediaType": artifacts.MANIFEST, "config": config.descriptor(),
                "layers": [{**layer.descriptor(), "urls": [f"{elsewhere.url}/v2/demo/app/blobs/{layer.digest}",
                                                           "file:///etc/passwd"]}]}
    registry.store.add_blob("demo/app", config.data)
    registry.store.add_manifest("demo/app", json.dumps(manifest).encode(), artifacts.MANIFEST, "v1")
    m = mount()
    [name] = os.listdir(m / "demo/app:v1/layers")
    with raises(ENOENT):
        read(m / "demo/app:v1/layers" / name)
    assert elsewhere.count() == 0
    registry.store.add_blob("demo/app", layer.data)
    assert read(m / "demo/app:v1/layers" / name) == layer.data, "the registry may have it all the same"
