# SPDX-License-Identifier: Apache-2.0
"""An index: platforms/, and the files/ and main.wasm of its best manifest."""

import json
import os
import platform
from errno import ENOENT

import pytest

import artifacts
import samples
from harness import Clock, SLOW, raises, read, run

HOST = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def titled(text):
    return artifacts.oras({"it.txt": text.encode()}, "text/plain")


def push(registry, entries, children, tag="v1"):
    """Entries as they are given, over these children."""
    document = {"schemaVersion": 2, "mediaType": artifacts.INDEX, "manifests": entries}
    return samples.put(registry.store, "demo/multi", tag,
                       artifacts.Artifact(json.dumps(document).encode(), artifacts.INDEX, children=tuple(children)))


def entry(child, os_=None, arch=None, variant=None, **more):
    given = {"os": os_, "architecture": arch, "variant": variant}
    return child.descriptor(platform={k: v for k, v in given.items() if v is not None}, **more)


@pytest.fixture
def image(registry):
    wasm = artifacts.cncf(samples.wasm(5000, 1), "it.wasm")
    children = {("linux", HOST): titled("host"), ("wasip1", "wasm"): wasm, ("linux", "mips"): titled("mips")}
    return samples.push_index(registry.store, "demo/multi", "v1", children), wasm


def test_platforms_are_links(mount, registry, image):
    index, wasm = image
    m = mount()
    top = m / "demo/multi:v1"
    assert sorted(os.listdir(top)) == ["files", "main.wasm", "manifest.json", "platforms", "referrers"]
    names = [f"linux-{HOST}", "linux-mips", "wasip1-wasm"]
    assert sorted(os.listdir(top / "platforms")) == sorted(names)
    assert registry.count("GET", "/manifests/") == 2, "the index, and what it shows"
    link = top / "platforms/wasip1-wasm"
    assert os.readlink(link) == f"../../../sha256/{wasm.hex}" and os.lstat(link).st_size == len(os.readlink(link))
    assert read(link / "main.wasm") == wasm.layer.data
    assert read(top / "platforms/linux-mips/files/it.txt") == b"mips"
    twin = m / "demo/multi/tags/v1/platforms/wasip1-wasm"
    assert os.path.realpath(twin) == os.path.realpath(link)
    with raises(ENOENT):
        os.lstat(top / "platforms/linux-none")


def test_wasm_is_shown_before_the_host_s_own(mount, registry, image):
    _, wasm = image
    m = mount()
    top = m / "demo/multi:v1"
    assert read(top / "main.wasm") == wasm.layer.data
    assert not os.path.islink(top / "files") and not os.path.islink(top / "main.wasm")
    assert os.listdir(top / "files") == ["it.wasm"] and read(top / "files/it.wasm") == wasm.layer.data
    assert os.stat(top / "main.wasm").st_mode & 0o777 == 0o555
    assert registry.count("GET", "/manifests/") == 2, "the index, and the one that is shown"
    assert read(m / "demo/multi/tags/v1/files/it.wasm") == wasm.layer.data


def test_the_host_s_own_before_the_first(mount, registry):
    samples.push_index(registry.store, "demo/multi", "v1", {("linux", "mips"): titled("mips"),
                                                            ("linux", HOST): titled("host")})
    m = mount()
    assert read(m / "demo/multi:v1/files/it.txt") == b"host"
    assert "main.wasm" not in os.listdir(m / "demo/multi:v1")
    with raises(ENOENT):
        os.stat(m / "demo/multi:v1/main.wasm")


def test_attestations_are_no_platforms(mount, registry):
    host, note, odd = titled("host"), titled("note"), titled("odd")
    push(registry, [entry(note, "unknown", "unknown", annotations={"vnd.docker.reference.type": "attestation-manifest"}),
                    entry(odd, "linux", HOST, annotations={"vnd.docker.reference.type": "attestation-manifest"}),
                    entry(host, "linux", "arm", "v7")], [note, odd, host])
    m = mount()
    assert os.listdir(m / "demo/multi:v1/platforms") == ["linux-arm-v7"]
    assert read(m / "demo/multi:v1/files/it.txt") == b"host"


