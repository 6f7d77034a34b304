"""Leases from voters: who holds one, for how long, how others know, and what is in the way."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from swim.config import Config
from swim.events import LeaderChanged, VotersDiffer
from swim.protocol.leadership.configuration import founding_configuration
from swim.protocol.leadership.lease import Lease
from swim.protocol.node import Node
from swim.protocol.view.identity import mint_id, pack_id
from swim.protocol.view.table import encode_meta
from swim.types import MemberState, Term
from swim.wire.messages import LeaderKind, LeaderMessage, Refusal
from tests.protocol.fakes import EPOCH, Net, Puppet, Sent, address_of

L = 3.0
HELD, PROMISED = 0.97 * L, 0.99 * L
CLEANUP = L / 6
VOTERS = ("a", "b", "c")
IMPOSSIBLE = pytest.mark.parametrize(
    "token", [b"\xff" * 16, pack_id("pinned"), b"?"], ids=["far-future", "pinned", "none"]
)


@pytest.fixture
def net() -> Net:
    return Net()


def leader(node: Node) -> str | None:
    return node.leader.name if node.leader else None


def term(node: Node) -> Term:
    assert node.term is not None
    return node.term


def led(net: Net, *names: str, voters: tuple[str, ...] = VOTERS, **options: object) -> list[Node]:
    """A cluster with voters in which the first node holds the lease, and all know it."""
    nodes = net.cluster(*names, voters=voters, **options)
    assert net.run_until(lambda: nodes[0].term is not None, 2 * L)
    net.run(0.1)
    return nodes


def messages(net: Net, kind: LeaderKind, since: float = 0.0) -> list[LeaderMessage]:
    return [
        message for sent, message in net.said(LeaderMessage) if message.kind is kind and sent.when >= since
    ]


def question(puppet: Puppet, voter: Node, token: bytes) -> LeaderMessage:
    """That of a member which wants the lease, whether or not it is its turn; in the voter's turn."""
    digest = founding_configuration(VOTERS, L).digest
    puppet.tell_leader_message(
        voter, LeaderMessage(LeaderKind.TRY, 1, id=pack_id(puppet.id), configuration=digest), anybody=True
    )
    puppet.net.run(0.01)
    turn = puppet.heard(LeaderMessage)[-1].turn
    puppet.received.clear()
    return LeaderMessage(LeaderKind.ASK, 1, turn=turn, token=token, configuration=digest)


def never_two(net: Net, nodes: list[Node], seconds: float) -> None:
    """Let time pass; at no moment do two nodes act."""
    end = net.now + seconds
    while net.now < end:
        net.run(0.02)
        acting = [node.name for node in nodes if node.term is not None and node.term_ends > net.now]
        assert len(acting) <= 1, f"{acting} at {net.now}"


