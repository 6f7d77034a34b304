"""What is said: lines, and the log that keeps them in the one order that all screens show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

__all__ = ["HISTORY", "Epoch", "Line", "Log"]

HISTORY = 1_000
"""Lines that a newcomer is told, and that survive for whoever was away."""


class Epoch(NamedTuple):
    """A time in which one member numbers the lines. Later ones compare as greater."""

    number: int = 0
    leader: str = ""


class Line(NamedTuple):
    """Something that was said. Author and `n` identify it, wherever it turns up."""

    author: str
    n: int
    """The author's first line is 1, the next 2, ..."""
    text: str
    aside: bool = False
    """It was first shown on the other side of a partition, under another number."""


class Log:
    """Numbered lines: the first ever said is number 1; those up to `base` are forgotten.

    An author's lines are in the order of their `n`, and none is left out: so how far each author was heard
    is enough to tell whether a line is in it.
    """

    def __init__(
        self,
        epoch: Epoch = Epoch(),  # noqa: B008 (it cannot change)
        base: int = 0,
        heard_before: Mapping[str, int] | None = None,
        lines: Iterable[Line] = (),
    ) -> None:
        self.epoch = epoch
        """Whose order it is."""
        self.base = base
        self.heard_before = dict(heard_before or {})
        """How far each author was heard in what is forgotten."""
        self.heard = dict(self.heard_before)
        self._lines: list[Line] = []
        for line in lines:
            self.append(line)

    @property
    def end(self) -> int:
        """The number of the last line."""
        return self.base + len(self._lines)

    def __getitem__(self, number: int) -> Line:
        return self._lines[number - self.base - 1]

    def __contains__(self, line: Line) -> bool:
        return line.n <= self.heard.get(line.author, 0)

    def agrees(self, number: int, line: Line) -> bool:
        """Whether this line has this number here, as far as is remembered."""
        if number <= self.base:
            return line in self
        return number <= self.end and self[number][:2] == line[:2]

    def append(self, line: Line) -> None:
        """Give the line the next number."""
        self.heard[line.author] = line.n
        self._lines.append(line)

    def after(self, number: int) -> list[Line]:
        """The lines with higher numbers."""
        return self._lines[max(0, number - self.base) :]

    def forget(self) -> None:
        """Keep between one and two times `HISTORY`."""
        if len(self._lines) > 2 * HISTORY:
            self._drop(len(self._lines) - HISTORY)

    def recent(self) -> Log:
        """A copy that goes back no further than `HISTORY`."""
        copy = Log(self.epoch, self.base, self.heard_before, self._lines)
        copy._drop(max(0, len(self._lines) - HISTORY))
        return copy

    def _drop(self, count: int) -> None:
        for line in self._lines[:count]:
            self.heard_before[line.author] = line.n
        del self._lines[:count]
        self.base += count
