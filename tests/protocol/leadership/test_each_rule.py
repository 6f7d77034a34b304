"""Rules of who leads that no story of a whole cluster shows: each on one node, by what it does at once."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from swim.protocol.leadership.choice import highest_holder
from swim.protocol.leadership.rule import HolderRule
from swim.protocol.leadership.tenure import Tenure
from swim.protocol.leadership.voting import Grantee
from swim.protocol.node import Node
from swim.protocol.view.identity import pack_id
from swim.protocol.view.table import TOKEN_TAG, VOTERS_TAG, encode_meta
from swim.types import MemberState
from swim.wire.messages import LeaderKind, LeaderMessage
from tests.protocol.fakes import Net, Puppet
from tests.protocol.leadership.test_ballots import L, candidate, holder, token_at
from tests.protocol.leadership.test_lease import led, messages
from tests.protocol.leadership.test_voting import HIGHER, ID, Asked


@pytest.fixture
def net() -> Net:
    return Net()


class TestDerived:
    def test_only_the_leader_that_is_followed_is_confirmed(self, net: Net) -> None:
        a, b, _ = net.cluster("a", "b", "c")
        right = pack_id(a.me.id)
        for name, id, confirmed in (("c", right, 0), ("a", pack_id(b.me.id), 0), ("a", right, 1)):
            record = b._table.get(name)
            assert record is not None
            b._tenure.receive(LeaderMessage(LeaderKind.CONFIRM, 1, id=id), record, net.now)
            net.drain(b)
            assert len(messages(net, LeaderKind.FOLLOW)) == confirmed

    def test_a_confirmation_counts_as_of_when_it_was_asked_for(self, net: Net) -> None:
        a, b = net.cluster("a", "b")
        tenure, record = a._tenure, a._table.get(b.name)
        assert isinstance(tenure, Tenure)
        assert record is not None
        tenure._rounds[7] = net.now - 5.0
        tenure.receive(LeaderMessage(LeaderKind.FOLLOW, 7), record, net.now)
        assert not tenure._in_touch(net.now - 4.0)
        assert tenure._in_touch(net.now - 5.0)

    def test_what_was_confirmed_before_a_doubt_does_not_count(self, net: Net) -> None:
        a, _ = net.cluster("a", "b")
        assert isinstance(a._tenure, Tenure)
        a._tenure._confirmed["b"] = net.now
        a._tenure.doubt()
        assert not a._tenure._in_touch(-math.inf)

    def test_a_floor_is_believed_with_its_leader_only(self, net: Net) -> None:
        a, b = net.cluster("a", "b")
        assert a._leadership.believes(b.me.id or "", "b")
        assert not a._leadership.believes(token_at(net.now), "b")

    def test_the_view_hash_covers_the_floor(self, net: Net) -> None:
        a, _ = net.cluster("a", "b")
        before = a._leadership.view_hash
        a._leadership.hear_floor(token_at(net.now), net.now)
        assert a._leadership.view_hash != before

    def test_fresh_ids_are_bounded_in_rate(self, net: Net) -> None:
        a, _ = net.cluster("a", "b")
        ids = {a.me.id}
        for _ in range(50):
            a._leadership._queue_behind(net.now)
            ids.add(a.me.id)
        assert len(ids) <= 6

    def test_ids_and_tokens_are_above_all_that_were_seen_whatever_the_clock(self, net: Net) -> None:
        (a,) = net.cluster("a")
        seen = token_at(net.now + 100)
        assert a._own._mint_above(net.now, seen) > seen
        a._table.newest_token = seen
        token = a._own.mint_token(net.now)
        assert token > seen
        assert a._table.newest_token == token
        assert a._own.mint_token(net.now) > token


def another_holder(net: Net, node: Node, *, voters: str | None = None, token: float = 0.0) -> Puppet:
    """A member that shows a token, and voters (those of that node unless some are given)."""
    shown = {TOKEN_TAG: token_at(net.now + token), VOTERS_TAG: voters or node._own.voters}
    puppet = net.puppet(f"p{len(net._puppets)}")
    puppet.meta = encode_meta({}, puppet.id, puppet.boot, shown)
    return puppet.join(node)


class TestHolders:
    def test_of_other_voters_are_not_followed_nor_their_floors(self, net: Net) -> None:
        _, b, _ = led(net, "a", "b", "c")
        rule = b._leadership
        assert isinstance(rule, HolderRule)
        for voters, counts in ((None, True), ("deadbeef.0", False)):
            puppet = another_holder(net, b, voters=voters)
            record = b._table.get(puppet.name)
            assert record is not None
            assert rule._holds(record, net.now) is counts
            assert rule.believes(token_at(net.now), puppet.name) is counts

    def test_that_are_suspected_for_longer_than_a_lease_are_not_followed(self, net: Net) -> None:
        _, b, _ = led(net, "a", "b", "c")
        record, rule = b._table.get("a"), b._leadership
        assert record is not None
        assert isinstance(rule, HolderRule)
        for state, since, holds in (
            (MemberState.ALIVE, 2 * L, True),
            (MemberState.SUSPECT, L / 2, True),
            (MemberState.SUSPECT, L, False),
        ):
            assert rule._holds(replace(record, state=state, since=net.now - since), net.now) is holds

    def test_the_one_with_the_highest_token_is_followed(self, net: Net) -> None:
        _, b, _ = led(net, "a", "b", "c")
        records = [b._table.get(another_holder(net, b, token=at).name) for at in (1.0, 3.0, 2.0)]
        highest = highest_holder([record for record in records if record is not None])
        assert highest is records[1]

    def test_a_floor_from_the_future_is_not_believed(self, net: Net) -> None:
        _, b, _ = led(net, "a", "b", "c")
        before = b.floor
        b._leadership.hear_floor(token_at(net.now + 1_000_000), net.now)
        assert b.floor == before

    def test_with_a_lease_does_not_step_back(self, net: Net) -> None:
        a, *_ = led(net, "a", "b", "c")
        before = a.me.id
        a._leadership.step_back(net.now)
        assert a.me.id == before

    def test_that_cannot_be_followed_is_told_so(self, net: Net) -> None:
        _, _, c = led(net, "a", "b", "c")
        c._leadership.hear_floor(token_at(net.now), net.now)
        c._settle(net.now)
        net.run(0.05)
        assert messages(net, LeaderKind.BEHIND)

    def test_that_yields_has_released_it_and_has_a_fresh_id(self, net: Net) -> None:
        a, b, _ = led(net, "a", "b", "c")
        before = a.me.id
        assert a.yield_leadership(net.now)
        assert a.me.id != before
        net.drain(a)
        assert net.run_until(lambda: b.term is not None, 0.3)

    def test_that_leaves_or_fails_has_no_term_and_has_released_it(self, net: Net) -> None:
        """At once, though the farewell waits until agents of Serf have been told."""
        a, *_ = led(net, "a", "b", "c")
        net.puppet("s", own=False).join(a)
        net.sent.clear()
        a.leave(net.now)
        assert a._tenure.term is None
        net.drain(a)
        first = next(
            sent for sent, message in net.said(LeaderMessage, by=a) if message.kind is LeaderKind.RELEASE
        )
        assert first.when == net.now
        b = net.node("b")
        assert net.run_until(lambda: b.term is not None, 3 * L)
        b._fail(RuntimeError("as if its name were another's"), net.now)  # type: ignore[arg-type]
        assert b.term is None


class TestAsking:
    def test_that_was_contested_goes_on_after_a_random_time(self, net: Net) -> None:
        _, lease = candidate(net)
        waits = set()
        for _ in range(8):
            lease._contest_gap, lease._token = 0.1, token_at(net.now)
            lease._give_way(net.now)
            waits.add(lease._not_before - net.now)
        assert len(waits) == 8
        assert all(0.05 <= wait <= 0.15 for wait in waits)

    def test_that_is_not_answered_is_repeated_in_the_same_round(self, net: Net) -> None:
        a, lease = candidate(net)
        lease._token = ""
        for record in map(a._table.get, "bc"):
            assert record is not None
            a._table.put(replace(record, state=MemberState.ALIVE), net.now)
        net.sent.clear()
        for _ in range(2):
            lease._repeat(net.now)
        net.drain(a)
        rounds = [message.round for _, message in net.said(LeaderMessage) if message.kind is LeaderKind.TRY]
        assert rounds == [lease._round] * 4

    def test_a_voter_that_has_been_silent_for_a_lease_is_only_tried(self, net: Net) -> None:
        """It may be another process by now, which knows nothing of the turn."""
        _, lease = holder(net)
        lease.ballots["b"].sent = net.now - L - 0.01
        lease.ballots["c"].sent = net.now - L + 0.01
        net.sent.clear()
        lease._ask(net.now)
        net.drain(net.node("a"))
        asked = {sent.target: message.kind for sent, message in net.said(LeaderMessage)}
        assert asked == {net.node("b").address: LeaderKind.TRY, net.node("c").address: LeaderKind.ASK}

    def test_a_change_needs_grants_of_its_own(self, net: Net) -> None:
        a, lease = holder(net)
        electorate = lease._electorate
        mine, token = electorate.configuration, lease._token
        electorate.proposal = replace(mine, number=1, token=token_at(net.now), old=mine.voters)
        electorate._sounded = True
        electorate.advance(lease.ballots, token, net.now)
        assert electorate.configuration is mine
        for ballot in lease.ballots.values():
            ballot.digest = electorate.proposal.digest
        electorate.advance(lease.ballots, token, net.now)
        assert electorate.configuration.number == 1
        assert a.term is not None

    def test_a_change_ends_with_the_term_of_the_leader_that_made_it(self, net: Net) -> None:
        a, lease = holder(net)
        mine = lease._electorate.configuration
        lease._electorate.proposal = replace(mine, number=1, token=token_at(net.now), old=mine.voters)
        lease._lose(net.now)
        assert lease._electorate.proposal is None
        assert a.term is None


class TestVoters:
    def test_remember_the_highest_token_not_the_last(self, net: Net) -> None:
        voter = Asked(net.now - L)
        assert voter.grants(net.now, process=b"P", token=HIGHER, led=True)
        assert voter.grants(net.now + L, process=b"Q", token=ID, led=True)
        answer = voter.ask(net.now + 2 * L, process=b"R", token=ID)
        assert answer is not None
        assert answer.token == pack_id(HIGHER)

    def test_free_the_lease_only_for_an_answer_that_they_asked_for(self, net: Net) -> None:
        _, b, _ = led(net, "a", "b", "c")
        electorate, record = b._electorate, b._table.get("a")
        assert record is not None
        electorate._question = 7
        electorate.voter.holder = Grantee(b"FORMER00", "a", "FORMER00", record.address)
        for name, round, freed in (("c", 7, False), ("a", 8, False), ("a", 7, True)):
            sender = b._table.get(name)
            assert sender is not None
            electorate.receive(LeaderMessage(LeaderKind.HERE, round, b"PRESENT0"), sender, net.now)
            assert (electorate.voter.holder is None) is freed

    def test_do_not_take_over_the_configuration_of_another_cluster(self, net: Net) -> None:
        a, *_ = led(net, "a", "b", "c")
        mine = a._electorate.configuration
        change = replace(mine, number=2, token=token_at(net.now))
        assert a._electorate._newer(change, net.now) is change
        assert a._electorate._newer(replace(change, root=b"else"), net.now) is None
