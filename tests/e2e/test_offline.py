# SPDX-License-Identifier: Apache-2.0
"""What is cached needs nothing; what is not fails clearly, in time, and heals by itself."""

import os
from errno import EHOSTUNREACH, ETIMEDOUT

import pytest

import samples
from harness import Clock, SLOW, opens, raises, read, run, until
from registry import behaviours as b


@pytest.fixture
def image(registry):
    samples.push_files(registry.store, "demo/cold", "v1", {"cold": samples.noise(5000, 77)})
    return samples.push_wasm(registry.store, "demo/app", "v1", size=2 << 20)


def read_all(m, image):
    """Everything that one walk sees; what it saw."""
    names = sorted(os.listdir(m / "demo/app:v1"))
    assert os.readlink(m / "demo/app:v1").endswith(image.hex)
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert read(m / "demo/app:v1/config.json") == image.config.data
    assert read(m / "demo/app/tags/v1/layers/0.wasm") == image.layer.data
    return names, os.listdir(m / "demo/app/tags"), os.listdir(m / "demo"), os.listdir(m)


def test_registry_gone_after_the_first_read(mount, registry, image):
    m = mount()
    seen = read_all(m, image)
    registry.stop()
    with Clock() as took:
        assert read_all(m, image) == seen
    assert took.seconds < 1 * SLOW
    m.unmount()
    again = mount()
    with Clock() as took:
        assert read_all(again, image) == seen, "also after a restart of the daemon"
    assert took.seconds < 2 * SLOW
    with Clock() as took, raises(EHOSTUNREACH):
        read(again / "demo/cold:v1/files/cold")
    assert took.seconds < 20 * SLOW
    again.log.wait(registry.address.replace(".", r"\."))


def test_stopped_between_manifest_and_blob(mount, registry, image):
    m = mount(None, "--timeout", "2s")
    os.stat(m / "demo/app:v1/main.wasm")
    registry.stop()
    with Clock() as took, raises(EHOSTUNREACH):
        os.open(m / "demo/app:v1/main.wasm", os.O_RDONLY)
    assert took.seconds < 4 * SLOW
    with Clock() as took, raises(EHOSTUNREACH):
        os.open(m / "demo/app:v1/main.wasm", os.O_RDONLY)
    assert took.seconds < 1 * SLOW, "known to be down"
    registry.start()
    until(lambda: opens(m / "demo/app:v1/main.wasm"), 15, "healing without a remount")
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data


def test_down_at_the_start(mount, registry, image):
    registry.stop()
    m = mount(None, "--timeout", "2s")
    assert os.listdir(m) == [], "the root lists what is known, if only nothing"
    with raises(EHOSTUNREACH):
        os.readlink(m / "demo/app:v1")
    with raises(EHOSTUNREACH):
        os.listdir(m / "demo/app/tags")
    registry.start()
    until(lambda: opens(m / "demo/app:v1/main.wasm"), 15, "healing without a remount")
    read_all(m, image)


@pytest.mark.parametrize("where", ["readlink", "listing", "open", "lookup"])
def test_silence_ends_at_the_deadline(mount, registry, image, where):
    m = mount(None, "--timeout", "2s")
    if where == "open":
        os.stat(m / "demo/app:v1/main.wasm")
    registry.pause()
    with Clock() as took, raises(ETIMEDOUT):
        if where == "readlink":
            os.readlink(m / "demo/app:v1")
        elif where == "listing":
            os.listdir(m / "demo/app/tags")
        elif where == "open":
            os.open(m / "demo/app:v1/main.wasm", os.O_RDONLY)
        else:
            os.stat(m / f"demo/app/manifests/sha256/{image.hex}/main.wasm")
    assert 1 < took.seconds < 6 * SLOW
    m.log.wait(registry.address.replace(".", r"\."))
    registry.resume()
    until(lambda: opens(m / "demo/app:v1/main.wasm"), 15, "healing without a remount")


def test_a_lookup_waits_at_most_five_seconds(mount, registry, image):
    """Its directory is locked while it waits; what it asked for goes on in the background."""
    m = mount()
    registry.pause()
    with Clock() as took, raises(ETIMEDOUT):
        os.stat(m / f"demo/app/manifests/sha256/{image.hex}/main.wasm")
    assert took.seconds < 7 * SLOW


