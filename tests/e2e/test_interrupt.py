# SPDX-License-Identifier: Apache-2.0
"""Which signals free a process that waits in the mount, and which do not (DESIGN, "The life of a read", 5)."""

import os
import pathlib
import shutil
import signal
import sys

import pytest

import samples
from harness import HERE, Child, read, run, until
from registry import behaviours as b

FREED = 2.0  # seconds: a look at least every 100 ms, and room for a busy machine
NOT_FREED = 0.4


@pytest.fixture
def cold(mount, registry):
    """A mount on which opening main.wasm hangs until the rule is removed."""
    image = samples.push_wasm(registry.store, "demo/app", "v1", size=300_000)
    rule = registry.on("GET", "/blobs/", b.silent())
    m = mount()
    os.stat(m / "demo/app:v1/main.wasm")
    m.cold, m.image, m.rule = m / "demo/app:v1/main.wasm", image, rule
    return m


def assert_still_reads(m, *children):
    m.rule.remove()
    for child in children:
        code, out, err = child.ends(20)
        assert code == 0, err
    assert read(m.cold) == m.image.layer.data


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL, signal.SIGHUP, signal.SIGQUIT,
                                    signal.SIGALRM, signal.SIGUSR1, signal.SIGPIPE], ids=lambda n: n.name)
def test_a_deadly_signal_frees_cat_at_once(cold, registry, number):
    cat = Child(["cat", cold.cold]).waiting("open")
    registry.wait_count(1, "GET", "/blobs/")
    cat.send(number)
    assert cat.ends(FREED)[0] == -number
    registry.wait_count(1, "GET", "/blobs/", state="gone")  # nobody waits: the transfer is cancelled
    assert_still_reads(cold)


def test_the_others_wait_on(cold, registry):
    cats = [Child(["cat", cold.cold]).waiting("open") for _ in range(4)]
    registry.wait_count(1, "GET", "/blobs/")
    until(lambda: cold.status()["parked"] == 4, what="all four waiting for it")
    cats[0].send(signal.SIGINT)
    cats[1].send(signal.SIGKILL)
    for cat in cats[:2]:
        cat.ends(FREED)
    assert registry.count("GET", "/blobs/", state="open") == 1, "two still want it"
    assert_still_reads(cold, *cats[2:])
    assert registry.count("GET", "/blobs/") == 1


@pytest.mark.parametrize("number", [signal.SIGURG, signal.SIGCHLD, signal.SIGWINCH], ids=lambda n: n.name)
def test_a_harmless_signal_does_not(cold, number):
    cat = Child(["cat", cold.cold]).waiting("open")
    for _ in range(20):
        cat.send(number)
    assert not cat.has_ended(NOT_FREED)
    assert_still_reads(cold, cat)


def test_stopped_and_continued(cold):
    cat = Child(["cat", cold.cold]).waiting("open")
    cat.send(signal.SIGSTOP)
    assert not cat.has_ended(NOT_FREED)
    cat.send(signal.SIGCONT)
    assert not cat.has_ended(NOT_FREED)
    assert_still_reads(cold, cat)


def test_killed_after_a_harmless_one(cold):
    """The kernel interrupts a request once only: SIGURG first, then SIGINT, must be seen all the same."""
    for first in (signal.SIGURG, signal.SIGSTOP):
        cat = Child(["cat", cold.cold]).waiting("open")
        cat.send(first)
        assert not cat.has_ended(NOT_FREED)
        cat.send(signal.SIGCONT)
        cat.send(signal.SIGINT)
        assert cat.ends(FREED)[0] == -signal.SIGINT
    assert_still_reads(cold)


def test_ignored_signals_do_not(cold):
    cat = Child(["sh", "-c", f"trap '' INT TERM HUP; exec cat {cold.cold}"]).waiting("open")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        cat.send(number)
    assert not cat.has_ended(NOT_FREED)
    cat.send(signal.SIGQUIT)
    assert cat.ends(FREED)[0] == -signal.SIGQUIT
    assert_still_reads(cold)


@pytest.mark.parametrize("number, frees", [(signal.SIGINT, True), (signal.SIGTERM, True), (signal.SIGHUP, True),
                                           (signal.SIGALRM, True), (signal.SIGUSR1, False), (signal.SIGWINCH, False)],
                         ids=lambda v: getattr(v, "name", ""))
