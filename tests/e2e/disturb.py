# SPDX-License-Identifier: Apache-2.0
"""The other side of disturb.c: faults of the disk and jumps of the clock for a daemon that runs."""

import contextlib
import mmap
import os
import pathlib
import struct

ERRNOS = 8
LENGTH = 72 + 4096


class Disturbance:
    """`env` goes to the mount. Nothing is disturbed before `faults` or `jump`."""

    def __init__(self, library, path, cache):
        self.env = {"LD_PRELOAD": str(library), "DISTURB": str(path)}
        with open(path, "w+b") as file:
            file.truncate(LENGTH)
            self._map = mmap.mmap(file.fileno(), LENGTH)
        self._map[72:72 + len(os.fsencode(cache))] = os.fsencode(cache)

    def _put(self, at, kind, *values):
        struct.pack_into(kind, self._map, at, *values)

    @contextlib.contextmanager
    def faults(self, *codes, odds=10000, changes_only=False, syncs_only=False):
        """One call of 10,000 / odds fails, with one of these errnos."""
        self._put(4, "<II", 2 if syncs_only else int(changes_only), len(codes))
        self._put(12, f"<{len(codes)}i", *codes)
        self._put(0, "<I", odds)
        try:
            yield self
        finally:
            self._put(0, "<I", 0)

    @property
    def hits(self):
        return struct.unpack_from("<Q", self._map, 56)[0]

    def die_at(self, change):
        """The process that makes so many more changes to the directory dies before that one. 0: none does."""
        self._put(44, "<i", change)

    @property
    def lives(self):
        return struct.unpack_from("<i", self._map, 44)[0] > 0

    def jump(self, seconds):
        """The wall clock, as seen by the daemon, is that far off."""
        self._put(48, "<q", seconds)


def library(binary):
    return pathlib.Path(binary).parent / "tests/e2e/disturb.so"
