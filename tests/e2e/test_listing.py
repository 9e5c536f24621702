# SPDX-License-Identifier: Apache-2.0
"""Listings: what they cost, and readdir as programs use it."""

import ctypes
import json
import os
import pathlib
import re
import stat
import struct
from errno import EACCES, EFBIG, EHOSTUNREACH, ENOENT

import pytest

import artifacts
import samples
from faulty_registry import Pages
from harness import SLOW, raises, read, run, scaled, until
from logins import SECRET, printed
from registry import behaviours as b
from registry.auth import Basic

_libc = ctypes.CDLL(None, use_errno=True)


def getdents(fd, size=4096):
    """[(inode, offset of the next one, type, name)] of one getdents64 call."""
    buffer = ctypes.create_string_buffer(size)
    got = _libc.syscall(217, fd, buffer, size)
    if got < 0:
        raise OSError(ctypes.get_errno(), "getdents64")
    found, at = [], 0
    while at < got:
        inode, offset, length, kind = struct.unpack_from("<QqHB", buffer, at)
        found.append((inode, offset, kind, buffer.raw[at + 19:at + length].split(b"\0")[0].decode()))
        at += length
    return found


@pytest.fixture
def many(registry):
    image = samples.push_wasm(registry.store, "demo/app", "t00000")
    names = [f"t{i:05}" for i in range(10_000)]
    for name in names:
        registry.store.tag("demo/app", name, image.digest)
    return names


@pytest.mark.parametrize("command", [["ls"], ["ls", "-l"], ["ls", "-la", "--color=always"], ["ls", "-F"],
                                     ["find", "-maxdepth", "1", "-type", "d"], ["stat", "-c", "%n %i", "--"]],
                         ids=lambda c: " ".join(c))
def test_ten_thousand_tags_cost_no_request_each(mount, registry, many, command):
    m = mount()
    tags = m / "demo/app/tags"
    if command[0] == "find":
        result = run(["find", tags, *command[1:]], check=True)
    elif command[0] == "stat":
        result = run(["sh", "-c", f"cd {tags} && stat -c '%n %i' -- t0*"], check=True)
        assert len(result.out.splitlines()) == 10_000
    else:
        result = run([*command, tags], check=True)
    assert "t00000" in result.out and "t09999" in result.out
    assert registry.count() == registry.count("GET", "/tags/list") <= 11
    run(["ls", tags], check=True)
    assert registry.count() <= 11, "known for its time to live"


def test_every_tag_once(mount, registry, many):
    m = mount()
    assert sorted(os.listdir(m / "demo/app/tags")) == many


@pytest.mark.parametrize("pages", [Pages(None), Pages(100), Pages(999)], ids=["all-at-once", "100", "999"])
def test_pages(mount, registry, pages):
    image = samples.push_wasm(registry.store, "demo/app", "v1")
    for i in range(999):
        registry.store.tag("demo/app", f"t{i}", image.digest)
    registry.pages = pages
    m = mount()
    assert len(os.listdir(m / "demo/app/tags")) == 1000


@pytest.mark.parametrize("link", [lambda url: f"<{url}>; rel=next", lambda url: f'<http://elsewhere.invalid{url}>; rel="next"',
                                  lambda url: f'</v2/>; rel="prev", <{url}>; rel="next"',
                                  lambda url: f"<?{url.split('?')[1]}>; rel=\"next\""],
                         ids=["unquoted", "other-host", "two-links", "query-only"])
def test_links_as_registries_write_them(mount, registry, link):
    image = samples.push_wasm(registry.store, "demo/app", "v1")
    for i in range(50):
        registry.store.tag("demo/app", f"t{i}", image.digest)
    registry.pages = Pages(20, link)
    m = mount()
    assert len(os.listdir(m / "demo/app/tags")) == 51


@pytest.mark.parametrize("link", [lambda url: f'<{url}&x=a,b;c>; title="a, <b>; rel=prev"; REL="Next last"',
                                  lambda url: f'<https://other.invalid:1{url}>; rel="next"', lambda url: f"<{url}> ; rel = next",
                                  lambda url: f'<list?{url.split("?")[1]}>; rel="next"'],
                         ids=["commas", "other-scheme", "blanks", "relative"])
