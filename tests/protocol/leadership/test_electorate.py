"""Voters that are changed while the cluster runs, and that come up somewhere else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swim.events import VotersDiffer
from swim.protocol.node import Node
from swim.types import Address
from swim.wire.dialect import U32
from tests.protocol.fakes import Net
from tests.protocol.leadership.test_lease import L, leader, led, never_two, term

NEW = ("a", "b", "d")


@pytest.fixture
def net() -> Net:
    return Net()


def propose(node: Node, voters: tuple[str, ...], net: Net) -> None:
    node._electorate.propose(voters, term(node).token, net.now)
    node._settle(net.now)
    net.drain(node)


def voters(node: Node) -> tuple[str, ...]:
    return node._electorate.configuration.voters


class TestChanging:
    def test_the_leader_has_them_changed_and_its_term_goes_on(self, net: Net) -> None:
        nodes = led(net, "a", "b", "c", "d")
        before = term(nodes[0])
        propose(nodes[0], NEW, net)
        never_two(net, nodes, 1.0)
        assert term(nodes[0]) is before
        assert [voters(node) for node in nodes] == [NEW] * 4
        assert {node._electorate.configuration.number for node in nodes} == {2}
        assert [leader(node) for node in nodes] == ["a"] * 4

    def test_then_the_new_ones_count_and_the_old_ones_do_not(self, net: Net) -> None:
        a, b, c, d = led(net, "a", "b", "c", "d")
        propose(a, NEW, net)
        net.run(1.0)
        for node in (b, c):
            net.lose_host(node)
        net.run(20.0)
        assert a.term is not None
        net.lose_host(d)
        net.run(2 * L)
        assert a.term is None

    def test_all_five_can_be_replaced_by_others(self, net: Net) -> None:
        nodes = led(net, *"abcdefghij", voters=tuple("abcde"))
        before = term(nodes[0])
        listed = list("abcde")
        for old, new in zip("abcde", "fghij", strict=True):
            listed[listed.index(old)] = new
            propose(nodes[0], tuple(listed), net)
            never_two(net, nodes, 0.5)
        assert [voters(node) for node in nodes] == [tuple("fghij")] * 10
        assert term(nodes[0]) is before

    def test_nothing_changes_if_most_of_the_new_ones_do_not_answer(self, net: Net) -> None:
        nodes = led(net, "a", "b", "c", "d", "e")
        for node in nodes[3:]:
            net.lose_host(node)
        propose(nodes[0], ("a", "d", "e"), net)
        net.run(20.0)
        assert nodes[0].term is not None
        assert voters(nodes[0]) == ("a", "b", "c")

    @pytest.mark.parametrize("after", [0.0, 0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.008, 0.01])
    def test_it_survives_the_death_of_the_leader_in_the_middle(self, net: Net, after: float) -> None:
        a, *others = nodes = led(net, "a", "b", "c", "d")
        propose(a, NEW, net)
        net.run(after)
        net.lose_host(a)
        never_two(net, nodes[1:], 15.0)
        agreed = {voters(node) for node in others}
        assert len(agreed) == 1
        assert agreed <= {("a", "b", "c"), NEW}
        assert not others[0]._electorate.configuration.old
        assert len({leader(node) for node in others}) == 1
        assert leader(others[0]) is not None

    def test_a_minority_of_the_old_ones_elects_nobody_by_the_old_list(self, net: Net) -> None:
        """With a new list alone, and an old one alone, there would be two leaders."""
        nodes = led(net, *"abcdefg", voters=tuple("abcde"))
        net.split("de", "abcfg")
        net.run(5.0)
        propose(nodes[0], ("a", "b", "c", "f", "g"), net)
        never_two(net, nodes, 5.0)
        assert voters(nodes[0]) == ("a", "b", "c", "f", "g")
        assert voters(nodes[3]) == tuple("abcde")
        net.heal()
        never_two(net, nodes, 30.0)
        assert voters(nodes[3]) == ("a", "b", "c", "f", "g")

    def test_a_node_that_starts_with_an_older_list_goes_by_the_newer_one(self, net: Net) -> None:
        a, b, *_ = led(net, "a", "b", "c", "d")
        propose(a, NEW, net)
        net.run(1.0)
        net.kill(b)
        net.run(2.0)
        again = net.start("b", "a", voters=("a", "b", "c"))
        net.run(5.0)
        assert voters(again) == NEW
        assert a.term is not None
        assert net.events(again, VotersDiffer) == [], "it has those of the founding"

    def test_a_member_cannot_use_up_their_numbers(self, net: Net) -> None:
        """After the last one there would be no change any more."""
        a, *_ = led(net, "a", "b", "c")
        mine = a._electorate.configuration
        for number, follows in ((2, True), (2_000, True), (2_001, False), (U32, False)):
            told = replace(mine, number=number, token=term(a).token)
            assert (a._electorate._newer(told, net.now) is not None) is follows


class TestMoved:
    def test_a_voter_that_comes_up_elsewhere_has_no_vote_until_most_others_agree(self, net: Net) -> None:
        a, b, c = led(net, "a", "b", "c")
        net.lose_host(c)
        assert net.run_until(lambda: net.believes(a, "c") is None, 30.0)
        net.run(1.0)
        moved = net.start("c", "a", voters=("a", "b", "c"), address=Address("10.9.9.9", 7946))
        net.run(0.5)
        assert moved._electorate.voter.moved
        net.run(3 * L)
        assert not moved._electorate.voter.moved
        assert a._electorate.configuration.bound == (("c", "10.9.9.9:7946"),)
        net.lose_host(b)
        net.run(20.0)
        assert a.term is not None, "its vote counts again"

    def test_while_a_partition_lasts_its_vote_does_not_count(self, net: Net) -> None:
        """The box that is cut off with the leader was replaced on the other side by a machine of its name."""
        a, _, c = nodes = led(net, "a", "b", "c")
        net.split("ab", "c")
        assert net.run_until(lambda: net.believes(c, "b") is None, 60.0)
        moved = net.start("b", "c", voters=("a", "b", "c"), address=Address("10.9.9.9", 7946))
        never_two(net, [*nodes, moved], 30.0)
        assert a.term is not None
        assert c.term is moved.term is None

    def test_a_restart_at_the_same_address_is_no_move(self, net: Net) -> None:
        a, b, _ = led(net, "a", "b", "c")
        net.kill(b)
        net.run(1.0)
        again = net.start("b", "a", voters=("a", "b", "c"))
        net.run(1.0)
        assert not again._electorate.voter.moved
        assert a.term is not None

    def test_nor_one_after_a_farewell(self, net: Net) -> None:
        a, b, _ = led(net, "a", "b", "c")
        b.leave(net.now)
        net.drain(b)
        net.run(1.0)
        moved = net.start("b", "a", voters=("a", "b", "c"), address=Address("10.9.9.9", 7946))
        net.run(1.0)
        assert not moved._electorate.voter.moved
        assert a.term is not None
