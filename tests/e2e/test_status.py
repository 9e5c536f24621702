# SPDX-License-Identifier: Apache-2.0
"""status: what it shows fits 80 columns whatever there is to show, and is what happens."""

import json
import os
import re
import signal
from errno import EACCES, EHOSTUNREACH

import pytest

import harness
import samples
from harness import NOBODY, SLOW, Child, identity, raises, read, run, until
from registry import behaviours as b

LONG = "a-registry-with-a-name-that-goes-on-and-on-{:02d}.{}.localhost"


@pytest.fixture
def image(registry):
    return samples.push_wasm(registry.store, "demo/app", "v1", size=20_000)


def on_terminal(m, *words, columns=80):
    return harness.on_terminal([m.binary, "status", *words], m.env, columns)


def fits(lines, columns=80):
    assert lines and all(len(line) <= columns for line in lines), "\n".join(lines)
    return "\n".join(lines)


def transfers(m):
    return m.status()["transfers"]


def test_transfers_under_way(mount, registry, image):
    big = samples.push_wasm(registry.store, "team/component", "v1", size=3_000_000, seed=7)
    rule = registry.on("GET", big.layer.digest, b.silent(after=1_000_000))
    m = mount()
    assert transfers(m) == []
    path = os.path.realpath(m / "team/component:v1") + "/main.wasm"
    readers = [Child(["cat", path]).waiting("open") for _ in range(2)]
    until(lambda: [t["bytes"] for t in transfers(m)] == [1_000_000], what="a third of it")
    until(lambda: transfers(m)[0]["rate"], what="time to know the rate")
    one = transfers(m)[0]
    size = len(big.layer.data)
    assert one == {"source": registry.address, "repository": "team/component", "digest": big.layer.digest, "size": size,
                   "bytes": 1_000_000, "rate": one["rate"], "waiting": 2, "queued": False}
    assert 0 < one["rate"] <= 1_000_000 / 0.2
    percent = f"{100 * 1_000_000 // size}%"
    for words in ([], [m]):
        text = fits(on_terminal(m, *words))
        row = re.search(rf"^  {big.layer.hex[:12]}  team/component  977 KiB of \S+ MiB  {percent}\s+\S+ .?i?B/s$", text, re.M)
        assert row, text
    rule.remove()
    for reader in readers:
        assert reader.ends(20)[0] == 0
    until(lambda: transfers(m) == [], what="its end")
    assert big.layer.hex[:12] not in fits(on_terminal(m)) and "TRANSFER" not in fits(on_terminal(m, m))


def test_a_transfer_that_resumes_counts_what_is_here(mount, registry, image):
    big = samples.push_wasm(registry.store, "team/component", "v1", size=3_000_000, seed=8)
    registry.on("GET", big.layer.digest, b.silent(after=2_000_000), times=1)
    rule = registry.on("GET", big.layer.digest, b.silent(after=1000), skip=1)
    m = mount()
    path = os.path.realpath(m / "team/component:v1") + "/main.wasm"
    reader = Child(["cat", path]).waiting("open")
    until(lambda: [t["bytes"] for t in transfers(m)] == [2_000_000], what="two thirds of it")
    m.kill_worker()
    m.log.wait("worker 2 serves")
    registry.wait_count(2, "GET", big.layer.digest)
    assert registry.requests("GET", big.layer.digest)[-1].headers.get("range") == f"bytes=2000000-{len(big.layer.data) - 1}"
    until(lambda: [t["bytes"] for t in transfers(m)] == [2_001_000], what="what is here counting again")
    rule.remove()
    assert reader.ends(20)[0] == 0


def test_many_hosts_with_long_names(mount, registry, image, registries, work):
    """Forty registries, one of which refuses with many words, two that bring something, on terminals of several widths."""
    talker = registries()
    talker.on(None, "", b.error(403, "DENIED", "the word of this registry is long " * 12))
    port = registry.address.split(":")[1]
    names = [f"http://{LONG.format(i, 'x' * 40)}:{port}" for i in range(38)]
    for i in (1, 2):
        samples.push_wasm(registry.store, "a-team/" + "with/a/path/" * 8 + f"x{i}", "v1", size=500_000 + i, seed=i)
    rule = registry.on("GET", "/blobs/", b.silent(after=100_000))
    m = mount(f"http://{talker.address}", f"http://{registry.address}", *names)
    with raises(EACCES):
        os.listdir(m / f"{talker.address}/demo/tags")
    readers = [Child(["cat", m / f"{registry.address}/a-team/{'with/a/path/' * 8}x{i}:v1/main.wasm"]).waiting("open")
               for i in (1, 2)]
    until(lambda: [t["bytes"] for t in transfers(m)] == [100_000, 100_000], what="two transfers")
    for columns in (80, 100, 200):
        text = fits(on_terminal(m, columns=columns), columns)
        assert text.startswith("MOUNTPOINT") and "1 of 40 not well" in text
        assert len(re.findall(r"^  .* unknown ", text, re.M)) >= 38 and re.search("^  127.* refused .*…", text, re.M)
        assert len(re.findall(r"^  [0-9a-f]{12}  .* of .*19%", text, re.M)) == 2
        fits(on_terminal(m, m, columns=columns), columns)
    assert max(map(len, on_terminal(m, columns=20))) == 80, "narrower than 80 is 80"
    whole = run([m.binary, "status"], env=m.env).ok().out
    assert max(map(len, whole.splitlines())) > 200 and str(m) in whole and "the word of this registry" in whole
    told = run([m.binary, "status"], env={**m.env, "COLUMNS": "90"}).ok().out
    fits(told.splitlines(), 90)
    assert max(map(len, told.splitlines())) > 80
    rule.remove()
    for reader in readers:
        assert reader.ends(20)[0] == 0


