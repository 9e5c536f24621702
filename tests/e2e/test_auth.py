# SPDX-License-Identifier: Apache-2.0
"""Logging in: who gets what credentials, and who never does."""

import base64
import json
from errno import EACCES, EPROTO

import pytest

import samples
from harness import raises, read
from registry import behaviours as b
from registry.auth import Basic, Bearer, Refuse

SECRET = "s3cr3t-Pa55word"


@pytest.fixture
def image(registry):
    return samples.push_wasm(registry.store, "demo/app", "v1", size=200_000)


@pytest.fixture
def auth_file(work):
    """auth_file({host: (user, password)}): a file as `docker login` writes it."""
    def make(auths):
        path = work / "auth.json"
        path.write_text(json.dumps({"auths": {host: {"auth": base64.b64encode(":".join(pair).encode()).decode()}
                                              for host, pair in auths.items()}}))
        path.chmod(0o600)
        return path
    return make


def authorizations(server):
    return [r.headers.get("authorization") for r in server.requests() if "authorization" in r.headers]


def no_secret_in(m):
    text = m.log.text()
    for word in (SECRET, base64.b64encode(f"me:{SECRET}".encode()).decode(), "Bearer ey"):
        assert word not in text


def test_basic(mount, registry, image, auth_file):
    registry.auth = Basic("me", SECRET)
    m = mount(None, "--auth-file", auth_file({registry.address: ("me", SECRET)}))
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    no_secret_in(m)


def test_basic_in_the_usual_place(mount, registry, image, auth_file, work):
    registry.auth = Basic("me", SECRET)
    directory = work / "docker"
    directory.mkdir()
    auth_file({registry.address: ("me", SECRET)}).rename(directory / "config.json")
    m = mount(env={"DOCKER_CONFIG": str(directory)})
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data


@pytest.mark.parametrize("given", [None, ("me", "wrong"), ("other", SECRET)], ids=["none", "bad-password", "bad-user"])
def test_basic_refused(mount, registry, image, auth_file, given):
    registry.auth = Basic("me", SECRET)
    options = ["--auth-file", auth_file({registry.address: given})] if given else []
    m = mount(None, *options)
    with raises(EACCES):
        read(m / "demo/app:v1/main.wasm")
    line = m.log.wait(r"401")[0]
    assert registry.address in line
    assert registry.count() <= 6, "a refused password is not tried again and again"
    no_secret_in(m)


def test_credentials_of_another_host_stay_at_home(mount, registry, image, auth_file):
    registry.auth = Basic("me", SECRET)
    m = mount(None, "--auth-file", auth_file({"registry.example.com": ("me", SECRET)}))
    with raises(EACCES):
        read(m / "demo/app:v1/main.wasm")
    assert authorizations(registry) == []


def test_credentials_are_not_sent_before_they_are_asked_for(mount, registry, image, auth_file):
    m = mount(None, "--auth-file", auth_file({registry.address: ("me", SECRET)}))
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert authorizations(registry) == []


def test_bearer_anonymous(mount, registry, tokens, image):
    server = tokens()
    registry.auth = Bearer(server)
    m = mount()
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert server.count() == 1, "one token for one repository"
    grant = server.requests()[0]
    query = grant.query if grant.method == "GET" else grant.form()
    assert query["scope"] == "repository:demo/app:pull" and query["service"] == "test"
    assert "authorization" not in grant.headers


@pytest.mark.parametrize("repos", [["demo/app"], ["demo/app", "demo/other"]])
def test_bearer_with_credentials(mount, registry, tokens, image, auth_file, repos):
    samples.push_wasm(registry.store, "demo/other", "v1", seed=3)
    server = tokens(users={"me": SECRET}, anonymous=False)
    registry.auth = Bearer(server, private=lambda path: True)
    m = mount(None, "--auth-file", auth_file({registry.address: ("me", SECRET)}))
    for repo in repos:
        assert read(m / f"{repo}:v1/main.wasm")
    assert all((r.headers.get("authorization") or "").startswith("Bearer ") or r.status == 401
               for r in registry.requests())
    assert not [a for a in authorizations(registry) if a.startswith("Basic")], "the password is for the token server"
    no_secret_in(m)


def test_bearer_refused(mount, registry, tokens, image, auth_file):
    server = tokens(users={"me": SECRET}, anonymous=False)
    registry.auth = Bearer(server, private=lambda path: True)
    m = mount(None, "--auth-file", auth_file({registry.address: ("me", "wrong")}))
    with raises(EACCES):
        read(m / "demo/app:v1/main.wasm")
    assert m.log.wait(r"401")
    no_secret_in(m)


def test_an_anonymous_token_that_does_not_suffice(mount, registry, tokens, image):
    registry.auth = Bearer(tokens(), private=lambda path: True)
    m = mount()
    with raises(EACCES):
        read(m / "demo/app:v1/main.wasm")
    assert m.log.wait(r"401")


