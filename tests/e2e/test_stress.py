# SPDX-License-Identifier: Apache-2.0
"""Everything at once, at random, for a short while (stress.py); scripts/bench --only stress does it for minutes."""

import os
import random

import pytest

import harness
import stress


@pytest.mark.heavy
@pytest.mark.parametrize("kill_worker", [False, True], ids=["the worker lives", "the worker dies"])
def test_stress(mount, registry, work, monkeypatch, kill_worker):
    monkeypatch.setattr(harness, "GUARD", 200 * harness.SLOW)
    seed = os.environ.get("WASMOCIFS_STRESS_SEED") or str(random.randrange(1 << 32))
    world = stress.World(registry, work / "right")
    with stress.small_disk(work / "disk") as disk:
        m = mount(None, *stress.OPTIONS, cache=disk / "cache")
        found = stress.Stress(m, world, registry, disk, seed, readers=harness.scaled(8, 3), kill_worker=kill_worker)
        print(found.run(seconds=harness.scaled(12, 4)).report())
        m.unmount()