class TestHolding:
    def test_nobody_leads_in_the_first_lease_of_the_voters(self, net: Net) -> None:
        nodes = net.cluster("a", "b", "c", voters=VOTERS)
        start = 100.0
        assert [leader(node) for node in nodes] == [None] * 3
        assert net.run_until(lambda: nodes[0].term is not None, 2 * L)
        assert PROMISED <= net.now - start <= L
        net.run(0.1)
        assert [leader(node) for node in nodes] == ["a"] * 3

    def test_a_voter_is_asked_as_soon_as_it_is_free_though_another_does_not_answer(self, net: Net) -> None:
        """It said when it will be: the round does not have to end before."""
        net.start("a", voters=VOTERS)
        net.run(0.4)
        b = net.start("b", "a", voters=VOTERS)
        started = net.now
        assert net.run_until(lambda: any(net.node(name).term is not None for name in "ab"), 2 * L)
        assert PROMISED <= net.now - started <= PROMISED + 0.05, b

    def test_voters_that_are_silent_are_asked_several_times_in_each_third_of_a_lease(self) -> None:
        """However long they have been: one that can be reached again is not waited for much longer."""
        net = Net(probe_interval=60.0, silence_tolerance=60.0)  # so that nobody suspects them
        asked = self.asked_by_one_that_is_cut_off(net, "c")
        assert net.believes(net.node("a"), "c") is MemberState.ALIVE
        assert max(later - when for when, later in pairwise(asked)) <= L / 6 + 0.01

    def test_voters_that_are_held_to_be_dead_are_asked_less_often(self, net: Net) -> None:
        """Whether they can be reached again is found out by pings; and it shows at once here."""
        asked = self.asked_by_one_that_is_cut_off(net, "b")
        assert net.believes(net.node("a"), "b") is None
        gaps = [later - when for when, later in pairwise(asked)]
        assert 2 * L / 3 <= min(gaps) <= max(gaps) <= L
        net.heal()
        assert net.run_until(lambda: net.believes(net.node("a"), "b") is MemberState.ALIVE, 2.0)
        net.run(L / 12 + 0.01)
        assert net.now - self.asked(net, "b")[-1] <= L / 12 + 0.01

    def test_a_voter_is_asked_as_soon_as_it_is_free_though_silent_ones_are_asked_again_before(self) -> None:
        net = Net(probe_interval=60.0, silence_tolerance=60.0)
        self.asked_by_one_that_is_cut_off(net, "c")
        began = self.next_round(net)
        self.refuse(net, "c", left_ms=600)
        net.run(0.7)
        asked = [when - began for when in self.asked(net, "c") if when > began]
        assert asked == [pytest.approx(0.601, abs=0.002)]

    def test_voters_that_say_for_how_long_they_have_granted_it_to_another_are_asked_a_third_later(
        self,
    ) -> None:
        """However many there are that ask: more often would tell them nothing new."""
        net = Net(probe_interval=60.0, silence_tolerance=60.0)
        self.asked_by_one_that_is_cut_off(net, "b")
        rounds = []
        for _ in range(12):
            rounds.append(self.next_round(net))
            for voter in "bc":
                self.refuse(net, voter, left_ms=3_000)
        gaps = [later - when for when, later in pairwise(rounds)]
        assert gaps == [pytest.approx(L / 3, abs=0.01)] * 11

    def next_round(self, net: Net) -> float:
        """When the node that is cut off asks anew whether the lease would be granted to it."""
        lease = net.node("a")._tenure
        assert isinstance(lease, Lease)
        round = lease._round
        assert net.run_until(lambda: lease._round > round, 2 * L)
        return net.now

    def refuse(self, net: Net, voter: str, left_ms: int) -> None:
        """It has granted the lease to another, for so long."""
        lease = net.node("a")._tenure
        assert isinstance(lease, Lease)
        ballot = lease.ballots[voter]
        message = LeaderMessage(
            LeaderKind.REFUSE,
            lease._round,
            process=ballot.process,
            turn=ballot.turn,
            reason=Refusal.GRANTED,
            left_ms=left_ms,
        )
        lease._answered(message, voter, net.now)

    def asked_by_one_that_is_cut_off(self, net: Net, voter: str) -> list[float]:
        """When this voter is asked by the leader of before, which hears no other voter any more."""
        led(net, "a", "b", "c")
        net.run(L)  # so that what voters said last is not that they would grant it
        net.split("a", "bc")
        net.run(5 * L)
        since = net.now
        net.run(3 * L)
        return [when for when in self.asked(net, voter) if when >= since]

    def asked(self, net: Net, voter: str) -> list[float]:
        """When it was asked whether it would grant the lease."""
        questions = [sent for sent, message in net.said(LeaderMessage) if message.kind is LeaderKind.TRY]
        return [sent.when for sent in questions if sent.target == address_of(voter)]

    def test_the_term_ends_before_the_lease_and_is_moved_ahead(self, net: Net) -> None:
        a, *_ = led(net, "a", "b", "c")
        first = term(a)
        for _ in range(100):
            net.run(0.1)
            assert a.term is first
            assert HELD - CLEANUP - L / 3 - 0.01 <= a.term_ends - net.now <= HELD - CLEANUP

    def test_a_majority_is_enough_and_less_is_not(self, net: Net) -> None:
        a, b, c = led(net, "a", "b", "c")
        net.kill(c)
        net.run(20)
        assert a.term is not None
        net.kill(b)
        net.run(HELD)
        assert a.term is None
        assert leader(a) is None

    def test_the_token_is_shown_at_once_also_by_one_that_was_cut_off_just_before(self, net: Net) -> None:
        """A majority has granted it: there is nothing to hear first."""
        a, b, _ = net.cluster("a", "b", "c", voters=VOTERS)
        assert net.run_until(lambda: a._tenure._token != "", 2 * L)  # type: ignore[attr-defined]
        a._own.note_cut_off(net.now)
        assert net.run_until(lambda: a.term is not None, L)
        net.run(0.05)
        assert leader(b) == "a"

    def test_any_member_may_lead(self, net: Net) -> None:
        x, *_ = led(net, "x", "a", "b", "c")
        assert leader(x) == "x"

    def test_a_voter_that_is_not_electable_votes(self, net: Net) -> None:
        a, b, c = net.cluster("a", "b", "c", voters=VOTERS)[:3]
        d = net.start("d", "a", voters=VOTERS, electable=False)
        assert net.run_until(lambda: a.term is not None, 2 * L)
        net.run(1)
        assert leader(d) == "a"
        net.run(1)
        for node in (a, b, c):
            assert leader(node) == "a"

    def test_one_voter_alone(self, net: Net) -> None:
        a = net.start("a", voters=("a",))
        assert net.run_until(lambda: a.term is not None, 2 * L)
        held = term(a)
        net.run(20)
        assert a.term is held

    def test_two_voters_alone(self, net: Net) -> None:
        a, b = led(net, "a", "b", voters=("a", "b"))
        net.run(10)
        assert [leader(a), leader(b)] == ["a", "a"]

    def test_renewals_cost_two_small_packets_a_voter(self, net: Net) -> None:
        led(net, *"abcde", voters=tuple("abcde"))
        start = net.now
        net.run(30)
        sent = [len(packet.data) for packet, _ in net.said(LeaderMessage) if packet.when >= start]
        assert len(sent) == pytest.approx(30 * 2 * 4 / (L / 3), abs=8)
        assert sum(sent) / 30 < 400


