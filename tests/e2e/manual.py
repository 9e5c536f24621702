# SPDX-License-Identifier: Apache-2.0
"""What the man pages show as it is to be typed or written: their displays (.nf), without the escapes of roff."""

import re

NAMES = ["wasmocifs.1", "mount.wasmocifs.8", "wasmocifs.conf.5"]
ESCAPES = {"\\-": "-", "\\e": "\\", "\\&": "", "\\(aq": "'", "\\(dq": '"', "\\(ti": "~", "\\(ha": "^"}


def plain(text):
    left = re.sub(r"\\f[BIR]", "", text)
    for written, meant in ESCAPES.items():
        left = left.replace(written, meant)
    assert "\\" not in left.replace("\\\n", ""), f"an escape that is not known here: {left}"
    return left


def displays(directory):
    """[(page, section, text)] of the pages that were made in the build."""
    found = []
    for name in NAMES:
        text = (directory / "fs/cli/pages" / name).read_text(encoding="utf-8")
        for section in re.split(r"^\.SH ", text, flags=re.MULTILINE)[1:]:
            heading = section.partition("\n")[0].strip('"')
            found += [(name, heading, plain(shown)) for shown in
                      re.findall(r"^\.nf\n(.*?)^\.fi$", section, re.MULTILINE | re.DOTALL)]
    return found


def is_fstab(line):
    return len(line.split()) == 6 and line.split()[2] == "wasmocifs"
