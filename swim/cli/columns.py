"""Tables of members that fit on the terminal: some columns give way before others do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

__all__ = ["STATE_STYLES", "Column", "fitted"]

STATE_STYLES = {"alive": "green", "suspect": "yellow", "dead": "red", "left": "dim"}
_GAP = 2
_FIRST_MIN, _LAST_MIN = 8, 12
"""Cells that the first column keeps, and that are left for the last one before the first gives way."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column. The first is the name and the last the tags: these two may be cut."""

    heading: str
    right: bool = False
    optional: bool = False
    """Left out where there is no room for it."""


def fitted(
    columns: Sequence[Column], rows: Sequence[Sequence[Text]], width: int | None, *, folded: bool
) -> Table:
    """These rows in at most `width` cells (None: no limit).

    Names and tags that are too long end in an ellipsis; `folded`, they go on in the next line.
    """
    sizes = [
        max(cell_len(column.heading), *(cell_len(row[n].plain) for row in rows), 0)
        for n, column in enumerate(columns)
    ]
    shown = list(range(len(columns)))
    if width is not None:
        shown = _choose(columns, sizes, width)
        room = width - _GAP * (len(shown) - 1) - sum(sizes[n] for n in shown[1:-1])
        sizes[0] = min(sizes[0], max(_FIRST_MIN, room - min(sizes[-1], _LAST_MIN)))
        sizes[-1] = max(1, min(sizes[-1], room - sizes[0]))
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for n in shown:
        column = columns[n]
        table.add_column(
            column.heading,
            justify="right" if column.right else "left",
            no_wrap=not folded,
            overflow="fold" if folded else "ellipsis",
            width=sizes[n],
        )
    for row in rows:
        table.add_row(*(row[n] for n in shown))
    return table


def _choose(columns: Sequence[Column], sizes: Sequence[int], width: int) -> list[int]:
    """The columns that are shown: optional ones go, the last of them first, until the others have room."""
    shown = list(range(len(columns)))
    for n in [n for n, column in reversed(list(enumerate(columns))) if column.optional]:
        least = sum(sizes[n] for n in shown[:-1]) + min(sizes[-1], _LAST_MIN) + _GAP * (len(shown) - 1)
        if least <= width:
            break
        shown.remove(n)
    return shown
