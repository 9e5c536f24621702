# SPDX-License-Identifier: Apache-2.0
"""files/ of a container image: its layers as one root file system, as umoci unpacks them.

Every image here is built by umoci, pushed to docker-registry by skopeo, and compared whole: names, types, modes, contents,
and what links mean.
"""

import json
import os
import stat
import tarfile
from errno import ENOENT, EROFS

import pytest

import artifacts
import samples
from harness import raises, read, run
from real_images import VARIANTS, Layer, built, need_tools, pulled, tarred
from trees import Entry, assert_confined, assert_same, differences, tree_of



@pytest.fixture(autouse=True)
def tools():
    need_tools()


def tars_of(layers):
    return [layer if isinstance(layer, bytes) else layer.tar() for layer in layers]


@pytest.fixture
def same(mount, docker_registry, work):
    """same(layer, …): the mount shows what umoci unpacks of them, or, where it cannot, of the layers `like` them. Returns
    files/ and its tree."""
    def check(*layers, variant="gzip", like=None):
        image = built(work / "image", tars_of(layers))
        image.push(docker_registry.address, "demo/app", "v1", variant)
        reference = image if like is None else built(work / "reference", tars_of(like))
        expected = tree_of(reference.unpack(work / "unpacked"))
        files = mount(docker_registry.address) / "demo/app:v1/files"
        found = tree_of(files)
        assert_same(expected, found)
        assert_confined(files, found)
        return files, found
    return check


