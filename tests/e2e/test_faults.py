# SPDX-License-Identifier: Apache-2.0
"""The cache's disk fails under a daemon that serves, and its clock jumps: right bytes, or an errno of the design."""

import concurrent.futures
import contextlib
import errno
import os
import random
import shutil
from errno import EBADMSG, EDQUOT, EHOSTUNREACH, EINTR, EIO, EMFILE, ENFILE, ENOSPC, EROFS, ESTALE

import pytest

import artifacts
import samples
from disturb import Disturbance, library
from harness import MNT_DETACH, SCALE, Clock, raises, read, run, scaled, umount2, until
from registry import behaviours as b

DAY = 24 * 3600
THOROUGH = os.environ.get("WASMOCIFS_TEST_FAULTS") == "all"  # many times as much, for minutes
LOCAL = (EIO, ENOSPC)  # what a fault of the cache may be to a reader: no absence, no refusal, no wrong digest
SOON = 20  # well within --timeout

pytestmark = pytest.mark.skipif(SCALE < 1, reason="a preloaded library and a sanitizer's runtime do not go together")


@pytest.fixture
def disturbance(binary, work):
    path = library(binary)
    if not path.exists():
        pytest.skip(f"{path} is not built")
    return Disturbance(path, work / "wishes", work / "cache")


def push_many(registry, n=12):
    sizes = (5_000, 200_000, 1_500_000)
    return [samples.push_wasm(registry.store, f"r/n{i}", "v1", size=sizes[i % 3], seed=i) for i in range(n)]


def use(m, images, i, turn):
    """One reader's look at one image. 1: it was refused."""
    with Clock() as took:
        try:
            if turn % 3 == 0:
                assert "v1" in os.listdir(m / f"r/n{i}/tags")
            path = m / f"r/n{i}:v1/main.wasm" if turn % 2 else m / f"r/n{i}/tags/v1/layers/0.wasm"
            assert read(path) == images[i].layer.data, "wrong bytes"
            refused = 0
        except OSError as failure:
            assert failure.errno in LOCAL, f"{errno.errorcode[failure.errno]}: {failure}\n{m.log.text()[-3000:]}"
            refused = 1
    assert took.seconds < SOON, f"{took.seconds} s"
    return refused


