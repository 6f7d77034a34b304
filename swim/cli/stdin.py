"""Lines of standard input, for a trio program."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator

import trio

__all__ = ["read_lines"]

_LINE_MAX = 65_536


def _read(fd: int, token: trio.lowlevel.TrioToken, channel: trio.MemorySendChannel[str]) -> None:
    rest = b""
    try:
        while data := os.read(fd, _LINE_MAX):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                trio.from_thread.run(channel.send, line.decode("utf-8", "replace"), trio_token=token)
            rest = rest[:_LINE_MAX]  # whoever sends lines of this size gets an error for them, not our memory
        if rest:
            trio.from_thread.run(channel.send, rest.decode("utf-8", "replace"), trio_token=token)
    except OSError:
        pass  # closed, or the terminal is gone: the same as its end
    except (trio.RunFinishedError, trio.Cancelled, trio.BrokenResourceError):
        return
    try:
        trio.from_thread.run_sync(channel.close, trio_token=token)
    except trio.RunFinishedError:
        return


async def read_lines(fd: int) -> AsyncIterator[str]:
    """The lines that arrive at this file descriptor, until its end.

    Read by a thread, because a file or /dev/null cannot be polled, and because making the descriptor
    non-blocking would do the same to everyone who shares it (the terminal). The thread is a daemon:
    its read cannot be interrupted, and must not keep the process from ending.
    """
    send, receive = trio.open_memory_channel[str](0)
    arguments = (fd, trio.lowlevel.current_trio_token(), send)
    threading.Thread(target=_read, args=arguments, name="swim-stdin", daemon=True).start()
    async with receive:
        async for line in receive:
            yield line
