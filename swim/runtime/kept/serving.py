"""Requests that this node serves: the tasks that carry them out, and the answers to the askers."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol

import trio

from swim.runtime.feeds.bell import Bell
from swim.runtime.feeds.inbox import Inbox, Letter
from swim.runtime.nurseries import unwrapped_nursery
from swim.types import Member
from swim.wire.records import Kind, Lane, Record, pack_failure

__all__ = ["Handler", "Reply", "Serving", "call_handler"]

Handler = Callable[[Member, bytes], Awaitable[bytes]]
_AT_ONCE = 16
"""Requests that one task carries out without a pause, if their handlers make none."""
_UNSERVED_S = 2.0
"""So long a request waits for its topic to be served: its asker may be quicker than a program that begins."""
_STOPPED = pack_failure("Cancelled", "this topic is not served any more")

_logger = logging.getLogger("swim")
_Asked = tuple[str, str | None, bytes]
"""Which request: of which process, and what that calls it."""


class Reply(Protocol):
    """What answers go through."""

    async def answer(self, to: Member, record: Record, *, alone: bool) -> None:
        """Once there is room. Does nothing when that process is gone. `alone`: see `SendWindow.put`."""

    def answer_at_once(self, to: Member, record: Record) -> None:
        """Whether or not there is room."""

    def checked(self, payload: bytes) -> bytes:
        """Raises TypeError and `PayloadTooLarge`."""


class Serving:
    """All topics that this node serves."""

    def __init__(self, name: str, inbox: Inbox, reply: Reply) -> None:
        self.served = 0
        """Requests that were carried out, or at least begun."""
        self._name = name
        self.inbox = inbox
        self._reply = reply
        self._waiting: dict[_Asked, Letter] = {}
        self._unserved: dict[_Asked, float] = {}
        """Of these, as of the last look: since when nothing serves their topic."""
        self._running: dict[_Asked, trio.CancelScope] = {}
        self._handlers: dict[str, Handler] = {}

    def handler(self, topic: str) -> Handler | None:
        """What serves this topic now."""
        return self._handlers.get(topic)

    # --- what others want
    def requested(self, letter: Letter) -> None:
        """It waits for its turn, and for its topic to be served."""
        self._waiting[_asked(letter)] = letter

    def look(self, now: float) -> None:
        """Refuse what nobody has come to serve."""
        waiting = self._waiting.items()
        unserved = [asked for asked, letter in waiting if letter.record.topic not in self._handlers]
        self._unserved = {asked: self._unserved.get(asked, now) for asked in unserved}
        for asked, since in self._unserved.items():
            if now - since >= _UNSERVED_S:
                letter = self._waiting.pop(asked)
                self.inbox.give_up([letter])
                text = pack_failure("Unserved", f"the topic {letter.record.topic!r} is not served there")
                self._reply.answer_at_once(letter.sender, Record(text, Kind.FAILURE, call=asked[2]))

    def cancel(self, sender: Member, call: bytes) -> None:
        """It does not wait for this any more."""
        asked = (sender.name, sender.process, call)
        if (waiting := self._waiting.pop(asked, None)) is not None:
            self.inbox.give_up([waiting])
        elif (scope := self._running.pop(asked, None)) is not None:
            scope.cancel()

    def forget(self, name: str) -> None:
        """The process that has asked under this name is gone."""
        gone = [asked for asked in self._waiting if asked[0] == name]
        self.inbox.give_up([self._waiting.pop(asked) for asked in gone])
        for asked in [asked for asked in self._running if asked[0] == name]:
            self._running.pop(asked).cancel()

    # --- what is done
    @asynccontextmanager
    async def serve(self, topic: str, handler: Handler, limit: int) -> AsyncIterator[None]:
        """See `Cluster.serve`."""
        async with unwrapped_nursery() as nursery:
            desk = _Desk(self, (Kind.REQUEST, topic), handler, limit, nursery)
            self.inbox.serve(desk.lane, desk.wake)
            self._handlers[topic] = handler
            try:
                await trio.lowlevel.checkpoint()
                yield
            finally:
                self.inbox.serve_no_more(desk.lane)
                del self._handlers[topic]
                nursery.cancel_scope.cancel()

    async def carry_out(self, letter: Letter, handler: Handler, scope: trio.CancelScope) -> bool:
        """From the beginning to the answer. What the handler raises is the asker's.

        `scope`: the one that it is carried out in. Returns whether that is still good for another: the asker,
        which cancels it, gets no answer.
        """
        asked, sender, call = _asked(letter), letter.sender, letter.record.call
        record: Record | None = None
        self._waiting.pop(asked, None)
        letter.take(read=True)
        self.served += 1
        self._running[asked] = scope
        try:
            try:
                payload = self._reply.checked(await call_handler(handler, sender, letter.record.payload))
                record = Record(payload, Kind.ANSWER, "", call)
            except Exception as error:
                topic = letter.record.topic
                _logger.warning(
                    "%s: a request of %s (topic %r) failed", self._name, sender, topic, exc_info=True
                )
                record = Record(_failure(error), Kind.FAILURE, call=call)
            if self._running.pop(asked, None) is None:
                return False
            await self._reply.answer(sender, record, alone=not (self._running or self._waiting))
        except BaseException:
            if record is not None or self._running.pop(asked, None) is not None:
                self._reply.answer_at_once(sender, Record(_STOPPED, Kind.FAILURE, call=call))
            raise
        return True


class _Desk:
    """One topic: a few tasks that carry out what is asked there, more of them as more is asked at once."""

    def __init__(
        self, serving: Serving, lane: Lane, handler: Handler, limit: int, nursery: trio.Nursery
    ) -> None:
        self.lane = lane
        self._serving = serving
        self._handler = handler
        self._left = limit
        self._nursery = nursery
        self._idle = list[Bell]()

    def wake(self) -> None:
        """There is something to be done."""
        if self._idle:
            self._idle.pop().ring()
        elif self._left:
            self._left -= 1
            self._nursery.start_soon(self._work)

    @trio.lowlevel.enable_ki_protection
    async def _work(self) -> None:
        count, bell = 0, Bell()
        while True:
            with trio.CancelScope() as scope:  # for many requests: to make one is a good part of the work
                good = True
                while good:
                    if (letter := self._serving.inbox.take(self.lane)) is None:
                        self._idle.append(bell)
                        await bell.wait()
                        continue
                    good = await self._serving.carry_out(letter, self._handler, scope)
                    count += 1
                    if count % _AT_ONCE == 0:
                        await trio.lowlevel.checkpoint()


@trio.lowlevel.disable_ki_protection
async def call_handler(handler: Handler, sender: Member, payload: bytes) -> bytes:
    """The application's own code: Ctrl-C may strike it. Where it was cancelled, and its clean-up has failed
    as well, it was cancelled: no failure of its own may end what serves the others.
    """
    try:
        return await handler(sender, payload)
    except BaseExceptionGroup as group:
        rest = group.split(Exception)[1]
        if rest is None:
            raise
        _logger.warning("the clean-up of a request of %s failed", sender, exc_info=True)
        raise rest from None


def _failure(error: Exception) -> bytes:
    """What the asker is told of it."""
    try:
        text = str(error)
    except Exception:
        text = "(its text cannot be had)"
    return pack_failure(type(error).__name__, text)


def _asked(letter: Letter) -> _Asked:
    return letter.sender.name, letter.sender.process, letter.record.call
