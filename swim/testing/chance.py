"""What makes a run of a world the same each time, and its log readable.

While the world runs, trio's scheduler and the `random` module draw from its seed, and log records tell the
program's time and name.
"""

from __future__ import annotations

import importlib
import logging
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from swim.testing.process import Process, process_of

__all__ = ["Chance"]


class Chance:
    """The randomness of a world for what has no generator of its own.

    trio schedules tasks in a random order. It does so from one generator, which hypothesis's plugin seeds
    as well (`trio._core._run._r`); there is no public way.
    """

    def __init__(self, seed: int, wall: Callable[[Process], float]) -> None:
        self._scheduling = random.Random(f"{seed}:scheduling")
        self._state = random.Random(f"{seed}:random").getstate()
        self._wall = wall

    @contextmanager
    def ruling(self) -> Iterator[None]:
        """Until the end of the block."""
        scheduler: Any = importlib.import_module("trio._core._run")
        before = scheduler._r, scheduler._ALLOW_DETERMINISTIC_SCHEDULING, random.getstate()
        factory = logging.getLogRecordFactory()
        logging.setLogRecordFactory(self._records(factory))
        scheduler._r, scheduler._ALLOW_DETERMINISTIC_SCHEDULING = self._scheduling, True
        random.setstate(self._state)
        try:
            yield
        finally:
            self._state = random.getstate()
            scheduler._r, scheduler._ALLOW_DETERMINISTIC_SCHEDULING, state = before
            random.setstate(state)
            logging.setLogRecordFactory(factory)

    def _records(self, factory: Callable[..., logging.LogRecord]) -> Callable[..., logging.LogRecord]:
        def make(*args: Any, **options: Any) -> logging.LogRecord:
            record = factory(*args, **options)
            process = process_of(threading.current_thread())
            if process is not None:
                record.created = self._wall(process)
                record.msecs = record.created % 1 * 1_000
                record.relativeCreated = process.true_time * 1_000
            return record

        return make
