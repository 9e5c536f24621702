# SPDX-License-Identifier: Apache-2.0
"""Where a registry is asked: mirrors of hosts.toml, certificates, proxies."""

import base64
import contextlib
import hashlib
import json
import os
import pathlib
import ssl
import time
from errno import EACCES, EBADMSG, EHOSTUNREACH, ENOENT, EPROTO

import pytest

import artifacts
import samples
from conftest import DockerRegistry
from faulty_registry import Pages
from harness import NOBODY, SLOW, Failed, files_holding, opens, raises, read, run, until
from registry import behaviours as b
from registry.auth import Basic, Bearer
from registry.proxy import Proxy

SECRET = "s3cr3t-Pa55word"


@pytest.fixture
def image(registry):
    return samples.push_wasm(registry.store, "demo/app", "v1", size=2 << 20)


@pytest.fixture
def mirror(registries, registry):
    return registries(store=registry.store)


@pytest.fixture
def second(registries, registry):
    return registries(store=registry.store)


@pytest.fixture
def hosts(work):
    """hosts(text, name="_default"): options for a mount with this hosts.toml."""
    def make(text, name="_default"):
        directory = work / "hosts" / name
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "hosts.toml").write_text(text)
        return ["--hosts-dir", work / "hosts"]
    return make


def table(server, fields=""):
    return f'[host."{server.url}"]\n{fields}\n'


def open_all(m, image):
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data


def cache_is_right(m):
    for path in pathlib.Path(m.cache, "blobs/sha256").iterdir():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name


def test_mirrors_in_the_order_of_the_file(mount, registry, mirror, second, image, hosts):
    """Spegel knows a tag by the registry's name, which it is told."""
    for server in (mirror, second):
        server.on(None, r"/manifests/v1(\?|$)", b.error(404), where=lambda r: r.query.get("ns") != registry.address)
    m = mount(None, *hosts(table(second) + table(mirror)))
    open_all(m, image)
    assert second.count("GET", "/manifests/") == 1 and second.count("GET", "/blobs/") == 1
    assert all(r.query["ns"] == registry.address for r in second.requests())
    assert mirror.count() == 0 and registry.count() == 0


def test_a_directory_of_its_own(mount, registry, mirror, image, hosts):
    hosts(table(mirror), f"127.0.0.1_{registry.port}_")
    m = mount(None, *hosts("not read = at all"))
    open_all(m, image)
    assert registry.count() == 0


def test_tags_and_digests_go_where_they_may(mount, registry, mirror, second, image, hosts):
    m = mount(None, *hosts(table(mirror, 'capabilities = ["pull"]') + table(second, 'capabilities = ["resolve"]')))
    open_all(m, image)
    assert mirror.count("GET", "/blobs/") == 1 and mirror.count(None, "/manifests/v1") == 0
    assert second.count(None, "/manifests/v1") == 1 and second.count(None, "/blobs/") == 0
    assert registry.count() == 0


def test_what_a_mirror_lacks_the_origin_has(mount, registry, registries, image, hosts):
    empty = registries()
    m = mount(None, *hosts(table(empty)))
    open_all(m, image)
    assert empty.count() >= 2 and registry.count("GET", "/blobs/") == 1
    assert os.listdir(m / "demo/app/tags") == ["v1"]
    assert empty.count(None, "/tags/list|_catalog") == 0, "a mirror's listing is nobody's"
    with raises(ENOENT):
        os.stat(m / "demo/app:v2/main.wasm")
    assert registry.count(None, "/manifests/v2") == 1, "absence is the origin's word"


def test_a_mirror_that_refuses(mount, registry, mirror, image, hosts):
    mirror.on(None, "", b.error(403, "DENIED"))
    m = mount(None, *hosts(table(mirror)))
    open_all(m, image)
    assert registry.count("GET", "/blobs/") == 1


def test_a_mirror_that_is_down(mount, registry, mirror, image, hosts):
    """It costs one attempt, not one for each question."""
    other = samples.push_wasm(registry.store, "demo/other", "v1", size=200_000, seed=5)
    mirror.on(None, "", b.error(503))
    m = mount(None, *hosts(table(mirror)))
    open_all(m, image)
    assert read(m / "demo/other:v1/main.wasm") == other.layer.data
    assert mirror.count() == 1
    assert registry.count("GET", "/blobs/") == 2


