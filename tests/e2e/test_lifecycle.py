# SPDX-License-Identifier: Apache-2.0
"""From the start of a mount to its end: crashes, signals, service managers, mount(8), other users, bind mounts."""

import contextlib
import ctypes
import fcntl
import json
import os
import pty
import resource
import select
import signal
import socket
import struct
import subprocess

import pytest

import artifacts
import samples
from harness import MNT_DETACH, NOBODY, SLOW, Child, Clock, Mount, identity, mountinfo, read, run, umount2
from registry import behaviours as b

MS_BIND = 4096
AUTOFS_IOC_READY, AUTOFS_IOC_CATATONIC = 0x9360, 0x9362


@pytest.fixture
def image(registry):
    return samples.push_wasm(registry.store, "demo/app", "v1")


@pytest.fixture
def background(binary, work, registry):
    """`wasmocifs mount` without -f; what is still mounted afterwards is unmounted."""
    made = []

    def make(*options, source=None, mountpoint=None, **more):
        mountpoint = mountpoint or work / "mnt"
        mountpoint.mkdir(exist_ok=True)
        made.append(mountpoint)
        result = run([binary, "mount", "--cache", work / "cache", *options, source or registry.address, mountpoint],
                     timeout=30 * SLOW, **more)
        return result, mountpoint

    yield make
    for mountpoint in made:
        if str(mountpoint) in mountinfo():
            run([binary, "unmount", mountpoint], timeout=30 * SLOW).ok()


def one_line(result, code=1):
    assert result.code == code and result.out == "", result
    assert result.err.startswith("wasmocifs: ") and result.err.count("\n") == 1, result
    return result.err


def bind(source, target):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(os.fsencode(source), os.fsencode(target), None, MS_BIND, None) != 0:
        raise OSError(ctypes.get_errno(), "mount --bind")


def script(path, *lines):
    path.write_text("\n".join(("#!/bin/sh", *lines, "")))
    path.chmod(0o755)
    return path


def closing(binary, work, closed):
    """The program as a caller starts its mounts who has closed some of the standard descriptors."""
    redirections = " ".join(f"{number}>&-" for number in closed)
    return script(work / "closing", f'[ "$1" = mount ] && exec {binary} "$@" {redirections}', f'exec {binary} "$@"')


CLOSED = [[number for number in range(3) if mask & 1 << number] for mask in range(8)]


def null_or_open(pid, closed):
    """Nothing but /dev/null may have landed on a descriptor that was closed."""
    return all(os.readlink(f"/proc/{pid}/fd/{number}") == "/dev/null" for number in closed)


@pytest.mark.parametrize("closed", CLOSED, ids=str)
def test_closed_descriptors_in_the_background(binary, work, registry, image, closed):
    mountpoint = work / "mnt"
    mountpoint.mkdir()
    run([closing(binary, work, closed), "mount", "--cache", work / "cache", registry.address, mountpoint],
        timeout=30 * SLOW).ok()
    try:
        assert read(mountpoint / "demo/app:v1/main.wasm") == image.layer.data
        status = json.loads(run([binary, "status", "--json", mountpoint]).ok().out)[0]
        assert null_or_open(status["pid"], range(3)) and status["state"] == "serving"
    finally:
        run([binary, "unmount", mountpoint]).ok()


@pytest.mark.parametrize("closed", CLOSED, ids=str)
def test_closed_descriptors_in_the_foreground(binary, work, registry, image, closed):
    m = Mount(closing(binary, work, closed), registry.address, work / "m", work / "cache", ["--log-level", "debug"])
    try:
        m.wait_ready()
        assert read(m / "demo/app:v1/main.wasm") == image.layer.data
        assert null_or_open(m.pid(), closed)
    finally:
        wrong = m.finish()
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("arguments, redirection, code", [
    (["mount", "127.0.0.1:1", "/nowhere"], "2>&-", 1), (["mount"], "2>&-", 2), (["frobnicate"], "0>&- 1>&- 2>&-", 2),
    (["status", "/nowhere"], "0>&- 1>&- 2>&-", 1), (["--version"], "2>&-", 0), (["--version"], "1>&-", 1)])
def test_the_exit_status_without_descriptors(binary, work, arguments, redirection, code):
    assert run(["sh", "-c", f'exec "$@" {redirection}', "sh", binary, *arguments]).code == code


