# SPDX-License-Identifier: Apache-2.0
"""Driving the real binary: mounts, commands, and what must not be left behind.

Nothing here sleeps to wait: a mount is ready when its ready fd says so, a log line is awaited on a condition, a process
by its pidfd. Whatever takes longer than GUARD seconds is dumped (threads of the daemon, its log) and freed by aborting
the FUSE connection, so that neither a test nor pytest itself can hang in a system call on a mount.
"""

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import pathlib
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time

SCALE = float(os.environ.get("WASMOCIFS_TEST_SCALE", "1"))  # below 1: slow binaries (sanitizers, valgrind)
SLOW = max(1.0, 1 / SCALE)  # how much longer things may take
GUARD = 60 * SLOW
HERE = pathlib.Path(__file__).resolve().parent
NOBODY = 65534
STRANGER = 54321  # a uid that no passwd entry has

_libc = ctypes.CDLL(None, use_errno=True)
MNT_FORCE, MNT_DETACH, UMOUNT_NOFOLLOW = 1, 2, 8

# What no log of ours may hold, however the process ended.
CRASH = re.compile(r"ERROR: (Address|Leak|Thread|Memory)Sanitizer|WARNING: ThreadSanitizer|runtime error:|"
                   r"[Aa]ssert(ion|ed)|stack smashing|buffer overflow detected|free\(\): |malloc\(\): |corrupted")


def scaled(n, least=1):
    """n, less where the binary is slow."""
    return max(least, int(n * min(1.0, SCALE)))


class Failed(AssertionError):
    """A command that took too long, or a mount that did not come up."""


class Result:
    def __init__(self, args, code, out, err):
        self.args, self.code, self.out, self.err = args, code, out, err

    def ok(self):
        assert self.code == 0, f"{self}"
        return self

    def __repr__(self):
        return f"{' '.join(map(str, self.args))} -> {self.code}\nstdout: {self.out[-2000:]}\nstderr: {self.err[-4000:]}"


def run(args, timeout=None, env=None, stdin=None, check=False, **more):
    """Runs to its end; what takes too long is dumped and killed."""
    process = subprocess.Popen([str(a) for a in args], stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, text=True, errors="replace",
                               **more)
    try:
        out, err = process.communicate(stdin, timeout=timeout or GUARD)
    except subprocess.TimeoutExpired:
        report = dump_threads(process.pid)
        process.kill()
        raise Failed(f"{args} did not end:\n{report}") from None
    result = Result(args, process.returncode, out, err)
    return result.ok() if check else result


def on_terminal(args, env=None, columns=80):
    """The lines that it writes to a terminal of that width, to its end."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 25, columns, 0, 0))
    process = subprocess.Popen([str(a) for a in args], env=env, stdin=subprocess.DEVNULL, stdout=theirs)
    os.close(theirs)
    text = b""
    try:
        while part := os.read(ours, 65536):
            text += part
    except OSError:  # EIO: nobody has the other end any more
        pass
    os.close(ours)
    assert process.wait(30 * SLOW) == 0
    return text.decode().replace("\r\n", "\n").splitlines()


def dump_threads(pid):
    """Where every thread of a process stands: by gdb, or by the kernel's word for it."""
    lines = []
    for task in sorted(pathlib.Path(f"/proc/{pid}/task").glob("*")):
        for name in ("comm", "wchan", "syscall", "stack"):
            with contextlib.suppress(OSError):
                lines.append(f"{task.name} {name}: {(task / name).read_text().strip()}")
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        gdb = subprocess.run(["gdb", "-p", str(pid), "-batch", "-ex", "thread apply all bt 20"], timeout=60,
                             capture_output=True, text=True, errors="replace")
        lines.append(gdb.stdout[-20000:])
    return "\n".join(lines)


def mountinfo():
    """{mountpoint: (device, type, options, source)}"""
    found = {}
    for line in pathlib.Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
        left, right = line.split(" - ", 1)
        fields, rest = left.split(), right.split(" ")
        found[fields[4].encode(errors="surrogateescape").decode("unicode_escape")] = (fields[2], rest[0], fields[5], rest[1])
    return found


def umount2(path, flags):
    if _libc.umount2(os.fsencode(path), flags | UMOUNT_NOFOLLOW) != 0:
        return ctypes.get_errno()
    return 0


