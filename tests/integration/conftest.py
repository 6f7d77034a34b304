"""Real processes: every test has its own, and none of them outlives it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.integration.harness import Nodes, open_nodes
from tests.integration.serf import Serfs, open_serfs


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    """No node yet. At the end of the test none may have written anything to standard error."""
    async with open_nodes() as opened:
        yield opened


@pytest.fixture
async def serfs() -> AsyncIterator[Serfs]:
    """No Serf agent yet. Skips the test where there is no Serf."""
    async with open_serfs() as opened:
        yield opened
