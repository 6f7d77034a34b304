"""A table of the members that is kept up to date on a terminal, with what happened last below it."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from swim.cli.columns import STATE_STYLES, Column, fitted
from swim.cli.report import shown_tags
from swim.cli.stdout import discard_output
from swim.cluster import Cluster
from swim.text import printable

__all__ = ["LiveTable", "LogLines", "Row", "can_draw", "rows_of"]

_EVENTS = 8
"""Lines of what happened last."""
_EVENT_LINES = 4
"""Of one event at most."""
_INDENT = 12
"""Where what follows a line's first part begins: below its words."""
_ECHO = 3
"""Columns that stay free: the terminal shows ^C there, and a line more would shift the table."""
_REFRESH_PER_SECOND = 4
_CHROME = 5
"""Lines around the members: the title, the table's own, what is left out, the cursor's."""
_PHI_SUSPECT = 3.0


@dataclass(frozen=True, slots=True)
class Row:
    """One member."""

    name: str
    address: str
    state: str
    leader: bool = False
    here: bool = False
    """This very node."""
    phi: float | None = None
    """None where this node does not measure it."""
    round_trip: float | None = None
    """Seconds."""
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def urgency(self) -> int:
        """The members that are shown when there is no room for all."""
        return 0 if self.state == "suspect" or self.leader or self.here else 1 if self.state != "left" else 2


def rows_of(cluster: Cluster) -> list[Row]:
    """The members as this node sees them, with what it measures of those that it pings."""
    leader, rows = cluster.leader, []
    for member in cluster.members():
        known = cluster.explain(member)
        rows.append(
            Row(
                member.name,
                str(member.address),
                member.state.value,
                leader=leader is not None and leader.name == member.name,
                here=member.name == cluster.name,
                phi=known.phi if known.observed_here else None,
                round_trip=known.round_trip,
                tags=shown_tags(member.tags),
            )
        )
    return rows


def can_draw(console: Console) -> bool:
    """Is this a terminal on which a table can be kept up to date?"""
    return console.is_terminal and not console.is_dumb_terminal


class LiveTable:
    """Drawn by a thread of its own, so that a terminal that stands still does not hold up the node.

    `measured`: whether phi and round trip are known at all.
    """

    def __init__(self, console: Console, *, measured: bool) -> None:
        self._console = console
        self._measured = measured
        self._events: deque[tuple[str, str | None]] = deque(maxlen=_EVENTS)
        self._title, self._stale = "", False
        self._held = ""
        self._rows: Sequence[Row] = ()
        self._frame: RenderableType = Text("")
        self._live = Live(
            console=console,
            refresh_per_second=_REFRESH_PER_SECOND,
            get_renderable=lambda: self._frame,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def start(self) -> None:
        """Begin to draw."""
        self._live.start()

    def stop(self) -> None:
        """Leave the last state on the terminal, if that is still there."""
        try:
            self._live.stop()
        except OSError:
            discard_output()

    def show(self, title: str, rows: Sequence[Row], held: Sequence[str] = ()) -> None:
        """What there is now; and the names that the node holds."""
        self._title, self._rows, self._stale = printable(title), rows, False
        self._held = printable(f"holds {len(held)}: {' '.join(held)}") if held else ""
        self._draw()

    def mark_stale(self, title: str) -> None:
        """Nothing newer is known than the rows that are shown: they are dimmed, and the title says why."""
        self._title, self._stale = printable(title), True
        self._draw()

    def event(self, line: str, style: str | None = None) -> None:
        """What happened just now."""
        self._events.append((f"{time.strftime('%H:%M:%S')}  {printable(line)}", style))
        self._draw()

    def _draw(self) -> None:
        events = self._last_events()
        title = Text(self._title, style="bold red" if self._stale else "bold")
        above = len(title.wrap(self._console, self._console.size.width))
        room = max(3, self._console.size.height - _CHROME - (above - 1) - len(events))
        held = [Text(self._held, no_wrap=True, overflow="ellipsis")] if self._held else []
        self._frame = Group(title, *held, *self._table(room - len(held)), *events)

    def _last_events(self) -> list[RenderableType]:
        """In whole lines, since what to do is said at the end; as many of them as there is room for."""
        width = max(2 * _INDENT, self._console.size.width - _ECHO)
        lines: list[RenderableType] = []
        for said, style in reversed(self._events):
            most = (_EVENT_LINES - 1) * (width - _INDENT)
            shown = said if len(said) <= most else f"{said[: most - 1]}\N{HORIZONTAL ELLIPSIS}"
            parts = Text(shown, style=style or "").wrap(self._console, width)[:1]
            if rest := shown[len(parts[0].plain) :].strip():
                more = Text(rest, style=style or "").wrap(self._console, width - _INDENT)
                parts.extend(Text(" " * _INDENT).append_text(line) for line in more)
            parts = parts[:_EVENT_LINES]
            if lines and len(lines) + len(parts) > _EVENTS:
                break
            lines[:0] = parts
        return lines

    def _table(self, room: int) -> list[RenderableType]:
        rows = list(self._rows)
        if len(rows) > room:
            chosen = {row.name for row in sorted(rows, key=lambda row: row.urgency)[:room]}
            rows = [row for row in rows if row.name in chosen]
        figures = ("PHI", "RTT, ms") if self._measured else ()
        columns = [
            Column(heading, right=heading in figures, optional=heading in figures)
            for heading in ("NAME", "ADDRESS", "STATE", "LEADER", *figures, "TAGS")
        ]
        cells = [self._cells(row) for row in rows]
        table = fitted(columns, cells, self._console.size.width, folded=False)
        left_out = len(self._rows) - len(rows)
        note = [Text(f"and {left_out} more (`swim members` lists all)", style="dim")] if left_out else []
        return [table, *note]

    def _cells(self, row: Row) -> list[Text]:
        cells = [Text(printable(row.name), style="bold" if row.here else ""), Text(row.address)]
        cells += [Text(row.state, style="dim" if self._stale else STATE_STYLES[row.state])]
        cells += [Text("leader" if row.leader else "", style="bold cyan")]
        if self._measured:
            suspicious = row.phi is not None and row.phi >= _PHI_SUSPECT
            cells += [Text("" if row.phi is None else f"{row.phi:.1f}", style="yellow" if suspicious else "")]
            cells += [Text("" if row.round_trip is None else f"{1000 * row.round_trip:.1f}")]
        return [*cells, Text(printable(" ".join(f"{name}={value}" for name, value in row.tags.items())))]


class LogLines(logging.Handler):
    """What the library has to say, among the events."""

    def __init__(self, table: LiveTable) -> None:
        super().__init__(logging.WARNING)
        self._table = table

    def emit(self, record: logging.LogRecord) -> None:
        self._table.event(f"! {record.getMessage()}", "red")
