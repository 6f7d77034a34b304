"""What the seeds have answered to a node that is joining."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from swim.protocol.base.context import Context, Part
from swim.protocol.exchange.sync import Sync
from swim.protocol.gossip.own_record import OwnRecord
from swim.types import Address

__all__ = ["Outcome", "SeedAnswers"]


class Outcome(Enum):
    """Of the last look at a seed."""

    NONE = "no member yet"
    """There is no answer from there."""
    JOINING = "joining"
    MYSELF = "this node itself"
    WAITING = "it still takes an earlier process of this name for a member"
    UNFIT = "unfit"


_MAY_FIT_YET = Outcome.NONE, Outcome.JOINING, Outcome.WAITING


@dataclass(frozen=True, slots=True)
class _Answer:
    outcome: Outcome
    text: str = ""
    """What the seed said, or what went wrong, for a person to read."""
    boot: bytes = b""
    """Of the process at the seed, if it is joining itself."""


class SeedAnswers(Part):
    """The seeds of this node, and what came of the last look at each."""

    def __init__(self, context: Context, own: OwnRecord, sync: Sync) -> None:
        super().__init__(context)
        self._own = own
        self._sync = sync
        self._answers: dict[Address, _Answer] = {}

    def others(self) -> list[Address]:
        """All seeds but the one that is this node itself, as far as it can be told by its address."""
        return [seed for seed in self._sync.seeds if seed != self._own.address]

    def note(self, seed: Address, outcome: Outcome, text: str = "", boot: bytes = b"") -> None:
        self._answers[seed] = _Answer(outcome, text, boot)

    def forget(self, seed: Address) -> None:
        del self._answers[seed]

    def any_is(self, *outcomes: Outcome) -> bool:
        return any(answer.outcome in outcomes for answer in self._answers.values())

    def all_have_answered(self) -> bool:
        return all(seed in self._answers for seed in self.others())

    def any_may_fit_yet(self) -> bool:
        """Is there a seed that may still turn out to be a member of a cluster that this node can join?"""
        return not self.all_have_answered() or self.any_is(*_MAY_FIT_YET)

    def has_found(self, boot: bytes) -> bool:
        """Is that joining process what this node has found at one of its seeds?"""
        seeds = self._sync.seeds
        return any(one.boot == boot for at, one in self._answers.items() if one.boot and at in seeds)

    def problem(self) -> str | None:
        """Why this node cannot join a cluster that it has found, in words; None if it has found none."""
        unfit = [answer.text for answer in self._answers.values() if answer.outcome is Outcome.UNFIT]
        if not unfit:
            return None
        if len(self.others()) == 1:
            return unfit[0]
        none = _Answer(Outcome.NONE, "no answer yet")
        answers = {seed: self._answers.get(seed, none) for seed in self.others()}
        texts = (f"{seed}: {answer.text or answer.outcome.value}" for seed, answer in answers.items())
        return f"no seed can be joined: {'; '.join(texts)}"
