"""The line that is being typed: bytes of a terminal in, whole lines out, and what to draw. No I/O."""

from __future__ import annotations

import codecs
import re
import unicodedata

__all__ = ["LineEditor", "width"]

_ESCAPE = re.compile(r"\x1b(?:[\[O][0-9;]*[A-Za-z~]|[^\[O])")
_ESCAPE_BEGUN = re.compile(r"\x1b(?:[\[O][0-9;]*)?$")
_NAMES = {
    "\x01": "home",
    "\x02": "left",
    "\x04": "end of input",
    "\x05": "end",
    "\x06": "right",
    "\x08": "backspace",
    "\x0b": "kill",
    "\x0e": "down",
    "\x10": "up",
    "\x15": "clear",
    "\x17": "word",
    "\x7f": "backspace",
    "\x1b[A": "up",
    "\x1b[B": "down",
    "\x1b[C": "right",
    "\x1b[D": "left",
    "\x1b[F": "end",
    "\x1b[H": "home",
    "\x1b[1~": "home",
    "\x1b[3~": "delete",
    "\x1b[4~": "end",
    "\x1b[200~": "paste",
    "\x1b[201~": "pasted",
}
_HISTORY_MAX = 100


def width(text: str) -> int:
    """Columns of a terminal that it takes."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


class LineEditor:
    """One line with a cursor, and those typed before."""

    def __init__(self) -> None:
        self.text = ""
        self.ended = False
        """Ctrl-D on an empty line."""
        self._cursor = 0
        self._typed: list[str] = []
        self._back = 0  # how far into them
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""
        self._pasting = False

    def feed(self, data: bytes) -> list[str]:
        """Bytes that were typed or pasted; the lines that they complete."""
        done: list[str] = []
        text = self._rest + self._decoder.decode(data)
        self._rest = ""
        while text:
            found = _ESCAPE.match(text)
            if found is None and _ESCAPE_BEGUN.match(text):
                self._rest = text  # the other part comes with the next bytes
                break
            key = found[0] if found else text[0]
            text = text[len(key) :]
            key = key.replace("\x1bO", "\x1b[")
            if key in "\r\n":
                done.append(self._enter())
            elif key.isprintable() or key == "\t":
                self._insert(key.replace("\t", " "))
            elif key in _NAMES and (not self._pasting or key == "\x1b[201~"):
                self._edit(_NAMES[key])
        return done

    def view(self, columns: int) -> tuple[str, int]:
        """The part of the line around the cursor that fits; and the column of the cursor in it."""
        first = 0
        while width(self.text[first : self._cursor]) >= max(1, columns):
            first += 1
        last = len(self.text)
        while last > self._cursor and width(self.text[first:last]) >= columns:
            last -= 1
        return self.text[first:last], width(self.text[first : self._cursor])

    def replace(self, text: str) -> None:
        """Another line in place of what was typed so far."""
        self.text = text
        self._cursor = len(text)

    def _insert(self, char: str) -> None:
        self.text = self.text[: self._cursor] + char + self.text[self._cursor :]
        self._cursor += 1

    def _enter(self) -> str:
        line = self.text
        if line.strip():
            self._typed = [*self._typed, line][-_HISTORY_MAX:]
        self.replace("")
        self._back = 0
        return line

    def _edit(self, name: str) -> None:
        text, cursor = self.text, self._cursor
        match name:
            case "paste" | "pasted":
                self._pasting = name == "paste"
            case "left":
                self._cursor = max(0, cursor - 1)
            case "right":
                self._cursor = min(len(text), cursor + 1)
            case "home":
                self._cursor = 0
            case "end":
                self._cursor = len(text)
            case "backspace" if cursor:
                self.text, self._cursor = text[: cursor - 1] + text[cursor:], cursor - 1
            case "end of input" if not text:
                self.ended = True
            case "delete" | "end of input":
                self.text = text[:cursor] + text[cursor + 1 :]
            case "kill":
                self.text = text[:cursor]
            case "clear":
                self.text, self._cursor = text[cursor:], 0
            case "word":
                kept = text[:cursor].rstrip().rpartition(" ")
                kept_text = kept[0] + kept[1]
                self.text, self._cursor = kept_text + text[cursor:], len(kept_text)
            case "up" | "down":
                back = self._back + (1 if name == "up" else -1)
                if 0 <= back <= len(self._typed):
                    self._back = back
                    self.replace(self._typed[-back] if back else "")
