"""What proves a death and what does not: refusals, ends of streams, answers over them, votes, old pings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from swim.events import LeaderChanged, MemberFailed, MemberSuspected
from swim.protocol.detector.states import TRANSITIONS, Evidence, State
from swim.protocol.detector.watch import Poll
from swim.protocol.node import Node
from swim.types import Address, Explanation, MemberState
from swim.wire.messages import LeaderKind, LeaderMessage, ObserverKind, ObserverMessage, Ping
from tests.protocol.fakes import Net, Sent

LAN_S = 0.2


@pytest.fixture
def net() -> Net:
    return Net()


def explained(net: Net, node: Node, name: str) -> Explanation:
    explanation = node.explain(name, net.now)
    assert explanation is not None
    return explanation


def failed(net: Net, *nodes: Node) -> list[tuple[str, str]]:
    return [(event.member.name, event.reason) for node in nodes for event in net.events(node, MemberFailed)]


def refuse(net: Net, node: Node, other: Node, times: int = 1) -> None:
    for _ in range(times):
        node.receive_refusal(other.address, net.now)
        net.drain(node)


def end(net: Net, node: Node, other: Node, boot: str | None = None) -> None:
    node.receive_stream_end(other.name, other.boot if boot is None else boot, net.now)
    net.drain(node)


def calm(*names: str) -> tuple[Net, list[Node]]:
    net = Net()
    nodes = net.cluster(*names)
    net.run(10)
    net.forget_events()
    return net, nodes


class TestAMemberThatJustJoined:
    def test_has_a_stream_with_every_other_at_once_in_a_small_cluster(self) -> None:
        net = Net()
        nodes = net.cluster(*"abcdefghijk")
        late = net.start("z", "a")
        assert net.run_until(lambda: all(net.believes(node, "z") for node in nodes), 1)
        others = late.streams_to_keep(net.now)
        assert all(node.address in others or late.address in node.streams_to_keep(net.now) for node in nodes)
        net.kill(late)
        assert net.run_until(lambda: not any(net.believes(node, "z") for node in nodes), LAN_S)
        assert {reason for _, reason in failed(net, *nodes)} == {"process-gone"}

    def test_has_none_in_a_large_one_before_it_is_known_which_members_observe_it(self) -> None:
        net = Net()
        nodes = net.cluster(*"abcdefghijklmnopqrs")
        late = net.start("z", "a")
        assert net.run_until(lambda: all(net.believes(node, "z") for node in nodes), 1)
        observing = [node for node in nodes if late.name in node._probing.subjects]
        assert not any(late.address in node.streams_to_keep(net.now) for node in nodes)
        net.run(1.5)
        assert all(late.address in node.streams_to_keep(net.now) for node in observing)

    def test_has_none_while_others_go_on_joining_as_these_observe_it_a_moment_later(self) -> None:
        net = Net()
        nodes = net.cluster(*"abcdefghijklmnopqrs")
        late = net.start("z", "a")
        for name in ("t", "u", "v", "w"):
            net.run(0.4)
            net.start(name, "a")
        assert net.run_until(lambda: all(net.believes(node, "w") for node in nodes), 1)
        assert not any(late.address in node.streams_to_keep(net.now) for node in nodes)


class TestARefusal:
    def test_alone_proves_nothing_however_often_it_is_repeated(self) -> None:
        net, (a, b, c) = calm("a", "b", "c")
        sent = len(net.sent)
        for _ in range(50):
            refuse(net, a, b, times=20)
            net.run(0.1)
        assert failed(net, a, c) == []
        assert net.events(a, MemberSuspected) == []
        assert len(net.sent) - sent < 200, "nothing is sent because of it"

    def test_of_a_silent_member_waits_for_the_silence_like_any(self) -> None:
        net, (a, b, c) = calm("a", "b", "c")
        net.kill(b, quietly=True)
        began = net.now
        assert net.run_until(lambda: len(failed(net, a, c)) == 2, 10)
        assert net.now - began >= 2.0
        assert {reason for _, reason in failed(net, a, c)} == {"silence"}

    def test_for_a_second_and_a_half_costs_nobody_its_place(self) -> None:
        net, nodes = calm(*"abcde")
        net.block_udp("bcde", "a")
        net.streams_work = False
        for _ in range(15):
            for node in nodes[1:]:
                refuse(net, node, nodes[0])
            net.run(0.1)
        net.heal()
        net.run(10)
        assert failed(net, *nodes) == []
        assert [net.events(node, LeaderChanged) for node in nodes] == [[]] * 5

    def test_of_one_that_answers_over_its_stream_changes_nothing_for_as_long_as_it_lasts(self) -> None:
        net, nodes = calm(*"abcde")
        net.block_udp("bcde", "a")
        for _ in range(200):
            for node in nodes[1:]:
                refuse(net, node, nodes[0])
            net.run(0.1)
        assert failed(net, *nodes) == []
        assert [net.events(node, LeaderChanged) for node in nodes] == [[]] * 5


class TestTheEndOfAStream:
    def test_and_a_refusal_after_it_prove_a_death(self) -> None:
        net, (a, b, c) = calm("a", "b", "c")
        net.kill(b)
        assert net.run_until(lambda: len(failed(net, a, c)) == 2, LAN_S)
        assert {reason for _, reason in failed(net, a, c)} == {"process-gone"}

    def test_alone_makes_the_observer_ask_at_once_and_nothing_more(self) -> None:
        net, (a, b, c) = calm("a", "b", "c")
        net.sent.clear()
        end(net, a, b)
        assert [sent for sent in net.sent if sent.target == b.address]
        net.run(5)
        assert failed(net, a, c) == []
        assert explained(net, a, "b").state in ("answering", "asked")

    def test_after_the_refusal_proves_nothing(self) -> None:
        """What was refused was sent before: to whoever was there then."""
        net, (a, b, c) = calm("a", "b", "c")
        net.pause(b, 30)
        refuse(net, a, b, times=5)
        end(net, a, b)
        net.run(1)
        assert failed(net, a, c) == []
        refuse(net, a, b)
        net.run(LAN_S)
        assert ("b", "process-gone") in failed(net, a)

    def test_of_an_earlier_process_says_nothing_of_this_one(self) -> None:
        net, (a, b, c) = calm("a", "b", "c")
        net.pause(b, 1)
        end(net, a, b, boot="SOMEBOOT")
        refuse(net, a, b, times=5)
        net.run(5)
        assert failed(net, a, c) == []

    def test_is_not_taken_back_by_an_ack_that_was_asked_for_before(self) -> None:
        """The last breath of a process may arrive after the end of its stream."""
        net, (a, b, _) = calm("a", "b", "c")
        probe = a._probes.probe(a._table.get("b"), net.now)
        net.run(0.0015)  # the ack is under way
        end(net, a, b)
        net.kill(b, quietly=True)
        assert probe.sent < net.now
        assert net.run_until(lambda: ("b", "process-gone") in failed(net, a), LAN_S)

    def test_is_forgotten_once_a_later_ping_is_answered(self) -> None:
        net, (a, b, c) = calm("a", "b", "c")
        end(net, a, b)
        net.run(1)
        refuse(net, a, b, times=5)
        net.run(5)
        assert failed(net, a, c) == []

    def test_at_one_observer_is_vetoed_by_those_that_hear_the_member(self) -> None:
        """Something resets its streams and refuses its packets, for this observer alone."""
        net, nodes = calm(*"abcd")
        net.cut("a", "b")
        net.cut("b", "a")
        end(net, nodes[0], nodes[1])
        for _ in range(20):
            refuse(net, nodes[0], nodes[1])
            net.run(0.1)
        assert failed(net, *nodes) == []

    def test_beside_one_that_stands_still_is_decided_without_it(self) -> None:
        for standing, seconds in ((0.1, LAN_S), (5.0, 0.02)):
            net, nodes = calm(*"abcdef")
            net.pause(nodes[5], 60)
            net.run(standing)
            net.kill(nodes[1])
            others = [nodes[0], *nodes[2:5]]
            assert net.run_until(lambda: len(failed(net, *others)) == len(others), seconds)  # noqa: B023

    def test_of_a_member_that_another_observes_is_remembered(self) -> None:
        """It may have to be judged here soon, when those that observed it died with it."""
        net, nodes = calm(*"abcdefghij")
        for node in nodes[:-1]:
            net.kill(node)
        assert net.run_until(lambda: len(nodes[-1].members()) == 1, 2)


class TestStreamOnly:
    """UDP is silent, and the kept stream is not."""

    def blocked(self, *names: str) -> tuple[Net, list[Node]]:
        net, nodes = calm(*names)
        everyone = "".join(names)
        net.block_udp(everyone, everyone)
        net.run(10)
        return net, nodes

    def test_costs_no_member_its_place_and_no_leader_its_term(self) -> None:
        net, nodes = self.blocked(*"abcdefgh")
        net.run(30)
        assert failed(net, *nodes) == []
        assert [net.events(node, LeaderChanged) for node in nodes] == [[]] * 8

    def test_from_the_start_neither(self, net: Net) -> None:
        net.block_udp("abc", "abc")
        nodes = net.cluster("a", "b", "c")
        net.run(30)
        assert failed(net, *nodes) == []
        assert all(len(node.members()) == 3 for node in nodes)

    def test_is_said_once_and_shown(self) -> None:
        net, nodes = self.blocked("a", "b", "c")
        (warning, *more) = net.output(nodes[0]).warnings
        assert "answers over TCP, but not by UDP" in warning
        assert len(more) == 1, "of each of the two"

    @pytest.mark.parametrize("seconds", [1.0, 2.5, 8.0])
    def test_is_not_said_of_a_network_that_was_cut_and_has_healed(self, seconds: float) -> None:
        """What the stream carries then answers late, and what UDP has lost meanwhile is not UDP's fault."""
        net, nodes = calm("a", "b", "c")
        net.streams_repeat = True
        net.split("a", "bc")
        net.run(seconds)
        net.heal()
        net.run(5)
        assert [net.output(node).warnings for node in nodes] == [[]] * 3
        net.block_udp("abc", "abc")
        net.run(10)
        assert [len(net.output(node).warnings) for node in nodes] == [2] * 3

    def test_has_a_state_of_its_own(self) -> None:
        net, nodes = self.blocked("a", "b", "c")
        said = explained(net, nodes[0], "b")
        assert said.state in ("stream-only", "stream-asked")
        assert said.member.state is MemberState.ALIVE
        assert said.loss < 0.5
        assert nodes[0].statistics(net.now).stream_only == 2

    def test_ends_when_udp_answers_again(self) -> None:
        net, nodes = self.blocked("a", "b", "c")
        net.heal()
        net.run(10)
        assert explained(net, nodes[0], "b").state in ("answering", "asked")
        net.streamed.clear()
        net.run(10)
        assert net.streamed == []

    def test_no_stream_is_kept_to_where_a_member_was_before_it_moved(self) -> None:
        net, (a, b, _) = self.blocked("a", "b", "c")
        before = b.address
        assert before in a.streams_to_keep(net.now)
        net.heal()
        net.move(b, Address("10.0.9.9", 7946))
        net.run(30)
        assert b.address in a.streams_to_keep(net.now)
        assert before not in a.streams_to_keep(net.now)

    @pytest.mark.parametrize(("source", "target"), [("a", "b"), ("b", "a")])
    def test_one_direction_is_enough_and_it_does_not_flap(self, source: str, target: str) -> None:
        """An ack over the stream, or of a ping that went over it, does not show that UDP works."""
        net, nodes = calm("a", "b")
        net.block_udp(source, target)
        net.run(10)
        for _ in range(100):
            net.run(0.1)
            assert explained(net, nodes[0], "b").state in ("stream-only", "stream-asked")
        assert failed(net, *nodes) == []

    def test_news_arrives(self) -> None:
        net, nodes = self.blocked(*"abcdefgh")
        nodes[2].set_tags({"role": "db"}, net.now)
        net.drain(nodes[2])
        assert net.run_until(
            lambda: all(member.tags for node in nodes for member in node.members() if member.name == "c"), 1
        )

    def test_a_death_is_known_at_once(self) -> None:
        net, nodes = self.blocked(*"abcdefgh")
        net.kill(nodes[3])
        others = [node for node in nodes if node is not nodes[3]]
        net.run(0.01)
        for node in others:
            refuse(net, node, nodes[3])  # as the connect that follows is
        assert net.run_until(lambda: len(failed(net, *others)) == 7, 0.5)

    def test_a_lost_host_is_given_up_by_silence(self) -> None:
        net, nodes = self.blocked("a", "b", "c")
        net.lose_host(nodes[1])
        assert net.run_until(lambda: len(failed(net, nodes[0], nodes[2])) == 2, 8)

    def test_is_not_the_members_quality(self) -> None:
        """Six of eight hear nothing of two by UDP: that does not make these two bad members."""
        net, nodes = calm(*"abcdefgh")
        net.block_udp("ab", "cdefgh")
        net.block_udp("cdefgh", "ab")
        net.run(120)
        assert failed(net, *nodes) == []


