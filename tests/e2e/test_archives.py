# SPDX-License-Identifier: Apache-2.0
"""What lies in the layers of images: main.wasm out of an archive, how its bytes are served, what is fetched for it, and
archives that are made to do harm. Whole trees are compared in test_rootfs.py."""

import base64
import gzip
import io
import json
import os
import signal
import tarfile
from errno import EBADMSG, EFBIG, EHOSTUNREACH, ENOENT, ENOEXEC, EPROTO, ETIMEDOUT

import pytest

import artifacts
import samples
from artifacts import Blob, image, random_bytes, wasm_component, wasm_module
from harness import SLOW, Child, Clock, children_of, files_holding, opens, partials, raises, read, run, until
from registry import behaviours as b

MODULE = wasm_module(2, 4000)
COMPONENT = wasm_component(3, 50_000)
TAR_GZ = "application/vnd.oci.image.layer.v1.tar+gzip"
TAR = "application/vnd.oci.image.layer.v1.tar"


def config_of(diff_ids=None, **more):
    config = {"architecture": "wasm", "os": "wasip1", "config": {"Entrypoint": ["/hello.wasm"], **more}}
    if diff_ids is not None:
        config["rootfs"] = {"type": "layers", "diff_ids": diff_ids}
    return Blob(json.dumps(config).encode(), artifacts.IMAGE_CONFIG)


def raw_image(*layers, diff_ids=None, media_type=TAR_GZ):
    """Of layers that are just bytes."""
    return image(config_of(diff_ids), [Blob(data, media_type) for data in layers])


def serve(registry, artifact, tag="v1"):
    return samples.put(registry.store, "demo/app", tag, artifact)


# ---- main.wasm ----

def compat(wasm):
    """For proxies: no entry point, an annotation, and the module in the last layer."""
    made = artifacts.container({"readme": b"x"}, {"some/plugin.wasm": wasm, "other": b"y"}, architecture="amd64",
                               system="linux")
    config = json.loads(made.config.data)
    del config["config"]
    return image(Blob(json.dumps(config).encode(), artifacts.IMAGE_CONFIG), made.layers,
                 annotations={"module.wasm.image/variant": "compat"})


def workdir(wasm):
    made = artifacts.container({"app/hello.wasm": wasm})
    config = json.loads(made.config.data)
    config["config"] = {"Cmd": ["hello.wasm#start"], "WorkingDir": "/app"}
    return image(Blob(json.dumps(config).encode(), artifacts.IMAGE_CONFIG), made.layers)


def in_path(wasm, path="/opt/bin:/usr/bin"):
    """As container runtimes look for a bare name: first in the image's PATH, then in its working directory."""
    made = artifacts.container({"opt/bin/app.wasm/x": b"a directory", "work/app.wasm": b"\x7fELF", "usr/bin/app.wasm": wasm})
    config = json.loads(made.config.data)
    config["config"] = {"Entrypoint": ["app.wasm"], "WorkingDir": "/work", **({"Env": ["HOME=/", f"PATH={path}"]} if path else {})}
    return image(Blob(json.dumps(config).encode(), artifacts.IMAGE_CONFIG), made.layers)


def through_a_link(wasm):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, target in (("hello.wasm", "/opt/current/bin"), ("opt/current", "../opt/v2/..//v2")):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
        member = tarfile.TarInfo("opt/v2/bin")
        member.size = len(wasm)
        archive.addfile(member, io.BytesIO(wasm))
    return raw_image(gzip.compress(out.getvalue()))


MAINS = {
    "entrypoint": lambda: artifacts.container({"hello.wasm": MODULE, "data.txt": b"x"}),
    "of-a-higher-layer": lambda: artifacts.container({"hello.wasm": COMPONENT}, {"hello.wasm": MODULE}),
    "working-directory": lambda: workdir(MODULE),
    "compat": lambda: compat(MODULE),
    "native-platform-wasm-entry": lambda: artifacts.container({"hello.wasm": MODULE}, architecture="amd64", system="linux"),
    "in-path": lambda: in_path(MODULE),
    "in-the-default-path": lambda: in_path(MODULE, None),
    "through-links": lambda: through_a_link(MODULE),
    "text": lambda: artifacts.container({"hello.wasm": b"(module)\n"}),
}


@pytest.mark.parametrize("name", MAINS)
def test_main_wasm(mount, registry, name):
    artifact = serve(registry, MAINS[name]())
    expected = b"(module)\n" if name == "text" else MODULE
    m = mount()
    top = m / "demo/app:v1"
    assert "main.wasm" in os.listdir(top), "manifest and config say so"
    assert not any(registry.count("GET", layer.digest) for layer in artifact.layers)
    found = os.stat(top / "main.wasm")
    assert found.st_mode & 0o777 == 0o555 and found.st_size == len(expected)
    assert read(top / "main.wasm") == expected
    assert all(registry.count("GET", layer.digest) == (name != "compat" or layer is artifact.layers[-1])
               for layer in artifact.layers)


