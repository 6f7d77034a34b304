"""Standard output that never makes the node wait: a bounded queue and a thread that empties it.

The thread is woken only where it is needed: a line that fits into a pipe is written at once.
"""

from __future__ import annotations

import os
import queue
import select
import stat
import threading
import time

__all__ = ["LineWriter"]

_BATCH_MAX = 64


class LineWriter:
    """Writes lines to a file descriptor, in order, from a thread of its own.

    When the reader is slower than we are for long enough, lines are dropped and counted. The thread is
    a daemon: one that is stuck in a write does not keep the process from ending.
    """

    def __init__(self, fd: int = 1, lines_max: int = 4096) -> None:
        self.dropped = 0
        self._fd = fd
        self._lines: queue.Queue[str | None] = queue.Queue(lines_max)
        self._closed = False
        self._pipe = _without_waiting(fd)
        self._thread = threading.Thread(target=self._run, name="swim-stdout", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """One line, without its newline: written if all before it are and it fits, or queued. Never waits."""
        if self._pipe is not None and not self._lines.unfinished_tasks and self._fits(line):
            return
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self.dropped += 1

    def _fits(self, line: str) -> bool:
        """Write it to the pipe, which takes so few bytes as a whole or not at all."""
        assert self._pipe is not None
        data = f"{line}\n".encode("utf-8", "replace")
        try:
            return len(data) <= select.PIPE_BUF and bool(os.write(self._pipe, data))
        except OSError:  # it is full, or nobody reads from it: the thread finds out which
            return False

    def close(self, patience: float) -> None:
        """Write what is queued, but give up on a reader that does not read after `patience` seconds."""
        deadline = time.monotonic() + patience
        try:
            self._lines.put(None, timeout=patience)
        except queue.Full:
            return
        self._thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        while True:
            batch = [self._lines.get()]
            while len(batch) < _BATCH_MAX and not self._lines.empty():
                batch.append(self._lines.get())
            lines = [line for line in batch if line is not None]
            if not self._closed:
                self._write("".join(f"{line}\n" for line in lines).encode("utf-8", "replace"))
            if self._closed:
                self.dropped += len(lines)
            for _ in batch:
                self._lines.task_done()
            if None in batch:
                pipe, self._pipe = self._pipe, None
                if pipe is not None:
                    os.close(pipe)
                return

    def _write(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:  # another process made our stdout non-blocking
                select.select([], [self._fd], [])
            except OSError:  # the reader is gone for good; the node is not
                self._closed = True
                return


def _without_waiting(fd: int) -> int | None:
    """The same pipe, opened once more, so that nothing changes for others that share it; None for no pipe."""
    try:
        if stat.S_ISFIFO(os.fstat(fd).st_mode):
            return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # no /proc here, or nobody reads from it any more
        pass
    return None
