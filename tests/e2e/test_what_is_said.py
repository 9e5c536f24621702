# SPDX-License-Identifier: Apache-2.0
"""What is said of a digest, or of a repository, is not what it is: wrong words must break nothing that is right."""

import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from errno import EACCES, EBADMSG, ENOENT, EPROTO, ETIMEDOUT

import pytest

import artifacts
import samples
from artifacts import Blob
from harness import Child, Clock, raises, read, run, until
from registry import behaviours as b

HEAD_FAULTS = {"type": lambda: b.content_type("text/html"), "index type": lambda: b.content_type(artifacts.INDEX),
               "length": lambda: b.set_header("Content-Length", "999"),
               "no length": lambda: b.set_header("Content-Length", "0")}


@pytest.mark.parametrize("name", HEAD_FAULTS)
def test_a_head_that_lies(mount, registry, name):
    samples.push_wasm(registry.store, "x/y", "other")
    image = samples.push_wasm(registry.store, "x/y", "v1", seed=6)
    m = mount()
    read(m / "x/y:other/main.wasm")  # the repository is known: tags are asked for by HEAD
    registry.on("HEAD", "/manifests/", HEAD_FAULTS[name]())
    assert read(m / "x/y:v1/main.wasm") == image.layer.data
    registry.heal()
    m.unmount()
    again = mount()
    assert read(again / "x/y:v1/main.wasm") == image.layer.data
    path = again / "x/y/blobs/sha256" / image.hex
    assert read(path) == image.data and os.stat(path).st_size == len(image.data)


def lie(store, image, **about_layer):
    """A manifest of the same repository that says something else of the same layer."""
    layer = {**image.layer.descriptor(), **about_layer}
    manifest = {"schemaVersion": 2, "mediaType": artifacts.MANIFEST, "config": image.config.descriptor(), "layers": [layer]}
    store.add_manifest("x/y", json.dumps(manifest).encode(), artifacts.MANIFEST, "lie")


def test_another_manifest_takes_the_layer_for_a_manifest(mount, registry):
    image = samples.push_wasm(registry.store, "x/y", "v1")
    lie(registry.store, image, mediaType=artifacts.MANIFEST)
    m = mount()
    os.listdir(m / "x/y:lie/layers")
    assert read(m / "x/y:v1/main.wasm") == image.layer.data
    assert read(m / "x/y/blobs/sha256" / image.layer.hex) == image.layer.data


def test_another_manifest_declares_another_size(mount, registry):
    image = samples.push_wasm(registry.store, "x/y", "v1")
    lie(registry.store, image, size=len(image.layer.data) + 1)
    m = mount(None, "--tag-ttl", "1s")
    with raises(EBADMSG):
        read(m / "x/y:lie/main.wasm")
    path = m / "x/y/blobs/sha256" / image.layer.hex
    until(lambda: os.stat(path).st_size == len(image.layer.data), what="the right size")
    assert read(path) == image.layer.data
    assert read(m / "x/y:v1/main.wasm") == image.layer.data
    with raises(EBADMSG):
        read(m / "x/y:lie/main.wasm")


def test_an_index_says_that_a_manifest_is_one_of_its_kind(mount, registry):
    image = samples.push_wasm(registry.store, "x/y", "v1")
    index = {"schemaVersion": 2, "mediaType": artifacts.INDEX, "manifests": [
        {"mediaType": artifacts.INDEX, "digest": image.digest, "size": len(image.data) + 1}]}
    registry.store.add_manifest("x/y", json.dumps(index).encode(), artifacts.INDEX, "lie")
    m = mount()
    os.listdir(m / "x/y:lie/")
    assert read(m / "x/y:v1/main.wasm") == image.layer.data
    m.unmount()
    again = mount()
    assert read(again / "x/y:v1/main.wasm") == image.layer.data
    assert read(again / f"x/y@{image.digest}/manifest.json") == image.data
    assert read(again / "x/y/blobs/sha256" / image.hex) == image.data


