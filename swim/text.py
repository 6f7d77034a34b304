"""Text that came from elsewhere (names, tags, payloads, error texts), made fit to be shown to a person.

Everything that a person may look at goes through `printable`: the commands' output, log lines, the messages
of exceptions. Else a member's name could move the cursor of a terminal, set its title, swap the order of what
stands beside it, or forge a whole line of a log.

    >>> from swim.text import printable
    >>> print(printable("a\\x1b[2J\\nb"))
    a�[2J�b
"""

from __future__ import annotations

import logging
import traceback

__all__ = ["PrintableLines", "printable"]

_LOGGED_MAX = 4_000
"""Characters of one log line; an error text from the network may have millions."""


def printable(text: str, length_max: int | None = None) -> str:
    """The text on one line, with U+FFFD in place of every character that is not for display.

    Those are control characters and escapes, line separators, marks that change the direction of writing,
    and surrogates (see `str.isprintable`). At most `length_max` characters, and how many were left out.
    """
    left_out = 0 if length_max is None else max(0, len(text) - length_max)
    text = text[: len(text) - left_out]
    if not text.isprintable():
        text = "".join(char if char.isprintable() else "\ufffd" for char in text)
    return f"{text}... ({left_out} more characters)" if left_out else text


class PrintableLines(logging.Filter):
    """Makes each record one printable line; no line of its traceback can be taken for a record."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Lets every record pass, rewritten."""
        record.msg, record.args = printable(record.getMessage(), _LOGGED_MAX), None
        if record.exc_info and record.exc_info[0] is not None:
            lines = "".join(traceback.format_exception(*record.exc_info)).splitlines()
            record.exc_text = "\n".join(f"  | {printable(line, _LOGGED_MAX)}" for line in lines)
        return True
