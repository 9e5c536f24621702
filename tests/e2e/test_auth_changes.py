# SPDX-License-Identifier: Apache-2.0
"""Logging in where what is wanted changes, differs, or is nonsense: no mount stays locked out, and nobody is told secrets."""

import base64
import json
from errno import EACCES, EBUSY, EHOSTUNREACH

import pytest

import samples
from harness import opens, raises, read, run, until
from logins import SECRET, authorizations, basic, no_secret_in, printed
from registry import behaviours as b
from registry.auth import Basic, Bearer, Refuse
from registry.behaviours import Rule

UNREACHABLE = 'Bearer realm="http://127.0.0.1:1/token",service="x"'


@pytest.fixture
def repos(registry):
    """Four repositories."""
    return [samples.push_wasm(registry.store, f"demo/r{i}", "v1", seed=i) for i in range(4)]


def refuse(challenge):
    return b.answer(401, b"{}", headers=[("WWW-Authenticate", challenge)])


def test_a_realm_that_is_nobodys(mount, registry, repos):
    """Said once, by whoever stood in the way, and never again."""
    registry.on("GET", "/manifests/", refuse(UNREACHABLE), times=1)
    m = mount()
    with raises(EHOSTUNREACH):
        read(m / "demo/r0:v1/main.wasm")
    until(lambda: opens(m / "demo/r0:v1/main.wasm"), what="the host to be asked again")
    for i in range(4):
        assert read(m / f"demo/r{i}:v1/main.wasm") == repos[i].layer.data


def test_another_token_server(mount, registry, tokens, repos):
    """The registry moves from one to another, and then wants none."""
    one, two = tokens(), tokens()
    registry.auth = Bearer(one)
    m = mount()
    assert read(m / "demo/r0:v1/main.wasm") == repos[0].layer.data
    registry.auth = Bearer(two)
    one.stop()
    assert read(m / "demo/r1:v1/main.wasm") == repos[1].layer.data
    two.stop()
    registry.auth = None
    assert read(m / "demo/r2:v1/main.wasm") == repos[2].layer.data


@pytest.mark.parametrize("what", ["realm", "service"])
def test_each_repository_has_its_own(mount, registry, tokens, repos, what):
    servers = [tokens(), tokens()]
    bearers = [Bearer(servers[0], service="a"), Bearer(servers[0 if what == "service" else 1], service="b")]
    registry.auth = lambda request: bearers["/r1/" in request.path or "/r3/" in request.path](request)
    m = mount()
    for i in range(4):
        assert read(m / f"demo/r{i}:v1/main.wasm") == repos[i].layer.data
    for i in range(4):
        assert read(m / f"demo/r{i}@{repos[i].digest}/main.wasm") == repos[i].layer.data


@pytest.mark.parametrize("status", [401, 403])
def test_a_password_that_expires(mount, registry, repos, home, status):
    """A helper has another one by then, as ECR's has."""
    registry.auth = Basic("AWS", "first")
    home.helper("ecr", printed("AWS", "first"))
    home.config(credHelpers={registry.address: "ecr"})
    m = mount(env=home.env)
    assert read(m / "demo/r0:v1/main.wasm") == repos[0].layer.data
    home.helper("ecr", printed("AWS", "second"))
    wanted = Basic("AWS", "second")

    def expired(request):
        refusal = wanted(request)
        if refusal is not None and status == 403:
            refusal.status = 403
        return refusal
    registry.auth = expired
    for i in (1, 2, 3):
        assert read(m / f"demo/r{i}:v1/main.wasm") == repos[i].layer.data
    assert len(home.asked()) == 2
    no_secret_in(m)


def test_a_password_that_does_not_suffice(mount, registry, repos, home):
    """The same one again, of a helper that is asked once more and not each time."""
    registry.auth = Basic("me", SECRET)
    home.helper("keeper", printed("me", SECRET))
    home.config(credHelpers={registry.address: "keeper"})
    m = mount(env=home.env)
    assert read(m / "demo/r0:v1/main.wasm") == repos[0].layer.data
    registry.on(None, "/r1/", b.error(403, "DENIED"))
    for _ in range(5):
        with raises(EACCES):
            read(m / "demo/r1:v1/main.wasm")
    assert len(home.asked()) <= 2
    assert read(m / "demo/r2:v1/main.wasm") == repos[2].layer.data


