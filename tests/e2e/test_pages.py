# SPDX-License-Identifier: Apache-2.0
"""What is made of the tables of commands and options: man pages, completions, the example of a configuration file.

--help is what the program says of itself; the rest is held against it, and so whatever is added is looked at too.
"""

import contextlib
import os
import pty
import re
import select
import shutil
import subprocess
import termios

import pytest

from harness import SLOW, run, umount2

MAN = ["wasmocifs.1", "mount.wasmocifs.8", "wasmocifs.conf.5"]
EVERY = {"--help", "-h"}


@pytest.fixture(scope="module")
def pages(binary):
    directory = binary.parent / "fs/cli/pages"
    if not (directory / "wasmocifs.1").exists():
        pytest.skip(f"{binary} does not lie in its build directory, where the pages are")
    return directory


@pytest.fixture(scope="module")
def helps(binary):
    """{command: what its --help says}"""
    text = run([binary, "--help"]).ok().out
    names = re.findall(r"^  ([a-z]+) +", text.split("Commands:")[1].split("Options:")[0], re.MULTILINE)
    assert len(names) > 5 and names[-1] == "help"
    return {name: run([binary, name, "--help"]).ok().out for name in names[:-1]}


def options_of(text):
    """{option: what its value is called, or nothing}"""
    found = {}
    for line in text.splitlines():
        if match := re.match(r"  (?:(-\w)(?:, )?|    )(--[a-z-]+)?(?: (\S+))?(?:  |$)", line):
            if match[1] or match[2]:
                found.update({name: match[3] or "" for name in match.groups()[:2] if name})
    return found


def need(program, package=None):
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed (Debian: {package or program})")


def rendered(page, width=100):
    need("man", "man-db")
    env = {**os.environ, "MANWIDTH": str(width), "LC_ALL": "C.UTF-8", "MAN_KEEP_FORMATTING": "", "MANPAGER": "cat"}
    text = run(["man", "--no-hyphenation", "--no-justification", "-l", page], env=env).ok().out
    return re.sub(r".\x08", "", text)


# ---- man pages ----


