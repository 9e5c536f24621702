# SPDX-License-Identifier: Apache-2.0
"""--verify=stream where something goes wrong: who waits, who is asked then, and what is said of it."""

import concurrent.futures
import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import signal
from errno import EACCES, EHOSTUNREACH, ENOSPC, ENOTCONN, EPROTO

import pytest

import samples
from harness import MNT_DETACH, SLOW, Child, Clock, children_of, identity, raises, read, run, umount2, until
from registry import behaviours as b
from registry.proxy import Proxy
from several import spelt
from test_disk import disk, fill
from test_stream import BIG, MIB, PATH, STREAM, blob_of, opened, push, sent, span, verified, whole, worker_answers


def why(m, path):
    return json.loads(run([m.binary, "why", "--json", path], env=m.env).ok().out)


def layer_of(m, data):
    return m / f"demo/app/blobs/sha256/{hashlib.sha256(data).hexdigest()}"


# a failure is nobody's but those who waited for it

def test_who_wants_the_whole_after_a_failure_has_it_tried_anew(mount, registry):
    data = samples.push_wasm(registry.store, "demo/app", size=BIG).layer.data
    m = mount(registry, STREAM)
    with opened(layer_of(m, data)) as file:
        assert file.read(4096) == data[:4096]
        os.stat(m / "demo/app:v1/main.wasm")
        rule = registry.on("GET", blob_of(data), b.error(403, "DENIED", "not now"))
        with raises(EACCES):
            os.pread(file.fileno(), 4096, 9 * MIB)
        rule.remove()
        assert read(m / "demo/app:v1/main.wasm") == data


def test_who_wants_the_whole_of_a_host_that_is_down_is_told_at_once(mount, registry):
    data = samples.push_wasm(registry.store, "demo/app", size=BIG).layer.data
    m = mount(registry, STREAM, "--timeout", f"{int(10 * SLOW)}s")
    with opened(layer_of(m, data)) as file:
        assert file.read(4096) == data[:4096]
        os.stat(m / "demo/app:v1/main.wasm")
        registry.stop()
        with raises(EHOSTUNREACH):
            os.pread(file.fileno(), 4096, 9 * MIB)
        with Clock() as took, raises(EHOSTUNREACH):
            read(m / "demo/app:v1/main.wasm")
        assert took.seconds < 2 * SLOW
        registry.start()


# those who are gone

def holds_open(child, name):
    with contextlib.suppress(OSError):
        return any(os.readlink(entry.path).endswith(name) for entry in os.scandir(f"/proc/{child.pid}/fd"))
    return False


def failed_reads(m):
    return sum(one["count"] for one in m.status()["operations"] if one["operation"] == "read" and one["outcome"] == "EINTR")


def partial_fds(m):
    return [path for path in m.fds().values() if "/partial/" in path]


def test_what_killed_readers_had_open_is_closed(mount, registry):
    """The kernel's reading ahead is answered by nobody's interrupt, and keeps the file open."""
    paths = []
    for number in range(4):
        image = samples.push_files(registry.store, f"demo/data{number}", files={"data.bin": samples.noise(BIG, number)})
        registry.on("GET", blob_of(image.layer.data), b.silent())
        paths.append(f"demo/data{number}:v1/files/data.bin")
    m = mount(registry, STREAM, "--timeout", f"{int(30 * SLOW)}s")
    readers = [Child(["cat", m / path]) for path in paths]
    until(lambda: len(partial_fds(m)) >= 4 and m.status()["parked"] >= 4, what="their waiting")
    for reader in readers:
        reader.send(signal.SIGKILL).ends(5)
    with Clock() as took:
        until(lambda: not partial_fds(m), what="their files being closed")
    assert took.seconds < 8 * SLOW


def test_who_reads_the_same_page_as_one_that_was_killed(mount, registry):
    data = push(registry)
    m = mount(registry, STREAM, "--timeout", f"{int(20 * SLOW)}s")
    path = os.path.realpath(m / PATH)
    registry.pause()
    first = Child(["sha256sum", path])
    registry.wait_count(1, "GET", blob_of(data))
    second = Child(["sha256sum", path])
    until(lambda: holds_open(second, "data.bin"), what="its having opened it")
    first.send(signal.SIGKILL).ends(5)
    until(lambda: failed_reads(m), what="its reading ahead being let go")
    registry.resume()
    assert second.ends(60)[1].split()[0] == hashlib.sha256(data).hexdigest()


