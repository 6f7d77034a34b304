"""Which of the streams that others have opened gives way when there are too many, or too many bytes."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio

import swim
from swim.runtime import visits as visits_module
from swim.runtime.visits import ANSWERED_BURST, ANSWERED_PER_S, BYTES_MAX, GRACE, Visit, Visits
from swim.types import Address
from swim.wire import Codec
from swim.wire.messages import NodeState, PushPull, PushPullHead, UserMessage, WireState
from tests.cluster.scripted import driven

MEMBER, STRANGER, OTHER = (Address(f"10.0.0.{number}", 40_000) for number in (1, 2, 3))


def visits(count_max: int = 4, *members: Address) -> Visits:
    return Visits(count_max, lambda: {member.host for member in members})


def admit(all_of_them: Visits, source: Address) -> Visit:
    visit = all_of_them.admit(source)
    assert visit is not None
    return visit


def ended(*them: Visit) -> list[bool]:
    assert all(visit.scope.cancel_called == visit.gave_way for visit in them)
    return [visit.gave_way for visit in them]


async def answer(all_of_them: Visits, visit: Visit, size: int) -> float:
    """How long it had to wait for that."""
    begun = trio.current_time()
    await all_of_them.wait_for_answer(visit)
    all_of_them.note_answer(visit, size)
    return trio.current_time() - begun


async def test_a_host_that_was_answered_with_much_waits_for_the_next_answer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    served = visits(4, MEMBER)
    state = 7 * 1024 * 1024
    waits = [await answer(served, admit(served, STRANGER), state) for _ in range(20)]
    assert waits[:4] == [0.0] * 4, "a newcomer has to look, and to join"
    assert sum(waits) == pytest.approx((19 * state - ANSWERED_BURST) / ANSWERED_PER_S, rel=0.01)
    assert await answer(served, admit(served, OTHER), state) == 0.0, "another host does not wait"
    member = admit(served, MEMBER)
    assert [await answer(served, member, state) for _ in range(20)] == [0.0] * 20


async def test_how_much_hosts_were_answered_is_remembered_of_so_many(
    autojump_clock: trio.testing.MockClock,
) -> None:
    served = visits(10)
    for number in range(2_000):
        served.note_answer(Visit(Address(f"10.1.{number // 250}.{number % 250}", 7946)), 100)
    assert len(served._answered) == 1_024


async def test_a_silent_stream_gives_way_at_once_the_oldest_first() -> None:
    served = visits(2)
    first, second = admit(served, STRANGER), admit(served, OTHER)
    third = admit(served, Address("10.0.0.9", 1))
    assert ended(first, second, third) == [True, False, False]


async def test_a_stream_that_says_something_keeps_its_place_for_a_second(
    autojump_clock: trio.testing.MockClock,
) -> None:
    served = visits(2)
    busy, silent = admit(served, STRANGER), admit(served, OTHER)
    assert served.take_memory(busy, 10)
    newest = admit(served, Address("10.0.0.9", 1))
    assert ended(busy, silent) == [False, True]
    await trio.sleep(GRACE / 2)
    assert served.take_memory(newest, 10)
    assert served.admit(Address("10.0.0.10", 1)) is None, "all of them are being read"
    await trio.sleep(GRACE / 2)
    admit(served, Address("10.0.0.10", 1))
    assert ended(busy, newest) == [True, False]


async def test_a_stream_that_waits_for_this_node_keeps_its_place_however_long_that_takes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Else a node that many join at once begins all answers again and again, and ends none."""
    served = visits(2)
    waiting, other = admit(served, STRANGER), admit(served, OTHER)
    for visit in (waiting, other):
        assert served.take_memory(visit, 10)
        served.note_owed(visit)
    await trio.sleep(5 * GRACE)
    assert served.admit(Address("10.0.0.9", 1)) is None
    served.note_answer(waiting, 10_000)
    await trio.sleep(GRACE / 2)
    assert served.admit(Address("10.0.0.9", 1)) is None, "it has some time to take the answer"
    await trio.sleep(GRACE / 2)
    admit(served, Address("10.0.0.9", 1))
    assert ended(waiting, other) == [True, False]


async def test_to_find_the_one_that_gives_way_takes_no_look_at_all_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked: list[Visit] = []
    worth = Visits._worth

    def look(all_of_them: Visits, visit: Visit, *others: Any) -> Any:
        looked.append(visit)
        return worth(all_of_them, visit, *others)

    monkeypatch.setattr(Visits, "_worth", look)
    served = visits(256)
    for number in range(1_000):
        admit(served, Address(f"10.1.{number // 250}.{number % 250}", 1))
    assert 0 < len(looked) <= 2 * (1_000 - 256)


async def test_a_thousand_silent_strangers_do_not_keep_a_newcomer_out(
    autojump_clock: trio.testing.MockClock,
) -> None:
    served = visits(128)
    for number in range(1_000):
        admit(served, Address(f"10.1.{number // 250}.{number % 250}", 1))
    newcomer = admit(served, OTHER)
    assert served.take_memory(newcomer, 200)
    for number in range(1_000):
        served.admit(Address(f"10.2.{number // 250}.{number % 250}", 1))
    assert ended(newcomer) == [False]


async def test_a_host_with_many_streams_loses_one_to_a_host_with_few() -> None:
    served = visits(4)
    crowd = [admit(served, STRANGER) for _ in range(3)]
    single = admit(served, OTHER)
    for visit in crowd:
        assert served.take_memory(visit, 10)
    admit(served, Address("10.0.0.9", 1))
    assert ended(*crowd, single) == [True, False, False, False]