def told(m, path):
    """All that people are shown of a failure."""
    with raises(EACCES):
        read(path)
    return run([m.binary, "why", path], env=m.env).out + m.log.text() + json.dumps(m.status())


def test_an_error_that_quotes_a_signed_url(mount, registry, repos):
    text = b"Request expired: GET /signed/x?X-Amz-Signature=SIGSECRET99&y=1 and https://h/p?sig=SIGSECRET99."
    registry.on("GET", "/blobs/", b.answer(403, text, content_type="text/plain"))
    m = mount()
    shown = told(m, m / "demo/r0:v1/main.wasm")
    assert "SIGSECRET99" not in shown and "Request expired" in shown and "/signed/x?" in shown


def test_an_error_that_quotes_a_token(mount, registry, tokens, repos):
    server = tokens()
    good = Bearer(server)

    def mocking(request):
        refusal = good(request)
        if refusal is None and "/blobs/" in request.path:
            token = request.headers.get("authorization").partition(" ")[2]
            body = json.dumps({"errors": [{"code": "DENIED", "message": f"rejected: Bearer {token} or just {token}"}]})
            refusal = b.answer(403, body.encode())(request, None)
        return refusal
    registry.auth = mocking
    m = mount()
    shown = told(m, m / "demo/r0:v1/main.wasm")
    assert "rejected" in shown
    granted = [a.partition(" ")[2] for a in authorizations(registry)]
    assert granted and not any(token in shown for token in granted)


def test_a_token_server_that_quotes_the_password(mount, registry, tokens, repos, auth_file):
    server = tokens(users={"me": "other"}, anonymous=False)
    body = json.dumps({"details": f"bad login Basic {basic('me', SECRET)} of {SECRET}"}).encode()
    server.rules.append(Rule(None, "", b.answer(401, body)))
    registry.auth = Bearer(server, private=lambda path: True)
    m = mount(None, "--auth-file", auth_file({registry.address: ("me", SECRET)}))
    shown = told(m, m / "demo/r0:v1/main.wasm")
    assert "bad login" in shown and SECRET not in shown and basic("me", SECRET) not in shown


def test_a_registry_that_quotes_the_password(mount, registry, repos, auth_file):
    def mocking(request):
        if "authorization" not in request.headers:
            return Basic("me", SECRET)(request)
        body = json.dumps({"errors": [{"code": "DENIED", "message": f"not for me with {SECRET}"}]})
        return b.answer(403, body.encode())(request, None)
    registry.auth = mocking
    m = mount(None, "--auth-file", auth_file({registry.address: ("me", SECRET)}))
    shown = told(m, m / "demo/r0:v1/main.wasm")
    assert "not for me" in shown and SECRET not in shown


def test_a_limit_for_one_scope(mount, registry, tokens, repos):
    """Who has a token goes on; who has none is told, and the token server is left alone."""
    server = tokens()
    registry.auth = Bearer(server)
    samples.push_wasm(registry.store, "demo/r0", "v2", seed=9)
    m = mount()
    assert read(m / "demo/r0:v1/main.wasm") == repos[0].layer.data
    server.rules.append(Rule(None, "", b.too_many(3600)))
    for _ in range(3):
        with raises(EBUSY):
            read(m / "demo/r1:v1/main.wasm")
    asked = server.count()
    assert read(m / "demo/r0:v2/main.wasm")
    assert m.status()["hosts"][0]["state"] == "ok"
    with raises(EBUSY):
        read(m / "demo/r1:v1/main.wasm")
    assert server.count() == asked
    assert server.address in run([m.binary, "why", m / "demo/r1:v1/main.wasm"], env=m.env).out


