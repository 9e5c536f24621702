# SPDX-License-Identifier: Apache-2.0
"""The tree: what is where, what it is called, and what stat says of it (DESIGN, "What users see")."""

import hashlib
import os
import stat
import subprocess
from errno import ENOENT

import pytest

import samples
from harness import raises, read, until
from samples import Blob


@pytest.fixture
def image(registry):
    return samples.push_wasm(registry.store, "demo/app", "v1", size=5000)


def entries(path):
    return sorted(os.listdir(path))


def without_referrers(names):
    return sorted(set(names) - {"referrers"})


def test_reference_is_a_path(mount, image):
    m = mount()
    target = f"app/manifests/sha256/{image.hex}"
    assert os.readlink(m / "demo/app:v1") == target
    assert os.readlink(m / f"demo/app@{image.digest}") == target
    assert os.readlink(m / f"demo/app:v1@{image.digest}") == target
    assert os.readlink(m / f"demo/app:other@{image.digest}") == target, "the digest counts"
    assert stat.S_ISLNK(os.lstat(m / "demo/app:v1").st_mode)
    assert os.lstat(m / "demo/app:v1").st_size in (0, len(target))
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert os.path.realpath(m / "demo/app:v1") == str(m / "demo" / target)


def test_a_repository_at_the_root(mount, registry):
    image = samples.push_wasm(registry.store, "solo", "v1")
    m = mount()
    assert os.readlink(m / "solo:v1") == f"solo/manifests/sha256/{image.hex}"
    assert read(m / "solo:v1/main.wasm") == image.layer.data


def test_every_name_for_the_same_bytes(mount, registry, image):
    m = mount()
    base = m / "demo/app/manifests/sha256" / image.hex
    for directory in (m / "demo/app:v1", m / "demo/app/tags/v1", base):
        assert without_referrers(entries(directory)) == ["config.json", "files", "layers", "main.wasm",
                                                         "manifest.json"]
        assert read(directory / "manifest.json") == image.data
        assert read(directory / "config.json") == image.config.data
        assert entries(directory / "layers") == ["0.wasm"]
        assert read(directory / "layers/0.wasm") == image.layer.data
        assert read(directory / "main.wasm") == image.layer.data
    for blob in (image.layer, image.config):
        assert read(m / "demo/app/blobs/sha256" / blob.hex) == blob.data
    assert read(m / "demo/app/blobs/sha256" / image.hex) == image.data, "a manifest is there among the blobs"
    assert registry.count("GET", f"/blobs/{image.layer.digest}") == 1


def test_every_file_matches_its_digest(mount, registry):
    store = registry.store
    made = {"a/one": samples.push_wasm(store, "a/one", "v1", seed=1), "a/two": samples.push_runwasi(store, "a/two"),
            "b": samples.push_wasm_to_oci(store, "b"), "c/d/e": samples.push_solo(store, "c/d/e"),
            "f": samples.push_files(store, "f", files={"x.bin": samples.noise(300000), "empty": b"", "y": b"y"}),
            "g": samples.push_tar(store, "g")}
    m = mount()
    for repo, image in made.items():
        directory = m / f"{repo}:v1"
        by_name = {"manifest.json": image.data, "config.json": image.config.data}
        for name, data in by_name.items():
            assert read(directory / name) == data
        assert len(entries(directory / "layers")) == len(image.layers)
        for i, blob in enumerate(image.layers):
            name = next(n for n in entries(directory / "layers") if n.split(".")[0] == str(i))
            data = read(directory / "layers" / name)
            assert hashlib.sha256(data).hexdigest() == blob.hex == hashlib.sha256(
                read(m / repo / "blobs/sha256" / blob.hex)).hexdigest()
            assert os.stat(directory / "layers" / name).st_size == len(blob.data)


@pytest.mark.parametrize("make, layers", [
    (samples.push_wasm, ["0.wasm"]), (samples.push_runwasi, ["0.wasm"]), (samples.push_wasm_to_oci, ["0.wasm"]),
    (samples.push_solo, ["0.json", "1.wasm"]), (samples.push_tar, ["0.tar.gz"])])
def test_packagings(mount, registry, make, layers):
    image = make(registry.store, "demo/app", "v1")
    m = mount()
    assert entries(m / "demo/app:v1/layers") == layers
    if any(name.endswith(".wasm") for name in layers):
        assert "main.wasm" in entries(m / "demo/app:v1")
        assert read(m / "demo/app:v1/main.wasm") == image.wasm.data
    else:
        assert read(m / "demo/app:v1/layers" / layers[0]) == image.layer.data


