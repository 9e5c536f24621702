# SPDX-License-Identifier: Apache-2.0
"""A read-only file system, call by call: what each must refuse, and what each must give, wherever it is made.

What is refused is compared with what the same kernel says of a tmpfs that is mounted read-only. What test_runtime.py,
test_listing.py and test_rootfs.py show of mappings, listings and links is not shown again.
"""

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import random
import shutil
import socket
import stat
import struct
import subprocess
import sys
import tempfile
from errno import (EACCES, EBADF, EINVAL, EISDIR, ELOOP, ENAMETOOLONG, ENOENT, ENOEXEC, ENOTDIR, ENOTTY, ENXIO,
                   EOPNOTSUPP, EPERM, EROFS, EXDEV)

import pytest

import samples
from harness import NOBODY, raises, read, run, scaled, umount2, until

_libc = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW = -100, 0x1000, 0x100
SYS = {"readahead": 187, "getdents64": 217, "fallocate": 285, "name_to_handle_at": 303, "open_by_handle_at": 304,
       "renameat2": 316, "statx": 332, "openat2": 437, "faccessat2": 439}


def call(name, *args):
    """A system call by name; strings and paths are passed as C strings."""
    converted = [os.fsencode(arg) if isinstance(arg, (str, os.PathLike)) else arg for arg in args]
    converted = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in converted]
    found = _libc.syscall(ctypes.c_long(SYS[name]), *converted)
    if found < 0:
        raise OSError(ctypes.get_errno(), f"{name}{args}")
    return found


FILES = {"f.txt": b"text\n" * 1000, "run.wasm": samples.wasm(9000), "d/g": b"g", "d/e/deep": samples.noise(70_000),
         "empty": b"", "big": samples.noise((2 << 20) + 5, 3)}


@pytest.fixture
def image(registry):
    return samples.push_files(registry.store, "demo/app", "v1", FILES)


@pytest.fixture
def top(mount, image):
    """The mount, for all users, with everything of the image seen once."""
    m = mount(None, "--allow-other")
    assert read(m / "demo/app:v1/files/f.txt") == FILES["f.txt"]
    return m


@pytest.fixture
def files(top, image):
    return top / f"demo/app/manifests/sha256/{image.hex}/files"


@contextlib.contextmanager
def become(user):
    """This process, for a while: none, or another user in no group."""
    if user is None:
        yield
        return
    os.setgroups([])
    os.setegid(user)
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


# what changes something

def writes_to(path):
    """What changes what is there: {name: function}. Of a symbolic link, what it leads to."""
    return {
        "O_WRONLY": lambda: opening(path, os.O_WRONLY), "O_RDWR": lambda: opening(path, os.O_RDWR),
        "O_APPEND": lambda: opening(path, os.O_WRONLY | os.O_APPEND),
        "O_TRUNC": lambda: opening(path, os.O_RDONLY | os.O_TRUNC),
        "O_WRONLY|O_TRUNC": lambda: opening(path, os.O_WRONLY | os.O_TRUNC),
        "O_RDWR|O_DIRECT": lambda: opening(path, os.O_RDWR | os.O_DIRECT),
        "O_CREAT|O_WRONLY": lambda: opening(path, os.O_WRONLY | os.O_CREAT), "truncate": lambda: os.truncate(path, 1),
        "chmod": lambda: os.chmod(path, 0o600), "chown": lambda: os.chown(path, 1, 1),
        "lchown": lambda: os.lchown(path, 1, 1),
        "utime": lambda: os.utime(path, (1, 1)), "utime now": lambda: os.utime(path),
        "lutime": lambda: os.utime(path, (1, 1), follow_symlinks=False),
        "setxattr": lambda: os.setxattr(path, "user.x", b"y"),
        "setxattr of ours": lambda: os.setxattr(path, "user.oci.digest", b"y"),
        "setxattr trusted": lambda: os.setxattr(path, "trusted.x", b"y"),
        "setxattr security": lambda: os.setxattr(path, "security.capability",
                                                 struct.pack("<IIIII", 0x02000001, 1, 0, 0, 0)),
        "setxattr acl": lambda: os.setxattr(path, "system.posix_acl_access",
                                            struct.pack("<IHHIHHIHHI", 2, 1, 7, 2**32 - 1, 4, 7, 2**32 - 1, 32, 7,
                                                        2**32 - 1)),
        "removexattr": lambda: os.removexattr(path, "user.oci.digest"), "unlink": lambda: os.unlink(path),
        "link from": lambda: os.link(path, os.path.dirname(path) + "/Fresh Link"),
        "rename away": lambda: os.rename(path, os.path.dirname(path) + "/Fresh Name"),
        "renameat2 noreplace": lambda: call("renameat2", AT_FDCWD, path, AT_FDCWD,
                                            os.path.dirname(path) + "/Fresh Name", 1),
        "renameat2 whiteout": lambda: call("renameat2", AT_FDCWD, path, AT_FDCWD,
                                           os.path.dirname(path) + "/Fresh Name", 4),
        "faccessat2": lambda: call("faccessat2", AT_FDCWD, path, os.W_OK, 0x200),
    }


def writes_below(directory):
    """What makes a name that is not there."""
    name = f"{directory}/Fresh"
    return {
        "creat": lambda: opening(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600),
        "O_CREAT|O_RDONLY": lambda: opening(name, os.O_CREAT, 0o600),
        "mkdir": lambda: os.mkdir(name), "mkdir/": lambda: os.mkdir(name + "/"),
        "mknod": lambda: os.mknod(name, stat.S_IFREG | 0o600),
        "fifo": lambda: os.mkfifo(name), "node of a socket": lambda: os.mknod(name, stat.S_IFSOCK | 0o600),
        "symlink": lambda: os.symlink("x", name),
        "O_TMPFILE": lambda: opening(directory, os.O_TMPFILE | os.O_RDWR), "bind": lambda: bound(name),
    }


