"""The live table of `swim agent`: what its first node sees, and what its nodes report."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import trio

from swim.cli.report import counted, sentence, style_of
from swim.cluster import Cluster

if TYPE_CHECKING:
    from swim.cli.live import LiveTable

__all__ = ["Screen", "open_screen"]

_INTERVAL = 0.5


def open_screen(nodes: int) -> Screen | None:
    """For so many nodes. None where this terminal can do no more than show lines."""
    from rich.console import Console  # only here: an agent without a terminal starts faster without rich

    from swim.cli.live import LiveTable, can_draw

    console = Console(highlight=False)
    return Screen(LiveTable(console, measured=True), nodes) if can_draw(console) else None


class Screen:
    """Drawn as long as it is entered."""

    def __init__(self, table: LiveTable, nodes: int) -> None:
        from swim.cli.live import LogLines

        self._table = table
        self._with_node = nodes > 1
        self._log = LogLines(table)

    def __enter__(self) -> None:
        logging.getLogger("swim").addHandler(self._log)
        self._table.show("starting", ())
        self._table.start()

    def __exit__(self, *exc_info: object) -> None:
        logging.getLogger("swim").removeHandler(self._log)
        self._table.stop()

    def report(self, fields: dict[str, Any]) -> None:
        """One observation of one of the nodes."""
        said = sentence(fields)
        if said is not None:
            node = f"{fields['node']}  " if self._with_node else ""
            self._table.event(node + said, style_of(fields))

    async def keep_showing(self, clusters: Sequence[Cluster]) -> None:
        """Until cancelled. `clusters` grows as the nodes become members."""
        from swim.cli.live import rows_of

        while True:
            if clusters:
                self._table.show(_title(clusters), rows_of(clusters[0]), clusters[0].held())
            else:
                self._table.show("not a member yet: looking for its seeds; Ctrl-C ends", ())
            await trio.sleep(_INTERVAL)


def _title(clusters: Sequence[Cluster]) -> str:
    first = clusters[0]
    problem = first.leadership.problem
    nobody = f"nobody ({problem})" if problem else "nobody"
    leader = nobody if first.leader is None else "this node" if first.is_leader else first.leader.name
    more = f" and {len(clusters) - 1} more here" if len(clusters) > 1 else ""
    return f"{first.me}{more}: {counted(len(first.members()))}, led by {leader}; Ctrl-C leaves"