def use_all(mounts, images, turns, seed=1):
    """Four readers; how many looks were refused."""
    choose = random.Random(seed)
    looks = [(choose.choice(mounts), choose.randrange(len(images)), turn) for turn in range(turns)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        return sum(pool.map(lambda look: use(look[0], images, look[1], look[2]), looks))


def is_well(m, images):
    """Nobody died, and all is to be had."""
    for i in range(len(images)):
        assert use(m, images, i, i) == 0
    found = m.status()
    assert found["generation"] == 1
    until(lambda: m.status()["open_files"] == 0, what="the files being closed")


@pytest.mark.parametrize("codes", [(EIO,), (ENOSPC, EDQUOT), (EROFS,), (EMFILE, ENFILE), (ESTALE, EINTR)],
                         ids=["EIO", "ENOSPC", "EROFS", "EMFILE", "ESTALE"])
def test_calls_that_fail_now_and_then(mount, registry, disturbance, codes):
    images = push_many(registry)
    # Not room for all of it: some is evicted, and fetched again.
    m = mount(None, "--cache-size", "4M", env=disturbance.env)
    for odds in (300, 3000):
        with disturbance.faults(*codes, odds=odds, changes_only=not {ENOSPC, EROFS}.isdisjoint(codes)):
            use_all([m], images, scaled(8000 if THOROUGH else 400), seed=odds)
    assert disturbance.hits > 5
    is_well(m, images)
    m.unmount()
    assert use_all([mount()], images, 30) == 0


@pytest.mark.parametrize("code", [EDQUOT, EROFS, ENOSPC], ids=errno.errorcode.get)
def test_a_disk_that_takes_nothing(mount, registry, disturbance, code):
    images = push_many(registry)
    m = mount(env=disturbance.env)
    assert use(m, images, 0, 1) == 0
    with disturbance.faults(code, changes_only=True):
        assert use_all([m], images, scaled(60)) == 0, "what cannot be kept is served from memory"
    assert disturbance.hits > 0
    is_well(m, images)


def test_a_disk_that_fails_while_a_blob_is_read_as_it_arrives(mount, registry, disturbance):
    """Who waits is told at once, also where his bytes came and only that they are here could not be written down."""
    data = samples.push_files(registry.store, "r/data", files={"data.bin": samples.noise(12 << 20)}).layer.data
    m = mount(None, "--verify=stream", env=disturbance.env)
    path = os.path.realpath(m / "r/data:v1/files/data.bin")
    with open(path, "rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        with disturbance.faults(EIO, odds=2000, changes_only=True):
            for at in range(0, len(data), 64 << 10):
                with Clock() as took, contextlib.suppress(OSError):
                    assert os.pread(file.fileno(), 4096, at) == data[at:at + 4096]
                assert took.seconds < 8
        assert disturbance.hits > 5
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
        assert file.readall() == data
        until(lambda: os.getxattr(path, "user.oci.verified") == b"1", what="the whole being here and right")


def test_a_disk_that_does_not_take_what_was_read_as_it_arrived(mount, registry, disturbance):
    """What a failed sync leaves may read as anything once memory is short: it is refused as what does not match is."""
    data = samples.push_files(registry.store, "r/data", files={"data.bin": samples.noise(12 << 20)}).layer.data
    m = mount(None, "--verify=stream", env=disturbance.env)
    path = os.path.realpath(m / "r/data:v1/files/data.bin")
    with open(path, "rb", buffering=0) as file:
        with disturbance.faults(EIO, syncs_only=True):
            with contextlib.suppress(OSError):
                assert file.readall() == data
            m.log.wait("cannot sync a fetched blob.*refused from now on")

        def refused():
            with contextlib.suppress(OSError):
                os.pread(file.fileno(), 4096, 5 << 20)
                return False
            return True
        until(refused, what="the pages being dropped")
        with raises(EBADMSG):
            os.pread(file.fileno(), 4096, 0)
    assert read(path) == data


def test_what_does_not_match_is_called_that_whatever_the_disk_says(mount, registry, disturbance):
    layer = samples.push_files(registry.store, "r/data", files={"data.bin": samples.noise(12 << 20)}).layer
    registry.on("GET", f"/blobs/sha256:{layer.hex}", b.flip(0))
    m = mount(None, "--verify=stream", env=disturbance.env)
    with open(m / "r/data:v1/files/data.bin", "rb", buffering=0) as file, disturbance.faults(EIO, syncs_only=True):
        with contextlib.suppress(OSError):
            file.readall()
        m.log.wait("do not match their digest.*refused from now on")
    assert m.status()["cache"]["mismatches"] == 1


def test_a_disk_that_says_nothing_but_errors(mount, registry, disturbance):
    images = push_many(registry)
    m = mount(env=disturbance.env)
    assert use(m, images, 0, 1) == 0
    with disturbance.faults(EIO):
        use_all([m], images, scaled(60))
    is_well(m, images)


def test_what_is_cached_outlives_a_fault(mount, registry, disturbance):
    """Failure is not absence: nothing that is there is forgotten for a call that failed."""
    images = push_many(registry, 3)
    m = mount()
    for i in range(3):
        assert use(m, images, i, 0) == 0
    until(lambda: m.status()["cache"]["blobs"] >= 6, what="all of it published")
    m.unmount()
    offline = mount(None, "--offline", env=disturbance.env)
    with disturbance.faults(ESTALE, EMFILE, ENFILE, odds=2000):
        for turn in range(30):
            with contextlib.suppress(OSError):
                read(offline / f"r/n{turn % 3}:v1/main.wasm")
    for i in range(3):
        until(lambda i=i: is_readable(offline / f"r/n{i}:v1/main.wasm", images[i]), what=f"image {i}")


def is_readable(path, image):
    with contextlib.suppress(OSError):
        return read(path) == image.layer.data
    return False


def test_two_daemons_on_a_disk_that_fails(mount, registry, disturbance):
    images = push_many(registry)
    both = [mount(None, "--cache-size", "4M", env=disturbance.env) for _ in range(2)]
    with disturbance.faults(EIO, ENOSPC, EMFILE, odds=500):
        use_all(both, images, scaled(8000 if THOROUGH else 200))
    for m in both:
        is_well(m, images)


def test_a_worker_that_dies_in_the_middle_of_a_change(mount, registry, disturbance):
    images = push_many(registry, 24)
    m = mount(None, "--cache-size", "6M", env=disturbance.env)
    assert use(m, images, 0, 0) == 0
    deaths = 0
    for turn in range(1, 24):
        disturbance.die_at(turn)
        assert use(m, images, turn, turn) == 0, "the next worker has no trouble with what it finds"
        deaths += not disturbance.lives
        disturbance.die_at(0)
    assert deaths >= 12
    assert use_all([m], images, 48) == 0
    assert m.status()["generation"] > deaths / 2
    m.unmount()
    assert use_all([mount()], images, 48) == 0


def spoil(path, choose):
    """As a power failure may leave what was written last: cut, or with zeros at its end."""
    size = path.stat().st_size
    path.chmod(0o600)
    os.truncate(path, choose.randrange(size + 1))
    if choose.randrange(2):
        os.truncate(path, size)


@pytest.mark.parametrize("seed", range(40 if THOROUGH else 3))
def test_a_directory_after_a_power_failure(mount, registry, disturbance, seed):
    images = push_many(registry, 6)
    tars = [samples.put(registry.store, "r/tar", f"t{i}", artifacts.container({"a.wasm": samples.wasm(90_000, 70 + i)}))
            for i in range(2)]
    choose = random.Random(seed)
    for _ in range(scaled(6)):
        m = mount(env=disturbance.env)
        disturbance.die_at(choose.randrange(1, 60))
        assert use_all([m], images, 12, choose.random()) == 0
        disturbance.die_at(0)
        for i, tar in enumerate(tars):
            assert read(m / f"r/tar:t{i}/files/a.wasm") == samples.wasm(90_000, 70 + i)
            assert read(m / f"r/tar:t{i}/manifest.json") == tar.data
        m.kill()
        for path in sorted(m.cache.rglob("*")):
            if path.is_file() and choose.randrange(3) == 0:
                spoil(path, choose)
    m = mount()
    assert use_all([m], images, 24) == 0
    is_well(m, images)


def has_gone(directory):
    with contextlib.suppress(OSError):
        shutil.rmtree(directory)
        return True
    return False


@pytest.mark.parametrize("harm", ["removed", "replaced", "moved"])
def test_a_directory_that_goes_under_its_readers(mount, registry, work, harm):
    images = push_many(registry)
    m = mount()
    assert use_all([m], images, 20) == 0
    with open(m / "r/n2:v1/main.wasm", "rb", buffering=0) as file:
        if harm == "removed":
            until(lambda: has_gone(m.cache), what="a directory that is still written to being removed")
        else:
            m.cache.rename(work / "elsewhere")
            if harm == "replaced":
                m.cache.mkdir(mode=0o700)
        assert file.read() == images[2].layer.data
        assert use_all([m], images, 40) == 0
    is_well(m, images)


def test_a_disk_that_dies(mount, registry, work):
    """The file system is shut down (FS_IOC_SHUTDOWN): all that is asked of it fails, for ever."""
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("mkfs.ext4 is not installed (Debian package e2fsprogs)")
    import fcntl
    import struct
    images = push_many(registry)
    disk = work / "disk"
    disk.mkdir()
    with open(work / "disk.ext4", "wb") as file:
        file.truncate(64 << 20)
    run(["mkfs.ext4", "-q", "-m", "0", work / "disk.ext4"], check=True)
    run(["mount", "-o", "loop", work / "disk.ext4", disk], check=True)
    try:
        m = mount(None, cache=disk / "cache")
        assert use_all([m], images, 20) == 0
        fd = os.open(disk, os.O_RDONLY)
        fcntl.ioctl(fd, 0x8004587D, struct.pack("I", 2))
        os.close(fd)
        use_all([m], images, 60)
        assert m.status()["generation"] == 1
        m.unmount()
    finally:
        umount2(disk, MNT_DETACH)


@pytest.mark.parametrize("first", [-10 * DAY, 10 * DAY], ids=["back", "forth"])
def test_a_clock_that_jumps(mount, registry, disturbance, first):
    old, new, newest = (samples.push_wasm(registry.store, "r/app", f"seed{i}", size=5000, seed=i) for i in range(3))
    path = "r/app:v1/main.wasm"

    def tag(image):
        registry.store.add_manifest("r/app", image.data, image.media_type, "v1")

    tag(old)
    m = mount(None, "--tag-ttl", "1s", "--list-ttl", "1s", env=disturbance.env)
    assert read(m / path) == old.layer.data
    assert "v1" in os.listdir(m / "r/app/tags")
    disturbance.jump(first)
    tag(new)
    until(lambda: read(m / path) == new.layer.data, timeout=8, what="the tag's new digest")
    disturbance.jump(-first)
    tag(newest)
    until(lambda: read(m / path) == newest.layer.data, timeout=8, what="the tag's newest digest")
    with raises(errno.ENOENT):
        os.stat(m / "r/app:v2/main.wasm")
    registry.store.add_manifest("r/app", new.data, new.media_type, "v2")
    until(lambda: is_readable(m / "r/app:v2/main.wasm", new), what="a tag that was not there")
    until(lambda: "v2" in os.listdir(m / "r/app/tags"), timeout=8, what="it listed")
    disturbance.jump(0)
    assert read(m / path) == newest.layer.data


def test_what_is_known_outlives_a_clock_that_jumps(mount, registry, disturbance):
    image = samples.push_wasm(registry.store, "r/app", "v1", size=5000)
    m = mount(env=disturbance.env)
    assert read(m / "r/app:v1/main.wasm") == image.layer.data
    until(lambda: m.status()["cache"]["blobs"] >= 2, what="all of it published")
    m.unmount()
    registry.on("GET", "/v2/", b.hang_up())
    registry.on("HEAD", "/v2/", b.hang_up())
    for seconds in (-1000 * DAY, 1000 * DAY):
        disturbance.jump(seconds)
        again = mount(None, "--offline", env=disturbance.env)
        assert read(again / "r/app:v1/main.wasm") == image.layer.data
        with raises(EHOSTUNREACH):
            read(again / "r/app:v2/main.wasm")
        again.unmount()
