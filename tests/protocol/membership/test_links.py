"""Is it me? Before a node judges alone, it makes sure that the fault is not its own; see Links."""

from __future__ import annotations

import pytest

from swim.protocol.node import Node
from swim.types import MemberState
from tests.protocol.fakes import Net

LONG_S = 25.0


@pytest.fixture
def net() -> Net:
    return Net()


@pytest.fixture
def pair(net: Net) -> tuple[Node, Node]:
    a, b = net.cluster("a", "b")
    net.run(5)
    return a, b


def test_the_last_survivor_judges_alone(net: Net, pair: tuple[Node, Node]) -> None:
    a, b = pair
    net.lose_host(a)
    net.run(LONG_S)
    assert net.believes(b, "a") is None


def test_a_node_that_does_not_even_hear_itself_judges_nobody(net: Net, pair: tuple[Node, Node]) -> None:
    _, b = pair
    net.split("a", "b")
    net.cut("b", "b")
    net.run(LONG_S)
    assert net.believes(b, "a") is MemberState.SUSPECT


def test_where_own_pings_never_came_back_that_says_nothing(net: Net) -> None:
    """Behind some routers a node cannot reach its own address, and is well all the same."""
    net.cut("b", "b")
    a, b = net.cluster("a", "b")
    net.run(5)
    net.lose_host(a)
    net.run(LONG_S)
    assert net.believes(b, "a") is None


def test_while_others_talk_and_none_answers_it_judges_nobody(net: Net, pair: tuple[Node, Node]) -> None:
    """They live; what is broken is its own way to them."""
    _, b = pair
    net.cut("b", "a")
    net.run(LONG_S)
    assert net.believes(b, "a") is MemberState.SUSPECT


def test_one_unlucky_loss_does_not_silence_the_last_survivor_for_ever(net: Net) -> None:
    a, b = net.cluster("a", "b")
    net.run(5)
    net.cut("b", "a")  # its last pings get lost, while it hears the other
    net.run(2)
    net.lose_host(a)
    net.run(45)
    assert net.believes(b, "a") is None


def test_what_is_heard_while_nothing_was_asked_is_no_talk_without_answers(
    net: Net, pair: tuple[Node, Node]
) -> None:
    """Its pings are not evenly spaced: others may die some seconds after the last that they answered."""
    a, b = pair
    net.lose_host(a)
    b._suspicion._links.heard(net.now + 2)
    net.run(LONG_S)
    assert net.believes(b, "a") is None


def test_one_ping_to_itself_in_quiet_times(net: Net, pair: tuple[Node, Node]) -> None:
    _, b = pair
    net.sent.clear()
    net.run(60)
    assert [sent for sent in net.sent if sent.source == sent.target == b.address] == []
