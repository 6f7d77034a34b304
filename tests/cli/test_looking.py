"""Which member is followed, as people see it from outside: the rule, on tables that are made for it."""

from __future__ import annotations

import random

import pytest

from swim.cli.looking import member_followed
from swim.protocol.leadership.choice import below_floor, highest_holder, lowest_member
from swim.protocol.view.identity import mint_id
from swim.protocol.view.rings import Rings
from swim.protocol.view.table import (
    ELECTABLE_TAG,
    NOT_ELECTABLE,
    TOKEN_TAG,
    VOTERS_TAG,
    MemberTable,
    Record,
    encode_meta,
)
from swim.types import Address, MemberState

IDS = [mint_id(1_000 + number, random.Random(number)) for number in range(4)]


def table_of(*members: tuple[str, dict[str, str]], state: MemberState = MemberState.ALIVE) -> MemberTable:
    """Members by their ids, each with marks of its own; named a, b, c ..; the first is in this state."""
    table = MemberTable(Rings(1), dead_max=8)
    for number, (id, marks) in enumerate(members):
        meta = encode_meta({}, id, f"boot000{number}", marks)
        address = Address("10.0.0.1", 1 + number)
        own = state if number == 0 else MemberState.ALIVE
        table.put(Record.make("abcd"[number], address, 1, own, meta, b"", 0.0), 0.0)
    return table


def name_of(record: Record | None) -> str | None:
    return None if record is None else record.name


@pytest.mark.parametrize(
    ("ids", "floor", "expected"),
    [
        ([IDS[1], IDS[0]], "", "b"),
        ([IDS[0], IDS[1]], IDS[1], "b"),
        ([IDS[0], IDS[1]], IDS[2], None),
        ([IDS[1], "0"], IDS[1], "b"),  # pinned: below every floor, and it leads
    ],
)
def test_the_lowest_id_not_below_the_floor_leads(ids: list[str], floor: str, expected: str | None) -> None:
    table = table_of(*((id, {}) for id in ids))
    assert name_of(lowest_member(table, floor)) == name_of(member_followed(table, floor)) == expected


def test_a_member_that_may_not_lead_is_passed_over() -> None:
    table = table_of((IDS[0], {ELECTABLE_TAG: NOT_ELECTABLE}), (IDS[1], {}))
    assert name_of(member_followed(table, "")) == "b"


@pytest.mark.parametrize("state", [MemberState.DEAD, MemberState.LEFT])
def test_a_member_that_is_gone_is_passed_over(state: MemberState) -> None:
    assert name_of(member_followed(table_of((IDS[0], {}), (IDS[1], {}), state=state), "")) == "b"


def test_with_voters_the_highest_token_leads() -> None:
    voters = {VOTERS_TAG: "x"}
    holders = [
        (IDS[0], voters),
        (IDS[1], voters | {TOKEN_TAG: IDS[3]}),
        (IDS[2], voters | {TOKEN_TAG: IDS[2]}),
    ]
    table = table_of(*holders)
    assert name_of(highest_holder(table.showing())) == name_of(member_followed(table, "")) == "b"
    assert member_followed(table, IDS[2]) is None, "below the floor: it will be told so, and takes a fresh id"
    assert member_followed(table_of(*holders[:1]), "") is None, "nobody holds the lease"


def test_only_minted_ids_are_below_a_floor() -> None:
    low, pinned = (record for record in table_of((IDS[0], {}), ("0", {})))
    assert below_floor(low, IDS[1])
    assert not below_floor(low, IDS[0])
    assert not below_floor(pinned, IDS[1])