def test_the_ready_fd_may_be_a_standard_one(background, binary, work, registry, image):
    result, mountpoint = background("--ready-fd", "1")
    assert (result.ok().out, result.err) == ("\n", "")
    assert read(mountpoint / "demo/app:v1/main.wasm") == image.layer.data
    read_only = ["sh", "-c", '"$@" 0</dev/null', "sh", binary, "mount", "--ready-fd", "0"]
    assert "not open for writing" in one_line(run([*read_only, registry.address, mountpoint]), 2)


def test_the_log_goes_on_where_the_ready_fd_is_standard_error(binary, work, registry, image):
    m = Mount(script(work / "on-stderr", f'[ "$1" = mount ] && exec {binary} "$@" --ready-fd 2', f'exec {binary} "$@"'),
              registry.address, work / "m", work / "cache", ["--log-level", "debug"])
    try:
        m.log.wait("is mounted on")
        m.log.wait("^$")
        assert read(m / "demo/app:v1/main.wasm") == image.layer.data
        assert os.path.samestat(os.stat(f"/proc/{m.pid()}/fd/2"), os.stat(f"/proc/{m.pid()}/fd/1"))
    finally:
        wrong = m.finish()
    assert not wrong, "\n".join(wrong)
    assert m.log.find("is unmounted")


def limited(which, soft, hard):
    """For run(): the limit of the child, before it becomes the program."""
    return {"preexec_fn": lambda: resource.setrlimit(which, (soft, hard))}


@pytest.mark.parametrize("which, limit, hint", [
    *((resource.RLIMIT_NOFILE, n, "ulimit -Hn") for n in (12, *range(15, 21), 127)),
    *((resource.RLIMIT_FSIZE, n, "ulimit -Hf") for n in (1024, 1000 << 10, 1 << 30))])
@pytest.mark.parametrize("options", [[], ["-f"]], ids=["background", "foreground"])
def test_a_limit_that_is_too_low(background, which, limit, hint, options):
    result, mountpoint = background(*options, **limited(which, limit, limit))
    assert hint in one_line(result)
    assert str(mountpoint) not in mountinfo()


@pytest.mark.parametrize("which, soft, hard", [
    (resource.RLIMIT_NOFILE, 20, 1000), (resource.RLIMIT_NOFILE, 128, 128),
    (resource.RLIMIT_FSIZE, 1024, resource.RLIM_INFINITY), (resource.RLIMIT_FSIZE, 2 << 30, 2 << 30)])
def test_a_limit_that_will_do(background, binary, image, which, soft, hard):
    result, mountpoint = background(**limited(which, soft, hard))
    result.ok()
    assert read(mountpoint / "demo/app:v1/main.wasm") == image.layer.data
    status = json.loads(run([binary, "status", "--json", mountpoint]).ok().out)[0]
    assert status["state"] == "serving" and status["cache"]["bytes"] > len(image.layer.data) > 1024
    assert resource.prlimit(status["pid"], which) == (hard, hard)


def test_a_stale_mount_is_replaced(mount, image, binary):
    m = mount()
    m.kill()
    assert m.is_mounted()
    assert "has died" in one_line(run([binary, "status", m], env=m.env))
    stub = json.loads(run([binary, "status", "--json", m], env=m.env).out)[0]
    assert stub["state"] == "stale" and stub["pid"] is None and stub["mountpoint"] == str(m)
    m.restart()
    assert len(m.log.find("replacing a mount whose process has died")) == 1
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert m.status()["state"] == "serving"


def test_a_stale_mount_is_unmounted(mount, image, binary):
    m = mount()
    m.kill()
    run([binary, "unmount", m], env=m.env).ok()
    assert not m.is_mounted()


def test_the_service_manager_is_told(mount, image, work):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(work / "notify"))
        manager.settimeout(10 * SLOW)
        m = mount(env={"NOTIFY_SOCKET": str(work / "notify")})
        assert manager.recv(100) == b"READY=1"
        m.process.send_signal(signal.SIGTERM)
        assert manager.recv(100) == b"STOPPING=1"
        assert m.wait_exit(10) == 0


@pytest.mark.parametrize("what", ["open", "readlink", "many"])
def test_a_signal_ends_it_whatever_hangs(mount, registry, image, what):
    registry.on("GET", "/blobs/", b.silent())
    if what == "readlink":
        registry.on(None, "/manifests/", b.silent())
    m = mount()
    path = m / "demo/app:v1" if what == "readlink" else m / "demo/app:v1/main.wasm"
    reader = ["readlink", path] if what == "readlink" else ["cat", path]
    readers = [Child(reader).waiting() for _ in range(20 if what == "many" else 1)]
    with Clock() as took:
        m.process.send_signal(signal.SIGTERM)
        assert m.wait_exit(10) == 0
    assert took.seconds < 5 * SLOW
    for child in readers:
        assert child.ends(5)[0] != 0
    assert not m.is_mounted()


