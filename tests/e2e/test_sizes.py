# SPDX-License-Identifier: Apache-2.0
"""Sizes that a registry says, and that are not true: they are never served, and do not stay."""

import os
from errno import EBADMSG

import pytest

import samples
from harness import raises, read, run
from registry import behaviours as b

WRONG = 77


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
