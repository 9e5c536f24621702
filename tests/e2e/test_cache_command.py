# SPDX-License-Identifier: Apache-2.0
"""`wasmocifs cache ls|du|verify|prune|rm`: what is there and what goes, beside the mounts that use it."""

import contextlib
import json
import mmap
import os

import pytest

import samples
from harness import NOBODY, identity, on_terminal, partials, read, run, until
from registry import behaviours as b

SMALL, LARGE = 20_000, 3 << 20  # ordinary and passthrough


class Cache:
    """The command on one cache directory."""

    def __init__(self, binary, directory):
        self.binary, self.directory = binary, directory

    def __call__(self, *words, code=0, **more):
        result = run([self.binary, "cache", *words, "--cache", self.directory], **more)
        assert result.code == code, result
        if code == 2:
            assert result.out == "" and result.err.count("\n") == 1 and result.err.startswith("wasmocifs: cache")
        return result

    def json(self, *words, code=0):
        return json.loads(self(*words, "--json", code=code).out)

    def blobs(self):
        return {row["digest"]: row for row in self.json("ls")}

    def path(self, blob):
        return self.directory / "blobs/sha256" / blob.hex


@pytest.fixture
def cache(binary, work):
    return Cache(binary, work / "cache")


def filled(mount, cache, registry, *images):
    """A mount that has read them and is gone."""
    m = mount()
    for name, image in images:
        assert read(m / f"{name}/main.wasm") == image.layer.data
        read(m / f"{name}/config.json")
        until(lambda image=image: cache.path(image.layer).exists(), what="the blob being published")
    m.unmount()


@pytest.fixture
def two(registry):
    return (samples.push_wasm(registry.store, "demo/app", "v1", size=SMALL, seed=1),
            samples.push_wasm(registry.store, "demo/app", "v2", size=LARGE, seed=2))


def test_ls_and_du(mount, cache, registry, two):
    first, second = two
    filled(mount, cache, registry, ("demo/app:v1", first), ("demo/app:v2", second))
    rows = cache.blobs()
    assert rows.keys() == {f"sha256:{path.name}" for path in (cache.directory / "blobs/sha256").iterdir()}
    row = rows[second.layer.digest]
    assert row["size"] == len(second.layer.data) and row["disk"] >= LARGE and not row["pinned"] and not row["open"]
    assert row["references"] == [f"{registry.address}/demo/app:v2"]
    text = cache("ls").out
    assert f"sha256:{second.layer.hex[:12]}  {'3.0 MiB':>9}" in text and f"{registry.address}/demo/app:v2" in text
    assert all(len(line) <= 80 + len(registry.address) for line in text.splitlines())
    only = cache.json("ls", f"{registry.address}/demo/app:v1")
    assert {row["digest"] for row in only} == {first.digest, first.layer.digest, first.config.digest}
    assert [row["digest"] for row in cache.json("ls", second.layer.hex[:12])] == [second.layer.digest]
    total = cache.json("du")
    assert total["blobs"] == len(rows) and total["bytes"] == sum(row["disk"] for row in rows.values())
    assert total["repositories"] == [{"repository": f"{registry.address}/demo/app", "bytes": total["bytes"],
                                      "blobs": len(rows)}]
    text = cache("du").out
    assert f"{registry.address}/demo/app\n" in text and str(cache.directory) in text and "pinned: 0 B" in text


def test_an_empty_cache_and_none(cache, binary, work):
    result = cache("ls", code=1)
    assert f"there is no cache {cache.directory}" in result.err and not cache.directory.exists()
    work.chmod(0o755)
    private = work / "private"
    private.mkdir(mode=0o700)
    result = run([binary, "cache", "ls", "--cache", private / "cache"], **identity(NOBODY))
    assert result.code == 1 and "cannot open the cache directory" in result.err and "there is no" not in result.err
    cache.directory.mkdir(mode=0o700)
    assert cache("ls").out == "" and cache.json("ls") == [] and cache.json("du")["bytes"] == 0
    assert cache("verify").out == "0 blobs, 0 B: all as they should be\n"
    assert cache("prune").out == "removed 0 blobs, 0 B\n"