def test_a_mirror_that_refuses_connections(mount, registry, mirror, image, hosts):
    mirror.stop()
    m = mount(None, *hosts(table(mirror)))
    open_all(m, image)
    assert registry.count("GET", "/blobs/") == 1


def test_a_silent_mirror_takes_half_of_the_time(mount, registry, mirror, image, hosts):
    mirror.pause()
    m = mount(None, "--timeout", f"{int(6 * SLOW)}s", *hosts(table(mirror)))
    start = time.monotonic()
    open_all(m, image)
    assert time.monotonic() - start < 6 * SLOW
    assert mirror.count() == 1, "then it is known to be down"


def test_a_mirror_with_wrong_bytes(mount, registry, mirror, image, hosts):
    other = samples.push_wasm(registry.store, "demo/other", "v1", size=200_000, seed=5)
    mirror.on("GET", "/blobs/", b.flip(100_000))
    m = mount(None, *hosts(table(mirror)))
    open_all(m, image)
    assert mirror.count("GET", "/blobs/") == 1 and registry.count("GET", "/blobs/") == 1
    before = mirror.count()
    assert read(m / "demo/other:v1/main.wasm") == other.layer.data
    assert mirror.count() == before, "it is not asked again"
    m.unmount()
    cache_is_right(m)


def test_the_states_of_mirrors(mount, registry, mirror, second, image, hosts):
    mirror.on("GET", "/blobs/", b.flip(1000))
    second.stop()
    m = mount(None, *hosts(table(mirror) + table(second)))
    own, first, other = m.status()["hosts"]
    assert (own["mirror"], first["mirror"], first["host"], first["state"]) == (False, True, mirror.address, "unknown")
    open_all(m, image)
    own, first, other = m.status()["hosts"]
    assert (own["host"], own["state"]) == (registry.address, "ok")
    assert (first["state"], first["errno"]) == ("demoted", "EBADMSG") and first["until"].endswith("Z")
    assert (other["host"], other["state"], other["errno"]) == (second.address, "down", "EHOSTUNREACH")
    said = run([m.binary, "status", m], env=m.env).ok().out
    assert f"{mirror.address}: demoted until 2" in said and f"{second.address}: down" in said


def test_a_mirror_with_another_manifest(mount, registry, mirror, image, hosts):
    mirror.on("GET", "/manifests/sha256", b.rewrite(lambda data: data.replace(b"{", b"{ ", 1)))
    m = mount(None, *hosts(table(mirror, 'capabilities = ["pull"]')))
    assert read(m / f"demo/app@{image.digest}/manifest.json") == image.data
    assert mirror.count("GET", "/manifests/") == 1


def test_a_mirror_behind_a_login_page(mount, registry, mirror, image, hosts):
    mirror.on(None, "", b.answer(200, "<html>log in</html>", content_type="text/html"))
    m = mount(None, *hosts(table(mirror)))
    open_all(m, image)
    assert os.readlink(m / "demo/app:v1").endswith(image.hex)
    assert registry.count("GET", "/manifests/v1") == 1 and registry.count("GET", "/blobs/") == 1


def test_wrong_bytes_of_everybody(mount, registry, mirror, image, hosts):
    for server in (mirror, registry):
        server.on("GET", "/blobs/", b.flip(100_000))
    m = mount(None, *hosts(table(mirror)))
    with raises(EBADMSG):
        read(m / "demo/app:v1/main.wasm")
    assert mirror.count("GET", "/blobs/") == 1 and registry.count("GET", "/blobs/") == 1
    assert not files_holding(m.cache, image.layer.data[100_100:100_200]), "nothing of it is kept"


def test_a_mirror_that_stops_midway(mount, registry, mirror, image, hosts):
    mirror.on("GET", "/blobs/", b.cut(1 << 20))
    m = mount(None, *hosts(table(mirror)))
    open_all(m, image)
    rest = registry.requests("GET", "/blobs/")
    assert [r.headers.get("range") for r in rest] == [f"bytes={1 << 20}-{(2 << 20) - 1}"]


