"""How members that were given up are found again: they are asked, and who is overlooked asks; see Search."""

from __future__ import annotations

import pytest

from swim.events import HeldOff
from swim.protocol.node import Node
from swim.types import MemberState
from swim.wire.messages import Alive, Dead, Nack, Ping
from tests.protocol.fakes import Net, Puppet, address_of

ALIVE = MemberState.ALIVE
Lost = tuple[Node, Puppet, Puppet]


@pytest.fixture
def net() -> Net:
    return Net()


def asked(net: Net, node: Node, name: str) -> int:
    """How often a node has asked at this member's address whether it lives."""
    pings = net.said(Ping, by=node, to=address_of(name))
    return sum(1 for _, ping in pings if ping.source_node == node.name and ping.node == name)


def test_the_dead_are_asked_once_a_second_for_as_long_as_they_are_remembered() -> None:
    net = Net(dead_retention=100.0)
    a, b = net.cluster("a", "b")
    net.puppet("m").join(a)
    net.kill(b)
    net.run(20)
    assert net.believes(a, "b") is None
    net.sent.clear()
    net.run(50)
    assert 45 <= asked(net, a, "b") <= 52
    net.run(120)
    net.sent.clear()
    net.run(20)
    assert asked(net, a, "b") == 0


def test_a_node_that_left_is_not_asked(net: Net) -> None:
    a, b = net.cluster("a", "b")
    b.leave(net.now)
    net.drain(b)
    net.run(5)
    net.sent.clear()
    net.run(10)
    assert asked(net, a, "b") == 0


def test_many_dead_are_asked_in_turn_at_four_a_second(net: Net) -> None:
    a = net.start("a")
    teller = net.puppet("t").join(a)
    names = list("bcdefghijklmnopqrsuvwxyz")
    for name in names:
        net.puppet(name, mute=True).join(a)
        a._table.meet(name)  # as if each had answered it before
        teller.tell(a, Dead(name, 1, "t"))
    net.run(10)
    net.sent.clear()
    net.run(12)
    counts = [asked(net, a, name) for name in names]
    assert 46 <= sum(counts) <= 50
    assert min(counts) >= 1
    assert max(counts) <= 3


def test_members_that_somebody_made_up_are_called_ever_more_seldom() -> None:
    """Else a stranger's word would make every node call an address of its choice, for a day."""
    net = Net(dead_retention=86_400.0)
    a, *_ = net.cluster("a", "b")
    stranger = net.puppet("s").join(a)
    z = net.puppet("z", mute=True)
    z.join(a)
    stranger.tell(a, Dead("z", 1, "s"))
    net.run(1)
    gaps = []
    for _ in range(6):
        net.sent.clear()
        net.requested.clear()
        net.run(60)
        gaps.append(asked(net, a, "z") + [to for _, _, to in net.requested].count(address_of("z")))
    assert 5 <= gaps[0] <= 16
    assert sum(gaps[1:]) <= 6
    assert sum(gaps) <= 22


def test_one_that_answers_is_told_of_its_death_and_comes_back(net: Net) -> None:
    a, b, c = net.cluster("a", "b", "c")
    teller = net.puppet("m").join(a, b, c)
    for node in (a, c):
        net.cut(b.name, node.name)
        net.cut(node.name, b.name)
    teller.tell(a, Dead("b", 1, "m"))
    net.run(0.3)
    assert net.believes(a, "b") is None
    net.heal()
    net.run(1.5)
    assert net.believes(a, "b") is ALIVE
    assert net.believes(c, "b") is ALIVE


@pytest.fixture
def lost(net: Net) -> Lost:
    """`a` alone has given up `z`, which it has never pinged, and has tried its address in vain for hours."""
    a, b = net.cluster("a", "b")
    teller, z = net.puppet("m").join(a, b), net.puppet("z")
    teller.tell(a, z.alive())
    net.run(0.01)
    assert net.believes(a, "z") is ALIVE
    z.mute = True
    a._membership.declare_dead("z", "silence", net.now, solo=True)
    for second in range(20):
        a._attempts.tried(z.address, net.now - second)
    net.kill(b)  # it would give it up as well, and say so
    net.run(5)
    assert net.believes(a, "z") is None
    net.sent.clear()
    return a, teller, z


def test_one_that_another_says_to_live_is_asked_at_once(net: Net, lost: Lost) -> None:
    """However long it was lost: after a partition of an hour nothing else may find it for as long again."""
    a, teller, z = lost
    z.mute = False
    teller.tell(a, z.alive())
    net.run(0.1)
    assert net.believes(a, "z") is ALIVE


def test_one_that_is_said_to_live_and_is_silent_is_asked_every_two_seconds(net: Net, lost: Lost) -> None:
    a, teller, z = lost
    for _ in range(100):
        teller.tell(a, z.alive())
        net.run(0.1)
    assert 5 <= asked(net, a, "z") <= 6
    assert net.believes(a, "z") is None


def test_another_process_that_answers_is_not_the_one_that_is_said_to_live(net: Net, lost: Lost) -> None:
    a, teller, z = lost
    said = z.alive()
    z.mute, z.boot = False, "ANOTHER0"
    teller.tell(a, said)
    net.run(0.1)
    assert asked(net, a, "z") == 1
    assert net.believes(a, "z") is None