def test_main_wasm_of_an_index(mount, registry):
    samples.push_index(registry.store, "demo/app", "multi",
                       {("linux", "amd64"): artifacts.container({"bin/sh": b"\x7fELF"}, entrypoint="/bin/sh"),
                        ("wasip1", "wasm"): artifacts.container({"hello.wasm": MODULE, "etc/x": b"x"})})
    m = mount()
    assert "main.wasm" in os.listdir(m / "demo/app:multi")
    assert read(m / "demo/app:multi/main.wasm") == MODULE
    assert read(m / "demo/app:multi/files/etc/x") == b"x"


def test_main_wasm_that_is_none(mount, registry):
    """The config promises a program that is not there, or is no WebAssembly: a runtime must not execute it."""
    serve(registry, artifacts.container({"other": b"x"}), "missing")
    serve(registry, artifacts.container({"hello.wasm": b"\x7fELF" + bytes(100)}), "native")
    serve(registry, artifacts.container({"hello.wasm/in": b"x"}), "directory")
    m = mount()
    for tag in ("missing", "directory"):
        with raises(ENOENT):
            os.stat(m / f"demo/app:{tag}/main.wasm")
    with raises(ENOEXEC):
        read(m / "demo/app:native/main.wasm")
    assert read(m / "demo/app:native/files/hello.wasm")[:4] == b"\x7fELF"
    assert os.getxattr(m / "demo/app:native/files/hello.wasm", "user.oci.kind") == b"aot"


def test_a_native_program_is_no_main_wasm(mount, registry):
    artifact = serve(registry, artifacts.container({"bin/app": b"\x7fELF"}, entrypoint="/bin/app", architecture="amd64",
                                                   system="linux"))
    m = mount()
    assert "main.wasm" not in os.listdir(m / "demo/app:v1")
    with raises(ENOENT):
        os.stat(m / "demo/app:v1/main.wasm")
    assert registry.count("GET", artifact.layer.digest) == 0


# ---- bytes ----

def test_members_are_content(mount, registry):
    """One inode for one content and mode, wherever it lies; attributes as of any content."""
    serve(registry, artifacts.container({"a.wasm": COMPONENT, "b.wasm": COMPONENT, "c": b"text"}, {"d/e": b"text"}))
    serve(registry, artifacts.container({"x/a.wasm": COMPONENT}), "v2")
    serve(registry, artifacts.cncf(COMPONENT, "a.wasm"), "v3")
    m = mount()
    files = m / "demo/app:v1/files"
    inodes = {os.stat(path).st_ino for path in (files / "a.wasm", files / "b.wasm", m / "demo/app:v2/files/x/a.wasm",
                                                m / "demo/app:v3/files/a.wasm")}
    assert len(inodes) == 1
    assert os.stat(files / "c").st_ino == os.stat(files / "d/e").st_ino != os.stat(files / "a.wasm").st_ino
    assert {entry.name: entry.inode() for entry in os.scandir(files)}["c"] == os.stat(files / "c").st_ino
    found = os.stat(files / "c")
    assert (found.st_mtime, found.st_blocks, found.st_nlink) == (0, 1, 1)
    assert os.getxattr(files / "a.wasm", "user.oci.digest").decode() == artifacts.digest_of(COMPONENT)
    assert os.getxattr(files / "a.wasm", "user.oci.size").decode() == str(len(COMPONENT))
    assert read(files / "a.wasm") == COMPONENT
    assert os.getxattr(files / "a.wasm", "user.oci.kind") == b"component"
    assert os.getxattr(files / "c", "user.oci.cached") == b"1" == os.getxattr(files / "c", "user.oci.verified")
    assert "user.oci.kind" in os.listxattr(files / "b.wasm")


def test_small_ones_stay_in_their_tar(mount, registry):
    """A thousand small files are no thousand blobs; a large one is a blob of its own, that passes through."""
    files = {f"d/{i}": b"%d" % i for i in range(1000)}
    large = random_bytes(7, 3 << 20)
    serve(registry, artifacts.container({**files, "hello.wasm": large}))
    m = mount()
    top = m / "demo/app:v1/files"
    for i in range(1000):
        assert read(top / f"d/{i}") == b"%d" % i
    assert os.path.getsize(top / "d/7") == 1
    blobs = len(list((m.cache / "blobs/sha256").iterdir()))
    assert blobs < 10
    with open(top / "hello.wasm", "rb") as file:
        file.seek(1 << 20)
        assert file.read(100) == large[1 << 20:(1 << 20) + 100]
    until(lambda: (m.cache / "blobs/sha256" / artifacts.digest_of(large)[7:]).exists(), what="a blob of its own")
    assert read(top / "hello.wasm") == large


def test_reading_at_the_edges(mount, registry):
    data = random_bytes(11, 10_000)
    serve(registry, artifacts.container({"before": b"B" * 3000, "it": data, "empty": b"", "after": b"A" * 3000}))
    m = mount()
    top = m / "demo/app:v1/files"
    with open(top / "it", "rb", buffering=0) as file:
        fd = file.fileno()
        for start, count in ((0, 1), (0, 20_000), (9_999, 5), (9_999, 1), (10_000, 1), (50_000, 10), (4095, 4098), (8192, 9000)):
            assert os.pread(fd, count, start) == data[start:start + count]
    with open(top / "it", "rb", buffering=0, opener=lambda p, f: os.open(p, f | os.O_DIRECT)) as file:
        assert os.pread(file.fileno(), 512, 512) == data[512:1024]
    assert read(top / "empty") == b"" and os.path.getsize(top / "empty") == 0


