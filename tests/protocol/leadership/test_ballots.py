"""What a single answer of a voter is worth to a node that asks for the lease, or holds it."""

from __future__ import annotations

import random
from math import inf

import pytest

from swim.protocol.leadership.ballots import Ballot, free_at
from swim.protocol.leadership.configuration import Configuration, founding_configuration
from swim.protocol.leadership.lease import Lease
from swim.protocol.node import Node
from swim.protocol.view.identity import mint_id, pack_id
from swim.types import Address
from swim.wire.messages import LeaderKind, LeaderMessage, Refusal
from tests.protocol.fakes import EPOCH, Net

L = 3.0
VOTERS = ("a", "b", "c")


@pytest.fixture
def net() -> Net:
    return Net()


def token_at(when: float, seed: int = 1) -> str:
    return mint_id(int((EPOCH + when) * 1000), random.Random(seed))


def holder(net: Net) -> tuple[Node, Lease]:
    """It holds the lease, and has just lost touch with the other two voters."""
    a, *_ = net.cluster(*VOTERS, voters=VOTERS)
    assert net.run_until(lambda: a.term is not None, 3 * L)
    net.run(1)
    net.split("a", "bc")
    return a, a._tenure  # type: ignore[return-value]


def candidate(net: Net) -> tuple[Node, Lease]:
    """It has a token and asks for the lease with it, since this very moment; nobody has answered yet."""
    a, lease = holder(net)
    assert net.run_until(lambda: a.term is None, 2 * L)
    net.run(2 * L)
    lease._round += 1
    lease._token, lease._first = lease._own.mint_token(net.now), lease._round
    lease._sent[lease._round] = net.now, lease._electorate.configuration.digest
    lease._id = a.me.id
    return a, lease


def answer(net: Net, lease: Lease, kind: LeaderKind, round: int, voter: str = "b", **fields: object) -> None:
    ballot = lease.ballots[voter]
    values: dict[str, object] = {"process": ballot.process or b"PROCESS0", "turn": ballot.turn, **fields}
    lease._answered(LeaderMessage(kind, round, **values), voter, net.now)  # type: ignore[arg-type]


def grant(net: Net, lease: Lease, round: int, voter: str = "b", **fields: object) -> None:
    answer(net, lease, LeaderKind.GRANT, round, voter, **fields)


class TestGrants:
    def test_are_counted_from_the_sending_of_their_round_and_for_3_percent_less(self, net: Net) -> None:
        _, lease = holder(net)
        first = lease._round
        assert net.run_until(lambda: lease._round == first + 1, L)
        sent = net.now
        net.run(0.4)
        grant(net, lease, first + 1)
        assert lease.ballots["b"].until == pytest.approx(sent + 0.97 * L)

    def test_are_counted_for_the_round_that_they_answer_not_for_the_latest(self, net: Net) -> None:
        _, lease = holder(net)
        first = lease._round
        assert net.run_until(lambda: lease._round == first + 1, L)
        sent = net.now
        assert net.run_until(lambda: lease._round == first + 2, L)
        grant(net, lease, first + 1)
        assert lease.ballots["b"].until == pytest.approx(sent + 0.97 * L)

    def test_that_come_late_do_not_take_back_later_ones(self, net: Net) -> None:
        _, lease = holder(net)
        first = lease._round
        assert net.run_until(lambda: lease._round == first + 2, L)
        grant(net, lease, first + 2)
        until = lease.ballots["b"].until
        grant(net, lease, first + 1)
        assert lease.ballots["b"].until == until

    def test_of_a_majority_begin_a_term_that_ends_a_sixth_of_the_lease_before_it(self, net: Net) -> None:
        a, lease = candidate(net)
        grant(net, lease, lease._round, "a")
        assert a.term is None
        grant(net, lease, lease._round, "b")
        assert a.term is not None
        assert a.term_ends == pytest.approx(net.now + 0.97 * L - L / 6)

    def test_under_an_earlier_token_do_not_count_for_this_one(self, net: Net) -> None:
        a, lease = candidate(net)
        grant(net, lease, lease._round, "a")
        ballot = lease.ballots["b"]
        ballot.round, ballot.until = lease._first - 1, net.now + L
        lease._count(net.now)
        assert a.term is None

    def test_of_rounds_under_an_earlier_token_do_not_show_that_this_one_is_known(self, net: Net) -> None:
        _, lease = candidate(net)
        lease._sent[lease._first - 1] = net.now, b""
        grant(net, lease, lease._first - 1)
        assert lease.ballots["b"].token != lease._token

    def test_of_a_round_that_is_a_third_of_a_lease_old_begin_no_term(self, net: Net) -> None:
        a, lease = candidate(net)
        now = net.now
        lease._sent[lease._round] = now - L / 3 - 0.01, b""
        for voter in "ab":
            grant(net, lease, lease._round, voter)
        assert a.term is None

    def test_of_rounds_that_were_never_sent_are_dropped(self, net: Net) -> None:
        a, lease = candidate(net)
        before = a.dropped.get("leader-unasked", 0)
        grant(net, lease, lease._round + 1)
        assert a.dropped["leader-unasked"] == before + 1
        assert lease.ballots["b"].until < net.now

    def test_of_members_that_are_no_voters_are_dropped(self, net: Net) -> None:
        a, lease = candidate(net)
        before = a.dropped.get("leader-unasked", 0)
        lease._answered(LeaderMessage(LeaderKind.GRANT, lease._round, b"PROCESS0"), "x", net.now)
        assert a.dropped["leader-unasked"] == before + 1

    def test_with_a_higher_token_make_a_candidate_ask_anew_above_it(self, net: Net) -> None:
        a, lease = candidate(net)
        higher = token_at(net.now + 50)
        grant(net, lease, lease._round, "a", token=pack_id(higher))
        grant(net, lease, lease._round, "b", token=pack_id(higher))
        assert a.term is None
        assert lease._token == ""
        assert a._table.newest_token == higher

    @pytest.mark.parametrize("led", [False, True])
    def test_with_a_higher_token_end_a_term_if_one_began_with_it(self, net: Net, led: bool) -> None:
        a, lease = holder(net)
        grant(net, lease, lease._round, token=pack_id(token_at(net.now + 50)), led=led)
        assert (a.term is None) is led

    def test_of_an_earlier_round_do_not_change_to_whom_questions_go(self, net: Net) -> None:
        _, lease = holder(net)
        first = lease._round
        assert net.run_until(lambda: lease._round == first + 2, L)
        grant(net, lease, first + 2, process=b"PRESENT0")
        grant(net, lease, first + 1, process=b"FORMER00")
        assert lease.ballots["b"].process == b"PRESENT0"