def bound(path):
    """A unix socket at a path that may be longer than an address takes."""
    directory = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(f"/proc/self/fd/{directory}/{os.path.basename(path)}")
    finally:
        os.close(directory)


def outcome(action):
    """The name of the errno, or "ok"."""
    try:
        action()
    except OSError as failure:
        return errno.errorcode[failure.errno]
    return "ok"


def opening(*args, **more):
    os.close(os.open(*args, **more))


@pytest.fixture
def like(work):
    """What the kernel says of the same names on a tmpfs that is mounted read-only."""
    place = work / "like"
    place.mkdir()
    run(["mount", "-t", "tmpfs", "-o", "nosuid,nodev,size=8M", "like", place], check=True)
    for name, data in FILES.items():
        path = place / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o555 if name.endswith(".wasm") else 0o444)
    for directory in (place, place / "files", place / "files/d", place / "files/d/e"):
        directory.chmod(0o555)
    (place / "link").symlink_to("files/f.txt")
    (place / "to-directory").symlink_to("files")
    run(["mount", "-o", "remount,ro", place], check=True)
    try:
        yield place
    finally:
        assert umount2(str(place), 0) == 0


@pytest.mark.parametrize("user", [None, NOBODY], ids=["root", "another user"])
def test_nothing_is_written(top, files, like, user):
    """Each call is refused, as the kernel itself does it over a read-only mount."""
    places = {"file": (files / "f.txt", like / "files/f.txt"), "program": (files / "run.wasm", like / "files/run.wasm"),
              "directory": (files / "d", like / "files/d"), "link": (top / "demo/app:v1", like / "to-directory")}
    wrong = []
    with become(user):
        for kind, (ours, theirs) in places.items():
            for name, action in writes_to(str(ours)).items():
                compare(wrong, f"{name} of a {kind}", action, writes_to(str(theirs))[name])
        for ours, theirs in ((files, like / "files"), (files / "d/e", like / "files/d/e")):
            for name, action in writes_below(str(ours)).items():
                compare(wrong, f"{name} in {ours.name}", action, writes_below(str(theirs))[name])
    assert not wrong, "\n".join(wrong)
    assert read(files / "f.txt") == FILES["f.txt"]
    assert sorted(os.listdir(files)) == sorted({name.split("/")[0] for name in FILES})


def compare(wrong, what, ours, theirs, may=False):
    found, expected = outcome(ours), outcome(theirs)
    if found != expected or found == "ok" and not may:
        wrong.append(f"{what}: {found}, and {expected} on a read-only tmpfs")


HARMLESS = ("fsync", "fdatasync of a directory", "fsync of a directory", "syncfs", "lease", "release",
            "O_CREAT of what is there")


def test_nothing_is_written_through_descriptors(top, files, like):
    """Of what is open for reading, again as over a read-only tmpfs; and an O_PATH handle is no way in."""
    def by_descriptor(path, directory, scratch, opened):
        fd, handle, directory = (opened(*args) for args in ((path, os.O_RDONLY), (path, os.O_PATH),
                                                            (directory, os.O_RDONLY | os.O_DIRECTORY)))
        proc = f"/proc/self/fd/{fd}"
        return {
            "write": lambda: os.write(fd, b"x"), "pwrite": lambda: os.pwrite(fd, b"x", 0),
            "ftruncate": lambda: os.ftruncate(fd, 0),
            "fchmod": lambda: os.fchmod(fd, 0o600), "fchown": lambda: os.fchown(fd, 1, 1),
            "futimens": lambda: os.utime(fd, (1, 1)),
            "fsetxattr": lambda: os.setxattr(fd, "user.x", b"y"),
            "fremovexattr": lambda: os.removexattr(fd, "user.oci.digest"),
            "fallocate": lambda: os.posix_fallocate(fd, 0, 10), "punch": lambda: call("fallocate", fd, 3, 0, 4096),
            "copy in": lambda: os.copy_file_range(scratch, fd, 10),
            "sendfile in": lambda: os.sendfile(fd, scratch, 0, 10),
            "splice in": lambda: os.splice(pipe_with(opened, b"x"), fd, 1),
            "reflink in": lambda: fcntl.ioctl(fd, 0x40049409, scratch),
            "dedupe": lambda: fcntl.ioctl(scratch, 0x40049409, fd),
            "writable mapping": lambda: mmap.mmap(fd, 100, mmap.MAP_SHARED, mmap.PROT_WRITE),
            "reopen": lambda: opening(proc, os.O_RDWR),
            "reopen O_PATH": lambda: opening(f"/proc/self/fd/{handle}", os.O_WRONLY),
            "truncate O_PATH": lambda: os.truncate(f"/proc/self/fd/{handle}", 0),
            "fchmod O_PATH": lambda: os.fchmod(handle, 0o600),
            "mkdirat": lambda: os.mkdir("Fresh", dir_fd=directory),
            "unlinkat": lambda: os.unlink("f.txt", dir_fd=directory),
            "rmdir": lambda: os.rmdir("d", dir_fd=directory), "rmdir .": lambda: os.rmdir(".", dir_fd=directory),
            "rmdir empty": lambda: os.rmdir("d/e", dir_fd=directory),
            "openat": lambda: opening("Fresh", os.O_CREAT | os.O_RDWR, dir_fd=directory),
            "linkat handle": lambda: os.link(f"/proc/self/fd/{handle}", "Fresh", dst_dir_fd=directory,
                                             follow_symlinks=True),
            "rename to": lambda: os.rename(f"/proc/self/fd/{scratch}", "Fresh", dst_dir_fd=directory),
            "exchange": lambda: call("renameat2", directory, "f.txt", directory, "empty", 2),
            "mkdir that is there": lambda: os.mkdir("d", dir_fd=directory),
            "mknod that is there": lambda: os.mknod("f.txt", dir_fd=directory),
            "symlink that is there": lambda: os.symlink("x", "f.txt", dir_fd=directory),
            "O_EXCL": lambda: opening("f.txt", os.O_CREAT | os.O_EXCL | os.O_RDWR, dir_fd=directory),
            "O_CREAT of what is there": lambda: opening("f.txt", os.O_CREAT | os.O_RDONLY, dir_fd=directory),
            "rename over": lambda: os.rename("f.txt", "empty", src_dir_fd=directory, dst_dir_fd=directory),
            "rmdir of a file": lambda: os.rmdir("f.txt", dir_fd=directory),
            "unlink of a directory": lambda: os.unlink("d", dir_fd=directory),
            "unlink of nothing": lambda: os.unlink("Nope", dir_fd=directory),
            "truncate of nothing": lambda: os.truncate(f"{path}.Nope", 0),
            "rename of nothing": lambda: os.rename("Nope", "Nope2", src_dir_fd=directory, dst_dir_fd=directory),
            "fsync": lambda: os.fsync(fd), "fdatasync of a directory": lambda: os.fdatasync(directory),
            "fsync of a directory": lambda: os.fsync(directory), "syncfs": lambda: _libc.syncfs(fd),
            "lease": lambda: fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK),
            "release": lambda: fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK),
            "seal": lambda: fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE),
        }
    with tempfile.TemporaryFile() as scratch, descriptors() as opened:
        scratch.write(bytes(4096))
        scratch.flush()
        wrong = []
        theirs = by_descriptor(like / "files/f.txt", like / "files", scratch.fileno(), opened)
        for name, action in by_descriptor(files / "f.txt", files, scratch.fileno(), opened).items():
            compare(wrong, name, action, theirs[name], may=name in HARMLESS)
        assert not wrong, "\n".join(wrong)
    assert read(files / "f.txt") == FILES["f.txt"]


