from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.cli.agents import Agent, agents


@pytest.fixture
def start() -> Iterator[Callable[..., Agent]]:
    """Starts agents, which end with the test."""
    with agents() as start_agent:
        yield start_agent
