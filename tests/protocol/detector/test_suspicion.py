"""What silence means: suspicion, polls, verdicts, and who must not be given up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swim.events import MemberFailed, MemberRecovered, MemberSuspected
from swim.protocol.node import Node
from swim.types import Address, Explanation, MemberState
from swim.wire import pack_host
from swim.wire.messages import Dead, ObserverKind, ObserverMessage, PushPull, PushPullHead, Suspect
from tests.protocol.fakes import EPOCH, Net, address_of


@pytest.fixture
def net() -> Net:
    return Net()


def gone(net: Net, name: str, *nodes: Node) -> bool:
    return all(net.believes(node, name) is None for node in nodes)


def seconds_until_gone(net: Net, name: str, nodes: list[Node], limit: float = 30) -> float | None:
    began = net.now
    return net.now - began if net.run_until(lambda: gone(net, name, *nodes), limit) else None


def explained(net: Net, node: Node, name: str) -> Explanation:
    explanation = node.explain(name, net.now)
    assert explanation is not None
    return explanation


def phi_of(net: Net, node: Node, name: str) -> float:
    return explained(net, node, name).phi


class TestSilence:
    @pytest.mark.parametrize("names", ["abc", "abcdef", "abcdefghijklm"])
    def test_of_a_host_is_noticed_soon_after_the_tolerance(self, net: Net, names: str) -> None:
        nodes = net.cluster(*names)
        net.run(10)
        net.lose_host(nodes[1])
        survivors = [nodes[0], *nodes[2:]]
        took = seconds_until_gone(net, "b", survivors)
        assert took is not None
        assert 2.0 <= took <= 5.5

    def test_is_suspected_first_with_a_phi(self, net: Net) -> None:
        a, b, c = net.cluster("a", "b", "c")
        net.run(10)
        net.forget_events()
        net.lose_host(b)
        net.run(10)
        for node in (a, c):
            suspected, failed = net.events(node, (MemberSuspected, MemberFailed))
            assert isinstance(suspected, MemberSuspected)
            assert suspected.phi is None or suspected.phi >= 3
            assert isinstance(failed, MemberFailed)
            assert failed.reason in ("silence", "told")

    def test_phi_rises_with_it(self, net: Net) -> None:
        a, b, _c = net.cluster("a", "b", "c")
        net.run(10)
        assert phi_of(net, a, "b") < 1
        net.lose_host(b)
        levels = []
        while net.believes(a, "b") is not None:
            levels.append(phi_of(net, a, "b"))
            net.run(0.1)
        assert max(levels) > 7
        assert levels.index(max(levels)) >= len(levels) - 6

    @pytest.mark.parametrize("tolerance", [1.0, 4.0, 8.0])
    def test_as_long_as_the_configuration_says(self, tolerance: float) -> None:
        net = Net(silence_tolerance=tolerance)
        a, b, c = net.cluster("a", "b", "c")
        net.run(10)
        net.lose_host(b)
        took = seconds_until_gone(net, "b", [a, c])
        assert took is not None
        assert tolerance <= took <= 1.5 * tolerance + 2.5

    def test_that_ends_in_time_costs_nothing(self, net: Net) -> None:
        nodes = net.cluster("a", "b", "c")
        net.run(10)
        net.forget_events()
        net.pause(nodes[1], 1.2)
        net.run(20)
        for node in nodes:
            assert net.events(node, MemberFailed) == []

    def test_that_ends_after_a_suspicion_is_a_recovery(self, net: Net) -> None:
        a, b, c = net.cluster("a", "b", "c")
        net.run(10)
        net.forget_events()
        net.pause(b, 30)
        assert net.run_until(lambda: bool(net.events(a, MemberSuspected)), 10)
        net._processes[b.address].paused_until = net.now
        net.run(3)
        assert len(net.events(a, MemberRecovered)) == 1
        assert net.events(a, MemberFailed) == net.events(c, MemberFailed) == []

    def test_of_one_link_is_vetoed_by_an_observer_that_hears_the_member(self, net: Net) -> None:
        nodes = net.cluster(*"abcde")
        net.run(10)
        net.forget_events()
        net.split("a", "b")
        net.run(60)
        assert [net.events(node, MemberFailed) for node in nodes] == [[]] * 5


class TestKernel:
    def test_a_process_that_is_gone_is_noticed_much_sooner(self, net: Net) -> None:
        nodes = net.cluster(*"abcd")
        net.run(10)
        net.kill(nodes[1])
        took = seconds_until_gone(net, "b", [nodes[0], *nodes[2:]])
        assert took is not None
        assert took <= 2.0
        reasons = {
            event.reason for node in (nodes[0], *nodes[2:]) for event in net.events(node, MemberFailed)
        }
        assert reasons == {"process-gone"}

    def test_one_refusal_is_not_enough(self, net: Net) -> None:
        a, b, c = net.cluster("a", "b", "c")
        net.run(10)
        net.forget_events()
        a.receive_refusal(b.address, net.now)
        net.drain(a)
        net.run(5)
        assert net.events(a, MemberFailed) == net.events(c, MemberFailed) == []

    def test_refusals_of_a_member_that_answers_the_others_are_not_believed(self, net: Net) -> None:
        """Forged, or of a middlebox: whoever hears the member objects."""
        nodes = net.cluster(*"abcd")
        net.run(10)
        net.forget_events()
        for _ in range(20):
            nodes[0].receive_refusal(nodes[1].address, net.now)
            net.drain(nodes[0])
            net.run(0.2)
        assert [net.events(node, MemberFailed) for node in nodes] == [[]] * 4

    def test_of_addresses_of_nobody_are_ignored(self, net: Net) -> None:
        a, _b = net.cluster("a", "b")
        net.forget_events()
        a.receive_refusal(address_of("x"), net.now)
        a.receive_kernel_answer(address_of("x"), net.now)
        a.receive_stream_end("x", "PUPPET00", net.now)
        net.drain(a)
        assert net.events(a) == []

    def test_a_process_that_is_paused_is_waited_for_longer(self, net: Net) -> None:
        """Its kernel answers, it does not."""
        a, b, c = net.cluster("a", "b", "c")
        answering(net, b.address, a, c)
        net.run(10)
        net.forget_events()
        net.pause(b, 10)
        for _ in range(100):
            answering(net, b.address, a, c)
            net.run(0.1)
        net.run(5)
        assert net.events(a, MemberFailed) == net.events(c, MemberFailed) == []
        assert net.believes(a, "b") is MemberState.ALIVE

    def test_but_not_for_ever(self, net: Net) -> None:
        a, b, c = net.cluster("a", "b", "c")
        answering(net, b.address, a, c)
        net.run(10)
        net.pause(b, 60)
        began = net.now
        while not gone(net, "b", a, c) and net.now < began + 40:
            answering(net, b.address, a, c)
            net.run(0.1)
        assert 14 <= net.now - began <= 20

    def test_a_stream_that_closes_is_looked_into_at_once(self, net: Net) -> None:
        a, b, c = net.cluster("a", "b", "c")
        net.run(10)
        net.sent.clear()
        a.receive_stream_end("b", b.boot, net.now)
        net.drain(a)
        assert [sent for sent in net.sent if sent.target == b.address]
        net.run(5)
        assert net.believes(a, "b") is net.believes(c, "b") is MemberState.ALIVE

    def test_streams_are_kept_to_the_own_members_that_are_observed(self, net: Net) -> None:
        a, b = net.cluster("a", "b")
        net.puppet("f", own=False).join(a)
        net.run(3)
        assert a.streams_to_keep(net.now) == (b.address,)
        net.kill(b)
        net.run(10)
        assert a.streams_to_keep(net.now) == ()


def answering(net: Net, address: object, *nodes: Node) -> None:
    for node in nodes:
        node.receive_kernel_answer(address, net.now)  # type: ignore[arg-type]
        net.drain(node)


class TestLastSurvivors:
    """Observers that died together must not leave a survivor waiting for their votes for ever."""

    @pytest.mark.parametrize(
        ("names", "seconds"), [("ab", 20), ("abc", 20), ("abcde", 20), ("abcdefgh", 20), ("abcdefghij", 40)]
    )
    def test_the_last_one_whose_hosts_are_lost(self, net: Net, names: str, seconds: float) -> None:
        """Of more than it has observed, it looks at the rest when the first are given up."""
        nodes = net.cluster(*names)
        net.run(10)
        for node in nodes[:-1]:
            net.lose_host(node)
        last = nodes[-1]
        assert net.run_until(lambda: len(last.members()) == 1, seconds)
        assert last.leader == last.me

    @pytest.mark.parametrize("names", ["ab", "abc", "abcde", "abcdefghij"])
    def test_the_last_one_whose_processes_were_killed(self, net: Net, names: str) -> None:
        nodes = net.cluster(*names)
        net.run(10)
        for node in nodes[:-1]:
            net.kill(node)
        assert net.run_until(lambda: len(nodes[-1].members()) == 1, 6)

    def test_two_of_many(self, net: Net) -> None:
        nodes = net.cluster(*"abcdefgh")
        net.run(10)
        for node in nodes[2:]:
            net.lose_host(node)
        assert net.run_until(lambda: all(len(node.members()) == 2 for node in nodes[:2]), 40)

    def test_in_a_cluster_of_two_the_verdict_is_not_sent(self, net: Net) -> None:
        a, b = net.cluster("a", "b")
        net.run(5)
        net.split("a", "b")
        net.run(20)
        assert gone(net, "b", a)
        assert gone(net, "a", b)
        net.sent.clear()
        net.heal()
        net.run(15)
        assert net.said(Dead) == []
        assert len(a.members()) == len(b.members()) == 2


class TestTheSick:
    """Who must not be able to remove the healthy."""

    def healthy_ones_given_up(self, net: Net, nodes: list[Node], sick: str) -> list[str]:
        return [
            event.member.name
            for node in nodes
            if node.name not in sick
            for event in net.events(node, MemberFailed)
            if event.member.name not in sick
        ]

    def test_a_deaf_one(self, net: Net) -> None:
        nodes = net.cluster(*"abcdefgh")
        net.run(10)
        net.forget_events()
        net.cut("abcdefg", "h")
        net.run(30)
        assert self.healthy_ones_given_up(net, nodes, "h") == []
        assert gone(net, "h", *nodes[:-1]), "it is removed, though it goes on sending"

    def test_a_dumb_one(self, net: Net) -> None:
        nodes = net.cluster(*"abcdefgh")
        net.run(10)
        net.forget_events()
        net.cut("h", "abcdefg")
        net.run(30)
        assert self.healthy_ones_given_up(net, nodes, "h") == []
        assert gone(net, "h", *nodes[:-1])

    def test_a_minority(self, net: Net) -> None:
        nodes = net.cluster(*"abcdefgh")
        net.run(10)
        net.forget_events()
        net.cut("abcdef", "gh")
        net.run(25)
        assert self.healthy_ones_given_up(net, nodes, "gh") == []

    def test_one_that_loses_most_packets_is_removed_for_its_quality_or_kept_but_nobody_else(
        self, net: Net
    ) -> None:
        nodes = net.cluster(*"abcdef")
        net.run(10)
        net.forget_events()
        real = net.passes
        net.passes = lambda source, target: (  # type: ignore[method-assign]
            real(source, target) and not (address_of("f") in (source, target) and net.rng.random() < 0.6)
        )
        net.run(60)
        assert self.healthy_ones_given_up(net, nodes, "f") == []


class TestMembersThatNeverAnswered:
    """Without keys anybody can make them up, and others that would have to vote about them."""

    @pytest.mark.parametrize(("names", "count"), [("ab", 4), ("abcde", 12)])
    def test_are_gone_soon_after_the_tolerance_although_they_are_most_of_those_that_are_observed(
        self, net: Net, names: str, count: int
    ) -> None:
        nodes = net.cluster(*names)
        net.run(10)
        net.forget_events()
        model = net.puppet("m")
        for number in range(count):
            host, port = pack_host(f"10.9.0.{number + 1}"), 7946
            made_up = replace(model.alive(), node=f"q{number}", address=host, port=port)
            told, other = nodes[number % len(nodes)], nodes[(number + 1) % len(nodes)]
            net.tell(told, made_up, other.address)
        net.run(0.5)
        assert max(len(node.members()) for node in nodes) == len(names) + count
        assert net.run_until(lambda: all(len(node.members()) == len(names) for node in nodes), 6)
        failed = [event.member.name for node in nodes for event in net.events(node, MemberFailed)]
        assert all(name.startswith("q") for name in failed)

    def test_one_that_cannot_hear_gives_up_none_of_them(self, net: Net) -> None:
        """Its own links are at fault: it has heard the others talk, but never an answer."""
        nodes = net.cluster(*"abcde")
        late = net.start("f", "a")
        net.streams_work = False
        net.passes = lambda source, target: late.address != target  # type: ignore[method-assign]
        net.run(10)
        assert [event for node in (*nodes, late) for event in net.events(node, MemberFailed)] == []

    def test_one_that_is_cut_off_before_anybody_has_answered_it_waits_for_longer(self, net: Net) -> None:
        """Where nobody at all answers, the fault is more probably its own than that all were made up."""
        net.cluster("a", "b")
        late = net.start("c", "a")
        assert net.run_until(lambda: len(late.members()) == 3, 1)
        net.split("ab", "c")
        assert not any(watch.ever_heard for watch in late._probing.subjects.values())
        net.run(5)
        assert net.events(late, MemberFailed) == []


class TestMessages:
    def test_of_strangers_and_foreign_members_do_not_count(self, net: Net) -> None:
        a, b, _c = net.cluster("a", "b", "c")
        stranger = net.puppet("x")
        foreign = net.puppet("f", own=False).join(a)
        net.forget_events()
        for puppet in (stranger, foreign):
            for kind in ObserverKind:
                puppet.tell(a, ObserverMessage(kind, "b", b.me.incarnation, 100_000, 1, True))
        net.run(5)
        assert net.events(a, (MemberFailed, MemberSuspected)) == []
        assert a.dropped["stranger"] == 2 * len(ObserverKind)

    def test_whoever_observes_a_member_no_more_suspects_it_no_more(self) -> None:
        """What one observer suspects is no news, so nobody would ever tell it that the member answers."""
        net = Net(rings=1, fanout=1)
        *_, e, f = net.cluster(*"abcdef")
        assert list(f._probing.subjects) == ["e"]
        net.pause(e, 12.0)

        def state() -> MemberState:
            record = f._table.get("e")
            assert record is not None
            return record.state

        assert net.run_until(lambda: state() is MemberState.SUSPECT, 10.0)
        net.start("g", "a")  # it stands between the two on the ring
        assert net.run_until(lambda: list(f._probing.subjects) == ["g"], 1.0)
        assert state() is MemberState.ALIVE

    def test_a_hint_makes_an_observer_look_and_nothing_more(self, net: Net) -> None:
        a, b, c = net.cluster("a", "b", "c")
        net.run(5)
        net.forget_events()
        net.tell(a, net.message(c, a, ObserverKind.HINT, b, age_ms=0xFFFF_FFFF), c.address)
        net.run(5)
        assert net.events(a, (MemberFailed, MemberSuspected)) == []

    def test_a_poll_about_one_that_answers_is_vetoed(self, net: Net) -> None:
        a, b, c = net.cluster("a", "b", "c")
        net.run(5)
        net.sent.clear()
        net.tell(a, net.message(c, a, ObserverKind.POLL, b, round=7), c.address)
        net.run(2)
        said = [(message.kind, message.round) for _, message in net.said(ObserverMessage, by=a, to=c.address)]
        assert said == [(ObserverKind.VETO, 7)]

    def test_an_observer_that_asks_about_the_dead_is_told(self, net: Net) -> None:
        a, b, c = net.cluster("a", "b", "c")
        net.kill(b)
        net.run(10)
        net.sent.clear()
        net.tell(a, net.message(c, a, ObserverKind.POLL, b, round=7), c.address)
        assert [dead.node for _, dead in net.said(Dead, by=a, to=c.address)] == ["b"]

    def test_agreement_that_nobody_asked_for_kills_nobody(self, net: Net) -> None:
        a, b, c = net.cluster("a", "b", "c")
        net.run(5)
        net.forget_events()
        for number in range(50):
            net.tell(a, net.message(c, a, ObserverKind.AGREE, b, round=number, certain=True), c.address)
        net.run(5)
        assert net.events(a, MemberFailed) == []

    @pytest.mark.parametrize("others_lose", [False, True])
    def test_loss_that_others_have_too_is_no_ground_even_among_few_probes(
        self, net: Net, others_lose: bool
    ) -> None:
        a, *_ = net.cluster(*"abcdef")
        net.run(5)
        for name, subject in a._probing.subjects.items():
            for turn in range(30 if name == "f" else 4):
                subject.loss.add(turn % 3 > 0 if name == "f" else others_lose and turn < 2)
        net.sent.clear()
        net.cut("f", "a")
        assert net.run_until(lambda: phi_of(net, a, "f") > 0.1, 10.0)
        net.heal()
        net.run(1)
        votes = [said for _, said in net.said(ObserverMessage, by=a) if said.kind is ObserverKind.LOSSY]
        assert bool(votes) is not others_lose

    def test_one_voice_about_loss_kills_nobody(self, net: Net) -> None:
        nodes = net.cluster("a", "b", "c", "d")
        net.run(5)
        net.forget_events()
        for _ in range(50):
            net.tell(
                nodes[0], net.message(nodes[2], nodes[0], ObserverKind.LOSSY, nodes[1]), nodes[2].address
            )
        net.run(5)
        assert net.events(nodes[0], MemberFailed) == []

    def test_about_unknown_members_they_do_no_harm(self, net: Net) -> None:
        a, b = net.cluster("a", "b")
        for kind in ObserverKind:
            a.receive_datagram(net.codec.part(ObserverMessage(kind, "nobody", 1)), b.address, net.now)
        net.drain(a)
        net.run(1)


def test_foreign_members_that_fall_silent_are_given_up() -> None:
    net = Net()
    a, b = net.cluster("a", "b")
    foreign = net.puppet("f", own=False).join(a, b)
    net.run(10)
    foreign.mute = True
    assert net.run_until(lambda: gone(net, "f", a, b), 25)


def test_a_foreign_suspicion_of_one_that_lives_comes_to_nothing() -> None:
    net = Net()
    a, b, c = net.cluster("a", "b", "c")
    foreign = net.puppet("f", own=False).join(a, b, c)
    net.run(5)
    net.forget_events()
    foreign.tell(a, Suspect("b", b.me.incarnation, "f"))
    net.run(3)
    for node in (a, c):
        assert net.events(node, MemberFailed) == []
        assert net.believes(node, "b") is MemberState.ALIVE


class TestExplain:
    def test_a_member_that_answers(self, net: Net) -> None:
        a, *_ = net.cluster("a", "b", "c")
        net.run(10)
        said = explained(net, a, "b")
        assert said.member in a.members()
        assert said.member.name == "b"
        assert sorted(said.observers) == ["a", "c"]
        assert said.observed_here
        assert (said.phi, said.silence, said.accusers, said.loss < 0.05) == (0.0, 0.0, {}, True)
        assert said.last_heard is not None
        assert 0.0 <= said.last_heard <= 2.0
        assert said.round_trip is not None
        assert said.refutations == 0

    def test_one_that_is_silent_and_which_observer_says_so(self, net: Net) -> None:
        a, b, _c = net.cluster("a", "b", "c")
        net.run(10)
        net.lose_host(b)
        assert net.run_until(lambda: bool(explained(net, a, "b").accusers), 10)
        said = explained(net, a, "b")
        assert said.silence > 0
        assert said.phi > 0
        assert set(said.accusers) == {"c"}
        assert said.kernel == "unknown"
        net.run(10)
        assert a.explain("b", net.now) is None

    def test_the_round_trip_is_the_last_one(self, net: Net) -> None:
        a, *_ = net.cluster("a", "b")
        net.run(10)
        usual = explained(net, a, "b").round_trip
        assert usual is not None
        a._probing.subjects["b"].round_trip.add(0.9)
        assert explained(net, a, "b").round_trip == 0.9
        net.run(2)
        assert explained(net, a, "b").round_trip == pytest.approx(usual)

    @pytest.mark.parametrize("lie", [Suspect, Dead])
    def test_refutations_are_counted(self, net: Net, lie: type[Suspect | Dead]) -> None:
        a, b, c = net.cluster("a", "b", "c")
        for count in (1, 2):
            net.run(10)
            a.receive_datagram(net.codec.part(lie("b", b.me.incarnation, "c")), c.address, net.now)
            net.drain(a)
            net.run(5)
            assert net.believes(a, "b") is not None
            assert explained(net, a, "b").refutations == count
        net.lose_host(b)
        net.run(10)
        a._table.forget("b")
        assert a._table.refutations == {}


class TestMembersThatAreStartedAnewElsewhere:
    """Most hosts are lost at once, and processes of the same names come up at other addresses."""

    def lost(self, net: Net, *, unanswered_s: float = 0.0, left_s: float = 0.5) -> Node:
        """The one that is left, a moment later. For a while before, the others may not have heard it."""
        a, b, c = net.cluster("a", "b", "c")
        net.run(5.0)
        if unanswered_s:
            net.cut("a", "bc")
            net.run(unanswered_s)
        net.lose_host(b)
        net.lose_host(c)
        net.run(left_s)
        return a

    def ask(
        self, net: Net, node: Node, seconds: float, boots: str = "SUCCESSOR SUCCESSOR", age_s: float = 0.0
    ) -> None:
        """They ask to be let in, again and again."""
        end = net.now + seconds
        while net.now < end:
            clock_ms = int((EPOCH + net.now - age_s) * 1000)
            for name, boot in zip("bc", boots.split(), strict=True):
                head = PushPullHead(name=name, boot=boot.encode(), port=7946, clock_ms=clock_ms, joining=True)
                node.receive_request(PushPull((), head=head), Address("10.9.9.9", 9), net.now)
                net.drain(node)
            net.run(0.25)

    def present(self, node: Node) -> str:
        return "".join(member.name for member in node.members())

    def test_are_given_up_as_soon_as_one_would_be(self, net: Net) -> None:
        a = self.lost(net)
        self.ask(net, a, 4.5)
        assert self.present(a) == "a"

    def test_are_given_up_also_by_one_that_they_talked_to_without_answering(self, net: Net) -> None:
        a = self.lost(net, unanswered_s=3.0, left_s=0.0)
        self.ask(net, a, 4.5)
        assert self.present(a) == "a"

    def test_else_it_may_be_the_one_that_is_left_that_hears_nobody(self, net: Net) -> None:
        a = self.lost(net)
        net.run(10.0)
        assert self.present(a) == "abc"

    def test_but_not_if_somebody_repeats_what_was_asked_long_ago(self, net: Net) -> None:
        a = self.lost(net)
        self.ask(net, a, 6.0, age_s=86_400.0)
        assert self.present(a) == "abc"

    def test_but_not_if_it_is_the_member_itself_that_asks(self, net: Net) -> None:
        a = self.lost(net)
        self.ask(net, a, 6.0, boots=f"{a.boot_of('b')} {a.boot_of('c')}")
        assert self.present(a) == "abc"

    def test_but_not_before_they_were_silent_for_as_long_as_any(self, net: Net) -> None:
        a = self.lost(net)
        self.ask(net, a, 1.25)
        assert self.present(a) == "abc"

    def test_and_nobody_is_given_up_sooner_for_it(self, net: Net) -> None:
        a, b, c = net.cluster("a", "b", "c")
        net.run(5.0)
        self.ask(net, a, 5.0)
        assert self.present(a) == "abc"
        net.lose_host(c)
        self.ask(net, a, 1.5)
        assert self.present(a) == "abc"
        assert net.believes(a, b.name) is MemberState.ALIVE