@contextlib.contextmanager
def descriptors():
    """opened(path, flags, …): as os.open, closed at the end. opened.keep(fd): closed too."""
    with contextlib.ExitStack() as stack:
        def keep(fd):
            stack.callback(os.close, fd)
            return fd

        def opened(*args, **more):
            return keep(os.open(*args, **more))
        opened.keep = keep
        yield opened


def pipe_with(opened, data):
    reading, writing = map(opened.keep, os.pipe())
    os.write(writing, data)
    return reading


# names and paths

def test_names_at_their_limits(mount, registry):
    """The longest that a directory may hold is there; a longer one is not grammatical, which is ENOENT (DESIGN 2.4)."""
    longest = "t" * 250 + ".bin"
    longest += "x" * (255 - len(longest))
    samples.push_files(registry.store, "demo/app", "v1", {longest: b"long"})
    m = mount()
    files = m / "demo/app:v1/files"
    assert os.listdir(files) == [longest] and read(files / longest) == b"long"
    registry.store.tag("demo/app", "t" * 128, registry.store.find("demo/app").tags["v1"])
    assert read(m / f"demo/app:{'t' * 128}/files/{longest}") == b"long"
    assert read(m / f"demo/app/tags/{'t' * 128}/files/{longest}") == b"long"
    for place in (m, m / "demo", m / "demo/app/tags", m / "demo/app:v1", files):
        for name in ("N" * 255, "n" * 256, "N" * 300, "n" * 1024, "n" * 1025, "n" * 3900, "\udcff" * 255):
            with raises(ENOENT, ENAMETOOLONG):
                os.stat(place / name)
            with raises(EROFS, ENOENT, ENAMETOOLONG):
                os.mkdir(place / name)


@pytest.mark.parametrize("name",
                         [b"\xff\xfe", b"a\nb", b" ", b"\x01", b"\\", b"*", b"a\tb", "\u00e9".encode(),
                          "e\u0301".encode(), b"\x7f", b"-", b"~", b"'", b"%2e%2e", b"..."])
def test_odd_names_are_not_there(top, files, name, registry):
    asked = registry.count()
    for place in (top, top / "demo", top / "demo/app:v1", files):
        with raises(ENOENT):
            os.lstat(os.fsencode(place) + b"/" + name)
        with raises(ENOENT):
            os.open(os.fsencode(place) + b"/" + name + b"/x", os.O_RDONLY)
    assert registry.count() == asked


def test_a_path_of_every_length(top):
    """Directories as deep as a path may name; deeper ones by handles; and back by .. from there."""
    part = "/" + "x" * 100
    path = str(top)
    while len(path) + len(part) < 4095:
        path += part
    path += "/" + "y" * (4095 - len(path) - 1) if len(path) < 4094 else ""
    depth = path.count("/") - str(top).count("/")
    found = outcome(lambda: os.stat(path))
    assert found in ("ok", "ENOENT", "ENAMETOOLONG"), found
    with raises(ENAMETOOLONG):
        os.stat(path + "yy")
    with descriptors() as opened:
        at, went = opened(top, os.O_PATH | os.O_DIRECTORY), 0
        with contextlib.suppress(OSError):
            while went < 200:
                at = opened("z", os.O_PATH | os.O_DIRECTORY, dir_fd=at)
                went += 1
        assert went > 2
        for _ in range(went):
            at = opened("..", os.O_PATH | os.O_DIRECTORY, dir_fd=at)
        assert os.path.samestat(os.stat(at), os.stat(top))
    assert depth > 20


