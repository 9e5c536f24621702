# SPDX-License-Identifier: Apache-2.0
"""Random operations of many processes, against a model of what each path must be, while everything else misbehaves.

    world = World(registry, directory)                  # fills the registry; knows what must be found
    with small_disk(directory / "disk") as disk:
        m = mount(None, *OPTIONS, cache=disk / "cache")
        print(Stress(m, world, registry, disk, seed).run(seconds=20).report())

One request in ten fails at random, the cache's disk fills up and empties, readers are interrupted and killed, and so
is the worker. What a reader may get is the right bytes, names and attributes, or an errno of ALLOWED within the
deadline. A read of what is open may fail only where the worker died meanwhile. Then the faults end, and everything
must be right, and all budgets be back where they were.

The same seed makes the same choices; when they meet is the machine's. A reader is this file as a program: a process
that the run may kill. It says what it does in a slot of a shared page, so that one that hangs is seen from outside.
"""

import collections
import contextlib
import ctypes
import dataclasses
import errno
import hashlib
import json
import mmap
import os
import pathlib
import pickle
import random
import re
import signal
import stat
import struct
import subprocess
import sys
import threading
import time

import artifacts
import samples
from harness import MNT_DETACH, SLOW, children_of, dump_threads, read, run, umount2, until
from registry import behaviours as b

TIMEOUT = 3  # of one operation of the file system
OPTIONS = ("--timeout", f"{TIMEOUT}s", "--cache-size", "9M", "--tag-ttl", "1s", "--list-ttl", "1s")
# A system call walks a path: a few operations one after another; and a worker may have to start in between.
DEADLINE = 3 * TIMEOUT + 3
DISK = 20 << 20
IDLE_BLOBS = 64 + 1024  # of the cache that nobody reads and that stay open: files, and what is in memory
ENOUGH = 200  # lines of what is wrong: then it ends early
# DESIGN 2.4, without what nothing here brings about (EACCES, EOPNOTSUPP, ENOEXEC, EIO), and without ENOENT: failure is
# never absence.
ALLOWED = {errno.EHOSTUNREACH, errno.ETIMEDOUT, errno.EBUSY, errno.EBADMSG, errno.EPROTO, errno.ENOSPC}
PEAK_WORKER, PEAK_KEEPER = 64, 16  # MiB


# what there is

@dataclasses.dataclass(frozen=True)
class File:
    digest: str
    size: int
    mode: int

    @property
    def hex(self):
        return self.digest.partition(":")[2]


@dataclasses.dataclass(frozen=True)
class Directory:
    names: frozenset
    whole: bool = True  # else there may be more, or fewer


@dataclasses.dataclass(frozen=True)
class Link:
    targets: frozenset


