# SPDX-License-Identifier: Apache-2.0
"""Random stacks of layers, whole trees compared with what umoci makes of them.

Two kinds: members as no archiver writes them, on few names so that they collide; and random changes of a directory, of which
`umoci repack` makes each layer. Both are compared with what `umoci raw unpack` gives.

WASMOCIFS_TEST_SEED=N repeats the run of that seed (a failure says which); WASMOCIFS_TEST_STACKS=N makes N stacks of each
kind instead of a few.
"""

import os
import random
import shutil
import stat

import pytest

from harness import run, scaled
from real_images import Layer, built, need_tools
from trees import assert_confined, assert_same, tree_of


SEED = int(os.environ.get("WASMOCIFS_TEST_SEED") or random.SystemRandom().getrandbits(32))
STACKS = int(os.environ.get("WASMOCIFS_TEST_STACKS") or scaled(40, 8))
BATCH = 20  # stacks that share a mount
DIRECTORIES = ("a", "b", "lib")  # more often than not
NAMES = DIRECTORIES + ("f", "x.wasm", "Ünï", "n" * 60)
MODES = (0o000, 0o111, 0o444, 0o600, 0o640, 0o755, 0o4755, 0o2711, 0o1777)


@pytest.fixture(autouse=True)
def tools():
    need_tools("umoci")


def any_path(rng, deepest=3):
    return "/".join([rng.choice(DIRECTORIES) for _ in range(rng.randrange(deepest))] + [rng.choice(NAMES)])


def any_target(rng):
    """Of a link: beside it, from the root, out of the tree, to nothing, with dots and slashes. (Not back out of what may be
    missing, where tools differ: test_rootfs.py.)"""
    prefix = rng.choice(("", "", "/", "../", "../../", "../../../../../", "./", "//", "/../"))
    suffix = rng.choice(("", "", "", "/", "/.", "//"))
    return prefix + rng.choice((any_path(rng), "", any_path(rng))) + suffix or "."


def any_spelling(rng, path):
    return rng.choice((path,) * 6 + ("./" + path, "/" + path, path.replace("/", "//"), "../" + path))


def add_member(rng, layer):
    path = any_path(rng)
    weights = (1, 6, 4, 1, 2, 2, 1) if path.split("/")[-1] in DIRECTORIES else (9, 1, 3, 4, 4, 1, 1)
    kind = rng.choices(("file", "dir", "symlink", "hardlink", "whiteout", "opaque", "device"), weights)[0]
    if kind == "file":
        layer.file(any_spelling(rng, path), rng.randbytes(rng.choice((0, 1, 100, 5000))), rng.choice(MODES))
    elif kind == "dir":
        layer.dir(any_spelling(rng, path), rng.choice(MODES))
    elif kind == "symlink":
        layer.symlink(any_spelling(rng, path), any_target(rng))
    elif kind == "hardlink":
        layer.hardlink(any_spelling(rng, path), any_spelling(rng, any_path(rng)))
    elif kind == "opaque":
        layer.opaque(rng.choice((path, path, "")))
    else:
        getattr(layer, kind)(path)


def stack_of_members(rng, directory, tag):
    """Makes an image of them: its tree, and its layers. A layer that umoci refuses is left out: a file where a directory
    must be, a hard link to nothing, …"""
    image, tree, kept = built(directory / "image", [], tag), directory / "tree", []
    for _ in range(rng.randint(3, 9)):
        layer = Layer()
        for _ in range(rng.choice((1, 2, 4, 8)) if kept else 5):
            add_member(rng, layer)
        (directory / "layer.tar").write_bytes(layer.tar())
        trial = f"{image.layout}:{tag}-trial"
        run(["umoci", "raw", "add-layer", "--image", f"{image.layout}:{tag}", "--tag", f"{tag}-trial",
             directory / "layer.tar"]).ok()
        shutil.rmtree(tree, ignore_errors=True)
        if run(["umoci", "raw", "unpack", "--image", trial, tree]).code == 0:
            run(["umoci", "tag", "--image", trial, tag]).ok()
            kept.append(layer)
    shutil.rmtree(tree, ignore_errors=True)
    return tree_of(image.unpack(tree)), kept


def described(layers):
    return "\n".join(f"layer {i}:\n  " + "\n  ".join(layer.members) for i, layer in enumerate(layers))