class TestVotes:
    """They belong to processes: each counts once, for the question that was asked."""

    def told(self, net: Net, node: Node, message: ObserverMessage, source: Node) -> None:
        net.tell(node, message, source.address)

    def test_repeated_ones_are_dropped(self) -> None:
        net, (a, b, c) = calm("a", "b", "c")
        message = net.message(c, a, ObserverKind.HINT, b)
        for _ in range(5):
            self.told(net, a, message, c)
        assert a.dropped["observer-repeated"] == 4

    def test_those_that_overtake_each_other_count(self) -> None:
        net, (a, b, c) = calm("a", "b", "c")
        messages = [net.message(c, a, ObserverKind.HINT, b) for _ in range(5)]
        for message in reversed(messages):
            self.told(net, a, message, c)
        assert "observer-repeated" not in a.dropped
        for message in messages:
            self.told(net, a, message, c)
        assert a.dropped["observer-repeated"] == 5

    def test_the_address_that_they_come_from_says_nothing(self) -> None:
        net, (a, b, c) = calm("a", "b", "c")
        net.sent.clear()
        self.told(net, a, net.message(c, a, ObserverKind.POLL, b, round=7), b)
        assert [sent.target for sent, said in net.said(ObserverMessage, by=a) if said.round == 7] == [
            c.address
        ]

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"to": b"ANOTHER1"}, "observer-astray"),
            ({"boot": b"ANOTHER1"}, "observer-author"),
            ({"author": "a"}, "observer-author"),
            ({"author": "nobody"}, "stranger"),
            ({"process": b"ANOTHER1"}, "observer-process"),
        ],
    )
    def test_of_or_for_or_about_another_process_are_dropped(
        self, changes: dict[str, Any], reason: str
    ) -> None:
        net, (a, b, c) = calm("a", "b", "c")
        self.told(net, a, replace(net.message(c, a, ObserverKind.HINT, b), **changes), c)
        assert a.dropped[reason] == 1
        assert explained(net, a, "b").accusers == {}

    def test_agreement_to_an_earlier_poll_does_not_count(self) -> None:
        net, (a, b, c) = calm("a", "b", "c")
        net.cut("c", "a")
        net.lose_host(b)
        assert net.run_until(lambda: bool(net.said(ObserverMessage, by=a)), 10)
        for _ in range(20):
            self.told(net, a, net.message(c, a, ObserverKind.AGREE, b, round=net.rng.getrandbits(32)), c)
            net.run(0.2)
        assert a.dropped["observer-unasked"] >= 20
        assert failed(net, a) == []

    def test_one_agreement_counts_once_of_each_author(self) -> None:
        """One of five observers is not three."""
        net, nodes = calm(*"abcdef")
        a, b, c = nodes[:3]
        watch, asked = a._probing.subjects["b"], tuple("cdef")
        watch.poll = poll = Poll(9, asked, certain=False, excuses_silent=False, awaited=asked)
        for _ in range(5):
            self.told(net, a, net.message(c, a, ObserverKind.AGREE, b, round=9), c)
        assert list(poll.agreed) == ["c"]
        a._polls._count("b", net.now)
        assert failed(net, a) == []

    def test_about_loss_that_are_repeated_from_other_addresses_kill_nobody(self) -> None:
        net, nodes = calm(*"abcdefghijkl")
        b = nodes[1]
        for node in nodes:
            if node is not b:
                message = net.message(nodes[2], node, ObserverKind.LOSSY, b, round=9)
                for source in nodes[2:]:
                    self.told(net, node, message, source)
        net.run(10)
        assert failed(net, *nodes) == []

    def test_that_nobody_asked_for_about_loss_kill_nobody(self) -> None:
        net, nodes = calm(*"abcdefgh")
        for author in nodes[2:]:
            self.told(net, nodes[0], net.message(author, nodes[0], ObserverKind.LOSSY, nodes[1]), author)
            self.told(net, nodes[0], net.message(author, nodes[0], ObserverKind.AGREE, nodes[1]), author)
        net.run(5)
        assert failed(net, *nodes) == []


