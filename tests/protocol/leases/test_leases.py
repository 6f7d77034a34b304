"""Leases of whole nodes: who is told, who is heard, and what is forged."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from swim.config import Config
from swim.protocol.leases.holder import Change
from swim.protocol.leases.leases import session_length, token_text
from swim.protocol.node import Node
from swim.wire.leases import LeaseEntry, LeaseKind, LeaseMessage
from tests.protocol.fakes import Net, Puppet

SESSION = 6.0


@pytest.fixture
def net() -> Net:
    return Net()


def want(net: Net, node: Node, name: str = "x", limit: int = 1) -> int:
    id = node.leases.want(name, limit, False, net.now)
    net.drain(node)
    return id


def release(net: Net, node: Node, id: int) -> None:
    node.leases.release(id, net.now)
    net.drain(node)


def held(node: Node, id: int) -> bool:
    state = node.leases.holder.states.get(id)
    return state is not None and bool(state.token) and not state.lost


def holder_of(leader: Node, name: str = "x") -> list[str]:
    return [use.session.member for use in leader.leases.grantor.books.holders(name)]


def said(net: Net, *, by: Node) -> list[LeaseMessage]:
    return [message for _, message in net.said(LeaseMessage, by=by)]


# --- who is told


def test_a_founder_alone_is_granted_a_name_at_once(net: Net) -> None:
    node = net.start("a")
    id = want(net, node)
    assert held(node, id)


def test_a_member_is_granted_a_name_by_the_leader(net: Net) -> None:
    a, b, _ = net.cluster("a", "b", "c")
    id = want(net, b)
    net.run(0.1)
    assert held(b, id)
    assert holder_of(a) == ["b"]


def test_nothing_is_sent_to_or_by_one_that_holds_and_wants_nothing(net: Net) -> None:
    a, b, c = net.cluster("a", "b", "c")
    net.run(20.0)
    assert net.said(LeaseMessage) == []
    id = want(net, b)
    net.run(0.5)
    release(net, b, id)
    net.run(0.5)
    before = len(net.said(LeaseMessage))
    net.run(20.0)
    assert len(net.said(LeaseMessage)) == before
    assert not a.leases.grantor.books.sessions
    assert c.leases.idle


def test_a_lease_goes_on_for_as_long_as_it_is_renewed(net: Net) -> None:
    a, b = net.cluster("a", "b")
    id = want(net, b)
    net.run(10 * SESSION)
    assert held(b, id)
    assert holder_of(a) == ["b"]


def test_a_renewal_costs_two_small_packets_whatever_is_held(net: Net) -> None:
    _, b = net.cluster("a", "b")
    for index in range(200):
        want(net, b, f"name/{index}")
    net.run(3.0)
    before = len(said(net, by=b))
    net.run(10.0)
    renewals = said(net, by=b)[before:]
    assert len(renewals) == pytest.approx(10, abs=2)
    assert all(message.digest and not message.entries for message in renewals)


def test_tokens_compare_as_text_across_leaders(net: Net) -> None:
    a, b, c = net.cluster("a", "b", "c")
    texts = []
    for node in (b, c):
        id = want(net, node)
        net.run(0.1)
        texts.append(token_text(node.leases.holder.states[id].token))
        release(net, node, id)
        net.run(0.1)
    net.kill(a)
    net.run(10.0)
    id = want(net, c)
    net.run(SESSION + 1.0)
    texts.append(token_text(c.leases.holder.states[id].token))
    assert texts == sorted(set(texts))


# --- another leader


def test_a_new_leader_is_told_what_is_held_and_interrupts_nobody(net: Net) -> None:
    a, b, c = net.cluster("a", "b", "c")
    id = want(net, c)
    net.run(1.0)
    c.leases.take_changes()
    net.kill(a)
    net.run(5.0)
    assert holder_of(b) == ["c"]
    assert held(c, id)
    assert all(change.token for change in c.leases.take_changes())


def test_without_voters_a_new_leader_grants_as_soon_as_all_have_told(net: Net) -> None:
    a, b, c = net.cluster("a", "b", "c")
    want(net, c, "held")
    net.run(1.0)
    net.kill(a)
    assert net.run_until(lambda: b.term is not None, 10.0)
    id = want(net, b, "free")
    net.run(1.0)
    assert held(b, id)
    assert holder_of(b, "held") == ["c"]


def test_what_is_held_is_not_granted_to_another_by_a_new_leader(net: Net) -> None:
    a, b, c = net.cluster("a", "b", "c")
    want(net, c)
    net.run(1.0)
    net.kill(a)
    assert net.run_until(lambda: b.term is not None, 10.0)
    id = want(net, b)
    net.run(3 * SESSION)
    assert not held(b, id)
    assert holder_of(b) == ["c"]


def test_a_leader_whose_term_is_over_grants_nothing(net: Net) -> None:
    a, b = net.cluster("a", "b")
    want(net, b)
    net.run(1.0)
    assert a.term is not None
    net.now = a.term_ends + 0.01
    a.leases.update(net.now)
    assert not a.leases.grantor.term
    assert holder_of(a) == []


# --- deaths


def test_without_voters_the_death_of_a_holder_frees_its_names(net: Net) -> None:
    a, b, c = net.cluster("a", "b", "c")
    want(net, b)
    net.run(0.5)
    id = want(net, c)
    net.kill(b)
    assert net.run_until(lambda: held(c, id), SESSION / 2)
    assert holder_of(a) == ["c"]


def test_with_voters_a_dead_holder_keeps_its_names_for_its_session(net: Net) -> None:
    nodes = net.cluster("a", "b", "c", "d", voters=("a", "b", "c"))
    net.run(12.0)
    leader = next(node for node in nodes if node.term is not None)
    first, second, _ = (node for node in nodes if node is not leader)
    want(net, first)
    net.run(SESSION)
    assert holder_of(leader) == [first.name]
    id = want(net, second)
    net.run(0.5)
    net.kill(first)
    assert not net.run_until(lambda: held(second, id), 0.7 * SESSION)
    assert net.run_until(lambda: held(second, id), SESSION)


@pytest.mark.parametrize("phase", [0.0, 0.3, 0.6, 0.9])
def test_with_voters_what_a_dead_leader_held_is_free_a_session_later(net: Net, phase: float) -> None:
    nodes = net.cluster("a", "b", "c", "d", "e", voters=("a", "b", "c"))
    net.run(12.0)
    leader = next(node for node in nodes if node.term is not None)
    first, second, *_ = (node for node in nodes if node is not leader)
    of_leader, of_first = want(net, leader), want(net, first, "other")
    net.run(SESSION + phase)
    id = want(net, second)
    net.run(0.1)
    ends, killed = leader.leases.holder.states[of_leader].until, net.now
    net.kill(leader)
    first.leases.take_changes()
    assert not net.run_until(lambda: held(second, id), ends - killed)
    assert net.run_until(lambda: held(second, id), killed + SESSION + 0.5 - net.now)
    assert held(first, of_first)
    assert all(change.token for change in first.leases.take_changes())


def test_with_voters_a_lease_counts_from_no_later_than_the_leaders_last_round(net: Net) -> None:
    nodes = net.cluster("a", "b", "c", "d", voters=("a", "b", "c"))
    net.run(12.0)
    leader = next(node for node in nodes if node.term is not None)
    holder = next(node for node in nodes if node is not leader)
    id = want(net, holder)
    for _ in range(30):
        net.run(0.1)
        assert holder.leases.holder.states[id].until <= leader._tenure.backed + 0.97 * SESSION + 0.001


def test_a_process_that_was_started_anew_holds_nothing_of_the_earlier_one(net: Net) -> None:
    a, b = net.cluster("a", "b")
    want(net, b)
    net.run(0.5)
    net.kill(b)
    net.run(0.2)
    again = net.start("b", "a")
    net.run(5.0)
    assert holder_of(a) == []
    id = want(net, again)
    net.run(0.5)
    assert held(again, id)


# --- what is forged, repeated, or for others


def claim(net: Net, puppet: Puppet, leader: Node, message: LeaseMessage) -> None:
    """As this process says it to the leader."""
    message = replace(message, process=puppet.boot.encode())
    between = leader.leases._between(message, puppet.name, leader.name, b"")
    puppet.tell(leader, replace(message, between=between))


def question(leader: Node, name: str = "x") -> LeaseMessage:
    entry = LeaseEntry(LeaseKind.WANT, 1, name, number=1)
    return LeaseMessage(leader.leases.grantor.term, numbers=(1,), entries=(entry,), session_ms=6_000)


def test_a_member_of_our_own_may_ask(net: Net) -> None:
    a = net.start("a")
    puppet = net.puppet("p").join(a)
    net.run(0.5)
    claim(net, puppet, a, question(a))
    net.run(0.2)
    a.leases.grantor.end_pause(net.now)
    assert holder_of(a) == ["p"]


@pytest.mark.parametrize(
    "spoil",
    [
        {"term": b"o" * 16},
        {"term": b""},
        {"numbers": ()},
        {"numbers": (1, 2)},
    ],
)
def test_what_is_for_another_term_or_has_no_number_is_dropped(net: Net, spoil: dict[str, Any]) -> None:
    a = net.start("a")
    puppet = net.puppet("p").join(a)
    net.run(0.5)
    claim(net, puppet, a, replace(question(a), **spoil))
    assert not a.leases.grantor.books.names
    assert a.dropped["lease-term"] == 1


def test_what_another_has_said_is_not_believed_from_its_repeater(net: Net) -> None:
    a, b = net.cluster("a", "b")
    want(net, b)
    net.run(0.5)
    puppet = net.puppet("p").join(a)
    for message in said(net, by=b):
        puppet.tell(a, message)
    assert holder_of(a) == ["b"]
    assert a.dropped["lease-for-another"] > 0


def test_a_question_that_is_repeated_after_the_release_holds_nothing_up(net: Net) -> None:
    a, b = net.cluster("a", "b")
    id = want(net, b)
    net.run(0.5)
    packets = [sent.data for sent, _ in net.said(LeaseMessage, by=b)]
    release(net, b, id)
    net.run(0.5)
    for packet in packets:
        a.receive_datagram(packet, b.address, net.now)
        net.drain(a)
    net.run(0.5)
    assert holder_of(a) == []


def test_a_grant_by_one_that_does_not_lead_counts_nothing(net: Net) -> None:
    a, b, c = net.cluster("a", "b", "c")
    net.cut("a", "b")
    id = want(net, b)
    term = b.leases.holder.term
    token = term + bytes(8)
    (number,) = said(net, by=b)[-1].numbers
    grant = LeaseMessage(term, c._post.process, entries=(LeaseEntry(LeaseKind.GRANT, id, "", token, number),))
    between = c.leases._between(grant, "c", "b", b._post.process)
    net.tell(b, replace(grant, between=between), c.address)
    assert not held(b, id)
    assert b.dropped["lease-term"] == 1
    assert a.leases.grantor.term == term


def test_a_stranger_and_a_foreign_member_get_no_answer(net: Net) -> None:
    a = net.start("a")
    stranger, foreign = net.puppet("s"), net.puppet("f", own=False)
    foreign.push(a)
    net.run(1.0)
    for puppet in (stranger, foreign):
        before = len(puppet.datagrams)
        claim(net, puppet, a, question(a))
        assert puppet.heard(LeaseMessage) == []
        assert len(puppet.datagrams) == before
    assert a.dropped["stranger"] >= 2
    assert not a.leases.grantor.books.sessions


def test_what_comes_back_to_its_sender_is_dropped(net: Net) -> None:
    a, b = net.cluster("a", "b")
    want(net, b)
    net.run(0.5)
    sent = next(sent for sent, _ in net.said(LeaseMessage, by=b))
    b.receive_datagram(sent.data, a.address, net.now)
    assert b.dropped["lease-reflected"] == 1


def test_a_session_lasts_for_two_leases_at_least() -> None:
    assert session_length(Config()) == 6.0
    assert session_length(Config(lease=10.0)) == 20.0
    assert session_length(Config(lease=1.0, session=3.0)) == 3.0


def test_a_node_that_leaves_says_nothing_more_of_names(net: Net) -> None:
    _, b = net.cluster("a", "b")
    want(net, b)
    net.run(0.5)
    b.leave(net.now)
    net.drain(b)
    before = len(said(net, by=b))
    net.run(0.2)
    assert len(said(net, by=b)) == before


def test_changes_are_told_once(net: Net) -> None:
    a = net.start("a")
    id = want(net, a)
    (change,) = a.leases.take_changes()
    assert isinstance(change, Change)
    assert change.id == id
    assert a.leases.take_changes() == []
