# SPDX-License-Identifier: Apache-2.0
"""However many ask, one asks the registry."""

import os
import threading

import pytest

import samples
from harness import Child, read, run, scaled, until
from registry import behaviours as b


@pytest.mark.heavy
@pytest.mark.parametrize("size", [100_000, 8 << 20], ids=["small", "large"])
def test_two_hundred_processes_one_get(mount, registry, size):
    image = samples.push_wasm(registry.store, "demo/app", "v1", size=size)
    gate = registry.on("GET", "/blobs/", b.silent())
    m = mount()
    path = m / "demo/app:v1/main.wasm"
    os.stat(path)
    n = scaled(200, 40)
    readers = [Child(["sha256sum", path]) for _ in range(n)]
    for reader in readers:
        reader.waiting("open")
    gate.remove()
    for reader in readers:
        code, out, err = reader.ends(60)
        assert code == 0 and out.startswith(image.layer.hex), err
    assert registry.count("GET", "/blobs/") == 1
    assert registry.count("GET", "/manifests/") <= 1


def test_without_a_gate_too(mount, registry):
    """The race as it comes: nobody holds the registry."""
    image = samples.push_wasm(registry.store, "demo/app", "v1", size=2 << 20)
    m = mount()
    readers = [Child(["sha256sum", m / "demo/app:v1/main.wasm"]) for _ in range(scaled(60, 20))]
    for reader in readers:
        assert reader.ends(60)[1].startswith(image.layer.hex)
    assert registry.count("GET", "/blobs/") == 1
    assert registry.count("GET", "/manifests/") == 1
    assert registry.count("HEAD", "/manifests/") <= 1


def test_one_blob_under_many_names(mount, registry):
    image = samples.push_wasm(registry.store, "demo/app", "v1", size=300_000)
    samples.push_wasm(registry.store, "other/app", "v1", image.layer.data, title="copy.wasm")
    gate = registry.on("GET", "/blobs/", b.silent())
    m = mount()
    paths = [m / "demo/app:v1/main.wasm", m / "demo/app:v1/layers/0.wasm", m / "other/app:v1/files/copy.wasm",
             m / f"demo/app/blobs/sha256/{image.layer.hex}", m / f"other/app/blobs/sha256/{image.layer.hex}"]
    for path in paths:
        os.stat(path)
    readers = [Child(["sha256sum", path]).waiting("open") for path in paths]
    gate.remove()
    for reader in readers:
        assert reader.ends(30)[1].startswith(image.layer.hex)
    assert registry.count("GET", f"/blobs/{image.layer.digest}") == 1


def test_one_manifest_for_many_walkers(mount, registry):
    image = samples.push_wasm(registry.store, "demo/app", "v1")
    gate = registry.on(None, "/manifests/", b.silent())
    m = mount()
    walkers = [Child(["readlink", m / "demo/app:v1"]).waiting("readlink") for _ in range(20)]
    gate.remove()
    for walker in walkers:
        assert walker.ends(20)[1].strip().endswith(image.hex)
    assert registry.count(None, "/manifests/") == 1


def test_one_listing_for_many_listers(mount, registry):
    samples.push_wasm(registry.store, "demo/app", "v1")
    gate = registry.on("GET", "/tags/list", b.silent())
    m = mount()
    read(m / "demo/app:v1/manifest.json")
    listers = [Child(["ls", m / "demo/app/tags"]).waiting() for _ in range(20)]
    gate.remove()
    for lister in listers:
        assert lister.ends(20)[1] == "v1\n"
    assert registry.count("GET", "/tags/list") == 1


def test_the_second_of_two_daemons_waits_for_the_first(mount, registry):
    """One cache directory, two mounts: one GET, and both read the right bytes."""
    image = samples.push_wasm(registry.store, "demo/app", "v1", size=3 << 20)
    gate = registry.on("GET", "/blobs/", b.silent(after=1 << 20))
    first, second = mount(), mount()
    os.stat(first / "demo/app:v1/main.wasm")
    os.stat(second / "demo/app:v1/main.wasm")
    one = Child(["sha256sum", first / "demo/app:v1/main.wasm"]).waiting("open")
    registry.wait_count(1, "GET", "/blobs/")
    two = Child(["sha256sum", second / "demo/app:v1/main.wasm"]).waiting("open")
    gate.remove()
    for reader in (one, two):
        code, out, err = reader.ends(30)
        assert out.startswith(image.layer.hex), err
    assert registry.count("GET", "/blobs/") == 1


def test_the_second_takes_over_where_the_first_was_killed(mount, registry):
    image = samples.push_wasm(registry.store, "demo/app", "v1", size=3 << 20)
    registry.on("GET", "/blobs/", b.silent(after=2 << 20), times=1)
    first, second = mount(), mount()
    os.stat(first / "demo/app:v1/main.wasm")
    os.stat(second / "demo/app:v1/main.wasm")
    one = Child(["sha256sum", first / "demo/app:v1/main.wasm"]).waiting("open")
    registry.wait_for(lambda: any(r.sent >= 2 << 20 for r in registry.log))
    two = Child(["sha256sum", second / "demo/app:v1/main.wasm"]).waiting("open")
    first.kill()
    assert two.ends(30)[1].startswith(image.layer.hex)
    assert one.ends(20)[0] != 0
    assert registry.count("GET", "/blobs/") == 2


def test_threads_of_one_process(mount, registry):
    blobs = {f"f{i}": samples.noise(20000, i) for i in range(20)}
    samples.push_files(registry.store, "demo/app", "v1", blobs)
    m = mount()
    wrong = []

    def work():
        for name, data in blobs.items():
            if read(m / "demo/app:v1/files" / name) != data:
                wrong.append(name)
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert registry.count("GET", "/blobs/") == 20


def test_connections_are_used_again(mount, registry):
    samples.push_files(registry.store, "demo/app", "v1", {f"f{i}": samples.noise(2000, i) for i in range(30)})
    m = mount()
    run(["sh", "-c", f"cat {m}/demo/app:v1/files/* > /dev/null"], check=True)
    assert registry.count("GET", "/blobs/") == 30
    assert registry.accepted <= 4, "one reader after the other needs one connection, two at a change"


def test_nothing_stays_open_after_use(mount, registry):
    samples.push_files(registry.store, "demo/app", "v1", {f"f{i}": samples.noise(20_000, i) for i in range(200)})
    m = mount()
    read(m / "demo/app:v1/manifest.json")
    before = len(m.fds())
    for _ in range(2):
        run(["sh", "-c", f"cat {m}/demo/app:v1/files/* > /dev/null"], check=True)
    until(lambda: not [name for name in m.fds().values() if "/partial" in name or "(deleted)" in name and
                       str(m.cache) in name], what="partials closing")
    idle = 64  # the store keeps that many open, for who opens them again
    until(lambda: len(m.fds()) <= before + idle + 10, what=f"descriptors going back to about {before + idle}")
