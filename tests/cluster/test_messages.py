"""Direct messages between real nodes on loopback: order, back-pressure, ends and errors."""

from __future__ import annotations

import ctypes
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import swim
from swim.runtime.feeds.inbox import MessageStream
from swim.runtime.kept.sending import OVERHEAD, WINDOW_SIZE
from swim.wire.records import MESSAGE_SIZE_MAX
from tests.cluster.together import PATIENCE, cluster_of, everybody, open_node, sees

KEY = bytes(range(32))


@asynccontextmanager
async def nodes(*names: str, **options: Any) -> AsyncIterator[list[swim.Cluster]]:
    """As `cluster_of`; what takes too long fails."""
    with trio.fail_after(2 * PATIENCE):
        async with cluster_of(*names, **options) as clusters:
            yield clusters


async def take(cluster: swim.Cluster, count: int) -> list[swim.DirectMessage]:
    """So many direct messages, read by a stream of their own."""
    found: list[swim.DirectMessage] = []
    async with cluster.messages() as messages:
        async for message in messages:
            assert isinstance(message, swim.DirectMessage)
            found.append(message)
            if len(found) == count:
                return found
    raise AssertionError("the messages ended")


async def fill(cluster: swim.Cluster, to: str, payload: bytes = b"x" * 1000) -> int:
    """Send as many as there is room for, and find that there is none for one more."""
    count = WINDOW_SIZE // (len(payload) + OVERHEAD)
    for _ in range(count):
        await cluster.send(to, payload)
    with trio.move_on_after(0.2) as scope:
        await cluster.send(to, payload)
    assert scope.cancelled_caught
    return count


@pytest.mark.parametrize("options", [{}, {"keys": [KEY], "label": "blue"}], ids=["plain", "sealed"])
async def test_arrive_in_order_and_once_in_both_directions(options: dict[str, object]) -> None:
    async with nodes("a", "b", **options) as (a, b):
        sizes = [0, 1, 100, 5_000, 32_764, 32_768, 100_000, 1, 0] * 4
        payloads = [bytes([n % 251]) * size for n, size in enumerate(sizes)]

        async def send(sender: swim.Cluster, to: swim.Cluster) -> None:
            for payload in payloads:
                await sender.send(to.me, payload)

        async def check(receiver: swim.Cluster, sender: swim.Cluster) -> None:
            messages = await take(receiver, len(payloads))
            assert [message.payload for message in messages] == payloads
            assert {message.sender.name for message in messages} == {sender.name}

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, a, b)
            nursery.start_soon(send, b, a)
            nursery.start_soon(check, a, b)
            nursery.start_soon(check, b, a)
        for node in (a, b):
            assert not node.statistics().dropped


async def test_the_largest_arrives_and_a_larger_one_is_refused() -> None:
    async with nodes("a", "b") as (a, b):
        largest = os.urandom(MESSAGE_SIZE_MAX)
        await a.send("b", memoryview(largest))  # type: ignore[arg-type]
        assert (await take(b, 1))[0].payload == largest
        with pytest.raises(
            swim.PayloadTooLarge, match=f"at most {MESSAGE_SIZE_MAX} bytes .*{len(largest) + 1}"
        ):
            await a.send("b", largest + b"!")
        with pytest.raises(TypeError, match="must be bytes, not str"):
            await a.send("b", "text")  # type: ignore[arg-type]


async def test_to_oneself() -> None:
    async with nodes("a") as (a,):
        for payload in (b"1", b"2"):
            await a.send(a.me, payload)
        with trio.move_on_after(0.2):
            await a.send(a.me, b"3" * 300_000)
        assert [message.payload for message in await take(a, 2)] == [b"1", b"2"]
        await a.send("a", b"4" * 300_000)
        (message,) = await take(a, 1)
        assert (message.sender.name, message.payload) == ("a", b"4" * 300_000)


async def test_to_nobody() -> None:
    async with nodes("a") as (a,):
        with pytest.raises(swim.SendError, match="'ghost' is no member") as caught:
            await a.send("ghost", b"boo")
        assert caught.value.member == "ghost"
    with pytest.raises(trio.ClosedResourceError):
        await a.send("a", b"late")


async def test_wait_for_a_reader_and_the_sender_waits_too() -> None:
    async with nodes("a", "b") as (a, b):
        accepted = await fill(a, "b")
        assert a.statistics().unacknowledged == a.statistics().messages["sent"] == accepted
        while b.statistics().messages["received"] < accepted:  # noqa: ASYNC110
            await trio.sleep(0.01)
        counts = {"sent": 0, "received": accepted, "heard": 0, "asked": 0, "served": 0}
        assert b.statistics().messages == counts
        assert await fill(b, "a") == accepted, "each direction has its own window"
        async with b.messages() as messages, trio.open_nursery() as nursery:
            nursery.start_soon(a.send, "b", b"last")
            for _ in range(accepted):
                assert isinstance(await messages.__anext__(), swim.DirectMessage)
            assert (await messages.__anext__()).payload == b"last"  # type: ignore[union-attr]