def test_dots_and_slashes(top, files, image):
    text = files / "f.txt"
    assert os.path.samestat(os.stat(f"{files}/d/../f.txt"), os.stat(text))
    assert os.path.samestat(os.stat(f"{files}/./d/e/./../../f.txt"), os.stat(text))
    assert os.path.samestat(os.stat(f"{files}//d///e"), os.stat(files / "d/e"))
    assert os.path.samestat(os.stat(f"{top}/demo/app:v1/.."),
                            os.stat(top / "demo/app/manifests/sha256")), "a link's target decides"
    assert os.path.samestat(os.stat(f"{top}/.."), os.stat(top.path.parent))
    assert stat.S_ISLNK(os.lstat(top / "demo/app:v1").st_mode) and stat.S_ISDIR(os.lstat(f"{top}/demo/app:v1/").st_mode)
    for path in (f"{text}/", f"{text}/.", f"{text}/..", f"{text}/x"):
        with raises(ENOTDIR):
            os.stat(path)
    for path in (f"{files}/nope/..", f"{files}/nope/"):
        with raises(ENOENT):
            os.stat(path)
    with raises(ENOTDIR):
        os.open(text, os.O_RDONLY | os.O_DIRECTORY)
    with raises(EISDIR, EROFS):
        os.open(files, os.O_RDWR)
    fd = os.open(files, os.O_RDONLY)
    with raises(EISDIR):
        os.read(fd, 10)
    os.close(fd)
    with raises(EINVAL):
        os.readlink(text)
    with raises(ENOENT):
        os.stat("")


def test_links_that_are_not_followed(top, files, image):
    link = top / "demo/app:v1"
    for flags in (os.O_RDONLY, os.O_RDONLY | os.O_DIRECTORY):
        with raises(ELOOP, ENOTDIR):
            os.open(link, flags | os.O_NOFOLLOW)
    with descriptors() as opened:
        handle = opened(link, os.O_PATH | os.O_NOFOLLOW)
        assert stat.S_ISLNK(os.fstat(handle).st_mode) and os.fstat(handle).st_ino == os.lstat(link).st_ino
        assert os.readlink("", dir_fd=handle) == os.readlink(link)
        below = opened(top, os.O_PATH)
        for part in f"demo/app/manifests/sha256/{image.hex}/files/d/e".split("/"):
            below = opened(part, os.O_PATH | os.O_NOFOLLOW, dir_fd=below)
        fd = opened("deep", os.O_RDONLY | os.O_NOFOLLOW, dir_fd=below)
        assert os.pread(fd, 1 << 20, 0) == FILES["d/e/deep"]
        path = opened("deep", os.O_PATH, dir_fd=below)
        with raises(EBADF):
            os.read(path, 10)
        assert read(f"/proc/self/fd/{path}") == FILES["d/e/deep"]
        assert os.fstat(path).st_size == len(FILES["d/e/deep"])


BENEATH, NO_SYMLINKS, NO_XDEV, IN_ROOT, NO_MAGICLINKS, CACHED = 8, 4, 1, 16, 2, 32


def openat2(directory, path, resolve, flags=os.O_RDONLY):
    return call("openat2", directory, path, struct.pack("<QQQ", flags | os.O_CLOEXEC, 0, resolve), 24)


def test_openat2(top, files, image):
    """What sandboxes (WASI runtimes, container engines) ask the kernel for."""
    with descriptors() as opened:
        root, inside = opened(top, os.O_PATH), opened(files, os.O_PATH)
        kept = opened.keep
        for resolve in (BENEATH, NO_SYMLINKS, NO_XDEV, IN_ROOT, NO_MAGICLINKS,
                        BENEATH | NO_SYMLINKS | NO_XDEV | NO_MAGICLINKS):
            assert os.pread(kept(openat2(inside, "d/g", resolve)), 10, 0) == b"g"
        assert os.pread(kept(openat2(root, "demo/app:v1/files/d/g", BENEATH | NO_XDEV)), 10,
                        0) == b"g", "links stay inside"
        assert os.pread(kept(openat2(root, "/demo/app:v1/files/d/g", IN_ROOT)), 10, 0) == b"g"
        with raises(ELOOP):
            openat2(root, "demo/app:v1/files/d/g", NO_SYMLINKS)
        with raises(EXDEV):
            openat2(inside, "../manifest.json", BENEATH)
        with raises(EXDEV):
            openat2(root, "../", NO_XDEV)
        with raises(EXDEV):
            openat2(AT_FDCWD, str(top / "demo"), NO_XDEV)
        assert os.pread(kept(openat2(inside, "d/g", CACHED)), 10, 0) == b"g", "what is known is found without asking"
        with raises(EROFS):
            openat2(inside, "d/g", BENEATH, os.O_RDWR)
        with raises(EROFS):
            openat2(inside, "Fresh", BENEATH, os.O_RDWR | os.O_CREAT)


# attributes

def test_access(top, files, like):
    pairs = [(files / "f.txt", like / "files/f.txt"), (files / "run.wasm", like / "files/run.wasm"),
             (files / "d", like / "files/d"),
             (files / "Nope", like / "files/Nope")]
    for user in (None, NOBODY):
        with become(user):
            for mode in range(8):
                for flags in (0, 0x200, AT_SYMLINK_NOFOLLOW | 0x200):
                    for ours, theirs in pairs:
                        found, expected = (outcome(lambda: call("faccessat2", AT_FDCWD, path, mode, flags))
                                           for path in (ours, theirs))
                        assert found == expected, (user, ours, mode, flags)


