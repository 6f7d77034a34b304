"""Members with whom packets are exchanged over kept streams as well as by UDP, which may be blocked."""

from __future__ import annotations

from functools import partial

from swim.protocol.context import Context, Part
from swim.protocol.table import Record
from swim.types import Address

__all__ = ["Streamed"]

_ANSWER_S = 5.0
"""Who sends over the stream is answered over it for so long."""


class Streamed(Part):
    """To which addresses, and until when."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.addresses: dict[Address, None] = {}

    def heard(self, record: Record, now: float) -> None:
        """A packet of this member came over its stream."""
        self.addresses[record.address] = None
        self._timers.set(("streamed", record.address), now + _ANSWER_S, partial(self._end, record.address))

    def _end(self, address: Address, now: float) -> None:
        self.addresses.pop(address, None)
