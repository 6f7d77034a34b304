"""Crowds of members out of nowhere: they have to answer, and are asked; see also tests/cost."""

from __future__ import annotations

from swim.types import Address
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
