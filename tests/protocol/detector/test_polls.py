"""Evidence and votes one by one: what each is worth, and what it is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swim.events import MemberFailed
from swim.protocol.detector.states import Evidence, State
from swim.protocol.detector.watch import Case, Poll, Probe, Watch
from swim.protocol.node import Node
from swim.protocol.view.identity import pack_id
from swim.types import MemberState
from swim.wire.messages import Ack, ObserverKind, ObserverMessage, Ping, PingReq
from tests.protocol.fakes import Net


@pytest.fixture
def net() -> Net:
    return Net()


@pytest.fixture
def five(net: Net) -> list[Node]:
    """All observe all, and none is doubted."""
    nodes = net.cluster("a", "b", "c", "d", "e")
    net.run(8)
    net.sent.clear()
    return nodes


def watch_of(node: Node, name: str) -> Watch:
    return node._probing.subjects[name]


def polled(
    node: Node, name: str, *, asked: str = "cde", certain: bool = False, excuses_silent: bool = False
) -> Watch:
    """It asks others about a member that it finds dead."""
    watch = watch_of(node, name)
    watch.state, watch.case = State.POLLED, Case(node._probing._attention(0.0))
    watch.poll = Poll(7, tuple(asked), certain, excuses_silent, tuple(asked))
    return watch


def answer(net: Net, node: Node, voter: str, kind: ObserverKind, *, round: int = 7, about: str = "b") -> None:
    node._polls.heard(voter, ObserverMessage(kind, about, 1, round=round), net.now)


class TestVotes:
    @pytest.mark.parametrize(
        ("observers", "needed"), [(1, 1), (2, 2), (3, 2), (4, 2), (5, 3), (6, 3), (8, 3)]
    )
    def test_that_a_death_needs(self, five: list[Node], observers: int, needed: int) -> None:
        assert five[0]._polls.needed(observers) == needed

    def test_all_agree(self, net: Net, five: list[Node]) -> None:
        polled(five[0], "b")
        for voter in "cde":
            answer(net, five[0], voter, ObserverKind.AGREE)
        assert five[0].member("b") is None

    def test_one_veto_outweighs_all_that_agree(self, net: Net, five: list[Node]) -> None:
        watch = polled(five[0], "b")
        for voter, kind in (("c", ObserverKind.AGREE), ("d", ObserverKind.AGREE), ("e", ObserverKind.VETO)):
            answer(net, five[0], voter, kind)
        assert five[0].member("b") is not None
        assert watch.poll is None
        assert watch.state is State.SUSPECTED

    def test_a_veto_outweighs_certainty(self, net: Net, five: list[Node]) -> None:
        polled(five[0], "b", certain=True)
        answer(net, five[0], "c", ObserverKind.VETO)
        assert five[0].member("b") is not None

    def test_those_that_are_looking_have_not_agreed(self, net: Net, five: list[Node]) -> None:
        watch = polled(five[0], "b")
        for voter in "cde":
            answer(net, five[0], voter, ObserverKind.LOOKING)
        five[0]._polls._count("b", net.now)
        assert five[0].member("b") is not None
        assert watch.state is State.SUSPECTED

    def test_of_one_that_was_not_asked_do_not_count(self, net: Net, five: list[Node]) -> None:
        polled(five[0], "b", asked="c")
        for voter in "de":
            answer(net, five[0], voter, ObserverKind.VETO)
            answer(net, five[0], voter, ObserverKind.AGREE)
        assert watch_of(five[0], "b").poll is not None
        assert five[0].dropped["observer-unasked"] == 4

    def test_of_another_poll_do_not_count(self, net: Net, five: list[Node]) -> None:
        polled(five[0], "b")
        for voter in "cde":
            answer(net, five[0], voter, ObserverKind.AGREE, round=6)
        assert five[0].member("b") is not None
        assert five[0].dropped["observer-unasked"] == 3

    def test_of_those_that_never_answer_are_not_needed_when_it_has_been_silent_for_long(
        self, net: Net, five: list[Node]
    ) -> None:
        polled(five[0], "b", excuses_silent=True)
        five[0]._polls._count("b", net.now)
        assert five[0].member("b") is None

    def test_of_those_that_answered_once_are_needed_even_then(self, net: Net, five: list[Node]) -> None:
        watch = polled(five[0], "b", excuses_silent=True)
        watch.able = dict.fromkeys("cde")
        five[0]._polls._count("b", net.now)
        assert five[0].member("b") is not None

    def test_without_any_a_verdict_is_this_nodes_own_only(self, net: Net, five: list[Node]) -> None:
        polled(five[0], "b", excuses_silent=True)
        five[0]._polls._count("b", net.now)
        record = five[0]._table.get("b")
        assert record is not None
        assert record.solo

    def test_a_verdict_about_a_process_that_was_replaced_does_not_meet_the_next(
        self, net: Net, five: list[Node]
    ) -> None:
        watch = polled(five[0], "b")
        watch.boot = "ANOTHER0"
        for voter in "cde":
            answer(net, five[0], voter, ObserverKind.AGREE)
        assert five[0].member("b") is not None

    def test_an_observer_that_has_an_answer_is_asked_no_more(self, net: Net, five: list[Node]) -> None:
        watch = polled(five[0], "b")
        five[0]._polls.withdraw("b", watch)
        assert watch.poll is None
        for voter in "cde":
            answer(net, five[0], voter, ObserverKind.AGREE)
        assert five[0].member("b") is not None


class TestLoss:
    def asked(self, node: Node, asked: str) -> Watch:
        watch = watch_of(node, "b")
        watch.lossy_poll = Poll(9, tuple(asked), False, False, tuple(asked))
        return watch

    def test_of_one_observer_is_no_ground(self, net: Net, five: list[Node]) -> None:
        self.asked(five[0], "cde")
        five[0]._polls._count_lossy("b", net.now)
        assert five[0].member("b") is not None

    def test_of_all_is(self, net: Net, five: list[Node]) -> None:
        self.asked(five[0], "cde")
        for voter in "cde":
            answer(net, five[0], voter, ObserverKind.AGREE, round=9)
        assert five[0].member("b") is None
        assert [event.reason for event in five[0].drain().events if isinstance(event, MemberFailed)] == [
            "quality"
        ]

    def test_is_agreed_on_as_soon_as_there_are_five_votes(self, net: Net, five: list[Node]) -> None:
        """Those that find nothing lost do not answer."""
        self.asked(five[0], "cdefghi")
        for voter in "cde":
            answer(net, five[0], voter, ObserverKind.AGREE, round=9)
        assert five[0].member("b") is not None
        answer(net, five[0], "f", ObserverKind.AGREE, round=9)
        assert five[0].member("b") is None

    @pytest.mark.parametrize(("found", "still"), [(True, True), (False, True), (True, False)])
    def test_an_observer_that_is_asked_says_what_it_has_seen_itself_and_still_sees(
        self, net: Net, five: list[Node], found: bool, still: bool
    ) -> None:
        a, b, c, *_ = five
        watch = watch_of(a, "b")
        for lost in [True] * 12 + [still, False] * 4:
            watch.loss.add(lost)
        if found:
            watch.lossy = a._polls._attention(net.now)
        net.tell(a, net.message(c, a, ObserverKind.LOSSY, b, round=3), c.address)
        said = [message.kind for _, message in net.said(ObserverMessage, by=a, to=c.address)]
        assert said == ([ObserverKind.AGREE] if found and still else [])


class TestEvidence:
    def test_a_refusal_proves_nothing(self) -> None:
        watch = Watch("BOOT0000", 0.0)
        watch.refused = 5.0
        assert not watch.proven

    def test_the_end_of_a_stream_proves_nothing(self) -> None:
        watch = Watch("BOOT0000", 0.0)
        watch.ended = 5.0
        assert not watch.proven

    @pytest.mark.parametrize(("refused", "proven"), [(4.0, False), (5.0, False), (6.0, True)])
    def test_both_prove_a_death_if_the_refusal_came_later(self, refused: float, proven: bool) -> None:
        watch = Watch("BOOT0000", 0.0)
        watch.ended, watch.refused = 5.0, refused
        assert watch.proven is proven

    def test_silence_is_over_with_an_answer_over_the_stream(self) -> None:
        case = Case(10.0)
        assert case.silence(15.0) == 5.0
        case.alive = 14.0
        assert case.silence(15.0) == 1.0

    def test_a_poll_is_complete_with_a_veto_or_when_all_agree_that_are_awaited(self) -> None:
        poll = Poll(1, ("c", "d", "e"), False, False, ("c", "d"))
        for voter, complete in (("e", False), ("c", False), ("d", True)):
            poll.agreed[voter] = None
            assert poll.complete is complete
        assert Poll(1, ("c",), False, False, ("c",), vetoed=True).complete
        assert not Poll(1, ("c",), False, False, ()).complete

    @pytest.mark.parametrize("outcome", [Evidence.VETOED, Evidence.TOO_FEW])
    def test_one_that_is_not_found_dead_is_suspected_still_and_asked_about_again(
        self, outcome: Evidence
    ) -> None:
        watch = Watch("BOOT0000", 0.0)
        watch.state = State.POLLED
        assert watch.learn(outcome, 1.0)
        assert watch.suspected
        assert watch.learn(Evidence.CONVINCING, 2.0)
        assert watch.state is State.POLLED

    @pytest.mark.parametrize(("ago", "since"), [(3.0, 3.0), (60.0, 5.0)])
    def test_silence_is_dated_back_to_when_another_noticed_but_not_to_before_it_was_heard_here(
        self, net: Net, five: list[Node], ago: float, since: float
    ) -> None:
        a, b, c, *_ = five
        attention = a._suspicion._attention(net.now)
        watch = watch_of(a, "b")
        watch.heard = attention - 5.0
        net.tell(a, net.message(c, a, ObserverKind.HINT, b, age_ms=int(ago * 1000)), c.address)
        assert watch.case is not None
        assert attention - watch.case.since == pytest.approx(since)

    def test_an_ack_of_another_process_is_the_end_of_the_one_before(self, net: Net, five: list[Node]) -> None:
        a = five[0]
        watch = watch_of(a, "b")
        probe = a._probes.probe(a._table.get("b"), net.now)
        a._suspicion.answered("b", probe, Ack(probe.seq, boot=b"ANOTHER0"), net.now)
        assert a.member("b") is None
        assert watch.given_up

    def test_the_last_breath_of_a_process_whose_stream_has_ended_counts_for_nothing(
        self, net: Net, five: list[Node]
    ) -> None:
        a, b, *_ = five
        watch = watch_of(a, "b")
        probe = Probe(1, 10.0, "udp")
        watch.ended, watch.heard = 11.0, 9.0
        a._probing._landed("b", probe, Ack(1, boot=b.boot.encode()), net.now)
        assert watch.heard == 9.0


class TestPolls:
    @pytest.mark.parametrize("kind", [ObserverKind.HINT, ObserverKind.POLL])
    def test_an_observer_that_is_told_looks_at_once(
        self, net: Net, five: list[Node], kind: ObserverKind
    ) -> None:
        a, b, c, *_ = five
        watch_of(a, "b").heard = -1e9
        net.sent.clear()
        net.tell(a, net.message(c, a, kind, b), c.address)
        assert [ping.node for _, ping in net.said(Ping, by=a, to=b.address)] == ["b"]

    def test_an_observer_that_has_looked_and_hears_the_member_vetoes(
        self, net: Net, five: list[Node]
    ) -> None:
        a, b, c, *_ = five
        watch_of(a, "b").heard = -1e9
        net.tell(a, net.message(c, a, ObserverKind.POLL, b, round=4), c.address)
        net.run(0.5)
        said = [message.kind for _, message in net.said(ObserverMessage, by=a, to=c.address)]
        assert said == [ObserverKind.LOOKING, ObserverKind.VETO]

    def test_an_observer_that_has_looked_and_hears_the_member_by_its_stream_alone_vetoes(
        self, net: Net, five: list[Node]
    ) -> None:
        a, b, c, *_ = five
        watch_of(a, "b").heard = -1e9
        net.block_udp("acde", "b")
        net.tell(a, net.message(c, a, ObserverKind.POLL, b, round=4), c.address)
        net.run(1)
        said = [
            message.kind for _, message in net.said(ObserverMessage, by=a, to=c.address) if message.round == 4
        ]
        assert said == [ObserverKind.LOOKING, ObserverKind.VETO]

    def test_an_observer_that_has_looked_and_is_convinced_agrees(self, net: Net, five: list[Node]) -> None:
        a, b, c, *_ = five
        watch_of(a, "b").heard = -1e9
        net.cut("a", "b")
        net.cut("cde", "b")
        net.tell(a, net.message(c, a, ObserverKind.POLL, b, round=4), c.address)
        net.run(6)
        said = [
            message.kind for _, message in net.said(ObserverMessage, by=a, to=c.address) if message.round == 4
        ]
        assert said[0] is ObserverKind.LOOKING
        assert ObserverKind.AGREE in said

    def test_the_others_are_told_once_of_a_silence(self, net: Net, five: list[Node]) -> None:
        a, b, c, *_ = five
        net.lose_host(b)
        net.run(10)
        hints = [
            message
            for _, message in net.said(ObserverMessage, by=a, to=c.address)
            if message.kind is ObserverKind.HINT
        ]
        assert len(hints) == 1

    def test_a_member_that_recovers_is_suspected_no_more_by_any_other(
        self, net: Net, five: list[Node]
    ) -> None:
        a, b, *_ = five
        net.pause(b, 4.0)
        assert net.run_until(lambda: net.believes(a, "b") is MemberState.SUSPECT, 4.0)
        net.run(6.0)
        assert watch_of(a, "b").case is None
        assert net.believes(a, "b") is MemberState.ALIVE


class TestFreshness:
    def tell(self, net: Net, a: Node, c: Node, message: ObserverMessage) -> int:
        before = sum(a.dropped.values())
        net.tell(a, message, c.address)
        return sum(a.dropped.values()) - before

    def test_a_message_counts_once(self, net: Net, five: list[Node]) -> None:
        a, b, c, *_ = five
        message = net.message(c, a, ObserverKind.HINT, b)
        assert self.tell(net, a, c, message) == 0
        assert self.tell(net, a, c, message) == 1
        assert a.dropped["observer-repeated"] == 1

    def test_messages_may_overtake_each_other(self, net: Net, five: list[Node]) -> None:
        a, b, c, *_ = five
        several = [net.message(c, a, ObserverKind.HINT, b) for _ in range(100)]
        assert [self.tell(net, a, c, several[index]) for index in (99, 98, 50, 50, 3)] == [0, 0, 0, 1, 1]

    def test_a_message_is_for_one_process(self, net: Net, five: list[Node]) -> None:
        a, b, c, *_ = five
        assert self.tell(net, a, c, replace(net.message(c, a, ObserverKind.HINT, b), to=b"ANOTHER0")) == 1
        assert a.dropped["observer-astray"] == 1

    def test_a_message_is_of_one_process(self, net: Net, five: list[Node]) -> None:
        a, b, c, *_ = five
        assert self.tell(net, a, c, replace(net.message(c, a, ObserverKind.HINT, b), boot=b"ANOTHER0")) == 1
        assert a.dropped["observer-author"] == 1

    def test_a_message_that_comes_back_to_its_author_is_none(self, net: Net, five: list[Node]) -> None:
        a, b, c, *_ = five
        assert self.tell(net, a, c, net.message(a, a, ObserverKind.HINT, b)) == 1
        assert a.dropped["observer-author"] == 1

    def test_a_ping_shows_that_its_sender_lives_unless_it_may_be_an_old_one(self, net: Net) -> None:
        a, b = net.cluster("a", "b")
        b_there = a._table.get("b")
        assert b_there is not None
        a._freshness._heard.clear()

        def fresh(count: int, node: str = "a") -> bool:
            return a._freshness.ping(b_there, Ping(1, node, sender_id=pack_id(b.me.id), count=count))

        assert [fresh(5), fresh(6), fresh(6), fresh(5), fresh(7, "c"), fresh(8)] == [
            False,
            True,
            False,
            False,
            False,
            True,
        ]


class TestHelp:
    def test_others_are_asked_to_ping_one_that_stays_silent(self, net: Net, five: list[Node]) -> None:
        a, b, *_ = five
        net.lose_host(b)
        net.run(4)
        assert {request.node for _, request in net.said(PingReq, by=a)} == {"b"}

    @pytest.mark.parametrize(("ago", "waits"), [(0.1, "pause"), (5.0, "silence")])
    def test_only_a_kernel_that_has_answered_just_now_shows_that_the_process_is_paused(
        self, net: Net, five: list[Node], ago: float, waits: str
    ) -> None:
        suspicion, watch = five[0]._suspicion, watch_of(five[0], "b")
        attention = suspicion._attention(net.now)
        watch.kernel_known, watch.case = True, Case(attention - 6.0)
        watch.case.kernel_answered = attention - ago
        expected = {"pause": net.config.pause_tolerance, "silence": net.config.silence_tolerance}[waits]
        assert suspicion._tolerance(watch, watch.case, net.now) == expected

    @pytest.mark.parametrize(("heard", "share"), [(True, 1.0), (False, 1.5)])
    def test_the_silence_of_a_kernel_that_was_never_heard_is_not_held_against_the_member(
        self, net: Net, five: list[Node], heard: bool, share: float
    ) -> None:
        suspicion, watch = five[0]._suspicion, watch_of(five[0], "b")
        watch.kernel_known, watch.case = heard, Case(suspicion._attention(net.now))
        assert suspicion._tolerance(watch, watch.case, net.now) == share * net.config.silence_tolerance

    def test_unanswered_probes_say_less_of_a_member_on_whose_link_many_get_lost(
        self, net: Net, five: list[Node]
    ) -> None:
        suspicion, watch = five[0]._suspicion, watch_of(five[0], "b")
        sent = suspicion._attention(net.now) - 0.5

        def level() -> float:
            watch.case = Case(sent, [Probe(number, sent, "udp") for number in range(4)])
            return suspicion._phi("b", watch, net.now)

        at_a_good_link = level()
        for number in range(60):
            watch.loss.add(number % 2 == 0)
        assert level() < at_a_good_link / 2


@pytest.mark.parametrize("own_fault", [False, True])
def test_a_node_that_may_be_at_fault_itself_gives_up_nobody_alone(net: Net, own_fault: bool) -> None:
    """Its own pings do not come back to it either."""
    a, b = net.cluster("a", "b")
    net.run(8)
    net.cut("b", "a")
    if own_fault:
        net.cut("a", "a")
    net.run(30)
    assert (a.member("b") is not None) == own_fault, b


class TestMute:
    def convinced_of(self, net: Net, a: Node, name: str) -> bool:
        return a._suspicion._convinced(name, watch_of(a, name), net.now)

    def test_an_observer_to_which_most_are_silent_is_not_convinced_of_any_death(
        self, net: Net, five: list[Node]
    ) -> None:
        a = five[0]
        net.cut("bcde", "a")
        net.run(6)
        assert a.explain("b", net.now) is not None
        assert not any(self.convinced_of(net, a, name) for name in "bcde")

    def test_one_to_which_a_single_one_is_silent_is(self, net: Net, five: list[Node]) -> None:
        a, b, *_ = five
        net.lose_host(b)
        assert net.run_until(lambda: a.member("b") is None or self.convinced_of(net, a, "b"), 8)
