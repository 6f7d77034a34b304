"""The median, of which Python's own costs memory."""

from __future__ import annotations

import statistics

import pytest

from swim.protocol.base.middle import median


@pytest.mark.parametrize("numbers", [[3.0], [2.0, 1.0], [0.3, 0.1, 0.2], [1e-9, 4.0, 2.5, 2.5]])
def test_is_that_of_the_standard_library(numbers: list[float]) -> None:
    assert median(numbers) == statistics.median(numbers)
