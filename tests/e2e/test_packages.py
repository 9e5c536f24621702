# SPDX-License-Identifier: Apache-2.0
""".packages/<namespace>/<name>/<version>.wasm: Wasm packages by their own names, found as wkg finds them."""

import json
import os
import pathlib
import re
import signal
import tomllib
from errno import EACCES, EFBIG, EHOSTUNREACH, ENOENT, EOPNOTSUPP, EPROTO, ETIMEDOUT, errorcode

import pytest

import artifacts
import pages
import samples
from harness import Child, Failed, raises, read, run, until
from registry import behaviours as b
from registry.auth import Basic

PAGE = pages.Page(pages.ROOT / "docs" / "registries.md")
WELL_KNOWN = r"^/\.well-known/wasm-pkg/registry\.json$"
AGAIN = ["--tag-ttl", "1s", "--list-ttl", "1s"]


def why(m, path):
    return json.loads(run([m.binary, "why", "--json", m / path], env=m.env).ok().out)


def spelt(registry):
    return registry.address.replace(":", "_") + "_"


def says(registry, metadata):
    """What it says of its packages."""
    return registry.on("GET", WELL_KNOWN, b.answer(200, json.dumps(metadata)))


def asked(registry):
    return registry.count(None, WELL_KNOWN)


def package(registry, repo="wasi/http", tag="0.2.1", seed=0):
    return samples.push_wasm(registry.store, repo, tag, title="http.wasm", seed=seed, size=3000)


@pytest.fixture
def config(work):
    """config(text): options for a mount that resolves packages by it."""
    def make(text):
        path = work / "wkg.toml"
        path.write_text(text)
        return ["--package-config", path]
    return make


@pytest.fixture
def default(config):
    """default(registry): one that all packages are asked of."""
    return lambda registry: config(f'default_registry = "{registry.address}"\n')


# which registry


def test_of_the_default_registry(mount, registry, default):
    """Which says nothing of packages, and so keeps them itself."""
    image = package(registry)
    m = mount(None, *default(registry))
    link = m / ".packages/wasi/http/0.2.1.wasm"
    assert os.readlink(link) == f"../../../wasi/http/manifests/sha256/{image.hex}/main.wasm"
    assert read(link) == image.layer.data
    assert asked(registry) == 1
    assert os.stat(link).st_mode & 0o777 == 0o555 and os.lstat(link).st_size == 0
    assert os.stat(link).st_ino == os.stat(m / "wasi/http:0.2.1/main.wasm").st_ino
    assert link.resolve().is_relative_to(m.path)


def test_names_cost_nothing(mount, registry, default):
    package(registry)
    m = mount(None, *default(registry))
    root = m / ".packages"
    for path in ("", "a", "wasi", "wasi/http", "no-such/one-x2"):
        assert os.path.isdir(root / path)
    for path in ("wasi/http/0.2.1.wasm", "wasi/http/9.9.9-rc.1+x.wasm"):
        assert os.path.islink(root / path), "whatever the registry would say"
    for path in ("Wasi", "1a", "a-", "a_b", "a.b", ".a", "wasi/Http", "wasi/http/latest.wasm", "wasi/http/0.2.wasm",
                 "wasi/http/0.2.1", "wasi/http/0.2.1.WASM", "wasi/http/v0.2.1.wasm", "wasi/http/0.2.1_x.wasm",
                 "wasi/http/0.2.01.wasm", "wasi/http/" + "1.0.0-" + "a" * 123 + ".wasm"):
        with raises(ENOENT):
            os.lstat(root / path)
    assert os.listdir(root) == [] and os.listdir(root / "wasi") == []
    assert why(m, ".packages/wasi/http/0.2.1.wasm")["state"] == why(m, ".packages/wasi/http")["state"] == "unasked"
    assert why(m, ".packages/wasi/http/x.wasm")["errno"] == "ENOENT"
    assert registry.count() == 0, "nobody was asked"


def test_it_is_found_by_its_name_only(mount, registry, default):
    package(registry)
    m = mount(None, *default(registry))
    assert os.listdir(m) == ["wasi"]
    found = run(["find", m, "-maxdepth", "1"]).ok().out
    assert ".packages" not in found and asked(registry) == 0
    with raises(ENOENT):
        os.stat(m / "wasi/.packages")


