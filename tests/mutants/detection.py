"""Mutants of who is alive: silence, polls and their votes, and what closes a case."""

from __future__ import annotations

from tests.mutants.mutant import Package

__all__ = ["DETECTION"]

DETECTION = Package(("tests/protocol/test_suspicion.py", "tests/protocol/test_probing.py"), ())
