"""Event streams: a snapshot first, bounded, and their end."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from swim.events import Event, MemberJoined, Snapshot
from swim.runtime.feeds.subscriptions import EventStream, Subscriptions
from swim.types import Address, Member


def member(number: int) -> Member:
    return Member(f"m{number}", Address("127.0.0.1", number + 1))


class World:
    """Members join one after the other."""

    def __init__(self, limit: int = 4) -> None:
        self.members: list[Member] = []
        self.subscriptions = Subscriptions(self.snapshot, limit)

    def snapshot(self) -> Snapshot:
        return Snapshot(tuple(self.members), None)

    def join(self, count: int = 1) -> None:
        """So many at the same moment."""
        new = [member(len(self.members) + number) for number in range(count)]
        self.members += new
        self.subscriptions.publish([MemberJoined(one) for one in new])

    def events(self) -> EventStream:
        return EventStream(self.subscriptions)


async def take(events: EventStream, count: int) -> list[Event]:
    with trio.fail_after(60):
        return [await anext(events) for _ in range(count)]


async def test_a_snapshot_then_changes() -> None:
    world = World()
    world.join()
    async with world.events() as events:
        world.join()
        assert await take(events, 2) == [Snapshot((member(0),), None), MemberJoined(member(1))]


async def test_what_overflows_becomes_one_fresh_snapshot() -> None:
    world = World(limit=4)
    async with world.events() as events:
        for _ in range(4):
            world.join()
        world.join()  # fits: the overflow replaced everything before it
        fresh = Snapshot(tuple(member(number) for number in range(4)), None)
        assert await take(events, 2) == [fresh, MemberJoined(member(4))]


async def test_no_event_follows_a_snapshot_that_contains_it() -> None:
    world = World(limit=4)
    async with world.events() as events:
        world.join(10)
        world.join()
        everybody = Snapshot(tuple(member(number) for number in range(10)), None)
        assert await take(events, 2) == [everybody, MemberJoined(member(10))]


async def test_readers_are_apart() -> None:
    world = World(limit=4)
    async with world.events() as slow, world.events() as fast:
        for number in range(8):
            world.join()
            await take(fast, 2 if number == 0 else 1)
        assert isinstance(await anext(slow), Snapshot)
        world.join()
        assert await anext(fast) == MemberJoined(member(8))


async def test_a_waiting_reader_is_woken() -> None:
    world = World()
    got: list[Event] = []

    async def read() -> None:
        async with world.events() as events:
            got.extend(await take(events, 2))

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            world.join()
    assert got == [Snapshot((), None), MemberJoined(member(0))]


async def test_the_end_comes_after_what_is_buffered() -> None:
    world = World()
    async with world.events() as events:
        world.join()
        world.subscriptions.end()
        assert len([event async for event in events]) == 2
    with pytest.raises(trio.ClosedResourceError):
        async with world.events():
            pass


async def test_a_closed_stream() -> None:
    world = World()
    async with world.events() as events:
        pass
    with pytest.raises(trio.ClosedResourceError):
        await anext(events)
    world.join()


async def test_closing_wakes_the_reader() -> None:
    world = World()
    async with world.events() as events, trio.open_nursery() as nursery:
        await anext(events)

        async def read() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await anext(events)

        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        await events.aclose()


async def test_a_cancelled_reader_loses_nothing() -> None:
    world = World()
    async with world.events() as events:
        with trio.CancelScope() as scope:
            scope.cancel()
            await anext(events)
        assert await anext(events) == Snapshot((), None)
