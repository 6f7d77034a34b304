"""What the members of a simulated cluster say about each other, with true times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from swim.events import Event, MemberFailed, MemberJoined, MemberSuspected
from swim.simulation import World
from swim.simulation.host import SimulatedNode

__all__ = ["DeathLog", "TrafficRate"]


class DeathLog:
    """First suspicions, and who has given up whom when, from now on."""

    def __init__(self, world: World, victims: Collection[str] = ()) -> None:
        self.world = world
        self.start = world.now
        self.victims = set(victims)
        self.suspected: dict[str, float] = {}
        self.deaths: dict[str, dict[str, float]] = {name: {} for name in victims}
        self.reasons = Counter[str]()
        self.verdicts = Counter[tuple[str, str]]()
        """How often which viewer gave up whom, the victims included."""
        self.solo = Counter[tuple[str, str]]()
        """The same, of those verdicts that a member reached alone and keeps to itself."""
        self.returns = Counter[str]()
        self.suspicions = 0
        world.watchers.append(self._note)

    def _note(self, node: SimulatedNode, event: Event) -> None:
        if isinstance(event, MemberSuspected):
            self.suspicions += 1
            self.suspected.setdefault(event.member.name, self.world.now - self.start)
        elif isinstance(event, MemberFailed):
            name = event.member.name
            self.reasons[event.reason] += 1
            self.verdicts[node.name, name] += 1
            self.solo[node.name, name] += node.core.gave_up_alone(name)
            self.deaths.setdefault(name, {}).setdefault(node.name, self.world.now - self.start)
        elif isinstance(event, MemberJoined):
            self.returns[event.member.name] += 1

    def watch(self, victims: Collection[str]) -> None:
        """Begin anew, with these victims."""
        self.start = self.world.now
        self.victims = set(victims)
        self.suspected = {}
        self.deaths = {name: {} for name in victims}

    def all_know(self) -> bool:
        """Has every live member given up every victim?"""
        live = [node.name for node in self.world.running()]
        return all(len(deaths) >= len(live) for name, deaths in self.deaths.items() if name in self.victims)

    def known(self, victim: str) -> float | None:
        """When the last live member had given up this victim; None if some never did."""
        deaths = self.deaths.get(victim, {})
        times = [deaths.get(node.name) for node in self.world.running() if node.name != victim]
        found = [time for time in times if time is not None]
        return max(found) if found and len(found) == len(times) else None

    def first(self, victim: str) -> float | None:
        """When the first member had given it up."""
        return min(self.deaths.get(victim, {}).values(), default=None)

    def healthy_deaths(self, ill: Collection[str]) -> int:
        """Polls about members that nothing was wrong with, in all views."""
        return sum(count for (_, name), count in self.verdicts.items() if name not in ill)


class TrafficRate:
    """Packets and payload bytes per node-second since this was made."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._start = world.now
        self._packets, self._bytes = self._totals()

    def _totals(self) -> tuple[int, int]:
        traffic = [node.traffic for node in self._world.nodes.values()]
        return sum(t.packets_sent for t in traffic), sum(t.bytes_sent for t in traffic)

    def rates(self) -> dict[str, float]:
        packets, size = self._totals()
        seconds = (self._world.now - self._start) * len(self._world.nodes)
        return {
            "packets": (packets - self._packets) / seconds,
            "bytes": (size - self._bytes) / seconds,
        }