class LineLog:
    """Lines of a pipe, kept, written to a file, and waited for."""

    def __init__(self, path, stream=None):
        self.lines = []
        self.ended = True
        self.changed = threading.Condition()
        self._path = path
        if stream is not None:
            self.follow(stream)

    def follow(self, stream):
        self.ended = False
        threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def _read(self, stream):
        with stream, open(self._path, "ab", buffering=0) as file:
            for line in stream:
                file.write(line)
                with self.changed:
                    self.lines.append(line.decode(errors="replace").rstrip("\n"))
                    self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def text(self):
        with self.changed:
            return "\n".join(self.lines)

    def find(self, pattern):
        with self.changed:
            return [line for line in self.lines if re.search(pattern, line)]

    def wait(self, pattern, timeout=20, count=1):
        """The lines that match, once there are `count`."""
        def there():
            return sum(1 for line in self.lines if re.search(pattern, line)) >= count
        with self.changed:
            if not self.changed.wait_for(lambda: there() or self.ended, timeout * SLOW) or not there():
                raise AssertionError(f"no {pattern!r} in the log:\n" + "\n".join(self.lines[-60:]))
            return [line for line in self.lines if re.search(pattern, line)]

    def join(self, timeout=10):
        with self.changed:
            self.changed.wait_for(lambda: self.ended, timeout)


def identity(user):
    """What subprocess needs to run as that uid, and in no group but its own."""
    return {} if user is None else {"user": user, "group": user, "extra_groups": []}