class World:
    """`paths` is the model, {path below the mount: File, Directory or Link}; the bytes lie in `directory`."""

    def __init__(self, registry, directory):
        self.store, self.directory, self.paths = registry.store, directory, {}
        directory.mkdir()
        for i, size in enumerate((700, 40_000, 300_000, 1_200_000, 3_000_000, 5_000_000)):
            self.add(f"demo/w{i}", "v1", artifacts.cncf(artifacts.wasm_module(i, size), "w.wasm"))
        rng = random.Random(1)
        files = {f"d{i % 4}/e/f{i}": samples.noise(rng.choice([0, 1, 4096, 70_000, 200_000]), i) for i in range(20)}
        self.add("demo/f", "v1", artifacts.oras(files, "application/octet-stream"))
        self.container()
        self.many_tags()
        self.moving_tag()
        registry.pages.size = 100

    def container(self):
        module = artifacts.wasm_module(77, 9000)
        lower = {"hello.wasm": module, "etc/conf": b"x=1\n", "usr/big": samples.noise(2 << 20, 78)}
        upper = {"etc/more": b"more", **{f"usr/lib/l{i}": samples.noise(3000 + i, 80 + i) for i in range(30)}}
        self.add("demo/c", "v1", artifacts.container(lower, upper), {**lower, **upper}, ["0.tar.gz", "1.tar.gz"],
                 module)

    def many_tags(self):
        image = self.add("demo/t", "t000", artifacts.cncf(artifacts.wasm_module(90, 2000), "w.wasm"))
        names = [f"t{i:03}" for i in range(300)]
        for name in names:
            self.store.tag("demo/t", name, image.digest)
            self.paths[f"demo/t:{name}"] = self.paths["demo/t:t000"]
        self.paths["demo/t/tags"] = Directory(frozenset(names))

    def moving_tag(self):
        """Any of its versions is right, but one of them only for who is inside."""
        versions = [self.add("demo/m", f"v{i}", artifacts.cncf(artifacts.wasm_module(60 + i, 5000), "w.wasm"))
                    for i in range(4)]
        self.store.tag("demo/m", "latest", versions[0].digest)
        self.versions = [version.digest for version in versions]
        self.paths["demo/m/tags"] = Directory(frozenset(["latest", "v0", "v1", "v2", "v3"]))
        self.paths["demo/m:latest"] = Link(frozenset(f"m/manifests/sha256/{version.hex}" for version in versions))

    def move(self, rng):
        self.store.tag("demo/m", "latest", rng.choice(self.versions))

    def keep(self, data):
        digest = hashlib.sha256(data).hexdigest()
        (self.directory / digest).write_bytes(data)
        return "sha256:" + digest

    def file(self, path, data):
        mode = 0o555 if path.endswith(".wasm") else 0o444
        self.paths[path] = File(self.keep(data), len(data), mode)

    def add(self, repo, tag, image, files=None, layers=None, module=None):
        """An image under a tag, at each of its paths. files: what files/ holds, if not the titled layers; layers: the
        names in layers/."""
        samples.put(self.store, repo, tag, image)
        files = files or {blob.title: blob.data for blob in image.layers}
        module = module or next((blob.data for blob in image.layers if blob.data[:4] == b"\0asm"), None)
        layers = layers or [f"{i}.{'wasm' if module else 'bin'}" for i in range(len(image.layers))]
        name = repo.rpartition("/")[2]
        link = Link(frozenset([f"{name}/manifests/sha256/{image.hex}"]))
        self.paths[f"{repo}:{tag}"] = self.paths[f"{repo}@{image.digest}"] = link
        self.paths.setdefault(f"{repo}/tags", Directory(frozenset([tag])))
        self.paths["demo"] = Directory(self.paths.get("demo", Directory(frozenset())).names | {name}, whole=False)
        for blob in (*image.blobs(), artifacts.Blob(image.data, image.media_type)):
            self.file(f"{repo}/blobs/sha256/{blob.hex}", blob.data)
        for top in (f"{repo}/manifests/sha256/{image.hex}", f"{repo}/tags/{tag}", f"{repo}:{tag}"):
            self.tree(top, image, files, layers, module)
        return image

    def tree(self, top, image, files, layers, module):
        self.file(f"{top}/manifest.json", image.data)
        self.file(f"{top}/config.json", image.config.data)
        for name, blob in zip(layers, image.layers):
            self.file(f"{top}/layers/{name}", blob.data)
        self.paths[f"{top}/layers"] = Directory(frozenset(layers))
        if module:
            self.file(f"{top}/main.wasm", module)
        below = collections.defaultdict(set)
        for title, data in files.items():
            self.file(f"{top}/files/{title}", data)
            parts = title.split("/")
            for i, part in enumerate(parts):
                below["/".join(["files", *parts[:i]])].add(part)
        for directory, names in below.items():
            self.paths[f"{top}/{directory}"] = Directory(frozenset(names))


# how a registry fails

