"""Which losses are a member's quality: those on a link that loses most packets, not those of an outage."""

from __future__ import annotations

import pytest

from swim.events import MemberFailed
from swim.protocol.base.loss import LossEstimate
from swim.protocol.base.outbox import Way
from swim.protocol.detector.states import State
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
            for lost in {"lose none": ".", "lose some": "..L..", "lose as many": "L"}[others]:
                subject.loss.add(lost == "L")
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
    watch.loss.add(True)
    watch.loss.add(True)
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
    assert list(watch.loss._recent) == [True, True, True, *[False] * answered, *[True] * (2 - answered)]


@pytest.mark.parametrize("others", ["lose none", "lose as many"])
@pytest.mark.parametrize(
    ("before", "asked", "answered", "again"),
    [("", 1, 0, 1), ("", 1, 1, 0), ("LL", 2, 0, 2), ("LL", 2, 1, 0), (7 * "L", 2, 1, 2), (4 * "L", 2, 2, 0)],
)
def test_while_most_pings_to_one_are_lost_and_few_to_others_more_follow(
    before: str, asked: int, answered: int, again: int, others: str
) -> None:
    """Later: what is lost at one time may be a single outage. Where all lose much, it may be this node."""
    net = Net()
    a, record, watch, _ = observed(net, others)
    for _ in before:
        watch.loss.add(True)
    asked_of_b(net, a)
    a._suspicion._losses.lost(record, watch, net.now, single=False)
    pings = asked_of_b(net, a)
    assert len(pings) == (asked if others == "lose none" else 1)
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


def test_nothing_is_asked_after_a_case_where_others_lose_as_much() -> None:
    """It is no member's quality; and too little for this node's own links to be as bad."""
    net = Net()
    a, record, watch, _ = observed(net, "lose some")
    for _ in range(3):
        watch.loss.add(False)
    asked_of_b(net, a)
    a._suspicion._losses.lost(record, watch, net.now, single=False)
    assert asked_of_b(net, a) == []


@pytest.mark.parametrize("before", ["", "LL"])
@pytest.mark.parametrize("others", ["lose none", "lose as many"])
@pytest.mark.parametrize("way", ["udp", "helper"])
def test_where_a_single_ping_is_lost_and_the_next_one_answered_more_are_sent_only_if_that_stands_out(
    way: Way, others: str, before: str
) -> None:
    net = Net()
    a, record, watch, attention = observed(net, others)
    for _ in before:
        watch.loss.add(True)
    asked_of_b(net, a)
    watch.case = Case(attention - 0.1, [Probe(0, attention - 0.1, "udp")])
    a._suspicion._answered_by_udp(record, watch, Probe(1, attention - 0.001, way), net.now)
    stands_out = bool(before) and others == "lose none"
    assert len(asked_of_b(net, a)) == (2 if stands_out else 0 if way == "udp" else 1)
    assert list(watch.loss._recent)[len(before) :] == ([True, False] if way == "udp" else [True])


@pytest.mark.parametrize(("seconds", "more"), [(0.3, True), (1.5, False)])
def test_what_was_lost_in_a_case_is_expected_of_the_next_unless_it_may_have_been_a_pause(
    seconds: float, more: bool
) -> None:
    """One loss counts as the link's quality, but phi asks how probable it is that all of them get lost."""
    net = Net()
    a, record, watch, attention = observed(net)
    probes = [Probe(seq, attention - seconds, "udp") for seq in range(9)]
    watch.case = Case(attention - seconds, [*probes])
    a._suspicion._answered_by_udp(record, watch, probes[-1], net.now)
    assert list(watch.loss._recent) == [True]
    assert (watch.loss.share > 0.3) == more


def test_the_end_of_a_time_in_which_only_the_stream_answered_is_asked_about_like_that_of_a_case() -> None:
    """So a link that loses most packets is known as such, and not taken for one on which UDP is blocked."""
    net = Net()
    a, record, watch, attention = observed(net)
    asked_of_b(net, a)
    watch.state = State.STREAM_ASKED
    a._suspicion._answered_by_udp(record, watch, Probe(1, attention - 0.001, "udp"), net.now)
    assert list(watch.loss._recent) == [True]
    assert len(asked_of_b(net, a)) == 1


def test_a_late_answer_over_the_stream_is_no_round_trip_where_udp_works() -> None:
    """A stream repeats what is lost, after a while: measured by that, every loss would be noticed late."""
    net = Net()
    a, record, watch, _ = observed(net)
    before = watch.round_trip.mean
    probe = a._probes.probe(record, net.now)
    net.now += 0.3
    a._probing.receive_ack(Ack(probe.seq), net.now, streamed=True)
    assert watch.round_trip.mean == before
    watch.state = State.STREAM_ASKED
    a._probing.receive_ack(Ack(probe.seq), net.now, streamed=True)
    assert watch.round_trip.mean != before


def test_pings_over_the_stream_that_are_late_are_not_taken_for_lost() -> None:
    probes = [Probe(1, 0.0, "udp"), Probe(2, 0.0, "stream"), Probe(3, 0.0, "helper")]
    case = Case(0.0, probes)
    assert [probe.seq for probe in case.overdue(0.15, 0.1)] == [1]
    assert [probe.seq for probe in case.overdue(0.25, 0.1)] == [1, 3]


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


def test_one_member_is_asked_for_help_first_and_then_two() -> None:
    """Most often one is enough: the first round of a case with help ends most of those that a loss began."""
    net = Net()
    a, record, watch, attention = observed(net)
    case = watch.case = Case(attention)
    asked = []
    for _ in range(4):
        before = a._probes.ping_reqs
        a._suspicion._probe_again(record, watch, case, net.now)
        asked.append(a._probes.ping_reqs - before)
    assert asked == [0, 1, 2, 2]
