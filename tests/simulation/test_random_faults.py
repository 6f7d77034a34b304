"""Random schedules of faults, with the invariants of `swim.simulation.invariants` on every event.

More seeds than CI has time for:  SWIM_SEEDS=0:2000 pytest tests/simulation/test_random_faults.py
One seed again:                   SWIM_SEEDS=17:18 pytest tests/simulation/test_random_faults.py
"""

from __future__ import annotations

import os

import pytest

from swim.simulation.chaos import Chaos, random_world

SEEDS = range(*map(int, os.environ.get("SWIM_SEEDS", "0:16").split(":")))
CALM_WITHIN = 120.0
"""Who died again and again in the storm waits for a minute of good links (see `readmission`)."""


@pytest.mark.parametrize("seed", SEEDS)
def test_random_faults(seed: int) -> None:
    world = random_world(seed)
    Chaos(world).run(60.0)
    world.run(5.0)
    world.run_until_converged(CALM_WITHIN)
    assert len(world.running()) == len(world.nodes)
