# SPDX-License-Identifier: Apache-2.0
"""`wasmocifs pull`: the cache filled ahead of time, once, whoever else is at it."""

import json
import os
import pty
import resource
import signal
import subprocess
import threading
from errno import EHOSTUNREACH

import pytest

import artifacts
import samples
from harness import NOBODY, SCALE, account_held, identity, partials, raises, read, run, scaled, until
from registry import behaviours as b

ALONE = ("--timeout", "30s")  # an option of its own: no mount is asked


class Pull:
    """The command on one cache, as the user of the mounts of this test."""

    def __init__(self, binary, work):
        self.binary, self.cache = binary, work / "cache"
        self.env = {**os.environ, "XDG_RUNTIME_DIR": str(work / "m0/run"), "HOME": str(work)}
        self.env.pop("REGISTRY_AUTH_FILE", None)

    def words(self, *words):
        return [str(word) for word in (self.binary, "pull", "--cache", self.cache, *words)]

    def __call__(self, *words, code=0, stdin=None):
        result = run(self.words(*words), env=self.env, stdin=stdin)
        assert result.code == code, result
        return result

    def start(self, *words):
        return subprocess.Popen(self.words(*words), env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)

    def rows(self):
        out = run([self.binary, "cache", "ls", "--json", "--cache", self.cache]).ok().out
        return {row["digest"]: row for row in json.loads(out)}

    def path(self, digest):
        return self.cache / "blobs" / digest.replace(":", "/")

    def has(self, *things):
        return all(self.path(digest).exists() for thing in things for digest in contents(thing))


def contents(artifact):
    """The digests of all that it is made of."""
    found = [artifact.digest, *(blob.digest for blob in artifact.blobs())]
    for child in artifact.children:
        found += contents(child)
    return found


@pytest.fixture
def pull(binary, work):
    return Pull(binary, work)


@pytest.fixture
def image(registry):
    return samples.push_wasm(registry.store, "demo/app", "v1", size=3 << 20)


def sent(registry, what):
    """Bytes of bodies that were sent for such paths."""
    return sum(r.sent for r in registry.requests("GET", what))


def test_one_reference(pull, registry, image):
    reference = f"{registry.address}/demo/app:v1"
    result = pull(reference)
    assert pull.has(image) and not partials(pull.cache)
    lines = result.out.splitlines()
    assert f"{reference}  {image.digest}" in lines and result.err == ""
    for blob in image.blobs():
        assert any(line.startswith(blob.digest[:19]) and not line.endswith("was here") for line in lines)
    assert lines[-1].startswith("pulled 1 of 1: 3.0 MiB received in 3 blobs, 0 B in 0 blobs were here")
    assert pull.path(image.layer.digest).read_bytes() == image.layer.data
    assert oct(pull.cache.stat().st_mode)[-3:] == "700"
    result = pull(reference)
    assert "0 B received in 0 blobs, 3.0 MiB in 3 blobs were here" in result.out
    assert registry.count("GET", "/blobs/") == len(image.blobs()) and registry.count("GET", "/manifests/") == 1


def fifty(registry):
    """Fifty tags in ten repositories: each layer lies in several, some manifests too."""
    layers = [samples.Blob(samples.noise(scaled(300_000), 1000 + i), "application/vnd.oci.image.layer.v1.tar") for i in range(12)]
    images = {}
    for i in range(50):
        n = i % 40  # the last ten are others under another name
        image = artifacts.image(samples.Blob(json.dumps({"n": n % 20}).encode(), "application/vnd.oci.image.config.v1+json"),
                                [layers[n % 12], layers[(n * 5 + 1) % 12], layers[(n + 7) % 12]], annotations={"n": str(n)})
        samples.put(registry.store, f"team/app{i % 10}", f"v{i}", image)
        images[f"{registry.address}/team/app{i % 10}:v{i}"] = image
    return images


def once(registry, images):
    """Nothing was sent twice, and nothing in parts that overlap."""
    sizes = {}
    for image in images.values():
        sizes[image.digest] = len(image.data)
        sizes.update({blob.digest: len(blob.data) for blob in image.blobs()})
    for digest, size in sizes.items():
        assert sent(registry, digest) == size, digest
    assert sent(registry, "/v2/team/") == sum(sizes.values())


