"""Streams that are kept open to those whom this node observes, so that their kernels can speak for them.

A process that dies closes them at once, whatever it was doing. One that stands still does not, and its
kernel goes on acknowledging: that tells a pause from a lost host, of which nothing is heard at all.
On a kept stream that nobody asks about nothing is sent.
"""

from __future__ import annotations

import errno
import os
import random
from math import inf
from typing import Protocol

import trio

from swim.connections import Connections, all_acknowledged, keep_alive
from swim.protocol.node import Node, Phase
from swim.types import Address
from swim.wire import DecodeError
from swim.wire.kept import PROBE, SESSION_SIZE, Frame, Hello, KeptChannel, Sign

__all__ = ["Guest", "KeptStreams", "Reports"]

_LOOK_INTERVAL = 1.0
_TIDY_INTERVAL = 30.0
_STAGGER = 0.02
_CONNECT_PATIENCE = 3.0
_REST_MIN, _REST_MAX = 1.0, 30.0
_ASKED_LATELY = 5.0
_POLLS = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.2)
"""The pauses before each look whether a probe was acknowledged: half a second in all."""


class Reports(Protocol):
    """Who wants to know what kernels say; see the same verbs of `Node`."""

    def receive_kernel_answer(self, address: Address) -> None:
        """It took something from us."""

    def receive_unreachable(self, address: Address) -> None:
        """Nobody listens there."""

    def receive_stream_closed(self, address: Address) -> None:
        """The other side closed it."""


class KeptStreams:
    """All kept streams of one node: those that it opens, and its guests."""

    def __init__(self, node: Node, connections: Connections, reports: Reports) -> None:
        self.connections = connections
        self.reports = reports
        self._node = node
        self._keepers: dict[Address, _Keeper] = {}
        self._guests: dict[str, Guest] = {}
        self._next_look = self._next_tidying = -inf

    # --- those that this node opens
    def look(self, nursery: trio.Nursery) -> None:
        """Open what the node wants and close what it does not want any more. Does little most times."""
        now = trio.current_time()
        if now < self._next_look or self._node.phase is not Phase.MEMBER:
            return
        self._next_look = now + _LOOK_INTERVAL
        wanted = self._node.streams_to_keep(now)
        for address, keeper in list(self._keepers.items()):
            keeper.follow(address in wanted, now)
        missing = [address for address in wanted if address not in self._keepers]
        for place, address in enumerate(missing):
            self._keep(address, place * _STAGGER, nursery).wanted = True
        if now >= self._next_tidying:
            self._next_tidying = now + _TIDY_INTERVAL
            self._tidy()

    def probe(self, address: Address, nursery: trio.Nursery) -> None:
        """Ask the kernel there: by a probe on the stream, or by opening one."""
        keeper = self._keepers.get(address) or self._keep(address, 0.0, nursery)
        keeper.probe(nursery)

    def _keep(self, address: Address, delay: float, nursery: trio.Nursery) -> _Keeper:
        keeper = self._keepers[address] = _Keeper(self, address)
        nursery.start_soon(self._run, keeper, delay)
        return keeper

    @trio.lowlevel.enable_ki_protection
    async def _run(self, keeper: _Keeper, delay: float) -> None:
        try:
            await keeper.run(delay)
        finally:
            del self._keepers[keeper.address]

    def new_channel(self, *, opener: bool) -> KeptChannel:
        """One end of a new stream."""
        return self._node.codec.kept_channel(opener=opener)

    @property
    def opening(self) -> bytes:
        """See `Codec.kept_opening`."""
        return self._node.codec.kept_opening

    def hello(self, to: str) -> Hello:
        """This node's own, for a new stream."""
        return Hello(self._node.name, self._node.boot.encode(), os.urandom(SESSION_SIZE), to)

    def name_at(self, address: Address) -> str | None:
        """Whose address it is now."""
        member = self._node.member_at(address)
        return None if member is None else member.name

    # --- those that others open
    async def greet(self, stream: trio.SocketStream, data: bytes) -> Guest | None:
        """Shake hands with the opener of a stream; `data` is what has arrived behind the opening.

        None when it cannot stay.
        """
        guest = Guest(self, stream)
        try:
            while not await guest.shake_hands(data):
                data = await self.connections.read(stream)
                if not data:
                    return None
        except DecodeError as error:
            self.connections.drop(f"kept-{error.reason}")
            return None
        return guest if guest.welcome else None

    def refusal(self, hello: Hello) -> str | None:
        """Why this opener cannot stay."""
        if hello.to != self._node.name:
            return "kept-name"  # of whoever had this address before
        if self._node.member(hello.name) is None:
            return "kept-stranger"
        if hello.name not in self._guests and len(self._guests) >= self._node.config.kept_streams_max:
            return "kept-max"
        return None

    async def attend(self, guest: Guest) -> None:
        """Keep the stream of a guest until either side closes it. There is one for each name."""
        earlier, self._guests[guest.name] = self._guests.get(guest.name), guest
        if earlier is not None:
            earlier.scope.cancel()
        try:
            closed = await guest.stay()
        finally:
            if self._guests.get(guest.name) is guest:
                del self._guests[guest.name]
        member = self._node.member(guest.name)
        if closed and member is not None:
            self.reports.receive_stream_closed(member.address)

    def _tidy(self) -> None:
        """Whoever is no member any more has perhaps not been able to say goodbye."""
        for guest in list(self._guests.values()):
            if self._node.member(guest.name) is None:
                guest.scope.cancel()


