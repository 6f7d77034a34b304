"""A node that wants to know that all others have heard of its newest tags."""

from __future__ import annotations

from swim.protocol.node import Node
from tests.protocol.fakes import Net


def knows(node: Node, other: Node) -> bool:
    """Whether it has the other one's newest tags."""
    member = node.member(other.name)
    return member is not None and member.tags == other.me.tags


def look(net: Net, node: Node, newest: int) -> bool:
    known = node.settling.look(newest, net.now)
    net.drain(node)
    return known


def changed(net: Net, node: Node) -> int:
    node.set_tags({"drained": "yes"}, net.now)
    net.drain(node)
    return node.settling.newest


def test_all_know_when_it_is_settled_and_it_is_so_at_once() -> None:
    net = Net()
    nodes = net.cluster(*"abcdefgh")
    net.run(10)
    began, newest = net.now, changed(net, nodes[0])
    assert not look(net, nodes[0], newest)
    assert net.run_until(lambda: look(net, nodes[0], newest), 5)
    assert all(knows(node, nodes[0]) for node in nodes)
    assert net.now - began < 0.2


def test_a_silent_member_is_waited_for_and_told_when_it_hears_again() -> None:
    net = Net()
    a, b, c = net.cluster("a", "b", "c")
    net.run(10)
    net.split("ab", "c")
    newest = changed(net, a)
    assert not net.run_until(lambda: look(net, a, newest), 1)
    assert knows(b, a)
    assert not knows(c, a)
    net.heal()
    assert net.run_until(lambda: look(net, a, newest), 10)
    assert knows(c, a)


def test_a_dead_member_is_waited_for_until_it_is_given_up() -> None:
    net = Net()
    a, _, c = net.cluster("a", "b", "c")
    net.run(10)
    net.kill(c, quietly=True)
    newest = changed(net, a)
    assert net.run_until(lambda: look(net, a, newest), 30)
    assert a.member("c") is None


def test_nothing_is_sent_when_nobody_waits() -> None:
    net = Net()
    a, *_ = net.cluster("a", "b", "c")
    net.run(10)
    newest = changed(net, a)
    assert net.run_until(lambda: look(net, a, newest), 5)
    assert not a.settling._known
    assert not a.settling._asked


def test_alone_it_is_settled() -> None:
    net = Net()
    (a,) = net.cluster("a")
    assert look(net, a, changed(net, a))
