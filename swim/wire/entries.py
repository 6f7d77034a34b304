"""The entries of a push/pull, as they are read: very many, and of few is more wanted than the name."""

from __future__ import annotations

from collections.abc import Callable

from swim.wire.bodies import STATE_MAX, node_state_of
from swim.wire.dialect import Unpacking, name, number
from swim.wire.errors import DecodeError
from swim.wire.messages import NodeState

__all__ = ["EntryReader", "Keeps"]

_ENTRY_SIZE_MAX = 4_096  # of a push/pull: to unpack containers takes far more memory than they have bytes
_READ_LATELY_MAX = 512
_read_lately: dict[bytes, NodeState] = {}
"""Entries of push/pulls."""

Keeps = Callable[[str, int, bool], bool]
"""Is an entry wanted of this name, in this state (a `WireState`), from one of our own or from another?"""


class EntryReader:
    """Reads the entries of one push/pull, of a member of our `own` or of another.

    Nearly every entry has been read before, of the same push/pull or of another. One that is not wanted costs
    little more than to find its name.
    """

    def __init__(self, keeps: Keeps, own: bool) -> None:
        self._keeps = keeps
        self._own = own
        self._unpack = Unpacking().unpack

    def read(self, entry: bytes) -> NodeState | None:
        """None: it is not wanted."""
        node = _read_lately.get(entry)
        if node is not None:
            return node if self._keeps(node.name, node.state, self._own) else None
        if len(entry) > _ENTRY_SIZE_MAX:
            raise DecodeError("body", f"an entry of {len(entry)} bytes")
        body = self._unpack(entry)
        if not self._keeps(name(body, b"Name"), number(body, b"State", STATE_MAX), self._own):
            return None
        node = _read_lately[entry] = node_state_of(body)
        if len(_read_lately) > _READ_LATELY_MAX:
            del _read_lately[next(iter(_read_lately))]
        return node