class Guest:
    """The end of a stream that another node keeps open to this one."""

    def __init__(self, kept: KeptStreams, stream: trio.SocketStream) -> None:
        self.name = ""
        self.scope = trio.CancelScope()
        self.welcome = True
        self._kept = kept
        self._stream = stream
        self._channel = kept.new_channel(opener=False)
        self._bye = False

    async def shake_hands(self, data: bytes) -> bool:
        """Whether that is done, one way or the other."""
        for frame in self._read(data):
            if isinstance(frame, Hello):
                self.name = frame.name
                refusal = self._kept.refusal(frame)
                if refusal is not None:
                    self._kept.connections.drop(refusal)
                    self.welcome = False
                    return True
                answer = self._channel.encode(self._kept.hello(frame.name))
                await self._kept.connections.write(self._stream, answer)
        return self._channel.established

    async def stay(self) -> bool:
        """Until the stream ends. Whether the other side closed it, without having said that it would."""
        connections = self._kept.connections
        if not connections.may_stay(self._stream):
            connections.drop("kept-EMFILE")
            return False
        keep_alive(self._stream, opener=False)
        with self.scope:
            try:
                while data := await connections.read(self._stream):
                    self._read(data)
            except trio.BrokenResourceError as error:
                return _was_closed(error) and not self._bye
            except DecodeError as error:
                connections.drop(f"kept-{error.reason}")
                return False
            return not self._bye
        return False

    def _read(self, data: bytes) -> list[Frame]:
        frames = self._channel.feed(data)
        self._bye = self._bye or Sign.BYE in frames
        return frames


