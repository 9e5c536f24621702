# SPDX-License-Identifier: Apache-2.0
"""--verify=stream: large blobs are read as they arrive, and their digest decides at the end."""

import contextlib
import gzip
import hashlib
import mmap
import os
import random
import re
import signal
import subprocess
import sys
import threading
from errno import EACCES, EBADMSG, EFBIG, EHOSTUNREACH, EPROTO, ETIMEDOUT

import pytest

import samples
from harness import Child, Clock, files_holding, partials, raises, read, run, until
from registry import behaviours as b
from registry.auth import Bearer

MIB = 1 << 20
CHUNK = 64 << 10
BIG = 12 * MIB + 12345  # more than what is verified first, and no whole number of chunks
PATH = "demo/data:v1/files/data.bin"
BLOBS = "/blobs/sha256"
STREAM = "--verify=stream"


def push(registry, size=BIG, seed=1):
    """The bytes of the one large file of demo/data:v1."""
    return samples.push_files(registry.store, "demo/data", files={"data.bin": samples.noise(size, seed)}).layer.data


def blob_of(data):
    return "/blobs/sha256:" + hashlib.sha256(data).hexdigest()


def opened(path):
    return open(path, "rb", buffering=0)


def whole(fd, size=MIB):
    """What follows, to the end."""
    parts = []
    while part := os.read(fd, size):
        parts.append(part)
    return b"".join(parts)


def attribute(path, name):
    return os.getxattr(path, f"user.oci.{name}")


def sent(registry, data):
    return sum(request.sent for request in registry.requests("GET", blob_of(data)))


def verified(path):
    until(lambda: attribute(path, "verified") == b"1", what="the whole being here and right")


def huge(registry, size=1 << 30):
    """A blob of 1 GiB that takes no memory; nobody will come to its end, so it need not be what its digest says."""
    digest = "sha256:" + "ab" * 32
    hole = mmap.mmap(-1, size)
    registry.store.repository("demo/data").blobs[digest] = hole
    registry.store.add_blob("demo/data", b"{}")
    layer = {"mediaType": "application/octet-stream", "digest": digest, "size": size,
             "annotations": {"org.opencontainers.image.title": "data.bin"}}
    config = {"mediaType": "application/vnd.oci.empty.v1+json", "size": 2,
              "digest": "sha256:" + hashlib.sha256(b"{}").hexdigest()}
    registry.store.add_manifest("demo/data", {
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config,
        "layers": [layer]}, tag="v1")
    return digest


# what it is for

def test_the_first_bytes_of_a_large_blob_come_at_once(mount, registry):
    digest = huge(registry)
    m = mount(registry, STREAM)
    with opened(m / PATH) as file:
        assert file.read(4096) == bytes(4096)
        # Counted once a piece is gone, so up to one piece behind for each request.
        assert sum(request.sent for request in registry.requests("GET", digest)) < 8 * MIB
        until(lambda: sum(request.sent for request in registry.requests("GET", digest)) >= 4096, what="it being counted")
        assert os.fstat(file.fileno()).st_size == 1 << 30


def test_it_is_read_whole_and_then_published(mount, registry):
    data = push(registry)
    m = mount(registry, STREAM)
    path = os.path.realpath(m / PATH)
    with opened(path) as file:
        assert (attribute(path, "cached"), attribute(path, "verified")) == (b"0", b"0")
        assert whole(file.fileno()) == data
        verified(path)
        until(lambda: attribute(path, "cached") == b"1", what="its being published")
        assert os.pread(file.fileno(), 1000, 5 * MIB) == data[5 * MIB:5 * MIB + 1000]
        with opened(path) as second:
            assert second.read() == data
    assert sent(registry, data) == len(data), "no byte twice"
    before = registry.count()
    assert read(path) == data
    assert registry.count() == before
    assert not partials(m.cache)
    m.unmount()
    assert read(mount(registry, "--offline") / PATH) == data


