"""Which losses are a member's quality: those on a link that loses most packets, not those of an outage."""

from __future__ import annotations

import pytest

from swim.events import MemberFailed
from swim.protocol.base.loss import LossEstimate
from swim.protocol.base.outbox import Way
from swim.protocol.detector.watch import Case, Probe
from swim.protocol.node import Node
from tests.protocol.fakes import Net, address_of

_LAST: tuple[tuple[int, Way], ...] = (8, "udp"), (9, "helper")


def failed(net: Net, nodes: list[Node]) -> list[tuple[str, str]]:
    return [(event.member.name, event.reason) for node in nodes for event in net.events(node, MemberFailed)]


@pytest.mark.parametrize("seconds", [0.4, 1.0])
def test_one_that_is_reached_half_of_the_time_keeps_its_place(seconds: float) -> None:
    """Its link is down and up again and again, each time for so long."""
    net = Net()
    nodes = net.cluster(*"abcde")
    net.run(10)
    net.forget_events()
    for _ in range(30):
        net.split("a", "bcde")
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


@pytest.mark.parametrize(
    ("answered", "counted"), [("", 4), ("udp", 1), ("helper", 1), ("udp helper", 1)], ids=str
)
def test_a_case_counts_as_many_losses_as_there_were_unless_those_after_it_are_answered(
    answered: str, counted: int
) -> None:
    net = Net()
    a, *_ = net.cluster(*"abcd")
    net.run(10)
    losses, record, watch = a._suspicion._losses, a._table.get("b"), a._probing.subjects["b"]
    assert record is not None
    attention = a._suspicion._attention(net.now)
    watch.loss = LossEstimate()
    last = [Probe(seq, attention - 0.001, way) for seq, way in _LAST]
    lost = [Probe(seq, attention - 0.2 + seq / 100, "udp") for seq in range(4)]
    first = Probe(7, attention - 0.001, "helper")
    losses.settle(record, watch, Case(attention - 0.2, [*lost, first, *last]), first, net.now)
    assert [probe.way for probe in last if losses.answered(probe)] == ["udp", "helper"]
    losses._awaited.update(dict.fromkeys(probe.seq for probe in last if probe.way not in answered))
    net.now += 1.0
    a.handle_timer(net.now)
    assert watch.loss.measured == pytest.approx(1.0 if counted == 4 else 0.5)
    assert len(watch.loss._recent) == (4 if counted == 4 else 2)


@pytest.mark.parametrize(
    ("way", "streamed", "own", "members"),
    [("udp", False, 1, 1), ("udp", True, 0, 1), ("helper", False, 0, 1), ("helper", True, 0, 0)],
)
def test_a_ping_was_lost_on_this_nodes_own_link_only_if_udp_was_all_that_was_answered(
    way: Way, streamed: bool, own: int, members: int
) -> None:
    """UDP may be blocked: what comes through others, or over a stream, does not tell."""
    net = Net()
    a, *_ = net.cluster(*"abcd")
    net.run(10)
    losses, record, watch = a._suspicion._losses, a._table.get("b"), a._probing.subjects["b"]
    assert record is not None
    attention = a._suspicion._attention(net.now)
    watch.loss = LossEstimate()
    case = Case(attention - 0.2, [Probe(1, attention - 0.2, "udp")])
    case.alive = attention - 0.1 if streamed else case.alive
    before = sum(a._links.loss._recent)
    losses.settle(record, watch, case, Probe(2, attention - 0.001, way), net.now)
    assert sum(a._links.loss._recent) - before == own
    net.now += 1.0
    a.handle_timer(net.now)
    assert sum(watch.loss._recent) == members