@pytest.mark.parametrize("by", ["alone", "mount"])
def test_fifty_references_and_no_byte_twice(pull, mount, registry, by, work):
    images = fifty(registry)
    (work / "list").write_text("# all of them\n\n" + "".join(f"  {name}   # one\n" for name in images))
    if by == "mount":
        mount()
    result = pull("--from", work / "list")
    assert "pulled 50 of 50: " in result.out and result.err == ""
    assert pull.has(*images.values())
    once(registry, images)
    asked = registry.count("GET")
    assert "pulled 50 of 50: 0 B received" in pull("--from", "-", stdin="\ufeff" + "\r\n".join(images)).out
    assert registry.count("GET") == asked


def test_two_at_once(pull, registry):
    images = fifty(registry)
    registry.on("GET", "/blobs/", b.latency(0.02))
    both = [pull.start(*images) for _ in range(2)]
    for process in both:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, (out, err)
        assert "pulled 50 of 50" in out
    assert pull.has(*images.values())
    blobs = {blob.digest: len(blob.data) for image in images.values() for blob in image.blobs()}
    for digest, size in blobs.items():
        assert sent(registry, digest) == size, "one of them waits for the other"


def test_killed_and_run_again(pull, registry):
    images = [samples.push_wasm(registry.store, "demo/app", f"v{i}", size=2 << 20, seed=i) for i in range(4)]
    names = [f"{registry.address}/demo/app:v{i}" for i in range(4)]
    stops = [1 << 20, 1 << 20, 512 << 10, 0]
    for image, stop in zip(images, stops):
        if stop:
            registry.on("GET", f"/blobs/{image.layer.digest}", b.silent(after=stop), times=1)
    process = pull.start(*names)
    held = [image for image, stop in zip(images, stops) if stop]
    until(lambda: pull.has(images[3]), what="what nobody holds up")
    until(lambda: sum(p.stat().st_size for p in partials(pull.cache)) >= sum(stops) - (64 << 10), what="bytes in partials")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    left = {p.stat().st_size for p in partials(pull.cache)}
    result = pull(*names)
    assert "pulled 4 of 4" in result.out and pull.has(*images)
    for image in held:
        requests = registry.requests("GET", f"/blobs/{image.layer.digest}")
        start = int(requests[-1].headers.get("range").split("=")[1].split("-")[0])
        assert len(requests) == 2 and start in left and start > 0
        assert requests[-1].sent == len(image.layer.data) - start
    assert registry.count("GET", f"/blobs/{images[3].layer.digest}") == 1
    assert registry.count("GET", "/manifests/") == len(images), "nor is a manifest fetched again"


def test_beside_a_process_that_was_stopped_inside_the_account(pull, image, registry):
    """A pull comes anew each time: it could never learn that nobody gives that lock back."""
    pull(f"{registry.address}/demo/app:v1")
    image = samples.push_wasm(registry.store, "demo/other", "v1", size=20_000)
    with account_held(pull.cache):
        pull("--timeout", "3s", f"{registry.address}/demo/other:v1")
    assert pull.has(image)


@pytest.mark.parametrize("by", ["alone", "mount"])
def test_beside_a_reader_of_the_same_blob(pull, mount, registry, image, by):
    rule = registry.on("GET", f"/blobs/{image.layer.digest}", b.silent(after=1 << 20), times=1)
    m = mount()
    got = []
    reader = threading.Thread(target=lambda: got.append(read(m / "demo/app:v1/main.wasm")))
    reader.start()
    registry.wait_count(1, "GET", f"/blobs/{image.layer.digest}")
    process = pull.start(*(ALONE if by == "alone" else ()), f"{registry.address}/demo/app:v1")
    until(lambda: pull.path(image.config.digest).exists(), what="the pull being under way")
    rule.behaviour.release()
    out, err = process.communicate(timeout=60)
    reader.join()
    assert process.returncode == 0 and got == [image.layer.data], (out, err)
    assert registry.count("GET", f"/blobs/{image.layer.digest}") == 1


