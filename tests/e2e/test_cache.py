# SPDX-License-Identifier: Apache-2.0
"""The cache directory: shared, bounded, distrusted, and whole after a crash."""

import os
import signal
import stat
from errno import EBADMSG, EHOSTUNREACH

import pytest

import samples
from harness import Child, Failed, account_held, files_holding, mountinfo, partials, raises, read, run, until
from registry import behaviours as b


@pytest.fixture
def image(registry):
    return samples.push_wasm(registry.store, "demo/app", "v1", size=3 << 20)


def blob_path(m, blob):
    return m.cache / "blobs/sha256" / blob.hex


def settled(m, *blobs):
    """Commits are made durable behind the reader's back."""
    until(lambda: all(blob_path(m, blob).exists() for blob in blobs), what="the blob being published")


def test_what_is_where(mount, image):
    m = mount()
    read(m / "demo/app:v1/main.wasm")
    settled(m, image.layer)
    found = blob_path(m, image.layer)
    assert found.read_bytes() == image.layer.data
    assert stat.S_IMODE(found.stat().st_mode) == 0o444
    assert stat.S_IMODE(m.cache.stat().st_mode) == 0o700
    for path in m.cache.rglob("*"):
        assert not path.is_symlink() and path.stat().st_uid == 0
        assert not stat.S_IMODE(path.stat().st_mode) & 0o022
    assert not partials(m.cache)


def test_two_daemons_one_get_when_one_is_later(mount, registry, image):
    first, second = mount(), mount()
    assert first.cache == second.cache
    assert read(first / "demo/app:v1/main.wasm") == image.layer.data
    settled(first, image.layer)
    assert read(second / "demo/app:v1/main.wasm") == image.layer.data
    assert registry.count("GET", "/blobs/") == 1
    first.unmount()
    assert read(second / "demo/app:v1/main.wasm") == image.layer.data


def test_beside_a_process_that_was_stopped_inside_the_account(mount, registry, image):
    """It is waited for, but not for as long as a lookup has time: the host would be blamed, which has answered."""
    other = samples.push_wasm(registry.store, "demo/other", "v1", size=20_000)
    m = mount()
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    settled(m, image.layer)
    with account_held(m.cache):
        assert os.stat(m / "demo/other/tags/v1/main.wasm").st_size == len(other.layer.data)
        assert read(m / "demo/other:v1/main.wasm") == other.layer.data


def test_bit_rot_is_found_at_the_first_open(mount, registry, image):
    m = mount()
    read(m / "demo/app:v1/main.wasm")
    settled(m, image.layer)
    m.unmount()
    with open(blob_path(m, image.layer), "r+b", buffering=0) as file:
        file.seek(1 << 20)
        byte = file.read(1)
        file.seek(1 << 20)
        file.write(bytes([byte[0] ^ 16]))
    m = mount()
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert registry.count("GET", "/blobs/") == 2, "dropped, and fetched anew"
    settled(m, image.layer)
    assert blob_path(m, image.layer).read_bytes() == image.layer.data


@pytest.mark.parametrize("change", [lambda d: d[:-1], lambda d: d + b"x", lambda d: b""],
                         ids=["shorter", "longer", "empty"])
def test_a_tampered_blob_without_a_registry(mount, registry, image, change):
    m = mount(None, "--timeout", "2s")
    read(m / "demo/app:v1/main.wasm")
    settled(m, image.layer)
    m.unmount()
    path = blob_path(m, image.layer)
    path.chmod(0o644)
    path.write_bytes(change(image.layer.data))
    registry.stop()
    m = mount(None, "--timeout", "2s")
    with raises(EHOSTUNREACH):
        read(m / "demo/app:v1/main.wasm")
    assert not path.exists() or path.read_bytes() == image.layer.data


def test_a_tampered_manifest(mount, registry, image):
    m = mount()
    read(m / "demo/app:v1/manifest.json")
    m.unmount()
    path = m.cache / "blobs/sha256" / image.hex
    path.chmod(0o644)
    path.write_bytes(image.data.replace(b"wasm", b"evil"))
    m = mount()
    assert read(m / "demo/app:v1/manifest.json") == image.data


