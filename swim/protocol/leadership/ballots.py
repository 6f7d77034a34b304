"""What each voter has answered to a process that asks for the lease."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from swim.protocol.leadership.configuration import Configuration
from swim.protocol.view.table import MemberTable
from swim.types import MemberState
from swim.wire.messages import Refusal

__all__ = ["Ballot", "free_at", "hopeless", "may_answer"]


@dataclass(slots=True)
class Ballot:
    """Of one voter."""

    process: bytes = b""
    turn: int = 0
    answered: int = 0
    """The latest round that it has answered, and when that had been sent."""
    sent: float = -math.inf
    would: int = 0
    """The latest round in which it would have granted the lease."""
    until: float = -math.inf
    """Until when it has promised this process the lease, and in which round."""
    round: int = 0
    token: str = ""
    """The last that it has granted, and under which configuration."""
    digest: bytes = b""
    reason: Refusal = Refusal.NONE
    """Why not, in this round, and when it may be otherwise."""
    free_at: float = -math.inf
    stale: int = 0
    """The latest round that was asked in another turn."""
    earlier: float = -math.inf
    """When it granted the lease last in an earlier turn, at the latest."""

    def refuses(self, now: float) -> bool:
        """In the latest round, and does not hold a promise of before."""
        return self.reason is not Refusal.NONE and self.until <= now


def free_at(ballots: Mapping[str, Ballot], configuration: Configuration, now: float) -> float:
    """When a majority of voters may grant it, by what they said last; inf if they said nothing."""
    free = {
        name: -(max(ballot.free_at, now) if ballot.refuses(now) else now)
        for name, ballot in ballots.items()
        if ballot.refuses(now) or ballot.until > now or 0 < ballot.would == ballot.answered
    }
    return -configuration.majority_until(free)


def hopeless(ballots: Mapping[str, Ballot], configuration: Configuration, table: MemberTable) -> bool:
    """So many refuse, or have left, that there will be no majority in this round."""

    def has_left(name: str) -> bool:
        record = table.get(name)
        return record is not None and record.state is MemberState.LEFT

    return not configuration.majority(
        lambda name: ballots[name].reason is Refusal.NONE and not has_left(name)
    )


def may_answer(name: str, table: MemberTable) -> bool:
    """Is this voter, as far as this node can tell, there?"""
    record = table.get(name)
    return record is not None and record.state is MemberState.ALIVE
