"""Kept streams on real sockets: between scripted nodes, and against a peer that the test plays itself."""

from __future__ import annotations

import errno
import gc
import math
import os
import socket
import struct
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import Any, cast

import pytest
import trio

from swim.config import Config
from swim.errors import SendError
from swim.events import MemberFailed
from swim.runtime.driver import Driver
from swim.runtime.kept.mail import _LEFT_MAX
from swim.runtime.kept.opener import Opener
from swim.runtime.kept.sending import WINDOW_SIZE
from swim.runtime.kept.stream import KeptStream
from swim.runtime.network import Traffic
from swim.runtime.sockets.connections import SocketConnection
from swim.runtime.sockets.transport import open_transport
from swim.types import Address, Member
from swim.wire import Codec, Keyring
from swim.wire.kept import (
    PIECE_SIZE_MAX,
    PROBE,
    Data,
    Frame,
    Hello,
    KeptChannel,
    Packet,
    Sign,
    Taken,
)
from swim.wire.records import MESSAGE_SIZE_MAX, Kind, Record, RecordReader, pack_record
from tests.cluster.scripted import ScriptedNode, driven
from tests.cluster.together import Stopwatch
from tests.wire.vectors import seeded_bytes

PEER = "peer"
BOOT = b"peerboot"
PACKET = "receive_stream_packet"
KERNEL, CLOSED, GONE = "receive_kernel_answer", "receive_stream_end", "receive_refusal"
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what was acknowledged")


class Peer:
    """A listener at which the node wants a stream kept, and the other ends of the streams."""

    def __init__(self, node: ScriptedNode, driver: Driver, codec: Codec) -> None:
        self.node, self.driver, self.codec = node, driver, codec
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen()
        self.listener.setblocking(False)
        self.streams: list[trio.SocketStream] = []
        self.early: list[Frame] = []
        """What came together with the end of the handshake."""
        self.address = Address(*self.listener.getsockname())
        node.others = [Member(PEER, self.address, id="1" * 26)]

    def want(self) -> None:
        self.keep(self.address)

    def keep(self, *addresses: Address) -> None:
        """What the node wants from now on; without the wait until the driver looks again."""
        self.node.keep, self.node.streams_changed = addresses, True
        self.driver.settle()

    def close(self) -> None:
        self.listener.close()
        for stream in self.streams:
            stream.socket.close()

    async def accept(self) -> trio.SocketStream:
        with trio.fail_after(60):
            await trio.lowlevel.wait_readable(self.listener)
        sock, _ = self.listener.accept()
        self.streams.append(trio.SocketStream(trio.socket.from_stdlib_socket(sock)))
        return self.streams[-1]

    async def accept_hello(self) -> tuple[trio.SocketStream, KeptChannel, Hello]:
        stream = await self.accept()
        channel = self.codec.kept_channel(opener=False)
        opening = self.codec.kept_opening
        data = await receive(stream, len(opening))
        assert data == opening
        hello = await next_frame(stream, channel)
        assert isinstance(hello, Hello)
        return stream, channel, hello

    async def establish(self, memory: bytes = b"") -> tuple[trio.SocketStream, KeptChannel]:
        stream, channel, hello = await self.accept_hello()
        await stream.send_all(channel.encode(Hello(PEER, BOOT, b"p" * 16, hello.name, memory=memory)))
        ready, *self.early = await next_frames(stream, channel)
        assert ready is Sign.READY
        return stream, channel

    async def ask_kernel(self) -> None:
        self.node.probes.append(self.address)
        self.driver.settle()
        await trio.lowlevel.checkpoint()

    def told(self, verb: str) -> int:
        return sum(call[:2] in ((verb, self.address), (verb, PEER)) for call in self.node.calls)


async def receive(stream: trio.SocketStream, size: int) -> bytes:
    data = b""
    with trio.fail_after(60):
        while len(data) < size:
            more = bytes(await stream.receive_some(size - len(data)))
            assert more, "closed"
            data += more
    return data


async def next_frames(stream: trio.SocketStream, channel: KeptChannel) -> list[Frame]:
    with trio.fail_after(60):
        while True:
            data = bytes(await stream.receive_some(65_536))
            assert data, "closed"
            if frames := channel.feed(data):
                return frames


async def next_frame(stream: trio.SocketStream, channel: KeptChannel) -> Frame:
    (frame,) = await next_frames(stream, channel)
    return frame


async def at_end(stream: trio.SocketStream) -> bool:
    with trio.fail_after(60):
        try:
            while await stream.receive_some(65_536):
                pass
        except trio.BrokenResourceError:
            return True
    return True


async def until(holds: Callable[[], bool]) -> None:
    with trio.fail_after(60):
        while not holds():  # noqa: ASYNC110
            await trio.sleep(0.005)


def reset(stream: trio.SocketStream) -> None:
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


@asynccontextmanager
async def peered(codec: Codec | None = None, config: Config | None = None) -> AsyncIterator[Peer]:
    async with driven(config=config) as (node, driver):
        if codec is not None:
            node.codec = codec
        peer = Peer(node, driver, node.codec)
        with closing(peer):
            yield peer


def keyed() -> Codec:
    return Codec(label="blue", keyring=Keyring([b"k" * 16], random_bytes=seeded_bytes(1)))


# --- streams that the node opens


@pytest.mark.parametrize("make_codec", [Codec, keyed])
async def test_a_stream_is_opened_kept_and_its_end_reported(make_codec: Callable[[], Codec]) -> None:
    async with peered(make_codec()) as peer:
        peer.want()
        stream, _, hello = await peer.accept_hello()
        assert (hello.name, hello.boot, hello.to) == ("scripted", b"bootboot", PEER)
        assert peer.told(KERNEL) == 1, "connected, so its kernel can be heard"
        await stream.aclose()
        await trio.sleep(0.05)
        assert peer.told(CLOSED) == 0, "it was never established"
        stream, _ = await peer.establish()
        await trio.sleep(0.05)
        assert peer.driver.transport.traffic.streams == 1
        sent = peer.driver.transport.traffic.stream_tx_bytes
        await trio.sleep(1.2)
        assert peer.driver.transport.traffic.stream_tx_bytes == sent, "nothing is sent when nothing happens"
        assert peer.told(CLOSED) == 0
        await stream.aclose()
        await peer.node.heard(CLOSED)


