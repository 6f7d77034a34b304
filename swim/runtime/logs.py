"""What the logger `swim` tells of events."""

from __future__ import annotations

import logging

from swim.events import (
    Event,
    HeldOff,
    LeaderChanged,
    MemberFailed,
    MemberJoined,
    MemberLeft,
    NameDisputed,
    VotersDiffer,
)

__all__ = ["log_event"]

_logger = logging.getLogger("swim")


def log_event(name: str, event: Event) -> None:
    """What an operator may want to know of a change."""
    match event:
        case MemberJoined(member):
            _logger.info("%s: %s joined", name, member)
        case MemberLeft(member):
            _logger.info("%s: %s left", name, member)
        case MemberFailed(member, reason, told_by):
            told = "" if told_by is None else f", as {told_by} says"
            _logger.info("%s: %s failed (%s%s)", name, member, reason, told)
        case LeaderChanged(leader, reason=reason):
            _logger.info("%s: the leader is %s", name, leader or f"nobody ({reason})")
        case HeldOff(None):
            _logger.warning("%s: this node asks to be a member again", name)
        case HeldOff(why):
            _logger.warning("%s: the others have given this node up, and it stays away: %s", name, why)
        case VotersDiffer(member, theirs, their_lease, ours, our_lease):
            _logger.warning(
                "%s: %s goes by the voters (%s) and a lease of %g s, this node by (%s) and %g s; or it was "
                "started with these: Cluster.set_voters changes those of a running cluster",
                name,
                member,
                ", ".join(theirs) or "none",
                their_lease,
                ", ".join(ours) or "none",
                our_lease,
            )
        case NameDisputed(_, address):
            _logger.warning("%s: another process of this name answers at %s: stop one of them", name, address)
        case _:
            _logger.debug("%s: %s", name, event)
