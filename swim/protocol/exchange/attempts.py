"""How often an address is called that others have named, but from which no member has answered yet.

Anybody may say that there is a member at an address, dead or lost. Such an address is called few times, ever
more seldom, and then no more until long after: else a word of a stranger would make all nodes call where it
likes, for as long as they remember. A member that has answered once is worth calling for as long as its
record is kept.
"""

from __future__ import annotations

from swim.protocol.base.limits import keep_latest
from swim.protocol.view.table import MemberTable, Record
from swim.types import Address

__all__ = ["Attempts"]

_ATTEMPTS_MAX = 20
"""In vain at one address, until it is let be."""
_FIRST_GAP_S, _GROWTH = 1.0, 1.5
"""After a partition one that lives is found in at most half of the time again for which it was lost."""
_FORGET_S = 86_400.0
"""Then it may be tried again."""
_ADDRESSES_MAX = 1_024


class Attempts:
    """What was tried in vain, by address."""

    def __init__(self, table: MemberTable) -> None:
        self._table = table
        self._tried: dict[Address, tuple[int, float]] = {}
        """How often, and when last; the address that was tried last comes last."""

    def worth(self, record: Record, now: float) -> bool:
        """Is it time to call a member that was given up?"""
        return self._table.met(record) or self.due(record.address, now)

    def due(self, address: Address, now: float) -> bool:
        """Is it time for another attempt?"""
        count, last = self._tried.get(address, (0, now))
        waited = now - last >= _FIRST_GAP_S * _GROWTH ** (count - 1)
        return count == 0 or (waited and self.hopeful(address, now))

    def hopeful(self, address: Address, now: float) -> bool:
        """Will there be another attempt?"""
        count, last = self._tried.get(address, (0, now))
        return count < _ATTEMPTS_MAX or now - last >= _FORGET_S

    def tried(self, address: Address, now: float) -> None:
        """An attempt is made now."""
        count, last = self._tried.pop(address, (0, now))
        self._tried[address] = (1 if now - last >= _FORGET_S else min(count + 1, _ATTEMPTS_MAX), now)
        keep_latest(self._tried, _ADDRESSES_MAX)

    def answered(self, address: Address) -> None:
        """A member is there: what was tried before does not count."""
        self._tried.pop(address, None)
