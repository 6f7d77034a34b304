"""Pings, acks and ping-reqs: who asks whom, when, and what is answered."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from swim.events import MemberFailed, MemberSuspected
from swim.protocol.node import Node
from swim.protocol.view.identity import pack_id
from swim.types import Address
from swim.wire import pack_host
from swim.wire.messages import Ack, Alive, Nack, Ping, PingReq
from tests.protocol.fakes import Net, Puppet, address_of


@pytest.fixture
def net() -> Net:
    return Net()


@pytest.fixture
def node(net: Net) -> Node:
    return net.start("a")


class TestAnswers:
    def answers(self, net: Net, puppet: Puppet, node: Node, ping: Ping) -> list[Ack]:
        puppet.received.clear()
        puppet.tell(node, ping)
        net.run(0.005)
        return puppet.heard(Ack)

    @pytest.mark.parametrize("name", ["", "a"])
    def test_to_its_name_or_none(self, net: Net, node: Node, name: str) -> None:
        assert [ack.seq for ack in self.answers(net, net.puppet("p"), node, Ping(9, name))] == [9]

    def test_not_to_another_name(self, net: Net, node: Node) -> None:
        """Another process had this address before; its death must not be hidden."""
        assert self.answers(net, net.puppet("p").join(node), node, Ping(9, "b")) == []
        assert node.dropped["ping-name"] == 1

    def test_to_a_foreign_ping_as_memberlist_answers(self, net: Net, node: Node) -> None:
        (ack,) = self.answers(net, net.puppet("p", own=False).join(node), node, Ping(9, "a"))
        assert ack == Ack(9)
        assert not ack.bare, "the payload is nil, not absent"

    @pytest.mark.parametrize("asks_by_name", [False, True])
    def test_to_one_of_ours_with_boot_and_turn(self, net: Net, node: Node, asks_by_name: bool) -> None:
        puppet = net.puppet("p").join(node)
        source = "p" if asks_by_name else ""
        (ack,) = self.answers(
            net, puppet, node, Ping(9, "a", source_node=source, sender_id=pack_id(puppet.id))
        )
        assert ack.sender_id == (pack_id(node.me.id or "") if asks_by_name else b"")
        assert len(ack.boot) == 8
        assert 0 < ack.wait_ms <= 1_500

    def test_to_every_one_of_many(self, net: Net, node: Node) -> None:
        puppet = net.puppet("p").join(node)
        for seq in range(600):
            puppet.tell(node, Ping(seq, "a"))
        net.run(0.005)
        assert [ack.seq for ack in puppet.heard(Ack) if ack.seq < 600] == list(range(600))

    def test_ping_and_ack_of_ours_are_small(self, net: Net) -> None:
        """memberlist's are about 90 bytes together, with short names."""
        a, b = net.cluster("a", "b")
        net.run(20)
        net.sent.clear()
        net.run(10)
        sizes = [
            sum(len(sent.data) for sent, _ in net.said(kind, by=node)) / len(net.said(kind, by=node))
            for kind, node in ((Ping, a), (Ack, b))
        ]
        assert sum(sizes) < 90