@pytest.mark.parametrize("option", [[], ["--no-passthrough"]], ids=["passthrough", "ordinary"])
def test_what_was_pulled_needs_no_registry(pull, mount, registry, image, option):
    layer = artifacts.container({"hello.wasm": samples.wasm(3000, 5)})
    samples.put(registry.store, "demo/tar", "v1", layer)
    pull(f"{registry.address}/demo/app:v1", f"{registry.address}/demo/tar:v1")
    registry.stop()
    m = mount(None, "--timeout", "2s", *option)
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert read(m / "demo/tar:v1/files/hello.wasm") == samples.wasm(3000, 5)
    assert read(m / f"demo/app@{image.digest}/manifest.json") == image.data
    with raises(EHOSTUNREACH):
        os.readlink(m / "demo/app:v2")


def test_a_mount_does_it_for_what_it_serves(pull, mount, registry, registries, image):
    """And the rest is done here, into the same cache."""
    other = registries()
    foreign = samples.push_wasm(other.store, "demo/other", "v1", seed=8)
    m = mount()
    pull(f"{registry.address}/demo/app:v1", f"{other.address}/demo/other:v1")
    assert pull.has(image, foreign)
    assert m.status()["hosts"][0]["bytes"] >= len(image.layer.data), "it was the mount that received it"
    asked = registry.count()
    assert read(m / f"demo/app/manifests/sha256/{image.hex}/main.wasm") == image.layer.data
    assert registry.count() == asked
    another = samples.push_wasm(registry.store, "demo/app", "v2", seed=9)
    before = m.status()["hosts"][0]["bytes"]
    pull(*ALONE, f"{registry.address}/demo/app:v2")
    assert pull.has(another) and m.status()["hosts"][0]["bytes"] == before, "asked to do it alone"


def test_a_mount_that_asks_nobody_is_not_asked(pull, mount, registry, image):
    m = mount(None, "--offline")
    pull(f"{registry.address}/demo/app:v1")
    assert pull.has(image) and m.status()["hosts"][0]["requests"] == 0
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data


def test_a_mount_with_another_cache_is_not_asked(pull, mount, registry, image, work):
    m = mount(cache=work / "other")
    pull(f"{registry.address}/demo/app:v1")
    assert pull.has(image) and m.status()["hosts"][0]["requests"] == 0


def test_the_mount_dies_under_it(pull, mount, registry, image):
    rule = registry.on("GET", f"/blobs/{image.layer.digest}", b.silent(after=1 << 20), times=1)
    m = mount()
    process = pull.start(f"{registry.address}/demo/app:v1")
    until(lambda: sum(p.stat().st_size for p in partials(pull.cache)) > 900 << 10, what="bytes in the partial")
    m.kill_worker()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and "pulled 1 of 1" in out, (out, err)
    assert pull.has(image)
    rule.behaviour.release()
    requests = registry.requests("GET", f"/blobs/{image.layer.digest}")
    assert len(requests) == 2 and "range" in requests[1].headers


def test_many_tags_of_one_image(pull, mount, registry, image):
    """More than one question to the mount holds, and one manifest."""
    names = [f"{registry.address}/demo/app:a-tag-of-some-length-number-{i}" for i in range(400)]
    for name in names:
        registry.store.tag("demo/app", name.rsplit(":", 1)[1], image.digest)
    m = mount()
    assert "pulled 400 of 400" in pull(*names).out and pull.has(image)
    assert registry.count("GET", "/manifests/") == 1 and registry.count("GET", "/blobs/") == len(image.blobs())
    assert m.status()["hosts"][0]["requests"] >= 400


def test_one_whose_caller_is_gone_is_given_up(pull, mount, registry, image):
    registry.on("GET", f"/blobs/{image.layer.digest}", b.trickle(20_000, 0.1), times=1)
    m = mount()
    process = pull.start(f"{registry.address}/demo/app:v1")
    until(lambda: m.status()["fetches"] > 0, what="the pull being under way")
    process.kill()
    process.communicate()
    until(lambda: m.status()["fetches"] == 0, timeout=40, what="it being given up")
    m.unmount()


PLATFORMS = {("linux", "amd64"): 1, ("linux", "arm64"): 2, ("wasi", "wasm"): 3}


@pytest.fixture
def index(registry):
    children = {platform: artifacts.cncf(samples.wasm(4096, seed)) for platform, seed in PLATFORMS.items()}
    return samples.push_index(registry.store, "demo/multi", "v1", children), children