def test_overrides_namespaces_and_the_rest(mount, registries, config):
    """In this order. Each registry is asked for what it is asked for, and no other."""
    names = {"own": registries(), "all": registries(), "rest": registries()}
    for seed, one in enumerate(names.values()):
        for repo in ("a/own", "a/b", "c/d"):
            one.image = package(one, repo, "1.0.0", seed)
    m = mount(names["own"].address, *config(f"""
        default_registry = "{names['rest'].address}"
        [namespace_registries]
        a = "{names['all'].address}"
        [package_registry_overrides]
        "a:own" = "{names['own'].address}"
        """))
    assert read(m / ".packages/a/own/1.0.0.wasm") == names["own"].image.layer.data
    assert (asked(names["own"]), asked(names["all"]), asked(names["rest"])) == (1, 0, 0)
    for path, name in (("a/b", "all"), ("c/d", "rest")):
        with raises(EACCES):
            os.readlink(m / f".packages/{path}/1.0.0.wasm")
        assert names[name].address in why(m, f".packages/{path}/1.0.0.wasm")["text"]
    assert os.listdir(m / ".packages") == ["a"]
    assert os.listdir(m / ".packages/a") == ["own"]


def test_the_configuration_of_the_page(mount, registries, config):
    """With addresses of ours in place of its hosts."""
    hosts = ["acme.example", "harbor.corp:8443", "mirror.example"]
    text, images = PAGE.taken("mount"), {}
    for seed, (host, repo) in enumerate(zip(hosts, ("some/tool", "wasm/corp/tool", "wasi/http"))):
        one = registries()
        assert host in text
        text = text.replace(host, one.address)
        images[repo.removeprefix("wasm/")] = spelt(one), package(one, repo, "1.0.0", seed)
    m = mount("none", "--all", "--allow-host", "127.0.0.1", *config(text))
    for name, (host, image) in images.items():
        link = m / f".packages/{name}/1.0.0.wasm"
        assert host in os.readlink(link) and read(link) == image.layer.data


def test_metadata_of_the_configuration(mount, registry, config):
    """Then nobody is asked for it."""
    image = package(registry, "team/x-corp/tool", "1.0.0")
    m = mount(None, *config(f"""
        [namespace_registries]
        corp = {{ registry = "corp", metadata = {{ oci = {{ registry = "{registry.address}",
            namespacePrefix = "team/x-" }} }} }}
        old = {{ registry = "old", metadata = {{ ociRegistry = "{registry.address}", ociNamespacePrefix = "o/" }} }}
        """.replace(",\n            ", ", ")))
    assert read(m / ".packages/corp/tool/1.0.0.wasm") == image.layer.data
    with raises(ENOENT):
        os.readlink(m / ".packages/old/tool/1.0.0.wasm")
    assert registry.count(None, "/v2/o/old/tool/") > 0
    assert asked(registry) == 0


@pytest.mark.parametrize("form", ["now", "before", "several"])
def test_metadata_of_the_registry(mount, registries, config, form):
    """The registry of the packages is a web server somewhere, and names the one that has them."""
    site, registry = registries(), registries()
    image = package(registry, "webassembly/wasi/http")
    where = {"registry": registry.address, "namespacePrefix": "webassembly/"}
    says(site, {"now": {"preferredProtocol": "oci", "oci": where},
                "before": {"ociRegistry": registry.address, "ociNamespacePrefix": "webassembly/"},
                "several": {"oci": where, "warg": {"url": "https://warg.example"}, "wargUrl": "https://x"}}[form])
    m = mount(registry.address, *config(f'[namespace_registries]\nwasi = "{site.address}"\n'))
    link = m / ".packages/wasi/http/0.2.1.wasm"
    assert os.readlink(link) == f"../../../webassembly/wasi/http/manifests/sha256/{image.hex}/main.wasm"
    assert read(link) == image.layer.data
    assert site.count() == asked(site) == 1, "once, and for nothing else"
    assert asked(registry) == 0
    assert [host["host"] for host in m.status()["hosts"]] == [registry.address]


