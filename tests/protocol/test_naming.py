"""Two live processes under one name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swim.errors import NameConflict
from swim.events import MemberFailed
from swim.protocol.identity import pack_id
from swim.protocol.node import Node, Phase
from swim.types import Address
from swim.wire import pack_host
from swim.wire.messages import Ack, Alive, Ping
from tests.protocol.fakes import Net, Puppet

ELSEWHERE = Address("10.0.9.9", 7946)


@pytest.fixture
def net() -> Net:
    return Net()


class Rivals:
    """`a` and the first `n` on one side of a partition, `b` and the second `n` on the other."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self.first = net.start("n")
        self.a = net.start("a", [self.first.address])
        net.run(1)
        net.forget_events()
        self.b = net.start("b")
        self.second = net.start("n", [self.b.address], address=ELSEWHERE)
        net.run(3)
        assert self.second.phase is Phase.MEMBER
        assert self.first.me.id < self.second.me.id

    def meet(self, *, seconds: float = 20) -> None:
        self.a.sync(self.b.address, self.net.now)
        self.net.drain(self.a)
        self.net.run(seconds)


class TestConflictAfterJoining:
    def test_the_later_one_gives_way(self, net: Net) -> None:
        rivals = Rivals(net)
        rivals.meet()
        assert rivals.second.phase is Phase.FAILED
        assert isinstance(rivals.second.failure, NameConflict)
        assert str(rivals.first.address) in str(rivals.second.failure)
        assert rivals.first.phase is Phase.MEMBER

    def test_the_one_that_stays_is_seen_by_everybody(self, net: Net) -> None:
        rivals = Rivals(net)
        rivals.meet(seconds=60)
        for node in (rivals.first, rivals.a, rivals.b):
            seen = [(m.address, m.id) for m in node.members() if m.name == "n"]
            assert seen == [(rivals.first.address, rivals.first.me.id)], node.name

    def test_nothing_is_overwritten_meanwhile(self, net: Net) -> None:
        rivals = Rivals(net)
        net.forget_events()
        rivals.meet(seconds=0.5)
        assert [m.address for m in rivals.a.members() if m.name == "n"] == [rivals.first.address]
        assert net.events(rivals.a, MemberFailed) == []

    def test_it_is_the_same_when_the_two_meet_directly(self, net: Net) -> None:
        rivals = Rivals(net)
        rivals.first.sync(rivals.second.address, net.now)
        net.drain(rivals.first)
        net.run(5)
        assert (rivals.first.phase, rivals.second.phase) == (Phase.MEMBER, Phase.FAILED)

    def test_a_founder_is_found_out_as_well(self, net: Net) -> None:
        first, second = net.start("n"), net.start("n", address=ELSEWHERE)
        net.run(0.1)
        earlier, later = sorted((first, second), key=lambda node: node.me.id)
        earlier.sync(later.address, net.now)
        net.drain(earlier)
        net.run(5)
        assert (earlier.phase, later.phase) == (Phase.MEMBER, Phase.FAILED)


class TestClaims:
    """News of another process under a node's own name."""

    @pytest.fixture
    def node(self, net: Net) -> Node:
        return net.start("a")

    @pytest.fixture
    def teller(self, net: Net, node: Node) -> Puppet:
        puppet = net.puppet("m").join(node)
        net.run(5)
        return puppet

    def claim(self, rival: Puppet, incarnation: int = 1) -> Alive:
        return replace(rival.alive(), node="a", incarnation=incarnation)

    def test_hearsay_is_never_enough(self, net: Net, node: Node, teller: Puppet) -> None:
        """The address may be that of a process long gone, and the news as old."""
        silent = net.puppet("r", mute=True, id="0" * 26)
        teller.tell(node, self.claim(silent))
        net.run(5)
        assert node.phase is Phase.MEMBER
        assert [ping.node for ping in silent.heard(Ping)] == ["a"]

    def test_when_nobody_answers_there_the_claim_is_outbid(
        self, net: Net, node: Node, teller: Puppet
    ) -> None:
        silent = net.puppet("r", mute=True)
        teller.tell(node, self.claim(silent, 30))
        assert node.me.incarnation == 1
        net.run(5)
        assert node.me.incarnation == 31
        assert max(alive.incarnation for alive in teller.heard(Alive) if alive.node == "a") == 31

    def test_one_address_is_asked_once_at_a_time(self, net: Net, node: Node, teller: Puppet) -> None:
        silent = net.puppet("r", mute=True)
        for incarnation in range(1, 20):
            teller.tell(node, self.claim(silent, incarnation))
        net.run(0.5)
        assert len(silent.heard(Ping)) == 1
        net.run(5)
        teller.tell(node, self.claim(silent, 100))
        net.run(0.5)
        assert len(silent.heard(Ping)) == 2

    def test_this_node_itself_at_another_of_its_addresses_is_no_rival(
        self, net: Net, node: Node, teller: Puppet
    ) -> None:
        net._processes[ELSEWHERE] = net._processes[node.address]
        rival = net.puppet("r")
        teller.tell(node, replace(self.claim(rival), address=pack_host(ELSEWHERE.host), port=ELSEWHERE.port))
        net.run(5)
        assert node.phase is Phase.MEMBER

    @pytest.mark.parametrize("id", ["6" + "Z" * 25, ""], ids=["later", "none"])
    def test_a_rival_that_came_later_is_no_reason_to_go(
        self, net: Net, node: Node, teller: Puppet, id: str
    ) -> None:
        rival = Rival(net, "r", id)
        teller.tell(node, self.claim(rival))
        net.run(3)
        assert rival.heard(Ping)
        assert node.phase is Phase.MEMBER

    def test_one_that_came_earlier_is(self, net: Net, node: Node, teller: Puppet) -> None:
        rival = Rival(net, "r", "0" * 26)
        teller.tell(node, self.claim(rival))
        net.run(3)
        assert node.phase is Phase.FAILED


class Rival(Puppet):
    """Answers pings under another's name, and shows this id."""

    def __init__(self, net: Net, name: str, shown: str) -> None:
        super().__init__(net, name)
        self._shown = pack_id(shown) if shown else b""
        net._puppets[self.address] = self

    def receive(self, data: bytes, source: Address) -> None:
        for message in self.net.codec.open_packet(data).messages:
            self.received.append((self.net.now, message))
            if isinstance(message, Ping):
                ack = Ack(message.seq, sender_id=self._shown, boot=self.boot.encode(), bare=True)
                self.tell(self.net._processes[source].node, ack)