@pytest.mark.parametrize("platform, expected", [
    (None, [("wasi", "wasm")]), ("linux/arm64", [("linux", "arm64")]), ("wasi/wasm", [("wasi", "wasm")]),
    ("all", list(PLATFORMS))], ids=str)
def test_platforms(pull, registry, index, platform, expected):
    top, children = index
    result = pull(*(["--platform", platform] if platform else []), f"{registry.address}/demo/multi:v1")
    assert pull.path(top.digest).exists() and f"  {top.digest}" in result.out
    for key, child in children.items():
        assert pull.has(child) == (key in expected), key


def test_a_platform_that_is_none(pull, registry, index):
    result = pull("--platform", "plan9/mips", f"{registry.address}/demo/multi:v1", code=1)
    assert "there is nothing for --platform plan9/mips; there is linux/amd64, linux/arm64, wasi/wasm" in result.err
    assert result.err.count("\n") == 1


def test_one_that_fails_among_others(pull, registry, image):
    """All are tried; each failure is one line that says what to do."""
    broken = samples.push_wasm(registry.store, "demo/broken", "v1", seed=20)
    denied = samples.push_wasm(registry.store, "demo/denied", "v1", seed=21)
    registry.on("GET", f"/blobs/{broken.layer.digest}", b.flip(10))
    registry.on(None, "/v2/demo/denied/", b.error(403, "DENIED", "pay first"))
    names = [f"{registry.address}/demo/{name}" for name in ("app:v1", "app:no", "broken:v1", "denied:v1", f"app@{denied.digest}")]
    result = pull(*names, code=1)
    assert pull.has(image) and "pulled 1 of 5" in result.out
    lines = result.err.splitlines()
    assert len(lines) == 4 and all(line.startswith("wasmocifs: pull: ") for line in lines)
    for name, word, hint in ((names[1], "no", "check the spelling"), (names[2], broken.layer.digest, "nothing of it was kept"),
                             (names[3], "pay first", "log in"), (names[4], denied.digest, "check the spelling")):
        line = next(line for line in lines if f" {name}: " in line)
        assert word in line and hint in line, line
    assert not pull.path(broken.layer.digest).exists()


@pytest.mark.parametrize("real", [False, True], ids=["", "docker-registry"])
def test_the_digest_of_a_blob(pull, request, real):
    """It is said to be that, whether the registry said so, or it is cached as what it is; one that is nowhere is not."""
    registry = request.getfixturevalue("docker_registry" if real else "registry")
    image = artifacts.cncf(artifacts.wasm_module(2, 300_000))
    if real:
        artifacts.push(f"http://{registry.address}", "demo/app", "v1", image)
    else:
        samples.put(registry.store, "demo/app", "v1", image)
    for cached in (False, True):
        for blob in image.blobs():
            assert pull.has() and pull.path(blob.digest).exists() == cached
            result = pull(f"{registry.address}/demo/app@{blob.digest}", code=1)
            assert result.err.count("\n") == 1 and f"{blob.digest} of demo/app is a blob, no manifest; give the digest" in result.err
            assert "cache ls" in result.err and "the registry" not in result.err
        result = pull(f"{registry.address}/demo/app@sha256:{'0' * 64}", code=1)
        assert "check the spelling" in result.err and "blob" not in result.err
        pull(f"{registry.address}/demo/app:v1")
    broken = samples.Blob(b'{"layers": [', image.media_type)
    if not real:
        registry.store.add_manifest("demo/app", broken.data)
        assert "is a blob" in pull(f"{registry.address}/demo/app@{broken.digest}", code=1).err
        registry.store.tag("demo/app", "broken", broken.digest)
        assert "does not speak as it should" in pull(f"{registry.address}/demo/app:broken", code=1).err


def test_a_registry_that_is_down(pull, registry, image):
    registry.stop()
    result = pull("--timeout", "2s", f"{registry.address}/demo/app:v1", f"{registry.address}/demo/app:v2", code=1)
    assert result.err.count("\n") == 2 and "pulled 0 of 2" in result.out
    assert registry.address in result.err and "see whether the host answers" in result.err


def test_a_cache_that_is_too_small(pull, registry):
    for i in range(6):
        samples.push_wasm(registry.store, "demo/app", f"v{i}", size=1 << 20, seed=i)
    names = [f"{registry.address}/demo/app:v{i}" for i in range(6)]
    result = pull("--cache-size", "4M", *names, code=1)
    assert 1 <= result.err.count("\n") <= 5 and "--cache-size" in result.err
    total = sum(row["disk"] for row in pull.rows().values())
    assert total <= 4 << 20


