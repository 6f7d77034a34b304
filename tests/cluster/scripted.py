"""A node that does what a test tells it and remembers what it was told: for tests of the driver alone."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from typing import Any, cast

import trio

from swim.config import Config
from swim.events import Event, MemberUpdated
from swim.protocol.base.networks import Networks
from swim.protocol.node import Node, Output, Phase, Request
from swim.runtime.clock import NodeClock
from swim.runtime.driver import Driver
from swim.runtime.running import running
from swim.runtime.sockets.resolve import Seeds
from swim.runtime.sockets.transport import open_transport
from swim.types import Address, Member, Term
from swim.wire import Codec, DecodeError, StreamDecoder
from swim.wire.messages import StreamMessage, UserMessage
from swim.wire.source import Reading

Call = tuple[Any, ...]


class RawCodec(Codec):
    """Writes bytes in place of a message as they are."""

    def streaming(self, message: Any, *, answering: bool = False) -> Reading[bytes]:
        if isinstance(message, bytes):
            return message
        return (yield from super().streaming(message, answering=answering))


class NoLeases:
    """Nobody uses names."""

    idle = True

    def take_changes(self) -> list[Any]:
        return []


class ScriptedNode:
    """Notes every call in `calls`; `on` has the test's reaction to a call, by the method's name."""

    def __init__(self, address: Address, *, config: Config | None = None) -> None:
        self.name = "scripted"
        self.address = address
        self.config = config or Config.local(leave_linger=0.05)
        self.codec: Codec = RawCodec()
        self.phase = Phase.NEW
        self.failure: Exception | None = None
        self.member_at_start = True
        self.deadline: float | None = None
        self.patient = math.inf
        """From when on a timer may fire that could wait until the deadline."""
        self.calls: list[Call] = []
        self.on: dict[str, Callable[..., Any]] = {}
        self.dropped: dict[str, int] = {}
        self.stalled = 0.0
        self.datagrams: list[tuple[bytes, Address]] = []
        self.requests: list[Request] = []
        self.probes: list[Address] = []
        self.streams_changed = False
        self.keep: tuple[Address, ...] = ()
        self.boot = "bootboot"
        self.known = False
        self.members_at: set[Address] = set()
        self.over_stream: list[tuple[bytes, Address]] = []
        self.others: list[Member] = []
        self.events: list[Event] = []
        self.faults: list[tuple[str, Exception]] = []
        self.leases = NoLeases()
        self.term: Term | None = None
        self.term_ends = math.inf
        self._token = 0
        self._heard = trio.lowlevel.ParkingLot()

    def stream_decoder(self, *, answering: bool) -> StreamDecoder:
        return self.codec.stream_decoder(answering=answering)

    @property
    def me(self) -> Member:
        return Member(self.name, self.address, id="0" * 26)

    leader = me

    def members(self) -> tuple[Member, ...]:
        return (self.me,)

    def note_functions(self, running: bool, now: float) -> None:
        """It keeps no lease."""

    def updated(self) -> Event:
        """An event to hand out."""
        return MemberUpdated(self.me, self.me)

    def _note(self, name: str, *arguments: Any) -> Any:
        self.calls.append((name, *arguments))
        self._heard.unpark_all()
        reaction = self.on.get(name)
        return None if reaction is None else reaction(*arguments)

    async def heard(self, name: str, count: int = 1) -> list[Call]:
        """Wait until a method was called so often; the calls."""
        with trio.fail_after(60):
            while True:
                calls = [call for call in self.calls if call[0] == name]
                if len(calls) >= count:
                    return calls
                await self._heard.park()

    # --- what the driver calls
    def start(self, seeds: Any, now: float) -> None:
        self.phase = Phase.MEMBER if self.member_at_start else Phase.JOINING
        self._note("start", seeds)

    def set_seeds(self, seeds: Any, now: float) -> None:
        self._note("set_seeds", seeds)

    def sync(self, address: Address, now: float) -> int:
        self._token += 1
        self.requests.append(Request(self._token, address, UserMessage(b"sync"), self.codec))
        return self._token

    def leave(self, now: float) -> None:
        self.phase = Phase.LEAVING
        self.deadline = now + self.config.leave_linger
        self._note("leave")

    def require_may_yield(self) -> None:
        self._note("require_may_yield")

    def yield_leadership(self, now: float) -> None:
        self._note("yield_leadership")

    def set_tags(self, tags: Any, now: float) -> None:
        self._note("set_tags", tags)

    def receive_datagram(self, data: bytes, source: Address, now: float) -> None:
        self._note("receive_datagram", data, source)

    def receive_refusal(self, address: Address, now: float) -> None:
        self._note("receive_refusal", address)

    def receive_kernel_answer(self, address: Address, now: float) -> None:
        self._note("receive_kernel_answer", address)

    def receive_stream_end(self, name: str, boot: str, now: float) -> None:
        self._note("receive_stream_end", name, boot)

    def receive_stream_packet(self, data: bytes, name: str, boot: str, now: float) -> None:
        self._note("receive_stream_packet", data, name, boot)

    def member(self, name: str) -> Member | None:
        return next((other for other in self.others if other.name == name), None)

    def version_of(self, name: str) -> object:
        return self.member(name)

    def boot_of(self, name: str) -> str | None:
        member = self.member(name)
        return None if member is None or member.id is None else "peerboot"

    def member_at(self, address: Address) -> Member | None:
        return next((other for other in self.others if other.address == address), None)

    def knows(self, address: Address) -> bool:
        return self.known or address in self.members_at

    def answer(self, message: StreamMessage, source: Address, now: float) -> StreamMessage | None:
        return cast("StreamMessage | None", self._note("receive_request", message))

    def receive_bad_stream(self, error: DecodeError, source: Address, now: float) -> bytes | None:
        return cast("bytes | None", self._note("receive_bad_stream", error.reason))

    def receive_answer(self, token: int, answer: StreamMessage | Exception | None, now: float) -> str | None:
        self._note("receive_answer", token, answer)
        return None if isinstance(answer, UserMessage) else f"{type(answer).__name__}"

    def handle_timer(self, now: float) -> None:
        self.deadline = None
        if self.phase is Phase.LEAVING:
            self.phase = Phase.LEFT
        self._note("handle_timer")

    def may_handle_timer(self, now: float) -> bool:
        return now >= self.patient

    def next_deadline(self) -> float | None:
        return self.deadline

    def drain(self) -> Output:
        drained = Output(
            datagrams=self.datagrams,
            stream_packets=self.over_stream,
            requests=self.requests,
            kernel_probes=self.probes,
            streams_changed=self.streams_changed,
            events=self.events,
            faults=self.faults,
            deadline=self.deadline,
        )
        self.faults, self.streams_changed = [], False
        self.datagrams, self.over_stream, self.requests, self.probes, self.events = [], [], [], [], []
        return drained

    def streams_to_keep(self, now: float) -> tuple[Address, ...]:
        return self.keep


def make_driver(
    *,
    host: str = "127.0.0.1",
    config: Config | None = None,
    networks: Sequence[str] = (),
    seeds: Sequence[str] = (),
    clock: NodeClock | None = None,
) -> tuple[ScriptedNode, Driver]:
    """A scripted node on sockets of its own, not running yet."""
    transport = open_transport(host, 0)
    node = ScriptedNode(transport.address, config=config)
    driver = Driver(cast(Node, node), transport, Seeds(seeds), Networks(networks), clock or NodeClock())
    return node, driver


@asynccontextmanager
async def driven(**options: Any) -> AsyncIterator[tuple[ScriptedNode, Driver]]:
    """A scripted node that runs."""
    node, driver = make_driver(**options)
    with closing(driver.transport):
        async with running(driver, ()):
            yield node, driver