def test_what_is_built_in(mount, registries, config, work):
    """wasi.dev, which hosts.toml leads to a server of ours."""
    site, registry = registries(), registries()
    image = package(registry, "webassembly/wasi/http")
    says(site, {"oci": {"registry": registry.address, "namespacePrefix": "webassembly/"}})
    (work / "hosts/wasi.dev").mkdir(parents=True)
    (work / "hosts/wasi.dev/hosts.toml").write_text(f'server = "{site.url}"\n')
    hosts = ["--hosts-dir", work / "hosts"]
    m = mount(registry.address, *config(""), *hosts)
    assert _resolves(m / ".packages/wasi/http/0.2.1.wasm"), why(m, ".packages/wasi/http/0.2.1.wasm")
    assert read(m / ".packages/wasi/http/0.2.1.wasm") == image.layer.data
    with raises(EACCES):
        os.readlink(m / ".packages/corp/tool/1.0.0.wasm")
    answer = why(m, ".packages/corp/tool/1.0.0.wasm")
    assert "corp:tool: nothing says which registry has it" in answer["text"] and "--package-config" in answer["hint"]
    m.unmount()
    m = mount(registry.address, *config(f'default_registry = "{registry.address}"'), *hosts)
    with raises(ENOENT):
        os.readlink(m / ".packages/wasi/http/0.2.1.wasm")
    assert asked(site) == 1, "a default registry comes first"


def test_the_users_own_configuration(mount, registry, work):
    image = package(registry)
    directory = work / "xdg/wasm-pkg"
    directory.mkdir(parents=True)
    (work / "real.toml").write_text(f'default_registry = "{registry.address}"\n')
    (directory / "config.toml").symlink_to(work / "real.toml")
    m = mount(env={"XDG_CONFIG_HOME": str(work / "xdg")})
    assert read(m / ".packages/wasi/http/0.2.1.wasm") == image.layer.data
    m.unmount()
    home = work / "home"
    (home / ".config/wasm-pkg").mkdir(parents=True)
    (home / ".config/wasm-pkg/config.toml").write_text(f'default_registry = "{registry.address}"\n')
    m = mount(env={"XDG_CONFIG_HOME": "", "HOME": str(home)})
    assert read(m / ".packages/wasi/http/0.2.1.wasm") == image.layer.data


def test_a_configuration_that_is_broken(mount, registry, config, work):
    package(registry)
    for text, said in (('\ndefault_registry = 5\n', "wkg.toml: line 2"), ('[namespace_registries]\nA = "x"\n', "line 2"),
                       ("x" * 300_000, "wkg.toml")):
        with pytest.raises(Failed, match=said):
            mount(None, *config(text), fails=True)
    with pytest.raises(Failed, match="cannot read .*none.toml"):
        mount(None, "--package-config", work / "none.toml", fails=True)
    directory = work / "xdg/wasm-pkg"
    directory.mkdir(parents=True)
    (directory / "config.toml").write_text("\n[registry\n")
    m = mount(env={"XDG_CONFIG_HOME": str(work / "xdg")})
    m.log.wait(r"config\.toml: line 2.*no packages in this mount")
    assert os.listdir(m) == ["wasi"], "the rest of the mount is of use"
    with raises(EACCES):
        os.readlink(m / ".packages/wasi/http/0.2.1.wasm")
    with raises(EACCES):
        os.listdir(m / ".packages/wasi/http")
    answer = why(m, ".packages/wasi/http/0.2.1.wasm")
    assert "line 2" in answer["text"] and "--package-config" in answer["hint"]


# how a registry may fail


def _cut_off(request, proceed):
    return b.cut(1)(request, lambda: b.answer(200, "{}")(request, proceed))


def _endless(request, proceed):
    return b.endless()(request, lambda: b.answer(200, "{}")(request, proceed))


FAULTS = {
    "refuses": (EACCES, lambda: b.error(403, "DENIED", "closed on sundays"), "closed on sundays"),
    "wants-a-login": (EACCES, lambda: b.answer(401, headers=[("WWW-Authenticate", 'Basic realm="x"')]), "401"),
    "is-out-of-order": (EHOSTUNREACH, lambda: b.error(500, "UNKNOWN", "boom"), "500"),
    "is-busy": (EHOSTUNREACH, lambda: b.error(503, "UNAVAILABLE", "later"), "503"),
    "says-garbage": (EPROTO, lambda: b.answer(200, b"\x00\xff{" + samples.noise(500)), "is not JSON"),
    "has-a-page": (EPROTO, lambda: b.answer(200, "<!doctype html><p>Harbor", content_type="text/html"), "is not JSON"),
    "has-no-host": (EPROTO, lambda: b.answer(200, '{"ociRegistry": "https://a.b/c"}'), "no HOST"),
    "has-another-type": (EPROTO, lambda: b.answer(200, '{"oci": ["a.b"]}'), "oci is not an object"),
    "says-too-much": (EFBIG, lambda: b.answer(200, " " * 70_000 + "{}"), "more than 65536"),
    "never-ends": (EFBIG, lambda: _endless, "more than 65536"),
    "says-nothing": (ETIMEDOUT, b.silent, ""),
    "hangs-up": (EHOSTUNREACH, b.hang_up, ""),
    "is-cut-off": (EHOSTUNREACH, lambda: _cut_off, ""),
    "goes-in-circles": (EPROTO, lambda: b.redirect("{path}", 302), "redirects"),
    "redirects-nowhere": (EPROTO, lambda: b.redirect("gopher://x{path}", 302), "no http"),
    "local": (EOPNOTSUPP, lambda: b.answer(200, '{"preferredProtocol": "local"}'), "by 'local'"),
    "warg": (EOPNOTSUPP, lambda: b.answer(200, '{"warg": {"url": "https://w.example"}}'), "by 'warg'"),
    "prefix": (EPROTO, lambda: b.answer(200, '{"ociNamespacePrefix": "../"}'), "no repository"),
}


