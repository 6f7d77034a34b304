"""Who leads: the rule, what is solo, and the traces that broke simpler rules."""

from __future__ import annotations

import itertools
import random

import pytest

from swim.events import LeaderChanged
from swim.protocol.node import Node, Phase
from swim.protocol.view.identity import is_minted
from swim.wire.messages import Dead
from tests.protocol.fakes import Net, Puppet, address_of


@pytest.fixture
def net() -> Net:
    return Net()


def leader(node: Node) -> str | None:
    return node.leader.name if node.leader else None


def agree(*nodes: Node) -> bool:
    return len({(n.leader.name, n.leader.id) if n.leader else None for n in nodes}) == 1


class Watch:
    """Looks at the nodes again and again: what must hold of leaders and floors at every moment."""

    def __init__(self, net: Net, *nodes: Node) -> None:
        self.net = net
        self.nodes = list(nodes)
        self.floors = {node.name: "" for node in nodes}

    def run(self, seconds: float) -> None:
        end = self.net.now + seconds
        while self.net.now < end:
            self.net.run(min(0.05, end - self.net.now))
            self.look()

    def look(self) -> None:
        for node in self.nodes:
            if (
                node.phase is not Phase.MEMBER
                or self.net._processes[node.address].paused_until > self.net.now
            ):
                continue
            floor = self.floors[node.name]
            assert node.floor >= floor, f"{node.name}: the floor went back"
            self.floors[node.name] = node.floor
            assert node.me.id is not None
            assert node.me.id >= node.floor, f"{node.name} stays below its floor"
            if node.leader is not None and is_minted(node.leader.id):
                assert node.leader.id >= node.floor, f"{node.name} follows one below its floor"


def told(net: Net, *nodes: Node) -> Puppet:
    """A member that they all know, and that tells what it is told to tell."""
    puppet = net.puppet("z~teller").join(*nodes)
    net.run(3)
    return puppet


class TestRule:
    def test_the_first_to_join_leads_for_all(self, net: Net) -> None:
        nodes = net.cluster("c", "a", "b")
        assert [leader(node) for node in nodes] == ["c"] * 3
        assert all(node.floor == nodes[0].me.id for node in nodes)

    def test_a_change_is_reported_with_both(self, net: Net) -> None:
        a, b, c = net.cluster("a", "b", "c")
        before = a.me
        net.kill(a)
        net.run(10)
        for node in (b, c):
            (_, change) = net.events(node, LeaderChanged)
            assert (change.previous.id, change.leader.id) == (before.id, b.me.id)

    def test_a_suspected_leader_leads_on(self, net: Net) -> None:
        a, b = net.cluster("a", "b")
        net.pause(a, 1.0)
        net.run(0.9)
        assert leader(b) == "a"

    def test_one_that_left_does_not(self, net: Net) -> None:
        a, b, c = net.cluster("a", "b", "c")
        a.leave(net.now)
        net.drain(a)
        net.run(0.1)
        assert leader(b) == leader(c) == "b"

    def test_a_restarted_leader_comes_back_as_a_regular_member(self, net: Net) -> None:
        a, b, c = net.cluster("a", "b", "c")
        net.kill(a)
        net.run(10)
        again = net.start("a", "bc")
        net.run(5)
        assert [leader(node) for node in (again, b, c)] == ["b"] * 3

    def test_even_when_it_restarts_faster_than_anybody_notices(self, net: Net) -> None:
        a, b, c = net.cluster("a", "b", "c")
        net.kill(a)
        again = net.start("a", "bc")
        net.run(5)
        assert [leader(node) for node in (again, b, c)] == ["b"] * 3

    def test_a_paused_leader_comes_back_as_a_regular_member(self, net: Net) -> None:
        a, b, c = net.cluster("a", "b", "c")
        watch = Watch(net, a, b, c)
        net.pause(a, 20)
        watch.run(40)
        assert agree(a, b, c)
        assert leader(a) == "b"

    def test_a_leader_that_was_cut_off_comes_back_as_a_regular_member(self, net: Net) -> None:
        nodes = net.cluster("a", "b", "c", "d")
        watch = Watch(net, *nodes)
        net.split("a", "bcd")
        watch.run(30)
        assert [leader(node) for node in nodes] == ["a", "b", "b", "b"]
        net.heal()
        watch.run(30)
        assert [leader(node) for node in nodes] == ["b"] * 4

    def test_a_false_verdict_costs_the_lead_but_not_the_membership(self, net: Net) -> None:
        a, b, c = net.cluster("a", "b", "c")
        teller = told(net, a, b, c)
        for node in (b, c):
            teller.tell(node, Dead("a", a.me.incarnation, "x"))
        net.run(5)
        assert all("a" in [m.name for m in node.members()] for node in (b, c))
        assert agree(a, b, c)

    def test_foreign_members_never_lead(self, net: Net) -> None:
        node = net.start("b")
        net.puppet("a", own=False).join(node)
        assert leader(node) == "b"

    def test_there_is_always_one(self, net: Net) -> None:
        """For a member that is not alone and has a floor."""
        a, b = net.cluster("a", "b")
        net.kill(a)
        net.run(10)
        assert leader(b) == "b"