class TestSilenceThatOthersNoticed:
    def test_counts_from_when_they_noticed_it(self) -> None:
        net, (a, b, c) = calm("a", "b", "c")
        net.lose_host(b)
        net.run(1.5)
        assert net.run_until(lambda: explained(net, a, "b").silence > 0, 5)
        before = explained(net, a, "b").silence
        heard = explained(net, a, "b").last_heard
        assert heard is not None
        net.tell(a, net.message(c, a, ObserverKind.HINT, b, age_ms=1000 * 3600), c.address)
        assert before < explained(net, a, "b").silence == pytest.approx(heard), "but it was heard here then"

    def test_is_shared_by_one_that_gave_it_up_alone(self) -> None:
        """Else the others would follow it for another whole tolerance."""
        net, (a, b, c) = calm("a", "b", "c")
        record = a._table.get("b")
        assert record is not None
        net.pause(b, 60)
        net.run(1)
        a._polls._silent_since["b"] = net.now - 15
        a._membership.declare_dead("b", "silence", net.now, solo=True)
        net.sent.clear()
        net.tell(a, net.message(c, a, ObserverKind.HINT, b), c.address)
        net.tell(a, net.message(c, a, ObserverKind.POLL, b, round=5), c.address)
        said = [message for _, message in net.said(ObserverMessage, by=a, to=c.address)]
        assert [message.kind for message in said] == [ObserverKind.HINT] * 2, "it is no vote"
        assert [message.age_ms for message in said] == [pytest.approx(15_000, abs=2)] * 2