def test_a_layer_is_fetched_and_unpacked_once(mount, registry):
    """Images that share a layer, two mounts that share a cache, and a tree that is listed again."""
    shared = {"shared/big": random_bytes(5, 2 << 20), "shared/small": b"s"}
    one = serve(registry, artifacts.container(shared, {"one": b"1"}))
    two = serve(registry, artifacts.container(shared, {"two": b"2"}), "v2")
    assert one.layers[0].digest == two.layers[0].digest
    m = mount()
    assert read(m / "demo/app:v1/files/one") == b"1"
    (record,) = (m.cache / "archives/sha256").glob(one.layers[0].hex)
    stamp = record.stat().st_mtime_ns, record.stat().st_ino
    assert read(m / "demo/app:v2/files/two") == b"2" and read(m / "demo/app:v2/files/shared/small") == b"s"
    other = mount()
    assert read(other / "demo/app:v2/files/shared/small") == b"s"
    assert (record.stat().st_mtime_ns, record.stat().st_ino) == stamp, "unpacked once"
    assert registry.count("GET", one.layers[0].digest) == 1


def test_what_is_unpacked_needs_nobody(mount, registry):
    """Neither the registry nor the layer: the tar is enough, and where that is gone, the layer."""
    artifact = serve(registry, artifacts.container({"hello.wasm": MODULE, "x": b"x"}))
    m = mount()
    assert read(m / "demo/app:v1/files/x") == b"x"
    tar = artifacts.digest_of(gzip.decompress(artifact.layer.data))[7:]
    until(lambda: (m.cache / "blobs/sha256" / tar).exists(), what="the tar in the cache")
    m.unmount()
    (m.cache / "blobs/sha256" / artifact.layer.hex).unlink()
    again = mount(None, "--offline")
    assert read(again / f"demo/app@{artifact.digest}/files/x") == b"x"
    again.unmount()
    (m.cache / "blobs/sha256" / tar).unlink()
    third = mount(None, "--offline")
    path = third / f"demo/app@{artifact.digest}/files/x"
    assert os.path.getsize(path) == 1, "its index is still there"
    with raises(EHOSTUNREACH):
        read(path)
    third.unmount()
    assert read(mount() / f"demo/app@{artifact.digest}/files/x") == b"x"


def test_rot_in_a_tar_is_found(mount, registry):
    artifact = serve(registry, artifacts.container({"hello.wasm": MODULE, "x": b"needle" * 100}))
    m = mount()
    assert read(m / "demo/app:v1/files/x") == b"needle" * 100
    tar = m.cache / "blobs/sha256" / artifacts.digest_of(gzip.decompress(artifact.layer.data))[7:]
    until(tar.exists, what="the tar in the cache")
    m.unmount()
    tar.chmod(0o600)
    tar.write_bytes(tar.read_bytes().replace(b"needle", b"poison"))
    assert read(mount() / "demo/app:v1/files/x") == b"needle" * 100


# ---- fetching ----

def test_listing_costs_no_layer(mount, registry):
    artifact = serve(registry, artifacts.container({"hello.wasm": MODULE}, {"x": b"x"}))
    m = mount()
    run(["ls", "-lR", "--color=always", f"{m.path}/demo/app/tags"]).ok()
    with Clock() as took:
        os.stat(m / "demo/app:v1/files")
        os.listdir(m / "demo/app:v1")
    assert took.seconds < 2 * SLOW
    # -R went into files/, where both layers were needed, once.
    assert [registry.count("GET", layer.digest) for layer in artifact.layers] == [1, 1]
    assert registry.count("GET", artifact.config.digest) == 1


def test_layers_are_fetched_side_by_side(mount, registry):
    artifact = serve(registry, artifacts.container(*[{f"f{i}": random_bytes(i, 2000)} for i in range(6)]))
    for layer in artifact.layers:
        registry.on("GET", layer.digest, b.latency(1))
    m = mount()
    with Clock() as took:
        assert len(os.listdir(m / "demo/app:v1/files")) == 6
    assert took.seconds < 4, "not one after the other"


def test_an_image_larger_than_the_cache(mount, registry):
    """Its layers come one after the other, are unpacked, and may go again: the tree needs their indexes only."""
    artifact = serve(registry, artifacts.container(*[{f"f{i}": random_bytes(i, 6 << 20)} for i in range(8)]))
    m = mount(None, "--cache-size", "20M")
    files = m / "demo/app:v1/files"
    assert sorted(os.listdir(files)) == [f"f{i}" for i in range(8)]
    assert [registry.count("GET", layer.digest) for layer in artifact.layers] == [1] * 8
    assert all(os.path.getsize(files / f"f{i}") == 6 << 20 for i in range(8))
    for i in (0, 7, 3):
        assert read(files / f"f{i}") == random_bytes(i, 6 << 20)
    assert m.status()["cache"]["bytes"] <= 20 << 20


