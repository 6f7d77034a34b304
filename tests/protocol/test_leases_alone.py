"""The lease under arbitrary views and faults. More seeds: `python -m tests.protocol.leases_alone 0 20000`."""

from __future__ import annotations

import pytest

from swim.protocol import lease
from tests.protocol.leases_alone import CALM_S, Overlap, run


@pytest.mark.parametrize("first", range(0, 60, 10))
def test_never_two_holders_and_one_again_in_calm(first: int) -> None:
    for seed in range(first, first + 10):
        live_after = run(seed).live_after
        assert live_after is not None, f"seed {seed}: nobody within {CALM_S} s"


def test_a_lease_that_is_counted_for_too_long_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "_MARGIN", -1.0)
    found = False
    for seed in range(60):
        try:
            run(seed)
        except Overlap:
            found = True
            break
    assert found