class TestTurns:
    def arrivals(self, net: Net, target: Node, seconds: float) -> list[float]:
        return [sent.when for sent, _ in net.said(Ping, to=target.address) if sent.when > net.now - seconds]

    @pytest.mark.parametrize("names", ["abc", "abcde", "abcdefghij"])
    def test_the_observers_of_a_member_ping_it_evenly(self, net: Net, names: str) -> None:
        nodes = net.cluster(*names)
        net.run(45)
        for target in nodes:
            when = self.arrivals(net, target, 30)
            gaps = [later - earlier for earlier, later in itertools.pairwise(when)]
            assert max(gaps) < 1.3, target.name
            assert 28 <= len(when) <= 33

    def test_so_does_every_single_one_in_its_turn(self, net: Net) -> None:
        nodes = net.cluster(*"abcd")
        net.run(60)
        target = nodes[0]
        for source in nodes[1:]:
            when = [sent.when for sent, _ in net.said(Ping, by=source, to=target.address)][-8:]
            gaps = [later - earlier for earlier, later in itertools.pairwise(when)]
            assert all(gap == pytest.approx(3.0, abs=0.3) for gap in gaps)

    @pytest.mark.parametrize("wait_ms", [1, 0xFFFF_FFFF])
    def test_a_subject_cannot_shake_its_observers_off_nor_drive_them(
        self, net: Net, node: Node, wait_ms: int
    ) -> None:
        class Liar(Puppet):
            def receive(self, data: bytes, source: Address) -> None:
                for message in self.net.codec.open_packet(data).messages:
                    self.received.append((self.net.now, message))
                    if isinstance(message, Ping):
                        self.tell(node, Ack(message.seq, boot=self.boot.encode(), wait_ms=wait_ms, bare=True))

        liar = Liar(net, "p")
        net._puppets[liar.address] = liar
        liar.join(node)
        net.run(5)
        liar.received.clear()
        net.run(40)
        assert 20 <= len(liar.heard(Ping)) <= 161

    def test_foreign_members_share_one_ping_a_second(self, net: Net, node: Node) -> None:
        puppets = [net.puppet(f"f{n}", own=False).join(node) for n in range(5)]
        net.run(10)
        for puppet in puppets:
            puppet.received.clear()
        net.run(50)
        counts = [len(puppet.heard(Ping)) for puppet in puppets]
        assert all(8 <= count <= 12 for count in counts)

    def test_nobody_takes_the_dead_for_subjects(self, net: Net) -> None:
        """They are only asked whether they live: see `Search`."""
        c = net.cluster("a", "b", "c")[-1]
        net.kill(c)
        net.run(10)
        net.sent.clear()
        net.run(20)
        assert all(ping.source_node for _, ping in net.said(Ping, to=address_of("c")))


class TestHelp:
    @pytest.fixture
    def member(self, net: Net, node: Node) -> Puppet:
        return net.puppet("m").join(node)

    @pytest.fixture
    def target(self, net: Net, node: Node) -> Puppet:
        return net.puppet("t").join(node)

    def request(self, target: Puppet, seq: int = 500, *, nack: bool = False) -> PingReq:
        return PingReq(seq, target.name, pack_host(target.address.host), target.address.port, nack)

    def test_a_member_is_pinged_for_another_and_its_ack_handed_on(
        self, net: Net, node: Node, member: Puppet, target: Puppet
    ) -> None:
        net.run(0.1)
        target.received.clear()
        member.tell(node, self.request(target))
        net.run(0.01)
        assert [ping.node for ping in target.heard(Ping)] == ["t"]
        (ack,) = [ack for ack in member.heard(Ack) if ack.seq == 500]
        assert (ack.payload, ack.boot) == (None, target.boot.encode())

    def test_a_nack_comes_when_asked_for_and_only_then(
        self, net: Net, node: Node, member: Puppet, target: Puppet
    ) -> None:
        target.mute = True
        member.tell(node, self.request(target, 501, nack=True), self.request(target, 502))
        net.run(0.49)
        assert member.heard(Nack) == []
        net.run(0.1)
        assert member.heard(Nack) == [Nack(501)]

    def test_no_nack_after_an_ack(self, net: Net, node: Node, member: Puppet, target: Puppet) -> None:
        member.tell(node, self.request(target, 501, nack=True))
        net.run(2)
        assert member.heard(Nack) == []

    def test_a_request_that_comes_by_udp_and_over_the_stream_is_one(
        self, net: Net, node: Node, member: Puppet, target: Puppet
    ) -> None:
        net.run(0.1)
        target.received.clear()
        for seq in (500, 500, 501):
            member.tell(node, self.request(target, seq))
            net.run(0.01)
        assert len([ping for ping in target.heard(Ping) if ping.node == "t"]) == 2
        assert [ack.seq for ack in member.heard(Ack) if ack.seq in (500, 501)] == [500, 501]

    def test_a_ping_over_the_stream_is_answered_there_and_one_by_udp_both_ways(
        self, net: Net, node: Node, member: Puppet
    ) -> None:
        record = node._table.get("m")
        assert record is not None
        net.drain(node)
        for streamed in (True, False):
            packet = [Ping(7, node.name, sender_id=pack_id(record.id))]
            node._reception.receive(packet, record.address, 100, net.now, streamed=streamed)
            out = node.drain()
            assert (len(out.datagrams), len(out.stream_packets)) == ((0, 1) if streamed else (1, 1))

    def test_strangers_are_not_helped_and_nobody_is_asked_about_strangers(
        self, net: Net, node: Node, member: Puppet, target: Puppet
    ) -> None:
        stranger = net.puppet("x")
        net.run(0.1)
        target.received.clear()
        stranger.tell(node, self.request(target))
        member.tell(node, self.request(stranger))
        net.run(0.05)
        assert not [ping for ping in target.heard(Ping) if ping.seq == 500]
        assert stranger.heard(Ping) == []
        assert (node.dropped["stranger"], node.dropped["ping-req-target"]) == (1, 1)

    def test_nobody_is_pinged_by_another_name_than_that_of_the_member_at_the_address(
        self, net: Net, node: Node, member: Puppet, target: Puppet
    ) -> None:
        net.run(0.1)
        target.received.clear()
        member.tell(node, replace(self.request(target), node="m"))
        net.run(0.05)
        assert target.heard(Ping) == []
        assert node.dropped["ping-req-target"] == 1

    def test_many_requests_are_not_kept_for_ever(
        self, net: Net, node: Node, member: Puppet, target: Puppet
    ) -> None:
        target.mute = True
        for seq in range(3_000):
            member.tell(node, self.request(target, seq))
        assert node.dropped["relays-max"] > 1_000
        net.run(1)
        assert len(node._probing._relays) < 10

    def test_a_link_that_is_cut_is_bridged(self, net: Net) -> None:
        nodes = net.cluster(*"abcd")
        net.run(3)
        net.forget_events()
        net.split("a", "b")
        net.run(60)
        for each in nodes:
            assert net.events(each, MemberFailed) == []
        assert not net.events(nodes[2], MemberSuspected)


