"""For hypothesis: schedules of faults that shrink to the few that matter. Needs the package `hypothesis`."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from swim.testing.schedules import KINDS, SECONDS_MAX, Fault

__all__ = ["schedules"]


def schedules(
    names: Sequence[str], seconds: float = 60.0, faults_max: int = 8
) -> st.SearchStrategy[list[Fault]]:
    """Up to so many faults of programs of these names, that begin within so many seconds: for `inflict`."""
    some = st.lists(st.sampled_from(list(names)), min_size=1, max_size=max(1, len(names) // 2), unique=True)
    fault = st.builds(
        Fault,
        at=st.floats(0.0, seconds),
        kind=st.sampled_from(list(KINDS)),
        names=some.map(tuple),
        seconds=st.floats(0.0, SECONDS_MAX),
    )
    return st.lists(fault, max_size=faults_max)
