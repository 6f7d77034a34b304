"""One stream that this node keeps open to another, with the messages that go over it.

A process that dies closes it at once, whatever it was doing. One that stands still does not, and its
kernel goes on acknowledging: that tells a pause from a lost host, of which nothing is heard at all.
"""

from __future__ import annotations

import errno
import random
from collections import deque
from collections.abc import Callable, Generator
from functools import partial
from itertools import islice
from math import inf

import trio

from swim.runtime.kept.handshake import Handshake
from swim.runtime.kept.sending import SendWindow
from swim.runtime.kept.stream import PACKETS_MAX, KeptStream
from swim.runtime.network import Connection
from swim.types import Address
from swim.wire import DecodeError
from swim.wire.kept import PROBE, Data, Frame, Hello, Sign, Taken

__all__ = ["Opener"]

_CONNECT_PATIENCE = 3.0
_REST_MIN, _REST_MAX = 1.0, 30.0
"""Seconds between two attempts to open it: the shortest pause, and the longest."""
_REST_WITH_TRAFFIC = 0.1, 1.0
"""The same while something waits to be sent over it."""
_REST_REACHED = 0.1
"""A process is there. It has not heard yet of this one, or not yet that it is a member."""
_DOUBLINGS_MAX = 16
_ASKED_LATELY = 5.0
_POSTED_LATELY = 10.0
_CARRIED_LATELY = 60.0
"""A stream that is not wanted any more stays for so long after a probe, a packet, a message went over it."""
_GATHER = 0.0005
"""What is put in while this passes is written together."""
_FRAMES_AT_ONCE = 4
"""In one write: 128 KiB."""
_POLLS = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.2)
"""The pauses before each look whether a probe was acknowledged: half a second in all."""