@pytest.mark.parametrize("page", MAN)
def test_pages_are_clean(pages, page):
    for words in (["mandoc", "-Tlint"], ["groff", "-ww", "-man", "-Tutf8"],
                  ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"]):
        need(words[0], {"groff": "groff-base", "man": "man-db"}.get(words[0]))
        result = run([*words, pages / page], env={**os.environ, "LC_ALL": "C.UTF-8", "MANROFFSEQ": ""}).ok()
        assert result.err == "" and (words[0] != "mandoc" or result.out == ""), result


def test_every_command_and_option_is_in_the_page(pages, helps):
    text = rendered(pages / "wasmocifs.1")
    for command, said in helps.items():
        section = re.search(rf"^   wasmocifs {command}.*?(?=^   wasmocifs|^[A-Z])", text, re.MULTILINE | re.DOTALL)
        assert section, f"{command} has no section"
        options = options_of(said)
        assert EVERY <= set(options)
        for name, value in options.items():
            # Running text may begin a line with another's name.
            where = re.findall(rf"^       (?:-\w, )?{name}(?:,| |$).*", section[0], re.MULTILINE)
            assert any(value.replace("…", "...") in line for line in where), (command, name, where)
        summary = said.split("\n\n")[1]
        assert " ".join(summary.split()).replace("`", "")[:60] in " ".join(section[0].split())


def test_what_o_and_the_file_take(pages, helps):
    mount = rendered(pages / "mount.wasmocifs.8")
    conf = rendered(pages / "wasmocifs.conf.5")
    for name, value in options_of(helps["mount"]).items():
        if not name.startswith("--") or name == "--help":
            continue
        written = re.escape(name[2:] + (f"={value}" if value else ""))
        assert re.search(rf"^       {written}(  |$)", mount, re.MULTILINE), f"{name} is not in mount.wasmocifs(8)"
        written = re.escape(name[2:] + (f" = {value}" if value else ""))
        is_there = re.search(rf"^       {written}(  |$)", conf, re.MULTILINE)
        assert bool(is_there) == (name not in ("--foreground", "--ready-fd", "--config")), name


def test_the_page_knows_every_errno(pages):
    text = rendered(pages / "wasmocifs.1")
    readme = (pages.parents[3] / "README.md")
    for name in set(re.findall(r"\bE[A-Z]{2,}\b", readme.read_text(encoding="utf-8") if readme.exists() else "")):
        assert re.search(rf"^       {name}\b", text, re.MULTILINE), f"{name} is not among the ERRORS"


# ---- the example ----


def test_the_example_changes_nothing(pages, helps, mount, work):
    """And its lines are right: with those that have a value put in, a mount comes up."""
    text = (pages / "wasmocifs.conf").read_text(encoding="utf-8")
    assert all(not line or line.startswith("#") for line in text.splitlines())
    settings = dict(re.findall(r"^#([a-z][a-z-]*) = (.*)$", text, re.MULTILINE))
    assert {f"--{name}" for name in settings} == {name for name in options_of(helps["mount"]) if name.startswith("--")
                                                  } - {"--help", "--foreground", "--ready-fd", "--config"}
    assert settings["tag-ttl"] == "30s" and settings["log-level"] == "info" and settings["offline"] == "false"
    file = work / "wasmocifs.conf"
    file.write_text("".join(f"{name} = {value}\n" for name, value in settings.items()
                            if not value[0].isupper() and (value[0] != "/" or os.path.exists(value))))
    file.chmod(0o644)
    mount("127.0.0.1:1", "--config", file)


# ---- completions ----


class Shell:
    """An interactive shell at a terminal. A key of it puts in all completions of a word; what the words of the line are
    then is printed by a function that has the program's name."""

    def __init__(self, words, key, setup, directory):
        self.key = key
        primary, secondary = pty.openpty()
        mode = termios.tcgetattr(secondary)
        mode[3] &= ~termios.ECHO
        termios.tcsetattr(secondary, termios.TCSANOW, mode)
        env = {"PATH": os.environ["PATH"], "TERM": "dumb", "HOME": str(directory), "LC_ALL": "C.UTF-8", "HISTFILE": ""}
        self.process = subprocess.Popen(words, stdin=secondary, stdout=secondary, stderr=secondary, cwd=directory, env=env,
                                        start_new_session=True)
        os.close(secondary)
        self.fd = primary
        self.count = 0
        self.run("\n".join(setup))

    def run(self, line):
        """What is printed, up to a mark of ours."""
        self.count += 1
        mark = f"mark:{self.count}:"
        os.write(self.fd, f"{line}\nprintf 'mark:%s:\\n' {self.count}\n".encode())
        said = b""
        while mark.encode() not in said:
            assert select.select([self.fd], [], [], 20 * SLOW)[0], f"the shell says only {said.decode(errors='replace')}"
            said += os.read(self.fd, 65536)
        return said.decode(errors="replace").replace("\r", "")

    def complete(self, line):
        """The words that the last one of the line becomes."""
        said = self.run(line + self.key)
        words = re.findall(r"^<(.*)>$", said, re.MULTILINE)
        return words[len(line.split()) - 2 + line.endswith(" "):]

    def close(self):
        with contextlib.suppress(OSError):
            self.process.kill()
        self.process.wait()
        os.close(self.fd)


PRINT = "wasmocifs() { printf '<%s>\\n' \"$@\"; }"
STARTS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "\x1b*",
             ["PS1=", "bind 'set enable-bracketed-paste off'", "source {}/wasmocifs", PRINT]),
    "zsh": (["zsh", "-f", "-i"], "\x18*",
            ["PS1= PS2= PROMPT_EOL_MARK=", "unsetopt zle_bracketed_paste prompt_cr prompt_sp", "fpath=({} $fpath)",
             "autoload -U compinit", "compinit -u -D",
             "zle -C every complete-word _generic", "bindkey '^X*' every",
             "zstyle ':completion:every:*' completer _all_matches _complete",
             "zstyle ':completion:every:*' insert true", "zstyle ':completion:*' accept-exact false", PRINT])}


@pytest.fixture(params=["bash", "zsh", "fish"])
def complete(request, pages, work):
    """complete("wasmocifs mo"): the completions of its last word, in that shell."""
    shell = request.param
    need(shell)
    run([shell, "-n", pages / {"bash": "wasmocifs", "zsh": "_wasmocifs", "fish": "wasmocifs.fish"}[shell]]).ok()
    directory = work / "home"
    directory.mkdir()
    for name in ("certs.pem", "cache.json"):
        (directory / name).touch()
    (directory / "certs").mkdir()
    if shell == "fish":
        def ask(line):
            script = f"source {pages}/wasmocifs.fish; complete -C {re.escape(line)}"
            result = run(["fish", "--no-config", "-c", script], cwd=directory,
                         env={**os.environ, "HOME": str(directory)}).ok()
            assert result.err == ""
            return [candidate.split("\t")[0] for candidate in result.out.splitlines()]
        yield ask
        return
    words, key, setup = STARTS[shell]
    made = Shell(words, key, [line.format(pages) if "{}" in line else line for line in setup], directory)
    try:
        yield made.complete
    finally:
        made.close()


