# SPDX-License-Identifier: Apache-2.0
"""Credentials that a helper program keeps."""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from errno import EACCES, ETIMEDOUT

import pytest

import samples
from harness import SLOW, children_of, raises, read, until
from logins import SECRET, authorizations, no_secret_in, printed
from registry.auth import Basic, Bearer


@pytest.fixture
def image(registry):
    return samples.push_wasm(registry.store, "demo/app", "v1", size=200_000)


@pytest.mark.parametrize("key", ["credHelpers", "credsStore"])
def test_a_helper_has_the_login(mount, registry, image, home, key):
    registry.auth = Basic("me", SECRET)
    home.helper("keeper", printed("me", SECRET))
    config = {"credHelpers": {registry.address: "keeper"}, "credsStore": "nobody"}
    home.config(auths={registry.address: {"auth": "bWU6d3Jvbmc="}},
                **(config if key == "credHelpers" else {"credsStore": "keeper"}))
    m = mount(env=home.env)
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert home.asked() == [f"get {registry.address}"]
    assert len([r for r in registry.requests() if r.status == 401]) == 1
    no_secret_in(m)


def test_a_helper_of_containers(mount, registry, image, home, work):
    registry.auth = Basic("me", SECRET)
    home.helper("keeper", printed("me", SECRET))
    m = mount(env=home.env)
    path = work / "m0" / "run" / "containers" / "auth.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"credHelpers": {registry.address: "keeper"}, "credsStore": "nobody"}))
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert home.asked() == [f"get {registry.address}"]
    path.unlink()


def test_a_helper_is_not_asked_before_the_registry_wants_a_login(mount, registry, image, home):
    home.helper("keeper", printed("me", SECRET))
    home.config(credsStore="keeper")
    m = mount(env=home.env)
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert home.asked() == [] and authorizations(registry) == []


def test_a_helper_that_has_none(mount, registry, tokens, image, home):
    server = tokens(users={"me": SECRET})
    registry.auth = Bearer(server)
    home.helper("keeper", "echo credentials not found in native keychain; exit 1")
    home.config(credsStore="keeper")
    m = mount(env=home.env)
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert server.count() == 1 and authorizations(server) == []
    assert home.asked() == [f"get {registry.address}"]


def test_a_helper_with_an_identity_token(mount, registry, tokens, image, home):
    server = tokens(refresh={SECRET: "me"}, anonymous=False)
    registry.auth = Bearer(server, private=lambda path: True)
    home.helper("keeper", printed("<token>", SECRET))
    home.config(credsStore="keeper")
    m = mount(env=home.env)
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert [r.method for r in server.requests()] == ["POST"]
    form = server.requests()[0].form()
    assert form["grant_type"] == "refresh_token" and form["scope"] == "repository:demo/app:pull"
    no_secret_in(m)


BAD_HELPERS = {
    "fails": ("echo the keychain is locked; exit 1", "failed .exit 1.: the keychain is locked"),
    "garbage": (f"echo {SECRET}", "cannot be understood"),
    "not-utf-8": (f"""printf '{{"Username":"m\\377","Secret":"{SECRET}"}}'""", "cannot be understood"),
    "failing-with-the-secret": (printed("me", SECRET) + "; exit 2", "failed .exit 2."),
    "flood": (f"while :; do echo {SECRET} {SECRET} {SECRET}; done", "printed more than 65536 bytes"),
    "killed": ("kill -9 $$", "was killed by a signal"),
    "no-secret": ("""echo '{"Username":"me"}'""", "no secret"),
}


@pytest.mark.parametrize("kind", BAD_HELPERS)
def test_a_helper_that_is_broken(mount, registry, image, home, kind):
    script, words = BAD_HELPERS[kind]
    registry.auth = Basic("me", SECRET)
    home.helper("keeper", script)
    home.config(credHelpers={registry.address: "keeper"})
    m = mount(env=home.env)
    for _ in range(3):
        with raises(EACCES):
            read(m / "demo/app:v1/main.wasm")
    line = m.log.wait(words)[0]
    assert registry.address in line and "docker-credential-keeper" in line and "config.json" in line
    assert authorizations(registry) == [] and len(home.asked()) == 1, "not started again and again"
    assert m.status()["hosts"][0]["state"] != "down", "the registry is not to blame"
    assert children_of(m.worker()) == []
    no_secret_in(m)


@pytest.mark.parametrize("name", ["nobody", "../keeper", "keeper;id", ""])
def test_a_helper_that_is_not_there(mount, registry, image, home, name):
    registry.auth = Basic("me", SECRET)
    home.helper("keeper", printed("me", SECRET))
    home.config(credHelpers={registry.address: name})
    m = mount(env=home.env)
    with raises(EACCES):
        read(m / "demo/app:v1/main.wasm")
    assert m.log.wait({"nobody": "docker-credential-nobody, which has the login, is not on the PATH", "": "401"}
                      .get(name, "the credential helper it names"))
    assert home.asked() == []


def test_a_helper_that_hangs(mount, registry, image, home):
    samples.push_wasm(registry.store, "demo/open", "v1", seed=5)
    registry.auth = Basic("me", SECRET)
    home.helper("keeper", "sleep 1000 & sleep 1000")
    home.config(credsStore="keeper")
    m = mount(None, "--timeout", "2s", env=home.env)
    start = time.monotonic()
    with raises(ETIMEDOUT):
        read(m / "demo/app:v1/main.wasm")
    assert time.monotonic() - start < 8 * SLOW
    assert m.log.wait("docker-credential-keeper")
    until(lambda: children_of(m.worker()) == [], what="the helper's end")
    assert authorizations(registry) == []