def test_files_have_their_titles(mount, registry):
    files = {"hello.txt": b"hello\n", "assets/logo.png": b"png", "assets/deep/er.css": b"css", "run.wasm": samples.wasm()}
    samples.push_files(registry.store, "demo/site", "v1", files)
    m = mount()
    base = m / "demo/site:v1/files"
    assert entries(base) == ["assets", "hello.txt", "run.wasm"]
    assert entries(base / "assets") == ["deep", "logo.png"]
    for name, data in files.items():
        assert read(base / name) == data
    assert stat.S_IMODE(os.stat(base / "run.wasm").st_mode) == 0o555
    assert stat.S_IMODE(os.stat(base / "hello.txt").st_mode) == 0o444
    assert os.listdir(m / "demo/site:v1/layers") != []


HOSTILE = ["../../etc/passwd", "/abs/olute", "a/../b", "..", ".", "", "a//b", "n" * 300 + ".txt", "same.txt",
           "SAME.txt", "dir", "dir/file", "new\nline", "back\\slash"]


def test_hostile_titles_stay_inside(mount, registry):
    layers = [Blob(b"content %d" % i, "application/octet-stream", title) for i, title in enumerate(HOSTILE)]
    image = samples.push(registry.store, "demo/evil", "v1", Blob(b"{}", samples.EMPTY), layers)
    m = mount()
    found = {}
    for top, dirs, names in os.walk(m / "demo/evil:v1/files", onerror=reraise):
        for name in dirs + names:
            assert name not in ("", ".", "..") and "/" not in name and "\n" not in name and len(os.fsencode(name)) <= 255
        for name in names:
            found[os.path.join(top, name)] = read(os.path.join(top, name))
        folded = [name.casefold() for name in dirs + names]
        assert len(set(folded)) == len(folded), "unique also where case is folded"
    titled = {blob.data for blob in image.layers if blob.title}
    assert titled <= set(found.values()) <= {blob.data for blob in image.layers}
    assert len(found) >= len(titled)
    assert not os.path.isfile(m / "etc/passwd"), "a directory, as any name of the grammar"


def reraise(failure):
    raise failure


def test_a_title_with_a_nul(mount, registry):
    layers = [Blob(b"one", "text/plain", "x\0y.txt"), Blob(b"two", "text/plain", "plain.txt")]
    samples.push(registry.store, "demo/evil", "v1", Blob(b"{}", samples.EMPTY), layers)
    m = mount()
    names = entries(m / "demo/evil:v1/files")
    assert len(names) == 2 and all("\0" not in name for name in names)
    assert {read(m / "demo/evil:v1/files" / name) for name in names} == {b"one", b"two"}


def test_config_without_json(mount, registry):
    samples.push(registry.store, "demo/odd", "v1", Blob(b"raw", "application/octet-stream"), [Blob(b"x", "text/plain")])
    m = mount()
    assert read(m / "demo/odd:v1/config") == b"raw"
    assert "config.json" not in entries(m / "demo/odd:v1")


def test_an_index_has_no_config_and_no_layers(mount, registry, image):
    index = samples.push_index(registry.store, "demo/app", "multi", {("wasip1", "wasm"): image})
    m = mount()
    assert read(m / "demo/app:multi/manifest.json") == index.data
    names = entries(m / "demo/app:multi")
    assert "config.json" not in names and "layers" not in names
    assert read(m / f"demo/app@{image.digest}/main.wasm") == image.layer.data


def test_modes_sizes_and_times(mount, registry):
    image = samples.push_wasm(registry.store, "demo/app", "v1", size=70001,
                              annotations={"org.opencontainers.image.created": "2024-05-06T07:08:09Z"})
    m = mount()
    base = m / f"demo/app/manifests/sha256/{image.hex}"
    for directory in (m.path, m / "demo", m / "demo/app", m / "demo/app/tags", m / "demo/app/tags/v1",
                      m / "demo/app/blobs/sha256", base, base / "layers", base / "files"):
        found = os.stat(directory)
        assert stat.S_IMODE(found.st_mode) == 0o555 and stat.S_ISDIR(found.st_mode)
        assert found.st_nlink == 1 and found.st_ino != 0
        assert (found.st_uid, found.st_gid) == (0, 0)
    sizes = {"manifest.json": (len(image.data), 0o444), "config.json": (len(image.config.data), 0o444),
             "layers/0.wasm": (len(image.layer.data), 0o555), "main.wasm": (len(image.layer.data), 0o555)}
    for name, (size, mode) in sizes.items():
        found = os.stat(base / name)
        assert (found.st_size, stat.S_IMODE(found.st_mode)) == (size, mode), name
        assert stat.S_ISREG(found.st_mode) and found.st_ino != 0
        assert 0 <= found.st_blocks * 512 - size < 4096, "blocks are the size rounded up"
    assert os.stat(base / "layers/0.wasm").st_mtime == 0
    assert os.stat(base / "config.json").st_mtime == 0
    assert os.stat(base).st_mtime == os.stat(base / "manifest.json").st_mtime == 1714979289
    assert registry.count("GET", "/blobs/") == 0, "sizes are known before any byte is fetched"
    blocks = os.stat(base / "layers/0.wasm").st_blocks
    read(base / "layers/0.wasm")
    assert os.stat(base / "layers/0.wasm").st_blocks == blocks, "cached or not"


