# SPDX-License-Identifier: Apache-2.0
"""oci:DIRECTORY: a local image layout through the same tree, without any registry."""

import json
import os
import shutil
from errno import EBADMSG, ENOENT, EPROTO

import pytest

import artifacts
import samples
from harness import raises, read, run, until


@pytest.fixture
def component():
    return artifacts.cncf(artifacts.wasm_component(1, 70_000), "hello.wasm")


@pytest.fixture
def layout(work, component):
    files = artifacts.oras({"a/b.txt": b"hello", "c.bin": samples.noise(3 << 20)})
    return artifacts.image_layout(work / "layout", {"v1": component, "files": files})


def test_the_same_tree(mount, layout, component):
    m = mount(f"oci:{layout}")
    assert os.listdir(m) == ["layout"], "one repository, named after the directory"
    assert os.readlink(m / "layout:v1") == f"layout/manifests/sha256/{component.hex}"
    assert read(m / "layout:v1/main.wasm") == component.layer.data
    assert read(m / "layout:v1/manifest.json") == component.data
    assert read(m / "layout/tags/v1/files/hello.wasm") == component.layer.data
    assert read(m / "layout:files/files/a/b.txt") == b"hello"
    assert len(read(m / "layout:files/files/c.bin")) == 3 << 20
    assert read(m / f"layout/blobs/sha256/{component.config.hex}") == component.config.data
    assert sorted(os.listdir(m / "layout/tags")) == ["files", "v1"]
    with raises(ENOENT):
        os.readlink(m / "layout:v9")
    with raises(ENOENT):
        os.readlink(m / "other:v1")


def test_a_changed_blob_is_not_served(mount, layout, component):
    path = layout / "blobs/sha256" / component.layer.hex
    data = bytearray(component.layer.data)
    data[5000] ^= 4
    path.write_bytes(data)
    m = mount(f"oci:{layout}")
    with raises(EBADMSG):
        os.open(m / "layout:v1/main.wasm", os.O_RDONLY)
    assert m.log.wait(component.layer.hex)
    path.write_bytes(component.layer.data)
    assert read(m / "layout:v1/main.wasm") == component.layer.data


def test_a_cut_blob_is_not_served(mount, layout, component):
    path = layout / "blobs/sha256" / component.layer.hex
    path.write_bytes(component.layer.data[:-1])
    m = mount(f"oci:{layout}")
    with raises(EBADMSG):
        os.open(m / "layout:v1/main.wasm", os.O_RDONLY)


def test_a_missing_blob(mount, layout, component):
    (layout / "blobs/sha256" / component.layer.hex).unlink()
    m = mount(f"oci:{layout}")
    assert os.stat(m / "layout:v1/main.wasm").st_size == len(component.layer.data)
    with raises(ENOENT):
        os.open(m / "layout:v1/main.wasm", os.O_RDONLY)
    assert m.log.wait(component.layer.hex)


def test_a_tag_that_moves(mount, layout, component):
    new = artifacts.cncf(artifacts.wasm_module(9))
    m = mount(f"oci:{layout}", "--tag-ttl", "1s")
    assert read(m / "layout:v1/main.wasm") == component.layer.data
    artifacts.image_layout(layout, {"v1": new})
    until(lambda: read(m / "layout:v1/main.wasm") == new.layer.data, what="the tag moving")


def test_a_layout_that_climbs(mount, layout, work, component):
    """A blob that is a symlink out of the layout is none of it, unless its bytes match all the same."""
    secret = work / "secret"
    secret.write_bytes(b"not for readers" * 100)
    blob = layout / "blobs/sha256" / component.layer.hex
    blob.unlink()
    blob.symlink_to(secret)
    m = mount(f"oci:{layout}")
    with pytest.raises(OSError):
        os.open(m / "layout:v1/main.wasm", os.O_RDONLY)


DAMAGE = {"no-size": lambda entry: entry.pop("size"), "no-digest": lambda entry: entry.pop("digest"),
          "odd-digest": lambda entry: entry.update(digest="sha256:12"), "negative": lambda entry: entry.update(size=-1),
          "text": lambda entry: entry.update(size="12"), "type": lambda entry: entry.update(mediaType=7),
          "size-0": lambda entry: entry.update(size=0)}