def test_a_layer_of_a_manifest_type(mount, registry):
    layer = Blob(b'{"schemaVersion":2,"manifests":[]}', artifacts.INDEX, "index.json")
    samples.push(registry.store, "x/y", "v1", Blob(b"{}", artifacts.EMPTY), [layer])
    m = mount()
    assert read(m / "x/y:v1/files/index.json") == layer.data


def test_a_listed_manifest_of_a_type_of_its_own(mount, registry):
    image = samples.push_wasm(registry.store, "x/y", "v1")
    index = {"schemaVersion": 2, "mediaType": artifacts.INDEX, "manifests": [
        {"mediaType": "application/vnd.example+json", "digest": image.digest, "size": len(image.data)}]}
    registry.store.add_manifest("x/y", json.dumps(index).encode(), artifacts.INDEX, "multi")
    m = mount()
    os.listdir(m / "x/y:multi/")
    assert read(m / "x/y/blobs/sha256" / image.hex) == image.data
    assert read(m / "x/y/manifests/sha256" / image.hex / "manifest.json") == image.data
    assert image.hex in os.listdir(m / "x/y/manifests/sha256")


def test_a_type_that_does_not_fit_is_refused_each_time(mount, registry):
    image = samples.push_wasm(registry.store, "x/y", "v1")
    registry.on("GET", "/manifests/", b.content_type(artifacts.INDEX))
    m = mount()
    for _ in range(2):
        with raises(EPROTO):
            os.listdir(m / f"x/y@{image.digest}/")
    registry.heal()
    assert "main.wasm" in os.listdir(m / f"x/y@{image.digest}/")


def test_what_one_repository_refuses_another_may_give(mount, registry):
    image = samples.push_wasm(registry.store, "b/has", "v1")
    samples.put(registry.store, "a/lacks", "v1", image)
    registry.on("GET", "/v2/a/lacks/blobs/", b.error(403, "DENIED", "not for you"))
    m = mount()
    os.stat(m / "b/has:v1/main.wasm")
    os.stat(m / "a/lacks:v1/main.wasm")  # the same inode, seen here last
    assert read(m / "b/has:v1/main.wasm") == image.layer.data


def test_who_joins_is_not_refused_for_another(mount, registry):
    image = samples.push_wasm(registry.store, "b/has", "v1")
    samples.put(registry.store, "a/lacks", "v1", image)
    hold = b.silent()
    registry.on("GET", "/v2/a/lacks/blobs/", b.error(403, "DENIED", "not for you"))
    registry.on("GET", "/v2/a/lacks/blobs/", hold)
    m = mount()
    os.stat(m / "b/has:v1/main.wasm")
    os.stat(m / "a/lacks:v1/main.wasm")
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(read, m / "a/lacks:v1/main.wasm")
        registry.wait_count(1, "GET", "/a/lacks/blobs/")
        second = pool.submit(read, m / "b/has:v1/main.wasm")
        until(lambda: m.status()["parked"] == 2, what="both waiting")
        hold.release()
        assert first.result() == second.result() == image.layer.data
    assert registry.count("GET", "/b/has/blobs/") == 1


# repositories, and what their listing says


LISTINGS = {"404": lambda: b.error(404, "NAME_UNKNOWN", "no such repository"), "404 html": lambda: b.answer(404, "<html>"),
            "404 page": lambda: b.error(404, "PAGE_NOT_FOUND", "404 page not found"),
            "410": lambda: b.error(410), "400": lambda: b.error(400), "405": lambda: b.error(405, "UNSUPPORTED"),
            "501": lambda: b.error(501), "garbage": lambda: b.answer(200, "not json"),
            "403": lambda: b.error(403, "DENIED", "no")}


@pytest.mark.parametrize("name", LISTINGS)
def test_a_reference_needs_no_listing(mount, registry, name):
    image = samples.push_wasm(registry.store, "x/y", "v1")
    registry.on("GET", "/tags/list", LISTINGS[name]())
    m = mount()
    assert read(m / f"x/y@{image.digest}/main.wasm") == image.layer.data
    assert registry.count("GET", "/tags/list") == 0
    assert read(m / "x/y:v1/main.wasm") == image.layer.data
    assert read(m / "x/y/tags/v1/main.wasm") == image.layer.data
    assert read(m / "x/y/blobs/sha256" / image.layer.hex) == image.layer.data