def test_more_links_as_registries_write_them(mount, registry, link):
    image = samples.push_wasm(registry.store, "demo/app", "v1")
    for i in range(50):
        registry.store.tag("demo/app", f"t{i}", image.digest)
    registry.pages = Pages(20, link)
    m = mount()
    assert len(os.listdir(m / "demo/app/tags")) == 51
    assert registry.count() == registry.count("GET", "/tags/list") == 4, "a page for the lookup, and three"


@pytest.mark.parametrize("status, code", [(400, "PAGINATION_NUMBER_INVALID"), (405, "UNSUPPORTED")])
def test_a_number_that_is_refused_is_left_out(mount, registry, status, code):
    samples.push_wasm(registry.store, "demo/app", "v1")
    registry.on("GET", r"[?&]n=", b.error(status, code))
    registry.pages = Pages(None)
    m = mount()
    assert os.listdir(m / "demo/app/tags") == ["v1"]
    assert [r.target.partition("?")[2] for r in registry.requests("GET", "/tags/list")] == ["n=1000", ""]


def test_a_page_that_is_refused_leaves_what_came(mount, registry):
    """It is said, it is looked at again in time, and it does not replace what the disk knew."""
    image = samples.push_wasm(registry.store, "demo/app", "v1")
    for i in range(50):
        registry.store.tag("demo/app", f"t{i:02}", image.digest)
    registry.pages = Pages(20)
    rule = registry.on("GET", "last=", b.error(400, "UNSUPPORTED", "invalid next token"))
    m = mount()
    assert sorted(os.listdir(m / "demo/app/tags")) == [f"t{i:02}" for i in range(20)]
    assert m.log.wait("demo/app: 20 names, and no more are given")
    assert registry.count("GET", "/tags/list") == 4, "a page for the lookup; the page, its Link, and one probe"
    m.unmount()
    rule.remove()
    m.restart()
    assert len(os.listdir(m / "demo/app/tags")) == 51
    m.unmount()
    registry.on("GET", "last=", b.error(400, "UNSUPPORTED", "invalid next token"))
    m.restart()
    os.listdir(m / "demo/app/tags")
    m.unmount()
    registry.stop()
    m.restart()
    assert len(os.listdir(m / "demo/app/tags")) == 51, "the last that was whole"


def endless(key):
    """Each page links to another, and brings nothing."""
    def behaviour(request, proceed):
        number = int(request.query.get("p", "0"))
        names = ["a"] if number == 0 else []
        link = f'<{request.path}?p={number + 1}>; rel="next"'
        return b.answer(200, json.dumps({key: names}), headers=[("Link", link)])(request, proceed)
    return behaviour


def test_pages_without_end_leave_what_came(mount, registry):
    samples.push_wasm(registry.store, "demo/app", "v1")
    registry.on("GET", "/tags/list", endless("tags"))
    registry.on("GET", "/_catalog", endless("repositories"))
    m = mount()
    assert os.listdir(m / "demo/app/tags") == ["a"]
    assert m.log.wait("demo/app: 1 names, and no more are given")
    assert os.listdir(m) == ["a"]
    assert registry.count("GET", "/tags/list") < 100 and registry.count("GET", "/_catalog") < 100


@pytest.mark.parametrize("status, code", [(401, EACCES), (403, EACCES), (503, EHOSTUNREACH)])
def test_a_page_that_fails_fails_the_listing(mount, registry, status, code):
    image = samples.push_wasm(registry.store, "demo/app", "v1")
    for i in range(50):
        registry.store.tag("demo/app", f"t{i:02}", image.digest)
    registry.pages = Pages(20)
    registry.on("GET", "last=", b.error(status))
    m = mount(None, "--timeout", "2s")
    with raises(code):
        os.listdir(m / "demo/app/tags")
    assert m.log.wait(f"/tags/list: {status}")
    registry.heal()
    m.unmount()
    m.restart()
    assert len(os.listdir(m / "demo/app/tags")) == 51, "nothing of it was kept"


