"""What a node can say of a member's health, for people who ask."""

from __future__ import annotations

import math

from swim.protocol.detector.watch import Watch
from swim.protocol.view.table import MemberTable, Record
from swim.types import Explanation

__all__ = ["KERNEL_FRESH_S", "explain"]

KERNEL_FRESH_S = 0.6
"""What a kernel answered is true for so long."""


def explain(
    table: MemberTable, record: Record, watch: Watch | None, phi: float, attention: float
) -> Explanation:
    """All that is known of a present member; of one that is not observed from here, little."""
    observers, refutations = table.rings.observers(record.name), table.refutations[record.name]
    if watch is None:
        return Explanation(record.member, observers, refutations)
    case = watch.case
    return Explanation(
        record.member,
        observers,
        refutations,
        observed_here=True,
        state=watch.state.value,
        phi=phi,
        silence=0.0 if case is None else case.silence(attention),
        last_heard=None if watch.heard == -math.inf else attention - watch.heard,
        round_trip=watch.round_trip.last,
        loss=watch.loss.share,
        kernel=_kernel(watch, attention),
        accusers={} if case is None else dict(case.accusers),
    )


def _kernel(watch: Watch, attention: float) -> str:
    case = watch.case
    if case is None:
        return "answers" if watch.kernel_known else "unknown"
    if attention - case.kernel_answered < KERNEL_FRESH_S:
        return "answers"
    if watch.refused >= case.since:
        return "refuses"
    return "silent" if watch.kernel_known else "unknown"
