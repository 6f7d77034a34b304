"""Which member a node follows, by what it knows: the rule, for nodes and for those who look at one."""

from __future__ import annotations

from collections.abc import Iterable

from swim.protocol.view.identity import is_minted
from swim.protocol.view.table import MemberTable, Record

__all__ = ["below_floor", "highest_holder", "lowest_member"]


def lowest_member(table: MemberTable, floor: str) -> Record | None:
    """Without voters: the present member with the lowest id of those that may lead, not below the floor.

    A pinned id is outside the floor rule.
    """
    return table.get(table.lowest_id(floor) or "")


def highest_holder(holders: Iterable[Record]) -> Record | None:
    """With voters: of the members that show that they hold the lease, the one with the highest token."""
    return max(holders, key=lambda record: record.token, default=None)


def below_floor(record: Record, floor: str) -> bool:
    """Has there been a newer leader than this member could be?"""
    return record.id is not None and is_minted(record.id) and record.id < floor
