"""Many timers inside, one deadline outside."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swim.protocol.base.timers import Timers


class Bell:
    """Remembers which timers rang, and when."""

    def __init__(self) -> None:
        self.rang: list[tuple[str, float]] = []

    def __call__(self, name: str) -> Callable[[float], None]:
        return lambda now: self.rang.append((name, now))

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.rang]


@pytest.fixture
def timers() -> Timers:
    return Timers()


@pytest.fixture
def bell() -> Bell:
    return Bell()


def test_nothing_set_means_no_deadline(timers: Timers) -> None:
    assert timers.next_deadline() is None
    timers.run(1e9)


def test_the_deadline_is_the_earliest(timers: Timers, bell: Bell) -> None:
    timers.set("late", 5.0, bell("late"))
    timers.set("soon", 2.0, bell("soon"))
    assert timers.next_deadline() == 2.0


def test_each_fires_once_in_order_of_time_with_the_time_of_the_call(timers: Timers, bell: Bell) -> None:
    timers.set("b", 2.0, bell("b"))
    timers.set("c", 3.0, bell("c"))
    timers.set("a", 1.0, bell("a"))
    timers.run(2.5)
    timers.run(2.5)
    assert bell.rang == [("a", 2.5), ("b", 2.5)]
    assert timers.next_deadline() == 3.0


def test_at_one_time_the_first_set_fires_first(timers: Timers, bell: Bell) -> None:
    for name in "xyz":
        timers.set(name, 1.0, bell(name))
    timers.run(1.0)
    assert bell.names == ["x", "y", "z"]


def test_nothing_fires_early(timers: Timers, bell: Bell) -> None:
    timers.set("a", 1.0, bell("a"))
    timers.run(0.999)
    assert bell.rang == []


def test_setting_again_moves(timers: Timers, bell: Bell) -> None:
    timers.set("a", 1.0, bell("first"))
    timers.set("a", 4.0, bell("second"))
    assert timers.when("a") == 4.0
    assert timers.next_deadline() == 4.0
    timers.run(10.0)
    assert bell.names == ["second"]


def test_set_if_unset_does_not_move(timers: Timers, bell: Bell) -> None:
    timers.set("a", 1.0, bell("first"))
    timers.set_if_unset("a", 0.5, bell("second"))
    timers.run(10.0)
    assert bell.names == ["first"]
    timers.set_if_unset("a", 11.0, bell("second"))
    timers.run(11.0)
    assert bell.names == ["first", "second"]


def test_cancelled_ones_do_not_fire_and_give_no_deadline(timers: Timers, bell: Bell) -> None:
    timers.set("a", 1.0, bell("a"))
    timers.cancel("a")
    timers.cancel("never set")
    assert timers.when("a") is None
    assert timers.next_deadline() is None
    timers.run(2.0)
    assert bell.rang == []


def test_clear_forgets_all(timers: Timers, bell: Bell) -> None:
    timers.set("a", 1.0, bell("a"))
    timers.clear()
    assert timers.next_deadline() is None
    timers.set("a", 1.0, bell("again"))
    timers.run(1.0)
    assert bell.names == ["again"]


def test_what_is_set_by_an_action_waits_for_the_next_call(timers: Timers) -> None:
    """Else a timer that sets itself for `now` would never let go."""
    fired: list[float] = []

    def again(now: float) -> None:
        fired.append(now)
        timers.set("again", now, again)

    timers.set("again", 1.0, again)
    timers.run(1.0)
    assert fired == [1.0]
    assert timers.next_deadline() == 1.0
    timers.run(1.0)
    assert fired == [1.0, 1.0]


def test_an_action_may_cancel_another_that_is_due(timers: Timers, bell: Bell) -> None:
    timers.set("first", 1.0, lambda now: timers.cancel("second"))
    timers.set("second", 1.0, bell("second"))
    timers.run(1.0)
    assert bell.rang == []


def test_an_action_may_clear_everything(timers: Timers, bell: Bell) -> None:
    def clear(now: float) -> None:
        timers.set("new", now, bell("new"))
        timers.clear()

    timers.set("first", 1.0, clear)
    timers.set("second", 1.0, bell("second"))
    timers.run(1.0)
    assert timers.next_deadline() is None
    timers.run(2.0)
    assert bell.rang == []


def test_a_timer_moved_by_an_action_is_not_lost(timers: Timers, bell: Bell) -> None:
    timers.set("first", 1.0, lambda now: timers.set("second", 0.5, bell("second")))
    timers.set("second", 1.0, bell("wrong"))
    timers.run(1.0)
    assert bell.rang == []
    assert timers.next_deadline() == 0.5
    timers.run(1.0)
    assert bell.names == ["second"]


def test_moving_one_timer_a_million_times_costs_no_memory(timers: Timers, bell: Bell) -> None:
    """A node sets and cancels a few timers for every packet."""
    timers.set("soon", 1.0, bell("soon"))
    for step in range(20_000):
        timers.set("far", 100.0 + step, bell("far"))
    timers.run(1.0)
    timers.next_deadline()
    assert len(timers._heap) < 10_000


names = st.sampled_from("abcdef")
times = st.integers(0, 20)
steps = st.one_of(
    st.tuples(st.just("set"), names, times),
    st.tuples(st.just("set_if_unset"), names, times),
    st.tuples(st.just("cancel"), names, st.just(0)),
    st.tuples(st.just("run"), st.just(""), times),
)


@given(st.lists(steps, max_size=60))
def test_agrees_with_a_naive_model(script: list[tuple[str, str, int]]) -> None:
    timers, model, count = Timers(), dict[Any, Any](), 0
    fired: list[str] = []
    for step, name, time in script:
        if step == "run":
            expected = [key for _, _, key in sorted((t, n, k) for k, (t, n) in model.items() if t <= time)]
            model = {key: value for key, value in model.items() if value[0] > time}
            fired.clear()
            timers.run(time)
            assert fired == expected
        elif step == "cancel":
            model.pop(name, None)
            timers.cancel(name)
        else:
            count += 1
            if step == "set" or name not in model:
                model[name] = (time, count)
            getattr(timers, step)(name, time, lambda now, name=name: fired.append(name))
        assert timers.next_deadline() == min((t for t, _ in model.values()), default=None)


def test_heap_stays_a_heap_when_actions_set_timers(timers: Timers) -> None:
    rng = random.Random(5)
    fired: list[float] = []

    def action(now: float) -> None:
        fired.append(now)
        if len(fired) < 500:
            for _ in range(rng.randrange(3)):
                timers.set(rng.randrange(50), now + rng.randrange(3), action)

    timers.set("start", 0.0, action)
    now = 0.0
    while (deadline := timers.next_deadline()) is not None and len(fired) < 500:
        assert deadline >= now
        now = deadline
        timers.run(now)
    assert fired == sorted(fired)
    assert all(timers._heap[0] <= entry for entry in heapq.nsmallest(5, timers._heap))


class TestSlack:
    """An idle process that wakes up for each timer on its own spends most of its time on that."""

    def test_it_waits_for_another_to_fire_with(self, timers: Timers, bell: Bell) -> None:
        timers.set("patient", 1.0, bell("patient"), slack=0.5)
        timers.set("other", 1.2, bell("other"))
        assert timers.next_deadline() == 1.2
        timers.run(1.2)
        assert bell.rang == [("other", 1.2), ("patient", 1.2)]
        assert timers.next_deadline() is None

    def test_but_no_longer_than_that(self, timers: Timers, bell: Bell) -> None:
        timers.set("patient", 1.0, bell("patient"), slack=0.5)
        timers.set("other", 9.0, bell("other"))
        assert timers.next_deadline() == 1.5
        timers.run(1.5)
        assert bell.rang == [("patient", 1.5)]

    def test_and_never_fires_early(self, timers: Timers, bell: Bell) -> None:
        timers.set("patient", 1.0, bell("patient"), slack=0.5)
        timers.set("other", 0.9, bell("other"))
        timers.run(0.9)
        assert bell.names == ["other"]

    def test_whatever_is_awake_can_ask_whether_one_may_fire(self, timers: Timers, bell: Bell) -> None:
        timers.set("patient", 1.0, bell("patient"), slack=0.5)
        assert [timers.patient_due(now) for now in (0.9, 1.0)] == [False, True]
        timers.run(1.0)
        assert bell.rang == [("patient", 1.0)]
        assert not timers.patient_due(2.0)

    def test_one_that_was_cancelled_moved_or_cleared_does_not_fire(self, timers: Timers, bell: Bell) -> None:
        for name in ("cancelled", "moved", "set anew"):
            timers.set(name, 1.0, bell(name), slack=0.5)
        timers.cancel("cancelled")
        timers.set("moved", 5.0, bell("moved"))
        timers.set("other", 1.2, lambda now: timers.set("set anew", now, bell("set anew"), slack=0.5))
        timers.run(1.3)
        assert bell.names == []
        timers.run(1.8)
        assert bell.names == ["set anew"]
        timers.set("cleared", 1.0, bell("cleared"), slack=0.5)
        timers.clear()
        timers.run(9.0)
        assert bell.names == ["set anew"]