def test_the_origin_is_away(mount, registry, mirror, image, hosts):
    registry.stop()
    m = mount(None, *hosts(table(mirror)))
    open_all(m, image)
    assert read(m / f"demo/app@{image.digest}/manifest.json") == image.data
    with raises(EHOSTUNREACH):
        os.stat(m / "demo/app:v2/main.wasm")
    registry.start()


def test_a_server_instead_of_the_registry(mount, registry, mirror, image, hosts):
    m = mount(None, *hosts(f'server = "{mirror.url}"\n'))
    open_all(m, image)
    assert os.listdir(m / "demo/app/tags") == ["v1"]
    with raises(ENOENT):
        os.stat(m / "demo/app:v2/main.wasm")
    assert registry.count() == 0


def test_pages_of_a_server_below_a_path(mount, registry, registries, hosts):
    """Its links have the path in them."""
    class Below(type(registry)):
        def handle(self, request):
            request.path = request.path.removeprefix("/up")
            return super().handle(request)

    server = registries(Below)
    for tag in ("v1", "v2", "v3"):
        samples.push_wasm(server.store, "demo/app", tag)
    server.pages = Pages(1, link=lambda url: f'</up{url}>; rel="next"')
    m = mount(None, *hosts(f'server = "{server.url}/up"\n'))
    assert sorted(os.listdir(m / "demo/app/tags")) == ["v1", "v2", "v3"]
    assert {r.target.split("?")[0] for r in server.requests()} == {"/up/v2/demo/app/tags/list"}


def test_a_project_of_a_proxy_cache(mount, registry, registries, image, hosts):
    """As Harbor has them."""
    harbor = registries()
    samples.push_wasm(harbor.store, "proj/demo/app", "v1", size=2 << 20)
    m = mount(None, *hosts(f'[host."{harbor.url}/v2/proj/"]\noverride_path = true\n'))
    open_all(m, image)
    assert registry.count() == 0
    assert {r.path.split("/", 3)[2] for r in harbor.requests()} == {"proj"}


def test_credentials_are_each_hosts_own(mount, registry, mirror, image, hosts, work):
    registry.auth = Basic("me", SECRET)
    mirror.auth = Basic("mirror", "m1rr0r")
    mirror.on("GET", "/blobs/", b.error(404))
    path = work / "auth.json"
    path.write_text(json.dumps({"auths": {
        host: {"auth": base64.b64encode(pair.encode()).decode()}
        for host, pair in {registry.address: f"me:{SECRET}", mirror.address: "mirror:m1rr0r"}.items()}}))
    m = mount(None, "--auth-file", path, *hosts(table(mirror)))
    open_all(m, image)
    for server, pair in ((registry, f"me:{SECRET}"), (mirror, "mirror:m1rr0r")):
        sent = {r.headers.get("authorization") for r in server.requests()} - {None}
        assert sent == {"Basic " + base64.b64encode(pair.encode()).decode()}
    assert SECRET not in m.log.text()


def test_headers_are_one_hosts_own(mount, registry, mirror, registries, image, hosts):
    storage = registries(host="127.0.0.2", store=registry.store)
    mirror.on("GET", "/blobs/", b.redirect(storage), times=1)
    mirror.on("GET", "/manifests/", b.error(404))
    m = mount(None, *hosts(table(mirror, f'header = {{X-Key = "{SECRET}", X-Two = ["a", "b"]}}')))
    open_all(m, image)
    assert all(r.headers.get("x-key") == SECRET for r in mirror.requests())
    assert [v for k, v in mirror.requests()[0].headers.items if k.lower() == "x-two"] == ["a", "b"]
    for server in (registry, storage):
        assert server.count() > 0 and all("x-key" not in r.headers for r in server.requests())
    assert SECRET not in m.log.text()


@pytest.fixture
def strict(registries, registry, authority):
    """A server that wants a certificate of the same authority."""
    context = authority.context("127.0.0.1")
    authority.ca.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    return registries(store=registry.store, tls=context)


@pytest.fixture
def certificates(authority, work):
    """certificates(directory): ca.crt, us.cert and us.key in it."""
    def make(directory):
        directory.mkdir(parents=True, exist_ok=True)
        us = authority.ca.issue_cert("us@example.com")
        authority.ca.cert_pem.write_to_path(str(directory / "ca.crt"))
        us.private_key_pem.write_to_path(str(directory / "us.key"))
        (directory / "us.cert").write_bytes(b"".join(pem.bytes() for pem in us.cert_chain_pems))
    return make