def test_planted_files_are_not_believed(mount, registry, image):
    """A symlink or a directory where a blob should be, refs that are noise."""
    m = mount()
    read(m / "demo/app:v1/main.wasm")
    settled(m, image.layer)
    m.unmount()
    path = blob_path(m, image.layer)
    path.unlink()
    path.symlink_to("/etc/passwd")
    for record in (m.cache / "refs").rglob("*"):
        if record.is_file():
            record.write_bytes(b"\0\xff{{{" * 50)
    m = mount()
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert os.listdir(m / "demo/app/tags") == ["v1"]


def test_a_killed_daemon_is_replaced_and_its_partial_continued(mount, registry, image, work):
    registry.on("GET", "/blobs/", b.silent(after=2 << 20), times=1)
    m = mount()
    os.stat(m / "demo/app:v1/main.wasm")
    reader = Child(["cat", m / "demo/app:v1/main.wasm"]).waiting("open")
    registry.wait_for(lambda: any(r.sent >= 2 << 20 for r in registry.log))
    until(lambda: sum(p.stat().st_size for p in partials(m.cache)) > 1 << 20, what="bytes in the partial")
    m.kill()
    assert reader.ends(20)[0] != 0
    with pytest.raises(OSError):
        os.listdir(m)
    m.restart()
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    ranges = [r.headers.get("range") for r in registry.requests("GET", "/blobs/")]
    assert len(ranges) == 2 and ranges[1], "what was there is not fetched again"
    until(lambda: not partials(m.cache), what="no partial")


def test_a_stale_mount_is_replaced(mount, image):
    m = mount()
    read(m / "demo/app:v1/main.wasm")
    m.kill()
    assert m.is_mounted()
    m.restart()
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert sum(1 for point in open("/proc/self/mountinfo") if f" {m} " in point) == 1
    m.unmount()


def test_the_cap_holds_and_the_oldest_goes(mount, registry):
    images = [samples.push_wasm(registry.store, "demo/app", f"v{i}", size=1 << 20, seed=i) for i in range(10)]
    m = mount(None, "--cache-size", "5M")
    for i, image in enumerate(images):
        assert read(m / f"demo/app:v{i}/main.wasm") == image.layer.data
        if i >= 1:
            read(m / "demo/app:v0/main.wasm")
    until(lambda: blob_path(m, images[9].layer).exists(), what="the last blob")

    def used():
        total = 0
        for path in m.cache.rglob("*"):
            try:
                total += path.stat().st_blocks * 512 if path.is_file() else 0
            except OSError:
                pass
        return total
    until(lambda: used() <= 5 << 20, what="the cap")
    kept = [i for i, image in enumerate(images) if blob_path(m, image.layer).exists()]
    assert 9 in kept and len(kept) <= 5
    for i, image in enumerate(images):
        assert read(m / f"demo/app:v{i}/main.wasm") == image.layer.data, "what went is fetched again"


def test_a_reader_keeps_what_is_evicted(mount, registry):
    images = [samples.push_wasm(registry.store, "demo/app", f"v{i}", size=1500 << 10, seed=i) for i in range(6)]
    m = mount(None, "--cache-size", "4M")
    fd = os.open(m / "demo/app:v0/main.wasm", os.O_RDONLY)
    for i in range(1, 6):
        assert read(m / f"demo/app:v{i}/main.wasm") == images[i].layer.data
    assert os.pread(fd, 4 << 20, 0) == images[0].layer.data
    os.close(fd)


def test_a_directory_that_vanishes_is_made_anew(mount, registry, image):
    import shutil
    m = mount()
    read(m / "demo/app:v1/main.wasm")
    settled(m, image.layer)
    other = samples.push_wasm(registry.store, "demo/app", "v2", size=2 << 20, seed=5)
    shutil.rmtree(m.cache)
    assert read(m / "demo/app:v2/main.wasm") == other.layer.data
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data


@pytest.mark.parametrize("prepare, said", [
    (lambda path: os.chown(path, 65534, 65534), "cache"), (lambda path: path.chmod(0o777), "cache"),
    (lambda path: path.chmod(0o730), "cache")], ids=["another-user", "world", "group"])
