"""What a node puts out: datagrams, requests for streams, events, broadcasts; and what it dropped, counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

from swim.events import Event
from swim.messages import Broadcast
from swim.types import Address, Member
from swim.wire import Codec
from swim.wire.messages import DeathReason, Message, PushPull, StreamMessage

__all__ = ["Outbox", "Output", "Query", "QueryKey", "Reply", "Request", "Verdict", "Way"]

Way = Literal["udp", "stream", "helper"]
"""How a message goes out: by itself, over the kept stream, or through another member that asks for us."""

_WARNED_S = 3_600.0
_WARNED_MAX = 16
"""Warnings an hour, and how long one is not repeated: see `Outbox.warn`."""


@dataclass(frozen=True, slots=True)
class Request:
    """A stream that the driver is to open: connect, send `content`, read one answer, close.

    The driver reports the outcome with `Node.receive_answer`, always and once.
    """

    token: int
    address: Address
    message: StreamMessage
    codec: Codec

    @property
    def content(self) -> bytes:
        """All at once; `Codec.streaming` does it in steps."""
        return self.codec.stream(self.message)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A death that this node has found out, and what it rests on. For traces, and for people."""

    name: str
    reason: DeathReason
    solo: bool
    evidence: str
    """What led to it, oldest first, each with the seconds before the verdict."""
    asked: tuple[str, ...] = ()
    agreed: tuple[str, ...] = ()

    def __str__(self) -> str:
        votes = f"{len(self.agreed)} of {len(self.asked)} others agree ({', '.join(self.agreed)})"
        return f"{self.name} {self.reason}{' (alone)' if self.solo else ''}: {self.evidence}; {votes}"


QueryKey = tuple[int, int]
"""Tells a Serf query from all others: its Lamport time, and a random number."""


@dataclass(frozen=True, slots=True)
class Query:
    """A Serf agent asks this of all members. To answer: `Node.answer_query`."""

    member: Member
    name: str
    payload: bytes
    key: QueryKey


@dataclass(frozen=True, slots=True)
class Reply:
    """What a Serf agent answers to `Node.query`."""

    member: Member
    payload: bytes
    key: QueryKey


@dataclass(slots=True)
class Output:
    """All that a node has put out since it was last drained, each in order; and when to call it again."""

    datagrams: list[tuple[bytes, Address]] = field(default_factory=list)
    stream_packets: list[tuple[bytes, Address]] = field(default_factory=list)
    """For the kept stream with the own member there, as UDP to it is silent.

    They go over whichever stream there is, opened by either side; without one, the driver opens one. A packet
    that cannot be written within a second or so is of no use any more: nothing waits for it.
    """
    requests: list[Request] = field(default_factory=list)
    """Streams to open."""
    kernel_probes: list[Address] = field(default_factory=list)
    """Where the kernel is to be asked whether it still answers.

    The driver writes to the kept stream and looks whether that is acknowledged, or opens a connection; it
    reports `receive_kernel_answer`, `receive_refusal`, or nothing.
    """
    streams_changed: bool = False
    """`Node.streams_to_keep` is worth a look now, without waiting for the next regular one."""
    broadcasts: list[Broadcast] = field(default_factory=list)
    """What was broadcast, each once."""
    queries: list[Query] = field(default_factory=list)
    """What Serf agents ask."""
    replies: list[Reply] = field(default_factory=list)
    """What Serf agents answer."""
    events: list[Event] = field(default_factory=list)
    """What happened (never a `Snapshot`: the driver makes those)."""
    warnings: list[str] = field(default_factory=list)
    """What the operator of this node should know, a sentence each."""
    verdicts: list[Verdict] = field(default_factory=list)
    """The deaths that this node has found out itself, each with its evidence."""
    faults: list[tuple[str, Exception]] = field(default_factory=list)
    """What failed in a later step of some work (a defect of this node), and the host that the work was for.

    The work is dropped, as bad input is: it must not be able to end the node.
    """
    deadline: float | None = None
    """When `Node.handle_timer` is to be called next."""


class Outbox:
    """Collects output until the driver drains it."""

    def __init__(self, codec: Codec) -> None:
        self.codec = codec
        self.datagrams: list[tuple[bytes, Address]] = []
        self.stream_packets: list[tuple[bytes, Address]] = []
        self._streamed: Callable[[Address], bool] = lambda address: False
        self.requests: list[Request] = []
        self.kernel_probes: dict[Address, None] = {}
        self.streams_changed = False
        self.events: list[Event] = []
        self.broadcasts: list[Broadcast] = []
        self.queries: list[Query] = []
        self.replies: list[Reply] = []
        self.verdicts: list[Verdict] = []
        self.faults: list[tuple[str, Exception]] = []
        self.dropped: dict[str, int] = {}
        self.warnings: list[str] = []
        self._warned: dict[tuple[str, str], float] = {}
        self._token = 0

    def drain(self, deadline: float | None) -> Output:
        """See `Node.drain`."""
        drained = Output(
            self.datagrams,
            self.stream_packets,
            self.requests,
            list(self.kernel_probes),
            self.streams_changed,
            self.broadcasts,
            self.queries,
            self.replies,
            self.events,
            self.warnings,
            self.verdicts,
            self.faults,
            deadline,
        )
        self.datagrams, self.stream_packets, self.requests = [], [], []
        self.broadcasts, self.events, self.warnings, self.verdicts, self.faults = [], [], [], [], []
        self.queries, self.replies = [], []
        self.kernel_probes.clear()
        self.streams_changed = False
        return drained

    def drop(self, reason: str, count: int = 1) -> None:
        self.dropped[reason] = self.dropped.get(reason, 0) + count

    def look_at_streams(self) -> None:
        """See `Output.streams_changed`."""
        self.streams_changed = True

    def stream_where(self, covers: Callable[[Address], bool]) -> None:
        """What is sent to these addresses by UDP goes over the stream, too."""
        self._streamed = covers

    def put(self, packet: bytes, address: Address, way: Way | None = None) -> None:
        """A packet by UDP, and where that is silent over the stream, too; or only the one way."""
        if way != "stream":
            self.datagrams.append((packet, address))
        if way == "stream" or (way is None and self._streamed(address)):
            self.stream_packets.append((packet, address))

    def warn(self, what: str, about: str, text: str, now: float) -> None:
        """Tell the operator of this node, once an hour for each pair of `what` and `about`.

        Strangers can cause warnings, under as many addresses as they like: so many an hour, and no more.
        """
        key = (what, about)
        for old in [old for old, told in self._warned.items() if now - told >= _WARNED_S]:
            del self._warned[old]
        if key not in self._warned and len(self._warned) < _WARNED_MAX:
            self._warned[key] = now
            self.warnings.append(text)

    def send(self, address: Address, *messages: Message) -> None:
        """One packet with these messages."""
        codec = self.codec
        self.put(codec.packet([codec.part(message) for message in messages]), address)

    def request(self, address: Address, message: StreamMessage) -> int:
        """Ask the driver for a stream; returns the token under which its outcome will come back."""
        self._token += 1
        if isinstance(message, PushPull) and message.head is not None:
            message = replace(message, head=replace(message.head, question=self._token))
        self.requests.append(Request(self._token, address, message, self.codec))
        return self._token