class Mount:
    """One `wasmocifs mount -f`. Made by the fixture `mount`, which ends it."""

    def __init__(self, binary, source, base, cache, options=(), env=None, user=None):
        base.mkdir(parents=True, exist_ok=True)
        self.binary = binary
        self.source = source
        self.cache = cache
        self.path = base / "mnt"
        self.user = user
        self.ended_badly_on_purpose = False  # a test that kills the daemon says so
        self.env = {**os.environ, "XDG_RUNTIME_DIR": str(base / "run"), "HOME": str(base / "home"),
                    "TSAN_OPTIONS": "halt_on_error=0:exitcode=66:" + os.environ.get("TSAN_OPTIONS", ""),
                    "ASAN_OPTIONS": "detect_leaks=1:" + os.environ.get("ASAN_OPTIONS", ""), **(env or {})}
        for variable in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY",
                         "DOCKER_CONFIG", "DOCKER_AUTH_CONFIG", "REGISTRY_AUTH_FILE"):
            if variable not in (env or {}):
                self.env.pop(variable, None)
        for directory in (self.path, base / "run", base / "home"):
            directory.mkdir(exist_ok=True)
            if user is not None:
                os.chown(directory, user, user)
        os.chmod(base / "run", 0o700)
        self.args = ["--cache", str(cache), *map(str, options), str(source), str(self.path)]
        self.log = LineLog(base / "log")
        self.given_up = None
        self._guard = threading.Timer(GUARD, self._give_up)
        self._guard.daemon = True
        self._guard.start()
        self._launch()

    def _launch(self):
        self._ready, theirs = os.pipe()
        self.process = subprocess.Popen([str(self.binary), "mount", "-f", "--ready-fd", str(theirs), *self.args],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        pass_fds=(theirs,), env=self.env, **identity(self.user))
        os.close(theirs)
        self.pidfd = os.pidfd_open(self.process.pid)
        self.log.follow(self.process.stdout)

    def restart(self):
        """After its end, on the same mountpoint, as a service manager does it."""
        assert self.process.poll() is not None
        self.log.join()
        os.close(self.pidfd)
        self._launch()
        return self.wait_ready()

    def wait_ready(self, timeout=20):
        """A byte on the ready fd: the mount answers. Its end without a byte: it does not."""
        with os.fdopen(self._ready, "rb", buffering=0) as file:
            if not select.select([file], [], [], timeout * SLOW)[0]:
                raise Failed(f"not ready: {self.dump()}\n{self.log.text()}")
            if not file.read(1):
                self.wait_exit(timeout)
                self.log.join()
                raise Failed(f"{' '.join(self.args)} ended:\n{self.log.text()}")
        return self

    def __truediv__(self, name):
        return self.path / name

    def __fspath__(self):
        return str(self.path)

    def __str__(self):
        return str(self.path)

    def dump(self):
        return "\n".join(dump_threads(pid) for pid in [self.process.pid, *children_of(self.process.pid)])

    def status(self):
        result = run([self.binary, "status", "--json", self.path], env=self.env, timeout=20 * SLOW).ok()
        found = json.loads(result.out)
        return found[0] if isinstance(found, list) else found

    def pid(self):
        """Of the keeper: the process to signal."""
        return self.process.pid

    def worker(self):
        """The pid of the process that serves now."""
        return self.status()["worker_pid"]

    def kill_worker(self):
        """Wherever it is. Another one will follow; the pid of the dead one."""
        workers = workers_of(self.process.pid)
        for pid in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return workers

    def fds(self):
        """{number: what it is} of the worker."""
        found = {}
        for entry in os.scandir(f"/proc/{self.worker()}/fd"):
            with contextlib.suppress(OSError):
                found[int(entry.name)] = os.readlink(entry.path)
        return found

    def wait_exit(self, timeout=20):
        if not select.select([self.pidfd], [], [], timeout * SLOW)[0]:
            raise Failed(f"the daemon does not end:\n{self.dump()}\n{self.log.text()}")
        return self.process.wait()

    def kill(self):
        """As if both its processes crashed."""
        self.ended_badly_on_purpose = True
        workers = [(os.pidfd_open(pid), pid) for pid in workers_of(self.process.pid)]
        self.process.kill()
        code = self.wait_exit()
        for pidfd, pid in workers:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            assert select.select([pidfd], [], [], 20 * SLOW)[0], f"{pid} does not die"
            os.close(pidfd)
        return code

    def is_mounted(self):
        return str(self.path) in mountinfo()

    def unmount(self, timeout=20):
        """The way a user does it; the daemon must end by itself, and well."""
        result = run([self.binary, "unmount", self.path], env=self.env, timeout=timeout * SLOW,
                     **identity(self.user))
        assert result.code == 0, f"{result}\n{self.log.text()}"
        code = self.wait_exit(timeout)
        assert code == 0, f"the daemon ended with {code}:\n{self.log.text()}"
        assert not self.is_mounted()

    def _give_up(self):
        self.given_up = f"a test took longer than {GUARD} s:\n" + self.dump()
        sys.stderr.write(self.given_up)
        self.abort()

    def abort(self):
        """Everybody who waits in this mount gets an error."""
        umount2(self.path, MNT_FORCE)

    def finish(self):
        """Ends it whatever its state, and returns what was wrong with it."""
        self._guard.cancel()
        wrong = [self.given_up] if self.given_up else []
        if self.process.poll() is None:
            try:
                self.unmount()
            except AssertionError as failure:
                wrong.append(str(failure))
                self.abort()
        elif self.process.returncode != 0 and not self.ended_badly_on_purpose:
            wrong.append(f"the daemon ended with {self.process.returncode}")
        if self.process.poll() is None:
            self.kill()
        self.log.join()
        if self.is_mounted():
            if not self.ended_badly_on_purpose:
                wrong.append("the mount is still there")
            while umount2(self.path, MNT_DETACH) == 0:
                pass
        os.close(self.pidfd)
        if not self.ended_badly_on_purpose:
            wrong += [f"left behind: {path}" for path in pathlib.Path(self.env["XDG_RUNTIME_DIR"]).rglob("*")
                      if not path.is_dir()]
        text = self.log.text()
        if CRASH.search(text):
            wrong.append("the log holds a report:\n" + text[-12000:])
        if wrong:
            wrong.append("log:\n" + text[-6000:])
        return wrong


def children_of(pid):
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(child) for child in task.read_text().split()]
    return found


def workers_of(keeper):
    """Of a keeper's children those that serve, or are about to."""
    found = []
    for pid in children_of(keeper):
        with contextlib.suppress(OSError):
            found += [pid] if pathlib.Path(f"/proc/{pid}/comm").read_text().startswith("wasmocifs") else []
    return found


