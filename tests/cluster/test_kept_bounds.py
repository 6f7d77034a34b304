"""What members may take of a node by the streams that they keep open to it: turns of its loop, and memory."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import pairwise

import pytest
import trio

from swim.config import Config
from swim.runtime.driver import Driver
from swim.runtime.feeds.inbox import LETTER_SIZE, Inbox, Letter
from swim.runtime.kept.receiving import Unread
from swim.types import Address, Member
from swim.wire import DecodeError
from swim.wire.kept import PIECE_SIZE_MAX, Data, Frame, KeptChannel, Packet
from swim.wire.records import MESSAGE_SIZE_MAX, Kind, Record, pack_record
from tests.cluster.scripted import ScriptedNode
from tests.cluster.test_kept import PACKET, stay, until, visited

COUNT = 12
Visitor = tuple[trio.SocketStream, KeptChannel]


@asynccontextmanager
async def crowded(config: Config | None = None) -> AsyncIterator[tuple[ScriptedNode, Driver, list[Visitor]]]:
    """A node with many openers."""
    async with visited(config) as (node, driver):
        node.others = [Member(f"m{n}", Address("127.0.0.1", 1000 + n), id="1" * 26) for n in range(COUNT)]
        yield node, driver, [await stay(node, other.name) for other in node.others]


@pytest.mark.parametrize("what", ["messages", "small packets", "large packets"])
async def test_of_all_openers_together_a_part_is_handled_at_a_time(what: str) -> None:
    """However many of them have sent something: others have their turn in between."""
    frames: list[Frame] = [Data(1 + 100 * n, pack_record(Record(b"")) * 100) for n in range(20)]
    most, size = 2_000, 1
    if what != "messages":
        most, size = (500, 1) if what == "small packets" else (20, 30_000)
        frames = [Packet(bytes(size))] * most
    async with crowded() as (node, driver, openers):

        def handled() -> int:
            return driver.inbox.received + sum(call[0] == PACKET for call in node.calls)

        steps: list[int] = []
        async with trio.open_nursery() as nursery:
            for stream, channel in openers:
                nursery.start_soon(stream.send_all, b"".join(map(channel.encode, frames)))
            with trio.fail_after(20):
                while not steps or steps[-1] < COUNT * most:
                    await trio.lowlevel.checkpoint()
                    steps.append(handled())
        taken = sorted(after - before for before, after in pairwise(steps))
        part = {"messages": 256, "small packets": 16, "large packets": 1}[what]
        # One in the turn before others look, one after that; and one more after each pause of the machine.
        assert taken[-4] <= 2 * part
        assert taken[-1] <= 4 * part


@pytest.mark.parametrize("missing", [1, MESSAGE_SIZE_MAX - 30_000])
async def test_messages_that_are_half_sent_take_memory_as_others_do(missing: int) -> None:
    """Of a message or of a frame: it is counted, and given back when the stream ends."""
    limit = 1024 * 1024 if missing == 1 else 64 * 1024
    content = pack_record(Record(bytes(MESSAGE_SIZE_MAX)))[:-missing]
    starts = range(0, len(content), PIECE_SIZE_MAX)
    pieces = [content[start : start + PIECE_SIZE_MAX] for start in starts]
    async with crowded(Config.local(leave_linger=0.05, message_memory=limit)) as (_, driver, openers):
        gc.collect()
        tracemalloc.start()
        try:
            for stream, channel in openers:
                data = b"".join(channel.encode(Data(1, piece)) for piece in pieces)
                with suppress(trio.BrokenResourceError):
                    await stream.send_all(data if missing == 1 else data[:-1])
            del data
            dropped = driver.transport.traffic.dropped
            await until(lambda: dropped["kept-inbox"] >= COUNT // 2)
            gc.collect()
            assert 0 < driver.inbox.size <= 2 * limit
            assert tracemalloc.get_traced_memory()[0] < 4 * limit + COUNT * 32 * 1024
        finally:
            tracemalloc.stop()
        for stream, _ in openers:
            stream.socket.close()
        await until(lambda: driver.inbox.size == 0)


class Nothing:
    """Nobody reacts."""

    def requested(self, letter: Letter) -> None:
        """It is not served."""

    def heard(self, sender: Member, record: Record) -> None:
        """Nobody waits for it."""

    def left(self) -> None:
        """There is no bound for those that are gone."""


def test_what_a_sender_is_to_be_told_takes_memory_until_it_is_told() -> None:
    """One that does not read it is shown out: here of records that came before, each in a lane of its own."""
    limit = 512 * 1024
    inbox = Inbox(1, limit)
    unread = Unread(inbox, Nothing())
    inbox.senders = 1
    sender = Member("m", Address("127.0.0.1", 1), id="1" * 26)
    lines = [unread.window(b"boot", b"%d" % number).attach() for number in range(2)]
    for window in lines:
        window.receive(sender, 1 << 40, Record(b"", Kind.CANCEL, call=b"12345678"))

    def repeat() -> None:
        for number in range(1, 3_000):
            for window in lines:
                window.receive(sender, number, Record(b"", topic=f"t{number}"))

    with pytest.raises(DecodeError) as error:
        repeat()
    assert error.value.reason == "inbox"
    assert inbox.size <= limit + LETTER_SIZE
    for window in lines:
        window.detach()
    assert inbox.size == unread.memory == 0
