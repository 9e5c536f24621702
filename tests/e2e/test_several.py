# SPDX-License-Identifier: Apache-2.0
"""Several registries in one mount: hosts at the first level, each with its own state, and --all with whom it lets in."""

import json
import os
import pathlib
import re
import signal
import threading
from errno import EACCES, EHOSTUNREACH, ENFILE, ENODATA, ENOENT, ETIMEDOUT

import pytest

import artifacts
import real_images
import samples
from harness import Child, Failed, raises, read, run, until
from registry import behaviours as b
from registry.proxy import Proxy
from several import hosts, spelt, why


@pytest.fixture
def two(registries):
    """Two registries with an image of the same name, and of other content."""
    made = [registries(), registries()]
    for seed, registry in enumerate(made):
        registry.image = samples.push_wasm(registry.store, "demo/app", "v1", size=5000, seed=seed)
    return made


def test_two_hosts(mount, two):
    one, other = two
    m = mount(one.address, other.address)
    assert sorted(os.listdir(m)) == sorted([spelt(one), spelt(other)])
    for registry in two:
        for name in (spelt(registry), registry.address):
            assert read(m / name / "demo/app:v1/main.wasm") == registry.image.layer.data
            assert read(m / name / "demo/app/tags/v1/main.wasm") == registry.image.layer.data
        target = os.readlink(m / spelt(registry) / "demo/app:v1")
        assert target == f"app/manifests/sha256/{registry.image.hex}"
        source = os.getxattr(m / spelt(registry) / "demo/app:v1/", "user.oci.source").decode()
        assert source == f"{registry.address}/demo/app"
        assert os.listdir(m / spelt(registry)) == ["demo"]
    assert one.image.layer.data != other.image.layer.data


def test_the_source_of_what_lies_in_two_places(mount, registries):
    """manifest.json is one node for both, so only the directories can say it, once it was met in both."""
    a, c = registries(), registries()
    samples.push_wasm(a.store, "demo/app", "v1")
    samples.push_wasm(c.store, "other/x", "v1")
    m = mount(a.address, c.address)
    places = {m / spelt(a) / "demo/app:v1": f"{a.address}/demo/app", m / spelt(c) / "other/x:v1": f"{c.address}/other/x"}
    first, source = next(iter(places.items()))
    assert os.getxattr(first / "manifest.json", "user.oci.source").decode() == source
    for path in places:
        os.stat(path / "manifest.json")
    for _ in range(2):
        for path, source in places.items():
            assert os.getxattr(f"{path}/", "user.oci.source").decode() == source
            assert "user.oci.source" in os.listxattr(f"{path}/")
            assert "user.oci.source" not in os.listxattr(path / "manifest.json")
            with raises(ENODATA):
                os.getxattr(path / "manifest.json", "user.oci.source")


def test_spellings_are_directories_of_their_own(mount, two):
    m = mount(two[0].address, two[1].address)
    a, c = m / spelt(two[0]), m / two[0].address
    assert os.stat(a).st_ino != os.stat(c).st_ino
    assert sorted(os.listdir(m)) == sorted(map(spelt, two)), "the one with a colon is not listed"
    assert (a / "demo/app:v1").resolve().is_relative_to(a) and (c / "demo/app:v1").resolve().is_relative_to(c)


def test_first_level_has_hosts_only(mount, two):
    m = mount(two[0].address, two[1].address)
    for name in ("demo", "demo:v1", "ghcr.io", "localhost", "tags", "index.json", "127.0.0.1"):
        with raises(ENOENT):
            os.stat(m / name)
    assert two[0].count() == two[1].count() == 0, "nobody was asked"
    answer = why(m, "ghcr.io/a:v1")
    assert answer["errno"] == "ENOENT" and all(spelt(registry) in answer["text"] for registry in two) and "--all" in answer["hint"]


def test_one_source_has_no_hosts(mount, two):
    m = mount(two[0].address)
    assert read(m / "demo/app:v1/main.wasm") == two[0].image.layer.data
    with raises(ENOENT):
        os.stat(m / spelt(two[0]) / "demo/app:v1/main.wasm")
    assert m.status()["sources"] == [two[0].address] and m.status()["all"] is False


