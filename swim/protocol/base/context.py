"""What all parts of one node share."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from swim.config import Config
from swim.protocol.base.outbox import Outbox
from swim.protocol.base.timers import Timers
from swim.protocol.view.table import MemberTable

__all__ = ["Context", "Part"]


@dataclass(slots=True)
class Context:
    """The node's name, settings, table, timers and outputs, and its sources of chance and time.

    `wall` maps `now` to seconds since the epoch. `attention` is `now` without what this process
    slept through: only while it listens can it judge the silence of others.
    """

    name: str
    config: Config
    table: MemberTable
    outbox: Outbox
    rng: random.Random
    wall: Callable[[float], float]
    timers: Timers = field(default_factory=Timers)
    lost: float = 0.0
    """Seconds for which this process was late for its own timers, so far: it slept, or was stopped."""

    def attention(self, now: float) -> float:
        return now - self.lost


class Part:
    """One concept of the node, with what it shares with the others at hand."""

    def __init__(self, context: Context) -> None:
        self._name = context.name
        self._config = context.config
        self._table = context.table
        self._timers = context.timers
        self._outbox = context.outbox
        self._rng = context.rng
        self._wall = context.wall
        self._attention = context.attention