NAMES = {EOPNOTSUPP: "EOPNOTSUPP"}  # Python has another for the same number


@pytest.mark.parametrize("fault", FAULTS)
def test_its_failure_is_no_answer(mount, registry, config, default, fault):
    """The package is at the registry itself: where a guess would find it."""
    code, behaviour, said = FAULTS[fault]
    image = package(registry)
    rule = registry.on("GET", WELL_KNOWN, behaviour())
    m = mount(None, *default(registry), *AGAIN, "--timeout", "2s")
    with raises(code):
        os.readlink(m / ".packages/wasi/http/0.2.1.wasm")
    requests = registry.count()
    assert requests == asked(registry), "the repository was not asked for"
    answer = why(m, ".packages/wasi/http/0.2.1.wasm")
    assert (answer["state"], answer["errno"]) == ("failed", NAMES.get(code, errorcode[code])), answer
    assert registry.address in answer["text"] and said in answer["text"], answer
    assert answer["path"] == "/.packages/wasi/http/0.2.1.wasm" and answer["hint"]
    assert registry.count() == requests, "explaining asks nobody"
    with raises(code, EHOSTUNREACH, ETIMEDOUT):
        os.listdir(m / ".packages/wasi/http")
    assert read(m / "wasi/http:0.2.1/main.wasm") == image.layer.data, "what has no need of it works"
    rule.remove()
    until(lambda: _resolves(m / ".packages/wasi/http/0.2.1.wasm"), what="it being asked again")
    assert read(m / ".packages/wasi/http/0.2.1.wasm") == image.layer.data


def _resolves(path):
    try:
        return os.readlink(path)
    except OSError:
        return None


@pytest.mark.parametrize("status", [404, 410])
def test_it_says_that_it_says_nothing(mount, registry, default, status):
    image = package(registry)
    registry.on("GET", WELL_KNOWN, b.answer(status, "<html>nothing here", content_type="text/html"))
    m = mount(None, *default(registry))
    assert read(m / ".packages/wasi/http/0.2.1.wasm") == image.layer.data


def test_a_registry_that_is_not_there(mount, registries, registry, config):
    site = registries()
    site.stop()
    m = mount(None, *config(f'default_registry = "{site.address}"'))
    with raises(EHOSTUNREACH):
        os.readlink(m / ".packages/wasi/http/0.2.1.wasm")
    assert site.address in why(m, ".packages/wasi/http/0.2.1.wasm")["text"]
    with raises(EHOSTUNREACH):
        os.listdir(m / ".packages/wasi/http")
    with raises(ENOENT):
        os.readlink(m / "wasi/http:0.2.1")


def test_redirects(mount, registries, registry, config):
    site, second = registries(), registries()
    image = package(registry, "w/wasi/http")
    site.on("GET", WELL_KNOWN, b.redirect(second.url + "/elsewhere.json?", 301))
    second.on("GET", "/elsewhere.json", b.answer(200, json.dumps({"oci": {"registry": registry.address,
                                                                          "namespacePrefix": "w/"}})))
    m = mount(None, *config(f'default_registry = "{site.address}"'))
    assert read(m / ".packages/wasi/http/0.2.1.wasm") == image.layer.data


def test_over_tls(mount, registries, registry, config, authority, work):
    """A certificate that fails leads neither to plain HTTP nor to a guess."""
    site = registries(tls=authority.context())
    image = package(registry, "w/wasi/http")
    says(site, {"oci": {"registry": registry.address, "namespacePrefix": "w/"}})
    options = config(f'default_registry = "{site.address}"')
    m = mount(registry.address, *options)
    with raises(EPROTO):
        os.readlink(m / ".packages/wasi/http/0.2.1.wasm")
    assert "certificate" in why(m, ".packages/wasi/http/0.2.1.wasm")["text"] and registry.count() == site.count() == 0
    m.unmount()
    m = mount(registry.address, *options, "--ca-file", authority.ca_file(work))
    assert read(m / ".packages/wasi/http/0.2.1.wasm") == image.layer.data