def test_what_nobody_reads_is_fetched_in_the_background(mount, registry):
    data = push(registry)
    m = mount(registry, STREAM)
    path = os.path.realpath(m / PATH)
    with opened(path) as file:
        assert os.pread(file.fileno(), 100, 3 * MIB) == data[3 * MIB:3 * MIB + 100]
        verified(path)
    assert sent(registry, data) == len(data)
    assert read(path) == data


def test_random_reads_cost_one_request_each(mount, registry):
    digest = huge(registry, 256 * MIB)
    m = mount(registry, STREAM)
    with opened(m / PATH) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        places = random.Random(1).sample(range(256 * MIB // 4096), 60)
        for n, place in enumerate(places, 1):
            assert os.pread(file.fileno(), 4096, place * 4096) == bytes(4096)
        requests = registry.requests("GET", digest)
        background = [r for r in requests if span(r) > MIB]
        assert len(requests) - len(background) <= len(places)
        assert all(span(r) <= 2 * CHUNK for r in requests if r not in background), "no read-ahead"
        for place in places[:20]:
            os.pread(file.fileno(), 4096, place * 4096)
        assert len([r for r in registry.requests("GET", digest) if span(r) <= MIB]) <= len(places), "what is here is here"


def span(request):
    first, last = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("range")).groups())
    return last - first + 1


def test_who_reads_on_is_read_ahead_for(mount, registry):
    data = push(registry, 40 * MIB)
    m = mount(registry, STREAM)
    with opened(m / PATH) as file:
        assert whole(file.fileno()) == data
    spans = [span(r) for r in registry.requests("GET", blob_of(data))]
    assert max(spans) >= 8 * MIB and len(spans) < 40, spans
    assert sent(registry, data) == len(data)


def test_two_readers_share_what_is_here(mount, registry):
    data = push(registry)
    m = mount(registry, STREAM)
    readers = [Child(["sha256sum", m / PATH]) for _ in range(4)]
    for reader in readers:
        assert reader.ends(30)[1].split()[0] == hashlib.sha256(data).hexdigest()
    assert sent(registry, data) == len(data)


def test_small_blobs_are_verified_first(mount, registry):
    data = push(registry, 8 * MIB - 1)
    registry.on("GET", BLOBS, b.flip(5 * MIB), where=lambda r: blob_of(data) in r.target)
    m = mount(registry, STREAM)
    with raises(EBADMSG):
        os.open(m / PATH, os.O_RDONLY)


def test_main_wasm_is_verified_first(mount, registry):
    image = samples.push_wasm(registry.store, "demo/app", size=BIG)
    registry.on("GET", blob_of(image.layer.data), b.flip(BIG - 1))
    m = mount(registry, STREAM)
    with raises(EBADMSG):
        os.open(m / "demo/app:v1/main.wasm", os.O_RDONLY)


def test_without_the_option_nothing_is_read_before_it_is_verified(mount, registry):
    data = push(registry)
    registry.on("GET", blob_of(data), b.flip(BIG - 1))
    m = mount(registry, "--verify=always")
    with raises(EBADMSG):
        os.open(m / PATH, os.O_RDONLY)


def test_only_over_tls_or_from_this_machine(mount, registries, authority, work):
    secure = registries(tls=authority.context("127.0.0.1"))
    data = push(secure)
    m = mount(secure, STREAM, "--ca-file", authority.ca_file(work))
    path = os.path.realpath(m / PATH)
    with opened(path) as file:
        assert file.read(100) == data[:100]
        assert attribute(path, "verified") == b"0"
        verified(path)


# wrong bytes

