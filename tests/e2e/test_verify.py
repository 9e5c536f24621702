# SPDX-License-Identifier: Apache-2.0
"""No byte is handed out before the whole object matched its digest."""

import os
from errno import EBADMSG

import pytest

import samples
from harness import files_holding, partials, raises, read
from registry import behaviours as b

SIZES = {"small": 5000, "large": 3 << 20}


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("fault", [b.flip(2000), b.flip(0), b.flip(-1, bit=7), b.shorter(), b.longer(),
                                   b.shorter(4000)],
                         ids=["bit", "first-bit", "last-bit", "byte-less", "byte-more", "much-less"])
def test_a_wrong_blob_is_never_readable(mount, registry, size, fault):
    image = samples.push_wasm(registry.store, "demo/app", "v1", size=size)
    rule = registry.on("GET", "/blobs/", fault)
    m = mount()
    path = m / "demo/app:v1/layers/0.wasm"
    assert os.stat(path).st_size == len(image.layer.data)
    with raises(EBADMSG):
        os.open(path, os.O_RDONLY)
    found = m.log.wait(image.layer.hex)
    assert any(registry.address in line for line in found), found
    assert not partials(m.cache)
    assert not files_holding(m.cache, image.layer.data[40:90])
    assert not (m.cache / "blobs/sha256" / image.layer.hex).exists()
    rule.remove()
    assert read(path) == image.layer.data, "the next open asks anew"


def test_bytes_beyond_the_announced_length_are_no_part_of_it(mount, registry):
    image = samples.push_wasm(registry.store, "demo/app", "v1", size=2 << 20)
    registry.on("GET", "/blobs/", b.longer(honest=False))
    m = mount()
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert read(m / "demo/app:v1/config.json") == image.config.data


@pytest.mark.parametrize("fault", [b.flip(30), b.shorter(), b.longer()], ids=["bit", "byte-less", "byte-more"])
def test_a_wrong_manifest_is_never_believed(mount, registry, fault):
    image = samples.push_wasm(registry.store, "demo/app", "v1")
    rule = registry.on("GET", "/manifests/", fault)
    m = mount()
    with raises(EBADMSG):
        os.listdir(m / f"demo/app/manifests/sha256/{image.hex}")
    assert m.log.wait(image.hex)
    assert not files_holding(m.cache, image.data[60:])
    rule.remove()
    assert read(m / f"demo/app/manifests/sha256/{image.hex}/manifest.json") == image.data


def test_a_wrong_config_is_never_readable(mount, registry):
    image = samples.push_wasm(registry.store, "demo/app", "v1")
    registry.on("GET", f"/blobs/{image.config.digest}", b.flip(3))
    m = mount()
    with raises(EBADMSG):
        os.open(m / "demo/app:v1/config.json", os.O_RDONLY)
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data


def test_every_reader_of_a_wrong_blob_is_told(mount, registry):
    """Also those that wait already when the last byte comes."""
    from harness import Child
    image = samples.push_wasm(registry.store, "demo/app", "v1", size=3 << 20)
    silence = registry.on("GET", "/blobs/", b.silent())
    flip = registry.on("GET", "/blobs/", b.flip(1 << 20))
    m = mount()
    readers = [Child(["cat", m / "demo/app:v1/main.wasm"]).waiting("open") for _ in range(10)]
    silence.remove()
    for reader in readers:
        code, out, err = reader.ends(20)
        assert (code, out) == (1, "") and "Bad message" in err
    flip.remove()
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data


def test_a_cut_transfer_is_continued(mount, registry):
    image = samples.push_wasm(registry.store, "demo/app", "v1", size=3 << 20)
    registry.on("GET", "/blobs/", b.cut(1 << 20), times=1)
    m = mount()
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    ranges = [r.headers.get("range") for r in registry.requests("GET", "/blobs/")]
    assert ranges[0] is None and len(ranges) == 2
    start, end = ranges[1].removeprefix("bytes=").split("-")
    assert 0 < int(start) <= 1 << 20 and int(end) == len(image.layer.data) - 1, "a closed range of what is missing"


def test_one_byte_less_than_announced_is_fetched(mount, registry):
    image = samples.push_wasm(registry.store, "demo/app", "v1", size=2 << 20)
    registry.on("GET", "/blobs/", b.shorter(honest=False), times=1)
    m = mount()
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data


def test_a_registry_that_ignores_ranges(mount, registry):
    image = samples.push_wasm(registry.store, "demo/app", "v1", size=2 << 20)
    registry.ranges = False
    registry.on("GET", "/blobs/", b.cut(1 << 20), times=1)
    m = mount()
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert registry.count("GET", "/blobs/") == 2


def test_bodies_without_a_length(mount, registry):
    image = samples.push_wasm(registry.store, "demo/app", "v1", size=2 << 20)
    registry.on("GET", "", b.chunked())
    m = mount()
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data


@pytest.mark.parametrize("extra", [1, 1 << 20])
def test_a_body_without_a_length_that_is_too_long(mount, registry, extra):
    image = samples.push_wasm(registry.store, "demo/app", "v1", size=2 << 20)
    registry.on("GET", "/blobs/", b.longer(extra))
    registry.on("GET", "/blobs/", b.chunked())
    m = mount()
    with raises(EBADMSG):
        os.open(m / "demo/app:v1/main.wasm", os.O_RDONLY)
    assert not files_holding(m.cache, image.layer.data[1000:1064])


def test_an_endless_blob_ends(mount, registry):
    samples.push_wasm(registry.store, "demo/app", "v1", size=2 << 20)
    registry.on("GET", "/blobs/", b.endless())
    m = mount()
    with raises(EBADMSG):
        os.open(m / "demo/app:v1/main.wasm", os.O_RDONLY)
    registry.wait_count(1, "GET", "/blobs/", state="gone")


def test_a_tag_whose_digest_header_lies(mount, registry):
    """The header is a claim about the body; the body decides."""
    image = samples.push_wasm(registry.store, "demo/app", "v1")
    registry.on(None, "/manifests/v1", b.set_header("Docker-Content-Digest", "sha256:" + "0" * 64))
    m = mount()
    try:
        data = read(m / "demo/app:v1/manifest.json")
    except OSError:
        pass
    else:
        assert data == image.data


def test_an_empty_blob_needs_no_request(mount, registry):
    samples.push_files(registry.store, "demo/app", "v1", {"empty.txt": b"", "one.txt": b"1"})
    m = mount()
    assert read(m / "demo/app:v1/files/empty.txt") == b""
    assert os.stat(m / "demo/app:v1/files/empty.txt").st_blocks == 0
    assert registry.count("GET", "/blobs/") == 0
