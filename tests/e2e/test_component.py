# SPDX-License-Identifier: Apache-2.0
"""A real runtime runs the sample component (tests/data/hello.wat) straight from a mount of a real registry.

The runtime is wasmtime from PATH, else the same engine as a Python package; scripts/test installs it and assembles the
sample, both in build/.
"""

import os
import shutil
from errno import EACCES

import pytest

import artifacts
from conftest import ROOT
from harness import NOBODY, STRANGER, raises, read, run

COMPONENT = ROOT / "build" / "hello.wasm"
ENGINE = ROOT / "build" / "engine"
LINE = "Hello! I came out of a registry\n"
AS_NOBODY = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
AS_STRANGER = {"user": STRANGER, "group": STRANGER, "extra_groups": []}


@pytest.fixture
def run_component(work):
    """run_component(path, **more): as whoever `more` says, who need not be able to enter the checkout."""
    if shutil.which("wasmtime"):
        # Its compilation cache belongs into a home directory, which these users do not have.
        return lambda path, **more: run(["wasmtime", "run", "-C", "cache=n", path], **more)
    if not (ENGINE / "complete").exists():
        pytest.skip("no wasmtime: neither on PATH nor in build/engine, where scripts/test installs it")
    [packages] = ENGINE.glob("lib/python3*/site-packages")
    shutil.copytree(packages / "wasmtime", work / "packages" / "wasmtime")
    shutil.copy(ROOT / "scripts" / "component", work / "packages" / "component")
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(work / "packages"), "PYTHONDONTWRITEBYTECODE": "1"}
    return lambda path, **more: run(["/usr/bin/python3", work / "packages" / "component", "run", path], env=env, **more)


@pytest.fixture
def hello(docker_registry):
    """The sample, pushed to docker-registry; its bytes."""
    if not COMPONENT.exists():
        pytest.skip("build/hello.wasm is not there: scripts/test assembles it")
    data = COMPONENT.read_bytes()
    artifacts.push(f"http://{docker_registry.address}", "demo/hello", "v1", artifacts.cncf(data, "hello.wasm"))
    return data


def test_a_runtime_runs_the_component(mount, docker_registry, hello, run_component):
    m = mount(docker_registry.address)
    for path in ("demo/hello:v1/main.wasm", "demo/hello/tags/v1/files/hello.wasm", "demo/hello:v1/layers/0.wasm"):
        assert run_component(m / path).ok().out == LINE
    assert read(m / "demo/hello:v1/main.wasm") == hello


def test_it_runs_with_the_registry_gone(mount, docker_registry, hello, run_component):
    m = mount(docker_registry.address)
    assert run_component(m / "demo/hello:v1/main.wasm").ok().out == LINE
    docker_registry.process.terminate()
    docker_registry.process.wait()
    assert run_component(m / "demo/hello:v1/main.wasm").ok().out == LINE
    m.unmount()
    again = mount(docker_registry.address)
    assert run_component(again / "demo/hello:v1/main.wasm").ok().out == LINE


def test_an_ordinary_user_mounts_and_runs_it(mount, docker_registry, hello, run_component, work):
    if shutil.which("fusermount3") is None:
        pytest.skip("fusermount3 is not installed (Debian package fuse3)")
    cache = work / "their-cache"
    cache.mkdir(mode=0o700)
    os.chown(cache, NOBODY, NOBODY)
    m = mount(docker_registry.address, user=NOBODY, cache=cache)
    assert run_component(m / "demo/hello:v1/main.wasm", **AS_NOBODY).ok().out == LINE
    refused = run_component(m / "demo/hello:v1/main.wasm", **AS_STRANGER)
    assert refused.code != 0 and "ermission denied" in refused.err
    with raises(EACCES):
        read(m / "demo/hello:v1/main.wasm")
