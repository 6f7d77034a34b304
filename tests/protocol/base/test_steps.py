"""Work in steps: each piece goes on by turns, and none can end the node."""

from __future__ import annotations

import pytest

from swim.protocol.base.steps import Steps
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

    node._backlog.run("10.0.0.9", failing, 1.0)
    node._backlog.run("10.0.0.8", going_on, 1.0)
    for turn in range(10):
        node.handle_timer(2.0 + turn / 1000)
    assert node.drain().faults == [("10.0.0.9", fault)]
    assert done
    assert node.drain().faults == [], "told once"
