"""What all tests share."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from benchmarks import namespaces

# The same examples on every run, however slow the machine: a failure in CI is a failure at home.
settings.register_profile("steady", derandomize=True, deadline=None, database=None, print_blob=True)
# HYPOTHESIS_PROFILE=explore: new examples every time, and many more of them.
settings.register_profile("explore", deadline=None, max_examples=5_000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))


@pytest.fixture
def may_build_networks() -> None:
    """Skips a test that needs network namespaces where there can be none."""
    if (reason := namespaces.why_not()) is not None:
        pytest.skip(f"{reason} (as root: {namespaces.INSTALL})")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long tests first: were one of them the last, one worker would run it while the others have no more."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
