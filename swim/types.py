"""The values that every layer shares: addresses, members, states.

    >>> from swim import Address, Member, MemberState
    >>> member = Member("db-1", Address("10.0.0.7", 7946), tags={"role": "db"})
    >>> str(member), member.tags["role"], member.state is MemberState.ALIVE, member.state.present
    ('db-1 (10.0.0.7:7946)', 'db', True, True)

`Term`, `Leadership` and `Explanation` are in the example of `swim.Cluster`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple, TypeVar, dataclass_transform

__all__ = ["Address", "Explanation", "Leadership", "Lease", "Member", "MemberState", "Term", "value"]

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def value(cls: type[T]) -> type[T]:
    """As `dataclass(frozen=True, slots=True)`, for what is made for every packet.

    That it is not changed is left to the type checker: to have Python forbid it takes four times as long as
    to make the object.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)


class Address(NamedTuple):
    """A numeric IP address in its shortest text form, and a port. Prints as ``host:port``.

    IPv4 addresses mapped into IPv6 are never kept as such: see `swim.wire.addresses`.
    """

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class MemberState(Enum):
    """What a node believes of a member (SWIM section 4.2; LEFT is memberlist's addition)."""

    ALIVE = "alive"
    SUSPECT = "suspect"
    DEAD = "dead"
    LEFT = "left"

    @property
    def present(self) -> bool:
        """Counted as a member: alive, or suspected but not yet given up."""
        return self is MemberState.ALIVE or self is MemberState.SUSPECT


@dataclass(frozen=True, slots=True)
class Member:
    """One member of the cluster, as this node sees it. A snapshot: it never changes.

    `id` orders members by when they joined; None for a foreign member (memberlist, Serf).
    """

    name: str
    address: Address
    id: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    state: MemberState = MemberState.ALIVE
    incarnation: int = 1
    process: str | None = None
    """Which process has the name: the same for as long as it runs, whatever else changes; another one after
    a restart. None for a foreign member.
    """

    def __str__(self) -> str:
        return f"{self.name} ({self.address})"


@dataclass(frozen=True, slots=True)
class Explanation:
    """What this node can say of a member's health: see `Cluster.explain`. All times in seconds."""

    member: Member
    observers: tuple[str, ...]
    """The members that ping it regularly."""
    refutations: int = 0
    """How often it gave news of itself that ended a suspicion or its death, here and under this name."""
    observed_here: bool = False
    """This node is one of them; what follows is measured here."""
    state: str = ""
    """What this node thinks of it: "answering", "asked", "doubted", "suspected", "polled"; or, where it
    answers over TCP and not by UDP, "stream-only" or "stream-asked"."""
    phi: float = 0.0
    """The accrual level; from 3 on it is suspected, from 8 on this node would give it up."""
    silence: float = 0.0
    """Since the first ping that it has not answered."""
    last_heard: float | None = None
    """Since its last ack."""
    round_trip: float | None = None
    """Of its last ack that came directly."""
    loss: float = 0.0
    """The share of pings to it that it does not answer."""
    kernel: str = "unknown"
    """What the kernel of its host says: "answers", "silent", "refuses" (it, or a firewall), "unknown"."""
    accusers: Mapping[str, str] = field(default_factory=dict)
    """Other observers, and what they say: "hint" (silent towards me) or "poll" (I would give it up)."""


@dataclass(frozen=True, slots=True)
class Term:
    """One uninterrupted time in which this node acts as leader."""

    token: str
    """The fencing token: 26 characters, as text above that of every earlier term that this node has heard of.

    Send it along with every write to a storage that remembers the highest token it has seen and refuses
    lower ones.
    """
    since: float
    """When the term began, on this node's own clock (trio's, plus the time that the machine has slept)."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A name that this process holds: see `Cluster.hold`."""

    name: str
    token: str
    """The fencing token: as text above those of all earlier leases of this name."""
    since: float
    """When it was granted, on this node's own clock (trio's, plus the time that the machine has slept)."""


@dataclass(frozen=True, slots=True)
class Leadership:
    """Which member leads, on what grounds, and what is in the way, for people: see `Cluster.leadership`."""

    leader: Member | None
    token: str | None = None
    """The leader's fencing token, as far as this node has heard."""
    term: Term | None = None
    """This node's own, while it acts as leader."""
    remaining: float = 0.0
    """Seconds until that term ends, unless it is renewed; ``inf`` when only an event can end it."""
    voters: tuple[str, ...] = ()
    """The voters, a majority of which grants the lease; none: the leader follows from the members."""
    granted: tuple[str, ...] = ()
    """The voters whose grant this node holds now."""
    problem: str | None = None
    """One line: why there is no leader, or why this node leads and does not act."""
