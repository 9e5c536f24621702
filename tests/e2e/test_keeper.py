# SPDX-License-Identifier: Apache-2.0
"""The keeper of a mount: whom it ends and whom not, what it waits for, and which mount it goes on with."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess

import pytest

import artifacts
import samples
from artifacts import random_bytes, wasm_module
from harness import Child, Clock, NOBODY, SLOW, mountinfo, opens, read, run, until, workers_of
from registry import behaviours as b
from registry.auth import Basic
from test_archives import TAR, raw_image
from test_survival import next_worker
from test_upgrade import ask, manager, start_with_kept  # noqa: F401

KEPT = ["READY=1", "FDNAME=wasmocifs-fuse", "FDNAME=wasmocifs-nodes", "FDNAME=wasmocifs-handover"]


@pytest.fixture
def image(registry):
    return samples.push_wasm(registry.store, "demo/app", size=3 << 20)


def is_alive(pid):
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def test_children_of_the_shell_that_it_was(registry, image, binary, work):
    """`sleep 1000 & exec wasmocifs mount -f …`, with the log going through a process of the shell's: none of these
    is the keeper's to end."""
    (work / "mnt").mkdir()
    ready, theirs = os.pipe()
    script = (f"exec 2> >(cat > {work}/log); sleep 1000 & echo $! > {work}/pid; "
              f"exec {binary} mount -f --ready-fd {theirs} --cache {work}/cache {registry.address} {work}/mnt")
    shell = subprocess.Popen(["bash", "-c", script], pass_fds=(theirs,))
    os.close(theirs)
    sleeper = None
    try:
        assert os.read(ready, 1)
        sleeper = int((work / "pid").read_text())
        worker, = workers_of(shell.pid)
        os.kill(worker, signal.SIGKILL)
        assert read(work / "mnt/demo/app:v1/main.wasm") == image.layer.data
        until(lambda: "the worker died" in (work / "log").read_text(), what="the log")
        assert is_alive(sleeper)
    finally:
        os.close(ready)
        shell.terminate()
        assert shell.wait(20) == 0
        if sleeper:
            assert is_alive(sleeper)
            os.kill(sleeper, signal.SIGKILL)


def test_the_agent_of_a_helper_stays(mount, registry, work, image):
    """A helper that leaves an agent behind, as gpg does: it is no helper of a dead worker."""
    registry.auth = Basic("me", "secret")
    helper = work / "bin" / "docker-credential-agent"
    helper.parent.mkdir()
    helper.write_text("#!/bin/sh\ncat > /dev/null\n"
                      f"[ -e {work}/agent ] || setsid sh -c "
                      f"'sleep 1000 > /dev/null 2>&1 < /dev/null & echo $! > {work}/agent'\n"
                      'echo \'{"Username":"me","Secret":"secret"}\'\n')
    helper.chmod(0o755)
    auth = work / "auth.json"
    auth.write_text(json.dumps({"credHelpers": {registry.address: "agent"}}))
    auth.chmod(0o600)
    m = mount(None, "--auth-file", auth, env={"PATH": f"{helper.parent}:{os.environ['PATH']}"})
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    agent = int((work / "agent").read_text())
    try:
        # It is seen while the worker lives: the keeper looks whenever something happens.
        m.log.wait(" is mounted on ")
        run([m.binary, "upgrade", m], env=m.env).ok()
        m.kill_worker()
        next_worker(m, 2)
        assert is_alive(agent)
    finally:
        os.kill(agent, signal.SIGKILL)


HANGS = r"""
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
struct message { uint32_t version, kind, number, minor; int32_t pid; uint32_t flags; char text[4096]; };
int main(int argc, char **argv)
{
	int fd = -1;
	for (int i = 0; i < argc; i++)
		sscanf(argv[i], "--keeper-fd=%d", &fd);
	struct message m = {.version = 1, .kind = 1, .text = "x"};
	if (PREPARED) {
		send(fd, &m, sizeof(m), 0);
		recv(fd, &m, sizeof(m), 0);
	}
	for (;;)
		pause();
}
"""


def program_that_hangs(work, prepared):
    """A new version that does so before it is prepared, or when it is to serve."""
    (work / "hangs.c").write_text(HANGS)
    run(["cc", f"-DPREPARED={int(prepared)}", "-o", work / "hangs", work / "hangs.c"]).ok()
    return str(work / "hangs")


