# SPDX-License-Identifier: Apache-2.0
"""`wasmocifs why PATH`: every failure can be explained afterwards, and explaining asks nobody."""

import calendar
import contextlib
import json
import os
import subprocess
import time
import types
from errno import (EACCES, EBADMSG, EBUSY, EFBIG, EHOSTUNREACH, EIO, ENOENT, ENOEXEC, ENOSPC, ENOTDIR, EOPNOTSUPP, EPROTO,
                   ETIMEDOUT, errorcode)

import pytest

import samples
from disturb import Disturbance, library
from harness import SCALE, Child, opens, raises, read, run, until
from registry import behaviours as b


@pytest.fixture
def image(registry):
    return samples.push_wasm(registry.store, "demo/app", "v1", size=20_000)


def why(m, path, json_too=True):
    text = run([m.binary, "why", m / path], env=m.env).ok().out
    if not json_too:
        return text
    answer = json.loads(run([m.binary, "why", "--json", m / path], env=m.env).ok().out)
    assert answer["text"] in text
    return answer


FAULTS = {EACCES: lambda: b.error(403, "DENIED", "pay first"), EHOSTUNREACH: lambda: b.error(503, "UNAVAILABLE", "later"),
          EBADMSG: lambda: b.flip(1000), EPROTO: lambda: b.answer(418, "short and stout")}


@pytest.mark.parametrize("code", FAULTS, ids=lambda code: errorcode[code])
def test_a_blob_that_failed(mount, registry, image, code):
    registry.on(None, "/blobs/", FAULTS[code]())
    m = mount(None, "--timeout", "2s")
    with raises(code):
        read(m / "demo/app:v1/main.wasm")
    asked = registry.count()
    answer = why(m, "demo/app:v1/main.wasm")
    assert answer["state"] == "failed" and answer["errno"] == errorcode[code]
    assert registry.address in answer["text"] and image.layer.digest in answer["text"]
    assert answer["hint"] and answer["since"].startswith(time.strftime("%Y-", time.gmtime()))
    assert answer["path"] == f"/demo/app/manifests/sha256/{image.hex}/main.wasm", "links are followed"
    assert registry.count() == asked, "nobody is asked"
    registry.heal()
    until(lambda: os.path.exists(m / "demo/app:v1/main.wasm") and opens(m / "demo/app:v1/main.wasm"), what="it opening")
    assert why(m, "demo/app:v1/main.wasm")["state"] == "fine"


def test_a_tag_and_a_listing_that_failed(mount, registry, image):
    registry.on(None, "/manifests/|/tags/list", b.error(403, "DENIED", "not for you"))
    m = mount()
    with raises(EACCES):
        os.readlink(m / "demo/app:v1")
    answer = why(m, "demo/app:v1")
    assert answer["errno"] == "EACCES" and "not for you" in answer["text"] and answer["path"] == "/demo/app:v1"
    assert "docker login" in answer["hint"]
    with raises(EACCES):
        os.listdir(m / "demo/app/tags")
    assert "not for you" in why(m, "demo/app/tags")["text"]


def test_what_does_not_exist(mount, registry, image):
    m = mount()
    with raises(ENOENT):
        os.readlink(m / "demo/app:nope")
    assert "nope" in why(m, "demo/app:nope")["text"]
    read(m / "demo/app:v1/manifest.json")
    for path in ("demo/app:v1/nothing", "UPPER", "demo/app:" + "t" * 129, "demo/" + "l" * 300):
        with raises(ENOENT):
            os.stat(m / path)
        answer = why(m, path)
        assert answer["errno"] == "ENOENT" and "no such name" in answer["text"]
        assert answer["path"].endswith(path.rpartition("/")[2]), "which name it is"
    with raises(ENOTDIR):
        os.stat(m / "demo/app:v1/manifest.json/x")
    answer = why(m, "demo/app:v1/manifest.json/x")
    assert answer["errno"] == "ENOTDIR" and "a file" in answer["hint"]


def test_a_name_that_is_no_utf_8(mount, registry, binary):
    m = mount()
    for command in ("why", "refresh"):
        result = subprocess.run([binary, command, os.fsencode(m / "demo") + b"/\xff"], env=m.env, capture_output=True, check=False)
        assert result.returncode == 1 and result.stdout == b"" and b"check the spelling" in result.stderr