class _Keeper:
    """Keeps one stream open to one address, for as long as that is wanted."""

    def __init__(self, kept: KeptStreams, address: Address) -> None:
        self.address = address
        self.wanted = False
        """By the node; otherwise it has asked something of that kernel, which takes a connection."""
        self._kept = kept
        self._scope = trio.CancelScope()
        self._dismissed = False
        self._asked = -inf
        self._stream: trio.SocketStream | None = None
        """Connected; the other process need not have taken notice of that yet."""
        self._attempted = -inf
        self._urged = trio.Event()
        self._watching = False
        self._boot = b""

    async def run(self, delay: float) -> None:
        """Open it, and open it again when it was closed."""
        failures = 0
        with self._scope:
            await trio.sleep(delay)
            while True:
                self._attempted = trio.current_time()
                established = await self._attempt()
                lasted = established and trio.current_time() - self._attempted > _REST_MIN
                failures = 0 if lasted else failures + 1
                await self._rest(failures)

    def follow(self, wanted: bool, now: float) -> None:
        """The node has looked again whom it observes."""
        if wanted and not self.wanted and self._stream is not None:
            # Somebody whom it observes anew: it does not know yet that this kernel can be heard.
            self._kept.reports.receive_kernel_answer(self.address)
        self.wanted = wanted
        if not wanted and now - self._asked > _ASKED_LATELY:
            self._dismissed = True
            self._scope.cancel()

    async def _rest(self, failures: int) -> None:
        pause = 0.0 if failures == 0 else min(_REST_MAX, _REST_MIN * 2 ** (failures - 1))
        self._urged = trio.Event()
        with trio.move_on_after(pause * random.uniform(0.75, 1.25)):
            await self._urged.wait()

    async def _attempt(self) -> bool:
        """One stream from beginning to end. Whether it was established."""
        to = self._kept.name_at(self.address)
        stream = None if to is None else await self._connect()
        if to is None or stream is None:
            return False
        connections, channel = self._kept.connections, self._kept.new_channel(opener=True)
        async with connections.open(stream):
            self._stream = stream
            try:
                closed = await self._talk(stream, channel, to)
            finally:
                self._stream = None
                if self._dismissed and channel.established:
                    connections.write_at_once(stream, channel.encode(Sign.BYE))
        if closed and channel.established:
            self._kept.reports.receive_stream_closed(self.address)
        return channel.established

    async def _connect(self) -> trio.SocketStream | None:
        connections, reports = self._kept.connections, self._kept.reports
        stream = None
        try:
            with trio.move_on_after(_CONNECT_PATIENCE):
                stream = await connections.connect(self.address, to_keep=True)
        except ConnectionRefusedError:
            reports.receive_unreachable(self.address)
        except OSError as error:
            connections.drop(f"kept-{errno.errorcode.get(error.errno or 0, 'error')}")
        if stream is not None:
            reports.receive_kernel_answer(self.address)
        return stream

    async def _talk(self, stream: trio.SocketStream, channel: KeptChannel, to: str) -> bool:
        """Until the stream ends. Whether the other side closed it."""
        connections = self._kept.connections
        keep_alive(stream, opener=True)
        try:
            await connections.write(stream, self._kept.opening + channel.encode(self._kept.hello(to)))
            while data := await connections.read(stream):
                for frame in channel.feed(data):
                    if isinstance(frame, Hello):
                        if frame.name != to:
                            connections.drop("kept-name")
                            return False
                        # Without waiting, during which this could be cancelled: a BYE must come after it.
                        if not connections.write_at_once(stream, channel.encode(Sign.READY)):
                            return False
                        self._meet(frame.boot)
                    elif frame is Sign.BYE:
                        return False
        except trio.BrokenResourceError as error:
            return _was_closed(error)
        except DecodeError as error:
            connections.drop(f"kept-{error.reason}")
            return False
        return True

    def _meet(self, boot: bytes) -> None:
        """Another process under the same name: the earlier one has ended while nothing arrived here."""
        if self._boot not in (b"", boot):
            self._kept.reports.receive_stream_closed(self.address)
        self._boot = boot

    # --- asking the kernel
    def probe(self, nursery: trio.Nursery) -> None:
        """Is the other kernel there? If it says so, that is reported."""
        self._asked = trio.current_time()
        if self._stream is None:
            if self._asked - self._attempted >= _REST_MIN:
                self._urged.set()
        elif not self._watching:
            self._watching = True
            # If something is on its way already, its acknowledgement will do.
            if all_acknowledged(self._stream):
                self._kept.connections.write_at_once(self._stream, PROBE)
            nursery.start_soon(self._watch, self._stream)

    @trio.lowlevel.enable_ki_protection
    async def _watch(self, stream: trio.SocketStream) -> None:
        """Look now and then, soon at first, whether everything was acknowledged."""
        try:
            for pause in _POLLS:
                await trio.sleep(pause)
                if self._stream is not stream:
                    return
                if all_acknowledged(stream):
                    self._kept.reports.receive_kernel_answer(self.address)
                    return
        finally:
            self._watching = False


def _was_closed(error: trio.BrokenResourceError) -> bool:
    """Closed by the other side; otherwise we have heard nothing for so long that the kernel gave up."""
    return isinstance(error.__cause__, (ConnectionResetError, BrokenPipeError))
