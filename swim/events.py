"""What `Cluster.events` yields: first one `Snapshot`, then a value for every change.

    >>> import swim
    >>> def told(event: swim.Event) -> str:
    ...     match event:
    ...         case swim.Snapshot(members, leader):
    ...             return f"there are {len(members)}"
    ...         case swim.MemberJoined(member):
    ...             return f"{member.name} joined"
    ...         case swim.MemberUpdated(member):
    ...             return f"{member.name} has {dict(member.tags)}"
    ...         case swim.MemberSuspected(member, phi):
    ...             return f"{member.name} does not answer"
    ...         case swim.MemberRecovered(member):
    ...             return f"{member.name} answers again"
    ...         case swim.MemberFailed(member, reason):
    ...             return f"{member.name} failed ({reason})"
    ...         case swim.MemberLeft(member):
    ...             return f"{member.name} left"
    ...         case swim.LeaderChanged(leader):
    ...             return f"{leader.name if leader else 'nobody'} leads"
    ...         case swim.HeldOff(reason=why):
    ...             return f"not a member now: {why}" if why else "a member again"
    ...         case swim.VotersDiffer(member):
    ...             return f"correct the voters of {member.name}"
    ...         case swim.NameDisputed(member, address):
    ...             return f"another {member.name} is at {address}"

In the simulator, as one of five nodes sees it::

    >>> from swim.simulation import World
    >>> world = World(seed=1)
    >>> names, taken = world.grow(5), world.run_until_converged(limit=10.0)
    >>> world.watchers.append(lambda node, event: node.name == "n4" and print(told(event)))
    >>> world.set_tags("n1", {"role": "db"})
    >>> world.run(1.0)
    n1 has {'role': 'db'}
    >>> world.leave("n0")
    >>> world.run(1.0)
    n0 left
    n1 leads
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from swim.types import Address, Member

__all__ = [
    "Event",
    "FailureReason",
    "HeldOff",
    "LeaderChanged",
    "MemberFailed",
    "MemberJoined",
    "MemberLeft",
    "MemberRecovered",
    "MemberSuspected",
    "MemberUpdated",
    "NameDisputed",
    "Snapshot",
    "VotersDiffer",
]

FailureReason = Literal["silence", "process-gone", "quality", "told"]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All present members (this node included) and the leader.

    The first event of every subscription; also what a subscription that fell behind gets in
    place of the events that it lost.
    """

    members: tuple[Member, ...]
    leader: Member | None


@dataclass(frozen=True, slots=True)
class MemberJoined:
    """A member is (again) alive."""

    member: Member


@dataclass(frozen=True, slots=True)
class MemberUpdated:
    """A member's tags or id changed. Also reported about this node itself."""

    member: Member
    previous: Member


@dataclass(frozen=True, slots=True)
class MemberSuspected:
    """A member does not answer. `phi` is None when it was told, not measured."""

    member: Member
    phi: float | None


@dataclass(frozen=True, slots=True)
class MemberRecovered:
    """A suspected member answered, or refuted the suspicion."""

    member: Member


@dataclass(frozen=True, slots=True)
class MemberFailed:
    """A member is given up for dead.

    `reason`: "silence", or "quality" (it lost most packets), as was measured; "process-gone" means that the
    member's kernel said so, or that a new process answers under its name; "told" that whoever says so did
    not say why. `told_by`: the name of the member which has found that out; None: this node itself.
    """

    member: Member
    reason: FailureReason
    told_by: str | None = None


@dataclass(frozen=True, slots=True)
class MemberLeft:
    """A member left of its own will."""

    member: Member


@dataclass(frozen=True, slots=True)
class LeaderChanged:
    """The leader in this node's view is now `leader` (None: there is none)."""

    leader: Member | None
    previous: Member | None
    reason: str = ""
    """Why there is none, in a line."""


@dataclass(frozen=True, slots=True)
class HeldOff:
    """The others have given this node up, and it does not come back yet; None: it does now.

    Until then it is no member to them, whatever it sees, and does not lead.
    """

    reason: str | None


@dataclass(frozen=True, slots=True)
class VotersDiffer:
    """A member has other voters than this node, or another length of the lease, or one of the two has none:
    they grant each other no lease.

    Reported once about a member. Also by a node that has joined a cluster with other voters than it was
    started with (`ours`): it goes by those of the cluster, which `Cluster.set_voters` can change.
    """

    member: Member
    theirs: tuple[str, ...] = ()
    """The names of its voters, and the length of the lease in seconds."""
    their_lease: float = 0.0
    ours: tuple[str, ...] = ()
    our_lease: float = 0.0


@dataclass(frozen=True, slots=True)
class NameDisputed:
    """Another process answers to this node's name at `address`, and it is not proven which of the two has to
    give way; or that one does not. Both go on: stop one of them. `member`: this node.
    """

    member: Member
    address: Address


Event = (
    Snapshot
    | MemberJoined
    | MemberUpdated
    | MemberSuspected
    | MemberRecovered
    | MemberFailed
    | MemberLeft
    | LeaderChanged
    | HeldOff
    | VotersDiffer
    | NameDisputed
)