def test_exactly_a_page_and_no_link(mount, registry):
    """Registries of the time before Link cut a listing without a word."""
    image = samples.push_wasm(registry.store, "demo/app", "t0000")
    for i in range(1001):
        registry.store.tag("demo/app", f"t{i:04}", image.digest)
    registry.on("GET", "/tags/list", b.drop_header("Link"))
    m = mount()
    assert len(os.listdir(m / "demo/app/tags")) == 1001
    assert [r.query.get("last") for r in registry.requests("GET", "/tags/list")] == [None, None, "t0999"]


def test_repetition_is_the_registrys_own(mount, registry):
    samples.push_wasm(registry.store, "demo/app", "v1")
    registry.on("GET", "/tags/list", b.answer(200, '{"tags":["v9","v10","a","v9","B"]}', content_type="text/plain"))
    m = mount()
    assert sorted(os.listdir(m / "demo/app/tags")) == ["B", "a", "v10", "v9"]


def test_two_hundred_pages_in_bounded_memory(mount, registry):
    names = [f"release-{i:06}" for i in range(200_000)]
    samples.push_wasm(registry.store, "demo/app", names[0])
    registry.store.find("demo/app").tags.update(dict.fromkeys(names, registry.store.find("demo/app").tags[names[0]]))
    m = mount()
    assert sum(1 for _ in os.scandir(m / "demo/app/tags")) == 200_000
    assert registry.count("GET", "/tags/list") == 201
    status = pathlib.Path(f"/proc/{m.worker()}/status").read_text()
    peak = int(re.search(r"VmHWM:\s+(\d+)", status)[1])
    assert peak < 200_000 * SLOW, f"{peak} KiB"


def test_a_page_that_is_too_large(mount, registry):
    samples.push_wasm(registry.store, "demo/app", "v1")
    registry.on("GET", "/tags/list", b.endless(b'"tag",' * 10_000))
    m = mount()
    with raises(EFBIG):
        os.listdir(m / "demo/app/tags")
    registry.wait_count(1, "GET", "/tags/list", state="gone")


@pytest.mark.parametrize("refusal", [b.error(401, "UNAUTHORIZED"), b.error(403, "DENIED"), b.error(404, "NAME_UNKNOWN"),
                                     b.error(405, "UNSUPPORTED"), b.error(400, "NAME_INVALID"), b.error(501, "UNSUPPORTED"),
                                     b.answer(200, "<html>hello</html>", content_type="text/html")],
                         ids=["401", "403", "404", "405", "400", "501", "html"])
def test_a_catalog_that_is_refused(mount, registry, refusal):
    image = samples.push_wasm(registry.store, "demo/app", "v1")
    registry.on("GET", "/_catalog", refusal)
    m = mount(None, "--list-ttl", "1s")
    assert os.listdir(m) == []
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    asked = registry.count("GET", "/_catalog")
    until(lambda: os.listdir(m) == ["demo"], what="what was looked up listed")
    assert registry.count("GET", "/_catalog") == asked <= 2, "the refusal is remembered"


def test_a_catalog_after_a_login(mount, registry, home):
    """Who is refused without a login, or with an old one, is another one with the next."""
    samples.push_wasm(registry.store, "demo/app", "v1")
    registry.auth = Basic("me", SECRET)
    m = mount(env=home.env)
    assert os.listdir(m) == []
    home.login(registry.address, "me", "wrong")
    assert os.listdir(m) == []
    asked = registry.count("GET", "/_catalog")
    assert os.listdir(m) == [] and registry.count("GET", "/_catalog") == asked, "the refusal is remembered"
    home.login(registry.address, "me", SECRET)
    assert os.listdir(m) == ["demo"]