async def test_what_a_closed_stream_had_not_read_waits_for_the_next() -> None:
    async with nodes("a", "b") as (a, b):
        async with b.messages() as messages:
            for number in range(5):
                await a.send("b", bytes([number]))
            assert (await messages.__anext__()).payload == b"\0"  # type: ignore[union-attr]
            await trio.sleep(0.2)
        assert [message.payload[0] for message in await take(b, 4)] == [1, 2, 3, 4]


async def test_every_reader_has_all_and_the_slowest_counts() -> None:
    async with nodes("a", "b") as (a, b), b.messages() as quick, b.messages() as slow:
        received: list[object] = []
        room = WINDOW_SIZE // (1000 + OVERHEAD)
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(drain_into, quick, received, room)
                accepted = await fill(a, "b")
        assert accepted == room
        assert len(received) == accepted
        await slow.aclose()
        with trio.fail_after(PATIENCE):
            await a.send("b", b"y")


async def drain_into(messages: MessageStream, received: list[object], count: int) -> None:
    while len(received) < count:
        received.append(await anext(messages))


@pytest.mark.parametrize("how", ["abort", "leave"])
async def test_a_task_that_waits_for_a_member_that_is_gone_gets_an_error(how: str) -> None:
    async with nodes("a", "b", "c") as (a, b, _):
        accepted = await fill(a, "b")
        async with trio.open_nursery() as nursery:
            errors: list[swim.SendError] = []

            async def send() -> None:
                try:
                    await a.send("b", b"x" * 1000)
                except swim.SendError as error:
                    errors.append(error)

            for _ in range(3):
                nursery.start_soon(send)
            await wait_all_tasks_blocked(0.01)
            if how == "abort":
                b.abort()
            else:
                await b.leave()
        assert len(errors) == 3
        for error in errors:
            assert isinstance(error.member, swim.Member)
            assert error.member.name == "b"
            assert error.unacknowledged == accepted
            assert str(error).startswith(f"b ({b.address}) is gone; of {accepted} messages")
        with pytest.raises(swim.SendError, match="'b' is no member"):
            await a.send("b", b"late")


async def test_to_a_member_that_was_started_again() -> None:
    async with nodes("a", "b") as (a, b):
        await a.send("b", b"to the old one")
        await trio.sleep(0.1)
        address = b.address
        b.abort()
        await everybody([a], sees("a"))
        async with open_node("b", a, bind=str(address)) as again:
            await everybody([a, again], sees("a", "b"))
            with trio.fail_after(PATIENCE):
                while True:
                    try:
                        await a.send("b", b"to the new one")
                        break
                    except swim.SendError:
                        await trio.sleep(0.05)
            assert (await take(again, 1))[0].payload == b"to the new one"
            await again.send("a", b"from the new one")
            assert (await take(a, 1))[0].payload == b"from the new one"


async def test_a_leaving_node_gives_its_messages_time_to_arrive() -> None:
    async with nodes("a", "b") as (a, b), b.messages() as messages:
        await a.send("b", b"farewell")
        await a.leave()
        assert (await messages.__anext__()).payload == b"farewell"  # type: ignore[union-attr]


def reset(descriptor: int) -> None:
    """Break a connection as a middlebox does: with a reset and no end, which only a dying process makes."""
    unspecified = bytes(16)  # an address of the family AF_UNSPEC: to connect there dissolves the connection
    if ctypes.CDLL(None, use_errno=True).connect(descriptor, unspecified, len(unspecified)):
        raise OSError(ctypes.get_errno(), "the connection could not be reset")


async def test_a_broken_stream_loses_nothing_and_doubles_nothing() -> None:
    async with nodes("a", "b") as (a, b):
        count, received = 3_000, []

        async def read() -> None:
            received.extend(await take(b, count))

        async def cut() -> None:
            for _ in range(5):
                await trio.sleep(0.05)
                for acceptor in b._driver._kept._acceptors.values():
                    reset(acceptor._stream.connection.socket.fileno())  # type: ignore[attr-defined]

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            nursery.start_soon(cut)
            for number in range(count):
                await a.send("b", number.to_bytes(4, "big") * 50)
                if number % 100 == 0:
                    await trio.sleep(0.01)
        assert [message.payload[:4] for message in received] == [n.to_bytes(4, "big") for n in range(count)]


async def test_many_members_at_once_and_members_that_nobody_observes() -> None:
    names = [f"n{number}" for number in range(12)]
    async with nodes(*names) as everyone:
        async with trio.open_nursery() as nursery:
            for node in everyone:
                for name in names:
                    nursery.start_soon(node.send, name, node.name.encode())
        for node in everyone:
            assert sorted(message.payload for message in await take(node, len(names))) == sorted(
                name.encode() for name in names
            )


async def test_message_streams_end_with_the_cluster() -> None:
    async with nodes("a") as (a,):
        async with a.messages() as messages:
            a.abort()
            with pytest.raises(StopAsyncIteration):
                await messages.__anext__()
        with pytest.raises(trio.ClosedResourceError):
            await messages.__anext__()
    with pytest.raises(trio.ClosedResourceError):
        async with a.messages():
            pass