def test_a_cache_that_pins_fill(pull, registry):
    """The disk is fine: what is said names what stands in the way."""
    for i in range(4):
        samples.push_wasm(registry.store, "demo/app", f"v{i}", size=1 << 20, seed=i)
    pull("--cache-size", "4M", "--pin", *(f"{registry.address}/demo/app:v{i}" for i in range(3)))
    result = pull("--cache-size", "4M", f"{registry.address}/demo/app:v3", code=1)
    assert "what is pinned or in use there leaves no room; give the cache a larger --cache-size" in result.err, result
    assert result.err.count("\n") == 1 and sum(row["pinned"] for row in pull.rows().values()) == 9


def test_pins_that_may_not_be_looked_at_are_not_absent(binary, registry, image, work):
    home = work / "home"
    home.mkdir()
    os.chown(home, NOBODY, NOBODY)
    env = {"PATH": os.environ["PATH"], "HOME": str(home)}
    theirs = {"env": env, **identity(NOBODY)}
    run([binary, "pull", "--pin", f"{registry.address}/demo/app:v1"], **theirs).ok()
    pins = home / ".cache/wasmocifs/pins"
    pins.chmod(0)
    run([binary, "cache", "prune"], **theirs)
    pins.chmod(0o700)
    rows = json.loads(run([binary, "cache", "ls", "--json"], **theirs).ok().out)
    assert {row["digest"] for row in rows if row["pinned"]} == set(contents(image))


def test_pins(pull, mount, binary, registry, image):
    other = samples.push_wasm(registry.store, "demo/app", "v2", size=1 << 20, seed=2)
    pull("--pin", f"{registry.address}/demo/app:v1")
    pull(f"{registry.address}/demo/app:v2")
    rows = pull.rows()
    assert {digest for digest, row in rows.items() if row["pinned"]} == set(contents(image))
    m = mount(None, "--cache-size", "6M")
    more = [samples.push_wasm(registry.store, "demo/more", f"v{i}", size=1 << 20, seed=50 + i) for i in range(6)]
    for i, one in enumerate(more):
        assert read(m / f"demo/more:v{i}/main.wasm") == one.layer.data
    until(lambda: not pull.path(other.layer.digest).exists(), what="the unpinned being evicted")
    assert pull.has(image), "the mount evicts around it"
    m.unmount()
    run([binary, "cache", "prune", "--cache", pull.cache]).ok()
    assert pull.rows().keys() == set(contents(image))
    reference = f"{registry.address}/demo/app:v1"
    unpinned = json.loads(run([binary, "cache", "rm", "--unpin", "--json", "--cache", pull.cache, reference]).ok().out)
    assert set(unpinned["removed"]) == set(contents(image)) and pull.has(image)
    run([binary, "cache", "prune", "--cache", pull.cache]).ok()
    assert pull.rows() == {}


def test_what_two_pins_share_stays_pinned(pull, binary, registry):
    shared = samples.noise(5000, 7)
    images = [samples.push_files(registry.store, "demo/files", f"v{i}", files={"s": shared, "o": samples.noise(5000, i)})
              for i in range(2)]
    names = [f"{registry.address}/demo/files:v{i}" for i in range(2)]
    pull("--pin", *names)
    run([binary, "cache", "rm", "--unpin", "--cache", pull.cache, names[0]]).ok()
    assert {digest for digest, row in pull.rows().items() if row["pinned"]} == set(contents(images[1]))


def test_a_pull_that_fails_leaves_the_pins_of_others(pull, registry):
    shared = samples.noise(5000, 7)
    images = [samples.push_files(registry.store, "demo/files", f"v{i}", files={"s": shared, "o": samples.noise(5000, i)})
              for i in range(2)]
    names = [f"{registry.address}/demo/files:v{i}" for i in range(2)]
    pull("--pin", names[0])
    own = next(blob for blob in images[1].blobs() if blob.data == samples.noise(5000, 1))
    registry.on("GET", f"/blobs/{own.digest}", b.error(403, "DENIED", "no"))
    pull("--pin", names[1], code=1)
    assert {digest for digest, row in pull.rows().items() if row["pinned"]} == set(contents(images[0]))


