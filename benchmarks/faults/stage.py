"""One cluster of real processes, each alone on its host: what can be done to it, and what is noted of it."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from enum import Enum
from itertools import pairwise, product
from typing import Any

import trio

from benchmarks.driver import START_SECONDS, Agent, Fleet, Matcher, open_fleet, reports
from benchmarks.faults.measures import Span, Wholeness, common, deaths, terms, together
from benchmarks.namespaces import Network, open_network
from benchmarks.peers import Peer

__all__ = ["NEWCOMER", "STRANGER", "Cut", "Stage", "open_stage"]

PORT = 7946
NEWCOMER = "newcomer"
"""A host for one more member."""
STRANGER = "stranger"
"""A host without a member."""
SETTLED_SECONDS = 4.0
"""Until all who observe somebody have met it and have a stream to it."""
_START_EACH_S = 2.0
"""So much longer the start may take for each process: a hundred of them keep two cores busy for minutes."""
GATHER_SECONDS = 40.0
QUIET_SECONDS = 2.0
"""A view that was whole for so long is called so."""
GRACE = 1.0
"""How long two may lead after their network was made whole."""


class Cut(Enum):
    """Between whom no packets are exchanged."""

    NOBODY = "nobody"
    VICTIM = "the victim and the others"
    HALVES = "the two halves"
    ALL = "any two, at some time"


class Stage:
    """A cluster, and its network. Its first two nodes are the seeds of all."""

    def __init__(
        self,
        fleet: Fleet,
        network: Network,
        peer: Peer,
        names: Sequence[str],
        *,
        victim: str,
        tags: Mapping[str, Mapping[str, str]],
        wildcard: bool,
        options: Sequence[str] = (),
    ) -> None:
        self.fleet = fleet
        self.network = network
        self.peer = peer
        self.names = list(names)
        """Of the processes that run."""
        self.victim = victim
        """Whom the fault strikes, where it strikes one."""
        self.agents: dict[str, Agent] = {}
        self.due: set[str] = set()
        """Whose death may be declared: their processes were killed, or stood still for too long."""
        self.with_larger: list[str] = []
        """Further nodes that are in the larger of two halves."""
        self.figures: dict[str, Any] = {}
        """What a row measures beside what all measure."""
        self.began = math.inf
        self.healed: float | None = None
        self._tags = tags
        self._bind = f"0.0.0.0:{PORT}" if wildcard else None
        self._options = options
        self._hosts: dict[str, str] = {}
        self._gaps: list[Span] = []
        self._whole: list[tuple[float, float]] = []
        self._wholeness: Wholeness | None = None

    # --- the cluster
    @property
    def others(self) -> list[str]:
        return [name for name in self.names if name != self.victim]

    @property
    def halves(self) -> tuple[list[str], list[str]]:
        """The larger one, without the victim, and the smaller one."""
        small = [self.victim, *self.others[: (len(self.names) - 2) // 2]]
        return [name for name in self.names if name not in small], small

    def _severed(self, one: str, other: str, cut: Cut) -> bool:
        match cut:
            case Cut.NOBODY:
                return False
            case Cut.VICTIM:
                return self.victim in (one, other)
            case Cut.HALVES:
                large = [*self.halves[0], *self.with_larger]
                return (one in large) is not (other in large)
            case Cut.ALL:
                return True

    def pairs(self, ones: Iterable[str], others: Iterable[str]) -> list[tuple[str, str]]:
        """All flows between these, both ways."""
        return [flow for one, other in product(ones, others) for flow in ((one, other), (other, one))]

    async def start(
        self,
        name: str,
        *,
        on: str | None = None,
        tags: Mapping[str, str] | None = None,
        seeds: Sequence[str] | None = None,
        known_as: str | None = None,
    ) -> Agent:
        """Start a node on its host, or on another one; does not wait for it.

        `known_as`: as of `Fleet.start`, for one that has the name of another.
        """
        host = on or self.host(name)
        self._hosts[known_as or name] = host
        known = [self.network.addresses[seed] for seed in (self.seeds if seeds is None else seeds)]
        there = replace(self.peer, command=(*self.network.command(host), *self.peer.command))
        agent = await self.fleet.start(
            there,
            name,
            join=[f"{address}:{PORT}" for address in known],
            tags=dict(self._tags.get(name, {})) | dict(tags or {}),
            host=self.network.addresses[host],
            port=PORT,
            bind=self._bind,
            options=self._options,
            known_as=known_as,
        )
        self.agents[agent.name] = agent
        return agent

    def host(self, name: str) -> str:
        """Where a node runs, or did last."""
        return self._hosts.get(name, name)

    @property
    def seeds(self) -> list[str]:
        return [self.host(name) for name in ("n0", "n1")]

    async def gather(self, seconds: float = GATHER_SECONDS) -> None:
        """Start all, the first one earlier, which makes it the leader; wait until all see all."""
        for name in self.names:
            await self.start(name)
            if name == self.names[0]:
                await self.fleet.until_bound(self.agents[name])
                await trio.sleep(1.0)
        starting = START_SECONDS + _START_EACH_S * len(self.names)
        await self.fleet.until_bound(*self.agents.values(), seconds=starting)
        await self.fleet.until_all_see(self.names, seconds)

    def kill(self, name: str) -> float:
        """SIGKILL: nobody needs it in its view any more. When that was."""
        self.due.add(name)
        now = self.agents[name].kill()
        self._gaps.append(Span(name, now, math.inf))
        self.gone(name)
        return now

    def gone(self, name: str) -> None:
        """Its process has ended, and nobody is to see it."""
        self.names.remove(name)
        self._followed()

    async def restart(self, name: str, *, on: str | None = None, life: str = "2") -> float:
        """A new process under the same name. When it was bound."""
        agent = await self.start(name, on=on, tags={"life": life})
        if name not in self.names:
            self.names.append(name)
        self._followed()
        await self.fleet.until_bound(agent)
        bound = self.fleet.bound[name]
        self._gaps = [
            gap._replace(end=bound) if gap.node == name and gap.end == math.inf else gap for gap in self._gaps
        ]
        return bound

    async def newcomer(self, name: str = NEWCOMER, seconds: float = 30.0) -> float | None:
        """One more. Seconds from its being bound until all see all; None: not within so many."""
        observers = list(self.names)
        with self.fleet.watch(reports("join", name), observers) as met:
            bound = await self.restart(name)
            with self.fleet.watch_all_see(self.names, [name]) as sees:
                if not (await met.complete(seconds) and await sees.complete(seconds)):
                    return None
                return max([*met.times.values(), *sees.times.values()]) - bound

    @contextmanager
    def standing_still(self, names: Iterable[str]) -> Iterator[None]:
        """SIGSTOP, and SIGCONT at the end of the block."""
        stopped = {name: self.agents[name].pause() for name in names}
        try:
            yield
        finally:
            for name, since in stopped.items():
                self._gaps.append(Span(name, since, self.agents[name].resume()))

    @contextmanager
    def watching(
        self, matches: Matcher, observers: Iterable[str], figure: str, since: float
    ) -> Iterator[Any]:
        """Note as a figure how long it took all observers to report something."""
        with self.fleet.watch(matches, observers) as watch:
            yield watch
        self.figures[figure] = watch.after(since).all

    def _followed(self) -> None:
        if self._wholeness is not None:
            self._wholeness.names = set(self.names)
            self._wholeness.look(time.monotonic())

    # --- the fault, and its end
    def begin(self) -> None:
        """What is reported from now on counts."""
        self.began = time.monotonic()
        self._wholeness = Wholeness(self.fleet, self.names)

    def heal(self) -> None:
        """The network is whole again."""
        self.network.heal()
        self.healed = time.monotonic()

    @contextmanager
    def connected(self) -> Iterator[None]:
        """During this block the network is whole, for a while: two may lead for `GRACE` then."""
        since = time.monotonic()
        yield
        self._whole.append((since + GRACE, time.monotonic()))

    async def until_whole(self, patience: float) -> float | None:
        """Wait until all see all and follow one leader, and go on doing so. Seconds from the heal."""
        assert self._wholeness is not None
        assert self.healed is not None
        while (now := time.monotonic()) < self.healed + patience + QUIET_SECONDS:
            since = self._wholeness.since
            if since is not None and now - max(since, self.healed) >= QUIET_SECONDS:
                return max(0.0, since - self.healed)
            await trio.sleep(0.05)
        return None

    def history(self, most: int = 60) -> list[str]:
        """What was reported since the fault began, shortly, for whoever wants to know how it came about."""
        kinds = ("dead", "join", "leave", "leader", "leading", "suspect", "recover", "error")
        told = []
        for line in self.fleet.lines:
            if line["t"] >= self.began and line["event"] in kinds:
                about = line.get("member", line.get("leader", line.get("on", line.get("message"))))
                after = line["t"] - self.began
                told.append(
                    f"{after:.3f} {line['node']} {line['event']} {about} {line.get('reason', '')}".rstrip()
                )
        return told[:most]

    def summary(self, cut: Cut = Cut.NOBODY) -> dict[str, Any]:
        """What all rows measure. `cut`: between whom a death is right."""
        now = time.monotonic()
        found = deaths(self.fleet.lines, self.began, self.due)
        begun = sorted(terms(self.fleet.lines), key=lambda span: span.begin)
        changes = [one.node != other.node for one, other in pairwise(begun) if other.begin >= self.began]
        acted = terms(self.fleet.lines, self._gaps, now)
        doubled = [(begin, end) for begin, end in together(acted) if end > self.began]
        assert self.healed is not None
        whole = [*self._whole, (self.healed + GRACE, now)]
        return {
            "deaths": len(found),
            "wrong": sum(not self._severed(node, member, cut) for node, member, _ in found),
            "dead": sorted({member for _, member, _ in found}),
            "reasons": sorted({reason for _, _, reason in found}),
            "leaders": sum(changes),
            "interrupted": len(changes) - sum(changes),
            "two_leaders_s": sum(end - max(begin, self.began) for begin, end in doubled),
            "two_leaders_connected_s": common(doubled, whole),
            "stalled_s": max(agent.stats.get("stalled", 0.0) for agent in self.agents.values()),
            "complaints": [text for agent in self.agents.values() for text in list(agent.complaints)[-3:]],
        } | self.figures


@asynccontextmanager
async def open_stage(
    peer: Peer,
    nodes: int,
    *,
    victim: int = 0,
    tags: Mapping[str, Mapping[str, str]] | None = None,
    wildcard: bool = False,
    options: Sequence[str] = (),
) -> AsyncIterator[Stage]:
    """So many hosts and a spare one, with a process each that is yet to be started."""
    names = [f"n{number}" for number in range(nodes)]
    manager = open_network([*names, NEWCOMER, STRANGER])
    network = await trio.to_thread.run_sync(manager.__enter__)
    try:
        async with open_fleet() as fleet:
            yield Stage(
                fleet,
                network,
                peer,
                names,
                victim=names[victim],
                tags=tags or {},
                wildcard=wildcard,
                options=options,
            )
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(manager.__exit__, None, None, None)