def test_a_mistaken_challenge_whose_server_limits(mount, registry, tokens, repos):
    """Once, and of a registry that wants nothing: what the server wants is no reason not to ask the registry."""
    server = tokens()
    server.rules.append(Rule(None, "", b.too_many(3600)))
    registry.on(None, "/manifests/", refuse(f'Bearer realm="{server.url}/token",service="x"'), times=1)
    m = mount(None, "--timeout", "5s")
    with raises(EBUSY):
        read(m / "demo/r0:v1/main.wasm")
    for i in range(4):
        assert read(m / f"demo/r{i}:v1/main.wasm") == repos[i].layer.data


@pytest.mark.parametrize("how", ["down", "out-of-order"])
def test_a_token_server_that_fails(mount, registry, tokens, repos, how):
    """Who has a token goes on, and the same is said to whoever has none, without asking it each time."""
    server = tokens()
    registry.auth = Bearer(server)
    samples.push_wasm(registry.store, "demo/r0", "v2", seed=9)
    m = mount(None, "--timeout", "5s")
    assert read(m / "demo/r0:v1/main.wasm") == repos[0].layer.data
    if how == "down":
        server.stop()
    else:
        server.rules.append(Rule(None, "", b.error(503, "UNAVAILABLE", "later", [("Retry-After", "3600")])))
    for i in (1, 2, 1, 3):
        with raises(EHOSTUNREACH):
            read(m / f"demo/r{i}:v1/main.wasm")
        host = m.status()["hosts"][0]
        assert host["state"] == "down" and server.address in host["reason"]
    assert server.count() == (1 if how == "down" else 2)
    assert read(m / "demo/r0:v2/main.wasm")
    assert m.status()["hosts"][0]["state"] == "ok"


@pytest.mark.parametrize("realm", ["ftp://x/t", "http://me:pw@127.0.0.1:1/t"])
def test_a_realm_that_cannot_be_asked_beside_a_password(mount, registry, repos, auth_file, realm):
    wanted = Basic("me", SECRET)

    def both(request):
        refusal = wanted(request)
        if refusal is not None:
            refusal = refuse(f'Bearer realm="{realm}",service="s", Basic realm="b"')(request, None)
        return refusal
    registry.auth = both
    m = mount(None, "--auth-file", auth_file({registry.address: ("me", SECRET)}))
    assert read(m / "demo/r0:v1/main.wasm") == repos[0].layer.data


def test_a_file_that_the_environment_names_and_is_not_there(mount, registry, repos, home, work):
    registry.auth = Basic("me", SECRET)
    home.login(registry.address, "me", SECRET)
    m = mount(env={**home.env, "REGISTRY_AUTH_FILE": str(work / "absent.json")})
    assert read(m / "demo/r0:v1/main.wasm") == repos[0].layer.data
    assert m.log.wait("absent.json, which is not there")


def test_the_file_of_the_environment_comes_first(mount, registry, repos, home, auth_file):
    registry.auth = Basic("me", SECRET)
    home.login(registry.address, "me", "wrong")
    named = auth_file({registry.address: ("me", SECRET)})
    m = mount(env={**home.env, "REGISTRY_AUTH_FILE": str(named)})
    assert read(m / "demo/r0:v1/main.wasm") == repos[0].layer.data
    assert not [a for a in authorizations(registry) if base64.b64decode(a.split()[1]).endswith(b":wrong")]


def test_a_registry_that_has_moved(mount, registry, registries, auth_file):
    """Its login is for the place where it was: so it is said which one to mount."""
    other = registries()
    samples.push_wasm(other.store, "demo/app", "v1")
    other.auth = Refuse()
    registry.on(None, "/v2/demo/", b.redirect(f"http://{other.address}/v2/demo/app/manifests/v1", status=308))
    m = mount(None, "--auth-file", auth_file({registry.address: ("me", SECRET)}))
    shown = told(m, m / "demo/app:v1/main.wasm")
    assert f"mount that registry by its own name, {other.address}" in shown
    assert "docker login" not in shown and "below a mount of that registry" in shown
