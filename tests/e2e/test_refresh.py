# SPDX-License-Identifier: Apache-2.0
"""`wasmocifs refresh PATH`: what a registry said is asked anew, at the next use and no sooner."""

import os
from errno import ENOENT

import pytest

import samples
from harness import raises, read, run, until

FOR_EVER = ("--tag-ttl", "1h", "--list-ttl", "1h")


@pytest.fixture
def images(registry):
    """v1 names the first, and both are there by digest."""
    first = samples.push_wasm(registry.store, "demo/app", "v1", size=5000, seed=1)
    second = samples.push_wasm(registry.store, "demo/app", None, size=5000, seed=2)
    return first, second


def refresh(m, path, code=0):
    result = run([m.binary, "refresh", m / path if path else m.path], env=m.env)
    assert result.code == code, result
    if code:
        assert result.out == "" and result.err.count("\n") == 1
    return result.out or result.err


def target(m, name="demo/app:v1"):
    return os.path.basename(os.readlink(m / name))


@pytest.mark.parametrize("path", ["demo/app:v1", "demo/app:v1/main.wasm", "demo/app/tags/v1", "demo/app", "demo", "",
                                  "demo/app/index.json"])
def test_a_tag_that_moved(mount, registry, images, path):
    first, second = images
    m = mount(None, *FOR_EVER)
    assert target(m) == first.hex
    registry.store.tag("demo/app", "v1", second.digest)
    assert target(m) == first.hex
    asked = registry.count()
    assert "asked anew" in refresh(m, path)
    assert registry.count() == asked, "nobody is asked by that"
    assert target(m) == second.hex and read(m / "demo/app:v1/main.wasm") == second.layer.data
    assert registry.count("HEAD", "/manifests/v1") == 1


def test_other_tags_stay(mount, registry, images):
    first, second = images
    registry.store.tag("demo/app", "v2", first.digest)
    samples.push_wasm(registry.store, "demo/other", "v1", seed=3)
    registry.store.tag("demo/application", "v1", samples.push_wasm(registry.store, "demo/application", "v1", seed=4).digest)
    m = mount(None, *FOR_EVER)
    names = ["demo/app:v1", "demo/app:v2", "demo/other:v1", "demo/application:v1"]
    before = [target(m, name) for name in names]
    asked = registry.count()
    refresh(m, "demo/app:v1")
    assert [target(m, name) for name in names] == before
    assert registry.count() == asked + 1
    assert "(2 answers forgotten)" in refresh(m, "demo/app")
    assert [target(m, name) for name in names] == before
    assert registry.count() == asked + 3


def test_a_listing(mount, registry, images):
    m = mount(None, *FOR_EVER)
    assert os.listdir(m / "demo/app/tags") == ["v1"]
    registry.store.tag("demo/app", "v2", images[1].digest)
    assert os.listdir(m / "demo/app/tags") == ["v1"]
    assert "the tags of demo/app" in refresh(m, "demo/app/tags")
    assert sorted(os.listdir(m / "demo/app/tags")) == ["v1", "v2"]


def test_the_catalog(mount, registry, images):
    m = mount(None, *FOR_EVER)
    assert os.listdir(m) == ["demo"] and os.listdir(m / "demo") == ["app"]
    samples.push_wasm(registry.store, "demo/more", "v1", seed=5)
    assert os.listdir(m / "demo") == ["app"]
    refresh(m, "demo")
    assert sorted(os.listdir(m / "demo")) == ["app", "more"]


def test_what_did_not_exist(mount, registry, images):
    m = mount()
    with raises(ENOENT):
        os.readlink(m / "demo/app:new")
    registry.store.tag("demo/app", "new", images[1].digest)
    with raises(ENOENT):
        os.readlink(m / "demo/app:new")
    assert "(1 answer forgotten)" in refresh(m, "demo/app:new")
    assert target(m, "demo/app:new") == images[1].hex


def test_a_registry_that_is_gone(mount, registry, images):
    """What it said last is not lost."""
    m = mount(None, "--timeout", "2s", *FOR_EVER)
    assert target(m) == images[0].hex
    registry.stop()
    refresh(m, "")
    assert target(m) == images[0].hex
    registry.start()
    registry.store.tag("demo/app", "v1", images[1].digest)
    until(lambda: target(m) == images[1].hex, what="the registry being asked again")


def test_nothing_to_forget(mount, registry, images):
    m = mount()
    first = images[0]
    for path in (f"demo/app@{first.digest}", f"demo/app/manifests/sha256/{first.hex}", "demo/app/oci-layout",
                 f"demo/app/blobs/sha256/{first.layer.hex}", "demo/app/blobs"):
        assert "nothing to forget" in refresh(m, path) and "never changes" in refresh(m, path)
    for path in ("demo/app:v1", "demo/app/tags", "demo/unknown", ""):
        assert "nothing to forget" in refresh(m, path) and "asked about anyhow" in refresh(m, path)
    assert registry.count() == 0


def test_referrers(mount, registry, images):
    first = images[0]
    registry.referrers = True
    m = mount(None, *FOR_EVER)
    directory = f"demo/app/manifests/sha256/{first.hex}/referrers"
    assert os.listdir(m / directory) == []
    samples.push_wasm(registry.store, "demo/app", "signature", seed=9, artifactType="application/vnd.test.signature",
                      subject=first.descriptor())
    assert os.listdir(m / directory) == []
    assert "who refers to" in refresh(m, directory)
    assert len(os.listdir(m / directory)) == 1


def test_several_registries(mount, registries):
    one, other = registries(), registries()
    image = samples.push_wasm(one.store, "demo/app", "v1", seed=1)
    samples.push_wasm(other.store, "demo/app", "v1", seed=2)
    m = mount(one.address, *FOR_EVER, other.address)
    names = [server.address.replace(":", "_") + "_" for server in (one, other)]
    for name in names:
        os.readlink(m / f"{name}/demo/app:v1")
    asked = one.count(), other.count()
    assert "asked anew" in refresh(m, f"{names[0]}/demo/app:v1")
    assert "asked anew" in refresh(m, f"{other.address}/demo")
    assert target(m, f"{names[0]}/demo/app:v1") == image.hex
    os.readlink(m / f"{names[1]}/demo/app:v1")
    assert (one.count(), other.count()) == (asked[0] + 1, asked[1] + 1)
    assert "(2 answers forgotten)" in refresh(m, "")


@pytest.mark.parametrize("words", [[], ["a", "b"], [""], ["--json", "x"], ["--frobnicate", "x"]], ids=str)
def test_bad_input(binary, words):
    result = run([binary, "refresh", *words])
    assert result.code == 2 and result.out == "" and result.err.count("\n") == 1
    assert result.err.startswith("wasmocifs: refresh: ")


def test_what_cannot_be(mount, registry, images, work):
    m = mount()
    for path in ("DEMO", "demo/app:-v1", "demo/app/tags/.x", "demo/app@sha256:12", "demo/app/manifests/sha256/12"):
        assert "can be nothing of that name" in refresh(m, path, code=1)
    result = run([m.binary, "refresh", work])
    assert result.code == 1 and f"{work} lies in no wasmocifs mount" in result.err
