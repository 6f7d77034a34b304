"""Random schedules of what firewalls, routers and middleboxes do: whoever lives is not declared dead.

More seeds than CI has time for:  SWIM_SEEDS=0:500 pytest tests/simulation/test_random_firewalls.py
One seed again:                   SWIM_SEEDS=17:18 pytest tests/simulation/test_random_firewalls.py
"""

from __future__ import annotations

import os

import pytest

from swim.events import LeaderChanged
from swim.simulation import Firewalls
from swim.simulation.chaos import random_world

ASKED = os.environ.get("SWIM_SEEDS")
SEEDS = range(*map(int, ASKED.split(":"))) if ASKED else range(12)
NODES = (3, 8)
WHOLE_WITHIN = 10.0


@pytest.mark.parametrize("seed", SEEDS)
def test_nobody_is_declared_dead_and_the_leader_stays(seed: int) -> None:
    world = random_world(seed, nodes=NODES)
    began = world.now
    Firewalls(world, with_deaths=False).run(60.0)
    world.run_until_converged(WHOLE_WITHIN)
    changes = [record for record in world.events(LeaderChanged) if record.time > began]
    if world.invariants.false_deaths or changes:
        world.fail("\n".join(map(str, [*world.invariants.false_deaths, *changes])))


@pytest.mark.parametrize("seed", SEEDS)
def test_only_a_node_that_dies_is_declared_dead(seed: int) -> None:
    world = random_world(seed, nodes=NODES)
    Firewalls(world).run(60.0)
    if world.invariants.false_deaths:
        world.fail("\n".join(map(str, world.invariants.false_deaths)))
    world.run_until_converged(4 * WHOLE_WITHIN)
