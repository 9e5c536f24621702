# SPDX-License-Identifier: Apache-2.0
"""What a mount may use at once, and what happens beyond it."""

import contextlib
import json
import os
import threading
from errno import EIO

import pytest

import samples
from harness import Mount, raises, read, run, until
from registry import behaviours as b

FILES = 128  # PROCESS_FILES_MIN: of these, half are for blobs
OPEN = FILES // 2


@pytest.fixture
def narrow(binary, work, registry):
    """A mount whose processes may have 128 open files, as few as it takes."""
    program = work / "narrow"
    program.write_text(f'#!/bin/sh\nulimit -n {FILES}\nexec {binary} "$@"\n')
    program.chmod(0o755)
    m = Mount(program, registry.address, work / "m", work / "cache", [])
    try:
        yield m.wait_ready()
    finally:
        wrong = m.finish()
    assert not wrong, "\n".join(wrong)


def open_blobs(m):
    return m.status()["cache"]["open_blobs"]


def test_more_open_files_than_descriptors(narrow, registry, binary):
    """One descriptor for each blob that is open, however often and by however many."""
    m = narrow
    content = {f"f{i:03}": b"%d " % i * (400 if i % 10 else 400_000) for i in range(OPEN + 20)}
    samples.push_files(registry.store, "demo/many", "v1", content)
    tree = m / "demo/many:v1/files"
    assert read(m / "demo/many:v1/manifest.json") and len(os.listdir(tree)) == len(content)
    assert m.status()["cache"]["open_blobs_limit"] == OPEN
    with contextlib.ExitStack() as held:
        def hold(name):
            fd = os.open(tree / name, os.O_RDONLY)
            held.callback(os.close, fd)
            return fd
        fds = {name: hold(name) for name in list(content)[:OPEN]}
        extra = [hold(name) for name in fds]
        requests = registry.count("GET", "/blobs/")
        with raises(EIO):
            hold("f080")
        assert m.log.wait(f"{OPEN} files are open, as many as the limit of open files leaves room for")
        why = run([binary, "why", tree / "f080"], env=m.env)
        assert "LimitNOFILE=" in why.out and "EIO" in why.out, why
        assert registry.count("GET", "/blobs/") == requests, "nothing is fetched in vain"
        # What is open reads to its end, and the rest goes on.
        assert all(os.pread(fd, len(content[name]) + 1, 0) == content[name] for name, fd in fds.items())
        samples.push_files(registry.store, "demo/other", "v1", {"x": b"x"})
        assert json.loads(read(m / "demo/other:v1/manifest.json"))
        assert os.listdir(m / "demo/other:v1/files") == ["x"]
        assert open_blobs(m) >= OPEN and len(extra) == OPEN
    until(lambda: open_blobs(m) <= OPEN, what="their descriptors being closed")
    assert all(read(tree / name) == data for name, data in content.items())
    until(lambda: open_blobs(m) <= OPEN // 2, what="few being kept")


def test_connections_are_few_however_many_wait(mount, registry):
    """Threads and connections are as many for a thousand readers as for fifty."""
    content = {f"f{i:03}": b"%d" % i * 100 for i in range(300)}
    samples.push_files(registry.store, "demo/many", "v1", content)
    m = mount()
    tree = m / "demo/many:v1/files"
    assert len(os.listdir(tree)) == len(content)
    held = registry.on("GET", "/blobs/", b.silent())
    got = {}
    readers = [threading.Thread(target=lambda n=name: got.update({n: read(tree / n)})) for name in content]
    for reader in readers:
        reader.start()
    until(lambda: m.status()["parked"] == len(content), what="all of them waiting")
    fds = len(os.listdir(f"/proc/{m.status()['worker_pid']}/fd"))
    threads = len(os.listdir(f"/proc/{m.status()['worker_pid']}/task"))
    sockets = len(registry.requests(state="open"))
    held.remove()
    registry.heal()
    for reader in readers:
        reader.join(60)
    assert got == content
    assert sockets <= 16 and fds < 150 and threads < 60, (sockets, fds, threads)
