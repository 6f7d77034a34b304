"""Curves, as PNG and SVG, that can be read on white and on black: no background, colours between the two.

    with picture(path, "Title", x="members", y="seconds") as axes:
        line(axes, xs, ys, "swim")

`path` is the record's: the picture stands beside it, under the same name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["COLOURS", "INSTALL", "available", "line", "picture", "pictures"]

INSTALL = 'pip install -e ".[bench]"'
INK = "#808790"
"""Text and axes: about 4 : 1 against white and against GitHub's dark page."""
COLOURS = ("#2f81f7", "#d9730d", "#2ea043", "#bf5af2", "#e5534b", "#9a8700")
WIDTH, HEIGHT = 7.6, 3.9
"""In inches: 760 pixels wide in the README, its text then nearly as large as the README's own."""
_COLOURED = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color")
STYLE: Any = dict.fromkeys(_COLOURED, INK) | {
    "font.size": 10.5,
    "axes.titlesize": 11.5,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.25,
    "svg.hashsalt": "swim",
}


def available() -> bool:
    """Is matplotlib there?"""
    from importlib.util import find_spec

    return find_spec("matplotlib") is not None


@contextmanager
def pictures(path: Path, titles: Sequence[str], *, x: str, y: str, log: str = "") -> Iterator[list[Any]]:
    """As `picture`, with several axes side by side; `log` says which are logarithmic: `x`, `y` or `xy`."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with pyplot.rc_context(STYLE):
        figure, axes = pyplot.subplots(
            1, len(titles), figsize=(WIDTH, HEIGHT), squeeze=False, sharey=True, layout="constrained"
        )
        for one, title in zip(axes[0], titles, strict=True):
            one.set_title(title, loc="left")
            one.set_xlabel(x)
            if "x" in log:
                one.set_xscale("log")
            if "y" in log:
                one.set_yscale("log")
        axes[0][0].set_ylabel(y)
        try:
            yield list(axes[0])
            path.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path.with_suffix(".svg"), transparent=True, metadata={"Date": None})
            figure.savefig(path.with_suffix(".png"), transparent=True, dpi=200, metadata={"Software": None})
        finally:
            pyplot.close(figure)


@contextmanager
def picture(path: Path, title: str, *, x: str, y: str, log: str = "") -> Iterator[Any]:
    """Draw on the axes that this yields; then FILE.png and FILE.svg are written."""
    with pictures(path, [title], x=x, y=y, log=log) as axes:
        yield axes[0]


def line(axes: Any, xs: Sequence[float], ys: Sequence[float | None], label: str, **style: Any) -> None:
    """A curve through the points that there are."""
    points = [(x, y) for x, y in zip(xs, ys, strict=True) if y is not None]
    options = {"marker": "o", "markersize": 4, "linewidth": 1.8} | style
    if points:
        axes.plot(*zip(*points, strict=True), label=label, **options)
