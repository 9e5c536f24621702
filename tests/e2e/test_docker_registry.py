# SPDX-License-Identifier: Apache-2.0
"""A real registry: Debian's docker-registry."""

import hashlib
import os
from errno import ENOENT

import artifacts
import samples
from harness import raises, read, run, until


def test_every_packaging(mount, docker_registry):
    made = {"wasm/component": artifacts.cncf(artifacts.wasm_component(1, 200_000), "hello.wasm"),
            "wasm/module": artifacts.cncf(artifacts.wasm_module(2, 3 << 20)),
            "wasm/runwasi": artifacts.runwasi(artifacts.wasm_module(3)),
            "wasm/old": artifacts.wasm_to_oci(artifacts.wasm_module(4)),
            "wasm/solo": artifacts.solo(artifacts.wasm_module(5)),
            "files": artifacts.oras({"a/b.txt": b"hello", "c": samples.noise(100_000)}),
            "image": artifacts.container({"hello.wasm": artifacts.wasm_module(6)})}
    for repo, artifact in made.items():
        artifacts.push(f"http://{docker_registry.address}", repo, "v1", artifact)
    m = mount(docker_registry.address)
    assert sorted(os.listdir(m)) == ["files", "image", "wasm"]
    assert sorted(os.listdir(m / "wasm")) == ["component", "module", "old", "runwasi", "solo"]
    for repo, artifact in made.items():
        assert os.listdir(m / repo / "tags") == ["v1"]
        assert os.readlink(m / f"{repo}:v1").endswith(artifact.hex)
        assert read(m / f"{repo}:v1/manifest.json") == artifact.data
        for blob in artifact.blobs():
            assert hashlib.sha256(read(m / repo / "blobs/sha256" / blob.hex)).hexdigest() == blob.hex
        if repo.startswith("wasm/"):
            assert read(m / f"{repo}:v1/main.wasm") == artifact.wasm.data
    assert read(m / "files:v1/files/a/b.txt") == b"hello"


def test_an_index(mount, docker_registry):
    child = artifacts.cncf(artifacts.wasm_module(1))
    index = artifacts.index({("wasip1", "wasm"): child})
    artifacts.push(f"http://{docker_registry.address}", "multi", "v1", index)
    m = mount(docker_registry.address)
    assert read(m / "multi:v1/manifest.json") == index.data
    assert read(m / f"multi@{child.digest}/main.wasm") == child.wasm.data


def test_many_tags_in_pages(mount, docker_registry):
    artifact = artifacts.cncf(artifacts.wasm_module(1))
    names = [f"t{i:04}" for i in range(250)]
    for name in names:
        artifacts.push(f"http://{docker_registry.address}", "many", name, artifact)
    m = mount(docker_registry.address)
    assert sorted(os.listdir(m / "many/tags")) == names
    run(["ls", "-l", m / "many/tags"]).ok()
    docker_registry.log.wait(r'"GET /v2/many/tags/list')
    assert not docker_registry.log.find(r'"(GET|HEAD) /v2/many/manifests/')


def test_a_moved_tag_and_what_is_not_there(mount, docker_registry):
    old, new = artifacts.cncf(artifacts.wasm_module(1)), artifacts.cncf(artifacts.wasm_module(2))
    url = f"http://{docker_registry.address}"
    artifacts.push(url, "demo", "v1", old)
    m = mount(docker_registry.address, "--tag-ttl", "1s")
    assert read(m / "demo:v1/main.wasm") == old.layer.data
    artifacts.push(url, "demo", "v1", new)
    until(lambda: read(m / "demo:v1/main.wasm") == new.layer.data, what="the tag moving")
    assert read(m / f"demo@{old.digest}/main.wasm") == old.layer.data
    for path in ("demo:nope", "nothing:v1", "demo@sha256:" + "0" * 64):
        with raises(ENOENT):
            os.stat(m / path / "manifest.json" if "@" in path else m / path)


def test_it_goes_and_the_cache_stays(mount, docker_registry):
    artifact = artifacts.cncf(artifacts.wasm_module(1, 2 << 20))
    artifacts.push(f"http://{docker_registry.address}", "demo", "v1", artifact)
    m = mount(docker_registry.address)
    assert read(m / "demo:v1/main.wasm") == artifact.layer.data
    docker_registry.process.terminate()
    docker_registry.process.wait(20)
    assert run(["sha256sum", m / "demo:v1/main.wasm"]).ok().out.startswith(artifact.layer.hex)
