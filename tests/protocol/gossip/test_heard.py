"""The broadcasts that were heard, and how they are told."""

from __future__ import annotations

import random
import tracemalloc
from typing import Any

import pytest

from swim.protocol.gossip import heard
from swim.protocol.gossip.heard import Heard, HeardEvent
from swim.wire.dialect import pack

SIZES = (0, 40, 41, 300, 5_000, 1 << 20)


def told(events: list[tuple[int, HeardEvent]], size_max: int) -> bytes:
    """The newest of these, packed all anew."""
    moments: list[dict[str, Any]] = []
    for time in sorted({time for time, _ in events}, reverse=True):
        taken: list[object] = []
        bodies = [event.as_body() for at, event in reversed(events) if at == time]
        size_max -= len(pack({"Events": [None] * len(bodies), "LTime": time})) - len(bodies)
        for body in bodies:
            size_max -= len(pack(body))
            if size_max < 0:
                break
            taken.append(body)
        if taken:
            moments.append({"Events": taken, "LTime": time})
        if size_max < 0:
            break
    return pack(moments)


def test_the_newest_are_told_up_to_a_size_whatever_was_packed_before() -> None:
    rng = random.Random(5)
    for _ in range(30):
        all_heard, events = Heard(), list[tuple[int, HeardEvent]]()
        for number in range(rng.randrange(60)):
            event = HeardEvent("e", rng.randbytes(rng.randrange(30)), "b", "BOOT0000", number)
            time = rng.randrange(20)
            assert all_heard.add(time, event)
            events.append((time, event))
            if rng.random() < 0.3:
                size = rng.choice(SIZES)
                assert all_heard.packed(size) == told(events, size)
        for size in SIZES:
            assert all_heard.packed(size) == told(events, size)


def test_only_those_of_a_time_at_which_another_was_heard_are_put_together_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    all_heard = Heard()
    for number in range(1_000):
        all_heard.add(number // 2, HeardEvent("e", b"%d" % number))
    all_heard.packed(1 << 20)
    times: list[object] = []
    monkeypatch.setattr(heard, "pack", lambda value: times.append(value) or pack(value))  # type: ignore[func-returns-value]
    all_heard.add(7, HeardEvent("e", b"another"))
    times.clear()
    all_heard.packed(1 << 20)
    assert [value for value in times if isinstance(value, int)] == [7]


@pytest.mark.parametrize("first", [HeardEvent("e", b"x"), HeardEvent("e", b"x", "b", "BOOT0000", 3)])
@pytest.mark.parametrize("second", [HeardEvent("e", b"x"), HeardEvent("e", b"x", "b", "BOOT0000", 3)])
def test_one_of_two_that_are_the_same_may_have_lost_the_fields_that_are_ours(
    first: HeardEvent, second: HeardEvent
) -> None:
    all_heard = Heard()
    assert all_heard.add(5, first)
    assert not all_heard.add(5, second)
    assert all_heard.add(5, HeardEvent("e", b"x", "b", "BOOT0000", 4)) == bool(first.origin)
    assert all_heard.add(6, second)


def test_as_many_as_may_be_take_little_memory() -> None:
    """Strangers can fill it, with events of as many times, or of one."""
    tracemalloc.start()
    try:
        for times in (8_000, 1):
            before = tracemalloc.get_traced_memory()[0]
            all_heard = Heard()
            for number in range(8_000):
                all_heard.add(10_000 + number % times, HeardEvent("e", b"%08d" % number))
            all_heard.packed(1 << 16)
            assert 1 <= len(all_heard) <= 4_096
            assert tracemalloc.get_traced_memory()[0] - before < 1_500_000
            del all_heard
    finally:
        tracemalloc.stop()
