"""What a node says of its lease to people: which voters grant it, what is in the way, and for how long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from swim.protocol.leadership.ballots import Ballot
from swim.protocol.leadership.electorate import Electorate
from swim.protocol.leadership.queue import Queue
from swim.protocol.leadership.rule import HolderRule
from swim.protocol.view.table import MemberTable
from swim.types import Leadership, Term
from swim.wire.messages import Refusal

__all__ = ["describe_lease", "explain_lease"]

_REFUSALS = {
    Refusal.GRANTED: "has granted it to another",
    Refusal.STARTING: "was started less than one lease ago",
    Refusal.FLOOR: "knows of a leader with a higher id",
    Refusal.VOTERS: "goes by other voters, or another length of the lease, or is no voter",
    Refusal.MOVED: "has no vote at its new address until the voters are set again",
}
_FOR_A_WHILE = Refusal.GRANTED, Refusal.STARTING


class Candidacy(Protocol):
    """What is told of a `Lease`."""

    @property
    def term(self) -> Term | None: ...
    @property
    def term_ends(self) -> float: ...
    @property
    def closing(self) -> bool: ...
    @property
    def unrenewed(self) -> tuple[str, ...]: ...
    @property
    def ballots(self) -> Mapping[str, Ballot]: ...
    @property
    def queue(self) -> Queue: ...


def describe_lease(
    lease: Candidacy, electorate: Electorate, leadership: HolderRule, table: MemberTable, now: float
) -> Leadership:
    """See `Cluster.leadership`."""
    return Leadership(
        leadership.leader,
        leadership.token,
        lease.term,
        max(0.0, lease.term_ends - now) if lease.term is not None else 0.0,
        electorate.configuration.voters,
        tuple(name for name, ballot in lease.ballots.items() if ballot.until > now),
        explain_lease(lease, electorate, table, now) if leadership.leader is None else None,
    )


def explain_lease(lease: Candidacy, electorate: Electorate, table: MemberTable, now: float) -> str:
    """Why there is no leader, as far as this node can tell."""
    configuration = electorate.configuration
    told = [
        f"{len(each) // 2 + 1} of {len(each)} voters have to grant a lease" for each in configuration.lists
    ]
    refusing = {name: ballot for name, ballot in lease.ballots.items() if ballot.reason is not Refusal.NONE}
    granted = sum(1 for ballot in lease.ballots.values() if ballot.until > now)
    if refusing or granted:
        told.append(f"{granted} grant it to this node")
    if lease.closing:
        told.append("what acted for this leader has not ended yet")
    if lease.unrenewed:
        told.append(f"the last one was not renewed by {', '.join(lease.unrenewed)}")
    for name, ballot in refusing.items():
        left = max(0.0, ballot.free_at - now)
        more = f", for {left:.1f} s more" if ballot.reason in _FOR_A_WHILE else ""
        told.append(f"{name} {_REFUSALS[ballot.reason]}{more}")
    if not refusing and lease.queue.ahead:
        told.append(f"it is the turn of {', '.join(lease.queue.ahead)} to ask for it")
    absent = [name for name in configuration.names if (r := table.get(name)) is None or not r.present]
    if absent:
        told.append(f"no members now: {', '.join(absent)}")
    return "; ".join(told)