@pytest.mark.parametrize("end", ["close", "reset"])
async def test_after_its_end_it_is_opened_again_at_once(end: str) -> None:
    async with peered() as peer:
        peer.want()
        stream, _ = await peer.establish()
        await trio.sleep(1.1)
        reset(stream) if end == "reset" else await stream.aclose()
        stopwatch = Stopwatch()
        await peer.establish()
        assert stopwatch.seconds < 0.5
        assert (peer.told(CLOSED), peer.told(GONE)) == ((0, 1) if end == "reset" else (1, 0))


async def test_a_refusal_is_reported_and_tried_again_with_back_off() -> None:
    async with peered(config=Config.local(pause_tolerance=0.1, leave_linger=0.05)) as peer:
        peer.listener.close()
        peer.want()
        await peer.node.heard(GONE)
        await trio.sleep(0.5)
        assert peer.told(GONE) == 1
        await peer.node.heard(GONE, 2)
        assert peer.told(KERNEL) == 0


async def test_a_process_that_does_not_let_this_one_stay_yet_is_asked_again_soon() -> None:
    """It may hear of this member a moment later; and may die after that."""
    async with peered() as peer:
        peer.want()
        stream, _, _ = await peer.accept_hello()
        stopwatch = Stopwatch()
        await stream.aclose()
        await peer.establish()
        assert stopwatch.seconds < 0.6


async def test_after_thousands_of_failures_it_is_still_tried_again() -> None:
    """As where TCP is blocked for days, and UDP is not."""
    opener = Opener(cast(Any, None), Address("127.0.0.1", 1), lambda name, why: None)
    with trio.move_on_after(0.02) as patience:
        await opener._rest(5_000)
    assert patience.cancelled_caught


async def test_what_is_not_wanted_any_more_is_closed_with_a_bye() -> None:
    async with peered() as peer:
        peer.want()
        stream, channel = await peer.establish()
        peer.keep()
        assert await next_frame(stream, channel) is Sign.BYE
        assert await at_end(stream)
        assert peer.told(CLOSED) == 0
        assert peer.driver.transport.traffic.streams == 0


@pytest.mark.parametrize("make_codec", [Codec, keyed])
async def test_a_bye_never_comes_before_the_ready(make_codec: Callable[[], Codec]) -> None:
    async with peered(make_codec()) as peer:
        peer.want()
        stream, channel, _ = await peer.accept_hello()
        (opener,) = peer.driver._kept._openers.values()
        meet = opener._meet

        def dismiss(hello: Hello) -> None:  # at the worst moment
            meet(hello)
            opener._asked = -math.inf
            peer.keep()

        opener._meet = dismiss  # type: ignore[method-assign]
        await stream.send_all(channel.encode(Hello(PEER, BOOT, b"p" * 16)))
        data = b""
        while more := bytes(await stream.receive_some(100)):
            data += more
        assert channel.feed(data) == [Sign.READY, Sign.BYE]


async def test_a_bye_of_the_acceptor_is_no_alarm() -> None:
    async with peered() as peer:
        peer.want()
        stream, channel = await peer.establish()
        await stream.send_all(channel.encode(Sign.BYE))
        assert await at_end(stream)
        assert peer.told(CLOSED) == 0


async def test_what_is_written_after_the_end_does_not_hide_it() -> None:
    async with peered() as peer:
        peer.want()
        stream, _ = await peer.establish()
        (opener,) = peer.driver._kept._openers.values()
        mine = opener._stream
        assert mine is not None
        stream.socket.close()
        for _ in range(2):  # the first is answered with a reset, which the second is told of
            mine.write_at_once(PROBE)
            time.sleep(0.01)  # noqa: ASYNC251  (nobody reads meanwhile)
        assert isinstance(mine._error, BrokenPipeError)
        await peer.node.heard(CLOSED)
        assert peer.told(GONE) == 0


async def test_a_reset_that_answers_what_was_written_is_a_refusal() -> None:
    async with peered() as peer:
        peer.want()
        stream, channel = await peer.establish()
        await stream.send_all(channel.encode(Packet(b"not read before the next")))
        (opener,) = peer.driver._kept._openers.values()
        mine = opener._stream
        assert mine is not None
        assert mine.write_at_once(PROBE)
        reset(stream)
        time.sleep(0.01)  # noqa: ASYNC251  (nobody reads meanwhile)
        assert not mine.write_at_once(PROBE)
        await peer.node.heard(GONE)
        assert peer.told(CLOSED) == 0


async def test_a_stream_on_which_nothing_was_heard_for_long_says_nothing_at_its_end() -> None:
    async with peered() as peer:
        peer.want()
        stream, _ = await peer.establish()
        (opener,) = peer.driver._kept._openers.values()
        assert opener._stream is not None
        opener._stream._note(TimeoutError(errno.ETIMEDOUT, "as of TCP_USER_TIMEOUT"))
        await stream.aclose()
        await peer.establish()
        assert peer.told(CLOSED) == peer.told(GONE) == 0


# --- packets over streams


@pytest.mark.parametrize("make_codec", [Codec, keyed])
async def test_packets_go_over_the_stream_both_ways(make_codec: Callable[[], Codec]) -> None:
    async with peered(make_codec()) as peer:
        peer.want()
        stream, channel = await peer.establish()
        peer.node.over_stream = [(b"%d" % number, peer.address) for number in range(40)]
        peer.driver.settle()
        frames = list[Frame]()
        while len(frames) < 40:
            frames += await next_frames(stream, channel)
        assert frames == [Packet(b"%d" % number) for number in range(40)]
        await stream.send_all(channel.encode(Packet(b"an answer")))
        assert await peer.node.heard(PACKET) == [(PACKET, b"an answer", PEER, "peerboot")]
        assert peer.driver.transport.traffic.tx_packets == 0


