"""Whose turn it is to ask for the lease when the leader does not renew it, and is not suspected yet."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from swim.protocol.leadership.lease import Lease
from swim.protocol.leadership.queue import Queue
from swim.protocol.node import Node
from swim.protocol.view.identity import pack_id
from swim.types import MemberState
from swim.wire.messages import LeaderKind, LeaderMessage
from tests.protocol.fakes import Net, address_of
from tests.protocol.leadership.test_ballots import token_at
from tests.protocol.leadership.test_lease import VOTERS, L, led, messages, never_two, term

UNNOTICED = 60.0
"""Between two pings: in these tests nobody notices by them that a member is silent."""


@pytest.fixture
def net() -> Net:
    return Net(probe_interval=UNNOTICED, silence_tolerance=UNNOTICED)


def queue(node: Node) -> Queue:
    assert isinstance(node._tenure, Lease)
    return node._tenure.queue


def lose(net: Net, node: Node) -> float:
    """Its host; when its lease will have run out at the voters, at the latest."""
    net.run(random.Random(1).uniform(0.0, L))
    net.lose_host(node)
    return net.now + L


class TestALeaderThatDoesNotRenew:
    def test_is_succeeded_when_its_lease_has_run_out_though_nobody_suspects_it(self, net: Net) -> None:
        a, b, c = led(net, *"abc")
        until = lose(net, a)
        assert net.run_until(lambda: b.term is not None, until - net.now + 0.1)
        assert net.believes(b, "a") is MemberState.ALIVE
        net.run(0.1)
        assert [leader.name for node in (b, c) if (leader := node.leader) is not None] == ["b", "b"]

    def test_is_succeeded_by_the_next_member_also_if_only_others_have_a_vote(self, net: Net) -> None:
        a, w, *_ = led(net, *"awbcd", voters=tuple("abcd"))
        until = lose(net, a)
        assert net.run_until(lambda: w.term is not None, until - net.now + 0.1)

    def test_is_succeeded_by_another_if_the_next_member_gets_nowhere(self, net: Net) -> None:
        a, _, b, *_ = nodes = led(net, *"awbcd", voters=tuple("abcd"))
        net.split("w", "bcd")
        until = lose(net, a)
        assert net.run_until(lambda: b.term is not None, until - net.now + L / 3 + 0.1)
        never_two(net, nodes, L)

    def test_is_succeeded_by_the_next_member_alone_that_asks_since_some_votes_were_free_earlier(
        self, net: Net
    ) -> None:
        """Those of two voters that it had not asked yet: they tell that member only, again and again."""
        a, b, *_ = led(net, *"abcde", voters=tuple("abcde"))
        net.lose_host(a)
        assert net.run_until(lambda: b.term is not None, L + 0.1)
        told = [sent.target for sent, each in net.said(LeaderMessage) if each.kind is LeaderKind.VACANT]
        assert told == [address_of("b")] * len(told)
        assert len(told) > 3

    def test_is_asked_by_no_voter_that_may_be_another_process_of_its_name(self, net: Net) -> None:
        a, b, c = led(net, *"abc")
        for node in (b, c):
            node._electorate.voter.moved = True
        net.run_until(lambda: False, lose(net, a) - net.now + L)
        assert not messages(net, LeaderKind.VACANT)
        assert b.term is None


class TestALeaderThatRenews:
    def test_is_not_disturbed_by_a_voter_that_it_does_not_reach_and_that_says_so_a_few_times(
        self, net: Net
    ) -> None:
        a, *_ = led(net, *"abcde", voters=tuple("abcde"))
        held, since = a.term, net.now
        net.cut("a", "e")
        net.run(10 * L)
        assert a.term is held
        assert 1 <= len(messages(net, LeaderKind.VACANT, since)) <= 3
        asked = [m for m in messages(net, LeaderKind.TRY, since) if m.process != a._post.process]
        assert 4 <= len(asked) <= 4 * 4

    def test_is_not_disturbed_and_hardly_asked_about_if_somebody_repeats_that_word(self, net: Net) -> None:
        """A hundred times in each lease: that member asks when votes may be free, not whenever it is told."""
        a, *_ = led(net, *"abcde", voters=tuple("abcde"))
        held = a.term
        net.cut("a", "e")
        assert net.run_until(lambda: bool(messages(net, LeaderKind.VACANT)), 2 * L)
        word, since = next(s for s, m in net.said(LeaderMessage) if m.kind is LeaderKind.VACANT), net.now
        for _ in range(500):
            net.deliver(word.data, word.source, word.target)
            net.run(L / 100)
        assert a.term is held
        asked = [m for m in messages(net, LeaderKind.TRY, since) if m.process != a._post.process]
        assert 4 * 4 <= len(asked) <= 4 * 8

    def test_is_asked_for_the_vote_of_a_voter_that_was_restarted_before_that_speaks(self, net: Net) -> None:
        a, _, c = led(net, *"abc")
        held = a.term
        for _ in range(3):
            net.kill(c)
            c = net.start("c", "a", voters=VOTERS)
            net.run(random.Random(net.now).uniform(2.0, 3.0) * L)
        assert a.term is held
        assert not messages(net, LeaderKind.VACANT)


class TestAWordOfAVoter:
    """That its vote is free although there is a leader."""

    def counts(self, net: Net, node: Node, sender: str, token: str, after: float = 0.0) -> bool:
        """Does it let this node ask for the lease?"""
        record = node._table.get(sender)
        assert record is not None
        word = LeaderMessage(LeaderKind.VACANT, 0, token=pack_id(token))
        queue(node).hear_vacant(word, record, net.now)
        return queue(node).lapsed(net.now + after)

    def test_counts_for_the_length_of_a_lease(self, net: Net) -> None:
        a, b, _ = led(net, *"abc")
        token = term(a).token
        assert self.counts(net, b, "c", token, after=0.99 * L)
        assert not self.counts(net, b, "c", token, after=L)

    def test_about_another_term_counts_not(self, net: Net) -> None:
        _, b, _ = led(net, *"abc")
        assert not self.counts(net, b, "c", token_at(net.now))

    def test_of_a_member_that_is_no_voter_counts_not(self, net: Net) -> None:
        a, b, *_ = led(net, *"abcd")
        assert not self.counts(net, b, "d", term(a).token)

    def test_of_a_voter_with_another_configuration_counts_not(self, net: Net) -> None:
        a, b, _ = led(net, *"abc")
        record = b._table.get("c")
        assert record is not None
        traits = record.traits._replace(voters="deadbeef.0")
        b._table.put(replace(record, traits=traits), net.now)
        assert not self.counts(net, b, "c", term(a).token)
