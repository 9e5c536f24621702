# SPDX-License-Identifier: Apache-2.0
"""status --metrics and --metrics-file: what is counted is what happened, and the file is whole, fresh, and gone at the end."""

import ctypes
import errno
import fcntl
import os
import signal
import stat
import struct
import threading
from errno import EACCES, EBADMSG, EHOSTUNREACH, ENODATA, ENOENT, ENOEXEC

import pytest

import samples
from exposition import Metrics, scrape
from harness import NOBODY, STRANGER, raises, read, run, umount2, until, workers_of
from registry import behaviours as b


@pytest.fixture
def image(registry):
    return samples.push_wasm(registry.store, "demo/app", "v1", size=20_000)


def settled(m, operation, outcome, n):
    """RELEASE and what is like it are answered after the caller went on."""
    return until(lambda: scrape(m).operations(operation, outcome) == n, what=f"{n} of {operation}: {outcome}")


def test_operations_are_those_that_were_done(mount, registry, image):
    samples.push_wasm(registry.store, "demo/fake", "v1", b"\x7fELF" + samples.noise(500))
    m = mount()
    base = os.path.realpath(m / "demo/app:v1")
    wasm = os.path.join(base, "main.wasm")
    os.stat(wasm)
    os.stat(m / "demo/fake:v1/main.wasm")
    before = scrape(m)
    for _ in range(7):
        read(wasm)
    for i in range(5):
        with raises(ENOENT):
            os.stat(os.path.join(base, f"nothing-{i}"))
    for _ in range(3):
        with raises(ENOEXEC):
            os.open(m / "demo/fake:v1/main.wasm", os.O_RDONLY)
    for _ in range(4):
        assert os.listdir(os.path.join(base, "layers")) == ["0.wasm"]
        with raises(ENODATA):
            os.getxattr(wasm, "user.something")
        os.statvfs(m)
    assert os.getxattr(wasm, "user.oci.cached") == b"1"
    settled(m, "release", "ok", 7)
    settled(m, "releasedir", "ok", before.operations("releasedir", "ok") + 4)
    after = scrape(m)

    def more(operation, outcome="ok"):
        return after.operations(operation, outcome) - before.operations(operation, outcome)

    assert (more("open"), more("open", "ENOEXEC"), more("lookup", "ENOENT")) == (7, 3, 5)
    assert (more("opendir"), more("getxattr", "ENODATA"), more("getxattr"), more("statfs")) == (4, 4, 1, 4)
    assert more("read") >= 1, "and then the pages are there"
    assert after.value("open_files") == 0 and after.value("parked_requests") == 0
    ends = sum(after.operations(operation, "other") for operation in ("lookup", "open", "getattr", "readdir"))
    assert ends == 0
    with open(wasm, "rb"):
        assert scrape(m).value("open_files") == 1
    said = m.status()["operations"]
    assert {(one["operation"], one["outcome"]): one["count"] for one in said}[("open", "ENOEXEC")] == 3
    assert all(sum(one["buckets"]) == one["count"] and len(one["buckets"]) == len(m.status()["latency_bounds"]) + 1
               for one in said)


def test_hits_and_misses(mount, registry, image):
    other = samples.push_wasm(registry.store, "demo/other", "v1", size=9000, seed=4)
    m = mount()
    for _ in range(4):
        read(m / "demo/app:v1/main.wasm")
    registry.on(None, "/blobs/", b.error(403, "DENIED", "no"))
    with raises(EACCES):
        read(m / "demo/other:v1/main.wasm")
    found = scrape(m)
    assert (found.value("cache_hits_total"), found.value("cache_misses_total")) == (3, 2), "those in vain too"
    assert found.value("cache_verifications_total") == 0, "what arrives is hashed as it does"
    m.unmount()
    blob = m.cache / "blobs/sha256" / image.layer.hex
    blob.chmod(0o644)
    data = bytearray(blob.read_bytes())
    data[77] ^= 1
    blob.write_bytes(data)
    registry.heal()
    m = mount()
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert read(m / "demo/other:v1/main.wasm") == other.layer.data
    registry.on("GET", "/blobs/", b.flip(5))
    samples.push_wasm(registry.store, "demo/third", "v1", size=7000, seed=9)
    with raises(EBADMSG):
        read(m / "demo/third:v1/main.wasm")
    found = scrape(m)
    assert found.value("cache_verifications_total") >= 1
    assert found.value("cache_verification_failures_total") >= 2, "one that was here, one that came"
    assert found.value("cache_blobs") == m.status()["cache"]["blobs"] > 0


