"""Self-managing clusters for trio programs. README.md of the repository is the tour."""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

from swim.config import Config
from swim.errors import (
    AddressInUse,
    JoinError,
    KeyringError,
    LeaseLost,
    LeaseRefused,
    NameConflict,
    PayloadTooLarge,
    RequestError,
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
from swim.messages import Answer, Broadcast, DirectMessage, Lagged
from swim.spreading import rendezvous
from swim.statistics import Statistics
from swim.text import PrintableLines
from swim.types import Address, Explanation, Leadership, Lease, Member, MemberState, Term

if TYPE_CHECKING:
    from swim.cluster import Cluster, open_cluster
    from swim.runtime.feeds.inbox import MessageStream
    from swim.runtime.feeds.subscriptions import EventStream

__all__ = [
    "Address",
    "AddressInUse",
    "Answer",
    "Broadcast",
    "Cluster",
    "Config",
    "DirectMessage",
    "Event",
    "EventStream",
    "Explanation",
    "HeldOff",
    "JoinError",
    "KeyringError",
    "Lagged",
    "LeaderChanged",
    "Leadership",
    "Lease",
    "LeaseLost",
    "LeaseRefused",
    "Member",
    "MemberFailed",
    "MemberJoined",
    "MemberLeft",
    "MemberRecovered",
    "MemberState",
    "MemberSuspected",
    "MemberUpdated",
    "MessageStream",
    "NameConflict",
    "NameDisputed",
    "PayloadTooLarge",
    "RequestError",
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

__version__ = "0.1.0"

_ON_TRIO = {
    "Cluster": "swim.cluster",
    "EventStream": "swim.runtime.feeds.subscriptions",
    "MessageStream": "swim.runtime.feeds.inbox",
    "open_cluster": "swim.cluster",
}
"""Looked up when first used: the core, which needs no trio, can be imported where trio is not."""

logging.getLogger("swim").addHandler(logging.NullHandler())
logging.getLogger("swim").addFilter(PrintableLines())


def __getattr__(name: str) -> Any:
    if name not in _ON_TRIO:
        raise AttributeError(f"module 'swim' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_ON_TRIO[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_ON_TRIO})