async def test_packets_open_a_stream_and_wait_for_it_the_newest_of_them() -> None:
    async with peered() as peer:
        peer.node.over_stream = [(b"%d" % number, peer.address) for number in range(100)]
        peer.driver.settle()
        stream, channel = await peer.establish()
        frames = peer.early
        while len(frames) < 64:
            frames += await next_frames(stream, channel)
        assert frames == [Packet(b"%d" % number) for number in range(36, 100)]


async def test_packets_that_nobody_takes_are_lost_and_asked_for_soon_again() -> None:
    async with peered(config=Config.local(pause_tolerance=0.1, leave_linger=0.05)) as peer:
        peer.listener.close()
        for number in range(20):
            peer.node.over_stream = [(b"%d" % number, peer.address)]
            peer.driver.settle()
            await trio.sleep(0.1)
        assert 4 <= peer.told(GONE) <= 7
        (opener,) = peer.driver._kept._openers.values()
        assert len(opener._packets) < 20


async def test_packets_go_over_the_stream_of_a_opener_where_there_is_no_other() -> None:
    async with visited() as (node, driver):
        stream, channel = await stay(node)
        address = node.others[0].address
        node.over_stream = [(b"over yours", address)]
        driver.settle()
        assert await next_frame(stream, channel) == Packet(b"over yours")
        await stream.send_all(channel.encode(Packet(b"thanks")))
        assert await node.heard(PACKET) == [(PACKET, b"thanks", "m0", "peerboot")]
        assert not driver._kept._openers


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"\xff\xff\xff\xff", "kept-too-large"),
        (b"\x00\x00\x00\x01\x63", "kept-type"),
        (b"\x00\x00\x00\x01\x01", "kept-encrypted"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "kept-too-large"),
    ],
)
async def test_garbage_is_counted_and_ends_the_stream(answer: bytes, reason: str) -> None:
    async with peered() as peer:
        peer.want()
        stream = await peer.accept()
        await stream.send_all(answer)
        assert await at_end(stream)
        await until(lambda: peer.driver.transport.traffic.dropped[reason] == 1)
        assert peer.told(CLOSED) == 0


async def test_somebody_else_at_the_address_is_noticed() -> None:
    async with peered() as peer:
        peer.want()
        stream, channel, _ = await peer.accept_hello()
        await stream.send_all(channel.encode(Hello("another", BOOT, b"p" * 16)))
        assert await at_end(stream)
        assert peer.driver.transport.traffic.dropped["kept-name"] == 1


async def test_another_process_under_the_name_is_noticed() -> None:
    async with peered() as peer:
        peer.want()
        for boot, told in ((BOOT, 0), (BOOT, 0), (b"reborn!!", 1)):
            stream, channel, _ = await peer.accept_hello()
            await stream.send_all(channel.encode(Hello(PEER, boot, b"p" * 16)))
            assert await next_frame(stream, channel) is Sign.READY
            await trio.sleep(0.05)
            assert peer.told(CLOSED) == told
            await stream.send_all(channel.encode(Sign.BYE))
            assert await at_end(stream)
            await peer.ask_kernel()


async def test_a_kernel_is_reported_again_when_its_process_is_observed_anew() -> None:
    async with peered() as peer:
        await peer.ask_kernel()
        await peer.establish()
        assert peer.told(KERNEL) == 1
        peer.want()
        assert peer.told(KERNEL) == 2
        peer.want()
        assert peer.told(KERNEL) == 2
        peer.keep()
        peer.want()
        assert peer.told(KERNEL) == 3


async def test_a_fault_of_the_node_is_noted(caplog: pytest.LogCaptureFixture) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    async with peered() as peer:
        peer.node.on[KERNEL] = fail
        peer.want()
        await peer.establish()
        assert peer.driver.transport.traffic.dropped["internal-error"] == 1


async def test_there_is_one_stream_to_one_address() -> None:
    async with peered() as peer:
        peer.want()
        await peer.establish()
        for _ in range(5):
            await peer.ask_kernel()
            await trio.sleep(0.3)
        with pytest.raises(BlockingIOError):
            peer.listener.accept()


async def test_nothing_is_left_behind_nor_left_to_children() -> None:
    before = open_files()
    async with peered() as peer:
        peer.want()
        stream, _ = await peer.establish()
        assert len(open_files() - before) >= 5
        assert not [fd for fd in open_files() - before if os.get_inheritable(fd)]
        peer.driver.stop()
        assert await at_end(stream)
    assert open_files() <= before


def open_files() -> set[int]:
    """Their numbers."""
    found = set()
    for fd in range(256):
        with suppress(OSError):
            os.fstat(fd)
            found.add(fd)
    return found


# --- asking kernels


@linux_only
async def test_a_kernel_answers_for_a_process_that_does_not() -> None:
    async with peered() as peer:
        peer.want()
        stream, _ = await peer.establish()
        for count in range(2, 6):
            await peer.ask_kernel()
            await peer.node.heard(KERNEL, count)
        # The first may have found the READY on its way, whose acknowledgement was as good.
        assert await receive(stream, 12) == PROBE * 3


@linux_only
async def test_a_kernel_answers_for_a_process_that_has_not_even_accepted() -> None:
    async with peered() as peer:
        await peer.ask_kernel()
        await peer.node.heard(KERNEL, 1)
        for count in range(2, 5):
            await peer.ask_kernel()
            await peer.node.heard(KERNEL, count)
        await peer.accept()
        with pytest.raises(BlockingIOError):
            peer.listener.accept()


