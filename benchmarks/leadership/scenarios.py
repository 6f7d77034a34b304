"""What is done to the leader, and what is measured then. Each function is one run; times in seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeAlias

import trio

from benchmarks.driver import reports
from benchmarks.leadership.crew import LEASE, NAMES, PATIENCE, Crew, until
from benchmarks.leadership.tenures import Tenure, overlaps, tokens_rise

__all__ = ["CUTS", "PAUSE", "Figures", "kill", "leave", "part", "pause"]

Figures: TypeAlias = dict[str, Any]

PAUSE = 20.0
"""Longer than the pause tolerance."""
AFTERWARDS = 2.0
CUT = 10.0
"""Long enough for a lease to run out, silence to be judged and another to take over."""


def _rest(leader: Tenure) -> list[str]:
    return [name for name in NAMES if name != leader.node]


def _order(crew: Crew, leader: Tenure) -> Figures:
    """From this tenure on: how long two acted at once, and whether later ones had higher tokens."""
    found = crew.tenures(leader.on)
    return {"overlap": overlaps(found), "tokens_rise": tokens_rise(found), "tenures": len(found)}


async def kill(crew: Crew, leader: Tenure) -> Figures:
    """SIGKILL; then the old one is started again."""
    rest = _rest(leader)
    with crew.fleet.watch(reports("dead", leader.node), rest) as deaths:
        began = crew.agents[leader.node].kill()
        following = await crew.next_tenure(began, rest)
        await deaths.complete(PATIENCE)
    known = deaths.times[following.node]
    free = crew.lease_out(leader, began)
    late = {} if free is None else {"lease_out": free - began, "late": following.on - max(known, free)}
    return {
        "to_the_next": following.on - began,
        "death_known": known - began,
        **late,
        **await _restart(crew, leader, following),
    }


async def leave(crew: Crew, leader: Tenure) -> Figures:
    """SIGTERM: a graceful leave; then the old one is started again."""
    began = crew.agents[leader.node].terminate()
    following = await crew.next_tenure(began, _rest(leader))
    return {"to_the_next": following.on - began, **await _restart(crew, leader, following)}


async def _restart(crew: Crew, old: Tenure, following: Tenure) -> Figures:
    agent = crew.agents[old.node]
    assert await agent.exit_status(PATIENCE) is not None
    await agent.silent.wait()
    await crew.start(old.node)
    settled = await crew.settled()
    return {
        "stayed": settled.node == following.node,
        "at_the_back": max(NAMES, key=crew.id_of) == old.node,
        **_order(crew, old),
    }


async def pause(crew: Crew, leader: Tenure) -> Figures:
    """SIGSTOP for longer than the pause tolerance, then SIGCONT."""
    agent = crew.agents[leader.node]
    began = agent.pause()
    try:
        following = await crew.next_tenure(began, _rest(leader))
        await trio.sleep(began + PAUSE - time.monotonic())
    finally:
        woken = agent.resume()
    await trio.sleep(AFTERWARDS)
    settled = await crew.settled()
    return {
        "to_the_next": following.on - began,
        "ticks_after_waking": sum(tick >= woken for tick in leader.ticks),
        "told_of_its_end": None if leader.off is None else leader.off - woken,
        "stayed": settled.node == following.node,
        **_order(crew, leader),
    }


# --- cuts


def _sides(crew: Crew, leader: Tenure, size: int, leads: bool) -> tuple[list[str], list[str]]:
    """The small side, of so many nodes, and the large one; the leader is on the small one or not."""
    rest = _rest(leader)
    small = [leader.node, *rest[: size - 1]] if leads else rest[:size]
    return small, [name for name in NAMES if name not in small]


def _pairs(one: Collection[str], other: Collection[str]) -> list[tuple[str, str]]:
    return [(a, b) for a in one for b in other]


CUTS: Mapping[str, tuple[int, bool, Callable[[list[str], list[str]], list[tuple[str, str]]]]] = {
    "2|3, led by the 2": (2, True, lambda small, large: _pairs(small, large) + _pairs(large, small)),
    "2|3, led by the 3": (2, False, lambda small, large: _pairs(small, large) + _pairs(large, small)),
    "1|4, led by the 1": (1, True, lambda small, large: _pairs(small, large) + _pairs(large, small)),
    "1|4, led by the 4": (1, False, lambda small, large: _pairs(small, large) + _pairs(large, small)),
    "2>3 only, led by the 2": (2, True, lambda small, large: _pairs(large, small)),
    "2>3 only, led by the 3": (2, False, lambda small, large: _pairs(large, small)),
    "3>2 only, led by the 2": (2, True, lambda small, large: _pairs(small, large)),
    "3>2 only, led by the 3": (2, False, lambda small, large: _pairs(small, large)),
}
"""How many are on the small side, whether one of them leads, and whose packets to whom are dropped."""


async def part(crew: Crew, leader: Tenure, cut: str) -> Figures:
    """Drop packets between two sides for a while, then heal. With voters."""
    size, leads, flows = CUTS[cut]
    small, large = _sides(crew, leader, size, leads)
    with crew.cut(flows(small, large)) as began:
        await trio.sleep(CUT)
        healed = time.monotonic()
        named = {name: crew.fleet.leaders.get(name) for name in NAMES}
        acting = [each for each in crew.tenures(leader.on) if each.off is None and each.last > healed - 1]
    await until(lambda: crew.acting() is not None, "one leader after the heal")
    agreed = time.monotonic() - healed
    await crew.settled()
    new = crew.tenures(began)
    late = [t for tenure in crew.tenures(leader.on) if tenure.node in small for t in tenure.ticks]
    return {
        "to_the_next": new[0].on - began if new and new[0].on < healed else None,
        "acting_at_the_end": [tenure.node in large for tenure in acting],
        "small_side_ticks_after_lease": sum(began + LEASE < tick < healed for tick in late),
        "small_side_names": sorted({named[name] or "nobody" for name in small}),
        "large_side_agrees": len({named[name] for name in large}) == 1,
        "agreed_after_heal": agreed,
        **_order(crew, leader),
    }