def test_old_pings_that_are_repeated_do_not_keep_a_survivor_from_taking_over() -> None:
    """They are no sign of life, nor that others talk to this node and do not hear it."""
    net, (a, b) = calm("a", "b")
    old: list[Sent] = [sent for sent, _ in net.said(Ping, by=a, to=b.address)]
    assert old
    net.lose_host(a)
    for number in range(200):
        net.run(0.1)
        b.receive_datagram(old[number % len(old)].data, a.address, net.now)
        net.drain(b)
    assert b.leader == b.me


def test_a_claim_does_not_bring_back_one_that_was_given_up_alone() -> None:
    """It may be a repeated one, or come from a forged address."""
    net, (a, b) = calm("a", "b")
    mine = b._table.get("a")
    assert mine is not None
    claim = b._post.seal(LeaderMessage(LeaderKind.CONFIRM, 1), mine, b"")
    net.lose_host(b)
    assert net.run_until(lambda: a.member("b") is None, 40)
    net.tell(a, claim, b.address)
    assert a.member("b") is None


def test_every_state_can_be_reached_and_left() -> None:
    reached = {State.ANSWERING}
    while more := {after for (before, _), after in TRANSITIONS.items() if before in reached} - reached:
        reached |= more
    assert reached == set(State)
    assert {before for before, _ in TRANSITIONS} == set(State) - {State.GIVEN_UP}
    only_noted = {Evidence.REFUSED, Evidence.KERNEL_ANSWERED, Evidence.SUCCEEDED}
    assert {evidence for _, evidence in TRANSITIONS} == set(Evidence) - only_noted


def test_a_verdict_says_what_it_rests_on() -> None:
    net, (a, b, c) = calm("a", "b", "c")
    net.kill(b)
    net.run(1)
    verdicts = [*net.output(a).verdicts, *net.output(c).verdicts]
    assert verdicts
    for text in map(str, verdicts):
        assert text.startswith("b process-gone: ")
        assert text.index("stream ended") < text.index("refused") < text.index("ended and refused")
