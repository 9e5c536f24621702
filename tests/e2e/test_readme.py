# SPDX-License-Identifier: Apache-2.0
"""What the README says is so: its commands run as written, and print what it shows (see pages.py)."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess

import harness
import pages
import pytest
from conftest import ROOT

README = pages.Page(ROOT / "README.md")


def free_address():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def test_the_first_mount_goes_as_written(binary, work):
    for needed in (ROOT / "build" / "hello.wasm", ROOT / "build" / "engine" / "complete"):
        if not needed.exists():
            pytest.skip(f"{needed.relative_to(ROOT)} is not there: scripts/quickstart and scripts/test make it")
    if shutil.which("docker-registry") is None:
        pytest.skip("docker-registry is not installed (Debian package docker-registry)")
    here = {
        "127.0.0.1:5000": free_address(),
        "/mnt/oci": str(work / "oci"),
        "/tmp/registry": str(work / "registry"),
        "/var/cache/wasmocifs": str(work / "cache"),
        "build/wasmocifs mount": f"{binary} mount --cache {work}/cache",
        "build/wasmocifs": str(binary),
    }
    with contextlib.closing(pages.Shell(ROOT, pages.environment(work / "run"), here)) as shell:
        shell.follow(README, "first mount")
    assert str(work / "oci") not in harness.mountinfo()
    assert not (work / "registry").exists()


def quickstart(binary, work):
    if binary != (ROOT / "build" / "wasmocifs").resolve():
        pytest.skip("the quick start builds and runs build/wasmocifs, and another program is being tested")
    [(command, _)] = README.steps("quickstart")
    return subprocess.Popen(["bash", "-c", "exec " + command], cwd=ROOT, text=True, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
                            env={**os.environ, "TMPDIR": str(work)})


def assert_nothing_left(work):
    assert not [point for point in harness.mountinfo() if point.startswith(str(work))]
    assert list(work.iterdir()) == []
    for entry in os.scandir("/proc"):
        with contextlib.suppress(OSError):
            if entry.name.isdigit():
                command = open(f"/proc/{entry.name}/cmdline", "rb").read()
                assert os.fsencode(str(work)) not in command, f"still running: {command}"


def test_the_quick_start_runs_a_component_and_leaves_nothing(binary, work):
    process = quickstart(binary, work)
    said, _ = process.communicate(timeout=harness.GUARD * 4)
    assert process.returncode == 0, said
    assert "\nHello! I came out of a registry\n" in said
    assert_nothing_left(work)


def test_the_quick_start_cleans_up_when_it_is_interrupted(binary, work):
    process = quickstart(binary, work)
    said = []
    for line in process.stdout:
        said.append(line)
        if "Looking around" in line:
            os.killpg(process.pid, signal.SIGINT)
            break
    rest, _ = process.communicate(timeout=harness.GUARD)
    assert process.returncode == 130, "".join(said) + rest
    assert_nothing_left(work)


def test_every_path_of_the_repository_that_it_names_exists():
    named = set(re.findall(r"`((?:scripts|docs|base|cache|registry|fs|tests)/[\w./-]*)", README.text))
    named |= {target for target in re.findall(r"\]\(([^)]+)\)", README.text) if "://" not in target}
    missing = sorted(name for name in named if not (ROOT / name).exists())
    assert named and not missing


def test_every_option_that_it_names_exists(binary):
    helps = "".join(harness.run([binary, command, "--help"]).ok().out for command in ("mount", "unmount", "status", "pull", "cache"))
    section = README.text.partition("## Commands and options")[2].partition("\n## ")[0]
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", section))
    assert len(named) > 5
    assert sorted(name for name in named if name not in helps) == []