def test_a_pull_that_fails_pins_nothing(pull, registry, image):
    registry.on("GET", f"/blobs/{image.layer.digest}", b.error(403, "DENIED", "no"))
    pull("--pin", f"{registry.address}/demo/app:v1", code=1)
    assert not any(row["pinned"] for row in pull.rows().values()) and not list(pull.cache.glob("pins/*/*"))


def test_on_a_terminal(pull, registry, image):
    """Progress with rate and time left, which is gone at the end."""
    registry.on("GET", f"/blobs/{image.layer.digest}", b.trickle(200_000, 0.1), times=1)
    main, theirs = pty.openpty()
    process = subprocess.Popen(pull.words(f"{registry.address}/demo/app:v1"), env=pull.env, stdin=subprocess.DEVNULL,
                               stdout=theirs, stderr=subprocess.PIPE)
    os.close(theirs)
    seen = b""
    while True:
        try:
            part = os.read(main, 1 << 16)
        except OSError:
            break
        if not part:
            break
        seen += part
    os.close(main)
    assert process.wait(60) == 0 and process.stderr.read() == b""
    process.stderr.close()
    text = seen.decode()
    assert "MiB/s" in text or "KiB/s" in text
    assert " left" in text and "%" in text and "\x1b[J" in text
    assert image.layer.digest[:19] in text and "pulled 1 of 1" in text.splitlines()[-1]
    for line in text.replace("\x1b[J", "\n").splitlines():
        assert len(line) <= 140


@pytest.mark.parametrize("words, said", [
    ([], "what?"), (["alpine"], "no registry is named"), (["org/app:v1"], "which registry?"), ([""], "empty"),
    (["a.b/UPPER"], "lower-case"), (["a.b/c@sha256:12"], "digest"), (["a.b/c@md5:0123456789abcdef0123456789abcdef"], "verified"),
    (["a.b/c:v1", "--platform", "linux"], "--platform"), (["a.b/c:v1", "--platform", "linux//arm"], "--platform"),
    (["a.b/c:v1", "--platform", ""], "--platform"), (["--from", "/nonexistent"], "No such file"), (["--from", "/"], "directory"),
    (["--from", "/dev/null"], "no reference"), (["--from"], "needs a value"), (["a.b/c:v1", "--cache-size", "lots"], "size"),
    (["a.b/c:v1", "--timeout", "1ms"], "short"), (["a.b/c:v1", "--auth-file", "/nonexistent"], "No such file"),
    (["a.b/c:v1", "--frobnicate"], "unknown option"), (["oci:/srv/layout"], "HOST"), (["https://me:hunter2@a.b/c:v1"], "HOST")],
    ids=str)
def test_bad_input(binary, words, said):
    result = run([binary, "pull", *words])
    assert result.code == 2 and result.out == "" and result.err.count("\n") == 1, result
    assert result.err.startswith("wasmocifs: pull: ") and said in result.err and "hunter2" not in result.err


@pytest.mark.parametrize("text, said", [
    ("a.b/c:v1 a.b/d:v1\n", "standard input:1: one reference"), ("# x\na.b/c:v1\n\nnothing\n", "standard input:4: 'nothing'"),
    ("a.b/c:v1" + "x" * 3000, "standard input:1: the line is too long"), ("a.b/c:v1\0x\n", "standard input:1:"),
    ("# nothing\n\n", "no reference in standard input")], ids=["two", "line", "long", "nul", "comments"])
def test_bad_lists(binary, text, said):
    result = run([binary, "pull", "--from", "-"], stdin=text)
    assert result.code == 2 and result.out == "" and result.err.count("\n") == 1 and said in result.err, result


