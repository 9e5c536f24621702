# SPDX-License-Identifier: Apache-2.0
"""The fewest requests, counted, each with its reason."""

import os

import pytest

import samples
from harness import read
from registry import behaviours as b
from registry.auth import Bearer, Basic


@pytest.fixture
def image(registry):
    return samples.push_wasm(registry.store, "demo/app", "v1", size=50_000)


def asked(server):
    return [f"{request.method} {request.path.rsplit('/v2/', 1)[-1]} {request.status}" for request in server.requests()]


def test_cold(mount, registry, image):
    m = mount()
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert asked(registry) == ["GET demo/app/manifests/v1 200", f"GET demo/app/blobs/{image.layer.digest} 200"]


def test_cold_by_digest(mount, registry, image):
    m = mount()
    assert read(m / f"demo/app@{image.digest}/main.wasm") == image.layer.data
    assert asked(registry) == [f"GET demo/app/manifests/{image.digest} 200",
                               f"GET demo/app/blobs/{image.layer.digest} 200"]


def test_cold_with_tokens_and_storage_elsewhere(mount, registry, registries, tokens, image):
    door = tokens(anonymous=True)
    registry.auth = Bearer(door)
    storage = registries(host="127.0.0.2", store=registry.store)
    registry.on("GET", "/blobs/", b.redirect(storage))
    m = mount()
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert asked(registry) == ["GET demo/app/manifests/v1 401", "GET demo/app/manifests/v1 200",
                               f"GET demo/app/blobs/{image.layer.digest} 307"]
    assert door.count() == 1 and storage.count() == 1
    registry.clear()
    other = samples.push_wasm(registry.store, "demo/other", "v1", size=3000, seed=2)
    assert read(m / "demo/other:v1/main.wasm") == other.layer.data
    assert [line.rsplit(" ", 1)[1] for line in asked(registry)] == ["200", "307"], "the challenge is known by now"
    assert door.count() == 2, "a token for each repository"


def test_cold_with_a_password(mount, registry, image, work):
    import base64
    import json
    registry.auth = Basic("me", "secret")
    (work / "auth.json").write_text(json.dumps({"auths": {registry.address: {
        "auth": base64.b64encode(b"me:secret").decode()}}}))
    m = mount(None, "--auth-file", work / "auth.json")
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert [line.rsplit(" ", 1)[1] for line in asked(registry)] == ["401", "200", "200"]


def test_the_blob_alone_when_the_rest_is_known(mount, registry, image):
    m = mount()
    os.stat(m / "demo/app:v1/main.wasm")
    registry.clear()
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert asked(registry) == [f"GET demo/app/blobs/{image.layer.digest} 200"]


def test_another_tag_of_the_same(mount, registry, image):
    registry.store.tag("demo/app", "latest", image.digest)
    m = mount()
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    registry.clear()
    assert read(m / "demo/app:latest/main.wasm") == image.layer.data
    assert asked(registry) == ["HEAD demo/app/manifests/latest 200"]


def test_the_same_again(mount, registry, image):
    m = mount()
    read(m / "demo/app:v1/main.wasm")
    registry.clear()
    for path in ("demo/app:v1/main.wasm", "demo/app/tags/v1/main.wasm", "demo/app:v1/layers/0.wasm",
                 f"demo/app/blobs/sha256/{image.layer.hex}", "demo/app:v1/manifest.json"):
        read(m / path)
    assert asked(registry) == []


def test_a_later_mount(mount, registry, image):
    m = mount()
    read(m / "demo/app:v1/main.wasm")
    m.unmount()
    registry.clear()
    again = mount()
    assert read(again / "demo/app:v1/main.wasm") == image.layer.data
    assert asked(registry) == ["HEAD demo/app/manifests/v1 304"], "whether the tag still names it"
