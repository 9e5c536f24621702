# SPDX-License-Identifier: Apache-2.0
"""A thousand requests that wait for a silent registry delay nobody who needs nothing of it."""

import os
import resource
import signal
import sys
from errno import EBUSY, EROFS

import pytest

import samples
from harness import Child, Clock, SLOW, raises, read, run, scaled, until
from registry import behaviours as b

pytestmark = pytest.mark.heavy

# Opens or reads links by a thread each, and tells how each ended.
PARK = r"""
import os, resource, sys, threading
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
threading.stack_size(128 << 10)
ends = []
def go(path):
    try:
        if path.startswith("link:"):
            os.readlink(path[5:])
        else:
            os.close(os.open(path, os.O_RDONLY))
        ends.append("ok")
    except OSError as failure:
        ends.append(os.strerror(failure.errno))
threads = [threading.Thread(target=go, args=(line.rstrip("\n"),)) for line in open(sys.argv[1])]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(*(f"{n} {ends.count(n)}" for n in sorted(set(ends))), sep="\n")
"""

N = scaled(1000, 200)


@pytest.fixture
def park(work):
    children = []

    def make(paths):
        """A process that has every path waiting."""
        name = work / f"paths{len(children)}"
        name.write_text("".join(f"{path}\n" for path in paths))
        child = Child([sys.executable, "-c", PARK, name])
        children.append(child)
        return child

    yield make
    for child in children:
        if not child.has_ended():
            child.send(signal.SIGKILL)
            child.ends(20)