def test_a_layer_that_cannot_be_had(mount, registry):
    artifact = serve(registry, artifacts.container({"hello.wasm": MODULE}, {"x": b"x"}))
    rule = registry.on("GET", artifact.layers[1].digest, b.error(500))
    m = mount(None, "--timeout", "4s")
    with raises(EHOSTUNREACH):
        os.listdir(m / "demo/app:v1/files")
    why = run([m.binary, "why", m / "demo/app:v1/files"])
    assert "500" in why.out and artifact.layers[1].digest in why.out
    assert read(m / "demo/app:v1/manifest.json") == artifact.data
    rule.remove()
    until(lambda: opens(m / "demo/app:v1/files/x"), what="the host to be tried again")
    assert sorted(os.listdir(m / "demo/app:v1/files")) == ["hello.wasm", "x"]


def test_cached_trees_do_not_wait_behind_the_network(mount, registry):
    here = serve(registry, artifacts.container({"hello.wasm": MODULE, "x": b"x"}))
    m = mount()
    assert read(m / "demo/app:v1/files/x") == b"x"
    m.unmount()
    silent = b.silent()
    children = []
    for i in range(8):
        other = serve(registry, artifacts.container({f"y{i}": random_bytes(i, 3000)}), f"w{i}")
        registry.on("GET", other.layer.digest, silent)
    m = mount()
    for i in range(8):
        children.append(Child(["ls", m / f"demo/app:w{i}/files"]))
    until(lambda: len(registry.requests("GET", "/blobs/")) >= 8, what="all to be asked for")
    with Clock() as took:
        assert read(m / f"demo/app@{here.digest}/files/x") == b"x"
    assert took.seconds < 2 * SLOW
    for child in children:
        child.send(signal.SIGKILL).ends()


def test_who_gives_up_ends_the_transfers(mount, registry):
    artifact = serve(registry, artifacts.container({"a": random_bytes(1, 4000)}, {"b": random_bytes(2, 4000)}))
    silent = b.silent()
    for layer in artifact.layers:
        registry.on("GET", layer.digest, silent)
    m = mount()
    child = Child(["ls", m / "demo/app:v1/files"])
    until(lambda: len(registry.requests("GET", "/blobs/")) >= 2, what="both layers to be asked for")
    child.send(signal.SIGKILL).ends()
    until(lambda: m.status()["fetches"] == 0, what="no transfer")


# ---- archives that are made to do harm ----

def hostile():
    good = artifacts.tar({"good": b"good"})
    noise = random_bytes(9, 5000)
    return {
        "no-tar": (gzip.compress(noise), EPROTO),
        "not-even-gzip": (b"\x1f\x8b\x08\x00" + noise, EPROTO),
        "cut": (gzip.compress(random_bytes(8, 50_000) + good)[:-2000], EPROTO),
        "wrong-crc": (gzip.compress(good)[:-8] + bytes(8), EPROTO),
        "no-trailer": (gzip.compress(good)[:-8], EPROTO),
        "last-byte-missing": (gzip.compress(good)[:-1], EPROTO),
        "something-behind": (gzip.compress(good) + b"more", EPROTO),
        "zstd-noise": (b"\x28\xb5\x2f\xfd" + noise, EPROTO),
        "xz-noise": (b"\xfd7zXZ\x00" + noise, EPROTO),
        "lone-zeros": (gzip.compress(good[:1024] + bytes(512) + good), EPROTO),
        "lone-zeros-at-the-start": (gzip.compress(bytes(512) + good), EPROTO),
        "zeros-that-are-cut": (gzip.compress(good[:1024] + bytes(700)), EPROTO),
        "whiteout-of-nothing": (gzip.compress(artifacts.tar({"d/.wh.": b""})), EPROTO),
        "whiteout-of-its-directory": (gzip.compress(artifacts.tar({".wh..": b""})), EPROTO),
        "whiteout-of-its-parent": (gzip.compress(artifacts.tar({"d/.wh...": b""})), EPROTO),
        "a-file-as-a-directory": (gzip.compress(artifacts.tar({"a": b"1", "a/b": b"2"})), EPROTO),
    }


@pytest.mark.parametrize("name", hostile())
def test_hostile_archives(mount, registry, name):
    """An errno with words for files/; everything else of the image, and of others, is there."""
    data, code = hostile()[name]
    artifact = serve(registry, image(config_of(), [Blob(gzip.compress(artifacts.tar({"hello.wasm": MODULE, "d/x": b""})), TAR_GZ),
                                                   Blob(data, TAR_GZ)]))
    serve(registry, artifacts.container({"hello.wasm": MODULE}), "fine")
    m = mount()
    for _ in range(3):
        with raises(code):
            os.listdir(m / "demo/app:v1/files")
    with raises(code):
        os.stat(m / "demo/app:v1/files/hello.wasm")
    assert read(m / "demo/app:v1/layers/1.tar.gz") == data
    assert read(m / "demo/app:v1/manifest.json") == artifact.data
    assert read(m / "demo/app:fine/files/hello.wasm") == MODULE
    why = run([m.binary, "why", m / "demo/app:v1/files"])
    assert "layer 1" in why.out, why.out
    until(lambda: not partials(m.cache), what="what was written being published or dropped")