class TestAcks:
    def test_of_nobodys_ping_do_nothing(self, net: Net, node: Node) -> None:
        puppet = net.puppet("p").join(node)
        net.forget_events()
        for seq in (0, 1, 0xFFFF_FFFF):
            puppet.tell(node, Ack(seq))
        assert net.events(node) == []

    def test_twice_count_once(self, net: Net, node: Node) -> None:
        puppet = net.puppet("p", mute=True).join(node)
        net.run_until(lambda: bool(puppet.heard(Ping)), 3)
        seq, before = puppet.heard(Ping)[-1].seq, node._probing.acks
        puppet.tell(node, Ack(seq), Ack(seq))
        assert node._probing.acks == before + 1
        assert net.events(node, MemberFailed) == []

    def test_of_another_process_are_the_end_of_the_one_before(self, net: Net, node: Node) -> None:
        """A fast restart must not keep the old process alive."""
        puppet = net.puppet("p").join(node)
        net.run(3)
        puppet.boot = "BOOT0002"
        net.run(2)
        (event,) = net.events(node, MemberFailed)
        assert event.reason == "process-gone"

    def test_without_a_boot_they_are_taken_as_they_are(self, net: Net, node: Node) -> None:
        """An ack that somebody else handed on, or that had no room for it."""
        puppet = net.puppet("p", mute=True).join(node)
        net.run_until(lambda: bool(puppet.heard(Ping)), 3)
        puppet.tell(node, Ack(puppet.heard(Ping)[-1].seq, bare=True))
        net.run(0.05)
        assert net.events(node, MemberFailed) == []

    def test_news_alone_does_not_stand_in_for_one(self, net: Net, node: Node) -> None:
        """A deaf member goes on sending."""
        other = net.puppet("o").join(node)
        puppet = net.puppet("p", mute=True).join(node)
        for incarnation in range(2, 120):
            puppet.tell(node, replace(puppet.alive(), incarnation=incarnation), Ping(incarnation, "a"))
            net.run(0.25)
        assert net.events(node, MemberSuspected)
        assert other.heard(Alive)


def test_numbers_of_pings_differ_from_process_to_process() -> None:
    """Not to be guessed by whoever would forge an ack."""
    firsts = set()
    for seed in range(5):
        net = Net(seed=seed)
        node = net.start("a")
        puppet = net.puppet("p").join(node)
        net.run(2)
        firsts.add(puppet.heard(Ping)[0].seq)
    assert len(firsts) == 5