def statx(path, mask, flags=0, directory=AT_FDCWD):
    """(mask, inode, size, mode, attributes, mount id, birth)"""
    buffer = ctypes.create_string_buffer(256)
    call("statx", directory, path, flags, mask, ctypes.byref(buffer))
    found, _, attributes, _, _, _, mode = struct.unpack_from("<IIQIIIH", buffer)
    inode, size = struct.unpack_from("<QQ", buffer, 32)
    return found, inode, size, mode, attributes


@pytest.mark.parametrize("flags", [0, 0x2000, 0x4000, 0x800],
                         ids=["as stat", "force sync", "dont sync", "no automount"])
def test_statx(top, files, flags):
    expected = os.stat(files / "f.txt")
    for mask in (0, 1, 0x200, 0x7ff, 0xfff, 0x1000, 0x2000, 0x1fff):
        found, inode, size, mode, attributes = statx(files / "f.txt", mask, flags)
        assert found & 0x7ff == 0x7ff, "all that stat tells is told"
        assert (inode, size, mode) == (expected.st_ino, expected.st_size, expected.st_mode)
        assert attributes & ~0x2000 == 0, "not a root of a mount, not compressed, no file of verity"
    with descriptors() as opened:
        fd = opened(files / "f.txt", os.O_PATH)
        assert statx("", 0x7ff, flags | AT_EMPTY_PATH, fd)[1:3] == (expected.st_ino, expected.st_size)
    assert statx(top / "demo/app:v1", 0x7ff, flags | AT_SYMLINK_NOFOLLOW)[3] & 0o170000 == stat.S_IFLNK
    with raises(EINVAL):
        statx(files / "f.txt", 0x80000000)


def test_statfs_everywhere(top, files):
    with descriptors() as opened:
        places = [top.path, top / "demo", top / "demo/app:v1", files / "f.txt", files / "d",
                  opened(files / "f.txt", os.O_RDONLY), opened(files, os.O_RDONLY), opened(files / "f.txt", os.O_PATH)]
        found = [os.statvfs(place) for place in places]
    # Without what is cached, which grows meanwhile.
    same = {(one.f_bsize, one.f_frsize, one.f_bfree, one.f_ffree, one.f_namemax, one.f_flag, one.f_fsid) for one in found}
    assert len(same) == 1 and found[0].f_namemax == 255


def test_handles_by_name(files):
    """A handle that is given opens the same file, or is refused."""
    handle = ctypes.create_string_buffer(struct.pack("<Ii", 128, 0) + bytes(128))
    mount_id = ctypes.c_int()
    with contextlib.suppress(OSError):
        call("name_to_handle_at", AT_FDCWD, files / "f.txt", ctypes.byref(handle), ctypes.byref(mount_id), 0)
        with descriptors() as opened:
            root = opened(files, os.O_RDONLY)
            try:
                fd = opened.keep(call("open_by_handle_at", root, ctypes.byref(handle), os.O_RDONLY))
                assert os.pread(fd, 10, 0) == FILES["f.txt"][:10]
            except OSError as failure:
                assert failure.errno in (errno.ESTALE, EOPNOTSUPP, EPERM)
    assert read(files / "f.txt") == FILES["f.txt"]


# directories

def getdents(fd, size=4096):
    """[(inode, offset of the next one, type, name)]"""
    buffer = ctypes.create_string_buffer(max(size, 1))
    got = call("getdents64", fd, ctypes.byref(buffer), size)
    found, at = [], 0
    while at < got:
        inode, offset, length, kind = struct.unpack_from("<QqHB", buffer, at)
        found.append((inode, offset, kind, os.fsdecode(buffer.raw[at + 19:at + length].split(b"\0")[0])))
        at += length
    return found


def all_entries(fd, size=4096):
    found = []
    while part := getdents(fd, size):
        found += part
    return found


@pytest.fixture
def many(mount, registry):
    """A directory of each kind, and how many names are in it."""
    titles = {f"f{'x' * (i % 200)}{i:04}": b"%d" % i for i in range(700)}
    image = samples.push_files(registry.store, "demo/app", "v1", titles)
    for i in range(400):
        registry.store.tag("demo/app", f"t{i:03}", image.digest)
    m = mount()
    return {"files": (m / "demo/app:v1/files", 700), "tags": (m / "demo/app/tags", 401),
            "layers": (m / "demo/app:v1/layers", 700)}


@pytest.mark.parametrize("which", ["files", "tags", "layers"])
@pytest.mark.parametrize("size", [280, 281, 300, 511, 1024, 4095, 4096, 4097, 65536, 1 << 20])
def test_buffers_of_odd_sizes(many, which, size):
    place, count = many[which]
    with descriptors() as opened:
        fd = opened(place, os.O_RDONLY | os.O_DIRECTORY)
        found = all_entries(fd, size)
        assert len(found) == count + 2 == len({name for *_, name in found})
        assert len({offset for _, offset, *_ in found}) == len(found), "an offset each"
        os.lseek(fd, 0, os.SEEK_SET)
        for i in random.Random(size).sample(range(len(found) - 1), 20):
            os.lseek(fd, found[i][1], os.SEEK_SET)
            assert getdents(fd, size)[0] == found[i + 1]
        for tiny in (1, 16, 23):
            os.lseek(fd, found[5][1], os.SEEK_SET)
            with raises(EINVAL):
                getdents(fd, tiny)
            assert getdents(fd, 512)[0] == found[6], "and nothing is lost"


