"""TCP connections as trio has them: made, counted, read, written, closed."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import trio

from swim.runtime.sockets.transport import Transport
from swim.types import Address

if sys.platform != "win32":
    import resource
if sys.platform == "linux":
    import fcntl
    import termios

__all__ = ["Connections", "acknowledged_bytes", "all_acknowledged", "keep_alive"]

_CHUNK_SIZE = 65_536
_SPARED = 0.75
_TCP_USER_TIMEOUT = 18  # tcp(7)
_TCP_ESTABLISHED = 1
_TCP_INFO_BYTES_ACKED = slice(120, 128)  # linux/tcp.h, struct tcp_info
_USER_TIMEOUT_MS = 3_000
_KEEP_ALIVE = {"TCP_KEEPIDLE": 600, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 6}


class Connections:
    """All TCP connections of a node go through here."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._traffic = transport.traffic

    async def connect(self, address: Address, *, to_keep: bool = False) -> trio.SocketStream:
        """Raises OSError; EMFILE also when no file descriptor can be spared for one that is to be kept."""
        target = self._transport.socket_address(address)
        if target is None:
            raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
        sock = trio.socket.from_stdlib_socket(self._transport.stream_socket())
        try:
            if to_keep and not _can_be_spared(sock.fileno()):
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            await sock.connect(target)
            if sock.getsockname() == sock.getpeername():
                # Nobody listens there, and the kernel happened to give us that very port: TCP connects
                # such a socket to itself.
                raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        except BaseException:
            sock.close()
            raise
        return trio.SocketStream(sock)

    @asynccontextmanager
    async def open(self, stream: trio.SocketStream) -> AsyncIterator[trio.SocketStream]:
        """Count it until the end of the block, which closes it."""
        self._traffic.streams += 1
        try:
            yield stream
        finally:
            self._traffic.streams -= 1
            # `aclose` would be a checkpoint in the way of a cancellation; closing does not wait.
            stream.socket.close()

    async def read(self, stream: trio.SocketStream) -> bytes:
        """What has arrived; nothing at the end. Raises `trio.BrokenResourceError`."""
        data = bytes(await stream.receive_some(_CHUNK_SIZE))
        self._traffic.stream_rx_bytes += len(data)
        return data

    async def write(self, stream: trio.SocketStream, data: bytes) -> None:
        """Raises `trio.BrokenResourceError`."""
        await stream.send_all(data)
        self._traffic.stream_tx_bytes += len(data)

    def write_at_once(self, stream: trio.SocketStream, data: bytes) -> bool:
        """Write a few bytes without waiting. False when there is no room for them. Raises OSError."""
        try:
            written = os.write(stream.socket.fileno(), data)
        except BlockingIOError:
            return False
        self._traffic.stream_tx_bytes += written
        return written == len(data)

    def drop(self, reason: str, count: int = 1) -> None:
        """Count something that came to nothing."""
        self._traffic.dropped[reason] += count

    def may_stay(self, stream: trio.SocketStream) -> bool:
        """Can a file descriptor be spared for it?"""
        return _can_be_spared(stream.socket.fileno())


def _can_be_spared(fd: int) -> bool:
    """Are there so many file descriptors left that this one may be kept?

    A process of many nodes must not spend all it may have on streams that are merely useful: without
    one for an accepted connection no exchange works. The kernel always gives the lowest free number.
    """
    if sys.platform == "win32":
        return True
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return limit == resource.RLIM_INFINITY or fd < _SPARED * limit


def keep_alive(stream: trio.SocketStream, *, opener: bool) -> None:
    """Let the kernel notice by itself, some day, that the other one is gone.

    Whoever sends is told within seconds that nothing arrives: after a partition a fresh connection is
    there at once, and one in back-off might take minutes. The acceptor rarely sends, so it is its kernel
    that has to ask: rarely, this is only to free what was forgotten.
    """
    with suppress(OSError):  # it may be closed already, and this is not the place to notice that
        if sys.platform == "linux":
            stream.socket.setsockopt(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)
        if opener:
            return
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEP_ALIVE.items():
            if hasattr(socket, name):
                stream.socket.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def all_acknowledged(stream: trio.SocketStream) -> bool:
    """Has the other kernel acknowledged all that was written? False where ours cannot tell."""
    if sys.platform != "linux":
        return False
    # Of a connection that was given up nothing is outstanding either.
    if stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != _TCP_ESTABLISHED:
        return False
    outstanding = fcntl.ioctl(stream.socket.fileno(), termios.TIOCOUTQ, bytes(4))  # SIOCOUTQ
    return outstanding == bytes(4)


def acknowledged_bytes(stream: trio.SocketStream) -> int:
    """How much of what was ever written the other kernel has acknowledged. 0 where ours cannot tell."""
    if sys.platform != "linux":
        return 0
    end = _TCP_INFO_BYTES_ACKED.stop
    info = stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, end)
    return int.from_bytes(info[_TCP_INFO_BYTES_ACKED], sys.byteorder) if len(info) == end else 0