def test_one_inode_for_the_same_bytes(mount, registry, image):
    other = samples.push_wasm(registry.store, "other/name", "latest", image.layer.data, title="x.wasm",
                              annotations={"a": "b"})
    assert other.digest != image.digest
    m = mount()
    inode = os.stat(m / "demo/app:v1/layers/0.wasm").st_ino
    for path in ("demo/app:v1/main.wasm", "demo/app/tags/v1/layers/0.wasm", "other/name:latest/layers/0.wasm",
                 "other/name:latest/files/x.wasm", "other/name:latest/main.wasm"):
        assert os.stat(m / path).st_ino == inode, path
    plain = os.stat(m / f"demo/app/blobs/sha256/{image.layer.hex}")
    assert plain.st_ino != inode, "another mode is another inode"
    assert plain.st_ino == os.stat(m / f"other/name/blobs/sha256/{image.layer.hex}").st_ino
    assert os.stat(m / "demo/app:v1/config.json").st_ino not in (inode, plain.st_ino)
    m.unmount()
    again = mount()
    assert os.stat(again / "demo/app:v1/main.wasm").st_ino == inode, "stable across mounts"


def test_names_that_cannot_be_cost_nothing(mount, registry, image):
    m = mount()
    for name in ("package.json", "node_modules", "wasmer.toml", "spin.toml", "main.dwp", "UPPER", "a..b", ".hidden",
                 "-dash", "a b", "x_", "tilde~", "sha256:", "app:", "app@", "app:.bad", "app:" + "t" * 129,
                 "app@sha256:abc", "app@sha256:" + "G" * 64, ":v1", "@" + image.digest, "app:v1:v2", "ü"):
        with raises(ENOENT):
            os.lstat(m / "demo" / name)
        with raises(ENOENT):
            os.lstat(m / name)
    assert registry.count() == 0, registry.log
    for path in ("demo/app/manifests/sha256/nothex", "demo/app/manifests/md17", "demo/app/blobs/sha256/" + "A" * 64,
                 "demo/app/tags/.x", "demo/app/tags/a b", "demo/app/blobs/SHA256"):
        with raises(ENOENT):
            os.lstat(m / path)
    assert registry.count() == registry.count("GET", "/demo/app/tags/list") == 1, "whether there is a demo/app"


def test_what_the_grammar_allows_is_a_directory_at_once(mount, registry):
    registry.pause()
    m = mount()
    for path in ("a", "a/b", "a/b/c-d/e__f/g.h", "made/up", "x" * 200):
        assert stat.S_ISDIR(os.lstat(m / path).st_mode)
    assert registry.count() == 0, registry.log


def test_lookup_does_not_depend_on_listing(mount, registry, image):
    registry.catalog = False
    m = mount()
    assert entries(m) == [], "nothing known, no error"
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    os.stat(m / "typo/nothing")
    m.unmount()
    m = mount()
    assert entries(m) == ["demo"], "what was found to be a repository is kept across mounts, a typo is not"
    assert "app" in entries(m / "demo")


def test_a_typo_is_not_kept(mount, registry, image):
    registry.catalog = False
    m = mount()
    with raises(ENOENT):
        os.readlink(m / "demo/typo:v1")
    with raises(ENOENT):
        os.readlink(m / "demo/app:nope")
    read(m / "demo/app:v1/manifest.json")
    m.unmount()
    m = mount()
    assert [name for name in entries(m / "demo") if name not in ("tags", "manifests", "blobs")] == ["app"]


def test_listing_the_catalog(mount, registry, image):
    samples.push_wasm(registry.store, "demo/app/nested", "v1")
    samples.push_wasm(registry.store, "top", "v1")
    samples.push_wasm(registry.store, "x.y/z__w", "v1")
    m = mount()
    assert entries(m) == ["demo", "top", "x.y"]
    assert entries(m / "demo") == ["app"]
    assert {"nested", "tags", "manifests", "blobs"} <= set(entries(m / "demo/app"))
    assert entries(m / "x.y") == ["z__w"]
    assert registry.count("GET", "_catalog") == 1