@pytest.mark.parametrize("name", [name for name in LISTINGS if name not in ("404", "410")])
def test_a_listing_that_fails_closes_nothing_else(mount, registry, name):
    image = samples.push_wasm(registry.store, "x/y", "v1")
    registry.on("GET", "/tags/list", LISTINGS[name]())
    m = mount()
    for path in (f"manifests/sha256/{image.hex}/main.wasm", f"blobs/sha256/{image.layer.hex}", "tags/v1/main.wasm"):
        assert read(m / "x/y" / path) == image.layer.data
    with raises(EACCES if name == "403" else EPROTO):
        os.listdir(m / "x/y/tags")


def test_an_unlisted_repository_is_found_after_all(mount, registry):
    image = samples.push_wasm(registry.store, "x/y", "v1")
    registry.on("GET", "/tags/list", LISTINGS["404"]())
    m = mount()
    assert not os.path.exists(m / "x/y/manifests")
    assert read(m / "x/y:v1/main.wasm") == image.layer.data, "what the kernel remembers of that must not stand in the way"


def test_a_repository_without_tags(mount, docker_registry):
    image = artifacts.cncf(artifacts.wasm_module(1, 3000))
    artifacts.push(f"http://{docker_registry.address}", "demo/untagged", image.digest, image)
    m = mount(docker_registry.address)
    assert read(m / f"demo/untagged@{image.digest}/main.wasm") == image.wasm.data
    assert os.listdir(m / "demo/untagged/manifests/sha256") == [image.hex]


def test_a_listing_of_many_slow_pages_delays_nobody(mount, registry):
    image = samples.push_wasm(registry.store, "x/y", "v1")
    for i in range(30_000):
        registry.store.tag("x/y", f"t{i:05}", image.digest)
    registry.on("GET", "/tags/list", b.latency(0.2))
    m = mount()
    with Clock() as took:
        assert read(m / "x/y/tags/v1/main.wasm") == image.layer.data
        assert read(m / f"x/y/manifests/sha256/{image.hex}/main.wasm") == image.layer.data
    assert registry.count("GET", "/tags/list") == 1, "one page tells that it exists"
    assert took.seconds < 4


def test_a_short_listing_is_asked_for_once(mount, registry):
    samples.push_wasm(registry.store, "x/y", "v1")
    m = mount()
    assert os.listdir(m / "x/y/tags") == ["v1"]
    assert registry.count("GET", "/tags/list") == 1


# turns


def test_who_waits_for_a_turn_is_not_told_of_silence(mount, registry):
    """More transfers at once than a host is asked for, each of which takes longer than --timeout in all."""
    images = [samples.push_wasm(registry.store, f"r/b{i}", "v1", size=150_000, seed=i) for i in range(20)]
    registry.on("GET", "/blobs/", b.trickle(25_000, 0.25))
    m = mount(None, "--timeout", "1s")
    for i in range(20):
        os.stat(m / f"r/b{i}:v1/main.wasm")
    with ThreadPoolExecutor(20) as pool:
        read_all = [pool.submit(read, m / f"r/b{i}:v1/main.wasm") for i in range(20)]
        for image, found in zip(images, read_all):
            assert found.result() == image.layer.data
    assert registry.count("GET", "/blobs/") == 20


def test_attributes_of_tags_cost_nothing(mount, registry):
    image = samples.push_wasm(registry.store, "x/y", "v1")
    for i in range(50):
        registry.store.tag("x/y", f"t{i:02}", image.digest)
    m = mount()
    names = os.listdir(m / "x/y/tags")
    before = registry.count()
    for name in names:
        os.stat(m / "x/y/tags" / name)
        os.listxattr(m / "x/y/tags" / name)
    assert registry.count() == before
    os.listdir(m / "x/y/tags/t00")
    assert "user.oci.digest" in os.listxattr(m / "x/y/tags/t00"), "what it names is known now"


