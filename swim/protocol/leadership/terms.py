"""What a node's own terms as leader are to the other parts, whichever rule they go by."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

from swim.protocol.base.context import Context, Part
from swim.protocol.view.table import Record
from swim.types import Leadership, Term
from swim.wire.messages import LeaderMessage

__all__ = ["Terms"]


class Terms(Part, ABC):
    """This node's own terms: derived from its view (`Tenure`), or granted by voters (`Lease`)."""

    derived: bool
    """No voters grant them: what the detector says of other processes counts."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.term: Term | None = None
        """Of this node, while it leads."""
        self.term_ends = -math.inf
        """When it is over, unless that is moved ahead."""
        self.backed = math.inf
        """When the latest round was sent that a majority of the voters granted."""
        self.earlier = math.inf
        """Of this term: no earlier one was granted in a round that was sent after this."""

    @property
    def lease_ends(self) -> float | None:
        """When what voters have granted is over, which is later than the term; None without voters."""
        return None

    @abstractmethod
    def attend(self, now: float, late: float) -> None:
        """This node is awake, `late` seconds after it should have been; before anything else is looked at."""

    @abstractmethod
    def update(self, now: float) -> None:
        """Follow this node's view."""

    @abstractmethod
    def receive(self, message: LeaderMessage, sender: Record, now: float) -> None:
        """A message of another member, or its answer to one of this node's, which is for this process."""

    @abstractmethod
    def end(self) -> None:
        """This node does not act as leader any more."""

    @abstractmethod
    def release(self, now: float) -> None:
        """What acted for the leader has ended: others may begin at once."""

    @abstractmethod
    def problem(self, now: float) -> str | None:
        """Why there is no leader, or why this node leads and does not act."""

    @abstractmethod
    def describe(self, now: float) -> Leadership:
        """For people: which member leads, and until when."""

    def note_functions(self, running: bool, now: float) -> None:
        """Functions run for the leader, or the last of them has ended, its clean-up included."""