def test_another_process_at_its_address_is_not_told(net: Net) -> None:
    """Whoever has another name does not answer, and nothing is exchanged with it."""
    a, b = net.cluster("a", "b")
    net.puppet("m").join(a)
    net.kill(b)
    net.run(5)
    net.sent.clear()
    stranger = net.start("x", address=address_of("b"))
    net.run(30)
    assert asked(net, a, "b")
    assert net.believes(a, "x") is None
    assert [member.name for member in stranger.members()] == ["x"]
    assert not net.said(Dead, to=stranger.address)


def test_a_process_at_the_address_of_another_says_so(net: Net) -> None:
    """Nobody has to wait for the answer of a process that has moved, as when two change places."""
    a = net.start("a")
    puppet = net.puppet("m").join(a)
    puppet.tell(a, Ping(7, "x", sender_id=bytes(16)), Ping(8, "x"))
    net.run(0.1)
    assert puppet.heard(Nack) == [Nack(7)]


def test_a_node_that_is_not_at_its_address_loses_its_name_to_another_at_once(net: Net) -> None:
    a, b = net.cluster("a", "b")
    m = net.puppet("m").join(a, b)
    gone = net.puppet("s", mute=True, address=address_of("x")).join(a, b)
    net.run(1)
    del net._puppets[gone.address]
    net.start("x")  # at the address of s
    net.puppet("s", boot="BOOT0002").join(a)
    net.run(0.1)
    assert {member.name: member.address for member in a.members()}["s"] == address_of("s")
    assert m.heard(Alive)


def test_a_member_that_others_do_not_know_any_more_finds_out_by_its_pings(net: Net) -> None:
    """Nobody searches for one that is said to have left."""
    a, b, c = net.cluster("a", "b", "c")
    teller = net.puppet("m").join(a, b, c)
    net.cut("ac", "b")
    for node in (a, c):
        teller.tell(node, Dead("b", 1, "b"))
    net.run(0.2)
    net.heal()
    net.run(4)
    assert net.believes(a, "b") is ALIVE
    assert net.believes(c, "b") is ALIVE


def test_overlooked_members_do_not_ask_without_end(net: Net) -> None:
    """Once, until something is new: some never get a turn, as behind a router that changes addresses."""
    a, b = net.cluster("a", "b")
    puppet = net.puppet("m").join(a, b)
    net.run(5)
    before = len(puppet.asked)
    net.run(60)
    assert len(puppet.asked) - before <= 5


@pytest.mark.parametrize("ends", ["leaves", "dies"])
def test_a_process_whose_name_another_had_meanwhile_takes_a_fresh_id(net: Net, ends: str) -> None:
    """It stood still and was given up; a substitute came and went; its old id is below that one's."""
    a, b, c = net.cluster("a", "b", "c")
    before = b.me.id or ""
    net.pause(b, 50)
    net.run(20)
    assert net.believes(a, "b") is None
    substitute = net.start("b", "a", address=address_of("s"))
    net.run(2)
    assert net.believes(c, "b") is ALIVE
    if ends == "leaves":
        substitute.leave(net.now)
        net.drain(substitute)
    else:
        net.kill(substitute)
    net.run(10)
    assert net.believes(c, "b") is None
    net.run(20)
    assert net.believes(a, "b") is ALIVE
    assert net.believes(c, "b") is ALIVE
    assert (b.me.id or "") > before
    assert net.said(Alive, by=b)


def test_a_node_whose_id_is_refused_takes_another_when_its_clock_is_right_again(net: Net) -> None:
    """Its clock ran two hours ahead when it took a fresh id."""
    a, b, c = net.cluster("a", "b", "c")
    net.skews["a"] = 7_200.0
    for _ in range(2):
        net.cut("a", "bc")
        net.cut("bc", "a")
        net.run(8)
        net.heal()
        net.run(5)
    assert net.believes(b, "a") is None
    told = [event.reason or "" for event in net.events(a, HeldOff)]
    assert told
    assert all("set the clocks" in reason for reason in told)
    net.skews["a"] = 0.0
    net.run(5)
    assert net.believes(b, "a") is ALIVE
    assert net.believes(c, "a") is ALIVE
    assert net.events(a, HeldOff)[-1].reason is None
    assert {node.leader.name for node in (a, b, c) if node.leader is not None} == {"b"}
    assert a.floor == b.floor


def test_where_all_ids_are_of_the_future_those_that_follow_are_welcome(net: Net) -> None:
    """The clocks of all were ahead when they joined, and have been set right."""
    a, b, c = net.cluster("a", "b", "c", skew=7_200.0)
    net.skews |= {"a": 0.0, "b": 0.0, "c": 0.0}
    net.cut("a", "bc")
    net.cut("bc", "a")
    net.run(8)
    net.heal()
    net.run(5)
    assert net.believes(b, "a") is ALIVE
    assert net.believes(c, "a") is ALIVE
    assert {node.leader.name for node in (a, b, c) if node.leader is not None} == {"b"}


def test_an_address_that_was_called_for_hours_may_be_that_of_another_member_then(net: Net) -> None:
    """One that nobody has met: how long it has to wait can still be told."""
    a, _ = net.cluster("a", "b")
    for second in range(2_000):
        a._attempts.tried(address_of("x"), net.now + second)
    assert not a._attempts.due(address_of("x"), net.now + 2_001)
    assert a._attempts.due(address_of("x"), net.now + 2_000 + 86_400)
