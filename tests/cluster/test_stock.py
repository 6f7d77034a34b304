"""What is on its way to one member: bounded over all topics together, and in order whoever writes it."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import swim
from swim.runtime.kept.sending import STOCK_SIZE, SendWindow
from swim.types import Address
from swim.wire.kept import PIECE_SIZE_MAX, Data
from swim.wire.records import Kind, Record, pack_record
from tests.cluster.together import PATIENCE, cluster_of

MEMBER = swim.Member("b", Address("127.0.0.1", 1), process="12345678")
LARGE = bytes(200_000)


async def fill(window: SendWindow) -> int:
    """One message in each of many topics, until there is no room for more."""
    count = 0
    with trio.move_on_after(0):
        while True:
            await window.put(Record(LARGE, topic=str(count)))
            count += 1
    return count


def opened() -> SendWindow:
    return SendWindow(MEMBER, b"12345678", 1, 0.0)


async def test_topics_that_nobody_reads_take_a_bounded_memory_together() -> None:
    window = opened()
    assert await fill(window) == STOCK_SIZE // len(LARGE)
    assert len(window) == STOCK_SIZE // len(LARGE)


async def test_many_small_messages_in_many_topics_are_counted_with_what_they_take_beside() -> None:
    window, count = opened(), 0
    with trio.move_on_after(0):
        while True:
            await window.put(Record(b"", topic=str(count)))
            count += 1
    assert STOCK_SIZE // 4_096 < count < STOCK_SIZE // 2_048


async def test_those_that_wait_go_on_in_turn_as_something_is_taken() -> None:
    window, order = opened(), list[str]()
    count = await fill(window)

    async def put(topic: str) -> None:
        await window.put(Record(LARGE, topic=topic))
        order.append(topic)

    async with trio.open_nursery() as nursery:
        for topic in ("x", "y", "z", "x and y"):
            nursery.start_soon(put, topic)
            await wait_all_tasks_blocked()
        assert order == []
        for number in range(1, 5):
            assert window.taken(number, 0.0)
            await wait_all_tasks_blocked()
            assert len(order) == number
            assert len(window) == count
    assert order == ["x", "y", "z", "x and y"]
    for number in range(5, window.next_number):
        window.taken(number, 0.0)
    assert await fill(window) == count, "all that was taken is room again"


async def test_one_that_is_cancelled_while_it_waits_takes_no_place() -> None:
    window = opened()
    await fill(window)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(window.put, Record(LARGE, topic="x"))
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    window.taken(1, 0.0)
    with trio.fail_after(PATIENCE):
        await window.put(Record(LARGE, topic="y"))


async def test_those_that_wait_hear_that_the_member_is_gone() -> None:
    window, errors = opened(), list[swim.SendError]()
    await fill(window)

    async def put(topic: str) -> None:
        with pytest.raises(swim.SendError) as caught:
            await window.put(Record(LARGE, topic=topic))
        errors.append(caught.value)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(put, "x")
        nursery.start_soon(put, "y")
        await wait_all_tasks_blocked()
        window.close(swim.SendError("is gone", MEMBER))
    assert len(errors) == 2


async def test_requests_and_answers_do_not_wait_for_messages_that_nobody_reads() -> None:
    window = opened()
    await fill(window)
    with trio.fail_after(PATIENCE):
        await window.put(Record(b"?", Kind.REQUEST, "work", bytes(8)))
        await window.put(Record(b"!", Kind.ANSWER, call=bytes(8)))


async def test_between_two_nodes_the_sender_waits_until_some_topic_is_read() -> None:
    async def echo(sender: swim.Member, payload: bytes) -> bytes:
        return payload

    with trio.fail_after(2 * PATIENCE):
        async with cluster_of("a", "b") as (a, b), b.serve("echo", echo):
            count = STOCK_SIZE // len(LARGE)
            for number in range(count):
                await a.send("b", LARGE, topic=str(number))
            with trio.move_on_after(0.2) as scope:
                await a.send("b", b"one more", topic="more")
            assert scope.cancelled_caught
            assert await a.request("b", b"?", topic="echo") == b"?"
            async with b.messages("7") as messages:
                await anext(messages)
                await a.send("b", b"one more", topic="more")
            async with b.messages("more") as messages:
                message = await anext(messages)
                assert isinstance(message, swim.DirectMessage)
                assert message.payload == b"one more"


async def test_what_is_put_alone_is_written_at_once_where_nothing_is_queued_before_it() -> None:
    window, written = opened(), list[Data]()

    def write_now(data: Data) -> bool:
        written.append(data)
        return True

    window.write_now = write_now
    async with trio.open_nursery() as nursery:
        nursery.start_soon(window.wait_filled)
        await wait_all_tasks_blocked()
        await window.put(Record(b"alone"), alone=True)
        assert [data.number for data in written] == [1]
        assert not window.queued, "it would be written twice"
        assert len(window) == 1, "it has to be written again if this stream ends"
        await window.put(Record(b"in company"))
        await window.put(Record(b"behind it"), alone=True)
    assert [data.number for data in written] == [1]
    assert (data := window.next_data()) is not None
    assert data.content == pack_record(Record(b"in company")) + pack_record(Record(b"behind it"))


@pytest.mark.parametrize("size", [1, PIECE_SIZE_MAX], ids=["refused", "large"])
async def test_what_cannot_be_written_at_once_is_queued_in_order_and_its_writer_woken(size: int) -> None:
    window = opened()  # its stream is within a frame: it writes nothing at once
    if size == PIECE_SIZE_MAX:
        window.write_now = lambda _: pytest.fail("it is no piece of a frame")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(window.wait_filled)
        await wait_all_tasks_blocked()
        await window.put(Record(bytes(size)), alone=True)
        await window.put(Record(b"next"), alone=True)
    content = b"".join(data.content for data in iter(window.next_data, None))
    assert content == pack_record(Record(bytes(size))) + pack_record(Record(b"next"))
