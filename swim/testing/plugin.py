"""For pytest: with ``pytest_plugins = ["swim.testing.plugin"]`` in your conftest.py tests have `world`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from swim.testing.seeds import seed_to_replay
from swim.testing.world import World

__all__ = ["world"]


@pytest.fixture
def world() -> Iterator[World]:
    """A world that is closed after the test. Its seed is 1, or that of the environment variable SWIM_SEED."""
    seed = seed_to_replay()
    with World(1 if seed is None else seed) as world:
        yield world