def test_a_mirror_with_tls_and_a_client_certificate(mount, registry, strict, image, hosts, certificates, work):
    certificates(work / "hosts/_default")
    m = mount(None, *hosts(table(strict, 'ca = "ca.crt"\nclient = [["us.cert", "us.key"]]')))
    open_all(m, image)
    assert registry.count() == 0 and strict.count("GET", "/blobs/") == 1


def test_a_mirror_that_nobody_vouches_for(mount, registry, registries, authority, image, hosts):
    mirror = registries(store=registry.store, tls=authority.context("127.0.0.1"))
    m = mount(None, *hosts(table(mirror)))
    open_all(m, image)
    assert mirror.count() == 0 and registry.count("GET", "/blobs/") == 1
    m = mount(None, *hosts(table(mirror, "skip_verify = true")), cache=m.path.parent / "other")
    open_all(m, image)
    assert mirror.count("GET", "/blobs/") == 1


@pytest.mark.parametrize("tool", ["docker", "containers"])
def test_certificates_that_another_tool_has(mount, strict, image, certificates, work, tool):
    certificates(work / "config" / tool / "certs.d" / strict.address)
    m = mount(f"https://{strict.address}", env={"XDG_CONFIG_HOME": str(work / "config")})
    open_all(m, image)


def test_certificates_that_only_root_may_read(mount, registry, strict, image, certificates, work):
    """Docker's daemon is root; another user mounts without them."""
    directory = work / "config/docker/certs.d" / strict.address
    certificates(directory)
    (directory / "us.key").chmod(0o600)
    strict.tls.maximum_version = ssl.TLSVersion.TLSv1_2  # as of 1.3 it may be heard of too late
    as_nobody = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    for number, source in enumerate((f"https://{strict.address}", registry.address)):
        cache = work / f"cache-{number}"
        cache.mkdir(mode=0o700)
        os.chown(cache, NOBODY, NOBODY)
        m = mount(source, user=NOBODY, cache=cache, env={"XDG_CONFIG_HOME": str(work / "config")})
        code = run(["cat", m / "demo/app:v1/main.wasm"], **as_nobody).code
        assert (code != 0 and m.log.wait("alert")) if number == 0 else code == 0
        directory.chmod(0o700)


def test_certificates_beside_no_hosts_toml(mount, strict, image, certificates, work):
    certificates(work / "hosts" / f"{strict.host}_{strict.port}_")
    m = mount(f"https://{strict.address}", "--hosts-dir", work / "hosts")
    open_all(m, image)


@pytest.mark.parametrize("text, said", [
    ('\n[host."https://m"]\ncapabilities = ["pul"]\n', "hosts.toml: line 3: 'capabilities'"),
    ('server = "https://m', "hosts.toml: line 1: a string that does not end"),
    ('ca = "missing.crt"', "missing.crt: No such file or directory"),
    ('client = [["us.cert", "us.key"]]', "us.cert: No such file or directory"),
    ('server = "https://me:s3cr3t-Pa55word@m"', "hosts.toml: line 1: no URL of a registry"),
])
def test_what_cannot_be_understood_is_said_at_the_start(mount, registry, image, hosts, text, said):
    with pytest.raises(Failed) as failure:
        mount(None, *hosts(text), fails=True)
    assert said in str(failure.value) and SECRET not in str(failure.value)
    assert registry.count() == 0


def test_client_certificates_are_looked_at_at_the_start(mount, registry, hosts, certificates, work):
    """Also those that are not shown, of several: the first is."""
    directory = work / "hosts/_default"
    certificates(directory)
    (directory / "other.cert").write_bytes((directory / "us.cert").read_bytes())
    options = hosts('client = [["us.cert", "us.key"], ["other.cert", "other.key"]]')
    with pytest.raises(Failed, match="other.key: No such file"):
        mount(None, *options, fails=True)
    run(["openssl", "genpkey", "-algorithm", "RSA", "-out", directory / "other.key"]).ok()
    with pytest.raises(Failed, match="other.key: not the private key of the certificate"):
        mount(None, *options, fails=True)
    run(["openssl", "pkcs8", "-topk8", "-in", directory / "us.key", "-out", directory / "other.key", "-passout", "pass:x"]).ok()
    with pytest.raises(Failed, match="other.key: a private key with a passphrase"):
        mount(None, *options, fails=True)
    assert registry.count() == 0