class TestPinnedIds:
    def test_neither_obey_nor_raise_the_floor(self, net: Net) -> None:
        a = net.start("a")
        net.start("p", "a", pinned_id="00")
        net.run(1)
        assert leader(a) == "p"
        assert a.floor == "", "it has led alone only"

    def test_the_lowest_takes_the_lead_back(self, net: Net) -> None:
        a = net.start("a", pinned_id="1")
        b = net.start("b", "a", pinned_id="2")
        net.run(1)
        net.kill(a)
        net.run(10)
        assert leader(b) == "b"
        again = net.start("a", "b", pinned_id="1")
        net.run(3)
        assert leader(again) == leader(b) == "a"


class TestSolo:
    def test_one_of_two_leads_its_side_and_the_lower_leads_again(self, net: Net) -> None:
        a, b = net.cluster("a", "b")
        watch = Watch(net, a, b)
        floor = b.floor
        net.split("a", "b")
        watch.run(20)
        assert (leader(a), leader(b)) == ("a", "b")
        assert b.floor == floor
        net.heal()
        watch.run(20)
        assert (leader(a), leader(b)) == ("a", "a")

    def test_a_node_that_founded_alone_raises_no_floor_until_it_has_company(self, net: Net) -> None:
        a = net.start("a", "ab")
        net.run(3)
        assert leader(a) == "a"
        assert a.floor == ""
        b = net.start("b", "ab")
        net.run(3)
        assert a.floor == b.floor == a.me.id

    def test_when_it_meets_an_older_cluster_it_queues_behind(self, net: Net) -> None:
        lonely = net.start("a", "az")
        net.run(3)
        c, d = net.cluster("c", "d")
        assert lonely.me.id < c.me.id
        net.forget_events()
        lonely.sync(c.address, net.now)
        net.drain(lonely)
        net.run(5)
        assert [leader(node) for node in (lonely, c, d)] == ["c"] * 3
        assert net.events(c, LeaderChanged) == net.events(d, LeaderChanged) == []

    def test_the_same_when_it_is_found_by_it(self, net: Net) -> None:
        lonely = net.start("a", "az")
        net.run(3)
        c, d = net.cluster("c", "d")
        net.forget_events()
        c.sync(lonely.address, net.now)
        net.drain(c)
        net.run(5)
        assert [leader(node) for node in (lonely, c, d)] == ["c"] * 3
        assert net.events(c, LeaderChanged) == net.events(d, LeaderChanged) == []

    def test_of_two_that_founded_alone_the_lower_leads(self, net: Net) -> None:
        net.split("a", "b")
        a, b = net.start("a", "ab"), net.start("b", "ab")
        net.run(8)
        net.heal()
        net.run(15)
        assert leader(a) == leader(b) == "a"


class TestStall:
    @pytest.mark.parametrize(("seconds", "keeps"), [(1.0, True), (6.5, False)])
    def test_a_leader_that_stalled_for_long_queues_at_the_back(
        self, net: Net, seconds: float, keeps: bool
    ) -> None:
        """Even if nobody noticed."""
        node = net.start("a")
        puppet = net.puppet("p").join(node)
        net.run(3)
        before = node.me.id
        net.pause(node, seconds)
        puppet.mute = True
        net.run(seconds + 0.5)
        assert (node.me.id == before) is keeps

    def test_a_regular_member_that_stalled_keeps_its_place(self, net: Net) -> None:
        _a, b = net.cluster("a", "b")
        before = b.me.id
        net.pause(b, 6.5)
        net.run(10)
        assert b.me.id == before


