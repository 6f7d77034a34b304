"""Work in steps: each piece goes on by turns, and none can end the node."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from swim.protocol.base.steps import _ENTRIES_MAX, Steps
from swim.protocol.node import Node
from tests.protocol.fakes import Net


@pytest.fixture
def node() -> Node:
    return Net().start("a")


def test_a_fault_in_a_later_step_drops_that_work_alone_and_is_told_to_the_driver(node: Node) -> None:
    """What others send sets such work going: a stranger that finds a defect must not end the node by it."""
    fault, done = ZeroDivisionError(), []

    def failing(now: float) -> Steps:
        yield
        raise fault

    def going_on(now: float) -> Steps:
        for _ in range(3):
            now = yield
        done.append(now)

    node._backlog.run("10.0.0.9", 1, failing, 1.0)
    node._backlog.run("10.0.0.8", 1, going_on, 1.0)
    for turn in range(10):
        node.handle_timer(2.0 + turn / 1000)
    assert node.drain().faults == [("10.0.0.9", fault)]
    assert done
    assert node.drain().faults == [], "told once"


def test_what_is_worked_on_takes_bounded_memory_but_one_is_always_taken(node: Node) -> None:
    """From as many hosts as it comes: each state keeps its entries until it was merged."""
    done: list[int] = []

    def work(number: int) -> Callable[[float], Steps]:
        def steps(now: float) -> Steps:
            yield
            yield
            done.append(number)

        return steps

    half = _ENTRIES_MAX // 2
    for number, entries in enumerate((half, half, 1, 0)):
        node._backlog.run(f"10.0.0.{number}", entries, work(number), 1.0)
    assert node.dropped["backlog-max"] == 1
    for turn in range(10):
        node.handle_timer(2.0 + turn / 1000)
    assert done == [0, 1, 3]
    for number in (4, 5):
        node._backlog.run(f"10.0.0.{number}", 10 * _ENTRIES_MAX, work(number), 3.0)
    assert node.dropped["backlog-max"] == 2
    node._backlog.clear()
    for turn in range(10):
        node.handle_timer(4.0 + turn / 1000)
    assert done == [0, 1, 3]
    node._backlog.run("10.0.0.6", _ENTRIES_MAX, work(6), 5.0)
    assert len(node._backlog) == 1