@pytest.mark.parametrize("which", ["files", "tags", "layers"])
def test_seeks_to_anywhere(many, which):
    """An offset that nobody gave ends, or goes on in the same list; it neither hangs nor invents a name."""
    place, count = many[which]
    with descriptors() as opened:
        fd = opened(place, os.O_RDONLY | os.O_DIRECTORY)
        known = {name: (inode, kind) for inode, _, kind, name in all_entries(fd)}
        assert len(known) == count + 2
        for offset in (1, 2, 3, 1000, 2**31 - 1, 2**31, 2**32, 2**62, 2**63 - 1,
                       *(random.Random(5).randrange(2**63) for _ in range(20))):
            os.lseek(fd, offset, os.SEEK_SET)
            for inode, _, kind, name in all_entries(fd):
                assert known[name] == (inode, kind)
        for whence, offset in ((os.SEEK_SET, -1), (os.SEEK_END, 0), (os.SEEK_CUR, 5)):
            assert outcome(lambda: os.lseek(fd, offset, whence)) in ("ok", "EINVAL")
        os.lseek(fd, 0, os.SEEK_SET)
        assert len(all_entries(fd)) == count + 2


def test_offsets_of_another_time(mount, registry):
    """Those of a listing that is not any more: what both have comes once at most, and what lies after it comes."""
    image = samples.push_wasm(registry.store, "demo/app", "keep")
    names = [f"t{i:03}" for i in range(300)]
    for name in names:
        registry.store.tag("demo/app", name, image.digest)
    m = mount(None, "--list-ttl", "1s")
    with descriptors() as opened:
        before = all_entries(opened(m / "demo/app/tags", os.O_RDONLY | os.O_DIRECTORY))
        for name in names[::2]:
            registry.store.untag("demo/app", name)
        until(lambda: len(os.listdir(m / "demo/app/tags")) == 151, what="the new list")
        fd = opened(m / "demo/app/tags", os.O_RDONLY | os.O_DIRECTORY)
        now = [name for *_, name in all_entries(fd)]
        for inode, offset, _, name in before:
            os.lseek(fd, offset, os.SEEK_SET)
            rest = [entry[3] for entry in all_entries(fd)]
            assert len(set(rest)) == len(rest) and set(rest) <= set(now)
            if name in now:
                assert rest == now[now.index(name) + 1:], f"after {name}"


def test_positions_of_the_c_library(many):
    """telldir, seekdir and rewinddir, in any order; and a directory stream that is copied by dup shares its place."""
    place, count = many["files"]
    for name, result in (("opendir", ctypes.c_void_p), ("readdir64", ctypes.c_void_p), ("telldir", ctypes.c_long)):
        getattr(_libc, name).restype = result
    stream = ctypes.c_void_p(_libc.opendir(os.fsencode(place)))

    def next_name():
        entry = _libc.readdir64(stream)
        return os.fsdecode(ctypes.string_at(entry + 19)) if entry else None
    places = []
    while True:
        at = _libc.telldir(stream)
        name = next_name()
        places.append((at, name))
        if name is None:
            break
    assert len(places) == count + 3
    for at, name in random.Random(3).sample(places, 200):
        _libc.seekdir(stream, ctypes.c_long(at))
        assert _libc.telldir(stream) == at and next_name() == name
    _libc.rewinddir(stream)
    assert next_name() == places[0][1]
    _libc.closedir(stream)


def test_inodes_and_types_everywhere(top, files, registry):
    """What a listing says of each name is what stat says, in every directory that there is; . and .. too."""
    read(top / "demo/app:v1/main.wasm")
    looked = 0
    for directory, _, _ in os.walk(top, onerror=reraise):
        with descriptors() as opened:
            fd = opened(directory, os.O_RDONLY | os.O_DIRECTORY)
            for inode, _, kind, name in all_entries(fd):
                found = os.lstat(os.path.join(directory, name))
                if name != "..":
                    assert inode == found.st_ino, (directory, name)
                assert kind == stat.S_IFMT(found.st_mode) >> 12, (directory, name)
                looked += 1
    assert looked > 60
    run(["find", top, "-printf", ""], check=True)
    assert run(["find", top, "-samefile", files / "f.txt"], check=True).out.count("f.txt") >= 1


def reraise(failure):
    raise failure


def test_a_directory_that_is_removed_below_its_reader(many):
    """rmdir and unlink change nothing, and what is held open reads on."""
    place, count = many["files"]
    with descriptors() as opened:
        fd = opened(place, os.O_RDONLY | os.O_DIRECTORY)
        first = getdents(fd, 1024)
        for *_, name in first[2:]:
            with raises(EROFS):
                os.unlink(place / name)
        assert len(first) + len(all_entries(fd)) == count + 2


# reading

@pytest.fixture(params=["f.txt", "big"], ids=["ordinary", "passthrough"])
def content(request, files):
    return files / request.param, FILES[request.param]


def test_reads_that_must_not_wait(content):
    """RWF_NOWAIT gives what is in memory, or says EAGAIN (or that it cannot be asked for); never other bytes."""
    path, data = content
    with descriptors() as opened:
        fd = opened(path, os.O_RDONLY)
        buffer = bytearray(4096)
        for flags in (os.RWF_NOWAIT, os.RWF_HIPRI, os.RWF_NOWAIT | os.RWF_HIPRI, 0):
            for at in (0, 1, 4095, len(data) - 10):
                try:
                    n = os.preadv(fd, [buffer], at, flags)
                except OSError as failure:
                    assert failure.errno in (errno.EAGAIN, EOPNOTSUPP) and flags
                    continue
                assert n > 0 and buffer[:n] == data[at:at + n]