def test_several_mounts(mount, registry, image, work):
    (work / ("a-directory-of-a-long-name-" * 6)).mkdir()
    one, other = mount(), mount(None, "--offline")
    other.env = one.env
    read(one / "demo/app:v1/main.wasm")
    read(one / "demo/app:v1/main.wasm")
    text = run([one.binary, "status"], env={**one.env, "COLUMNS": "300"}).ok().out
    rows = [line for line in text.splitlines() if line.startswith(str(work))]
    assert re.match(rf"{one}\s+{registry.address}\s+ok\s+\S+/\S+\s+50%\s+1\s+{one.process.pid}$", rows[0]), text
    assert re.search(rf"^\n?{one}\n  HOST\s+STATE\s+RECEIVED\s+REASON\n  {registry.address}\s+ok\s+20 KiB\s+-$", text, re.M)
    fits(on_terminal(one))


def test_the_reason_and_the_generation(mount, registry, image):
    m = mount(None, "--timeout", "2s")
    registry.stop()
    with raises(EHOSTUNREACH):
        os.readlink(m / "demo/app:v1")
    text = fits(on_terminal(m))
    assert re.search(rf"^  {registry.address}\s+down\s+0 B\s+{registry.address}: GET", text, re.M)
    registry.start()
    m.kill_worker()
    m.log.wait("worker 2 serves")
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    text = run([m.binary, "status", m], env=m.env).ok().out
    assert f"worker    {m.worker()}, generation 2\n" in text
    assert "opens     0% from the cache: 0 hits, 1 misses\n" in text


def test_members_are_only_added(mount, registry, image):
    """Of `status --json`, what was promised before there were counters."""
    m = mount()
    read(m / "demo/app:v1/main.wasm")
    status = m.status()
    assert {"mountpoint", "sources", "all", "version", "started", "state", "pid", "worker_pid", "generation",
            "upgrade_program", "upgrade_error", "cache", "hosts", "passthrough", "offline", "parked", "fetches", "nodes",
            "open_files"} <= set(status)
    assert {"directory", "bytes", "limit", "floor", "blobs", "memory_bytes"} <= set(status["cache"])
    assert {"host", "origin", "mirror", "state", "until", "errno", "reason", "since", "requests",
            "bytes"} <= set(status["hosts"][0])
    assert status["pid"] == m.process.pid and status["started_ms"] > 1_000_000_000_000


def test_a_process_that_does_not_answer(mount, registry, binary):
    m = mount()
    worker = m.status()["worker_pid"]
    os.kill(worker, signal.SIGSTOP)
    try:
        results = [run([binary, *words], env=m.env) for words in (["status", m.path], ["why", m / "demo"],
                                                                  ["refresh", m / "demo"], ["upgrade", m.path])]
    finally:
        os.kill(worker, signal.SIGCONT)
    for result in results:
        assert result.code == 1 and result.out == "" and result.err.count("\n") == 1
        assert "process" in result.err and "does not answer; " in result.err
        assert f"if that lasts, end it: wasmocifs abort {m.path}\n" in result.err
    other = {**identity(NOBODY), "env": m.env}
    for words in (["why", m / "demo"], ["refresh", m / "demo"]):
        result = run([binary, *words], **other)
        assert result.code == 1 and "only they and root can ask" in result.err, result


def test_paths_that_are_no_utf_8(binary, registry, image, work):
    """JSON and the text of Prometheus cannot have them as they are; the mount is shown all the same. In a mount
    namespace of its own: others read /proc/self/mountinfo too."""
    base = os.fsencode(work)
    point, cache = os.fsdecode(base + b"/mnt\xff\xfe"), os.fsdecode(base + b"/cache\x80")
    os.mkdir(point)
    script = """binary=$1 point=$2 cache=$3 registry=$4 out=$5
        trap '"$binary" unmount "$point"' EXIT
        "$binary" mount --cache "$cache" --metrics-file "$out/file.prom" "$registry" "$point" || exit
        sha256sum < "$point/demo/app:v1/main.wasm" > "$out/sum"
        "$binary" status --json "$point" > "$out/status" && "$binary" status > "$out/table"
        "$binary" cache du --json --cache "$cache" > "$out/du"
        "$binary" upgrade "$point" > "$out/upgrade" """
    run(["unshare", "--mount", "sh", "-c", script, "sh", binary, point, cache, registry.address, work],
        env={**os.environ, "XDG_RUNTIME_DIR": str(work)}).ok()
    assert (work / "sum").read_text().startswith(image.layer.hex)
    found, = json.loads((work / "status").read_text())
    assert found["mountpoint"] == f"{work}/mnt??" and found["state"] == "serving"
    assert found["cache"]["directory"] == f"{work}/cache?"
    assert f"{work}/mnt??" in (work / "table").read_text()
    assert json.loads((work / "du").read_text())["directory"] == f"{work}/cache?"
    assert (work / "upgrade").read_text().startswith(f"the mount on {work}/mnt?? is served by")
