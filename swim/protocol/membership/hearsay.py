"""Another's word that a member is gone, against which this node itself has nothing: then the member is asked.
So it is when another says that a member lives which this node alone has given up.

A verdict travels fast and far. It reaches nodes that never lost the member, when two sides of a partition
meet again; and without keys anybody can make one up. Nodes that know of nothing against the member believe
what is true a few round trips later, and what is not ends with them. The member hears of it and refutes it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from swim.protocol.base.context import Context, Part
from swim.protocol.base.limits import keep_latest
from swim.protocol.membership.asking import Asking
from swim.protocol.view.table import Record
from swim.wire.messages import Ack, Dead

__all__ = ["Hearsay"]

_TRIES, _PATIENCE = 3, 2.0
"""Pings, and how long they may take: times that an answer of those that answer may take."""
_LOOK_AGAIN_S = 2.0
"""Between two pings to one that is said to live: such words may be many, and made up."""
_LOOKED_MAX = 1_024
"""Of so many it is remembered when they were asked that."""


Believe = Callable[[float], None]


@dataclass(slots=True, eq=False)
class _Question:
    """Does this member live? It decides whether what is said of it is believed."""

    asked: Record
    believe: Believe
    farewell: bool = False
    """It is said in the member's own name."""
    gone: bool = False
    """It is said that the process has ended: a refusal from there leaves nothing to wait for."""


class Hearsay(Part):
    """Asks members whether they live, of which others say that they do not."""

    def __init__(
        self,
        context: Context,
        asking: Asking,
        doubts: Callable[[Record], bool],
        patience: Callable[[], float],
    ) -> None:
        """`doubts`: does this node itself know of something against the member?"""
        super().__init__(context)
        self._ask = asking.ask
        self._doubts = doubts
        self._patience = patience
        self._open: dict[str, _Question] = {}
        self._looked: dict[str, float] = {}
        """When those that are said to live were asked, the latest at the end."""

    def weigh(self, record: Record, now: float, believe: Believe, news: Dead | None = None) -> None:
        """It is said that a member is gone: `believe` is called, now or later, unless the member answers.

        `news`: the words, of which the member is told, once, so that it can refute them. A farewell, in its
        own name, needs no telling, and stands before what others say of the member meanwhile.
        """
        farewell = news is not None and news.sender == news.node
        told = None if farewell else news
        if self._doubts(record):
            if told is not None:
                self._outbox.send(record.address, told)
            believe(now)
            return
        question = self._open.get(record.name) or self._put(_Question(record, believe), told, now)
        if question is not None and news is not None:
            question.gone = question.gone or news.reason == "process-gone"
            if farewell:
                question.believe, question.farewell = believe, True

    def look_again(self, record: Record, now: float, lives: Callable[[str, float], None]) -> None:
        """Another says that this member lives. If this node alone has given it up, it is asked.

        `lives` is called when it answers. After a long partition this finds those that this node has never
        pinged, and that do not ping it.
        """
        if not record.solo or now - self._looked.get(record.name, -math.inf) < _LOOK_AGAIN_S:
            return

        def answered(ack: Ack, at: float) -> None:
            if ack.boot == record.packed_boot:
                lives(record.name, at)

        if self._ask(record.name, record.address, now, answered, lambda at: None):
            self._looked.pop(record.name, None)
            self._looked[record.name] = now
            keep_latest(self._looked, _LOOKED_MAX)

    def refused(self, name: str, now: float) -> None:
        """The kernel at the member's address, or a firewall, says that no process listens there.

        That alone proves nothing; but together with word of an observer that the process has ended it does.
        """
        question = self._open.get(name)
        if question is not None and question.gone:
            self._silent(question, now)

    def believe_farewell(self, name: str, now: float) -> None:
        """This node has found out itself that the member is gone: its farewell, if there was one, is true."""
        question = self._open.get(name)
        if question is not None and question.farewell:
            self._silent(question, now)

    def _put(self, question: _Question, news: Dead | None, now: float) -> _Question | None:
        """Ask, unless too many are being asked."""
        asked, within = question.asked, _PATIENCE * self._patience()
        answered, silent = partial(self._answered, question), partial(self._silent, question)
        ask = partial(self._ask, asked.name, asked.address, now, answered, silent, news=news)
        if not ask(tries=_TRIES, within=within):
            return None
        self._open[asked.name] = question
        return question

    def _answered(self, question: _Question, ack: Ack, now: float) -> None:
        if ack.unknown or (ack.boot and ack.boot != question.asked.packed_boot):
            self._silent(question, now)  # no member any more by its own account, or another process
        elif self._open.get(question.asked.name) is question:
            del self._open[question.asked.name]
            self._outbox.drop("contradicted")
            self._table.refutations[question.asked.name] += 1

    def _silent(self, question: _Question, now: float) -> None:
        """It does not answer, and what is said of it is true; unless that was settled before."""
        if self._open.get(question.asked.name) is question:
            del self._open[question.asked.name]
            question.believe(now)
