"""The node as a whole: its phases, its verbs, its farewell."""

from __future__ import annotations

import pytest

from swim.errors import SwimError
from swim.events import (
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberRecovered,
    MemberSuspected,
    MemberUpdated,
)
from swim.protocol.node import Node, Phase
from swim.types import Address
from swim.wire import Codec, DecodeError, Keyring
from swim.wire.messages import Ack, Alive, Dead, ErrorMessage, Ping, PushPull, UserMessage
from tests.protocol.fakes import Net, read


@pytest.fixture
def net() -> Net:
    return Net()


class TestPhases:
    def test_a_new_node_does_nothing(self, net: Net) -> None:
        node = net.make("a")
        assert node.phase is Phase.NEW
        assert node.next_deadline() is None
        node.receive_datagram(net.codec.part(Ping(1)), Address("10.0.0.2", 1), net.now)
        assert node.receive_request(PushPull(()), Address("10.0.0.2", 1), net.now) is None
        assert node.drain().datagrams == []
        assert node.me.id is None

    def test_from_new_to_left(self, net: Net) -> None:
        founder = net.start("a")
        node = net.make("b")
        seen = [node.phase]
        node.start([founder.address], net.now)
        seen.append(node.phase)
        net.drain(node)
        net.run(1)
        seen.append(node.phase)
        node.leave(net.now)
        seen.append(node.phase)
        net.drain(node)
        net.run(1)
        seen.append(node.phase)
        assert seen == [Phase.NEW, Phase.JOINING, Phase.MEMBER, Phase.LEAVING, Phase.LEFT]

    def test_outputs_are_drained_once(self, net: Net) -> None:
        node = net.make("a")
        net.start("b")
        node.start([Address("10.0.0.98", 7946)], net.now)
        assert len(node.drain().requests) == 1
        assert node.drain().requests == []
        node = net.make("c")
        node.start([], net.now)
        assert len(node.drain().events) == 1
        assert node.drain().events == []

    def test_the_members_come_in_the_order_of_joining_foreign_ones_last(self, net: Net) -> None:
        nodes = net.cluster("c", "b", "a")
        net.puppet("0", own=False).join(*nodes)
        for node in nodes:
            assert [member.name for member in node.members()] == ["c", "b", "a", "0"]

    def test_one_run_is_like_another(self) -> None:
        """The same seed, the same bytes."""

        def trace() -> list[bytes]:
            net = Net(seed=9)
            net.cluster("a", "b", "c")
            net.run(20)
            return [sent.data for sent in net.sent]

        assert trace() == trace()