class Faults:
    """A behaviour: one request in ten fails, in one of these ways."""

    def __init__(self, seed, rate=0.1):
        self.rng, self.lock = random.Random(seed), threading.Lock()
        self.rate, self.counts = rate, collections.Counter()
        self.silent = b.silent()

    def release(self):
        self.rate = 0
        self.silent.release()

    def __call__(self, request, proceed):
        with self.lock:
            if self.rng.random() >= self.rate:
                return proceed()
            name, behaviour = self.choose(re.search("/(blobs|manifests)/", request.path) is not None)
            self.counts[name] += 1
        return behaviour(request, proceed)

    def choose(self, by_digest):
        """Bytes that no digest covers cannot be told from right ones: those are not changed, but cut."""
        ways = {"5xx": b.error(self.rng.choice([500, 502, 503, 504])), "429": b.too_many(self.rng.choice([None, 1, 2])),
                "reset": b.hang_up(reset=True), "closed": b.hang_up(), "silent": self.silent,
                "slow": b.latency(self.rng.uniform(0.05, 1.0)),
                "cut": b.cut(self.rng.randrange(1, 5000), reset=self.rng.random() < 0.5),
                "short": b.shorter(1, honest=False), "garbage": b.raw(b"SSH-2.0-OpenSSH_9.2\r\n")}
        if by_digest:
            at = self.rng.random()
            ways["corrupt"] = b.rewrite(lambda data: flipped(data, at))
            ways["cut off"] = b.rewrite(lambda data: data[:int(len(data) * at)])
        name = self.rng.choice(sorted(ways))
        return name, ways[name]


def flipped(data, where):
    data = bytearray(data)
    if data:
        data[int(len(data) * where)] ^= 1
    return bytes(data)


# a disk of its own, and who fills it

@contextlib.contextmanager
def small_disk(directory, size=DISK):
    directory.mkdir()
    run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "stress", directory], check=True)
    (directory / "cache").mkdir(mode=0o700)
    try:
        yield directory
    finally:
        umount2(directory, MNT_DETACH)


def fill(disk, rng):
    """By others: all of it, or nearly."""
    with contextlib.suppress(OSError), open(disk / "filler", "ab", buffering=0) as file:
        left = os.statvfs(disk).f_bavail * 4096 - rng.choice([0, 0, 4096, 100_000, 1 << 20])
        for _ in range(max(0, left) >> 12):
            file.write(bytes(4096))


def free(disk):
    (disk / "filler").unlink(missing_ok=True)


# what is shared with the readers: a head, and a slot for each

HEAD = struct.Struct("<qq")  # 1: it is over; how often the worker was killed
SLOT = struct.Struct("<dqqqd192s")  # since when in a call, calls, refusals, late refusals, longest call, what
SLOT_SIZE = 256


class Board:
    def __init__(self, path):
        with open(path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), 0)

    def over(self, value=None):
        if value is not None:
            self.map[:8] = struct.pack("<q", value)
        return HEAD.unpack_from(self.map)[0]

    def kills(self, more=0):
        if more:
            self.map[8:16] = struct.pack("<q", self.kills() + more)
        return HEAD.unpack_from(self.map)[1]

    def slot(self, i):
        *numbers, what = SLOT.unpack_from(self.map, (i + 1) * SLOT_SIZE)
        return [*numbers, what.rstrip(b"\0").decode(errors="replace")]

    def set(self, i, *values):
        SLOT.pack_into(self.map, (i + 1) * SLOT_SIZE, *values)


# a reader

class Refused(Exception):
    """An errno that may be."""


class Wrong(Exception):
    """What must not be."""


_libc = ctypes.CDLL(None, use_errno=True)


def getdents(fd, size):
    """[(inode, offset of the next one, type, name)]; none at the end."""
    buffer = ctypes.create_string_buffer(size)
    got = _libc.syscall(217, fd, buffer, size)
    if got < 0:
        raise OSError(ctypes.get_errno(), "getdents64")
    found, at = [], 0
    while at < got:
        inode, offset, length, kind = struct.unpack_from("<QqHB", buffer, at)
        found.append((inode, offset, kind, os.fsdecode(buffer.raw[at + 19:at + length].split(b"\0")[0])))
        at += length
    return found