def bomb(size):
    """Of zeros: a thousand times smaller."""
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1, mtime=0) as file:
        header = tarfile.TarInfo("zeros")
        header.size = size
        file.write(header.tobuf())
        piece = bytes(1 << 20)
        for _ in range(size >> 20):
            file.write(piece)
        file.write(bytes(1024))
    return out.getvalue()


def test_a_bomb(mount, registry):
    """Beyond the cache's size: EFBIG, once and for all, and what is cached stays."""
    serve(registry, artifacts.container({"hello.wasm": MODULE}), "fine")
    artifact = serve(registry, raw_image(bomb(200 << 20)))
    m = mount(None, "--cache-size", "64M")
    assert read(m / "demo/app:fine/files/hello.wasm") == MODULE
    with raises(EFBIG):
        os.listdir(m / "demo/app:v1/files")
    with Clock() as took, raises(EFBIG):
        os.stat(m / "demo/app:v1/files/zeros")
    assert took.seconds < 1 * SLOW, "it is not tried again"
    assert m.status()["cache"]["bytes"] <= 64 << 20
    assert read(m / "demo/app:fine/files/hello.wasm") == MODULE
    assert read(m / "demo/app:v1/layers/0.tar.gz") == artifact.layer.data


def test_images_that_share_a_layer_of_noise(mount, registry):
    """What is wrong with the layer is said of each of them."""
    noise = gzip.compress(random_bytes(3, 20_000))
    for i in range(3):
        serve(registry, raw_image(noise, gzip.compress(artifacts.tar({"i": b"%d" % i}))), f"v{i}")
    m = mount()
    for i in range(3):
        with raises(EPROTO):
            os.listdir(m / f"demo/app:v{i}/files")
    record = list((m.cache / "archives").rglob("*"))
    assert not [path for path in record if path.name == artifacts.digest_of(noise)[7:]]
    assert "layer 0" in run([m.binary, "why", m / "demo/app:v2/files"]).out


def test_a_flood_of_entries(mount, registry):
    """A million and more members in a small layer."""
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1, mtime=0) as file:
        member = tarfile.TarInfo("x").tobuf()
        block = member * 1000
        for _ in range(1010):
            file.write(block)
        file.write(bytes(1024))
    serve(registry, raw_image(out.getvalue()))
    m = mount()
    with raises(EFBIG):
        os.listdir(m / "demo/app:v1/files")


def test_diff_ids(mount, registry):
    """What a layer unpacks to is what its image declares, or it is not shown."""
    layers = [artifacts.tar({"hello.wasm": MODULE}), artifacts.tar({"x": b"x"})]
    packed = [gzip.compress(data, mtime=0) for data in layers]
    right = [artifacts.digest_of(data) for data in layers]
    wrong = [right[0], artifacts.digest_of(b"something else")]
    serve(registry, raw_image(*packed, diff_ids=right), "right")
    serve(registry, raw_image(*packed, diff_ids=wrong), "wrong")
    serve(registry, raw_image(*packed, diff_ids=right[:1]), "few")
    serve(registry, raw_image(*layers, diff_ids=wrong, media_type=TAR), "plain-wrong")
    serve(registry, raw_image(*layers, diff_ids=[artifacts.digest_of(data, "sha512") for data in layers], media_type=TAR),
          "sha512")
    serve(registry, raw_image(*packed), "none")
    for order in (("wrong", "right"), ("right", "wrong")):
        m = mount(cache=None)
        for tag in order:
            if tag == "right":
                assert read(m / "demo/app:right/files/x") == b"x"
                continue
            with raises(EBADMSG):
                os.listdir(m / f"demo/app:{tag}/files")
            assert "something else" not in run([m.binary, "why", m / f"demo/app:{tag}/files"]).out
        with raises(EPROTO):
            os.listdir(m / "demo/app:few/files")
        with raises(EBADMSG):
            os.listdir(m / "demo/app:plain-wrong/files")
        for tag in ("none", "sha512"):
            assert read(m / f"demo/app:{tag}/files/x") == b"x"
        m.unmount()
        for path in (m.cache / "blobs/sha256").iterdir():
            path.unlink()


