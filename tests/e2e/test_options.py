# SPDX-License-Identifier: Apache-2.0
"""Every option that a --help lists is given to the program by a test of what it does, in each way in which it can be given.

That the man page and the completions have them all is in test_pages.py.
"""

import ast
import os
import re
import select
import subprocess

import pytest

import pages
import samples
from conftest import ROOT
from harness import SLOW, read, run, until
from test_pages import EVERY, helps, options_of  # noqa: F401

HERE = ROOT / "tests" / "e2e"


# each is given by a test


def root_of(node):
    """cache.json(…): cache"""
    while isinstance(node, (ast.Attribute, ast.Call)):
        node = node.value if isinstance(node, ast.Attribute) else node.func
    return node.id if isinstance(node, ast.Name) else ""


def words_of(node):
    return {word for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)
            for word in one.value.split()}


def given(text, commands):
    """{(command, option)}: of each list and call of a test file, the commands that are named in it, or called as one of the
    fixtures that have a command's name, with what in it looks like an option, or in the parameters of the test."""
    found = set()

    def look(node, parameters):
        if isinstance(node, ast.FunctionDef):
            parameters = set().union(*map(words_of, node.decorator_list))
        if isinstance(node, (ast.List, ast.Tuple, ast.Call)):
            words = words_of(node)
            # What the test is run with is given where it is not written.
            handed = {one.id for one in ast.walk(node) if isinstance(one, ast.Name)} & parameters
            words |= parameters if handed else set()
            found.update((command, word.partition("=")[0]) for command in commands & (words | {root_of(node)})
                         for word in words if word.startswith("-"))
        for child in ast.iter_child_nodes(node):
            look(child, parameters)

    look(ast.parse(text), set())
    return found


def test_each_option_is_given_by_a_test(helps):  # noqa: F811
    found = set()
    for path in sorted(HERE.glob("test_*.py")):
        if path.name not in ("test_pages.py", "test_options.py"):
            found |= given(path.read_text(encoding="utf-8"), set(helps))
    wanted = {(command, name) for command, said in helps.items() for name in options_of(said)}
    here = {(command, name) for command in helps for name in EVERY} | {("mount", "--foreground")}
    assert here <= wanted
    assert sorted(wanted - here - found) == [], "no test gives them: one that sees what they do is missing"


@pytest.mark.parametrize("text, wanted", [
    ('run([binary, "pull", "--pin", reference])', {("pull", "--pin")}),
    ('mount(None, "--uid", "7")', {("mount", "--uid")}), ('cache.json("prune", "--keep=1M")', {("cache", "--keep")}),
    ('shell.run("wasmocifs status --json /mnt")', {("status", "--json")}),
    ('@pytest.mark.parametrize("way", ["-l", "--lazy"])\ndef test_it(mount, way):\n    run([binary, "mount", way])',
     {("mount", "-l"), ("mount", "--lazy")}),
    ('@pytest.mark.parametrize("way", ["-l", "--lazy"])\ndef test_it(mount, way):\n    run([binary, "mount"])', set()),
    ('run(["ls", "--all"])\nrun([binary, "mount", x])', set()), ('# mount --all\nrun(["x"])', set())])
def test_what_is_given_is_found(text, wanted):
    assert given(text, {"pull", "mount", "cache", "status"}) == wanted


# those that a page names in passing

# Of other programs, or of no command.
FOREIGN = {"--dir", "--version"}


def named_in_passing():
    """(where, words of code in a line of text or in a table)"""
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        text = pages.FENCE.sub("", path.read_text(encoding="utf-8"))
        for code in re.findall(r"`([^`]+)`", text):
            yield path.name, code.replace("\n", " ").split()


def test_what_pages_name_in_passing_exists(helps):  # noqa: F811
    options = {command: set(options_of(said)) for command, said in helps.items()}
    wrong, seen = [], 0
    for where, words in named_in_passing():
        known = {*FOREIGN, *set().union(*options.values())}
        if words[0] == "wasmocifs" and len(words) > 1:
            known = options.get(words[1], set())
            if words[1] not in {*options, "serve"}:
                wrong.append((where, words))
        elif not words[0].startswith("--"):
            continue
        seen += 1
        named = {re.split(r"[=\[]", word.strip("[],…"))[0] for word in words if word.startswith(("-", "[-"))}
        wrong += [(where, words)] if named - known else []
    assert seen > 100 and wrong == []


# --help


def test_help_has_three_ways(binary, helps):  # noqa: F811
    for command, said in helps.items():
        assert said.startswith(f"Usage: wasmocifs {command} ")
        for words in ([command, "-h"], ["help", command]):
            result = run([binary, *words]).ok()
            assert (result.out, result.err) == (said, ""), words
    said = run([binary, "--help"]).ok().out
    assert run([binary, "-h"]).ok().out == run([binary, "help"]).ok().out == said
    assert run([binary, "-V"]).ok().out == run([binary, "--version"]).ok().out
    assert {"-h", "--help", "-V", "--version"} == set(options_of(said.partition("\nOptions:\n")[2]))


# -o