def test_a_namespace_is_the_root_of_its_host(mount, two):
    one, other = two
    samples.push_wasm(one.store, "elsewhere/app", "v1", seed=7)
    m = mount(f"{one.address}/demo", other.address)
    assert read(m / spelt(one) / "app:v1/main.wasm") == one.image.layer.data
    assert os.listdir(m / spelt(one)) == ["app"]
    assert set(m.status()["sources"]) == {f"{one.address}/demo", other.address}, "as they were given"
    with raises(ENOENT):
        os.readlink(m / spelt(one) / "elsewhere/app:v1")
    assert read(m / spelt(other) / "demo/app:v1/main.wasm") == other.image.layer.data


def test_one_host_twice(mount, two):
    with pytest.raises(Failed, match="two sources would be the directory .*give that host once"):
        mount(f"{two[0].address}/demo", f"{two[0].address}/elsewhere", fails=True)


def test_a_layout_among_them(mount, two, work):
    layout = work / "hello-layout"
    image = artifacts.cncf(samples.wasm(3000, 9), "hello.wasm")
    artifacts.image_layout(layout, {"v1": image})
    m = mount(f"oci:{layout}", two[0].address)
    assert sorted(os.listdir(m)) == sorted(["hello-layout", spelt(two[0])])
    assert read(m / "hello-layout/hello-layout:v1/main.wasm") == image.layer.data
    assert [host["host"] for host in m.status()["hosts"]] == [two[0].address], "a layout has no host"


def test_status_and_why_by_site(mount, two):
    one, other = two
    other.on(None, "/manifests/", b.error(403, "DENIED", "closed on sundays"))
    m = mount(one.address, other.address)
    read(m / spelt(one) / "demo/app:v1/main.wasm")
    with raises(EACCES):
        os.readlink(m / spelt(other) / "demo/app:v1")
    status = m.status()
    assert sorted(status["sources"]) == sorted(r.address for r in two)
    assert hosts(m)[one.address]["state"] == "ok" and hosts(m)[other.address]["state"] == "refused"
    answer = why(m, f"{other.address}/demo/app:v1")
    assert answer["errno"] == "EACCES" and "closed on sundays" in answer["text"] and other.address in answer["text"]
    assert why(m, f"{spelt(one)}/demo/app:v1/main.wasm")["state"] == "fine"
    text = run([m.binary, "status", m], env=m.env).ok().out
    assert one.address in text and other.address in text and "1 of 2 not well" in text
    assert other.address in m.log.text()


def test_a_silent_host_delays_no_other(mount, two):
    """More readers than the pools of its site have threads wait for the one; the other answers meanwhile."""
    silent, well = two
    for n in range(40):
        samples.push_wasm(silent.store, f"demo/n{n}", "v1", seed=n)
    rule = silent.on(None, "/v2/", b.silent())
    m = mount(silent.address, well.address)
    failed = []

    def wait(n):
        try:
            os.readlink(m / spelt(silent) / f"demo/n{n}:v1")
        except OSError as error:
            failed.append(error.errno)

    readers = [threading.Thread(target=wait, args=(n,)) for n in range(40)]
    for reader in readers:
        reader.start()
    until(lambda: m.status()["parked"] >= 40, what="all of them waiting")
    assert read(m / spelt(well) / "demo/app:v1/main.wasm") == well.image.layer.data
    assert os.listdir(m / spelt(well)) == ["demo"]
    assert not failed and all(reader.is_alive() for reader in readers), "they still wait"
    silent.stop()
    rule.remove()
    for reader in readers:
        reader.join(60)
    assert len(failed) == 40 and set(failed) <= {EHOSTUNREACH, ETIMEDOUT}


def test_the_same_content_of_a_host_that_is_down(mount, registries):
    """One node, one page cache: and who was asked for it last does not keep it from the other's reader."""
    one, other = registries(), registries()
    for registry in (one, other):
        image = samples.push_wasm(registry.store, "demo/app", "v1", size=200_000)
    m = mount(one.address, other.address)
    path = [m / spelt(r) / "demo/app:v1/main.wasm" for r in (one, other)]
    assert os.stat(path[0]).st_ino == os.stat(path[1]).st_ino
    other.stop()
    assert read(path[0]) == image.layer.data


def test_the_same_content_of_a_host_that_is_silent(mount, registries):
    """The node remembers the host it was found under last: that one has its time, and then the other is asked."""
    one, other = registries(), registries()
    for registry in (one, other):
        image = samples.push_wasm(registry.store, "demo/app", "v1", size=200_000)
    other.on(None, "/blobs/", b.silent())
    m = mount(one.address, other.address, "--timeout", "50s")
    path = [m / spelt(r) / "demo/app:v1/main.wasm" for r in (one, other)]
    assert os.stat(path[0]).st_ino == os.stat(path[1]).st_ino
    assert read(path[0]) == image.layer.data
    assert one.count("GET", "/blobs/") == 1 and other.count("GET", f"/blobs/{image.layer.digest}") >= 1