@pytest.mark.parametrize("words", [
    [], ["frobnicate"], ["ls", "--keep", "1G"], ["ls", "--dry-run"], ["du", "--unpin"], ["du", "sha256:0123456789ab"],
    ["prune", "--keep", "lots"], ["prune", "--older-than", "yesterday"], ["prune", "--older-than", "0s"],
    ["prune", "a.b/c:d"], ["verify", "a.b/c:d"], ["rm"], ["rm", "sha256:0123"], ["rm", "alpine"], ["rm", "a.b/UPPER:v1"],
    ["rm", "a.b/c@sha256:short"], ["ls", ""], ["ls", "--frobnicate"], ["rm", "--unpin", "--keep", "1G", "a.b/c:d"]],
    ids=lambda words: " ".join(words) or "nothing")
def test_bad_input(cache, words):
    cache.directory.mkdir(mode=0o700)
    result = cache(*words, code=2)
    assert result.out == "" and result.err.count("\n") == 1
    assert words != ["frobnicate"] or "there is no 'frobnicate'; say what to do: ls, du" in result.err


def test_what_is_not_there(cache, registry):
    cache.directory.mkdir(mode=0o700)
    assert "knows no a.b/c:d" in cache("rm", "a.b/c:d", code=1).err
    assert "is not in the cache" in cache("rm", "0123456789ab", code=1).err


def test_anothers_cache(cache):
    cache.directory.mkdir(mode=0o700)
    assert str(cache.directory) in cache("ls", code=1, **identity(NOBODY)).err


def test_a_cache_that_is_none(cache, binary, work):
    """One line, which says what to do."""
    cache.directory.write_text("a file")
    for words in (["cache", "ls"], ["pull", "a.b/c:d"]):
        result = run([binary, *words, "--cache", cache.directory])
        assert result.code == 1 and result.out == "" and result.err.count("\n") == 1
        assert f"cannot open the cache directory {cache.directory} (Not a directory): " in result.err
        assert "or choose another one with --cache DIR" in result.err


def test_verify_finds_a_flipped_bit_and_the_mount_heals(mount, cache, registry, two):
    """Whether the mount has the file open, and remembers that it has hashed it, or not."""
    first, second = two
    m = mount()
    for name, image in (("v1", first), ("v2", second)):
        read(m / f"demo/app:{name}/main.wasm")
        until(lambda image=image: cache.path(image.layer).exists(), what="the blob being published")
    assert cache("verify").out.endswith("all as they should be\n")
    for image in two:
        path = cache.path(image.layer)
        before = path.stat()
        with open(path, "r+b", buffering=0) as file:
            file.seek(10_000)
            byte = file.read(1)
            file.seek(10_000)
            file.write(bytes([byte[0] ^ 4]))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as a disk does it, with no trace
    found = cache.json("verify", "--dry-run", code=1)
    assert {wrong["digest"] for wrong in found["wrong"]} == {first.layer.digest, second.layer.digest}
    assert not any(wrong["removed"] for wrong in found["wrong"]) and cache.path(first.layer).exists()
    result = cache("verify", code=1)
    assert f"{first.layer.digest}: its bytes do not match: removed" in result.out and "2 wrong" in result.out
    assert not cache.path(first.layer).exists() and not cache.path(second.layer).exists()
    for name, image in (("v1", first), ("v2", second)):
        assert read(m / f"demo/app:{name}/main.wasm") == image.layer.data
        until(lambda image=image: cache.path(image.layer).exists(), what="the blob being published")
    assert registry.count("GET", f"/blobs/{first.layer.digest}") == 2, "fetched anew"
    assert cache("verify").out.endswith("all as they should be\n")


