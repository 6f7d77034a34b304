"""Draw the chat as it looks in a terminal: examples/chat_cluster/chat.svg.

python -m tests.chat_cluster.picture
"""

from __future__ import annotations

import io
from itertools import groupby

import pyte
from rich.console import Console
from rich.style import Style
from rich.text import Text

from tests.chat_cluster.terminals import Room
from tests.house import ROOT

ROWS, COLUMNS = 25, 80
PICTURE = ROOT / "examples" / "chat_cluster" / "chat.svg"


def play() -> bytes:
    """What dan's terminal was sent in a scene."""
    with Room() as room:
        ann, bob, cid = room.enter("ann", "bob", "cid")
        cid.type("/tag mood=curious\r")
        for seat, text in (
            (ann, "hello everybody"),
            (bob, "hi ann! who runs the server?"),
            (ann, "nobody does: we are the cluster. I came first, so I number the lines"),
        ):
            seat.say(text)
            room.until(lambda text=text: cid.shows(text))
        (dan,) = room.enter("dan")
        dan.resize(ROWS, COLUMNS)
        room.until(lambda: dan.shows("we are the cluster"))
        for seat, text in ((dan, "and when you go, ann?"), (ann, "try me: kill -9")):
            seat.say(text)
            room.until(lambda text=text: dan.shows(text))
        ann.kill()
        for text in ("that was ann", "I number them now", "nothing was lost"):
            bob.say(text)
        room.until(lambda: dan.shows("nothing was lost"))
        cid.type("/msg dan told you so\r")
        room.until(lambda: dan.shows("told you so"))
        ann = room.sit("ann")
        room.until(lambda: dan.shows("ann joined") and ann.shows("* here:"))
        ann.say("I am back! Did I miss anything?")
        room.until(lambda: dan.shows("miss anything"))
        dan.type("/who\r")
        room.until(lambda: dan.shows("mood=curious"))
        dan.type("not a line, and bob goes on lead")
        for _ in range(50):
            room.pump()
        return dan.output


def draw(output: bytes) -> str:
    """As an SVG."""
    screen = pyte.Screen(COLUMNS, ROWS)
    pyte.ByteStream(screen).feed(output.replace(b"\x1b[2m", b"\x1b[90m"))  # pyte knows no faint letters
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    for row in range(ROWS):
        line = Text()
        cells = [screen.buffer[row][column] for column in range(COLUMNS)]
        if row == screen.cursor.y:
            cells[screen.cursor.x] = cells[screen.cursor.x]._replace(reverse=True)
        for (colour, bold, reverse, _), run in groupby(cells, key):
            style = Style(color=name(colour), bold=bold, reverse=reverse)
            line.append("".join(cell.data for cell in run), style)
        console.print(line)
    return console.export_svg(title="python -m examples.chat_cluster dan")


def name(colour: str) -> str:
    """What rich calls the colour that pyte calls so."""
    return colour.replace("brown", "yellow").replace("bright", "bright_")


def key(cell: pyte.screens.Char) -> tuple[str, bool, bool, bool]:
    """What is drawn at once: a word of one style. (Not every program keeps the spaces of an SVG.)"""
    return cell.fg, cell.bold, cell.reverse, cell.data == " "


if __name__ == "__main__":
    PICTURE.write_text(draw(play()), encoding="utf-8")
    print(PICTURE.relative_to(ROOT))
