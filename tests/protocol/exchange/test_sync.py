"""Push/pull: what is told, how it is merged, and when it is asked for."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from swim.events import MemberFailed, MemberJoined, MemberLeft, MemberSuspected
from swim.protocol.exchange.sync import delegate_clash
from swim.protocol.node import Node
from swim.protocol.view.identity import unpack_id
from swim.types import Address, MemberState
from swim.wire.addresses import pack_places
from swim.wire.messages import Alive, Dead, Ping, PushPull, Suspect, WireState
from tests.protocol.fakes import PLAIN, SERF, Net, address_of, entry


@pytest.fixture
def net() -> Net:
    return Net()


@pytest.fixture
def node(net: Net) -> Node:
    return net.start("a")


class TestAnswer:
    def test_has_everybody_dead_ones_and_itself_too(self, net: Net, node: Node) -> None:
        gone, left = net.puppet("g").join(node), net.puppet("l").join(node)
        gone.mute = left.mute = True
        gone.tell(node, Dead("g", 1, "l"))
        left.tell(node, Dead("l", 1, "l"))
        net.run(0.3)
        answer = net.puppet("x").push(node)
        states = {each.name: each.state for each in answer.nodes}
        assert states == {"a": WireState.ALIVE, "g": WireState.DEAD, "l": WireState.LEFT}

    def test_says_for_how_many_seconds_somebody_has_been_gone(self, net: Net, node: Node) -> None:
        gone, here = net.puppet("g").join(node), net.puppet("h").join(node)
        gone.mute = True
        gone.tell(node, Dead("g", 1, "h"))
        net.run(7.5)
        ages = {each.name: each.age for each in here.push(node).nodes}
        assert (ages["a"], ages["g"], ages["h"]) == (0, 8, 0)

    def test_is_what_was_known_before_the_merge(self, net: Net, node: Node) -> None:
        newcomer = net.puppet("n")
        assert entry(newcomer.push(node), "n") is None
        assert entry(newcomer.push(node), "n") is not None

    def test_echoes_join(self, net: Net, node: Node) -> None:
        puppet = net.puppet("n")
        assert puppet.push(node, join=True).join
        assert not puppet.push(node, join=False).join

    def test_a_look_changes_nothing(self, net: Net, node: Node) -> None:
        puppet = net.puppet("n")
        content = node.receive_request(PushPull((), head=puppet.head()), puppet.address, net.now)
        assert content is not None
        assert len(node.members()) == 1
        assert net.events(node, MemberJoined) == []

    def test_a_push_pull_bears_name_boot_clock_and_floor(self, net: Net, node: Node) -> None:
        puppet = net.puppet("n").join(node)
        head = puppet.push(node).head
        assert head is not None
        assert (head.name, head.port, head.joining) == ("a", 7946, False)
        assert head.clock_ms == pytest.approx((1_700_000_000 + net.now) * 1000, abs=2)
        assert unpack_id(head.floor) == node.floor == node.me.id
        assert len(head.boot) == 8


class TestMerge:
    def test_alive_is_news(self, net: Net, node: Node) -> None:
        newcomer = net.puppet("n").join(node)
        assert net.believes(node, "n") is MemberState.ALIVE
        other = net.puppet("o").join(node)
        net.run(0.05)
        assert newcomer.name in [alive.node for alive in other.heard(Alive)]

    @pytest.mark.parametrize("own", [True, False])
    def test_a_death_in_it_is_a_suspicion(self, net: Net, node: Node, own: bool) -> None:
        """After a partition each side has given up the other: it can be refuted."""
        victim, teller = net.puppet("v").join(node), net.puppet("t", own=own).join(node)
        teller.push(node, teller.state(), victim.state(WireState.DEAD))
        assert net.believes(node, "v") is MemberState.SUSPECT
        assert len(net.events(node, MemberSuspected)) == 1
        net.run(0.01)
        assert "v" in [suspect.node for suspect in victim.heard(Suspect)], "the accused is told"

    def test_the_suspicion_of_a_foreign_member_is_one_too(self, net: Net, node: Node) -> None:
        victim, teller = net.puppet("v").join(node), net.puppet("f", own=False).join(node)
        teller.push(node, teller.state(), victim.state(WireState.SUSPECT))
        assert net.believes(node, "v") is MemberState.SUSPECT

    def test_the_suspicion_of_one_of_ours_is_its_own_affair(self, net: Net, node: Node) -> None:
        victim, teller = net.puppet("v").join(node), net.puppet("t").join(node)
        teller.push(node, teller.state(), victim.state(WireState.SUSPECT))
        assert net.believes(node, "v") is MemberState.ALIVE

    @pytest.mark.parametrize("own", [True, False])
    def test_one_that_left_left(self, net: Net, node: Node, own: bool) -> None:
        victim, teller = net.puppet("v").join(node), net.puppet("t", own=own).join(node)
        victim.mute = True
        teller.push(node, teller.state(), victim.state(WireState.LEFT))
        net.run(0.3)
        assert len(net.events(node, MemberLeft)) == 1

    def test_dead_members_that_were_never_known_are_remembered_and_not_reported(
        self, net: Net, node: Node
    ) -> None:
        teller, ghost = net.puppet("t"), net.puppet("g")
        teller.push(node, teller.state(), ghost.state(WireState.DEAD))
        assert net.events(node, MemberFailed) == []
        assert entry(teller.push(node), "g") is not None

    def test_they_count_as_gone_for_as_long_as_they_have_been(self, net: Net, node: Node) -> None:
        teller, ghost = net.puppet("t"), net.puppet("g")
        teller.push(node, teller.state(), ghost.state(WireState.DEAD, age=80_000))
        known = entry(teller.push(node), "g")
        assert known is not None
        assert 80_000 <= known.age <= 80_001
        net.run(6_500)
        assert entry(teller.push(node), "g") is None
        teller.push(node, teller.state(), ghost.state(WireState.DEAD, age=86_401))
        assert entry(teller.push(node), "g") is None

    def test_an_absurd_age_goes_no_further_than_the_wire_allows(self) -> None:
        net = Net(dead_retention=math.inf)
        node = net.start("a")
        teller, ghost = net.puppet("t"), net.puppet("g")
        teller.push(node, teller.state(), ghost.state(WireState.DEAD, age=2**32 - 1))
        net.run(10)
        known = entry(teller.push(node), "g")
        assert known is not None
        assert known.age == 2**32 - 1

    @pytest.mark.parametrize("state", [WireState.DEAD, WireState.LEFT])
    def test_a_node_that_is_gone_is_not_brought_back_by_a_stale_table(
        self, net: Net, node: Node, state: WireState
    ) -> None:
        """Also when this node has never known it alive."""
        teller, ghost = net.puppet("t"), net.puppet("g", mute=True)
        teller.push(node, teller.state(), ghost.state(state))
        teller.push(node, teller.state(), ghost.state(WireState.ALIVE))
        assert net.believes(node, "g") is None
        assert [event.member.name for event in net.events(node, MemberJoined)] == ["t"]

    def test_dead_members_that_only_foreign_ones_know_are_not_remembered(self, net: Net, node: Node) -> None:
        teller, ghost = net.puppet("t", own=False), net.puppet("g")
        teller.push(node, teller.state(), ghost.state(WireState.DEAD))
        assert entry(teller.push(node), "g") is None

    def test_versions_that_clash_refuse_the_whole(self, net: Net, node: Node) -> None:
        teller = net.puppet("t", versions=PLAIN)
        teller.push(node)
        assert net.believes(node, "t") is None
        assert node.dropped["merge-version"] == 1

    def test_two_nodes_that_merge_each_others_states_agree(self, net: Net) -> None:
        """Whatever each of the two had heard."""
        for seed in range(25):
            rng, net = random.Random(seed), Net(seed=seed)
            a, b = net.start("a"), net.start("b")
            puppets = [net.puppet(name) for name in "pqrst"]
            for node in (a, b):
                for puppet in puppets:
                    incarnation = rng.randrange(1, 4)
                    puppet.push(node, replace(puppet.state(), incarnation=incarnation))
                    if rng.random() < 0.4:
                        puppet.tell(node, Dead(puppet.name, rng.randrange(1, 4), puppet.name))
            a.sync(b.address, net.now)
            net.drain(a)
            net.run(0.005)
            one, two = (
                {m.name: (m.incarnation, m.id) for m in node.members() if m.name in "pqrst"}
                for node in (a, b)
            )
            assert one == two, f"seed {seed}"


class TestDelegateClash:
    def test_all_alike_is_fine(self) -> None:
        assert delegate_clash([SERF, SERF]) is None
        assert delegate_clash([PLAIN, PLAIN]) is None
        assert delegate_clash([]) is None

    def test_ranges_that_meet_are_fine(self) -> None:
        assert delegate_clash([SERF, bytes((1, 5, 2, 2, 5, 4))]) is None

    def test_a_current_outside_anybodys_range_is_not(self) -> None:
        problem = delegate_clash([SERF, PLAIN])
        assert problem == "delegate protocol version (5) is incompatible: [2, 0]"
        assert delegate_clash([bytes((1, 5, 2, 0, 0, 0)), bytes((3, 5, 3, 0, 0, 0))]) is not None

    def test_short_versions_do_not_count(self) -> None:
        assert delegate_clash([SERF, b"", b"\1\5\2"]) is None


class TestWhen:
    def requests(self, net: Net, node: Node) -> list[Address]:
        return [address for _, name, address in net.requested if name == node.name]

    def test_now_and_then_with_somebody(self, net: Net) -> None:
        a, b = net.cluster("a", "b")
        b._probes._view_at_rest = lambda now: b""  # as a foreign member's: its pings say nothing
        net.run(5)
        net.requested.clear()
        net.run(125)
        assert 3 <= self.requests(net, a).count(b.address) <= 5

    def test_seldom_where_the_pings_say_that_all_know_the_same(self, net: Net) -> None:
        a, b = net.cluster("a", "b")
        net.run(60)
        net.requested.clear()
        net.run(240)
        assert 1 <= self.requests(net, a).count(b.address) <= 3

    def test_seeds_that_are_not_members_are_asked_often_at_first_then_seldom(self, net: Net) -> None:
        node = net.start("a", "az")
        net.run(2)
        net.requested.clear()
        net.run(27)
        eager = self.requests(net, node).count(address_of("z"))
        assert 20 <= eager <= 30
        net.run(5)
        net.requested.clear()
        net.run(60)
        assert 5 <= self.requests(net, node).count(address_of("z")) <= 7

    def test_a_seed_is_found_although_pings_to_it_came_back_for_a_while(self, net: Net) -> None:
        """Whoever sends a node its own packets back makes it look as if the node itself were at that seed."""
        deliver = net.deliver
        reflecting = True

        def reflect(data: bytes, source: Address, target: Address) -> None:
            deliver(data, source, target)
            if target == address_of("z") and reflecting:
                deliver(data, target, source)

        net.deliver = reflect  # type: ignore[method-assign]
        net.start("a", "az")
        net.run(40)
        z = net.start("z")
        net.cut("z", "a")
        net.run(1)
        reflecting = False
        net.heal()
        net.run(1)
        assert [member.name for member in z.members()] == ["a", "z"]

    def test_nodes_that_forget_at_different_times_do_not_remind_each_other(self) -> None:
        net = Net(dead_retention=300.0)
        nodes = [net.start("a")]
        for name in "bcdefg":
            nodes.append(net.start(name, "a"))
            net.run(13)
        net.kill(nodes.pop())
        net.run(200)
        assert all(entry(net.puppet("x").push(node), "g") for node in nodes)
        net.run(170)
        assert [node.name for node in nodes if node._table.dead()] == []

    def test_where_lost_members_may_be_is_tried_ever_more_seldom(self, net: Net) -> None:
        """Anybody can name such places."""
        node = net.start("a")
        member = net.puppet("m").join(node)
        lost = pack_places([("z", address_of("z"))], 2_048)
        calls = []
        for _ in range(5):
            member.push(node, head=member.head(lost=lost))
            net.requested.clear()
            net.run(120)
            calls.append(self.requests(net, node).count(address_of("z")))
        assert 4 <= calls[0] <= 12
        assert sum(calls[1:]) <= 6

    def test_of_many_such_places_those_that_are_told_again_are_kept(self) -> None:
        net = Net(dead_retention=300.0)
        node = net.start("a")
        member = net.puppet("m").join(node)
        lost = pack_places([(f"z{number}", address_of(f"z{number}")) for number in range(70)], 2_048)
        for seconds in (200, 150):
            member.push(node, head=member.head(lost=lost))
            net.run(seconds)
        assert len(node._sync.leads) == 64

    def test_those_that_left_are_not(self, net: Net) -> None:
        a, b = net.cluster("a", "b")
        b.leave(net.now)
        net.drain(b)
        net.run(5)
        net.requested.clear()
        net.run(60)
        assert address_of("b") not in self.requests(net, a)

    def test_views_that_differ_for_a_while_are_exchanged(self, net: Net) -> None:
        a, b = net.cluster("a", "b")
        net.run(40)
        net.cut("a", "b")
        net.cut("b", "a")
        a.set_tags({"role": "db"}, net.now)
        net.drain(a)
        net.run(0.5)  # the flood and some rides are lost
        a._dissemination._riding.clear()
        net.heal()
        net.requested.clear()
        assert net.run_until(lambda: {"role": "db"} in [member.tags for member in b.members()], 5), (
            "the view hash says that they differ"
        )
        assert net.requested

    def test_views_that_are_alike_are_not(self, net: Net) -> None:
        net.cluster("a", "b", "c")
        net.run(40)
        net.requested.clear()
        net.run(10)
        assert len(net.requested) <= 3

    def test_a_member_with_another_view_every_time_cannot_cause_a_storm(self, net: Net, node: Node) -> None:
        puppet = net.puppet("p").join(node)
        net.run(5)
        net.requested.clear()
        for number in range(100):
            puppet.tell(node, Ping(number, "a", sender_id=bytes(16), view=number.to_bytes(8, "big")))
            net.run(0.05)
        assert len(net.requested) <= 3 + 5 + 2

    def test_halves_of_a_healed_partition_find_each_other(self, net: Net) -> None:
        nodes = net.cluster("a", "b", "c", "d")
        net.split("ab", "cd")
        net.run(40)
        assert not {"c", "d"} & {member.name for member in nodes[0].members()}
        net.heal()
        assert net.run_until(lambda: all(len(node.members()) == 4 for node in nodes), 30)
        net.run(3)
        assert len({node.leader.id for node in nodes if node.leader}) == 1

    def test_with_a_running_node_of_another_cluster_the_two_become_one(self, net: Net) -> None:
        first = net.cluster("a", "b")
        second = [net.start("c"), net.start("d", "c")]
        net.run(3)
        first[0].sync(second[0].address, net.now)
        net.drain(first[0])
        nodes = first + second
        assert net.run_until(lambda: all(len(node.members()) == 4 for node in nodes), 5)
        net.run(3)
        assert len({(node.leader.name, node.leader.id) for node in nodes if node.leader}) == 1

    def test_a_node_that_joins_a_half_helps_to_find_the_other(self, net: Net) -> None:
        """Though the half gave the other up alone, and dies before the partition heals."""
        a, b = net.cluster("a", "b")
        net.run(3)
        net.split("a", "bd")
        net.run(20)
        assert net.believes(b, "a") is None
        d = net.start("d", "b")
        net.run(3)
        net.kill(b)
        net.run(10)
        net.heal()
        assert net.run_until(lambda: len(a.members()) == len(d.members()) == 2, 60)

    @pytest.mark.parametrize("seed", range(6))
    def test_deaths_that_some_believe_in_are_refuted_and_all_agree(self, seed: int) -> None:
        """Also when nobody but a push/pull tells of them."""
        rng, net = random.Random(seed), Net(seed=seed)
        nodes = net.cluster(*"abcde")
        net.run(3)
        for node in nodes:
            other = rng.choice([each for each in nodes if each is not node])
            record = node._table.get(other.name)
            assert record is not None
            node._table.put(record.become(MemberState.DEAD, net.now), net.now)
        assert net.run_until(lambda: all(len(node.members()) == 5 for node in nodes), 45)
        net.run(5)
        views = [{(m.name, m.id, m.incarnation) for m in node.members()} for node in nodes]
        assert all(view == views[0] for view in views)