def test_no_login_is_shown(mount, registries, config, auth_file):
    """The login is for the registry; whoever serves the page may be somebody else."""
    registry = registries()
    image = package(registry)
    registry.auth = lambda request: (None if request.path.startswith("/.well-known/")
                                     else Basic("user", "secret")(request))
    m = mount(registry.address, *config(f'default_registry = "{registry.address}"'),
              "--auth-file", auth_file({registry.address: ("user", "secret")}))
    assert read(m / ".packages/wasi/http/0.2.1.wasm") == image.layer.data
    pages = registry.requests(None, WELL_KNOWN)
    assert pages and all(request.headers.get("authorization") is None for request in pages)


def test_it_is_waited_for_like_all_else(mount, registry, default):
    """No thread of the mount waits for a silent one, and who is interrupted is let go."""
    package(registry)
    registry.on("GET", WELL_KNOWN, b.silent())
    m = mount(None, *default(registry))
    readers = [Child(["readlink", m / f".packages/a{n}/b/1.0.0.wasm"]).waiting("readlink") for n in range(12)]
    until(lambda: m.status()["parked"] == 12, what="all of them waiting")
    assert os.listdir(m) == ["wasi"] and asked(registry) == 1, "one question for all"
    for reader in readers:
        reader.send(signal.SIGTERM)
        assert reader.ends()[0] == -signal.SIGTERM
    until(lambda: m.status()["parked"] == 0, what="their requests being answered")


# what was known


def test_what_is_known_outlasts_the_registry(mount, registries, registry, config):
    site = registries()
    image = package(registry, "w/wasi/http")
    says(site, {"oci": {"registry": registry.address, "namespacePrefix": "w/"}})
    options = config(f'default_registry = "{site.address}"')
    m = mount(None, *options, *AGAIN)
    link = m / ".packages/wasi/http/0.2.1.wasm"
    assert read(link) == image.layer.data
    site.stop()
    package(registry, "w/wasi/http", "0.2.2", seed=2)
    until(lambda: _resolves(m / ".packages/wasi/http/0.2.2.wasm") and m.log.find("where they were before"),
          what="its time running out")
    assert read(link) == image.layer.data
    m.unmount()
    m = mount(None, *options, *AGAIN)
    assert read(m / ".packages/wasi/http/0.2.1.wasm") == image.layer.data, "in a later mount, too"
    m.unmount()
    m = mount(None, *options, "--offline")
    requests = registry.count()
    assert read(m / ".packages/wasi/http/0.2.1.wasm") == image.layer.data
    with raises(EHOSTUNREACH):
        os.listdir(m / ".packages/wasi/http")
    assert registry.count() == requests


@pytest.mark.parametrize("how", ["down", "silent"])
def test_what_a_version_is_goes_on_to_be_asked(mount, registries, registry, config, how):
    """That where it lies is old news says nothing of the registry it lies in."""
    site = registries()
    package(registry, "w/wasi/http", seed=1)
    says(site, {"oci": {"registry": registry.address, "namespacePrefix": "w/"}})
    m = mount(None, *config(f'default_registry = "{site.address}"'), *AGAIN, "--timeout", "20s")
    link = m / ".packages/wasi/http/0.2.1.wasm"
    assert os.readlink(link)
    site.stop() if how == "down" else site.pause()
    for seed in (2, 3):
        moved = package(registry, "w/wasi/http", seed=seed)
        until(lambda: moved.hex in os.readlink(link), what="the new one being seen")
    registry.stop()
    assert moved.hex in os.readlink(link), "what it was, where nobody answers"
    registry.start()


def test_offline_asks_nobody(mount, registries, registry, config):
    site = registries()
    says(site, {"oci": {"registry": registry.address}})
    m = mount(None, *config(f'default_registry = "{site.address}"'), "--offline")
    with raises(EHOSTUNREACH):
        os.readlink(m / ".packages/wasi/http/0.2.1.wasm")
    with raises(EHOSTUNREACH):
        os.listdir(m / ".packages/wasi/http")
    answer = why(m, ".packages/wasi/http/0.2.1.wasm")
    assert answer["errno"] == "EHOSTUNREACH" and "--offline" in answer["text"]
    assert site.accepted == registry.accepted == 0


