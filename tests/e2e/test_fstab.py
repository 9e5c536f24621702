# SPDX-License-Identifier: Apache-2.0
"""Each line for /etc/fstab that a page shows, as it stands: mount(8) mounts by it, and so does the command with its
options. That systemd mounts by it when somebody goes there is in test_package.py."""

import re

import manual
import pages
import pytest

from conftest import ROOT
from machine import machine  # noqa: F401

SIZES = {"M": 20, "G": 30}


def comments(path):
    return [line.lstrip("#").strip() for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#\t")]


def shown(binary):
    """{where: lines}"""
    found = {"README.md": pages.Page(ROOT / "README.md").taken("fstab").splitlines()}
    found.update({path.name: comments(path) for path in (ROOT / "docs/systemd").glob("*.mount")})
    if (binary.parent / "fs/cli/pages").exists():
        for name, _, text in manual.displays(binary.parent):
            found.setdefault(name, []).extend(text.splitlines())
    return {where: [line for line in lines if manual.is_fstab(line)] for where, lines in found.items()}


@pytest.fixture
def lines(binary):
    found = shown(binary)
    assert found["README.md"] and found["mnt-oci.mount"]
    return found


def test_the_pages_agree(lines):
    """Whoever has read one of them need not compare."""
    [told] = lines["README.md"]
    for where, found in lines.items():
        if found:
            assert found[0].split() == told.split(), where


def test_mount_by_each_line(machine, lines):  # noqa: F811
    for line in sorted({" ".join(line.split()) for found in lines.values() for line in found}):
        source, point, _, options, _, _ = line.split()
        size = re.search(r"cache_size=(\d+)([MG])", options)
        path = f"{point}{'' if source != 'none' else '/ghcr.io'}/org/hello:v1/main.wasm"
        reader = "setpriv --reuid=nobody --regid=nogroup --clear-groups" if "allow_other" in options else ""
        said = machine.run(f"""
            echo '{line}' > /etc/fstab
            mount {point}
            mountpoint -q {point}
            {reader} wc -c < /dev/null {path} >&2
            wasmocifs status --json {point} | jq -r '.[].cache.limit'
            umount {point}
            ! mountpoint -q {point}
            """).ok()
        if size:
            assert said.out == f"{int(size[1]) << SIZES[size[2]]}\n", line


def test_all_of_it_twice(machine):  # noqa: F811
    """mount(8) goes by the source that mountinfo has to see what is there already."""
    said = machine.run("""
        printf '%s wasmocifs defaults 0 0\\n' 'ghcr.io/org /mnt/oci' 'https://ghcr.io /mnt/team' > /etc/fstab
        echo 'none /mnt/all wasmocifs all 0 0' >> /etc/fstab
        mount -a
        mount -a
        wasmocifs status --json | jq -r '.[].sources[]' | sort
        findmnt --noheadings --output SOURCE --type fuse.wasmocifs | sort
        """).ok()
    assert said.out.split() == ["ghcr.io/org", "https://ghcr.io", "ghcr.io/org", "https://ghcr.io", "none"] and said.err == ""