def test_inodes_of_tags(mount, registry):
    samples.push_wasm(registry.store, "x/y", "v1")
    m = mount()
    [entry] = os.scandir(m / "x/y/tags")
    inode = os.stat(m / "x/y/tags/v1").st_ino
    assert entry.inode() == inode
    os.listdir(m / "x/y/tags/v1")
    run(["sh", "-c", "echo 2 > /proc/sys/vm/drop_caches"], check=True)
    assert os.stat(m / "x/y/tags/v1").st_ino == inode


def test_a_killed_caller_is_let_go_whenever_its_signal_came(mount, registry):
    """A signal that is pending before the request is: the kernel interrupts right behind it."""
    samples.push_wasm(registry.store, "x/y", "v1")
    registry.on(None, "/manifests/", b.silent())
    m = mount()
    program = ("import os, signal, sys, threading\n"
               "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n"
               "def later():\n"
               "    os.kill(os.getpid(), signal.SIGKILL)\n"
               "threading.Timer(0.002 * int(sys.argv[2]), later).start()\n"
               "os.readlink(sys.argv[1])\n")
    with ThreadPoolExecutor(10) as pool:
        ended = list(pool.map(lambda i: run(["/usr/bin/python3", "-c", program, m / f"x/y:v{i}", i % 10], timeout=30).code,
                              range(40)))
    assert ended == [-9] * 40


# what was found by trying


def one_layer(store, repo, tag, data, size=None, title="f.bin"):
    """A manifest of one layer that it declares with this size."""
    layer, config = Blob(data, "application/octet-stream", title), Blob(b"{}", "application/vnd.x+json")
    for blob in (layer, config):
        store.add_blob(repo, blob.data)
    manifest = {"schemaVersion": 2, "mediaType": artifacts.MANIFEST, "config": config.descriptor(),
                "layers": [{**layer.descriptor(), "size": len(data) if size is None else size}]}
    store.add_manifest(repo, json.dumps(manifest).encode(), artifacts.MANIFEST, tag)
    return layer


@pytest.mark.parametrize("size", ["0", "5", "999999"])
def test_a_wrong_length_of_a_lone_blob_heals(mount, registry, size):
    image = samples.push_wasm(registry.store, "x/y", "v1", seed=1)
    path = "x/y/blobs/sha256/" + image.layer.hex
    registry.on("HEAD", "/blobs/", b.set_header("Content-Length", size), times=1)
    m = mount(None, "--tag-ttl", "1s")
    os.listdir(m / "x/y/tags")
    with raises(EBADMSG):
        read(m / path)
    until(lambda: os.stat(m / path).st_size == len(image.layer.data), what="the right size")
    assert read(m / path) == image.layer.data
    m.unmount()
    assert read(mount() / path) == image.layer.data


def test_a_manifest_that_declares_nothing(mount, registry):
    data = samples.noise(5000, 3)
    layer = one_layer(registry.store, "x/y", "lie", data, 0)
    one_layer(registry.store, "x/y", "v1", data)
    m = mount(None, "--tag-ttl", "1s")
    with raises(EBADMSG):
        read(m / "x/y:lie/files/f.bin")
    path = m / "x/y/blobs/sha256" / layer.hex
    until(lambda: os.stat(path).st_size == len(data), what="the right size")
    assert read(path) == data
    assert read(m / "x/y:v1/files/f.bin") == data


def test_what_another_repository_says_of_a_size(mount, registry):
    image = samples.push_wasm(registry.store, "good/app", "v1", seed=1)
    registry.store.add_blob("evil/app", image.layer.data)
    samples.push_wasm(registry.store, "evil/app", "x", seed=8)
    registry.on("HEAD", "/evil/app/blobs/", b.set_header("Content-Length", "999"))
    m = mount()
    os.listdir(m / "evil/app/tags")
    os.listdir(m / "good/app:v1/layers")
    assert os.stat(m / "evil/app/blobs/sha256" / image.layer.hex).st_size == 999
    assert read(m / "good/app/blobs/sha256" / image.layer.hex) == image.layer.data


