"""The argument why two leases cannot overlap, looked through; and that the look finds what breaks it.

The largest case, with three voters, is for `python -m tests.protocol.leadership.lease_model`: it takes
a minute.
"""

from __future__ import annotations

import pytest

from tests.protocol.leadership.lease_model import CASES, MISTAKES, explore


@pytest.mark.parametrize("case", CASES[:-1], ids=str)
def test_there_are_never_two_holders(case: object) -> None:
    states, path = explore(case)  # type: ignore[arg-type]
    assert path is None, path
    assert states > 1_000


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_is_found(mistake: str) -> None:
    case = CASES[1] if mistake == "no restart wait" else CASES[0]
    _, path = explore(case, mistake)
    assert path is not None