@pytest.mark.parametrize("kind", [TAR_GZ, TAR])
def test_diff_ids_of_two_algorithms(mount, registry, kind):
    """Two images, one layer, two ways to say what it unpacks to: it is unpacked once all the same."""
    tar = artifacts.tar({"hello.wasm": MODULE})
    data = gzip.compress(tar, mtime=0) if kind == TAR_GZ else tar
    said = {"short": artifacts.digest_of(tar), "long": artifacts.digest_of(tar, "sha512"),
            "wrong": artifacts.digest_of(b"x", "sha512")}
    for tag, diff_id in said.items():
        artifact = serve(registry, raw_image(data, diff_ids=[diff_id], media_type=kind), tag)
    m = mount()
    assert read(m / "demo/app:short/files/hello.wasm") == MODULE
    record = m.cache / "archives/sha256" / artifact.layer.hex
    stamp = record.stat().st_mtime_ns, record.stat().st_ino
    for tag in ("long", "short", "wrong", "long"):
        m.unmount()
        m = mount()
        if tag == "wrong":
            with raises(EBADMSG):
                os.listdir(m / f"demo/app:{tag}/files")
        else:
            assert read(m / f"demo/app:{tag}/files/hello.wasm") == MODULE
        assert (record.stat().st_mtime_ns, record.stat().st_ino) == stamp, "unpacked once"
    m.unmount()
    for digest in {artifact.layer.digest, artifacts.digest_of(tar)}:
        (m.cache / "blobs" / digest.replace(":", "/")).unlink()
    registry.clear()
    assert read(mount() / "demo/app:long/files/hello.wasm") == MODULE
    assert registry.count("GET", artifact.layer.digest) == 1


def test_names_that_lead_out(mount, registry):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name in ("../../etc/passwd", "/abs", "a/../../b", "./c"):
            member = tarfile.TarInfo(name)
            member.size = 1
            archive.addfile(member, io.BytesIO(b"x"))
    serve(registry, raw_image(gzip.compress(out.getvalue())))
    m = mount()
    assert sorted(os.listdir(m / "demo/app:v1/files")) == ["abs", "b", "c", "etc"]
    assert os.listdir(m / "demo/app:v1/files/etc") == ["passwd"]


def test_the_helper_leaves_nothing(mount, registry):
    """No process, no descriptor, no text of the layer elsewhere than in blobs/."""
    serve(registry, artifacts.container({"hello.wasm": MODULE, "x": b"a needle in a haystack"}))
    m = mount()
    read(m / "demo/app:v1/files/x")
    assert not children_of(m.worker())
    assert all("/blobs/" in str(path) for path in files_holding(m.cache, b"a needle in a haystack"))


def test_a_diff_id_is_no_proof(mount, registry):
    """One image declares another tar, which is in the cache, for a layer that others use too."""
    legit, evil = artifacts.tar({"hello.wasm": MODULE, "x": b"legit"}), artifacts.tar({"hello.wasm": COMPONENT, "x": b"EVIL"})
    layer, wrong = gzip.compress(legit, mtime=0), artifacts.digest_of(evil)
    serve(registry, image(config_of([wrong, wrong]), [Blob(layer, TAR_GZ), Blob(evil, TAR)]), "evil")
    serve(registry, raw_image(layer, diff_ids=[artifacts.digest_of(legit)]), "good")
    serve(registry, raw_image(layer), "none")
    m = mount()
    assert read(m / "demo/app:evil/layers/1.tar") == evil
    for _ in range(2):
        with raises(EBADMSG):
            os.listdir(m / "demo/app:evil/files")
        for tag in ("good", "none"):
            assert read(m / f"demo/app:{tag}/files/x") == b"legit" and read(m / f"demo/app:{tag}/main.wasm") == MODULE
        m.unmount()
        m = mount()


def test_whiteouts_beyond_measure(mount, registry):
    """Each of many clears a directory of many: an end in bounded time, and the mount goes away when it is told to."""
    count = 60_000
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for i in range(count):
            archive.addfile(tarfile.TarInfo(f"d/{i}"))
        mark = tarfile.TarInfo("d/.wh..wh..opq").tobuf()
    data = out.getvalue()[:count * 512] + mark * count + bytes(1024)
    serve(registry, raw_image(gzip.compress(data, 1)))
    m = mount()
    with raises(EFBIG):
        os.listdir(m / "demo/app:v1/files")


def test_cached_trees_do_not_wait_behind_unpacking(mount, registry):
    serve(registry, artifacts.container({"hello.wasm": MODULE, "x": b"x"}), "small")
    m = mount()
    assert read(m / "demo/app:small/files/x") == b"x"
    m.unmount()
    for i in range(3):
        serve(registry, raw_image(bomb(900 + i << 20)), f"big{i}")
    m = mount(None, "--cache-size", "8G")
    children = [Child(["ls", m / f"demo/app:big{i}/files"]) for i in range(3)]
    until(lambda: len(children_of(m.worker())) == 2, what="two layers to be unpacked")
    assert read(m / "demo/app:small/files/x") == b"x"
    assert children_of(m.worker()), "meanwhile"
    for child in children:
        child.send(signal.SIGKILL).ends()


def test_what_takes_too_long_is_explained(mount, registry):
    """A LOOKUP waits for --timeout at the most; what it waited for goes on."""
    serve(registry, raw_image(bomb(900 << 20)))
    m = mount(None, "--cache-size", "8G", "--timeout", "1s")
    with raises(ETIMEDOUT):
        os.stat(m / "demo/app:v1/files/zeros")
    why = run([m.binary, "why", m / "demo/app:v1/files/zeros"]).out
    assert "at work on it" in why and "ETIMEDOUT" in why, why
    until(lambda: opens(m / "demo/app:v1/files/zeros"), 60, what="the layer to be unpacked")


