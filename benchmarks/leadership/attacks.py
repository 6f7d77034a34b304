"""Attacks without the key on a leader that is cut off, and new voters for old: each function is one run."""

from __future__ import annotations

import time
from collections.abc import Mapping

import trio

from benchmarks.leadership.crew import LEASE, NAMES, PATIENCE, Crew
from benchmarks.leadership.scenarios import Figures
from benchmarks.leadership.tenures import Tenure, gap, overlaps, seconds_together, tokens_rise

__all__ = ["ATTACKS", "KEY", "attack", "replace"]

KEY = "6b" * 32
ATTACK = 20.0
ATTACKS: Mapping[str, int] = {"reflect": 1, "multiply": 2}
"""By name (see `meddler`): how many of the five are on the leader's side."""
_PAUSE = 2.0


async def attack(crew: Crew, leader: Tenure, how: str, seconds: float = ATTACK) -> Figures:
    """The leader's side has no majority; what it sends, or receives, is sent to it again. Then all heals."""
    rest = [name for name in NAMES if name != leader.node]
    side, others = [leader.node, *rest[: ATTACKS[how] - 1]], rest[ATTACKS[how] - 1 :]
    pairs = [pair for one in side for other in others for pair in ((one, other), (other, one))]
    async with crew.meddler(how, leader.node, *others) as meddler:
        with crew.cut(pairs) as began:
            following = await crew.next_tenure(began, others)
            await trio.sleep(began + seconds - time.monotonic())
    await crew.settled()
    found = crew.tenures(leader.on)
    return {
        "to_the_next": following.on - began,
        "leader_stopped": leader.last - began,
        "together": seconds_together(found),
        "overlap": overlaps(found),
        "tokens_rise": tokens_rise(found),
        "repeated": meddler.sent,
    }


async def replace(crew: Crew, leader: Tenure, pause: float = _PAUSE) -> Figures:
    """Five new machines, started with the old list, take the votes of all five, one by one, while one leads.

    `swim voters` says so at one of them; then the old one is killed, or leaves. Each of these led.
    """
    voters, changes = list(NAMES), []
    for number in range(len(NAMES)):
        acting = crew.acting()
        assert acting is not None
        old, new = acting.node, f"m{number}"
        await crew.start(new)
        await crew.settled()
        voters = [new if name == old else name for name in voters]
        changes.append(await crew.set_voters(voters, at=new))
        await trio.sleep(pause)
        agent = crew.agents[old]
        began = agent.terminate() if number % 2 else agent.kill()
        crew.names.remove(old)
        await crew.next_tenure(began, crew.names)
        assert await agent.exit_status(PATIENCE) is not None
        await crew.settled()
    found = crew.tenures(leader.on)
    return {
        "gap": gap(found),
        "gap_over_lease": gap(found) - LEASE,
        "changed": max(changes),
        "together": seconds_together(found),
        "overlap": overlaps(found),
        "tokens_rise": tokens_rise(found),
        "tenures": len(found),
    }