def test_unmount_does_not_wait_for_a_helper(mount, registry, image, home):
    registry.auth = Basic("me", SECRET)
    home.helper("keeper", "sleep 1000")
    home.config(credsStore="keeper")
    m = mount(env=home.env)
    with ThreadPoolExecutor(1) as pool:
        failed = pool.submit(lambda: pytest.raises(OSError, read, m / "demo/app:v1/main.wasm"))
        until(home.asked, what="the helper")
        helper, = children_of(m.worker())
        start = time.monotonic()
        m.abort()
        m.wait_exit()
        assert time.monotonic() - start < 5 * SLOW
        failed.result()
    assert not os.path.exists(f"/proc/{helper}")


def test_a_helper_that_reads_the_mount(mount, registry, image, home, work):
    """It waits for itself, for as long as one operation may take, and nobody else waits for it."""
    cached = samples.push_wasm(registry.store, "demo/cached", "v1", seed=9)
    m = mount(None, "--timeout", "2s", env=home.env)
    path = m / "demo/cached:v1/main.wasm"
    assert read(path) == cached.layer.data
    registry.auth = Basic("me", SECRET)
    home.helper("keeper", f"cat {m}/demo/app:v1/main.wasm > /dev/null; {printed('me', SECRET)}")
    home.config(credsStore="keeper")
    with ThreadPoolExecutor(1) as pool:
        failed = pool.submit(lambda: pytest.raises(OSError, read, m / "demo/app:v1/main.wasm"))
        until(home.asked, what="the helper")
        start = time.monotonic()
        assert read(path) == cached.layer.data
        assert time.monotonic() - start < 1 * SLOW
        assert failed.result().value.errno in (ETIMEDOUT, EACCES)
    until(lambda: children_of(m.worker()) == [], what="the helper's end")


def test_many_readers_one_helper_one_token(mount, registry, tokens, home):
    samples.push_files(registry.store, "demo/app", "v1", {f"f{i}": samples.noise(3000, i) for i in range(32)})
    server = tokens(users={"me": SECRET}, anonymous=False)
    registry.auth = Bearer(server, private=lambda path: True)
    home.helper("keeper", "sleep 0.3; " + printed("me", SECRET))
    home.config(credsStore="keeper")
    m = mount(env=home.env)
    with ThreadPoolExecutor(32) as pool:
        found = list(pool.map(lambda i: read(m / f"demo/app:v1/files/f{i}"), range(32)))
    assert found == [samples.noise(3000, i) for i in range(32)]
    assert server.count() == 1 and home.asked() == [f"get {registry.address}"]
    no_secret_in(m)


def test_many_repositories_one_helper(mount, registry, tokens, home):
    for i in range(16):
        samples.push_files(registry.store, f"demo/r{i}", "v1", {"f": samples.noise(3000, i)})
    server = tokens(users={"me": SECRET}, anonymous=False)
    registry.auth = Bearer(server, private=lambda path: True)
    home.helper("keeper", "sleep 0.3; " + printed("me", SECRET))
    home.config(credsStore="keeper")
    m = mount(env=home.env)
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda i: read(m / f"demo/r{i}:v1/files/f"), range(16)))
    assert found == [samples.noise(3000, i) for i in range(16)]
    assert server.count() == 16 and len(home.asked()) == 1


def test_a_helper_whose_login_has_expired(mount, registry, image, home):
    """What it says first is refused; asked again, it has a good one. No reader notices."""
    registry.auth = Basic("me", SECRET)
    home.helper("keeper", f"if [ $(wc -l < {home.asked_file}) = 1 ]; then {printed('me', 'expired')}; "
                          f"else {printed('me', SECRET)}; fi")
    home.config(credsStore="keeper")
    m = mount(env=home.env)
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert len(home.asked()) == 2
    no_secret_in(m)


def test_a_helper_whose_login_is_refused(mount, registry, tokens, image, home):
    server = tokens(users={"me": SECRET}, anonymous=False)
    registry.auth = Bearer(server, private=lambda path: True)
    home.helper("keeper", printed("me", "wrong"))
    home.config(credsStore="keeper")
    m = mount(env=home.env)
    for _ in range(3):
        with raises(EACCES):
            read(m / "demo/app:v1/main.wasm")
    assert server.count() == 1 and len(home.asked()) == 2, "asked once more, shown once"
    home.helper("keeper", printed("me", SECRET))
    home.config(credsStore="keeper")  # what a login writes, even where nothing in it changes
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    no_secret_in(m)


def test_the_helpers_of_registries_conf(mount, registry, image, home, work):
    """In its order, where the files have their place too; one that fails is not the end."""
    registry.auth = Basic("me", SECRET)
    home.helper("locked", "echo the keychain is locked; exit 1")
    home.helper("keeper", printed("me", SECRET))
    home.login(registry.address, "me", "of the file")
    config = work / "config" / "containers" / "registries.conf"
    config.parent.mkdir(parents=True)
    config.write_text('credential-helpers = ["locked", "keeper", "containers-auth.json"]\n')
    env = {**home.env, "XDG_CONFIG_HOME": str(work / "config")}
    m = mount(env=env)
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert home.asked() == [f"get {registry.address}"] * 2
    m.unmount()
    config.write_text('credential-helpers = ["locked"]\n')
    m = mount(env=env, cache=work / "other")
    with raises(EACCES):
        read(m / "demo/app:v1/main.wasm")
    assert m.log.wait("docker-credential-locked: failed .exit 1.: the keychain is locked")
    m.unmount()
    config.write_text('credential-helpers = ["containers-auth.json"]\n')
    home.login(registry.address, "me", SECRET)
    m = mount(env=env, cache=work / "third")
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    no_secret_in(m)