async def test_a_probe_never_comes_before_the_opening(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the stream does not say what it is, and the other side ends it as a bad request."""
    write = KeptStream.write

    async def asked_before(stream: KeptStream, *frames: Frame, opening: bytes = b"") -> None:
        peer.node.probes.append(peer.address)
        peer.driver.settle()
        await write(stream, *frames, opening=opening)

    async with peered() as peer:
        monkeypatch.setattr(KeptStream, "write", asked_before)
        peer.want()
        await peer.establish()


async def test_a_probe_without_a_stream_is_a_connection() -> None:
    async with peered() as peer:
        await peer.ask_kernel()
        await peer.establish()
        assert peer.told(KERNEL) == 1
        peer.listener.close()


async def test_a_probe_hurries_the_next_attempt_but_not_more_than_once_a_second() -> None:
    async with peered(config=Config.local(pause_tolerance=0.1, leave_linger=0.05)) as peer:
        peer.listener.close()
        for _ in range(21):
            await peer.ask_kernel()
            await trio.sleep(0.1)
        assert 2 <= peer.told(GONE) <= 3


@linux_only
async def test_kernels_look_after_forgotten_streams() -> None:
    async with visited() as (node, driver):
        peer = Peer(node, driver, node.codec)
        node.others.append(Member("m0", Address("127.0.0.1", 1000), id="1" * 26))
        with closing(peer):
            peer.want()
            await peer.establish()
            (opener,) = driver._kept._openers.values()
            assert opener._stream is not None
            opened = opener._stream.connection.socket  # type: ignore[attr-defined]
            assert opened.getsockopt(socket.IPPROTO_TCP, 18) == 3_000, "TCP_USER_TIMEOUT, milliseconds"
            assert not opened.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), "it sends nothing by itself"
            await stay(node)
            (acceptor,) = driver._kept._acceptors.values()
            accepted = acceptor._stream.connection.socket  # type: ignore[attr-defined]
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) >= 600
            for sock in (opened, accepted):
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_a_node_that_is_no_member_any_more_is_dismissed_some_day() -> None:
    async with visited() as (node, driver):
        stream, _ = await stay(node)
        other, _ = await stay(node, "m1")
        del node.others[0]
        driver._kept._next_look = driver._kept._next_tidying = -math.inf
        driver.settle()
        assert await at_end(stream)
        assert driver.transport.traffic.streams == 1
        await other.aclose()
        await node.heard(CLOSED)


@linux_only
async def test_what_was_acknowledged() -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        stream = await trio.open_tcp_stream(*listener.getsockname())
        accepted, _ = listener.accept()
        connection = SocketConnection(stream, Address(*listener.getsockname()), Traffic())
        assert connection.all_acknowledged()
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
        with trio.move_on_after(0.2):  # more than its buffer takes
            await stream.send_all(bytes(1 << 20))
        assert not connection.all_acknowledged()
        accepted.close()
        await trio.sleep(0.05)
        assert not connection.all_acknowledged(), "a reset connection acknowledges nothing"
        await stream.aclose()


# --- openers


VISITORS: list[trio.SocketStream] = []


@asynccontextmanager
async def visited(config: Config | None = None) -> AsyncIterator[tuple[ScriptedNode, Driver]]:
    async with driven(config=config) as (node, driver):
        node.others = [Member(f"m{n}", Address("127.0.0.1", 1000 + n), id="1" * 26) for n in range(5)]
        yield node, driver
        for stream in VISITORS:
            stream.socket.close()
        VISITORS.clear()


async def visit(
    node: ScriptedNode, name: str = "m0", to: str = "scripted", boot: bytes = BOOT
) -> tuple[trio.SocketStream, KeptChannel]:
    """Open a stream to the node and say HELLO."""
    stream = await trio.open_tcp_stream(*node.address)
    VISITORS.append(stream)
    channel = node.codec.kept_channel(opener=True)
    await stream.send_all(node.codec.kept_opening + channel.encode(Hello(name, boot, b"s" * 16, to)))
    return stream, channel


async def stay(node: ScriptedNode, name: str = "m0") -> tuple[trio.SocketStream, KeptChannel]:
    stream, channel = await visit(node, name)
    answer = await next_frame(stream, channel)
    assert isinstance(answer, Hello)
    assert (answer.name, answer.boot) == ("scripted", b"bootboot")
    await stream.send_all(channel.encode(Sign.READY))
    await trio.sleep(0.02)
    return stream, channel


def told(node: ScriptedNode, number: int = 0) -> int:
    name = node.others[number].name
    return sum(call[:2] == (CLOSED, name) for call in node.calls)


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("make_codec", [Codec, keyed])
async def test_the_end_of_a_opener_is_reported(end: str, make_codec: Callable[[], Codec]) -> None:
    async with visited(Config.local(stream_timeout=0.3, leave_linger=0.05)) as (node, driver):
        node.codec = make_codec()
        driver._streams._codec = node.codec
        stream, _ = await stay(node)
        await stream.send_all(PROBE * 3)
        await trio.sleep(0.5)
        assert told(node) == 0, "no time limit"
        if end == "reset":
            reset(stream)
            assert await node.heard(GONE) == [(GONE, Address("127.0.0.1", 1000))]
        else:
            await stream.aclose()
            assert await node.heard(CLOSED) == [(CLOSED, "m0", "peerboot")]
        assert not driver.transport.traffic.dropped


async def test_what_is_sent_because_a_stream_has_ended_goes_over_another() -> None:
    async with visited() as (node, driver):
        peer = Peer(node, driver, node.codec)
        node.others = [Member("m0", peer.address, id="1" * 26)]
        node.on[CLOSED] = lambda *_: node.over_stream.append((b"are you there?", peer.address))
        with closing(peer):
            stream, _ = await stay(node)
            await stream.aclose()
            accepted, channel, hello = await peer.accept_hello()
            await accepted.send_all(channel.encode(Hello("m0", BOOT, b"p" * 16, hello.name)))
            frames = list[Frame]()
            while len(frames) < 2:
                frames += await next_frames(accepted, channel)
            assert frames == [Sign.READY, Packet(b"are you there?")]


@pytest.mark.parametrize("make_codec", [Codec, keyed])
async def test_without_keys_nobody_speaks_for_a_member_from_elsewhere(
    make_codec: Callable[[], Codec],
) -> None:
    async with visited() as (node, driver):
        node.codec = driver._streams._codec = make_codec()
        node.others = [Member("m0", Address("127.0.0.9", 1000), id="1" * 26)]
        stream, channel = await visit(node)
        if node.codec.keyed:
            assert isinstance(await next_frame(stream, channel), Hello)
            return
        assert await at_end(stream)
        assert driver.transport.traffic.dropped["kept-host"] == 1


async def test_a_stream_from_elsewhere_does_not_take_the_place_of_the_member() -> None:
    async with visited() as (node, driver):
        stream, channel = await write_as(node, b"its line", (1, b"one"))
        for line in (b"", b"made up!"):
            with pytest.raises(AssertionError, match="closed"):
                await write_as(node, line, (2**62, b"forged"), host="127.0.0.9")
        await stream.send_all(channel.encode(Data(2, pack_record(Record(b"two")))))
        await until(lambda: unread(driver) == [b"one", b"two"])
        assert told(node) == 0


async def test_a_member_with_several_addresses_is_known_by_what_it_says_at_the_one_that_it_tells() -> None:
    """It opens its streams from another; this node asks at that address whether it knows of this line."""
    async with peered() as peer:
        node, driver = peer.node, peer.driver
        node.others[0] = replace(node.others[0], name="m0")
        with pytest.raises(AssertionError, match="closed"):
            await write_as(node, b"its line", (1, b"one"), host="127.0.0.9")
        peer.keep()  # nothing, but it looks
        stream, channel, hello = await peer.accept_hello()
        assert hello.to == "m0"
        await stream.send_all(channel.encode(Hello("m0", BOOT, b"p" * 16, hello.name, b"its line")))
        assert Sign.READY in await next_frames(stream, channel)
        await write_as(node, b"its line", (1, b"one"), host="127.0.0.9")
        await until(lambda: unread(driver) == [b"one"])
        with pytest.raises(AssertionError, match="closed"):
            await write_as(node, b"made up!", (2, b"forged"), host="127.0.0.9")


async def test_the_bye_of_a_opener_is_no_alarm() -> None:
    async with visited() as (node, driver):
        stream, channel = await stay(node)
        await stream.send_all(channel.encode(Sign.BYE))
        await stream.aclose()
        await until(lambda: driver.transport.traffic.streams == 0)
        assert told(node) == 0


@pytest.mark.parametrize(
    ("name", "to", "boot", "reason"),
    [
        ("m0", "another", BOOT, "kept-name"),
        ("unknown", "scripted", BOOT, "kept-stranger"),
        ("m0", "scripted", b"MADE_UP!", "kept-boot"),
        ("agent", "scripted", BOOT, "kept-boot"),
    ],
)
async def test_some_may_not_stay(name: str, to: str, boot: bytes, reason: str) -> None:
    async with visited() as (node, driver):
        node.others.append(Member("agent", Address("127.0.0.1", 1009)))
        stream, _ = await visit(node, name, to, boot)
        assert await at_end(stream)
        assert driver.transport.traffic.dropped[reason] == 1


async def test_an_opener_that_does_not_finish_shaking_hands_has_a_time_limit() -> None:
    async with visited(Config.local(stream_timeout=0.2, leave_linger=0.05)) as (node, driver):
        stream, channel = await visit(node)
        assert isinstance(await next_frame(stream, channel), Hello)
        assert await at_end(stream)
        assert driver.transport.traffic.dropped["stream-timeout"] == 1
        assert told(node) == 0


async def test_slots_of_openers_are_apart_from_those_of_strangers() -> None:
    config = Config.local(streams_max=1, kept_streams_max=2, leave_linger=0.05)
    async with visited(config) as (node, driver):
        streams = [(await stay(node, f"m{n}"))[0] for n in range(2)]
        third, _ = await visit(node, "m2")
        assert await at_end(third)
        assert driver.transport.traffic.dropped["kept-max"] == 1
        await streams[0].aclose()
        await until(lambda: driver.transport.traffic.streams == 1)
        await stay(node, "m2")


async def test_a_newer_stream_of_the_same_member_replaces_the_earlier() -> None:
    async with visited() as (node, driver):
        first, channel = await stay(node)
        second, _ = await stay(node)
        assert await next_frame(first, channel) is Sign.BYE
        assert await at_end(first)
        assert driver.transport.traffic.streams == 1
        assert told(node) == 0
        await second.aclose()
        await node.heard(CLOSED)


async def test_what_is_no_frame_ends_the_visit() -> None:
    async with visited() as (node, driver):
        stream, _ = await stay(node)
        await stream.send_all(b"\xff" * 8)
        assert await at_end(stream)
        assert driver.transport.traffic.dropped["kept-too-large"] == 1
        assert told(node) == 0


async def test_the_opening_in_single_bytes_and_half_openings() -> None:
    async with visited() as (node, driver):
        node.codec = driver._streams._codec = Codec(label="blue")
        stream = await trio.open_tcp_stream(*node.address)
        VISITORS.append(stream)
        channel = node.codec.kept_channel(opener=True)
        for byte in node.codec.kept_opening + channel.encode(Hello("m0", BOOT, b"s" * 16, "scripted")):
            await stream.send_all(bytes([byte]))
            await trio.lowlevel.checkpoint()
        assert isinstance(await next_frame(stream, channel), Hello)
        for size in range(len(node.codec.kept_opening) + 1):
            half = await trio.open_tcp_stream(*node.address)
            VISITORS.append(half)
            await half.send_all(node.codec.kept_opening[:size])
            await half.send_eof()
            assert await at_end(half)
        assert not driver.transport.traffic.dropped


@linux_only
async def test_streams_leave_file_descriptors_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (12, 12))
    async with visited() as (node, driver):
        stream, channel = await visit(node)
        await next_frame(stream, channel)
        await stream.send_all(channel.encode(Sign.READY))
        assert await next_frame(stream, channel) is Sign.BYE
        assert await at_end(stream)
        dropped = driver.transport.traffic.dropped
        assert dropped["kept-EMFILE"] == 1
        peer = Peer(node, driver, node.codec)
        with closing(peer):
            peer.want()
            await until(lambda: dropped["kept-EMFILE"] == 2)
            with pytest.raises(BlockingIOError):
                peer.listener.accept()


# --- ports


async def test_a_port_can_be_bound_to_although_a_lasting_connection_uses_it() -> None:
    transport = open_transport("127.0.0.1", 0)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with transport.stream_socket() as sock:
            sock.setblocking(True)
            sock.connect(listener.getsockname())
            own = sock.getsockname()[1]
            again = open_transport("127.0.0.1", own)
            again.close()
    transport.close()


async def test_a_socket_connected_to_itself_is_a_refusal() -> None:
    async with driven() as (_, driver):
        sock = driver.transport.stream_socket()  # type: ignore[attr-defined]
        own = Address(*sock.getsockname())
        driver.transport.stream_socket = lambda: sock  # type: ignore[attr-defined]
        with pytest.raises(ConnectionRefusedError) as caught:
            await driver._kept._connections.connect(own)
        assert caught.value.errno == errno.ECONNREFUSED


async def test_a_stream_may_end_before_its_kernel_is_looked_at() -> None:
    async with peered() as peer:
        peer.want()
        await peer.establish()
        (opener,) = peer.driver._kept._openers.values()
        mine = opener._stream
        assert mine is not None
        opener._scope.cancel()
        await until(lambda: not peer.driver._kept._openers)
        assert mine.connection.socket.fileno() == -1  # type: ignore[attr-defined]
        await opener._watch(mine, 0)  # as it is started, if that was asked for just before


# --- messages


async def send_all_at_once(driver: Driver, count: int, size: int) -> None:
    for number in range(count):
        await driver.mail.send(PEER, "", number.to_bytes(4, "big").ljust(size))


@linux_only
@pytest.mark.parametrize("make_codec", [Codec, keyed])
async def test_a_kernel_whose_buffers_are_full_of_messages_is_heard_all_the_same(
    make_codec: Callable[[], Codec],
) -> None:
    async with peered(make_codec()) as peer:
        peer.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_all_at_once, peer.driver, 60, 4_000)
            stream, channel = await peer.establish()
            (opener,) = peer.driver._kept._openers.values()
            await until(lambda: opener._stream is not None and opener._stream.in_frame)
        mine = opener._stream
        assert mine is not None
        taken = -1
        while taken < (taken := mine.connection.acknowledged_bytes()):  # noqa: ASYNC110
            await trio.sleep(0.2)
        assert not mine.connection.all_acknowledged()
        before = peer.told(KERNEL)
        await peer.ask_kernel()
        knock = await peer.accept()
        await until(lambda: peer.told(KERNEL) > before)
        assert await at_end(knock)
        # The process goes on, and finds nothing but whole frames.
        got = await receive_messages(stream, channel, 60, peer.early)
        assert [payload[:4] for _, payload in got] == [number.to_bytes(4, "big") for number in range(60)]
        # What it acknowledges while messages are on their way will do, too.
        await until(lambda: mine.connection.all_acknowledged())
        before = peer.told(KERNEL)
        await peer.ask_kernel()
        await until(lambda: peer.told(KERNEL) > before)
        assert peer.driver.transport.traffic.dropped == {}


async def test_what_was_not_taken_goes_again_on_the_next_stream() -> None:
    async with peered() as peer:
        await send_all_at_once(peer.driver, 5, 10)
        stream, channel = await peer.establish()
        got = await receive_messages(stream, channel, 5, peer.early)
        assert [number for number, _ in got] == [1, 2, 3, 4, 5]
        await stream.send_all(channel.encode(Taken(3)))
        await trio.sleep(0.05)
        await stream.aclose()
        stream, channel = await peer.establish()
        assert await receive_messages(stream, channel, 2, peer.early) == got[3:]
        # It has had the fourth already, and says so only now.
        await stream.send_all(channel.encode(Taken(5)))
        await until(lambda: len(peer.driver.mail.window(PEER) or ()) == 0)
        await peer.driver.mail.send(PEER, "", b"next")
        assert await receive_messages(stream, channel, 1) == [(6, b"next")]


async def receive_messages(
    stream: trio.SocketStream, channel: KeptChannel, count: int, early: Sequence[Frame] = ()
) -> list[tuple[int, bytes]]:
    reader, got, frames = RecordReader(), list[tuple[int, bytes]](), list(early)
    while True:
        for frame in frames:
            assert isinstance(frame, Data)
            got += [(number, record.payload) for number, record in reader.feed(frame)]
        if len(got) >= count:
            return got
        frames = await next_frames(stream, channel)


async def test_what_cannot_have_been_taken_ends_the_stream() -> None:
    async with peered() as peer:
        await send_all_at_once(peer.driver, 1, 10)
        stream, channel = await peer.establish()
        await stream.send_all(channel.encode(Taken(2)))
        assert await at_end(stream)
        assert peer.driver.transport.traffic.dropped == {"kept-taken": 1}


async def test_messages_are_not_for_another_process_under_the_name() -> None:
    async with peered() as peer:
        await send_all_at_once(peer.driver, 3, 10)
        stream, channel, hello = await peer.accept_hello()
        window = peer.driver.mail.window(PEER)
        await stream.send_all(channel.encode(Hello(PEER, b"tootboot", b"p" * 16, hello.name)))
        assert window is not None
        await until(lambda: window.closed)
        with pytest.raises(SendError, match="was started again; of 3 messages"):
            await window.put(Record(b""))
        assert peer.driver.transport.traffic.dropped == {"send-unacknowledged": 3}


async def test_a_member_that_cannot_be_reached_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swim.runtime.kept.mail._REACH_PATIENCE", 0.3)
    async with peered(config=Config.local(pause_tolerance=0.1, leave_linger=0.05)) as peer:
        peer.listener.close()
        await send_all_at_once(peer.driver, 1, 10)
        window = peer.driver.mail.window(PEER)
        assert window is not None

        def given_up() -> bool:
            peer.keep()
            return window.closed

        await until(given_up)
        with pytest.raises(SendError, match="could not be reached for 0 s; of 1 messages"):
            await window.put(Record(b""))
        assert peer.driver.transport.traffic.dropped["send-unacknowledged"] == 1


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([Data(1, b"\0\0\0\5\0\0a"), Data(3, b"bc")], "kept-number"),
        ([Data(1, b"\xff" * 8)], "kept-too-large"),
        ([Data(1, b"\0\0\0\2\7\0")], "kept-record"),
        ([Data(2**64 - 1, pack_record(Record(b"x")) * 2)], "kept-number"),
    ],
)
async def test_bad_messages_of_a_opener_end_its_visit(frames: list[Data], reason: str) -> None:
    async with visited() as (node, driver):
        stream, channel = await stay(node)
        for frame in frames:
            await stream.send_all(channel.encode(frame))
        assert await at_end(stream)
        assert driver.transport.traffic.dropped == {reason: 1}


async def test_a_opener_that_sends_more_than_its_window_is_shown_out() -> None:
    async with visited() as (node, driver):
        stream, channel = await stay(node)
        record = pack_record(Record(bytes(30_000)))
        with pytest.raises(trio.BrokenResourceError):  # noqa: PT012
            for number in range(1, 200):
                await stream.send_all(channel.encode(Data(number, record)))
            await receive(stream, 1)
        assert driver.transport.traffic.dropped == {"kept-window": 1}
        held = sum(map(len, unread(driver)))
        assert held <= WINDOW_SIZE + MESSAGE_SIZE_MAX


async def test_thousands_of_requests_that_are_cancelled_again_cost_little_and_leave_nothing() -> None:
    """By a member that means no good: in one topic that nobody serves, from the last to the first."""
    async with visited() as (node, driver):
        stream, channel = await stay(node)
        calls = [b"%08d" % number for number in range(2_000)]
        asked = [pack_record(Record(b"", Kind.REQUEST, "work", call)) for call in calls]
        taken_back = [pack_record(Record(b"", Kind.CANCEL, call=call)) for call in reversed(calls)]
        content = b"".join([*asked, *taken_back, *taken_back])
        began = time.process_time()
        for start in range(0, len(content), PIECE_SIZE_MAX):
            number = 1 + sum(end <= start for end in accumulate(map(len, [*asked, *taken_back, *taken_back])))
            await stream.send_all(channel.encode(Data(number, content[start : start + PIECE_SIZE_MAX])))
        taken: list[Frame] = []
        while Taken(6_000) not in taken:
            taken += await next_frames(stream, channel)
        assert Taken(2_000) in taken
        assert driver.inbox.size == 0
        assert list(driver.inbox.waiting()) == []
        assert time.process_time() - began < 5.0


async def write_as(
    node: ScriptedNode, line: bytes, *messages: tuple[int, bytes], host: str = "127.0.0.1"
) -> tuple[trio.SocketStream, KeptChannel]:
    """Messages on a stream that is opened from this host, in the name of the first member."""
    stream = await trio.open_tcp_stream(*node.address, local_address=host)
    VISITORS.append(stream)
    channel = node.codec.kept_channel(opener=True)
    hello = Hello("m0", BOOT, b"s" * 16, "scripted", line)
    await stream.send_all(node.codec.kept_opening + channel.encode(hello))
    frames: list[Frame] = [Sign.READY]
    frames += [Data(number, pack_record(Record(text))) for number, text in messages]
    assert isinstance(await next_frame(stream, channel), Hello)
    await stream.send_all(b"".join(map(channel.encode, frames)))
    return stream, channel


def unread(driver: Driver) -> list[bytes]:
    return [letter.record.payload for letter in driver.inbox.waiting()]


async def test_a_forged_number_does_not_make_the_member_unheard() -> None:
    """Name and boot are known to all; 2^62 would be above all numbers that the member itself ever has."""
    async with visited() as (node, driver):
        await write_as(node, b"its line", (1, b"one"))
        await until(lambda: unread(driver) == [b"one"])
        await write_as(node, b"made up!", (2**62, b"forged"))
        await until(lambda: unread(driver) == [b"one", b"forged"])
        await write_as(node, b"its line", (1, b"one"), (2, b"two"))
        await until(lambda: unread(driver) == [b"one", b"forged", b"two"])


async def test_a_message_is_never_delivered_as_that_of_a_successor(monkeypatch: pytest.MonkeyPatch) -> None:
    async with visited() as (node, driver):
        earlier = node.others[0]
        stream, channel = await write_as(node, b"its line", (1, b"one"))
        await until(lambda: len(unread(driver)) == 1)
        boots = {"m0": "tootboot"}
        monkeypatch.setattr(node, "boot_of", lambda name: boots.get(name, "peerboot"))
        node.others[0] = Member("m0", Address("127.0.0.1", 2000), id="2" * 26)
        await stream.send_all(channel.encode(Data(2, pack_record(Record(b"two")))))
        await until(lambda: len(unread(driver)) == 2)
        assert [letter.sender for letter in driver.inbox.waiting()] == [earlier] * 2
        reset(stream)
        await until(lambda: driver.transport.traffic.streams == 0)
        assert (GONE, node.others[0].address) not in node.calls


async def test_the_stream_of_a_process_that_has_a_successor_is_closed_some_day(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with visited() as (node, driver):
        stream, channel = await stay(node)
        monkeypatch.setattr(node, "boot_of", lambda name: "tootboot")
        node.over_stream = [(b"for the successor", node.others[0].address)]
        driver.settle()
        assert node.others[0].address in driver._kept._openers, "a stream of its own"
        driver._kept._next_look = driver._kept._next_tidying = -math.inf
        driver.settle()
        assert await next_frame(stream, channel) is Sign.BYE
        assert await at_end(stream)


@pytest.mark.parametrize("what", ["messages", "packets"])
async def test_what_arrives_together_is_handled_a_part_at_a_time(what: str) -> None:
    """Whatever small things there are in what is read at once, others have their turn in between."""
    async with visited() as (node, driver):
        stream, channel = await stay(node)
        frames: list[Frame] = [Data(1 + 100 * n, pack_record(Record(b"")) * 100) for n in range(100)]
        if what == "packets":
            frames = [Packet(b"x")] * 5_000

        def handled() -> int:
            return driver.inbox.received + sum(call[0] == PACKET for call in node.calls)

        steps: list[int] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, b"".join(map(channel.encode, frames)))
            with trio.fail_after(20):
                while not steps or steps[-1] < (10_000 if what == "messages" else 5_000):
                    await trio.lowlevel.checkpoint()
                    steps.append(handled())
        longest = max(after - before for before, after in pairwise(steps))
        assert longest <= (512 if what == "messages" else 32)


async def test_memory_of_messages_that_nobody_reads_is_bounded_and_given_back() -> None:
    """Made-up members send as much as they can, a reader never comes, and then they are gone."""
    limit, count = 4 * 1024 * 1024, 30
    async with visited(Config.local(leave_linger=0.05, message_memory=limit)) as (node, driver):
        node.others = [Member(f"m{n}", Address("127.0.0.1", 1000 + n), id="1" * 26) for n in range(count)]
        openers = [await stay(node, other.name) for other in node.others]
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            content = pack_record(Record(bytes(MESSAGE_SIZE_MAX)))
            pieces = [
                content[start : start + PIECE_SIZE_MAX] for start in range(0, len(content), PIECE_SIZE_MAX)
            ]
            last = openers.pop()
            for stream, channel in openers:
                with suppress(trio.BrokenResourceError):
                    for piece in pieces:
                        await stream.send_all(channel.encode(Data(1, piece)))
            await until(lambda: driver.transport.traffic.dropped["kept-inbox"] >= count - 6)
            assert driver.inbox.size <= 2 * limit
            members, node.others = node.others, []
            node.events = [MemberFailed(member, "silence") for member in members]
            driver.settle()
            assert driver.inbox.size <= _LEFT_MAX
            assert driver.transport.traffic.dropped["unread-of-gone"] > 0
            # One that is gone already begins to send on the stream that it still has.
            stream, channel = last
            with suppress(trio.BrokenResourceError):
                for number in range(1, 4):
                    for piece in pieces:
                        await stream.send_all(channel.encode(Data(number, piece)))
                await receive(stream, 1)
            assert driver.inbox.size <= _LEFT_MAX
            for stream, _ in openers:
                stream.socket.close()
            del content, pieces
            await until(lambda: driver.transport.traffic.streams <= 1)
            gc.collect()
            assert tracemalloc.get_traced_memory()[0] - before < 2 * _LEFT_MAX
        finally:
            tracemalloc.stop()


async def test_foreign_members_cannot_be_sent_to() -> None:
    async with driven() as (node, driver):
        node.others = [Member("agent", Address("127.0.0.1", 1000))]
        with pytest.raises(SendError, match=r"agent \(127.0.0.1:1000\) is no swim node") as caught:
            await driver.mail.send("agent", "", b"")
        assert caught.value.member == node.others[0]


async def test_a_request_that_comes_again_on_the_next_stream_is_served_once() -> None:
    async with visited() as (node, driver):
        served: list[bytes] = []

        async def note(sender: Member, payload: bytes) -> bytes:
            served.append(payload)
            return b""

        def asked(*numbers: int) -> bytes:
            return b"".join(
                pack_record(Record(b"%d" % n, Kind.REQUEST, "", b"call%04d" % n)) for n in numbers
            )

        async with driver.mail.serving.serve("", note, 2):
            stream, channel = await write_as(node, b"its line")
            await stream.send_all(channel.encode(Data(1, asked(1, 2))))
            await until(lambda: served == [b"1", b"2"])
            stream, channel = await write_as(node, b"its line")
            await stream.send_all(channel.encode(Data(1, asked(1, 2, 3))))
            assert await next_frames(stream, channel) == [Taken(3)]
            assert served == [b"1", b"2", b"3"]


async def test_what_was_carried_out_perhaps_is_not_asked_again_of_one_that_has_forgotten() -> None:
    async with peered() as peer, trio.open_nursery() as nursery:
        errors: list[SendError] = []

        async def ask() -> None:
            try:
                await peer.driver.mail.request(PEER, "", b"once")
            except SendError as error:
                errors.append(error)

        nursery.start_soon(ask)
        for _ in range(2):
            stream, channel = await peer.establish(b"memory 1")
            assert await receive_messages(stream, channel, 1, peer.early) == [(1, b"once")]
            assert not errors
            await stream.aclose()
        stream, channel = await peer.establish(b"memory 2")
        await until(lambda: len(errors) == 1)
        assert "had given this node up for a while" in str(errors[0])
        await peer.driver.mail.send(PEER, "", b"message")
        assert await receive_messages(stream, channel, 1, peer.early) == [(2, b"message")]


async def test_a_stream_with_a_process_that_has_a_successor_is_left_for_one_with_the_successor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A host that was lost and is back has not closed it; what is written there would go to nobody."""
    async with peered() as peer:
        peer.want()
        stream, channel = await peer.establish()
        monkeypatch.setattr(peer.node, "boot_of", lambda name: "tootboot")
        await peer.driver.mail.send(PEER, "", b"for the successor")
        assert await next_frame(stream, channel) is Sign.BYE
        assert await at_end(stream)
        stream, channel, hello = await peer.accept_hello()
        await stream.send_all(channel.encode(Hello(PEER, b"tootboot", b"q" * 16, hello.name)))
        ready, *early = await next_frames(stream, channel)
        assert ready is Sign.READY
        assert await receive_messages(stream, channel, 1, early) == [(1, b"for the successor")]


async def test_what_is_for_one_process_is_not_written_to_another_that_answers_in_its_place() -> None:
    """One that the node has not heard of as a member: it is asked again when it has."""
    async with peered() as peer:
        await send_all_at_once(peer.driver, 1, 10)
        window = peer.driver.mail.window(PEER)
        stream, channel, hello = await peer.accept_hello()
        await stream.send_all(channel.encode(Hello(PEER, b"tootboot", b"p" * 16, hello.name)))
        assert window is not None
        await until(lambda: window.closed)
        assert await next_frame(stream, channel) is Sign.READY
        with trio.move_on_after(0.2) as patience:
            await stream.receive_some(100)
        assert patience.cancelled_caught