def test_that_it_says_nothing_is_known_too(mount, registry, default):
    image = package(registry)
    m = mount(None, *default(registry))
    assert read(m / ".packages/wasi/http/0.2.1.wasm") == image.layer.data
    m.unmount()
    m = mount(None, *default(registry), "--offline")
    assert read(m / ".packages/wasi/http/0.2.1.wasm") == image.layer.data


def test_it_moves(mount, registries, config):
    site, registry = registries(), registries()
    old, new = package(registry, "old/wasi/http", seed=1), package(registry, "new/wasi/http", seed=2)
    rule = says(site, {"ociRegistry": registry.address, "ociNamespacePrefix": "old/"})
    m = mount(registry.address, *config(f'default_registry = "{site.address}"'), *AGAIN)
    link = m / ".packages/wasi/http/0.2.1.wasm"
    assert read(link) == old.layer.data
    rule.remove()
    says(site, {"ociRegistry": registry.address, "ociNamespacePrefix": "new/"})
    until(lambda: "new/" in os.readlink(link), what="it being asked again")
    assert read(link) == new.layer.data


def test_one_answer_for_the_time_of_a_tag(mount, registry, default):
    package(registry, seed=1)
    m = mount(None, *default(registry), "--tag-ttl", "1h")
    link = m / ".packages/wasi/http/0.2.1.wasm"
    targets = {os.readlink(link)}
    package(registry, seed=2)
    requests = registry.count()
    for _ in range(20):
        targets.add(os.readlink(link))
    assert len(targets) == 1 and registry.count() == requests
    assert os.readlink(m / "wasi/http:0.2.1").split("/")[-1] in targets.pop(), "the same as of NAME:TAG"


# what is listed


def test_versions(mount, registry, default):
    for seed, tag in enumerate(["0.2.0", "0.2.1", "1.0.0-rc.1", "1.0.0_build.5", "latest", "v1.0.0", "0.2", "1.0.0_a_b",
                                "sha256-" + "a" * 64 + ".sig", "1.0.0-x_exp.sha.5114f85"]):
        package(registry, tag=tag, seed=seed)
    m = mount(None, *default(registry))
    directory = m / ".packages/wasi/http"
    assert sorted(os.listdir(directory)) == ["0.2.0.wasm", "0.2.1.wasm", "1.0.0+build.5.wasm", "1.0.0-rc.1.wasm",
                                             "1.0.0-x+exp.sha.5114f85.wasm"]
    with os.scandir(directory) as entries:
        for entry in entries:
            assert entry.is_symlink() and entry.inode() == os.lstat(directory / entry.name).st_ino
    assert registry.count(None, "/manifests/") == 0, "no request for each"
    for tag in ("1.0.0_build.5", "1.0.0-x_exp.sha.5114f85"):
        assert read(directory / (tag.replace("_", "+") + ".wasm")) == read(m / f"wasi/http:{tag}/main.wasm")
    assert os.listdir(m / ".packages") == ["wasi"] and os.listdir(m / ".packages/wasi") == ["http"]


def test_what_does_not_exist(mount, registry, default):
    package(registry)
    m = mount(None, *default(registry))
    for path in ("wasi/http/9.9.9.wasm", "wasi/none/0.2.1.wasm"):
        with raises(ENOENT):
            os.readlink(m / ".packages" / path)
        assert why(m, f".packages/{path}")["errno"] == "ENOENT"
    with raises(ENOENT):
        os.listdir(m / ".packages/wasi/none")
    assert os.listdir(m / ".packages") == [], "a typo is not shown"
    with raises(ENOENT):
        os.stat(m / ".packages/wasi/http/9.9.9.wasm")


def test_names_that_configurations_have(mount, registry, config):
    m = mount(None, *config(f"""
        [namespace_registries]
        wasi = "{registry.address}"
        [package_registry_overrides]
        "corp:one" = "{registry.address}"
        "corp:two" = "{registry.address}"
        """))
    assert sorted(os.listdir(m / ".packages")) == ["corp", "wasi"]
    assert sorted(os.listdir(m / ".packages/corp")) == ["one", "two"] and os.listdir(m / ".packages/wasi") == []
    assert registry.count() == 0


def test_names_of_fixed_entries(mount, registry, default):
    """As repositories they are reached by another spelling, and the link says it."""
    image = package(registry, "wasi/tags", "1.0.0")
    m = mount(None, *default(registry))
    link = m / ".packages/wasi/tags/1.0.0.wasm"
    assert os.readlink(link).startswith("../../../wasi/tags:/manifests/")
    assert read(link) == image.layer.data
    other = package(registry, "tags/blobs", "1.0.0", seed=3)
    assert read(m / ".packages/tags/blobs/1.0.0.wasm") == other.layer.data