def test_images_that_come_slowly_keep_no_other_waiting(mount, registry):
    for i in range(5):
        slow = serve(registry, artifacts.container({"hello.wasm": random_bytes(i, 2 << 20)}), f"slow{i}")
        registry.on("GET", slow.layer.digest, b.trickle(20_000, 0.2))
    serve(registry, artifacts.container({"hello.wasm": MODULE}), "quick")
    m = mount()
    children = [Child(["ls", m / f"demo/app:slow{i}/files"]) for i in range(5)]
    until(lambda: len(registry.requests("GET", "/blobs/sha256")) >= 10, what="all configs and layers to be asked for")
    assert read(m / "demo/app:quick/main.wasm") == MODULE
    for child in children:
        assert not child.has_ended()
        child.send(signal.SIGKILL).ends()


@pytest.mark.parametrize("kind", ["application/vnd.oci.image.layer.v1.tar+lz4", "application/octet-stream",
                                  "application/vnd.oci.image.layer.v1.tar+gzip+encrypted"])
def test_layers_of_unknown_types(mount, registry, kind):
    """What such a layer removes must not stay, whatever its type is called: its bytes tell whether it can be read."""
    below = gzip.compress(artifacts.tar({"hello.wasm": MODULE, "secret": b"s"}), mtime=0)
    above = gzip.compress(artifacts.tar({".wh.secret": b"", "x": b"x"}), mtime=0)
    serve(registry, image(config_of(), [Blob(below, TAR_GZ), Blob(above, kind)]))
    serve(registry, image(config_of(), [Blob(below, TAR_GZ), Blob(random_bytes(1, 3000), kind)]), "noise")
    m = mount()
    assert sorted(os.listdir(m / "demo/app:v1/files")) == ["hello.wasm", "x"]
    with raises(EPROTO):
        os.listdir(m / "demo/app:noise/files")


def test_a_layer_that_the_registry_has_lost(mount, registry):
    """Named by a manifest, and not there: a fault, and no absence."""
    artifact = serve(registry, artifacts.container({"hello.wasm": MODULE}, {"x": b"x"}))
    del registry.store.find("demo/app").blobs[artifact.layers[1].digest]
    m = mount()
    for ask in (lambda: os.listdir(m / "demo/app:v1/files"), lambda: os.stat(m / "demo/app:v1/files/x"),
                lambda: os.stat(m / "demo/app:v1/main.wasm")):
        with raises(EPROTO):
            ask()
    assert "lacks a layer" in run([m.binary, "why", m / "demo/app:v1/files"]).out


# ---- archives of other artifacts ----

def packed_directory(name, files, **annotations):
    """As `oras push` packs a directory: its members below its name."""
    data = artifacts.tar({f"{name}/{path}": content for path, content in files.items()})
    return Blob(gzip.compress(data, mtime=0), TAR_GZ, name,
                {"io.deis.oras.content.digest": artifacts.digest_of(data), "io.deis.oras.content.unpack": "true", **annotations})


def test_directories_of_oras(mount, registry):
    """What `oras pull` leaves: directories unpacked, files beside them; a whiteout's name is a name like any other."""
    layers = [packed_directory("site", {"index.html": b"<p>", "a/b": b"deep", ".wh.x": b"kept"}), Blob(b"one", "text/plain", "one.txt"),
              packed_directory("site/more", {"c": b"c"}), Blob(b"in", "text/plain", "site/beside.txt"),
              Blob(gzip.compress(artifacts.tar({"x": b"x"})), TAR_GZ, "kept.tar.gz")]
    serve(registry, image(Blob(b"{}", artifacts.EMPTY), layers, artifactType="application/vnd.example"))
    m = mount()
    files = m / "demo/app:v1/files"
    assert sorted(os.listdir(files)) == ["kept.tar.gz", "one.txt", "site"]
    assert sorted(os.listdir(files / "site")) == [".wh.x", "a", "beside.txt", "index.html", "more"]
    assert read(files / "site/a/b") == b"deep" and read(files / "site/beside.txt") == b"in"
    assert read(files / "site/more/c") == b"c" and read(files / "kept.tar.gz") == layers[4].data
    with raises(ENOENT):
        os.stat(files / "dev")
    assert sorted(os.listdir(m / "demo/app:v1/layers"))[0].startswith("0.")


def test_a_directory_of_oras_that_is_another(mount, registry):
    layer = packed_directory("d", {"x": b"x"}, **{"io.deis.oras.content.digest": artifacts.digest_of(b"other")})
    serve(registry, image(Blob(b"{}", artifacts.EMPTY), [layer, Blob(b"f", "text/plain", "f")]))
    m = mount()
    with raises(EBADMSG):
        os.listdir(m / "demo/app:v1/files")
    assert read(m / "demo/app:v1/files/f") == b"f", "what needs no archive"


