"""A node's own record: tags, incarnation, refutation."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swim.errors import TagsError
from swim.events import MemberFailed, MemberJoined, MemberLeft, MemberUpdated
from swim.protocol.gossip.own_record import META_SIZE_MAX, check_tags
from swim.protocol.node import Node
from swim.protocol.view.table import encode_meta
from swim.types import Address
from swim.wire import pack_host
from swim.wire.messages import Alive, Dead, Suspect, WireState
from swim.wire.serf import decode_tags
from tests.protocol.fakes import Net, Puppet, entry

ID, BOOT = "0" * 26, "0" * 8
LEADS = {"_token": "0" * 26}


class TestTags:
    def test_are_taken_as_they_are(self) -> None:
        assert check_tags({"role": "db", "zone": ""}) == {"role": "db", "zone": ""}

    @pytest.mark.parametrize("tags", [{"_id": "x"}, {"_": ""}, {"": "x"}])
    def test_names_of_ours_and_empty_ones_are_refused(self, tags: dict[str, str]) -> None:
        with pytest.raises(TagsError, match="must not be empty or start with '_'"):
            check_tags(tags)

    @pytest.mark.parametrize("tags", [{"n": 1}, {1: "n"}, {"n": None}, {"n": b"x"}])
    def test_only_text(self, tags: dict[Any, Any]) -> None:
        with pytest.raises(TagsError, match="must be text"):
            check_tags(tags)

    def test_half_a_character_is_no_text(self) -> None:
        with pytest.raises(TagsError, match="not valid Unicode"):
            check_tags({"n": "\ud800"})

    @given(
        st.dictionaries(st.text("abcxyz\u00e4", min_size=1, max_size=6), st.text(max_size=250), max_size=8)
    )
    def test_what_is_taken_fits_and_what_is_refused_does_not(self, tags: dict[str, str]) -> None:
        try:
            check_tags(tags)
        except TagsError:
            fits = False
        else:
            fits = True
        try:
            size = len(encode_meta(tags, ID, BOOT, LEADS))
        except UnicodeEncodeError:
            assert not fits
        else:
            assert fits == (size <= META_SIZE_MAX)

    def test_the_error_counts_bytes_exactly(self) -> None:
        def size(length: int) -> int:
            return len(encode_meta({"k": "x" * length}, ID, BOOT, LEADS))

        room = max(length for length in range(512) if size(length) <= META_SIZE_MAX)
        check_tags({"k": "x" * room})
        for excess in (1, 7, 500):
            with pytest.raises(TagsError) as caught:
                check_tags({"k": "x" * (room + excess)})
            needed, left, total, shorter = map(int, re.findall(r"\b\d+\b", str(caught.value)))
            assert total == META_SIZE_MAX
            assert needed - left == shorter == excess

    def test_following_the_advice_of_the_error_works(self) -> None:
        with pytest.raises(TagsError) as caught:
            check_tags({"k": "x" * 480, "l": "y" * 40})
        excess = int(re.search(r"shorten them by (\d+)", str(caught.value))[1])
        check_tags({"k": "x" * (480 - excess), "l": "y" * 40})

    def test_travel_to_the_others_and_are_reported_there_and_here(self) -> None:
        net = Net()
        a, b = net.cluster("a", "b")
        net.forget_events()
        b.set_tags({"role": "db"}, net.now)
        net.drain(b)
        assert b.me.tags == {"role": "db"}
        net.run(0.05)
        assert [member.tags for member in a.members() if member.name == "b"] == [{"role": "db"}]
        for node in (a, b):
            (event,) = net.events(node)
            assert isinstance(event, MemberUpdated)
            assert (event.member.tags, event.previous.tags) == ({"role": "db"}, {})

    def test_an_error_leaves_the_tags_that_were(self) -> None:
        net = Net()
        node = net.start("a", tags={"role": "db"})
        with pytest.raises(TagsError):
            node.set_tags({"role": "x" * 600}, net.now)
        assert node.me.tags == {"role": "db"}
        with pytest.raises(TagsError):
            net.make("b", tags={"role": "x" * 600})

    def test_of_a_node_that_has_not_joined_yet_are_those_it_joins_with(self) -> None:
        net = Net()
        a = net.start("a")
        b = net.make("b", tags={"role": "cache"})
        b.set_tags({"role": "db"}, net.now)
        assert b.me.tags == {"role": "db"}
        b.start([a.address], net.now)
        net.drain(b)
        net.run(1)
        assert [member.tags for member in a.members()] == [{}, {"role": "db"}]

    def test_of_a_node_that_has_said_farewell_are_not_told_any_more(self) -> None:
        """They would bring it back to life: its incarnation is above that of its farewell."""
        net = Net()
        a, b = net.cluster("a", "b")
        net.forget_events()
        b.leave(net.now)
        net.drain(b)
        net.run(0.2)
        b.set_tags({"state": "closing"}, net.now)
        net.drain(b)
        with pytest.raises(TagsError):
            b.set_tags({"state": "x" * 600}, net.now)
        net.run(10)
        left = [event.member.name for event in net.events(a, MemberLeft)]
        assert (left, net.events(a, (MemberJoined, MemberFailed))) == (["b"], [])

    def test_other_members_see_our_marks_as_serf_tags(self) -> None:
        net = Net()
        node = net.start("a", tags={"role": "db"})
        mine = entry(net.puppet("x").push(node), "a")
        assert mine is not None
        assert node.term is not None
        tags = decode_tags(mine.meta)
        marks = {"_id": node.me.id, "_boot": tags["_boot"], "_token": node.term.token}
        assert tags == {"role": "db", **marks}
        assert len(tags["_boot"]) == 8


class TestRefutation:
    @pytest.fixture
    def net(self) -> Net:
        return Net()

    @pytest.fixture
    def node(self, net: Net) -> Node:
        return net.start("a")

    @pytest.fixture
    def member(self, net: Net, node: Node) -> Puppet:
        puppet = net.puppet("m").join(node)
        net.run(0.05)
        puppet.received.clear()
        return puppet

    @pytest.mark.parametrize("incarnation", [1, 2, 700])
    @pytest.mark.parametrize("kind", [Suspect, Dead])
    def test_outbids_an_accusation(
        self, net: Net, node: Node, member: Puppet, kind: type, incarnation: int
    ) -> None:
        member.tell(node, kind("a", incarnation, "m"))
        assert node.me.incarnation == incarnation + 1
        net.run(0.02)
        assert {alive.incarnation for alive in member.heard(Alive)} == {incarnation + 1}

    def test_even_a_forged_farewell(self, node: Node, member: Puppet) -> None:
        member.tell(node, Dead("a", 1, "a"))
        assert node.me.incarnation == 2

    @pytest.mark.parametrize("kind", [Suspect, Dead])
    def test_ignores_accusations_of_the_past(self, net: Net, node: Node, member: Puppet, kind: type) -> None:
        member.tell(node, Dead("a", 5, "m"))
        assert node.me.incarnation == 6
        for incarnation in (1, 5):
            member.tell(node, kind("a", incarnation, "m"))
        assert node.me.incarnation == 6

    def mine(self, node: Node, member: Puppet, **changes: object) -> Alive:
        state = entry(member.push(node), "a")
        assert state is not None
        values = {
            "node": "a",
            "incarnation": state.incarnation,
            "address": state.address,
            "port": state.port,
            "meta": state.meta,
            "versions": state.versions,
        }
        return Alive(**{**values, **changes})  # type: ignore[arg-type]

    def test_its_own_news_coming_back_is_no_accusation(self, node: Node, member: Puppet) -> None:
        member.tell(node, self.mine(node, member))
        assert node.me.incarnation == 1

    def test_older_news_of_itself_is_none_either(self, node: Node, member: Puppet) -> None:
        old = self.mine(node, member)
        member.tell(node, Dead("a", 5, "m"))
        member.tell(node, old)
        assert node.me.incarnation == 6

    def test_other_tags_at_its_own_incarnation_are_outbid(self, node: Node, member: Puppet) -> None:
        member.tell(node, self.mine(node, member, meta=b""))
        assert node.me.incarnation == 2

    def test_a_higher_incarnation_than_its_own_is_outbid(self, node: Node, member: Puppet) -> None:
        """Left over from the process before, which it has not heard of."""
        member.tell(node, self.mine(node, member, incarnation=40))
        assert node.me.incarnation == 41

    def test_an_older_life_at_the_same_address_is_outbid(self, node: Node, member: Puppet) -> None:
        member.tell(node, self.mine(node, member, incarnation=7, meta=member.meta))
        assert node.me.incarnation == 8

    def test_entries_of_a_push_pull_are_answered_too(self, net: Net, node: Node) -> None:
        foreign = net.puppet("f", own=False).join(node)
        for number, state in enumerate((WireState.SUSPECT, WireState.DEAD, WireState.LEFT), 1):
            foreign.push(node, foreign.state(state, name="a", incarnation=10 * number))
            assert node.me.incarnation == 10 * number + 1

    def test_is_limited_in_number_but_the_last_word_is_said(
        self, net: Net, node: Node, member: Puppet
    ) -> None:
        """One mad member cannot start a storm, and cannot keep the truth from being told."""
        for incarnation in range(1, 101):
            member.tell(node, Dead("a", incarnation, "m"))
        net.run(0.05)
        said = {alive.incarnation for alive in member.heard(Alive)}
        assert len(said) <= 10
        assert node.dropped["refutation-delayed"] > 0
        net.run(1)
        assert max(alive.incarnation for alive in member.heard(Alive)) == 101
        assert node.me.incarnation == 101

    def test_in_the_long_run_a_few_a_second(self, net: Net, node: Node, member: Puppet) -> None:
        incarnation = 1
        for _ in range(200):
            member.tell(node, Dead("a", incarnation, "m"))
            incarnation = node._own.incarnation
            net.run(0.05)
        said = {alive.incarnation for alive in member.heard(Alive)}
        assert len(said) <= 10 + 10 * 5 + 2

    def test_a_leaving_node_does_not_refute(self, net: Net, node: Node, member: Puppet) -> None:
        node.leave(net.now)
        net.drain(node)
        member.tell(node, Dead("a", 1, "m"))
        assert node.me.incarnation == 1

    def test_a_farewell_outbids_what_was_not_refuted_in_time(
        self, net: Net, node: Node, member: Puppet
    ) -> None:
        for incarnation in range(1, 101):
            member.tell(node, Dead("a", incarnation, "m"))
        node.leave(net.now)
        net.run(0.05)
        assert max(news.incarnation for news in member.heard(Dead) if news.sender == "a") == 101

    def test_nobody_else_raises_it(self, net: Net) -> None:
        a, b = net.cluster("a", "b")
        net.puppet("m").join(a).tell(a, Suspect("b", 1, "m"))
        net.run(0.5)
        assert b.me.incarnation == 2
        assert [member.incarnation for member in a.members() if member.name == "b"] == [2]


def test_a_node_of_ipv6_says_so_in_16_bytes() -> None:
    net = Net()
    node = net.start("a", address=Address("2001:db8::1", 7946))
    mine = entry(net.puppet("x").push(node), "a")
    assert mine is not None
    assert mine.address == pack_host("2001:db8::1")
    assert len(mine.address) == 16
