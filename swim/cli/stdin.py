"""Lines of standard input, for a trio program."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator
from contextlib import suppress

import trio

__all__ = ["read_lines"]

_LINE_MAX = 65_536


def _read(fd: int, token: trio.lowlevel.TrioToken, channel: trio.MemorySendChannel[list[bytes]]) -> None:
    rest = b""
    try:
        while data := os.read(fd, _LINE_MAX):
            *lines, rest = (rest + data).split(b"\n")
            rest = rest[:_LINE_MAX]  # lines of this size get an error, not our memory
            trio.from_thread.run(channel.send, lines, trio_token=token)
        trio.from_thread.run(channel.send, [rest], trio_token=token)
        trio.from_thread.run_sync(channel.close, trio_token=token)
    except OSError:  # closed, or the terminal is gone: the same as its end
        with suppress(trio.RunFinishedError):
            trio.from_thread.run_sync(channel.close, trio_token=token)
    except (trio.RunFinishedError, trio.Cancelled, trio.BrokenResourceError):
        pass  # nobody listens any more


async def read_lines(fd: int) -> AsyncIterator[str]:
    """The lines that arrive at this file descriptor, until its end.

    Read by a thread, because a file or /dev/null cannot be polled, and because making the descriptor
    non-blocking would do the same to everyone who shares it (the terminal). The thread is a daemon:
    its read cannot be interrupted, and must not keep the process from ending.
    """
    send, receive = trio.open_memory_channel[list[bytes]](0)
    arguments = (fd, trio.lowlevel.current_trio_token(), send)
    threading.Thread(target=_read, args=arguments, name="swim-stdin", daemon=True).start()
    async with receive:
        async for lines in receive:
            for line in lines:
                yield line.decode("utf-8", "replace")
                await trio.lowlevel.checkpoint()  # thousands of commands at once do not hold up the node
