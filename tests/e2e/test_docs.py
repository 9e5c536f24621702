# SPDX-License-Identifier: Apache-2.0
"""What the pages in docs/ say is so: their examples run as written, and print what they show (see pages.py).

Each name of a page is one test, with a registry at 127.0.0.1:5000 that does what `SCENES` has it do, or, for those that
name a registry of the world, on a machine where that is one of ours.
"""

import contextlib
import os
import re
import shutil

import artifacts
import harness
import pages
import pytest
import samples
from conftest import ROOT
from machine import PLACEHOLDERS, machine  # noqa: F401
from registry import behaviours as b
from registry.auth import Basic

PAGES = {path.stem: pages.Page(path) for path in sorted((ROOT / "docs").glob("*.md"))}


def broken(behaviour, path=""):
    return lambda registry: registry.on(None, path, behaviour)


def a_linux_program(registry):
    samples.push_wasm(registry.store, "demo/elf", "v1", b"\x7fELF" + samples.noise(500))


def old(registry):
    text = b'{"schemaVersion":1,"name":"demo/old","tag":"v1","fsLayers":[],"history":[]}'
    registry.store.add_manifest("demo/old", text, "application/vnd.docker.distribution.manifest.v1+json", "v1")


def many(registry):
    samples.push_files(registry.store, "demo/many", "v1", {f"{i}.txt": b"%d" % i for i in range(100)})


def large(megabytes):
    return lambda registry: samples.push_wasm(registry.store, "demo/large", "v1", size=megabytes << 20)


def no_catalog(registry):
    registry.catalog = False


def locked(registry):
    registry.auth = Basic("me", "secret")


SCENES = {
    ("troubleshooting", "EACCES"): locked,
    ("troubleshooting", "EHOSTUNREACH"): lambda registry: registry.stop(),
    ("troubleshooting", "ETIMEDOUT"): broken(b.silent(), "/v2/demo/hello/"),
    ("troubleshooting", "EBUSY"): broken(b.too_many(3600), "/v2/demo/hello/"),
    ("troubleshooting", "EBADMSG"): broken(b.flip(1000), "/blobs/"),
    ("troubleshooting", "EPROTO"): broken(b.answer(200, "<html>Please accept our terms</html>",
                                                   content_type="text/html"), "/v2/demo/hello/"),
    ("troubleshooting", "EFBIG"): large(20),
    ("troubleshooting", "ENOSPC"): large(80),
    ("troubleshooting", "EOPNOTSUPP"): old,
    ("troubleshooting", "ENOEXEC"): a_linux_program,
    ("troubleshooting", "EIO"): many,
    ("troubleshooting", "hang"): broken(b.silent(), "/v2/demo/hello/"),
    ("troubleshooting", "nothing listed"): no_catalog,
    ("troubleshooting", "passthrough"): large(4),
    ("operating", "log"): broken(b.error(403, "DENIED", "not for you"), "/v2/demo/hello/"),
    ("operating", "revoked"): locked,
    ("operating", "stream"): large(32),
}
USERS = {("troubleshooting", "allow other"): harness.NOBODY, ("troubleshooting", "passthrough"): harness.NOBODY}
OF_THE_WORLD = {("registries", "every registry")}
PUSHED_TO = {("troubleshooting", "stale"), ("operating", "inotify")}


def sample():
    component = ROOT / "build" / "hello.wasm"
    if not component.exists():
        pytest.skip("build/hello.wasm is not there: scripts/quickstart and scripts/test make it")
    return component


def fill(registry):
    component = sample()
    samples.push_wasm(registry.store, "demo/hello", "v1", component.read_bytes(), "hello.wasm")
    registry.store.tag("demo/hello", "0.1.0", registry.store.find("demo/hello").tags["v1"])
    core = artifacts.wasm_command(b"hello from wasm\n")
    samples.push_wasm(registry.store, "demo/core", "v1", core, "core.wasm")
    samples.put(registry.store, "demo/image", "v1", artifacts.container({"hello.wasm": core}))
    linux = artifacts.container({"etc/motd": b"welcome\n"}, entrypoint="/bin/sh", architecture="amd64", system="linux")
    samples.put(registry.store, "demo/linux", "v1", linux)


@pytest.fixture
def scene(binary, work, request):
    """scene(page, name, registry): a shell that has the places that pages name."""
    def make(key, address):
        (work / "bin").mkdir()
        (work / "bin" / "wasmocifs").symlink_to(binary)
        home = work / "home"
        env = {**pages.environment(work / "run"), "HOME": str(home), "PATH": f"{work}/bin:{os.environ['PATH']}",
               "EXAMPLE_CACHE": f"{work}/cache"}
        for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "DOCKER_AUTH_CONFIG"):
            env.pop(name, None)
        cache = work / "cache"
        here = {"127.0.0.1:5000": address, "127.0.0.1_5000_": address.replace(":", "_") + "_",
                "/mnt/oci": f"{work}/oci", "/srv/": f"{work}/srv/", "/tmp/": f"{work}/tmp/", "/var/cache/wasmocifs": str(cache),
                "/etc/containerd/": f"{work}/containerd/"}
        for directory in (home, work / "srv", work / "tmp", work / "oci", cache):
            directory.mkdir(mode=0o700 if directory == cache else 0o755)
        user = USERS.get(key)
        if user:
            for path in (home, work / "run", work / "oci", cache, work / "tmp"):
                os.chown(path, user, user)
        made = pages.Shell(ROOT, env, here, user)
        request.addfinalizer(lambda: finish(made))
        made.run('wasmocifs() { local c="$1"; shift; case $c in mount|pull|cache) set -- --cache "$EXAMPLE_CACHE" "$@";; '
                 'esac; command wasmocifs "$c" "$@"; }')
        return made

    def finish(shell):
        shell.close()
        for point in reversed([point for point in harness.mountinfo() if point.startswith(f"{work}/")]):
            harness.run([binary, "unmount", "--lazy", point], env={**os.environ, "XDG_RUNTIME_DIR": f"{work}/run"})
            with contextlib.suppress(OSError):
                harness.umount2(point, harness.MNT_DETACH)

    return make