class TestFailOver:
    def test_the_next_one_waits_until_the_lease_has_run_out(self, net: Net) -> None:
        a, b, c = led(net, "a", "b", "c")
        net.run(5)
        before, ends = term(a).token, a._tenure.ends  # type: ignore[attr-defined]
        net.kill(a)
        assert net.run_until(lambda: b.term is not None, 2 * L)
        assert 0 <= net.now - ends <= 0.2
        assert term(b).token > before
        net.run(0.1)
        assert leader(c) == "b"

    def test_a_node_that_leaves_releases_it(self, net: Net) -> None:
        a, b, c = led(net, "a", "b", "c")
        a.leave(net.now)
        assert a.term is None
        net.drain(a)
        assert net.run_until(lambda: b.term is not None, 0.2)
        net.run(0.1)
        assert leader(c) == "b"

    def test_a_node_that_yields_releases_it_and_goes_to_the_back(self, net: Net) -> None:
        a, b, c = led(net, "a", "b", "c")
        before = term(a).token
        assert a.yield_leadership(net.now)
        net.drain(a)
        assert net.run_until(lambda: b.term is not None, 0.3)
        assert term(b).token > before
        net.run(0.1)
        assert [leader(node) for node in (a, b, c)] == ["b"] * 3
        assert [member.name for member in c.members()] == ["b", "c", "a"]

    def test_a_node_that_leads_next_knows_when_an_earlier_one_had_a_round_granted_last(
        self, net: Net
    ) -> None:
        a, b, _ = led(net, "a", "b", "c")
        lease, next_one = a._tenure, b._tenure
        assert isinstance(lease, Lease)
        assert isinstance(next_one, Lease)
        assert lease.earlier <= net.now - L
        net.run(5.5)
        backed = lease.backed
        assert net.now - L / 3 - 0.01 <= backed <= net.now
        net.kill(a)
        assert net.run_until(lambda: b.term is not None, 2 * L)
        assert backed <= next_one.earlier <= backed + 0.1

    def test_a_node_that_leads_again_knows_of_its_own_earlier_term_also_where_voters_missed_its_end(
        self, net: Net
    ) -> None:
        nodes = net.cluster("a", "b", "c", "d", voters=("b", "c", "d"))
        assert net.run_until(lambda: any(node.term is not None for node in nodes), 2 * L)
        a = next(node for node in nodes if node.term is not None)
        net.run(5.0)
        lease = a._tenure
        assert isinstance(lease, Lease)
        backed, earlier = lease.backed, term(a)
        for other in nodes:
            net.cut(a.name, other.name)
        lease.release(net.now)
        net.drain(a)
        net.heal()
        a.handle_timer(net.now)
        net.drain(a)
        assert net.run_until(lambda: a.term is not None, 2 * L)
        assert a.term is not earlier
        assert lease.earlier >= backed

    def test_a_frozen_holder_is_a_regular_member_when_it_wakes(self, net: Net) -> None:
        nodes = led(net, *"abcde", voters=tuple("abcde"))
        a = nodes[0]
        net.pause(a, 20)
        net.run(0.1)
        ends = a.term_ends
        assert ends - net.now <= HELD - CLEANUP
        assert net.run_until(lambda: nodes[1].term is not None, 15)
        net.run(20)
        assert a.term is None
        assert [leader(node) for node in nodes] == ["b"] * 5
        assert max(node.me.id or "" for node in nodes) == a.me.id

    def test_a_lower_id_that_recovers_does_not_displace_the_holder(self, net: Net) -> None:
        nodes = led(net, *"abcde", voters=tuple("abcde"))
        a, b = nodes[:2]
        net.pause(a, 12)
        assert net.run_until(lambda: b.term is not None, 11)
        held = term(b)
        net.run(20)
        assert b.term is held
        assert (a.me.id or "") > b.floor

    def test_a_restarted_voter_grants_nothing_for_a_lease(self, net: Net) -> None:
        a, b, c = led(net, "a", "b", "c")
        for node in (b, c):
            net.kill(node)
        again = [net.start(name, "a", voters=VOTERS) for name in "bc"]
        restarted = net.now
        net.run(0.5)
        net.kill(a)
        assert net.run_until(lambda: any(node.term is not None for node in again), 4 * L)
        assert net.now - restarted >= PROMISED

    def test_nothing_is_released_while_the_last_term_cleans_up(self, net: Net) -> None:
        """A candidate that gave way once freed the grants that still covered its own clean-up."""
        a, *_ = led(net, "a", "b", "c")
        lease = a._tenure
        assert isinstance(lease, Lease)
        ends = lease.ends
        lease._lose(net.now)
        for now, count in ((net.now, 0), (ends, 2)):
            lease.ballots["a"].until = now + L
            lease._give_way(now)
            net.drain(a)
            assert len(messages(net, LeaderKind.RELEASE)) == count

    def test_grants_that_came_too_late_are_freed_if_others_ask_as_well(self, net: Net) -> None:
        """Two candidates, each refused by two of four voters before the others granted, went on for ever."""
        a, *_ = led(net, *"abcd", voters=tuple("abcd"))
        lease = a._tenure
        assert isinstance(lease, Lease)
        lease._lose(net.now)
        lease._clean_until = net.now
        net.drain(a)
        for node in net._processes.values():
            node.node._electorate.voter.free()
        tokens = set()
        for _ in range(8):
            lease._ask(net.now)
            for voter in ("b", "c", "d"):
                lease._answered(LeaderMessage(LeaderKind.WOULD, lease._round, b"other"), voter, net.now)
            tokens.add(lease._token)
            refusal = LeaderMessage(
                LeaderKind.REFUSE, lease._round, b"other", left_ms=2_900, reason=Refusal.GRANTED
            )
            for voter in ("b", "c"):
                lease._answered(refusal, voter, net.now)
            lease._answered(LeaderMessage(LeaderKind.GRANT, lease._round, b"other"), "d", net.now)
        assert lease.term is None
        net.drain(a)
        assert messages(net, LeaderKind.RELEASE)
        assert len(tokens) == 8, "a voter that was restarted since does not know the token of a round before"