@pytest.mark.parametrize("option", [[], ["--no-passthrough"]], ids=["passthrough", "ordinary"])
def test_prune_beside_readers_takes_nothing_that_is_open(mount, cache, registry, two, option):
    first, second = two
    m = mount(None, *option)
    # Enough others that nothing but what is open is kept at hand.
    others = [samples.push_wasm(registry.store, "demo/other", f"v{i}", size=LARGE, seed=100 + i) for i in range(3)]
    for i, image in enumerate(others):
        read(m / f"demo/other:v{i}/main.wasm")
        until(lambda image=image: cache.path(image.layer).exists(), what="the blob being published")
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(open(m / f"demo/app:{tag}/main.wasm", "rb", buffering=0)) for tag in ("v1", "v2")]
        until(lambda: all(cache.path(image.layer).exists() for image in two), what="the blobs being published")
        mapped = stack.enter_context(contextlib.closing(mmap.mmap(files[1].fileno(), 0, prot=mmap.PROT_READ)))
        rows = cache.blobs()
        assert rows[first.layer.digest]["open"] and rows[second.layer.digest]["open"]
        promised = cache.json("prune", "--dry-run")["removed"]
        assert cache.blobs().keys() == rows.keys(), "a dry run removes nothing"
        done = cache.json("prune")
        assert set(done["removed"]) <= set(promised) and done["open"] >= 2
        assert cache.path(first.layer).exists() and cache.path(second.layer).exists()
        os.posix_fadvise(files[1].fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        assert files[0].read() == first.layer.data and files[1].read() == second.layer.data
        assert mapped[:] == second.layer.data
    for i, image in enumerate(others):
        assert read(m / f"demo/other:v{i}/main.wasm") == image.layer.data
    gets = registry.count("GET", f"/blobs/{second.layer.digest}")
    assert read(m / "demo/app:v2/main.wasm") == second.layer.data
    assert registry.count("GET", f"/blobs/{second.layer.digest}") == gets == 1


def test_prune_by_age_and_size(mount, cache, registry):
    images = [samples.push_wasm(registry.store, "demo/app", f"v{i}", size=1 << 20, seed=i) for i in range(4)]
    filled(mount, cache, registry, *((f"demo/app:v{i}", image) for i, image in enumerate(images)))
    for days, image in enumerate(images):
        path = cache.path(image.layer)
        used = path.stat().st_atime_ns - days * 86_400_000_000_000
        os.utime(path, ns=(used, path.stat().st_mtime_ns))
    assert cache.json("prune", "--older-than", "60h")["removed"] == [images[3].layer.digest]
    row = cache.blobs()[images[1].layer.digest]
    done = cache.json("prune", "--keep", "2500K")
    assert done["removed"] == [images[2].layer.digest] and done["freed"] == row["disk"], "the oldest, and no more than that"
    assert cache.json("du")["bytes"] <= 2500 << 10
    assert set(cache.json("prune", "--keep", "1", "--older-than", "12h")["removed"]) == {images[1].layer.digest}
    cache("prune")
    assert cache.blobs() == {} and cache.json("du")["bytes"] == 0
    m = mount()
    assert read(m / "demo/app:v3/main.wasm") == images[3].layer.data
    assert m.status()["cache"]["blobs"] >= 1


def test_prune_and_partials(mount, cache, registry, two):
    """What a fetch has left goes; what one fetches does not."""
    _, second = two
    registry.on("GET", f"/blobs/{second.layer.digest}", b.silent(after=2 << 20), times=1)
    m = mount()
    os.stat(m / "demo/app:v2/main.wasm")
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(OSError):
            read(m / "demo/app:v2/main.wasm")
        os._exit(0)
    until(lambda: sum(p.stat().st_size for p in partials(cache.directory)) > 1 << 20, what="bytes in the partial")
    assert cache.json("prune")["partials"] == 0 and partials(cache.directory)
    m.kill()
    os.waitpid(pid, 0)
    assert cache.json("prune", "--older-than", "1h")["partials"] == 0, "too young"
    assert cache.json("prune", "--dry-run")["partials"] == 1 and partials(cache.directory)
    done = cache.json("prune")
    assert done["partials"] == 1 and done["freed"] > 1 << 20 and not partials(cache.directory)
    m.restart()


@pytest.mark.parametrize("word", ["sha256:0123456789AB", "0123456789AB", "sha1:0123456789ab", "alpine", "@sha256:0123456789ab"])
def test_what_is_neither(mount, cache, word):
    mount().unmount()
    assert cache("ls", word, code=2).err == (f"wasmocifs: cache ls: '{word}': neither a digest (sha256: and digits, a to f in "
                                             "lower case) nor a reference (HOST[:PORT]/NAME:TAG)\n")


def test_it_fits_a_terminal(mount, cache, registry):
    name = "/".join(["quite-a-long-namespace"] * 4)
    images = [samples.push_wasm(registry.store, name, tag) for tag in ("v1", "v2")]
    filled(mount, cache, registry, (f"{name}:v1", images[0]), (f"{name}:v2", images[1]))
    for words in (["ls"], ["du"]):
        command = [cache.binary, "cache", *words, "--cache", cache.directory]
        for columns in (80, 100):
            lines = on_terminal(command, columns=columns)
            assert max(map(len, lines)) == columns and any("…" in line for line in lines), lines
        assert all(f"{registry.address}/{name}" in text for text in (cache(*words).out, "\n".join(on_terminal(command, columns=300))))
        # Who reads a pipe wants the whole, whatever shell it was that said COLUMNS.
        assert f"{registry.address}/{name}" in run(command, env={**os.environ, "COLUMNS": "80"}).ok().out
    assert any(line.endswith(":v1 +1") for line in on_terminal([cache.binary, "cache", "ls", "--cache", cache.directory]))


def test_rm(mount, cache, registry):
    shared = samples.noise(SMALL, 7)
    images = [samples.push_files(registry.store, "demo/files", f"v{i}", files={"shared": shared, "own": samples.noise(SMALL, i)})
              for i in range(2)]
    m = mount()
    for i in range(2):
        assert read(m / f"demo/files:v{i}/files/shared") == shared
        assert read(m / f"demo/files:v{i}/files/own") == samples.noise(SMALL, i)
    own = [next(blob for blob in image.blobs() if blob.data == samples.noise(SMALL, i)) for i, image in enumerate(images)]
    common = next(blob for blob in images[0].blobs() if blob.data == shared)
    until(lambda: all(cache.path(blob).exists() for blob in (*own, common)), what="the blobs being published")
    m.unmount()
    reference = f"{registry.address}/demo/files:v1"
    planned = cache.json("rm", "--dry-run", reference)
    done = cache.json("rm", reference)
    assert done["shared"] == planned["shared"] == 1
    assert done["removed"] == planned["removed"] and set(done["removed"]) == {images[1].digest, own[1].digest}
    assert common.digest in cache.blobs() and own[0].digest in cache.blobs(), "what others share stays"
    assert f"knows no {reference}" in cache("rm", reference, code=1).err
    assert f"knows no {reference[:-3]}:latest;" in cache("ls", reference[:-3], code=1).err
    assert cache.json("rm", own[0].hex[:14])["removed"] == [own[0].digest]
    m = mount()
    for i in range(2):
        assert read(m / f"demo/files:v{i}/files/own") == samples.noise(SMALL, i)
    assert registry.count("GET", f"/blobs/{common.digest}") == 1


def test_rm_of_what_is_there_in_part(mount, cache, registry, two):
    """The rest goes, and what was not there is counted; what nobody can find any more is said to be left."""
    first, second = two
    filled(mount, cache, registry, ("demo/app:v1", first), ("demo/app:v2", second))
    references = [f"{registry.address}/demo/app:v{i}" for i in (1, 2)]
    cache("rm", first.layer.digest)
    for words in (["--dry-run"], []):
        done = cache.json("rm", *words, references[0])
        assert set(done["removed"]) == {first.digest, first.config.digest} and done["missing"] == 1
    assert f"knows no {references[0]}" in cache("rm", references[0], code=1).err
    cache("rm", second.digest)
    result = cache("rm", references[1], code=1)
    assert result.out == "removed 0 blobs, 0 B; 1 was not there\n" and result.err.count("\n") == 1
    assert f"the manifest of {references[1]} was not there" in result.err and "remove it by its digest" in result.err
    cache("rm", second.layer.digest, second.config.digest)
    assert cache.blobs() == {}


def test_rm_of_what_was_pruned(mount, cache, registry, two):
    """Nothing is left, which is what was asked for; and the name is forgotten."""
    filled(mount, cache, registry, ("demo/app:v1", two[0]))
    reference = f"{registry.address}/demo/app:v1"
    cache("prune")
    assert cache("rm", reference).out == "removed 0 blobs, 0 B; 1 was not there\n"
    assert f"knows no {reference}" in cache("rm", reference, code=1).err


@pytest.mark.parametrize("how", ["a server", "a server on another port", "http"])
def test_by_the_name_that_was_mounted(mount, cache, registry, two, work, how):
    """However that registry was asked: where plain http is, what is remembered is kept apart from what came over TLS."""
    first, _ = two
    name = {"a server": "registry.example", "a server on another port": "registry.example:5005"}.get(how, registry.address)
    source, options = name, []
    if "server" in how:
        directory = work / "hosts" / "_default"
        directory.mkdir(parents=True)
        (directory / "hosts.toml").write_text(f'server = "{registry.url}"\n')
        options = ["--hosts-dir", work / "hosts"]
    else:
        source = f"http://{name}"
    m = mount(source, *options)
    assert read(m / "demo/app:v1/main.wasm") == first.layer.data
    until(lambda: cache.path(first.layer).exists(), what="the blob being published")
    m.unmount()
    assert cache.blobs()[first.layer.digest]["references"] == [f"{name}/demo/app:v1"]
    assert {row["digest"] for row in cache.json("ls", f"{name}/demo/app:v1")} == cache.blobs().keys()
    assert cache.json("du")["repositories"][0]["repository"] == f"{name}/demo/app"
    word = f"{source}/demo/app:v1"
    assert first.layer.digest in cache.json("rm", word)["removed"]
    assert "knows no" in cache("rm", word, code=1).err


def test_rm_of_what_is_open(mount, cache, registry, two):
    first, _ = two
    m = mount()
    with open(m / "demo/app:v1/main.wasm", "rb", buffering=0) as file:
        until(lambda: cache.path(first.layer).exists(), what="the blob being published")
        result = cache("rm", first.layer.digest, code=1)
        assert "in use" in result.err and result.err.count("\n") == 1 and cache.path(first.layer).exists()
        assert file.read() == first.layer.data


def test_rm_of_a_reference_that_is_in_use_can_be_said_again(mount, cache, registry, two):
    first, _ = two
    reference = f"{registry.address}/demo/app:v1"
    m = mount()
    with open(m / "demo/app:v1/main.wasm", "rb", buffering=0):
        until(lambda: cache.path(first.layer).exists(), what="the blob being published")
        for _ in range(2):
            assert "after an unmount" in cache("rm", reference, code=1).err
    m.unmount()
    assert first.layer.digest in cache.json("rm", reference)["removed"]
    assert f"knows no {reference}" in cache("rm", reference, code=1).err


def test_rm_of_what_was_open(mount, cache, registry, two):
    """What a mount keeps at hand it puts down soon; and when it is gone, the mount transfers it anew."""
    m = mount()
    for name, image in zip(("v1", "v2"), two, strict=True):
        assert read(m / f"demo/app:{name}/main.wasm") == image.layer.data
        until(lambda image=image: cache.path(image.layer).exists(), what="the blob being published")
    assert read(m / "demo/app:v1/main.wasm") == two[0].layer.data
    until(lambda: not any(row["open"] for row in cache.blobs().values()), 15, "nothing being open")
    assert set(cache.json("rm", *(image.layer.digest for image in two))["removed"]) == {i.layer.digest for i in two}
    for name, image in zip(("v1", "v2"), two, strict=True):
        assert read(m / f"demo/app:{name}/main.wasm") == image.layer.data
        assert registry.count("GET", f"/blobs/{image.layer.digest}") == 2


def test_what_cannot_be_listed_is_not_empty(cache, work):
    """Neither for `ls` nor for `verify`: a directory of blobs that was moved away behind a symlink is no empty one."""
    cache.directory.mkdir(mode=0o700)
    (work / "elsewhere").mkdir()
    (cache.directory / "blobs").mkdir()
    (cache.directory / "blobs/sha256").symlink_to(work / "elsewhere")
    for words in (["ls"], ["du"], ["verify"], ["prune", "--dry-run"], ["prune"]):
        result = cache(*words, code=1)
        assert result.out == "" and result.err.count("\n") == 1
        assert f"cannot list {cache.directory}/blobs/sha256 (" in result.err and "--cache DIR" in result.err


@pytest.mark.parametrize("how", ["a symlink", "a file"])
def test_pins_that_cannot_be_looked_at_are_not_none(mount, cache, registry, two, work, how):
    """`prune` would take what was pinned."""
    first, _ = two
    filled(mount, cache, registry, ("demo/app:v1", first))
    pins = cache.directory / "pins"
    (pins / "sha256").mkdir(mode=0o700, parents=True, exist_ok=True)
    (pins / "sha256" / first.layer.hex).touch()
    pins.rename(work / "moved")
    if how == "a file":
        pins.touch()
    else:
        pins.symlink_to(work / "moved")
    for words in (["prune", "--dry-run"], ["prune"], ["rm", first.config.digest], ["ls"]):
        result = cache(*words, code=1)
        assert result.out == "" and result.err.count("\n") == 1
        assert f"cannot list the pins in {pins}/sha256 (" in result.err and "make it a directory" in result.err
    pins.unlink()
    (work / "moved").rename(pins)
    assert cache.json("prune")["pinned"] == 1 and cache.blobs().keys() == {first.layer.digest}


def test_a_dry_run_counts_as_the_run_does(mount, cache, registry, two):
    """Also what is both pinned and open."""
    first, _ = two
    m = mount()
    with open(m / "demo/app:v1/main.wasm", "rb", buffering=0):
        until(lambda: cache.path(first.layer).exists(), what="the blob being published")
        pin = cache.directory / "pins/sha256" / first.layer.hex
        pin.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        pin.touch()
        row = cache.blobs()[first.layer.digest]
        assert row["pinned"] and row["open"]
        promised, done = cache.json("prune", "--dry-run"), cache.json("prune")
        assert promised["pinned"] == done["pinned"] == 1
        assert {**promised, "dry_run": False} == done