@contextlib.contextmanager
def raises(*codes):
    """An OSError with exactly one of these errnos."""
    try:
        yield
    except OSError as failure:
        names = [errno.errorcode[code] for code in codes]
        got = errno.errorcode.get(failure.errno, failure.errno)
        assert failure.errno in codes, f"{got} where {' or '.join(names)} was due: {failure}"
        return
    raise AssertionError(f"no error where {[errno.errorcode[code] for code in codes]} was due")


def read(path):
    """By plain system calls, so that the errno of each is what the kernel said."""
    fd = os.open(path, os.O_RDONLY)
    try:
        parts = []
        while True:
            part = os.read(fd, 1 << 20)
            if not part:
                return b"".join(parts)
            parts.append(part)
    finally:
        os.close(fd)






def until(predicate, timeout=20, what="it"):
    """For what nobody signals (a TTL that runs out, another process's state in /proc): looks again and again."""
    pause = threading.Event()
    end = time.monotonic() + timeout * SLOW
    while True:
        found = predicate()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come true in {timeout * SLOW} s")
        pause.wait(0.01)


SYSCALLS = {"open": {257, 2}, "readlink": {89, 267}, "stat": {4, 6, 262, 332}, "getdents": {217, 78}}


def threads_in(pid, *names):
    """How many threads of a process are inside one of these system calls."""
    wanted = set().union(*(SYSCALLS[name] for name in names))
    found = 0
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*"):
        with contextlib.suppress(OSError, ValueError):
            found += int((task / "syscall").read_text().split()[0]) in wanted
    return found


class Child:
    """A process that will wait in the mount: `waiting()` returns once it does, `ends_within` when it is freed."""

    def __init__(self, args, **more):
        self.process = subprocess.Popen([str(a) for a in args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, **more)
        self.pidfd = os.pidfd_open(self.process.pid)
        self.pid = self.process.pid

    def waiting(self, *calls, path="", threads=1):
        """Once that many of its threads are in such a call. Opening the program itself and its libraries looks the
        same from outside, hence: with the path in `wchan` or `stack` saying fuse."""
        until(lambda: self._in_fuse(calls) >= threads or self.has_ended(), what=f"{self.process.args} waiting")
        assert not self.has_ended(), f"{self.process.args} ended: {self.process.communicate()}"
        return self

    def _in_fuse(self, calls):
        wanted = set().union(*(SYSCALLS[name] for name in calls)) if calls else None
        found = 0
        for task in pathlib.Path(f"/proc/{self.pid}/task").glob("*"):
            with contextlib.suppress(OSError, ValueError):
                number = (task / "syscall").read_text().split()[0]
                if "fuse" in (task / "stack").read_text() and (wanted is None or int(number) in wanted):
                    found += 1
        return found

    def send(self, number):
        signal.pidfd_send_signal(self.pidfd, number)
        return self

    def has_ended(self, within=0.0):
        return self.process.returncode is not None or bool(select.select([self.pidfd], [], [], within)[0])

    def ends(self, within=2.0):
        """Its (exit code, stdout, stderr); it must end in this time."""
        try:
            out, err = self.process.communicate(timeout=within * SLOW)
        except subprocess.TimeoutExpired:
            report = dump_threads(self.pid)
            self.process.kill()
            raise Failed(f"{self.process.args} is still there after {within * SLOW} s:\n{report}") from None
        os.close(self.pidfd)
        return self.process.returncode, out.decode(errors="replace"), err.decode(errors="replace")


class Clock:
    """with Clock() as took: …; took.seconds"""

    def __enter__(self):
        self._start = time.monotonic()
        self.seconds = None
        return self

    def __exit__(self, *_):
        self.seconds = time.monotonic() - self._start


def files_holding(directory, needle):
    """Files below a directory (as root, whatever their mode) that contain these bytes."""
    found = []
    for path in pathlib.Path(directory).rglob("*"):
        if path.is_file() and not path.is_symlink() and needle in path.read_bytes():
            found.append(path)
    return found


def opens(path):
    """Whether it can be opened and read."""
    with contextlib.suppress(OSError):
        read(path)
        return True
    return False


@contextlib.contextmanager
def account_held(cache):
    """As by a process that was stopped while it looked at the account of this cache directory."""
    fd = os.open(pathlib.Path(cache) / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0))
        yield
    finally:
        os.close(fd)


def partials(cache):
    return [path for path in pathlib.Path(cache, "partial").rglob("*") if path.is_file()]