def test_names_that_are_anything(mount, registry):
    children = [titled(str(i)) for i in range(6)]
    push(registry, [entry(children[0], "linux", "amd64"), entry(children[1], "linux", "amd64"),
                    entry(children[2], "../..", "/etc"), entry(children[3], "x" * 300, "y\n"), entry(children[4]),
                    entry(children[5], "", "")], children)
    m = mount()
    names = sorted(os.listdir(m / "demo/multi:v1/platforms"))
    assert names == sorted(["linux-amd64", f"linux-amd64~{children[1].hex[:12]}", "_._..-_etc", "x" * 64 + "-y_"])
    assert all("/" not in name and not name.startswith(".") for name in names)
    for name in names:
        assert os.path.isdir(m / "demo/multi:v1/platforms" / name)
        assert os.path.realpath(m / "demo/multi:v1/platforms" / name).startswith(str(m / "demo/multi/manifests"))


def test_an_index_in_an_index(mount, registry):
    wasm = artifacts.cncf(samples.wasm(3000, 7))
    inner = artifacts.index({("wasip2", "wasm"): wasm})
    push(registry, [inner.descriptor()], [inner])
    m = mount()
    assert read(m / "demo/multi:v1/main.wasm") == wasm.layer.data
    assert os.listdir(m / "demo/multi:v1/platforms") == []


def test_indexes_without_end(mount, registry):
    deepest = artifacts.cncf(samples.wasm(3000, 7))
    for _ in range(8):
        document = {"schemaVersion": 2, "mediaType": artifacts.INDEX, "manifests": [deepest.descriptor()]}
        deepest = artifacts.Artifact(json.dumps(document).encode(), artifacts.INDEX, children=(deepest,))
    samples.put(registry.store, "demo/multi", "v1", deepest)
    m = mount()
    with raises(ENOENT):
        os.listdir(m / "demo/multi:v1/files")
    assert read(m / "demo/multi:v1/manifest.json") == deepest.data


def test_nothing_to_show(mount, registry):
    push(registry, [], [])
    m = mount()
    assert sorted(os.listdir(m / "demo/multi:v1")) == ["manifest.json", "platforms", "referrers"]
    for name in ("files", "main.wasm", "config.json", "layers"):
        with raises(ENOENT):
            os.lstat(m / "demo/multi:v1" / name)


def test_the_best_one_is_missing(mount, registry):
    """An index of which a mirror has only a part: an error where it is entered, and the rest is there."""
    wasm, host = artifacts.cncf(samples.wasm(3000, 7)), titled("host")
    samples.push_index(registry.store, "demo/multi", "v1", {("wasip2", "wasm"): wasm, ("linux", HOST): host})
    del registry.store.find("demo/multi").manifests[wasm.digest]
    m = mount()
    assert sorted(os.listdir(m / "demo/multi:v1")) == ["files", "manifest.json", "platforms", "referrers"]
    with raises(ENOENT):
        os.listdir(m / "demo/multi:v1/files")
    assert read(m / f"demo/multi:v1/platforms/linux-{HOST}/files/it.txt") == b"host"


def test_twenty_thousand_of_one_name(mount, registry):
    """An index that is made to be slow."""
    child = titled("it")
    push(registry, [{**entry(child, "linux", "amd64"), "digest": "sha256:%064x" % i} for i in range(15_000)], [child])
    m = mount()
    with Clock() as took:
        names = os.listdir(m / "demo/multi:v1/platforms")
    assert len(names) == 15_000 and took.seconds < 5 * SLOW


def test_why_follows_its_links(mount, registry, image):
    m = mount()
    path = m / "demo/multi:v1/platforms/linux-mips/files/it.txt"
    assert read(path) == b"mips"
    said = run([m.binary, "why", path], env=m.env)
    assert said.code == 0 and "it is here" in said.out, said
