"""The readers of events, and what waits for them: bounded, so that a slow one never blocks the protocol."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import trio

from swim.events import Event, MemberFailed, Snapshot
from swim.runtime.feeds.reading import BufferedStream
from swim.statistics import EVENT_NAMES

__all__ = ["EventStream", "Seen", "Subscriptions"]


class Seen:
    """How often what happened."""

    def __init__(self) -> None:
        self.failures = Counter[str]()
        self._kinds = Counter[type]()

    def add(self, event: Event) -> None:
        self._kinds[type(event)] += 1
        if isinstance(event, MemberFailed):
            self.failures[event.reason] += 1

    def events(self) -> dict[str, int]:
        """By the names of `EVENT_NAMES`."""
        return {name: self._kinds[kind] for kind, name in EVENT_NAMES.items()}


class Subscriptions:
    """The open event streams of a cluster."""

    def __init__(self, snapshot: Callable[[], Snapshot], limit: int) -> None:
        self.seen = Seen()
        self._snapshot = snapshot
        self._limit = limit
        self._streams: dict[EventStream, None] = {}
        self._ended = False

    def publish(self, events: Sequence[Event]) -> None:
        """Hand these events to every stream. What they tell has happened already: see `Snapshot`."""
        for event in events:
            self.seen.add(event)
        for stream in self._streams:
            stream._put(events)

    def end(self) -> None:
        """No more events: readers see the end after what is buffered."""
        self._ended = True
        for stream in self._streams:
            stream._end()

    def _add(self, stream: EventStream) -> None:
        if self._ended:
            raise trio.ClosedResourceError("the cluster is closed")
        self._streams[stream] = None

    def _discard(self, stream: EventStream) -> None:
        self._streams.pop(stream, None)


class EventStream(BufferedStream[Event]):
    """An asynchronous iterator of events, open inside ``async with``.

    The first event is a `Snapshot`. When more than `Config.event_buffer` events wait for the reader they are
    replaced by one fresh `Snapshot`. The iteration ends when the cluster is closed.
    """

    _name = "event"

    def __init__(self, subscriptions: Subscriptions) -> None:
        super().__init__()
        self._subscriptions = subscriptions

    async def __anext__(self) -> Event:
        """The next event. Raises `trio.ClosedResourceError` outside of its ``async with``."""
        return await self._next()

    def _open(self) -> None:
        self._subscriptions._add(self)
        self._buffer.append(self._subscriptions._snapshot())

    def _discard(self) -> None:
        self._subscriptions._discard(self)

    def _put(self, events: Sequence[Event]) -> None:
        if len(self._buffer) + len(events) > self._subscriptions._limit:
            # The snapshot contains what all of these events tell, so none of them may follow it.
            self._buffer.clear()
            self._buffer.append(self._subscriptions._snapshot())
        else:
            self._buffer.extend(events)
        self._readers.unpark_all()
