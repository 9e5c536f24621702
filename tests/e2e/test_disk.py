# SPDX-License-Identifier: Apache-2.0
"""The disk below the cache: full, read-only, damaged, cut. The reader gets the right bytes, or an errno."""

import contextlib
import json
import os
import shutil
from errno import EFBIG

import pytest

import samples
from harness import MNT_DETACH, raises, read, run, umount2, until


@contextlib.contextmanager
def disk(directory, size):
    """A file system of its own at `directory`."""
    directory.mkdir()
    image = directory.with_suffix(".ext4")
    with open(image, "wb") as file:
        file.truncate(size)
    run(["mkfs.ext4", "-q", "-m", "0", "-N", "300", image], check=True)
    run(["mount", "-o", "loop", image, directory], check=True)
    try:
        yield directory
    finally:
        umount2(directory, MNT_DETACH)


@pytest.fixture
def small_disk(work):
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("mkfs.ext4 is not installed (Debian package e2fsprogs)")
    with disk(work / "disk", 24 << 20) as found:
        yield found


def fill(directory):
    with open(directory / "filler", "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


def use_up_inodes(directory):
    (directory / "many").mkdir()
    with contextlib.suppress(OSError):
        for i in range(10_000):
            (directory / "many" / str(i)).touch()


def push_some(registry, n=6):
    return [samples.push_wasm(registry.store, f"r/n{i}", "v1", size=20_000, seed=i) for i in range(n)]


def read_some(m, images):
    """Each of them by the first try, in different ways."""
    for i, image in enumerate(images):
        if i % 2:
            assert "v1" in os.listdir(m / f"r/n{i}/tags")
            assert read(m / f"r/n{i}/tags/v1/main.wasm") == image.layer.data
        else:
            assert read(m / f"r/n{i}:v1/main.wasm") == image.layer.data


@pytest.mark.parametrize("harm", [fill, use_up_inodes], ids=["full", "without inodes"])
@pytest.mark.parametrize("when", ["before the mount", "beside the mount"])
def test_a_disk_without_room(mount, registry, small_disk, harm, when):
    images = push_some(registry)
    (small_disk / "cache").mkdir(mode=0o700)
    if when == "before the mount":
        harm(small_disk)
    m = mount(None, cache=small_disk / "cache")
    if when == "beside the mount":
        harm(small_disk)
    read_some(m, images)
    m.unmount()


def test_a_disk_that_is_read_only(mount, registry, small_disk):
    images = push_some(registry)
    (small_disk / "cache").mkdir(mode=0o700)
    m = mount(None, cache=small_disk / "cache")
    assert read(m / "r/n0:v1/main.wasm") == images[0].layer.data
    until((m.cache / "blobs/sha256" / images[0].layer.hex).exists, what="the blob published")
    m.unmount()
    run(["mount", "-o", "remount,ro", small_disk], check=True)
    again = mount(None, cache=small_disk / "cache")
    read_some(again, images)
    assert registry.count("GET", f"/blobs/{images[0].layer.digest}") == 1, "what it has is served from there"
    again.unmount()


def make_read_only(directory):
    run(["mount", "-o", "remount,ro", directory], check=True)


@pytest.mark.parametrize("harm, why, hint", [
    (fill, "No space left on device", "make room on the disk"),
    (use_up_inodes, "No space left on device", "make room on the disk"),
    (make_read_only, "Read-only file system", "remount,rw")], ids=["full", "without inodes", "read-only"])
def test_a_pull_says_what_the_disk_has_against_it(binary, registry, small_disk, harm, why, hint):
    samples.push_wasm(registry.store, "demo/app", "v1", size=20_000)
    cache = small_disk / "cache"
    cache.mkdir(mode=0o700)
    harm(small_disk)
    result = run([binary, "pull", "--cache", cache, f"{registry.address}/demo/app:v1"])
    assert result.code == 1 and result.err.count("\n") == 1, result
    assert why in result.err and hint in result.err and "pinned" not in result.err, result


def test_what_is_wrong_and_cannot_be_removed(mount, binary, registry, small_disk):
    """As a disk is remounted when it fails: it is found wrong once, and fetched anew into memory."""
    image = samples.push_wasm(registry.store, "demo/app", "v1", size=2 << 20)
    cache = small_disk / "cache"
    run([binary, "pull", "--cache", cache, f"{registry.address}/demo/app:v1"]).ok()
    with open(cache / "blobs/sha256" / image.layer.hex, "r+b") as file:
        file.seek(100_000)
        file.write(b"wrong")
    make_read_only(small_disk)
    result = run([binary, "cache", "verify", "--cache", cache])
    assert result.code == 1 and f"{image.layer.digest}: its bytes do not match: not removed" in result.out
    assert result.err.count("\n") == 1 and f"cannot be removed from the cache {cache}: let uid 0 write" in result.err
    result = run([binary, "cache", "verify", "--json", "--cache", cache])
    assert result.code == 1 and [wrong["removed"] for wrong in json.loads(result.out)["wrong"]] == [False]
    m = mount(None, cache=cache)
    for _ in range(3):
        assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert registry.count("GET", f"/blobs/{image.layer.digest}") == 2
    assert len(m.log.find("cannot be removed, and is passed over")) == 1 and not m.log.find(": removed")


def test_what_cannot_be_removed(binary, registry, small_disk):
    image = samples.push_wasm(registry.store, "demo/app", "v1", size=20_000)
    cache = small_disk / "cache"
    run([binary, "pull", "--cache", cache, f"{registry.address}/demo/app:v1"]).ok()
    make_read_only(small_disk)
    result = run([binary, "cache", "rm", "--cache", cache, image.layer.digest])
    assert result.code == 1 and f"{image.layer.digest} cannot be removed" in result.err
    assert "(Read-only file system): let uid 0 write there" in result.err, result


@pytest.mark.parametrize("harm", ["directory", "fifo", "symlink"])
def test_records_that_are_no_files(mount, registry, work, harm):
    images = push_some(registry, 2)
    m = mount()
    read_some(m, images)
    m.unmount()
    records = [path for path in (work / "cache/refs").rglob("named") if path.is_file()]
    assert len(records) == 2
    for path in records:
        path.unlink()
        if harm == "directory":
            path.mkdir()
        elif harm == "fifo":
            os.mkfifo(path)
        else:
            path.symlink_to("/etc/passwd")
    read_some(mount(), images)


@pytest.mark.parametrize("size", [300_000, 3_000_000], ids=["read by us", "passthrough"])
def test_a_cached_file_that_somebody_cuts(mount, registry, size):
    image = samples.push_wasm(registry.store, "x/y", "v1", size=size)
    m = mount()
    path = m / "x/y:v1/main.wasm"
    assert read(path) == image.layer.data
    cached = m.cache / "blobs/sha256" / image.layer.hex
    until(cached.exists, what="the blob published")
    os.truncate(cached, 100_000)
    run(["sh", "-c", "echo 3 > /proc/sys/vm/drop_caches"], check=True)
    assert read(path) == image.layer.data, "found at the next open, and fetched anew"
    assert os.stat(path).st_size == len(image.layer.data)


def test_an_open_file_that_somebody_cuts(mount, registry):
    image = samples.push_wasm(registry.store, "x/y", "v1", size=300_000)
    m = mount()
    fd = os.open(m / "x/y:v1/main.wasm", os.O_RDONLY)
    try:
        assert os.pread(fd, 10, 0) == image.layer.data[:10]
        cached = m.cache / "blobs/sha256" / image.layer.hex
        until(cached.exists, what="the blob published")
        os.truncate(cached, 100_000)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        found = b""
        try:
            while part := os.pread(fd, 1 << 16, len(found)):
                found += part
        except OSError:
            pass
        else:
            assert found == image.layer.data, "an end that is none"
        assert os.fstat(fd).st_size == len(image.layer.data)
    finally:
        os.close(fd)


def test_larger_than_a_cache_that_was_asked_for(mount, registry, small_disk):
    image = samples.push_wasm(registry.store, "x/y", "v1", size=3 << 20)
    m = mount(None, "--cache-size", "2M", cache=small_disk / "cache")
    with raises(EFBIG):
        read(m / "x/y:v1/main.wasm")
    assert read(m / "x/y:v1/manifest.json") == image.data


def test_a_layout_that_comes_back(mount, work):
    import artifacts
    first, second = (artifacts.cncf(artifacts.wasm_module(i, 3000)) for i in (1, 2))
    layout = work / "layout"
    artifacts.image_layout(layout, {"v1": first})
    m = mount(f"oci:{layout}", "--tag-ttl", "1s", "--list-ttl", "1s")
    assert read(m / "layout:v1/main.wasm") == first.wasm.data
    shutil.rmtree(layout)
    artifacts.image_layout(layout, {"v1": first, "v2": second})
    until(lambda: os.path.exists(m / "layout:v2"), what="the new layout")
    assert read(m / "layout:v2/main.wasm") == second.wasm.data
