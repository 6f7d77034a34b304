"""The machine that the program really runs on."""

from __future__ import annotations

import os
import time

from swim.runtime.clock import suspended
from swim.runtime.sockets.transport import SocketTransport, open_transport

__all__ = ["SocketHost"]


class SocketHost:
    """See `Host`."""

    def open_transport(self, host: str, port: int) -> SocketTransport:
        """See `Host`."""
        return open_transport(host, port)

    def wall(self) -> float:
        """See `Host`."""
        return time.time()

    suspended = staticmethod(suspended)

    def random_bytes(self, count: int) -> bytes:
        """See `Host`."""
        return os.urandom(count)

    def opened(self, cluster: object) -> None:
        """See `Host`."""