def test_a_wrong_bit_ends_in_ebadmsg(mount, registry):
    data = push(registry)
    rule = registry.on("GET", blob_of(data), wrong_at(7 * MIB))
    held = registry.on("GET", blob_of(data), b.silent(), where=lambda r: span(r) > MIB)
    m = mount(registry, STREAM)
    path = os.path.realpath(m / PATH)
    with opened(path) as first, opened(path) as second, maps(path) as mapped:
        assert os.pread(second.fileno(), 10, 2 * MIB) == data[2 * MIB:2 * MIB + 10]
        assert os.pread(first.fileno(), 10, 0) == data[:10]
        held.remove()
        m.log.wait(r"do not match their digest.*--verify=stream")
        until(lambda: refused(first.fileno(), 0), what="the pages being dropped")
        for fd in (first.fileno(), second.fileno()):
            for at in (0, 2 * MIB, 7 * MIB, BIG - 10):
                with raises(EBADMSG):
                    os.pread(fd, 10, at)
        with raises(EBADMSG):
            os.open(path, os.O_RDONLY)
        # A page of the mapping cannot be had any more, not even one that was.
        mapped.stdin.write(b"\n")
        mapped.stdin.flush()
        assert mapped.wait(20) == -signal.SIGBUS
    assert len(m.log.find(r"stream: .*do not match their digest")) == 1
    assert (attribute(path, "cached"), attribute(path, "verified")) == (b"0", b"0")
    assert not files_holding(m.cache, data[100:164])
    why = run([m.binary, "why", path], env=m.env)
    assert "do not match their digest" in why.out and "EBADMSG" in why.out, why
    # From now on it is verified first.
    with raises(EBADMSG):
        os.open(path, os.O_RDONLY)
    rule.remove()
    assert read(path) == data