def test_main_wasm_that_is_none(mount, registry):
    samples.push_wasm(registry.store, "demo/fake", "v1", b"\x7fELF" + samples.noise(500))
    m = mount()
    with raises(ENOEXEC):
        read(m / "demo/fake:v1/main.wasm")
    answer = why(m, "demo/fake:v1/main.wasm")
    assert answer["errno"] == "ENOEXEC" and "layers/" in answer["hint"]


def test_what_nobody_has_asked_for(mount, registry, image):
    m = mount()
    assert why(m, "demo/app:v1/main.wasm")["state"] == "unasked"
    assert why(m, "")["state"] in ("unasked", "fine")
    assert registry.count() == 0


def test_down_and_offline(mount, registry, image):
    m = mount(None, "--timeout", "2s")
    registry.stop()
    with raises(EHOSTUNREACH):
        os.readlink(m / "demo/app:v1")
    assert why(m, "demo/app:v1")["errno"] == "EHOSTUNREACH"
    m.unmount()
    offline = mount(None, "--offline")
    answer = why(offline, "demo/app:v1")
    assert answer["errno"] == "EHOSTUNREACH" and "--offline" in answer["text"]
    assert f"{registry.address}: demo/app:v1: not in the cache" in answer["text"] and "curl" not in answer["hint"]
    with raises(EHOSTUNREACH):
        os.readlink(offline / "demo/app:v1")
    assert offline.log.wait(f"readlink: {registry.address}: demo/app:v1: not in the cache")
    registry.start()


def test_silence_is_explained_while_it_lasts(mount, registry, image):
    registry.pause()
    m = mount()
    text = why(m, "demo/app:v1/main.wasm", json_too=False)
    assert "state   unasked" in text
    registry.resume()


def state_of(m):
    return m.status()["hosts"][0]


def test_the_state_of_the_host(mount, registry, image):
    samples.push_wasm(registry.store, "demo/other", "v1", size=2000, seed=3)
    m = mount()
    assert (state_of(m)["state"], state_of(m)["until"]) == ("unknown", None)
    rule = registry.on(None, "/manifests/", b.error(403, "DENIED", "pay first"))
    with raises(EACCES):
        os.readlink(m / "demo/app:v1")
    host = state_of(m)
    assert (host["state"], host["errno"]) == ("refused", "EACCES") and "pay first" in host["reason"]
    rule.remove()
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert (state_of(m)["state"], state_of(m)["errno"]) == ("ok", None)
    registry.on("GET", "/demo/other/blobs/", b.too_many(3), times=1)
    cat = Child(["cat", m / "demo/other:v1/main.wasm"]).waiting("open")
    until(lambda: state_of(m)["state"] == "gated", what="the host being waited for")
    assert state_of(m)["until"].endswith("Z")
    assert "gated until 2" in run([m.binary, "status", m], env=m.env).ok().out
    assert cat.ends(20)[0] == 0
    until(lambda: state_of(m)["state"] == "ok", what="the host being asked again")


def test_a_host_that_wants_to_be_left_alone(mount, registry, image):
    """A Retry-After beyond what a reader waits: nobody asks before, and everybody is told until when."""
    rule = registry.on("GET", "/blobs/", b.too_many(12))
    m = mount(None, "--timeout", "2s")
    with raises(EBUSY):
        read(m / "demo/app:v1/main.wasm")
    asked = registry.count()
    with raises(EBUSY):
        read(m / "demo/app:v1/main.wasm")
    assert registry.count() == asked
    host = state_of(m)
    assert (host["state"], host["errno"]) == ("gated", "EBUSY") and host["until"] and "slow down" in host["reason"]
    said = run([m.binary, "why", m / "demo/app:v1/main.wasm"], env=m.env).out
    assert "429" in said and "EBUSY" in said
    other = why(m, "demo/never:v1")
    assert (other["state"], other["errno"], other["asked"]) == ("failed", "EBUSY", registry.address)
    assert "it has asked us to wait until" in other["text"] and other["since"] == host["since"], "by what it did last, and when"
    rule.remove()
    until(lambda: opens(m / "demo/app:v1/main.wasm"), 30, what="the host being asked again")
    assert registry.count() > asked and state_of(m)["state"] == "ok"