def test_caught_signals(cold, number, frees):
    """A handler of one that asks to end gets its turn; one of another kind waits for the open."""
    program = ("import os, signal, sys\n"
               f"def handler(*_): print('handled', flush=True); os._exit(7)\n"
               f"signal.signal({int(number)}, handler)\n"
               f"os.open({str(cold.cold)!r}, os.O_RDONLY)\n")
    child = Child([sys.executable, "-c", program]).waiting("open")
    child.send(number)
    if frees:
        assert child.ends(FREED)[:2] == (7, "handled\n")
        assert_still_reads(cold)
    else:
        assert not child.has_ended(NOT_FREED)
        cold.rule.remove()
        assert child.ends(20)[1] in ("handled\n", "")


def test_blocked_signals_do_not(cold):
    program = ("import os, signal\n"
               "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])\n"
               f"os.open({str(cold.cold)!r}, os.O_RDONLY)\n")
    child = Child([sys.executable, "-c", program]).waiting("open")
    child.send(signal.SIGINT)
    assert not child.has_ended(NOT_FREED)
    assert_still_reads(cold, child)


@pytest.mark.parametrize("what", ["readlink", "ls", "stat"])
def test_waits_other_than_open(mount, registry, what):
    image = samples.push_wasm(registry.store, "demo/app", "v1")
    rule = registry.on(None, "", b.silent())
    m = mount()
    command = {"readlink": ["readlink", m / "demo/app:v1"], "ls": ["ls", m / "demo/app/tags"],
               "stat": ["cat", m / f"demo/app/manifests/sha256/{image.hex}/manifest.json"]}[what]
    child = Child(command).waiting()
    registry.wait_count(1)
    child.send(signal.SIGINT)
    assert child.ends(FREED)[0] == -signal.SIGINT
    rule.remove()
    assert run(command).ok()


def test_a_pipeline_by_its_group(cold):
    """What Ctrl-C in a terminal does: SIGINT to the whole foreground group."""
    shell = Child(["sh", "-c", f"cat {cold.cold} | sha256sum"], start_new_session=True)
    until(lambda: any("fuse" in stack(pid) for pid in group(shell.pid)), what="cat waiting")
    os.killpg(shell.pid, signal.SIGINT)
    assert shell.ends(FREED)[0] in (-signal.SIGINT, 130)
    until(lambda: not group(shell.pid), 5, "the group ending")
    assert_still_reads(cold)


def group(leader):
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(entry.name)) == leader and (entry / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z":
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def stack(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stack").read_text()
    except OSError:
        return ""


@pytest.fixture(scope="session")
def sigurg(tmp_path_factory):
    """The Go program, built once."""
    if shutil.which("go") is None:
        pytest.skip("go is not installed")
    directory = tmp_path_factory.mktemp("sigurg")
    program = directory / "sigurg"
    env = {**os.environ, "GOFLAGS": "-mod=mod", "GO111MODULE": "off", "CGO_ENABLED": "0", "GOTOOLCHAIN": "local",
           "GOCACHE": os.environ.get("GOCACHE", "/tmp/wasmocifs-e2e-gocache")}
    run(["go", "build", "-o", program, HERE / "sigurg.go"], timeout=240, env=env).ok()
    return program


def test_a_go_program_reads_while_sigurg_rains(cold, sigurg, registry):
    child = Child([sigurg, cold.cold])
    assert child.process.stdout.readline() == b"raining\n"
    child.waiting()
    registry.wait_count(1, "GET", "/blobs/")
    assert not child.has_ended(NOT_FREED)
    cold.rule.remove()
    code, out, err = child.ends(20)
    assert (code, out.strip()) == (0, cold.image.layer.hex), err
    assert registry.count("GET", "/blobs/") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda n: n.name)
def test_a_go_program_dies_at_once(cold, sigurg, number):
    child = Child([sigurg, cold.cold])
    assert child.process.stdout.readline() == b"raining\n"
    child.waiting()
    child.send(number)
    assert child.ends(FREED)[0] in (-number, 2)
    assert_still_reads(cold)


def test_a_killed_reader_leaves_no_zombie_request(cold, registry):
    for _ in range(10):
        cat = Child(["cat", cold.cold]).waiting("open")
        cat.send(signal.SIGKILL)
        cat.ends(FREED)
    last = Child(["cat", cold.cold]).waiting("open")
    assert not last.has_ended(NOT_FREED)
    assert_still_reads(cold, last)