@contextlib.contextmanager
def maps(path):
    """A process that has a file mapped and has seen its first page; a line makes it look again."""
    program = "import mmap,sys; f=open(sys.argv[1],'rb'); m=mmap.mmap(f.fileno(),0,prot=mmap.PROT_READ); print(m[0]," \
              "flush=True); sys.stdin.readline(); print(m[0])"
    with subprocess.Popen([sys.executable, "-c", program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline()
        yield process


def refused(fd, at):
    try:
        os.pread(fd, 1, at)
    except OSError:
        return True
    return False


def wrong_at(at):
    """One byte of the blob is another one, in whatever range it comes."""
    def behaviour(request, proceed):
        response = proceed()
        found = re.match(r"bytes (\d+)-(\d+)/", response.headers.get("content-range") or "")
        first = int(found[1]) if found else 0
        data = bytearray(b._bytes(response))
        if first <= at < first + len(data):
            data[at - first] ^= 1
        response.body = bytes(data)
        return response
    return behaviour


# registries that misbehave

def test_a_registry_without_ranges(mount, registry):
    data = push(registry)
    registry.ranges = False
    m = mount(registry, STREAM)
    path = os.path.realpath(m / PATH)
    with opened(path) as file:
        assert os.pread(file.fileno(), 100, 9 * MIB) == data[9 * MIB:9 * MIB + 100]
        assert whole(file.fileno()) == data
        verified(path)
    assert registry.count("GET", blob_of(data)) <= 3


def encoded(request, proceed):
    """All of it, as something else that does not say its length."""
    request.headers.drop("range")
    response = b.set_header("Content-Encoding", "gzip")(request, proceed)
    response.body = gzip.compress(bytes(response.body), compresslevel=0)
    response.length = None
    return b.chunked()(request, lambda: response)


@pytest.mark.parametrize("behaviour", [b.part(end=10), b.part(start=1), b.part(content_range=False),
                                       b.part(content_range="bytes 0-1/nonsense"), encoded],
                         ids=["over-long", "elsewhere", "no Content-Range", "nonsense", "encoded"])
def test_another_part_than_was_asked_for(mount, registry, behaviour):
    data = push(registry)
    rule = registry.on("GET", blob_of(data), behaviour)
    m = mount(registry, STREAM)
    with opened(m / PATH) as file:
        with raises(EPROTO):
            os.pread(file.fileno(), 4096, 2 * MIB)
        m.log.wait(r"read: .*bytes \d+-\d+ were asked for, and came as")
        rule.remove()
        # One that waits for what was asked for before fails with it; a later one tries again.
        until(lambda: not refused(file.fileno(), 2 * MIB), what="a later read")
        assert os.pread(file.fileno(), 4096, 2 * MIB) == data[2 * MIB:2 * MIB + 4096]


def test_more_than_a_part_says_that_it_is(mount, registry):
    """Content-Range names less than was asked for, and what comes behind that is of nowhere."""
    def says_less(request, proceed):
        data = b._bytes(proceed())
        response = b.part(end=CHUNK - len(data))(request, proceed)
        response.body, response.length = iter([bytes(response.body) + b"?" * (len(data) - CHUNK)]), None
        return response
    data = push(registry)
    registry.on("GET", blob_of(data), says_less, where=lambda r: span(r) > CHUNK)
    m = mount(registry, STREAM)
    with opened(m / PATH) as file:
        for at in range(0, BIG, MIB):
            with contextlib.suppress(OSError):
                assert data.startswith(os.pread(file.fileno(), MIB, at), at)


def test_a_part_of_another_object(mount, registry):
    data = push(registry)
    registry.on("GET", blob_of(data), b.set_header("ETag", '"one"'), times=1)
    rule = registry.on("GET", blob_of(data), b.set_header("ETag", '"two"'), skip=1)
    m = mount(registry, STREAM)
    with opened(m / PATH) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        assert file.read(4096) == data[:4096]
        # The kernel itself reads a page once more whose reading ahead failed.
        refused(file.fileno(), 5 * MIB)
        m.log.wait("another object than a moment ago, says its ETag: EPROTO")
        asked = [r.headers.get("if-range") for r in registry.requests("GET", blob_of(data))]
        assert asked[:3] == [None, '"one"', None]
        assert os.pread(file.fileno(), 4096, 5 * MIB) == data[5 * MIB:5 * MIB + 4096]
    rule.remove()


def test_another_size_than_was_declared(mount, registry):
    data = push(registry)
    registry.on("GET", blob_of(data), b.part(total=1))
    m = mount(registry, STREAM)
    with opened(m / PATH) as file:
        with raises(EBADMSG):
            os.pread(file.fileno(), 4096, 0)


def test_shorter_parts_than_were_asked_for(mount, registry):
    data = push(registry)
    registry.on("GET", blob_of(data), b.part(end=-1000), where=lambda r: span(r) > 2000)
    m = mount(registry, STREAM)
    path = os.path.realpath(m / PATH)
    with opened(path) as file:
        assert whole(file.fileno()) == data
        verified(path)


def test_a_cut_in_the_middle_of_a_chunk(mount, registry):
    data = push(registry)
    registry.on("GET", blob_of(data), b.cut(CHUNK + 1000), times=5)
    m = mount(registry, STREAM)
    path = os.path.realpath(m / PATH)
    with opened(path) as file:
        assert whole(file.fileno()) == data
        verified(path)


def test_a_token_that_ends_on_the_way(mount, registry, tokens):
    data = push(registry)
    server = tokens()
    registry.auth = Bearer(server)
    m = mount(registry, STREAM)
    with opened(m / PATH) as file:
        assert file.read(4096) == data[:4096]
        server.revoke()
        assert os.pread(file.fileno(), 4096, 9 * MIB) == data[9 * MIB:9 * MIB + 4096]
        server.revoke()
        assert whole(file.fileno()) == data[4096:]


def test_a_refusal_on_the_way(mount, registry):
    data = push(registry)
    m = mount(registry, STREAM)
    with opened(m / PATH) as file:
        assert file.read(4096) == data[:4096]
        rule = registry.on("GET", blob_of(data), b.error(403, "DENIED", "no more"))
        with raises(EACCES):
            os.pread(file.fileno(), 4096, 9 * MIB)
        rule.remove()

        def again():
            with contextlib.suppress(PermissionError):
                return os.pread(file.fileno(), 4096, 9 * MIB)

        # A request that was refused may still be on its way to who joined it.
        until(lambda: again() == data[9 * MIB:9 * MIB + 4096], what="its being read once it is allowed")


def test_another_repository_calls_the_same_object_otherwise(mount, registry):
    data = push(registry)
    samples.push_files(registry.store, "demo/other", files={"data.bin": data})
    for name in ("data", "other"):
        registry.on("GET", f"/demo/{name}{blob_of(data)}", b.set_header("ETag", f'"{name}"'))
    m = mount(registry, STREAM)
    os.stat(m / "demo/other:v1/files/data.bin")
    with opened(m / PATH) as file:
        assert file.read(4096) == data[:4096]
        registry.on("GET", f"/demo/data{blob_of(data)}", b.error(403, "DENIED", "no more"))
        assert os.pread(file.fileno(), 4096, 9 * MIB) == data[9 * MIB:9 * MIB + 4096]


def test_a_registry_that_falls_silent(mount, registry):
    data = push(registry)
    m = mount(registry, STREAM, "--timeout", "1s")
    path = os.path.realpath(m / PATH)
    with opened(path) as file:
        assert file.read(4096) == data[:4096]
        rule = registry.on("GET", blob_of(data), b.silent())
        with Clock() as took, raises(ETIMEDOUT):
            os.pread(file.fileno(), 4096, 9 * MIB)
        assert took.seconds < 8
        assert os.pread(file.fileno(), 4096, 0) == data[:4096], "what is here is read"
        why = run([m.binary, "why", path], env=m.env)
        assert "ETIMEDOUT" in why.out, why
        rule.remove()
        until(lambda: not refused(file.fileno(), 9 * MIB), what="its being up again")


def test_a_registry_that_is_gone(mount, registry):
    data = push(registry)
    m = mount(registry, STREAM)
    path = os.path.realpath(m / PATH)
    with opened(path) as file:
        assert file.read(4096) == data[:4096]
        registry.stop()
        with raises(EHOSTUNREACH):
            os.pread(file.fileno(), 4096, 9 * MIB)
        with raises(EHOSTUNREACH):
            os.open(m / "demo/other:v1/files/data.bin", os.O_RDONLY)
        registry.start()
        until(lambda: not refused(file.fileno(), 9 * MIB), what="its being up again")
        verified(path)


def test_more_than_the_cache_may_hold(mount, registry):
    push(registry)
    m = mount(registry, STREAM, "--cache-size", "10M")
    with raises(EFBIG):
        os.open(m / PATH, os.O_RDONLY)


def test_two_mounts_of_one_cache(mount, registry):
    data = push(registry)
    first, second = mount(registry, STREAM), mount(registry, STREAM)
    with opened(first / PATH) as one:
        os.posix_fadvise(one.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        assert one.read(4096) == data[:4096]
        with Clock() as took, opened(second / PATH) as two:
            assert two.read(4096) == data[:4096]
        assert took.seconds < 6
        assert whole(one.fileno()) == data[4096:]


def test_beside_a_mount_that_verifies_first(mount, registry):
    """Which does not wait for as long as for one that fetches it from the start on: it could be for ever."""
    data = push(registry)
    registry.on("GET", blob_of(data), b.silent(), where=lambda r: r.headers.get("range") and span(r) > MIB)
    first, second = mount(registry, STREAM), mount(registry)
    with opened(first / PATH) as one:
        os.posix_fadvise(one.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        assert one.read(4096) == data[:4096]
        with Clock() as took:
            assert read(second / PATH) == data
        assert took.seconds < 6


# lives and deaths

def test_a_killed_worker_goes_on(mount, registry):
    data = push(registry, 24 * MIB)
    rule = registry.on("GET", blob_of(data), b.trickle(256 << 10, 0.05))
    m = mount(registry, STREAM)
    path = os.path.realpath(m / PATH)
    with opened(path) as file:
        assert file.read(3 * MIB) == data[:3 * MIB]
        before = sent(registry, data)
        reader = Child(["sha256sum", path])
        for generation in (1, 2):
            m.kill_worker()
            until(lambda: worker_answers(m, generation), what="the next worker")
        assert os.pread(file.fileno(), 100, 20 * MIB) == data[20 * MIB:20 * MIB + 100]
        rule.remove()
        assert reader.ends(40)[1].split()[0] == hashlib.sha256(data).hexdigest()
        assert os.pread(file.fileno(), len(data), 0)[:MIB] == data[:MIB]
        verified(path)
    assert before >= 3 * MIB
    assert sent(registry, data) < len(data) + 12 * MIB, "what was here was not fetched again"


def worker_answers(m, generation):
    try:
        return m.status()["generation"] > generation
    except AssertionError:
        return False


def test_a_worker_dies_after_a_wrong_bit(mount, registry):
    data = push(registry)
    registry.on("GET", blob_of(data), wrong_at(7 * MIB))
    m = mount(registry, STREAM)
    with opened(m / PATH) as file:
        assert file.read(10) == data[:10]
        m.log.wait(r"do not match their digest")
        until(lambda: refused(file.fileno(), 0), what="the pages being dropped")
        m.kill_worker()
        until(lambda: worker_answers(m, 1), what="the next worker")
        with raises(EBADMSG):
            os.pread(file.fileno(), 10, 0)


def test_an_unmount_on_the_way_is_prompt_and_the_next_mount_goes_on(mount, registry):
    data = push(registry, 24 * MIB)
    rule = registry.on("GET", blob_of(data), b.silent(after=1000), skip=1)
    m = mount(registry, STREAM)
    with opened(m / PATH) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        assert file.read(4096) == data[:4096]
        waiting = Child(["dd", f"if={m / PATH}", "bs=4k", "count=1", "skip=5000", "of=/dev/null"])
        registry.wait_count(2, "GET", blob_of(data))
        waiting.send(signal.SIGKILL)
        waiting.ends(5)
    with Clock() as took:
        m.unmount()
    assert took.seconds < 5
    before = sent(registry, data)
    left = partials(m.cache)
    assert len(left) == 1 and before >= CHUNK
    rule.remove()
    registry.clear()
    m = mount(registry, STREAM)
    assert read(m / PATH) == data
    assert sent(registry, data) < len(data), "it was continued"


def test_a_reader_who_waits_can_be_killed(mount, registry):
    data = push(registry)
    rule = registry.on("GET", blob_of(data), b.silent())
    m = mount(registry, STREAM)
    reader = Child(["cat", m / PATH]).waiting()
    reader.send(signal.SIGINT)
    assert reader.ends(3)[0] == -signal.SIGINT
    rule.remove()
    assert read(m / PATH) == data


def test_main_wasm_of_a_blob_that_is_being_read(mount, registry):
    """The same digest is wanted whole while it arrives: one transfer, and the whole is waited for."""
    image = samples.push_wasm(registry.store, "demo/app", size=BIG)
    data = image.layer.data
    m = mount(registry, STREAM)
    layer = m / f"demo/app/blobs/sha256/{hashlib.sha256(data).hexdigest()}"
    with opened(layer) as file:
        assert file.read(4096) == data[:4096]
        assert read(m / "demo/app:v1/main.wasm") == data
        assert whole(file.fileno()) == data[4096:]
    assert sent(registry, data) == len(data)


def test_many_threads_read_everywhere(mount, registry):
    data = push(registry, 20 * MIB)
    m = mount(registry, STREAM)
    wrong = []

    def reads(seed):
        places = random.Random(seed)
        with opened(m / PATH) as file:
            for _ in range(60):
                at = places.randrange(len(data) - 1)
                size = places.choice([1, 4096, 100_000, MIB])
                if os.pread(file.fileno(), size, at) != data[at:at + size]:
                    wrong.append(at)
    threads = [threading.Thread(target=reads, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert sent(registry, data) < len(data) + 2 * MIB, "but for what lies between two chunks that one request brings"


def test_the_option_is_checked(mount, registry):
    result = run([mount().binary, "mount", "--verify=sometimes", registry.address, "/nowhere"])
    assert result.code == 2 and "always" in result.err and "stream" in result.err


def test_pages_of_a_killed_worker_do_not_outlive_what_another_mount_verified(mount, registry):
    """Its wrong byte was never found wrong: another mount has fetched the blob anew, whole, and right."""
    data = push(registry)
    wrong = registry.on("GET", blob_of(data), wrong_at(3))
    silent = registry.on("GET", blob_of(data), b.silent(), skip=1)
    m = mount(registry, STREAM)
    with opened(m / PATH) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        assert os.pread(file.fileno(), 10, 0) != data[:10]
        m.kill_worker()
        until(lambda: worker_answers(m, 1), what="the next worker")
        wrong.remove()
        silent.remove()
        assert read(mount(registry) / PATH) == data
        assert os.pread(file.fileno(), 10, 5 * MIB) == data[5 * MIB:5 * MIB + 10]
        until(lambda: os.pread(file.fileno(), 10, 0) == data[:10], what="the wrong page being dropped")


def test_who_wants_a_whole_does_not_wait_for_the_background_of_others(mount, registry):
    """Two large blobs that take long are in the background; the main.wasm of a third that is being read goes on."""
    slow = []
    for name in ("one", "two"):
        other = samples.push_files(registry.store, f"demo/{name}", files={"data.bin": samples.noise(BIG, len(name) + len(slow))})
        registry.on("GET", blob_of(other.layer.data), b.trickle(16 << 10, 0.05))
        slow.append((f"demo/{name}:v1/files/data.bin", other.layer.data))
    image = samples.push_wasm(registry.store, "demo/app", size=BIG)
    data = image.layer.data
    m = mount(registry, STREAM, "--timeout", "4s")
    with contextlib.ExitStack() as stack:
        for path, _ in slow:
            assert stack.enter_context(opened(m / path)).read(100)
        for _, other in slow:
            until(lambda other=other: any((request.headers.get("range") or "").endswith(f"-{BIG - 1}") for request in
                                          registry.requests("GET", blob_of(other))), what="its being in the background")
        layer = stack.enter_context(opened(m / f"demo/app/blobs/sha256/{hashlib.sha256(data).hexdigest()}"))
        assert layer.read(4096) == data[:4096]
        assert read(m / "demo/app:v1/main.wasm") == data


def test_what_was_wrong_is_verified_first_by_the_next_worker_too(mount, registry):
    data = push(registry)
    registry.on("GET", blob_of(data), wrong_at(7 * MIB))
    m = mount(registry, STREAM)
    with opened(m / PATH) as file:
        assert file.read(10) == data[:10]
        m.log.wait(r"do not match their digest")
        until(lambda: refused(file.fileno(), 0), what="the pages being dropped")
        m.kill_worker()
        until(lambda: worker_answers(m, 1), what="the next worker")
        with raises(EBADMSG):
            opened(m / PATH).close()
    assert len(m.log.wait("read before that was known")) == 1


def test_who_opens_it_does_not_wait_for_a_read_of_another(mount, registry):
    data = push(registry)
    registry.on("GET", blob_of(data), b.silent(), skip=1)
    m = mount(registry, STREAM, "--timeout", "6s")
    with opened(m / PATH) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        assert file.read(4096) == data[:4096]
        reader = Child(["dd", f"if={m / PATH}", "bs=4k", "count=1", "skip=2500", "of=/dev/null"])
        registry.wait_count(2, "GET", blob_of(data))
        second = Child(["head", "-c", "10", m / PATH])
        assert second.ends(3)[0] == 0
        reader.send(signal.SIGKILL)
        reader.ends(5)
