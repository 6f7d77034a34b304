"""Random faults in small clusters, with voters and without: is leadership what was promised?"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

from swim.config import Config
from swim.simulation.chaos import CLOCK_ERROR, Chaos
from swim.simulation.network import Network
from swim.simulation.world import World

__all__ = ["AGREED_WITHIN", "LIVE_WITHIN", "Run", "lease_world", "run_derived", "run_leases"]

LIVE_WITHIN = 60.0
"""Seconds of calm after which a member holds the lease again."""
AGREED_WITHIN = 300.0
"""Seconds of calm after which all follow one leader: a node that died often is held off for a while."""
_STORM_LEASES, _STORM_MIN_S = 4.0, 6.0
_GAP_S = 0.4
_SIZES = (3, 3, 3, 4, 4, 5, 5, 6, 7, 8, 9)


@dataclass(frozen=True, slots=True)
class Run:
    """What one seed came to. Times in seconds of true time."""

    seed: int
    nodes: int
    voters: int
    terms: int
    calm_after: float
    """From the end of the last fault until all was as it should be."""
    seconds: float


def lease_world(seed: int, *, with_voters: bool = True) -> World:
    """Three to nine nodes, three to five of them voters, on a random network; clocks up to 1 % off."""
    rng = Random(f"{seed}:leases")
    weather: dict[str, Any] = {
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
    voters = tuple(f"n{i}" for i in range(min(count, rng.randint(3, 5)))) if with_voters else ()
    electable = [rng.random() > 0.1 for _ in range(count)]
    for i in range(count):
        may_lead = electable[i] or not any(electable)
        world.add_node(f"n{i}", () if i == 0 else ("n0",), voters=voters, electable=may_lead)
        world.run(rng.uniform(0.0, 0.3))
    return world


def run_leases(seed: int) -> Run:
    """One random schedule with voters; raises AssertionError with the seed when something is wrong."""
    world = _storm(lease_world(seed))
    calm_after = world.run_until(lambda: _held(world), LIVE_WITHIN, step=0.1)
    if calm_after is None:
        world.fail(f"no member holds the lease after {LIVE_WITHIN} s of calm:\n{world.describe()}")
    return _run(world, calm_after)


def run_derived(seed: int) -> Run:
    """The same without voters."""
    world = _storm(lease_world(seed, with_voters=False))
    return _run(world, world.run_until_converged(AGREED_WITHIN, step=0.25))


def _storm(world: World) -> World:
    lease = world.config.lease
    world.run(world.random("begin").uniform(0.0, 2 * lease))
    Chaos(world, with_yielding=True).run(max(_STORM_MIN_S, _STORM_LEASES * lease), _GAP_S)
    return world


def _held(world: World) -> bool:
    return any(node.core.term is not None and not node.paused for node in world.running())


def _run(world: World, calm_after: float) -> Run:
    voters = world.nodes["n0"].options["voters"]
    return Run(world.seed, len(world.nodes), len(voters), len(world.invariants.terms), calm_after, world.now)
