# SPDX-License-Identifier: Apache-2.0
"""Files as programs use them: mapped, spliced, with O_DIRECT, below an overlay; and never written."""

import contextlib
import ctypes
import hashlib
import mmap
import os
import pathlib
import signal
import stat
import subprocess
from errno import EEXIST, EINVAL, ENOTDIR, EROFS

import pytest

import samples
from harness import Child, raises, read, run, umount2, until

_libc = ctypes.CDLL(None, use_errno=True)
SIZES = {"ordinary": 300_001, "passthrough": (5 << 20) + 3}


@pytest.fixture(params=SIZES, ids=SIZES)
def file(request, mount, registry):
    """(path, bytes) of a cached file of either way to be opened."""
    image = samples.push_wasm(registry.store, "demo/app", "v1", size=SIZES[request.param])
    m = mount()
    return m / "demo/app:v1/main.wasm", image.layer.data


def mapped(path, flags, prot=mmap.PROT_READ):
    with open(path, "rb") as opened:
        return mmap.mmap(opened.fileno(), 0, flags=flags, prot=prot)


def test_mappings(file):
    path, data = file
    for flags in (mmap.MAP_SHARED, mmap.MAP_PRIVATE):
        with mapped(path, flags) as found:
            assert found[:] == data
    with mapped(path, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE) as found:
        found[:4] = b"mine"
        assert found[:4] == b"mine"
    with mapped(path, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC) as found:
        assert found[:16] == data[:16], "not noexec"
    assert read(path) == data


def test_many_opens_at_once_of_one_file(file):
    path, data = file
    fds = [os.open(path, os.O_RDONLY) for _ in range(20)]
    maps = [mapped(path, mmap.MAP_SHARED) for _ in range(5)]
    for i, fd in enumerate(fds):
        assert os.pread(fd, 1000, i * 10_000) == data[i * 10_000:i * 10_000 + 1000]
        os.close(fd)
    for one in maps:
        assert one[-100:] == data[-100:]
        one.close()
    assert read(path) == data


def test_sendfile_splice_and_copy_file_range(file, work):
    path, data = file
    source = os.open(path, os.O_RDONLY)
    target = os.open(work / "copy", os.O_RDWR | os.O_CREAT)
    at = 0
    while sent := os.sendfile(target, source, at, 1 << 20):
        at += sent
    assert read(work / "copy") == data
    reading, writing = os.pipe()
    assert os.splice(source, writing, 4096, offset_src=100) > 0
    assert os.read(reading, 4096).startswith(data[100:164])
    for fd in (source, target, reading, writing):
        os.close(fd)
    run(["cp", "--reflink=auto", path, work / "copy2"]).ok()
    assert read(work / "copy2") == data


def test_direct_reads(file):
    path, data = file
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    buffer = mmap.mmap(-1, 1 << 16)
    assert os.preadv(fd, [buffer], 4096) == 1 << 16
    assert buffer[:] == data[4096:4096 + (1 << 16)]
    os.close(fd)


def test_edges_of_reading(file):
    path, data = file
    fd = os.open(path, os.O_RDONLY)
    assert os.pread(fd, 100, len(data)) == b""
    assert os.pread(fd, 100, len(data) - 7) == data[-7:]
    assert os.pread(fd, 100, 1 << 40) == b""
    assert os.lseek(fd, -10, os.SEEK_END) == len(data) - 10
    assert os.lseek(fd, 5, os.SEEK_DATA) == 5 and os.lseek(fd, 0, os.SEEK_HOLE) == len(data)
    with raises(EINVAL):
        os.lseek(fd, -1, os.SEEK_SET)
    os.close(fd)
    with raises(ENOTDIR):
        os.stat(path / "below")


def test_an_open_file_outlives_its_eviction(file, mount, work):
    path, data = file
    fd = os.open(path, os.O_RDONLY)
    for blob in (work / "cache/blobs/sha256").iterdir():
        blob.unlink()
    assert hashlib.sha256(os.pread(fd, len(data), 0)).digest() == hashlib.sha256(data).digest()
    os.close(fd)
    assert read(path) == data


