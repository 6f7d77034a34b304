"""Crowds of members out of nowhere: they have to answer, and are asked; see also tests/cost."""

from __future__ import annotations

from swim.events import MemberJoined
from swim.types import Address, MemberState
from swim.wire import pack_host
from swim.wire.messages import Alive, NodeState, Ping, PushPull, WireState
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
        teller.tell(node, *(Alive(f"x{host}", 1, pack_host(host), 7946, b"", SERF) for host in hosts))
        net.run(1)
    assert len(net.events(node, MemberJoined)) < 500
    real = net.puppet("real")
    teller.tell(node, real.alive())
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
    assert node.dropped["newcomer-silent"] + node.dropped["newcomers-max"] > 5_000
    real = net.puppet("real")
    teller.push(node, teller.state(), real.state())
    net.run(1)
    assert net.believes(node, "real") is MemberState.ALIVE, "the next one is asked"


def test_a_node_that_joins_is_believed_at_once_and_others_that_it_tells_of_have_to_answer() -> None:
    net = Net()
    node, other = net.start("a"), net.puppet("other")
    other.join(node)
    net.run(1)
    other.received.clear()
    net.puppet("n").push(node, net.puppet("n").state(), made_up_at("x", "10.1.9.1"), join=True)
    assert net.believes(node, "n") is MemberState.ALIVE
    net.run(5)
    assert net.believes(node, "x") is None
    told = {news.node for news in other.heard(Alive)}
    assert "n" in told
    assert "x" not in told, "nor are others told what nobody vouches for"


def test_a_memberlist_that_joins_alone_is_believed_at_once() -> None:
    net = Net()
    node = net.start("a")
    net.puppet("n", own=False).push(node, join=True)
    assert net.believes(node, "n") is MemberState.ALIVE


def test_a_memberlist_that_joins_with_all_its_cluster() -> None:
    net = Net()
    node = net.start("a")
    cluster = [net.puppet(f"{number:03}", own=False) for number in range(50)]
    cluster[0].push(node, *(each.state() for each in cluster), join=True)
    net.run(0.2)
    assert all(net.believes(node, each.name) is MemberState.ALIVE for each in cluster)


def test_of_what_this_node_has_asked_for_a_few_are_believed_at_once() -> None:
    """They need not answer: perhaps no packet passes between the two of them."""
    net = Net()
    node, seed = net.start("a"), net.puppet("s")
    seed.join(node)
    mute = [net.puppet(f"{number:03}", mute=True) for number in range(100)]
    seed.answer = PushPull((seed.state(), *(each.state() for each in mute)), head=seed.head())
    node.sync(seed.address, net.now)
    net.drain(node)
    net.run(0.1)
    assert all(net.believes(node, each.name) is MemberState.ALIVE for each in mute)


def test_half_a_cluster_of_300_that_returns_is_in_within_a_second() -> None:
    """Of members that were forgotten meanwhile, one tells; also of one that is slow for a while."""
    net = Net()
    node = net.start("a")
    places = [Address(f"10.7.{number // 250}.{number % 250 + 1}", 7946) for number in range(300)]
    half = [net.puppet(f"n{number}", address=place) for number, place in enumerate(places)]
    slow = half[150]
    slow.mute = True
    states = [each.state() for each in half]
    half[0].push(node, *states)
    net.run(1)
    missing = [each for each in half if net.believes(node, each.name) is None]
    assert missing == [slow]
    slow.mute = False
    net.run(4)
    half[1].push(node, *states)
    net.run(0.1)
    assert net.believes(node, slow.name) is MemberState.ALIVE


def test_who_is_told_of_by_a_member_in_a_packet_is_believed_though_strangers_push_a_crowd() -> None:
    net = Net()
    node = net.start("a")
    member = net.puppet("m").join(node)
    for part in range(4):
        hosts = [f"10.{part + 1}.{number // 250}.{number % 250 + 1}" for number in range(500)]
        net.puppet(f"s{part}").push(node, *(made_up_at(f"x{host}", host) for host in hosts))
    mute = net.puppet("n", mute=True)
    member.tell(node, mute.alive())
    assert net.believes(node, "n") is MemberState.ALIVE


def made_up_at(name: str, host: str) -> NodeState:
    return NodeState(name, 1, pack_host(host), 7946, b"", WireState.ALIVE, SERF)