class Opener:
    """Keeps one stream open to one address, for as long as that is wanted."""

    def __init__(self, handshake: Handshake, address: Address, lose: Callable[[str, str], None]) -> None:
        """`lose`: what is on its way to a member will not arrive, and why."""
        self.address = address
        self.wanted = False
        """By the node; otherwise it has asked something of that kernel, which takes a connection."""
        self._handshake = handshake
        self._lose = lose
        self._scope = trio.CancelScope()
        self._dismissed = False
        self._asked = -inf
        self._carried = -inf
        self._carries = False
        """Something was written for a member since it was last asked whether this is `_in_use`."""
        self._posted = -inf
        self._packets = deque[bytes](maxlen=PACKETS_MAX)
        self._to = ""
        self._window: SendWindow | None = None
        self._stream: KeptStream | None = None
        self._attempted = -inf
        self._urged = trio.Event()
        self._watching = self._reached = False
        self._boot = self._memory = b""
        self._present = False
        """The process at the other end has been the member of its name."""

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
                await self._rest(failures - established)  # the first time that it ends it is tried at once

    def follow(self, wanted: bool, now: float) -> None:
        """The node has looked again which members it observes."""
        used = self._in_use(now)
        if wanted and not self.wanted and self._stream is not None:
            # A member that it observes anew: it does not know yet that this kernel can be heard.
            self._handshake.reports.receive_kernel_answer(self.address)
        self.wanted = wanted
        if not wanted and now - self._asked > _ASKED_LATELY and not used:
            self.end()

    def end(self) -> None:
        """Close it, and do not open it again."""
        self._dismissed = True
        self._scope.cancel()

    def _in_use(self, now: float) -> bool:
        if self._carries:
            self._carried, self._carries = now, False
        return now - self._carried < _CARRIED_LATELY or now - self._posted < _POSTED_LATELY

    def leave_predecessor(self) -> None:
        """Begin anew if the process at the other end has a successor as the member of its name.

        A host that was lost and is back has not closed the stream, and while nothing is written on it nothing
        tells that it leads nowhere.
        """
        stream = self._stream
        if stream is None or not stream.channel.established:
            return
        present = self._handshake.present(stream.name, stream.boot)
        if self._present and not present:
            stream.say_bye()
            assert stream.nursery is not None
            stream.nursery.cancel_scope.cancel()
        self._present = present

    @property
    def established(self) -> bool:
        """The other process answers to its name here."""
        return self._stream is not None and self._stream.channel.established

    def post(self, packet: bytes) -> None:
        """A packet for the member at this address: at once, or when there is a stream."""
        self._posted = trio.current_time()
        self._packets.append(packet)
        if self._stream is not None:
            self._stream.post()
        elif self._posted - self._attempted >= _REST_WITH_TRAFFIC[1]:
            self._urged.set()

    def carry(self, window: SendWindow) -> bool:
        """There are messages for the member at this address. Returns whether they are being written."""
        self._carried = trio.current_time()
        self.leave_predecessor()
        stream = self._stream
        # Not to a successor: the sender has to be told when the process is gone to which it has sent.
        if stream is None or not stream.channel.established or stream.boot != window.boot:
            if self._carried - self._attempted >= _REST_WITH_TRAFFIC[0]:
                self._urged.set()
            return False
        if self._window is not window:
            self._begin_writing(stream, window)
        return self._window is window

    async def _rest(self, failures: int) -> None:
        used = self._in_use(trio.current_time())
        shortest, longest = _REST_WITH_TRAFFIC if used else (_REST_MIN, _REST_MAX)
        shortest = _REST_REACHED if self._reached else shortest
        pause = 0.0 if failures == 0 else min(longest, shortest * 2 ** min(failures - 1, _DOUBLINGS_MAX))
        pause *= random.uniform(0.75, 1.25)
        self._urged = trio.Event()
        with trio.move_on_after(pause):
            await self._urged.wait()

    async def _attempt(self) -> bool:
        """One stream from beginning to end. Whether it was established."""
        to = self._handshake.name_at(self.address)
        connection = None if to is None else await self._connect()
        self._reached = connection is not None
        if to is None or connection is None:
            self._packets.clear()
            return False
        self._to = to
        async with self._handshake.connections.open(connection), trio.open_nursery() as nursery:
            stream = self._stream = KeptStream(self._handshake, connection, self._packets, opener=True)
            stream.nursery = nursery
            try:
                await self._converse(stream)
                stream.say_bye()
            finally:
                self._stream = None
                if self._window is not None:
                    self._window.carried, self._window = False, None
                if self._dismissed:
                    stream.say_bye()
            nursery.cancel_scope.cancel()
        stream.report_end()
        return stream.channel.established

    async def _connect(self) -> Connection | None:
        connections, reports = self._handshake.connections, self._handshake.reports
        connection = None
        try:
            with trio.move_on_after(_CONNECT_PATIENCE):
                connection = await connections.connect(self.address, to_keep=self._carried == -inf)
        except ConnectionRefusedError:
            reports.receive_refusal(self.address)
        except OSError as error:
            connections.drop(f"kept-{errno.errorcode.get(error.errno or 0, 'error')}")
        if connection is not None:
            reports.receive_kernel_answer(self.address)
        return connection

    async def _converse(self, stream: KeptStream) -> None:
        """Until the stream ends, or there is a reason to end it."""
        stream.connection.keep_alive(opener=True)
        try:
            await stream.write(self._handshake.hello(self._to, opener=True), opening=self._handshake.opening)
            while data := await stream.read():
                if not await self._handshake.turns.run(self._understanding(stream, data)):
                    return
        except trio.BrokenResourceError:
            pass
        except DecodeError as error:
            self._handshake.connections.drop(f"kept-{error.reason}")

    def _understanding(self, stream: KeptStream, data: bytes) -> Generator[None, None, bool]:
        """Step by step. Whether to go on."""
        while True:
            for frame in stream.understand(data):
                if not self._understand(stream, frame):
                    return False
            if not stream.channel.ready:
                return True
            data = b""
            yield

    def _understand(self, stream: KeptStream, frame: Frame) -> bool:
        """Whether to go on."""
        if isinstance(frame, Taken):
            if self._window is None or not self._window.taken(frame.number, trio.current_time()):
                raise DecodeError("taken", f"message {frame.number} cannot have been taken")
            return True
        if not isinstance(frame, Hello):
            return False
        if frame.name != self._to:
            self._handshake.connections.drop("kept-name")
            return False
        # Without waiting, during which this could be cancelled: a BYE must come after it.
        if not stream.write_at_once(Sign.READY):
            return False
        self._meet(frame)
        self._handshake.learn(frame)
        self._present = self._handshake.present(frame.name, frame.boot)
        self._memory = frame.memory
        window = self._handshake.mail.window(self._to)
        if window is not None and window.boot != frame.boot:
            self._lose(self._to, "was started again")
        elif window is not None:
            self._begin_writing(stream, window)
        stream.post()
        return True

    def _meet(self, hello: Hello) -> None:
        """Another process under the same name: the earlier one has ended while nothing arrived here."""
        if self._boot not in (b"", hello.boot):
            self._handshake.reports.receive_stream_end(hello.name, self._boot)
        self._boot = hello.boot

    # --- messages
    def _begin_writing(self, stream: KeptStream, window: SendWindow) -> None:
        if self._window is None or self._window.closed:
            self._window = window
            window.carried = True
            self._handshake.mail.remembered(window, self._memory)
            window.rewind()
            window.write_now = partial(self._write_now, stream)
            assert stream.nursery is not None
            stream.nursery.start_soon(self._write, stream, window)

    @trio.lowlevel.enable_ki_protection
    async def _write(self, stream: KeptStream, window: SendWindow) -> None:
        try:
            while not window.closed:
                await window.wait_filled()
                while frames := list(islice(iter(window.next_data, None), _FRAMES_AT_ONCE)):
                    self._carries = True
                    await stream.write(*frames)
                # A sender that has more to say already will have still more: better all of that together.
                await trio.lowlevel.checkpoint()
                if window.queued:
                    await trio.sleep(_GATHER)
        except trio.BrokenResourceError:
            return

    @trio.lowlevel.enable_ki_protection
    def _write_now(self, stream: KeptStream, data: Data) -> bool:
        if self._stream is not stream or stream.in_frame:
            return False
        self._carries = True
        stream.write_now(data)
        return True

    # --- asking the kernel
    def probe(self, nursery: trio.Nursery) -> None:
        """Is the other kernel there? If it says so, that is reported."""
        self._asked = trio.current_time()
        stream = self._stream
        if stream is None:
            if self._asked - self._attempted >= _REST_MIN:
                self._urged.set()
        elif not self._watching:
            self._watching = True
            if stream.connection.all_acknowledged():
                stream.write_at_once(PROBE)
            nursery.start_soon(self._watch, stream, stream.connection.acknowledged_bytes())

    @trio.lowlevel.enable_ki_protection
    async def _watch(self, stream: KeptStream, acknowledged: int) -> None:
        """Look now and then, soon at first, whether it acknowledges more than so many bytes."""
        connection = stream.connection
        try:
            for pause in _POLLS:
                await trio.sleep(pause)
                if self._stream is not stream:
                    return
                if connection.all_acknowledged() or connection.acknowledged_bytes() > acknowledged:
                    self._handshake.reports.receive_kernel_answer(self.address)
                    return
                if self._window is not None and pause == _POLLS[0]:
                    # Messages on their way fill the buffers of a process that stands still, and then
                    # its kernel takes no probe on this stream.
                    assert stream.nursery is not None
                    stream.nursery.start_soon(self._knock)
        finally:
            self._watching = False

    @trio.lowlevel.enable_ki_protection
    async def _knock(self) -> None:
        connection = await self._connect()
        if connection is not None:
            connection.close()
