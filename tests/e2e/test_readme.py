# SPDX-License-Identifier: Apache-2.0
"""What the README says is so: its commands run as written, and print what it shows.

Blocks marked <!-- run: NAME --> are executed; those of one name in one shell, in their order. In a console block a line
with "$ " is a command and the lines after it are its output, in which … stands for anything.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess

import harness
import pytest
from conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^<!-- run: ([^\n]*) -->\n```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "the command ended with"


def blocks(name):
    found = [(language, text) for marked, language, text in BLOCK.findall(README) if marked == name]
    assert found, f"the README has no block marked {name}"
    return found


def transcript(name):
    """[(command, expected output)]"""
    steps = []
    for _, text in blocks(name):
        for line in text.splitlines():
            if line.startswith("$ "):
                steps.append((line[2:], []))
            else:
                steps[-1][1].append(line)
    return [(command, "".join(line + "\n" for line in output)) for command, output in steps]


def pattern(expected):
    """… alone in a line: any lines, or none; within a line: anything."""
    parts = re.split(r"(^…\n|…)", expected, flags=re.MULTILINE)
    return re.compile("".join({"…\n": r"(?s:.*)", "…": r"[^\n]*"}.get(part, re.escape(part)) for part in parts))


class Shell:
    """One bash that is given commands one at a time, as a person at a terminal does."""

    def __init__(self, directory, env):
        self.process = subprocess.Popen(["bash", "--norc", "--noprofile"], cwd=directory, env=env, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        start_new_session=True)

    def run(self, command):
        self.process.stdin.write(f"{command}\nprintf '\\n{MARK} %s\\n' $?\n")
        self.process.stdin.flush()
        lines = []
        for line in self.process.stdout:
            if line.startswith(MARK):
                said = "".join(lines)[:-1]
                return said if not said or said.endswith("\n") else said + "\n"
            lines.append(line)
        raise AssertionError(f"the shell ended at {command}:\n{''.join(lines)}")

    def close(self):
        """With all that was started in it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def free_address():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def shell(work):
    runtime = work / "run"
    runtime.mkdir(mode=0o700)
    env = {**os.environ, "XDG_RUNTIME_DIR": str(runtime), "LC_ALL": "C.UTF-8", "OTEL_TRACES_EXPORTER": "none"}
    for name in ("http_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        env.pop(name, None)
    with contextlib.closing(Shell(ROOT, env)) as made:
        yield made


def test_the_first_mount_goes_as_written(binary, work, shell):
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
    theirs = re.compile("|".join(map(re.escape, here)))  # in one pass: what was put in is not looked at again
    for step in transcript("first mount"):
        command, expected = (theirs.sub(lambda found: here[found[0]], text) for text in step)
        said = shell.run(command)
        assert pattern(expected).fullmatch(said), f"$ {command}\n{said}\nwhere the README has\n{expected}"
    assert str(work / "oci") not in harness.mountinfo()
    assert not (work / "registry").exists()


def quickstart(binary, work):
    if binary != (ROOT / "build" / "wasmocifs").resolve():
        pytest.skip("the quick start builds and runs build/wasmocifs, and another program is being tested")
    [(_, command)] = blocks("quickstart")
    return subprocess.Popen(["bash", "-c", "exec " + command.strip()], cwd=ROOT, text=True, stdin=subprocess.DEVNULL,
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
    named = set(re.findall(r"`((?:scripts|docs|base|cache|registry|fs|tests)/[\w./-]*)", README))
    named |= {target for target in re.findall(r"\]\(([^)]+)\)", README) if "://" not in target}
    missing = sorted(name for name in named if not (ROOT / name).exists())
    assert named and not missing


def test_every_option_that_it_names_exists(binary):
    helps = "".join(harness.run([binary, command, "--help"]).ok().out for command in ("mount", "unmount", "status", "pull", "cache"))
    section = README.partition("## Commands and options")[2].partition("\n## ")[0]
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", section))
    assert len(named) > 5
    assert sorted(name for name in named if name not in helps) == []