class TestPartitions:
    @pytest.mark.parametrize("side", ["ab", "a", "abc", "abcd"])
    def test_only_the_side_with_a_majority_has_a_leader(self, net: Net, side: str) -> None:
        nodes = led(net, *"abcde", voters=tuple("abcde"))
        other = "".join(name for name in "abcde" if name not in side)
        net.run(3)
        net.split(side, other)
        never_two(net, nodes, 25)
        winners = side if len(side) > 2 else other
        acting = [node.name for node in nodes if node.term is not None]
        assert len(acting) == 1
        assert acting[0] in winners
        for node in nodes:
            assert leader(node) == (acting[0] if node.name in winners else None), node.name
        token = term(next(node for node in nodes if node.term)).token
        net.heal()
        never_two(net, nodes, 40)
        assert {leader(node) for node in nodes} == {acting[0]}
        assert term(next(node for node in nodes if node.term)).token >= token

    @pytest.mark.parametrize(("deaf", "dumb"), [("ab", "cde"), ("cde", "ab"), ("a", "bcde"), ("bcde", "a")])
    def test_one_way(self, net: Net, deaf: str, dumb: str) -> None:
        """Nothing passes from `dumb` to `deaf`."""
        nodes = led(net, *"abcde", voters=tuple("abcde"))
        net.run(3)
        net.cut(dumb, deaf)
        never_two(net, nodes, 30)
        acting = [node.name for node in nodes if node.term is not None]
        assert len(acting) == 1
        assert acting[0] in max(deaf, dumb, key=len)
        net.heal()
        never_two(net, nodes, 60)
        assert len({leader(node) for node in nodes}) == 1

    def test_a_node_that_is_next_but_cannot_reach_a_majority_does_not_keep_the_others_waiting(
        self, net: Net
    ) -> None:
        """Only some links are cut, so that `a` is still a member, and not suspected by `b`."""
        nodes = led(net, *"abcde", voters=tuple("abcde"))
        net.run(3)
        net.split("a", "cde")
        never_two(net, nodes, 25)
        assert [node.name for node in nodes if node.term is not None] == ["b"]
        assert {leader(node) for node in nodes} == {"b"}

    def test_the_event_and_the_description_say_why(self, net: Net) -> None:
        nodes = led(net, *"abcde", voters=tuple("abcde"))
        net.run(3)
        net.forget_events()
        net.split("ab", "cde")
        net.run(10)
        change = net.events(nodes[0], LeaderChanged)[0]
        assert change.leader is None
        told = "3 of 5 voters have to grant a lease; the last one was not renewed by c, d, e"
        assert change.reason == told
        problem = nodes[0].leadership(net.now).problem
        assert problem is not None
        assert problem.startswith("3 of 5 voters have to grant a lease")

    def test_a_node_that_has_lost_it_tells_those_that_are_cut_off_with_it(self, net: Net) -> None:
        nodes = led(net, *"abcde", voters=tuple("abcde"))
        net.run(3)
        net.split("ab", "cde")
        net.run(L + 0.5)
        assert [leader(node) for node in nodes[:2]] == [None, None]

    def test_a_minority_forgets_a_leader_that_it_cannot_hear(self, net: Net) -> None:
        nodes = led(net, *"abcde", voters=tuple("abcde"))
        net.run(3)
        net.split("abc", "de")
        net.run(2 * L + 5)
        assert [leader(node) for node in nodes] == ["a", "a", "a", None, None]


