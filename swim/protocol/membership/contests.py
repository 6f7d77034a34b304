"""Asks whether a process of a name is there: before news moves it, or gives its name or address to another.

By UDP, and soon over TCP as well, which may be all that passes. If neither brings an answer, none is there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from swim.protocol.base.calling import Calling
from swim.protocol.base.context import Context, Part
from swim.protocol.gossip.own_record import OwnRecord
from swim.protocol.membership.asking import Asking
from swim.protocol.view.table import Record
from swim.types import Address
from swim.wire.messages import Ack, Standing

__all__ = ["Contests", "confirms", "has_to_answer", "is_as", "is_rival"]

_TRIES = 8
"""Pings, of which some may get lost."""
_PATIENCE = 2.0
"""Times `rtt_max`, for both ways together: what opens a connection may get lost once, too."""

_OPEN_MAX = 32
"""Claims can be made up: there is to be room for the questions of other parts."""

Settle = Callable[[Ack | None, float], None]


@dataclass(slots=True, eq=False)
class _Question:
    """Does this process answer where it is said to be? It decides what becomes of a claim."""

    claim: tuple[str, Address]
    asked: Record
    until: float
    settle: Settle
    ways: int = 1
    """By which an answer may still come."""


class Contests(Part):
    """The questions that are open, by what is claimed: a name, and the address that it is to have."""

    def __init__(self, context: Context, own: OwnRecord, calling: Calling, asking: Asking) -> None:
        super().__init__(context)
        self._own = own
        self._calling = calling
        self._ask = asking.ask
        self._open: dict[tuple[str, Address], _Question] = {}

    def put(self, claim: tuple[str, Address], asked: Record, now: float, settle: Settle) -> None:
        """Ask this process at its address. `settle` gets the answer, or None if there is none.

        Nothing happens while a question about that claim is open, or when there are too many.
        """
        if claim in self._open:
            return
        if len(self._open) >= _OPEN_MAX:
            self._outbox.drop("contests-max")
            return
        rtt_max = self._config.rtt_max
        question = _Question(claim, asked, now + _PATIENCE * rtt_max, settle)
        answered, silent = partial(self._heard, question), partial(self._heard, question, None)
        if self._ask(asked.name, asked.address, now, answered, silent, tries=_TRIES):
            self._open[claim] = question
            self._timers.set(("contest", claim), now + rtt_max / _TRIES, partial(self._call, question))

    def _call(self, question: _Question, now: float) -> None:
        """Over TCP as well: the first ping was not answered at once."""
        question.ways += 1
        self._timers.set(("contest", question.claim), question.until, partial(self._end, question, None))
        asked, standing = question.asked, Standing(self._own.boot.encode())
        heard = partial(self._heard, question)
        if not self._calling.call(asked.name, asked.address, heard, standing=standing):
            self._end(question, None, now)

    def _heard(self, question: _Question, ack: Ack | None, now: float) -> None:
        """What came of one way. An answer counts at once, also if it says that it is another's address."""
        question.ways -= 1
        if ack is not None or not question.ways:
            self._end(question, ack, now)

    def _end(self, question: _Question, ack: Ack | None, now: float) -> None:
        if self._open.get(question.claim) is question:
            del self._open[question.claim]
            self._timers.cancel(("contest", question.claim))
            question.settle(ack, now)


def is_rival(old: Record, new: Record) -> bool:
    """Is it another process, elsewhere? Two of memberlist are told apart by nothing else."""
    return old.address != new.address and (old.boot != new.boot or not new.own)


def has_to_answer(old: Record, new: Record) -> bool:
    """Is the news more than a change of what is known of this process, where it is known to be?"""
    if old.boot == new.boot and old.address == new.address:
        return False
    return old.present or (old.boot == new.boot and new.own)


def is_as(known: Record | None, before: Record | None) -> bool:
    """Is a member still the same process at the same address, or gone?"""
    if known is None or before is None:
        return known is before
    return not known.present or (known.boot, known.address) == (before.boot, before.address)


def confirms(ack: Ack | None, claim: Record, old: Record | None) -> bool:
    """Does the answer to a ping (or that there was none) bear a claim out?

    A new name at another member's address has to answer by that name. A process that has moved, or has come
    up in a member's place, has to be the one that answers there; if it is elsewhere, the old one must not
    answer any more.
    """
    if old is None:
        return ack is not None
    boot = None if ack is None else ack.boot
    if is_rival(old, claim):
        return boot is None or boot not in (b"", old.packed_boot)
    return boot == claim.packed_boot