def test_a_provider_of_wasmcloud(mount, registry):
    """A PAR: a tar, gzipped or not, of a claims token and a program for each platform."""
    par = artifacts.tar({"claims.jwt": b"token", "x86_64-linux.bin": b"\x7fELF" + bytes(100)})
    kind = "application/vnd.wasmcloud.provider.archive.layer.v1+par"
    for tag, data in (("plain", par), ("packed", gzip.compress(par))):
        serve(registry, image(Blob(b"{}", "application/vnd.wasmcloud.provider.archive.config"), [Blob(data, kind, "p.par")]), tag)
    m = mount()
    for tag in ("plain", "packed"):
        files = m / f"demo/app:{tag}/files"
        assert sorted(os.listdir(files)) == ["claims.jwt", "x86_64-linux.bin"]
        assert read(files / "claims.jwt") == b"token"
        assert "main.wasm" not in os.listdir(m / f"demo/app:{tag}")


# ---- Spin ----

def spin(bundle=False):
    """As `spin registry push` makes it: names in the lock only; small files inside it; with many files, one bundle."""
    small, large, page = b"inlined", random_bytes(21, 300), b"<h1>" * 200
    ref = lambda data: {"content": {"digest": artifacts.digest_of(data)}}
    component = {"id": "hello", "source": {"content_type": "application/wasm", "digest": artifacts.digest_of(COMPONENT)},
                 "files": [{**ref(large), "path": "assets/large.bin"}, {**ref(page), "path": "assets/index.html"},
                           {"content": {"inline": base64.b64encode(small).decode()}, "path": "assets/small.txt"},
                           {"content": {"inline": base64.b64encode(b"out").decode()}, "path": "../../out"}]}
    other = {"id": "../evil/id", "source": {"content_type": "application/wasm", "digest": artifacts.digest_of(MODULE)},
             "files": [{**ref(large), "path": "assets/large.bin"}, {**ref(small), "path": "a/not-inlined-here.txt"}]}
    lock = json.dumps({"spin_lock_version": 1, "metadata": {"name": "app"}, "components": [component, other]}).encode()
    wasm = [Blob(data, "application/vnd.wasm.content.layer.v1+wasm") for data in (COMPONENT, MODULE)]
    data = "application/vnd.wasm.content.layer.v1+data"
    files = [Blob(large, data), Blob(page, data)]
    if bundle:
        files = [Blob(gzip.compress(artifacts.tar({"large.bin": large, "index.html": page}), mtime=0),
                      "application/vnd.wasm.content.bundle.v1.tar+gzip")]
    config = Blob(b'{"architecture":"wasm","os":"Wasip1"}', artifacts.IMAGE_CONFIG)
    made = image(config, [*wasm, *files, Blob(lock, "application/vnd.fermyon.spin.application.v1+config")])
    return made, {"hello.wasm": COMPONENT, "evil/id.wasm": MODULE, "assets/large.bin": large, "assets/index.html": page,
                  "assets/small.txt": small, "a/not-inlined-here.txt": small, "out": b"out", "spin.lock.json": lock}


@pytest.mark.parametrize("bundle", [False, True], ids=["layers", "bundle"])
def test_a_spin_application(mount, registry, bundle):
    artifact, files = spin(bundle)
    serve(registry, artifact)
    m = mount()
    top = m / "demo/app:v1/files"
    found = {os.path.relpath(os.path.join(directory, name), top): os.path.join(directory, name)
             for directory, _, names in os.walk(top) for name in names}
    assert sorted(found) == sorted(files)
    assert not any(registry.count("GET", layer.digest) for layer in artifact.layers[:-1]), "the lock alone"
    for name, data in files.items():
        assert os.path.getsize(found[name]) == len(data) and read(found[name]) == data, name
    assert read(m / "demo/app:v1/main.wasm") == COMPONENT
    m.unmount()
    for path in (m.cache / "blobs/sha256").iterdir():
        if path.name != artifact.hex:
            path.unlink()
    again = mount()
    assert {name: read(again / "demo/app:v1/files" / name) for name in files} == files


def test_a_spin_lock_of_nothing(mount, registry):
    """One that cannot be read names nothing; a file that is nowhere is said to be."""
    made, _ = spin()
    kind = made.layers[-1].media_type
    missing = json.dumps({"components": [{"id": "x", "files": [{"path": "gone", "content": {"digest": artifacts.digest_of(b"?")}}]}]})
    for tag, lock in (("noise", b"\xff" * 40), ("list", b"[]"), ("odd", b'{"components":{"id":1}}'), ("missing", missing.encode())):
        serve(registry, image(made.config, [*made.layers[:-1], Blob(lock, kind)]), tag)
    m = mount()
    for tag in ("noise", "list", "odd"):
        assert sorted(os.listdir(m / f"demo/app:{tag}/files")) == ["layer0.wasm", "layer1.wasm", "layer2.bin", "layer3.bin",
                                                                   "spin.lock.json"]
        assert read(m / f"demo/app:{tag}/main.wasm") == COMPONENT
    assert "gone" in os.listdir(m / "demo/app:missing/files")
    with raises(ENOENT):
        os.stat(m / "demo/app:missing/files/gone")
