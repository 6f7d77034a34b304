"""What the library warns of, as lines of the agent: why it waits for its seeds, or that UDP is blocked."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from swim.cli.running import RunningNode

__all__ = ["Warnings"]


class Warnings(logging.Handler):
    """Tells each as a `warning` line, but for what is an event as well: that has a line of its own."""

    def __init__(self, nodes: Sequence[RunningNode], tell: Callable[[dict[str, Any]], None]) -> None:
        super().__init__(logging.WARNING)
        self._nodes = nodes
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`. A node begins its warnings with its name."""
        if record.module == "logs":
            return
        name, _, text = record.getMessage().partition(": ")
        if all(node.name != name for node in self._nodes):
            name, text = self._nodes[0].name or self._nodes[0].bind, record.getMessage()
        self._tell({"t": time.monotonic(), "node": name, "event": "warning", "message": text})