# Done by the process that mounts: see below, and that the mount is shared.
BY_THE_KEEPER = {"--allow-other", "--no-passthrough", "--no-resend"}


@pytest.fixture
def values(work, authority, auth_file):
    """{option of mount: a value, or None for a flag}; all of them at once make a mount."""
    conf, packages, hosts = work / "some.conf", work / "packages.toml", work / "hosts"
    conf.write_text("log-level = error\n")
    packages.write_text('default_registry = "registry.invalid"\n')
    hosts.mkdir()
    return {"--allow-other": None, "--uid": "7", "--gid": "8", "--umask": "027", "--no-passthrough": None, "--no-resend": None,
            "--config": conf, "--cache": work / "a-cache", "--cache-size": "96M", "--verify": "stream", "--offline": None,
            "--tag-ttl": "5s", "--list-ttl": "7s", "--auth-file": auth_file({"registry.invalid": ("me", "secret")}),
            "--ca-file": authority.ca_file(work), "--hosts-dir": hosts, "--all": None, "--allow-host": "127.0.0.1",
            "--package-config": packages, "--timeout": "9s", "--log-level": "debug", "--log-format": "json",
            "--metrics-file": work / "oci.prom"}


def served_with(m):
    """What its worker was started with, without the number of a descriptor and the mountpoint."""
    with open(f"/proc/{m.worker()}/cmdline", "rb") as file:
        words = file.read().decode().split("\0")[2:-2]
    return [word for word in words if not word.startswith("--keeper-fd=")]


def joined(values, between):
    return ",".join(name[2:].replace("-", between) + ("" if value is None else f"={value}") for name, value in values.items())


def test_what_stands_behind_o_is_what_the_option_is(mount, values, helps):  # noqa: F811
    """All of them, with - and with _: then the mount is the same."""
    options = {name for name in options_of(helps["mount"]) if name.startswith("--")}
    assert options - {"--help", "--foreground", "--ready-fd"} == set(values)
    long = [word for name, value in values.items() for word in ([name] if value is None else [name, value])]
    seen = []
    for given_so in (long, ["-o", joined(values, "-")], ["-o", joined(values, "_")]):
        m = mount("127.0.0.1:1", *given_so)
        status = m.status()
        shared = "allow_other" if ",allow_other" in run(["findmnt", "-no", "FS-OPTIONS", m]).ok().out else ""
        seen.append((served_with(m), shared, os.lstat(m).st_uid, status["cache"]["limit"],
                     m.log.find('^{"time":.*"level":"info"') != []))
        assert values["--metrics-file"].exists()
        m.unmount()
    assert seen[0] == seen[1] == seen[2]
    handed_on = {word.partition("=")[0] for word in seen[0][0]}
    assert {*values} - handed_on == {"--config", *BY_THE_KEEPER}
    assert seen[0][1:] == ("allow_other", 7, 96 << 20, True)


@pytest.mark.parametrize("words", [["--no-resend"], ["-o", "no_resend"]], ids=" ".join)
def test_as_on_a_kernel_that_cannot_send_again(mount, registry, words):
    m = mount(None, *words)
    m.kill_worker()
    m.log.wait("mounting anew: this kernel cannot send again")
    m.log.wait("worker 2 serves")


@pytest.mark.parametrize("words", [["--no-passthrough"], ["-o", "no_passthrough"]], ids=" ".join)
def test_through_the_daemon(mount, registry, words):
    image = samples.push_wasm(registry.store, "demo/app", size=5 << 20)
    seen = []
    for given_so in ([], words):
        m = mount(None, *given_so)
        assert read(m / "demo/app:v1/main.wasm") == image.layer.data
        seen.append(m.status()["passthrough"])
        m.unmount()
    if not seen[0]:
        pytest.skip("no passthrough here")
    assert seen[1] is False


@pytest.mark.parametrize("words", [["--foreground", "--ready-fd", "FD"], ["-o", "foreground,ready_fd=FD"],
                                   ["-f", "--ready-fd=FD"]], ids=" ".join)
def test_staying_in_the_foreground(binary, registry, work, words):
    """Until the mount goes; the log goes to stderr, and a byte to whoever waits for the mount."""
    image = samples.push_wasm(registry.store, "demo/app")
    point = work / "mnt"
    for directory in (point, work / "run"):
        directory.mkdir(mode=0o700)
    env = {**os.environ, "XDG_RUNTIME_DIR": str(work / "run")}
    ours, theirs = os.pipe()
    words = [word.replace("FD", str(theirs)) for word in words]
    with subprocess.Popen([binary, "mount", *words, "--cache", work / "cache", registry.address, point], env=env,
                          stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, pass_fds=(theirs,)) as process:
        os.close(theirs)
        try:
            assert select.select([ours], [], [], 20 * SLOW)[0] and os.read(ours, 2) == b"\n"
            assert process.poll() is None
            assert read(point / "demo/app:v1/main.wasm") == image.layer.data
        finally:
            os.close(ours)
            run([binary, "unmount", point], env=env).ok()
        until(lambda: process.poll() is not None, what="its end")
        assert process.returncode == 0 and "is mounted on" in process.stderr.read()