class TestLeaving:
    def test_is_seen_as_such_at_once(self, net: Net) -> None:
        a, b, c = net.cluster("a", "b", "c")
        net.forget_events()
        c.leave(net.now)
        net.drain(c)
        net.run(0.02)
        for node in (a, b):
            (event,) = net.events(node, (MemberLeft, MemberFailed))
            assert isinstance(event, MemberLeft)
        net.run(20)
        assert len(net.events(a)) == len(net.events(b)) == 1

    def test_a_farewell_that_is_lost_once_is_said_again(self, net: Net) -> None:
        a, b = net.cluster("a", "b")
        net.cut("b", "a")
        b.leave(net.now)
        net.drain(b)
        net.run(0.02)
        net.heal()
        net.run(0.3)
        assert len(net.events(a, MemberLeft)) == 1

    @pytest.mark.parametrize("keyed", [False, True])
    def test_is_asked_whether_it_has_said_farewell_unless_only_key_holders_can_say_so(
        self, net: Net, monkeypatch: pytest.MonkeyPatch, keyed: bool
    ) -> None:
        monkeypatch.setattr(Codec, "keyed", property(lambda codec: keyed))
        a, b, c = net.cluster("a", "b", "c")
        net.run(5)
        net.sent.clear()
        c.leave(net.now)
        net.drain(c)
        net.run(0.02)
        assert [len(net.events(node, MemberLeft)) for node in (a, b)] == [1, 1]
        assert any(sent.target == c.address for sent in net.sent) is not keyed

    def test_takes_its_time_so_that_the_farewell_arrives_and_answers_meanwhile(self, net: Net) -> None:
        puppet = net.puppet("p")
        node = net.start("a")
        puppet.join(node)
        began = net.now
        node.leave(net.now)
        net.drain(node)
        puppet.tell(node, Ping(77, "a"))
        net.run(0.01)
        assert [ack.seq for ack in puppet.heard(Ack)] == [77]
        net.run_until(lambda: node.phase is Phase.LEFT, 5)
        assert net.now - began == pytest.approx(0.3, abs=0.01)

    def test_alone_it_is_over_at_once(self, net: Net) -> None:
        node = net.start("a")
        node.leave(net.now)
        net.drain(node)
        net.run(0.0)
        assert node.phase is Phase.LEFT

    def test_before_joining_it_is_over_at_once(self, net: Net) -> None:
        node = net.start("a", "x")
        node.leave(net.now)
        assert node.phase is Phase.LEFT

    def test_a_node_that_left_is_silent(self, net: Net) -> None:
        _a, b = net.cluster("a", "b")
        b.leave(net.now)
        net.drain(b)
        net.run(1)
        b.receive_datagram(net.codec.part(Ping(1)), Address("10.0.0.2", 1), net.now)
        assert b.receive_request(PushPull(()), Address("10.0.0.2", 1), net.now) is None
        assert b.drain().datagrams == []
        assert b.next_deadline() is None

    def test_what_the_application_does_meanwhile_does_not_call_it_back(self, net: Net) -> None:
        a, b = net.cluster("a", "b")
        b.leave(net.now)
        net.drain(b)
        net.run(0.01)
        b.set_tags({"role": "db"}, net.now)
        net.drain(b)
        net.run(0.1)
        assert net.believes(a, "b") is None

    def test_twice_is_as_good_as_once(self, net: Net) -> None:
        a, b = net.cluster("a", "b")
        b.leave(net.now)
        net.drain(b)
        net.run(0.01)
        b.leave(net.now)
        net.drain(b)
        net.run(1)
        assert b.phase is Phase.LEFT
        assert len(net.events(a, MemberLeft)) == 1

    def test_a_node_that_leaves_is_not_the_one_to_join_through(self, net: Net) -> None:
        a, b = net.cluster("a", "b")
        b.leave(net.now)
        net.drain(b)
        joiner = net.start("c", "b")
        net.run(0.3)
        joiner.set_seeds([a.address], net.now)
        net.run(10)
        assert net.believes(joiner, "b") is None
        assert net.events(joiner, MemberFailed) == []

    def test_everybody_may_leave_at_once(self, net: Net) -> None:
        nodes = net.cluster(*"abcde")
        for node in nodes:
            node.leave(net.now)
            net.drain(node)
        net.run(2)
        assert {node.phase for node in nodes} == {Phase.LEFT}

    def test_one_that_left_may_come_back(self, net: Net) -> None:
        a, b = net.cluster("a", "b")
        b.leave(net.now)
        net.drain(b)
        net.run(2)
        net.forget_events()
        again = net.start("b", "a")
        net.run(2)
        assert again.phase is Phase.MEMBER
        assert [event.member.id for event in net.events(a, MemberJoined)] == [again.me.id]