def test_interrupts_find_their_site(mount, two):
    silent = two[1]
    silent.on(None, "/v2/", b.silent())
    m = mount(two[0].address, silent.address)
    child = Child(["readlink", m / spelt(silent) / "demo/app:v1"]).waiting()
    child.send(signal.SIGTERM)
    assert child.ends()[0] == -signal.SIGTERM
    until(lambda: m.status()["parked"] == 0, what="its request being answered")


def test_offline_serves_what_each_has_given(mount, two):
    cached = mount(two[0].address, two[1].address)
    for registry in two:
        assert read(cached / spelt(registry) / "demo/app:v1/main.wasm") == registry.image.layer.data
    cached.unmount()
    for sources in ([two[0].address, two[1].address], ["none", "--all"]):
        m = mount(*sources, "--offline")
        for registry in two:
            asked = registry.count()
            assert read(m / spelt(registry) / "demo/app:v1/main.wasm") == registry.image.layer.data
            with raises(EHOSTUNREACH):
                os.readlink(m / spelt(registry) / "demo/other:v1")
            assert registry.count() == asked
        assert sorted(os.listdir(m)) == sorted(map(spelt, two))
        m.unmount()


def test_inode_numbers_are_stable(mount, two):
    paths = [f"{spelt(two[0])}", two[0].address, f"{spelt(two[0])}/demo", f"{spelt(two[1])}/demo"]
    seen = []
    for _ in range(2):
        m = mount(two[0].address, two[1].address)
        seen.append([os.stat(m / path).st_ino for path in paths])
        with os.scandir(m) as entries:
            assert {entry.name: entry.inode() for entry in entries}[spelt(two[0])] == seen[-1][0]
        m.unmount()
    assert seen[0] == seen[1] and len(set(seen[0])) == len(paths)


def test_other_tools_take_the_spelling_without_colon(mount, two):
    real_images.need_tools("skopeo")
    m = mount(two[0].address, two[1].address)
    for registry in two:
        raw = run(["skopeo", "inspect", "--raw", f"oci:{m}/{spelt(registry)}/demo/app:v1"]).ok().out
        assert artifacts.digest_of(raw.encode()) == f"sha256:{registry.image.hex}"


def test_podman_within_a_host_with_a_port(mount, two, work):
    """It makes an image's name of the path, which must be one."""
    real_images.need_tools("podman")
    m = mount(two[0].address, two[1].address)
    image = samples.push_tar(two[0].store, "demo/tar", "v1")
    podman = ["podman", "--root", work / "root", "--runroot", work / "runroot", "--storage-driver", "vfs"]
    pulled = run([*podman, "pull", "-q", "oci:demo/tar:v1"], cwd=m / spelt(two[0])).ok().out.strip()
    assert pulled == image.config.hex


# --all


def test_all_admits_who_is_named_only(mount, two):
    one, other = two
    m = mount("none", "--all", "--allow-host", one.address)
    assert os.listdir(m) == []
    assert read(m / spelt(one) / "demo/app:v1/main.wasm") == one.image.layer.data
    assert os.listdir(m) == [spelt(one)], "hosts that something is known of"
    assert os.path.isdir(m / spelt(other)), "a name is no request"
    with raises(EACCES):
        os.readlink(m / spelt(other) / "demo/app:v1")
    assert other.accepted == 0, "not even a connection"
    answer = why(m, f"{other.address}/demo/app:v1")
    assert answer["errno"] == "EACCES" and f"--allow-host {other.address}" in answer["text"]
    assert "--allow-host" in answer["hint"] and "does not exist" not in answer["hint"]
    assert os.listdir(m) == [spelt(one)]
    assert m.status()["all"] is True and m.status()["sources"] == []


def test_all_lists_what_earlier_mounts_found(mount, two):
    m = mount("none", "--all", "--allow-host", "127.0.0.1")
    for registry in two:
        assert read(m / spelt(registry) / "demo/app:v1/main.wasm") == registry.image.layer.data
    with raises(ENOENT):
        os.readlink(m / "127.0.0.1:5" / "..." / "app:v1")
    m.unmount()
    m = mount("none", "--all", "--allow-host", "127.0.0.1")
    with os.scandir(m) as entries:
        listed = {entry.name: entry.inode() for entry in entries}
    assert sorted(listed) == sorted(map(spelt, two))
    assert m.status()["hosts"] == [], "listing makes no registry"
    assert all(os.stat(m / name).st_ino == ino for name, ino in listed.items())
    assert os.listdir(m / spelt(two[0])) == ["demo"]
    assert sorted(os.listdir(m)) == sorted(map(spelt, two)), "each of them once"
    only = mount(two[0].address, two[1].address)
    assert sorted(os.listdir(only)) == sorted(map(spelt, two))