def test_a_host_whose_tags_are_old(mount, registry, image):
    m = mount(None, "--tag-ttl", "1s", "--timeout", "2s")
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    rule = registry.on(None, "", b.error(403, "DENIED", "pay first"))
    until(lambda: os.readlink(m / "demo/app:v1") and state_of(m)["state"] == "stale", what="an old tag being served")
    assert "pay first" in state_of(m)["reason"]
    assert "stale" in run([m.binary, "status", m], env=m.env).ok().out
    rule.remove()
    until(lambda: os.readlink(m / "demo/app:v1") and state_of(m)["state"] == "ok", what="the host being well again")


def test_paths_of_other_mounts(mount, registry, binary, work):
    m = mount()
    result = run([binary, "why", work], env=m.env)
    assert result.code == 1 and "lies in no wasmocifs mount" in result.err
    result = run([binary, "why"], env=m.env)
    assert result.code == 2
    result = run([binary, "why", f"{m}/a\x1b[31m"], env=m.env)
    assert result.code in (0, 1) and "\x1b" not in result.out + result.err
    m.kill()
    result = run([binary, "why", f"{m}/x"], env=m.env)
    assert result.code == 1 and "has died" in result.err


# --- every errno of DESIGN, "Errors" ---
#
# Each case: how to bring it about, what the path is, who is named as asked (True: the registry; False: nobody), a word of
# the cause, a word of the next step. EKEYREJECTED is reserved: nothing gives it yet.


def _blob(fault, *options):
    def make(world):
        world.image = samples.push_wasm(world.registry.store, "demo/app", "v1", size=20_000)
        world.registry.on(None, "/blobs/", fault())
        return world.mount(None, "--timeout", "2s", *options), "demo/app:v1/main.wasm", read
    return make


def _nothing(world):
    samples.push_wasm(world.registry.store, "demo/app", "v1")
    return world.mount(), "demo/app:nope", os.readlink


def _no_name(world):
    return world.mount(), "demo/UPPER", os.stat


def _down(world):
    world.registry.stop()
    return world.mount(), "demo/app:v1", os.readlink


def _offline(world):
    return world.mount(None, "--offline"), "demo/app:v1", os.readlink


def _not_wasm(world):
    samples.push_wasm(world.registry.store, "demo/fake", "v1", b"\x7fELF" + samples.noise(500))
    return world.mount(), "demo/fake:v1/main.wasm", read


def _large_blob(world):
    samples.push_wasm(world.registry.store, "demo/big", "v1", size=6 << 20)
    return world.mount(None, "--cache-size", "4M"), "demo/big:v1/main.wasm", read


def _large_manifest(world):
    data = b'{"schemaVersion":2,"annotations":{"x":"' + b"x" * (5 << 20) + b'"}}'
    world.registry.store.add_manifest("demo/big", data, "application/vnd.oci.image.manifest.v1+json", "v1")
    return world.mount(), "demo/big:v1", os.readlink


def _schema_1(world):
    world.registry.store.add_manifest("demo/old", b'{"schemaVersion":1,"name":"demo/old","tag":"v1","fsLayers":[]}',
                                      "application/vnd.docker.distribution.manifest.v1+json", "v1")
    return world.mount(), "demo/old:v1/", os.listdir


def _odd_digest(world):
    return world.mount(), "demo/app@blake9:" + "ab" * 20, os.readlink


def _disturbed(world, size, *codes, **more):
    path = library(world.binary)
    if not path.exists() or SCALE < 1:
        pytest.skip("needs tests/e2e/disturb.so, which does not go together with a sanitizer's runtime")
    disturbance = Disturbance(path, world.work / "wishes", world.work / "cache")
    samples.push_wasm(world.registry.store, "demo/app", "v1", size=size)
    m = world.mount(env=disturbance.env)
    os.stat(m / "demo/app:v1/main.wasm")
    world.enter(disturbance.faults(*codes, **more))
    return m, "demo/app:v1/main.wasm", read


