"""Ping by name over TCP: is it still that member at its address, and does it answer for itself?

Nothing is exchanged with the address of a member that was given up before the process that is there now has
answered to that member's name: it may be another node's by now, of another cluster (memberlist pings by
name, too). It takes no packet, so it works where UDP is blocked, and news may be larger than what asks for
it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from swim.protocol.base.context import Context, Part
from swim.types import Address
from swim.wire.messages import Ack, Ping, Standing, StreamMessage

__all__ = ["Calling"]

_CALLS_MAX = 64
"""That wait for an answer at a time: each takes a connection."""

Answered = Callable[[Ack | None, float], None]


class Calling(Part):
    """The calls of this node that are not answered yet, by the token of their request."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._calls: dict[int, tuple[int, Answered]] = {}

    def call(
        self, name: str, address: Address, answered: Answered, *, standing: Standing | None = None
    ) -> bool:
        """Ask for the process of this name there. `answered` gets its ack, or None if there is none.

        False (and `answered` is not called) when too many are being called already.
        """
        if len(self._calls) >= _CALLS_MAX:
            self._outbox.drop("calls-max")
            return False
        seq = self._rng.getrandbits(32)
        ping = Ping(seq, name, source_node=self._name, standing=standing)
        self._calls[self._outbox.request(address, ping)] = (seq, answered)
        return True

    def receive_answer(self, token: int, answer: StreamMessage | Exception | None, now: float) -> bool:
        """Is this the outcome of a call?"""
        called = self._calls.pop(token, None)
        if called is None:
            return False
        seq, answered = called
        ack = answer if isinstance(answer, Ack) and answer.seq == seq else None
        if ack is not None and ack.standing is not None:
            ack = replace(ack, boot=ack.standing.boot)  # as in an answer by UDP
        answered(ack, now)
        return True