def test_all_and_names_that_are_none(mount, registry):
    m = mount("none", "--all")
    for name in ("localhost", "go", ".git", ".hidden", "a b", "ghcr.io:v1", "foo@sha256:00", "package", "package.json", "x.dwp", "127.1:80", "2130706433:80", "0x7f000001:80"):
        with raises(ENOENT):
            os.stat(m / name)
    for name in ("go.mod", "ghcr.io"):
        os.stat(m / name)
    assert m.status()["hosts"] == [] and os.listdir(m) == [], "a probe makes no registry"
    answer = why(m, "go")
    assert "a host has a dot or a port" in answer["text"] and "--all" not in answer["hint"]


@pytest.mark.parametrize("name", ["127.0.0.1:{}", "localhost:{}", "localhost_{}_", "[::ffff:127.0.0.1]:{}", "a.localhost:{}", "0.0.0.0:{}"])
def test_all_and_this_machine(mount, registry, name):
    """Whatever it is called: the address that would be connected to counts."""
    m = mount("none", "--all")
    with raises(EACCES):
        os.readlink(m / name.format(registry.port) / "demo/app:v1")
    with raises(EACCES):
        os.listdir(m / name.format(registry.port) / "demo")
    assert registry.accepted == 0


@pytest.mark.parametrize("address", ["169.254.169.254:80", "10.255.255.1:80", "192.168.0.1", "[fe80::1]:80", "[fd00::1]", "192.0.2.1:9", "[2001:db8::1]:9"])
def test_all_and_what_is_near(mount, address):
    """Metadata services and the neighbours: refused before anything is sent, and said."""
    m = mount("none", "--all", "--timeout", "30s")
    with raises(EACCES):
        os.readlink(m / address / "demo/app:v1")
    with raises(EACCES):
        os.listdir(m / address / "demo/app")
    answer = why(m, f"{address}/demo/app:v1")
    assert answer["errno"] == "EACCES" and "not a public one" in answer["text"]
    assert m.log.wait(re.escape(f"--allow-host {address}"))


def test_all_behind_a_proxy(mount, registries, work):
    """It looks names up: one that means something in its own network only is not for it to find."""
    proxy = registries(Proxy, hosts={})
    env = {"HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}", "NO_PROXY": "", "no_proxy": ""}
    m = mount("none", "--all", env=env)
    for host in ("metadata.google.internal", "intranet:80", "printer.local", "10.0.0.1:443", "a.default.svc", "nas.lan:443"):
        with raises(EACCES):
            os.readlink(m / host / "demo/app:v1")
    assert proxy.count() == 0
    with raises(EHOSTUNREACH):
        os.readlink(m / "registry.example/demo/app:v1")
    assert proxy.count() > 0


@pytest.mark.parametrize("host", ["10.0.0.1.", "169.254.169.254", "2130706433.", "vault.corp"])
def test_all_behind_a_proxy_that_is_sent_elsewhere(mount, registries, authority, work, host):
    """A dot at the end makes no name of an address."""
    r = registries(tls=authority.context("registry.example"))
    samples.push_wasm(r.store, "demo/app", "v1")
    r.on("GET", "/blobs/", b.redirect(f"https://{host}/secret"))
    proxy = registries(Proxy, hosts={"registry.example": r})
    env = {"HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}", "NO_PROXY": "", "no_proxy": ""}
    m = mount("none", "--all", "--ca-file", authority.ca_file(work), env=env)
    os.readlink(m / "registry.example/demo/app:v1")
    with raises(EACCES):
        os.stat(m / "registry.example/demo/app:v1/main.wasm") and read(m / "registry.example/demo/app:v1/main.wasm")
    assert {request.target for request in proxy.requests()} == {"registry.example:443"}


