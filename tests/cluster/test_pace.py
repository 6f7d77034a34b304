"""Messages in a row are read and sent without a checkpoint each, and yet nobody waits for long."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from swim.runtime.feeds.pace import Pace


async def work(pace: Pace, times: int) -> None:
    for _ in range(times):
        if pace.due():
            await pace.checkpoint()


async def rounds_of_others(pace: Pace, clock: MockClock, times: int, seconds_each: float) -> int:
    """How often another task has run while this one works."""
    rounds = 0

    async def other() -> None:
        nonlocal rounds
        while True:
            await trio.lowlevel.checkpoint()
            rounds += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        for _ in range(times):
            await work(pace, 1)
            clock.jump(seconds_each)
        nursery.cancel_scope.cancel()
        return rounds


async def test_others_run_every_64_times(mock_clock: MockClock) -> None:
    assert 8 <= await rounds_of_others(Pace(), mock_clock, 640, 0.0) <= 12


async def test_others_run_every_half_millisecond(mock_clock: MockClock) -> None:
    assert await rounds_of_others(Pace(), mock_clock, 20, 0.0005) >= 17


async def test_a_cancellation_strikes_at_once(mock_clock: MockClock) -> None:
    pace = Pace()
    await work(pace, 1)
    with trio.CancelScope() as scope:
        await work(pace, 1)
        scope.cancel()
        await work(pace, 1)
    assert scope.cancelled_caught


async def test_a_deadline_that_has_passed_strikes_at_once(mock_clock: MockClock) -> None:
    """As that of a term of leadership has in a process that was frozen."""
    pace = Pace()
    await work(pace, 1)
    with trio.move_on_after(0.0002) as scope:
        await work(pace, 1)
        mock_clock.jump(0.0002)
        await work(pace, 1)
    assert scope.cancelled_caught
