"""This node's own terms: tokens that rise, ends that are set ahead of time, doubt and its end."""

from __future__ import annotations

import math

import pytest

from swim.events import LeaderChanged
from swim.protocol.node import Node
from swim.protocol.view.identity import id_milliseconds, is_minted, mint_id
from swim.protocol.view.table import encode_meta
from swim.wire.messages import Dead, LeaderKind, LeaderMessage
from tests.protocol.fakes import EPOCH, Net

LASTS = 1.25
"""How far ahead the end of a term is: 1.25 times min(1 s, half the silence tolerance), by default."""


@pytest.fixture
def net() -> Net:
    return Net()


def leader(node: Node) -> str | None:
    return node.leader.name if node.leader else None


def token(node: Node) -> str:
    assert node.term is not None
    return node.term.token


def messages(net: Net, kind: LeaderKind) -> list[LeaderMessage]:
    return [message for _, message in net.said(LeaderMessage) if message.kind is kind]


class TestTerms:
    def test_a_founder_begins_at_once(self, net: Net) -> None:
        node = net.start("a")
        assert node.term is not None
        assert node.term.since == net.now
        assert node.term_ends == net.now + LASTS

    def test_others_have_none(self, net: Net) -> None:
        _, b, _ = net.cluster("a", "b", "c")
        assert b.term is None
        assert b.term_ends == -math.inf

    def test_it_goes_on_while_the_node_is_idle(self, net: Net) -> None:
        node = net.start("a")
        term = node.term
        for _ in range(300):
            net.run(0.1)
            assert node.term is term
            assert net.now + 0.55 * LASTS <= node.term_ends <= net.now + LASTS

    def test_the_next_one_begins_with_a_higher_token(self, net: Net) -> None:
        a, b, _ = net.cluster("a", "b", "c")
        before = token(a)
        net.kill(a)
        net.run(5)
        assert is_minted(token(b))
        assert token(b) > before

    def test_even_if_its_clock_runs_behind(self, net: Net) -> None:
        a = net.start("a", skew=30.0)
        b = net.start("b", "a")
        net.run(2)
        before = token(a)
        net.kill(a)
        net.run(5)
        assert token(b) > before
        assert id_milliseconds(token(b)) > (EPOCH + net.now) * 1000 + 20_000

    def test_a_node_that_joins_later_knows_the_tokens_of_the_dead(self, net: Net) -> None:
        a, b = net.cluster("a", "b")
        net.kill(a)
        net.run(5)
        c = net.start("c", "b")
        net.run(2)
        before = token(b)
        net.kill(b)
        net.run(5)
        assert token(c) > before

    def test_it_ends_before_the_farewell(self, net: Net) -> None:
        a, b = net.cluster("a", "b")
        a.leave(net.now)
        assert a.term is None
        net.drain(a)
        net.run(0.05)
        assert b.term is not None

    def test_and_with_the_lead(self, net: Net) -> None:
        a = net.start("a", "az")
        net.run(3)
        assert a.term is not None
        c, _ = net.cluster("c", "d")
        a.sync(c.address, net.now)
        net.drain(a)
        net.run(3)
        assert leader(a) == "c"
        assert a.term is None

    def test_with_a_pinned_id_too(self, net: Net) -> None:
        a = net.start("a")
        p = net.start("p", "a", pinned_id="00")
        net.run(1)
        assert a.term is None
        assert p.term is not None

    def test_applications_do_not_see_the_token_among_the_tags(self, net: Net) -> None:
        a, b = net.cluster("a", "b")
        assert a.term is not None
        assert [dict(member.tags) for member in b.members()] == [{}, {}]


