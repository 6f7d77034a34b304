"""The course of a world: virtual time, chance that follows from one seed, and a report when it goes wrong."""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random
from typing import Any, NoReturn

from swim.simulation.checks import check_duration, check_positive
from swim.simulation.schedule import Schedule
from swim.simulation.trace import Trace

__all__ = ["Course"]


class Course:
    """The part of a world that is the same whatever happens in it."""

    def __init__(self, seed: int, trace: Trace, options: dict[str, object], replay: str | None) -> None:
        self.seed = seed
        self.options = options
        """With which the world was made."""
        self.schedule = Schedule()
        self.trace = trace
        self._replay = replay or os.environ.get("PYTEST_CURRENT_TEST")

    def __repr__(self) -> str:
        return f"World({', '.join(f'{name}={value!r}' for name, value in self.options.items())})"

    @property
    def now(self) -> float:
        """True time, in seconds since the world began."""
        return self.schedule.now

    def random(self, label: str) -> Random:
        """A generator of its own for every purpose, so that one more user changes no other."""
        return Random(f"{self.seed}:{label}")

    def after(self, delay: float, action: Callable[..., object], *args: Any) -> None:
        """Arrange for something to be done, in so many seconds."""
        check_duration("delay", delay)
        self.schedule.after(delay, action, *args)

    def every(self, interval: float, action: Callable[[], object]) -> None:
        """Do it again and again."""
        check_positive("interval", interval)

        def again() -> None:
            action()
            self.schedule.after(interval, again)

        self.schedule.after(interval, again)

    def run(self, seconds: float) -> None:
        """Let time pass."""
        check_duration("seconds", seconds)
        try:
            self.schedule.run(self.now + seconds)
        except Exception as error:
            error.add_note(self.report())
            raise

    def run_until(self, predicate: Callable[[], bool], limit: float, step: float = 0.05) -> float | None:
        """Let time pass until the predicate, asked every `step`, holds. Seconds taken, or None."""
        check_duration("limit", limit)
        check_positive("step", step)
        start = self.now
        while not predicate():
            if self.now - start >= limit:
                return None
            self.run(step)
        return self.now - start

    def report(self) -> str:
        """What is needed to find out what went wrong."""
        replay = f"\nreplay: {self._replay}" if self._replay else ""
        return f"{self!r}{replay}\nat {self.now:.6f}; last:\n{self.trace.tail()}"

    def fail(self, why: str) -> NoReturn:
        """Raise AssertionError, with the seed and what happened last."""
        raise AssertionError(f"{why}\n{self.report()}")

    def note(self, text: str) -> None:
        """Write a line into the trace."""
        self.trace.note(self.now, text)
