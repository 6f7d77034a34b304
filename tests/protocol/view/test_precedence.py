"""The one table of update precedence, over every state, news and relation of incarnations."""

from __future__ import annotations

import itertools

import pytest

from swim.protocol.view.precedence import TABLE, can_change
from swim.types import MemberState

ALIVE, SUSPECT, DEAD, LEFT = MemberState.ALIVE, MemberState.SUSPECT, MemberState.DEAD, MemberState.LEFT

# SWIM section 4.2 with memberlist's rules, written out: (known, news) -> does it change at a lower, the same,
# a higher incarnation?
EXPECTED = {
    (ALIVE, ALIVE): (False, False, True),
    (ALIVE, SUSPECT): (False, True, True),
    (ALIVE, DEAD): (False, True, True),
    (ALIVE, LEFT): (False, True, True),
    (SUSPECT, ALIVE): (False, False, True),  # memberlist: equality does not clear a suspicion
    (SUSPECT, SUSPECT): (False, False, True),
    (SUSPECT, DEAD): (False, True, True),
    (SUSPECT, LEFT): (False, True, True),
    (DEAD, ALIVE): (False, False, True),
    (DEAD, SUSPECT): (False, False, False),
    (DEAD, DEAD): (False, False, False),
    (DEAD, LEFT): (False, False, False),
    (LEFT, ALIVE): (False, False, True),
    (LEFT, SUSPECT): (False, False, False),
    (LEFT, DEAD): (False, False, False),
    (LEFT, LEFT): (False, False, False),
}


def test_every_case_is_in_the_table() -> None:
    assert set(TABLE) == set(itertools.product(MemberState, MemberState)) == set(EXPECTED)


@pytest.mark.parametrize(
    ("relation", "incarnation"), [(0, 4), (1, 5), (2, 6)], ids=["lower", "same", "higher"]
)
@pytest.mark.parametrize(("known", "news"), EXPECTED, ids=lambda state: state.value)
def test_precedence(known: MemberState, news: MemberState, relation: int, incarnation: int) -> None:
    assert can_change(known, 5, news, incarnation) is EXPECTED[known, news][relation]


@pytest.mark.parametrize("known", MemberState)
@pytest.mark.parametrize("news", MemberState)
def test_old_news_changes_nothing(known: MemberState, news: MemberState) -> None:
    assert not any(can_change(known, 5, news, incarnation) for incarnation in range(5))


@pytest.mark.parametrize("news", [SUSPECT, DEAD, LEFT])
@pytest.mark.parametrize("known", [DEAD, LEFT])
def test_only_the_member_itself_undoes_a_death(known: MemberState, news: MemberState) -> None:
    assert not can_change(known, 5, news, 1_000)


@pytest.mark.parametrize("news", [SUSPECT, DEAD, LEFT])
def test_an_accusation_and_its_refutation_end_alike_in_either_order(news: MemberState) -> None:
    def after(*heard: tuple[MemberState, int]) -> tuple[MemberState, int]:
        state, incarnation = ALIVE, 1
        for what, number in heard:
            if can_change(state, incarnation, what, number):
                state, incarnation = what, number
        return state, incarnation

    for accused, refuted in itertools.product(range(1, 5), repeat=2):
        first, second = (news, accused), (ALIVE, refuted)
        assert after(first, second) == after(second, first)