def test_the_first_of_several_client_certificates_is_shown(mount, registry, strict, image, hosts, certificates, work):
    directory = work / "hosts/_default"
    certificates(directory)
    run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=nobody", "-keyout",
         directory / "other.key", "-out", directory / "other.cert"]).ok()
    m = mount(None, *hosts(table(strict, 'ca = "ca.crt"\nclient = [["us.cert", "us.key"], ["other.cert", "other.key"]]')))
    open_all(m, image)
    assert registry.count() == 0 and strict.count("GET", "/blobs/") == 1


@pytest.mark.parametrize("harm, said", [("nothing", "No such file or directory"), ("file", "Not a directory")])
def test_a_hosts_dir_that_is_none(mount, binary, registry, work, harm, said):
    path = work / "nowhere"
    if harm == "file":
        path.touch()
    with pytest.raises(Failed, match=f"--hosts-dir: .*{said}; give a directory"):
        mount(None, "--hosts-dir", path, fails=True)
    result = run([binary, "pull", "--cache", work / "cache", "--hosts-dir", path, f"{registry.address}/demo/app:v1"])
    assert result.code == 2 and result.err == \
        f"wasmocifs: pull: --hosts-dir: cannot look into {path}: {said}; give a directory\n"


def test_a_real_pull_through_cache(mount, docker_registry, work, hosts):
    """And then what it has is enough."""
    artifact = artifacts.cncf(artifacts.wasm_module(1, 2 << 20))
    artifacts.push(f"http://{docker_registry.address}", "demo", "v1", artifact)
    directory = work / "mirror"
    directory.mkdir()
    with contextlib.closing(DockerRegistry(directory, proxy={"remoteurl": f"http://{docker_registry.address}"})) as mirror:
        options = hosts(f'[host."http://{mirror.address}"]\n')
        m = mount(docker_registry.address, *options)
        assert read(m / "demo:v1/main.wasm") == artifact.layer.data
        kept = [f"{hex}/data" for hex in (artifact.hex, artifact.layer.hex)]
        until(lambda: all(list(directory.rglob(name)) for name in kept), what="the mirror to have written both")
        m.unmount()
        m = mount(docker_registry.address, *options, cache=work / "other")
        docker_registry.process.terminate()
        docker_registry.process.wait(20)
        assert read(m / f"demo@{artifact.digest}/main.wasm") == artifact.layer.data


# registries.conf


@pytest.fixture
def conf(work):
    """conf(text, name="registries.conf"): the environment of a user with this file."""
    def make(text, name="registries.conf"):
        path = work / "config/containers" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return {"XDG_CONFIG_HOME": str(work / "config")}
    return make


def entry(prefix, location, *mirrors, more="insecure = true"):
    """Plain HTTP is found out where it is allowed."""
    text = f'[[registry]]\nprefix = "{prefix}"\nlocation = "{location}"\n{more}\n'
    for mirror in mirrors:
        text += f'[[registry.mirror]]\nlocation = "{mirror}"\ninsecure = true\n'
    return text


def test_a_registry_kept_elsewhere(mount, registry, registries, image, conf):
    """With its mirrors, under other names, and listed under its own."""
    kept = registries()
    copy = samples.push_wasm(kept.store, "backup/hub/demo/app", "v1", size=2 << 20)
    samples.push_wasm(kept.store, "unrelated/thing", "v1")
    for tag in ("v3", "v4"):
        samples.push_wasm(kept.store, "backup/hub/demo/app", tag, seed=9)
    kept.pages = Pages(1)
    empty = registries()
    m = mount("https://hub.example", env=conf(entry("hub.example", f"{kept.address}/backup/hub", f"{empty.address}/m")))
    open_all(m, copy)
    assert os.listdir(m) == ["demo"]
    assert sorted(os.listdir(m / "demo/app/tags")) == ["v1", "v3", "v4"], "the links name the repository as the host does"
    assert {r.path.split("/manifests")[0] for r in empty.requests("GET", "/manifests/")} == {"/v2/m/demo/app"}
    assert all("ns" not in r.query for r in empty.requests() + kept.requests())
    with raises(ENOENT):
        os.stat(m / "demo/app:v2/main.wasm")


