"""Members that others speak of and that this node does not know: some are believed, others have to answer.

A node that joins tells of itself, and few others tell of it at a time, in packets of members and in states
that this node has asked for: that is believed. What a state that nobody has asked for says of others than its
sender is not, and no more is a crowd. It is either a cluster that meets this one, and then each of them
answers a ping; or it is made up, and then none does: the rest of a crowd is not asked where very many in a
row are silent. Until then nobody else is told, and few wait: thousands would take megabytes, for nothing.
Real ones that were left out are told of again.

Where members that were believed are given up without ever having answered, fewer are believed.
"""

from __future__ import annotations

from collections.abc import Callable

from swim.protocol.base.context import Context, Part
from swim.protocol.base.limits import TokenBucket, keep_latest
from swim.protocol.membership.asking import Asking
from swim.protocol.view.table import Record
from swim.types import MemberState
from swim.wire import unpack_address
from swim.wire.messages import Ack, Alive

__all__ = ["Newcomers"]

_BELIEVED_PER_S, _BELIEVED_BURST = 32.0, 256
"""Unknown members that are admitted by hearsay, as when a crowd joins; of any more each has to answer."""
_DISAPPOINTED = 16.0
"""One that dies without ever having answered this node costs as much belief as so many."""
_WAITING_MAX = 10_240
"""That wait to be asked, where some have answered lately; else as many as are asked in vain."""
_LATELY_S = 10.0
"""Until all of a cluster that meets this one have been told of again."""
_ASKING_MAX, _ASKED_PER_TURN = 128, 16
"""That are being asked at a time, and begun with in one turn."""
_SILENT_MAX = 512
"""In a row, and nobody answers: those that still wait would not, either. Real ones are told of again."""
_TRIES = 2
_AGAIN_S = 0.5
"""Until it is tried again, where other parts use up all questions."""


class Newcomers(Part):
    """Members that wait to be asked: the newest first, so that a crowd does not keep out those after it."""

    def __init__(self, context: Context, asking: Asking, admit: Callable[[Alive, Ack, float], None]) -> None:
        super().__init__(context)
        self._ask = asking.ask
        self._admit = admit
        self._believed = TokenBucket(_BELIEVED_PER_S, _BELIEVED_BURST)
        self._waiting: dict[str, Alive] = {}
        self._asking: dict[str, None] = {}
        self._silent = 0
        """How many were silent since one answered."""
        self.room = _SILENT_MAX
        """How many may wait."""

    def believed(self, now: float) -> bool:
        """May one more be admitted by hearsay?"""
        return self._believed.take(now)

    def lose(self, record: Record, now: float) -> None:
        """A member is gone. One that never answered was made up, perhaps, and so may others be."""
        if record.state is MemberState.DEAD and not self._table.met(record):
            self._believed.fine(_DISAPPOINTED, now)

    def add(self, news: Alive, now: float) -> None:
        """It is admitted when it has answered, and forgotten when it does not."""
        if news.node in self._asking:
            return
        self._waiting.pop(news.node, None)
        self._waiting[news.node] = news
        if keep_latest(self._waiting, self.room):
            self._outbox.drop("newcomers-max")
        self._ask_soon(now)

    def _ask_soon(self, now: float) -> None:
        """Not at once: what is sent in answer to a packet of a stranger is no more than that packet."""
        self._timers.set_if_unset("newcomers", now, self._ask_some)

    def _ask_some(self, now: float) -> None:
        for _ in range(_ASKED_PER_TURN):
            if not self._waiting or len(self._asking) >= _ASKING_MAX:
                self._waiting = self._waiting or {}  # an empty one takes as much as it did when it was full
                return
            name, news = self._waiting.popitem()
            if not self._ask_one(name, news, now):
                self._waiting[name] = news
                if not self._asking:  # no question of this part is open, whose end would go on with it
                    self._timers.set_if_unset("newcomers", now + _AGAIN_S, self._ask_some)
                return
        self._ask_soon(now)

    def _ask_one(self, name: str, news: Alive, now: float) -> bool:
        def answered(ack: Ack, at: float) -> None:
            del self._asking[name]
            self._silent, self.room = 0, _WAITING_MAX
            self._timers.set("newcomers-answered", at + _LATELY_S, self._doubt)
            self._admit(news, ack, at)
            self._ask_soon(at)

        def silent(at: float) -> None:
            del self._asking[name]
            self._outbox.drop("newcomer-silent")
            self._silent += 1
            if self._silent >= _SILENT_MAX:
                self._give_up_crowd()
            self._ask_soon(at)

        address = unpack_address(news.address, news.port)
        asked = self._ask(name, address, now, answered, silent, tries=_TRIES)
        if asked:
            self._asking[name] = None
        return asked

    def _give_up_crowd(self) -> None:
        self._outbox.drop("newcomer-silent", len(self._waiting))
        self._waiting.clear()
        self._silent, self.room = 0, _SILENT_MAX

    def _doubt(self, now: float) -> None:
        """None has answered lately."""
        self.room = _SILENT_MAX