class TestTrials:
    def test_no_token_is_minted_before_a_majority_would_grant_the_lease(self, net: Net) -> None:
        a, lease = candidate(net)
        lease._token = ""
        before = a._table.newest_token
        answer(net, lease, LeaderKind.WOULD, lease._round, "b")
        assert lease._token == ""
        assert a._table.newest_token == before
        lease.ballots["a"].sent = net.now
        answer(net, lease, LeaderKind.WOULD, lease._round, "a")
        assert lease._token > before

    def test_the_token_is_above_all_that_the_voters_know_of(self, net: Net) -> None:
        _, lease = candidate(net)
        lease._token = ""
        higher = token_at(net.now + 50)
        answer(net, lease, LeaderKind.WOULD, lease._round, "b", token=pack_id(higher))
        answer(net, lease, LeaderKind.WOULD, lease._round, "a")
        assert lease._token > higher

    def test_that_are_answered_late_do_not_count(self, net: Net) -> None:
        _, lease = candidate(net)
        lease._token = ""
        lease._sent[lease._round] = net.now - L / 3 - 0.01, b""
        for voter in "ab":
            answer(net, lease, LeaderKind.WOULD, lease._round, voter)
        assert lease._token == ""

    def test_a_voter_of_whose_turn_is_over_is_asked_once_more_in_the_present_one(self, net: Net) -> None:
        _, lease = candidate(net)
        net.heal()
        net.sent.clear()
        for _ in range(2):
            answer(net, lease, LeaderKind.REFUSE, lease._round, reason=Refusal.STALE, turn=77)
        net.drain(net.node("a"))
        asked = [
            message.turn
            for _, message in net.said(LeaderMessage, by=net.node("a"))
            if message.kind is LeaderKind.ASK
        ]
        assert asked == [77]

    def test_a_refusal_for_the_floor_tells_it(self, net: Net) -> None:
        a, lease = candidate(net)
        floor = token_at(net.now - 1)
        answer(
            net, lease, LeaderKind.REFUSE, lease._round, reason=Refusal.FLOOR, id=pack_id(floor), left_ms=1
        )
        assert a.floor == floor

    def test_a_round_ends_as_soon_as_so_many_refuse_that_there_is_no_majority(self, net: Net) -> None:
        _, lease = candidate(net)
        for voter in "bc":
            assert lease._token
            answer(net, lease, LeaderKind.REFUSE, lease._round, voter, reason=Refusal.GRANTED, left_ms=500)
        assert lease._token == ""


