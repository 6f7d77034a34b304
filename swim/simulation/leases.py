"""Random faults in clusters with voters: are there never two holders, and is there one again in calm?"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from swim.config import Config
from swim.simulation.chaos import CLOCK_ERROR, Chaos
from swim.simulation.network import Network
from swim.simulation.world import World

__all__ = ["LIVE_WITHIN", "LeaseRun", "lease_world", "run_leases"]

LIVE_WITHIN = 60.0
"""Seconds of calm after which somebody holds the lease again."""
_STORM_LEASES, _STORM_MIN_S = 4.0, 6.0
_GAP_S = 0.4
_SIZES = (3, 3, 3, 4, 4, 5, 5, 6, 7, 8, 9)


@dataclass(frozen=True, slots=True)
class LeaseRun:
    """What one seed came to. Times in seconds of true time."""

    seed: int
    nodes: int
    voters: int
    terms: int
    live_after: float
    """From the end of the last fault until somebody held the lease."""


def lease_world(seed: int) -> World:
    """Three to nine nodes, three to five of them voters, on a random network; clocks up to 1 % off."""
    rng = Random(f"{seed}:leases")
    weather = {
        "loss": rng.choice([0.0, 0.0, 0.02, 0.1]),
        "duplicate": rng.choice([0.0, 0.05, 0.3]),
        "delay_max": rng.choice([0.02, 0.5, 5.0]),
        "sigma": rng.choice([1.0, 2.5]),
    }
    network = Network.wan(**weather) if rng.random() < 0.2 else Network.lan(**weather)
    world = World(
        seed,
        network=network,
        fast=True,
        drift=CLOCK_ERROR,
        skew=rng.choice([0.02, 1.0]),
        config=Config.lan(lease=rng.choice([1.0, 1.0, 3.0])),
    )
    count = rng.choice(_SIZES)
    voters = tuple(f"n{i}" for i in range(min(count, rng.randint(3, 5))))
    electable = [rng.random() > 0.1 for _ in range(count)]
    for i in range(count):
        seeds = () if i == 0 else ("n0",)
        may_lead = electable[i] or not any(electable)
        world.add_node(f"n{i}", seeds, voters=voters, electable=may_lead)
        world.run(rng.uniform(0.0, 0.3))
    return world


def run_leases(seed: int) -> LeaseRun:
    """One random schedule; raises AssertionError with the seed when something is wrong."""
    world = lease_world(seed)
    lease = world.config.lease
    world.run(Random(f"{seed}:begin").uniform(0.0, 2 * lease))
    Chaos(world, with_yielding=True).run(max(_STORM_MIN_S, _STORM_LEASES * lease), _GAP_S)
    live_after = world.run_until(lambda: _held(world), LIVE_WITHIN, step=0.1)
    if live_after is None:
        world.fail(f"nobody holds the lease after {LIVE_WITHIN} s of calm:\n{world.describe()}")
    voters = world.nodes["n0"].options["voters"]
    return LeaseRun(seed, len(world.nodes), len(voters), len(world.invariants.terms), live_after)


def _held(world: World) -> bool:
    return any(node.core.term is not None and not node.paused for node in world.running())
