"""Self-managing clusters for trio programs. README.md of the repository is the tour."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from swim.config import Config
from swim.errors import (
    AddressInUse,
    JoinError,
    KeyringError,
    NameConflict,
    PayloadTooLarge,
    SendError,
    SwimError,
    TagsError,
    VotersError,
)
from swim.events import (
    Event,
    HeldOff,
    LeaderChanged,
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberRecovered,
    MemberSuspected,
    MemberUpdated,
    NameDisputed,
    Snapshot,
    VotersDiffer,
)
from swim.messages import Broadcast, DirectMessage, Lagged
from swim.spreading import rendezvous
from swim.statistics import Statistics
from swim.text import PrintableLines
from swim.types import Address, Explanation, Member, MemberState, Term

if TYPE_CHECKING:
    from swim.cluster import Cluster, open_cluster

__all__ = [
    "Address",
    "AddressInUse",
    "Broadcast",
    "Cluster",
    "Config",
    "DirectMessage",
    "Event",
    "Explanation",
    "HeldOff",
    "JoinError",
    "KeyringError",
    "Lagged",
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
    "NameDisputed",
    "PayloadTooLarge",
    "SendError",
    "Snapshot",
    "Statistics",
    "SwimError",
    "TagsError",
    "Term",
    "VotersDiffer",
    "VotersError",
    "open_cluster",
    "rendezvous",
]

logging.getLogger("swim").addHandler(logging.NullHandler())
logging.getLogger("swim").addFilter(PrintableLines())


def __getattr__(name: str) -> Any:
    # Looked up when first used: the core, which needs no trio, can be imported where trio is not.
    if name in ("Cluster", "open_cluster"):
        from swim import cluster

        value = globals()[name] = getattr(cluster, name)
        return value
    raise AttributeError(f"module 'swim' has no attribute {name!r}")
