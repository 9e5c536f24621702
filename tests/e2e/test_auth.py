# SPDX-License-Identifier: Apache-2.0
"""Logging in: who gets what credentials, and who never does."""

import base64
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from errno import EACCES, EPROTO, ETIMEDOUT

import pytest

import samples
from harness import SLOW, children_of, raises, read, until
from registry import behaviours as b
from registry.auth import Basic, Bearer, Harbor, Refuse

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


class Home:
    """Where docker keeps things: a config.json, and the programs that have the logins."""

    def __init__(self, directory):
        self.bin = directory / "bin"
        self.docker = directory / "docker"
        self.asked_file = directory / "asked"
        for path in (directory, self.bin, self.docker):
            path.mkdir()
        self.env = {"DOCKER_CONFIG": str(self.docker), "PATH": f"{self.bin}:{os.environ['PATH']}"}

    def config(self, **content):
        """As `docker login` writes it: beside, then renamed."""
        new = self.docker / "config.json.new"
        new.write_text(json.dumps(content))
        new.chmod(0o600)
        new.rename(self.docker / "config.json")

    def login(self, address, user, password):
        auth = base64.b64encode(f"{user}:{password}".encode()).decode()
        self.config(auths={address: {"auth": auth}})

    def helper(self, name, script):
        """docker-credential-NAME: notes what it is asked for, then does this."""
        path = self.bin / f"docker-credential-{name}"
        path.write_text(f"#!/bin/sh\nkey=$(cat)\necho \"$1 $key\" >> {self.asked_file}\n{script}\n")
        path.chmod(0o755)

    def asked(self):
        return self.asked_file.read_text().splitlines() if self.asked_file.exists() else []


@pytest.fixture
def home(work):
    return Home(work / "home-of-docker")


def printed(user, secret):
    return f"""printf '%s' '{json.dumps({"ServerURL": "x", "Username": user, "Secret": secret})}'"""


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


# ---- sources of credentials ----

def test_a_variable_holds_them(mount, registry, image, home):
    registry.auth = Basic("me", SECRET)
    home.login(registry.address, "me", "of the file")
    auth = base64.b64encode(f"me:{SECRET}".encode()).decode()
    variable = json.dumps({"auths": {registry.address: {"auth": auth}}, "credsStore": "nobody"})
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
    entry = {registry.address: {"auth": base64.b64encode(f"me:{SECRET}".encode()).decode()}}
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


# ---- helpers ----

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
    assert children_of(m.pid()) == []
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
    until(lambda: children_of(m.pid()) == [], what="the helper's end")
    assert authorizations(registry) == []


def test_unmount_does_not_wait_for_a_helper(mount, registry, image, home):
    registry.auth = Basic("me", SECRET)
    home.helper("keeper", "sleep 1000")
    home.config(credsStore="keeper")
    m = mount(env=home.env)
    with ThreadPoolExecutor(1) as pool:
        failed = pool.submit(lambda: pytest.raises(OSError, read, m / "demo/app:v1/main.wasm"))
        until(home.asked, what="the helper")
        helper, = children_of(m.pid())
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
    until(lambda: children_of(m.pid()) == [], what="the helper's end")


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
