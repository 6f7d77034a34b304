"""Ids order the members by when they joined; boots tell one process from the next."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swim.protocol.view.identity import (
    check_pinned_id,
    id_milliseconds,
    is_minted,
    mint_boot,
    mint_id,
    pack_id,
    unpack_id,
    valid_boot,
    valid_id,
)

milliseconds = st.integers(0, (1 << 48) - 1)
seeds = st.integers(0, 1 << 32)
pinned = st.from_regex("[0-9A-Za-z]{1,26}", fullmatch=True).filter(lambda text: not is_minted(text))


@given(milliseconds, seeds)
def test_a_minted_id_has_the_shape_of_a_ulid_and_keeps_its_time(time: int, seed: int) -> None:
    text = mint_id(time, random.Random(seed))
    assert len(text) == 26
    assert is_minted(text)
    assert valid_id(text)
    assert id_milliseconds(text) == time


@given(milliseconds, milliseconds, seeds)
def test_later_ids_sort_behind(one: int, two: int, seed: int) -> None:
    rng = random.Random(seed)
    first, second = mint_id(one, rng), mint_id(two, rng)
    if one != two:
        assert (first < second) == (one < two)
    assert first != second


@given(milliseconds, seeds)
def test_packs_into_16_bytes(time: int, seed: int) -> None:
    text = mint_id(time, random.Random(seed))
    assert len(pack_id(text)) == 16
    assert unpack_id(pack_id(text)) == text


@given(milliseconds, milliseconds, seeds)
def test_the_order_of_the_packed_form_is_that_of_the_text(one: int, two: int, seed: int) -> None:
    rng = random.Random(seed)
    first, second = mint_id(one, rng), mint_id(two, rng)
    assert (first < second) == (pack_id(first) < pack_id(second))


@given(pinned)
def test_pinned_ids_pack_too_and_are_never_taken_for_minted_ones(text: str) -> None:
    check_pinned_id(text)
    assert len(pack_id(text)) != 16
    assert unpack_id(pack_id(text)) == text


@given(st.binary(max_size=64))
def test_unpacking_anything_gives_a_valid_id_or_nothing(raw: bytes) -> None:
    text = unpack_id(raw)
    assert text is None or valid_id(text)


@given(st.binary(min_size=16, max_size=16))
def test_sixteen_bytes_are_a_minted_id_or_nothing(raw: bytes) -> None:
    text = unpack_id(raw)
    assert text is not None
    assert is_minted(text)
    assert pack_id(text) == raw


@pytest.mark.parametrize(
    "text", ["", "a" * 27, "with space", "über", "a-b", "a\n", "01ARZ3NDEKTSV4RRFFQ69G5FAV"]
)
def test_what_cannot_be_pinned(text: str) -> None:
    with pytest.raises(ValueError, match="pinned id"):
        check_pinned_id(text)


@pytest.mark.parametrize(
    "text",
    ["01ARZ3NDEKTSV4RRFFQ69G5FAv", "81ARZ3NDEKTSV4RRFFQ69G5FAV", "01ARZ3NDEKTSV4RRFFQ69G5FAU", "1", ""],
)
def test_what_is_not_minted(text: str) -> None:
    assert not is_minted(text)


def test_the_published_example_of_a_ulid() -> None:
    assert id_milliseconds("01ARZ3NDEKTSV4RRFFQ69G5FAV") == 1469922850259


@given(seeds)
def test_boots_are_valid_and_differ(seed: int) -> None:
    rng = random.Random(seed)
    first, second = mint_boot(rng), mint_boot(rng)
    assert valid_boot(first)
    assert first != second


@pytest.mark.parametrize("text", ["", "1234567", "123456789", "1234567\n", "1234567ü", "1234 678"])
def test_what_is_not_a_boot(text: str) -> None:
    assert not valid_boot(text)
