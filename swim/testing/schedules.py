"""Faults as data: what goes wrong when. Drawn from a seed, or by hypothesis (`swim.testing.strategies`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random

from swim.testing.world import World

__all__ = ["KINDS", "Fault", "inflict", "random_faults"]

SECONDS_MAX = 15.0
_DELAY_S = 0.2
_LOSS = 0.25


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong `at` this time, in seconds from now, for so many `seconds`.

    `kind` is one of `KINDS`: "crash" and "lose_host" (until it is restarted), "pause", "partition" (these
    programs from all others), "slow" and "loss" (between these and all others), "reset" (their connections).
    """

    at: float
    kind: str
    names: tuple[str, ...]
    seconds: float


def inflict(world: World, faults: Iterable[Fault]) -> None:
    """Arrange for these faults, from now on, and for their ends."""
    for fault in faults:
        world.after(fault.at, KINDS[fault.kind], world, fault)


def random_faults(rng: Random, names: Sequence[str], seconds: float, count: int) -> list[Fault]:
    """So many faults of any kind that begin within so many seconds, for a few of these programs each."""
    drawn = []
    for _ in range(count):
        kind = rng.choice(list(KINDS))
        some = rng.sample(list(names), rng.randint(1, max(1, len(names) // 2)))
        drawn.append(Fault(rng.uniform(0.0, seconds), kind, tuple(some), rng.uniform(0.0, SECONDS_MAX)))
    return sorted(drawn, key=lambda fault: fault.at)


def _crash(world: World, fault: Fault) -> None:
    _end(world, fault, world.crash)


def _lose_host(world: World, fault: Fault) -> None:
    _end(world, fault, world.lose_host)


def _end(world: World, fault: Fault, how: Callable[[str], None]) -> None:
    for name in fault.names:
        if world.running(name):
            how(name)
            world.after(fault.seconds, _start_again, world, name)


def _start_again(world: World, name: str) -> None:
    if not world.running(name):
        world.restart(name)


def _pause(world: World, fault: Fault) -> None:
    for name in fault.names:
        world.pause(name, fault.seconds)


def _partition(world: World, fault: Fault) -> None:
    world.after(fault.seconds, world.heal, world.partition(fault.names))


def _slow(world: World, fault: Fault) -> None:
    world.after(fault.seconds, world.heal, world.slow(fault.names, delay=_DELAY_S))


def _loss(world: World, fault: Fault) -> None:
    world.set_loss(incoming=dict.fromkeys(fault.names, _LOSS))
    world.after(fault.seconds, lambda: world.set_loss(incoming=dict.fromkeys(fault.names, 0.0)))


def _reset(world: World, fault: Fault) -> None:
    world.reset_streams(*fault.names)


KINDS: dict[str, Callable[[World, Fault], None]] = {
    "crash": _crash,
    "lose_host": _lose_host,
    "pause": _pause,
    "partition": _partition,
    "slow": _slow,
    "loss": _loss,
    "reset": _reset,
}