class TestTokens:
    def test_a_node_that_hears_of_a_higher_one_starts_again_above_it(self, net: Net) -> None:
        a, b = net.cluster("a", "b")
        puppet = net.puppet("p").join(a, b)
        before, high = token(a), mint_id(int((EPOCH + net.now + 100) * 1000), net.rng)
        puppet.incarnation, puppet.meta = 2, encode_meta({}, puppet.id, puppet.boot, {"_token": high})
        puppet.tell(a, puppet.alive())
        assert token(a) > high > before

    def test_one_from_the_far_future_is_not_believed(self, net: Net) -> None:
        (a,) = net.cluster("a")
        puppet = net.puppet("p").join(a)
        before, absurd = a.term, "7" + "Z" * 25
        puppet.incarnation, puppet.meta = 2, encode_meta({}, puppet.id, puppet.boot, {"_token": absurd})
        puppet.tell(a, puppet.alive())
        assert a.term is before

    def test_a_node_that_is_outbid_asks_the_rival_and_not_one_that_shows_an_absurd_one(
        self, net: Net
    ) -> None:
        (a,) = net.cluster("a")
        high = mint_id(int((EPOCH + net.now + 100) * 1000), net.rng)
        mad, rival = net.puppet("m").join(a), net.puppet("r").join(a)
        net.run(3)
        for puppet, shown in ((mad, "7" + "Z" * 25), (rival, high)):
            asked = len(net.requested)
            puppet.incarnation, puppet.meta = 2, encode_meta({}, puppet.id, puppet.boot, {"_token": shown})
            puppet.tell(a, puppet.alive())
        assert [address for _, _, address in net.requested[asked:]] == [rival.address]

    def test_two_that_outbid_each_other_are_slowed_down(self, net: Net) -> None:
        (a,) = net.cluster("a")
        puppet = net.puppet("p").join(a)
        seen = {token(a)}
        for number in range(2, 100):
            high = mint_id(int((EPOCH + net.now + number) * 1000), net.rng)
            puppet.incarnation, puppet.meta = (
                number,
                encode_meta({}, puppet.id, puppet.boot, {"_token": high}),
            )
            puppet.tell(a, puppet.alive())
            net.run(0.1)
            seen.add(a.term.token if a.term else "")
        assert len(seen) < 15

    def test_that_of_a_solo_period_does_not_lock_the_rightful_leader_out(self, net: Net) -> None:
        a, b = net.cluster("a", "b")
        net.split("a", "b")
        net.run(20)
        assert [leader(a), leader(b)] == ["a", "b"]
        solo = token(b)
        net.heal()
        net.run(15)
        assert (leader(a), leader(b), b.term) == ("a", "a", None)
        assert token(a) > solo

    def test_two_that_lead_agree_though_no_view_comes_to_rest(self, net: Net) -> None:
        a, b = net.cluster("a", "b")
        puppet = net.puppet("z~p").join(a, b)
        net.run(3)
        b._membership.declare_dead("a", "quality", net.now)
        net.drain(b)
        for turn in range(20):
            puppet.incarnation = 2 + turn
            puppet.meta = encode_meta({"turn": str(turn)}, puppet.id, puppet.boot)
            puppet.tell(a, puppet.alive())
            puppet.tell(b, puppet.alive())
            net.run(0.1)
        assert [leader(a), leader(b)] == ["b", "b"]
        assert a.term is None


class TestDoubt:
    def test_the_end_has_passed_before_a_frozen_process_wakes(self, net: Net) -> None:
        a, *_ = net.cluster("a", "b", "c")
        term = a.term
        net.pause(a, 1.6)
        net.run(1.5)
        assert a.term_ends < net.now
        net.run(0.5)
        assert a.term is not None
        assert a.term is not term
        assert term is not None
        assert a.term.token > term.token

    def test_after_it_peers_have_to_confirm(self, net: Net) -> None:
        a, *_ = net.cluster("a", "b", "c")
        net.pause(a, 1.6)
        net.cut("bc", "a")
        net.run(2.0)
        assert leader(a) == "a"
        assert a.term is None
        net.heal()
        net.run(0.5)
        assert a.term is not None
        assert messages(net, LeaderKind.FOLLOW)

    def test_only_an_answer_to_its_own_question_confirms_it(self, net: Net) -> None:
        a = net.start("a")
        peers = [net.puppet(name).join(a) for name in "bc"]
        net.run(3)
        net.pause(a, 1.6)
        net.run(2.0)
        assert a.term is None
        for peer in peers:
            peer.tell_leader_message(a, LeaderMessage(LeaderKind.FOLLOW, 12_345))
        net.run(0.2)
        assert a.term is None
        question = messages(net, LeaderKind.CONFIRM)[-1]
        for peer in peers:
            peer.tell_leader_message(a, LeaderMessage(LeaderKind.FOLLOW, question.round))
        net.run(0.2)
        assert a.term is not None

    def test_a_node_that_follows_another_does_not(self, net: Net) -> None:
        nodes = net.cluster("a", "b", "c")
        a, b, c = nodes
        teller = net.puppet("z~teller").join(*nodes)
        net.run(3)
        net.pause(a, 3.0)
        net.run(0.1)
        for node in (b, c):
            teller.tell(node, Dead("a", a.me.incarnation, "x"))
        net.run(LASTS)
        assert [leader(b), leader(c)] == ["b", "b"]
        held = b.term
        for _ in range(400):
            net.run(0.05)
            assert a.term is None or a.term_ends <= net.now
        assert b.term is held

    def test_alone_it_needs_none(self, net: Net) -> None:
        node = net.start("a")
        term = node.term
        net.pause(node, 1.6)
        net.run(2)
        assert node.term is not None
        assert node.term is not term

    def test_a_short_stall_is_none(self, net: Net) -> None:
        a, *_ = net.cluster("a", "b", "c")
        term = a.term
        net.pause(a, 0.7)
        net.run(2)
        assert a.term is term

    def test_a_regular_member_that_stalled_is_confirmed_before_it_acts(self, net: Net) -> None:
        a, b, _ = net.cluster("a", "b", "c")
        net.pause(b, 1.6)
        net.run(3)
        net.kill(a)
        assert net.run_until(lambda: b.term is not None, 1.0)
        assert messages(net, LeaderKind.CONFIRM)

    def test_a_node_that_lost_touch_with_most_stops(self, net: Net) -> None:
        nodes = net.cluster("a", "b", "c", "d", "e")
        a = nodes[0]
        net.run(5)
        net.split("ab", "cde")
        assert net.run_until(lambda: a.term is None, 5.0)
        assert leader(a) == "a", "in its own view it still leads"

    def test_a_node_that_is_in_touch_with_half_goes_on(self, net: Net) -> None:
        nodes = net.cluster("a", "b", "c", "d", "e")
        a = nodes[0]
        net.run(5)
        term = a.term
        net.split("abc", "de")
        net.run(30)
        assert a.term is term


