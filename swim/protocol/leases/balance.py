"""Which of the processes that offer themselves for a name is to own it: each as many as the others.

All here are decisions about one group of names (see `group_of`). Nothing is moved unless the process that
gives has at least two more than the one that gets, so only what is necessary is moved.
"""

from __future__ import annotations

from collections.abc import Iterable

from swim.protocol.leases.books import Books, Session, Use, group_of

__all__ = ["MOVES_MAX", "SETTLE_S", "choose", "next_move"]

MOVES_MAX = 8
"""Names of one group that are on their way from one owner to another at a time."""
SETTLE_S = 1.0
"""Seconds after a process has offered itself: so ten that come together make one rebalancing."""


def choose(waiting: Iterable[Use], name: str) -> Use | None:
    """Of those that offer themselves for a free name: the one that owns the fewest, of those the first."""
    group = group_of(name)
    return min(waiting, key=lambda use: use.session.owns(group), default=None)


def next_move(books: Books, group: str, now: float, fresh: float) -> tuple[Use, Session] | None:
    """What its owner is to give up, and for which process; None when the spread is as even as it can be.

    Only for one that was heard in the last `fresh` seconds: another would not be granted it (see `Grantor`),
    so that what was given up would go back and forth until its session is over.
    """
    moving = books.moving.get(group, {})
    if len(moving) >= MOVES_MAX:
        return None
    offering = [session for session in books.sessions.values() if group in session.offered]
    counts = {session.process: session.owns(group) for session in offering}
    for use in moving.values():
        assert use.moving_to is not None
        for process, more in ((use.session.process, -1), (use.moving_to.process, 1)):
            counts[process] = counts.get(process, 0) + more
    by_count = sorted(offering, key=lambda session: counts[session.process])
    for poor in by_count:
        if now < poor.offered[group] + SETTLE_S:
            continue
        for rich in reversed(by_count):
            if counts[rich.process] < counts[poor.process] + 2:
                break
            movable = _movable(books, rich, poor, group, now - fresh)
            if movable is not None:
                return movable, poor
    return None


def _movable(books: Books, rich: Session, poor: Session, group: str, since: float) -> Use | None:
    """The latest that `rich` has got, of those for which `poor` has offered itself since then."""
    for use in reversed(rich.owned.get(group, {}).values()):
        waiting = books.names[use.name].waiting.values()
        if use.moving_to is None and any(each.session is poor and each.heard > since for each in waiting):
            return use
    return None