def test_a_catalog_after_a_helper_was_locked(mount, registry, home):
    samples.push_wasm(registry.store, "demo/app", "v1")
    registry.auth = Basic("me", SECRET)
    home.helper("keeper", "echo the keychain is locked; exit 1")
    home.config(credsStore="keeper")
    m = mount(env=home.env)
    assert os.listdir(m) == []
    assert home.asked() == [f"get {registry.address}"]
    home.helper("keeper", printed("me", SECRET))
    until(lambda: os.listdir(m) == ["demo"], 60, "the helper being asked again")


def test_repositories_within_repositories(mount, registry):
    for repo in ("a", "a/b", "a/b/c"):
        samples.push_wasm(registry.store, repo, "v1", seed=len(repo))
    m = mount()
    assert os.listdir(m) == ["a"] and "b" in os.listdir(m / "a") and "c" in os.listdir(m / "a/b")
    for path in ("a:v1", "a/b:v1", "a/b/c:v1"):
        assert read(m / path / "main.wasm")[:4] == b"\0asm"


def test_a_listing_that_goes_in_circles_ends(mount, registry):
    image = samples.push_wasm(registry.store, "demo/app", "v1")
    for i in range(50):
        registry.store.tag("demo/app", f"t{i}", image.digest)
    registry.pages = Pages(20, lambda url: '</v2/demo/app/tags/list?n=20>; rel="next"')
    m = mount()
    assert 20 <= len(os.listdir(m / "demo/app/tags")) <= 51
    assert registry.count() < 10


def test_bad_names_are_left_out(mount, registry):
    samples.push_wasm(registry.store, "demo/app", "v1")
    registry.on("GET", "/tags/list", b.answer(200, b'{"name":"demo/app","tags":["v1","../x","a/b",".hid","","' +
                                              b"t" * 129 + b'",null,"x y","v1",17,"ok"]}'))
    registry.on("GET", "/_catalog", b.answer(200, b'{"repositories":["demo/app","../../etc","/abs","A/B","a//b",null]}'))
    m = mount()
    assert os.listdir(m / "demo/app/tags") == ["ok", "v1"]
    assert os.listdir(m) == ["demo"]


def test_no_tags_at_all(mount, registry):
    samples.push_wasm(registry.store, "demo/app", "v1")
    registry.on("GET", "/tags/list", b.answer(200, '{"name":"demo/app","tags":null}'))
    m = mount()
    assert os.listdir(m / "demo/app/tags") == []


def test_a_repository_that_is_not_there(mount, registry):
    m = mount()
    with raises(ENOENT):
        os.listdir(m / "made/up/tags")


def test_offsets_survive_seeks(mount, registry, many):
    m = mount()
    fd = os.open(m / "demo/app/tags", os.O_RDONLY | os.O_DIRECTORY)
    try:
        entries = []
        while part := getdents(fd, 1024):
            entries += part
        names = [name for *_, name in entries if name not in (".", "..")]
        assert sorted(names) == many
        assert all(inode != 0 for inode, *_ in entries)
        assert all(kind == stat.S_IFDIR >> 12 for _, _, kind, _ in entries)
        for i in (0, 1, 17, 5000, 9000, len(entries) - 2):
            os.lseek(fd, entries[i][1], os.SEEK_SET)
            assert getdents(fd, 1024)[0] == entries[i + 1]
        os.lseek(fd, entries[-1][1], os.SEEK_SET)
        assert getdents(fd) == []
        os.lseek(fd, 0, os.SEEK_SET)
        assert getdents(fd, 1024)[0] == entries[0]
    finally:
        os.close(fd)


def test_an_open_listing_does_not_change(mount, registry):
    """A directory that was opened goes on as it was, whatever the registry says meanwhile."""
    image = samples.push_wasm(registry.store, "demo/app", "v1")
    for i in range(500):
        registry.store.tag("demo/app", f"t{i:03}", image.digest)
    m = mount(None, "--list-ttl", "1s")
    fd = os.open(m / "demo/app/tags", os.O_RDONLY | os.O_DIRECTORY)
    try:
        first = getdents(fd, 1024)
        for i in range(0, 500, 2):
            registry.store.untag("demo/app", f"t{i:03}")
        rest = []
        while part := getdents(fd, 1024):
            rest += part
        names = [name for *_, name in first + rest if name not in (".", "..")]
        assert len(names) == len(set(names)) == 501
    finally:
        os.close(fd)