async def test_a_crowd_gains_nothing_by_opening_more() -> None:
    served = visits(4)
    single = admit(served, OTHER)
    crowd = [admit(served, STRANGER) for _ in range(9)]
    assert ended(single) == [False]
    assert sum(ended(*crowd)) == 6


async def test_members_do_not_give_way_to_strangers() -> None:
    served = visits(3, MEMBER)
    ours = [admit(served, MEMBER) for _ in range(3)]
    assert served.admit(STRANGER) is None
    assert ended(*ours) == [False] * 3


async def test_strangers_give_way_to_members_whatever_they_say() -> None:
    served = visits(2, MEMBER)
    strangers = [admit(served, STRANGER), admit(served, OTHER)]
    for visit in strangers:
        assert served.take_memory(visit, 10)
    ours = admit(served, MEMBER)
    assert ended(*strangers, ours) == [True, False, False]


async def test_of_too_many_bytes_the_host_with_the_most_gives_way() -> None:
    served = visits(100)
    greedy = [admit(served, STRANGER) for _ in range(10)]
    for visit in greedy:
        assert served.take_memory(visit, BYTES_MAX // 10)
    small = admit(served, OTHER)
    assert served.take_memory(small, 10_000)
    assert sum(ended(*greedy)) == 1
    assert ended(small) == [False]


async def test_of_strangers_with_one_stream_each_the_largest_gives_way() -> None:
    served = visits(100)
    hosts = [admit(served, Address(f"10.1.0.{number}", 1)) for number in range(64)]
    for visit in hosts:
        assert served.take_memory(visit, BYTES_MAX // 64)
    newcomer = admit(served, OTHER)
    assert served.take_memory(newcomer, 1_000)
    assert sum(ended(*hosts)) == 1
    assert ended(newcomer) == [False]


async def test_members_keep_their_bytes_while_strangers_hold_some() -> None:
    served = visits(100, MEMBER)
    ours, theirs = admit(served, MEMBER), admit(served, STRANGER)
    assert served.take_memory(ours, BYTES_MAX - 10)
    assert not served.take_memory(theirs, 20)
    assert ended(ours, theirs) == [False, True]


@pytest.mark.parametrize("seed", range(20))
async def test_the_counts_never_drift(seed: int, autojump_clock: trio.testing.MockClock) -> None:
    """Against sums made anew, over random histories."""
    rng, served, present = random.Random(seed), visits(8, MEMBER), dict[Visit, None]()
    for _ in range(2_000):
        if rng.random() < 0.5:
            visit = served.admit(Address(f"10.0.0.{rng.randrange(6)}", 1))
            present |= {} if visit is None else {visit: None}
        elif present:
            visit = rng.choice(list(present))
            if rng.random() < 0.3:
                served.leave(visit)
                served.leave(visit)
                del present[visit]
            else:
                served.take_memory(visit, rng.randrange(BYTES_MAX // 3))
        present = {visit: None for visit in present if not visit.gave_way}
        assert list(served._visits) == list(present)
        assert served._memory == sum(visit.memory for visit in present) <= BYTES_MAX
        assert served._memory == served._bytes.total()
        assert len(present) == served._places.total() <= 8
        await trio.sleep(0.01)


async def test_connections_that_wait_are_accepted_together() -> None:
    """Under a flood of packets the loop comes round so seldom that the kernel would refuse most of them."""
    async with swim.open_cluster("a", bind="127.0.0.1:0") as cluster:
        callers = [socket.create_connection(cluster.me.address) for _ in range(60)]
        rounds = 0
        while cluster.statistics().streams < len(callers):
            await trio.lowlevel.checkpoint()
            rounds += 1
            assert rounds < 30
        for caller in callers:
            caller.close()


async def test_what_was_read_of_a_request_counts_by_the_memory_that_it_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Entries take several times their bytes, and more if these were compressed: here of four requests."""
    monkeypatch.setattr(visits_module, "BYTES_MAX", 4 * 1024 * 1024)
    nodes = [NodeState(f"m{n}", 1, bytes(4), 7, b"", WireState.ALIVE, b"") for n in range(5_000)]
    request = Codec().stream(PushPull(tuple(nodes)))[:-1]
    assert 4 * len(request) < visits_module.BYTES_MAX
    async with driven() as (node, driver), AsyncExitStack() as held:
        for _ in range(4):
            stream = await held.enter_async_context(await trio.open_tcp_stream(*node.address))
            await stream.send_all(request)

        await until(lambda: driver.transport.traffic.dropped["stream-gave-way"] == 3)
        assert ("receive_bad_stream", "too-large") not in node.calls, "each is counted once, for what it is"


async def test_answers_that_are_not_taken_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole state of a large cluster is asked for in a few bytes."""
    size = 16 * 1024 * 1024
    monkeypatch.setattr(visits_module, "BYTES_MAX", 3 * size)
    monkeypatch.setattr(visits_module, "ANSWERED_BURST", 6 * size)
    async with driven() as (node, driver), AsyncExitStack() as held:
        node.on["receive_request"] = lambda message: UserMessage(bytes(size))
        for _ in range(6):
            stream = await held.enter_async_context(await trio.open_tcp_stream(*node.address))
            await stream.send_all(Codec().stream(PushPull((), head=PushPullHead("x", b"bootboot", 1))))
        await until(lambda: driver.transport.traffic.dropped["stream-gave-way"] >= 3)


async def until(holds: Callable[[], bool]) -> None:
    with trio.fail_after(60):
        while not holds():  # noqa: ASYNC110
            await trio.sleep(0.01)
