"""What one node has done and how it fares, in figures, for dashboards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from swim.events import (
    Event,
    LeaderChanged,
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberRecovered,
    MemberSuspected,
    MemberUpdated,
    NameDisputed,
)

__all__ = ["EVENT_NAMES", "CoreStatistics", "Statistics"]

EVENT_NAMES: Mapping[type[Event], str] = {
    MemberJoined: "join",
    MemberUpdated: "update",
    MemberSuspected: "suspect",
    MemberRecovered: "recover",
    MemberFailed: "dead",
    MemberLeft: "leave",
    LeaderChanged: "leader",
    NameDisputed: "disputed",
}
"""The agent's words for the events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreStatistics:
    """The part that the protocol knows: see `Statistics`. Counts are since the node was made."""

    members: int
    """Present members now, this node included."""
    states: Mapping[str, int]
    """Members by what this node believes of them: `alive`, `suspect`; and `dead` and `left`, as far as they
    are remembered."""
    observed: int
    """Members that this node pings now."""
    phi: float
    """The highest phi among them: 0 while all answer in time, from 3 on one is suspected."""
    round_trip: float | None
    """Median of theirs, in seconds; None before the first ack."""
    loss: float
    """The share of pings that they do not answer, median; never below 0.005."""
    stream_only: int
    """Observed members that answer over TCP and not by UDP, which seems to be blocked."""
    pings: int
    """Direct ones: regular, and repeated ones when an ack is overdue."""
    ping_reqs: int
    """Pings through other members."""
    acks: int
    """Answers to either, late ones included."""
    leases: Mapping[str, int]
    """Names that are `held` and `wanted` here. At the leader those of all: `granted` and `waiting` now, and
    how many were `moved` to another owner or `lost` (not renewed) since this node was made."""
    stalled: float
    """Seconds for which this process was not there to serve its timers: a blocked event loop, a pause of the
    garbage collector, a machine that is overloaded. Grows by what is beyond 50 ms each time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics(CoreStatistics):
    """What `Cluster.statistics` returns. Counts are running totals since the node was opened.

    >>> import swim, trio
    >>> async def main():
    ...     async with swim.open_cluster("a", bind="127.0.0.1:0") as cluster:
    ...         statistics: swim.Statistics = cluster.statistics()
    ...         print(statistics.members, statistics.states, statistics.stalled < 1)
    >>> trio.run(main)
    1 {'alive': 1, 'suspect': 0, 'dead': 0, 'left': 0} True
    """

    tx_packets: int
    tx_bytes: int
    """UDP payload, like all bytes of packets."""
    rx_packets: int
    rx_bytes: int
    stream_tx_bytes: int
    stream_rx_bytes: int
    streams: int
    """TCP connections open now."""
    messages: Mapping[str, int]
    """Direct messages that were `sent` (accepted for it) and `received`, broadcasts that were `heard`,
    requests that were `asked` here, and those that were `served` (begun)."""
    unacknowledged: int
    """Direct messages that are on their way now: the other applications have not read them yet."""
    events: Mapping[str, int]
    """How often what happened: `join`, `update`, `suspect`, `recover`, `dead`, `leave`, `leader`."""
    failures: Mapping[str, int]
    """Members given up, by `MemberFailed.reason`."""
    dropped: Mapping[str, int]
    """What was dropped or could not be sent, by reason."""