def test_a_worker_that_dies_during_an_upgrade(mount, image, binary, work):
    """The new program's worker is not waited for: the old program serves."""
    m = mount()
    assert ask(m, op="upgrade", path=program_that_hangs(work, False))["generation"] == 1
    m.log.wait("upgrading to")
    os.kill(m.status()["worker_pid"], signal.SIGKILL)
    with Clock() as took:
        assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert took.seconds < 5 * SLOW
    assert os.readlink(f"/proc/{next_worker(m, 1)['worker_pid']}/exe") == str(binary)


@pytest.mark.heavy
def test_a_new_program_that_hangs_when_it_is_to_serve(mount, image, work):
    m = mount()
    ask(m, op="upgrade", path=program_that_hangs(work, True))
    m.log.wait("upgrading to")
    reader = Child(["sha256sum", m / "demo/app:v1/main.wasm"])
    m.log.wait("the worker does not begin to serve; it is replaced", 40)
    assert reader.ends(20)[1].startswith(image.layer.hex)


def test_a_worker_that_is_told_to_end_alone(mount, image):
    """By whoever wants memory, say: the mount is the keeper's, and another worker follows."""
    m = mount()
    os.kill(m.worker(), signal.SIGTERM)
    assert read(m / "demo/app:v1/main.wasm") == image.layer.data
    assert next_worker(m, 1)["pid"] == m.pid()


def test_detached_and_on_an_old_kernel(mount, image, binary):
    """What the user has unmounted is not mounted again."""
    m = mount(None, "--no-resend")
    fd = os.open(m / "demo/app:v1/main.wasm", os.O_RDONLY)
    run([binary, "unmount", "--lazy", m], env=m.env).ok()
    m.kill_worker()
    m.wait_exit()
    assert not m.is_mounted()
    with contextlib.suppress(OSError):
        os.close(fd)


def restart(m, manager, args):  # noqa: F811
    m.process.send_signal(signal.SIGUSR2)
    assert m.wait_exit() == 0 and m.is_mounted()
    m.log.join()
    m.args = args
    return start_with_kept(m, manager)


def test_a_unit_that_is_restarted_with_another_source(mount, registry, registries, manager):  # noqa: F811
    other = registries()
    one = samples.push_wasm(registry.store, "demo/app", seed=1)
    two = samples.push_wasm(other.store, "demo/app", seed=2)
    m = mount(env=manager.env)
    manager.hear(KEPT)
    assert read(m / "demo/app/tags/v1/main.wasm") == one.layer.data
    restart(m, manager, [*m.args[:-2], other.address, m.args[-1]])
    assert read(m / "demo/app/tags/v1/main.wasm") == two.layer.data
    assert not opens(m / f"demo/app/manifests/sha256/{one.hex}/main.wasm")
    assert mountinfo()[str(m)][3] == other.address
    assert m.log.find("is not gone on with: its sources or options were others")


def test_a_unit_that_is_restarted_without_others(mount, registry, image, manager):  # noqa: F811
    m = mount(None, "--allow-other", env=manager.env)
    manager.hear(KEPT)
    restart(m, manager, [word for word in m.args if word != "--allow-other"])
    result = run(["cat", m / "demo/app:v1/manifest.json"], user=NOBODY, group=NOBODY, extra_groups=[])
    assert result.code != 0 and "Permission denied" in result.err


@pytest.mark.parametrize("what", ["member", "index"])
def test_what_an_open_file_is_read_from_stays(mount, registry, what):
    """The layer of an open member, and the blob of an open index.json, are not evicted after a kill either."""
    files = {"hello.wasm": wasm_module(1, 4000), "x": random_bytes(7, 700_000)}
    samples.put(registry.store, "demo/t", "v1", raw_image(artifacts.tar(files), media_type=TAR))
    for i in range(300):
        samples.push_wasm(registry.store, "demo/i", f"v{i}", seed=i)
    m = mount(None, "--cache-size", "16M", "--tag-ttl", "1s", "--list-ttl", "1s", "--timeout", "5s")
    path = m / {"member": "demo/t:v1/files/x", "index": "demo/i/index.json"}[what]
    whole = read(path)
    fd = os.open(path, os.O_RDONLY)
    try:
        m.kill_worker()
        next_worker(m, 1)
        samples.push_wasm(registry.store, "demo/i", "later", seed=999)
        for i in range(12):
            other = samples.push_wasm(registry.store, f"demo/other{i}", size=2 << 20, seed=2000 + i)
            assert read(m / f"demo/other{i}:v1/main.wasm") == other.layer.data
        pathlib.Path("/proc/sys/vm/drop_caches").write_text("1\n")
        registry.on("GET", "/blobs/", b.silent())
        assert os.pread(fd, 1 << 20, 0) == whole
    finally:
        os.close(fd)