def test_inodes_of_entries_are_those_of_stat(mount, registry):
    samples.push_files(registry.store, "demo/app", "v1", {f"f{i}": b"%d" % i for i in range(20)})
    m = mount()
    for directory in (m / "demo/app:v1", m / "demo/app:v1/files", m / "demo/app:v1/layers", m / "demo/app"):
        with os.scandir(directory) as entries:
            for entry in entries:
                found = os.lstat(entry.path)
                assert entry.inode() == found.st_ino, entry.path
                assert entry.is_dir(follow_symlinks=False) == stat.S_ISDIR(found.st_mode)
    assert registry.count("GET", "/blobs/") == 0


@pytest.mark.parametrize("kind", ["entry-point", "plugin"])
def test_the_inode_of_what_lies_in_an_archive(mount, registry, kind):
    """Not known before the archive is here, which no listing fetches; from then on it is that of stat."""
    module = samples.wasm(9000)
    if kind == "entry-point":
        image = artifacts.container({"hello.wasm": module})
    else:
        image = artifacts.image(artifacts.Blob(b"{}", "application/x-config"), [
            artifacts.Blob(b"spec", "application/vnd.module.wasm.spec.v1+yaml", "spec.yaml"),
            artifacts.Blob(artifacts.tar({"plugin.wasm": module}), "application/vnd.oci.image.layer.v1.tar", "plugin.tar")])
    samples.put(registry.store, "demo/app", "v1", image)
    m = mount()

    def listed():
        with os.scandir(m / "demo/app:v1/") as entries:
            return {entry.name: entry.inode() for entry in entries}
    assert listed()["main.wasm"] == 2**64 - 1 == listed()["main.wasm"]
    assert not any(registry.count("GET", layer.digest) for layer in image.layers)
    found = os.stat(m / "demo/app:v1/main.wasm").st_ino
    assert listed()["main.wasm"] == found == listed()["main.wasm"]
    assert all(os.lstat(m / "demo/app:v1" / name).st_ino == inode for name, inode in listed().items())


def test_a_listing_beside_a_mapping(mount, registry):
    """A listing that gave the attributes of an open file wrongly would cut its mapping short."""
    import mmap
    image = samples.push_wasm(registry.store, "demo/app", "v1", size=600_000)
    m = mount()
    with open(m / "demo/app:v1/main.wasm", "rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    assert mapped[:100] == image.layer.data[:100]
    run(["ls", "-lR", m / "demo"], check=True)
    assert mapped[:] == image.layer.data
    mapped.close()


def test_recursion_pays_for_what_it_enters(mount, registry):
    for i in range(5):
        samples.push_wasm(registry.store, "demo/app", f"v{i}", seed=i)
    m = mount()
    run(["ls", "-lR", m / "demo"], check=True)
    assert registry.count("GET", "/blobs/") == 0 or registry.count("GET", "/blobs/") <= 5, "configs at most"
    layers = [r for r in registry.requests("GET", "/blobs/") if r.sent > 2000]
    assert not layers, "no layer is fetched to list it"


@pytest.mark.heavy
def test_many_threads_list_and_look(mount, registry):
    from concurrent.futures import ThreadPoolExecutor
    image = samples.push_wasm(registry.store, "demo/app", "v0")
    for i in range(300):
        registry.store.tag("demo/app", f"v{i}", image.digest)
    m = mount()

    def work(i):
        assert len(os.listdir(m / "demo/app/tags")) == 300
        assert read(m / f"demo/app/tags/v{i}/main.wasm") == image.layer.data
        assert os.readlink(m / f"demo/app:v{i}").endswith(image.hex)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(scaled(300, 60))))
    assert registry.count("GET", "/blobs/") == 1 and registry.count("GET", "/tags/list") == 1
