# SPDX-License-Identifier: Apache-2.0
"""The examples of --help and of the man pages, as they stand, on a machine where ghcr.io and the others are a registry of
ours (see machine.py)."""

import re

import manual
import pytest

from harness import run
from machine import PLACEHOLDERS, machine  # noqa: F401

COMMANDS = ["mount", "unmount", "abort", "upgrade", "status", "pull", "cache", "refresh", "why"]
# What has to be there already, before the examples of a command, or before one of them.
MOUNTED = "wasmocifs mount ghcr.io /mnt/oci"
BEFORE = {"unmount": [MOUNTED], "abort": [MOUNTED], "upgrade": [MOUNTED], "status": [MOUNTED], "refresh": [MOUNTED],
          "why": [MOUNTED, "cat /mnt/oci/org/hello:v1/main.wasm > /dev/null"],
          "cache": ["wasmocifs pull ghcr.io/org/app:v1"], "wasmocifs unmount --lazy /mnt/oci": [MOUNTED],
          "wasmocifs mount --all /mnt/oci": ["wasmocifs unmount /mnt/oci"],
          "mount -t wasmocifs ghcr.io /mnt/oci -o allow_other,cache=/srv/cache": ["wasmocifs unmount /mnt/oci"]}
# Displays of the man pages that are no command: what has them.
ELSEWHERE = {"option = value\n": "the form of a line, explained"}


def examples(binary, command):
    said = run([binary, *([command] if command else []), "--help"]).ok().out
    return re.findall(r"^  (\S.*)$", said.partition("\nExamples:\n")[2].partition("\n\n")[0], re.MULTILINE)


@pytest.fixture
def displays(binary):
    if not (binary.parent / "fs/cli/pages").exists():
        pytest.skip(f"{binary} does not lie in its build directory, where the pages are")
    return manual.displays(binary.parent)


def follow(machine, lines):  # noqa: F811
    return machine.run("set -eo pipefail\n" + "\n".join(f"echo {line!r} >&2; {line}" for line in lines)).ok()


@pytest.mark.parametrize("command", COMMANDS)
def test_the_examples_of_help_go_as_written(binary, machine, command):  # noqa: F811
    lines = examples(binary, command)
    assert lines, "there are none"
    follow(machine, BEFORE.get(command, []) + [step for line in lines for step in BEFORE.get(line, []) + [line]])


def test_every_command_is_here(binary):
    listed = run([binary, "--help"]).ok().out.partition("\nCommands:\n")[2].partition("\n\n")[0]
    assert sorted(re.findall(r"^  (\w+) ", listed, re.MULTILINE)) == sorted([*COMMANDS, "help"])


def test_the_examples_of_the_program(binary, machine):  # noqa: F811
    lines = examples(binary, None)
    assert len(lines) == 4 and lines[1].startswith("wasmtime run ")
    follow(machine, [line.replace("bytecodealliance/hello", "org/hello") for line in lines])


# the man pages


def test_what_the_man_pages_show_is_tried(binary, displays):
    """Each display is an example of --help, one of the tests below has it, or test_fstab.py or test_package.py."""
    helps = {"".join(f"{line}\n" for line in examples(binary, command)) for command in COMMANDS}
    shown = [text for _, section, text in displays if section != "EXAMPLES"]
    assert helps <= set(shown)
    assert set(shown) - helps == set(ELSEWHERE)
    kinds = [kind(name, text) for name, section, text in displays if section == "EXAMPLES"]
    assert sorted(kinds) == ["commands", "conf", "fstab", "fstab", "unit"]


def kind(name, text):
    if all(manual.is_fstab(line) for line in text.splitlines()):
        return "fstab"
    if name == "wasmocifs.conf.5":
        return "conf"
    return "unit" if "systemctl" in text else "commands"


def of_kind(displays, wanted):
    [found] = [text for name, section, text in displays if section == "EXAMPLES" and kind(name, text) == wanted]
    return found


def test_the_commands_of_the_man_page(machine, displays):  # noqa: F811
    text = of_kind(displays, "commands")
    for word, example in PLACEHOLDERS.items():
        assert word in text
        text = text.replace(word, example)
    follow(machine, text.splitlines())


def test_the_configuration_of_the_man_page(machine, displays, work):  # noqa: F811
    """As the file that --config names: test_package.py has it where the system's is."""
    file = work / "some.conf"
    file.write_text(of_kind(displays, "conf"))
    said = follow(machine, [
        f"wasmocifs mount --config {file} ghcr.io /mnt/oci",
        "setpriv --reuid=nobody --regid=nogroup --clear-groups cat /mnt/oci/org/hello:v1/main.wasm > /dev/null",
        "wasmocifs status --json /mnt/oci | jq -r '.[].cache | .directory, .limit'"])
    assert said.out == f"/srv/wasmocifs\n{200 << 30}\n"