@pytest.fixture
def hot(registry):
    files = {f"cold{i:04}": b"cold %d " % i * 40 for i in range(N // 2)}
    samples.push_files(registry.store, "demo/cold", "v1", files)
    for i in range(N // 2):
        samples.push_files(registry.store, "demo/links", f"t{i:04}", {"x": b"%d" % i})
    return samples.push_wasm(registry.store, "demo/app", "v1", size=2 << 20)


def parked(m, park, n=N):
    """n requests that hang: half of them READLINKs in demo/, half OPENs in demo/cold:v1/files/."""
    links = park([f"link:{m}/demo/links:t{i:04}" for i in range(n // 2)])
    opens = park([f"{m}/demo/cold:v1/files/cold{i:04}" for i in range(n // 2)])
    links.waiting("readlink", threads=n // 2)
    opens.waiting("open", threads=n // 2)
    return links, opens


def use(m, image):
    """What must not wait; the seconds of the slowest of a few rounds."""
    worst = 0
    for i in range(5):
        with Clock() as took:
            assert read(m / "demo/app:v1/main.wasm") == image.layer.data
            assert read(m / "demo/app:v1/config.json") == image.config.data
            assert "cold" in os.listdir(m / "demo")
            assert "cold0001" in os.listdir(m / "demo/cold:v1/files")
            os.stat(m / f"demo/never-seen-{i}-{os.getpid()}")
            with raises(EROFS):
                os.mkdir(m / f"demo/Fresh-{i}")
            with raises(EROFS):
                os.mkdir(m / f"demo/cold:v1/files/fresh-{i}")
            os.statvfs(m)
        worst = max(worst, took.seconds)
    return worst


def test_cached_reads_beside_a_thousand_that_hang(mount, registry, hot, park):
    m = mount()
    read(m / "demo/cold:v1/manifest.json")
    os.listdir(m / "demo/cold:v1/files")
    before = use(m, hot)
    registry.pause()
    links, opens = parked(m, park)
    beside = use(m, hot)
    run(["ls", "-l", m / "demo"], timeout=10 * SLOW, check=True)
    assert beside < max(20 * before, 1.0 * SLOW), f"{beside} s beside them, {before} s without"
    assert m.status(), "status does not go through the mount"
    registry.resume()
    for child in (links, opens):
        code, out, err = child.ends(60)
        assert (code, out) == (0, f"ok {N // 2}\n"), err
    assert registry.count("GET", "/blobs/") <= N // 2 + 2


PARKED_MAX = 8192  # OP_PARKED_MAX


def test_there_is_a_limit_to_how_many_wait(mount, registry, hot, park, binary):
    """The kernel has none for requests that a thread waits for."""
    m = mount()
    assert m.status()["parked_limit"] == PARKED_MAX
    read(m / "demo/cold:v1/manifest.json")
    os.listdir(m / "demo/cold:v1/files")
    use(m, hot)
    registry.pause()
    crowd = Child([binary.parent / "tests/e2e/crowd", str(PARKED_MAX), m / "demo/links:t0001"])
    until(lambda: m.status()["parked"] == PARKED_MAX, 60, "as many waiting as may")
    late = park([f"{m}/demo/cold:v1/files/cold{i % 50:04}" for i in range(100)])
    assert late.ends(20) == (0, "Device or resource busy 100\n", "")
    assert len(m.log.wait(f"{PARKED_MAX} requests of this mount wait")) == 1
    use(m, hot)  # what is known is answered
    registry.resume()
    assert crowd.ends(60) == (0, f"ok {PARKED_MAX}\n", "")
    until(lambda: m.status()["parked"] == 0, what="nobody waiting")
    assert read(m / "demo/cold:v1/files/cold0000")


def test_a_killed_process_frees_all_it_waited_for(mount, registry, hot, park):
    m = mount()
    read(m / "demo/cold:v1/manifest.json")
    os.listdir(m / "demo/cold:v1/files")
    registry.pause()
    for child in parked(m, park):
        child.send(signal.SIGKILL)
        assert child.ends(5)[0] == -signal.SIGKILL
    until(lambda: all(r.state == "gone" for r in registry.requests(state="gone")) and
          registry.count(state="open") <= 4, 15, "the transfers being given up")
    registry.resume()
    assert read(m / "demo/cold:v1/files/cold0001")


def test_a_thousand_are_answered_when_the_registry_is_refused(mount, registry, hot, park):
    m = mount()
    read(m / "demo/cold:v1/manifest.json")
    os.listdir(m / "demo/cold:v1/files")
    registry.pause()
    children = parked(m, park)
    registry.stop()
    for child in children:
        code, out, err = child.ends(30)
        assert (code, out) == (0, f"{os.strerror(113)} {N // 2}\n"), err


def test_a_thousand_are_answered_at_the_deadline(mount, registry, hot, park):
    m = mount(None, "--timeout", "4s")
    read(m / "demo/cold:v1/manifest.json")
    os.listdir(m / "demo/cold:v1/files")
    registry.pause()
    for child in parked(m, park):
        code, out, err = child.ends(15)
        assert (code, out) == (0, f"{os.strerror(110)} {N // 2}\n"), err


def test_unmount_frees_who_waits(mount, registry, hot, park):
    m = mount()
    read(m / "demo/cold:v1/manifest.json")
    os.listdir(m / "demo/cold:v1/files")
    registry.pause()
    children = parked(m, park, scaled(200, 40))
    m.process.send_signal(signal.SIGTERM)
    for child in children:
        child.ends(10)
    assert m.wait_exit(10) == 0
    assert not m.is_mounted()


def test_ctrl_c_frees_one_of_a_thousand(mount, registry, hot, park):
    m = mount()
    read(m / "demo/cold:v1/manifest.json")
    os.listdir(m / "demo/cold:v1/files")
    samples.push_files(registry.store, "demo/links", "one", {"x": b"one"})
    registry.pause()
    parked(m, park)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL) * 3:
        cat = Child(["cat", m / "demo/links:one/manifest.json"]).waiting("open")
        cat.send(number)
        assert cat.ends(2.0 * SLOW)[0] == -number
    registry.resume()


def test_waiting_lookups_do_not_lock_their_directory(mount, registry, hot):
    """LOOKUP is the one request whose wait locks something: other names and listings go on beside it. (A mkdir waits for
    them, in the kernel; that is why a LOOKUP waits no longer than 5 s.)"""
    m = mount()
    read(m / "demo/app:v1/main.wasm")
    os.listdir(m / "demo/app/manifests/sha256")
    others = [samples.push_wasm(registry.store, "demo/app", f"x{i}", seed=100 + i) for i in range(8)]
    registry.on(None, "/manifests/sha256:", b.silent())
    waiting = [Child(["stat", m / f"demo/app/manifests/sha256/{other.hex}"]).waiting() for other in others]
    with Clock() as took:
        os.listdir(m / "demo/app/manifests/sha256")
        assert read(m / f"demo/app/manifests/sha256/{hot.hex}/main.wasm") == hot.layer.data
        assert not os.path.exists(m / "demo/app/manifests/sha256/nonsense")
    assert took.seconds < 1.0 * SLOW
    registry.heal()
    for child in waiting:
        assert child.ends(20)[0] == 0


def test_limits_of_this_process_suffice():
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] >= 4096, "raise the hard limit of open files"


def test_a_kernel_that_limits_requests(registry, binary, work):
    """fs.fuse.default_request_timeout: it would end the mount, so nothing waits as long, a transfer that advances
    neither. The file is put in its place for one mount namespace only."""
    image = samples.push_wasm(registry.store, "demo/app", size=1 << 20)
    slow = registry.on("GET", "/blobs/", b.trickle(20_000, 0.5))
    (work / "limit").write_text("8\n")
    (work / "mnt").mkdir()
    script = (f"mount --bind {work}/limit /proc/sys/fs/fuse/default_request_timeout && "
              f"{binary} mount --cache {work}/cache {registry.address} {work}/mnt && "
              f"{{ cat {work}/mnt/demo/app:v1/main.wasm > /dev/null; echo code $?; "
              f"{binary} unmount {work}/mnt; }}")
    with Clock() as took:
        result = run(["unshare", "--mount", "sh", "-c", script])
    slow.remove()
    assert "code 1" in result.out and "Connection timed out" in result.err, result
    assert 5 < took.seconds < 8 * SLOW, took.seconds
    assert image