class TestStreams:
    @pytest.fixture
    def node(self, net: Net) -> Node:
        return net.start("a")

    SOMEBODY = Address("10.0.0.2", 40_000)

    @pytest.mark.parametrize("name", ["", "a"])
    def test_a_ping_is_answered(self, net: Net, node: Node, name: str) -> None:
        content = node.receive_request(Ping(7, name), self.SOMEBODY, net.now)
        assert content is not None
        assert read(content, answering=True) == Ack(7)

    def test_a_ping_to_somebody_else_is_not(self, net: Net, node: Node) -> None:
        assert node.receive_request(Ping(7, "b"), self.SOMEBODY, net.now) is None

    @pytest.mark.parametrize("message", [Ack(1), UserMessage(b"x"), ErrorMessage("no")])
    def test_other_messages_are_not_answered(self, net: Net, node: Node, message: Ack) -> None:
        assert node.receive_request(message, self.SOMEBODY, net.now) is None

    def test_what_cannot_be_decoded_is_answered_with_an_error(self, net: Net, node: Node) -> None:
        content = node.receive_bad_stream(DecodeError("type", "what is this"), self.SOMEBODY, net.now)
        assert content is not None
        answer = read(content, answering=True)
        assert isinstance(answer, ErrorMessage)
        assert "what is this" in answer.text
        assert node.dropped["stream-type"] == 1

    def test_with_a_key_it_says_in_clear_only_that_keys_or_labels_differ(self, net: Net) -> None:
        net.codec = Codec(keyring=Keyring([bytes(16)], random_bytes=bytes))
        node = net.start("a")
        assert node.receive_bad_stream(DecodeError("body", "secret"), self.SOMEBODY, net.now) is None
        for reason in ("plaintext", "decrypt", "label"):
            content = node.receive_bad_stream(DecodeError(reason), self.SOMEBODY, net.now)
            assert content is not None
            answer = Codec().stream_decoder(answering=True).feed(content)
            assert isinstance(answer, ErrorMessage)
            assert answer.text == reason
            with pytest.raises(DecodeError, match=f"in clear: {reason}") as caught:
                net.codec.stream_decoder(answering=True).feed(content)
            assert caught.value.reason == "refused"

    def test_the_operator_of_a_node_is_told_of_another_key_once_an_hour(self, net: Net, node: Node) -> None:
        sealed = Codec(keyring=Keyring([bytes(16)], random_bytes=bytes))
        net.codec = Codec(keyring=Keyring([bytes(32)], random_bytes=bytes))
        keyed = net.start("k")
        packet = sealed.packet([sealed.part(Ping(1))])
        for _ in range(5):
            keyed.receive_datagram(packet, self.SOMEBODY, net.now)
        (warning,) = keyed.drain().warnings
        assert warning.startswith(f"{self.SOMEBODY.host} sends what none of this node's keys opens")
        keyed.receive_datagram(packet, self.SOMEBODY, net.now + 3_601)
        assert len(keyed.drain().warnings) == 1

    def test_strangers_cannot_fill_the_log_with_warnings(self, net: Net) -> None:
        net.codec = Codec(keyring=Keyring([bytes(32)], random_bytes=bytes))
        node = net.start("k")
        for number in range(1_000):
            source = Address(f"10.0.{number // 250}.{number % 250}", 7946)
            node.receive_bad_stream(DecodeError("plaintext"), source, net.now)
        assert len(node.drain().warnings) == 16

    @pytest.mark.parametrize(
        ("outcome", "problem"),
        [
            (None, "no answer in time"),
            (ConnectionRefusedError("refused"), "refused"),
            (ConnectionResetError(), "ConnectionResetError"),
            (ErrorMessage("encryption is not configured"), "encryption is not configured"),
            (DecodeError("label", "another label"), "label: another label"),
        ],
    )
    def test_why_a_request_failed_is_said_in_a_line(
        self, net: Net, node: Node, outcome: object, problem: str
    ) -> None:
        token = node.sync(self.SOMEBODY, net.now)
        assert node.receive_answer(token, outcome, net.now) == problem  # type: ignore[arg-type]

    def test_a_request_that_went_well_has_no_problem(self, net: Net) -> None:
        a, b = net.start("a"), net.start("b")
        token = a.sync(b.address, net.now)
        (request,) = a.drain().requests
        assert request.token == token
        answer = b.receive_request(read(request.content), a.address, net.now)
        assert answer is not None
        assert a.receive_answer(token, read(answer, answering=True), net.now) is None
        assert {member.name for member in a.members()} == {"a", "b"}

    def test_an_answer_nobody_asked_for_does_no_harm(self, net: Net, node: Node) -> None:
        node.receive_answer(12_345, PushPull(()), net.now)
        node.receive_answer(12_345, None, net.now)
        assert node.phase is Phase.MEMBER


class TestTime:
    def test_a_machine_that_slept_does_not_accuse_everybody(self, net: Net) -> None:
        nodes = net.cluster("a", "b", "c", "d")
        net.run(5)
        net.forget_events()
        for node in nodes:
            net.pause(node, 60)
        net.run(70)
        for node in nodes:
            assert net.events(node, MemberFailed) == []

    def test_nor_does_one_node_that_slept_accuse_the_others(self, net: Net) -> None:
        nodes = net.cluster("a", "b", "c", "d")
        net.run(5)
        net.forget_events()
        net.pause(nodes[2], 30)
        net.run(45)
        assert net.events(nodes[2], (MemberFailed, MemberSuspected)) == []
        assert all(len(node.members()) == 4 for node in nodes)

    def test_timers_never_stand_still(self, net: Net) -> None:
        """No deadline that is due again and again at the same time."""
        net.cluster("a", "b", "c")
        net.run(30)
        node = net.node("a")
        for _ in range(200):
            deadline = node.next_deadline()
            assert deadline is not None
            net.run(max(0.0, deadline - net.now))
        assert net.now > 130

    def test_a_quiet_cluster_stays_quiet(self, net: Net) -> None:
        nodes = net.cluster("a", "b", "c", "d", "e")
        net.run(10)
        net.forget_events()
        net.sent.clear()
        net.run(60)
        for node in nodes:
            assert net.events(node) == []
        per_node_and_second = len(net.sent) / 60 / 5
        assert per_node_and_second < 2.3, "a ping and an ack"
        assert sum(len(sent.data) for sent in net.sent) / len(net.sent) < 110

    def test_in_heavy_loss_nobody_is_given_up(self, net: Net) -> None:
        nodes = net.cluster("a", "b", "c", "d", "e")
        net.run(5)
        net.forget_events()
        net.lossy = 0.2
        net.run(120)
        for node in nodes:
            assert net.events(node, MemberFailed) == []