def test_a_token_that_was_revoked_is_renewed(mount, registry, tokens, image):
    samples.push_files(registry.store, "demo/app", "v2", {"x": b"fresh bytes"})
    server = tokens()
    registry.auth = Bearer(server)
    m = mount()
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    server.revoke()
    assert read(m / "demo/app:v2/files/x") == b"fresh bytes"
    assert server.count() == 2


def test_many_readers_one_token(mount, registry, tokens):
    from concurrent.futures import ThreadPoolExecutor
    samples.push_files(registry.store, "demo/app", "v1", {f"f{i}": samples.noise(3000, i) for i in range(32)})
    server = tokens()
    registry.auth = Bearer(server)
    m = mount()
    with ThreadPoolExecutor(32) as pool:
        found = list(pool.map(lambda i: read(m / f"demo/app:v1/files/f{i}"), range(32)))
    assert found == [samples.noise(3000, i) for i in range(32)]
    assert server.count() == 1


def test_a_token_server_that_is_down(mount, registry, tokens, image):
    from errno import EHOSTUNREACH
    server = tokens()
    registry.auth = Bearer(server)
    server.stop()
    m = mount(None, "--timeout", "3s")
    with raises(EHOSTUNREACH):
        read(m / "demo/app:v1/main.wasm")
    assert m.log.wait(server.address.replace(".", r"\."))


def test_a_token_server_that_talks_nonsense(mount, registry, tokens, image):
    from registry.behaviours import Rule
    server = tokens()
    server.rules.append(Rule(None, "", b.answer(200, "<html>hello</html>", content_type="text/html")))
    registry.auth = Bearer(server)
    m = mount()
    with raises(EPROTO):
        read(m / "demo/app:v1/main.wasm")


def test_a_closed_registry(mount, registry, image, auth_file):
    registry.auth = Refuse()
    m = mount(None, "--auth-file", auth_file({registry.address: ("me", SECRET)}))
    with raises(EACCES):
        read(m / "demo/app:v1/main.wasm")
    assert m.log.wait("requested access to the resource is denied|401")


@pytest.mark.parametrize("host", ["127.0.0.2", "127.0.0.1"], ids=["other-host", "other-port"])
@pytest.mark.parametrize("kind", ["basic", "bearer"])
def test_a_redirect_carries_no_credentials(mount, registry, registries, tokens, image, auth_file, kind, host):
    storage = registries(host=host, store=registry.store)
    if kind == "basic":
        registry.auth = Basic("me", SECRET)
    else:
        registry.auth = Bearer(tokens(users={"me": SECRET}), private=lambda path: True)
    registry.on("GET", "/blobs/", lambda request, proceed: redirected(request, proceed, storage))
    m = mount(None, "--auth-file", auth_file({registry.address: ("me", SECRET)}))
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert storage.count("GET", "/blobs/") == 1
    for request in storage.requests():
        assert "authorization" not in request.headers and "cookie" not in request.headers
    no_secret_in(m)


def redirected(request, proceed, storage):
    """Only who may read is sent on, as real registries do it."""
    response = proceed()
    return b.redirect(storage)(request, proceed) if response.status == 200 else response


def test_a_signed_url_is_not_logged(mount, registry, registries, image):
    storage = registries(host="127.0.0.2", store=registry.store)
    storage.on("GET", "", b.error(403, "DENIED", "the signature has expired"))
    registry.on("GET", "/blobs/", b.redirect(f"{storage.url}{{path}}?X-Signature=topsecretsignature"))
    m = mount(None, "--timeout", "3s")
    with raises(EACCES):
        read(m / "demo/app:v1/main.wasm")
    assert m.log.wait("403")
    assert "topsecretsignature" not in m.log.text()


def test_tls_with_a_private_authority(mount, registries, authority, work, auth_file):
    server = registries(tls=authority.context("127.0.0.1"))
    image = samples.push_wasm(server.store, "demo/app", "v1", size=2 << 20)
    server.auth = Basic("me", SECRET)
    m = mount(f"https://{server.address}", "--ca-file", authority.ca_file(work), "--auth-file",
              auth_file({server.address: ("me", SECRET)}))
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data


def test_tls_that_nobody_vouches_for(mount, registries, authority, auth_file):
    """Neither believed nor traded for plain HTTP, also where plain HTTP would be allowed."""
    server = registries(tls=authority.context("127.0.0.1"))
    samples.push_wasm(server.store, "demo/app", "v1")
    m = mount(server.address, "--auth-file", auth_file({server.address: ("me", SECRET)}))
    with raises(EPROTO):
        read(m / "demo/app:v1/main.wasm")
    assert m.log.wait("certificate")
    assert server.count() == 0


def test_tls_of_another_name(mount, registries, authority, work):
    server = registries(tls=authority.context("registry.example.com"))
    samples.push_wasm(server.store, "demo/app", "v1")
    m = mount(f"https://{server.address}", "--ca-file", authority.ca_file(work))
    with raises(EPROTO):
        read(m / "demo/app:v1/main.wasm")
    assert server.count() == 0