def test_advice(content):
    path, data = content
    with descriptors() as opened:
        fd = opened(path, os.O_RDONLY)
        for advice in range(6):
            os.posix_fadvise(fd, 0, 0, advice)
            os.posix_fadvise(fd, 4096, 1 << 30, advice)
            assert os.pread(fd, len(data) + 1, 0) == data
        call("readahead", fd, 0, len(data))
        call("readahead", fd, 1 << 40, 4096)
        pages = mmap.mmap(fd, 0, mmap.MAP_SHARED, mmap.PROT_READ)
        for advice in ("WILLNEED", "SEQUENTIAL", "RANDOM", "DONTNEED", "HUGEPAGE", "COLD", "PAGEOUT", "POPULATE_READ"):
            with contextlib.suppress(OSError, AttributeError):
                pages.madvise(getattr(mmap, f"MADV_{advice}",
                                      {"COLD": 20, "PAGEOUT": 21, "POPULATE_READ": 22}.get(advice)))
            assert pages[:] == data
        pages.close()


def test_direct_reads_of_every_alignment(content):
    """As a tmpfs or ext4 takes them, or EINVAL; never other bytes, and an end that is where it is."""
    path, data = content
    with descriptors() as opened:
        fd = opened(path, os.O_RDONLY | os.O_DIRECT)
        memory = mmap.mmap(-1, 1 << 16)
        for length in (512, 4096, 1 << 16, 100, 1):
            for at in (0, 512, 4096, len(data) // 4096 * 4096, len(data), len(data) + 4096, 1, 100):
                for shift in (0, 512, 1):
                    with memoryview(memory)[shift:shift + length] as view:
                        try:
                            n = os.preadv(fd, [view], at)
                        except OSError as failure:
                            assert failure.errno == EINVAL and (at | shift | length) % 512, (length, at, shift)
                            continue
                        assert view[:n] == data[at:at + n] and n == min(len(view), max(0, len(data) - at)), (length,
                                                                                                             at, shift)
        memory.close()
        again = opened(path, os.O_RDONLY)
        assert os.pread(again, len(data), 0) == data, "beside it, in the ordinary way"


def test_holes(content):
    path, data = content
    with descriptors() as opened:
        fd = opened(path, os.O_RDONLY)
        for at in (0, 1, len(data) - 1):
            assert os.lseek(fd, at, os.SEEK_DATA) == at and os.lseek(fd, at, os.SEEK_HOLE) == len(data)
        for at in (len(data), len(data) + 1, -1):
            for whence in (os.SEEK_DATA, os.SEEK_HOLE):
                with raises(ENXIO, *([EINVAL] if at < 0 else [])):
                    os.lseek(fd, at, whence)
        assert os.lseek(fd, 1 << 40, os.SEEK_SET) == 1 << 40 and os.read(fd, 10) == b""


def test_an_empty_file(files):
    path = files / "empty"
    assert read(path) == b"" and os.stat(path).st_size == 0 == os.stat(path).st_blocks
    with descriptors() as opened:
        fd = opened(path, os.O_RDONLY)
        for whence in (os.SEEK_DATA, os.SEEK_HOLE):
            with raises(ENXIO):
                os.lseek(fd, 0, whence)
        assert os.sendfile(opened("/dev/null", os.O_WRONLY), fd, 0, 100) == 0
        with raises(EINVAL):
            call_mmap(fd, 0)


def call_mmap(fd, length):
    _libc.mmap.restype = ctypes.c_void_p
    if _libc.mmap(None, ctypes.c_size_t(length), 1, 2, fd, ctypes.c_long(0)) == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), "mmap")


def test_copies_out(content, work):
    path, data = content
    with descriptors() as opened:
        source, target = opened(path, os.O_RDONLY), opened(work / "copy", os.O_RDWR | os.O_CREAT)
        for at, length in ((0, len(data)), (1, 4096), (4095, 3), (len(data) - 5, 100), (len(data), 10)):
            os.ftruncate(target, 0)
            try:
                n = os.copy_file_range(source, target, length, at, 0)
            except OSError as failure:
                assert failure.errno in (EXDEV, EOPNOTSUPP), "then the caller reads and writes"
                break
            assert n == len(os.pread(target, n + 1, 0)) and os.pread(target, n, 0) == data[at:at + n]
            assert n > 0 or at == len(data)
        reading, writing = map(opened.keep, os.pipe())
        for at in (0, 100, len(data) - 3):
            n = os.splice(source, writing, 1000, offset_src=at)
            assert os.read(reading, 2000) == data[at:at + n] and n > 0
        with raises(EXDEV, EOPNOTSUPP, EINVAL, EROFS, EBADF, ENOTTY):
            fcntl.ioctl(target, 0x40049409, source)  # FICLONE: cp --reflink=auto goes on without


# locks, watches, other ways in