def test_any_members(mount, work):
    """(The text of a failure has the members.)"""
    for start in range(0, STACKS, BATCH):
        directory = work / f"batch{start}"
        directory.mkdir()
        stacks = {number: stack_of_members(random.Random(f"{SEED} members {number}"), directory, f"s{number}")
                  for number in range(start, min(start + BATCH, STACKS))}
        m = mount(f"oci:{directory}/image")
        for number, (tree, layers) in stacks.items():
            what = f"WASMOCIFS_TEST_SEED={SEED}, stack {number}\n{described(layers)}\n"
            compare(m / f"image/tags/s{number}/files", tree, what)
        m.unmount()
        shutil.rmtree(directory)


def compare(files, expected, what):
    try:
        found = tree_of(files)
    except OSError as failure:
        raise AssertionError(f"{what}{failure}") from failure
    assert_same(expected, found, what)
    assert_confined(files, found)


# Changes of a directory

def paths_below(top, *kinds):
    found = []
    for directory, directories, files in os.walk(top):
        for name in directories + files:
            path = os.path.join(directory, name)
            if not kinds or stat.S_IFMT(os.lstat(path).st_mode) in kinds:
                found.append(path)
    return sorted(found)


def change(rng, top):
    """One thing that programs do to a root file system."""
    directories = [str(top)] + paths_below(top, stat.S_IFDIR)
    anything = paths_below(top)
    path = os.path.join(rng.choice(directories), rng.choice(NAMES) + str(rng.randint(0, 3)))
    kind = rng.choices(("write", "mkdir", "link", "hard", "remove", "chmod", "move", "replace"), (6, 4, 3, 2, 4, 2, 2, 2))[0]
    old = rng.choice(anything) if anything else None
    if kind == "write" and not os.path.lexists(path):
        with open(path, "wb") as file:
            file.write(rng.randbytes(rng.choice((0, 10, 3000))))
    elif kind == "mkdir" and not os.path.lexists(path):
        os.mkdir(path)
    elif kind == "link" and not os.path.lexists(path):
        os.symlink(any_target(rng), path)
    elif old is None:
        return
    elif kind == "hard" and not os.path.lexists(path) and not os.path.isdir(old) and not os.path.islink(old):
        os.link(old, path)
    elif kind == "remove":
        remove(old)
    elif kind == "chmod" and not os.path.islink(old):
        os.chmod(old, rng.choice(MODES))
    elif kind == "move" and not path.startswith(old + "/") and not os.path.lexists(path):
        os.rename(old, path)
    elif kind == "replace":
        remove(old)
        os.symlink(any_target(rng), old) if rng.random() < 0.5 else os.mkdir(old)


def remove(path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def test_any_changes(mount, work):
    for start in range(0, max(STACKS // 2, 4), BATCH):
        directory = work / f"batch{start}"
        directory.mkdir()
        run(["umoci", "init", "--layout", directory / "image"]).ok()
        expected = {}
        for number in range(start, min(start + BATCH, max(STACKS // 2, 4))):
            expected[number] = changed(random.Random(f"{SEED} changes {number}"), directory, f"s{number}")
        m = mount(f"oci:{directory}/image")
        for number, tree in expected.items():
            compare(m / f"image/tags/s{number}/files", tree, f"WASMOCIFS_TEST_SEED={SEED}, changes {number}\n")
        m.unmount()
        shutil.rmtree(directory)


def changed(rng, directory, tag):
    """An image of as many layers as there were rounds of changes; its tree. (Not always that of the directory: `umoci repack`
    whites out the children of what is a link now, through the link, in whatever it leads to.)"""
    image, bundle = f"{directory}/image:{tag}", directory / f"bundle-{tag}"
    run(["umoci", "new", "--image", image]).ok()
    run(["umoci", "unpack", "--image", image, bundle]).ok()
    for _ in range(rng.randint(1, 5)):
        for _ in range(rng.randint(5, 25)):
            change(rng, bundle / "rootfs")
        run(["umoci", "repack", "--refresh-bundle", "--image", image, bundle]).ok()
    tree = directory / f"tree-{tag}"
    run(["umoci", "raw", "unpack", "--image", image, tree]).ok()
    return tree_of(tree)
