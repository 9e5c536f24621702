# SPDX-License-Identifier: Apache-2.0
"""Pages whose examples are executed.

A fenced block has a mark in the line before it:

    <!-- run: NAME -->                      its commands run as written, and print what it shows
    <!-- run: NAME; needs TOOL, TOOL -->    the same, where these programs are installed
    <!-- taken by test_X: NAME -->          test_X.py has what it does, as the page has it: `taken("NAME")`
    <!-- not run: REASON -->                it is shown only

The blocks of one name run in one shell, in their order. In a console block a line with "$ " is a command, lines with "> "
continue it, and what follows is its output, in which … stands for anything; in a block of another language the whole is
one command, which must succeed, and its output does not matter. A block that is indented in place of fenced has no mark.
"""

import contextlib
import os
import pathlib
import re
import signal
import subprocess

import harness

ROOT = pathlib.Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^(?:<!-- ([^\n]*) -->\n)?```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"^(?: {4}|\t|\s*(?:```|~~~))")
END = "the command ended with"
STATUS = "they ended with"


class Block:
    def __init__(self, line, mark, language, text):
        self.line = line
        self.language = language
        self.text = text
        found = re.fullmatch(r"run: ([^;]+?)(?:; needs (.+))?", mark)
        self.name = found[1] if found else None
        self.needs = found[2].split(", ") if found and found[2] else []
        reason = re.fullmatch(r"not run: (\S.+)", mark)
        self.reason = reason[1] if reason else None
        taken = re.fullmatch(r"taken by (\w+(?:, \w+)*): (\S.*)", mark)
        self.taken, self.by = (taken[2], taken[1].split(", ")) if taken else (None, [])

    def steps(self):
        """[(command, expected output, or None where it does not matter)]"""
        if self.language != "console":
            return [(self.text.rstrip("\n"), None)]
        steps = []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                steps.append(([line[2:]], []))
            elif line.startswith("> ") and not steps[-1][1]:
                steps[-1][0].append(line[2:])
            else:
                steps[-1][1].append(line)
        return [("\n".join(command), "".join(line + "\n" for line in output)) for command, output in steps]


class Page:
    def __init__(self, path):
        self.path = path
        self.text = path.read_text(encoding="utf-8")
        self.blocks = [Block(self.text.count("\n", 0, found.end(0) - len(found[3]) - 3), found[1] or "", found[2], found[3])
                       for found in FENCE.finditer(self.text)]

    def names(self):
        return list(dict.fromkeys(block.name for block in self.blocks if block.name))

    def named(self, name):
        found = [block for block in self.blocks if block.name == name]
        assert found, f"{self.path.name} has no block marked {name}"
        return found

    def needs(self, name):
        return sorted({tool for block in self.named(name) for tool in block.needs})

    def steps(self, name):
        return [step for block in self.named(name) for step in block.steps()]

    def taken(self, name):
        """The text of the block, for the test that its mark says."""
        found = [block.text for block in self.blocks if block.taken == name]
        assert len(found) == 1, f"{self.path.name} has {len(found)} blocks marked taken …: {name}"
        return found[0]

    def unmarked(self):
        """Where there is a block that is neither run nor excused, of whatever form."""
        found = [block.line for block in self.blocks if not (block.name or block.reason or block.taken)]
        outside = FENCE.sub(lambda block: "\n" * block[0].count("\n"), self.text)
        found += [number for number, line in enumerate(outside.splitlines(), 1) if INDENTED.match(line)]
        return [f"{self.path.name}:{number}" for number in sorted(found)]


def pattern(expected):
    """… alone in a line: any lines, or none; within a line: anything."""
    parts = re.split(r"(^…\n|…)", expected, flags=re.MULTILINE)
    return re.compile("".join({"…\n": r"(?s:.*)", "…": r"[^\n]*"}.get(part, re.escape(part)) for part in parts))


class Shell:
    """One bash that is given commands one at a time, as a person at a terminal does. `here` says what stands for the
    places that the page names: {"/mnt/oci": …}."""

    def __init__(self, directory, env, here, user=None, before=()):
        self.here = here
        # In one pass: what was put in is not looked at again.
        self.theirs = re.compile("|".join(map(re.escape, here)) or "(?!)")
        self.process = subprocess.Popen([*before, "bash", "--norc", "--noprofile"], cwd=directory, env=env, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        start_new_session=True, **harness.identity(user))

    def translate(self, text):
        return self.theirs.sub(lambda found: self.here[found[0]], text)

    def run(self, command):
        self.process.stdin.write(f"{self.translate(command)}\nprintf '\\n{END} %s\\n' $?\n")
        self.process.stdin.flush()
        lines = []
        for line in self.process.stdout:
            if line.startswith(END):
                said = "".join(lines)[:-1]
                return said if not said or said.endswith("\n") else said + "\n"
            lines.append(line)
        raise AssertionError(f"the shell ended at {command}:\n{''.join(lines)}")

    def follow(self, page, name):
        """Runs what the page has under that name, and compares."""
        for command, expected in page.steps(name):
            if expected is None:
                self.must(command)
                continue
            said = self.run(command)
            assert pattern(self.translate(expected)).fullmatch(said), \
                f"$ {command}\n{said}\nwhere {page.path.name} has\n{expected}"

    def must(self, command):
        """Each line of it; what is printed."""
        said = self.run(f"(set -e\n{command}\n) </dev/null\nprintf '\\n{STATUS} %s\\n' $?")
        said, _, status = said.rpartition(f"\n{STATUS} ")
        assert status == "0\n", f"{command}\n{said}\n{STATUS} {status}"
        return said

    def close(self):
        """With all that was started in it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def environment(runtime):
    """For a shell: with a runtime directory of its own, and no proxies."""
    runtime.mkdir(mode=0o700)
    env = {**os.environ, "XDG_RUNTIME_DIR": str(runtime), "LC_ALL": "C.UTF-8", "OTEL_TRACES_EXPORTER": "none"}
    for name in ("http_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        env.pop(name, None)
    return env
