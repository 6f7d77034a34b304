"""Crowds of members out of nowhere: they have to answer, and are asked; see also tests/cost."""

from __future__ import annotations

from swim.events import MemberJoined
from swim.types import Address, MemberState
from swim.wire import pack_host
from swim.wire.messages import NodeState, Ping, WireState
from swim.wire.serf import encode_tags
from tests.protocol.fakes import SERF, Net

CROWD = 600
"""More than are believed at once."""


def crowd() -> list[NodeState]:
    meta = encode_tags({"role": "x"})
    return [
        NodeState(
            f"x{number}",
            1,
            pack_host(f"10.9.{number // 250}.{number % 250}"),
            7946,
            meta,
            WireState.ALIVE,
            SERF,
        )
        for number in range(CROWD)
    ]


def test_those_that_wait_are_asked_also_when_all_questions_were_taken_at_first() -> None:
    net = Net()
    node = net.start("a")
    teller = net.puppet("t").join(node)
    nowhere = Address("192.0.2.9", 7946)
    taken = 0
    while node._asking.ask("nobody", nowhere, net.now, lambda ack, at: None, lambda at: None):
        taken += 1
    assert taken > 100
    teller.push(node, *crowd())
    net.run(5)
    asked = {ping.node for _, ping in net.said(Ping, by=node) if ping.source_node == "a"}
    assert sum(name.startswith("x") for name in asked) >= 80


def test_fewer_are_believed_where_others_died_that_never_answered() -> None:
    """Twenty made-up members a second, which is no crowd, for a minute; and then a real one."""
    net = Net()
    node = net.start("a")
    teller = net.puppet("t").join(node)
    for second in range(60):
        hosts = [f"10.{second + 1}.9.{number + 1}" for number in range(20)]
        made_up = [made_up_at(f"x{host}", host) for host in hosts]
        teller.push(node, teller.state(), *made_up)
        net.run(1)
    assert len(net.events(node, MemberJoined)) < 500
    real = net.puppet("real")
    teller.push(node, teller.state(), real.state())
    net.run(1)
    assert net.believes(node, "real") is MemberState.ALIVE


def test_the_rest_of_a_crowd_is_not_asked_where_very_many_in_a_row_are_silent() -> None:
    net = Net()
    node = net.start("a")
    teller = net.puppet("t").join(node)
    for part in range(4):
        hosts = [f"10.{part + 1}.{number // 250}.{number % 250 + 1}" for number in range(1_500)]
        teller.push(node, teller.state(), *(made_up_at(f"x{host}", host) for host in hosts))
    net.run(20)
    asked = {ping.node for _, ping in net.said(Ping, by=node) if ping.source_node == "a"}
    assert 500 < len(asked) < 1_500
    assert node.dropped["newcomer-silent"] > 5_000
    real = net.puppet("real")
    teller.push(node, teller.state(), real.state())
    net.run(1)
    assert net.believes(node, "real") is MemberState.ALIVE, "the next one is asked"


def made_up_at(name: str, host: str) -> NodeState:
    return NodeState(name, 1, pack_host(host), 7946, b"", WireState.ALIVE, SERF)
