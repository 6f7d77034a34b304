"""Which losses are a member's quality: those on a link that loses most packets, not those of an outage."""

from __future__ import annotations

import pytest

from swim.events import MemberFailed
from swim.protocol.base.loss import LossEstimate
from swim.protocol.base.outbox import Way
from swim.protocol.detector.watch import Case, Probe, Watch
from swim.protocol.node import Node
from swim.protocol.view.table import Record
from swim.wire.messages import Ack, Ping
from tests.protocol.fakes import Net, address_of


def failed(net: Net, nodes: list[Node]) -> list[tuple[str, str]]:
    return [(event.member.name, event.reason) for node in nodes for event in net.events(node, MemberFailed)]


@pytest.mark.parametrize("cut", ["both ways", "to", "from"])
@pytest.mark.parametrize("seconds", [0.4, 1.0, 1.5])
def test_one_that_is_reached_half_of_the_time_keeps_its_place(seconds: float, cut: str) -> None:
    """Its link is down and up again and again, each time for so long.

    Half of the regular pings are lost, and more of what is sent while nothing is answered. What was sent over
    streams meanwhile, to it or to those that ask it for others, arrives late, and is answered then.
    """
    net = Net()
    net.streams_repeat = True
    nodes = net.cluster(*"abcde")
    net.run(10)
    net.forget_events()
    for _ in range(round(40 / seconds)):
        if cut != "from":
            net.cut("bcde", "a")
        if cut != "to":
            net.cut("a", "bcde")
        net.run(seconds)
        net.heal()
        net.run(seconds * net.rng.uniform(1.0, 1.05))
        shares = [
            node._probing.subjects["a"].loss.recently for node in nodes if "a" in node._probing.subjects
        ]
        assert shares
        assert max(shares) <= 0.5
    assert failed(net, nodes) == []


@pytest.mark.parametrize("lossy", ["to", "from"])
def test_one_to_or_from_which_most_packets_get_lost_is_given_up(lossy: str) -> None:
    net = Net()
    nodes = net.cluster(*"abcde")
    net.run(10)
    net.forget_events()
    bad, real = address_of("a"), net.passes
    net.passes = lambda source, target: (  # type: ignore[method-assign]
        real(source, target) and not (bad == (target if lossy == "to" else source) and net.rng.random() < 0.8)
    )
    net.streams_work = False
    assert net.run_until(lambda: ("a", "quality") in failed(net, nodes[1:]), 90)


def observed(net: Net, others: str = "lose none") -> tuple[Node, Record, Watch, float]:
    """One of four members, what it knows of another, of which no loss is known yet, and its time."""
    a, *_ = net.cluster(*"abcd")
    net.run(10)
    record, watch = a._table.get("b"), a._probing.subjects["b"]
    assert record is not None
    for subject in a._probing.subjects.values():
        subject.loss = LossEstimate()
        if subject is not watch:
            subject.loss.add(others == "lose as many")
    return a, record, watch, a._suspicion._attention(net.now)


def asked_of_b(net: Net, node: Node) -> list[int]:
    """The numbers of the pings that it has sent to b since the last call. They get lost."""
    net.cut("a", "b")
    net.drain(node)
    pings = [
        message.seq
        for sent in net.sent
        if sent.target == address_of("b")
        for message in sent.messages
        if isinstance(message, Ping)
    ]
    net.sent.clear()
    return pings


@pytest.mark.parametrize("way", ["udp", "helper"])
@pytest.mark.parametrize("answered", range(3))
def test_of_a_case_one_loss_counts_and_each_of_the_pings_after_it(answered: int, way: Way) -> None:
    """An answer over a stream, which repeats what is lost, does not tell that a ping arrived."""
    net = Net()
    a, record, watch, attention = observed(net)
    lost = [Probe(seq, attention - 0.3 + seq / 100, "udp") for seq in range(9)]
    first = Probe(9, attention - 0.2, way)
    net.drain(a)
    net.sent.clear()
    watch.case = Case(attention - 0.3, [*lost, first])
    a._suspicion._answered_by_udp(record, watch, first, net.now)
    net.cut("a", "b")
    net.drain(a)
    pings = [message.seq for sent in net.sent for message in sent.messages if isinstance(message, Ping)]
    assert len(pings) == 2
    for seq in pings:
        a._probing.receive_ack(Ack(seq), net.now, streamed=True)
    for seq in pings[:answered]:
        a._probing.receive_ack(Ack(seq), net.now)
    net.now += 1.0
    a.handle_timer(net.now)
    assert list(watch.loss._recent) == [True, *[False] * answered, *[True] * (2 - answered)]


@pytest.mark.parametrize("others", ["lose none", "lose as many"])
@pytest.mark.parametrize(
    ("before", "answered", "again"), [("", 0, 2), ("", 1, 0), ("", 2, 0), (7 * "L", 1, 2), (4 * "L", 2, 0)]
)
def test_while_most_pings_to_one_are_lost_and_few_to_others_two_more_follow(
    before: str, answered: int, again: int, others: str
) -> None:
    """Later: what is lost at one time may be a single outage."""
    net = Net()
    a, record, watch, _ = observed(net, others)
    for _ in before:
        watch.loss.add(True)
    asked_of_b(net, a)
    a._suspicion._losses.lost(record, watch, net.now, single=False)
    pings = asked_of_b(net, a)
    assert len(pings) == 2
    for seq in pings[:answered]:
        a._probing.receive_ack(Ack(seq), net.now)
    net.now += 0.55
    a.handle_timer(net.now)
    a._timers.cancel(("ping", "b"))
    asked_of_b(net, a)
    net.now += a.config.silence_tolerance - 0.1
    a.handle_timer(net.now)
    assert asked_of_b(net, a) == []
    net.now += 0.1
    a.handle_timer(net.now)
    assert len(asked_of_b(net, a)) == (again if others == "lose none" else 0)


@pytest.mark.parametrize("others", ["lose none", "lose as many"])
@pytest.mark.parametrize("way", ["udp", "helper"])
def test_where_a_single_ping_is_lost_as_others_are_and_the_next_one_answered_no_more_are_sent(
    way: Way, others: str
) -> None:
    net = Net()
    a, record, watch, attention = observed(net, others)
    asked_of_b(net, a)
    watch.case = Case(attention - 0.1, [Probe(0, attention - 0.1, "udp")])
    a._suspicion._answered_by_udp(record, watch, Probe(1, attention - 0.001, way), net.now)
    assert len(asked_of_b(net, a)) == (0 if way == "udp" and others == "lose as many" else 2)
    assert list(watch.loss._recent) == ([True, False] if way == "udp" else [True])


@pytest.mark.parametrize(
    ("way", "streamed", "own", "members"),
    [("udp", False, 1, 1), ("udp", True, 0, 1), ("helper", False, 0, 1), ("helper", True, 0, 0)],
)
def test_a_ping_was_lost_on_this_nodes_own_link_only_if_udp_was_all_that_was_answered(
    way: Way, streamed: bool, own: int, members: int
) -> None:
    """UDP may be blocked: what comes through others, or over a stream, does not tell."""
    net = Net()
    a, record, watch, attention = observed(net)
    watch.case = Case(attention - 0.2, [Probe(1, attention - 0.2, "udp")])
    if streamed:
        watch.case.alive = attention - 0.1
    before = sum(a._links.loss._recent)
    a._suspicion._answered_by_udp(record, watch, Probe(2, attention - 0.001, way), net.now)
    assert sum(a._links.loss._recent) - before == own
    assert sum(watch.loss._recent) == members
