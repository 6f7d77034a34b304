"""One node of the agent's process."""

from __future__ import annotations

from dataclasses import dataclass, field

import trio

from swim.cluster import Cluster

__all__ = ["RunningNode"]


@dataclass(eq=False, slots=True)
class RunningNode:
    """Its options that are not the same for all, and, while it is a member, its cluster."""

    name: str | None
    """Its advertised address once that is known, where no name was given."""
    bind: str
    advertise: str | None = None
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    """Cancelled, the node leaves gracefully."""
    cluster: Cluster | None = None
    """Set while the node is a member."""
    uses: dict[str, list[trio.CancelScope]] = field(default_factory=dict)
    """Of each name that is held or owned by a command: cancelled, it is given up."""
    said_to_lead: trio.Event = field(default_factory=trio.Event)
    """Set while the last `leader` line of this node names itself."""