def test_a_signal_ends_it_while_it_is_in_use(mount, image):
    m = mount()
    fd = os.open(m / "demo", os.O_RDONLY | os.O_DIRECTORY)
    m.process.send_signal(signal.SIGTERM)
    assert m.wait_exit(10) == 0
    assert not m.is_mounted()
    os.close(fd)


def test_unmount_waits_for_the_process(background, binary, image):
    result, mountpoint = background()
    result.ok()
    pid = json.loads(run([binary, "status", "--json", mountpoint]).ok().out)[0]["pid"]
    run([binary, "unmount", mountpoint]).ok()
    with contextlib.suppress(FileNotFoundError):
        # What may be left of it is what its parent has not yet reaped.
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            assert file.read().rpartition(")")[2].split()[0] in "ZX"


def test_nothing_of_the_caller_lives_on_in_the_daemon(background, binary, image):
    inherited, theirs = os.pipe()
    result, _ = background(pass_fds=(theirs,))
    result.ok()
    os.close(theirs)
    assert os.read(inherited, 1) == b"", "the last writer has gone"
    os.close(inherited)


def test_relative_paths_mean_the_same_in_the_background(background, binary, work):
    artifacts.image_layout(work / "layout", {"v1": artifacts.cncf(artifacts.wasm_component(1, 5000), "x.wasm")})
    result, mountpoint = background("--cache", "own-cache", source="oci:layout", cwd=work)
    result.ok()
    assert os.listdir(mountpoint) == ["layout"]
    assert read(mountpoint / "layout:v1/main.wasm")
    status = json.loads(run([binary, "status", "--json", mountpoint]).ok().out)[0]
    assert status["cache"]["directory"] == str(work / "own-cache") and status["hosts"] == []


def test_the_mountpoint_may_be_a_symlink(background, binary, work, image):
    (work / "real").mkdir()
    (work / "link").symlink_to("real")
    result, mountpoint = background(mountpoint=work / "link")
    result.ok()
    assert str(work / "real") in mountinfo()
    run([binary, "status", work / "link"]).ok()
    run([binary, "unmount", "link/."], cwd=work).ok()
    assert str(work / "real") not in mountinfo()


def test_status_fits_a_terminal(background, binary, work, image):
    result, mountpoint = background(mountpoint=work / ("a-long-name-" * 15))
    result.ok()
    assert str(mountpoint) in run([binary, "status"]).ok().out, "whole, when it is not for a terminal"
    ours, theirs = pty.openpty()
    with open(ours, encoding="utf-8", newline="\n") as terminal:
        subprocess.run([binary, "status"], stdin=subprocess.DEVNULL, stdout=theirs, check=True, timeout=30 * SLOW)
        head, *rows = [terminal.readline().rstrip("\r\n") for _ in range(2)]
        os.close(theirs)
    assert head.startswith("MOUNTPOINT") and all(len(line) <= 80 for line in rows)


def test_no_mounts(binary, work):
    """In a mount namespace that sees none, nor the sockets of any."""
    alone = ["unshare", "--mount", "--propagation", "private", "sh", "-c",
             'umount -l -a -t fuse.wasmocifs; mount -t tmpfs none /run; exec "$0" "$@"', binary]
    env = {**os.environ, "XDG_RUNTIME_DIR": str(work)}
    assert run([*alone, "status", "--json"], env=env).ok().out == "[]\n"
    assert run([*alone, "status"], env=env).ok().out == "no mounts\n"


def test_what_is_not_ours(binary, work, mount, image):
    assert "not a wasmocifs mount" in one_line(run([binary, "status", work]))
    assert "proc" in one_line(run([binary, "unmount", "/proc"]))
    m = mount()
    assert str(m) in one_line(run([binary, "unmount", m / "demo"], env=m.env))
    nested = one_line(run([binary, "mount", "--cache", m.cache, m.source, m / "demo"], env=m.env))
    assert "lies in the wasmocifs mount" in nested
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data