def test_of_an_unknown_member_nothing_is_explained() -> None:
    net = Net()
    assert net.start("a").explain("nobody", net.now) is None


def test_bad_options_raise_at_once() -> None:
    net = Net()
    with pytest.raises(ValueError, match="pinned id"):
        net.make("a", pinned_id="no good")
    with pytest.raises(ValueError, match="network"):
        net.make("a", networks=["10.0.0.0/99"])


def test_a_member_that_answers_from_another_address_is_still_known() -> None:
    """NAT, or a machine with several cards."""
    net = Net()
    node = net.start("a")
    puppet = net.puppet("p", mute=True).join(node)
    outside = net.puppet("o", address=Address("198.51.100.7", 999))
    net.run_until(lambda: bool(puppet.heard(Ping)), 3)
    outside.tell(node, Ack(puppet.heard(Ping)[-1].seq))
    assert net.events(node, MemberRecovered) == []
    outside.tell(node, puppet.alive(incarnation=2))
    assert [member.incarnation for member in node.members() if member.name == "p"] == [2]


def test_errors_are_of_one_family() -> None:
    assert issubclass(DecodeError, SwimError)


def test_a_dead_message_to_a_node_that_is_gone_reaches_its_address() -> None:
    net = Net()
    a, b = net.cluster("a", "b")
    teller = net.puppet("m").join(a, b)
    net.sent.clear()
    teller.tell(a, Dead("b", 1, "m"))
    assert [message.node for _, message in net.said(Dead, by=a, to=b.address)] == ["b"]
    net.run(0.5)
    assert [message.incarnation for _, message in net.said(Alive, by=b)][-1] >= 2


class TestMoving:
    """A process whose host gets another address while it runs."""

    ELSEWHERE = Address("10.0.9.9", 7946)

    def test_all_find_it_at_the_new_address_and_nobody_gives_it_up(self, net: Net) -> None:
        nodes = net.cluster(*"abcdefgh")
        net.run(3)
        net.forget_events()
        net.move(nodes[0], self.ELSEWHERE)
        net.run(0.5)
        for node in nodes:
            (moved,) = net.events(node, MemberUpdated)
            assert (moved.member.name, moved.member.address) == ("a", self.ELSEWHERE)
            assert node.leader == moved.member, "it leads where it led"
        net.run(20)
        assert [event for node in nodes for event in net.events(node, (MemberFailed, MemberJoined))] == []

    def test_one_that_was_given_up_before_it_noticed_is_back_at_the_new_address(self, net: Net) -> None:
        nodes = net.cluster(*"abcde")
        net.run(3)
        rest = [node.name for node in nodes[1:]]
        net.split("a", "".join(rest))
        assert net.run_until(lambda: all(len(node.members()) == 4 for node in nodes[1:]), 10)
        net.heal()
        net.move(nodes[0], self.ELSEWHERE)
        found = net.run_until(
            lambda: all(any(member.address == self.ELSEWHERE for member in node.members()) for node in nodes),
            5,
        )
        assert found

    def test_a_node_that_has_not_joined_yet_does_so_from_there(self, net: Net) -> None:
        seed, node = net.start("a"), net.start("b", [Address("10.0.0.99", 1)])
        net.move(node, self.ELSEWHERE)
        node.set_seeds([seed.address], net.now)
        assert net.run_until(lambda: node.phase is Phase.MEMBER, 5)
        assert net.run_until(lambda: len(seed.members()) == 2, 5)
        assert node.me.address == self.ELSEWHERE
