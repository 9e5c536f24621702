# SPDX-License-Identifier: Apache-2.0
"""Sizes that a registry says, and that are not true: they are never served, and do not stay."""

import json
import os
from errno import EBADMSG

import pytest

import samples
from harness import raises, read, run
from registry import behaviours as b

WRONG = 77


def listed(m):
    """The sizes of tags in the index."""
    entries = json.loads(read(m / "demo/app/index.json"))["manifests"]
    return {e["annotations"]["org.opencontainers.image.ref.name"]: e["size"] for e in entries}


@pytest.fixture
def image(registry):
    samples.push_wasm(registry.store, "demo/app", "v0", size=5000)
    return samples.push_wasm(registry.store, "demo/app", "v1", size=6000)


def wrong(registry, part):
    return registry.on("HEAD", part, b.set_header("Content-Length", WRONG))


def test_of_a_blob_that_nothing_declared(mount, registry, image):
    wrong(registry, "/blobs/")
    m = mount()
    os.listdir(m / "demo/app/tags")
    path = m / f"demo/app/blobs/sha256/{image.layer.hex}"
    with raises(EBADMSG):
        read(path)
    assert f"{WRONG} were declared" in run([m.binary, "why", path], env=m.env).out
    assert read(path) == image.layer.data, "the bytes themselves were asked for their size"


def test_of_a_blob_that_is_fetched_under_another_name(mount, registry, image):
    wrong(registry, "/blobs/")
    m = mount()
    os.listdir(m / "demo/app/tags")
    path = m / f"demo/app/blobs/sha256/{image.layer.hex}"
    assert os.stat(path).st_size == WRONG
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert os.stat(path).st_size == len(image.layer.data) and read(path) == image.layer.data


def test_of_a_manifest(mount, registry, image):
    wrong(registry, "/manifests/")
    m = mount()
    os.listdir(m / "demo/app/tags")
    assert listed(m)["v1"] == WRONG, "nobody knows better yet"
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert listed(m) == {"v0": WRONG, "v1": len(image.data)}
    assert read(m / f"demo/app/blobs/sha256/{image.hex}") == image.data
    m.unmount()
    assert listed(mount(None, "--offline"))["v1"] == len(image.data)


def test_of_a_manifest_as_a_blob(mount, registry, image):
    wrong(registry, "/manifests/")
    m = mount()
    os.listdir(m / "demo/app/tags")
    assert listed(m)["v1"] == WRONG
    path = m / f"demo/app/blobs/sha256/{image.hex}"
    with raises(EBADMSG):
        read(path)
    assert read(path) == image.data
    assert listed(m)["v1"] == len(image.data)


def test_what_is_recorded_of_a_tag_is_corrected(mount, registry, image):
    wrong(registry, "/manifests/")
    m = mount()
    os.listdir(m / "demo/app/tags")
    assert listed(m)["v1"] == WRONG and read(m / "demo/app:v1/main.wasm") == image.layer.data
    m.unmount()
    m = mount()
    assert os.readlink(m / "demo/app:v1").endswith(image.hex)
    assert registry.count("HEAD", "/manifests/v1", status=304) > 0
    m.unmount()
    cached, = (path for path in m.cache.rglob(f"*{image.hex[2:]}*") if path.is_file())
    cached.unlink()
    assert listed(mount(None, "--offline"))["v1"] == len(image.data)