def test_the_longest_prefix_counts(mount, registry, mirror, second, image, conf):
    other = samples.push_wasm(registry.store, "demo/other", "v1", seed=2)
    for name in ("x/app", "y"):
        samples.push_wasm(registry.store, name, "v1", size=2 << 20)
    m = mount("https://hub.example", env=conf(
        entry("hub.example", registry.address) + entry("hub.example/demo", f"{mirror.address}/x")
        + entry("hub.example/demo/app", f"{second.address}/y")))
    open_all(m, image)
    assert {r.path.split("/")[2] for r in second.requests()} == {"y"}
    assert mirror.count() == 0 and registry.count() == 0
    with raises(ENOENT):
        os.stat(m / "demo/other:v1/main.wasm")
    assert mirror.count(None, "/v2/x/other/") > 0
    samples.push_wasm(registry.store, "demonstration", "v1", data=other.layer.data)
    assert read(m / "demonstration:v1/main.wasm") == other.layer.data, "a prefix ends at a separator"


def test_what_is_blocked(mount, registry, image, conf):
    conf(f'[[registry]]\nlocation = "{registry.address}/demo"\nblocked = true\n', "registries.conf.d/50-policy.conf")
    m = mount(env=conf(""))
    with raises(EACCES):
        read(m / "demo/app:v1/main.wasm")
    assert m.log.wait(rf"{registry.address}/demo/app: blocked by .*50-policy.conf")
    samples.push_wasm(registry.store, "free/app", "v1")
    assert read(m / "free/app:v1/main.wasm")
    assert registry.count(None, "/v2/demo/") == 0


def test_mirrors_for_digests_only(mount, registry, mirror, image, conf):
    m = mount(env=conf(entry(registry.address, registry.address, mirror.address,
                             more="insecure = true\nmirror-by-digest-only = true")))
    open_all(m, image)
    assert mirror.count("GET", "/blobs/") == 1 and mirror.count(None, "/manifests/v1") == 0
    assert registry.count(None, "/manifests/v1") == 1 and registry.count("GET", "/blobs/") == 0


def test_insecure_takes_any_certificate(mount, registries, authority, conf):
    server = registries(tls=authority.context("elsewhere.example"))
    copy = samples.push_wasm(server.store, "demo/app", "v1", size=2 << 20)
    m = mount("https://hub.example", env=conf(entry("hub.example", server.address)))
    open_all(m, copy)
    m = mount("https://hub.example", env=conf(entry("hub.example", server.address, more="")), cache=m.path.parent / "c")
    with raises(EPROTO):
        read(m / "demo/app:v1/main.wasm")


def test_a_registries_conf_that_makes_no_sense(mount, registry, conf):
    with pytest.raises(Failed, match="registries.conf: line 2: 'location': not a string"):
        mount(env=conf("[[registry]]\nlocation = 1\n"), fails=True)


# proxies

NAME = "registry.test"  # which only the proxy knows


@pytest.fixture
def proxy(registries, registry):
    return registries(Proxy, hosts={NAME: registry})


def variables(proxy, none="", user=""):
    url = f"http://{user}127.0.0.1:{proxy.port}"
    return {"HTTP_PROXY": url, "https_proxy": url, "NO_PROXY": none, "no_proxy": ""}


def test_plain_http_through_a_proxy(mount, registry, proxy, image):
    m = mount(f"http://{NAME}:5000", env=variables(proxy))
    open_all(m, image)
    assert all(r.target.startswith(f"http://{NAME}:5000/v2/") for r in proxy.requests())
    assert proxy.count() == registry.count() == 2


