# SPDX-License-Identifier: Apache-2.0
"""What one registry is slow with, and another has too: content is one node, and comes from whoever gives it."""

import os
import re
from errno import EHOSTUNREACH, ETIMEDOUT

import pytest

import samples
from harness import SLOW, Child, Clock, raises, read, until
from registry import behaviours as b
from several import hosts, spelt, why

SHARE = 2  # seconds that a place has to show what it can do


@pytest.fixture
def same(registries):
    """Two registries that hold the same image."""
    pair = [registries(), registries()]
    for r in pair:
        r.image = samples.push_wasm(r.store, "demo/app", "v1", size=400_000)
    return pair


def app(m, registry):
    return m / spelt(registry) / "demo/app:v1/main.wasm"


def look(m, *registries):
    for r in registries:
        os.stat(app(m, r))


def test_one_that_crawls_is_left(mount, same):
    """What it has sent is kept."""
    a, c = same
    m = mount(a.address, c.address)
    look(m, a, c)
    c.on("GET", "/blobs/", b.trickle(20_000, 1.0))
    with Clock() as took:
        assert read(app(m, a)) == a.image.layer.data
    assert took.seconds < 1 + SHARE * SLOW, "not at the pace of the other"
    assert a.count("GET", "/blobs/") == 1
    asked = next(r for r in a.requests() if r.method == "GET" and "/blobs/" in r.target).headers.get("Range")
    assert asked is None or re.fullmatch(r"bytes=[1-9]0000-399999", asked), "from where it was, if anything had come"
    slow = hosts(m)[c.address]
    assert slow["state"] == "slow" and slow["until"] and "another has too" in slow["reason"]


def test_one_that_crawls_is_better_than_one_that_is_silent(mount, same):
    a, c = same
    m = mount(a.address, c.address, "--timeout", "60s")
    look(m, a, c)
    c.on("GET", "/blobs/", b.trickle(60_000, 1.0))
    a.on("GET", "/blobs/", b.silent())
    with Clock() as took:
        assert read(app(m, a)) == a.image.layer.data
    assert took.seconds < 20 * SLOW and a.count("GET", "/blobs/") >= 1


def test_a_reader_of_the_silent_one_holds_nobody_up(mount, same):
    """It has the transfer already; then it is served with the other."""
    a, c = same
    m = mount(a.address, c.address, "--timeout", "30s")
    c.on("GET", "/blobs/", b.silent())
    child = Child(["sha256sum", app(m, c)])
    until(lambda: c.count("GET", "/blobs/") > 0, what="a transfer from the silent one")
    look(m, a)
    with Clock() as took:
        assert read(app(m, a)) == a.image.layer.data
    assert child.ends(10)[0] == 0
    assert took.seconds < (SHARE + 3) * SLOW and a.count("GET", "/blobs/") == 1


def test_a_silent_one_is_waited_for_once(mount, registries):
    a, c = registries(), registries()
    for n in range(4):
        for r in (a, c):
            samples.push_wasm(r.store, f"demo/n{n}", "v1", seed=n)
    m = mount(a.address, c.address)
    for n in range(4):
        for r in (a, c):
            os.stat(m / spelt(r) / f"demo/n{n}:v1/main.wasm")
    c.on("GET", "/blobs/", b.silent())
    with Clock() as took:
        for n in range(4):
            read(m / spelt(a) / f"demo/n{n}:v1/main.wasm")
    assert took.seconds < (SHARE + 2) * SLOW
    assert hosts(m)[c.address]["state"] == "slow" and hosts(m)[a.address]["state"] == "ok"
    assert c.count("GET", "/blobs/") == 1


def test_all_of_them_silent(mount, registries):
    """The time is that of the one who reads, however many are asked."""
    four = [registries() for _ in range(4)]
    for r in four:
        samples.push_wasm(r.store, "demo/app", "v1")
    m = mount(*[r.address for r in four], "--timeout", "12s")
    look(m, *four)
    for r in four:
        r.on("GET", "/blobs/", b.silent())
    with Clock() as took, raises(ETIMEDOUT):
        read(app(m, four[0]))
    answer = why(m, f"{spelt(four[0])}/demo/app:v1/main.wasm")
    assert answer["errno"] == "ETIMEDOUT" and "no answer in 6" in answer["text"]
    assert 11 < took.seconds < 14 * SLOW
    assert all(r.count("GET", "/blobs/") >= 1 for r in four)


def test_a_repository_that_is_silent(mount, registry):
    """And another of the same registry that has it."""
    for repo in ("demo/x", "demo/y"):
        image = samples.push_wasm(registry.store, repo, "v1", size=200_000)
    registry.on("GET", "/v2/demo/x/blobs/", b.silent())
    m = mount()
    child = Child(["sha256sum", m / "demo/x:v1/main.wasm"])
    until(lambda: registry.count("GET", f"/demo/x/blobs/{image.layer.digest}") > 0, what="a transfer from the silent one")
    with Clock() as took:
        assert read(m / "demo/y:v1/main.wasm") == image.layer.data
    assert child.ends(10)[0] == 0
    assert took.seconds < (SHARE + 3) * SLOW


def test_why_says_what_open_said(mount, same):
    a, c = same
    m = mount(a.address, c.address)
    look(m, a, c)
    c.on("GET", "/blobs/", b.error(403, "DENIED", "c says no"))
    a.on("GET", "/blobs/", b.error(503, "X", "a is ill"))
    with raises(EHOSTUNREACH):
        read(app(m, a))
    answer = why(m, f"{spelt(a)}/demo/app:v1/main.wasm")
    assert answer["errno"] == "EHOSTUNREACH" and "a is ill" in answer["text"]
