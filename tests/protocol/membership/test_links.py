"""Is it me? Before a node judges alone, it makes sure that the fault is not its own; see Links."""

from __future__ import annotations

import pytest

from swim.events import MemberFailed
from swim.protocol.node import Node
from swim.types import MemberState
from swim.wire.messages import Dead
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


def test_one_that_the_others_have_given_up_judges_nobody(net: Net, pair: tuple[Node, Node]) -> None:
    """They live, or lived just now, and none answers: its own packets do not reach them."""
    a, b = pair
    net.lose_host(a)
    assert net.run_until(lambda: b._links.deserted() is not None, 10)
    b._readmission.told(Dead("b", b.me.incarnation, "a"), net.now)
    net.run(LONG_S)
    assert net.believes(b, "a") is MemberState.SUSPECT
    net.run(LONG_S)
    assert net.believes(b, "a") is None, "but not for ever"


class TestOutages:
    """The others are silent, all of them, and it was this node that was cut off: what about the next time?"""

    @pytest.fixture
    def nodes(self, net: Net) -> list[Node]:
        nodes = net.cluster("a", "b", "c", "d", "e")
        net.run(10)
        return nodes

    def outage(self, net: Net, node: Node, seconds: float, *, one_way: bool = False) -> list[str]:
        """Whom the node gives up meanwhile."""
        net.forget_events()
        net.cut("abcd", "e")
        if not one_way:
            net.cut("e", "abcd")
        net.run(seconds)
        given_up = [event.member.name for event in net.events(node, MemberFailed)]
        net.heal()
        net.run(20)
        return sorted(given_up)

    def test_a_silence_that_is_explained_makes_the_next_one_no_shorter(
        self, net: Net, nodes: list[Node]
    ) -> None:
        e = nodes[-1]
        assert self.outage(net, e, 20) == list("abcd")
        assert self.outage(net, e, 12) == []

    @pytest.mark.parametrize("one_way", [False, True])
    def test_the_third_time_it_takes_itself_for_cut_off_once_more(
        self, net: Net, nodes: list[Node], one_way: bool
    ) -> None:
        e = nodes[-1]
        found = [self.outage(net, e, 20, one_way=one_way) for _ in range(4)]
        assert found == [list("abcd"), list("abcd"), [], []]
        assert self.outage(net, e, 70) == list("abcd"), "but not for ever"

    def test_minutes_later_it_counts_no_more(self, net: Net, nodes: list[Node]) -> None:
        e = nodes[-1]
        for _ in range(2):
            self.outage(net, e, 20)
        net.run(180)
        assert self.outage(net, e, 20) == list("abcd")

    def test_what_was_made_up_is_no_outage(self, net: Net, nodes: list[Node]) -> None:
        e = nodes[-1]
        for _ in range(3):
            net.run(20)
            e._readmission.told(Dead("e", e.me.incarnation, "a"), net.now)
        assert e._links.patience(net.now, alone=True) == 15.0