def test_tls_through_a_proxy(mount, registries, authority, work):
    server = registries(tls=authority.context(NAME))
    image = samples.push_wasm(server.store, "demo/app", "v1", size=2 << 20)
    proxy = registries(Proxy, hosts={NAME: server}, users={"me": SECRET})
    m = mount(f"https://{NAME}", "--ca-file", authority.ca_file(work), env=variables(proxy, user=f"me:{SECRET}@"))
    open_all(m, image)
    assert {(r.method, r.target) for r in proxy.requests()} == {("CONNECT", f"{NAME}:443")}
    assert all("proxy-authorization" not in r.headers for r in server.requests())
    assert SECRET not in m.log.text()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_wants_a_login(mount, registry, registries, image, scheme):
    proxy = registries(Proxy, hosts={NAME: registry}, users={"me": "other"})
    m = mount(f"{scheme}://{NAME}", env=variables(proxy, user=f"me:{SECRET}@"))
    with raises(EPROTO):
        read(m / "demo/app:v1/main.wasm")
    assert m.log.wait(rf"the proxy 127.0.0.1:{proxy.port} wants a login \(407\)")
    assert registry.count() == 0 and SECRET not in m.log.text()
    assert proxy.count() <= 2, "it is no registry, and is asked for no token"


def test_hosts_that_need_no_proxy(mount, registry, proxy, mirror, image, hosts):
    """Loopback never does; a name may be listed."""
    m = mount(registry.address, env=variables(proxy))
    open_all(m, image)
    assert proxy.count() == 0
    m = mount(f"http://{NAME}", env=variables(proxy, none="example.com,.test:80"))
    with raises(EHOSTUNREACH):
        read(m / "demo/app:v1/main.wasm")
    assert proxy.count() == 0
    m = mount(f"http://{NAME}:81", *hosts(table(mirror)), env=variables(proxy, none=".test:80"))
    open_all(m, image)
    assert proxy.count() == 0 and mirror.count() > 0, "a mirror on this machine"
    with raises(ENOENT):
        os.stat(m / "demo/app:v2/main.wasm")
    assert proxy.count() == 1, "its origin is behind the proxy"


def test_a_proxy_that_cannot_be_one(mount, registry):
    with pytest.raises(Failed, match="HTTP_PROXY in the environment: a proxy is http, https or socks5") as failure:
        mount(None, env={"HTTP_PROXY": f"ftp://me:{SECRET}@proxy"}, fails=True)
    assert SECRET not in str(failure.value)


# what changes while it is mounted


def test_a_loopback_registry_that_changes_its_scheme(mount, registry, authority, work, auth_file):
    """Plain, then with TLS on the same port, and not back: what is shown over TLS is not shown without."""
    images = [samples.push_wasm(registry.store, f"demo/r{i}", "v1", seed=i) for i in range(3)]
    m = mount(registry.address, "--ca-file", authority.ca_file(work), "--auth-file",
              auth_file({registry.address: ("me", SECRET)}))
    assert read(m / "demo/r0:v1/main.wasm") == images[0].layer.data

    def listen(context):
        registry.stop()
        registry.tls = context
        registry.start()
    listen(authority.context("127.0.0.1"))
    registry.auth = Basic("me", SECRET)
    until(lambda: opens(m / "demo/r1:v1/main.wasm"), what="TLS to be found out")
    assert read(m / "demo/r1:v1/main.wasm") == images[1].layer.data
    listen(None)
    asked = registry.count()
    with raises(EPROTO, EHOSTUNREACH):
        read(m / "demo/r2:v1/main.wasm")
    assert registry.count() == asked


def test_skip_verify_is_about_one_host(mount, registries, tokens, authority, hosts, auth_file):
    """Not about its token server, which would be told the password."""
    server = registries(tls=authority.context("elsewhere.example"))
    samples.push_wasm(server.store, "demo/app", "v1")
    login = tokens(users={"me": SECRET}, anonymous=False, tls=authority.context("elsewhere.example"))
    server.auth = Bearer(login, private=lambda path: True)
    options = hosts(table(server, "skip_verify = true"), server.address)
    m = mount(f"https://{server.address}", *options, "--auth-file", auth_file({server.address: ("me", SECRET)}))
    with raises(EACCES, EPROTO, EHOSTUNREACH):
        read(m / "demo/app:v1/main.wasm")
    assert server.count() > 0 and login.count() == 0
    assert m.log.wait("certificate")