@pytest.mark.parametrize("how", ["port", "host", "source", "auths", "empty", "hosts.toml"])
def test_who_may_be_named(mount, registry, work, how):
    image = samples.push_wasm(registry.store, "demo/app", "v1")
    options, source, env = ["--all"], "none", {}
    if how == "port":
        options += ["--allow-host", registry.address]
    elif how == "host":
        options += ["--allow-host", "127.0.0.1"]
    elif how == "source":
        source = registry.address
    elif how in ("auths", "empty"):
        login = {"auth": "dXNlcjpwYXNz"} if how == "auths" else {}
        (work / "auth.json").write_text(json.dumps({"auths": {registry.address: login}}))
        (work / "auth.json").chmod(0o600)
        options += ["--auth-file", work / "auth.json"]
    else:
        directory = work / "certs.d" / spelt(registry)
        directory.mkdir(parents=True)
        (directory / "hosts.toml").write_text("")
        options += ["--hosts-dir", work / "certs.d"]
    m = mount(source, *options, env=env)
    assert read(m / spelt(registry) / "demo/app:v1/main.wasm") == image.layer.data


def test_a_login_counts_at_the_next_try(mount, registry, work):
    image = samples.push_wasm(registry.store, "demo/app", "v1")
    auth = work / "auth.json"
    auth.write_text("{}")
    auth.chmod(0o600)
    m = mount("none", "--all", "--auth-file", auth)
    with raises(EACCES):
        os.readlink(m / spelt(registry) / "demo/app:v1")
    auth.write_text(json.dumps({"auths": {registry.address: {}}}))
    assert read(m / spelt(registry) / "demo/app:v1/main.wasm") == image.layer.data


def test_logging_out_counts_too(mount, registry, work):
    image = samples.push_wasm(registry.store, "demo/app", "v1")
    auth = work / "auth.json"
    auth.write_text(json.dumps({"auths": {registry.address: {}}}))
    auth.chmod(0o600)
    m = mount("none", "--all", "--auth-file", auth)
    path = m / spelt(registry) / "demo/app:v1/main.wasm"
    assert read(path) == image.layer.data
    auth.write_text("{}")
    asked = registry.count()
    with raises(EACCES):
        os.readlink(m / spelt(registry) / "demo/other:v1")
    assert registry.count() == asked
    assert read(path) == image.layer.data, "what is cached needs nobody"
    auth.write_text(json.dumps({"auths": {registry.address: {}}}))
    with raises(ENOENT):
        os.readlink(m / spelt(registry) / "demo/other:v2")


def test_a_mirror_of_all_is_sent_nowhere_near(mount, registry, work):
    """It would go where we do not."""
    directory = work / "certs.d/_default"
    directory.mkdir(parents=True)
    (directory / "hosts.toml").write_text(f'[host."{registry.url}"]\ncapabilities = ["pull", "resolve"]\n')
    samples.push_wasm(registry.store, "demo/app", "v1")
    auth = work / "auth.json"
    auth.write_text("{}")
    auth.chmod(0o600)
    m = mount("none", "--all", "--hosts-dir", work / "certs.d", "--auth-file", auth, "--allow-host", "10.0.0.3")
    for host in ("10.0.0.1:80", "[fd00::1]:80", "metadata.google.internal", "localhost:9"):
        with raises(EACCES):
            os.readlink(m / host / "demo/app:v1")
        assert "--allow-host" in why(m, f"{host}/demo/app:v1")["text"]
    assert registry.count() == 0
    auth.write_text(json.dumps({"auths": {"10.0.0.2": {}}}))
    for host in ("registry.example", "10.0.0.3:80", "10.0.0.2"):
        assert os.readlink(m / host / "demo/app:v1")


def test_default_hosts_toml_names_nobody(mount, registry, work):
    directory = work / "certs.d/_default"
    directory.mkdir(parents=True)
    (directory / "hosts.toml").write_text("")
    m = mount("none", "--all", "--hosts-dir", work / "certs.d")
    with raises(EACCES):
        os.readlink(m / spelt(registry) / "demo/app:v1")
    assert registry.count() == 0


def test_all_and_a_file_that_cannot_be_understood(mount, registry, work):
    """It is found when its host is entered: then that one is blocked, and no other."""
    image = samples.push_wasm(registry.store, "demo/app", "v1")
    (work / "certs.d/a.example").mkdir(parents=True)
    (work / "certs.d/a.example/hosts.toml").write_text("server = ")
    m = mount("none", "--all", "--allow-host", registry.address, "--hosts-dir", work / "certs.d")
    with raises(EACCES):
        os.readlink(m / "a.example/demo/app:v1")
    answer = why(m, "a.example/demo/app:v1")
    assert answer["errno"] == "EACCES" and "a.example/hosts.toml" in answer["text"]
    assert read(m / spelt(registry) / "demo/app:v1/main.wasm") == image.layer.data