# which registries may be asked


def test_a_namespace_of_a_registry(mount, registry, config):
    image = package(registry, "team/wasi/http")
    package(registry, "other/wasi/io")
    m = mount(f"{registry.address}/team", *config(f"""
        [namespace_registries]
        wasi = {{ registry = "r", metadata = {{ ociRegistry = "{registry.address}", ociNamespacePrefix = "team/" }} }}
        x = {{ registry = "r", metadata = {{ ociRegistry = "{registry.address}", ociNamespacePrefix = "other/" }} }}
        """))
    link = m / ".packages/wasi/http/0.2.1.wasm"
    assert os.readlink(link).startswith("../../../wasi/http/manifests/")
    assert read(link) == image.layer.data
    with raises(EACCES):
        os.readlink(m / ".packages/x/io/0.2.1.wasm")
    answer = why(m, ".packages/x/io/0.2.1.wasm")
    assert "other/x/io" in answer["text"] and "team/" in answer["text"]
    assert registry.count(None, "/v2/other/") == 0


def test_several_registries(mount, registries, config):
    one, other = registries(), registries()
    images = [package(registry, repo, "1.0.0", seed) for seed, (registry, repo) in
              enumerate([(one, "a/x"), (other, "p/b/y")])]
    says(one, {})
    says(other, {"oci": {"namespacePrefix": "p/"}})
    m = mount(one.address, other.address, *config(f"""
        [namespace_registries]
        a = "{one.address}"
        b = "{other.address}"
        """))
    assert os.readlink(m / ".packages/a/x/1.0.0.wasm").startswith(f"../../../{spelt(one)}/a/x/manifests/")
    assert os.readlink(m / ".packages/b/y/1.0.0.wasm").startswith(f"../../../{spelt(other)}/p/b/y/manifests/")
    assert [read(m / ".packages" / path / "1.0.0.wasm") for path in ("a/x", "b/y")] == [i.layer.data for i in images]
    assert os.listdir(m / ".packages/b/y") == ["1.0.0.wasm"]
    assert sorted(os.listdir(m)) == sorted([spelt(one), spelt(other)])
    with raises(ENOENT):
        os.stat(m / spelt(one) / ".packages")


def test_a_registry_that_is_not_served(mount, registries, config):
    """Whoever writes the page does not decide whom the daemon asks."""
    site, served, other = registries(), registries(), registries()
    package(other)
    says(site, {"oci": {"registry": other.address}})
    options = config(f'default_registry = "{site.address}"')
    m = mount(served.address, *options)
    for ask in (os.readlink, lambda path: os.listdir(os.path.dirname(path))):
        with raises(EACCES):
            ask(m / ".packages/wasi/http/0.2.1.wasm")
    answer = why(m, ".packages/wasi/http/0.2.1.wasm")
    assert answer["errno"] == "EACCES" and f"wasi:http lies in {other.address}/wasi/http" in answer["text"]
    assert f"mount {other.address}" in answer["text"]
    assert why(m, ".packages/wasi/http")["text"] == answer["text"]
    assert other.accepted == 0 and served.count() == 0
    m.unmount()
    m = mount(served.address, "--all", *options)
    with raises(EACCES):
        os.readlink(m / ".packages/wasi/http/0.2.1.wasm")
    assert "--allow-host" in why(m, ".packages/wasi/http/0.2.1.wasm")["text"]
    assert other.accepted == 0, "its address is not a public one"


def test_all_registries(mount, registries, config):
    site, other = registries(), registries()
    image = package(other)
    says(site, {"oci": {"registry": other.address}})
    m = mount("none", "--all", "--allow-host", other.address, *config(f'default_registry = "{site.address}"'))
    link = m / ".packages/wasi/http/0.2.1.wasm"
    assert os.readlink(link).startswith(f"../../../{spelt(other)}/wasi/http/manifests/")
    assert read(link) == image.layer.data
    assert os.listdir(m) == [spelt(other)], "the one that was asked for its page is not shown"
    with raises(EACCES):
        os.readlink(m / spelt(site) / "wasi/http:0.2.1")
    m.unmount()
    m = mount("none", "--all", "--allow-host", "127.0.0.1", "--offline")
    assert os.listdir(m) == [spelt(other)], "nor by a later mount"