class Reader:
    def __init__(self, top, world, board, number, seed):
        self.top, self.directory, self.paths = top, *world
        self.board, self.number, self.rng = board, number, random.Random(seed)
        self.calls, self.refused, self.late, self.longest = self.board.slot(number)[1:5]
        self.files, self.directories, self.links = ([path for path,
                                                     what in sorted(self.paths.items()) if isinstance(what, kind)]
                                                    for kind in (File, Directory, Link))
        self.open = []  # [(fd, File, kills when it was opened)]
        self.errors = collections.Counter()

    def call(self, function, *args, allowed=ALLOWED, late=False, **more):
        """A system call, watched. late: of what is open; then `allowed` is so only if the worker was killed since."""
        what = f"{getattr(function, '__name__', function)} {args[:3]!r:.150}"
        start = time.monotonic()
        self.board.set(self.number, start, self.calls, self.refused, self.late, self.longest, what.encode()[:192])
        try:
            return function(*args, **more)
        except OSError as failure:
            if failure.errno not in allowed:
                raise Wrong(f"{errno.errorcode.get(failure.errno)}: {what}") from None
            self.errors[errno.errorcode[failure.errno]] += 1
            self.late += late
            self.refused += 1
            raise Refused from None
        finally:
            self.calls += 1
            self.longest = max(self.longest, time.monotonic() - start)
            self.board.set(self.number, 0.0, self.calls, self.refused, self.late, self.longest, what.encode()[:192])

    def expect(self, condition, *what):
        if not condition:
            raise Wrong(" ".join(str(part)[:300] for part in what))

    def some_file(self):
        path = self.rng.choice(self.files)
        return f"{self.top}/{path}", self.paths[path]

    def right(self, what, at, data, size):
        with open(self.directory / what.hex, "rb") as file:
            expected = os.pread(file.fileno(), size, at)
        self.expect(len(data) == len(expected) or 0 < len(data) < len(expected), "short:", len(data), len(expected),
                    what)
        self.expect(data == expected[:len(data)] and bool(data) == bool(expected), "other bytes:", what, at, size)

    def may(self, kills):
        """What a call on something that was open before may answer."""
        return ALLOWED if self.board.kills() != kills else set()

    def on_open(self, kills, function, *args, **more):
        try:
            return self.call(function, *args, allowed=ALLOWED, late=True, **more)
        except Refused:
            self.expect(self.may(kills), "a call on an open file failed, and no worker died:", function, args,
                        self.errors)
            raise

    # what it does

    def whole(self):
        path, what = self.some_file()
        kills = self.board.kills()
        fd = self.call(os.open, path, os.O_RDONLY)
        try:
            at = 0
            while True:
                size = self.rng.choice([1000, 4096, 65536, 1 << 20])
                data = self.on_open(kills, os.read, fd, size)
                self.right(what, at, data, size)
                at += len(data)
                if not data:
                    break
            self.expect(at == what.size, path, "is", at, "bytes")
        finally:
            os.close(fd)

    def keep_open(self):
        path, what = self.some_file()
        if len(self.open) >= 8:
            os.close(self.open.pop(0)[0])
        kills = self.board.kills()
        self.open.append((self.call(os.open, path, os.O_RDONLY), what, kills))

    def read_open(self):
        if not self.open:
            return
        fd, what, kills = self.rng.choice(self.open)
        size, at = self.rng.choice([1, 4096, 100_000]), self.rng.randrange(what.size + 5000)
        self.right(what, at, self.on_open(kills, os.pread, fd, size, at), size)
        self.expect(os.lseek(fd, 0, os.SEEK_END) == what.size, "the end of", what)

    def mapped(self):
        path, what = self.some_file()
        if what.size == 0:
            return
        fd = self.call(os.open, path, os.O_RDONLY)
        try:
            pages = mmap.mmap(fd, what.size, self.rng.choice([mmap.MAP_SHARED, mmap.MAP_PRIVATE]), mmap.PROT_READ)
        finally:
            os.close(fd)
        with pages:
            for _ in range(10):
                at = self.rng.randrange(what.size)
                self.right(what, at, self.call(pages.__getitem__, slice(at, at + 10_000)), 10_000)

    def stat(self):
        path = self.rng.choice(sorted(self.paths))
        what = self.paths[path]
        found = self.call(os.lstat, f"{self.top}/{path}")
        kind = {File: stat.S_IFREG, Directory: stat.S_IFDIR, Link: stat.S_IFLNK}[type(what)]
        self.expect(stat.S_IFMT(found.st_mode) == kind and found.st_ino, path, "is", found)
        if isinstance(what, File):
            self.expect((found.st_size, stat.S_IMODE(found.st_mode)) == (what.size, what.mode), path, found, what)

    def attributes(self):
        path, what = self.some_file()
        if self.rng.random() < 0.5:
            self.expect("user.oci.digest" in self.call(os.listxattr, path), path)
        name, value = self.rng.choice([("digest", what.digest), ("size", str(what.size))])
        found = self.call(os.getxattr, path, f"user.oci.{name}").decode()
        self.expect(found == value, path, name, found)

    def listing(self):
        path = self.rng.choice(self.directories)
        self.names(path, self.call(os.listdir, f"{self.top}/{path}"))

    def names(self, path, found):
        what = self.paths[path]
        self.expect(len(set(found)) == len(found), "twice in", path, sorted(found))
        self.expect(not what.whole or set(found) == what.names, path, "lists", sorted(found)[:20])
        self.expect(what.whole or set(found) <= what.names, path, "lists", sorted(found)[:20])

    def seek_in_listing(self):
        path = self.rng.choice(self.directories)
        kills = self.board.kills()
        fd = self.call(os.open, f"{self.top}/{path}", os.O_RDONLY | os.O_DIRECTORY)
        try:
            found = []
            while part := self.on_open(kills, getdents, fd, self.rng.choice([300, 1024, 4096])):
                found += part
            self.names(path, [name for *_, name in found if name not in (".", "..")])
            for _ in range(3):
                i = self.rng.randrange(len(found) - 1)
                os.lseek(fd, found[i][1], os.SEEK_SET)
                again = self.on_open(kills, getdents, fd, 300)
                self.expect(again and again[0][1:] == found[i + 1][1:], path, "after", found[i], "comes", again[:1])
        finally:
            os.close(fd)

    def walk(self):
        """By handles, one name after another, as a sandbox does."""
        path = self.rng.choice(self.files)
        *directories, name = path.split("/")
        at = self.call(os.open, self.top, os.O_PATH | os.O_DIRECTORY)
        try:
            for part in directories:
                below = self.call(os.open, part, os.O_PATH | os.O_DIRECTORY, dir_fd=at)
                os.close(at)
                at = below
            found = self.call(os.stat, name, dir_fd=at)
            self.expect(found.st_size == self.paths[path].size, path, found)
        finally:
            os.close(at)

    def reference(self):
        path = self.rng.choice(self.links)
        target = self.call(os.readlink, f"{self.top}/{path}")
        self.expect(target in self.paths[path].targets, path, "->", target)

    def moving(self):
        """Who is inside a tag's directory stays on one version of it."""
        at = self.call(os.open, f"{self.top}/demo/m/tags/latest", os.O_RDONLY | os.O_DIRECTORY)
        try:
            self.call(os.listdir, at)
            digest = self.call(os.getxattr, at, "user.oci.digest").decode()
            top = f"demo/m/manifests/sha256/{digest[7:]}"
            for name in ("main.wasm", "manifest.json", "config.json"):
                fd = self.call(os.open, name, os.O_RDONLY, dir_fd=at)
                try:
                    found = self.call(os.pread, fd, 10_000, 0)
                finally:
                    os.close(fd)
                self.right(self.paths[f"{top}/{name}"], 0, found, 10_000)
        finally:
            os.close(at)

    def index(self):
        repo = self.rng.choice(["w0", "w3", "f", "c"])
        kills = self.board.kills()
        fd = self.call(os.open, f"{self.top}/demo/{repo}/index.json", os.O_RDONLY)
        try:
            text = b""
            while part := self.on_open(kills, os.read, fd, 100):
                text += part
        finally:
            os.close(fd)
        found = [entry["digest"].replace("sha256:", f"{repo}/manifests/sha256/")
                 for entry in json.loads(text)["manifests"]]
        self.expect(found == list(self.paths[f"demo/{repo}:v1"].targets), repo, "index.json", text)

    def absent(self):
        path = self.rng.choice(["demo/w0:nope", "demo/w1:v1/nope", "demo/f/tags/v1/files/nope",
                                "demo/w2/blobs/sha256/" + "0" * 64,
                                f"demo/w0:x{self.rng.randrange(50)}/main.wasm", "demo/c:v1/files/usr/nope",
                                "Not.A.Name"])
        try:
            found = self.call(os.stat, f"{self.top}/{path}", allowed=ALLOWED | {errno.ENOENT})
        except Refused:
            return
        raise Wrong(f"{path} is there: {found}")

    def write(self):
        path, _ = self.some_file()
        action, *args = self.rng.choice([(os.open, path, os.O_RDWR), (os.unlink, path), (os.truncate, path, 0),
                                         (os.mkdir, self.top + "/demo/w0/New"), (os.rename, path, path + "x"),
                                         (os.chmod, path, 0o777)])
        try:
            self.call(action, *args, allowed=ALLOWED | {errno.EROFS})
        except Refused:
            return
        raise Wrong(f"{action} {args} was done")

    def space(self):
        self.expect(self.call(os.statvfs, self.top, allowed=set()).f_bfree == 0, "statfs")

    JOBS = ([whole] * 6 + [mapped] * 3 + [keep_open, stat, listing, seek_in_listing] * 2 + [read_open] * 4 +
            [attributes, walk, reference, moving, index, absent, write, space])

    def run(self):
        done = collections.Counter()
        while not self.board.over():
            job = self.rng.choice(self.JOBS)
            try:
                job(self)
                done[job.__name__] += 1
            except Refused:
                done[f"{job.__name__} refused"] += 1
            except Wrong as wrong:
                print(f"wrong {job.__name__}: {wrong}", flush=True)
        return done, self.errors