class TestTerms:
    def test_a_member_with_another_id_has_not_been_granted_the_lease(self, net: Net) -> None:
        a, lease = holder(net)
        a._own.mint(net.now, a._table.newest_minted)
        lease.update(net.now)
        assert a.term is None

    def test_a_member_below_the_floor_leads_no_longer(self, net: Net) -> None:
        a, lease = holder(net)
        a._leadership.floor = token_at(net.now + 1)
        lease.update(net.now)
        assert a.term is None

    def test_a_holder_that_hears_of_a_higher_token_leads_no_longer(self, net: Net) -> None:
        a, lease = holder(net)
        a._table.newest_token = token_at(net.now + 1)
        lease.update(net.now)
        assert a.term is None

    def test_a_term_is_over_at_its_end_before_anything_else_is_looked_at(self, net: Net) -> None:
        a, lease = holder(net)
        lease.attend(a.term_ends, 0.0)
        assert a.term is None

    def test_the_token_is_shown_no_longer_than_the_term_lasts(self, net: Net) -> None:
        a, _ = holder(net)
        assert a._own.record is not None
        assert a._own.record.token
        assert net.run_until(lambda: a.term is None, 2 * L)
        assert not a._own.record.token

    def test_what_was_granted_is_not_counted_once_it_is_released(self, net: Net) -> None:
        a, lease = holder(net)
        lease.release(net.now)
        assert a.term is None
        assert lease.ends < net.now
        assert all(ballot.until < net.now for ballot in lease.ballots.values())

    def test_a_lease_is_released_to_each_voter(self, net: Net) -> None:
        a, lease = holder(net)
        net.heal()
        net.sent.clear()
        lease.release(net.now)
        net.drain(a)
        told = [
            sent.target
            for sent, message in net.said(LeaderMessage, by=a)
            if message.kind is LeaderKind.RELEASE
        ]
        assert sorted(told) == sorted(net.node(name).address for name in "bc")

    def test_functions_that_clean_up_keep_the_lease_and_the_last_one_that_ends_frees_it(
        self, net: Net
    ) -> None:
        a, lease = holder(net)
        lease.note_functions(True, net.now)
        lease._lose(net.now)
        assert a.term is None
        assert lease.closing
        assert lease.ballots["a"].until > net.now
        lease.note_functions(False, net.now)
        assert not lease.closing
        assert lease.ballots["a"].until < net.now

    def test_a_token_is_credible_by_the_latest_time_that_the_clock_has_shown(self, net: Net) -> None:
        _, lease = holder(net)
        shown = token_at(net.now)
        lease._wall = lambda now: EPOCH + now - 86_400.0
        lease.attend(net.now, 0.0)
        assert lease._credible(pack_id(shown))
        assert not lease._credible(pack_id(token_at(net.now + 86_400.0)))
        assert not lease._credible(pack_id("pinned"))


class TestConfigurations:
    def test_a_majority_is_more_than_half(self) -> None:
        for count, enough in ((1, 1), (2, 2), (3, 2), (4, 3), (5, 3)):
            names = tuple("abcde"[:count])
            configuration = founding_configuration(names, L)
            assert configuration.majority(lambda name: name in names[:enough])  # noqa: B023
            assert not configuration.majority(lambda name: name in names[: enough - 1])  # noqa: B023

    def test_of_two_lists_each_needs_a_majority(self) -> None:
        changing = Configuration(("c", "d", "e"), 3_000, 1, old=("a", "b", "c"))
        assert changing.majority("abcd".__contains__)
        assert not changing.majority("abc".__contains__)
        assert not changing.majority("cde".__contains__)

    def test_the_voters_and_the_length_make_it_not_their_order(self) -> None:
        made = founding_configuration(("a", "b"), L)
        assert made.digest == founding_configuration(("b", "a"), L).digest
        assert made.digest != founding_configuration(("a", "c"), L).digest
        assert made.digest != founding_configuration(("a", "b"), L + 1).digest

    def test_of_two_with_one_number_the_later_leaders_counts(self) -> None:
        first, second = (Configuration(("a",), 3_000, 1, token_at(when)) for when in (1.0, 2.0))
        assert first.rank < second.rank

    def test_a_name_that_is_bound_votes_at_its_address_only(self) -> None:
        here, there = Address("10.0.0.1", 1), Address("10.0.0.2", 1)
        configuration = Configuration(("a",), 3_000, bound=(("a", str(here)),))
        assert configuration.counts("a", here)
        assert not configuration.counts("a", there)
        assert not configuration.counts("b", here)


def test_a_majority_is_free_when_those_are_that_refuse_and_those_that_would_grant_it_are_now() -> None:
    would = Ballot(answered=7, would=7)
    starting = Ballot(answered=7, would=6, reason=Refusal.STARTING, free_at=101.0)
    later = Ballot(answered=7, reason=Refusal.GRANTED, free_at=105.0)
    configuration = founding_configuration(VOTERS, L)
    assert free_at({"a": would, "b": starting, "c": Ballot()}, configuration, 100.0) == 101.0
    assert free_at({"a": would, "b": later, "c": starting}, configuration, 100.0) == 101.0
    assert free_at({"a": starting, "b": later, "c": Ballot()}, configuration, 100.0) == 105.0
    assert free_at({"a": would, "b": Ballot(answered=6, would=6), "c": later}, configuration, 100.0) == 100.0
    assert free_at({"a": would, "b": Ballot(answered=7, would=6), "c": Ballot()}, configuration, 100.0) == inf
