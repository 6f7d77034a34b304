"""Strikes at names and addresses: two processes of one name, and hosts that another process takes over."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import trio

from benchmarks.driver import Agent, reports
from benchmarks.faults.stage import NEWCOMER, STRANGER, Stage

__all__ = ["found_without_the_lowest", "squatter", "substitute", "twins", "usurper"]

_SEEN_SECONDS = 15.0
_GIVEN_UP_SECONDS = 40.0
_SETTLED_SECONDS = 5.0
_ONE_SECONDS = 15.0
_LIFE = "life"
"""The tag by which processes of one name are told apart."""


async def _wait(condition: Callable[[], bool], seconds: float) -> float | None:
    """When it was true; None: not within so many seconds."""
    since = time.monotonic()
    while (now := time.monotonic()) < since + seconds:
        if condition():
            return now
        await trio.sleep(0.005)
    return None


def _sees(stage: Stage, observers: Sequence[str], name: str, life: str | None) -> bool:
    """Do these have that process in their views under this name?"""
    views = [stage.fleet.views[node] for node in observers]
    return all(name in view and view[name].get(_LIFE) == life for view in views)


async def _until_one(
    stage: Stage, observers: Sequence[str], name: str, lives: Mapping[str | None, Agent]
) -> None:
    """Of these processes of one name one stays, all see it, and the others end. Then it ends, too."""

    def one() -> bool:
        running = [life for life, agent in lives.items() if agent.process.poll() is None]
        return len(running) == 1 and _sees(stage, observers, name, running[0])

    since = time.monotonic()
    found = await _wait(one, _ONE_SECONDS)
    stage.figures["one_s"] = None if found is None else found - since
    for agent in lives.values():
        if agent.process.poll() is None:
            agent.terminate()
            await agent.exit_status(_SEEN_SECONDS)


async def twins(stage: Stage, seconds: float) -> None:
    """Each of two halves that are cut off from each other gets a new member, of the same name."""
    name, (large, small) = "twin", stage.halves
    stage.due.add(name)
    stage.with_larger.append(f"{name}-1")
    places = {"1": (NEWCOMER, large), "2": (STRANGER, small)}
    stage.network.cut(stage.pairs([*large, NEWCOMER], [*small, STRANGER]))
    lives: dict[str | None, Agent] = {}
    for life, (host, half) in places.items():
        lives[life] = await stage.start(
            name, on=host, tags={_LIFE: life}, seeds=half, known_as=f"{name}-{life}"
        )
    for life, (_, half) in places.items():
        await _wait(lambda: _sees(stage, half, name, life), _SEEN_SECONDS)  # noqa: B023
    await trio.sleep(seconds)
    stage.network.heal()
    await _until_one(stage, stage.names, name, lives)
    stage.heal()


async def _replaced(stage: Stage) -> Agent:
    """The victim stands still and was given up: start another process of its name, which the others see."""
    with stage.fleet.watch(reports("dead", stage.victim), stage.others) as died:
        await died.complete(_GIVEN_UP_SECONDS)
    other = await stage.start(stage.victim, on=NEWCOMER, tags={_LIFE: "2"}, known_as=f"{stage.victim}-2")
    await _wait(lambda: _sees(stage, stage.others, stage.victim, "2"), _SEEN_SECONDS)
    await trio.sleep(_SETTLED_SECONDS)
    return other


async def substitute(stage: Stage, seconds: float) -> None:
    """The victim stands still; another process has its name meanwhile, and leaves."""
    stage.due.add(stage.victim)
    with stage.standing_still([stage.victim]):
        other = await _replaced(stage)
        other.terminate()
        await other.exit_status(_SEEN_SECONDS)
        await trio.sleep(_SETTLED_SECONDS)
    stage.heal()


async def usurper(stage: Stage, seconds: float) -> None:
    """The victim stands still, another process takes its name, and the victim goes on."""
    name, others = stage.victim, stage.others
    stage.due.add(name)
    with stage.standing_still([name]):
        other = await _replaced(stage)
    await _until_one(stage, others, name, {None: stage.agents[name], "2": other})
    stage.gone(name)
    stage.heal()


async def squatter(stage: Stage, seconds: float) -> None:
    """One is killed, and a node of another cluster has its address then. To how many is it a member?"""
    dies, name = stage.names[-1], "squatter"
    with stage.fleet.watch(reports("dead", dies), stage.others) as died:
        stage.kill(dies)
        await died.complete(_GIVEN_UP_SECONDS)
    other = await stage.start(name, on=stage.host(dies), seeds=[])
    await trio.sleep(seconds)
    merged = sum(name in stage.fleet.views[node] for node in stage.names)
    stage.figures["merged"] = merged + len(stage.fleet.views[name])
    other.terminate()
    await other.exit_status(_SEEN_SECONDS)
    stage.heal()


async def found_without_the_lowest(stage: Stage, seconds: float) -> None:
    """The first of all seeds does not start, the others do together."""
    seeds = stage.names[:3]
    stage.gone(seeds[0])
    for name in stage.names:
        await stage.start(name, seeds=seeds)
    await stage.fleet.until_bound(*stage.agents.values())
    stage.heal()
