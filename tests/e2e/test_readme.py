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
from machine import PLACEHOLDERS, machine  # noqa: F401

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


@pytest.mark.parametrize("name", ["at a glance", "every registry", "metrics file"])
def test_what_names_the_world_goes_as_written(machine, name):  # noqa: F811
    with machine.shell(ROOT, PLACEHOLDERS) as shell:
        shell.run("mkdir -p /var/lib/prometheus/node-exporter")
        shell.follow(README, name)
        assert "fuse.wasmocifs" in shell.must("findmnt --noheadings --output FSTYPE /mnt/oci")
        if name == "metrics file":
            assert "\nwasmocifs_mount_up" in shell.must("cat /var/lib/prometheus/node-exporter/oci.prom")


def is_the_build_of_the_checkout(binary):
    if binary != (ROOT / "build" / "wasmocifs").resolve():
        pytest.skip("this builds build/wasmocifs, and another program is being tested")


def test_it_is_built_and_installed_as_written(binary, machine):  # noqa: F811
    """In copies: of build/, where there is little left to do, and of what apt and the installation write."""
    is_the_build_of_the_checkout(binary)
    [(command, _)] = README.steps("from source")
    with machine.shell(ROOT, {}) as shell:
        packages = command.replace("\\\n", " ").splitlines()[0].split()[2:]
        known = shell.must(f". scripts/lib.sh; package_installed() {{ :; }}; echo ${{build_packages[*]}}").split()
        assert set(packages) | {"libc6-dev"} == set(known)
        missing = shell.must(f". scripts/lib.sh; for name in {' '.join(packages)}\n"
                             "do package_installed $name || echo $name; done")
        if missing:
            pytest.skip(f"not installed: {missing}")
        # What is new in the archive since is not what this is about.
        shell.must("echo 'APT::Get::Upgrade \"false\";' > /etc/apt/apt.conf.d/99as-installed\n"
                   "mkdir -p /var/cache/apt/archives/partial /srv/build /srv/build.work\n"
                   "mount -t overlay -o lowerdir=build,upperdir=/srv/build,workdir=/srv/build.work none build")
        shell.follow(README, "from source")
        assert shell.must("/usr/local/bin/wasmocifs --version") == harness.run([binary, "--version"]).out
        shell.must("cd /usr/local && ls sbin/mount.wasmocifs share/man/man8/mount.wasmocifs.8 > /dev/null")


def quickstart(binary, work):
    is_the_build_of_the_checkout(binary)
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


def test_the_gate_names_its_steps():
    said = harness.run([ROOT / "scripts/check", "--help"]).ok().out
    steps = re.search(r"^steps=\((.*)\)$", harness.read(ROOT / "scripts/check").decode(), re.MULTILINE)[1].split()
    assert "`scripts/check --help` names its steps" in README.text.replace("\n", " ")
    assert len(steps) > 5 and set(steps) <= set(re.findall(r"^  (\w+) ", said, re.MULTILINE))


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