def _no_room(world):
    return _disturbed(world, 70 << 20, ENOSPC, changes_only=True)


def _broken_disk(world):
    return _disturbed(world, 20_000, EIO)


CASES = {
    "ENOENT of the registry": (ENOENT, _nothing, True, "404", "spelling"),
    "ENOENT by grammar": (ENOENT, _no_name, False, "no such name", "spelling"),
    "EACCES": (EACCES, _blob(lambda: b.error(403, "DENIED", "pay first")), True, "pay first", "docker login"),
    "EHOSTUNREACH, 5xx": (EHOSTUNREACH, _blob(lambda: b.error(503, "UNAVAILABLE", "later")), True, "503", "curl"),
    "EHOSTUNREACH, refused": (EHOSTUNREACH, _down, True, "onnect", "curl"),
    "EHOSTUNREACH, offline": (EHOSTUNREACH, _offline, False, "--offline", "without --offline"),
    "ETIMEDOUT": (ETIMEDOUT, _blob(lambda: b.silent()), True, "", "--timeout"),
    "EBUSY": (EBUSY, _blob(lambda: b.too_many(12)), True, "429", "limits requests"),
    "EBADMSG": (EBADMSG, _blob(lambda: b.flip(1000)), True, "digest", "nothing of it was kept"),
    "EPROTO": (EPROTO, _blob(lambda: b.answer(418, "short and stout")), True, "418", "curl"),
    "EFBIG of a blob": (EFBIG, _large_blob, False, "cache", "--cache-size"),
    "EFBIG of a manifest": (EFBIG, _large_manifest, True, "4194304", "publish"),
    "ENOSPC": (ENOSPC, _no_room, False, "do not fit into memory either", "make room"),
    "EOPNOTSUPP, digest": (EOPNOTSUPP, _odd_digest, False, "blake9", "sha256"),
    "EOPNOTSUPP, schema 1": (EOPNOTSUPP, _schema_1, True, "schema 1", "publish it anew"),
    "ENOEXEC": (ENOEXEC, _not_wasm, False, "no WebAssembly", "layers/"),
    "EIO": (EIO, _broken_disk, False, "cache", "journalctl"),
}
NAMES = {EOPNOTSUPP: "EOPNOTSUPP"}  # Python has another one for the same number


@pytest.fixture
def world(mount, registry, binary, work):
    with contextlib.ExitStack() as stack:
        yield types.SimpleNamespace(mount=mount, registry=registry, binary=binary, work=work, enter=stack.enter_context)
        registry.heal()
        registry.start()


@pytest.mark.parametrize("case", CASES)
def test_every_errno(world, case):
    """What failed, when, who was asked, what to do: in the words for people, and as JSON."""
    code, make, asked, cause, step = CASES[case]
    m, path, touch = make(world)
    before = time.time()
    with raises(code):
        touch(m / path)
    answer = why(m, path)
    text = why(m, path, json_too=False)
    print(text)
    name = NAMES.get(code) or errorcode[code]
    assert answer["state"] == "failed" and answer["errno"] == name and f"\n  errno   {name}\n" in text
    assert cause in answer["text"] and f"\n  why     {answer['text']}\n" in text
    assert step in answer["hint"] and text.endswith(f"\n  do      {answer['hint']}\n")
    assert answer["asked"] == (world.registry.address if asked else None)
    assert (f"\n  asked   {world.registry.address}\n" in text) == bool(asked)
    if asked:
        assert world.registry.address in answer["text"]
        then = calendar.timegm(time.strptime(answer["since"], "%Y-%m-%dT%H:%M:%SZ"))
        assert int(before) <= then <= time.time()
    assert text.count("\n  when    ") == 1
    assert (answer["since"] or "it is so now") in text


def test_every_errno_is_here():
    design = {ENOENT, EACCES, EHOSTUNREACH, ETIMEDOUT, EBUSY, EBADMSG, EPROTO, EFBIG, ENOSPC, EOPNOTSUPP, ENOEXEC, EIO}
    assert {case[0] for case in CASES.values()} == design
