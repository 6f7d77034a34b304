"""Where the chat is read and typed: a terminal with a prompt that is never torn, or plain pipes."""

from __future__ import annotations

import os
import signal
import termios
import zlib
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress

import trio

from examples.chat_cluster.editor import LineEditor, width
from swim.cli.stdin import read_lines
from swim.text import printable

__all__ = ["Terminal", "open_terminal"]

_STDIN, _STDOUT = 0, 1
_QUEUE_MAX = 10_000
_CLEAR_LINE = "\r\x1b[K"
_PASTE_ON, _PASTE_OFF = "\x1b[?2004h", "\x1b[?2004l"
_NICK_COLOURS = (31, 32, 33, 34, 35, 36, 91, 92, 94, 95)
_LAST_WORDS = 3.0
"""Seconds for what is still to be written when the chat ends."""


class Terminal:
    """Prints lines above the line that is being typed. Made by `open_terminal`."""

    def __init__(self, *, prompt: bool, colours: bool) -> None:
        self._prompt = ""
        self._editor = LineEditor() if prompt else None
        self._piped = read_lines(_STDIN)
        self._typed: deque[str] = deque()
        self._ended = False
        self._reading: trio.CancelScope | None = None
        self._colours = colours
        self._lines: deque[str] = deque(maxlen=_QUEUE_MAX)  # a terminal that is stuck does not stop the node
        self._stale = trio.Event()
        self._writer = trio.CancelScope(shield=True)
        self._finished = False

    # --- out
    def print(self, line: str) -> None:
        """Show one line. Never waits."""
        self._lines.append(line)
        self.redraw()

    def set_prompt(self, prompt: str) -> None:
        """What stands before the line that is typed."""
        if prompt != self._prompt:
            self._prompt = prompt
            self.redraw()

    def redraw(self) -> None:
        """The prompt, or the window, has changed."""
        self._stale.set()

    def style(self, text: str, *codes: int) -> str:
        """In this colour (or bold, 1, or dim, 2), where there are colours."""
        text = printable(text)
        if not self._colours or not codes:
            return text
        return f"\x1b[{';'.join(map(str, codes))}m{text}\x1b[0m"

    def nick(self, name: str) -> str:
        """Everybody's name has a colour, the same on all terminals."""
        return self.style(name, 1, _NICK_COLOURS[zlib.crc32(name.encode()) % len(_NICK_COLOURS)])

    # --- in
    async def read(self) -> str | None:
        """The next line; None at the end: Ctrl-D, Ctrl-C, or whatever sent them has closed."""
        await trio.lowlevel.checkpoint()
        while not self._typed and not self._ended:
            with trio.CancelScope() as self._reading:
                await self._read_more()
            self._reading = None
        return self._typed.popleft() if self._typed else None

    def interrupt(self) -> bool:
        """Ctrl-C: forget the line that is being typed, or end the input. False if it meant nothing here."""
        if self._editor is not None and self._editor.text:
            self._editor.replace("")
            self.redraw()
            return True
        if self._reading is None:
            return False
        self._ended = True
        self._reading.cancel()
        return True

    async def _read_more(self) -> None:
        if self._editor is None:
            line = await anext(self._piped, None)
            self._ended = line is None
            if line is not None:
                self._typed.append(line)
            return
        await trio.lowlevel.wait_readable(_STDIN)
        data = b""
        with suppress(OSError):  # the window was closed
            data = os.read(_STDIN, 4096)
        self._typed += self._editor.feed(data)
        self._ended = self._editor.ended or not data
        self.redraw()

    # --- the machinery
    async def _write(self) -> None:
        """A thread writes, since a terminal may make its writer wait. Goes on until all is written."""
        with self._writer:
            finished = False
            while not finished:
                await self._stale.wait()
                self._stale = trio.Event()
                finished = self._finished
                await trio.to_thread.run_sync(_write, self._frame(), abandon_on_cancel=True)

    def _finish(self) -> None:
        """Let `_write` end, unless the terminal is stuck."""
        self._finished = True
        self._prompt = ""
        if self._editor is not None:
            self._editor.replace("")
        self._writer.deadline = trio.current_time() + _LAST_WORDS
        self.redraw()

    def _frame(self) -> bytes:
        lines = "".join(f"{line}\n" for line in self._lines)
        self._lines.clear()
        if self._editor is not None:
            text, cursor = self._editor.view(_columns() - width(self._prompt))
            column = width(self._prompt) + cursor
            lines = f"{_CLEAR_LINE}{lines}{self._prompt}{text}\r" + (f"\x1b[{column}C" if column else "")
            if self._finished:
                lines += _PASTE_OFF
        return lines.encode("utf-8", "replace")


@asynccontextmanager
async def open_terminal() -> AsyncIterator[Terminal]:
    """The terminal of this process, as it was again afterwards."""
    capable = os.environ.get("TERM", "dumb") != "dumb" and os.isatty(_STDOUT)
    prompt = capable and os.isatty(_STDIN)
    terminal = Terminal(prompt=prompt, colours=capable and not os.environ.get("NO_COLOR"))
    with _every_key() if prompt else nullcontext():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(terminal._write)
            if prompt:
                nursery.start_soon(_watch_size, terminal)
            try:
                yield terminal
            finally:
                terminal._finish()
                nursery.cancel_scope.cancel()


@contextmanager
def _every_key() -> Iterator[None]:
    """The kernel neither collects lines nor echoes; Ctrl-C is a signal still, Ctrl-Z and Ctrl-\\ are not."""
    before = termios.tcgetattr(_STDIN)
    after = termios.tcgetattr(_STDIN)
    after[0] &= ~(termios.ICRNL | termios.IXON)
    after[3] &= ~(termios.ICANON | termios.ECHO | termios.IEXTEN)
    after[6][termios.VSUSP] = after[6][termios.VQUIT] = b"\0"
    termios.tcsetattr(_STDIN, termios.TCSADRAIN, after)
    try:
        _write(_PASTE_ON.encode())
        yield
    finally:
        with suppress(termios.error):
            termios.tcsetattr(_STDIN, termios.TCSADRAIN, before)


async def _watch_size(terminal: Terminal) -> None:
    with trio.open_signal_receiver(signal.SIGWINCH) as signals:
        async for _ in signals:
            terminal.redraw()


def _columns() -> int:
    try:
        return os.get_terminal_size(_STDOUT).columns
    except OSError:  # the window was closed
        return 80


def _write(data: bytes) -> None:
    with suppress(OSError):  # nobody reads any more
        while data:
            data = data[os.write(_STDOUT, data) :]
