"""What waits for the readers of messages: direct messages always, broadcasts as long as there is room."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import swim
from swim.runtime.feeds.inbox import Inbox, Letter, MessageStream
from swim.types import Address, Member
from swim.wire.records import Record
from tests.cluster.together import PATIENCE, cluster_of, everybody, open_node, sees

SENDER = Member("a", Address("127.0.0.1", 1), id="0" * 26)


class Box(Inbox):
    """With what was taken."""

    def __init__(self, limit: int = 4) -> None:
        super().__init__(limit, 1 << 20)
        self.read: list[bytes] = []

    def put(self, *payloads: bytes, topic: str = "") -> None:
        for payload in payloads:
            record = Record(payload, topic=topic)
            self.deliver(Letter(SENDER, 1, record, record.lane, self))

    def taken(self, letter: Letter) -> None:
        self.read.append(letter.record.payload)

    def tell(self, count: int) -> None:
        for number in range(count):
            self.publish(swim.Broadcast(SENDER, "news", bytes([number])))


async def read(stream: MessageStream, count: int) -> list[object]:
    """Payloads, and how many are missing."""
    found: list[object] = []
    for _ in range(count):
        message = await stream.__anext__()
        found.append(message.count if isinstance(message, swim.Lagged) else message.payload)
    return found


async def test_direct_messages_wait_for_the_first_reader_and_broadcasts_do_not() -> None:
    box = Box()
    box.put(b"1", b"2")
    box.tell(3)
    async with MessageStream(box) as stream:
        assert await read(stream, 1) == [b"1"]
        assert box.read == [b"1"]
        box.tell(1)
        assert await read(stream, 2) == [b"2", b"\0"]
    assert box.read == [b"1", b"2"]


async def test_taken_is_what_all_readers_have_taken() -> None:
    box = Box()
    async with MessageStream(box) as quick, MessageStream(box) as slow:
        box.put(b"1", b"2", b"3")
        assert await read(quick, 3) == [b"1", b"2", b"3"]
        assert box.read == []
        assert await read(slow, 1) == [b"1"]
        assert box.read == [b"1"]
        await slow.aclose()
        assert box.read == [b"1", b"2", b"3"]


async def test_what_nobody_has_read_waits_for_the_next_reader() -> None:
    box = Box()
    async with MessageStream(box), MessageStream(box) as second:
        box.put(b"1", b"2")
        assert await read(second, 1) == [b"1"]
    assert box.read == [b"1"], "the second has read it, the first not"
    async with MessageStream(box) as third:
        assert await read(third, 1) == [b"2"]


async def test_too_many_broadcasts_are_counted_in_their_place() -> None:
    box = Box(limit=3)
    async with MessageStream(box) as stream:
        box.tell(5)
        box.put(b"direct")
        box.tell(2)
        assert await read(stream, 4) == [b"\0", b"\1", b"\2", 2]
        assert await read(stream, 2) == [b"direct", 2]
        box.tell(1)
        assert await read(stream, 1) == [b"\0"]


async def test_readers_see_the_end_after_what_is_buffered() -> None:
    box = Box()
    async with MessageStream(box) as stream:
        box.put(b"1")
        box.end()
        assert [message.payload async for message in stream] == [b"1"]  # type: ignore[union-attr]
    with pytest.raises(trio.ClosedResourceError):
        await stream.__anext__()
    with pytest.raises(trio.ClosedResourceError):
        await MessageStream(box).__aenter__()


async def test_a_task_that_waits_while_the_stream_is_closed_is_told() -> None:
    box = Box()
    async with MessageStream(box) as stream, trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await stream.__anext__()

        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        await stream.aclose()


async def test_broadcasts_reach_all_nodes_that_listen() -> None:
    with trio.fail_after(2 * PATIENCE):
        async with cluster_of("a", "b", "c") as nodes:
            a, b, c = nodes
            async with a.messages() as at_a, b.messages() as at_b, c.messages() as at_c:
                a.broadcast("news", b"1")
                for stream in (at_a, at_b, at_c):
                    message = await stream.__anext__()
                    assert isinstance(message, swim.Broadcast)
                    assert message.sender is not None
                    assert (message.sender.name, message.name, message.payload) == ("a", "news", b"1")
                with pytest.raises(swim.PayloadTooLarge, match="at most 512 bytes together, not 604"):
                    a.broadcast("news", bytes(600))
                async with open_node("d", a) as d:
                    await everybody([*nodes, d], sees("a", "b", "c", "d"))
                    async with d.messages() as at_d:
                        b.broadcast("more", b"2")
                        for stream in (at_a, at_b, at_c, at_d):
                            message = await stream.__anext__()
                            assert isinstance(message, swim.Broadcast)
                            assert message.name == "more", "the newcomer is not told of what was before"
        with pytest.raises(trio.ClosedResourceError):
            a.broadcast("late", b"")