class TestTokens:
    def test_one_that_was_heard_of_elsewhere_is_surpassed(self, net: Net) -> None:
        a, b, c = led(net, "a", "b", "c")
        puppet = net.puppet("p").join(a, b, c)
        high = "02" + "0" * 24
        assert term(a).token < high
        puppet.incarnation, puppet.meta = 2, encode_meta({}, puppet.id, puppet.boot, {"_token": high})
        puppet.tell(a, puppet.alive())
        net.run(1)
        assert term(a).token < high, "it is from the far future"

    def test_voters_tell_of_tokens_that_gossip_did_not(self, net: Net) -> None:
        """The holder's clock is ahead; it dies before anybody has heard of its token."""
        a = net.start("a", voters=VOTERS, skew=30.0)
        b = net.start("b", "a", voters=VOTERS)
        net.run(1)
        c = net.start("c", "a", voters=VOTERS)
        assert net.run_until(lambda: a.term is not None, 3 * L)
        token = term(a).token
        assert b._table.newest_token == c._table.newest_token == ""
        net.kill(a)
        assert net.run_until(lambda: b.term is not None, 3 * L)
        assert term(b).token > token

    @IMPOSSIBLE
    def test_one_that_cannot_have_been_minted_is_not_granted(self, net: Net, token: bytes) -> None:
        """One question with it to each voter, and nobody could mint a higher one any more."""
        voters = net.cluster("a", "b", "c", voters=VOTERS, electable=False)
        puppet = net.puppet("p").join(*voters)
        net.run(L)
        for node in voters:
            puppet.tell_leader_message(node, question(puppet, node, token))
        net.run(0.1)
        assert puppet.heard(LeaderMessage) == []
        assert [node.dropped["token"] for node in voters] == [1, 1, 1]
        d = net.start("d", "a", voters=VOTERS)
        assert net.run_until(lambda: d.term is not None, 4 * L)

    def test_one_a_little_ahead_is_granted(self, net: Net) -> None:
        a = net.start("a", voters=VOTERS, electable=False)
        puppet = net.puppet("p").join(a)
        net.run(L)
        soon = mint_id(int((EPOCH + net.now + 60) * 1000), net.rng)
        puppet.tell_leader_message(a, question(puppet, a, pack_id(soon)))
        net.run(0.1)
        assert [grant.kind for grant in puppet.heard(LeaderMessage)] == [LeaderKind.GRANT]

    @IMPOSSIBLE
    def test_a_grant_with_such_a_one_is_none(self, net: Net, token: bytes) -> None:
        """Not even the promise counts: if somebody did lead under that token, the next must not be lower."""
        a = net.start("a", voters=("a", "c"))
        puppet = net.puppet("c", voters=a).join(a)
        net.run(L + 0.5)
        for answer, leads in ((token, False), (b"", True)):
            puppet.received.clear()
            assert net.run_until(lambda: bool(puppet.heard(LeaderMessage)), L)
            puppet.tell_leader_message(
                a, LeaderMessage(LeaderKind.WOULD, puppet.heard(LeaderMessage)[-1].round, turn=5)
            )
            puppet.tell_leader_message(
                a,
                LeaderMessage(LeaderKind.GRANT, puppet.heard(LeaderMessage)[-1].round, turn=5, token=answer),
            )
            assert (a.term is not None) is leads
        assert a.dropped["token"] == 1

    def test_they_go_on_when_all_clocks_are_set_back(self, net: Net) -> None:
        nodes = led(net, "a", "b", "c")
        net.run(5)
        a, b, _ = nodes
        held = term(a)
        for node in nodes:
            node._tenure._wall = node._own._wall = lambda now: EPOCH + now - 3 * 3_600
        net.run(4 * L)
        assert a.term is held
        net.kill(a)
        assert net.run_until(lambda: b.term is not None, 2 * L)
        assert term(b).token > held.token

    def test_a_node_that_has_no_vote_takes_no_grant_for_absurd_then(self, net: Net) -> None:
        nodes = led(net, "d", "e", *VOTERS)
        for node in nodes:
            node._tenure._wall = node._own._wall = lambda now: EPOCH + now - 3 * 3_600
        net.kill(nodes[0])
        assert net.run_until(lambda: nodes[1].term is not None, 2 * L)
        assert "token" not in nodes[1].dropped

    def test_the_token_shows_while_the_lease_is_held(self, net: Net) -> None:
        a, b, c = led(net, "a", "b", "c")
        assert b.leadership(net.now).token == term(a).token
        net.split("a", "bc")
        assert net.run_until(lambda: b.leader is not None and b.leader.name == "b", 4 * L)
        net.run(0.1)
        assert b.leadership(net.now).token == c.leadership(net.now).token == term(b).token
        assert a.leadership(net.now).token is None


