"""What `Cluster.messages` yields."""

from __future__ import annotations

from dataclasses import dataclass

from swim.types import Member

__all__ = ["Broadcast", "DirectMessage", "Lagged", "Message"]


@dataclass(frozen=True, slots=True)
class DirectMessage:
    """What `sender` has sent to this node alone, with `Cluster.send`."""

    sender: Member
    payload: bytes


@dataclass(frozen=True, slots=True)
class Broadcast:
    """What `sender` has sent to all, with `Cluster.broadcast`.

    None: a Serf user event, which does not say whose it is; or its sender is no member any more.
    """

    sender: Member | None
    name: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Lagged:
    """Here so many broadcasts are missing, because the reader was too slow. Direct messages never are."""

    count: int


Message = DirectMessage | Broadcast | Lagged
