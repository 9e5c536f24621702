# SPDX-License-Identifier: Apache-2.0
"""The process that serves is killed, again and again: nobody who uses the mount notices."""

import contextlib
import hashlib
import json
import mmap
import os
import pathlib
import random
import signal
import threading

import pytest

import samples
from harness import SLOW, Child, children_of, partials, read, scaled, until
from registry import behaviours as b
from registry.auth import Basic


def next_worker(m, generation):
    """The status, once a later worker answers."""
    def serving():
        with contextlib.suppress(AssertionError):
            found = m.status()
            return found if found.get("generation", 0) > generation else None
        return None
    return until(serving, what=f"worker {generation + 1}")


def test_a_worker_dies_and_another_follows(mount, registry):
    image = samples.push_wasm(registry.store, "demo/app", size=3 << 20)
    m = mount()
    before = m.status()
    assert before["generation"] == 1 and before["pid"] == m.pid() != before["worker_pid"]
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    path = os.path.realpath(m / "demo/app:v1/main.wasm")
    until(lambda: os.listxattr(path) and m.status()["cache"]["blobs"] >= 2, what="the blob in the cache")
    m.kill_worker()
    # What one worker has hashed the next does not hash again.
    assert os.getxattr(path, "user.oci.verified") == b"1"
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    after = next_worker(m, 1)
    assert after["generation"] == 2 and after["pid"] == before["pid"] and after["worker_pid"] != before["worker_pid"]
    assert registry.count("GET", "/blobs/") == 1
    m.log.wait(r"the worker died \(signal 9")


@pytest.mark.parametrize("size", [300_000, 3 << 20], ids=["ordinary", "passthrough"])
def test_open_and_mapped_files_read_on(mount, registry, size):
    image = samples.push_wasm(registry.store, "demo/app", size=size)
    m = mount()
    with open(m / "demo/app:v1/main.wasm", "rb", buffering=0) as file:
        mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        m.kill_worker()
        assert file.read(4096) == image.layer.data[:4096]
        assert mapped[-4096:] == image.layer.data[-4096:]
        with open(m / "demo/app:v1/main.wasm", "rb", buffering=0) as again:
            assert again.read() == image.layer.data
        mapped.close()
    next_worker(m, 1)
    until(lambda: m.status()["open_files"] == 0, what="the files being closed")
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data


def test_requests_in_flight_are_answered_by_the_next(mount, registry):
    image = samples.push_wasm(registry.store, "demo/app", size=5 << 20)
    gate = registry.on("GET", "/blobs/", b.silent())
    m = mount()
    os.stat(m / "demo/app:v1/main.wasm")
    readers = [Child(["sha256sum", m / "demo/app:v1/main.wasm"]).waiting("open") for _ in range(5)]
    walker = Child(["ls", m / "demo/other/tags"])
    for _ in range(3):
        generation = m.status()["generation"]
        m.kill_worker()
        next_worker(m, generation)
    gate.remove()
    for reader in readers:
        code, out, err = reader.ends(30)
        assert code == 0 and out.startswith(image.layer.hex), err
    walker.ends(30)


def test_a_transfer_goes_on_where_it_was(mount, registry):
    image = samples.push_wasm(registry.store, "demo/app", size=8 << 20)
    half = registry.on("GET", "/blobs/", b.silent(4 << 20))
    m = mount()
    os.stat(m / "demo/app:v1/main.wasm")
    reader = Child(["sha256sum", m / "demo/app:v1/main.wasm"]).waiting("open")
    until(lambda: sum(path.stat().st_size for path in partials(m.cache)) >= 3 << 20, what="half of it")
    half.remove()
    m.kill_worker()
    code, out, err = reader.ends(60)
    assert code == 0 and out.startswith(image.layer.hex), err
    again = registry.requests("GET", "/blobs/")[-1]
    assert again.headers.get("Range", "").startswith("bytes="), again.headers


def test_a_walk_goes_on_in_the_next(mount, registry):
    """getdents in small pieces, with a kill between each two: every name once."""
    for i in range(300):
        samples.push_wasm(registry.store, "demo/app", f"v{i}", seed=i % 3)
    m = mount()
    with os.scandir(m / "demo/app/tags") as names:
        seen = []
        for i, entry in enumerate(names):
            seen.append(entry.name)
            if i % 60 == 30:
                m.kill_worker()
    assert sorted(seen) == sorted(f"v{i}" for i in range(300))


def test_index_json_that_is_open_stays_what_it_was(mount, registry):
    for i in range(200):
        samples.push_wasm(registry.store, "demo/app", f"v{i}", seed=i)
    m = mount(None, "--tag-ttl", "1s", "--list-ttl", "1s")
    with open(m / "demo/app/index.json", "rb", buffering=0) as file:
        first = file.read(1000)
        samples.push_wasm(registry.store, "demo/app", "later", seed=999)
        m.kill_worker()
        rest = file.read()
        text = first + rest
        while rest:
            rest = file.read()
            text += rest
    found = json.loads(text)
    assert len(found["manifests"]) == 200


def test_working_directories_and_names_stay(mount, registry):
    samples.push_wasm(registry.store, "demo/app")
    m = mount()
    inside = os.open(m / "demo/app:v1", os.O_RDONLY | os.O_DIRECTORY)
    before = os.stat("main.wasm", dir_fd=inside)
    for _ in range(3):
        m.kill_worker()
        after = os.stat("main.wasm", dir_fd=inside)
        assert (before.st_ino, before.st_size) == (after.st_ino, after.st_size)
        assert "files" in os.listdir(inside)
    os.close(inside)