def motley(top):
    """A directory of everything that an image may hold and GNU tar writes."""
    (top / "etc/ssl").mkdir(parents=True)
    (top / "usr/lib/deep").mkdir(parents=True)
    (top / "etc/conf").write_bytes(b"x=1\n")
    (top / "etc/empty").touch()
    (top / "etc/ssl/private").mkdir(mode=0o700)
    (top / "etc/ssl/private/key").write_bytes(b"secret")
    (top / "big").write_bytes(samples.noise(3 << 20))
    (top / "middle").write_bytes(samples.noise(200_001, 2))
    for mode in (0o000, 0o111, 0o400, 0o640, 0o755, 0o777, 0o2755, 0o4755, 0o6711):
        path = top / f"usr/mode-{mode:04o}"
        path.write_bytes(b"%o" % mode)
        path.chmod(mode)
    for mode in (0o1777, 0o2770, 0o500):
        path = top / f"usr/dir-{mode:04o}"
        path.mkdir()
        (path / "inside").write_bytes(b"inside")
        path.chmod(mode)
    links = {"lib": "usr/lib", "usr/up": "../etc/conf", "usr/absolute": "/etc/conf", "usr/out": "../../../../etc/conf",
             "usr/lib/dangling": "/nowhere/at/all", "usr/lib/gone": "gone-too", "loop": "loop", "usr/root": "/",
             "usr/dots": "../..", "etc/through": "../lib/deep/../../up", "usr/chain": "absolute", "usr/null": "/dev/null",
             "usr/lib/trailing": "../../etc/", "usr/long": "./" * 900 + "up"}
    for name, target in links.items():
        (top / name).symlink_to(target)
    os.link(top / "etc/conf", top / "usr/hard")
    os.link(top / "lib", top / "usr/hard-of-a-link", follow_symlinks=False)
    (top / "dev").mkdir()
    os.mknod(top / "dev/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(top / "dev/disk", stat.S_IFBLK | 0o660, os.makedev(8, 0))
    os.mkfifo(top / "dev/pipe")
    with open(top / "sparse", "wb") as file:
        for at in (1 << 20, 5 << 20):
            file.seek(at)
            file.write(b"island" * 100)
        file.truncate(9 << 20)
    names = ["Grüße aus Köln", "日本語", "\U0001f980", "e\u0301 decomposed", " spaces ", "-rf", "new\nline", "tab\t", "quote'\"",
             "back\\slash", "colon:v1", "at@sha256", "*", "%41", "a" * 255, "日" * 85, "manifest.json", "main.wasm", "...",
             "files", ".hidden", ".wh", "wh.not", "\x01\x7f"]
    for name in names:
        (top / "etc" / name).write_bytes(name.encode())
    deep = top.joinpath(*["d" * 60 + str(i) for i in range(12)])
    deep.mkdir(parents=True)
    (deep / ("f" * 120)).write_bytes(b"deep")


@pytest.mark.parametrize("variant", VARIANTS)
def test_everything_at_once(same, work, variant):
    top = work / "top"
    top.mkdir()
    motley(top)
    style = {"gzip": "pax", "docker": "gnu", "plain": "oldgnu", "zstd": "pax", "pieces": "gnu"}[variant]
    second = Layer().whiteout("etc/conf").file("etc/new", b"new").opaque("usr/lib").file("usr/lib/only", b"only")
    files, found = same(tarred(top, f"--format={style}", "--sparse"), second, variant=variant, like=[tarred(top), second])
    assert len(found) > 60 and found[b"sparse"].size == 9 << 20
    assert found[b"usr/hard"].content == artifacts.digest_of(b"x=1\n")[7:], "a hard link outlives its target"
    for path, entry in found.items():
        status = os.lstat(os.fsencode(str(files)) + b"/" + path)
        assert status.st_uid == os.geteuid() and status.st_ino != 0, path
        assert entry.kind != "dir" or status.st_nlink == 1, path


@pytest.mark.parametrize("style", ["--format=oldgnu", "--format=gnu", "--format=pax --sparse-version=0.0",
                                   "--format=pax --sparse-version=0.1", "--format=pax --sparse-version=1.0"])
def test_sparse_files(same, work, style):
    top = work / "top"
    top.mkdir()
    for number, islands in enumerate([(), (0,), (5 << 20,), (1 << 20, 3 << 20, 10 << 20), range(0, 20 << 20, 1 << 20)]):
        with open(top / f"sparse-{number}", "wb") as file:
            for at in islands:
                file.seek(at)
                file.write(samples.noise(3000, at))
            file.truncate(21 << 20)
    files, found = same(tarred(top, "--sparse", *style.split()), like=[tarred(top)])
    assert found[b"sparse-4"].size == 21 << 20
    with open(files / "sparse-3", "rb") as file:
        assert os.pread(file.fileno(), 10, (3 << 20) - 5) == bytes(5) + samples.noise(3000, 3 << 20)[:5]
    assert os.stat(files / "sparse-0").st_blocks * 512 >= 21 << 20


def test_what_a_pull_gives(same, work, docker_registry):
    """Not only what was built: what a client gets back from the registry."""
    top = work / "top"
    top.mkdir()
    motley(top)
    files, found = same(tarred(top), Layer().whiteout("big").file("etc/conf", b"x=2\n"), variant="docker")
    (work / "client").mkdir()
    assert_same(tree_of(pulled(docker_registry.address, "demo/app", "v1", work / "client")), found)


def test_whiteouts(same):
    below = Layer()
    for name in ("a/one", "a/two", "a/sub/three", "b/one", "b/sub/two", "c/one", "d/one", "e/one", "f", "g/h/i", "o/x", "o/y/z"):
        below.file(name, name.encode())
    same(below,
         Layer().whiteout("a/one").whiteout("a/sub").whiteout("nothing/there").whiteout("a/never")
         .whiteout("b").file("b/new", b"in a directory that was removed")
         .file("c/first", b"before the opaque mark").opaque("c").file("c/second", b"after it")
         .file("d/one", b"before its whiteout").whiteout("d/one")
         .opaque("e").whiteout("f").dir("f").whiteout("g/h").opaque("o/y"),
         Layer().file("a/one", b"back").opaque("a/sub").whiteout("c/second").opaque("never"))


def test_whiteouts_below_what_is_no_directory(same):
    """There is nothing to remove there; builders write them when a directory has become something else."""
    same(Layer().file("file", b"1").symlink("link", "file").device("device").file("dir/x", b"x").file("dir/y/z", b"z"),
         Layer().whiteout("file/x").opaque("file").whiteout("link/x").opaque("device").whiteout("device/a/b")
         .file("dir", b"a file now").whiteout("dir/x").opaque("dir/y"))


def test_an_opaque_root(same):
    same(Layer().file("old", b"old").file("d/old", b"old").file("both", b"1"),
         Layer().file("new", b"new").opaque("").file("both", b"2"))


def test_a_path_changes_its_type(same):
    kinds = {"file": lambda layer, name: layer.file(name, b"file"),
             "dir": lambda layer, name: layer.dir(name).file(f"{name}/inside", b"inside"),
             "link": lambda layer, name: layer.symlink(name, "target"), "device": lambda layer, name: layer.device(name)}
    below, above = Layer().file("target/x", b"x"), Layer()
    for old, make_old in kinds.items():
        for new, make_new in kinds.items():
            make_old(below, f"{old}-{new}")
            make_new(above, f"{old}-{new}")
    same(below, above)


def test_members_below_links(same):
    same(Layer().dir("usr/lib").symlink("lib", "usr/lib").symlink("absolute", "/usr/lib").symlink("out", "../../../usr")
         .symlink("chain", "absolute").symlink("new", "made/by/a/member").file("usr/lib/old", b"old"),
         Layer().file("lib/one", b"1").file("absolute/two", b"2").file("out/lib/three", b"3").file("chain/four", b"4")
         .file("new/five", b"5").whiteout("lib/old").hardlink("lib/six", "out/lib/one").file("out/../../../seven", b"7"),
         Layer().opaque("lib").file("chain/eight", b"8"))


def test_links_that_lead_nowhere(same):
    """Back out of what is missing, or no directory: ENOENT or ENOTDIR in a chroot, and so here."""
    same(Layer().file("a/f", b"f").symlink("missing", "nowhere/../a").symlink("absolute", "/nowhere/../a")
         .symlink("a/out", "../../nowhere/../../a").symlink("file", "/a/f/..").symlink("file-below", "/a/f/x")
         .symlink("dot", "/a/f/.").symlink("slash", "/a/f/").symlink("far", "/x/y/z/../../../../../a")
         .symlink("through", "/missing/f").symlink("loop-1", "/loop-2").symlink("loop-2", "loop-1/../x"))


def test_hard_links(same):
    same(Layer().file("a", b"first").file("x", b"run", 0o755).symlink("s", "a").hardlink("b", "a").hardlink("s2", "s")
         .hardlink("d/e/f", "x"),
         Layer().hardlink("c", "/a").file("a", b"second").hardlink("a2", "./a"),
         Layer().whiteout("a").hardlink("c2", "c"))


def test_names_as_odd_archivers_write_them(same):
    same(Layer().file("./dot", b"1").file("/absolute", b"2").file("double//slash", b"3").file("a/./dot", b"4")
         .file("a/../up", b"5").file("../../../etc/out", b"6").dir("trailing/").file("no/parents/at/all", b"7")
         .file("twice", b"first").file("twice", b"second").dir("twice-dir").file("twice-dir", b"file now"))


def test_names_that_are_not_utf8(same):
    layer = Layer(tarfile.GNU_FORMAT)
    for name in (b"latin-\xe9", b"\xff", b"cut-\xe6\x97", b"d\x80/x"):
        layer.file(os.fsdecode(name), name)
    files, found = same(layer.symlink("link", os.fsdecode(b"latin-\xe9")))
    assert b"d\x80/x" in found


def test_modes_change_and_contents_stay(same):
    files, found = same(Layer().file("tool", b"same", 0o644).file("other", b"same", 0o755).dir("d", 0o700).file("d/x", b"x"),
                        Layer().file("tool", b"same", 0o4711).dir("d", 0o111))
    assert found[b"tool"].mode == 0o555 == found[b"other"].mode
    inodes = {os.stat(files / name).st_ino for name in ("tool", "other")}
    assert len(inodes) == 1, "one content and one mode are one inode"


def test_many_layers(same):
    layers = []
    for i in range(60):
        layer = Layer().file(f"only/{i}", b"%d" % i).file("every", b"%d" % i)
        layers.append(layer.whiteout(f"only/{i - 7}") if i >= 7 else layer)
    files, found = same(*layers)
    assert read(files / "every") == b"59" and len(os.listdir(files / "only")) == 7


def test_layers_with_nothing_in_them(same):
    files, found = same(Layer(), Layer().file("a", b"a"), Layer(), Layer().whiteout("a"))
    assert set(found) == {b"."}


@pytest.mark.parametrize("end", ["two-blocks", "one-block", "none", "in-padding", "something-behind"])
def test_ends_of_tars(same, end):
    """Where clients see the end of an archive, and so all of its files."""
    data = Layer().file("a", b"A" * 700).file("b", b"B").tar()[:2560]
    padding = {"two-blocks": bytes(1024), "one-block": bytes(512), "none": b"", "in-padding": b"",
               "something-behind": bytes(1024) + data + b"more"}
    files, found = same(data[:2100 if end == "in-padding" else 2560] + padding[end])
    assert read(files / "a") == b"A" * 700 and read(files / "b") == b"B"


def test_a_directory_of_ten_thousand(same):
    layer = Layer()
    for i in range(10_000):
        layer.file(f"d/{i:05}", b"%d" % (i % 7))
    files, found = same(layer)
    assert len(os.listdir(files / "d")) == 10_000
    assert stat.S_ISREG(os.stat(files / "d/09999").st_mode)


def test_where_containers_mount_things(same):
    """crun wants dev, proc and sys, which an image from scratch lacks: they are there when asked for, and only then."""
    files, found = same(Layer().file("hello.wasm", artifacts.wasm_module(1)).file("proc/of/the/image", b"kept"))
    for name in ("dev", "sys"):
        assert os.listdir(files / name) == [] and name not in os.listdir(files)
        with raises(ENOENT):
            os.stat(files / name / "null")
    assert os.listdir(files / "proc") == ["of"], "the image's own"
    for name in ("run", "tmp", "etc"):
        with raises(ENOENT):
            os.stat(files / name)
    with raises(EROFS):
        os.mkdir(files / "run")


def test_what_is_unpacked_stays(mount, docker_registry, work):
    """Another mount of the same cache, with the registry gone, shows the same tree."""
    top = work / "top"
    top.mkdir()
    motley(top)
    image = built(work / "image", [tarred(top), Layer().whiteout("etc/empty").tar()])
    image.push(docker_registry.address, "demo/app", "v1")
    m = mount(docker_registry.address)
    first = tree_of(m / "demo/app:v1/files")
    m.unmount()
    docker_registry.process.terminate()
    docker_registry.process.wait(20)
    again = mount(docker_registry.address)
    assert_same(first, tree_of(again / "demo/app:v1/files"))


def test_common_tools_agree(same, work):
    """diff, cp -a, tar and rsync's view of it, by programs that ask in their own ways."""
    top = work / "top"
    top.mkdir()
    motley(top)
    for device in (top / "dev").iterdir():
        device.unlink()
    files, _ = same(tarred(top))
    run(["cp", "-a", files, work / "copy"]).ok()
    assert_same(tree_of(work / "unpacked"), tree_of(work / "copy"), "cp -a")
    (work / "untarred").mkdir()
    run(["sh", "-c", f"tar -C {files}/ -cf - . | tar -C {work}/untarred -xf -"]).ok()
    assert_same(tree_of(work / "unpacked"), tree_of(work / "untarred"), "tar")
    listed = run(["find", f"{files}/", "-type", "f"]).ok().out
    assert len(listed.splitlines()) >= 40


def test_the_comparison_sees_differences(work):
    for name in ("a", "b"):
        (work / name / "d").mkdir(parents=True)
        (work / name / "f").write_bytes(b"same")
        (work / name / "d/l").symlink_to("../f" if name == "a" else "/f")
    assert not differences(tree_of(work / "a"), tree_of(work / "b")), "two ways to write one link"
    (work / "b/f").write_bytes(b"more")
    (work / "b/new").touch()
    (work / "a/d/x").touch(mode=0o755)
    (work / "b/d/x").touch(mode=0o644)
    (work / "b/d/l").unlink()
    (work / "b/d/l").symlink_to("/new")
    found = differences(tree_of(work / "a"), tree_of(work / "b"))
    assert [line.split(":")[0] for line in found] == ["not expected", "differs", "differs", "differs"]
    assert tree_of(work / "a")[b"d/l"] == Entry("link", content="at b'f'")


@pytest.mark.parametrize("files, main", [
    ({"app.wasm": samples.wasm(3000, 5), "etc/x": b"x"}, "app.wasm"),
    ({"a.wasm": samples.wasm(3000, 5), "deep/plugin.wasm": samples.wasm(3000, 6)}, "deep/plugin.wasm"),
    ({"a.wasm": samples.wasm(3000, 5), "b.wasm": samples.wasm(3000, 6)}, None),
    ({"README": b"x"}, None),
])
def test_an_image_for_wasm_without_an_entry_point(mount, registry, files, main):
    """As `crane append` makes it. What is listed resolves; the only Wasm is what there is to run."""
    image = artifacts.container(files, architecture="wasm", system="wasi")
    config = json.loads(image.config.data)
    del config["config"]
    config = artifacts.Blob(json.dumps(config).encode(), image.config.media_type)
    samples.push(registry.store, "demo/app", "v1", config, image.layers)
    m = mount()
    for name in os.listdir(m / "demo/app:v1/"):
        os.stat(m / "demo/app:v1" / name)
    if main:
        assert read(m / "demo/app:v1/main.wasm") == files[main]
    else:
        with raises(ENOENT):
            os.stat(m / "demo/app:v1/main.wasm")