def test_a_directory_that_is_not_ours_alone_is_refused(mount, work, image, prepare, said):
    path = work / "shared-cache"
    path.mkdir(mode=0o700)
    prepare(path)
    with pytest.raises(Failed) as failure:
        mount(cache=path, fails=True)
    assert str(path) in str(failure.value)


def test_a_symlink_as_the_cache_inside(mount, work, image):
    """The parts of the directory are opened without following symlinks."""
    cache = work / "cache"
    cache.mkdir(mode=0o700)
    elsewhere = work / "elsewhere"
    elsewhere.mkdir()
    (cache / "blobs").symlink_to(elsewhere)
    try:
        m = mount()
        read(m / "demo/app:v1/main.wasm")
    except (Failed, OSError):
        pass
    assert not list(elsewhere.rglob("*")), "nothing was written through it"


def test_what_is_thrown_away_is_not_kept(mount, registry, image):
    """An interrupted transfer that turns out wrong in the end leaves nothing."""
    registry.on("GET", "/blobs/", b.cut(1 << 20), times=1)
    registry.on("GET", "/blobs/", b.flip(1000), skip=1)
    m = mount()
    with raises(EBADMSG):
        os.open(m / "demo/app:v1/main.wasm", os.O_RDONLY)
    assert not partials(m.cache) and not files_holding(m.cache, image.layer.data[5000:5064])


def test_hosts_do_not_share_what_they_said(mount, registries, work):
    one, two = registries(), registries()
    first = samples.push_wasm(one.store, "demo/app", "v1", seed=1)
    second = samples.push_wasm(two.store, "demo/app", "v1", seed=2)
    a, z = mount(one), mount(two)
    assert read(a / "demo/app:v1/main.wasm") == first.layer.data
    assert read(z / "demo/app:v1/main.wasm") == second.layer.data
    two.stop()
    with raises(EHOSTUNREACH):
        read(z / f"demo/app@{first.digest}/main.wasm")
    with pytest.raises(OSError):
        read(z / f"demo/app/blobs/sha256/{first.layer.hex}")


def test_the_same_blob_of_two_hosts_is_kept_once(mount, registries):
    one, two = registries(), registries()
    image = samples.push_wasm(one.store, "demo/app", "v1", size=2 << 20)
    samples.put(two.store, "demo/app", "v1", image)
    a, z = mount(one), mount(two)
    assert read(a / "demo/app:v1/main.wasm") == image.layer.data
    settled(a, image.layer)
    assert read(z / "demo/app:v1/main.wasm") == image.layer.data
    assert two.count("GET", "/blobs/") == 0


def test_killed_at_many_moments(mount, registry, work):
    """Whatever stands in the directory after a kill, the next daemon reads right bytes."""
    images = [samples.push_wasm(registry.store, "demo/app", f"v{i}", size=(1 << 20) + i, seed=i) for i in range(6)]
    m = mount()
    for i, image in enumerate(images):
        gate = registry.on("GET", f"/blobs/{image.layer.digest}", b.silent(after=(i * 200_001) % (1 << 20)), times=1)
        os.stat(m / f"demo/app:v{i}/main.wasm")
        reader = Child(["cat", m / f"demo/app:v{i}/main.wasm"]).waiting("open")
        registry.wait_count(1, "GET", f"/blobs/{image.layer.digest}")
        m.kill()
        gate.remove()
        reader.ends(20)
        m.restart()
    for i, image in enumerate(images):
        assert read(m / f"demo/app:v{i}/main.wasm") == image.layer.data
    until(lambda: not partials(m.cache), what="no partial")
    assert str(m) in mountinfo()


def test_terminated_while_fetching(mount, registry, image):
    registry.on("GET", "/blobs/", b.silent(after=1 << 20))
    m = mount()
    os.stat(m / "demo/app:v1/main.wasm")
    reader = Child(["cat", m / "demo/app:v1/main.wasm"]).waiting("open")
    registry.wait_count(1, "GET", "/blobs/")
    m.process.send_signal(signal.SIGTERM)
    assert m.wait_exit(10) == 0
    assert reader.ends(10)[0] != 0
    assert not m.is_mounted()
    registry.heal()
    m.restart()
    assert run(["sha256sum", m / "demo/app:v1/main.wasm"]).ok().out.startswith(image.layer.hex)