def test_words_that_are_hosts(mount, registry, config):
    """--all admits no single word by itself; neither by a page."""
    says(registry, {"oci": {"registry": "intranet"}})
    m = mount("none", "--all", *config(f'default_registry = "{registry.address}"'))
    with raises(EACCES):
        os.readlink(m / ".packages/wasi/http/0.2.1.wasm")
    assert "intranet" in why(m, ".packages/wasi/http/0.2.1.wasm")["text"]


@pytest.mark.parametrize("name", ["docker.io", "index.docker.io", "registry-1.docker.io", "docker.io:443"])
def test_the_hub_by_each_of_its_names(mount, registry, config, work, name):
    image = package(registry, "team/wasi/http")
    (work / "hosts/docker.io").mkdir(parents=True)
    (work / "hosts/docker.io/hosts.toml").write_text(f'server = "{registry.url}"\n')
    m = mount("docker.io", "--hosts-dir", work / "hosts", *config(f"""
        [namespace_registries]
        wasi = {{ registry = "hub", metadata = {{ ociRegistry = "{name}", ociNamespacePrefix = "team/" }} }}
        """))
    assert read(m / ".packages/wasi/http/0.2.1.wasm") == image.layer.data


def test_what_is_configured_to_be_local(mount, registry, config):
    """As in the configuration that sends wkg to the mount, which cannot be the one that the mount goes by."""
    m = mount(None, *config(f'default_registry = "mnt"\n[registry.mnt.local]\nroot = "/mnt/oci/.packages"\n'))
    with raises(EOPNOTSUPP):
        os.readlink(m / ".packages/wasi/http/0.2.1.wasm")
    answer = why(m, ".packages/wasi/http/0.2.1.wasm")
    assert "by 'local'" in answer["text"] and "--package-config" in answer["text"]
    assert registry.count() == 0


def test_a_layout_has_no_packages(mount, config, work):
    layout = work / "hello"
    artifacts.image_layout(layout, {"v1": artifacts.cncf(samples.wasm(3000, 9), "hello.wasm")})
    m = mount(f"oci:{layout}", *config('[namespace_registries]\n'
                                       'a = { registry = "hello", metadata = { ociRegistry = "hello" } }\n'))
    with raises(EACCES):
        os.readlink(m / ".packages/a/b/1.0.0.wasm")


# the real thing


def test_with_a_real_registry(mount, docker_registry, config):
    images = {}
    for seed, version in enumerate(("0.2.0", "0.2.1", "1.0.0-rc.1")):
        images[version] = artifacts.cncf(samples.wasm(9000, seed), "http.wasm")
        artifacts.push(f"http://{docker_registry.address}", "wasi/http", version, images[version])
    m = mount(docker_registry.address, *config(f'default_registry = "{docker_registry.address}"\n'))
    directory = m / ".packages/wasi/http"
    assert sorted(os.listdir(directory)) == sorted(f"{version}.wasm" for version in images)
    for version, image in images.items():
        assert read(directory / f"{version}.wasm") == image.layer.data
    with raises(ENOENT):
        os.readlink(directory / "0.3.0.wasm")
    assert docker_registry.answers(404, "/.well-known/wasm-pkg/registry.json") == 1
    listed = run(["ls", "-l", directory]).ok().out
    assert re.search(r"0\.2\.1\.wasm -> .*/wasi/http/manifests/sha256/[0-9a-f]{64}/main\.wasm", listed)


def test_what_the_local_backend_of_wkg_reads(mount, registry, default):
    """<root>/<namespace>/<name>/<version>.wasm, by open and readdir; a package that is not there is ENOENT."""
    image = package(registry)
    root = pathlib.Path(mount(None, *default(registry)) / ".packages")
    assert [path.stem for path in (root / "wasi/http").iterdir() if path.suffix == ".wasm"] == ["0.2.1"]
    with open(root / "wasi/http/0.2.1.wasm", "rb") as file:
        assert file.read() == image.layer.data
    assert (root / "wasi/http/0.2.1.wasm").is_file()
    with raises(ENOENT):
        list((root / "wasi/none").iterdir())


def test_the_configuration_of_the_page_for_wkg(mount, registry, default):
    """It leads to a directory where a package is, read as wkg's local backend does."""
    image = package(registry)
    m = mount(None, *default(registry))
    said = tomllib.loads(PAGE.taken("wkg").replace("/mnt/oci", str(m)))
    root = said["registry"][said["default_registry"]]["local"]["root"]
    assert read(f"{root}/wasi/http/0.2.1.wasm") == image.layer.data