class TestConfiguration:
    def test_a_node_that_joins_with_other_voters_takes_over_those_of_the_cluster_and_says_so(
        self, net: Net
    ) -> None:
        a = net.start("a", voters=("a", "b"))
        b = net.start("b", "a", voters=("a", "b", "c"))
        net.run(1)
        assert net.events(a, VotersDiffer) == []
        assert net.events(b, VotersDiffer) == [VotersDiffer(a.me, ("a", "b"), L, ("a", "b", "c"), L)]
        assert b.leadership(net.now).voters == ("a", "b")
        assert net.run_until(lambda: a.term is not None, 2 * L)

    def test_also_of_another_length(self, net: Net) -> None:
        a = net.start("a", voters=("a", "b"))
        b = net.start("b", "a", voters=("a", "b"), config=Config(lease=2.0))
        net.run(1)
        assert net.events(b, VotersDiffer) == [VotersDiffer(a.me, ("a", "b"), L, ("a", "b"), 2.0)]
        assert net.run_until(lambda: a.term is not None, 2 * L)
        assert a._tenure.ends - net.now > 2.1  # type: ignore[attr-defined]

    def test_clusters_that_were_founded_with_other_voters_are_told_of_each_other(self, net: Net) -> None:
        a, b, c = led(net, "a", "b", "c")
        x = net.start("x", voters=("x",))
        assert net.run_until(lambda: x.term is not None, 2 * L)
        terms = term(a), term(x)
        x.sync(a.address, net.now)
        net.drain(x)
        net.run(10)
        assert [len(node.members()) for node in (a, b, c, x)] == [4] * 4
        assert (term(a), term(x)) == terms, "their tokens disturb nobody"
        for node in (a, b, c):
            assert net.events(node, VotersDiffer) == [VotersDiffer(x.me, ("x",), L, VOTERS, L)]
            assert leader(node) == "a"
        assert {event.member.name for event in net.events(x, VotersDiffer)} == {"a", "b", "c"}
        assert leader(x) == "x"

    def test_a_voter_that_is_not_configured_says_so(self, net: Net) -> None:
        a = net.start("a", voters=("a", "b"))
        b = net.start("b", "a")
        net.run(10)
        assert a.term is None
        assert net.events(b, VotersDiffer) == [VotersDiffer(a.me, ("a", "b"), L, (), L)]
        assert len(net.events(a, VotersDiffer)) == 1
        refusals = messages(net, LeaderKind.REFUSE)
        assert Refusal.VOTERS in {message.reason for message in refusals}
        problem = a.leadership(net.now).problem
        assert problem is not None
        assert "b goes by other voters" in problem

    def test_absent_voters_are_named(self, net: Net) -> None:
        a = net.start("a", voters=("a", "x", "y"))
        net.run(10)
        problem = a.leadership(net.now).problem
        assert problem is not None
        assert problem.endswith("no members now: x, y")
        assert a.leadership(net.now).voters == ("a", "x", "y")
        assert a.leadership(net.now).remaining == 0.0
        assert a.term_ends == -math.inf


