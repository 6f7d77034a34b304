"""Another's word that a member is gone, while this node hears the member itself: then the member is asked.

A verdict travels fast and far. It reaches nodes that never lost the member, when two sides of a partition
meet again; and without keys anybody can make one up. Nodes that know of nothing against the member believe
what is true a few round trips later, and what is not ends with them. The member hears of it and refutes it.
"""

from __future__ import annotations

from collections.abc import Callable

from swim.protocol.base.context import Context, Part
from swim.protocol.membership.asking import Asking
from swim.protocol.view.table import Record
from swim.wire.messages import Ack

__all__ = ["Hearsay"]

_TRIES, _PATIENCE = 3, 2.0
"""Pings, and how long they may take: times that an answer of those that answer may take."""


Believe = Callable[[float], None]


class Hearsay(Part):
    """Asks members whether they live, of which others say that they do not."""

    def __init__(
        self, context: Context, asking: Asking, hears: Callable[[Record], bool], patience: Callable[[], float]
    ) -> None:
        super().__init__(context)
        self._ask = asking.ask
        self._hears = hears
        self._patience = patience
        self._asking: dict[str, Believe] = {}
        """What is done if the member does not answer."""
        self._gone: dict[str, None] = {}
        """Of these it is said that the process has ended: a refusal from there leaves nothing to wait for."""
        self._farewells: dict[str, Believe] = {}

    def weigh(
        self, record: Record, now: float, believe: Believe, *, farewell: bool = False, gone: bool = False
    ) -> None:
        """It is said that a member is gone: `believe` is called, now or later, unless the member answers.

        `farewell`: in the member's own name. It stands before what others say of the member meanwhile.
        `gone`: an observer has seen the process end.
        """
        if not self._hears(record):
            believe(now)
            return
        if record.name not in self._asking and not self._put_question(record, now, believe):
            return
        if farewell:
            self._farewells[record.name] = believe
        if gone:
            self._gone[record.name] = None

    def refused(self, name: str, now: float) -> None:
        """The kernel at the member's address, or a firewall, says that no process listens there.

        That alone proves nothing; but together with word of an observer that the process has ended it does.
        """
        if name in self._gone:
            self._asking[name](now)

    def believe_farewell(self, name: str, now: float) -> None:
        """This node has found out itself that the member is gone: its farewell, if there was one, is true."""
        if name in self._farewells:
            self._farewells.pop(name)(now)

    def _put_question(self, record: Record, now: float, believe: Believe) -> bool:
        name = record.name

        def answered(ack: Ack, at: float) -> None:
            if self._asking.get(name) is not silent:
                return  # it was refused meanwhile
            if ack.unknown or (ack.boot and ack.boot != record.packed_boot):
                silent(at)  # no member any more by its own account, or another process
            else:
                self._end(name)
                self._farewells.pop(name, None)
                self._outbox.drop("contradicted")
                self._table.refutations[name] += 1

        def silent(at: float) -> None:
            if self._asking.get(name) is not silent:
                return
            self._end(name)
            self._farewells.pop(name, believe)(at)

        within = _PATIENCE * self._patience()
        asked = self._ask(name, record.address, now, answered, silent, tries=_TRIES, within=within)
        if asked:
            self._asking[name] = silent
        return asked

    def _end(self, name: str) -> None:
        del self._asking[name]
        self._gone.pop(name, None)
