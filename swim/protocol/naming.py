"""Two live processes under one name: found by asking the other one, settled by the higher id giving way."""

from __future__ import annotations

from collections.abc import Callable

from swim.errors import NameConflict, SwimError
from swim.protocol.context import Context, Part
from swim.protocol.identity import unpack_id
from swim.protocol.myself import Myself
from swim.protocol.probing import Probing
from swim.protocol.table import Record
from swim.types import Address
from swim.wire.messages import Ack

__all__ = ["Naming"]


class Naming(Part):
    """Watches over this node's name. Hearsay is never enough: the other must answer a ping."""

    def __init__(
        self,
        context: Context,
        myself: Myself,
        probing: Probing,
        failed: Callable[[SwimError, float], None],
    ) -> None:
        super().__init__(context)
        self._myself = myself
        self._probing = probing
        self._failed = failed
        self._asking: set[Address] = set()

    def ask(self, address: Address, now: float, *, outbid: int | None = None) -> None:
        """Is a process alive there under this node's name?

        If none answers and the news was of a member (`outbid`: at which incarnation), refute it.
        """
        if address in self._asking:
            return

        def answered(ack: Ack, at: float) -> None:
            self._asking.discard(address)
            self._settle(ack, address, at)

        def silent(at: float) -> None:
            self._asking.discard(address)
            if outbid is not None:
                self._outbid(outbid, at)

        if self._probing.ask(self._name, address, now, answered, silent):
            self._asking.add(address)

    def claimed(self, other: Record, now: float) -> None:
        """News of another process under this node's name, at another address."""
        self.ask(other.address, now, outbid=other.incarnation)

    def _outbid(self, incarnation: int, now: float) -> None:
        self._myself.refute(incarnation, now)

    def _settle(self, ack: Ack, address: Address, now: float) -> None:
        mine = self._myself.record
        if ack.boot == self._myself.boot.encode():
            return  # this node itself, under another of its addresses
        theirs = unpack_id(ack.sender_id)
        if mine is not None and mine.id is not None and (theirs is None or theirs > mine.id):
            self._outbox.send(address, mine.as_alive())  # it is the other who has to give way
            return
        self._failed(
            NameConflict(
                f"the name {self._name!r} is taken by a live member at {address}: "
                "give this node another name, or stop that one"
            ),
            now,
        )
