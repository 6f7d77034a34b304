"""What event streams and message streams have in common: a buffer that readers wait for."""

from __future__ import annotations

from collections import deque
from types import TracebackType
from typing import ClassVar, Generic, Self, TypeVar

import trio

from swim.runtime.feeds.pace import Pace

__all__ = ["BufferedStream"]

Item = TypeVar("Item")


class BufferedStream(Generic[Item]):
    """An asynchronous iterator, open inside ``async with``. The iteration ends after `_end`."""

    _name: ClassVar[str]

    def __init__(self) -> None:
        self._buffer: deque[Item] = deque()
        self._readers = trio.lowlevel.ParkingLot()
        self._pace = Pace()
        self._used = False
        self._ended = False
        self._closed = True

    async def __aenter__(self) -> Self:
        await trio.lowlevel.checkpoint()
        if self._used:
            raise trio.ClosedResourceError(f"a {self._name} stream is open once: make another one")
        self._open()
        self._used, self._closed = True, False
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop listening. A task that is waiting gets `trio.ClosedResourceError`."""
        if not self._closed:
            self._closed = True
            self._discard()
            self._buffer.clear()
        self._readers.unpark_all()
        await trio.lowlevel.checkpoint()

    def __aiter__(self) -> Self:
        return self

    async def _next(self) -> Item:
        if self._pace.due():
            await self._pace.checkpoint()
        while not self._buffer:
            if self._closed:
                break
            if self._ended:
                raise StopAsyncIteration
            await self._readers.park()
        if self._closed:
            raise trio.ClosedResourceError(
                f"this {self._name} stream is not open: read it inside of `async with`"
            )
        return self._buffer.popleft()

    def _end(self) -> None:
        self._ended = True
        self._readers.unpark_all()

    def _open(self) -> None:
        raise NotImplementedError

    def _discard(self) -> None:
        raise NotImplementedError