def test_reading_needs_no_daemon_that_answers_reads_wrongly(file):
    """Read again from the kernel's cache after dropping it: the same bytes."""
    path, data = file
    assert read(path) == data
    fd = os.open(path, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    assert os.pread(fd, len(data), 0) == data
    os.close(fd)


@pytest.fixture
def tree(mount, registry):
    files = {"bin/run.wasm": samples.wasm(200_000), "etc/conf": b"x=1\n", "big": samples.noise(3 << 20)}
    samples.push_files(registry.store, "demo/root", "v1", files)
    m = mount()
    path = os.path.realpath(m / "demo/root:v1") + "/files"
    return path, files


def test_an_overlay_over_the_mount(tree, work):
    path, files = tree
    for name in ("upper", "workdir", "merged"):
        (work / name).mkdir()
    merged = work / "merged"
    options = f"lowerdir={path},upperdir={work}/upper,workdir={work}/workdir"
    run(["mount", "-t", "overlay", "overlay", "-o", options, merged]).ok()
    try:
        for name, data in files.items():
            assert read(merged / name) == data
        (merged / "etc/conf").write_bytes(b"changed")
        (merged / "new").write_bytes(b"new")
        assert read(f"{path}/etc/conf") == b"x=1\n" and read(merged / "etc/conf") == b"changed"
        with mapped(merged / "big", mmap.MAP_SHARED) as found:
            assert found[:] == files["big"]
        assert sorted(os.listdir(merged)) == ["big", "bin", "etc", "new"]
    finally:
        assert umount2(str(merged), 0) == 0


def test_a_bind_mount(tree, work):
    path, files = tree
    target = work / "bound"
    target.mkdir()
    run(["mount", "--bind", path, target]).ok()
    try:
        for name, data in files.items():
            assert read(target / name) == data
        os.stat(path)
        assert sorted(os.listdir(target)) == ["big", "bin", "etc"]
    finally:
        assert umount2(str(target), 0) == 0


def test_copies_by_common_tools(tree, work):
    path, files = tree
    run(["cp", "-a", path, work / "copy"]).ok()
    run(["sh", "-c", f"tar -C {path} -cf - . | tar -C {work} -xf - --one-top-level=untarred"]).ok()
    for name, data in files.items():
        assert read(work / "copy" / name) == data == read(work / "untarred" / name)
    assert run(["diff", "-r", path, work / "copy"]).code == 0
    total = int(run(["du", "-sb", "--apparent-size", path]).ok().out.split()[0])
    assert total >= sum(map(len, files.values()))


def test_every_write_is_refused(mount, registry):
    samples.push_files(registry.store, "demo/app", "v1", {"f.txt": b"text", "d/g": b"g"})
    m = mount()
    base = m / "demo/app:v1/files"
    path = base / "f.txt"
    assert read(path) == b"text"

    def call(name, *args):
        if getattr(_libc, name)(*args) < 0:
            raise OSError(ctypes.get_errno(), name)
    writes = {
        "open-w": lambda: os.open(path, os.O_WRONLY), "open-rw": lambda: os.open(path, os.O_RDWR),
        "append": lambda: os.open(path, os.O_WRONLY | os.O_APPEND),
        "trunc": lambda: os.open(path, os.O_RDONLY | os.O_TRUNC),
        "create": lambda: os.open(base / "new", os.O_WRONLY | os.O_CREAT), "mkdir": lambda: os.mkdir(base / "newdir"),
        "mkdir-root": lambda: os.mkdir(m / "New.Dir"), "rmdir": lambda: os.rmdir(base / "d"),
        "mknod": lambda: os.mknod(base / "node", stat.S_IFREG | 0o600), "mkfifo": lambda: os.mkfifo(base / "fifo"),
        "symlink": lambda: os.symlink("x", base / "link"), "link": lambda: os.link(path, base / "hard"),
        "unlink": lambda: os.unlink(path), "rename": lambda: os.rename(path, base / "other"),
        "rename-dir": lambda: os.rename(base / "d", base / "e"), "truncate": lambda: os.truncate(path, 1),
        "chmod": lambda: os.chmod(path, 0o600), "chown": lambda: os.chown(path, 1, 1),
        "utime": lambda: os.utime(path, (1, 1)), "setxattr": lambda: os.setxattr(path, "user.x", b"y"),
        "removexattr": lambda: os.removexattr(path, "user.x"), "chmod-dir": lambda: os.chmod(base, 0o777),
        "tmpfile": lambda: os.open(base, os.O_TMPFILE | os.O_WRONLY),
    }
    for name, write in writes.items():
        try:
            with raises(EROFS):
                write()
        except AssertionError as failure:
            raise AssertionError(f"{name}: {failure}") from None
    with raises(EEXIST):
        os.mkdir(base / "d")
    assert read(path) == b"text" and sorted(os.listdir(base)) == ["d", "f.txt"]


def test_statfs(mount, registry):
    samples.push_wasm(registry.store, "demo/app", "v1")
    registry.pause()
    m = mount()
    found = os.statvfs(m)
    assert found.f_flag & os.ST_RDONLY and found.f_flag & os.ST_NOSUID and found.f_flag & os.ST_NODEV
    assert not found.f_flag & os.ST_NOEXEC
    assert found.f_namemax == 255 and found.f_bsize >= 512 and found.f_bfree == 0
    run(["df", m]).ok()
    assert registry.count() == 0


def test_poll_and_nonblocking_opens(file):
    """Go puts every file it opens into epoll, and leaves it O_NONBLOCK."""
    import select
    path, data = file
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        epoll = select.epoll()
        try:
            epoll.register(fd, select.EPOLLIN)
        except PermissionError:
            pass  # "not pollable", as of a regular file
        epoll.close()
        assert os.read(fd, 100) == data[:100]
    finally:
        os.close(fd)


def test_what_is_mapped_survives_the_unmount_attempt(mount, registry, binary):
    """unmount of a busy mount says so, and changes nothing."""
    image = samples.push_wasm(registry.store, "demo/app", "v1", size=2 << 20)
    m = mount()
    child = Child(["/usr/bin/python3", "-c",
                   "import mmap, sys\nf = open(sys.argv[1], 'rb')\n"
                   "m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)\nprint('mapped', flush=True)\n"
                   "sys.stdin.read()\n", m / "demo/app:v1/main.wasm"])
    assert child.process.stdout.readline() == b"mapped\n" or child.has_ended()
    holding = os.open(m / "demo/app:v1/main.wasm", os.O_RDONLY)
    result = run([binary, "unmount", m], env=m.env)
    assert os.pread(holding, 100, 0) == image.layer.data[:100]
    os.close(holding)
    if not child.has_ended():
        child.send(signal.SIGKILL)
    child.ends(10)
    assert result.code == 1 and "in use" in result.err and str(m) in result.err


def sleeps_in_poll(pid):
    """Without a descriptor, so waits for nothing but the time."""
    with contextlib.suppress(OSError):  # it is gone by now
        return pathlib.Path(f"/proc/{pid}/syscall").read_text().split()[1:3] == ["0x0", "0x0"]
    return False


def test_unmount_waits_for_who_is_on_the_way_out(mount, registry, binary):
    samples.push_wasm(registry.store, "demo/app", "v1")
    m = mount()
    holding = os.open(m / "demo/app:v1/main.wasm", os.O_RDONLY)
    unmount = subprocess.Popen([binary, "unmount", m], env=m.env, stderr=subprocess.PIPE)
    until(lambda: unmount.poll() is not None or sleeps_in_poll(unmount.pid), what="it being busy once")
    os.close(holding)
    assert unmount.communicate(timeout=20)[1] == b"" and unmount.returncode == 0


def test_unmount_of_what_does_not_answer_names_abort(mount, registry, binary):
    m = mount()
    worker = m.status()["worker_pid"]
    holding = os.open(m.path, os.O_PATH)  # which nobody is asked about as it is closed
    os.kill(worker, signal.SIGSTOP)
    try:
        result = run([binary, "unmount", m], env=m.env)
    finally:
        os.kill(worker, signal.SIGCONT)
        os.close(holding)
    assert result.code == 1 and result.err.count("\n") == 1, result
    assert result.err.endswith(f"its own process does not answer; end it, whoever waits in it: wasmocifs abort {m}\n")


def test_fifty_processes_read_hot_files(file):
    path, data = file
    digest = hashlib.sha256(data).hexdigest()
    readers = [subprocess.Popen(["sha256sum", path], stdout=subprocess.PIPE) for _ in range(50)]
    assert all(reader.communicate(timeout=60)[0].startswith(digest.encode()) for reader in readers)
