"""Real processes: every test has its own, and none of them outlives it."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator

import pytest

from tests.integration.capture import can_capture
from tests.integration.harness import Nodes, open_nodes, required_peer
from tests.integration.serf import Serfs, open_serfs


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    """No node yet. At the end of the test none may have written anything to standard error."""
    async with open_nodes() as opened:
        yield opened


# Synchronous, so that the reasons for skipping survive.


@pytest.fixture
def serf_installed() -> None:
    """Skips the test where there is no Serf."""
    if shutil.which("serf") is None:
        pytest.skip("serf is not installed; install it with: apt-get install serf")


@pytest.fixture
async def serfs(serf_installed: None) -> AsyncIterator[Serfs]:
    """No Serf agent yet."""
    async with open_serfs() as opened:
        yield opened


@pytest.fixture
def memberlist() -> None:
    """Skips the test where the Go program cannot be built."""
    required_peer("memberlist")


@pytest.fixture
def may_capture() -> None:
    """Skips the test where packets cannot be captured."""
    if not can_capture():
        pytest.skip("packets cannot be captured without CAP_NET_RAW on Linux")