def test_every_option_is_completed(complete, helps):
    assert set(complete("wasmocifs ")) >= set(helps) | {"help"}
    assert complete("wasmocifs mo") == ["mount"]
    assert set(helps) <= set(complete("wasmocifs help "))
    for command, said in helps.items():
        wanted = {name for name in options_of(said) if name.startswith("--")}
        assert {name.rstrip("=") for name in complete(f"wasmocifs {command} --")} == wanted
        letters = {name for name in options_of(said) if not name.startswith("--")}
        assert letters <= set(complete(f"wasmocifs {command} -"))


def test_options_that_go_with_some_words_only(complete, helps, binary):
    """As `--unpin` of `cache rm`: wherever the first operand stands, those that the program refuses there are not offered."""
    options = {name: value for name, value in options_of(helps["cache"]).items() if name.startswith("--")}
    values = {"DIR": "/nowhere", "SIZE": "1G", "TIME": "1h", "FILE": "/dev/null", "": None}
    for word in ("ls", "du", "verify", "prune", "rm"):
        taken = set()
        for name, value in options.items():
            said = run([binary, "cache", word, name, *filter(None, [values[value]])]).err
            if not re.search(r": --.* goe?s? with ", said):
                taken.add(name)
        assert {"--cache", "--json", "--help"} <= taken and ("--unpin" in taken) == (word == "rm")
        for line in (f"wasmocifs cache {word} --", f"wasmocifs cache --json {word} --"):
            assert {name.rstrip("=") for name in complete(line)} - {"--json"} == taken - {"--json"}, line


def test_a_new_option_needs_no_word(complete, helps):
    """The end of a name that only one has."""
    for name in (name for name in options_of(helps["mount"]) if name.startswith("--")):
        found = [one.rstrip("=") for one in complete(f"wasmocifs mount {name[:-1]}")]
        assert name in found and all(one.startswith(name[:-1]) for one in found), found


def test_values(complete, helps):
    options = options_of(helps["mount"])
    assert complete("wasmocifs mount --log-level w") == ["warning"]
    assert set(complete("wasmocifs mount --log-format ")) == {"text", "json"}
    assert {name for name in options if name.endswith("-file")} >= {"--auth-file", "--ca-file"}
    for name, value in options.items():
        found = {one.rstrip("/") for one in complete(f"wasmocifs mount {name} c")} if name.startswith("--") else set()
        if value in ("FILE", "DIR"):
            assert found == ({"certs.pem", "cache.json", "certs"} if value == "FILE" else {"certs"}), name
        elif value:
            assert not found & {"certs.pem", "certs"}, f"{name} takes no file"


def test_words_behind_o(complete, helps):
    wanted = {name[2:] for name in options_of(helps["mount"]) if name.startswith("--")} - {"help"}
    found = {re.split("[=[]", one.rpartition(",")[2])[0] for one in complete("wasmocifs mount -o offline,l")}
    assert found == {name for name in wanted if name.startswith("l")}


def test_words_behind_a_value(complete, request):
    """A value is no end of the list."""
    for before in ("cache=certs", "all,cache=certs,tag-ttl=5s"):
        found = complete(f"wasmocifs mount -o {before},offl")
        assert [one.rpartition(",")[2] for one in found] == ["offline"], found
    if request.node.callspec.params["complete"] != "fish":  # where a value that -o has is anybody's guess
        assert [one.rpartition("=")[2] for one in complete("wasmocifs mount -o cache=certs,log-level=w")] == ["warning"]


def test_one_thing_to_do_with_the_cache(complete):
    assert complete("wasmocifs cache ver") == ["verify"]
    assert complete("wasmocifs cache --json ver") == ["verify"]
    for line in ("ls ver", "ls --json ver", "rm ver"):
        assert complete(f"wasmocifs cache {line}") in ([], ["ver"]), line


def test_operands(complete, mount):
    """Mountpoints of ours where there must be one, whatever their name; directories and files elsewhere."""
    m = mount("127.0.0.1:1")
    other = m.path.parent / "with space"
    other.mkdir()
    run(["mount", "--bind", m.path, other]).ok()
    try:
        for command in ("unmount", "status", "upgrade", "abort"):
            found = {one.replace("\\", "") for one in complete(f"wasmocifs {command} {m.path.parent}")}
            assert {one.rstrip("/") for one in found} == {str(m.path), str(other)}
    finally:
        assert umount2(other, 0) == 0
    assert [one.rstrip("/") for one in complete("wasmocifs mount ghcr.io cer")] == ["certs"]
    assert set(one.rstrip("/") for one in complete("wasmocifs why cer")) == {"certs", "certs.pem"}