def test_an_ordinary_user_and_the_default_directory(binary, mount, registry, image, work):
    home = work / "home"
    home.mkdir()
    os.chown(home, NOBODY, NOBODY)
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "XDG_RUNTIME_DIR": str(work / "m0/run")}
    reference = f"{registry.address}/demo/app:v1"
    run([binary, "pull", reference], env=env, **identity(NOBODY)).ok()
    rows = json.loads(run([binary, "cache", "ls", "--json"], env=env, **identity(NOBODY)).ok().out)
    assert {row["digest"] for row in rows} == set(contents(image))
    cache = home / ".cache/wasmocifs"
    assert cache.stat().st_uid == NOBODY and cache.stat().st_mode & 0o777 == 0o700
    another = samples.push_wasm(registry.store, "demo/app", "v2", seed=4)
    m = mount(cache=cache, user=NOBODY)
    run([binary, "pull", f"{registry.address}/demo/app:v2"], env=env, **identity(NOBODY)).ok()
    status = json.loads(run([binary, "status", "--json", m.path], env=env, **identity(NOBODY)).ok().out)[0]
    assert status["hosts"][0]["bytes"] >= len(another.layer.data), "by the mount of that user"


def test_any_mount_that_serves_it_does_it(binary, mount, registry, image, work):
    """Where no cache is asked for by name: what a mount serves is for its readers."""
    env = {"PATH": os.environ["PATH"], "HOME": str(work), "XDG_RUNTIME_DIR": str(work / "m0/run"),
           "XDG_CACHE_HOME": str(work / "home/usual")}
    reference = f"{registry.address}/demo/app:v1"
    home = work / "home"
    home.mkdir(mode=0o700)
    os.chown(home, NOBODY, NOBODY)
    m = mount(cache=home / "other", user=NOBODY)
    assert "pulled 1 of 1" in run([binary, "pull", reference], env=env, **identity(NOBODY)).ok().out
    assert m.status()["hosts"][0]["bytes"] >= len(image.layer.data) and not (home / "usual").exists()
    asked = len(registry.requests())
    by_name = ["--cache", home / "usual/wasmocifs"]
    run([binary, "pull", *by_name, reference], env=env, **identity(NOBODY)).ok()
    rows = json.loads(run([binary, "cache", "ls", "--json", *by_name], env=env, **identity(NOBODY)).ok().out)
    assert {row["digest"] for row in rows} == set(contents(image)) and len(registry.requests()) > asked


def test_credentials_and_a_private_registry(pull, registry, image, auth_file, work):
    from registry.auth import Basic
    registry.auth = Basic("me", "secret")
    reference = f"{registry.address}/demo/app:v1"
    assert "log in" in pull(reference, code=1).err
    pull("--auth-file", auth_file({registry.address: ("me", "secret")}), reference)
    assert pull.has(image)


def test_a_private_certificate(pull, registries, authority, work):
    registry = registries(tls=authority.context())
    image = samples.push_wasm(registry.store, "demo/app", "v1")
    reference = f"{registry.address}/demo/app:v1"
    assert "certificate" in pull(reference, code=1).err and not pull.has(image)
    pull("--ca-file", authority.ca_file(work), reference)
    assert pull.has(image)


def test_a_mirror(pull, registry, image, work):
    """That of a directory like containerd's; the registry itself cannot be asked."""
    directory = work / "hosts/registry.invalid"
    directory.mkdir(parents=True)
    (directory / "hosts.toml").write_text(f'[host."{registry.url}"]\ncapabilities = ["pull", "resolve"]\n')
    reference = "registry.invalid/demo/app:v1"
    pull(reference, code=1)
    pull("--hosts-dir", directory.parent, reference)
    assert pull.has(image)


@pytest.mark.skipif(SCALE < 1, reason="a sanitizer's runtime needs more address space than such a limit leaves")
def test_a_line_without_end_takes_no_memory(binary):
    """What is too long is said as soon as it is, of however much follows."""
    limit = 256 << 20

    def small():
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

    result = run([binary, "pull", "--from", "/dev/zero"], preexec_fn=small)
    assert result.code == 2 and result.out == ""
    assert result.err == "wasmocifs: pull: /dev/zero:1: the line is too long\n"


def test_a_pin_that_cannot_be_made_is_no_pin(pull, registry, image):
    """A directory with something in it has the name of the pin."""
    planted = pull.cache / "pins/sha256" / image.layer.hex
    pull.cache.mkdir(mode=0o700)
    planted.mkdir(parents=True)
    (planted / "x").touch()
    result = pull("--pin", f"{registry.address}/demo/app:v1", code=1)
    assert f"cannot pin in {pull.cache}/pins/sha256" in result.err and "pulled 0 of 1" in result.out
    assert not any(row["pinned"] for row in pull.rows().values())