def test_keeper_and_worker_die_while_pages_are_dropped(mount, registry):
    """That waits for a READ, where it cannot be killed, and has /dev/fuse open; so the connection must be ended."""
    data = push(registry, 24 * MIB)
    registry.on("GET", blob_of(data), b.silent(), skip=1)
    m = mount(registry, STREAM, "--timeout", f"{int(60 * SLOW)}s")
    path = os.path.realpath(m / PATH)
    with opened(path) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        assert file.read(4096) == data[:4096]
        reader = Child(["dd", f"if={path}", "bs=4k", "count=1", "skip=5000", "of=/dev/null"])
        registry.wait_count(2, "GET", blob_of(data))
        m.kill_worker()
        until(lambda: worker_answers(m, 1), what="the next worker")
        dropping = until(lambda: those_who_drop(m.worker()), what="its dropping pages")
        try:
            m.kill()
            assert reader.ends(20)[0] == 1
            until(lambda: not any(os.path.exists(f"/proc/{pid}/fd/0") for pid in dropping), what="their end")
            with raises(ENOTCONN):
                os.pread(file.fileno(), 10, 5 * MIB)
        finally:
            run([m.binary, "abort", m.path], env=m.env)


@pytest.mark.parametrize("user", [None, 1000], ids=["root", "user"])
def test_a_mount_that_is_ended_while_pages_are_dropped(mount, registry, work, user):
    """The keeper ends what its worker had started, but nothing ends who drops pages: so the connection must be ended."""
    data = push(registry)
    registry.on("GET", blob_of(data), b.silent())
    m = mount(registry, STREAM, "--timeout", f"{int(60 * SLOW)}s", user=user, cache=own_directory(work, user) / "cache")
    reader = Child(["dd", f"if={m / PATH}", "bs=4k", "count=1", "of=/dev/null"], **identity(user))
    registry.wait_count(1, "GET", blob_of(data))
    m.kill_worker()
    until(lambda: worker_answers(m, 1), what="the next worker")
    dropping = until(lambda: those_who_drop(m.worker()), what="its dropping pages")
    m.ended_badly_on_purpose = True
    os.kill(m.pid(), signal.SIGTERM)
    assert reader.ends(20)[0] == 1
    until(lambda: not any(os.path.exists(f"/proc/{pid}/fd/0") for pid in dropping), what="their end")
    m.wait_exit()
    assert not m.is_mounted()


def test_a_killed_reader_is_the_last_one_of_a_detached_mount(mount, registry):
    """Its end takes the mount down, which waits for who drops pages, which waits for its reading ahead."""
    data = push(registry)
    registry.on("GET", blob_of(data), b.silent())
    m = mount(registry, STREAM, "--timeout", f"{int(60 * SLOW)}s")
    reader = Child(["cat", m / PATH])
    registry.wait_count(1, "GET", blob_of(data))
    m.kill_worker()
    until(lambda: worker_answers(m, 1), what="the next worker")
    until(lambda: those_who_drop(m.worker()), what="its dropping pages")
    umount2(m.path, MNT_DETACH)
    reader.send(signal.SIGKILL).ends(10)
    m.wait_exit()


def own_directory(work, user):
    if user is not None:
        (work / "own").mkdir()
        os.chown(work / "own", user, user)
        return work / "own"
    return work


def those_who_drop(worker):
    """Below a worker, those that wait in the kernel for READs."""
    found = []
    for pid in [pid for child in children_of(worker) for pid in (child, *children_of(child))]:
        with contextlib.suppress(OSError):
            if "fuse_reverse_inval_inode" in pathlib.Path(f"/proc/{pid}/stack").read_text():
                found.append(pid)
    return found


# where its bytes come from

def redirected(m, registry, data):
    with opened(m / PATH) as file:
        with raises(EPROTO):
            os.pread(file.fileno(), 4096, 2 * MIB)
    m.log.wait("it comes over plain HTTP, so it cannot be used before it is verified")


def proxy_env(proxy):
    return {"HTTP_PROXY": f"http://127.0.0.1:{proxy.port}"}


def test_a_redirect_to_plain_http_by_way_of_a_proxy_of_this_machine(mount, registry, registries):
    """It is loopback that sends the bytes, and not where they are from."""
    storage = registries()
    storage.store = registry.store
    proxy = registries(Proxy, hosts={"storage.test": storage, "127.0.0.1.": storage})
    data = push(registry)
    rule = registry.on("GET", blob_of(data), b.redirect("http://storage.test"))
    m = mount(registry, STREAM, env=proxy_env(proxy))
    redirected(m, registry, data)
    assert proxy.count("GET") > 0
    rule.remove()
    m.unmount()
    # A proxy's 127.0.0.1 is not ours, and this spelling is not kept from it.
    registry.on("GET", blob_of(data), b.redirect(f"http://127.0.0.1.:{storage.port}"))
    before = proxy.count("GET")
    m = mount(registry, STREAM, env=proxy_env(proxy))
    redirected(m, registry, data)
    assert proxy.count("GET") > before


def several(mount, registries, *options):
    """A mount of two registries that have the same blob, which both have named; and its bytes."""
    first, second = registries(), registries()
    for one in (first, second):
        data = push(one)
    m = mount(first.address, second.address, *options)
    for one in (second, first):
        os.stat(m / spelt(one) / PATH)
    return m, first, second, data


