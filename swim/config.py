"""The settings of a node, and the three profiles."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

__all__ = ["Config"]

_LEASE_MIN_S = 0.5
_PACKET_SIZE_MIN = 1_024


@dataclass(frozen=True, slots=True)
class Config:
    """How a node behaves. All times are in seconds, all sizes in bytes.

    >>> import swim
    >>> swim.Config.wan(silence_tolerance=5.0).silence_tolerance
    5.0

    Most applications choose a profile (`Config.lan()`, `Config.wan()`, `Config.local()`) and change
    nothing, or only the silence tolerance.
    """

    # --- failure detection
    probe_interval: float = 1.0
    """Every member is pinged once in this time by one of its observers."""
    silence_tolerance: float = 2.0
    """How long a host may be silent before its members are given up for dead.

    Half as much again where it cannot be told whether the host or only the process is silent.
    """
    pause_tolerance: float = 15.0
    """How long a process may be silent while its host's kernel answers.

    A leader that stood still for more than 5 s stays a member, but queues at the back.
    """
    rtt_min: float = 0.01
    """An ack is never expected sooner than this, whatever was measured."""
    rtt_max: float = 1.0
    """The longest wait for one ack before the member is probed again."""
    rings: int = 8
    """Hash rings that decide which member observes which: each has up to this many observers."""
    indirect_probes: int = 2
    """Members asked to ping a silent one in each round (SWIM's k)."""
    round_max: float = 0.2
    """The longest wait between two rounds of probes of a silent member."""

    # --- dissemination
    fanout: int = 4
    """Rings along which news is flooded."""
    flood_delay: float = 0.005
    """Between two floods half to one and a half of this time passes, so that one packet carries much news."""
    piggyback_limit: int = 3
    """How often each piece of news also rides on pings and acks."""
    packet_size_max: int = 1200
    """UDP payload that what we send does not exceed; at least 1,024, for large tags and broadcasts.

    As in QUIC: any path passes packets of 1,280 bytes, and many pass no larger ones without a word. TCP
    segments are limited alike. Only what others began, such as a Serf event, may be larger (up to 1,400).
    """

    # --- leadership
    lease: float = 3.0
    """With voters: how long a lease lasts that is not renewed; at least 0.5. The same at all nodes.

    Each voter is asked three times in it, and a round trip must take much less than a third of it.
    """

    session: float = 6.0
    """How long a process keeps the names that it holds (`Cluster.hold`) when the leader does not answer.

    The same at all nodes. At least two leases, so that it outlives a change of the leader; with a longer
    `lease` it is that.
    """

    # --- staying one cluster
    push_pull_interval: float = 30.0
    """Full state exchange with a random member; grows with log2 of the cluster size above 32."""
    reconnect_interval: float = 10.0
    """A random dead member and a seed that is not alive are tried this often."""
    dead_retention: float = 86_400.0
    """How long dead members are remembered."""
    dead_max: int = 4_096
    """How many dead members are remembered."""
    join_retry_interval: float = 1.0
    """A node that has not joined yet asks all its seeds this often."""
    founding_silence: float = 5.0
    """A seed that is not the lowest of its list founds the cluster when none answered for so long."""
    clock_skew_max: float = 60.0
    """Wall clocks may differ by this much between a joining node and the cluster."""
    leave_linger: float = 0.3
    """A leaving node goes on answering for this long, so that its farewell arrives."""

    # --- limits
    members_max: int = 65_536
    """Members that are kept at all, dead ones included."""
    stream_timeout: float = 10.0
    """For a whole exchange over TCP."""
    streams_max: int = 256
    """TCP connections served at once; more are closed at once, and counted."""
    kept_streams_max: int = 1_024
    """TCP connections that other members may keep open to this one, apart from `streams_max`."""
    leases_max: int = 65_536
    """Names in use that a leader keeps; a quarter of that for one process."""
    event_buffer: int = 1_024
    """Events kept for a slow reader before it is given a fresh snapshot instead."""

    message_buffer: int = 1_024
    """Broadcasts kept for a slow reader before it misses some, and is told how many."""
    message_memory: int = 67_108_864
    """Bytes of memory for direct messages that are not read yet; then the senders of most of it wait."""

    def __post_init__(self) -> None:
        for field in fields(self):
            name, value = field.name, getattr(self, field.name)
            if not isinstance(value, int if field.type == "int" else (int, float)):
                raise TypeError(f"{name} must be of type {field.type}, not {value!r}")
            if not value > 0:
                raise ValueError(f"{name} must be greater than 0, not {value!r}")
        if math.inf in (self.lease, self.session):
            raise ValueError("lease and session must be finite: they say when others may take over")
        if self.lease < _LEASE_MIN_S:
            raise ValueError(f"lease must be at least {_LEASE_MIN_S} s, not {self.lease!r}")
        if self.packet_size_max < _PACKET_SIZE_MIN:
            raise ValueError(
                f"packet_size_max must be at least {_PACKET_SIZE_MIN}, not {self.packet_size_max}"
            )
        if self.rings < self.fanout:
            raise ValueError(f"fanout ({self.fanout}) cannot exceed rings ({self.rings})")

    @classmethod
    def lan(cls, **changes: Any) -> Config:
        """One data centre: round trips of about a millisecond."""
        return replace(cls(), **changes)

    @classmethod
    def wan(cls, **changes: Any) -> Config:
        """Several regions: round trips of 30 to 300 ms."""
        return replace(cls(rtt_min=0.05, silence_tolerance=3.0, leave_linger=1.0), **changes)

    @classmethod
    def local(cls, **changes: Any) -> Config:
        """Processes on one machine: as lan, with less patience."""
        return replace(cls(silence_tolerance=1.0, push_pull_interval=15.0), **changes)
