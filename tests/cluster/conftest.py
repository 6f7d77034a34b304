"""An error that the driver notes and survives is still a failure of the test."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def no_internal_errors(request: pytest.FixtureRequest) -> Iterator[None]:
    """Unless the test looks at the log itself."""
    noted: list[str] = []

    class Note(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            noted.append(logging.Formatter().format(record))

    handler = Note(logging.ERROR)
    logging.getLogger("swim").addHandler(handler)
    yield
    logging.getLogger("swim").removeHandler(handler)
    if "caplog" not in request.fixturenames:
        assert noted == []
