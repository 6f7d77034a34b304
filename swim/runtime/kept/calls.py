"""Requests that this node has made, and what has become of them."""

from __future__ import annotations

from collections.abc import Callable

import trio

from swim.errors import RequestError, SendError
from swim.runtime.feeds.bell import Bell
from swim.runtime.kept.sending import SendWindow
from swim.types import Member
from swim.wire.records import CALL_SIZE, Kind, Record, unpack_failure

__all__ = ["Calls"]


class _Call:
    """One request to one process, until there is an answer."""

    __slots__ = ("known", "outcome", "window")

    def __init__(self, window: SendWindow) -> None:
        self.window = window
        self.known = Bell()
        self.outcome: bytes | Exception | None = None

    def settle(self, outcome: bytes | Exception) -> None:
        self.outcome = outcome
        self.known.ring()


class Calls:
    """All calls of one node that wait for their answers."""

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        self.made = 0
        self._random_bytes = random_bytes
        self._calls: dict[bytes, _Call] = {}

    async def make(self, window: SendWindow, topic: str, payload: bytes) -> bytes:
        """Ask the process at the other end of this window, and wait for its answer."""
        name = self._random_bytes(CALL_SIZE)
        await window.put(Record(payload, Kind.REQUEST, topic, name), alone=not self._calls)
        call = self._calls[name] = _Call(window)
        self.made += 1
        try:
            await call.known.wait()
        finally:
            del self._calls[name]
            if call.outcome is None and not window.closed:
                window.put_at_once(Record(b"", Kind.CANCEL, call=name))
        if isinstance(call.outcome, bytes):
            return call.outcome
        assert call.outcome is not None
        raise call.outcome

    def heard(self, sender: Member, record: Record) -> bool:
        """An ANSWER or FAILURE. Whether a call to just that process waits for it."""
        call = self._calls.get(record.call)
        if call is None or call.window.member.name != sender.name or call.window.process != sender.process:
            return False
        if record.kind is Kind.ANSWER:
            call.settle(record.payload)
        else:
            call.settle(RequestError(call.window.member, *unpack_failure(record.payload)))
        return True

    def lose(self, window: SendWindow, why: str) -> None:
        """No answers will come to what this window has carried."""
        member = window.member
        for call in self._calls.values():
            if call.window is window:
                text = f"{member} {why}; it is not known whether it has carried out this request"
                call.settle(SendError(text, member))

    def close(self) -> None:
        """The cluster is closed."""
        for call in self._calls.values():
            call.settle(trio.ClosedResourceError("the cluster is closed"))
