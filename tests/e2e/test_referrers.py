# SPDX-License-Identifier: Apache-2.0
"""referrers/: signatures, SBOMs and attestations of a manifest, as files to read."""

import json
import os
from errno import EACCES, EBUSY, EHOSTUNREACH, ENOENT, EPROTO

import pytest

import artifacts
import samples
from artifacts import Blob
from faulty_registry import Pages
from harness import raises, read, run, until
from registry import behaviours as b

SBOM = "application/vnd.cyclonedx+json"
NOTATION = "application/vnd.cncf.notary.signature"
SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"


@pytest.fixture
def image(registry):
    registry.referrers = True
    return samples.push_wasm(registry.store, "demo/app", "v1", size=20_000)


def refer(store, image, artifact_type, data, tag=None, seed=""):
    layer = Blob(data, "application/json", f"it{seed}.json")
    more = {"artifactType": artifact_type, "subject": image.descriptor()}
    return samples.push(store, "demo/app", tag, Blob(b"{}", artifacts.EMPTY), [layer], **more)


def cosign(store, image, kind, media_type, data):
    """As cosign writes it: under a tag, with the config of a container image."""
    config = Blob(b'{"architecture":"","os":"","rootfs":{"type":"layers","diff_ids":[]}}', artifacts.IMAGE_CONFIG)
    return samples.push(store, "demo/app", f"sha256-{image.hex}.{kind}", config, [Blob(data, media_type)])


def tree(m, below="demo/app:v1/referrers"):
    return {kind: sorted(os.listdir(m / below / kind)) for kind in sorted(os.listdir(m / below))}


def test_by_the_api(mount, registry, image):
    sbom = refer(registry.store, image, SBOM, b'{"bom":1}')
    other = refer(registry.store, image, SBOM, b'{"bom":2}', seed="2")
    signature = refer(registry.store, image, NOTATION, b"jws")
    m = mount()
    registry.clear()
    assert "referrers" in os.listdir(m / "demo/app:v1")
    assert registry.count(None, "referrers") == 0, "not before it is entered"
    assert tree(m) == {"application_vnd.cncf.notary.signature": [f"sha256-{signature.hex}"],
                       "application_vnd.cyclonedx+json": sorted([f"sha256-{sbom.hex}", f"sha256-{other.hex}"])}
    assert registry.count("GET", "/referrers/") == 1 and registry.count("GET", f"/manifests/{sbom.digest}") == 0
    link = m / f"demo/app:v1/referrers/application_vnd.cyclonedx+json/sha256-{sbom.hex}"
    assert os.readlink(link) == f"../../../../sha256/{sbom.hex}"
    assert os.lstat(link).st_size == len(os.readlink(link))
    assert read(link / "files/it.json") == b'{"bom":1}' and read(link / "manifest.json") == sbom.data
    twin = m / f"demo/app/tags/v1/referrers/application_vnd.cyclonedx+json/sha256-{sbom.hex}"
    assert os.path.realpath(twin) == os.path.realpath(link) and read(twin / "files/it.json") == b'{"bom":1}'
    assert os.listdir(link / "referrers") == [], "nobody refers to it"


def test_none(mount, registry, image):
    m = mount()
    assert os.listdir(m / "demo/app:v1/referrers") == []
    with raises(ENOENT):
        os.stat(m / "demo/app:v1/referrers/application_vnd.cyclonedx+json")


def test_pages(mount, registry, image):
    registry.pages = Pages(2)
    all_of_them = {f"sha256-{refer(registry.store, image, SBOM, b'%d' % i, seed=i).hex}" for i in range(7)}
    m = mount()
    assert set(tree(m)["application_vnd.cyclonedx+json"]) == all_of_them
    assert registry.count("GET", "/referrers/") == 4


def test_the_tag_that_stands_in(mount, registry, image):
    """Without the API; what the index says of a type is not always so, and the manifest's own word counts."""
    registry.referrers = False
    sbom = refer(registry.store, image, SBOM, b'{"bom":1}')
    entry = {**sbom.descriptor(), "artifactType": artifacts.EMPTY}
    index = {"schemaVersion": 2, "mediaType": artifacts.INDEX, "manifests": [entry]}
    registry.store.add_manifest("demo/app", index, artifacts.INDEX, f"sha256-{image.hex}")
    m = mount()
    assert tree(m) == {"application_vnd.cyclonedx+json": [f"sha256-{sbom.hex}"]}
    assert f"sha256-{image.hex}" not in os.listdir(m / "demo/app/tags")


@pytest.mark.parametrize("api", [True, False], ids=["api", "no-api"])
def test_cosign_s_own_tags(mount, registry, image, api):
    registry.referrers = api
    sig = cosign(registry.store, image, "sig", SIMPLE_SIGNING, b'{"critical":{}}')
    att = cosign(registry.store, image, "att", "application/vnd.dsse.envelope.v1+json", b'{"payload":""}')
    m = mount()
    assert tree(m) == {"application_vnd.dev.cosign.simplesigning.v1+json": [f"sha256-{sig.hex}"],
                       "application_vnd.dsse.envelope.v1+json": [f"sha256-{att.hex}"]}
    found = m / f"demo/app:v1/referrers/application_vnd.dev.cosign.simplesigning.v1+json/sha256-{sig.hex}"
    assert any(read(found / "layers" / name) == b'{"critical":{}}' for name in os.listdir(found / "layers"))