def test_another_user_s_mount(mount, image, binary):
    m = mount()
    theirs = {"env": {"PATH": os.environ["PATH"]}, **identity(NOBODY)}
    assert "belongs to user 0" in one_line(run([binary, "status", m], **theirs))
    for command in ("unmount", "upgrade", "refresh", "why", "abort"):
        assert "belongs to user 0" in one_line(run([binary, command, m], **theirs)), command
    assert str(m) not in run([binary, "status"], **theirs).ok().out
    assert m.is_mounted()


def test_a_bind_mount_of_it(mount, image, binary, work):
    m = mount()
    target = work / "bound"
    target.mkdir()
    bind(m / "demo", target)
    shown = [one["mountpoint"] for one in json.loads(run([binary, "status", "--json"], env=m.env).ok().out)]
    assert str(m) in shown and str(target) not in shown
    assert read(target / "app:v1/main.wasm") == image.layer.data
    run([binary, "unmount", target], env=m.env).ok()
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data


@pytest.fixture
def automount(work):
    """(a mountpoint, how to say that it is mounted): as systemd has one, for who is in our process group. Who is not, and
    goes there, waits until it is said, once something has arrived at the pipe."""
    point = work / "mnt"
    point.mkdir()
    pipe, theirs = os.pipe()
    options = f"fd={theirs},pgrp={os.getpgrp()},minproto=5,maxproto=5,direct"
    made = ctypes.CDLL(None, use_errno=True).mount(b"test", os.fsencode(point), b"autofs", 0, options.encode())
    os.close(theirs)
    if made:
        pytest.skip(f"no autofs: {os.strerror(ctypes.get_errno())}")
    root = os.open(point, os.O_RDONLY)

    def ready():
        _, _, token = struct.unpack("iiI", os.read(pipe, 4096)[:12])
        fcntl.ioctl(root, AUTOFS_IOC_READY, token)

    yield point, pipe, ready
    fcntl.ioctl(root, AUTOFS_IOC_CATATONIC)  # whoever waits still is let go
    os.close(root)
    os.close(pipe)
    while umount2(point, MNT_DETACH) == 0:
        pass


def test_what_an_automount_waits_for(binary, work, registry, image, automount):
    """The one who goes there waits, and with it whoever else walks to it from outside that process group: a daemon has
    left it."""
    point, pipe, ready = automount
    helper = work / "mount.wasmocifs"
    helper.symlink_to(binary)
    path = point / "demo/app:v1/main.wasm"
    with subprocess.Popen(["cat", path], start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as visitor:
        try:
            assert select.select([pipe], [], [], 20 * SLOW)[0]
            run([helper, registry.address, point, "-o", f"cache={work}/cache"], timeout=20 * SLOW).ok()
            ready()
            assert visitor.communicate(timeout=20 * SLOW)[0] == image.layer.data
        finally:
            visitor.kill()
    run([binary, "unmount", point]).ok()
    assert mountinfo()[str(point)][1] == "autofs", "it was mounted on that, which stays"


def test_exit_status_of_the_mount_helper(binary, work, registry, image):
    helper = work / "mount.wasmocifs"
    helper.symlink_to(binary)
    mountpoint = work / "mnt"
    assert run([helper, "127.0.0.1:1"]).code == 1
    assert run([helper, "127.0.0.1:1", mountpoint, "-o", "frobnicate"]).code == 1
    assert run([helper, "127.0.0.1:1", mountpoint]).code == 32, "no such mountpoint"
    mountpoint.mkdir()
    run([helper, "127.0.0.1:1", mountpoint, "-f", "-o", "rw"]).ok()
    assert str(mountpoint) not in mountinfo(), "-f only pretends"
    run([helper, "none", mountpoint, "-f", "-o", "all,allow_other,uid=0"]).ok()
    for source, options in (("127.0.0.1:1", "uid=0"), ("not a host", "rw"), ("none", "rw"), ("", "rw")):
        one_line(run([helper, source, mountpoint, "-f", "-o", options]))
    for options in ("remount,ro", "remount,frobnicate"):
        result = run([helper, "127.0.0.1:1", mountpoint, "-s", "-o", options])
        assert result.code == 1 and "unmount it, and mount it again" in result.err
    run([helper, registry.address, mountpoint, "-sn", "-t", "wasmocifs", "-o",
         f"rw,noexec,frobnicate,user,cache={work}/cache"]).ok()
    try:
        assert "noexec" in mountinfo()[str(mountpoint)][2].split(",")
    finally:
        run([binary, "unmount", mountpoint]).ok()