class TestTraces:
    """One after the other, as they were found; 1 is `a`, 2 is `b` and so on."""

    def test_1_mutual_accusation_with_a_bystander(self, net: Net) -> None:
        a, b, c = net.cluster("a", "b", "c")
        teller = told(net, a, b, c)
        watch = Watch(net, a, b, c)
        net.split("a", "b")
        teller.tell(a, Dead("b", b.me.incarnation, "a"))
        teller.tell(b, Dead("a", a.me.incarnation, "b"))
        watch.run(10)
        net.heal()
        watch.run(20)
        assert agree(a, b, c)

    def test_2_stale_absolution(self, net: Net) -> None:
        a, b, c = net.cluster("a", "b", "c")
        teller = told(net, a, b, c)
        watch = Watch(net, a, b, c)
        net.pause(b, 8)
        for node in (a, c):
            teller.tell(node, Dead("b", b.me.incarnation, "x"))
        watch.run(0.5)
        net.pause(a, 7)
        teller.tell(c, Dead("a", a.me.incarnation, "x"))
        watch.run(0.5)
        assert leader(c) == "c"
        watch.run(20)
        assert agree(a, b, c)
        assert leader(c) == "c"

    def test_3_a_joiner_on_the_losing_side(self, net: Net) -> None:
        a, b = net.cluster("a", "b")
        net.run(3)
        net.split("ac", "bd")
        for node, other in ((a, b), (b, a)):
            news = Dead(other.name, other.me.incarnation, "x")
            node.receive_datagram(net.codec.part(news), other.address, net.now)
            net.drain(node)
        c, d = net.start("c", "a"), net.start("d", "b")
        net.run(3)
        assert [c.phase, d.phase] == [Phase.MEMBER] * 2
        watch = Watch(net, a, c, d)
        net.kill(b)
        watch.run(20)
        assert leader(d) == "d"
        net.heal()
        net.forget_events()
        watch.run(40)
        assert agree(a, c, d)
        assert leader(a) == "d"
        assert net.events(d, LeaderChanged) == []

    @pytest.mark.parametrize("order", list(itertools.permutations(["ab", "bc", "ac"], 2)), ids="-".join)
    def test_4_three_sides_that_heal_in_pairs(self, net: Net, order: tuple[str, str]) -> None:
        """In whatever order: the result is the same."""
        nodes = net.cluster("a", "b", "c")
        watch = Watch(net, *nodes)
        net.split("a", "b", "c")
        watch.run(30)
        assert [leader(node) for node in nodes] == ["a", "b", "c"]
        for one, other in map(tuple, order):
            net._cut -= {(one, other), (other, one)}
            watch.run(20)
        net.heal()
        watch.run(20)
        assert [leader(node) for node in nodes] == ["a"] * 3

    def test_5_a_deaf_newcomer(self, net: Net) -> None:
        a, b, c = net.cluster("a", "b", "c")
        net.run(3)
        watch = Watch(net, a, b, c)
        net.forget_events()
        net.cut("ab", "c")
        watch.run(40)
        net.heal()
        watch.run(30)
        assert agree(a, b, c)
        assert net.events(a, LeaderChanged) == net.events(b, LeaderChanged) == []

    def test_6_told_of_its_death_by_a_packet_that_was_lost(self, net: Net) -> None:
        a, b = net.cluster("a", "b")
        teller = told(net, a, b)
        net.cut("a", "b")
        teller.tell(a, Dead("b", b.me.incarnation, "x"))
        net.run(1)
        net.puppet("z~teller", mute=True)
        net.heal()
        assert net.run_until(lambda: net.believes(a, "b") is not None, 12)
        net.run(5)
        assert agree(a, b)

    @pytest.mark.parametrize("seed", range(8))
    def test_in_random_weather_the_floor_holds_and_calm_brings_agreement(self, seed: int) -> None:
        weather(seed)


def weather(seed: int) -> None:
    rng, net = random.Random(seed), Net(seed=seed)
    nodes = net.cluster("a", "b", "c", "d")
    watch = Watch(net, *nodes)
    for _ in range(8):
        what = rng.choice(["split", "cut", "heal", "pause", "tell", "calm"])
        one, other = rng.sample(nodes, 2)
        if what == "split":
            side = rng.sample("abcd", rng.randrange(1, 4))
            net.split("".join(side), "".join(name for name in "abcd" if name not in side))
        elif what == "cut":
            net.cut(one.name, other.name)
        elif what == "heal":
            net.heal()
        elif what == "pause":
            net.pause(one, rng.choice([0.5, 3, 8, 20]))
        elif what == "tell":
            news = Dead(other.name, other.me.incarnation, "x")
            one.receive_datagram(net.codec.part(news), address_of(other.name), net.now)
            net.drain(one)
        watch.run(rng.choice([0.1, 1, 5, 20]))
    net.heal()
    watch.run(300)  # who died again and again is held off for up to 240 s
    assert agree(*nodes), f"seed {seed}: {[leader(node) for node in nodes]}"
    assert all(len(node.members()) == 4 for node in nodes), f"seed {seed}"
