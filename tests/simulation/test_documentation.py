"""What the package's documentation shows must run, and its public names are those listed here."""

from __future__ import annotations

import doctest

import swim.simulation


def test_the_example_runs() -> None:
    result = doctest.testmod(swim.simulation)
    assert result.attempted > 8
    assert result.failed == 0


def test_public_names() -> None:
    assert swim.simulation.__all__ == [
        "Burst",
        "Chaos",
        "Firewalls",
        "Network",
        "Record",
        "SimulatedNode",
        "World",
    ]