def reader_main(top, world, board, number, seed):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with open(world, "rb") as file:
        found = pickle.load(file)
    reader = Reader(top, found, Board(board), int(number), seed)
    try:
        done, errors = reader.run()
    except KeyboardInterrupt:
        os._exit(130)
    print("counts " + json.dumps([done, errors]), flush=True)


# the run

class Process:
    """A reader; the lines that it says go to `said` as they come."""

    def __init__(self, stress, number, seed):
        self.number = number
        self.process = subprocess.Popen([sys.executable, __file__, str(stress.m), str(stress.model),
                                         str(stress.board_path), str(number),
                                         str(seed)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                         stderr=subprocess.STDOUT,
                                        text=True, errors="replace", cwd="/")
        self.kills = stress.board.kills()
        self.expected = set()  # of the codes that it may end with: of the signals sent
        self.thread = threading.Thread(target=self.listen, args=(stress.said, f"reader {number}, seed {seed}"),
                                       daemon=True)
        self.thread.start()

    def listen(self, said, name):
        with self.process.stdout as lines:
            for line in lines:
                # What else it says is of a signal that came before it was ready, or of its own bug.
                if not self.expected or line.startswith(("wrong ", "counts ")):
                    said.append((name, line.rstrip("\n")))


class Stress:
    def __init__(self, m, world, registry, disk, seed, readers=8, kill_worker=True):
        self.m, self.world, self.registry, self.disk = m, world, registry, disk
        self.seed, self.readers, self.kill_worker = seed, readers, kill_worker
        self.rng, self.faults = random.Random(seed), Faults(seed)
        self.board_path, self.model = disk.parent / "board", disk.parent / "model"
        self.board_path.write_bytes(bytes((readers + 1) * SLOT_SIZE))
        self.board = Board(self.board_path)
        self.model.write_bytes(pickle.dumps((world.directory, world.paths)))
        self.said, self.wrong, self.counts = [], [], collections.Counter()
        self.peak = collections.Counter()
        self.before = None

    def run(self, seconds):
        """Raises AssertionError with all that was wrong, and the seed."""
        print(f"stress: seed {self.seed}, {self.readers} readers, {seconds} s")
        self.settle()
        self.before = self.descriptors()
        self.registry.on(None, "", self.faults)
        running = [Process(self, i, f"{self.seed}.{i}.0") for i in range(self.readers)]
        try:
            self.disturb(running, time.monotonic() + seconds)
            self.faults.release()
            free(self.disk)
            self.board.over(1)
            self.join(running)
        finally:
            self.faults.release()
            for process in running:
                process.process.kill()
                process.process.wait()
        self.tell()
        self.check_wrong()
        self.check_content()
        self.check_budgets()
        return self

    # while it runs

    def disturb(self, running, end):
        actions = [self.kill_reader] * 4 + [self.fill] * 3 + [self.free] * 3 + [self.move, self.drop_caches]
        actions += [self.kill_the_worker] * 2 if self.kill_worker else []
        pause, generation = threading.Event(), 0
        while time.monotonic() < end and len(self.said) < ENOUGH:
            pause.wait(self.rng.uniform(0, 0.3))
            self.rng.choice(actions)(running)
            self.counts["disturbances"] += 1
            for i, process in enumerate(running):
                if process.process.poll() is not None:
                    generation += 1
                    self.ended(process)
                    running[i] = Process(self, i, f"{self.seed}.{i}.{generation}")
            self.look_for_hangs(running)

    def kill_reader(self, running):
        process = self.rng.choice(running)
        number = self.rng.choice([signal.SIGKILL, signal.SIGINT])
        process.expected |= {-number, 130} | ({1} if number == signal.SIGINT else set())  # 1: before it was ready
        process.process.send_signal(number)
        self.counts[f"readers ended by {number.name}"] += 1

    def kill_the_worker(self, _):
        self.measure()
        self.board.kills(1)
        self.counts["workers killed"] += len(self.m.kill_worker())

    def fill(self, _):
        fill(self.disk, self.rng)
        self.counts["disk filled"] += 1

    def free(self, _):
        free(self.disk)

    def move(self, _):
        self.world.move(self.rng)

    def drop_caches(self, _):
        pathlib.Path("/proc/sys/vm/drop_caches").write_text(self.rng.choice(["1\n", "2\n", "3\n"]))

    def measure(self):
        for name, pids in (("keeper", [self.m.pid()]), ("worker", children_of(self.m.pid()))):
            for pid in pids:
                with contextlib.suppress(OSError):
                    status = pathlib.Path(f"/proc/{pid}/status").read_text()
                    peak = re.search(r"VmHWM:\s+(\d+)", status)  # none of one that has ended
                    self.peak[name] = max(self.peak[name], int(peak[1]) / 1024 if peak else 0)

    def look_for_hangs(self, running):
        now = time.monotonic()
        for process in running:
            since, *_, what = self.board.slot(process.number)
            if since and now - since > DEADLINE * SLOW and process.process.poll() is None:
                where = dump_threads(process.process.pid)
                raise AssertionError(f"seed {self.seed}: a reader is in {what!r} for {now - since:.1f} s:\n{where}\n" +
                                     self.m.dump())

    def ended(self, process):
        """One that nobody asked for is wrong. But mapped pages of a file that is gone from the cache are fetched anew
        by the next worker, which may fail."""
        code = process.process.wait()
        process.thread.join()
        if code in process.expected or (code == 0 and self.board.over()):
            return
        if code == -signal.SIGBUS and self.board.kills() != process.kills:
            self.counts["SIGBUS after a kill"] += 1
            return
        self.wrong.append(f"reader {process.number} ended with {code} in {self.board.slot(process.number)[-1]!r}")

    def join(self, running):
        end = time.monotonic() + DEADLINE * SLOW
        for process in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.process.wait(max(0, end - time.monotonic()))
        self.look_for_hangs(running)
        for process in running:
            assert process.process.poll() is not None, f"seed {self.seed}: reader {process.number} does not end"
            self.ended(process)

    # afterwards

    def tell(self):
        for name, line in self.said:
            if line.startswith("counts "):
                for part in json.loads(line[7:]):
                    self.counts.update(part)
            else:
                self.wrong.append(f"{name}: {line}")
        slots = [self.board.slot(i) for i in range(self.readers)]
        self.counts.update(calls=sum(slot[1] for slot in slots), refusals=sum(slot[2] for slot in slots),
                           late=sum(slot[3] for slot in slots))
        self.longest = max(slot[4] for slot in slots)

    def check_wrong(self):
        self.measure()
        first = "\n".join(sorted(self.wrong, reverse=True)[:20])
        assert not self.wrong, f"seed {self.seed}: {len(self.wrong)} wrong:\n{first}\n{self.report()}"
        for name, limit in (("worker", PEAK_WORKER), ("keeper", PEAK_KEEPER)):
            assert self.peak[name] < limit * SLOW, f"{name}: {self.peak[name]} MiB at the most"
        assert self.longest < DEADLINE * SLOW, f"a call took {self.longest} s"
        assert self.counts["refusals"] < self.counts["calls"] / 2 and self.faults.counts, self.report()

    def check_content(self):
        """Everything, right, with no error; once what was asked before has ended, and no host is known to be down."""
        until(self.is_idle, 30, "everything being answered")
        until(self.is_well, 20, "the registry being asked again")
        for path, what in sorted(self.world.paths.items()):
            start = time.monotonic()
            try:
                self.check_one(self.m / path, what)
            except OSError as failure:
                why = run([self.m.binary, "why", self.m / path], env=self.m.env)
                log = "\n".join(self.m.log.text().splitlines()[-10:])
                raise AssertionError(f"seed {self.seed}: {failure} after {time.monotonic() - start:.2f} s, and nothing "
                                     f"fails any more:\n{why.out}{why.err}{log}\n{self.registry.log[-10:]}") from None

    def check_one(self, place, what):
        if isinstance(what, File):
            assert hashlib.sha256(read(place)).hexdigest() == what.hex, place
            assert os.stat(place).st_size == what.size, place
        elif isinstance(what, Link):
            assert os.readlink(place) in what.targets, place
        else:
            assert what.names == set(os.listdir(place)) or not what.whole, place

    def is_well(self):
        """Looks, so that the host is tried."""
        with contextlib.suppress(OSError):
            return "v1" in os.listdir(self.m / "demo/w0/tags") and all(host["state"] == "ok"
                                                                       for host in self.m.status()["hosts"])

    def is_idle(self):
        found = self.m.status()
        return (found["parked"], found["fetches"], found["open_files"]) == (0, 0, 0)

    def settle(self):
        os.statvfs(self.m)
        until(lambda: self.m.status()["open_files"] == 0, what="files closed")

    def check_budgets(self):
        until(self.is_idle, 30, "everything being closed")
        pathlib.Path("/proc/sys/vm/drop_caches").write_text("3\n")
        until(lambda: self.m.status()["nodes"] < 60, 30, "nodes being forgotten")
        found = self.m.status()
        assert found["cache"]["memory_bytes"] <= 64 << 20, found
        assert found["cache"]["bytes"] <= found["cache"]["limit"], found
        assert found["cache"]["bytes"] == self.used(), f"{self.used()} bytes on the disk: {found}"
        try:
            until(self.has_few_descriptors, 30)
        except AssertionError:
            raise AssertionError(f"descriptors: {self.before} at first, {self.descriptors()} now: "
                                 f"{sorted(self.m.fds().values())}") from None
        self.measure()

    def used(self):
        """Bytes on the cache's disk, of what counts."""
        return sum(path.stat().st_blocks * 512 for top in ("blobs", "partial")
                   for path in (self.disk / "cache" / top).rglob("*") if path.is_file())

    def has_few_descriptors(self):
        now = self.descriptors()
        return (now["keeper"] <= self.before["keeper"] and now["worker"] <= self.before["worker"] and
                now["blobs"] <= IDLE_BLOBS and now["deleted"] == 0)

    def descriptors(self):
        """How many. Connections are kept for a while, and so are files of the cache, but none that is deleted."""
        targets = [target for target in self.m.fds().values() if not target.startswith("socket:")]
        blobs = [target for target in targets if target.startswith((f"{self.disk}/cache/blobs/",
                                                                    "/memfd:wasmocifs-blob"))]
        return {"keeper": len(os.listdir(f"/proc/{self.m.pid()}/fd")), "worker": len(targets) - len(blobs),
                "blobs": len(blobs),
                "deleted": sum(target.startswith(str(self.disk)) and target.endswith(" (deleted)") for target in blobs)}

    def report(self):
        lines = [f"{name}: {count}" for name, count in sorted(self.counts.items())]
        lines += [f"faults: {dict(self.faults.counts)} of {len(self.registry.log)} requests"]
        lines += [f"longest call: {self.longest:.1f} s; peak RSS: " +
                  ", ".join(f"{name} {mib:.1f} MiB" for name, mib in sorted(self.peak.items()))]
        return "stress: " + "\n        ".join(lines)


if __name__ == "__main__":
    import stress  # so that its classes have the same names on both sides
    stress.reader_main(*sys.argv[1:])
