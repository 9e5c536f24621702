# SPDX-License-Identifier: Apache-2.0
"""A repository directory is an OCI image layout for other tools."""

import json
import os
import shutil
import signal
from errno import EACCES, EFBIG, EHOSTUNREACH, ENOENT, EPROTO

import pytest

import artifacts
import samples
from harness import Child, opens, raises, read, run, until
from registry import behaviours as b


@pytest.fixture
def images(registry):
    """A tag for each kind of thing, and one that is no tag of the listing."""
    found = {"v1": samples.push_wasm(registry.store, "demo/app", "v1", size=50_000),
             "rootfs": samples.push_tar(registry.store, "demo/app", "rootfs"),
             "multi": samples.push_index(registry.store, "demo/app", "multi", {
                 ("linux", "amd64"): artifacts.container({"etc/motd": b"amd64"}, architecture="amd64", system="linux"),
                 ("linux", "arm64"): artifacts.container({"etc/motd": b"arm64"}, architecture="arm64", system="linux")})}
    registry.store.tag("demo/app", "latest", found["v1"].digest)
    registry.store.tag("demo/app", f"sha256-{found['v1'].hex}.sig", found["v1"].digest)
    return {**found, "latest": found["v1"]}


def index_of(m, repo="demo/app"):
    index = json.loads(read(m / repo / "index.json"))
    assert (index["schemaVersion"], index["mediaType"]) == (2, artifacts.INDEX)
    return {entry["annotations"][artifacts.REF_NAME]: entry for entry in index["manifests"]}


def expected(images):
    return {tag: image.descriptor(annotations={artifacts.REF_NAME: tag}) for tag, image in images.items()}


def test_what_it_says(mount, registry, images):
    m = mount()
    top = m / "demo/app"
    assert sorted(os.listdir(top)) == ["blobs", "index.json", "manifests", "oci-layout", "tags"]
    assert json.loads(read(top / "oci-layout")) == {"imageLayoutVersion": "1.0.0"}
    assert os.stat(top / "oci-layout").st_size == len(read(top / "oci-layout"))
    status = os.stat(top / "index.json")
    assert (status.st_size, status.st_mode) == (0, 0o100444)
    assert registry.count(None, "/manifests/") == 0, "no listing pays for it"
    assert index_of(m) == expected(images)
    assert registry.count("HEAD", "/manifests/") == 4 and registry.count("GET", "/manifests/") == 0
    registry.clear()
    assert index_of(m) == expected(images)
    assert registry.count() == 0
    for image in images.values():
        assert read(top / "blobs/sha256" / image.hex) == image.data
        for blob in image.blobs():
            assert read(top / "blobs/sha256" / blob.hex) == blob.data


def test_reading_in_pieces(mount, registry, images):
    m = mount()
    whole = read(m / "demo/app/index.json")
    with open(m / "demo/app/index.json", "rb", buffering=0) as file:
        assert file.read(10) + file.read(7) + file.readall() == whole
        assert os.pread(file.fileno(), 5, 3) == whole[3:8] and os.pread(file.fileno(), 5, len(whole)) == b""
    for tool in (["cat"], ["dd", "bs=100", "status=none"]):
        target = [f"if={m}/demo/app/index.json"] if tool[0] == "dd" else [m / "demo/app/index.json"]
        assert run([*tool, *target], check=True).out.encode() == whole
    run(["cp", m / "demo/app/index.json", m.cache.parent / "copy"], check=True)
    assert (m.cache.parent / "copy").read_bytes() == whole


def test_a_tag_that_is_denied_or_gone_is_left_out(mount, registry, images):
    registry.on(None, "/manifests/rootfs", b.error(403, "DENIED", "not for you"))
    registry.on(None, "/manifests/multi", b.error(404, "MANIFEST_UNKNOWN"))
    m = mount()
    assert set(index_of(m)) == {"v1", "latest"}


def test_types_are_the_manifests_own(mount, registry, images):
    """Whatever the registry calls them; and what nobody could read is left out."""
    schema_1 = b'{"schemaVersion":1,"name":"demo/app","tag":"old","fsLayers":[],"history":[]}'
    registry.store.add_manifest("demo/app", schema_1, "application/vnd.docker.distribution.manifest.v1+json", "old")
    registry.on(None, "/manifests/", b.content_type("application/json"))
    m = mount()
    assert index_of(m) == expected(images)


def test_a_tag_that_is_damaged_is_left_out(mount, registry, images):
    """A manifest of no bytes, one that is none, and one that is not what it is called."""
    registry.store.add_manifest("demo/app", b"", artifacts.MANIFEST, "empty")
    registry.store.add_manifest("demo/app", b"none", "text/plain", "none")
    registry.on("GET", "/manifests/rootfs", b.flip(100))
    registry.on("HEAD", "/manifests/rootfs", b.error(405))
    m = mount()
    assert set(index_of(m)) - {"empty"} == set(images) - {"rootfs"}
    assert m.log.wait("without rootfs: ")
    with raises(EPROTO):
        os.listdir(m / "demo/app:empty/")
    assert read(m / "demo/app/blobs/sha256" / artifacts.digest_of(b"")[7:]) == b""
    fresh = mount(cache=None)
    with raises(EPROTO):
        os.listdir(fresh / "demo/app:empty/")


def test_a_denied_tag_is_no_secret_to_the_log(mount, registry, images):
    registry.on(None, "/manifests/rootfs", b.error(403, "DENIED", "not for you"))
    m = mount()
    index_of(m)
    assert "rootfs" in m.log.wait("not for you")[0]