@pytest.mark.parametrize("allowed", ["127.0.0.1:443", "127.0.0.1"])
def test_the_port_that_it_has_anyway(mount, registries, authority, work, allowed):
    r = registries(tls=authority.context("127.0.0.1"), port=443)
    samples.push_wasm(r.store, "demo/app", "v1")
    m = mount("none", "--all", "--allow-host", allowed, "--ca-file", authority.ca_file(work))
    for name in ("127.0.0.1:443", "127.0.0.1_443_", "127.0.0.1"):
        assert os.readlink(m / name / "demo/app:v1")
    assert [host["host"] for host in m.status()["hosts"]] == ["127.0.0.1"]
    assert os.listdir(m) == ["127.0.0.1"]


def test_another_port_is_another_registry(mount, registry):
    m = mount("none", "--all", "--allow-host", "127.0.0.1:443")
    with raises(EACCES):
        os.readlink(m / registry.address / "demo/app:v1")
    assert registry.accepted == 0


def test_ipv6(mount, registries):
    if not pathlib.Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    registry = registries(host="::1")
    image = samples.push_wasm(registry.store, "demo/app", "v1")
    m = mount("none", "--all", "--allow-host", "[::1]")
    for name in (f"[::1]:{registry.port}", f"[__1]_{registry.port}_", f"[::1]_{registry.port}_"):
        assert read(m / name / "demo/app:v1/main.wasm") == image.layer.data
    assert os.listdir(m) == [f"[__1]_{registry.port}_"], "three spellings of one registry"
    assert set(hosts(m)) == {f"[::1]:{registry.port}"}


# the command line


@pytest.mark.parametrize("words, text", [
    (["--allow-host", "a.example", "ghcr.io"], "--allow-host goes with --all"),
    (["--all", "--allow-host", "a/b"], "--allow-host a/b: not a host"),
    (["oci:/", "ghcr.io", ""], "must not be empty"),
    (["ghcr.io", "https://ghcr.io"], "two sources would be the directory 'ghcr.io'"),
    (["ghcr.io", "ghcr.io:443"], "two sources would be the directory 'ghcr.io'"),
    (["docker.io", "index.docker.io"], "two sources would be the directory 'docker.io'"),
    (["http://ghcr.io", "http://ghcr.io:80"], "two sources would be the directory 'ghcr.io'"),
])
def test_usage(binary, work, words, text):
    (work / "mnt").mkdir()
    result = run([binary, "mount", "--cache", work / "cache", *words, work / "mnt"])
    assert result.code == 2 and text in result.err, result


def test_all_by_mount_8(mount, registry):
    """What fstab says: none, and -o all."""
    image = samples.push_wasm(registry.store, "demo/app", "v1")
    m = mount("none", "-o", f"all,allow_host={registry.address}")
    assert read(m / registry.address / "demo/app:v1/main.wasm") == image.layer.data
    assert any(line.split()[0] == "none" and str(m) in line for line in open("/proc/self/mounts"))


def test_registries_have_a_limit(mount):
    """Names that users make up take no more than that; who is in use is served on."""
    m = mount("none", "--all", "--offline")
    for n in range(1, 65):
        with raises(EHOSTUNREACH):
            os.readlink(m / f"127.0.0.1:{n}" / "demo/app:v1")
    with raises(ENFILE):
        os.readlink(m / "127.0.0.1:99" / "demo/app:v1")
    assert m.log.wait("64 registries are in use")
    answer = why(m, "127.0.0.1:99/demo/app:v1")
    assert answer["errno"] == "ENFILE" and "64 registries" in answer["text"] and "this machine" not in answer["hint"]
    assert len(m.status()["hosts"]) == 64


def test_why_makes_no_registry(mount, work):
    """It only looks, and says what an open would be told."""
    (work / "certs.d/b.example").mkdir(parents=True)
    (work / "certs.d/b.example/hosts.toml").write_text("server = ")
    m = mount("none", "--all", "--offline", "--hosts-dir", work / "certs.d")
    for n in range(3):
        answer = why(m, f"h{n}.example/a:v1")
        assert answer["state"] == "unasked" and "nobody has asked that registry" in answer["text"]
    assert "b.example/hosts.toml" in why(m, "b.example/a:v1")["text"]
    assert m.status()["hosts"] == []
