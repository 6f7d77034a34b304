"""Two live processes under one name."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from swim.errors import NameConflict
from swim.events import MemberFailed, NameDisputed
from swim.protocol.node import Node, Phase
from swim.protocol.view.identity import mint_id, pack_id
from swim.types import Address
from swim.wire import pack_host
from swim.wire.addresses import pack_addresses
from swim.wire.messages import Ack, Alive, Ping, Standing
from tests.protocol.fakes import Net, Puppet, read

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


@pytest.mark.parametrize("stays", [True, False])
def test_a_node_that_stood_still_as_it_heard_that_its_name_is_taken_asks_again(net: Net, stays: bool) -> None:
    member, first = net.cluster("a", "n")
    second = net.start("n", [member.address], address=ELSEWHERE)
    asked = (second.name, first.address)
    assert net.run_until(lambda: asked in [each[1:] for each in net.requested], 5)
    net.pause(second, 20)
    net.run(1)
    if not stays:
        first.leave(net.now)
        net.drain(first)
    net.run(40)
    assert second.phase is (Phase.FAILED if stays else Phase.MEMBER)


class TestSuccessor:
    """A member that was given up, and another process that took its name."""

    def woken(self, net: Net) -> tuple[Node, Node, Node]:
        """The member that stays, the first `n`, which was paused for long, and the second."""
        a, n = net.cluster("a", "n")
        net.pause(n, 60)
        net.run(30)
        second = net.start("n", [a.address], address=ELSEWHERE)
        net.run(5)
        assert second.phase is Phase.MEMBER
        net.run(25)
        return a, n, second

    def test_the_one_that_was_given_up_ends(self, net: Net) -> None:
        a, n, second = self.woken(net)
        n.sync(a.address, net.now)
        net.drain(n)
        net.run(10)
        assert (n.phase, second.phase) == (Phase.FAILED, Phase.MEMBER)
        assert "took it when this one was given up" in str(n.failure)
        assert [(m.address, m.id) for m in a.members() if m.name == "n"] == [(ELSEWHERE, second.me.id)]


def standing(boot: str, since: str, heir: str = "") -> Standing:
    return Standing(boot.encode(), pack_id(since), pack_id(heir))


@pytest.mark.parametrize("seed", range(200))
def test_of_two_exactly_one_stays_as_both_compute_it(seed: int) -> None:
    rng = random.Random(seed)
    net = Net()
    nodes = [net.make("n"), net.make("n", address=ELSEWHERE)]
    times = [rng.randrange(3) for _ in nodes]
    for node, time in zip(nodes, times, strict=True):
        node._own.since = mint_id(time, rng)
        heir = rng.randrange(4)
        node._own.heir = mint_id(heir, rng) if heir < 3 else ""
    stays = []
    for node, other in (nodes, nodes[::-1]):
        theirs = other._own
        stays.append(node._naming._stays(theirs.since, standing(theirs.boot, theirs.since, theirs.heir)))
    assert sorted(stays) == [False, True]


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
        assert silent.calls() == ["a"]

    def test_when_nobody_answers_there_the_claim_is_outbid(
        self, net: Net, node: Node, teller: Puppet
    ) -> None:
        silent = net.puppet("r", mute=True)
        teller.tell(node, self.claim(silent, 30))
        assert node.me.incarnation == 1
        net.run(5)
        assert node.me.incarnation == 31
        assert max(alive.incarnation for alive in teller.heard(Alive) if alive.node == "a") == 31
        assert node.me.id > silent.id, "or those who believed in the other would go on to"

    def test_one_address_is_called_once_at_a_time(self, net: Net, node: Node, teller: Puppet) -> None:
        silent = net.puppet("r", mute=True)
        net._lost.add(silent.address)
        del net._puppets[silent.address]
        before = len(net.requested)
        for incarnation in range(1, 20):
            teller.tell(node, self.claim(silent, incarnation))
        net.run(5)
        assert [address for _, _, address in net.requested[before:]].count(silent.address) == 1

    def test_this_node_itself_at_another_of_its_addresses_is_no_rival(
        self, net: Net, node: Node, teller: Puppet
    ) -> None:
        net._processes[ELSEWHERE] = net._processes[node.address]
        rival = net.puppet("r")
        teller.tell(node, replace(self.claim(rival), address=pack_host(ELSEWHERE.host), port=ELSEWHERE.port))
        net.run(15)
        assert node.phase is Phase.MEMBER
        assert net.events(node, NameDisputed) == []

    @pytest.mark.parametrize("since", ["6" + "Z" * 25, ""], ids=["later", "no member"])
    def test_a_rival_that_has_to_give_way_is_no_reason_to_go(
        self, net: Net, node: Node, teller: Puppet, since: str
    ) -> None:
        rival = Rival(net, "r", since)
        teller.tell(node, self.claim(rival))
        rival.call(node)
        net.run(30)
        assert rival.calls()
        assert node.phase is Phase.MEMBER

    def test_one_that_came_earlier_and_has_called_this_node_itself_is(
        self, net: Net, node: Node, teller: Puppet
    ) -> None:
        rival = Rival(net, "r", "0" * 26)
        teller.tell(node, self.claim(rival))
        rival.call(node)
        net.run(3)
        assert node.phase is Phase.FAILED

    def test_it_need_not_be_told_by_anybody_else(self, net: Net, node: Node) -> None:
        """It calls, and is called where it says to be."""
        rival = Rival(net, "r", "0" * 26)
        rival.call(node)
        net.run(3)
        assert node.phase is Phase.FAILED

    def test_it_takes_the_place_of_one_that_was_given_up(self, net: Net, node: Node) -> None:
        rival = Rival(net, "r", "6" + "Z" * 25, heir=node.me.id)
        rival.call(node)
        net.run(3)
        assert node.phase is Phase.FAILED

    def test_an_answer_that_is_read_after_a_pause_is_asked_for_again(self, net: Net, node: Node) -> None:
        rival = Rival(net, "r", "0" * 26)
        rival.call(node)
        net.pause(node, 5)
        net.run(1)
        assert rival.calls() == ["a"]
        del net._puppets[rival.address]
        net.run(10)
        assert node.phase is Phase.MEMBER

    def test_answers_that_take_long_each_time_are_believed_in_the_end(self, net: Net, node: Node) -> None:
        rival = Rival(net, "r", "0" * 26)
        rival.call(node)
        for _ in range(20):
            if node.phase is Phase.MEMBER:
                net.pause(node, 2)
                net.run(2.001)
        assert node.phase is Phase.FAILED
        assert len(rival.calls()) > 6

    def test_one_that_only_answers_ends_nothing_and_is_told_of_once(
        self, net: Net, node: Node, teller: Puppet
    ) -> None:
        """It may have heard the name, and made up the rest."""
        rival = Rival(net, "r", "0" * 26)
        for _ in range(100):
            teller.tell(node, self.claim(rival))
            net.run(1)
        assert node.phase is Phase.MEMBER
        assert [event.address for event in net.events(node, NameDisputed)] == [rival.address]
        assert len(rival.calls()) <= 12, "and no word of others makes a node call again and again"

    @pytest.mark.parametrize("echo", [b"", b"12345678"])
    def test_nor_does_one_that_makes_up_what_it_was_given(
        self, net: Net, node: Node, teller: Puppet, echo: bytes
    ) -> None:
        rival = Rival(net, "r", "0" * 26)
        rival.echo = echo
        teller.tell(node, self.claim(rival))
        net.run(30)
        assert node.phase is Phase.MEMBER

    def test_what_one_process_was_given_is_of_no_use_to_another(
        self, net: Net, node: Node, teller: Puppet
    ) -> None:
        rival, thief = Rival(net, "r", "0" * 26), Rival(net, "t", "0" * 26, boot="THIEF000")
        rival.mute = True
        rival.call(node)
        thief.echo = rival.echo
        teller.tell(node, self.claim(thief))
        net.run(30)
        assert node.phase is Phase.MEMBER

    def test_a_foreign_process_of_this_name_is_told_of_and_lived_with(
        self, net: Net, node: Node, teller: Puppet
    ) -> None:
        rival = net.puppet("a", own=False, address=ELSEWHERE)
        teller.tell(node, rival.alive())
        net.run(60)
        assert node.phase is Phase.MEMBER
        assert [event.address for event in net.events(node, NameDisputed)] == [ELSEWHERE]

    def test_one_push_with_an_entry_for_each_node_and_an_ack_ends_nothing(self, net: Net) -> None:
        nodes = net.cluster("a", "b", "c", "d")
        stranger = Impostor(net, "x")
        entries = [stranger.state(), *(stranger.state(name=node.name, incarnation=9) for node in nodes)]
        for node in nodes:
            stranger.push(node, *entries)
        net.run(60)
        assert [node.phase for node in nodes] == [Phase.MEMBER] * 4
        assert all(len(node.members()) >= 4 for node in nodes)

    def test_many_claims_cost_few_calls(self, net: Net, node: Node, teller: Puppet) -> None:
        before = len(net.requested)
        for number in range(500):
            claim = replace(self.claim(teller), address=pack_host(f"10.9.{number >> 8}.{number & 255}"))
            teller.tell(node, claim)
            net.run(0.01)
        net.run(5)
        assert len(net.requested) - before < 30


class Rival(Puppet):
    """A process of the name `a` that has been a member since then, at its own address."""

    def __init__(self, net: Net, name: str, since: str, heir: str = "", boot: str = "PUPPET00") -> None:
        super().__init__(net, name, boot=boot)
        self.echo = b""
        self._since, self._heir = since, heir
        net._puppets[self.address] = self

    def _standing(self) -> Standing:
        return replace(
            standing(self.boot, self._since, self._heir),
            id=pack_id(self._since),
            address=pack_addresses([self.address]),
            echo=self.echo,
        )

    def answer_ping(self, ping: Ping) -> Ack | None:
        return None if self.mute else Ack(ping.seq, standing=self._standing())

    def call(self, node: Node) -> None:
        """Ask the node itself, over TCP, and keep what it gives."""
        ping = Ping(7, "a", source_node="a", standing=self._standing())
        content = node.receive_request(read(self.net.codec.stream(ping)), self.address, self.net.now)
        self.net.drain(node)
        assert content is not None
        ack = read(content, answering=True)
        assert isinstance(ack, Ack)
        assert ack.standing is not None
        self.echo = ack.standing.token


class Impostor(Puppet):
    """Acks pings under any name, by UDP and by TCP."""

    def __init__(self, net: Net, name: str) -> None:
        super().__init__(net, name, id="0" * 26)
        net._puppets[self.address] = self

    def answer_ping(self, ping: Ping) -> Ack | None:
        return Ack(ping.seq, sender_id=bytes(16), boot=self.boot.encode())

    def receive(self, data: bytes, source: Address) -> None:
        for message in self.net.codec.open_packet(data).messages:
            if isinstance(message, Ping):
                ack = Ack(message.seq, sender_id=bytes(16), boot=self.boot.encode(), bare=True)
                self.tell(self.net._processes[source].node, ack)