class TestYielding:
    def test_the_next_leads_and_the_old_one_is_at_the_back(self, net: Net) -> None:
        a, b, c = net.cluster("a", "b", "c")
        assert a.yield_leadership(net.now)
        assert a.term is None
        net.drain(a)
        net.run(0.1)
        assert [leader(node) for node in (a, b, c)] == ["b"] * 3
        assert [member.name for member in c.members()] == ["b", "c", "a"]
        assert b.term is not None

    def test_a_node_that_does_not_lead_has_nothing_to_yield(self, net: Net) -> None:
        a, b = net.cluster("a", "b")
        before = b.me
        assert not b.yield_leadership(net.now)
        assert (b.me, leader(a)) == (before, "a")

    def test_the_only_one_leads_again(self, net: Net) -> None:
        node = net.start("a")
        term = node.term
        assert node.yield_leadership(net.now)
        net.run(0.1)
        assert node.term is not None
        assert node.term is not term

    def test_a_pinned_id_cannot(self, net: Net) -> None:
        node = net.start("a", pinned_id="1")
        with pytest.raises(ValueError, match="pinned"):
            node.yield_leadership(net.now)


class TestDescription:
    def test_which_node_leads_under_which_token_and_what_is_in_the_way(self, net: Net) -> None:
        a, b, _ = net.cluster("a", "b", "c")
        shown = b.leadership(net.now)
        assert (shown.leader, shown.token, shown.term, shown.remaining) == (b.leader, token(a), None, 0.0)
        assert shown.problem is None
        assert 0.7 < a.leadership(net.now).remaining <= LASTS
        net.pause(a, 1.6)
        net.cut("bc", "a")
        net.run(2.0)
        problem = a.leadership(net.now).problem
        assert problem is not None
        assert problem.endswith("not confirmed yet by b, c")


class TestNotElectable:
    def test_it_never_leads_and_is_followed_by_nobody(self, net: Net) -> None:
        a = net.start("a", electable=False)
        assert a.leader is None
        assert a.term is None
        b = net.start("b", "a")
        net.run(1)
        c = net.start("c", "a", electable=False)
        net.run(1)
        assert [leader(node) for node in (a, b, c)] == ["b"] * 3
        net.kill(b)
        net.run(5)
        assert [leader(node) for node in (a, c)] == [None, None]
        assert net.events(a, LeaderChanged)[-1].leader is None

    def test_it_is_a_member_of_our_own_in_all_other_ways(self, net: Net) -> None:
        a, b = net.start("a"), net.start("b", "a", electable=False)
        net.run(3)
        assert a.me.id is not None
        assert [member.id is not None for member in a.members()] == [True, True]
        assert b.streams_to_keep(net.now) == (a.address,)
