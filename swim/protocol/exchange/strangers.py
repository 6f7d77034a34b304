"""Packets from addresses that are no member's: a stranger has to introduce itself and answer a ping.

A node that has just joined passes on news to members that do not know it yet, and answers a ping; noise, and
forged addresses, do not. News from a stranger waits until the stranger has answered; then it is read again,
and counts if the stranger has become a member by it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from swim.protocol.base.context import Context, Part
from swim.protocol.membership.asking import Asking
from swim.protocol.membership.updates import Membership
from swim.types import Address
from swim.wire import unpack_address
from swim.wire.messages import Ack, Alive, Dead, Suspect

__all__ = ["Strangers"]

_STRANGERS_MAX = 64
_NEWS_MAX = 128
"""Strangers whose news waits, and pieces of news of each."""

News = Alive | Suspect | Dead


class Strangers(Part):
    """The news that waits for an answer, by the address that it came from."""

    def __init__(
        self,
        context: Context,
        membership: Membership,
        asking: Asking,
        believed: Callable[[News, Address, float], None],
    ) -> None:
        super().__init__(context)
        self._membership = membership
        self._ask = asking.ask
        self._believed = believed
        self._waiting: dict[Address, list[News]] = {}

    def receive(self, news: News, source: Address, now: float) -> None:
        """News from a stranger; the first has to be of itself."""
        waiting = self._waiting.get(source)
        if waiting is None:
            if not isinstance(news, Alive) or unpack_address(news.address, news.port) != source:
                self._outbox.drop("stranger")
                return
            if len(self._waiting) >= _STRANGERS_MAX:
                self._outbox.drop("strangers-max")
                return
            answered = partial(self._answered, source)
            if self._ask(news.node, source, now, answered, lambda at: self._silent(source)):
                self._waiting[source] = [news]
        elif len(waiting) < _NEWS_MAX:
            waiting.append(news)
        else:
            self._outbox.drop("stranger")

    def _answered(self, source: Address, ack: Ack, now: float) -> None:
        if ack.unknown:  # of another cluster: it takes this node for the one that had its address before
            self._silent(source)
            return
        waiting = self._waiting.pop(source)
        assert isinstance(waiting[0], Alive)
        self._membership.alive(waiting[0], now, source, answer=ack)
        if self._table.at(source) is None:
            self._outbox.drop("stranger")  # it is still no member: another process has its name
            return
        for news in waiting[1:]:
            self._believed(news, source, now)

    def _silent(self, source: Address) -> None:
        for _ in self._waiting.pop(source):
            self._outbox.drop("stranger")