def test_a_fixed_entry_wins_over_a_repository_of_that_name(mount, registry):
    samples.push_wasm(registry.store, "foo", "v1", seed=1)
    hidden = samples.push_wasm(registry.store, "foo/tags", "v1", seed=2)
    m = mount()
    assert entries(m / "foo/tags") == ["v1"]
    assert read(m / "foo/tags:v1/manifest.json") == hidden.data
    assert read(m / "foo/tags:v1/main.wasm") == hidden.layer.data


def test_a_namespace_as_the_source(mount, registry, image):
    m = mount(f"{registry.address}/demo")
    assert read(m / "app:v1/main.wasm") == image.layer.data
    assert entries(m) == ["app"]


def test_referrer_tags_resolve_and_are_not_listed(mount, registry, image):
    plain = f"sha256-{image.hex}"
    for tag in (plain, plain + ".sig", plain + ".att", plain + ".sbom"):
        registry.store.tag("demo/app", tag, image.digest)
    m = mount()
    assert entries(m / "demo/app/tags") == ["v1"]
    assert read(m / f"demo/app:{plain}.sig/manifest.json") == image.data
    assert read(m / f"demo/app/tags/{plain}/manifest.json") == image.data


def test_a_tag_directory_is_bound_for_good(mount, registry, image):
    m = mount(None, "--tag-ttl", "1s")
    new = samples.push_wasm(registry.store, "demo/app", "v2", seed=9)
    inside = os.open(m / "demo/app/tags/v1", os.O_RDONLY | os.O_DIRECTORY)
    deeper = os.open("layers", os.O_RDONLY | os.O_DIRECTORY, dir_fd=inside)
    try:
        registry.store.tag("demo/app", "v1", new.digest)
        until(lambda: read(m / "demo/app/tags/v1/manifest.json") == new.data, what="the tag moving")
        assert os.readlink(m / "demo/app:v1").endswith(new.hex)
        for directory, name, data in ((inside, "manifest.json", image.data), (deeper, "0.wasm", image.layer.data),
                                      (inside, "main.wasm", image.layer.data)):
            fd = os.open(name, os.O_RDONLY, dir_fd=directory)
            assert os.read(fd, 1 << 20) == data, "who is inside stays on the old digest"
            os.close(fd)
        assert without_referrers(os.listdir(inside)) == ["config.json", "files", "layers", "main.wasm", "manifest.json"]
        assert os.stat("..", dir_fd=inside).st_ino == os.stat(m / "demo/app/tags").st_ino
    finally:
        os.close(inside)
        os.close(deeper)


def test_a_working_directory_stays_on_its_digest(mount, registry, image):
    m = mount(None, "--tag-ttl", "1s")
    new = samples.push_wasm(registry.store, "demo/app", "v2", seed=9)
    with subprocess.Popen(["sh", "-c", f"cd {m}/demo/app/tags/v1 && ls . >/dev/null && echo there; read x; cat manifest.json"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"there\n"
        registry.store.tag("demo/app", "v1", new.digest)
        until(lambda: read(m / "demo/app/tags/v1/manifest.json") == new.data, what="the tag moving")
        assert child.communicate(b"go\n", timeout=20)[0] == image.data


def test_a_removed_tag_is_gone_after_its_time(mount, registry, image):
    m = mount(None, "--tag-ttl", "1s")
    os.readlink(m / "demo/app:v1")
    registry.store.untag("demo/app", "v1")

    def gone():
        try:
            os.readlink(m / "demo/app:v1")
        except OSError as failure:
            return failure.errno == ENOENT
        return False
    until(gone, what="the tag going")
    assert read(m / f"demo/app@{image.digest}/manifest.json") == image.data


def test_known_digests_are_listed(mount, registry, image):
    m = mount()
    read(m / "demo/app:v1/main.wasm")
    assert image.hex in entries(m / "demo/app/manifests/sha256")
    assert {image.layer.hex, image.config.hex} <= set(entries(m / "demo/app/blobs/sha256"))
    assert "sha256" in entries(m / "demo/app/blobs") and "sha256" in entries(m / "demo/app/manifests")


def test_a_digest_belongs_to_the_repository_that_names_it(mount, registry, image):
    registry.store.repository("other/repo")
    samples.push_files(registry.store, "other/repo", "v1")
    m = mount()
    read(m / "demo/app:v1/main.wasm")
    with raises(ENOENT):
        read(m / f"other/repo/blobs/sha256/{image.layer.hex}")
    assert registry.count("HEAD", f"/other/repo/blobs/{image.layer.digest}") == 1
    with raises(ENOENT):
        os.listdir(m / f"other/repo@{image.digest}/")
