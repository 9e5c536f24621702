# SPDX-License-Identifier: Apache-2.0
"""Whole trees, compared: what an unpacking tool left on a disk, and the same image below a mount.

    assert_same(expected=tree_of(unpacked), found=tree_of(m / "demo/app:v1/files"))

What is promised of an unpacked image is applied to what was unpacked: readable and searchable for all, written by nobody,
no set-id bits, no devices, pipes and sockets. A symbolic link is compared by what it means, followed from where it is, as in
a chroot of the tree: its text may be another.
"""

import dataclasses
import hashlib
import os
import stat

HOPS = 40


@dataclasses.dataclass(frozen=True)
class Entry:
    kind: str  # "dir", "file", "link"
    mode: int = 0
    size: int = 0
    content: str = ""  # of a file its SHA-256, of a link what it means


def tree_of(root):
    """{path below root, as bytes: Entry}; of the root itself under b"."."""
    root = os.fsencode(root)
    found = {b".": Entry("dir", 0o555)}
    rest = [b""]
    while rest:
        directory = rest.pop()
        with os.scandir(root + b"/" + directory) as entries:
            names = sorted(entry.name for entry in entries)
        assert len(set(names)) == len(names), f"listed twice in {directory}: {names}"
        for name in names:
            path = directory + b"/" + name if directory else name
            entry = entry_of(root, path)
            if entry is not None:
                found[path] = entry
            if entry is not None and entry.kind == "dir":
                rest.append(path)
    return found


def entry_of(root, path):
    """None for what has no place in a mount."""
    status = os.lstat(root + b"/" + path)
    mode = (stat.S_IMODE(status.st_mode) | 0o444) & ~0o7222
    if stat.S_ISDIR(status.st_mode):
        return Entry("dir", 0o555)
    if stat.S_ISLNK(status.st_mode):
        return Entry("link", content=meaning(root, path))
    if stat.S_ISREG(status.st_mode):
        return Entry("file", mode, status.st_size, sha256_of(root + b"/" + path))
    return None


def sha256_of(path):
    with open(path, "rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def meaning(root, path):
    """Where a path leads in a chroot of root: "at …" (be it there or not), "nowhere" where a directory on the way is
    missing, "loop"."""
    rest, at, hops = path.split(b"/")[::-1], [], 0
    while rest:
        part = rest.pop()
        if part in (b"", b"."):
            continue
        if part == b"..":
            at = at[:-1]
            continue
        here = root + b"/" + b"/".join(at + [part])
        try:
            status = os.lstat(here)
        except FileNotFoundError:
            return "nowhere" if any(more not in (b"", b".") for more in rest) else f"at {b'/'.join(at + [part])!r}"
        if stat.S_ISLNK(status.st_mode):
            hops += 1
            if hops > HOPS:
                return "loop"
            target = os.readlink(here)
            at = [] if target.startswith(b"/") else at
            rest += target.split(b"/")[::-1]
            continue
        if not stat.S_ISDIR(status.st_mode) and any(more not in (b"", b".") for more in rest):
            return "nowhere"
        at.append(part)
    return f"at {b'/'.join(at)!r}"


def differences(expected, found):
    """Lines, the least surprising first: nothing where they agree."""
    lines = [f"missing: {path!r} {expected[path]}" for path in sorted(expected.keys() - found.keys())]
    lines += [f"not expected: {path!r} {found[path]}" for path in sorted(found.keys() - expected.keys())]
    return lines + [f"differs: {path!r} {expected[path]} expected, {found[path]} found"
                    for path in sorted(expected.keys() & found.keys()) if expected[path] != found[path]]


def assert_same(expected, found, what=""):
    wrong = differences(expected, found)
    assert not wrong, f"{what}: {len(wrong)} differences\n" + "\n".join(wrong[:15])


def assert_confined(root, tree):
    """No link below root leads out of it, whoever follows it: by the kernel, link by link, and by its text."""
    top = os.fsencode(os.path.realpath(root))
    for path, entry in tree.items():
        if entry.kind != "link":
            continue
        target = os.readlink(top + b"/" + path)
        assert not target.startswith(b"/"), f"{path!r} -> {target!r} is absolute"
        lexical = os.path.normpath(b"x/" * path.count(b"/") + target)
        assert lexical != b".." and not lexical.startswith(b"../"), f"{path!r} -> {target!r} leads out by its text"
        if entry.content == "loop":
            continue  # leads nowhere, by whatever way
        led = os.path.realpath(top + b"/" + path)
        assert led == top or led.startswith(top + b"/"), f"{path!r} -> {target!r} leads to {led!r}"