def test_locks(content):
    """Several processes' read locks; a write lock through a descriptor that cannot write is EBADF, as everywhere."""
    path, data = content
    with descriptors() as opened:
        one, two = opened(path, os.O_RDONLY), opened(path, os.O_RDONLY)
        fcntl.flock(one, fcntl.LOCK_SH)
        fcntl.flock(two, fcntl.LOCK_SH | fcntl.LOCK_NB)
        with raises(errno.EAGAIN):
            fcntl.flock(two, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(one, fcntl.LOCK_UN)
        fcntl.flock(two, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.lockf(one, fcntl.LOCK_SH | fcntl.LOCK_NB, 10, 5)
        with raises(EBADF):
            fcntl.lockf(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert os.pread(two, 10, 0) == data[:10]


def test_watches(top, files):
    """inotify on files, directories and links is taken, hears of what is opened, and holds nothing up."""
    with descriptors() as opened:
        fd = opened.keep(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        for path in (files / "f.txt", files, top / "demo/app:v1", top):
            assert _libc.inotify_add_watch(fd, os.fsencode(path), 0xfff) > 0, path
        assert read(files / "f.txt") == FILES["f.txt"]
        heard = os.read(fd, 65536)
        assert heard
    os.listdir(files)


def test_a_program_that_is_none(top, files, image):
    """main.wasm is executable by its mode, and no kernel runs it (unless binfmt_misc is told how)."""
    with descriptors() as opened:
        for path in (files / "run.wasm", top / "demo/app:v1/main.wasm"):
            fd = opened(path, os.O_RDONLY)
            with subprocess.Popen([sys.executable, "-c",
                                   "import os, sys\ntry:\n os.execve(int(sys.argv[1]), ['x'], {})\n"
                                   "except OSError as e:\n print(e.errno)", str(fd)], pass_fds=(fd,),
                                   stdout=subprocess.PIPE) as child:
                assert int(child.communicate(timeout=30)[0]) == ENOEXEC
        with raises(EACCES):
            os.execv(files / "f.txt", ["x"])


def test_ioctls(top, files):
    """Those of attributes and extents answer as of a file system that has none."""
    with descriptors() as opened:
        for path in (files / "f.txt", files, files / "big"):
            fd = opened(path, os.O_RDONLY)
            for request, argument in ((0x80086601, bytes(8)), (0x801c581f, bytes(28)), (0x80087601, bytes(8)),
                                      (0x1234, bytes(64)), (0x5401, bytes(64))):
                with raises(ENOTTY, EOPNOTSUPP):
                    fcntl.ioctl(fd, request, argument)
            for request, argument in ((0x40086602, struct.pack("<q", 0x10)), (0x401c5820, bytes(28))):
                with raises(ENOTTY, EOPNOTSUPP, EROFS):
                    fcntl.ioctl(fd, request, argument)
            with raises(EOPNOTSUPP, ENOTTY):
                fcntl.ioctl(fd, 0xc020660b, bytes(32 + 56))  # FIEMAP
            assert outcome(lambda: fcntl.ioctl(fd, 1, bytes(4))) in ("EINVAL", "ok", "ENOTTY")  # FIBMAP


@pytest.mark.heavy
def test_many_threads_do_everything(top, files, registry):
    """One process, its descriptors shared by all its threads, as a server uses them."""
    from concurrent.futures import ThreadPoolExecutor
    expected = {name: data for name, data in FILES.items() if data}
    with descriptors() as opened:
        fds = {name: opened(files / name, os.O_RDONLY) for name in expected}
        directory = opened(files, os.O_RDONLY | os.O_DIRECTORY)
        pages = {name: mmap.mmap(fd, 0, mmap.MAP_SHARED, mmap.PROT_READ) for name, fd in fds.items()}

        def work(seed):
            rng = random.Random(seed)
            for _ in range(scaled(300, 60)):
                name, data = rng.choice(sorted(expected.items()))
                at = rng.randrange(len(data))
                piece = data[at:at + 10_000]
                job = rng.randrange(6)
                if job == 0:
                    assert os.pread(fds[name], len(piece), at) == piece
                elif job == 1:
                    assert pages[name][at:at + len(piece)] == piece
                elif job == 2:
                    fd = os.open(name, os.O_RDONLY, dir_fd=directory)
                    assert os.pread(fd, len(piece), at) == piece and os.fstat(fd).st_size == len(data)
                    os.close(fd)
                elif job == 3:
                    assert sorted(os.listdir(files)) == sorted({path.split("/")[0] for path in FILES})
                elif job == 4:
                    os.posix_fadvise(fds[name], 0, 0, os.POSIX_FADV_DONTNEED)
                else:
                    assert os.stat(name, dir_fd=directory).st_size == len(data)
            return True
        with ThreadPoolExecutor(24) as pool:
            assert all(pool.map(work, range(24)))
        for one in pages.values():
            one.close()


# a public tool's own checks: fio writes blocks that carry their checksums, and reads them back through the mount

FIO = ["--bs=4k", "--size=4m", "--verify=crc32c", "--verify_fatal=1", "--output-format=terse", "--thread"]
ENGINES = {"sync": [], "psync": [], "vsync": [], "pvsync2": [], "mmap": [], "splice": [], "posixaio": ["--iodepth=8"],
           "libaio": ["--iodepth=8"],
           "libaio direct": ["--iodepth=8", "--direct=1"], "io_uring": ["--iodepth=8"],
           "io_uring direct": ["--iodepth=8", "--direct=1"],
           "psync direct": ["--direct=1"]}


@pytest.mark.parametrize("kind", ["ordinary", "passthrough"])
def test_fio_verifies(mount, registry, work, kind):
    if shutil.which("fio") is None:
        pytest.skip("fio is not installed (Debian package fio)")
    written = work / "written"
    run(["fio", "--name=blocks", f"--filename={written}", "--rw=write", "--do_verify=0", "--fallocate=none", *FIO],
        check=True, cwd=work)
    samples.push_files(registry.store, "demo/app", "v1", {"blocks": written.read_bytes()})
    m = mount(None, *([] if kind == "passthrough" else ["--no-passthrough"]))
    path = os.path.realpath(m / "demo/app:v1/files/blocks")
    for engine, options in ENGINES.items():
        result = run(["fio", "--name=blocks", f"--filename={path}", "--readonly", "--rw=randread", "--numjobs=2",
                      f"--ioengine={engine.split()[0]}", *options, *FIO], cwd=work)
        assert result.code == 0 and "verify" not in result.err, f"{engine}: {result}"
    spoilt = bytearray(written.read_bytes())
    spoilt[2 << 20] ^= 1
    written.write_bytes(spoilt)
    assert run(["fio", "--name=blocks", f"--filename={written}", "--readonly", "--rw=read", *FIO],
               cwd=work).code != 0, "it would have told"
