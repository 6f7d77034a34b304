"""What people see of a benchmark: a progress bar, tables, numbers cut to what matters."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

__all__ = ["WIDTH_MIN", "console", "middle", "progress", "seconds", "table"]

WIDTH_MIN = 150
"""Tables are never cut where there is no terminal whose width to keep to."""


def console() -> Console:
    """Standard output."""
    plain = Console()
    return plain if plain.is_terminal else Console(width=max(WIDTH_MIN, plain.width))


def progress() -> Progress:
    """A bar on standard error that is gone afterwards; `with progress() as bar: bar.add_task(..)`."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
    )
    return Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """The first column reads from the left, the others are numbers."""
    made = Table(title=title, title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        made.add_column(column, justify="right" if number else "left", overflow="fold")
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else str(cell) for cell in row))
    return made


def seconds(value: float | None) -> str:
    """Three digits of it; `never` for what did not happen."""
    if value is None or value == float("inf"):
        return "never"
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 100 else f"{value:.0f}"


def middle(values: Sequence[float]) -> str:
    """The median, and from the least to the greatest in brackets."""
    if not values:
        return "never"
    median = seconds(statistics.median(values))
    return median if len(values) == 1 else f"{median} ({seconds(min(values))}-{seconds(max(values))})"
