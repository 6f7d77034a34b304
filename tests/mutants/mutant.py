"""One change of the code, anchored on the text that it replaces."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["AnchorLost", "Mutant", "Package", "mutants"]


class AnchorLost(Exception):
    """The code is not what it was when the mutant was written: adapt the mutant."""


@dataclass(frozen=True)
class Mutant:
    """In `path`, the only place with the text `old` has `new` instead. `tests` are what should notice it."""

    name: str
    path: str
    old: str
    new: str
    tests: tuple[str, ...] = ()

    def applied(self, root: Path) -> str:
        """The mutated source. Raises `AnchorLost`, and SyntaxError for what is no Python any more."""
        source = (root / self.path).read_text(encoding="utf-8")
        count = source.count(self.old)
        if count != 1:
            raise AnchorLost(f"{self.name}: {self.path} has {self.old!r} {count} times, not once")
        mutated = source.replace(self.old, self.new)
        compile(mutated, self.path, "exec")
        return mutated


@dataclass(frozen=True)
class Package:
    """What belongs together: mutants, and the tests that are run for each after its own, quick ones first."""

    tests: tuple[str, ...]
    mutants: tuple[Mutant, ...]


def mutants(module: str, tests: tuple[str, ...], *changes: tuple[str, str, str]) -> tuple[Mutant, ...]:
    """Changes of one module of the core, or of the file with this path: name, old text, new text."""
    path = module if module.endswith(".py") else f"swim/protocol/{module}.py"
    return tuple(Mutant(name, path, old, new, tests) for name, old, new in changes)
