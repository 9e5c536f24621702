# SPDX-License-Identifier: Apache-2.0
"""The examples of --help, which are those of the man page too, as they stand: in a mount namespace where ghcr.io and the
others are a registry of ours, /mnt, the cache and the runtime directory are empty, and the program is installed."""

import re
import shutil

import pytest

import artifacts
import samples
from harness import SLOW, run

COMMANDS = ["mount", "unmount", "abort", "upgrade", "status", "pull", "cache", "refresh", "why"]
HOSTS = ["ghcr.io", "docker.io", "localhost:5000"]
# What has to be there already, before the examples of a command, or before one of them.
MOUNTED = "wasmocifs mount ghcr.io /mnt/oci"
BEFORE = {"unmount": [MOUNTED], "abort": [MOUNTED], "upgrade": [MOUNTED], "status": [MOUNTED], "refresh": [MOUNTED],
          "why": [MOUNTED, "cat /mnt/oci/org/hello:v1/main.wasm > /dev/null"],
          "cache": ["wasmocifs pull ghcr.io/org/app:v1"], "wasmocifs unmount --lazy /mnt/oci": [MOUNTED],
          "wasmocifs mount --all /mnt/oci": ["wasmocifs unmount /mnt/oci"],
          "mount -t wasmocifs ghcr.io /mnt/oci -o allow_other,cache=/srv/cache": ["wasmocifs unmount /mnt/oci"]}

SCENE = r"""
set -e
mount --make-rprivate /
# Copies of the mounts of tests beside this one would keep those alive.
umount --all --lazy --types fuse.wasmocifs
for directory in /mnt /srv /run /var/cache; do
    mount -t tmpfs -o mode=755 none $directory
done
mkdir /mnt/oci /mnt/team
# Nobody else is asked.
echo 127.0.0.1 localhost ghcr.io docker.io registry-1.docker.io > /srv/hosts
mount --bind /srv/hosts /etc/hosts
end() {
    for directory in /mnt/oci /mnt/team; do
        while mountpoint -q $directory && wasmocifs unmount $directory; do :; done
    done
}
trap end EXIT
"""


def examples(binary, command):
    said = run([binary, command, "--help"]).ok().out
    return re.findall(r"^  (\S.*)$", said.partition("\nExamples:\n")[2].partition("\n\n")[0], re.MULTILINE)


@pytest.fixture
def scene(binary, registry, work):
    """Runs a script there."""
    if run(["unshare", "--mount", "true"]).code:
        pytest.skip("unshare --mount does not work here")
    for repo in ("org/app", "org/hello", "team/app"):
        samples.push_wasm(registry.store, repo, "v1")
    image = artifacts.container({"hello.wasm": artifacts.wasm_component(1, 200)}, architecture="amd64", system="linux")
    arm = artifacts.container({"hello.wasm": artifacts.wasm_component(2, 200)}, architecture="arm64", system="linux")
    samples.push_index(registry.store, "library/alpine", "3", {("linux", "amd64"): image})
    samples.push_index(registry.store, "org/app", "v1", {("linux", "amd64"): image, ("linux", "arm64"): arm})
    tools = work / "bin"
    tools.mkdir()
    for name in ("wasmocifs", "mount.wasmocifs"):
        (tools / name).symlink_to(binary)
    mirrors = work / ".config/containers/registries.conf"
    mirrors.parent.mkdir(parents=True)
    mirrors.write_text("".join(f'[[registry]]\nlocation = "{host}"\n[[registry.mirror]]\nlocation = "{registry.address}"\n'
                               "insecure = true\n" for host in HOSTS))
    (work / "images.txt").write_text("# what this node runs\nghcr.io/org/hello:v1\n")

    def go(script):
        return run(["unshare", "--mount", "bash", "-c", SCENE + script], cwd=work, timeout=60 * SLOW,
                   env={"PATH": f"{tools}:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(work), "LC_ALL": "C.UTF-8"})

    return go


@pytest.mark.parametrize("command", COMMANDS)
def test_the_examples_of_help_go_as_written(binary, scene, command):
    lines = examples(binary, command)
    assert lines, "there are none"
    script = []
    for line in BEFORE.get(command, []) + [step for line in lines for step in BEFORE.get(line, []) + [line]]:
        if line.startswith("mount -t wasmocifs"):
            # mount(8) has its helpers' directory built in.
            line = line.replace("mount -t wasmocifs", "mount.wasmocifs", 1)
        script.append(f"echo {line!r} >&2; {line}")
    result = scene("set -eo pipefail\n" + "\n".join(script))
    assert result.code == 0, result


def test_every_command_is_here(binary):
    listed = run([binary, "--help"]).ok().out.partition("\nCommands:\n")[2].partition("\n\n")[0]
    assert sorted(re.findall(r"^  (\w+) ", listed, re.MULTILINE)) == sorted([*COMMANDS, "help"])


def test_the_examples_of_the_program(binary, scene, work):
    said = run([binary, "--help"]).ok().out.partition("\nExamples:\n")[2].partition("\n\n")[0]
    lines = re.findall(r"^  (\S.*)$", said, re.MULTILINE)
    assert len(lines) == 4 and lines[1].startswith("wasmtime run ")
    if shutil.which("wasmtime") is None:
        # The path is what the example is about; that it runs is shown where there is an engine.
        (work / "bin/wasmtime").write_text('#!/bin/sh\n[ "$1" = run ] && cat "$2" > /dev/null\n')
        (work / "bin/wasmtime").chmod(0o755)
    result = scene("set -e\n" + "\n".join(line.replace("bytecodealliance/hello", "org/hello") for line in lines))
    assert result.code == 0, result
