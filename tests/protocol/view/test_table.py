"""The member table, and that its indexes never disagree with its records."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from swim.protocol.view import table as table_module
from swim.protocol.view.identity import is_minted, mint_id
from swim.protocol.view.rings import Rings
from swim.protocol.view.table import MemberTable, Record, encode_meta
from swim.types import Address, MemberState
from swim.wire.bodies import pack_node_state
from swim.wire.dialect import U32
from swim.wire.messages import NodeState, WireState
from swim.wire.serf import encode_tags
from tests.protocol.fakes import SERF

ALIVE, SUSPECT, DEAD, LEFT = MemberState.ALIVE, MemberState.SUSPECT, MemberState.DEAD, MemberState.LEFT
HOME = Address("10.0.0.1", 7946)


def minted(number: int) -> str:
    return mint_id(1_700_000_000_000 + number, random.Random(number))


def record(
    name: str = "a",
    *,
    id: str | None = "",
    boot: str = "BOOT0000",
    state: MemberState = ALIVE,
    incarnation: int = 1,
    address: Address = HOME,
    since: float = 0.0,
    solo: bool = False,
    **tags: str,
) -> Record:
    """An own member, or with `id=None` a foreign one."""
    meta = b"" if id is None else encode_meta(tags, id or minted(ord(name[0])), boot)
    return Record.make(name, address, incarnation, state, meta, SERF, since, solo)


def table(*records: Record, dead_max: int = 10) -> MemberTable:
    made = MemberTable(Rings(8), dead_max)
    for each in records:
        made.put(each, 0.0)
    return made


class TestRecord:
    def test_our_own_are_known_by_id_and_boot(self) -> None:
        own = record(id=minted(1), boot="ABCDEFGH", role="db")
        assert own.own
        assert (own.id, own.boot) == (minted(1), "ABCDEFGH")

    def test_the_application_sees_its_own_tags_only(self) -> None:
        assert record(role="db").member.tags == {"role": "db"}

    @pytest.mark.parametrize(
        "tags",
        [
            {},
            {"_id": minted(1)},
            {"_boot": "BOOT0000"},
            {"_id": "not an id", "_boot": "BOOT0000"},
            {"_id": minted(1), "_boot": "short"},
            {"_id": "x" * 27, "_boot": "BOOT0000"},
        ],
    )
    def test_a_node_that_lacks_either_or_has_nonsense_is_foreign(self, tags: dict[str, str]) -> None:
        foreign = Record.make("a", HOME, 1, ALIVE, encode_tags(tags), SERF, 0.0)
        assert not foreign.own
        assert (foreign.id, foreign.boot, foreign.member.id) == (None, None, None)

    @pytest.mark.parametrize("meta", [b"", b"role", b"\xff", b"\xff\xc1", b"\xff\x90", bytes(512)])
    def test_meta_data_that_is_not_tags_is_a_foreign_member_without_tags(self, meta: bytes) -> None:
        foreign = Record.make("a", HOME, 1, ALIVE, meta, SERF, 0.0)
        assert foreign.member.tags == {}
        assert not foreign.own

    def test_a_change_of_state_changes_nothing_else(self) -> None:
        before = record(incarnation=4)
        after = before.become(SUSPECT, 9.0)
        assert (after.state, after.since, after.incarnation) == (SUSPECT, 9.0, 4)
        assert after == replace(before, state=SUSPECT, since=9.0)
        assert before.become(DEAD, 9.0, 7).incarnation == 7
        assert after.member == replace(before.member, state=SUSPECT)

    def test_the_view_covers_name_address_incarnation_and_meta_of_those_present(self) -> None:
        base = record()
        assert base.view == record().view != 0
        assert base.become(SUSPECT, 5.0).view == base.view
        assert base.become(DEAD, 5.0).view == base.become(LEFT, 5.0).view == 0
        others = [
            record("b", id=base.id),
            record(incarnation=2),
            record(address=Address("10.0.0.1", 7947)),
            record(role="db"),
            record(id=minted(9)),
        ]
        assert len({base.view, *(other.view for other in others)}) == len(others) + 1

    def test_as_messages(self) -> None:
        own = record(incarnation=3)
        alive = own.as_alive()
        assert (alive.node, alive.incarnation, alive.port, alive.meta) == ("a", 3, 7946, own.meta)
        assert own.become(DEAD, 0.0).as_dead("me").sender == "me"
        assert own.become(LEFT, 0.0).as_dead("me").sender == "a"
        states = [own.become(state, 0.0).as_entry().state for state in (ALIVE, SUSPECT, DEAD, LEFT)]
        assert states == [WireState.ALIVE, WireState.SUSPECT, WireState.DEAD, WireState.LEFT]

    @pytest.mark.parametrize("state", MemberState)
    def test_it_is_packed_as_the_entry_of_a_whole_state_with_an_age_if_it_is_gone(
        self, state: MemberState
    ) -> None:
        known = record(state=state, since=10.0)
        for now, age in ((10.0, 1), (10.9, 1), (75.5, 66), (1e12, U32)):
            entry = known.as_entry() if known.present else replace(known.as_entry(), age=age)
            assert known.packed(now) == pack_node_state(entry)

    def test_it_is_packed_once_until_it_changes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        packed: list[NodeState] = []

        def pack(node: NodeState) -> bytes:
            packed.append(node)
            return pack_node_state(node)

        monkeypatch.setattr(table_module, "pack_node_state", pack)
        known = record(since=10.0)
        gone = known.become(DEAD, 20.0)
        for now in (10.0, 30.0, 40.0):
            known.packed(now)
            gone.packed(now)
        assert [node.state for node in packed] == [WireState.ALIVE, WireState.DEAD]
        assert replace(known, since=5.0).entry == b"", "a changed one is packed anew"


class TestMemberTable:
    def test_present_are_alive_and_suspected(self) -> None:
        made = table(
            record("a"), record("b", state=SUSPECT), record("c", state=DEAD), record("d", state=LEFT)
        )
        assert [each.name for each in made.present()] == ["a", "b"]
        assert [each.name for each in made.dead()] == ["c", "d"]
        assert made.present_count == 2
        assert len(made) == 4

    def test_the_dead_beyond_the_limit_are_forgotten_longest_gone_first(self) -> None:
        made = table(*(record(name, state=DEAD) for name in "abcde"), record("z"), dead_max=3)
        assert [each.name for each in made.dead()] == ["c", "d", "e"]
        assert made.get("a") is None
        assert made.get("z") is not None

    def test_one_heard_of_late_that_has_been_gone_for_long_is_forgotten_before_those_it_outlived(
        self,
    ) -> None:
        made = table(*(record(name, state=DEAD, since=50.0) for name in "ab"), dead_max=2)
        made.put(record("c", state=DEAD, since=10.0), 60.0)
        assert [each.name for each in made.dead()] == ["a", "b"]

    def test_of_the_dead_that_never_answered_only_a_quarter_of_the_limit_is_remembered(self) -> None:
        made = table(*(record(name) for name in "abcdefgh"), dead_max=8)
        for name in "gh":
            made.meet(name)
        for at, name in enumerate("abcdefgh"):
            known = made.get(name)
            assert known is not None
            made.put(known.become(DEAD, float(at)), float(at))
        known = made.get("e")
        assert known is not None
        made.put(known.become(LEFT, 9.0), 9.0)
        assert [each.name for each in made.dead()] == ["f", "g", "h", "e"]

    def test_present_ones_are_never_forgotten_for_the_limit(self) -> None:
        made = table(*(record(name) for name in "abcdefgh"), dead_max=1)
        assert len(made) == 8

    def test_changed_at_follows_the_view_only(self) -> None:
        made = table(record("a"))
        made.put(record("a").become(SUSPECT, 5.0), 5.0)
        assert made.changed_at == 0.0
        made.put(record("a", incarnation=2), 6.0)
        assert made.changed_at == 6.0
        made.put(record("a", incarnation=2).become(DEAD, 7.0), 7.0)
        assert made.changed_at == 7.0

    def test_the_newest_minted_id_is_remembered(self) -> None:
        made = table(record("a", id=minted(5)), record("b", id=minted(3)), record("c", id="zzz"))
        assert made.newest_minted == minted(5)
        made.put(record("a", id=minted(5), state=DEAD), 1.0)
        made.forget("a")
        assert made.newest_minted == minted(5)

    def test_one_that_dies_again_and_again_takes_no_more_room(self) -> None:
        made = table(record("z"), *(record(name, state=DEAD) for name in "abc"), dead_max=4)
        for time in range(1_000):
            made.put(record("z", state=DEAD if time % 2 else ALIVE, since=time), time)
        assert len(made._deaths) <= 100
        made.put(record("y", state=DEAD, since=2_000), 2_000)
        assert made.get("a") is None
        assert made.get("z") is not None

    def test_versions_that_nobody_speaks_any_more_are_forgotten(self) -> None:
        made = table()
        for last in range(100):
            versions = (*SERF[:5], last)
            made.put(Record.make("f", HOME, 1, ALIVE, b"", bytes(versions), 0.0), 0.0)
        assert made.versions == (bytes((*SERF[:5], 99)),)
        assert len(made._versions) == 1


class TestAddresses:
    def test_finds_a_member_by_its_address(self) -> None:
        made = table(record("a"))
        assert made.at(HOME) is made.get("a")
        assert made.at(Address("10.0.0.2", 7946)) is None

    def test_a_member_that_moved_is_found_where_it_is(self) -> None:
        there = Address("10.0.0.2", 7946)
        made = table(record("a"), record("a", address=there, incarnation=2))
        assert made.at(HOME) is None
        assert made.at(there) is made.get("a")

    def test_the_dead_are_found_too(self) -> None:
        made = table(record("a", state=DEAD))
        assert made.at(HOME) is made.get("a")

    def test_a_newcomer_at_the_address_of_a_dead_one_is_the_one_there(self) -> None:
        made = table(record("a", state=DEAD), record("b"))
        assert made.at(HOME) is made.get("b")
        made.put(record("a", state=LEFT), 1.0)
        assert made.at(HOME) is made.get("b")

    def test_a_newcomer_keeps_the_address_when_the_crashed_one_before_it_is_given_up(self) -> None:
        """IP addresses are used again; the old member is suspected and dies after the new one came."""
        made = table(record("old"), record("new"))
        assert made.at(HOME) is made.get("new")
        made.put(record("old", state=SUSPECT), 1.0)
        made.put(record("old", state=DEAD), 2.0)
        assert made.at(HOME) is made.get("new")

    def test_when_the_newcomer_is_forgotten_the_other_one_is_found_again(self) -> None:
        made = table(record("old", state=DEAD), record("new"), record("new", state=DEAD, incarnation=2))
        made.forget("new")
        assert made.at(HOME) in (None, made.get("old"))

    def test_a_node_that_is_present_is_found_or_another_that_is_present_there(self) -> None:
        for seed in range(20):
            rng, made = random.Random(seed), table(dead_max=3)
            for _ in range(60):
                address = Address(f"10.0.0.{rng.randrange(4)}", 7946)
                state = rng.choice(list(MemberState))
                made.put(record(rng.choice("abcdef"), state=state, address=address), 0.0)
                for each in made.present():
                    found = made.at(each.address)
                    assert found is not None, f"seed {seed}: nobody at the address of {each.name}"
                    assert found.present, f"seed {seed}: dead {found.name} at the address of {each.name}"
                    assert found.address == each.address


class TestLowestId:
    def test_the_lowest_id_not_below_the_floor(self) -> None:
        made = table(*(record(name, id=minted(number)) for number, name in enumerate("abcd")))
        assert made.lowest_id("") == "a"
        assert made.lowest_id(minted(1)) == "b"
        assert made.lowest_id(minted(1)[:10] + "Z" * 16) == "c"
        assert made.lowest_id(minted(9)) is None

    def test_pinned_ids_do_not_obey_the_floor(self) -> None:
        made = table(record("a", id=minted(1)), record("p", id="00"), record("q", id="zz"))
        assert made.lowest_id("") == "p"
        assert made.lowest_id(minted(9)) == "p"

    def test_foreign_and_gone_members_do_not_count(self) -> None:
        made = table(
            record("f", id=None),
            record("a", id=minted(1), state=DEAD),
            record("b", id=minted(2), state=SUSPECT),
        )
        assert made.lowest_id("") == "b"


names = st.sampled_from("abcdefghij")
ids = st.one_of(st.none(), st.integers(1, 12).map(minted), st.sampled_from(["1", "zz"]))


class Consistency(RuleBasedStateMachine):
    """Whatever is put and forgotten, the indexes say what the records say."""

    def __init__(self) -> None:
        super().__init__()
        self.table = MemberTable(Rings(8), dead_max=4)
        self.now = 0.0
        self.newest = ""

    @rule(
        name=names,
        id=ids,
        state=st.sampled_from(MemberState),
        incarnation=st.integers(1, 3),
        host=st.integers(1, 5),
    )
    def put(self, name: str, id: str | None, state: MemberState, incarnation: int, host: int) -> None:
        self.now += 1.0
        address = Address(f"10.0.0.{host}", 7946)
        self.table.put(record(name, id=id, state=state, incarnation=incarnation, address=address), self.now)
        if id is not None and is_minted(id):
            self.newest = max(self.newest, id)

    @rule(name=names, state=st.sampled_from(MemberState), solo=st.booleans())
    def become(self, name: str, state: MemberState, solo: bool) -> None:
        known = self.table.get(name)
        if known is not None:
            self.table.put(known.become(state, self.now, solo=solo and state is DEAD), self.now)

    @precondition(lambda self: self.table.dead())
    @rule()
    def forget(self) -> None:
        self.table.forget(self.table.dead()[0].name)

    @invariant()
    def the_records_add_up(self) -> None:
        records = list(self.table)
        assert len(records) == len(self.table)
        assert sorted(each.name for each in records) == sorted(
            each.name for each in (*self.table.present(), *self.table.dead())
        )
        assert self.table.present_count == len(self.table.present())
        assert all(each.present for each in self.table.present())
        assert not any(each.present for each in self.table.dead())
        assert len(self.table.dead()) <= 4
        assert sorted(each.name for each in self.table.solo()) == sorted(
            each.name for each in records if each.solo
        )
        foreign = [each for each in records if each.present and not each.own]
        assert self.table.present_count - sum(self.table.configurations.values()) == len(foreign)
        states = [each.state for each in records]
        assert self.table.states() == {state.value: states.count(state) for state in MemberState}

    @invariant()
    def the_view_hash_is_that_of_the_records(self) -> None:
        expected = 0
        for each in self.table:
            expected ^= each.view
        assert self.table.view_hash == expected

    @invariant()
    def the_rings_hold_those_present(self) -> None:
        for each in self.table:
            assert (each.name in self.table.rings) == each.present
        expected = Rings(8)
        for each in self.table.present():
            expected.add(each.name, each.own)
        for each in self.table.present():
            assert self.table.rings.observers(each.name) == expected.observers(each.name)

    @invariant()
    def the_lowest_id_is_that_of_the_naive_definition(self) -> None:
        for floor in ("", minted(4), minted(8), minted(99)):
            candidates = [
                (each.id, each.name)
                for each in self.table
                if each.present and each.id is not None and (not is_minted(each.id) or each.id >= floor)
            ]
            assert self.table.lowest_id(floor) == (min(candidates)[1] if candidates else None)

    @invariant()
    def the_newest_minted_id_is_kept(self) -> None:
        assert self.table.newest_minted == self.newest


Consistency.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestConsistency = Consistency.TestCase
