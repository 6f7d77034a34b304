"""A ping to an address that need not be a member's: is there anybody, of this name, in which cluster?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from swim.protocol.base.context import Context, Part
from swim.protocol.gossip.own_record import OwnRecord
from swim.protocol.view.identity import pack_id
from swim.types import Address
from swim.wire.messages import Ack, Message, Ping

__all__ = ["Asking"]

_ASKED_MAX = 256
"""Questions that are open at a time."""

Answered = Callable[[Ack, float], None]
Silent = Callable[[float], None]


@dataclass(slots=True)
class _Question:
    address: Address
    messages: tuple[Message, ...]
    interval: float
    left: int
    """Tries."""
    answered: Answered
    silent: Silent


class Asking(Part):
    """The questions that are not answered yet, by the number of their pings."""

    def __init__(self, context: Context, own: OwnRecord) -> None:
        super().__init__(context)
        self._own = own
        self._asked: dict[int, _Question] = {}

    def ask(
        self,
        name: str,
        address: Address,
        now: float,
        answered: Answered,
        silent: Silent,
        *,
        tries: int = 1,
        within: float | None = None,
        news: Message | None = None,
    ) -> bool:
        """One of the two is called `within` seconds (`rtt_max`). `news` is told before, in the same packet.

        False (and neither is called) when too many are being asked already.
        """
        if len(self._asked) >= _ASKED_MAX:
            self._outbox.drop("asked-max")
            return False
        seq = self._rng.getrandbits(32)  # only those that have seen the ping can forge an ack
        # A stranger is answered with no more than it sent: naming ourselves leaves room for the answer.
        sender = pack_id(self._own.id) or bytes(16)
        ping = Ping(seq, name, source_node=self._name, sender_id=sender)
        messages = (ping,) if news is None else (news, ping)
        interval = (within or self._config.rtt_max) / tries
        self._asked[seq] = _Question(address, messages, interval, tries, answered, silent)
        self._try(seq, now)
        return True

    def _try(self, seq: int, now: float) -> None:
        question = self._asked[seq]
        if question.left == 0:
            del self._asked[seq]
            question.silent(now)
            return
        question.left -= 1
        self._outbox.send(question.address, *question.messages)
        self._timers.set(("asked", seq), now + question.interval, partial(self._try, seq))

    def receive_ack(self, ack: Ack, now: float) -> None:
        """The answer to a question, if it is one."""
        if (asked := self._asked.pop(ack.seq, None)) is not None:
            self._timers.cancel(("asked", ack.seq))
            asked.answered(ack, now)

    def receive_nack(self, seq: int, now: float) -> None:
        """Somebody else is there."""
        if (asked := self._asked.pop(seq, None)) is not None:
            self._timers.cancel(("asked", seq))
            asked.silent(now)
