"""TCP connections as trio and the kernel have them."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import suppress

import trio

from swim.runtime.network import Traffic
from swim.types import Address

if sys.platform != "win32":
    import resource
if sys.platform == "linux":
    import fcntl
    import termios

__all__ = ["SocketConnection", "can_be_spared"]

_CHUNK_SIZE, _MORE_SIZE = 65_536, 131_072
"""Bytes that are read at once; and when it was all of them that time before."""
_SPARED = 0.75
"""Streams that are merely useful take file descriptors up to this share of the limit."""
_TCP_USER_TIMEOUT = 18  # tcp(7)
_TCP_ESTABLISHED = 1
_TCP_INFO_BYTES_ACKED = slice(120, 128)  # linux/tcp.h, struct tcp_info
_USER_TIMEOUT_MS = 3_000
"""What is not acknowledged for so long ends the connection."""
_KEEP_ALIVE = {"TCP_KEEPIDLE": 600, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 6}


class SocketConnection:
    """See `Connection`."""

    def __init__(self, stream: trio.SocketStream, peer: Address, traffic: Traffic) -> None:
        self.peer = peer
        self.socket = stream.socket
        self._fd = stream.socket.fileno()
        self._stream = stream
        self._traffic = traffic
        self._full = False

    async def read(self) -> bytes:
        """See `Connection`."""
        size = _MORE_SIZE if self._full else _CHUNK_SIZE
        while True:
            # Mostly there is nothing yet: to try first, as trio's streams do, would be one system call more.
            try:
                await trio.lowlevel.wait_readable(self._fd)
                data = os.read(self._fd, size)
            except BlockingIOError:
                continue
            except OSError as error:
                raise trio.BrokenResourceError(f"reading from {self.peer}: {error}") from error
            self._full = len(data) >= _CHUNK_SIZE
            self._traffic.stream_rx_bytes += len(data)
            return data

    async def write(self, data: bytes) -> None:
        """See `Connection`."""
        await self._stream.send_all(data)
        self._traffic.stream_tx_bytes += len(data)

    def write_at_once(self, data: bytes) -> int:
        """See `Connection`."""
        try:
            written = os.write(self._fd, data)
        except BlockingIOError:
            return 0
        self._traffic.stream_tx_bytes += written
        return written

    async def send_eof(self) -> None:
        """See `Connection`."""
        await self._stream.send_eof()

    def close(self) -> None:
        """See `Connection`."""
        self.socket.close()
        self._fd = -1  # the number may be another's next

    def may_stay(self) -> bool:
        """See `Connection`."""
        return can_be_spared(self.socket.fileno())

    def keep_alive(self, *, opener: bool) -> None:
        """See `Connection`.

        A sender is told within seconds that nothing arrives: after a partition a fresh connection is
        there at once, and one in back-off might take minutes. The acceptor rarely sends, so it is its kernel
        that has to ask: rarely, this is only to free what was forgotten.
        """
        with suppress(OSError):  # it may be closed already, and this is not the place to notice that
            if sys.platform == "linux":
                self.socket.setsockopt(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)
            if opener:
                return
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in _KEEP_ALIVE.items():
                if hasattr(socket, name):
                    self.socket.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def all_acknowledged(self) -> bool:
        """See `Connection`."""
        if sys.platform != "linux":
            return False
        # Of a connection that was given up nothing is outstanding either.
        if self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != _TCP_ESTABLISHED:
            return False
        outstanding = fcntl.ioctl(self.socket.fileno(), termios.TIOCOUTQ, bytes(4))  # SIOCOUTQ
        return outstanding == bytes(4)

    def acknowledged_bytes(self) -> int:
        """See `Connection`."""
        if sys.platform != "linux":
            return 0
        end = _TCP_INFO_BYTES_ACKED.stop
        info = self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, end)
        return int.from_bytes(info[_TCP_INFO_BYTES_ACKED], sys.byteorder) if len(info) == end else 0


def can_be_spared(fd: int) -> bool:
    """Are there so many file descriptors left that this one may be kept?

    A process of many nodes must not spend all it may have on streams that are merely useful: without
    one for an accepted connection no exchange works. The kernel always gives the lowest free number.
    """
    if sys.platform == "win32":
        return True
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return limit == resource.RLIM_INFINITY or fd < _SPARED * limit
