"""Rendezvous hashing: everybody agrees, shares are fair, and no more moves than must."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swim.spreading import rendezvous
from swim.types import Address, Member

KEYS = [f"key-{number}" for number in range(24)]


def member(name: str, **changes: object) -> Member:
    return Member(name, Address("127.0.0.1", 7946), **changes)  # type: ignore[arg-type]


names = st.lists(
    st.sampled_from(["a", "b", "ä", "node-1", "node-2", "10.0.0.7:7946", "x" * 128]), unique=True, min_size=1
)


def served(members: list[Member]) -> dict[str, str]:
    return {key: rendezvous(key, members).name for key in KEYS}


@given(names=names, seed=st.integers())
def test_neither_order_nor_what_else_is_known_of_a_member_matters(names: list[str], seed: int) -> None:
    members = [member(name) for name in names]
    others = [member(name, id="01ABC", tags={"role": "db"}, incarnation=7) for name in names]
    random.Random(seed).shuffle(others)
    assert served(members) == served(others)


@given(names=names)
def test_a_node_that_goes_leaves_the_others_what_they_have(names: list[str]) -> None:
    members = [member(name) for name in names]
    before = served(members)
    for gone in members[: len(members) - 1]:
        after = served([other for other in members if other is not gone])
        assert {key for key in KEYS if before[key] != after[key]} == {
            key for key in KEYS if before[key] == gone.name
        }


@given(names=names, newcomer=st.sampled_from(["c", "node-3", "y" * 128]))
def test_a_node_that_comes_takes_and_moves_nothing_else(names: list[str], newcomer: str) -> None:
    members = [member(name) for name in names]
    before, after = served(members), served([*members, member(newcomer)])
    assert {after[key] for key in KEYS if before[key] != after[key]} <= {newcomer}


@pytest.mark.parametrize("count", [2, 3, 10])
def test_shares_are_fair_also_of_what_somebody_leaves(count: int) -> None:
    keys = [f"task/{number}" for number in range(3_000 * count)]
    members = [member(f"node-{number}") for number in range(count + 1)]
    before = {key: rendezvous(key, members).name for key in keys}
    share = len(keys) / (count + 1)
    assert all(abs(had - share) < 0.1 * share for had in Counter(before.values()).values())
    after = {key: rendezvous(key, members[1:]).name for key in keys}
    heirs = Counter(after[key] for key in keys if before[key] == "node-0")
    assert len(heirs) == count
    assert all(abs(got - share / count) < 0.25 * share / count for got in heirs.values())


def test_text_is_its_bytes_and_one_member_serves_all() -> None:
    members = [member(f"node-{number}") for number in range(5)]
    assert [rendezvous(key, members) for key in KEYS] == [rendezvous(key.encode(), members) for key in KEYS]
    assert {rendezvous(key, iter(members[:1])).name for key in KEYS} == {"node-0"}


def test_the_choice_is_the_same_for_ever() -> None:
    """Programs of different versions of this library must agree."""
    members = [member(name) for name in ("a", "b", "c")]
    assert "".join(rendezvous(key, members).name for key in KEYS[:20]) == "bbbcaacacbabbbacabba"


def test_nobody_cannot_serve() -> None:
    with pytest.raises(ValueError, match="no member to serve 'k'"):
        rendezvous("k", [])