def test_many_that_refuse_and_one_that_gives(mount, registry):
    data = samples.noise(3000, 4)
    repos = [f"n/a{i}" for i in range(9)] + ["n/z"]
    for repo in repos:
        one_layer(registry.store, repo, "v", data)
    registry.on("GET", r"/v2/n/a\d/blobs/", b.error(403, "DENIED", "not for you"))
    m = mount()
    for repo in repos:
        os.listdir(m / f"{repo}:v/files")
    os.stat(m / "n/z:v/files/f.bin")
    os.stat(m / "n/a6:v/files/f.bin")  # the last that is looked up
    assert read(m / "n/z:v/files/f.bin") == data


def test_a_layer_is_no_manifest(mount, registry):
    layer = one_layer(registry.store, "x/y", "v", samples.noise(3000, 5))
    m = mount()
    link = m / f"x/y@{layer.digest}"
    with raises(ENOENT):
        os.readlink(link)
    os.listdir(m / "x/y:v/files")
    with raises(ENOENT):
        os.readlink(link)
    read(m / "x/y:v/files/f.bin")
    with raises(ENOENT, EPROTO):  # by now its bytes are here, and no manifest
        os.readlink(link)


def test_what_cannot_be_parsed_is_no_link_the_second_time_either(mount, registry):
    digest = registry.store.add_manifest("x/y", b"<html>", artifacts.MANIFEST, "v1")
    m = mount()
    for _ in range(3):
        with raises(EPROTO):
            os.readlink(m / f"x/y@{digest}")


def test_a_small_blob_does_not_wait_behind_large_ones(mount, registry):
    for i in range(8):
        one_layer(registry.store, "x/slow", f"v{i}", samples.noise(3 << 20, i))
    fast = one_layer(registry.store, "x/fast", "v", b"hello" * 100)
    m = mount()
    for i in range(8):
        os.stat(m / f"x/slow:v{i}/files/f.bin")
    os.stat(m / "x/fast:v/files/f.bin")
    rule = registry.on("GET", "/x/slow/blobs/", b.trickle(20_000, 0.5))
    slow = [Child(["cat", m / f"x/slow:v{i}/files/f.bin"]).waiting("open") for i in range(8)]
    registry.wait_count(6, "GET", "/x/slow/blobs/")
    with Clock() as took:
        assert read(m / "x/fast:v/files/f.bin") == fast.data
    assert took.seconds < 3
    for one in slow:
        one.send(9)
    rule.remove()
    for one in slow:
        one.ends(10)


def test_a_turn_that_never_comes_has_an_end(mount, registry):
    for i in range(7):
        one_layer(registry.store, "x/slow", f"v{i}", samples.noise(3 << 20, i))
    m = mount(None, "--timeout", "400ms")
    for i in range(7):
        os.stat(m / f"x/slow:v{i}/files/f.bin")
    registry.on("GET", "/x/slow/blobs/", b.trickle(10_000, 0.1))
    slow = [Child(["cat", m / f"x/slow:v{i}/files/f.bin"]).waiting("open") for i in range(6)]
    registry.wait_count(6, "GET", "/x/slow/blobs/")
    with Clock() as took, raises(ETIMEDOUT):
        read(m / "x/slow:v6/files/f.bin")
    assert 1 < took.seconds < 25, "longer than one call, and not for ever"
    for one in slow:
        one.send(9).ends(10)


def test_what_a_registry_wants_people_to_know(mount, registry):
    """Warning headers: each text once, cleaned, and only those that the distribution spec knows."""
    image = samples.push_wasm(registry.store, "demo/app", "v1", size=100_000)
    registry.on(None, "", b.set_header("Warning", '299 - "v1 is \x1b[31mdeprecated", 110 - "stale"'))
    m = mount()
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert len(registry.log) > 1
    said = m.log.wait("deprecated")
    assert len(said) == 1 and registry.address in said[0] and "\x1b" not in said[0]
    assert not m.log.find("stale")
