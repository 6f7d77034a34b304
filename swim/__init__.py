"""Self-managing clusters for trio programs. See the README for a tour."""

from __future__ import annotations

from swim.config import Config
from swim.errors import AddressInUse, JoinError, KeyringError, NameConflict, SwimError, TagsError
from swim.events import (
    Event,
    LeaderChanged,
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberRecovered,
    MemberSuspected,
    MemberUpdated,
    Snapshot,
)
from swim.types import Address, Member, MemberState

__all__ = [
    "Address",
    "AddressInUse",
    "Config",
    "Event",
    "JoinError",
    "KeyringError",
    "LeaderChanged",
    "Member",
    "MemberFailed",
    "MemberJoined",
    "MemberLeft",
    "MemberRecovered",
    "MemberState",
    "MemberSuspected",
    "MemberUpdated",
    "NameConflict",
    "Snapshot",
    "SwimError",
    "TagsError",
]
