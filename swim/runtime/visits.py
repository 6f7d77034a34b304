"""The streams that others have opened to this node, while they are served; and which has to give way.

Anybody can open streams, and say nothing on them or half of something, or not read what they asked for. There
are bounds on their number, and on the memory for requests that are being read and answers that are not taken
yet; what is over a bound ends the streams that can be missed best:

- of hosts that no known member is on (one that keeps a stream to this node, or to which it keeps one);
- of the host that has the most of what is scarce, places or bytes;
- that have said nothing yet, or take longer than `GRACE`; not those that wait for this node alone, or it
  would begin the answers to a crowd that joins again and again, and end few;
- and of those the oldest, or of bytes the one that takes the most.

So a stranger, even under many addresses, does not keep newcomers out, nor a crowd of strangers the members.

A few bytes may ask for all that a node knows. A host that was answered with much waits for its next answer,
unless a known member is on it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import trio

from swim.protocol.base.limits import TokenBucket, keep_latest
from swim.types import Address

__all__ = ["BYTES_MAX", "Visit", "Visits"]

BYTES_MAX = 64 * 1024 * 1024
"""Of requests that are being read, and of answers, all streams together."""
ANSWERED_PER_S, ANSWERED_BURST = 8 * 1024 * 1024, 32 * 1024 * 1024
"""Bytes of answers to one host, in the long run and at once."""
_HOSTS_MAX = 1_024
"""Of which it is remembered how much they were answered."""
GRACE = 1.0
"""Seconds for which a stream that has begun to say something keeps its place."""


@dataclass(eq=False, slots=True)
class Visit:
    """A stream that another has opened, while it is served."""

    source: Address
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    since: float = field(default_factory=trio.current_time)
    memory: int = 0
    """Bytes of memory for its request, until it is answered; then for the answer, until that is taken."""
    gave_way: bool = False
    owed: bool = False
    """It has said all, and waits for nothing but this node."""


class Visits:
    """`members`: the hosts of members that are known to be members."""

    def __init__(self, count_max: int, members: Callable[[], Collection[str]]) -> None:
        self._count_max = count_max
        self._members = members
        self._visits: dict[Visit, None] = {}
        """In the order in which they came."""
        self._places = Counter[str]()
        self._bytes = Counter[str]()
        self._memory = 0
        self._answered: dict[str, TokenBucket] = {}

    def admit(self, source: Address) -> Visit | None:
        """A place for a stream that was opened just now; None when no other has to give way for it."""
        visit = Visit(source)
        self._add(visit)
        if len(self._visits) > self._count_max:
            least = self._least_worth(visit)
            if least is visit:
                self.leave(visit)
                return None
            self._end(least)
        return visit

    def take_memory(self, visit: Visit, size: int) -> bool:
        """It takes so many bytes of memory now. False when the visit itself has to give way."""
        if visit.gave_way:
            return False
        more = size - visit.memory
        visit.memory = size
        self._bytes[visit.source.host] += more
        self._memory += more
        while self._memory > BYTES_MAX:
            members = self._members()
            self._end(max(self._visits, key=lambda each: self._weight(each, members)))
        return not visit.gave_way

    async def wait_for_answer(self, visit: Visit) -> None:
        """Until its host may be answered again."""
        bucket = self._answered.get(visit.source.host)
        if bucket is not None and visit.source.host not in self._members():
            await trio.sleep(bucket.wait(trio.current_time()))

    def note_owed(self, visit: Visit) -> None:
        """All of its request was read, and its host may be answered."""
        visit.owed = True

    def note_answer(self, visit: Visit, size: int) -> None:
        """It is answered with so many bytes, and has to take them."""
        visit.owed, visit.since = False, trio.current_time()
        host = visit.source.host
        bucket = self._answered.pop(host, None) or TokenBucket(ANSWERED_PER_S, ANSWERED_BURST)
        bucket.fine(size, trio.current_time())
        self._answered[host] = bucket
        keep_latest(self._answered, _HOSTS_MAX)

    def leave(self, visit: Visit) -> None:
        """It has been served, or has ended; a second time does nothing."""
        if visit not in self._visits:
            return
        del self._visits[visit]
        host = visit.source.host
        self._memory -= visit.memory
        for counts, count in ((self._places, 1), (self._bytes, visit.memory)):
            counts[host] -= count
            if not counts[host]:
                del counts[host]

    def _add(self, visit: Visit) -> None:
        self._visits[visit] = None
        self._places[visit.source.host] += 1

    def _end(self, visit: Visit) -> None:
        visit.gave_way = True
        visit.scope.cancel()
        self.leave(visit)

    def _least_worth(self, newest: Visit) -> Visit:
        """Which has to give way: mostly the first that is looked at, however many there are."""
        members = self._members()
        lowest = False, -max(self._places.values()), 0
        least, worth = newest, self._worth(newest, newest, members)
        for visit in self._visits:
            if worth == lowest:
                break
            its = self._worth(visit, newest, members)
            if its < worth:
                least, worth = visit, its
        return least

    def _worth(self, visit: Visit, newest: Visit, members: Collection[str]) -> tuple[bool, int, int]:
        """Of places; the least gives way, the older one of equals."""
        host = visit.source.host
        keeps = visit.owed or (visit.memory > 0 and newest.since - visit.since < GRACE)
        return host in members, -self._places[host], 1 if visit is newest else 2 if keeps else 0

    def _weight(self, visit: Visit, members: Collection[str]) -> tuple[bool, int, int]:
        """Of bytes; the greatest gives way."""
        return visit.source.host not in members, self._bytes[visit.source.host], visit.memory
