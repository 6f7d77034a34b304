"""What happened: a log of events with true times, counters, and a hash that tells two runs apart."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from hashlib import blake2b
from struct import Struct

from swim.events import Event, HeldOff, LeaderChanged, Snapshot
from swim.types import Member

__all__ = ["NodeTraffic", "Record", "Trace"]

TAIL = 60
_PACKET = Struct("<dIII")


@dataclass(frozen=True, slots=True)
class Record:
    """One event: when in true time, at which node."""

    time: float
    node: str
    event: Event

    @property
    def member(self) -> Member | None:
        """The member that it is about; the new leader for a `LeaderChanged`."""
        if isinstance(self.event, LeaderChanged):
            return self.event.leader
        return None if isinstance(self.event, Snapshot | HeldOff) else self.event.member

    def __str__(self) -> str:
        member = self.member
        about = f"{member.name} {member.id} {member.address} #{member.incarnation}" if member else "-"
        reason = getattr(self.event, "reason", "")
        return f"{self.time:.6f} {self.node}: {type(self.event).__name__} {about} {reason}".rstrip()


@dataclass(slots=True)
class NodeTraffic:
    """Running totals of one node, over all its processes."""

    packets_sent: int = 0
    bytes_sent: int = 0
    packets_received: int = 0
    bytes_received: int = 0
    packets_overflowed: int = 0
    streams_opened: int = 0
    stream_bytes_sent: int = 0


class Trace:
    """The log, and the hash over everything that was delivered or happened."""

    def __init__(self, whole_packets: bool, keep_events: bool) -> None:
        self.records: list[Record] = []
        self._tail: deque[str | Record] = deque(maxlen=TAIL)
        self._hash = blake2b(digest_size=16)
        self._whole = whole_packets
        self._keep = keep_events

    def packet(self, time: float, source: int, target: int, data: bytes) -> None:
        """A datagram, or a stream's content, was delivered."""
        self._hash.update(_PACKET.pack(time, source, target, len(data)))
        if self._whole:
            self._hash.update(data)

    def event(self, time: float, node: str, event: Event) -> Record:
        record = Record(time, node, event)
        self._hash.update(f"{time!r} {record}".encode())
        self._tail.append(record)
        if self._keep:
            self.records.append(record)
        return record

    def note(self, time: float, text: str) -> None:
        """Something was done to the world: a fault, a start."""
        self._hash.update(f"{time!r} {text}".encode())
        self._tail.append(f"{time:.6f} {text}")

    def digest(self) -> str:
        """Equal for two runs if, to all practical certainty, the same things happened in both."""
        return self._hash.hexdigest()

    def tail(self) -> str:
        """The last notes and events, a line each."""
        return "\n".join(str(entry) for entry in self._tail)
