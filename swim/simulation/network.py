"""What becomes of a packet between two nodes: how long it takes, whether it arrives, how often."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from enum import Enum
from itertools import permutations
from random import Random
from typing import Any

from swim.simulation.checks import check_duration, check_positive, check_share

__all__ = ["Burst", "Cut", "Fabric", "Network", "Protocol", "Refusal"]


class Protocol(Enum):
    """What a packet carries."""

    UDP = "udp"
    TCP = "tcp"
    ICMP = "icmp"
    """Errors only: the firewalls here know them by what they are about, and let them pass."""

    @property
    def headers(self) -> int:
        """The size of those of IP and of this."""
        return 40 if self is Protocol.TCP else 28


@dataclass(frozen=True, slots=True)
class Refusal:
    """How a firewall answers what it does not let through; one that drops does not answer."""

    by_router: bool
    """On the way, and not at the destination, whose kernel seems to say it otherwise."""
    resets: bool
    """TCP by a reset, which ends a connection; else by ICMP, which an established one ignores."""


@dataclass(frozen=True, slots=True)
class Burst:
    """Losses that come together (Gilbert-Elliott): each directed link has good and bad spells.

    Their lengths are exponential with these means in seconds; `loss` holds during the bad ones.
    """

    good: float = 20.0
    bad: float = 0.5
    loss: float = 0.9

    def __post_init__(self) -> None:
        check_positive("good", self.good)
        check_positive("bad", self.bad)
        check_share("loss", self.loss)


@dataclass(frozen=True, slots=True)
class Network:
    """The weather. Times in seconds, probabilities between 0 and 1.

    The one-way delay is log-normal (so packets overtake each other), plus half the round trip
    between two regions when there is more than one.
    """

    median: float = 0.00025
    sigma: float = 1.0
    delay_max: float = 0.02
    regions: int = 1
    region_rtt: tuple[float, float] = (0.03, 0.15)
    jitter: float = 0.05
    """Mean of the exponential share of the distance that is added between regions."""
    loss: float = 0.0
    burst: Burst | None = None
    duplicate: float = 0.0
    unreachable: bool = True
    """A live host tells the sender when no process listens (ICMP port unreachable)."""

    def __post_init__(self) -> None:
        check_share("loss", self.loss)
        check_share("duplicate", self.duplicate)
        for name in ("median", "sigma", "delay_max", "jitter"):
            check_duration(name, getattr(self, name))
        for seconds in self.region_rtt:
            check_duration("region_rtt", seconds)
        if self.regions < 1:
            raise ValueError(f"regions must be at least 1, not {self.regions!r}")

    @classmethod
    def lan(cls, **changes: Any) -> Network:
        """One data centre: a quarter of a millisecond each way."""
        return replace(cls(), **changes)

    @classmethod
    def wan(cls, **changes: Any) -> Network:
        """Five regions, 30 to 150 ms of round trip between them."""
        return replace(cls(regions=5), **changes)


@dataclass(frozen=True, eq=False, slots=True)
class Cut:
    """What does not pass from `sources` to `targets`; None: all others, or, for both, all."""

    sources: frozenset[str] | None
    targets: frozenset[str] | None
    protocol: Protocol | None = None
    """None: nothing does."""
    size_max: int = 0
    """Smaller packets, with their headers, do."""
    refusal: Refusal | None = None
    """None: it is dropped without a word."""

    def severs(self, source: str, target: str, protocol: Protocol, size: int) -> bool:
        if size <= self.size_max or (self.protocol is not None and protocol is not self.protocol):
            return False
        if self.sources is None:
            return self.targets is None or (target in self.targets and source not in self.targets)
        if source not in self.sources:
            return False
        return target not in self.sources if self.targets is None else target in self.targets


class Fabric:
    """The network as it is now, between nodes known by name."""

    def __init__(self, network: Network, rng: Random, geography: Random) -> None:
        self.network = network
        self.loss = network.loss
        self.burst = network.burst
        self.duplicate = network.duplicate
        self.cuts: list[Cut] = []
        self.incoming: dict[str, float] = {}
        self.outgoing: dict[str, float] = {}
        self.links: dict[tuple[str, str], float] = {}
        self._rng = rng
        self._geography = geography
        self._region: dict[str, int] = {}
        self._distance: dict[tuple[int, int], float] = {}
        self._spells: dict[tuple[str, str], tuple[bool, float]] = {}

    def place(self, name: str, region: int | None = None) -> None:
        """Give a node its region: the next in turn unless one is given."""
        turn = len(self._region) % self.network.regions
        self._region[name] = turn if region is None else region

    def delay(self, source: str, target: str) -> float:
        """One way, in seconds."""
        network = self.network
        delay = min(network.median * self._rng.lognormvariate(0.0, network.sigma), network.delay_max)
        if network.regions > 1:
            distance = self._between(self._region.get(source, 0), self._region.get(target, 0))
            delay += distance * (1.0 + network.jitter * self._rng.expovariate(1.0))
        return delay

    def barrier(self, source: str, target: str, protocol: Protocol, size: int) -> Cut | None:
        """What does not let such a packet through."""
        for cut in self.cuts:
            if cut.severs(source, target, protocol, size):
                return cut
        return None

    def passes(self, source: str, target: str, now: float, protocol: Protocol, size: int) -> bool:
        """Does one packet sent now arrive?"""
        if self.cuts and self.barrier(source, target, protocol, size) is not None:
            return False
        survival = 1.0 - self.loss
        if self.outgoing or self.incoming or self.links:
            survival *= 1.0 - self.outgoing.get(source, 0.0)
            survival *= 1.0 - self.incoming.get(target, 0.0)
            survival *= 1.0 - self.links.get((source, target), 0.0)
        if self.burst is not None and self._in_burst(source, target, self.burst, now):
            survival *= 1.0 - self.burst.loss
        return survival >= 1.0 or self._rng.random() < survival

    def copies(self) -> int:
        """How many times a packet that arrives does so."""
        if not self.duplicate:
            return 1
        return 2 if self._rng.random() < self.duplicate else 1

    def cut(
        self,
        groups: Iterable[Collection[str]],
        one_way: bool,
        protocol: Protocol | None = None,
        size_max: int = 0,
        refusal: Refusal | None = None,
    ) -> list[Cut]:
        """Such packets do not pass between the groups; a single group is cut off from all others.

        One way: they do not pass from an earlier group to a later one. Without groups they pass nowhere.
        """
        sets = [frozenset(group) for group in groups]
        ways: list[tuple[frozenset[str] | None, frozenset[str] | None]]
        if not sets:
            ways = [(None, None)]
        elif len(sets) == 1:
            ways = [(sets[0], None), *([] if one_way else [(None, sets[0])])]
        else:
            pairs = permutations(range(len(sets)), 2)
            ways = [(sets[i], sets[j]) for i, j in pairs if i < j or not one_way]
        cuts = [Cut(*way, protocol, size_max, refusal) for way in ways]
        self.cuts.extend(cuts)
        return cuts

    def wall(self, name: str, protocol: Protocol | None, refusal: Refusal) -> Cut:
        """Such packets do not reach a host."""
        cut = Cut(None, frozenset([name]), protocol, refusal=refusal)
        self.cuts.append(cut)
        return cut

    def _between(self, one: int, other: int) -> float:
        if one == other:
            return 0.0
        pair = (min(one, other), max(one, other))
        if pair not in self._distance:
            self._distance[pair] = self._geography.uniform(*self.network.region_rtt) / 2.0
        return self._distance[pair]

    def _in_burst(self, source: str, target: str, burst: Burst, now: float) -> bool:
        bad, until = self._spells.get((source, target), (True, 0.0))
        while until <= now:
            bad = not bad
            until += self._rng.expovariate(1.0 / (burst.bad if bad else burst.good))
        self._spells[source, target] = (bad, until)
        return bad