def test_evictions(mount, registry):
    for i in range(4):
        samples.push_wasm(registry.store, f"demo/a{i}", "v1", size=1 << 20, seed=i)
    m = mount(None, "--cache-size", "3M")
    for i in range(4):
        read(m / f"demo/a{i}:v1/main.wasm")
    found = scrape(m)
    assert found.value("cache_evictions_total") >= 1
    assert found.value("cache_evicted_bytes_total") >= 1 << 20
    assert found.value("cache_bytes") <= found.value("cache_limit_bytes") == 3 << 20


def test_requests_are_those_of_the_registry(mount, registry, image):
    rule = registry.on("GET", "/blobs/", b.error(503, "UNAVAILABLE", "later"), times=1)
    m = mount()
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert rule.hits == 1
    for i in range(3):
        with raises(ENOENT):
            os.stat(m / f"demo/app:nope{i}/")
    os.listdir(m / "demo/app/tags")

    def agree():
        found, log = scrape(m), registry.requests()
        classes = {f"{n}xx": sum(1 for r in log if r.status and r.status // 100 == n) for n in (2, 3, 4, 5)}
        return classes == {name: found.requests(name) for name in classes} and found
    found = until(agree, what="the registry's own numbers")
    assert found.requests("5xx") == 1 and found.requests("4xx") >= 3
    assert found.requests("given_up") == found.requests("cut") == 0
    bodies = sum(r.sent for r in registry.requests() if r.method != "HEAD")
    assert found.value("host_received_bytes_total") == bodies == m.status()["hosts"][0]["host_bytes"]
    assert found.value("host_up", host=registry.address, role="registry") == 1
    assert {labels["host"] for labels, _ in found.series("host_request_duration_seconds_count")} == {registry.address}


def test_requests_that_fail(mount, registry, image):
    m = mount(f"http://{registry.address}", "--timeout", "2s")
    os.stat(m / "demo/app:v1/main.wasm")
    rule = registry.on("GET", "/blobs/", b.cut(5000), times=2)
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data, "it goes on where it was cut off"
    assert rule.hits == scrape(m).requests("cut") == 2
    registry.stop()
    with raises(EHOSTUNREACH):
        os.listdir(m / "demo/app/tags")
    found = scrape(m)
    assert found.requests("connect") >= 1 and found.value("host_up") == 0
    registry.start()


def test_a_request_that_is_not_answered(mount, registry, image):
    m = mount(f"http://{registry.address}", "--timeout", "1s")
    os.stat(m / "demo/app:v1/main.wasm")
    registry.on("GET", "/blobs/", b.silent())
    with raises(errno.ETIMEDOUT):
        read(m / "demo/app:v1/main.wasm")
    found = until(lambda: scrape(m).requests("timeout") >= 1 and scrape(m), what="its end")
    assert found.operations("open", "ETIMEDOUT") == 1
    assert found.sum("operation_duration_seconds_bucket", operation="open", outcome="ETIMEDOUT", le="0.5") == 0


def test_mirrors_are_hosts_of_their_own(mount, registry, registries, image, work):
    mirror = registries(store=registry.store)
    directory = work / "certs.d" / registry.address
    directory.mkdir(parents=True)
    (directory / "hosts.toml").write_text(f'server = "http://{registry.address}"\n[host."http://{mirror.address}"]\n'
                                          'capabilities = ["pull", "resolve"]\n')
    m = mount(None, "--hosts-dir", work / "certs.d")
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    found = until(lambda: scrape(m).requests("2xx") == mirror.count() > 0 and scrape(m), what="the mirror's requests")
    assert found.requests("2xx", host=mirror.address, role="mirror", source=registry.address) == mirror.count()
    assert found.sum("host_received_bytes_total", role="registry") == 0 == registry.count()


def test_all_mounts_in_one(mount, registry, image, binary):
    one, other = mount(), mount()
    other.env = one.env
    read(other / "demo/app:v1/main.wasm")
    result = run([binary, "status", "--metrics"], env=one.env).ok()
    found = Metrics(result.out)
    points = {labels["mountpoint"] for labels, _ in found.series("mount_up")}
    assert {str(one), str(other)} <= points
    assert found.value("mount_up", mountpoint=one) == 1
    assert found.value("build_info", mountpoint=one, version=one.status()["version"]) == 1


def test_counters_begin_anew_with_a_worker(mount, registry, image):
    m = mount()
    read(m / "demo/app:v1/main.wasm")
    first = scrape(m)
    assert (first.value("worker_generation"), first.value("worker_restarts_total")) == (1, 0)
    assert first.operations("open", "ok") == 1
    m.kill_worker()
    m.log.wait("worker 2 serves")
    second = scrape(m)
    assert (second.value("worker_generation"), second.value("worker_restarts_total")) == (2, 1)
    assert second.operations("open", "ok") == 0
    assert second.value("worker_start_time_seconds") >= first.value("worker_start_time_seconds")


def test_a_mount_without_process(mount, registry, image):
    m = mount()
    m.kill()
    result = run([m.binary, "status", "--metrics", m], env=m.env)
    assert result.code == 1 and "has died" in result.err
    found = Metrics(result.out)
    assert found.value("mount_up", mountpoint=m) == 0 and not found.series("cache_bytes")


def test_not_both(binary):
    result = run([binary, "status", "--json", "--metrics"])
    assert result.code == 2 and "not both" in result.err and result.out == ""


# --- the file ---


def written(path):
    return until(lambda: path.exists() and Metrics(path.read_text()), what=f"{path}")


class Reader:
    """Reads the file again and again; what is not whole, or is not there once it was, is kept in `wrong`."""

    def __init__(self, path):
        self.path, self.wrong, self.inodes = path, [], set()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        while not self._end.wait(0.0005):
            try:
                with open(self.path, encoding="utf-8") as file:
                    self.inodes.add(os.fstat(file.fileno()).st_ino)
                    if not Metrics(file.read()).series("mount_up"):
                        self.wrong.append("nothing in it")
            except (OSError, AssertionError) as failure:
                self.wrong.append(repr(failure))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()


def test_the_file_lives_as_long_as_the_mount(mount, registry, image, work):
    """Written at once, every 15 s, and by the next worker; whole whenever it is read; gone with the mount."""
    (work / "collector").mkdir()
    path = work / "collector/oci.prom"
    m = mount(None, "--metrics-file", path)
    first = written(path)
    assert first.value("mount_up", mountpoint=m) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    read(m / "demo/app:v1/main.wasm")
    with Reader(path) as reader:
        until(lambda: Metrics(path.read_text()).operations("open", "ok") == 1, 20, "the next time it is written")
        for generation in (2, 3, 4):
            m.kill_worker()
            until(lambda: Metrics(path.read_text()).value("worker_generation") == generation, what="the next worker")
    assert reader.wrong == [] and len(reader.inodes) >= 2
    assert os.listdir(work / "collector") == ["oci.prom"]
    m.unmount()
    assert os.listdir(work / "collector") == []
    assert not m.log.find("metrics")


def test_the_file_goes_although_the_worker_was_killed(mount, registry, image, work):
    path = work / "oci.prom"
    m = mount(None, "--metrics-file", path)
    written(path)
    (work / ".oci.prom.tmp").write_text("half of one that was killed")
    for pid in workers_of(m.process.pid):
        os.kill(pid, signal.SIGSTOP)
    m.process.send_signal(signal.SIGTERM)
    assert m.wait_exit() == 0
    assert not path.exists() and not (work / ".oci.prom.tmp").exists()


def test_a_directory_that_vanishes(mount, registry, image, work):
    """One line in the log, nothing else; and the next worker finds the new one."""
    directory = work / "collector"
    directory.mkdir()
    m = mount(None, "--metrics-file", directory / "oci.prom")
    written(directory / "oci.prom")
    (directory / "oci.prom").unlink()
    directory.rmdir()
    for generation in (2, 3):
        m.kill_worker()
        m.log.wait(f"worker {generation} serves")
        m.log.wait("cannot write .*oci.prom: No such file or directory", count=generation - 1)
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert len(m.log.find("cannot write")) == 2, "one of each worker"
    directory.mkdir()
    m.kill_worker()
    assert written(directory / "oci.prom").value("worker_generation") == 4


def test_a_disk_that_is_full(mount, registry, image, work):
    libc = ctypes.CDLL(None, use_errno=True)
    directory = work / "small"
    directory.mkdir()
    assert libc.mount(b"tmpfs", os.fsencode(directory), b"tmpfs", 0, b"size=4k") == 0
    try:
        (directory / "full").write_bytes(b"x" * 4096)
        m = mount(None, "--metrics-file", directory / "oci.prom")
        m.log.wait("cannot write .*oci.prom: No space left on device; it is tried again every 15 s")
        assert read(m / "demo/app:v1/main.wasm") == image.layer.data
        assert os.listdir(directory) == ["full"], "nothing is left of a try"
        m.unmount()
    finally:
        umount2(directory, 2)


def test_an_ordinary_user(mount, registry, image, work):
    directory = work / "theirs"
    directory.mkdir()
    os.chown(directory, NOBODY, NOBODY)
    m = mount(None, "--metrics-file", directory / "oci.prom", user=NOBODY, cache=directory / "cache")
    assert written(directory / "oci.prom").value("mount_up") == 1
    assert (directory / "oci.prom").stat().st_uid == NOBODY


def test_mount_options_and_a_file_that_was_there(mount, registry, image, work):
    path = work / "oci.prom"
    path.symlink_to("/etc/hostname")
    before = open("/etc/hostname", encoding="utf-8").read()
    m = mount(None, "-o", f"metrics_file={path}")
    until(lambda: not path.is_symlink(), what="the file in the symlink's place")
    assert written(path).value("mount_up", mountpoint=m) == 1
    assert open("/etc/hostname", encoding="utf-8").read() == before


def test_a_file_is_one_mounts(mount, binary, registry, image, work):
    """Another is refused that names it, until the first is gone, however it went; who only reads it holds nobody up."""
    path, other = work / "oci.prom", work / "other"
    m = mount(None, "--metrics-file", path)
    written(path)
    other.mkdir()
    command = [binary, "mount", "--cache", work / "cache", "--metrics-file", path, registry.address, other]
    for again in range(2):
        result = run(command)
        assert result.code == 1 and result.out == "" and result.err.count("\n") == 1, result
        assert result.err == (f"wasmocifs: --metrics-file {path}: the mount on {m} writes it; "
                              "give each mount a file of its own\n")
        assert Metrics(path.read_text()).value("mount_up", mountpoint=m) == 1
        if not again:
            m.kill_worker()
            until(lambda: Metrics(path.read_text()).value("worker_generation") == 2, what="the next worker")
    m.kill()
    umount2(m.path, 2)
    with open(path, "rb") as reader:
        fcntl.lockf(reader, fcntl.LOCK_SH | fcntl.LOCK_NB)
        run(command).ok()
        try:
            until(lambda: Metrics(path.read_text()).value("mount_up", mountpoint=other) == 1, what="the other's file")
        finally:
            run([binary, "unmount", other]).ok()
    assert not path.exists()


def test_what_no_mount_wrote_stays(mount, binary, registry, image, work):
    """A name may be mistyped. What a mount left behind that was killed is another matter."""
    path = work / "oci.prom"
    (work / "other").mkdir()
    for text in ("root:x:0:0", "# HELP node_cpu Of another.\n", "#"):
        path.write_text(text, encoding="utf-8")
        result = run([binary, "mount", "--cache", work / "cache", "--metrics-file", path, registry.address, work / "other"])
        assert result.code == 1 and "no mount wrote it" in result.err and result.err.count("\n") == 1, result
        assert path.read_text(encoding="utf-8") == text
    path.write_text("", encoding="utf-8")
    m = mount(None, "--metrics-file", path)
    until(path.read_text, what="the file")
    m.kill()
    assert path.exists()
    m.restart()
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data


def test_who_lost_the_file_leaves_it_alone(mount, registry, image, work):
    """One whose worker was not there when another mount began; and at its end it does not take it away."""
    path = work / "oci.prom"
    m = mount(None, "--metrics-file", path)
    written(path)
    text = path.read_text().replace(f'mountpoint="{m}"', 'mountpoint="/mnt/\\"other\\""')
    path.unlink()
    with open(path, "w", encoding="utf-8") as other:
        other.write(text)
        other.flush()
        fcntl.fcntl(other, 37, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))  # F_OFD_SETLK
        m.kill_worker()
        m.log.wait('--metrics-file .*oci.prom: the mount on /mnt/"other" writes it; .*; it is tried again every 15 s')
        m.unmount()
        assert path.read_text() == text


BAD = {"a directory": ("{work}", "is a directory; give a file"),
       "no directory": ("{work}/nowhere/x.prom", "mkdir -p"),
       "in the mount": ("{work}/mnt/x.prom", "lies below"),
       "nothing": ("", "give the path of a file"),
       "a device": ("/dev/null", "no regular file"),
       "another user's": ("{work}/theirs/x.prom", "setfacl -m u:0:rwx"),
       "of the kernel": ("/proc/x.prom", "cannot write in /proc")}


@pytest.mark.parametrize("name", BAD)
def test_files_that_cannot_be(binary, registry, work, name):
    for directory in ("mnt", "theirs"):
        (work / directory).mkdir()
    os.chown(work / "theirs", STRANGER, STRANGER)
    value, said = BAD[name]
    result = run([binary, "mount", "--cache", work / "cache", "--metrics-file", value.format(work=work),
                  registry.address, work / "mnt"])
    assert result.code == 2 and said in result.err and result.err.count("\n") == 1 and result.out == "", result
    if name == "another user's":
        (work / "theirs").chmod(0o775)
        os.chown(work / "theirs", STRANGER, 0)
        result = run([binary, "mount", "--cache", work / "cache", "--metrics-file", value.format(work=work),
                      registry.address, work / "mnt"]).ok()
        run([binary, "unmount", work / "mnt"]).ok()