README_ERRORS = re.compile(r"`(E[A-Z]{3,})`")
EXAMPLES = [(stem, name) for stem, page in PAGES.items() for name in page.names()]


@pytest.mark.parametrize("key", EXAMPLES, ids=" ".join)
def test_the_examples_go_as_written(key, request, scene):
    stem, name = key
    missing = [tool for tool in PAGES[stem].needs(name) if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    if name == "allow other" and re.search("^user_allow_other", harness.read("/etc/fuse.conf").decode(), re.MULTILINE):
        pytest.skip("/etc/fuse.conf has user_allow_other")
    if key in OF_THE_WORLD:
        with request.getfixturevalue("machine").shell(ROOT, PLACEHOLDERS) as shell:
            shell.follow(PAGES[stem], name)
        return
    if key in PUSHED_TO:
        sample()
        address = request.getfixturevalue("docker_registry").address
    else:
        registry = request.getfixturevalue("registry")
        fill(registry)
        SCENES.get(key, lambda _: None)(registry)
        address = registry.address
    scene(key, address).follow(PAGES[stem], name)


def test_no_example_is_left_out():
    found = [*PAGES.values(), pages.Page(ROOT / "README.md")]
    assert [where for page in found for where in page.unmarked()] == [], \
        "fence them, and mark them <!-- run: … -->, <!-- taken by …: … --> or <!-- not run: … -->"


def test_what_is_to_be_taken_by_a_test_is():
    for page in [*PAGES.values(), pages.Page(ROOT / "README.md")]:
        for block in page.blocks:
            for test in block.by:
                assert f'taken("{block.taken}")' in (ROOT / "tests/e2e" / f"{test}.py").read_text(encoding="utf-8"), \
                    f"{page.path.name}:{block.line}: {test} does not take it"


@pytest.mark.parametrize("text, line", [
    ("text\n\n    wasmocifs status\n", 3), ("text\n\n\twasmocifs status\n", 3),
    ("- item\n\n  ```sh\n  wasmocifs status\n  ```\n", 3), ("~~~\nwasmocifs status\n~~~\n", 1), ("```sh\nwasmocifs status\n```\n", 1),
    ("text\n<!-- run -->\n```sh\nls\n```\n", 3),
    ("<!-- not run: -->\n```sh\nls\n```\n", 2), ("<!-- run: x -->\n```sh\nls\n```\n\n    wasmocifs status\n", 6),
    ("<!-- taken by nobody -->\n```\nls\n```\n", 2), ("<!-- run: x -->\n\n```sh\nls\n```\n", 3)])
def test_one_that_is_left_out_is_found(work, text, line):
    path = work / "page.md"
    path.write_text(text)
    assert f"page.md:{line}" in pages.Page(path).unmarked()


def test_one_that_is_marked_is_not(work):
    path = work / "page.md"
    path.write_text("<!-- run: x -->\n```sh\n    ls\n```\n- item\n  goes on\n<!-- not run: why -->\n```\nls\n```\n")
    assert pages.Page(path).unmarked() == []


def test_a_command_that_fails_is_seen(work):
    with contextlib.closing(pages.Shell(work, pages.environment(work / "run"), {})) as shell:
        assert shell.must("echo one; printf two").splitlines() == ["one", "two"]
        assert shell.must("cat") == "", "it is not given what comes after it"
        for script in ("false", "false\ntrue", "true && false", "exit 3"):
            with pytest.raises(AssertionError):
                shell.must(script)


def test_every_scene_is_of_an_example():
    assert sorted({*SCENES, *USERS, *PUSHED_TO, *OF_THE_WORLD} - set(EXAMPLES)) == []


def anchors(page):
    """As the forges make them of headings."""
    found = re.findall(r"^#+ (.*)$", pages.FENCE.sub("", page.text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def test_every_link_leads_somewhere():
    every = [*PAGES.values(), pages.Page(ROOT / "README.md")]
    broken_links = []
    for page in every:
        for target in re.findall(r"\]\(([^)]+)\)", pages.FENCE.sub("", page.text)):
            name, _, anchor = target.partition("#")
            path = page.path.parent / name if name else page.path
            if "://" not in target and not (path.exists() and (not anchor or anchor in anchors(pages.Page(path)))):
                broken_links.append(f"{page.path.name}: {target}")
    assert broken_links == []


def test_the_page_of_errnos_has_them_all():
    said = set(re.findall(r"^## (E[A-Z]+)$", PAGES["troubleshooting"].text, re.MULTILINE))
    table = README_ERRORS.findall(pages.Page(ROOT / "README.md").text.partition("\n## Errors\n")[2].partition("\n## ")[0])
    assert len(table) > 10 and set(table) <= said