def test_a_transfer_that_advances_may_go_past_the_timeout(mount, registry):
    image = samples.push_wasm(registry.store, "demo/app", "v1", size=900_000)
    registry.on("GET", "/blobs/", b.trickle(100_000, 0.4))
    m = mount(None, "--timeout", "2s")
    with Clock() as took:
        assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert took.seconds > 2


def test_a_byte_for_each_connection_is_no_advance(mount, registry, image):
    m = mount(None, "--timeout", "2s")
    os.readlink(m / "demo/app:v1")
    registry.on("GET", "/blobs/", b.cut(1))
    with Clock() as took, raises(ETIMEDOUT, EHOSTUNREACH):
        read(m / "demo/app:v1/main.wasm")
    assert took.seconds < 8 * SLOW
    registry.heal()
    until(lambda: opens(m / "demo/app:v1/main.wasm"), 15, "healing without a remount")


def test_a_known_tag_is_hardly_delayed(mount, registry, image):
    m = mount(None, "--tag-ttl", "1s")
    read_all(m, image)
    until(lambda: os.readlink(m / "demo/app:v1") and registry.count("HEAD", "/manifests/v1") +
          registry.count("GET", "/manifests/v1") >= 2, what="the tag being asked for again")
    before = registry.count()
    registry.pause()
    with Clock() as took:
        until(lambda: os.readlink(m / "demo/app:v1").endswith(image.hex) and registry.count() > before,
              what="the tag being asked for on a silent registry")
    worst = 0
    for _ in range(5):
        with Clock() as took:
            assert os.readlink(m / "demo/app:v1").endswith(image.hex)
            assert read(m / "demo/app/tags/v1/main.wasm") == image.layer.data
        worst = max(worst, took.seconds)
    assert worst < 2.5 * SLOW, "at most a second for each of the two names"


@pytest.mark.parametrize("fault", [b.error(503), b.too_many(60), b.error(401, "UNAUTHORIZED"), b.error(403, "DENIED")],
                         ids=["503", "429", "401", "403"])
def test_a_known_tag_is_served_through_bad_days(mount, registry, image, fault):
    m = mount(None, "--tag-ttl", "1s", "--timeout", "3s")
    seen = read_all(m, image)
    registry.on(None, "", fault)
    until(lambda: os.readlink(m / "demo/app:v1").endswith(image.hex) and registry.count(status=None) is not None and
          any(r.status not in (200, None) for r in registry.log), what="the tag being asked for again")
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert sorted(os.listdir(m / "demo/app:v1")) == seen[0]


def test_offline_never_asks(mount, registry, image):
    m = mount()
    seen = read_all(m, image)
    m.unmount()
    registry.clear()
    m = mount(None, "--offline")
    assert read_all(m, image) == seen
    for path in ("demo/app:other", "demo/cold:v1"):
        with raises(EHOSTUNREACH):
            os.readlink(m / path)
    with raises(EHOSTUNREACH):
        os.listdir(m / "demo/cold/tags")
    assert registry.count() == 0
    assert m.log.wait("offline")


def test_what_is_cached_is_read_without_a_request(mount, registry, image):
    m = mount()
    read_all(m, image)
    before = registry.count()
    for _ in range(20):
        run(["sha256sum", m / "demo/app:v1/main.wasm"], check=True)
    assert registry.count() == before


def test_down_again_and_again(mount, registry, image):
    m = mount(None, "--timeout", "2s", "--tag-ttl", "1s")
    for i in range(3):
        data = samples.push_files(registry.store, "demo/again", f"v{i}", {"f": samples.noise(5000, 1000 + i)})
        registry.stop()
        with raises(EHOSTUNREACH):
            read(m / f"demo/again:v{i}/files/f")
        registry.start()
        until(lambda i=i: opens(m / f"demo/again:v{i}/files/f"), 15, "healing")
        assert read(m / f"demo/again:v{i}/files/f") == data.layer.data