def test_a_repository_without_the_api_says_nothing_of_others(mount, registry, image):
    sbom = refer(registry.store, image, SBOM, b'{"bom":1}')
    samples.push_wasm(registry.store, "other/app", "v1", size=20_000)
    registry.on("GET", "/v2/other/app/referrers/", b.error(404, "UNSUPPORTED"))
    m = mount()
    assert tree(m, "other/app:v1/referrers") == {}
    assert tree(m) == {"application_vnd.cyclonedx+json": [f"sha256-{sbom.hex}"]}


def test_a_page_for_people_is_not_believed_for_long(mount, registry, image):
    sbom = refer(registry.store, image, SBOM, b'{"bom":1}')
    registry.on("GET", "/referrers/", b.answer(200, "<html>", content_type="text/html"), times=1)
    m = mount(None, "--list-ttl", "1s")
    assert tree(m) == {}
    until(lambda: tree(m) == {"application_vnd.cyclonedx+json": [f"sha256-{sbom.hex}"]}, what="the API being asked again")


@pytest.mark.parametrize("kind", ["../../etc", ".", "a\u202eb/c\n", "x" * 400, "sha256-x/y"])
def test_types_that_are_anything(mount, registry, image, kind):
    referrer = refer(registry.store, image, kind, b"{}")
    m = mount()
    (found, links), = tree(m).items()
    assert "/" not in found and not found.startswith(".") and len(found) < 200
    assert links == [f"sha256-{referrer.hex}"]
    assert read(m / "demo/app:v1/referrers" / found / links[0] / "manifest.json") == referrer.data


def test_types_that_are_nearly_the_same(mount, registry, image):
    """Each has a directory of its own, and nobody finds one under the name of another."""
    kinds = ["application/vnd.x", "application/vnd.X", "application_vnd.x", "application/vnd/x", "application/vnd_x",
             "application/vnd x"]
    made = {kind: refer(registry.store, image, kind, b"%d" % i).hex for i, kind in enumerate(kinds)}
    m = mount()
    found = tree(m)
    assert len(found) == len(kinds) and sorted(hex for hex, in found.values()) == sorted(f"sha256-{hex}" for hex in made.values())
    for kind in ("application/vnd.x", "application/vnd.X", "application/vnd_x"):
        assert found[kind.replace("/", "_")] == [f"sha256-{made[kind]}"]


@pytest.mark.parametrize("fault, code", [(b.error(500), EHOSTUNREACH), (b.too_many(60), EBUSY),
                                         (b.error(403, "DENIED"), EACCES)], ids=["500", "429", "403"])
def test_a_failure_is_not_none(mount, registry, image, fault, code):
    m = mount(None, "--timeout", "3s")
    os.listdir(m / "demo/app:v1")
    registry.on(None, "/referrers/", fault)
    with raises(code):
        os.listdir(m / "demo/app:v1/referrers")
    assert read(m / "demo/app:v1/manifest.json") == image.data
    assert m.log.wait(registry.address)


def test_old_ones_while_the_registry_is_away(mount, registry, image):
    refer(registry.store, image, SBOM, b'{"bom":1}')
    m = mount(None, "--list-ttl", "1s", "--timeout", "3s")
    before = tree(m)
    registry.stop()
    until(lambda: m.status()["hosts"][0]["state"] != "ok" or tree(m) is None, what="the registry being missed")
    assert tree(m) == before
    m.unmount()
    offline = mount(None, "--offline")
    assert tree(offline) == before


def test_a_new_one_is_seen_after_its_time(mount, registry, image):
    m = mount(None, "--list-ttl", "1s")
    assert tree(m) == {}
    refer(registry.store, image, SBOM, b'{"bom":1}')
    until(lambda: tree(m) != {}, what="the new referrer being listed")


def test_of_a_layout(mount, work, image, registry):
    sbom = artifacts.image(Blob(b"{}", artifacts.EMPTY), [Blob(b"{}", SBOM, "bom.json")], artifactType=SBOM,
                           subject=image.descriptor())
    layout = artifacts.image_layout(work / "layout", {"v1": image, "bom": sbom})
    m = mount(f"oci:{layout}")
    assert tree(m, "layout:v1/referrers") == {"application_vnd.cyclonedx+json": [f"sha256-{sbom.hex}"]}


def test_why(mount, registry, image):
    m = mount(None, "--timeout", "3s")
    os.listdir(m / "demo/app:v1")
    registry.on(None, "/referrers/", b.error(403, "DENIED", "pay first"))
    with raises(EACCES):
        os.listdir(m / "demo/app:v1/referrers")
    assert "pay first" in run([m.binary, "why", m / "demo/app:v1/referrers"], env=m.env).out


def test_json_of_the_index_is_not_believed(mount, registry, image):
    """An API that answers with what is none."""
    registry.on("GET", "/referrers/", b.answer(200, json.dumps({"manifests": "x"}), content_type=artifacts.INDEX))
    m = mount()
    with raises(EPROTO):
        os.listdir(m / "demo/app:v1/referrers")


def test_many_that_say_nothing(mount, registry, image):
    """What an index does not tell is read of so many manifests, and no more."""
    for i in range(200):
        refer(registry.store, image, None, b"%d" % i, seed=str(i))
    m = mount()
    registry.clear()
    listed = tree(m)
    assert sum(len(names) for names in listed.values()) == 200
    assert registry.count("GET", "/manifests/sha256:") <= 129