class TestContest:
    def test_four_stubborn_candidates_of_five_come_to_an_end(self) -> None:
        """Each believes for a while that it is its turn; who gets no majority gives way."""
        for seed in range(10):
            net = Net(seed=seed)
            nodes = net.cluster(*"abcde", voters=tuple("abcde"))
            for node in nodes[1:]:
                node._tenure.queue.due = lambda length: -math.inf  # type: ignore[attr-defined]
                node._settle(net.now)
            held = net.run_until(lambda: any(node.term is not None for node in nodes), 30.0)  # noqa: B023
            assert held, f"seed {seed}"
            never_two(net, nodes, 10)


class TestReplay:
    """Somebody without the keys, in the way of the packets, repeats them."""

    def record(self, net: Net, of: str, to: str = "") -> list[Sent]:
        return [
            sent
            for sent, message in net.said(LeaderMessage)
            if sent.source == address_of(of) and (not to or sent.target == address_of(to))
        ]

    def test_a_leader_that_is_cut_off_and_hears_its_own_packets_stops(self, net: Net) -> None:
        a, b, c = led(net, "a", "b", "c")
        net.split("a", "bc")
        end = net.now + 20
        done = 0
        while net.now < end:
            never_two(net, [a, b, c], 0.1)
            mine = self.record(net, "a")
            for sent in mine[max(done, len(mine) - 20) :]:
                a.receive_datagram(sent.data, sent.target, net.now)
                net.drain(a)
            done = len(mine)
        assert a.term is None
        assert b.term is not None

    def test_a_friends_grants_from_other_voters_addresses_count_once(self, net: Net) -> None:
        nodes = led(net, *"abcde", voters=tuple("abcde"))
        net.split("ab", "cde")
        end = net.now + 20
        while net.now < end:
            never_two(net, nodes, 0.1)
            for sent in self.record(net, "b", "a")[-5:]:
                for other in "cd":
                    nodes[0].receive_datagram(sent.data, address_of(other), net.now)
                    net.drain(nodes[0])
        assert nodes[0].term is None
        assert any(node.term is not None for node in nodes[2:])

    def test_the_last_questions_of_a_leader_that_is_gone_block_nobody(self, net: Net) -> None:
        a, b, c = led(net, "a", "b", "c")
        net.run(3.0)
        old = self.record(net, "a")
        net.lose_host(a)
        end = net.now + 4 * L
        while net.now < end:
            never_two(net, [b, c], 0.1)
            for sent in old[-10:]:
                for node in (b, c):
                    if sent.target == node.address:
                        node.receive_datagram(sent.data, address_of("a"), net.now)
                        net.drain(node)
        assert b.term is not None


class TestReturning:
    """A minority of voters comes back, from whatever: the leader's term goes on."""

    @pytest.mark.parametrize("seconds", [2.5, 6.0, 30.0, 60.0])
    def test_after_a_cut(self, net: Net, seconds: float) -> None:
        nodes = led(net, "a", "b", "c")
        held = term(nodes[0])
        net.split("c", "ab")
        net.run(seconds)
        net.heal()
        net.run(20.0)
        assert nodes[0].term is held
        assert [leader(node) for node in nodes] == ["a"] * 3

    def test_two_of_five(self, net: Net) -> None:
        nodes = led(net, *"abcde", voters=tuple("abcde"))
        held = term(nodes[0])
        net.split("de", "abc")
        net.run(30.0)
        net.heal()
        net.run(20.0)
        assert nodes[0].term is held

    def test_deaf(self, net: Net) -> None:
        nodes = led(net, "a", "b", "c")
        held = term(nodes[0])
        net.cut("ab", "c")
        net.run(30.0)
        net.heal()
        net.run(20.0)
        assert nodes[0].term is held

    def test_paused(self, net: Net) -> None:
        nodes = led(net, "a", "b", "c")
        held = term(nodes[0])
        net.pause(nodes[2], 12.0)
        net.run(40.0)
        assert nodes[0].term is held

    def test_restarted(self, net: Net) -> None:
        a, _, c = led(net, "a", "b", "c")
        held = term(a)
        net.kill(c)
        net.run(1.0)
        net.start("c", "a", voters=VOTERS)
        net.run(20.0)
        assert a.term is held

    def test_a_node_that_is_cut_off_mints_nothing(self, net: Net) -> None:
        _, _, c = led(net, "a", "b", "c")
        before = c._table.newest_token
        net.split("c", "ab")
        net.run(30.0)
        assert c._table.newest_token == before
        assert c._electorate.voter._token.text <= before