def test_why_of_it(mount, registry, images):
    m = mount(None, "--timeout", "3s")
    index_of(m)
    said = run([m.binary, "why", m / "demo/app/index.json"], env=m.env)
    assert said.code == 0 and "made when it is opened" in said.out


def test_a_registry_that_cannot_be_reached_fails_it(mount, registry, images):
    m = mount(None, "--timeout", "3s")
    assert set(os.listdir(m / "demo/app/tags")) == set(images)
    rule = registry.on(None, "/manifests/rootfs", b.error(500))
    with raises(EHOSTUNREACH):
        read(m / "demo/app/index.json")
    assert m.log.wait("500")
    rule.remove()
    until(lambda: opens(m / "demo/app/index.json"), 20, "the index once the registry is well")
    assert index_of(m) == expected(images)


def test_what_is_known_needs_nobody(mount, registry, images):
    m = mount(None, "--tag-ttl", "1s", "--list-ttl", "1s", "--timeout", "3s")
    known = index_of(m)
    registry.stop()
    until(lambda: m.status()["hosts"][0]["state"] != "ok" or not index_of(m), what="the registry being missed")
    assert index_of(m) == known
    m.unmount()
    assert index_of(mount(None, "--offline")) == known


def test_offline_with_a_tag_that_is_not_known(mount, registry, images):
    m = mount()
    os.listdir(m / "demo/app/tags")
    m.unmount()
    offline = mount(None, "--offline")
    with raises(EHOSTUNREACH):
        read(offline / "demo/app/index.json")
    with raises(EHOSTUNREACH):
        read(offline / "demo/none/index.json")


def test_no_such_repository(mount, registry, images):
    m = mount()
    with raises(ENOENT):
        os.stat(m / "demo/none/index.json")
    with raises(EACCES):
        registry.on(None, "/closed/", b.error(403, "DENIED"))
        read(m / "demo/closed/index.json")


def test_many_openers_ask_once_and_in_parallel(mount, registry, images):
    for i in range(40):
        registry.store.tag("demo/app", f"t{i}", images["v1"].digest)
    m = mount()
    os.listdir(m / "demo/app/tags")
    silence = registry.on("HEAD", "/manifests/", b.silent())
    readers = [Child(["cat", m / "demo/app/index.json"]).waiting("open") for _ in range(8)]
    registry.wait_count(6, "HEAD", "/manifests/")
    silence.remove()
    texts = {reader.ends(20)[1] for reader in readers}
    assert len(texts) == 1 and len(json.loads(texts.pop())["manifests"]) == 44
    assert registry.count("HEAD", "/manifests/") == 44


def test_a_killed_reader_ends_the_asking(mount, registry, images):
    m = mount()
    os.listdir(m / "demo/app/tags")
    silence = registry.on("HEAD", "/manifests/", b.silent())
    reader = Child(["cat", m / "demo/app/index.json"]).waiting("open")
    registry.wait_count(4, "HEAD", "/manifests/")
    reader.send(signal.SIGKILL)
    assert reader.ends()[0] == -signal.SIGKILL
    registry.wait_count(4, "HEAD", "/manifests/", state="gone")
    silence.remove()
    assert index_of(m) == expected(images)


def test_more_tags_than_an_index_should_have(mount, registry, images):
    for i in range(17_000):
        registry.store.tag("demo/app", f"t{i}", images["v1"].digest)
    m = mount()
    with raises(EFBIG):
        read(m / "demo/app/index.json")
    assert m.log.wait("open them by name")
    assert registry.count("HEAD") == 0
    assert read(m / "demo/app:t16999/main.wasm") == images["v1"].layer.data


def test_of_a_layout(mount, work, registry, images):
    layout = artifacts.image_layout(work / "layout", {tag: image for tag, image in images.items() if tag != "latest"})
    m = mount(f"oci:{layout}")
    assert index_of(m, "layout") == expected({tag: images[tag] for tag in ("v1", "rootfs", "multi")})


def needs(tool):
    return pytest.mark.skipif(shutil.which(tool) is None, reason=f"{tool} is not installed")


@needs("skopeo")
@pytest.mark.parametrize("tag", ["v1", "rootfs", "multi"])
def test_skopeo_copies_from_it(mount, registry, images, work, tag):
    m = mount()
    command = ["skopeo", "--insecure-policy", "copy", "--all", "--preserve-digests", "--quiet"]
    run([*command, f"oci:{m}/demo/app:{tag}", f"oci:{work}/copy:x"], check=True, timeout=60)
    index = json.loads((work / "copy/index.json").read_bytes())
    assert index["manifests"][0]["digest"] == images[tag].digest
    for blob in images[tag].blobs():
        assert (work / "copy/blobs/sha256" / blob.hex).read_bytes() == blob.data
    assert json.loads(run(["skopeo", "inspect", "--raw", f"oci:{m}/demo/app:{tag}"], check=True).out)


@needs("umoci")
def test_umoci_unpacks_from_it(mount, registry, images, work):
    m = mount()
    assert set(run(["umoci", "ls", "--layout", m / "demo/app"], check=True).out.split()) == set(images)
    run(["umoci", "raw", "unpack", "--image", f"{m}/demo/app:rootfs", work / "bundle"], check=True, timeout=60)
    assert (work / "bundle/hello.wasm").read_bytes()[:4] == b"\0asm"
