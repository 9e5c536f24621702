# SPDX-License-Identifier: Apache-2.0
"""Logging in: who gets what credentials, and who never does. Where they come from: test_credential_files.py and
test_credential_helpers.py."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from errno import EACCES, EBUSY, EPROTO

import pytest

import samples
from harness import opens, raises, read, until
from logins import SECRET, authorizations, no_secret_in
from registry import behaviours as b
from registry.auth import Basic, Bearer, Harbor, Refuse


@pytest.fixture
def image(registry):
    return samples.push_wasm(registry.store, "demo/app", "v1", size=200_000)


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


def test_a_token_server_that_wants_to_be_left_alone(mount, registry, tokens, image):
    """Nobody asks it before, for the same."""
    from registry.behaviours import Rule
    server = tokens()
    limit = Rule(None, "", b.too_many(12))
    server.rules.append(limit)
    registry.auth = Bearer(server)
    m = mount(None, "--timeout", "2s")
    for _ in range(3):
        with raises(EBUSY):
            read(m / "demo/app:v1/main.wasm")
    assert server.count() == 1
    assert m.status()["hosts"][0]["state"] != "gated", "the registry is well"
    limit.remove()
    until(lambda: opens(m / "demo/app:v1/main.wasm"), 30, what="the end of the wait")
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data


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


# ---- how often what is asked ----

def test_a_token_that_is_forbidden_is_renewed(mount, registry, tokens, image):
    samples.push_files(registry.store, "demo/app", "v2", {"x": b"fresh bytes"})
    server = tokens()
    registry.auth = Bearer(server, denial=403)
    m = mount()
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    server.revoke()
    assert read(m / "demo/app:v2/files/x") == b"fresh bytes"
    assert server.count() == 2
    no_secret_in(m)


def test_what_stays_forbidden(mount, registry, tokens, image):
    """A new token does not help; the next question does not fetch another one."""
    samples.push_files(registry.store, "demo/app", "v2", {"x": b"fresh bytes"})
    server = tokens()
    registry.auth = Bearer(server)
    m = mount()
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    registry.on(None, "/manifests/", b.error(403, "DENIED", "blocked by a policy"))
    before = registry.count()
    for _ in range(3):
        with raises(EACCES):
            read(m / "demo/app:v2/files/x")
    assert server.count() == 2
    assert registry.count() - before == 3 + 2 + 2, "each by HEAD, then by GET; the very first with two tokens"
    assert m.log.wait("403 DENIED: blocked by a policy")


def test_what_a_fresh_token_does_not_open(mount, registry, tokens, image):
    server = tokens()
    registry.auth = Bearer(server, private=lambda path: True)
    m = mount()
    for _ in range(4):
        with raises(EACCES):
            read(m / "demo/app:v1/main.wasm")
    assert server.count() == 1
    assert registry.count() <= 3 + 3 * 2
    assert m.log.wait("401")


def test_a_login_that_may_not_read_all(mount, registry, image, home):
    """401 for one repository says nothing of the others."""
    samples.push_wasm(registry.store, "demo/closed", "v1", seed=7)
    basic = Basic("me", SECRET)
    registry.auth = lambda request: Refuse()(request) if "closed" in request.path else basic(request)
    samples.push_files(registry.store, "demo/other", "v1", {"x": b"other"})
    home.login(registry.address, "me", SECRET)
    m = mount(env=home.env)
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    with raises(EACCES):
        read(m / "demo/closed:v1/main.wasm")
    assert read(m / "demo/other:v1/files/x") == b"other"
    no_secret_in(m)


def test_harbor(mount, registry, tokens, image, home):
    """Basic in answer to a token means that the token is no good; the password goes to the token server only."""
    samples.push_files(registry.store, "demo/app", "v2", {"x": b"fresh bytes"})
    server = tokens(users={"me": SECRET}, anonymous=False)
    registry.auth = Harbor(Bearer(server, private=lambda path: True))
    home.login(registry.address, "me", SECRET)
    m = mount(env=home.env)
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    server.revoke()
    assert read(m / "demo/app:v2/files/x") == b"fresh bytes"
    assert server.count() == 2
    assert not [a for a in authorizations(registry) if a.startswith("Basic")]
    no_secret_in(m)


def test_harbor_and_a_wrong_password(mount, registry, tokens, image, home):
    server = tokens(users={"me": SECRET}, anonymous=False)
    registry.auth = Harbor(Bearer(server, private=lambda path: True))
    home.login(registry.address, "me", "wrong")
    m = mount(env=home.env)
    for _ in range(3):
        with raises(EACCES):
            read(m / "demo/app:v1/main.wasm")
    assert server.count() == 1 and authorizations(registry) == []


def test_harbor_and_what_a_user_may_not_read(mount, registry, tokens, image, home):
    server = tokens(users={"me": SECRET})
    registry.auth = Harbor(Bearer(server, private=lambda path: True))
    m = mount(env=home.env)  # anonymous
    for _ in range(3):
        with raises(EACCES):
            read(m / "demo/app:v1/main.wasm")
    assert server.count() == 1 and registry.count() <= 3 + 2


def test_the_catalog_is_asked_for_alone(mount, registry, tokens, image):
    server = tokens()
    registry.auth = Bearer(server)
    m = mount()
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert os.listdir(m) == ["demo"]
    scopes = [r.query["scope"] for r in server.requests()]
    assert scopes == ["repository:demo/app:pull", "registry:catalog:*"]


def test_the_catalog_with_a_bogus_scope(mount, registry, tokens, image):
    """As ghcr.io refuses it: its challenge is about some repository."""
    server = tokens()
    bearer = Bearer(server)
    registry.auth = bearer
    registry.on("GET", "/_catalog", lambda request, proceed: b.answer(401, "{}", [(
        "WWW-Authenticate", f'Bearer realm="{server.url}/token",service="test",scope="repository:user/image:pull"')])(
            request, proceed))
    m = mount()
    os.listdir(m)
    assert [r.query["scope"] for r in server.requests()] == ["registry:catalog:*"]
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data


@pytest.mark.parametrize("status", [400, 401, 404, 405])
def test_an_identity_token_where_there_is_no_post(mount, registry, tokens, image, home, status):
    server = tokens(refresh={SECRET: "me"}, anonymous=False, post_status=status)
    registry.auth = Bearer(server, private=lambda path: True)
    home.config(auths={registry.address: {"identitytoken": SECRET}})
    m = mount(env=home.env)
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert [r.method for r in server.requests()] == ["POST", "GET"]
    no_secret_in(m)


def test_an_identity_token_that_is_good_once(mount, registry, tokens, image, home):
    samples.push_files(registry.store, "demo/app", "v2", {"x": b"fresh bytes"})
    server = tokens(refresh={SECRET: "me"}, anonymous=False, rotate=True)
    registry.auth = Bearer(server, private=lambda path: True)
    home.config(auths={registry.address: {"identitytoken": SECRET}})
    m = mount(env=home.env)
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    server.revoke()
    assert read(m / "demo/app:v2/files/x") == b"fresh bytes"
    first, second = server.requests()
    assert first.form()["refresh_token"] == SECRET and second.form()["refresh_token"] != SECRET
    no_secret_in(m)


def test_a_fresh_token_that_is_refused_for_a_moment(mount, registry, tokens):
    """Its clock is behind: 401 to a token that is good a second later. Many readers, still one token."""
    samples.push_files(registry.store, "demo/app", "v1", {f"f{i}": samples.noise(3000, i) for i in range(8)})
    server = tokens()
    bearer = Bearer(server)
    first = []

    def skewed(request):
        if "authorization" in request.headers:
            first.append(time.monotonic())
            if time.monotonic() - first[0] < 0.5:
                return Refuse(f'Bearer realm="{server.url}/token",service="test",error="invalid_token"')(request)
        return bearer(request)

    registry.auth = skewed
    m = mount()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: read(m / f"demo/app:v1/files/f{i}"), range(8)))
    assert found == [samples.noise(3000, i) for i in range(8)]
    assert server.count() == 1