def test_entries_that_are_damaged(mount, layout, component):
    """One of them is no reason to show nothing of the others; it is said of each what is wrong with it."""
    index = json.loads((layout / "index.json").read_bytes())
    good = next(entry for entry in index["manifests"] if entry["annotations"][artifacts.REF_NAME] == "v1")
    for tag, damage in DAMAGE.items():
        entry = {**good, "annotations": {artifacts.REF_NAME: tag}}
        damage(entry)
        index["manifests"].insert(0, entry)
    index["manifests"] += [7, None, [], {}]
    (layout / "index.json").write_text(json.dumps(index))
    m = mount(f"oci:{layout}")
    assert read(m / "layout:v1/main.wasm") == component.layer.data
    assert set(os.listdir(m / "layout/tags")) == {"v1", "files", *DAMAGE}
    shown = json.loads(read(m / "layout/index.json"))["manifests"]
    assert {entry["annotations"][artifacts.REF_NAME] for entry in shown} == {"v1", "files"}
    for tag in DAMAGE:
        assert m.log.wait(f"without {tag}: ")
        with raises(EBADMSG if tag == "size-0" else EPROTO):
            os.readlink(m / f"layout:{tag}")
    why = run([m.binary, "why", m / "layout:no-size"])
    assert "index.json" in why.out and "size" in why.out, why.out


def test_as_other_tools_write_it(mount, work):
    """skopeo, where it is installed."""
    if shutil.which("skopeo") is None:
        pytest.skip("skopeo is not installed")
    source = artifacts.image_layout(work / "source", {"v1": artifacts.container({"hello.wasm": b"\0asm\1\0\0\0"})})
    run(["skopeo", "copy", f"oci:{source}:v1", f"oci:{work}/copied:latest"]).ok()
    m = mount(f"oci:{work}/copied")
    assert os.listdir(m / "copied/tags") == ["latest"]
    assert read(m / "copied:latest/manifest.json")


def test_it_needs_no_network(mount, layout, component):
    m = mount(f"oci:{layout}")
    assert run(["sha256sum", m / "layout:v1/main.wasm"]).ok().out.startswith(component.layer.hex)
    sockets = [name for name in m.fds().values() if name.startswith("socket:")]
    assert len(sockets) <= 2, "the control socket, and what it was asked through"


def untag(layout, *tags):
    index = json.loads((layout / "index.json").read_text())
    for entry in index["manifests"]:
        if entry["annotations"]["org.opencontainers.image.ref.name"] in tags:
            del entry["annotations"]
    (layout / "index.json").write_text(json.dumps(index))


@pytest.mark.parametrize("first", ["manifests/sha256", "index.json", ""])
def test_what_has_no_tag(mount, layout, component, first):
    """As `skopeo copy ... oci:DIR` leaves it: listed by its digest, whatever is looked at first."""
    untag(layout, "v1")
    m = mount(f"oci:{layout}")
    repository = m / "layout"
    if (repository / first).is_dir():
        os.listdir(repository / first)
    else:
        read(repository / first)
    assert component.hex in os.listdir(repository / "manifests/sha256")
    entries = {e["digest"]: e for e in json.loads(read(repository / "index.json"))["manifests"]}
    assert len(entries) == 2 and "annotations" not in entries[component.digest]
    assert entries[component.digest]["mediaType"] == component.media_type
    assert os.listdir(repository / "tags") == ["files"]
    assert read(m / f"layout@{component.digest}/main.wasm") == component.layer.data


def test_a_layout_without_any_tag(mount, layout, component):
    """Tools take its only image; one that is damaged is not listed, and keeps nothing back."""
    untag(layout, "v1", "files")
    index = json.loads((layout / "index.json").read_text())
    other = next(e for e in index["manifests"] if e["digest"] != component.digest)
    (layout / "blobs/sha256" / other["digest"].split(":")[1]).unlink()
    m = mount(f"oci:{layout}")
    listed = [e["digest"] for e in json.loads(read(m / "layout/index.json"))["manifests"]]
    assert listed == [component.digest]
    if shutil.which("skopeo"):
        raw = run(["skopeo", "inspect", "--raw", f"oci:{m}/layout"]).ok().out
        assert artifacts.digest_of(raw.encode()) == component.digest