def test_helpers_of_a_dead_worker_do_not_outlive_it(mount, registry, work):
    """A credential helper that hangs: its worker is killed, and nobody waits for it any more."""
    samples.push_wasm(registry.store, "demo/app")
    registry.auth = Basic("me", "secret")
    helper = work / "bin" / "docker-credential-hangs"
    helper.parent.mkdir()
    helper.write_text("#!/bin/sh\nexec sleep 1000\n")
    helper.chmod(0o755)
    auth = work / "auth.json"
    auth.write_text(json.dumps({"credHelpers": {registry.address: "hangs"}}))
    auth.chmod(0o600)
    m = mount(None, "--auth-file", auth, env={"PATH": f"{helper.parent}:{os.environ['PATH']}"})
    reader = Child(["cat", m / "demo/app:v1/main.wasm"])
    for _ in range(3):
        hanging, = until(lambda: [pid for pid in children_of(m.worker()) if is_helper(pid)], what="the helper")
        generation = m.status()["generation"]
        m.kill_worker()
        until(lambda: not pathlib.Path(f"/proc/{hanging}").exists(), what="the helper's end")
        next_worker(m, generation)
    reader.send(signal.SIGKILL).ends(5)


def is_helper(pid):
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/comm").read_text() == "sleep\n"
    return False


def status_of(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def test_what_a_worker_may_do(mount, registry):
    """It keeps what passthrough and root's files need, and no way back."""
    samples.push_wasm(registry.store, "demo/app")
    m = mount()
    status = status_of(m.worker())
    kept = int(status["CapEff"], 16)
    assert kept & ~(1 << 2 | 1 << 21) == 0 and kept == int(status["CapPrm"], 16), status
    assert int(status["CapBnd"], 16) == kept and int(status["CapAmb"], 16) == 0
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
    assert m.status()["passthrough"] is True
    own, of_keeper, of_worker = (int(pathlib.Path(f"/proc/{pid}/oom_score_adj").read_text())
                                 for pid in ("self", m.pid(), m.worker()))
    assert of_worker == own and of_keeper in (own, -500)
    if int(status_of(os.getpid())["CapEff"], 16) & 1 << 24:  # CAP_SYS_RESOURCE
        assert of_keeper == min(own, -500)


class Load:
    """Readers of everything, in threads, until told to stop; each notes what went wrong."""

    def __init__(self, m, files):
        self.m, self.files = m, files
        self.wrong, self.done = [], 0
        self.over = threading.Event()
        jobs = [self.whole, self.mapped, self.walk, self.cold, self.whole]
        self.threads = [threading.Thread(target=self.run, args=(job, seed)) for seed, job in enumerate(jobs)]
        for thread in self.threads:
            thread.start()

    def run(self, job, seed):
        rng = random.Random(seed)
        while not self.over.is_set():
            try:
                job(rng)
                self.done += 1
            except Exception as failure:  # noqa: BLE001
                self.wrong.append(f"{job.__name__}: {failure!r}")

    def whole(self, rng):
        path, digest = rng.choice(self.files)
        data = read(self.m / path)
        assert hashlib.sha256(data).hexdigest() == digest, f"{path}: {len(data)} bytes"

    def mapped(self, rng):
        path, digest = rng.choice(self.files)
        with open(self.m / path, "rb", buffering=0) as file:
            mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
            got = hashlib.sha256(mapped).hexdigest()
            mapped.close()
            assert got == digest, path

    def walk(self, _):
        repos = 0
        for root, _, names in os.walk(self.m / "demo"):
            repos += 1
            for name in names:
                os.lstat(os.path.join(root, name))
        assert repos > 3

    def cold(self, rng):
        """A name that nobody had before, of a digest path that is always fetched anew."""
        path, digest = rng.choice(self.files)
        number = rng.randrange(1000)
        with contextlib.suppress(FileNotFoundError):
            os.stat(self.m / f"demo/none{number}:v{number}/main.wasm")
        self.whole(rng)

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in self.threads), "a reader hangs"


@pytest.mark.heavy
@pytest.mark.parametrize("passthrough", [True, False], ids=["passthrough", "ordinary"])
def test_a_hundred_kills(mount, registry, passthrough):
    files = []
    for i in range(12):
        size = [5_000, 200_000, 1_500_000, 4 << 20][i % 4]
        image = samples.push_wasm(registry.store, f"demo/app{i}", size=size, seed=i)
        files.append((f"demo/app{i}:v1/main.wasm", image.layer.hex))
        files.append((f"demo/app{i}/tags/v1/layers/0.wasm", image.layer.hex))
    m = mount(None, "--tag-ttl", "1s", "--cache-size", "16M", *([] if passthrough else ["--no-passthrough"]))
    load = Load(m, files)
    rng = random.Random(7)
    pause = threading.Event()
    killed, wanted = 0, scaled(100, 20)
    while killed < wanted:
        pause.wait(rng.uniform(0, 0.25))
        killed += len(m.kill_worker())
    found = next_worker(m, 2)
    load.stop()
    assert not load.wrong, f"{len(load.wrong)} of {load.done}: {load.wrong[:5]}"
    enough = wanted / 5 / SLOW
    assert load.done > enough and found["generation"] > enough, (load.done, found)
    until(lambda: m.status()["open_files"] == 0, what="the files being closed")
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
        file.write("2\n")
    until(lambda: m.status()["nodes"] < 60, what="nodes being forgotten")
    assert len(m.fds()) < 60, found