def test_a_stream_turns_to_another_registry(mount, registries):
    m, first, second, data = several(mount, registries, STREAM)
    first.on("GET", blob_of(data), b.error(503, "UNAVAILABLE", "later"))
    path = os.path.realpath(m / spelt(first) / PATH)
    with opened(path) as file:
        assert whole(file.fileno()) == data
        verified(path)
    assert sent(second, data) == len(data)
    assert first.count("GET", blob_of(data)) < 8, "it stays with the other one"


def test_a_stream_turns_from_a_silent_registry(mount, registries):
    m, first, second, data = several(mount, registries, STREAM, "--timeout", f"{int(6 * SLOW)}s")
    first.on("GET", blob_of(data), b.silent())
    with opened(m / spelt(first) / PATH) as file:
        assert whole(file.fileno()) == data


def test_a_stream_turns_on_the_way(mount, registries):
    m, first, second, data = several(mount, registries, STREAM)
    path = os.path.realpath(m / spelt(first) / PATH)
    with opened(path) as file:
        assert file.read(MIB) == data[:MIB]
        first.on("GET", blob_of(data), b.error(403, "DENIED", "no more"))
        assert whole(file.fileno()) == data[MIB:]
        verified(path)


# what is said of it

def test_why_of_what_is_being_read(mount, registry):
    data = push(registry)
    held = registry.on("GET", blob_of(data), b.silent(), where=lambda r: span(r) > MIB)
    m = mount(registry, STREAM)
    path = os.path.realpath(m / PATH)
    with opened(path) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        assert file.read(4096) == data[:4096]
        answer = why(m, path)
        assert (answer["state"], answer["errno"]) == ("coming", None)
        assert "--verify=stream" in answer["text"] and "not verified yet" in answer["text"]
        assert "64 KiB of 12 MiB are here" in answer["text"], answer
        held.remove()
        verified(path)
        until(lambda: why(m, path)["state"] == "fine", what="its being here")


def test_why_of_what_a_silent_registry_is_asked_for(mount, registry):
    data = push(registry)
    rule = registry.on("GET", blob_of(data), b.silent())
    m = mount(registry)
    reader = Child(["cat", m / PATH]).waiting("open")
    registry.wait_count(1, "GET", blob_of(data))
    until(lambda: "being asked since 1 s" in why(m, m / PATH)["text"], what="a second")
    assert why(m, m / PATH)["state"] == "coming"
    rule.remove()
    reader.send(signal.SIGKILL).ends(5)


def test_why_of_a_name_that_will_not_appear(mount, registry):
    push(registry)
    m = mount(registry)
    read(m / "demo/data:v1/manifest.json")
    for path in ("demo/data:v1/nothing", "demo/data:v1/files/nothing", "demo/data:v1/layers/9.bin"):
        answer = why(m, m / path)
        assert answer["errno"] == "ENOENT" and "10 s" not in answer["hint"] and "never changes" in answer["hint"], answer
    with contextlib.suppress(OSError):
        os.readlink(m / "demo/data:nope")
    assert "10 s" in why(m, m / "demo/data:nope")["hint"], "a tag may come"


# there is no room

@pytest.fixture
def full_disk(work):
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("mkfs.ext4 is not installed (Debian package e2fsprogs)")
    with disk(work / "disk", 24 << 20) as found:
        yield found


def test_no_room_on_the_disk(mount, registry, full_disk):
    """Known as it is opened, so that nobody who mapped it is killed: it is verified first then, and kept in memory."""
    data = push(registry)
    samples.push_files(registry.store, "demo/larger", files={"data.bin": samples.noise(72 * MIB)})
    (full_disk / "cache").mkdir(mode=0o700)
    m = mount(registry, STREAM, "--cache-size", "1G", cache=full_disk / "cache")
    path = os.path.realpath(m / PATH)
    os.path.realpath(m / "demo/larger:v1/files/data.bin")
    fill(full_disk)
    with opened(path) as file:
        assert os.getxattr(path, "user.oci.verified") == b"1"
        assert whole(file.fileno()) == data
    for _ in range(2):
        with raises(ENOSPC):
            os.open(m / "demo/larger:v1/files/data.bin", os.O_RDONLY)
    (full_disk / "filler").unlink()
    until(lambda: m.status()["open_files"] == 0, what="all of it being closed")
    assert read(path) == data


def test_many_open_it_where_there_is_no_room(mount, registry, full_disk):
    data = push(registry)
    (full_disk / "cache").mkdir(mode=0o700)
    m = mount(registry, STREAM, "--cache-size", "1G", cache=full_disk / "cache")
    path = os.path.realpath(m / PATH)
    fill(full_disk)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert all(found == data for found in pool.map(lambda _: read(path), range(16)))
