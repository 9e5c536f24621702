# SPDX-License-Identifier: Apache-2.0
"""A mount whose processes are exchanged, stuck or gone: upgrade, abort, the keeper."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys

import pytest

import samples
from harness import Child, Clock, mountinfo, raises, read, run, scaled, umount2, until
from registry import behaviours as b
from test_survival import Load, next_worker


@pytest.fixture
def image(registry):
    return samples.push_wasm(registry.store, "demo/app", size=3 << 20)


def copy_of(binary, directory):
    """The same program, as another file: what an upgrade installs."""
    path = directory / f"wasmocifs-{len(list(directory.glob('wasmocifs-*')))}"
    shutil.copy(binary, path)
    return path


def test_upgrade_under_a_reader(mount, registry, image, binary, work):
    m = mount()
    new = copy_of(binary, work)
    with open(m / "demo/app:v1/main.wasm", "rb", buffering=0) as file:
        assert file.read(1000) == image.layer.data[:1000]
        result = run([new, "upgrade", m], env=m.env).ok()
        assert "is served by version" in result.out
        assert file.read() == image.layer.data[1000:]
    status = m.status()
    assert status["generation"] == 2 and status["pid"] == m.pid() and status["upgrade_error"] is None
    assert os.readlink(f"/proc/{status['worker_pid']}/exe") == str(new)
    # The one that is removed from the disk meanwhile is still the one that follows.
    new.unlink()
    m.kill_worker()
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert os.readlink(f"/proc/{next_worker(m, 2)['worker_pid']}/exe").startswith(str(new))


@pytest.mark.heavy
def test_twenty_upgrades(mount, registry, binary, work):
    files = []
    for i in range(6):
        one = samples.push_wasm(registry.store, f"demo/app{i}", size=[200_000, 3 << 20][i % 2], seed=i)
        files.append((f"demo/app{i}:v1/main.wasm", one.layer.hex))
    m = mount(None, "--cache-size", "12M")
    load = Load(m, files)
    programs = [copy_of(binary, work) for _ in range(2)]
    wanted = scaled(20, 5)
    for i in range(wanted):
        run([programs[i % 2], "upgrade", m], env=m.env).ok()
    load.stop()
    assert not load.wrong, f"{len(load.wrong)} of {load.done}: {load.wrong[:5]}"
    status = m.status()
    assert status["generation"] == wanted + 1
    until(lambda: m.status()["open_files"] == 0, what="the files being closed")


def ask(m, **request):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(next(map(str, pathlib.Path(m.env["XDG_RUNTIME_DIR"]).rglob("*.sock")), None) or
                  f"/run/wasmocifs/{os.minor(os.lstat(m.path).st_dev)}.sock")
        s.sendall(json.dumps(request).encode() + b"\n")
        # A worker may be replaced before it has answered: then it has handed the wish on.
        return json.loads(b"".join(iter(lambda: s.recv(65536), b"")) or b"{}")


@pytest.mark.parametrize("program", ["/bin/false", "/nonexistent", "/etc/hostname"])
def test_an_upgrade_that_fails_changes_nothing(mount, registry, image, program):
    m = mount()
    before = m.status()
    assert ask(m, op="upgrade", path=program)["generation"] == 1
    after = until(lambda: (s := m.status())["upgrade_error"] and s, what="the refusal")
    assert after["worker_pid"] == before["worker_pid"] and after["generation"] == 1
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    m.kill_worker()
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data


def test_upgrade_of_what_is_no_mount(binary, work):
    result = run([binary, "upgrade", work])
    assert result.code == 1 and "is not a wasmocifs mount" in result.err
    assert run([binary, "upgrade"]).code == 2 and run([binary, "abort"]).code == 2
    result = run([binary, "abort", work])
    assert result.code == 1 and "is not a wasmocifs mount" in result.err


def test_abort_frees_everybody(mount, registry, image, binary):
    registry.on("GET", "/blobs/", b.silent())
    m = mount()
    os.stat(m / "demo/app:v1/main.wasm")
    readers = [Child(["cat", m / "demo/app:v1/main.wasm"]).waiting("open") for _ in range(5)]
    os.kill(m.worker(), signal.SIGSTOP)
    with Clock() as took:
        run([binary, "abort", m], env=m.env).ok()
        for reader in readers:
            code, _, err = reader.ends(5)
            assert code != 0 and ("abort" in err or "not connected" in err), err
    assert took.seconds < 5
    assert m.wait_exit(10) == 0 and not m.is_mounted()


def test_a_worker_that_is_stuck_is_replaced(mount, registry, image):
    m = mount()
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    worker = m.worker()
    os.kill(worker, signal.SIGSTOP)
    reader = Child(["sha256sum", m / "demo/app/tags/v1/main.wasm"])
    m.log.wait(r"no answer in 20 s; the worker is replaced", 50)
    assert reader.ends(20)[1].startswith(image.layer.hex)
    assert next_worker(m, 1)["worker_pid"] != worker
    fields = pathlib.Path(f"/proc/{m.pid()}/stat").read_text().rpartition(")")[2].split()
    assert int(fields[11]) + int(fields[12]) < 100, "ticks of processor time that the keeper took"


def test_a_worker_without_its_keeper_serves_on(mount, registry, image, binary):
    m = mount()
    worker = m.worker()
    m.ended_badly_on_purpose = True
    m.process.kill()
    m.wait_exit()
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    status = m.status()
    assert status["pid"] == status["worker_pid"] == worker
    result = run([binary, "upgrade", m], env=m.env)
    assert result.code == 1 and "keeper of this mount is gone" in result.err
    run([binary, "unmount", m], env=m.env).ok()
    until(lambda: not pathlib.Path(f"/proc/{worker}").exists(), what="the worker's end")
    assert not m.is_mounted()


def test_a_mount_that_lost_both_is_replaced(mount, registry, image, binary):
    m = mount()
    m.kill()
    result = run([binary, "upgrade", m], env=m.env)
    assert result.code == 1 and result.out == ""
    assert result.err == (f"wasmocifs: the mount on {m} cannot be upgraded: its process has died; mount it again, or clear it "
                          f"away: wasmocifs unmount {m}\n")
    with raises(107):  # ENOTCONN
        os.stat(m.path)
    m.restart()
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    m.unmount()


def test_a_kernel_that_cannot_send_again(mount, registry, image):
    m = mount(None, "--no-resend")
    fd = os.open(m / "demo/app:v1/main.wasm", os.O_RDONLY)
    assert os.read(fd, 10) == image.layer.data[:10]
    m.kill_worker()
    m.log.wait("mounting anew: this kernel cannot send again")
    assert read_when_there(m) == image.layer.data
    with contextlib.suppress(OSError):
        os.close(fd)
    assert m.status()["generation"] == 2
    assert list(mountinfo()).count(str(m)) == 1


def read_when_there(m):
    def there():
        with contextlib.suppress(OSError):
            return read(m / "demo/app:v1/main.wasm")
        return None
    return until(there, what="the mount being there again")


def test_workers_that_cannot_start_are_given_up(mount, registry, image, work, binary):
    """One that dies as soon as it serves, every time, is started more and more slowly; and is served again when it can."""
    m = mount()
    os.chmod(m.cache, 0o777)  # a worker refuses a cache that others may write to
    m.kill_worker()
    m.log.wait(r"no worker: .*written by others", 20, count=3)
    status = run([binary, "status", m], env=m.env)
    assert status.code == 1 and "another one is on its way" in status.err
    os.chmod(m.cache, 0o700)
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data


def test_a_request_that_kills_is_refused(mount, registry, image):
    """Workers that crash on what is sent again: the fourth answers that with EIO, and the mount is free."""
    m = mount()
    gate = registry.on("GET", "/blobs/", b.silent())
    os.stat(m / "demo/app:v1/main.wasm")
    reader = Child(["cat", m / "demo/app:v1/main.wasm"]).waiting("open")
    for generation in range(1, 4):
        worker = next_worker(m, generation - 1)["worker_pid"]
        os.kill(worker, signal.SIGABRT)  # as what it was sent again would make it
    m.log.wait("3 workers crashed as soon as they served; what they were asked is answered with EIO now")
    code, _, err = reader.ends(60)
    assert code == 1 and "Input/output error" in err
    gate.remove()
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data


class Manager:
    """A service manager that keeps descriptors, as systemd does: FDSTORE=1 in, LISTEN_FDS out."""

    def __init__(self, path):
        self.path, self.kept, self.ready = path, {}, 0
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.env = {"NOTIFY_SOCKET": str(path), "FDSTORE": "3"}

    def hear(self, wanted, timeout=20):
        """Until all words of `wanted` were said."""
        self.socket.settimeout(timeout)
        left = list(wanted)
        while left:
            data, ancillary, _, _ = self.socket.recvmsg(4096, 1024)
            words = dict(line.split("=", 1) for line in data.decode().splitlines())
            if words.get("FDSTORE") == "1":
                assert len(self.kept) < 3, "FileDescriptorStoreMax= counts before systemd sees that it has it already"
                self.kept[words["FDNAME"]] = socket_fd(ancillary)
            if words.get("FDSTOREREMOVE") == "1":
                os.close(self.kept.pop(words["FDNAME"]))
            left = [word for word in left if word.split("=", 1) not in [list(item) for item in words.items()]]

    def close(self):
        for fd in self.kept.values():
            os.close(fd)
        self.socket.close()


def socket_fd(ancillary):
    (_, _, data), = ancillary
    return int.from_bytes(data[:4], sys.byteorder)


@pytest.fixture
def manager(work):
    made = Manager(work / "notify")
    yield made
    made.close()


def start_with_kept(m, manager):
    """The next process of the unit: the descriptors from 3 on, and variables that say so."""
    names = list(manager.kept)
    script = ("import fcntl, os, sys\n"
              "names, fds = sys.argv[1].split(':'), [int(n) for n in sys.argv[2].split(',')]\n"
              "high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 100) for fd in fds]\n"
              "ready = fcntl.fcntl(int(sys.argv[3]), fcntl.F_DUPFD, 100)\n"
              "for i, fd in enumerate(high): os.dup2(fd, 3 + i)\n"
              "os.dup2(ready, 3 + len(high))\n"
              "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(high)), LISTEN_FDNAMES=sys.argv[1])\n"
              "os.execv(sys.argv[4], [a.replace('READY', str(3 + len(high))) for a in sys.argv[4:]])\n")
    m._ready, theirs = os.pipe()
    fds = [manager.kept[name] for name in names]
    m.process = subprocess.Popen([sys.executable, "-c", script, ":".join(names), ",".join(map(str, fds)), str(theirs),
                                  str(m.binary), "mount", "-f", "--ready-fd", "READY", *m.args],
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                 pass_fds=(theirs, *fds), env=m.env)
    os.close(theirs)
    os.close(m.pidfd)
    m.pidfd = os.pidfd_open(m.process.pid)
    m.log.follow(m.process.stdout)
    return m.wait_ready()


def test_a_unit_is_restarted_under_a_reader(mount, registry, manager):
    image = samples.push_wasm(registry.store, "demo/app", size=3 << 20)
    gate = registry.on("GET", "/blobs/", b.silent())
    m = mount(env=manager.env)
    manager.hear(["READY=1", "FDNAME=wasmocifs-fuse", "FDNAME=wasmocifs-nodes", "FDNAME=wasmocifs-handover"])
    os.stat(m / "demo/app:v1/main.wasm")
    inside = os.open(m / "demo/app", os.O_RDONLY | os.O_DIRECTORY)
    reader = Child(["sha256sum", m / "demo/app:v1/main.wasm"]).waiting("open")
    m.process.send_signal(signal.SIGUSR2)
    assert m.wait_exit() == 0 and m.is_mounted()
    m.log.join()
    start_with_kept(m, manager)
    gate.remove()
    assert reader.ends(30)[1].startswith(image.layer.hex)
    assert m.status()["generation"] == 2
    assert "tags" in os.listdir(inside)
    os.close(inside)
    m.process.send_signal(signal.SIGTERM)
    manager.hear(["STOPPING=1", "FDSTOREREMOVE=1"])
    assert m.wait_exit() == 0 and not m.is_mounted()


def test_a_unit_restarted_after_its_mount_went(mount, registry, manager):
    """What was kept is of no use: it is mounted anew, and the manager told."""
    image = samples.push_wasm(registry.store, "demo/app")
    m = mount(env=manager.env)
    manager.hear(["READY=1", "FDNAME=wasmocifs-handover"])
    m.process.send_signal(signal.SIGUSR2)
    assert m.wait_exit() == 0 and m.is_mounted()
    assert umount2(m.path, 2) == 0
    m.log.join()
    start_with_kept(m, manager)
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert m.status()["generation"] == 1 and m.log.find("what was kept of the mount is not gone on with: it has ended")


def test_without_a_manager_the_signal_ends_it(mount, registry):
    samples.push_wasm(registry.store, "demo/app")
    m = mount()
    m.process.send_signal(signal.SIGUSR2)
    assert m.wait_exit() == 0 and not m.is_mounted()