class TestFollowed:
    def test_a_leader_below_the_floor_of_others_is_told_and_steps_behind(self, net: Net) -> None:
        a, b, c = led(net, "a", "b", "c")
        higher = mint_id(int((EPOCH + net.now) * 1000) + 1, net.rng)
        c._leadership.hear_floor(higher, net.now)
        c._settle(net.now)
        net.drain(c)
        net.run(2 * L)
        acting = [node for node in (a, b, c) if node.term is not None]
        assert len(acting) == 1
        assert (acting[0].me.id or "") > higher
        assert [leader(node) for node in (a, b, c)] == [acting[0].name] * 3

    def test_the_only_worker_takes_a_fresh_id_when_voters_know_a_higher_one(self, net: Net) -> None:
        voters = net.cluster("a", "b", "c", voters=VOTERS, electable=False)
        d = net.start("d", "a", voters=VOTERS)
        e = net.start("e", "a", voters=VOTERS)
        assert net.run_until(lambda: d.term is not None, 3 * L)
        net.split("d", "abce")
        assert net.run_until(lambda: e.term is not None, 4 * L)
        net.run(1.0)
        net.kill(e)
        net.run(1.0)
        net.heal()
        assert net.run_until(lambda: d.term is not None, 20.0)
        net.run(1.0)
        assert [leader(node) for node in voters] == ["d"] * 3


class TestQuicker:
    def test_a_new_process_at_the_holders_address_proves_that_the_old_one_is_gone(self, net: Net) -> None:
        a, b, c = led(net, *"abc")
        net.run(1.2)
        ends = a._tenure.ends  # type: ignore[attr-defined]
        net.kill(a)
        net.start("a", "b", voters=VOTERS)
        assert net.run_until(lambda: b.term is not None, L)
        assert ends - net.now > 1.0
        net.run(0.1)
        assert leader(c) == "b"

    def test_a_lease_of_half_a_second(self) -> None:
        net = Net(lease=0.5)
        a, b, _ = nodes = net.cluster("a", "b", "c", voters=VOTERS)
        net.run(1.0)
        assert a.term is not None
        net.kill(a)
        assert net.run_until(lambda: b.term is not None, 1.0)
        never_two(net, nodes[1:], 5.0)

    def test_a_shorter_one_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"at least 0\.5"):
            Config(lease=0.4)


class TestNotKeptWaiting:
    def test_the_first_in_the_queue_that_hears_no_voter_lets_others_lead(self, net: Net) -> None:
        """It asks, they would grant, and it never learns of it."""
        nodes = led(net, *"xwabc", voters=VOTERS)
        net.cut("abc", "x")
        net.run(L)
        never_two(net, nodes, 3 * L)
        assert [node.name for node in nodes if node.term is not None] == ["w"]
        assert {leader(node) for node in nodes[1:]} == {"w"}

    def test_workers_of_lower_id_that_go_by_another_list_keep_nobody_from_leading(self, net: Net) -> None:
        """The reason that they give names what is in the way."""
        net.split("tuvwx", "bcd")
        workers = [net.start(name, "t" if name != "t" else "", voters=VOTERS) for name in "tuvwx"]
        net.run(1.0)
        voters = [net.start(name, "b" if name != "b" else "", voters=("b", "c", "d")) for name in "bcd"]
        net.run(1.0)
        net.heal()
        for node in voters:
            node.set_seeds([address_of("t")], net.now)
        never_two(net, workers + voters, 10 * L)
        assert all(len(node.members()) == 8 for node in workers + voters)
        assert [node.name for node in workers + voters if node.term is not None] == ["b"]
        assert {leader(node) for node in voters} == {"b"}
        problem = workers[0].leadership(net.now).problem
        assert problem is not None
        assert "b goes by other voters" in problem
        differ = net.events(workers[0], VotersDiffer)
        assert {(event.theirs, event.ours) for event in differ} == {(("b", "c", "d"), VOTERS)}

    def test_grants_to_a_candidate_that_was_paused_begin_no_term(self, net: Net) -> None:
        """No term begins from a round that is older than a third of a lease: its token would be as old."""
        a, *_ = nodes = net.cluster("a", "b", "c", voters=VOTERS)
        assert net.run_until(lambda: bool(messages(net, LeaderKind.ASK)), 2 * L)
        assert a.term is None
        net.pause(a, 0.4 * L)
        net.run(0.4 * L)
        woke = mint_id(int((EPOCH + net.now) * 1000), net.rng)[:10]
        never_two(net, nodes, 2 * L)
        assert min(node.term.token[:10] for node in nodes if node.term is not None) >= woke
