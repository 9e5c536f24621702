# SPDX-License-Identifier: Apache-2.0
"""Credentials in files and in the environment, and what becomes of them on a live mount."""

import json
import os
from errno import EACCES

import pytest

import samples
from harness import raises, read
from logins import SECRET, authorizations, basic, no_secret_in
from registry import behaviours as b
from registry.auth import Basic, Bearer


@pytest.fixture
def image(registry):
    return samples.push_wasm(registry.store, "demo/app", "v1", size=200_000)


def test_a_variable_holds_them(mount, registry, image, home):
    registry.auth = Basic("me", SECRET)
    home.login(registry.address, "me", "of the file")
    variable = json.dumps({"auths": {registry.address: {"auth": basic("me", SECRET)}}, "credsStore": "nobody"})
    m = mount(env={**home.env, "DOCKER_AUTH_CONFIG": variable})
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    no_secret_in(m)


def test_a_variable_that_is_no_json(mount, registry, image, home):
    registry.auth = Basic("me", SECRET)
    m = mount(env={**home.env, "DOCKER_AUTH_CONFIG": f'{{"auths": {SECRET}}}'})
    with raises(EACCES):
        read(m / "demo/app:v1/main.wasm")
    assert m.log.wait(r"\$DOCKER_AUTH_CONFIG: it is not a JSON object")
    assert authorizations(registry) == []
    no_secret_in(m)


@pytest.mark.parametrize("place", ["run/containers/auth.json", "home/.config/containers/auth.json", "home/.dockercfg"])
def test_other_places(mount, registry, image, work, place):
    registry.auth = Basic("me", SECRET)
    m = mount()
    entry = {registry.address: {"auth": basic("me", SECRET)}}
    path = work / "m0" / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(entry if "dockercfg" in place else {"auths": entry}))
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    path.unlink()


def test_a_login_on_a_live_mount(mount, registry, image, home):
    """None, then a wrong one, then the right one: each counts at once, and what is wrong is shown once."""
    registry.auth = Basic("me", SECRET)
    m = mount(env=home.env)
    with raises(EACCES):
        read(m / "demo/app:v1/main.wasm")
    assert authorizations(registry) == []
    home.login(registry.address, "me", "wrong")
    for _ in range(3):
        with raises(EACCES):
            read(m / "demo/app:v1/main.wasm")
    assert len(authorizations(registry)) == 1, "a refused password is shown once"
    assert m.log.wait("the credentials for .* were refused|401")
    home.login(registry.address, "me", SECRET)
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    no_secret_in(m)


def test_a_login_on_a_live_mount_with_a_token_server(mount, registry, tokens, image, home):
    server = tokens(users={"me": SECRET}, anonymous=False)
    registry.auth = Bearer(server, private=lambda path: True)
    home.login(registry.address, "me", "wrong")
    m = mount(env=home.env)
    for _ in range(3):
        with raises(EACCES):
            read(m / "demo/app:v1/main.wasm")
    assert server.count() == 1, "a refused password is shown once"
    assert m.log.wait("incorrect username or password")
    home.login(registry.address, "me", SECRET)
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert server.count() == 2
    no_secret_in(m)


def test_headers_of_docker_go_to_the_registry_alone(mount, registry, registries, image, home):
    """HttpHeaders of config.json: not to storage that the registry sends us to, and never what is ours to say."""
    storage = registries(store=registry.store)
    registry.on("GET", "/blobs/", b.redirect(storage))
    home.config(HttpHeaders={"X-Meta-Source": "docker", "Authorization": "Basic eDp5", "Range": "bytes=0-0"})
    m = mount(env=home.env)
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert registry.log and all(r.headers.get("x-meta-source") == "docker" for r in registry.requests())
    assert storage.log and not any("x-meta-source" in r.headers for r in storage.requests())
    assert authorizations(registry) == []
    home.config(HttpHeaders={"X-Meta-Source": "podman"})
    samples.push_wasm(registry.store, "demo/app", "v2", size=1000)
    os.stat(m / "demo/app:v2/main.wasm")
    assert registry.requests()[-1].headers.get("x-meta-source") == "podman"


def test_headers_of_docker_go_to_the_registry_alone(mount, registry, registries, image, home):
    """HttpHeaders of config.json: not to storage that the registry sends us to, and never what is ours to say."""
    storage = registries(store=registry.store)
    registry.on("GET", "/blobs/", b.redirect(storage))
    home.config(HttpHeaders={"X-Meta-Source": "docker", "Authorization": "Basic eDp5", "Range": "bytes=0-0"})
    m = mount(env=home.env)
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert registry.log and all(r.headers.get("x-meta-source") == "docker" for r in registry.requests())
    assert storage.log and not any("x-meta-source" in r.headers for r in storage.requests())
    assert authorizations(registry) == []
    home.config(HttpHeaders={"X-Meta-Source": "podman"})
    samples.push_wasm(registry.store, "demo/app", "v2", size=1000)
    os.stat(m / "demo/app:v2/main.wasm")
    assert registry.requests()[-1].headers.get("x-meta-source") == "podman"


def test_a_login_that_others_may_read(mount, registry, image, auth_file):
    registry.auth = Basic("me", SECRET)
    path = auth_file({registry.address: ("me", SECRET)})
    path.chmod(0o644)
    m = mount(None, "--auth-file", path)
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    said = m.log.wait("others may read")
    assert len(said) == 1 and str(path) in said[0] and "chmod 600" in said[0] and SECRET not in m.log.text()
